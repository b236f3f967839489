//! What follows from the choices of mode `batch`, and the choices themselves.

use super::super::memory::kept_beside;
use super::super::messages;
use super::super::network::{Kind, Network};
use super::super::parameters::{Precision, chain_bits};
use super::super::plan::{
    SYSTEM, chain, outputs_for, parameters, primes, real_ring, refused, trusts, useful,
};
use super::super::program::depths;
use super::super::units::{self, UnitCosts};
use super::BATCH;
use super::choices::BatchChoices;
use super::noise;
use super::program::{Program, Step};
use super::wire::Parts;
use crate::common::{inherent_leaks, keys};
use oblivia_base::codec::{Decode, Encode};
use oblivia_he::{KeyRequest, Params};
use oblivia_nn::PublicModel;
use oblivia_pack::{CircuitError, Counter, PlainUse, Then};
use oblivia_protocol::session::model_digest;
use oblivia_protocol::{Choices, Cost, Error, ErrorBound, HEADER_BYTES, OpCounts, Plan, Traffic, Wish};

/// The only plan of this mode.
pub(super) const PLAN: &str = "planned";

/// Everything both roles need at run time, derived from choices.
pub(crate) struct Derived {
    pub(super) params: Params,
    pub(super) program: Program,
    pub(super) keys: KeyRequest,
    pub(super) plains: Vec<PlainUse>,
    /// Of a group.
    pub(super) ops: OpCounts,
    pub(super) inputs: Parts,
    pub(super) outputs: Parts,
    pub(super) output_scale: f64,
    pub(super) error: f64,
    pub(super) predicted_us: u64,
}

impl Derived {
    /// Samples of a group.
    pub(super) fn group(&self) -> usize {
        self.params.slots()
    }
}

/// The most primes of a plan, of either kind.
const MAX_PRIMES: usize = 32;
/// The most plaintexts of a plan.
const MAX_PLAINTEXTS: usize = 1 << 20;
/// Ciphertexts that fit so many bytes make a message.
const MESSAGE_BYTES: usize = 8 << 20;
/// A longer message is refused: whoever receives one sets memory aside for it.
const MAX_MESSAGE_BYTES: usize = 32 << 20;
/// Input messages of a group at least, where there are as many ciphertexts: the server expands one while the client
/// encrypts the next.
const MESSAGES: usize = 4;
/// Error wanted, relative to the bound of the outputs.
const WANTED: f64 = 1.0 / 256.0;

/// The plan for `wish`.
pub(crate) fn search(model: &PublicModel, wish: &Wish) -> Result<Plan, Error> {
    if let Some(other) = wish.plan.as_deref().filter(|&p| p != PLAN) {
        let why = format!("mode `{BATCH}` of system `{SYSTEM}` has no plan `{other}`; it has: {PLAN}");
        return Err(Error::Input(why));
    }
    let network = Network::find(model)?;
    let c = choose(&network, wish)?;
    let choices =
        Choices { system: SYSTEM.into(), mode: BATCH.into(), plan: PLAN.into(), bytes: c.to_bytes() };
    let plan = check(model, &choices)?;
    let memory = plan.session_memory_bytes.saturating_add(plan.work_memory_bytes);
    match wish.max_memory {
        Some(most) if memory > most => Err(Error::Refused {
            why: format!(
                "a group of {} samples of `{}` takes {memory} bytes of the server's memory, more than the {most} \
                 allowed: raise --max-memory of the server or use another mode",
                plan.cost.group, model.name
            ),
        }),
        _ => Ok(plan),
    }
}

/// The smallest dimension whose security bound has room for the depth and the error wanted; else what comes closest.
fn choose(network: &Network, wish: &Wish) -> Result<BatchChoices, Error> {
    let mut best: Option<(f64, BatchChoices)> = None;
    let mut refusal = None;
    for log_n in 13..=15 {
        for precision in Precision::all() {
            let Some(c) = choices(network, log_n, precision, wish) else { continue };
            let wanted = network.layers.last().map_or(1.0, |l| l.norm * l.peak) * WANTED;
            match error_of(network, &c) {
                Ok(error) if error <= wanted => return Ok(c),
                Ok(error) if best.as_ref().is_none_or(|(e, _)| error < *e) => best = Some((error, c)),
                Ok(_) => {}
                Err(e) => refusal = Some(e),
            }
        }
    }
    match (best, refusal) {
        (Some((_, c)), _) => Ok(c),
        (None, Some(e)) => Err(e),
        (None, None) => Err(Error::Refused {
            why: format!(
                "no parameters up to dimension 32768 are deep enough for this network ({} levels)",
                depths(network).last().copied().unwrap_or(0) + 1
            ),
        }),
    }
}

/// The error bound of choices made here.
fn error_of(network: &Network, c: &BatchChoices) -> Result<f64, Error> {
    let program = Program::new(network.clone(), c.input_log_scale, &c.log_scales)?;
    noise::bound(&Params::new(&c.params).map_err(refused)?, &program)
}

