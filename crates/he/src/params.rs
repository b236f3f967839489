//! Parameters: what was asked for ([`ParamsLiteral`]) and what was checked ([`Params`]).

use crate::chain::{Division, Level};
use crate::pool::Pool;
use crate::{HeError, security};
use oblivia_base::codec::{Decode, DecodeError, Encode, Reader, Writer};
use oblivia_base::{Digest, Transcript};
use oblivia_ring::{Basis, MAX_MODULUS_BITS, RingKind, RingShape, primes_below};
use std::fmt;
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
    /// What each level computes with, from level 1 on, where that is not the plain chain: level ℓ has q_0 … q_{ℓ−1}, all
    /// special primes, and digits of α limbs. A modulus of fewer, larger primes takes fewer transforms, and the smaller it
    /// is, the larger P may be and the fewer the digits (compare Cheon et al., *Grafting*, IACR ePrint 2024/1014).
    pub levels: Vec<LevelLiteral>,
}

/// What one level computes with. Primes are numbered from 0, those of `q` first, then those of `p`; a prime may serve
/// several levels, in either place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelLiteral {
    /// The primes of Q_ℓ.
    pub q: Vec<usize>,
    /// The primes of P_ℓ.
    pub p: Vec<usize>,
    /// Limbs per digit.
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
    /// Kind, log n, α, then both lists, each tagged as bits or primes; then the levels: α and two lists of numbers each.
    fn encode(&self, w: &mut Writer) {
        w.u8(match self.kind {
            RingKind::Standard => 0,
            RingKind::ConjugateInvariant => 1,
        });
        w.u8(self.log_n.min(255) as u8);
        w.count(self.alpha);
        self.q.encode(w);
        self.p.encode(w);
        w.count(self.levels.len());
        for level in &self.levels {
            w.count(level.alpha);
            for list in [&level.q, &level.p] {
                w.count(list.len());
                list.iter().for_each(|&i| w.u8(i.min(255) as u8));
            }
        }
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
        let list = |r: &mut Reader<'_>| {
            let count = r.count(MAX_PRIMES, 1, "primes of a level")?;
            (0..count).map(|_| r.u8("number of a prime").map(usize::from)).collect::<Result<Vec<_>, _>>()
        };
        let count = r.count(MAX_PRIMES, 12, "levels")?;
        let levels = (0..count)
            .map(|_| {
                let alpha = r.u32("limbs per digit")? as usize;
                Ok(LevelLiteral { q: list(r)?, p: list(r)?, alpha })
            })
            .collect::<Result<_, DecodeError>>()?;
        Ok(Self { kind, log_n, q, p, alpha, levels })
    }
}

/// Checked parameters, with the bases and constants of every level. Cheap to clone.
///
/// # Security
/// One ternary secret serves all levels: keys and ciphertexts of level ℓ are RLWE samples modulo Q_ℓ·P_ℓ or Q_ℓ, each with
/// a uniform half and an error of its own, and each level's Q_ℓ·P_ℓ is within the [`security`] table for the dimension. The
/// primes of all levels together may be above it: nothing is ever encrypted modulo their product. The table is about one
/// modulus and any number of samples. That samples of one secret modulo several moduli are no easier together than as many
/// modulo the largest one is taken for granted, as wherever keys are made for several levels: no attack known to us gains from
/// a sample with a smaller modulus and the same error, but nothing is proved here.
#[derive(Clone)]
pub struct Params(Arc<Inner>);

struct Inner {
    shape: RingShape,
    /// Every prime of any level.
    all: Basis,
    literal: ParamsLiteral,
    levels: Vec<Level>,
    /// By level.
    serving: Vec<Serving>,
    id: Digest,
    pool: Arc<Pool>,
}

/// Which levels ℓ another one serves: bit ℓ − 1.
#[derive(Clone, Copy, Default)]
struct Serving {
    /// Modulo Q.
    plain: u64,
    /// Modulo P too.
    extended: u64,
    /// With its keys.
    keys: u64,
}

impl Serving {
    fn of(high: &Level, levels: &[Level]) -> Self {
        let mut found = Self::default();
        for (bit, low) in levels.iter().enumerate().filter(|(_, low)| high.starts_with(low)) {
            let extended = high.p == low.p;
            found.plain |= 1 << bit;
            found.extended |= u64::from(extended) << bit;
            found.keys |= u64::from(extended && high.splits_like(low)) << bit;
        }
        found
    }
}

