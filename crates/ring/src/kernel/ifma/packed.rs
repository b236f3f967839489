//! Rows held as bits: eight residues take as many bytes as one has bits, and one permutation of bytes, one shift and one
//! mask give them a lane each. Rows have whole vectors, since all rings do.
//!
//! # Sums in place
//!
//! Sums of products leave the shift out where a residue and the bits before it fit 52 bits together: lane k of every
//! row holds its residue times 2^s, s = k·bits mod 8 the same for all rows, so the sum comes times 2^s, and the constants
//! of its reduction, 1 and 2^52, are divided by that. There, q is below 2^45: the errors of constants may be up to
//! 2^52/q > 128 where the parent module allows for 4.

use super::rows::{Wide, folded, vector};
use super::{V, load, mhi, mlo, splat, store};
use crate::modulus::hi52;
use crate::{Modulus, PackedRow};
use std::arch::x86_64::*;

/// How far ahead sums of products fetch packed rows, in bytes: best of 512, 1024 and 2048 on rows in the third-level
/// cache.
const FETCH: usize = 512;

/// How eight residues of one width come out of their bytes.
struct Fields {
    bits: usize,
    /// Cache lines that four vectors take, rounded up.
    lines: usize,
    /// The eight bytes from that of the first bit on, for each lane.
    bytes: V,
    /// Bits of the first byte that belong to the residue before.
    shift: V,
    mask: V,
    /// The bits of a residue where they are before the shift.
    mask_in_place: V,
}

impl Fields {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(bits: usize) -> Self {
        // bits + 7 ≤ 57 of a lane's 64 bits are needed; eight residues are `bits` ≤ 50 bytes, so indices end at 50.
        let bytes: [u8; 64] = std::array::from_fn(|i| (i / 8 * bits / 8 + i % 8) as u8);
        // SAFETY: 64 bytes are readable; the load asks for no alignment.
        let bytes = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
        let shift = load(&std::array::from_fn(|k| (k * bits % 8) as u64));
        let mask = splat((1 << bits) - 1);
        let mask_in_place = _mm512_sllv_epi64(mask, shift);
        Self { bits, lines: bits.div_ceil(16), bytes, shift, mask, mask_in_place }
    }

    /// Vector `j` of the row that `bytes` are a part of, from that of a vector on.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vbmi")]
    fn vector(&self, bytes: &[u8], j: usize) -> V {
        _mm512_and_si512(_mm512_srlv_epi64(self.lanes(bytes, j), self.shift), self.mask)
    }

    /// [`Fields::vector`], `IN_PLACE` every lane times 2^s.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vbmi")]
    fn factor<const IN_PLACE: bool>(&self, bytes: &[u8], j: usize) -> V {
        if IN_PLACE {
            _mm512_and_si512(self.lanes(bytes, j), self.mask_in_place)
        } else {
            self.vector(bytes, j)
        }
    }

    /// Lanes that start with the byte in which their residue does.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vbmi")]
    fn lanes(&self, bytes: &[u8], j: usize) -> V {
        let bytes = &bytes[self.bits * j..][..64];
        // SAFETY: 64 bytes are readable; the load asks for no alignment.
        let x = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
        _mm512_permutexvar_epi8(self.bytes, x)
    }
}

#[target_feature(enable = "avx512f,avx512vbmi")]
pub(crate) fn unpack(row: PackedRow<'_>, out: &mut [u64]) {
    let fields = Fields::new(row.bits);
    for (at, o) in out.as_chunks_mut().0.iter_mut().enumerate() {
        store(o, fields.vector(row.bytes, at));
    }
}

#[target_feature(enable = "avx512f,avx512vbmi")]
pub(crate) fn is_canonical(q: u64, row: PackedRow<'_>) -> bool {
    let (fields, q) = (Fields::new(row.bits), splat(q));
    let mut above = 0;
    for at in 0..row.n / 8 {
        above |= _mm512_cmpge_epu64_mask(fields.vector(row.bytes, at), q);
    }
    above == 0
}

