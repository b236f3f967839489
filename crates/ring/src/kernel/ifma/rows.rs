//! Entry-by-entry operations. They treat whole vectors; the caller hands a rest of fewer than eight entries, which
//! no row of a ring has, to the portable code.

use super::super::CentredTerm;
use super::tables::Fraction;
use super::{F, Lift, Q, V, W, add, load, mhi, mlo, splat, store, sub, sub_once};
use crate::{Modulus, Shoup};
use std::arch::x86_64::*;

#[inline]
#[target_feature(enable = "avx512f")]
fn map(a: &mut [u64], f: impl Fn(V) -> V) {
    for a in a.as_chunks_mut().0 {
        store(a, f(load(a)));
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn zip(a: &mut [u64], b: &[u64], f: impl Fn(V, V) -> V) {
    for (a, b) in a.as_chunks_mut().0.iter_mut().zip(b.as_chunks().0) {
        store(a, f(load(a), load(b)));
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn map_into(a: &[u64], out: &mut [u64], f: impl Fn(V) -> V) {
    for (o, a) in out.as_chunks_mut().0.iter_mut().zip(a.as_chunks().0) {
        store(o, f(load(a)));
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn zip_into(a: &[u64], b: &[u64], out: &mut [u64], f: impl Fn(V, V) -> V) {
    for ((o, a), b) in out.as_chunks_mut().0.iter_mut().zip(a.as_chunks().0).zip(b.as_chunks().0) {
        store(o, f(load(a), load(b)));
    }
}

impl Q {
    /// a + b, canonical.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn add(&self, a: V, b: V) -> V {
        sub_once(add(a, b), self.q)
    }

    /// a − b, canonical.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn sub(&self, a: V, b: V) -> V {
        let d = sub(a, b);
        _mm512_min_epu64(d, add(d, self.q))
    }
}

/// A modulus with 1 and 2^52 as constants, for two-word numbers.
pub(super) struct Wide {
    pub(super) q: Q,
    one: F,
    radix: F,
}

impl Wide {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(m: &Modulus) -> Self {
        Self { q: Q::new(m), one: F::splat(Fraction::one(m)), radix: F::splat(Fraction::radix(m)) }
    }

    /// Constants 1/2^s and 2^52/2^s with s = `powers[k]` in lane k, their errors up to 2.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn divided(m: &Modulus, powers: [usize; 8]) -> Self {
        let [one, radix] = [(1, Fraction::one(m)), (m.radix().value(), Fraction::radix(m))].map(|(w, f)| {
            let mut halves = [f; 8];
            let mut w = w;
            for k in 1..8 {
                (w, halves[k]) = halves[k - 1].halved(m, w);
            }
            let lanes = powers.map(|s| halves[s]);
            F { high: load(&lanes.map(|f| f.high)), low: load(&lanes.map(|f| f.low)) }
        });
        Self { q: Q::new(m), one, radix }
    }

    /// `onto` + (hi·2^52 + lo mod q) for hi ≡ and lo ≡ any values below 2^52: a sum of two fractions.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn reduce(&self, onto: V, hi: V, lo: V) -> V {
        mhi(onto, self.radix.fraction(self.one.fraction(self.q.two, lo), hi), self.q.q)
    }

    /// `onto` + (a·b mod q).
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn product(&self, onto: V, a: V, b: V) -> V {
        self.reduce(onto, mhi(self.q.zero, a, b), mlo(self.q.zero, a, b))
    }

    /// a·b, canonical.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn mul(&self, a: V, b: V) -> V {
        self.product(self.q.zero, a, b)
    }

    /// The sum held in two words, canonical; hi + (lo ≫ 52) is below 2^52 by the choice of
    /// [`Modulus::mac_terms`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn sum(&self, lo: V, hi: V) -> V {
        self.reduce(self.q.zero, add(hi, _mm512_srli_epi64::<52>(lo)), lo)
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn add_assign(m: &Modulus, a: &mut [u64], b: &[u64]) {
    let q = Q::new(m);
    zip(a, b, |a, b| q.add(a, b));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn add_into(m: &Modulus, a: &[u64], b: &[u64], out: &mut [u64]) {
    let q = Q::new(m);
    zip_into(a, b, out, |a, b| q.add(a, b));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn sub_assign(m: &Modulus, a: &mut [u64], b: &[u64]) {
    let q = Q::new(m);
    zip(a, b, |a, b| q.sub(a, b));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn sub_into(m: &Modulus, a: &[u64], b: &[u64], out: &mut [u64]) {
    let q = Q::new(m);
    zip_into(a, b, out, |a, b| q.sub(a, b));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn add_constant_assign(m: &Modulus, a: &mut [u64], c: u64) {
    let (q, c) = (Q::new(m), splat(c));
    map(a, |a| q.add(a, c));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn neg_assign(m: &Modulus, a: &mut [u64]) {
    let q = Q::new(m);
    map(a, |a| q.sub(q.zero, a));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn mul_assign(m: &Modulus, a: &mut [u64], b: &[u64]) {
    let w = Wide::new(m);
    zip(a, b, |a, b| w.mul(a, b));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn mul_into(m: &Modulus, a: &[u64], b: &[u64], out: &mut [u64]) {
    let w = Wide::new(m);
    zip_into(a, b, out, |a, b| w.mul(a, b));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn mul_add_assign(m: &Modulus, acc: &mut [u64], a: &[u64], b: &[u64]) {
    let w = Wide::new(m);
    for ((c, a), b) in acc.as_chunks_mut().0.iter_mut().zip(a.as_chunks().0).zip(b.as_chunks().0) {
        store(c, sub_once(w.product(load(c), load(a), load(b)), w.q.q));
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn scale_assign(m: &Modulus, a: &mut [u64], c: Shoup) {
    let (q, c) = (Q::new(m), W::splat(c));
    map(a, |a| sub_once(q.mul(a, c), q.q));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn scale_into(m: &Modulus, a: &[u64], c: Shoup, out: &mut [u64]) {
    let (q, c) = (Q::new(m), W::splat(c));
    map_into(a, out, |a| sub_once(q.mul(a, c), q.q));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn scale_add_assign(m: &Modulus, acc: &mut [u64], a: &[u64], c: Shoup) {
    let (q, c) = (Q::new(m), W::splat(c));
    // Below q + 2q.
    zip(acc, a, |s, a| q.canonical4(q.mul_onto(s, a, c)));
}

/// (a − t)·c, plus an addend.
struct SubScale {
    q: Q,
    c: F,
}

impl SubScale {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(m: &Modulus, c: Shoup) -> Self {
        Self { q: Q::new(m), c: F::splat(Fraction::new(m, c)) }
    }

    /// `onto` + ((a − t)·c mod q): a + q − t lies in (0, 2q).
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn at(&self, onto: V, a: V, t: V) -> V {
        self.c.product(&self.q, onto, sub(add(a, self.q.q), t))
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn sub_scale(
    m: &Modulus,
    a: &[u64],
    t: &[u64],
    c: Shoup,
    addend: Option<&[u64]>,
    out: &mut [u64],
) {
    let f = SubScale::new(m, c);
    match addend {
        None => zip_into(a, t, out, |a, t| f.at(f.q.zero, a, t)),
        Some(addend) => {
            let rows = a.as_chunks().0.iter().zip(t.as_chunks().0).zip(addend.as_chunks().0);
            for (o, ((a, t), b)) in out.as_chunks_mut().0.iter_mut().zip(rows) {
                store(o, sub_once(f.at(load(b), load(a), load(t)), f.q.q));
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn gather_sub_scale(
    m: &Modulus,
    positions: &[u32],
    a: &[u64],
    t: &[u64],
    c: Shoup,
    addend: Option<&[u64]>,
    out: &mut [u64],
) {
    let (f, a, t) = (SubScale::new(m, c), a.as_chunks().0, t.as_chunks().0);
    let out = out.as_chunks_mut().0.iter_mut().zip(positions.as_chunks().0);
    match addend.map(|b| b.as_chunks().0) {
        None => {
            for (o, p) in out {
                let k = p[0] as usize / 8;
                store(o, permuted(f.at(f.q.zero, load(&a[k]), load(&t[k])), p));
            }
        }
        Some(b) => {
            for (o, p) in out {
                let k = p[0] as usize / 8;
                let sum = sub_once(f.at(load(&b[k]), load(&a[k]), load(&t[k])), f.q.q);
                store(o, permuted(sum, p));
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn reduce_centred_into(from: &Modulus, to: &Modulus, src: &[u64], out: &mut [u64]) {
    let (q, lift) = (Q::new(to), Lift::new(from, to));
    map_into(src, out, |x| sub_once(lift.at(&q, x), q.q));
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn convert_centred_into(to: &Modulus, terms: &[CentredTerm<'_>], out: &mut [u64]) {
    // Each term adds less than 3q.
    if 3 * terms.len() as u64 * to.value() <= 1 << 52 {
        convert_as::<true>(to, terms, out);
    } else {
        convert_as::<false>(to, terms, out);
    }
}

/// `NARROW`: the sum is below 2^52, so that only the low 52 bits of a lane matter. Else it is below 1024·3q < 2^62, with
/// every term cleared above 52 bits.
#[target_feature(enable = "avx512f,avx512ifma")]
fn convert_as<const NARROW: bool>(to: &Modulus, terms: &[CentredTerm<'_>], out: &mut [u64]) {
    let w = Wide::new(to);
    // A block of sums stays in the first-level cache.
    for (k, out) in out.as_chunks_mut::<8>().0.chunks_mut(64).enumerate() {
        out.as_flattened_mut().fill(0);
        for term in terms {
            let p = term.modulus.value();
            let (half, factor) = (splat(p >> 1), W::splat(term.factor));
            let less = splat(to.neg(to.mul_shoup(to.reduce_u64(p), term.factor)));
            for (o, x) in out.iter_mut().zip(term.row[k * 512..].as_chunks().0) {
                let (x, sum) = (load(x), load(o));
                let sum = _mm512_mask_add_epi64(sum, _mm512_cmpgt_epu64_mask(x, half), sum, less);
                store(o, if NARROW { w.q.mul_onto(sum, x, factor) } else { add(sum, w.q.mul(x, factor)) });
            }
        }
        for o in out {
            let sum = load(o);
            let reduced = if NARROW {
                w.one.product(&w.q, w.q.zero, sum)
            } else {
                w.reduce(w.q.zero, _mm512_srli_epi64::<52>(sum), sum)
            };
            store(o, reduced);
        }
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn reduce_i64_into(m: &Modulus, src: &[i64], out: &mut [u64]) {
    let (w, wrap) = (Wide::new(m), splat(m.wrap64()));
    for (o, x) in out.as_chunks_mut().0.iter_mut().zip(src.as_chunks::<8>().0) {
        // SAFETY: eight words are readable; the load asks for no alignment.
        let x = unsafe { _mm512_loadu_si512(x.as_ptr().cast()) };
        // As an unsigned number, a negative one is 2^64 too large.
        let r = w.reduce(w.q.zero, _mm512_srli_epi64::<52>(x), x);
        let excess = _mm512_maskz_mov_epi64(_mm512_cmplt_epi64_mask(x, w.q.zero), wrap);
        store(o, w.q.sub(r, excess));
    }
}

/// Eight entries of π from the vector they come from, the one that holds the first of them.
///
/// Aligned eights of positions differ in the three bits that are the top of brv(i), so their exponents differ by
/// multiples of order/8; multiplication by the odd g permutes those multiples: aligned eights map onto aligned eights.
#[inline]
#[target_feature(enable = "avx512f")]
fn permuted(x: V, positions: &[u32; 8]) -> V {
    // SAFETY: eight half words are readable; the load asks for no alignment.
    let lanes = unsafe { _mm256_loadu_si256(positions.as_ptr().cast()) };
    // The instruction reads the low three bits of each index.
    _mm512_permutexvar_epi64(_mm512_cvtepu32_epi64(lanes), x)
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn gather_into(positions: &[u32], src: &[u64], out: &mut [u64]) {
    let src = src.as_chunks().0;
    for (o, p) in out.as_chunks_mut().0.iter_mut().zip(positions.as_chunks().0) {
        store(o, permuted(load(&src[p[0] as usize / 8]), p));
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn gather_add_assign(m: &Modulus, positions: &[u32], acc: &mut [u64], src: &[u64]) {
    let (q, src) = (Q::new(m), src.as_chunks().0);
    for (o, p) in acc.as_chunks_mut().0.iter_mut().zip(positions.as_chunks().0) {
        store(o, q.add(load(o), permuted(load(&src[p[0] as usize / 8]), p)));
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn mac_first(lo: &mut [u64], hi: &mut [u64], a: &[u64], b: &[u64]) {
    let zero = splat(0);
    let words = lo.as_chunks_mut().0.iter_mut().zip(hi.as_chunks_mut().0);
    for ((l, h), (a, b)) in words.zip(a.as_chunks().0.iter().zip(b.as_chunks().0)) {
        let (a, b) = (load(a), load(b));
        store(l, mlo(zero, a, b));
        store(h, mhi(zero, a, b));
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn mac(lo: &mut [u64], hi: &mut [u64], a: &[u64], b: &[u64]) {
    let words = lo.as_chunks_mut().0.iter_mut().zip(hi.as_chunks_mut().0);
    for ((l, h), (a, b)) in words.zip(a.as_chunks().0.iter().zip(b.as_chunks().0)) {
        let (a, b) = (load(a), load(b));
        store(l, mlo(load(l), a, b));
        store(h, mhi(load(h), a, b));
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn mac_fold(m: &Modulus, lo: &mut [u64], hi: &mut [u64]) {
    let w = Wide::new(m);
    for (l, h) in lo.as_chunks_mut().0.iter_mut().zip(hi.as_chunks_mut().0) {
        store(l, w.sum(load(l), load(h)));
        store(h, w.q.zero);
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn mac_reduce(m: &Modulus, lo: &[u64], hi: &[u64], out: &mut [u64]) {
    let w = Wide::new(m);
    zip_into(lo, hi, out, |l, h| w.sum(l, h));
}

/// Adds the products of vectors `at` to `at` + N − 1 of each pair to deferred sums, at most as many as they hold.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn add_products<const N: usize>(
    (mut lo, mut hi): ([V; N], [V; N]),
    pairs: &[(&[u64], &[u64])],
    at: usize,
) -> ([V; N], [V; N]) {
    for (a, b) in pairs {
        let (a, b) = (&a[8 * at..8 * (at + N)], &b[8 * at..8 * (at + N)]);
        for j in 0..N {
            let (a, b) = (vector(a, j), vector(b, j));
            (lo[j], hi[j]) = (mlo(lo[j], a, b), mhi(hi[j], a, b));
        }
    }
    (lo, hi)
}

/// [`add_products`] of (a, c) and of (b, c) for triples (a, b, c).
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn add_products2<const N: usize>(
    [(mut lo, mut hi), (mut lo2, mut hi2)]: [([V; N], [V; N]); 2],
    triples: &[(&[u64], &[u64], &[u64])],
    at: usize,
) -> [([V; N], [V; N]); 2] {
    for (a, b, c) in triples {
        let range = 8 * at..8 * (at + N);
        let (a, b, c) = (&a[range.clone()], &b[range.clone()], &c[range]);
        for j in 0..N {
            let (a, b, c) = (vector(a, j), vector(b, j), vector(c, j));
            (lo[j], hi[j]) = (mlo(lo[j], a, c), mhi(hi[j], a, c));
            (lo2[j], hi2[j]) = (mlo(lo2[j], b, c), mhi(hi2[j], b, c));
        }
    }
    [(lo, hi), (lo2, hi2)]
}

/// Vector `j` of a row.
#[inline]
#[target_feature(enable = "avx512f")]
fn vector(a: &[u64], j: usize) -> V {
    let a = &a[8 * j..8 * j + 8];
    // SAFETY: eight words are readable; the load asks for no alignment.
    unsafe { _mm512_loadu_si512(a.as_ptr().cast()) }
}

/// Deferred sums reduced, which then count as one term.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn folded<const N: usize>(w: &Wide, (lo, hi): ([V; N], [V; N])) -> ([V; N], [V; N]) {
    let mut reduced = lo;
    for (r, h) in reduced.iter_mut().zip(hi) {
        *r = w.sum(*r, h);
    }
    (reduced, [w.q.zero; N])
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn dot_at<const N: usize>(w: &Wide, terms: usize, pairs: &[(&[u64], &[u64])], at: usize, out: &mut [u64]) {
    let zero = ([w.q.zero; N], [w.q.zero; N]);
    let (first, mut rest) = pairs.split_at(pairs.len().min(terms));
    let mut sums = add_products(zero, first, at);
    while !rest.is_empty() {
        let (group, later) = rest.split_at(rest.len().min(terms - 1));
        sums = add_products(folded(w, sums), group, at);
        rest = later;
    }
    for (o, sum) in out.as_chunks_mut().0[at..at + N].iter_mut().zip(folded(w, sums).0) {
        store(o, sum);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn dot2_at<const N: usize>(
    w: &Wide,
    terms: usize,
    triples: &[(&[u64], &[u64], &[u64])],
    at: usize,
    outs: [&mut [u64]; 2],
) {
    let zero = ([w.q.zero; N], [w.q.zero; N]);
    let (first, mut rest) = triples.split_at(triples.len().min(terms));
    let mut sums = add_products2([zero, zero], first, at);
    while !rest.is_empty() {
        let (group, later) = rest.split_at(rest.len().min(terms - 1));
        let [a, b] = sums;
        sums = add_products2([folded(w, a), folded(w, b)], group, at);
        rest = later;
    }
    for (out, sums) in outs.into_iter().zip(sums) {
        for (o, sum) in out.as_chunks_mut().0[at..at + N].iter_mut().zip(folded(w, sums).0) {
            store(o, sum);
        }
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn dot(m: &Modulus, pairs: &[(&[u64], &[u64])], out: &mut [u64]) {
    let (w, terms, vectors) = (Wide::new(m), m.mac_terms() as usize, out.len() / 8);
    let mut at = 0;
    while at + 8 <= vectors {
        dot_at::<8>(&w, terms, pairs, at, out);
        at += 8;
    }
    while at < vectors {
        dot_at::<1>(&w, terms, pairs, at, out);
        at += 1;
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn dot2(m: &Modulus, triples: &[(&[u64], &[u64], &[u64])], out: &mut [u64], other: &mut [u64]) {
    let (w, terms, vectors) = (Wide::new(m), m.mac_terms() as usize, out.len() / 8);
    let mut at = 0;
    while at + 4 <= vectors {
        dot2_at::<4>(&w, terms, triples, at, [out, other]);
        at += 4;
    }
    while at < vectors {
        dot2_at::<1>(&w, terms, triples, at, [out, other]);
        at += 1;
    }
}
