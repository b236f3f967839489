#![doc = include_str!("README.md")]

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

pub(super) use plan::{check, prepared_bytes};
pub(super) use search::search;

/// The mode.
pub(super) const MODE: &str = "client-aided";
