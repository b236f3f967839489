//! Maxima before ReLU: the same values from fewer comparisons.

use crate::{Graph, NnError, Node, Op, WireId};

/// Moves max-pooling ahead of ReLU and Clip, which commute with maxima exactly: `MaxPool(Relu(x))` becomes
/// `Relu(MaxPool(x))`, and `MaxPool(Concat(Relu(x), Relu(y), …))` becomes `Relu(MaxPool(Concat(x, y, …)))`, where nothing
/// else reads what is between. Weights keep their ids. A node that moves keeps its name; a pooling takes over the bounds of
/// what it now reads, a ReLU those of the pooling.
///
/// # Errors
/// None for a graph that was built by [`Graph::push`].
pub fn pool_first(graph: &Graph) -> Result<Graph, NnError> {
    let mut graph = graph.clone();
    // Every round moves at least one pooling ahead of something.
    for _ in 0..graph.nodes().len() {
        match round(&graph)? {
            Some(next) => graph = next,
            None => break,
        }
    }
    Ok(graph)
}

/// What a pooling changes places with: a lone activation, or a concatenation of activations.
struct Swap {
    concat: Option<usize>,
    activations: Vec<usize>,
}

fn round(old: &Graph) -> Result<Option<Graph>, NnError> {
    let mut readers = vec![0usize; old.nodes().len()];
    for wire in old.nodes().iter().flat_map(|n| &n.inputs) {
        readers[wire.index()] += 1;
    }
    readers[old.output().index()] += 1;
    let swaps: Vec<Option<Swap>> = old.nodes().iter().map(|n| swap(old, n, &readers)).collect();
    if swaps.iter().all(Option::is_none) {
        return Ok(None);
    }
    let mut gone = vec![false; old.nodes().len()];
    for swap in swaps.iter().flatten() {
        swap.concat.iter().chain(&swap.activations).for_each(|&i| gone[i] = true);
    }
    let Some(input) = old.nodes().first() else { return Ok(None) };
    let mut out =
        Rebuild { graph: Graph::new(&input.name, input.fact.shape.clone()), wires: vec![WireId(0)] };
    for weight in old.weights() {
        let id = out.graph.weight(&weight.name, weight.shape.clone())?;
        weight.zeros.iter().try_for_each(|zeros| out.graph.set_zeros(id, zeros.clone()))?;
    }
    out.facts(WireId(0), input.fact.bound, None)?;
    for (i, node) in old.nodes().iter().enumerate().skip(1) {
        let wire = match (&swaps[i], gone[i]) {
            (_, true) => WireId(0),
            (None, false) => out.copy(node, &node.inputs)?,
            (Some(swap), false) => out.swapped(old, node, swap)?,
        };
        out.wires.push(wire);
    }
    let output = out.wires[old.output().index()];
    out.graph.set_output(output)?;
    Ok(Some(out.graph))
}

/// What stands before a pooling and has no other reader.
fn swap(graph: &Graph, node: &Node, readers: &[usize]) -> Option<Swap> {
    let (Op::MaxPool(_), [x]) = (&node.op, &node.inputs[..]) else { return None };
    let lone = |w: &WireId| {
        let before = graph.nodes().get(w.index())?;
        (readers[w.index()] == 1).then_some((w.index(), before))
    };
    let (at, before) = lone(x)?;
    match &before.op {
        Op::Relu | Op::Clip { .. } => Some(Swap { concat: None, activations: vec![at] }),
        Op::Concat { .. } => {
            let found: Option<Vec<(usize, &Node)>> = before.inputs.iter().map(lone).collect();
            let found = found?;
            let (_, first) = found.first()?;
            let activation = matches!(first.op, Op::Relu | Op::Clip { .. });
            (activation && found.iter().all(|(_, n)| n.op == first.op))
                .then(|| Swap { concat: Some(at), activations: found.iter().map(|(i, _)| *i).collect() })
        }
        _ => None,
    }
}

struct Rebuild {
    graph: Graph,
    /// The new name of each old wire.
    wires: Vec<WireId>,
}

impl Rebuild {
    fn facts(&mut self, wire: WireId, bound: Option<f64>, norm: Option<f64>) -> Result<(), NnError> {
        bound.map_or(Ok(()), |b| self.graph.set_bound(wire, b))?;
        norm.map_or(Ok(()), |n| self.graph.set_row_norm(wire, n))
    }

    /// `node` on what old wires have become.
    fn copy(&mut self, node: &Node, inputs: &[WireId]) -> Result<WireId, NnError> {
        let inputs: Vec<WireId> = inputs.iter().map(|w| self.wires[w.index()]).collect();
        let wire = self.graph.push(&node.name, node.op.clone(), &inputs)?;
        self.facts(wire, node.fact.bound, node.fact.row_norm)?;
        Ok(wire)
    }

