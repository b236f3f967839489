//! Ground floor of Oblivia: what every other crate may use and nothing that knows a network or a scheme.
//!
//! - [`Secret`]: a value that is zeroised on drop and cannot be printed, compared or copied by accident.
//! - [`codec`]: the bounded binary codec of the wire; decoding is validation.
//! - [`seed`]: seeds, domain-separated pseudo-random generators and the entropy of a session.
//! - [`transcript`]: length-prefixed, domain-tagged hashing.
//! - [`OpCounts`]: homomorphic operations, counted before and while they run.
//! - [`blame`]: who is at fault when something fails, the first question every error answers.
#![forbid(unsafe_code)]

pub mod blame;
pub mod codec;
pub mod fuzz;
mod ops;
mod secret;
pub mod seed;
pub mod transcript;

pub use blame::Blame;
pub use ops::OpCounts;
pub use secret::Secret;
pub use seed::{Prg, PublicSeed, SessionRng};
pub use transcript::{Digest, Messages, Transcript};
