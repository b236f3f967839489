//! A client of a server.

use crate::Error;
use crate::input::{Input, tensor};
use crate::key_files::KeyFiles;
use crate::pack_files::PackFiles;
use crate::party::{self, Machine, Prediction, Question};
use oblivia_base::{Digest, SessionRng};
use oblivia_net::{ClientTls, ConnectOptions, Identity, Owner, ServerCheck};
use oblivia_nn::PublicModel;
use oblivia_protocol::session::{Purpose, Request};
use oblivia_protocol::{
    Identities, KeyMemory, Observer, PackScope, Plan, Receipt, SecretStore, Silent, Wish,
};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
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

/// Packs that were made ahead of images.
#[derive(Debug)]
pub struct MadeAhead {
    /// What it cost.
    pub receipt: Receipt,
    /// Packs of this server and plan that this side has now.
    pub left: u32,
}

/// Predicts with models on one server.
pub struct Client {
    end: Arc<End>,
    /// Images for which packs are to be there after a prediction.
    keep: u32,
    /// Making them.
    refill: Mutex<Option<JoinHandle<Result<MadeAhead, Error>>>>,
}

/// What a session needs; one in the background shares it.
#[derive(Clone)]
struct End {
    address: String,
    tls: ClientTls,
    machine: Machine,
    connect: ConnectOptions,
    secrets: Option<Arc<dyn SecretStore>>,
    packs: Option<PackFiles>,
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
    /// the evaluation keys of an earlier session is not sent them again, and what [`Client::make_ahead`] makes is used.
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
        let packs = Some(PackFiles::new(state_dir, Owner::Client, None));
        let client = Self::with(address, trust, identity, machine, connect);
        Ok(client.changed(|end| (end.secrets, end.packs) = (secrets, packs)))
    }

    /// The same client with a secret key of its own for every session; kept ones are neither used nor replaced.
    #[must_use]
    pub fn with_fresh_keys(self) -> Self {
        self.changed(|end| end.secrets = None)
    }

    /// The same client, which after a prediction sees to it that packs for `target` images are there, where the plan has packs: a
    /// session in the background makes what is missing. 0 makes none. See [`Client::refilled`].
    #[must_use]
    pub fn with_kept_ahead(self, target: u32) -> Self {
        Self { keep: target, ..self }
    }

    fn changed(self, change: impl FnOnce(&mut End)) -> Self {
        let mut end = (*self.end).clone();
        change(&mut end);
        Self { end: Arc::new(end), ..self }
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
        let address = address.to_owned();
        let end = End { address, tls, machine, connect, secrets: None, packs: None };
        Self { end: Arc::new(end), keep: 0, refill: Mutex::default() }
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
        let samples = u32::try_from(inputs.len())
            .map_err(|_| oblivia_protocol::Error::Input("too many inputs for one session".into()))?;
        let (model, system) = (ask.model.to_owned(), ask.system.to_owned());
        let (wish, max_time) = (ask.wish.clone(), ask.max_time);
        let mut made = |public: &PublicModel| inputs.iter().map(|x| tensor(public, x)).collect::<Vec<_>>();
        let prediction = self.end.session(ask, Purpose::Predict, samples, &mut made)?;
        let missing = self.end.missing(&prediction, self.keep);
        if missing > 0 {
            self.refill(
                Again { model, system, wish, max_time, plan: prediction.receipt.plan.digest() },
                missing,
            );
        }
        Ok(prediction)
    }

    /// Makes packs for `images` images in one session that predicts nothing, one for each of the plan's groups; both sides keep them
    /// until predictions with the same model and plan use them. Blocks until it is over.
    ///
    /// # Errors
    /// As [`Client::ask`]; a refusal if this client has no state directory, the plan no packs, or the server no room. Packs
    /// made before an error stay, unless a check failed or the server says that it failed: then what is left of the session's is dropped.
    pub fn make_ahead(&self, ask: Ask<'_>, images: u32) -> Result<MadeAhead, Error> {
        self.end.make_ahead(ask, images)
    }

    /// Waits for the session in the background that [`Client::with_kept_ahead`] asks for; `None` if there is none.
    pub fn refilled(&self) -> Option<Result<MadeAhead, Error>> {
        let running = self.refill.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let stopped = || oblivia_protocol::Error::Misuse("the session in the background panicked".into());
        Some(running.join().unwrap_or_else(|_| Err(stopped().into())))
    }

    /// Makes packs for `missing` images in the background, unless some are being made.
    fn refill(&self, again: Again, missing: u32) {
        let mut refill = self.refill.lock().unwrap_or_else(PoisonError::into_inner);
        if refill.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        let end = self.end.clone();
        let work = move || end.make_again(again, missing);
        match std::thread::Builder::new().name("oblivia-ahead".into()).spawn(work) {
            Ok(running) => *refill = Some(running),
            Err(error) => tracing::warn!(%error, "no packs are made ahead: there is no thread for it"),
        }
    }

    /// Who this client is to a server: what its operator lists to admit it.
    pub fn fingerprint(&self) -> Digest {
        self.end.tls.identity.fingerprint()
    }
}

