//! Noise of a layer's result, and the least modulus that keeps it small.

use super::params::{Params, ParamsLiteral};
use super::ring::Ring;
use crate::{ERROR_STD, HeError};

/// Bounds are this many standard deviations: 2^-49.6 for one Gaussian coefficient.
const DEVIATIONS: f64 = 8.0;

/// Low bits of a phase at least, s: room for the bits that are dropped.
pub const LEAST_S_BITS: u32 = 22;

/// Bits of c0 and of c1 that travel beyond the L of a share: d0 = s − 5, d1 = s − 12.
pub(super) const KEPT_BITS: [u32; 2] = [5, 12];

/// Bits of a result's low part s that the bound on |e| stays below: |e| ≤ 2^(s−4).
const MARGIN_BITS: u32 = 4;

/// Standard deviations of the noise e in P* = Δ·y + e, by source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseEstimate {
    /// The client's errors times the kernels: σ·‖w‖₂ over *all* terms of the kernels of one output ciphertext, the terms
    /// of its other outputs included.
    pub products: f64,
    /// The encryption of zero: σ·√(4n/3 + 1), from e·v, e1·s and e0.
    pub zero: f64,
    /// Rounding c1: 2^d1·√(n/18), an error uniform in ±2^(d1−1) at each of 2n/3 coefficients of s.
    pub dropped1: f64,
    /// Rounding c0: 2^d0/√12, uniform in ±2^(d0−1).
    pub dropped0: f64,
    /// Rounding of encodings, modulo two primes: at most ‖w‖₁ + 1; 0 modulo a power of two.
    pub encoding: f64,
    /// Largest |e|: 8 standard deviations of the first three, encodings, and 2^(d0−1).
    pub bound: f64,
}

impl NoiseEstimate {
    /// For kernels of one output ciphertext with Σw² = `sum_squares` over all terms.
    pub fn new(params: &Params, sum_squares: u64) -> Self {
        let n = params.n() as f64;
        let [d0, d1] = params.literal().drop_bits.map(power);
        let none_if_kept = |d: f64| if d > 1.0 { d } else { 0.0 };
        let (d0, d1) = (none_if_kept(d0), none_if_kept(d1));
        let products = ERROR_STD * (sum_squares as f64).sqrt();
        let zero = ERROR_STD * (4.0 * n / 3.0 + 1.0).sqrt();
        let dropped1 = d1 * (n / 18.0).sqrt();
        let gaussian = (products * products + zero * zero + dropped1 * dropped1).sqrt();
        let encoding = params.flood().map_or(0.0, |flood| flood.norm1 as f64 + 1.0);
        Self {
            products,
            zero,
            dropped1,
            dropped0: d0 / 12f64.sqrt(),
            encoding,
            bound: DEVIATIONS * gaussian + encoding + d0 / 2.0,
        }
    }

    /// Of all sources together but encodings.
    pub fn std(&self) -> f64 {
        [self.products, self.zero, self.dropped1, self.dropped0].iter().map(|s| s * s).sum::<f64>().sqrt()
    }

    /// Whether the bound is at most 2^(s−4): a result is off by less than 1 + 1/16.
    pub fn fits(&self, params: &Params) -> bool {
        self.bound <= power(params.s_bits()) / f64::from(1 << MARGIN_BITS)
    }
}

/// 2^bits.
fn power(bits: u32) -> f64 {
    f64::from(bits).exp2()
}

/// d0 and d1 of a modulus of `q_bits` bits.
pub(super) fn cut(q_bits: u32, share_bits: u32) -> Result<[u32; 2], HeError> {
    let s = q_bits.saturating_sub(share_bits);
    if s < LEAST_S_BITS {
        return Err(HeError::Shape { what: "22 bits at least must lie below a share; enlarge the modulus" });
    }
    Ok(KEPT_BITS.map(|kept| s - kept))
}

/// The least k for |y| ≤ `largest` where the result is y/2^`shift_bits`: `largest` < 2^(k−1) − 2^f, so that neither the
/// noise nor the rounding leaves the range.
pub fn message_bits(largest: u64, shift_bits: u32) -> u32 {
    let least = u128::from(largest) + (1u128 << shift_bits) + 1;
    u128::BITS - (least - 1).leading_zeros() + 1
}

impl Params {
    /// The widths of a layer with modulus 2^`q_bits`, cut as the cookbook of this scheme says: d0 = s − 5, d1 = s − 12.
    ///
    /// # Errors
    /// As [`Params::new`], and [`HeError::Shape`] if s is less than [`LEAST_S_BITS`].
    pub fn cut(ring: &Ring, q_bits: u32, k_bits: u32, share_bits: u32) -> Result<Self, HeError> {
        let drop_bits = cut(q_bits, share_bits)?;
        Self::new(ring, ParamsLiteral { log_n: ring.log_n(), q_bits, k_bits, share_bits, drop_bits })
    }

    /// The least modulus of a layer with messages of k bits and shares of L bits, f = k − L, whose kernels have
    /// Σw² ≤ `sum_squares` over all terms of one output ciphertext: s ≥ 22, q ≥ k, |e| ≤ 2^(s−4).
    ///
    /// # Errors
    /// [`HeError::AboveSecurityTable`] or [`HeError::Overflow`] if none is small enough, [`HeError::Shape`] for L > k.
    pub fn choose(ring: &Ring, k_bits: u32, share_bits: u32, sum_squares: u64) -> Result<Self, HeError> {
        let mut q_bits = k_bits.max(share_bits.saturating_add(LEAST_S_BITS));
        loop {
            let params = Self::cut(ring, q_bits, k_bits, share_bits)?;
            if NoiseEstimate::new(&params, sum_squares).fits(&params) {
                return Ok(params);
            }
            q_bits += 1;
        }
    }
}
