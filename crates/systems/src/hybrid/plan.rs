//! What follows from a plan's choices.

use super::choices::{HybridChoices, Supply};
use super::keys::PublicKeys;
use super::last::{Last, last};
use super::limits;
use super::packs::{self, CLAIM_BYTES, KEPT_BYTES, ROOM_BYTES, USED_BYTES};
use super::schedule::{self, Step};
use super::stock::{self, Demand};
use super::walk;
use crate::common::{inherent_leaks, statement, trust};
use oblivia_base::Digest;
use oblivia_base::codec::{Decode, Encode};
use oblivia_he::coefficient::{Params, Reply, Ring, Upload};
use oblivia_mpc::silent::LpnSet;
use oblivia_mpc::{Cost as MpcCost, Party};
use oblivia_nn::fixed::{Certainty, Network};
use oblivia_nn::{Graph, NnError, Node, Op, OutputPolicy, PublicModel, WireId};
use oblivia_pack::coefficient::{LinearClient, LinearServer, Packing};
use oblivia_protocol::session::model_digest;
use oblivia_protocol::wire::MAX_BODY_BYTES;
use oblivia_protocol::{
    AheadCost, Behaviour, Choices, Cost, Error, ErrorBound, Event, Leak, OpCounts, Plan, Role, Support,
    Traffic, TrustRow,
};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

pub(super) const SYSTEM: &str = "hybrid";
pub(super) const MODE: &str = "shared";
pub(super) const PLANS: [&str; 2] = ["lan", "wan"];

/// log2 of the ring degree of linear layers but the last.
const LOG_N: u32 = 11;

/// Bytes of the server's nonce, in the second message of the set-up.
pub(super) const NONCE_BYTES: usize = 32;

/// A convolution or dense layer as it is packed.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) packing: Packing,
    pub(super) params: Params,
    pub(super) up_bytes: usize,
    pub(super) down_bytes: usize,
}

/// What follows from the public model alone.
pub(super) struct Base {
    pub(super) network: Network,
    /// Of the layers; there is a key for each.
    pub(super) rings: Vec<Ring>,
    /// The layers that are flooded.
    pub(super) last: Option<Last>,
    pub(super) steps: Vec<Step>,
    /// By node.
    pub(super) layers: BTreeMap<usize, Layer>,
    pub(super) output: OutputPolicy,
    pub(super) ops: OpCounts,
}

/// Everything both roles need at run time, derived from the public model and choices.
pub(super) struct Derived {
    pub(super) base: Arc<Base>,
    pub(super) choices: HybridChoices,
    /// Of one group, the client holding the pen at first.
    pub(super) online: MpcCost,
}

impl Deref for Derived {
    type Target = Base;

    fn deref(&self) -> &Base {
        &self.base
    }
}

impl Base {
    /// Width of wire `wire`.
    pub(super) fn bits(&self, wire: usize) -> u32 {
        self.network.wires().get(wire).map_or(0, |w| w.bits)
    }

    /// Elements of wire `wire`.
    pub(super) fn elements(&self, wire: usize) -> usize {
        self.network.graph().nodes().get(wire).map_or(0, |n| n.fact.shape.elements())
    }

    /// That `done` steps are done.
    pub(super) fn step(&self, done: usize) -> Event<'_> {
        let last = self.steps.get(done.saturating_sub(1)).and_then(|s| s.nodes().last());
        let what = last.map_or("", |&node| name(&self.network, node));
        Event::Step { done, of: self.steps.len(), what }
    }
}

impl Derived {
    /// Images of a group.
    pub(super) fn images(&self) -> usize {
        self.choices.images as usize
    }

    /// Elements of wire `wire`, of all images of a group.
    pub(super) fn all(&self, wire: usize) -> usize {
        self.images() * self.elements(wire)
    }

    /// Correlated OTs of one group.
    pub(super) fn demand(&self) -> Demand {
        [Party::Client, Party::Server].map(|party| self.online.cots_sent_by(party, Party::Client))
    }

    /// Bytes of the messages of one group, the client's first, in turn.
    pub(super) fn messages(&self) -> Vec<usize> {
        merged(self.online.messages())
    }
}

