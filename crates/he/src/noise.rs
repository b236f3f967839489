//! How large the error of a CKKS computation is, from plan-time numbers alone.
//!
//! The embedding is multiplicative, so errors are tracked per slot: coefficients of variance v give slots of
//! variance κ·v, κ = n in the standard ring (of a complex modulus) and 2n in the conjugate-invariant one. Errors of
//! different origin are taken as independent, and sub-Gaussian once the keys are fixed: a heuristic, checked
//! against measurements in `tests/noise.rs`.
//!
//! Keys stay the same over a computation, so two figures are tracked ([`SlotError`]). The rounding of a rescale
//! reaches slot j as τ0 + τ1·s(ζ_j): its standard deviation depends on the slot through s. Over slots it is a
//! product of two Gaussians, with far heavier tails than one (11 standard deviations among 50,000 slots were
//! measured), so a multiple of the average is no bound. Secret keys are therefore rejected when some slot of s exceeds
//! [`SECRET_PEAK`] of its standard deviations, and bounds start from the worst slot such a key can have.
//!
//! Only + − × / and square roots of doubles are used, which IEEE 754 fixes to the last bit: planners on
//! different machines agree.

use crate::HeError;
use crate::params::{ERROR_STD, Params};
use oblivia_ring::RingKind;

/// c with |error| ≤ c·[`SlotError::worst`] in all of N = 2^17 slots except with probability 2^-64, errors
/// sub-Gaussian: 2N·exp(−c²/2) ≤ δ, so c = √(2 ln(2N/δ)) = √(2·82·ln 2) = 10.66, rounded up.
pub const BOUND_FACTOR_2_64: f64 = 10.7;

/// As [`BOUND_FACTOR_2_64`], for probability 2^-40: √(2·58·ln 2) = 8.97, rounded up.
pub const BOUND_FACTOR_2_40: f64 = 9.0;

/// Largest slot of an accepted secret, in units of √(2κ/3), the standard deviation of a slot of a uniform ternary
/// element. A fresh key fails this with probability n·erfc(6/√2) = n·2^-28.9 and is then drawn again.
pub const SECRET_PEAK: f64 = 6.0;

/// Largest slot of an error inside a switching key, in standard deviations: n·erfc(12/√2) < n·2^-107 per error, so
/// 2^-84 for a thousand errors of dimension 8192. Nothing rejects keys by it.
const KEY_ERROR_PEAK: f64 = 12.0;

/// Standard deviations of the error of slots, in the unit of the values.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct SlotError {
    /// Over slots, keys and randomness.
    pub std: f64,
    /// Over randomness alone, in the worst slot under the worst accepted keys.
    pub worst: f64,
}

impl SlotError {
    fn plus(self, other: Self) -> Self {
        Self { std: rss(self.std, other.std), worst: rss(self.worst, other.worst) }
    }

    fn times(self, factor: f64) -> Self {
        Self { std: factor * self.std, worst: factor * self.worst }
    }

    /// An error that depends on no key.
    fn even(std: f64) -> Self {
        Self { std, worst: std }
    }
}

/// What is known of every slot of a vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Bound on |value|, the error left out.
    pub value: f64,
    /// The error.
    pub error: SlotError,
}

impl Estimate {
    /// Slots with |value| ≤ `value` and no error.
    pub fn exact(value: f64) -> Self {
        Self { value, error: SlotError::default() }
    }

    /// Bound on |error| with factor `c`, e.g. [`BOUND_FACTOR_2_64`].
    pub fn error_bound(&self, c: f64) -> f64 {
        c * self.error.worst
    }

    /// The same slots with an independent error added.
    pub fn plus(self, error: SlotError) -> Self {
        Self { value: self.value, error: self.error.plus(error) }
    }
}

/// √(a² + b²).
fn rss(a: f64, b: f64) -> f64 {
    (a * a + b * b).sqrt()
}

/// Largest slot of s that a secret key may have.
pub(crate) fn secret_limit(params: &Params) -> f64 {
    SECRET_PEAK * (2.0 * kappa(params) / 3.0).sqrt()
}

