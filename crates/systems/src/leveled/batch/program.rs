//! A network as circuits over a batch: one vector per element of a tensor, one slot per sample.
//!
//! Values are normalised as in [`super::super::program`]. Averages are sums over windows, whose divisor the weights
//! behind them take.

use super::super::network::{Kind, Layer, LinearLayer, Network};
use super::super::program::{depths, power};
use oblivia_nn::{Conv, Pool, Shape, WeightId, Weights};
use oblivia_pack::circuit::Affine;
use oblivia_pack::circuit::batch::{BatchConv, BatchDense, BatchSumPool};
use oblivia_pack::{BatchSlots, CircuitError, Plain, Plains, Scale, Then};
use oblivia_protocol::Error;

/// Sums of products.
#[derive(Clone, Debug)]
pub(super) enum Sums {
    Conv(BatchConv),
    Dense(BatchDense),
}

impl Sums {
    fn plain_count(&self) -> usize {
        match self {
            Self::Conv(c) => c.plain_count(),
            Self::Dense(d) => d.plain_count(),
        }
    }

    fn plains(&self, layer: Affine<'_>) -> Vec<Plain> {
        match self {
            Self::Conv(c) => c.plains(layer),
            Self::Dense(d) => d.plains(layer),
        }
    }

    pub(super) fn outputs(&self) -> usize {
        match self {
            Self::Conv(c) => c.outputs(),
            Self::Dense(d) => d.outputs(),
        }
    }

    fn peak(&self, sizes: [u64; 3]) -> u64 {
        match self {
            Self::Conv(c) => c.peak(sizes),
            Self::Dense(d) => d.peak(sizes),
        }
    }

    fn run<S: BatchSlots>(
        &self,
        s: &mut S,
        xs: Vec<S::Ct>,
        p: &mut Plains<'_, S::Pt>,
        target: Scale,
        then: Then,
    ) -> Result<Vec<S::Ct>, S::Error> {
        match self {
            Self::Conv(c) => c.run(s, xs, p, target, then),
            Self::Dense(d) => d.run(s, xs, p, target, then),
        }
    }
}

/// What is run for one layer.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Linear {
        /// First of all the sums over the windows of an average.
        pool: Option<Box<BatchSumPool>>,
        sums: Box<Sums>,
        /// Whether the square that follows is run with it.
        then: Then,
    },
    /// A square on its own.
    Square,
    /// A square that the layer before has done.
    Squared,
    /// The sum with another value.
    Add(usize),
    /// The sum with constants.
    Shift,
}

/// The circuits of a network.
#[derive(Clone, Debug)]
pub(super) struct Program {
    network: Network,
    steps: Vec<Step>,
    /// log2 of the scale of every linear layer's result, by layer.
    scales: Vec<u32>,
    input_scale: Scale,
    /// The layer that reads each value last.
    last_use: Vec<usize>,
    /// Multiplicative depth of each value.
    depths: Vec<usize>,
}

/// The most vectors of a value.
const MAX_VECTORS: usize = 1 << 16;
/// The most terms that are looked at one by one while a plan is derived, of all layers.
const MAX_TERMS: usize = 1 << 24;

fn refused(layer: &str, why: impl std::fmt::Display) -> Error {
    Error::Refused { why: format!("`{layer}` over a batch: {why}") }
}

