//! A server that offers models.

use crate::Error;
use crate::catalog::Models;
use crate::key_cache::KeyCache;
use crate::party::{self, Machine};
use oblivia_base::{Digest, SessionRng};
use oblivia_net::{
    ClientPolicy, Identity, Limits, Owner, ServerOptions, SessionIo, ShutdownReport, fault::FaultInjector,
};
use oblivia_nn::Model;
use oblivia_protocol::{KeyMemory, KeyUse, Leak, Plan, Silent};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// Where and how a server serves.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the server's identity is kept.
    pub state_dir: PathBuf,
    /// Which clients are admitted.
    pub clients: ClientPolicy,
    /// What is allowed.
    pub limits: Limits,
    /// Samples one session may predict.
    pub max_samples: u32,
    /// Bytes of evaluation keys kept for clients that come again, on top of the memory of sessions; 0 keeps none.
    /// See [`KeyCache`].
    pub key_cache_bytes: u64,
    /// Threads for computing; 0 is one per core.
    pub threads: usize,
    /// Memory for prepared models of all plans together in bytes, on top of the memory of sessions; `None` for the systems'
    /// usual limits for one, and none for all.
    pub max_model_memory: Option<u64>,
    /// Leaks to clients that are allowed here: those of plans that give the model away ([`Leak::gives_model_away`]).
    pub accepted_leaks: Vec<Leak>,
    /// A broken network, for tests.
    pub faults: Option<FaultInjector>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7443)),
            state_dir: ".oblivia".into(),
            clients: ClientPolicy::AnyIdentity,
            limits: Limits::default(),
            max_samples: 100_000,
            key_cache_bytes: 1 << 30,
            threads: 0,
            max_model_memory: None,
            accepted_leaks: Vec::new(),
            faults: None,
        }
    }
}

/// A running server. Dropping it ends its sessions without grace.
pub struct Server {
    net: oblivia_net::Server,
    models: Arc<Models>,
    keys: KeyCache,
}

impl Server {
    /// Listens and serves `models` with every system of this build.
    ///
    /// # Errors
    /// A model that cannot be served, an address in use, a state directory that cannot be written.
    pub fn start(models: &[Model], options: ServeOptions) -> Result<Self, Error> {
        let machine = Machine::new(options.threads)?;
        let mut catalog = Models::new(oblivia_systems::SYSTEMS, machine.pool.clone(), options.max_samples)
            .with_wish(crate::read_calibration(&options.state_dir)?, options.max_model_memory)
            .accepting(&options.accepted_leaks);
        models.iter().try_for_each(|m| catalog.add(m))?;
        let models = Arc::new(catalog);
        let (identity, _) = Identity::load_or_create(&options.state_dir, Owner::Server)?;
        let mut net = ServerOptions::new(options.listen, identity);
        net.clients = options.clients;
        net.limits = options.limits;
        net.faults = options.faults;
        let keys = KeyCache::new(options.key_cache_bytes);
        let shared = (models.clone(), machine, keys.clone());
        let handler = move |io: SessionIo| {
            let (models, machine, keys) = shared.clone();
            async move {
                let rng = SessionRng::fresh().map_err(|e| oblivia_protocol::Error::Io(e.to_string()))?;
                let (client, session) = (io.client.short(), io.session);
                let shelf = keys.shelf(io.client);
                let kept = KeyMemory { secrets: None, shelf };
                let memory = io.memory.clone();
                let admit = move |plan: &Plan| {
                    let kept = memory
                        .reserve(plan.session_memory_bytes.saturating_add(plan.work_memory_bytes))
                        .map_err(|e| oblivia_protocol::Error::Resource {
                            what: "memory",
                            why: e.to_string(),
                        })?;
                    Ok(Box::new(kept) as Box<dyn std::any::Any + Send>)
                };
                let served =
                    party::server(io.wire, &*models, rng, &machine, &admit, kept, &mut Silent).await?;
                let (fill, prepared) = (keys.fill(), models.prepared_fill());
                tracing::info!(
                    session,
                    client,
                    model = %served.plan.model.0.short(),
                    system = %served.plan.choices.system,
                    samples = served.samples,
                    bytes = served.traffic.total_bytes(),
                    keys = match served.keys.how {
                        KeyUse::None => "none",
                        KeyUse::Sent => "sent",
                        KeyUse::Reused => "reused",
                    },
                    key_bytes = served.keys.sent_bytes,
                    keys_kept = fill.entries,
                    key_cache_bytes = fill.bytes,
                    key_cache_max_bytes = fill.max_bytes,
                    plans_kept = prepared.plans,
                    weights_bytes = prepared.bytes,
                    "session done"
                );
                Ok(())
            }
        };
        Ok(Self { net: oblivia_net::Server::bind(net, handler)?, models, keys })
    }

    /// The address, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.net.local_addr()
    }

    /// What clients pin.
    pub fn fingerprint(&self) -> Digest {
        self.net.fingerprint()
    }

    /// The models, to prepare plans ahead of the first request.
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// The evaluation keys it keeps.
    pub fn keys(&self) -> &KeyCache {
        &self.keys
    }

    /// Sessions running now.
    pub fn sessions(&self) -> usize {
        self.net.sessions()
    }

    /// Stops accepting, lets sessions finish within the grace, ends the others.
    pub fn shutdown(self) -> ShutdownReport {
        self.net.shutdown()
    }

    /// Serves until the process is interrupted, then shuts down.
    ///
    /// # Errors
    /// When the operating system's signals cannot be had.
    pub fn run_until_interrupted(self) -> Result<ShutdownReport, Error> {
        Ok(self.net.run_until_interrupted()?)
    }
}
