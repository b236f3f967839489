//! LoLa (Brutzkus, Elisha, Gilad-Bachrach, *Low latency privacy preserving inference*, 2019): one image at a time,
//! with a representation of the data per layer.
//!
//! | representation | slots of a vector of values x |
//! |---|---|
//! | dense | `x_k` at slot `k`, zero behind |
//! | stacked | copies of a dense vector, one every `block` slots |
//! | sparse | several vectors; `x_i` in vector `i / copies` at slot `(i mod copies)·block`, anything elsewhere |
//! | interleaved | one vector; `x_i` at slot `(i mod copies)·block + i / copies`, zero elsewhere |
//!
//! | circuit | takes | gives | rotations |
//! |---|---|---|---|
//! | [`duplicate`] | dense | stacked | copies − 1, of one vector |
//! | [`StackedDense`] | stacked | sparse | log2 block per vector |
//! | [`Interleave`] | sparse | interleaved | one per vector but the first |
//! | [`RowDense`] | values at known slots, zero elsewhere | a vector per row, the row in every slot | log2 period per row |
//! | [`GatherRows`] | a vector per row, the row in every slot | dense | none |
//!
//! A *period* is the number of slots the representations use. It may be smaller than the number of slots of the
//! machine: every vector, plaintexts included, then repeats with that period, and rotations act cyclically on it.

use crate::circuit::{Affine, TapConv, TapInput, fold, stack};
use crate::slots::{CircuitError, Plain, Plains, Scale, Slots};

/// Fills the period with copies of its first `block` slots; the others must be zero. One rotation per further copy,
/// all of the same vector, which share what can be shared.
pub fn duplicate<S: Slots>(s: &mut S, x: &S::Ct, block: usize, period: usize) -> Result<S::Ct, S::Error> {
    let lefts: Vec<usize> = (1..period / block.max(1)).map(|i| period - i * block).collect();
    let mut y = x.clone();
    for moved in s.rotate_hoisted(x, &lefts)? {
        s.add_assign(&mut y, &moved)?;
    }
    Ok(y)
}

/// A dense layer on a stacked input, row by row: one plaintext product and one fold serve as many rows as there are
/// copies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StackedDense {
    inputs: usize,
    outputs: usize,
    block: usize,
    period: usize,
}

impl StackedDense {
    /// A layer of `inputs` × `outputs` on vectors of `period` slots (a power of two).
    ///
    /// # Errors
    /// [`CircuitError::DoesNotFit`] if one copy of the input does not fit the period.
    pub fn new(inputs: usize, outputs: usize, period: usize) -> Result<Self, CircuitError> {
        let block = inputs.next_power_of_two();
        if block > period {
            let what = "a dense layer on a stacked input";
            return Err(CircuitError::DoesNotFit { what, needed: block, slots: period });
        }
        Ok(Self { inputs, outputs, block, period })
    }

    /// Slots of one copy of the input.
    pub fn block(&self) -> usize {
        self.block
    }

    /// Copies of the input, and rows per product.
    pub fn copies(&self) -> usize {
        self.period / self.block
    }

    /// Vectors of the result.
    pub fn vectors(&self) -> usize {
        self.outputs.div_ceil(self.copies())
    }

    /// The plaintexts in order of use: of every vector the weights, then of every vector the bias.
    pub fn plains(&self, layer: Affine<'_>) -> Vec<Plain> {
        let rows = |v: usize| (v * self.copies()..self.outputs).take(self.copies());
        let weights = (0..self.vectors()).map(|v| {
            let mut w = vec![0.0; self.period];
            for (row, copy) in rows(v).zip(w.chunks_mut(self.block)) {
                copy.iter_mut().take(self.inputs).enumerate().for_each(|(j, w)| *w = (layer.weight)(row, j));
            }
            w
        });
        let biases = (0..self.vectors()).map(|v| {
            let mut b = vec![0.0; self.period];
            b.iter_mut().step_by(self.block).zip(rows(v)).for_each(|(b, row)| *b = (layer.bias)(row));
            b
        });
        weights.chain(biases).map(Plain::Slots).collect()
    }

    /// Runs it; the results, sparse, have the scale of a product. Slots that are no multiple of `block` hold sums of
    /// no meaning, of the size of the outputs.
    pub fn run<S: Slots>(
        &self,
        s: &mut S,
        x: &S::Ct,
        plains: &mut Plains<'_, S::Pt>,
        target: Scale,
    ) -> Result<Vec<S::Ct>, S::Error> {
        let mut out = Vec::with_capacity(self.vectors());
        for _ in 0..self.vectors() {
            let y = s.dot_plain(&[x], &[plains.take()?], target)?;
            out.push(fold(s, y, 1, self.block)?);
        }
        for y in &mut out {
            s.add_plain_assign(y, plains.take()?)?;
        }
        Ok(out)
    }
}

