//! The client: encrypts what goes into a layer, decrypts what comes out, does everything else in clear.

use super::super::client::{fresh, unfit};
use super::super::schedule::Step;
use super::super::watch::Seen;
use super::plan::{Derived, Layer, derive, tops};
use super::wire;
use crate::common::keys;
use oblivia_base::codec::{Reader, Writer};
use oblivia_base::seed::EntropySource;
use oblivia_base::{Prg, Secret};
use oblivia_he::bfv::{Decryptor, Encoder, Encryptor};
use oblivia_he::{HeError, SecretKey};
use oblivia_nn::fixed::{Nearest, Rounding, wrap};
use oblivia_nn::{PublicModel, Tensor, WireId};
use oblivia_protocol::{Answer, Context, Error, Event, Expect, Outcome, Phase, Plan, Role};
use rayon::prelude::*;
use std::collections::BTreeMap;

pub(in super::super) async fn run(
    model: &PublicModel,
    inputs: Vec<Tensor>,
    plan: &Plan,
    cx: &mut Context<'_>,
    mut seen: Option<Seen<'_>>,
) -> Result<Outcome, Error> {
    let d = derive(model, &plan.choices)?;
    let pool = cx.pool.clone();
    let sk = keys::as_client(wire::key_terms(&d, plan), cx).await?;
    let tops = receive_tops(&d, cx).await?;
    cx.observer.on(Event::Ready);
    let seat = Seat::new(&d, &sk, tops);
    let mut outputs = Vec::with_capacity(inputs.len());
    for (index, input) in inputs.iter().enumerate() {
        cx.observer.on(Event::SampleStarted(index));
        cx.channel.enter(Phase::Online);
        let before = cx.channel.meter().traffic().online;
        // The server must not see which inputs fit: one that does not is replaced by zeros.
        let unfit = unfit(&d.network, input);
        let zeros = Tensor::zeros(input.shape().clone());
        let sent = if unfit.is_some() { &zeros } else { input };
        let mut wires = seat.start(sent)?;
        for (at, step) in d.steps.iter().enumerate() {
            match step {
                Step::Linear(nodes) => {
                    let seed = fresh(&mut cx.rng);
                    let session = cx.session;
                    let body = pool.install(|| seat.encrypt(&wires, nodes, &session, index, &seed))?;
                    cx.channel.send(Role::Server, wire::INPUTS, body).await?;
                    let [_, down] = d.step_bytes(nodes);
                    let body = cx.channel.recv(Role::Server, Expect::exactly(wire::RESULTS, down)).await?;
                    let sums = pool.install(|| seat.decrypt(nodes, &body))?;
                    for (&node, sums) in nodes.iter().zip(&sums) {
                        if let Some(seen) = &mut seen {
                            seen(node, sums.expose());
                        }
                        seat.round(&mut wires, node, sums);
                    }
                }
                other => other.nodes().iter().try_for_each(|&node| seat.in_clear(&mut wires, node))?,
            }
            cx.observer.on(d.event(at + 1));
        }
        let output = unfit.map_or_else(|| seat.answer(&wires), Err);
        let traffic = Some(cx.channel.meter().traffic().online.since(before));
        cx.observer.on(Event::SampleDone { index, output: Some(&output), traffic });
        outputs.push(output);
    }
    Ok(Outcome::Outputs(outputs))
}

/// The tops of clips, which are the server's.
async fn receive_tops(d: &Derived, cx: &mut Context<'_>) -> Result<BTreeMap<usize, Vec<i64>>, Error> {
    let mut all = BTreeMap::new();
    if d.tops == 0 {
        return Ok(all);
    }
    let bytes = d.tops * wire::TOP_BYTES;
    let body = cx.channel.recv(Role::Server, Expect::exactly(wire::TOPS, bytes)).await?;
    let mut r = Reader::new(&body);
    for (node, channels) in tops(&d.network, &d.steps) {
        let top = |_| r.u64("top of a clip").map(|v| v as i64);
        let of = (0..channels).map(top).collect::<Result<Vec<_>, _>>().map_err(Error::invalid("Tops"))?;
        all.insert(node, of);
    }
    r.finish().map_err(Error::invalid("Tops"))?;
    Ok(all)
}

/// Values on the wires, by node; or of several layers.
pub(super) type Wires = Vec<Secret<Vec<i64>>>;

/// What the client works with.
pub(super) struct Seat<'a> {
    d: &'a Derived,
    sk: &'a SecretKey,
    encoder: Encoder,
    tops: BTreeMap<usize, Vec<i64>>,
}

impl<'a> Seat<'a> {
    pub(super) fn new(d: &'a Derived, sk: &'a SecretKey, tops: BTreeMap<usize, Vec<i64>>) -> Self {
        Self { d, sk, encoder: Encoder::new(&d.context), tops }
    }

