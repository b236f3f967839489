//! Transforms for n ≥ 64: passes of radix 2 to 8 over vectors, then (forward) or before (inverse) blocks of 64 in
//! registers, with two 8×8 transpositions around the strides below 8. Passes go depth first, so that a row larger
//! than the first-level cache is read from beyond it once or twice and not once per pass.
//!
//! # Ranges
//!
//! *Strict* (any q < 2^50): as [`super::super::portable`]. Forward values are in [0, 4q), inverse ones in [0, 2q),
//! bits above 52 are clear.
//!
//! *Lazy* ([`super::tables::Tables::lazy`]): only the low 52 bits of a lane mean anything, and those numbers grow.
//!
//! - Forward, L = log n levels. With t = w·y mod q in [0, 2q), the butterfly is x' ≡ x + t, y' ≡ 2x − x' = x − t.
//!   At the start 2L·q is added to every x (the conjugate-invariant fold adds it, and 2q for itself, to all). So
//!   after k levels, numbers are at least 2(L − k)q ≥ 0 and below (2L + 3)q + 2k·q, in the end below (4L + 3)q.
//! - Inverse. A pass takes numbers below 8q (the first one canonical ones). Sums double at each level, products are
//!   below 2q, and x − y + b with b a bound of y is below twice the larger bound. Six levels from canonical, or
//!   three from 8q, stay below 64q. The one register of each pass that is a sum at every level is reduced to
//!   below 2q; the others have a product among the last three levels, so they are below 2q, 4q, 6q or 8q.
//!
//! Tables are lazy only if both (4L + 3)q and 64q are at most 2^52: every number stays below 2^52, so the low 52 bits
//! are the number.

use super::tables::{BLOCK_WORDS, Tables, Twiddles, radices};
use super::{Q, V, W, add, load, splat, store, sub, sub_once};
use crate::{Modulus, Shoup};
use std::arch::x86_64::*;

/// How a pass of the inverse transform ends.
const INNER: u8 = 0;
/// With the scaling; results canonical.
const LAST: u8 = 1;
/// With the scaling; results ≡ numbers below 2q.
const LAST_LAZY: u8 = 2;

/// Values at the roots of unity from coefficients. `a` has n ≥ 64 entries.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn forward(m: &Modulus, tables: &Tables, a: &mut [u64]) {
    assert!(a.len().is_power_of_two() && a.len() >= 64);
    if tables.lazy { forward_as::<true>(m, tables, a) } else { forward_as::<false>(m, tables, a) }
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn forward_as<const LAZY: bool>(m: &Modulus, tables: &Tables, a: &mut [u64]) {
    let levels = a.len().ilog2();
    let c = Q::new(m);
    let growth = if LAZY { 2 * u64::from(levels) * m.value() } else { 0 };
    let bias = match tables.fold {
        Some(fold) => {
            // Strict: a + 2q − t is below 3q.
            fold_conjugate(&c, fold, growth + 2 * m.value(), !LAZY, a);
            c.zero
        }
        None => splat(growth),
    };
    forward_from::<LAZY, true>(&c, bias, radices(levels), &tables.forward.passes, &tables.forward, 0, a);
}

/// The passes of `radices` over the subtree of the `node`-th node of their first level.
#[target_feature(enable = "avx512f,avx512ifma")]
fn forward_from<const LAZY: bool, const FIRST: bool>(
    c: &Q,
    bias: V,
    radices: &[u32],
    passes: &[crate::rows::Rows],
    w: &Twiddles,
    node: usize,
    a: &mut [u64],
) {
    let (Some((&log, radices)), Some((pass, passes))) = (radices.split_first(), passes.split_first()) else {
        let words = w.block.row(0)[node * BLOCK_WORDS..].as_chunks::<BLOCK_WORDS>().0;
        for (block, words) in a.as_chunks_mut().0.iter_mut().zip(words) {
            forward_block::<LAZY, FIRST>(c, bias, words, block);
        }
        return;
    };
    let words = 2 * ((1usize << log) - 1);
    let words = &pass.row(0)[node * words..][..words];
    match log {
        1 => forward_2::<LAZY, FIRST>(c, bias, words, a),
        2 => forward_4::<LAZY, FIRST>(c, bias, words, a),
        _ => forward_8::<LAZY, FIRST>(c, bias, words, a),
    }
    let len = a.len() >> log;
    if radices.is_empty() {
        forward_from::<LAZY, false>(c, bias, radices, passes, w, node << log, a);
    } else {
        for (k, part) in a.chunks_exact_mut(len).enumerate() {
            forward_from::<LAZY, false>(c, bias, radices, passes, w, (node << log) + k, part);
        }
    }
}

