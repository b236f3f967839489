//! The keys of a session: one per ring.

use super::plan::NONCE_BYTES;
use oblivia_base::codec::{Reader, Writer};
use oblivia_base::seed::EntropySource;
use oblivia_base::{Digest, Prg};
use oblivia_he::HeError;
use oblivia_he::coefficient::{Params, PublicKey, Ring, SecretKey};
use oblivia_protocol::Error;

/// The client's.
pub(super) struct SecretKeys(Vec<SecretKey>);

/// The public halves.
#[derive(Clone)]
pub(super) struct PublicKeys(Vec<PublicKey>);

fn missing() -> Error {
    Error::Misuse("a layer's ring has no key".into())
}

impl SecretKeys {
    /// Those of a seed, for `rings` in order.
    pub(super) fn new(rings: &[Ring], seed: &[u8; 32]) -> Self {
        let mut rng = Prg::new(seed, "hybrid key v1", &[]);
        Self(rings.iter().map(|ring| SecretKey::generate(ring, &mut rng)).collect())
    }

    /// The one for a layer.
    pub(super) fn of(&self, params: &Params) -> Result<&SecretKey, Error> {
        self.0.iter().find(|sk| sk.ring() == params.ring()).ok_or_else(missing)
    }

    /// The public halves for one session.
    pub(super) fn public(
        &self,
        nonce: &[u8; NONCE_BYTES],
        session: &Digest,
        rng: &mut dyn EntropySource,
    ) -> PublicKeys {
        PublicKeys(self.0.iter().map(|sk| PublicKey::generate(sk, nonce, session, rng)).collect())
    }
}

impl PublicKeys {
    /// The one for a layer.
    pub(super) fn of(&self, params: &Params) -> Result<&PublicKey, Error> {
        self.0.iter().find(|pk| pk.ring() == params.ring()).ok_or_else(missing)
    }

    /// Bytes of an encoding.
    pub(super) fn encoded_bytes(rings: &[Ring]) -> usize {
        rings.iter().map(PublicKey::encoded_bytes).sum()
    }

    /// Appends all.
    pub(super) fn encode(&self, w: &mut Writer) {
        self.0.iter().for_each(|pk| pk.encode(w));
    }

    /// Reads those for `rings`.
    pub(super) fn decode(
        rings: &[Ring],
        nonce: &[u8; NONCE_BYTES],
        session: &Digest,
        r: &mut Reader<'_>,
    ) -> Result<Self, HeError> {
        let one = |ring| PublicKey::decode(ring, nonce, session, r);
        Ok(Self(rings.iter().map(one).collect::<Result<_, _>>()?))
    }
}
