//! From the parsed file to a graph and its weights.

use crate::attributes::Attributes;
use crate::ops::{self, Handler};
use crate::proto::{GraphProto, ModelProto, NodeProto, ValueInfoProto, tensor_shape_proto::dimension};
use crate::scan::scan;
use crate::value::{Value, type_name};
use crate::{MAX_FILE_BYTES, MAX_WEIGHT_ELEMENTS, OnnxError};
use oblivia_nn::{Graph, Op, Shape, Tensor, WeightId, Weights, WireId};
use prost::Message;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Operator sets whose rules the operators here follow.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=25;

/// An ONNX file's content.
#[derive(Debug, Clone)]
pub struct Imported {
    /// Name of the graph in the file; may be empty.
    pub name: String,
    /// The structure.
    pub graph: Graph,
    /// The weights the structure refers to.
    pub weights: Weights,
    /// The wire of each tensor that depends on the input, by its name in the file.
    pub tensors: BTreeMap<String, WireId>,
    /// Name of the output tensor; the input's is the name of the first node.
    pub output: String,
    /// What the file does with the output and the graph does not.
    pub ending: Ending,
}

/// What stood between a graph's output and the file's. The output keeps the file's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nothing.
    Plain,
    /// Softmax or its logarithm: outputs are what it would be taken of.
    Softmax,
    /// ArgMax: whoever made the file meant the class alone to be given.
    ArgMax,
}

/// Reads an ONNX file given as bytes.
pub fn import(bytes: &[u8]) -> Result<Imported, OnnxError> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(OnnxError::TooLarge {
            what: "bytes of the ONNX file".into(),
            found: bytes.len() as u64,
            max: MAX_FILE_BYTES,
        });
    }
    scan(bytes)?;
    let model =
        ModelProto::decode(bytes).map_err(|e| OnnxError::Corrupt { at: 0, why: format!("{e} somewhere") })?;
    check_model(&model)?;
    let Some(graph) = model.graph else {
        return Err(bad_model("holds no graph; this may not be an ONNX file"));
    };
    from_graph(graph)
}

fn bad_model(why: impl Into<String>) -> OnnxError {
    OnnxError::BadModel { why: why.into() }
}

fn check_model(model: &ModelProto) -> Result<(), OnnxError> {
    if !model.functions.is_empty() {
        return Err(bad_model("defines functions of its own, which is not supported; export it inlined"));
    }
    let default = |domain: &str| matches!(domain, "" | "ai.onnx");
    let Some(opset) = model.opset_import.iter().find(|o| default(&o.domain)) else {
        return Err(bad_model(
            "imports no version of the standard operator set; this may not be an ONNX file",
        ));
    };
    if !OPSETS.contains(&opset.version) {
        return Err(bad_model(format!(
            "uses operator set {}; {} to {} are known, export it with one of them",
            opset.version,
            OPSETS.start(),
            OPSETS.end()
        )));
    }
    Ok(())
}

fn from_graph(mut graph: GraphProto) -> Result<Imported, OnnxError> {
    if !graph.sparse_initializer.is_empty() {
        return Err(bad_model("has sparse weights, which are not supported; export it with dense ones"));
    }
    let (ending, cuts) = take_ending(&mut graph)?;
    let handlers = handlers(&graph.node)?;
    let mut constants = BTreeMap::new();
    for tensor in graph.initializer {
        let name = tensor.name.clone();
        let value = Value::from_proto(tensor, "initializer without a name")?;
        if constants.insert(name.clone(), Known::Constant(Rc::new(value))).is_some() {
            return Err(bad_model(format!("defines the tensor `{}` twice", tidy(&name))));
        }
    }
    let mut inputs = graph.input.iter().filter(|i| !constants.contains_key(&i.name));
    let (Some(input), None) = (inputs.next(), inputs.next()) else {
        return Err(bad_model("must have exactly one input that is not a weight"));
    };
    let [output] = graph.output.as_slice() else {
        return Err(bad_model(format!("has {} outputs; exactly one is supported", graph.output.len())));
    };
    let mut cx = Import {
        graph: Graph::new(&tidy(&input.name), input_shape(input)?),
        tensors: Vec::new(),
        elements: 0,
        known: constants,
    };
    cx.known.insert(input.name.clone(), Known::Wire(WireId(0)));
    for (node, handler) in graph.node.into_iter().zip(handlers) {
        cx.node(node, handler)?;
    }
    let made = cuts.last().map_or(&output.name, |cut| &cut.tensor);
    let wire = match cx.known.get(made) {
        Some(Known::Wire(wire)) => *wire,
        Some(Known::Constant(_)) => {
            return Err(bad_model(format!("has the output `{}`, which is constant", tidy(&output.name))));
        }
        None => {
            return Err(bad_model(format!("has the output `{}`, which no node makes", tidy(&output.name))));
        }
    };
    cx.graph.set_output(wire)?;
    cuts.iter().try_for_each(|cut| cut.check(cx.graph.output_shape()))?;
    cx.known.insert(output.name.clone(), Known::Wire(wire));
    let weights = Weights::new(&cx.graph, cx.tensors)?;
    let tensors = cx.known.into_iter().filter_map(|(name, known)| match known {
        Known::Wire(wire) => Some((name, wire)),
        Known::Constant(_) => None,
    });
    Ok(Imported {
        name: graph.name,
        graph: cx.graph,
        weights,
        tensors: tensors.collect(),
        output: output.name.clone(),
        ending,
    })
}

