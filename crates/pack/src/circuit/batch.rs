//! Layers over a batch: one vector per element of a tensor, one slot per sample (the layout of Gilad-Bachrach et al.,
//! *CryptoNets*, 2016).
//!
//! | circuit | levels | |
//! |---|---|---|
//! | [`BatchConv`], [`BatchDense`] | 1, or 2 with [`Then::Square`] | scalar weights, rescaled |
//! | [`BatchSlots::square_rescale_all`] | 1 | the activation x² on its own |
//! | [`BatchSumPool`] | 0 | sums; the next weights take the divisors |
//! | [`BatchSlots::add_assign_all`] | 0 | residual branches |
//!
//! Tensors are row-major, `[channels, height, width]`. Every layer consumes its input, and frees what it has no
//! further use for while it runs. Padding is skipped, zero weights are not: where they are is the model's secret.

use crate::batch::{BatchSlots, Place, Then};
use crate::circuit::Affine;
use crate::slots::{CircuitError, Plain, Plains, Scale};
use oblivia_nn::{Conv, Pool, Shape};
use std::ops::Range;

/// Results that a layer works on at a time, in vectors.
const CHUNK: usize = 128;

/// The vectors of some elements of a batch: slot `i` of each holds that element of sample `i`; samples that are
/// shorter count as zero there.
pub fn vectors(samples: &[&[f32]], elements: Range<usize>) -> Vec<Vec<f64>> {
    let value = |sample: &&[f32], e: usize| sample.get(e).map_or(0.0, |&v| f64::from(v));
    elements.map(|e| samples.iter().map(|sample| value(sample, e)).collect()).collect()
}

/// Windows over an image.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Windows {
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: [usize; 4],
    out: [usize; 2],
}

impl Windows {
    /// `None` if a window sees nothing but padding.
    fn new(
        kernel: [usize; 2],
        stride: [usize; 2],
        pads: [usize; 4],
        size: [usize; 2],
        out: [usize; 2],
    ) -> Option<Self> {
        let windows = Self { size, kernel, stride, pads, out };
        // The first window reaches least far to the bottom right, the last one starts furthest there.
        let corners = [[0, 0], [out[0].checked_sub(1)?, out[1].checked_sub(1)?]];
        corners.iter().all(|&[i, j]| windows.taps(i, j).next().is_some()).then_some(windows)
    }

    /// Input rows that output row `i` sees.
    fn rows(&self, i: usize) -> Range<usize> {
        let start = (i * self.stride[0]).saturating_sub(self.pads[0]);
        let end = (i * self.stride[0] + self.kernel[0]).saturating_sub(self.pads[0]);
        start.min(self.size[0])..end.min(self.size[0])
    }

    /// Kernel position and input position, inside the image, that output (i, j) sees.
    fn taps(&self, i: usize, j: usize) -> impl Iterator<Item = (usize, [usize; 2])> {
        let [kh, kw] = self.kernel;
        (0..kh * kw).filter_map(move |t| {
            let y = (i * self.stride[0] + t / kw).checked_sub(self.pads[0]).filter(|&y| y < self.size[0])?;
            let x = (j * self.stride[1] + t % kw).checked_sub(self.pads[1]).filter(|&x| x < self.size[1])?;
            Some((t, [y, x]))
        })
    }
}

/// A convolution, in groups or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchConv {
    windows: Windows,
    channels: usize,
    maps: usize,
    groups: usize,
}

impl BatchConv {
    /// `conv` between tensors of these shapes; `None` if they are not those of images or do not divide into groups, or
    /// a window sees nothing but padding.
    pub fn new(conv: &Conv, input: &Shape, output: &Shape) -> Option<Self> {
        let ((channels, h, w), (maps, oh, ow)) = (input.chw()?, output.chw()?);
        let windows = Windows::new(conv.kernel, conv.stride, conv.pads, [h, w], [oh, ow])?;
        let groups = conv.groups;
        let divides = groups > 0 && channels.is_multiple_of(groups) && maps.is_multiple_of(groups);
        (divides && maps == conv.out_channels).then_some(Self { windows, channels, maps, groups })
    }

    /// Input vectors.
    pub fn inputs(&self) -> usize {
        self.channels * self.windows.size[0] * self.windows.size[1]
    }

    /// Output vectors.
    pub fn outputs(&self) -> usize {
        self.maps * self.windows.out[0] * self.windows.out[1]
    }

    /// Maps of a group.
    fn own_maps(&self) -> usize {
        self.maps / self.groups
    }

    /// Channels of a group.
    fn own_channels(&self) -> usize {
        self.channels / self.groups
    }

    /// Weights of a map.
    fn columns(&self) -> usize {
        self.own_channels() * self.windows.kernel[0] * self.windows.kernel[1]
    }

    /// Number of plaintexts.
    pub fn plain_count(&self) -> usize {
        self.maps * (self.columns() + 1)
    }

