//! A server that offers models.

use crate::catalog::Models;
use crate::key_cache::KeyCache;
use crate::ledger::{Charge, Ledger, today};
use crate::pack_files::PackFiles;
use crate::party::{self, Machine, Served};
use crate::{Budgets, Error};
use oblivia_base::{Digest, SessionRng};
use oblivia_net::{
    ClientPolicy, Identity, Limits, Owner, ServerOptions, SessionIo, ShutdownReport, fault::FaultInjector,
};
use oblivia_nn::Model;
use oblivia_protocol::session::{Agreed, Catalog, Hello, Offered, Purpose};
use oblivia_protocol::{
    AheadUse, Error as SessionError, Event, KeyMemory, KeyUse, Leak, LinkError, Observer, Plan, TurnCounts,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

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
    /// Bytes below the state directory for packs made ahead of images, half of it at most for one client; 0 keeps none. See
    /// [`PackFiles`].
    pub pack_bytes: u64,
    /// Threads for computing; 0 is one per core.
    pub threads: usize,
    /// How many images clients may have predicted. Counted in `state_dir`, which one server at a time can do; without any limit
    /// nothing is counted.
    pub budgets: Budgets,
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
            budgets: Budgets::default(),
            key_cache_bytes: 1 << 30,
            pack_bytes: 0,
            threads: 0,
            max_model_memory: None,
            accepted_leaks: Vec::new(),
            faults: None,
        }
    }
}

/// One session's way through models and budgets.
struct Visit<'a> {
    models: &'a Models,
    ledger: Option<Arc<Ledger>>,
    client: Digest,
    /// What it was charged.
    charge: OnceLock<Charge>,
}

impl Visit<'_> {
    /// Where its images are counted. What is made ahead of images shows nothing of a model: the images count, in the session that
    /// predicts them.
    fn ledger(&self, purpose: Purpose) -> Option<&Arc<Ledger>> {
        self.ledger.as_ref().filter(|_| purpose == Purpose::Predict)
    }

    /// Charges what was agreed.
    fn charge(&self, agreed: &Agreed) -> Result<(), SessionError> {
        let Some(ledger) = self.ledger(agreed.purpose) else { return Ok(()) };
        let (model, asked) = (&agreed.model.name, u64::from(agreed.samples));
        let charge = ledger.charge(model, &self.client, asked, counted(&agreed.plan, asked))?;
        let twice = |_| SessionError::Misuse("a session was charged twice".into());
        self.charge.set(charge).map_err(twice)
    }

    /// Ends it; the images it was charged. What failed before the first image `began` is given back, to the model's budgets alone
    /// if the client is why.
    fn close(self, served: &Result<Served, SessionError>, began: bool) -> u64 {
        let Some(charge) = self.charge.into_inner() else { return 0 };
        match served {
            Err(why) if !began => {
                if let Err(error) = charge.give_back(broke_off(why)) {
                    tracing::warn!(client = %self.client.short(), %error, "a session that failed stays counted");
                }
                0
            }
            _ => charge.images(),
        }
    }
}

/// What a session of `asked` images counts as: only the client sees which slots of a group it fills, so all count.
fn counted(plan: &Plan, asked: u64) -> u64 {
    plan.cost.groups(asked).saturating_mul(u64::from(plan.cost.group.max(1)))
}

/// Whether a session that failed did so by the client's doing, or its link's: it fell silent, left, or sent what is none of the
/// protocol's messages.
fn broke_off(why: &SessionError) -> bool {
    match why {
        // This side ended it, had no memory for a message or no time for its turns, or its operating system failed the connection.
        SessionError::Link(LinkError::Io(_) | LinkError::Outlived { .. }) => false,
        SessionError::Link(_) | SessionError::InvalidMessage { .. } | SessionError::Incompatible { .. } => {
            true
        }
        _ => false,
    }
}

