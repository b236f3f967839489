//! The choice of blocks and primes of a flooded layer.

use super::plan::Widths;
use super::shape::LinearShape;
use super::{CoefficientError, Packing};
use oblivia_he::HeError;
use oblivia_he::coefficient::{Flood, Params, Ring};

/// A flooded layer before its ring is there: layers of one session share a ring, the one that the most demanding needs.
#[derive(Clone, Debug)]
pub struct FloodedPlan {
    /// How it is laid out.
    pub packing: Packing,
    /// What the flood has to cover.
    pub flood: Flood,
    /// Bits of the least primes that do.
    pub prime_bits: u32,
    k_bits: u32,
    share_bits: u32,
}

impl FloodedPlan {
    /// The plan with the least primes for degree `n`, messages of k bits and shares of L bits. `norms` has Σ|w| of every
    /// output channel; `results` counts the results of all flooded layers, which are opened together. Layout and primes
    /// depend on each other, because the noise of a result has the weights of all outputs of its ciphertext in it.
    ///
    /// # Errors
    /// As [`Packing::plan`]; [`CoefficientError::Count`] for another number of channels; [`HeError::FloodTooSmall`] if no
    /// two primes are enough.
    pub fn choose(
        n: usize,
        shape: &LinearShape,
        k_bits: u32,
        share_bits: u32,
        norms: &[u64],
        results: u64,
    ) -> Result<Self, CoefficientError> {
        let least = |norm1| {
            let flood = Flood { norm1, results };
            Ok::<_, HeError>((flood, flood.prime_bits(n, k_bits, share_bits)?))
        };
        let (_, mut prime_bits) = least(norms.iter().copied().max().unwrap_or(0))?;
        loop {
            let down_bits = Params::flooded_reply_bits(share_bits);
            let packing = Packing::plan(shape, &Widths { n, up_bits: 2 * prime_bits, down_bits })?;
            let (flood, needed) = least(packing.norm1(norms)?)?;
            if needed <= prime_bits {
                return Ok(Self { packing, flood, prime_bits, k_bits, share_bits });
            }
            prime_bits = needed;
        }
    }

    /// The widths on a ring whose primes have [`FloodedPlan::prime_bits`] bits or more.
    ///
    /// # Errors
    /// As [`Params::flooded`].
    pub fn params(&self, ring: &Ring) -> Result<Params, CoefficientError> {
        Ok(Params::flooded(ring, self.k_bits, self.share_bits, self.flood)?)
    }
}
