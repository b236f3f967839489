//! Random OTs in the shapes that protocols on shares take them in.

use crate::bits::require;
use crate::cot::MAX_LOG_MESSAGES;
use crate::{Bits, CotReceiver, CotSender, MpcError};
use zeroize::{Zeroize, Zeroizing};

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

/// Lanes hashed at a time.
const BLOCK: usize = 64;

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

    /// Appends one word to each plane from the values of at most 64 lanes, plane i from bit i.
    fn push<'a>(planes: &mut [Vec<u64>], lanes: impl Iterator<Item = &'a u64> + Clone) {
        for (i, plane) in planes.iter_mut().enumerate() {
            plane.push(lanes.clone().enumerate().fold(0, |word, (lane, v)| word | (v >> i & 1) << lane));
        }
    }

    fn finish(self, n: usize) -> Vec<Bits> {
        self.0.into_iter().map(|words| Bits::from_words(n, words)).collect()
    }
}

impl PadSource for CotPads {
    fn send_planes(&mut self, m: u32, w: u32, n: usize) -> Result<Vec<Bits>, MpcError> {
        check(m, w)?;
        in_stock(n.saturating_mul(m as usize), self.sender.left())?;
        let (pads, w) = (1usize << m, w as usize);
        let mut planes = Planes::new(pads * w, n);
        let mut block = Zeroizing::new(vec![0u64; BLOCK * pads]);
        let mut pairs = Zeroizing::new([[0u64; 2]; BLOCK]);
        for lanes in (0..n).step_by(BLOCK).map(|at| BLOCK.min(n - at)) {
            let block = &mut block[..lanes * pads];
            if m == 1 {
                let pairs = &mut pairs[..lanes];
                self.sender.random(pairs)?;
                block.copy_from_slice(pairs.as_flattened());
            } else {
                self.sender.random_of(m, block)?;
            }
            for (j, planes) in planes.0.chunks_mut(w).enumerate() {
                Planes::push(planes, block.iter().skip(j).step_by(pads));
            }
        }
        Ok(planes.finish(n))
    }

    fn choose_planes(&mut self, m: u32, w: u32, n: usize) -> Result<[Vec<Bits>; 2], MpcError> {
        check(m, w)?;
        in_stock(n.saturating_mul(m as usize), self.chooser.left())?;
        let mut choices = Planes::new(m as usize, n);
        let mut planes = Planes::new(w as usize, n);
        let mut small = Zeroizing::new([0u8; BLOCK]);
        let mut wide = Zeroizing::new([0u64; BLOCK]);
        let mut block = Zeroizing::new([0u64; BLOCK]);
        for lanes in (0..n).step_by(BLOCK).map(|at| BLOCK.min(n - at)) {
            let (small, block) = (&mut small[..lanes], &mut block[..lanes]);
            if m == 1 {
                self.chooser.random(small, block)?;
            } else {
                self.chooser.random_of(m, small, block)?;
            }
            for (w, s) in wide.iter_mut().zip(&*small) {
                *w = u64::from(*s);
            }
            Planes::push(&mut choices.0, wide[..lanes].iter());
            Planes::push(&mut planes.0, block.iter());
        }
        Ok([choices.finish(n), planes.finish(n)])
    }

    fn send_values(&mut self, n: usize) -> Result<[Values; 2], MpcError> {
        in_stock(n, self.sender.left())?;
        let mut pairs = Zeroizing::new([[0u64; 2]; BLOCK]);
        let mut out = [(); 2].map(|()| Values::new(Vec::with_capacity(n)));
        for lanes in (0..n).step_by(BLOCK).map(|at| BLOCK.min(n - at)) {
            let pairs = &mut pairs[..lanes];
            self.sender.random(pairs)?;
            let [zero, one] = &mut out;
            zero.extend(pairs.iter().map(|p| p[0]));
            one.extend(pairs.iter().map(|p| p[1]));
        }
        Ok(out)
    }

    fn choose_values(&mut self, n: usize) -> Result<(Bits, Values), MpcError> {
        let mut choices = vec![0u8; n];
        let mut pads = Values::new(vec![0u64; n]);
        self.chooser.random(&mut choices, &mut pads)?;
        let bits = Bits::from_fn(n, |i| choices[i] == 1);
        choices.zeroize();
        Ok((bits, pads))
    }
}
