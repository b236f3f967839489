//! Who may have how many sessions at once.

use oblivia_base::Digest;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Where connections come from, as far as one party can be expected to choose it: an IPv4 address, or the first 64
/// bits of an IPv6 address (RFC 4291 §2.5.4: the rest is the host's own).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source(IpAddr);

impl Source {
    pub(crate) fn of(address: SocketAddr) -> Self {
        Self(match address.ip().to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
            v4 => v4,
        })
    }
}

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    All,
    Client,
    Address,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all sessions are taken",
            Self::Client => "this client has all the sessions one client may have",
            Self::Address => "this address has all the sessions one address may have",
        })
    }
}

/// Counts sessions, in all, by client and by source, and lets a thread wait until there are none.
#[derive(Debug)]
pub(crate) struct Seats {
    max: usize,
    max_per_client: usize,
    max_per_address: usize,
    taken: Mutex<Taken>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Taken {
    count: usize,
    clients: BTreeMap<Digest, usize>,
    sources: BTreeMap<Source, usize>,
}

impl Seats {
    pub(crate) fn new(max: usize, max_per_client: usize, max_per_address: usize) -> Self {
        Self { max, max_per_client, max_per_address, taken: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().count
    }

    /// A seat, or which limit leaves none.
    pub(crate) fn enter(self: Arc<Self>, client: Digest, source: Source) -> Result<Seat, Full> {
        let mut taken = self.lock();
        let held = |n: Option<&usize>| n.copied().unwrap_or(0);
        // The narrowest limit is told first: it is the one its holder can do something about.
        if held(taken.clients.get(&client)) >= self.max_per_client {
            return Err(Full::Client);
        }
        if held(taken.sources.get(&source)) >= self.max_per_address {
            return Err(Full::Address);
        }
        if taken.count >= self.max {
            return Err(Full::All);
        }
        taken.count += 1;
        *taken.clients.entry(client).or_default() += 1;
        *taken.sources.entry(source).or_default() += 1;
        drop(taken);
        Ok(Seat { seats: self, client, source })
    }

    /// How many are left when none are or the time is over.
    pub(crate) fn wait_for_none(&self, limit: Duration) -> usize {
        let end = Instant::now() + limit;
        let mut taken = self.lock();
        while taken.count > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(taken, left).unwrap_or_else(PoisonError::into_inner);
            taken = waited.0;
        }
        taken.count
    }
}

/// A session's place.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    client: Digest,
    source: Source,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        taken.count -= 1;
        leave(&mut taken.clients, &self.client);
        leave(&mut taken.sources, &self.source);
        drop(taken);
        self.seats.changed.notify_all();
    }
}

/// One fewer; whoever has none is forgotten.
fn leave<K: Ord>(held: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(n) = held.get_mut(key) {
        *n -= 1;
        if *n == 0 {
            held.remove(key);
        }
    }
}

/// Counts what goes on by source, up to a number each.
#[derive(Debug)]
pub(crate) struct Tally {
    max: usize,
    held: Mutex<BTreeMap<Source, usize>>,
}

impl Tally {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, held: Mutex::default() }
    }

    /// One more, until the mark is dropped; none beyond the number.
    pub(crate) fn mark(self: Arc<Self>, source: Source) -> Option<Mark> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.get(&source).is_some_and(|n| *n >= self.max) || self.max == 0 {
            return None;
        }
        *held.entry(source).or_default() += 1;
        drop(held);
        Some(Mark { tally: self, source })
    }
}

/// One of a [`Tally`].
#[derive(Debug)]
pub(crate) struct Mark {
    tally: Arc<Tally>,
    source: Source,
}

impl Drop for Mark {
    fn drop(&mut self) {
        leave(&mut self.tally.held.lock().unwrap_or_else(PoisonError::into_inner), &self.source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::of(SocketAddr::new(text.parse().unwrap(), 1))
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
        assert_eq!(source("10.0.0.1"), source("::ffff:10.0.0.1"));
        assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
    }

    #[test]
    fn seats_are_limited_in_all_by_client_and_by_source_and_given_back() {
        let seats = Arc::new(Seats::new(5, 2, 3));
        let enter = |client: u8, from: &str| seats.clone().enter(Digest([client; 32]), source(from));
        let mut held = vec![enter(1, "10.0.0.1").unwrap(), enter(1, "10.0.0.2").unwrap()];
        assert_eq!(enter(1, "10.0.0.3").unwrap_err(), Full::Client);
        held.push(enter(2, "10.0.0.1").unwrap());
        held.push(enter(3, "10.0.0.1").unwrap());
        assert_eq!(enter(4, "10.0.0.1").unwrap_err(), Full::Address);
        held.push(enter(4, "10.0.0.2").unwrap());
        assert_eq!(enter(5, "10.0.0.9").unwrap_err(), Full::All);
        assert_eq!((seats.count(), seats.wait_for_none(Duration::ZERO)), (5, 5));
        held.remove(0);
        drop(enter(1, "10.0.0.1").unwrap());
        drop(held);
        assert_eq!(seats.wait_for_none(Duration::ZERO), 0);
        let taken = seats.lock();
        assert!(taken.clients.is_empty() && taken.sources.is_empty(), "nobody is remembered");
    }

    #[test]
    fn a_tally_counts_each_source_by_itself() {
        let tally = Arc::new(Tally::new(1));
        let first = tally.clone().mark(source("10.0.0.1")).unwrap();
        assert!(tally.clone().mark(source("10.0.0.1")).is_none());
        assert!(tally.clone().mark(source("10.0.0.2")).is_some());
        drop(first);
        assert!(tally.clone().mark(source("10.0.0.1")).is_some());
        assert!(tally.held.lock().unwrap().is_empty());
    }
}
