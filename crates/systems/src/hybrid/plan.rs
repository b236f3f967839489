//! What may be chosen, and what follows from it.

use super::aided;
use super::choices::{HybridChoices, Supply};
use super::limits;
use super::schedule::{self, Step};
use super::stock::{self, Demand};
use super::walk;
use crate::common::{inherent_leaks, statement, trust};
use oblivia_base::Digest;
use oblivia_base::codec::{Decode, Encode};
use oblivia_he::coefficient::{Params, PublicKey, Reply, Ring, Upload};
use oblivia_mpc::silent::LpnSet;
use oblivia_mpc::softspoken::FieldBits;
use oblivia_mpc::{Cost as MpcCost, Party, Radix};
use oblivia_nn::fixed::{Certainty, Network};
use oblivia_nn::{Graph, NnError, Node, Op, OutputPolicy, PublicModel, WireId};
use oblivia_pack::coefficient::Packing;
use oblivia_protocol::session::model_digest;
use oblivia_protocol::wire::MAX_BODY_BYTES;
use oblivia_protocol::{
    Behaviour, Choices, Cost, Error, ErrorBound, Event, Leak, OpCounts, Plan, Role, Support, TrustRow, Wish,
};
use std::collections::BTreeMap;

pub(super) const SYSTEM: &str = "hybrid";
pub(super) const MODE: &str = "shared";
pub(super) const PLANS: [&str; 2] = ["lan", "wan"];

/// log2 of the ring degree of linear layers.
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

/// Everything both roles need at run time, derived from the public model and choices.
pub(super) struct Derived {
    pub(super) network: Network,
    pub(super) ring: Ring,
    pub(super) steps: Vec<Step>,
    /// By node.
    pub(super) layers: BTreeMap<usize, Layer>,
    pub(super) choices: HybridChoices,
    pub(super) output: OutputPolicy,
    /// Of one image, the client holding the pen at first.
    pub(super) online: MpcCost,
    pub(super) ops: OpCounts,
}

impl Derived {
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

    /// Correlated OTs of one image.
    pub(super) fn demand(&self) -> Demand {
        [Party::Client, Party::Server].map(|party| self.online.cots_sent_by(party, Party::Client))
    }

