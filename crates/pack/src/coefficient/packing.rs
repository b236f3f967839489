//! Where everything is.

use super::shape::{LinearShape, Phased};
use super::{CoefficientError, count};

/// What one ciphertext holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Outputs of a tile: rows and columns of the output grid. Where the kernel is one pixel (after phases) the grid is
    /// one row of all pixels.
    pub tile: [usize; 2],
    /// Whole groups in one input ciphertext; 1 if `channels` are a part of one.
    pub groups: usize,
    /// C': channels of an input ciphertext, each phase of a stride counted as one; all channels of its groups if
    /// `groups` is more than 1.
    pub channels: usize,
    /// M': most output channels of an output ciphertext.
    pub outputs: usize,
}

/// One linear layer laid out in elements of n coefficients.
#[derive(Clone, Debug)]
pub struct Packing {
    shape: LinearShape,
    n: usize,
    block: Block,
    phased: Phased,
}

/// Where the results of one output ciphertext are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyLayout {
    /// Coefficients that are sent, ascending.
    pub positions: Vec<u32>,
    /// The element of the output tensor that each one holds.
    pub elements: Vec<u32>,
}

impl Packing {
    /// The packing with these blocks, which [`Packing::plan`] chooses well.
    ///
    /// # Errors
    /// [`CoefficientError::Shape`] for a shape that is none or blocks that do not fit n coefficients or the shape.
    pub fn with_block(shape: &LinearShape, n: usize, block: Block) -> Result<Self, CoefficientError> {
        let phased = shape.phased()?;
        let packing = Self { shape: *shape, n, block, phased };
        let refuse = |what, found, needed| Err(CoefficientError::Shape { what, found, needed });
        let [gh, gw] = packing.phased.grid();
        let Block { tile: [th, tw], groups, channels, outputs } = block;
        if !(1..=gh).contains(&th) || !(1..=gw).contains(&tw) {
            return refuse("tile", th * tw, "inside the output");
        }
        let per_group = packing.phased.group_channels();
        let whole = groups > 1 && groups <= packing.phased.conv.groups && channels == groups * per_group;
        let part = groups == 1 && (1..=per_group).contains(&channels);
        if !whole && !part {
            return refuse("channel block", channels, "a part of one group or all of several");
        }
        if !(1..=groups * packing.phased.group_outputs()).contains(&outputs) {
            return refuse("output block", outputs, "1 to the outputs of its groups");
        }
        match outputs.checked_mul(channels).and_then(|c| c.checked_mul(packing.pixels())) {
            Some(size) if size <= n => Ok(packing),
            size => {
                refuse("block", size.unwrap_or(usize::MAX), "no more than the coefficients of an element")
            }
        }
    }

    /// The layer.
    pub fn shape(&self) -> &LinearShape {
        &self.shape
    }

    /// n.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The blocks.
    pub fn block(&self) -> Block {
        self.block
    }

    /// Ht and Wt.
    fn extent(&self) -> [usize; 2] {
        [0, 1].map(|a: usize| self.block.tile[a] + self.phased.window[a] - 1)
    }

    /// S.
    fn pixels(&self) -> usize {
        let [h, w] = self.extent();
        h * w
    }

    /// Tiles down and across.
    fn tiles(&self) -> [usize; 2] {
        let grid = self.phased.grid();
        [0, 1].map(|a: usize| grid[a].div_ceil(self.block.tile[a]))
    }

    /// Sets of groups that share ciphertexts.
    fn spans(&self) -> usize {
        self.phased.conv.groups.div_ceil(self.block.groups)
    }

    /// Groups of span `span`.
    fn groups_of(&self, span: usize) -> usize {
        self.block.groups.min(self.phased.conv.groups - span * self.block.groups)
    }

    /// Input ciphertexts of a tile and span.
    fn input_blocks(&self) -> usize {
        match self.block.groups {
            1 => self.phased.group_channels().div_ceil(self.block.channels),
            _ => 1,
        }
    }

    /// Output ciphertexts of a tile and a span of `groups` groups.
    fn output_blocks(&self, groups: usize) -> usize {
        (groups * self.phased.group_outputs()).div_ceil(self.block.outputs)
    }

