//! The threaded server: a small tokio runtime does I/O, each admitted session has an OS thread of its own.
//!
//! | limit | what happens beyond it |
//! |---|---|
//! | [`Limits::max_sessions`] | after the handshake the client is told [`Notice::Busy`] |
//! | [`Limits::max_sessions_per_client`], [`Limits::max_sessions_per_address`] | the same |
//! | [`Limits::max_handshakes`], [`Limits::max_handshakes_per_address`] | the connection is closed at once |
//! | [`Limits::handshake_timeout`] | the connection is closed |
//! | [`Limits::idle_timeout`] | the session gets [`LinkError::TimedOut`](oblivia_protocol::LinkError::TimedOut) |
//! | [`Limits::max_session_time`] | the session gets [`LinkError::Outlived`](oblivia_protocol::LinkError::Outlived) |
//! | [`Limits::min_bytes_per_second`] | the session gets [`LinkError::TooSlow`](oblivia_protocol::LinkError::TooSlow) |
//! | [`Limits::max_message_bytes`] | the message is refused before memory is taken for it |
//! | [`Limits::max_memory_bytes`] | the message, or what the handler wanted to reserve, is refused |
//!
//! An address is an IPv4 address or an IPv6 network of 64 bits. A session counts until its thread has returned *and* its connection is closed. A panic in a session ends
//! that session. Shutdown stops accepting, lets sessions finish for [`Limits::shutdown_grace`], then tells
//! the remaining clients [`Notice::ShuttingDown`] and ends their links.

use crate::client::READ_AHEAD_BYTES;
use crate::fault::{Direction, FaultInjector};
use crate::identity::Identity;
use crate::seats::{Mark, Seats, Source, Tally};
use crate::stream::{AbortSwitch, BoxStream, Extras, LinkOptions, StreamWire};
use crate::tls::{ClientPolicy, Secured, server_config};
use crate::{Error, MemoryBudget};
use oblivia_base::Digest;
use oblivia_base::codec::Encode;
use oblivia_protocol::wire::MAX_BODY_BYTES;
use oblivia_protocol::{BoxFuture, Kind, Notice, Wire};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// Stack of a session's thread, in bytes.
const SESSION_STACK_BYTES: usize = 8 << 20;
/// How long a client that is turned away may take to hear it.
const TURN_AWAY: Duration = Duration::from_secs(2);
/// How long ended sessions may take to say so to their clients and return.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What a server allows.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sessions at once.
    pub max_sessions: usize,
    /// Sessions at once of one client key.
    pub max_sessions_per_client: usize,
    /// Sessions at once from one address. Clients behind a proxy or NAT share one.
    pub max_sessions_per_address: usize,
    /// Handshakes at once, including clients being turned away.
    pub max_handshakes: usize,
    /// The same from one address.
    pub max_handshakes_per_address: usize,
    /// Longest TLS handshake.
    pub handshake_timeout: Duration,
    /// Longest silence in a session; see [`LinkOptions::idle_timeout`].
    pub idle_timeout: Duration,
    /// Longest session, from its admission on, checked between messages; see [`LinkOptions::max_session`].
    pub max_session_time: Option<Duration>,
    /// How often a client that waits is shown that its session is at work; see [`LinkOptions::heartbeat`].
    pub heartbeat: Option<Duration>,
    /// Slowest message; see [`LinkOptions::min_bytes_per_second`].
    pub min_bytes_per_second: u64,
    /// Largest message taken, in bytes.
    pub max_message_bytes: usize,
    /// Bytes that may wait to be sent per session.
    pub max_queued_bytes: usize,
    /// Memory of all sessions together, in bytes, as far as it is [reserved](MemoryBudget).
    pub max_memory_bytes: u64,
    /// How long sessions may go on after shutdown was asked for.
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_sessions: 32,
            max_sessions_per_client: 4,
            max_sessions_per_address: 16,
            max_handshakes: 64,
            max_handshakes_per_address: 16,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            max_session_time: None,
            heartbeat: Some(Duration::from_secs(15)),
            min_bytes_per_second: 16 << 10,
            max_message_bytes: MAX_BODY_BYTES,
            max_queued_bytes: 256 << 20,
            max_memory_bytes: 4 << 30,
            shutdown_grace: Duration::from_secs(10),
        }
    }
}

