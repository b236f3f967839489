//! Reading frames from a byte stream.
#![deny(clippy::indexing_slicing)]

use super::{
    ABORT_BYTES, HEADER_BYTES, Header, STEP_BYTES, aborted, is_heartbeat, judge, link_error, next_sequence,
    within,
};
use crate::MemoryBudget;
use crate::budget::Reservation;
use oblivia_protocol::{Expect, Kind, LinkError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

/// How slow a message may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Longest silence in front of a message, and longest wait for each [`STEP_BYTES`] of a body.
    pub(crate) idle: Duration,
    /// Longest wait for a message with heartbeats in front of it; no shorter than `idle`.
    pub(crate) max_wait: Duration,
    /// Beyond one such wait, a body takes a second for so many bytes; 0 sets no such limit.
    pub(crate) min_bytes_per_second: u64,
}

impl Pace {
    /// The longest a whole message may take.
    fn limit(&self, bytes: u64) -> Option<Duration> {
        let millis = bytes.saturating_mul(1000).checked_div(self.min_bytes_per_second)?;
        Some(self.idle.saturating_add(Duration::from_millis(millis)))
    }

    /// `message`, or [`LinkError::TooSlow`] once that is over.
    pub(crate) async fn keep<T>(
        &self,
        bytes: usize,
        during: &'static str,
        message: impl Future<Output = Result<T, LinkError>>,
    ) -> Result<T, LinkError> {
        let Some(limit) = self.limit(bytes as u64) else { return message.await };
        let slow = LinkError::TooSlow { bytes_per_second: self.min_bytes_per_second, during };
        tokio::time::timeout(limit, message).await.unwrap_or(Err(slow))
    }
}

/// What bounds a [`FrameReader`].
#[derive(Debug, Clone)]
pub(crate) struct ReadLimits {
    /// How slow a message may be; none needs no timer.
    pub(crate) pace: Option<Pace>,
    /// Largest body, whatever a receiver expects.
    pub(crate) max_body: usize,
    /// Where bodies are counted.
    pub(crate) memory: Option<MemoryBudget>,
}

/// Reads frames from a byte stream. What has been read survives a dropped [`FrameReader::next`]; after an
/// error the stream is out of step, and the same error comes back for ever.
#[derive(Debug)]
pub(crate) struct FrameReader {
    limits: ReadLimits,
    due: u32,
    header: [u8; HEADER_BYTES],
    header_have: usize,
    body: Vec<u8>,
    counted: Option<Reservation>,
    failed: Option<LinkError>,
}

impl FrameReader {
    pub(crate) fn new(limits: ReadLimits) -> Self {
        Self {
            limits,
            due: 0,
            header: [0; HEADER_BYTES],
            header_have: 0,
            body: Vec::new(),
            counted: None,
            failed: None,
        }
    }

    /// The body of the next frame, which must be what `expect` says.
    pub(crate) async fn next<R: AsyncRead + Unpin>(
        &mut self,
        from: &mut R,
        expect: Expect,
    ) -> Result<Vec<u8>, LinkError> {
        if let Some(e) = &self.failed {
            return Err(e.clone());
        }
        let result = self.read(from, expect).await;
        if let Err(e) = &result {
            self.failed = Some(e.clone());
            self.body = Vec::new();
            self.counted = None;
        }
        result
    }

    /// Takes the next frame if it is an abort, and then fails with it; anything else stays to be read.
    pub(crate) async fn abort_only<R: AsyncRead + Unpin>(&mut self, from: &mut R) -> Result<(), LinkError> {
        if self.failed.is_some() {
            return Ok(());
        }
        if self.message_header(from).await?.kind != Kind::Abort {
            return Ok(());
        }
        self.next(from, Expect::exactly(Kind::Abort, ABORT_BYTES)).await.map(|_| ())
    }

    async fn read<R: AsyncRead + Unpin>(
        &mut self,
        from: &mut R,
        expect: Expect,
    ) -> Result<Vec<u8>, LinkError> {
        let pace = self.limits.pace;
        let header = self.message_header(from).await?;
        let abort = judge(header, self.due, expect, self.limits.max_body)?;
        let bytes = usize::try_from(header.body_bytes).unwrap_or(usize::MAX);
        let rest = self.read_body(from, bytes, header.kind);
        match pace {
            Some(pace) => pace.keep(bytes, "sending a message", rest).await?,
            None => rest.await?,
        }
        self.header_have = 0;
        let body = std::mem::take(&mut self.body);
        if abort {
            return Err(aborted(&body));
        }
        self.due = next_sequence(self.due)?;
        Ok(body)
    }

