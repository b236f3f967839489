//! Pooling, and the padding rules it shares with convolution.

use crate::OnnxError;
use crate::attributes::{Attributes, index};
use crate::import::{Import, Known, Node};
use oblivia_nn::{Op, Pool, Shape, WireId};

pub(super) fn average_pool(cx: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    let x = node.wire(0)?;
    let count_include_pad = match node.attributes.int("count_include_pad")?.unwrap_or(0) {
        0 => false,
        1 => true,
        other => return Err(node.attributes.bad(format!("count_include_pad = {other} is neither 0 nor 1"))),
    };
    let pool = pool(cx, node, x, count_include_pad)?;
    cx.push(&node.name, Op::AveragePool(pool), &[x])
}

pub(super) fn max_pool(cx: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    let x = node.wire(0)?;
    node.attributes.ignore("storage_order"); // Concerns the indices, which nobody reads here.
    let pool = pool(cx, node, x, false)?;
    cx.push(&node.name, Op::MaxPool(pool), &[x])
}

pub(super) fn global_average_pool(cx: &mut Import, node: &mut Node) -> Result<Known, OnnxError> {
    let x = node.wire(0)?;
    cx.push(&node.name, Op::GlobalAveragePool, &[x])
}

fn pool(cx: &Import, node: &mut Node, x: WireId, count_include_pad: bool) -> Result<Pool, OnnxError> {
    let attributes = &mut node.attributes;
    let Some(kernel) = attributes.pair("kernel_shape", 1)? else {
        return Err(attributes.bad("lacks the attribute `kernel_shape`".into()));
    };
    if let Some(dilations) = attributes.pair("dilations", 1)?
        && dilations != [1, 1]
    {
        let remedy = "export the model with undilated windows";
        return Err(attributes.unsupported(format!("dilations = {dilations:?}"), remedy));
    }
    let stride = attributes.pair("strides", 1)?.unwrap_or([1, 1]);
    let auto = auto_pads(attributes, cx.shape(x), kernel, stride)?;
    let pads = four_pads(attributes, auto)?;
    if attributes.int("ceil_mode")?.unwrap_or(0) != 0 {
        // Rounding up is the same as rounding down where windows end exactly at the border.
        let exact = cx.shape(x).chw().is_some_and(|(_, h, w)| {
            let fits = |size: usize, axis: usize| {
                let [k, s] = [kernel, stride].map(|v| if axis == 0 { v[0] } else { v[1] });
                let [top, left, bottom, right] = pads;
                let pad = if axis == 0 { top.checked_add(bottom) } else { left.checked_add(right) };
                let padded = pad.and_then(|p| p.checked_add(size)).and_then(|p| p.checked_sub(k));
                padded.is_some_and(|p| p.is_multiple_of(s))
            };
            fits(h, 0) && fits(w, 1)
        });
        if !exact {
            let remedy = "export the model with ceil_mode off";
            return Err(attributes.unsupported("ceil_mode with windows that reach past the border", remedy));
        }
    }
    Ok(Pool { kernel, stride, pads, count_include_pad })
}

/// The pads `auto_pad` asks for: top, left, bottom, right.
pub(super) fn auto_pads(
    attributes: &mut Attributes,
    x: &Shape,
    kernel: [usize; 2],
    stride: [usize; 2],
) -> Result<Option<[usize; 4]>, OnnxError> {
    let mode = attributes.string("auto_pad")?;
    let upper = match mode.as_deref() {
        None | Some("NOTSET" | "") => return Ok(None),
        Some("VALID") => return Ok(Some([0; 4])),
        Some("SAME_UPPER") => true,
        Some("SAME_LOWER") => false,
        Some(other) => return Err(attributes.bad(format!("auto_pad `{other}` is not known"))),
    };
    let Some((_, h, w)) = x.chw() else {
        return Err(attributes.bad(format!("needs [channels×height×width], got {x}")));
    };
    // As many outputs as the input has strides, rounded up; an odd padding goes after (or before).
    let split = |size: usize, k: usize, s: usize| {
        let covered = (size.div_ceil(s) - 1).saturating_mul(s).saturating_add(k);
        let total = covered.saturating_sub(size);
        if upper { (total / 2, total - total / 2) } else { (total - total / 2, total / 2) }
    };
    let (top, bottom) = split(h, kernel[0], stride[0]);
    let (left, right) = split(w, kernel[1], stride[1]);
    Ok(Some([top, left, bottom, right]))
}

/// The attribute `pads`, unless `auto_pad` decided.
pub(super) fn four_pads(
    attributes: &mut Attributes,
    auto: Option<[usize; 4]>,
) -> Result<[usize; 4], OnnxError> {
    match (attributes.ints("pads")?.as_deref(), auto) {
        (None, None) => Ok([0; 4]),
        (None, Some(auto)) => Ok(auto),
        (Some(&[top, left, bottom, right]), None) => {
            let pads = [top, left, bottom, right];
            if pads.iter().any(|&p| p < 0) {
                return Err(
                    attributes.unsupported(format!("pads = {pads:?}"), "negative padding is not handled")
                );
            }
            Ok(pads.map(index))
        }
        (Some(pads), None) => Err(attributes.unsupported(
            format!("pads of {} numbers", pads.len()),
            "only two-dimensional images are handled",
        )),
        // The format forbids both, some exporters write zeros all the same.
        (Some(pads), Some(auto)) if pads.iter().all(|&p| p == 0) => Ok(auto),
        (Some(_), Some(_)) => Err(attributes.bad("gives both `auto_pad` and `pads`".into())),
    }
}