/// Messages as they are sent: what is empty is no message, so that its neighbours, of one sender, are one.
fn merged(bits: &[u64]) -> Vec<usize> {
    let mut out: Vec<(bool, u64)> = Vec::new();
    for (i, &bits) in bits.iter().enumerate().filter(|(_, bits)| **bits > 0) {
        let up = i.is_multiple_of(2);
        match out.last_mut() {
            Some((last, sum)) if *last == up => *sum += bits,
            _ => out.push((up, bits)),
        }
    }
    let first = usize::from(out.first().is_some_and(|(up, _)| !up));
    let bytes = out.iter().map(|(_, bits)| usize::try_from(bits.div_ceil(8)).unwrap_or(usize::MAX));
    std::iter::repeat_n(0, first).chain(bytes).collect()
}

/// Whether the system runs a node: the operators of networks in fixed point.
pub(super) fn supports(_: &Graph, node: &Node) -> Support {
    match Network::supports(node) {
        Ok(()) => Support::Yes,
        Err(_) if node.op == Op::Square => Support::Rewrite(
            "squares are for systems that have no comparisons; train with ReLU, which is exact here".into(),
        ),
        Err(NnError::BadNode { why, .. }) => Support::No(why),
        Err(e) => Support::No(e.to_string()),
    }
}

pub(super) fn wrap(plan: &str, choices: &HybridChoices) -> Choices {
    let (system, mode, plan) = (SYSTEM.into(), MODE.into(), plan.into());
    Choices { system, mode, plan, bytes: choices.to_bytes() }
}

/// The network in fixed point that the model publishes.
pub(super) fn network(model: &PublicModel) -> Result<Network, Error> {
    let Some(formats) = &model.fixed else {
        return Err(Error::Refused {
            why: format!(
                "`{}` publishes no formats in fixed point, which `{SYSTEM}` computes in; the owner makes them with \
                 `oblivia quantise`",
                model.name
            ),
        });
    };
    Network::new(model, formats.clone()).map_err(|e| Error::Refused { why: e.to_string() })
}

/// Decodes choices and derives everything; refuses what is insecure or does not fit. The time this takes is bounded by the
/// size of the model.
pub(super) fn derive(model: &PublicModel, choices: &Choices) -> Result<Derived, Error> {
    let decoded = decode(choices)?;
    Base::new(model)?.with(decoded)
}

/// The choices of a plan of this system.
pub(super) fn decode(choices: &Choices) -> Result<HybridChoices, Error> {
    if choices.system != SYSTEM || choices.mode != MODE || !PLANS.contains(&choices.plan.as_str()) {
        let why = format!("no plan {}/{}/{}", choices.system, choices.mode, choices.plan);
        return Err(Error::InvalidMessage { message: "Offer", why });
    }
    HybridChoices::from_bytes(&choices.bytes).map_err(Error::invalid("Offer"))
}

impl Base {
    pub(super) fn new(model: &PublicModel) -> Result<Arc<Self>, Error> {
        let refused = |why: String| Error::Refused { why };
        let network = network(model)?;
        limits::check(&network).map_err(refused)?;
        let ring = Ring::new(LOG_N).map_err(|e| refused(e.to_string()))?;
        let last = last(&network);
        let steps = schedule::schedule(&network);
        let mut layers = BTreeMap::new();
        let mut ops = OpCounts::default();
        for &node in steps.iter().filter(|s| matches!(s, Step::Linear(_))).flat_map(Step::nodes) {
            let (layer, products) = layer(&network, &ring, last.as_ref(), node)
                .map_err(|why| refused(format!("node `{}`: {why}", name(&network, node))))?;
            ops.pt_mul += products;
            layers.insert(node, layer);
        }
        let flooded = last.as_ref().map_or(0, |last| last.layers.len());
        let hidden = (layers.len() > flooded).then_some(ring);
        let rings = hidden.into_iter().chain(last.as_ref().map(|last| last.ring.clone())).collect();
        Ok(Arc::new(Self { network, rings, last, steps, layers, output: model.output, ops }))
    }