/// A node cut off the end.
struct Cut {
    /// The tensor it reads.
    tensor: String,
    /// The axis it works along, as in the file.
    axis: i64,
    attributes: Attributes,
}

impl Cut {
    /// Checks that the axis holds all outputs of a sample.
    fn check(&self, shape: &Shape) -> Result<(), OnnxError> {
        let rank = shape.dims().len() as i64 + 1;
        let axis = if self.axis < 0 { self.axis.saturating_add(rank) } else { self.axis };
        let size = usize::try_from(axis).ok().and_then(|a| shape.dims().get(a.checked_sub(1)?));
        match size {
            Some(&size) if size == shape.elements() => Ok(()),
            _ => Err(self.attributes.unsupported(
                format!("axis {} of samples of shape {shape}", self.axis),
                "it must be the axis of the classes",
            )),
        }
    }
}

/// Takes the nodes that make the output off the graph, last first, as long as they are endings; their axes are checked by
/// the caller, once shapes are known.
fn take_ending(graph: &mut GraphProto) -> Result<(Ending, Vec<Cut>), OnnxError> {
    let Some(output) = graph.output.first().map(|o| o.name.clone()) else {
        return Ok((Ending::Plain, Vec::new()));
    };
    let (mut ending, mut cuts): (Ending, Vec<Cut>) = (Ending::Plain, Vec::new());
    loop {
        let name = cuts.last().map_or(&output, |c| &c.tensor);
        let standard = |n: &NodeProto| matches!(n.domain.as_str(), "" | "ai.onnx");
        let makes = |n: &NodeProto| n.output.first() == Some(name) && standard(n);
        let Some(at) = graph.node.iter().position(makes) else { break };
        let Some(node) = graph.node.get(at) else { break };
        let arg_max = match (node.op_type.as_str(), ending) {
            ("ArgMax", Ending::Plain) => true,
            ("Softmax" | "LogSoftmax", _) => false,
            _ => break,
        };
        if graph.node.iter().any(|n| n.input.contains(name)) {
            break;
        }
        let node = graph.node.remove(at);
        let mut attributes = Attributes::new(&display_name(&node), &node.op_type, node.attribute)?;
        let axis = attributes.int("axis")?.unwrap_or(if arg_max { 0 } else { -1 });
        attributes.ignore("keepdims");
        attributes.only("select_last_index", 0, "the first of equal classes is given")?;
        attributes.finish()?;
        let Some(tensor) = node.input.into_iter().next() else {
            return Err(attributes.bad("lacks input 0".into()));
        };
        if arg_max || ending == Ending::Plain {
            ending = if arg_max { Ending::ArgMax } else { Ending::Softmax };
        }
        cuts.push(Cut { tensor, axis, attributes });
    }
    Ok((ending, cuts))
}

