//! What a protocol sees of the network: typed, bounded messages to one peer.

use oblivia_base::Digest;
use std::future::Future;
use std::pin::Pin;
use thiserror::Error;

/// A future at the edge between protocol code and whatever runs it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Bytes of the header in front of every message body: kind (2), zero (2), sequence number (4), body
/// length (4); little-endian.
pub const HEADER_BYTES: u64 = 12;

/// The largest body any link carries, whatever a receiver expects (1 GiB).
pub const MAX_BODY_BYTES: usize = 1 << 30;

/// What a message is. The receiver names the kinds it accepts before it reads a body.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Client → server, first message of a session.
    Hello,
    /// Server → client: public model, choices and session id.
    Offer,
    /// Client → server: the digest of the plan it agreed to.
    Accept,
    /// Either side: the session ends here; carries one notice code.
    Abort,
    /// A message of the running system, numbered by the system.
    System(u8),
}

impl Kind {
    /// The number in the header. 0 is none, and 5 is the link's own: what it sends under it, to show that it is alive, is no
    /// message, is never received and is no traffic of a session.
    pub fn code(self) -> u16 {
        match self {
            Self::Hello => 1,
            Self::Offer => 2,
            Self::Accept => 3,
            Self::Abort => 4,
            Self::System(i) => 0x100 | u16::from(i),
        }
    }

    /// The kind of a number, if there is one.
    pub fn from_code(code: u16) -> Option<Self> {
        match code {
            1 => Some(Self::Hello),
            2 => Some(Self::Offer),
            3 => Some(Self::Accept),
            4 => Some(Self::Abort),
            c if c & 0xff00 == 0x100 => Some(Self::System((c & 0xff) as u8)),
            _ => None,
        }
    }
}

/// What the receiver is ready to take: one kind, up to a size. An [`Kind::Abort`] is always taken and
/// comes back as [`LinkError::Aborted`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expect {
    /// The only kind accepted.
    pub kind: Kind,
    /// The largest body accepted, in bytes; larger ones are refused before anything is allocated.
    pub max_bytes: usize,
    /// The smallest body accepted, in bytes.
    pub min_bytes: usize,
}

impl Expect {
    /// Up to `max_bytes`.
    pub fn at_most(kind: Kind, max_bytes: usize) -> Self {
        Self { kind, max_bytes, min_bytes: 0 }
    }

    /// Exactly `bytes`: the form every plan-determined message takes.
    pub fn exactly(kind: Kind, bytes: usize) -> Self {
        Self { kind, max_bytes: bytes, min_bytes: bytes }
    }

    /// Checks an announced kind and length; links call this before they allocate.
    pub fn check(&self, kind: Kind, bytes: usize) -> Result<(), LinkError> {
        if kind != self.kind {
            return Err(LinkError::UnexpectedKind { expected: self.kind, found: kind });
        }
        if bytes > self.max_bytes.min(MAX_BODY_BYTES) {
            return Err(LinkError::Oversize { kind, found: bytes as u64, max: self.max_bytes as u64 });
        }
        if bytes < self.min_bytes {
            return Err(LinkError::Undersize { kind, found: bytes as u64, min: self.min_bytes as u64 });
        }
        Ok(())
    }
}

/// Why a message could not be sent or received.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The connection ended in the middle of a session.
    #[error("the peer closed the connection in the middle of the session ({during})")]
    Closed {
        /// What was going on.
        during: &'static str,
    },
    /// Nothing arrived in time.
    #[error("the peer was silent for {millis} ms while we waited for {during}")]
    TimedOut {
        /// The time allowed.
        millis: u64,
        /// What was going on.
        during: &'static str,
    },
    /// The peer showed signs of life and sent no message for longer than is waited for one.
    #[error("the peer was at work for {millis} ms without an answer while we waited for {during}")]
    Overdue {
        /// The time allowed.
        millis: u64,
        /// What was going on.
        during: &'static str,
    },
    /// The session took longer than sessions may.
    #[error("the session was not over after {millis} ms, the longest it may take")]
    Outlived {
        /// The time allowed.
        millis: u64,
    },
    /// A message was under way for longer than its size explains.
    #[error("the peer was slower than {bytes_per_second} bytes per second at {during}")]
    TooSlow {
        /// The least that is allowed.
        bytes_per_second: u64,
        /// What the peer was doing.
        during: &'static str,
    },
    /// Another message was due.
    #[error("the peer sent {found:?} where {expected:?} was due")]
    UnexpectedKind {
        /// What was due.
        expected: Kind,
        /// What came.
        found: Kind,
    },
    /// A message number no version of the protocol has, or a malformed header.
    #[error("the peer sent a malformed message header ({why})")]
    BadHeader {
        /// What is malformed.
        why: &'static str,
    },
    /// A message came twice, is missing, or came out of order.
    #[error(
        "the peer sent message {found} where message {expected} was due: one was lost, repeated or reordered"
    )]
    OutOfOrder {
        /// The sequence number due.
        expected: u32,
        /// The sequence number that came.
        found: u32,
    },
    /// A body is larger than the receiver allows.
    #[error("the peer announced {found} bytes of {kind:?}, more than the {max} allowed")]
    Oversize {
        /// Kind of the message.
        kind: Kind,
        /// Bytes announced.
        found: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// A body is smaller than the plan says.
    #[error("the peer announced {found} bytes of {kind:?}, fewer than the {min} due")]
    Undersize {
        /// Kind of the message.
        kind: Kind,
        /// Bytes announced.
        found: u64,
        /// Bytes due.
        min: u64,
    },
    /// The peer ended the session and said why.
    #[error("the peer ended the session: {0}")]
    Aborted(crate::error::Notice),
    /// The peer's list of whom it admits does not name this party.
    #[error("the server does not admit this client: ask its owner to add this client's fingerprint")]
    NotAdmitted,
    /// Transport security failed: handshake, certificate, or a record that does not authenticate.
    #[error("transport security failed: {0}")]
    Tls(String),
    /// The operating system said no.
    #[error("{0}")]
    Io(String),
}

/// Who is at the two ends of a link: hashes of the public keys that signed the handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identities {
    /// This end.
    pub own: Digest,
    /// The other end.
    pub peer: Digest,
}

/// A link to one peer: memory, TLS, shaped, faulty.
///
/// `send` queues: it returns when the message is on its way to the writer, so two parties that both send
/// large messages first cannot deadlock.
pub trait Wire: Send {
    /// Queues one message.
    fn send(&mut self, kind: Kind, body: Vec<u8>) -> BoxFuture<'_, Result<(), LinkError>>;
    /// Waits for the next message, which must be what `expect` says.
    fn recv(&mut self, expect: Expect) -> BoxFuture<'_, Result<Vec<u8>, LinkError>>;
    /// Waits until everything queued has been handed to the operating system and closes the sending side.
    fn finish(&mut self) -> BoxFuture<'_, Result<(), LinkError>>;
    /// Keying material exported from the secure channel (RFC 8446 §7.5), equal on both ends and unique to
    /// this connection; `None` on links that have none.
    fn binding(&self) -> Option<[u8; 32]>;
    /// Who is at both ends, where the link authenticates them.
    fn identities(&self) -> Option<Identities>;
}
