//! One prime below 2^50 and its arithmetic in radix 2^52.
//!
//! Radix 2^52 is what the `vpmadd52` instructions multiply in; the portable code uses the same radix so that
//! every path shares its constants, ranges and proofs.

use crate::RingError;

/// Moduli have at most this many bits: lazy butterflies hold values below 4q, which must stay below 2^52.
pub const MAX_MODULUS_BITS: u32 = 50;

const RADIX_BITS: u32 = 52;
const MASK: u64 = (1 << RADIX_BITS) - 1;

/// The low 52 bits of a·b.
#[inline(always)]
pub(crate) fn lo52(a: u64, b: u64) -> u64 {
    a.wrapping_mul(b) & MASK
}

/// Bits 52 and up of a·b; below 2^52 if both operands are.
#[inline(always)]
pub(crate) fn hi52(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> RADIX_BITS) as u64
}

/// x − m if x ≥ m, else x, without a branch. Brings [0, 2m) to [0, m) for m ≤ 2^63.
#[inline(always)]
pub(crate) fn sub_once(x: u64, m: u64) -> u64 {
    x.min(x.wrapping_sub(m))
}

/// A constant w in [0, q) prepared for multiplication modulo q (Shoup's trick, radix 2^52).
///
/// Belongs to the [`Modulus`] that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Shoup {
    /// w.
    pub(crate) value: u64,
    /// ⌊w·2^52/q⌋, below 2^52.
    pub(crate) quotient: u64,
}

impl Shoup {
    /// The constant itself, in [0, q).
    pub fn value(self) -> u64 {
        self.value
    }
}

/// An odd prime q < 2^50 with what is needed to reduce by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modulus {
    q: u64,
    /// 1, 2^52 and 2^104 mod q.
    one: Shoup,
    radix: Shoup,
    radix2: Shoup,
    /// 2^64 mod q and 2^128 mod q: what a negative two's complement number is too large by.
    wrap64: u64,
    wrap128: u64,
}

impl Modulus {
    /// The modulus q.
    ///
    /// # Errors
    /// [`RingError::Modulus`] unless q is an odd prime below 2^50.
    pub fn new(q: u64) -> Result<Self, RingError> {
        if q >> MAX_MODULUS_BITS != 0 || q.is_multiple_of(2) || !is_prime(q) {
            return Err(RingError::Modulus { q });
        }
        let power = |bits: u32| {
            let mut x = 1 % q;
            for _ in 0..bits {
                x = sub_once(x << 1, q);
            }
            x
        };
        let shoup =
            |w: u64| Shoup { value: w, quotient: ((u128::from(w) << RADIX_BITS) / u128::from(q)) as u64 };
        Ok(Self {
            q,
            one: shoup(1),
            radix: shoup(power(52)),
            radix2: shoup(power(104)),
            wrap64: power(64),
            wrap128: power(128),
        })
    }

    /// q.
    #[inline(always)]
    pub fn value(&self) -> u64 {
        self.q
    }

    /// Bits of a residue: ⌈log2 q⌉.
    #[inline]
    pub fn bits(&self) -> u32 {
        u64::BITS - self.q.leading_zeros()
    }

    /// w mod q prepared for multiplication. Any w; a 128-bit division, so prepare outside loops.
    pub fn shoup(&self, w: u64) -> Shoup {
        let value = self.reduce_u64(w);
        Shoup { value, quotient: ((u128::from(value) << RADIX_BITS) / u128::from(self.q)) as u64 }
    }

    /// x·w mod q, in [0, 2q), for any x < 2^52.
    ///
    /// With w' = (w·2^52 − ρ)/q, 0 ≤ ρ < q, and h = ⌊x·w'/2^52⌋:
    /// x·w/q − h = x·ρ/(q·2^52) + (fraction below 1) < x/2^52 + 1 < 2, and it is ≥ 0. So x·w − h·q lies in
    /// [0, 2q), below 2^51, and the low 52 bits determine it.
    #[inline(always)]
    pub(crate) fn mul_lazy(&self, x: u64, w: Shoup) -> u64 {
        debug_assert!(x <= MASK);
        let h = hi52(x, w.quotient);
        x.wrapping_mul(w.value).wrapping_sub(h.wrapping_mul(self.q)) & MASK
    }

