//! COTs taken and hashed piece by piece: while the COTs of a piece are made, those of the piece before are hashed.

use super::{CotReceiver, CotSender, MAX_LOG_MESSAGES, check_planes};
use crate::MpcError;
use crate::kernel::{add_to_each, packed, times_x};
use oblivia_base::Secret;
use std::ops::Range;

/// Most COTs of a piece: a multiple of the rows of LPN made together and of the lanes of a word.
pub(super) const COTS: usize = 384;
/// Most hashes of a piece.
const HASHES: usize = 2 * COTS;

/// Lanes of all pieces of `n` but the last, a multiple of 64, `pads` hashes each.
fn pieces(m: u32, pads: usize, n: usize) -> impl Iterator<Item = Range<usize>> {
    let lanes = ((COTS / m as usize).min(HASHES / pads) / 64 * 64).max(64);
    (0..n).step_by(lanes).map(move |at| at..n.min(at + lanes))
}

/// COTs of a piece, and what is hashed of the piece before.
struct Work {
    cots: Secret<Vec<u128>>,
    hashes: Secret<Vec<u128>>,
}

impl Work {
    fn new(m: u32, pads: usize, lanes: usize) -> Self {
        let blocks = |per_lane: usize| Secret::new(vec![0; lanes * per_lane]);
        Self { cots: blocks(m as usize), hashes: blocks(pads) }
    }
}

/// ⊕_i x^i·K_i of the m COTs of each lane.
fn sum_up(m: u32, cots: &[u128], sums: &mut [u128]) {
    match m {
        1 => sums.copy_from_slice(cots),
        2 => sum_groups::<2>(cots, sums),
        3 => sum_groups::<3>(cots, sums),
        4 => sum_groups::<4>(cots, sums),
        m => {
            for (sum, group) in sums.iter_mut().zip(cots.chunks_exact(m as usize)) {
                *sum = packed(group);
            }
        }
    }
}

#[inline]
fn sum_groups<const M: usize>(cots: &[u128], sums: &mut [u128]) {
    for (sum, group) in sums.iter_mut().zip(cots.as_chunks::<M>().0) {
        *sum = group.iter().rev().fold(0, |sum, b| times_x(sum) ^ b);
    }
}

impl CotSender {
    /// Takes m COTs for each of `n` random 1-of-2^m OTs and hands the pads of some lanes at a time to `take`: pad 0 of
    /// these lanes, pad 1, ….
    ///
    /// Pad j of the OT made of K_0 … K_{m-1} is H(⊕_i x^i·(K_i ⊕ j_i·Δ)): the inputs differ by distinct non-zero
    /// multiples of Δ in GF(2^128).
    pub(super) fn by_piece(
        &mut self,
        m: u32,
        n: usize,
        mut take: impl FnMut(Range<usize>, &[u128]),
    ) -> Result<(), MpcError> {
        check_planes(m)?;
        self.stock.require(n.saturating_mul(m as usize))?;
        // Offset of pad j: Σ_i j_i·x^i·Δ.
        let mut offsets = Secret::new([0; 1 << MAX_LOG_MESSAGES]);
        let mut multiple = Secret::new(*self.delta.expose());
        for i in 0..m {
            let (known, new) = offsets.expose_mut()[..2 << i].split_at_mut(1 << i);
            for (o, of_rest) in new.iter_mut().zip(known) {
                *o = *of_rest ^ multiple.expose();
            }
            *multiple.expose_mut() = times_x(*multiple.expose());
        }
        let mut pieces = pieces(m, 1 << m, n).peekable();
        let mut work = Work::new(m, 1 << m, pieces.peek().map_or(0, ExactSizeIterator::len));
        let of_piece = |piece: &Range<usize>| piece.len() * m as usize;
        let mut index = match pieces.peek() {
            Some(piece) => self.stock.take(&mut work.cots.expose_mut()[..of_piece(piece)], None),
            None => return Ok(()),
        };
        while let Some(piece) = pieces.next() {
            let hashes = &mut work.hashes.expose_mut()[..piece.len() << m];
            let (sums, rest) = hashes.split_at_mut(piece.len());
            sum_up(m, &work.cots.expose()[..of_piece(&piece)], sums);
            for (pad, offset) in rest.chunks_exact_mut(piece.len()).zip(&offsets.expose()[1..]) {
                add_to_each(*offset, sums, pad);
            }
            let mut hashing = self.hash.pads(m, index, piece.len(), hashes);
            if let Some(next) = pieces.peek() {
                let cots = &mut work.cots.expose_mut()[..of_piece(next)];
                index = self.stock.take(cots, Some(&mut hashing));
            }
            hashing.finish();
            take(piece, hashes);
        }
        Ok(())
    }
}

impl CotReceiver {
    /// The other end of [`CotSender::by_piece`]: hands the tags of some lanes at a time to `choose` and their chosen pads
    /// to `take`.
    pub(super) fn by_piece(
        &mut self,
        m: u32,
        n: usize,
        mut choose: impl FnMut(Range<usize>, &[u128]),
        mut take: impl FnMut(&[u128]),
    ) -> Result<(), MpcError> {
        check_planes(m)?;
        self.stock.require(n.saturating_mul(m as usize))?;
        let mut pieces = pieces(m, 1, n).peekable();
        let mut work = Work::new(m, 1, pieces.peek().map_or(0, ExactSizeIterator::len));
        let of_piece = |piece: &Range<usize>| piece.len() * m as usize;
        let mut index = match pieces.peek() {
            Some(piece) => self.stock.take(&mut work.cots.expose_mut()[..of_piece(piece)], None),
            None => return Ok(()),
        };
        while let Some(piece) = pieces.next() {
            let tags = &work.cots.expose()[..of_piece(&piece)];
            let hashes = &mut work.hashes.expose_mut()[..piece.len()];
            sum_up(m, tags, hashes);
            let lanes = piece.len();
            choose(piece, tags);
            let mut hashing = self.hash.pads(m, index, lanes, hashes);
            if let Some(next) = pieces.peek() {
                let tags = &mut work.cots.expose_mut()[..of_piece(next)];
                index = self.stock.take(tags, Some(&mut hashing));
            }
            hashing.finish();
            take(hashes);
        }
        Ok(())
    }
}
