//! Take-once stocks of correlated oblivious transfers (COT), and the random OTs hashed from them.
//!
//! For one Δ of the sender with least significant bit 1, COT number i is (K_i; T_i) with
//!
//! ```text
//! T_i = K_i ⊕ u_i·Δ,   u_i = LSB(T_i) the receiver's uniform choice,   LSB(K_i) = 0
//! ```
//!
//! all blocks of 128 bits, held as `u128`. A random OT is H(K_i), H(K_i ⊕ Δ) against u_i, H(T_i): see [`crate::hash`].
//!
//! Both ends number COTs alike, from 0, and never number one twice: what is taken is gone, an index is never reset,
//! and both parties must take in the same order. A stock is of one [`Label`], hence one direction; a party that wants
//! both directions holds a sender of one and a receiver of the other.

use crate::hash::{CotHash, Origin};
use crate::kernel::{low_bits, low_words, pair_up};
use crate::supply::Supply;
use crate::{Blocks, Label, MpcError};
use oblivia_base::Secret;
use std::collections::VecDeque;

mod pieces;
mod planes;

/// Most bits of a 1-of-2^m OT.
pub const MAX_LOG_MESSAGES: u32 = 8;

/// COTs in the order they are taken in.
#[derive(Default)]
struct Stock {
    supplies: VecDeque<Supply>,
    /// COTs in them.
    left: u64,
    /// Absolute index of the next COT.
    index: u64,
}

impl Stock {
    fn left(&self) -> u64 {
        self.left
    }

    fn add(&mut self, supply: Supply) {
        self.left += supply.left();
        self.supplies.push_back(supply);
    }

    /// The next `n` COTs, which the caller has checked are there, as a stock of their own with their indices.
    fn split(&mut self, n: u64) -> Self {
        let mut part = Self { supplies: VecDeque::new(), left: 0, index: self.index };
        self.index += n;
        self.left -= n;
        let mut rest = n;
        while let Some(supply) = self.supplies.front_mut().filter(|_| rest > 0) {
            let piece = supply.split(rest);
            rest -= piece.left();
            part.add(piece);
            if supply.left() == 0 {
                self.supplies.pop_front();
            }
        }
        part
    }

    /// Drops what is left; its indices are not given out again.
    fn discard(&mut self) {
        self.index += self.left;
        self.left = 0;
        self.supplies.clear();
    }

    fn require(&self, wanted: usize) -> Result<(), MpcError> {
        let (wanted, left) = (wanted as u64, self.left());
        if wanted <= left { Ok(()) } else { Err(MpcError::Exhausted { wanted, left }) }
    }

    /// Where the COTs of the next `lanes` OTs of m COTs each come from; the caller has checked that they are there.
    fn origin(&self, m: usize, lanes: usize) -> Origin {
        let of_one = |silent| if silent { Origin::Silent } else { Origin::Steered };
        if let Some(supply) = self.supplies.front().filter(|supply| supply.left() >= (m * lanes) as u64) {
            return of_one(supply.is_silent());
        }
        // Runs of COTs, each up to a number of COTs from here.
        let mut runs: Vec<(usize, bool)> = Vec::new();
        let mut end = 0;
        for supply in &self.supplies {
            if end >= m * lanes {
                break;
            }
            end = end.saturating_add(usize::try_from(supply.left()).unwrap_or(usize::MAX));
            match runs.last_mut() {
                Some((last, silent)) if *silent == supply.is_silent() => *last = end,
                _ => runs.push((end, supply.is_silent())),
            }
        }
        if let [(_, silent)] = runs[..] {
            return of_one(silent);
        }
        // A lane is silent if all its COTs are.
        let mut of_lanes: Vec<(usize, bool)> = Vec::new();
        for lane in 0..lanes {
            let run = |cot: usize| runs.iter().find(|(end, _)| cot < *end).is_some_and(|(_, silent)| *silent);
            let silent = (lane * m..(lane + 1) * m).all(run);
            match of_lanes.last_mut() {
                Some((end, of_run)) if *of_run == silent => *end = lane + 1,
                _ => of_lanes.push((lane + 1, silent)),
            }
        }
        Origin::Mixed(of_lanes)
    }

    /// Moves the next COTs into `out`; the caller has checked that they are there. The index of the first.
    fn take(&mut self, out: &mut [u128]) -> u64 {
        let first = self.index;
        self.index += out.len() as u64;
        self.left -= out.len() as u64;
        let mut rest = out;
        while let Some(supply) = self.supplies.front_mut().filter(|_| !rest.is_empty()) {
            let taken = supply.take(rest);
            rest = &mut rest[taken..];
            if supply.left() == 0 {
                self.supplies.pop_front();
            }
        }
        first
    }
}

