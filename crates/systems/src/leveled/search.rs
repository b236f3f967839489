//! Finds plans: the named ones for networks of the CryptoNets shape, and for any network the cheapest it comes across.

use super::choices::{InputForm, LayerChoice, LeveledChoices, LolaChoice};
use super::layouts;
use super::levels::shapes;
use super::lola::{self, LolaProgram};
use super::mlp::{self, fewest};
use super::network::{Kind, LinearLayer, Network};
use super::parameters::{ChainBits, Precision, Style, Work, chain_bits, chain_of, styled_bits};
use super::plan::{Derived, derive, derive_from, primes};
use super::program::{Program, depths};
use super::units::{self, UnitCosts, Units};
use oblivia_he::{ExtendedPlaintext, Params};
use oblivia_nn::PublicModel;
use oblivia_pack::circuit::Options;
use oblivia_pack::{Axis, CircuitError, Layout, PlainUse};
use oblivia_protocol::{Choices, Error, Wish};
use std::collections::BTreeSet;

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

/// A named plan for convolution – square – dense – square – dense, and for dense layers with squares between.
#[derive(Clone, Copy)]
struct Make {
    conv: fn([&LinearLayer; 3], usize) -> Result<Chosen, CircuitError>,
    dense: fn(&[&LinearLayer], usize) -> Result<Chosen, CircuitError>,
}

const PACKED: Make = Make { conv: packed, dense: mlp::packed };
const DIAGONAL: Make = Make { conv: diagonal, dense: mlp::diagonal };

impl Make {
    fn of(self, network: &Network, slots: usize) -> Result<Chosen, String> {
        let made = match mlp::layers(network) {
            Some(layers) => (self.dense)(&layers, slots),
            None => (self.conv)(three(network)?, slots),
        };
        made.map_err(|e| e.to_string())
    }
}

/// A named plan, or why there is none.
fn named(network: &Network, log_n: u32, make: Make, wish: &Wish) -> Result<LeveledChoices, String> {
    let bits =
        chain_bits(network, log_n, Precision::default()).ok_or("no parameters fit the security table")?;
    let (input, layers) = make.of(network, 1 << log_n)?;
    Ok(choices(&bits, UnitCosts::of(log_n, &wish.units), input, layers))
}

/// The linear layers of convolution – square – dense – square – dense.
fn three(network: &Network) -> Result<[&LinearLayer; 3], String> {
    let shape =
        || "it is for convolution – square – dense – square – dense or dense – square – dense – …".to_owned();
    let kinds: Vec<&Kind> = network.layers.iter().map(|l| &l.kind).collect();
    let [Kind::Linear(a), Kind::Square, Kind::Linear(b), Kind::Square, Kind::Linear(c)] = kinds[..] else {
        return Err(shape());
    };
    if a.conv.is_none() || network.layers.iter().enumerate().any(|(k, l)| l.from != k) {
        return Err(shape());
    }
    Ok([a, b, c])
}

/// The plan `diagonal` at dimension 2^`log_n`.
#[cfg(test)]
pub(super) fn diagonal_at(network: &Network, log_n: u32) -> Result<LeveledChoices, String> {
    named(network, log_n, DIAGONAL, &Wish::default())
}

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

/// Taps in, copies of the activations, hybrid diagonals by baby and giant steps.
fn diagonal([a, b, c]: [&LinearLayer; 3], slots: usize) -> Result<Chosen, CircuitError> {
    let none = Options { fold: slots, spread: 1, baby: 1, chained: false, quarters: false };
    let [m, h, w] = a.window.output;
    let axes = [Axis::strided(m, h * w), Axis::strided(h, w), Axis::strided(w, 1)];
    let maps = Layout::new(a.window.output, slots, 1, axes, slots)?;
    let block = maps.extent();
    let (rows, copies) = (b.window.output[0].next_power_of_two(), slots / block);
    let each = rows.div_ceil(copies);
    let axes = [Axis::new(0, &[(each, 1), (copies, block)]), Axis::default(), Axis::default()];
    let hidden = Layout::new(b.window.output, slots, 1, axes, slots)?;
    let logits = Layout::features(c.window.output[0], slots, 1, block)?;
    let copied = maps.with_period(block)?;
    let b1 = Options {
        fold: each,
        spread: 1,
        baby: fewest(b, &copied, &hidden, each),
        chained: false,
        quarters: false,
    };
    let b2 = Options {
        fold: block,
        spread: 1,
        baby: fewest(c, &hidden, &logits, block),
        chained: false,
        quarters: false,
    };
    Ok((InputForm::Taps, vec![(None, maps, none), (Some(block), hidden, b1), (None, logits, b2)]))
}

