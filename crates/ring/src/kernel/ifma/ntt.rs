//! Transforms: passes of radix 2 to 8 over vectors, then (forward) or before (inverse) blocks of 64 in registers, and
//! in the conjugate-invariant ring a first, respectively last, pass of one level that folds as well. Passes go depth
//! first, so that a row larger than the first-level cache is read from beyond it once or twice and not once per pass.
//!
//! # Ranges
//!
//! Every product t = w·y is in [0, q).
//!
//! *Strict* (any q < 2^50). Forward, x is below 4q, is brought below 2q, and x + t and x − t + q are below 3q. Inverse
//! values are below 2q: x + y is brought below 2q, and x − y + 2q is below 4q.
//!
//! *Lazy* ([`super::tables::Tables::lazy`]): only the low 52 bits of a lane mean anything, and those numbers grow.
//!
//! - Forward, L = log n levels. The butterfly is x' = x + t, y' = 2x − x' = x − t. At the start L·q is added to every x,
//!   operands are below 2q, and folding adds a product. So after k levels numbers are at least (L − k)q ≥ 0 and below
//!   (L + 3 + k)q.
//! - Inverse: [`inverse`].
//!
//! Tables are lazy only if both (2L + 3)q and 64q are at most 2^52: every number stays below 2^52, so the low 52 bits
//! are the number.

mod conjugate;
mod forward;
mod inverse;

pub(crate) use forward::{forward, forward_centred};
pub(crate) use inverse::{inverse, inverse_into};

use super::tables::BLOCK_WORDS;
use super::{F, load};
use std::arch::x86_64::*;

/// Calls `$body` for every vector position j of `$parts` equal parts of `$a`, with the vectors read from them (or from
/// those of `$source`, which is as long) as `$v`, and writes the array it evaluates to.
macro_rules! strided {
    ($a:expr, $parts:literal, |$v:ident| $body:expr) => {{
        let source = $a.as_mut_ptr().cast_const();
        strided!(@from source, $a, $parts, |$v| $body)
    }};
    ($a:expr, $source:expr, $parts:literal, |$v:ident| $body:expr) => {{
        assert_eq!($a.len(), $source.len());
        let source = $source.as_ptr();
        strided!(@from source, $a, $parts, |$v| $body)
    }};
    (@from $from:ident, $a:expr, $parts:literal, |$v:ident| $body:expr) => {{
        let stride = $a.len() / $parts;
        assert!(stride.is_multiple_of(8));
        let to = $a.as_mut_ptr();
        let mut j = 0;
        while j < stride {
            let read = |k: usize| {
                // SAFETY: j + 8 ≤ stride, so part k < $parts has words k·stride + j to k·stride + j + 7 inside
                // `$a`, which is borrowed mutably and not touched otherwise meanwhile, and inside `$source`.
                unsafe { _mm512_loadu_si512($from.add(k * stride + j).cast()) }
            };
            let $v: [V; $parts] = std::array::from_fn(read);
            let results: [V; $parts] = $body;
            for (k, &r) in results.iter().enumerate() {
                // SAFETY: as above.
                unsafe { _mm512_storeu_si512(to.add(k * stride + j).cast(), r) };
            }
            j += 8;
        }
    }};
}
use strided;

/// The twiddles of a block for the strides 32, 16 and 8.
#[inline]
#[target_feature(enable = "avx512f")]
fn whole_twiddles(words: &[u64; BLOCK_WORDS]) -> [F; 7] {
    std::array::from_fn(|k| F::pair(&words[112..], k))
}

/// The twiddles of stride 4 for the lanes of the `k`-th pair of vectors: two, alternating.
#[inline]
#[target_feature(enable = "avx512f")]
fn twiddles_4(words: &[u64; BLOCK_WORDS], k: usize) -> F {
    let quarter = |at: usize| {
        let two: &[u64] = &words[96 + 4 * k + at..][..2];
        // SAFETY: two words are readable; the load asks for no alignment.
        _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(two.as_ptr().cast()) })
    };
    F { high: quarter(0), low: quarter(2) }
}

/// The twiddles of stride 2: four, twice.
#[inline]
#[target_feature(enable = "avx512f")]
fn twiddles_2(words: &[u64; BLOCK_WORDS], k: usize) -> F {
    let half = |at: usize| {
        let four: &[u64] = &words[64 + 8 * k + at..][..4];
        // SAFETY: four words are readable; the load asks for no alignment.
        _mm512_broadcast_i64x4(unsafe { _mm256_loadu_si256(four.as_ptr().cast()) })
    };
    F { high: half(0), low: half(4) }
}

/// The twiddles of stride 1: eight.
#[inline]
#[target_feature(enable = "avx512f")]
fn twiddles_1(words: &[u64; BLOCK_WORDS], k: usize) -> F {
    let vectors = words.as_chunks().0;
    F { high: load(&vectors[2 * k]), low: load(&vectors[2 * k + 1]) }
}

/// A pair of vectors holds 16 entries; call the bits of an entry's number 3, 2, 1, 0. One bit tells the vectors apart,
/// the other three are those of the lane. These functions exchange bits, so that the one of the next level tells the
/// vectors apart; a level's twiddles depend on the bits above its own, which are in the low lane bits then.
mod exchange {
    use super::super::{V, load};
    use std::arch::x86_64::*;

    /// Lane k of the two results is entry `first[k]`, respectively `second[k]`, of both operands.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn permuted(&[a, b]: &[V; 2], first: &[u64; 8], second: &[u64; 8]) -> (V, V) {
        (_mm512_permutex2var_epi64(a, load(first), b), _mm512_permutex2var_epi64(a, load(second), b))
    }

    /// From 3 | 2 1 0 to 2 | 1 0 3.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn by_2_from_3(pair: &[V; 2]) -> (V, V) {
        permuted(pair, &[0, 8, 1, 9, 2, 10, 3, 11], &[4, 12, 5, 13, 6, 14, 7, 15])
    }

    /// From 2 | 1 0 3 to 1 | 0 2 3.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn by_1_from_2(pair: &[V; 2]) -> (V, V) {
        permuted(pair, &[0, 1, 8, 9, 2, 3, 10, 11], &[4, 5, 12, 13, 6, 7, 14, 15])
    }

    /// From 1 | 0 2 3 to 0 | 1 2 3 and back.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn by_0_or_1(&[a, b]: &[V; 2]) -> (V, V) {
        (_mm512_shuffle_i64x2::<0x44>(a, b), _mm512_shuffle_i64x2::<0xee>(a, b))
    }

    /// From 0 | 1 2 3 to 3 | 2 1 0 and back.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn by_0_or_3(pair: &[V; 2]) -> (V, V) {
        permuted(pair, &[0, 8, 4, 12, 2, 10, 6, 14], &[1, 9, 5, 13, 3, 11, 7, 15])
    }

    /// From 1 | 0 2 3 to 2 | 1 0 3.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn by_2_from_1(&[a, b]: &[V; 2]) -> (V, V) {
        (_mm512_shuffle_i64x2::<0x88>(a, b), _mm512_shuffle_i64x2::<0xdd>(a, b))
    }

    /// From 2 | 1 0 3 to 3 | 2 1 0.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn by_3_from_2(pair: &[V; 2]) -> (V, V) {
        permuted(pair, &[0, 2, 4, 6, 8, 10, 12, 14], &[1, 3, 5, 7, 9, 11, 13, 15])
    }
}
