//! A network as circuits over layouts: what a plan runs.
//!
//! Values inside are normalised by the published bounds ([`Network::norm`]), so every wire stays within
//! [−peak, peak] with peaks near 1.

use super::choices::{InputForm, LeveledChoices};
use super::network::{Kind, LinearLayer, Network};
use oblivia_he::{ParamsLiteral, RingKind};
use oblivia_nn::{Tensor, WeightId, Weights};
use oblivia_pack::circuit::{Linear, Tap, TapConv, TapInput, replicate};
use oblivia_pack::{Axis, CircuitError, Layout, Plain, Plains, Scale, Slots};
use oblivia_protocol::Error;

/// What is run for one layer.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The first convolution, from its taps.
    Taps(TapConv),
    /// A linear layer, its input copied to a distance first.
    Linear {
        copies: Option<usize>,
        circuit: Box<Linear>,
    },
    Square,
    /// The sum with another value.
    Add(usize),
    /// The sum with constants.
    Shift,
}

/// A value's place.
#[derive(Clone, Debug)]
struct Place {
    layout: Layout,
    /// Whether all other slots are zero.
    clean: bool,
}

/// The circuits of a network.
#[derive(Clone, Debug)]
pub(super) struct Program {
    network: Network,
    taps: Option<TapInput>,
    steps: Vec<Step>,
    /// Of the input (unless taps) and of every layer's result.
    places: Vec<Option<Place>>,
    /// log2 of the scale of every linear layer's result, by layer.
    scales: Vec<u32>,
    input_scale: Scale,
    slots: usize,
    /// The layer that reads each value last.
    last_use: Vec<usize>,
}

fn misfit(name: &str, e: CircuitError) -> Error {
    Error::Refused { why: format!("`{name}`: {e}") }
}

impl Program {
    /// The circuits of `network` as chosen.
    pub(super) fn new(network: Network, choices: &LeveledChoices) -> Result<Self, Error> {
        let slots = slots(&choices.params);
        let found = network.linear().count();
        if choices.layers.len() != found {
            let why = format!("{} linear layers are planned, the network has {found}", choices.layers.len());
            return Err(Error::InvalidMessage { message: "Offer", why });
        }
        let mut taps = None;
        let mut places = vec![match &choices.input {
            InputForm::Taps | InputForm::Lola(_) => None,
            InputForm::Packed(layout) | InputForm::Columns(layout) => {
                let columns = network.linear().next().and_then(|l| column_window(&network, l));
                let shape = match (&choices.input, columns) {
                    (InputForm::Columns(_), Some(window)) => window.input,
                    (InputForm::Columns(_), None) => [0; 3],
                    _ => network.input,
                };
                if layout.shape() != shape || layout.slots() != slots {
                    let why = "the input's layout is not one of the network's input".to_owned();
                    return Err(Error::InvalidMessage { message: "Offer", why });
                }
                Some(Place { layout: layout.clone(), clean: true })
            }
        }];
        let mut scales = vec![0; network.layers.len()];
        let mut steps = Vec::new();
        let mut chosen = choices.layers.iter();
        for (k, layer) in network.layers.iter().enumerate() {
            let place = places.get(layer.from).cloned().flatten();
            let (step, place) = match (&layer.kind, place) {
                (Kind::Linear(linear), place) => {
                    let Some(choice) = chosen.next() else { return Err(unplaced(&layer.name)) };
                    scales[k] = choice.log_scale;
                    match place {
                        None if layer.from == 0 && taps.is_none() => {
                            let (input, conv) = tap_conv(&network, linear, layer.shape)
                                .ok_or_else(|| unplaced(&layer.name))?;
                            let [m, h, w] = layer.shape;
                            let axes = [Axis::strided(m, h * w), Axis::strided(h, w), Axis::strided(w, 1)];
                            let layout = Layout::new(layer.shape, slots, 1, axes, slots)
                                .map_err(|e| misfit(&layer.name, e))?;
                            taps = Some(input);
                            (Step::Taps(conv), Place { layout, clean: true })
                        }
                        None => return Err(unplaced(&layer.name)),
                        Some(place) => {
                            let from = match choice.copies {
                                None => place.layout,
                                Some(period) => copied(&place, period).map_err(|e| misfit(&layer.name, e))?,
                            };
                            let window = match &choices.input {
                                InputForm::Columns(_) if layer.from == 0 => column_window(&network, layer),
                                _ => Some(linear.window.clone()),
                            };
                            let window = window.ok_or_else(|| unplaced(&layer.name))?;
                            let circuit = linear
                                .circuit(window, &from, &choice.output, choice.options)
                                .map_err(|e| misfit(&layer.name, e))?;
                            let place = Place { layout: choice.output.clone(), clean: circuit.is_clean() };
                            (Step::Linear { copies: choice.copies, circuit: Box::new(circuit) }, place)
                        }
                    }
                }
                (_, None) => return Err(unplaced(&layer.name)),
                (Kind::Square, Some(place)) => (Step::Square, place),
                (Kind::Shift(_), Some(place)) => (Step::Shift, place),
                (Kind::Add(other), Some(place)) => match places.get(*other) {
                    Some(Some(o)) if o.layout == place.layout => {
                        (Step::Add(*other), Place { clean: place.clean && o.clean, ..place })
                    }
                    _ => {
                        let why = "the two operands of a sum have different layouts";
                        return Err(misfit(&layer.name, CircuitError::Layout { why }));
                    }
                },
            };
            steps.push(step);
            places.push(Some(place));
        }
        if let InputForm::Columns(_) = choices.input {
            taps = network.linear().next().and_then(|l| match &l.kind {
                Kind::Linear(linear) => tap_conv(&network, linear, l.shape).map(|(input, _)| input),
                _ => None,
            });
        }
        let mut last_use = vec![0; places.len()];
        for (k, layer) in network.layers.iter().enumerate() {
            last_use[layer.from] = k;
            if let Kind::Add(other) = layer.kind {
                last_use[other] = k;
            }
        }
        let input_scale = power(choices.input_log_scale);
        Ok(Self { network, taps, steps, places, scales, input_scale, slots, last_use })
    }

    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// Primes a program uses up, and the one that stays.
    pub(super) fn levels(&self) -> usize {
        depths(&self.network).last().copied().unwrap_or(0) + 1
    }