impl Catalog for Visit<'_> {
    fn offer(&self, hello: &Hello) -> Result<Offered, SessionError> {
        let Some(ledger) = self.ledger(hello.purpose) else { return self.models.offer(hello) };
        let asked = u64::from(hello.samples);
        // Before a plan is made for nothing.
        ledger.covers(&hello.model, &self.client, asked, asked)?;
        let mut offered = self.models.offer(hello)?;
        let counted = counted(&offered.plan, asked);
        offered.allowance = ledger.covers(&hello.model, &self.client, asked, counted)?;
        Ok(offered)
    }
}

/// Whether work on an image began.
struct Began(bool);

impl Observer for Began {
    fn on(&mut self, event: Event<'_>) {
        self.0 |= matches!(event, Event::SampleStarted(_) | Event::SampleDone { .. });
    }
}

/// A running server. Dropping it ends its sessions without grace.
pub struct Server {
    net: oblivia_net::Server,
    models: Arc<Models>,
    keys: KeyCache,
    packs: Option<PackFiles>,
    machine: Machine,
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
        let ledger = match options.budgets.limit() {
            true => Some(Ledger::open(&options.state_dir, options.budgets, models.names(), today)?),
            false => None,
        };
        let (identity, _) = Identity::load_or_create(&options.state_dir, Owner::Server)?;
        let mut net = ServerOptions::new(options.listen, identity);
        net.clients = options.clients;
        net.limits = options.limits;
        net.faults = options.faults;
        let keys = KeyCache::new(options.key_cache_bytes);
        let max = options.pack_bytes;
        let packs = (max > 0).then(|| PackFiles::new(&options.state_dir, Owner::Server, Some(max)));
        let shared = (models.clone(), machine.clone(), keys.clone(), ledger, packs.clone());
        let handler = move |io: SessionIo| {
            let (models, machine, keys, ledger, packs) = shared.clone();
            async move {
                let rng = SessionRng::fresh().map_err(|e| oblivia_protocol::Error::Io(e.to_string()))?;
                let (client, session) = (io.client.short(), io.session);
                let shelf = keys.shelf(io.client);
                let of_client = packs.as_ref().map(|packs| packs.of(Some(io.client)));
                let kept = KeyMemory { secrets: None, shelf, packs: of_client };
                let keeps_packs = packs.is_some();
                let memory = io.memory.clone();
                let visit = Visit { models: &models, ledger, client: io.client, charge: OnceLock::new() };
                let admit = |agreed: &Agreed| {
                    let plan = &agreed.plan;
                    // A pack on its way from stock to disk or back is there twice.
                    let pack = plan.cost.ahead.filter(|_| keeps_packs).map_or(0, |ahead| ahead.pack_bytes);
                    let bytes = [plan.session_memory_bytes, plan.work_memory_bytes, pack, pack];
                    let kept = memory
                        .reserve(bytes.into_iter().fold(0, u64::saturating_add))
                        .map_err(|e| SessionError::Resource { what: "memory", why: e.to_string() })?;
                    // The last thing that can fail before the session goes on.
                    visit.charge(agreed)?;
                    Ok(Box::new(kept) as Box<dyn std::any::Any + Send>)
                };
                let mut began = Began(false);
                let served = party::server(io.wire, &visit, rng, &machine, &admit, kept, &mut began).await;
                let counted = visit.close(&served, began.0);
                let served = served?;
                let (fill, prepared) = (keys.fill(), models.prepared_fill());
                tracing::info!(
                    session,
                    client,
                    model = %served.plan.model.0.short(),
                    system = %served.plan.choices.system,
                    samples = served.samples,
                    packs = match served.ahead {
                        AheadUse::None => "none",
                        AheadUse::Used { .. } => "used",
                        AheadUse::Made { .. } => "made",
                    },
                    packs_of_session = match served.ahead {
                        AheadUse::None => 0,
                        AheadUse::Used { groups } | AheadUse::Made { groups } => groups,
                    },
                    counted,
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
        Ok(Self { net: oblivia_net::Server::bind(net, handler)?, models, keys, packs, machine })
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

    /// The packs it keeps; `None` where it keeps none.
    pub fn packs(&self) -> Option<&PackFiles> {
        self.packs.as_ref()
    }

    /// What has happened to its sessions' turns at computing.
    pub fn turns(&self) -> TurnCounts {
        self.machine.permits.counts()
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
