//! From float weights and ranges to integer weights, shifts and scales.

use super::scales::Groups;
use super::{Certainty, FixedModel, Formats, LayerWeights, LinearFormat, Network, Ranges};
use crate::{Model, NnError, Node, Op, WeightId, WireId, pass};

/// What a quantisation is asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Options {
    /// l, the width of activations: [`Network::BITS`]; 16 to 20 are usual.
    pub bits: u32,
    /// Width of weights: [`Network::WEIGHT_BITS`].
    pub weight_bits: u32,
    /// The largest shift of a layer, at most [`Network::MAX_SHIFT`].
    pub max_shift: u32,
    /// Each limit is at least this many times the largest value measured, at least 1. Without effect on bounds that hold
    /// always.
    pub margin: f64,
    /// Share of a wire's largest measured value that every channel of it is taken to reach, 0 to 1: few calibration inputs
    /// do not show what each channel may do.
    pub floor: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { bits: 18, weight_bits: 8, max_shift: 20, margin: 2.0, floor: 0.5 }
    }
}

/// Times a fixed scale may be lowered, or static bounds be tightened, before the pass gives up.
const TRIES: usize = 200;

/// Times shared scales are lowered before shifts are, which always ends: where a layer's input and output share a scale,
/// lowering it changes nothing.
const PATIENCE: usize = 8;

/// What a shared scale may be divided by for the sake of one layer's weights.
const MOST_LOWERED: f64 = 2.0;

/// The network in fixed point. `model` must be folded ([`pass::fold`]); `ranges` are its own. Widths, shifts, norms and the
/// two public scales end up in [`Formats`]; nothing else is published.
///
/// Scales are per channel. A group of channels that must share one (residual sums, the outputs) and that several layers
/// make gets the largest that no member's limit forbids; every other layer gets the shift for which rounding of weights
/// and of results together do least, relative to each channel's range.
///
/// # Errors
/// As [`Network::new`]; [`NnError::BadModel`] for options outside their ranges and where a model does not fit the widths.
pub fn quantise(model: &Model, ranges: &Ranges, options: &Options) -> Result<FixedModel, NnError> {
    let blank = blank(model, ranges, options)?;
    let mut raised = ranges.clone();
    if ranges.images > 0 {
        for wire in &mut raised.peak {
            let least = options.floor * wire.iter().fold(0.0f64, |m, v| m.max(*v));
            wire.iter_mut().for_each(|v| *v = v.max(least));
        }
    }
    let ranges = &raised;
    let mut headroom = if ranges.images > 0 { 1.0 / options.margin } else { 1.0 };
    let mut lowered: Vec<f64> = Vec::new();
    let mut shifts = vec![None; blank.graph().nodes().len()];
    for attempts in 0..TRIES {
        let mut groups = Groups::new(&blank, ranges, headroom)?;
        lowered.resize(groups.groups.len(), 1.0);
        for (group, factor) in groups.groups.iter_mut().zip(&lowered) {
            group.most *= factor;
            group.scale = group.scale.map(|s| s * factor);
        }
        match attempt(model, ranges, options, &blank, groups, &mut shifts, attempts >= PATIENCE)? {
            Outcome::TooFine(too_fine) => {
                too_fine.into_iter().for_each(|(group, factor)| lowered[group] *= factor);
            }
            Outcome::Done(fixed) if ranges.images > 0 => return Ok(fixed),
            Outcome::Done(fixed) => match fixed.stays_inside()? {
                true => return Ok(fixed),
                // Rounding carried some value past a limit that the real one kept.
                false => {
                    headroom *= 0.98;
                    lowered.fill(1.0);
                    shifts.fill(None);
                }
            },
        }
    }
    let why =
        format!("does not fit activations of {} bits and weights of {}", options.bits, options.weight_bits);
    Err(NnError::BadModel { what: "fixed-point model", why })
}

/// The network with widths and nothing else decided.
fn blank(model: &Model, ranges: &Ranges, options: &Options) -> Result<Network, NnError> {
    let bad = |why: String| Err(NnError::BadModel { what: "fixed-point options", why });
    let margin = options.margin.is_finite() && options.margin >= 1.0;
    if options.max_shift > Network::MAX_SHIFT || !margin || !(0.0..=1.0).contains(&options.floor) {
        return bad(format!("{options:?}"));
    }
    model.weights.belong_to(&model.public.graph)?;
    let linear = |n: &&Node| matches!(n.op, Op::Conv(_) | Op::Dense { .. });
    let layers = pass::pool_first(&model.public.graph)?.nodes().iter().filter(linear).count();
    let (bits, weight_bits) = (options.bits, options.weight_bits);
    let layer = LinearFormat { bits, shift: 0, weight_bits, norm1: 0, norm2: 0 };
    let certainty = match ranges.images {
        0 => Certainty::Always,
        images => Certainty::Calibrated { images, margin: options.margin, overflow: 1.0, error: None },
    };
    let formats = Formats {
        input_bits: bits,
        input_scale: 1.0,
        output_scale: 1.0,
        layers: vec![layer; layers],
        certainty,
    };
    let network = Network::new(&model.public, formats)?;
    let same = |v: &[Vec<f64>]| v.len() == network.graph().nodes().len();
    if !same(&ranges.peak) || !same(&ranges.rms) || !ranges.peak.iter().flatten().all(|v| v.is_finite()) {
        return bad("ranges are of another model".into());
    }
    Ok(network)
}

