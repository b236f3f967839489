//! Silent OT: hundreds of thousands to millions of correlated OTs out of some tens of thousands or more, for a few hundred
//! kilobytes.
//!
//! K. Yang, C. Weng, X. Lan, J. Zhang, X. Wang, *Ferret* (2020), with the trees of X. Guo et al., *Half-tree* (2023). A
//! round takes M = k + t·d + 128 COTs and makes N = t·2^d, the first of which are kept as the M of the next round:
//!
//! 1. t trees of 2^d leaves (module `tree`), of which the receiver misses one leaf each; the sum of a tree is Δ, so its
//!    leaves are COTs with one choice of 1 per tree. d COTs per tree say which leaf: their choices *are* the complement of
//!    its index.
//! 2. Bits of four COTs in a row are an element of GF(16) = GF(2)[α] / (α^4 + α + 1). Four leaves plus ten elements of the first k
//!    COTs times powers of α, chosen by a public matrix, are four outputs (sparse learning parity with noise, LPN: the choices
//!    look random; the assumption and the parameters are in [`LpnSet`]).
//! 3. The last 128 COTs hide the receiver's part of the check.
//!
//! ```text
//! sender   → receiver   digest of a coin ‖ for each tree and level c = (sum of the left children) ⊕ K
//! receiver → sender     nonce ‖ x = Σ_τ ψ^{τ+1}·χ^{α_τ+1} ⊕ Σ_i X^i·u_i
//! sender   → receiver   the coin ‖ digest of V = Σ_τ ψ^{τ+1} Σ_j χ^{j+1}·leaf_{τ,j} ⊕ Σ_i X^i·K_i ⊕ x·Δ
//! ```
//!
//! The receiver compares with the digest of the same sum over its leaves and tags. χ is one of sixteen trees, hashed from
//! their messages and all before, so that trees are summed while they are in the cache: errors that a tree's messages make
//! are a polynomial of χ, fixed before it, of degree 2^d at most. ψ is hashed from all messages, so that trees cannot be
//! played against one another. Who passes with wrong messages has guessed bits of some α_τ, and the guess may fail.
//!
//! The matrix of step 2 is hashed from the coin and the receiver's nonce, so neither party chooses it, and the receiver does not
//! know it before all it could have an influence on is fixed: [`crate::hash`] relies on that.
//!
//! Nothing long is stored: both parties grow the trees a second time, one by one, when outputs are taken.

mod feed;
mod params;
mod receiver;
mod sender;
mod tree;

pub use feed::{ReceiverFeed, SenderFeed};
pub use params::{LpnSet, TABLE_VERSION};
pub(crate) use receiver::ReceiverAwaitsDigest;
pub(crate) use sender::SenderAwaitsCheck;

use crate::kernel::{self, Cipher, LINE, Line, aligned};
use crate::label::low_block;
use crate::{Label, MpcError};
use oblivia_base::{Digest, Secret, Transcript};
use rayon::prelude::*;
use std::sync::Arc;

/// Bytes of the receiver's message.
pub const CHECK_BYTES: usize = 32;
/// Bytes of the sender's second message.
pub const DIGEST_BYTES: usize = COIN_BYTES + 32;
/// Bytes of a coin.
const COIN_BYTES: usize = 32;
/// COTs of a round that the check takes.
const MASKS: usize = 128;

/// What both parties of a round hash.
struct Round {
    label: Label,
    number: u32,
    set: LpnSet,
    all: Transcript,
}

impl Round {
    fn new(label: &Label, number: u32, set: LpnSet) -> Self {
        let mut all = label.transcript("silent round v4");
        all.absorb("number", &number.to_le_bytes());
        all.absorb("table", &TABLE_VERSION.to_le_bytes());
        all.absorb("set", &[set as u8]);
        Self { label: *label, number, set, all }
    }

    /// The permutation under the trees.
    fn tree_cipher(&self) -> Cipher {
        let mut t = self.label.transcript("silent trees v1");
        t.absorb("number", &self.number.to_le_bytes());
        Cipher::new(&low_block(&t.digest()).to_le_bytes())
    }

    /// Takes in the digest of the sender's coin.
    fn absorb_commitment(&mut self, digest: &Digest) {
        self.all.absorb("sender", &digest.0);
    }

    /// What the sender binds itself to before it knows the receiver's nonce.
    fn commitment(&self, coin: &[u8; COIN_BYTES]) -> Digest {
        let mut t = self.label.transcript("silent coin v1");
        t.absorb("number", &self.number.to_le_bytes());
        t.absorb("coin", coin);
        t.digest()
    }

    fn absorb_nonce(&mut self, nonce: &[u8; 16]) {
        self.all.absorb("receiver", nonce);
    }

    /// χ of the next trees, whose messages are `message`.
    fn of_group(&mut self, message: &[u8]) -> u128 {
        self.all.absorb("trees", message);
        low_block(&self.all.digest())
    }