/// One butterfly: (x + w·y, x − w·y).
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn butterfly<const LAZY: bool>(c: &Q, x: V, y: V, w: W) -> (V, V) {
    if LAZY {
        let sum = c.mul_onto(x, y, w);
        (sum, sub(add(x, x), sum))
    } else {
        let x = sub_once(x, c.two_q);
        let t = c.mul(y, w);
        (add(x, t), sub(add(x, c.two_q), t))
    }
}

/// What the first pass adds to the x of its first level.
#[inline]
#[target_feature(enable = "avx512f")]
fn biased<const FIRST: bool>(x: V, bias: V) -> V {
    if FIRST { add(x, bias) } else { x }
}

/// Calls `$body` for every vector position j of `$parts` equal parts of `$a`, with the vectors read from them as `$v`,
/// and writes the array it evaluates to.
macro_rules! strided {
    ($a:expr, $parts:literal, |$v:ident| $body:expr) => {{
        let stride = $a.len() / $parts;
        assert!(stride.is_multiple_of(8));
        let start = $a.as_mut_ptr();
        let mut j = 0;
        while j < stride {
            let read = |k: usize| {
                // SAFETY: j + 8 ≤ stride, so part k < $parts has words k·stride + j to k·stride + j + 7 inside
                // `$a`, which is borrowed mutably and not touched otherwise meanwhile.
                unsafe { _mm512_loadu_si512(start.add(k * stride + j).cast()) }
            };
            let $v: [V; $parts] = std::array::from_fn(read);
            let results: [V; $parts] = $body;
            for (k, &r) in results.iter().enumerate() {
                // SAFETY: as above.
                unsafe { _mm512_storeu_si512(start.add(k * stride + j).cast(), r) };
            }
            j += 8;
        }
    }};
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn forward_2<const LAZY: bool, const FIRST: bool>(c: &Q, bias: V, words: &[u64], a: &mut [u64]) {
    let (c, w) = (*c, W::pair(words, 0));
    strided!(a, 2, |v| {
        let (x, y) = butterfly::<LAZY>(&c, biased::<FIRST>(v[0], bias), v[1], w);
        [x, y]
    });
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn forward_4<const LAZY: bool, const FIRST: bool>(c: &Q, bias: V, words: &[u64], a: &mut [u64]) {
    let (c, w1, w2, w3) = (*c, W::pair(words, 0), W::pair(words, 1), W::pair(words, 2));
    strided!(a, 4, |v| {
        let (x0, x2) = butterfly::<LAZY>(&c, biased::<FIRST>(v[0], bias), v[2], w1);
        let (x1, x3) = butterfly::<LAZY>(&c, biased::<FIRST>(v[1], bias), v[3], w1);
        let (x0, x1) = butterfly::<LAZY>(&c, x0, x1, w2);
        let (x2, x3) = butterfly::<LAZY>(&c, x2, x3, w3);
        [x0, x1, x2, x3]
    });
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn forward_8<const LAZY: bool, const FIRST: bool>(c: &Q, bias: V, words: &[u64], a: &mut [u64]) {
    let c = *c;
    let w: [W; 7] = std::array::from_fn(|k| W::pair(words, k));
    strided!(a, 8, |v| {
        let v = [
            biased::<FIRST>(v[0], bias),
            biased::<FIRST>(v[1], bias),
            biased::<FIRST>(v[2], bias),
            biased::<FIRST>(v[3], bias),
            v[4],
            v[5],
            v[6],
            v[7],
        ];
        three_levels::<LAZY>(&c, v, &w)
    });
}

/// Three forward levels among eight vectors: strides 4, 2, 1 with the twiddles breadth first.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn three_levels<const LAZY: bool>(c: &Q, v: [V; 8], w: &[W; 7]) -> [V; 8] {
    let (a0, a4) = butterfly::<LAZY>(c, v[0], v[4], w[0]);
    let (a1, a5) = butterfly::<LAZY>(c, v[1], v[5], w[0]);
    let (a2, a6) = butterfly::<LAZY>(c, v[2], v[6], w[0]);
    let (a3, a7) = butterfly::<LAZY>(c, v[3], v[7], w[0]);
    let (b0, b2) = butterfly::<LAZY>(c, a0, a2, w[1]);
    let (b1, b3) = butterfly::<LAZY>(c, a1, a3, w[1]);
    let (b4, b6) = butterfly::<LAZY>(c, a4, a6, w[2]);
    let (b5, b7) = butterfly::<LAZY>(c, a5, a7, w[2]);
    let (c0, c1) = butterfly::<LAZY>(c, b0, b1, w[3]);
    let (c2, c3) = butterfly::<LAZY>(c, b2, b3, w[4]);
    let (c4, c5) = butterfly::<LAZY>(c, b4, b5, w[5]);
    let (c6, c7) = butterfly::<LAZY>(c, b6, b7, w[6]);
    [c0, c1, c2, c3, c4, c5, c6, c7]
}

/// The twiddles of a block: those of whole vectors and those of lanes.
#[inline]
#[target_feature(enable = "avx512f")]
fn block_twiddles(words: &[u64; BLOCK_WORDS]) -> ([W; 7], [W; 7]) {
    let vectors = words.as_chunks::<8>().0;
    (
        std::array::from_fn(|k| W::pair(words, k)),
        std::array::from_fn(|k| W { value: load(&vectors[2 + 2 * k]), quotient: load(&vectors[3 + 2 * k]) }),
    )
}

/// The last six forward levels of 64 values.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn forward_block<const LAZY: bool, const FIRST: bool>(
    c: &Q,
    bias: V,
    words: &[u64; BLOCK_WORDS],
    a: &mut [u64; 64],
) {
    let (whole, lanes) = block_twiddles(words);
    let rows = a.as_chunks_mut::<8>().0;
    let mut v: [V; 8] = std::array::from_fn(|k| load(&rows[k]));
    for x in &mut v[..4] {
        *x = biased::<FIRST>(*x, bias);
    }
    let v = transpose(three_levels::<LAZY>(c, v, &whole));
    let mut v = three_levels::<LAZY>(c, v, &lanes);
    for x in &mut v {
        *x = if LAZY { c.canonical2(c.barrett(*x)) } else { sub_once(sub_once(*x, c.two_q), c.q) };
    }
    for (row, x) in rows.iter_mut().zip(transpose(v)) {
        store(row, x);
    }
}

/// Lane j of result k is lane k of operand j.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(v: [V; 8]) -> [V; 8] {
    // Pairs of rows, then pairs of pairs and of those again by 128-bit quarters.
    let quarters = |a: V, b: V, c: V, d: V| {
        let (e, f) = (_mm512_shuffle_i64x2::<0x88>(a, b), _mm512_shuffle_i64x2::<0xdd>(a, b));
        let (g, h) = (_mm512_shuffle_i64x2::<0x88>(c, d), _mm512_shuffle_i64x2::<0xdd>(c, d));
        [
            _mm512_shuffle_i64x2::<0x88>(e, g),
            _mm512_shuffle_i64x2::<0x88>(f, h),
            _mm512_shuffle_i64x2::<0xdd>(e, g),
            _mm512_shuffle_i64x2::<0xdd>(f, h),
        ]
    };
    let even: [V; 4] = std::array::from_fn(|k| _mm512_unpacklo_epi64(v[2 * k], v[2 * k + 1]));
    let odd: [V; 4] = std::array::from_fn(|k| _mm512_unpackhi_epi64(v[2 * k], v[2 * k + 1]));
    let [r0, r2, r4, r6] = quarters(even[0], even[1], even[2], even[3]);
    let [r1, r3, r5, r7] = quarters(odd[0], odd[1], odd[2], odd[3]);
    [r0, r1, r2, r3, r4, r5, r6, r7]
}

