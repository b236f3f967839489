//! Parameters: what was asked for ([`ParamsLiteral`]) and what was checked ([`Params`]).

use crate::convert::Conversion;
use crate::pool::Pool;
use crate::{HeError, security};
use oblivia_base::codec::{Decode, DecodeError, Encode, Reader, Writer};
use oblivia_base::{Digest, Transcript};
use oblivia_ring::{Basis, MAX_MODULUS_BITS, RingKind, RingShape, Shoup, primes_below};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Standard deviation σ of the error, the one of the security table.
pub const ERROR_STD: f64 = oblivia_ring::sample::GAUSSIAN_SIGMA;

/// Most primes of either kind.
const MAX_PRIMES: usize = 64;
/// Primes below this leave no room for a message.
const MIN_PRIME_BITS: u32 = 14;

/// A list of primes, given or to be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moduli {
    /// The largest unused primes of these bit lengths that suit the ring.
    Bits(Vec<u32>),
    /// These primes.
    Primes(Vec<u64>),
}

impl Moduli {
    /// A tag, then the list.
    pub(crate) fn encode(&self, w: &mut Writer) {
        match self {
            Self::Bits(bits) => {
                w.u8(0);
                w.count(bits.len());
                bits.iter().for_each(|&b| w.u8(b.min(255) as u8));
            }
            Self::Primes(primes) => {
                w.u8(1);
                w.count(primes.len());
                primes.iter().for_each(|&p| w.u64(p));
            }
        }
    }

    /// Reads a list of at most `max` entries.
    pub(crate) fn decode_at_most(max: usize, r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if r.bool("primes or bits")? {
            let count = r.count(max, 8, "primes")?;
            Ok(Self::Primes((0..count).map(|_| r.u64("prime")).collect::<Result<_, _>>()?))
        } else {
            let count = r.count(max, 1, "prime bits")?;
            Ok(Self::Bits((0..count).map(|_| r.u8("bits").map(u32::from)).collect::<Result<_, _>>()?))
        }
    }
}

/// Parameters as asked for. Nothing is checked; [`Params::new`] does that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamsLiteral {
    /// Which ring.
    pub kind: RingKind,
    /// log2 of the ring dimension n.
    pub log_n: u32,
    /// The primes q_0 … q_{L−1}; the last is dropped first.
    pub q: Moduli,
    /// The special primes, with product P.
    pub p: Moduli,
    /// Limbs per digit of key switching, α.
    pub alpha: usize,
}

impl ParamsLiteral {
    /// Replaces bit lengths by primes: those of P first, so that P is the largest of its size.
    fn resolve(&self, step: u64) -> Result<(Vec<u64>, Vec<u64>), HeError> {
        for moduli in [&self.q, &self.p] {
            let count = match moduli {
                Moduli::Bits(b) => b.len(),
                Moduli::Primes(p) => p.len(),
            };
            if !(1..=MAX_PRIMES).contains(&count) {
                return Err(HeError::Shape { what: "1 to 64 primes of each kind are needed" });
            }
        }
        let given = |m: &Moduli| match m {
            Moduli::Primes(p) => p.clone(),
            Moduli::Bits(_) => Vec::new(),
        };
        let mut taken = [given(&self.q), given(&self.p)].concat();
        let mut choose = |m: &Moduli| -> Result<Vec<u64>, HeError> {
            match m {
                Moduli::Primes(p) => Ok(p.clone()),
                Moduli::Bits(bits) => {
                    let primes = primes_below(bits, step, &taken)?;
                    taken.extend(&primes);
                    Ok(primes)
                }
            }
        };
        let p = choose(&self.p)?;
        Ok((choose(&self.q)?, p))
    }
}

impl Encode for ParamsLiteral {
    /// Kind, log n, α, then both lists, each tagged as bits or primes.
    fn encode(&self, w: &mut Writer) {
        w.u8(match self.kind {
            RingKind::Standard => 0,
            RingKind::ConjugateInvariant => 1,
        });
        w.u8(self.log_n.min(255) as u8);
        w.count(self.alpha);
        self.q.encode(w);
        self.p.encode(w);
    }
}

impl Decode for ParamsLiteral {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = match r.u8("ring kind")? {
            0 => RingKind::Standard,
            1 => RingKind::ConjugateInvariant,
            _ => return Err(r.error("ring kind", oblivia_base::codec::Fault::Invalid)),
        };
        let log_n = u32::from(r.u8("log n")?);
        let alpha = r.u32("limbs per digit")? as usize;
        let (q, p) = (Moduli::decode_at_most(MAX_PRIMES, r)?, Moduli::decode_at_most(MAX_PRIMES, r)?);
        Ok(Self { kind, log_n, q, p, alpha })
    }
}

/// Checked parameters, with the bases and constants of every level. Cheap to clone.
#[derive(Clone)]
pub struct Params(Arc<Inner>);

