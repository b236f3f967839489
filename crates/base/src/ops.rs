//! Homomorphic operations, as counted by circuits before they run and by evaluators while they run.

use serde::Serialize;
use std::ops::AddAssign;

/// Numbers of homomorphic operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct OpCounts {
    /// Slot rotations with their own decomposition.
    pub rotations: u64,
    /// Slot rotations that share a decomposition (hoisted).
    pub hoisted: u64,
    /// Ciphertext × ciphertext products, squares included.
    pub ct_mul: u64,
    /// Plaintext × ciphertext products.
    pub pt_mul: u64,
    /// Integer scalar × ciphertext products.
    pub scalar_mul: u64,
    /// Ciphertext and plaintext additions.
    pub add: u64,
    /// Relinearisations.
    pub relin: u64,
    /// Rescales.
    pub rescale: u64,
    /// Number-theoretic transforms of one limb, both directions.
    pub ntt: u64,
}

impl OpCounts {
    /// Homomorphic operations in the sense of the literature: rotations (hoisted too), products and
    /// additions; relinearisations and rescales belong to the products.
    pub fn homomorphic(&self) -> u64 {
        self.rotations + self.hoisted + self.ct_mul + self.pt_mul + self.scalar_mul + self.add
    }

    /// All nine, in the order of declaration.
    pub fn fields(&self) -> [u64; 9] {
        let Self { rotations, hoisted, ct_mul, pt_mul, scalar_mul, add, relin, rescale, ntt } = *self;
        [rotations, hoisted, ct_mul, pt_mul, scalar_mul, add, relin, rescale, ntt]
    }

    /// `times` times these counts, saturating.
    pub fn times(self, times: u64) -> Self {
        let [rotations, hoisted, ct_mul, pt_mul, scalar_mul, add, relin, rescale, ntt] =
            self.fields().map(|v| v.saturating_mul(times));
        Self { rotations, hoisted, ct_mul, pt_mul, scalar_mul, add, relin, rescale, ntt }
    }
}

impl AddAssign for OpCounts {
    fn add_assign(&mut self, o: Self) {
        self.rotations += o.rotations;
        self.hoisted += o.hoisted;
        self.ct_mul += o.ct_mul;
        self.pt_mul += o.pt_mul;
        self.scalar_mul += o.scalar_mul;
        self.add += o.add;
        self.relin += o.relin;
        self.rescale += o.rescale;
        self.ntt += o.ntt;
    }
}
