//! Evaluation keys of clients that may come again, in a server's memory.

use oblivia_base::Digest;
use oblivia_protocol::{KeyScope, KeyShelf, SharedKeys};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What an entry costs beside its keys, so that many small ones cannot be kept for nothing.
const OVERHEAD_BYTES: u64 = 1024;

/// Evaluation keys by client, up to a number of bytes; the least recently used go first.
///
/// One client can take up half of it: what others keep there it cannot push out. Beyond its half its own oldest keys
/// go, and keys larger than that are not kept. Cloning shares the cache.
///
/// It counts what its keys take when they are expanded. Keys that a session uses live on when they are pushed out;
/// that session has reserved memory for them.
#[derive(Clone)]
pub struct KeyCache(Arc<Shared>);

struct Shared {
    max_bytes: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<Name, Entry>,
    bytes: u64,
    clock: u64,
}

/// Client first: everything of one client is one range, and nobody looks outside of theirs.
type Name = (Digest, KeyScope, Digest);

struct Entry {
    keys: SharedKeys,
    bytes: u64,
    used: u64,
}

/// How full a [`KeyCache`] is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyCacheFill {
    /// Sets of keys.
    pub entries: usize,
    /// Bytes they take.
    pub bytes: u64,
    /// Bytes they may take.
    pub max_bytes: u64,
}

impl KeyCache {
    /// An empty cache of at most `max_bytes`; 0 keeps nothing.
    pub fn new(max_bytes: u64) -> Self {
        Self(Arc::new(Shared { max_bytes, state: Mutex::default() }))
    }

    /// How full it is.
    pub fn fill(&self) -> KeyCacheFill {
        let s = self.0.lock();
        KeyCacheFill { entries: s.entries.len(), bytes: s.bytes, max_bytes: self.0.max_bytes }
    }

    /// The part of one client, who must be authenticated; `None` where nothing is ever kept.
    pub fn shelf(&self, client: Digest) -> Option<Arc<dyn KeyShelf>> {
        (self.0.max_bytes > 0).then(|| Arc::new(Shelf { cache: self.clone(), client }) as Arc<dyn KeyShelf>)
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.0.lock() = State::default();
    }
}

impl std::fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("KeyCache").field(&self.fill()).finish()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn remove(&mut self, name: &Name) {
        if let Some(entry) = self.entries.remove(name) {
            self.bytes -= entry.bytes;
        }
    }

    /// The name of the least recently used entry, of one client or of all.
    fn oldest(&self, of: Option<Digest>) -> Option<Name> {
        let mine = self.entries.iter().filter(|(name, _)| of.is_none_or(|client| name.0 == client));
        mine.min_by_key(|(_, entry)| entry.used).map(|(name, _)| *name)
    }

    fn held_by(&self, client: Digest) -> u64 {
        self.entries.iter().filter(|(name, _)| name.0 == client).map(|(_, entry)| entry.bytes).sum()
    }
}

struct Shelf {
    cache: KeyCache,
    client: Digest,
}

impl KeyShelf for Shelf {
    fn find(&self, scope: &KeyScope, fingerprint: &Digest) -> Option<SharedKeys> {
        let mut s = self.cache.0.lock();
        let now = s.tick();
        let entry = s.entries.get_mut(&(self.client, *scope, *fingerprint))?;
        entry.used = now;
        Some(entry.keys.clone())
    }