/// Where a server listens, as whom, and for whom.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The server's key and certificate.
    pub identity: Identity,
    /// Which clients are admitted.
    pub clients: ClientPolicy,
    /// What is allowed.
    pub limits: Limits,
    /// A broken network: acts on what the server sends.
    pub faults: Option<FaultInjector>,
}

impl ServerOptions {
    /// Any client, default limits, an intact network.
    pub fn new(listen: SocketAddr, identity: Identity) -> Self {
        let (clients, limits) = (ClientPolicy::default(), Limits::default());
        Self { listen, identity, clients, limits, faults: None }
    }
}

/// Tells a session that the server wants to stop.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Whether shutdown was asked for.
    pub fn requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until shutdown is asked for.
    pub async fn wait(&mut self) {
        // A server that is gone has shut down.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// What a session gets.
pub struct SessionIo {
    /// The link to the client.
    pub wire: Box<dyn Wire>,
    /// Fingerprint of the client's key: who the client is.
    pub client: Digest,
    /// Where the client connects from.
    pub address: SocketAddr,
    /// A number for the log, unique while the server runs.
    pub session: u64,
    /// The budget of all sessions.
    pub memory: MemoryBudget,
    /// Whether the server wants to stop.
    pub shutdown: Shutdown,
}

/// What a server does with a session. The future runs on a thread of its own and may block it.
pub trait SessionHandler: Send + Sync + 'static {
    /// Runs one session to its end. Errors are logged; telling the client is up to the session.
    fn serve(&self, io: SessionIo) -> BoxFuture<'_, Result<(), oblivia_protocol::Error>>;
}

impl<F, R> SessionHandler for F
where
    F: Fn(SessionIo) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), oblivia_protocol::Error>> + Send + 'static,
{
    fn serve(&self, io: SessionIo) -> BoxFuture<'_, Result<(), oblivia_protocol::Error>> {
        Box::pin(self(io))
    }
}

/// How a shutdown went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Sessions that were still running at the end of the grace and were ended.
    pub ended: usize,
    /// Sessions whose threads had not returned even then; they go on computing until the process exits.
    pub stuck: usize,
}

/// A running server. Dropping it ends it without grace.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    fingerprint: Digest,
    memory: MemoryBudget,
    grace: Duration,
    sessions: Arc<Seats>,
    stop: watch::Sender<bool>,
    abort: watch::Sender<Option<Notice>>,
    runtime: Option<Runtime>,
}

impl Server {
    /// Listens and serves until [`Server::shutdown`] or drop. Needs no runtime around it.
    ///
    /// # Errors
    /// [`Error::AddressInUse`], [`Error::Bind`], [`Error::Runtime`].
    pub fn bind(options: ServerOptions, handler: impl SessionHandler) -> Result<Self, Error> {
        let tls = TlsAcceptor::from(server_config(&options.identity, options.clients)?);
        let address = options.listen;
        let refused = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::AddrInUse => Error::AddressInUse { address },
            _ => Error::Bind { address, why: e.to_string() },
        };
        let listener = std::net::TcpListener::bind(address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("net")
            .enable_all()
            .build()
            .map_err(|e| Error::Runtime { why: e.to_string() })?;
        let listener = {
            let _entered = runtime.enter();
            TcpListener::from_std(listener).map_err(refused)?
        };
        let limits = options.limits;
        let memory = MemoryBudget::new(limits.max_memory_bytes);
        let (stop, stopped) = watch::channel(false);
        let (abort, aborted) = watch::channel(None);
        let sessions = Arc::new(Seats::new(
            limits.max_sessions,
            limits.max_sessions_per_client,
            limits.max_sessions_per_address,
        ));
        let host = Arc::new(Host {
            tls,
            fingerprint: options.identity.fingerprint(),
            link: LinkOptions {
                idle_timeout: limits.idle_timeout,
                max_session: limits.max_session_time,
                heartbeat: limits.heartbeat,
                // A client has nothing to say but its messages: its heartbeats buy it no time.
                max_wait: limits.idle_timeout,
                min_bytes_per_second: limits.min_bytes_per_second,
                max_message_bytes: limits.max_message_bytes,
                max_queued_bytes: limits.max_queued_bytes,
                memory: Some(memory.clone()),
                clock: None,
            },
            handshake_timeout: limits.handshake_timeout,
            sessions: sessions.clone(),
            next: AtomicU64::new(1),
            memory: memory.clone(),
            stopped: stopped.clone(),
            aborted,
            faults: options.faults,
            handler: Box::new(handler),
        });
        let handshakes = Handshakes {
            all: Arc::new(Semaphore::new(limits.max_handshakes)),
            by_source: Arc::new(Tally::new(limits.max_handshakes_per_address)),
        };
        runtime.spawn(accept(listener, host, stopped, handshakes));
        Ok(Self {
            address,
            fingerprint: options.identity.fingerprint(),
            memory,
            grace: limits.shutdown_grace,
            sessions,
            stop,
            abort,
            runtime: Some(runtime),
        })
    }