    /// Bytes of the messages of one image, the client's first, in turn.
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

/// What a plan is made for.
struct LinkPrice {
    ns_per_byte: f64,
    /// One way.
    ns_per_message: f64,
}

/// A gigabit and 0.1 ms there and back; a hundred megabits and 40 ms.
fn link_of(plan: &str) -> Option<LinkPrice> {
    match plan {
        "lan" => Some(LinkPrice { ns_per_byte: 8.0, ns_per_message: 5e4 }),
        "wan" => Some(LinkPrice { ns_per_byte: 80.0, ns_per_message: 2e7 }),
        _ => None,
    }
}

/// The best plan for `wish`.
pub(super) fn search(model: &PublicModel, wish: &Wish) -> Result<Plan, Error> {
    if let Some(mode) = wish.mode.as_deref().filter(|&m| m != MODE) {
        let why = format!("system `{SYSTEM}` has modes `{MODE}` and `{}`, not `{mode}`", aided::MODE);
        return Err(Error::Input(why));
    }
    let name = wish.plan.as_deref().unwrap_or(PLANS[0]);
    let Some(link) = link_of(name) else {
        let have = PLANS.join(", ");
        return Err(Error::Input(format!("system `{SYSTEM}` has no plan `{name}`; it has: {have}")));
    };
    let mut best: Option<(f64, HybridChoices)> = None;
    let first = HybridChoices { radix: Radix::Four, supply: Supply::ALL[0] };
    let mut d = derive_from(model, network(model)?, first)?;
    for radix in Radix::ALL {
        d.choices.radix = radix;
        d.online = walk::cost(&d)?;
        for supply in Supply::ALL {
            let price = price(&d, supply, &link);
            if best.is_none_or(|(least, _)| price < least) {
                best = Some((price, HybridChoices { radix, supply }));
            }
        }
    }
    let (_, choices) = best.ok_or_else(|| Error::Misuse("nothing to choose from".into()))?;
    check(model, &wrap(name, &choices))
}

/// Nanoseconds of COTs, traffic and messages of one image with its set-up, both parties together.
fn price(d: &Derived, supply: Supply, link: &LinkPrice) -> f64 {
    let demand = d.demand();
    let (offline, first) = (stock::refill_traffic(supply, demand), stock::first_traffic(supply));
    let online = stock::traffic(true, d.messages().iter().map(|&bytes| bytes as u64));
    let setup: usize = stock::setup(Digest([0; 32]), supply).message_bytes().iter().sum();
    let (mut bytes, mut messages) = (setup as f64, 4.0);
    for t in [offline, first, online] {
        bytes += (t.up_bytes + t.down_bytes) as f64;
        messages += t.rounds as f64;
    }
    // Of both parties, measured; the hash of a random OT included.
    let ns_per_cot = match supply {
        Supply::Extension(FieldBits::Eight) => 70.0,
        Supply::Extension(_) => 31.0,
        Supply::Silent(_) => 30.0,
    };
    let below = supply.sets().iter().rev().skip(1).map(|s| 2 * s.outputs() as u64).sum::<u64>();
    let made = (stock::made(supply, demand) + below) as f64;
    link.ns_per_byte * bytes + link.ns_per_message * messages + ns_per_cot * made
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
    if choices.system != SYSTEM || choices.mode != MODE || !PLANS.contains(&choices.plan.as_str()) {
        let why = format!("no plan {}/{}/{}", choices.system, choices.mode, choices.plan);
        return Err(Error::InvalidMessage { message: "Offer", why });
    }
    let c = HybridChoices::from_bytes(&choices.bytes).map_err(Error::invalid("Offer"))?;
    derive_from(model, network(model)?, c)
}

fn derive_from(model: &PublicModel, network: Network, choices: HybridChoices) -> Result<Derived, Error> {
    let refused = |why: String| Error::Refused { why };
    limits::check(&network).map_err(refused)?;
    let ring = Ring::new(LOG_N).map_err(|e| refused(e.to_string()))?;
    let steps = schedule::schedule(&network);
    let mut layers = BTreeMap::new();
    let mut ops = OpCounts::default();
    for &node in steps.iter().filter(|s| matches!(s, Step::Linear(_))).flat_map(Step::nodes) {
        let (layer, products) = layer(&network, &ring, node)
            .map_err(|why| refused(format!("node `{}`: {why}", name(&network, node))))?;
        ops.pt_mul += products;
        layers.insert(node, layer);
    }
    let output = model.output;
    let online = MpcCost::none();
    let mut d = Derived { network, ring, steps, layers, choices, output, online, ops };
    d.online = walk::cost(&d)?;
    if let Some(cots) = d.demand().into_iter().find(|&n| n > limits::COTS) {
        let why = format!("an image would take {cots} correlated OTs, at most {} are made", limits::COTS);
        return Err(refused(why));
    }
    for bytes in d.messages().into_iter().chain([stock::longest(choices.supply, d.demand())]) {
        if bytes > MAX_BODY_BYTES {
            let why = format!("a message would have {bytes} bytes, links carry {MAX_BODY_BYTES}");
            return Err(refused(why));
        }
    }
    Ok(d)
}

pub(super) fn name(network: &Network, node: usize) -> &str {
    network.graph().nodes().get(node).map_or("?", |n| &n.name)
}

/// How a layer is packed, and the products of a ciphertext and a kernel it takes.
fn layer(network: &Network, ring: &Ring, node: usize) -> Result<(Layer, u64), String> {
    let (Some(shape), Some(format)) =
        (schedule::linear_shape(network, node), network.linear(WireId(node as u32)))
    else {
        return Err("is no layer over an image or vector".into());
    };
    let squares = vec![format.norm2.saturating_mul(format.norm2); shape.channels_out()];
    let (packing, params) = Packing::choose(ring, &shape, format.accumulator_bits(), format.bits, &squares)
        .map_err(|e| e.to_string())?;
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

/// What follows from `choices`: the same on both sides.
pub(super) fn check(model: &PublicModel, choices: &Choices) -> Result<Plan, Error> {
    let d = derive(model, choices)?;
    let supply = d.choices.supply;
    let demand = d.demand();
    let messages = d.messages();
    let up_first = true;
    let [offer, answer, trees, batch] = stock::setup(Digest([0; 32]), supply).message_bytes();
    let public_key = PublicKey::encoded_bytes(&d.ring);
    let mut setup = stock::traffic(
        up_first,
        [offer, answer + NONCE_BYTES, trees + public_key, batch].map(|bytes| bytes as u64),
    );
    setup += stock::first_traffic(supply);
    // The client's first message goes the way of the one that agreed on the plan.
    setup.rounds -= 1;
    let memory = memory(&d);
    Ok(Plan {
        choices: choices.clone(),
        model: model_digest(model),
        cost: Cost {
            group: 1,
            setup,
            setup_reused: setup,
            offline: stock::refill_traffic(supply, demand),
            online: stock::traffic(up_first, messages.iter().map(|&bytes| bytes as u64)),
            ops: d.ops,
        },
        key_bytes: 0,
        session_memory_bytes: 0,
        work_memory_bytes: memory,
        client_memory_bytes: memory,
        security_bits: security_bits(supply),
        parameters: parameters(&d),
        predicted_us: 0,
        error: error(&d),
        leaks: leaks(model),
        trust: trusts(),
        steps: describe(&d),
    })
}

/// What either side works with: correlated OTs in stock, and what a step holds at once.
fn memory(d: &Derived) -> u64 {
    let demand = d.demand();
    let stock = match d.choices.supply {
        Supply::Extension(_) => 16 * demand.iter().sum::<u64>(),
        Supply::Silent(set) => {
            // Leaves of a round in each direction, the table they are added to, and the next round's.
            let round = 16 * (set.outputs() as u64 + (2 << set.log_table()));
            demand.iter().map(|n| n.div_ceil(set.net() as u64) * round).sum()
        }
    };
    let layer = |l: &Layer| {
        let ciphertexts = (l.packing.inputs() + l.packing.replies()) as u64;
        3 * (l.up_bytes + l.down_bytes) as u64 + 32 * d.ring.n() as u64 * ciphertexts
    };
    // Where outputs of a layer lie, kept for the session.
    let layouts: u64 = d.layers.keys().map(|&n| 32 * d.elements(n) as u64).sum();
    let nodes = d.network.graph().nodes();
    let inputs = |n: usize| nodes.get(n).map_or(&[][..], |node| &node.inputs);
    let mut readers = vec![0u32; nodes.len()];
    for w in d.steps.iter().flat_map(Step::nodes).flat_map(|&n| inputs(n)) {
        if let Some(r) = readers.get_mut(w.index()) {
            *r += 1;
        }
    }
    let (mut live, mut most) = (8 * d.elements(0) as u64, 0);
    for step in &d.steps {
        let operands = || step.nodes().iter().flat_map(|&n| inputs(n)).map(|w| w.index());
        let read: u64 = operands().map(|w| d.elements(w) as u64).sum();
        let made: u64 = step.nodes().iter().map(|&n| d.elements(n) as u64).sum();
        let layers: u64 = step.nodes().iter().filter_map(|n| d.layers.get(n)).map(layer).sum();
        let work = if matches!(step, Step::Local(_)) { 32 } else { 128 };
        live += 8 * made;
        most = most.max(live + layers + work * read.max(made));
        for w in operands() {
            if let Some(r) = readers.get_mut(w) {
                *r = r.saturating_sub(1);
                live = live.saturating_sub(if *r == 0 { 8 * d.elements(w) as u64 } else { 0 });
            }
        }
    }
    stock + layouts + most
}

/// Classical security: of silent OT that of its weakest set, all of which it starts from.
fn security_bits(supply: Supply) -> u32 {
    let of = |set: &LpnSet| set.pooled_gauss_bits();
    supply.sets().iter().map(of).fold(128.0, f64::min).floor() as u32
}

fn parameters(d: &Derived) -> String {
    let q = d.layers.values().map(|l| l.params.q_bits());
    let linear = match (q.clone().min(), q.max()) {
        (Some(least), Some(most)) => format!(
            "linear layers: RLWE of degree {}, moduli 2^{least} to 2^{most}, ternary secret (below the 128-bit limit of the \
             HomomorphicEncryption.org table); ",
            d.ring.n()
        ),
        _ => String::new(),
    };
    let supply = match d.choices.supply {
        Supply::Extension(field) => format!("SoftSpoken extension, trees of {} leaves", 1 << field as u32),
        Supply::Silent(set) => {
            let bits = security_bits(d.choices.supply);
            format!("silent OT (regular LPN, set {set:?}, by our estimate {bits} bits)")
        }
    };
    format!(
        "{linear}correlated OTs: {supply}, base OTs over ristretto255; comparisons in digits of {} bits",
        d.choices.radix.digit_bits()
    )
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
    let mut leaks = inherent_leaks(model, "how many samples are predicted, and when", false);
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
fn trusts() -> Vec<TrustRow> {
    vec![
        trust(Role::Server, Behaviour::SemiHonest, ""),
        trust(
            Role::Server,
            Behaviour::Malicious,
            "it can make results wrong, and which ones are tells it about the values behind them if the client shows that it \
             noticed; nothing checks what is computed on shares",
        ),
        trust(
            Role::Client,
            Behaviour::SemiHonest,
            "roundings depend a little on weights: a result is rounded up with a probability that is off by less than 1/16, \
             and less than 2^-7 usually, by noise that passed through the layer's weights",
        ),
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
    for step in &d.steps {
        for i in step.nodes() {
            let how = match step {
                Step::Local(_) => "on own shares".to_owned(),
                Step::Linear(_) => d.layers.get(i).map_or_else(String::new, |l| {
                    format!(
                        "{} ciphertexts up, {} down, 2^{}, results of {} bits",
                        l.packing.inputs(),
                        l.packing.replies(),
                        l.params.q_bits(),
                        l.params.share_bits()
                    )
                }),
                _ => format!("comparisons of {} bits", d.bits(*i)),
            };
            out.push(format!("{}, {how}", label(i)));
        }
    }
    let demand = d.demand();
    out.push(format!(
        "correlated OTs per image: {} sent by the client, {} by the server; made: {}",
        demand[0],
        demand[1],
        stock::made(d.choices.supply, demand)
    ));
    out
}
