//! The ring of layers of a session, and exact products in it: modulo powers of two through a prime, or modulo two primes
//! themselves.

use super::params::mask;
use super::primes::Primes;
use crate::{HeError, security};
use oblivia_base::Secret;
use oblivia_base::seed::EntropySource;
use oblivia_ring::word::{Term, WORD_BITS};
use oblivia_ring::{Basis, Modulus, Ntt, Poly, RingKind, RingShape, kernel, prime_below, primes_below};
use std::fmt;
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

/// Largest q: the bits of a word that vector instructions multiply.
pub const MAX_MODULUS_BITS: u32 = WORD_BITS;

/// Bits of the prime that products go through.
const PRIME_BITS: u32 = 50;

/// Bits of a prime of [`Ring::two_primes`] at least: no q of theirs is a modulus of a power of two.
pub(super) const LEAST_PRIME_BITS: u32 = 27;

/// Coefficients of a piece of sums of products: what is read twice stays in the nearest cache.
pub(super) const PIECE: usize = 256;

/// Z\[X\]/(X^n + 1), either modulo powers of two up to the largest the security table allows for n ([`Ring::new`]), or
/// modulo the product of two primes ([`Ring::two_primes`]).
#[derive(Clone)]
pub struct Ring(Arc<Inner>);

struct Inner {
    max_bits: u32,
    /// The prime that products modulo powers of two go through, or the two primes of the modulus.
    basis: Basis,
    primes: Option<Primes>,
}

/// A transformed element with coefficients x = low + 2^half·high modulo 2^bits, both in [0, 2^half), half = ⌈bits/2⌉:
/// products by small elements are exact modulo one prime.
#[derive(Clone)]
pub(crate) struct Split {
    low: Poly<Ntt>,
    high: Poly<Ntt>,
    half: u32,
}

impl Zeroize for Split {
    fn zeroize(&mut self) {
        self.low.zeroize();
        self.high.zeroize();
    }
}

impl Ring {
    /// The ring of degree 2^`log_n`; 11 is the usual one.
    ///
    /// # Errors
    /// [`HeError::NotInSecurityTable`], [`HeError::Ring`].
    pub fn new(log_n: u32) -> Result<Self, HeError> {
        let n = 1usize.checked_shl(log_n).unwrap_or(0);
        Self::with_limit(log_n, security::max_log_qp(n)?)
    }

    /// The ring of degree 2^`log_n` modulo q = p·p', primes of `prime_bits` bits; 12 is the usual degree. All its layers
    /// are flooded: see [`super::Params::flooded`].
    ///
    /// # Errors
    /// [`HeError::NotInSecurityTable`], [`HeError::AboveSecurityTable`], [`HeError::Ring`]; [`HeError::Shape`] for primes
    /// so small that q could be a modulus of the other kind.
    pub fn two_primes(log_n: u32, prime_bits: u32) -> Result<Self, HeError> {
        if prime_bits < LEAST_PRIME_BITS {
            return Err(HeError::Shape { what: "primes of 27 bits at least are needed" });
        }
        let shape = RingShape::new(RingKind::Standard, log_n)?;
        let list = primes_below(&[prime_bits; 2], shape.order(), &[])?;
        security::check(shape.n(), &list)?;
        let basis = Basis::new(shape, &list)?;
        let primes = Some(Primes::new(&basis)?);
        Ok(Self(Arc::new(Inner { max_bits: 2 * prime_bits, basis, primes })))
    }

    /// A ring of any degree and any modulus. Protects nothing.
    ///
    /// # Errors
    /// [`HeError::Ring`].
    #[cfg(any(test, feature = "insecure-params"))]
    pub fn insecure_unchecked(log_n: u32) -> Result<Self, HeError> {
        Self::with_limit(log_n, MAX_MODULUS_BITS)
    }

    fn with_limit(log_n: u32, max_bits: u32) -> Result<Self, HeError> {
        let shape = RingShape::new(RingKind::Standard, log_n)?;
        let basis = Basis::new(shape, &[prime_below(PRIME_BITS, shape.order(), &[])?])?;
        Ok(Self(Arc::new(Inner { max_bits: max_bits.min(MAX_MODULUS_BITS), basis, primes: None })))
    }

    /// n.
    pub fn n(&self) -> usize {
        self.0.basis.n()
    }

    /// log2 n.
    pub fn log_n(&self) -> u32 {
        self.0.basis.shape().log_n()
    }

    /// The primes of the modulus, for a ring modulo two of them.
    pub(crate) fn primes(&self) -> Option<&Primes> {
        self.0.primes.as_ref()
    }

