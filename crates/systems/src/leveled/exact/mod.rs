//! Modes `exact` and `circuit-private`: the same programs on integers modulo plaintext primes.
//!
//! Input, weights and biases are rounded at published scales ([`oblivia_nn::quant`]); the circuits run once per plaintext
//! prime t, and the client joins the results modulo the product T. The server refuses a model whose outputs could reach
//! T/2, so what the client gets is the integer network's output, bit by bit.

mod choices;
pub(super) mod client;
pub mod fuzz;
mod noise;
mod plan;
mod search;
pub(super) mod server;
#[cfg(test)]
mod tests;
mod wire;

pub(super) use plan::check;
pub(super) use search::{prepared_bytes, search};

/// Integers, no flooding.
pub(super) const EXACT: &str = "exact";
/// Integers, replies flooded.
pub(super) const PRIVATE: &str = "circuit-private";

/// Whether a mode is one of these.
pub(super) fn is_mode(mode: &str) -> bool {
    mode == EXACT || mode == PRIVATE
}
