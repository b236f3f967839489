//! Elementwise operators and batch normalisation.

use crate::OnnxError;
use crate::import::{Import, Known, Node};
use crate::value::Value;
use oblivia_nn::{Op, WeightId, WireId};

pub(super) fn add(cx: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    match operands(node)? {
        Operands::Wires(a, b) => sum(cx, node, a, b),
        Operands::Right(x, c) | Operands::Left(c, x) => {
            let value = broadcast(cx, node, x, &c, |v| v)?;
            cx.push(&node.name, Op::AddConst { value }, &[x])
        }
    }
}

/// `a − b`; with wires on both sides as `a + (−1)·b`.
pub(super) fn sub(cx: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    match operands(node)? {
        Operands::Wires(a, b) => {
            let minus = negate(cx, node, b)?;
            sum(cx, node, a, minus)
        }
        Operands::Right(x, c) => {
            let value = broadcast(cx, node, x, &c, |v| -v)?;
            cx.push(&node.name, Op::AddConst { value }, &[x])
        }
        Operands::Left(c, x) => {
            let value = broadcast(cx, node, x, &c, |v| v)?;
            let minus = negate(cx, node, x)?;
            cx.push(&node.name, Op::AddConst { value }, &[minus])
        }
    }
}

pub(super) fn mul(cx: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    match operands(node)? {
        Operands::Wires(a, b) if a == b => cx.push(&node.name, Op::Square, &[a]),
        Operands::Wires(..) => Err(node.attributes.unsupported(
            "the product of two different tensors",
            "only x·x and products with constants are handled",
        )),
        Operands::Right(x, c) | Operands::Left(c, x) => {
            let value = broadcast(cx, node, x, &c, |v| v)?;
            cx.push(&node.name, Op::MulConst { value }, &[x])
        }
    }
}

/// Division by a constant, as a product with its inverse.
pub(super) fn div(cx: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    match operands(node)? {
        Operands::Right(x, c) => {
            let value = broadcast(cx, node, x, &c, |v| 1.0 / v)?;
            cx.push(&node.name, Op::MulConst { value }, &[x])
        }
        Operands::Wires(..) | Operands::Left(..) => Err(node.attributes.unsupported(
            "division by a tensor that is not constant",
            "only division by constants is handled",
        )),
    }
}

/// The square alone.
pub(super) fn pow(cx: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    let x = node.wire(0)?;
    if node.required(1)?.scalar() == Some(2.0) {
        return cx.push(&node.name, Op::Square, &[x]);
    }
    Err(node.attributes.unsupported("an exponent other than 2", "only the square is handled"))
}

pub(super) fn relu(cx: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    let x = node.wire(0)?;
    cx.push(&node.name, Op::Relu, &[x])
}

/// Bounds are inputs or, before operator set 11, attributes; from 0 without an upper bound it is ReLU.
pub(super) fn clip(cx: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    let x = node.wire(0)?;
    let mut bound = |name: &str, i: usize| -> Result<Option<f32>, OnnxError> {
        if let Some(old) = node.attributes.float(name)? {
            return Ok(Some(old));
        }
        match node.constant(i)?.map(|c| c.scalar()) {
            Some(None) => Err(node.attributes.bad(format!("the bound `{name}` must be one number"))),
            Some(bound) => Ok(bound),
            None => Ok(None),
        }
    };
    let (min, max) = (bound("min", 1)?, bound("max", 2)?);
    // What no float exceeds is no bound.
    let (min, max) = (min.filter(|&v| v > f32::MIN), max.filter(|&v| v < f32::MAX));
    let op = match (min, max) {
        (None, None) => Op::Identity,
        (Some(0.0), None) => Op::Relu,
        _ => Op::Clip { min: min.unwrap_or(f32::MIN), max: max.unwrap_or(f32::MAX) },
    };
    cx.push(&node.name, op, &[x])
}

pub(super) fn batch_normalization(cx: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    let x = node.wire(0)?;
    let epsilon = node.attributes.float("epsilon")?.unwrap_or(1e-5);
    node.attributes.ignore("momentum");
    node.attributes.only("training_mode", 0, "export the model for inference")?;
    node.attributes.only("spatial", 1, "export the model with statistics per channel")?;
    let mut weight = |i: usize| -> Result<WeightId, OnnxError> {
        let value = node.required(i)?;
        cx.weight(&value.name, &value.dims, value.floats())
    };
    let (scale, bias, mean, var) = (weight(1)?, weight(2)?, weight(3)?, weight(4)?);
    cx.push(&node.name, Op::BatchNorm { scale, bias, mean, var, epsilon }, &[x])
}

