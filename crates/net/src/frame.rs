//! Frames: twelve bytes of header, then the body.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 2 | kind ([`Kind::code`]), or [`HEARTBEAT_CODE`] |
//! | 2 | 2 | zero |
//! | 4 | 4 | sequence number in this direction, from 0 |
//! | 8 | 4 | length of the body in bytes |
//! | 12 | length | body |
//!
//! A heartbeat is a header alone: no message, and not counted by the sequence numbers. It carries the number of the
//! message that comes next and says that its sender is at work on it ([`LinkOptions::heartbeat`]). A receiver takes any
//! number of them in front of a message, for as long as it waits for one at all ([`LinkOptions::max_wait`]).
//!
//! [`LinkOptions::heartbeat`]: crate::LinkOptions::heartbeat
//! [`LinkOptions::max_wait`]: crate::LinkOptions::max_wait
//!
//! All numbers are little-endian. A header is judged completely before memory for its body is taken, and a
//! body takes memory as its bytes arrive: at most [`STEP_BYTES`] plus twice what has been received.
#![deny(clippy::indexing_slicing)]

mod reader;

pub(crate) use reader::{FrameReader, Pace, ReadLimits};

use oblivia_base::codec::Decode;
use oblivia_protocol::wire::MAX_BODY_BYTES;
use oblivia_protocol::{Expect, Kind, LinkError, Notice};
use std::io;
use std::time::Duration;

/// Bytes of a header.
pub const HEADER_BYTES: usize = oblivia_protocol::wire::HEADER_BYTES as usize;

/// Bytes that must arrive within one idle timeout, and the first allocation for a body.
pub const STEP_BYTES: usize = 64 << 10;

/// Bytes of an [`Kind::Abort`] body: one notice code.
pub const ABORT_BYTES: usize = 1;

/// What stands in the place of a kind in the header of a heartbeat.
pub const HEARTBEAT_CODE: u16 = 5;

/// The frame that says that its sender is at work on message `sequence`.
pub fn heartbeat(sequence: u32) -> [u8; HEADER_BYTES] {
    let [k0, k1] = HEARTBEAT_CODE.to_le_bytes();
    let [s0, s1, s2, s3] = sequence.to_le_bytes();
    [k0, k1, 0, 0, s0, s1, s2, s3, 0, 0, 0, 0]
}

/// Whether a header is that of a heartbeat, which it must then be in every byte.
fn is_heartbeat(header: &[u8; HEADER_BYTES], due: u32) -> Result<bool, LinkError> {
    let [k0, k1, _, _, s0, s1, s2, s3, ..] = *header;
    if u16::from_le_bytes([k0, k1]) != HEARTBEAT_CODE {
        return Ok(false);
    }
    let found = u32::from_le_bytes([s0, s1, s2, s3]);
    if found != due {
        return Err(LinkError::OutOfOrder { expected: due, found });
    }
    if *header != heartbeat(due) {
        return Err(LinkError::BadHeader { why: "a heartbeat has a body or a non-zero reserved field" });
    }
    Ok(true)
}

/// A well-formed header of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the message is.
    pub kind: Kind,
    /// Its number in its direction, from 0.
    pub sequence: u32,
    /// Bytes of its body.
    pub body_bytes: u32,
}

impl Header {
    /// The twelve bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let [k0, k1] = self.kind.code().to_le_bytes();
        let [s0, s1, s2, s3] = self.sequence.to_le_bytes();
        let [n0, n1, n2, n3] = self.body_bytes.to_le_bytes();
        [k0, k1, 0, 0, s0, s1, s2, s3, n0, n1, n2, n3]
    }

    /// Reads the twelve bytes; [`LinkError::BadHeader`] for an unknown kind or a non-zero reserved field.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, LinkError> {
        let [k0, k1, z0, z1, s0, s1, s2, s3, n0, n1, n2, n3] = *bytes;
        if (z0, z1) != (0, 0) {
            return Err(LinkError::BadHeader { why: "the reserved field is not zero" });
        }
        let Some(kind) = Kind::from_code(u16::from_le_bytes([k0, k1])) else {
            return Err(LinkError::BadHeader { why: "no message has that kind" });
        };
        Ok(Self {
            kind,
            sequence: u32::from_le_bytes([s0, s1, s2, s3]),
            body_bytes: u32::from_le_bytes([n0, n1, n2, n3]),
        })
    }
}

/// Judges the sequence number, then kind and length against `expect` and the link's own bound. `Ok(true)` is
/// an abort, which is always taken.
pub(crate) fn judge(header: Header, due: u32, expect: Expect, max_body: usize) -> Result<bool, LinkError> {
    if header.sequence != due {
        return Err(LinkError::OutOfOrder { expected: due, found: header.sequence });
    }
    let bytes = usize::try_from(header.body_bytes).unwrap_or(usize::MAX);
    if header.kind == Kind::Abort {
        Expect::exactly(Kind::Abort, ABORT_BYTES).check(header.kind, bytes)?;
        return Ok(true);
    }
    let bound = expect.max_bytes.min(max_body).min(MAX_BODY_BYTES);
    Expect { max_bytes: bound, ..expect }.check(header.kind, bytes)?;
    Ok(false)
}

/// The error an abort turns into.
pub(crate) fn aborted(body: &[u8]) -> LinkError {
    match Notice::from_bytes(body) {
        Ok(notice) => LinkError::Aborted(notice),
        Err(_) => LinkError::BadHeader { why: "an abort carries an unknown notice" },
    }
}

/// The sequence number after `sequence`.
pub(crate) fn next_sequence(sequence: u32) -> Result<u32, LinkError> {
    sequence
        .checked_add(1)
        .ok_or(LinkError::BadHeader { why: "the sequence numbers of the link are used up" })
}

/// `step`, or [`LinkError::TimedOut`] after `limit`.
pub(crate) async fn within<T>(
    limit: Option<Duration>,
    during: &'static str,
    step: impl Future<Output = Result<T, LinkError>>,
) -> Result<T, LinkError> {
    let Some(limit) = limit else { return step.await };
    let late = LinkError::TimedOut { millis: limit.as_millis() as u64, during };
    tokio::time::timeout(limit, step).await.unwrap_or(Err(late))
}

/// A failed read or write in the words of a link.
pub(crate) fn link_error(e: &io::Error, during: &'static str) -> LinkError {
    if let Some(tls) = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return crate::tls::link_error(tls);
    }
    match e.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::NotConnected
        | io::ErrorKind::WriteZero => LinkError::Closed { during },
        _ => LinkError::Io(format!("the connection failed {during}: {e}")),
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test that is wrong may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_the_documented_bytes() {
        let h = Header { kind: Kind::System(7), sequence: 0x0102_0304, body_bytes: 0x0a0b_0c0d };
        assert_eq!(h.encode(), [7, 1, 0, 0, 4, 3, 2, 1, 0x0d, 0x0c, 0x0b, 0x0a]);
        assert_eq!(Header::decode(&h.encode()), Ok(h));
    }

    #[test]
    fn an_unknown_kind_and_a_reserved_byte_are_bad_headers() {
        let good = Header { kind: Kind::Hello, sequence: 0, body_bytes: 0 }.encode();
        for (at, value) in [(0, 0), (0, 6), (1, 2), (2, 1), (3, 1)] {
            let mut bad = good;
            bad[at] = value;
            assert!(matches!(Header::decode(&bad), Err(LinkError::BadHeader { .. })), "{at} {value}");
        }
    }
}
