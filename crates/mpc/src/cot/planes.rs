//! Random OTs bit-sliced: of the hash of each lane only some low bits are kept, bit i of 64 lanes in one word.
//!
//! Pads are those of [`CotSender::random`] and [`CotSender::random_of`] on the same COTs. All lanes of one pad are
//! hashed together, and the hash goes into planes while it is in the first-level cache.

use super::{CotReceiver, CotSender, MAX_LOG_MESSAGES, packed};
use crate::MpcError;
use crate::kernel::{bit_planes, times_x};
use oblivia_base::Secret;

/// Lanes hashed at a time; a multiple of 64.
const LANES: usize = 512;

/// COTs of some lanes, their sums lane by lane, and what the sums are hashed in.
struct Work {
    cots: Secret<Vec<u128>>,
    sums: Secret<Vec<u128>>,
    hashed: Secret<Vec<u128>>,
}

impl Work {
    fn new(m: u32, n: usize) -> Self {
        let blocks = |per_lane: usize| Secret::new(vec![0; LANES.min(n) * per_lane]);
        Self { cots: blocks(m as usize), sums: blocks(1), hashed: blocks(1) }
    }

    /// ⊕_i x^i·K_i of the m COTs of each of some lanes, and room for their hashes.
    fn sum_up(&mut self, m: u32, lanes: usize) -> (&[u128], &mut [u128]) {
        let cots = &self.cots.expose()[..lanes * m as usize];
        let sums = &mut self.sums.expose_mut()[..lanes];
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
        (sums, &mut self.hashed.expose_mut()[..lanes])
    }
}

#[inline]
fn sum_groups<const M: usize>(cots: &[u128], sums: &mut [u128]) {
    for (sum, group) in sums.iter_mut().zip(cots.as_chunks::<M>().0) {
        *sum = group.iter().rev().fold(0, |sum, b| times_x(sum) ^ b);
    }
}

/// Lanes of each piece of `n`.
fn pieces(n: usize) -> impl Iterator<Item = usize> {
    (0..n).step_by(LANES).map(move |at| LANES.min(n - at))
}

impl CotSender {
    /// Takes m COTs for each of `n` random 1-of-2^m OTs. Plane j·w + i gets a word for every 64 lanes: bit i of pad j,
    /// where `planes` are 2^m·w. 1 ≤ m ≤ 8, 1 ≤ w ≤ 64.
    pub(crate) fn random_planes(
        &mut self,
        m: u32,
        n: usize,
        planes: &mut [Vec<u64>],
    ) -> Result<(), MpcError> {
        let per_pad = planes.len() >> m;
        self.by_pad(m, n, |j, hashed| {
            let to = planes.get_mut(j * per_pad..(j + 1) * per_pad).unwrap_or_default();
            bit_planes(hashed, to);
        })
    }

    /// Takes a COT for each of `n` random 1-of-2 OTs: pads 0 and pads 1, the low 64 bits.
    pub(crate) fn random_pairs(&mut self, n: usize, pads: [&mut Vec<u64>; 2]) -> Result<(), MpcError> {
        self.by_pad(1, n, |j, hashed| pads[j & 1].extend(hashed.iter().map(|h| *h as u64)))
    }

    /// Hands each pad's hashes to `take`, piece by piece.
    fn by_pad(&mut self, m: u32, n: usize, mut take: impl FnMut(usize, &[u128])) -> Result<(), MpcError> {
        super::check_planes(m)?;
        self.stock.require(n.saturating_mul(m as usize))?;
        // Offset of pad j: Σ_i j_i·x^i·Δ.
        let mut multiples = Secret::new([0u128; MAX_LOG_MESSAGES as usize]);
        let mut multiple = *self.delta.expose();
        for slot in multiples.expose_mut() {
            *slot = multiple;
            multiple = times_x(multiple);
        }
        let mut work = Work::new(m, n);
        for lanes in pieces(n) {
            let first = self.stock.take(&mut work.cots.expose_mut()[..lanes * m as usize]);
            let (sums, hashed) = work.sum_up(m, lanes);
            for j in 0..1usize << m {
                let bits = multiples.expose().iter().enumerate().filter(|(i, _)| j >> i & 1 == 1);
                let offset = bits.fold(0, |sum, (_, multiple)| sum ^ multiple);
                for (h, k) in hashed.iter_mut().zip(sums) {
                    *h = k ^ offset;
                }
                self.hash.hash_groups(m, 0, first, hashed);
                take(j, hashed);
            }
        }
        Ok(())
    }
}

