//! The client: keys, its half of linear layers, the outputs.

use super::keys::{PublicKeys, SecretKeys};
use super::link::{ChannelLink, KIND_SETUP, layer_error, mpc_error};
use super::packs::{Claimed, Packs, USED_BYTES};
use super::plan::{Derived, NONCE_BYTES, derive};
use super::stock::{Place, Stock, setup};
use super::tap::Tap;
use super::walk::{Hand, WalkError, part, walk};
use oblivia_base::codec::{Reader, Writer};
use oblivia_base::seed::EntropySource;
use oblivia_base::{Digest, Prg, Secret};
use oblivia_mpc::setup::OpenerAwaitsAnswer;
use oblivia_mpc::{Party, Session};
use oblivia_nn::fixed::Network;
use oblivia_nn::{OutputPolicy, PublicModel, Tensor};
use oblivia_pack::coefficient::LinearClient;
use oblivia_protocol::{AheadUse, Answer, Context, Error, Event, Expect, Outcome, Phase, Plan, Role};
use rand_core::Rng;
use rayon::ThreadPool;
use std::collections::BTreeMap;

pub(super) async fn run<T: Tap>(
    model: &PublicModel,
    inputs: Vec<Tensor>,
    plan: &Plan,
    cx: &mut Context<'_>,
    tap: T,
) -> Result<Outcome, Error> {
    let d = derive(model, &plan.choices)?;
    let pool = cx.pool.clone();
    let mut hand = ClientHand::new(&d, &pool, &cx.session, &mut cx.rng, tap)?;
    let place = Place { pool: pool.clone(), turns: cx.channel.turns() };
    let (mut packs, mut stock) =
        begin(&d, &hand, plan, inputs.len().div_ceil(d.images()), &place, cx).await?;
    cx.observer.on(Event::Ready);
    let incoming: Vec<usize> = d.messages().into_iter().skip(1).step_by(2).collect();
    let mut outputs = Vec::with_capacity(inputs.len());
    for (group, inputs) in inputs.chunks(d.images()).enumerate() {
        let index = group * d.images();
        cx.observer.on(Event::Ahead(index));
        cx.channel.enter(Phase::Offline);
        let (pads, rest) = match place.run(|| packs.take())? {
            Some(pads) => (pads, None),
            None => Stock::ahead(stock.take(), d.demand(), &place, &mut cx.channel, &mut cx.rng).await?,
        };
        cx.channel.enter(Phase::Online);
        cx.observer.on(Event::SampleStarted(index));
        let before = cx.channel.meter().traffic().online;
        // The server must not see which inputs fit: one that does not is replaced by zeros, as are those that are missing.
        let zeros = Tensor::zeros(d.network.graph().input_shape().clone());
        let mut unfits: Vec<Option<Error>> = inputs.iter().map(|input| unfit(&d.network, input)).collect();
        let mut numbers = Vec::with_capacity(d.all(d.network.graph().input().index()));
        for image in 0..d.images() {
            let fits = unfits.get(image).is_some_and(Option::is_none);
            let sent = inputs.get(image).filter(|_| fits).unwrap_or(&zeros);
            numbers.extend(d.network.input(sent).map_err(|e| Error::Input(e.to_string()))?);
        }
        let link = ChannelLink::new(&mut cx.channel, Party::Client, incoming.clone());
        let mut session = Session::new(Party::Client, Party::Client, link, pads, usize::MAX);
        let numbers = numbers.into_iter().map(|v| v as u64).collect();
        let opened =
            walk(&d, &mut session, &pool, &mut hand, numbers, |done| cx.observer.on(d.step(done))).await;
        let (link, pads) = session.into_parts();
        let opened = opened.map_err(|e| link.failed().unwrap_or_else(|| e.into_error()))?;
        stock = rest.map(|rest| rest.put_back(pads)).or(stock);
        let opened = opened.unwrap_or_default();
        let last = inputs.len().saturating_sub(1);
        for (image, unfit) in unfits.drain(..).enumerate() {
            let own = || part(&opened, image, d.images()).to_vec();
            let output = unfit.map_or_else(|| answer(&d, model, own()), Err);
            let traffic = (image == last).then(|| cx.channel.meter().traffic().online.since(before));
            cx.observer.on(Event::SampleDone { index: index + image, output: Some(&output), traffic });
            outputs.push(output);
        }
    }
    Ok(Outcome::Outputs(outputs))
}

