//! How far the outputs of a program may be from the network's: the error of each slot, tracked through the circuits as
//! a variance, in normalised values (every wire within its peak, near 1).
//!
//! Weights are unknown to a client, so a linear layer amplifies by its published row norm. Rounding of a
//! plaintext acts on whatever the slots hold; their root mean square is taken to be at most the peak.

use super::circuit::Circuit;
use super::lola::{self, LolaProgram};
use super::network::{Kind, Layer, LinearLayer, Network};
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
pub(super) fn bound(params: &Params, circuit: &Circuit) -> Result<f64, Error> {
    let machine = Machine { params, model: NoiseModel::new(params), network: circuit.network() };
    let scale = circuit.input_scale().0;
    let fresh = square(machine.model.fresh(1.0, scale).error.worst);
    machine.fits(1.0, params.max_level(), scale)?;
    let input = Wire { variance: fresh, level: params.max_level(), scale };
    let last = match circuit {
        Circuit::Program(program) => machine.program(program, input)?,
        Circuit::Lola(program) => machine.lola(program, input)?,
    };
    let norm = circuit.network().layers.last().map_or(1.0, |l| l.norm);
    Ok(norm * BOUND_FACTOR_2_64 * last.variance.sqrt() + circuit.output_bound() * FLOAT_EVALUATION)
}