    /// With these choices.
    pub(super) fn with(self: Arc<Self>, choices: HybridChoices) -> Result<Derived, Error> {
        let refused = |why: String| Error::Refused { why };
        let (found, steps) = (choices.radices.len(), self.steps.len() + 1);
        if found != steps {
            let why = format!("digits for {found} steps, the network has {steps} with its output");
            return Err(Error::InvalidMessage { message: "Offer", why });
        }
        let elements = (0..self.network.graph().nodes().len()).map(|wire| self.elements(wire)).sum::<usize>();
        if elements.saturating_mul(choices.images as usize) > limits::ALL_ELEMENTS.max(elements) {
            let why = format!(
                "a group of {} images has too many values: at most {}",
                choices.images,
                limits::ALL_ELEMENTS
            );
            return Err(refused(why));
        }
        let mut d = Derived { base: self, choices, online: MpcCost::none() };
        d.online = walk::cost(&d)?;
        if let Some(cots) = d.demand().into_iter().find(|&n| n > limits::COTS) {
            let why = format!("an image would take {cots} correlated OTs, at most {} are made", limits::COTS);
            return Err(refused(why));
        }
        for bytes in d.messages().into_iter().chain([stock::longest(d.choices.supply, d.demand())]) {
            if bytes > MAX_BODY_BYTES {
                let why = format!("a message would have {bytes} bytes, links carry {MAX_BODY_BYTES}");
                return Err(refused(why));
            }
        }
        Ok(d)
    }
}

pub(super) fn name(network: &Network, node: usize) -> &str {
    network.graph().nodes().get(node).map_or("?", |n| &n.name)
}

/// How a layer is packed, and the products of a ciphertext and a kernel it takes.
fn layer(network: &Network, ring: &Ring, last: Option<&Last>, node: usize) -> Result<(Layer, u64), String> {
    let (Some(shape), Some(format)) =
        (schedule::linear_shape(network, node), network.linear(WireId(node as u32)))
    else {
        return Err("is no layer over an image or vector".into());
    };
    let squares = vec![format.norm2.saturating_mul(format.norm2); shape.channels_out()];
    let (packing, params) = match last.and_then(|last| last.layers.get(&node)) {
        Some(flooded) => flooded.clone(),
        None => Packing::choose(ring, &shape, format.accumulator_bits(), format.bits, &squares)
            .map_err(|e| e.to_string())?,
    };
    let (ups, downs) = (packing.inputs(), packing.replies());
    if ups.max(downs) > limits::CIPHERTEXTS {
        return Err(format!(
            "{ups} ciphertexts up and {downs} down, at most {} are taken",
            limits::CIPHERTEXTS
        ));
    }
    let up_bytes = Upload::encoded_bytes(&params, ups);
    let (mut down_bytes, mut products) = (0, 0);
    for reply in 0..packing.replies() {
        down_bytes += Reply::encoded_bytes(&params, packing.reply_len(reply));
        products += packing.products(reply).len() as u64;
    }
    Ok((Layer { packing, params, up_bytes, down_bytes }, products))
}

/// Traffic of a session of one image: its set-up, and what comes ahead of the image and with it.
pub(super) fn traffic(d: &Derived) -> [Traffic; 3] {
    let (supply, up_first) = (d.choices.supply, true);
    let [offer, answer, trees, batch] = stock::setup(Digest([0; 32]), supply).message_bytes();
    let public_key = PublicKeys::encoded_bytes(&d.rings);
    let mut setup = stock::traffic(
        up_first,
        [offer, answer + NONCE_BYTES, trees + public_key, batch].map(|bytes| bytes as u64),
    );
    setup += stock::first_traffic(supply);
    // The client's first message goes the way of the one that agreed on the plan.
    setup.rounds -= 1;
    let online = stock::traffic(up_first, d.messages().iter().map(|&bytes| bytes as u64));
    [setup, stock::refill_traffic(supply, d.demand()), online]
}

/// What follows from `choices`: the same on both sides.
pub(super) fn check(model: &PublicModel, choices: &Choices) -> Result<Plan, Error> {
    Ok(describe_plan(&derive(model, choices)?, model, choices))
}

/// The plan of what was derived from `choices`.
pub(super) fn describe_plan(d: &Derived, model: &PublicModel, choices: &Choices) -> Plan {
    let [setup, offline, online] = traffic(d);
    Plan {
        choices: choices.clone(),
        model: model_digest(model),
        cost: Cost {
            group: d.choices.images,
            setup,
            setup_reused: setup,
            offline,
            online,
            ops: OpCounts { pt_mul: u64::from(d.choices.images) * d.ops.pt_mul, ..d.ops },
            ahead: Some(ahead(d)),
        },
        key_bytes: 0,
        session_memory_bytes: 0,
        work_memory_bytes: memory(d, Party::Server),
        client_memory_bytes: memory(d, Party::Client),
        security_bits: security_bits(d.choices.supply),
        parameters: parameters(d),
        predicted_us: 0,
        error: error(d),
        leaks: leaks(model),
        trust: trusts(d),
        steps: describe(d),
    }
}

