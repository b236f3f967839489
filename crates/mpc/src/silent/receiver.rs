#![deny(clippy::indexing_slicing)]

use super::tree::{self, TOGETHER, Trees};
use super::{AT_ONCE, Base, DIGEST_BYTES, MASKS, Outputs, Round, in_rooms, polynomials, rooms};
use crate::kernel::{self, Line, packed};
use crate::{Label, MpcError};
use oblivia_base::codec::{Reader, Writer};
use oblivia_base::seed::EntropySource;
use oblivia_base::{Digest, Secret};
use rayon::prelude::*;

/// The receiver of a round, waiting for the sender's part of the check. Until then no output exists.
pub(crate) struct ReceiverAwaitsDigest {
    round: Round,
    commitment: Digest,
    expected: Digest,
    pub(super) trees: Trees,
    table: Secret<Vec<Line>>,
}

/// Tags, sums and known blocks of some trees, and rooms for them.
type Job<'a> = (((&'a [u128], &'a [[u8; 16]]), &'a mut [u128]), &'a mut [Secret<Vec<u128>>]);

impl ReceiverAwaitsDigest {
    /// Round number `number` of this label: takes the tags `base` and the sender's first message,
    /// and makes the answer, [`super::CHECK_BYTES`] long.
    ///
    /// # Errors
    /// [`MpcError::MessageBytes`].
    pub(crate) fn start(
        label: &Label,
        number: u32,
        base: Base,
        message: &[u8],
        rng: &mut dyn EntropySource,
    ) -> Result<(Self, Vec<u8>), MpcError> {
        let Base { set, table, rest } = base;
        let mut round = Round::new(label, number, set);
        MpcError::check_bytes("trees of a silent round", message, set.message_bytes())?;
        let (trees, depth) = (set.trees(), set.depth());
        let (levels, masks) = rest.expose().split_at(trees * depth);
        let mut r = Reader::new(message);
        let commitment = Digest(r.array("digest of the coin")?);
        round.absorb_commitment(&commitment);
        let cipher = round.tree_cipher();
        let mut points = Secret::new(Vec::with_capacity(trees));
        let mut blocks = Secret::new(vec![0; trees * (depth + 1)]);
        let mut sums = Secret::new(Vec::with_capacity(trees));
        let mut chis = Vec::with_capacity(trees);
        let mut rooms = rooms(depth);
        let groups = blocks.expose_mut().chunks_mut((depth + 1) * AT_ONCE);
        for (tags, blocks) in levels.chunks(depth * AT_ONCE).zip(groups) {
            let n = tags.len() / depth;
            let of_trees = r.raw(16 * tags.len(), "sums of trees")?;
            let puncture = |(((tags, sums), blocks), rooms): Job<'_>| {
                let mut corrections = Secret::new(vec![0; tags.len()]);
                for ((c, tag), sum) in corrections.expose_mut().iter_mut().zip(tags).zip(sums) {
                    *c = tag ^ u128::from_le_bytes(*sum);
                }
                let point = |tags: &[u128]| {
                    tags.iter().rev().fold(0, |point, tag| point << 1 | u32::from(tag & 1 == 0))
                };
                let points = Secret::new(tags.chunks_exact(depth).map(point).collect::<Vec<u32>>());
                let mut trees = in_rooms(rooms, depth);
                trees.truncate(points.expose().len());
                tree::puncture(&cipher, points.expose(), corrections.expose(), blocks, &mut trees);
                points
            };
            let jobs = tags
                .par_chunks(depth * TOGETHER)
                .zip(of_trees.as_chunks::<16>().0.par_chunks(depth * TOGETHER));
            let jobs = jobs.zip(blocks.par_chunks_mut((depth + 1) * TOGETHER));
            let found: Vec<Secret<Vec<u32>>> =
                jobs.zip(rooms.par_chunks_mut(TOGETHER)).map(puncture).collect();
            found.iter().for_each(|of_job| points.expose_mut().extend(of_job.expose()));
            let chi = round.of_group(of_trees);
            sums.expose_mut().extend(polynomials(chi, n, &mut rooms, depth).expose());
            chis.extend(std::iter::repeat_n(chi, n));
        }
        r.finish()?;
        let choices: [u128; MASKS] = std::array::from_fn(|i| masks.get(i).map_or(0, |t| t & 1));
        let psi = round.of_all();
        // χ^{α_τ + 1}; the exponent may be 2^d.
        let exponents = Secret::new(points.expose().iter().map(|p| p + 1).collect::<Vec<u32>>());
        let powers = Secret::new(kernel::raise(&chis, exponents.expose(), depth as u32 + 1));
        let x = kernel::polynomial(psi, powers.expose()) ^ packed(&choices);
        let v = Secret::new(kernel::polynomial(psi, sums.expose()) ^ packed(masks));
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        round.absorb_nonce(&nonce);
        let mut answer = Writer::new();
        answer.raw(&nonce);
        answer.raw(&x.to_le_bytes());
        let expected = round.of_sum(*v.expose());
        let trees = Trees::Punctured { cipher, points, blocks };
        Ok((Self { round, commitment, expected, trees, table }, answer.into_bytes()))
    }

    /// Takes the sender's last message: the outputs of the round.
    ///
    /// # Errors
    /// [`MpcError::MessageBytes`], and [`MpcError::Check`] if the sender's trees do not fit; bits of the base COTs'
    /// choices may be known to the sender then, and nothing of the label may be used any more.
    pub(crate) fn finish(self, message: &[u8]) -> Result<Outputs, MpcError> {
        MpcError::check_bytes("digest of a silent round", message, DIGEST_BYTES)?;
        let mut r = Reader::new(message);
        let coin = r.array("coin")?;
        let found = Digest(r.array("digest")?);
        r.finish()?;
        let Self { round, commitment, expected, trees, table } = self;
        if found != expected || round.commitment(&coin) != commitment {
            return Err(MpcError::Check { what: "check of the silent round" });
        }
        Ok(Outputs::new(trees, round.matrix(&coin), table, round.set))
    }
}

impl std::fmt::Debug for ReceiverAwaitsDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReceiverAwaitsDigest(..)")
    }
}
