//! Servers and clients on 127.0.0.1 for the tests of this folder.
#![allow(dead_code, reason = "each test binary uses a part: no expectation holds in all of them")]

use oblivia_net::{
    ClientTls, ConnectOptions, Identity, Limits, LinkOptions, Owner, Server, ServerCheck, ServerOptions,
    SessionIo, TlsWire, connect,
};
use oblivia_protocol::{Error, Expect, Kind, LinkError, Wire};
use std::time::Duration;

/// Long enough for a loaded machine; a test that waits it out fails.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) fn options() -> ServerOptions {
    let identity = Identity::ephemeral(Owner::Server).unwrap();
    let mut options = ServerOptions::new("127.0.0.1:0".parse().unwrap(), identity);
    options.limits = Limits { idle_timeout: LONG, shutdown_grace: LONG, ..Limits::default() };
    options
}

pub(crate) fn client_of(server: &Server) -> ClientTls {
    ClientTls {
        identity: Identity::ephemeral(Owner::Client).unwrap(),
        server: ServerCheck::Pin(server.fingerprint()),
    }
}

pub(crate) async fn dial(server: &Server) -> Result<TlsWire, LinkError> {
    let options = ConnectOptions {
        timeout: LONG,
        link: LinkOptions { idle_timeout: LONG, ..LinkOptions::default() },
        ..ConnectOptions::default()
    };
    connect(&server.local_addr().to_string(), &client_of(server), &options).await
}

/// Answers every `System(0)` with its body reversed until an empty one.
pub(crate) async fn echo(mut io: SessionIo) -> Result<(), Error> {
    let binding = io.wire.binding().ok_or(Error::Misuse("no binding".into()))?;
    assert_eq!(io.wire.identities().map(|ends| ends.peer), Some(io.client));
    io.wire.send(Kind::Offer, [&binding[..], &io.client.0[..]].concat()).await?;
    loop {
        let mut body = io.wire.recv(Expect::at_most(Kind::System(0), 1 << 28)).await?;
        if body.is_empty() {
            io.wire.finish().await?;
            return Ok(());
        }
        body.reverse();
        io.wire.send(Kind::System(0), body).await?;
    }
}

/// One round with [`echo`].
pub(crate) async fn round(wire: &mut dyn Wire, body: &[u8]) -> Result<(), LinkError> {
    wire.send(Kind::System(0), body.to_vec()).await?;
    let mut back = wire.recv(Expect::exactly(Kind::System(0), body.len())).await?;
    back.reverse();
    assert!(back == body, "the echo differs");
    Ok(())
}

/// What [`echo`] says first: its binding and whom it sees.
pub(crate) async fn greeting(wire: &mut dyn Wire) -> Result<Vec<u8>, LinkError> {
    wire.recv(Expect::exactly(Kind::Offer, 64)).await
}
