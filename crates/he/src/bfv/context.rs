use super::{EvaluationKeys, PublicKey};
use crate::params::{Moduli, Params, ParamsLiteral};
use crate::plaintext::check_id;
use crate::scheme::{Arithmetic, Correction, ExactLevel};
use crate::{HeError, KeyRequest, SecretKey};
use oblivia_base::codec::{Decode, DecodeError, Encode, Reader, Writer};
use oblivia_base::seed::EntropySource;
use oblivia_base::{Digest, Transcript};
use oblivia_ring::{Basis, Modulus, RingKind, primes_below};
use std::fmt;
use std::sync::Arc;

/// Most plaintext primes.
const MAX_PRIMES: usize = 8;

/// Exact parameters as asked for. Nothing is checked; [`Context::all`] does that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextLiteral {
    /// Ring and ciphertext primes; the ring must be the standard one.
    pub params: ParamsLiteral,
    /// The plaintext primes, given or the largest of these bit lengths that are 1 modulo 2n and used nowhere else.
    pub t: Moduli,
}

impl ContextLiteral {
    /// Dimension 16384, two plaintext primes of 32 bits, primes of 46, 46, 46, 44, 44, 44, 44 bits and P of 50: log2 QP =
    /// 364 of the 438 bits of the security table.
    ///
    /// Deep enough for weights, square, weights, square, weights, with sums of a thousand products, any messages and
    /// weights without structure, and for flooding the result to a statistical distance of 2^-40. With 44 bits for every
    /// prime (357 in all) five bits are missing at the end: 2^-35. `tests/exact_noise.rs` shows both.
    pub fn circuit_private_16384() -> Self {
        Self {
            params: ParamsLiteral {
                kind: RingKind::Standard,
                log_n: 14,
                q: Moduli::Bits(vec![46, 46, 46, 44, 44, 44, 44]),
                p: Moduli::Bits(vec![50]),
                alpha: 1,
                levels: Vec::new(),
            },
            t: Moduli::Bits(vec![32, 32]),
        }
    }

    /// The canonical literal of contexts made together: every prime written out.
    ///
    /// # Errors
    /// [`HeError::Shape`] for no context, [`HeError::ParamsMismatch`] for contexts over different primes.
    pub fn of(contexts: &[Context]) -> Result<Self, HeError> {
        let first =
            contexts.first().ok_or(HeError::Shape { what: "at least one plaintext prime is needed" })?;
        for c in contexts {
            check_id(&first.params().id(), &c.params().id(), "context")?;
        }
        let t = contexts.iter().map(Context::t).collect();
        Ok(Self { params: first.params().literal().clone(), t: Moduli::Primes(t) })
    }
}

impl Encode for ContextLiteral {
    /// The literal of the ring, then the plaintext primes, tagged as bits or primes.
    fn encode(&self, w: &mut Writer) {
        self.params.encode(w);
        self.t.encode(w);
    }
}

impl Decode for ContextLiteral {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { params: ParamsLiteral::decode(r)?, t: Moduli::decode_at_most(MAX_PRIMES, r)? })
    }
}

/// What the message of a wire is multiplied by: a unit modulo t.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Factor(u64);

impl Factor {
    /// No factor.
    pub const ONE: Self = Self(1);

    /// Its value, in 1 .. t.
    pub fn value(self) -> u64 {
        self.0
    }
}

/// Checked exact parameters: ring, primes and one plaintext prime t. Cheap to clone.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    params: Params,
    t: Basis,
    levels: Vec<ExactLevel>,
    id: Digest,
}

impl Context {
    /// All contexts of `literal`, one per plaintext prime, over the same [`Params`].
    ///
    /// # Errors
    /// As [`Params::new`] and [`Context::new`]; [`HeError::Shape`] unless there are 1 to 8 different plaintext primes.
    pub fn all(literal: &ContextLiteral) -> Result<Vec<Self>, HeError> {
        let count = match &literal.t {
            Moduli::Bits(b) => b.len(),
            Moduli::Primes(p) => p.len(),
        };
        if !(1..=MAX_PRIMES).contains(&count) {
            return Err(HeError::Shape { what: "1 to 8 plaintext primes are needed" });
        }
        Self::over(&Params::new(&literal.params)?, &literal.t)
    }

