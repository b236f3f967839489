//! Approximate arithmetic on vectors of reals (Cheon, Kim, Kim, Song, *Homomorphic encryption for arithmetic of
//! approximate numbers*, 2017) in RNS form, over the standard and the conjugate-invariant ring.
//!
//! A decrypted result carries the error of the computation, which depends on the secret key: hand raw results
//! to the owner of the key alone (Li and Micciancio, 2021).

mod decryptor;
mod encoder;
mod encryptor;
mod fft;

use crate::Params;

pub use crate::evaluator::Place;
pub use decryptor::Decryptor;
pub use encoder::Encoder;

/// Encrypts CKKS plaintexts.
pub type Encryptor = crate::encryptor::Encryptor<Params>;
/// Computes on CKKS ciphertexts.
pub type Evaluator = crate::evaluator::Evaluator<Params>;
/// A product of two CKKS ciphertexts before relinearisation.
pub type Tensor = crate::evaluator::Tensor<Params>;
/// A CKKS ciphertext with its decomposition.
pub type Hoisted = crate::evaluator::Hoisted<Params>;
/// P times a CKKS ciphertext, modulo QP.
pub type ExtendedCiphertext = crate::evaluator::ExtendedCiphertext<Params>;
/// A matrix of scalars for CKKS ciphertexts.
pub type ScalarMatrix = crate::evaluator::ScalarMatrix<Params>;
