//! The server: encoded weights, validation, the circuit.

use super::client::sample_label;
use super::messages::{self, INPUT, OUTPUT, invalid, key_terms};
use super::plan::{Derived, derive};
use crate::common::keys;
use oblivia_he::Ciphertext;
use oblivia_he::ckks::{Encoder, Evaluator};
use oblivia_nn::Model;
use oblivia_pack::{CkksError, CkksPlain, CkksSlots};
use oblivia_protocol::{Context, Error, Event, Expect, Outcome, Phase, Plan, Role};
use rayon::ThreadPool;
use rayon::prelude::*;

/// A model's weights as plaintexts of one plan, shared by all sessions.
pub(super) struct Prepared {
    d: Derived,
    plains: Vec<CkksPlain>,
}

impl Prepared {
    pub(super) fn new(plan: &Plan, model: &Model, pool: &ThreadPool) -> Result<Self, Error> {
        let d = derive(&model.public, &plan.choices)?;
        model.weights.belong_to(&model.public.graph).map_err(|e| Error::Input(e.to_string()))?;
        let encoder = Encoder::new(&d.params);
        let plains = d.circuit.plains(&model.weights);
        if plains.len() != d.plains.len() {
            let why = format!("{} plaintexts planned, {} made", d.plains.len(), plains.len());
            return Err(Error::Misuse(why));
        }
        let prepare = || {
            let used = plains.into_par_iter().zip(&d.plains);
            used.map(|(p, at)| match d.deferred && at.extended {
                true => CkksPlain::defer(&encoder, &p, *at),
                false => CkksPlain::prepare(&encoder, &p, *at),
            })
            .collect::<Result<Vec<_>, _>>()
        };
        let plains = pool.install(prepare).map_err(|e| Error::NumericBound {
            what: format!("a weight of `{}`", model.public.name),
            why: e.to_string(),
        })?;
        Ok(Self { d, plains })
    }
}

pub(super) async fn run(
    prepared: &Prepared,
    plan: &Plan,
    samples: u32,
    cx: &mut Context<'_>,
) -> Result<Outcome, Error> {
    let d = &prepared.d;
    let pool = cx.pool.clone();
    let evaluator = Evaluator::new(keys::as_server(key_terms(d, plan), cx).await?);
    cx.observer.on(Event::Ready);
    for index in 0..samples as usize {
        cx.channel.enter(Phase::Online);
        let before = cx.channel.meter().traffic().online;
        let body = cx.channel.recv(Role::Client, Expect::exactly(INPUT, d.input_bytes)).await?;
        cx.observer.on(Event::SampleStarted(index));
        let label = sample_label(&cx.session.0, index);
        let reply = pool.install(|| predict(prepared, &evaluator, &label, &body))?;
        cx.ops += evaluator.take_counts();
        cx.channel.send(Role::Client, OUTPUT, reply).await?;
        let traffic = Some(cx.channel.meter().traffic().online.since(before));
        cx.observer.on(Event::SampleDone { index, output: None, traffic });
    }
    Ok(Outcome::Served)
}

fn predict(prepared: &Prepared, evaluator: &Evaluator, label: &[u8], body: &[u8]) -> Result<Vec<u8>, Error> {
    let d = &prepared.d;
    let seeded = messages::read_input(d, body)?;
    let xs: Vec<Ciphertext> = seeded
        .par_iter()
        .map(|ct| ct.expand(&d.params, label))
        .collect::<Result<_, _>>()
        .map_err(|e| invalid("Input", &e))?;
    let mut slots = CkksSlots::new(evaluator);
    let ys = d.circuit.run(&mut slots, &xs, &prepared.plains).map_err(|e| match e {
        CkksError::He(e) => Error::Misuse(format!("the circuit does not fit its plan: {e}")),
        e => Error::Misuse(e.to_string()),
    })?;
    let mut w = oblivia_base::codec::Writer::with_capacity(d.output_bytes);
    ys.iter().for_each(|y| y.encode(&mut w));
    Ok(w.into_bytes())
}