enum Outcome {
    Done(FixedModel),
    /// Groups whose decided scale is so large that some layer's weights do not fit, and by what to lower it.
    TooFine(Vec<(usize, f64)>),
}

fn attempt(
    model: &Model,
    ranges: &Ranges,
    options: &Options,
    blank: &Network,
    mut groups: Groups,
    shifts: &mut [Option<u32>],
    impatient: bool,
) -> Result<Outcome, NnError> {
    let graph = blank.graph();
    let mut layers = Vec::new();
    let mut formats = blank.formats().clone();
    formats.layers.clear();
    let (mut again, mut too_fine) = (false, Vec::<(usize, f64)>::new());
    for (i, node) in graph.nodes().iter().enumerate() {
        if blank.linear(WireId(i as u32)).is_none() {
            layers.push(None);
            continue;
        }
        let layer = Layer::new(model, node, &groups, ranges)?;
        // Where others share its scales, a layer keeps the shift it first chose, so that those only ever sink.
        let shared = groups.channels[i].iter().any(|&(g, _)| groups.groups[g].maker.is_none());
        let chosen =
            shifts[i].filter(|_| shared).unwrap_or_else(|| layer.choose(i, &groups, ranges, options));
        let shift = *shifts[i].insert(chosen);
        for (group, scale) in layer.own_scales(i, &groups, shift, options) {
            groups.groups[group].scale = Some(scale);
        }
        let own_too_fine = layer.too_fine(i, &groups, shift, options);
        again |= !own_too_fine.is_empty();
        if !own_too_fine.is_empty() && impatient && shift > 0 {
            shifts[i] = Some(shift - 1);
        } else {
            too_fine.extend(own_too_fine);
        }
        if again {
            continue;
        }
        let weights = layer.round(i, &groups, shift);
        let (norm1, norm2) = weights.norms();
        let (bits, weight_bits) = (options.bits, options.weight_bits);
        let (norm1, norm2) = (rough(norm1), rough(norm2));
        formats.layers.push(LinearFormat { bits, shift, weight_bits, norm1, norm2 });
        layers.push(Some(weights));
    }
    if again {
        // Of several factors of a group the least counts.
        too_fine.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        too_fine.dedup_by_key(|(group, _)| *group);
        return Ok(Outcome::TooFine(too_fine));
    }
    let scale = |wire: usize| groups.scale(wire, 0).unwrap_or(1.0);
    formats.input_scale = scale(0);
    formats.output_scale = scale(graph.output().index());
    let scales: Vec<Vec<f64>> = (0..graph.nodes().len())
        .map(|w| (0..groups.channels[w].len()).map(|c| groups.scale(w, c).unwrap_or(1.0)).collect())
        .collect();
    let network = Network::new(&model.public, formats)?;
    FixedModel::new(network, layers, scales).map(Outcome::Done)
}

/// A number rounded up to four significant bits, so that little is said about weights.
fn rough(v: u64) -> u64 {
    let drop = (64 - v.leading_zeros()).saturating_sub(4);
    v.div_ceil(1 << drop) << drop
}

/// A convolution or dense layer in float, its input channels already divided by their scales.
struct Layer {
    /// By output, [inputs of its group][taps].
    rows: Vec<Vec<f64>>,
    /// By output: the largest |weight|.
    tops: Vec<f64>,
    bias: Vec<f64>,
    /// By output: sum over taps of the mean square of what they meet, in integer units.
    power: Vec<f64>,
}

