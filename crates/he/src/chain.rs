//! What each level of a modulus chain computes with: bases, digits, and divisions from one basis to the next.

use crate::HeError;
use crate::convert::Conversion;
use crate::params::{ERROR_STD, LevelLiteral};
use oblivia_ring::{Basis, Modulus, Shoup};
use std::ops::Range;

/// Everything about one level ℓ.
pub(crate) struct Level {
    /// The primes of Q_ℓ.
    pub(crate) q: Basis,
    /// The special primes.
    pub(crate) p: Basis,
    /// The primes of Q_ℓ, then the special ones.
    pub(crate) qp: Basis,
    /// Of every limb of `qp`, its place among all primes.
    pub(crate) places: Vec<usize>,
    pub(crate) digits: Vec<Digit>,
    /// P modulo each prime of Q_ℓ.
    pub(crate) p_mod: Vec<Shoup>,
    /// From Q_ℓ·P to Q_ℓ.
    pub(crate) by_p: Division,
    /// From Q_ℓ to Q_{ℓ−1}; none on level 1.
    pub(crate) rescale: Option<Division>,
    /// From Q_ℓ·P to Q_{ℓ−1}; none on level 1.
    pub(crate) by_p_and_last: Option<Division>,
    /// Q_ℓ/Q_{ℓ−1}, with Q_0 = 1.
    pub(crate) divisor: f64,
}

/// A digit of key switching: consecutive limbs with product D.
pub(crate) struct Digit {
    pub(crate) limbs: Range<usize>,
    /// From the digit's limbs to every limb of QP.
    pub(crate) lift: Conversion,
}

impl Level {
    /// The level `literal` over primes of `all`, above `below`.
    pub(crate) fn new(all: &Basis, literal: &LevelLiteral, below: Option<&Self>) -> Result<Self, HeError> {
        let (q, p) = (all.select(&literal.q)?, all.select(&literal.p)?);
        let (qp, l) = (q.concat(&p)?, q.limbs());
        let lift =
            |limbs: Range<usize>| Ok(Digit { lift: Conversion::new(&q.slice(limbs.clone()), &qp)?, limbs });
        let digits = (0..l).step_by(literal.alpha).map(|start| lift(start..(start + literal.alpha).min(l)));
        let down = |from: &Basis| below.map(|b| Division::new(from, &b.q)).transpose();
        let divisor = match below {
            Some(below) => quotient(&q, &below.q),
            None => product(&q),
        };
        if divisor < 2.0 {
            return Err(HeError::Shape { what: "the modulus of a level must be larger than that below" });
        }
        Ok(Self {
            places: literal.q.iter().chain(&literal.p).copied().collect(),
            digits: digits.collect::<Result<_, HeError>>()?,
            p_mod: q.moduli().map(|m| m.shoup(p.product_mod(m))).collect(),
            by_p: Division::new(&qp, &q)?,
            rescale: down(&q)?,
            by_p_and_last: down(&qp)?,
            divisor,
            q,
            p,
            qp,
        })
    }

    /// Number of limbs of Q_ℓ.
    pub(crate) fn limbs(&self) -> usize {
        self.q.limbs()
    }

    /// Whether the primes of Q of `low` are the first ones of this level.
    pub(crate) fn starts_with(&self, low: &Self) -> bool {
        low.limbs() <= self.limbs() && self.q.moduli().zip(low.q.moduli()).all(|(a, b)| a == b)
    }

    /// Whether the digits of `low` are those of this level, limbs left away.
    pub(crate) fn splits_like(&self, low: &Self) -> bool {
        let starts = self.digits.iter().map(|d| d.limbs.start).take_while(|&s| s < low.limbs());
        starts.eq(low.digits.iter().map(|d| d.limbs.start))
    }

    /// P as a number.
    pub(crate) fn p_product(&self) -> f64 {
        product(&self.p)
    }

    /// D of digit `j`, as a number.
    pub(crate) fn digit_product(&self, j: usize) -> f64 {
        product(&self.q.slice(self.digits[j].limbs.clone()))
    }

    /// The least P that drowns the noise of key switching.
    pub(crate) fn least_p(&self) -> f64 {
        let widest = (0..self.digits.len()).map(|j| self.digit_product(j)).fold(1.0, f64::max);
        let alpha = self.digits.iter().map(|d| d.limbs.len()).max().unwrap_or(1) as f64;
        widest * ERROR_STD * (1.5 * self.digits.len() as f64 * alpha / self.p.limbs() as f64).sqrt()
    }
}

fn product(basis: &Basis) -> f64 {
    basis.moduli().map(|m| m.value() as f64).product()
}

/// The product of `a` over that of `b`, what both have left out.
fn quotient(a: &Basis, b: &Basis) -> f64 {
    let only = |a: &Basis, b: &Basis| -> f64 {
        a.moduli().filter(|m| b.moduli().all(|o| o != *m)).map(|m| m.value() as f64).product()
    };
    only(a, b) / only(b, a)
}

/// Division by D/R, rounded: from a basis to one that lacks primes with product D and may have new ones, with product R.
/// For x in the first, R·x − \[R·x\]_D is a multiple of D, known modulo the new primes too.
pub(crate) struct Division {
    /// Of what is divided.
    pub(crate) from: Basis,
    /// Of the quotient.
    pub(crate) to: Basis,
    /// Limbs of `from` that `to` lacks.
    dropped: Vec<usize>,
    /// From the dropped primes to those of `to`: \[R·x\]_D, over R for primes that stay.
    pub(crate) conversion: Conversion,
    /// Of every limb of `to`, where it is in `from`.
    pub(crate) sources: Vec<Option<usize>>,
    /// R/D modulo primes that stay, 1/D modulo new ones.
    pub(crate) factors: Vec<Shoup>,
}

impl Division {
    fn new(from: &Basis, to: &Basis) -> Result<Self, HeError> {
        let find = |basis: &Basis, m: &Modulus| basis.moduli().position(|o| o == m);
        let pick = |a: &Basis, b: &Basis| -> Vec<usize> {
            a.moduli().enumerate().filter(|(_, m)| find(b, m).is_none()).map(|(i, _)| i).collect()
        };
        let (dropped, new) = (pick(from, to), pick(to, from));
        let (d, r) = (from.select(&dropped)?, to.select(&new)?);
        let sources: Vec<_> = to.moduli().map(|m| find(from, m)).collect();
        let inverse = |m: &Modulus, x: u64| m.inv(x).ok_or(HeError::Shape { what: "two primes are equal" });
        let mut factors = Vec::with_capacity(to.limbs());
        let mut after = Vec::with_capacity(to.limbs());
        for (m, source) in to.moduli().zip(&sources) {
            let r = if source.is_some() { r.product_mod(m) } else { 1 };
            factors.push(m.shoup(m.mul(r, inverse(m, d.product_mod(m))?)));
            after.push(inverse(m, r)?);
        }
        let conversion = match new.len() {
            0 => Conversion::new(&d, to)?,
            _ => {
                let before: Vec<u64> = d.moduli().map(|m| r.product_mod(m)).collect();
                Conversion::scaled(&d, to, &before, &after)?
            }
        };
        Ok(Self { from: from.clone(), to: to.clone(), dropped, conversion, sources, factors })
    }

    /// Limbs of the dividend that the quotient lacks.
    pub(crate) fn dropped(&self) -> &[usize] {
        &self.dropped
    }

    /// Transforms of one division.
    pub(crate) fn transforms(&self) -> usize {
        self.dropped.len() + self.to.limbs()
    }
}
