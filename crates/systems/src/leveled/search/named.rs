//! The named plans for networks of the CryptoNets shape and for dense layers.

use super::super::choices::{InputForm, LeveledChoices};
use super::super::layouts;
use super::super::mlp::{self, fewest};
use super::super::network::{Kind, LinearLayer, Network};
use super::super::parameters::{Precision, chain_bits};
use super::super::units::UnitCosts;
use super::{Chosen, choices};
use oblivia_pack::circuit::Options;
use oblivia_pack::{Axis, CircuitError, Layout};
use oblivia_protocol::Wish;

/// A named plan for convolution – square – dense – square – dense, and for dense layers with squares between.
#[derive(Clone, Copy)]
pub(super) struct Make {
    conv: fn([&LinearLayer; 3], usize) -> Result<Chosen, CircuitError>,
    dense: fn(&[&LinearLayer], usize) -> Result<Chosen, CircuitError>,
}

pub(super) const PACKED: Make = Make { conv: packed, dense: mlp::packed };
pub(super) const DIAGONAL: Make = Make { conv: diagonal, dense: mlp::diagonal };

impl Make {
    pub(super) fn of(self, network: &Network, slots: usize) -> Result<Chosen, String> {
        let made = match mlp::layers(network) {
            Some(layers) => (self.dense)(&layers, slots),
            None => (self.conv)(three(network)?, slots),
        };
        made.map_err(|e| e.to_string())
    }
}

/// A named plan, or why there is none.
pub(super) fn named(
    network: &Network,
    log_n: u32,
    make: Make,
    wish: &Wish,
) -> Result<LeveledChoices, String> {
    let bits =
        chain_bits(network, log_n, Precision::default()).ok_or("no parameters fit the security table")?;
    let (input, layers) = make.of(network, 1 << log_n)?;
    Ok(choices(&bits, UnitCosts::of(log_n, &wish.units), input, layers))
}

/// The linear layers of convolution – square – dense – square – dense.
fn three(network: &Network) -> Result<[&LinearLayer; 3], String> {
    let shape =
        || "it is for convolution – square – dense – square – dense or dense – square – dense – …".to_owned();
    let kinds: Vec<&Kind> = network.layers.iter().map(|l| &l.kind).collect();
    let [Kind::Linear(a), Kind::Square, Kind::Linear(b), Kind::Square, Kind::Linear(c)] = kinds[..] else {
        return Err(shape());
    };
    if a.conv.is_none() || network.layers.iter().enumerate().any(|(k, l)| l.from != k) {
        return Err(shape());
    }
    Ok([a, b, c])
}

/// The plan `diagonal` at dimension 2^`log_n`.
#[cfg(test)]
pub(in super::super) fn diagonal_at(network: &Network, log_n: u32) -> Result<LeveledChoices, String> {
    named(network, log_n, DIAGONAL, &Wish::default())
}

/// Taps in, copies of the activations, hybrid diagonals by baby and giant steps.
fn diagonal([a, b, c]: [&LinearLayer; 3], slots: usize) -> Result<Chosen, CircuitError> {
    let none = Options { fold: slots, spread: 1, baby: 1, chained: false, quarters: false };
    let [m, h, w] = a.window.output;
    let axes = [Axis::strided(m, h * w), Axis::strided(h, w), Axis::strided(w, 1)];
    let maps = Layout::new(a.window.output, slots, 1, axes, slots)?;
    let block = maps.extent();
    let (rows, copies) = (b.window.output[0].next_power_of_two(), slots / block);
    let each = rows.div_ceil(copies);
    let axes = [Axis::new(0, &[(each, 1), (copies, block)]), Axis::default(), Axis::default()];
    let hidden = Layout::new(b.window.output, slots, 1, axes, slots)?;
    let logits = Layout::features(c.window.output[0], slots, 1, block)?;
    let copied = maps.with_period(block)?;
    let b1 = Options {
        fold: each,
        spread: 1,
        baby: fewest(b, &copied, &hidden, each),
        chained: false,
        quarters: false,
    };
    let b2 = Options {
        fold: block,
        spread: 1,
        baby: fewest(c, &hidden, &logits, block),
        chained: false,
        quarters: false,
    };
    Ok((InputForm::Taps, vec![(None, maps, none), (Some(block), hidden, b1), (None, logits, b2)]))
}

/// One vector of stride phases in; the last layer in one product, spread over copies.
fn packed([a, b, c]: [&LinearLayer; 3], slots: usize) -> Result<Chosen, CircuitError> {
    let misfit = CircuitError::Layout { why: "its first layer has no packed input" };
    let image = layouts::inputs(a.window.input, &a.window, slots).into_iter().next().ok_or(misfit)?;
    let p = image.period();
    let misfit = CircuitError::Layout { why: "its maps do not each fit a copy of the input" };
    let maps = layouts::outputs(&image, &a.window).into_iter().find(|(l, f)| *f < p && l.period() == slots);
    let (maps, fold) = maps.ok_or(misfit)?;
    let conv = Options { fold, spread: 1, baby: slots, chained: false, quarters: false };
    let rows = b.window.output[0].next_power_of_two();
    let hidden = Layout::features(b.window.output[0], slots, 1, rows)?;
    let first = Options { fold: rows, spread: 1, baby: (rows / 8).max(1), chained: false, quarters: false };
    let outs = c.window.output[0].next_power_of_two();
    let logits = Layout::features(c.window.output[0], slots, 1, slots)?;
    let second = Options { fold: outs, spread: outs, baby: slots, chained: false, quarters: false };
    Ok((InputForm::Packed(image), vec![(None, maps, conv), (None, hidden, first), (None, logits, second)]))
}
