use crate::rows::Rows;
use crate::{Basis, Permutation, RingError, Shoup, kernel};
use std::fmt;
use std::marker::PhantomData;
use zeroize::Zeroize;

mod sealed {
    pub trait Sealed {}
}

/// How the rows of a [`Poly`] are to be read: [`Coeff`] or [`Ntt`].
pub trait Representation: sealed::Sealed + Copy + Send + Sync + 'static {
    /// The name shown by `Debug`.
    const NAME: &'static str;
}

/// Rows hold coefficients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coeff;

/// Rows hold values at the roots of unity, in the order of [`crate::RingShape::exponent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ntt;

impl sealed::Sealed for Coeff {}
impl sealed::Sealed for Ntt {}
impl Representation for Coeff {
    const NAME: &'static str = "Coeff";
}
impl Representation for Ntt {
    const NAME: &'static str = "Ntt";
}

/// A ring element in RNS form: one row of n canonical residues per prime of its basis, row i modulo prime i.
///
/// Rows start on 64-byte boundaries. Operations on two elements panic unless their bases are equal. `Debug`
/// prints no residue; comparison is not constant time, and neither a secret (keep those in
/// [`oblivia_base::Secret`]).
#[derive(Clone)]
pub struct Poly<R: Representation> {
    basis: Basis,
    rows: Rows,
    representation: PhantomData<R>,
}

impl<R: Representation> Poly<R> {
    /// Zero.
    pub fn zero(basis: &Basis) -> Self {
        Self { basis: basis.clone(), rows: Rows::zero(basis.limbs(), basis.n()), representation: PhantomData }
    }

    /// The basis.
    pub fn basis(&self) -> &Basis {
        &self.basis
    }

    /// Number of rows.
    pub fn limbs(&self) -> usize {
        self.rows.count()
    }

    /// Length of a row.
    pub fn n(&self) -> usize {
        self.rows.n()
    }

    /// Row `i`. Panics unless `i` < [`Poly::limbs`].
    #[inline]
    pub fn row(&self, i: usize) -> &[u64] {
        self.rows.row(i)
    }

    /// Row `i`, for writing canonical residues. Panics unless `i` < [`Poly::limbs`].
    #[inline]
    pub fn row_mut(&mut self, i: usize) -> &mut [u64] {
        self.rows.row_mut(i)
    }

