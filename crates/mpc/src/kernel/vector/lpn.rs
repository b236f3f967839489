//! Learning parity with noise: a row is ten loads that wait for the second-level cache, so everything else that is to be
//! done is done meanwhile.

use super::super::hashing::Vectors;
use super::super::{Hashing, LPN_WEIGHT, MAX_LOG_TABLE};
use super::{RoundKeys, V, block, broadcast, counters, encrypt, in_order, load, load_block, spread, store};
use std::arch::x86_64::*;

/// Rows of the LPN matrix that are made together, and the vectors of index blocks they take.
const ROWS: usize = 12;
const VECTORS: usize = ROWS * LPN_WEIGHT / 24;
/// Vectors that are hashed beside these rows: two blocks per row at a sender, and at most one at a receiver.
const MANY: usize = ROWS / 2;
const FEW: usize = ROWS / 4;

/// Byte offsets into the table for so many rows.
type Offsets = [[u64; LPN_WEIGHT]; ROWS];

/// What all rows of LPN have in common.
struct Lpn<'a> {
    keys: [V; 11],
    /// Keeps the bits of an offset into the table.
    cut: V,
    table: &'a [u128],
    /// Of hashes that are made beside.
    hash_keys: [V; 11],
}

kernels! {
    /// Counters of the next index blocks.
    fn index_counters(next: &mut V) -> [V; VECTORS] {
        let four = _mm512_maskz_set1_epi64(0b0101_0101, 4);
        let mut x = [*next; VECTORS];
        for v in x.iter_mut() {
            *v = *next;
            *next = _mm512_add_epi64(*next, four);
        }
        x
    }

    /// Puts the byte offsets that four index blocks say into `offsets`.
    fn put_vector(cut: V, v: V, offsets: &mut [u64; 24]) {
        const FIELD: u32 = MAX_LOG_TABLE;
        // The index fields, shifted by the four bits of a block's size.
        let fields =
            [_mm512_slli_epi64::<4>(v), _mm512_srli_epi64::<{ FIELD - 4 }>(v), _mm512_srli_epi64::<{ 2 * FIELD - 4 }>(v)];
        for (offsets, field) in offsets.as_chunks_mut::<8>().0.iter_mut().zip(fields) {
            // SAFETY: eight words are writable; the store asks for no alignment.
            unsafe { _mm512_storeu_si512(offsets.as_mut_ptr().cast(), _mm512_and_si512(field, cut)) };
        }
    }

    /// Puts the byte offsets that these index blocks say into `offsets`.
    fn put_offsets(cut: V, x: [V; VECTORS], offsets: &mut Offsets) {
        let offsets = offsets.as_flattened_mut().as_chunks_mut::<24>().0;
        for i in 0..VECTORS {
            put_vector(cut, x[i], &mut offsets[i]);
        }
    }

    fn lpn_offsets(lpn: &Lpn<'_>, next: &mut V, offsets: &mut Offsets) {
        let mut x = index_counters(next);
        encrypt(&lpn.keys, &mut x);
        put_offsets(lpn.cut, x, offsets);
    }

    /// A leaf and the entries of the table at its offsets.
    fn lpn_row(lpn: &Lpn<'_>, offsets: &[u64; LPN_WEIGHT], leaf: u128) -> u128 {
        let base = lpn.table.as_ptr().cast::<u8>();
        // SAFETY: `put_offsets` has cut the offset down to a whole block inside the table.
        let entry = |offset: u64| unsafe { _mm_loadu_si128(base.add(offset as usize).cast()) };
        let mut sum = load_block(leaf);
        for two in offsets.as_chunks::<2>().0 {
            sum = _mm_ternarylogic_epi64::<0x96>(sum, entry(two[0]), entry(two[1]));
        }
        block(sum)
    }

    /// [`ROWS`] rows at the offsets `these`, the offsets `ahead` of the next ones, and hashes of `K` vectors, all interleaved:
    /// while loads of a row wait for the table, the others go on. Written out, so that the compiler keeps the order and the
    /// vectors in registers.
    fn lpn_step<const K: usize>(
        lpn: &Lpn<'_>, next: &mut V, these: &Offsets, ahead: &mut Offsets, leaves: &[u128; ROWS],
        out: &mut [u128; ROWS], vectors: Vectors<'_, K>,
    ) {
        let Vectors { inputs, offset, out: hashes } = vectors;
        let mut indices = index_counters(next);
        let mut x = [_mm512_setzero_si512(); K];
        let offset = broadcast(offset);
        let whitened = _mm512_xor_si512(offset, lpn.hash_keys[0]);
        for k in 0..K {
            x[k] = _mm512_xor_si512(load(&inputs[k]), whitened);
        }
        for v in indices.iter_mut() {
            *v = _mm512_xor_si512(*v, lpn.keys[0]);
        }
        macro_rules! round {
            ($round:literal, $row:literal) => {
                for v in indices.iter_mut() {
                    *v = in_order(_mm512_aesenc_epi128(*v, lpn.keys[$round]));
                }
                for v in x.iter_mut() {
                    *v = in_order(_mm512_aesenc_epi128(*v, lpn.hash_keys[$round]));
                }
                row!($row);
            };
        }
        macro_rules! row {
            ($row:literal) => {
                out[$row] = lpn_row(lpn, &these[$row], leaves[$row]);
            };
        }
        row!(0);
        round!(1, 1);
        round!(2, 2);
        round!(3, 3);
        round!(4, 4);
        round!(5, 5);
        round!(6, 6);
        round!(7, 7);
        round!(8, 8);
        round!(9, 9);
        for v in indices.iter_mut() {
            *v = _mm512_aesenclast_epi128(*v, lpn.keys[10]);
        }
        for (k, v) in x.iter_mut().enumerate() {
            let fed = _mm512_ternarylogic_epi64::<0x96>(load(&inputs[k]), offset, lpn.hash_keys[10]);
            // The last round key and what is fed forward, at once.
            *v = in_order(_mm512_aesenclast_epi128(*v, fed));
        }
        row!(10);
        put_offsets(lpn.cut, indices, ahead);
        row!(11);
        for k in 0..K {
            store(&mut hashes[k], x[k]);
        }
    }

    pub(in super::super) fn lpn(
        keys: &RoundKeys, nonce: u64, first: usize, table: &[u128], leaves: &[u128], out: &mut [u128],
        beside: Option<&mut Hashing<'_>>,
    ) {
        let mut beside = beside;
        // Only whole blocks inside the table, whose length is a power of two, survive the cut.
        let cut = _mm512_set1_epi64((table.len() as i64 - 1) << 4);
        let hash_keys = spread(beside.as_ref().map_or(keys, |hashing| hashing.round_keys()));
        let lpn = Lpn { keys: spread(keys), cut, table, hash_keys };
        let mut next = counters(nonce, (first / ROWS * 4 * VECTORS) as u64);
        let mut offsets = [[[0; LPN_WEIGHT]; ROWS]; 2];
        let skipped = first % ROWS;
        let head = if skipped == 0 { 0 } else { (ROWS - skipped).min(out.len()) };
        let ((head_leaves, leaves), (head_out, out)) = (leaves.split_at(head), out.split_at_mut(head));
        let simple = |offsets: &[[u64; LPN_WEIGHT]], leaves: &[u128], out: &mut [u128]| {
            for ((row, leaf), offsets) in out.iter_mut().zip(leaves).zip(offsets) {
                *row = lpn_row(&lpn, offsets, *leaf);
            }
        };
        let [mut these, mut ahead] = offsets.each_mut();
        lpn_offsets(&lpn, &mut next, these);
        if head > 0 {
            simple(&these[skipped..], head_leaves, head_out);
            lpn_offsets(&lpn, &mut next, these);
        }
        let ((leaves, rest_leaves), (out, rest_out)) = (leaves.as_chunks::<ROWS>(), out.as_chunks_mut::<ROWS>());
        let many = beside.as_ref().is_some_and(|hashing| 2 * hashing.left() > 3 * ROWS * leaves.len());
        for (leaves, out) in leaves.iter().zip(out) {
            macro_rules! step {
                ($vectors:expr) => {
                    lpn_step(&lpn, &mut next, these, ahead, leaves, out, $vectors)
                };
            }
            if many && let Some(vectors) = beside.as_mut().and_then(|hashing| hashing.next::<MANY>()) {
                step!(vectors);
            } else if !many && let Some(vectors) = beside.as_mut().and_then(|hashing| hashing.next::<FEW>()) {
                step!(vectors);
            } else {
                step!(Vectors { inputs: &[], offset: 0, out: &mut [] });
            }
            std::mem::swap(&mut these, &mut ahead);
        }
        simple(these, rest_leaves, rest_out);
    }
}
