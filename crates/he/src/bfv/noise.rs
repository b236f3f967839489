//! How large the phase of an exact computation is, from plan-time numbers alone, and how much floods it.
//!
//! The phase f·m + t·e decides correctness: it must stay below Q/2. Everything here is in units of t, per *coefficient*
//! (a product of elements mixes all slots, so the embedding of [`crate::noise`] would cost a factor √n per
//! product). The phase is taken apart into
//!
//! - a part fixed by messages and weights, whatever the messages are, of which three figures are bounded: the largest
//!   coefficient, the root mean square, and the largest value of the complex embedding;
//! - a random part (errors and roundings) with a standard deviation; errors of different origin are taken as
//!   independent and sub-Gaussian, a heuristic checked in `tests/exact_noise.rs`.
//!
//! A bound is the fixed peak plus c standard deviations ([`crate::noise::BOUND_FACTOR_2_64`]). Only + − × / and square
//! roots of doubles are used, but for [`NoiseModel::spare_bits`] and [`NoiseModel::flooding`], which take logarithms.

use super::context::Context;
use super::flood::{FLOOD_PEAK, Flood};
use crate::HeError;
use crate::noise::{BOUND_FACTOR_2_64, SECRET_PEAK};
use crate::params::ERROR_STD;

/// How unevenly the variance of an error may be spread over the embedding: its mean square there is at most this times
/// the square of its mean. 1 for fresh errors, 2 for a rounding (which meets s), 4 for one that met a plaintext too.
const UNEVEN: f64 = 4.0;

/// What the largest coefficient of r² may exceed c standard deviations by, in units of the variance of r: 2·τ·(largest
/// over mean variance in the embedding), τ = c²/2, [`SECRET_PEAK`]² for the worst accepted key (Laurent and Massart,
/// *Adaptive estimation of a quadratic functional by model selection*, 2000, lemma 1).
const SQUARE_TAIL: f64 = BOUND_FACTOR_2_64 * BOUND_FACTOR_2_64 * SECRET_PEAK * SECRET_PEAK;

/// Largest norm of a random part over its expected one: 1 + c·√([`UNEVEN`]·2/n)/2 is below this from n = 1024 on.
const NORM_PEAK: f64 = 1.5;

/// Largest value in the embedding of a polynomial with coefficients like uniform residues, in standard deviations:
/// values are complex Gaussians, P(|z|² > x) = e^−x, so 64·ln 2 + ln(2^19) = 57.6 for half a million values.
const SPREAD_PEAK: f64 = 7.6;

/// What is known of a phase, in units of t.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Bound on the coefficients of the fixed part.
    pub peak: f64,
    /// Bound on their root mean square.
    pub rms: f64,
    /// Bound on the complex embedding of the fixed part.
    pub slot: f64,
    /// Standard deviation of the coefficients of the random part.
    pub std: f64,
}

impl Estimate {
    /// Bound on every coefficient of the phase, in units of t, with factor `c`.
    pub fn bound(&self, c: f64) -> f64 {
        self.peak + c * self.std
    }

    /// Bound on the root mean square of all coefficients, in units of t.
    pub fn norm(&self) -> f64 {
        self.rms + NORM_PEAK * self.std
    }

    fn plus(self, std: f64) -> Self {
        Self { std: rss(self.std, std), ..self }
    }

    fn over(self, divisor: f64) -> Self {
        Self {
            peak: self.peak / divisor,
            rms: self.rms / divisor,
            slot: self.slot / divisor,
            std: self.std / divisor,
        }
    }
}

/// What is known of the plaintexts of a product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// Root mean square of the coefficients.
    rms: f64,
    /// Bound on the complex embedding.
    slot: f64,
    /// Whether the polynomials of different terms are like independent random ones.
    mixed: bool,
}

/// √(a² + b²).
fn rss(a: f64, b: f64) -> f64 {
    (a * a + b * b).sqrt()
}

/// The noise of one context.
#[derive(Clone, Debug)]
pub struct NoiseModel {
    context: Context,
    n: f64,
    t: f64,
}

impl NoiseModel {
    /// The model of `context`.
    pub fn new(context: &Context) -> Self {
        Self { context: context.clone(), n: context.params().n() as f64, t: context.t() as f64 }
    }

    // ------------------------------------------------------------ plaintexts

    /// Any plaintexts at all, however they conspire with messages and errors.
    pub fn any(&self) -> Weights {
        self.below(self.t / 2.0)
    }

    /// As [`NoiseModel::any`], of |coefficients| ≤ `max`.
    pub fn below(&self, max: f64) -> Weights {
        Weights { rms: max, slot: self.n * max, mixed: false }
    }

    /// Vectors whose polynomials have coefficients like independent uniform residues, as vectors of slots without
    /// structure have (not: equal or periodic slots). A heuristic.
    pub fn spread(&self) -> Weights {
        let rms = self.t / 12.0f64.sqrt();
        Weights { rms, slot: SPREAD_PEAK * self.n.sqrt() * rms, mixed: true }
    }

