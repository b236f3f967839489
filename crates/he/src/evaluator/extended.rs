//! Double hoisting: rotations and products modulo QP, divided by P once (Bossuat, Mouchet, Troncoso-Pastoriza,
//! Hubaux, *Efficient bootstrapping for approximate homomorphic encryption with non-sparse keys*, 2021).
//!
//! A matrix product by diagonals, babies b < B and giants gB:
//! [`Evaluator::hoist`], [`Evaluator::rotate_extended`] per baby, per giant one [`Evaluator::dot_plain_extended`] with
//! diagonals moved gB to the *right* and one [`Evaluator::rotate_giant`], their sum, and
//! [`Evaluator::reduce_rescale`]: (ℓ+k)(d + (G−1)(d+1) + 2) transforms for G groups, the rescale included.

use super::{Evaluator, Hoisted, first, same_level, unserved};
use crate::HeError;
use crate::chain::Level;
use crate::ciphertext::Ciphertext;
use crate::counts::count;
use crate::plaintext::{CompactPlaintext, ExtendedPlaintext, check_id};
use crate::pool::Pooled;
use crate::scheme::Scheme;
use crate::switch::Digits;
use oblivia_base::Digest;
use oblivia_ring::{Modulus, Ntt, Poly, kernel};
use std::fmt;

/// P times a ciphertext, modulo QP: (a0, a1) with a0 + a1·s = P·(Δ·m + e); exact: P·(m + t·e).
#[derive(Clone)]
pub struct ExtendedCiphertext<S: Scheme> {
    a: [Pooled; 2],
    level: usize,
    scale: S::Scale,
    id: Digest,
}

impl<S: Scheme> ExtendedCiphertext<S> {
    /// Its level in the modulus chain.
    pub fn level(&self) -> usize {
        self.level
    }

    /// The scale Δ, the factor P left out.
    pub fn scale(&self) -> S::Scale {
        self.scale
    }
}

impl<S: Scheme> fmt::Debug for ExtendedCiphertext<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtendedCiphertext")
            .field("level", &self.level)
            .field("scale", &self.scale)
            .finish_non_exhaustive()
    }
}

/// out ← P·c, which is 0 on the rows of P.
fn times_p(level: &Level, out: &mut Poly<Ntt>, c: &Poly<Ntt>) {
    for (i, (m, row)) in level.qp.moduli().zip(out.rows_mut()).enumerate() {
        match level.p_mod.get(i) {
            Some(&p) => kernel::scale_into(m, c.row(i), p, row),
            None => row.fill(0),
        }
    }
}

/// A plaintext to multiply with.
#[derive(Debug)]
pub enum Factor<'a, S: Scheme> {
    /// Transformed.
    Ready(&'a ExtendedPlaintext<S>),
    /// To be transformed limb by limb as it is used.
    Compact(&'a CompactPlaintext<S>),
}

impl<S: Scheme> Clone for Factor<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Scheme> Copy for Factor<'_, S> {}

impl<S: Scheme> Factor<'_, S> {
    fn id(&self) -> &Digest {
        match self {
            Self::Ready(p) => &p.id,
            Self::Compact(p) => p.id(),
        }
    }

    fn scale(&self) -> S::Scale {
        match self {
            Self::Ready(p) => p.scale(),
            Self::Compact(p) => p.scale(),
        }
    }

    /// Level and whether it is known modulo the special primes.
    fn place(&self) -> (usize, bool) {
        match self {
            Self::Ready(p) => (p.level(), true),
            Self::Compact(p) => p.place(),
        }
    }
}