/// B_i ≡ a_i + `offset` − (I·a_{n−i} in [0, 2q)), B_0 ≡ a_0 + `offset`; `clear`: with bits above 52 cleared.
#[target_feature(enable = "avx512f,avx512ifma")]
fn fold_conjugate(c: &Q, fold: Shoup, offset: u64, clear: bool, a: &mut [u64]) {
    let (w, offset) = (W::splat(fold), splat(offset));
    let keep = if clear { c.mask } else { splat(u64::MAX) };
    mirrored(a, |x, mirror, first| {
        let mirror = if first { _mm512_maskz_mov_epi64(0xfe, mirror) } else { mirror };
        _mm512_and_si512(sub(add(x, offset), c.mul_onto(c.zero, mirror, w)), keep)
    });
}

/// a_i = B_i + I·B_{n−i} and a_0 = 2·B_0, canonical, from numbers below 2q.
#[target_feature(enable = "avx512f,avx512ifma")]
fn unfold_conjugate(c: &Q, fold: Shoup, a: &mut [u64]) {
    let w = W::splat(fold);
    mirrored(a, |x, mirror, first| {
        let sum = c.mul_onto(x, mirror, w);
        let sum = if first { _mm512_mask_add_epi64(sum, 1, x, x) } else { sum };
        c.canonical4(sum)
    });
}

