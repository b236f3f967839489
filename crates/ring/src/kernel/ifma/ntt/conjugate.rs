//! The outermost level of a transform of the conjugate-invariant ring, together with folding.
//!
//! With I = ψ^n, coefficients a, and h = n/2: B_i = a_i − I·a_{n−i} (where a_n = 0) are the coefficients modulo
//! X^n − I of an element of the standard ring of dimension 2n, and a_i = B_i + I·B_{n−i} up to a factor 2. The
//! outermost level combines B_i and B_{h+i}, whose mirror images are in B_{h+(h−i)} and B_{h−i}: column i of both
//! halves belongs together with column h − i.

use super::super::tables::Conjugate;
use super::super::{F, Q, V, add, load, mhi, store, sub};
use std::arch::x86_64::*;

/// The lanes of the column h − i for those of the column i, where `at` holds the vector mirroring all lanes but lane 0
/// and `zeroth` the vector after it.
#[inline]
#[target_feature(enable = "avx512f")]
fn image(at: V, zeroth: V) -> V {
    _mm512_permutex2var_epi64(at, _mm512_setr_epi64(8, 7, 6, 5, 4, 3, 2, 1), zeroth)
}

/// Both halves of a row as vectors.
fn halves(a: &mut [u64]) -> (&mut [[u64; 8]], &mut [[u64; 8]]) {
    let vectors = a.as_chunks_mut().0;
    let count = vectors.len() / 2;
    vectors.split_at_mut(count)
}

/// B_i + t and B_i − t with t = w·B_{h+i}, w the outermost twiddle, in place of a_i and a_{h+i}, from numbers below 2q.
/// Lazy: `bias` is added to B_i. Strict: below 4q. `read` gives vector j of half k, that half of `a` at hand.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn fold_first<const LAZY: bool>(
    c: &Q,
    bias: V,
    w: &Conjugate,
    a: &mut [u64],
    read: impl Fn(&[[u64; 8]], usize, usize) -> V,
) {
    let (fold, own, mirrored) = (F::splat(w.fold), F::splat(w.own), F::splat(w.mirrored));
    let column = |x: V, y: V, x_image: V, y_image: V| {
        let t = mirrored.fraction(own.fraction(c.two, y), x_image);
        let x = if LAZY { add(x, bias) } else { x };
        let x = fold.product(c, x, y_image);
        let sum = mhi(x, t, c.q);
        let twice = add(x, x);
        (sum, sub(if LAZY { twice } else { add(twice, c.q) }, sum))
    };
    let (xs, ys) = halves(a);
    let last = xs.len() - 1;
    let (mut x, mut y) = (read(xs, 0, 0), read(ys, 1, 0));
    let (mut x_zeroth, mut y_zeroth) = (y, c.zero);
    for j in 0..xs.len() / 2 {
        let (x_next, y_next) = (read(xs, 0, j + 1), read(ys, 1, j + 1));
        let (x_far, y_far) = (read(xs, 0, last - j), read(ys, 1, last - j));
        let near = column(x, y, image(x_far, x_zeroth), image(y_far, y_zeroth));
        let far = column(x_far, y_far, image(x, x_next), image(y, y_next));
        store(&mut xs[j], near.0);
        store(&mut ys[j], near.1);
        store(&mut xs[last - j], far.0);
        store(&mut ys[last - j], far.1);
        (x_zeroth, y_zeroth) = (x_far, y_far);
        (x, y) = (x_next, y_next);
    }
}

/// Coefficients from the values before the outermost inverse level. Values of the first half exceed those of the
/// second, in numbers and not modulo q, if lazy; differences and sums are below 2^52.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn last_unfold<const LAZY: bool>(c: &Q, w: &Conjugate, a: &mut [u64]) {
    // What B_i and B_{h+i}, and their images, are multiplied by.
    let (low, high) = (F::splat(w.low), F::splat(w.high));
    let (low_image, high_image) = (F::splat(w.low_image), F::splat(w.high_image));
    let level = |x: V, y: V| {
        let raised = if LAZY { x } else { add(x, c.two_q) };
        (add(x, y), sub(raised, y))
    };
    let combine = |x: V, own: F, other: V, mirrored: F| {
        mhi(c.zero, mirrored.fraction(own.fraction(c.two, x), other), c.q)
    };
    let (xs, ys) = halves(a);
    let last = xs.len() - 1;
    // 2·B_0 and (1 + I)·B_h are the coefficients 0 and h: in lane 0 of the first vector the image is the lane itself.
    let first = |own: F, mirrored: F| F {
        high: _mm512_mask_mov_epi64(mirrored.high, 1, own.high),
        low: _mm512_mask_mov_epi64(mirrored.low, 1, own.low),
    };
    let (mut s, mut d) = level(load(&xs[0]), load(&ys[0]));
    let (mut s_zeroth, mut d_zeroth) = (d, s);
    let (mut low_mirrored, mut high_mirrored) = (first(low, high_image), first(high_image, low_image));
    for j in 0..xs.len() / 2 {
        let (s_next, d_next) = level(load(&xs[j + 1]), load(&ys[j + 1]));
        let (s_far, d_far) = level(load(&xs[last - j]), load(&ys[last - j]));
        store(&mut xs[j], combine(s, low, image(d_far, d_zeroth), low_mirrored));
        store(&mut ys[j], combine(d, high, image(s_far, s_zeroth), high_mirrored));
        store(&mut xs[last - j], combine(s_far, low, image(d, d_next), high_image));
        store(&mut ys[last - j], combine(d_far, high, image(s, s_next), low_image));
        (s_zeroth, d_zeroth) = (s_far, d_far);
        (s, d) = (s_next, d_next);
        (low_mirrored, high_mirrored) = (high_image, low_image);
    }
}
