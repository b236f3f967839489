//! The float reference: what a model computes, in the clear, in 32-bit arithmetic.

pub(crate) mod layout;
pub(crate) mod linear;
pub(crate) mod pool;

use crate::{Graph, Model, NnError, Op, Tensor, WeightId, Weights, WireId};

/// The model's output for one sample.
///
/// Errors if the input has another shape than the graph's, or if any wire takes a value that is not
/// finite (the error names the node that made it).
pub fn run(model: &Model, input: &Tensor) -> Result<Tensor, NnError> {
    run_graph(&model.public.graph, &model.weights, input)
}

/// As [`run`], for a graph and its weights.
pub fn run_graph(graph: &Graph, weights: &Weights, input: &Tensor) -> Result<Tensor, NnError> {
    let mut last_reader = vec![0; graph.nodes().len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        for wire in &node.inputs {
            last_reader[wire.index()] = i;
        }
    }
    last_reader[graph.output().index()] = usize::MAX;
    let mut wires = walk(graph, weights, input, |i, wires| {
        if let Some(node) = graph.nodes().get(i) {
            for wire in node.inputs.iter().filter(|w| last_reader[w.index()] == i) {
                wires[wire.index()] = None;
            }
        }
    })?;
    match wires.get_mut(graph.output().index()).and_then(Option::take) {
        Some(y) => Ok(y),
        None => unreachable!("the output wire is made by a node and never dropped"),
    }
}

/// The values of all wires for one sample; entry `i` is the output of node `i`.
pub fn wires(graph: &Graph, weights: &Weights, input: &Tensor) -> Result<Vec<Tensor>, NnError> {
    Ok(walk(graph, weights, input, |_, _| {})?.into_iter().flatten().collect())
}

/// The largest |value| each wire takes over some samples; entry `i` belongs to wire `i`.
pub fn max_abs<'a>(
    graph: &Graph,
    weights: &Weights,
    inputs: impl IntoIterator<Item = &'a Tensor>,
) -> Result<Vec<f32>, NnError> {
    let mut max = vec![0.0f32; graph.nodes().len()];
    for input in inputs {
        for (m, wire) in max.iter_mut().zip(wires(graph, weights, input)?) {
            *m = m.max(wire.max_abs());
        }
    }
    Ok(max)
}

/// Evaluates node after node; `done` is told the index of each, and may drop wires nobody reads any more.
fn walk(
    graph: &Graph,
    weights: &Weights,
    input: &Tensor,
    mut done: impl FnMut(usize, &mut [Option<Tensor>]),
) -> Result<Vec<Option<Tensor>>, NnError> {
    if input.shape() != graph.input_shape() {
        return Err(NnError::ShapeMismatch {
            what: "the input".into(),
            expected: graph.input_shape().clone(),
            found: input.shape().clone(),
        });
    }
    weights.belong_to(graph)?;
    let mut wires: Vec<Option<Tensor>> = vec![None; graph.nodes().len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        let y = match node.inputs.as_slice() {
            [] => input.clone(),
            [x] => unary(&node.op, node, weights, wire(&wires, *x))?,
            inputs if matches!(node.op, Op::Concat { .. }) => {
                let values = inputs.iter().flat_map(|x| wire(&wires, *x).data()).copied().collect();
                Tensor::new(node.fact.shape.clone(), values)?
            }
            [a, b, ..] => sum(wire(&wires, *a), wire(&wires, *b))?,
        };
        if !y.data().iter().all(|v| v.is_finite()) {
            return Err(NnError::NotFinite {
                what: format!("the output of node `{}` ({})", node.name, node.op.name()),
            });
        }
        wires[i] = Some(y);
        done(i, &mut wires);
    }
    Ok(wires)
}

fn wire(wires: &[Option<Tensor>], id: WireId) -> &Tensor {
    match wires.get(id.index()) {
        Some(Some(t)) => t,
        _ => unreachable!("a graph is in topological order and wires live until their last reader"),
    }
}

