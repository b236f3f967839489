//! The choice of blocks, and what they cost.

use super::packing::{Block, Packing};
use super::shape::LinearShape;
use super::{CoefficientError, count};
use oblivia_he::coefficient::{NoiseEstimate, Params, Ring, Work};

/// What bits cost: the ring and the widths a packing is chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths {
    /// n.
    pub n: usize,
    /// Bits of a coefficient on its way up.
    pub up_bits: u32,
    /// Bits of a coefficient of c0 and of c1 on their way down.
    pub down_bits: [u32; 2],
}

impl Widths {
    /// Those of a layer's parameters.
    pub fn of(params: &Params) -> Self {
        Self { n: params.n(), up_bits: params.q_bits(), down_bits: params.reply_bits() }
    }
}

/// What a packed layer takes; known before anything runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Ciphertexts up.
    pub inputs: usize,
    /// Ciphertexts down.
    pub replies: usize,
    /// Bytes up: a seed, and c0 of every ciphertext.
    pub up_bytes: u64,
    /// Bytes down.
    pub down_bytes: u64,
    /// Kernels that weights are prepared as.
    pub kernels: usize,
    /// The server's products.
    pub work: Work,
}

impl Packing {
    /// The packing with the fewest bits, then the fewest ciphertexts: the minimum of
    /// T·(⌈C/C'⌉·n·q + ⌈M/M'⌉·n·b1) + M·Ho·Wo·b0 over all tiles, C' and M'.
    ///
    /// # Errors
    /// [`CoefficientError::Shape`] for a shape that is none, [`CoefficientError::TooLarge`] if nothing fits.
    pub fn plan(shape: &LinearShape, widths: &Widths) -> Result<Self, CoefficientError> {
        let phased = shape.phased()?;
        let (n, [grid_h, grid_w], [wh, ww]) = (widths.n, phased.grid(), phased.window);
        let (channels, outputs) = (phased.group_channels(), phased.group_outputs());
        let all_groups = phased.conv.groups;
        let mut best: Option<([u128; 2], Block)> = None;
        for th in pieces(grid_h) {
            for tw in pieces(grid_w) {
                let pixels = (th + wh - 1) * (tw + ww - 1);
                if pixels > n {
                    continue;
                }
                let tiles = grid_h.div_ceil(th) * grid_w.div_ceil(tw);
                let mut offer = |groups: usize, c: usize| {
                    let of_span = groups * outputs;
                    let most = (n / (c * pixels)).min(of_span);
                    if most == 0 {
                        return;
                    }
                    // As many output ciphertexts as with the most outputs in each, evenly filled.
                    let m = of_span.div_ceil(of_span.div_ceil(most));
                    let spans = all_groups.div_ceil(groups);
                    let per_tile = spans as u128 * if groups == 1 { channels.div_ceil(c) as u128 } else { 1 };
                    let last = (all_groups - (spans - 1) * groups) * outputs;
                    let down_per_tile =
                        (spans as u128 - 1) * of_span.div_ceil(m) as u128 + last.div_ceil(m) as u128;
                    let (ups, downs) = (tiles as u128 * per_tile, tiles as u128 * down_per_tile);
                    let bits = ups * u128::from(widths.up_bits) + downs * u128::from(widths.down_bits[1]);
                    let score = [bits * n as u128, ups + downs];
                    if best.as_ref().is_none_or(|(least, _)| score < *least) {
                        best = Some((score, Block { tile: [th, tw], groups, channels: c, outputs: m }));
                    }
                };
                for c in pieces(channels) {
                    offer(1, c);
                }
                for groups in pieces(all_groups).filter(|&g| g > 1) {
                    offer(groups, groups * channels);
                }
            }
        }
        let (_, block) = best.ok_or(CoefficientError::TooLarge { pixels: wh * ww, n })?;
        Self::with_block(shape, n, block)
    }

