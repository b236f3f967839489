//! Faults on the byte stream below TLS: what a broken or hostile network does.
//!
//! Below TLS there are records, not messages. So the sending link counts: it bumps a [`MessageClock`] before
//! each message and flushes after it, and the injector, which sits below TLS at the *sending* end, knows
//! which message the bytes that pass belong to. In each direction
//!
//! | number | bytes |
//! |---|---|
//! | 0 | the TLS handshake |
//! | k ≥ 1 | the k-th message (sequence number k − 1), with header and TLS records |
//! | last + 1 | the orderly close |
//!
//! Heartbeats are no messages and have numbers of their own, from 1, wherever between the messages they come.
//!
//! A plan for the other direction does nothing here; give it to the injector at the other end.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Which bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Those of a message; see the table in the [module](self).
    Message(u64),
    /// Those of a heartbeat, from 1.
    Heartbeat(u64),
}

/// Counts the messages and heartbeats a link has begun to send. Cloning shares the count.
#[derive(Debug, Clone, Default)]
pub struct MessageClock(Arc<Mutex<Sent>>);

#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    messages: u64,
    heartbeats: u64,
    beating: bool,
}

impl MessageClock {
    /// Nothing sent yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is being sent; message 0 before the first.
    pub fn now(&self) -> Place {
        let sent = self.sent();
        if sent.beating { Place::Heartbeat(sent.heartbeats) } else { Place::Message(sent.messages) }
    }

    /// Messages and heartbeats begun.
    fn ticks(&self) -> u64 {
        let sent = self.sent();
        sent.messages + sent.heartbeats
    }

    pub(crate) fn advance(&self) {
        let mut sent = self.sent();
        sent.messages += 1;
        sent.beating = false;
    }

    pub(crate) fn beat(&self) {
        let mut sent = self.sent();
        sent.heartbeats += 1;
        sent.beating = true;
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What the client sends.
    ClientToServer,
    /// What the server sends.
    ServerToClient,
}

/// What happens to the bytes of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultAction {
    /// The connection breaks before its first byte.
    Cut,
    /// Its first bytes pass, then the connection breaks. A message of no more bytes than that is left alone.
    Truncate {
        /// Bytes that pass, counted below TLS.
        keep_bytes: u64,
    },
    /// One bit flips.
    FlipBit {
        /// Which, counted from the first byte below TLS, the lowest bit of each byte first. A message that
        /// has no such bit is left alone. TLS 1.3 receivers may ignore the first three bytes of a record (type
        /// and version, RFC 8446 §5.2): a flip there (`bit` < 24) can be harmless.
        bit: u64,
    },
    /// Its bytes come late.
    Delay(Duration),
    /// Its bytes come twice.
    Duplicate,
    /// Its bytes come after those of the next message or heartbeat of the same direction (or the close). Where no such
    /// message follows before the peer answers, both sides wait until they time out.
    Reorder,
}

/// One fault: where, when, what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultPlan {
    /// Whose bytes.
    pub direction: Direction,
    /// Which of them.
    pub at: Place,
    /// What happens to it.
    pub action: FaultAction,
}

/// Carries out one [`FaultPlan`], once, on the first connection that reaches it. Cloning shares it.
#[derive(Debug, Clone)]
pub struct FaultInjector {
    plan: FaultPlan,
    armed: Arc<AtomicBool>,
    claimed: Arc<AtomicBool>,
    fired: Arc<AtomicBool>,
}

impl FaultInjector {
    /// An injector that has not fired.
    pub fn new(plan: FaultPlan) -> Self {
        Self { armed: Arc::new(AtomicBool::new(true)), ..Self::unarmed(plan) }
    }

    /// An injector that leaves connections alone which begin before [`FaultInjector::arm`].
    pub fn unarmed(plan: FaultPlan) -> Self {
        Self { plan, armed: Arc::default(), claimed: Arc::default(), fired: Arc::default() }
    }

