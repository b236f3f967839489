//! Learning parity with noise: a row is ten loads that wait for the second-level cache, so everything else that is to be
//! done is done meanwhile.

use super::super::hashing::Vectors;
use super::super::{Hashing, LPN_WEIGHT, MAX_LOG_TABLE};
use super::{RoundKeys, V, block, broadcast, counters, encrypt, in_order, load, load_block, spread, store};
use std::arch::x86_64::*;

/// Rows of the LPN matrix that are made together, and the vectors of index blocks they take.
const LPN_ROWS: usize = 12;
const LPN_VECTORS: usize = LPN_ROWS * LPN_WEIGHT / 24;

/// Byte offsets into the table for [`LPN_ROWS`] rows.
type Offsets = [u64; LPN_ROWS * LPN_WEIGHT];
type LpnPair = [[u128; LPN_ROWS]; 2];

/// What all rows of LPN have in common.
struct Lpn<'a> {
    keys: [V; 11],
    /// Keeps the bits of an offset into the table.
    cut: V,
    table: &'a [u128],
}

/// [`LPN_ROWS`] rows at the offsets `these`, the offsets `ahead` of the next ones, and AES of the vectors `beside` under
/// another key, all interleaved: while loads of a row wait for the table, the others go on. Written out, so that the
/// compiler keeps the order and the vectors in registers.
macro_rules! lpn_step {
    ($lpn:ident, $next:ident, $these:ident, $ahead:ident, $leaves:expr, $out:expr, $keys:ident, $beside:ident) => {
        let mut indices = index_counters($next);
        let (offsets, leaves, out) = ($these.as_chunks::<LPN_WEIGHT>().0, &$leaves, &mut $out);
        for v in indices.iter_mut() {
            *v = _mm512_xor_si512(*v, $lpn.keys[0]);
        }
        for v in $beside.iter_mut() {
            *v = _mm512_xor_si512(*v, $keys[0]);
        }
        macro_rules! round {
            ($round:literal, $row:literal) => {
                for v in indices.iter_mut() {
                    *v = in_order(_mm512_aesenc_epi128(*v, $lpn.keys[$round]));
                }
                for v in $beside.iter_mut() {
                    *v = in_order(_mm512_aesenc_epi128(*v, $keys[$round]));
                }
                out[$row] = lpn_row($lpn, &offsets[$row], leaves[$row]);
            };
        }
        round!(1, 0);
        round!(2, 1);
        round!(3, 2);
        round!(4, 3);
        round!(5, 4);
        round!(6, 5);
        round!(7, 6);
        round!(8, 7);
        round!(9, 8);
        for v in indices.iter_mut() {
            *v = _mm512_aesenclast_epi128(*v, $lpn.keys[10]);
        }
        for v in $beside.iter_mut() {
            *v = _mm512_aesenclast_epi128(*v, $keys[10]);
        }
        out[9] = lpn_row($lpn, &offsets[9], leaves[9]);
        put_offsets($lpn.cut, &indices, $ahead);
        out[10] = lpn_row($lpn, &offsets[10], leaves[10]);
        out[11] = lpn_row($lpn, &offsets[11], leaves[11]);
    };
}

