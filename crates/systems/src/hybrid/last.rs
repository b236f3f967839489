//! The last linear layers: those whose results reach the output through steps on own shares, or none. What is opened tells
//! which way their results were rounded, so they are flooded ([`oblivia_he::coefficient::Flood`]).
//!
//! A layer that a comparison of the network follows is hidden, not last: its roundings reach the output through the
//! comparison alone. An arg-max of the outputs is how they are opened and makes no layer hidden.

use super::schedule;
use oblivia_he::coefficient::{Flood, Params, Ring};
use oblivia_nn::fixed::Network;
use oblivia_nn::{Op, WireId};
use oblivia_pack::coefficient::{FloodedPlan, Packing};
use std::collections::BTreeMap;

/// log2 of the ring degree of flooded layers.
const LOG_N: u32 = 12;

/// The flooded layers of a network, by node, and the ring they share.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) ring: Ring,
    pub(super) layers: BTreeMap<usize, (Packing, Params)>,
}

/// The last layers, ascending.
fn nodes(network: &Network) -> Vec<usize> {
    let all = network.graph().nodes();
    let mut reached = vec![false; all.len()];
    let mut found = Vec::new();
    if let Some(output) = reached.get_mut(network.graph().output().index()) {
        *output = true;
    }
    for (i, node) in all.iter().enumerate().rev() {
        if reached.get(i) != Some(&true) {
            continue;
        }
        match node.op {
            Op::Conv(_) | Op::Dense { .. } => found.push(i),
            Op::Input | Op::Relu | Op::Clip { .. } | Op::MaxPool(_) => {}
            _ => node.inputs.iter().for_each(|w| {
                if let Some(r) = reached.get_mut(w.index()) {
                    *r = true;
                }
            }),
        }
    }
    found.reverse();
    found
}

/// The last layers as they are flooded; `None` if there are none, or if for one of them no modulus of this degree drowns
/// the noise.
pub(super) fn last(network: &Network) -> Option<Last> {
    let nodes = nodes(network);
    let elements = |node: &usize| network.graph().nodes().get(*node).map_or(0, |n| n.fact.shape.elements());
    let results: u64 = nodes.iter().map(|n| elements(n) as u64).sum();
    let mut plans = Vec::with_capacity(nodes.len());
    for &node in &nodes {
        let shape = schedule::linear_shape(network, node)?;
        let format = network.linear(WireId(node as u32))?;
        let (k, l) = (format.accumulator_bits(), format.bits);
        let norms = vec![format.norm1; shape.channels_out()];
        plans.push((node, FloodedPlan::choose(1 << LOG_N, &shape, k, l, &norms, results).ok()?));
    }
    let prime_bits = plans.iter().map(|(_, p)| p.prime_bits).max()?;
    let ring = Ring::two_primes(LOG_N, prime_bits).ok()?;
    let layers = plans.into_iter().map(|(node, p)| Some((node, (p.params(&ring).ok()?, p.packing))));
    let layers = layers.map(|l| l.map(|(node, (params, packing))| (node, (packing, params))));
    Some(Last { layers: layers.collect::<Option<_>>()?, ring })
}

impl Last {
    /// log2 of the statistical distance of everything that is opened of one image.
    pub(super) fn log_distance(&self) -> f64 {
        let of = |(_, params): &(Packing, Params)| params.log_distance();
        self.layers.values().filter_map(of).fold(f64::NEG_INFINITY, f64::max)
    }

    /// Results that are opened together.
    pub(super) fn results(&self) -> u64 {
        self.layers.values().find_map(|(_, p)| p.flood().map(|f: &Flood| f.results)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oblivia_nn::fixed::{Certainty, Formats, LinearFormat};
    use oblivia_nn::testing::Build;

    fn network(b: Build, norm1: u64) -> Network {
        let model = b.finish();
        let is_layer = |n: &&oblivia_nn::Node| matches!(n.op, Op::Conv(_) | Op::Dense { .. });
        let layers = model.public.graph.nodes().iter().filter(is_layer).count();
        let layer = LinearFormat { bits: 18, shift: 8, weight_bits: 8, norm1, norm2: 40 };
        let formats = Formats {
            input_bits: 16,
            input_scale: 1.0,
            output_scale: 1.0,
            layers: vec![layer; layers],
            certainty: Certainty::Always,
        };
        Network::new(&model.public, formats).unwrap()
    }

    fn names(network: &Network) -> Vec<String> {
        nodes(network).into_iter().map(|n| network.graph().nodes()[n].name.clone()).collect()
    }

    fn two_convolutions() -> Build {
        let mut b = Build::new(3, [2, 8, 8]);
        b.conv("c1", 4, [3, 3], [1, 1], [1; 4], 1, true);
        b.op("relu", Op::Relu);
        b.conv("c2", 4, [3, 3], [1, 1], [1; 4], 1, true);
        b
    }

    #[test]
    fn a_layer_is_last_if_only_local_steps_follow() {
        assert_eq!(names(&network(two_convolutions(), 400)), ["c2"]);
        let mut b = two_convolutions();
        b.op("mean", Op::GlobalAveragePool);
        b.op("flat", Op::Flatten);
        assert_eq!(names(&network(b, 400)), ["c2"]);
        // A comparison hides it, whatever comes after.
        let mut b = two_convolutions();
        b.op("last relu", Op::Relu);
        b.op("mean", Op::GlobalAveragePool);
        let hidden = network(b, 400);
        assert!(names(&hidden).is_empty() && last(&hidden).is_none());
        // Both sides of a sum are last, and what one of them reads is not.
        let mut b = Build::new(3, [2, 8, 8]);
        let left = b.conv("left", 4, [3, 3], [1, 1], [1; 4], 1, true);
        b.op("relu", Op::Relu);
        b.conv("right", 4, [3, 3], [1, 1], [1; 4], 1, true);
        b.add("sum", left);
        assert_eq!(names(&network(b, 400)), ["left", "right"]);
    }

    #[test]
    fn last_layers_share_one_ring_and_the_distance_of_all_their_results() {
        let mut b = Build::new(3, [2, 8, 8]);
        let left = b.conv("left", 4, [3, 3], [1, 1], [1; 4], 1, true);
        b.op("relu", Op::Relu);
        b.conv("right", 4, [3, 3], [1, 1], [1; 4], 1, true);
        b.add("sum", left);
        let network = network(b, 400);
        let last = last(&network).unwrap();
        assert_eq!((last.layers.len(), last.results()), (2, 2 * 4 * 64));
        assert!(last.log_distance() <= -40.0);
        assert!(last.layers.values().all(|(_, p)| *p.ring() == last.ring && p.flood().is_some()));
    }

    #[test]
    fn weights_that_no_modulus_drowns_leave_a_layer_as_hidden_ones_are() {
        assert!(last(&network(two_convolutions(), 1 << 20)).is_some());
        assert!(last(&network(two_convolutions(), 1 << 38)).is_none());
    }
}