/// Choices at dimension 2^`log_n`, if the security table has room.
fn choices(network: &Network, log_n: u32, precision: Precision, wish: &Wish) -> Option<BatchChoices> {
    let bits = chain_bits(network, log_n, precision)?;
    let params = Params::new(&bits.literal).ok()?;
    let linear = network.linear().count();
    let log_scale = |i: usize| if i + 1 == linear { bits.output_log_scale } else { bits.inner_log_scale };
    let each = |all: usize, bytes: usize, least: usize| {
        (MESSAGE_BYTES / bytes.max(1)).min(all.div_ceil(least)).max(1) as u32
    };
    let vectors: usize = network.input.iter().product();
    let replies = network.layers.last().map_or(1, |l| l.shape.iter().product());
    Some(BatchChoices {
        input_log_scale: bits.input_log_scale,
        log_scales: (0..linear).map(log_scale).collect(),
        per_input: each(vectors, messages::input_bytes(&params, 1).ok()?, MESSAGES),
        per_output: each(replies, messages::output_bytes(&params, 1).ok()?, 1),
        units: UnitCosts::of(log_n, &wish.units),
        params: bits.literal,
    })
}

/// Decodes choices and derives everything; refuses what is insecure, too deep or too large. Bounded in time and memory as
/// [`super::super::plan::derive`] is.
pub(super) fn derive(model: &PublicModel, choices: &Choices) -> Result<Derived, Error> {
    if choices.system != SYSTEM || choices.mode != BATCH || choices.plan != PLAN {
        let why = format!("no plan {}/{}/{}", choices.system, choices.mode, choices.plan);
        return Err(Error::InvalidMessage { message: "Offer", why });
    }
    outputs_for(model)?;
    let c = BatchChoices::from_bytes(&choices.bytes).map_err(Error::invalid("Offer"))?;
    derive_from(Network::find(model)?, &c)
}

/// As [`derive`], from choices in hand.
pub(super) fn derive_from(network: Network, c: &BatchChoices) -> Result<Derived, Error> {
    real_ring(&c.params)?;
    let (q, p) = (primes(&c.params.q), primes(&c.params.p));
    if q > MAX_PRIMES || p > MAX_PRIMES {
        let why = format!("plans take at most {MAX_PRIMES} primes and as many special ones, not {q} and {p}");
        return Err(Error::Refused { why });
    }
    let program = Program::new(network, c.input_log_scale, &c.log_scales)?;
    if q != program.levels() || !c.params.levels.is_empty() {
        let why = format!("this network takes a plain chain of {} primes, not {q}", program.levels());
        return Err(Error::Refused { why });
    }
    let count = program.plain_count();
    if count > MAX_PLAINTEXTS {
        let why = format!("the plan would take {count} plaintexts, more than {MAX_PLAINTEXTS}");
        return Err(Error::Refused { why });
    }
    let params = Params::new(&c.params).map_err(refused)?;
    let parts = |all: usize, each: u32, bytes: usize, what: &str| {
        let parts = Parts { all, each: each as usize, bytes };
        if parts.longest_bytes() > MAX_MESSAGE_BYTES {
            let bytes = parts.longest_bytes();
            let why = format!(
                "the plan would send {bytes} bytes of {what} at once, at most {MAX_MESSAGE_BYTES} may be"
            );
            return Err(Error::Refused { why });
        }
        Ok(parts)
    };
    let one_input = messages::input_bytes(&params, 1).map_err(refused)?;
    let one_output = messages::output_bytes(&params, 1).map_err(refused)?;
    let inputs = parts(program.input_vectors(), c.per_input, one_input, "input")?;
    let outputs = parts(program.output_vectors(), c.per_output, one_output, "outputs")?;
    let mut counter = Counter::new(chain(&params)?);
    let input = counter.input(params.max_level(), program.input_scale());
    let wide = |e: CircuitError| Error::Refused { why: format!("the plan does not hold together: {e}") };
    let ys = program.run(&mut counter, vec![input; inputs.all], &vec![(); count]).map_err(wide)?;
    let keys = counter.keys().clone();
    let error = noise::bound(&params, &program)?;
    useful(error)?;
    Ok(Derived {
        predicted_us: predicted_us(c.units, &params, &program),
        ops: counter.counts(),
        plains: counter.plains().to_vec(),
        output_scale: ys.first().map_or(1.0, |y| y.scale.0),
        inputs,
        outputs,
        error,
        keys,
        program,
        params,
    })
}

