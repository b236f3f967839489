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

/// Random OTs of which a part can be given away, to be taken by another thread.
pub trait Divisible: PadSource + Sized {
    /// A source of the next OTs that take so many correlated ones, where this party is the sender and where it chooses. They
    /// are gone from this one; the peer must do so at the same place.
    ///
    /// # Errors
    /// [`MpcError::Exhausted`].
    fn split(&mut self, cots: [u64; 2]) -> Result<Self, MpcError>;
}

impl Divisible for CotPads {
    fn split(&mut self, [sent, chosen]: [u64; 2]) -> Result<Self, MpcError> {
        Ok(Self { sender: self.sender.split(sent)?, chooser: self.chooser.split(chosen)? })
    }
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

    /// Drops what is left in both stocks; the peer must do so at the same place.
    pub fn discard(&mut self) {
        self.sender.discard();
        self.chooser.discard();
    }

    /// COTs left where this party is the sender, and where it chooses.
    pub fn left(&self) -> [u64; 2] {
        [self.sender.left(), self.chooser.left()]
    }
}

fn check(m: u32, w: u32) -> Result<(), MpcError> {
    require((1..=MAX_LOG_MESSAGES).contains(&m), "log2 of the messages of an OT", m.into(), "1 to 8")?;
    require((1..=64).contains(&w), "width of a pad", w.into(), "1 to 64 bits")
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

impl PadSource for CotPads {
    fn send_planes(&mut self, m: u32, w: u32, n: usize) -> Result<Vec<Bits>, MpcError> {
        check(m, w)?;
        let mut planes = Planes::new((w as usize) << m, n);
        self.sender.random_planes(m, n, &mut planes.0)?;
        Ok(planes.finish(n))
    }

    fn choose_planes(&mut self, m: u32, w: u32, n: usize) -> Result<[Vec<Bits>; 2], MpcError> {
        check(m, w)?;
        let mut choices = Planes::new(m as usize, n);
        let mut planes = Planes::new(w as usize, n);
        self.chooser.random_planes(m, n, &mut choices.0, &mut planes.0)?;
        Ok([choices.finish(n), planes.finish(n)])
    }

    fn send_values(&mut self, n: usize) -> Result<[Values; 2], MpcError> {
        let [mut zero, mut one] = [(); 2].map(|()| Values::new(Vec::with_capacity(n)));
        self.sender.random_pairs(n, [&mut zero, &mut one])?;
        Ok([zero, one])
    }

    fn choose_values(&mut self, n: usize) -> Result<(Bits, Values), MpcError> {
        let mut choices = Vec::with_capacity(n.div_ceil(64));
        let mut pads = Values::new(Vec::with_capacity(n));
        self.chooser.random_pairs(n, &mut choices, &mut pads)?;
        Ok((Bits::from_words(n, choices), pads))
    }
}
