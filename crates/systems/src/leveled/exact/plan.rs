//! What follows from the choices of an exact mode.

use super::super::network::{Kind, Network};
use super::super::plan::{SYSTEM, carried, chain, outputs_for, primes, refused};
use super::super::program::Program;
use super::super::search::PLANS;
use super::super::units;
use super::choices::{ExactChoices, MAX_T};
use super::noise::{self, FLOOD_BITS};
use super::{EXACT, PRIVATE, wire};
use crate::common::{inherent_leaks, keys, statement, trust};
use oblivia_base::codec::Decode;
use oblivia_he::bfv::{Context, Flood};
use oblivia_he::{KeyRequest, Moduli, Params, RingKind, security};
use oblivia_nn::quant::Scales;
use oblivia_nn::{Op, PublicModel};
use oblivia_pack::{CircuitError, Counter, PlainUse};
use oblivia_protocol::session::model_digest;
use oblivia_protocol::{
    Behaviour, Choices, Cost, Error, ErrorBound, HEADER_BYTES, Leak, OpCounts, Plan, Role, Traffic,
};

/// Everything both roles need at run time, derived from choices.
pub(super) struct Derived {
    /// One per plaintext prime.
    pub(super) contexts: Vec<Context>,
    pub(super) circuit: Program,
    pub(super) scales: Scales,
    pub(super) output_scale: f64,
    pub(super) keys: KeyRequest,
    pub(super) plains: Vec<PlainUse>,
    /// Over all plaintext primes.
    pub(super) ops: OpCounts,
    pub(super) key_bytes: usize,
    pub(super) input_bytes: usize,
    pub(super) output_bytes: usize,
    pub(super) flood: Option<Flood>,
    pub(super) cut: [u32; 2],
    pub(super) spare: f64,
    pub(super) deferred: bool,
    pub(super) predicted_us: u64,
}

impl Derived {
    /// Ring and primes, the same for all plaintext primes.
    pub(super) fn params(&self) -> Result<&Params, Error> {
        self.contexts.first().map(Context::params).ok_or_else(|| Error::Misuse("no plaintext prime".into()))
    }
}

/// The most primes of either kind.
const MAX_PRIMES: usize = 32;
/// The most plaintexts.
const MAX_PLAINTEXTS: usize = 1 << 20;

/// As [`super::super::plan::derive`], bounded in time and memory the same way.
pub(super) fn derive(model: &PublicModel, choices: &Choices) -> Result<Derived, Error> {
    let private = choices.mode == PRIVATE;
    let known = private || choices.mode == EXACT;
    if choices.system != SYSTEM || !known || !PLANS.contains(&choices.plan.as_str()) || choices.plan == "lola"
    {
        let why = format!("no plan {}/{}/{}", choices.system, choices.mode, choices.plan);
        return Err(Error::InvalidMessage { message: "Offer", why });
    }
    outputs_for(model)?;
    let c = ExactChoices::from_bytes(&choices.bytes).map_err(Error::invalid("Offer"))?;
    if private != (c.flood > 0) {
        let why = format!("mode `{}` with a flood of width 2^{}", choices.mode, c.flood);
        return Err(Error::InvalidMessage { message: "Offer", why });
    }
    derive_from(model, Network::find(model)?.undivided(), &c)
}

/// Constants that no linear layer takes in have no whole-number form.
pub(super) fn constants(layer: &str) -> Error {
    Error::Refused { why: format!("`{layer}` adds constants behind a square, which has no exact form") }
}

