//! Models as systems have prepared them for plans, in a server's memory.

use oblivia_base::Digest;
use oblivia_protocol::{Error, Loaded};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Model and digest of the plan.
pub(crate) type Name = (String, Digest);

/// Prepared models of all plans, together up to a number of bytes. The least recently used of those that no session
/// holds go first; one that a session holds never goes.
pub(crate) struct Prepared {
    max_bytes: Option<u64>,
    state: Mutex<State>,
    /// A preparation is over, one way or the other.
    over: Condvar,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<Name, Entry>,
    bytes: u64,
    clock: u64,
}

struct Entry {
    /// Nothing while it is being prepared.
    loaded: Option<Loaded>,
    bytes: u64,
    used: u64,
}

impl Entry {
    /// Whether someone works with it or on it. Only under the lock is it handed out, so none that nobody holds under the
    /// lock is about to be held.
    fn is_held(&self) -> bool {
        self.loaded.as_ref().is_none_or(|loaded| Arc::strong_count(loaded) > 1)
    }
}

/// How much a server's prepared models take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PreparedFill {
    /// Plans with a prepared model.
    pub plans: usize,
    /// Bytes they take, as their systems say.
    pub bytes: u64,
    /// Bytes they may take.
    pub max_bytes: Option<u64>,
}

impl Prepared {
    /// Nothing yet, and never more than `max_bytes`.
    pub(crate) fn new(max_bytes: Option<u64>) -> Self {
        Self { max_bytes, state: Mutex::default(), over: Condvar::new() }
    }

    /// How full it is.
    pub(crate) fn fill(&self) -> PreparedFill {
        let state = self.lock();
        PreparedFill { plans: state.entries.len(), bytes: state.bytes, max_bytes: self.max_bytes }
    }

    /// What is kept under `name`, or what `make` makes of it in `bytes` of memory (`None`: it is taken to be half of all
    /// there is). Room is made before it runs. Who asks for what is being made waits; a failure is not kept.
    ///
    /// # Errors
    /// Those of `make`; [`Error::Refused`] for more bytes than are ever allowed; [`Error::Resource`] where sessions hold too
    /// many of them now.
    pub(crate) fn get(
        &self,
        name: &Name,
        bytes: Option<u64>,
        make: impl FnOnce() -> Result<Loaded, Error>,
    ) -> Result<Loaded, Error> {
        let unknown = self.max_bytes.unwrap_or(0) / 2;
        let bytes = bytes.unwrap_or(unknown);
        let mut state = self.lock();
        loop {
            let State { entries, clock, .. } = &mut *state;
            let Some(entry) = entries.get_mut(name) else { break };
            if let Some(loaded) = &entry.loaded {
                *clock += 1;
                entry.used = *clock;
                return Ok(loaded.clone());
            }
            state = self.over.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let dropped = state.make_room(name, bytes, self.max_bytes)?;
        state.clock += 1;
        let entry = Entry { loaded: None, bytes, used: state.clock };
        state.entries.insert(name.clone(), entry);
        state.bytes = state.bytes.saturating_add(bytes);
        drop(state);
        for ((model, plan), entry) in dropped {
            tracing::info!(model, plan = plan.short(), bytes = entry.bytes, "prepared weights dropped");
        }
        let place = Place { of: self, name };
        let loaded = make()?;
        place.fill(loaded.clone());
        Ok(loaded)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes out what nobody holds, the least recently used first, until `bytes` more fit; if they cannot, nothing.
    fn make_room(
        &mut self,
        name: &Name,
        bytes: u64,
        max_bytes: Option<u64>,
    ) -> Result<Vec<(Name, Entry)>, Error> {
        let Some(max) = max_bytes else { return Ok(Vec::new()) };
        let (model, what) = (&name.0, "prepared weights");
        if bytes > max {
            return Err(Error::Refused {
                why: format!(
                    "the {what} of `{model}` for this plan take {bytes} bytes of the server's memory, more than the \
                     {max} allowed for those of all plans: raise --max-memory of the server or ask for another plan or \
                     mode"
                ),
            });
        }
        let held: u64 = self.entries.values().filter(|e| e.is_held()).map(|e| e.bytes).sum();
        if held > max - bytes {
            return Err(Error::Resource {
                what: "memory",
                why: format!(
                    "the {what} of `{model}` for this plan take {bytes} bytes, running sessions hold {held} of the {max} \
                     allowed for those of all plans: repeat this when they are over, or raise --max-memory of the server"
                ),
            });
        }
        let mut dropped = Vec::new();
        while self.bytes > max - bytes {
            let free = self.entries.iter().filter(|(_, e)| !e.is_held());
            let Some(oldest) = free.min_by_key(|(_, e)| e.used).map(|(name, _)| name.clone()) else { break };
            if let Some(entry) = self.entries.remove(&oldest) {
                self.bytes -= entry.bytes;
                dropped.push((oldest, entry));
            }
        }
        Ok(dropped)
    }
}

/// A place that was made; free again if it is not filled.
struct Place<'a> {
    of: &'a Prepared,
    name: &'a Name,
}

impl Place<'_> {
    fn fill(self, loaded: Loaded) {
        if let Some(entry) = self.of.lock().entries.get_mut(self.name) {
            entry.loaded = Some(loaded);
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.of.lock();
        let State { entries, bytes, .. } = &mut *state;
        if entries.get(self.name).is_some_and(|e| e.loaded.is_none())
            && let Some(entry) = entries.remove(self.name)
        {
            *bytes -= entry.bytes;
        }
        drop(state);
        self.of.over.notify_all();
    }
}
