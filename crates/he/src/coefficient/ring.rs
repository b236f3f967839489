//! The ring of all layers of a session, and exact products in it through two primes.

use super::params::mask;
use crate::{HeError, security};
use oblivia_base::Secret;
use oblivia_ring::word::WORD_BITS;
use oblivia_ring::{Basis, Coeff, Modulus, Ntt, Poly, RingKind, RingShape, Shoup, kernel, primes_below};
use std::fmt;
use std::sync::Arc;

/// Largest q: the bits of a word that vector instructions multiply.
pub const MAX_MODULUS_BITS: u32 = WORD_BITS;

/// Bit lengths of the primes that products go through.
const PRIME_BITS: [u32; 2] = [50, 50];

/// Z\[X\]/(X^n + 1) modulo powers of two up to the largest the security table allows for n.
#[derive(Clone)]
pub struct Ring(Arc<Inner>);

struct Inner {
    max_bits: u32,
    basis: Basis,
    /// p_0⁻¹ modulo p_1.
    inverse: Shoup,
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
        let basis = Basis::new(shape, &primes_below(&PRIME_BITS, shape.order(), &[])?)?;
        let (p, to) = (basis.modulus(0).value(), basis.modulus(1));
        let inverse = to.pow(to.reduce_u64(p), to.value() - 2);
        let inverse = to.shoup(inverse);
        Ok(Self(Arc::new(Inner { max_bits: max_bits.min(MAX_MODULUS_BITS), basis, inverse })))
    }

    /// n.
    pub fn n(&self) -> usize {
        self.0.basis.n()
    }

    /// log2 n.
    pub fn log_n(&self) -> u32 {
        self.0.basis.shape().log_n()
    }

    /// The largest q a layer may have, and the modulus of public keys.
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

    pub(crate) fn moduli(&self) -> [&Modulus; 2] {
        [self.0.basis.modulus(0), self.0.basis.modulus(1)]
    }

    /// Signed integers, transformed modulo both primes.
    pub(crate) fn forward_signed(&self, x: &[i64]) -> Poly<Ntt> {
        let mut out = Poly::<Ntt>::zero(self.basis());
        for (table, row) in self.basis().tables().zip(out.rows_mut()) {
            kernel::reduce_i64_into(table.modulus(), x, row);
            kernel::forward(table, row);
        }
        out
    }

    /// The centred representatives of residues modulo 2^`bits`, transformed. Bits above are ignored.
    pub(crate) fn forward(&self, x: &[u64], bits: u32) -> Poly<Ntt> {
        let centred: Secret<Vec<i64>> = Secret::new(x.iter().map(|&x| centre(x, bits)).collect());
        self.forward_signed(centred.expose())
    }

    /// out ← out + the integers that `x` holds modulo both primes, modulo 2^64. They are centred, and of magnitude
    /// below half of the product of the primes.
    pub(crate) fn add_inverse(&self, x: Poly<Ntt>, out: &mut [u64]) {
        let mut x = Secret::new(x);
        for (table, row) in self.0.basis.tables().zip(x.expose_mut().rows_mut()) {
            kernel::inverse(table, row);
        }
        let x = x.expose();
        let [p, to] = self.moduli();
        // x = x_0 + p·v with x_0 centred modulo p and v = (x_1 − x_0)/p centred modulo the other prime.
        let mut scratch = Secret::new(Poly::<Coeff>::zero(&self.0.basis));
        let mut rows = scratch.expose_mut().rows_mut();
        let (Some(reduced), Some(v)) = (rows.next(), rows.next()) else { return };
        kernel::reduce_centred_into(p, to, x.row(0), reduced);
        kernel::sub_scale_into(to, x.row(1), reduced, self.0.inverse, None, v);
        for ((o, &low), &v) in out.iter_mut().zip(x.row(0)).zip(&*v) {
            let high = p.value().wrapping_mul(to.centre(v) as u64);
            *o = o.wrapping_add(p.centre(low) as u64).wrapping_add(high);
        }
    }

    /// The product of transformed elements, modulo 2^64; magnitudes as for [`Ring::add_inverse`].
    pub(crate) fn product(&self, a: &Poly<Ntt>, b: &Poly<Ntt>) -> Vec<u64> {
        let mut product = Poly::<Ntt>::zero(self.basis());
        a.mul_into(b, &mut product);
        let mut out = vec![0; self.n()];
        self.add_inverse(product, &mut out);
        out
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("n", &self.n()).field("max_bits", &self.0.max_bits).finish()
    }
}

/// The representative of x modulo 2^bits in [−2^(bits−1), 2^(bits−1)). Branch-free.
pub(crate) fn centre(x: u64, bits: u32) -> i64 {
    ((x << (64 - bits)) as i64) >> (64 - bits)
}

/// out ← words of a generator, `bits` of each.
pub(crate) fn fill_uniform(
    rng: &mut (impl oblivia_base::seed::EntropySource + ?Sized),
    bits: u32,
    out: &mut [u64],
) {
    const WORDS: usize = 256;
    let mut buffer = zeroize::Zeroizing::new([0u8; 8 * WORDS]);
    let mask = mask(bits);
    for out in out.chunks_mut(WORDS) {
        let bytes = &mut buffer[..8 * out.len()];
        rng.fill_bytes(bytes);
        for (o, bytes) in out.iter_mut().zip(bytes.chunks_exact(8)) {
            let mut word = [0; 8];
            word.copy_from_slice(bytes);
            *o = u64::from_le_bytes(word) & mask;
        }
    }
}
