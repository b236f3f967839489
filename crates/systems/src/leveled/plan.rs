//! What may be chosen, and what follows from it.

use super::batch;
use super::choices::LeveledChoices;
use super::circuit::Circuit;
use super::exact;
use super::messages;
use super::network::Network;
use super::noise;
use super::parameters::without_own_primes;
use super::search;
use super::units::{self, UnitCosts};
use crate::common::{inherent_leaks, keys, statement, trust};
use oblivia_base::codec::{Decode, Encode};
use oblivia_he::{HeError, KeyRequest, Moduli, Params, ParamsLiteral, RingKind, security};
use oblivia_nn::{OutputPolicy, PublicModel};
use oblivia_pack::{Chain, CircuitError, Counter, PlainUse};
use oblivia_protocol::session::model_digest;
use oblivia_protocol::wire::MAX_BODY_BYTES;
use oblivia_protocol::{
    Behaviour, Choices, Cost, Error, ErrorBound, HEADER_BYTES, Leak, OpCounts, Plan, Role, Traffic, Wish,
};

pub(super) const SYSTEM: &str = "leveled";
pub(super) const MODE: &str = "approximate";
pub(super) const MODES: [&str; 4] = [MODE, exact::EXACT, exact::PRIVATE, batch::BATCH];

/// Everything both roles need at run time, derived from choices.
pub(super) struct Derived {
    pub(super) params: Params,
    pub(super) circuit: Circuit,
    pub(super) keys: KeyRequest,
    pub(super) plains: Vec<PlainUse>,
    pub(super) ops: OpCounts,
    pub(super) input_bytes: usize,
    pub(super) output_bytes: usize,
    pub(super) output_scale: f64,
    pub(super) error: f64,
    /// Whether plaintexts are transformed at every use.
    pub(super) deferred: bool,
    pub(super) units: UnitCosts,
    pub(super) predicted_us: u64,
}

/// The best plan for `wish`, or the one it names.
pub(super) fn search(model: &PublicModel, wish: &Wish) -> Result<Plan, Error> {
    if let Some(mode) = wish.mode.as_deref().filter(|&m| m != MODE) {
        if exact::is_mode(mode) {
            return exact::search(model, wish, mode);
        }
        if mode == batch::BATCH {
            return batch::search(model, wish);
        }
        let have = MODES.join(", ");
        return Err(Error::Input(format!("system `{SYSTEM}` has no mode `{mode}`; it has: {have}")));
    }
    let network = Network::find(model)?;
    let (name, choices) = search::choose(model, &network, wish)?;
    check(model, &wrap(name, &choices))
}

pub(super) fn wrap(plan: &str, choices: &LeveledChoices) -> Choices {
    Choices { system: SYSTEM.into(), mode: MODE.into(), plan: plan.into(), bytes: choices.to_bytes() }
}

/// What follows from `choices`: the same on both sides, by integer and correctly rounded arithmetic alone.
pub(super) fn check(model: &PublicModel, choices: &Choices) -> Result<Plan, Error> {
    if exact::is_mode(&choices.mode) {
        return exact::check(model, choices);
    }
    if choices.mode == batch::BATCH {
        return batch::check(model, choices);
    }
    let d = derive(model, choices)?;
    let up = HEADER_BYTES + d.input_bytes as u64;
    let down = HEADER_BYTES + d.output_bytes as u64;
    let key_bytes = d.keys.encoded_bytes(&d.params) as u64;
    let mut steps = d.circuit.describe();
    if search::SEARCHED.contains(&choices.plan.as_str()) {
        steps.extend(without_own_primes(d.circuit.network(), d.params.literal(), d.units));
    }
    steps.push(format!(
        "keys: {} rotations{}",
        d.keys.len() - d.keys.relin.len(),
        if !d.keys.relin.is_empty() { " and relinearisation" } else { "" }
    ));
    let mut leaks = inherent_leaks(model, "how many samples are predicted, and when", true);
    if !d.circuit.is_clean() {
        let detail =
            "sums over parts of the last layer's inputs, in the slots of the reply that hold no output";
        leaks.push(statement(Role::Client, Leak::PartialSums, detail));
    }
    Ok(Plan {
        choices: choices.clone(),
        model: model_digest(model),
        cost: Cost {
            group: 1,
            setup: keys::sent(key_bytes),
            setup_reused: keys::reused(),
            offline: Traffic::default(),
            online: Traffic { up_bytes: up, down_bytes: down, rounds: 2 },
            ops: d.ops,
            ahead: None,
        },
        key_bytes,
        session_memory_bytes: d.keys.memory_bytes(&d.params) as u64,
        work_memory_bytes: 0,
        client_memory_bytes: 0,
        security_bits: 128,
        parameters: parameters(&d.params),
        predicted_us: d.predicted_us,
        error: ErrorBound {
            measured: false,
            units_2_32: (d.error * 4_294_967_296.0).ceil() as u64,
            assumption: ASSUMPTION.into(),
        },
        leaks,
        trust: trusts(),
        steps,
    })
}

