//! Products of matrices in slots.

use crate::schedule::{Group, Schedule};
use crate::slots::{CircuitError, MulSlots, Plain, Plains, Scale, Slots};

/// C = A·B by the permutations of Jiang, Kim, Lauter and Song (*Secure outsourced matrix computation*, 2018; "E2DM"):
///
/// σ(A)\[i, j\] = A\[i, i+j\], τ(B)\[i, j\] = B\[i+j, j\], φ^k(A)\[i, j\] = A\[i, j+k\], ψ^k(B)\[i, j\] = B\[i+k, j\],
/// C = Σ_k φ^k(σ(A)) ⊙ ψ^k(τ(B)), indices modulo the side d.
///
/// Matrices lie row-major on a square whose side is a power of two, zeros beside them, and repeat every d² slots, so that ψ
/// is a rotation and nothing more. σ and τ are sums over 2d − 1 and d diagonals in baby and giant steps, φ two rotations
/// with masks.
///
/// *Both encrypted*: [`MatrixProduct::run`], three levels. *B known to whoever computes*: φ's masks and ψ^k(τ(B)) are one
/// plaintext, so C is a sum over 2d − 1 diagonals of σ(A), which whoever encrypts A lays out so:
/// [`MatrixProduct::run_known`], one level. A batch of images through a dense layer is that: a row of A for each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MatrixProduct {
    /// Rows of A, columns of A, columns of B.
    shape: [usize; 3],
    side: usize,
    slots: usize,
    sigma: Schedule,
    tau: Schedule,
    known: Schedule,
}

impl MatrixProduct {
    /// `rows`×`inner` times `inner`×`columns` in vectors of `slots` slots.
    ///
    /// # Errors
    /// [`CircuitError::DoesNotFit`] if the square is larger than a vector, [`CircuitError::Layout`] for an empty matrix or
    /// slots that are no power of two.
    pub fn new(rows: usize, inner: usize, columns: usize, slots: usize) -> Result<Self, CircuitError> {
        let shape = [rows, inner, columns];
        if shape.contains(&0) || !slots.is_power_of_two() {
            return Err(CircuitError::Layout { why: "matrices need elements, slots must be a power of two" });
        }
        let longest = rows.max(inner).max(columns);
        let needed = longest.checked_next_power_of_two().and_then(|d| d.checked_mul(d)).unwrap_or(usize::MAX);
        if needed > slots {
            return Err(CircuitError::DoesNotFit { what: "a product of matrices", needed, slots });
        }
        let side = longest.next_power_of_two();
        let (d, square) = (side as i64, needed as i64);
        // About √d babies.
        let step = 1usize << side.ilog2().div_ceil(2);
        let schedule =
            |steps: Vec<i64>, baby| Schedule::new(slots, 1, &[vec![steps]], baby, false, Vec::new());
        let lines = (0..d).map(|m| if 2 * m > d { m * d - square } else { m * d });
        Ok(Self {
            shape,
            side,
            slots,
            sigma: schedule((1 - d..d).collect(), step),
            tau: schedule(lines.collect(), step * side),
            known: schedule((1 - d..d).collect(), step),
        })
    }

    /// The side of the square.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Row and column of a slot.
    fn at(&self, slot: usize) -> [usize; 2] {
        let slot = slot % (self.side * self.side);
        [slot / self.side, slot % self.side]
    }

    /// One value per slot, by row and column.
    fn vector(&self, f: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        let value = |slot| {
            let [i, j] = self.at(slot);
            f(i, j)
        };
        (0..self.slots).map(value).collect()
    }

    /// An element, zero beside the matrix.
    fn element(values: &[f64], [rows, columns]: [usize; 2], i: usize, j: usize) -> f64 {
        if i < rows && j < columns { values.get(i * columns + j).copied().unwrap_or(0.0) } else { 0.0 }
    }

    fn b(&self, values: &[f64], i: usize, j: usize) -> f64 {
        Self::element(values, [self.shape[1], self.shape[2]], i % self.side, j)
    }

    /// A, row-major, in a vector.
    pub fn left(&self, values: &[f64]) -> Vec<f64> {
        self.vector(|i, j| Self::element(values, [self.shape[0], self.shape[1]], i, j))
    }

    /// σ(A): for [`MatrixProduct::run_known`].
    pub fn left_turned(&self, values: &[f64]) -> Vec<f64> {
        let shape = [self.shape[0], self.shape[1]];
        self.vector(|i, j| Self::element(values, shape, i, (i + j) % self.side))
    }

    /// B, row-major, in a vector.
    pub fn right(&self, values: &[f64]) -> Vec<f64> {
        self.vector(|i, j| self.b(values, i, j))
    }

    /// C, row-major, from a vector.
    pub fn gather(&self, vector: &[f64]) -> Vec<f64> {
        let [rows, _, columns] = self.shape;
        let at = |slot: usize| vector.get(slot).copied().unwrap_or(0.0);
        (0..rows).flat_map(|i| (0..columns).map(move |j| i * self.side + j)).map(at).collect()
    }

