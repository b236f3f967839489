//! The sending side of a stream link: a queue and the task that empties it.

use crate::fault::MessageClock;
use crate::frame::{
    ABORT_BYTES, HEADER_BYTES, Header, Pace, STEP_BYTES, heartbeat, link_error, next_sequence, within,
};
use crate::memory::body_length;
use crate::stream::AbortSwitch;
use oblivia_base::codec::Encode;
use oblivia_protocol::{Kind, LinkError, Notice};
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

/// How long an abort waits for the message that is being written, and for its own bytes to leave.
pub(crate) const ABORT_GRACE: Duration = Duration::from_millis(500);

const SENDING: &str = "sending a message";

enum Command {
    Frame { kind: Kind, body: Vec<u8>, body_bytes: u32 },
    Finish(oneshot::Sender<Result<(), LinkError>>),
}

#[derive(Default)]
struct Shared {
    queued_bytes: AtomicUsize,
    room: Notify,
    failure: OnceLock<LinkError>,
}

/// When a writer shows that it is alive.
pub(crate) struct Heartbeat {
    every: Duration,
    /// While set, it does not.
    pub(crate) paused: Arc<AtomicBool>,
}

impl Heartbeat {
    pub(crate) fn every(every: Duration) -> Self {
        // Without a pause at all the writer would do nothing else.
        Self { every: every.max(Duration::from_millis(1)), paused: Arc::default() }
    }
}

/// The near end: where messages enter.
pub(crate) struct Queue {
    commands: UnboundedSender<Command>,
    shared: Arc<Shared>,
    max_queued_bytes: usize,
    finished: bool,
}

/// The far end: where messages leave.
pub(crate) struct Writer<W> {
    sink: W,
    commands: UnboundedReceiver<Command>,
    shared: Arc<Shared>,
    sequence: u32,
    pace: Pace,
    heartbeat: Option<Heartbeat>,
    clock: Option<MessageClock>,
    abort: AbortSwitch,
}

pub(crate) fn queue<W: AsyncWrite + Unpin>(
    sink: W,
    max_queued_bytes: usize,
    pace: Pace,
    heartbeat: Option<Heartbeat>,
    clock: Option<MessageClock>,
    abort: AbortSwitch,
) -> (Queue, Writer<W>) {
    let (sender, commands) = unbounded_channel();
    let shared = Arc::new(Shared::default());
    let queue = Queue { commands: sender, shared: shared.clone(), max_queued_bytes, finished: false };
    (queue, Writer { sink, commands, shared, sequence: 0, pace, heartbeat, clock, abort })
}

impl Queue {
    fn failure(&self) -> LinkError {
        if self.finished {
            return LinkError::Io("a message was sent after the link was finished".into());
        }
        self.shared.failure.get().cloned().unwrap_or(LinkError::Closed { during: SENDING })
    }

    /// Queues one message. Waits only while more than `max_queued_bytes` are queued, and then not for ever:
    /// the writer moves on or fails.
    pub(crate) async fn send(&self, kind: Kind, body: Vec<u8>) -> Result<(), LinkError> {
        let body_bytes = body_length(&body)?;
        let size = body.len();
        loop {
            let room = self.shared.room.notified();
            let fits = |queued: usize| {
                let sum = queued.checked_add(size)?;
                (queued == 0 || sum <= self.max_queued_bytes).then_some(sum)
            };
            if self.finished || self.shared.failure.get().is_some() || self.commands.is_closed() {
                return Err(self.failure());
            }
            let queued = &self.shared.queued_bytes;
            if queued.try_update(Ordering::AcqRel, Ordering::Acquire, fits).is_ok() {
                break;
            }
            room.await;
        }
        self.commands.send(Command::Frame { kind, body, body_bytes }).map_err(|_| self.failure())
    }

    /// Waits until everything queued has left and the sending side is closed.
    pub(crate) async fn finish(&mut self) -> Result<(), LinkError> {
        if self.finished {
            return Ok(());
        }
        let (reply, done) = oneshot::channel();
        self.commands.send(Command::Finish(reply)).map_err(|_| self.failure())?;
        let result = done.await.unwrap_or_else(|_| Err(self.failure()));
        self.finished = result.is_ok();
        result
    }
}

/// Over when nothing was sent for `every`.
async fn silence(every: Option<Duration>) {
    match every {
        Some(every) => sleep(every).await,
        None => pending().await,
    }
}

