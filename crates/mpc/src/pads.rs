//! Random OTs in the shapes that protocols on shares take them in.

use crate::bits::require;
use crate::cot::MAX_LOG_MESSAGES;
use crate::{Bits, CotReceiver, CotSender, MpcError};
use zeroize::Zeroizing;

/// Ring elements that are zeroised on drop.
pub type Values = Zeroizing<Vec<u64>>;

/// One party's ends of random OTs in both directions, each taken once and in the same order at both ends.
///
/// A random 1-of-2^m OT gives the sender 2^m pads and the chooser a uniform c < 2^m and pad number c; it takes m
/// correlated OTs.
pub trait PadSource: Send {
    /// `n` OTs as sender, one per lane, pads of `w` bits: 2^m·w planes, bit i of pad j is plane j·w + i.
    ///
    /// # Errors
    /// [`MpcError::Exhausted`]; [`MpcError::Argument`] unless 1 ≤ m ≤ 8 and 1 ≤ w ≤ 64.
    fn send_planes(&mut self, m: u32, w: u32, n: usize) -> Result<Vec<Bits>, MpcError>;

    /// The other end of [`PadSource::send_planes`]: the m planes of c and the `w` planes of its pad, low bits first.
    ///
    /// # Errors
    /// As [`PadSource::send_planes`].
    fn choose_planes(&mut self, m: u32, w: u32, n: usize) -> Result<[Vec<Bits>; 2], MpcError>;

    /// `n` 1-of-2 OTs as sender: pads 0 and pads 1, of 64 bits.
    ///
    /// # Errors
    /// [`MpcError::Exhausted`].
    fn send_values(&mut self, n: usize) -> Result<[Values; 2], MpcError>;

    /// The other end of [`PadSource::send_values`]: choices and chosen pads.
    ///
    /// # Errors
    /// [`MpcError::Exhausted`].
    fn choose_values(&mut self, n: usize) -> Result<(Bits, Values), MpcError>;
}

/// Random OTs hashed when they are asked for from a stock of correlated ones in each direction.
#[derive(Debug)]
pub struct CotPads {
    sender: CotSender,
    chooser: CotReceiver,
}

impl CotPads {
    /// From the stock in which this party is the sender and the one in which it chooses.
    pub fn new(sender: CotSender, chooser: CotReceiver) -> Self {
        Self { sender, chooser }
    }

    /// Takes the stocks back, to be refilled or put away.
    pub fn into_parts(self) -> (CotSender, CotReceiver) {
        (self.sender, self.chooser)
    }

    /// COTs left where this party is the sender, and where it chooses.
    pub fn left(&self) -> [u64; 2] {
        [self.sender.left(), self.chooser.left()]
    }
}

/// Lanes hashed at a time: enough for what a call sets up and wipes not to count.
const BLOCK: usize = 2048;

/// Lanes of each block of `n`.
fn blocks(n: usize) -> impl Iterator<Item = usize> {
    (0..n).step_by(BLOCK).map(move |at| BLOCK.min(n - at))
}

fn check(m: u32, w: u32) -> Result<(), MpcError> {
    require((1..=MAX_LOG_MESSAGES).contains(&m), "log2 of the messages of an OT", m.into(), "1 to 8")?;
    require((1..=64).contains(&w), "width of a pad", w.into(), "1 to 64 bits")
}

/// Refuses before the first lane is taken.
fn in_stock(wanted: usize, left: u64) -> Result<(), MpcError> {
    let wanted = wanted as u64;
    if wanted <= left { Ok(()) } else { Err(MpcError::Exhausted { wanted, left }) }
}

/// Planes that grow by a word at a time.
struct Planes(Vec<Vec<u64>>);

impl Planes {
    fn new(planes: usize, n: usize) -> Self {
        Self((0..planes).map(|_| Vec::with_capacity(n.div_ceil(64))).collect())
    }

    fn finish(self, n: usize) -> Vec<Bits> {
        self.0.into_iter().map(|words| Bits::from_words(n, words)).collect()
    }
}

/// Bit `i` of every lane, lane k at bit k.
fn column(lanes: &[u64; 64], i: usize) -> u64 {
    lanes.iter().enumerate().fold(0, |word, (lane, v)| word | (v >> i & 1) << lane)
}

