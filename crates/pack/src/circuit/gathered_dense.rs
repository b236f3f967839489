//! A dense layer on the output of [`crate::circuit::ReplicatedDense`].

use crate::circuit::{Diagonals, ReplicatedDense, fold};
use crate::slots::{CircuitError, Plain, Plains, Scale, Slots};

/// `y = W·x + b` where `x_i` is at slot `⌊i / m⌋·block + i mod m` and the other slots hold anything.
///
/// The product `W[j, i]·x_i` is to land at slot `⌊i / m⌋·block + j`, so `x` moves left by
/// `(i mod m) − j`: `m + out − 1` diagonals after one shift by `out − 1`, then a fold over the blocks. All
/// slots but `k mod block < out` end up zero: their plaintexts are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GatheredDense {
    inputs: usize,
    outputs: usize,
    slots: usize,
    block: usize,
    rows: usize,
    diagonals: Diagonals,
}

impl GatheredDense {
    /// The layer with `outputs` rows on the output of `before`, which has `inputs` rows.
    pub fn new(
        before: &ReplicatedDense,
        inputs: usize,
        outputs: usize,
        slots: usize,
        baby: Option<usize>,
    ) -> Result<Self, CircuitError> {
        let (block, rows) = (before.block(), before.rows());
        if outputs == 0 || outputs > block {
            let what = "a dense layer on gathered rows";
            return Err(CircuitError::DoesNotFit { what, needed: outputs * (slots / block), slots });
        }
        let count = rows + outputs - 1;
        let diagonals = Diagonals::new(count, baby.unwrap_or_else(|| super::best_baby(count)))?;
        Ok(Self { inputs, outputs, slots, block, rows, diagonals })
    }

    /// The baby size in use.
    pub fn baby(&self) -> usize {
        self.diagonals.baby()
    }

    /// The plaintexts in order of use: the diagonals, then the bias. `weight(i, j)` is row `i`, column `j`.
    pub fn plains(&self, weight: impl Fn(usize, usize) -> f64, bias: impl Fn(usize) -> f64) -> Vec<Plain> {
        let diagonal = |d: usize| {
            let mut w = vec![0.0; self.slots];
            for column in 0..self.inputs {
                // d = column mod m − row + outputs − 1
                let Some(row) = (column % self.rows + self.outputs - 1).checked_sub(d) else { continue };
                let slot = column / self.rows * self.block + row;
                if let Some(w) = w.get_mut(slot).filter(|_| row < self.outputs) {
                    *w = weight(row, column);
                }
            }
            w
        };
        let mut plains: Vec<Plain> =
            self.diagonals.plains(self.slots, diagonal).into_iter().map(Plain::Slots).collect();
        plains.push(Plain::Slots((0..self.outputs).map(bias).collect()));
        plains
    }

    /// Runs it; output `i` is at slot `i` and the result has the scale of a product.
    pub fn run<S: Slots>(
        &self,
        s: &mut S,
        x: &S::Ct,
        plains: &mut Plains<'_, S::Pt>,
        target: Scale,
    ) -> Result<S::Ct, S::Error> {
        let shifted = s.rotate(x, (self.slots - (self.outputs - 1)) % self.slots)?;
        let y = self.diagonals.run(s, &shifted, plains, target)?;
        let mut y = fold(s, y, self.block, self.slots)?;
        s.add_plain_assign(&mut y, plains.take()?)?;
        Ok(y)
    }
}
