#![deny(clippy::indexing_slicing)]

use super::tree::{self, TOGETHER, Trees};
use super::{
    AT_ONCE, Base, CHECK_BYTES, COIN_BYTES, DIGEST_BYTES, Outputs, Round, in_rooms, polynomials, rooms,
};
use crate::kernel::{self, Line, packed};
use crate::{Label, MpcError};
use oblivia_base::Secret;
use oblivia_base::codec::{Reader, Writer};
use oblivia_base::seed::EntropySource;
use rayon::prelude::*;

/// The sender of a round, waiting for the receiver's part of the check.
pub(crate) struct SenderAwaitsCheck {
    round: Round,
    coin: Secret<[u8; COIN_BYTES]>,
    trees: Trees,
    delta: Secret<u128>,
    table: Secret<Vec<Line>>,
    /// Σ_j χ^{j+1}·leaf_{τ,j} of every tree.
    sums: Secret<Vec<u128>>,
    /// Σ_i X^i·K_i.
    masks: Secret<u128>,
}

/// Roots and keys of some trees, and rooms for them.
type Job<'a> = ((&'a [u128], &'a [u128]), &'a mut [Secret<Vec<u128>>]);

impl SenderAwaitsCheck {
    /// Round number `number` of this label: takes the keys `base` and makes the first message,
    /// [`LpnSet::message_bytes`] long. Numbers must not repeat.
    pub(crate) fn start(
        label: &Label,
        number: u32,
        delta: &Secret<u128>,
        base: Base,
        rng: &mut dyn EntropySource,
    ) -> (Self, Vec<u8>) {
        let Base { set, table, rest } = base;
        let mut round = Round::new(label, number, set);
        let (trees, depth, delta) = (set.trees(), set.depth(), *delta.expose());
        let (levels, masks) = rest.expose().split_at(trees * depth);
        let mut message = Writer::with_capacity(set.message_bytes());
        let mut block = || {
            let mut bytes = [0; 16];
            rng.fill_bytes(&mut bytes);
            bytes
        };
        let mut coin = Secret::new([0; COIN_BYTES]);
        coin.expose_mut().as_chunks_mut().0.iter_mut().for_each(|half| *half = block());
        let commitment = round.commitment(coin.expose());
        message.raw(&commitment.0);
        round.absorb_commitment(&commitment);
        let cipher = round.tree_cipher();
        let mut roots = Secret::new(Vec::with_capacity(trees));
        let mut sums = Secret::new(Vec::with_capacity(trees));
        let mut rooms = rooms(depth);
        for keys in levels.chunks(depth * AT_ONCE) {
            let n = keys.len() / depth;
            let of_group: Secret<Vec<u128>> =
                Secret::new((0..n).map(|_| u128::from_le_bytes(block())).collect());
            roots.expose_mut().extend(of_group.expose());
            let grow = |((roots, keys), rooms): Job<'_>| {
                let mut of_trees = keys.to_vec();
                let mut trees = in_rooms(rooms, depth);
                trees.truncate(roots.len());
                tree::grow(&cipher, roots, delta, &mut trees, |tree, level, sum| {
                    if let Some(c) = of_trees.get_mut(tree * depth + level) {
                        *c ^= sum;
                    }
                });
                of_trees
            };
            let jobs = of_group.expose().par_chunks(TOGETHER).zip(keys.par_chunks(depth * TOGETHER));
            let grown: Vec<Vec<u128>> = jobs.zip(rooms.par_chunks_mut(TOGETHER)).map(grow).collect();
            let mut of_trees = Writer::with_capacity(16 * keys.len());
            grown.iter().flatten().for_each(|c| of_trees.raw(&c.to_le_bytes()));
            let of_trees = of_trees.into_bytes();
            message.raw(&of_trees);
            let chi = round.of_group(&of_trees);
            sums.expose_mut().extend(polynomials(chi, n, &mut rooms, depth).expose());
        }
        let masks = Secret::new(packed(masks));
        let trees = Trees::Whole { cipher, roots, delta: Secret::new(delta) };
        (Self { round, coin, trees, delta: Secret::new(delta), table, sums, masks }, message.into_bytes())
    }

    /// Takes the receiver's message: the outputs of the round, and the last message.
    ///
    /// # Errors
    /// [`MpcError::MessageBytes`].
    pub(crate) fn finish(self, message: &[u8]) -> Result<(Outputs, Vec<u8>), MpcError> {
        let Self { mut round, coin, trees, delta, table, sums, masks } = self;
        MpcError::check_bytes("check of a silent round", message, CHECK_BYTES)?;
        let mut r = Reader::new(message);
        let nonce = r.array("nonce")?;
        let x = u128::from_le_bytes(r.array("sum of the check")?);
        r.finish()?;
        let sum = kernel::polynomial(round.of_all(), sums.expose());
        let v = Secret::new(sum ^ masks.expose() ^ kernel::times(x, *delta.expose()));
        round.absorb_nonce(&nonce);
        let mut message = Writer::with_capacity(DIGEST_BYTES);
        message.raw(coin.expose());
        message.raw(&round.of_sum(*v.expose()).0);
        let outputs = Outputs::new(trees, round.matrix(coin.expose()), table, round.set);
        Ok((outputs, message.into_bytes()))
    }
}

impl std::fmt::Debug for SenderAwaitsCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SenderAwaitsCheck({:?})", self.round.set)
    }
}
