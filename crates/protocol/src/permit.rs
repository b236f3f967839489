//! Turns at computing.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

/// A counting lock that is granted strictly first come, first served, so no session starves another.
#[derive(Debug)]
pub struct Permits {
    capacity: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    free: usize,
    next_ticket: u64,
    waiting: VecDeque<u64>,
    /// Turns granted so far.
    granted: u64,
    /// The most turns of others that were granted between somebody's asking and being granted.
    longest_wait: u64,
}

/// What has happened to turns so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TurnCounts {
    /// Turns granted.
    pub granted: u64,
    /// The most turns that others were granted while somebody waited for one.
    pub longest_wait: u64,
    /// Turns being taken now.
    pub held: usize,
}

impl Permits {
    /// At most `capacity` holders at a time (at least one).
    pub fn new(capacity: usize) -> Self {
        let free = capacity.max(1);
        let state = State { free, next_ticket: 0, waiting: VecDeque::new(), granted: 0, longest_wait: 0 };
        Self { capacity: free, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has happened so far.
    pub fn counts(&self) -> TurnCounts {
        let s = self.lock();
        TurnCounts { granted: s.granted, longest_wait: s.longest_wait, held: self.capacity - s.free }
    }

    /// Waits for a turn. Blocks the thread: each session has its own.
    pub fn acquire(self: &Arc<Self>) -> Permit {
        let mut s = self.lock();
        let ticket = s.next_ticket;
        s.next_ticket += 1;
        s.waiting.push_back(ticket);
        let before = s.granted;
        while s.free == 0 || s.waiting.front() != Some(&ticket) {
            s = self.changed.wait(s).unwrap_or_else(PoisonError::into_inner);
        }
        s.waiting.pop_front();
        s.free -= 1;
        s.longest_wait = s.longest_wait.max(s.granted - before);
        s.granted += 1;
        drop(s);
        self.changed.notify_all();
        Permit { permits: self.clone() }
    }
}

/// A turn at computing; over when dropped.
#[derive(Debug)]
pub struct Permit {
    permits: Arc<Permits>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.lock().free += 1;
        self.permits.changed.notify_all();
    }
}

/// One session's turns at computing.
///
/// A server's session has a turn from the end of one wait for its peer to the beginning of the next, whatever it computes in
/// between; its [`Channel`](crate::Channel) sees to that, and nothing else in a session waits. So no turn is held by a session
/// whose peer is silent, and every message of a session costs it a place at the end of the queue. Work that takes long between
/// two messages goes in [steps](Self::step).
/// A party that shares its machine with no other session has no turns, and all
/// of this does nothing.
#[derive(Clone, Debug, Default)]
pub struct Turns(Option<Arc<Session>>);

#[derive(Debug)]
struct Session {
    permits: Arc<Permits>,
    held: Mutex<Option<Permit>>,
    /// Whether nothing was done in the present turn.
    fresh: AtomicBool,
}

impl Turns {
    /// Turns of a session that shares `permits` with others.
    pub fn among(permits: Arc<Permits>) -> Self {
        Self(Some(Arc::new(Session { permits, held: Mutex::new(None), fresh: AtomicBool::new(true) })))
    }

    /// Ends the turn.
    pub fn end(&self) {
        if let Some(s) = &self.0 {
            *s.held() = None;
        }
    }