    /// Input ciphertexts.
    pub(super) fn input_vectors(&self) -> usize {
        match (&self.taps, self.places.first()) {
            (_, Some(Some(place))) => place.layout.vectors(),
            (Some(taps), _) => taps.taps(),
            _ => 0,
        }
    }

    /// Vectors of a value.
    pub(super) fn vectors(&self, value: usize) -> usize {
        match self.places.get(value) {
            Some(Some(place)) => place.layout.vectors(),
            _ => self.input_vectors(),
        }
    }

    pub(super) fn input_scale(&self) -> Scale {
        self.input_scale
    }

    /// Planned scale of the result of linear layer `k`.
    pub(super) fn scale(&self, k: usize) -> Scale {
        power(self.scales[k])
    }

    /// Whether slots of the reply that hold no output are zero.
    pub(super) fn is_clean(&self) -> bool {
        self.places.last().is_some_and(|p| p.as_ref().is_some_and(|p| p.clean))
    }

    /// The client's input as normalised slot vectors.
    pub(super) fn encode(&self, x: &Tensor) -> Vec<Vec<f64>> {
        let mut vectors = match (&self.taps, self.places.first()) {
            (Some(taps), Some(Some(place))) => place.layout.spread(taps.vectors(x).into_iter().flatten()),
            (Some(taps), _) => taps.vectors(x),
            (None, Some(Some(place))) => place.layout.spread(x.data().iter().map(|&v| f64::from(v))),
            _ => Vec::new(),
        };
        vectors.iter_mut().flatten().for_each(|v| *v /= self.network.input_norm);
        vectors
    }

    /// The outputs from the slots of the last vector.
    pub(super) fn decode(&self, slots: &[f64]) -> Vec<f64> {
        let norm = self.network.norm(self.network.layers.len());
        let Some(Some(place)) = self.places.last() else { return Vec::new() };
        let at = |(_, slot): (usize, usize)| slots.get(slot).map_or(0.0, |v| v * norm);
        place.layout.positions().into_iter().map(at).collect()
    }

    /// Slots of the outputs in the last vector.
    pub(super) fn output_slots(&self) -> Vec<usize> {
        let Some(Some(place)) = self.places.last() else { return Vec::new() };
        place.layout.positions().into_iter().map(|(_, slot)| slot).collect()
    }

    /// Vectors of the reply.
    pub(super) fn output_vectors(&self) -> usize {
        self.places.last().and_then(|p| p.as_ref()).map_or(0, |p| p.layout.vectors())
    }