    /// The header of the next message, behind the heartbeats in front of it.
    async fn message_header<R: AsyncRead + Unpin>(&mut self, from: &mut R) -> Result<Header, LinkError> {
        const DURING: &str = "a message";
        let Some(Pace { idle, max_wait, .. }) = self.limits.pace else {
            loop {
                self.fill_header(from).await?;
                if !self.take_heartbeat()? {
                    return Header::decode(&self.header);
                }
            }
        };
        let (began, max_wait) = (Instant::now(), max_wait.max(idle));
        let overdue = LinkError::Overdue { millis: max_wait.as_millis() as u64, during: DURING };
        let mut patience = idle;
        loop {
            match within(Some(patience), DURING, self.fill_header(from)).await {
                Err(LinkError::TimedOut { .. }) if patience < idle => return Err(overdue),
                waited => waited?,
            }
            if !self.take_heartbeat()? {
                return Header::decode(&self.header);
            }
            patience = idle.min(max_wait.saturating_sub(began.elapsed()));
            // A peer that sends nothing but heartbeats, without a pause, is not waited for either.
            if patience.is_zero() {
                return Err(overdue);
            }
        }
    }

    /// Takes the header that was read if it is that of a heartbeat.
    fn take_heartbeat(&mut self) -> Result<bool, LinkError> {
        let taken = is_heartbeat(&self.header, self.due)?;
        if taken {
            self.header_have = 0;
        }
        Ok(taken)
    }

    async fn read_body<R: AsyncRead + Unpin>(
        &mut self,
        from: &mut R,
        bytes: usize,
        kind: Kind,
    ) -> Result<(), LinkError> {
        let idle = self.limits.pace.map(|p| p.idle);
        while self.body.len() < bytes {
            let step = (bytes - self.body.len()).min(STEP_BYTES);
            self.make_room(step, bytes, kind)?;
            within(idle, "the rest of a message", self.fill_body(from, self.body.len() + step)).await?;
        }
        Ok(())
    }

    async fn fill_header<R: AsyncRead + Unpin>(&mut self, from: &mut R) -> Result<(), LinkError> {
        while let Some(gap) = self.header.get_mut(self.header_have..).filter(|gap| !gap.is_empty()) {
            let during =
                if self.header_have == 0 { "waiting for a message" } else { "in the middle of a header" };
            match from.read(gap).await.map_err(|e| link_error(&e, during))? {
                0 => return Err(LinkError::Closed { during }),
                n => self.header_have += n,
            }
        }
        Ok(())
    }

    /// Reads until the body has `target` bytes; room for them was made.
    async fn fill_body<R: AsyncRead + Unpin>(
        &mut self,
        from: &mut R,
        target: usize,
    ) -> Result<(), LinkError> {
        let during = "in the middle of a message";
        while self.body.len() < target {
            let gap = (target - self.body.len()) as u64;
            match (&mut *from).take(gap).read_buf(&mut self.body).await.map_err(|e| link_error(&e, during))? {
                0 => return Err(LinkError::Closed { during }),
                _ => continue,
            }
        }
        Ok(())
    }

    /// Makes room for `step` more bytes by doubling, never past `total`, and counts it.
    fn make_room(&mut self, step: usize, total: usize, kind: Kind) -> Result<(), LinkError> {
        let have = self.body.len();
        if have == 0 {
            self.counted = None;
        }
        if self.body.capacity() - have >= step {
            return Ok(());
        }
        let capacity = total.min((2 * have).max(have + step));
        let more = (capacity - self.body.capacity().min(capacity)) as u64;
        if let Some(memory) = &self.limits.memory {
            let done = match &mut self.counted {
                Some(counted) => counted.grow(more),
                None => memory.reserve(more).map(|r| self.counted = Some(r)),
            };
            done.map_err(|e| LinkError::Io(format!("a message {kind:?} of {total} bytes is refused: {e}")))?;
        }
        let out_of_memory = |_| LinkError::Io(format!("there is no memory for a message of {total} bytes"));
        self.body.try_reserve_exact(capacity - have).map_err(out_of_memory)
    }

