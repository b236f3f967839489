use crate::rows::Rows;
use crate::{Modulus, RingKind, RingShape, Shoup};

/// log2 of the block that the last forward pass and the first inverse pass hold in registers.
pub(crate) const BLOCK_LOG: u32 = 6;

/// Words per block of 64 in [`Twiddles::block`].
pub(crate) const BLOCK_WORDS: usize = 128;

/// A constant w in [0, q) as the high and the low 52 bits of W = ⌈w·2^104/q⌉: see [`super`].
#[derive(Clone, Copy)]
pub(crate) struct Fraction {
    pub(crate) high: u64,
    pub(crate) low: u64,
}

impl Fraction {
    /// W = 2^52·⌊w·2^52/q⌋ + ⌈r·2^52/q⌉ with r the remainder of the first division. For w > 0 that is not zero, as q
    /// is odd, so that the second division leaves one too; for w = 0, W = 1, which is within the error too.
    pub(crate) fn new(m: &Modulus, w: Shoup) -> Self {
        let rest = m.shoup(m.mul_shoup(m.radix().value(), w));
        Self { high: w.quotient, low: rest.quotient + 1 }
    }

    /// The constant 1.
    pub(crate) fn one(m: &Modulus) -> Self {
        Self { high: m.one().quotient, low: m.radix().quotient + 1 }
    }

    /// The constant 2^52.
    pub(crate) fn radix(m: &Modulus) -> Self {
        Self { high: m.radix().quotient, low: m.radix2().quotient + 1 }
    }

    /// w/2 mod q and its fraction, where this is the one of w: (W + 2^104)/2 for an odd w, else W/2, rounded up, so that
    /// the error is halved and grows by less than 1.
    pub(crate) fn halved(self, m: &Modulus, w: u64) -> (u64, Self) {
        let odd = w & 1;
        let fraction = (u128::from(self.high) << 52) + u128::from(self.low) + (u128::from(odd) << 104);
        let half = fraction.div_ceil(2);
        let low = half as u64 & ((1 << 52) - 1);
        ((w + odd * m.value()) / 2, Self { high: (half >> 52) as u64, low })
    }

    fn of(m: &Modulus, w: u64) -> Self {
        Self::new(m, m.shoup(w))
    }
}

/// Twiddles in the order in which the passes read them, all as a [`Fraction`]: pairs of high and low words.
pub(crate) struct Twiddles {
    /// Per pass, per node of its first level: the constants of that node, of its 2 children, of their 4 children and
    /// so on, as far as the pass goes. Breadth first: 1, 3 or 7 pairs.
    pub(crate) passes: Vec<Rows>,
    /// Per block of 64: for each 16 coefficients the 8 high and 8 low words of stride 1; then for each the 4 high and 4
    /// low words of stride 2; then for each the 2 high and 2 low words of stride 4; then 7 pairs for the levels of stride
    /// 32, 16, 8; two words of padding. Within twos, fours and eights the bit of 8 in the number of a coefficient counts
    /// 1, that of 4 counts 2, that of 2 counts 4: the order of the lanes.
    pub(crate) block: Rows,
}

/// What the outermost level of the conjugate-invariant ring multiplies by: see [`super::ntt`].
pub(crate) struct Conjugate {
    /// −I.
    pub(crate) fold: Fraction,
    /// The outermost twiddle w, and −w·I.
    pub(crate) own: Fraction,
    pub(crate) mirrored: Fraction,
    /// 1/2n, w⁻¹/2n, and I times both.
    pub(crate) low: Fraction,
    pub(crate) high: Fraction,
    pub(crate) low_image: Fraction,
    pub(crate) high_image: Fraction,
}

/// What the vector transforms of one [`crate::NttTable`] need beside its scalars.
pub(crate) struct Tables {
    pub(crate) forward: Twiddles,
    pub(crate) inverse: Twiddles,
    /// What the two outputs of the last inverse level are multiplied by: n⁻¹ and n⁻¹·w⁻¹.
    pub(crate) last_sum: Fraction,
    pub(crate) last_difference: Fraction,
    /// In the conjugate-invariant ring.
    pub(crate) conjugate: Option<Conjugate>,
    /// Whether values may grow through a whole transform without reduction.
    pub(crate) lazy: bool,
}

