//! The contract a system fulfils.

use crate::channel::Channel;
use crate::cost::{AheadUse, OpCounts, Traffic};
use crate::error::Error;
use crate::keys::{KeyMemory, KeyUse};
use crate::plan::{Choices, Plan, Wish};
use crate::{BoxFuture, Role};
use oblivia_base::seed::EntropySource;
use oblivia_base::{Digest, SessionRng};
use oblivia_nn::fixed::{FixedModel, Nearest};
use oblivia_nn::quant::IntegerModel;
use oblivia_nn::{Graph, Model, NnError, Node, PublicModel, Tensor};
use rayon::ThreadPool;
use std::any::Any;
use std::sync::Arc;

/// Whether a system can run a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Support {
    /// As it is.
    Yes,
    /// After a change of the model, which is described.
    Rewrite(String),
    /// Not at all, because.
    No(String),
}

/// A model prepared by a system for serving under one plan: encoded weights, tables.
pub type Loaded = Arc<dyn Any + Send + Sync>;

/// What one role brings to a run.
pub enum Seat {
    /// The client's inputs, one tensor per sample.
    Client {
        /// What the server published and the plan was derived for.
        model: Arc<PublicModel>,
        /// The samples.
        inputs: Vec<Tensor>,
    },
    /// The server's prepared model, and how many samples were agreed.
    Server {
        /// From [`System::load`] under the same plan.
        loaded: Loaded,
        /// How many samples the session predicts.
        samples: u32,
    },
}

/// What a client has of one sample: its outputs, or why there are none.
///
/// A failure that depends on decrypted values stays here and changes nothing on the link: a server that saw which
/// replies a client rejects could learn about its key.
pub type Answer = Result<Tensor, Error>;

/// What a role has when a run is over.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The client's answers, one per sample.
    Outputs(Vec<Answer>),
    /// Nothing: the role served.
    Served,
}

/// What a run tells whoever watches; the watcher has the clock.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step of the setup begins.
    Setup(&'static str),
    /// Everything that happens once per session is done.
    Ready,
    /// Work ahead of a group of samples begins: the first of them. Where there is none, this is not said.
    Ahead(usize),
    /// What was made ahead of a group is kept for a later session: the first of its samples.
    Kept(usize),
    /// Work on a group of samples begins: the first of them. A server says so before it computes anything that depends on one:
    /// budgets count from here.
    SampleStarted(usize),
    /// A step of many within a group is done.
    Step {
        /// How many are.
        done: usize,
        /// Of so many.
        of: usize,
        /// The last of them.
        what: &'a str,
    },
    /// A sample is done. Those of a group are done one after the other.
    SampleDone {
        /// Which.
        index: usize,
        /// Its answer, on the client.
        output: Option<&'a Answer>,
        /// The online traffic of its group, with the last sample of it.
        traffic: Option<Traffic>,
    },
}

/// Watches a run.
pub trait Observer: Send {
    /// Called as things happen.
    fn on(&mut self, event: Event<'_>);
}

/// Watches nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Observer for Silent {
    fn on(&mut self, _: Event<'_>) {}
}

/// What a run is given by its surroundings.
pub struct Context<'a> {
    /// The links.
    pub channel: Channel,
    /// Randomness of this session.
    pub rng: SessionRng,
    /// Where heavy computation runs.
    pub pool: Arc<ThreadPool>,
    /// Digest of plan, roles, session and channel; enters every label derived in this session.
    pub session: Digest,
    /// Where keys outlive the session.
    pub memory: KeyMemory,
    /// How the server came by the client's keys; set by the system.
    pub keys: KeyUse,
    /// Where what is made ahead of images came from, or went; set by the system.
    pub ahead: AheadUse,
    /// Operations done so far by this role.
    pub ops: OpCounts,
    /// Who watches.
    pub observer: &'a mut dyn Observer,
}

/// A network that a plan computes in place of the float network.
#[derive(Debug)]
pub enum Reference {
    /// In whole numbers, exactly.
    Integers(IntegerModel),
    /// In fixed point, with results of layers rounded to nearest.
    FixedPoint(FixedModel),
}

