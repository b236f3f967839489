//! Errors sorted by blame, and the one function that decides what a peer is told.

use crate::wire::LinkError;
use oblivia_base::Blame;
use oblivia_base::codec::{Decode, DecodeError, Encode, Fault, Reader, Writer};
use std::fmt;
use thiserror::Error;

/// What can go wrong in a session.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum Error {
    /// A message could not be decoded or fails validation.
    #[error("invalid message {message}: {why}")]
    InvalidMessage {
        /// Which message.
        message: &'static str,
        /// What is wrong, for our own log only.
        why: String,
    },
    /// The link failed or the peer broke the order of messages.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The peer speaks another protocol version or derived another plan.
    #[error("{what} differs: ours is {ours}, the peer's is {theirs}; {hint}")]
    Incompatible {
        /// What differs.
        what: &'static str,
        /// Ours.
        ours: String,
        /// The peer's.
        theirs: String,
        /// What to do.
        hint: &'static str,
    },
    /// Policy or the user's limits forbid it.
    #[error("refused: {why}")]
    Refused {
        /// What was asked, which limit forbids it, and what to do.
        why: String,
    },
    /// The server has no such model.
    #[error("there is no model `{name}`; there are: {known}")]
    UnknownModel {
        /// The name asked for.
        name: String,
        /// The names there are, for our own log only.
        known: String,
    },
    /// A system does not do this model.
    #[error("system `{system}` cannot run node `{node}` ({op}): {why}")]
    Unsupported {
        /// The system.
        system: &'static str,
        /// Name of the node.
        node: String,
        /// Name of the operator.
        op: String,
        /// Why, and what would work.
        why: String,
    },
    /// A number left its declared range.
    #[error("{what} left its declared range: {why}")]
    NumericBound {
        /// Which number.
        what: String,
        /// How.
        why: String,
    },
    /// Memory, sessions or time ran out.
    #[error("{what} is exhausted: {why}")]
    Resource {
        /// Which resource.
        what: &'static str,
        /// The numbers, and what to do.
        why: String,
    },
    /// What the user handed over is not usable.
    #[error("{0}")]
    Input(String),
    /// A caller broke a stated rule of the library.
    #[error("misuse: {0}")]
    Misuse(String),
    /// The operating system said no.
    #[error("{0}")]
    Io(String),
}

impl Error {
    /// Who is at fault.
    pub fn blame(&self) -> Blame {
        match self {
            Self::InvalidMessage { .. } => Blame::InvalidMessage,
            Self::Link(e) => match e {
                LinkError::Io(_) => Blame::Io,
                LinkError::Aborted(Notice::Incompatible) => Blame::PeerIncompatible,
                LinkError::Aborted(Notice::Refused) => Blame::Refused,
                LinkError::Aborted(Notice::UnknownModel) => Blame::Input,
                LinkError::Aborted(Notice::Busy) => Blame::Resource,
                _ => Blame::PeerMisbehaved,
            },
            Self::Incompatible { .. } => Blame::PeerIncompatible,
            Self::Refused { .. } | Self::UnknownModel { .. } => Blame::Refused,
            Self::Unsupported { .. } => Blame::Unsupported,
            Self::NumericBound { .. } => Blame::NumericBound,
            Self::Resource { .. } => Blame::Resource,
            Self::Input(_) => Blame::Input,
            Self::Misuse(_) => Blame::Misuse,
            Self::Io(_) => Blame::Io,
        }
    }

    /// What the peer is told of this error: one code, no detail. In particular a failed decryption, a noise
    /// overflow and a malformed ciphertext are indistinguishable (all [`Notice::Failed`]).
    pub fn notice(&self) -> Notice {
        match self {
            Self::Incompatible { .. } => Notice::Incompatible,
            Self::UnknownModel { .. } => Notice::UnknownModel,
            Self::Refused { .. } | Self::Unsupported { .. } => Notice::Refused,
            Self::Resource { .. } => Notice::Busy,
            _ => Notice::Failed,
        }
    }

    /// An [`Error::InvalidMessage`] about the message `message`.
    pub fn invalid(message: &'static str) -> impl Fn(DecodeError) -> Self {
        move |e| Self::InvalidMessage { message, why: e.to_string() }
    }
}

/// The reason a session ended, as told to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Something went wrong; no detail is given.
    Failed,
    /// Version or plan differ.
    Incompatible,
    /// Policy or limits forbid the request.
    Refused,
    /// The server has no model of that name.
    UnknownModel,
    /// The server has no capacity now.
    Busy,
    /// The server is shutting down.
    ShuttingDown,
}

impl Notice {
    const ALL: [Self; 6] =
        [Self::Failed, Self::Incompatible, Self::Refused, Self::UnknownModel, Self::Busy, Self::ShuttingDown];
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "it failed on the peer's side (peers give no detail)",
            Self::Incompatible => "the peer speaks another version or derived another plan",
            Self::Refused => "the peer's policy or limits refuse the request",
            Self::UnknownModel => "the peer has no model of that name",
            Self::Busy => "the peer has no capacity now; try again later",
            Self::ShuttingDown => "the peer is shutting down",
        })
    }
}

impl Encode for Notice {
    fn encode(&self, w: &mut Writer) {
        w.u8(Self::ALL.iter().position(|n| n == self).map_or(0, |i| i as u8));
    }
}

impl Decode for Notice {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = r.u8("notice")?;
        Self::ALL.get(usize::from(code)).copied().ok_or_else(|| r.error("notice", Fault::Invalid))
    }
}
