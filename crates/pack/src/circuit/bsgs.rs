//! Sums of rotated and weighted copies of a vector, by baby steps and giant steps.

use crate::circuit::accumulate;
use crate::slots::{CircuitError, Plains, Scale, Slots};

/// Which diagonals of a matrix are there: `y = Σ_d w_d ⊙ (x rotated left by d)`.
///
/// With a baby size `b`, `d = g·b + i`: the rotations by `i < b` share one decomposition, the partial sum of
/// each `g` is rotated by `g·b`, and the plaintext of `d` is `w_d` rotated *right* by `g·b`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagonals {
    count: usize,
    baby: usize,
}

impl Diagonals {
    /// Diagonals `0..count` in groups of `baby`, both at least 1.
    pub fn new(count: usize, baby: usize) -> Result<Self, CircuitError> {
        if count == 0 || baby == 0 {
            return Err(CircuitError::Count { what: "diagonals", expected: 1, found: 0 });
        }
        Ok(Self { count, baby: baby.min(count) })
    }

    /// Number of diagonals.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Diagonals that share a giant step.
    pub fn baby(&self) -> usize {
        self.baby
    }

    /// The plaintexts in order of use, made from the diagonals `w(d)`.
    pub fn plains(&self, slots: usize, w: impl Fn(usize) -> Vec<f64>) -> Vec<Vec<f64>> {
        (0..self.count)
            .map(|d| {
                let mut v = w(d);
                v.resize(slots, 0.0);
                v.rotate_right((d - d % self.baby) % slots);
                v
            })
            .collect()
    }

    /// Runs it; the result has the scale of a product.
    pub fn run<S: Slots>(
        &self,
        s: &mut S,
        x: &S::Ct,
        plains: &mut Plains<'_, S::Pt>,
        target: Scale,
    ) -> Result<S::Ct, S::Error> {
        let babies: Vec<usize> = (0..self.baby).collect();
        let babies = s.rotate_hoisted(x, &babies)?;
        let mut sum: Option<S::Ct> = None;
        for start in (0..self.count).step_by(self.baby) {
            let group = self.baby.min(self.count - start);
            let xs: Vec<&S::Ct> = babies.iter().take(group).collect();
            let inner = s.dot_plain(&xs, &plains.take_many(group)?, target)?;
            let inner = s.rotate(&inner, start)?;
            accumulate(s, &mut sum, inner)?;
        }
        sum.ok_or_else(|| CircuitError::Count { what: "diagonals", expected: 1, found: 0 }.into())
    }
}

/// Rotations of `count` diagonals in groups of `baby`.
pub fn rotations_of(count: usize, baby: usize) -> usize {
    baby.min(count) - 1 + count.div_ceil(baby) - 1
}

/// The smallest baby size with the fewest rotations.
pub fn best_baby(count: usize) -> usize {
    (1..=count.max(1)).min_by_key(|&b| rotations_of(count.max(1), b)).unwrap_or(1)
}
