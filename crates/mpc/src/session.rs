//! Two parties in turn: who writes, what waits to be sent, and where the peer is reached.
//!
//! One party holds the *pen*. It writes fields; they leave as one message when the party has to read. An exchange, in
//! which both sides say something that does not depend on the other's words, is led by the pen's holder and passes the
//! pen: the follower answers and goes on writing into the same message. A chain of k exchanges so takes k + 1 messages
//! (two-party ping-pong), also across the borders of protocols.

use crate::wire::{BitReader, BitWriter};
use crate::{MpcError, PadSource};
use oblivia_base::Blame;
use std::future::Future;
use thiserror::Error;

/// One of the two parties. The server holds public numbers ([`crate::Shares::public`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// The party that holds the input.
    Client,
    /// The party that holds the model.
    Server,
}

impl Party {
    /// The peer.
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// The link to the peer failed; the owner of the link keeps the details.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("link to the peer: {what}")]
pub struct LinkFault {
    /// Who is at fault.
    pub blame: Blame,
    /// What happened.
    pub what: String,
}

/// Whoever carries messages to the peer and back, in order.
pub trait Link: Send {
    /// Sends one message.
    fn send(&mut self, message: Vec<u8>) -> impl Future<Output = Result<(), LinkFault>> + Send;
    /// The peer's next message, refused before allocation if it is longer than `max_bytes`.
    fn recv(&mut self, max_bytes: usize) -> impl Future<Output = Result<Vec<u8>, LinkFault>> + Send;
}

/// What one party computes with: its link, its random OTs, the message it is writing and the one it is reading.
///
/// Both parties call the same functions in the same order on vectors of equal public shape. After an error the two
/// are out of step, and the session is to be dropped.
pub struct Session<L, P> {
    party: Party,
    pen: Party,
    link: L,
    pads: P,
    max_message_bytes: usize,
    out: BitWriter,
    incoming: Option<BitReader>,
}

impl<L: Link, P: PadSource> Session<L, P> {
    /// A session in which `pen` writes first. A message of the peer is refused above `max_message_bytes`, see
    /// [`crate::Cost::max_message_bytes`].
    pub fn new(party: Party, pen: Party, link: L, pads: P, max_message_bytes: usize) -> Self {
        Self { party, pen, link, pads, max_message_bytes, out: BitWriter::new(), incoming: None }
    }

    /// Who this is.
    pub fn party(&self) -> Party {
        self.party
    }

    /// Who writes at present; the same at both ends.
    pub fn pen(&self) -> Party {
        self.pen
    }

    /// Whether this party writes at present.
    pub fn holds_pen(&self) -> bool {
        self.party == self.pen
    }

    /// The random OTs.
    pub fn pads(&mut self) -> &mut P {
        &mut self.pads
    }

    /// Sends what waits and checks that the peer's message was read to its end. Both parties call it at the same
    /// place, at the latest after the last protocol.
    ///
    /// # Errors
    /// [`MpcError::Link`]; [`MpcError::MessageBytes`] or [`MpcError::Padding`] for the peer's last message.
    pub async fn finish(&mut self) -> Result<(), MpcError> {
        self.close()?;
        self.flush().await
    }

    /// Takes link and random OTs back; what was not sent is dropped.
    pub fn into_parts(self) -> (L, P) {
        (self.link, self.pads)
    }

    /// The pen's holder writes and passes the pen; the other party does not call this.
    pub(crate) fn tell(&mut self, write: impl FnOnce(&mut BitWriter)) -> Result<(), MpcError> {
        let written = self.write(write)?;
        self.pass(written > 0);
        Ok(())
    }

    /// The counterpart of [`Session::tell`]: reads `bits` bits, then holds the pen.
    pub(crate) async fn hear<T>(
        &mut self,
        bits: usize,
        read: impl FnOnce(&mut BitReader) -> Result<T, MpcError> + Send,
    ) -> Result<T, MpcError> {
        let heard = self.read(bits, read).await?;
        self.pass(bits > 0);
        Ok(heard)
    }

    /// Both write and both read; `bits` are the peer's. Passes the pen.
    pub(crate) async fn exchange<T>(
        &mut self,
        write: impl FnOnce(&mut BitWriter) + Send,
        bits: usize,
        read: impl FnOnce(&mut BitReader) -> Result<T, MpcError> + Send,
    ) -> Result<T, MpcError> {
        let (heard, written) = if self.holds_pen() {
            let written = self.write(write)?;
            (self.read(bits, read).await?, written)
        } else {
            let heard = self.read(bits, read).await?;
            (heard, self.write(write)?)
        };
        self.pass(written + bits > 0);
        Ok(heard)
    }

    /// From here on `to` writes.
    pub(crate) fn give_pen(&mut self, to: Party) {
        self.pen = to;
    }

    /// Refuses a caller that does not hold the pen, or one that does.
    pub(crate) fn require_pen(&self, held: bool) -> Result<(), MpcError> {
        let expected = if held { "held by the party that writes" } else { "held by the peer of the reader" };
        crate::bits::require(self.holds_pen() == held, "pen of the session", self.pen as u64, expected)
    }

    /// The pen passes if anything was said: what is about no element at all is no message.
    fn pass(&mut self, said: bool) {
        if said {
            self.pen = self.pen.other();
        }
    }

    /// Appends to the message that waits, without passing the pen. The bits appended.
    pub(crate) fn write(&mut self, write: impl FnOnce(&mut BitWriter)) -> Result<usize, MpcError> {
        let before = self.out.len();
        write(&mut self.out);
        let written = self.out.len() - before;
        if written > 0 {
            self.close()?;
        }
        Ok(written)
    }

    /// Reads the next `bits` bits of the peer, without passing the pen. No bits are no message.
    pub(crate) async fn read<T>(
        &mut self,
        bits: usize,
        read: impl FnOnce(&mut BitReader) -> Result<T, MpcError> + Send,
    ) -> Result<T, MpcError> {
        if bits == 0 {
            return read(&mut BitReader::new(Vec::new()));
        }
        if self.incoming.is_none() {
            self.flush().await?;
            self.incoming = Some(BitReader::new(self.link.recv(self.max_message_bytes).await?));
        }
        let reader = self.incoming.get_or_insert_with(|| BitReader::new(Vec::new()));
        reader.require(bits)?;
        read(reader)
    }

    /// The peer's message must have been read to its end.
    fn close(&mut self) -> Result<(), MpcError> {
        self.incoming.take().map_or(Ok(()), BitReader::finish)
    }

    async fn flush(&mut self) -> Result<(), MpcError> {
        if self.out.is_empty() {
            return Ok(());
        }
        let message = std::mem::take(&mut self.out).into_bytes();
        Ok(self.link.send(message).await?)
    }
}

impl<L, P> std::fmt::Debug for Session<L, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({:?}, pen of {:?})", self.party, self.pen)
    }
}
