//! One session of one party over any wire: agree, run, account.

use oblivia_base::SessionRng;
use oblivia_nn::{PublicModel, Tensor};
use oblivia_protocol::session::{self, Agreed, Catalog, Purpose, Request};
use oblivia_protocol::{
    AheadUse, Allowance, Answer, Channel, Context, Error, Event, Identities, KeyMemory, KeyReceipt, KeyUse,
    LoggedMessage, Observer, OpCounts, Outcome, Permits, PhaseTraffic, Plan, Receipt, Role, Seat, Seconds,
    System, Traffic, Wire,
};
use rayon::ThreadPool;
use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where a party computes, and whether it keeps what it sees of the link.
#[derive(Clone)]
pub struct Machine {
    /// The threads for heavy computation.
    pub pool: Arc<ThreadPool>,
    /// Turns at computing among the sessions of this process.
    pub permits: Arc<Permits>,
    /// Keeps every message body, for leak tests.
    pub keep_log: bool,
}

impl Machine {
    /// `threads` threads (0: one per core), computing for one session at a time.
    pub fn new(threads: usize) -> Result<Self, Error> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("oblivia-compute-{i}"))
            .build()
            .map_err(|e| Error::Resource { what: "threads", why: e.to_string() })?;
        Ok(Self { pool: Arc::new(pool), permits: Arc::new(Permits::new(1)), keep_log: false })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }
}

/// One group of samples ([`Cost::group`](oblivia_protocol::Cost::group); a single one in most modes) as the watcher's
/// clock saw it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleRecord {
    /// Online time of the group.
    pub seconds: f64,
    /// Online traffic of the group.
    pub traffic: Traffic,
}

/// What a client has at the end.
#[derive(Debug)]
pub struct Prediction {
    /// The public model.
    pub model: Arc<PublicModel>,
    /// One answer per input: the outputs, or why there are none.
    pub outputs: Vec<Answer>,
    /// One record per group of inputs, in order.
    pub samples: Vec<SampleRecord>,
    /// What it cost and who learned what.
    pub receipt: Receipt,
    /// Who was at the ends of the link, where they are authenticated.
    pub ends: Option<Identities>,
    /// Everything that was on the link, if the machine keeps it.
    pub log: Option<Vec<LoggedMessage>>,
}

impl Prediction {
    /// The record of the group that input `i` was in.
    pub fn record(&self, i: usize) -> Option<&SampleRecord> {
        self.samples.get(i / self.receipt.plan.cost.group.max(1) as usize)
    }

    /// The label of output `i`: the published name of the largest value, or its index where none is published.
    /// `None` where there is no answer.
    pub fn label(&self, i: usize) -> Option<String> {
        let best = self.outputs.get(i)?.as_ref().ok()?.argmax()?;
        Some(self.model.labels.get(best).cloned().unwrap_or_else(|| best.to_string()))
    }
}

/// What a server has at the end of a session.
#[derive(Debug)]
pub struct Served {
    /// The plan that ran.
    pub plan: Arc<Plan>,
    /// Samples predicted.
    pub samples: u32,
    /// Everything that was sent and received.
    pub traffic: PhaseTraffic,
    /// How the client's evaluation keys came here.
    pub keys: KeyReceipt,
    /// Where what is made ahead of images came from, or went.
    pub ahead: AheadUse,
    /// Operations done.
    pub ops: OpCounts,
    /// Everything that was on the link, if the machine keeps it.
    pub log: Option<Vec<LoggedMessage>>,
}

/// A client's question.
pub struct Question<'a> {
    /// Model, system, wish, number of samples.
    pub request: Request,
    /// Sees model and plan before anything is promised and may refuse.
    pub confirm: &'a mut (dyn FnMut(&PublicModel, &Plan) -> Result<(), Error> + Send),
    /// Makes the inputs as the public model wants them; as many as requested, none in a session that only makes packs. One that cannot be made is replaced by
    /// zeros: the server, which chose what the model wants, must not see which inputs are of that kind.
    pub inputs: &'a mut (dyn FnMut(&PublicModel) -> Vec<Answer> + Send),
    /// Watches.
    pub observer: &'a mut dyn Observer,
    /// Where keys outlive the session.
    pub memory: KeyMemory,
    /// How far the other side is trusted, for the receipt.
    pub assurance: String,
    /// When the session began, connecting included.
    pub began: Instant,
}

