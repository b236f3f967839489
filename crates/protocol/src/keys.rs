//! Keys that outlive a session: what a client keeps secret, what a server keeps for it.
//!
//! A system sees neither files nor other clients. A client's program hands it a [`SecretStore`], a server's program
//! a [`KeyShelf`] of the one client the session is with; both may be missing, and then keys live as long as the
//! session.

use crate::packs::PackStore;
use oblivia_base::{Digest, Secret, Transcript};
use serde::Serialize;
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// What evaluation keys are for: between whom, under which parameters, in answer to which request.
///
/// A secret key that is kept is kept for exactly one scope; another server or another plan's parameters get another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyScope {
    /// Id of the system.
    pub system: &'static str,
    /// Hash of the client's TLS key.
    pub client: Digest,
    /// Hash of the server's TLS key.
    pub server: Digest,
    /// Id of the parameters.
    pub params: Digest,
    /// Id of the key request.
    pub request: Digest,
}

impl KeyScope {
    /// Scope and session in which keys are first sent, as the label of their uniform halves. The session's digest
    /// covers fresh bytes of both sides, so no two sets of keys share a label.
    pub fn label(&self, session: &Digest) -> Digest {
        let mut t = self.transcript("evaluation keys label v1");
        t.absorb("session", &session.0);
        t.digest()
    }

    /// Identifies keys by their bytes, which mean something only with their label.
    pub fn fingerprint(&self, label: &Digest, bytes: &[u8]) -> Digest {
        let mut t = self.transcript("evaluation keys fingerprint v1");
        t.absorb("label", &label.0);
        t.absorb("bytes", bytes);
        t.digest()
    }

    /// Identifies the scope.
    pub fn id(&self) -> Digest {
        self.transcript("key scope v1").digest()
    }

    fn transcript(&self, domain: &str) -> Transcript {
        let mut t = Transcript::new(domain);
        t.absorb("system", self.system.as_bytes());
        t.absorb("client", &self.client.0);
        t.absorb("server", &self.server.0);
        t.absorb("params", &self.params.0);
        t.absorb("request", &self.request.0);
        t
    }
}

/// A client's memory of secret keys, one value per scope.
///
/// What it holds decrypts everything that was sent under it. A store that cannot read what it kept says so to its
/// user and behaves as if nothing were kept.
pub trait SecretStore: Send + Sync {
    /// What was kept last, if anything.
    fn load(&self, scope: &KeyScope) -> Option<Secret<Vec<u8>>>;
    /// Keeps `secret` in place of what was kept before. Failing to is no reason to end a session.
    fn save(&self, scope: &KeyScope, secret: &Secret<Vec<u8>>);
}

/// A server's memory of the evaluation keys of *one* client, who is authenticated.
///
/// There is no way through a shelf to what other clients have: not to use it, not to learn whether it exists.
pub trait KeyShelf: Send + Sync {
    /// The keys of that fingerprint, if they are still there. They stay alive as long as the caller holds them.
    fn find(&self, scope: &KeyScope, fingerprint: &Digest) -> Option<SharedKeys>;
    /// Keeps keys that take `bytes` bytes of memory, as long as there is room.
    fn keep(&self, scope: &KeyScope, fingerprint: &Digest, bytes: u64, keys: SharedKeys);
}

/// Evaluation keys as their system holds them.
pub type SharedKeys = Arc<dyn Any + Send + Sync>;

/// The memories a role brings to a session.
#[derive(Clone, Default)]
pub struct KeyMemory {
    /// The client's.
    pub secrets: Option<Arc<dyn SecretStore>>,
    /// The server's.
    pub shelf: Option<Arc<dyn KeyShelf>>,
    /// Of either: what is made ahead of images.
    pub packs: Option<Arc<dyn PackStore>>,
}

impl fmt::Debug for KeyMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyMemory")
            .field("secrets", &self.secrets.is_some())
            .field("shelf", &self.shelf.is_some())
            .field("packs", &self.packs.is_some())
            .finish()
    }
}

/// How the server of a session came by the client's evaluation keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyUse {
    /// There are none.
    #[default]
    None,
    /// They were sent in this session.
    Sent,
    /// It had kept them from an earlier one.
    Reused,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> KeyScope {
        let [client, server, params, request] = [1, 2, 3, 4].map(|i| Digest([i; 32]));
        KeyScope { system: "toy", client, server, params, request }
    }

    #[test]
    fn labels_and_fingerprints_depend_on_everything_they_stand_for() {
        let changes: [fn(&mut KeyScope); 6] = [
            |_| {},
            |s| s.system = "boy",
            |s| s.client.0[0] = 9,
            |s| s.server.0[0] = 9,
            |s| s.params.0[0] = 9,
            |s| s.request.0[0] = 9,
        ];
        let mut seen = std::collections::BTreeSet::new();
        for change in changes {
            let mut s = scope();
            change(&mut s);
            assert!(seen.insert(s.id()));
            for session in [5, 6] {
                let label = s.label(&Digest([session; 32]));
                assert!(seen.insert(label));
                assert!(seen.insert(s.fingerprint(&label, b"keys")));
                assert!(seen.insert(s.fingerprint(&label, b"other keys")));
            }
        }
        let (s, label) = (scope(), Digest([7; 32]));
        assert!(seen.insert(s.fingerprint(&label, b"keys")), "the label counts by itself");
    }
}