/// From sparse to interleaved: a mask per vector, then vector `r` moved right by `r`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interleave {
    vectors: usize,
    block: usize,
    period: usize,
}

impl Interleave {
    /// Of the results of `before`.
    ///
    /// # Errors
    /// [`CircuitError::DoesNotFit`] if there are more vectors than slots in a block.
    pub fn new(before: &StackedDense) -> Result<Self, CircuitError> {
        let (vectors, block, period) = (before.vectors(), before.block, before.period);
        if vectors > block {
            let what = "interleaved vectors";
            return Err(CircuitError::DoesNotFit { what, needed: vectors * before.copies(), slots: period });
        }
        Ok(Self { vectors, block, period })
    }

    /// Slot of value `i`.
    pub fn position(&self, i: usize) -> usize {
        let copies = self.period / self.block;
        i % copies * self.block + i / copies
    }

    /// The plaintexts in order of use: the same mask for every vector.
    pub fn plains(&self) -> Vec<Plain> {
        let mask = (0..self.period).map(|k| if k % self.block == 0 { 1.0 } else { 0.0 }).collect();
        vec![Plain::Slots(mask); self.vectors]
    }

    /// Runs it; the result has the scale of a product.
    pub fn run<S: Slots>(
        &self,
        s: &mut S,
        xs: &[S::Ct],
        plains: &mut Plains<'_, S::Pt>,
        target: Scale,
    ) -> Result<S::Ct, S::Error> {
        let masked =
            xs.iter().map(|x| s.dot_plain(&[x], &[plains.take()?], target)).collect::<Result<_, _>>()?;
        stack(s, masked, 1, self.period)
    }
}

/// A dense layer on values at known slots, row by row: a plaintext product and a fold of the whole period per row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowDense {
    positions: Vec<usize>,
    outputs: usize,
    period: usize,
}

impl RowDense {
    /// A layer with `outputs` rows; input `j` is at slot `positions[j]`.
    ///
    /// # Errors
    /// [`CircuitError::DoesNotFit`] for a slot outside the period.
    pub fn new(positions: Vec<usize>, outputs: usize, period: usize) -> Result<Self, CircuitError> {
        match positions.iter().max() {
            Some(&last) if last >= period => Err(CircuitError::DoesNotFit {
                what: "a dense layer by rows",
                needed: last + 1,
                slots: period,
            }),
            _ => Ok(Self { positions, outputs, period }),
        }
    }

    /// The plaintexts in order of use: of every row the weights, then of every row the bias.
    pub fn plains(&self, layer: Affine<'_>) -> Vec<Plain> {
        let weights = (0..self.outputs).map(|i| {
            let mut w = vec![0.0; self.period];
            for (j, &slot) in self.positions.iter().enumerate() {
                if let Some(w) = w.get_mut(slot) {
                    *w = (layer.weight)(i, j);
                }
            }
            w
        });
        let biases = (0..self.outputs).map(|i| vec![(layer.bias)(i); self.period]);
        weights.chain(biases).map(Plain::Slots).collect()
    }

    /// Runs it; vector `i` holds output `i` in every slot and has the scale of a product.
    pub fn run<S: Slots>(
        &self,
        s: &mut S,
        x: &S::Ct,
        plains: &mut Plains<'_, S::Pt>,
        target: Scale,
    ) -> Result<Vec<S::Ct>, S::Error> {
        let mut out = Vec::with_capacity(self.outputs);
        for _ in 0..self.outputs {
            let y = s.dot_plain(&[x], &[plains.take()?], target)?;
            out.push(fold(s, y, 1, self.period)?);
        }
        for y in &mut out {
            s.add_plain_assign(y, plains.take()?)?;
        }
        Ok(out)
    }
}

/// One dense vector from rows that fill their vectors: slot `i` of vector `i`, by masks and no rotation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GatherRows {
    rows: usize,
    period: usize,
}

impl GatherRows {
    /// Of `rows` vectors.
    ///
    /// # Errors
    /// [`CircuitError::DoesNotFit`] for more than `period` of them.
    pub fn new(rows: usize, period: usize) -> Result<Self, CircuitError> {
        if rows > period {
            return Err(CircuitError::DoesNotFit { what: "gathered rows", needed: rows, slots: period });
        }
        Ok(Self { rows, period })
    }