/// What sessions cost that make packs or use them.
fn ahead(d: &Derived) -> AheadCost {
    let supply = d.choices.supply;
    let [offer, answer, trees, batch] = stock::setup(Digest([0; 32]), supply).message_bytes();
    let public_key = PublicKeys::encoded_bytes(&d.rings);
    let of = |messages: &[usize]| {
        let mut t = stock::traffic(true, messages.iter().map(|&bytes| bytes as u64));
        // As without packs.
        t.rounds -= 1;
        t
    };
    let first = CLAIM_BYTES + offer;
    let mut setup_some = of(&[first, USED_BYTES + answer + NONCE_BYTES, trees + public_key, batch]);
    setup_some += stock::first_traffic(supply);
    let mut setup_make = of(&[first, ROOM_BYTES + answer, trees, batch]);
    setup_make += stock::first_traffic(supply);
    setup_make += stock::traffic(false, [KEPT_BYTES as u64]);
    AheadCost {
        setup_some,
        setup_all: of(&[first, USED_BYTES + NONCE_BYTES, public_key]),
        setup_make,
        pack_bytes: packs::pack_bytes(d.demand()),
    }
}

/// Bytes of a model prepared for a plan: kernels, the constants of their transforms, and the tops of clips.
pub(super) fn prepared_bytes(model: &PublicModel, choices: &Choices) -> Result<u64, Error> {
    let d = derive(model, choices)?;
    let layers: u64 = d.layers.values().map(|l| LinearServer::prepared_bytes(&l.packing, &l.params)).sum();
    let clips = d.steps.iter().filter(|s| matches!(s, Step::Clip(_))).flat_map(Step::nodes);
    let constants: u64 = d.rings.iter().map(Ring::constants_bytes).sum();
    Ok(layers + constants + clips.map(|&n| 8 * d.elements(n) as u64).sum::<u64>())
}

/// Bytes that `party` works with at most: correlated OTs in stock, and what a step holds at once.
fn memory(d: &Derived, party: Party) -> u64 {
    // Where results of layers lie, which a server has with its kernels.
    let layouts: u64 = match party {
        Party::Client => d.layers.values().map(|l| LinearClient::layout_bytes(&l.packing)).sum(),
        Party::Server => 0,
    };
    let nodes = d.network.graph().nodes();
    let inputs = |n: usize| nodes.get(n).map_or(&[][..], |node| &node.inputs);
    let mut readers = vec![0u32; nodes.len()];
    for w in d.steps.iter().flat_map(Step::nodes).flat_map(|&n| inputs(n)) {
        if let Some(r) = readers.get_mut(w.index()) {
            *r += 1;
        }
    }
    let (mut live, mut most) = (8 * d.all(0) as u64, 0);
    for step in &d.steps {
        let operands = || step.nodes().iter().flat_map(|&n| inputs(n)).map(|w| w.index());
        let read: u64 = operands().map(|w| d.all(w) as u64).sum();
        let made: u64 = step.nodes().iter().map(|&n| d.all(n) as u64).sum();
        let work = match step {
            Step::Local(_) => 32 * read.max(made),
            // What the layers read is widened first; then their messages are held, and one layer is computed at a time.
            Step::Linear(nodes) => {
                let layers = || nodes.iter().filter_map(|n| d.layers.get(n));
                let all = d.images() as u64;
                let messages: u64 = layers().map(|l| 2 * all * (l.up_bytes + l.down_bytes) as u64).sum();
                let one = layers().map(|l| l.memory(party)).max().unwrap_or(0);
                (COMPARED * read).max(24 * read + messages + one)
            }
            Step::Relu(_) | Step::MaxPool(_) => COMPARED * read.max(made),
            Step::Clip(_) => 2 * COMPARED * made,
        };
        live += 8 * made;
        most = most.max(live + work);
        for w in operands() {
            if let Some(r) = readers.get_mut(w) {
                *r = r.saturating_sub(1);
                live = live.saturating_sub(if *r == 0 { 8 * d.all(w) as u64 } else { 0 });
            }
        }
    }
    if d.output == OutputPolicy::ArgMax {
        most = most.max(live + COMPARED * d.all(d.network.graph().output().index()) as u64);
    }
    stock::memory(d.choices.supply, d.demand()) + layouts + most
}

