//! Protocols on shares: against their twins in the clear, their declared cost, and peers that misbehave.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod common;
mod comparison;
mod conversion;
mod cost;
mod faults;
mod masks;
mod stocks;
