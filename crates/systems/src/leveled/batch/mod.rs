//! Mode `batch`: as many samples at once as a ciphertext has slots.
//!
//! One ciphertext per element of a tensor, one slot per sample (Gilad-Bachrach et al., *CryptoNets*, 2016), so no slot
//! meets another: no rotations, one key, weights as scalars. A group of samples costs the same whether it is full or not.

mod choices;
pub(super) mod client;
pub(super) mod fuzz;
#[cfg(test)]
mod memory_tests;
mod noise;
mod plan;
mod program;
pub(super) mod server;
#[cfg(test)]
mod tests;
mod wire;

pub(super) use plan::{check, prepared_bytes, search};

/// The mode.
pub(super) const BATCH: &str = "batch";
