//! Links between the parties of a protocol: frames, the memory link, TLS 1.3, a link shaper, a fault
//! injector and the threaded server.
#![forbid(unsafe_code)]

mod budget;
mod error;
pub mod frame;
pub mod fuzz;
pub mod identity;
pub mod memory;
mod tls;

pub use budget::{MemoryBudget, Reservation};
pub use error::Error;
pub use identity::{Identity, Owner, parse_fingerprint};
pub use tls::{ClientPolicy, EXPORTER_LABEL, ServerCheck};