    /// The plaintexts in order of use.
    pub fn plains(&self) -> Vec<Plain> {
        let unit = |i: usize| (0..self.period).map(|k| if k == i { 1.0 } else { 0.0 }).collect();
        (0..self.rows).map(|i| Plain::Slots(unit(i))).collect()
    }

    /// Runs it; the result has the scale of a product.
    pub fn run<S: Slots>(
        &self,
        s: &mut S,
        xs: &[S::Ct],
        plains: &mut Plains<'_, S::Pt>,
        target: Scale,
    ) -> Result<S::Ct, S::Error> {
        let xs: Vec<&S::Ct> = xs.iter().collect();
        s.dot_plain(&xs, &plains.take_many(self.rows)?, target)
    }
}

/// Scales of the wires behind each linear layer of [`Lola`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LolaScales {
    /// Of the convolution's output.
    pub conv: Scale,
    /// Of the first dense layer's output.
    pub dense1: Scale,
    /// Of the same, interleaved.
    pub interleaved: Scale,
    /// Of the second dense layer's output.
    pub dense2: Scale,
    /// Of the reply, where it is gathered.
    pub reply: Scale,
}

/// In which form [`Lola`] returns its outputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LolaReply {
    /// As published: a vector per output.
    Rows,
    /// All outputs in one vector, for one more level and a plaintext product per output.
    Gathered,
}

/// A layer of [`Lola`], as its operations are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LolaLayer {
    /// Convolution by taps.
    Conv,
    /// Maps into one vector.
    Stack,
    /// The first squares.
    Square1,
    /// Copies for the first dense layer.
    Duplicate,
    /// First dense layer.
    Dense1,
    /// Masks and interleaving.
    Interleave,
    /// The second squares.
    Square2,
    /// Second dense layer.
    Dense2,
    /// Outputs into one vector.
    Gather,
}

/// LoLa's plan for a network of a convolution, squares, a dense layer, squares and a dense layer.
///
/// On the CryptoNets network with 8192 slots: 283 rotations and 877 operations. The six multiplicative levels want
/// dimension 16384, whose conjugate-invariant ring has 16384 slots. Either the period stays 8192 and with it those
/// counts, or it becomes 16384: 16 copies, 235 rotations and 763 operations.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lola {
    layout: TapInput,
    conv: TapConv,
    dense1: StackedDense,
    interleave: Interleave,
    dense2: RowDense,
    gather: Option<GatherRows>,
    outputs: usize,
    period: usize,
    slots: usize,
}

impl Lola {
    /// Primes it takes with [`LolaReply::Rows`]: one per linear layer, mask and square, and one that stays.
    pub const LEVELS: usize = 7;

    /// The plan for a convolution with input `layout` and `maps` outputs, `hidden` values behind the first dense
    /// layer and `outputs` behind the second, on a period of `period` of `slots` slots, both powers of two.
    ///
    /// # Errors
    /// [`CircuitError::DoesNotFit`].
    pub fn new(
        layout: TapInput,
        maps: usize,
        [hidden, outputs]: [usize; 2],
        [period, slots]: [usize; 2],
        reply: LolaReply,
    ) -> Result<Self, CircuitError> {
        if period > slots || !slots.is_multiple_of(period.max(1)) {
            return Err(CircuitError::DoesNotFit { what: "the period of the plan", needed: period, slots });
        }
        let conv = TapConv::new(&layout, maps);
        let dense1 = StackedDense::new(conv.outputs(), hidden, period)?;
        let interleave = Interleave::new(&dense1)?;
        let dense2 = RowDense::new((0..hidden).map(|i| interleave.position(i)).collect(), outputs, period)?;
        let gather = match reply {
            LolaReply::Rows => None,
            LolaReply::Gathered => Some(GatherRows::new(outputs, period)?),
        };
        Ok(Self { layout, conv, dense1, interleave, dense2, gather, outputs, period, slots })
    }

    /// Primes it takes.
    pub fn levels(&self) -> usize {
        Self::LEVELS + usize::from(self.gather.is_some())
    }

    /// Input vectors.
    pub fn input_vectors(&self) -> usize {
        self.layout.taps()
    }

    /// Vectors of the reply.
    pub fn output_vectors(&self) -> usize {
        if self.gather.is_some() { 1 } else { self.outputs }
    }

    /// The first dense layer.
    pub fn dense1(&self) -> &StackedDense {
        &self.dense1
    }