struct Inner {
    shape: RingShape,
    p: Basis,
    alpha: usize,
    levels: Vec<Level>,
    id: Digest,
    pool: Arc<Pool>,
}

/// Everything about one level ℓ, the number of live limbs.
pub(crate) struct Level {
    /// q_0 … q_{ℓ−1}.
    pub(crate) q: Basis,
    /// Those, then the special primes.
    pub(crate) qp: Basis,
    pub(crate) digits: Vec<Digit>,
    /// From P to q_0 … q_{ℓ−1}, and P⁻¹ modulo each.
    pub(crate) mod_down: Conversion,
    pub(crate) p_inv: Vec<Shoup>,
    /// P modulo each q_i.
    pub(crate) p_mod: Vec<Shoup>,
    /// q_{ℓ−1}⁻¹ modulo each q_i, i < ℓ−1.
    pub(crate) last_inv: Vec<Shoup>,
    /// From {q_{ℓ−1}} ∪ P to q_0 … q_{ℓ−2}, and (P·q_{ℓ−1})⁻¹ modulo each.
    pub(crate) mod_down_rescale: Conversion,
    pub(crate) p_last_inv: Vec<Shoup>,
}

/// A digit of key switching: consecutive limbs with product D.
pub(crate) struct Digit {
    pub(crate) limbs: Range<usize>,
    /// From the digit's limbs to every limb of QP.
    pub(crate) lift: Conversion,
}

impl Params {
    /// Checks `literal`: shape, primes distinct and 1 modulo the order of the ring's root, QP within the
    /// [`security`] table, P large enough.
    ///
    /// P must be at least D·σ·√(1.5·d·α/k), D the largest digit, d digits, k special primes: then the noise of
    /// key switching is at most the rounding of its last step.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn new(literal: &ParamsLiteral) -> Result<Self, HeError> {
        let params = Self::build(literal, true)?;
        let (p, needed) = (params.p_product(), params.least_p());
        if p < needed {
            return Err(HeError::SpecialPrimesTooSmall { log_p: p.log2(), needed: needed.log2() });
        }
        Ok(params)
    }

    /// Parameters with neither the security table nor the size of P checked, for tests in small rings. They
    /// protect nothing.
    ///
    /// # Errors
    /// As [`Params::new`], without those two checks.
    #[cfg(any(test, feature = "insecure-params"))]
    pub fn insecure_unchecked(literal: &ParamsLiteral) -> Result<Self, HeError> {
        Self::build(literal, false)
    }

    /// All cheap checks come before any table is made: a literal may be a peer's.
    fn build(literal: &ParamsLiteral, secure: bool) -> Result<Self, HeError> {
        let shape = RingShape::new(literal.kind, literal.log_n)?;
        if secure {
            security::max_log_qp(shape.n())?;
        }
        let (q, p) = literal.resolve(shape.order())?;
        let alpha = literal.alpha;
        if alpha == 0 || alpha > q.len() {
            return Err(HeError::Shape {
                what: "limbs per digit must be between 1 and the number of primes",
            });
        }
        if q.iter()
            .chain(&p)
            .any(|x| !(MIN_PRIME_BITS..=MAX_MODULUS_BITS).contains(&(64 - x.leading_zeros())))
        {
            return Err(HeError::Shape { what: "primes must have 14 to 50 bits" });
        }
        let primes = [q.as_slice(), &p].concat();
        if secure {
            security::check(shape.n(), &primes)?;
        }
        let all = Basis::new(shape, &primes)?;
        let (p_basis, mut levels) = (all.slice(q.len()..all.limbs()), Vec::with_capacity(q.len()));
        for l in 1..=q.len() {
            levels.push(Level::new(&all.prefix(l), &p_basis, alpha)?);
        }
        let mut id = Transcript::new("he params v1");
        let canonical =
            ParamsLiteral { q: Moduli::Primes(q), p: Moduli::Primes(p), ..literal.clone() }.to_bytes();
        id.absorb("literal", &canonical);
        Ok(Self(Arc::new(Inner { shape, p: p_basis, alpha, levels, id: id.digest(), pool: Pool::new(&all) })))
    }

    /// The parameters with their primes written out.
    pub fn literal(&self) -> ParamsLiteral {
        let primes = |b: &Basis| Moduli::Primes(b.moduli().map(|m| m.value()).collect());
        ParamsLiteral {
            kind: self.0.shape.kind(),
            log_n: self.0.shape.log_n(),
            q: primes(&self.level_data(self.max_level()).q),
            p: primes(&self.0.p),
            alpha: self.0.alpha,
        }
    }

    /// The canonical id: a hash of everything in [`Params::literal`].
    pub fn id(&self) -> Digest {
        self.0.id
    }

    /// Kind and dimension of the ring.
    pub fn shape(&self) -> RingShape {
        self.0.shape
    }

    /// Dimension of the ring.
    pub fn n(&self) -> usize {
        self.0.shape.n()
    }

    /// Slots of a plaintext: n real ones (conjugate-invariant ring) or n/2 complex ones (standard ring).
    pub fn slots(&self) -> usize {
        self.0.shape.slots()
    }

    /// The highest level: number of primes q.
    pub fn max_level(&self) -> usize {
        self.0.levels.len()
    }

    /// Limbs per digit of key switching, α.
    pub fn alpha(&self) -> usize {
        self.0.alpha
    }

    /// The special primes.
    pub fn special(&self) -> &Basis {
        &self.0.p
    }

    /// q_0 … q_{ℓ−1}.
    ///
    /// # Errors
    /// [`HeError::Level`] unless 1 ≤ `level` ≤ [`Params::max_level`].
    pub fn basis(&self, level: usize) -> Result<&Basis, HeError> {
        Ok(&self.level("basis", level)?.q)
    }

    /// q_0 … q_{ℓ−1}, then the special primes.
    ///
    /// # Errors
    /// As [`Params::basis`].
    pub fn extended_basis(&self, level: usize) -> Result<&Basis, HeError> {
        Ok(&self.level("basis", level)?.qp)
    }

    /// The prime a rescale at `level` divides by, q_{ℓ−1}, as a number.
    ///
    /// # Errors
    /// As [`Params::basis`].
    pub fn rescale_prime(&self, level: usize) -> Result<f64, HeError> {
        let q = self.basis(level)?;
        Ok(q.modulus(level - 1).value() as f64)
    }

    /// Digits of key switching at `level`, d = ⌈ℓ/α⌉.
    pub fn digits(&self, level: usize) -> usize {
        level.div_ceil(self.0.alpha)
    }

    /// log2 of QP.
    pub fn log_qp(&self) -> f64 {
        self.level_data(self.max_level()).qp.log_product()
    }

    /// Memory for public polynomials.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.0.pool
    }

    pub(crate) fn level(&self, what: &'static str, level: usize) -> Result<&Level, HeError> {
        level.checked_sub(1).and_then(|l| self.0.levels.get(l)).ok_or(HeError::Level {
            what,
            level,
            max: self.max_level(),
        })
    }

    /// As [`Params::level`], for a level known to exist.
    pub(crate) fn level_data(&self, level: usize) -> &Level {
        &self.0.levels[level - 1]
    }

    /// Everything about the highest level.
    pub(crate) fn top(&self) -> &Level {
        self.level_data(self.max_level())
    }

    /// P as a number.
    pub(crate) fn p_product(&self) -> f64 {
        self.0.p.moduli().map(|m| m.value() as f64).product()
    }

    /// The least P that drowns the noise of key switching.
    fn least_p(&self) -> f64 {
        let top = self.level_data(self.max_level());
        let widest =
            (0..top.digits.len()).map(|j| self.digit_product(self.max_level(), j)).fold(1.0, f64::max);
        let (d, alpha, k) = (top.digits.len() as f64, self.0.alpha as f64, self.0.p.limbs() as f64);
        widest * ERROR_STD * (1.5 * d * alpha / k).sqrt()
    }

    /// D of digit `j` at `level`, as a number.
    pub(crate) fn digit_product(&self, level: usize, j: usize) -> f64 {
        let l = self.level_data(level);
        l.digits[j].limbs.clone().map(|i| l.q.modulus(i).value() as f64).product()
    }
}

