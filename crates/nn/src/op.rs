//! The operators. The enum is closed: a new operator makes the compiler list every system that must answer.

use std::fmt;

/// Names one weight tensor of a model; the graph holds the id, the model holds the values.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WeightId(pub u32);

/// A two-dimensional convolution over `[channels, height, width]`.
///
/// The weight has shape `[out_channels, in_channels / groups, kernel_h, kernel_w]`, the bias
/// `[out_channels]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conv {
    /// Number of output maps.
    pub out_channels: usize,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Zeros added at top, left, bottom, right.
    pub pads: [usize; 4],
    /// Number of channel groups; equal to the input channels for a depthwise convolution.
    pub groups: usize,
    /// The kernel weights.
    pub weight: WeightId,
    /// The per-map bias.
    pub bias: Option<WeightId>,
}

/// Window of a pooling operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool {
    /// Window height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Padding at top, left, bottom, right: zeros for averages, -∞ for maxima.
    pub pads: [usize; 4],
    /// Averages only: whether padded cells count in the divisor.
    pub count_include_pad: bool,
}

/// What a node computes. Every operator has one output.
#[derive(Clone, PartialEq, Debug)]
pub enum Op {
    /// The client's input; the first node of every graph.
    Input,
    /// Convolution.
    Conv(Conv),
    /// `y = W·x + b` with `W` of shape `[out, in]`, over a vector.
    Dense {
        /// Number of outputs.
        out: usize,
        /// The matrix, `[out, in]`.
        weight: WeightId,
        /// The bias, `[out]`.
        bias: Option<WeightId>,
    },
    /// Sum of two wires of equal shape.
    Add,
    /// Adds a constant: `[channels]` over images, `[features]` over vectors, or the wire's own shape.
    AddConst {
        /// The constant.
        value: WeightId,
    },
    /// Multiplies by a constant: `[channels]` over images, `[features]` over vectors, one element, or the
    /// wire's own shape.
    MulConst {
        /// The constant.
        value: WeightId,
    },
    /// Product of a wire with itself.
    Square,
    /// `max(x, 0)`.
    Relu,
    /// Mean over a window.
    AveragePool(Pool),
    /// Mean over all positions of each channel: `[c, h, w]` → `[c, 1, 1]`.
    GlobalAveragePool,
    /// Maximum over a window.
    MaxPool(Pool),
    /// Any shape to a vector, row-major.
    Flatten,
    /// Any shape to another of as many elements, row-major.
    Reshape {
        /// The new axes.
        dims: Vec<usize>,
    },
    /// `scale·(x − mean)/√(var + epsilon) + bias` per channel; all four weights have shape `[channels]`.
    BatchNorm {
        /// Scale γ.
        scale: WeightId,
        /// Shift β.
        bias: WeightId,
        /// Running mean.
        mean: WeightId,
        /// Running variance.
        var: WeightId,
        /// Added to the variance.
        epsilon: f32,
    },
    /// Every `steps`-th element of `starts..ends` along each axis.
    Slice {
        /// First index, per axis.
        starts: Vec<usize>,
        /// One past the last index, per axis.
        ends: Vec<usize>,
        /// Stride, per axis, at least 1.
        steps: Vec<usize>,
    },
    /// Surrounds the tensor with a constant.
    Pad {
        /// Elements added before, per axis.
        before: Vec<usize>,
        /// Elements added after, per axis.
        after: Vec<usize>,
        /// The constant.
        value: f32,
    },
    /// The wire itself.
    Identity,
    /// `min(max(x, min), max)`.
    Clip {
        /// The smallest result.
        min: f32,
        /// The largest result.
        max: f32,
    },
    /// Wires of equal shapes but for the first axis (channels), one after another.
    Concat {
        /// Number of wires, from 2 to [`Op::MAX_INPUTS`].
        count: usize,
    },
}

impl Op {
    /// The largest number of wires an operator reads.
    pub const MAX_INPUTS: usize = 256;

    /// The operator's name as users know it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Input => "Input",
            Self::Conv(_) => "Conv",
            Self::Dense { .. } => "Dense",
            Self::Add => "Add",
            Self::AddConst { .. } => "AddConst",
            Self::MulConst { .. } => "MulConst",
            Self::Square => "Square",
            Self::Relu => "Relu",
            Self::AveragePool(_) => "AveragePool",
            Self::GlobalAveragePool => "GlobalAveragePool",
            Self::MaxPool(_) => "MaxPool",
            Self::Flatten => "Flatten",
            Self::Reshape { .. } => "Reshape",
            Self::BatchNorm { .. } => "BatchNorm",
            Self::Slice { .. } => "Slice",
            Self::Pad { .. } => "Pad",
            Self::Identity => "Identity",
            Self::Clip { .. } => "Clip",
            Self::Concat { .. } => "Concat",
        }
    }

    /// Number of wires the operator reads.
    pub fn arity(&self) -> usize {
        match self {
            Self::Input => 0,
            Self::Add => 2,
            Self::Concat { count } => *count,
            _ => 1,
        }
    }

    /// The weights the operator reads, in declaration order.
    pub fn weights(&self) -> Vec<WeightId> {
        match self {
            Self::Conv(c) => std::iter::once(c.weight).chain(c.bias).collect(),
            Self::Dense { weight, bias, .. } => std::iter::once(*weight).chain(*bias).collect(),
            Self::AddConst { value } | Self::MulConst { value } => vec![*value],
            Self::BatchNorm { scale, bias, mean, var, .. } => vec![*scale, *bias, *mean, *var],
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conv(c) => write!(
                f,
                "Conv {}×{}{}{} → {} maps{}",
                c.kernel[0],
                c.kernel[1],
                if c.stride[0] > 1 { format!(" stride {}", c.stride[0]) } else { String::new() },
                match c.pads {
                    [0, 0, 0, 0] => String::new(),
                    [a, b, c, d] if a == b && b == c && c == d => format!(" pad {a}"),
                    [top, left, bottom, right] => format!(" pad {top},{left},{bottom},{right}"),
                },
                c.out_channels,
                if c.groups > 1 { format!(" in {} groups", c.groups) } else { String::new() }
            ),
            Self::Dense { out, .. } => write!(f, "Dense → {out}"),
            Self::AveragePool(p) | Self::MaxPool(p) => {
                write!(f, "{} {}×{} stride {}", self.name(), p.kernel[0], p.kernel[1], p.stride[0])
            }
            other => f.write_str(other.name()),
        }
    }
}