    /// Bits of the largest q a layer may have, which is the modulus of public keys.
    pub fn max_modulus_bits(&self) -> u32 {
        self.0.max_bits
    }

    pub(crate) fn check_modulus(&self, q_bits: u32) -> Result<(), HeError> {
        if q_bits <= self.0.max_bits {
            return Ok(());
        }
        if q_bits > MAX_MODULUS_BITS {
            return Err(HeError::Overflow { bits: q_bits, max: MAX_MODULUS_BITS });
        }
        let (dimension, max) = (self.n(), self.0.max_bits);
        Err(HeError::AboveSecurityTable { dimension, log_qp: f64::from(q_bits), max })
    }

    pub(crate) fn basis(&self) -> &Basis {
        &self.0.basis
    }

    fn modulus(&self) -> &Modulus {
        self.0.basis.modulus(0)
    }

    /// Largest Σ|w| of small factors whose products with elements modulo 2^`bits` add up exactly; modulo two primes all do.
    pub(crate) fn max_norm1(&self, bits: u32) -> u64 {
        if self.0.primes.is_some() {
            return u64::MAX;
        }
        // Σ|w|·2^half ≤ (p − 1)/2.
        ((self.modulus().value() - 1) / 2) >> bits.div_ceil(2)
    }

    /// Bytes of what transforms read, once one was done: four rows of constants for each prime, and again in the order of
    /// vector kernels.
    pub fn constants_bytes(&self) -> u64 {
        64 * (self.basis().limbs() * self.n()) as u64
    }

    /// Signed integers, transformed.
    pub(crate) fn forward_signed(&self, x: &[i64]) -> Poly<Ntt> {
        Poly::from_i64(self.basis(), x).into_ntt()
    }

    /// The sum of weight·X^shift, transformed into `out`, modulo every prime.
    pub(crate) fn forward_terms(&self, terms: &[Term], out: &mut Poly<Ntt>) {
        for (i, modulus) in self.basis().moduli().enumerate() {
            let (p, row) = (modulus.value(), out.row_mut(i));
            row.fill(0);
            for term in terms {
                let negative = i64::from(term.weight) >> 63;
                row[term.shift as usize] = (p & negative as u64).wrapping_add(i64::from(term.weight) as u64);
            }
            kernel::forward(self.basis().table(i), row);
        }
    }

    /// Residues modulo 2^`bits`, split and transformed. Bits above are ignored.
    pub(crate) fn forward(&self, x: &[u64], bits: u32) -> Split {
        let half = bits.div_ceil(2);
        // Halves are canonical modulo p as they are.
        let part = |shift: u32, bits: u32| {
            let mut out = Poly::<Ntt>::zero(self.basis());
            let row = out.row_mut(0);
            row.iter_mut().zip(x).for_each(|(o, &x)| *o = (x >> shift) & mask(bits));
            kernel::forward(self.0.basis.table(0), row);
            out
        };
        Split { low: part(0, half), high: part(half, bits - half), half }
    }

    /// out ← out + 2^`shift`·(the integers that `x` holds modulo p, centred), modulo 2^64.
    fn add_inverse(&self, x: &mut Poly<Ntt>, shift: u32, out: &mut [u64]) {
        let (m, row) = (self.modulus(), x.row_mut(0));
        kernel::inverse(self.0.basis.table(0), row);
        // v in [−h, h] is v + h modulo p, less h.
        let h = m.value() >> 1;
        kernel::add_constant_assign(m, row, h);
        for (o, &x) in out.iter_mut().zip(&*row) {
            *o = o.wrapping_add(x.wrapping_sub(h) << shift);
        }
    }

    /// The product of two small elements.
    pub(crate) fn small_product(&self, a: &Poly<Ntt>, b: &Poly<Ntt>) -> Vec<u64> {
        let mut product = Secret::new(Poly::<Ntt>::zero(self.basis()));
        a.mul_into(b, product.expose_mut());
        let mut out = vec![0; self.n()];
        self.add_inverse(product.expose_mut(), 0, &mut out);
        out
    }

    /// The product of an element by a small one, modulo the power of two that the element is split for; Σ|w| of the small one is at most [`Ring::max_norm1`].
    pub(crate) fn product(&self, x: &Split, small: &Poly<Ntt>) -> Vec<u64> {
        let mut out = vec![0; self.n()];
        let mut product = Secret::new(Poly::<Ntt>::zero(self.basis()));
        for (half, shift) in [(&x.low, 0), (&x.high, x.half)] {
            half.mul_into(small, product.expose_mut());
            self.add_inverse(product.expose_mut(), shift, &mut out);
        }
        out
    }