    /// ψ, once all trees are in.
    fn of_all(&self) -> u128 {
        let mut t = self.all.clone();
        t.absorb("challenge", b"psi");
        low_block(&t.digest())
    }

    /// Digest of V.
    fn of_sum(&self, v: u128) -> Digest {
        let mut t = self.all.clone();
        t.absorb("sum", &v.to_le_bytes());
        t.digest()
    }

    /// The matrix of LPN.
    fn matrix(&self, coin: &[u8; COIN_BYTES]) -> Cipher {
        let mut t = self.all.clone();
        t.absorb("matrix", coin);
        Cipher::new(&low_block(&t.digest()).to_le_bytes())
    }
}

/// The COTs that a round starts from.
pub(crate) struct Base {
    set: LpnSet,
    table: Secret<Vec<Line>>,
    /// d for each tree, and those of the check.
    rest: Secret<Vec<u128>>,
}

impl Base {
    /// Asks `take` for [`LpnSet::base_cots`] COTs, some at a time.
    fn fill(set: LpnSet, mut take: impl FnMut(&mut [u128])) -> Self {
        let mut room = Secret::new([0; 128 * LINE]);
        let mut table = Secret::new(Vec::with_capacity(set.unknowns() / LINE));
        while table.expose().len() < set.unknowns() / LINE {
            take(room.expose_mut());
            table.expose_mut().extend(room.expose().as_chunks().0.iter().map(|line| Line(*line)));
        }
        let mut rest = Secret::new(vec![0; set.base_cots() - set.unknowns()]);
        take(rest.expose_mut());
        Self { set, table, rest }
    }

    /// These COTs.
    pub(crate) fn new(set: LpnSet, cots: &Secret<Vec<u128>>) -> Result<Self, MpcError> {
        let mut left = cots.expose().as_slice();
        if left.len() != set.base_cots() {
            let (found, expected) = (left.len() as u64, "LpnSet::base_cots");
            return Err(MpcError::Argument { what: "number of COTs a round starts from", found, expected });
        }
        Ok(Self::fill(set, |room| {
            let (taken, rest) = left.split_at(room.len());
            room.copy_from_slice(taken);
            left = rest;
        }))
    }
}

/// Trees that are grown at the same time, and have one challenge.
const AT_ONCE: usize = 16;

/// Rooms for as many trees.
fn rooms(depth: usize) -> Vec<Secret<Vec<u128>>> {
    (0..AT_ONCE).map(|_| Secret::new(vec![0; (1 << depth) + LINE])).collect()
}

/// Σ_j χ^{j+1}·leaf_j of the trees in the first `n` rooms.
fn polynomials(chi: u128, n: usize, rooms: &mut [Secret<Vec<u128>>], depth: usize) -> Secret<Vec<u128>> {
    let powers = kernel::powers(chi, 1 << depth);
    let of = |room: &mut Secret<Vec<u128>>| kernel::inner(&powers, aligned(room.expose_mut(), 1 << depth));
    Secret::new(rooms.par_iter_mut().take(n).map(of).collect())
}

/// The trees in these rooms.
fn in_rooms(rooms: &mut [Secret<Vec<u128>>], depth: usize) -> Vec<&mut [u128]> {
    rooms.iter_mut().map(|room| aligned(room.expose_mut(), 1 << depth)).collect()
}

/// Outputs of a round, tree by tree. Clones share what they are made from.
#[derive(Clone)]
pub(crate) struct Outputs(Arc<Sources>);

struct Sources {
    trees: tree::Trees,
    matrix: Cipher,
    table: Secret<Vec<Line>>,
    set: LpnSet,
}

impl std::fmt::Debug for Outputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outputs({:?})", self.0.set)
    }
}

impl Outputs {
    fn new(trees: tree::Trees, matrix: Cipher, table: Secret<Vec<Line>>, set: LpnSet) -> Self {
        Self(Arc::new(Sources { trees, matrix, table, set }))
    }

    /// Outputs of a tree.
    pub(crate) fn tree_len(&self) -> usize {
        1 << self.0.set.depth()
    }

    /// Outputs of all trees.
    pub(crate) fn len(&self) -> u64 {
        self.0.set.outputs() as u64
    }

    /// The leaves of tree `tree`, which must be there, into `leaves`, which must be as long.
    pub(crate) fn grow(&self, tree: usize, leaves: &mut [u128]) {
        self.0.trees.grow(tree, leaves);
    }

    /// Outputs first, first + 1, … of tree `tree`, of which these are the leaves.
    pub(crate) fn mix(&self, tree: usize, first: usize, leaves: &[u128], out: &mut [u128]) {
        self.0.matrix.lpn(tree as u64, first, self.0.table.expose(), leaves, out);
    }
}

#[cfg(test)]
mod tests;