    fn keep(&self, scope: &KeyScope, fingerprint: &Digest, bytes: u64, keys: SharedKeys) {
        let (max, bytes) = (self.cache.0.max_bytes, bytes.saturating_add(OVERHEAD_BYTES));
        let share = max / 2;
        if bytes > share {
            tracing::info!(
                client = %self.client.short(),
                bytes,
                share,
                "keys are not kept: larger than one client's half of the key cache"
            );
            return;
        }
        let mut s = self.cache.0.lock();
        let name = (self.client, *scope, *fingerprint);
        s.remove(&name);
        while s.held_by(self.client) + bytes > share
            && let Some(oldest) = s.oldest(Some(self.client))
        {
            s.remove(&oldest);
        }
        while s.bytes + bytes > max
            && let Some(oldest) = s.oldest(None)
        {
            s.remove(&oldest);
        }
        let used = s.tick();
        s.bytes += bytes;
        s.entries.insert(name, Entry { keys, bytes, used });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(client: u8) -> KeyScope {
        let [server, params, request] = [7, 8, 9].map(|i| Digest([i; 32]));
        KeyScope { system: "toy", client: Digest([client; 32]), server, params, request }
    }

    fn shelf(cache: &KeyCache, client: u8) -> Arc<dyn KeyShelf> {
        cache.shelf(Digest([client; 32])).unwrap()
    }

    /// Keeps `bytes` bytes, overhead included, under the fingerprint of `i`.
    fn keep(cache: &KeyCache, client: u8, i: u8, bytes: u64) {
        let bytes = bytes - OVERHEAD_BYTES;
        shelf(cache, client).keep(&scope(client), &Digest([i; 32]), bytes, Arc::new((client, i)));
    }

    fn found(cache: &KeyCache, client: u8, i: u8) -> Option<(u8, u8)> {
        let keys = shelf(cache, client).find(&scope(client), &Digest([i; 32]))?;
        keys.downcast_ref().copied()
    }

    #[test]
    fn keys_are_found_by_their_own_client_scope_and_fingerprint_alone() {
        let cache = KeyCache::new(1 << 20);
        keep(&cache, 1, 5, 2000);
        assert_eq!(found(&cache, 1, 5), Some((1, 5)));
        assert_eq!(found(&cache, 1, 6), None);
        // Another client with the fingerprint, and even with the scope.
        assert_eq!(found(&cache, 2, 5), None);
        assert!(shelf(&cache, 2).find(&scope(1), &Digest([5; 32])).is_none());
        let other = KeyScope { request: Digest([0; 32]), ..scope(1) };
        assert!(shelf(&cache, 1).find(&other, &Digest([5; 32])).is_none());
        assert_eq!(cache.fill(), KeyCacheFill { entries: 1, bytes: 2000, max_bytes: 1 << 20 });
        cache.clear();
        assert_eq!((found(&cache, 1, 5), cache.fill().bytes), (None, 0));
    }

    #[test]
    fn the_least_recently_used_keys_go_and_those_in_use_stay_alive() {
        let cache = KeyCache::new(10_000);
        for client in 1..=5 {
            keep(&cache, client, 0, 2000);
        }
        let in_use = shelf(&cache, 2).find(&scope(2), &Digest([0; 32])).unwrap();
        assert!(found(&cache, 1, 0).is_some());
        keep(&cache, 6, 0, 4000);
        let left: Vec<u8> = (1..=6).filter(|&client| found(&cache, client, 0).is_some()).collect();
        assert_eq!(left, [1, 2, 5, 6], "3 and 4 were used longest ago");
        assert_eq!(cache.fill().bytes, 10_000);
        keep(&cache, 7, 0, 5000);
        keep(&cache, 8, 0, 5000);
        assert_eq!(found(&cache, 2, 0), None);
        assert_eq!(in_use.downcast_ref(), Some(&(2u8, 0u8)));
    }

    #[test]
    fn one_client_pushes_out_its_own_keys_and_never_more_than_half_of_all() {
        let cache = KeyCache::new(10_000);
        keep(&cache, 1, 0, 2000);
        keep(&cache, 2, 0, 3000);
        for i in 0..50 {
            keep(&cache, 9, i, 2500);
        }
        assert!(found(&cache, 1, 0).is_some() && found(&cache, 2, 0).is_some());
        let left: Vec<u8> = (0..50).filter(|&i| found(&cache, 9, i).is_some()).collect();
        assert_eq!(left, [48, 49]);
        keep(&cache, 9, 50, 5001);
        assert_eq!(found(&cache, 9, 50), None, "larger than a share");
        assert_eq!(found(&cache, 9, 49), Some((9, 49)), "and nothing went for it");
        // The same keys again take no more room.
        keep(&cache, 9, 49, 2500);
        assert_eq!(cache.fill(), KeyCacheFill { entries: 4, bytes: 10_000, max_bytes: 10_000 });
    }

    #[test]
    fn a_cache_of_no_bytes_keeps_nothing() {
        assert!(KeyCache::new(0).shelf(Digest([1; 32])).is_none());
    }
}
