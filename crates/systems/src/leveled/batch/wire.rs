//! The messages of mode `batch`: those of [`super::super::messages`], input and output of a group in several.
//!
//! ```text
//! client → server   Input    seeded ciphertexts of the next elements, a sample per slot    (several per group)
//! server → client   Output   ciphertexts at the last level                                 (one or more per group)
//! ```
#![deny(clippy::indexing_slicing)]

use super::super::messages::{invalid, key_kinds};
use super::super::plan::SYSTEM;
use super::plan::Derived;
use crate::common::keys::{CkksKeys, KeyTerms};
use oblivia_base::codec::{Reader, Writer};
use oblivia_he::{Ciphertext, HeError, SeededCiphertext};
use oblivia_protocol::{Error, Plan};
use rayon::prelude::*;
use std::ops::Range;

/// What both sides need to bring the client's key to the server.
pub(super) fn key_terms<'a>(d: &'a Derived, plan: &'a Plan) -> KeyTerms<'a, CkksKeys<'a>> {
    let maker = CkksKeys { params: &d.params, request: &d.keys };
    KeyTerms { system: SYSTEM, kinds: key_kinds(), plan, maker }
}

/// How some ciphertexts are spread over messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Parts {
    /// Ciphertexts in all.
    pub(super) all: usize,
    /// Of a message; at least one.
    pub(super) each: usize,
    /// Bytes of one.
    pub(super) bytes: usize,
}

impl Parts {
    /// The ciphertexts of every message.
    pub(super) fn ranges(self) -> impl Iterator<Item = Range<usize>> {
        (0..self.all).step_by(self.each.max(1)).map(move |start| start..(start + self.each).min(self.all))
    }

    /// Number of messages.
    pub(super) fn count(self) -> usize {
        self.all.div_ceil(self.each.max(1))
    }

    /// Bytes of all bodies.
    pub(super) fn total_bytes(self) -> usize {
        self.all * self.bytes
    }

    /// Bytes of the longest body.
    pub(super) fn longest_bytes(self) -> usize {
        self.each.min(self.all) * self.bytes
    }
}

/// One ciphertext of an input message.
pub(super) fn write_input(d: &Derived, ct: &SeededCiphertext) -> Vec<u8> {
    let mut w = Writer::with_capacity(d.inputs.bytes);
    ct.encode(&mut w);
    w.into_bytes()
}

/// The `count` ciphertexts of an input message, on the threads of the current pool; `then` is done with each of them.
pub(super) fn read_input<T: Send>(
    d: &Derived,
    count: usize,
    body: &[u8],
    then: impl Fn(SeededCiphertext) -> Result<T, HeError> + Sync,
) -> Result<Vec<T>, Error> {
    let (level, scale) = (d.params.max_level(), d.program.input_scale().0);
    let one = |bytes: &[u8]| {
        let mut r = Reader::new(bytes);
        let ct = SeededCiphertext::decode(&d.params, level, scale, &mut r);
        let ct = ct.map_err(|e| invalid("Input", &e))?;
        r.finish().map_err(Error::invalid("Input"))?;
        then(ct).map_err(|e| invalid("Input", &e))
    };
    if body.len() != count.saturating_mul(d.inputs.bytes) {
        let why = format!("{} bytes are not {count} ciphertexts", body.len());
        return Err(Error::InvalidMessage { message: "Input", why });
    }
    body.par_chunks(d.inputs.bytes.max(1)).map(one).collect()
}

pub(super) fn write_output(d: &Derived, cts: &[Ciphertext]) -> Vec<u8> {
    let mut w = Writer::with_capacity(cts.len() * d.outputs.bytes);
    cts.iter().for_each(|ct| ct.encode(&mut w));
    w.into_bytes()
}

/// The `count` ciphertexts of an output message.
pub(super) fn read_output(d: &Derived, count: usize, body: &[u8]) -> Result<Vec<Ciphertext>, Error> {
    let mut r = Reader::new(body);
    let one = |r: &mut Reader<'_>| {
        Ciphertext::decode(&d.params, 1, d.output_scale, r).map_err(|e| invalid("Output", &e))
    };
    let cts = (0..count).map(|_| one(&mut r)).collect::<Result<Vec<_>, _>>()?;
    r.finish().map_err(Error::invalid("Output"))?;
    Ok(cts)
}
