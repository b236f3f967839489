//! How far the outputs of a program may be from the network's: the error of each slot, tracked through the circuits as
//! a variance, in normalised values (every wire within its peak, near 1).
//!
//! Weights are unknown to a client, so a linear layer amplifies by its published row norm. Rounding of a
//! plaintext acts on whatever the slots hold; their root mean square is taken to be at most the peak.

use super::network::{Kind, Layer, LinearLayer};
use super::plan::refused;
use super::program::{Program, Step};
use oblivia_he::noise::{BOUND_FACTOR_2_64, Estimate, NoiseModel};
use oblivia_he::{HeError, Params};
use oblivia_pack::circuit::Linear;
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

/// Largest error of an output, in the network's own units; refuses scales under which a value could wrap around.
pub(super) fn bound(params: &Params, program: &Program) -> Result<f64, Error> {
    let machine = Machine { params, model: NoiseModel::new(params), program };
    let network = program.network();
    let scale = program.input_scale().0;
    let fresh = square(machine.model.fresh(1.0, scale).error.worst);
    let mut wires = vec![Wire { variance: fresh, level: params.max_level(), scale }];
    machine.fits(1.0, params.max_level(), scale)?;
    for (k, (step, layer)) in program.steps().iter().zip(&network.layers).enumerate() {
        let wire = machine.step(k, step, layer, &wires)?;
        machine.fits(layer.peak, wire.level, wire.scale)?;
        wires.push(wire);
    }
    let output = network.layers.last().map_or(1.0, |l| l.norm * l.peak);
    let norm = network.layers.last().map_or(1.0, |l| l.norm);
    let std = wires.last().map_or(0.0, |w| w.variance).sqrt();
    Ok(norm * BOUND_FACTOR_2_64 * std + output * FLOAT_EVALUATION)
}

/// The scheme's noise as variances in the worst slot under the worst accepted key, in units of 1.
struct Machine<'a> {
    params: &'a Params,
    model: NoiseModel,
    program: &'a Program,
}

impl Machine<'_> {
    fn switch(&self, level: usize, scale: f64) -> Result<f64, HeError> {
        Ok(square(self.model.key_switching(level, scale)?.worst))
    }

    fn rescale(&self, scale: f64) -> f64 {
        square(self.model.division(1, scale).worst)
    }

    fn rounding(&self, scale: f64) -> f64 {
        square(self.model.plaintext_rounding(scale).worst)
    }

    /// A sum of `terms` rotated copies made by doubling.
    fn doubling(&self, mut v: f64, terms: usize, level: usize, scale: f64) -> Result<f64, HeError> {
        let mut have = 1;
        while have < terms {
            v = 2.0 * v + self.switch(level, scale)?;
            have *= 2;
        }
        Ok(v)
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

    fn step(&self, k: usize, step: &Step, layer: &Layer, wires: &[Wire]) -> Result<Wire, Error> {
        let missing = || Error::Misuse(format!("`{}` reads a value that is not there", layer.name));
        let x = *wires.get(layer.from).ok_or_else(missing)?;
        let peak = self.program.network().peak(layer.from);
        match (step, &layer.kind) {
            (Step::Add(other), _) => {
                let y = *wires.get(*other).ok_or_else(missing)?;
                Ok(Wire { variance: x.variance + y.variance, level: x.level.min(y.level), scale: x.scale })
            }
            (Step::Shift, _) => Ok(Wire { variance: x.variance + self.rounding(x.scale), ..x }),
            (Step::Square, _) => {
                let (q, product) = (self.last_prime(x.level, layer)?, x.scale * x.scale);
                self.fits(peak * peak, x.level, product)?;
                let (v, scale) = (x.variance, product / q);
                let own = self.switch(x.level, product).map_err(refused)? + self.rescale(scale);
                let variance = 4.0 * square(peak) * v + 3.0 * v * v + own;
                Ok(Wire { variance, level: x.level - 1, scale })
            }
            (Step::Taps(_) | Step::Linear { .. }, Kind::Linear(l)) => {
                let q = self.last_prime(x.level, layer)?;
                let joined = self.program.network().joins(k + 1).and_then(|o| wires.get(o));
                let target = joined.map_or(self.program.scale(k).0, |w| w.scale);
                let product = target * q;
                self.fits(layer.peak, x.level, product)?;
                let gain = l.row_norm * self.program.network().norm(layer.from) / layer.norm;
                let at = Place { x, gain, peak, product, weight: product / x.scale };
                let variance = match step {
                    Step::Linear { copies, circuit } => self.linear(at, *copies, circuit),
                    _ => self.taps(at, l, layer),
                };
                let variance = variance.map_err(refused)? + self.rescale(target) + self.rounding(target);
                Ok(Wire { variance, level: x.level - 1, scale: target })
            }
            _ => Err(missing()),
        }
    }

    /// Integer weights, maps stacked at product scale.
    fn taps(&self, at: Place, linear: &LinearLayer, layer: &Layer) -> Result<f64, HeError> {
        let (taps, maps) = (linear.window.fan_in() as f64, layer.shape[0] as f64);
        let rounding = taps * square(at.peak) / (12.0 * square(at.weight));
        let v = square(at.gain) * at.x.variance + rounding + self.rounding(at.product);
        Ok(maps * v + (maps - 1.0) * self.switch(at.x.level, at.product)?)
    }

    /// Copies, baby steps, giant steps, folds.
    fn linear(&self, at: Place, copies: Option<usize>, circuit: &Linear) -> Result<f64, HeError> {
        let (level, schedule) = (at.x.level, circuit.schedule());
        let mut v = at.x.variance;
        if let Some(period) = copies {
            v = self.doubling(v, self.program.slots() / period, level, at.x.scale)?;
        }
        if schedule.babies.iter().flatten().any(|&b| b != 0) {
            v += self.switch(level, at.x.scale)?;
        }
        v = square(at.gain) * v + circuit.terms() as f64 * square(at.peak) * self.rounding(at.weight);
        let most = schedule.outputs.iter().map(|g| g.iter().map(|g| g.turns.len()).sum::<usize>()).max();
        let giants = most.unwrap_or(0) as f64 * self.switch(level, at.product)?;
        Ok(v + self.doubling(giants, 1 << schedule.folds.len(), level, at.product)?)
    }
}

/// What a linear layer works on.
#[derive(Clone, Copy)]
struct Place {
    x: Wire,
    /// Norm of its normalised rows.
    gain: f64,
    /// Of its input.
    peak: f64,
    /// Scale of its products.
    product: f64,
    /// Scale of its weights.
    weight: f64,
}

fn square(x: f64) -> f64 {
    x * x
}
