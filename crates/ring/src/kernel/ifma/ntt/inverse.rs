//! # Ranges of the lazy inverse transform
//!
//! A pass leaves numbers in [0, 4q), and its even nodes in [4q, 8q): what the next pass subtracts at its first level is
//! then smaller than what it subtracts from. (Blocks leave numbers in [0, 4q) and [4q, 8q) too.) Below, a product is in
//! [o, o + q) where o, the *offset*, costs nothing to add. Of the eight registers of a radix-8 pass,
//!
//! - 0 is a sum at every level: below 12q, 24q, 48q. It is reduced. Registers 2 and 4 are such sums until they are
//!   subtracted from it, with 16q, 32q added.
//! - 1, 3, 5, 7 are products of the first level with the offsets q, 0, 0, −q. So 1 exceeds 3 and 5 exceeds 7; the sums
//!   in [q, 3q) and [−q, q) are at most 2q too low to differ the wrong way round, and their sum is in [0, 4q).
//! - 2, 3 and 6, 7 are products of the second level with the offsets q and 0; their sums are in [q, 3q).
//!
//! In even nodes 4q is added to the offsets of 1 at the first level, of 2 and 3 at the second, of 4 to 7 at the third,
//! and to the reduced 0. No difference before becomes smaller by that. Numbers that are multiplied are at most
//! 32q + 24q.
//!
//! In blocks three levels among lanes come before, from canonical numbers; all their butterflies add a bound (q, 2q,
//! 4q), so that numbers end below 8q, and the all-sums of the next three levels end below 64q.

use super::super::tables::{BLOCK_WORDS, Fraction, Tables, Twiddles, radices};
use super::super::{F, Q, V, add, load, splat, store, sub, sub_once};
use super::conjugate::last_unfold;
use super::{exchange, strided, twiddles_1, twiddles_2, twiddles_4, whole_twiddles};
use crate::Modulus;
use std::arch::x86_64::*;

/// How a pass of the inverse transform ends.
const INNER: bool = false;
/// With the scaling; results canonical.
const LAST: bool = true;

/// Coefficients from values, for every n that has [`Tables`].
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn inverse(m: &Modulus, tables: &Tables, a: &mut [u64]) {
    if tables.lazy { inverse_as::<true>(m, tables, None, a) } else { inverse_as::<false>(m, tables, None, a) }
}

/// [`inverse`] of `src`, into `out`.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn inverse_into(m: &Modulus, tables: &Tables, src: &[u64], out: &mut [u64]) {
    if tables.lazy {
        inverse_as::<true>(m, tables, Some(src), out);
    } else {
        inverse_as::<false>(m, tables, Some(src), out);
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn inverse_as<const LAZY: bool>(m: &Modulus, tables: &Tables, source: Option<&[u64]>, a: &mut [u64]) {
    let q = m.value();
    let raise = |node: u64| if LAZY && node == 0 { 4 * q } else { 0 };
    let c = Inverse {
        q: Q::new(m),
        times: std::array::from_fn(|k| splat(q << k)),
        one: F::splat(Fraction::one(m)),
        sum: F::splat(tables.last_sum),
        difference: F::splat(tables.last_difference),
        raise: [splat(raise(0)), splat(raise(1))],
        source,
    };
    let (levels, w) = (a.len().ilog2(), &tables.inverse);
    match &tables.conjugate {
        Some(conjugate) => {
            let half = a.len() / 2;
            for (k, part) in a.chunks_exact_mut(half).enumerate() {
                inverse_to::<LAZY, INNER>(&c, radices(levels - 1), &w.passes, w, k, part);
            }
            last_unfold::<LAZY>(&c.q, conjugate, a);
        }
        None => inverse_to::<LAZY, LAST>(&c, radices(levels), &w.passes, w, 0, a),
    }
}

/// Constants of an inverse transform.
struct Inverse<'a> {
    q: Q,
    /// 2^k·q.
    times: [V; 6],
    /// The constant 1.
    one: F,
    sum: F,
    difference: F,
    /// What the results of even and of odd nodes are raised by.
    raise: [V; 2],
    /// What the blocks are read from, if not from the row that is written.
    source: Option<&'a [u64]>,
}

