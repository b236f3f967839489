//! A dense layer on copies of its input: each copy serves its own rows.

use crate::circuit::{Diagonals, fold};
use crate::slots::{CircuitError, Plain, Plains, Scale, Slots};

/// `y = W·x + b` where every block of `block` slots holds `x` in its first slots and zeros behind.
///
/// With `R = slots / block` copies and `m = 2^⌈log2 out⌉ / R` rows per copy, slot `k` of diagonal `d < m`
/// carries `W[⌊k / block⌋·m + k mod m, (k + d) mod block]`; after `m` diagonals and a fold of the block,
/// row `i` is at slot `⌊i / m⌋·block + i mod m`. The other slots hold mixtures of partial sums of no
/// meaning, of the size of the outputs. Hybrid diagonals (Juvekar et al. 2018) over copies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicatedDense {
    inputs: usize,
    outputs: usize,
    slots: usize,
    block: usize,
    rows: usize,
    diagonals: Diagonals,
}

impl ReplicatedDense {
    /// A layer of `inputs` × `outputs` on `slots` slots (a power of two) with baby steps of `baby`
    /// diagonals; `None` chooses the fewest rotations.
    pub fn new(
        inputs: usize,
        outputs: usize,
        slots: usize,
        baby: Option<usize>,
    ) -> Result<Self, CircuitError> {
        let block = inputs.next_power_of_two();
        let copies = slots / block.max(1);
        let what = "a dense layer on copies of its input";
        if copies == 0 {
            return Err(CircuitError::DoesNotFit { what, needed: block, slots });
        }
        let rows = (outputs.next_power_of_two() / copies).max(1);
        if rows > block {
            return Err(CircuitError::DoesNotFit { what, needed: outputs * block / rows.max(1), slots });
        }
        let diagonals = Diagonals::new(rows, baby.unwrap_or_else(|| super::best_baby(rows)))?;
        Ok(Self { inputs, outputs, slots, block, rows, diagonals })
    }

    /// Slots of one copy of the input.
    pub fn block(&self) -> usize {
        self.block
    }

    /// Rows each block gathers at its start.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The baby size in use.
    pub fn baby(&self) -> usize {
        self.diagonals.baby()
    }

    /// Slot of output `i`.
    pub fn position(&self, i: usize) -> usize {
        i / self.rows * self.block + i % self.rows
    }

    /// The plaintexts in order of use: the diagonals, then the bias. `weight(i, j)` is row `i`, column `j`.
    pub fn plains(&self, weight: impl Fn(usize, usize) -> f64, bias: impl Fn(usize) -> f64) -> Vec<Plain> {
        let diagonal = |d: usize| {
            let value = |k: usize| {
                let row = k / self.block * self.rows + k % self.rows;
                let column = (k + d) % self.block;
                if row < self.outputs && column < self.inputs { weight(row, column) } else { 0.0 }
            };
            (0..self.slots).map(value).collect()
        };
        let mut plains: Vec<Plain> =
            self.diagonals.plains(self.slots, diagonal).into_iter().map(Plain::Slots).collect();
        let mut b = vec![0.0; self.slots];
        for i in 0..self.outputs {
            if let Some(slot) = b.get_mut(self.position(i)) {
                *slot = bias(i);
            }
        }
        plains.push(Plain::Slots(b));
        plains
    }

    /// Runs it; the result has the scale of a product.
    pub fn run<S: Slots>(
        &self,
        s: &mut S,
        x: &S::Ct,
        plains: &mut Plains<'_, S::Pt>,
        target: Scale,
    ) -> Result<S::Ct, S::Error> {
        let y = self.diagonals.run(s, x, plains, target)?;
        let mut y = fold(s, y, self.rows, self.block)?;
        s.add_plain_assign(&mut y, plains.take()?)?;
        Ok(y)
    }
}