/// As [`derive`], from choices in hand.
pub(super) fn derive_from(model: &PublicModel, network: Network, c: &ExactChoices) -> Result<Derived, Error> {
    let literal = &c.inner.params;
    if literal.kind != RingKind::Standard || literal.log_n > 15 {
        let why = "exact plans work over the standard ring up to dimension 32768".to_owned();
        return Err(Error::Refused { why });
    }
    if let Some(layer) = network.layers.iter().find(|l| matches!(l.kind, Kind::Shift(_))) {
        return Err(constants(&layer.name));
    }
    let (q, p) = (primes(&literal.q), primes(&literal.p));
    if q > MAX_PRIMES || p > MAX_PRIMES || !(1..=MAX_T).contains(&c.t.len()) {
        let why = format!(
            "plans take at most {MAX_PRIMES} primes and as many special ones, and 1 to {MAX_T} for plaintexts"
        );
        return Err(Error::Refused { why });
    }
    let scales = Scales {
        input: power(c.input_log_scale),
        weights: c.weight_log_scales.iter().map(|&log| power(log)).collect(),
    };
    let weighted =
        model.graph.nodes().iter().filter(|n| matches!(n.op, Op::Conv(_) | Op::Dense { .. })).count();
    if weighted != scales.weights.len() {
        let why =
            format!("{} layers have scales, the network has {weighted} with weights", scales.weights.len());
        return Err(Error::InvalidMessage { message: "Offer", why });
    }
    let whole =
        |e: oblivia_nn::NnError| Error::Refused { why: format!("`{}` in whole numbers: {e}", model.name) };
    let wires = scales.wires(&model.graph).map_err(whole)?;
    let output_scale = wires.get(model.graph.output().index()).copied().unwrap_or(1.0);
    let circuit = Program::new(network, &c.inner)?;
    if q < circuit.levels() || q > circuit.levels() + 2 {
        let why =
            format!("this network takes {} primes and at most two for flooding, not {q}", circuit.levels());
        return Err(Error::Refused { why });
    }
    if circuit.output_vectors() != 1 {
        let why = format!("a reply is one ciphertext, this plan has {}", circuit.output_vectors());
        return Err(Error::Refused { why });
    }
    let count = circuit.plain_count();
    if count > MAX_PLAINTEXTS {
        let why = format!("the plan would take {count} plaintexts, more than {MAX_PLAINTEXTS}");
        return Err(Error::Refused { why });
    }
    let params = Params::new(literal).map_err(refused)?;
    let contexts = Context::over(&params, &Moduli::Bits(c.t.clone())).map_err(refused)?;
    let input_bytes = wire::input_bytes(&contexts, circuit.input_vectors()).map_err(refused)?;
    carried("input", input_bytes)?;
    let mut counter = Counter::exact(oblivia_pack::Chain { slots: params.n() / 2, ..chain(&params)? });
    let input = counter.input(params.max_level(), circuit.input_scale());
    let units = vec![(); count];
    let wide = |e: CircuitError| Error::Refused { why: format!("the plan does not hold together: {e}") };
    let outputs = circuit.run(&mut counter, &vec![input; circuit.input_vectors()], &units).map_err(wide)?;
    if let Some(mut y) = outputs.first().copied() {
        while y.level > 1 {
            y = oblivia_pack::Slots::rescale(&mut counter, &y).map_err(wide)?;
        }
    }
    let mut ops = counter.counts();
    ops.ntt += wire::REPLY_NTTS;
    let output_bytes = wire::output_bytes(&contexts, c.cut).map_err(refused)?;
    carried("outputs", output_bytes)?;
    let keys = counter.keys().clone();
    let key_bytes = wire::key_bytes(&contexts, &keys, c.flood > 0);
    carried("keys", key_bytes)?;
    let flood = (c.flood > 0).then(|| Flood::new(c.flood));
    let mut spare = f64::MAX;
    for context in &contexts {
        let v = noise::verdict(context, &circuit, &scales.weights, flood, c.cut).map_err(refused)?;
        spare = spare.min(v.spare);
        if c.flood > 0 && c.flood < v.flood {
            let why = format!(
                "a flood of width 2^{} hides less than 2^-{FLOOD_BITS}: 2^{} is needed",
                c.flood, v.flood
            );
            return Err(Error::Refused { why });
        }
    }
    if spare.is_nan() || spare <= 0.0 {
        let why = format!(
            "{:.1} bits are missing for results that are exact but for a probability of 2^-64",
            -spare
        );
        return Err(Error::Refused { why });
    }
    Ok(Derived {
        scales,
        output_scale,
        ops: ops.times(contexts.len() as u64),
        plains: counter.plains().to_vec(),
        key_bytes,
        input_bytes,
        output_bytes,
        flood,
        cut: c.cut,
        spare,
        deferred: c.inner.deferred,
        predicted_us: units::program_us(c.inner.units, &params, &circuit, c.inner.deferred)
            .saturating_mul(contexts.len() as u64),
        keys,
        circuit,
        contexts,
    })
}

fn power(log: u32) -> f64 {
    (1u64 << log.min(62)) as f64
}