    /// From now on connections are watched.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::Release);
    }

    /// Whether the fault has happened. A test that ends without it has shown nothing.
    pub fn fired(&self) -> bool {
        self.fired.load(Ordering::Acquire)
    }

    /// Wraps `stream`, on which this end sends in the direction `sends`. The link above must get the clock
    /// ([`LinkOptions::clock`](crate::LinkOptions::clock)).
    pub fn wrap<S>(&self, stream: S, sends: Direction) -> (Faulty<S>, MessageClock) {
        let clock = MessageClock::new();
        let faulty = Faulty {
            inner: Some(stream),
            plan: self.plan,
            claimed: self.claimed.clone(),
            fired: self.fired.clone(),
            clock: clock.clone(),
            state: match sends == self.plan.direction && self.armed.load(Ordering::Acquire) {
                true => State::Watching,
                false => State::Over,
            },
            seen: 0,
            began: 0,
            held: Vec::new(),
            out: Vec::new(),
            out_at: 0,
            delay: None,
            reader: None,
        };
        (faulty, clock)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Watching,
    Acting,
    Over,
}

/// A byte stream on which a [`FaultPlan`] happens.
#[derive(Debug)]
pub struct Faulty<S> {
    /// None once the fault has broken the connection.
    inner: Option<S>,
    plan: FaultPlan,
    claimed: Arc<AtomicBool>,
    fired: Arc<AtomicBool>,
    clock: MessageClock,
    state: State,
    /// Bytes of the message that have passed.
    seen: u64,
    /// What the clock counted when the message began.
    began: u64,
    /// Bytes kept back.
    held: Vec<u8>,
    /// Bytes accepted and on their way down.
    out: Vec<u8>,
    out_at: usize,
    delay: Option<Pin<Box<Sleep>>>,
    /// Whoever waits for bytes when the connection breaks.
    reader: Option<Waker>,
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the fault injector broke the connection")
}

impl<S: AsyncRead + AsyncWrite + Unpin> Faulty<S> {
    fn over(&mut self) {
        self.state = State::Over;
        self.fired.store(true, Ordering::Release);
    }

    fn break_off(&mut self) -> io::Error {
        self.over();
        self.inner = None;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        broken()
    }

    /// Whether the bytes written now are the message's.
    fn acting(&mut self) -> bool {
        let here = self.clock.now() == self.plan.at;
        if self.state == State::Watching && here {
            let taken = self.claimed.swap(true, Ordering::AcqRel);
            self.began = self.clock.ticks();
            self.state = if taken { State::Over } else { State::Acting };
        }
        self.state == State::Acting && here
    }

