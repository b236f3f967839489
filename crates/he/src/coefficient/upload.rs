//! Encrypted shares on their way to the server.

use super::key::SecretKey;
use super::params::{Params, read_bits};
use super::residues;
use super::ring::fill_uniform;
use crate::HeError;
use oblivia_base::codec::{Decode, Encode, Reader, Writer};
use oblivia_base::seed::EntropySource;
use oblivia_base::{Prg, PublicSeed, Secret};
use oblivia_ring::{packing, sample};
use rayon::prelude::*;
use std::fmt;

const DOMAIN: &str = "he coefficient a v1";
const ERROR_DOMAIN: &str = "he coefficient error v1";

/// What encrypting one upload takes: a fresh seed, and the errors of its ciphertexts. Used up by [`SecretKey::encrypt`].
pub struct UploadRandomness {
    pub(super) seed: PublicSeed,
    pub(super) errors: Vec<Secret<Vec<i64>>>,
}

impl UploadRandomness {
    /// Draws the seed, then a key per ciphertext from which its error comes. On the threads of the current pool.
    pub fn draw(params: &Params, ciphertexts: usize, rng: &mut dyn EntropySource) -> Self {
        let seed = PublicSeed::fresh(rng);
        let keys: Vec<_> = (0..ciphertexts).map(|_| draw_key(rng)).collect();
        let error = |key: &Secret<[u8; 32]>| {
            let mut e = Secret::new(vec![0i64; params.n()]);
            sample::gaussian(&mut Prg::new(key.expose(), ERROR_DOMAIN, &[]), e.expose_mut());
            e
        };
        Self { seed, errors: keys.par_iter().map(error).collect() }
    }
}

/// A fresh key of a generator.
pub(super) fn draw_key(rng: &mut dyn EntropySource) -> Secret<[u8; 32]> {
    let mut key = Secret::new([0; 32]);
    rng.fill_bytes(key.expose_mut());
    key
}

impl fmt::Debug for UploadRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UploadRandomness(..)")
    }
}

/// Fresh ciphertexts of one layer: c0 of each, transformed modulo two primes, and the one seed that all c1 come from.
#[derive(Clone)]
pub struct Upload {
    params: Params,
    seed: PublicSeed,
    pub(super) c0: Vec<Vec<u64>>,
}

/// The c1 that `seed` makes of ciphertext `index`.
pub(super) fn uniform_half(params: &Params, seed: &PublicSeed, index: usize) -> Vec<u64> {
    let mut a = vec![0; params.n()];
    let index = (index as u64).to_le_bytes();
    let parts: [&[u8]; 2] = [&params.literal().to_bytes(), &index];
    fill_uniform(&mut Prg::new(&seed.0, DOMAIN, &parts), params.q_bits(), &mut a);
    a
}

impl SecretKey {
    /// Encrypts share polynomials: n values each, of which the low k bits count. On the threads of the current pool.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`]; [`HeError::OperandCount`] for randomness of another number of ciphertexts or values
    /// of another length.
    pub fn encrypt(
        &self,
        params: &Params,
        messages: &Secret<Vec<Vec<u64>>>,
        randomness: UploadRandomness,
    ) -> Result<Upload, HeError> {
        self.check(params.ring())?;
        let messages = messages.expose();
        let equal = |left, right| match left == right {
            true => Ok(()),
            false => Err(HeError::OperandCount { op: "encryption of shares", left, right }),
        };
        equal(messages.len(), randomness.errors.len())?;
        let one = |(index, (m, e)): (usize, (&Vec<u64>, &Secret<Vec<i64>>))| {
            equal(m.len(), params.n())?;
            equal(e.expose().len(), params.n())?;
            if let Some(primes) = params.ring().primes() {
                let a = residues::upload_a(params, &randomness.seed, index);
                return Ok(residues::encrypt(self, &a, residues::encoded(params, primes, m, e.expose())));
            }
            let (delta, mask) = (params.delta_bits(), params.q_mask());
            let a = uniform_half(params, &randomness.seed, index);
            let a = params.ring().forward(&a, params.q_bits());
            let product = Secret::new(params.ring().product(&a, self.expose()));
            let parts = product.expose().iter().zip(e.expose()).zip(m);
            let c0 = parts.map(|((&p, &e), &m)| (m << delta).wrapping_add(e as u64).wrapping_sub(p) & mask);
            Ok(c0.collect())
        };
        let c0 = messages.par_iter().zip(&randomness.errors).enumerate().map(one);
        let c0 = c0.collect::<Result<_, HeError>>()?;
        Ok(Upload { params: params.clone(), seed: randomness.seed, c0 })
    }
}

impl Upload {
    /// The widths it was made with.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Number of ciphertexts.
    pub fn ciphertexts(&self) -> usize {
        self.c0.len()
    }

    /// c1 of ciphertext `index`.
    pub(super) fn uniform_half(&self, index: usize) -> Vec<u64> {
        uniform_half(&self.params, &self.seed, index)
    }

    /// The seed.
    pub(super) fn seed(&self) -> &PublicSeed {
        &self.seed
    }

    /// Bytes of an encoding: 32, and n·q bits per ciphertext.
    pub fn encoded_bytes(params: &Params, ciphertexts: usize) -> usize {
        32 + ciphertexts * packing::bits_bytes(params.row_len(), params.row_bits())
    }

    /// Appends seed and c0 of all ciphertexts, packed.
    pub fn encode(&self, w: &mut Writer) {
        self.seed.encode(w);
        self.c0.iter().for_each(|c| packing::write_bits(c, self.params.row_bits(), w));
    }

    /// Reads an upload of exactly `ciphertexts` ciphertexts.
    ///
    /// # Errors
    /// [`HeError::Decode`] for bytes that are no canonical encoding.
    pub fn decode(params: &Params, ciphertexts: usize, r: &mut Reader<'_>) -> Result<Self, HeError> {
        let seed = PublicSeed::decode(r)?;
        let row = |_| match params.ring().primes() {
            Some(primes) => primes.read_row(params.n(), "upload", r),
            None => read_bits(params.n(), params.q_bits(), "upload", r),
        };
        let c0 = (0..ciphertexts).map(row).collect::<Result<_, _>>()?;
        Ok(Self { params: params.clone(), seed, c0 })
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("ciphertexts", &self.c0.len()).finish_non_exhaustive()
    }
}
