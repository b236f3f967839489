pub use oblivia_base::OpCounts;
use std::sync::atomic::{AtomicU64, Ordering};

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
