//! The server: weights as diagonals, products, biases, masks, floods.

use super::super::client::fresh;
use super::super::schedule::Step;
use super::super::server::fixed_model;
use super::plan::{Derived, Layer, derive, tops};
use super::wire::{self, AidedKeys};
use crate::common::keys;
use oblivia_base::codec::{Reader, Writer};
use oblivia_base::{Digest, Prg, Secret};
use oblivia_he::HeError;
use oblivia_he::bfv::{Encoder, Evaluator, PublicKey};
use oblivia_nn::fixed::wrap;
use oblivia_nn::{Model, WireId};
use oblivia_pack::{BfvError, BfvPlain, BfvSlots, BfvVector, Scale};
use oblivia_protocol::{Context, Error, Event, Expect, OpCounts, Outcome, Phase, Plan, Role};
use rand_core::Rng;
use rayon::ThreadPool;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// A layer's weights.
struct Weights {
    diagonals: Vec<BfvPlain>,
    /// One per output channel, modulo the width of the sums.
    bias: Secret<Vec<i64>>,
}

/// A model's weights as plaintexts of one plan, shared by all sessions.
pub(in super::super) struct Prepared {
    pub(super) d: Derived,
    encoder: Encoder,
    weights: BTreeMap<usize, Weights>,
    /// The body of the message of tops.
    tops: Vec<u8>,
}

impl Prepared {
    pub(in super::super) fn new(plan: &Plan, model: &Model, pool: &ThreadPool) -> Result<Self, Error> {
        let d = derive(&model.public, &plan.choices)?;
        let fixed = fixed_model(&d.network, model)?;
        let encoder = Encoder::new(&d.context);
        let prepare = |(&node, layer): (&usize, &Layer)| {
            let missing = || Error::Misuse(format!("node {node} has no weights"));
            let own = fixed.layer(WireId(node as u32)).ok_or_else(missing)?;
            let bits = d.network.linear(WireId(node as u32)).ok_or_else(missing)?.accumulator_bits();
            let plains = layer.free.diagonals(&own.w);
            if plains.len() != layer.plains.len() {
                let why = format!("{} plaintexts planned, {} made", layer.plains.len(), plains.len());
                return Err(Error::Misuse(why));
            }
            let one = |(p, at): (&oblivia_pack::Plain, &oblivia_pack::PlainUse)| match d.deferred {
                true => BfvPlain::defer(&encoder, p, *at),
                false => BfvPlain::prepare(&encoder, p, *at),
            };
            let diagonals = plains.par_iter().zip(&layer.plains).map(one).collect::<Result<_, HeError>>();
            let diagonals = diagonals.map_err(|e| Error::Misuse(e.to_string()))?;
            let bias = Secret::new(own.b.iter().map(|&b| wrap(b, bits)).collect());
            Ok((node, Weights { diagonals, bias }))
        };
        let weights = pool.install(|| d.layers.iter().map(prepare).collect::<Result<_, Error>>())?;
        let mut w = Writer::new();
        for (node, channels) in tops(&d.network, &d.steps) {
            let of = fixed.tops(WireId(node as u32));
            if of.len() != channels {
                return Err(Error::Misuse(format!("{} tops for {channels} channels", of.len())));
            }
            of.iter().for_each(|&top| w.u64(top as u64));
        }
        let tops = w.into_bytes();
        Ok(Self { d, encoder, weights, tops })
    }
}

pub(in super::super) async fn run(
    prepared: &Prepared,
    plan: &Plan,
    samples: u32,
    cx: &mut Context<'_>,
) -> Result<Outcome, Error> {
    let d = &prepared.d;
    let (pool, turns, session) = (cx.pool.clone(), cx.channel.turns(), cx.session);
    let keys = keys::as_server(wire::key_terms(d, plan), cx).await?;
    if d.tops > 0 {
        cx.channel.send(Role::Client, wire::TOPS, prepared.tops.clone()).await?;
    }
    let seat = Seat::new(prepared, &keys);
    cx.observer.on(Event::Ready);
    for index in 0..samples as usize {
        cx.channel.enter(Phase::Online);
        let before = cx.channel.meter().traffic().online;
        let mut started = false;
        for (at, step) in d.steps.iter().enumerate() {
            if let Step::Linear(nodes) = step {
                let [up, _] = d.step_bytes(nodes);
                let body = cx.channel.recv(Role::Client, Expect::exactly(wire::INPUTS, up)).await?;
                if !std::mem::replace(&mut started, true) {
                    cx.observer.on(Event::SampleStarted(index));
                }
                let seed = fresh(&mut cx.rng);
                turns.step();
                let reply = pool.install(|| seat.layers(nodes, &body, &session, index, &seed))?;
                cx.ops += seat.take_counts();
                cx.channel.send(Role::Client, wire::RESULTS, reply).await?;
            }
            cx.observer.on(d.event(at + 1));
        }
        let traffic = Some(cx.channel.meter().traffic().online.since(before));
        cx.observer.on(Event::SampleDone { index, output: None, traffic });
    }
    Ok(Outcome::Served)
}

