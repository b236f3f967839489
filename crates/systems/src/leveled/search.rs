//! Finds plans: the named ones for networks of the CryptoNets shape, and for any network the cheapest it comes across.

mod beam;
mod named;

#[cfg(test)]
pub(super) use named::diagonal_at;

use super::choices::{InputForm, LayerChoice, LeveledChoices, LolaChoice};
use super::lola::{self, LolaProgram};
use super::memory::{MAX_PLAINTEXT_BYTES, kept_bytes};
use super::network::Network;
use super::parameters::{ChainBits, Precision, Style, Work, chain_of, styled_bits};
use super::plan::{Derived, derive_from};
use super::program::{Program, depths};
use super::units::{self, UnitCosts, Units};
use beam::{State, finish};
use named::{DIAGONAL, Make, PACKED, named};
use oblivia_nn::PublicModel;
use oblivia_pack::Layout;
use oblivia_pack::circuit::Options;
use oblivia_protocol::{Error, Wish};

/// Names of plans; the first is the default.
pub(super) const PLANS: [&str; 5] = ["planned", "fewest-rotations", "packed", "diagonal", "lola"];

/// Those of them that take whatever parameters are best.
pub(super) const SEARCHED: [&str; 2] = ["planned", "fewest-rotations"];

/// What a search minimises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Goal {
    /// Time, with each input's way over the link and each key's share.
    Time,
    /// Rotations, and time among equals.
    Rotations,
}

impl Goal {
    /// What part of a smaller dimension's price a larger one's must be below: a few rotations less are not worth rotations
    /// that take twice as long.
    fn worth(self) -> f64 {
        if self == Self::Rotations { 0.9 } else { 1.0 }
    }

    /// What a rotation costs beside its time, in nanoseconds.
    fn rotation(self) -> f64 {
        if self == Self::Rotations { 1e9 } else { 0.0 }
    }
}

/// The plan called `name`, or the best.
pub(super) fn choose(
    model: &PublicModel,
    network: &Network,
    wish: &Wish,
) -> Result<(&'static str, LeveledChoices), Error> {
    match wish.plan.as_deref() {
        None | Some("planned") => Ok(("planned", planned(network, wish, Goal::Time)?)),
        Some("fewest-rotations") => Ok(("fewest-rotations", planned(network, wish, Goal::Rotations)?)),
        Some("packed") => {
            Ok(("packed", named(network, 13, PACKED, wish).map_err(|why| unfit(model, "packed", why))?))
        }
        Some("diagonal") => {
            Ok(("diagonal", named(network, 13, DIAGONAL, wish).map_err(|why| unfit(model, "diagonal", why))?))
        }
        Some("lola") => Ok(("lola", by_lola(model, network, wish)?)),
        Some(other) => {
            let have = PLANS.join(", ");
            Err(Error::Input(format!("system `leveled` has no plan `{other}`; it has: {have}")))
        }
    }
}

/// Ways to lay out `network` in the slots of `bits`, those of the plan wished for, cheapest first; with that plan's name.
pub(super) fn ways(
    network: &Network,
    bits: &ChainBits,
    costs: UnitCosts,
    wish: &Wish,
) -> Result<(&'static str, Vec<Chosen>), String> {
    let slots = 1 << bits.literal.log_n;
    let found = |goal| finish(network, bits, costs, goal).into_iter().map(|s| (s.input, s.layers)).collect();
    let fixed = |make: Make| make.of(network, slots).map(|one| vec![one]);
    match wish.plan.as_deref() {
        None | Some("planned") => Ok(("planned", found(Goal::Time))),
        Some("fewest-rotations") => Ok(("fewest-rotations", found(Goal::Rotations))),
        Some("packed") => Ok(("packed", fixed(PACKED)?)),
        Some("diagonal") => Ok(("diagonal", fixed(DIAGONAL)?)),
        Some(other) => Err(format!("this mode has no plan `{other}`")),
    }
}

fn unfit(model: &PublicModel, name: &str, why: String) -> Error {
    Error::Refused { why: format!("`{}` has no plan `{name}`: {why}", model.name) }
}

/// Where everything goes: the input, and per linear layer the distance of copies made first, the results and options.
pub(super) type Chosen = (InputForm, Vec<(Option<usize>, Layout, Options)>);

