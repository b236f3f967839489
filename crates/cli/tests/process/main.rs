//! The program as users run it: processes, files, TLS on loopback.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that is wrong may panic")]

mod batch;
mod budgets;
mod common;
mod flags;
mod hostile;
mod inputs;
mod keys;
mod packs;
mod places;
mod quantise;
mod reading;
mod sessions;
