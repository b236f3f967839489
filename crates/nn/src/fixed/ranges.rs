//! What real values each channel of each wire may take.

use super::channels::{count, sources};
use crate::{Model, NnError, Node, Op, Tensor, WeightId, eval, pass};

/// Largest |value| and root mean square of each channel of each wire of the network's graph ([`super::Network::graph`]).
/// They depend on weights and calibration inputs: the owner's to know.
#[derive(Clone, Debug)]
pub struct Ranges {
    /// Inputs they were measured on; 0 for bounds that hold always.
    pub images: u32,
    /// By wire and channel.
    pub peak: Vec<Vec<f64>>,
    /// By wire and channel.
    pub rms: Vec<Vec<f64>>,
}

impl Ranges {
    /// Measured on calibration inputs by the float network.
    ///
    /// # Errors
    /// As [`eval::wires`]; [`NnError::BadModel`] without inputs.
    pub fn measured<'a>(
        model: &Model,
        inputs: impl IntoIterator<Item = &'a Tensor>,
    ) -> Result<Self, NnError> {
        let graph = pass::pool_first(&model.public.graph)?;
        let empty: Vec<Vec<f64>> = graph.nodes().iter().map(|n| vec![0.0; count(&n.fact)]).collect();
        let (mut peak, mut rms, mut images) = (empty.clone(), empty, 0u32);
        for input in inputs {
            images += 1;
            for (i, wire) in eval::wires(&graph, &model.weights, input)?.iter().enumerate() {
                let per = (wire.data().len() / peak[i].len().max(1)).max(1);
                for (c, channel) in wire.data().chunks(per).enumerate() {
                    let top = channel.iter().fold(0.0f32, |m, v| m.max(v.abs()));
                    let square: f64 = channel.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
                    peak[i][c] = peak[i][c].max(f64::from(top));
                    rms[i][c] += square / per as f64;
                }
            }
        }
        if images == 0 {
            return Err(NnError::BadModel { what: "calibration", why: "no inputs were given".into() });
        }
        rms.iter_mut().flatten().for_each(|v| *v = (*v / f64::from(images)).sqrt());
        // The published range holds for the input, whatever was seen.
        peak[0].fill(input_peak(model));
        Ok(Self { images, peak, rms })
    }

    /// By interval arithmetic, for every input in the published range.
    ///
    /// # Errors
    /// As [`pass::pool_first`].
    pub fn always(model: &Model) -> Result<Self, NnError> {
        let graph = pass::pool_first(&model.public.graph)?;
        let mut wires: Vec<Vec<[f64; 2]>> = Vec::with_capacity(graph.nodes().len());
        for node in graph.nodes() {
            let of = |i: usize| node.inputs.get(i).map_or(&[][..], |w| &wires[w.index()][..]);
            let wire = match &node.op {
                Op::Input => vec![model.public.input_range; count(&node.fact)],
                Op::Conv(c) => {
                    let padded = c.pads != [0; 4];
                    let x: Vec<[f64; 2]> =
                        of(0).iter().map(|&r| if padded { with_zero(r) } else { r }).collect();
                    let per = c.kernel[0] * c.kernel[1];
                    let maps = (c.out_channels / c.groups.max(1)).max(1);
                    linear(model, c.weight, c.bias, per, |m| &x[m / maps * (x.len() / c.groups.max(1))..])
                }
                Op::Dense { weight, bias, .. } => linear(model, *weight, *bias, 1, |_| of(0)),
                _ => {
                    let made = sources(&graph, node);
                    made.iter().map(|from| other(node, from.iter().map(|&(i, c)| of(i)[c]))).collect()
                }
            };
            wires.push(wire);
        }
        let peak: Vec<Vec<f64>> =
            wires.iter().map(|w| w.iter().map(|r| r[0].abs().max(r[1].abs())).collect()).collect();
        // Nothing is known of how values spread: a third of the bound, as if it were three deviations.
        let rms = peak.iter().map(|w: &Vec<f64>| w.iter().map(|v| v / 3.0).collect()).collect();
        Ok(Self { images: 0, peak, rms })
    }
}

fn input_peak(model: &Model) -> f64 {
    let [low, high] = model.public.input_range;
    low.abs().max(high.abs())
}

fn with_zero([low, high]: [f64; 2]) -> [f64; 2] {
    [low.min(0.0), high.max(0.0)]
}

/// Ranges of the outputs of a layer with `per` weights for each output and input channel.
fn linear<'a>(
    model: &Model,
    weight: WeightId,
    bias: Option<WeightId>,
    per: usize,
    inputs: impl Fn(usize) -> &'a [[f64; 2]],
) -> Vec<[f64; 2]> {
    let w = model.weights.get(weight);
    let rows = w.shape().dims().first().copied().unwrap_or(1).max(1);
    let row = |(m, row): (usize, &[f32])| {
        let b = bias.and_then(|b| model.weights.get(b).data().get(m)).map_or(0.0, |&b| f64::from(b));
        let taps = row
            .chunks(per.max(1))
            .zip(inputs(m))
            .flat_map(|(taps, x)| taps.iter().map(move |w| (f64::from(*w), x)));
        taps.fold([b, b], |[low, high], (w, x)| {
            let (a, b) = (w * x[0], w * x[1]);
            [low + a.min(b), high + a.max(b)]
        })
    };
    w.data().chunks((w.data().len() / rows).max(1)).enumerate().map(row).collect()
}

/// The range of a channel made of others.
fn other(node: &Node, mut from: impl Iterator<Item = [f64; 2]>) -> [f64; 2] {
    let join = |a: [f64; 2], b: [f64; 2]| [a[0].min(b[0]), a[1].max(b[1])];
    match &node.op {
        Op::Add => from.fold([0.0; 2], |a, b| [a[0] + b[0], a[1] + b[1]]),
        Op::Relu => from.fold([0.0; 2], |_, b| [b[0].max(0.0), b[1].max(0.0)]),
        Op::Clip { min, max } => {
            let (min, max) = (f64::from(*min), f64::from(*max));
            from.fold([0.0; 2], |_, b| [b[0].clamp(min, max), b[1].clamp(min, max)])
        }
        Op::Pad { .. } => with_zero(from.next().unwrap_or([0.0; 2])),
        Op::AveragePool(p) if p.pads != [0; 4] => with_zero(from.next().unwrap_or([0.0; 2])),
        _ => from.reduce(join).unwrap_or([0.0; 2]),
    }
}
