//! Degree and kind of a ring and the index maps of its transform; no prime is involved.

use crate::RingError;

/// log2 of the smallest supported degree.
pub const MIN_LOG_N: u32 = 3;
/// log2 of the largest supported degree.
pub const MAX_LOG_N: u32 = 17;

/// Which ring of dimension n.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RingKind {
    /// Z\[X\]/(X^n + 1): n/2 complex slots, roots of unity of order 2n.
    Standard,
    /// The subring of Z\[X\]/(X^2n + 1) fixed by X → X⁻¹, with basis 1, X^i + X^−i (1 ≤ i < n): n real slots,
    /// roots of unity of order 4n. A coefficient vector a means a_0 + Σ a_i (X^i + X^−i). Source: Kim and
    /// Song, ePrint 2018/952.
    ConjugateInvariant,
}

/// Kind and degree of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RingShape {
    kind: RingKind,
    log_n: u32,
}

impl RingShape {
    /// The ring of dimension 2^`log_n`.
    ///
    /// # Errors
    /// [`RingError::Degree`] unless 3 ≤ `log_n` ≤ 17.
    pub fn new(kind: RingKind, log_n: u32) -> Result<Self, RingError> {
        if (MIN_LOG_N..=MAX_LOG_N).contains(&log_n) {
            Ok(Self { kind, log_n })
        } else {
            Err(RingError::Degree { log_n })
        }
    }

    /// Which ring.
    pub fn kind(self) -> RingKind {
        self.kind
    }

    /// log2 of the dimension.
    pub fn log_n(self) -> u32 {
        self.log_n
    }

    /// The dimension: coefficients per row.
    pub fn n(self) -> usize {
        1 << self.log_n
    }

    /// Order of the root of unity ψ: 2n (standard) or 4n (conjugate-invariant). Primes must be 1 modulo it.
    pub fn order(self) -> u64 {
        match self.kind {
            RingKind::Standard => 2 << self.log_n,
            RingKind::ConjugateInvariant => 4 << self.log_n,
        }
    }

    /// Length of the cycle a rotation acts on, the order of 5 modulo [`RingShape::order`]: n/2 (standard: a row
    /// of slots) or n (conjugate-invariant).
    pub fn slots(self) -> usize {
        match self.kind {
            RingKind::Standard => self.n() / 2,
            RingKind::ConjugateInvariant => self.n(),
        }
    }

    /// `i` with its log2 n bits reversed.
    fn brv(self, i: usize) -> usize {
        i.reverse_bits() >> (usize::BITS - self.log_n)
    }

    /// The exponent e(i): output i of the transform is f(ψ^e(i)). 2·brv(i) + 1 or 4·brv(i) + 1.
    ///
    /// `i` < n.
    pub fn exponent(self, i: usize) -> u64 {
        debug_assert!(i < self.n());
        match self.kind {
            RingKind::Standard => 2 * self.brv(i) as u64 + 1,
            RingKind::ConjugateInvariant => 4 * self.brv(i) as u64 + 1,
        }
    }

    /// The i with e(i) ≡ `e`, if the transform has one. In the conjugate-invariant ring −e stands for e, and
    /// only e ≡ 1 mod 4 is an output.
    pub fn index_of_exponent(self, e: u64) -> Option<usize> {
        let step = self.order() / self.n() as u64;
        let e = e % self.order();
        (e % step == 1).then(|| self.brv((e / step) as usize))
    }

    /// The transform index of slot `j`: where e(i) = 5^j. j is taken modulo [`RingShape::slots`].
    pub fn index_of_slot(self, j: usize) -> usize {
        // 5^j is 1 modulo 4, hence always an output.
        self.index_of_exponent(self.rotation(j as i64)).unwrap_or(0)
    }

    /// The Galois element 5^r of a rotation *left* by `r` slots (negative: right); `r` is taken modulo
    /// [`RingShape::slots`].
    pub fn rotation(self, r: i64) -> u64 {
        let mut e = r.rem_euclid(self.slots() as i64) as u64;
        let mask = self.order() - 1;
        let (mut g, mut base) = (1u64, 5u64);
        while e > 0 {
            if e & 1 == 1 {
                g = (g * base) & mask;
            }
            base = (base * base) & mask;
            e >>= 1;
        }
        g
    }

