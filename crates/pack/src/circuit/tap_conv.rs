//! Convolution by taps: the client sends, for every kernel position, the input values that position sees.

use crate::circuit::stack;
use crate::slots::{CircuitError, Plain, Plains, Scale, Slots};
use oblivia_nn::{Conv, Shape, Tensor};

/// How a client lays out an image for [`TapConv`]: vector `t = (c·kh + ky)·kw + kx` holds, at slot
/// `i·ow + j`, the value `x[c, i·sh + ky − top, j·sw + kx − left]`, zero outside the image.
///
/// LoLa's "convolution representation" (Brutzkus et al. 2019, §4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TapInput {
    channels: usize,
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: [usize; 4],
    out: [usize; 2],
}

impl TapInput {
    /// The layout of the input of `conv` with the given input and output shapes.
    pub fn new(conv: &Conv, input: &Shape, output: &Shape) -> Option<Self> {
        let (channels, h, w) = input.chw()?;
        let (_, oh, ow) = output.chw()?;
        (conv.groups == 1).then_some(Self {
            channels,
            size: [h, w],
            kernel: conv.kernel,
            stride: conv.stride,
            pads: conv.pads,
            out: [oh, ow],
        })
    }

    /// Number of vectors.
    pub fn taps(&self) -> usize {
        self.channels * self.kernel[0] * self.kernel[1]
    }

    /// Slots used in each vector.
    pub fn positions(&self) -> usize {
        self.out[0] * self.out[1]
    }

    /// The vectors of one image, `positions` values each.
    pub fn vectors(&self, x: &Tensor) -> Vec<Vec<f64>> {
        let [h, w] = self.size;
        let [kh, kw] = self.kernel;
        (0..self.taps())
            .map(|t| {
                let (c, ky, kx) = (t / (kh * kw), t / kw % kh, t % kw);
                let value = |p: usize| {
                    let y = (p / self.out[1] * self.stride[0] + ky).checked_sub(self.pads[0]);
                    let x_ = (p % self.out[1] * self.stride[1] + kx).checked_sub(self.pads[1]);
                    match (y, x_) {
                        (Some(y), Some(x_)) if y < h && x_ < w => {
                            x.data().get((c * h + y) * w + x_).map_or(0.0, |&v| f64::from(v))
                        }
                        _ => 0.0,
                    }
                };
                (0..self.positions()).map(value).collect()
            })
            .collect()
    }
}

/// `maps` linear combinations of tap vectors, stacked: map `m` at slots `m·positions ..`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TapConv {
    taps: usize,
    maps: usize,
    positions: usize,
}

impl TapConv {
    /// A convolution with `maps` outputs over `input`.
    pub fn new(input: &TapInput, maps: usize) -> Self {
        Self { taps: input.taps(), maps, positions: input.positions() }
    }

    /// Its outputs per position.
    pub fn maps(&self) -> usize {
        self.maps
    }

    /// Slots in use afterwards, from slot 0 on.
    pub fn outputs(&self) -> usize {
        self.maps * self.positions
    }

    /// The plaintexts in order of use: the weights of all maps, then their biases. `weight(m, t)` is the weight of
    /// tap `t` in map `m`.
    pub fn plains(&self, weight: impl Fn(usize, usize) -> f64, bias: impl Fn(usize) -> f64) -> Vec<Plain> {
        let weight = &weight;
        let weights = (0..self.maps).flat_map(|m| (0..self.taps).map(move |t| Plain::Scalar(weight(m, t))));
        weights.chain((0..self.maps).map(|m| Plain::Slots(vec![bias(m); self.positions]))).collect()
    }

    /// Runs it; the result has the scale of a product.
    pub fn run<S: Slots>(
        &self,
        s: &mut S,
        xs: &[S::Ct],
        plains: &mut Plains<'_, S::Pt>,
        target: Scale,
    ) -> Result<S::Ct, S::Error> {
        let maps = self.run_maps(s, xs, plains, target)?;
        let slots = s.slots();
        stack(s, maps, self.positions, slots)
    }

    /// The maps, one vector each, zero from slot `positions` on; they have the scale of a product.
    pub fn run_maps<S: Slots>(
        &self,
        s: &mut S,
        xs: &[S::Ct],
        plains: &mut Plains<'_, S::Pt>,
        target: Scale,
    ) -> Result<Vec<S::Ct>, S::Error> {
        if xs.len() != self.taps {
            let (expected, found) = (self.taps, xs.len());
            return Err(CircuitError::Count { what: "input vectors", expected, found }.into());
        }
        let xs: Vec<&S::Ct> = xs.iter().collect();
        let rows = (0..self.maps).map(|_| plains.take_many(self.taps)).collect::<Result<Vec<_>, _>>()?;
        let mut maps = s.dot_scalars(&xs, &rows, target)?;
        for y in &mut maps {
            s.add_plain_assign(y, plains.take()?)?;
        }
        Ok(maps)
    }
}
