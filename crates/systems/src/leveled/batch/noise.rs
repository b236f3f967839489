//! How far the outputs of a batch may be from the network's: the error of each slot, as in [`super::super::noise`], through
//! circuits in which slots do not meet.
//!
//! Weights are scalars: of a rounded one the error is the same in all slots, so it counts by the largest value it meets,
//! not by what the other slots hold.

use super::super::network::{Kind, Layer, LinearLayer};
use super::super::plan::refused;
use super::program::{Program, Step};
use oblivia_he::noise::{BOUND_FACTOR_2_64, Estimate, NoiseModel};
use oblivia_he::{HeError, Params};
use oblivia_pack::Then;
use oblivia_protocol::Error;

/// Difference between two float evaluations of a network, relative to the bound of its output.
const FLOAT_EVALUATION: f64 = 1.0 / (1 << 20) as f64;

/// A value as the plan sees it.
#[derive(Clone, Copy, Debug)]
struct Wire {
    /// Of a slot's error, in the worst slot under the worst accepted key.
    variance: f64,
    level: usize,
    scale: f64,
}

struct Machine<'a> {
    params: &'a Params,
    model: NoiseModel,
    program: &'a Program,
}

/// Largest error of an output of any sample of a group, in the network's own units; refuses scales under which a value
/// could wrap around.
pub(super) fn bound(params: &Params, program: &Program) -> Result<f64, Error> {
    let m = Machine { params, model: NoiseModel::new(params), program };
    let scale = program.input_scale().0;
    m.fits(1.0, params.max_level(), scale)?;
    let fresh = square(m.model.fresh(1.0, scale).error.worst);
    let mut wires = vec![Wire { variance: fresh, level: params.max_level(), scale }];
    for k in 0..program.steps().len() {
        let wire = m.step(k, &wires)?;
        wires.push(wire);
    }
    let last = wires.last().map_or(fresh, |w| w.variance);
    let values = (params.slots() * program.output_vectors()) as u64;
    Ok(program.output_norm() * factor(values) * last.sqrt() + program.output_bound() * FLOAT_EVALUATION)
}

/// c with |error| ≤ c·(standard deviation) in all of `values` values except with probability 2^-64: √(2 ln(2·values/δ)),
/// as [`BOUND_FACTOR_2_64`] for 2^17 of them.
fn factor(values: u64) -> f64 {
    let log = values.max(1).next_power_of_two().ilog2().max(17);
    let more = 2.0 * std::f64::consts::LN_2 * f64::from(log - 17);
    (square(BOUND_FACTOR_2_64) + more).sqrt()
}

impl Machine<'_> {
    fn rounding(&self, scale: f64) -> f64 {
        square(self.model.plaintext_rounding(scale).worst)
    }

    /// Refuses a value that, half as large again and with its error, could wrap around.
    fn fits(&self, peak: f64, level: usize, scale: f64) -> Result<(), Error> {
        let value = Estimate::exact(1.5 * peak.max(1.0));
        if self.model.fits(value, BOUND_FACTOR_2_64, level, scale).map_err(refused)? {
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
        self.params.rescale_prime(level).map_err(refused)
    }

    fn step(&self, k: usize, wires: &[Wire]) -> Result<Wire, Error> {
        let misuse = || Error::Misuse("a step of a batch reads a value that is not there".into());
        let network = self.program.network();
        let (Some(step), Some(layer)) = (self.program.steps().get(k), network.layers.get(k)) else {
            return Err(misuse());
        };
        let x = *wires.get(layer.from).ok_or_else(misuse)?;
        let wire = match (step, &layer.kind) {
            (Step::Add(other), _) => {
                let y = *wires.get(*other).ok_or_else(misuse)?;
                // Both may hold the same errors.
                let variance = square(x.variance.sqrt() + y.variance.sqrt());
                Wire { variance, level: x.level.min(y.level), scale: x.scale }
            }
            (Step::Shift, _) => Wire { variance: x.variance + self.rounding(x.scale), ..x },
            (Step::Square | Step::Squared, _) => self.square(x, layer)?,
            (Step::Linear { then: Then::Keep | Then::Square, .. }, Kind::Linear(l)) => {
                let joined = network.joins(k + 1).and_then(|o| wires.get(o));
                let target = joined.map_or(self.program.scale(k).0, |w| w.scale);
                self.linear(x, l, layer, target)?
            }
            _ => return Err(misuse()),
        };
        self.fits(layer.peak, wire.level, wire.scale)?;
        Ok(wire)
    }

    /// Squared, relinearised and rescaled at once.
    fn square(&self, x: Wire, layer: &Layer) -> Result<Wire, Error> {
        let (q, product, v) = (self.last_prime(x.level, layer)?, x.scale * x.scale, x.variance);
        let peak = self.program.network().peak(layer.from);
        self.fits(peak * peak, x.level, product)?;
        let switched = |e: Estimate| self.model.key_switch_rescale(e, x.level, product);
        let own = switched(Estimate::exact(0.0)).map_err(|e: HeError| refused(e))?;
        let variance = 4.0 * square(peak) * v + 3.0 * v * v + square(own.error.worst);
        Ok(Wire { variance, level: x.level - 1, scale: product / q })
    }

    /// Sums over windows, products with scalars, a bias, a rescale.
    fn linear(&self, x: Wire, l: &LinearLayer, layer: &Layer, target: f64) -> Result<Wire, Error> {
        let network = self.program.network();
        let product = target * self.last_prime(x.level, layer)?;
        let gain = l.row_norm * network.norm(layer.from) / layer.norm;
        let cells = l.window.cells() as f64;
        let peak = network.peak(layer.from) * cells;
        self.fits(peak, x.level, x.scale)?;
        self.fits(layer.peak, x.level, product)?;
        let (terms, weight) = (l.window.fan_in() as f64 / cells, product / x.scale);
        let weights = terms * square(peak) / (12.0 * square(weight));
        let rescaled = square(self.model.division(1, target).worst);
        // What has one weight may have one error.
        let aligned = if l.weight.is_some() { cells } else { l.window.fan_in() as f64 };
        let variance = square(gain) * aligned * x.variance + weights + self.rounding(product) + rescaled;
        Ok(Wire { variance, level: x.level - 1, scale: target })
    }
}

fn square(x: f64) -> f64 {
    x * x
}
