//! The server: integer weights as plaintexts, validation, the circuit once per plaintext prime, flooding.

use super::super::client::sample_label;
use super::super::messages::{INPUT, OUTPUT, invalid};
use super::super::plan::refused;
use super::plan::{Derived, derive};
use super::wire::{self, ExactKeys};
use crate::common::keys;
use oblivia_base::{Prg, Secret};
use oblivia_he::bfv::{Combiner, Encoder, Evaluator, PublicKey, SeededCiphertext};
use oblivia_nn::quant::IntegerModel;
use oblivia_nn::{Model, NnError, WeightId};
use oblivia_pack::{BfvError, BfvPlain, BfvSlots, BfvVector, Plain};
use oblivia_protocol::{Context, Error, Event, Expect, OpCounts, Outcome, Phase, Plan, Role};
use rand_core::Rng;
use rayon::ThreadPool;
use rayon::prelude::*;

/// A model's integer weights as plaintexts of one plan, shared by all sessions.
pub(crate) struct Prepared {
    pub(super) d: Derived,
    /// Per plaintext prime.
    machines: Vec<(Encoder, Vec<BfvPlain>)>,
}

impl Prepared {
    pub(crate) fn new(plan: &Plan, model: &Model, pool: &ThreadPool) -> Result<Self, Error> {
        let d = derive(&model.public, &plan.choices)?;
        let name = &model.public.name;
        let whole = |e: NnError| Error::NumericBound {
            what: format!("`{name}` in whole numbers"),
            why: e.to_string(),
        };
        let integers = IntegerModel::new(model, &d.scales).map_err(whole)?;
        provable(&d, &integers, model)?;
        let plains = plaintexts(&d, &integers, model)?;
        let prepare = |context: &oblivia_he::bfv::Context| {
            let encoder = Encoder::new(context);
            let one = |(p, at): (&Plain, &oblivia_pack::PlainUse)| match d.deferred && at.extended {
                true => BfvPlain::defer(&encoder, p, *at),
                false => BfvPlain::prepare(&encoder, p, *at),
            };
            let plains = plains.par_iter().zip(&d.plains).map(one).collect::<Result<Vec<_>, _>>()?;
            Ok((encoder, plains))
        };
        let machines = pool
            .install(|| d.contexts.iter().map(prepare).collect::<Result<Vec<_>, oblivia_he::HeError>>())
            .map_err(|e| Error::NumericBound { what: format!("a weight of `{name}`"), why: e.to_string() })?;
        Ok(Self { d, machines })
    }
}

/// The network that `plan` computes.
pub(crate) fn integers(plan: &Plan, model: &Model) -> Result<IntegerModel, Error> {
    let d = derive(&model.public, &plan.choices)?;
    IntegerModel::new(model, &d.scales).map_err(|e| Error::Input(e.to_string()))
}

/// Refuses a model whose outputs could leave the range of the plaintext primes on some input.
fn provable(d: &Derived, integers: &IntegerModel, model: &Model) -> Result<(), Error> {
    let what = format!("an output of `{}` in whole numbers", model.public.name);
    let too_wide = |e: NnError| Error::NumericBound { what: what.clone(), why: e.to_string() };
    let output = model.public.graph.output().index();
    let ranges = integers.ranges().map_err(too_wide)?;
    let peak = ranges.get(output).map_or(u128::MAX, |r| r.peak());
    let modulus = Combiner::new(&d.contexts).map_err(refused)?.modulus();
    if peak.saturating_mul(2) < modulus {
        return Ok(());
    }
    let why = format!(
        "it could be 2^{:.1} on some input of the published range, plaintext primes hold ±2^{:.1}: plan with more of \
         them or use mode approximate",
        (peak as f64).log2(),
        (modulus as f64).log2() - 1.0
    );
    Err(Error::NumericBound { what, why })
}

/// All plaintexts as integers.
fn plaintexts(d: &Derived, integers: &IntegerModel, model: &Model) -> Result<Vec<Plain>, Error> {
    /// 32-bit floats hold all integers up to this.
    const EXACT: u64 = 1 << 24;
    let facts = model.public.graph.weights();
    let all: Vec<Vec<f32>> = (0..facts.len())
        .map(|i| integers.weight(WeightId(i as u32)).iter().map(|&w| w as f32).collect())
        .collect();
    let weights = d.circuit.network().linear().filter_map(|l| match &l.kind {
        super::super::network::Kind::Linear(l) => l.weight,
        _ => None,
    });
    for id in weights {
        if integers.weight(id).iter().any(|w| w.unsigned_abs() > EXACT) {
            let what = facts.get(id.0 as usize).map_or_else(String::new, |f| format!("weight `{}`", f.name));
            let why = "its scale makes it larger than 2^24".to_owned();
            return Err(Error::NumericBound { what, why });
        }
    }
    let data = |id: WeightId| all.get(id.0 as usize).map(Vec::as_slice).unwrap_or_default();
    // From 32-bit floats times powers of two, so 64-bit floats hold what 62 bits do.
    let bias = |id: WeightId, m: usize| integers.weight(id).get(m).map_or(0.0, |&b| b as f64);
    let plains = d.circuit.plains_from(data, bias, true);
    if plains.len() != d.plains.len() {
        let why = format!("{} plaintexts planned, {} made", d.plains.len(), plains.len());
        return Err(Error::Misuse(why));
    }
    Ok(plains)
}