/// The handler of every node, or one error that lists all operators without one.
fn handlers(nodes: &[NodeProto]) -> Result<Vec<Handler>, OnnxError> {
    let mut found = Vec::with_capacity(nodes.len());
    let mut missing: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for node in nodes {
        let standard = matches!(node.domain.as_str(), "" | "ai.onnx");
        match ops::handler(&node.op_type).filter(|_| standard) {
            Some(handler) => found.push(handler),
            None => {
                let domain = if standard { String::new() } else { format!("{}.", node.domain) };
                let entry = missing.entry(tidy(&format!("{domain}{}", node.op_type)));
                entry.or_insert((0, display_name(node))).0 += 1;
            }
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    const SHOWN: usize = 20;
    let mut operators: Vec<String> = missing
        .iter()
        .take(SHOWN)
        .map(|(op, (uses, first))| match uses {
            1 => format!("{op} (node `{first}`)"),
            _ => format!("{op} ({uses} times, first in node `{first}`)"),
        })
        .collect();
    if missing.len() > SHOWN {
        operators.push(format!("and {} more", missing.len() - SHOWN));
    }
    Err(OnnxError::UnsupportedOperators {
        operators: operators.join(", "),
        known: ops::operators().collect::<Vec<_>>().join(" "),
    })
}

fn display_name(node: &NodeProto) -> String {
    tidy(if node.name.is_empty() { node.output.first().map_or("?", String::as_str) } else { &node.name })
}

/// A name fit for messages: no control characters, and short.
pub(crate) fn tidy(name: &str) -> String {
    const MAX_CHARS: usize = 120;
    name.chars().take(MAX_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The input's shape without its batch axis.
fn input_shape(input: &ValueInfoProto) -> Result<Shape, OnnxError> {
    let name = tidy(&input.name);
    let tensor = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let Some((tensor, shape)) = tensor.and_then(|t| Some((t, t.shape.as_ref()?))) else {
        return Err(bad_model(format!("has the input `{name}` without a tensor shape; export it with one")));
    };
    if tensor.elem_type != 1 {
        let found = type_name(tensor.elem_type);
        return Err(bad_model(format!("has the input `{name}` of type {found}; only float32 is supported")));
    }
    let sizes: Vec<Option<i64>> = shape
        .dim
        .iter()
        .map(|d| match d.value {
            Some(dimension::Value::DimValue(v)) => Some(v),
            _ => None,
        })
        .collect();
    let Some((batch, axes)) = sizes.split_first() else {
        return Err(bad_model(format!("has a scalar input `{name}`; a batch axis must come first")));
    };
    if let Some(fixed @ (2.. | ..=-1)) = batch {
        return Err(bad_model(format!(
            "has the input `{name}` with a fixed batch of {fixed}; export it with batch 1 or a symbolic batch axis"
        )));
    }
    let axes: Option<Vec<usize>> = axes.iter().map(|&d| usize::try_from(d?).ok()).collect();
    match axes {
        Some(axes) => Ok(Shape::new(axes)?),
        None => Err(bad_model(format!(
            "has the input `{name}` with an axis of no fixed size; export it with fixed sizes (except the batch)"
        ))),
    }
}

/// What is known of a tensor of the file.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    /// It depends on the input.
    Wire(WireId),
    /// It does not.
    Constant(Rc<Value>),
}

/// The graph being built.
pub(crate) struct Import {
    graph: Graph,
    tensors: Vec<Tensor>,
    elements: usize,
    known: BTreeMap<String, Known>,
}

/// One node of the file with its inputs looked up.
pub(crate) struct Node {
    pub(crate) name: String,
    /// Inputs; `None` for an optional one left out.
    pub(crate) inputs: Vec<Option<Known>>,
    pub(crate) attributes: Attributes,
}

impl Import {
    fn node(&mut self, node: NodeProto, handler: Handler) -> Result<(), OnnxError> {
        let name = display_name(&node);
        let attributes = Attributes::new(&name, &node.op_type, node.attribute)?;
        let mut inputs = Vec::with_capacity(node.input.len());
        for tensor in &node.input {
            let known = match self.known.get(tensor) {
                _ if tensor.is_empty() => None,
                Some(known) => Some(known.clone()),
                None => {
                    let why = format!("reads the tensor `{}`, which nothing before it makes", tidy(tensor));
                    return Err(attributes.bad(why));
                }
            };
            inputs.push(known);
        }
        let mut outputs = node.output.into_iter();
        let Some(output) = outputs.next().filter(|o| !o.is_empty()) else {
            return Err(attributes.bad("has no output".into()));
        };
        let mut node = Node { name, inputs, attributes };
        let known = handler(self, &mut node)?;
        node.attributes.finish()?;
        if self.known.insert(output.clone(), known).is_some() {
            return Err(node.attributes.bad(format!("makes the tensor `{}` a second time", tidy(&output))));
        }
        // Further outputs (masks, indices) stay unknown: whoever reads one gets an error that names it.
        Ok(())
    }

    /// Shape of a wire, without the batch axis.
    pub(crate) fn shape(&self, wire: WireId) -> &Shape {
        self.graph.fact(wire).map_or_else(|| self.graph.input_shape(), |f| &f.shape)
    }

    /// Declares a weight and keeps its values.
    pub(crate) fn weight(
        &mut self,
        name: &str,
        dims: &[usize],
        data: Vec<f32>,
    ) -> Result<WeightId, OnnxError> {
        self.reserve(data.len())?;
        let shape = Shape::new(dims)?;
        let id = self.graph.weight(name, shape.clone())?;
        self.tensors.push(Tensor::new(shape, data)?);
        Ok(id)
    }

    /// Counts weight elements before they are made.
    fn reserve(&mut self, elements: usize) -> Result<(), OnnxError> {
        self.elements = self.elements.saturating_add(elements);
        if self.elements > MAX_WEIGHT_ELEMENTS {
            return Err(OnnxError::TooLarge {
                what: "elements of all weights".into(),
                found: self.elements as u64,
                max: MAX_WEIGHT_ELEMENTS as u64,
            });
        }
        Ok(())
    }

    /// Whether a weight of `elements` more elements would be accepted.
    pub(crate) fn room_for(&self, elements: usize) -> bool {
        self.elements.saturating_add(elements) <= MAX_WEIGHT_ELEMENTS
    }

    /// Appends a node to the graph.
    pub(crate) fn push(&mut self, name: &str, op: Op, inputs: &[WireId]) -> Result<Known, OnnxError> {
        Ok(Known::Wire(self.graph.push(name, op, inputs)?))
    }
}

impl Node {
    /// The wire that must be input `i`.
    pub(crate) fn wire(&self, i: usize) -> Result<WireId, OnnxError> {
        match self.input(i) {
            Some(Known::Wire(wire)) => Ok(*wire),
            Some(Known::Constant(c)) => Err(self.attributes.unsupported(
                format!("the constant `{}` as input {i}", c.name),
                "simplify the model so that constant parts are computed ahead",
            )),
            None => Err(self.attributes.bad(format!("lacks input {i}"))),
        }
    }

    /// The constant that may be input `i`.
    pub(crate) fn constant(&self, i: usize) -> Result<Option<Rc<Value>>, OnnxError> {
        match self.input(i) {
            Some(Known::Constant(c)) => Ok(Some(c.clone())),
            Some(Known::Wire(_)) => Err(self.attributes.unsupported(
                format!("input {i} that depends on the model's input"),
                "it must be a constant in the file",
            )),
            None => Ok(None),
        }
    }

    /// The constant that must be input `i`.
    pub(crate) fn required(&self, i: usize) -> Result<Rc<Value>, OnnxError> {
        self.constant(i)?.ok_or_else(|| self.attributes.bad(format!("lacks input {i}")))
    }

    /// Input `i`, if it is given.
    pub(crate) fn input(&self, i: usize) -> Option<&Known> {
        self.inputs.get(i).and_then(Option::as_ref)
    }

    /// The integers that may be given as input `i` or, in older operator sets, as an attribute.
    pub(crate) fn ints(&mut self, i: usize, attribute: &str) -> Result<Option<Vec<i64>>, OnnxError> {
        if let Some(old) = self.attributes.ints(attribute)? {
            return Ok(Some(old));
        }
        let Some(value) = self.constant(i)? else { return Ok(None) };
        match value.ints() {
            Some(ints) => Ok(Some(ints.to_vec())),
            None => Err(self.attributes.bad(format!("input {i} must hold integers"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_constant_used_in_many_places_counts_each_time() {
        let graph = Graph::new("x", Shape::new([1]).unwrap());
        let elements = MAX_WEIGHT_ELEMENTS - 3;
        let mut cx = Import { graph, tensors: Vec::new(), elements, known: BTreeMap::new() };
        cx.weight("w", &[2], vec![0.0; 2]).unwrap();
        assert!(cx.room_for(1) && !cx.room_for(2));
        assert!(matches!(cx.weight("w", &[2], vec![0.0; 2]), Err(OnnxError::TooLarge { .. })));
    }
}