    /// For every list of terms the sums Σ x·small and Σ y·small over its ((x, y), small), as ([low, high] of either).
    /// None for an empty list. All are split alike; Σ|w| of the small factors of one list is at most [`Ring::max_norm1`].
    pub(crate) fn sum_products(&self, lists: &[Vec<(&[Split; 2], &Poly<Ntt>)>]) -> Vec<Option<Sums>> {
        let zero = || Poly::<Ntt>::zero(self.basis());
        let start = |terms: &Vec<(&[Split; 2], _)>| {
            let ([first, _], _) = terms.first()?;
            Some(Sums { rows: [zero(), zero(), zero(), zero()], half: first.half })
        };
        let mut sums: Vec<_> = lists.iter().map(start).collect();
        let mut triples = Vec::new();
        for from in (0..self.n()).step_by(PIECE) {
            let piece = from..(from + PIECE).min(self.n());
            for (terms, sums) in lists.iter().zip(&mut sums) {
                let Some(sums) = sums else { continue };
                let [x0, y0, x1, y1] = &mut sums.rows;
                type Half = fn(&Split) -> &Poly<Ntt>;
                let halves: [(_, _, Half); 2] = [(x0, y0, |x| &x.low), (x1, y1, |x| &x.high)];
                for (x_sum, y_sum, half) in halves {
                    triples.clear();
                    triples.extend(terms.iter().map(|([x, y], small)| {
                        let row = |p| &Poly::<Ntt>::row(p, 0)[piece.clone()];
                        (row(half(x)), row(half(y)), row(small))
                    }));
                    let (x, y) = (&mut x_sum.row_mut(0)[piece.clone()], &mut y_sum.row_mut(0)[piece.clone()]);
                    kernel::dot2_into(self.modulus(), &triples, x, y);
                }
            }
        }
        sums
    }

    /// outs\[j\] ← outs\[j\] + both sums, modulo the power of two that their elements are split for.
    pub(crate) fn add_sums(&self, sums: Sums, [x, y]: [&mut [u64]; 2]) {
        let Sums { rows: [mut x0, mut y0, mut x1, mut y1], half } = sums;
        self.add_inverse(&mut x0, 0, x);
        self.add_inverse(&mut y0, 0, y);
        self.add_inverse(&mut x1, half, x);
        self.add_inverse(&mut y1, half, y);
    }
}

/// Two sums of [`Ring::sum_products`], transformed: the low halves of both, then the high ones.
pub(crate) struct Sums {
    rows: [Poly<Ntt>; 4],
    half: u32,
}

impl Sums {
    /// Adds sums of elements that are split alike.
    pub(crate) fn add(&mut self, other: &Self) {
        debug_assert_eq!(self.half, other.half);
        self.rows.iter_mut().zip(&other.rows).for_each(|(a, b)| a.add_assign(b));
    }
}

/// Rings are equal if elements of both may meet.
impl PartialEq for Ring {
    fn eq(&self, other: &Self) -> bool {
        self.basis() == other.basis() && self.0.primes.is_some() == other.0.primes.is_some()
    }
}

impl Eq for Ring {}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("n", &self.n()).field("max_bits", &self.0.max_bits).finish()
    }
}

/// The representative of x modulo 2^bits in [−2^(bits−1), 2^(bits−1)). Branch-free.
pub(crate) fn centre(x: u64, bits: u32) -> i64 {
    ((x << (64 - bits)) as i64) >> (64 - bits)
}

/// out ← uniform residues modulo 2^`bits`: ⌈bits/8⌉ bytes of the generator each, little-endian, bits above dropped.
/// The generator is asked for whole multiples of 8 bytes.
pub(crate) fn fill_uniform(rng: &mut (impl EntropySource + ?Sized), bits: u32, out: &mut [u64]) {
    const VALUES: usize = 256;
    let (each, mask) = (bits.div_ceil(8) as usize, mask(bits));
    // Eight bytes are read at every value, so seven more than there are.
    let mut buffer = Zeroizing::new([0u8; 8 * VALUES + 8]);
    for out in out.chunks_mut(VALUES) {
        rng.fill_bytes(&mut buffer[..(each * out.len()).next_multiple_of(8)]);
        for (i, o) in out.iter_mut().enumerate() {
            let mut word = [0; 8];
            word.copy_from_slice(&buffer[each * i..each * i + 8]);
            *o = u64::from_le_bytes(word) & mask;
        }
    }
}
