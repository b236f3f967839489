//! What a matrix product by diagonals does, without its values.

use crate::slots::CircuitError;
use std::collections::BTreeMap;

/// Diagonals that share a giant step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Places by which their sum moves left in all.
    pub giant: usize,
    /// Rotations of the sum so far, this group included, before the next group is added or the output is done: all of
    /// one amount but perhaps the last.
    pub turns: Vec<usize>,
    /// Per diagonal: input vector, and which of its babies.
    pub terms: Vec<(usize, usize)>,
}

/// `y_v = fold(Σ_g rot(Σ_{(u, i) ∈ g} w ⊙ rot(x_u, i), g))` for every output vector v: baby steps and giant steps (Halevi
/// and Shoup 2014), then rotations added to the sum itself.
///
/// Folds double the sum one rotation after the other, or quadruple it by three rotations of one decomposition.
///
/// Giant steps are either taken one by one, each with a key of its own, or *chained* as in Horner's rule: the sum so far
/// is rotated by one baby size between groups, so that one key serves them all.
///
/// Plaintexts are used in the order of outputs, groups, terms; the one of a diagonal is moved `giant` places right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// Per input vector the rotations its groups use, ascending.
    pub babies: Vec<Vec<usize>>,
    /// Per output vector.
    pub outputs: Vec<Vec<Group>>,
    /// Whether each group's sum joins the sum so far before that is turned.
    pub chained: bool,
    /// Stages, one after the other: the steps by which the sum is rotated, each added to it. Rotations of a stage share
    /// one decomposition.
    pub folds: Vec<Vec<usize>>,
}

/// What a [`Schedule`] costs, without what it does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outline {
    /// Babies, giants, folds.
    pub rotations: [usize; 3],
    /// Stages of folds, of all outputs.
    pub stages: usize,
    /// Input vectors that are rotated at all.
    pub hoisted: usize,
    /// Plaintexts, biases left out.
    pub plains: usize,
    /// Output vectors.
    pub outputs: usize,
    /// Every amount of rotation, once.
    pub steps: Vec<usize>,
}

impl Outline {
    /// Of the schedule that `Schedule::new` would make.
    pub(crate) fn new(
        slots: usize,
        diagonals: &[Vec<Vec<i64>>],
        baby: usize,
        chained: bool,
        folds: &[Vec<usize>],
    ) -> Self {
        let baby = baby.max(1) as i64;
        let modulo = |d: i64| d.rem_euclid(slots as i64) as usize;
        let mark = |set: &mut Vec<bool>, at: usize| {
            set.get_mut(at).map(|s| std::mem::replace(s, true)) == Some(false)
        };
        let mut keys = vec![false; slots];
        let [mut babies, mut giants, mut hoisted, mut plains] = [0usize; 4];
        let inputs = diagonals.iter().map(Vec::len).max().unwrap_or(0);
        for u in 0..inputs {
            let mut own = vec![false; slots];
            let mut any = false;
            for d in diagonals.iter().filter_map(|row| row.get(u)).flatten() {
                let i = modulo(d.rem_euclid(baby));
                if i != 0 && mark(&mut own, i) {
                    (babies, any) = (babies + 1, true);
                    mark(&mut keys, i);
                }
            }
            hoisted += usize::from(any);
        }
        for row in diagonals {
            // Giants lie within a vector either way.
            let mut own = vec![false; 2 * slots + 1];
            let (mut least, mut most) = (i64::MAX, i64::MIN);
            for d in row.iter().flatten() {
                let giant = d - d.rem_euclid(baby);
                plains += 1;
                let new = mark(&mut own, (giant + slots as i64).clamp(0, 2 * slots as i64) as usize);
                (least, most) = (least.min(giant), most.max(giant));
                if new && !chained && modulo(giant) != 0 {
                    giants += 1;
                    mark(&mut keys, modulo(giant));
                }
            }
            if chained && least <= most {
                giants += ((most - least) / baby) as usize + usize::from(modulo(least) != 0);
                if most > least && modulo(baby) != 0 {
                    mark(&mut keys, modulo(baby));
                }
                mark(&mut keys, modulo(least));
            }
        }
        for &f in folds.iter().flatten() {
            mark(&mut keys, f % slots);
        }
        let steps = keys.iter().enumerate().skip(1).filter_map(|(s, &k)| k.then_some(s)).collect();
        let outputs = diagonals.len();
        let folded = outputs * folds.iter().map(Vec::len).sum::<usize>();
        let (rotations, stages) = ([babies, giants, folded], outputs * folds.len());
        Self { rotations, stages, hoisted, plains, outputs, steps }
    }
}

