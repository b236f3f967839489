//! The integer weights beside a network, and the evaluator.

use super::{Certainty, Network, Rounding};
use crate::eval::{layout, linear, pool};
use crate::quant::Range;
use crate::{NnError, Node, Op, Pool, Shape, Tensor, WireId, quant};

/// Integer weights and biases of one convolution or dense layer.
#[derive(Clone, PartialEq, Eq)]
pub struct LayerWeights {
    /// W, in the layout of the float weights.
    pub w: Vec<i32>,
    /// B, one for each output channel, in units of the accumulator; to be taken mod 2^k.
    pub b: Vec<i64>,
}

/// Weights are secret.
impl std::fmt::Debug for LayerWeights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LayerWeights(..)")
    }
}

impl LayerWeights {
    /// Largest Σ|W| and largest Euclidean norm, rounded up, of the weights that make one output.
    pub fn norms(&self) -> (u64, u64) {
        let row = (self.w.len() / self.b.len().max(1)).max(1);
        let (mut one, mut square) = (0, 0u64);
        for row in self.w.chunks(row) {
            one = one.max(row.iter().map(|&w| u64::from(w.unsigned_abs())).sum());
            square = square.max(row.iter().map(|&w| u64::from(w.unsigned_abs()).pow(2)).sum());
        }
        let root = square.isqrt();
        (one, root + u64::from(root * root < square))
    }
}

/// A network in fixed point with its secret part.
#[derive(Clone)]
pub struct FixedModel {
    network: Network,
    /// By wire.
    layers: Vec<Option<LayerWeights>>,
    /// By wire and channel.
    scales: Vec<Vec<f64>>,
    /// By wire and channel; empty but for [`Op::Clip`].
    tops: Vec<Vec<i64>>,
}

/// Weights and hidden scales are secret: only the public part is shown.
impl std::fmt::Debug for FixedModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FixedModel").field("network", &self.network).finish_non_exhaustive()
    }
}

/// What an evaluation computed.
#[derive(Clone, PartialEq, Eq)]
pub struct Trace {
    /// By wire: its values, row-major, centred mod 2^l.
    pub wires: Vec<Vec<i64>>,
    /// By wire: values outside their limit and accumulators outside k bits. Where there are any, what two parties
    /// compute depends on their shares, and nothing is promised.
    pub outside: Vec<u64>,
}

/// Intermediate values are private.
impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trace").field("outside", &self.outside).finish_non_exhaustive()
    }
}

impl Trace {
    /// Whether every value stayed inside its limit.
    pub fn is_inside(&self) -> bool {
        self.outside.iter().all(|&n| n == 0)
    }
}

/// `v` mod 2^bits, in −2^(bits−1)..2^(bits−1), for 1 to 64 bits.
pub fn wrap(v: i64, bits: u32) -> i64 {
    (v << (64 - bits)) >> (64 - bits)
}

impl FixedModel {
    /// Puts weights and scales beside a network: one entry per wire, weights for convolutions and dense layers only.
    ///
    /// # Errors
    /// [`NnError::BadModel`] where they contradict the network or its published norms.
    pub fn new(
        network: Network,
        layers: Vec<Option<LayerWeights>>,
        scales: Vec<Vec<f64>>,
    ) -> Result<Self, NnError> {
        let graph = network.graph();
        let bad = |node: &Node, why: String| {
            Err(NnError::BadNode { node: node.name.clone(), op: node.op.name(), why })
        };
        if layers.len() != graph.nodes().len() || scales.len() != layers.len() {
            let why = format!("{} wires for {}", layers.len(), graph.nodes().len());
            return Err(NnError::BadModel { what: "fixed-point weights", why });
        }
        let mut tops = vec![Vec::new(); layers.len()];
        for (i, (node, weights)) in graph.nodes().iter().zip(&layers).enumerate() {
            if let Op::Clip { max, .. } = node.op {
                // What reaches the limit of what is clipped is outside anyway.
                let most = (1u64 << (network.wires()[i].bits - 2)) as f64 - 1.0;
                let top = |s: &f64| (f64::from(max) * s).round_ties_even().min(most) as i64;
                tops[i] = scales[i].iter().map(top).collect();
            }
            let (Some(format), Some(weights)) = (network.linear(WireId(i as u32)), weights) else {
                if weights.is_some() != network.linear(WireId(i as u32)).is_some() {
                    return bad(node, "weights and layer do not match".into());
                }
                continue;
            };
            let most = (1i32 << (format.weight_bits - 1)) - 1;
            let (norm1, norm2) = weights.norms();
            let ids = node.op.weights();
            let declared = ids.first().and_then(|id| graph.weights().get(id.0 as usize));
            let fits = declared.is_some_and(|d| {
                d.shape.elements() == weights.w.len() && d.shape.dims().first() == Some(&weights.b.len())
            });
            if !fits || weights.w.iter().any(|w| w.abs() > most) {
                return bad(node, "its weights have another shape or width than published".into());
            }
            if norm1 > format.norm1 || norm2 > format.norm2 {
                return bad(node, "its weights are larger than published".into());
            }
            // The evaluator's doubles hold every accumulator exactly.
            let input = node.inputs.first().map_or(0, |w| network.wires()[w.index()].bits);
            let bias = weights.b.iter().map(|b| u128::from(b.unsigned_abs())).max().unwrap_or(0);
            if (u128::from(norm1) << (input - 1)) + bias >= 1 << 53 {
                return bad(node, "its accumulators may exceed 53 bits".into());
            }
        }
        Ok(Self { network, layers, scales, tops })
    }