    /// The plaintexts in order of use: of every group the weights of its maps, then their biases.
    /// `weight(m, (c·kh + y)·kw + x)` is of map `m` and channel `c` of its group.
    pub fn plains(&self, layer: Affine<'_>) -> Vec<Plain> {
        let mut plains = Vec::with_capacity(self.plain_count());
        for g in 0..self.groups {
            let maps = g * self.own_maps()..(g + 1) * self.own_maps();
            for m in maps.clone() {
                plains.extend((0..self.columns()).map(|t| Plain::Scalar((layer.weight)(m, t))));
            }
            plains.extend(maps.map(|m| Plain::Scalar((layer.bias)(m))));
        }
        plains
    }

    /// Where the weights of group `g` act for the outputs at (i, j): inputs counted from row `first` on, of `rows`
    /// rows per channel.
    fn place(&self, g: usize, [i, j]: [usize; 2], first: usize, rows: usize) -> Place {
        let [kh, kw] = self.windows.kernel;
        let width = self.windows.size[1];
        let mut place = Place::default();
        for c in 0..self.own_channels() {
            for (t, [y, x]) in self.windows.taps(i, j) {
                place.columns.push(c * kh * kw + t);
                place.inputs.push(((g * self.own_channels() + c) * rows + y - first) * width + x);
            }
        }
        place
    }

    /// Output rows that are worked on at a time.
    fn step(&self) -> usize {
        (CHUNK / (self.maps * self.windows.out[1]).max(1)).max(1)
    }

    /// The most that vectors take while it runs, in the unit of the three sizes: of an input, of a sum of products, of an
    /// output.
    pub fn peak(&self, [input, sum, output]: [u64; 3]) -> u64 {
        let ([height, width], [oh, ow]) = (self.windows.size, self.windows.out);
        let (mut first, mut most) = (0, 0);
        for top in (0..oh).step_by(self.step()) {
            let bottom = (top + self.step()).min(oh);
            let inputs = (self.channels * width * (height - first)) as u64;
            // Sums of one group of channels at a time.
            let sums = ((bottom - top) * ow * self.own_maps()) as u64;
            most = most.max(inputs * input + sums * sum + (self.maps * ow * bottom) as u64 * output);
            if bottom < oh {
                first = self.windows.rows(bottom).start;
            }
        }
        most
    }

    /// Runs it; the outputs have the scale `target`, or what squaring makes of it.
    pub fn run<S: BatchSlots>(
        &self,
        s: &mut S,
        xs: Vec<S::Ct>,
        plains: &mut Plains<'_, S::Pt>,
        target: Scale,
        then: Then,
    ) -> Result<Vec<S::Ct>, S::Error> {
        let like = checked("input vectors", &xs, self.inputs())?;
        let mut maps = Vec::with_capacity(self.groups);
        for _ in 0..self.groups {
            let rows = (0..self.own_maps())
                .map(|_| plains.take_many(self.columns()))
                .collect::<Result<Vec<_>, _>>()?;
            maps.push(s.map(&rows, &plains.take_many(self.own_maps())?, like, target)?);
        }
        let [height, width] = self.windows.size;
        let [oh, ow] = self.windows.out;
        let mut xs: Vec<Option<S::Ct>> = xs.into_iter().map(Some).collect();
        let mut ys: Vec<Option<S::Ct>> = (0..self.outputs()).map(|_| None).collect();
        let step = self.step();
        for top in (0..oh).step_by(step) {
            let bottom = (top + step).min(oh);
            let first = self.windows.rows(top).start;
            let rows = self.windows.rows(bottom - 1).end - first;
            let seen: Vec<&S::Ct> = (0..self.channels)
                .flat_map(|c| (0..rows * width).map(move |k| (c * height + first) * width + k))
                .filter_map(|k| xs.get(k).and_then(Option::as_ref))
                .collect();
            let spots: Vec<[usize; 2]> = (top..bottom).flat_map(|i| (0..ow).map(move |j| [i, j])).collect();
            for (g, map) in maps.iter().enumerate() {
                let places: Vec<Place> = spots.iter().map(|&at| self.place(g, at, first, rows)).collect();
                let results = s.apply(&seen, map, &places, then)?;
                for (k, y) in results.into_iter().enumerate() {
                    let ([i, j], m) = (spots[k / self.own_maps()], g * self.own_maps() + k % self.own_maps());
                    ys[(m * oh + i) * ow + j] = Some(y);
                }
            }
            let done = if bottom < oh { self.windows.rows(bottom).start } else { height };
            for c in 0..self.channels {
                xs[(c * height + first) * width..(c * height + done) * width]
                    .iter_mut()
                    .for_each(|x| *x = None);
            }
        }
        complete(ys)
    }
}

/// A dense layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchDense {
    inputs: usize,
    outputs: usize,
}

