//! Samplers' inner loops: fields of a few bits out of bytes, and table look-ups by comparison.

use super::super::SLACK;
use super::{V, splat, store};
use std::arch::x86_64::*;

/// As [`super::super::accept_below`].
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(crate) fn accept_below(q: u64, bytes: &[u8], groups: usize, out: &mut [u64]) -> usize {
    let bits = 64 - q.leading_zeros() as usize;
    assert!(bits <= 50 && bytes.len() >= groups * bits + SLACK);
    // Field k starts in byte k·bits/8, at its bit k·bits mod 8: eight bytes hold it, and eight fields are `bits` ≤ 50
    // bytes.
    let at: [u8; 64] = std::array::from_fn(|i| (i / 8 * bits / 8 + i % 8) as u8);
    let shift: [u64; 8] = std::array::from_fn(|k| (k * bits % 8) as u64);
    // SAFETY: 64 bytes are readable; the load asks for no alignment.
    let at = unsafe { _mm512_loadu_si512(at.as_ptr().cast()) };
    let (shift, mask, q) = (super::load(&shift), splat((1 << bits) - 1), splat(q));
    let mut filled = 0;
    for group in 0..groups {
        let source: &[u8; 64] = match bytes[group * bits..].first_chunk() {
            Some(source) => source,
            None => break, // Excluded by the assertion above.
        };
        // SAFETY: 64 bytes are readable; the load asks for no alignment.
        let source = unsafe { _mm512_loadu_si512(source.as_ptr().cast()) };
        let fields = _mm512_srlv_epi64(_mm512_permutexvar_epi8(at, source), shift);
        let fields = _mm512_and_si512(fields, mask);
        let accepted = _mm512_cmplt_epu64_mask(fields, q);
        let fields = _mm512_maskz_compress_epi64(accepted, fields);
        let count = accepted.count_ones() as usize;
        let rest = &mut out[filled..];
        if let Some(to) = rest.first_chunk_mut() {
            store(to, fields);
            filled += count;
        } else {
            let mut last = [0; 8];
            store(&mut last, fields);
            let count = count.min(rest.len());
            rest[..count].copy_from_slice(&last[..count]);
            filled += count;
        }
        if filled == out.len() {
            break;
        }
    }
    filled
}

/// As [`super::super::invert_table`]; treats whole vectors.
#[target_feature(enable = "avx512f")]
pub(crate) fn invert_table(table: &[u64], bytes: &[u8], out: &mut [i64]) {
    let one = splat(1);
    for (o, word) in out.as_chunks_mut::<8>().0.iter_mut().zip(bytes.as_chunks::<64>().0) {
        // SAFETY: 64 bytes are readable; the load asks for no alignment.
        let word: V = unsafe { _mm512_loadu_si512(word.as_ptr().cast()) };
        let u = _mm512_srli_epi64::<1>(word);
        let mut magnitude = splat(0);
        for &t in table {
            magnitude =
                _mm512_mask_add_epi64(magnitude, _mm512_cmpge_epu64_mask(u, splat(t)), magnitude, one);
        }
        let negative = _mm512_test_epi64_mask(word, one);
        let value = _mm512_mask_sub_epi64(magnitude, negative, splat(0), magnitude);
        // SAFETY: eight words are writable; the store asks for no alignment.
        unsafe { _mm512_storeu_si512(o.as_mut_ptr().cast(), value) };
    }
}
