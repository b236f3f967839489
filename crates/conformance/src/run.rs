use oblivia::party::{self, Question};
use oblivia::{Machine, Models, Prediction, Served, load_image, load_model, served, tensor};
use oblivia_base::SessionRng;
use oblivia_net::memory;
use oblivia_nn::{Model, PublicModel, Tensor, eval};
use oblivia_protocol::session::{Agreed, Purpose, Request};
use oblivia_protocol::{Direction, Error, KeyMemory, Silent, System, Wire, Wish};
use std::any::Any;
use std::path::PathBuf;
use std::time::Instant;

/// A system on a model with inputs.
#[derive(Clone)]
pub struct Case {
    /// Id of the system.
    pub system: &'static str,
    /// Mode, plan, leaks accepted by the client and by the owner.
    pub wish: Wish,
    /// The model, as its owner has it.
    pub model: Model,
    /// The samples.
    pub inputs: Vec<Tensor>,
}

/// Both sides' accounts of one session.
#[derive(Debug)]
pub struct Pair {
    /// The client's.
    pub client: Prediction,
    /// The server's.
    pub server: Served,
}

impl Pair {
    /// Messages of client and server, where the machine kept a log.
    pub fn messages(&self) -> [usize; 2] {
        let log = self.client.log.as_ref().expect("the machine keeps a log");
        [Direction::Up, Direction::Down].map(|way| log.iter().filter(|m| m.direction == way).count())
    }
}

/// How a session that failed ended on each side; `None` where that side had what it wanted.
#[derive(Debug)]
pub struct Failed {
    /// The client's end.
    pub client: Option<Error>,
    /// The server's end.
    pub server: Option<Error>,
}

impl Case {
    /// The request a client of this case sends.
    pub fn request(&self) -> Request {
        Request {
            model: self.model.public.name.clone(),
            system: self.system.into(),
            wish: self.wish.clone(),
            purpose: Purpose::Predict,
            samples: self.inputs.len() as u32,
        }
    }

    /// A server's catalog with the model of this case.
    pub fn models(&self, machine: &Machine) -> Models {
        let mut models = Models::new(oblivia_systems::SYSTEMS, machine.pool.clone(), 100_000)
            .accepting(&self.wish.accepted_leaks);
        models.add(&self.model).expect("the model can be served");
        models
    }

    /// What the network gives on the inputs: in floats, or as the case's plan computes it.
    pub fn expected(&self) -> Vec<Tensor> {
        let served = served(&self.model).expect("the model can be served");
        let system = oblivia_systems::find(self.system).expect("a system of this build");
        let reference = match &served.public.fixed {
            None => None,
            Some(_) => {
                let plan = system.plan(&served.public, &self.wish).expect("a plan");
                system.reference(&plan, &served).expect("a reference")
            }
        };
        let one = |x: &Tensor| match &reference {
            Some(reference) => reference.eval(x).expect("the reference runs"),
            None => eval::run(&self.model, x).expect("the clear network runs"),
        };
        self.inputs.iter().map(one).collect()
    }
}

/// The repository's MNIST model with the first `images` shipped test images.
pub fn mnist(system: &'static str, wish: Wish, images: usize) -> Case {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let model = load_model(&root.join("models/mnist-cryptonets")).expect("the shipped model loads");
    let inputs = (0..images)
        .map(|i| {
            let image = load_image(&root.join(format!("samples/mnist/{i:04}.png"))).expect("a shipped image");
            tensor(&model.public, &image).expect("a shipped image fits the shipped model")
        })
        .collect();
    Case { system, wish, model, inputs }
}

/// Runs a case over a memory link with fixed randomness, both sides keeping what they see.
pub fn over_memory(case: &Case, seed: u64) -> Result<Pair, Box<Failed>> {
    let mut machine = Machine::new(1).expect("threads");
    machine.keep_log = true;
    with_models(case, &case.models(&machine), &machine, seed)
}

/// As [`over_memory`], with a server's catalog that may not be the case's own.
pub fn with_models(case: &Case, models: &Models, machine: &Machine, seed: u64) -> Result<Pair, Box<Failed>> {
    let (to_server, to_client) = memory::pair();
    both(
        || serve(Box::new(to_client), models, machine, KeyMemory::default(), seed ^ 0x5e7e),
        || ask(case, Box::new(to_server), machine, KeyMemory::default(), seed),
    )
}

/// A session of two ends, each in a thread of its own.
pub fn both(
    server: impl FnOnce() -> Result<Served, Error> + Send,
    client: impl FnOnce() -> Result<Prediction, Error>,
) -> Result<Pair, Box<Failed>> {
    std::thread::scope(|scope| {
        let server = scope.spawn(server);
        let client = client();
        match (client, server.join().expect("the server does not panic")) {
            (Ok(client), Ok(server)) => Ok(Pair { client, server }),
            (client, server) => Err(Box::new(Failed { client: client.err(), server: server.err() })),
        }
    })
}

/// The server's end of a session over `wire` with fixed randomness.
pub fn serve(
    wire: Box<dyn Wire>,
    models: &Models,
    machine: &Machine,
    memory: KeyMemory,
    seed: u64,
) -> Result<Served, Error> {
    let rng = SessionRng::insecure_seeded(seed);
    let admit = |_: &Agreed| Ok(Box::new(()) as Box<dyn Any + Send>);
    block_on(party::server(wire, models, rng, machine, &admit, memory, &mut Silent))
}

/// The client's end of a session of `case` over `wire` with fixed randomness.
pub fn ask(
    case: &Case,
    wire: Box<dyn Wire>,
    machine: &Machine,
    memory: KeyMemory,
    seed: u64,
) -> Result<Prediction, Error> {
    let systems = oblivia_systems::SYSTEMS;
    ask_with(systems, case.request(), &case.inputs, wire, machine, memory, seed)
}

/// As [`ask`], with systems, a request and inputs that may not be the case's own.
pub fn ask_with(
    systems: &[&'static dyn System],
    request: Request,
    inputs: &[Tensor],
    wire: Box<dyn Wire>,
    machine: &Machine,
    memory: KeyMemory,
    seed: u64,
) -> Result<Prediction, Error> {
    let question = Question {
        request,
        confirm: &mut |_, _| Ok(()),
        inputs: &mut |_: &PublicModel| inputs.iter().cloned().map(Ok).collect(),
        observer: &mut Silent,
        memory,
        assurance: "none: both sides in one process".into(),
        began: Instant::now(),
    };
    block_on(party::client(wire, systems, SessionRng::insecure_seeded(seed), machine, question))
}

/// Runs a future to its end on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}
