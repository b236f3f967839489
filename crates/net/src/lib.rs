//! Links between the parties of a protocol.
//!
//! - [`frame`]: the bytes of a message; every link bounds and orders messages by it.
//! - [`memory`]: a link inside one process.
//! - [`stream`]: a link over any byte stream, with a sending queue and timeouts.
//! - [`identity`]: keys and certificates in the state directory; TLS 1.3 with both sides authenticated.
//! - [`private`]: files in the state directory that nobody else may read.
//! - [`client`] and [`server`]: connecting, and serving each session on a thread of its own, within limits.
//! - [`shape`] and [`fault`]: slower and broken networks, below TLS.
#![forbid(unsafe_code)]

mod budget;
pub mod client;
mod error;
pub mod fault;
pub mod frame;
pub mod fuzz;
pub mod identity;
pub mod memory;
pub mod private;
mod seats;
pub mod server;
pub mod shape;
pub mod stream;
mod tls;
mod writer;

pub use budget::{MemoryBudget, Reservation};
pub use client::{ClientTls, ConnectOptions, TlsWire, connect};
pub use error::Error;
pub use identity::{Identity, Owner, parse_fingerprint};
pub use server::{
    Limits, Server, ServerOptions, SessionHandler, SessionIo, Shutdown, ShutdownReport, on_interrupt,
};
pub use shape::LinkShape;
pub use stream::{BoxStream, ByteStream, LinkOptions, StreamWire};
pub use tls::{ClientPolicy, EXPORTER_LABEL, ServerCheck};