/// Replaces each vector by a function of it and of its mirror image, the lanes at n − i for i > 0. In lane 0 of the
/// first vector the mirror image is that lane itself; the function is told by its last argument.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn mirrored(a: &mut [u64], f: impl Fn(V, V, bool) -> V) {
    let vectors = a.as_chunks_mut::<8>().0;
    let count = vectors.len();
    let reverse = _mm512_setr_epi64(8, 7, 6, 5, 4, 3, 2, 1);
    // Lane 0 of vector j mirrors lane 0 of vector count − j, lane k lane 8 − k of vector count − 1 − j.
    let image = |at: V, zeroth: V| _mm512_permutex2var_epi64(at, reverse, zeroth);
    let mut zeroth = load(&vectors[0]);
    for j in 0..count / 2 {
        let (x, y, next) = (load(&vectors[j]), load(&vectors[count - 1 - j]), load(&vectors[j + 1]));
        store(&mut vectors[j], f(x, image(y, zeroth), j == 0));
        store(&mut vectors[count - 1 - j], f(y, image(x, next), false));
        zeroth = y;
    }
}

/// Coefficients from values. `a` has n ≥ 64 entries.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn inverse(m: &Modulus, tables: &Tables, a: &mut [u64]) {
    assert!(a.len().is_power_of_two() && a.len() >= 64);
    let c = Inverse {
        q: Q::new(m),
        times: std::array::from_fn(|k| splat(m.value() << k)),
        sum: W::splat(tables.last_sum),
        difference: W::splat(tables.last_difference),
    };
    let radices = radices(a.len().ilog2());
    let w = &tables.inverse;
    match (tables.lazy, tables.fold) {
        (true, None) => inverse_to::<true, LAST>(&c, radices, &w.passes, w, 0, a),
        (false, None) => inverse_to::<false, LAST>(&c, radices, &w.passes, w, 0, a),
        (lazy, Some(fold)) => {
            if lazy {
                inverse_to::<true, LAST_LAZY>(&c, radices, &w.passes, w, 0, a);
            } else {
                inverse_to::<false, LAST_LAZY>(&c, radices, &w.passes, w, 0, a);
            }
            unfold_conjugate(&c.q, fold, a);
        }
    }
}

/// Constants of an inverse transform.
struct Inverse {
    q: Q,
    /// 2^k·q.
    times: [V; 6],
    sum: W,
    difference: W,
}

