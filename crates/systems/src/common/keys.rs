//! How a server comes by a client's evaluation keys: it still has them, or they are sent.
//!
//! ```text
//! client → server   KeysOffer   whether keys were kept, and their fingerprint
//! server → client   KeysAnswer  "send them" or "I have them"
//! client → server   Keys        only if they are to be sent
//! ```
//!
//! Both sides know from the plan what each message weighs, and which of the two courses a session took.
//!
//! **Why keys may outlive their session.** Everything a session sends is bound to its digest; evaluation keys are
//! bound to their [`KeyScope`] (client, server, parameters, request) *and* to the digest of the session they are first
//! sent in, which serves as a nonce both sides contributed to. A later session does not re-interpret their bytes: the
//! server keeps them expanded, and finds them only by a fingerprint over scope, label and bytes, so what it uses is
//! what this client made for this server, parameters and request. Models with equal parameters and request share
//! them, as they could share a session. The secret key behind them stays the same; each set of evaluation keys and
//! each ciphertext has errors and seeds of its own, fresh from the session that sends it, so keeping the key adds
//! samples under one secret, which the parameters allow for, and no relation between them.
#![deny(clippy::indexing_slicing)]

use oblivia_base::codec::{Decode, DecodeError, Encode, Reader, Writer};
use oblivia_base::seed::EntropySource;
use oblivia_base::{Digest, Secret};
use oblivia_he::{EvaluationKeys, HeError, KeyRequest, Params, SecretKey};
use oblivia_protocol::{
    Context, Error, Event, Expect, HEADER_BYTES, KeyScope, KeyUse, Kind, Plan, Role, SecretStore, Traffic,
};
use std::any::Any;
use std::sync::Arc;

/// What is made from a secret key for the server, and read there.
pub(crate) trait KeyMaker: Sync {
    /// As the server holds it.
    type Keys: Any + Send + Sync;
    /// Of the secret key.
    fn params(&self) -> &Params;
    /// Ids of parameters and request: what else keys are for.
    fn ids(&self) -> [Digest; 2];
    /// Fresh keys, encoded.
    fn make(&self, sk: &SecretKey, label: &[u8], rng: &mut dyn EntropySource) -> Result<Vec<u8>, HeError>;
    /// Validates.
    fn read(&self, label: &[u8], bytes: &[u8]) -> Result<Self::Keys, HeError>;
}

/// Evaluation keys of CKKS.
#[derive(Clone, Copy)]
pub(crate) struct CkksKeys<'a> {
    pub(crate) params: &'a Params,
    pub(crate) request: &'a KeyRequest,
}

impl KeyMaker for CkksKeys<'_> {
    type Keys = EvaluationKeys;

    fn params(&self) -> &Params {
        self.params
    }

    fn ids(&self) -> [Digest; 2] {
        [self.params.id(), self.request.id()]
    }

    fn make(&self, sk: &SecretKey, label: &[u8], rng: &mut dyn EntropySource) -> Result<Vec<u8>, HeError> {
        Ok(EvaluationKeys::generate(sk, self.request, label, rng)?.to_bytes())
    }

    fn read(&self, label: &[u8], bytes: &[u8]) -> Result<EvaluationKeys, HeError> {
        EvaluationKeys::from_bytes(self.params, self.request, label, bytes)
    }
}

/// The kinds of the three messages in a system.
#[derive(Clone, Copy)]
pub(crate) struct KeyKinds {
    pub(crate) offer: Kind,
    pub(crate) answer: Kind,
    pub(crate) keys: Kind,
}

/// What keys are for, and how they travel.
#[derive(Clone, Copy)]
pub(crate) struct KeyTerms<'a, M> {
    pub(crate) system: &'static str,
    pub(crate) kinds: KeyKinds,
    pub(crate) plan: &'a Plan,
    pub(crate) maker: M,
}

/// The first message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Offer {
    /// There are no keys yet, and there will not be any after this session.
    Once,
    /// There are no keys yet; those made now may be asked for again.
    New,
    /// Keys of this fingerprint were sent before.
    Known(Digest),
}

impl Offer {
    const BYTES: usize = 33;
}

impl Encode for Offer {
    fn encode(&self, w: &mut Writer) {
        let (tag, fingerprint) = match self {
            Self::Once => (0, Digest([0; 32])),
            Self::New => (1, Digest([0; 32])),
            Self::Known(fingerprint) => (2, *fingerprint),
        };
        w.u8(tag);
        fingerprint.encode(w);
    }
}