    /// x·w mod q, canonical, for any x < 2^52.
    #[inline(always)]
    pub fn mul_shoup(&self, x: u64, w: Shoup) -> u64 {
        sub_once(self.mul_lazy(x, w), self.q)
    }

    /// 1, prepared: its quotient is ⌊2^52/q⌋.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "for the vector kernels"))]
    pub(crate) fn one(&self) -> Shoup {
        self.one
    }

    /// 2^52 mod q, prepared.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "for the vector kernels"))]
    pub(crate) fn radix(&self) -> Shoup {
        self.radix
    }

    /// 2^104 mod q, prepared.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "for the vector kernels"))]
    pub(crate) fn radix2(&self) -> Shoup {
        self.radix2
    }

    /// 2^64 mod q.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "for the vector kernels"))]
    pub(crate) fn wrap64(&self) -> u64 {
        self.wrap64
    }

    /// x mod q, in [0, 2q), for any x < 2^52.
    #[inline(always)]
    pub(crate) fn reduce52_lazy(&self, x: u64) -> u64 {
        self.mul_lazy(x, self.one)
    }

    /// Canonical form of x in [0, 4q).
    #[inline(always)]
    pub(crate) fn canonical4(&self, x: u64) -> u64 {
        sub_once(sub_once(x, 2 * self.q), self.q)
    }

    /// hi·2^52 + lo mod q, canonical, for hi, lo < 2^52.
    #[inline(always)]
    pub(crate) fn reduce_pair(&self, hi: u64, lo: u64) -> u64 {
        self.canonical4(self.mul_lazy(hi, self.radix) + self.reduce52_lazy(lo))
    }

    /// a + b mod q for canonical a, b.
    #[inline(always)]
    pub fn add(&self, a: u64, b: u64) -> u64 {
        sub_once(a.wrapping_add(b), self.q)
    }

    /// a − b mod q for canonical a, b.
    #[inline(always)]
    pub fn sub(&self, a: u64, b: u64) -> u64 {
        let d = a.wrapping_sub(b);
        d.min(d.wrapping_add(self.q))
    }

    /// −a mod q for canonical a.
    #[inline(always)]
    pub fn neg(&self, a: u64) -> u64 {
        sub_once(self.q.wrapping_sub(a), self.q)
    }

    /// a·b mod q for canonical a, b (any a·b < 2^104 with a, b < 2^52).
    #[inline(always)]
    pub fn mul(&self, a: u64, b: u64) -> u64 {
        self.reduce_pair(hi52(a, b), lo52(a, b))
    }

    /// a^e mod q for canonical a. Time depends on e.
    pub fn pow(&self, mut a: u64, mut e: u64) -> u64 {
        let mut r = 1;
        while e > 0 {
            if e & 1 == 1 {
                r = self.mul(r, a);
            }
            a = self.mul(a, a);
            e >>= 1;
        }
        r
    }

    /// a⁻¹ mod q for canonical a, by Fermat; `None` for 0.
    pub fn inv(&self, a: u64) -> Option<u64> {
        (a != 0).then(|| self.pow(a, self.q - 2))
    }

    /// x mod q. Branch-free.
    #[inline(always)]
    pub fn reduce_u64(&self, x: u64) -> u64 {
        self.reduce_pair(x >> RADIX_BITS, x & MASK)
    }

    /// x mod q. Branch-free.
    #[inline(always)]
    pub fn reduce_u128(&self, x: u128) -> u64 {
        let (x0, x1, x2) = (x as u64 & MASK, (x >> 52) as u64 & MASK, (x >> 104) as u64);
        let low = self.reduce_pair(x1, x0);
        self.add(low, self.mul_shoup(x2, self.radix2))
    }

    /// x mod q, canonical (so −1 becomes q − 1). Branch-free.
    #[inline(always)]
    pub fn reduce_i64(&self, x: i64) -> u64 {
        let excess = self.wrap64 & ((x >> 63) as u64);
        self.sub(self.reduce_u64(x as u64), excess)
    }

