//! Encryption keys anyone may hold.
#![deny(clippy::indexing_slicing)]

use crate::HeError;
use crate::params::Params;
use crate::scheme::Scheme;
use crate::secret_key::{SecretKey, UniformSource, error_ntt, fresh_seed};
use oblivia_base::codec::{Decode, Encode, Reader, Writer};
use oblivia_base::seed::EntropySource;
use oblivia_base::{Digest, PublicSeed};
use oblivia_ring::{Ntt, Poly, kernel, packing};
use std::fmt;

const DOMAIN: &str = "he public key a v1";

/// An encryption of zero modulo QP, (b, a) with b = −a·s + e; a comes from a seed.
#[derive(Clone)]
pub struct PublicKey<S: Scheme> {
    scheme: S,
    seed: PublicSeed,
    pub(crate) b: Poly<Ntt>,
    pub(crate) a: Poly<Ntt>,
}

impl PublicKey<Params> {
    /// The public key of `sk`. `label` is bound into a; decoding needs the same one.
    pub fn generate(sk: &SecretKey, label: &[u8], rng: &mut dyn EntropySource) -> Self {
        Self::make(sk.params(), sk, label, rng)
    }
}

impl<S: Scheme> PublicKey<S> {
    /// The public key of `sk`, which must be over the primes of `scheme`.
    pub(crate) fn make(scheme: &S, sk: &SecretKey, label: &[u8], rng: &mut dyn EntropySource) -> Self {
        let seed = fresh_seed(rng);
        let a = half(scheme, &seed, label);
        let mut b = a.clone();
        let top = scheme.params().top();
        for (m, (row, &place)) in top.qp.moduli().zip(b.rows_mut().zip(&top.places)) {
            kernel::mul_assign(m, row, sk.expose().row(place));
        }
        b.neg_assign();
        b.add_assign(error_ntt(scheme, b.basis(), rng).expose());
        Self { scheme: scheme.clone(), seed, b, a }
    }

    /// The scheme it belongs to.
    pub(crate) fn scheme(&self) -> &S {
        &self.scheme
    }

    /// The parameters it belongs to.
    pub fn params(&self) -> &Params {
        self.scheme.params()
    }

    /// Bytes of an encoding: parameter id, seed, packed b.
    pub fn encoded_bytes(params: &Params) -> usize {
        32 + 32 + packing::poly_bytes(&params.top().qp)
    }

    /// Appends parameter id, seed and packed b.
    pub fn encode(&self, w: &mut Writer) {
        self.scheme.id().encode(w);
        self.seed.encode(w);
        packing::write_poly(&self.b, w);
    }

    /// Reads a key of `scheme` made under `label`.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], or [`HeError::Decode`] for bytes that are no canonical encoding.
    pub fn decode(scheme: &S, label: &[u8], r: &mut Reader<'_>) -> Result<Self, HeError> {
        read_id(&scheme.id(), "public key", r)?;
        let seed = PublicSeed::decode(r)?;
        let b = packing::read_poly(&scheme.params().top().qp, r)?;
        Ok(Self { scheme: scheme.clone(), a: half(scheme, &seed, label), seed, b })
    }
}

fn half(scheme: &impl Scheme, seed: &PublicSeed, label: &[u8]) -> Poly<Ntt> {
    let source = UniformSource { id: scheme.id(), seed, domain: DOMAIN, label };
    source.draw(&scheme.params().top().qp, &[])
}

/// Reads a parameter id and compares it with the expected one.
pub(crate) fn read_id(expected: &Digest, what: &'static str, r: &mut Reader<'_>) -> Result<(), HeError> {
    if Digest::decode(r)? == *expected { Ok(()) } else { Err(HeError::ParamsMismatch { what }) }
}

impl<S: Scheme> fmt::Debug for PublicKey<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}