    /// Where the server listens; the real port where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What clients pin.
    pub fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    /// Sessions running now.
    pub fn sessions(&self) -> usize {
        self.sessions.count()
    }

    /// The budget of all sessions.
    pub fn memory(&self) -> &MemoryBudget {
        &self.memory
    }

    /// Stops accepting, lets sessions finish within the grace, ends the others. Blocks until done.
    pub fn shutdown(mut self) -> ShutdownReport {
        self.stop.send_replace(true);
        let ended = self.sessions.wait_for_none(self.grace);
        self.abort.send_replace(Some(Notice::ShuttingDown));
        let stuck = if ended == 0 { 0 } else { self.sessions.wait_for_none(LAST_WORDS) };
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        ShutdownReport { ended, stuck }
    }

    /// Serves until the process is asked to stop (Ctrl-C, or SIGTERM on Unix), then shuts down. Blocks; not
    /// to be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Runtime`] when the signals cannot be watched.
    pub fn run_until_interrupted(self) -> Result<ShutdownReport, Error> {
        if let Some(runtime) = &self.runtime {
            runtime.block_on(interrupted()).map_err(|e| Error::Runtime { why: e.to_string() })?;
        }
        Ok(self.shutdown())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.abort.send_replace(Some(Notice::ShuttingDown));
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs `act` on a thread of its own when the process is asked to stop (Ctrl-C, or SIGTERM on Unix), in place of what
/// the operating system would do: `act` has to end the process.
///
/// # Errors
/// [`Error::Runtime`] when the signals cannot be watched.
pub fn on_interrupt(act: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let failed = |e: std::io::Error| Error::Runtime { why: e.to_string() };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (watching, watched) = std::sync::mpsc::channel();
    let wait = move || {
        runtime.block_on(async {
            let mut wait = Box::pin(interrupted());
            // The first poll installs the handlers.
            let early = std::future::poll_fn(|cx| std::task::Poll::Ready(wait.as_mut().poll(cx))).await;
            // The caller waits for this.
            let _ = watching.send(match &early {
                std::task::Poll::Ready(Err(e)) => Err(Error::Runtime { why: e.to_string() }),
                _ => Ok(()),
            });
            let done = match early {
                std::task::Poll::Ready(done) => done,
                std::task::Poll::Pending => wait.await,
            };
            if done.is_ok() {
                act();
            }
        });
    };
    std::thread::Builder::new().name("interrupt".into()).spawn(wait).map_err(failed)?;
    watched.recv().unwrap_or_else(|e| Err(Error::Runtime { why: e.to_string() }))
}

#[cfg(unix)]
async fn interrupted() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn interrupted() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}

/// What every connection needs.
struct Host {
    tls: TlsAcceptor,
    fingerprint: Digest,
    link: LinkOptions,
    handshake_timeout: Duration,
    sessions: Arc<Seats>,
    next: AtomicU64,
    memory: MemoryBudget,
    stopped: watch::Receiver<bool>,
    aborted: watch::Receiver<Option<Notice>>,
    faults: Option<FaultInjector>,
    handler: Box<dyn SessionHandler>,
}

/// Connections that are not yet, or no longer to be, sessions.
struct Handshakes {
    all: Arc<Semaphore>,
    by_source: Arc<Tally>,
}

impl Handshakes {
    fn begin(&self, address: SocketAddr) -> Option<(OwnedSemaphorePermit, Mark)> {
        let permit = self.all.clone().try_acquire_owned().ok()?;
        Some((permit, self.by_source.clone().mark(Source::of(address))?))
    }
}

async fn accept(
    listener: TcpListener,
    host: Arc<Host>,
    mut stopped: watch::Receiver<bool>,
    handshakes: Handshakes,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, address)) => match handshakes.begin(address) {
                Some(permit) => {
                    let host = host.clone();
                    tokio::spawn(async move {
                        host.admit(tcp, address).await;
                        drop(permit);
                    });
                }
                None => tracing::warn!(%address, "too many handshakes at once; connection closed"),
            },
            Err(e) => {
                tracing::warn!(error = %e, "a connection could not be accepted");
                // Out of descriptors, most likely: give sessions time to end.
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

impl Host {
    async fn admit(self: Arc<Self>, tcp: TcpStream, address: SocketAddr) {
        // Delays small messages by nothing; a socket that cannot do it still works.
        let _ = tcp.set_nodelay(true);
        let mut stream: BoxStream = Box::new(tcp);
        let mut link = self.link.clone();
        if let Some(faults) = &self.faults {
            let (faulty, clock) = faults.wrap(stream, Direction::ServerToClient);
            stream = Box::new(faulty);
            link.clock = Some(clock);
        }
        let stream = BufReader::with_capacity(READ_AHEAD_BYTES, stream);
        let stream = match timeout(self.handshake_timeout, self.tls.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::info!(%address, %error, "TLS handshake failed"),
            Err(_) => return tracing::info!(%address, "TLS handshake took too long"),
        };
        let secured = match Secured::of(stream.get_ref().1, self.fingerprint) {
            Ok(secured) => secured,
            Err(error) => return tracing::info!(%address, %error, "client refused"),
        };
        let stream: BoxStream = Box::new(stream);
        if *self.stopped.borrow() {
            return turn_away(stream, &link, Notice::ShuttingDown).await;
        }
        let client = secured.ends.peer;
        let seat = match self.sessions.clone().enter(client, Source::of(address)) {
            Ok(seat) => seat,
            Err(full) => {
                tracing::info!(%address, client = %client.short(), "turned a client away: {full}");
                return turn_away(stream, &link, Notice::Busy).await;
            }
        };
        let seat = Arc::new(seat);
        let extras = Extras {
            secured: Some(secured),
            abort: AbortSwitch::new(self.aborted.clone()),
            guard: Some(Box::new(seat.clone())),
        };
        let wire = match StreamWire::with(stream, &link, extras) {
            Ok(wire) => wire,
            Err(error) => return tracing::error!(%error, "session not started"),
        };
        let session = self.next.fetch_add(1, Ordering::Relaxed);
        let io = SessionIo {
            wire: Box::new(wire),
            client,
            address,
            session,
            memory: self.memory.clone(),
            shutdown: Shutdown(self.stopped.clone()),
        };
        let handle = Handle::current();
        let host = self.clone();
        let thread = std::thread::Builder::new()
            .name(format!("session-{session}"))
            .stack_size(SESSION_STACK_BYTES)
            .spawn(move || {
                host.run(&handle, io);
                drop(seat);
            });
        if let Err(error) = thread {
            tracing::error!(%address, %error, "no thread for a session; connection closed");
        }
    }

    fn run(&self, handle: &Handle, io: SessionIo) {
        let (session, client, address) = (io.session, io.client, io.address);
        tracing::info!(session, client = %client.short(), %address, "session begins");
        match catch_unwind(AssertUnwindSafe(|| handle.block_on(self.handler.serve(io)))) {
            Ok(Ok(())) => tracing::info!(session, "session ends"),
            Ok(Err(error)) => tracing::warn!(session, blame = %error.blame(), %error, "session failed"),
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                tracing::error!(session, panic = %text, "a session panicked: this is a bug");
            }
        }
    }
}

async fn turn_away(stream: BoxStream, link: &LinkOptions, notice: Notice) {
    let gone = Arc::new(Semaphore::new(0));
    let extras =
        Extras { secured: None, abort: AbortSwitch::never(), guard: Some(Box::new(Departure(gone.clone()))) };
    let link = LinkOptions { idle_timeout: TURN_AWAY, ..link.clone() };
    let Ok(mut wire) = StreamWire::with(stream, &link, extras) else { return };
    // A client that has already left does not hear it.
    let _ = wire.send(Kind::Abort, notice.to_bytes()).await;
    let _ = wire.finish().await;
    drop(wire);
    // Whoever is turned away counts among the handshakes until the connection is closed.
    let _ = gone.acquire().await;
}

/// Signals, when dropped, that a connection is closed.
struct Departure(Arc<Semaphore>);

impl Drop for Departure {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}