impl Program {
    /// The circuits of `network`; `log_scales` are of its linear layers in order.
    pub(super) fn new(network: Network, input_log_scale: u32, log_scales: &[u32]) -> Result<Self, Error> {
        let found = network.linear().count();
        if log_scales.len() != found {
            let why = format!("{} linear layers are planned, the network has {found}", log_scales.len());
            return Err(Error::InvalidMessage { message: "Offer", why });
        }
        bounded(&network)?;
        let mut scales = vec![0; network.layers.len()];
        let mut chosen = log_scales.iter();
        let mut steps: Vec<Step> = Vec::with_capacity(network.layers.len());
        for (k, layer) in network.layers.iter().enumerate() {
            let step = match &layer.kind {
                Kind::Linear(l) => {
                    scales[k] = chosen.next().copied().unwrap_or(0);
                    linear(l, layer)?
                }
                Kind::Add(other) => Step::Add(*other),
                Kind::Shift(_) => Step::Shift,
                // A square right behind the layer that alone it reads is run with it: fewer vectors at a time.
                Kind::Square => match steps.last_mut() {
                    Some(Step::Linear { then, .. }) if layer.from == k && readers(&network, k) == 1 => {
                        *then = Then::Square;
                        Step::Squared
                    }
                    _ => Step::Square,
                },
            };
            steps.push(step);
        }
        let mut last_use = vec![0; network.layers.len() + 1];
        for (k, layer) in network.layers.iter().enumerate() {
            last_use[layer.from] = k;
            if let Kind::Add(other) = layer.kind {
                last_use[other] = k;
            }
        }
        let (depths, input_scale) = (depths(&network), power(input_log_scale));
        Ok(Self { network, steps, scales, input_scale, last_use, depths })
    }

    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Primes that are used up, and the one that stays.
    pub(super) fn levels(&self) -> usize {
        self.depths.last().copied().unwrap_or(0) + 1
    }

    /// Live primes of a value.
    pub(super) fn level(&self, value: usize) -> usize {
        self.levels().saturating_sub(self.depths.get(value).copied().unwrap_or(0))
    }

    /// Vectors of a value.
    pub(super) fn vectors(&self, value: usize) -> usize {
        let shape = value.checked_sub(1).and_then(|k| self.network.layers.get(k)).map(|l| l.shape);
        shape.unwrap_or(self.network.input).iter().product()
    }

    /// Input ciphertexts of a group.
    pub(super) fn input_vectors(&self) -> usize {
        self.vectors(0)
    }

    /// Output ciphertexts of a group.
    pub(super) fn output_vectors(&self) -> usize {
        self.vectors(self.network.layers.len())
    }

    pub(super) fn input_scale(&self) -> Scale {
        self.input_scale
    }

    /// Planned scale of the result of linear layer `k`.
    pub(super) fn scale(&self, k: usize) -> Scale {
        power(self.scales[k])
    }

    /// Published bound on |output|.
    pub(super) fn output_bound(&self) -> f64 {
        self.network.layers.last().map_or(1.0, |l| l.norm * l.peak)
    }

    /// What outputs are divided by.
    pub(super) fn output_norm(&self) -> f64 {
        self.network.layers.last().map_or(1.0, |l| l.norm)
    }

    /// Number of plaintexts.
    pub(super) fn plain_count(&self) -> usize {
        let of = |(step, layer): (&Step, &Layer)| match step {
            Step::Linear { sums, .. } => sums.plain_count(),
            Step::Shift => layer.shape.iter().product(),
            Step::Square | Step::Squared | Step::Add(_) => 0,
        };
        self.steps.iter().zip(&self.network.layers).map(of).sum()
    }

    /// Every plaintext in order of use, normalised.
    pub(super) fn plains(&self, weights: &Weights) -> Vec<Plain> {
        let at = |id: WeightId, i: usize| f64::from(weights.get(id).data().get(i).copied().unwrap_or(0.0));
        let mut plains = Vec::with_capacity(self.plain_count());
        for (step, layer) in self.steps.iter().zip(&self.network.layers) {
            match (step, &layer.kind) {
                (Step::Linear { sums, .. }, Kind::Linear(l)) => {
                    let factor = self.network.norm(layer.from) / layer.norm / l.window.cells() as f64;
                    let columns = sums.plain_count() / layer.shape[0].max(1) - 1;
                    let weight =
                        |m: usize, t: usize| l.weight.map_or(1.0, |w| at(w, m * columns + t)) * factor;
                    let bias = |m: usize| l.bias.map_or(0.0, |b| at(b, m)) / layer.norm;
                    plains.extend(sums.plains(Affine { weight: &weight, bias: &bias }));
                }
                (Step::Shift, Kind::Shift(id)) => {
                    let [c, h, w] = layer.shape;
                    let of = |element: usize| match weights.get(*id).data().len() {
                        1 => 0,
                        n if n == c => element / (h * w),
                        _ => element,
                    };
                    plains.extend((0..c * h * w).map(|i| Plain::Scalar(at(*id, of(i)) / layer.norm)));
                }
                _ => {}
            }
        }
        plains
    }

