//! How far the outputs of a batch may be from the network's: the error of each slot, as in [`super::super::noise`] and with
//! what is taken to be independent there, through circuits in which slots do not meet. What meets are elements, each a
//! ciphertext with errors of its own.
//!
//! Weights are scalars: of a rounded one the error is the same in all slots and at all places a kernel acts, so it counts by
//! the largest value it meets, and as an error that elements share.

use super::super::network::{Kind, Layer, LinearLayer};
use super::super::plan::refused;
use super::program::{Program, Step};
use oblivia_he::noise::{BOUND_FACTOR_2_64, Estimate, NoiseModel};
use oblivia_he::{HeError, Params};
use oblivia_protocol::Error;

/// Difference between two float evaluations of a network, relative to the bound of its output.
const FLOAT_EVALUATION: f64 = 1.0 / (1 << 20) as f64;

/// A value as the plan sees it.
#[derive(Clone, Copy, Debug)]
struct Wire {
    /// Variance of a slot's error, in the worst slot under the worst accepted key: of the part that is an element's own,
    own: f64,
    /// and of the part that layers brought into several elements.
    shared: f64,
    /// How many elements one error of that part is in at most.
    reach: f64,
    level: usize,
    scale: f64,
}

impl Wire {
    fn variance(&self) -> f64 {
        self.own + self.shared
    }

    /// The sum with a value that may hold the same errors, also in its other part: (a + b)² ≤ 2a² + 2b².
    fn plus(self, y: Self) -> Self {
        let both = |a: f64, b: f64| 2.0 * square(a.sqrt() + b.sqrt());
        Self {
            own: both(self.own, y.own),
            shared: both(self.shared, y.shared),
            reach: self.reach + y.reach,
            level: self.level.min(y.level),
            scale: self.scale,
        }
    }
}

struct Machine<'a> {
    params: &'a Params,
    model: NoiseModel,
    program: &'a Program,
    /// Of all values of a group of that layer that has the most.
    factor: f64,
}

/// Largest error of an output of any sample of a group, in the network's own units; refuses scales under which a value
/// could wrap around.
pub(super) fn bound(params: &Params, program: &Program) -> Result<f64, Error> {
    let most = (0..=program.steps().len()).map(|v| program.vectors(v)).max().unwrap_or(1);
    let factor = factor((params.slots() * most) as u64);
    let m = Machine { params, model: NoiseModel::new(params), program, factor };
    let scale = program.input_scale().0;
    m.fits(1.0, params.max_level(), scale)?;
    let fresh = square(m.model.fresh(1.0, scale).error.worst);
    let mut wires = vec![Wire { own: fresh, shared: 0.0, reach: 1.0, level: params.max_level(), scale }];
    for k in 0..program.steps().len() {
        let wire = m.step(k, &wires)?;
        wires.push(wire);
    }
    let last = wires.last().map_or(fresh, Wire::variance);
    Ok(program.output_norm() * factor * last.sqrt() + program.output_bound() * FLOAT_EVALUATION)
}

/// c with |error| ≤ c·(standard deviation) in all of `values` values except with probability 2^-64: √(2 ln(2·values/δ)),
/// as [`BOUND_FACTOR_2_64`] for 2^17 of them.
fn factor(values: u64) -> f64 {
    let log = values.max(1).next_power_of_two().ilog2().max(17);
    let more = 2.0 * std::f64::consts::LN_2 * f64::from(log - 17);
    (square(BOUND_FACTOR_2_64) + more).sqrt()
}

