//! What follows from the choices of mode `client-aided`: the same on both sides.

use super::super::limits;
use super::super::plan::{PLANS, SYSTEM, name, network};
use super::super::schedule::{self, Step};
use super::choices::{AidedChoices, LayerChoice, MAX_LAYERS};
use super::noise::{self, FLOOD_BITS};
use super::{MODE, wire};
use crate::common::{inherent_leaks, keys, statement, trust};
use oblivia_base::codec::Decode;
use oblivia_he::bfv::{Context, ExtendedPlaintext, Flood};
use oblivia_he::{HeError, KeyRequest, Moduli, Params, security};
use oblivia_nn::fixed::{Network, channel_count};
use oblivia_nn::{Op, OutputPolicy, PublicModel, WireId};
use oblivia_pack::circuit::{FreeLayer, Window};
use oblivia_pack::coefficient::LinearShape;
use oblivia_pack::{Chain, CircuitError, Counter, PlainUse, Scale, Slots};
use oblivia_protocol::session::model_digest;
use oblivia_protocol::wire::MAX_BODY_BYTES;
use oblivia_protocol::{
    Behaviour, Choices, Cost, Error, ErrorBound, Event, HEADER_BYTES, Leak, LeakStatement, OpCounts, Plan,
    Role, Traffic, TrustRow,
};
use std::collections::BTreeMap;

/// A convolution or dense layer.
pub(super) struct Layer {
    pub(super) free: FreeLayer,
    pub(super) plains: Vec<PlainUse>,
    pub(super) up_bytes: usize,
    pub(super) down_bytes: usize,
}

/// Everything both roles need at run time.
pub(super) struct Derived {
    pub(super) network: Network,
    pub(super) context: Context,
    pub(super) steps: Vec<Step>,
    /// By node.
    pub(super) layers: BTreeMap<usize, Layer>,
    pub(super) keys: KeyRequest,
    pub(super) key_bytes: usize,
    pub(super) flood: Flood,
    pub(super) cut: [u32; 2],
    pub(super) deferred: bool,
    /// Channels of all clips.
    pub(super) tops: usize,
    pub(super) ops: OpCounts,
    spare: f64,
}

impl Derived {
    /// Bytes up and down of a step of layers.
    pub(super) fn step_bytes(&self, nodes: &[usize]) -> [usize; 2] {
        let layers = || nodes.iter().filter_map(|n| self.layers.get(n));
        [layers().map(|l| l.up_bytes).sum(), layers().map(|l| l.down_bytes).sum()]
    }

    /// That `done` steps are done.
    pub(super) fn event(&self, done: usize) -> Event<'_> {
        let last = self.steps.get(done.saturating_sub(1)).and_then(|s| s.nodes().last());
        let what = last.map_or("", |&node| name(&self.network, node));
        Event::Step { done, of: self.steps.len(), what }
    }

    /// Memory of the encoded plaintexts.
    pub(super) fn plaintext_bytes(&self, deferred: bool) -> u64 {
        let params = self.context.params();
        let one = |p: &PlainUse| match deferred {
            true => params.n() * 8,
            false => ExtendedPlaintext::memory_bytes(params, p.level).unwrap_or(usize::MAX),
        };
        self.layers.values().flat_map(|l| &l.plains).map(|p| one(p) as u64).sum()
    }
}

/// Bits of the plaintext prime: accumulators have k bits, and what leaves them by less than as much again is told apart.
/// Smaller primes are few, as all are 1 modulo twice the dimension.
pub(super) fn plaintext_bits(network: &Network) -> Result<u32, Error> {
    let widest = network.formats().layers.iter().map(|l| l.accumulator_bits()).max().unwrap_or(0);
    let bits = (widest + 1).max(20);
    if bits > 44 {
        let why = format!("sums of {widest} bits do not fit a plaintext prime: at most 43 are done");
        return Err(Error::Refused { why });
    }
    Ok(bits)
}

