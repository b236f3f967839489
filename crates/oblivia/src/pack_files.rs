//! Packs in a state directory: what sessions make ahead of images, until others use it.
//!
//! | path below `--state-dir` | mode | contents |
//! |---|---|---|
//! | `packs/SIDE/key` | 0600 | 32 random bytes: what packs of this side are encrypted under |
//! | `packs/SIDE/PEER/SCOPE/RUN-NUMBER.pack` | 0600 | one pack: see the module `sealed` |
//! | `packs/SIDE/PEER/SCOPE/lock` | 0600 | empty; locked by the session that has the scope in use |
//!
//! SIDE is `client` or `server`; PEER the fingerprint of the peer's key, SCOPE the digest of system, client, server and plan,
//! RUN the session that made the pack: 64 hexadecimal digits each; NUMBER eight.
//!
//! A pack is taken by reading its file, deleting it and waiting until the directory is on disk; only then is it handed out.
//! One that is not whole is reported and deleted. Those older than 30 days are deleted when others are made. A folder goes with its
//! last pack: while its lock is held, and not if anything else is in it by then; who writes makes it again.
#![deny(clippy::indexing_slicing)]

use crate::Error;
use crate::sealed::{self, HEAD_BYTES, OVERHEAD_BYTES};
use oblivia_base::codec::Encode;
use oblivia_base::{Digest, Secret, SessionRng};
use oblivia_net::{Owner, private};
use oblivia_protocol::{
    Error as SessionError, NewPacks, OpenPacks, PackId, PackScope, PackStore, Unavailable,
};
use rand_core::Rng;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

/// Largest pack.
const MAX_PACK_BYTES: u64 = 4 << 30;
/// What a file costs beside its contents, so that many small ones cannot be kept for nothing.
const FILE_BYTES: u64 = 4096;
const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// What is left of files that were being written when a machine stopped.
const UNFINISHED_AGE: Duration = Duration::from_secs(24 * 3600);
const KEY: &str = "key";
const LOCK: &str = "lock";
/// How often a folder is made that goes before anything is in it.
const TRIES: usize = 8;

/// The packs of one side below a state directory. Cloning shares what is set aside.
#[derive(Clone)]
pub struct PackFiles(Arc<Shared>);

struct Shared {
    dir: PathBuf,
    side: Owner,
    /// Of all peers together; half of it for one.
    max_bytes: Option<u64>,
    /// Set aside, by peer.
    reserved: Mutex<BTreeMap<Digest, u64>>,
}

/// How much of its space packs take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PackFill {
    /// Packs.
    pub packs: usize,
    /// Bytes they take.
    pub bytes: u64,
}

impl PackFiles {
    /// The packs of `side` below `state_dir`, up to `max_bytes` of all peers together and half of it of one; nothing is
    /// touched yet.
    pub fn new(state_dir: &Path, side: Owner, max_bytes: Option<u64>) -> Self {
        let dir = state_dir.join("packs").join(match side {
            Owner::Client => "client",
            Owner::Server => "server",
        });
        Self(Arc::new(Shared { dir, side, max_bytes, reserved: Mutex::default() }))
    }

    /// What a session with `peer` sees, or, without one, a session with whoever it turns out to be.
    pub fn of(&self, peer: Option<Digest>) -> Arc<dyn PackStore> {
        Arc::new(OfPeer { files: self.0.clone(), peer })
    }

    /// Packs of one scope that are there now.
    pub fn left(&self, scope: &PackScope) -> u32 {
        let files = files(&self.0.scope_dir(scope)).unwrap_or_default();
        u32::try_from(files.len()).unwrap_or(u32::MAX)
    }

    /// All packs of this side.
    pub fn fill(&self) -> PackFill {
        let mut fill = PackFill::default();
        for (_, file) in self.0.all() {
            fill.packs += 1;
            fill.bytes = fill.bytes.saturating_add(file.bytes);
        }
        fill
    }