impl Reference {
    /// Its outputs, in the model's units.
    ///
    /// # Errors
    /// As [`IntegerModel::eval`] and [`FixedModel::run`].
    pub fn eval(&self, input: &Tensor) -> Result<Tensor, NnError> {
        match self {
            Self::Integers(model) => model.eval(input),
            Self::FixedPoint(model) => {
                let network = model.network();
                let trace = model.run(&network.input(input)?, &mut Nearest)?;
                let output = trace.wires.get(network.graph().output().index());
                network.output(output.map_or(&[][..], Vec::as_slice))
            }
        }
    }
}

/// A piece of work whose time a planner wants to know.
pub struct Workload {
    /// Its name in [`crate::Wish::units`].
    pub name: String,
    /// Units of cost in one run: the value sought is picoseconds per unit.
    pub units: u64,
    /// Does the work once.
    pub run: Box<dyn FnMut() + Send>,
}

impl std::fmt::Debug for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workload")
            .field("name", &self.name)
            .field("units", &self.units)
            .finish_non_exhaustive()
    }
}

/// One way of predicting on data that the computing machine may not see.
///
/// `plan` and `check` look at public facts alone; `run` is direct-style role code.
pub trait System: Send + Sync {
    /// Short name, e.g. `leveled`.
    fn id(&self) -> &'static str;
    /// What it is, in one line.
    fn summary(&self) -> &'static str;
    /// Names of its modes; the first is the default.
    fn modes(&self) -> &'static [&'static str];
    /// Names of its plans; the first is the default.
    fn plans(&self) -> &'static [&'static str] {
        &[]
    }
    /// What to time so that plans are weighed with this machine's costs; `rng` makes the keys and ciphertexts for it.
    fn workloads(&self, _rng: &mut dyn EntropySource) -> Vec<Workload> {
        Vec::new()
    }
    /// The roles that take part.
    fn roles(&self) -> &'static [Role] {
        &[Role::Client, Role::Server]
    }
    /// Whether it can run a node.
    fn supports(&self, graph: &Graph, node: &Node) -> Support;
    /// Searches for the best plan.
    fn plan(&self, model: &PublicModel, wish: &Wish) -> Result<Plan, Error>;
    /// Derives the plan that follows from `choices`, or says why they are not acceptable.
    fn check(&self, model: &PublicModel, choices: &Choices) -> Result<Plan, Error>;
    /// Memory in bytes of what [`System::load`] makes of a model for a plan of `plan` or `check`, told before it is made;
    /// `None` where the system cannot tell. A server bounds by it what it keeps prepared, of all plans together.
    fn prepared_bytes(&self, _: &Plan, _: &PublicModel) -> Result<Option<u64>, Error> {
        Ok(None)
    }
    /// Whether plans of a mode, the empty one being the default, follow the link, the bytes and the group of a [`Wish`]. A server
    /// searches those of other modes once; a client that names no group refuses any but single samples where this is so.
    fn plans_for_links(&self, _mode: &str) -> bool {
        false
    }
    /// What [`System::load`] makes of one model for two plans is the same if this is.
    fn prepared_name(&self, plan: &Plan) -> Digest {
        plan.digest()
    }
    /// Prepares a model for serving under a plan of `plan` or `check`.
    fn load(&self, plan: &Plan, model: &Model, pool: &ThreadPool) -> Result<Loaded, Error>;
    /// The network that `plan` computes and its error bound is about, where it is not the float network.
    fn reference(&self, _: &Plan, _: &Model) -> Result<Option<Reference>, Error> {
        Ok(None)
    }
    /// Plays the role of `seat` to the end.
    fn run<'a>(
        &'a self,
        plan: &'a Plan,
        seat: Seat,
        cx: &'a mut Context<'_>,
    ) -> BoxFuture<'a, Result<Outcome, Error>>;
    /// Plays the role of `seat`, a client's without inputs, in a session that makes packs for `samples` samples and predicts
    /// nothing. For plans that say what this costs ([`crate::Cost::ahead`]).
    fn make_ahead<'a>(
        &'a self,
        _: &'a Plan,
        _: Seat,
        _samples: u32,
        _: &'a mut Context<'_>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let why = format!("system `{}` makes nothing ahead of images", self.id());
        Box::pin(async { Err(Error::Refused { why }) })
    }
}