/// A layer's shape as circuits have it.
pub(super) fn window(network: &Network, node: usize) -> Option<Window> {
    let output = network.graph().nodes().get(node)?.fact.shape.chw();
    Some(match (schedule::linear_shape(network, node)?, output) {
        (LinearShape::Conv(c), Some((m, h, w))) => Window {
            input: [c.channels, c.size[0], c.size[1]],
            output: [m, h, w],
            kernel: c.kernel,
            stride: c.stride,
            pads: [c.pads[0], c.pads[1]],
            groups: c.groups,
            pool: [1, 1],
        },
        (LinearShape::Dense { inputs, outputs }, _) => Window::dense([inputs, 1, 1], outputs),
        _ => return None,
    })
}

/// The nodes of a schedule's layers, ascending.
pub(super) fn linear_nodes(steps: &[Step]) -> Vec<usize> {
    let linear = steps.iter().filter(|s| matches!(s, Step::Linear(_)));
    let mut nodes: Vec<usize> = linear.flat_map(|s| s.nodes()).copied().collect();
    nodes.sort_unstable();
    nodes
}

/// The network, if this mode runs it, and its steps.
pub(super) fn start(model: &PublicModel) -> Result<(Network, Vec<Step>), Error> {
    let refused = |why: String| Error::Refused { why };
    if model.output == OutputPolicy::ArgMax {
        return Err(refused(format!(
            "the manifest of `{}` allows clients only the label; in mode `{MODE}` they decrypt every sum of every layer",
            model.name
        )));
    }
    let network = network(model)?;
    limits::check(&network).map_err(refused)?;
    let steps = schedule::schedule(&network);
    let layers = linear_nodes(&steps).len();
    if !(1..=MAX_LAYERS).contains(&layers) {
        return Err(refused(format!("mode `{MODE}` runs 1 to {MAX_LAYERS} layers, not {layers}")));
    }
    Ok((network, steps))
}

pub(super) fn he(e: HeError) -> Error {
    Error::Refused { why: e.to_string() }
}

/// Decodes choices and derives everything; refuses what is insecure, inexact or does not fit. The time this takes is bounded
/// by the size of the model.
pub(super) fn derive(model: &PublicModel, choices: &Choices) -> Result<Derived, Error> {
    if choices.system != SYSTEM || choices.mode != MODE || !PLANS.contains(&choices.plan.as_str()) {
        let why = format!("no plan {}/{}/{}", choices.system, choices.mode, choices.plan);
        return Err(Error::InvalidMessage { message: "Offer", why });
    }
    let c = AidedChoices::from_bytes(&choices.bytes).map_err(Error::invalid("Offer"))?;
    derive_from(model, &c)
}

/// Diagonals of all layers together.
const MAX_DIAGONALS: usize = 1 << 21;

