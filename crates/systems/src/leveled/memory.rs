//! What a server keeps of a plan.

use super::plan::{derive, primes};
use oblivia_he::{ExtendedPlaintext, Params};
use oblivia_nn::PublicModel;
use oblivia_pack::PlainUse;
use oblivia_protocol::{Choices, Error};

/// Memory for encoded plaintexts where the user names no limit.
pub(super) const MAX_PLAINTEXT_BYTES: u64 = 2 << 30;

/// Memory that encoded plaintexts take: packed, if one is of a matrix product, and then at most 8 bytes a coefficient if
/// deferred.
pub(super) fn kept_bytes(params: &Params, plains: &[PlainUse], deferred: bool) -> u64 {
    let one = |p: &PlainUse| match ExtendedPlaintext::memory_bytes(params, p.level) {
        _ if p.extended && deferred => params.n() * 8,
        Ok(packed) if p.extended => packed,
        _ => params.basis(p.level).map_or(0, |q| q.limbs()) * params.n() * 8,
    };
    plains.iter().map(|p| one(p) as u64).sum()
}

/// Rows of n words that the transforms of a prime read, at most: four, and as many again where there are vector kernels.
const CONSTANTS: usize = 8;

/// Bytes beside the residues of a plaintext: what says where it is used, what aligns it and keeps it from sharing a cache's
/// sets with others.
const BESIDE_PLAINTEXT: usize = 5 << 10;

/// Memory that a server keeps of a plan beside the residues of its plaintexts: the constants of the transforms, also where
/// they are made at the first use, what `plains` plaintexts take besides, and one polynomial per level to be used again,
/// as encoding on one thread leaves them.
pub(super) fn kept_beside(params: &Params, plains: usize) -> u64 {
    let row = params.n() * 8;
    let primes = primes(&params.literal().q) + primes(&params.literal().p);
    let levels = (1..=params.max_level()).filter_map(|level| params.extended_basis(level).ok());
    let again: usize = levels.map(|basis| basis.limbs()).sum();
    ((CONSTANTS * primes + again) * row + plains * BESIDE_PLAINTEXT) as u64
}

/// Memory that a server keeps for a plan. Scalars are counted as vectors, so plans with inputs from taps take less.
pub(super) fn prepared_bytes(model: &PublicModel, choices: &Choices) -> Result<u64, Error> {
    let d = derive(model, choices)?;
    Ok(kept_bytes(&d.params, &d.plains, d.deferred) + kept_beside(&d.params, d.plains.len()))
}
