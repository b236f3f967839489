use super::chunk::{BLOCKS, ROWS, RowHashes, Streams, powers};
use super::{Challenges, FieldBits, blocks_of, check_batch};
use crate::base_ot::BothKeys;
use crate::kernel::{self, COLUMNS};
use crate::{Blocks, Label, MpcError, pprf};
use oblivia_base::{Digest, Secret};

/// The COT receiver; it makes the trees and chooses nothing: its choices are pseudo-random.
pub struct SoftSpokenReceiver {
    label: Label,
    /// Digest of the first message.
    setup: Digest,
    streams: Streams,
}

impl SoftSpokenReceiver {
    /// The receiver, from base OTs of which it was the *sender*, and its first message.
    ///
    /// # Errors
    /// [`MpcError::Argument`] if there are not 128 base OTs.
    pub fn new(label: &Label, field: FieldBits, base: &BothKeys) -> Result<(Self, Vec<u8>), MpcError> {
        if base.expose().len() != ROWS {
            let found = base.expose().len() as u64;
            return Err(MpcError::Argument { what: "number of base OTs", found, expected: "128" });
        }
        let (message, leaves) = pprf::make(label, field.bits(), base.expose());
        Ok((
            Self {
                label: *label,
                setup: Digest::of("softspoken setup v1", &message),
                streams: Streams::new(field, leaves.expose(), None),
            },
            message,
        ))
    }

    /// The next batch of `n` COTs: the message, [`FieldBits::batch_bytes`] long, and the tags.
    ///
    /// # Errors
    /// [`MpcError::Argument`] if `n` is not 1 … [`super::MAX_BATCH`].
    pub fn batch(&mut self, n: usize) -> Result<(Vec<u8>, Blocks), MpcError> {
        check_batch(n)?;
        let field = self.streams.field;
        let total = blocks_of(n);
        let mut challenges = Challenges::new(&self.label, &self.setup, self.streams.position);
        let mut message = vec![0; field.batch_bytes(n)];
        let (mut differences, end) = message.split_at_mut(field.batch_bytes(n) - 48);
        let mut tags = Blocks::new();
        let (mut hashes, mut u_hashes) = (RowHashes(Vec::new()), Vec::new());
        let mut last = ([0; ROWS], 0);
        for at in (0..total).step_by(BLOCKS) {
            let blocks = BLOCKS.min(total - at);
            let mut u = Secret::new([0; BLOCKS]);
            let u = &mut u.expose_mut()[..blocks];
            let (of_chunk, rest) = differences.split_at_mut(16 * blocks * (field.trees() - 1));
            differences = rest;
            let mut of_tree = of_chunk.chunks_exact_mut(16 * blocks);
            for tree in 0..field.trees() {
                let sum = self.streams.sum_tree(tree, blocks);
                if tree == 0 {
                    u.copy_from_slice(sum);
                } else {
                    let of_tree = of_tree.next().unwrap_or_default();
                    for ((a, b), d) in sum.iter().zip(&*u).zip(of_tree.as_chunks_mut().0) {
                        *d = (a ^ b).to_le_bytes();
                    }
                }
            }
            self.streams.position += blocks as u64;
            // The last block of the batch hides the hashes and enters them as it is.
            let is_last = at + blocks == total;
            let powers = powers(challenges.of_chunk(of_chunk), blocks - usize::from(is_last));
            hashes.0.push(self.streams.hash_rows(&powers));
            u_hashes.push(kernel::inner(&powers, u));
            if is_last {
                last = (self.streams.column_block(blocks - 1), u[blocks - 1]);
            }
            tags.push(self.streams.transposed(u, n.saturating_sub(128 * at).min(COLUMNS)));
        }
        let outer = challenges.of_batch();
        let u = u_hashes.iter().rev().fold(0, |sum, hash| kernel::times(sum ^ hash, outer)) ^ last.1;
        let (of_u, of_rows) = end.split_at_mut(16);
        of_u.copy_from_slice(&u.to_le_bytes());
        of_rows.copy_from_slice(&challenges.hashes(u, &hashes.sum(outer, &last.0)).0);
        Ok((message, tags))
    }
}

impl std::fmt::Debug for SoftSpokenReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SoftSpokenReceiver({:?})", self.streams.field)
    }
}
