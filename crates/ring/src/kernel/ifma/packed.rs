//! Rows held as bits: eight residues take as many bytes as one has bits, and one permutation of bytes, one shift and one
//! mask give them a lane each. Rows have whole vectors, since all rings do.
//!
//! # Sums in place
//!
//! Sums of products leave the shift out where a residue and the bits before it fit 52 bits together: lane k of every
//! row holds its residue times 2^s, s = k·bits mod 8 the same for all rows, so the sum comes times 2^s, and the constants
//! of its reduction, 1 and 2^52, are divided by that. There, q is below 2^45: the errors of constants may be up to
//! 2^52/q > 128 where the parent module allows for 4.

use super::rows::{Wide, folded};
use super::{V, add, load, mhi, mlo, splat, store, sub_once};
use crate::modulus::hi52;
use crate::shape::Eights;
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
        Self { bits, bytes, shift, mask, mask_in_place }
    }

    /// Whether a row has `vectors` vectors of these fields, and the bytes beyond that loads touch.
    fn holds(&self, row: PackedRow<'_>, vectors: usize) -> bool {
        row.bits == self.bits && row.bytes.len() >= self.bits * vectors + 64
    }

    /// Vector `at` of a row.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vbmi")]
    fn vector(&self, row: PackedRow<'_>, at: usize) -> V {
        assert!(self.holds(row, at));
        // SAFETY: the row has 64 bytes from there on.
        let x = unsafe { self.lanes(row.bytes.as_ptr().add(self.bits * at)) };
        _mm512_and_si512(_mm512_srlv_epi64(x, self.shift), self.mask)
    }

    /// Vectors `at` to `at` + N − 1 of a row, `IN_PLACE` every lane times 2^s, while those further on are fetched.
    ///
    /// # Safety
    /// The row [holds](Fields::holds) at + N vectors.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vbmi")]
    unsafe fn factors<const IN_PLACE: bool, const N: usize>(&self, row: PackedRow<'_>, at: usize) -> [V; N] {
        let from = row.bytes.as_ptr().wrapping_add(self.bits.wrapping_mul(at));
        // Four vectors of up to 48 bits take three lines. A fetch has no effect but on time, whatever the address: beyond
        // a row lies the next one.
        for line in 0..3 {
            _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(FETCH + 64 * line).cast());
        }
        let mut v = [self.mask; N];
        for (j, v) in v.iter_mut().enumerate() {
            // SAFETY: vector at + j is in the row, and 64 bytes are there from its start.
            let x = unsafe { self.lanes(from.wrapping_add(self.bits.wrapping_mul(j))) };
            *v = if IN_PLACE {
                _mm512_and_si512(x, self.mask_in_place)
            } else {
                _mm512_and_si512(_mm512_srlv_epi64(x, self.shift), self.mask)
            };
        }
        v
    }

    /// Lanes that start with the byte in which their residue does.
    ///
    /// # Safety
    /// 64 bytes are readable.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vbmi")]
    unsafe fn lanes(&self, from: *const u8) -> V {
        // SAFETY: by contract; the load asks for no alignment.
        let x = unsafe { _mm512_loadu_si512(from.cast()) };
        _mm512_permutexvar_epi8(self.bytes, x)
    }
}

#[target_feature(enable = "avx512f,avx512vbmi")]
pub(crate) fn unpack(row: PackedRow<'_>, out: &mut [u64]) {
    let fields = Fields::new(row.bits);
    for (at, o) in out.as_chunks_mut().0.iter_mut().enumerate() {
        store(o, fields.vector(row, at));
    }
}