    /// All rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u64]> {
        self.rows.iter()
    }

    /// All rows in order, for writing canonical residues; each may go to its own thread.
    pub fn rows_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [u64]> {
        self.rows.iter_mut()
    }

    /// Forgets all rows but the first `limbs`: the same element modulo fewer primes. Panics if there are fewer.
    pub fn keep_limbs(&mut self, limbs: usize) {
        if limbs != self.limbs() {
            self.rows.truncate(limbs);
            self.basis = self.basis.prefix(limbs);
        }
    }

    /// Moves to another basis of the same ring, reusing memory where it suffices; contents are unspecified (but
    /// initialised) afterwards.
    pub fn reset(&mut self, basis: &Basis) {
        assert_eq!(basis.shape(), self.basis.shape(), "polynomial of another ring");
        self.rows.resize(basis.limbs());
        self.basis = basis.clone();
    }

    /// Copies `other`. Panics unless the bases are equal.
    pub fn copy_from(&mut self, other: &Self) {
        self.same_basis(&other.basis);
        for (a, b) in self.rows.iter_mut().zip(other.rows()) {
            a.copy_from_slice(b);
        }
    }

    fn same_basis(&self, other: &Basis) {
        assert!(self.basis == *other, "operands over different bases");
    }

    /// self ← self + b.
    pub fn add_assign(&mut self, b: &Self) {
        self.same_basis(&b.basis);
        for ((m, x), y) in self.basis.moduli().zip(self.rows.iter_mut()).zip(b.rows()) {
            kernel::add_assign(m, x, y);
        }
    }

    /// self ← self − b.
    pub fn sub_assign(&mut self, b: &Self) {
        self.same_basis(&b.basis);
        for ((m, x), y) in self.basis.moduli().zip(self.rows.iter_mut()).zip(b.rows()) {
            kernel::sub_assign(m, x, y);
        }
    }

    /// self ← −self.
    pub fn neg_assign(&mut self) {
        for (m, x) in self.basis.moduli().zip(self.rows.iter_mut()) {
            kernel::neg_assign(m, x);
        }
    }

    /// out ← self + b.
    pub fn add_into(&self, b: &Self, out: &mut Self) {
        self.same_basis(&b.basis);
        self.same_basis(&out.basis);
        for (((m, x), y), o) in self.basis.moduli().zip(self.rows()).zip(b.rows()).zip(out.rows.iter_mut()) {
            kernel::add_into(m, x, y, o);
        }
    }

    /// out ← self − b.
    pub fn sub_into(&self, b: &Self, out: &mut Self) {
        self.same_basis(&b.basis);
        self.same_basis(&out.basis);
        for (((m, x), y), o) in self.basis.moduli().zip(self.rows()).zip(b.rows()).zip(out.rows.iter_mut()) {
            kernel::sub_into(m, x, y, o);
        }
    }

    /// Multiplies row i by the constant `c[i]` of its prime (see [`Basis::scalar`]). Panics unless there is one
    /// per row.
    pub fn mul_scalar_assign(&mut self, c: &[Shoup]) {
        assert_eq!(c.len(), self.limbs(), "one constant per limb");
        for ((m, x), &c) in self.basis.moduli().zip(self.rows.iter_mut()).zip(c) {
            kernel::scale_assign(m, x, c);
        }
    }

    fn retype<S: Representation>(self) -> Poly<S> {
        Poly { basis: self.basis, rows: self.rows, representation: PhantomData }
    }
}

impl Poly<Coeff> {
    /// The element with these signed integer coefficients.
    pub fn from_i64(basis: &Basis, coefficients: &[i64]) -> Self {
        let mut p = Self::zero(basis);
        p.set_i64(coefficients);
        p
    }

    /// The element with these signed integer coefficients.
    pub fn from_i128(basis: &Basis, coefficients: &[i128]) -> Self {
        let mut p = Self::zero(basis);
        p.set_i128(coefficients);
        p
    }

    /// self ← the element with these signed integer coefficients, n of them, of any size.
    pub fn set_i64(&mut self, coefficients: &[i64]) {
        for (m, row) in self.basis.moduli().zip(self.rows.iter_mut()) {
            kernel::reduce_i64_into(m, coefficients, row);
        }
    }

    /// self ← the element with these signed integer coefficients, n of them, of any size.
    pub fn set_i128(&mut self, coefficients: &[i128]) {
        for (m, row) in self.basis.moduli().zip(self.rows.iter_mut()) {
            kernel::reduce_i128_into(m, coefficients, row);
        }
    }

    /// The transform, in the same memory.
    pub fn into_ntt(mut self) -> Poly<Ntt> {
        for (table, row) in self.basis.tables().zip(self.rows.iter_mut()) {
            kernel::forward(table, row);
        }
        self.retype()
    }

    /// out ← the coefficients as integers in (−Q/2, Q/2), Q the product of all primes, by the Chinese remainder
    /// theorem (Garner's mixed radix form). `out` has n entries.
    ///
    /// # Errors
    /// [`RingError::TooWide`] if Q ≥ 2^126.
    pub fn lift_centred_i128(&self, out: &mut [i128]) -> Result<(), RingError> {
        assert_eq!(out.len(), self.n(), "one integer per coefficient");
        let too_wide = RingError::TooWide { limbs: self.limbs() };
        // products[i] = q_0 … q_{i−1}; inverses[i] = products[i]⁻¹ mod q_i.
        let (mut products, mut inverses, mut product) = (Vec::new(), Vec::new(), 1u128);
        for m in self.basis.moduli() {
            products.push(product);
            let p = m.reduce_u128(product);
            inverses.push(m.shoup(m.inv(p).ok_or(too_wide.clone())?));
            product = product
                .checked_mul(u128::from(m.value()))
                .filter(|p| p >> 126 == 0)
                .ok_or(too_wide.clone())?;
        }
        for (k, o) in out.iter_mut().enumerate() {
            let mut v = 0u128;
            for (i, m) in self.basis.moduli().enumerate() {
                let digit = m.mul_shoup(m.sub(self.row(i)[k], m.reduce_u128(v)), inverses[i]);
                v += products[i] * u128::from(digit);
            }
            let above = u128::from(v > product >> 1).wrapping_neg();
            *o = v as i128 - (product & above) as i128;
        }
        Ok(())
    }
}