/// LoLa's plan at dimension 16384, whose security bound takes its six levels: on as many of the 8192 slots of the
/// published one as take the fewest rotations, or on all 16384 if it does not fit there.
fn by_lola(model: &PublicModel, network: &Network, wish: &Wish) -> Result<LeveledChoices, Error> {
    const LOG_N: u32 = 14;
    lola::layers(network).map_err(|why| unfit(model, "lola", why))?;
    let rotations = |log_period: u32| {
        let choice = LolaChoice { log_period, log_scales: [0; 4] };
        let program = LolaProgram::new(network.clone(), &choice, 0, 1 << LOG_N).ok()?;
        Some((program.lola().rotations(), log_period))
    };
    let log_period = (0..LOG_N).filter_map(rotations).min().map_or(LOG_N, |(_, log_period)| log_period);
    precise(network, wish, |precision| {
        let bits = chain_of(&lola::SQUARES, LOG_N, precision)?;
        let inner = bits.inner_log_scale;
        let log_scales = [inner, inner, inner, bits.output_log_scale];
        Some(LeveledChoices {
            params: bits.literal,
            input_log_scale: bits.input_log_scale,
            input: InputForm::Lola(LolaChoice { log_period, log_scales }),
            units: UnitCosts::of(LOG_N, &wish.units),
            deferred: false,
            layers: Vec::new(),
        })
    })
    .map(|settled| settled.choices)
}

fn choices(
    bits: &ChainBits,
    units: UnitCosts,
    input: InputForm,
    layers: Vec<(Option<usize>, Layout, Options)>,
) -> LeveledChoices {
    let last = layers.len().saturating_sub(1);
    let layer = |(i, (copies, output, options)): (usize, (Option<usize>, Layout, Options))| LayerChoice {
        log_scale: if i == last { bits.output_log_scale } else { bits.inner_log_scale },
        copies,
        output,
        options,
    };
    LeveledChoices {
        params: bits.literal.clone(),
        input_log_scale: bits.input_log_scale,
        input,
        units,
        deferred: false,
        layers: layers.into_iter().enumerate().map(layer).collect(),
    }
}

/// Dynamic programming over layers and layouts. Levels follow from the network, scales from the parameters; the
/// smallest dimension that holds the values and the error wanted comes first, and larger ones are tried while they are cheaper.
fn planned(network: &Network, wish: &Wish, goal: Goal) -> Result<LeveledChoices, Error> {
    let mut refusal = None;
    let mut best: Option<(f64, LeveledChoices)> = None;
    for log_n in 13..=15 {
        let costs = UnitCosts::of(log_n, &wish.units);
        // A beam loses some plans: other weights keep others.
        let simple = costs.without_turns();
        let mut found = at_dimension(network, log_n, (costs, costs), goal, wish, &mut refusal);
        let other = at_dimension(network, log_n, (costs, simple), goal, wish, &mut refusal);
        // Where memory does not hold the plaintexts, prices are too rough to choose by: on the one network where it was
        // seen (`cifar-quadratic`), the plan found with the simple weights was the faster one.
        let deferred = other.as_ref().is_some_and(|(_, settled)| settled.choices.deferred);
        if other.as_ref().is_some_and(|o| deferred || found.as_ref().is_none_or(|f| o.1.before(&f.1))) {
            found = other;
        }
        if let Some((ns, settled)) = found
            && best.as_ref().is_none_or(|(least, _)| ns < goal.worth() * *least)
        {
            best = Some((ns, settled.choices));
        }
        if best.is_some() && goal == Goal::Time {
            break;
        }
    }
    match (best, refusal) {
        (Some((_, c)), _) => Ok(c),
        (None, Some(e)) => Err(e),
        (None, None) => Err(Error::Refused {
            why: format!(
                "no parameters up to dimension 32768 are deep and large enough for this network ({} levels)",
                depths(network).last().copied().unwrap_or(0) + 1
            ),
        }),
    }
}

