//! A link over any byte stream.
//!
//! Sending goes through a queue to a task that owns the sending half. Nothing a receiver does holds that
//! task up, so two parties that both send up to [`LinkOptions::max_queued_bytes`] (one message may be larger)
//! before they receive cannot deadlock; beyond that, `send` waits for room, and fails with
//! [`LinkError::TimedOut`] when the peer does not read.

use crate::fault::MessageClock;
use crate::frame::{FrameReader, Pace, ReadLimits, within};
use crate::tls::Secured;
use crate::writer::{Heartbeat, Queue, queue};
use crate::{Error, MemoryBudget};
use oblivia_protocol::wire::MAX_BODY_BYTES;
use oblivia_protocol::{BoxFuture, Expect, Identities, Kind, LinkError, Notice, Wire};
use std::any::Any;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadHalf, split};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

/// How long a dropped link still takes (and discards) what the peer sends, so that closing does not destroy
/// our last words on their way.
const LINGER: Duration = Duration::from_secs(1);

/// Longer than any session.
const FOREVER: Duration = Duration::from_secs(1 << 30);

/// How long a failed `send` looks for the peer's reason.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// Bytes in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// Any byte stream, behind one type.
pub type BoxStream = Box<dyn ByteStream>;

/// What bounds a stream link.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// Longest silence: the header of a message or a heartbeat in front of it, and then each 64 KiB of its body, must arrive within it;
    /// the peer must take each 64 KiB of ours within it.
    pub idle_timeout: Duration,
    /// Sends a heartbeat whenever so much time has passed since something was sent, unless this end is itself waiting for
    /// the peer: a peer that waits for the result of a long computation then does not take this end for gone. Nothing but
    /// the clock decides when. `None` sends none.
    pub heartbeat: Option<Duration>,
    /// Longest wait for one message while the peer's heartbeats come; at least the idle timeout, however little it says.
    pub max_wait: Duration,
    /// Slowest message: it must be through, either way, within the idle timeout and a second for each so many bytes
    /// of it. 0 sets no such limit, only that of the idle timeout.
    pub min_bytes_per_second: u64,
    /// Largest body taken, in bytes, whatever a receiver expects; never above
    /// [`MAX_BODY_BYTES`].
    pub max_message_bytes: usize,
    /// Bytes that may wait in the sending queue before `send` waits; a single message may be larger.
    pub max_queued_bytes: usize,
    /// Longest time the link works, from its making on: waits end there, and so does a message that is due later. An end that is
    /// at work by itself is not interrupted.
    pub max_session: Option<Duration>,
    /// Where received bodies are counted: from their first byte until the next receive on the same link.
    pub memory: Option<MemoryBudget>,
    /// Told of every message sent, for a [fault injector](crate::fault).
    pub clock: Option<MessageClock>,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(120),
            heartbeat: None,
            max_wait: Duration::from_secs(3600),
            max_session: None,
            min_bytes_per_second: 0,
            max_message_bytes: MAX_BODY_BYTES,
            max_queued_bytes: 256 << 20,
            memory: None,
            clock: None,
        }
    }
}

/// The server's means to end a session from outside; once thrown it stays.
#[derive(Debug, Clone)]
pub(crate) struct AbortSwitch(watch::Receiver<Option<Notice>>);

impl AbortSwitch {
    pub(crate) fn new(switch: watch::Receiver<Option<Notice>>) -> Self {
        Self(switch)
    }

    /// A switch nobody throws.
    pub(crate) fn never() -> Self {
        Self(watch::channel(None).1)
    }

    /// Why the session was ended, if it was.
    pub(crate) fn now(&mut self) -> Option<Notice> {
        *self.0.borrow_and_update()
    }

    pub(crate) async fn thrown(&mut self) -> Notice {
        loop {
            if let Some(notice) = self.now() {
                return notice;
            }
            if self.0.changed().await.is_err() {
                pending::<()>().await;
            }
        }
    }
}

