//! Ciphertexts, whole and with a seeded half.
#![deny(clippy::indexing_slicing)]

use crate::HeError;
use crate::params::Params;
use crate::plaintext::check_id;
use crate::pool::Pooled;
use crate::public_key::read_id;
use crate::scheme::Scheme;
use crate::secret_key::UniformSource;
use oblivia_base::codec::{Decode, Encode, Reader, Writer};
use oblivia_base::{Digest, PublicSeed};
use oblivia_ring::{Ntt, Poly, packing};
use std::fmt;

const DOMAIN: &str = "he ciphertext a v1";
/// Parameter id, level, scale.
const HEADER_BYTES: usize = 32 + 1 + 8;

/// (c0, c1) with c0 + c1·s = Δ·m + e, transformed, modulo the primes of its level.
///
/// The scale is a constant of the plan: operations compare it bit for bit.
#[derive(Clone)]
pub struct Ciphertext<S: Scheme> {
    pub(crate) c0: Pooled,
    pub(crate) c1: Pooled,
    pub(crate) level: usize,
    pub(crate) scale: S::Scale,
    pub(crate) id: Digest,
}

impl<S: Scheme> Ciphertext<S> {
    /// Its level in the modulus chain.
    pub fn level(&self) -> usize {
        self.level
    }

    /// What the message is multiplied by: the scale Δ (CKKS) or a factor modulo t (exact).
    pub fn scale(&self) -> S::Scale {
        self.scale
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
        write_header::<S>(w, self.id, self.level(), self.scale);
        packing::write_poly(&self.c0, w);
        packing::write_poly(&self.c1, w);
    }

    /// Reads a ciphertext of `scheme` that must be on `level` with `scale`.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], [`HeError::LevelMismatch`], [`HeError::ScaleMismatch`],
    /// [`HeError::Transparent`], or [`HeError::Decode`] for bytes that are no canonical encoding.
    pub fn decode(scheme: &S, level: usize, scale: S::Scale, r: &mut Reader<'_>) -> Result<Self, HeError> {
        let basis = scheme.params().basis(level)?;
        read_header(scheme, level, scale, r)?;
        let (c0, c1) = (packing::read_poly(basis, r)?, packing::read_poly::<Ntt>(basis, r)?);
        if c1.rows().any(|row| row.iter().all(|&x| x == 0)) {
            return Err(HeError::Transparent);
        }
        let pool = scheme.params().pool();
        Ok(Self { c0: pool.adopt(c0), c1: pool.adopt(c1), level, scale, id: scheme.id() })
    }

    /// Refuses a ciphertext of other parameters.
    pub(crate) fn check(&self, scheme: &S) -> Result<(), HeError> {
        check_id(&scheme.id(), &self.id, "ciphertext")
    }
}

impl Ciphertext<Params> {
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
}

impl<S: Scheme> fmt::Debug for Ciphertext<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ciphertext")
            .field("level", &self.level())
            .field("scale", &self.scale)
            .finish_non_exhaustive()
    }
}

/// A fresh ciphertext of the key's owner: c0 and the seed of c1, half the bytes.
#[derive(Clone)]
pub struct SeededCiphertext<S: Scheme> {
    pub(crate) c0: Poly<Ntt>,
    pub(crate) level: usize,
    pub(crate) seed: PublicSeed,
    pub(crate) scale: S::Scale,
    pub(crate) id: Digest,
}

impl<S: Scheme> SeededCiphertext<S> {
    /// Its level in the modulus chain.
    pub fn level(&self) -> usize {
        self.level
    }

    /// What the message is multiplied by: the scale Δ (CKKS) or a factor modulo t (exact).
    pub fn scale(&self) -> S::Scale {
        self.scale
    }

    /// Where the uniform half of `seed` and `label` comes from.
    pub(crate) fn uniform_source<'a>(scheme: &S, seed: &'a PublicSeed, label: &'a [u8]) -> UniformSource<'a> {
        UniformSource { id: scheme.id(), seed, domain: DOMAIN, label }
    }

    /// The uniform half of `seed` and `label` at `level`, which must exist.
    pub(crate) fn uniform_half(scheme: &S, level: usize, seed: &PublicSeed, label: &[u8]) -> Poly<Ntt> {
        Self::uniform_source(scheme, seed, label).draw(&scheme.params().level_data(level).q, &[])
    }

    /// The whole ciphertext; `label` is the one it was encrypted under.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn expand(&self, scheme: &S, label: &[u8]) -> Result<Ciphertext<S>, HeError> {
        check_id(&scheme.id(), &self.id, "ciphertext")?;
        let c1 = Self::uniform_half(scheme, self.level(), &self.seed, label);
        let pool = scheme.params().pool();
        let mut c0 = pool.take(self.c0.basis());
        c0.copy_from(&self.c0);
        Ok(Ciphertext { c0, c1: pool.adopt(c1), level: self.level, scale: self.scale, id: self.id })
    }

    /// As [`SeededCiphertext::expand`], without a copy of c0.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn into_expanded(self, scheme: &S, label: &[u8]) -> Result<Ciphertext<S>, HeError> {
        check_id(&scheme.id(), &self.id, "ciphertext")?;
        let c1 = Self::uniform_half(scheme, self.level(), &self.seed, label);
        let pool = scheme.params().pool();
        let Self { level, scale, id, .. } = self;
        Ok(Ciphertext { c0: pool.adopt(self.c0), c1: pool.adopt(c1), level, scale, id })
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
        write_header::<S>(w, self.id, self.level(), self.scale);
        self.seed.encode(w);
        packing::write_poly(&self.c0, w);
    }

    /// Reads a ciphertext of `scheme` that must be on `level` with `scale`.
    ///
    /// # Errors
    /// As [`Ciphertext::decode`]; a seeded ciphertext is never transparent.
    pub fn decode(scheme: &S, level: usize, scale: S::Scale, r: &mut Reader<'_>) -> Result<Self, HeError> {
        let basis = scheme.params().basis(level)?;
        read_header(scheme, level, scale, r)?;
        let seed = PublicSeed::decode(r)?;
        Ok(Self { c0: packing::read_poly(basis, r)?, level, seed, scale, id: scheme.id() })
    }
}

impl<S: Scheme> fmt::Debug for SeededCiphertext<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeededCiphertext")
            .field("level", &self.level())
            .field("scale", &self.scale)
            .finish_non_exhaustive()
    }
}

fn write_header<S: Scheme>(w: &mut Writer, id: Digest, level: usize, scale: S::Scale) {
    id.encode(w);
    w.u8(level.min(255) as u8);
    S::write_scale(scale, w);
}

fn read_header<S: Scheme>(
    scheme: &S,
    level: usize,
    scale: S::Scale,
    r: &mut Reader<'_>,
) -> Result<(), HeError> {
    const OP: &str = "ciphertext";
    scheme.check_scale(OP, scale)?;
    read_id(&scheme.id(), OP, r)?;
    let found = usize::from(r.u8("level")?);
    if found != level {
        return Err(HeError::LevelMismatch { op: OP, left: found, right: level });
    }
    S::same_scale(OP, S::read_scale(r)?, scale)
}