    /// Deletes the packs for `peer`, or all; says how many. Sessions that use them end in an error.
    ///
    /// # Errors
    /// When a file cannot be deleted.
    pub fn forget(&self, peer: Option<Digest>) -> Result<usize, Error> {
        let mut deleted = 0;
        for (of, file) in self.0.all() {
            if peer.is_none_or(|peer| peer == of) {
                fs::remove_file(&file.path).map_err(|e| failed(&file.path, "delete", &e))?;
                deleted += 1;
            }
        }
        self.0.tidy();
        Ok(deleted)
    }
}

impl std::fmt::Debug for PackFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PackFiles").field(&self.0.dir).finish()
    }
}

/// A file of a pack.
struct PackFile {
    id: PackId,
    path: PathBuf,
    bytes: u64,
    written: Option<SystemTime>,
}

impl Shared {
    fn peer(&self, scope: &PackScope) -> Digest {
        match self.side {
            Owner::Client => scope.server,
            Owner::Server => scope.client,
        }
    }

    fn scope_dir(&self, scope: &PackScope) -> PathBuf {
        self.dir.join(self.peer(scope).hex()).join(scope.id().hex())
    }

    fn reserved(&self) -> MutexGuard<'_, BTreeMap<Digest, u64>> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a file is for, as it is authenticated.
    fn what(&self, scope: &PackScope, id: &PackId) -> Vec<u8> {
        let mut w = oblivia_base::codec::Writer::new();
        w.str(match self.side {
            Owner::Client => "client",
            Owner::Server => "server",
        });
        scope.id().encode(&mut w);
        id.run.encode(&mut w);
        w.u32(id.number);
        w.into_bytes()
    }

    /// The key of the directory, if there is one.
    fn key(&self) -> Result<Option<Secret<[u8; 32]>>, Error> {
        let path = self.dir.join(KEY);
        let Some(bytes) = private::read(&path, 33)? else { return Ok(None) };
        match <[u8; 32]>::try_from(bytes.as_slice()) {
            Ok(key) => Ok(Some(Secret::new(key))),
            Err(_) => {
                let why = "it is no key; delete it, and the packs with it".to_owned();
                Err(oblivia_net::Error::StateDir { path, doing: "read", why }.into())
            }
        }
    }

    /// The key of the directory, made if there is none.
    fn key_or_new(&self) -> Result<Secret<[u8; 32]>, Error> {
        private::make_dir(&self.dir)?;
        if let Some(key) = self.key()? {
            return Ok(key);
        }
        let mut fresh = Secret::new([0; 32]);
        rng()?.fill_bytes(fresh.expose_mut());
        private::create(&self.dir, KEY, fresh.expose())?;
        // Another process may have been first.
        let path = self.dir.join(KEY);
        self.key()?.ok_or_else(|| failed(&path, "read", &ErrorKind::NotFound.into()))
    }

    /// All packs with their peers.
    fn all(&self) -> Vec<(Digest, PackFile)> {
        let mut all = Vec::new();
        for peer in dirs(&self.dir) {
            let Some(of) = peer.file_name().and_then(|n| Digest::from_hex(n.to_str()?)) else { continue };
            for scope in dirs(&peer) {
                all.extend(files(&scope).unwrap_or_default().into_iter().map(|file| (of, file)));
            }
        }
        all
    }

    /// Deletes what is too old to be used.
    fn expire(&self) {
        let older = |t: Option<SystemTime>, age| t.and_then(|t| t.elapsed().ok()).is_some_and(|a| a > age);
        for (_, file) in self.all() {
            if older(file.written, MAX_AGE) {
                delete(&file.path);
            }
        }
        for scope in dirs(&self.dir).iter().flat_map(|peer| dirs(peer)) {
            for path in names(&scope).unwrap_or_default() {
                let written = fs::metadata(&path).and_then(|m| m.modified()).ok();
                if path.extension().is_some_and(|e| e == "tmp") && older(written, UNFINISHED_AGE) {
                    delete(&path);
                }
            }
        }
        self.tidy();
    }