    /// The Galois element −1 of conjugation, which swaps the two rows of slots. `None` in the
    /// conjugate-invariant ring, where it acts trivially.
    pub fn conjugation(self) -> Option<u64> {
        match self.kind {
            RingKind::Standard => Some(self.order() - 1),
            RingKind::ConjugateInvariant => None,
        }
    }

    /// The inverse of a Galois element modulo [`RingShape::order`].
    ///
    /// # Errors
    /// [`RingError::Galois`] as in [`RingShape::automorphism`].
    pub fn galois_inverse(self, g: u64) -> Result<u64, RingError> {
        self.check_galois(g)?;
        // Newton modulo 2^64: each step doubles the number of correct low bits, 3 to start with.
        let mut x = g;
        for _ in 0..5 {
            x = x.wrapping_mul(2u64.wrapping_sub(g.wrapping_mul(x)));
        }
        Ok(x & (self.order() - 1))
    }

    fn check_galois(self, g: u64) -> Result<(), RingError> {
        let residue = match self.kind {
            RingKind::Standard => g & 1,
            RingKind::ConjugateInvariant => g & 3,
        };
        if residue == 1 && g < self.order() {
            Ok(())
        } else {
            Err(RingError::Galois { g, order: self.order() })
        }
    }

    /// The automorphism X → X^g on transformed rows: a *gather*, out\[i\] = in\[π(i)\] with e(π(i)) = g·e(i).
    ///
    /// # Errors
    /// [`RingError::Galois`] unless g < [`RingShape::order`] is odd (standard) or 1 modulo 4
    /// (conjugate-invariant).
    pub fn automorphism(self, g: u64) -> Result<Permutation, RingError> {
        self.check_galois(g)?;
        let mask = self.order() - 1;
        let step = self.order() / self.n() as u64;
        let source: Box<[u32]> = (0..self.n())
            .map(|i| self.brv((((g * self.exponent(i)) & mask) / step) as usize) as u32)
            .collect();
        Ok(Permutation { g, shape: self, eights: Eights::of(&source), source })
    }
}

/// An automorphism as a permutation of transformed rows; made by [`RingShape::automorphism`].
///
/// Invariant: `source` holds each of 0 .. n once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Permutation {
    g: u64,
    shape: RingShape,
    source: Box<[u32]>,
    eights: Eights,
}

/// The same permutation by aligned eights, from the operand's side: an automorphism takes aligned eights to aligned
/// eights, see the vector kernels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Eights {
    /// For each eight of the operand, which eight of the result it becomes, and its entry in `orders`.
    pub(crate) to: Box<[(u16, u16)]>,
    /// Position j of an eight of the result comes from position `orders[..][j]` of the operand's.
    pub(crate) orders: Vec<[u64; 8]>,
}

impl Eights {
    fn of(source: &[u32]) -> Self {
        let eights = source.as_chunks::<8>().0;
        let mut to = vec![(0, 0); eights.len()].into_boxed_slice();
        let mut orders: Vec<[u64; 8]> = Vec::new();
        for (result, positions) in eights.iter().enumerate() {
            let order = positions.map(|p| u64::from(p % 8));
            let at = orders.iter().position(|o| *o == order).unwrap_or_else(|| {
                orders.push(order);
                orders.len() - 1
            });
            // At most 2^17 coefficients are 2^14 eights, and a permutation of eight positions that is linear in them is one
            // of 32.
            to[positions[0] as usize / 8] = (result as u16, at as u16);
        }
        Self { to, orders }
    }
}

impl Permutation {
    /// The Galois element g of X → X^g.
    pub fn galois(&self) -> u64 {
        self.g
    }

    /// The ring it belongs to.
    pub fn shape(&self) -> RingShape {
        self.shape
    }

    pub(crate) fn eights(&self) -> &Eights {
        &self.eights
    }

    /// π: position i of the result comes from position `source()[i]` of the operand.
    pub fn source(&self) -> &[u32] {
        &self.source
    }
}
