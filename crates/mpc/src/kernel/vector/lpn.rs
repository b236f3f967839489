//! Learning parity with noise: four outputs are ten cache lines of a table that is in the second-level cache at best. The
//! processor loads those of the next outputs while it waits, as far as it sees ahead; of large tables they are fetched before.

use super::super::{LINE, LPN_BLOCKS, LPN_PAIRS, LPN_ROWS, Line};
use super::{RoundKeys, V, counters, encrypt, in_order, load, spread, store};
use std::arch::x86_64::*;

/// Lines of outputs that are made together, whose sums stay in registers, and the vectors that their places take.
const LINES: usize = LPN_ROWS / LINE;
const VECTORS: usize = LPN_BLOCKS / LINE;

/// Lines of the largest table whose lines are not fetched: 2 MiB.
const NEAR: usize = 1 << 15;

/// Byte offsets into the table: those of a line of outputs, and all of these lines and more.
type OfLine = [[u32; 2]; LPN_PAIRS];
type Offsets = [[u32; 16]; 2 * VECTORS];

/// What all rows of LPN have in common.
struct Lpn<'a> {
    keys: [V; 11],
    /// Keeps the bits of a place in half of the table.
    cut: V,
    /// Byte offset of the upper half, for the second place of each pair.
    upper: V,
    table: &'a [Line],
}

/// Line by line.
#[inline(always)]
fn by_line(offsets: &Offsets) -> &[OfLine] {
    &offsets.as_flattened().as_chunks().0.as_chunks().0[..LINES]
}

