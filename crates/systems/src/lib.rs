//! The systems Oblivia runs, one folder each. Systems know networks and cryptography and no sockets, clocks
//! or global randomness.
#![forbid(unsafe_code)]

pub mod clear;
mod common;
pub mod fuzz;
#[cfg(test)]
mod fuzz_tests;
pub mod hybrid;
pub mod leveled;
mod registry;

pub use registry::{SYSTEMS, find};
