//! Packs: what one session makes ahead of an image, kept by both sides, for a later session to use once.
//!
//! A system sees neither files nor other peers. A program hands it a [`PackStore`]; without one nothing outlives the session.

use crate::error::Error;
use oblivia_base::{Digest, Secret, Transcript};

/// What packs are for: between whom, under which plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackScope {
    /// Id of the system.
    pub system: &'static str,
    /// Hash of the client's TLS key.
    pub client: Digest,
    /// Hash of the server's TLS key.
    pub server: Digest,
    /// Digest of the plan, which covers the public model.
    pub plan: Digest,
}

impl PackScope {
    /// Identifies the scope.
    pub fn id(&self) -> Digest {
        let mut t = Transcript::new("pack scope v1");
        t.absorb("system", self.system.as_bytes());
        t.absorb("client", &self.client.0);
        t.absorb("server", &self.server.0);
        t.absorb("plan", &self.plan.0);
        t.digest()
    }
}

/// Names a pack at both sides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PackId {
    /// Digest of the session that made it: no two are equal, fresh bytes of both sides are in it.
    pub run: Digest,
    /// Number in that session, from 0.
    pub number: u32,
}

/// Packs cannot be used now; they may be later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unavailable;

/// One side's memory of packs.
pub trait PackStore: Send + Sync {
    /// Sole use of the packs of `scope`; `None` where there are none.
    ///
    /// # Errors
    /// While another session has them, or if nothing can be read.
    fn open(&self, scope: &PackScope) -> Result<Option<Box<dyn OpenPacks>>, Unavailable>;

    /// Sets room aside for `packs` new packs of `bytes` bytes each.
    ///
    /// # Errors
    /// For how many there is room, if these are fewer.
    fn reserve(&self, scope: &PackScope, packs: u32, bytes: u64) -> Result<Box<dyn NewPacks>, u32>;
}

/// Packs of one scope, in the hands of one session.
pub trait OpenPacks: Send {
    /// What is there, in the order in which it is to be used.
    fn ids(&self) -> Vec<PackId>;

    /// Whether the pack is there, under its name and as long as it was made; what is in it only [`OpenPacks::take`] reads. One that
    /// is damaged is reported and dropped.
    fn check(&mut self, id: &PackId) -> bool;

    /// Takes a pack. Before this returns it is gone for good: no crash and no other session brings it back.
    ///
    /// # Errors
    /// If it is not there, damaged, or if its end cannot be made durable.
    fn take(&mut self, id: &PackId) -> Result<Secret<Vec<u8>>, Error>;

    /// Drops a pack unused, for good.
    fn forget(&mut self, id: &PackId);
}

/// Room for packs that a session makes.
pub trait NewPacks: Send {
    /// Keeps a pack: it is there whole, on disk too, when this returns, or not at all.
    ///
    /// # Errors
    /// If it cannot be kept.
    fn put(&mut self, id: &PackId, pack: &Secret<Vec<u8>>) -> Result<(), Error>;

    /// Drops everything that was put, for good.
    fn forget(&mut self);
}
