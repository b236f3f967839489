use oblivia_ring::{Basis, Ntt, Poly};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Polynomials at the highest level up to which a pool keeps what it adopted: messages bring ever new ones.
const CAPACITY: usize = 64;

/// Memory up to which a pool keeps what it made, if that is more: the steps of a wide matrix product.
const BYTES: usize = 256 << 20;

/// Memory of *public* polynomials of one set of parameters, and of an evaluating side's own weights, kept for reuse: fresh
/// pages from the system cost more than the arithmetic on them. Secrets of a key or a client never come here.
pub(crate) struct Pool {
    /// Over no prime: what is left behind in a polynomial that was given back.
    empty: Basis,
    /// Rows up to which what was adopted is kept, and up to which what was made here is.
    adopted: usize,
    limit: usize,
    shelves: Mutex<Shelves>,
}

#[derive(Default)]
struct Shelves {
    /// By number of rows.
    by_rows: Vec<Vec<Poly<Ntt>>>,
    rows: usize,
}

impl Pool {
    /// A pool for polynomials over sub-bases of `all`, of at most `widest` primes usually.
    pub(crate) fn new(all: &Basis, widest: usize) -> Arc<Self> {
        let by_rows = (0..=all.limbs()).map(|_| Vec::new()).collect();
        Arc::new(Self {
            empty: all.prefix(0),
            adopted: CAPACITY * widest,
            limit: (CAPACITY * widest).max(BYTES / (8 * all.shape().n())),
            shelves: Mutex::new(Shelves { by_rows, rows: 0 }),
        })
    }

    /// A polynomial over `basis`; its contents are unspecified, but initialised.
    pub(crate) fn take(self: &Arc<Self>, basis: &Basis) -> Pooled {
        let found = {
            let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
            let found = shelves.by_rows.get_mut(basis.limbs()).and_then(Vec::pop);
            shelves.rows -= found.as_ref().map_or(0, Poly::limbs);
            found
        };
        let poly = found.map_or_else(
            || Poly::zero(basis),
            |mut poly| {
                poly.reset(basis);
                poly
            },
        );
        Pooled { poly, pool: Arc::clone(self), limit: self.limit }
    }

    /// Takes a public polynomial into care: its memory comes back here.
    pub(crate) fn adopt(self: &Arc<Self>, poly: Poly<Ntt>) -> Pooled {
        Pooled { poly, pool: Arc::clone(self), limit: self.adopted }
    }
}

/// A polynomial whose memory returns to its pool.
pub(crate) struct Pooled {
    poly: Poly<Ntt>,
    pool: Arc<Pool>,
    /// Rows of the pool up to which it goes there.
    limit: usize,
}

impl Deref for Pooled {
    type Target = Poly<Ntt>;
    fn deref(&self) -> &Poly<Ntt> {
        &self.poly
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut Poly<Ntt> {
        &mut self.poly
    }
}

impl Clone for Pooled {
    fn clone(&self) -> Self {
        let mut copy = self.pool.take(self.poly.basis());
        copy.poly.copy_from(&self.poly);
        copy
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let rows = self.poly.limbs();
        let mut shelves = self.pool.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        if shelves.rows + rows <= self.limit
            && let Some(shelf) = shelves.by_rows.get_mut(rows)
        {
            shelf.push(std::mem::replace(&mut self.poly, Poly::zero(&self.pool.empty)));
            shelves.rows += rows;
        }
    }
}

impl fmt::Debug for Pooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.poly.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oblivia_ring::{RingKind, RingShape};

    #[test]
    fn memory_comes_back_up_to_the_limit_and_fits_the_basis_asked_for() {
        let shape = RingShape::new(RingKind::Standard, 4).unwrap();
        let all = Basis::new(shape, &[97, 193, 257]).unwrap();
        assert_eq!(Pool::new(&all, 3).limit, BYTES / (16 * 8));
        let empty = all.prefix(0);
        let shelves = Mutex::new(Shelves { by_rows: (0..4).map(|_| Vec::new()).collect(), rows: 0 });
        let pool = Arc::new(Pool { empty, adopted: 3 * 2, limit: 3 * CAPACITY, shelves });
        drop((0..5).map(|_| pool.adopt(Poly::zero(&all))).collect::<Vec<_>>());
        assert_eq!(pool.shelves.lock().unwrap().rows, 3 * 2);
        let held: Vec<Pooled> = (0..100).map(|_| pool.take(&all)).collect();
        drop(held);
        assert_eq!(pool.shelves.lock().unwrap().rows, 3 * CAPACITY);
        let mut p = pool.take(&all.slice(0..3));
        assert_eq!(pool.shelves.lock().unwrap().rows, 3 * (CAPACITY - 1));
        p.row_mut(2).fill(7);
        p.keep_limbs(2);
        let copy = p.clone();
        assert_eq!(*copy, *p);
        drop(p);
        drop(copy);
        assert_eq!(pool.take(&all.prefix(2)).basis(), &all.prefix(2));
    }
}