/// What the server works with for one client.
pub(super) struct Seat<'a> {
    prepared: &'a Prepared,
    evaluator: Evaluator,
    pk: &'a PublicKey,
}

impl<'a> Seat<'a> {
    pub(super) fn new(prepared: &'a Prepared, keys: &'a AidedKeys) -> Self {
        let evaluator = Evaluator::new(std::sync::Arc::clone(&keys.evaluation));
        Self { prepared, evaluator, pk: &keys.public }
    }

    /// Operations since the last call.
    pub(super) fn take_counts(&self) -> OpCounts {
        self.evaluator.take_counts()
    }

    /// The body of a message of results.
    pub(super) fn layers(
        &self,
        nodes: &[usize],
        body: &[u8],
        session: &Digest,
        index: usize,
        seed: &Secret<[u8; 32]>,
    ) -> Result<Vec<u8>, Error> {
        let d = &self.prepared.d;
        let mut r = Reader::new(body);
        let mut w = Writer::with_capacity(d.step_bytes(nodes)[1]);
        for &node in nodes {
            let missing = || Error::Misuse(format!("node {node} is no layer"));
            let layer = d.layers.get(&node).ok_or_else(missing)?;
            let label = wire::label(session, index, node);
            let cts = wire::read_inputs(d, layer, &mut r)?;
            let expand = |ct: &oblivia_he::bfv::SeededCiphertext| {
                Ok(BfvVector { ciphertext: ct.expand(&d.context, &label)?, scale: Scale(1.0) })
            };
            let xs = cts.par_iter().map(expand).collect::<Result<Vec<_>, HeError>>();
            let xs = xs.map_err(|e| wire::invalid("Inputs", &e))?;
            let weights = self.prepared.weights.get(&node).ok_or_else(missing)?;
            let replies = self.layer(layer, weights, &xs, &label, seed);
            let misfit = |e: BfvError| Error::Misuse(format!("the circuit does not fit its plan: {e}"));
            replies.map_err(misfit)?.iter().for_each(|reply| reply.encode(&mut w));
        }
        r.finish().map_err(Error::invalid("Inputs"))?;
        Ok(w.into_bytes())
    }

    fn layer(
        &self,
        layer: &Layer,
        weights: &Weights,
        xs: &[BfvVector],
        label: &[u8],
        seed: &Secret<[u8; 32]>,
    ) -> Result<Vec<oblivia_he::bfv::Reply>, BfvError> {
        let (d, encoder) = (&self.prepared.d, &self.prepared.encoder);
        let mut slots = BfvSlots::new(&self.evaluator, encoder);
        let ys = layer.free.linear().product(&mut slots, xs, &weights.diagonals, Scale(1.0))?;
        let mut masks = Prg::new(seed.expose(), "hybrid client-aided masks v1", &[label]);
        let added =
            Secret::new(layer.free.biases(weights.bias.expose(), || uniform(d.context.t(), &mut masks)));
        let finish = |(i, (y, added)): (usize, (BfvVector, &Vec<i64>))| {
            let mut y = y.ciphertext;
            let added = encoder.encode(added, y.level(), d.context.level_factor(y.level())?)?;
            self.evaluator.add_plain_assign(&mut y, &added)?;
            let at = (i as u64).to_le_bytes();
            let mut rng = Prg::new(seed.expose(), "hybrid client-aided flood v1", &[label, &at]);
            let mut y = self.evaluator.flood(&y, self.pk, d.flood, &mut rng)?;
            while y.level() > 1 {
                self.evaluator.rescale_assign(&mut y)?;
            }
            self.evaluator.reply(&y, d.cut)
        };
        let jobs = ys.into_par_iter().zip(added.expose()).enumerate();
        Ok(jobs.map(finish).collect::<Result<Vec<_>, HeError>>()?)
    }
}

/// Uniform in 0..t.
fn uniform(t: u64, rng: &mut impl Rng) -> i64 {
    let bits = u64::MAX >> t.leading_zeros();
    loop {
        let v = rng.next_u64() & bits;
        if v < t {
            return v as i64;
        }
    }
}
