//! The graph all five systems plan over.

use crate::infer::output_shape;
use crate::op::{Op, WeightId};
use crate::{NnError, Shape, Zeros};

/// Names one wire: the output of the node of the same index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WireId(pub u32);

impl WireId {
    /// The index of the node that makes this wire.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is known about a wire without looking at values.
#[derive(Clone, PartialEq, Debug)]
pub struct Fact {
    /// Shape of one sample.
    pub shape: Shape,
    /// Bound on |value|, where one was published with the model. It depends on weights or calibration
    /// data, so publishing it is a declared leak.
    pub bound: Option<f64>,
    /// For a linear layer, the largest Euclidean norm of the weights that make one output, where it was
    /// published: what noise grows by. Depends on weights, so publishing it is a declared leak.
    pub row_norm: Option<f64>,
}

/// One operator with its inputs; its output wire has the node's own index.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// Name as in the model file.
    pub name: String,
    /// The operator.
    pub op: Op,
    /// The wires it reads, all made by earlier nodes.
    pub inputs: Vec<WireId>,
    /// What is known about its output.
    pub fact: Fact,
}

/// A directed acyclic graph in topological order: one input (node 0), one output, shapes inferred and
/// checked at insertion. Weights are referred to, not held.
#[derive(Clone, PartialEq, Debug)]
pub struct Graph {
    nodes: Vec<Node>,
    weights: Vec<WeightFact>,
    output: WireId,
}

/// Name and shape of one weight tensor; shapes are public, values are not, and which of them are zero only if published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WeightFact {
    /// Name as in the model file.
    pub name: String,
    /// Shape.
    pub shape: Shape,
    /// Which of its numbers are zero, where that was published. It depends on weights, so publishing it is a declared
    /// leak.
    pub zeros: Option<Zeros>,
}

impl Graph {
    /// The largest number of nodes and of weights.
    pub const MAX_NODES: usize = 4096;
    /// The longest name of a node or weight, in bytes.
    pub const MAX_NAME_BYTES: usize = 256;

    /// A graph that is its own input.
    pub fn new(input_name: &str, input: Shape) -> Self {
        let node = Node {
            name: clip(input_name),
            op: Op::Input,
            inputs: Vec::new(),
            fact: Fact { shape: input, bound: None, row_norm: None },
        };
        Self { nodes: vec![node], weights: Vec::new(), output: WireId(0) }
    }

    /// Declares a weight tensor.
    pub fn weight(&mut self, name: &str, shape: Shape) -> Result<WeightId, NnError> {
        let id = self.weights.len();
        limit("weights", id, Self::MAX_NODES)?;
        self.weights.push(WeightFact { name: clip(name), shape, zeros: None });
        Ok(WeightId(id as u32))
    }

    /// Appends a node, infers its output shape, and makes it the output of the graph.
    pub fn push(&mut self, name: &str, op: Op, inputs: &[WireId]) -> Result<WireId, NnError> {
        let id = self.nodes.len();
        limit("nodes", id, Self::MAX_NODES)?;
        let name = clip(name);
        let mut shapes = Vec::with_capacity(inputs.len());
        for &wire in inputs {
            match self.nodes.get(wire.index()) {
                Some(n) => shapes.push(&n.fact.shape),
                None => return Err(NnError::DanglingWire { node: name, wire: wire.0 }),
            }
        }
        let shape = output_shape(&name, &op, &shapes, &self.weights)?;
        self.nodes.push(Node {
            name,
            op,
            inputs: inputs.to_vec(),
            fact: Fact { shape, bound: None, row_norm: None },
        });
        self.output = WireId(id as u32);
        Ok(self.output)
    }

    /// Makes `wire` the output of the graph.
    pub fn set_output(&mut self, wire: WireId) -> Result<(), NnError> {
        if wire.index() >= self.nodes.len() {
            return Err(NnError::DanglingWire { node: "output".into(), wire: wire.0 });
        }
        self.output = wire;
        Ok(())
    }

    /// Publishes a bound on |value| of a wire. The bound must be finite and positive.
    pub fn set_bound(&mut self, wire: WireId, bound: f64) -> Result<(), NnError> {
        self.publish(wire, "bound", bound)?.bound = Some(bound);
        Ok(())
    }

