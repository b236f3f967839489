use crate::HeError;
use crate::params::Params;
use oblivia_base::Digest;
use oblivia_ring::{Ntt, Poly};
use std::fmt;

/// A plaintext polynomial in transformed form, times a scale.
#[derive(Clone)]
pub struct Plaintext {
    pub(crate) poly: Poly<Ntt>,
    pub(crate) level: usize,
    pub(crate) scale: f64,
    pub(crate) params: Digest,
}

impl Plaintext {
    /// Number of limbs q it is known modulo.
    pub fn level(&self) -> usize {
        self.level
    }

    /// The scale Δ.
    pub fn scale(&self) -> f64 {
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

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plaintext")
            .field("level", &self.level)
            .field("scale", &self.scale)
            .finish_non_exhaustive()
    }
}

/// The same number in every slot, times a scale, rounded to an integer: usable at every level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScalarPlaintext {
    pub(crate) value: i128,
    pub(crate) scale: f64,
}

impl ScalarPlaintext {
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

    /// The integer.
    pub fn integer(&self) -> i128 {
        self.value
    }

    /// The scale.
    pub fn scale(&self) -> f64 {
        self.scale
    }
}

/// Refuses a scale that is not a finite number of at least 1.
pub(crate) fn check_scale(what: &'static str, scale: f64) -> Result<(), HeError> {
    if scale.is_finite() && scale >= 1.0 { Ok(()) } else { Err(HeError::Scale { what, scale }) }
}

/// Refuses an object of other parameters.
pub(crate) fn check_params(params: &Params, id: &Digest, what: &'static str) -> Result<(), HeError> {
    if *id == params.id() { Ok(()) } else { Err(HeError::ParamsMismatch { what }) }
}
