//! Packs that outlive a session: made, used once, lost on either side, of another client.

use crate::{Case, Failed, Pair, ask_with, both, serve};
use oblivia::{Machine, Models, PackFiles};
use oblivia_base::{Digest, Secret};
use oblivia_net::Owner;
use oblivia_net::memory::{self, MemoryWire};
use oblivia_protocol::session::{Purpose, Request};
use oblivia_protocol::{
    Error, Identities, KeyMemory, NewPacks, OpenPacks, PackId, PackScope, PackStore, Unavailable, Wire,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// Packs by side and scope in the order in which they were taken: a pack in it twice is the end of everything.
#[derive(Clone, Default)]
pub struct Taken(Arc<Mutex<Vec<OneTaken>>>);

/// Side, scope and pack.
type OneTaken = (&'static str, Digest, PackId);

impl Taken {
    /// How many were taken so far.
    ///
    /// # Panics
    /// If one was taken twice at the same side.
    pub fn count(&self) -> usize {
        let all = self.0.lock().expect("no panic while it is locked");
        for (i, taken) in all.iter().enumerate() {
            let again = all.iter().take(i).any(|before| before == taken);
            assert!(!again, "{taken:?} was taken twice");
        }
        all.len()
    }
}

struct Watched {
    store: Arc<dyn PackStore>,
    side: &'static str,
    taken: Taken,
    /// How many packs its disk takes, whatever there is room for.
    fit: usize,
}

impl PackStore for Watched {
    fn open(&self, scope: &PackScope) -> Result<Option<Box<dyn OpenPacks>>, Unavailable> {
        let Some(open) = self.store.open(scope)? else { return Ok(None) };
        Ok(Some(Box::new(WatchedOpen {
            open,
            side: self.side,
            scope: scope.id(),
            taken: self.taken.clone(),
        })))
    }

    fn reserve(&self, scope: &PackScope, packs: u32, bytes: u64) -> Result<Box<dyn NewPacks>, u32> {
        let (room, fit) = (self.store.reserve(scope, packs, bytes)?, self.fit);
        Ok(Box::new(WatchedNew { room, fit }))
    }
}

struct WatchedNew {
    room: Box<dyn NewPacks>,
    fit: usize,
}

impl NewPacks for WatchedNew {
    fn put(&mut self, id: &PackId, pack: &Secret<Vec<u8>>) -> Result<(), Error> {
        self.fit = self.fit.checked_sub(1).ok_or_else(|| Error::Io("the disk is full".into()))?;
        self.room.put(id, pack)
    }

    fn forget(&mut self) {
        self.room.forget();
    }
}

struct WatchedOpen {
    open: Box<dyn OpenPacks>,
    side: &'static str,
    scope: Digest,
    taken: Taken,
}

impl OpenPacks for WatchedOpen {
    fn ids(&self) -> Vec<PackId> {
        self.open.ids()
    }

    fn check(&mut self, id: &PackId) -> bool {
        self.open.check(id)
    }

    fn take(&mut self, id: &PackId) -> Result<Secret<Vec<u8>>, Error> {
        let pack = self.open.take(id)?;
        self.taken.0.lock().expect("no panic while it is locked").push((self.side, self.scope, *id));
        Ok(pack)
    }

    fn forget(&mut self, id: &PackId) {
        self.open.forget(id);
    }
}

/// A server with a state directory and clients with theirs, over memory links with identities.
pub struct Stocked<'a> {
    case: &'a Case,
    machine: Machine,
    models: Models,
    state: TempDir,
    identity: Digest,
    max_bytes: u64,
    /// Whether the server keeps packs now.
    pub keeps: bool,
    /// How many packs of a session fit on the disks of client and server.
    pub fit: [usize; 2],
    /// What was taken at any side.
    pub taken: Taken,
}

impl<'a> Stocked<'a> {
    /// A server of the model of `case` that keeps packs of up to `max_bytes`.
    pub fn new(case: &'a Case, max_bytes: u64) -> Self {
        let mut machine = Machine::new(1).expect("threads");
        machine.keep_log = true;
        let (models, state) = (case.models(&machine), tempfile::tempdir().expect("a folder"));
        let identity = Digest([0x5e; 32]);
        let (fit, taken) = ([usize::MAX; 2], Taken::default());
        Self { case, machine, models, state, identity, max_bytes, keeps: true, fit, taken }
    }

    /// Where the packs of a side are: of `client`, or of the server.
    pub fn dir(&self, client: Option<Digest>) -> PathBuf {
        self.state.path().join(client.map_or_else(|| "server".to_owned(), |client| client.short()))
    }

    /// The files of packs of a side, in order.
    pub fn files(&self, client: Option<Digest>) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.dir(client), &mut found);
        found.retain(|path| path.extension().is_some_and(|e| e == "pack"));
        found.sort();
        found
    }

    /// A copy of everything a side has.
    pub fn copy(&self, client: Option<Digest>) -> TempDir {
        let to = tempfile::tempdir().expect("a folder");
        copy(&self.dir(client), to.path());
        to
    }

    /// Sets a side back to a copy.
    pub fn restore(&self, client: Option<Digest>, from: &TempDir) {
        let dir = self.dir(client);
        std::fs::remove_dir_all(&dir).expect("it is there");
        copy(from.path(), &dir);
    }

    /// A session with `client` for the first `samples` samples.
    ///
    /// # Errors
    /// How it failed on each side.
    pub fn session(
        &self,
        client: Digest,
        purpose: Purpose,
        samples: usize,
        seed: u64,
    ) -> Result<Pair, Box<Failed>> {
        self.session_over(client, purpose, samples, seed, |wire| Box::new(wire))
    }

    /// As [`Self::session`], over what `changed` makes of the client's end.
    ///
    /// # Errors
    /// How it failed on each side.
    pub fn session_over(
        &self,
        client: Digest,
        purpose: Purpose,
        samples: usize,
        seed: u64,
        changed: impl FnOnce(MemoryWire) -> Box<dyn Wire>,
    ) -> Result<Pair, Box<Failed>> {
        let (to_server, to_client) = memory::pair();
        let to_server = to_server.with_identities(Identities { own: client, peer: self.identity });
        let to_client = to_client.with_identities(Identities { own: self.identity, peer: client });
        let store = |side, owner, max, of: Option<Digest>, only| {
            let files = PackFiles::new(&self.dir(of), owner, max);
            let fit = self.fit[usize::from(side == "server")];
            let watched = Watched { store: files.of(only), side, taken: self.taken.clone(), fit };
            KeyMemory { packs: Some(Arc::new(watched)), ..KeyMemory::default() }
        };
        let predicted = if purpose == Purpose::Predict { samples } else { 0 };
        let inputs = &self.case.inputs[..predicted];
        let request = Request { purpose, samples: samples as u32, ..self.case.request() };
        both(
            || {
                let memory = match self.keeps {
                    true => store("server", Owner::Server, Some(self.max_bytes), None, Some(client)),
                    false => KeyMemory::default(),
                };
                serve(Box::new(to_client), &self.models, &self.machine, memory, seed ^ 0x5e7e)
            },
            || {
                let memory = store("client", Owner::Client, None, Some(client), None);
                let (wire, systems) = (changed(to_server), oblivia_systems::SYSTEMS);
                ask_with(systems, request, inputs, wire, &self.machine, memory, seed)
            },
        )
    }
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy(&path, &to),
            false => std::fs::copy(&path, &to).map(|_| ()).expect("a copy"),
        }
    }
}