#[target_feature(enable = "avx512f,avx512vbmi")]
pub(crate) fn is_canonical(q: u64, row: PackedRow<'_>) -> bool {
    let (fields, q) = (Fields::new(row.bits), splat(q));
    let mut above = 0;
    for at in 0..row.n / 8 {
        above |= _mm512_cmpge_epu64_mask(fields.vector(row, at), q);
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

/// How sums of packed rows are taken.
struct Sums {
    fields: Fields,
    /// How many products fit a deferred sum.
    terms: usize,
    /// Reduces a sum that is not complete.
    part: Wide,
    /// Reduces a complete one, and divides it by 2^s.
    whole: Wide,
}

impl Sums {
    /// With one packed factor in every product, `in_place`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(m: &Modulus, in_place: bool) -> Self {
        let bits = m.bits() as usize;
        let (fields, part) = (Fields::new(bits), Wide::new(m));
        if in_place {
            // As [`Modulus::mac_terms`], of factors times 2^7.
            let terms = ((1 << 52) / (hi52(m.value(), m.value() << 7) + 1)).min(4096) as usize;
            Self { fields, terms, part, whole: Wide::divided(m, std::array::from_fn(|k| k * bits % 8)) }
        } else {
            Self { fields, terms: m.mac_terms() as usize, part, whole: Wide::new(m) }
        }
    }

    /// N vectors of both sums. `vectors` gives those of a triple.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn at<const N: usize, T>(&self, triples: &[T], vectors: impl Fn(&T) -> [[V; N]; 3]) -> [[V; N]; 2] {
        let zero = [self.part.q.zero; N];
        let [mut lo, mut hi, mut lo2, mut hi2] = [zero; 4];
        let mut used = 0;
        for triple in triples {
            if used == self.terms {
                ((lo, hi), (lo2, hi2)) = (folded(&self.part, (lo, hi)), folded(&self.part, (lo2, hi2)));
                used = 1;
            }
            used += 1;
            let [a, b, c] = vectors(triple);
            for j in 0..N {
                (lo[j], hi[j]) = (mlo(lo[j], a[j], c[j]), mhi(hi[j], a[j], c[j]));
                (lo2[j], hi2[j]) = (mlo(lo2[j], b[j], c[j]), mhi(hi2[j], b[j], c[j]));
            }
        }
        [folded(&self.whole, (lo, hi)).0, folded(&self.whole, (lo2, hi2)).0]
    }
}

/// Writes vectors `at` to `at` + N − 1 of two rows.
#[inline]
#[target_feature(enable = "avx512f")]
fn put<const N: usize>(outs: [&mut [u64]; 2], at: usize, sums: [[V; N]; 2]) {
    for (out, sums) in outs.into_iter().zip(sums) {
        for (o, sum) in out.as_chunks_mut().0[at..at + N].iter_mut().zip(sums) {
            store(o, sum);
        }
    }
}

/// Whether a residue fits 52 bits together with the bits before it.
fn fits_in_place(m: &Modulus) -> bool {
    m.bits() + 7 <= 52
}

/// Calls `$body` with a constant N for vectors `$at` to `$at` + N − 1, until all of `$vectors` have had their turn.
macro_rules! blocks {
    ($vectors:expr, |$at:ident, $n:ident| $body:expr) => {{
        let (vectors, mut $at) = ($vectors, 0);
        while $at + 4 <= vectors {
            const $n: usize = 4;
            $body;
            $at += 4;
        }
        while $at < vectors {
            const $n: usize = 1;
            $body;
            $at += 1;
        }
    }};
}

/// Vectors `at` to `at` + N − 1 of a row.
///
/// # Safety
/// The row has as many.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn vectors<const N: usize>(row: &[u64], at: usize) -> [V; N] {
    let mut v = [_mm512_setzero_si512(); N];
    for (j, v) in v.iter_mut().enumerate() {
        // SAFETY: by contract; the load asks for no alignment.
        *v = unsafe { _mm512_loadu_si512(row.as_ptr().wrapping_add(8 * (at + j)).cast()) };
    }
    v
}

type OfPacked<'a> = (PackedRow<'a>, PackedRow<'a>, &'a [u64]);

