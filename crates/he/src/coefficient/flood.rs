//! Layers whose noise is drowned: modulo two primes, with so many low bits below a share that the mask hides the noise.
//!
//! The client sees c0 + r with r uniform modulo q, and, once a result is opened, the server's share g(r), where
//! g(x) = ⌊(−x mod q)·2^L/q⌋ + 1 has 2^L steps. Let c0 = Ỹ − c1·s + E with Ỹ = round(q·y/2^k) of the exact sum y and E all that
//! encryption, encoding and weights have added before anything was dropped. X = c0 + r is uniform whatever c0 is, and the share
//! is g(X − Ỹ + c1·s − E). Leaving E out changes it only if one of the 2^L steps lies between: for at most 2^L·|E| of the q
//! values of X. So what m results show is within statistical distance
//!
//! m·2^L·max|E|/q
//!
//! of what X, c1, the client's secrets and the exact y determine; after that c1 is one RLWE sample under the fresh v, which
//! nothing else depends on. Dropping bits of X and c1 comes after. [`Params::flooded`] demands that this is at most 2^-40,
//! with the largest |E| there can be, from norms alone: no probability and no variance enters.
//!
//! E ≤ B·‖w‖₁ (the client's errors, |e| ≤ B = 29) + B·(2n + 1) (e·v + e0 + e1·s) + ‖w‖₁ + 1 (encodings of both parts, the bias and
//! Ỹ, half a unit each), where ‖w‖₁ is Σ|w| over all kernels of one output ciphertext.

use super::noise::cut;
use super::params::{Params, ParamsLiteral};
use super::ring::{LEAST_PRIME_BITS, MAX_MODULUS_BITS, Ring};
use crate::HeError;
use oblivia_ring::sample::GAUSSIAN_BOUND;

/// What a client may learn of noise through the results of an image: statistical distance 2^-40.
pub const DISTANCE_BITS: u32 = 40;

/// Bits of a prime of a flooded layer at most.
pub const MOST_PRIME_BITS: u32 = oblivia_ring::MAX_MODULUS_BITS;

/// What the flood of a layer has to cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flood {
    /// Largest Σ|w| over all kernels of one output ciphertext.
    pub norm1: u64,
    /// Results that are opened together, those of other flooded layers included.
    pub results: u64,
}

impl Flood {
    /// Largest |E| for degree n.
    pub fn largest_noise(&self, n: usize) -> u128 {
        let (norm, bound) = (u128::from(self.norm1), u128::from(GAUSSIAN_BOUND.unsigned_abs()));
        bound * (norm + 2 * n as u128 + 1) + norm + 1
    }

    /// The least q there may be for shares of L bits: results·2^L·|E|·2^40; `None` above 2^126.
    fn least_modulus(&self, n: usize, share_bits: u32) -> Option<u128> {
        let noise = self.largest_noise(n).checked_mul(u128::from(self.results.max(1)))?;
        let shift = share_bits.checked_add(DISTANCE_BITS)?;
        let least = noise.checked_shl(shift)?;
        (noise.leading_zeros() >= shift + 2).then_some(least)
    }

    /// Bits of the least primes that will do for messages of k bits and shares of L bits.
    ///
    /// # Errors
    /// [`HeError::FloodTooSmall`] if none of up to [`MOST_PRIME_BITS`] will.
    pub fn prime_bits(&self, n: usize, k_bits: u32, share_bits: u32) -> Result<u32, HeError> {
        let least = self.least_modulus(n, share_bits);
        // Primes of b bits that there are for this n are far above 0.95·2^b.
        let fits = |b: &u32| {
            let product = 1u128 << (2 * b);
            least.is_some_and(|least| product - product / 10 >= least) && 2 * b > k_bits
        };
        let found = (LEAST_PRIME_BITS..=MOST_PRIME_BITS).find(fits);
        found.ok_or(HeError::FloodTooSmall { bits: 2 * MOST_PRIME_BITS, needed: bits_of(least) })
    }
}

/// Bits of a least modulus; 127 stands for any above 126.
fn bits_of(least: Option<u128>) -> u32 {
    least.map_or(127, |least| u128::BITS - least.leading_zeros())
}

impl Params {
    /// The widths of a flooded layer on a ring modulo two primes, with messages of k bits and shares of L bits, cut as
    /// layers modulo powers of two are: d0 = s − 5, d1 = s − 12. [`super::accumulate`] refuses sums of more weight than
    /// `flood` says.
    ///
    /// # Errors
    /// [`HeError::FloodTooSmall`] if the distance would be above 2^-40; [`HeError::Shape`] for L > k, k > 52 or a ring
    /// modulo powers of two.
    pub fn flooded(ring: &Ring, k_bits: u32, share_bits: u32, flood: Flood) -> Result<Self, HeError> {
        let shape = |ok: bool, what| if ok { Ok(()) } else { Err(HeError::Shape { what }) };
        let primes =
            ring.primes().ok_or(HeError::Shape { what: "flooding needs a modulus of two primes" })?;
        let q_bits = ring.max_modulus_bits();
        shape(
            (1..=k_bits).contains(&share_bits),
            "share bits <= message bits is needed, and one bit at least",
        )?;
        shape(
            k_bits <= MAX_MODULUS_BITS && k_bits < q_bits,
            "messages of 52 bits at most, below the modulus",
        )?;
        let least = flood.least_modulus(ring.n(), share_bits);
        if least.is_none_or(|least| primes.q() < least) {
            return Err(HeError::FloodTooSmall { bits: q_bits, needed: bits_of(least) });
        }
        let drop_bits = cut(q_bits, share_bits)?;
        let literal = ParamsLiteral { log_n: ring.log_n(), q_bits, k_bits, share_bits, drop_bits };
        Ok(Self { literal, ring: ring.clone(), flood: Some(flood) })
    }

    /// Bits of a coefficient of c0 and of c1 in the reply of any flooded layer with shares of L bits.
    pub fn flooded_reply_bits(share_bits: u32) -> [u32; 2] {
        super::noise::KEPT_BITS.map(|kept| share_bits.saturating_add(kept))
    }

    /// log2 of the statistical distance between what a client sees of the results of a flooded layer and what the exact sums
    /// determine, if all of [`Flood::results`] were this layer's; `None` for a layer modulo a power of two.
    pub fn log_distance(&self) -> Option<f64> {
        let (flood, primes) = (self.flood?, self.ring.primes()?);
        let noise = flood.largest_noise(self.n()) as f64 * flood.results.max(1) as f64;
        Some(noise.log2() + f64::from(self.share_bits()) - (primes.q() as f64).log2())
    }
}