    /// The plaintexts of a schedule: `f(rotation, row, column)`, the rotation being between minus half the slots and half.
    fn diagonals(&self, schedule: &Schedule, f: impl Fn(i64, usize, usize) -> f64) -> Vec<Plain> {
        let of_group = |g: &Group| {
            let plain = |&(u, i): &(usize, usize)| {
                let baby = schedule.babies.get(u).and_then(|b| b.get(i)).copied().unwrap_or(0);
                let turn = ((g.giant + baby) % self.slots) as i64;
                let turn = if 2 * turn > self.slots as i64 { turn - self.slots as i64 } else { turn };
                let mut v = self.vector(|i, j| f(turn, i, j));
                v.rotate_right(g.giant % self.slots);
                Plain::Slots(v)
            };
            g.terms.iter().map(plain).collect::<Vec<_>>()
        };
        schedule.outputs.iter().flatten().flat_map(of_group).collect()
    }

    /// Which column a rotation by e takes to column j of the square, modulo its side, without leaving the row.
    fn within_row(&self, e: i64, j: usize) -> bool {
        (0..self.side as i64).contains(&(j as i64 + e))
    }

    /// Plaintexts of [`MatrixProduct::run`], in order of use.
    pub fn plains(&self) -> Vec<Plain> {
        let d = self.side as i64;
        let one = |yes: bool| f64::from(u8::from(yes));
        let sigma = |e: i64, i: usize, j: usize| one(e.rem_euclid(d) == i as i64 && self.within_row(e, j));
        let tau = |e: i64, _: usize, j: usize| one((e / d).rem_euclid(d) == j as i64);
        let mut all = self.diagonals(&self.sigma, sigma);
        all.extend(self.diagonals(&self.tau, tau));
        // τ(B) a level down, then φ^k.
        all.push(Plain::Slots(vec![1.0; self.slots]));
        for e in (0..d).flat_map(|k| self.turns(k)) {
            all.push(Plain::Slots(self.vector(|_, j| one(self.within_row(e, j)))));
        }
        all
    }

    /// The rotations of φ^k.
    fn turns(&self, k: i64) -> Vec<i64> {
        if k == 0 { vec![0] } else { vec![k, k - self.side as i64] }
    }

    /// C, before its last rescale, at scale `of_a`·`of_b`, the scales of A and B. Needs three levels, or four if it is to be
    /// rescaled.
    ///
    /// # Errors
    /// As the machine.
    pub fn run<S: MulSlots>(
        &self,
        s: &mut S,
        [a, b]: [&S::Ct; 2],
        plains: &[S::Pt],
        [of_a, of_b]: [Scale; 2],
    ) -> Result<S::Ct, S::Error> {
        let mut plains = Plains::new(plains);
        let sigma = plains.take_many(self.sigma.plains())?;
        let a = s.linear(&[a], &self.sigma, &sigma, of_a)?;
        let tau = plains.take_many(self.tau.plains())?;
        let b = s.linear(&[b], &self.tau, &tau, of_b)?;
        let (Some(a), Some(b)) = (a.first(), b.first()) else { return Err(none()) };
        let b = s.dot_plain(&[b], &[plains.take()?], of_b)?;
        let b = s.rescale(&b)?;
        let modulo = |e: i64| e.rem_euclid(self.slots as i64) as usize;
        let steps: Vec<usize> = (0..self.side as i64).flat_map(|k| self.turns(k)).map(modulo).collect();
        let mut turned = s.rotate_hoisted(a, &steps)?.into_iter();
        let mut lefts = Vec::with_capacity(self.side);
        for k in 0..self.side as i64 {
            let own: Vec<S::Ct> = turned.by_ref().take(self.turns(k).len()).collect();
            let masks = plains.take_many(own.len())?;
            let product = s.dot_plain(&own.iter().collect::<Vec<_>>(), &masks, of_a)?;
            lefts.push(s.rescale(&product)?);
        }
        let steps: Vec<usize> = (0..self.side).map(|k| k * self.side).collect();
        let rights = s.rotate_hoisted(&b, &steps)?;
        plains.finish()?;
        s.inner_product(&lefts.iter().collect::<Vec<_>>(), &rights.iter().collect::<Vec<_>>())
    }

    /// Plaintexts of [`MatrixProduct::run_known`]: `b` row-major.
    pub fn known_plains(&self, b: &[f64]) -> Vec<Plain> {
        let d = self.side as i64;
        self.diagonals(&self.known, |e, i, j| match self.within_row(e, j) {
            // ψ^k(τ(B))[i, j] = B[i + j + k, j].
            true => self.b(b, i + j + e.rem_euclid(d) as usize, j),
            false => 0.0,
        })
    }

    /// C from σ(A), rescaled, at scale `target`.
    ///
    /// # Errors
    /// As the machine.
    pub fn run_known<S: Slots>(
        &self,
        s: &mut S,
        a: &S::Ct,
        plains: &[S::Pt],
        target: Scale,
    ) -> Result<S::Ct, S::Error> {
        let ys = s.linear(&[a], &self.known, &plains.iter().collect::<Vec<_>>(), target)?;
        ys.into_iter().next().ok_or_else(none)
    }
}

fn none<E: From<CircuitError>>() -> E {
    CircuitError::Count { what: "vectors", expected: 1, found: 0 }.into()
}
