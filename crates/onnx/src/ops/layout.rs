//! Operators that move or rename values. Axis 0 of the file is the batch, which the graph does not have.

use crate::OnnxError;
use crate::attributes::index;
use crate::import::{Import, Known, Node};
use crate::value::{Data, Value};
use oblivia_nn::{Op, WireId};
use std::rc::Rc;

pub(super) fn identity(cx: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    match node.input(0) {
        Some(Known::Constant(c)) => Ok(Known::Constant(c.clone())),
        _ => {
            let x = node.wire(0)?;
            cx.push(&node.name, Op::Identity, &[x])
        }
    }
}

/// In inference the identity.
pub(super) fn dropout(cx: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    for harmless in ["ratio", "seed"] {
        node.attributes.ignore(harmless);
    }
    if node.input(2).is_some() {
        return Err(node.attributes.unsupported("the input training_mode", "export the model for inference"));
    }
    identity(cx, node)
}

pub(super) fn constant(_: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    let a = &mut node.attributes;
    let value = if let Some(value) = a.tensor("value")? {
        (value.dims, value.data)
    } else if let Some(v) = a.float("value_float")? {
        (vec![], Data::Float(vec![v]))
    } else if let Some(v) = a.floats("value_floats")? {
        (vec![v.len()], Data::Float(v))
    } else if let Some(v) = a.int("value_int")? {
        (vec![], Data::Int(vec![v]))
    } else if let Some(v) = a.ints("value_ints")? {
        (vec![v.len()], Data::Int(v))
    } else {
        return Err(a.unsupported(
            "a constant that is neither numbers nor a tensor of them",
            "export it as a tensor",
        ));
    };
    Ok(Known::Constant(Rc::new(Value { name: node.name.clone(), dims: value.0, data: value.1 })))
}

pub(super) fn flatten(cx: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    let x = node.wire(0)?;
    let dims = cx.shape(x).dims().to_vec();
    let rank = dims.len() + 1;
    let axis = match node.attributes.int("axis")?.unwrap_or(1) {
        // Here alone the place after the last axis may be named.
        end if end == rank as i64 => rank,
        other => axis(node, other, rank)?,
    };
    // Axes before `axis` merge with the batch, which they may only if there is one of each.
    let kept = axis.checked_sub(1).and_then(|n| dims.get(..n));
    if kept.is_none_or(|merged| merged.iter().any(|&d| d != 1)) {
        return Err(batch(node, &format!("axis = {axis}")));
    }
    cx.push(&node.name, Op::Flatten, &[x])
}

/// Along the channels.
pub(super) fn concat(cx: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    let wires: Vec<WireId> = (0..node.inputs.len()).map(|i| node.wire(i)).collect::<Result<_, _>>()?;
    let Some(&first) = wires.first() else { return Err(node.attributes.bad("lacks input 0".into())) };
    let Some(at) = node.attributes.int("axis")? else {
        return Err(node.attributes.bad("lacks the attribute `axis`".into()));
    };
    match axis(node, at, cx.shape(first).dims().len() + 1)? {
        0 => Err(batch(node, "axis = 0")),
        1 if wires.len() == 1 => cx.push(&node.name, Op::Identity, &wires),
        1 => cx.push(&node.name, Op::Concat { count: wires.len() }, &wires),
        other => {
            Err(node.attributes.unsupported(format!("axis = {other}"), "only channels (axis 1) are joined"))
        }
    }
}

/// What only the end of a model may have, where it is no part of the graph ([`crate::Ending`]).
pub(super) fn ending(_: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    Err(node.attributes.unsupported(
        "a place before the end of the model",
        "it may only make the output, over the classes of one sample",
    ))
}

pub(super) fn reshape(cx: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    let x = node.wire(0)?;
    node.attributes.only("allowzero", 0, "export the model with fixed shapes")?;
    let Some(target) = node.ints(1, "shape")? else {
        return Err(node.attributes.bad("lacks input 1".into()));
    };
    let from = cx.shape(x).dims().to_vec();
    let elements: usize = from.iter().product();
    let Some((&first, rest)) = target.split_first() else { return Err(batch(node, "an empty shape")) };
    let mut dims = Vec::with_capacity(rest.len());
    let mut unknown = None;
    for (i, &d) in rest.iter().enumerate() {
        dims.push(match d {
            0 => match from.get(i) {
                Some(&same) => same,
                None => {
                    return Err(node
                        .attributes
                        .bad(format!("shape {target:?} copies an axis that is not there")));
                }
            },
            -1 if unknown.is_none() && first != -1 => {
                unknown = Some(i);
                1
            }
            1.. => index(d),
            _ => return Err(node.attributes.bad(format!("shape {target:?} makes no sense"))),
        });
    }
    let product = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).unwrap_or(usize::MAX);
    if let Some(i) = unknown
        && let Some(d) = dims.get_mut(i)
    {
        *d = elements / product.max(1);
    }
    let total = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if !matches!(first, -1..=1) || total != Some(elements) {
        return Err(batch(node, &format!("shape {target:?} for samples of shape {}", cx.shape(x))));
    }
    cx.push(&node.name, Op::Reshape { dims }, &[x])
}