impl Decode for Offer {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let tag = r.u8("what is offered")?;
        r.require(tag <= 2, "what is offered")?;
        let fingerprint = Digest::decode(r)?;
        r.require(tag == 2 || fingerprint.0 == [0; 32], "fingerprint of no keys")?;
        Ok(match tag {
            0 => Self::Once,
            1 => Self::New,
            _ => Self::Known(fingerprint),
        })
    }
}

/// The second message: one byte.
const SEND: u8 = 0;
const HAVE: u8 = 1;

/// Setup traffic with keys sent: they follow the answer, which follows the acceptance of the plan.
pub(crate) fn sent(key_bytes: u64) -> Traffic {
    let reused = reused();
    Traffic { up_bytes: reused.up_bytes + HEADER_BYTES + key_bytes, rounds: reused.rounds + 1, ..reused }
}

/// Setup traffic with keys that the server still has. The offer travels with the acceptance of the plan: no round.
pub(crate) fn reused() -> Traffic {
    Traffic { up_bytes: HEADER_BYTES + Offer::BYTES as u64, down_bytes: HEADER_BYTES + 1, rounds: 1 }
}

/// The scope of a session's keys, and whether both ends are authenticated: if not, nothing is kept.
fn scope<M: KeyMaker>(terms: &KeyTerms<'_, M>, cx: &Context<'_>, own: Role) -> (KeyScope, bool) {
    let peer = if own == Role::Client { Role::Server } else { Role::Client };
    let ends = cx.channel.identities(peer);
    let nobody = Digest([0; 32]);
    let (client, server) = match (ends, own) {
        (None, _) => (nobody, nobody),
        (Some(ends), Role::Client) => (ends.own, ends.peer),
        (Some(ends), _) => (ends.peer, ends.own),
    };
    let [params, request] = terms.maker.ids();
    (KeyScope { system: terms.system, client, server, params, request }, ends.is_some())
}

/// A secret key and the fingerprint of the evaluation keys last sent for it, as kept: version, fingerprint, key.
struct Kept {
    sk: SecretKey,
    fingerprint: Digest,
}

impl Kept {
    const VERSION: u8 = 1;

    fn load(store: &dyn SecretStore, scope: &KeyScope, params: &Params) -> Option<Self> {
        let bytes = store.load(scope)?;
        let mut r = Reader::new(bytes.expose());
        if r.u8("version").ok()? != Self::VERSION {
            return None;
        }
        let fingerprint = Digest::decode(&mut r).ok()?;
        let key = r.raw(r.remaining(), "secret key").ok()?;
        Some(Self { sk: SecretKey::from_secret_bytes(params, key).ok()?, fingerprint })
    }

    fn save(store: &dyn SecretStore, scope: &KeyScope, sk: &SecretKey, fingerprint: &Digest) {
        let key = sk.to_secret_bytes();
        let mut w = Writer::with_capacity(1 + 32 + key.expose().len());
        w.u8(Self::VERSION);
        fingerprint.encode(&mut w);
        w.raw(key.expose());
        store.save(scope, &Secret::new(w.into_bytes()));
    }
}

fn refused(e: HeError) -> Error {
    Error::Refused { why: e.to_string() }
}

/// The client's side: a secret key whose evaluation keys the server has afterwards.
pub(crate) async fn as_client<M: KeyMaker>(
    terms: KeyTerms<'_, M>,
    cx: &mut Context<'_>,
) -> Result<SecretKey, Error> {
    cx.channel.enter_setup();
    let (scope, authenticated) = scope(&terms, cx, Role::Client);
    let store = cx.memory.secrets.clone().filter(|_| authenticated);
    let store = store.as_deref();
    let kept = store.and_then(|store| Kept::load(store, &scope, terms.maker.params()));
    let offer = match (&store, &kept) {
        (None, _) => Offer::Once,
        (Some(_), None) => Offer::New,
        (Some(_), Some(kept)) => Offer::Known(kept.fingerprint),
    };
    cx.channel.send(Role::Server, terms.kinds.offer, offer.to_bytes()).await?;

    let label = scope.label(&cx.session);
    let pool = cx.pool.clone();
    let (sk, mut made) = match kept {
        Some(kept) => (kept.sk, None),
        // To this there is one answer; making the keys hides the wait for it.
        None => {
            cx.observer.on(Event::Setup("making keys"));
            let sk = pool.install(|| SecretKey::generate(terms.maker.params(), &mut cx.rng));
            let keys = pool.install(|| terms.maker.make(&sk, &label.0, &mut cx.rng));
            (sk, Some(keys.map_err(refused)?))
        }
    };
    let answer = cx.channel.recv(Role::Server, Expect::exactly(terms.kinds.answer, 1)).await?;
    match (answer.as_slice(), offer) {
        ([HAVE], Offer::Known(_)) => {
            cx.observer.on(Event::Setup("keys are there"));
            cx.keys = KeyUse::Reused;
            return Ok(sk);
        }
        ([SEND], _) => {}
        _ => {
            let why = "it has keys that were not offered, or gives no known answer".into();
            return Err(Error::InvalidMessage { message: "KeysAnswer", why });
        }
    }
    let bytes = match made.take() {
        Some(bytes) => bytes,
        // Lost by the server: new ones of the same secret, with seeds and errors of their own.
        None => {
            cx.observer.on(Event::Setup("making keys"));
            let keys = pool.install(|| terms.maker.make(&sk, &label.0, &mut cx.rng));
            keys.map_err(refused)?
        }
    };
    let fingerprint = store.map(|_| pool.install(|| scope.fingerprint(&label, &bytes)));
    cx.observer.on(Event::Setup("sending keys"));
    cx.channel.send(Role::Server, terms.kinds.keys, bytes).await?;
    if let (Some(store), Some(fingerprint)) = (store, fingerprint) {
        Kept::save(store, &scope, &sk, &fingerprint);
    }
    cx.keys = KeyUse::Sent;
    Ok(sk)
}

