use super::chunk::{RowHashes, Streams};
use super::{Challenges, FieldBits, blocks_of, check_batch};
use crate::base_ot::BothKeys;
use crate::kernel::{self, BLOCKS, COLUMNS, ROWS};
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
                streams: Streams::new(field, leaves.expose()),
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
        let mut message = Vec::with_capacity(field.batch_bytes(n));
        let mut tags = Blocks::new();
        let (mut hashes, mut u_hashes) =
            (RowHashes::new(total), Secret::new(Vec::with_capacity(total.div_ceil(BLOCKS))));
        let mut last = (Secret::new([0; ROWS]), Secret::new(0));
        let mut u = Secret::new([0; BLOCKS]);
        for at in (0..total).step_by(BLOCKS) {
            let blocks = BLOCKS.min(total - at);
            let columns = n.saturating_sub(128 * at).min(COLUMNS);
            self.streams.begin(columns);
            let u = &mut u.expose_mut()[..blocks];
            let start = message.len();
            for tree in 0..field.trees() {
                let sum = self.streams.sum_tree(tree, blocks, None);
                if tree == 0 {
                    u.copy_from_slice(sum);
                } else {
                    let mut differences = [[0; 16]; BLOCKS];
                    for ((d, a), b) in differences.iter_mut().zip(sum).zip(&*u) {
                        *d = (a ^ b).to_le_bytes();
                    }
                    message.extend_from_slice(differences[..blocks].as_flattened());
                }
            }
            self.streams.position += blocks as u64;
            // The last block of the batch hides the hashes and enters them as it is.
            let is_last = at + blocks == total;
            let challenge = challenges.of_chunk(&message[start..]);
            let powers = kernel::powers(challenge, blocks - usize::from(is_last));
            hashes.push(self.streams.hash_rows(&powers));
            u_hashes.expose_mut().push(kernel::inner(&powers, u));
            if is_last {
                last = (Secret::new(self.streams.column_block(blocks - 1)), Secret::new(u[blocks - 1]));
            }
            tags.push(self.streams.transposed(u, columns));
        }
        let outer = challenges.of_batch();
        let u = u_hashes.expose().iter().rev().fold(0, |sum, hash| kernel::times(sum ^ hash, outer))
            ^ last.1.expose();
        message.extend_from_slice(&u.to_le_bytes());
        message.extend_from_slice(&challenges.hashes(u, hashes.sum(outer, &last.0).expose()).0);
        Ok((message, tags))
    }
}

impl std::fmt::Debug for SoftSpokenReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SoftSpokenReceiver({:?})", self.streams.field)
    }
}