/// Bytes of one element of a comparison while it is made, all of its messages and pads at the same time.
const COMPARED: u64 = 96;

impl Layer {
    /// Bytes that `party` has at once while the layer is computed, messages not counted.
    fn memory(&self, party: Party) -> u64 {
        let n = self.params.n() as u64;
        let (ups, downs) = (self.packing.inputs() as u64, self.packing.replies() as u64);
        let results = self.packing.shape().output_len() as u64;
        match party {
            // Shares, errors and ciphertexts; then replies and what they say.
            Party::Client => (24 * n * ups).max(8 * n * downs + 24 * results),
            // Ciphertexts as read, own shares, both halves doubled and transformed; masks, noise and replies.
            Party::Server => 80 * n * ups + 32 * n * downs + 32 * results,
        }
    }
}

/// Classical security: of silent OT that of its weakest set, all of which it starts from.
fn security_bits(supply: Supply) -> u32 {
    let of = |set: &LpnSet| set.estimated_bits();
    supply.sets().iter().map(of).fold(128.0, f64::min).floor() as u32
}

fn parameters(d: &Derived) -> String {
    let hidden = d.layers.values().filter(|l| l.params.flood().is_none());
    let q = hidden.map(|l| l.params.q_bits());
    let linear = match (q.clone().min(), q.max()) {
        (Some(least), Some(most)) => format!(
            "linear layers: RLWE of degree {}, moduli 2^{least} to 2^{most}, ternary secret (below the 128-bit limit of the \
             HomomorphicEncryption.org table); ",
            1 << LOG_N
        ),
        _ => String::new(),
    };
    let flooded = d.last.as_ref().map_or_else(String::new, |last| {
        format!(
            "last linear layer: RLWE of degree {}, modulus of two primes of {} bits (below the same limit), what is opened within \
             2^{:.1} of what its exact sums determine; ",
            last.ring.n(),
            last.ring.max_modulus_bits() / 2,
            last.log_distance()
        )
    });
    let supply = match d.choices.supply {
        Supply::Extension(field) => format!("SoftSpoken extension, trees of {} leaves", 1 << field as u32),
        Supply::Silent(set) => {
            let bits = security_bits(d.choices.supply);
            format!(
                "silent OT (sparse LPN over GF(16), regular noise, set {set:?}, by our estimate {bits} bits)"
            )
        }
    };
    format!("{linear}{flooded}correlated OTs: {supply}, base OTs over ristretto255")
}

/// Most that a result is off the real quotient: less than one unit of rounding and a sixteenth of noise; and half a unit
/// that the nearest is off.
const OF_ONE: f64 = 1.0 + 1.0 / 16.0 + 0.5;

/// What the owner measured; or else the most that roundings can do to an output, in the model's units: each at its worst,
/// carried on by the largest sum of a row's weights.
fn error(d: &Derived) -> ErrorBound {
    let formats = d.network.formats();
    if let Certainty::Calibrated { overflow, error: Some(error), .. } = formats.certainty {
        return ErrorBound {
            measured: true,
            units_2_32: units(error),
            assumption: format!(
                "on the images the owner checked; a value of another image leaves its range, which garbles the answer, with a \
                 probability that the owner bounds by {overflow:.1e}"
            ),
        };
    }
    let nodes = d.network.graph().nodes();
    let mut worst: Vec<f64> = Vec::with_capacity(nodes.len());
    for (i, node) in nodes.iter().enumerate() {
        let of = |at: usize| node.inputs.get(at).and_then(|w| worst.get(w.index())).copied().unwrap_or(0.0);
        let bound = match (&node.op, d.network.linear(WireId(i as u32))) {
            (_, Some(format)) => of(0) * format.norm1 as f64 / (1u64 << format.shift) as f64 + OF_ONE,
            (Op::Add, _) => of(0) + of(1),
            (Op::Clip { .. }, _) => 2.0 * of(0),
            (Op::AveragePool(p), _) => of(0) * (p.kernel[0] * p.kernel[1]) as f64,
            (Op::GlobalAveragePool, _) => {
                let from = node.inputs.first().and_then(|w| nodes.get(w.index()));
                let cells = from.map_or(1, |n| n.fact.shape.elements() / node.fact.shape.elements().max(1));
                of(0) * cells as f64
            }
            _ => (0..node.inputs.len()).map(of).fold(0.0, f64::max),
        };
        worst.push(bound);
    }
    let output = d.network.graph().output().index();
    let worst = worst.get(output).copied().unwrap_or(0.0) / formats.output_scale;
    let overflow = match formats.certainty {
        Certainty::Always => String::new(),
        Certainty::Calibrated { images, overflow, .. } => format!(
            ", and but for images with a value outside its range, which the owner, from {images} images, bounds by a \
             probability of {overflow:.1e}"
        ),
    };
    ErrorBound {
        measured: false,
        units_2_32: units(worst),
        assumption: format!(
            "from the published network in fixed point with results rounded to nearest, every rounding at its worst, but for \
             noise beyond 8 deviations (2^-49 per result){overflow}"
        ),
    }
}