    /// Runs the network on its input vectors.
    pub(super) fn run<S: BatchSlots>(
        &self,
        s: &mut S,
        xs: Vec<S::Ct>,
        plains: &[S::Pt],
    ) -> Result<Vec<S::Ct>, S::Error> {
        let mut p = Plains::new(plains);
        let mut values: Vec<Vec<S::Ct>> = vec![xs];
        for (k, (step, layer)) in self.steps.iter().zip(&self.network.layers).enumerate() {
            let target = match self.network.joins(k + 1) {
                Some(other) => values.get(other).and_then(|v| v.first()).and_then(|x| s.scale_of(x)),
                None => None,
            };
            let target = target.unwrap_or(self.scale(k));
            let dies = self.last_use.get(layer.from) == Some(&k);
            let read = match values.get_mut(layer.from) {
                Some(x) if dies => std::mem::take(x),
                Some(x) => x.clone(),
                None => Vec::new(),
            };
            let y = match step {
                Step::Linear { pool, sums, then } => {
                    let read = match pool {
                        Some(pool) => pool.run(s, read)?,
                        None => read,
                    };
                    sums.run(s, read, &mut p, target, *then)?
                }
                Step::Square => s.square_rescale_all(read)?,
                Step::Squared => read,
                Step::Shift => {
                    let mut y = read;
                    y.iter_mut().try_for_each(|y| s.add_plain_assign(y, p.take()?))?;
                    y
                }
                Step::Add(other) => {
                    let twice;
                    let others = if *other == layer.from && dies {
                        twice = read.clone();
                        &twice
                    } else {
                        values.get(*other).map_or(&[][..], Vec::as_slice)
                    };
                    if others.len() != read.len() {
                        let (expected, found) = (read.len(), others.len());
                        return Err(CircuitError::Count { what: "vectors to add", expected, found }.into());
                    }
                    let add = |(a, b): (S::Ct, &S::Ct)| s.add_lowered(&a, b);
                    read.into_iter().zip(others).map(add).collect::<Result<_, _>>()?
                }
            };
            for (value, &last) in values.iter_mut().zip(&self.last_use) {
                if last == k {
                    *value = Vec::new();
                }
            }
            values.push(y);
        }
        p.finish()?;
        Ok(values.pop().unwrap_or_default())
    }

    /// The most bytes that ciphertexts take at a time, a vector at one level taking `row_bytes`.
    pub(super) fn peak_bytes(&self, row_bytes: u64) -> u64 {
        let size = |value: usize| row_bytes * self.level(value) as u64;
        let all = |value: usize| self.vectors(value) as u64 * size(value);
        let mut most = all(0);
        for (k, (step, layer)) in self.steps.iter().zip(&self.network.layers).enumerate() {
            let alive = |v: &usize| *v <= k && self.last_use.get(*v).is_some_and(|&last| last >= k);
            // What is read is counted by the step, which may give parts of it back early.
            let kept = self.last_use.get(layer.from).is_some_and(|&last| last > k);
            let others: u64 = (0..=k).filter(alive).filter(|&v| v != layer.from || kept).map(all).sum();
            let read = all(layer.from);
            let own = match step {
                Step::Linear { pool, sums, then } => {
                    let squared = usize::from(*then == Then::Square);
                    let sizes = [
                        size(layer.from),
                        size(layer.from),
                        row_bytes * self.level(k + 1 + squared).max(1) as u64,
                    ];
                    match pool {
                        // Inputs and sums at a time, then sums and results.
                        Some(pool) => (read + pool.outputs() as u64 * sizes[0]).max(sums.peak(sizes)),
                        None => sums.peak(sizes),
                    }
                }
                Step::Squared => all(k + 1),
                Step::Square | Step::Shift => read + all(k + 1),
                Step::Add(_) => 2 * read + all(k + 1),
            };
            most = most.max(others + own);
        }
        most
    }