kernels! {
    /// Counters of the next blocks of places.
    fn place_counters(next: &mut V) -> [V; VECTORS] {
        let four = _mm512_maskz_set1_epi64(0b0101_0101, 4);
        let mut x = [*next; VECTORS];
        for v in x.iter_mut() {
            *v = *next;
            *next = _mm512_add_epi64(*next, four);
        }
        x
    }

    /// Puts the byte offsets that these blocks say into `offsets`.
    fn put_offsets(lpn: &Lpn<'_>, x: [V; VECTORS], offsets: &mut Offsets) {
        for (two, v) in offsets.as_chunks_mut::<2>().0.iter_mut().zip(x) {
            let places = _mm512_and_si512(v, lpn.cut);
            let halves = [_mm512_castsi512_si256(places), _mm512_extracti64x4_epi64::<1>(places)];
            for (offsets, half) in two.iter_mut().zip(halves) {
                let offset = _mm512_add_epi32(_mm512_slli_epi32::<6>(_mm512_cvtepu16_epi32(half)), lpn.upper);
                // SAFETY: sixteen words are writable; the store asks for no alignment.
                unsafe { _mm512_storeu_si512(offsets.as_mut_ptr().cast(), offset) };
            }
        }
    }

    fn next_offsets(lpn: &Lpn<'_>, next: &mut V, offsets: &mut Offsets) {
        let mut x = place_counters(next);
        encrypt(&lpn.keys, &mut x);
        put_offsets(lpn, x, offsets);
    }

    fn line(lpn: &Lpn<'_>, offset: u32) -> V {
        let base = lpn.table.as_ptr().cast::<u8>();
        // SAFETY: `put_offsets` makes offsets of whole lines inside the table, whose lines are aligned.
        unsafe { _mm512_load_si512(base.add(offset as usize).cast()) }
    }

    /// Has the lines brought to the first-level cache, meanwhile.
    fn fetch(lpn: &Lpn<'_>, two: [u32; 2]) {
        for offset in two {
            let base = lpn.table.as_ptr().cast::<i8>();
            // SAFETY: inside the table, as of `line`; the instruction has no effect but on caches.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(base.add(offset as usize)) };
        }
    }

    /// α·sum plus two lines.
    fn step(lpn: &Lpn<'_>, sum: V, two: [u32; 2]) -> V {
        let turned = _mm512_shuffle_i64x2::<0b10_01_00_11>(sum, sum);
        // The last block, where the second is.
        let over = _mm512_maskz_shuffle_i64x2::<0b11_11_11_11>(0b0000_1100, sum, sum);
        let one = _mm512_xor_si512(line(lpn, two[0]), turned);
        _mm512_ternarylogic_epi64::<0x96>(one, over, line(lpn, two[1]))
    }

    /// Outputs first, first + 1, … of those that are made together.
    fn lpn_some(lpn: &Lpn<'_>, offsets: &Offsets, first: usize, leaves: &[u128], out: &mut [u128]) {
        let (mut first, mut rows) = (first, out.iter_mut().zip(leaves));
        while rows.len() > 0 && let Some(offsets) = by_line(offsets).get(first / LINE) {
            let mut sum = _mm512_setzero_si512();
            for two in offsets.iter().rev() {
                sum = step(lpn, sum, *two);
            }
            let (mut sums, skipped) = ([0; LINE], first % LINE);
            store(&mut sums, sum);
            for (sum, (row, leaf)) in sums.iter().skip(skipped).zip(rows.by_ref()) {
                *row = leaf ^ sum;
            }
            first += LINE - skipped;
        }
    }

    /// [`LPN_ROWS`] outputs at the offsets `these`, while the lines at the offsets `soon` are fetched, if they are far, and the
    /// offsets `ahead` are made. Written out, so that the compiler keeps the order and the vectors in registers.
    fn lpn_step<const FAR: bool>(
        lpn: &Lpn<'_>, next: &mut V, offsets: [&mut Offsets; 3], leaves: &[[u128; LINE]; LINES], out: &mut [[u128; LINE]; LINES],
    ) {
        let [these, soon, ahead] = offsets;
        let (these, soon) = (by_line(these), by_line(soon));
        let mut places = place_counters(next);
        for i in 0..VECTORS {
            places[i] = _mm512_xor_si512(places[i], lpn.keys[0]);
        }
        let mut sums = [_mm512_setzero_si512(); LINES];
        macro_rules! pair {
            ($pair:literal, $($round:literal)*) => {
                $(for i in 0..VECTORS {
                    places[i] = in_order(_mm512_aesenc_epi128(places[i], lpn.keys[$round]));
                })*
                for l in 0..LINES {
                    sums[l] = in_order(step(lpn, sums[l], these[l][$pair]));
                    if FAR {
                        fetch(lpn, soon[l][$pair]);
                    }
                }
            };
        }
        pair!(4, 1);
        pair!(3, 2 3);
        pair!(2, 4 5);
        pair!(1, 6 7);
        pair!(0, 8 9);
        for i in 0..VECTORS {
            places[i] = _mm512_aesenclast_epi128(places[i], lpn.keys[10]);
        }
        put_offsets(lpn, places, ahead);
        for l in 0..LINES {
            store(&mut out[l], _mm512_xor_si512(sums[l], load(&leaves[l])));
        }
    }

    pub(in super::super) fn lpn(
        keys: &RoundKeys, nonce: u64, first: usize, table: &[Line], leaves: &[u128], out: &mut [u128],
    ) {
        // Offsets are inside the table, whose length is a power of two and at most 2^17: the cut leaves a place in half of it, and
        // the upper half begins where half of it ends.
        let half = table.len() as i64 / 2;
        let (cut, upper) = (_mm512_set1_epi16((half - 1) as i16), _mm512_set1_epi64(half << 6 << 32));
        let lpn = Lpn { keys: spread(keys), cut, upper, table };
        let mut next = counters(nonce, (first / LPN_ROWS * LPN_BLOCKS) as u64);
        let mut offsets = [[[0; 16]; 2 * VECTORS]; 3];
        let [mut these, mut soon, mut ahead] = offsets.each_mut();
        next_offsets(&lpn, &mut next, these);
        next_offsets(&lpn, &mut next, soon);
        let skipped = first % LPN_ROWS;
        let head = if skipped == 0 { 0 } else { (LPN_ROWS - skipped).min(out.len()) };
        let ((head_leaves, leaves), (head_out, out)) = (leaves.split_at(head), out.split_at_mut(head));
        if head > 0 {
            lpn_some(&lpn, these, skipped, head_leaves, head_out);
            std::mem::swap(&mut these, &mut soon);
            next_offsets(&lpn, &mut next, soon);
        }
        let ((leaves, rest_leaves), (out, rest_out)) = (leaves.as_chunks(), out.as_chunks_mut());
        let ((leaves, few_leaves), (out, few_out)) = (leaves.as_chunks(), out.as_chunks_mut());
        for (leaves, out) in leaves.iter().zip(out) {
            let offsets = [&mut *these, &mut *soon, &mut *ahead];
            if table.len() > NEAR {
                lpn_step::<true>(&lpn, &mut next, offsets, leaves, out);
            } else {
                lpn_step::<false>(&lpn, &mut next, offsets, leaves, out);
            }
            (these, soon, ahead) = (soon, ahead, these);
        }
        let few = few_out.as_flattened_mut();
        let whole = few.len();
        lpn_some(&lpn, these, 0, few_leaves.as_flattened(), few);
        lpn_some(&lpn, these, whole, rest_leaves, rest_out);
    }
}
