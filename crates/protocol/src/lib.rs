//! The contract between systems, networks and users.
//!
//! A system is planned before it runs: [`Plan`] says what it will cost, which parameters protect it and who
//! learns what; both sides derive the same plan and hash it into the session before a secret moves. Code
//! here knows no sockets, no clocks and no global randomness.
#![forbid(unsafe_code)]

mod allowance;
mod channel;
mod cost;
pub mod error;
pub mod fuzz;
mod keys;
mod leak;
mod packs;
mod permit;
mod plan;
mod receipt;
mod role;
pub mod session;
mod system;
pub mod wire;

pub use allowance::{Allowance, Budget, Shortfall};
pub use channel::{Channel, Direction, LoggedMessage, Meter};
pub use cost::{AheadCost, AheadUse, Cost, OpCounts, Phase, PhaseTraffic, Traffic};
pub use error::{Error, Notice};
pub use keys::{KeyMemory, KeyScope, KeyShelf, KeyUse, SecretStore, SharedKeys};
pub use leak::{Behaviour, Leak, LeakStatement, TrustRow};
pub use packs::{NewPacks, OpenPacks, PackId, PackScope, PackStore, Unavailable};
pub use permit::{Permit, Permits, TurnCounts, Turns};
pub use plan::{
    Choices, DEFAULT_MAX_CLIENT_MEMORY, DEFAULT_MAX_KEY_BYTES, Digest32, ErrorBound, LinkRate, Plan, Wish,
};
pub use receipt::{KeyReceipt, Receipt, Seconds};
pub use role::Role;
pub use system::{
    Answer, Context, Event, Loaded, Observer, Outcome, Reference, Seat, Silent, Support, System, Workload,
};
pub use wire::{BoxFuture, Expect, HEADER_BYTES, Identities, Kind, LinkError, Wire};