/// The passes of `radices`, last first, over the subtree of the `node`-th node of their first level.
#[target_feature(enable = "avx512f,avx512ifma")]
fn inverse_to<const LAZY: bool, const END: u8>(
    c: &Inverse,
    radices: &[u32],
    passes: &[crate::rows::Rows],
    w: &Twiddles,
    node: usize,
    a: &mut [u64],
) {
    let (Some((&log, radices)), Some((pass, passes))) = (radices.split_first(), passes.split_first()) else {
        let words = w.block.row(0)[node * BLOCK_WORDS..].as_chunks::<BLOCK_WORDS>().0;
        for (block, words) in a.as_chunks_mut().0.iter_mut().zip(words) {
            inverse_block::<LAZY, END>(c, words, block);
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
    match log {
        1 => inverse_2::<LAZY, END>(c, words, a),
        2 => inverse_4::<LAZY, END>(c, words, a),
        _ => inverse_8::<LAZY, END>(c, words, a),
    }
}

/// x − y plus a multiple of q that makes it positive: `bound` above y (lazy) or 2q.
#[inline]
#[target_feature(enable = "avx512f")]
fn difference<const LAZY: bool>(c: &Q, x: V, y: V, bound: V) -> V {
    // Adding the zero of `closing_raised` vanishes.
    sub(add(x, if LAZY { bound } else { c.two_q }), y)
}

/// One butterfly: (x + y, (x − y)·w); y is below `bound`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn gentleman<const LAZY: bool>(c: &Q, x: V, y: V, w: W, bound: V) -> (V, V) {
    let d = difference::<LAZY>(c, x, y, bound);
    if LAZY { (add(x, y), c.mul_onto(c.zero, d, w)) } else { (sub_once(add(x, y), c.two_q), c.mul(d, w)) }
}

/// [`gentleman`] with 2q added to the product if lazy, where that costs nothing: its difference from another product
/// is then positive as it is, see [`closing_raised`].
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn raising<const LAZY: bool>(c: &Q, x: V, y: V, w: W, bound: V) -> (V, V) {
    if LAZY {
        (add(x, y), c.mul_onto(c.two_q, difference::<LAZY>(c, x, y, bound), w))
    } else {
        gentleman::<LAZY>(c, x, y, w, bound)
    }
}

/// [`closing`] of a product of [`raising`], in [2q, 4q), and one of [`gentleman`], in [0, 2q).
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn closing_raised<const LAZY: bool, const END: u8>(c: &Inverse, x: V, y: V, w: W) -> (V, V) {
    closing::<LAZY, END>(c, x, y, w, c.q.zero)
}

/// A butterfly of the last level of a pass.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn closing<const LAZY: bool, const END: u8>(c: &Inverse, x: V, y: V, w: W, bound: V) -> (V, V) {
    if END == INNER {
        return gentleman::<LAZY>(&c.q, x, y, w, bound);
    }
    let s = c.q.mul_onto(c.q.zero, add(x, y), c.sum);
    let d = c.q.mul_onto(c.q.zero, difference::<LAZY>(&c.q, x, y, bound), c.difference);
    if END == LAST { (c.q.canonical2(s), c.q.canonical2(d)) } else { (s, d) }
}

