//! Keys of a session: the client's secret, and the public key the server encrypts zeros with.

use super::params::read_bits;
use super::primes::Primes;
use super::residues;
use super::ring::{Ring, Split, centre, fill_uniform};
use crate::HeError;
use oblivia_base::codec::{Reader, Writer};
use oblivia_base::seed::EntropySource;
use oblivia_base::{Digest, Prg, Secret};
use oblivia_ring::{Ntt, Poly, packing, sample};
use std::fmt;

const DOMAIN: &str = "he coefficient public a v1";

/// A uniform ternary secret s.
pub struct SecretKey {
    ring: Ring,
    s: Secret<Poly<Ntt>>,
}

impl SecretKey {
    /// A fresh key.
    pub fn generate(ring: &Ring, rng: &mut dyn EntropySource) -> Self {
        let mut ternary = Secret::new(vec![0i64; ring.n()]);
        sample::ternary(rng, ternary.expose_mut());
        Self { ring: ring.clone(), s: Secret::new(ring.forward_signed(ternary.expose())) }
    }

    /// The ring.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    pub(super) fn expose(&self) -> &Poly<Ntt> {
        self.s.expose()
    }

    pub(super) fn check(&self, ring: &Ring) -> Result<(), HeError> {
        if self.ring == *ring { Ok(()) } else { Err(HeError::ParamsMismatch { what: "secret key" }) }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("ring", &self.ring).finish_non_exhaustive()
    }
}

/// An encryption of zero (b, a) with b = −a·s + e modulo 2^([`Ring::max_modulus_bits`]); taken modulo a smaller power of
/// two it is one there, so one key serves layers of any q. Modulo two primes there is one q, and b travels transformed.
///
/// a is a function of the server's nonce and the transcript and of nothing a client chooses: with an a of its choice,
/// such as 0, a client would read the weights from c1.
#[derive(Clone)]
pub struct PublicKey {
    ring: Ring,
    b: Vec<u64>,
    halves: Halves,
}

/// b and a, transformed.
#[derive(Clone)]
pub(super) enum Halves {
    Word([Split; 2]),
    Primes([Poly<Ntt>; 2]),
}

impl PublicKey {
    /// The public key of `sk` for one session: `nonce` is the server's, fresh; `transcript` hashes what was agreed before.
    pub fn generate(
        sk: &SecretKey,
        nonce: &[u8; 32],
        transcript: &Digest,
        rng: &mut dyn EntropySource,
    ) -> Self {
        let ring = &sk.ring;
        let bits = ring.max_modulus_bits();
        let mut e = Secret::new(vec![0i64; ring.n()]);
        sample::gaussian(rng, e.expose_mut());
        if ring.primes().is_some() {
            let a = residues::public_a(ring, nonce, transcript);
            let b = residues::encrypt(sk, &a, Poly::from_i64(ring.basis(), e.expose()));
            let halves = Halves::Primes([Primes::values(ring.basis(), &b), a]);
            return Self { ring: ring.clone(), b, halves };
        }
        let a_ntt = Self::a_ntt(ring, nonce, transcript);
        let product = Secret::new(ring.product(&a_ntt, sk.expose()));
        let mask = super::params::mask(bits);
        let b = product.expose().iter().zip(e.expose());
        let b: Vec<u64> = b.map(|(&p, &e)| (e as u64).wrapping_sub(p) & mask).collect();
        Self { ring: ring.clone(), halves: Halves::Word([ring.forward(&b, bits), a_ntt]), b }
    }

    fn a_ntt(ring: &Ring, nonce: &[u8; 32], transcript: &Digest) -> Split {
        let bits = ring.max_modulus_bits();
        let mut a = vec![0; ring.n()];
        let parts: [&[u8]; 2] = [&transcript.0, &[ring.log_n() as u8, bits as u8]];
        fill_uniform(&mut Prg::new(nonce, DOMAIN, &parts), bits, &mut a);
        ring.forward(&a, bits)
    }

    /// The ring.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// b and a, transformed.
    pub(super) fn halves(&self) -> &Halves {
        &self.halves
    }

    pub(super) fn check(&self, ring: &Ring) -> Result<(), HeError> {
        if self.ring == *ring { Ok(()) } else { Err(HeError::ParamsMismatch { what: "public key" }) }
    }

    /// The error e of b, for who replays a run.
    pub(super) fn error(&self, sk: &SecretKey) -> Secret<Vec<i64>> {
        let a_ntt = match &self.halves {
            Halves::Word([_, a]) => a,
            Halves::Primes([b, a]) => return residues::error_of(sk, b, a),
        };
        let mut phase = Secret::new(self.ring.product(a_ntt, sk.expose()));
        phase.expose_mut().iter_mut().zip(&self.b).for_each(|(p, &b)| *p = p.wrapping_add(b));
        let bits = self.ring.max_modulus_bits();
        Secret::new(phase.expose().iter().map(|&p| centre(p, bits)).collect())
    }

    /// Bytes of an encoding: b alone.
    pub fn encoded_bytes(ring: &Ring) -> usize {
        packing::bits_bytes(ring.n(), ring.max_modulus_bits())
    }

    /// Appends b.
    pub fn encode(&self, w: &mut Writer) {
        let bits = self.ring.max_modulus_bits();
        packing::write_bits(&self.b, if self.ring.primes().is_some() { bits / 2 } else { bits }, w);
    }

    /// Reads the b of the session with this nonce and transcript. Any b is harmless: c1 is hidden by a and v alone.
    ///
    /// # Errors
    /// [`HeError::Decode`] for too few bytes, or residues that are none.
    pub fn decode(
        ring: &Ring,
        nonce: &[u8; 32],
        transcript: &Digest,
        r: &mut Reader<'_>,
    ) -> Result<Self, HeError> {
        let bits = ring.max_modulus_bits();
        if let Some(primes) = ring.primes() {
            let b = primes.read_row(ring.n(), "public key", r)?;
            let a = residues::public_a(ring, nonce, transcript);
            return Ok(Self {
                ring: ring.clone(),
                halves: Halves::Primes([Primes::values(ring.basis(), &b), a]),
                b,
            });
        }
        let b = read_bits(ring.n(), bits, "public key", r)?;
        let halves = Halves::Word([ring.forward(&b, bits), Self::a_ntt(ring, nonce, transcript)]);
        Ok(Self { ring: ring.clone(), halves, b })
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("ring", &self.ring).finish_non_exhaustive()
    }
}
