//! Servers and clients in this process, over TLS on the loopback.

use crate::Case;
use oblivia::{Ask, Client, Error, Input, Machine, Prediction, ServeOptions, Server, Trust};
use oblivia_net::{ConnectOptions, Limits};
use oblivia_protocol::Observer;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// How long a test waits for what takes moments on a machine with nothing else to do.
pub const LONG: Duration = Duration::from_secs(120);

/// Limits of a server that many sessions come to from one address, of as many clients or of one.
pub fn patient() -> Limits {
    Limits {
        max_sessions_per_client: 32,
        max_sessions_per_address: 32,
        idle_timeout: LONG,
        shutdown_grace: Duration::ZERO,
        ..Limits::default()
    }
}

/// A server with one thread on a free port.
pub fn options(state: &Path, limits: Limits) -> ServeOptions {
    ServeOptions {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        state_dir: state.to_owned(),
        limits,
        threads: 1,
        ..ServeOptions::default()
    }
}

/// Where a server is.
#[derive(Clone)]
pub struct At {
    address: String,
    pin: Trust,
}

impl At {
    /// Where `server` is.
    pub fn of(server: &Server) -> Self {
        Self { address: server.address().to_string(), pin: Trust::Pin(server.fingerprint()) }
    }

    /// The client whose state is in `state`.
    pub fn client(&self, state: &Path, connect: ConnectOptions) -> Client {
        let machine = Machine::new(1).expect("threads");
        Client::with_state(&self.address, self.pin.clone(), state, machine, connect).expect("a client")
    }
}

/// Has the first `images` inputs of a case predicted, from the first again where there are fewer.
///
/// # Errors
/// How the session ended.
pub fn ask(
    client: &Client,
    case: &Case,
    images: usize,
    max_time: Option<Duration>,
    observer: &mut dyn Observer,
) -> Result<Prediction, Error> {
    let ask = Ask {
        model: &case.model.public.name,
        system: case.system,
        wish: case.wish.clone(),
        max_time,
        confirm: &mut |_, _| Ok(()),
        observer,
    };
    let inputs: Vec<Input> = case.inputs.iter().cycle().take(images).cloned().map(Input::Tensor).collect();
    client.ask(ask, &inputs)
}

/// Checks that a prediction has the labels of the network and cost what was declared.
pub fn check(case: &Case, found: &Prediction) {
    assert!(found.receipt.as_declared());
    for (found, right) in found.outputs.iter().zip(case.expected().iter().cycle()) {
        assert_eq!(found.as_ref().expect("an answer").argmax(), right.argmax());
    }
}
