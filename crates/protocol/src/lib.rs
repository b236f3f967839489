//! The contract between systems, networks and users.
//!
//! A system is planned before it runs: [`Plan`] says what it will cost, which parameters protect it and who
//! learns what; both sides derive the same plan and hash it into the session before a secret moves. Code
//! here knows no sockets, no clocks and no global randomness.
#![forbid(unsafe_code)]

pub mod error;
mod role;
pub mod wire;

pub use error::{Error, Notice};
pub use role::Role;
pub use wire::{BoxFuture, Expect, Kind, LinkError, Wire};
