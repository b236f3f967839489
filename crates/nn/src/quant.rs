//! Networks in whole numbers: inputs, weights and biases rounded at published scales, evaluated without any error.
//!
//! A wire of scale s holds round-number multiples of 1/s: the input x is round(x·s), a linear layer's weights
//! round(w·s_w), its biases round(b·s·s_w), its result has scale s·s_w, a square's is s². Averages are sums, with the
//! number of their cells in the scale. Only scales are published, no weights; what values may be at worst ([`IntegerModel::ranges`])
//! is the model owner's to know.

use crate::{Graph, Model, NnError, Node, Op, Tensor, WeightId, WireId};

/// The published scales.
#[derive(Clone, PartialEq, Debug)]
pub struct Scales {
    /// Of the input.
    pub input: f64,
    /// Of the weights of each convolution and dense layer, in the order of the graph.
    pub weights: Vec<f64>,
}

impl Scales {
    /// The scale of every wire.
    ///
    /// # Errors
    /// [`NnError::BadNode`] for an operator without whole-number arithmetic, for operands of a sum at two scales, and
    /// for a layer without a scale.
    pub fn wires(&self, graph: &Graph) -> Result<Vec<f64>, NnError> {
        let mut scales: Vec<f64> = Vec::with_capacity(graph.nodes().len());
        let mut weights = self.weights.iter();
        for node in graph.nodes() {
            let of =
                |i: usize| node.inputs.get(i).and_then(|w| scales.get(w.index())).copied().unwrap_or(1.0);
            let x = of(0);
            let scale = match &node.op {
                Op::Input => self.input,
                Op::Conv(_) | Op::Dense { .. } => match weights.next() {
                    Some(w) => x * w,
                    None => return Err(bad(node, "no scale is given for its weights")),
                },
                Op::Square => x * x,
                Op::Add if of(1).to_bits() == x.to_bits() => x,
                Op::Add => return Err(bad(node, "the two operands of this sum have different scales")),
                Op::AveragePool(_) | Op::GlobalAveragePool => x * cells(graph, node)? as f64,
                Op::Flatten | Op::Reshape { .. } | Op::Identity => x,
                _ => return Err(bad(node, "has no arithmetic in whole numbers")),
            };
            if !(scale.is_finite() && scale >= 1.0) {
                return Err(bad(node, "its scale is no number from 1 on"));
            }
            scales.push(scale);
        }
        Ok(scales)
    }
}

fn bad(node: &Node, why: &str) -> NnError {
    NnError::BadNode { node: node.name.clone(), op: node.op.name(), why: why.to_owned() }
}

/// Cells of an average.
fn cells(graph: &Graph, node: &Node) -> Result<usize, NnError> {
    let before = node.inputs.first().and_then(|&w| graph.fact(w)).and_then(|f| f.shape.chw());
    match (&node.op, before) {
        (Op::AveragePool(p), _) if p.pads == [0; 4] => Ok(p.kernel[0] * p.kernel[1]),
        (Op::GlobalAveragePool, Some((_, h, w))) => Ok(h * w),
        _ => Err(bad(node, "averages over padding have no arithmetic in whole numbers")),
    }
}

/// A value of a wire: a number, or the range it lies in.
trait Value: Copy {
    fn constant(v: i64) -> Self;
    /// `self + w·x`.
    fn mac(self, w: i64, x: Self) -> Option<Self>;
    fn square(self) -> Option<Self>;
}

impl Value for i128 {
    fn constant(v: i64) -> Self {
        Self::from(v)
    }

    fn mac(self, w: i64, x: Self) -> Option<Self> {
        self.checked_add(x.checked_mul(Self::from(w))?)
    }

    fn square(self) -> Option<Self> {
        self.checked_mul(self)
    }
}

/// Everything from the first to the second number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range(pub i128, pub i128);

impl Range {
    /// The largest absolute value.
    pub fn peak(self) -> u128 {
        self.0.unsigned_abs().max(self.1.unsigned_abs())
    }
}

impl Value for Range {
    fn constant(v: i64) -> Self {
        Self(v.into(), v.into())
    }

    fn mac(self, w: i64, x: Self) -> Option<Self> {
        let (low, high) = if w < 0 { (x.1, x.0) } else { (x.0, x.1) };
        Some(Self(self.0.mac(w, low)?, self.1.mac(w, high)?))
    }

    fn square(self) -> Option<Self> {
        let (a, b) = (self.0.square()?, self.1.square()?);
        let least = if self.0 <= 0 && self.1 >= 0 { 0 } else { a.min(b) };
        Some(Self(least, a.max(b)))
    }
}

