//! The messages of the exact modes: those of [`super::super::messages`], with one part per plaintext prime.
//!
//! ```text
//! client → server   Keys     per prime: evaluation keys, and a public key if replies are flooded
//! client → server   Input    per prime: seeded ciphertexts, one per input vector
//! server → client   Output   per prime: one reply
//! ```
#![deny(clippy::indexing_slicing)]

use super::super::messages::{invalid, key_kinds};
use super::super::plan::SYSTEM;
use super::plan::Derived;
use crate::common::keys::{KeyMaker, KeyTerms};
use oblivia_base::codec::{Reader, Writer};
use oblivia_base::seed::EntropySource;
use oblivia_base::{Digest, Transcript};
use oblivia_he::bfv::{Context, EvaluationKeys, Factor, PublicKey, Reply, SeededCiphertext};
use oblivia_he::{HeError, KeyRequest, Params, SecretKey};
use oblivia_protocol::{Error, Plan};
use std::sync::Arc;

/// Transforms of [`oblivia_he::bfv::Evaluator::reply`].
pub(super) const REPLY_NTTS: u64 = 2;

/// What the client's keys are to the server, per plaintext prime.
#[derive(Debug)]
pub(super) struct ExactKeys {
    pub(super) evaluation: Vec<Arc<EvaluationKeys>>,
    /// Where replies are flooded.
    pub(super) public: Vec<PublicKey>,
}

/// Makes and reads [`ExactKeys`].
#[derive(Clone, Copy)]
pub(super) struct ExactMaker<'a> {
    contexts: &'a [Context],
    params: &'a Params,
    request: &'a KeyRequest,
    public: bool,
}

impl KeyMaker for ExactMaker<'_> {
    type Keys = ExactKeys;

    fn params(&self) -> &Params {
        self.params
    }

    fn ids(&self) -> [Digest; 2] {
        let mut t = Transcript::new("leveled exact keys v1");
        self.contexts.iter().for_each(|c| t.absorb("context", &c.id().0));
        t.absorb("public key", &[u8::from(self.public)]);
        [t.digest(), self.request.id()]
    }

    fn make(&self, sk: &SecretKey, label: &[u8], rng: &mut dyn EntropySource) -> Result<Vec<u8>, HeError> {
        let mut w = Writer::with_capacity(key_bytes(self.contexts, self.request, self.public));
        for context in self.contexts {
            context.evaluation_keys(sk, self.request, label, rng)?.encode(&mut w);
            if self.public {
                context.public_key(sk, label, rng)?.encode(&mut w);
            }
        }
        Ok(w.into_bytes())
    }

    fn read(&self, label: &[u8], bytes: &[u8]) -> Result<ExactKeys, HeError> {
        let mut r = Reader::new(bytes);
        let mut keys = ExactKeys { evaluation: Vec::new(), public: Vec::new() };
        for context in self.contexts {
            keys.evaluation.push(Arc::new(EvaluationKeys::decode(context, self.request, label, &mut r)?));
            if self.public {
                keys.public.push(PublicKey::decode(context, label, &mut r)?);
            }
        }
        r.finish()?;
        Ok(keys)
    }
}

/// What both sides need to bring the client's keys to the server.
pub(super) fn key_terms<'a>(d: &'a Derived, plan: &'a Plan) -> Result<KeyTerms<'a, ExactMaker<'a>>, Error> {
    let maker = ExactMaker {
        contexts: &d.contexts,
        params: d.params()?,
        request: &d.keys,
        public: d.flood.is_some(),
    };
    Ok(KeyTerms { system: SYSTEM, kinds: key_kinds(), plan, maker })
}

/// Bytes of the keys.
pub(super) fn key_bytes(contexts: &[Context], request: &KeyRequest, public: bool) -> usize {
    let one = |c: &Context| {
        let public = if public { PublicKey::encoded_bytes(c.params()) } else { 0 };
        request.encoded_bytes(c.params()) + public
    };
    contexts.iter().map(one).sum()
}

/// Bytes of the body of an input message.
pub(super) fn input_bytes(contexts: &[Context], vectors: usize) -> Result<usize, HeError> {
    let one = |c: &Context| {
        let params = c.params();
        Ok(vectors * SeededCiphertext::encoded_bytes(params, params.max_level())?)
    };
    contexts.iter().map(one).sum()
}

/// Bytes of the body of an output message.
pub(super) fn output_bytes(contexts: &[Context], cut: [u32; 2]) -> Result<usize, HeError> {
    contexts.iter().map(|c| Reply::encoded_bytes(c, cut)).sum()
}

pub(super) fn write_input(d: &Derived, cts: &[SeededCiphertext]) -> Vec<u8> {
    let mut w = Writer::with_capacity(d.input_bytes);
    cts.iter().for_each(|ct| ct.encode(&mut w));
    w.into_bytes()
}

/// The ciphertexts, all of one prime after the other.
pub(super) fn read_input(d: &Derived, body: &[u8]) -> Result<Vec<Vec<SeededCiphertext>>, Error> {
    let mut r = Reader::new(body);
    let mut all = Vec::with_capacity(d.contexts.len());
    for context in &d.contexts {
        let top = context.params().max_level();
        let factor = context.level_factor(top).map_err(|e| invalid("Input", &e))?;
        let one =
            |_| SeededCiphertext::decode(context, top, factor, &mut r).map_err(|e| invalid("Input", &e));
        all.push((0..d.circuit.input_vectors()).map(one).collect::<Result<_, _>>()?);
    }
    r.finish().map_err(Error::invalid("Input"))?;
    Ok(all)
}

pub(super) fn read_output(d: &Derived, body: &[u8]) -> Result<Vec<Reply>, Error> {
    let mut r = Reader::new(body);
    let mut all = Vec::with_capacity(d.contexts.len());
    for context in &d.contexts {
        let factor = reply_factor(d, context).map_err(|e| invalid("Output", &e))?;
        all.push(Reply::decode(context, factor, d.cut, &mut r).map_err(|e| invalid("Output", &e))?);
    }
    r.finish().map_err(Error::invalid("Output"))?;
    Ok(all)
}

/// The factor of a reply: that of the program's last level, after the switches that follow.
fn reply_factor(d: &Derived, context: &Context) -> Result<Factor, HeError> {
    let last = (context.params().max_level() + 1).saturating_sub(d.circuit.levels());
    (2..=last).rev().try_fold(context.level_factor(last)?, |f, level| context.after_switch(f, level))
}