impl Params {
    /// Checks `literal`: shape, primes distinct and 1 modulo the order of the ring's root, QP of every level within the
    /// [`security`] table, P of every level large enough, every Q_ℓ larger than the one below.
    ///
    /// P must be at least D·σ·√(1.5·d·α/k), D the largest digit, d digits, k special primes: then the noise of
    /// key switching is at most the rounding of its last step.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn new(literal: &ParamsLiteral) -> Result<Self, HeError> {
        let params = Self::build(literal, true)?;
        for level in &params.0.levels {
            let (p, needed) = (level.p_product(), level.least_p());
            if p < needed {
                return Err(HeError::SpecialPrimesTooSmall { log_p: p.log2(), needed: needed.log2() });
            }
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
        let plain = (1..=q.len()).map(|l| LevelLiteral {
            q: (0..l).collect(),
            p: (q.len()..primes.len()).collect(),
            alpha: alpha.min(l),
        });
        let wanted = if literal.levels.is_empty() { plain.collect() } else { literal.levels.clone() };
        if wanted.len() > MAX_PRIMES {
            return Err(HeError::Shape { what: "1 to 64 levels are needed" });
        }
        for level in &wanted {
            level.check(primes.len())?;
            if secure {
                let used: Vec<u64> = level.q.iter().chain(&level.p).map(|&i| primes[i]).collect();
                security::check(shape.n(), &used)?;
            }
        }
        let all = Basis::new(shape, &primes)?;
        let mut levels: Vec<Level> = Vec::with_capacity(wanted.len());
        for level in &wanted {
            let level = Level::new(&all, level, levels.last())?;
            levels.push(level);
        }
        if (0..primes.len()).any(|i| wanted.iter().all(|l| !l.q.contains(&i) && !l.p.contains(&i))) {
            return Err(HeError::Shape { what: "every prime must serve some level" });
        }
        let serving = (1..=levels.len()).map(|l| Serving::of(&levels[l - 1], &levels[..l])).collect();
        let widest = levels.iter().map(|l| l.qp.limbs()).max().unwrap_or(0);
        let literal = ParamsLiteral { q: Moduli::Primes(q), p: Moduli::Primes(p), ..literal.clone() };
        let mut id = Transcript::new("he params v2");
        id.absorb("literal", &literal.to_bytes());
        let (id, pool) = (id.digest(), Pool::new(&all, widest));
        Ok(Self(Arc::new(Inner { shape, all, literal, levels, serving, id, pool })))
    }

    /// The parameters with their primes written out.
    pub fn literal(&self) -> &ParamsLiteral {
        &self.0.literal
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

    /// The highest level.
    pub fn max_level(&self) -> usize {
        self.0.levels.len()
    }

    /// The primes of Q_ℓ: in a plain chain q_0 … q_{ℓ−1}.
    ///
    /// # Errors
    /// [`HeError::Level`] unless 1 ≤ `level` ≤ [`Params::max_level`].
    pub fn basis(&self, level: usize) -> Result<&Basis, HeError> {
        Ok(&self.level("basis", level)?.q)
    }

    /// The special primes of `level`.
    ///
    /// # Errors
    /// As [`Params::basis`].
    pub fn special(&self, level: usize) -> Result<&Basis, HeError> {
        Ok(&self.level("basis", level)?.p)
    }

    /// The primes of Q_ℓ, then the special ones.
    ///
    /// # Errors
    /// As [`Params::basis`].
    pub fn extended_basis(&self, level: usize) -> Result<&Basis, HeError> {
        Ok(&self.level("basis", level)?.qp)
    }

    /// What a rescale at `level` divides by, Q_ℓ/Q_{ℓ−1}: in a plain chain q_{ℓ−1}. On level 1 Q_1.
    ///
    /// # Errors
    /// As [`Params::basis`].
    pub fn rescale_divisor(&self, level: usize) -> Result<f64, HeError> {
        Ok(self.level("rescale", level)?.divisor)
    }

    /// Primes that a rescale at `level` takes away, alone and together with P: 1 and k + 1 in a plain chain. On level 1
    /// those of P alone.
    ///
    /// # Errors
    /// As [`Params::basis`].
    pub fn dropped_primes(&self, level: usize) -> Result<[usize; 2], HeError> {
        let level = self.level("rescale", level)?;
        let dropped = |d: &Option<Division>| d.as_ref().map(|d| d.dropped().len());
        Ok([dropped(&level.rescale).unwrap_or(0), dropped(&level.by_p_and_last).unwrap_or(level.p.limbs())])
    }

    /// Digits of key switching at `level`, d.
    ///
    /// # Errors
    /// As [`Params::basis`].
    pub fn digits(&self, level: usize) -> Result<usize, HeError> {
        Ok(self.level("digits", level)?.digits.len())
    }

    /// Whether what is known modulo Q of level `high`, and if `extended` modulo P, is known modulo that of `low` after
    /// leaving limbs away: always in a plain chain.
    pub fn serves(&self, high: usize, low: usize, extended: bool) -> bool {
        self.served(high, low, |s| if extended { s.extended } else { s.plain })
    }

    /// As [`Params::serves`], of a switching key: digits begin at the same limbs too.
    pub fn key_serves(&self, high: usize, low: usize) -> bool {
        self.served(high, low, |s| s.keys)
    }

    fn served(&self, high: usize, low: usize, of: impl Fn(&Serving) -> u64) -> bool {
        let serving = high.checked_sub(1).and_then(|h| self.0.serving.get(h));
        serving.is_some_and(|s| (1..=high).contains(&low) && of(s) >> (low - 1) & 1 == 1)
    }

    /// Whether every level has the first primes of the highest, all the same special ones, and digits of as many limbs.
    pub fn is_plain(&self) -> bool {
        self.0.literal.levels.is_empty()
    }

    /// log2 of QP, the largest of any level.
    pub fn log_qp(&self) -> f64 {
        self.0.levels.iter().map(|l| l.qp.log_product()).fold(0.0, f64::max)
    }

    /// Every prime of any level.
    pub(crate) fn all(&self) -> &Basis {
        &self.0.all
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
}

impl LevelLiteral {
    /// Refuses numbers of primes that are not there, no primes, and digits of none or more limbs than there are.
    fn check(&self, primes: usize) -> Result<(), HeError> {
        if self.q.is_empty() || self.p.is_empty() || self.q.iter().chain(&self.p).any(|&i| i >= primes) {
            return Err(HeError::Shape { what: "a level needs primes of both kinds from the lists" });
        }
        if self.alpha == 0 || self.alpha > self.q.len() {
            return Err(HeError::Shape {
                what: "limbs per digit must be between 1 and the primes of a level",
            });
        }
        Ok(())
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
        f.debug_tuple("Params").field(self.literal()).finish()
    }
}
