//! Ciphertexts in messages of `leveled`.
#![allow(dead_code, clippy::unwrap_used, reason = "test support, of which each binary uses a part")]

use oblivia_base::codec::{Decode, Reader};
use oblivia_conformance::{Case, over_memory};
use oblivia_he::{Params, ParamsLiteral};
use oblivia_protocol::{Direction, Kind, LoggedMessage};
use oblivia_ring::{Coeff, Ntt, Poly, packing};

/// Messages with input ciphertexts.
pub(crate) const INPUT: Kind = Kind::System(1);
/// Bytes of a ciphertext in front of its seed or residues: parameter id, level, scale.
pub(crate) const HEAD: usize = 41;

/// The parameters of the plan of `case`, which choices begin with.
pub(crate) fn params(case: &Case) -> Params {
    let choices = over_memory(case, 11).unwrap().client.receipt.plan.choices;
    Params::new(&ParamsLiteral::decode(&mut Reader::new(&choices.bytes)).unwrap()).unwrap()
}

/// Share of coefficients of the bottom limb that are below a quarter of the modulus in absolute value. Half of
/// them are if the polynomial is uniform; nearly all if it is a message that lacks its mask.
pub(crate) fn small_share(x: Poly<Ntt>) -> f64 {
    let q = *x.basis().modulus(0);
    let x: Poly<Coeff> = x.into_coeff();
    let small = x.row(0).iter().filter(|&&v| q.centre(v).unsigned_abs() < q.value() / 4).count();
    small as f64 / x.n() as f64
}

/// That a share is the one of 8192 fair coins, whose standard deviation is 0.0055.
pub(crate) fn is_half(share: f64) -> bool {
    (share - 0.5).abs() < 6.0 * 0.0055
}

/// Seed and masked half of every input ciphertext.
pub(crate) fn uploads(params: &Params, log: &[LoggedMessage]) -> Vec<([u8; 32], Poly<Ntt>)> {
    let basis = params.basis(params.max_level()).unwrap();
    let bytes = HEAD + 32 + packing::poly_bytes(basis);
    let inputs = log.iter().filter(|m| m.kind == INPUT && m.direction == Direction::Up);
    inputs
        .flat_map(|m| {
            assert_eq!(m.body.len() % bytes, 0, "whole ciphertexts");
            m.body.chunks(bytes)
        })
        .map(|ct| {
            let mut r = Reader::new(&ct[HEAD..]);
            let seed = r.array("seed").unwrap();
            (seed, packing::read_poly(basis, &mut r).unwrap())
        })
        .collect()
}
