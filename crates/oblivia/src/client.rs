//! A client of a server.

use crate::Error;
use crate::input::{Input, tensor};
use crate::key_files::KeyFiles;
use crate::party::{self, Machine, Prediction, Question};
use oblivia_base::{Digest, SessionRng};
use oblivia_net::{ClientTls, ConnectOptions, Identity, Owner, ServerCheck};
use oblivia_nn::PublicModel;
use oblivia_protocol::session::Request;
use oblivia_protocol::{KeyMemory, Observer, Plan, SecretStore, Silent, Wish};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a client knows its server.
#[derive(Debug, Clone)]
pub enum Trust {
    /// By the fingerprint of its key.
    Pin(Digest),
    /// By authorities (PEM) and the name in the server's certificate.
    Roots {
        /// The authorities' certificates.
        pem: Vec<u8>,
        /// The server's name.
        name: String,
    },
}

/// A question to a server.
pub struct Ask<'a> {
    /// Name of the model.
    pub model: &'a str,
    /// Id of the system.
    pub system: &'a str,
    /// Mode, plan, accepted leaks, limits.
    pub wish: Wish,
    /// Longest time for everything. Without one the server is waited for as long as its link allows, per message:
    /// [`max_wait`](oblivia_net::LinkOptions::max_wait) while it shows that it is at work,
    /// [`idle_timeout`](oblivia_net::LinkOptions::idle_timeout) while it is silent.
    pub max_time: Option<Duration>,
    /// Sees model and plan before anything is promised and may refuse.
    pub confirm: &'a mut (dyn FnMut(&PublicModel, &Plan) -> Result<(), oblivia_protocol::Error> + Send),
    /// Watches.
    pub observer: &'a mut dyn Observer,
}

/// Predicts with models on one server.
pub struct Client {
    address: String,
    tls: ClientTls,
    machine: Machine,
    connect: ConnectOptions,
    secrets: Option<Arc<dyn SecretStore>>,
}

impl Client {
    /// A client with keys of its own that are kept nowhere, one computing thread per core.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(address: &str, trust: Trust) -> Result<Self, Error> {
        let identity = Identity::ephemeral(Owner::Client)?;
        Ok(Self::with(address, trust, identity, Machine::new(0)?, ConnectOptions::default()))
    }

    /// A client whose identity and secret keys are kept in `state_dir` (see [`KeyFiles`]): a server that still has
    /// the evaluation keys of an earlier session is not sent them again.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn with_state(
        address: &str,
        trust: Trust,
        state_dir: &Path,
        machine: Machine,
        connect: ConnectOptions,
    ) -> Result<Self, Error> {
        let (identity, _) = Identity::load_or_create(state_dir, Owner::Client)?;
        let secrets = Some(Arc::new(KeyFiles::new(state_dir)) as Arc<dyn SecretStore>);
        Ok(Self { secrets, ..Self::with(address, trust, identity, machine, connect) })
    }

    /// The same client with a secret key of its own for every session; kept ones are neither used nor replaced.
    #[must_use]
    pub fn with_fresh_keys(self) -> Self {
        Self { secrets: None, ..self }
    }

    fn with(
        address: &str,
        trust: Trust,
        identity: Identity,
        machine: Machine,
        connect: ConnectOptions,
    ) -> Self {
        let server = match trust {
            Trust::Pin(digest) => ServerCheck::Pin(digest),
            Trust::Roots { pem, name } => ServerCheck::Roots { pem, name },
        };
        let tls = ClientTls { identity, server };
        Self { address: address.to_owned(), tls, machine, connect, secrets: None }
    }

    /// Predicts on `inputs` in one session, refusing every leak that needs accepting.
    ///
    /// # Errors
    /// See [`Client::ask`].
    pub fn predict(&self, model: &str, system: &str, inputs: &[Input]) -> Result<Prediction, Error> {
        let ask = Ask {
            model,
            system,
            wish: Wish::default(),
            max_time: None,
            confirm: &mut |_, _| Ok(()),
            observer: &mut Silent,
        };
        self.ask(ask, inputs)
    }

    /// Predicts on `inputs` in one session. Blocks until it is over.
    ///
    /// # Errors
    /// Sorted by [`Error::blame`]: input, refusal, peer, link.
    pub fn ask(&self, ask: Ask<'_>, inputs: &[Input]) -> Result<Prediction, Error> {
        let began = Instant::now();
        let samples = u32::try_from(inputs.len())
            .map_err(|_| oblivia_protocol::Error::Input("too many inputs for one session".into()))?;
        let Ask { model, system, wish, max_time, confirm, observer } = ask;
        let request = Request { model: model.to_owned(), system: system.to_owned(), wish, samples };
        let mut made = |public: &PublicModel| inputs.iter().map(|x| tensor(public, x)).collect::<Vec<_>>();
        let memory = KeyMemory { secrets: self.secrets.clone(), shelf: None };
        let assurance = self.assurance();
        let question = Question { request, confirm, inputs: &mut made, observer, memory, assurance, began };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|e| oblivia_protocol::Error::Resource { what: "threads", why: e.to_string() })?;
        let mut connect = self.connect.clone();
        if let Some(limit) = max_time {
            connect.link.max_wait = limit;
        }
        let session = async {
            let wire = oblivia_net::connect(&self.address, &self.tls, &connect).await?;
            let rng = SessionRng::fresh().map_err(|e| oblivia_protocol::Error::Io(e.to_string()))?;
            party::client(Box::new(wire), oblivia_systems::SYSTEMS, rng, &self.machine, question).await
        };
        let done = runtime.block_on(async {
            match max_time {
                None => session.await,
                Some(limit) => tokio::time::timeout(limit, session).await.unwrap_or_else(|_| {
                    let why = format!(
                        "the session was not over after the {} s allowed; allow more with --max-seconds, or send \
                         fewer inputs",
                        limit.as_secs_f64()
                    );
                    Err(oblivia_protocol::Error::Resource { what: "time", why })
                }),
            }
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
        Ok(done?)
    }

    /// Who this client is to a server: what its operator lists to admit it.
    pub fn fingerprint(&self) -> Digest {
        self.tls.identity.fingerprint()
    }

    fn assurance(&self) -> String {
        let how = match &self.tls.server {
            ServerCheck::Pin(d) => format!("server pinned by key {}", d.short()),
            ServerCheck::Roots { name, .. } => format!("server certified as {name}"),
        };
        format!("TLS 1.3, {how}; the server is trusted to follow the protocol, nothing attests to that")
    }
}
