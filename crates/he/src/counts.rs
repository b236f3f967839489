use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};

/// Homomorphic operations an [`crate::ckks::Evaluator`] has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OpCounts {
    /// Slot rotations with their own decomposition.
    pub rotations: u64,
    /// Slot rotations that share a decomposition (hoisted).
    pub hoisted: u64,
    /// Ciphertext × ciphertext products, squares included.
    pub ct_mul: u64,
    /// Plaintext × ciphertext products.
    pub pt_mul: u64,
    /// Integer scalar × ciphertext products.
    pub scalar_mul: u64,
    /// Ciphertext and plaintext additions. A sum of T products counts T − 1.
    pub add: u64,
    /// Relinearisations.
    pub relin: u64,
    /// Rescales.
    pub rescale: u64,
    /// Number-theoretic transforms of one limb, both directions.
    pub ntt: u64,
}

impl AddAssign for OpCounts {
    fn add_assign(&mut self, o: Self) {
        self.rotations += o.rotations;
        self.hoisted += o.hoisted;
        self.ct_mul += o.ct_mul;
        self.pt_mul += o.pt_mul;
        self.scalar_mul += o.scalar_mul;
        self.add += o.add;
        self.relin += o.relin;
        self.rescale += o.rescale;
        self.ntt += o.ntt;
    }
}

/// Counters that several threads may advance.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) rotations: AtomicU64,
    pub(crate) hoisted: AtomicU64,
    pub(crate) ct_mul: AtomicU64,
    pub(crate) pt_mul: AtomicU64,
    pub(crate) scalar_mul: AtomicU64,
    pub(crate) add: AtomicU64,
    pub(crate) relin: AtomicU64,
    pub(crate) rescale: AtomicU64,
    pub(crate) ntt: AtomicU64,
}

/// Advances a counter. Counts do not order anything.
pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl Counters {
    /// The counts since the last call, which are set to zero.
    pub(crate) fn take(&self) -> OpCounts {
        self.each(|c| c.swap(0, Ordering::Relaxed))
    }

    /// The counts since the last [`Counters::take`].
    pub(crate) fn read(&self) -> OpCounts {
        self.each(|c| c.load(Ordering::Relaxed))
    }

    fn each(&self, f: impl Fn(&AtomicU64) -> u64) -> OpCounts {
        OpCounts {
            rotations: f(&self.rotations),
            hoisted: f(&self.hoisted),
            ct_mul: f(&self.ct_mul),
            pt_mul: f(&self.pt_mul),
            scalar_mul: f(&self.scalar_mul),
            add: f(&self.add),
            relin: f(&self.relin),
            rescale: f(&self.rescale),
            ntt: f(&self.ntt),
        }
    }
}