    /// Number of plaintexts.
    pub(super) fn plain_count(&self) -> usize {
        let of = |(step, layer): (&Step, &super::network::Layer)| match step {
            Step::Taps(_) => layer.shape[0] * (self.input_vectors() + 1),
            Step::Linear { circuit, .. } => circuit.plain_count(),
            Step::Shift => self.vectors(layer.from),
            Step::Square | Step::Add(_) => 0,
        };
        self.steps.iter().zip(&self.network.layers).map(of).sum()
    }

    /// Every plaintext in order of use, normalised.
    pub(super) fn plains(&self, weights: &Weights) -> Vec<Plain> {
        let data = |id| weights.get(id).data();
        let bias = |id, m: usize| f64::from(data(id).get(m).copied().unwrap_or(0.0));
        self.plains_from(data, bias, false)
    }

    /// As [`Program::plains`], weights and biases given by id; averages are sums if so said.
    pub(super) fn plains_from<'w>(
        &self,
        data: impl Fn(WeightId) -> &'w [f32],
        bias_of: impl Fn(WeightId, usize) -> f64,
        sums: bool,
    ) -> Vec<Plain> {
        let mut plains = Vec::with_capacity(self.plain_count());
        for (k, (step, layer)) in self.steps.iter().zip(&self.network.layers).enumerate() {
            if let (Kind::Shift(id), Some(Some(place))) = (&layer.kind, self.places.get(k + 1)) {
                let value = |i: usize| bias_of(*id, i) / layer.norm;
                plains.extend(shifts(&place.layout, data(*id).len(), value));
            }
            let Kind::Linear(l) = &layer.kind else { continue };
            let cells = if sums { l.window.cells() as f64 } else { 1.0 };
            let factor = self.network.norm(layer.from) / layer.norm * cells;
            let w = l.weight.map(&data);
            let at = |of: Option<&[f32]>, i: usize, none: f32| {
                of.map_or(none, |d| d.get(i).copied().unwrap_or(0.0))
            };
            let bias = |m: usize| l.bias.map_or(0.0, |b| bias_of(b, m)) / layer.norm;
            match step {
                Step::Taps(conv) => {
                    let taps = self.input_vectors();
                    plains.extend(conv.plains(|m, t| f64::from(at(w, m * taps + t, 1.0)) * factor, bias));
                }
                Step::Linear { circuit, .. } => {
                    let weight = |t: Tap| at(w, circuit.window().index(t), 1.0);
                    plains.extend(circuit.plains(weight, factor, |[m, ..]| bias(m)));
                }
                Step::Square | Step::Add(_) | Step::Shift => {}
            }
        }
        plains
    }

    /// Runs the network on its input vectors.
    pub(super) fn run<S: Slots>(
        &self,
        s: &mut S,
        xs: &[S::Ct],
        plains: &[S::Pt],
    ) -> Result<Vec<S::Ct>, S::Error> {
        let mut p = Plains::new(plains);
        let mut values: Vec<Vec<S::Ct>> = vec![xs.to_vec()];
        for (k, (step, layer)) in self.steps.iter().zip(&self.network.layers).enumerate() {
            let target = match self.network.joins(k + 1) {
                Some(other) => values.get(other).and_then(|v| v.first()).and_then(|x| s.scale_of(x)),
                None => None,
            };
            let target = target.unwrap_or(self.scale(k));
            let x = values.get(layer.from).map(Vec::as_slice).unwrap_or_default();
            let y = match step {
                Step::Taps(conv) => {
                    let y = conv.run(s, x, &mut p, target)?;
                    vec![s.rescale(&y)?]
                }
                Step::Linear { copies: None, circuit } => circuit.run(s, x, &mut p, target)?,
                Step::Linear { copies: Some(period), circuit } => {
                    let copies: Vec<S::Ct> =
                        x.iter().map(|x| replicate(s, x, *period)).collect::<Result<_, _>>()?;
                    circuit.run(s, &copies, &mut p, target)?
                }
                Step::Square => x.iter().map(|x| s.square_rescale(x)).collect::<Result<_, _>>()?,
                Step::Shift => {
                    let mut y = x.to_vec();
                    y.iter_mut().try_for_each(|y| s.add_plain_assign(y, p.take()?))?;
                    y
                }
                Step::Add(other) => {
                    let other = values.get(*other).map(Vec::as_slice).unwrap_or_default();
                    x.iter().zip(other).map(|(a, b)| s.add_lowered(a, b)).collect::<Result<_, _>>()?
                }
            };
            for (value, &last) in values.iter_mut().zip(&self.last_use) {
                if last == k {
                    value.clear();
                }
            }
            values.push(y);
        }
        p.finish()?;
        Ok(values.pop().unwrap_or_default())
    }

    /// The layers in words.
    pub(super) fn describe(&self) -> Vec<String> {
        let one = |(step, layer): (&Step, &super::network::Layer)| match step {
            Step::Taps(conv) => format!(
                "{}: {} input vectors, one per kernel tap; {} scalar products; maps stacked in {} slots",
                layer.name,
                self.input_vectors(),
                self.input_vectors() * layer.shape[0],
                conv.outputs()
            ),
            Step::Linear { copies, circuit } => {
                let schedule = circuit.schedule();
                let [babies, giants, folds] = schedule.rotations();
                let copies = copies.map_or_else(String::new, |p| format!("copied every {p} slots, "));
                let zeros = match &layer.kind {
                    Kind::Linear(l) if l.zeros.is_some() => " that are not all zero",
                    _ => "",
                };
                format!(
                    "{}: {copies}{} diagonals{zeros}, {babies} baby, {giants} {} and {folds} fold steps",
                    layer.name,
                    schedule.plains(),
                    if schedule.chained { "chained giant" } else { "giant" },
                )
            }
            Step::Square => format!("{}: square", layer.name),
            Step::Add(_) => format!("{}: sum", layer.name),
            Step::Shift => format!("{}: sum with constants", layer.name),
        };
        self.steps.iter().zip(&self.network.layers).map(one).collect()
    }
}