/// As [`derive`], from choices in hand.
pub(super) fn derive_from(model: &PublicModel, c: &AidedChoices) -> Result<Derived, Error> {
    let refused = |why: String| Error::Refused { why };
    let (network, steps) = start(model)?;
    let nodes = linear_nodes(&steps);
    if nodes.len() != c.layers.len() {
        let why = format!("{} layers are laid out, the network has {}", c.layers.len(), nodes.len());
        return Err(Error::InvalidMessage { message: "Offer", why });
    }
    let params = Params::new(&c.literal()).map_err(he)?;
    let t = Moduli::Bits(vec![plaintext_bits(&network)?]);
    let context = Context::over(&params, &t).map_err(he)?.into_iter().next();
    let context = context.ok_or_else(|| Error::Misuse("no plaintext prime".into()))?;
    let flood = Flood::new(c.flood);
    let mut layers = BTreeMap::new();
    let (mut keys, mut ops, mut spare) = (KeyRequest::new(), OpCounts::default(), f64::MAX);
    let (mut moved, mut diagonals) = (0usize, 0usize);
    for (&node, choice) in nodes.iter().zip(&c.layers) {
        let at = |why: String| refused(format!("node `{}`: {why}", name(&network, node)));
        let free = free(&network, node, context.slots() / 2, choice).map_err(at)?;
        let v = noise::verdict(&context, &free, Some(flood), c.cut).map_err(he)?;
        spare = spare.min(v.spare);
        if c.flood < v.flood {
            return Err(at(format!(
                "a flood of width 2^{} hides too little: 2^{} is needed",
                c.flood, v.flood
            )));
        }
        let counted = count(&context, &free).map_err(|e| at(e.to_string()))?;
        keys.merge(counted.keys());
        ops += counted.counts();
        let up_bytes = wire::up_bytes(&context, free.inputs()).map_err(he)?;
        let down_bytes = wire::down_bytes(&context, free.outputs(), c.cut).map_err(he)?;
        // Within the loop: whoever chose the layers chose how much is kept of them.
        moved = moved.saturating_add(up_bytes).saturating_add(down_bytes);
        diagonals = diagonals.saturating_add(counted.plains().len());
        if moved > 2 * MAX_BODY_BYTES || diagonals > MAX_DIAGONALS {
            return Err(at(format!(
                "the layers up to it move {moved} bytes and take {diagonals} diagonals, at most {} and {MAX_DIAGONALS} are done",
                2 * MAX_BODY_BYTES
            )));
        }
        let plains = counted.plains().iter().filter(|p| p.extended).copied().collect();
        layers.insert(node, Layer { free, plains, up_bytes, down_bytes });
    }
    if spare.is_nan() || spare <= 0.0 {
        return Err(refused(format!(
            "{:.1} bits are missing for results that are exact but for a probability of 2^-64",
            -spare
        )));
    }
    let key_bytes = wire::key_bytes(&context, &keys);
    let tops = tops(&network, &steps).iter().map(|(_, channels)| channels).sum();
    let (cut, deferred) = (c.cut, c.deferred);
    let d =
        Derived { network, context, steps, layers, keys, key_bytes, flood, cut, deferred, tops, ops, spare };
    let traffic = online(&d);
    let most = traffic.up_bytes.max(traffic.down_bytes).max(key_bytes as u64);
    if most > MAX_BODY_BYTES as u64 {
        return Err(refused(format!("the plan would move {most} bytes, at most {MAX_BODY_BYTES} are done")));
    }
    Ok(d)
}

/// The clips with their channels, in order.
pub(super) fn tops(network: &Network, steps: &[Step]) -> Vec<(usize, usize)> {
    let nodes = network.graph().nodes();
    let clips = steps.iter().filter(|s| matches!(s, Step::Clip(_))).flat_map(Step::nodes);
    let one = |&n: &usize| nodes.get(n).map(|node| (n, channel_count(&node.fact)));
    clips.filter_map(one).collect()
}

/// A layer as chosen.
fn free(network: &Network, node: usize, slots: usize, c: &LayerChoice) -> Result<FreeLayer, String> {
    let window = window(network, node).ok_or("is no layer over an image or vector")?;
    let options = (c.baby as usize, c.chained, c.quarters);
    FreeLayer::way(&window, slots, c.way as usize, options).map_err(|e| e.to_string())
}

/// What a layer does and takes.
fn count(context: &Context, layer: &FreeLayer) -> Result<Counter, CircuitError> {
    let params = context.params();
    let unfit = |_: HeError| CircuitError::TooDeep { levels: params.max_level() };
    let chain = Chain { slots: context.slots() / 2, ..Chain::of(params).map_err(unfit)? };
    let mut counter = Counter::exact(chain);
    let input = counter.input(params.max_level(), Scale(1.0));
    let units = vec![(); layer.linear().schedule().plains()];
    let ys = layer.linear().product(&mut counter, &vec![input; layer.inputs()], &units, Scale(1.0))?;
    for mut y in ys {
        counter.add_plain_assign(&mut y, &())?;
        while y.level > 1 {
            y = counter.rescale(&y)?;
        }
    }
    counter.count_ntts(REPLY_NTTS * layer.outputs() as u64);
    Ok(counter)
}

