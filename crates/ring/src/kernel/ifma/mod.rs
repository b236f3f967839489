//! AVX-512 IFMA kernels: eight residues per vector.
//!
//! `vpmadd52` multiplies the low 52 bits of its factors and adds the low or high 52 bits of the product to a
//! 64-bit lane. Two things follow that this module leans on. A factor may carry *anything* in bits 52 to 63. And
//! a difference of two low halves, lo52(a·b) − lo52(c·d) computed as lo52(a·b) + lo52(c·(2^52 − d)), is right in
//! its low 52 bits, with a carry above that need not be cleared while only the low 52 bits matter. "x ≡ v" below
//! says that the low 52 bits of lane x are v.
//!
//! Every function is entered through the safe functions of [`super`], which pick this path only where the
//! processor has the features.

pub(crate) mod bits;
pub(crate) mod ntt;
pub(crate) mod rows;
pub(crate) mod tables;

use crate::{Modulus, Shoup};
use std::arch::x86_64::*;

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
    /// ⌊2^52/q⌋.
    inverse: V,
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
            inverse: splat(m.one().quotient),
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

    /// ≡ x mod q, in [0, 2q), for x ≡ any value below 2^52: [`Q::mul_onto`] with w = 1.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn barrett(&self, x: V) -> V {
        mlo(x, mhi(self.zero, x, self.inverse), self.minus_q)
    }

    /// Canonical form of x ≡ v, v in [0, 2q).
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn canonical2(&self, x: V) -> V {
        sub_once(_mm512_and_si512(x, self.mask), self.q)
    }

    /// Canonical form of x ≡ v, v in [0, 4q).
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn canonical4(&self, x: V) -> V {
        sub_once(sub_once(_mm512_and_si512(x, self.mask), self.two_q), self.q)
    }
}
