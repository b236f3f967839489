//! Pooling over windows.

use crate::{NnError, Pool, Shape, Tensor};
use std::ops::Range;

/// Mean over each window.
pub(super) fn average(pool: &Pool, x: &[f32], shapes: [&Shape; 2]) -> Vec<f32> {
    let area = pool.kernel[0] as f64 * pool.kernel[1] as f64;
    windows(pool, x, shapes, |image, w, rows, cols| {
        let cells = (rows.len() * cols.len()) as f64;
        let sum: f64 = rows.map(|r| total(&image[r * w + cols.start..r * w + cols.end])).sum();
        (sum / if pool.count_include_pad { area } else { cells }) as f32
    })
}

/// Maximum over each window.
pub(super) fn max(pool: &Pool, x: &[f32], shapes: [&Shape; 2]) -> Vec<f32> {
    windows(pool, x, shapes, |image, w, rows, cols| {
        let cells = rows.flat_map(|r| &image[r * w + cols.start..r * w + cols.end]);
        cells.fold(f32::NEG_INFINITY, |m, &v| m.max(v))
    })
}

/// Mean of each channel.
pub(super) fn global_average(x: &Tensor, to: Shape) -> Result<Tensor, NnError> {
    let per = super::channel_len(x).max(1);
    Tensor::new(to, x.data().chunks(per).map(|c| (total(c) / per as f64) as f32).collect())
}

fn total(values: &[f32]) -> f64 {
    values.iter().map(|&v| f64::from(v)).sum()
}

/// Calls `f(channel, width, rows, columns)` for the part of each window that lies inside the image, which is
/// never empty because padding is smaller than the window.
pub(crate) fn windows<T>(
    pool: &Pool,
    x: &[T],
    [from, to]: [&Shape; 2],
    f: impl Fn(&[T], usize, Range<usize>, Range<usize>) -> T,
) -> Vec<T> {
    let (Some((_, h, w)), Some((_, oh, ow))) = (from.chw(), to.chw()) else {
        unreachable!("shape inference lets only images through");
    };
    let [top, left, ..] = pool.pads;
    let mut y = Vec::with_capacity(to.elements());
    for image in x.chunks(h * w) {
        for oy in 0..oh {
            let rows = inside(oy * pool.stride[0], pool.kernel[0], top, h);
            for ox in 0..ow {
                let cols = inside(ox * pool.stride[1], pool.kernel[1], left, w);
                y.push(f(image, w, rows.clone(), cols));
            }
        }
    }
    y
}

fn inside(start: usize, kernel: usize, pad: usize, size: usize) -> Range<usize> {
    start.saturating_sub(pad)..(start + kernel - pad).min(size)
}