    /// Wires with the input on the first.
    pub(super) fn start(&self, input: &Tensor) -> Result<Wires, Error> {
        let graph = self.d.network.graph();
        let numbers = self.d.network.input(input).map_err(|e| Error::Input(e.to_string()))?;
        let mut wires: Wires = graph.nodes().iter().map(|_| Secret::new(Vec::new())).collect();
        self.put(&mut wires, graph.input().index(), numbers);
        Ok(wires)
    }

    /// Values, modulo the width of their wire.
    fn put(&self, wires: &mut Wires, node: usize, mut values: Vec<i64>) {
        let bits = self.d.network.wires().get(node).map_or(64, |w| w.bits);
        values.iter_mut().for_each(|v| *v = wrap(*v, bits));
        if let Some(wire) = wires.get_mut(node) {
            *wire = Secret::new(values);
        }
    }

    fn operands<'w>(&self, wires: &'w Wires, node: usize) -> Vec<&'w [i64]> {
        let inputs = self.d.network.graph().nodes().get(node).map_or(&[][..], |n| &n.inputs);
        inputs.iter().filter_map(|w| wires.get(w.index())).map(|w| w.expose().as_slice()).collect()
    }

    /// A node without weights.
    pub(super) fn in_clear(&self, wires: &mut Wires, node: usize) -> Result<(), Error> {
        let tops = self.tops.get(&node).map_or(&[][..], Vec::as_slice);
        let y = self.d.network.on_values(WireId(node as u32), &self.operands(wires, node), tops);
        self.put(wires, node, y);
        Ok(())
    }

    fn layer(&self, node: usize) -> Result<&Layer, Error> {
        self.d.layers.get(&node).ok_or_else(|| Error::Misuse(format!("node {node} is no layer")))
    }

    /// The body of a message of inputs.
    pub(super) fn encrypt(
        &self,
        wires: &Wires,
        nodes: &[usize],
        session: &oblivia_base::Digest,
        index: usize,
        seed: &Secret<[u8; 32]>,
    ) -> Result<Vec<u8>, Error> {
        let context = &self.d.context;
        let top = context.params().max_level();
        let refused = |e: HeError| Error::Refused { why: e.to_string() };
        let factor = context.level_factor(top).map_err(refused)?;
        let mut w = Writer::with_capacity(self.d.step_bytes(nodes)[0]);
        for &node in nodes {
            let x = self.operands(wires, node).first().copied().unwrap_or_default();
            let vectors = Secret::new(self.layer(node)?.free.spread(x));
            let label = wire::label(session, index, node);
            // A stream of its own for every ciphertext, so that they can be made at once.
            let one = |(v, values): (usize, &Vec<i64>)| {
                let at = (v as u64).to_le_bytes();
                let mut rng = Prg::new(seed.expose(), "hybrid client-aided encryption v1", &[&label, &at]);
                let pt = self.encoder.encode(values, top, factor)?;
                Encryptor::new(context).encrypt_seeded(
                    self.sk,
                    &pt,
                    &label,
                    &mut rng as &mut dyn EntropySource,
                )
            };
            let cts = vectors.expose().par_iter().enumerate().map(one).collect::<Result<Vec<_>, HeError>>();
            cts.map_err(refused)?.iter().for_each(|ct| ct.encode(&mut w));
        }
        Ok(w.into_bytes())
    }

    /// The sums in a message of results, by layer.
    pub(super) fn decrypt(&self, nodes: &[usize], body: &[u8]) -> Result<Wires, Error> {
        let mut r = Reader::new(body);
        let mut all = Vec::with_capacity(nodes.len());
        for &node in nodes {
            let layer = self.layer(node)?;
            let replies = wire::read_results(self.d, layer, &mut r)?;
            let one = |reply| {
                let message = Decryptor::new(&self.d.context, self.sk)?.decrypt_reply(reply)?;
                self.encoder.decode(&message)
            };
            let vectors = replies.par_iter().map(one).collect::<Result<Vec<_>, HeError>>();
            let vectors = Secret::new(vectors.map_err(|e| wire::invalid("Results", &e))?);
            all.push(Secret::new(layer.free.gather(vectors.expose())));
        }
        r.finish().map_err(Error::invalid("Results"))?;
        Ok(all)
    }

    /// Puts the results of a layer on its wire: its sums, rounded to nearest.
    pub(super) fn round(&self, wires: &mut Wires, node: usize, sums: &Secret<Vec<i64>>) {
        let format = self.d.network.linear(WireId(node as u32));
        let (bits, shift) = format.map_or((64, 0), |f| (f.accumulator_bits(), f.shift));
        let round = |(at, &y)| Nearest.round(node, at, wrap(y, bits), shift).unwrap_or(0);
        self.put(wires, node, sums.expose().iter().enumerate().map(round).collect());
    }

    /// The outputs in the model's units.
    pub(super) fn answer(&self, wires: &Wires) -> Answer {
        let output = wires.get(self.d.network.graph().output().index());
        let output = output.map_or(&[][..], |o| o.expose().as_slice());
        self.d.network.output(output).map_err(|e| Error::Misuse(e.to_string()))
    }
}