/// Plays the client on `wire`.
pub async fn client(
    wire: Box<dyn Wire>,
    systems: &[&'static dyn System],
    mut rng: SessionRng,
    machine: &Machine,
    question: Question<'_>,
) -> Result<Prediction, Error> {
    let mut channel = Channel::with_peer(Role::Client, Role::Server, wire);
    if machine.keep_log {
        channel.keep_log();
    }
    let Question { request, confirm, inputs, observer, mut memory, assurance, began } = question;
    let agreed = session::agree_as_client(&mut channel, &mut rng, systems, &request, confirm).await;
    let agreed = told(&mut channel, agreed).await?;
    if memory.packs.is_some() && !request.wish.admits_packs(&agreed.plan) {
        tracing::info!(
            "packs are not used: with them the plan takes more memory than is allowed (--max-memory)"
        );
        memory.packs = None;
    }
    let made = inputs(&agreed.model);
    let predicted = if agreed.purpose == Purpose::Predict { request.samples } else { 0 };
    if made.len() != predicted as usize {
        let why = format!("{} inputs made where {predicted} were announced", made.len());
        return told(&mut channel, Err(Error::Misuse(why))).await;
    }
    let zeros = Tensor::zeros(agreed.model.graph.input_shape().clone());
    let (inputs, unfit): (Vec<Tensor>, Vec<Option<Answer>>) = made
        .into_iter()
        .map(|made| match made {
            Ok(input) => (input, None),
            Err(e) => (zeros.clone(), Some(Err(e))),
        })
        .unzip();
    let mut watch = Watch {
        observer,
        began,
        ready: None,
        ahead: None,
        offline: Duration::ZERO,
        started: None,
        samples: Vec::new(),
        unfit,
    };
    let seat = Seat::Client { model: agreed.model.clone(), inputs };
    let ends = channel.identities(Role::Server);
    let Ran { outcome, channel, ops, keys, ahead } =
        run(&agreed, seat, channel, rng, machine, memory, &mut watch).await?;
    let outputs = match outcome {
        Outcome::Outputs(outputs) => outputs,
        Outcome::Served if agreed.purpose == Purpose::MakeAhead => Vec::new(),
        Outcome::Served => {
            let why = format!("system `{}` gave the client no outputs", agreed.system.id());
            return Err(Error::Misuse(why));
        }
    };
    let outputs = outputs.into_iter().zip(watch.unfit).map(|(o, unfit)| unfit.unwrap_or(o)).collect();
    let ready = watch.ready.unwrap_or(began);
    let mut agreement = session::agreement_traffic(&request, &agreed.model, &agreed.plan);
    agreement.down_bytes += agreed.allowance.map_or(0, |_| Allowance::BYTES);
    let receipt = Receipt {
        schema: Receipt::SCHEMA,
        model: agreed.model.name.clone(),
        plan: (*agreed.plan).clone(),
        plan_id: agreed.plan.digest().short(),
        samples: u64::from(agreed.samples),
        keys: KeyReceipt::of(&agreed.plan, keys),
        ahead,
        agreement,
        traffic: *channel.meter().traffic(),
        ops,
        seconds: Seconds {
            setup: ready.duration_since(began).as_secs_f64(),
            offline: watch.offline.as_secs_f64(),
            online: ready.elapsed().saturating_sub(watch.offline).as_secs_f64(),
        },
        threads: machine.threads(),
        allowance: agreed.allowance,
        assurance,
    };
    let log = channel.meter().log().map(<[_]>::to_vec);
    Ok(Prediction { model: agreed.model, outputs, samples: watch.samples, receipt, ends, log })
}

/// Makes room for a session, or refuses it; the room is given back when the returned value is dropped.
pub type Admit<'a> = dyn Fn(&Agreed) -> Result<Box<dyn Any + Send>, Error> + Send + Sync + 'a;

/// Plays the server on `wire`. What is in `memory` is for the client at its other end alone.
pub async fn server(
    wire: Box<dyn Wire>,
    catalog: &dyn Catalog,
    mut rng: SessionRng,
    machine: &Machine,
    admit: &Admit<'_>,
    memory: KeyMemory,
    observer: &mut dyn Observer,
) -> Result<Served, Error> {
    let mut channel = Channel::with_peer(Role::Server, Role::Client, wire);
    if machine.keep_log {
        channel.keep_log();
    }
    let agreed = session::agree_as_server(&mut channel, &mut rng, catalog).await;
    let (agreed, loaded) = told(&mut channel, agreed).await?;
    let admitted = admit(&agreed);
    let _room = told(&mut channel, admitted).await?;
    let seat = Seat::Server { loaded, samples: agreed.samples };
    let Ran { channel, ops, keys, ahead, .. } =
        run(&agreed, seat, channel, rng, machine, memory, observer).await?;
    let keys = KeyReceipt::of(&agreed.plan, keys);
    let traffic = *channel.meter().traffic();
    let log = channel.meter().log().map(<[_]>::to_vec);
    Ok(Served { plan: agreed.plan, samples: agreed.samples, traffic, keys, ahead, ops, log })
}

/// A session that is over.
struct Ran {
    outcome: Outcome,
    channel: Channel,
    ops: OpCounts,
    keys: KeyUse,
    ahead: AheadUse,
}

async fn run(
    agreed: &Agreed,
    seat: Seat,
    mut channel: Channel,
    rng: SessionRng,
    machine: &Machine,
    memory: KeyMemory,
    observer: &mut dyn Observer,
) -> Result<Ran, Error> {
    if matches!(seat, Seat::Server { .. }) {
        channel.take_turns(machine.permits.clone());
    }
    let mut cx = Context {
        channel,
        rng,
        pool: machine.pool.clone(),
        session: agreed.session,
        memory,
        keys: KeyUse::default(),
        ahead: AheadUse::default(),
        ops: OpCounts::default(),
        observer,
    };
    let (system, plan) = (agreed.system, &agreed.plan);
    let outcome = match agreed.purpose {
        Purpose::Predict => system.run(plan, seat, &mut cx).await,
        Purpose::MakeAhead => {
            system.make_ahead(plan, seat, agreed.samples, &mut cx).await.map(|()| Outcome::Served)
        }
    };
    let (mut channel, ops, keys, ahead) = (cx.channel, cx.ops, cx.keys, cx.ahead);
    channel.leave_turns();
    let outcome = told(&mut channel, outcome).await?;
    channel.finish().await?;
    Ok(Ran { outcome, channel, ops, keys, ahead })
}

/// On an error, lets the peer know that the session is over.
async fn told<T>(channel: &mut Channel, result: Result<T, Error>) -> Result<T, Error> {
    if let Err(e) = &result {
        channel.abort(e).await;
    }
    result
}

/// Puts a clock beside an observer, and shows it no answer to zeros.
struct Watch<'a> {
    observer: &'a mut dyn Observer,
    began: Instant,
    ready: Option<Instant>,
    /// Since when work is done ahead of a group.
    ahead: Option<Instant>,
    offline: Duration,
    started: Option<Instant>,
    samples: Vec<SampleRecord>,
    /// The errors of inputs that zeros stand for.
    unfit: Vec<Option<Answer>>,
}

impl Observer for Watch<'_> {
    fn on(&mut self, event: Event<'_>) {
        match &event {
            Event::Ready => self.ready = Some(Instant::now()),
            Event::Ahead(_) => self.ahead = Some(Instant::now()),
            Event::Kept(_) => {
                self.offline += self.ahead.take().map_or(Duration::ZERO, |since| since.elapsed());
            }
            Event::SampleStarted(_) => {
                self.offline += self.ahead.take().map_or(Duration::ZERO, |since| since.elapsed());
                self.started = Some(Instant::now());
            }
            Event::SampleDone { traffic: Some(traffic), .. } => {
                let started = self.started.take().unwrap_or(self.began);
                let seconds = started.elapsed().as_secs_f64();
                self.samples.push(SampleRecord { seconds, traffic: *traffic });
            }
            Event::SampleDone { traffic: None, .. } | Event::Setup(_) | Event::Step { .. } => {}
        }
        self.observer.on(match event {
            Event::SampleDone { index, output, traffic } => {
                let unfit = self.unfit.get(index).and_then(Option::as_ref);
                Event::SampleDone { index, output: unfit.or(output), traffic }
            }
            other => other,
        });
    }
}
