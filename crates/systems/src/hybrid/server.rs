//! The server: prepared weights, its half of linear layers.

use super::client::fresh;
use super::keys::PublicKeys;
use super::link::{ChannelLink, KIND_SETUP, layer_error, mpc_error};
use super::packs::{self, Packs};
use super::plan::{Base, Derived, NONCE_BYTES, decode};
use super::stock::{Place, Stock, setup};
use super::tap::Tap;
use super::walk::{Hand, WalkError, walk};
use oblivia_base::codec::{Reader, Writer};
use oblivia_base::seed::EntropySource;
use oblivia_base::{Digest, Prg, Secret};
use oblivia_mpc::setup::AnswererAwaitsBatch;
use oblivia_mpc::{Party, Session};
use oblivia_nn::fixed::{FixedModel, Network};
use oblivia_nn::{Model, WireId};
use oblivia_pack::coefficient::LinearServer;
use oblivia_protocol::{AheadUse, Context, Error, Event, Expect, Outcome, Phase, Plan, Role, Turns};
use rand_core::Rng;
use rayon::ThreadPool;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A model's weights as kernels, shared by all sessions.
pub(super) struct Prepared {
    pub(super) base: Arc<Base>,
    pub(super) layers: BTreeMap<usize, LinearServer>,
    /// Of clips, per element.
    tops: BTreeMap<usize, Vec<u64>>,
}

/// The network in fixed point of a model, which must be the published one.
pub(super) fn fixed_model(network: &Network, model: &Model) -> Result<FixedModel, Error> {
    let Some(calibration) = &model.calibration else {
        let why =
            format!("`{}` has formats in fixed point and no calibration to make them of", model.public.name);
        return Err(Error::Input(why));
    };
    let fixed = calibration.apply(model).map_err(|e| Error::Input(e.to_string()))?;
    match fixed.network() == network {
        true => Ok(fixed),
        false => Err(Error::Misuse("the calibration makes another network than the published one".into())),
    }
}

impl Prepared {
    pub(super) fn new(plan: &Plan, model: &Model, pool: &ThreadPool) -> Result<Self, Error> {
        decode(&plan.choices)?;
        let d = Base::new(&model.public)?;
        let fixed = fixed_model(&d.network, model)?;
        let prepare = |(&node, layer): (&usize, &super::plan::Layer)| {
            let missing = || Error::Misuse(format!("node {node} has no weights"));
            let weights = fixed.layer(WireId(node as u32)).ok_or_else(missing)?;
            let w = Secret::new(weights.w.iter().map(|&w| i64::from(w)).collect::<Vec<i64>>());
            let half = LinearServer::new(&layer.packing, &layer.params, w.expose(), &weights.b, None);
            Ok((node, half.map_err(layer_error)?))
        };
        let layers = pool.install(|| d.layers.par_iter().map(prepare).collect::<Result<_, Error>>())?;
        let clips = d.steps.iter().filter(|s| matches!(s, super::schedule::Step::Clip(_)));
        let tops = clips.flat_map(|s| s.nodes()).map(|&node| {
            let of = fixed.tops(WireId(node as u32));
            let per = d.elements(node) / of.len().max(1);
            (node, of.iter().flat_map(|&top| std::iter::repeat_n(top as u64, per)).collect())
        });
        let tops = tops.collect();
        Ok(Self { base: d, layers, tops })
    }
}

pub(super) async fn run(
    prepared: &Prepared,
    samples: u32,
    plan: &Plan,
    cx: &mut Context<'_>,
) -> Result<Outcome, Error> {
    let d = &prepared.base.clone().with(decode(&plan.choices)?)?;
    let (pool, turns) = (cx.pool.clone(), cx.channel.turns());
    let place = Place { pool: pool.clone(), turns: turns.clone() };
    let groups = (samples as usize).div_ceil(d.images());
    let (pk, mut packs, mut stock) = begin(d, plan, groups, &place, cx).await?;
    let mut hand = ServerHand::new(prepared, pk, &pool, turns, &cx.session, &mut cx.rng, ());
    cx.observer.on(Event::Ready);
    let incoming: Vec<usize> = d.messages().into_iter().step_by(2).collect();
    for group in 0..groups {
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
        let link = ChannelLink::new(&mut cx.channel, Party::Server, incoming.clone());
        let mut session = Session::new(Party::Server, Party::Client, link, pads, usize::MAX);
        let zeros = vec![0; d.all(d.network.graph().input().index())];
        let walked =
            walk(d, &mut session, &pool, &mut hand, zeros, |done| cx.observer.on(d.step(done))).await;
        let (link, pads) = session.into_parts();
        walked.map_err(|e| link.failed().unwrap_or_else(|| e.into_error()))?;
        stock = rest.map(|rest| rest.put_back(pads)).or(stock);
        cx.ops.pt_mul += std::mem::take(&mut hand.products);
        let end = (index + d.images()).min(samples as usize);
        for index in index..end {
            let traffic = (index + 1 == end).then(|| cx.channel.meter().traffic().online.since(before));
            cx.observer.on(Event::SampleDone { index, output: None, traffic });
        }
    }
    Ok(Outcome::Served)
}

