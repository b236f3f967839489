#![deny(clippy::indexing_slicing)]

use super::chunk::{RowHashes, Streams};
use super::{Challenges, FieldBits, blocks_of, check_batch};
use crate::base_ot::ChosenKeys;
use crate::kernel::{self, BLOCKS, COLUMNS, Correction, ROWS};
use crate::{Blocks, Label, MpcError, pprf};
use oblivia_base::codec::Reader;
use oblivia_base::seed::EntropySource;
use oblivia_base::{Digest, Secret};

/// A fresh Δ, bit 0 of which is 1.
pub fn fresh_delta(rng: &mut dyn EntropySource) -> Secret<u128> {
    let mut bytes = Secret::new([0; 16]);
    rng.fill_bytes(bytes.expose_mut());
    Secret::new(u128::from_le_bytes(*bytes.expose()) | 1)
}

/// The COT sender; Δ comes in through the choices of the base OTs.
pub struct SoftSpokenSender {
    label: Label,
    /// Digest of the first message.
    setup: Digest,
    streams: Streams,
    delta: Secret<u128>,
    /// For each bit of Δ all ones, or 0.
    masks: Secret<Vec<u128>>,
}

impl SoftSpokenSender {
    /// The choices of the base OTs that make `delta`: its complement.
    pub fn base_choices(delta: &Secret<u128>) -> Secret<u128> {
        Secret::new(!delta.expose())
    }

    /// The sender, from base OTs of which it was the *receiver* with [`SoftSpokenSender::base_choices`], and the
    /// receiver's first message.
    ///
    /// # Errors
    /// [`MpcError::Argument`] if there are not 128 base OTs or bit 0 of `delta` is not 1, [`MpcError::MessageBytes`],
    /// [`MpcError::Decode`], and [`MpcError::Check`] if the receiver made other trees than it says.
    pub fn new(
        label: &Label,
        field: FieldBits,
        delta: Secret<u128>,
        base: &ChosenKeys,
        message: &[u8],
    ) -> Result<Self, MpcError> {
        let (k, found) = (field.bits(), base.expose().len() as u64);
        if found != ROWS as u64 {
            return Err(MpcError::Argument { what: "number of base OTs", found, expected: "128" });
        }
        if delta.expose() & 1 == 0 {
            return Err(MpcError::Argument { what: "bit 0 of Δ", found: 0, expected: "1" });
        }
        let leaves = pprf::puncture(label, k, !delta.expose(), base.expose(), message)?;
        let masks = (0..ROWS).map(|bit| (delta.expose() >> bit & 1).wrapping_neg());
        let masks = Secret::new(masks.collect());
        Ok(Self {
            label: *label,
            setup: Digest::of("softspoken setup v1", message),
            streams: Streams::new(field, leaves.expose()),
            delta,
            masks,
        })
    }

    /// Δ.
    pub fn delta(&self) -> &Secret<u128> {
        &self.delta
    }

    /// The next batch of `n` COTs from the receiver's message: the keys, and the sender for batches to come.
    ///
    /// # Errors
    /// [`MpcError::Argument`] if `n` is not 1 … [`super::MAX_BATCH`], [`MpcError::MessageBytes`], and
    /// [`MpcError::Check`] if the message does not fit the trees; the sender is gone then, and bits of Δ may be known
    /// to the receiver.
    pub fn batch(mut self, n: usize, message: &[u8]) -> Result<(Blocks, Self), MpcError> {
        check_batch(n)?;
        let field = self.streams.field;
        MpcError::check_bytes("extension batch", message, field.batch_bytes(n))?;
        let mut r = Reader::new(message);
        let total = blocks_of(n);
        let mut challenges = Challenges::new(&self.label, &self.setup, self.streams.position);
        let mut keys = Blocks::new();
        let mut hashes = RowHashes::new(total);
        let mut last = Secret::new([0; ROWS]);
        for at in (0..total).step_by(BLOCKS) {
            let blocks = BLOCKS.min(total - at);
            let columns = n.saturating_sub(128 * at).min(COLUMNS);
            self.streams.begin(columns);
            let differences = r.raw(16 * blocks * (field.trees() - 1), "differences")?;
            // The first tree has no difference.
            let of_trees = [&[][..]].into_iter().chain(differences.chunks_exact(16 * blocks));
            let masks = self.masks.expose().chunks_exact(field.bits());
            for (tree, (difference, masks)) in of_trees.zip(masks).enumerate() {
                self.streams.sum_tree(tree, blocks, Some(Correction { masks, difference }));
            }
            self.streams.position += blocks as u64;
            let is_last = at + blocks == total;
            let challenge = challenges.of_chunk(differences);
            let powers = kernel::powers(challenge, blocks - usize::from(is_last));
            hashes.push(self.streams.hash_rows(&powers));
            if is_last {
                last = Secret::new(self.streams.column_block(blocks - 1));
            }
            keys.push(self.streams.transposed(&[0; BLOCKS], columns));
        }
        let u = u128::from_le_bytes(r.array("hash of the choices")?);
        let digest = Digest(r.array("digest of the hashes")?);
        r.finish()?;
        let mut expected = hashes.sum(challenges.of_batch(), &last);
        for (hash, mask) in expected.expose_mut().iter_mut().zip(self.masks.expose()) {
            *hash ^= mask & u;
        }
        if challenges.hashes(u, expected.expose()) != digest {
            return Err(MpcError::Check { what: "check of the extension" });
        }
        Ok((keys, self))
    }
}

impl std::fmt::Debug for SoftSpokenSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SoftSpokenSender({:?})", self.streams.field)
    }
}
