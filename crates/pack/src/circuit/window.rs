//! Linear layers as matrices between tensors: everything is a convolution.

use oblivia_nn::{Conv, Pool};

/// A linear layer from one `[channels, height, width]` tensor to another, as far as its shape tells: output (m, y, x)
/// is a weighted sum of the inputs (c, y·stride + ky − top, x·stride + kx − left) that exist.
///
/// A dense layer is a kernel as large as its input; an average is a convolution in as many groups as channels; an
/// average directly before another layer is merged into it (`pool`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    /// Of the input.
    pub input: [usize; 3],
    /// Of the output.
    pub output: [usize; 3],
    /// Height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal.
    pub stride: [usize; 2],
    /// Top and left.
    pub pads: [usize; 2],
    /// Channel groups.
    pub groups: usize,
    /// Cells averaged before the weights apply, vertically and horizontally: kernel index k uses the weight of
    /// index k / pool.
    pub pool: [usize; 2],
}

/// One weight of a [`Window`], by the indices of `[out, in / groups, height, width]` before pooling was merged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tap {
    /// Output channel.
    pub out: usize,
    /// Input channel within its group.
    pub channel: usize,
    /// Row and column of the kernel.
    pub at: [usize; 2],
}

/// What may be said about the weights: an element of the output that reads an element of the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pair {
    pub(crate) output: usize,
    pub(crate) input: usize,
    pub(crate) kernel: usize,
}

impl Window {
    /// A convolution.
    pub fn conv(conv: &Conv, input: [usize; 3], output: [usize; 3]) -> Self {
        Self {
            input,
            output,
            kernel: conv.kernel,
            stride: conv.stride,
            pads: [conv.pads[0], conv.pads[1]],
            groups: conv.groups,
            pool: [1, 1],
        }
    }

    /// A dense layer over all elements of `input`, row-major.
    pub fn dense(input: [usize; 3], outputs: usize) -> Self {
        let kernel = [input[1], input[2]];
        Self { input, output: [outputs, 1, 1], kernel, stride: [1, 1], pads: [0, 0], groups: 1, pool: [1, 1] }
    }

    /// An average over windows; every weight is 1 and the factor is [`Window::cells`]. `None` for windows that
    /// overlap their padding: their divisors differ.
    pub fn average(pool: &Pool, input: [usize; 3], output: [usize; 3]) -> Option<Self> {
        (pool.pads == [0; 4]).then_some(Self {
            input,
            output,
            kernel: pool.kernel,
            stride: pool.stride,
            pads: [0, 0],
            groups: input[0],
            pool: pool.kernel,
        })
    }

    /// This layer with the average `pool` merged in before it. `None` unless the windows of the average tile their
    /// input `before`.
    pub fn after_average(&self, pool: &Pool, before: [usize; 3]) -> Option<Self> {
        let [ph, pw] = pool.kernel;
        let tiles = pool.stride == pool.kernel
            && pool.pads == [0; 4]
            && before == [self.input[0], self.input[1] * ph, self.input[2] * pw];
        tiles.then(|| Self {
            input: before,
            kernel: [self.kernel[0] * ph, self.kernel[1] * pw],
            stride: [self.stride[0] * ph, self.stride[1] * pw],
            pads: [self.pads[0] * ph, self.pads[1] * pw],
            pool: [self.pool[0] * ph, self.pool[1] * pw],
            ..self.clone()
        })
    }

    /// The same sums over the columns of the input (one channel per tap): a kernel of
    /// one cell. `None` for groups and merged averages.
    pub fn columns(&self) -> Option<Self> {
        let [_, h, w] = self.output;
        let plain = self.groups == 1 && self.pool == [1, 1];
        plain.then(|| Self {
            input: [self.fan_in(), h, w],
            kernel: [1, 1],
            stride: [1, 1],
            pads: [0, 0],
            ..self.clone()
        })
    }

    /// Cells that one weight averages over.
    pub fn cells(&self) -> usize {
        self.pool[0] * self.pool[1]
    }

    /// Inputs of one output, those outside the input included.
    pub fn fan_in(&self) -> usize {
        self.input[0] / self.groups.max(1) * self.kernel[0] * self.kernel[1]
    }

    /// Steps that looking at all pairs of channels takes.
    pub(crate) fn channel_pairs(&self) -> usize {
        self.input[0].saturating_mul(self.output[0]) / self.groups.max(1)
    }

    /// Steps that looking at all rows (`axis` 0) or columns (1) takes.
    pub(crate) fn cells_along(&self, axis: usize) -> usize {
        self.output[1 + axis].saturating_mul(self.kernel[axis])
    }

    /// Rows (`axis` 0) or columns (1) that exist: which output reads which input by which kernel index.
    pub(crate) fn cells_of(&self, axis: usize) -> impl Iterator<Item = Pair> + Clone {
        let (stride, pad, inputs) = (self.stride[axis], self.pads[axis], self.input[1 + axis]);
        let kernels = self.kernel[axis];
        (0..self.output[1 + axis]).flat_map(move |output| {
            (0..kernels).filter_map(move |kernel| {
                let at = output.checked_mul(stride)?.checked_add(kernel)?.checked_sub(pad);
                at.filter(|&i| i < inputs).map(|input| Pair { output, input, kernel })
            })
        })
    }

    /// Channels: which output reads which input by which weight channel.
    pub(crate) fn channels(&self) -> impl Iterator<Item = Pair> + Clone {
        let groups = self.groups.max(1);
        let (ins, outs) = (self.input[0] / groups, self.output[0] / groups);
        let of_group = move |g: usize| {
            (g * outs..(g + 1) * outs).flat_map(move |output| {
                (0..ins).map(move |kernel| Pair { output, input: g * ins + kernel, kernel })
            })
        };
        (0..groups).flat_map(of_group)
    }

    /// The weight that (`channel`, `y`, `x`) uses.
    pub(crate) fn tap(&self, channel: Pair, y: Pair, x: Pair) -> Tap {
        let at = [self.weight_along(0, y), self.weight_along(1, x)];
        Tap { out: channel.output, channel: channel.kernel, at }
    }

    /// Rows (`axis` 0) or columns (1) of the weights.
    pub(crate) fn weights_along(&self, axis: usize) -> usize {
        self.kernel[axis].div_ceil(self.pool[axis].max(1))
    }

    /// Which row (`axis` 0) or column (1) of the weights a pair uses.
    pub(crate) fn weight_along(&self, axis: usize, p: Pair) -> usize {
        p.kernel / self.pool[axis].max(1)
    }

    /// Where the weights `[out, in / groups, height, width]`, row-major, have that of `tap`. The columns of a layer
    /// ([`Window::columns`]) use the same weights.
    pub fn index(&self, tap: Tap) -> usize {
        let channels = self.input[0] / self.groups.max(1);
        let [height, width] = [self.weights_along(0), self.weights_along(1)];
        ((tap.out * channels + tap.channel) * height + tap.at[0]) * width + tap.at[1]
    }
}