    /// Output ciphertexts of a tile.
    pub(super) fn replies_per_tile(&self) -> usize {
        // Spans are equal but for the last.
        let last = self.spans() - 1;
        last * self.output_blocks(self.block.groups) + self.output_blocks(self.groups_of(last))
    }

    /// O: the coefficient of the first output.
    fn origin(&self) -> usize {
        let [wh, ww] = self.phased.window;
        self.pixels() * (self.block.channels - 1) + self.extent()[1] * (wh - 1) + ww - 1
    }

    /// Ciphertexts up.
    pub fn inputs(&self) -> usize {
        let [down, across] = self.tiles();
        down * across * self.spans() * self.input_blocks()
    }

    /// Ciphertexts down.
    pub fn replies(&self) -> usize {
        let [down, across] = self.tiles();
        down * across * self.replies_per_tile()
    }

    /// Tile, span and output block of reply `index`.
    fn place(&self, index: usize) -> (usize, usize, usize) {
        let (tile, within) = (index / self.replies_per_tile(), index % self.replies_per_tile());
        // Spans are equal but for the last.
        let full = self.output_blocks(self.block.groups);
        let span = (within / full).min(self.spans() - 1);
        (tile, span, within - span * full)
    }

    /// The products of reply `index`: input ciphertexts and, for each, the index of its kernel.
    pub fn products(&self, index: usize) -> impl ExactSizeIterator<Item = (usize, usize)> + use<> {
        let (tile, span, block) = self.place(index);
        let blocks = self.input_blocks();
        let first = (tile * self.spans() + span) * blocks;
        let kernel = (span * self.output_blocks(self.block.groups) + block) * blocks;
        (0..blocks).map(move |b| (first + b, kernel + b))
    }

    /// Number of kernels.
    pub fn kernels(&self) -> usize {
        self.replies_per_tile() * self.input_blocks()
    }

    /// Kernels of one reply; those of a reply are consecutive.
    pub(super) fn kernels_per_reply(&self) -> usize {
        self.input_blocks()
    }

    /// The coefficients of every input ciphertext from a tensor (elements in the order of the shape's documentation);
    /// what holds no element is 0.
    ///
    /// # Errors
    /// [`CoefficientError::Count`] for a tensor of another length.
    pub fn scatter(&self, x: &[u64]) -> Result<Vec<Vec<u64>>, CoefficientError> {
        count("elements of a tensor", self.shape.input_len(), x.len())?;
        let mut out = vec![vec![0; self.n]; self.inputs()];
        for (index, row) in out.iter_mut().enumerate() {
            self.for_input(index, |coefficient, element| row[coefficient] = x[element]);
        }
        Ok(out)
    }

    /// Calls `visit` with coefficient and element of everything that input ciphertext `index` holds.
    pub fn for_input(&self, index: usize, mut visit: impl FnMut(usize, usize)) {
        let blocks = self.input_blocks();
        let (block, rest) = (index % blocks, index / blocks);
        let (span, tile) = (rest % self.spans(), rest / self.spans());
        let (first, channels) = match self.block.groups {
            1 => {
                let first = block * self.block.channels;
                let all = self.phased.group_channels();
                (span * all + first, self.block.channels.min(all - first))
            }
            groups => {
                let all = self.phased.group_channels();
                (span * groups * all, self.groups_of(span) * all)
            }
        };
        let [height, width] = self.extent();
        let [top, left] = self.corner(tile);
        let grid = self.phased.grid();
        for c in 0..channels {
            for i in 0..height {
                for j in 0..width {
                    let pixel = [top + i, left + j];
                    // No output inside the grid reads pixels beyond it and the window.
                    if (0..2).any(|a| pixel[a] >= grid[a] + self.phased.window[a] - 1) {
                        continue;
                    }
                    if let Some(element) = self.phased.element(first + c, pixel) {
                        visit((c * height + i) * width + j, element);
                    }
                }
            }
        }
    }

    /// The first output of tile `tile`.
    fn corner(&self, tile: usize) -> [usize; 2] {
        let [_, across] = self.tiles();
        [tile / across * self.block.tile[0], tile % across * self.block.tile[1]]
    }

