//! Operators that only move values.

use crate::Shape;

/// Every `steps`-th element from `starts` on.
pub(crate) fn slice<T: Copy>(x: &[T], starts: &[usize], steps: &[usize], [from, to]: [&Shape; 2]) -> Vec<T> {
    let strides = strides(from);
    let start: usize = starts.iter().zip(&strides).map(|(s, d)| s * d).sum();
    let jumps: Vec<usize> = steps.iter().zip(&strides).map(|(s, d)| s.saturating_mul(*d)).collect();
    let mut y = Vec::with_capacity(to.elements());
    each_offset(to.dims(), start, &jumps, |at| y.push(x[at]));
    y
}

/// Surrounds `x` with `value`.
pub(crate) fn pad<T: Copy>(x: &[T], before: &[usize], value: T, [from, to]: [&Shape; 2]) -> Vec<T> {
    let strides = strides(to);
    let start: usize = before.iter().zip(&strides).map(|(b, d)| b * d).sum();
    let mut y = vec![value; to.elements()];
    let mut values = x.iter();
    each_offset(from.dims(), start, &strides, |at| {
        if let Some(&v) = values.next() {
            y[at] = v;
        }
    });
    y
}

/// Elements between neighbours along each axis, row-major.
fn strides(shape: &Shape) -> Vec<usize> {
    let mut out = vec![1; shape.dims().len()];
    for i in (1..out.len()).rev() {
        out[i - 1] = out[i] * shape.dims()[i];
    }
    out
}

/// Visits `start + Σ index·stride` for all indices below `dims`, last axis fastest.
fn each_offset(dims: &[usize], start: usize, strides: &[usize], mut visit: impl FnMut(usize)) {
    let mut index = vec![0; dims.len()];
    let mut at = start;
    'all: loop {
        visit(at);
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            if index[axis] < dims[axis] {
                at += strides[axis];
                continue 'all;
            }
            at -= strides[axis] * (dims[axis] - 1);
            index[axis] = 0;
        }
        return;
    }
}
