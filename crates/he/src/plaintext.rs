use crate::HeError;
use crate::params::Params;
use crate::scheme::Scheme;
use oblivia_base::Digest;
use oblivia_ring::{Ntt, Poly};
use std::fmt;

/// A plaintext polynomial in transformed form, times a scale.
#[derive(Clone)]
pub struct Plaintext<S: Scheme> {
    pub(crate) poly: Poly<Ntt>,
    pub(crate) level: usize,
    pub(crate) scale: S::Scale,
    pub(crate) id: Digest,
}

impl<S: Scheme> Plaintext<S> {
    /// Number of limbs q it is known modulo.
    pub fn level(&self) -> usize {
        self.level
    }

    /// What the message is multiplied by: the scale Δ (CKKS) or a factor modulo t (exact).
    pub fn scale(&self) -> S::Scale {
        self.scale
    }

    /// Whether it is known modulo the special primes too, as double hoisting needs.
    pub fn is_extended(&self) -> bool {
        self.poly.limbs() > self.level
    }

    /// Row of limb `i` of Q_level·P for use at `level` ≤ own level.
    #[inline]
    pub(crate) fn row(&self, level: usize, i: usize) -> &[u64] {
        self.poly.row(if i < level { i } else { i + self.level - level })
    }
}

impl<S: Scheme> fmt::Debug for Plaintext<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plaintext")
            .field("level", &self.level)
            .field("scale", &self.scale)
            .finish_non_exhaustive()
    }
}

/// The same number in every slot, times a scale (rounded) or a factor modulo t: an integer, usable at every level.
pub struct ScalarPlaintext<S: Scheme> {
    pub(crate) value: i128,
    pub(crate) scale: S::Scale,
}

impl<S: Scheme> Clone for ScalarPlaintext<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Scheme> Copy for ScalarPlaintext<S> {}

impl<S: Scheme> PartialEq for ScalarPlaintext<S> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value && self.scale == other.scale
    }
}

impl<S: Scheme> fmt::Debug for ScalarPlaintext<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScalarPlaintext").field("value", &self.value).field("scale", &self.scale).finish()
    }
}

impl ScalarPlaintext<Params> {
    /// round(`value`·`scale`).
    ///
    /// # Errors
    /// [`HeError::Scale`] for a scale that is no finite number of at least 1, [`HeError::Overflow`] if the integer
    /// needs more than 120 bits or `value` is not finite.
    pub fn new(value: f64, scale: f64) -> Result<Self, HeError> {
        check_scale("scalar", scale)?;
        let x = (value * scale).round_ties_even();
        if x.is_finite() && x.abs() < 2f64.powi(119) {
            Ok(Self { value: x as i128, scale })
        } else {
            let bits = if x.is_finite() { x.abs().log2() as u32 + 2 } else { 0 };
            Err(HeError::Overflow { bits, max: 120 })
        }
    }
}

impl<S: Scheme> ScalarPlaintext<S> {
    /// The integer.
    pub fn integer(&self) -> i128 {
        self.value
    }

    /// What the message is multiplied by.
    pub fn scale(&self) -> S::Scale {
        self.scale
    }
}

/// Refuses a scale that is not a finite number of at least 1.
pub(crate) fn check_scale(what: &'static str, scale: f64) -> Result<(), HeError> {
    if scale.is_finite() && scale >= 1.0 { Ok(()) } else { Err(HeError::Scale { what, scale }) }
}

/// Refuses an object of other parameters.
pub(crate) fn check_id(expected: &Digest, id: &Digest, what: &'static str) -> Result<(), HeError> {
    if id == expected { Ok(()) } else { Err(HeError::ParamsMismatch { what }) }
}
