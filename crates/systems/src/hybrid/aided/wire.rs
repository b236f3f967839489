//! The messages of mode `client-aided`.
//!
//! ```text
//! client → server   Keys      evaluation keys, public key (see `common::keys`)
//! server → client   Tops      of clips, where the network has any: 8 bytes a channel
//! client → server   Inputs    per layer of a step, seeded ciphertexts
//! server → client   Results   per layer of a step, flooded replies
//! ```
#![deny(clippy::indexing_slicing)]

use super::super::plan::SYSTEM;
use super::plan::{Derived, Layer};
use crate::common::keys::{KeyKinds, KeyMaker, KeyTerms};
use oblivia_base::codec::{Reader, Writer};
use oblivia_base::seed::EntropySource;
use oblivia_base::{Digest, Transcript};
use oblivia_he::bfv::{Context, EvaluationKeys, Factor, PublicKey, Reply, SeededCiphertext};
use oblivia_he::{HeError, KeyRequest, Params, SecretKey};
use oblivia_protocol::{Error, Kind, Plan};
use std::sync::Arc;

pub(super) const TOPS: Kind = Kind::System(6);
pub(super) const INPUTS: Kind = Kind::System(7);
pub(super) const RESULTS: Kind = Kind::System(8);

/// Bytes of the top of a clip.
pub(super) const TOP_BYTES: usize = 8;

/// What the client's keys are to the server.
#[derive(Debug)]
pub(super) struct AidedKeys {
    pub(super) evaluation: Arc<EvaluationKeys>,
    pub(super) public: PublicKey,
}

/// Makes and reads [`AidedKeys`].
#[derive(Clone, Copy)]
pub(super) struct AidedMaker<'a> {
    context: &'a Context,
    request: &'a KeyRequest,
}

impl KeyMaker for AidedMaker<'_> {
    type Keys = AidedKeys;

    fn params(&self) -> &Params {
        self.context.params()
    }

    fn ids(&self) -> [Digest; 2] {
        let mut t = Transcript::new("hybrid client-aided keys v1");
        t.absorb("context", &self.context.id().0);
        [t.digest(), self.request.id()]
    }

    fn make(&self, sk: &SecretKey, label: &[u8], rng: &mut dyn EntropySource) -> Result<Vec<u8>, HeError> {
        let mut w = Writer::with_capacity(key_bytes(self.context, self.request));
        self.context.evaluation_keys(sk, self.request, label, rng)?.encode(&mut w);
        self.context.public_key(sk, label, rng)?.encode(&mut w);
        Ok(w.into_bytes())
    }

    fn read(&self, label: &[u8], bytes: &[u8]) -> Result<AidedKeys, HeError> {
        let mut r = Reader::new(bytes);
        let evaluation = Arc::new(EvaluationKeys::decode(self.context, self.request, label, &mut r)?);
        let public = PublicKey::decode(self.context, label, &mut r)?;
        r.finish()?;
        Ok(AidedKeys { evaluation, public })
    }
}

/// What both sides need to bring the client's keys to the server.
pub(super) fn key_terms<'a>(d: &'a Derived, plan: &'a Plan) -> KeyTerms<'a, AidedMaker<'a>> {
    let kinds = KeyKinds { offer: Kind::System(3), answer: Kind::System(4), keys: Kind::System(5) };
    KeyTerms { system: SYSTEM, kinds, plan, maker: AidedMaker { context: &d.context, request: &d.keys } }
}

/// Bytes of the keys.
pub(super) fn key_bytes(context: &Context, request: &KeyRequest) -> usize {
    request.encoded_bytes(context.params()) + PublicKey::encoded_bytes(context.params())
}

/// Bytes of the ciphertexts of one layer.
pub(super) fn up_bytes(context: &Context, vectors: usize) -> Result<usize, HeError> {
    Ok(vectors * SeededCiphertext::encoded_bytes(context.params(), context.params().max_level())?)
}

/// Bytes of the replies of one layer.
pub(super) fn down_bytes(context: &Context, vectors: usize, cut: [u32; 2]) -> Result<usize, HeError> {
    Ok(vectors * Reply::encoded_bytes(context, cut)?)
}

/// The ciphertexts of one layer.
pub(super) fn read_inputs(
    d: &Derived,
    layer: &Layer,
    r: &mut Reader<'_>,
) -> Result<Vec<SeededCiphertext>, Error> {
    let top = d.context.params().max_level();
    let factor = d.context.level_factor(top).map_err(|e| invalid("Inputs", &e))?;
    let one = |_| SeededCiphertext::decode(&d.context, top, factor, r).map_err(|e| invalid("Inputs", &e));
    (0..layer.free.inputs()).map(one).collect()
}

/// The replies of one layer.
pub(super) fn read_results(d: &Derived, layer: &Layer, r: &mut Reader<'_>) -> Result<Vec<Reply>, Error> {
    let factor = reply_factor(&d.context).map_err(|e| invalid("Results", &e))?;
    let one = |_| Reply::decode(&d.context, factor, d.cut, r).map_err(|e| invalid("Results", &e));
    (0..layer.free.outputs()).map(one).collect()
}

/// The factor of a reply: that of the level below the highest, after the switches that follow.
fn reply_factor(context: &Context) -> Result<Factor, HeError> {
    let below = context.params().max_level() - 1;
    (2..=below).rev().try_fold(context.level_factor(below)?, |f, level| context.after_switch(f, level))
}

/// An error of `he` about bytes of the peer.
pub(super) fn invalid(message: &'static str, e: &HeError) -> Error {
    Error::InvalidMessage { message, why: e.to_string() }
}

/// What the uniform halves of a layer's ciphertexts and a reply's randomness are bound to.
pub(super) fn label(session: &Digest, index: usize, node: usize) -> Vec<u8> {
    [session.0.as_slice(), &(index as u64).to_le_bytes(), &(node as u64).to_le_bytes()].concat()
}