    /// Waits for a turn unless the session has it. Blocks the thread.
    pub fn begin(&self) {
        if let Some(s) = &self.0 {
            let mut held = s.held();
            if held.is_none() {
                *held = Some(s.permits.acquire());
                s.fresh.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Lets the others who wait have theirs first.
    pub fn pause(&self) {
        self.end();
        self.begin();
    }

    /// Before a piece of work that is worth a turn: [pauses](Self::pause) unless it is the first in this turn.
    pub fn step(&self) {
        if let Some(s) = &self.0 {
            if !s.fresh.load(Ordering::Relaxed) {
                self.pause();
            }
            s.fresh.store(false, Ordering::Relaxed);
        }
    }

    /// Ends the turn, waits for `event`, and then for the next turn.
    pub(crate) async fn wait<T>(&self, event: impl Future<Output = T>) -> T {
        self.end();
        let happened = event.await;
        self.begin();
        happened
    }

    /// The same, but keeps the turn if there is nothing to wait for.
    pub(crate) async fn keep<T>(&self, event: impl Future<Output = T>) -> T {
        let mut event = pin!(event);
        let early = poll_fn(|cx| {
            Poll::Ready(match event.as_mut().poll(cx) {
                Poll::Ready(happened) => Some(happened),
                Poll::Pending => None,
            })
        });
        match early.await {
            Some(happened) => happened,
            None => self.wait(event).await,
        }
    }
}

impl Session {
    fn held(&self) -> MutexGuard<'_, Option<Permit>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

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
        assert_eq!(permits.counts(), TurnCounts { granted: 5, longest_wait: 3, held: 0 });
    }

    /// Polls once.
    fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn a_session_has_no_turn_while_it_waits_and_one_when_it_goes_on() {
        let permits = Arc::new(Permits::new(1));
        let turns = Turns::among(permits.clone());
        let open = AtomicUsize::new(0);
        let event = || {
            poll_fn(|_| match open.load(Ordering::SeqCst) {
                0 => Poll::Pending,
                n => Poll::Ready(n),
            })
        };
        let held = || permits.counts().held;
        for keep in [false, true] {
            open.store(0, Ordering::SeqCst);
            turns.begin();
            turns.begin();
            assert_eq!(held(), 1);
            let mut waits =
                Box::pin(async { if keep { turns.keep(event()).await } else { turns.wait(event()).await } });
            assert_eq!(poll(waits.as_mut()), Poll::Pending);
            assert_eq!(held(), 0, "nobody computes");
            open.store(7, Ordering::SeqCst);
            assert_eq!(poll(waits.as_mut()), Poll::Ready(7));
            assert_eq!(held(), 1, "it goes on in a turn of its own");
        }
        let before = permits.counts().granted;
        assert_eq!(poll(pin!(turns.keep(event()))), Poll::Ready(7));
        assert_eq!(permits.counts().granted, before, "a message that is queued at once costs no turn");
        assert_eq!(poll(pin!(turns.wait(event()))), Poll::Ready(7));
        assert_eq!(permits.counts().granted, before + 1, "a message that is there already does");
        turns.pause();
        assert_eq!(permits.counts().granted, before + 2);
        for more in [0, 1, 2] {
            turns.step();
            assert_eq!(permits.counts().granted, before + 2 + more, "the first step is in the turn there is");
        }
        drop(turns);
        assert_eq!(held(), 0, "a session that is gone has no turn");
    }

    #[test]
    fn a_session_of_many_turns_lets_one_that_comes_later_have_every_second() {
        let permits = Arc::new(Permits::new(1));
        let log = Mutex::new(Vec::new());
        let turn = |who| log.lock().unwrap().push(who);
        let waiting = || permits.lock().waiting.len();
        std::thread::scope(|scope| {
            let long = Turns::among(permits.clone());
            long.begin();
            let short = scope.spawn(|| {
                let short = Turns::among(permits.clone());
                for i in 0..5 {
                    // The other one is back in the queue before this one asks again.
                    while i > 0 && waiting() == 0 {
                        std::thread::yield_now();
                    }
                    short.pause();
                    turn("short");
                }
            });
            while waiting() == 0 {
                std::thread::yield_now();
            }
            for _ in 0..1000 {
                turn("long");
                // The other one asks again before this one does.
                while waiting() == 0 && !short.is_finished() {
                    std::thread::yield_now();
                }
                long.pause();
            }
        });
        let log = log.into_inner().unwrap();
        let last = log.iter().rposition(|who| *who == "short").unwrap();
        assert_eq!(log[..=last].iter().filter(|who| **who == "long").count(), 5);
    }

    #[test]
    fn a_party_without_turns_waits_for_none() {
        let turns = Turns::default();
        turns.pause();
        assert_eq!(poll(pin!(turns.wait(std::future::ready(1)))), Poll::Ready(1));
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