/// What the server adds to a link.
pub(crate) struct Extras {
    pub(crate) secured: Option<Secured>,
    pub(crate) abort: AbortSwitch,
    /// Dropped when the link and everything it still does in the background is gone.
    pub(crate) guard: Option<Box<dyn Any + Send>>,
}

/// A link over a byte stream; see the [module](self).
///
/// Dropping it without [`Wire::finish`] still sends what was queued, as long as the runtime lives.
pub struct StreamWire<S: ByteStream + 'static> {
    reader: Option<ReadHalf<S>>,
    frames: FrameReader,
    /// Whether this end waits for the peer.
    receiving: Arc<AtomicBool>,
    queue: Option<Queue>,
    writer: Option<JoinHandle<()>>,
    abort: AbortSwitch,
    end: Option<End>,
    secured: Option<Secured>,
    runtime: Handle,
    guard: Option<Box<dyn Any + Send>>,
}

impl<S: ByteStream + 'static> StreamWire<S> {
    /// A link over `stream`, without binding and identity; [`Error::Misuse`] outside a tokio runtime.
    pub fn new(stream: S, options: &LinkOptions) -> Result<Self, Error> {
        Self::with(stream, options, Extras { secured: None, abort: AbortSwitch::never(), guard: None })
    }

    /// A link over a finished TLS handshake.
    pub(crate) fn secured(stream: S, options: &LinkOptions, secured: Secured) -> Result<Self, Error> {
        let secured = Some(secured);
        Self::with(stream, options, Extras { secured, abort: AbortSwitch::never(), guard: None })
    }

    pub(crate) fn with(stream: S, options: &LinkOptions, extras: Extras) -> Result<Self, Error> {
        let runtime = Handle::try_current()
            .map_err(|_| Error::Misuse { why: "a stream link needs a tokio runtime around it".into() })?;
        let (reader, sink) = split(stream);
        let pace = Pace {
            idle: options.idle_timeout,
            max_wait: options.max_wait,
            min_bytes_per_second: options.min_bytes_per_second,
        };
        let heartbeat = options.heartbeat.map(Heartbeat::every);
        let receiving = heartbeat.as_ref().map(|h| h.paused.clone()).unwrap_or_default();
        let (queue, writer) = queue(
            sink,
            options.max_queued_bytes,
            pace,
            heartbeat,
            options.clock.clone(),
            extras.abort.clone(),
        );
        let frames = FrameReader::new(ReadLimits {
            pace: Some(pace),
            max_body: options.max_message_bytes,
            memory: options.memory.clone(),
        });
        Ok(Self {
            reader: Some(reader),
            frames,
            receiving,
            queue: Some(queue),
            writer: Some(runtime.spawn(writer.run())),
            abort: extras.abort,
            end: options.max_session.map(End::after),
            secured: extras.secured,
            runtime,
            guard: extras.guard,
        })
    }

    async fn push(&mut self, kind: Kind, body: Vec<u8>) -> Result<(), LinkError> {
        let end = self.end.filter(|_| kind != Kind::Abort);
        let sent = match &self.queue {
            Some(queue) => before(end, queue.send(kind, body)).await,
            None => Err(LinkError::Closed { during: "sending a message" }),
        };
        self.or_last_words(sent).await
    }

    async fn close(&mut self) -> Result<(), LinkError> {
        let closed = match &mut self.queue {
            Some(queue) => queue.finish().await,
            None => Ok(()),
        };
        self.or_last_words(closed).await
    }

    /// A broken connection often has the peer's reason waiting in it; that is what the caller wants to know.
    async fn or_last_words(&mut self, result: Result<(), LinkError>) -> Result<(), LinkError> {
        let (Err(LinkError::Closed { .. }), Some(reader)) = (&result, &mut self.reader) else {
            return result;
        };
        let words = within(Some(LAST_WORDS), "the peer's reason", self.frames.abort_only(reader));
        match words.await {
            Err(reason @ LinkError::Aborted(_)) => Err(reason),
            _ => result,
        }
    }

    async fn pull(&mut self, expect: Expect) -> Result<Vec<u8>, LinkError> {
        let Some(reader) = &mut self.reader else {
            return Err(LinkError::Closed { during: "waiting for a message" });
        };
        let _waiting = Waiting::begin(&self.receiving);
        tokio::select! {
            biased;
            _ = self.abort.thrown() => Err(LinkError::Io("the session was ended from this side".into())),
            body = before(self.end, self.frames.next(reader, expect)) => body,
        }
    }
}

