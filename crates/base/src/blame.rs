//! Who is at fault: the vocabulary every error of the house is sorted by.

use std::fmt;

/// The party or circumstance an error is due to.
///
/// The command line turns it into an exit code, the network layer into what the peer is told; see
/// `protocol::error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Blame {
    /// A message could not be decoded or fails validation.
    InvalidMessage,
    /// The peer broke the protocol: wrong order, wrong size, failed check, or it vanished.
    PeerMisbehaved,
    /// The peer speaks another version or has another plan.
    PeerIncompatible,
    /// Policy or the user's limits forbid it.
    Refused,
    /// Something Oblivia does not do; the error names the node, the operator and why.
    Unsupported,
    /// A number left the range that was proved or declared.
    NumericBound,
    /// Memory, disk, sessions or time ran out.
    Resource,
    /// What the user handed over (file, image, flag value) is not usable.
    Input,
    /// A caller of the library broke a stated rule.
    Misuse,
    /// The operating system said no.
    Io,
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidMessage => "invalid message",
            Self::PeerMisbehaved => "peer misbehaved",
            Self::PeerIncompatible => "peer incompatible",
            Self::Refused => "refused",
            Self::Unsupported => "unsupported",
            Self::NumericBound => "numeric bound",
            Self::Resource => "resource",
            Self::Input => "input",
            Self::Misuse => "misuse",
            Self::Io => "I/O",
        })
    }
}
