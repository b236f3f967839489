//! Approximate arithmetic on vectors of reals (Cheon, Kim, Kim, Song, *Homomorphic encryption for arithmetic of
//! approximate numbers*, 2017) in RNS form, over the standard and the conjugate-invariant ring.
//!
//! A decrypted result carries the error of the computation, which depends on the secret key: hand raw results
//! to the owner of the key alone (Li and Micciancio, 2021).

mod decryptor;
mod encoder;
mod encryptor;
mod evaluator;
mod extended;
mod fft;
mod merged;
mod scalars;

pub use decryptor::Decryptor;
pub use encoder::Encoder;
pub use encryptor::Encryptor;
pub use evaluator::{Evaluator, Hoisted, Tensor};
pub use extended::ExtendedCiphertext;
pub use scalars::{Place, ScalarMatrix};