    fn pass(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_write(cx, bytes),
            None => Poll::Ready(Err(broken())),
        }
    }

    /// Sends what was accepted.
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.out_at < self.out.len() {
            let Some(inner) = &mut self.inner else { return Poll::Ready(Err(broken())) };
            let rest = self.out.get(self.out_at..).unwrap_or_default();
            match ready!(Pin::new(inner).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.out_at += n,
            }
        }
        self.out.clear();
        self.out_at = 0;
        Poll::Ready(Ok(()))
    }

    /// Lets go of bytes kept back, when their time has come.
    fn release(&mut self, closing: bool) {
        if self.state != State::Acting || self.held.is_empty() {
            return;
        }
        match self.plan.action {
            FaultAction::Duplicate => {
                self.out.extend_from_slice(&self.held);
                self.out.append(&mut self.held);
                self.over();
            }
            FaultAction::Reorder if closing || self.clock.ticks() > self.began => {
                self.out.append(&mut self.held);
                self.over();
            }
            _ => {}
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Faulty<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.drain(cx))?;
        if !this.acting() {
            return this.pass(cx, buf);
        }
        match this.plan.action {
            FaultAction::Cut => Poll::Ready(Err(this.break_off())),
            FaultAction::Truncate { keep_bytes } => {
                let left = usize::try_from(keep_bytes - this.seen.min(keep_bytes)).unwrap_or(usize::MAX);
                if left == 0 {
                    return Poll::Ready(Err(this.break_off()));
                }
                let passed = ready!(this.pass(cx, buf.get(..left).unwrap_or(buf)))?;
                this.seen += passed as u64;
                Poll::Ready(Ok(passed))
            }
            FaultAction::FlipBit { bit } => {
                let at = (bit / 8).checked_sub(this.seen).and_then(|at| usize::try_from(at).ok());
                if at.is_none_or(|at| at >= buf.len()) {
                    let passed = ready!(this.pass(cx, buf))?;
                    this.seen += passed as u64;
                    return Poll::Ready(Ok(passed));
                }
                this.out.extend_from_slice(buf);
                if let Some(byte) = at.and_then(|at| this.out.get_mut(at)) {
                    *byte ^= 1 << (bit % 8);
                }
                this.over();
                match this.drain(cx) {
                    Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
                    _ => Poll::Ready(Ok(buf.len())),
                }
            }
            FaultAction::Delay(time) => {
                let delay = this.delay.get_or_insert_with(|| Box::pin(sleep(time)));
                ready!(delay.as_mut().poll(cx));
                this.over();
                this.pass(cx, buf)
            }
            FaultAction::Duplicate | FaultAction::Reorder => {
                this.held.extend_from_slice(buf);
                if this.plan.action == FaultAction::Reorder {
                    this.fired.store(true, Ordering::Release);
                }
                Poll::Ready(Ok(buf.len()))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.release(false);
        ready!(this.drain(cx))?;
        match &mut this.inner {
            Some(inner) => Pin::new(inner).poll_flush(cx),
            None => Poll::Ready(Err(broken())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.release(true);
        ready!(this.drain(cx))?;
        match &mut this.inner {
            Some(inner) => Pin::new(inner).poll_shutdown(cx),
            None => Poll::Ready(Err(broken())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Faulty<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let polled = Pin::new(inner).poll_read(cx, buf);
        if polled.is_pending() {
            this.reader = Some(cx.waker().clone());
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    /// What arrives of three messages `abcd`, `efgh`, `ij` when `action` happens at the second.
    async fn arrives(action: FaultAction) -> (Vec<u8>, bool) {
        let plan = FaultPlan { direction: Direction::ClientToServer, at: Place::Message(2), action };
        let injector = FaultInjector::new(plan);
        let (near, mut far) = duplex(3);
        let (mut near, clock) = injector.wrap(near, Direction::ClientToServer);
        let sender = tokio::spawn(async move {
            for message in ["abcd", "efgh", "ij"] {
                clock.advance();
                if near.write_all(message.as_bytes()).await.is_err() || near.flush().await.is_err() {
                    return;
                }
            }
            let _ = near.shutdown().await;
        });
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        sender.await.unwrap();
        (all, injector.fired())
    }

    #[tokio::test]
    async fn each_action_does_to_the_bytes_what_it_says() {
        let cases: [(FaultAction, &[u8], bool); 9] = [
            (FaultAction::Cut, b"abcd", true),
            (FaultAction::Truncate { keep_bytes: 1 }, b"abcde", true),
            (FaultAction::Truncate { keep_bytes: 4 }, b"abcdefghij", false),
            (FaultAction::FlipBit { bit: 0 }, b"abcddfghij", true),
            (FaultAction::FlipBit { bit: 26 }, b"abcdefglij", true),
            (FaultAction::FlipBit { bit: 32 }, b"abcdefghij", false),
            (FaultAction::Delay(Duration::from_millis(1)), b"abcdefghij", true),
            (FaultAction::Duplicate, b"abcdefghefghij", true),
            (FaultAction::Reorder, b"abcdijefgh", true),
        ];
        for (action, expected, fired) in cases {
            let (found, did) = arrives(action).await;
            assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(expected), "{action:?}");
            assert_eq!(did, fired, "{action:?}");
        }
    }

    #[tokio::test]
    async fn a_plan_for_the_other_direction_does_nothing() {
        let plan = FaultPlan {
            direction: Direction::ServerToClient,
            at: Place::Message(0),
            action: FaultAction::Cut,
        };
        let injector = FaultInjector::new(plan);
        let (near, mut far) = duplex(64);
        let (mut near, _clock) = injector.wrap(near, Direction::ClientToServer);
        near.write_all(b"abc").await.unwrap();
        near.shutdown().await.unwrap();
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!((&all[..], injector.fired()), (&b"abc"[..], false));
    }

    #[tokio::test]
    async fn a_cut_wakes_whoever_waits_for_bytes() {
        let plan = FaultPlan {
            direction: Direction::ClientToServer,
            at: Place::Message(0),
            action: FaultAction::Cut,
        };
        let (near, _far) = duplex(64);
        let (near, _clock) = FaultInjector::new(plan).wrap(near, Direction::ClientToServer);
        let (mut reader, mut writer) = tokio::io::split(near);
        let waiting = tokio::spawn(async move { reader.read_u8().await });
        tokio::task::yield_now().await;
        assert!(writer.write_all(b"x").await.is_err());
        let e = waiting.await.unwrap().unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::ConnectionReset);
    }
}