    /// Removes the folders in which nothing is left and that no session uses.
    fn tidy(&self) {
        for scope in dirs(&self.dir).iter().flat_map(|peer| dirs(peer)) {
            if is_empty(&scope)
                && let Ok(lock) = lock(&scope.join(LOCK))
            {
                remove_empty(&scope, &lock);
            }
        }
    }

    /// How many more packs of `bytes` bytes there is room for.
    fn room(&self, peer: &Digest, bytes: u64, reserved: &BTreeMap<Digest, u64>) -> u64 {
        let Some(max) = self.max_bytes else { return u64::MAX };
        let (mut all, mut of_peer) =
            (reserved.values().sum::<u64>(), reserved.get(peer).copied().unwrap_or(0));
        for (of, file) in self.all() {
            let bytes = file.bytes + FILE_BYTES;
            all += bytes;
            of_peer += if of == *peer { bytes } else { 0 };
        }
        max.saturating_sub(all).min((max / 2).saturating_sub(of_peer)) / bytes
    }
}

struct OfPeer {
    files: Arc<Shared>,
    /// The only one there is a way to.
    peer: Option<Digest>,
}

impl OfPeer {
    fn is_for(&self, scope: &PackScope) -> bool {
        self.peer.is_none_or(|peer| peer == self.files.peer(scope))
    }
}

impl PackStore for OfPeer {
    fn open(&self, scope: &PackScope) -> Result<Option<Box<dyn OpenPacks>>, Unavailable> {
        let dir = self.files.scope_dir(scope);
        if !self.is_for(scope) || !dir.is_dir() {
            return Ok(None);
        }
        let lock = lock(&dir.join(LOCK))?;
        match self.files.key() {
            Ok(Some(key)) => {
                let files = self.files.clone();
                Ok(Some(Box::new(Open { files, scope: *scope, dir, key, lock })))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                tracing::warn!(%error, "packs are not used");
                Err(Unavailable)
            }
        }
    }

    fn reserve(&self, scope: &PackScope, packs: u32, bytes: u64) -> Result<Box<dyn NewPacks>, u32> {
        if !self.is_for(scope) || bytes > MAX_PACK_BYTES {
            return Err(0);
        }
        let files = self.files.clone();
        let (peer, size) = (files.peer(scope), bytes + OVERHEAD_BYTES + FILE_BYTES);
        files.expire();
        let mut reserved = files.reserved();
        let room = files.room(&peer, size, &reserved);
        if room < u64::from(packs) {
            return Err(u32::try_from(room).unwrap_or(u32::MAX));
        }
        *reserved.entry(peer).or_default() += size.saturating_mul(packs.into());
        drop(reserved);
        Ok(Box::new(Room { files, scope: *scope, bytes, size, left: packs, put: Vec::new() }))
    }
}

/// Room that is given back when this is dropped.
struct Room {
    files: Arc<Shared>,
    scope: PackScope,
    bytes: u64,
    size: u64,
    left: u32,
    put: Vec<PackId>,
}

impl Room {
    fn give_back(&mut self, packs: u32) {
        self.left -= packs;
        let (peer, bytes) = (self.files.peer(&self.scope), self.size.saturating_mul(packs.into()));
        let mut reserved = self.files.reserved();
        if let Some(of_peer) = reserved.get_mut(&peer) {
            *of_peer = of_peer.saturating_sub(bytes);
            if *of_peer == 0 {
                reserved.remove(&peer);
            }
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.give_back(self.left);
    }
}

impl NewPacks for Room {
    fn put(&mut self, id: &PackId, pack: &Secret<Vec<u8>>) -> Result<(), SessionError> {
        if self.left == 0 || pack.expose().len() as u64 > self.bytes {
            return Err(SessionError::Misuse("a pack that no room was set aside for".into()));
        }
        let io = |e: &dyn std::fmt::Display| SessionError::Io(format!("a pack cannot be kept: {e}"));
        let key = self.files.key_or_new().map_err(|e| io(&e))?;
        let what = self.files.what(&self.scope, id);
        let mut rng = rng().map_err(|e| io(&e))?;
        let file = sealed::seal(&key, &what, pack, &mut rng).ok_or_else(|| io(&"it is too long"))?;
        let dir = self.files.scope_dir(&self.scope);
        let mut kept = Ok(());
        for _ in 0..TRIES {
            kept = private::make_dir(&dir).and_then(|()| private::replace(&dir, &name(id), &file));
            // Whoever took the last pack may have taken the folder away meanwhile.
            if kept.is_ok() {
                break;
            }
        }
        kept.map_err(|e| io(&e))?;
        tracing::debug!(run = %id.run.short(), number = id.number, "pack kept");
        self.put.push(*id);
        self.give_back(1);
        Ok(())
    }

