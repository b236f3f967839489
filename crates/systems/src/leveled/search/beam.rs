//! The search for layouts: dynamic programming over the layers with a beam.

use super::super::choices::InputForm;
use super::super::layouts;
use super::super::levels::shapes;
use super::super::network::{Kind, LinearLayer, Network};
use super::super::parameters::ChainBits;
use super::super::program::depths;
use super::super::units::{self, UnitCosts, Units};
use super::Goal;
use oblivia_pack::circuit::Options;
use oblivia_pack::{Axis, Layout};
use std::collections::BTreeSet;

/// Layouts in use, what they cost so far, and how they came about.
#[derive(Clone)]
pub(super) struct State {
    /// Layout of every value still needed, and whether other slots are zero; `None` for taps.
    places: Vec<Option<(Layout, bool)>>,
    pub(super) nanoseconds: f64,
    /// Rotations that have a key, and the highest level that its kind serves.
    keys: BTreeSet<(usize, usize)>,
    key_bytes: f64,
    pub(super) input: InputForm,
    pub(super) layers: Vec<(Option<usize>, Layout, Options)>,
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

/// States behind the last layer, cheapest first, that answer with outputs alone in one vector.
pub(super) fn finish(network: &Network, bits: &ChainBits, costs: UnitCosts, goal: Goal) -> Vec<State> {
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
