//! Plan `lola`: row by row with a representation per layer, as published (see [`oblivia_pack::circuit::lola`]).

use super::choices::LolaChoice;
use super::network::{Kind, Layer, LinearLayer, Network};
use super::program::power;
use oblivia_nn::{Shape, Tensor, WeightId, Weights};
use oblivia_pack::circuit::lola::{Lola, LolaReply, LolaScales};
use oblivia_pack::circuit::{Affine, TapInput};
use oblivia_pack::{Plain, Scale, Slots};
use oblivia_protocol::Error;

/// The circuits of a network of LoLa's shape.
#[derive(Clone, Debug)]
pub(super) struct LolaProgram {
    network: Network,
    lola: Lola,
    scales: LolaScales,
    input_scale: Scale,
    period: usize,
}

/// Which layers square, input first: what every prime of the chain is dropped behind, last one dropped first.
pub(super) const SQUARES: [bool; Lola::LEVELS - 1] = [false, true, false, false, true, false];

/// The three linear layers, or why the plan is not for this network.
pub(super) fn layers(network: &Network) -> Result<[(&Layer, &LinearLayer); 3], String> {
    let shape = || {
        "it is for convolution – square – dense – square – dense, the convolution in one group and nothing averaged"
            .to_owned()
    };
    let [a, s, b, t, c] = &network.layers[..] else { return Err(shape()) };
    if network.layers.iter().enumerate().any(|(k, l)| l.from != k) {
        return Err(shape());
    }
    match (&a.kind, &s.kind, &b.kind, &t.kind, &c.kind) {
        (Kind::Linear(x), Kind::Square, Kind::Linear(y), Kind::Square, Kind::Linear(z))
            if x.conv.as_ref().is_some_and(|c| c.groups == 1) && is_dense(y) && is_dense(z) =>
        {
            Ok([(a, x), (b, y), (c, z)])
        }
        _ => Err(shape()),
    }
}

fn is_dense(l: &LinearLayer) -> bool {
    l.conv.is_none() && l.weight.is_some() && l.window.cells() == 1
}

impl LolaProgram {
    /// LoLa's plan for `network` on vectors of `slots` slots.
    pub(super) fn new(
        network: Network,
        choice: &LolaChoice,
        input_log_scale: u32,
        slots: usize,
    ) -> Result<Self, Error> {
        let refused = |why: String| Error::Refused { why: format!("no plan `lola`: {why}") };
        let [(conv, linear), (hidden, _), (out, _)] = layers(&network).map_err(refused)?;
        let shape = |s: [usize; 3]| Shape::new(s).ok();
        let input = match (&linear.conv, shape(network.input), shape(conv.shape)) {
            (Some(c), Some(from), Some(to)) => TapInput::new(c, &from, &to),
            _ => None,
        };
        let input = input.ok_or_else(|| refused("its convolution has no input by taps".to_owned()))?;
        let count = |l: &Layer| l.shape.iter().product::<usize>();
        let period = 1usize << choice.log_period.min(31);
        let sizes = [count(hidden), count(out)];
        let lola = Lola::new(input, conv.shape[0], sizes, [period, slots], LolaReply::Rows)
            .map_err(|e| refused(e.to_string()))?;
        let [conv, dense1, interleaved, dense2] = choice.log_scales.map(power);
        let scales = LolaScales { conv, dense1, interleaved, dense2, reply: dense2 };
        Ok(Self { lola, scales, input_scale: power(input_log_scale), network, period })
    }

    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    pub(super) fn lola(&self) -> &Lola {
        &self.lola
    }

    pub(super) fn scales(&self) -> &LolaScales {
        &self.scales
    }

    pub(super) fn input_scale(&self) -> Scale {
        self.input_scale
    }

    pub(super) fn period(&self) -> usize {
        self.period
    }

    /// The client's input as normalised slot vectors.
    pub(super) fn encode(&self, x: &Tensor) -> Vec<Vec<f64>> {
        let mut vectors = self.lola.encode(x);
        vectors.iter_mut().flatten().for_each(|v| *v /= self.network.input_norm);
        vectors
    }

    /// The outputs from the slots of the reply.
    pub(super) fn decode(&self, reply: &[Vec<f64>]) -> Vec<f64> {
        let norm = self.network.norm(self.network.layers.len());
        self.lola.decode(reply).into_iter().map(|v| v * norm).collect()
    }

    /// Every plaintext in order of use, normalised.
    pub(super) fn plains(&self, weights: &Weights) -> Vec<Plain> {
        let Ok([conv, dense1, dense2]) = layers(&self.network) else { return Vec::new() };
        let columns = [conv, dense1, dense2].map(|(_, l)| l.window.fan_in());
        let [factor0, factor1, factor2] =
            [conv, dense1, dense2].map(|(layer, _)| self.network.norm(layer.from) / layer.norm);
        let at = |id: Option<WeightId>, i: usize| {
            id.and_then(|id| weights.get(id).data().get(i)).map_or(0.0, |&v| f64::from(v))
        };
        let weight = |l: &LinearLayer, columns: usize, factor: f64, i: usize, j: usize| {
            at(l.weight, i * columns + j) * factor
        };
        let bias = |(layer, l): (&Layer, &LinearLayer), i: usize| at(l.bias, i) / layer.norm;
        self.lola.plains(
            Affine { weight: &|i, j| weight(conv.1, columns[0], factor0, i, j), bias: &|i| bias(conv, i) },
            Affine {
                weight: &|i, j| weight(dense1.1, columns[1], factor1, i, j),
                bias: &|i| bias(dense1, i),
            },
            Affine {
                weight: &|i, j| weight(dense2.1, columns[2], factor2, i, j),
                bias: &|i| bias(dense2, i),
            },
        )
    }

    /// Runs the network on its input vectors.
    pub(super) fn run<S: Slots>(
        &self,
        s: &mut S,
        xs: &[S::Ct],
        plains: &[S::Pt],
    ) -> Result<Vec<S::Ct>, S::Error> {
        self.lola.run(s, xs, plains, &self.scales)
    }

    /// The layers in words.
    pub(super) fn describe(&self) -> Vec<String> {
        let Ok([(a, _), (b, _), (c, _)]) = layers(&self.network) else { return Vec::new() };
        let (lola, dense) = (&self.lola, self.lola.dense1());
        let folds = |n: usize| n.ilog2();
        vec![
            format!(
                "{}: {} input vectors, one per kernel tap; {} scalar products; maps stacked",
                a.name,
                lola.input_vectors(),
                lola.input_vectors() * a.shape[0]
            ),
            format!("{}: square", self.network.layers[1].name),
            format!(
                "{}: {} copies every {} slots, {} products of {} rows each, {} fold steps; masked and interleaved",
                b.name,
                lola.copies(),
                dense.block(),
                dense.vectors(),
                lola.copies(),
                dense.vectors() as u32 * folds(dense.block())
            ),
            format!("{}: square", self.network.layers[3].name),
            format!(
                "{}: a product per row, {} fold steps; {} vectors returned",
                c.name,
                lola.output_vectors() as u32 * folds(self.period),
                lola.output_vectors()
            ),
        ]
    }
}
