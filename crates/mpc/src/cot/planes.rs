//! Random OTs bit-sliced: of the hash of each lane only some low bits are kept, bit i of 64 lanes in one word.
//!
//! Pads are those of [`CotSender::random`] and [`CotSender::random_of`] on the same COTs.

use super::pieces::COTS;
use super::{CotReceiver, CotSender};
use crate::MpcError;
use crate::kernel::bit_planes;
use oblivia_base::Secret;

impl CotSender {
    /// Takes m COTs for each of `n` random 1-of-2^m OTs. Plane j·w + i gets a word for every 64 lanes: bit i of pad j,
    /// where `planes` are 2^m·w. 1 ≤ m ≤ 8, 1 ≤ w ≤ 64.
    pub(crate) fn random_planes(
        &mut self,
        m: u32,
        n: usize,
        planes: &mut [Vec<u64>],
    ) -> Result<(), MpcError> {
        let per_pad = (planes.len() >> m).max(1);
        self.by_piece(m, n, |piece, hashes| {
            for (pad, planes) in hashes.chunks_exact(piece.len()).zip(planes.chunks_exact_mut(per_pad)) {
                bit_planes(pad, planes);
            }
        })
    }

    /// Takes a COT for each of `n` random 1-of-2 OTs: pads 0 and pads 1, the low 64 bits.
    pub(crate) fn random_pairs(&mut self, n: usize, pads: [&mut Vec<u64>; 2]) -> Result<(), MpcError> {
        let [zero, one] = pads;
        self.by_piece(1, n, |piece, hashes| {
            let (of_zero, of_one) = hashes.split_at(piece.len());
            zero.extend(of_zero.iter().map(|h| *h as u64));
            one.extend(of_one.iter().map(|h| *h as u64));
        })
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
        self.chosen_pads(m, n, choices, |hashes| bit_planes(hashes, planes))
    }

    /// The other end of [`CotSender::random_pairs`].
    pub(crate) fn random_pairs(
        &mut self,
        n: usize,
        choices: &mut Vec<u64>,
        pads: &mut Vec<u64>,
    ) -> Result<(), MpcError> {
        let choices = std::slice::from_mut(choices);
        self.chosen_pads(1, n, choices, |hashes| pads.extend(hashes.iter().map(|h| *h as u64)))
    }

    fn chosen_pads(
        &mut self,
        m: u32,
        n: usize,
        choices: &mut [Vec<u64>],
        take: impl FnMut(&[u128]),
    ) -> Result<(), MpcError> {
        let mut of_plane = Secret::new(Vec::with_capacity(COTS));
        let choose = |_, tags: &[u128]| {
            for (i, plane) in choices.iter_mut().enumerate() {
                let of_plane = of_plane.expose_mut();
                of_plane.clear();
                of_plane.extend(tags.iter().skip(i).step_by(m as usize));
                bit_planes(of_plane, std::slice::from_mut(plane));
            }
        };
        self.by_piece(m, n, choose, take)
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