    /// One context per plaintext prime of `t`.
    ///
    /// # Errors
    /// As [`Context::all`].
    pub fn over(params: &Params, t: &Moduli) -> Result<Vec<Self>, HeError> {
        let taken: Vec<u64> = params.top().qp.moduli().map(Modulus::value).collect();
        let primes = match t {
            Moduli::Bits(bits) => primes_below(bits, params.shape().order(), &taken)?,
            Moduli::Primes(primes) => primes.clone(),
        };
        if primes.iter().enumerate().any(|(i, t)| primes.iter().take(i).any(|u| u == t)) {
            return Err(HeError::Shape { what: "the plaintext primes must be different" });
        }
        primes.iter().map(|&t| Self::new(params, t)).collect()
    }

    /// The plaintext prime `t` over `params`.
    ///
    /// # Errors
    /// [`HeError::Shape`] unless the ring is the standard one, its chain a plain one, and `t` is none of its primes; [`HeError::Ring`] unless
    /// `t` is a prime below 2^50 and 1 modulo 2n.
    pub fn new(params: &Params, t: u64) -> Result<Self, HeError> {
        if params.shape().kind() != RingKind::Standard {
            return Err(HeError::Shape { what: "exact arithmetic needs the standard ring" });
        }
        let t_basis = Basis::new(params.shape(), &[t])?;
        if !params.is_plain() {
            return Err(HeError::Shape { what: "exact arithmetic needs a plain chain of primes" });
        }
        let mut levels = Vec::with_capacity(params.max_level());
        for l in 1..=params.max_level() {
            let (q, p) = (&params.level_data(l).q, &params.level_data(l).p);
            let (last, below) = (q.slice(l - 1..l), q.prefix(l - 1));
            let (mut switch, mut merged) = (None, None);
            if l > 1 {
                switch = Some(Correction::new(&last, &below, &t_basis)?);
                merged = Some(Correction::new(&last.concat(p)?, &below, &t_basis)?);
            }
            levels.push(ExactLevel {
                special: Correction::new(p, q, &t_basis)?,
                last: switch,
                last_and_special: merged,
            });
        }
        // Level 1 divides by no prime of Q, so that one is checked here.
        if params.top().qp.moduli().any(|q| q.value() == t) {
            return Err(HeError::Shape { what: "the plaintext modulus must not be among the primes" });
        }
        let mut id = Transcript::new("he exact params v1");
        id.absorb("params", &params.id().0);
        id.absorb("t", &t.to_le_bytes());
        Ok(Self(Arc::new(Inner { params: params.clone(), t: t_basis, levels, id: id.digest() })))
    }

    /// Ring and primes.
    pub fn params(&self) -> &Params {
        &self.0.params
    }

    /// The plaintext prime.
    pub fn t(&self) -> u64 {
        self.modulus().value()
    }

    /// Slots of a plaintext: n, as two rows of n/2.
    pub fn slots(&self) -> usize {
        self.params().n()
    }

    /// The canonical id: a hash of [`Params::id`] and t.
    pub fn id(&self) -> Digest {
        self.0.id
    }

    /// t with its transform.
    pub(crate) fn basis(&self) -> &Basis {
        &self.0.t
    }

    pub(crate) fn modulus(&self) -> &Modulus {
        self.0.t.modulus(0)
    }

    // ------------------------------------------------------------ factors

    /// The factor `value` modulo t.
    ///
    /// # Errors
    /// [`HeError::Factor`] for a multiple of t.
    pub fn factor(&self, value: i64) -> Result<Factor, HeError> {
        match self.modulus().reduce_i64(value) {
            0 => Err(HeError::Factor { what: "factor", factor: 0, t: self.t() }),
            unit => Ok(Factor(unit)),
        }
    }

    /// The product of two factors.
    pub fn times(&self, left: Factor, right: Factor) -> Factor {
        Factor(self.modulus().mul(left.0 % self.t(), right.0 % self.t()))
    }

