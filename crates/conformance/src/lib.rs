//! What every system must show, for each of its modes and any model it runs:
//!
//! 1. [`answers`]: outputs within the declared error of the clear network, same label.
//! 2. [`costs`]: bytes, rounds and operations exactly as declared, on both sides.
//! 3. [`leaks`]: two inputs with equal declared leaks give messages of equal kind, length and order.
//! 4. [`hostile`]: wrong plan, wrong kind, wrong size, garbage of the right size: an error at the right side,
//!    one word to the peer.
//! 5. [`faults`]: a fault on the network at every message ends in an error or in the right answer, never in a
//!    hang or a wrong label.
//! 6. [`ahead`]: packs made in one session and used in another: at the declared cost, right, and never twice.
//! 7. [`kept`]: where keys outlive a session, all of this holds for cold, warm and forgotten keys alike.
//!
//! A third party runs the suite on a system of its own by making a [`Case`] for it.
#![forbid(unsafe_code)]
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the suite reports by panicking, like the tests that call it"
)]

pub mod ahead;
pub mod answers;
pub mod costs;
pub mod faults;
pub mod hostile;
pub mod kept;
pub mod leaks;
pub mod loopback;
mod run;
mod small;

pub use run::{Case, Failed, Pair, ask, ask_with, block_on, both, mnist, over_memory, serve, with_models};
pub use small::{small, small_relu};