/// When a link stops working.
#[derive(Debug, Clone, Copy)]
struct End {
    at: Instant,
    after: Duration,
}

impl End {
    fn after(after: Duration) -> Self {
        // What is too far for the clock never comes.
        let now = Instant::now();
        Self { at: now.checked_add(after).unwrap_or(now + FOREVER), after }
    }
}

/// What `event` gives if it happens before the end, and if the end is not over already.
async fn before<T>(
    end: Option<End>,
    event: impl Future<Output = Result<T, LinkError>>,
) -> Result<T, LinkError> {
    let Some(End { at, after }) = end else { return event.await };
    let outlived = LinkError::Outlived { millis: u64::try_from(after.as_millis()).unwrap_or(u64::MAX) };
    tokio::select! {
        biased;
        () = sleep_until(at) => Err(outlived),
        happened = event => happened,
    }
}

/// Says that this end waits for the peer, until it is dropped.
struct Waiting<'a>(&'a AtomicBool);

impl<'a> Waiting<'a> {
    fn begin(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::Release);
        Self(flag)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl<S: ByteStream + 'static> Wire for StreamWire<S> {
    fn send(&mut self, kind: Kind, body: Vec<u8>) -> BoxFuture<'_, Result<(), LinkError>> {
        Box::pin(self.push(kind, body))
    }

    fn recv(&mut self, expect: Expect) -> BoxFuture<'_, Result<Vec<u8>, LinkError>> {
        Box::pin(self.pull(expect))
    }

    fn finish(&mut self) -> BoxFuture<'_, Result<(), LinkError>> {
        Box::pin(self.close())
    }

    fn binding(&self) -> Option<[u8; 32]> {
        self.secured.map(|s| s.binding)
    }

    fn identities(&self) -> Option<Identities> {
        self.secured.map(|s| s.ends)
    }
}

impl<S: ByteStream + 'static> Drop for StreamWire<S> {
    fn drop(&mut self) {
        // Dropping the queue tells the writer to send what is left and to close.
        self.queue = None;
        if let (Some(reader), Some(writer)) = (self.reader.take(), self.writer.take()) {
            self.runtime.spawn(linger(reader, writer, self.guard.take()));
        }
    }
}

/// Takes and discards what the peer sends until it closes, or until a while after our last word.
async fn linger<S: ByteStream>(
    mut reader: ReadHalf<S>,
    mut writer: JoinHandle<()>,
    _guard: Option<Box<dyn Any + Send>>,
) {
    let discard = async {
        let mut waste = vec![0; 16 << 10];
        while matches!(reader.read(&mut waste).await, Ok(n) if n > 0) {}
    };
    let mut written = false;
    let limit = async {
        // A writer task that panicked has ended as well.
        let _ = (&mut writer).await;
        written = true;
        sleep(LINGER).await;
    };
    tokio::select! {
        () = discard => {}
        () = limit => {}
    }
    if !written {
        // The peer closed its side; what is queued for it may still be on its way.
        let _ = writer.await;
    }
}

impl<S: ByteStream + 'static> std::fmt::Debug for StreamWire<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamWire").field("peer", &self.secured.map(|s| s.ends.peer)).finish_non_exhaustive()
    }
}