/// At least eight bits a residue: else three of them could share a byte.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(crate) fn pack(bits: usize, row: &[u64], out: &mut [u8]) {
    // Byte i is made of the residue that has its first bit, and of the one that has its last: the even one of the two and
    // the odd one. Residue k, moved left by the bits of its first byte that are not its own, has its bytes from
    // k·bits/8 on.
    let mut sources = [[0u8; 64]; 2];
    let mut masks = [0u64; 2];
    for k in 0..8 {
        let start = k * bits / 8;
        let own = &mut sources[k % 2][start..((k + 1) * bits).div_ceil(8)];
        for (i, source) in own.iter_mut().enumerate() {
            *source = (8 * k + i) as u8;
            masks[k % 2] |= 1 << (start + i);
        }
    }
    // SAFETY: 64 bytes are readable; the load asks for no alignment.
    let [even, odd] = sources.map(|s| unsafe { _mm512_loadu_si512(s.as_ptr().cast()) });
    let shift = load(&std::array::from_fn(|k| (k * bits % 8) as u64));
    let whole = (1u64 << bits) - 1;
    for (x, out) in row.as_chunks().0.iter().zip(out.chunks_exact_mut(bits)) {
        let x = _mm512_sllv_epi64(load(x), shift);
        let bytes = _mm512_or_si512(
            _mm512_maskz_permutexvar_epi8(masks[0], even, x),
            _mm512_maskz_permutexvar_epi8(masks[1], odd, x),
        );
        // SAFETY: the mask lets `bits` bytes be written, the length of `out`.
        unsafe { _mm512_mask_storeu_epi8(out.as_mut_ptr().cast(), whole, bytes) };
    }
}

type Triple<'a> = (PackedRow<'a>, PackedRow<'a>, &'a [u64]);

/// How sums of packed rows are taken.
struct Sum<'a> {
    fields: Fields,
    triples: &'a [Triple<'a>],
    /// How many products fit a deferred sum.
    terms: usize,
    /// Reduces a sum that is not complete.
    part: Wide,
    /// Reduces a complete one, and divides it by 2^s.
    whole: Wide,
}

impl Sum<'_> {
    /// Vectors `at` to `at` + N − 1 of both sums.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vbmi")]
    fn at<const IN_PLACE: bool, const N: usize>(&self, at: usize, outs: [&mut [u64]; 2]) {
        let fields = &self.fields;
        let zero = [self.part.q.zero; N];
        let [mut lo, mut hi, mut lo2, mut hi2] = [zero; 4];
        let (start, len) = (fields.bits * at, fields.bits * (N - 1) + 64);
        let mut used = 0;
        for (a, b, c) in self.triples {
            if used == self.terms {
                ((lo, hi), (lo2, hi2)) = (folded(&self.part, (lo, hi)), folded(&self.part, (lo2, hi2)));
                used = 1;
            }
            used += 1;
            let (a, b, c) = (&a.bytes[start..][..len], &b.bytes[start..][..len], &c[8 * at..][..8 * N]);
            let [mut to_a, mut to_b] = [a, b].map(|row| row.as_ptr().wrapping_add(FETCH));
            for _ in 0..fields.lines {
                // A fetch has no effect but on time, whatever the address: beyond a row lies the next one.
                _mm_prefetch::<_MM_HINT_T0>(to_a.cast());
                _mm_prefetch::<_MM_HINT_T0>(to_b.cast());
                (to_a, to_b) = (to_a.wrapping_add(64), to_b.wrapping_add(64));
            }
            for j in 0..N {
                let (a, b) = (fields.factor::<IN_PLACE>(a, j), fields.factor::<IN_PLACE>(b, j));
                let c = vector(c, j);
                (lo[j], hi[j]) = (mlo(lo[j], a, c), mhi(hi[j], a, c));
                (lo2[j], hi2[j]) = (mlo(lo2[j], b, c), mhi(hi2[j], b, c));
            }
        }
        for (out, sums) in outs.into_iter().zip([(lo, hi), (lo2, hi2)]) {
            for (o, sum) in out.as_chunks_mut().0[at..at + N].iter_mut().zip(folded(&self.whole, sums).0) {
                store(o, sum);
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512ifma,avx512vbmi")]
    fn all<const IN_PLACE: bool>(&self, out: &mut [u64], other: &mut [u64]) {
        let vectors = out.len() / 8;
        let mut at = 0;
        while at + 4 <= vectors {
            self.at::<IN_PLACE, 4>(at, [out, other]);
            at += 4;
        }
        while at < vectors {
            self.at::<IN_PLACE, 1>(at, [out, other]);
            at += 1;
        }
    }
}

#[target_feature(enable = "avx512f,avx512ifma,avx512vbmi")]
pub(crate) fn dot2_packed(m: &Modulus, triples: &[Triple<'_>], out: &mut [u64], other: &mut [u64]) {
    let bits = m.bits() as usize;
    let (fields, part) = (Fields::new(bits), Wide::new(m));
    if bits + 7 <= 52 {
        let powers = std::array::from_fn(|k| k * bits % 8);
        // As [`Modulus::mac_terms`], of factors times 2^7.
        let terms = ((1 << 52) / (hi52(m.value(), m.value() << 7) + 1)).min(4096) as usize;
        let sum = Sum { fields, triples, terms, part, whole: Wide::divided(m, powers) };
        sum.all::<true>(out, other);
    } else {
        let sum = Sum { fields, triples, terms: m.mac_terms() as usize, part, whole: Wide::new(m) };
        sum.all::<false>(out, other);
    }
}