/// A model in whole numbers.
#[derive(Clone)]
pub struct IntegerModel {
    graph: Graph,
    scales: Vec<f64>,
    input_range: [f64; 2],
    /// By weight id; those no layer uses are empty.
    weights: Vec<Vec<i64>>,
}

/// Weights are secret: only the scales are shown.
impl std::fmt::Debug for IntegerModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IntegerModel").field("scales", &self.scales).finish_non_exhaustive()
    }
}

/// Largest weight or bias, so that 64-bit floats and integers hold it.
const MOST: f64 = (1u64 << 62) as f64;

impl IntegerModel {
    /// Rounds the weights of `model`, to nearest and even on ties.
    ///
    /// # Errors
    /// As [`Scales::wires`]; [`NnError::BadWeight`] for a weight that is too large or used at two scales.
    pub fn new(model: &Model, scales: &Scales) -> Result<Self, NnError> {
        let graph = model.public.graph.clone();
        model.weights.belong_to(&graph)?;
        let wires = scales.wires(&graph)?;
        let mut weights: Vec<Vec<i64>> = vec![Vec::new(); graph.weights().len()];
        let mut used = vec![None; weights.len()];
        let mut layer = scales.weights.iter();
        for (i, node) in graph.nodes().iter().enumerate() {
            let (weight, bias) = match &node.op {
                Op::Conv(c) => (c.weight, c.bias),
                Op::Dense { weight, bias, .. } => (*weight, *bias),
                _ => continue,
            };
            let own = layer.next().copied().unwrap_or(1.0);
            for (id, scale) in [(Some(weight), own), (bias, wires[i])] {
                let Some(id) = id else { continue };
                let at = id.0 as usize;
                let wrong = |why: &str| NnError::BadWeight {
                    name: graph.weights()[at].name.clone(),
                    why: why.to_owned(),
                };
                if used[at].replace(scale.to_bits()).is_some_and(|before| before != scale.to_bits()) {
                    return Err(wrong("is used by two layers at different scales"));
                }
                let rounded = model.weights.get(id).data().iter().map(|&v| {
                    let v = (f64::from(v) * scale).round_ties_even();
                    (v.abs() < MOST).then_some(v as i64)
                });
                weights[at] =
                    rounded.collect::<Option<_>>().ok_or_else(|| wrong("is too large for its scale"))?;
            }
        }
        Ok(Self { graph, scales: wires, input_range: model.public.input_range, weights })
    }

    /// The numbers of a weight. They are integers that 64-bit floats hold.
    pub fn weight(&self, id: WeightId) -> &[i64] {
        self.weights.get(id.0 as usize).map_or(&[], Vec::as_slice)
    }

    /// What outputs are to be divided by.
    pub fn output_scale(&self) -> f64 {
        self.scales[self.graph.output().index()]
    }

    /// The outputs for integers from [`quantise`].
    ///
    /// # Errors
    /// [`NnError::ShapeMismatch`] for another number of inputs, [`NnError::BadNode`] for a value beyond 127 bits.
    pub fn run(&self, input: &[i64]) -> Result<Vec<i128>, NnError> {
        let shape = self.graph.input_shape();
        if input.len() != shape.elements() {
            let found = crate::Shape::new([input.len().max(1)])?;
            let what = "the input".to_owned();
            return Err(NnError::ShapeMismatch { what, expected: shape.clone(), found });
        }
        let mut wires = self.walk(input.iter().map(|&v| i128::from(v)).collect())?;
        Ok(wires.swap_remove(self.graph.output().index()))
    }

    /// As [`IntegerModel::run`] from a tensor and back to one.
    ///
    /// # Errors
    /// As [`IntegerModel::run`].
    pub fn eval(&self, input: &Tensor) -> Result<Tensor, NnError> {
        let outputs = self.run(&quantise(input, self.scales[0], self.input_range))?;
        real(&outputs, self.output_scale(), &self.graph)
    }

    /// The range each wire's values lie in, for every input in the published range: exact per value, the worst over
    /// the values of a wire.
    ///
    /// # Errors
    /// [`NnError::BadNode`] for a range beyond 127 bits.
    pub fn ranges(&self) -> Result<Vec<Range>, NnError> {
        let [low, high] = self.input_range.map(|v| i128::from(round(v * self.scales[0])));
        let input = vec![Range(low, high); self.graph.input_shape().elements()];
        let join = |wire: Vec<Range>| {
            let both = |a: Range, b: Range| Range(a.0.min(b.0), a.1.max(b.1));
            wire.into_iter().reduce(both).unwrap_or(Range(0, 0))
        };
        Ok(self.walk(input)?.into_iter().map(join).collect())
    }

