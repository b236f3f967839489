//! How large the error of a CKKS computation is, from plan-time numbers alone.
//!
//! The embedding is multiplicative, so errors are tracked per slot: coefficients of variance v give slots of
//! variance κ·v, κ = n in the standard ring (of a complex modulus) and 2n in the conjugate-invariant one. Errors of
//! different origin are taken as independent, slot errors as sub-Gaussian: a heuristic, checked against
//! measurements in `tests/noise.rs`.
//!
//! Only + − × / and square roots of doubles are used, which IEEE 754 fixes to the last bit: planners on
//! different machines agree.

use crate::HeError;
use crate::params::{ERROR_STD, Params};
use oblivia_ring::RingKind;

/// c with |error| ≤ c·std in all of N = 2^17 slots except with probability 2^-64, errors sub-Gaussian:
/// 2N·exp(−c²/2) ≤ δ, so c = √(2 ln(2N/δ)) = √(2·82·ln 2) = 10.66, rounded up.
pub const BOUND_FACTOR_2_64: f64 = 10.7;

/// As [`BOUND_FACTOR_2_64`], for probability 2^-40: √(2·58·ln 2) = 8.97, rounded up.
pub const BOUND_FACTOR_2_40: f64 = 9.0;

/// What is known of every slot of a vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Bound on |value|, the error left out.
    pub value: f64,
    /// Standard deviation of the error, in the unit of the values.
    pub std: f64,
}

impl Estimate {
    /// Bound on |error| with factor `c`, e.g. [`BOUND_FACTOR_2_64`].
    pub fn error_bound(&self, c: f64) -> f64 {
        c * self.std
    }

    fn plus(self, std: f64) -> Self {
        Self { value: self.value, std: rss(self.std, std) }
    }
}

/// √(a² + b²).
fn rss(a: f64, b: f64) -> f64 {
    (a * a + b * b).sqrt()
}

/// The noise of one set of parameters.
#[derive(Clone, Debug)]
pub struct NoiseModel {
    params: Params,
    kappa: f64,
}

impl NoiseModel {
    /// The model of `params`.
    pub fn new(params: &Params) -> Self {
        let n = params.n() as f64;
        let kappa = match params.shape().kind() {
            RingKind::Standard => n,
            RingKind::ConjugateInvariant => 2.0 * n,
        };
        Self { params: params.clone(), kappa }
    }

    /// Std of a plaintext's slots due to rounding its coefficients: √(κ/12)/Δ.
    pub fn plaintext_rounding(&self, scale: f64) -> f64 {
        (self.kappa / 12.0).sqrt() / scale
    }

    /// Encrypted with the secret key: σ√κ/Δ, and the rounding of the plaintext. |values| ≤ `value`.
    pub fn fresh(&self, value: f64, scale: f64) -> Estimate {
        let std = ERROR_STD * self.kappa.sqrt() / scale;
        Estimate { value, std }.plus(self.plaintext_rounding(scale))
    }

    /// Encrypted with the public key modulo QP and divided by P: σ√(κ(1+4κ/3))/(PΔ), the rounding of the division
    /// and that of the plaintext.
    pub fn fresh_public(&self, value: f64, scale: f64) -> Estimate {
        let kappa = self.kappa;
        let std = ERROR_STD * (kappa * (1.0 + 4.0 * kappa / 3.0)).sqrt() / self.params.p_product() / scale;
        let special = self.params.special().limbs();
        Estimate { value, std }.plus(self.division_floor(special, scale)).plus(self.plaintext_rounding(scale))
    }

    /// Std added by dividing by `primes` primes and rounding, at the scale Δ afterwards: the rounding of c0 and of
    /// c1·s, √(κ·primes/12·(1 + 2κ/3))/Δ, about κ√(primes/18)/Δ.
    pub fn division_floor(&self, primes: usize, scale: f64) -> f64 {
        let kappa = self.kappa;
        (kappa * primes as f64 / 12.0 * (1.0 + 2.0 * kappa / 3.0)).sqrt() / scale
    }

