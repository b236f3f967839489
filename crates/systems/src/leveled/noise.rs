//! How far the outputs of a program may be from the network's: the error of each slot, tracked through the circuits as
//! a variance, in normalised values (every wire within its peak, near 1).
//!
//! Weights are unknown to a client, so a linear layer amplifies by its published row norm. Rounding of a
//! plaintext acts on whatever the slots hold; their root mean square is taken to be at most the peak.
//!
//! **What is taken to be independent, and what is not.** Errors of different origin (an encryption, a key switch, a
//! division, the rounding of one plaintext) are independent of each other, and one origin's errors in different slots are
//! uncorrelated: values of a polynomial with independent coefficients at the points of an orthogonal transform. So sums of
//! rotations of *one such error* (folds, copies, stacked maps) add variances. Everything else that meets again may hold the
//! same error:
//!
//! - Results of a linear layer hold the errors of the same inputs. A [`Wire`] keeps that part apart (`shared`): a row with
//!   norm ‖V‖ over inputs with errors Σ_j W_ij·e_j has the variance Σ_j (Σ_i V_i·W_ij)²·σ². Weights that a graph says are
//!   equal (the cells of an average) add those errors up: each e_j is in at most r of n such inputs, and by Cauchy and
//!   Schwarz the variance is at most min(n, r)·‖V‖²·max‖W_i‖²·σ². Learned weights are taken to be *without structure*:
//!   the products V_i·W_ij of different i add like independent terms. Against weights made to align, which multiply
//!   shared errors by up to √r a layer, the bound does not hold; a client cannot tell, and the declared error says so.
//! - The operands of a residual sum share whatever lies before the fork: standard deviations add.
//! - A square multiplies its operand's error by 2x + e, both of one value: at most 2·peak + c·σ.
//!
//! Roundings of scalars (taps) are the same in all slots, so they are shared from the start.

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
    /// Variance of a slot's error, in the worst slot under the worst accepted key: of the part that is uncorrelated
    /// with that of other slots,
    own: f64,
    /// and of the part that linear layers or scalars brought into several slots.
    shared: f64,
    /// As `shared`, of slots that hold no element.
    stray: f64,
    /// How many elements one error of that part is in at most.
    reach: f64,
    level: usize,
    scale: f64,
}

impl Wire {
    fn variance(&self) -> f64 {
        self.own + self.shared
    }
}

/// Largest error of an output, in the network's own units; refuses scales under which a value could wrap around.
pub(super) fn bound(params: &Params, circuit: &Circuit) -> Result<f64, Error> {
    let machine = Machine { params, model: NoiseModel::new(params), network: circuit.network() };
    let scale = circuit.input_scale().0;
    let fresh = square(machine.model.fresh(1.0, scale).error.worst);
    machine.fits(1.0, params.max_level(), scale)?;
    let last = machine.run(circuit, fresh)?;
    let norm = circuit.network().layers.last().map_or(1.0, |l| l.norm);
    Ok(norm * BOUND_FACTOR_2_64 * last.variance().sqrt() + circuit.output_bound() * FLOAT_EVALUATION)
}

/// The scheme's noise as variances in the worst slot under the worst accepted key, in units of 1.
struct Machine<'a> {
    params: &'a Params,
    model: NoiseModel,
    network: &'a Network,
}

