//! What a network may be before anything is derived from it: a client derives a plan from whatever a server offers, and the
//! time and memory that takes must not grow with the numbers in it.

use super::schedule;
use oblivia_nn::fixed::Network;
use oblivia_nn::{Node, Op};

/// Elements of a wire.
const ELEMENTS: usize = 1 << 23;
/// Elements of all wires together.
pub(super) const ALL_ELEMENTS: usize = 1 << 27;
/// Rows or columns of an image.
const SIDE: usize = 1 << 12;
/// Channels, or elements of a vector.
const CHANNELS: usize = 1 << 16;
/// Rows or columns of a kernel or window, and steps of one.
const KERNEL: usize = 64;
/// Convolutions and dense layers.
const LAYERS: usize = 1 << 10;
/// Correlated OTs of an image in one direction.
pub(super) const COTS: u64 = 1 << 34;
/// Ciphertexts of a layer in one direction.
pub(super) const CIPHERTEXTS: usize = 1 << 17;

/// Refuses a network that is larger than any this is made for, with the node in the way.
pub(super) fn check(network: &Network) -> Result<(), String> {
    let nodes = network.graph().nodes();
    let (mut all, mut layers) = (0usize, 0usize);
    for (i, node) in nodes.iter().enumerate() {
        let within = |what: &str, found: usize, most: usize| match found <= most {
            true => Ok(()),
            false => Err(format!("node `{}`: {found} {what}, at most {most} are taken", node.name)),
        };
        let elements = node.fact.shape.elements();
        within("values", elements, ELEMENTS)?;
        all = all.saturating_add(elements);
        within("values with those before it", all, ALL_ELEMENTS)?;
        let is_layer = schedule::linear_shape(network, i).is_some();
        layers += usize::from(is_layer);
        within("layers with those before it", layers, LAYERS)?;
        let input = node.inputs.first().and_then(|w| nodes.get(w.index()));
        let sides = |n: &Node| n.fact.shape.chw().map_or([0; 2], |(_, h, w)| [h, w]);
        let channels = |n: &Node| n.fact.shape.dims().first().copied().unwrap_or(0);
        let windows: &[usize] = match &node.op {
            Op::Conv(c) => &[c.kernel, c.stride].concat(),
            Op::MaxPool(p) => &[p.kernel, p.stride].concat(),
            _ => &[],
        };
        for &w in windows {
            within("rows or columns of a window or between windows", w, KERNEL)?;
        }
        if is_layer || matches!(node.op, Op::MaxPool(_)) {
            for of in input.into_iter().chain([node]) {
                within("channels", channels(of), CHANNELS)?;
                for side in sides(of) {
                    within("rows or columns", side, SIDE)?;
                }
            }
        }
    }
    Ok(())
}