/// The set-up as the opener: packs of earlier sessions, and stocks if these are fewer than the `groups` of samples.
async fn begin<T: Tap>(
    d: &Derived,
    hand: &ClientHand<'_, T>,
    plan: &Plan,
    groups: usize,
    place: &Place,
    cx: &mut Context<'_>,
) -> Result<(Packs, Option<Stock>), Error> {
    cx.channel.enter_setup();
    cx.observer.on(Event::Setup("oblivious transfers"));
    let setup = setup(cx.session, d.choices.supply);
    let [_, answer, _, batch] = setup.message_bytes();
    let claimed = Claimed::look(cx, d, plan, groups);
    let (opener, offer) = OpenerAwaitsAnswer::start(&setup, &mut cx.rng);
    let mut message = claimed.as_ref().map_or_else(Vec::new, Claimed::to_bytes);
    message.extend(offer);
    cx.channel.send(Role::Server, KIND_SETUP, message).await?;
    let expect = match &claimed {
        None => Expect::exactly(KIND_SETUP, answer + NONCE_BYTES),
        Some(_) => Expect {
            min_bytes: USED_BYTES + NONCE_BYTES,
            ..Expect::at_most(KIND_SETUP, USED_BYTES + answer + NONCE_BYTES)
        },
    };
    let message = cx.channel.recv(Role::Server, expect).await?;
    let mut r = Reader::new(&message);
    let packs = match claimed {
        None => Packs::none(Party::Client),
        Some(claimed) => {
            let packs = claimed.settle(&mut r)?;
            cx.ahead = AheadUse::Used { groups: packs.left() as u64 };
            packs
        }
    };
    let (mut begun, mut message) = (None, Vec::new());
    if packs.left() < groups {
        let answer = r.raw(answer, "base OT answer").map_err(Error::invalid("Setup"))?;
        let (opener, third) = place.run(|| opener.answer(answer, &mut cx.rng)).map_err(mpc_error)?;
        (begun, message) = (Some(opener), third);
    }
    let nonce: [u8; NONCE_BYTES] = r.array("nonce").map_err(Error::invalid("Setup"))?;
    r.finish().map_err(Error::invalid("Setup"))?;
    let mut w = Writer::new();
    hand.public_key(&nonce, &cx.session, &mut cx.rng).encode(&mut w);
    message.extend(w.into_bytes());
    cx.channel.send(Role::Server, KIND_SETUP, message).await?;
    let Some(opener) = begun else { return Ok((packs, None)) };
    let message = cx.channel.recv(Role::Server, Expect::exactly(KIND_SETUP, batch)).await?;
    let ends = place.run(|| opener.finish(&message)).map_err(mpc_error)?;
    let (supply, channel) = (d.choices.supply, &mut cx.channel);
    let stock = Stock::begin(Party::Client, supply, ends, place, channel, &mut cx.rng).await?;
    Ok((packs, Some(stock)))
}

/// Why an input cannot be predicted on: a value outside the published range, or not a number.
pub(super) fn unfit(network: &Network, input: &Tensor) -> Option<Error> {
    let [low, high] = network.input_range();
    // Rounding of the preprocessing.
    let slack = 1e-5 * low.abs().max(high.abs());
    let inside = |v: &f32| (low - slack..=high + slack).contains(&f64::from(*v));
    (!input.data().iter().all(inside)).then(|| {
        Error::Input(format!(
            "a value of the input is outside [{low}, {high}], the range its model publishes"
        ))
    })
}

/// The outputs in the model's units; of a class alone, 1 at its place and 0 elsewhere.
fn answer(d: &Derived, model: &PublicModel, opened: Vec<u64>) -> Answer {
    let misuse = |e: oblivia_nn::NnError| Error::Misuse(e.to_string());
    let output = d.network.graph().output().index();
    match model.output {
        OutputPolicy::Logits => {
            let spare = 64 - d.bits(output);
            let signed: Vec<i64> = opened.iter().map(|&v| ((v << spare) as i64) >> spare).collect();
            d.network.output(&signed).map_err(misuse)
        }
        OutputPolicy::ArgMax => {
            let class = opened.first().copied().unwrap_or(u64::MAX);
            let n = d.elements(output) as u64;
            if class >= n {
                let why = format!("the class is number {class} of {n}: the server computed something else");
                return Err(Error::NumericBound { what: "the class".into(), why });
            }
            let data = (0..n).map(|i| if i == class { 1.0 } else { 0.0 }).collect();
            Tensor::new(model.graph.output_shape().clone(), data).map_err(misuse)
        }
    }
}

