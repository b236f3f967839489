//! How far the outputs of plan `diagonal` may be from the network's: the error of each slot, tracked through
//! the circuit as a variance, in normalised values (every wire within [−1, 1]).
//!
//! Weights are unknown to a client, so a linear layer amplifies by its published row norm. Rounding of a
//! plaintext acts on whatever the slots hold; their root mean square is taken to be at most 1.

use super::diagonal::{Diagonal, power};
use super::plan::refused;
use oblivia_he::noise::{BOUND_FACTOR_2_64, Estimate, NoiseModel};
use oblivia_he::{HeError, Params};
use oblivia_protocol::Error;

/// Difference between two float evaluations of a network, relative to the bound of its output.
const FLOAT_EVALUATION: f64 = 1.0 / (1 << 20) as f64;

/// Largest error of an output, in the network's own units.
pub(super) fn bound(params: &Params, circuit: &Diagonal) -> Result<f64, Error> {
    let std = variance(params, circuit).map_err(refused)?.sqrt();
    let output = circuit.net().dense2.bound;
    Ok(output * (BOUND_FACTOR_2_64 * std + FLOAT_EVALUATION))
}

/// Refuses scales under which a value of size 1 with its error could wrap around: at the input, at every product
/// before its rescale, and at the end.
pub(super) fn check_fits(params: &Params, circuit: &Diagonal) -> Result<(), Error> {
    let model = NoiseModel::new(params);
    let s = circuit.scales();
    let q = |level| params.rescale_prime(level).map_err(refused);
    let (conv, dense1, output) = (power(s.conv).0, power(s.dense1).0, power(s.output).0);
    // Normalised values are at most 1; an output may exceed its bound by its error, and a client refuses it then.
    let places = [
        (6, circuit.input_scale().0),
        (6, conv * q(6)?),
        (5, conv * conv),
        (4, dense1 * q(4)?),
        (3, dense1 * dense1),
        (2, output * q(2)?),
        (1, output),
    ];
    for (level, scale) in places {
        let fits = model.fits(Estimate::exact(1.5), BOUND_FACTOR_2_64, level, scale).map_err(refused)?;
        if !fits {
            let why = format!("values at scale 2^{:.1} do not fit the primes of level {level}", scale.log2());
            return Err(Error::Refused { why });
        }
    }
    Ok(())
}

/// The scheme's noise as variances in the worst slot under the worst accepted key, in units of 1.
struct Machine<'a> {
    params: &'a Params,
    model: NoiseModel,
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

    /// Rescaled product of a vector with itself; |value| ≤ 1.
    fn squared(&self, v: f64, level: usize, scale: f64) -> Result<(f64, f64), HeError> {
        let product = scale * scale;
        let after = product / self.params.rescale_prime(level)?;
        Ok((4.0 * v + 3.0 * v * v + self.switch(level, product)? + self.rescale(after), after))
    }
}

fn variance(params: &Params, circuit: &Diagonal) -> Result<f64, HeError> {
    let m = Machine { params, model: NoiseModel::new(params) };
    let (net, scales) = (circuit.net(), circuit.scales());
    let q = |level| params.rescale_prime(level);
    let groups = |count: usize, baby: usize| count.div_ceil(baby) as f64;
    let copies = circuit.slots() / circuit.block();
    let [baby1, baby2] = circuit.babies();

    // Input and convolution: integer weights, maps stacked at product scale.
    let scale = circuit.input_scale().0;
    let target = power(scales.conv).0;
    let (product, weight) = (target * q(6)?, target * q(6)? / scale);
    let (taps, maps) = (circuit.input_vectors() as f64, net.conv.out_channels as f64);
    let gain = net.conv_row_norm * net.input_bound / net.conv_bound;
    let mut v = square(m.model.fresh(1.0, scale).error.worst);
    v = square(gain) * v + taps / (12.0 * square(weight)) + m.rounding(product);
    v = maps * v + (maps - 1.0) * m.switch(6, product)? + m.rescale(target);

    let (mut v, scale) = m.squared(v, 5, target)?;

    // First dense layer: copies, baby steps, giant steps, fold.
    v = m.doubling(v, copies, 4, scale)?;
    let target = power(scales.dense1).0;
    let (product, weight) = (target * q(4)?, target * q(4)? / scale);
    let gain = net.dense1.row_norm * square(net.conv_bound) / net.dense1.bound;
    v += m.switch(4, scale)?;
    v = square(gain) * v + circuit.block() as f64 * m.rounding(weight) + m.rounding(product);
    let giants = (groups(circuit.rows(), baby1) - 1.0) * m.switch(4, product)?;
    v += m.doubling(giants, circuit.block() / circuit.rows(), 4, product)? + m.rescale(target);

    let (mut v, scale) = m.squared(v, 3, target)?;

    // Second dense layer: one shift, baby steps, giant steps, sum over copies.
    let target = power(scales.output).0;
    let (product, weight) = (target * q(2)?, target * q(2)? / scale);
    let gain = net.dense2.row_norm * square(net.dense1.bound) / net.dense2.bound;
    let count = circuit.rows() + net.dense2.outputs - 1;
    v += 2.0 * m.switch(2, scale)?;
    v = square(gain) * v + (count * copies) as f64 * m.rounding(weight) + m.rounding(product);
    let giants = (groups(count, baby2) - 1.0) * m.switch(2, product)?;
    Ok(v + m.doubling(giants, copies, 2, product)? + m.rescale(target))
}

fn square(x: f64) -> f64 {
    x * x
}