pub(super) fn slice(cx: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    let x = node.wire(0)?;
    let dims = cx.shape(x).dims().to_vec();
    let (Some(from), Some(to)) = (node.ints(1, "starts")?, node.ints(2, "ends")?) else {
        return Err(node.attributes.bad("lacks `starts` or `ends`".into()));
    };
    let axes = node.ints(3, "axes")?.unwrap_or_else(|| (0..from.len() as i64).collect());
    let by = node.ints(4, "steps")?.unwrap_or_else(|| vec![1; from.len()]);
    if to.len() != from.len() || axes.len() != from.len() || by.len() != from.len() {
        return Err(node.attributes.bad("starts, ends, axes and steps differ in length".into()));
    }
    let (mut starts, mut ends, mut steps) = (vec![0; dims.len()], dims.clone(), vec![1; dims.len()]);
    for ((&at, &step), (&from, &to)) in axes.iter().zip(&by).zip(from.iter().zip(&to)) {
        if step < 1 {
            return Err(node.attributes.unsupported(format!("a step of {step}"), "steps must be positive"));
        }
        let Some(i) = axis(node, at, dims.len() + 1)?.checked_sub(1) else {
            if from == 0 && to >= 1 && step == 1 {
                continue;
            }
            return Err(batch(node, &format!("the range {from}..{to} of axis 0")));
        };
        // Negative positions count from the end; all are then brought into the axis.
        let place = |p: i64, size: usize| {
            let size = size as i64;
            index(if p < 0 { p.saturating_add(size) } else { p }.clamp(0, size))
        };
        if let (Some(&size), Some(s), Some(e), Some(t)) =
            (dims.get(i), starts.get_mut(i), ends.get_mut(i), steps.get_mut(i))
        {
            (*s, *e, *t) = (place(from, size), place(to, size), index(step).min(size.max(1)));
        }
    }
    cx.push(&node.name, Op::Slice { starts, ends, steps }, &[x])
}

pub(super) fn pad(cx: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    let x = node.wire(0)?;
    let mode = node.attributes.string("mode")?.unwrap_or_default();
    if !matches!(mode.as_str(), "" | "constant") {
        return Err(node
            .attributes
            .unsupported(format!("mode `{mode}`"), "only constant padding is handled"));
    }
    let rank = cx.shape(x).dims().len() + 1;
    let Some(pads) = node.ints(1, "pads")? else {
        return Err(node.attributes.bad("lacks the pads".into()));
    };
    let value = match (node.attributes.float("value")?, node.constant(2)?) {
        (Some(v), _) => v,
        (None, Some(c)) => match c.scalar() {
            Some(v) => v,
            None => return Err(node.attributes.bad("the padding value must be one number".into())),
        },
        (None, None) => 0.0,
    };
    let axes = match node.constant(3)? {
        Some(c) => match c.ints() {
            Some(axes) => axes.to_vec(),
            None => return Err(node.attributes.bad("the axes must be integers".into())),
        },
        None => (0..rank as i64).collect(),
    };
    if pads.len() != 2 * axes.len() {
        let why =
            format!("{} pads for {} axes; one before and one after each is needed", pads.len(), axes.len());
        return Err(node.attributes.bad(why));
    }
    let (first, last) = pads.split_at(axes.len());
    let (mut before, mut after) = (vec![0; rank - 1], vec![0; rank - 1]);
    for (&at, (&b, &a)) in axes.iter().zip(first.iter().zip(last)) {
        if b < 0 || a < 0 {
            return Err(node.attributes.unsupported("negative padding", "use Slice instead"));
        }
        match axis(node, at, rank)?.checked_sub(1) {
            Some(i) => {
                if let (Some(before), Some(after)) = (before.get_mut(i), after.get_mut(i)) {
                    (*before, *after) = (index(b), index(a));
                }
            }
            None if b == 0 && a == 0 => {}
            None => return Err(batch(node, "padding of axis 0")),
        }
    }
    cx.push(&node.name, Op::Pad { before, after, value }, &[x])
}

/// An axis of a tensor of `rank` axes, counted from the end if negative.
fn axis(node: &Node, axis: i64, rank: usize) -> Result<usize, OnnxError> {
    let from_start = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    match usize::try_from(from_start) {
        Ok(i) if i < rank => Ok(i),
        _ => Err(node.attributes.bad(format!("axis {axis} of a tensor of {rank} axes"))),
    }
}

fn batch(node: &Node, what: &str) -> OnnxError {
    node.attributes
        .unsupported(what, "axis 0 is the batch and must be left alone: one sample stays one sample")
}
