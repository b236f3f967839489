//! What a scheme adds to [`Params`]: what messages are multiplied by, how errors enter, how divisions round.

use crate::HeError;
use crate::convert::Conversion;
use crate::params::Params;
use oblivia_base::Digest;
use oblivia_base::codec::{DecodeError, Reader, Writer};
use oblivia_ring::kernel::{self, CentredTerm};
use oblivia_ring::{Basis, Modulus, Shoup};
use std::fmt;

/// A scheme over ciphertexts (c0, c1) with c0 + c1·s = message + error.
///
/// [`Params`] is the scheme [`crate::ckks`], which needs nothing more; [`crate::bfv::Context`] the scheme
/// [`crate::bfv`]. Everything else (keys, ciphertexts, evaluators) is written once. No other scheme can be added from
/// outside: the arithmetic is private.
pub trait Scheme: Arithmetic {}

impl<S: Arithmetic> Scheme for S {}

/// The private part of [`Scheme`].
pub trait Arithmetic: Clone + fmt::Debug + Send + Sync + 'static {
    /// What the message is multiplied by.
    type Scale: Copy + PartialEq + fmt::Debug + Send + Sync + 'static;

    /// Ring and primes.
    fn params(&self) -> &Params;
    /// What objects of this scheme are bound to.
    fn id(&self) -> Digest;
    /// Refuses what is no scale.
    fn check_scale(&self, what: &'static str, scale: Self::Scale) -> Result<(), HeError>;
    /// Refuses unequal scales.
    fn same_scale(op: &'static str, left: Self::Scale, right: Self::Scale) -> Result<(), HeError>;
    /// The scale of a product.
    fn product(&self, left: Self::Scale, right: Self::Scale) -> Self::Scale;
    /// The scale after a division by the last prime of `level`.
    fn dropped(&self, scale: Self::Scale, level: usize) -> Result<Self::Scale, HeError>;
    /// Appends a scale: 8 bytes.
    fn write_scale(scale: Self::Scale, w: &mut Writer);
    /// Reads a scale, unchecked.
    fn read_scale(r: &mut Reader<'_>) -> Result<Self::Scale, DecodeError>;
    /// What errors are multiplied by.
    fn error_factor(&self) -> i64;
    /// What keeps the message exact in divisions at `level`, if it is exact.
    fn exact(&self, level: usize) -> Option<&ExactLevel>;
}

/// Corrections of all divisions at one level.
#[derive(Debug)]
pub struct ExactLevel {
    /// Of a division by P.
    pub(crate) special: Correction,
    /// Of a division by the last prime; none on level 1.
    pub(crate) last: Option<Correction>,
    /// Of a division by both; none on level 1.
    pub(crate) last_and_special: Option<Correction>,
}

/// How a division by D leaves a multiple of t: with δ ≡ c mod D it divides c − δ − D·u, u = \[−δ·D⁻¹\]_t centred,
/// so that δ + D·u is a multiple of t (Gentry, Halevi, Smart, *Homomorphic evaluation of the AES circuit*, 2012,
/// appendix D).
pub(crate) struct Correction {
    t: Modulus,
    /// From the dropped primes to t.
    to_t: Conversion,
    /// −D⁻¹ modulo t.
    neg_inverse: Shoup,
    /// D modulo each kept prime.
    divisor: Vec<Shoup>,
}

impl Correction {
    /// For a division by the product of `dropped`, with `t` over one prime.
    pub(crate) fn new(dropped: &Basis, kept: &Basis, t: &Basis) -> Result<Self, HeError> {
        let m = *t.modulus(0);
        let inverse = m
            .inv(dropped.product_mod(&m))
            .ok_or(HeError::Shape { what: "the plaintext modulus must not be among the primes" })?;
        Ok(Self {
            t: m,
            to_t: Conversion::new(dropped, t)?,
            neg_inverse: m.shoup(m.neg(inverse)),
            divisor: kept.moduli().map(|q| q.shoup(dropped.product_mod(q))).collect(),
        })
    }

    /// out ← u from the prepared rows of δ.
    pub(crate) fn remainder<'a>(&self, rows: impl ExactSizeIterator<Item = &'a [u64]>, out: &mut [u64]) {
        self.to_t.apply(0, &self.t, rows, out);
        kernel::scale_assign(&self.t, out, self.neg_inverse);
    }

    /// D·u for kept prime `i`.
    pub(crate) fn term<'a>(&'a self, i: usize, u: &'a [u64]) -> CentredTerm<'a> {
        CentredTerm { row: u, modulus: &self.t, factor: self.divisor[i] }
    }
}

impl fmt::Debug for Correction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Correction").field("t", &self.t.value()).finish_non_exhaustive()
    }
}

/// CKKS: a real scale, errors as they are, divisions that round.
impl Arithmetic for Params {
    type Scale = f64;

    fn params(&self) -> &Params {
        self
    }

    fn id(&self) -> Digest {
        Params::id(self)
    }

    fn check_scale(&self, what: &'static str, scale: f64) -> Result<(), HeError> {
        crate::plaintext::check_scale(what, scale)
    }

    fn same_scale(op: &'static str, left: f64, right: f64) -> Result<(), HeError> {
        if left.to_bits() == right.to_bits() {
            Ok(())
        } else {
            Err(HeError::ScaleMismatch { op, left, right })
        }
    }

    fn product(&self, left: f64, right: f64) -> f64 {
        left * right
    }

    fn dropped(&self, scale: f64, level: usize) -> Result<f64, HeError> {
        Ok(scale / self.rescale_divisor(level)?)
    }

    fn write_scale(scale: f64, w: &mut Writer) {
        w.f64(scale);
    }

    fn read_scale(r: &mut Reader<'_>) -> Result<f64, DecodeError> {
        r.f64("scale")
    }

    fn error_factor(&self) -> i64 {
        1
    }

    fn exact(&self, _level: usize) -> Option<&ExactLevel> {
        None
    }
}
