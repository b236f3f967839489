//! AVX-512 IFMA kernels: eight residues per vector.
//!
//! `vpmadd52` multiplies the low 52 bits of its factors and adds the low or high 52 bits of the product to a
//! 64-bit lane. Two things follow that this module leans on. A factor may carry *anything* in bits 52 to 63. And
//! a difference of two low halves, lo52(a·b) − lo52(c·d) computed as lo52(a·b) + lo52(c·(2^52 − d)), is right in
//! its low 52 bits, with a carry above that need not be cleared while only the low 52 bits matter. "x ≡ v" below
//! says that the low 52 bits of lane x are v.
//!
//! # Products
//!
//! A constant w is given as the 104 bits of W = ⌈w·2^104/q⌉, see [`Fraction`]. For y below 2^52 the number
//! r = ⌊y·W_low/2^52⌋ + y·W_high mod 2^52 is the fraction (y·w mod q)·2^52/q up to an error in (−1, 1): the floor
//! takes less than 1 away, rounding W up adds less than y/2^52. So for a sum of one or two such r, plus 1 each, the
//! error is in (0, 4), which is below 2^52/q: ⌊r·q/2^52⌋ is the *canonical* residue. The same holds for the
//! difference of two such r, plus 2. Fractions wrap where residues do; adding them needs no reduction.
//!
//!
//! Every function is entered through the safe functions of [`super`], which pick this path only where the
//! processor has the features.

pub(crate) mod bits;
pub(crate) mod ntt;
pub(crate) mod packed;
pub(crate) mod rows;
pub(crate) mod scalars;
pub(crate) mod tables;

use crate::{Modulus, Shoup};
use std::arch::x86_64::*;
use tables::Fraction;

/// Eight lanes.
pub(crate) type V = __m512i;

const MASK: u64 = (1 << 52) - 1;

/// An array as a vector.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(a: &[u64; 8]) -> V {
    // SAFETY: eight words are readable; the load asks for no alignment.
    unsafe { _mm512_loadu_si512(a.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(a: &mut [u64; 8], v: V) {
    // SAFETY: eight words are writable; the store asks for no alignment.
    unsafe { _mm512_storeu_si512(a.as_mut_ptr().cast(), v) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(x: u64) -> V {
    _mm512_set1_epi64(x as i64)
}

/// c + (low 52 bits of a·b).
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn mlo(c: V, a: V, b: V) -> V {
    _mm512_madd52lo_epu64(c, a, b)
}

/// c + (bits 52 to 103 of a·b).
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn mhi(c: V, a: V, b: V) -> V {
    _mm512_madd52hi_epu64(c, a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: V, b: V) -> V {
    _mm512_add_epi64(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn sub(a: V, b: V) -> V {
    _mm512_sub_epi64(a, b)
}

/// x − m if x ≥ m, else x; as [`crate::modulus::sub_once`].
#[inline]
#[target_feature(enable = "avx512f")]
fn sub_once(x: V, m: V) -> V {
    _mm512_min_epu64(x, _mm512_sub_epi64(x, m))
}

/// A constant and its Shoup quotient in every lane.
#[derive(Clone, Copy)]
struct W {
    value: V,
    quotient: V,
}

impl W {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn splat(w: Shoup) -> Self {
        Self { value: splat(w.value), quotient: splat(w.quotient) }
    }
}

/// A constant in every lane, for canonical products.
#[derive(Clone, Copy)]
struct F {
    high: V,
    low: V,
}

impl F {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn splat(w: Fraction) -> Self {
        Self { high: splat(w.high), low: splat(w.low) }
    }

    /// From the `k`-th pair in memory.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn pair(words: &[u64], k: usize) -> Self {
        Self { high: splat(words[2 * k]), low: splat(words[2 * k + 1]) }
    }

    /// `start` plus the fraction of x·w.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn fraction(&self, start: V, x: V) -> V {
        mlo(mhi(start, x, self.low), x, self.high)
    }

    /// `onto` + (x·w mod q).
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn product(&self, c: &Q, onto: V, x: V) -> V {
        mhi(onto, self.fraction(c.one, x), c.q)
    }
}

/// A modulus in every lane.
#[derive(Clone, Copy)]
struct Q {
    q: V,
    two_q: V,
    /// 2^52 − q: multiplying by it subtracts, in the low 52 bits.
    minus_q: V,
    mask: V,
    zero: V,
    one: V,
    two: V,
}

impl Q {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(m: &Modulus) -> Self {
        let q = m.value();
        Self {
            q: splat(q),
            two_q: splat(2 * q),
            minus_q: splat(MASK + 1 - q),
            mask: splat(MASK),
            zero: splat(0),
            one: splat(1),
            two: splat(2),
        }
    }

    /// ≡ c + (x·w mod q, in [0, 2q)); x ≡ any value below 2^52. The proof is [`Modulus::mul_lazy`]'s: with
    /// h = ⌊x·w'/2^52⌋ the number x·w − h·q lies in [0, 2q), and its low 52 bits are computed.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn mul_onto(&self, c: V, x: V, w: W) -> V {
        let h = mhi(self.zero, x, w.quotient);
        mlo(mlo(c, x, w.value), h, self.minus_q)
    }

    /// x·w mod q in [0, 2q), bits above clear.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn mul(&self, x: V, w: W) -> V {
        _mm512_and_si512(self.mul_onto(self.zero, x, w), self.mask)
    }

    /// Canonical form of x ≡ v, v in [0, 4q).
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn canonical4(&self, x: V) -> V {
        sub_once(sub_once(_mm512_and_si512(x, self.mask), self.two_q), self.q)
    }
}

/// Changes the modulus of centred residues.
struct Lift {
    one: F,
    /// (p − 1)/2 for the modulus p they come from.
    half: V,
    /// −p mod q.
    less: V,
}

impl Lift {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(from: &Modulus, to: &Modulus) -> Self {
        Self {
            one: F::splat(Fraction::one(to)),
            half: splat(from.value() >> 1),
            less: splat(to.neg(to.reduce_u64(from.value()))),
        }
    }

    /// A number below 2q with the residue of the centred x.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn at(&self, c: &Q, x: V) -> V {
        let above = _mm512_cmpgt_epu64_mask(x, self.half);
        self.one.product(c, _mm512_maskz_mov_epi64(above, self.less), x)
    }
}