    /// The pooling `node`, then the activation that stood before it.
    fn swapped(&mut self, old: &Graph, node: &Node, swap: &Swap) -> Result<WireId, NnError> {
        let before = |i: usize| old.nodes()[i].inputs[0];
        let bounds = swap.activations.iter().map(|&i| old.fact(before(i)).and_then(|f| f.bound));
        let bound = bounds.reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b))).flatten();
        let mut inputs: Vec<WireId> =
            swap.activations.iter().map(|&i| self.wires[before(i).index()]).collect();
        if let Some(concat) = swap.concat {
            let concat = &old.nodes()[concat];
            inputs = vec![self.graph.push(&concat.name, concat.op.clone(), &inputs)?];
            self.facts(inputs[0], bound, None)?;
        }
        let pooled = self.graph.push(&node.name, node.op.clone(), &inputs)?;
        self.facts(pooled, bound, None)?;
        let activation = &old.nodes()[swap.activations[0]];
        let wire = self.graph.push(&activation.name, activation.op.clone(), &[pooled])?;
        self.facts(wire, node.fact.bound, None)?;
        Ok(wire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Build, random_input, random_model};
    use crate::{Model, Pool, eval};
    use proptest::prelude::*;

    fn window(kernel: usize, stride: usize, pad: usize) -> Op {
        let (kernel, stride) = ([kernel; 2], [stride; 2]);
        Op::MaxPool(Pool { kernel, stride, pads: [pad; 4], count_include_pad: false })
    }

    fn ops(graph: &Graph) -> Vec<&str> {
        graph.nodes().iter().map(|n| n.name.as_str()).collect()
    }

    fn same(model: &Model) -> Graph {
        let graph = pool_first(&model.public.graph).unwrap();
        let x = random_input(model, 5);
        let (before, after) =
            (eval::run(model, &x).unwrap(), eval::run_graph(&graph, &model.weights, &x).unwrap());
        assert_eq!(before, after, "the same bits");
        graph
    }

    #[test]
    fn pooling_moves_before_one_relu_and_before_a_chain() {
        let mut b = Build::new(1, [2, 9, 9]);
        b.conv("conv", 3, [3, 3], [1, 1], [0; 4], 1, true);
        b.bound(7.0);
        b.op("relu", Op::Relu);
        b.bound(5.0);
        b.op("pool", window(3, 2, 1));
        b.bound(4.0);
        b.op("clip", Op::Clip { min: 0.0, max: 0.4 });
        b.op("pool2", window(2, 2, 0));
        let graph = same(&b.finish());
        assert_eq!(ops(&graph), ["x", "conv", "pool", "pool2", "relu", "clip"]);
        let bounds: Vec<_> = graph.nodes().iter().map(|n| n.fact.bound).collect();
        assert_eq!(bounds, [None, Some(7.0), Some(7.0), Some(7.0), Some(4.0), None]);
    }

    #[test]
    fn pooling_moves_before_the_relus_of_a_concatenation_alone() {
        for other in [Op::Relu, Op::Clip { min: 0.0, max: 6.0 }] {
            let mut b = Build::new(1, [2, 6, 6]);
            let x = b.op("x2", Op::Identity);
            b.conv("a", 3, [1, 1], [1, 1], [0; 4], 1, true);
            let left = b.op("relu_a", Op::Relu);
            b.push("x3", Op::Identity, &[x]);
            b.conv("b", 2, [3, 3], [1, 1], [1; 4], 1, true);
            let right = b.op("act_b", other.clone());
            b.push("join", Op::Concat { count: 2 }, &[left, right]);
            b.op("pool", window(2, 2, 0));
            let graph = same(&b.finish());
            match other {
                Op::Relu => assert_eq!(ops(&graph), ["x", "x2", "a", "x3", "b", "join", "pool", "relu_a"]),
                _ => assert_eq!(graph.nodes().len(), 9, "activations differ: nothing moves"),
            }
        }
    }

    #[test]
    fn what_something_else_reads_stays() {
        let mut b = Build::new(1, [2, 4, 4]);
        let relu = b.op("relu", Op::Relu);
        b.op("pool", window(3, 1, 1));
        b.add("sum", relu);
        assert_eq!(ops(&same(&b.finish())), ["x", "relu", "pool", "sum"]);
        let mut b = Build::new(1, [2, 4, 4]);
        let relu = b.op("relu", Op::Relu);
        b.op("pool", window(3, 1, 1));
        b.output(relu);
        assert_eq!(ops(&same(&b.finish())), ["x", "relu", "pool"]);
    }

    proptest! {
        #[test]
        fn random_networks_keep_their_output(seed: u64) {
            same(&random_model(seed));
        }
    }
}
