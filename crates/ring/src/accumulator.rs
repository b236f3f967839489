use crate::rows::Rows;
use crate::{Basis, Modulus, Ntt, Poly, kernel};
use std::fmt;
use zeroize::Zeroize;

/// A sum of products of polynomials with deferred reduction: two words per residue, reduced when
/// [`Modulus::mac_terms`] products are in them and at the end.
///
/// Any number of terms; rows are independent and may hold different numbers of terms.
pub struct Accumulator {
    basis: Basis,
    lo: Rows,
    hi: Rows,
    used: Vec<u32>,
}

/// One row of an [`Accumulator`].
pub struct RowAccumulator<'a> {
    modulus: &'a Modulus,
    lo: &'a mut [u64],
    hi: &'a mut [u64],
    used: &'a mut u32,
}

impl Accumulator {
    /// An empty sum over `basis`.
    pub fn new(basis: &Basis) -> Self {
        let (limbs, n) = (basis.limbs(), basis.n());
        Self {
            basis: basis.clone(),
            lo: Rows::zero(limbs, n),
            hi: Rows::zero(limbs, n),
            used: vec![0; limbs],
        }
    }

    /// Empties the sum. Touches no row.
    pub fn clear(&mut self) {
        self.used.fill(0);
    }

    /// Empties the sum and moves it to another basis of the same ring, reusing memory where it suffices.
    pub fn reset(&mut self, basis: &Basis) {
        assert_eq!(basis.shape(), self.basis.shape(), "accumulator of another ring");
        self.lo.resize(basis.limbs());
        self.hi.resize(basis.limbs());
        self.used.clear();
        self.used.resize(basis.limbs(), 0);
        self.basis = basis.clone();
    }

    /// The basis.
    pub fn basis(&self) -> &Basis {
        &self.basis
    }

    /// Adds a·b. Panics unless both are over this basis.
    pub fn mac(&mut self, a: &Poly<Ntt>, b: &Poly<Ntt>) {
        assert!(*a.basis() == self.basis && *b.basis() == self.basis, "operands over another basis");
        for (mut row, (a, b)) in self.rows_mut().zip(a.rows().zip(b.rows())) {
            row.mac(a, b);
        }
    }

    /// Row `i`. Panics unless `i` is below the number of limbs.
    pub fn row_mut(&mut self, i: usize) -> RowAccumulator<'_> {
        RowAccumulator {
            modulus: self.basis.modulus(i),
            lo: self.lo.row_mut(i),
            hi: self.hi.row_mut(i),
            used: &mut self.used[i],
        }
    }

    /// All rows in order; each may go to its own thread.
    pub fn rows_mut(&mut self) -> impl ExactSizeIterator<Item = RowAccumulator<'_>> {
        let words = self.lo.iter_mut().zip(self.hi.iter_mut());
        self.basis.moduli().zip(words.zip(&mut self.used)).map(|(modulus, ((lo, hi), used))| RowAccumulator {
            modulus,
            lo,
            hi,
            used,
        })
    }

    /// out ← the sum, which stays as it is. Panics unless `out` is over this basis.
    pub fn reduce_into(&mut self, out: &mut Poly<Ntt>) {
        assert!(*out.basis() == self.basis, "result over another basis");
        for (row, out) in self.rows_mut().zip(out.rows_mut()) {
            row.reduce_into(out);
        }
    }
}

impl RowAccumulator<'_> {
    /// The modulus of this row.
    pub fn modulus(&self) -> &Modulus {
        self.modulus
    }

    /// Adds a·b, entry by entry; both canonical.
    pub fn mac(&mut self, a: &[u64], b: &[u64]) {
        if *self.used == 0 {
            kernel::mac_first(self.lo, self.hi, a, b);
        } else {
            if *self.used == self.modulus.mac_terms() {
                kernel::mac_fold(self.modulus, self.lo, self.hi);
                *self.used = 1;
            }
            kernel::mac(self.lo, self.hi, a, b);
        }
        *self.used += 1;
    }

    /// out ← the sum of this row, canonical.
    pub fn reduce_into(&self, out: &mut [u64]) {
        if *self.used == 0 {
            out.fill(0);
        } else {
            kernel::mac_reduce_into(self.modulus, self.lo, self.hi, out);
        }
    }
}

impl Zeroize for Accumulator {
    fn zeroize(&mut self) {
        self.lo.zeroize();
        self.hi.zeroize();
        self.clear();
    }
}

impl fmt::Debug for Accumulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accumulator").field("basis", &self.basis).finish_non_exhaustive()
    }
}
