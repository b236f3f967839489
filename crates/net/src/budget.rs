//! The memory budget all sessions of a server share.

use crate::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter of bytes that sessions reserve from before they allocate. Cloning shares the counter.
///
/// It counts, it does not allocate: the links reserve for message bodies, handlers reserve for key caches
/// and working memory, and what nobody reserved is not counted.
#[derive(Debug, Clone)]
pub struct MemoryBudget(Arc<Counter>);

#[derive(Debug)]
struct Counter {
    total_bytes: u64,
    used_bytes: AtomicU64,
}

impl MemoryBudget {
    /// A budget of `total_bytes`.
    pub fn new(total_bytes: u64) -> Self {
        Self(Arc::new(Counter { total_bytes, used_bytes: AtomicU64::new(0) }))
    }

    /// All bytes of the budget.
    pub fn total_bytes(&self) -> u64 {
        self.0.total_bytes
    }

    /// Bytes reserved now.
    pub fn used_bytes(&self) -> u64 {
        self.0.used_bytes.load(Ordering::Acquire)
    }

    /// Takes `bytes` out of the budget until the reservation is dropped; [`Error::Memory`] when fewer are
    /// left. It never waits.
    pub fn reserve(&self, bytes: u64) -> Result<Reservation, Error> {
        let mut reservation = Reservation { budget: self.clone(), bytes: 0 };
        reservation.grow(bytes)?;
        Ok(reservation)
    }

    fn take(&self, bytes: u64) -> Result<(), Error> {
        let total = self.0.total_bytes;
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= total);
        match self.0.used_bytes.try_update(Ordering::AcqRel, Ordering::Acquire, fits) {
            Ok(_) => Ok(()),
            Err(used) => Err(Error::Memory {
                asked_bytes: bytes,
                left_bytes: total.saturating_sub(used),
                total_bytes: total,
            }),
        }
    }
}

/// Bytes taken out of a [`MemoryBudget`]; dropping gives them back.
#[derive(Debug)]
pub struct Reservation {
    budget: MemoryBudget,
    bytes: u64,
}

impl Reservation {
    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes `more_bytes` on top; on failure what was held stays held.
    pub fn grow(&mut self, more_bytes: u64) -> Result<(), Error> {
        self.budget.take(more_bytes)?;
        self.bytes += more_bytes;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.0.used_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_counts_until_it_is_dropped_and_an_excess_is_refused_with_the_numbers() {
        let budget = MemoryBudget::new(100);
        let mut a = budget.reserve(60).unwrap();
        let message = budget.reserve(41).unwrap_err().to_string();
        assert!(message.contains("41") && message.contains("40") && message.contains("100"), "{message}");
        a.grow(40).unwrap();
        assert!(a.grow(1).is_err());
        assert_eq!((a.bytes(), budget.used_bytes()), (100, 100));
        drop(a);
        assert_eq!(budget.used_bytes(), 0);
        assert!(budget.reserve(u64::MAX).is_err());
    }
}
