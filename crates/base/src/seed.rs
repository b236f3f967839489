//! Seeds, domain-separated pseudo-random generators, and the entropy of one session.

use crate::Secret;
use crate::codec::{Decode, DecodeError, Encode, Reader, Writer};
use crate::transcript::Transcript;
use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng, TryCryptoRng, TryRng};
use std::convert::Infallible;
use std::fmt;
use thiserror::Error;

/// A seed both sides may know, e.g. of the uniform half of a ciphertext.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicSeed(pub [u8; 32]);

impl PublicSeed {
    /// A fresh seed.
    pub fn fresh(rng: &mut dyn EntropySource) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }
}

impl Encode for PublicSeed {
    fn encode(&self, w: &mut Writer) {
        w.raw(&self.0);
    }
}

impl Decode for PublicSeed {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(r.array("seed")?))
    }
}

/// What a newtype of ChaCha20 takes to be a generator whose state is not printed.
macro_rules! stream {
    ($name:ident, $shown:literal) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($shown)
            }
        }

        impl TryRng for $name {
            type Error = Infallible;
            fn try_next_u32(&mut self) -> Result<u32, Infallible> {
                Ok(self.0.next_u32())
            }
            fn try_next_u64(&mut self) -> Result<u64, Infallible> {
                Ok(self.0.next_u64())
            }
            fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
                self.0.fill_bytes(dst);
                Ok(())
            }
        }

        impl TryCryptoRng for $name {}
    };
}

/// ChaCha20 keyed by a seed and a domain-separated label.
///
/// Distinct (seed, domain, parts) give independent streams; the same give the same stream on every
/// machine and thread count, because callers derive one generator per row or message instead of sharing
/// one.
pub struct Prg(ChaCha20Rng);

impl Prg {
    /// The stream of `seed` under `domain` (a constant of the caller, e.g. `"he ciphertext a v1"`) and
    /// `parts` (indices, transcript digests; boundaries are hashed).
    pub fn new(seed: &[u8; 32], domain: &str, parts: &[&[u8]]) -> Self {
        let mut t = Transcript::new("prg v1");
        t.absorb("domain", domain.as_bytes());
        t.absorb("seed", seed);
        for part in parts {
            t.absorb("part", part);
        }
        let key = Secret::new(t.digest().0);
        t.wipe();
        Self(ChaCha20Rng::from_seed(*key.expose()))
    }
}

stream!(Prg, "Prg(..)");

/// What samplers take: any infallible cryptographic generator.
pub trait EntropySource: Rng + rand_core::CryptoRng + Send {}
impl<T: Rng + rand_core::CryptoRng + Send + ?Sized> EntropySource for T {}

/// The operating system gave no entropy.
#[derive(Debug, Clone, Error)]
#[error("the operating system gave no entropy: {0}")]
pub struct NoEntropy(String);

/// The randomness of one session: ChaCha20 keyed by fresh entropy of the operating system.
pub struct SessionRng(ChaCha20Rng);

impl SessionRng {
    /// Fresh entropy from the operating system.
    pub fn fresh() -> Result<Self, NoEntropy> {
        let mut seed = Secret::new([0u8; 32]);
        getrandom::fill(seed.expose_mut()).map_err(|e| NoEntropy(e.to_string()))?;
        Ok(Self(ChaCha20Rng::from_seed(*seed.expose())))
    }

    /// A reproducible session. Every key and mask of it is known to whoever knows `seed`.
    #[cfg(any(test, feature = "insecure-seeded"))]
    pub fn insecure_seeded(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }
}

stream!(SessionRng, "SessionRng(..)");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_seed_and_parts_all_separate_streams() {
        let base = Prg::new(&[1; 32], "a", &[b"x"]).next_u64();
        assert_eq!(base, Prg::new(&[1; 32], "a", &[b"x"]).next_u64());
        for other in [
            Prg::new(&[2; 32], "a", &[b"x"]),
            Prg::new(&[1; 32], "b", &[b"x"]),
            Prg::new(&[1; 32], "a", &[b"y"]),
            Prg::new(&[1; 32], "a", &[b"x", b""]),
        ] {
            let mut other = other;
            assert_ne!(base, other.next_u64());
        }
    }

    #[test]
    fn two_fresh_sessions_differ() {
        let (mut a, mut b) = (SessionRng::fresh().unwrap(), SessionRng::fresh().unwrap());
        assert_ne!(a.next_u64(), b.next_u64());
    }
}
