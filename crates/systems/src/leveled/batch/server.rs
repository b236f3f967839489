//! The server: weights as scalars, validation, the circuits over a group.

use super::super::client::sample_label;
use super::super::messages::{INPUT, OUTPUT};
use super::plan::{Derived, derive};
use super::wire;
use crate::common::keys;
use oblivia_he::Ciphertext;
use oblivia_he::ckks::{Encoder, Evaluator};
use oblivia_nn::Model;
use oblivia_pack::{CkksError, CkksPlain, CkksSlots};
use oblivia_protocol::{Context, Error, Event, Expect, Outcome, Phase, Plan, Role};
use rayon::ThreadPool;
use rayon::prelude::*;

/// A model's weights as plaintexts of one plan, shared by all sessions.
pub(crate) struct Prepared {
    pub(super) d: Derived,
    plains: Vec<CkksPlain>,
}

impl Prepared {
    pub(crate) fn new(plan: &Plan, model: &Model, pool: &ThreadPool) -> Result<Self, Error> {
        let d = derive(&model.public, &plan.choices)?;
        let encoder = Encoder::new(&d.params);
        let plains = d.program.plains(&model.weights);
        if plains.len() != d.plains.len() {
            let why = format!("{} plaintexts planned, {} made", d.plains.len(), plains.len());
            return Err(Error::Misuse(why));
        }
        let prepare = || {
            let used = plains.par_iter().zip(&d.plains);
            used.map(|(p, at)| CkksPlain::prepare(&encoder, p, *at)).collect::<Result<Vec<_>, _>>()
        };
        let plains = pool.install(prepare).map_err(|e| Error::NumericBound {
            what: format!("a weight of `{}`", model.public.name),
            why: e.to_string(),
        })?;
        Ok(Self { d, plains })
    }

    /// The ciphertexts of an input message.
    pub(super) fn expand(&self, count: usize, label: &[u8], body: &[u8]) -> Result<Vec<Ciphertext>, Error> {
        wire::read_input(&self.d, count, body, |ct| ct.into_expanded(&self.d.params, label))
    }

    /// The outputs of a group.
    pub(super) fn predict(
        &self,
        evaluator: &Evaluator,
        xs: Vec<Ciphertext>,
    ) -> Result<Vec<Ciphertext>, Error> {
        let mut slots = CkksSlots::new(evaluator);
        self.d.program.run(&mut slots, xs, &self.plains).map_err(|e| match e {
            CkksError::He(e) => Error::Misuse(format!("the circuit does not fit its plan: {e}")),
            e => Error::Misuse(e.to_string()),
        })
    }
}

pub(crate) async fn run(
    prepared: &Prepared,
    plan: &Plan,
    samples: u32,
    cx: &mut Context<'_>,
) -> Result<Outcome, Error> {
    let d = &prepared.d;
    let pool = cx.pool.clone();
    let evaluator = Evaluator::new(keys::as_server(wire::key_terms(d, plan), cx).await?);
    cx.observer.on(Event::Ready);
    let samples = samples as usize;
    for (index, first) in (0..samples).step_by(d.group()).enumerate() {
        cx.channel.enter(Phase::Online);
        let before = cx.channel.meter().traffic().online;
        let label = sample_label(&cx.session.0, index);
        let mut xs = Vec::with_capacity(d.inputs.all);
        for part in d.inputs.ranges() {
            let expect = Expect::exactly(INPUT, part.len() * d.inputs.bytes);
            let body = cx.channel.recv(Role::Client, expect).await?;
            if part.start == 0 {
                cx.observer.on(Event::SampleStarted(first));
            }
            xs.extend(pool.install(|| prepared.expand(part.len(), &label, &body))?);
        }
        cx.channel.turns().pause();
        let ys = pool.install(|| prepared.predict(&evaluator, xs))?;
        cx.ops += evaluator.take_counts();
        for part in d.outputs.ranges() {
            let body = wire::write_output(d, ys.get(part).unwrap_or_default());
            cx.channel.send(Role::Client, OUTPUT, body).await?;
        }
        let traffic = cx.channel.meter().traffic().online.since(before);
        let last = (first + d.group()).min(samples);
        for index in first..last {
            let traffic = (index + 1 == last).then_some(traffic);
            cx.observer.on(Event::SampleDone { index, output: None, traffic });
        }
    }
    Ok(Outcome::Served)
}
