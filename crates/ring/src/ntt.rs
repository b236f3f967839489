use crate::rows::Rows;
use crate::{Modulus, RingError, RingKind, RingShape, Shoup, kernel};
use std::fmt;
use std::sync::OnceLock;

/// One ring and one prime: the constants of the number-theoretic transform.
///
/// Output i of the transform is f(ψ^e(i)) with e from [`RingShape::exponent`] and ψ fixed by rule: x the least
/// quadratic non-residue, ψ = x^((q−1)/order).
pub struct NttTable {
    shape: RingShape,
    modulus: Modulus,
    psi: u64,
    psi_inv: u64,
    n_inv: u64,
    half: u64,
    /// Made when first used: whoever only looks at parameters needs none.
    constants: OnceLock<Constants>,
}

/// What transforms read.
struct Constants {
    /// Four rows of n: w, ⌊w·2^52/q⌋, w⁻¹, ⌊w⁻¹·2^52/q⌋. Node i of the level with m nodes is entry m + i.
    twiddles: Rows,
    scale: InverseScale,
    /// The twiddles again in the order of the vector kernels, where the machine has them.
    #[cfg(target_arch = "x86_64")]
    vector: Option<kernel::Tables>,
}

/// What the inverse transform multiplies by at its end.
#[derive(Clone, Copy)]
pub(crate) enum InverseScale {
    /// Merged into the last stage.
    Standard {
        /// n⁻¹.
        n_inv: Shoup,
        /// n⁻¹ times the inverse twiddle of the last stage.
        n_inv_w: Shoup,
    },
    /// Merged into the unfolding; `fold` is used by the forward transform.
    ConjugateInvariant {
        /// I = ψ^n, a square root of −1.
        fold: Shoup,
        /// n⁻¹.
        n_inv: Shoup,
        /// n⁻¹/2.
        half: Shoup,
        /// I·n⁻¹/2.
        half_fold: Shoup,
    },
}

impl NttTable {
    /// The tables of `shape` modulo `modulus`.
    ///
    /// # Errors
    /// [`RingError::NoRoot`] unless q ≡ 1 modulo [`RingShape::order`].
    pub fn new(shape: RingShape, modulus: Modulus) -> Result<Self, RingError> {
        let (q, order, n) = (modulus.value(), shape.order(), shape.n());
        let no_root = RingError::NoRoot { q, order };
        if q % order != 1 {
            return Err(no_root);
        }
        // A prime has a non-residue, and the least one is small.
        let x = (2..q).find(|&x| modulus.pow(x, (q - 1) / 2) == q - 1).ok_or(no_root.clone())?;
        let psi = modulus.pow(x, (q - 1) / order);
        let inv = |a: u64| modulus.inv(a).ok_or(no_root.clone());
        let (psi_inv, n_inv, half) = (inv(psi)?, inv(n as u64 % q)?, inv(2)?);
        Ok(Self { shape, modulus, psi, psi_inv, n_inv, half, constants: OnceLock::new() })
    }

    fn constants(&self) -> &Constants {
        self.constants.get_or_init(|| Constants::new(self))
    }

    /// Kind and degree.
    pub fn shape(&self) -> RingShape {
        self.shape
    }

    /// The prime.
    #[inline]
    pub fn modulus(&self) -> &Modulus {
        &self.modulus
    }

    /// Coefficients per row.
    pub fn n(&self) -> usize {
        self.shape.n()
    }

    /// The root of unity ψ of order [`RingShape::order`].
    pub fn psi(&self) -> u64 {
        self.psi
    }

    /// (w, ⌊w·2^52/q⌋) of the forward tree.
    pub(crate) fn forward_twiddles(&self) -> (&[u64], &[u64]) {
        let twiddles = &self.constants().twiddles;
        (twiddles.row(0), twiddles.row(1))
    }

    /// (w⁻¹, ⌊w⁻¹·2^52/q⌋) of the inverse tree.
    pub(crate) fn inverse_twiddles(&self) -> (&[u64], &[u64]) {
        let twiddles = &self.constants().twiddles;
        (twiddles.row(2), twiddles.row(3))
    }

    pub(crate) fn scale(&self) -> InverseScale {
        self.constants().scale
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(crate) fn vector(&self) -> Option<&kernel::Tables> {
        self.constants().vector.as_ref()
    }

    /// Coefficients to values, in place; see [`kernel::forward`].
    pub fn forward(&self, row: &mut [u64]) {
        kernel::forward(self, row);
    }

    /// Values to coefficients, in place; see [`kernel::inverse`].
    pub fn inverse(&self, row: &mut [u64]) {
        kernel::inverse(self, row);
    }
}

impl Constants {
    fn new(table: &NttTable) -> Self {
        let NttTable { shape, modulus, psi, psi_inv, n_inv, half, .. } = *table;
        let n = shape.n();
        // Powers of ψ in bit-reversed order over the tree of the standard ring of dimension `leaves`; the
        // conjugate-invariant tree is the left half of the one twice as large: its node (m, i) is (2m, i).
        let (leaves_log, doubled) = match shape.kind() {
            RingKind::Standard => (shape.log_n(), 0),
            RingKind::ConjugateInvariant => (shape.log_n() + 1, 1),
        };
        let mut twiddles = Rows::zero(4, n);
        let powers = |base: u64| {
            let mut p = Vec::with_capacity(1 << leaves_log);
            let mut v = 1;
            for _ in 0..1usize << leaves_log {
                p.push(v);
                v = modulus.mul(v, base);
            }
            p
        };
        for (row, base) in [(0, psi), (2, psi_inv)] {
            let powers = powers(base);
            for at in 1..n {
                let level = at.ilog2() as usize; // m = 2^level, at = m + i
                let node = at + (doubled << level);
                let w = modulus.shoup(powers[node.reverse_bits() >> (usize::BITS - leaves_log)]);
                twiddles.row_mut(row)[at] = w.value;
                twiddles.row_mut(row + 1)[at] = w.quotient;
            }
        }
        let scale = match shape.kind() {
            RingKind::Standard => InverseScale::Standard {
                n_inv: modulus.shoup(n_inv),
                n_inv_w: modulus.shoup(modulus.mul(n_inv, twiddles.row(2)[1])),
            },
            RingKind::ConjugateInvariant => {
                let fold = modulus.pow(psi, n as u64);
                let half = modulus.mul(n_inv, half);
                InverseScale::ConjugateInvariant {
                    fold: modulus.shoup(fold),
                    n_inv: modulus.shoup(n_inv),
                    half: modulus.shoup(half),
                    half_fold: modulus.shoup(modulus.mul(half, fold)),
                }
            }
        };
        #[cfg(target_arch = "x86_64")]
        let vector = if kernel::Path::available().contains(&kernel::Path::Avx512Ifma) {
            let (forward, inverse) = ((twiddles.row(0), twiddles.row(1)), (twiddles.row(2), twiddles.row(3)));
            kernel::Tables::new(shape, &modulus, forward, inverse, n_inv, modulus.pow(psi, n as u64))
        } else {
            None
        };
        Self {
            twiddles,
            scale,
            #[cfg(target_arch = "x86_64")]
            vector,
        }
    }
}

impl fmt::Debug for NttTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NttTable")
            .field("shape", &self.shape)
            .field("q", &self.modulus.value())
            .finish_non_exhaustive()
    }
}
