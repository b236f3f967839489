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
//! - [`put_away`]: COTs that a later session takes up.
//! - [`hash`]: the tweakable correlation-robust hash under it.
//! - [`kernel`]: AES in bulk, GF(2^128) and transposition, portable and AVX-512, bit-identical.
//! - [`ideal`]: stocks dealt by one trusted hand, for tests of what consumes them, and the twins of what follows.
//!
//! On top of it computation on shares:
//!
//! - [`Session`]: a party with its link, its random OTs ([`PadSource`]) and the message it is writing. Protocols on shares
//!   are async functions of it; each has a function `…_cost` that says, without running, what it sends and takes
//!   ([`Cost`]).
//! - [`Shares`] over Z_2^l and [`Bits`]; [`select`], [`drelu`], [`relu`], [`max_of`], [`max_pool`], [`arg_max`], [`sign`],
//!   [`widen`], [`truncate`] and its kin, [`divide`].
//!
//! Trees of silent OT are grown on the threads of the rayon pool that is current, parts of a protocol on those of the pool that
//! is handed in.
//!
//! Set-up and extension check what the peer says. Protocols on shares are for parties that follow them: what a party is
//! told is uniform given what it has, but a peer that deviates changes the result unnoticed, and what a result shows it
//! may choose. Times depend on public shapes only.
//!
//! Sources are named where they are used.

pub mod base_ot;
mod blocks;
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
pub mod put_away;
pub mod setup;
pub mod silent;
pub mod softspoken;
#[cfg(test)]
mod statistics;
mod supply;

// On shares.
mod bits;
mod compare;
mod convert;
mod cost;
mod gates;
mod pads;
mod pool;
mod relu;
mod reveal;
mod session;
mod shards;
mod share;
pub mod wire;

pub use blocks::Blocks;
pub use cot::{CotReceiver, CotSender};
pub use error::MpcError;
pub use label::{Direction, Label};

pub use bits::Bits;
pub use compare::{Radix, carries, carries_cost, drelu, drelu_cost, msb};
pub use convert::{
    Range, divide, divide_cost, truncate, truncate_close, truncate_close_cost, truncate_cost, truncate_local,
    truncate_reduce, truncate_reduce_cost, widen, widen_cost,
};
pub use cost::Cost;
pub use gates::{
    and_bits, and_bits_cost, and_private, and_private_cost, select, select_cost, to_ring, to_ring_cost,
};
pub use pads::{CotPads, Divisible, PadSource, Values};
pub use pool::{Windows, max_pool, max_pool_cost};
pub use relu::{
    arg_max, arg_max_cost, clip, clip_cost, max, max_cost, max_of, max_of_cost, relu, relu_cost, sign,
    sign_cost,
};
pub use reveal::{reveal, reveal_cost};
pub use session::{Link, LinkFault, Party, Session};
pub use shards::{Role, in_shards, in_shards_cost};
pub use share::{Shares, mask, open};