    /// x mod q, canonical. Branch-free.
    #[inline(always)]
    pub fn reduce_i128(&self, x: i128) -> u64 {
        let excess = self.wrap128 & ((x >> 127) as u64);
        self.sub(self.reduce_u128(x as u128), excess)
    }

    /// The representative of canonical x in [−(q−1)/2, (q−1)/2]. Branch-free.
    #[inline(always)]
    pub fn centre(&self, x: u64) -> i64 {
        let above = u64::from(x > self.q >> 1).wrapping_neg();
        (x as i64).wrapping_sub((self.q & above) as i64)
    }

    /// Whether products of residues are below 2^52, so that the high words of a deferred sum stay zero.
    pub(crate) fn one_word_products(&self) -> bool {
        hi52(self.q, self.q) == 0
    }

    /// How many products of canonical residues the two words of a deferred sum hold (see
    /// [`crate::kernel::mac`]): T = min(4096, ⌊2^52/(⌊q²/2^52⌋ + 1)⌋), at least 16.
    ///
    /// The low word gains at most 2^52 − 1 per term: T ≤ 4096 terms stay below 2^64. The high word gains at most
    /// H = ⌊q²/2^52⌋. The reduction needs high + (low ≫ 52) < 2^52: it is at most T·H + (T − 1) = T(H+1) − 1.
    pub fn mac_terms(&self) -> u32 {
        let h = hi52(self.q, self.q);
        ((1u64 << RADIX_BITS) / (h + 1)).min(4096) as u32
    }
}

/// Whether x is prime: Miller–Rabin with the first twelve primes, exact for every 64-bit number
/// (Sorenson and Webster, *Strong pseudoprimes to twelve prime bases*, 2015).
pub fn is_prime(x: u64) -> bool {
    const BASES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
    if x < 2 {
        return false;
    }
    for p in BASES {
        if x.is_multiple_of(p) {
            return x == p;
        }
    }
    let mul = |a: u64, b: u64| (u128::from(a) * u128::from(b) % u128::from(x)) as u64;
    let twos = (x - 1).trailing_zeros();
    let odd = (x - 1) >> twos;
    BASES.iter().all(|&base| {
        let (mut y, mut a, mut e) = (1, base, odd);
        while e > 0 {
            if e & 1 == 1 {
                y = mul(y, a);
            }
            a = mul(a, a);
            e >>= 1;
        }
        if y == 1 || y == x - 1 {
            return true;
        }
        for _ in 1..twos {
            y = mul(y, y);
            if y == x - 1 {
                return true;
            }
        }
        false
    })
}

/// The largest prime of exactly `bits` bits that is 1 modulo `step` and not in `taken`.
///
/// # Errors
/// [`RingError::NoPrime`] if there is none, or `bits` is outside 2 ..= 50 or `step` is odd or zero.
pub fn prime_below(bits: u32, step: u64, taken: &[u64]) -> Result<u64, RingError> {
    let none = RingError::NoPrime { bits, step };
    if !(2..=MAX_MODULUS_BITS).contains(&bits) || step == 0 || !step.is_multiple_of(2) {
        return Err(none);
    }
    let (top, bottom) = (1u64 << bits, 1u64 << (bits - 1));
    let mut q = match (top / step).checked_mul(step) {
        Some(multiple) if multiple > 0 => multiple + 1,
        _ => return Err(none),
    };
    while q > bottom {
        if q < top && !taken.contains(&q) && is_prime(q) {
            return Ok(q);
        }
        match q.checked_sub(step) {
            Some(next) => q = next,
            None => break,
        }
    }
    Err(none)
}

/// One prime per entry of `bits`, in that order, by [`prime_below`]: all different, none in `taken`, all 1
/// modulo `step` (see [`crate::RingShape::order`]).
///
/// # Errors
/// [`RingError::NoPrime`] as there.
pub fn primes_below(bits: &[u32], step: u64, taken: &[u64]) -> Result<Vec<u64>, RingError> {
    let mut all = taken.to_vec();
    for &b in bits {
        all.push(prime_below(b, step, &all)?);
    }
    Ok(all.split_off(taken.len()))
}
