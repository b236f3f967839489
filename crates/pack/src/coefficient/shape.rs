//! Linear layers, and the form all of them are packed in.

use super::CoefficientError;

/// A two-dimensional convolution with integer weights, as in ONNX: weights `[outputs, channels/groups, kh, kw]`, input
/// `[channels, height, width]`, output `[outputs, oh, ow]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape {
    /// Input channels.
    pub channels: usize,
    /// Height and width of the input.
    pub size: [usize; 2],
    /// Output channels.
    pub outputs: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Zeros added at top, left, bottom, right.
    pub pads: [usize; 4],
    /// Groups of channels; equal to the input channels for a depthwise convolution.
    pub groups: usize,
}

/// A linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinearShape {
    /// A convolution.
    Conv(ConvShape),
    /// y = W·x: weights `[outputs, inputs]`.
    Dense {
        /// Length of x.
        inputs: usize,
        /// Length of y.
        outputs: usize,
    },
    /// Y = X·W: input `[rows, inner]`, weights `[inner, columns]`, output `[rows, columns]`.
    MatMul {
        /// Rows of X.
        rows: usize,
        /// Columns of X.
        inner: usize,
        /// Columns of W.
        columns: usize,
    },
}

/// One weight of a kernel in its phase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tap {
    /// Index of the weight within its channel's kernel.
    pub(super) weight: usize,
    /// Which of the phases in use.
    pub(super) phase: usize,
    /// Offset in the phase image.
    pub(super) at: [usize; 2],
}

/// A convolution with stride 1 over phase images.
#[derive(Clone, Debug)]
pub(super) struct Phased {
    pub(super) conv: ConvShape,
    /// Elements lie channel last: `[pixel, channel]` for input and output alike, and weights `[channel, output]`.
    pub(super) channel_last: bool,
    /// Offsets of the phases in use.
    pub(super) phases: Vec<[usize; 2]>,
    pub(super) taps: Vec<Tap>,
    /// Kernel of the phases.
    pub(super) window: [usize; 2],
    /// Height and width of the output.
    pub(super) out: [usize; 2],
    /// Whether pixels are taken as one row, in any runs.
    pub(super) flat: bool,
}

impl LinearShape {
    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        match self {
            Self::Conv(c) => c.channels * c.size[0] * c.size[1],
            Self::Dense { inputs, .. } => *inputs,
            Self::MatMul { rows, inner, .. } => rows * inner,
        }
    }

    /// Elements of the output; 0 for a shape that is none.
    pub fn output_len(&self) -> usize {
        match self {
            Self::Conv(c) => c.out().map_or(0, |[h, w]| c.outputs * h * w),
            Self::Dense { outputs, .. } => *outputs,
            Self::MatMul { rows, columns, .. } => rows * columns,
        }
    }

    /// Number of weights.
    pub fn weights(&self) -> usize {
        match self {
            Self::Conv(c) => c.outputs * (c.channels / c.groups.max(1)) * c.kernel[0] * c.kernel[1],
            Self::Dense { inputs, outputs } => inputs * outputs,
            Self::MatMul { inner, columns, .. } => inner * columns,
        }
    }

    /// Output channels: entries of a bias.
    pub fn channels_out(&self) -> usize {
        match self {
            Self::Conv(c) => c.outputs,
            Self::Dense { outputs, .. } => *outputs,
            Self::MatMul { columns, .. } => *columns,
        }
    }

    pub(super) fn phased(&self) -> Result<Phased, CoefficientError> {
        let point = |channels, pixels, outputs| ConvShape {
            channels,
            size: [1, pixels],
            outputs,
            kernel: [1; 2],
            stride: [1; 2],
            pads: [0; 4],
            groups: 1,
        };
        match *self {
            Self::Conv(c) => Phased::new(c, false),
            Self::Dense { inputs, outputs } => Phased::new(point(inputs, 1, outputs), false),
            Self::MatMul { rows, inner, columns } => Phased::new(point(inner, rows, columns), true),
        }
    }
}

impl ConvShape {
    /// Height and width of the output, if the kernel fits the padded input.
    pub fn out(&self) -> Option<[usize; 2]> {
        let [top, left, bottom, right] = self.pads;
        let axis = |a: usize, before: usize, after: usize| {
            let padded = self.size.get(a)?.checked_add(before)?.checked_add(after)?;
            let (k, s) = (*self.kernel.get(a)?, *self.stride.get(a)?);
            Some(padded.checked_sub(k)?.checked_div(s)? + 1)
        };
        Some([axis(0, top, bottom)?, axis(1, left, right)?])
    }

