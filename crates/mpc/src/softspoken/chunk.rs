//! What both parties do with the streams of a chunk of columns. Nothing here reads a message.

use super::FieldBits;
use crate::kernel::{self, COLUMNS, Cipher};
use oblivia_base::Secret;

/// Blocks of 128 columns of a full chunk.
pub(super) const BLOCKS: usize = COLUMNS / 128;
/// Rows of a chunk: one per bit of Δ.
pub(super) const ROWS: usize = 128;

/// The streams of all leaves, and the rows made of them.
pub(super) struct Streams {
    pub(super) field: FieldBits,
    leaves: Vec<Cipher>,
    /// All ones for each known leaf, 0 for the others, if there are others.
    known: Option<Secret<Vec<u128>>>,
    /// Blocks that every stream has given.
    pub(super) position: u64,
    /// A chunk per leaf of one tree.
    scratch: Secret<Vec<u128>>,
    /// [`ROWS`] rows of [`BLOCKS`] blocks.
    rows: Secret<Vec<u128>>,
}

impl Streams {
    pub(super) fn new(field: FieldBits, seeds: &[u128], known: Option<Secret<Vec<u128>>>) -> Self {
        Self {
            field,
            leaves: seeds.iter().map(|s| Cipher::new(&s.to_le_bytes())).collect(),
            known,
            position: 0,
            scratch: Secret::new(vec![0; BLOCKS << field.bits()]),
            rows: Secret::new(vec![0; COLUMNS]),
        }
    }

    /// Of the next `blocks` blocks of the streams r_x of tree `tree`, over the known leaves: ⊕_x r_x, returned, and
    /// ⊕_{x: x_b = 1} r_x, which becomes row b of the tree.
    pub(super) fn sum_tree(&mut self, tree: usize, blocks: usize) -> &[u128] {
        let k = self.field.bits();
        let scratch = self.scratch.expose_mut();
        let leaves = tree << k..(tree + 1) << k;
        for (leaf, out) in leaves.zip(scratch.chunks_exact_mut(BLOCKS)) {
            let known = self.known.as_ref().map_or(u128::MAX, |known| known.expose()[leaf]);
            self.leaves[leaf].counter(0, self.position, known, &mut out[..blocks]);
        }
        let rows = &mut self.rows.expose_mut()[tree * k * BLOCKS..(tree + 1) * k * BLOCKS];
        kernel::sum_by_index_bits(BLOCKS, scratch, rows);
        &self.scratch.expose()[..blocks]
    }

    /// Row b of tree `tree`, the blocks in use, and the sum over the tree as [`Streams::sum_tree`] has left it.
    pub(super) fn row_and_sum(&mut self, tree: usize, b: usize, blocks: usize) -> (&mut [u128], &[u128]) {
        let at = (tree * self.field.bits() + b) * BLOCKS;
        (&mut self.rows.expose_mut()[at..at + blocks], &self.scratch.expose()[..blocks])
    }

    /// Σ_c χ^{c+1}·row[c] of all rows, over as many blocks as there are powers.
    pub(super) fn hash_rows(&self, powers: &[u128]) -> [u128; ROWS] {
        let rows = self.rows.expose();
        std::array::from_fn(|r| kernel::inner(powers, &rows[r * BLOCKS..(r + 1) * BLOCKS]))
    }

    /// Block `at` of all rows.
    pub(super) fn column_block(&self, at: usize) -> [u128; ROWS] {
        let rows = self.rows.expose();
        std::array::from_fn(|r| rows[r * BLOCKS + at])
    }

    /// Replaces row 0; the first `columns` columns.
    pub(super) fn transposed(&mut self, row_0: &[u128], columns: usize) -> Secret<Vec<u128>> {
        self.rows.expose_mut()[..row_0.len()].copy_from_slice(row_0);
        let mut all = Secret::new(vec![0; COLUMNS]);
        kernel::transpose(self.rows.expose(), all.expose_mut());
        if columns < COLUMNS {
            return Secret::new(all.expose()[..columns].to_vec());
        }
        all
    }
}

/// χ, χ^2, …, one for each of `n` blocks.
pub(super) fn powers(challenge: u128, n: usize) -> Vec<u128> {
    std::iter::successors(Some(challenge), |p| Some(kernel::times(*p, challenge))).take(n).collect()
}

/// Hashes of rows chunk by chunk, summed up with powers of the challenge on the whole batch, and the last block.
pub(super) struct RowHashes(pub(super) Vec<[u128; ROWS]>);

impl RowHashes {
    pub(super) fn sum(&self, outer: u128, last: &[u128; ROWS]) -> [u128; ROWS] {
        let mut sums = [0; ROWS];
        for chunk in self.0.iter().rev() {
            for (sum, hash) in sums.iter_mut().zip(chunk) {
                *sum = kernel::times(*sum ^ hash, outer);
            }
        }
        std::array::from_fn(|r| sums[r] ^ last[r])
    }
}