/// Refuses an m that the hash has no purpose for.
fn check_planes(m: u32) -> Result<(), MpcError> {
    if (1..=MAX_LOG_MESSAGES).contains(&m) {
        return Ok(());
    }
    Err(MpcError::Argument { what: "log2 of the messages of an OT", found: u64::from(m), expected: "1 to 8" })
}

fn check_log_messages(m: u32, pads: usize, per_group: usize) -> Result<usize, MpcError> {
    if !(2..=MAX_LOG_MESSAGES).contains(&m) {
        let found = u64::from(m);
        return Err(MpcError::Argument { what: "log2 of the messages of an OT", found, expected: "2 to 8" });
    }
    if !pads.is_multiple_of(per_group) {
        let found = pads as u64;
        return Err(MpcError::Argument { what: "number of pads", found, expected: "2^m for each OT" });
    }
    Ok(pads / per_group)
}

/// The end that holds Δ.
pub struct CotSender {
    delta: Secret<u128>,
    hash: CotHash,
    stock: Stock,
    work: pieces::Work,
}

impl CotSender {
    /// An empty stock. Whoever fills it says what its COTs are: one Δ for all of them.
    pub fn new(label: &Label, delta: Secret<u128>) -> Self {
        Self { delta, hash: CotHash::new(label), stock: Stock::default(), work: pieces::Work::default() }
    }

    /// Puts COTs with the keys `keys` behind those in stock. The peer must add their tags at the same place.
    pub fn add_held(&mut self, keys: impl Into<Blocks>) {
        keys.into().into_chunks().for_each(|chunk| self.add(Supply::held(chunk)));
    }

    pub(crate) fn add(&mut self, supply: Supply) {
        self.stock.add(supply);
    }

    /// Δ, whose least significant bit is 1.
    pub fn delta(&self) -> &Secret<u128> {
        &self.delta
    }

    /// COTs that can be taken before a refill.
    pub fn left(&self) -> u64 {
        self.stock.left()
    }

    /// The next `n` COTs as a stock of their own: they are gone from this one, and keep their indices. The peer must do so at
    /// the same place.
    ///
    /// # Errors
    /// [`MpcError::Exhausted`].
    pub fn split(&mut self, n: u64) -> Result<Self, MpcError> {
        self.stock.require(usize::try_from(n).unwrap_or(usize::MAX))?;
        let delta = Secret::new(*self.delta.expose());
        Ok(Self { delta, hash: self.hash.clone(), stock: self.stock.split(n), work: pieces::Work::default() })
    }

    /// Drops the COTs in stock; the peer must do so at the same place.
    pub fn discard(&mut self) {
        self.stock.discard();
    }

    /// Index of the COT that is taken next.
    pub fn next_index(&self) -> u64 {
        self.stock.index
    }

    /// Takes `keys.len()` COTs as they are. The index of the first.
    ///
    /// # Errors
    /// [`MpcError::Exhausted`]; then nothing was taken.
    pub fn take(&mut self, keys: &mut [u128]) -> Result<u64, MpcError> {
        self.stock.require(keys.len())?;
        Ok(self.stock.take(keys))
    }

    /// Takes `pads.len()` COTs as random 1-of-2 OTs: the low 64 bits of both pads of each.
    ///
    /// # Errors
    /// [`MpcError::Exhausted`]; then nothing was taken.
    pub fn random(&mut self, pads: &mut [[u64; 2]]) -> Result<(), MpcError> {
        self.by_piece(1, pads.len(), |piece, hashes| {
            let (zero, one) = hashes.split_at(piece.len());
            pair_up(zero, one, &mut pads[piece]);
        })
    }

    /// [`CotSender::random`] with pads of 128 bits.
    ///
    /// # Errors
    /// [`MpcError::Exhausted`]; then nothing was taken.
    pub fn random_wide(&mut self, pads: &mut [[u128; 2]]) -> Result<(), MpcError> {
        self.by_piece(1, pads.len(), |piece, hashes| {
            let (zero, one) = hashes.split_at(piece.len());
            for ((pad, z), o) in pads[piece].iter_mut().zip(zero).zip(one) {
                *pad = [*z, *o];
            }
        })
    }

