use super::super::rows::reduce_centred_into;
use super::super::tables::{BLOCK_WORDS, Fraction, Tables, Twiddles, radices};
use super::super::{F, Lift, Q, V, add, load, mhi, splat, store, sub, sub_once};
use super::conjugate::fold_first;
use super::{exchange, strided, twiddles_1, twiddles_2, twiddles_4, whole_twiddles};
use crate::Modulus;
use crate::kernel::Ahead;
use std::arch::x86_64::*;

/// Values at the roots of unity from coefficients, for every n that has [`Tables`]. The rows `ahead` are fetched into the
/// second-level cache meanwhile.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn forward(m: &Modulus, tables: &Tables, a: &mut [u64], ahead: &[Ahead<'_>]) {
    if tables.lazy {
        forward_as::<true>(m, tables, None, a, ahead);
    } else {
        forward_as::<false>(m, tables, None, a, ahead);
    }
}

/// [`forward`] of the centred residues `src` modulo `from`, into `out`.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn forward_centred(
    from: &Modulus,
    m: &Modulus,
    tables: &Tables,
    src: &[u64],
    out: &mut [u64],
    ahead: &[Ahead<'_>],
) {
    let source = (&Lift::new(from, m), src);
    if tables.forward.passes.is_empty() && tables.conjugate.is_none() {
        reduce_centred_into(from, m, src, out);
        forward(m, tables, out, ahead);
    } else if tables.lazy {
        forward_as::<true>(m, tables, Some(source), out, ahead);
    } else {
        forward_as::<false>(m, tables, Some(source), out, ahead);
    }
}

/// What the first pass reads, if not the row it writes.
type Source<'a> = Option<(&'a Lift, &'a [u64])>;

#[target_feature(enable = "avx512f,avx512ifma")]
fn forward_as<const LAZY: bool>(
    m: &Modulus,
    tables: &Tables,
    source: Source<'_>,
    a: &mut [u64],
    ahead: &[Ahead<'_>],
) {
    let levels = a.len().ilog2();
    let q = Q::new(m);
    let bias = splat(if LAZY { u64::from(levels) * m.value() } else { 0 });
    let c = Forward { q, one: F::splat(Fraction::one(m)), bias, source, ahead, log_blocks: levels - 6 };
    let w = &tables.forward;
    match (&tables.conjugate, source) {
        (None, _) => return forward_from::<LAZY, true>(&c, radices(levels), &w.passes, w, 0, a),
        (Some(conjugate), None) => fold_first::<LAZY>(&q, bias, conjugate, a, |half, _, j| load(&half[j])),
        (Some(conjugate), Some((lift, src))) => {
            let src = src.as_chunks().0;
            let halves = [&src[..src.len() / 2], &src[src.len() / 2..]];
            fold_first::<LAZY>(&q, bias, conjugate, a, |_, k, j| lift.at(&q, load(&halves[k][j])));
        }
    }
    let half = a.len() / 2;
    for (k, part) in a.chunks_exact_mut(half).enumerate() {
        forward_from::<LAZY, false>(&c, radices(levels - 1), &w.passes, w, k, part);
    }
}

/// Constants of a forward transform.
struct Forward<'a> {
    q: Q,
    /// The constant 1.
    one: F,
    /// What the first pass adds to the x of its first level.
    bias: V,
    source: Source<'a>,
    ahead: &'a [Ahead<'a>],
    /// log2 of the blocks of 64 entries in the row.
    log_blocks: u32,
}

/// The passes of `radices` over the subtree of the `node`-th node of their first level.
#[target_feature(enable = "avx512f,avx512ifma")]
fn forward_from<const LAZY: bool, const FIRST: bool>(
    c: &Forward<'_>,
    radices: &[u32],
    passes: &[crate::rows::Rows],
    w: &Twiddles,
    node: usize,
    a: &mut [u64],
) {
    let (Some((&log, radices)), Some((pass, passes))) = (radices.split_first(), passes.split_first()) else {
        let blocks = a.as_chunks_mut().0;
        let words = &w.block.row(0).as_chunks().0[node..][..blocks.len()];
        // Strict butterflies are longer and need more registers.
        let two = if LAZY { blocks.len() / 2 * 2 } else { 0 };
        let ((twos, ones), (words, words_1)) = (blocks.split_at_mut(two), words.split_at(two));
        for (k, (blocks, words)) in twos.as_chunks_mut().0.iter_mut().zip(words.as_chunks().0).enumerate() {
            if !c.ahead.is_empty() {
                fetch(c, node + 2 * k, 2);
            }
            forward_blocks::<LAZY, FIRST, 2>(c, words, blocks);
        }
        for (k, (block, words)) in ones.as_chunks_mut().0.iter_mut().zip(words_1.as_chunks().0).enumerate() {
            if !c.ahead.is_empty() {
                fetch(c, node + two + k, 1);
            }
            forward_blocks::<LAZY, FIRST, 1>(c, words, block);
        }
        return;
    };
    let words = 2 * ((1usize << log) - 1);
    let words = &pass.row(0)[node * words..][..words];
    match log {
        1 => forward_2::<LAZY, FIRST>(c, words, a),
        2 => forward_4::<LAZY, FIRST>(c, words, a),
        _ => forward_8::<LAZY, FIRST>(c, words, a),
    }
    let len = a.len() >> log;
    if radices.is_empty() {
        forward_from::<LAZY, false>(c, radices, passes, w, node << log, a);
    } else {
        for (k, part) in a.chunks_exact_mut(len).enumerate() {
            forward_from::<LAZY, false>(c, radices, passes, w, (node << log) + k, part);
        }
    }
}