impl Schedule {
    /// From the rotations (`diagonals[v][u]`, left, within half the slots either way) that take input vector u to output
    /// vector v, with baby steps below `baby`.
    pub(crate) fn new(
        slots: usize,
        inputs: usize,
        diagonals: &[Vec<Vec<i64>>],
        baby: usize,
        chained: bool,
        folds: Vec<Vec<usize>>,
    ) -> Self {
        let baby = baby.max(1) as i64;
        let modulo = |d: i64| d.rem_euclid(slots as i64) as usize;
        let mut babies = vec![Vec::new(); inputs];
        for per_input in diagonals {
            for (babies, steps) in babies.iter_mut().zip(per_input) {
                babies.extend(steps.iter().map(|d| modulo(d.rem_euclid(baby))));
            }
        }
        for b in &mut babies {
            b.sort_unstable();
            b.dedup();
        }
        let outputs = diagonals
            .iter()
            .map(|per_input| {
                let mut groups: BTreeMap<i64, Vec<(usize, usize)>> = BTreeMap::new();
                for (u, steps) in per_input.iter().enumerate() {
                    let own = babies.get(u).map_or(&[][..], Vec::as_slice);
                    for d in steps {
                        let i = d.rem_euclid(baby);
                        if let Ok(at) = own.binary_search(&modulo(i)) {
                            groups.entry(d - i).or_default().push((u, at));
                        }
                    }
                }
                let mut groups: Vec<(i64, Vec<(usize, usize)>)> = groups.into_iter().rev().collect();
                let next: Vec<Option<i64>> =
                    (1..=groups.len()).map(|k| groups.get(k).map(|(g, _)| *g)).collect();
                groups
                    .iter_mut()
                    .zip(next)
                    .map(|((giant, terms), next)| {
                        let turns = match (chained, next) {
                            (false, _) | (true, None) => vec![modulo(*giant)],
                            (true, Some(next)) => vec![modulo(baby); ((*giant - next) / baby) as usize],
                        };
                        let turns = turns.into_iter().filter(|&t| t != 0).collect();
                        Group { giant: modulo(*giant), turns, terms: std::mem::take(terms) }
                    })
                    .collect()
            })
            .collect();
        Self { babies, outputs, chained, folds }
    }

    /// Number of plaintexts, biases left out.
    pub fn plains(&self) -> usize {
        self.outputs.iter().flatten().map(|g| g.terms.len()).sum()
    }

    /// How many rotated copies of a sum its folds add up.
    pub fn folded(&self) -> usize {
        self.folds.iter().map(|stage| stage.len() + 1).product()
    }

    /// Rotations: babies, then giants, then folds.
    pub fn rotations(&self) -> [usize; 3] {
        let babies = self.babies.iter().flatten().filter(|&&b| b != 0).count();
        let giants = self.outputs.iter().flatten().map(|g| g.turns.len()).sum();
        [babies, giants, self.outputs.len() * self.folds.iter().map(Vec::len).sum::<usize>()]
    }

    /// Its cost.
    pub fn outline(&self) -> Outline {
        let turns = self.outputs.iter().flatten().flat_map(|g| &g.turns);
        let mut steps: Vec<usize> = self
            .babies
            .iter()
            .flatten()
            .chain(turns)
            .chain(self.folds.iter().flatten())
            .copied()
            .filter(|&s| s != 0)
            .collect();
        steps.sort_unstable();
        steps.dedup();
        let hoisted = self.babies.iter().filter(|b| b.iter().any(|&b| b != 0)).count();
        let (rotations, plains, outputs) = (self.rotations(), self.plains(), self.outputs.len());
        Outline { rotations, stages: outputs * self.folds.len(), hoisted, plains, outputs, steps }
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
