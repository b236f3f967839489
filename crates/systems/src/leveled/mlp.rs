//! The plans `packed` and `diagonal` for dense layers with squares between: what their networks have behind the
//! convolution, from the first layer on.

use super::choices::InputForm;
use super::layouts;
use super::network::{Kind, LinearLayer, Network};
use super::search::Chosen;
use oblivia_pack::circuit::{Options, Window};
use oblivia_pack::{Axis, CircuitError, Layout};

/// The layers of dense – square – dense – …, two at least.
pub(super) fn layers(network: &Network) -> Option<Vec<&LinearLayer>> {
    let mut found = Vec::new();
    for (k, layer) in network.layers.iter().enumerate() {
        match &layer.kind {
            Kind::Linear(l) if k % 2 == 0 && is_dense(&l.window) => found.push(l),
            Kind::Square if k % 2 == 1 => {}
            _ => return None,
        }
        if layer.from != k {
            return None;
        }
    }
    (found.len() >= 2 && network.layers.len() % 2 == 1).then_some(found)
}

fn is_dense(w: &Window) -> bool {
    let [_, height, width] = w.input;
    w.output[1..] == [1, 1] && w.kernel == [height, width] && w.groups == 1 && w.pool == [1, 1]
}

const NONE: CircuitError = CircuitError::Layout { why: "its input does not fit one vector" };

/// The input in one vector, repeated.
fn input(layers: &[&LinearLayer], slots: usize) -> Result<Layout, CircuitError> {
    let first = &layers.first().ok_or(NONE)?.window;
    layouts::inputs(first.input, first, slots).into_iter().find(|l| l.vectors() == 1).ok_or(NONE)
}

/// All results side by side and repeated, folded as far as they leave room.
fn repeated(outputs: usize, from: &Layout) -> Result<(Layout, usize), CircuitError> {
    let rows = outputs.next_power_of_two();
    Ok((Layout::features(outputs, from.slots(), 1, rows)?, rows.min(from.period())))
}

/// One packed input; sums folded and repeated; the last layer in one product, spread over copies.
pub(super) fn packed(layers: &[&LinearLayer], slots: usize) -> Result<Chosen, CircuitError> {
    let image = input(layers, slots)?;
    let mut at = image.clone();
    let mut chosen = Vec::new();
    for (i, l) in layers.iter().enumerate() {
        let outputs = l.window.output[0];
        let rows = outputs.next_power_of_two();
        let (to, options) = if i + 1 < layers.len() {
            let (to, fold) = repeated(outputs, &at)?;
            (to, Options { fold, spread: 1, baby: (rows / 8).max(1), chained: false, quarters: false })
        } else {
            let to = Layout::features(outputs, slots, 1, slots)?;
            (to, Options { fold: rows, spread: rows, baby: slots, chained: false, quarters: false })
        };
        chosen.push((None, to.clone(), options));
        at = to;
    }
    Ok((InputForm::Packed(image), chosen))
}

/// Hybrid diagonals by baby and giant steps: rows shared out among the copies of the input, then, from there, results
/// side by side and repeated, and so on. The last layer's are side by side in any case.
pub(super) fn diagonal(layers: &[&LinearLayer], slots: usize) -> Result<Chosen, CircuitError> {
    let image = input(layers, slots)?;
    let mut at = image.clone();
    let mut chosen = Vec::new();
    for (i, l) in layers.iter().enumerate() {
        let (outputs, p) = (l.window.output[0], at.period());
        let (to, fold) = if i + 1 < layers.len() && p < slots {
            let (copies, rows) = (slots / p, outputs.next_power_of_two());
            let each = rows.div_ceil(copies);
            let axes = [Axis::new(0, &[(each, 1), (copies, p)]), Axis::default(), Axis::default()];
            (Layout::new(l.window.output, slots, 1, axes, slots)?, each)
        } else {
            repeated(outputs, &at)?
        };
        let options =
            Options { fold, spread: 1, baby: fewest(l, &at, &to, fold), chained: false, quarters: false };
        chosen.push((None, to.clone(), options));
        at = to;
    }
    Ok((InputForm::Packed(image), chosen))
}

/// The baby steps with the fewest rotations.
pub(super) fn fewest(l: &LinearLayer, from: &Layout, to: &Layout, fold: usize) -> usize {
    let first = Options { fold, spread: 1, baby: 1, chained: false, quarters: false };
    let Ok(circuit) = l.circuit(l.window.clone(), from, to, first) else { return 1 };
    let rotations = |&baby: &usize| circuit.outline_with(baby, false, false).rotations.iter().sum::<usize>();
    (1..=64).min_by_key(rotations).unwrap_or(1)
}
