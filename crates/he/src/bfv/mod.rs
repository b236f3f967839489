//! Exact arithmetic on vectors of integers modulo a prime t: BGV inside (Brakerski, Gentry, Vaikuntanathan, *Fully
//! homomorphic encryption without bootstrapping*, 2012), BFV at the edges.
//!
//! A ciphertext (c0, c1) has the *phase* c0 + c1·s = f·m + t·e over the integers as long as it stays below Q/2. Slots: two
//! rows of n/2, by the Chinese remainder theorem modulo t ≡ 1 mod 2n; a rotation moves both rows. Keys carry errors t·e.
//! Everything a division drops is first made a multiple of t, so divisions are exact on the message: dropping a prime
//! multiplies it by q⁻¹ modulo t, dropping P by nothing, since keys carry P. The [`Factor`] f of a wire is a constant
//! of the plan, like the scale of [`crate::ckks`]: additions require equal factors, and a plaintext may be encoded with the
//! factor that brings a product to the one wanted. `Evaluator::rescale` is the modulus switch.
//!
//! Several t with the same primes and secret key compute modulo their product: one [`Context`] each, results joined by
//! [`Combiner`].
//!
//! Who decrypts learns the noise, which depends on the server's weights: `Evaluator::flood` hides it before a reply
//! leaves (`Evaluator::reply`, the only place of BFV form).

//!
//! # Parameters
//!
//! In units of t a fresh error has standard deviation 3.2; any division leaves √(n/18) (30 at n = 16384), which takes
//! 8.3 bits with the factor of a bound; weights multiply by t·√(n·terms/12), a square by itself and t·√(8n). A prime
//! of 44 bits per product keeps the phase where it was for t of 32 bits, n = 16384 and sums of a thousand products.
//! [`NoiseModel`] adds it up for any messages: [`NoiseModel::spare_bits`] positive means exact but for a probability of
//! 2^-64. Hiding the result to 2^-s takes s + 9.3 bits on top of its root mean square.
//! [`ContextLiteral::circuit_private_16384`] has all of that; at n = 8192 four primes of 42 bits with P of 46 hold
//! weights, square, weights for t up to 30 bits, without flooding.

mod combine;
mod context;
mod decryptor;
mod encoder;
mod flood;
mod noise;
mod reply;

pub use combine::Combiner;
pub use context::{Context, ContextLiteral, Factor};
pub use decryptor::{Decryptor, Noise};
pub use encoder::{Encoder, Message};
pub use flood::Flood;
pub use noise::{Estimate, NoiseModel, Weights};
pub use reply::Reply;

/// An exact ciphertext; its scale is the [`Factor`] of the message.
pub type Ciphertext = crate::ciphertext::Ciphertext<Context>;
/// A fresh exact ciphertext, one half of it a seed.
pub type SeededCiphertext = crate::ciphertext::SeededCiphertext<Context>;
/// A polynomial modulo t, lifted to the primes of a level.
pub type Plaintext = crate::plaintext::Plaintext<Context>;
/// A polynomial modulo t, lifted to the primes of a level and the special ones.
pub type ExtendedPlaintext = crate::plaintext::ExtendedPlaintext<Context>;
/// An untransformed plaintext.
pub type CompactPlaintext = crate::plaintext::CompactPlaintext<Context>;
/// The same integer in every slot.
pub type ScalarPlaintext = crate::plaintext::ScalarPlaintext<Context>;
/// The exact keys of one [`crate::KeyRequest`].
pub type EvaluationKeys = crate::evaluation_keys::EvaluationKeys<Context>;
/// An exact encryption key.
pub type PublicKey = crate::public_key::PublicKey<Context>;
/// Encrypts exact plaintexts.
pub type Encryptor = crate::encryptor::Encryptor<Context>;
/// Computes on exact ciphertexts.
pub type Evaluator = crate::evaluator::Evaluator<Context>;
/// A product of two exact ciphertexts before relinearisation.
pub type Tensor = crate::evaluator::Tensor<Context>;
/// An exact ciphertext with its decomposition.
pub type Hoisted = crate::evaluator::Hoisted<Context>;
/// P times an exact ciphertext, modulo QP.
pub type ExtendedCiphertext = crate::evaluator::ExtendedCiphertext<Context>;

#[cfg(test)]
mod known_answers;
