//! The messages of `leveled`.
//!
//! ```text
//! client → server   KeysOffer   fingerprint of keys sent before, or none       (setup)
//! server → client   KeysAnswer  whether they are to be sent                    (setup)
//! client → server   Keys        evaluation keys, unless the server has them    (setup)
//! client → server   Input       seeded ciphertexts, one per input vector       (per sample)
//! server → client   Output      ciphertexts at the last level, one in most plans (per sample)
//! ```
//!
//! Every size follows from the plan.

use super::plan::{Derived, SYSTEM};
use crate::common::keys::{CkksKeys, KeyKinds, KeyTerms};
use oblivia_base::codec::{Reader, Writer};
use oblivia_he::{Ciphertext, HeError, Params, SeededCiphertext};
use oblivia_protocol::{Error, Kind, Plan};

const KEYS: Kind = Kind::System(0);
pub(super) const INPUT: Kind = Kind::System(1);
pub(super) const OUTPUT: Kind = Kind::System(2);
const KEYS_OFFER: Kind = Kind::System(3);
const KEYS_ANSWER: Kind = Kind::System(4);

/// The messages that bring keys to the server.
pub(super) fn key_kinds() -> KeyKinds {
    KeyKinds { offer: KEYS_OFFER, answer: KEYS_ANSWER, keys: KEYS }
}

/// What both sides need to bring the client's keys to the server.
pub(super) fn key_terms<'a>(d: &'a Derived, plan: &'a Plan) -> KeyTerms<'a, CkksKeys<'a>> {
    let maker = CkksKeys { params: &d.params, request: &d.keys };
    KeyTerms { system: SYSTEM, kinds: key_kinds(), plan, maker }
}

/// Bytes of the body of an input message.
pub(super) fn input_bytes(params: &Params, vectors: usize) -> Result<usize, HeError> {
    Ok(vectors * SeededCiphertext::encoded_bytes(params, params.max_level())?)
}

/// Bytes of the body of an output message.
pub(super) fn output_bytes(params: &Params, vectors: usize) -> Result<usize, HeError> {
    Ok(vectors * Ciphertext::encoded_bytes(params, 1)?)
}

pub(super) fn write_input(d: &Derived, cts: &[SeededCiphertext]) -> Vec<u8> {
    let mut w = Writer::with_capacity(d.input_bytes);
    cts.iter().for_each(|ct| ct.encode(&mut w));
    w.into_bytes()
}

pub(super) fn read_input(d: &Derived, body: &[u8]) -> Result<Vec<SeededCiphertext>, Error> {
    let mut r = Reader::new(body);
    let one = |r: &mut Reader<'_>| {
        SeededCiphertext::decode(&d.params, d.params.max_level(), d.circuit.input_scale().0, r)
            .map_err(|e| invalid("Input", &e))
    };
    let cts = (0..d.circuit.input_vectors()).map(|_| one(&mut r)).collect::<Result<Vec<_>, _>>()?;
    r.finish().map_err(Error::invalid("Input"))?;
    Ok(cts)
}

pub(super) fn read_output(d: &Derived, body: &[u8]) -> Result<Vec<Ciphertext>, Error> {
    let mut r = Reader::new(body);
    let one = |r: &mut Reader<'_>| {
        Ciphertext::decode(&d.params, 1, d.output_scale, r).map_err(|e| invalid("Output", &e))
    };
    let cts = (0..d.circuit.output_vectors()).map(|_| one(&mut r)).collect::<Result<Vec<_>, _>>()?;
    r.finish().map_err(Error::invalid("Output"))?;
    Ok(cts)
}

/// An error of `he` about bytes of the peer.
pub(super) fn invalid(message: &'static str, e: &HeError) -> Error {
    Error::InvalidMessage { message, why: e.to_string() }
}
