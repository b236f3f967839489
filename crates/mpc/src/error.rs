use crate::LinkFault;
use oblivia_base::Blame;
use oblivia_base::codec::DecodeError;
use thiserror::Error;

/// What can go wrong between two parties that compute together.
///
/// No variant carries a secret, and none describes which part of a secret a failed check concerned.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MpcError {
    /// Bytes of the peer are no message of this step.
    #[error("{0}")]
    Decode(#[from] DecodeError),
    /// A message of the peer has another length than the step says.
    #[error("{what}: {found} bytes where this step has {expected}; end the session")]
    MessageBytes {
        /// The message.
        what: &'static str,
        /// Bytes received.
        found: usize,
        /// Bytes of the step.
        expected: usize,
    },
    /// The bits that fill the last byte of a message are not all zero.
    #[error("message on shares: bits behind its end are not zero; end the session")]
    Padding,
    /// The link to the peer failed.
    #[error(transparent)]
    Link(#[from] LinkFault),
    /// A check on what the peer sent failed; nothing made in this session may be used.
    #[error(
        "{what}: the peer's messages do not fit together; end the session and drop everything made in it"
    )]
    Check {
        /// The check.
        what: &'static str,
    },
    /// The stock holds fewer OTs than are wanted.
    #[error("{wanted} OTs are wanted and {left} are in stock; refill the stock first")]
    Exhausted {
        /// OTs asked for.
        wanted: u64,
        /// OTs there are.
        left: u64,
    },
    /// The LPN parameters are in no table this program trusts.
    #[error(
        "LPN parameters N = {outputs}, k = {unknowns}, t = {trees} of table {version} {}; \
         use a set of table {}",
        if *.weak { "fall below 128 bits" } else { "are not known here" },
        crate::silent::TABLE_VERSION
    )]
    LpnSet {
        /// Version of the table.
        version: u16,
        /// N.
        outputs: u64,
        /// k.
        unknowns: u32,
        /// t.
        trees: u32,
        /// Whether they are known to be weak.
        weak: bool,
    },
    /// A step was called out of turn.
    #[error("{what}; steps of a protocol go in order, and none after a failure")]
    Order {
        /// What stands in the way.
        what: &'static str,
    },
    /// An argument is outside its range.
    #[error("{what} is {found}; it must be {expected}")]
    Argument {
        /// The argument.
        what: &'static str,
        /// Its value.
        found: u64,
        /// What it may be.
        expected: &'static str,
    },
}

impl MpcError {
    /// Refuses a message of the wrong length.
    pub(crate) fn check_bytes(what: &'static str, bytes: &[u8], expected: usize) -> Result<(), Self> {
        let found = bytes.len();
        if found == expected { Ok(()) } else { Err(Self::MessageBytes { what, found, expected }) }
    }

    /// Who is at fault.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Decode(_) | Self::MessageBytes { .. } | Self::Padding => Blame::InvalidMessage,
            Self::Link(fault) => fault.blame,
            Self::Check { .. } => Blame::PeerMisbehaved,
            Self::LpnSet { .. } => Blame::Refused,
            Self::Exhausted { .. } | Self::Order { .. } | Self::Argument { .. } => Blame::Misuse,
        }
    }
}