impl Machine<'_> {
    /// The last value, the input's slots being off by the variance `fresh`.
    fn run(&self, circuit: &Circuit, fresh: f64) -> Result<Wire, Error> {
        let (level, scale) = (self.params.max_level(), circuit.input_scale().0);
        let input = Wire { own: fresh, shared: 0.0, stray: 0.0, reach: 1.0, level, scale };
        match circuit {
            Circuit::Program(program) => self.program(program, input),
            Circuit::Lola(program) => self.lola(program, input),
        }
    }

    fn switch(&self, level: usize, scale: f64) -> Result<f64, HeError> {
        Ok(square(self.model.key_switching(level, scale)?.worst))
    }

    /// As [`Machine::switch`], the result staying modulo QP: no division.
    fn key(&self, level: usize, scale: f64) -> Result<f64, HeError> {
        Ok(square(self.model.key_errors(level, scale)?.worst))
    }

    /// A rescale from `level` to `scale`.
    fn rescale(&self, level: usize, scale: f64) -> Result<f64, HeError> {
        let [alone, _] = self.params.dropped_primes(level)?;
        Ok(square(self.model.division(alone, scale).worst))
    }

    /// As [`Machine::rescale`], together with a division by P.
    fn merged(&self, level: usize, scale: f64) -> Result<f64, HeError> {
        let [_, merged] = self.params.dropped_primes(level)?;
        Ok(square(self.model.division(merged, scale).worst))
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
        self.params.rescale_divisor(level).map_err(refused)
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
        let (q, product) = (self.last_prime(x.level, layer)?, x.scale * x.scale);
        let peak = self.network.peak(layer.from);
        self.fits(peak * peak, x.level, product)?;
        let scale = product / q;
        let own =
            self.key(x.level, product).map_err(refused)? + self.merged(x.level, scale).map_err(refused)?;
        let factor = square(2.0 * peak + BOUND_FACTOR_2_64 * x.variance().sqrt());
        // Nothing is there to be multiplied with.
        let stray = square(BOUND_FACTOR_2_64 * x.stray);
        let (own, shared) = (factor * x.own + own, factor * x.shared);
        Ok(Wire { own, shared, stray, level: x.level - 1, scale, ..x })
    }

    /// What a linear layer with results of scale `target` works on.
    fn place(&self, x: Wire, l: &LinearLayer, layer: &Layer, target: f64) -> Result<Place, Error> {
        let product = target * self.last_prime(x.level, layer)?;
        let gain = l.row_norm * self.network.norm(layer.from) / layer.norm;
        let peak = self.network.peak(layer.from);
        let fan_in = l.window.fan_in() as f64;
        let outputs = |axis: usize| l.window.kernel[axis].div_ceil(l.window.stride[axis].max(1));
        let fan_out = l.window.output[0] / l.window.groups.max(1) * outputs(0) * outputs(1);
        let aligned = if l.weight.is_some() { l.window.cells() as f64 } else { fan_in };
        let weight = product / x.scale;
        Ok(Place { x, gain, peak, product, weight, fan_in, fan_out: fan_out as f64, aligned })
    }

    /// The errors `v` of products brought to scale `target` by a division with error `division`, a bias added.
    fn finished(&self, at: Place, v: Errors, division: f64, target: f64, shape: [usize; 3]) -> Wire {
        let own = v.own + self.rounding(at.product) + division;
        let elements = shape.iter().product::<usize>() as f64;
        let reach = (at.x.reach * at.fan_out).min(elements);
        Wire { own, shared: v.shared, stray: v.stray, reach, level: at.x.level - 1, scale: target }
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
        let division = self.rescale(x.level, target).map_err(refused)?;
        let x = self.finished(at, self.taps(at, conv).map_err(refused)?, division, target, conv.shape);
        self.fits(conv.peak, x.level, x.scale)?;
        let x = self.square(x, square1)?;
        self.fits(square1.peak, x.level, x.scale)?;

        let (copies, block) = (plan.copies() as f64, plan.dense1().block());
        let copying = (copies - 1.0) * self.switch(x.level, x.scale).map_err(refused)?;
        let shared = x.shared + (copies - 1.0) * x.stray;
        let x = Wire { own: copies * x.own + copying, shared, ..x };
        let target = scales.dense1.0;
        let at = self.place(x, l1, dense1, target)?;
        // |Σ over parts of two rows| by Cauchy and Schwarz.
        let between = (at.gain * at.peak * (2.0 * at.fan_in).sqrt()).max(dense1.peak);
        self.fits(between, x.level, at.product)?;
        let rounding = block as f64 * (square(at.peak) + x.variance()) * self.rounding(at.weight);
        let folds = self.doubling(0.0, block, x.level, at.product).map_err(refused)?;
        let inherited = 2.0 * at.inherited();
        let errors = Errors { own: rounding + folds, shared: inherited, stray: inherited };
        let division = self.rescale(x.level, target).map_err(refused)?;
        let x = self.finished(at, errors, division, target, dense1.shape);
        self.fits(between, x.level, x.scale)?;

        let target = scales.interleaved.0;
        let product = target * self.last_prime(x.level, dense1)?;
        let vectors = plan.dense1().vectors() as f64;
        let rounding = vectors * (square(between) + x.variance()) * self.rounding(product / x.scale);
        let moving = (vectors - 1.0) * self.switch(x.level, product).map_err(refused)?;
        self.fits(dense1.peak, x.level, product)?;
        let own = x.own + rounding + moving + self.rescale(x.level, target).map_err(refused)?;
        let x = Wire { own, stray: 0.0, level: x.level - 1, scale: target, ..x };
        self.fits(dense1.peak, x.level, x.scale)?;
        let x = self.square(x, square2)?;
        self.fits(square2.peak, x.level, x.scale)?;

        let target = scales.dense2.0;
        let at = self.place(x, l2, dense2, target)?;
        self.fits(dense2.peak, x.level, at.product)?;
        let filled = at.fan_in * square(at.peak) + program.period() as f64 * x.variance();
        let folds = self.doubling(0.0, program.period(), x.level, at.product).map_err(refused)?;
        let own = filled * self.rounding(at.weight) + folds;
        let errors = Errors { own, shared: at.inherited(), stray: at.inherited() };
        let division = self.rescale(x.level, target).map_err(refused)?;
        let x = self.finished(at, errors, division, target, dense2.shape);
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
                Ok(x.plus(y))
            }
            (Step::Shift, _) => Ok(Wire { own: x.own + self.rounding(x.scale), ..x }),
            (Step::Square, _) => self.square(x, layer),
            (Step::Taps(_) | Step::Linear { .. }, Kind::Linear(l)) => {
                let joined = self.network.joins(k + 1).and_then(|o| wires.get(o));
                let target = joined.map_or(program.scale(k).0, |w| w.scale);
                let at = self.place(x, l, layer, target)?;
                self.fits(layer.peak, x.level, at.product)?;
                let (errors, division) = match step {
                    Step::Linear { copies, circuit } => {
                        let copies = copies.map(|p| program.slots() / p);
                        (self.linear(at, copies, circuit), self.merged(x.level, target))
                    }
                    _ => (self.taps(at, layer), self.rescale(x.level, target)),
                };
                let (errors, division) = (errors.map_err(refused)?, division.map_err(refused)?);
                let y = self.finished(at, errors, division, target, layer.shape);
                // A bias is added behind the division here.
                Ok(Wire { own: y.own + self.rounding(target), ..y })
            }
            _ => Err(missing()),
        }
    }

    /// Integer weights, maps stacked at product scale.
    fn taps(&self, at: Place, layer: &Layer) -> Result<Errors, HeError> {
        let maps = layer.shape[0] as f64;
        let rounding = at.fan_in * square(at.peak) / (12.0 * square(at.weight));
        let own = maps * self.rounding(at.product) + (maps - 1.0) * self.switch(at.x.level, at.product)?;
        // A scalar multiplies all slots, those without an element too.
        let shared = maps * (at.inherited() + rounding);
        Ok(Errors { own, shared, stray: shared })
    }

    /// Copies, baby steps, giant steps, folds.
    fn linear(&self, at: Place, copies: Option<usize>, circuit: &Linear) -> Result<Errors, HeError> {
        let (level, schedule, mut x) = (at.x.level, circuit.schedule(), at.x);
        if let Some(copies) = copies {
            x.own = self.doubling(x.own, copies, level, x.scale)?;
            x.shared += (copies as f64 - 1.0) * x.stray;
        }
        if schedule.babies.iter().flatten().any(|&b| b != 0) {
            x.own += self.key(level, x.scale)?;
        }
        let rounded = square(at.peak) + x.variance();
        let rounding = circuit.terms() as f64 * rounded * self.rounding(at.weight);
        let most = schedule.outputs.iter().map(|g| g.iter().map(|g| g.turns.len()).sum::<usize>()).max();
        let giants = most.unwrap_or(0) as f64 * self.switch(level, at.product)?;
        let own = rounding + self.doubling(giants, schedule.folded(), level, at.product)?;
        let shared = Place { x, ..at }.inherited();
        // Other slots are multiplied by zeros or hold sums over parts of rows.
        let stray = if circuit.is_clean() { 0.0 } else { 2.0 * shared };
        Ok(Errors { own, shared, stray })
    }
}

impl Wire {
    /// The sum with a value that may hold the same errors, also in its other part: (a + b)² ≤ 2a² + 2b².
    fn plus(self, y: Self) -> Self {
        let both = |a: f64, b: f64| 2.0 * square(a.sqrt() + b.sqrt());
        Self {
            own: both(self.own, y.own),
            shared: both(self.shared, y.shared),
            stray: both(self.stray, y.stray),
            reach: self.reach + y.reach,
            level: self.level.min(y.level),
            scale: self.scale,
        }
    }
}

/// Variances of what a linear layer makes, as in a [`Wire`].
#[derive(Clone, Copy)]
struct Errors {
    own: f64,
    shared: f64,
    stray: f64,
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
    /// Inputs of a result.
    fan_in: f64,
    /// Results that read one input, at most.
    fan_out: f64,
    /// Inputs of a result that certainly have the same weight: cells of an average.
    aligned: f64,
}

impl Place {
    /// Variance of the input's errors in a result.
    fn inherited(&self) -> f64 {
        square(self.gain) * (self.x.own + self.aligned.min(self.x.reach) * self.x.shared)
    }
}

fn square(x: f64) -> f64 {
    x * x
}

#[cfg(test)]
#[path = "noise_tests.rs"]
mod tests;