/// The cheapest plan at dimension 2^`log_n`, searched for with the second of `costs`, and what the search minimises of it.
fn at_dimension(
    network: &Network,
    log_n: u32,
    (costs, searched): (UnitCosts, UnitCosts),
    goal: Goal,
    wish: &Wish,
    refusal: &mut Option<Error>,
) -> Option<(f64, Settled)> {
    let usual = |_: usize, units: &Units| units.usual();
    let bits = |&style: &Style| styled_bits(network, log_n, Precision::default(), style, (searched, &usual));
    let bits = Style::ALL.iter().find_map(bits)?;
    for state in finish(network, &bits, searched, goal) {
        let mut settled: Option<Settled> = None;
        for style in Style::ALL {
            match settle(network, log_n, (style, costs), &state, wish) {
                Ok(s) if settled.as_ref().is_none_or(|best| s.before(best)) => settled = Some(s),
                Ok(_) => {}
                Err(e) => *refusal = Some(e),
            }
        }
        if let Some(settled) = settled {
            return Some((state.nanoseconds, settled));
        }
    }
    None
}

/// What the search minimises, of a plan that is there: microseconds of computing on one thread, of sending the inputs,
/// and of each key's share.
pub(super) fn price(d: &Derived) -> f64 {
    let at = units::by_level(d.units, d.params.literal());
    let sent = d.circuit.input_vectors() as f64 * at(d.params.max_level()).input_sent();
    let mut keys = (0.0, 0.0);
    for &level in d.keys.rotations.values().flatten() {
        keys = (keys.0 + at(level).key(keys.1), keys.1 + at(level).key_bytes());
    }
    d.predicted_us as f64 + (sent + keys.0) / 1000.0
}

/// Error wanted, relative to the bound of the outputs.
const WANTED: f64 = 1.0 / 256.0;

/// Choices with as many bits of precision as the error wanted takes, or as the security table allows.
struct Settled {
    choices: LeveledChoices,
    /// The error over the one wanted.
    error: f64,
    /// As [`price`] has it.
    price: f64,
}

impl Settled {
    /// Whether it is the better one: nearer to the error wanted, which a tenth more is as good as, then cheaper.
    fn before(&self, other: &Self) -> bool {
        (self.error.max(1.1), self.price) < (other.error.max(1.1), other.price)
    }
}

/// A state with the chain of a style, whose levels are split for the work there.
fn settle(
    network: &Network,
    log_n: u32,
    (style, costs): (Style, UnitCosts),
    state: &State,
    wish: &Wish,
) -> Result<Settled, Error> {
    let with = |precision: Precision, work: Work<'_>| {
        let bits = styled_bits(network, log_n, precision, style, (costs, work))?;
        Some(choices(&bits, costs, state.input.clone(), state.layers.clone()))
    };
    let unfit = || Error::Refused { why: "no parameters fit the security table".into() };
    let first = with(Precision::default(), &|_, units| units.usual()).ok_or_else(unfit)?;
    let program = Program::new(network.clone(), &first)?;
    let memory = wish.max_memory.unwrap_or(MAX_PLAINTEXT_BYTES);
    let deferred =
        derive_from(network.clone(), &first).is_ok_and(|d| kept_bytes(&d.params, &d.plains, false) > memory);
    let work = units::work_at(&program, program.levels(), deferred);
    precise(network, wish, |precision| with(precision, &work))
}

/// What `make` chooses with as many bits of precision as the error wanted takes and the security table allows.
fn precise(
    network: &Network,
    wish: &Wish,
    make: impl Fn(Precision) -> Option<LeveledChoices>,
) -> Result<Settled, Error> {
    let most = network.layers.last().map_or(1.0, |l| l.norm * l.peak);
    let mut last: Result<Settled, Error> =
        Err(Error::Refused { why: "no parameters fit the security table".into() });
    for precision in Precision::all() {
        let Some(mut choices) = make(precision) else { continue };
        let mut derived = match derive_from(network.clone(), &choices) {
            Ok(derived) => derived,
            Err(e) => {
                last = last.or(Err(e));
                continue;
            }
        };
        let may = !matches!(choices.input, InputForm::Lola(_));
        choices.deferred = may
            && kept_bytes(&derived.params, &derived.plains, false)
                > wish.max_memory.unwrap_or(MAX_PLAINTEXT_BYTES);
        derived.predicted_us =
            units::predicted_us(derived.units, &derived.params, &derived.circuit, choices.deferred);
        let price = price(&derived);
        let error = derived.error / (most * WANTED);
        if last.as_ref().map_or(true, |best| error < best.error) {
            last = Ok(Settled { choices, error, price });
        }
        if error <= 1.0 {
            break;
        }
    }
    last
}