    /// Std added by a rotation or a relinearisation at `level` and scale Δ.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn key_switch_std(&self, level: usize, scale: f64) -> Result<f64, HeError> {
        let floor = self.division_floor(self.params.special().limbs(), scale);
        Ok(rss(self.key_errors(level, scale)?, floor))
    }

    /// Std added by the errors of a switching key at `level`, before the division's rounding:
    /// κ·√(Σ_j α_j D_j² σ²/12)/(PΔ) over the digits.
    fn key_errors(&self, level: usize, scale: f64) -> Result<f64, HeError> {
        let data = self.params.level("key switch", level)?;
        let p = self.params.p_product();
        let mut sum = 0.0;
        for (j, digit) in data.digits.iter().enumerate() {
            let ratio = self.params.digit_product(level, j) / p;
            sum += digit.limbs.len() as f64 * (ratio * ratio);
        }
        Ok(self.kappa * (sum * (ERROR_STD * ERROR_STD) / 12.0).sqrt() / scale)
    }

    /// Rotated or relinearised at `level` and scale Δ.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn key_switch(&self, x: Estimate, level: usize, scale: f64) -> Result<Estimate, HeError> {
        Ok(x.plus(self.key_switch_std(level, scale)?))
    }

    /// Relinearised at `level` and scale Δ, the division merged with a rescale.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn key_switch_rescale(&self, x: Estimate, level: usize, scale: f64) -> Result<Estimate, HeError> {
        let after = scale / self.params.rescale_prime(level)?;
        let floor = self.division_floor(self.params.special().limbs() + 1, after);
        Ok(x.plus(self.key_errors(level, scale)?).plus(floor))
    }

    /// Rescaled; Δ is the scale *afterwards*.
    pub fn rescale(&self, x: Estimate, scale_after: f64) -> Estimate {
        x.plus(self.division_floor(1, scale_after))
    }

    /// x + y, or x − y.
    pub fn add(&self, x: Estimate, y: Estimate) -> Estimate {
        Estimate { value: x.value + y.value, std: rss(x.std, y.std) }
    }

    /// x plus a plaintext with |slots| ≤ `value`, encoded with scale Δ.
    pub fn add_plain(&self, x: Estimate, value: f64, scale: f64) -> Estimate {
        let std = self.plaintext_rounding(scale);
        self.add(x, Estimate { value, std })
    }

    /// x times a plaintext with |slots| ≤ `weight`, encoded with scale Δ.
    pub fn mul_plain(&self, x: Estimate, weight: f64, scale: f64) -> Estimate {
        self.dot_plain(x, weight, weight, 1, scale)
    }

    /// Σ x_i ⊙ w_i over `terms` terms, every x_i like `x`, plaintexts encoded with scale Δ. Over all slots, `l1`
    /// bounds Σ|w_i| and `l2` bounds √Σw_i². Every plaintext is rounded in all slots, zeros included.
    pub fn dot_plain(&self, x: Estimate, l1: f64, l2: f64, terms: usize, scale: f64) -> Estimate {
        self.dot(x, l1, l2, terms, self.plaintext_rounding(scale))
    }

    /// As [`NoiseModel::dot_plain`] with scalar weights, which are rounded to integers once: 1/√12 each.
    pub fn dot_scalar(&self, x: Estimate, l1: f64, l2: f64, terms: usize, scale: f64) -> Estimate {
        self.dot(x, l1, l2, terms, (1.0f64 / 12.0).sqrt() / scale)
    }

    fn dot(&self, x: Estimate, l1: f64, l2: f64, terms: usize, rounding: f64) -> Estimate {
        let from_weights = rounding * (terms as f64).sqrt() * rss(x.value, x.std);
        Estimate { value: x.value * l1, std: rss(x.std * l2, from_weights) }
    }

    /// x ⊙ y of independent errors, before relinearisation: √(m1²σ2² + m2²σ1² + σ1²σ2²).
    pub fn mul(&self, x: Estimate, y: Estimate) -> Estimate {
        let cross = rss(x.value * y.std, y.value * x.std);
        Estimate { value: x.value * y.value, std: rss(cross, x.std * y.std) }
    }

    /// x ⊙ x, before relinearisation: the error 2me + e² has second moment 4m²σ² + 3σ⁴.
    pub fn square(&self, x: Estimate) -> Estimate {
        let s = x.std;
        Estimate { value: x.value * x.value, std: rss(2.0 * x.value * s, 3.0f64.sqrt() * s * s) }
    }

    /// Whether value and error bound (factor `c`) stay below half the modulus at `level` and scale Δ, so that
    /// nothing wraps around. A coefficient never exceeds the largest slot.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn fits(&self, x: Estimate, c: f64, level: usize, scale: f64) -> Result<bool, HeError> {
        let q: f64 = self.params.basis(level)?.moduli().map(|m| m.value() as f64).product();
        Ok(2.0 * scale * (x.value + x.error_bound(c)) < q)
    }
}