/// Transforms of [`oblivia_he::bfv::Evaluator::reply`].
const REPLY_NTTS: u64 = 2;

/// Of one image.
fn online(d: &Derived) -> Traffic {
    let mut traffic = Traffic::default();
    for step in d.steps.iter().filter(|s| matches!(s, Step::Linear(_))) {
        let [up, down] = d.step_bytes(step.nodes()).map(|bytes| HEADER_BYTES + bytes as u64);
        traffic += Traffic { up_bytes: up, down_bytes: down, rounds: 2 };
    }
    traffic
}

/// What follows from `choices`.
pub(in super::super) fn check(model: &PublicModel, choices: &Choices) -> Result<Plan, Error> {
    let d = derive(model, choices)?;
    let params = d.context.params();
    let (mut setup, mut setup_reused) = (keys::sent(d.key_bytes as u64), keys::reused());
    if d.tops > 0 {
        let bytes = HEADER_BYTES + (d.tops * wire::TOP_BYTES) as u64;
        // Behind the keys of the client; behind its own answer where there are none.
        setup += Traffic { up_bytes: 0, down_bytes: bytes, rounds: 1 };
        setup_reused.down_bytes += bytes;
    }
    let [work, client] = memory(&d);
    Ok(Plan {
        choices: choices.clone(),
        model: model_digest(model),
        cost: Cost {
            group: 1,
            setup,
            setup_reused,
            offline: Traffic::default(),
            online: online(&d),
            ops: d.ops,
            ahead: None,
        },
        key_bytes: d.key_bytes as u64,
        session_memory_bytes: d.keys.memory_bytes(params) as u64,
        work_memory_bytes: work,
        client_memory_bytes: client,
        security_bits: 128,
        parameters: format!(
            "BGV with BFV replies, dimension {}, plaintext prime {}, log2 QP = {:.2} of at most {} for 128 bits \
             (HomomorphicEncryption.org table), ternary secret",
            params.n(),
            d.context.t(),
            params.log_qp(),
            security::max_log_qp(params.n()).unwrap_or(0)
        ),
        predicted_us: 0,
        error: ErrorBound { units_2_32: 0, assumption: ASSUMPTION.into(), measured: false },
        leaks: leaks(model, &d),
        trust: trusts(),
        steps: describe(&d),
    })
}

const ASSUMPTION: &str = "none against the network in fixed point with results rounded to nearest, except with probability \
     2^-64 and for sums beyond twice their range; nothing is claimed about the distance to the float network";

/// What server and client work with: rotated inputs and sums of a layer; keys being made, ciphertexts and values.
fn memory(d: &Derived) -> [u64; 2] {
    let params = d.context.params();
    let top = params.extended_basis(params.max_level()).map_or(0, |b| b.limbs());
    let one = (2 * top * params.n() * 8) as u64;
    let of = |l: &Layer| {
        let schedule = l.free.linear().schedule();
        let babies: usize = schedule.babies.iter().map(Vec::len).sum();
        let vectors = (babies + 2 * l.free.inputs() + 2 * l.free.outputs()) as u64;
        // Groups being summed, the scratch of a few threads.
        let messages = (l.up_bytes + l.down_bytes) as u64;
        [(vectors + 64) * one + 2 * messages, 4 * messages]
    };
    let most = d.layers.values().map(of).fold([0; 2], |a, b| [a[0].max(b[0]), a[1].max(b[1])]);
    let values: usize = d.network.graph().nodes().iter().map(|n| n.fact.shape.elements()).sum();
    [most[0], most[1] + 3 * d.key_bytes as u64 + 16 * values as u64 + 16 * one]
}