/// Fetches a share of what is ahead: while blocks `start` to `start + blocks` of a row are transformed, the same part of
/// other rows comes.
#[inline]
#[target_feature(enable = "avx512f")]
fn fetch(c: &Forward<'_>, start: usize, blocks: usize) {
    for ahead in c.ahead {
        let (at, len) = ahead.span();
        let line = |block: usize| ((len * block) >> c.log_blocks) / 64;
        for line in line(start)..line(start + blocks) {
            // A fetch has no effect but on time, whatever the address.
            _mm_prefetch::<_MM_HINT_T1>(at.wrapping_add(64 * line));
        }
    }
}

/// One butterfly: (x + w·y, x − w·y).
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn butterfly<const LAZY: bool>(c: &Q, x: V, y: V, w: F) -> (V, V) {
    if LAZY {
        let sum = w.product(c, x, y);
        (sum, sub(add(x, x), sum))
    } else {
        let x = sub_once(x, c.two_q);
        let t = w.product(c, c.zero, y);
        (add(x, t), sub(add(x, c.q), t))
    }
}

/// The butterfly of the last level, canonical. Sum and difference are taken of fractions.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn last_butterfly(c: &Forward<'_>, x: V, y: V, w: F) -> (V, V) {
    let x = c.one.fraction(c.q.two, x);
    let sum = w.fraction(x, y);
    let difference = sub(add(x, x), sum);
    (mhi(c.q.zero, sum, c.q.q), mhi(c.q.zero, difference, c.q.q))
}

/// The first half of the vectors with the bias if they are those of the first pass.
#[inline]
#[target_feature(enable = "avx512f")]
fn biased<const FIRST: bool, const N: usize>(mut v: [V; N], bias: V) -> [V; N] {
    if FIRST {
        for x in &mut v[..N / 2] {
            *x = add(*x, bias);
        }
    }
    v
}