    /// The layers in words.
    pub(super) fn describe(&self) -> Vec<String> {
        let one = |(k, (step, layer)): (usize, (&Step, &Layer))| {
            let name = &layer.name;
            let (from, to) = (self.vectors(layer.from), self.vectors(k + 1));
            match step {
                Step::Linear { pool, sums, .. } => {
                    let pool = pool
                        .as_ref()
                        .map_or_else(String::new, |p| format!("sums over {} windows, ", p.outputs()));
                    format!("{name}: {pool}{} scalars, {from} to {to} vectors", sums.plain_count())
                }
                Step::Square | Step::Squared => format!("{name}: {to} squares"),
                Step::Add(_) => format!("{name}: sum"),
                Step::Shift => format!("{name}: sum with constants"),
            }
        };
        self.steps.iter().zip(&self.network.layers).enumerate().map(one).collect()
    }
}

/// How many layers read a value.
fn readers(network: &Network, value: usize) -> usize {
    let of = |l: &Layer| {
        usize::from(l.from == value) + usize::from(matches!(l.kind, Kind::Add(other) if other == value))
    };
    network.layers.iter().map(of).sum()
}

/// Refuses networks whose circuits would take long to look through.
fn bounded(network: &Network) -> Result<(), Error> {
    let mut terms = 0usize;
    let shapes = network.layers.iter().map(|l| (l.name.as_str(), l.shape));
    for (name, [c, h, w]) in std::iter::once(("input", network.input)).chain(shapes) {
        let vectors = c.saturating_mul(h).saturating_mul(w);
        if vectors > MAX_VECTORS {
            return Err(refused(name, format!("{vectors} ciphertexts, more than {MAX_VECTORS}")));
        }
        terms = terms.saturating_add(vectors);
    }
    for layer in &network.layers {
        if let Kind::Linear(l) = &layer.kind {
            let [_, h, w] = layer.shape;
            let groups = l.window.groups.max(1);
            let places = h.saturating_mul(w).saturating_mul(groups);
            terms = terms.saturating_add(places.saturating_mul(l.window.fan_in()));
        }
        if terms > MAX_TERMS {
            return Err(refused(&layer.name, format!("more than {MAX_TERMS} terms of sums")));
        }
    }
    Ok(())
}

/// The circuits of a linear layer: sums over the windows of an average, then what has weights.
fn linear(l: &LinearLayer, layer: &Layer) -> Result<Step, Error> {
    let w = &l.window;
    let shape = |s: [usize; 3]| Shape::new(s).map_err(|e| refused(&layer.name, e));
    let no_window = || refused(&layer.name, "a window sees nothing but padding");
    let average = l.weight.is_none();
    let (pool, input) = match w.cells() {
        1 if !average => (None, w.input),
        _ => {
            let cell = w.pool.map(|p| p.max(1));
            let stride = if average { w.stride } else { cell };
            let size = if average {
                [w.output[1], w.output[2]]
            } else {
                [w.input[1] / cell[0], w.input[2] / cell[1]]
            };
            let pool = Pool { kernel: cell, stride, pads: [0; 4], count_include_pad: false };
            let pooled = [w.input[0], size[0], size[1]];
            let circuit =
                BatchSumPool::new(&pool, &shape(w.input)?, &shape(pooled)?).ok_or_else(no_window)?;
            (Some(Box::new(circuit)), pooled)
        }
    };
    let whole = [input[1], input[2]];
    let kernel = if average { [1, 1] } else { [0, 1].map(|i| w.kernel[i] / w.pool[i].max(1)) };
    let sums = if !average && kernel == whole && w.pads == [0; 2] && w.groups == 1 && w.output[1..] == [1, 1]
    {
        Sums::Dense(BatchDense::new(input.iter().product(), w.output[0]))
    } else {
        let each = |i: usize| w.pool[i].max(1);
        let conv = Conv {
            out_channels: w.output[0],
            kernel,
            stride: if average { [1, 1] } else { [0, 1].map(|i| w.stride[i] / each(i)) },
            pads: if average { [0; 4] } else { [w.pads[0] / each(0), w.pads[1] / each(1), 0, 0] },
            groups: w.groups,
            weight: WeightId(0),
            bias: None,
        };
        Sums::Conv(BatchConv::new(&conv, &shape(input)?, &shape(layer.shape)?).ok_or_else(no_window)?)
    };
    if sums.outputs() != layer.shape.iter().product::<usize>() {
        return Err(refused(
            &layer.name,
            "its shape is not that of a convolution, an average or a dense layer",
        ));
    }
    Ok(Step::Linear { pool, sums: Box::new(sums), then: Then::Keep })
}
