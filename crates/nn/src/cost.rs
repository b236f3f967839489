//! Clear-text cost of a graph: multiply-accumulates and parameters.

use crate::{Graph, Node, Op};

/// What one node costs per sample.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NodeCost {
    /// Multiply-accumulate operations of convolutions and dense layers; 0 for all else. Taps on padding
    /// count, as is usual.
    pub macs: u64,
    /// Number of weight values the node reads.
    pub params: u64,
}

/// The cost of one node of `graph`.
pub fn node(graph: &Graph, node: &Node) -> NodeCost {
    let input = node.inputs.first().and_then(|&w| graph.fact(w)).map(|f| &f.shape);
    let outputs = node.fact.shape.elements() as u64;
    let per_output = match (&node.op, input) {
        (Op::Conv(conv), Some(x)) => {
            let channels = x.chw().map_or(0, |(c, _, _)| c / conv.groups);
            (channels as u64).saturating_mul(conv.kernel[0] as u64).saturating_mul(conv.kernel[1] as u64)
        }
        (Op::Dense { .. }, Some(x)) => x.elements() as u64,
        _ => 0,
    };
    let weights = node.op.weights();
    let params = weights.iter().filter_map(|id| graph.weights().get(id.0 as usize));
    NodeCost {
        macs: outputs.saturating_mul(per_output),
        params: params.map(|w| w.shape.elements() as u64).sum(),
    }
}

/// The cost of the whole graph. A weight that several nodes share counts once.
pub fn total(graph: &Graph) -> NodeCost {
    let mut used = vec![false; graph.weights().len()];
    let mut macs = 0u64;
    for n in graph.nodes() {
        macs = macs.saturating_add(node(graph, n).macs);
        for id in n.op.weights() {
            if let Some(used) = used.get_mut(id.0 as usize) {
                *used = true;
            }
        }
    }
    let params = graph.weights().iter().zip(used).filter(|(_, used)| *used);
    NodeCost { macs, params: params.map(|(w, _)| w.shape.elements() as u64).sum() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shape;
    use crate::testing::tiny_model;

    #[test]
    fn a_convolution_costs_its_taps_times_its_outputs() {
        // tiny: [1,6,6] conv 3×3 to 2 maps, pads 1 → [2,6,6]; square; flatten; dense 72 → 3.
        let graph = tiny_model().public.graph;
        let conv = node(&graph, &graph.nodes()[1]);
        assert_eq!(conv, NodeCost { macs: 2 * 36 * 9, params: 2 * 9 + 2 });
        assert_eq!(total(&graph), NodeCost { macs: 648 + 216, params: 20 + 219 });
    }

    #[test]
    fn a_shared_weight_counts_once() {
        let mut g = Graph::new("x", Shape::new([4]).unwrap());
        let w = g.weight("w", Shape::new([4, 4]).unwrap()).unwrap();
        for name in ["a", "b"] {
            g.push(name, Op::Dense { out: 4, weight: w, bias: None }, &[g.output()]).unwrap();
        }
        assert_eq!(total(&g), NodeCost { macs: 32, params: 16 });
    }
}
