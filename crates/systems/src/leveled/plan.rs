//! What may be chosen, and what follows from it.

use super::diagonal::{Diagonal, LogScales};
use super::messages;
use super::network::TwoSquares;
use super::noise;
use crate::common::{inherent_leaks, trust};
use oblivia_base::codec::{Decode, DecodeError, Encode, Reader, Writer};
use oblivia_he::{HeError, KeyRequest, Moduli, Params, ParamsLiteral, RingKind, security};
use oblivia_nn::{OutputPolicy, PublicModel};
use oblivia_pack::{Chain, Counter, PlainUse};
use oblivia_protocol::session::model_digest;
use oblivia_protocol::wire::MAX_BODY_BYTES;
use oblivia_protocol::{
    Behaviour, Choices, Cost, Error, ErrorBound, HEADER_BYTES, OpCounts, Plan, Role, Traffic, Wish,
};

pub(super) const SYSTEM: &str = "leveled";
pub(super) const MODE: &str = "approximate";
pub(super) const PLAN: &str = "diagonal";

/// What the planner chooses for the plan `diagonal`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct DiagonalChoices {
    pub(super) params: ParamsLiteral,
    pub(super) scales: LogScales,
    pub(super) babies: [usize; 2],
}

impl DiagonalChoices {
    /// Dimension 8192, 216.98 of 218 bits: primes of 26 bits behind linear layers, of 33 behind squares, 34
    /// at the bottom, 39 for key switching. Cookbook §7, measured there at 15.8 bits of precision.
    pub(super) fn standard(babies: [usize; 2]) -> Self {
        Self {
            params: ParamsLiteral {
                kind: RingKind::ConjugateInvariant,
                log_n: 13,
                q: Moduli::Bits(vec![34, 26, 33, 26, 33, 26]),
                p: Moduli::Bits(vec![39]),
                alpha: 1,
            },
            scales: LogScales { input: 32, conv: 33, dense1: 33, output: 32 },
            babies,
        }
    }
}

impl Encode for DiagonalChoices {
    fn encode(&self, w: &mut Writer) {
        self.params.encode(w);
        let LogScales { input, conv, dense1, output } = self.scales;
        [input, conv, dense1, output].into_iter().for_each(|v| w.u32(v));
        self.babies.iter().for_each(|&b| w.count(b));
    }
}

impl Decode for DiagonalChoices {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let params = ParamsLiteral::decode(r)?;
        let mut log = || {
            let v = r.u32("log scale")?;
            r.require((20..=60).contains(&v), "log scale")?;
            Ok::<_, DecodeError>(v)
        };
        let scales = LogScales { input: log()?, conv: log()?, dense1: log()?, output: log()? };
        let mut baby = || {
            let v = r.u32("baby size")? as usize;
            r.require((1..=1 << 17).contains(&v), "baby size")?;
            Ok::<_, DecodeError>(v)
        };
        Ok(Self { params, scales, babies: [baby()?, baby()?] })
    }
}

/// Everything both roles need at run time, derived from choices.
pub(super) struct Derived {
    pub(super) params: Params,
    pub(super) circuit: Diagonal,
    pub(super) keys: KeyRequest,
    pub(super) plains: Vec<PlainUse>,
    pub(super) ops: OpCounts,
    pub(super) input_bytes: usize,
    pub(super) output_bytes: usize,
    pub(super) output_scale: f64,
    pub(super) error: f64,
}

/// The best plan for `wish`; so far there is one, and its baby sizes are those with the fewest rotations.
pub(super) fn search(model: &PublicModel, wish: &Wish) -> Result<Plan, Error> {
    only("mode", &wish.mode, MODE)?;
    only("plan", &wish.plan, PLAN)?;
    let net = TwoSquares::find(model)?;
    let first = DiagonalChoices::standard([1, 1]);
    let params = Params::new(&first.params).map_err(refused)?;
    let chosen = Diagonal::new(net, model.graph.input_shape(), params.slots(), [None, None], first.scales)?;
    check(model, &wrap(&DiagonalChoices { babies: chosen.babies(), ..first }))
}