/// Ciphertexts and as many plaintexts, to be multiplied one by one and summed.
pub type Products<'a, S> = (&'a [&'a ExtendedCiphertext<S>], &'a [Factor<'a, S>]);

/// Plaintexts transformed at a time: their rows stay in the second-level cache.
const AT_ONCE: usize = 8;

const SUM: &str = "sum of extended plaintext products";

impl<S: Scheme> Evaluator<S> {
    fn extended(&self, a: [Pooled; 2], level: usize, scale: S::Scale) -> ExtendedCiphertext<S> {
        ExtendedCiphertext { a, level, scale, id: self.id }
    }

    /// Two polynomials modulo QP to be written.
    fn extended_pair(&self, level: usize) -> [Pooled; 2] {
        let qp = &self.params().level_data(level).qp;
        [self.params().pool().take(qp), self.params().pool().take(qp)]
    }

    /// P times a ciphertext, modulo QP: no transform.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn extend(&self, x: &Ciphertext<S>) -> Result<ExtendedCiphertext<S>, HeError> {
        check_id(&self.id, &x.id, "ciphertext")?;
        let level = self.params().level("extend", x.level())?;
        let mut out = self.extended_pair(x.level());
        for (out, c) in out.iter_mut().zip([&x.c0, &x.c1]) {
            times_p(level, out, c);
        }
        Ok(self.extended(out, x.level(), x.scale))
    }

    /// A rotation of a hoisted ciphertext that stays modulo QP: no transform.
    ///
    /// # Errors
    /// [`HeError::MissingRotationKey`], [`HeError::ParamsMismatch`].
    pub fn rotate_extended(&self, x: &Hoisted<S>, left: usize) -> Result<ExtendedCiphertext<S>, HeError> {
        let l = x.level();
        check_id(&self.id, &x.id, "hoisted ciphertext")?;
        let level = self.params().level("rotate", l)?;
        let step = left % self.params().slots();
        let mut out = self.extended_pair(l);
        if step == 0 {
            for (out, c) in out.iter_mut().zip([&x.c0, &x.c1]) {
                times_p(level, out, c);
            }
            return Ok(self.extended(out, l, x.scale));
        }
        let key = self.keys.rotation(step, l)?;
        self.with_scratch(|s| {
            s.inner_product_hoisted_each(level, &x.digits, &x.c1, key.key, |i, m, sums| {
                if i < level.limbs() {
                    kernel::scale_add_assign(m, sums[0], x.c0.row(i), level.p_mod[i]);
                }
                for (sum, out) in sums.iter().zip(&mut out) {
                    kernel::gather_into(key.permutation, sum, out.row_mut(i));
                }
            });
        });
        count(&self.counters.hoisted, 1);
        Ok(self.extended(out, l, x.scale))
    }

    /// Σ x_i ⊙ p_i modulo QP; the scale is the product of both. All x_i of one level and scale, all p_i of one scale
    /// and at that level or above.
    ///
    /// # Errors
    /// As [`Evaluator::dot_plain`].
    pub fn dot_plain_extended(
        &self,
        xs: &[&ExtendedCiphertext<S>],
        ps: &[&ExtendedPlaintext<S>],
    ) -> Result<ExtendedCiphertext<S>, HeError> {
        let ps: Vec<_> = ps.iter().map(|p| Factor::Ready(p)).collect();
        let sums = self.dots_plain_extended(&[(xs, &ps)])?;
        sums.into_iter().next().ok_or(HeError::OperandCount { op: SUM, left: 0, right: 0 })
    }

    /// Several sums as [`Evaluator::dot_plain_extended`], limb by limb, so that what they share of `xs` is read from
    /// memory once. All of one level and one scale.
    ///
    /// # Errors
    /// As [`Evaluator::dot_plain_extended`].
    pub fn dots_plain_extended(
        &self,
        sums: &[Products<'_, S>],
    ) -> Result<Vec<ExtendedCiphertext<S>>, HeError> {
        let Some((xs, ps)) = sums.first() else { return Ok(Vec::new()) };
        let (x0, p0) = first(SUM, xs, ps)?;
        let (l, scale) = (x0.level, p0.scale());
        for (xs, ps) in sums {
            first(SUM, xs, ps)?;
            for (x, p) in xs.iter().zip(*ps) {
                check_id(&self.id, &x.id, "ciphertext")?;
                check_id(&self.id, p.id(), "plaintext")?;
                same_level(SUM, l, x.level)?;
                S::same_scale(SUM, x0.scale, x.scale)?;
                S::same_scale(SUM, scale, p.scale())?;
                let (level, extended) = p.place();
                if !extended || !self.params().serves(level, l, true) {
                    unserved(SUM, l, if extended { level } else { 0 })?;
                }
            }
            count(&self.counters.pt_mul, xs.len() as u64);
            count(&self.counters.add, xs.len() as u64 - 1);
        }
        let mut outs: Vec<[Pooled; 2]> = sums.iter().map(|_| self.extended_pair(l)).collect();
        let mut triples = Vec::new();
        let limbs = self.params().level_data(l).limbs();
        for i in 0..self.params().level_data(l).qp.limbs() {
            for ((xs, ps), out) in sums.iter().zip(&mut outs) {
                if ps.iter().any(|p| matches!(p, Factor::Compact(_))) {
                    self.dot_compact(l, i, xs, ps, out);
                    continue;
                }
                triples.clear();
                triples.extend(xs.iter().zip(*ps).filter_map(|(x, p)| match p {
                    Factor::Ready(p) => Some((x.a[0].row(i), x.a[1].row(i), p.row(limbs, i))),
                    Factor::Compact(_) => None,
                }));
                let m = self.params().level_data(l).qp.modulus(i);
                let [out0, out1] = out;
                kernel::dot2_by_packed_into(m, &triples, out0.row_mut(i), out1.row_mut(i));
            }
        }
        let scale = self.scheme.product(x0.scale, scale);
        Ok(outs.into_iter().map(|out| self.extended(out, l, scale)).collect())
    }

    /// Limb `i` of a sum of products at level `l`, some of whose plaintexts are to be transformed.
    fn dot_compact(
        &self,
        l: usize,
        i: usize,
        xs: &[&ExtendedCiphertext<S>],
        ps: &[Factor<'_, S>],
        out: &mut [Pooled; 2],
    ) {
        let (data, pool) = (self.params().level_data(l), self.params().pool());
        let (one, table) = (data.q.prefix(1), data.qp.table(i));
        let mut rows: Vec<Pooled> = (0..AT_ONCE.min(ps.len())).map(|_| pool.take(&one)).collect();
        let mut sums = [pool.take(&one), pool.take(&one)];
        let [out0, out1] = out;
        for (k, (xs, ps)) in xs.chunks(AT_ONCE).zip(ps.chunks(AT_ONCE)).enumerate() {
            for (p, row) in ps.iter().zip(&mut rows) {
                match p {
                    Factor::Ready(p) => p.row(data.limbs(), i).unpack_into(row.row_mut(0)),
                    Factor::Compact(p) => p.transform_row(table, row.row_mut(0)),
                }
            }
            let mut triples = Vec::with_capacity(AT_ONCE);
            for (x, row) in xs.iter().zip(&rows) {
                triples.push((x.a[0].row(i), x.a[1].row(i), row.row(0)));
            }
            if k == 0 {
                kernel::dot2_into(table.modulus(), &triples, out0.row_mut(i), out1.row_mut(i));
                continue;
            }
            let [sum0, sum1] = &mut sums;
            kernel::dot2_into(table.modulus(), &triples, sum0.row_mut(0), sum1.row_mut(0));
            kernel::add_assign(table.modulus(), out0.row_mut(i), sum0.row(0));
            kernel::add_assign(table.modulus(), out1.row_mut(i), sum1.row(0));
        }
    }

    /// x ← x + y modulo QP. Equal levels and scales.
    ///
    /// # Errors
    /// As [`Evaluator::add_assign`].
    pub fn add_extended_assign(
        &self,
        x: &mut ExtendedCiphertext<S>,
        y: &ExtendedCiphertext<S>,
    ) -> Result<(), HeError> {
        check_id(&self.id, &x.id, "ciphertext")?;
        check_id(&self.id, &y.id, "ciphertext")?;
        same_level("add", x.level, y.level)?;
        S::same_scale("add", x.scale, y.scale)?;
        for (x, y) in x.a.iter_mut().zip(&y.a) {
            x.add_assign(y);
        }
        count(&self.counters.add, 1);
        Ok(())
    }

    /// A rotation that stays modulo QP: divides a1 alone, decomposes it, and adds a0 where it is.
    /// (d+1)(ℓ+k) transforms. Counts one rotation.
    ///
    /// # Errors
    /// [`HeError::MissingRotationKey`], [`HeError::ParamsMismatch`].
    pub fn rotate_giant(
        &self,
        x: &ExtendedCiphertext<S>,
        left: usize,
    ) -> Result<ExtendedCiphertext<S>, HeError> {
        check_id(&self.id, &x.id, "ciphertext")?;
        let step = left % self.params().slots();
        if step == 0 {
            return Ok(x.clone());
        }
        let level = self.params().level("rotate", x.level)?;
        let key = self.keys.rotation(step, x.level)?;
        let mut out = self.extended_pair(x.level);
        let mut c1 = self.params().pool().take(&level.q);
        self.with_scratch(|s| {
            s.mod_down_of(&self.scheme, x.level, &x.a[1], &self.counters.ntt, |i, quotient| {
                quotient.write(None, c1.row_mut(i))
            });
            s.inner_product_each(level, &c1, key.key, &self.counters.ntt, |i, m, sums| {
                kernel::add_assign(m, sums[0], x.a[0].row(i));
                for (sum, out) in sums.iter().zip(&mut out) {
                    kernel::gather_into(key.permutation, sum, out.row_mut(i));
                }
            });
        });
        count(&self.counters.rotations, 1);
        Ok(self.extended(out, x.level, x.scale))
    }

    /// x ← x + Σ rot(x, step), modulo QP: divides a1 alone and decomposes it once for all steps. (d+1)(ℓ+k) transforms.
    /// Counts a rotation and an addition per step.
    ///
    /// # Errors
    /// [`HeError::MissingRotationKey`], [`HeError::ParamsMismatch`].
    pub fn fold_extended(&self, x: &mut ExtendedCiphertext<S>, steps: &[usize]) -> Result<(), HeError> {
        check_id(&self.id, &x.id, "ciphertext")?;
        let level = self.params().level("rotate", x.level)?;
        let key = |&step: &usize| match step % self.params().slots() {
            0 => Ok(None),
            step => self.keys.rotation(step, x.level).map(Some),
        };
        let keys = steps.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        let mut c1 = self.params().pool().take(&level.q);
        // Every key meets a0 as it was; only a step of 0 meets a1.
        let before0 = (keys.len() > 1).then(|| x.a[0].clone());
        let before1 = keys.iter().any(Option::is_none).then(|| x.a[1].clone());
        let [a0, a1] = &mut x.a;
        self.with_scratch(|s| {
            s.mod_down_of(&self.scheme, x.level, a1, &self.counters.ntt, |i, quotient| {
                quotient.write(None, c1.row_mut(i));
            });
            let digits = match keys.len() {
                1 => None,
                _ => Some(Digits::new(self.params(), level, &c1, s, &self.counters.ntt)),
            };
            for key in &keys {
                let Some(key) = key else {
                    let b0 = before0.clone().unwrap_or_else(|| a0.clone());
                    a0.add_assign(&b0);
                    before1.iter().for_each(|b1| a1.add_assign(b1));
                    continue;
                };
                let add = |i: usize, m: &Modulus, [sum0, sum1]: [&mut [u64]; 2]| {
                    kernel::add_assign(m, sum0, before0.as_ref().map_or(a0.row(i), |b0| b0.row(i)));
                    kernel::gather_add_assign(m, key.permutation, a0.row_mut(i), sum0);
                    kernel::gather_add_assign(m, key.permutation, a1.row_mut(i), sum1);
                };
                match &digits {
                    None => s.inner_product_each(level, &c1, key.key, &self.counters.ntt, add),
                    Some(digits) => s.inner_product_hoisted_each(level, digits, &c1, key.key, add),
                }
            }
        });
        count(&self.counters.rotations, steps.len() as u64);
        count(&self.counters.add, steps.len() as u64);
        Ok(())
    }

    /// Divides by P. 2(ℓ+k) transforms.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn reduce(&self, x: &ExtendedCiphertext<S>) -> Result<Ciphertext<S>, HeError> {
        check_id(&self.id, &x.id, "ciphertext")?;
        let q = &self.params().level("reduce", x.level)?.q;
        let mut out = [self.params().pool().take(q), self.params().pool().take(q)];
        self.with_scratch(|s| {
            for (a, out) in x.a.iter().zip(&mut out) {
                s.mod_down_of(&self.scheme, x.level, a, &self.counters.ntt, |i, quotient| {
                    quotient.write(None, out.row_mut(i));
                });
            }
        });
        Ok(self.ciphertext(out, x.level, x.scale))
    }

    /// Divides by P and to the modulus below at once: in a plain chain a rescale that costs no transform of its own,
    /// 2(ℓ+k) in all.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], or [`HeError::Level`] on level 1.
    pub fn reduce_rescale(&self, x: &ExtendedCiphertext<S>) -> Result<Ciphertext<S>, HeError> {
        check_id(&self.id, &x.id, "ciphertext")?;
        let division = self.division("rescale", x.level, |level| &level.by_p_and_last)?;
        let below = x.level - 1;
        let mut out = [self.blank(below), self.blank(below)];
        self.with_scratch(|s| {
            for (a, out) in x.a.iter().zip(&mut out) {
                s.mod_down_rescale_of(
                    &self.scheme,
                    (x.level, division),
                    a,
                    &self.counters.ntt,
                    |i, quotient| {
                        quotient.write(None, out.row_mut(i));
                    },
                );
            }
        });
        count(&self.counters.rescale, 1);
        Ok(self.ciphertext(out, below, self.scheme.dropped(x.scale, x.level)?))
    }
}