    /// The public part.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Integer weights of the layer that makes `wire`.
    pub fn layer(&self, wire: WireId) -> Option<&LayerWeights> {
        self.layers.get(wire.index())?.as_ref()
    }

    /// Scale of each channel of `wire`: integers are real values times this. Secret but for input and output.
    pub fn scales(&self, wire: WireId) -> &[f64] {
        self.scales.get(wire.index()).map_or(&[], Vec::as_slice)
    }

    /// T_c of each channel of a [`Op::Clip`]. Secret.
    pub fn tops(&self, wire: WireId) -> &[i64] {
        self.tops.get(wire.index()).map_or(&[], Vec::as_slice)
    }

    /// Declares the probability that some value of an input leaves its limit.
    pub(super) fn declare(&mut self, probability: f64, largest: Option<f64>) {
        if let Certainty::Calibrated { overflow, error, .. } = self.network.certainty_mut() {
            (*overflow, *error) = (probability, largest);
        }
    }

    /// Computes every wire of integers from [`Network::input`], each as two parties would hold it in shares.
    ///
    /// # Errors
    /// [`NnError::ShapeMismatch`] for another number of inputs, [`NnError::BadNode`] if `rounding` has nothing for an
    /// accumulator.
    pub fn run(&self, input: &[i64], rounding: &mut impl Rounding) -> Result<Trace, NnError> {
        let graph = self.network.graph();
        if input.len() != graph.input_shape().elements() {
            return Err(NnError::ShapeMismatch {
                what: "the input".into(),
                expected: graph.input_shape().clone(),
                found: Shape::new([input.len().max(1)])?,
            });
        }
        let mut trace = Trace { wires: Vec::with_capacity(graph.nodes().len()), outside: Vec::new() };
        for (i, node) in graph.nodes().iter().enumerate() {
            let format = self.network.wires()[i];
            let mut outside = 0;
            let mut y = match (&self.layers[i], &node.op) {
                (_, Op::Input) => input.to_vec(),
                (Some(weights), _) => self.linear(i, node, weights, &trace, rounding, &mut outside)?,
                _ => self.other(i, node, &trace),
            };
            for v in &mut y {
                outside += u64::from(v.unsigned_abs() >= format.limit);
                *v = wrap(*v, format.bits);
            }
            trace.wires.push(y);
            trace.outside.push(outside);
        }
        Ok(trace)
    }

    fn linear(
        &self,
        i: usize,
        node: &Node,
        weights: &LayerWeights,
        trace: &Trace,
        rounding: &mut impl Rounding,
        outside: &mut u64,
    ) -> Result<Vec<i64>, NnError> {
        let bad =
            |why: &str| NnError::BadNode { node: node.name.clone(), op: node.op.name(), why: why.into() };
        let (Some(format), [x]) = (self.network.linear(WireId(i as u32)), &node.inputs[..]) else {
            return Err(bad("is no layer"));
        };
        let shapes = [&self.network.graph().nodes()[x.index()].fact.shape, &node.fact.shape];
        // Products and sums of these stay below 2^53 (checked when the model was made): doubles are exact.
        let values: Vec<f64> = trace.wires[x.index()].iter().map(|&v| v as f64).collect();
        let w: Vec<f64> = weights.w.iter().map(|&w| f64::from(w)).collect();
        let b: Vec<f64> = weights.b.iter().map(|&b| b as f64).collect();
        let y = match &node.op {
            Op::Conv(conv) => linear::conv(conv, &w, Some(&b), &values, shapes)?,
            _ => linear::dense(&w, Some(&b), &values, b.len())?,
        };
        let k = format.accumulator_bits();
        let round = |(at, y): (usize, f64)| {
            let exact = y as i64;
            let y = wrap(exact, k);
            *outside += u64::from(y != exact);
            rounding.round(i, at, y, format.shift).ok_or_else(|| bad("nothing is recorded of its rounding"))
        };
        y.into_iter().enumerate().map(round).collect()
    }

