//! Rows held as bits: eight residues take as many bytes as one has bits, and one permutation of bytes, one shift and one
//! mask give them a lane each. Rows have whole vectors, since all rings do.

use super::rows::{Wide, folded, vector};
use super::{V, load, mhi, mlo, splat, store};
use crate::{Modulus, PackedRow};
use std::arch::x86_64::*;

/// How far ahead sums of products fetch packed rows, in bytes: best of 512, 1024 and 2048 on rows in the third-level
/// cache.
const FETCH: usize = 512;

/// How eight residues of one width come out of their bytes.
struct Fields {
    bits: usize,
    /// The eight bytes from that of the first bit on, for each lane.
    bytes: V,
    /// Bits of the first byte that belong to the residue before.
    shift: V,
    mask: V,
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
        Self { bits, bytes, shift, mask: splat((1 << bits) - 1) }
    }

    /// The bytes that vectors `at` to `at` + `count` − 1 are taken from.
    #[inline]
    fn bytes<'a>(&self, row: PackedRow<'a>, at: usize, count: usize) -> &'a [u8] {
        &row.bytes[self.bits * at..][..self.bits * (count - 1) + 64]
    }

    /// Vector `j` of those that `bytes` start with.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vbmi")]
    fn vector(&self, bytes: &[u8], j: usize) -> V {
        let bytes = &bytes[self.bits * j..][..64];
        // SAFETY: 64 bytes are readable; the load asks for no alignment.
        let x = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
        let x = _mm512_srlv_epi64(_mm512_permutexvar_epi8(self.bytes, x), self.shift);
        _mm512_and_si512(x, self.mask)
    }
}

#[target_feature(enable = "avx512f,avx512vbmi")]
pub(crate) fn unpack(row: PackedRow<'_>, out: &mut [u64]) {
    let fields = Fields::new(row.bits);
    for (at, o) in out.as_chunks_mut().0.iter_mut().enumerate() {
        store(o, fields.vector(fields.bytes(row, at, 1), 0));
    }
}

#[target_feature(enable = "avx512f,avx512vbmi")]
pub(crate) fn is_canonical(q: u64, row: PackedRow<'_>) -> bool {
    let (fields, q) = (Fields::new(row.bits), splat(q));
    let mut above = 0;
    for at in 0..row.n / 8 {
        above |= _mm512_cmpge_epu64_mask(fields.vector(fields.bytes(row, at, 1), 0), q);
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
type Sums<const N: usize> = [([V; N], [V; N]); 2];

/// Adds the products of vectors `at` to `at` + N − 1 of each triple to deferred sums, at most as many as they hold.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vbmi")]
fn add_products2<const N: usize>(
    [(mut lo, mut hi), (mut lo2, mut hi2)]: Sums<N>,
    fields: &Fields,
    triples: &[Triple<'_>],
    at: usize,
) -> Sums<N> {
    for &(a, b, c) in triples {
        let (a, b, c) = (fields.bytes(a, at, N), fields.bytes(b, at, N), &c[8 * at..][..8 * N]);
        for from in [a, b] {
            for line in 0..(fields.bits * N).div_ceil(64) {
                // A fetch has no effect but on time, whatever the address: beyond a row lies the next one.
                _mm_prefetch::<_MM_HINT_T0>(from.as_ptr().wrapping_add(FETCH + 64 * line).cast());
            }
        }
        for j in 0..N {
            let (a, b, c) = (fields.vector(a, j), fields.vector(b, j), vector(c, j));
            (lo[j], hi[j]) = (mlo(lo[j], a, c), mhi(hi[j], a, c));
            (lo2[j], hi2[j]) = (mlo(lo2[j], b, c), mhi(hi2[j], b, c));
        }
    }
    [(lo, hi), (lo2, hi2)]
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vbmi")]
fn dot2_at<const N: usize>(
    w: &Wide,
    terms: usize,
    fields: &Fields,
    triples: &[Triple<'_>],
    at: usize,
    outs: [&mut [u64]; 2],
) {
    let zero = ([w.q.zero; N], [w.q.zero; N]);
    let (first, mut rest) = triples.split_at(triples.len().min(terms));
    let mut sums = add_products2([zero, zero], fields, first, at);
    while !rest.is_empty() {
        let (group, later) = rest.split_at(rest.len().min(terms - 1));
        let [a, b] = sums;
        sums = add_products2([folded(w, a), folded(w, b)], fields, group, at);
        rest = later;
    }
    for (out, sums) in outs.into_iter().zip(sums) {
        for (o, sum) in out.as_chunks_mut().0[at..at + N].iter_mut().zip(folded(w, sums).0) {
            store(o, sum);
        }
    }
}

#[target_feature(enable = "avx512f,avx512ifma,avx512vbmi")]
pub(crate) fn dot2_packed(m: &Modulus, triples: &[Triple<'_>], out: &mut [u64], other: &mut [u64]) {
    let (w, terms, vectors) = (Wide::new(m), m.mac_terms() as usize, out.len() / 8);
    let fields = Fields::new(m.bits() as usize);
    let mut at = 0;
    while at + 4 <= vectors {
        dot2_at::<4>(&w, terms, &fields, triples, at, [out, other]);
        at += 4;
    }
    while at < vectors {
        dot2_at::<1>(&w, terms, &fields, triples, at, [out, other]);
        at += 1;
    }
}
