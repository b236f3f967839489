//! Matrices of constants times rows of residues.

use super::super::constants::{ConstantMatrix, GROUP};
use super::rows::Wide;
use super::{V, mhi, mlo, splat, store};
use crate::Modulus;
use std::arch::x86_64::*;

/// Vectors at a time such that with [`GROUP`] results the running sums fill 24 of the 32 registers, by words per sum.
const ONE_WORD: usize = 4;
const TWO_WORDS: usize = 2;

/// As [`super::super::dot_constants_into`], the first 8·⌊n/8⌋ entries; all rows have n entries.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn dot_constants(m: &Modulus, xs: &[&[u64]], matrix: &ConstantMatrix, outs: &mut [&mut [u64]]) {
    let sums = Sums { w: Wide::new(m), terms: m.mac_terms() as usize, xs };
    for (factors, outs) in matrix.groups().zip(outs.chunks_mut(GROUP)) {
        match (m.one_word_products(), outs.len()) {
            (true, 1) => sums.rows::<1, ONE_WORD, true>(factors, outs),
            (true, 2) => sums.rows::<2, ONE_WORD, true>(factors, outs),
            (true, 3) => sums.rows::<3, ONE_WORD, true>(factors, outs),
            (true, 4) => sums.rows::<4, ONE_WORD, true>(factors, outs),
            (true, 5) => sums.rows::<5, ONE_WORD, true>(factors, outs),
            (true, _) => sums.rows::<GROUP, ONE_WORD, true>(factors, outs),
            (false, 1) => sums.rows::<1, TWO_WORDS, false>(factors, outs),
            (false, 2) => sums.rows::<2, TWO_WORDS, false>(factors, outs),
            (false, 3) => sums.rows::<3, TWO_WORDS, false>(factors, outs),
            (false, 4) => sums.rows::<4, TWO_WORDS, false>(factors, outs),
            (false, 5) => sums.rows::<5, TWO_WORDS, false>(factors, outs),
            (false, _) => sums.rows::<GROUP, TWO_WORDS, false>(factors, outs),
        }
    }
}

struct Sums<'a> {
    w: Wide,
    terms: usize,
    xs: &'a [&'a [u64]],
}

/// Running sums of `R` results over `N` vectors: low words, then high words.
type Running<const R: usize, const N: usize> = ([[V; N]; R], [[V; N]; R]);

impl Sums<'_> {
    /// `R` results, `N` vectors at a time. `ONE`: products are below 2^52, so that their high words are zero.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn rows<const R: usize, const N: usize, const ONE: bool>(
        &self,
        factors: &[u64],
        outs: &mut [&mut [u64]],
    ) {
        let vectors = outs[0].len() / 8;
        let mut at = 0;
        while at + N <= vectors {
            self.at::<R, N, ONE>(factors, at, outs);
            at += N;
        }
        while at < vectors {
            self.at::<R, 1, ONE>(factors, at, outs);
            at += 1;
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn at<const R: usize, const N: usize, const ONE: bool>(
        &self,
        factors: &[u64],
        at: usize,
        outs: &mut [&mut [u64]],
    ) {
        let zero = [[self.w.q.zero; N]; R];
        let factors = factors.as_chunks::<R>().0;
        let first = self.terms.min(self.xs.len());
        let (xs, mut more_xs) = self.xs.split_at(first);
        let (now, mut more) = factors.split_at(first);
        let mut sums = add_products::<R, N, ONE>((zero, zero), xs, now, at);
        while !more_xs.is_empty() {
            // The sum so far counts as one term.
            let next = (self.terms - 1).min(more_xs.len());
            sums = add_products::<R, N, ONE>((self.folded(sums), zero), &more_xs[..next], &more[..next], at);
            (more_xs, more) = (&more_xs[next..], &more[next..]);
        }
        for (out, sums) in outs.iter_mut().zip(self.folded(sums)) {
            for (o, sum) in out.as_chunks_mut().0[at..at + N].iter_mut().zip(sums) {
                store(o, sum);
            }
        }
    }

    /// The sums, canonical.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn folded<const R: usize, const N: usize>(&self, (mut lo, hi): Running<R, N>) -> [[V; N]; R] {
        for r in 0..R {
            for j in 0..N {
                lo[r][j] = self.w.sum(lo[r][j], hi[r][j]);
            }
        }
        lo
    }
}

/// Adds the products of vectors `at` to `at` + N − 1 of every row by its `R` factors, by value so that the sums
/// stay in registers.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn add_products<const R: usize, const N: usize, const ONE: bool>(
    (mut lo, mut hi): Running<R, N>,
    xs: &[&[u64]],
    factors: &[[u64; R]],
    at: usize,
) -> Running<R, N> {
    for (x, factors) in xs.iter().zip(factors) {
        let x = eights::<N>(x, at);
        for r in 0..R {
            let factor = splat(factors[r]);
            for j in 0..N {
                lo[r][j] = mlo(lo[r][j], x[j], factor);
                if !ONE {
                    hi[r][j] = mhi(hi[r][j], x[j], factor);
                }
            }
        }
    }
    (lo, hi)
}

/// Vectors `at` to `at` + N − 1 of a row.
#[inline]
#[target_feature(enable = "avx512f")]
fn eights<const N: usize>(row: &[u64], at: usize) -> [V; N] {
    let row = &row[8 * at..8 * (at + N)];
    std::array::from_fn(|j| {
        // SAFETY: eight words of `row` start at 8·j; the load asks for no alignment.
        unsafe { _mm512_loadu_si512(row.as_ptr().add(8 * j).cast()) }
    })
}