    /// Operators without weights; the caller wraps.
    fn other(&self, i: usize, node: &Node, trace: &Trace) -> Vec<i64> {
        let of: Vec<&[i64]> = node.inputs.iter().map(|w| &trace.wires[w.index()][..]).collect();
        self.network.on_values(WireId(i as u32), &of, &self.tops[i])
    }

    /// Whether integer interval arithmetic keeps every value inside its limit for every input in the published range.
    pub(super) fn stays_inside(&self) -> Result<bool, NnError> {
        let graph = self.network.graph();
        let [low, high] = self
            .network
            .input_range()
            .map(|v| i128::from((v * self.network.formats().input_scale).round_ties_even() as i64));
        let mut wires: Vec<Vec<Range>> = Vec::with_capacity(graph.nodes().len());
        for (i, node) in graph.nodes().iter().enumerate() {
            let format = self.network.wires()[i];
            let wire = match (&self.layers[i], self.network.linear(WireId(i as u32))) {
                (Some(weights), Some(linear)) => {
                    let Some(y) = self.accumulators(node, weights, &wires) else { return Ok(false) };
                    let half = 1i128 << (linear.accumulator_bits() - 1);
                    if y.iter().any(|y| y.0 < -half || y.1 >= half) {
                        return Ok(false);
                    }
                    y.iter().map(|y| Range(y.0 >> linear.shift, (y.1 >> linear.shift) + 1)).collect()
                }
                _ if i == 0 => vec![Range(low, high); super::channels::count(&node.fact)],
                _ => self.other_ranges(i, node, &wires),
            };
            let wire: Vec<Range> = wire;
            if wire.iter().any(|r| r.peak() >= u128::from(format.limit)) {
                return Ok(false);
            }
            wires.push(wire);
        }
        Ok(true)
    }

    /// Ranges of a layer's accumulators, by output channel.
    fn accumulators(&self, node: &Node, weights: &LayerWeights, wires: &[Vec<Range>]) -> Option<Vec<Range>> {
        let x = &wires[node.inputs.first()?.index()];
        let (taps, parts, padded) = match &node.op {
            Op::Conv(c) => (c.kernel[0] * c.kernel[1], c.groups.max(1), c.pads != [0; 4]),
            _ => (1, 1, false),
        };
        let x: Vec<Range> =
            x.iter().map(|r| if padded { Range(r.0.min(0), r.1.max(0)) } else { *r }).collect();
        let rows = weights.b.len().max(1);
        let row = |(m, row): (usize, &[i32])| {
            let first = m / (rows / parts).max(1) * (x.len() / parts);
            let taps = row.iter().enumerate().map(|(at, w)| (i128::from(*w), x[first + at / taps]));
            let b = i128::from(weights.b[m]);
            taps.fold(Range(b, b), |sum, (w, x)| {
                let (low, high) = if w < 0 { (x.1, x.0) } else { (x.0, x.1) };
                Range(sum.0 + w * low, sum.1 + w * high)
            })
        };
        Some(weights.w.chunks((weights.w.len() / rows).max(1)).enumerate().map(row).collect())
    }

    fn other_ranges(&self, i: usize, node: &Node, wires: &[Vec<Range>]) -> Vec<Range> {
        let graph = self.network.graph();
        let cells = super::channels::cells(graph, node) as i128;
        let join = |a: Range, b: Range| Range(a.0.min(b.0), a.1.max(b.1));
        let made = super::channels::sources(graph, node);
        let channel = |(c, from): (usize, &Vec<(usize, usize)>)| {
            let mut of = from.iter().map(|&(i, c)| wires[node.inputs[i].index()][c]);
            match &node.op {
                Op::Add => of.fold(Range(0, 0), |a, b| Range(a.0 + b.0, a.1 + b.1)),
                Op::Relu => of.fold(Range(0, 0), |_, b| Range(b.0.max(0), b.1.max(0))),
                Op::Clip { .. } => {
                    let top = i128::from(self.tops[i].get(c).copied().unwrap_or(0));
                    of.fold(Range(0, 0), |_, b| Range(b.0.clamp(0, top), b.1.clamp(0, top)))
                }
                Op::AveragePool(_) | Op::GlobalAveragePool => of.fold(Range(0, 0), |_, b| {
                    // Windows over padding hold fewer cells.
                    Range((b.0 * cells).min(b.0), (b.1 * cells).max(b.1))
                }),
                Op::Pad { .. } => join(Range(0, 0), of.next().unwrap_or(Range(0, 0))),
                _ => of.reduce(join).unwrap_or(Range(0, 0)),
            }
        };
        made.iter().enumerate().map(channel).collect()
    }
}

