//! Homomorphic encryption over ring learning with errors: a core shared by schemes, approximate arithmetic ([`ckks`])
//! and exact arithmetic ([`bfv`]).
//!
//! - [`ParamsLiteral`] → [`Params`]: only through checks, the [`security`] table among them.
//! - [`SecretKey`], [`PublicKey`], [`EvaluationKeys`] made from exactly a [`KeyRequest`].
//! - [`Plaintext`], [`ScalarPlaintext`], [`Ciphertext`], [`SeededCiphertext`].
//! - [`ckks`], [`bfv`]: encoder, encryptor, decryptor, evaluator. The names above are those of CKKS; [`bfv`] has its own.
//!
//! A *level* ℓ, from 1 to [`Params::max_level`], has a modulus Q_ℓ: in a plain chain that of the ℓ live primes q_0 … q_{ℓ−1},
//! otherwise what [`ParamsLiteral::levels`] says. Everything read from
//! bytes is validated: residues are canonical, parameters, level and scale are the expected ones.
#![forbid(unsafe_code)]

pub mod bfv;
mod chain;
mod ciphertext;
pub mod ckks;
pub mod coefficient;
mod convert;
mod counts;
mod encryptor;
mod error;
mod evaluation_keys;
mod evaluator;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod key_request;
pub mod noise;
mod params;
mod plaintext;
mod pool;
mod public_key;
mod scheme;
mod secret_key;
pub mod security;
mod switch;

pub use counts::OpCounts;
pub use error::HeError;
pub use key_request::KeyRequest;
pub use oblivia_ring::{RingKind, RingShape};
pub use params::{ERROR_STD, LevelLiteral, Moduli, Params, ParamsLiteral};
pub use scheme::Scheme;
pub use secret_key::SecretKey;

/// What all schemes share, for code written once over [`Scheme`]; [`ckks`], [`bfv`] and the root name its instances.
pub mod generic {
    pub use crate::ciphertext::{Ciphertext, SeededCiphertext};
    pub use crate::encryptor::Encryptor;
    pub use crate::evaluation_keys::EvaluationKeys;
    pub use crate::evaluator::{
        Evaluator, ExtendedCiphertext, Factor, Hoisted, Products, ScalarMatrix, Tensor,
    };
    pub use crate::plaintext::{CompactPlaintext, ExtendedPlaintext, Plaintext, ScalarPlaintext};
    pub use crate::public_key::PublicKey;
}

/// A CKKS ciphertext.
pub type Ciphertext = ciphertext::Ciphertext<Params>;
/// A fresh CKKS ciphertext, one half of it a seed.
pub type SeededCiphertext = ciphertext::SeededCiphertext<Params>;
/// A CKKS plaintext.
pub type Plaintext = plaintext::Plaintext<Params>;
/// An untransformed plaintext of CKKS.
pub type CompactPlaintext = plaintext::CompactPlaintext<Params>;
/// A CKKS plaintext for products before a division by P.
pub type ExtendedPlaintext = plaintext::ExtendedPlaintext<Params>;
/// A CKKS plaintext with the same value in every slot.
pub type ScalarPlaintext = plaintext::ScalarPlaintext<Params>;
/// The CKKS keys of one [`KeyRequest`].
pub type EvaluationKeys = evaluation_keys::EvaluationKeys<Params>;
/// A CKKS encryption key.
pub type PublicKey = public_key::PublicKey<Params>;