    fn check(&self) -> Result<[usize; 2], CoefficientError> {
        // Every size that follows stays far inside a word.
        const LIMIT: usize = 1 << 16;
        let sizes = [
            ("channels", self.channels, 1),
            ("height", self.size[0], 1),
            ("width", self.size[1], 1),
            ("outputs", self.outputs, 1),
            ("kernel height", self.kernel[0], 1),
            ("kernel width", self.kernel[1], 1),
            ("vertical stride", self.stride[0], 1),
            ("horizontal stride", self.stride[1], 1),
            ("groups", self.groups, 1),
            ("padding", self.pads.into_iter().max().unwrap_or(0), 0),
        ];
        for (what, found, least) in sizes {
            if found < least || found > LIMIT {
                return Err(CoefficientError::Shape {
                    what,
                    found,
                    needed: "between 1 and 65536 (padding from 0)",
                });
            }
        }
        for (what, found) in [("channels", self.channels), ("outputs", self.outputs)] {
            if found % self.groups != 0 {
                return Err(CoefficientError::Shape { what, found, needed: "a multiple of the groups" });
            }
        }
        let (what, found) = ("kernel", self.kernel[0].max(self.kernel[1]));
        self.out().ok_or(CoefficientError::Shape { what, found, needed: "no larger than the padded input" })
    }
}

impl Phased {
    fn new(conv: ConvShape, channel_last: bool) -> Result<Self, CoefficientError> {
        let out = conv.check()?;
        let [sy, sx] = conv.stride;
        let [kh, kw] = conv.kernel;
        let (mut phases, mut taps) = (Vec::new(), Vec::with_capacity(kh * kw));
        for a in 0..sy.min(kh) {
            for b in 0..sx.min(kw) {
                let phase = phases.len();
                phases.push([a, b]);
                for u in (a..kh).step_by(sy) {
                    for v in (b..kw).step_by(sx) {
                        taps.push(Tap { weight: u * kw + v, phase, at: [u / sy, v / sx] });
                    }
                }
            }
        }
        let window = [kh.div_ceil(sy), kw.div_ceil(sx)];
        let flat = window == [1, 1];
        Ok(Self { conv, channel_last, phases, taps, window, out, flat })
    }

    /// Channels per group, phases counted.
    pub(super) fn group_channels(&self) -> usize {
        self.conv.channels / self.conv.groups * self.phases.len()
    }

    /// Outputs per group.
    pub(super) fn group_outputs(&self) -> usize {
        self.conv.outputs / self.conv.groups
    }

    /// Height and width of the grid of outputs that tiles cut.
    pub(super) fn grid(&self) -> [usize; 2] {
        if self.flat { [1, self.out[0] * self.out[1]] } else { self.out }
    }

    /// The input element at a pixel of the image of virtual channel `channel` (channel·phases + phase); none for padding
    /// and beyond.
    pub(super) fn element(&self, channel: usize, pixel: [usize; 2]) -> Option<usize> {
        let [y, x] = if self.flat { [pixel[1] / self.out[1], pixel[1] % self.out[1]] } else { pixel };
        let [a, b] = *self.phases.get(channel % self.phases.len())?;
        let channel = channel / self.phases.len();
        let [top, left, ..] = self.conv.pads;
        let [h, w] = self.conv.size;
        let row = (y * self.conv.stride[0] + a).checked_sub(top).filter(|&r| r < h)?;
        let column = (x * self.conv.stride[1] + b).checked_sub(left).filter(|&c| c < w)?;
        Some(match self.channel_last {
            false => (channel * h + row) * w + column,
            true => (row * w + column) * self.conv.channels + channel,
        })
    }

    /// The output element of channel `m` at a pixel of the grid, which must be inside.
    pub(super) fn result(&self, m: usize, pixel: [usize; 2]) -> usize {
        let [_, w] = self.grid();
        let pixel = pixel[0] * w + pixel[1];
        match self.channel_last {
            false => m * self.out[0] * self.out[1] + pixel,
            true => pixel * self.conv.outputs + m,
        }
    }

    /// Index of a weight: of output `m` (of all), channel `c` within its group, tap weight `t`.
    pub(super) fn weight(&self, m: usize, c: usize, t: usize) -> usize {
        match self.channel_last {
            false => {
                (m * (self.conv.channels / self.conv.groups) + c) * self.conv.kernel[0] * self.conv.kernel[1]
                    + t
            }
            true => c * self.conv.outputs + m,
        }
    }
}