    /// As [`NoiseModel::spread`] for vectors whose two rows are equal: their embedding is real, and values of real
    /// Gaussians reach √2 times as far.
    pub fn spread_equal_rows(&self) -> Weights {
        let one = self.spread();
        Weights { slot: 2.0f64.sqrt() * one.slot, ..one }
    }

    // ------------------------------------------------------------ sources

    /// Bound on ‖s‖²: 2n/3, and c standard deviations √(2n/9).
    fn secret_norm(&self) -> f64 {
        2.0 * self.n / 3.0 + BOUND_FACTOR_2_64 * (2.0 * self.n / 9.0).sqrt()
    }

    /// Division by any primes: the multiples of t it leaves, uniform in ±t/2 per coefficient of c0 and of c1, which
    /// meets s: √((1 + ‖s‖²)/12), about √(n/18). `primes` roundings to integers come on top, 1/t of that each.
    fn division(&self, primes: usize) -> f64 {
        ((1.0 + primes as f64 / (self.t * self.t)) * (1.0 + self.secret_norm()) / 12.0).sqrt()
    }

    fn special(&self) -> usize {
        self.context.params().top().p.limbs()
    }

    /// The errors inside a switching key used at `level`: σ·√(n·Σ_j α_j D_j²/12)/P over the digits.
    fn key_errors(&self, level: usize) -> Result<f64, HeError> {
        let params = self.context.params();
        let data = params.level("key switch", level)?;
        let p = data.p_product();
        let mut sum = 0.0;
        for (j, digit) in data.digits.iter().enumerate() {
            let ratio = data.digit_product(j) / p;
            sum += digit.limbs.len() as f64 * (ratio * ratio);
        }
        Ok(ERROR_STD * (self.n * sum / 12.0).sqrt())
    }

    /// Any message, no error.
    fn message(&self) -> Estimate {
        Estimate { peak: 0.5, rms: 0.5, slot: self.n / 2.0, std: 0.0 }
    }

    // ------------------------------------------------------------ operations

    /// Encrypted with the secret key: σ.
    pub fn fresh(&self) -> Estimate {
        self.message().plus(ERROR_STD)
    }

    /// Encrypted with the public key modulo QP and divided by P: σ√(1 + 2‖s‖²)/P, and the division. The same at every
    /// level: chains of exact arithmetic are plain, P is that of all.
    pub fn fresh_public(&self) -> Estimate {
        self.message().plus(self.zero())
    }

    /// Standard deviation of an encryption of zero with the public key.
    fn zero(&self) -> f64 {
        let std =
            ERROR_STD * (1.0 + 2.0 * self.secret_norm()).sqrt() / self.context.params().top().p_product();
        rss(std, self.division(self.special()))
    }

    /// x + y, or x − y.
    pub fn add(&self, x: Estimate, y: Estimate) -> Estimate {
        Estimate { peak: x.peak + y.peak, rms: x.rms + y.rms, slot: x.slot + y.slot, std: rss(x.std, y.std) }
    }

    /// x plus any plaintext.
    pub fn add_plain(&self, x: Estimate) -> Estimate {
        self.add(x, self.message())
    }