    /// The terms (shift, weight) of kernel `index`, shifts ascending; zero weights are terms, so that how many there are
    /// tells nothing.
    ///
    /// # Errors
    /// [`CoefficientError::Count`] for another number of weights.
    pub fn kernel(&self, index: usize, weights: &[i64]) -> Result<Vec<(u32, i64)>, CoefficientError> {
        count("weights", self.shape.weights(), weights.len())?;
        let mut terms = Vec::new();
        self.for_kernel(index, |shift, weight| terms.push((shift as u32, weights[weight])));
        terms.sort_unstable_by_key(|&(shift, _)| shift);
        Ok(terms)
    }

    /// Number of terms of kernel `index`.
    pub fn kernel_terms(&self, index: usize) -> usize {
        let mut terms = 0;
        self.for_kernel(index, |_, _| terms += 1);
        terms
    }

    fn for_kernel(&self, index: usize, mut visit: impl FnMut(usize, usize)) {
        let (block, reply) = (index % self.input_blocks(), index / self.input_blocks());
        let (_, span, out_block) = self.place(reply);
        let [_, width] = self.extent();
        let (pixels, origin) = (self.pixels(), self.origin());
        let (channels, outputs) = (self.phased.group_channels(), self.phased.group_outputs());
        let phases = self.phased.phases.len();
        for (m, of_span) in self.outputs_of(span, out_block).enumerate() {
            let group = of_span / outputs;
            // Channels of this output's group that the ciphertext holds: their place there and within the group.
            let (place, first, many) = match self.block.groups {
                1 => {
                    let first = block * self.block.channels;
                    (0, first, self.block.channels.min(channels - first))
                }
                _ => (group * channels, 0, channels),
            };
            let output = span * self.block.groups * outputs + of_span;
            let base = m * self.block.channels * pixels + origin;
            for c in 0..many {
                let (channel, phase) = ((first + c) / phases, (first + c) % phases);
                for tap in self.phased.taps.iter().filter(|t| t.phase == phase) {
                    let shift = base - (place + c) * pixels - tap.at[0] * width - tap.at[1];
                    visit(shift, self.phased.weight(output, channel, tap.weight));
                }
            }
        }
    }

    /// Outputs of an output block, counted within their span.
    fn outputs_of(&self, span: usize, block: usize) -> std::ops::Range<usize> {
        let all = self.groups_of(span) * self.phased.group_outputs();
        let first = block * self.block.outputs;
        first..(first + self.block.outputs).min(all)
    }

    /// Output channels with results in reply `index`.
    pub fn channels_of_reply(&self, index: usize) -> std::ops::Range<usize> {
        let (_, span, block) = self.place(index);
        let first = span * self.block.groups * self.phased.group_outputs();
        let of_span = self.outputs_of(span, block);
        first + of_span.start..first + of_span.end
    }

    /// Results of reply `index`: how many.
    pub fn reply_len(&self, index: usize) -> usize {
        let (tile, span, block) = self.place(index);
        let [h, w] = self.kept(tile);
        self.outputs_of(span, block).len() * h * w
    }

    /// Rows and columns of a tile's outputs that exist.
    fn kept(&self, tile: usize) -> [usize; 2] {
        let (corner, grid) = (self.corner(tile), self.phased.grid());
        [0, 1].map(|a: usize| self.block.tile[a].min(grid[a] - corner[a]))
    }

    /// Where the results of reply `index` are, and what they are.
    pub fn reply(&self, index: usize) -> ReplyLayout {
        let (tile, span, block) = self.place(index);
        let ([top, left], [rows, columns]) = (self.corner(tile), self.kept(tile));
        let [_, width] = self.extent();
        let (stride, origin) = (self.block.channels * self.pixels(), self.origin());
        let len = self.reply_len(index);
        let (mut positions, mut elements) = (Vec::with_capacity(len), Vec::with_capacity(len));
        for (m, of_span) in self.outputs_of(span, block).enumerate() {
            let output = span * self.block.groups * self.phased.group_outputs() + of_span;
            for i in 0..rows {
                for j in 0..columns {
                    positions.push((m * stride + origin + i * width + j) as u32);
                    elements.push(self.phased.result(output, [top + i, left + j]) as u32);
                }
            }
        }
        ReplyLayout { positions, elements }
    }

    /// The output channel of an element of the output tensor.
    pub fn channel_of(&self, element: usize) -> usize {
        match self.phased.channel_last {
            false => element / (self.phased.out[0] * self.phased.out[1]),
            true => element % self.phased.conv.outputs,
        }
    }
}