/// Constants where a layout has its elements: one, one per channel, or one per element.
fn shifts(layout: &Layout, count: usize, value_of: impl Fn(usize) -> f64) -> Vec<Plain> {
    let [c, h, w] = layout.shape();
    let at = |element: usize| match count {
        1 => 0,
        n if n == c => element / (h * w),
        _ => element,
    };
    layout.spread((0..c * h * w).map(|i| value_of(at(i)))).into_iter().map(Plain::Slots).collect()
}

/// Slots of a vector: all coefficients' worth, or one of two rows that are kept equal.
pub(super) fn slots(params: &ParamsLiteral) -> usize {
    match params.kind {
        RingKind::ConjugateInvariant => 1 << params.log_n,
        RingKind::Standard => (1 << params.log_n) >> 1,
    }
}

fn unplaced(name: &str) -> Error {
    let why = format!("`{name}` cannot follow inputs laid out by taps: a plain convolution must come first");
    Error::InvalidMessage { message: "Offer", why }
}

fn tap_conv(network: &Network, linear: &LinearLayer, out: [usize; 3]) -> Option<(TapInput, TapConv)> {
    let shape = |s: [usize; 3]| oblivia_nn::Shape::new(s).ok();
    let input = TapInput::new(linear.conv.as_ref()?, &shape(network.input)?, &shape(out)?)?;
    let conv = TapConv::new(&input, out[0]);
    Some((input, conv))
}

/// The first layer over columns, if it is a convolution and the input's only reader.
fn column_window(network: &Network, layer: &super::network::Layer) -> Option<oblivia_pack::circuit::Window> {
    let Kind::Linear(linear) = &layer.kind else { return None };
    let only = layer.from == 0 && network.layers.iter().filter(|l| l.from == 0).count() == 1;
    linear.conv.as_ref().filter(|_| only).and_then(|_| linear.window.columns())
}

fn copied(place: &Place, period: usize) -> Result<Layout, CircuitError> {
    let layout = &place.layout;
    if !place.clean || layout.period() != layout.slots() {
        return Err(CircuitError::Layout { why: "only a single copy between zeros can be copied" });
    }
    layout.with_period(period)
}

/// Multiplicative depth of every value.
pub(super) fn depths(network: &Network) -> Vec<usize> {
    let mut depths = vec![0usize];
    for layer in &network.layers {
        let own = depths.get(layer.from).copied().unwrap_or(0);
        depths.push(match layer.kind {
            Kind::Add(other) => own.max(depths.get(other).copied().unwrap_or(0)),
            Kind::Shift(_) => own,
            _ => own + 1,
        });
    }
    depths
}

pub(super) fn power(log: u32) -> Scale {
    Scale((1u64 << log.min(62)) as f64)
}
