//! What both parties do with the streams of a chunk of columns. Nothing here reads a message.

use super::FieldBits;
use crate::kernel::{self, BLOCKS, Cipher, LINE, ROWS, STRIDE, aligned};
use oblivia_base::Secret;

/// Blocks of all rows with the room between them.
const TABLE: usize = ROWS * STRIDE;

/// The streams of all leaves, and the rows made of them.
pub(super) struct Streams {
    pub(super) field: FieldBits,
    leaves: Vec<Cipher>,
    /// Blocks that every stream has given.
    pub(super) position: u64,
    /// The sum of all leaves of one tree.
    sum: Secret<Vec<u128>>,
    /// [`ROWS`] rows of [`BLOCKS`] blocks, the first blocks [`STRIDE`] apart.
    rows: Secret<Vec<u128>>,
    /// Some transposed columns.
    columns: Secret<Vec<u128>>,
    /// Room for the columns of the chunk.
    chunk: Secret<Vec<u128>>,
}

impl Streams {
    pub(super) fn new(field: FieldBits, seeds: &[u128]) -> Self {
        let room = |n: usize| Secret::new(vec![0; n + LINE]);
        Self {
            field,
            leaves: seeds.iter().map(|s| Cipher::new(&s.to_le_bytes())).collect(),
            position: 0,
            sum: room(BLOCKS),
            rows: room(TABLE),
            columns: room(kernel::SQUARES),
            chunk: Secret::new(Vec::new()),
        }
    }

    /// Begins a chunk of which `n` columns are wanted.
    pub(super) fn begin(&mut self, n: usize) {
        self.chunk = Secret::new(Vec::with_capacity(n));
    }

    /// Of the next `blocks` blocks of the streams r_x of tree `tree`: ⊕_x r_x, returned, and ⊕_{x: x_b = 1} r_x, corrected,
    /// which becomes row b of the tree.
    pub(super) fn sum_tree(
        &mut self,
        tree: usize,
        blocks: usize,
        correction: Option<kernel::Correction<'_>>,
    ) -> &[u128] {
        // What the columns will be put into is far away, and there is time while the cipher works.
        let chunk = self.chunk.expose_mut().spare_capacity_mut();
        let of_tree = chunk.len().div_ceil(self.field.trees()).max(1);
        kernel::prefetch(chunk.chunks(of_tree).nth(tree).unwrap_or_default());
        let k = self.field.bits();
        let leaves = &self.leaves[tree << k..(tree + 1) << k];
        let rows = &mut aligned(self.rows.expose_mut(), TABLE)[tree * k * STRIDE..(tree + 1) * k * STRIDE];
        let sum = &mut aligned(self.sum.expose_mut(), BLOCKS)[..blocks.next_multiple_of(2 * LINE)];
        kernel::sum_streams(leaves, self.position, correction, sum, rows);
        &sum[..blocks]
    }

    /// Σ_c χ^{c+1}·row[c] of all rows, over as many blocks as there are powers.
    pub(super) fn hash_rows(&mut self, powers: &[u128]) -> [u128; ROWS] {
        let mut hashes = [0; ROWS];
        kernel::inner_of_rows(powers, aligned(self.rows.expose_mut(), TABLE), &mut hashes);
        hashes
    }

    /// Block `at` of all rows.
    pub(super) fn column_block(&mut self, at: usize) -> [u128; ROWS] {
        let rows = aligned(self.rows.expose_mut(), TABLE);
        std::array::from_fn(|r| rows[r * STRIDE + at])
    }

    /// Replaces row 0; the first `n` columns, for which [`Streams::begin`] has made room: a vector that grows leaves a copy
    /// behind.
    pub(super) fn transposed(&mut self, row_0: &[u128], n: usize) -> Secret<Vec<u128>> {
        let rows = aligned(self.rows.expose_mut(), TABLE);
        rows[..row_0.len()].copy_from_slice(row_0);
        let mut chunk = std::mem::replace(&mut self.chunk, Secret::new(Vec::new()));
        let columns = aligned(self.columns.expose_mut(), kernel::SQUARES);
        for at in (0..n).step_by(kernel::SQUARES) {
            kernel::transpose(rows, at / 128, columns);
            chunk.expose_mut().extend_from_slice(&columns[..kernel::SQUARES.min(n - at)]);
        }
        chunk
    }
}

/// Hashes of rows chunk by chunk, summed up with powers of the challenge on the whole batch, and the last block.
pub(super) struct RowHashes(Secret<Vec<[u128; ROWS]>>);

impl RowHashes {
    /// Room for a batch of `blocks` blocks.
    pub(super) fn new(blocks: usize) -> Self {
        Self(Secret::new(Vec::with_capacity(blocks.div_ceil(BLOCKS))))
    }

    pub(super) fn push(&mut self, of_chunk: [u128; ROWS]) {
        self.0.expose_mut().push(of_chunk);
    }

    pub(super) fn sum(&self, outer: u128, last: &Secret<[u128; ROWS]>) -> Secret<[u128; ROWS]> {
        let mut sums = Secret::new([0; ROWS]);
        for chunk in self.0.expose().iter().rev() {
            kernel::add_and_scale(outer, chunk, sums.expose_mut());
        }
        sums.expose_mut().iter_mut().zip(last.expose()).for_each(|(sum, last)| *sum ^= last);
        sums
    }
}