    /// Publishes the largest row norm of the linear layer that makes `wire`; finite and positive.
    pub fn set_row_norm(&mut self, wire: WireId, norm: f64) -> Result<(), NnError> {
        self.publish(wire, "row norm", norm)?.row_norm = Some(norm);
        Ok(())
    }

    /// Publishes which numbers of a weight tensor are zero: one bit per number, of at most [`Zeros::MAX_WEIGHTS`] numbers
    /// in the whole graph.
    pub fn set_zeros(&mut self, id: WeightId, zeros: Zeros) -> Result<(), NnError> {
        let before: usize = self.weights.iter().filter_map(|w| w.zeros.as_ref()).map(Zeros::len).sum();
        let Some(fact) = self.weights.get_mut(id.0 as usize) else {
            return Err(NnError::BadWeight {
                name: format!("#{}", id.0),
                why: "is not declared by the graph".into(),
            });
        };
        let all = before - fact.zeros.as_ref().map_or(0, Zeros::len) + zeros.len();
        if zeros.len() != fact.shape.elements() {
            let why = format!("has shape {}, zeros of {} numbers are published", fact.shape, zeros.len());
            return Err(NnError::BadWeight { name: fact.name.clone(), why });
        }
        if all > Zeros::MAX_WEIGHTS {
            return Err(NnError::BadSize {
                what: "number of weights whose zeros are published".into(),
                found: all as u64,
                max: Zeros::MAX_WEIGHTS as u64,
            });
        }
        fact.zeros = Some(zeros);
        Ok(())
    }

    /// Whether it is published which weights are zero.
    pub fn publishes_zeros(&self) -> bool {
        self.weights.iter().any(|w| w.zeros.is_some())
    }

    fn publish(&mut self, wire: WireId, what: &str, value: f64) -> Result<&mut Fact, NnError> {
        match self.nodes.get_mut(wire.index()) {
            Some(node) if value.is_finite() && value > 0.0 => Ok(&mut node.fact),
            Some(node) => Err(NnError::BadNode {
                node: node.name.clone(),
                op: node.op.name(),
                why: format!("{what} {value} is not a positive number"),
            }),
            None => Err(NnError::DanglingWire { node: what.to_owned(), wire: wire.0 }),
        }
    }

    /// The nodes in topological order; node `i` makes wire `i`.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The declared weights; entry `i` belongs to [`WeightId`] `i`.
    pub fn weights(&self) -> &[WeightFact] {
        &self.weights
    }

    /// What is known about a wire; `None` if the graph has no such wire.
    pub fn fact(&self, wire: WireId) -> Option<&Fact> {
        self.nodes.get(wire.index()).map(|n| &n.fact)
    }

    /// The input wire.
    pub fn input(&self) -> WireId {
        WireId(0)
    }

    /// The output wire.
    pub fn output(&self) -> WireId {
        self.output
    }

    /// Shape of the input.
    pub fn input_shape(&self) -> &Shape {
        match self.nodes.first() {
            Some(n) => &n.fact.shape,
            None => unreachable!("a graph has its input node from construction on"),
        }
    }

    /// Shape of the output.
    pub fn output_shape(&self) -> &Shape {
        match self.nodes.get(self.output.index()) {
            Some(n) => &n.fact.shape,
            None => unreachable!("the output is checked to be a node"),
        }
    }

    /// The nodes that read `wire`.
    pub fn readers(&self, wire: WireId) -> impl Iterator<Item = (WireId, &Node)> {
        self.nodes
            .iter()
            .enumerate()
            .filter(move |(_, n)| n.inputs.contains(&wire))
            .map(|(i, n)| (WireId(i as u32), n))
    }
}

fn limit(what: &str, found: usize, max: usize) -> Result<(), NnError> {
    if found >= max {
        return Err(NnError::BadSize {
            what: format!("number of {what}"),
            found: found as u64 + 1,
            max: max as u64,
        });
    }
    Ok(())
}

/// Cuts a name to [`Graph::MAX_NAME_BYTES`] at a character boundary.
fn clip(name: &str) -> String {
    let mut end = name.len().min(Graph::MAX_NAME_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.get(..end).unwrap_or_default().to_owned()
}
