//! Keys that outlive a session: cold, warm, lost by the server, of another client.

use crate::{Case, Pair, ask, both, serve};
use oblivia::{KeyCache, Machine, Models};
use oblivia_base::{Digest, Secret};
use oblivia_net::memory;
use oblivia_protocol::{Identities, KeyMemory, KeyScope, SecretStore};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A server that keeps keys, for sessions over memory links with identities.
pub struct Keeper<'a> {
    case: &'a Case,
    machine: Machine,
    models: Models,
    /// What it keeps.
    pub keys: KeyCache,
    /// Who it is.
    pub identity: Digest,
}

impl<'a> Keeper<'a> {
    /// A server of the model of `case`.
    pub fn new(case: &'a Case, key_cache_bytes: u64) -> Self {
        let mut machine = Machine::new(1).expect("threads");
        machine.keep_log = true;
        let models = case.models(&machine);
        Self { case, machine, models, keys: KeyCache::new(key_cache_bytes), identity: Digest([0x5e; 32]) }
    }

    /// One session with a client of that identity and memory.
    pub fn session(&self, client: Digest, secrets: Option<Arc<dyn SecretStore>>, seed: u64) -> Pair {
        let (to_server, to_client) = memory::pair();
        let to_server = to_server.with_identities(Identities { own: client, peer: self.identity });
        let to_client = to_client.with_identities(Identities { own: self.identity, peer: client });
        let shelf = self.keys.shelf(client);
        let kept = KeyMemory { shelf, ..KeyMemory::default() };
        let memory = KeyMemory { secrets, ..KeyMemory::default() };
        both(
            || serve(Box::new(to_client), &self.models, &self.machine, kept, seed ^ 0x5e7e),
            || ask(self.case, Box::new(to_server), &self.machine, memory, seed),
        )
        .expect("the session succeeds")
    }
}

/// A store in memory; one that is `blind` gives what it has for any scope.
#[derive(Default)]
pub struct Secrets {
    kept: Mutex<BTreeMap<KeyScope, Vec<u8>>>,
    blind: bool,
}

impl Secrets {
    /// A store that gives what `from` has to whoever asks: a thief's.
    pub fn stolen(from: &Self) -> Self {
        Self { kept: Mutex::new(from.all()), blind: true }
    }

    /// Everything it has.
    pub fn all(&self) -> BTreeMap<KeyScope, Vec<u8>> {
        self.kept.lock().expect("no panic while it is locked").clone()
    }

    /// Changes everything it has.
    pub fn spoil(&self, change: impl Fn(&mut Vec<u8>)) {
        self.kept.lock().expect("no panic while it is locked").values_mut().for_each(change);
    }
}

impl SecretStore for Secrets {
    fn load(&self, scope: &KeyScope) -> Option<Secret<Vec<u8>>> {
        let all = self.all();
        let found = if self.blind { all.values().next() } else { all.get(scope) };
        found.map(|secret| Secret::new(secret.clone()))
    }

    fn save(&self, scope: &KeyScope, secret: &Secret<Vec<u8>>) {
        self.kept.lock().expect("no panic while it is locked").insert(*scope, secret.expose().clone());
    }
}