/// The scheme's noise as variances in the worst slot under the worst accepted key, in units of 1.
struct Machine<'a> {
    params: &'a Params,
    model: NoiseModel,
    network: &'a Network,
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

    fn program(&self, program: &Program, input: Wire) -> Result<Wire, Error> {
        let mut wires = vec![input];
        for (k, (step, layer)) in program.steps().iter().zip(&self.network.layers).enumerate() {
            let wire = self.step((program, k), step, layer, &wires)?;
            self.fits(layer.peak, wire.level, wire.scale)?;
            wires.push(wire);
        }
        Ok(wires.pop().unwrap_or(input))
    }

    fn square(&self, x: Wire, layer: &Layer) -> Result<Wire, Error> {
        let (q, product, v) = (self.last_prime(x.level, layer)?, x.scale * x.scale, x.variance);
        let peak = self.network.peak(layer.from);
        self.fits(peak * peak, x.level, product)?;
        let scale = product / q;
        let own = self.switch(x.level, product).map_err(refused)? + self.rescale(scale);
        Ok(Wire { variance: 4.0 * square(peak) * v + 3.0 * v * v + own, level: x.level - 1, scale })
    }

    /// What a linear layer with results of scale `target` works on.
    fn place(&self, x: Wire, l: &LinearLayer, layer: &Layer, target: f64) -> Result<Place, Error> {
        let product = target * self.last_prime(x.level, layer)?;
        let gain = l.row_norm * self.network.norm(layer.from) / layer.norm;
        let peak = self.network.peak(layer.from);
        Ok(Place { x, gain, peak, product, weight: product / x.scale })
    }

    /// Products of the variance `v` brought to scale `target`, a bias added.
    fn finished(&self, at: Place, v: f64, target: f64) -> Wire {
        let bias = self.rounding(at.product);
        Wire { variance: v + bias + self.rescale(target), level: at.x.level - 1, scale: target }
    }

    /// LoLa's circuits. Behind the first dense layer slots between the results hold sums over parts of two rows; the
    /// masks that remove them are rounded like any plaintext.
    fn lola(&self, program: &LolaProgram, x: Wire) -> Result<Wire, Error> {
        let [(conv, l0), (dense1, l1), (dense2, l2)] =
            lola::layers(self.network).map_err(|why| Error::Refused { why })?;
        let (plan, scales) = (program.lola(), program.scales());
        let square_layers = || self.network.layers.iter().filter(|l| matches!(l.kind, Kind::Square));
        let [Some(square1), Some(square2)] = [square_layers().next(), square_layers().nth(1)] else {
            return Err(Error::Misuse("two squares expected".into()));
        };

        let target = scales.conv.0;
        let at = self.place(x, l0, conv, target)?;
        self.fits(conv.peak, x.level, at.product)?;
        let x = self.finished(at, self.taps(at, l0, conv).map_err(refused)?, target);
        self.fits(conv.peak, x.level, x.scale)?;
        let x = self.square(x, square1)?;
        self.fits(square1.peak, x.level, x.scale)?;

        let (copies, block) = (plan.copies() as f64, plan.dense1().block());
        let copying = (copies - 1.0) * self.switch(x.level, x.scale).map_err(refused)?;
        let x = Wire { variance: copies * x.variance + copying, ..x };
        let target = scales.dense1.0;
        let at = self.place(x, l1, dense1, target)?;
        // |Σ over parts of two rows| by Cauchy and Schwarz.
        let between = (at.gain * at.peak * (2.0 * l1.window.fan_in() as f64).sqrt()).max(dense1.peak);
        self.fits(between, x.level, at.product)?;
        let rows = 2.0 * square(at.gain) * x.variance;
        let rounding = block as f64 * (square(at.peak) + x.variance) * self.rounding(at.weight);
        let folds = self.doubling(0.0, block, x.level, at.product).map_err(refused)?;
        let x = self.finished(at, rows + rounding + folds, target);
        self.fits(between, x.level, x.scale)?;

        let target = scales.interleaved.0;
        let product = target * self.last_prime(x.level, dense1)?;
        let vectors = plan.dense1().vectors() as f64;
        let rounding = vectors * (square(between) + x.variance) * self.rounding(product / x.scale);
        let moving = (vectors - 1.0) * self.switch(x.level, product).map_err(refused)?;
        self.fits(dense1.peak, x.level, product)?;
        let variance = x.variance + rounding + moving + self.rescale(target);
        let x = Wire { variance, level: x.level - 1, scale: target };
        self.fits(dense1.peak, x.level, x.scale)?;
        let x = self.square(x, square2)?;
        self.fits(square2.peak, x.level, x.scale)?;

        let target = scales.dense2.0;
        let at = self.place(x, l2, dense2, target)?;
        self.fits(dense2.peak, x.level, at.product)?;
        let filled = l2.window.fan_in() as f64 * square(at.peak) + program.period() as f64 * x.variance;
        let folds = self.doubling(0.0, program.period(), x.level, at.product).map_err(refused)?;
        let v = square(at.gain) * x.variance + filled * self.rounding(at.weight) + folds;
        let x = self.finished(at, v, target);
        self.fits(dense2.peak, x.level, x.scale)?;
        Ok(x)
    }

    fn step(
        &self,
        (program, k): (&Program, usize),
        step: &Step,
        layer: &Layer,
        wires: &[Wire],
    ) -> Result<Wire, Error> {
        let missing = || Error::Misuse(format!("`{}` reads a value that is not there", layer.name));
        let x = *wires.get(layer.from).ok_or_else(missing)?;
        match (step, &layer.kind) {
            (Step::Add(other), _) => {
                let y = *wires.get(*other).ok_or_else(missing)?;
                Ok(Wire { variance: x.variance + y.variance, level: x.level.min(y.level), scale: x.scale })
            }
            (Step::Shift, _) => Ok(Wire { variance: x.variance + self.rounding(x.scale), ..x }),
            (Step::Square, _) => self.square(x, layer),
            (Step::Taps(_) | Step::Linear { .. }, Kind::Linear(l)) => {
                let joined = self.network.joins(k + 1).and_then(|o| wires.get(o));
                let target = joined.map_or(program.scale(k).0, |w| w.scale);
                let at = self.place(x, l, layer, target)?;
                self.fits(layer.peak, x.level, at.product)?;
                let variance = match step {
                    Step::Linear { copies, circuit } => {
                        self.linear(at, copies.map(|p| program.slots() / p), circuit)
                    }
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
        if let Some(copies) = copies {
            v = self.doubling(v, copies, level, at.x.scale)?;
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