/// What becomes of the register that is a sum at all levels of a pass.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn all_sums<const LAZY: bool, const END: u8>(c: &Q, x: V) -> V {
    if LAZY && END == INNER { c.barrett(x) } else { x }
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn inverse_2<const LAZY: bool, const END: u8>(c: &Inverse, words: &[u64], a: &mut [u64]) {
    let w = W::pair(words, 0);
    strided!(a, 2, |v| {
        let (x, y) = closing::<LAZY, END>(c, v[0], v[1], w, c.times[3]);
        [all_sums::<LAZY, END>(&c.q, x), y]
    });
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn inverse_4<const LAZY: bool, const END: u8>(c: &Inverse, words: &[u64], a: &mut [u64]) {
    let (w1, w2, w3) = (W::pair(words, 0), W::pair(words, 1), W::pair(words, 2));
    strided!(a, 4, |v| {
        let (x0, x1) = raising::<LAZY>(&c.q, v[0], v[1], w2, c.times[3]);
        let (x2, x3) = gentleman::<LAZY>(&c.q, v[2], v[3], w3, c.times[3]);
        let (x0, x2) = closing::<LAZY, END>(c, x0, x2, w1, c.times[4]);
        let (x1, x3) = closing_raised::<LAZY, END>(c, x1, x3, w1);
        [all_sums::<LAZY, END>(&c.q, x0), x1, x2, x3]
    });
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn inverse_8<const LAZY: bool, const END: u8>(c: &Inverse, words: &[u64], a: &mut [u64]) {
    let w: [W; 7] = std::array::from_fn(|k| W::pair(words, k));
    let t = c.times;
    strided!(a, 8, |v| {
        let [a0, a1, a2, a3, a4, a5, a6, a7] = first_level::<LAZY>(c, v, &w, t[3]);
        // Sums are below 16q, products below 2q.
        let (b0, b2) = raising::<LAZY>(&c.q, a0, a2, w[1], t[4]);
        let (b1, b3) = raising::<LAZY>(&c.q, a1, a3, w[1], t[1]);
        let (b4, b6) = gentleman::<LAZY>(&c.q, a4, a6, w[2], t[4]);
        let (b5, b7) = gentleman::<LAZY>(&c.q, a5, a7, w[2], t[1]);
        // Below 32q, 4q, and two pairs of products.
        let (c0, c4) = closing::<LAZY, END>(c, b0, b4, w[0], t[5]);
        let (c1, c5) = closing::<LAZY, END>(c, b1, b5, w[0], t[2]);
        let (c2, c6) = closing_raised::<LAZY, END>(c, b2, b6, w[0]);
        let (c3, c7) = closing_raised::<LAZY, END>(c, b3, b7, w[0]);
        [all_sums::<LAZY, END>(&c.q, c0), c1, c2, c3, c4, c5, c6, c7]
    });
}

/// The level of stride 1 among eight vectors below `bound`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn first_level<const LAZY: bool>(c: &Inverse, v: [V; 8], w: &[W; 7], bound: V) -> [V; 8] {
    let (a0, a1) = gentleman::<LAZY>(&c.q, v[0], v[1], w[3], bound);
    let (a2, a3) = gentleman::<LAZY>(&c.q, v[2], v[3], w[4], bound);
    let (a4, a5) = gentleman::<LAZY>(&c.q, v[4], v[5], w[5], bound);
    let (a6, a7) = gentleman::<LAZY>(&c.q, v[6], v[7], w[6], bound);
    [a0, a1, a2, a3, a4, a5, a6, a7]
}

/// Three inverse levels from vectors below 2^k·q, k ≤ 3: strides 1, 2, 4, every number bounded alike.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn three_inverse<const LAZY: bool, const END: u8>(c: &Inverse, v: [V; 8], w: &[W; 7], k: usize) -> [V; 8] {
    let t = &c.times;
    let [a0, a1, a2, a3, a4, a5, a6, a7] = first_level::<LAZY>(c, v, w, t[k]);
    let (b0, b2) = raising::<LAZY>(&c.q, a0, a2, w[1], t[k + 1]);
    let (b1, b3) = raising::<LAZY>(&c.q, a1, a3, w[1], t[k + 1]);
    let (b4, b6) = gentleman::<LAZY>(&c.q, a4, a6, w[2], t[k + 1]);
    let (b5, b7) = gentleman::<LAZY>(&c.q, a5, a7, w[2], t[k + 1]);
    let (c0, c4) = closing::<LAZY, END>(c, b0, b4, w[0], t[k + 2]);
    let (c1, c5) = closing::<LAZY, END>(c, b1, b5, w[0], t[k + 2]);
    let (c2, c6) = closing_raised::<LAZY, END>(c, b2, b6, w[0]);
    let (c3, c7) = closing_raised::<LAZY, END>(c, b3, b7, w[0]);
    [c0, c1, c2, c3, c4, c5, c6, c7]
}

/// The first six inverse levels of 64 canonical values.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn inverse_block<const LAZY: bool, const END: u8>(
    c: &Inverse,
    words: &[u64; BLOCK_WORDS],
    a: &mut [u64; 64],
) {
    let (whole, lanes) = block_twiddles(words);
    let rows = a.as_chunks_mut::<8>().0;
    let v = transpose(std::array::from_fn(|k| load(&rows[k])));
    let v = transpose(three_inverse::<LAZY, INNER>(c, v, &lanes, 0));
    let mut v = three_inverse::<LAZY, END>(c, v, &whole, 3);
    v[0] = all_sums::<LAZY, END>(&c.q, v[0]);
    for (row, x) in rows.iter_mut().zip(v) {
        store(row, x);
    }
}
