//! Homomorphic encryption over ring learning with errors: a core shared by schemes, and the scheme [`ckks`].
//!
//! - [`ParamsLiteral`] → [`Params`]: only through checks, the [`security`] table among them.
//! - [`SecretKey`], [`PublicKey`], [`EvaluationKeys`] made from exactly a [`KeyRequest`].
//! - [`Plaintext`], [`ScalarPlaintext`], [`Ciphertext`], [`SeededCiphertext`].
//! - [`ckks`]: encoder, encryptor, decryptor, evaluator.
//!
//! A *level* is the number ℓ of live primes q_0 … q_{ℓ−1}, from 1 to [`Params::max_level`]. Everything read from
//! bytes is validated: residues are canonical, parameters, level and scale are the expected ones.
#![forbid(unsafe_code)]

mod ciphertext;
pub mod ckks;
mod convert;
mod counts;
mod error;
mod evaluation_keys;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod key_request;
pub mod noise;
mod params;
mod plaintext;
mod pool;
mod public_key;
mod secret_key;
pub mod security;
mod switch;

pub use ciphertext::{Ciphertext, SeededCiphertext};
pub use counts::OpCounts;
pub use error::HeError;
pub use evaluation_keys::EvaluationKeys;
pub use key_request::KeyRequest;
pub use oblivia_ring::{RingKind, RingShape};
pub use params::{ERROR_STD, Moduli, Params, ParamsLiteral};
pub use plaintext::{Plaintext, ScalarPlaintext};
pub use public_key::PublicKey;
pub use secret_key::SecretKey;