/// What a session in the background asks for again, and the plan it is for.
struct Again {
    model: String,
    system: String,
    wish: Wish,
    max_time: Option<Duration>,
    plan: Digest,
}

impl End {
    fn session(
        &self,
        ask: Ask<'_>,
        purpose: Purpose,
        samples: u32,
        inputs: &mut (dyn FnMut(&PublicModel) -> Vec<oblivia_protocol::Answer> + Send),
    ) -> Result<Prediction, Error> {
        let began = Instant::now();
        let Ask { model, system, wish, max_time, confirm, observer } = ask;
        let request = Request { model: model.to_owned(), system: system.to_owned(), wish, purpose, samples };
        let packs = self.packs.as_ref().map(|packs| packs.of(None));
        let memory = KeyMemory { secrets: self.secrets.clone(), shelf: None, packs };
        let assurance = self.assurance();
        let question = Question { request, confirm, inputs, observer, memory, assurance, began };
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

    fn make_ahead(&self, ask: Ask<'_>, images: u32) -> Result<MadeAhead, Error> {
        let done = self.session(ask, Purpose::MakeAhead, images, &mut |_| Vec::new())?;
        let left = self.left(&done.receipt.plan, done.ends).unwrap_or(0);
        Ok(MadeAhead { receipt: done.receipt, left })
    }

    fn make_again(&self, again: Again, images: u32) -> Result<MadeAhead, Error> {
        let Again { model, system, wish, max_time, plan } = again;
        let mut confirm = |_: &PublicModel, offered: &Plan| match offered.digest() == plan {
            true => Ok(()),
            false => {
                let why = "the server offers another plan than a moment ago".into();
                Err(oblivia_protocol::Error::Refused { why })
            }
        };
        let (model, system, observer) = (&*model, &*system, &mut Silent);
        self.make_ahead(Ask { model, system, wish, max_time, confirm: &mut confirm, observer }, images)
    }

    /// Packs of a plan and the server at the other end that this side has.
    fn left(&self, plan: &Plan, ends: Option<Identities>) -> Option<u32> {
        let (packs, ends) = self.packs.as_ref().zip(ends)?;
        let system = oblivia_systems::find(&plan.choices.system)?.id();
        let (client, server) = (ends.own, ends.peer);
        Some(packs.left(&PackScope { system, client, server, plan: plan.digest() }))
    }

    /// Images for which packs are missing to `keep`, in whole groups, where there are packs at all.
    fn missing(&self, done: &Prediction, keep: u32) -> u32 {
        let plan = &done.receipt.plan;
        let group = plan.cost.group.max(1);
        let left = plan.cost.ahead.and_then(|_| self.left(plan, done.ends));
        left.map_or(0, |left| keep.div_ceil(group).saturating_sub(left).saturating_mul(group))
    }

    fn assurance(&self) -> String {
        let how = match &self.tls.server {
            ServerCheck::Pin(d) => format!("server pinned by key {}", d.short()),
            ServerCheck::Roots { name, .. } => format!("server certified as {name}"),
        };
        format!("TLS 1.3, {how}; the server is trusted to follow the protocol, nothing attests to that")
    }
}