impl Poly<Ntt> {
    /// The coefficients, in the same memory.
    pub fn into_coeff(mut self) -> Poly<Coeff> {
        for (table, row) in self.basis.tables().zip(self.rows.iter_mut()) {
            kernel::inverse(table, row);
        }
        self.retype()
    }

    /// self ← self·b.
    pub fn mul_assign(&mut self, b: &Self) {
        self.same_basis(&b.basis);
        for ((m, x), y) in self.basis.moduli().zip(self.rows.iter_mut()).zip(b.rows()) {
            kernel::mul_assign(m, x, y);
        }
    }

    /// out ← self·b.
    pub fn mul_into(&self, b: &Self, out: &mut Self) {
        self.same_basis(&b.basis);
        self.same_basis(&out.basis);
        for (((m, x), y), o) in self.basis.moduli().zip(self.rows()).zip(b.rows()).zip(out.rows.iter_mut()) {
            kernel::mul_into(m, x, y, o);
        }
    }

    /// self ← self + a·b, reduced at once; for sums of products use [`crate::Accumulator`].
    pub fn mul_add_assign(&mut self, a: &Self, b: &Self) {
        self.same_basis(&a.basis);
        self.same_basis(&b.basis);
        for (((m, s), x), y) in self.basis.moduli().zip(self.rows.iter_mut()).zip(a.rows()).zip(b.rows()) {
            kernel::mul_add_assign(m, s, x, y);
        }
    }

    /// self ← Σ a_i·c_i and other ← Σ b_i·c_i over triples (a, b, c): both halves of a sum of ciphertexts by
    /// plaintexts; see [`kernel::dot2_into`].
    pub fn set_dot2(&mut self, other: &mut Self, triples: &[(&Self, &Self, &Self)]) {
        self.same_basis(&other.basis);
        for (a, b, c) in triples {
            self.same_basis(&a.basis);
            self.same_basis(&b.basis);
            self.same_basis(&c.basis);
        }
        let outs = self.rows.iter_mut().zip(other.rows.iter_mut());
        for (i, (m, (out, other))) in self.basis.moduli().zip(outs).enumerate() {
            let rows: Vec<_> = triples.iter().map(|(a, b, c)| (a.row(i), b.row(i), c.row(i))).collect();
            kernel::dot2_into(m, &rows, out, other);
        }
    }

    /// out ← σ(self) for an automorphism σ.
    pub fn permute_into(&self, perm: &Permutation, out: &mut Self) {
        self.same_basis(&out.basis);
        assert_eq!(perm.shape(), self.basis.shape(), "automorphism of another ring");
        for (x, o) in self.rows().zip(out.rows.iter_mut()) {
            kernel::gather_into(perm, x, o);
        }
    }
}

impl<R: Representation> PartialEq for Poly<R> {
    fn eq(&self, other: &Self) -> bool {
        self.basis == other.basis && self.rows().eq(other.rows())
    }
}

impl<R: Representation> Eq for Poly<R> {}

impl<R: Representation> Zeroize for Poly<R> {
    /// Sets every residue to zero, those of forgotten limbs too; the basis stays.
    fn zeroize(&mut self) {
        self.rows.zeroize();
    }
}

impl<R: Representation> fmt::Debug for Poly<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poly")
            .field("representation", &R::NAME)
            .field("basis", &self.basis)
            .finish_non_exhaustive()
    }
}