/// The set-up as the answerer: packs of earlier sessions, and stocks if these are fewer than the `groups` of samples.
async fn begin(
    d: &Derived,
    plan: &Plan,
    groups: usize,
    place: &Place,
    cx: &mut Context<'_>,
) -> Result<(PublicKeys, Packs, Option<Stock>), Error> {
    cx.channel.enter_setup();
    cx.observer.on(Event::Setup("oblivious transfers"));
    let setup = setup(cx.session, d.choices.supply);
    let [offer, _, trees, _] = setup.message_bytes();
    let (claim, offer) = packs::first_message(&mut cx.channel, offer).await?;
    let (mut packs, mut message) = (Packs::none(Party::Server), Vec::new());
    if let Some(claim) = claim {
        let (found, used) = packs::answer(cx, d, plan, &claim, groups);
        cx.ahead = AheadUse::Used { groups: found.left() as u64 };
        packs = found;
        message.extend(used);
    }
    let mut begun = None;
    if packs.left() < groups {
        let start = || AnswererAwaitsBatch::start(&setup, &offer, &mut cx.rng);
        let (answerer, answer) = place.run(start).map_err(mpc_error)?;
        begun = Some(answerer);
        message.extend(answer);
    }
    let mut nonce = [0; NONCE_BYTES];
    cx.rng.fill_bytes(&mut nonce);
    message.extend(nonce);
    cx.channel.send(Role::Client, KIND_SETUP, message).await?;
    let trees = if begun.is_some() { trees } else { 0 };
    let bytes = trees + PublicKeys::encoded_bytes(&d.rings);
    let message = cx.channel.recv(Role::Client, Expect::exactly(KIND_SETUP, bytes)).await?;
    let mut r = Reader::new(&message);
    let trees = r.raw(trees, "trees").map_err(Error::invalid("Setup"))?;
    let pk = PublicKeys::decode(&d.rings, &nonce, &cx.session, &mut r)
        .map_err(|e| Error::InvalidMessage { message: "Setup", why: e.to_string() })?;
    r.finish().map_err(Error::invalid("Setup"))?;
    let Some(answerer) = begun else { return Ok((pk, packs, None)) };
    let (ends, message) = place.run(|| answerer.finish(trees)).map_err(mpc_error)?;
    cx.channel.send(Role::Client, KIND_SETUP, message).await?;
    let (supply, channel) = (d.choices.supply, &mut cx.channel);
    let stock = Stock::begin(Party::Server, supply, ends, place, channel, &mut cx.rng).await?;
    Ok((pk, packs, Some(stock)))
}

/// The server's half of linear layers.
pub(super) struct ServerHand<'a, T> {
    prepared: &'a Prepared,
    pk: PublicKeys,
    pool: &'a ThreadPool,
    turns: Turns,
    seeds: Prg,
    /// Of a ciphertext and a kernel, so far.
    products: u64,
    tap: T,
}

impl<'a, T: Tap> ServerHand<'a, T> {
    pub(super) fn new(
        prepared: &'a Prepared,
        pk: PublicKeys,
        pool: &'a ThreadPool,
        turns: Turns,
        session: &Digest,
        rng: &mut dyn EntropySource,
        tap: T,
    ) -> Self {
        let seeds = Prg::new(fresh(rng).expose(), "hybrid replies v1", &[&session.0]);
        Self { prepared, pk, pool, turns, seeds, products: 0, tap }
    }

    pub(super) fn into_tap(self) -> T {
        self.tap
    }
}

/// The randomness of the replies of one layer.
pub(super) fn reply_rng(node: usize, seed: &[u8; 32]) -> Prg {
    Prg::new(seed, "hybrid reply v1", &[&(node as u64).to_le_bytes()])
}

impl<T: Tap> Hand for ServerHand<'_, T> {
    fn upload(&mut self, _: &Derived, _: usize, _: &Secret<Vec<u64>>) -> Result<Vec<u8>, WalkError> {
        Err(Error::Misuse("the server was asked for an upload".into()).into())
    }

    fn reply(
        &mut self,
        d: &Derived,
        node: usize,
        upload: &[u8],
        share: &Secret<Vec<u64>>,
    ) -> Result<(Vec<u8>, Secret<Vec<u64>>), WalkError> {
        let missing = || Error::Misuse(format!("node {node} is not prepared"));
        let layer = self.prepared.layers.get(&node).ok_or_else(missing)?;
        self.turns.step();
        let seed = fresh(&mut self.seeds);
        self.tap.reply(node, seed.expose(), share);
        let mut r = Reader::new(upload);
        let upload = layer.decode_upload(&mut r)?;
        r.finish().map_err(Error::invalid("Upload"))?;
        let (replies, own) = self.pool.install(|| {
            let randomness = layer.draw(&mut reply_rng(node, seed.expose()));
            let own = layer.share(&randomness)?;
            Ok::<_, WalkError>((
                layer.evaluate(&upload, share, self.pk.of(layer.params())?, randomness)?,
                own,
            ))
        })?;
        let packing = layer.packing();
        self.products += (0..packing.replies()).map(|i| packing.products(i).len() as u64).sum::<u64>();
        let down = d.layers.get(&node).map_or(0, |l| l.down_bytes);
        let mut w = Writer::with_capacity(down);
        layer.encode_replies(&replies, &mut w);
        Ok((w.into_bytes(), own))
    }

    fn finish(&mut self, _: &Derived, _: usize, _: &[u8]) -> Result<Secret<Vec<u64>>, WalkError> {
        Err(Error::Misuse("the server was asked to decrypt".into()).into())
    }

    fn tops(&self, _: &Derived, node: usize) -> Result<Option<Vec<u64>>, WalkError> {
        let missing = || Error::Misuse(format!("node {node} has no tops"));
        Ok(Some(self.prepared.tops.get(&node).ok_or_else(missing)?.clone()))
    }
}