    /// The packing and the widths with the least modulus for messages of k bits and shares of L bits:
    /// [`Params::choose`] and [`Packing::plan`] depend on each other, because the noise of a result has the weights of all
    /// outputs of its ciphertext in it. `sum_squares` has Σw² of every output channel.
    ///
    /// # Errors
    /// As [`Packing::plan`] and [`Params::choose`]; [`CoefficientError::Count`] for another number of channels.
    pub fn choose(
        ring: &Ring,
        shape: &LinearShape,
        k_bits: u32,
        share_bits: u32,
        sum_squares: &[u64],
    ) -> Result<(Self, Params), CoefficientError> {
        let mut params = Params::choose(ring, k_bits, share_bits, 0)?;
        loop {
            let packing = Self::plan(shape, &Widths::of(&params))?;
            let needed = packing.sum_squares(sum_squares)?;
            if NoiseEstimate::new(&params, needed).fits(&params) {
                return Ok((packing, params));
            }
            params = Params::cut(ring, params.q_bits() + 1, k_bits, share_bits)?;
        }
    }

    /// The largest Σw² over the kernels of one output ciphertext, from Σw² of every output channel.
    ///
    /// # Errors
    /// [`CoefficientError::Count`] for another number of channels.
    pub fn sum_squares(&self, of_channels: &[u64]) -> Result<u64, CoefficientError> {
        self.largest_sum(of_channels)
    }

    /// The largest Σ|w| over the kernels of one output ciphertext, from Σ|w| of every output channel.
    ///
    /// # Errors
    /// [`CoefficientError::Count`] for another number of channels.
    pub fn norm1(&self, of_channels: &[u64]) -> Result<u64, CoefficientError> {
        self.largest_sum(of_channels)
    }

    /// Over the output ciphertexts of a tile, of the sums over their channels.
    fn largest_sum(&self, of_channels: &[u64]) -> Result<u64, CoefficientError> {
        count("output channels", self.shape().channels_out(), of_channels.len())?;
        let sum = |reply| {
            let channels = self.channels_of_reply(reply);
            of_channels.get(channels).map_or(0, |c| c.iter().fold(0u64, |a, &b| a.saturating_add(b)))
        };
        Ok((0..self.replies_per_tile()).map(sum).max().unwrap_or(0))
    }

    /// What it takes with these widths.
    pub fn counts(&self, widths: &Widths) -> Counts {
        let n = self.n();
        let bytes = |count: usize, bits: u32| (count * bits as usize).div_ceil(8) as u64;
        let [b0, b1] = widths.down_bits;
        let terms: Vec<u64> = (0..self.kernels()).map(|k| self.kernel_terms(k) as u64).collect();
        let mut work =
            Work { inputs: self.inputs() as u64, outputs: self.replies() as u64, ..Work::default() };
        let mut down_bytes = 0;
        for index in 0..self.replies() {
            let outputs = self.reply_len(index);
            down_bytes += bytes(outputs, b0) + bytes(n, b1);
            for (_, kernel) in self.products(index) {
                let terms = terms.get(kernel).copied().unwrap_or(0);
                work.products += 1;
                work.terms += terms;
                work.sparse_macs += terms * (n + outputs) as u64;
            }
        }
        Counts {
            inputs: self.inputs(),
            replies: self.replies(),
            up_bytes: 32 + self.inputs() as u64 * bytes(n, widths.up_bits),
            down_bytes,
            kernels: self.kernels(),
            work,
        }
    }
}

/// The least size for every number of pieces that `total` can be cut into, largest first.
fn pieces(total: usize) -> impl Iterator<Item = usize> {
    let mut next = Some(total);
    std::iter::from_fn(move || {
        let size = next?;
        let count = total.div_ceil(size);
        // The largest size with more pieces, then the least with as many.
        next = (size > 1).then(|| (total - 1) / count).map(|s| total.div_ceil(total.div_ceil(s)));
        Some(size)
    })
}
