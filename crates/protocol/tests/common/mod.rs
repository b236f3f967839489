//! A toy system and a toy wire, so that sessions can be tried without networks and cryptography.
#![allow(dead_code, reason = "each test binary uses a part: no expectation holds in all of them")]

use oblivia_base::codec::Decode;
use oblivia_base::{Digest, Prg};
use oblivia_nn::{Graph, InputSpec, Model, Node, OutputPolicy, PublicModel, Shape};
use oblivia_protocol::session::{
    self, Agreed, Catalog, Hello, Offered, Purpose, Request, agree_as_client, agree_as_server, model_digest,
};
use oblivia_protocol::{
    Behaviour, BoxFuture, Channel, Choices, Context, Cost, Error, ErrorBound, Expect, Identities, Kind, Leak,
    LeakStatement, LinkError, Loaded, Notice, OpCounts, Outcome, Plan, Role, Seat, Support, System, Traffic,
    TrustRow, Wire, Wish,
};
use rayon::ThreadPool;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context as Task, Poll, Waker};
use std::thread;

/// Runs a future that never has to wait for anything but its own thread.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Task::from_waker(Waker::noop())) {
        Poll::Ready(out) => out,
        Poll::Pending => unreachable!("toy wires block the thread"),
    }
}

/// One end of a pair of queues; a receive blocks the thread.
pub(crate) struct ToyWire {
    out: Option<Sender<(Kind, Vec<u8>)>>,
    inbox: Receiver<(Kind, Vec<u8>)>,
    pub(crate) binding: Option<[u8; 32]>,
    pub(crate) ends: Option<Identities>,
}

/// Two connected ends without binding and identities.
pub(crate) fn pair() -> (ToyWire, ToyWire) {
    let (a_out, b_in) = channel();
    let (b_out, a_in) = channel();
    let end = |out, inbox| ToyWire { out: Some(out), inbox, binding: None, ends: None };
    (end(a_out, a_in), end(b_out, b_in))
}

impl ToyWire {
    fn push(&mut self, kind: Kind, body: Vec<u8>) -> Result<(), LinkError> {
        let closed = LinkError::Closed { during: "sending" };
        self.out.as_ref().and_then(|out| out.send((kind, body)).ok()).ok_or(closed)
    }

    fn take(&mut self, expect: Expect) -> Result<Vec<u8>, LinkError> {
        match self.inbox.recv() {
            Err(_) => Err(LinkError::Closed { during: "receiving" }),
            Ok((Kind::Abort, body)) => Err(LinkError::Aborted(Notice::from_bytes(&body).unwrap())),
            Ok((kind, body)) => expect.check(kind, body.len()).map(|()| body),
        }
    }

    /// Everything that has arrived and nobody has received, after the other end is gone.
    pub(crate) fn left(&self) -> Vec<(Kind, Vec<u8>)> {
        self.inbox.iter().collect()
    }
}

impl Wire for ToyWire {
    fn send(&mut self, kind: Kind, body: Vec<u8>) -> BoxFuture<'_, Result<(), LinkError>> {
        Box::pin(async move { self.push(kind, body) })
    }
    fn recv(&mut self, expect: Expect) -> BoxFuture<'_, Result<Vec<u8>, LinkError>> {
        Box::pin(async move { self.take(expect) })
    }
    fn finish(&mut self) -> BoxFuture<'_, Result<(), LinkError>> {
        self.out = None;
        Box::pin(async { Ok(()) })
    }
    fn binding(&self) -> Option<[u8; 32]> {
        self.binding
    }
    fn identities(&self) -> Option<Identities> {
        self.ends
    }
}

/// A system with plans `small`, `large` and `pairs`, which takes two samples at a time, that never runs. Groups can be asked for
/// in mode `linked`.
pub(crate) struct Toy;

pub(crate) static TOY: Toy = Toy;
pub(crate) static SYSTEMS: &[&dyn System] = &[&TOY];

impl System for Toy {
    fn id(&self) -> &'static str {
        "toy"
    }
    fn summary(&self) -> &'static str {
        "for tests"
    }
    fn modes(&self) -> &'static [&'static str] {
        &["plain"]
    }
    fn supports(&self, _: &Graph, _: &Node) -> Support {
        Support::Yes
    }
    fn plan(&self, model: &PublicModel, wish: &Wish) -> Result<Plan, Error> {
        let plan = wish.plan.clone().unwrap_or_else(|| "small".into());
        self.check(model, &Choices { system: "toy".into(), mode: "plain".into(), plan, bytes: vec![7] })
    }
    fn check(&self, model: &PublicModel, choices: &Choices) -> Result<Plan, Error> {
        if choices.bytes != [7] {
            return Err(Error::Refused { why: "a toy chooses 7".into() });
        }
        Ok(plan(model, choices.clone()))
    }
    fn plans_for_links(&self, mode: &str) -> bool {
        mode == "linked"
    }
    fn load(&self, _: &Plan, _: &Model, _: &ThreadPool) -> Result<Loaded, Error> {
        Ok(Arc::new(()))
    }
    fn run<'a>(
        &'a self,
        _: &'a Plan,
        _: Seat,
        _: &'a mut Context<'_>,
    ) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(async { Err(Error::Misuse("a toy does not run".into())) })
    }
}

