//! Matrices of constants times rows of residues.

use super::rows::Wide;
use super::{V, mhi, mlo, splat, store};
use crate::Modulus;
use std::arch::x86_64::*;

/// Vectors and results whose running sums fill the registers: 24 of 32.
const ROWS: usize = 6;
const NARROW: usize = 4;
const WIDE: usize = 2;

/// As [`super::super::dot_scalars_into`], the first 8·⌊n/8⌋ entries; every operand has the length of the results.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn dot_scalars(m: &Modulus, xs: &[&[u64]], factors: &[u64], outs: &mut [&mut [u64]]) {
    let sums = Sums { w: Wide::new(m), terms: m.mac_terms() as usize, xs };
    let mut done = 0;
    while done < outs.len() {
        let rows = ROWS.min(outs.len() - done);
        let factors = &factors[done * xs.len()..(done + rows) * xs.len()];
        let outs = &mut outs[done..done + rows];
        match (m.one_word_products(), rows) {
            (true, 1) => sums.rows::<1, NARROW, true>(factors, outs),
            (true, 2) => sums.rows::<2, NARROW, true>(factors, outs),
            (true, 3) => sums.rows::<3, NARROW, true>(factors, outs),
            (true, 4) => sums.rows::<4, NARROW, true>(factors, outs),
            (true, 5) => sums.rows::<5, NARROW, true>(factors, outs),
            (true, _) => sums.rows::<ROWS, NARROW, true>(factors, outs),
            (false, 1) => sums.rows::<1, WIDE, false>(factors, outs),
            (false, 2) => sums.rows::<2, WIDE, false>(factors, outs),
            (false, 3) => sums.rows::<3, WIDE, false>(factors, outs),
            (false, 4) => sums.rows::<4, WIDE, false>(factors, outs),
            (false, 5) => sums.rows::<5, WIDE, false>(factors, outs),
            (false, _) => sums.rows::<ROWS, WIDE, false>(factors, outs),
        }
        done += rows;
    }
}

struct Sums<'a> {
    w: Wide,
    terms: usize,
    xs: &'a [&'a [u64]],
}

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
        let columns = self.xs.len();
        let rows: [&[u64]; R] = std::array::from_fn(|r| &factors[r * columns..(r + 1) * columns]);
        let mut lo = [[splat(0); N]; R];
        let mut hi = [[splat(0); N]; R];
        let mut start = 0;
        let mut room = self.terms;
        while start < columns {
            let end = columns.min(start + room);
            for (x, t) in self.xs[start..end].iter().zip(start..) {
                let x = eights::<N>(x, at);
                for r in 0..R {
                    let factor = splat(rows[r][t]);
                    for j in 0..N {
                        lo[r][j] = mlo(lo[r][j], x[j], factor);
                        if !ONE {
                            hi[r][j] = mhi(hi[r][j], x[j], factor);
                        }
                    }
                }
            }
            start = end;
            if start < columns {
                for (lo, hi) in lo.iter_mut().flatten().zip(hi.iter_mut().flatten()) {
                    *lo = self.w.sum(*lo, *hi);
                    *hi = self.w.q.zero;
                }
                room = self.terms - 1;
            }
        }
        for ((out, lo), hi) in outs.iter_mut().zip(lo).zip(hi) {
            for ((o, lo), hi) in out.as_chunks_mut().0[at..at + N].iter_mut().zip(lo).zip(hi) {
                store(o, self.w.sum(lo, hi));
            }
        }
    }
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