/// One vector of stride phases in; the last layer in one product, spread over copies.
fn packed([a, b, c]: [&LinearLayer; 3], slots: usize) -> Result<Chosen, CircuitError> {
    let misfit = CircuitError::Layout { why: "its first layer has no packed input" };
    let image = layouts::inputs(a.window.input, &a.window, slots).into_iter().next().ok_or(misfit)?;
    let p = image.period();
    let misfit = CircuitError::Layout { why: "its maps do not each fit a copy of the input" };
    let maps = layouts::outputs(&image, &a.window).into_iter().find(|(l, f)| *f < p && l.period() == slots);
    let (maps, fold) = maps.ok_or(misfit)?;
    let conv = Options { fold, spread: 1, baby: slots, chained: false, quarters: false };
    let rows = b.window.output[0].next_power_of_two();
    let hidden = Layout::features(b.window.output[0], slots, 1, rows)?;
    let first = Options { fold: rows, spread: 1, baby: (rows / 8).max(1), chained: false, quarters: false };
    let outs = c.window.output[0].next_power_of_two();
    let logits = Layout::features(c.window.output[0], slots, 1, slots)?;
    let second = Options { fold: outs, spread: outs, baby: slots, chained: false, quarters: false };
    Ok((InputForm::Packed(image), vec![(None, maps, conv), (None, hidden, first), (None, logits, second)]))
}

/// Layouts in use, what they cost so far, and how they came about.
#[derive(Clone)]
struct State {
    /// Layout of every value still needed, and whether other slots are zero; `None` for taps.
    places: Vec<Option<(Layout, bool)>>,
    nanoseconds: f64,
    /// Rotations that have a key, and the highest level that its kind serves.
    keys: BTreeSet<(usize, usize)>,
    key_bytes: f64,
    input: InputForm,
    layers: Vec<(Option<usize>, Layout, Options)>,
}

impl State {
    /// Adds what keys cost that are not there yet.
    fn pay(&mut self, steps: impl IntoIterator<Item = usize>, units: &Units) {
        for step in steps {
            if step != 0 && self.keys.insert((step, units.group())) {
                self.nanoseconds += units.key(self.key_bytes);
                self.key_bytes += units.key_bytes();
            }
        }
    }
}

/// Rotations that make copies.
fn doublings(copies: Option<usize>, slots: usize) -> Vec<usize> {
    let Some(period) = copies else { return Vec::new() };
    (0..(slots / period).ilog2()).map(|e| slots - (period << e)).collect()
}

/// States kept after each layer: those with the cheapest histories for distinct layouts of the values in use.
const BEAM: usize = 12;

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

/// Memory for encoded plaintexts where the user names no limit.
pub(super) const MAX_PLAINTEXT_BYTES: u64 = 2 << 30;

/// Memory that encoded plaintexts take: packed, if one is of a matrix product, and then at most 8 bytes a coefficient if
/// deferred.
pub(super) fn kept_bytes(params: &Params, plains: &[PlainUse], deferred: bool) -> u64 {
    let one = |p: &PlainUse| match ExtendedPlaintext::memory_bytes(params, p.level) {
        _ if p.extended && deferred => params.n() * 8,
        Ok(packed) if p.extended => packed,
        _ => params.basis(p.level).map_or(0, |q| q.limbs()) * params.n() * 8,
    };
    plains.iter().map(|p| one(p) as u64).sum()
}

/// Rows of n words that the transforms of a prime read, at most: four, and as many again where there are vector kernels.
const CONSTANTS: usize = 8;

/// Bytes beside the residues of a plaintext: what says where it is used, what aligns it and keeps it from sharing a cache's
/// sets with others.
const BESIDE_PLAINTEXT: usize = 5 << 10;

/// Memory that a server keeps of a plan beside the residues of its plaintexts: the constants of the transforms, also where
/// they are made at the first use, what `plains` plaintexts take besides, and one polynomial per level to be used again,
/// as encoding on one thread leaves them.
pub(super) fn kept_beside(params: &Params, plains: usize) -> u64 {
    let row = params.n() * 8;
    let primes = primes(&params.literal().q) + primes(&params.literal().p);
    let levels = (1..=params.max_level()).filter_map(|level| params.extended_basis(level).ok());
    let again: usize = levels.map(|basis| basis.limbs()).sum();
    ((CONSTANTS * primes + again) * row + plains * BESIDE_PLAINTEXT) as u64
}

