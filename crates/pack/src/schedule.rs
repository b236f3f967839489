//! What a matrix product by diagonals does, without its values.

use crate::slots::CircuitError;

/// Diagonals that share a giant step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Places by which their sum moves left.
    pub giant: usize,
    /// Per diagonal: input vector, and which of its babies.
    pub terms: Vec<(usize, usize)>,
}

/// `y_v = fold(Σ_g rot(Σ_{(u, i) ∈ g} w ⊙ rot(x_u, i), g))` for every output vector v: baby steps and giant steps (Halevi
/// and Shoup 2014), then rotations added to the sum itself.
///
/// Plaintexts are used in the order of outputs, groups, terms; the one of a diagonal is moved `giant` places right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// Per input vector the rotations its groups use, ascending.
    pub babies: Vec<Vec<usize>>,
    /// Per output vector.
    pub outputs: Vec<Vec<Group>>,
    /// Steps by which the sum is rotated and added to itself, one after the other.
    pub folds: Vec<usize>,
}

impl Schedule {
    /// From the rotations (`diagonals[v][u]`, ascending) that take input vector u to output vector v, with baby steps
    /// below `baby`.
    pub(crate) fn new(inputs: usize, diagonals: &[Vec<Vec<usize>>], baby: usize, folds: Vec<usize>) -> Self {
        let baby = baby.max(1);
        let mut babies = vec![Vec::new(); inputs];
        for per_input in diagonals {
            for (babies, steps) in babies.iter_mut().zip(per_input) {
                babies.extend(steps.iter().map(|d| d % baby));
            }
        }
        for b in &mut babies {
            b.sort_unstable();
            b.dedup();
        }
        let outputs = diagonals
            .iter()
            .map(|per_input| {
                let mut giants: Vec<usize> = per_input.iter().flatten().map(|d| d - d % baby).collect();
                giants.sort_unstable();
                giants.dedup();
                giants
                    .into_iter()
                    .map(|giant| {
                        let of = |(u, steps): (usize, &Vec<usize>)| {
                            let from = steps.partition_point(|&d| d < giant);
                            let to = steps.partition_point(|&d| d < giant + baby);
                            let steps = steps.get(from..to).unwrap_or_default();
                            let own = babies.get(u).map_or(&[][..], Vec::as_slice);
                            steps
                                .iter()
                                .filter_map(|d| Some((u, own.binary_search(&(d - giant)).ok()?)))
                                .collect::<Vec<_>>()
                        };
                        Group { giant, terms: per_input.iter().enumerate().flat_map(of).collect() }
                    })
                    .collect()
            })
            .collect();
        Self { babies, outputs, folds }
    }

    /// Number of plaintexts, biases left out.
    pub fn plains(&self) -> usize {
        self.outputs.iter().flatten().map(|g| g.terms.len()).sum()
    }

    /// Rotations, babies first, then those with a key switch of their own.
    pub fn rotations(&self) -> (usize, usize) {
        let babies = self.babies.iter().flatten().filter(|&&b| b != 0).count();
        let giants = self.outputs.iter().flatten().filter(|g| g.giant != 0).count();
        (babies, giants + self.outputs.len() * self.folds.len())
    }

    /// All steps by which anything is rotated.
    pub fn steps(&self) -> Vec<usize> {
        let giants = self.outputs.iter().flatten().map(|g| g.giant);
        let mut steps: Vec<usize> =
            self.babies.iter().flatten().copied().chain(giants).chain(self.folds.iter().copied()).collect();
        steps.sort_unstable();
        steps.dedup();
        steps
    }

    /// Checks that it takes what it is given.
    pub(crate) fn check(&self, inputs: usize, plains: usize) -> Result<(), CircuitError> {
        let (what, expected, found) = match (self.babies.len() == inputs, self.plains()) {
            (false, _) => ("input vectors", self.babies.len(), inputs),
            (true, n) if n != plains => ("plaintexts", n, plains),
            _ => return Ok(()),
        };
        Err(CircuitError::Count { what, expected, found })
    }
}
