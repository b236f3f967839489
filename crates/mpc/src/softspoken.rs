//! OT extension from small fields: correlated OTs of either party out of 128 base OTs.
//!
//! L. Roy, *SoftSpokenOT* (2022). With m = 128/k trees of 2^k leaves (module `pprf`), r_x the pseudo-random row of leaf x
//! of tree j, and α_j the k bits j·k … of Δ, which the COT sender does not know the leaf of:
//!
//! ```text
//! receiver  u_j = ⊕_x r_x         v_j,b = ⊕_{x: x_b = 1} r_x        for b < k
//!           sends d_j = u_j ⊕ u_0                                    for 0 < j < m
//! sender    w_j,b = ⊕_{x ≠ α_j: (x ⊕ α_j)_b = 1} r_x ⊕ α_j,b·d_j  =  v_j,b ⊕ α_j,b·u_0
//! ```
//!
//! The 128 rows v transposed are the tags T, the rows w the keys K, and T_i = K_i ⊕ u_i·Δ. Row 0 is then replaced, by u at
//! the receiver and by 0 at the sender: bit 0 of Δ is 1, so the relation stays and the choice is the last bit of T_i.
//!
//! The sender adds up all leaves as the receiver does and corrects a row by α_j,b·(⊕_x r_x ⊕ d_j). What it takes for the
//! leaf α_j is then in no row, so nothing depends on where that leaf is.
//!
//! Check: a linear hash h into GF(2^128) of every row; the receiver sends h(u) and a digest of all h(v_j,b), the sender
//! requires h(w_j,b) = h(v_j,b) ⊕ Δ_j,b·h(u). The last 128 columns enter h unmultiplied and are thrown away, so h(u) is
//! uniform. Rows are hashed one by one as in figure 8 of the paper, not summed up into one field element as in KOS,
//! whose proof has a gap (ibid., section 1). Coefficients are hashed from what was sent: inside a chunk of 4096 columns
//! powers of a challenge on the chunk's d_j and all before them, between chunks powers of one on all d_j. Challenges are a
//! chain: the digest of a chunk is the head of what is hashed of the next. Who passes with wrong d_j has guessed bits of Δ,
//! and the guess may fail.
//!
//! Traffic: m − 1 bits per COT and 48 bytes per message; one message per batch.

mod chunk;
mod receiver;
mod sender;

pub use receiver::SoftSpokenReceiver;
pub use sender::{SoftSpokenSender, fresh_delta};

use crate::kernel::{BLOCKS, ROWS};
use crate::label::low_block;
use crate::{Label, MpcError, pprf};
use oblivia_base::{Digest, Messages, Transcript};

/// Most COTs of one batch.
pub const MAX_BATCH: usize = 1 << 26;
/// COTs of every batch that the check costs.
pub const SACRIFICED: usize = 128;

/// log2 of the leaves of a tree: the trade between traffic and computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FieldBits {
    /// 63 bits and 2 AES blocks per COT.
    Two = 2,
    /// 31 bits and 4 AES blocks per COT.
    Four = 4,
    /// 15 bits and 32 AES blocks per COT.
    Eight = 8,
}

impl FieldBits {
    fn bits(self) -> usize {
        self as usize
    }

    fn trees(self) -> usize {
        128 / self.bits()
    }

    /// Bytes of the receiver's first message, which makes the trees.
    pub fn setup_bytes(self) -> usize {
        pprf::message_bytes(self.trees(), self.bits())
    }

    /// Bytes of the receiver's message for a batch of `n` COTs.
    pub fn batch_bytes(self, n: usize) -> usize {
        16 * blocks_of(n) * (self.trees() - 1) + 48
    }
}

/// Blocks of 128 columns of a batch of `n` COTs, those of the check included.
fn blocks_of(n: usize) -> usize {
    n.div_ceil(128) + SACRIFICED / 128
}

fn check_batch(n: usize) -> Result<(), MpcError> {
    if (1..=MAX_BATCH).contains(&n) {
        return Ok(());
    }
    Err(MpcError::Argument { what: "COTs of a batch", found: n as u64, expected: "1 to 2^26" })
}

/// Bytes before the d_j of a chunk when it is hashed: with them a full chunk has a power of two bytes, which BLAKE3 hashes
/// without a rest.
const HEAD: usize = 16 * BLOCKS;

/// What both parties hash the messages of a batch with.
struct Challenges {
    label: Label,
    chunks: Messages,
    /// Of everything before the next chunk: label, first message, position, and the chunks so far.
    before: Digest,
    /// What is hashed of a chunk: `before`, zeros up to [`HEAD`], the d_j.
    room: Vec<u8>,
}

impl Challenges {
    fn new(label: &Label, setup: &Digest, start: u64) -> Self {
        let mut t = label.transcript("softspoken batch v2");
        t.absorb("setup", &setup.0);
        t.absorb("start", &start.to_le_bytes());
        let chunks = Messages::new("softspoken chunk v2");
        Self { label: *label, chunks, before: t.digest(), room: Vec::new() }
    }

    /// Challenge of the next chunk, whose d_j are `message`.
    fn of_chunk(&mut self, message: &[u8]) -> u128 {
        self.room.clear();
        self.room.extend_from_slice(&self.before.0);
        self.room.resize(HEAD, 0);
        self.room.extend_from_slice(message);
        self.before = self.chunks.digest(&self.room);
        low_block(&self.before)
    }

    /// What the challenge of the whole batch is the digest of, once all chunks are in.
    fn all(&self) -> Transcript {
        let mut t = self.label.transcript("softspoken check v2");
        t.absorb("chunks", &self.before.0);
        t
    }

    /// Challenge of the whole batch.
    fn of_batch(&self) -> u128 {
        low_block(&self.all().digest())
    }

    /// Digest of the hashes of u and of all rows v.
    fn hashes(&self, u: u128, rows: &[u128; ROWS]) -> Digest {
        let mut t = self.all();
        t.absorb("u", &u.to_le_bytes());
        t.absorb("rows", rows.map(u128::to_le_bytes).as_flattened());
        t.digest()
    }
}

#[cfg(test)]
mod tests;