/// Offsets of the products of a pass; zero if strict.
#[derive(Clone, Copy)]
struct Offsets {
    zero: V,
    /// −q.
    minus_q: V,
    /// What the results of the node are raised by.
    raise: V,
    /// That and q.
    raise_q: V,
}

impl Offsets {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new<const LAZY: bool>(c: &Inverse<'_>, node: usize) -> Self {
        let (zero, raise) = (c.q.zero, c.raise[node % 2]);
        if LAZY {
            let minus_q = sub(zero, c.q.q);
            Self { zero, minus_q, raise, raise_q: add(raise, c.q.q) }
        } else {
            Self { zero, minus_q: zero, raise: zero, raise_q: zero }
        }
    }
}

/// The passes of `radices`, last first, over the subtree of the `node`-th node of their first level.
#[target_feature(enable = "avx512f,avx512ifma")]
fn inverse_to<const LAZY: bool, const END: bool>(
    c: &Inverse<'_>,
    radices: &[u32],
    passes: &[crate::rows::Rows],
    w: &Twiddles,
    node: usize,
    a: &mut [u64],
) {
    let (Some((&log, radices)), Some((pass, passes))) = (radices.split_first(), passes.split_first()) else {
        if let Some(source) = c.source {
            // As much as is transformed at once: reading ahead of it goes on meanwhile.
            a.copy_from_slice(&source[64 * node..][..a.len()]);
        }
        let blocks = a.as_chunks_mut().0;
        let words = &w.block.row(0).as_chunks().0[node..][..blocks.len()];
        let ((twos, ones), (words, words_1)) = (blocks.as_chunks_mut(), words.as_chunks());
        let offsets = [Offsets::new::<LAZY>(c, node), Offsets::new::<LAZY>(c, node + 1)];
        for (blocks, words) in twos.iter_mut().zip(words) {
            inverse_blocks::<LAZY, END, 2>(c, &offsets, words, blocks);
        }
        for (block, words) in ones.as_chunks_mut().0.iter_mut().zip(words_1.as_chunks().0) {
            inverse_blocks::<LAZY, END, 1>(c, &[offsets[0]], words, block);
        }
        return;
    };
    let len = a.len() >> log;
    if radices.is_empty() {
        inverse_to::<LAZY, INNER>(c, radices, passes, w, node << log, a);
    } else {
        for (k, part) in a.chunks_exact_mut(len).enumerate() {
            inverse_to::<LAZY, INNER>(c, radices, passes, w, (node << log) + k, part);
        }
    }
    let words = 2 * ((1usize << log) - 1);
    let words = &pass.row(0)[node * words..][..words];
    let offsets = Offsets::new::<LAZY>(c, node);
    match log {
        1 => inverse_2::<LAZY, END>(c, &offsets, words, a),
        2 => inverse_4::<LAZY, END>(c, &offsets, words, a),
        _ => inverse_8::<LAZY, END>(c, &offsets, words, a),
    }
}

/// One butterfly: (x + y, (x − y)·w + `offset`), where x exceeds y if lazy.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn ordered<const LAZY: bool>(c: &Q, x: V, y: V, w: F, offset: V) -> (V, V) {
    if LAZY {
        (add(x, y), w.product(c, offset, sub(x, y)))
    } else {
        (sub_once(add(x, y), c.two_q), w.product(c, c.zero, sub(add(x, c.two_q), y)))
    }
}

/// [`ordered`] where y is below `bound` if lazy.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn bounded<const LAZY: bool>(c: &Q, x: V, y: V, w: F, bound: V, offset: V) -> (V, V) {
    if LAZY {
        (add(x, y), w.product(c, offset, sub(add(x, bound), y)))
    } else {
        ordered::<LAZY>(c, x, y, w, offset)
    }
}