    /// Takes m COTs per random 1-of-2^m OT: the low 64 bits of the 2^m pads of each OT, in order.
    ///
    /// Pad j of the OT made of K_0 … K_{m-1} is H(⊕_i x^i·(K_i ⊕ j_i·Δ)): the inputs differ by distinct non-zero
    /// multiples of Δ in GF(2^128).
    ///
    /// # Errors
    /// [`MpcError::Argument`] if m is not 2 … 8 or `pads.len()` no multiple of 2^m, [`MpcError::Exhausted`]; then
    /// nothing was taken.
    pub fn random_of(&mut self, m: u32, pads: &mut [u64]) -> Result<(), MpcError> {
        let groups = check_log_messages(m, pads.len(), 1 << m.min(MAX_LOG_MESSAGES))?;
        self.by_piece(m, groups, |piece, hashes| {
            for (j, of_j) in hashes.chunks_exact(piece.len()).enumerate() {
                let pads = pads[piece.start << m..piece.end << m].chunks_exact_mut(1 << m);
                for (group, hash) in pads.zip(of_j) {
                    group[j] = *hash as u64;
                }
            }
        })
    }
}

/// The end that chooses.
pub struct CotReceiver {
    hash: CotHash,
    stock: Stock,
    work: pieces::Work,
}

impl CotReceiver {
    /// An empty stock.
    pub fn new(label: &Label) -> Self {
        Self { hash: CotHash::new(label), stock: Stock::default(), work: pieces::Work::default() }
    }

    /// Puts COTs with the tags `tags` behind those in stock. The peer must add their keys at the same place.
    pub fn add_held(&mut self, tags: impl Into<Blocks>) {
        tags.into().into_chunks().for_each(|chunk| self.add(Supply::held(chunk)));
    }

    pub(crate) fn add(&mut self, supply: Supply) {
        self.stock.add(supply);
    }

    /// COTs that can be taken before a refill.
    pub fn left(&self) -> u64 {
        self.stock.left()
    }

    /// As [`CotSender::split`].
    ///
    /// # Errors
    /// [`MpcError::Exhausted`].
    pub fn split(&mut self, n: u64) -> Result<Self, MpcError> {
        self.stock.require(usize::try_from(n).unwrap_or(usize::MAX))?;
        Ok(Self { hash: self.hash.clone(), stock: self.stock.split(n), work: pieces::Work::default() })
    }

    /// Drops the COTs in stock; the peer must do so at the same place.
    pub fn discard(&mut self) {
        self.stock.discard();
    }

    /// Index of the COT that is taken next.
    pub fn next_index(&self) -> u64 {
        self.stock.index
    }

    /// Takes `tags.len()` COTs as they are; the choice is the least significant bit. The index of the first.
    ///
    /// # Errors
    /// [`MpcError::Exhausted`]; then nothing was taken.
    pub fn take(&mut self, tags: &mut [u128]) -> Result<u64, MpcError> {
        self.stock.require(tags.len())?;
        Ok(self.stock.take(tags))
    }

    /// Takes `pads.len()` COTs as random 1-of-2 OTs: the choices, 0 or 1, and the low 64 bits of the chosen pads.
    ///
    /// # Errors
    /// [`MpcError::Argument`] if the slices differ in length, [`MpcError::Exhausted`]; then nothing was taken.
    pub fn random(&mut self, choices: &mut [u8], pads: &mut [u64]) -> Result<(), MpcError> {
        self.chosen(choices, pads, low_words)
    }

    /// [`CotReceiver::random`] with pads of 128 bits.
    ///
    /// # Errors
    /// As [`CotReceiver::random`].
    pub fn random_wide(&mut self, choices: &mut [u8], pads: &mut [u128]) -> Result<(), MpcError> {
        self.chosen(choices, pads, |hashes, pads| pads.copy_from_slice(hashes))
    }

    /// `put` puts hashes into as many pads.
    fn chosen<T>(
        &mut self,
        choices: &mut [u8],
        pads: &mut [T],
        put: impl Fn(&[u128], &mut [T]),
    ) -> Result<(), MpcError> {
        same_length(choices, pads)?;
        let n = choices.len();
        let mut rest = pads;
        self.by_piece(
            1,
            n,
            |piece, tags| low_bits(tags, &mut choices[piece]),
            |hashes| {
                if let Some(pads) = rest.split_off_mut(..hashes.len()) {
                    put(hashes, pads);
                }
            },
        )
    }