/// Memory that a server keeps for a plan. Scalars are counted as vectors, so plans with inputs from taps take less.
pub(super) fn prepared_bytes(model: &PublicModel, choices: &Choices) -> Result<u64, Error> {
    let d = derive(model, choices)?;
    Ok(kept_bytes(&d.params, &d.plains, d.deferred) + kept_beside(&d.params, d.plains.len()))
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

/// States behind the last layer, cheapest first, that answer with outputs alone in one vector.
fn finish(network: &Network, bits: &ChainBits, costs: UnitCosts, goal: Goal) -> Vec<State> {
    let slots = 1usize << bits.literal.log_n;
    let (at, levels) = (units::by_level(costs, &bits.literal), shapes(&bits.literal).len());
    let depths = depths(network);
    let mut states = starts(network, slots);
    for (k, layer) in network.layers.iter().enumerate() {
        let level = levels - depths.get(layer.from).copied().unwrap_or(0);
        let units = at(level);
        let mut next: Vec<State> = Vec::new();
        for state in &states {
            let place = state.places.get(layer.from).cloned().flatten();
            match (&layer.kind, place) {
                (Kind::Linear(l), Some(place)) => extend(state, l, &place, &units, goal, &mut next),
                (Kind::Linear(l), None) => next.extend(from_taps(state, l, slots, &units, goal)),
                (Kind::Square, Some((layout, clean))) => {
                    let mut s = state.clone();
                    s.nanoseconds += layout.vectors() as f64 * units.square();
                    s.places.push(Some((layout, clean)));
                    next.push(s);
                }
                (Kind::Shift(_), Some(place)) => {
                    let mut s = state.clone();
                    s.places.push(Some(place));
                    next.push(s);
                }
                (Kind::Add(other), Some((layout, clean))) => {
                    let Some(Some((o, c))) = state.places.get(*other) else { continue };
                    if *o == layout {
                        let mut s = state.clone();
                        let clean = clean && *c;
                        s.places.push(Some((layout, clean)));
                        next.push(s);
                    }
                }
                (_, None) => {}
            }
        }
        // What will be added to another value lies where that does, or it never can.
        if let Some(other) = network.joins(k + 1) {
            let at =
                |s: &State, value: usize| s.places.get(value).cloned().flatten().map(|(layout, _)| layout);
            next.retain(|s| at(s, k + 1) == at(s, other));
        }
        // Values nobody reads any more do not tell states apart.
        let needed = |v: usize| {
            v == k + 1
                || network
                    .layers
                    .iter()
                    .skip(k + 1)
                    .any(|l| l.from == v || matches!(l.kind, Kind::Add(other) if other == v))
        };
        for s in &mut next {
            for (v, place) in s.places.iter_mut().enumerate() {
                if !needed(v) {
                    *place = None;
                }
            }
        }
        next.sort_by(|a, b| a.nanoseconds.total_cmp(&b.nanoseconds));
        let mut kept: Vec<State> = Vec::new();
        for s in next {
            if kept.len() < BEAM && kept.iter().all(|k| k.places != s.places) {
                kept.push(s);
            }
        }
        states = kept;
    }
    let last = network.layers.len();
    states.retain(
        |s| matches!(s.places.get(last), Some(Some((layout, clean))) if *clean && layout.vectors() == 1),
    );
    states
}

fn starts(network: &Network, slots: usize) -> Vec<State> {
    let first = network.layers.iter().find_map(|l| match (&l.kind, l.from) {
        (Kind::Linear(linear), 0) => Some(linear),
        _ => None,
    });
    let Some(first) = first else { return Vec::new() };
    let state = |input: InputForm, place: Option<Layout>| State {
        places: vec![place.map(|l| (l, true))],
        nanoseconds: 0.0,
        keys: BTreeSet::new(),
        key_bytes: 0.0,
        input,
        layers: Vec::new(),
    };
    let packed = layouts::inputs(network.input, &first.window, slots);
    let mut states: Vec<State> =
        packed.into_iter().map(|l| state(InputForm::Packed(l.clone()), Some(l))).collect();
    let readers = network.layers.iter().filter(|l| l.from == 0).count();
    if first.conv.as_ref().is_some_and(|c| c.groups == 1) && readers == 1 {
        states.push(state(InputForm::Taps, None));
        let columns = first.window.columns().and_then(|c| layouts::columns(c.input, slots));
        states.extend(columns.map(|l| state(InputForm::Columns(l.clone()), Some(l))));
    }
    states
}

/// The first convolution from its taps.
fn from_taps(state: &State, l: &LinearLayer, slots: usize, units: &Units, goal: Goal) -> Option<State> {
    let [m, h, w] = l.window.output;
    let axes = [Axis::strided(m, h * w), Axis::strided(h, w), Axis::strided(w, 1)];
    let layout = Layout::new(l.window.output, slots, 1, axes, slots).ok()?;
    let mut s = state.clone();
    s.nanoseconds += units.taps(l.window.fan_in(), m)
        + (l.window.fan_in() - 1) as f64 * (units.input() + units.input_sent());
    s.nanoseconds += (m - 1) as f64 * goal.rotation();
    s.pay((1..m).map(|m| (slots - m * h * w % slots) % slots), units);
    s.layers.push((
        None,
        layout.clone(),
        Options { fold: slots, spread: 1, baby: 1, chained: false, quarters: false },
    ));
    s.places.push(Some((layout, true)));
    Some(s)
}

/// All ways to run a linear layer.
fn extend(
    state: &State,
    l: &LinearLayer,
    place: &(Layout, bool),
    units: &Units,
    goal: Goal,
    next: &mut Vec<State>,
) {
    let (layout, clean) = place;
    let slots = layout.slots();
    let window = match (&state.input, state.layers.is_empty()) {
        (InputForm::Columns(_), true) => match l.window.columns() {
            Some(columns) => columns,
            None => return,
        },
        _ => l.window.clone(),
    };
    let layer_is_first = state.layers.is_empty();
    let mut inputs = vec![(None, layout.clone())];
    let extent = layout.extent();
    if *clean
        && layout.vectors() == 1
        && layout.period() == slots
        && extent < slots
        && !state.layers.is_empty()
    {
        inputs.extend(layout.with_period(extent).ok().map(|l| (Some(extent), l)));
    }
    for (copies, input) in inputs {
        let copying =
            copies.map_or(0.0, |p| f64::from((slots / p).ilog2()) * (units.rotation() + goal.rotation()));
        for (output, fold) in layouts::outputs(&input, &window) {
            let first = Options { fold, spread: 1, baby: 1, chained: false, quarters: false };
            let Ok(circuit) = l.circuit(window.clone(), &input, &output, first) else { continue };
            let price = |baby: usize, chained: bool, quarters: bool| {
                let outline = circuit.outline_with(baby, chained, quarters);
                let new = outline.steps.iter().filter(|&&s| !state.keys.contains(&(s, units.group()))).count()
                    as f64;
                let rotations = outline.rotations.iter().sum::<usize>() as f64;
                units.linear(&outline)
                    + rotations * goal.rotation()
                    + new * units.key(state.key_bytes + new * units.key_bytes() / 2.0)
            };
            let ways = [false, true].map(|chained| [false, true].map(|quarters| (chained, quarters)));
            let cost = |baby: usize| {
                ways.as_flattened()
                    .iter()
                    .map(move |&(c, q)| (price(baby, c, q), baby, c, q))
                    .collect::<Vec<_>>()
            };
            let babies = (1..=12).chain((4..=slots.ilog2()).map(|e| 1usize << e)).chain(pitches(&input));
            let Some((_, baby, chained, quarters)) = babies.flat_map(cost).min_by(|a, b| a.0.total_cmp(&b.0))
            else {
                continue;
            };
            let mut s = state.clone();
            let schedule = circuit.outline_with(baby, chained, quarters);
            let rotations = schedule.rotations.iter().sum::<usize>() as f64;
            s.nanoseconds += copying + units.linear(&schedule) + rotations * goal.rotation();
            if layer_is_first {
                s.nanoseconds += (input.vectors() - 1) as f64 * (units.input() + units.input_sent());
            }
            s.pay(doublings(copies, slots), units);
            s.pay(schedule.steps, units);
            s.layers.push((copies, output.clone(), Options { baby, chained, quarters, ..first }));
            s.places.push(Some((output, circuit.is_clean())));
            next.push(s);
        }
    }
}

/// Baby steps that are no power of two: strides of channels and their multiples.
fn pitches(input: &Layout) -> impl Iterator<Item = usize> + use<> {
    let slots = input.slots();
    let strides: Vec<usize> =
        input.axes().iter().flat_map(|a| &a.digits).map(|d| d.stride as usize).collect();
    strides
        .into_iter()
        .filter(move |s| *s > 1 && *s < slots && !s.is_power_of_two())
        .flat_map(move |s| (0..8).map(move |e| s << e).take_while(move |b| *b < slots))
}
