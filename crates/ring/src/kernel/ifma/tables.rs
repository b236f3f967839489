use crate::rows::Rows;
use crate::{Modulus, RingKind, RingShape, Shoup};

/// log2 of the block that the last forward pass and the first inverse pass hold in registers.
pub(crate) const BLOCK_LOG: u32 = 6;

/// Words per block of 64 in [`Twiddles::block`].
pub(crate) const BLOCK_WORDS: usize = 128;

/// Twiddles in the order in which the passes read them.
pub(crate) struct Twiddles {
    /// Per pass, per node of its first level: (w, w') of that node, of its 2 children and of their 4 children, as
    /// far as the pass goes. Breadth first: 1, 3 or 7 pairs.
    pub(crate) passes: Vec<Rows>,
    /// Per block of 64: 7 pairs for the levels of stride 32, 16, 8; two words of padding; then 7 pairs of vectors for
    /// the strides 4 (one), 2 (two), 1 (four), whose lane j belongs to the j-th eight coefficients.
    pub(crate) block: Rows,
}

/// What the vector transforms of one [`crate::NttTable`] need beside its scalars.
pub(crate) struct Tables {
    pub(crate) forward: Twiddles,
    pub(crate) inverse: Twiddles,
    /// What the two outputs of the last inverse stage are multiplied by: n⁻¹ and n⁻¹·w⁻¹, or half of both in the
    /// conjugate-invariant ring, where unfolding adds two of them.
    pub(crate) last_sum: Shoup,
    pub(crate) last_difference: Shoup,
    /// I = ψ^n of the conjugate-invariant ring.
    pub(crate) fold: Option<Shoup>,
    /// Whether values may grow through a whole transform without reduction.
    pub(crate) lazy: bool,
}

/// log2 of the radices of the passes before the blocks of 64, outermost first; their sum is log n − 6.
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
    fn new(log_n: u32, w: &[u64], quotients: &[u64]) -> Self {
        let n = 1usize << log_n;
        // The pairs of the subtree of `levels` levels below node `at`, breadth first.
        let subtree = |out: &mut [u64], at: usize, levels: u32| {
            let nodes = (0..levels).flat_map(|l| (0..1usize << l).map(move |k| (at << l) + k));
            for (pair, node) in out.chunks_exact_mut(2).zip(nodes) {
                pair.copy_from_slice(&[w[node], quotients[node]]);
            }
        };
        let mut passes = Vec::new();
        let mut level = 0;
        for &log in radices(log_n) {
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
            let (pairs, vectors) = words.split_at_mut(16);
            subtree(&mut pairs[..14], n / 64 + g, 3);
            let nodes = (0..3).flat_map(|l| (0..1usize << l).map(move |k| (l, k)));
            for (vector, (l, k)) in vectors.chunks_exact_mut(16).zip(nodes) {
                for lane in 0..8 {
                    let node = ((n / 8 + 8 * g + lane) << l) + k;
                    (vector[lane], vector[8 + lane]) = (w[node], quotients[node]);
                }
            }
        }
        Self { passes, block }
    }
}

impl Tables {
    /// From the trees of an [`crate::NttTable`] and n⁻¹; `None` for rings below 64, which stay portable.
    pub(crate) fn new(
        shape: RingShape,
        m: &Modulus,
        forward: (&[u64], &[u64]),
        inverse: (&[u64], &[u64]),
        n_inv: u64,
        psi_n: u64,
    ) -> Option<Self> {
        if shape.log_n() < BLOCK_LOG {
            return None;
        }
        let (scale, fold) = match shape.kind() {
            RingKind::Standard => (n_inv, None),
            // (q + 1)/2 is 1/2.
            RingKind::ConjugateInvariant => (m.mul(n_inv, m.value().div_ceil(2)), Some(m.shoup(psi_n))),
        };
        // The bounds are derived in `ntt`: (4 log n + 3)·q for the forward transform, 64q for the inverse.
        let growth = (4 * u64::from(shape.log_n()) + 3).max(64);
        Some(Self {
            forward: Twiddles::new(shape.log_n(), forward.0, forward.1),
            inverse: Twiddles::new(shape.log_n(), inverse.0, inverse.1),
            last_sum: m.shoup(scale),
            last_difference: m.shoup(m.mul(scale, inverse.0[1])),
            fold,
            lazy: growth * m.value() <= 1 << 52,
        })
    }
}