/// The server's side: the client's evaluation keys, validated when they came.
pub(crate) async fn as_server<M: KeyMaker>(
    terms: KeyTerms<'_, M>,
    cx: &mut Context<'_>,
) -> Result<Arc<M::Keys>, Error> {
    cx.observer.on(Event::Setup("receiving keys"));
    cx.channel.enter_setup();
    let (scope, authenticated) = scope(&terms, cx, Role::Server);
    let offer = cx.channel.recv(Role::Client, Expect::exactly(terms.kinds.offer, Offer::BYTES)).await?;
    let offer = Offer::from_bytes(&offer).map_err(Error::invalid("KeysOffer"))?;
    let shelf = cx.memory.shelf.clone().filter(|_| authenticated && offer != Offer::Once);
    if let (Offer::Known(fingerprint), Some(shelf)) = (offer, &shelf) {
        let found = shelf.find(&scope, &fingerprint);
        // Nothing of another type is ever kept under this scope.
        if let Some(keys) = found.and_then(|keys| keys.downcast::<M::Keys>().ok()) {
            cx.channel.send(Role::Client, terms.kinds.answer, vec![HAVE]).await?;
            cx.keys = KeyUse::Reused;
            return Ok(keys);
        }
    }
    cx.channel.send(Role::Client, terms.kinds.answer, vec![SEND]).await?;
    let key_bytes = terms.plan.key_bytes as usize;
    let body = cx.channel.recv(Role::Client, Expect::exactly(terms.kinds.keys, key_bytes)).await?;
    let label = scope.label(&cx.session);
    let pool = cx.pool.clone();
    let read = || terms.maker.read(&label.0, &body);
    let keys =
        pool.install(read).map_err(|e| Error::InvalidMessage { message: "Keys", why: e.to_string() })?;
    let keys = Arc::new(keys);
    if let Some(shelf) = shelf {
        let fingerprint = scope.fingerprint(&label, &body);
        shelf.keep(&scope, &fingerprint, terms.plan.session_memory_bytes, keys.clone());
    }
    cx.keys = KeyUse::Sent;
    Ok(keys)
}

/// Bytes of a message that offers keys: refused, or an offer.
///
/// # Panics
/// When something other than the encoding of the offer was accepted.
pub(crate) fn fuzz_offer(bytes: &[u8]) -> bool {
    oblivia_base::fuzz::round_trip::<Offer>(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_offer_has_one_encoding_of_33_bytes() {
        let offers = [
            ("once", Offer::Once),
            ("new", Offer::New),
            ("known", Offer::Known(Digest([7; 32]))),
            ("known_zeros", Offer::Known(Digest([0; 32]))),
        ];
        for (name, offer) in offers {
            let bytes = offer.to_bytes();
            assert_eq!(bytes.len(), Offer::BYTES);
            assert_eq!(Offer::from_bytes(&bytes), Ok(offer));
            crate::fuzz_tests::committed("keys_offer", fuzz_offer, [(name, bytes)]);
        }
        let with = |tag: u8, byte: u8| [&[tag][..], &[byte; 32]].concat();
        for bad in [with(3, 0), with(0, 1), with(1, 1), vec![0; 32], vec![2; 34]] {
            assert!(Offer::from_bytes(&bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_offers_are_refused_or_mean_exactly_their_bytes(
            tag in 0u8..5,
            zero: bool,
            tail in prop::collection::vec(any::<u8>(), 31..34),
        ) {
            let tail = if zero { vec![0; tail.len()] } else { tail };
            fuzz_offer(&[&[tag][..], &tail].concat());
        }
    }
}
