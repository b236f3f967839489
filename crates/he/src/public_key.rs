//! Encryption keys anyone may hold.
#![deny(clippy::indexing_slicing)]

use crate::HeError;
use crate::params::Params;
use crate::secret_key::{SecretKey, UniformSource, error_ntt, fresh_seed};
use oblivia_base::PublicSeed;
use oblivia_base::codec::{Decode, Encode, Reader, Writer};
use oblivia_base::seed::EntropySource;
use oblivia_ring::{Ntt, Poly, packing};
use std::fmt;

const DOMAIN: &str = "he public key a v1";

/// An encryption of zero modulo QP, (b, a) with b = −a·s + e; a comes from a seed.
#[derive(Clone)]
pub struct PublicKey {
    params: Params,
    seed: PublicSeed,
    pub(crate) b: Poly<Ntt>,
    pub(crate) a: Poly<Ntt>,
}

impl PublicKey {
    /// The public key of `sk`. `label` is bound into a; decoding needs the same one.
    pub fn generate(sk: &SecretKey, label: &[u8], rng: &mut dyn EntropySource) -> Self {
        let params = sk.params();
        let seed = fresh_seed(rng);
        let a = half(params, &seed, label);
        let mut b = a.clone();
        b.mul_assign(sk.expose());
        b.neg_assign();
        b.add_assign(error_ntt(b.basis(), rng).expose());
        Self { params: params.clone(), seed, b, a }
    }

    /// The parameters it belongs to.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Bytes of an encoding: parameter id, seed, packed b.
    pub fn encoded_bytes(params: &Params) -> usize {
        32 + 32 + packing::poly_bytes(&params.level_data(params.max_level()).qp)
    }

    /// Appends parameter id, seed and packed b.
    pub fn encode(&self, w: &mut Writer) {
        self.params.id().encode(w);
        self.seed.encode(w);
        packing::write_poly(&self.b, w);
    }

    /// Reads a key of `params` made under `label`.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], or [`HeError::Decode`] for bytes that are no canonical encoding.
    pub fn decode(params: &Params, label: &[u8], r: &mut Reader<'_>) -> Result<Self, HeError> {
        read_params_id(params, "public key", r)?;
        let seed = PublicSeed::decode(r)?;
        let b = packing::read_poly(&params.level_data(params.max_level()).qp, r)?;
        Ok(Self { params: params.clone(), a: half(params, &seed, label), seed, b })
    }
}

fn half(params: &Params, seed: &PublicSeed, label: &[u8]) -> Poly<Ntt> {
    let source = UniformSource { params, seed, domain: DOMAIN, label };
    source.draw(&params.level_data(params.max_level()).qp, &[])
}

/// Reads a parameter id and compares it with the expected one.
pub(crate) fn read_params_id(params: &Params, what: &'static str, r: &mut Reader<'_>) -> Result<(), HeError> {
    let id = oblivia_base::Digest::decode(r)?;
    if id == params.id() { Ok(()) } else { Err(HeError::ParamsMismatch { what }) }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("params", &self.params).finish_non_exhaustive()
    }
}
