//! COTs taken and hashed piece by piece, so that they stay in the cache.

use super::{CotReceiver, CotSender, MAX_LOG_MESSAGES, check_planes};
use crate::MpcError;
use crate::kernel::{LINE, aligned, packed, times_x};
use oblivia_base::Secret;
use std::ops::Range;

/// Most COTs of a piece, a multiple of the rows of LPN made together, unless 64 lanes, a word, take more.
pub(super) const COTS: usize = 192;
/// Most hashes of a piece, unless 64 lanes have more.
const HASHES: usize = 2 * COTS;

/// Most lanes of a piece of `n`, `pads` hashes each: a multiple of 64, or all.
fn longest(m: u32, pads: usize, n: usize) -> usize {
    ((COTS / m as usize).min(HASHES / pads) / 64 * 64).max(64).min(n)
}

/// The lanes of each piece of `n`.
fn pieces(m: u32, pads: usize, n: usize) -> impl Iterator<Item = Range<usize>> {
    let lanes = longest(m, pads, n);
    (0..n).step_by(lanes.max(1)).map(move |at| at..n.min(at + lanes))
}

/// Rooms for the COTs of a piece, for what is hashed, and for the hashes. They are kept from one call to the
/// next, with what was last in them, and zeroised with the stock.
pub(super) struct Work([Secret<Vec<u128>>; 3]);

impl Default for Work {
    fn default() -> Self {
        Self([(); 3].map(|()| Secret::new(Vec::new())))
    }
}

impl Work {
    /// The rooms in this order, from the beginning of a cache line, for so many lanes of m COTs and some pads.
    fn rooms(&mut self, m: u32, pads: usize, lanes: usize) -> [&mut [u128]; 3] {
        let mut per_lane = [m as usize, usize::from(m > 1), pads].into_iter();
        self.0.each_mut().map(|room| {
            let n = lanes * per_lane.next().unwrap_or(0);
            if room.expose().len() < n + LINE {
                *room = Secret::new(vec![0; n + LINE]);
            }
            aligned(room.expose_mut(), n)
        })
    }
}

/// What the hashes of these COTs are made of.
fn summed_up<'a>(m: u32, cots: &'a [u128], sums: &'a mut [u128]) -> &'a [u128] {
    if m == 1 {
        return cots;
    }
    let sums = &mut sums[..cots.len() / m as usize];
    sum_up(m, cots, sums);
    sums
}

/// ⊕_i x^i·K_i of the m COTs of each lane.
fn sum_up(m: u32, cots: &[u128], sums: &mut [u128]) {
    match m {
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
        let offsets = &offsets.expose()[..1 << m];
        let [cots, sums, hashes] = self.work.rooms(m, 1 << m, longest(m, 1 << m, n));
        for piece in pieces(m, 1 << m, n) {
            let cots = &mut cots[..piece.len() * m as usize];
            let origin = self.stock.origin(m as usize, piece.len());
            let index = self.stock.take(cots);
            let hashes = &mut hashes[..piece.len() << m];
            self.hash.pads(m, index, &origin, [summed_up(m, cots, sums), offsets], hashes);
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
        let [tags, sums, hashes] = self.work.rooms(m, 1, longest(m, 1, n));
        for piece in pieces(m, 1, n) {
            let tags = &mut tags[..piece.len() * m as usize];
            let origin = self.stock.origin(m as usize, piece.len());
            let index = self.stock.take(tags);
            let hashes = &mut hashes[..piece.len()];
            choose(piece, tags);
            self.hash.pads(m, index, &origin, [summed_up(m, tags, sums), &[0]], hashes);
            take(hashes);
        }
        Ok(())
    }
}