fn kappa(params: &Params) -> f64 {
    let n = params.n() as f64;
    match params.shape().kind() {
        RingKind::Standard => n,
        RingKind::ConjugateInvariant => 2.0 * n,
    }
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
        Self { params: params.clone(), kappa: kappa(params) }
    }

    // ------------------------------------------------------------ sources

    /// A plaintext's coefficients rounded to integers: √(κ/12)/Δ.
    pub fn plaintext_rounding(&self, scale: f64) -> SlotError {
        SlotError::even((self.kappa / 12.0).sqrt() / scale)
    }

    /// Division by `primes` primes with rounding, Δ being the scale afterwards: the rounding of c0 and of c1·s,
    /// √(κ·primes/12·(1 + 2κ/3))/Δ, about κ√(primes/18)/Δ; in the worst slot s is [`SECRET_PEAK`] times larger.
    pub fn division(&self, primes: usize, scale: f64) -> SlotError {
        let rounding = self.kappa * primes as f64 / 12.0;
        let secret = 2.0 * self.kappa / 3.0;
        SlotError {
            std: (rounding * (1.0 + secret)).sqrt() / scale,
            worst: (rounding * (1.0 + SECRET_PEAK * SECRET_PEAK * secret)).sqrt() / scale,
        }
    }

    /// The errors inside a switching key used at `level` and scale Δ:
    /// κ·√(Σ_j α_j D_j² σ²/12)/(PΔ) over the digits.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn key_errors(&self, level: usize, scale: f64) -> Result<SlotError, HeError> {
        let data = self.params.level("key switch", level)?;
        let p = data.p_product();
        let mut sum = 0.0;
        for (j, digit) in data.digits.iter().enumerate() {
            let ratio = data.digit_product(j) / p;
            sum += digit.limbs.len() as f64 * (ratio * ratio);
        }
        let std = self.kappa * (sum * (ERROR_STD * ERROR_STD) / 12.0).sqrt() / scale;
        Ok(SlotError { std, worst: KEY_ERROR_PEAK * std })
    }

    /// A rotation or a relinearisation at `level` and scale Δ: errors of the key, and division by P.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn key_switching(&self, level: usize, scale: f64) -> Result<SlotError, HeError> {
        Ok(self.key_errors(level, scale)?.plus(self.division(self.params.special(level)?.limbs(), scale)))
    }

    // ------------------------------------------------------------ operations

    /// Encrypted with the secret key: σ√κ/Δ, and the rounding of the plaintext. |values| ≤ `value`.
    pub fn fresh(&self, value: f64, scale: f64) -> Estimate {
        let std = ERROR_STD * self.kappa.sqrt() / scale;
        Estimate::exact(value).plus(SlotError::even(std)).plus(self.plaintext_rounding(scale))
    }

    /// Encrypted with the public key at `level`, modulo QP there and divided by P: σ√(κ(1+4κ/3))/(PΔ), the rounding of the
    /// division and that of the plaintext. What P is, and how many primes it has, depends on the level.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn fresh_public(&self, value: f64, level: usize, scale: f64) -> Result<Estimate, HeError> {
        let (kappa, data) = (self.kappa, self.params.level("encrypt", level)?);
        let std = ERROR_STD * (kappa * (1.0 + 4.0 * kappa / 3.0)).sqrt() / data.p_product() / scale;
        let encryption = SlotError { std, worst: KEY_ERROR_PEAK * std };
        Ok(Estimate::exact(value)
            .plus(encryption)
            .plus(self.division(data.p.limbs(), scale))
            .plus(self.plaintext_rounding(scale)))
    }

    /// Rotated or relinearised at `level` and scale Δ.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn key_switch(&self, x: Estimate, level: usize, scale: f64) -> Result<Estimate, HeError> {
        Ok(x.plus(self.key_switching(level, scale)?))
    }

    /// Relinearised at `level` and scale Δ, the division merged with a rescale.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn key_switch_rescale(&self, x: Estimate, level: usize, scale: f64) -> Result<Estimate, HeError> {
        let after = scale / self.params.rescale_divisor(level)?;
        let [_, dropped] = self.params.dropped_primes(level)?;
        let division = self.division(dropped, after);
        Ok(x.plus(self.key_errors(level, scale)?).plus(division))
    }

    /// Rescaled from `level`; Δ is the scale *afterwards*.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn rescale(&self, x: Estimate, level: usize, scale_after: f64) -> Result<Estimate, HeError> {
        let [dropped, _] = self.params.dropped_primes(level)?;
        Ok(x.plus(self.division(dropped, scale_after)))
    }

    /// x + y, or x − y.
    pub fn add(&self, x: Estimate, y: Estimate) -> Estimate {
        Estimate { value: x.value + y.value, error: x.error.plus(y.error) }
    }

    /// x plus a plaintext with |slots| ≤ `value`, encoded with scale Δ.
    pub fn add_plain(&self, x: Estimate, value: f64, scale: f64) -> Estimate {
        self.add(x, Estimate { value, error: self.plaintext_rounding(scale) })
    }

    /// x times a plaintext with |slots| ≤ `weight`, encoded with scale Δ.
    pub fn mul_plain(&self, x: Estimate, weight: f64, scale: f64) -> Estimate {
        self.dot_plain(x, weight, weight, 1, scale)
    }

    /// Σ x_i ⊙ w_i over `terms` terms, every x_i like `x`, plaintexts encoded with scale Δ. Over all slots, `l1`
    /// bounds Σ|w_i| and `l2` bounds √Σw_i². Every plaintext is rounded in all slots, zeros included.
    pub fn dot_plain(&self, x: Estimate, l1: f64, l2: f64, terms: usize, scale: f64) -> Estimate {
        self.dot(x, l1, l2, terms, self.plaintext_rounding(scale).std)
    }

    /// As [`NoiseModel::dot_plain`] with scalar weights, which are rounded to integers once: 1/√12 each.
    pub fn dot_scalar(&self, x: Estimate, l1: f64, l2: f64, terms: usize, scale: f64) -> Estimate {
        self.dot(x, l1, l2, terms, (1.0f64 / 12.0).sqrt() / scale)
    }

    fn dot(&self, x: Estimate, l1: f64, l2: f64, terms: usize, rounding: f64) -> Estimate {
        let unit = rounding * (terms as f64).sqrt();
        let from_weights =
            SlotError { std: unit * rss(x.value, x.error.std), worst: unit * rss(x.value, x.error.worst) };
        Estimate { value: x.value * l1, error: x.error.times(l2).plus(from_weights) }
    }

    /// x ⊙ y of independent errors, before relinearisation: √(m1²σ2² + m2²σ1² + σ1²σ2²).
    pub fn mul(&self, x: Estimate, y: Estimate) -> Estimate {
        let both = |a: f64, b: f64| rss(rss(x.value * b, y.value * a), a * b);
        let (a, b) = (x.error, y.error);
        let error = SlotError { std: both(a.std, b.std), worst: both(a.worst, b.worst) };
        Estimate { value: x.value * y.value, error }
    }

    /// x ⊙ x, before relinearisation: the error 2me + e² has second moment 4m²σ² + 3σ⁴.
    pub fn square(&self, x: Estimate) -> Estimate {
        let of = |s: f64| rss(2.0 * x.value * s, 3.0f64.sqrt() * s * s);
        let error = SlotError { std: of(x.error.std), worst: of(x.error.worst) };
        Estimate { value: x.value * x.value, error }
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
