//! The table of an extension: made from streams, hashed row by row, transposed.

use super::super::{BLOCKS, Cipher, Correction, LINE, ROWS, STRIDE};
use super::{V, broadcast, counters, in_order, load, reduce_lanes, store, times_lanes};
use std::arch::x86_64::*;

/// Vectors of a row.
const VECTORS: usize = BLOCKS / LINE;

kernels! {
    /// a ⊕ b ⊕ c.
    fn add_3(a: V, b: V, c: V) -> V {
        _mm512_ternarylogic_epi64::<0x96>(a, b, c)
    }

    pub(in super::super) fn sum_streams(
        leaves: &[Cipher],
        start: u64,
        correction: Option<Correction<'_>>,
        sum: &mut [u128],
        rows: &mut [u128],
    ) {
        match rows.len() / STRIDE {
            2 => streams::<2>(leaves, start, correction, sum, rows),
            4 => streams::<4>(leaves, start, correction, sum, rows),
            _ => streams::<8>(leaves, start, correction, sum, rows),
        }
    }

    /// Two vectors of every stream at a time, so that all sums stay in registers; four streams at a time, so that the latency
    /// of a round is hidden.
    fn streams<const K: usize>(
        leaves: &[Cipher],
        start: u64,
        correction: Option<Correction<'_>>,
        sum: &mut [u128],
        rows: &mut [u128],
    ) {
        for (i, out) in sum.as_chunks_mut::<LINE>().0.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            let first = start.wrapping_add((2 * LINE * i) as u64);
            let counters = [counters(0, first), counters(0, first.wrapping_add(LINE as u64))];
            let mut total = [_mm512_setzero_si512(); 2];
            let mut sums = [total; K];
            for (above, leaves) in leaves.as_chunks::<4>().0.iter().enumerate() {
                let keys = leaves.each_ref().map(|leaf| leaf.round_keys.expose());
                let mut x = [counters; 4];
                for j in 0..4 {
                    let key = broadcast(keys[j][0]);
                    for v in 0..2 {
                        x[j][v] = _mm512_xor_si512(x[j][v], key);
                    }
                }
                for round in 1..10 {
                    for j in 0..4 {
                        let key = broadcast(keys[j][round]);
                        for v in 0..2 {
                            x[j][v] = in_order(_mm512_aesenc_epi128(x[j][v], key));
                        }
                    }
                }
                for j in 0..4 {
                    let key = broadcast(keys[j][10]);
                    for v in 0..2 {
                        x[j][v] = _mm512_aesenclast_epi128(x[j][v], key);
                    }
                }
                for v in 0..2 {
                    let [a, b, c, d] = [x[0][v], x[1][v], x[2][v], x[3][v]];
                    sums[0][v] = add_3(sums[0][v], b, d);
                    sums[1][v] = add_3(sums[1][v], c, d);
                    let four = _mm512_xor_si512(add_3(a, b, c), d);
                    total[v] = _mm512_xor_si512(total[v], four);
                    for b in 2..K {
                        if above >> (b - 2) & 1 == 1 {
                            sums[b][v] = _mm512_xor_si512(sums[b][v], four);
                        }
                    }
                }
            }
            if let Some(Correction { masks, difference }) = correction {
                let mut rest = difference.get(2 * 64 * i..).unwrap_or_default();
                let mut of_rows = total;
                for v in of_rows.iter_mut() {
                    let bytes = rest.split_off(..rest.len().min(64)).unwrap_or_default();
                    let some = u64::MAX.checked_shr(64 - bytes.len() as u32).unwrap_or_default();
                    // SAFETY: as many bytes as the mask has ones are readable.
                    let d = unsafe { _mm512_maskz_loadu_epi8(some, bytes.as_ptr().cast()) };
                    *v = _mm512_xor_si512(*v, d);
                }
                for (sums, mask) in sums.iter_mut().zip(masks) {
                    let mask = broadcast(*mask);
                    for (sum, v) in sums.iter_mut().zip(&of_rows) {
                        // sum ⊕ mask·v.
                        *sum = _mm512_ternarylogic_epi64::<0x78>(*sum, mask, *v);
                    }
                }
            }
            for (out, v) in out.iter_mut().zip(total) {
                store(out, v);
            }
            for (row, sums) in rows.chunks_exact_mut(STRIDE).zip(sums) {
                for (out, v) in row.as_chunks_mut::<LINE>().0[2 * i..].iter_mut().zip(sums) {
                    store(out, v);
                }
            }
        }
    }

    /// The halves of each lane swapped.
    fn swap_halves(a: V) -> V {
        _mm512_shuffle_epi32::<0x4e>(a)
    }

    /// The sums of the lanes of four vectors, in four lanes.
    fn fold_4(v: [V; 4]) -> V {
        let [a, b, c, d] = v;
        let pair = |a, b| _mm512_xor_si512(_mm512_shuffle_i64x2::<0x44>(a, b), _mm512_shuffle_i64x2::<0xee>(a, b));
        let (a, b) = (pair(a, b), pair(c, d));
        _mm512_xor_si512(_mm512_shuffle_i64x2::<0x88>(a, b), _mm512_shuffle_i64x2::<0xdd>(a, b))
    }

    /// Products of halves as A. Karatsuba has them: (low + high)·(low' + high') is the middle, the low and the high part.
    pub(in super::super) fn inner_of_rows(a: &[u128], table: &[u128], out: &mut [u128; ROWS]) {
        let mut all = [0; BLOCKS];
        all[..a.len()].copy_from_slice(a);
        let mut factors = [[_mm512_setzero_si512(); 2]; VECTORS];
        for (factor, a) in factors.iter_mut().zip(all.as_chunks::<LINE>().0) {
            let v = load(a);
            *factor = [v, _mm512_xor_si512(v, swap_halves(v))];
        }
        for (rows, out) in table.chunks_exact(4 * STRIDE).zip(out.as_chunks_mut::<4>().0) {
            let [mut low, mut middle, mut high] = [[_mm512_setzero_si512(); 4]; 3];
            for (r, row) in rows.chunks_exact(STRIDE).enumerate() {
                for (block, [a, both]) in row.as_chunks::<LINE>().0.iter().zip(&factors) {
                    let v = load(block);
                    low[r] = _mm512_xor_si512(low[r], _mm512_clmulepi64_epi128::<0x00>(v, *a));
                    high[r] = _mm512_xor_si512(high[r], _mm512_clmulepi64_epi128::<0x11>(v, *a));
                    let halves = _mm512_xor_si512(v, swap_halves(v));
                    middle[r] = _mm512_xor_si512(middle[r], _mm512_clmulepi64_epi128::<0x00>(halves, *both));
                }
            }
            let (low, high) = (fold_4(low), fold_4(high));
            store(out, reduce_lanes([low, add_3(fold_4(middle), low, high), high]));
        }
    }

    pub(in super::super) fn add_and_scale(c: u128, a: &[u128; ROWS], out: &mut [u128; ROWS]) {
        let c = broadcast(c);
        for (out, a) in out.as_chunks_mut::<LINE>().0.iter_mut().zip(a.as_chunks::<LINE>().0) {
            store(out, times_lanes(_mm512_xor_si512(load(out), load(a)), c));
        }
    }

    /// A lane takes 32 rows of 128 columns. Eight rows at a time become bytes side by side, and so the rows of an 8 × 8 square in
    /// each word; the squares of four such eights become the 32 bits of each column, and four lanes the 128.
    pub(in super::super) fn transpose(table: &[u128], first: usize, out: &mut [u128]) {
        /// Unpacks the pairs of neighbours.
        macro_rules! unpack {
            ($low:ident, $high:ident, $from:expr, $n:literal) => {{
                let from = $from;
                let mut out = [_mm512_setzero_si512(); $n];
                for i in 0..$n / 2 {
                    out[i] = $low(from[2 * i], from[2 * i + 1]);
                    out[i + $n / 2] = $high(from[2 * i], from[2 * i + 1]);
                }
                out
            }};
        }
        let unit = _mm512_set1_epi64(0x8040_2010_0804_0201u64 as i64);
        let gather = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
        let Some(table) = table.as_chunks::<STRIDE>().0.first_chunk::<ROWS>() else { return };
        assert!(first <= BLOCKS - LINE, "columns of a table");
        let mut squares = [[_mm512_setzero_si512(); 8]; 4];
        for (lane, out) in out.as_chunks_mut::<128>().0.iter_mut().enumerate() {
            for (e, eight) in squares.iter_mut().enumerate() {
                let mut rows = *eight;
                for (i, v) in rows.iter_mut().enumerate() {
                    let block = |l: usize| super::load_block(table[32 * l + 8 * e + 7 - i][first + lane]);
                    let low = _mm256_set_m128i(block(1), block(0));
                    let high = _mm256_set_m128i(block(3), block(2));
                    *v = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
                }
                let bytes = unpack!(_mm512_unpacklo_epi8, _mm512_unpackhi_epi8, rows, 8);
                let words = unpack!(_mm512_unpacklo_epi16, _mm512_unpackhi_epi16, bytes, 8);
                let squares = unpack!(_mm512_unpacklo_epi32, _mm512_unpackhi_epi32, words, 8);
                for (out, v) in eight.iter_mut().zip(squares) {
                    *out = _mm512_gf2p8affine_epi64_epi8::<0>(unit, v);
                }
            }
            for (j, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                // Unpacking has reversed the bits of the index.
                let j = [0, 4, 2, 6, 1, 5, 3, 7][j];
                let of_four = [squares[0][j], squares[1][j], squares[2][j], squares[3][j]];
                let bytes = unpack!(_mm512_unpacklo_epi8, _mm512_unpackhi_epi8, of_four, 4);
                let [a, b, c, d] = unpack!(_mm512_unpacklo_epi16, _mm512_unpackhi_epi16, bytes, 4);
                for (out, v) in out.as_chunks_mut::<4>().0.iter_mut().zip([a, c, b, d]) {
                    store(out, _mm512_permutexvar_epi32(gather, v));
                }
            }
        }
    }
}