/// log2 of the radices of the passes over `log_n` levels before the blocks of 64, outermost first; their sum is
/// `log_n` − 6.
pub(crate) fn radices(log_n: u32) -> &'static [u32] {
    const BY_LEVELS: [&[u32]; 12] = [
        &[],
        &[1],
        &[2],
        &[3],
        &[2, 2],
        &[3, 2],
        &[3, 3],
        &[3, 2, 2],
        &[3, 3, 2],
        &[3, 3, 3],
        &[3, 3, 2, 2],
        &[3, 3, 3, 2],
    ];
    BY_LEVELS[(log_n - BLOCK_LOG) as usize]
}

impl Twiddles {
    /// From a tree of constants w and their quotients, for passes that begin at level `start`.
    fn new(m: &Modulus, log_n: u32, start: u32, (w, quotients): (&[u64], &[u64])) -> Self {
        let n = 1usize << log_n;
        let fraction = |node: usize| Fraction::new(m, Shoup { value: w[node], quotient: quotients[node] });
        // The pairs of the subtree of `levels` levels below node `at`, breadth first.
        let subtree = |out: &mut [u64], at: usize, levels: u32| {
            let nodes = (0..levels).flat_map(|l| (0..1usize << l).map(move |k| (at << l) + k));
            for (pair, node) in out.chunks_exact_mut(2).zip(nodes) {
                let w = fraction(node);
                pair.copy_from_slice(&[w.high, w.low]);
            }
        };
        let mut passes = Vec::new();
        let mut level = start;
        for &log in radices(log_n - start) {
            let words = 2 * ((1usize << log) - 1);
            let mut row = Rows::zero(1, words << level);
            for (i, node) in row.row_mut(0).chunks_exact_mut(words).enumerate() {
                subtree(node, (1 << level) + i, log);
            }
            passes.push(row);
            level += log;
        }
        let mut block = Rows::zero(1, n / 64 * BLOCK_WORDS);
        for (g, words) in block.row_mut(0).chunks_exact_mut(BLOCK_WORDS).enumerate() {
            let (stride1, rest) = words.split_at_mut(64);
            let (stride2, rest) = rest.split_at_mut(32);
            let (stride4, whole) = rest.split_at_mut(16);
            subtree(&mut whole[..14], n / 64 + g, 3);
            // Levels of 2^l constants per 16 coefficients, l = 1, 2, 3.
            for (l, words) in [(1, stride4), (2, stride2), (3, stride1)] {
                for (k, words) in words.chunks_exact_mut(2 << l).enumerate() {
                    for lane in 0..1usize << l {
                        let node = ((n / 16 + 4 * g + k) << l) + (lane.reverse_bits() >> (usize::BITS - l));
                        let w = fraction(node);
                        (words[lane], words[(1 << l) + lane]) = (w.high, w.low);
                    }
                }
            }
        }
        Self { passes, block }
    }
}

impl Tables {
    /// From the trees of an [`crate::NttTable`] and n⁻¹; `None` for rings too small, which stay portable.
    pub(crate) fn new(
        shape: RingShape,
        m: &Modulus,
        forward: (&[u64], &[u64]),
        inverse: (&[u64], &[u64]),
        n_inv: u64,
        psi_n: u64,
    ) -> Option<Self> {
        let (log_n, start) = (shape.log_n(), u32::from(shape.kind() == RingKind::ConjugateInvariant));
        if log_n < BLOCK_LOG + start {
            return None;
        }
        let conjugate = (start == 1).then(|| {
            // (q + 1)/2 is 1/2.
            let low = m.mul(n_inv, m.value().div_ceil(2));
            let high = m.mul(low, inverse.0[1]);
            Conjugate {
                fold: Fraction::of(m, m.neg(psi_n)),
                own: Fraction::of(m, forward.0[1]),
                mirrored: Fraction::of(m, m.neg(m.mul(forward.0[1], psi_n))),
                low: Fraction::of(m, low),
                high: Fraction::of(m, high),
                low_image: Fraction::of(m, m.mul(low, psi_n)),
                high_image: Fraction::of(m, m.mul(high, psi_n)),
            }
        });
        // The bounds are derived in `ntt`: (2 log n + 3)·q for the forward transform, 64q for the inverse.
        let growth = (2 * u64::from(log_n) + 3).max(64);
        Some(Self {
            forward: Twiddles::new(m, log_n, start, forward),
            inverse: Twiddles::new(m, log_n, start, inverse),
            last_sum: Fraction::of(m, n_inv),
            last_difference: Fraction::of(m, m.mul(n_inv, inverse.0[1])),
            conjugate,
            lazy: growth * m.value() <= 1 << 52,
        })
    }
}