impl CotReceiver {
    /// The other end of [`CotSender::random_planes`]: the m planes of the choices and the planes of the chosen pads.
    pub(crate) fn random_planes(
        &mut self,
        m: u32,
        n: usize,
        choices: &mut [Vec<u64>],
        planes: &mut [Vec<u64>],
    ) -> Result<(), MpcError> {
        self.chosen_pads(m, n, choices, |hashed| bit_planes(hashed, planes))
    }

    /// The other end of [`CotSender::random_pairs`].
    pub(crate) fn random_pairs(
        &mut self,
        n: usize,
        choices: &mut Vec<u64>,
        pads: &mut Vec<u64>,
    ) -> Result<(), MpcError> {
        let choices = std::slice::from_mut(choices);
        self.chosen_pads(1, n, choices, |hashed| pads.extend(hashed.iter().map(|h| *h as u64)))
    }

    fn chosen_pads(
        &mut self,
        m: u32,
        n: usize,
        choices: &mut [Vec<u64>],
        mut take: impl FnMut(&[u128]),
    ) -> Result<(), MpcError> {
        super::check_planes(m)?;
        self.stock.require(n.saturating_mul(m as usize))?;
        let mut work = Work::new(m, n);
        for lanes in pieces(n) {
            let cots = &mut work.cots.expose_mut()[..lanes * m as usize];
            let first = self.stock.take(cots);
            let hashed = &mut work.hashed.expose_mut()[..lanes];
            for (i, plane) in choices.iter_mut().enumerate() {
                for (h, group) in hashed.iter_mut().zip(cots.chunks_exact(m as usize)) {
                    *h = group[i];
                }
                bit_planes(hashed, std::slice::from_mut(plane));
            }
            let (sums, hashed) = work.sum_up(m, lanes);
            hashed.copy_from_slice(sums);
            self.hash.hash_groups(m, 0, first, hashed);
            take(hashed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{CotPads, Direction, Label, PadSource, ideal};
    use oblivia_base::{Digest, Prg};

    #[test]
    fn planes_are_the_pads_that_the_other_functions_give() {
        let cots = || {
            let label = Label { session: Digest([7; 32]), epoch: 3, direction: Direction::ServerSends };
            ideal::cots(&label, 20_000, &mut Prg::new(&[1; 32], "plane tests", &[]))
        };
        let ((a, b), (mut s, mut r)) = (cots(), cots());
        let (none, nothing) = cots();
        let mut sender = CotPads::new(a, nothing);
        let mut chooser = CotPads::new(none, b);
        for (m, n) in [(1u32, 700usize), (2, 1100), (4, 600), (3, 513), (1, 64)] {
            let planes = sender.send_planes(m, 5, n).unwrap();
            let [choices, chosen] = chooser.choose_planes(m, 5, n).unwrap();
            let (mut pads, mut c, mut got) = (vec![0; n << m], vec![0; n], vec![0; n]);
            if m == 1 {
                let mut pairs = vec![[0; 2]; n];
                s.random(&mut pairs).unwrap();
                pads.copy_from_slice(pairs.as_flattened());
                r.random(&mut c, &mut got).unwrap();
            } else {
                s.random_of(m, &mut pads).unwrap();
                r.random_of(m, &mut c, &mut got).unwrap();
            }
            let bit = |v: u64, i: usize| v >> i & 1 == 1;
            for lane in 0..n {
                for (plane, p) in planes.iter().enumerate() {
                    assert_eq!(p.get(lane), bit(pads[(lane << m) + plane / 5], plane % 5));
                }
                assert!((0..5).all(|i| chosen[i].get(lane) == bit(got[lane], i)));
                assert!((0..m as usize).all(|i| choices[i].get(lane) == bit(c[lane].into(), i)));
            }
        }
    }
}
