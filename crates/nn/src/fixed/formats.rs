//! The published numbers of a network in fixed point, and the network they make of a graph.

use crate::{Graph, NnError, Node, Op, PublicModel, WireId, pass};

/// How sure it is that every value stays inside its wire's limit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Certainty {
    /// For every input in the published range, by interval arithmetic on the integer weights.
    Always,
    /// Limits were set from calibration inputs. Publishing them is a declared leak of those.
    Calibrated {
        /// Inputs they were set from.
        images: u32,
        /// Each limit is at least this many times the largest value seen.
        margin: f64,
        /// Declared upper bound on the probability that some value of an input leaves a limit, which garbles
        /// that input's result.
        overflow: f64,
        /// Largest difference of an output from the float network's on inputs that were checked: no bound for others.
        error: Option<f64>,
    },
}

/// What is published of one convolution or dense layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinearFormat {
    /// Width l of its results.
    pub bits: u32,
    /// f: accumulators have k = l + f bits.
    pub shift: u32,
    /// Weights lie in ±(2^(weight_bits − 1) − 1).
    pub weight_bits: u32,
    /// At least the largest Σ|W| of the weights that make one output.
    pub norm1: u64,
    /// At least the largest Euclidean norm of the weights that make one output.
    pub norm2: u64,
}

impl LinearFormat {
    /// k, the width of accumulators.
    pub fn accumulator_bits(&self) -> u32 {
        self.bits + self.shift
    }
}

/// The published numbers. Every one but the input's depends on weights or calibration data: publishing them is a declared
/// leak.
#[derive(Clone, PartialEq, Debug)]
pub struct Formats {
    /// Width of the input.
    pub input_bits: u32,
    /// Inputs are round(x · `input_scale`).
    pub input_scale: f64,
    /// Outputs are to be divided by this.
    pub output_scale: f64,
    /// One for each convolution and dense layer, in the order of [`Network::graph`].
    pub layers: Vec<LinearFormat>,
    /// How sure it is that nothing wraps.
    pub certainty: Certainty,
}

/// What is known of a wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WireFormat {
    /// Width l: values are integers mod 2^l.
    pub bits: u32,
    /// Whether no value is negative.
    pub nonnegative: bool,
    /// |x| < `limit` is what the operators that read the wire need: 2^(l−1), or 2^(l−2) where one widens or takes
    /// maxima of values that may be negative, or clips.
    pub limit: u64,
}

/// A network in fixed point without its weights: what both parties know. Node `i` of the graph makes wire `i`.
#[derive(Clone, PartialEq, Debug)]
pub struct Network {
    graph: Graph,
    formats: Formats,
    wires: Vec<WireFormat>,
    /// By node: index of its layer.
    layer: Vec<Option<usize>>,
    input_range: [f64; 2],
}

impl Network {
    /// Widths of activations that can be asked for.
    pub const BITS: std::ops::RangeInclusive<u32> = 8..=32;
    /// The largest shift.
    pub const MAX_SHIFT: u32 = 24;
    /// Widths of weights that can be asked for.
    pub const WEIGHT_BITS: std::ops::RangeInclusive<u32> = 2..=16;

    /// The network that published numbers make of a published, folded model. Pooling of maxima is moved ahead of ReLU
    /// ([`pass::pool_first`]), so wires are those of [`Network::graph`], not of the model's graph.
    ///
    /// # Errors
    /// [`NnError::BadNode`] for an operator without fixed-point arithmetic and for operands of different widths,
    /// [`NnError::BadModel`] for numbers outside their ranges.
    pub fn new(model: &PublicModel, formats: Formats) -> Result<Self, NnError> {
        let graph = pass::pool_first(&model.graph)?;
        formats.check()?;
        let mut wires: Vec<WireFormat> = Vec::with_capacity(graph.nodes().len());
        let mut layer = Vec::with_capacity(graph.nodes().len());
        let mut layers = 0;
        for node in graph.nodes() {
            let linear = matches!(node.op, Op::Conv(_) | Op::Dense { .. }).then_some(layers);
            layers += usize::from(linear.is_some());
            let bits = match linear {
                Some(at) => match formats.layers.get(at) {
                    Some(format) => format.bits,
                    None => return Err(bad(node, "no format is given for it")),
                },
                None => width(node, &wires, formats.input_bits)?,
            };
            let nonnegative = nonnegative(node, &wires, model.input_range[0] >= 0.0);
            wires.push(WireFormat { bits, nonnegative, limit: 1 << (bits - 1) });
            layer.push(linear);
        }
        if layers != formats.layers.len() {
            let why = format!("{} for {layers} convolutions and dense layers", formats.layers.len());
            return Err(NnError::BadModel { what: "fixed-point formats", why });
        }
        for node in graph.nodes() {
            // The client encrypts its input as it is: no layer widens it.
            let is_layer = matches!(node.op, Op::Conv(_) | Op::Dense { .. });
            let halved = |w: &WireId| halves(&node.op) && !(is_layer && *w == graph.input());
            for wire in node.inputs.iter().filter(|w| halved(w)) {
                let x = &mut wires[wire.index()];
                if !x.nonnegative || matches!(node.op, Op::Clip { .. }) {
                    x.limit = 1 << (x.bits - 2);
                }
            }
        }
        Ok(Self { graph, formats, wires, layer, input_range: model.input_range })
    }