    /// The values of all wires.
    fn walk<V: Value>(&self, input: Vec<V>) -> Result<Vec<Vec<V>>, NnError> {
        let mut wires: Vec<Vec<V>> = Vec::with_capacity(self.graph.nodes().len());
        for node in self.graph.nodes() {
            let of = |i: usize| {
                node.inputs.get(i).and_then(|w| wires.get(w.index())).map(Vec::as_slice).unwrap_or_default()
            };
            let x = of(0);
            let y = match &node.op {
                Op::Input => Some(input.clone()),
                Op::Square => x.iter().map(|x| x.square()).collect(),
                Op::Add => x.iter().zip(of(1)).map(|(x, y)| x.mac(1, *y)).collect(),
                Op::Dense { weight, bias, .. } => self.dense(*weight, *bias, node, x),
                Op::Conv(_) | Op::AveragePool(_) | Op::GlobalAveragePool => self.window(node, x),
                _ => Some(x.to_vec()),
            };
            wires.push(y.ok_or_else(|| bad(node, "its values do not fit 127 bits"))?);
        }
        Ok(wires)
    }

    fn bias<V: Value>(&self, bias: Option<WeightId>, m: usize) -> V {
        V::constant(bias.and_then(|b| self.weight(b).get(m)).copied().unwrap_or(0))
    }

    fn dense<V: Value>(
        &self,
        weight: WeightId,
        bias: Option<WeightId>,
        node: &Node,
        x: &[V],
    ) -> Option<Vec<V>> {
        let rows = self.weight(weight).chunks(x.len().max(1)).take(node.fact.shape.elements());
        let row = |(m, row): (usize, &[i64])| {
            row.iter().zip(x).try_fold(self.bias(bias, m), |sum: V, (&w, &x)| sum.mac(w, x))
        };
        rows.enumerate().map(row).collect()
    }

    /// A convolution, or an average as a depthwise one with weights 1.
    fn window<V: Value>(&self, node: &Node, x: &[V]) -> Option<Vec<V>> {
        let before: WireId = node.inputs.first().copied()?;
        let (c, h, w) = self.graph.fact(before)?.shape.chw()?;
        let (maps, oh, ow) = node.fact.shape.chw()?;
        let (kernel, stride, pads, groups, weights, bias) = match &node.op {
            Op::Conv(k) => (k.kernel, k.stride, k.pads, k.groups, Some(self.weight(k.weight)), k.bias),
            Op::AveragePool(p) => (p.kernel, p.stride, p.pads, c, None, None),
            _ => ([h, w], [1; 2], [0; 4], c, None, None),
        };
        let channels = c / groups.max(1);
        let mut out = Vec::with_capacity(maps * oh * ow);
        for m in 0..maps {
            let first = m / (maps / groups.max(1)).max(1) * channels;
            for position in 0..oh * ow {
                let at = [position / ow, position % ow];
                let mut sum: V = self.bias(bias, m);
                for tap in 0..channels * kernel[0] * kernel[1] {
                    let (k, ky, kx) =
                        (tap / (kernel[0] * kernel[1]), tap / kernel[1] % kernel[0], tap % kernel[1]);
                    let y = (at[0] * stride[0] + ky).checked_sub(pads[0]).filter(|&y| y < h);
                    let column = (at[1] * stride[1] + kx).checked_sub(pads[1]).filter(|&x| x < w);
                    if let (Some(y), Some(column)) = (y, column) {
                        let weight = match weights {
                            Some(all) => *all.get(m * channels * kernel[0] * kernel[1] + tap)?,
                            None => 1,
                        };
                        sum = sum.mac(weight, *x.get(((first + k) * h + y) * w + column)?)?;
                    }
                }
                out.push(sum);
            }
        }
        Some(out)
    }
}

fn round(x: f64) -> i64 {
    x.round_ties_even() as i64
}

/// The integers of an input: round(x·`scale`), inside `range`.
pub fn quantise(input: &Tensor, scale: f64, range: [f64; 2]) -> Vec<i64> {
    let [low, high] = range.map(|v| round(v * scale));
    input.data().iter().map(|&v| round(f64::from(v) * scale).max(low).min(high)).collect()
}

/// Outputs of `graph` in its own units: integers over `scale`, rounded to 32-bit floats.
///
/// # Errors
/// [`NnError::BadSize`] for another number of outputs.
pub fn real(outputs: &[i128], scale: f64, graph: &Graph) -> Result<Tensor, NnError> {
    let values = outputs.iter().map(|&v| (v as f64 / scale) as f32).collect();
    Tensor::new(graph.output_shape().clone(), values)
}

#[cfg(test)]
mod tests;