#[target_feature(enable = "avx512f,avx512ifma,avx512vbmi")]
pub(crate) fn dot2_packed(m: &Modulus, triples: &[OfPacked<'_>], out: &mut [u64], other: &mut [u64]) {
    if fits_in_place(m) {
        dot2_packed_as::<true>(m, triples, out, other);
    } else {
        dot2_packed_as::<false>(m, triples, out, other);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vbmi")]
fn dot2_packed_as<const IN_PLACE: bool>(
    m: &Modulus,
    triples: &[OfPacked<'_>],
    out: &mut [u64],
    other: &mut [u64],
) {
    let (sums, all) = (Sums::new(m, IN_PLACE), out.len() / 8);
    let fields = &sums.fields;
    for (a, b, c) in triples {
        assert!(fields.holds(*a, all) && fields.holds(*b, all) && c.len() >= 8 * all, "a row too short");
    }
    blocks!(all, |at, N| {
        let both = sums.at::<N, _>(triples, |(a, b, c)| {
            // SAFETY: all rows have `all` vectors, by the assertion, and at + N is not more.
            unsafe {
                let (a, b) = (fields.factors::<IN_PLACE, N>(*a, at), fields.factors::<IN_PLACE, N>(*b, at));
                [a, b, vectors(c, at)]
            }
        });
        put([&mut *out, &mut *other], at, both);
    });
}

/// As [`dot2_packed`]; `addend` is added to the first sum, eights go where the automorphism takes them, and are added
/// there if `add`.
#[target_feature(enable = "avx512f,avx512ifma,avx512vbmi")]
pub(crate) fn dot2_packed_turned(
    m: &Modulus,
    triples: &[OfPacked<'_>],
    addend: Option<&[u64]>,
    eights: &Eights,
    add: bool,
    outs: [&mut [u64]; 2],
) {
    match (fits_in_place(m), add) {
        (true, true) => dot2_packed_turned_as::<true, true>(m, triples, addend, eights, outs),
        (true, false) => dot2_packed_turned_as::<true, false>(m, triples, addend, eights, outs),
        (false, true) => dot2_packed_turned_as::<false, true>(m, triples, addend, eights, outs),
        (false, false) => dot2_packed_turned_as::<false, false>(m, triples, addend, eights, outs),
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vbmi")]
fn dot2_packed_turned_as<const IN_PLACE: bool, const ADD: bool>(
    m: &Modulus,
    triples: &[OfPacked<'_>],
    addend: Option<&[u64]>,
    eights: &Eights,
    outs: [&mut [u64]; 2],
) {
    let (sums, q, all) = (Sums::new(m, IN_PLACE), super::Q::new(m), outs[0].len() / 8);
    let fields = &sums.fields;
    for (a, b, c) in triples {
        assert!(fields.holds(*a, all) && fields.holds(*b, all) && c.len() >= 8 * all, "a row too short");
    }
    let addend = addend.map(|a| a.as_chunks::<8>().0);
    let mut outs = outs.map(|o| o.as_chunks_mut::<8>().0);
    blocks!(all, |at, N| {
        let mut both = sums.at::<N, _>(triples, |(a, b, c)| {
            // SAFETY: all rows have `all` vectors, by the assertion, and at + N is not more.
            unsafe {
                let (a, b) = (fields.factors::<IN_PLACE, N>(*a, at), fields.factors::<IN_PLACE, N>(*b, at));
                [a, b, vectors(c, at)]
            }
        });
        if let Some(addend) = addend {
            for (v, a) in both[0].iter_mut().zip(&addend[at..at + N]) {
                *v = sub_once(add(*v, load(a)), q.q);
            }
        }
        for (j, &(to, order)) in eights.to[at..at + N].iter().enumerate() {
            let order = load(&eights.orders[usize::from(order)]);
            for (out, sums) in outs.iter_mut().zip(&both) {
                let (o, v) = (&mut out[usize::from(to)], _mm512_permutexvar_epi64(order, sums[j]));
                store(o, if ADD { sub_once(add(load(o), v), q.q) } else { v });
            }
        }
    });
}

type ByPacked<'a> = (&'a [u64], &'a [u64], PackedRow<'a>);

#[target_feature(enable = "avx512f,avx512ifma,avx512vbmi")]
pub(crate) fn dot2_by_packed(m: &Modulus, triples: &[ByPacked<'_>], out: &mut [u64], other: &mut [u64]) {
    if fits_in_place(m) {
        dot2_by_packed_as::<true>(m, triples, out, other);
    } else {
        dot2_by_packed_as::<false>(m, triples, out, other);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vbmi")]
fn dot2_by_packed_as<const IN_PLACE: bool>(
    m: &Modulus,
    triples: &[ByPacked<'_>],
    out: &mut [u64],
    other: &mut [u64],
) {
    let (sums, all) = (Sums::new(m, IN_PLACE), out.len() / 8);
    let fields = &sums.fields;
    for (a, b, c) in triples {
        assert!(a.len().min(b.len()) >= 8 * all && fields.holds(*c, all), "a row too short");
    }
    blocks!(all, |at, N| {
        let both = sums.at::<N, _>(triples, |(a, b, c)| {
            // SAFETY: all rows have `all` vectors, by the assertion, and at + N is not more.
            unsafe { [vectors(a, at), vectors(b, at), fields.factors::<IN_PLACE, N>(*c, at)] }
        });
        put([&mut *out, &mut *other], at, both);
    });
}