    #[cfg(test)]
    fn capacity(&self) -> usize {
        self.body.capacity()
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test that is wrong may panic")]
mod tests {
    use super::super::heartbeat;
    use super::*;
    use crate::fuzz::{Trickle, ready};
    use oblivia_base::codec::Encode;
    use oblivia_protocol::Notice;
    use oblivia_protocol::wire::MAX_BODY_BYTES;
    use proptest::prelude::*;

    fn reader() -> FrameReader {
        FrameReader::new(ReadLimits { pace: None, max_body: MAX_BODY_BYTES, memory: None })
    }

    fn frame(kind: Kind, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut out = Header { kind, sequence, body_bytes: body.len() as u32 }.encode().to_vec();
        out.extend_from_slice(body);
        out
    }

    #[test]
    fn an_oversize_header_is_refused_before_anything_is_allocated() {
        let bytes = frame(Kind::Hello, 0, &[]);
        for announced in [101u32, u32::MAX] {
            let mut bytes = bytes.clone();
            bytes[8..12].copy_from_slice(&announced.to_le_bytes());
            let mut r = reader();
            let e = ready(r.next(&mut &bytes[..], Expect::at_most(Kind::Hello, 100))).unwrap_err();
            assert_eq!(e, LinkError::Oversize { kind: Kind::Hello, found: announced.into(), max: 100 });
            assert_eq!(r.capacity(), 0);
        }
    }

    #[test]
    fn the_bound_of_the_link_holds_even_where_the_receiver_allows_more() {
        let mut r = FrameReader::new(ReadLimits { pace: None, max_body: 10, memory: None });
        let bytes = frame(Kind::Hello, 0, &[1; 11]);
        let e = ready(r.next(&mut &bytes[..], Expect::at_most(Kind::Hello, 100))).unwrap_err();
        assert_eq!(e, LinkError::Oversize { kind: Kind::Hello, found: 11, max: 10 });
    }

    #[test]
    fn an_announced_gibibyte_takes_memory_only_as_it_arrives() {
        let mut bytes = frame(Kind::Hello, 0, &[]);
        bytes[8..12].copy_from_slice(&(1u32 << 30).to_le_bytes());
        for arrived in [0, 10, 100_000, 1_000_000] {
            bytes.resize(HEADER_BYTES + arrived, 7);
            let mut r = reader();
            // A stream that stays open after its last byte: the future stays pending and keeps what it has.
            let mut stream = Trickle::open(&bytes);
            let mut next = Box::pin(r.next(&mut stream, Expect::at_most(Kind::Hello, 1 << 30)));
            assert!(crate::fuzz::poll(next.as_mut()).is_none());
            drop(next);
            assert_eq!(r.body.len(), arrived);
            assert!(r.capacity() <= STEP_BYTES + 2 * arrived, "{} for {arrived}", r.capacity());
        }
    }

    #[test]
    fn a_body_is_counted_in_the_memory_budget_and_an_excess_is_refused() {
        let memory = MemoryBudget::new(100_000);
        let limits = ReadLimits { pace: None, max_body: MAX_BODY_BYTES, memory: Some(memory.clone()) };
        let mut r = FrameReader::new(limits);
        let mut bytes = frame(Kind::System(0), 0, &[1; 90_000]);
        bytes.extend(frame(Kind::System(0), 1, &[1; 100_001]));
        let mut stream = &bytes[..];
        ready(r.next(&mut stream, Expect::at_most(Kind::System(0), 1 << 20))).unwrap();
        assert_eq!(memory.used_bytes(), 90_000);
        let e = ready(r.next(&mut stream, Expect::at_most(Kind::System(0), 1 << 20))).unwrap_err();
        assert!(e.to_string().contains("100000"), "{e}");
        assert_eq!(memory.used_bytes(), 0);
    }

    #[test]
    fn a_repeated_or_missing_message_is_out_of_order_and_the_error_stays() {
        let mut bytes = frame(Kind::Hello, 0, b"a");
        bytes.extend(frame(Kind::Hello, 0, b"a"));
        let mut r = reader();
        let mut stream = &bytes[..];
        ready(r.next(&mut stream, Expect::at_most(Kind::Hello, 1))).unwrap();
        for _ in 0..2 {
            let e = ready(r.next(&mut stream, Expect::at_most(Kind::Hello, 1))).unwrap_err();
            assert_eq!(e, LinkError::OutOfOrder { expected: 1, found: 0 });
        }
        let late = frame(Kind::Hello, 3, b"a");
        let e = ready(reader().next(&mut &late[..], Expect::at_most(Kind::Hello, 1))).unwrap_err();
        assert_eq!(e, LinkError::OutOfOrder { expected: 0, found: 3 });
    }

    #[test]
    fn an_abort_is_taken_whatever_is_expected_and_its_notice_comes_back() {
        let bytes = frame(Kind::Abort, 0, &Notice::Busy.to_bytes());
        let e = ready(reader().next(&mut &bytes[..], Expect::exactly(Kind::Offer, 9))).unwrap_err();
        assert_eq!(e, LinkError::Aborted(Notice::Busy));
        for body in [&[][..], &[99], &[0, 0]] {
            let bytes = frame(Kind::Abort, 0, body);
            let e = ready(reader().next(&mut &bytes[..], Expect::exactly(Kind::Offer, 9))).unwrap_err();
            assert!(!matches!(e, LinkError::Aborted(_)), "{body:?}");
        }
    }

    #[test]
    fn a_heartbeat_has_the_documented_bytes_names_the_message_that_is_due_and_carries_nothing() {
        assert_eq!(heartbeat(0x0102_0304), [5, 0, 0, 0, 4, 3, 2, 1, 0, 0, 0, 0]);
        let early = |header: [u8; HEADER_BYTES]| {
            let bytes = [&header[..], &frame(Kind::Hello, 0, b"a")].concat();
            ready(reader().next(&mut &bytes[..], Expect::exactly(Kind::Hello, 1)))
        };
        assert_eq!(early(heartbeat(0)), Ok(b"a".to_vec()));
        assert_eq!(early(heartbeat(1)), Err(LinkError::OutOfOrder { expected: 0, found: 1 }));
        for at in [2, 3, 8, 11] {
            let mut bad = heartbeat(0);
            bad[at] = 1;
            assert!(matches!(early(bad), Err(LinkError::BadHeader { .. })), "{at}");
        }
    }

    #[test]
    fn an_abort_behind_heartbeats_is_found_and_anything_else_stays_to_be_read() {
        let heart = heartbeat(0);
        let abort = [&heart[..], &heart, &frame(Kind::Abort, 0, &Notice::Busy.to_bytes())].concat();
        let found = ready(reader().abort_only(&mut &abort[..]));
        assert_eq!(found, Err(LinkError::Aborted(Notice::Busy)));
        let message = [&heart[..], &frame(Kind::Hello, 0, b"a")].concat();
        let (mut r, mut stream) = (reader(), &message[..]);
        assert_eq!(ready(r.abort_only(&mut stream)), Ok(()));
        assert_eq!(ready(r.next(&mut stream, Expect::exactly(Kind::Hello, 1))), Ok(b"a".to_vec()));
    }

    #[test]
    fn a_stream_that_ends_early_is_closed_wherever_it_ends() {
        let bytes = frame(Kind::Hello, 0, b"hello");
        for end in 0..bytes.len() {
            let e = ready(reader().next(&mut &bytes[..end], Expect::at_most(Kind::Hello, 9))).unwrap_err();
            assert!(matches!(e, LinkError::Closed { .. }), "{end}: {e}");
        }
    }

    proptest! {
        #[test]
        fn frames_come_back_however_the_stream_is_chopped(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..6),
            cuts in proptest::collection::vec(1usize..50, 1..20),
        ) {
            let mut bytes = Vec::new();
            for (i, body) in bodies.iter().enumerate() {
                for _ in 0..body.len() % 3 {
                    bytes.extend(heartbeat(i as u32));
                }
                bytes.extend(frame(Kind::System(i as u8), i as u32, body));
            }
            let mut stream = Trickle::chopped(&bytes, &cuts);
            let mut r = reader();
            for (i, body) in bodies.iter().enumerate() {
                let expect = Expect::at_most(Kind::System(i as u8), 300);
                prop_assert_eq!(&ready(r.next(&mut stream, expect)).unwrap(), body);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_never_take_more_memory_than_they_bring(bytes: Vec<u8>) {
            crate::fuzz::frames(&bytes);
        }

        #[test]
        fn arbitrary_headers_never_panic(header: [u8; HEADER_BYTES], rest: Vec<u8>) {
            let mut bytes = header.to_vec();
            bytes[2] = 0;
            bytes[3] = 0;
            bytes.extend(rest);
            crate::fuzz::frames(&bytes);
        }
    }
}