impl BatchDense {
    /// A layer of `inputs` × `outputs`.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs }
    }

    /// Input vectors.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Output vectors.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Number of plaintexts.
    pub fn plain_count(&self) -> usize {
        self.outputs * (self.inputs + 1)
    }

    fn chunks(&self) -> impl Iterator<Item = Range<usize>> {
        let outputs = self.outputs;
        (0..outputs).step_by(CHUNK).map(move |start| start..(start + CHUNK).min(outputs))
    }

    /// The plaintexts in order of use: of some rows the weights, then their biases, and so on.
    pub fn plains(&self, layer: Affine<'_>) -> Vec<Plain> {
        let mut plains = Vec::with_capacity(self.plain_count());
        for rows in self.chunks() {
            for i in rows.clone() {
                plains.extend((0..self.inputs).map(|j| Plain::Scalar((layer.weight)(i, j))));
            }
            plains.extend(rows.map(|i| Plain::Scalar((layer.bias)(i))));
        }
        plains
    }

    /// As [`BatchConv::peak`].
    pub fn peak(&self, [input, sum, output]: [u64; 3]) -> u64 {
        let sums = self.outputs.min(CHUNK) as u64;
        self.inputs as u64 * input + sums * sum + self.outputs as u64 * output
    }

    /// Runs it; the outputs have the scale `target`, or what squaring makes of it.
    pub fn run<S: BatchSlots>(
        &self,
        s: &mut S,
        xs: Vec<S::Ct>,
        plains: &mut Plains<'_, S::Pt>,
        target: Scale,
        then: Then,
    ) -> Result<Vec<S::Ct>, S::Error> {
        let like = checked("input vectors", &xs, self.inputs)?;
        let seen: Vec<&S::Ct> = xs.iter().collect();
        let all: Vec<usize> = (0..self.inputs).collect();
        let place = [Place { columns: all.clone(), inputs: all }];
        let mut ys = Vec::with_capacity(self.outputs);
        for rows in self.chunks() {
            let count = rows.len();
            let rows = rows.map(|_| plains.take_many(self.inputs)).collect::<Result<Vec<_>, _>>()?;
            let map = s.map(&rows, &plains.take_many(count)?, like, target)?;
            ys.extend(s.apply(&seen, &map, &place, then)?);
        }
        Ok(ys)
    }
}

/// Sums over windows: average pooling whose division is left to the next weights.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchSumPool {
    windows: Windows,
    channels: usize,
    count_include_pad: bool,
}

impl BatchSumPool {
    /// `pool` between tensors of these shapes; `None` if they are not those of images or a window sees nothing but
    /// padding.
    pub fn new(pool: &Pool, input: &Shape, output: &Shape) -> Option<Self> {
        let ((channels, h, w), (_, oh, ow)) = (input.chw()?, output.chw()?);
        let windows = Windows::new(pool.kernel, pool.stride, pool.pads, [h, w], [oh, ow])?;
        Some(Self { windows, channels, count_include_pad: pool.count_include_pad })
    }

    /// The sum of all positions of each channel.
    pub fn global(input: &Shape) -> Option<Self> {
        let (channels, h, w) = input.chw()?;
        let windows = Windows::new([h, w], [1, 1], [0; 4], [h, w], [1, 1])?;
        Some(Self { windows, channels, count_include_pad: true })
    }

    /// Input vectors.
    pub fn inputs(&self) -> usize {
        self.channels * self.windows.size[0] * self.windows.size[1]
    }

    /// Output vectors.
    pub fn outputs(&self) -> usize {
        self.channels * self.windows.out[0] * self.windows.out[1]
    }

    /// What output `k` must be divided by to be the average.
    pub fn divisor(&self, k: usize) -> usize {
        let [oh, ow] = self.windows.out;
        if self.count_include_pad {
            self.windows.kernel[0] * self.windows.kernel[1]
        } else {
            self.windows.taps(k / ow % oh, k % ow).count()
        }
    }

    /// Runs it; level and scale stay.
    pub fn run<S: BatchSlots>(&self, s: &mut S, xs: Vec<S::Ct>) -> Result<Vec<S::Ct>, S::Error> {
        checked("input vectors", &xs, self.inputs())?;
        let [h, w] = self.windows.size;
        let [oh, ow] = self.windows.out;
        let groups: Vec<Vec<usize>> = (0..self.outputs())
            .map(|k| {
                let c = k / (oh * ow);
                self.windows.taps(k / ow % oh, k % ow).map(|(_, [y, x])| (c * h + y) * w + x).collect()
            })
            .collect();
        s.sum_at(&xs, &groups)
    }
}

fn checked<'a, T>(what: &'static str, xs: &'a [T], expected: usize) -> Result<&'a T, CircuitError> {
    match xs.first() {
        Some(x) if xs.len() == expected => Ok(x),
        _ => Err(CircuitError::Count { what, expected, found: xs.len() }),
    }
}

fn complete<T, E: From<CircuitError>>(ys: Vec<Option<T>>) -> Result<Vec<T>, E> {
    let expected = ys.len();
    let ys: Vec<T> = ys.into_iter().flatten().collect();
    match checked("output vectors", &ys, expected) {
        Ok(_) => Ok(ys),
        Err(e) => Err(e.into()),
    }
}