/// What breaks if someone misbehaves, where replies are not flooded.
pub(super) fn trusts() -> Vec<oblivia_protocol::TrustRow> {
    vec![
        trust(Role::Server, Behaviour::SemiHonest, ""),
        trust(
            Role::Server,
            Behaviour::Malicious,
            "it can answer anything; a client that reacts to wrong answers where the server sees it gives \
             decryption hints away",
        ),
        trust(
            Role::Client,
            Behaviour::SemiHonest,
            "outputs carry noise that depends on the weights: nothing is claimed beyond \"only outputs are \
             returned\"",
        ),
        trust(
            Role::Client,
            Behaviour::Malicious,
            "it can rebuild the model from enough outputs, and crafted keys or inputs may read more",
        ),
    ]
}

const ASSUMPTION: &str = "except with probability 2^-64, assuming sub-Gaussian errors, independent if of \
     different origin, learned weights without structure, an input whose activations stay within the published bounds, \
     and the root mean square of all slots within them too";

pub(super) fn parameters(params: &Params) -> String {
    format!(
        "CKKS over the conjugate-invariant ring of dimension {}, log2 QP = {:.2} of at most {} for 128 bits \
         (HomomorphicEncryption.org table by dimension, which does not name this ring)",
        params.n(),
        params.log_qp(),
        security::max_log_qp(params.n()).unwrap_or(0)
    )
}

/// The most primes of a plan.
pub(super) const MAX_PRIMES: usize = 48;

/// The most plaintexts of a plan: what a client walks through to check an offer, 16 bytes each.
const MAX_PLAINTEXTS: usize = 1 << 20;

/// Decodes choices and derives everything; refuses what is insecure, too deep or does not fit.
///
/// A client does this for whatever a server sends, so nothing is built before its size is known to be small:
/// [`MAX_PRIMES`] in a ring of dimension 2^15, [`MAX_PLAINTEXTS`] plaintexts, 2^16 rotations (by the slots), messages
/// a link can carry. Time and memory are then bounded by the transform tables of those primes and by one step per
/// plaintext, tens of megabytes; the keys themselves are made only after [`Wish::admit`] has agreed to their bytes.
pub(super) fn derive(model: &PublicModel, choices: &Choices) -> Result<Derived, Error> {
    if choices.system != SYSTEM || choices.mode != MODE || !search::PLANS.contains(&choices.plan.as_str()) {
        let why = format!("no plan {}/{}/{}", choices.system, choices.mode, choices.plan);
        return Err(Error::InvalidMessage { message: "Offer", why });
    }
    outputs_for(model)?;
    let c = LeveledChoices::from_bytes(&choices.bytes).map_err(Error::invalid("Offer"))?;
    derive_from(Network::find(model)?, &c)
}

