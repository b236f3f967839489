//! Fuzz harness of this module: one plain function per decoder, as in [`crate::fuzz`].

use super::{Flood, Params, ParamsLiteral, PublicKey, Reply, Ring, Upload};
use crate::fuzz::round_trip;
use oblivia_base::Digest;
use oblivia_base::codec::{Decode, Encode};
use std::sync::LazyLock;

/// Ciphertexts of the upload that is decoded.
pub const INPUTS: usize = 2;
/// Results of the reply that is decoded: odd, so that c0 ends within a byte.
pub const OUTPUTS: usize = 13;
/// Nonce and transcript of the session.
pub const NONCE: [u8; 32] = [5; 32];

static PARAMS: LazyLock<Option<Params>> = LazyLock::new(|| {
    let literal = ParamsLiteral { log_n: 11, q_bits: 43, k_bits: 25, share_bits: 17, drop_bits: [20, 14] };
    Params::new(&Ring::new(11).ok()?, literal).ok()
});

/// The widths everything is decoded for.
pub fn params() -> Option<&'static Params> {
    PARAMS.as_ref()
}

static FLOODED: LazyLock<Option<Params>> = LazyLock::new(|| {
    let flood = Flood { norm1: 640 * 127, results: OUTPUTS as u64 };
    Params::flooded(&Ring::two_primes(12, 43).ok()?, 26, 18, flood).ok()
});

/// The widths residues are decoded for.
pub fn flooded() -> Option<&'static Params> {
    FLOODED.as_ref()
}

/// The transcript of the session.
pub fn transcript() -> Digest {
    Digest([6; 32])
}

/// Widths; what is accepted goes through the checking constructor too.
pub fn literal(bytes: &[u8]) -> bool {
    if let (Ok(literal), Some(params)) = (ParamsLiteral::from_bytes(bytes), params())
        && let Ok(checked) = Params::new(params.ring(), literal)
    {
        let _ = (Upload::encoded_bytes(&checked, INPUTS), Reply::encoded_bytes(&checked, OUTPUTS));
    }
    round_trip(bytes, ParamsLiteral::decode, Encode::encode)
}

/// An upload.
pub fn upload(bytes: &[u8]) -> bool {
    let Some(params) = params() else { return false };
    round_trip(bytes, |r| Upload::decode(params, INPUTS, r), Upload::encode)
}

/// A reply.
pub fn reply(bytes: &[u8]) -> bool {
    let Some(params) = params() else { return false };
    round_trip(bytes, |r| Reply::decode(params, OUTPUTS, r), Reply::encode)
}

/// A public key.
pub fn public_key(bytes: &[u8]) -> bool {
    let Some(params) = params() else { return false };
    round_trip(bytes, |r| PublicKey::decode(params.ring(), &NONCE, &transcript(), r), PublicKey::encode)
}

/// An upload modulo two primes.
pub fn residue_upload(bytes: &[u8]) -> bool {
    let Some(params) = flooded() else { return false };
    round_trip(bytes, |r| Upload::decode(params, INPUTS, r), Upload::encode)
}

/// A public key modulo two primes.
pub fn residue_public_key(bytes: &[u8]) -> bool {
    let Some(params) = flooded() else { return false };
    round_trip(bytes, |r| PublicKey::decode(params.ring(), &NONCE, &transcript(), r), PublicKey::encode)
}
