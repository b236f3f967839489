//! Plan `diagonal`: taps in, replicated hybrid diagonals, one ciphertext out.
//!
//! Values inside the circuit are normalised by the published bounds, so every wire stays within [−1, 1]:
//! with bounds B on input, convolution, first and second dense layer (`B_x, B_u, B_v, B_y`), the weights
//! become `w0·B_x/B_u`, `w1·B_u²/B_v`, `w2·B_v²/B_y`.

use super::network::{DenseLayer, TwoSquares};
use oblivia_nn::{Shape, Tensor, WeightId, Weights};
use oblivia_pack::circuit::{GatheredDense, ReplicatedDense, TapConv, TapInput, replicate};
use oblivia_pack::{CircuitError, Plain, Plains, Scale, Slots};
use oblivia_protocol::Error;

/// Scales of the wires, as powers of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LogScales {
    /// Of the input.
    pub(super) input: u32,
    /// Of the convolution's output.
    pub(super) conv: u32,
    /// Of the first dense layer's output.
    pub(super) dense1: u32,
    /// Of the output.
    pub(super) output: u32,
}

/// The circuit for one network and number of slots.
pub(super) struct Diagonal {
    net: TwoSquares,
    layout: TapInput,
    conv: TapConv,
    dense1: ReplicatedDense,
    dense2: GatheredDense,
    scales: LogScales,
    slots: usize,
}

impl Diagonal {
    /// Levels the circuit takes: three linear layers and two squares, and the last prime stays.
    pub(super) const LEVELS: usize = 6;

    pub(super) fn new(
        net: TwoSquares,
        input: &Shape,
        slots: usize,
        babies: [Option<usize>; 2],
        scales: LogScales,
    ) -> Result<Self, Error> {
        let grouped =
            || Error::Input(format!("`{}` is not a plain convolution over an image", net.conv_name));
        let layout = TapInput::new(&net.conv, input, &net.conv_out).ok_or_else(grouped)?;
        let conv = TapConv::new(&layout, net.conv.out_channels);
        let fit = |e: CircuitError| Error::Refused { why: format!("plan `diagonal`: {e}") };
        let (d1, d2) = (&net.dense1, &net.dense2);
        let dense1 = ReplicatedDense::new(d1.inputs, d1.outputs, slots, babies[0]).map_err(fit)?;
        let dense2 = GatheredDense::new(&dense1, d2.inputs, d2.outputs, slots, babies[1]).map_err(fit)?;
        Ok(Self { layout, conv, dense1, dense2, scales, slots, net })
    }

    /// Diagonals that share a giant step, by dense layer, as chosen.
    pub(super) fn babies(&self) -> [usize; 2] {
        [self.dense1.baby(), self.dense2.baby()]
    }

    pub(super) fn net(&self) -> &TwoSquares {
        &self.net
    }

    /// Input ciphertexts.
    pub(super) fn input_vectors(&self) -> usize {
        self.layout.taps()
    }

    /// Slots of one copy of the first dense layer's input.
    pub(super) fn block(&self) -> usize {
        self.dense1.block()
    }

    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    pub(super) fn input_scale(&self) -> Scale {
        power(self.scales.input)
    }

    pub(super) fn scales(&self) -> LogScales {
        self.scales
    }

    /// The client's input as normalised slot vectors.
    pub(super) fn encode(&self, x: &Tensor) -> Vec<Vec<f64>> {
        let mut vectors = self.layout.vectors(x);
        vectors.iter_mut().flatten().for_each(|v| *v /= self.net.input_bound);
        vectors
    }

    /// The outputs from the slots of the last vector.
    pub(super) fn decode(&self, slots: &[f64]) -> Vec<f64> {
        slots.iter().take(self.net.dense2.outputs).map(|v| v * self.net.dense2.bound).collect()
    }

    /// Number of plaintexts: weights and biases of the maps, diagonals and a bias per dense layer.
    pub(super) fn plain_count(&self) -> usize {
        let n = &self.net;
        let conv = n.conv.out_channels * (self.layout.taps() + 1);
        conv + (self.rows() + 1) + (self.rows() + n.dense2.outputs - 1 + 1)
    }

    /// Every plaintext in order of use, normalised.
    pub(super) fn plains(&self, weights: &Weights) -> Vec<Plain> {
        let n = &self.net;
        let w0 = n.input_bound / n.conv_bound;
        let w1 = n.conv_bound * n.conv_bound / n.dense1.bound;
        let w2 = n.dense1.bound * n.dense1.bound / n.dense2.bound;
        let taps = self.layout.taps();
        let at = |id: WeightId, i: usize| weights.get(id).data().get(i).map_or(0.0, |&v| f64::from(v));
        let bias = |id: Option<WeightId>, i: usize, bound: f64| id.map_or(0.0, |id| at(id, i) / bound);
        let dense = |l: &DenseLayer, i: usize, j: usize, s: f64| at(l.weight, i * l.inputs + j) * s;
        let mut plains = self
            .conv
            .plains(|m, t| at(n.conv.weight, m * taps + t) * w0, |m| bias(n.conv.bias, m, n.conv_bound));
        plains.extend(
            self.dense1.plains(|i, j| dense(&n.dense1, i, j, w1), |i| bias(n.dense1.bias, i, n.dense1.bound)),
        );
        plains.extend(
            self.dense2.plains(|i, j| dense(&n.dense2, i, j, w2), |i| bias(n.dense2.bias, i, n.dense2.bound)),
        );
        plains
    }

    /// Runs the network; output `i` is at slot `i` of the result, all others but the first few of each block
    /// are zero.
    pub(super) fn run<S: Slots>(&self, s: &mut S, xs: &[S::Ct], plains: &[S::Pt]) -> Result<S::Ct, S::Error> {
        let mut p = Plains::new(plains);
        let x = self.conv.run(s, xs, &mut p, power(self.scales.conv))?;
        let x = s.rescale(&x)?;
        let x = s.square(&x)?;
        let x = s.rescale(&x)?;
        let x = replicate(s, &x, self.dense1.block())?;
        let x = self.dense1.run(s, &x, &mut p, power(self.scales.dense1))?;
        let x = s.rescale(&x)?;
        let x = s.square(&x)?;
        let x = s.rescale(&x)?;
        let y = self.dense2.run(s, &x, &mut p, power(self.scales.output))?;
        let y = s.rescale(&y)?;
        p.finish()?;
        Ok(y)
    }

    /// The layers in words.
    pub(super) fn steps(&self) -> Vec<String> {
        let n = &self.net;
        let [b1, b2] = self.babies();
        let copies = self.slots / self.block();
        vec![
            format!(
                "{}: {} input vectors of {} slots, one per kernel tap; {} scalar products; maps stacked",
                n.conv_name,
                self.layout.taps(),
                self.layout.positions(),
                self.layout.taps() * n.conv.out_channels
            ),
            "square".into(),
            format!(
                "{}: {copies} copies of {} slots, {} diagonals in groups of {b1}, fold",
                n.dense1.name,
                self.block(),
                self.dense1.rows()
            ),
            "square".into(),
            format!(
                "{}: {} diagonals in groups of {b2}, fold over copies",
                n.dense2.name,
                self.dense1.rows() + n.dense2.outputs - 1
            ),
        ]
    }

    pub(super) fn rows(&self) -> usize {
        self.dense1.rows()
    }
}

pub(super) fn power(log: u32) -> Scale {
    Scale((1u64 << log.min(62)) as f64)
}