/// One operator of one input; shapes were checked when the node was pushed.
fn unary(op: &Op, node: &crate::Node, weights: &Weights, x: &Tensor) -> Result<Tensor, NnError> {
    let to = node.fact.shape.clone();
    let values = |id: WeightId| weights.get(id).data();
    match op {
        Op::Input | Op::Identity | Op::Concat { .. } => Ok(x.clone()),
        Op::Conv(conv) => {
            let shapes = [x.shape(), &to];
            let y = linear::conv(conv, values(conv.weight), conv.bias.map(values), x.data(), shapes)?;
            Tensor::new(to, y)
        }
        Op::Dense { out, weight, bias } => {
            Tensor::new(to, linear::dense(values(*weight), bias.map(values), x.data(), *out)?)
        }
        Op::Add => sum(x, x),
        Op::AddConst { value } => broadcast(x, weights.get(*value), |x, c| x + c),
        Op::MulConst { value } => broadcast(x, weights.get(*value), |x, c| x * c),
        Op::Square => map(x, |v| v * v),
        Op::Relu => map(x, |v| v.max(0.0)),
        Op::Clip { min, max } => map(x, |v| v.max(*min).min(*max)),
        Op::AveragePool(p) => {
            let y = pool::average(p, x.data(), [x.shape(), &to]);
            Tensor::new(to, y)
        }
        Op::GlobalAveragePool => pool::global_average(x, to),
        Op::MaxPool(p) => {
            let y = pool::max(p, x.data(), [x.shape(), &to]);
            Tensor::new(to, y)
        }
        Op::Flatten | Op::Reshape { .. } => x.clone().reshaped(to),
        Op::BatchNorm { scale, bias, mean, var, epsilon } => {
            let y = x.clone();
            batch_norm(y, values(*scale), values(*bias), values(*mean), values(*var), *epsilon)
        }
        Op::Slice { starts, steps, .. } => {
            let y = layout::slice(x.data(), starts, steps, [x.shape(), &to]);
            Tensor::new(to, y)
        }
        Op::Pad { before, value, .. } => {
            let y = layout::pad(x.data(), before, *value, [x.shape(), &to]);
            Tensor::new(to, y)
        }
    }
}

fn map(x: &Tensor, f: impl Fn(f32) -> f32) -> Result<Tensor, NnError> {
    Tensor::new(x.shape().clone(), x.data().iter().map(|&v| f(v)).collect())
}

fn sum(a: &Tensor, b: &Tensor) -> Result<Tensor, NnError> {
    let y = a.data().iter().zip(b.data()).map(|(a, b)| a + b).collect();
    Tensor::new(a.shape().clone(), y)
}

/// Applies a constant of the wire's shape, of one element, or of one value per channel.
fn broadcast(x: &Tensor, c: &Tensor, f: impl Fn(f32, f32) -> f32) -> Result<Tensor, NnError> {
    let per = if c.shape() == x.shape() {
        1
    } else if c.data().len() == 1 {
        x.data().len()
    } else {
        channel_len(x)
    };
    let chunks = x.data().chunks(per.max(1)).zip(c.data());
    let y = chunks.flat_map(|(x, &c)| x.iter().map(move |&v| (v, c))).map(|(v, c)| f(v, c)).collect();
    Tensor::new(x.shape().clone(), y)
}

/// Number of elements of each channel: of each index of the first axis.
fn channel_len(x: &Tensor) -> usize {
    x.data().len() / x.shape().dims().first().copied().unwrap_or(1).max(1)
}

fn batch_norm(
    mut y: Tensor,
    scale: &[f32],
    bias: &[f32],
    mean: &[f32],
    var: &[f32],
    epsilon: f32,
) -> Result<Tensor, NnError> {
    let per = channel_len(&y).max(1);
    let params = scale.iter().zip(bias).zip(mean.iter().zip(var));
    for (channel, ((&scale, &bias), (&mean, &var))) in y.data_mut().chunks_mut(per).zip(params) {
        let scale = scale / (var + epsilon).sqrt();
        channel.iter_mut().for_each(|v| *v = (*v - mean) * scale + bias);
    }
    Ok(y)
}

#[cfg(test)]
mod tests;