impl Machine<'_> {
    /// Of a scalar, counted as that of a plaintext: κ times the variance, which makes up for its being the same in many
    /// elements.
    fn rounding(&self, scale: f64) -> f64 {
        square(self.model.plaintext_rounding(scale).worst)
    }

    /// Refuses a value that, half as large again and with its error, could wrap around.
    fn fits(&self, peak: f64, level: usize, scale: f64) -> Result<(), Error> {
        let value = Estimate::exact(1.5 * peak.max(1.0));
        if self.model.fits(value, self.factor, level, scale).map_err(refused)? {
            return Ok(());
        }
        let why = format!("values at scale 2^{:.1} do not fit the primes of level {level}", scale.log2());
        Err(Error::Refused { why })
    }

    /// The prime a rescale drops at `level`.
    fn last_prime(&self, level: usize, layer: &Layer) -> Result<f64, Error> {
        if level < 2 {
            let why = format!("`{}`: the parameters have too few levels for this network", layer.name);
            return Err(Error::Refused { why });
        }
        self.params.rescale_divisor(level).map_err(refused)
    }

    fn step(&self, k: usize, wires: &[Wire]) -> Result<Wire, Error> {
        let misuse = || Error::Misuse("a step of a batch reads a value that is not there".into());
        let network = self.program.network();
        let (Some(step), Some(layer)) = (self.program.steps().get(k), network.layers.get(k)) else {
            return Err(misuse());
        };
        let x = *wires.get(layer.from).ok_or_else(misuse)?;
        let wire = match (step, &layer.kind) {
            (Step::Add(other), _) => x.plus(*wires.get(*other).ok_or_else(misuse)?),
            (Step::Shift, _) => Wire { own: x.own + self.rounding(x.scale), ..x },
            (Step::Square | Step::Squared, _) => self.square(x, layer)?,
            (Step::Linear { .. }, Kind::Linear(l)) => {
                let joined = network.joins(k + 1).and_then(|o| wires.get(o));
                let target = joined.map_or(self.program.scale(k).0, |w| w.scale);
                self.linear(x, l, layer, target)?
            }
            _ => return Err(misuse()),
        };
        self.fits(layer.peak, wire.level, wire.scale)?;
        Ok(wire)
    }

    /// Squared, relinearised and rescaled at once. The error is multiplied by 2x + e.
    fn square(&self, x: Wire, layer: &Layer) -> Result<Wire, Error> {
        let (q, product) = (self.last_prime(x.level, layer)?, x.scale * x.scale);
        let peak = self.program.network().peak(layer.from);
        self.fits(peak * peak, x.level, product)?;
        let switched = self.model.key_switch_rescale(Estimate::exact(0.0), x.level, product);
        let switched = switched.map_err(|e: HeError| refused(e))?.error.worst;
        let factor = square(2.0 * peak + self.factor * x.variance().sqrt());
        let (own, shared) = (factor * x.own + square(switched), factor * x.shared);
        Ok(Wire { own, shared, level: x.level - 1, scale: product / q, ..x })
    }

    /// Sums over windows, products with scalars, a bias, a rescale.
    fn linear(&self, x: Wire, l: &LinearLayer, layer: &Layer, target: f64) -> Result<Wire, Error> {
        let (network, w) = (self.program.network(), &l.window);
        let product = target * self.last_prime(x.level, layer)?;
        let gain = l.row_norm * network.norm(layer.from) / layer.norm;
        let cells = w.cells() as f64;
        // Of a sum over a window.
        let peak = network.peak(layer.from) * cells;
        self.fits(peak, x.level, x.scale)?;
        self.fits(layer.peak, x.level, product)?;
        let (fan_in, weight) = (w.fan_in() as f64, product / x.scale);
        // Inputs that certainly have the same weight.
        let aligned = if l.weight.is_some() { cells } else { fan_in };
        let inherited = square(gain) * (x.own + aligned.min(x.reach) * x.shared);
        let rounded = fan_in / cells * square(peak) / (12.0 * square(weight));
        let outputs = |axis: usize| w.kernel[axis].div_ceil(w.stride[axis].max(1));
        let fan_out = (w.output[0] / w.groups.max(1) * outputs(0) * outputs(1)) as f64;
        let [places, elements] = [1, 0].map(|from| layer.shape[from..].iter().product::<usize>() as f64);
        Ok(Wire {
            own: self.rounding(product) + square(self.model.division(1, target).worst),
            shared: inherited + rounded,
            // A rounded weight is at all places of its map.
            reach: (x.reach * fan_out).max(places).min(elements),
            level: x.level - 1,
            scale: target,
        })
    }
}

fn square(x: f64) -> f64 {
    x * x
}
