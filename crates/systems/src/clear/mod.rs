#![doc = include_str!("README.md")]

use crate::common::{TwoSeats, inherent_leaks, statement, trust, two_seats};
use oblivia_nn::{Graph, Model, Node, PublicModel, Shape, Tensor, eval};
use oblivia_protocol::session::model_digest;
use oblivia_protocol::{
    Behaviour, BoxFuture, Choices, Context, Cost, Error, ErrorBound, Event, Expect, HEADER_BYTES, Kind, Leak,
    Loaded, OpCounts, Outcome, Phase, Plan, Role, Seat, Support, System, Traffic, Wish,
};
use rayon::ThreadPool;
use std::sync::Arc;

pub mod fuzz;

/// The system.
#[derive(Debug, Clone, Copy)]
pub struct Clear;

const INPUT: Kind = Kind::System(0);
const OUTPUT: Kind = Kind::System(1);

impl System for Clear {
    fn id(&self) -> &'static str {
        "clear"
    }

    fn summary(&self) -> &'static str {
        "no protection: the server sees the input; the reference the others are compared with"
    }

    fn modes(&self) -> &'static [&'static str] {
        &["float"]
    }

    fn supports(&self, _: &Graph, _: &Node) -> Support {
        Support::Yes
    }

    fn plan(&self, model: &PublicModel, wish: &Wish) -> Result<Plan, Error> {
        let named = |what: &str, wanted: &Option<String>, have: &str| match wanted {
            Some(w) if w != have => {
                Err(Error::Input(format!("system `clear` has one {what}, `{have}`, not `{w}`")))
            }
            _ => Ok(()),
        };
        named("mode", &wish.mode, "float")?;
        named("plan", &wish.plan, "float")?;
        self.check(model, &choices())
    }

    fn check(&self, model: &PublicModel, given: &Choices) -> Result<Plan, Error> {
        if *given != choices() {
            return Err(Error::InvalidMessage { message: "Offer", why: "choices of another system".into() });
        }
        let (input, output) = (model.graph.input_shape(), model.graph.output_shape());
        let mut leaks = inherent_leaks(model, "how many samples are predicted, and when", false);
        leaks.push(statement(Role::Server, Leak::Input, "every input, in clear"));
        Ok(Plan {
            choices: choices(),
            model: model_digest(model),
            cost: Cost {
                online: Traffic {
                    up_bytes: HEADER_BYTES + bytes(input) as u64,
                    down_bytes: HEADER_BYTES + bytes(output) as u64,
                    rounds: 2,
                },
                ops: OpCounts::default(),
                ..Cost::default()
            },
            key_bytes: 0,
            session_memory_bytes: 0,
            work_memory_bytes: 0,
            client_memory_bytes: 0,
            security_bits: 0,
            predicted_us: 0,
            parameters: "none: nothing is encrypted but the connection".into(),
            error: ErrorBound::exact(),
            leaks,
            trust: vec![
                trust(Role::Server, Behaviour::SemiHonest, "it sees every input"),
                trust(Role::Server, Behaviour::Malicious, "it sees every input and may answer anything"),
                trust(Role::Client, Behaviour::Malicious, "it can rebuild the model from enough outputs"),
            ],
            steps: model.graph.nodes().iter().map(|n| format!("{}: {}", n.name, n.op)).collect(),
        })
    }

    fn prepared_bytes(&self, _: &Plan, model: &PublicModel) -> Result<Option<u64>, Error> {
        Ok(Some(model.graph.weights().iter().map(|w| bytes(&w.shape) as u64).sum()))
    }

    fn load(&self, _: &Plan, model: &Model, _: &ThreadPool) -> Result<Loaded, Error> {
        Ok(Arc::new(model.clone()))
    }

    fn run<'a>(
        &'a self,
        _: &'a Plan,
        seat: Seat,
        cx: &'a mut Context<'_>,
    ) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(async move {
            match two_seats::<Model>(seat, self.id())? {
                TwoSeats::Client(model, inputs) => client(&model, inputs, cx).await,
                TwoSeats::Server(model, samples) => server(&model, samples, cx).await,
            }
        })
    }
}

fn choices() -> Choices {
    Choices { system: "clear".into(), mode: "float".into(), plan: "float".into(), bytes: Vec::new() }
}

fn bytes(shape: &Shape) -> usize {
    4 * shape.elements()
}

async fn client(model: &PublicModel, inputs: Vec<Tensor>, cx: &mut Context<'_>) -> Result<Outcome, Error> {
    cx.observer.on(Event::Ready);
    let shape = model.graph.output_shape();
    let mut outputs = Vec::with_capacity(inputs.len());
    for (index, input) in inputs.iter().enumerate() {
        cx.observer.on(Event::SampleStarted(index));
        cx.channel.enter(Phase::Online);
        let before = cx.channel.meter().traffic().online;
        cx.channel.send(Role::Server, INPUT, to_bytes(input)).await?;
        let body = cx.channel.recv(Role::Server, Expect::exactly(OUTPUT, bytes(shape))).await?;
        let output = Ok(from_bytes(&body, shape.clone(), "Output")?);
        let traffic = Some(cx.channel.meter().traffic().online.since(before));
        cx.observer.on(Event::SampleDone { index, output: Some(&output), traffic });
        outputs.push(output);
    }
    Ok(Outcome::Outputs(outputs))
}

async fn server(model: &Model, samples: u32, cx: &mut Context<'_>) -> Result<Outcome, Error> {
    let shape = model.public.graph.input_shape().clone();
    cx.observer.on(Event::Ready);
    for index in 0..samples as usize {
        cx.channel.enter(Phase::Online);
        let before = cx.channel.meter().traffic().online;
        let body = cx.channel.recv(Role::Client, Expect::exactly(INPUT, bytes(&shape))).await?;
        cx.observer.on(Event::SampleStarted(index));
        let input = from_bytes(&body, shape.clone(), "Input")?;
        let output = cx.pool.install(|| eval::run(model, &input));
        let output =
            output.map_err(|e| Error::NumericBound { what: "the network".into(), why: e.to_string() })?;
        cx.channel.send(Role::Client, OUTPUT, to_bytes(&output)).await?;
        let traffic = Some(cx.channel.meter().traffic().online.since(before));
        cx.observer.on(Event::SampleDone { index, output: None, traffic });
    }
    Ok(Outcome::Served)
}

fn to_bytes(t: &Tensor) -> Vec<u8> {
    t.data().iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn from_bytes(body: &[u8], shape: Shape, message: &'static str) -> Result<Tensor, Error> {
    let invalid = |why: String| Error::InvalidMessage { message, why };
    let (words, rest) = body.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(invalid(format!("{} bytes behind the last value", rest.len())));
    }
    let data: Vec<f32> = words.iter().map(|w| f32::from_le_bytes(*w)).collect();
    if !data.iter().all(|v| v.is_finite()) {
        return Err(invalid("a value is not finite".into()));
    }
    Tensor::new(shape, data).map_err(|e| invalid(e.to_string()))
}