/// [`strided`] for a forward pass, which the first one may read from elsewhere.
macro_rules! forward_pass {
    ($c:ident, $a:ident, $parts:literal, |$v:ident| $body:expr) => {{
        let (q, bias) = ($c.q, $c.bias);
        let first = |v: [V; $parts]| {
            let $v = biased::<FIRST, $parts>(v, bias);
            $body
        };
        match $c.source {
            Some((lift, source)) if FIRST => strided!($a, source, $parts, |v| {
                let mut v = v;
                for x in &mut v {
                    *x = lift.at(&q, *x);
                }
                first(v)
            }),
            _ => strided!($a, $parts, |v| first(v)),
        }
    }};
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn forward_2<const LAZY: bool, const FIRST: bool>(c: &Forward<'_>, words: &[u64], a: &mut [u64]) {
    let w = F::pair(words, 0);
    let q = c.q;
    forward_pass!(c, a, 2, |v| butterfly::<LAZY>(&q, v[0], v[1], w).into());
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn forward_4<const LAZY: bool, const FIRST: bool>(c: &Forward<'_>, words: &[u64], a: &mut [u64]) {
    let w: [F; 3] = std::array::from_fn(|k| F::pair(words, k));
    let q = c.q;
    forward_pass!(c, a, 4, |v| {
        let (x0, x2) = butterfly::<LAZY>(&q, v[0], v[2], w[0]);
        let (x1, x3) = butterfly::<LAZY>(&q, v[1], v[3], w[0]);
        let (x0, x1) = butterfly::<LAZY>(&q, x0, x1, w[1]);
        let (x2, x3) = butterfly::<LAZY>(&q, x2, x3, w[2]);
        [x0, x1, x2, x3]
    });
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn forward_8<const LAZY: bool, const FIRST: bool>(c: &Forward<'_>, words: &[u64], a: &mut [u64]) {
    let w: [F; 7] = std::array::from_fn(|k| F::pair(words, k));
    let q = c.q;
    forward_pass!(c, a, 8, |v| three_levels::<LAZY>(&q, v, &w));
}

/// Three forward levels among eight vectors: strides 4, 2, 1 with the twiddles breadth first.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn three_levels<const LAZY: bool>(c: &Q, v: [V; 8], w: &[F; 7]) -> [V; 8] {
    level_1::<LAZY>(c, level_2::<LAZY>(c, level_4::<LAZY>(c, v, w), w), w)
}

/// Stride 4.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn level_4<const LAZY: bool>(c: &Q, v: [V; 8], w: &[F; 7]) -> [V; 8] {
    let (a0, a4) = butterfly::<LAZY>(c, v[0], v[4], w[0]);
    let (a1, a5) = butterfly::<LAZY>(c, v[1], v[5], w[0]);
    let (a2, a6) = butterfly::<LAZY>(c, v[2], v[6], w[0]);
    let (a3, a7) = butterfly::<LAZY>(c, v[3], v[7], w[0]);
    [a0, a1, a2, a3, a4, a5, a6, a7]
}

/// Stride 2.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn level_2<const LAZY: bool>(c: &Q, v: [V; 8], w: &[F; 7]) -> [V; 8] {
    let (b0, b2) = butterfly::<LAZY>(c, v[0], v[2], w[1]);
    let (b1, b3) = butterfly::<LAZY>(c, v[1], v[3], w[1]);
    let (b4, b6) = butterfly::<LAZY>(c, v[4], v[6], w[2]);
    let (b5, b7) = butterfly::<LAZY>(c, v[5], v[7], w[2]);
    [b0, b1, b2, b3, b4, b5, b6, b7]
}

/// Stride 1.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn level_1<const LAZY: bool>(c: &Q, v: [V; 8], w: &[F; 7]) -> [V; 8] {
    let (c0, c1) = butterfly::<LAZY>(c, v[0], v[1], w[3]);
    let (c2, c3) = butterfly::<LAZY>(c, v[2], v[3], w[4]);
    let (c4, c5) = butterfly::<LAZY>(c, v[4], v[5], w[5]);
    let (c6, c7) = butterfly::<LAZY>(c, v[6], v[7], w[6]);
    [c0, c1, c2, c3, c4, c5, c6, c7]
}

/// The last six forward levels of N times 64 values, level by level: one block alone is too long a chain of dependent
/// instructions.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn forward_blocks<const LAZY: bool, const FIRST: bool, const N: usize>(
    c: &Forward<'_>,
    words: &[[u64; BLOCK_WORDS]; N],
    a: &mut [[u64; 64]; N],
) {
    let mut v = [[c.q.zero; 8]; N];
    for b in 0..N {
        let rows = a[b].as_chunks::<8>().0;
        v[b] = biased::<FIRST, 8>(std::array::from_fn(|k| load(&rows[k])), c.bias);
        v[b] = level_4::<LAZY>(&c.q, v[b], &whole_twiddles(&words[b]));
    }
    for b in 0..N {
        v[b] = level_2::<LAZY>(&c.q, v[b], &whole_twiddles(&words[b]));
    }
    for b in 0..N {
        v[b] = level_1::<LAZY>(&c.q, v[b], &whole_twiddles(&words[b]));
    }
    for b in 0..N {
        for (k, v) in v[b].as_chunks_mut().0.iter_mut().enumerate() {
            let (x, y) = exchange::by_2_from_3(v);
            *v = butterfly::<LAZY>(&c.q, x, y, twiddles_4(&words[b], k)).into();
        }
    }
    for b in 0..N {
        for (k, v) in v[b].as_chunks_mut().0.iter_mut().enumerate() {
            let (x, y) = exchange::by_1_from_2(v);
            *v = butterfly::<LAZY>(&c.q, x, y, twiddles_2(&words[b], k)).into();
        }
    }
    for b in 0..N {
        let rows = a[b].as_chunks_mut::<8>().0.as_chunks_mut::<2>().0;
        for ((k, v), rows) in v[b].as_chunks().0.iter().enumerate().zip(rows) {
            let (x, y) = exchange::by_0_or_1(v);
            let v = last_butterfly(c, x, y, twiddles_1(&words[b], k)).into();
            let (x, y) = exchange::by_0_or_3(&v);
            store(&mut rows[0], x);
            store(&mut rows[1], y);
        }
    }
}
