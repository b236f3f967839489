//! Harnesses for fuzzers: plain functions of bytes that must neither panic nor take unbounded memory, and say
//! whether the bytes were accepted. Whatever is accepted encodes to the same bytes again.

use crate::error::Notice;
use crate::session::{Hello, Reply};
use crate::{Choices, Kind, Role, Traffic};
use oblivia_base::Digest;
use oblivia_base::fuzz::round_trip;

/// The first message of a session.
pub fn hello(bytes: &[u8]) -> bool {
    round_trip::<Hello>(bytes)
}

/// The answer to it.
pub fn offer(bytes: &[u8]) -> bool {
    round_trip::<Reply>(bytes)
}

/// The digest a client accepts.
pub fn accept(bytes: &[u8]) -> bool {
    round_trip::<Digest>(bytes)
}

/// What a planner chose.
pub fn choices(bytes: &[u8]) -> bool {
    round_trip::<Choices>(bytes)
}

/// The word a session ends with.
pub fn notice(bytes: &[u8]) -> bool {
    round_trip::<Notice>(bytes)
}

/// A party.
pub fn role(bytes: &[u8]) -> bool {
    round_trip::<Role>(bytes)
}

/// Bytes and rounds.
pub fn traffic(bytes: &[u8]) -> bool {
    round_trip::<Traffic>(bytes)
}

/// The kind in a header.
///
/// # Panics
/// When two numbers are one kind.
pub fn kind(bytes: &[u8]) -> bool {
    let Ok(code) = <[u8; 2]>::try_from(bytes).map(u16::from_le_bytes) else { return false };
    match Kind::from_code(code) {
        Some(kind) => {
            assert_eq!(kind.code(), code, "two numbers of one kind");
            true
        }
        None => false,
    }
}
