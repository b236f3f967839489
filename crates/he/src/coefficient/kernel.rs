//! Elements of a server's weights.

use super::ring::Ring;
use crate::HeError;
use oblivia_ring::word::Term;
use oblivia_ring::{Ntt, Poly};
use std::fmt;

/// Largest |weight| of a kernel.
pub const MAX_WEIGHT: i64 = 1 << 20;

/// A sparse element with small signed coefficients. Weights are the server's secret; shifts are public.
#[derive(Clone, PartialEq, Eq)]
pub struct Kernel {
    n: usize,
    terms: Vec<Term>,
}

impl Kernel {
    /// The sum of weight·X^shift. Shifts ascend strictly; a weight of 0 is a term too (leave it out only if zeros of
    /// the weights are public).
    ///
    /// # Errors
    /// [`HeError::Shape`] for shifts of n or more or out of order, [`HeError::Overflow`] for weights above
    /// [`MAX_WEIGHT`].
    pub fn new(ring: &Ring, terms: &[(u32, i64)]) -> Result<Self, HeError> {
        let n = ring.n();
        if terms.iter().any(|&(shift, _)| shift as usize >= n)
            || terms.windows(2).any(|pair| pair[0].0 >= pair[1].0)
        {
            return Err(HeError::Shape { what: "shifts of a kernel ascend and stay below n" });
        }
        // No more room than they take: there may be a million kernels.
        let mut own = Vec::with_capacity(terms.len());
        for &(shift, w) in terms {
            let weight = i32::try_from(w).ok().filter(|w| i64::from(w.unsigned_abs()) <= MAX_WEIGHT);
            let bits = 64 - w.unsigned_abs().leading_zeros();
            let weight = weight.ok_or(HeError::Overflow { bits, max: MAX_WEIGHT.trailing_zeros() })?;
            own.push(Term { shift, weight });
        }
        Ok(Self { n, terms: own })
    }

    /// Terms, zero weights included.
    pub fn len(&self) -> usize {
        self.terms.len()
    }

    /// Whether there is no term.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Σ|w|.
    pub fn norm1(&self) -> u64 {
        self.terms.iter().map(|t| u64::from(t.weight.unsigned_abs())).sum()
    }

    /// The terms.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").field("terms", &self.terms.len()).finish_non_exhaustive()
    }
}

/// How products by kernels are computed. Results are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// One multiplication and addition per term and coefficient; c0 only where outputs are.
    Sparse,
    /// Transforms modulo a prime, exact; kernels are kept transformed. The only one modulo two primes.
    Transform,
    /// The same with every kernel transformed when a sum takes it: slower, and nothing is kept beside its terms.
    TransformOnUse,
}

/// Sizes of the products of one layer, to choose a [`Method`] by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Input ciphertexts.
    pub inputs: u64,
    /// Output ciphertexts.
    pub outputs: u64,
    /// Products of a ciphertext and a kernel.
    pub products: u64,
    /// Terms of all of these kernels together.
    pub terms: u64,
    /// Multiplications and additions of [`Method::Sparse`]: terms times (n + lanes of the outputs).
    pub sparse_macs: u64,
}

impl Method {
    /// Whether this method is exact for sums modulo 2^`q_bits` whose kernels have Σ|w| ≤ `norm1` together:
    /// [`Method::Sparse`] is always, the others while Σ|w|·2^⌈q/2⌉ stays below 2^49.
    pub fn fits(self, ring: &Ring, q_bits: u32, norm1: u64) -> bool {
        match self {
            Self::Sparse => ring.primes().is_none(),
            Self::Transform => norm1 <= ring.max_norm1(q_bits),
            Self::TransformOnUse => ring.primes().is_none() && norm1 <= ring.max_norm1(q_bits),
        }
    }

    /// The faster one for this work with `kernels` kernels, by unit costs measured with the benchmark `coefficient`. Only their
    /// ratios matter. Kernels of more than [`Method::KEPT_BYTES`] are not kept transformed.
    pub fn choose(ring: &Ring, work: &Work, kernels: u64) -> Self {
        if ring.primes().is_some() {
            return Self::Transform;
        }
        let n = ring.n() as u64;
        // In units of one multiplication and addition.
        let sparse = work.sparse_macs + SPARSE_PRODUCT * n * work.products;
        // Two halves of two components each.
        let transformed = 4 * n * (TRANSFORM * (work.inputs + work.outputs) + PRODUCT * work.products);
        let (method, transformed) = match kernels.saturating_mul(8 * n) <= Self::KEPT_BYTES {
            true => (Self::Transform, transformed),
            false => (Self::TransformOnUse, transformed + n * TRANSFORM * work.products),
        };
        if sparse <= transformed { Self::Sparse } else { method }
    }

    /// Most bytes of the transformed kernels of one layer that are kept.
    pub const KEPT_BYTES: u64 = 16 << 20;
}

/// Costs per coefficient in multiplications and additions of [`Method::Sparse`]: what a product by a sparse kernel takes
/// beside its terms, a transform, and a product by a transformed kernel that comes from memory.
const SPARSE_PRODUCT: u64 = 20;
const TRANSFORM: u64 = 40;
const PRODUCT: u64 = 8;

/// A kernel in the form its products are computed from.
#[derive(Clone)]
pub struct PreparedKernel {
    kernel: Kernel,
    method: Method,
    /// For [`Method::Transform`].
    transformed: Option<Poly<Ntt>>,
}

impl PreparedKernel {
    /// Prepares `kernel`: for [`Method::Transform`] that is one transform, and 8·n bytes, for each prime.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], also for another method than [`Method::Transform`] modulo two primes.
    pub fn new(ring: &Ring, kernel: Kernel, method: Method) -> Result<Self, HeError> {
        if kernel.n != ring.n() || (method != Method::Transform && ring.primes().is_some()) {
            return Err(HeError::ParamsMismatch { what: "kernel" });
        }
        let transformed = (method == Method::Transform).then(|| {
            let mut out = Poly::<Ntt>::zero(ring.basis());
            ring.forward_terms(&kernel.terms, &mut out);
            out
        });
        Ok(Self { kernel, method, transformed })
    }

    /// Bytes of `kernels` kernels of `terms` terms together, prepared for `method`.
    pub fn bytes(ring: &Ring, kernels: u64, terms: u64, method: Method) -> u64 {
        // With what an allocator takes for each.
        let each = (size_of::<Self>() + 16) as u64;
        let rows = ring.basis().limbs() * ring.n();
        let transformed = if method == Method::Transform { 8 * rows as u64 + 32 } else { 0 };
        kernels * (each + transformed) + terms * size_of::<Term>() as u64
    }

    /// The kernel.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// How products by it are computed.
    pub fn method(&self) -> Method {
        self.method
    }

    pub(super) fn transformed(&self) -> Option<&Poly<Ntt>> {
        self.transformed.as_ref()
    }

    /// n.
    pub(super) fn n(&self) -> usize {
        self.kernel.n
    }
}

impl fmt::Debug for PreparedKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kernel.fmt(f)
    }
}