pub(crate) async fn run(
    prepared: &Prepared,
    plan: &Plan,
    samples: u32,
    cx: &mut Context<'_>,
) -> Result<Outcome, Error> {
    let d = &prepared.d;
    let pool = cx.pool.clone();
    let keys = keys::as_server(wire::key_terms(d, plan)?, cx).await?;
    let seat = Seat::new(prepared, &keys);
    cx.observer.on(Event::Ready);
    for index in 0..samples as usize {
        cx.channel.enter(Phase::Online);
        let before = cx.channel.meter().traffic().online;
        let body = cx.channel.recv(Role::Client, Expect::exactly(INPUT, d.input_bytes)).await?;
        cx.observer.on(Event::SampleStarted(index));
        let mut seed = Secret::new([0; 32]);
        cx.rng.fill_bytes(seed.expose_mut());
        let label = sample_label(&cx.session.0, index);
        let reply = pool.install(|| seat.predict(&label, &body, &seed))?;
        cx.ops += seat.take_counts();
        cx.channel.send(Role::Client, OUTPUT, reply).await?;
        let traffic = Some(cx.channel.meter().traffic().online.since(before));
        cx.observer.on(Event::SampleDone { index, output: None, traffic });
    }
    Ok(Outcome::Served)
}

/// What the server works with for one client.
pub(super) struct Seat<'a> {
    prepared: &'a Prepared,
    evaluators: Vec<(Evaluator, Option<&'a PublicKey>)>,
}

impl<'a> Seat<'a> {
    pub(super) fn new(prepared: &'a Prepared, keys: &'a ExactKeys) -> Self {
        let one = |(i, k): (usize, &std::sync::Arc<_>)| {
            (Evaluator::new(std::sync::Arc::clone(k)), keys.public.get(i))
        };
        Self { prepared, evaluators: keys.evaluation.iter().enumerate().map(one).collect() }
    }

    /// Operations since the last call, over all plaintext primes.
    pub(super) fn take_counts(&self) -> OpCounts {
        let mut all = OpCounts::default();
        self.evaluators.iter().for_each(|(e, _)| all += e.take_counts());
        all
    }

    /// The body of an output message.
    pub(super) fn predict(
        &self,
        label: &[u8],
        body: &[u8],
        seed: &Secret<[u8; 32]>,
    ) -> Result<Vec<u8>, Error> {
        let d = &self.prepared.d;
        let seeded = wire::read_input(d, body)?;
        let jobs = seeded.par_iter().zip(&self.evaluators).zip(&self.prepared.machines).enumerate();
        let one = |(i, ((cts, (evaluator, pk)), (encoder, plains))): (usize, Job<'_, 'a>)| {
            let context = encoder.context();
            let xs = cts
                .par_iter()
                .map(|ct| ct.expand(context, label))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| invalid("Input", &e))?;
            let scale = d.circuit.input_scale();
            let xs: Vec<BfvVector> =
                xs.into_iter().map(|ciphertext| BfvVector { ciphertext, scale }).collect();
            let misfit = |e: String| Error::Misuse(format!("the circuit does not fit its plan: {e}"));
            let mut slots = BfvSlots::new(evaluator, encoder);
            let ys = d.circuit.run(&mut slots, &xs, plains).map_err(|e: BfvError| misfit(e.to_string()))?;
            let Some(y) = ys.into_iter().next() else { return Err(misfit("it has no output".into())) };
            let finish = || {
                let mut y = match (d.flood, pk) {
                    (Some(flood), Some(pk)) => {
                        let index = (i as u64).to_le_bytes();
                        let mut rng = Prg::new(seed.expose(), "leveled flood v1", &[label, &index]);
                        evaluator.flood(&y.ciphertext, pk, flood, &mut rng)?
                    }
                    _ => y.ciphertext,
                };
                while y.level() > 1 {
                    evaluator.rescale_assign(&mut y)?;
                }
                evaluator.reply(&y, d.cut)
            };
            finish().map_err(|e: oblivia_he::HeError| misfit(e.to_string()))
        };
        let replies = jobs.map(one).collect::<Result<Vec<_>, Error>>()?;
        let mut w = oblivia_base::codec::Writer::with_capacity(d.output_bytes);
        replies.iter().for_each(|r| r.encode(&mut w));
        Ok(w.into_bytes())
    }
}

/// Ciphertexts, evaluator with public key, encoder with plaintexts.
type Job<'s, 'a> =
    ((&'s Vec<SeededCiphertext>, &'s (Evaluator, Option<&'a PublicKey>)), &'s (Encoder, Vec<BfvPlain>));
