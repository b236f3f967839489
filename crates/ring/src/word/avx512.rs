//! The scalar products on `vpmadd52luq`: the low 52 bits of a product of low 52-bit factors onto 64-bit lanes. Bits 52 to
//! 63 of a factor are ignored, those of a sum collect carries that nobody reads.

use super::{LANES, Span, Term};
use std::arch::x86_64::*;

/// # Safety
/// Shifts are below n, spans end before n + [`LANES`], `x` has 2n + [`LANES`] words, `acc` as many as the spans.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) unsafe fn accumulate(x: &[u64], n: usize, terms: &[Term], spans: &[Span], acc: &mut [u64]) {
    let mut at = 0;
    for span in spans {
        let (mut start, mut left) = (n + span.start as usize, span.blocks as usize);
        while left > 0 {
            // SAFETY: of this span `left` blocks remain, which end before 2n + LANES in x and inside acc; start − shift
            // is at least span.start + 1.
            let done = unsafe {
                let (from, to) = (x.as_ptr().add(start), acc.as_mut_ptr().add(at));
                match left {
                    16.. => blocks::<16>(from, terms, to),
                    8.. => blocks::<8>(from, terms, to),
                    4.. => blocks::<4>(from, terms, to),
                    2.. => blocks::<2>(from, terms, to),
                    _ => blocks::<1>(from, terms, to),
                }
            };
            left -= done;
            start += done * LANES;
            at += done * LANES;
        }
    }
}

/// B vectors of sums, in registers while all terms pass. Returns B.
///
/// # Safety
/// B vectors are readable from `from` − shift for every term, and writable at `acc`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
unsafe fn blocks<const B: usize>(from: *const u64, terms: &[Term], acc: *mut u64) -> usize {
    // SAFETY: as promised by the caller; loads and stores ask for no alignment.
    unsafe {
        let mut sums = [_mm512_setzero_si512(); B];
        for (b, s) in sums.iter_mut().enumerate() {
            *s = _mm512_loadu_si512(acc.add(b * LANES).cast());
        }
        for t in terms {
            let w = _mm512_set1_epi64(i64::from(t.weight));
            let from = from.sub(t.shift as usize);
            for (b, s) in sums.iter_mut().enumerate() {
                *s = _mm512_madd52lo_epu64(*s, _mm512_loadu_si512(from.add(b * LANES).cast()), w);
            }
        }
        for (b, s) in sums.iter().enumerate() {
            _mm512_storeu_si512(acc.add(b * LANES).cast(), *s);
        }
    }
    B
}