kernels! {
    /// Puts the byte offsets that these index blocks say into `offsets`.
    fn put_offsets(cut: V, x: &[V; LPN_VECTORS], offsets: &mut Offsets) {
        const FIELD: u32 = MAX_LOG_TABLE;
        for (offsets, v) in offsets.as_chunks_mut::<24>().0.iter_mut().zip(x) {
            // The index fields, shifted by the four bits of a block's size.
            let fields =
                [_mm512_slli_epi64::<4>(*v), _mm512_srli_epi64::<{ FIELD - 4 }>(*v), _mm512_srli_epi64::<{ 2 * FIELD - 4 }>(*v)];
            for (offsets, field) in offsets.as_chunks_mut::<8>().0.iter_mut().zip(fields) {
                // SAFETY: eight words are writable; the store asks for no alignment.
                unsafe { _mm512_storeu_si512(offsets.as_mut_ptr().cast(), _mm512_and_si512(field, cut)) };
            }
        }
    }

    /// Counters of the index blocks of the next [`LPN_ROWS`] rows.
    fn index_counters(next: &mut V) -> [V; LPN_VECTORS] {
        let four = _mm512_maskz_set1_epi64(0b0101_0101, 4);
        let mut x = [*next; LPN_VECTORS];
        for v in x.iter_mut() {
            *v = *next;
            *next = _mm512_add_epi64(*next, four);
        }
        x
    }

    fn lpn_offsets(lpn: &Lpn<'_>, next: &mut V, offsets: &mut Offsets) {
        let mut x = index_counters(next);
        encrypt(&lpn.keys, &mut x);
        put_offsets(lpn.cut, &x, offsets);
    }

    /// A leaf and the entries of the table at its offsets.
    fn lpn_row(lpn: &Lpn<'_>, offsets: &[u64; LPN_WEIGHT], leaf: u128) -> u128 {
        let base = lpn.table.as_ptr().cast::<u8>();
        let mut sum = load_block(leaf);
        for offset in offsets {
            // SAFETY: `put_offsets` has cut the offset down to a whole block inside the table.
            let entry = unsafe { _mm_loadu_si128(base.add(*offset as usize).cast()) };
            sum = _mm_xor_si128(sum, entry);
        }
        block(sum)
    }

    /// Twice [`LPN_ROWS`] rows.
    fn lpn_rows(lpn: &Lpn<'_>, next: &mut V, offsets: &mut [Offsets; 2], leaves: &LpnPair, out: &mut LpnPair) {
        let [even, odd] = offsets;
        let (keys, mut none): (_, [V; 0]) = (&lpn.keys, []);
        lpn_step!(lpn, next, even, odd, leaves[0], out[0], keys, none);
        lpn_step!(lpn, next, odd, even, leaves[1], out[1], keys, none);
    }

    /// Twice [`LPN_ROWS`] rows, and hashes of `K` vectors beside.
    fn lpn_hash<const K: usize>(
        lpn: &Lpn<'_>, next: &mut V, offsets: &mut [Offsets; 2], leaves: &LpnPair, out: &mut LpnPair, keys: &[V; 11],
        tweak: V, stride: V, vectors: Vectors<'_, K>,
    ) {
        let Vectors { lane, inputs, offset, out: hashes } = vectors;
        let offset = broadcast(offset);
        let mut x = [_mm512_setzero_si512(); K];
        for k in 0..K {
            x[k] = _mm512_xor_si512(load(&inputs[k]), offset);
        }
        let [even, odd] = offsets;
        lpn_step!(lpn, next, even, odd, leaves[0], out[0], keys, x);
        let mut y = x;
        let mut index = counters(0, lane as u64);
        for v in y.iter_mut() {
            *v = _mm512_xor_si512(*v, _mm512_add_epi64(tweak, _mm512_mul_epu32(index, stride)));
            index = _mm512_add_epi64(index, _mm512_maskz_set1_epi64(0b0101_0101, 4));
        }
        lpn_step!(lpn, next, odd, even, leaves[1], out[1], keys, y);
        for k in 0..K {
            store(&mut hashes[k], _mm512_xor_si512(x[k], y[k]));
        }
    }

    pub(in super::super) fn lpn(
        keys: &RoundKeys, nonce: u64, first: usize, table: &[u128], leaves: &[u128], out: &mut [u128],
        beside: Option<&mut Hashing<'_>>,
    ) {
        // Only whole blocks inside the table, whose length is a power of two, survive the cut.
        let cut = _mm512_set1_epi64((table.len() as i64 - 1) << 4);
        let lpn = Lpn { keys: spread(keys), cut, table };
        let mut next = counters(nonce, (first / LPN_ROWS * 4 * LPN_VECTORS) as u64);
        let mut offsets = [[0; LPN_ROWS * LPN_WEIGHT]; 2];
        let skipped = first % LPN_ROWS;
        let head = if skipped == 0 { 0 } else { (LPN_ROWS - skipped).min(out.len()) };
        let ((head_leaves, leaves), (head_out, out)) = (leaves.split_at(head), out.split_at_mut(head));
        let simple = |offsets: &[[u64; LPN_WEIGHT]], leaves: &[u128], out: &mut [u128]| {
            for ((row, leaf), offsets) in out.iter_mut().zip(leaves).zip(offsets) {
                *row = lpn_row(&lpn, offsets, *leaf);
            }
        };
        lpn_offsets(&lpn, &mut next, &mut offsets[0]);
        if head > 0 {
            simple(&offsets[0].as_chunks().0[skipped..], head_leaves, head_out);
            lpn_offsets(&lpn, &mut next, &mut offsets[0]);
        }
        let ((leaves, rest_leaves), (out, rest_out)) = (leaves.as_chunks::<LPN_ROWS>(), out.as_chunks_mut::<LPN_ROWS>());
        let ((leaves, odd_leaves), (out, odd_out)) = (leaves.as_chunks::<2>(), out.as_chunks_mut::<2>());
        let mut pairs = leaves.iter().zip(out);
        if let Some(hashing) = beside {
            let (keys, tweak, stride) = hashing.parameters();
            let (keys, tweak, stride) = (spread(keys), broadcast(tweak), _mm512_set1_epi64(i64::from(stride)));
            macro_rules! hash {
                ($vectors:literal) => {
                    while pairs.len() > 0
                        && let Some(vectors) = hashing.next::<$vectors>()
                        && let Some((leaves, out)) = pairs.next()
                    {
                        lpn_hash(&lpn, &mut next, &mut offsets, leaves, out, &keys, tweak, stride, vectors);
                    }
                };
            }
            // Two blocks per row at a sender, at most one at a receiver.
            if hashing.left() > 3 * LPN_ROWS * pairs.len() { hash!(12) } else { hash!(6) }
        }
        for (leaves, out) in pairs {
            lpn_rows(&lpn, &mut next, &mut offsets, leaves, out);
        }
        for (leaves, out) in odd_leaves.iter().zip(odd_out) {
            simple(offsets[0].as_chunks().0, leaves, out);
            lpn_offsets(&lpn, &mut next, &mut offsets[0]);
        }
        simple(offsets[0].as_chunks().0, rest_leaves, rest_out);
    }
}
