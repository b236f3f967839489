use crate::{Modulus, NttTable, RingError, RingShape, Shoup};
use std::fmt;
use std::sync::Arc;

/// An ordered list of primes over one ring, each with its transform tables.
///
/// Cheap to clone; sub-bases share the tables. Hybrid key switching works over "the first ℓ limbs of Q, then
/// the special primes P": `q.prefix(l).concat(&p)`. Make the bases of all levels once and keep them.
#[derive(Clone)]
pub struct Basis {
    shape: RingShape,
    tables: Arc<[Arc<NttTable>]>,
}

impl Basis {
    /// The basis of `primes` in this order.
    ///
    /// # Errors
    /// [`RingError::Modulus`], [`RingError::NoRoot`] or [`RingError::Repeated`] for a prime that will not do.
    pub fn new(shape: RingShape, primes: &[u64]) -> Result<Self, RingError> {
        let tables = primes
            .iter()
            .map(|&q| Ok(Arc::new(NttTable::new(shape, Modulus::new(q)?)?)))
            .collect::<Result<Vec<_>, RingError>>()?;
        Self::of(shape, tables)
    }

    fn of(shape: RingShape, tables: Vec<Arc<NttTable>>) -> Result<Self, RingError> {
        for (i, t) in tables.iter().enumerate() {
            let q = t.modulus().value();
            if tables[..i].iter().any(|u| u.modulus().value() == q) {
                return Err(RingError::Repeated { q });
            }
        }
        Ok(Self { shape, tables: tables.into() })
    }

    /// The first `limbs` primes. Panics if there are fewer.
    pub fn prefix(&self, limbs: usize) -> Self {
        Self { shape: self.shape, tables: self.tables[..limbs].into() }
    }

    /// The primes at `range`, in order. Panics if it reaches beyond the end.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        Self { shape: self.shape, tables: self.tables[range].into() }
    }

    /// The primes at `limbs`, in that order. Panics if one is beyond the end.
    ///
    /// # Errors
    /// [`RingError::Repeated`] for a limb that is there twice.
    pub fn select(&self, limbs: &[usize]) -> Result<Self, RingError> {
        Self::of(self.shape, limbs.iter().map(|&i| self.tables[i].clone()).collect())
    }

    /// The primes of `self`, then those of `other`.
    ///
    /// # Errors
    /// [`RingError::ShapeMismatch`] for another ring, [`RingError::Repeated`] for a prime in both.
    pub fn concat(&self, other: &Self) -> Result<Self, RingError> {
        if self.shape != other.shape {
            return Err(RingError::ShapeMismatch);
        }
        Self::of(self.shape, self.tables.iter().chain(other.tables.iter()).cloned().collect())
    }

    /// For each limb of `self` the position of the same prime in `larger`; `None` if one is missing.
    ///
    /// Tells a caller which rows of a key over many limbs serve an operand over few.
    pub fn positions_in(&self, larger: &Self) -> Option<Vec<usize>> {
        self.moduli().map(|m| larger.moduli().position(|l| l == m)).collect()
    }

    /// Kind and degree.
    pub fn shape(&self) -> RingShape {
        self.shape
    }

    /// Coefficients per row.
    pub fn n(&self) -> usize {
        self.shape.n()
    }

    /// Number of primes.
    pub fn limbs(&self) -> usize {
        self.tables.len()
    }

    /// The tables of limb `i`. Panics unless `i` < [`Basis::limbs`].
    #[inline]
    pub fn table(&self, i: usize) -> &NttTable {
        &self.tables[i]
    }

    /// The prime of limb `i`. Panics unless `i` < [`Basis::limbs`].
    #[inline]
    pub fn modulus(&self, i: usize) -> &Modulus {
        self.tables[i].modulus()
    }

    /// All tables in order.
    pub fn tables(&self) -> impl ExactSizeIterator<Item = &NttTable> {
        self.tables.iter().map(|t| &**t)
    }

    /// All primes in order.
    pub fn moduli(&self) -> impl ExactSizeIterator<Item = &Modulus> {
        self.tables.iter().map(|t| t.modulus())
    }

    /// log2 of the product of all primes.
    pub fn log_product(&self) -> f64 {
        self.moduli().map(|m| (m.value() as f64).log2()).sum()
    }

    /// The product of all primes modulo `m`.
    pub fn product_mod(&self, m: &Modulus) -> u64 {
        self.moduli().fold(1, |p, q| m.mul(p, m.reduce_u64(q.value())))
    }

    /// The integer `value` as one prepared constant per limb, for [`crate::Poly::mul_scalar_assign`].
    pub fn scalar(&self, value: i128) -> Vec<Shoup> {
        self.moduli().map(|m| m.shoup(m.reduce_i128(value))).collect()
    }
}

impl PartialEq for Basis {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.tables, &other.tables)
            || (self.shape == other.shape
                && self.limbs() == other.limbs()
                && self.moduli().zip(other.moduli()).all(|(a, b)| a.value() == b.value()))
    }
}

impl Eq for Basis {}

impl fmt::Debug for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let primes: Vec<u64> = self.moduli().map(Modulus::value).collect();
        f.debug_struct("Basis").field("shape", &self.shape).field("primes", &primes).finish()
    }
}