    /// Whether an operator has fixed-point arithmetic.
    ///
    /// # Errors
    /// [`NnError::BadNode`] with the reason if it has none.
    pub fn supports(node: &Node) -> Result<(), NnError> {
        supported(node)
    }

    /// The structure, with operators as in the table of [`crate::fixed`].
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The published numbers.
    pub fn formats(&self) -> &Formats {
        &self.formats
    }

    pub(super) fn certainty_mut(&mut self) -> &mut Certainty {
        &mut self.formats.certainty
    }

    /// What is known of each wire.
    pub fn wires(&self) -> &[WireFormat] {
        &self.wires
    }

    /// The format of a convolution or dense layer, by the wire it makes.
    pub fn linear(&self, wire: WireId) -> Option<&LinearFormat> {
        self.formats.layers.get((*self.layer.get(wire.index())?)?)
    }

    /// Smallest and largest real input.
    pub fn input_range(&self) -> [f64; 2] {
        self.input_range
    }
}

/// Whether an operator needs a bit more of operands that may be negative.
fn halves(op: &Op) -> bool {
    matches!(op, Op::Conv(_) | Op::Dense { .. } | Op::MaxPool(_) | Op::Clip { .. })
}

/// The width an operator that is no layer takes over.
fn width(node: &Node, wires: &[WireFormat], input: u32) -> Result<u32, NnError> {
    supported(node)?;
    let mut of = node.inputs.iter().filter_map(|w| wires.get(w.index())).map(|w| w.bits);
    let Some(first) = of.next() else { return Ok(input) };
    match of.all(|bits| bits == first) {
        true => Ok(first),
        false => Err(bad(node, "its operands have different widths")),
    }
}

/// Whether an operator has fixed-point arithmetic.
fn supported(node: &Node) -> Result<(), NnError> {
    match &node.op {
        Op::Input | Op::Conv(_) | Op::Dense { .. } | Op::Add | Op::Relu | Op::MaxPool(_) => Ok(()),
        Op::GlobalAveragePool | Op::Flatten | Op::Reshape { .. } | Op::Slice { .. } | Op::Identity => Ok(()),
        Op::Concat { .. } => Ok(()),
        Op::AveragePool(p) if p.pads == [0; 4] || p.count_include_pad => Ok(()),
        Op::AveragePool(_) => Err(bad(node, "averages that leave padding out of the count are not sums")),
        Op::Pad { value, .. } if *value == 0.0 => Ok(()),
        Op::Pad { .. } => Err(bad(node, "only padding with zero is done in fixed point")),
        Op::Clip { min, max } if *min == 0.0 && *max > 0.0 => Ok(()),
        Op::Clip { .. } => Err(bad(node, "only clipping from 0 on is done in fixed point")),
        Op::Square => Err(bad(node, "squares are not done in fixed point; ReLU is")),
        Op::AddConst { .. } | Op::MulConst { .. } | Op::BatchNorm { .. } => {
            Err(bad(node, "follows no convolution or dense layer that it could be folded into"))
        }
    }
}

fn nonnegative(node: &Node, wires: &[WireFormat], input: bool) -> bool {
    let all = || node.inputs.iter().all(|w| wires.get(w.index()).is_some_and(|w| w.nonnegative));
    match &node.op {
        Op::Input => input,
        Op::Relu | Op::Clip { .. } => true,
        Op::Conv(_) | Op::Dense { .. } => false,
        _ => all(),
    }
}

impl Formats {
    /// Checks every number's range.
    pub(super) fn check(&self) -> Result<(), NnError> {
        let bad = |why: String| Err(NnError::BadModel { what: "fixed-point formats", why });
        let scale = |v: f64| v.is_finite() && v > 0.0;
        if !Network::BITS.contains(&self.input_bits) || !scale(self.input_scale) || !scale(self.output_scale)
        {
            return bad(format!(
                "input of {} bits at scale {}, output at scale {}",
                self.input_bits, self.input_scale, self.output_scale
            ));
        }
        for (i, f) in self.layers.iter().enumerate() {
            let fits = Network::BITS.contains(&f.bits)
                && f.shift <= Network::MAX_SHIFT
                && Network::WEIGHT_BITS.contains(&f.weight_bits)
                && f.norm2 <= f.norm1
                && f.norm1 < 1 << 40;
            if !fits {
                return bad(format!("layer {i}: {f:?}"));
            }
        }
        if let Certainty::Calibrated { margin, overflow, error, .. } = self.certainty
            && !(margin.is_finite()
                && margin >= 1.0
                && (0.0..=1.0).contains(&overflow)
                && error.is_none_or(|e| e.is_finite() && e >= 0.0))
        {
            return bad(format!("margin {margin}, overflow probability {overflow}, error {error:?}"));
        }
        Ok(())
    }
}

fn bad(node: &Node, why: &str) -> NnError {
    NnError::BadNode { node: node.name.clone(), op: node.op.name(), why: why.to_owned() }
}