/// A plan with something in every field.
pub(crate) fn plan(model: &PublicModel, choices: Choices) -> Plan {
    let statement = |leak: Leak| LeakStatement { to: Role::Server, leak, detail: leak.name().into() };
    Plan {
        model: model_digest(model),
        cost: Cost {
            group: if choices.plan == "pairs" { 2 } else { 1 },
            setup: Traffic { up_bytes: 1000, down_bytes: 10, rounds: 1 },
            setup_reused: Traffic { up_bytes: 12, down_bytes: 10, rounds: 1 },
            offline: Traffic { up_bytes: 3, down_bytes: 4, rounds: 2 },
            online: Traffic { up_bytes: 100, down_bytes: 20, rounds: 2 },
            ops: OpCounts { rotations: 1, add: 9, ..OpCounts::default() },
            ahead: None,
        },
        key_bytes: 988,
        session_memory_bytes: 4000,
        work_memory_bytes: 0,
        client_memory_bytes: 0,
        security_bits: 128,
        parameters: "none".into(),
        predicted_us: 7,
        error: ErrorBound { units_2_32: 77, assumption: "none".into(), measured: false },
        leaks: match choices.plan.as_str() {
            "large" => vec![statement(Leak::SampleCount), statement(Leak::Input)],
            _ => vec![statement(Leak::SampleCount)],
        },
        trust: vec![TrustRow {
            role: Role::Server,
            behaviour: Behaviour::Malicious,
            breaks: "everything".into(),
        }],
        steps: vec!["one".into(), "two".into()],
        choices,
    }
}

/// A model without any layer.
pub(crate) fn model(name: &str) -> PublicModel {
    PublicModel {
        name: name.into(),
        graph: Graph::new("x", Shape::new([3]).unwrap()),
        labels: vec!["a".into(), "b".into(), "c".into()],
        input: InputSpec::Tensor,
        input_range: [0.0, 1.0],
        output: OutputPolicy::Logits,
        fixed: None,
    }
}

/// Offers one model; `change` spoils the plan that is offered.
pub(crate) struct Shelf {
    pub(crate) change: fn(&mut Plan),
}

impl Catalog for Shelf {
    fn offer(&self, hello: &Hello) -> Result<Offered, Error> {
        if hello.model != "m" {
            return Err(Error::UnknownModel { name: hello.model.clone(), known: "m".into() });
        }
        let model = model("m");
        let wanted = (!hello.plan.is_empty()).then(|| hello.plan.clone());
        let mut plan = TOY.plan(&model, &Wish { plan: wanted, ..Wish::default() })?;
        (self.change)(&mut plan);
        Ok(Offered {
            model: Arc::new(model),
            plan: Arc::new(plan),
            system: &TOY,
            loaded: Arc::new(()),
            allowance: None,
        })
    }
}

pub(crate) fn request() -> Request {
    Request {
        model: "m".into(),
        system: "toy".into(),
        wish: Wish::default(),
        purpose: Purpose::Predict,
        samples: 3,
    }
}

pub(crate) fn prg(label: &str) -> Prg {
    Prg::new(&[5; 32], "test", &[label.as_bytes()])
}

pub(crate) type Side = (Result<Agreed, Error>, Channel);

/// The client's side, which tells its peer of an error.
pub(crate) fn client(wire: ToyWire, request: &Request, label: &str) -> Side {
    client_who(wire, request, label, &mut |_, _| Ok(()))
}

/// As [`client`], with a user who decides.
pub(crate) fn client_who(
    wire: ToyWire,
    request: &Request,
    label: &str,
    confirm: &mut (dyn FnMut(&PublicModel, &Plan) -> Result<(), Error> + Send),
) -> Side {
    let mut channel = Channel::with_peer(Role::Client, Role::Server, Box::new(wire));
    channel.keep_log();
    let agreed = run(agree_as_client(&mut channel, &mut prg(label), SYSTEMS, request, confirm));
    if let Err(e) = &agreed {
        run(channel.abort(e));
    }
    (agreed, channel)
}

/// The server's side, which tells its peer of an error.
pub(crate) fn server(wire: ToyWire, shelf: &Shelf) -> Side {
    let mut channel = Channel::with_peer(Role::Server, Role::Client, Box::new(wire));
    channel.keep_log();
    let agreed = run(agree_as_server(&mut channel, &mut prg("server"), shelf)).map(|(agreed, _)| agreed);
    if let Err(e) = &agreed {
        run(channel.abort(e));
    }
    (agreed, channel)
}

/// Both sides over `wires` (client's end first).
pub(crate) fn both(wires: (ToyWire, ToyWire), request: &Request, shelf: &Shelf) -> (Side, Side) {
    thread::scope(|scope| {
        let server = scope.spawn(|| server(wires.1, shelf));
        let client = client(wires.0, request, "client");
        (client, server.join().unwrap())
    })
}

/// An honest shelf.
pub(crate) fn shelf() -> Shelf {
    Shelf { change: |_| {} }
}

/// The hello of [`request`].
pub(crate) fn hello() -> Hello {
    Hello {
        min_version: session::VERSION,
        max_version: session::VERSION,
        model: "m".into(),
        system: "toy".into(),
        mode: String::new(),
        plan: String::new(),
        link: None,
        max_bytes: None,
        group: None,
        purpose: Purpose::Predict,
        samples: 3,
        nonce: [1; 32],
    }
}

pub(crate) fn who(byte: u8) -> Digest {
    Digest([byte; 32])
}