impl Network {
    /// Shapes of a node's first operand and of its result.
    fn shapes<'a>(&'a self, node: &'a Node) -> [&'a Shape; 2] {
        let from = node.inputs.first().and_then(|w| self.graph().nodes().get(w.index()));
        [from.map_or(&node.fact.shape, |n| &n.fact.shape), &node.fact.shape]
    }

    /// A sum or a moving of values on one party's shares of its operands, or on the values themselves, mod 2^64. Operands
    /// must have the graph's shapes.
    pub fn on_share(&self, wire: WireId, operands: &[&[i64]]) -> Vec<i64> {
        let Some(node) = self.graph().nodes().get(wire.index()) else { return Vec::new() };
        let x = operands.first().copied().unwrap_or_default();
        let (shapes, to) = (self.shapes(node), &node.fact.shape);
        let add = |sum: i64, v: &i64| sum.wrapping_add(*v);
        let sum = |p: &Pool| {
            pool::windows(p, x, shapes, |image, w, rows, cols| {
                rows.flat_map(|r| &image[r * w + cols.start..r * w + cols.end]).fold(0, add)
            })
        };
        match &node.op {
            Op::Add => {
                let y = operands.get(1).copied().unwrap_or_default();
                x.iter().zip(y).map(|(a, b)| a.wrapping_add(*b)).collect()
            }
            Op::AveragePool(p) => sum(p),
            Op::GlobalAveragePool => {
                let per = (x.len() / to.elements().max(1)).max(1);
                x.chunks(per).map(|channel| channel.iter().fold(0, add)).collect()
            }
            Op::Slice { starts, steps, .. } => layout::slice(x, starts, steps, shapes),
            Op::Pad { before, .. } => layout::pad(x, before, 0, shapes),
            Op::Concat { .. } => operands.concat(),
            _ => x.to_vec(),
        }
    }

    /// An operator without weights on the values of its operands, before its results are [wrapped](wrap) to the width of
    /// `wire`. `tops` are those of a clip, one per channel ([`FixedModel::tops`]). Operands must have the graph's shapes.
    pub fn on_values(&self, wire: WireId, operands: &[&[i64]], tops: &[i64]) -> Vec<i64> {
        let Some(node) = self.graph().nodes().get(wire.index()) else { return Vec::new() };
        let bits = self.wires().get(wire.index()).map_or(64, |w| w.bits);
        let x = operands.first().copied().unwrap_or_default();
        match &node.op {
            Op::Relu => x.iter().map(|&v| v.max(0)).collect(),
            Op::Clip { .. } => {
                let per = (x.len() / tops.len().max(1)).max(1);
                let clip = |(x, top): (&[i64], &i64)| -> Vec<i64> {
                    x.iter().map(|&v| v.max(0) - wrap(v.wrapping_sub(*top), bits).max(0)).collect()
                };
                x.chunks(per).zip(tops).flat_map(clip).collect()
            }
            Op::MaxPool(p) => {
                let shapes = self.shapes(node);
                pool::windows(p, x, shapes, |image, w, rows, cols| {
                    let cells = rows.flat_map(|r| &image[r * w + cols.start..r * w + cols.end]);
                    cells.copied().max().unwrap_or(0)
                })
            }
            _ => self.on_share(wire, operands),
        }
    }

    /// The integers of an input: round(x · scale), inside the published range.
    ///
    /// # Errors
    /// [`NnError::ShapeMismatch`] for a tensor of another shape.
    pub fn input(&self, input: &Tensor) -> Result<Vec<i64>, NnError> {
        if input.shape() != self.graph().input_shape() {
            return Err(NnError::ShapeMismatch {
                what: "the input".into(),
                expected: self.graph().input_shape().clone(),
                found: input.shape().clone(),
            });
        }
        Ok(quant::quantise(input, self.formats().input_scale, self.input_range()))
    }

    /// Outputs in the model's own units.
    ///
    /// # Errors
    /// [`NnError::BadSize`] for another number of outputs.
    pub fn output(&self, outputs: &[i64]) -> Result<Tensor, NnError> {
        let wide: Vec<i128> = outputs.iter().map(|&v| v.into()).collect();
        quant::real(&wide, self.formats().output_scale, self.graph())
    }
}