fn only(what: &str, wanted: &Option<String>, have: &str) -> Result<(), Error> {
    match wanted {
        Some(w) if w != have => {
            Err(Error::Input(format!("system `{SYSTEM}` has no {what} `{w}`; it has: {have}")))
        }
        _ => Ok(()),
    }
}

pub(super) fn wrap(choices: &DiagonalChoices) -> Choices {
    Choices { system: SYSTEM.into(), mode: MODE.into(), plan: PLAN.into(), bytes: choices.to_bytes() }
}

/// What follows from `choices`: the same on both sides, by integer and correctly rounded arithmetic alone.
pub(super) fn check(model: &PublicModel, choices: &Choices) -> Result<Plan, Error> {
    let d = derive(model, choices)?;
    let up = HEADER_BYTES + d.input_bytes as u64;
    let down = HEADER_BYTES + d.output_bytes as u64;
    let key_bytes = d.keys.encoded_bytes(&d.params) as u64;
    let mut steps = d.circuit.steps();
    steps.push(format!(
        "keys: {} rotations{}",
        d.keys.rotations.len(),
        if d.keys.relin.is_some() { " and relinearisation" } else { "" }
    ));
    Ok(Plan {
        choices: choices.clone(),
        model: model_digest(model),
        cost: Cost {
            // The keys follow the acceptance of the plan in the same direction: no new round.
            setup: Traffic { up_bytes: HEADER_BYTES + key_bytes, down_bytes: 0, rounds: 0 },
            offline: Traffic::default(),
            online: Traffic { up_bytes: up, down_bytes: down, rounds: 2 },
            ops: d.ops,
        },
        key_bytes,
        session_memory_bytes: session_memory_bytes(&d),
        security_bits: 128,
        parameters: parameters(&d.params),
        error: ErrorBound {
            units_2_32: (d.error * 4_294_967_296.0).ceil() as u64,
            assumption: ASSUMPTION.into(),
        },
        leaks: inherent_leaks("how many samples are predicted, and when", true),
        trust: vec![
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
        ],
        steps,
    })
}

const ASSUMPTION: &str = "except with probability 2^-64, assuming independent sub-Gaussian slot errors, an input \
     whose activations stay within the published bounds, and the root mean square of all slots within them too";

fn parameters(params: &Params) -> String {
    format!(
        "CKKS over the conjugate-invariant ring of dimension {}, log2 QP = {:.2} of at most {} for 128 bits \
         (HomomorphicEncryption.org table by dimension, which does not name this ring)",
        params.n(),
        params.log_qp(),
        security::max_log_qp(params.n()).unwrap_or(0)
    )
}

/// The most plaintexts of a plan: what a client walks through to check an offer, 16 bytes each.
const MAX_PLAINTEXTS: usize = 1 << 20;

