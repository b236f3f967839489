//! Convolution and dense layers as matrix products.

use crate::{Conv, NnError, Shape};
use ndarray::linalg::{general_mat_mul, general_mat_vec_mul};
use ndarray::{ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2, Axis, LinalgScalar};

/// Numbers of patch matrix made at a time, so that it stays in cache (1 MiB of 32-bit floats).
const PATCH_NUMBERS: usize = 1 << 18;

/// `y = W·x + b`, `W` of shape `[out, in]`.
pub(crate) fn dense<T: LinalgScalar>(
    w: &[T],
    bias: Option<&[T]>,
    x: &[T],
    out: usize,
) -> Result<Vec<T>, NnError> {
    let mut y = vec![T::zero(); out];
    if let Some(bias) = bias {
        y.copy_from_slice(bias);
    }
    let w = ArrayView2::from_shape((out, x.len()), w).map_err(layout)?;
    let mut view = ArrayViewMut1::from(&mut y[..]);
    general_mat_vec_mul(T::one(), &w, &ArrayView1::from(x), T::one(), &mut view);
    Ok(y)
}

/// Cross-correlation with zero padding, per group one product of the weights `[maps, patch]` with a matrix
/// of patches, made in blocks of output positions.
pub(crate) fn conv<T: LinalgScalar>(
    conv: &Conv,
    w: &[T],
    bias: Option<&[T]>,
    x: &[T],
    [from, to]: [&Shape; 2],
) -> Result<Vec<T>, NnError> {
    let (Some((c, h, wd)), Some((_, _, ow))) = (from.chw(), to.chw()) else {
        unreachable!("shape inference lets only images through");
    };
    let mut y = vec![T::zero(); to.elements()];
    let positions = y.len() / conv.out_channels;
    if let Some(bias) = bias {
        for (map, &b) in y.chunks_mut(positions).zip(bias) {
            map.fill(b);
        }
    }
    let channels = c / conv.groups;
    let maps = conv.out_channels / conv.groups;
    let patch = channels * conv.kernel[0] * conv.kernel[1];
    let block = (PATCH_NUMBERS / patch).clamp(1, positions);
    let mut patches = vec![T::zero(); patch * block];
    let groups = x.chunks(channels * h * wd).zip(w.chunks(maps * patch));
    for ((x, w), y) in groups.zip(y.chunks_mut(maps * positions)) {
        let w = ArrayView2::from_shape((maps, patch), w).map_err(layout)?;
        let mut y = ArrayViewMut2::from_shape((maps, positions), y).map_err(layout)?;
        let mut start = 0;
        while start < positions {
            let end = (start + block).min(positions);
            let cols = end - start;
            let rows = patches.chunks_mut(cols).take(patch);
            let taps = (0..channels).flat_map(|i| {
                (0..conv.kernel[0]).flat_map(move |ky| (0..conv.kernel[1]).map(move |kx| (i, ky, kx)))
            });
            for (row, (i, ky, kx)) in rows.zip(taps) {
                let image = &x[i * h * wd..(i + 1) * h * wd];
                gather(conv, image, [h, wd], [ky, kx], ow, start, row);
            }
            let p = ArrayView2::from_shape((patch, cols), &patches[..patch * cols]).map_err(layout)?;
            general_mat_mul(T::one(), &w, &p, T::one(), &mut y.slice_axis_mut(Axis(1), (start..end).into()));
            start = end;
        }
    }
    Ok(y)
}

/// The input value under tap `[ky, kx]` for each output position from `start` on, zero outside the image.
fn gather<T: LinalgScalar>(
    conv: &Conv,
    image: &[T],
    [h, w]: [usize; 2],
    [ky, kx]: [usize; 2],
    ow: usize,
    start: usize,
    out: &mut [T],
) {
    let [top, left, ..] = conv.pads;
    let [sy, sx] = conv.stride;
    let mut at = 0;
    while at < out.len() {
        let (oy, ox) = ((start + at) / ow, (start + at) % ow);
        let len = (ow - ox).min(out.len() - at);
        let out_row = &mut out[at..at + len];
        at += len;
        let y = oy * sy + ky;
        if y < top || y - top >= h {
            out_row.fill(T::zero());
            continue;
        }
        let row = &image[(y - top) * w..(y - top + 1) * w];
        if sx == 1 {
            // Output column ox reads input column ox + kx - left.
            let first = left.saturating_sub(ox + kx).min(len);
            let last = (left + w).saturating_sub(ox + kx).clamp(first, len);
            out_row[..first].fill(T::zero());
            if last > first {
                let from = ox + first + kx - left;
                out_row[first..last].copy_from_slice(&row[from..from + last - first]);
            }
            out_row[last..].fill(T::zero());
        } else {
            for (j, v) in out_row.iter_mut().enumerate() {
                let x = (ox + j) * sx + kx;
                *v = x.checked_sub(left).and_then(|x| row.get(x)).copied().unwrap_or_else(T::zero);
            }
        }
    }
}

fn layout(e: ndarray::ShapeError) -> NnError {
    NnError::BadWeight { name: "matrix view".into(), why: e.to_string() }
}
