//! Connecting to a server.

use crate::fault::{Direction, FaultInjector};
use crate::frame::{link_error, within};
use crate::identity::Identity;
use crate::shape::{LinkShape, shaped};
use crate::stream::{BoxStream, LinkOptions, StreamWire};
use crate::tls::{Secured, ServerCheck, client_config};
use oblivia_protocol::LinkError;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::BufReader;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

/// Bytes read from the socket at once.
pub(crate) const READ_AHEAD_BYTES: usize = 64 << 10;

/// A link over TLS over TCP.
pub type TlsWire = StreamWire<BoxStream>;

/// Who connects, and how it knows the server.
#[derive(Debug, Clone)]
pub struct ClientTls {
    /// The client's key and certificate, always presented.
    pub identity: Identity,
    /// How the server is recognised.
    pub server: ServerCheck,
}

/// How a client connects.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Longest time for the name look-up, the TCP connection and the handshake, each.
    pub timeout: Duration,
    /// Bounds of the link.
    pub link: LinkOptions,
    /// A slower network, in both directions.
    pub shape: Option<LinkShape>,
    /// A broken network: acts on what the client sends.
    pub faults: Option<FaultInjector>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        let link = LinkOptions::default();
        Self { timeout: Duration::from_secs(10), link, shape: None, faults: None }
    }
}

/// Connects to `address` (`host:port`), shakes hands and checks the server.
///
/// In TLS 1.3 the client is done before the server has judged the client's certificate; a server that does
/// not admit this client says so at the first receive ([`LinkError::Tls`]).
///
/// # Errors
/// [`LinkError::Io`] when nobody answers, [`LinkError::Tls`] when the server is not the right one or does not
/// speak TLS 1.3 and `oblivia/2`, [`LinkError::TimedOut`], [`LinkError::Closed`].
pub async fn connect(address: &str, tls: &ClientTls, options: &ConnectOptions) -> Result<TlsWire, LinkError> {
    let (config, name) =
        client_config(&tls.identity, &tls.server).map_err(|e| LinkError::Tls(e.to_string()))?;
    let tcp = open(address, options.timeout).await?;
    // Delays small messages by nothing; a socket that cannot do it still works.
    let _ = tcp.set_nodelay(true);
    let mut stream: BoxStream = Box::new(tcp);
    if let Some(shape) = options.shape {
        stream = Box::new(shaped(stream, shape).map_err(|e| LinkError::Io(e.to_string()))?);
    }
    let mut link = options.link.clone();
    if let Some(faults) = &options.faults {
        let (faulty, clock) = faults.wrap(stream, Direction::ClientToServer);
        stream = Box::new(faulty);
        link.clock = Some(clock);
    }
    let stream = BufReader::with_capacity(READ_AHEAD_BYTES, stream);
    let handshake = async {
        let connected = TlsConnector::from(config).connect(name, stream).await;
        connected.map_err(|e| link_error(&e, "during the TLS handshake"))
    };
    let stream = within(Some(options.timeout), "the TLS handshake", handshake).await?;
    let secured = Secured::of(stream.get_ref().1, tls.identity.fingerprint()).map_err(LinkError::Tls)?;
    let stream: BoxStream = Box::new(stream);
    StreamWire::secured(stream, &link, secured).map_err(|e| LinkError::Io(e.to_string()))
}

async fn open(address: &str, timeout: Duration) -> Result<TcpStream, LinkError> {
    let resolve = async {
        let found = lookup_host(address).await.map_err(|e| {
            LinkError::Io(format!("{address:?} is not an address that can be found ({e}); write HOST:PORT"))
        })?;
        Ok(found.collect::<Vec<SocketAddr>>())
    };
    let addresses = within(Some(timeout), "the name look-up", resolve).await?;
    let mut failure = LinkError::Io(format!("{address:?} has no address"));
    for one in addresses {
        let attempt = async {
            TcpStream::connect(one).await.map_err(|e| match e.kind() {
                io::ErrorKind::ConnectionRefused => LinkError::Io(format!(
                    "nothing listens on {one}: is the server running there? Start it with `oblivia serve \
                     --listen {one}`, or correct `--server`"
                )),
                _ => LinkError::Io(format!("cannot connect to {one}: {e}")),
            })
        };
        match within(Some(timeout), "the connection", attempt).await {
            Ok(tcp) => return Ok(tcp),
            Err(e) => failure = e,
        }
    }
    Err(failure)
}