/// `write`, or an error a grace after the session was ended from this side.
async fn unless_ended(
    switch: &mut AbortSwitch,
    write: impl Future<Output = Result<(), LinkError>>,
) -> Result<(), LinkError> {
    tokio::select! {
        written = write => written,
        _ = async { switch.thrown().await; sleep(ABORT_GRACE).await } => {
            Err(LinkError::Io("the session was ended from this side".into()))
        }
    }
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// Empties the queue until the link is finished, dropped, aborted or fails.
    pub(crate) async fn run(mut self) {
        let mut switch = self.abort.clone();
        let every = self.heartbeat.as_ref().map(|h| h.every);
        loop {
            let command = tokio::select! {
                biased;
                notice = switch.thrown() => return self.abort(notice).await,
                command = self.commands.recv() => command,
                // Anew in every turn: since something was sent.
                () = silence(every) => {
                    if let Err(e) = unless_ended(&mut switch, self.beat()).await {
                        return self.fail(e);
                    }
                    continue;
                }
            };
            match command {
                Some(Command::Frame { kind, body, body_bytes }) => {
                    let size = body.len();
                    let written = unless_ended(&mut switch, self.frame(kind, body, body_bytes)).await;
                    self.shared.queued_bytes.fetch_sub(size, Ordering::AcqRel);
                    if let Err(e) = written {
                        return self.fail(e);
                    }
                    self.shared.room.notify_one();
                }
                Some(Command::Finish(reply)) => {
                    let closed = self.close().await;
                    if let Err(e) = &closed {
                        let _ = self.shared.failure.set(e.clone());
                    }
                    // The receiver may be gone; then nobody wants to know.
                    let _ = reply.send(closed);
                    return;
                }
                None => {
                    // Whoever dropped the link may have seen the switch before this task was woken by it.
                    if let Some(notice) = switch.now() {
                        return self.abort(notice).await;
                    }
                    // The link was dropped: what it queued still leaves. Nobody is told of a failure.
                    let _ = self.close().await;
                    return;
                }
            }
        }
    }

    fn fail(mut self, e: LinkError) {
        let _ = self.shared.failure.set(e);
        self.commands.close();
        self.shared.room.notify_one();
    }

    /// Shows the peer that this end is at work, if it does not itself wait for the peer.
    async fn beat(&mut self) -> Result<(), LinkError> {
        if self.heartbeat.as_ref().is_none_or(|h| h.paused.load(Ordering::Acquire)) {
            return Ok(());
        }
        if let Some(clock) = &self.clock {
            clock.beat();
        }
        let frame = heartbeat(self.sequence);
        let write = async {
            self.sink.write_all(&frame).await.map_err(|e| link_error(&e, SENDING))?;
            self.sink.flush().await.map_err(|e| link_error(&e, SENDING))
        };
        within(Some(self.pace.idle), "the peer to read", write).await
    }

    fn advance(&self) {
        if let Some(clock) = &self.clock {
            clock.advance();
        }
    }

    async fn frame(&mut self, kind: Kind, body: Vec<u8>, body_bytes: u32) -> Result<(), LinkError> {
        self.advance();
        let sequence = self.sequence;
        self.sequence = next_sequence(sequence)?;
        let header = Header { kind, sequence, body_bytes }.encode();
        // Header and the first bytes leave together, so a short message is one record.
        let (first, rest) = body.split_at(body.len().min(STEP_BYTES - HEADER_BYTES));
        let mut start = Vec::with_capacity(HEADER_BYTES + first.len());
        start.extend_from_slice(&header);
        start.extend_from_slice(first);
        let pace = self.pace;
        let idle = Some(pace.idle);
        let message = async {
            for piece in std::iter::once(&start[..]).chain(rest.chunks(STEP_BYTES)) {
                let step = async { self.sink.write_all(piece).await.map_err(|e| link_error(&e, SENDING)) };
                within(idle, "the peer to read", step).await?;
            }
            let flush = async { self.sink.flush().await.map_err(|e| link_error(&e, SENDING)) };
            within(idle, "the peer to read", flush).await
        };
        pace.keep(body.len(), "reading a message", message).await
    }

    async fn close(&mut self) -> Result<(), LinkError> {
        self.advance();
        let close = async { self.sink.shutdown().await.map_err(|e| link_error(&e, "closing the link")) };
        within(Some(self.pace.idle), "the peer to read", close).await
    }

    /// Tells the peer why, as the next message in order, and closes.
    async fn abort(mut self, notice: Notice) {
        let last = async {
            self.frame(Kind::Abort, notice.to_bytes(), ABORT_BYTES as u32).await?;
            self.close().await
        };
        // A peer that does not read within the grace is not told.
        let _ = timeout(ABORT_GRACE, last).await;
        self.fail(LinkError::Io("the session was ended from this side".into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Pace;
    use tokio::io::{AsyncReadExt, duplex};
    use tokio::sync::watch;
    use tokio::task::yield_now;

    #[tokio::test]
    async fn whoever_drops_the_link_because_it_was_ended_does_not_keep_the_reason_from_the_peer() {
        let pace =
            Pace { idle: Duration::from_secs(5), max_wait: Duration::from_secs(5), min_bytes_per_second: 0 };
        let (throw, switch) = watch::channel(None);
        let (sink, mut peer) = duplex(1 << 10);
        let (queue, writer) = queue(sink, 1 << 10, pace, None, None, AbortSwitch::new(switch));
        let writer = tokio::spawn(writer.run());
        yield_now().await;
        // Those who wait for the switch are woken one after another; the writer's turn has not come yet.
        throw.send_if_modified(|notice| {
            *notice = Some(Notice::ShuttingDown);
            false
        });
        drop(queue);
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard.get(HEADER_BYTES..), Some(&Notice::ShuttingDown.to_bytes()[..]));
        writer.await.unwrap();
    }
}