impl Level {
    fn new(q: &Basis, p: &Basis, alpha: usize) -> Result<Self, HeError> {
        let (qp, l) = (q.concat(p)?, q.limbs());
        let no_inverse = HeError::Shape { what: "two primes are equal" };
        let inverses = |of: &Basis, count: usize| -> Result<Vec<Shoup>, HeError> {
            q.moduli()
                .take(count)
                .map(|m| Ok(m.shoup(m.inv(of.product_mod(m)).ok_or(no_inverse.clone())?)))
                .collect()
        };
        let mut digits = Vec::new();
        for start in (0..l).step_by(alpha) {
            let limbs = start..(start + alpha).min(l);
            let lift = Conversion::new(&q.slice(limbs.clone()), &qp)?;
            digits.push(Digit { limbs, lift });
        }
        let last = q.slice(l - 1..l);
        let last_and_p = last.concat(p)?;
        let below = q.prefix(l - 1);
        Ok(Self {
            digits,
            mod_down: Conversion::new(p, q)?,
            p_inv: inverses(p, l)?,
            p_mod: q.moduli().map(|m| m.shoup(p.product_mod(m))).collect(),
            last_inv: inverses(&last, l - 1)?,
            mod_down_rescale: Conversion::new(&last_and_p, &below)?,
            p_last_inv: inverses(&last_and_p, l - 1)?,
            q: q.clone(),
            qp,
        })
    }
}

impl PartialEq for Params {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Params {}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Params").field(&self.literal()).finish()
    }
}