/// What follows from `choices`, the same on both sides.
pub(crate) fn check(model: &PublicModel, choices: &Choices) -> Result<Plan, Error> {
    let d = derive(model, choices)?;
    let mut leaks = inherent_leaks(model, "how many samples are predicted, and when", true);
    if !d.circuit.is_clean() {
        let detail =
            "sums over parts of the last layer's inputs, in the slots of the reply that hold no output";
        leaks.push(statement(Role::Client, Leak::PartialSums, detail));
    }
    let params = d.params()?;
    let held: usize = d.contexts.iter().map(|c| d.keys.memory_bytes(c.params())).sum();
    Ok(Plan {
        choices: choices.clone(),
        model: model_digest(model),
        cost: Cost {
            group: 1,
            setup: keys::sent(d.key_bytes as u64),
            setup_reused: keys::reused(),
            offline: Traffic::default(),
            online: Traffic {
                up_bytes: HEADER_BYTES + d.input_bytes as u64,
                down_bytes: HEADER_BYTES + d.output_bytes as u64,
                rounds: 2,
            },
            ops: d.ops,
            ahead: None,
        },
        key_bytes: d.key_bytes as u64,
        session_memory_bytes: held as u64,
        work_memory_bytes: 0,
        client_memory_bytes: 0,
        security_bits: 128,
        parameters: parameters(&d, params),
        predicted_us: d.predicted_us,
        error: ErrorBound { units_2_32: 0, assumption: ASSUMPTION.into(), measured: false },
        leaks,
        trust: trusts(&d),
        steps: steps(&d),
    })
}

const ASSUMPTION: &str = "none against the integer network (inputs and weights rounded at the scales of the plan), except \
     with probability 2^-64, assuming sub-Gaussian errors and weights without structure; nothing is claimed about the \
     distance to the float network";

fn parameters(d: &Derived, params: &Params) -> String {
    let t: Vec<String> = d.contexts.iter().map(|c| c.t().to_string()).collect();
    format!(
        "BGV with BFV replies, dimension {}, plaintext primes {}, log2 QP = {:.2} of at most {} for 128 bits \
         (HomomorphicEncryption.org table)",
        params.n(),
        t.join(" and "),
        params.log_qp(),
        security::max_log_qp(params.n()).unwrap_or(0)
    )
}

fn steps(d: &Derived) -> Vec<String> {
    let bits: Vec<String> = d.scales.weights.iter().map(|s| format!("{s}")).collect();
    let mut steps = vec![format!(
        "integers: input times {}, weights times {}; outputs are over {}; everything once per plaintext prime ({})",
        d.scales.input,
        bits.join(", "),
        d.output_scale,
        d.contexts.len()
    )];
    steps.extend(d.circuit.describe());
    if let Some(flood) = d.flood {
        steps.push(format!(
            "reply: an encryption of zero by the client's public key, and a flood of width 2^{}: replies of equal outputs \
             are within 2^-{FLOOD_BITS} of each other",
            flood.log_width()
        ));
    }
    steps
        .push(format!("reply: {} and {} low bits cut; {:.1} spare bits in all", d.cut[0], d.cut[1], d.spare));
    steps.push(format!(
        "keys: {} rotations{}{}, for each plaintext prime",
        d.keys.rotations.len(),
        if !d.keys.relin.is_empty() { ", relinearisation" } else { "" },
        if d.flood.is_some() { ", public key" } else { "" }
    ));
    steps
}

fn trusts(d: &Derived) -> Vec<oblivia_protocol::TrustRow> {
    let honest = match d.flood {
        None => {
            "outputs come with noise that depends on the weights: nothing is claimed beyond \"only outputs are returned\""
        }
        Some(_) => "",
    };
    let malicious = match d.flood {
        None => "it can rebuild the model from enough outputs, and crafted keys or inputs may read more",
        Some(_) => {
            "it can rebuild the model from enough outputs; that replies hide all but outputs holds for evaluation and \
             public keys made honestly only, crafted ones may read more"
        }
    };
    vec![
        trust(Role::Server, Behaviour::SemiHonest, ""),
        trust(
            Role::Server,
            Behaviour::Malicious,
            "it can answer anything; a client that reacts to wrong answers where the server sees it gives decryption \
             hints away",
        ),
        trust(Role::Client, Behaviour::SemiHonest, honest),
        trust(Role::Client, Behaviour::Malicious, malicious),
    ]
}