    /// Rotated, swapped or relinearised at `level`.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn key_switch(&self, x: Estimate, level: usize) -> Result<Estimate, HeError> {
        Ok(x.plus(self.key_errors(level)?).plus(self.division(self.special())))
    }

    /// Relinearised at `level`, the division merged with a modulus switch.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn key_switch_switch(&self, x: Estimate, level: usize) -> Result<Estimate, HeError> {
        self.reduce_switch(x.plus(self.key_errors(level)?), level)
    }

    /// Switched from `level` to the one below: divided by the last prime.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn switch(&self, x: Estimate, level: usize) -> Result<Estimate, HeError> {
        Ok(x.over(self.context.params().rescale_divisor(level)?).plus(self.division(1)))
    }

    /// Σ x_i ⊙ w_i over `terms` terms, every x_i like `x`.
    ///
    /// Fixed part, by Cauchy and Schwarz: a coefficient of w·x is at most ‖w‖·‖x‖; the embedding multiplies. Random
    /// part: √n·rms(w) standard deviations. Mixed plaintexts add up like √terms, others like terms.
    pub fn dot_plain(&self, x: Estimate, terms: usize, w: Weights) -> Estimate {
        let d = terms as f64;
        let d = if w.mixed { d.sqrt() } else { d };
        Estimate {
            peak: d * self.n * w.rms * x.rms,
            rms: d * w.slot * x.rms,
            slot: d * w.slot * (d * x.slot).min(self.n * x.rms),
            std: d * self.n.sqrt() * w.rms * x.std,
        }
    }

    /// x ⊙ w.
    pub fn mul_plain(&self, x: Estimate, w: Weights) -> Estimate {
        self.dot_plain(x, 1, w)
    }

    /// Σ c_i·x_i over `terms` different ciphertexts like `x`, integers |c_i| ≤ `max` (at most t/2).
    pub fn dot_scalars(&self, x: Estimate, terms: usize, max: f64) -> Estimate {
        let d = terms as f64;
        Estimate {
            peak: d * max * x.peak,
            rms: d * max * x.rms,
            slot: d * max * x.slot,
            std: d.sqrt() * max * x.std,
        }
    }

    /// Σ of `terms` products with rotations of x in `giants` groups by double hoisting at `level`, before
    /// [`NoiseModel::reduce`] or [`NoiseModel::reduce_switch`]: errors of the keys of the babies meet plaintexts, those of
    /// the giants and their division do not.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn double_hoisted(
        &self,
        x: Estimate,
        terms: usize,
        giants: usize,
        w: Weights,
        level: usize,
    ) -> Result<Estimate, HeError> {
        let key = self.key_errors(level)?;
        let giant = rss(key, self.division(self.special()));
        Ok(self.dot_plain(x.plus(key), terms, w).plus((giants as f64).sqrt() * giant))
    }

    /// Divided by P.
    pub fn reduce(&self, x: Estimate) -> Estimate {
        x.plus(self.division(self.special()))
    }

    /// Divided by P and the last prime of `level`.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn reduce_switch(&self, x: Estimate, level: usize) -> Result<Estimate, HeError> {
        let q = self.context.params().rescale_divisor(level)?;
        Ok(x.over(q).plus(self.division(self.special() + 1)))
    }

    /// x ⊙ y of independent errors, before relinearisation.
    pub fn mul(&self, x: Estimate, y: Estimate) -> Estimate {
        let (n, t) = (self.n, self.t);
        let cross = n.sqrt() * rss(x.rms * y.std, y.rms * x.std);
        Estimate {
            peak: t * (n * x.rms * y.rms + SQUARE_TAIL * x.std * y.std),
            rms: t * x.rms * y.slot.min(n * y.rms),
            slot: t * x.slot * y.slot,
            std: t * rss(cross, (UNEVEN * n).sqrt() * x.std * y.std),
        }
    }

    /// x ⊙ x, before relinearisation: with x = f + r, a coefficient of f² is at most ‖f‖², 2fr has √n·2·rms(f)
    /// standard deviations of r, r² has √(2n) of its variance, twice that where the embedding is uneven.
    pub fn square(&self, x: Estimate) -> Estimate {
        let (n, t) = (self.n, self.t);
        Estimate {
            peak: t * (n * x.rms * x.rms + SQUARE_TAIL * x.std * x.std),
            rms: t * x.rms * x.slot.min(n * x.rms),
            slot: t * x.slot * x.slot,
            std: t * rss(2.0 * n.sqrt() * x.rms * x.std, (2.0 * UNEVEN * n).sqrt() * x.std * x.std),
        }
    }

    // ------------------------------------------------------------ circuit privacy

    /// The least flooding that hides all of `x` but its message: statistical distance 2^−`bits` between replies of equal
    /// message, see [`Flood`].
    pub fn flooding(&self, x: Estimate, bits: u32) -> Flood {
        // Message and zero-encryption are parts of what is hidden.
        let norm = self.n.sqrt() * (self.rerandomised(x).norm() + 0.5);
        let width = (norm / (2.0 * ERROR_STD)).log2() + f64::from(bits);
        Flood::new(width.ceil().clamp(1.0, 1e6) as u32)
    }

    /// With a fresh encryption of zero added.
    fn rerandomised(&self, x: Estimate) -> Estimate {
        x.plus(self.zero())
    }

    /// Flooded: |noise| ≤ 30·2^k on top, certainly.
    pub fn flood(&self, x: Estimate, flood: Flood) -> Estimate {
        let width = FLOOD_PEAK * 2f64.powi(flood.log_width() as i32);
        let x = self.rerandomised(x);
        Estimate { peak: x.peak + width, rms: x.rms + width, slot: x.slot + self.n * width, std: x.std }
    }

    /// With the low `cut` bits of both halves forgotten on level 1, as in a [`super::Reply`].
    pub fn cut(&self, x: Estimate, cut: [u32; 2]) -> Estimate {
        let [c0, c1] = cut.map(|bits| 2f64.powi(bits as i32));
        let fixed = Estimate { peak: x.peak + c0 / 2.0 + 0.5, rms: x.rms + c0 / 2.0 + 0.5, ..x };
        fixed.plus(c1 * (self.secret_norm() / 12.0).sqrt())
    }

    // ------------------------------------------------------------ verdict

    /// log2 of Q/2 over the bound of the phase at `level`; exact with probability 1 − 2^-64 if positive.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn spare_bits(&self, x: Estimate, level: usize) -> Result<f64, HeError> {
        let log_q = self.context.params().basis(level)?.log_product();
        Ok(log_q - 1.0 - (self.t * x.bound(BOUND_FACTOR_2_64)).log2())
    }
}
