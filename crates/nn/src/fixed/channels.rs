//! Which channels of its operands each channel of a wire is made of. A channel is an index of the first axis.

use crate::{Fact, Graph, Node, Op};

/// Number of channels of a wire: the size of its first axis.
pub fn count(fact: &Fact) -> usize {
    fact.shape.dims().first().copied().unwrap_or(1)
}

/// For each output channel of an operator that is no convolution and no dense layer: operand and channel of all it is
/// made of. Empty for channels that are zero.
pub(super) fn sources(graph: &Graph, node: &Node) -> Vec<Vec<(usize, usize)>> {
    let facts: Vec<&Fact> = node.inputs.iter().filter_map(|&w| graph.fact(w)).collect();
    let channels = count(&node.fact);
    match &node.op {
        Op::Concat { .. } => {
            let of = |(i, fact): (usize, &&Fact)| (0..count(fact)).map(move |c| vec![(i, c)]);
            facts.iter().enumerate().flat_map(of).collect()
        }
        Op::Slice { starts, steps, .. } => {
            let at = |v: &[usize], or| v.first().copied().unwrap_or(or);
            (0..channels).map(|c| vec![(0, at(starts, 0) + c * at(steps, 1))]).collect()
        }
        Op::Pad { before, .. } => {
            let (first, inner) =
                (before.first().copied().unwrap_or(0), facts.first().map_or(0, |f| count(f)));
            let of = |c: usize| c.checked_sub(first).filter(|&c| c < inner).map(|c| (0, c));
            (0..channels).map(|c| of(c).into_iter().collect()).collect()
        }
        Op::Flatten | Op::Reshape { .. } => {
            let elements = node.fact.shape.elements();
            let per = elements / channels.max(1);
            let before = (elements / facts.first().map_or(1, |f| count(f)).max(1)).max(1);
            let of = |c: usize| c * per / before..=((c + 1) * per).saturating_sub(1) / before;
            (0..channels).map(|c| of(c).map(|from| (0, from)).collect()).collect()
        }
        _ => (0..channels).map(|c| (0..facts.len()).map(|i| (i, c)).collect()).collect(),
    }
}

/// Number of cells of an average, 1 for all else.
pub(super) fn cells(graph: &Graph, node: &Node) -> f64 {
    let image = node.inputs.first().and_then(|&w| graph.fact(w)).and_then(|f| f.shape.chw());
    match (&node.op, image) {
        (Op::AveragePool(p), _) => p.kernel[0] as f64 * p.kernel[1] as f64,
        (Op::GlobalAveragePool, Some((_, h, w))) => h as f64 * w as f64,
        _ => 1.0,
    }
}