/// The two operands, by what is known of them.
enum Operands {
    Wires(WireId, WireId),
    /// Wire first, constant second.
    Right(WireId, std::rc::Rc<Value>),
    /// Constant first, wire second.
    Left(std::rc::Rc<Value>, WireId),
}

fn operands(node: &Node) -> Result<Operands, OnnxError> {
    match (node.input(0), node.input(1)) {
        (Some(Known::Wire(a)), Some(Known::Wire(b))) => Ok(Operands::Wires(*a, *b)),
        (Some(Known::Wire(x)), Some(Known::Constant(c))) => Ok(Operands::Right(*x, c.clone())),
        (Some(Known::Constant(c)), Some(Known::Wire(x))) => Ok(Operands::Left(c.clone(), *x)),
        (Some(Known::Constant(_)), Some(Known::Constant(_))) => Err(node.attributes.unsupported(
            "arithmetic of two constants",
            "simplify the model so that constant parts are computed ahead",
        )),
        _ => Err(node.attributes.bad("needs two inputs".into())),
    }
}

fn sum(cx: &mut Import, node: &Node, a: WireId, b: WireId) -> Result<Known, OnnxError> {
    let (left, right) = (cx.shape(a), cx.shape(b));
    if left != right {
        let what = format!("adding tensors of shapes {left} and {right}");
        return Err(node.attributes.unsupported(what, "both must have the same shape"));
    }
    cx.push(&node.name, Op::Add, &[a, b])
}

fn negate(cx: &mut Import, node: &Node, x: WireId) -> Result<WireId, OnnxError> {
    let name = format!("{}.minus", node.name);
    let value = cx.weight(&name, &[1], vec![-1.0])?;
    match cx.push(&name, Op::MulConst { value }, &[x])? {
        Known::Wire(wire) => Ok(wire),
        Known::Constant(_) => Ok(x),
    }
}

/// Declares `f(constant)` in one of the three forms the graph broadcasts: one element, one per channel, or
/// the wire's own shape. The constant's axes align with the last axes of `[batch, shape of x]`.
fn broadcast(
    cx: &mut Import,
    node: &Node,
    x: WireId,
    c: &Value,
    f: impl Fn(f32) -> f32,
) -> Result<WeightId, OnnxError> {
    let to = cx.shape(x).dims().to_vec();
    let values: Vec<f32> = c.floats().into_iter().map(f).collect();
    if values.len() == 1 && c.dims.len() <= to.len() + 1 {
        return cx.weight(&c.name, &[1], values);
    }
    let misfit = || {
        let to: Vec<String> = to.iter().map(usize::to_string).collect();
        node.attributes.unsupported(
            format!(
                "broadcasting the constant `{}` of shape {:?} over [batch, {}]",
                c.name,
                c.dims,
                to.join(", ")
            ),
            "its axes must align with the last axes of the tensor and be 1 or equal to them",
        )
    };
    // Bring the constant to as many axes as one sample has: drop the batch axis, or prepend ones.
    let mut from = c.dims.clone();
    if from.len() == to.len() + 1 {
        if from.remove(0) != 1 {
            return Err(misfit());
        }
    } else if from.len() > to.len() {
        return Err(misfit());
    }
    let missing = to.len() - from.len();
    from.splice(0..0, std::iter::repeat_n(1, missing));
    if from.iter().zip(&to).any(|(&c, &x)| c != 1 && c != x) {
        return Err(misfit());
    }
    if from == to {
        return cx.weight(&c.name, &to, values);
    }
    if let (Some((first, rest)), Some(channels)) = (from.split_first(), to.first())
        && first == channels
        && rest.iter().all(|&d| d == 1)
    {
        return cx.weight(&c.name, &[*channels], values);
    }
    let elements: usize = to.iter().product();
    if !cx.room_for(elements) {
        return Err(misfit());
    }
    let spread = (0..elements).map(|at| values.get(source(at, &from, &to)).copied().unwrap_or(0.0));
    let spread = spread.collect();
    cx.weight(&c.name, &to, spread)
}

/// Index in a constant of axes `from` of the element that meets element `at` of axes `to`.
fn source(mut at: usize, from: &[usize], to: &[usize]) -> usize {
    let (mut index, mut stride) = (0, 1);
    for (&c, &x) in from.iter().zip(to).rev() {
        if c != 1 {
            index += at % x * stride;
        }
        at /= x;
        stride *= c;
    }
    index
}