/// A butterfly of the last level of a pass, where x exceeds y if lazy.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn closing<const LAZY: bool, const END: bool>(c: &Inverse<'_>, x: V, y: V, w: F, raise: V) -> (V, V) {
    if END == LAST {
        let difference = if LAZY { sub(x, y) } else { sub(add(x, c.q.two_q), y) };
        (c.sum.product(&c.q, c.q.zero, add(x, y)), c.difference.product(&c.q, c.q.zero, difference))
    } else {
        ordered::<LAZY>(&c.q, x, y, w, raise)
    }
}

/// [`closing`] of the registers that were sums at every level; y is below `bound` if lazy.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn closing_sums<const LAZY: bool, const END: bool>(
    c: &Inverse<'_>,
    x: V,
    y: V,
    w: F,
    bound: V,
    raise: V,
) -> (V, V) {
    if LAZY && END == LAST {
        let difference = sub(add(x, bound), y);
        (c.sum.product(&c.q, c.q.zero, add(x, y)), c.difference.product(&c.q, c.q.zero, difference))
    } else if LAZY {
        let (sum, product) = bounded::<LAZY>(&c.q, x, y, w, bound, raise);
        (c.one.product(&c.q, raise, sum), product)
    } else {
        closing::<LAZY, END>(c, x, y, w, raise)
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn inverse_2<const LAZY: bool, const END: bool>(c: &Inverse<'_>, o: &Offsets, words: &[u64], a: &mut [u64]) {
    let w = F::pair(words, 0);
    strided!(a, 2, |v| {
        let (x, y) = closing_sums::<LAZY, END>(c, v[0], v[1], w, c.q.zero, o.raise);
        [x, y]
    });
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn inverse_4<const LAZY: bool, const END: bool>(c: &Inverse<'_>, o: &Offsets, words: &[u64], a: &mut [u64]) {
    let w: [F; 3] = std::array::from_fn(|k| F::pair(words, k));
    strided!(a, 4, |v| {
        let (x0, x1) = ordered::<LAZY>(&c.q, v[0], v[1], w[1], o.raise_q);
        let (x2, x3) = ordered::<LAZY>(&c.q, v[2], v[3], w[2], o.zero);
        let (x0, x2) = closing_sums::<LAZY, END>(c, x0, x2, w[0], c.times[4], o.raise);
        let (x1, x3) = closing::<LAZY, END>(c, x1, x3, w[0], o.raise);
        [x0, x1, x2, x3]
    });
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn inverse_8<const LAZY: bool, const END: bool>(c: &Inverse<'_>, o: &Offsets, words: &[u64], a: &mut [u64]) {
    let w: [F; 7] = std::array::from_fn(|k| F::pair(words, k));
    strided!(a, 8, |v| {
        let (a0, a1) = ordered::<LAZY>(&c.q, v[0], v[1], w[3], o.raise_q);
        let (a2, a3) = ordered::<LAZY>(&c.q, v[2], v[3], w[4], o.zero);
        let (a4, a5) = ordered::<LAZY>(&c.q, v[4], v[5], w[5], o.zero);
        let (a6, a7) = ordered::<LAZY>(&c.q, v[6], v[7], w[6], o.minus_q);
        let b = second_level::<LAZY>(c, o, [a0, a1, a2, a3, a4, a5, a6, a7], &w);
        third_level::<LAZY, END>(c, o, b, w[0])
    });
}

/// The level of stride 2 of a pass of radix 8 or the end of a block.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn second_level<const LAZY: bool>(c: &Inverse<'_>, o: &Offsets, a: [V; 8], w: &[F; 7]) -> [V; 8] {
    let (b0, b2) = bounded::<LAZY>(&c.q, a[0], a[2], w[1], c.times[4], o.raise_q);
    let (b1, b3) = ordered::<LAZY>(&c.q, a[1], a[3], w[1], o.raise_q);
    let (b4, b6) = bounded::<LAZY>(&c.q, a[4], a[6], w[2], c.times[4], o.zero);
    let (b5, b7) = ordered::<LAZY>(&c.q, a[5], a[7], w[2], o.zero);
    [b0, b1, b2, b3, b4, b5, b6, b7]
}

/// The level of stride 4.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn third_level<const LAZY: bool, const END: bool>(c: &Inverse<'_>, o: &Offsets, b: [V; 8], w: F) -> [V; 8] {
    let (c0, c4) = closing_sums::<LAZY, END>(c, b[0], b[4], w, c.times[5], o.raise);
    let (c1, c5) = closing::<LAZY, END>(c, b[1], b[5], w, o.raise);
    let (c2, c6) = closing::<LAZY, END>(c, b[2], b[6], w, o.raise);
    let (c3, c7) = closing::<LAZY, END>(c, b[3], b[7], w, o.raise);
    [c0, c1, c2, c3, c4, c5, c6, c7]
}

/// The first six inverse levels of N times 64 canonical values, level by level: one block alone is too long a chain of
/// dependent instructions.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn inverse_blocks<const LAZY: bool, const END: bool, const N: usize>(
    c: &Inverse<'_>,
    offsets: &[Offsets; N],
    words: &[[u64; BLOCK_WORDS]; N],
    a: &mut [[u64; 64]; N],
) {
    let zero = c.q.zero;
    let mut v = [[zero; 8]; N];
    for b in 0..N {
        let rows = a[b].as_chunks::<8>().0.as_chunks::<2>().0;
        for ((k, v), rows) in v[b].as_chunks_mut().0.iter_mut().enumerate().zip(rows) {
            let (x, y) = exchange::by_0_or_3(&[load(&rows[0]), load(&rows[1])]);
            *v = bounded::<LAZY>(&c.q, x, y, twiddles_1(&words[b], k), c.times[0], zero).into();
        }
    }
    for b in 0..N {
        for (k, v) in v[b].as_chunks_mut().0.iter_mut().enumerate() {
            let (x, y) = exchange::by_0_or_1(v);
            *v = bounded::<LAZY>(&c.q, x, y, twiddles_2(&words[b], k), c.times[1], zero).into();
        }
    }
    for b in 0..N {
        for (k, v) in v[b].as_chunks_mut().0.iter_mut().enumerate() {
            let (x, y) = exchange::by_2_from_1(v);
            let (x, y) = bounded::<LAZY>(&c.q, x, y, twiddles_4(&words[b], k), c.times[2], zero);
            *v = exchange::by_3_from_2(&[x, y]).into();
        }
    }
    for b in 0..N {
        let (w, o, v) = (whole_twiddles(&words[b]), &offsets[b], &mut v[b]);
        (v[0], v[1]) = bounded::<LAZY>(&c.q, v[0], v[1], w[3], c.times[3], o.raise_q);
        (v[2], v[3]) = bounded::<LAZY>(&c.q, v[2], v[3], w[4], c.times[3], o.zero);
        (v[4], v[5]) = bounded::<LAZY>(&c.q, v[4], v[5], w[5], c.times[3], o.zero);
        (v[6], v[7]) = bounded::<LAZY>(&c.q, v[6], v[7], w[6], c.times[3], o.minus_q);
    }
    for b in 0..N {
        v[b] = second_level::<LAZY>(c, &offsets[b], v[b], &whole_twiddles(&words[b]));
    }
    for b in 0..N {
        let w = whole_twiddles(&words[b])[0];
        for (row, x) in
            a[b].as_chunks_mut().0.iter_mut().zip(third_level::<LAZY, END>(c, &offsets[b], v[b], w))
        {
            store(row, x);
        }
    }
}
