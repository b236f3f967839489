//! Ciphertexts, whole and with a seeded half.
#![deny(clippy::indexing_slicing)]

use crate::HeError;
use crate::params::Params;
use crate::plaintext::{check_params, check_scale};
use crate::pool::Pooled;
use crate::public_key::read_params_id;
use crate::secret_key::UniformSource;
use oblivia_base::codec::{Decode, Encode, Reader, Writer};
use oblivia_base::{Digest, PublicSeed};
use oblivia_ring::{Ntt, Poly, packing};
use std::fmt;

const DOMAIN: &str = "he ciphertext a v1";
/// Parameter id, level, scale.
const HEADER_BYTES: usize = 32 + 1 + 8;

/// (c0, c1) with c0 + c1·s = Δ·m + e, transformed, modulo the first `level` primes.
///
/// The scale is a constant of the plan: operations compare it bit for bit.
#[derive(Clone)]
pub struct Ciphertext {
    pub(crate) c0: Pooled,
    pub(crate) c1: Pooled,
    pub(crate) scale: f64,
    pub(crate) params: Digest,
}

impl Ciphertext {
    /// Number of live limbs.
    pub fn level(&self) -> usize {
        self.c0.limbs()
    }

    /// The scale Δ.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Replaces the scale by the planned one, which may differ by rounding of the plan's own arithmetic.
    ///
    /// # Errors
    /// [`HeError::ScaleMismatch`] if they differ by more than a factor 1 ± 2^-40.
    pub fn set_planned_scale(&mut self, planned: f64) -> Result<(), HeError> {
        if (planned - self.scale).abs() <= self.scale * 2f64.powi(-40) {
            self.scale = planned;
            Ok(())
        } else {
            Err(HeError::ScaleMismatch { op: "planned scale", left: self.scale, right: planned })
        }
    }

    /// Bytes of an encoding at `level`.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn encoded_bytes(params: &Params, level: usize) -> Result<usize, HeError> {
        Ok(HEADER_BYTES + 2 * packing::poly_bytes(params.basis(level)?))
    }

    /// Appends parameter id, level, scale and both halves, packed.
    pub fn encode(&self, w: &mut Writer) {
        write_header(w, self.params, self.level(), self.scale);
        packing::write_poly(&self.c0, w);
        packing::write_poly(&self.c1, w);
    }

    /// Reads a ciphertext of `params` that must be on `level` with `scale`.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], [`HeError::LevelMismatch`], [`HeError::ScaleMismatch`],
    /// [`HeError::Transparent`], or [`HeError::Decode`] for bytes that are no canonical encoding.
    pub fn decode(params: &Params, level: usize, scale: f64, r: &mut Reader<'_>) -> Result<Self, HeError> {
        let basis = params.basis(level)?;
        read_header(params, level, scale, r)?;
        let (c0, c1) = (packing::read_poly(basis, r)?, packing::read_poly::<Ntt>(basis, r)?);
        if c1.rows().any(|row| row.iter().all(|&x| x == 0)) {
            return Err(HeError::Transparent);
        }
        let pool = params.pool();
        Ok(Self { c0: pool.adopt(c0), c1: pool.adopt(c1), scale, params: params.id() })
    }

    /// Refuses a ciphertext of other parameters.
    pub(crate) fn check(&self, params: &Params) -> Result<(), HeError> {
        check_params(params, &self.params, "ciphertext")
    }
}

impl fmt::Debug for Ciphertext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ciphertext")
            .field("level", &self.level())
            .field("scale", &self.scale)
            .finish_non_exhaustive()
    }
}

/// A fresh ciphertext of the key's owner: c0 and the seed of c1, half the bytes.
#[derive(Clone)]
pub struct SeededCiphertext {
    pub(crate) c0: Poly<Ntt>,
    pub(crate) seed: PublicSeed,
    pub(crate) scale: f64,
    pub(crate) params: Digest,
}

impl SeededCiphertext {
    /// Number of live limbs.
    pub fn level(&self) -> usize {
        self.c0.limbs()
    }

    /// The scale Δ.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Where the uniform half of `seed` and `label` comes from.
    pub(crate) fn uniform_source<'a>(
        params: &'a Params,
        seed: &'a PublicSeed,
        label: &'a [u8],
    ) -> UniformSource<'a> {
        UniformSource { params, seed, domain: DOMAIN, label }
    }

    /// The uniform half of `seed` and `label` at `level`, which must exist.
    pub(crate) fn uniform_half(params: &Params, level: usize, seed: &PublicSeed, label: &[u8]) -> Poly<Ntt> {
        Self::uniform_source(params, seed, label).draw(&params.level_data(level).q, &[])
    }

    /// The whole ciphertext; `label` is the one it was encrypted under.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn expand(&self, params: &Params, label: &[u8]) -> Result<Ciphertext, HeError> {
        check_params(params, &self.params, "ciphertext")?;
        let c1 = Self::uniform_half(params, self.level(), &self.seed, label);
        let pool = params.pool();
        let mut c0 = pool.take(self.c0.basis());
        c0.copy_from(&self.c0);
        Ok(Ciphertext { c0, c1: pool.adopt(c1), scale: self.scale, params: self.params })
    }

    /// As [`SeededCiphertext::expand`], without a copy of c0.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn into_expanded(self, params: &Params, label: &[u8]) -> Result<Ciphertext, HeError> {
        check_params(params, &self.params, "ciphertext")?;
        let c1 = Self::uniform_half(params, self.level(), &self.seed, label);
        let pool = params.pool();
        Ok(Ciphertext { c0: pool.adopt(self.c0), c1: pool.adopt(c1), scale: self.scale, params: self.params })
    }

    /// Bytes of an encoding at `level`.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn encoded_bytes(params: &Params, level: usize) -> Result<usize, HeError> {
        Ok(HEADER_BYTES + 32 + packing::poly_bytes(params.basis(level)?))
    }

    /// Appends parameter id, level, scale, seed and c0, packed.
    pub fn encode(&self, w: &mut Writer) {
        write_header(w, self.params, self.level(), self.scale);
        self.seed.encode(w);
        packing::write_poly(&self.c0, w);
    }

    /// Reads a ciphertext of `params` that must be on `level` with `scale`.
    ///
    /// # Errors
    /// As [`Ciphertext::decode`]; a seeded ciphertext is never transparent.
    pub fn decode(params: &Params, level: usize, scale: f64, r: &mut Reader<'_>) -> Result<Self, HeError> {
        let basis = params.basis(level)?;
        read_header(params, level, scale, r)?;
        let seed = PublicSeed::decode(r)?;
        Ok(Self { c0: packing::read_poly(basis, r)?, seed, scale, params: params.id() })
    }
}

impl fmt::Debug for SeededCiphertext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeededCiphertext")
            .field("level", &self.level())
            .field("scale", &self.scale)
            .finish_non_exhaustive()
    }
}

fn write_header(w: &mut Writer, params: Digest, level: usize, scale: f64) {
    params.encode(w);
    w.u8(level.min(255) as u8);
    w.f64(scale);
}

fn read_header(params: &Params, level: usize, scale: f64, r: &mut Reader<'_>) -> Result<(), HeError> {
    const OP: &str = "ciphertext";
    check_scale(OP, scale)?;
    read_params_id(params, OP, r)?;
    let found = usize::from(r.u8("level")?);
    if found != level {
        return Err(HeError::LevelMismatch { op: OP, left: found, right: level });
    }
    let found = r.f64("scale")?;
    if found.to_bits() != scale.to_bits() {
        return Err(HeError::ScaleMismatch { op: OP, left: found, right: scale });
    }
    Ok(())
}
