//! The channel of a session as a protocol on shares sees it.

use super::stock::peer;
use oblivia_base::Blame;
use oblivia_mpc::{Link, LinkFault, MpcError, Party};
use oblivia_pack::coefficient::CoefficientError;
use oblivia_protocol::{Channel, Error, Expect, Kind};

pub(super) const KIND_SETUP: Kind = Kind::System(0);
pub(super) const KIND_OFFLINE: Kind = Kind::System(1);
pub(super) const KIND_ONLINE: Kind = Kind::System(2);

/// Carries the messages of one image. Every message's length follows from the plan and is checked before it is read.
pub(super) struct ChannelLink<'a> {
    channel: &'a mut Channel,
    party: Party,
    /// Bytes of the peer's messages that are still to come.
    incoming: std::vec::IntoIter<usize>,
    /// What really went wrong, for whoever drives the session.
    failed: Option<Error>,
}

impl<'a> ChannelLink<'a> {
    /// `incoming` are the lengths of the peer's messages in order.
    pub(super) fn new(channel: &'a mut Channel, party: Party, incoming: Vec<usize>) -> Self {
        Self { channel, party, incoming: incoming.into_iter(), failed: None }
    }

    /// The error behind an [`MpcError::Link`].
    pub(super) fn failed(self) -> Option<Error> {
        self.failed
    }

    fn fail(&mut self, error: Error) -> LinkFault {
        let fault = LinkFault { blame: error.blame(), what: error.to_string() };
        self.failed = Some(error);
        fault
    }
}

impl Link for ChannelLink<'_> {
    async fn send(&mut self, message: Vec<u8>) -> Result<(), LinkFault> {
        let sent = self.channel.send(peer(self.party), KIND_ONLINE, message).await;
        sent.map_err(|e| self.fail(e))
    }

    async fn recv(&mut self, _: usize) -> Result<Vec<u8>, LinkFault> {
        let Some(bytes) = self.incoming.next() else {
            return Err(self.fail(Error::Misuse("a message was awaited that the plan does not have".into())));
        };
        let received = self.channel.recv(peer(self.party), Expect::exactly(KIND_ONLINE, bytes)).await;
        received.map_err(|e| self.fail(e))
    }
}

/// An error of a protocol on shares, as the session has it.
pub(super) fn mpc_error(e: MpcError) -> Error {
    let why = e.to_string();
    match e.blame() {
        Blame::InvalidMessage | Blame::PeerMisbehaved => Error::InvalidMessage { message: "Shares", why },
        Blame::Refused => Error::Refused { why },
        _ => Error::Misuse(why),
    }
}

/// An error of a linear layer, as the session has it.
pub(super) fn layer_error(e: CoefficientError) -> Error {
    let why = e.to_string();
    match e.blame() {
        Blame::InvalidMessage | Blame::PeerMisbehaved => Error::InvalidMessage { message: "Layer", why },
        Blame::Refused => Error::Refused { why },
        _ => Error::Misuse(why),
    }
}