/// In 2^-32, rounded up.
fn units(error: f64) -> u64 {
    (error.min(f64::from(u32::MAX - 1)) * 4_294_967_296.0).ceil() as u64
}

fn leaks(model: &PublicModel) -> Vec<oblivia_protocol::LeakStatement> {
    let mut leaks = inherent_leaks(model, "how many samples are predicted or prepared for, and when", false);
    let detail = "widths, shifts, norms of weight rows and scales of the network in fixed point, and what its owner measured of \
         overflow and error, published with the model";
    leaks.push(statement(Role::Client, Leak::PublishedBounds, detail));
    if model.output == OutputPolicy::ArgMax {
        for leak in &mut leaks {
            if leak.leak == Leak::Outputs {
                leak.detail = "the winning class of its own inputs, no scores".into();
            }
        }
    }
    leaks
}

/// What breaks if someone misbehaves.
fn trusts(d: &Derived) -> Vec<TrustRow> {
    const HIDDEN: &str = "roundings of hidden layers depend a little on weights: a result is rounded up with a probability that is off \
        by less than 1/16, and less than 2^-7 usually, by noise that passed through the layer's weights";
    let rounded = match &d.last {
        Some(last) => format!(
            "{HIDDEN}. The last linear layer is flooded: given its inputs, the {} results that are opened of an image are within a \
             statistical distance of 2^{:.1} of a rounding that depends on their exact sums alone",
            last.results(),
            last.log_distance()
        ),
        None => format!("{HIDDEN}; no layer of this network is flooded"),
    };
    vec![
        trust(Role::Server, Behaviour::SemiHonest, ""),
        trust(
            Role::Server,
            Behaviour::Malicious,
            "it can make results wrong, and which ones are tells it about the values behind them if the client shows that it \
             noticed; nothing checks what is computed on shares",
        ),
        trust(Role::Client, Behaviour::SemiHonest, &rounded),
        trust(
            Role::Client,
            Behaviour::Malicious,
            "it can add to hidden values and rebuild the model from fewer outputs than an honest client needs",
        ),
    ]
}

/// The steps for people.
fn describe(d: &Derived) -> Vec<String> {
    let nodes = d.network.graph().nodes();
    let label = |i: &usize| nodes.get(*i).map_or_else(String::new, |n| format!("{}: {}", n.name, n.op));
    let mut out = Vec::new();
    for (at, step) in d.steps.iter().enumerate() {
        let digits = d.choices.radix(at);
        for i in step.nodes() {
            let how = match step {
                Step::Local(_) => "on own shares".to_owned(),
                Step::Linear(_) => d.layers.get(i).map_or_else(String::new, |l| {
                    format!(
                        "{} ciphertexts up, {} down, {}, results of {} bits",
                        l.packing.inputs(),
                        l.packing.replies(),
                        match l.params.flood() {
                            Some(_) => format!("flooded, two primes of {} bits", l.params.q_bits() / 2),
                            None => format!("2^{}", l.params.q_bits()),
                        },
                        l.params.share_bits()
                    )
                }),
                _ => format!("comparisons of {} bits in digits of {digits}", d.bits(*i)),
            };
            out.push(format!("{}, {how}", label(i)));
        }
    }
    let demand = d.demand();
    out.push(format!(
        "correlated OTs per group: {} sent by the client, {} by the server; made: {}",
        demand[0],
        demand[1],
        stock::made(d.choices.supply, demand)
    ));
    out
}