/// The client's half of linear layers.
pub(super) struct ClientHand<'a, T> {
    sk: SecretKeys,
    layers: BTreeMap<usize, LinearClient>,
    pool: &'a ThreadPool,
    seeds: Prg,
    tap: T,
}

impl<'a, T: Tap> ClientHand<'a, T> {
    /// With a fresh key.
    pub(super) fn new(
        d: &Derived,
        pool: &'a ThreadPool,
        session: &Digest,
        rng: &mut dyn EntropySource,
        mut tap: T,
    ) -> Result<Self, Error> {
        let mut seed = Secret::new([0; 32]);
        Prg::new(fresh(rng).expose(), "hybrid key seed v1", &[&session.0]).fill_bytes(seed.expose_mut());
        tap.key(seed.expose());
        let sk = SecretKeys::new(&d.rings, seed.expose());
        let half = |l: &super::plan::Layer| LinearClient::new(&l.packing, &l.params);
        let layers = d.layers.iter().map(|(&node, l)| Ok((node, half(l).map_err(layer_error)?)));
        let layers = pool.install(|| layers.collect::<Result<_, Error>>())?;
        let seeds = Prg::new(fresh(rng).expose(), "hybrid uploads v1", &[&session.0]);
        Ok(Self { sk, layers, pool, seeds, tap })
    }

    pub(super) fn public_key(
        &self,
        nonce: &[u8; NONCE_BYTES],
        session: &Digest,
        rng: &mut dyn EntropySource,
    ) -> PublicKeys {
        self.sk.public(nonce, session, rng)
    }

    pub(super) fn into_tap(self) -> T {
        self.tap
    }

    fn layer(&self, node: usize) -> Result<&LinearClient, Error> {
        self.layers.get(&node).ok_or_else(|| Error::Misuse(format!("node {node} is no layer")))
    }
}

/// The randomness of one upload.
pub(super) fn upload_rng(node: usize, seed: &[u8; 32]) -> Prg {
    Prg::new(seed, "hybrid upload v1", &[&(node as u64).to_le_bytes()])
}

/// A fresh seed.
pub(super) fn fresh(rng: &mut dyn EntropySource) -> Secret<[u8; 32]> {
    let mut seed = Secret::new([0; 32]);
    rng.fill_bytes(seed.expose_mut());
    seed
}

impl<T: Tap> Hand for ClientHand<'_, T> {
    fn upload(&mut self, d: &Derived, node: usize, share: &Secret<Vec<u64>>) -> Result<Vec<u8>, WalkError> {
        let seed = fresh(&mut self.seeds);
        self.tap.upload(node, seed.expose(), share);
        let layer = self.layer(node)?;
        let sk = self.sk.of(layer.params())?;
        let encrypt = || layer.encrypt(sk, share, &mut upload_rng(node, seed.expose()));
        let upload = self.pool.install(encrypt)?;
        let mut w = Writer::with_capacity(d.layers.get(&node).map_or(0, |l| l.up_bytes));
        upload.encode(&mut w);
        Ok(w.into_bytes())
    }

    fn reply(
        &mut self,
        _: &Derived,
        _: usize,
        _: &[u8],
        _: &Secret<Vec<u64>>,
    ) -> Result<(Vec<u8>, Secret<Vec<u64>>), WalkError> {
        Err(Error::Misuse("the client was asked for a reply".into()).into())
    }

    fn finish(&mut self, _: &Derived, node: usize, replies: &[u8]) -> Result<Secret<Vec<u64>>, WalkError> {
        let layer = self.layer(node)?;
        let mut r = Reader::new(replies);
        let replies = layer.decode_replies(&mut r)?;
        r.finish().map_err(Error::invalid("Replies"))?;
        let sk = self.sk.of(layer.params())?;
        let share = self.pool.install(|| layer.finish(sk, &replies))?;
        self.tap.finish(node, &share);
        Ok(share)
    }

    fn tops(&self, _: &Derived, _: usize) -> Result<Option<Vec<u64>>, WalkError> {
        Ok(None)
    }
}