    /// Number of plaintexts.
    pub fn plain_count(&self) -> usize {
        let gathered = if self.gather.is_some() { self.outputs } else { 0 };
        let maps = self.conv.maps();
        maps * (self.layout.taps() + 1) + 3 * self.dense1.vectors() + 2 * self.outputs + gathered
    }

    /// Number of rotations.
    pub fn rotations(&self) -> usize {
        let dense = &self.dense1;
        let folds =
            dense.vectors() * dense.block.ilog2() as usize + self.outputs * self.period.ilog2() as usize;
        folds
            + [self.conv.maps(), dense.copies(), dense.vectors()]
                .map(|n| n.saturating_sub(1))
                .iter()
                .sum::<usize>()
    }

    /// Copies of the first dense layer's input.
    pub fn copies(&self) -> usize {
        self.dense1.copies()
    }

    fn repeated(&self, mut v: Vec<f64>) -> Vec<f64> {
        if self.period < self.slots {
            v.resize(self.period, 0.0);
            v = v.repeat(self.slots / self.period);
        }
        v
    }

    /// The input vectors of one image.
    pub fn encode(&self, x: &oblivia_nn::Tensor) -> Vec<Vec<f64>> {
        self.layout.vectors(x).into_iter().map(|v| self.repeated(v)).collect()
    }

    /// The outputs from the slots of the reply.
    pub fn decode(&self, reply: &[Vec<f64>]) -> Vec<f64> {
        match (&self.gather, reply.first()) {
            (Some(_), Some(v)) => v.iter().take(self.outputs).copied().collect(),
            _ => reply.iter().take(self.outputs).filter_map(|v| v.first().copied()).collect(),
        }
    }

    /// The plaintexts in order of use.
    pub fn plains(&self, conv: Affine<'_>, dense1: Affine<'_>, dense2: Affine<'_>) -> Vec<Plain> {
        let mut plains = self.conv.plains(conv.weight, conv.bias);
        plains.extend(self.dense1.plains(dense1));
        plains.extend(self.interleave.plains());
        plains.extend(self.dense2.plains(dense2));
        plains.extend(self.gather.iter().flat_map(GatherRows::plains));
        plains
            .into_iter()
            .map(|p| match p {
                Plain::Slots(v) => Plain::Slots(self.repeated(v)),
                other => other,
            })
            .collect()
    }

    /// Runs the network.
    pub fn run<S: Slots>(
        &self,
        s: &mut S,
        xs: &[S::Ct],
        plains: &[S::Pt],
        scales: &LolaScales,
    ) -> Result<Vec<S::Ct>, S::Error> {
        self.run_observed(s, xs, plains, scales, |_, _| ())
    }

    /// As [`Lola::run`]; `after` sees the machine behind every layer, rescaling included.
    pub fn run_observed<S: Slots>(
        &self,
        s: &mut S,
        xs: &[S::Ct],
        plains: &[S::Pt],
        scales: &LolaScales,
        mut after: impl FnMut(LolaLayer, &S),
    ) -> Result<Vec<S::Ct>, S::Error> {
        let mut p = Plains::new(plains);
        let maps = self.conv.run_maps(s, xs, &mut p, scales.conv)?;
        after(LolaLayer::Conv, s);
        let x = stack(s, maps, self.layout.positions(), self.period)?;
        let x = s.rescale(&x)?;
        after(LolaLayer::Stack, s);
        let x = s.square_rescale(&x)?;
        after(LolaLayer::Square1, s);
        let x = duplicate(s, &x, self.dense1.block, self.period)?;
        after(LolaLayer::Duplicate, s);
        let xs = self.dense1.run(s, &x, &mut p, scales.dense1)?;
        let xs = xs.iter().map(|x| s.rescale(x)).collect::<Result<Vec<_>, _>>()?;
        after(LolaLayer::Dense1, s);
        let x = self.interleave.run(s, &xs, &mut p, scales.interleaved)?;
        let x = s.rescale(&x)?;
        after(LolaLayer::Interleave, s);
        let x = s.square_rescale(&x)?;
        after(LolaLayer::Square2, s);
        let ys = self.dense2.run(s, &x, &mut p, scales.dense2)?;
        let mut ys = ys.iter().map(|y| s.rescale(y)).collect::<Result<Vec<_>, _>>()?;
        after(LolaLayer::Dense2, s);
        if let Some(gather) = &self.gather {
            let y = gather.run(s, &ys, &mut p, scales.reply)?;
            ys = vec![s.rescale(&y)?];
            after(LolaLayer::Gather, s);
        }
        p.finish()?;
        Ok(ys)
    }
}