/// As [`derive`], from choices in hand.
pub(super) fn derive_from(network: Network, c: &LeveledChoices) -> Result<Derived, Error> {
    real_ring(&c.params)?;
    let (q, p) = (primes(&c.params.q), primes(&c.params.p));
    if q + p > MAX_PRIMES {
        let why = format!("plans take at most {MAX_PRIMES} primes, special ones included, not {q} and {p}");
        return Err(Error::Refused { why });
    }
    let circuit = Circuit::new(network, c)?;
    let levels = if c.params.levels.is_empty() { q } else { c.params.levels.len() };
    if levels != circuit.levels() {
        let why = format!("this network takes {} levels, not {levels}", circuit.levels());
        return Err(Error::Refused { why });
    }
    if let Circuit::Program(p) = &circuit
        && p.output_vectors() != 1
    {
        let why = format!("a reply is one ciphertext, this plan has {}", p.output_vectors());
        return Err(Error::Refused { why });
    }
    let count = circuit.plain_count();
    if count > MAX_PLAINTEXTS {
        let why = format!("the plan would take {count} plaintexts, more than {MAX_PLAINTEXTS}");
        return Err(Error::Refused { why });
    }
    let params = Params::new(&c.params).map_err(refused)?;
    let input_bytes = messages::input_bytes(&params, circuit.input_vectors()).map_err(refused)?;
    carried("input", input_bytes)?;
    let output_bytes = messages::output_bytes(&params, circuit.output_vectors()).map_err(refused)?;
    carried("outputs", output_bytes)?;
    let chain = chain(&params)?;
    let mut counter = Counter::new(chain);
    let input = counter.input(params.max_level(), circuit.input_scale());
    let units = vec![(); count];
    let wide = |e: CircuitError| Error::Refused { why: format!("the plan does not hold together: {e}") };
    let output = circuit.run(&mut counter, &vec![input; circuit.input_vectors()], &units).map_err(wide)?;
    let keys = counter.keys().reduced(&params);
    carried("keys", keys.encoded_bytes(&params))?;
    let error = noise::bound(&params, &circuit)?;
    useful(error)?;
    Ok(Derived {
        input_bytes,
        output_bytes,
        ops: counter.counts(),
        plains: counter.plains().to_vec(),
        error,
        predicted_us: units::predicted_us(c.units, &params, &circuit, c.deferred),
        deferred: c.deferred,
        units: c.units,
        output_scale: output.first().map_or(1.0, |y| y.scale.0),
        keys,
        circuit,
        params,
    })
}

/// Refuses a model that allows clients only the label.
pub(super) fn outputs_for(model: &PublicModel) -> Result<(), Error> {
    if model.output != OutputPolicy::ArgMax {
        return Ok(());
    }
    let why = format!(
        "the manifest of `{}` allows clients only the label; `{SYSTEM}` returns all outputs to whoever holds the key",
        model.name
    );
    Err(Error::Refused { why })
}

/// Refuses parameters of another ring than plans of approximate numbers are for.
pub(super) fn real_ring(params: &ParamsLiteral) -> Result<(), Error> {
    if params.kind == RingKind::ConjugateInvariant && params.log_n <= 15 {
        return Ok(());
    }
    let why = "plans work over the conjugate-invariant ring up to dimension 32768".to_owned();
    Err(Error::Refused { why })
}

/// Published bounds and row norms are the server's to choose; the bound must be a number a plan can hold.
pub(super) fn useful(error: f64) -> Result<(), Error> {
    if (0.0..f64::from(u32::MAX)).contains(&error) {
        return Ok(());
    }
    let why = format!("no useful error bound follows from the published bounds: it would be {error:.3e}");
    Err(Error::Refused { why })
}

/// How many primes a literal asks for.
pub(super) fn primes(moduli: &Moduli) -> usize {
    match moduli {
        Moduli::Bits(bits) => bits.len(),
        Moduli::Primes(primes) => primes.len(),
    }
}

/// Refuses a message no link carries.
pub(super) fn carried(message: &str, bytes: usize) -> Result<(), Error> {
    if bytes <= MAX_BODY_BYTES {
        return Ok(());
    }
    let why = format!("the plan would send {bytes} bytes of {message} at once, links carry {MAX_BODY_BYTES}");
    Err(Error::Refused { why })
}

pub(super) fn chain(params: &Params) -> Result<Chain, Error> {
    Chain::of(params).map_err(refused)
}

/// An error of `he` about parameters.
pub(super) fn refused(e: HeError) -> Error {
    Error::Refused { why: e.to_string() }
}
