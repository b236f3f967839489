//! Errors sorted by blame, and the one function that decides what a peer is told.

use crate::allowance::Shortfall;
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
    /// A query budget does not cover the session.
    #[error("refused: {0}")]
    Budget(Shortfall),
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
                LinkError::NotAdmitted
                | LinkError::Outlived { .. }
                | LinkError::Aborted(Notice::Refused | Notice::Budget) => Blame::Refused,
                LinkError::Aborted(Notice::UnknownModel) => Blame::Input,
                LinkError::Aborted(Notice::Busy | Notice::Unable) => Blame::Resource,
                _ => Blame::PeerMisbehaved,
            },
            Self::Incompatible { .. } => Blame::PeerIncompatible,
            Self::Refused { .. } | Self::Budget(_) | Self::UnknownModel { .. } => Blame::Refused,
            Self::Unsupported { .. } => Blame::Unsupported,
            Self::NumericBound { .. } => Blame::NumericBound,
            Self::Resource { .. } => Blame::Resource,
            Self::Input(_) => Blame::Input,
            Self::Misuse(_) => Blame::Misuse,
            Self::Io(_) => Blame::Io,
        }
    }

    /// What the peer is told of this error: one code, no detail. In particular a failed decryption, a noise
    /// overflow and a malformed ciphertext are indistinguishable (all [`Notice::Failed`]); what the operating system refused
    /// depends on no message's contents ([`Notice::Unable`]).
    pub fn notice(&self) -> Notice {
        match self {
            Self::Incompatible { .. } => Notice::Incompatible,
            Self::UnknownModel { .. } => Notice::UnknownModel,
            Self::Refused { .. } | Self::Unsupported { .. } => Notice::Refused,
            Self::Budget(_) => Notice::Budget,
            Self::Resource { .. } => Notice::Busy,
            Self::Link(LinkError::Outlived { .. }) => Notice::Refused,
            Self::Io(_) | Self::Link(LinkError::Io(_)) => Notice::Unable,
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
    /// Something went wrong, perhaps with what this side was sent; no detail is given.
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
    /// A query budget does not cover what was agreed.
    Budget,
    /// The sender's disk, memory or system failed it; nothing is wrong with what it was sent.
    Unable,
}

impl Notice {
    const ALL: [Self; 8] = [
        Self::Failed,
        Self::Incompatible,
        Self::Refused,
        Self::UnknownModel,
        Self::Busy,
        Self::ShuttingDown,
        Self::Budget,
        Self::Unable,
    ];
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
            Self::Unable => "the peer's disk, memory or system failed it",
            Self::Budget => {
                "the server's query budget does not cover this any more: others used it meanwhile"
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allowance::Budget;
    use crate::wire::Kind;

    /// One error of every variant, its texts made of `detail`; what the peer is told of it beside it.
    fn all(detail: &str) -> Vec<(Error, Notice)> {
        let (what, why) = (detail.to_owned(), detail.to_owned());
        let link = [
            LinkError::Closed { during: "x" },
            LinkError::TimedOut { millis: detail.len() as u64, during: "x" },
            LinkError::UnexpectedKind { expected: Kind::Hello, found: Kind::System(detail.len() as u8) },
            LinkError::BadHeader { why: "x" },
            LinkError::OutOfOrder { expected: 0, found: detail.len() as u32 },
            LinkError::Oversize { kind: Kind::Offer, found: detail.len() as u64, max: 0 },
            LinkError::Undersize { kind: Kind::Offer, found: 0, min: detail.len() as u64 },
            LinkError::Aborted(Notice::Busy),
            LinkError::Tls(detail.to_owned()),
            LinkError::Io(detail.to_owned()),
            LinkError::NotAdmitted,
            LinkError::TooSlow { bytes_per_second: detail.len() as u64, during: "x" },
            LinkError::Overdue { millis: detail.len() as u64, during: "x" },
            LinkError::Outlived { millis: detail.len() as u64 },
        ];
        let mut errors = vec![
            (Error::InvalidMessage { message: "x", why: why.clone() }, Notice::Failed),
            (
                Error::Incompatible { what: "x", ours: why.clone(), theirs: what.clone(), hint: "x" },
                Notice::Incompatible,
            ),
            (Error::Refused { why: why.clone() }, Notice::Refused),
            (Error::UnknownModel { name: what.clone(), known: why.clone() }, Notice::UnknownModel),
            (
                Error::Unsupported { system: "x", node: what.clone(), op: what.clone(), why: why.clone() },
                Notice::Refused,
            ),
            (Error::NumericBound { what: what.clone(), why: why.clone() }, Notice::Failed),
            (Error::Resource { what: "x", why: why.clone() }, Notice::Busy),
            (Error::Input(why.clone()), Notice::Failed),
            (Error::Misuse(why.clone()), Notice::Failed),
            (Error::Io(why), Notice::Unable),
            (
                Error::Budget(Shortfall {
                    budget: Budget::Client,
                    images: 0,
                    used: detail.len() as u64,
                    asked: 1,
                    counted: 1,
                }),
                Notice::Budget,
            ),
        ];
        let told = |e: &LinkError| match e {
            LinkError::Outlived { .. } => Notice::Refused,
            LinkError::Io(_) => Notice::Unable,
            _ => Notice::Failed,
        };
        errors.extend(link.into_iter().map(|e| (Error::Link(e.clone()), told(&e))));
        errors
    }

    /// A number per variant; a new variant does not compile before it stands here and in [`all`].
    fn number(e: &Error) -> usize {
        match e {
            Error::InvalidMessage { .. } => 0,
            Error::Incompatible { .. } => 1,
            Error::Refused { .. } => 2,
            Error::UnknownModel { .. } => 3,
            Error::Unsupported { .. } => 4,
            Error::NumericBound { .. } => 5,
            Error::Resource { .. } => 6,
            Error::Input(_) => 7,
            Error::Misuse(_) => 8,
            Error::Io(_) => 9,
            Error::Budget(_) => 10,
            Error::Link(e) => {
                11 + match e {
                    LinkError::Closed { .. } => 0,
                    LinkError::TimedOut { .. } => 1,
                    LinkError::UnexpectedKind { .. } => 2,
                    LinkError::BadHeader { .. } => 3,
                    LinkError::OutOfOrder { .. } => 4,
                    LinkError::Oversize { .. } => 5,
                    LinkError::Undersize { .. } => 6,
                    LinkError::Aborted(_) => 7,
                    LinkError::Tls(_) => 8,
                    LinkError::Io(_) => 9,
                    LinkError::NotAdmitted => 10,
                    LinkError::TooSlow { .. } => 11,
                    LinkError::Overdue { .. } => 12,
                    LinkError::Outlived { .. } => 13,
                }
            }
        }
    }

    #[test]
    fn a_peer_is_told_one_byte_that_depends_on_the_kind_of_error_alone() {
        let (short, long) = (all("a"), all("a weight of `secret` is 17.25"));
        let numbers: Vec<usize> = short.iter().map(|(e, _)| number(e)).collect();
        assert_eq!(numbers, (0..25).collect::<Vec<_>>(), "every variant is tried");
        for ((a, notice), (b, _)) in short.iter().zip(&long) {
            assert_eq!(a.notice(), *notice, "{a}");
            let (a, b) = (a.notice().to_bytes(), b.notice().to_bytes());
            assert_eq!(a.len(), 1);
            assert_eq!(a, b);
        }
    }

    #[test]
    fn a_malformed_message_a_number_out_of_bounds_and_our_own_mistakes_look_the_same() {
        let told: Vec<Vec<u8>> = all("x")
            .into_iter()
            .filter(|(e, _)| {
                matches!(
                    e,
                    Error::InvalidMessage { .. }
                        | Error::NumericBound { .. }
                        | Error::Misuse(_)
                        | Error::Input(_)
                        | Error::Link(_)
                ) && !matches!(e, Error::Link(LinkError::Outlived { .. } | LinkError::Io(_)))
            })
            .map(|(e, _)| e.notice().to_bytes())
            .collect();
        assert_eq!(told.len(), 16);
        assert!(told.iter().all(|t| *t == Notice::Failed.to_bytes()));
    }

    #[test]
    fn every_notice_has_one_code_and_a_text_of_its_own() {
        let mut texts = std::collections::BTreeSet::new();
        for (i, notice) in Notice::ALL.into_iter().enumerate() {
            assert_eq!(notice.to_bytes(), [i as u8]);
            assert_eq!(Notice::from_bytes(&[i as u8]), Ok(notice));
            assert!(texts.insert(notice.to_string()));
        }
        assert!(Notice::from_bytes(&[Notice::ALL.len() as u8]).is_err());
        assert!(Notice::from_bytes(&[]).is_err());
        assert!(Notice::from_bytes(&[0, 0]).is_err());
    }
}