/// What follows from `choices`: the same on both sides.
pub(crate) fn check(model: &PublicModel, choices: &Choices) -> Result<Plan, Error> {
    let d = derive(model, choices)?;
    let traffic = |parts: Parts| parts.count() as u64 * HEADER_BYTES + parts.total_bytes() as u64;
    let key_bytes = d.keys.encoded_bytes(&d.params) as u64;
    let mut steps = vec![format!(
        "a sample per slot, {} samples in a group; {} input ciphertexts in {} messages, {} output ciphertexts in {}",
        d.group(),
        d.inputs.all,
        d.inputs.count(),
        d.outputs.all,
        d.outputs.count()
    )];
    steps.extend(d.program.describe());
    steps.push(if !d.keys.relin.is_empty() { "keys: relinearisation" } else { "keys: none" }.to_owned());
    Ok(Plan {
        choices: choices.clone(),
        model: model_digest(model),
        cost: Cost {
            group: d.group() as u32,
            setup: keys::sent(key_bytes),
            setup_reused: keys::reused(),
            offline: Traffic::default(),
            online: Traffic { up_bytes: traffic(d.inputs), down_bytes: traffic(d.outputs), rounds: 2 },
            ops: d.ops,
            ahead: None,
        },
        key_bytes,
        session_memory_bytes: d.keys.memory_bytes(&d.params) as u64,
        work_memory_bytes: server_bytes(&d),
        client_memory_bytes: client_bytes(&d),
        security_bits: 128,
        parameters: parameters(&d.params),
        predicted_us: d.predicted_us,
        error: ErrorBound {
            measured: false,
            units_2_32: (d.error * 4_294_967_296.0).ceil() as u64,
            assumption: ASSUMPTION.into(),
        },
        leaks: inherent_leaks(model, "how many samples are predicted, and when", true),
        trust: trusts(),
        steps,
    })
}

const ASSUMPTION: &str = "except with probability 2^-64 per group, assuming sub-Gaussian errors, independent if of \
     different origin, learned weights without structure, and inputs whose activations stay within the published bounds";

/// Polynomials that the scheme keeps for reuse.
const POOLED: usize = 64;

/// What a server needs at most at a time for the ciphertexts of a group, an eighth more for what its allocator cannot use
/// again, the reply, and the weights modulo every prime.
fn server_bytes(d: &Derived) -> u64 {
    let row = (d.params.n() * 8) as u64;
    let limbs = d.params.extended_basis(d.params.max_level()).map_or(0, |b| b.limbs());
    // Residues, and the factors made of them.
    let weights = (3 * d.plains.len() * d.params.max_level() * 8) as u64;
    let ciphertexts = d.program.peak_bytes(2 * row);
    ciphertexts
        + ciphertexts / 8
        + (POOLED * limbs) as u64 * row
        + weights
        + (d.outputs.total_bytes() + d.inputs.longest_bytes()) as u64
}

/// What a server keeps of a model: its weights and biases as integers, each with its scale and where it is used, and the
/// constants of the transforms, which are made with the first group.
pub(in super::super) fn prepared_bytes(model: &PublicModel, choices: &Choices) -> Result<u64, Error> {
    let d = derive(model, choices)?;
    let each = size_of::<oblivia_pack::CkksPlain>() + size_of::<PlainUse>();
    Ok((d.plains.len() * each) as u64 + kept_beside(&d.params, 0))
}

/// What a client needs at most at a time: a whole group's upload may wait for the link while the last part of it is
/// encrypted, and the reply is opened at once.
fn client_bytes(d: &Derived) -> u64 {
    let row = (d.params.n() * 8) as u64;
    // Values, coefficients, masked halves.
    let part = d.inputs.each.min(d.inputs.all) as u64 * (d.params.max_level() as u64 + 2) * row;
    let reply = d.outputs.all as u64 * 4 * row;
    (d.inputs.total_bytes() + d.inputs.longest_bytes() + d.outputs.total_bytes()) as u64 + part + reply
}

/// A product with a scalar against one with a row of a plaintext: nothing but the vector is read from memory, and that for
/// many rows at once.
const SCALAR_ROW: f64 = 0.2;

/// Time of a group in microseconds on one thread: encryption, evaluation and decryption, nothing sent.
fn predicted_us(costs: UnitCosts, params: &Params, program: &Program) -> u64 {
    let top = params.max_level();
    let at = units::by_level(costs, params.literal());
    let row = |ps: u32| f64::from(ps) * params.n() as f64 / 1000.0;
    let mut ns =
        program.input_vectors() as f64 * at(top).input() + program.output_vectors() as f64 * at(1).input();
    for (k, (step, layer)) in program.steps().iter().zip(&program.network().layers).enumerate() {
        let (level, results) = (program.level(layer.from), program.vectors(k + 1) as f64);
        ns += match (step, &layer.kind) {
            (Step::Linear { then: Then::Keep | Then::Square, .. }, Kind::Linear(l)) => {
                let products = results * l.window.fan_in() as f64;
                products * level as f64 * row(costs.plain_row) * SCALAR_ROW
                    + results * 2.0 * level as f64 * row(costs.ntt)
            }
            (Step::Square | Step::Squared, _) => results * at(level).square(),
            _ => results * level as f64 * row(costs.plain_row) * SCALAR_ROW,
        };
    }
    (ns / 1000.0).min(1e15) as u64
}
