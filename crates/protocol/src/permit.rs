//! Turns at computing.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};

/// A counting lock that is granted strictly first come, first served, so no session starves another.
#[derive(Debug)]
pub struct Permits {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    free: usize,
    next_ticket: u64,
    waiting: VecDeque<u64>,
}

impl Permits {
    /// At most `capacity` holders at a time (at least one).
    pub fn new(capacity: usize) -> Self {
        let state = State { free: capacity.max(1), next_ticket: 0, waiting: VecDeque::new() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits for a turn. Blocks the thread: each session has its own.
    pub fn acquire(&self) -> Permit<'_> {
        let mut s = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = s.next_ticket;
        s.next_ticket += 1;
        s.waiting.push_back(ticket);
        while s.free == 0 || s.waiting.front() != Some(&ticket) {
            s = self.changed.wait(s).unwrap_or_else(PoisonError::into_inner);
        }
        s.waiting.pop_front();
        s.free -= 1;
        drop(s);
        self.changed.notify_all();
        Permit { permits: self }
    }
}

/// A turn at computing; over when dropped.
#[derive(Debug)]
pub struct Permit<'a> {
    permits: &'a Permits,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut s = self.permits.state.lock().unwrap_or_else(PoisonError::into_inner);
        s.free += 1;
        drop(s);
        self.permits.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn turns_are_taken_in_the_order_of_asking() {
        let permits = Arc::new(Permits::new(1));
        let order = Arc::new(Mutex::new(Vec::new()));
        let first = permits.acquire();
        let threads: Vec<_> = (0..4)
            .map(|i| {
                let (p, o) = (permits.clone(), order.clone());
                let handle = std::thread::spawn(move || {
                    let _turn = p.acquire();
                    o.lock().unwrap().push(i);
                });
                while permits.state.lock().unwrap().waiting.len() <= i {
                    std::thread::yield_now();
                }
                handle
            })
            .collect();
        drop(first);
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
    }

    #[test]
    fn no_more_than_the_capacity_hold_a_turn() {
        let permits = Arc::new(Permits::new(2));
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (p, now, most) = (permits.clone(), now.clone(), most.clone());
                std::thread::spawn(move || {
                    let _turn = p.acquire();
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }
}