/// Memory that a server keeps for a plan.
pub(in super::super) fn prepared_bytes(model: &PublicModel, choices: &Choices) -> Result<u64, Error> {
    /// Rows of n words that transforms and encoder look up, of every prime.
    const TABLES: usize = 12;
    /// Bytes beside the residues of a plaintext.
    const BESIDE: usize = 5 << 10;
    let d = derive(model, choices)?;
    let params = d.context.params();
    let primes = params.extended_basis(params.max_level()).map_or(0, |b| b.limbs()) + 1;
    let plains: usize = d.layers.values().map(|l| l.plains.len()).sum();
    let beside = TABLES * primes * params.n() * 8 + plains * BESIDE;
    Ok(d.plaintext_bytes(d.deferred) + beside as u64)
}

fn leaks(model: &PublicModel, d: &Derived) -> Vec<LeakStatement> {
    let mut leaks = inherent_leaks(model, "how many samples are predicted, and when", false);
    let published = "widths, shifts, norms of weight rows and scales of the network in fixed point, and what its owner measured of \
         overflow and error, published with the model";
    leaks.push(statement(Role::Client, Leak::PublishedBounds, published));
    let tops = if d.tops > 0 { ", and the tops of clips" } else { "" };
    let detail = format!(
        "every sum of every convolution and dense layer before its activation, exactly{tops}: with chosen inputs the weights \
         follow from them"
    );
    leaks.push(statement(Role::Client, Leak::IntermediateActivations, &detail));
    leaks
}

fn trusts() -> Vec<TrustRow> {
    let extracts = "weights follow from the sums it decrypts: those of the first layer from a handful of chosen inputs, those of \
         later ones because it encrypts what it likes as their inputs";
    vec![
        trust(Role::Server, Behaviour::SemiHonest, ""),
        trust(
            Role::Server,
            Behaviour::Malicious,
            "it can make results wrong: nothing checks what is computed; what the client sends next is encrypted, whatever it \
             decrypted",
        ),
        trust(
            Role::Client,
            Behaviour::SemiHonest,
            "every sum before an activation is in clear at the client",
        ),
        trust(Role::Client, Behaviour::Malicious, extracts),
    ]
}

/// The steps for people.
fn describe(d: &Derived) -> Vec<String> {
    let nodes = d.network.graph().nodes();
    let mut out = Vec::new();
    for step in &d.steps {
        for i in step.nodes() {
            let label = nodes.get(*i).map_or_else(String::new, |n| format!("{}: {}", n.name, n.op));
            let Some(layer) = d.layers.get(i) else {
                out.push(format!("{label}, by the client in clear"));
                continue;
            };
            let schedule = layer.free.linear().schedule();
            let [babies, giants, folds] = schedule.rotations();
            let bits = d.network.linear(WireId(*i as u32)).map_or(0, |f| f.accumulator_bits());
            out.push(format!(
                "{label}, {} ciphertexts up, {} down, {} diagonals, {babies} hoisted rotations, {giants} giant steps, \
                 {folds} folds, sums of {bits} bits",
                layer.free.inputs(),
                layer.free.outputs(),
                schedule.plains()
            ));
        }
    }
    out.push(format!(
        "replies: slots without a result are masked, then an encryption of zero by the client's public key and a flood of \
         width 2^{}: replies of equal sums are within 2^-{FLOOD_BITS} of each other",
        d.flood.log_width()
    ));
    out.push(format!(
        "replies: {} and {} low bits cut; {:.1} spare bits in all; keys: {} rotations, public key",
        d.cut[0],
        d.cut[1],
        d.spare,
        d.keys.rotations.len()
    ));
    if nodes.iter().any(|n| matches!(n.op, Op::Clip { .. })) {
        out.push("tops of clips are sent to the client".into());
    }
    out
}
