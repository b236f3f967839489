//! Levels of the trees of silent OT.

use super::super::{Children, Patch};
use super::{CHUNK, FLIGHT, RoundKeys, V, broadcast, encrypt, fold, load, portable, spread, store};
use std::arch::x86_64::*;

/// What a level is grown with: nodes replaced before, children replaced after, in vectors.
struct Level<'a> {
    keys: &'a [V; 11],
    mask: V,
    at: [V; 2],
    values: [V; 2],
}

kernels! {
    /// (L ⊕ R) ‖ L of L ‖ R.
    fn sigma(x: V) -> V {
        let high = _mm512_maskz_set1_epi64(0b1010_1010, -1);
        // The halves swapped, plus x where `high` is.
        _mm512_ternarylogic_epi64::<0x78>(_mm512_shuffle_epi32::<0x4e>(x), x, high)
    }

    /// In which words of blocks first, … , first + 3 the block has index `at`.
    fn here(first: usize, at: V) -> __mmask8 {
        let index = _mm512_add_epi64(_mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0), _mm512_set1_epi64(first as i64));
        _mm512_cmpeq_epi64_mask(index, at)
    }

    /// Blocks first, … , first + 3 after the patch.
    fn patched(v: V, first: usize, at: [V; 2], values: [V; 2]) -> V {
        let v = _mm512_mask_mov_epi64(v, here(first, at[0]), values[0]);
        _mm512_mask_mov_epi64(v, here(first, at[1]), values[1])
    }

    /// The left and the right children of parents first, … , first + 3, of which `s` is σ and `c` the encryption of it.
    fn children<const AROUND: bool, const CUT: bool>(level: &Level<'_>, first: usize, parent: V, c: V, s: V) -> [V; 2] {
        let [mut left, mut right] = if CUT {
            // (c + s) & mask, then that + (parent & mask).
            let left = _mm512_ternarylogic_epi64::<0x28>(c, s, level.mask);
            [left, _mm512_ternarylogic_epi64::<0x78>(left, parent, level.mask)]
        } else {
            [_mm512_xor_si512(c, s), _mm512_ternarylogic_epi64::<0x96>(parent, c, s)]
        };
        if AROUND {
            let here = here(first, level.at[0]);
            left = _mm512_mask_mov_epi64(left, here, level.values[0]);
            right = _mm512_mask_mov_epi64(right, here, level.values[1]);
        }
        [left, right]
    }

    /// The children of the parents in `left`, the first of which is parent `first`; adds the left children to `sum`.
    fn grow_chunk<const N: usize, const PATCH: bool, const AROUND: bool, const CUT: bool>(
        level: &Level<'_>, first: usize, sum: &mut V, left: &mut [[u128; 4]; N], right: &mut [[u128; 4]; N],
    ) {
        let mut s = [_mm512_setzero_si512(); N];
        for j in 0..N {
            let mut parent = load(&left[j]);
            if PATCH {
                parent = patched(parent, first.wrapping_add(4 * j), level.at, level.values);
                store(&mut left[j], parent);
            }
            s[j] = sigma(parent);
        }
        let mut c = s;
        encrypt(level.keys, &mut c);
        for j in 0..N {
            if !AROUND {
                *sum = _mm512_ternarylogic_epi64::<0x96>(*sum, c[j], s[j]);
            }
            let [l, r] = children::<AROUND, CUT>(level, first.wrapping_add(4 * j), load(&left[j]), c[j], s[j]);
            store(&mut right[j], r);
            store(&mut left[j], l);
        }
    }

    /// The children of one or two parents, which are the first half of `nodes`; the sum of the left ones.
    fn grow_few<const PATCH: bool, const AROUND: bool, const CUT: bool>(level: &Level<'_>, nodes: &mut [u128]) -> V {
        let two = nodes.len() == 4;
        let (parents, all) = if two { (0x0f, 0xff) } else { (0x03, 0x0f) };
        // SAFETY: half of `nodes`, which are two blocks or four, is read.
        let mut parent = unsafe { _mm512_maskz_loadu_epi64(parents, nodes.as_ptr().cast()) };
        if PATCH {
            parent = patched(parent, 0, level.at, level.values);
        }
        let s = sigma(parent);
        let mut c = [s];
        encrypt(level.keys, &mut c);
        let [l, r] = children::<AROUND, CUT>(level, 0, parent, c[0], s);
        let both = if two {
            _mm512_inserti64x4::<1>(l, _mm512_castsi512_si256(r))
        } else {
            _mm512_inserti64x2::<1>(l, _mm512_castsi512_si128(r))
        };
        // SAFETY: as many blocks as `nodes` has are written.
        unsafe { _mm512_mask_storeu_epi64(nodes.as_mut_ptr().cast(), all, both) };
        _mm512_maskz_mov_epi64(parents, _mm512_xor_si512(c[0], s))
    }

    fn grow_level<const PATCH: bool, const AROUND: bool, const CUT: bool>(level: &Level<'_>, nodes: &mut [u128]) -> u128 {
        if nodes.len() <= 4 {
            return fold(grow_few::<PATCH, AROUND, CUT>(level, nodes));
        }
        let mut sum = _mm512_setzero_si512();
        let (left, right) = nodes.split_at_mut(nodes.len() / 2);
        let (left, right) = (left.as_chunks_mut::<4>().0, right.as_chunks_mut::<4>().0);
        let whole = 4 * left.len();
        let ((left, left_few), (right, right_few)) = (left.as_chunks_mut::<FLIGHT>(), right.as_chunks_mut::<FLIGHT>());
        for (at, (left, right)) in left.iter_mut().zip(right).enumerate() {
            grow_chunk::<FLIGHT, PATCH, AROUND, CUT>(level, at * CHUNK, &mut sum, left, right);
        }
        let mut at = whole - 4 * left_few.len();
        let ((left, left_few), (right, right_few)) = (left_few.as_chunks_mut::<4>(), right_few.as_chunks_mut::<4>());
        for (left, right) in left.iter_mut().zip(right) {
            grow_chunk::<4, PATCH, AROUND, CUT>(level, at, &mut sum, left, right);
            at += 16;
        }
        let ((left, left_few), (right, right_few)) = (left_few.as_chunks_mut::<2>(), right_few.as_chunks_mut::<2>());
        for (left, right) in left.iter_mut().zip(right) {
            grow_chunk::<2, PATCH, AROUND, CUT>(level, at, &mut sum, left, right);
            at += 8;
        }
        for (left, right) in left_few.as_chunks_mut::<1>().0.iter_mut().zip(right_few.as_chunks_mut::<1>().0) {
            grow_chunk::<1, PATCH, AROUND, CUT>(level, at, &mut sum, left, right);
        }
        fold(sum)
    }

    fn spread_patch(patch: &Patch) -> [[V; 2]; 2] {
        let [a, b] = patch.at;
        let [x, y] = patch.values;
        [[_mm512_set1_epi64(i64::from(a)), _mm512_set1_epi64(i64::from(b))], [broadcast(x), broadcast(y)]]
    }

    pub(in super::super) fn grow(keys: &RoundKeys, nodes: &mut [u128], mask: u128, patch: Option<&Patch>) -> u128 {
        let [at, values] = match patch {
            Some(patch) => spread_patch(patch),
            None => [[_mm512_setzero_si512(); 2]; 2],
        };
        let level = Level { keys: &spread(keys), mask: broadcast(mask), at, values };
        match (patch.is_some(), mask != u128::MAX) {
            (false, false) => grow_level::<false, false, false>(&level, nodes),
            (false, true) => grow_level::<false, false, true>(&level, nodes),
            (true, false) => grow_level::<true, false, false>(&level, nodes),
            (true, true) => grow_level::<true, false, true>(&level, nodes),
        }
    }

    pub(in super::super) fn grow_around(keys: &RoundKeys, nodes: &mut [u128], mask: u128, known: &Children) {
        let at = [_mm512_set1_epi64(i64::from(known.of)); 2];
        let [left, right] = known.values;
        let values = [broadcast(left), broadcast(right)];
        let level = Level { keys: &spread(keys), mask: broadcast(mask), at, values };
        if mask == u128::MAX {
            grow_level::<false, true, false>(&level, nodes);
        } else {
            grow_level::<false, true, true>(&level, nodes);
        }
    }

    pub(in super::super) fn apply(patch: &Patch, nodes: &mut [u128]) {
        let [at, values] = spread_patch(patch);
        let (whole, rest) = nodes.as_chunks_mut::<4>();
        let done = 4 * whole.len();
        for (j, four) in whole.iter_mut().enumerate() {
            store(four, patched(load(four), 4 * j, at, values));
        }
        portable::apply(patch, done, rest);
    }
}