/// Decodes choices and derives everything; refuses what is insecure, too deep or does not fit.
///
/// A client does this for whatever a server sends, so nothing is built before its size is known to be small:
/// 12 primes in a ring of dimension 2^15, [`MAX_PLAINTEXTS`] plaintexts, 2^16 rotations (by the slots), messages
/// a link can carry. Time and memory are then bounded by the transform tables of those primes and by one step per
/// plaintext, tens of megabytes; the keys themselves are made only after [`Wish::admit`] has agreed to their bytes.
pub(super) fn derive(model: &PublicModel, choices: &Choices) -> Result<Derived, Error> {
    if choices.system != SYSTEM || choices.mode != MODE || choices.plan != PLAN {
        let why = format!("no plan {}/{}/{}", choices.system, choices.mode, choices.plan);
        return Err(Error::InvalidMessage { message: "Offer", why });
    }
    if model.output == OutputPolicy::ArgMax {
        return Err(Error::Refused {
            why: format!(
                "the manifest of `{}` allows clients only the label; `{SYSTEM}` returns all outputs to whoever \
                 holds the key",
                model.name
            ),
        });
    }
    let c = DiagonalChoices::from_bytes(&choices.bytes).map_err(Error::invalid("Offer"))?;
    if c.params.kind != RingKind::ConjugateInvariant || c.params.log_n > 15 {
        let why = format!("plan `{PLAN}` works over the conjugate-invariant ring up to dimension 32768");
        return Err(Error::Refused { why });
    }
    let (q, p) = (primes(&c.params.q), primes(&c.params.p));
    if q != Diagonal::LEVELS || p > Diagonal::LEVELS {
        let levels = Diagonal::LEVELS;
        let why =
            format!("plan `{PLAN}` takes {levels} primes and at most {levels} special ones, not {q} and {p}");
        return Err(Error::Refused { why });
    }
    let net = TwoSquares::find(model)?;
    let babies = c.babies.map(Some);
    let slots = 1 << c.params.log_n;
    let circuit = Diagonal::new(net, model.graph.input_shape(), slots, babies, c.scales)?;
    let count = circuit.plain_count();
    if count > MAX_PLAINTEXTS {
        let why = format!("plan `{PLAN}` would take {count} plaintexts, more than {MAX_PLAINTEXTS}");
        return Err(Error::Refused { why });
    }
    let params = Params::new(&c.params).map_err(refused)?;
    let input_bytes = messages::input_bytes(&params, circuit.input_vectors()).map_err(refused)?;
    carried("input", input_bytes)?;
    let chain = chain(&params)?;
    let mut counter = Counter::new(chain);
    let input = counter.input(params.max_level(), circuit.input_scale());
    let units = vec![(); count];
    let wide = |e: oblivia_pack::CircuitError| Error::Refused { why: format!("plan `{PLAN}`: {e}") };
    let output = circuit.run(&mut counter, &vec![input; circuit.input_vectors()], &units).map_err(wide)?;
    let keys = counter.keys().clone();
    carried("keys", keys.encoded_bytes(&params))?;
    noise::check_fits(&params, &circuit)?;
    let error = noise::bound(&params, &circuit)?;
    // Published bounds and row norms are the server's to choose; the bound must be a number a plan can hold.
    if !(0.0..f64::from(u32::MAX)).contains(&error) {
        let why = format!("no useful error bound follows from the published bounds: it would be {error:.3e}");
        return Err(Error::Refused { why });
    }
    Ok(Derived {
        input_bytes,
        output_bytes: messages::output_bytes(&params).map_err(refused)?,
        ops: counter.counts(),
        plains: counter.plains().to_vec(),
        error,
        output_scale: output.scale.0,
        keys,
        circuit,
        params,
    })
}

/// How many primes a literal asks for.
fn primes(moduli: &Moduli) -> usize {
    match moduli {
        Moduli::Bits(bits) => bits.len(),
        Moduli::Primes(primes) => primes.len(),
    }
}

/// Refuses a message no link carries.
fn carried(message: &str, bytes: usize) -> Result<(), Error> {
    if bytes <= MAX_BODY_BYTES {
        return Ok(());
    }
    let why =
        format!("plan `{PLAN}` would send {bytes} bytes of {message} at once, links carry {MAX_BODY_BYTES}");
    Err(Error::Refused { why })
}

/// The keys as the server holds them: both halves, 8 bytes per residue.
fn session_memory_bytes(d: &Derived) -> u64 {
    let key = |&level: &usize| {
        (d.params.digits(level) * (level + d.params.special().limbs()) * d.params.n() * 2 * 8) as u64
    };
    d.keys.rotations.values().chain(&d.keys.relin).map(key).sum()
}

fn chain(params: &Params) -> Result<Chain, Error> {
    let basis = params.basis(params.max_level()).map_err(refused)?;
    Ok(Chain {
        slots: params.slots(),
        primes: basis.moduli().map(|m| m.value()).collect(),
        special: params.special().limbs(),
        digit: params.alpha(),
    })
}

/// An error of `he` about parameters.
pub(super) fn refused(e: HeError) -> Error {
    Error::Refused { why: e.to_string() }
}
