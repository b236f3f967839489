//! Convolution and matrix products.

use super::window::{auto_pads, four_pads};
use crate::OnnxError;
use crate::attributes::index;
use crate::import::{Import, Known, Node};
use crate::value::Value;
use oblivia_nn::{Conv, Op, WeightId};

pub(super) fn conv(cx: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    let x = node.wire(0)?;
    let w = node.required(1)?;
    let &[out_channels, _, kh, kw] = w.dims.as_slice() else {
        return Err(node.attributes.unsupported(
            format!("a kernel of shape {:?}", w.dims),
            "only two-dimensional convolutions are handled",
        ));
    };
    let kernel = [kh, kw];
    if let Some(found) = node.attributes.pair("kernel_shape", 1)?
        && found != kernel
    {
        return Err(node.attributes.bad(format!("kernel_shape is {found:?}, the weights say {kernel:?}")));
    }
    if let Some(dilations) = node.attributes.pair("dilations", 1)?
        && dilations != [1, 1]
    {
        let remedy = "export the model with undilated (zero-filled) kernels";
        return Err(node.attributes.unsupported(format!("dilations = {dilations:?}"), remedy));
    }
    let stride = node.attributes.pair("strides", 1)?.unwrap_or([1, 1]);
    let groups = node.attributes.int("group")?.unwrap_or(1);
    let auto = auto_pads(&mut node.attributes, cx.shape(x), kernel, stride)?;
    let pads = four_pads(&mut node.attributes, auto)?;
    let bias = node.constant(2)?;
    let weight = cx.weight(&w.name, &w.dims, w.floats())?;
    let bias = bias.map(|b| cx.weight(&b.name, &b.dims, b.floats())).transpose()?;
    let conv = Conv { out_channels, kernel, stride, pads, groups: index(groups), weight, bias };
    cx.push(&node.name, Op::Conv(conv), &[x])
}

/// `alpha·A·B + beta·C` with A the wire and B, C constants.
pub(super) fn gemm(cx: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    let x = node.wire(0)?;
    let b = node.required(1)?;
    let c = node.constant(2)?;
    let alpha = node.attributes.float("alpha")?.unwrap_or(1.0);
    let beta = node.attributes.float("beta")?.unwrap_or(1.0);
    node.attributes.only("transA", 0, "the first factor must be [batch, features]")?;
    node.attributes.ignore("broadcast"); // Before operator set 7 only.
    let transposed = match node.attributes.int("transB")?.unwrap_or(0) {
        0 => false,
        1 => true,
        other => return Err(node.attributes.bad(format!("transB = {other} is neither 0 nor 1"))),
    };
    let (out, weight) = matrix(cx, node, &b, transposed, alpha)?;
    let bias = match c {
        Some(c) => Some(row(cx, node, &c, out, beta)?),
        None => None,
    };
    cx.push(&node.name, Op::Dense { out, weight, bias }, &[x])
}

/// Product with a constant matrix on the right.
pub(super) fn mat_mul(cx: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    let x = node.wire(0)?;
    let b = node.required(1)?;
    let (out, weight) = matrix(cx, node, &b, false, 1.0)?;
    cx.push(&node.name, Op::Dense { out, weight, bias: None }, &[x])
}

/// Declares a matrix as `[out, in]`, scaled; the file has it as `[in, out]` unless `transposed`.
fn matrix(
    cx: &mut Import,
    node: &Node,
    b: &Value,
    transposed: bool,
    scale: f32,
) -> Result<(usize, WeightId), OnnxError> {
    let &[rows, cols] = b.dims.as_slice() else {
        return Err(node.attributes.unsupported(
            format!("a factor `{}` of shape {:?}", b.name, b.dims),
            "the constant factor must be a matrix",
        ));
    };
    let values: Vec<f32> = b.floats().into_iter().map(|v| v * scale).collect();
    let (out, features, values) = if transposed || rows == 0 {
        (rows, cols, values)
    } else {
        let by_column = |c: usize| values.iter().skip(c).step_by(cols.max(1)).copied();
        (cols, rows, (0..cols).flat_map(by_column).collect())
    };
    Ok((out, cx.weight(&b.name, &[out, features], values)?))
}

/// Declares Gemm's third input as one value per output: it may be `[out]`, `[1, out]` or one element.
fn row(cx: &mut Import, node: &Node, c: &Value, out: usize, scale: f32) -> Result<WeightId, OnnxError> {
    let values: Vec<f32> = c.floats().into_iter().map(|v| v * scale).collect();
    let values = match (values.as_slice(), c.dims.as_slice()) {
        (_, &[n] | &[1, n]) if n == out => values,
        ([v], _) if cx.room_for(out) => vec![*v; out],
        _ => {
            return Err(node
                .attributes
                .bad(format!("the summand `{}` of shape {:?} does not fit {out} outputs", c.name, c.dims)));
        }
    };
    cx.weight(&c.name, &[out], values)
}
