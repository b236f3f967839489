//! Two-party computation without a neural network in it: oblivious transfer (OT) and what is built from it.
//!
//! Two parties, *sender* and *receiver* of a correlated OT (COT); each direction has its own stock. No sockets and no
//! clocks: a protocol step takes the peer's message as bytes and returns the next message as bytes, so that whoever
//! holds a channel drives it.
//!
//! - [`cot`]: take-once stocks of COTs and the random OTs hashed from them, 1-of-2 and 1-of-2^m. What the rest of the
//!   crate consumes.
//! - [`setup`]: from nothing to stocks in both directions.
//! - [`base_ot`]: the 128 OTs everything begins with.
//! - [`softspoken`]: many OTs from the base OTs.
//! - [`silent`]: very many OTs from some, at almost no traffic.
//! - [`hash`]: the tweakable correlation-robust hash under it.
//! - [`kernel`]: AES in bulk, GF(2^128) and transposition, portable and AVX-512, bit-identical.
//! - [`ideal`]: stocks dealt by one trusted hand, for tests of what consumes them.
//!
//! Sources are named where they are used.

pub mod base_ot;
pub mod cot;
mod error;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod hash;
pub mod ideal;
#[cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "vector instructions: loads, stores, and calls guarded by feature detection"
    )
)]
pub mod kernel;
mod label;
mod pprf;
pub mod setup;
pub mod silent;
pub mod softspoken;
#[cfg(test)]
mod statistics;
mod supply;

pub use cot::{CotReceiver, CotSender};
pub use error::MpcError;
pub use label::{Direction, Label};