    /// The factor that `right` has to be multiplied by to give `left`.
    pub fn quotient(&self, left: Factor, right: Factor) -> Factor {
        // Fermat; a factor is no multiple of t.
        let m = self.modulus();
        self.times(left, Factor(m.pow(right.0 % self.t(), m.value() - 2)))
    }

    /// The factor of a wire with factor `f` after the last prime of `level` was dropped: f·q⁻¹.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn after_switch(&self, f: Factor, level: usize) -> Result<Factor, HeError> {
        Ok(self.quotient(f, self.dropped_prime(level)?))
    }

    /// The factor that becomes `f` when the last prime of `level` is dropped: f·q. What a product is aimed at.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn before_switch(&self, f: Factor, level: usize) -> Result<Factor, HeError> {
        Ok(self.times(f, self.dropped_prime(level)?))
    }

    /// The canonical factor φ of `level`: 1 on the highest, φ_{ℓ−1} = φ_ℓ²/q_{ℓ−1} below.
    ///
    /// A plan that encodes inputs and plaintexts of level ℓ with φ_ℓ has it on every wire: squares and products with
    /// plaintexts are at φ_ℓ² before a switch and at φ_{ℓ−1} after it.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn level_factor(&self, level: usize) -> Result<Factor, HeError> {
        self.params().level("factor", level)?;
        (level + 1..=self.params().max_level())
            .rev()
            .try_fold(Factor::ONE, |f, l| self.after_switch(self.times(f, f), l))
    }

    fn dropped_prime(&self, level: usize) -> Result<Factor, HeError> {
        let q = self.params().basis(level)?.modulus(level - 1).value();
        Ok(Factor(self.modulus().reduce_u64(q)))
    }

    // ------------------------------------------------------------ keys

    /// The evaluation keys of `sk` that `request` asks for. `label` is bound into the uniform halves; decoding needs the
    /// same one.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`] for a key of other parameters, or as [`KeyRequest::check`].
    pub fn evaluation_keys(
        &self,
        sk: &SecretKey,
        request: &KeyRequest,
        label: &[u8],
        rng: &mut dyn EntropySource,
    ) -> Result<EvaluationKeys, HeError> {
        check_id(&self.params().id(), &sk.params().id(), "secret key")?;
        EvaluationKeys::make(self, sk, request, label, rng)
    }

    /// The public key of `sk`. `label` is bound into its uniform half; decoding needs the same one.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`] for a key of other parameters.
    pub fn public_key(
        &self,
        sk: &SecretKey,
        label: &[u8],
        rng: &mut dyn EntropySource,
    ) -> Result<PublicKey, HeError> {
        check_id(&self.params().id(), &sk.params().id(), "secret key")?;
        Ok(PublicKey::make(self, sk, label, rng))
    }
}

impl Arithmetic for Context {
    type Scale = Factor;

    fn params(&self) -> &Params {
        Context::params(self)
    }

    fn id(&self) -> Digest {
        Context::id(self)
    }

    fn check_scale(&self, what: &'static str, factor: Factor) -> Result<(), HeError> {
        if (1..self.t()).contains(&factor.0) {
            Ok(())
        } else {
            Err(HeError::Factor { what, factor: factor.0, t: self.t() })
        }
    }

    fn same_scale(op: &'static str, left: Factor, right: Factor) -> Result<(), HeError> {
        if left == right { Ok(()) } else { Err(HeError::FactorMismatch { op, left: left.0, right: right.0 }) }
    }

    fn product(&self, left: Factor, right: Factor) -> Factor {
        self.times(left, right)
    }

    fn dropped(&self, factor: Factor, level: usize) -> Result<Factor, HeError> {
        self.after_switch(factor, level)
    }

    fn write_scale(factor: Factor, w: &mut Writer) {
        w.u64(factor.0);
    }

    fn read_scale(r: &mut Reader<'_>) -> Result<Factor, DecodeError> {
        r.u64("factor").map(Factor)
    }

    fn error_factor(&self) -> i64 {
        self.t() as i64
    }

    fn exact(&self, level: usize) -> Option<&ExactLevel> {
        self.0.levels.get(level.wrapping_sub(1))
    }
}

impl PartialEq for Context {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Context {}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("params", self.params()).field("t", &self.t()).finish()
    }
}
