//! Fuzz harness: one plain function per decoder.
//!
//! Each takes any bytes. It must not panic, and whatever is accepted must encode to the same bytes again.

use crate::bfv::{self, Context, ContextLiteral, Factor};
use crate::{
    Ciphertext, EvaluationKeys, KeyRequest, Moduli, Params, ParamsLiteral, PublicKey, SeededCiphertext,
    security,
};
use oblivia_base::codec::{Decode, Encode, Reader, Writer};
use oblivia_ring::RingKind;
use std::sync::LazyLock;

/// The label everything is decoded under.
pub const LABEL: &[u8] = b"fuzz";
/// Level and scale that ciphertexts are expected to have.
pub const LEVEL: usize = 1;
/// See [`LEVEL`].
pub const SCALE: f64 = 1024.0;

static PARAMS: LazyLock<Option<Params>> = LazyLock::new(|| {
    Params::new(&ParamsLiteral {
        kind: RingKind::ConjugateInvariant,
        log_n: 11,
        q: Moduli::Bits(vec![20]),
        p: Moduli::Bits(vec![24]),
        alpha: 1,
        levels: Vec::new(),
    })
    .ok()
});

/// The parameters everything is decoded for: dimension 2048, one prime.
pub fn params() -> Option<&'static Params> {
    PARAMS.as_ref()
}

/// The request evaluation keys are expected to answer.
pub fn request() -> KeyRequest {
    let mut request = KeyRequest::new();
    request.need_relin(LEVEL);
    request.need_rotation(3, LEVEL);
    request
}

/// Decodes, encodes, and compares. `false` if the bytes were refused.
pub(crate) fn round_trip<T, E>(
    bytes: &[u8],
    decode: impl FnOnce(&mut Reader<'_>) -> Result<T, E>,
    encode: impl FnOnce(&T, &mut Writer),
) -> bool {
    let mut r = Reader::new(bytes);
    let Ok(value) = decode(&mut r) else { return false };
    let read = bytes.len() - r.remaining();
    let mut w = Writer::new();
    encode(&value, &mut w);
    assert!(bytes.get(..read) == Some(w.into_bytes().as_slice()), "accepted a second encoding of one value");
    true
}

/// A parameter literal; what is accepted goes through the checking constructor too, whatever its dimension: no
/// parameters come out of it that are above the security table.
pub fn params_literal(bytes: &[u8]) -> bool {
    if let Ok(literal) = ParamsLiteral::from_bytes(bytes)
        && let Ok(params) = Params::new(&literal)
    {
        within_table(&params);
    }
    round_trip(bytes, ParamsLiteral::decode, Encode::encode)
}

/// The check of the constructor once more, by a sum of logarithms.
fn within_table(params: &Params) {
    let most = security::max_log_qp(params.n()).unwrap_or(0);
    assert!(params.log_qp() < f64::from(most) + 1e-6, "parameters above the security table");
}

/// A key request, with the size and the checks a peer's request goes through.
pub fn key_request(bytes: &[u8]) -> bool {
    if let (Ok(request), Some(params)) = (KeyRequest::from_bytes(bytes), params()) {
        let _ = (request.check(params), request.encoded_bytes(params));
    }
    round_trip(bytes, KeyRequest::decode, Encode::encode)
}

/// A whole ciphertext.
pub fn ciphertext(bytes: &[u8]) -> bool {
    let Some(params) = params() else { return false };
    round_trip(bytes, |r| Ciphertext::decode(params, LEVEL, SCALE, r), Ciphertext::encode)
}

/// A seeded ciphertext.
pub fn seeded_ciphertext(bytes: &[u8]) -> bool {
    let Some(params) = params() else { return false };
    round_trip(
        bytes,
        |r| {
            let ct = SeededCiphertext::decode(params, LEVEL, SCALE, r)?;
            ct.expand(params, LABEL).map(|_| ct)
        },
        SeededCiphertext::encode,
    )
}

/// A public key.
pub fn public_key(bytes: &[u8]) -> bool {
    let Some(params) = params() else { return false };
    round_trip(bytes, |r| PublicKey::decode(params, LABEL, r), PublicKey::encode)
}

/// Evaluation keys.
pub fn evaluation_keys(bytes: &[u8]) -> bool {
    let Some(params) = params() else { return false };
    round_trip(bytes, |r| EvaluationKeys::decode(params, &request(), LABEL, r), EvaluationKeys::encode)
}

// ------------------------------------------------------------ exact arithmetic

static CONTEXT: LazyLock<Option<Context>> = LazyLock::new(|| {
    let contexts = Context::all(&ContextLiteral {
        params: ParamsLiteral {
            kind: RingKind::Standard,
            log_n: 11,
            q: Moduli::Bits(vec![24]),
            p: Moduli::Bits(vec![28]),
            alpha: 1,
            levels: Vec::new(),
        },
        t: Moduli::Bits(vec![14]),
    });
    contexts.ok()?.pop()
});

/// The context everything exact is decoded for: dimension 2048, one prime.
pub fn context() -> Option<&'static Context> {
    CONTEXT.as_ref()
}

/// The request exact evaluation keys are expected to answer.
pub fn exact_request() -> KeyRequest {
    let mut request = request();
    if let Some(context) = context() {
        request.need_row_swap(context.params(), 0, LEVEL);
    }
    request
}

/// Bits cut from either half of a reply.
pub const CUT: [u32; 2] = [5, 1];

/// As [`params_literal`], of exact parameters.
pub fn exact_literal(bytes: &[u8]) -> bool {
    if let Ok(literal) = ContextLiteral::from_bytes(bytes)
        && let Ok(contexts) = Context::all(&literal)
    {
        contexts.iter().for_each(|c| within_table(c.params()));
    }
    round_trip(bytes, ContextLiteral::decode, Encode::encode)
}

/// A whole exact ciphertext.
pub fn exact_ciphertext(bytes: &[u8]) -> bool {
    let Some(context) = context() else { return false };
    let decode = |r: &mut Reader<'_>| bfv::Ciphertext::decode(context, LEVEL, Factor::ONE, r);
    round_trip(bytes, decode, bfv::Ciphertext::encode)
}

/// A seeded exact ciphertext.
pub fn exact_seeded_ciphertext(bytes: &[u8]) -> bool {
    let Some(context) = context() else { return false };
    let decode = |r: &mut Reader<'_>| {
        let ct = bfv::SeededCiphertext::decode(context, LEVEL, Factor::ONE, r)?;
        ct.expand(context, LABEL).map(|_| ct)
    };
    round_trip(bytes, decode, bfv::SeededCiphertext::encode)
}

/// An exact public key.
pub fn exact_public_key(bytes: &[u8]) -> bool {
    let Some(context) = context() else { return false };
    round_trip(bytes, |r| bfv::PublicKey::decode(context, LABEL, r), bfv::PublicKey::encode)
}

/// Exact evaluation keys.
pub fn exact_evaluation_keys(bytes: &[u8]) -> bool {
    let Some(context) = context() else { return false };
    let decode = |r: &mut Reader<'_>| bfv::EvaluationKeys::decode(context, &exact_request(), LABEL, r);
    round_trip(bytes, decode, bfv::EvaluationKeys::encode)
}

/// A reply.
pub fn exact_reply(bytes: &[u8]) -> bool {
    let Some(context) = context() else { return false };
    let decode = |r: &mut Reader<'_>| bfv::Reply::decode(context, Factor::ONE, CUT, r);
    round_trip(bytes, decode, bfv::Reply::encode)
}