    fn forget(&mut self) {
        let dir = self.files.scope_dir(&self.scope);
        for id in self.put.drain(..) {
            tracing::info!(run = %id.run.short(), number = id.number, "a pack of a run that failed is dropped");
            delete(&dir.join(name(&id)));
        }
        if let Err(error) = File::open(&dir).and_then(|dir| dir.sync_all()) {
            tracing::warn!(%error, "packs that were dropped may come back after a power failure");
        }
        self.files.tidy();
    }
}

/// The packs of a scope, as long as its lock is held.
struct Open {
    files: Arc<Shared>,
    scope: PackScope,
    dir: PathBuf,
    key: Secret<[u8; 32]>,
    lock: File,
}

impl Open {
    /// What `open` makes of the first `most` bytes of a pack's file, given what it is for and the length of all of it. What is
    /// refused is reported and dropped.
    fn read<T>(
        &self,
        id: &PackId,
        most: u64,
        open: impl FnOnce(&[u8], Zeroizing<Vec<u8>>, u64) -> Result<T, &'static str>,
    ) -> Result<T, String> {
        let path = self.dir.join(name(id));
        let first = private::read(&path, most).map_err(|e| e.to_string())?;
        let (Some(first), Ok(meta)) = (first, fs::metadata(&path)) else {
            return Err(format!("{}: it is gone", path.display()));
        };
        open(&self.files.what(&self.scope, id), first, meta.len()).map_err(|why| {
            tracing::warn!(file = %path.display(), why, "a pack is not usable; it is dropped");
            delete(&path);
            format!("{}: {why}; it is deleted, repeat this", path.display())
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if is_empty(&self.dir) {
            remove_empty(&self.dir, &self.lock);
        }
    }
}

impl OpenPacks for Open {
    fn ids(&self) -> Vec<PackId> {
        let files = files(&self.dir).unwrap_or_else(|e| {
            tracing::warn!(error = %e, "packs are not used");
            Vec::new()
        });
        // Runs by age, so that none gets too old.
        let mut runs = BTreeMap::<Digest, Option<SystemTime>>::new();
        for file in &files {
            let oldest = runs.entry(file.id.run).or_insert(file.written);
            *oldest = (*oldest).min(file.written);
        }
        let mut ids: Vec<PackId> = files.iter().map(|f| f.id).collect();
        ids.sort_by_key(|id| (runs.get(&id.run).copied().flatten(), *id));
        ids
    }

    fn check(&mut self, id: &PackId) -> bool {
        let check =
            |what: &[u8], first: Zeroizing<Vec<u8>>, bytes| sealed::check(&self.key, what, &first, bytes);
        self.read(id, HEAD_BYTES as u64, check).is_ok()
    }

    fn take(&mut self, id: &PackId) -> Result<Secret<Vec<u8>>, SessionError> {
        let error = |why: String| SessionError::Io(format!("a pack made ahead cannot be used: {why}"));
        let open = |what: &[u8], file, _| sealed::open(&self.key, what, file);
        let pack = self.read(id, MAX_PACK_BYTES + OVERHEAD_BYTES, open).map_err(error)?;
        let path = self.dir.join(name(id));
        let gone = fs::remove_file(&path).and_then(|()| File::open(&self.dir)?.sync_all());
        gone.map_err(|e| error(format!("{} cannot be deleted for good: {e}", path.display())))?;
        tracing::debug!(run = %id.run.short(), number = id.number, "pack taken");
        Ok(pack)
    }

    fn forget(&mut self, id: &PackId) {
        tracing::info!(run = %id.run.short(), number = id.number, "a pack the other side does not have is dropped");
        delete(&self.dir.join(name(id)));
    }
}

/// The lock of a scope, unless it is held or its folder is going.
fn lock(path: &Path) -> Result<File, Unavailable> {
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let locked = options.open(path).map_err(fs::TryLockError::Error).and_then(|file| {
        file.try_lock()?;
        match is_there(&file).map_err(fs::TryLockError::Error)? {
            true => Ok(file),
            false => Err(fs::TryLockError::WouldBlock),
        }
    });
    match locked {
        Ok(file) => Ok(file),
        Err(fs::TryLockError::Error(e)) if e.kind() != ErrorKind::NotFound => {
            tracing::warn!(file = %path.display(), error = %e, "packs are not used: they cannot be locked");
            Err(Unavailable)
        }
        Err(_) => {
            tracing::debug!(file = %path.display(), "another session uses the packs");
            Err(Unavailable)
        }
    }
}

/// Whether a file that was opened still has a name: else whoever opens it by that name has another one.
#[cfg(unix)]
fn is_there(file: &File) -> std::io::Result<bool> {
    Ok(std::os::unix::fs::MetadataExt::nlink(&file.metadata()?) > 0)
}

#[cfg(not(unix))]
fn is_there(_: &File) -> std::io::Result<bool> {
    Ok(true)
}

/// Whether nothing is in the folder of a scope but its lock.
fn is_empty(scope: &Path) -> bool {
    names(scope).is_ok_and(|all| all.iter().all(|path| path.file_name().is_some_and(|n| n == LOCK)))
}

/// Removes the folder of a scope, and its peer's if it was the last. Where something has come into them since, they stay. `_lock`
/// is the scope's.
fn remove_empty(scope: &Path, _lock: &File) {
    delete(&scope.join(LOCK));
    if fs::remove_dir(scope).is_ok()
        && let Some(peer) = scope.parent()
    {
        let _ = fs::remove_dir(peer);
    }
}

fn rng() -> Result<SessionRng, Error> {
    SessionRng::fresh().map_err(|e| SessionError::Io(e.to_string()).into())
}

fn name(id: &PackId) -> String {
    format!("{}-{:08x}.pack", id.run.hex(), id.number)
}

fn id_of(path: &Path) -> Option<PackId> {
    let (run, number) = path.file_name()?.to_str()?.strip_suffix(".pack")?.split_once('-')?;
    let id = PackId { run: Digest::from_hex(run)?, number: u32::from_str_radix(number, 16).ok()? };
    // One name per pack.
    (path.file_name()?.to_str()? == name(&id)).then_some(id)
}

/// The packs in a directory; none where there is none.
fn files(dir: &Path) -> Result<Vec<PackFile>, Error> {
    let about = |path: PathBuf| {
        let id = id_of(&path)?;
        let meta = fs::metadata(&path).ok()?;
        Some(PackFile { id, path, bytes: meta.len(), written: meta.modified().ok() })
    };
    Ok(names(dir)?.into_iter().filter_map(about).collect())
}

fn dirs(dir: &Path) -> Vec<PathBuf> {
    names(dir).unwrap_or_default().into_iter().filter(|p| p.is_dir()).collect()
}

/// What is in a directory; nothing where there is none.
fn names(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = match fs::read_dir(dir) {
        Ok(read) => read,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(dir, "read", &e)),
    };
    read.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>().map_err(|e| failed(dir, "read", &e))
}

fn delete(path: &Path) {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            tracing::warn!(file = %path.display(), error = %e, "it cannot be deleted");
        }
        _ => {}
    }
}

fn failed(path: &Path, doing: &'static str, e: &std::io::Error) -> Error {
    oblivia_net::Error::StateDir { path: path.to_owned(), doing, why: e.to_string() }.into()
}

#[cfg(test)]
mod tests;
