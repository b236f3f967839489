#![deny(clippy::indexing_slicing)]

use super::tree::{self, Trees};
use super::{AT_ONCE, CHECK_BYTES, LpnSet, Outputs, Round, polynomials, rooms};
use crate::kernel::{self, aligned, packed};
use crate::{Label, MpcError};
use oblivia_base::Secret;
use oblivia_base::codec::{Reader, Writer};
use oblivia_base::seed::EntropySource;
use rayon::prelude::*;

/// The sender of a round, waiting for the receiver's part of the check.
pub struct SenderAwaitsCheck {
    round: Round,
    trees: Trees,
    delta: Secret<u128>,
    table: Secret<Vec<u128>>,
    /// Σ_j χ_τ^{j+1}·leaf_{τ,j} of every tree.
    sums: Secret<Vec<u128>>,
    /// Σ_i X^i·K_i.
    masks: Secret<u128>,
}

impl SenderAwaitsCheck {
    /// Round number `number` of this label: takes the keys of [`LpnSet::base_cots`] COTs and makes the first message,
    /// [`LpnSet::message_bytes`] long. Numbers must not repeat.
    ///
    /// # Errors
    /// [`MpcError::Argument`] if the number of COTs is another.
    pub fn start(
        label: &Label,
        number: u32,
        set: LpnSet,
        delta: &Secret<u128>,
        base: Secret<Vec<u128>>,
        rng: &mut dyn EntropySource,
    ) -> Result<(Self, Vec<u8>), MpcError> {
        let mut round = Round::new(label, number, set);
        round.check_base(&base)?;
        let (trees, depth, delta) = (set.trees(), set.depth(), *delta.expose());
        let (_, rest) = base.expose().split_at(1 << set.log_table());
        let (levels, masks) = rest.split_at(trees * depth);
        let mut message = Writer::with_capacity(set.message_bytes());
        let mut block = || {
            let mut bytes = [0; 16];
            rng.fill_bytes(&mut bytes);
            bytes
        };
        let nonce = block();
        message.raw(&nonce);
        round.absorb_nonce("sender", &nonce);
        let cipher = round.tree_cipher();
        let mut roots = Secret::new(Vec::with_capacity(trees));
        let mut sums = Secret::new(Vec::with_capacity(trees));
        let mut rooms = rooms(depth);
        for group in levels.chunks(depth * AT_ONCE) {
            let keys: Vec<&[u128]> = group.chunks_exact(depth).collect();
            let of_group: Secret<Vec<u128>> =
                Secret::new(keys.iter().map(|_| u128::from_le_bytes(block())).collect());
            roots.expose_mut().extend(of_group.expose());
            // What a tree's challenge is hashed from is in order; growing and summing up are not.
            let grow = |((root, keys), room): ((&u128, &&[u128]), &mut Secret<Vec<u128>>)| {
                let mut of_tree = Writer::with_capacity(16 * depth);
                let mut keys = keys.iter();
                tree::grow(&cipher, *root, delta, aligned(room.expose_mut(), 1 << depth), |sum| {
                    of_tree.raw(&(sum ^ keys.next().copied().unwrap_or(0)).to_le_bytes());
                });
                of_tree.into_bytes()
            };
            let grown: Vec<Vec<u8>> =
                of_group.expose().par_iter().zip(&keys).zip(rooms.par_iter_mut()).map(grow).collect();
            let challenge = |of_tree: &Vec<u8>| {
                message.raw(of_tree);
                round.of_tree(of_tree)
            };
            let chis: Vec<u128> = grown.iter().map(challenge).collect();
            sums.expose_mut().extend(polynomials(&chis, &mut rooms, depth).expose());
        }
        let masks = Secret::new(packed(masks));
        let mut table = base;
        table.expose_mut().truncate(1 << set.log_table());
        let trees = Trees::Whole { cipher, roots, delta: Secret::new(delta) };
        Ok((Self { round, trees, delta: Secret::new(delta), table, sums, masks }, message.into_bytes()))
    }

    /// Takes the receiver's message: the outputs of the round, and the last message.
    ///
    /// # Errors
    /// [`MpcError::MessageBytes`].
    pub fn finish(self, message: &[u8]) -> Result<(SenderRound, Vec<u8>), MpcError> {
        let Self { mut round, trees, delta, table, sums, masks } = self;
        MpcError::check_bytes("check of a silent round", message, CHECK_BYTES)?;
        let mut r = Reader::new(message);
        let nonce = r.array("nonce")?;
        let x = u128::from_le_bytes(r.array("sum of the check")?);
        r.finish()?;
        let sum = kernel::polynomial(round.of_all(), sums.expose());
        let v = Secret::new(sum ^ masks.expose() ^ kernel::times(x, *delta.expose()));
        round.absorb_nonce("receiver", &nonce);
        let digest = round.of_sum(*v.expose()).0.to_vec();
        let outputs = Outputs::new(trees, round.matrix(), table, round.set);
        Ok((SenderRound(outputs), digest))
    }
}

/// Outputs of a round at the sender: keys, tree by tree.
pub struct SenderRound(pub(crate) Outputs);

impl std::fmt::Debug for SenderAwaitsCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SenderAwaitsCheck({:?})", self.round.set)
    }
}

impl std::fmt::Debug for SenderRound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SenderRound({} left)", self.0.len())
    }
}