/// Appends one word to each plane, plane i from bit i of the lanes.
fn push(planes: &mut [Vec<u64>], lanes: &[u64; 64]) {
    for (i, plane) in planes.iter_mut().enumerate() {
        plane.push(column(lanes, i));
    }
}

impl PadSource for CotPads {
    fn send_planes(&mut self, m: u32, w: u32, n: usize) -> Result<Vec<Bits>, MpcError> {
        check(m, w)?;
        in_stock(n.saturating_mul(m as usize), self.sender.left())?;
        let (pads, w) = (1usize << m, w as usize);
        let mut planes = Planes::new(pads * w, n);
        let mut block = Zeroizing::new(vec![0u64; if m == 1 { 0 } else { BLOCK * pads }]);
        let mut pairs = Zeroizing::new(vec![[0u64; 2]; if m == 1 { BLOCK } else { 0 }]);
        let mut rows = Zeroizing::new([0u64; 64]);
        for lanes in blocks(n) {
            let block = if m == 1 {
                let pairs = &mut pairs[..lanes];
                self.sender.random(pairs)?;
                pairs.as_flattened()
            } else {
                let block = &mut block[..lanes * pads];
                self.sender.random_of(m, block)?;
                &*block
            };
            for block in block.chunks(64 * pads) {
                for (j, planes) in planes.0.chunks_mut(w).enumerate() {
                    for (row, group) in rows.iter_mut().zip(block.chunks_exact(pads)) {
                        *row = group[j];
                    }
                    push(planes, &rows);
                }
            }
        }
        Ok(planes.finish(n))
    }

    fn choose_planes(&mut self, m: u32, w: u32, n: usize) -> Result<[Vec<Bits>; 2], MpcError> {
        check(m, w)?;
        in_stock(n.saturating_mul(m as usize), self.chooser.left())?;
        let mut choices = Planes::new(m as usize, n);
        let mut planes = Planes::new(w as usize, n);
        let mut small = Zeroizing::new(vec![0u8; BLOCK]);
        let mut block = Zeroizing::new(vec![0u64; BLOCK]);
        let mut rows = Zeroizing::new([0u64; 64]);
        for lanes in blocks(n) {
            let (small, pads) = (&mut small[..lanes], &mut block[..lanes]);
            if m == 1 {
                self.chooser.random(small, pads)?;
            } else {
                self.chooser.random_of(m, small, pads)?;
            }
            for (small, pads) in small.chunks(64).zip(pads.chunks(64)) {
                for (row, s) in rows.iter_mut().zip(small) {
                    *row = u64::from(*s);
                }
                push(&mut choices.0, &rows);
                rows[..pads.len()].copy_from_slice(pads);
                push(&mut planes.0, &rows);
            }
        }
        Ok([choices.finish(n), planes.finish(n)])
    }

    fn send_values(&mut self, n: usize) -> Result<[Values; 2], MpcError> {
        in_stock(n, self.sender.left())?;
        let mut pairs = Zeroizing::new(vec![[0u64; 2]; BLOCK]);
        let mut out = [(); 2].map(|()| Values::new(Vec::with_capacity(n)));
        for lanes in blocks(n) {
            let pairs = &mut pairs[..lanes];
            self.sender.random(pairs)?;
            let [zero, one] = &mut out;
            zero.extend(pairs.iter().map(|p| p[0]));
            one.extend(pairs.iter().map(|p| p[1]));
        }
        Ok(out)
    }

    fn choose_values(&mut self, n: usize) -> Result<(Bits, Values), MpcError> {
        in_stock(n, self.chooser.left())?;
        let mut words = Vec::with_capacity(n.div_ceil(64));
        let mut small = Zeroizing::new(vec![0u8; BLOCK]);
        let mut pads = Values::new(vec![0u64; n]);
        for pads in pads.chunks_mut(BLOCK) {
            let small = &mut small[..pads.len()];
            self.chooser.random(small, pads)?;
            words.extend(small.chunks(64).map(|c| c.iter().rev().fold(0, |w, b| w << 1 | u64::from(*b))));
        }
        Ok((Bits::from_words(n, words), pads))
    }
}