    /// Takes m COTs per random 1-of-2^m OT: the choices, below 2^m, and the low 64 bits of the chosen pads.
    ///
    /// # Errors
    /// [`MpcError::Argument`] if m is not 2 … 8 or the slices differ in length, [`MpcError::Exhausted`]; then nothing
    /// was taken.
    pub fn random_of(&mut self, m: u32, choices: &mut [u8], pads: &mut [u64]) -> Result<(), MpcError> {
        check_log_messages(m, 0, 1)?;
        same_length(choices, pads)?;
        let mut chosen = pads.iter_mut();
        self.by_piece(
            m,
            choices.len(),
            |piece, tags| {
                for (c, tags) in choices[piece].iter_mut().zip(tags.chunks_exact(m as usize)) {
                    *c = tags.iter().rev().fold(0, |j, t| j << 1 | (t & 1) as u8);
                }
            },
            |hashes| chosen.by_ref().zip(hashes).for_each(|(pad, h)| *pad = *h as u64),
        )
    }
}

fn same_length<A, B>(choices: &[A], pads: &[B]) -> Result<(), MpcError> {
    if choices.len() == pads.len() {
        return Ok(());
    }
    let found = choices.len() as u64;
    Err(MpcError::Argument { what: "number of choices", found, expected: "the number of pads" })
}

impl std::fmt::Debug for CotSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CotSender({} left from {})", self.left(), self.next_index())
    }
}

impl std::fmt::Debug for CotReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CotReceiver({} left from {})", self.left(), self.next_index())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Direction, ideal};
    use oblivia_base::{Digest, Prg};
    use proptest::prelude::*;

    fn pair(n: usize) -> (CotSender, CotReceiver) {
        let label = Label { session: Digest([7; 32]), epoch: 3, direction: Direction::ServerSends };
        ideal::cots(&label, n, &mut Prg::new(&[1; 32], "cot tests", &[]))
    }

    #[test]
    fn a_tag_is_the_key_or_its_twin_as_its_last_bit_says() {
        let (mut s, mut r) = pair(1000);
        let (mut keys, mut tags) = (vec![0; 1000], vec![0; 1000]);
        assert_eq!((s.take(&mut keys).unwrap(), r.take(&mut tags).unwrap()), (0, 0));
        let delta = *s.delta().expose();
        assert!(keys.iter().zip(&tags).all(|(k, t)| *t == if t & 1 == 1 { k ^ delta } else { *k }));
        assert!(keys.iter().all(|k| k & 1 == 0));
    }

    #[test]
    fn what_is_taken_is_gone_and_refused_when_short() {
        let (mut s, mut r) = pair(600);
        s.random(&mut vec![[0; 2]; 599]).unwrap();
        assert_eq!((s.left(), s.next_index()), (1, 599));
        assert_eq!(s.random(&mut [[0; 2]; 2]), Err(MpcError::Exhausted { wanted: 2, left: 1 }));
        assert_eq!(s.next_index(), 599);
        assert_eq!(
            r.random_of(2, &mut [0; 301], &mut [0; 301]),
            Err(MpcError::Exhausted { wanted: 602, left: 600 })
        );
    }

    proptest! {
        #[test]
        fn the_receiver_gets_the_chosen_pad_whatever_the_batches(sizes in prop::collection::vec((0u32..5, 0usize..700), 1..5)) {
            let (mut s, mut r) = pair(5 * 700 * 4);
            for (m, n) in sizes {
                if m < 2 {
                    let (mut pads, mut choices, mut chosen) = (vec![[0; 2]; n], vec![0; n], vec![0; n]);
                    s.random(&mut pads).unwrap();
                    r.random(&mut choices, &mut chosen).unwrap();
                    for ((p, c), got) in pads.iter().zip(&choices).zip(&chosen) {
                        prop_assert_eq!(p[usize::from(*c)], *got);
                        prop_assert_ne!(p[usize::from(1 - *c)], *got);
                    }
                } else {
                    let (mut pads, mut choices, mut chosen) = (vec![0; n << m], vec![0; n], vec![0; n]);
                    s.random_of(m, &mut pads).unwrap();
                    r.random_of(m, &mut choices, &mut chosen).unwrap();
                    for ((p, c), got) in pads.chunks(1 << m).zip(&choices).zip(&chosen) {
                        for (j, pad) in p.iter().enumerate() {
                            prop_assert_eq!(pad == got, j == usize::from(*c));
                        }
                    }
                }
                prop_assert_eq!(s.next_index(), r.next_index());
            }
        }
    }
}
