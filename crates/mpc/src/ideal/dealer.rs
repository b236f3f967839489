//! Random OTs dealt by one trusted hand: both ends draw the same stream and forget what is not theirs.

use crate::bits::require;
use crate::cot::MAX_LOG_MESSAGES;
use crate::pads::Values;
use crate::{Bits, Divisible, MpcError, PadSource};
use oblivia_base::Prg;
use oblivia_base::seed::EntropySource;

/// One end of dealt random OTs in both directions. No security: each end could compute the other's.
pub struct DealtPads {
    sender: Prg,
    chooser: Prg,
    taken: [u64; 2],
}

/// Both ends of an endless stock of random OTs, the first for one party, the second for the other.
pub fn pads(seed: &[u8; 32]) -> [DealtPads; 2] {
    let stream = |direction: &[u8]| Prg::new(seed, "mpc dealt pads v1", &[direction]);
    let end = |a: &[u8], b: &[u8]| DealtPads { sender: stream(a), chooser: stream(b), taken: [0; 2] };
    [end(b"first", b"second"), end(b"second", b"first")]
}

impl DealtPads {
    /// COTs that real stocks would have given, as sender and as chooser.
    pub fn taken(&self) -> [u64; 2] {
        self.taken
    }
}

/// Endless as well; `cots` are counted as taken.
impl Divisible for DealtPads {
    fn split(&mut self, cots: [u64; 2]) -> Result<Self, MpcError> {
        let child = |rng: &mut Prg| {
            let mut seed = [0; 32];
            bytes(rng, &mut seed);
            Prg::new(&seed, "mpc dealt part v1", &[])
        };
        self.taken[0] += cots[0];
        self.taken[1] += cots[1];
        Ok(Self { sender: child(&mut self.sender), chooser: child(&mut self.chooser), taken: [0; 2] })
    }
}

fn bytes(rng: &mut dyn EntropySource, out: &mut [u8]) {
    rng.fill_bytes(out);
}

fn words(rng: &mut dyn EntropySource, n: usize) -> Vec<u64> {
    let mut bytes = vec![0u8; 8 * n];
    rng.fill_bytes(&mut bytes);
    bytes.chunks_exact(8).map(|b| b.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b))).collect()
}

fn planes(rng: &mut Prg, count: usize, n: usize) -> Vec<Bits> {
    (0..count).map(|_| Bits::from_words(n, words(rng, n.div_ceil(64)))).collect()
}

/// Choices, then the pads of all choices, in the order of [`PadSource::send_planes`].
fn draw(rng: &mut Prg, m: u32, w: u32, n: usize) -> Result<[Vec<Bits>; 2], MpcError> {
    require((1..=MAX_LOG_MESSAGES).contains(&m), "log2 of the messages of an OT", m.into(), "1 to 8")?;
    require((1..=64).contains(&w), "width of a pad", w.into(), "1 to 64 bits")?;
    let choices = planes(rng, m as usize, n);
    Ok([choices, planes(rng, (w as usize) << m, n)])
}

impl PadSource for DealtPads {
    fn send_planes(&mut self, m: u32, w: u32, n: usize) -> Result<Vec<Bits>, MpcError> {
        self.taken[0] += u64::from(m) * n as u64;
        let [_, pads] = draw(&mut self.sender, m, w, n)?;
        Ok(pads)
    }

    fn choose_planes(&mut self, m: u32, w: u32, n: usize) -> Result<[Vec<Bits>; 2], MpcError> {
        self.taken[1] += u64::from(m) * n as u64;
        let [choices, pads] = draw(&mut self.chooser, m, w, n)?;
        let mut chosen = vec![Bits::zeros(n); w as usize];
        for (j, pads) in pads.chunks(w as usize).enumerate() {
            let mut hit = Bits::zeros(n).not();
            for (i, c) in choices.iter().enumerate() {
                hit = hit.and(&if j >> i & 1 == 1 { c.clone() } else { c.not() });
            }
            for (sum, pad) in chosen.iter_mut().zip(pads) {
                sum.xor_assign(&hit.and(pad));
            }
        }
        Ok([choices, chosen])
    }

    fn send_values(&mut self, n: usize) -> Result<[Values; 2], MpcError> {
        self.taken[0] += n as u64;
        words(&mut self.sender, n.div_ceil(64));
        Ok([(); 2].map(|()| Values::new(words(&mut self.sender, n))))
    }

    fn choose_values(&mut self, n: usize) -> Result<(Bits, Values), MpcError> {
        self.taken[1] += n as u64;
        let choices = Bits::from_words(n, words(&mut self.chooser, n.div_ceil(64)));
        let [zero, one] = [(); 2].map(|()| words(&mut self.chooser, n));
        let chosen =
            zero.iter().zip(&one).enumerate().map(|(i, (a, b))| if choices.get(i) { *b } else { *a });
        let chosen = Values::new(chosen.collect());
        Ok((choices, chosen))
    }
}

impl std::fmt::Debug for DealtPads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DealtPads({:?} taken)", self.taken)
    }
}