impl Layer {
    fn new(model: &Model, node: &Node, groups: &Groups, ranges: &Ranges) -> Result<Self, NnError> {
        let (weight, bias, taps, parts) = match &node.op {
            Op::Conv(c) => (c.weight, c.bias, c.kernel[0] * c.kernel[1], c.groups.max(1)),
            Op::Dense { weight, bias, .. } => (*weight, *bias, 1, 1),
            _ => (WeightId(0), None, 1, 1),
        };
        let x = node.inputs.first().map_or(0, |w| w.index());
        let inputs = groups.channels[x].len();
        let scales: Option<Vec<f64>> = (0..inputs).map(|c| groups.scale(x, c)).collect();
        let Some(scales) = scales else {
            let why = "its input's scale is decided after it".into();
            return Err(NnError::BadNode { node: node.name.clone(), op: node.op.name(), why });
        };
        let w = model.weights.get(weight);
        let outputs = w.shape().dims().first().copied().unwrap_or(1).max(1);
        let (maps, of_part) = ((outputs / parts).max(1), inputs / parts);
        let mut layer = Self { rows: Vec::new(), tops: Vec::new(), bias: Vec::new(), power: Vec::new() };
        for (m, row) in w.data().chunks((w.data().len() / outputs).max(1)).enumerate() {
            let first = m / maps * of_part;
            let row = row.iter().enumerate().map(|(at, &v)| f64::from(v) / scales[first + at / taps]);
            let row: Vec<f64> = row.collect();
            layer.tops.push(row.iter().fold(0.0, |m, v| m.max(v.abs())));
            layer.rows.push(row);
            let b = bias.and_then(|b| model.weights.get(b).data().get(m)).copied().unwrap_or(0.0);
            layer.bias.push(f64::from(b));
            let square = |c: usize| (ranges.rms[x].get(c).copied().unwrap_or(0.0) * scales[c]).powi(2);
            layer.power.push(taps as f64 * (first..first + of_part).map(square).sum::<f64>());
        }
        Ok(layer)
    }

    /// The largest scale at which each row's weights fit.
    fn finest(&self, options: &Options) -> impl Iterator<Item = f64> {
        let most = f64::from((1u32 << (options.weight_bits - 1)) - 1);
        self.tops.iter().map(move |top| most / top)
    }

    /// The scales a shift would give the groups this layer alone makes.
    fn own_scales(&self, wire: usize, groups: &Groups, shift: u32, options: &Options) -> Vec<(usize, f64)> {
        let unit = f64::from(1u32 << shift);
        let mut own: Vec<(usize, f64)> = Vec::new();
        for (&(group, ratio), finest) in groups.channels[wire].iter().zip(self.finest(options)) {
            if groups.groups[group].maker == Some(wire) {
                own.push((group, finest / (unit * ratio)));
            }
        }
        own.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        own.dedup_by_key(|(group, _)| *group);
        for (group, scale) in &mut own {
            let least = scale.min(groups.groups[*group].most);
            *scale = if least.is_finite() && least > 0.0 { least } else { 1.0 };
        }
        own
    }

    /// Decided scales that are too large for this layer's weights, and by what to multiply them.
    fn too_fine(&self, wire: usize, groups: &Groups, shift: u32, options: &Options) -> Vec<(usize, f64)> {
        let unit = f64::from(1u32 << shift);
        let row = |(&(group, ratio), finest): (&(usize, f64), f64)| {
            let factor = finest / (groups.groups[group].scale.unwrap_or(1.0) * ratio * unit);
            (factor < 1.0 - 1e-9).then_some((group, factor))
        };
        groups.channels[wire].iter().zip(self.finest(options)).filter_map(row).collect()
    }

    /// The shift that does least harm. Scales that other layers share may be lowered a little: what reads such a channel
    /// then needs larger weights for it.
    fn choose(&self, wire: usize, groups: &Groups, ranges: &Ranges, options: &Options) -> u32 {
        let mut best = (0, f64::INFINITY);
        for shift in 0..=options.max_shift {
            let own = self.own_scales(wire, groups, shift, options);
            let unit = f64::from(1u32 << shift);
            let mut harm = 0.0;
            for (m, (&(group, ratio), finest)) in
                groups.channels[wire].iter().zip(self.finest(options)).enumerate()
            {
                let scale = match own.binary_search_by_key(&group, |(g, _)| *g) {
                    Ok(at) => own[at].1,
                    Err(_) => groups.groups[group].scale.unwrap_or(1.0),
                };
                let wanted = scale * ratio * unit;
                if shift > 0 && wanted > finest * MOST_LOWERED {
                    harm = f64::INFINITY;
                    break;
                }
                let t = wanted.min(finest);
                let peak = ranges.peak[wire].get(m).copied().unwrap_or(0.0);
                if peak > 0.0 {
                    // Weights are rounded to nearest (1/12), results at random (1/6 on average).
                    let variance = self.power[m] / 12.0 + unit * unit / 6.0;
                    harm += variance / (t * peak).powi(2);
                }
            }
            if harm < best.1 {
                best = (shift, harm);
            }
        }
        best.0
    }

    fn round(&self, wire: usize, groups: &Groups, shift: u32) -> LayerWeights {
        let unit = f64::from(1u32 << shift);
        let t: Vec<f64> = (0..self.rows.len()).map(|m| groups.scale(wire, m).unwrap_or(1.0) * unit).collect();
        let w =
            self.rows.iter().zip(&t).flat_map(|(row, t)| row.iter().map(move |v| (v * t).round_ties_even()));
        let b = self.bias.iter().zip(&t).map(|(v, t)| (v * t).round_ties_even() as i64);
        LayerWeights { w: w.map(|v| v as i32).collect(), b: b.collect() }
    }
}
