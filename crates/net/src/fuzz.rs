//! Fuzz harnesses as plain functions: run by proptest here and by `cargo fuzz` outside the workspace.

use crate::MemoryBudget;
use crate::frame::{FrameReader, HEADER_BYTES, HEARTBEAT_CODE, ReadLimits, STEP_BYTES};
use oblivia_protocol::{Expect, Kind, LinkError};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, ReadBuf};

/// Reads `bytes` as one direction of a link, expecting whatever kind each header names; the first byte
/// chooses how finely the stream is chopped. Says how many messages there were.
///
/// # Panics
/// When the reader takes more memory than the bytes it was handed can justify, or goes on after an error.
pub fn frames(bytes: &[u8]) -> usize {
    let (chop, stream) =
        bytes.split_first().map_or((1, bytes), |(first, rest)| (usize::from(*first) + 1, rest));
    let memory = MemoryBudget::new((STEP_BYTES + 2 * bytes.len()) as u64);
    let limits = ReadLimits { pace: None, max_body: 1 << 20, memory: Some(memory) };
    let mut reader = FrameReader::new(limits);
    let cuts = [chop];
    let mut from = Trickle::chopped(stream, &cuts);
    for messages in 0..=bytes.len() {
        let kind = from.peek_kind().unwrap_or(Kind::Hello);
        match once(reader.next(&mut from, Expect::at_most(kind, 1 << 20))) {
            Some(Ok(_)) => continue,
            Some(Err(e)) => {
                assert!(!matches!(e, LinkError::Io(_)), "more memory than bytes: {e}");
                let again = once(reader.next(&mut from, Expect::at_most(kind, 1 << 20)));
                assert_eq!(again, Some(Err(e)), "an error must stay");
                return messages;
            }
            None => unreachable!("the stream is always ready"),
        }
    }
    unreachable!("a finite stream ends in an error");
}

/// Polls once; a future over a [`Trickle`] is ready or waits for ever.
pub(crate) fn poll<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(out) => Some(out),
        Poll::Pending => None,
    }
}

/// Polls once and drops the future.
fn once<F: Future>(future: F) -> Option<F::Output> {
    poll(pin!(future))
}

#[cfg(test)]
pub(crate) fn ready<F: Future>(future: F) -> F::Output {
    once(future).expect("the future is ready at once")
}

/// A byte stream in memory that hands out its bytes in pieces.
pub(crate) struct Trickle<'a> {
    rest: &'a [u8],
    cuts: &'a [usize],
    turn: usize,
    open: bool,
}

impl<'a> Trickle<'a> {
    /// Pieces of the sizes in `cuts`, over and over; then the end of the stream.
    pub(crate) fn chopped(bytes: &'a [u8], cuts: &'a [usize]) -> Self {
        Self { rest: bytes, cuts, turn: 0, open: false }
    }

    /// All bytes, and then nothing without an end.
    #[cfg(test)]
    pub(crate) fn open(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, cuts: &[usize::MAX], turn: 0, open: true }
    }

    /// The kind of the next message, behind any heartbeats.
    fn peek_kind(&self) -> Option<Kind> {
        let codes = self.rest.chunks(HEADER_BYTES).map_while(|header| header.first_chunk::<2>());
        let code = codes.map(|code| u16::from_le_bytes(*code)).find(|code| *code != HEARTBEAT_CODE)?;
        Kind::from_code(code)
    }
}

impl AsyncRead for Trickle<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() && self.open {
            return Poll::Pending;
        }
        let cut = self.cuts.get(self.turn % self.cuts.len()).copied().unwrap_or(1);
        self.turn += 1;
        let (now, later) = self.rest.split_at(cut.min(self.rest.len()).min(buf.remaining()));
        buf.put_slice(now);
        self.rest = later;
        Poll::Ready(Ok(()))
    }
}
