//! Protocols on shares: against their twins in the clear, their declared cost, and peers that misbehave.

mod common;
mod comparison;
mod conversion;
mod cost;
mod faults;
mod masks;
