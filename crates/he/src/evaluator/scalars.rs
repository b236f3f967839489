//! Matrices of scalars times ciphertexts.

use super::{Evaluator, first, unserved};
use crate::HeError;
use crate::ciphertext::Ciphertext;
use crate::counts::count;
use crate::plaintext::{ScalarPlaintext, check_id};
use crate::scheme::Scheme;
use oblivia_base::Digest;
use oblivia_ring::Modulus;
use oblivia_ring::kernel::{self, ConstantMatrix};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fmt;

const OP: &str = "sum of scalar products";

/// Bytes of input that one piece of work reads, again for every result: half of a usual second-level cache.
const CACHED: usize = 1 << 20;
/// Coefficients of such a piece.
const TILE: std::ops::RangeInclusive<usize> = 64..=1024;

/// A matrix of integers, reduced modulo every prime of a level.
#[derive(Clone)]
pub struct ScalarMatrix<S: Scheme> {
    id: Digest,
    rows: usize,
    columns: usize,
    level: usize,
    scale: S::Scale,
    /// By limb, row after row.
    residues: Vec<Vec<u64>>,
}

/// Where a [`ScalarMatrix`] acts: column `columns[k]` on ciphertext `inputs[k]`. Columns left out meet zeros.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Columns of the matrix.
    pub columns: Vec<usize>,
    /// Indices of ciphertexts, as many.
    pub inputs: Vec<usize>,
}

impl<S: Scheme> ScalarMatrix<S> {
    /// The matrix with these rows, for use at `level` and below. All entries of one scale, all rows of one length.
    ///
    /// # Errors
    /// [`HeError::OperandCount`] for no entry or unequal rows, [`HeError::ScaleMismatch`], [`HeError::Level`].
    pub fn new(scheme: &S, level: usize, rows: &[&[ScalarPlaintext<S>]]) -> Result<Self, HeError> {
        let q = &scheme.params().level("scalar matrix", level)?.q;
        let columns = rows.first().map_or(0, |row| row.len());
        let Some(entry) = rows.first().and_then(|row| row.first()) else {
            return Err(HeError::OperandCount { op: OP, left: 1, right: 0 });
        };
        for row in rows {
            if row.len() != columns {
                return Err(HeError::OperandCount { op: OP, left: columns, right: row.len() });
            }
            row.iter().try_for_each(|p| S::same_scale(OP, entry.scale, p.scale))?;
        }
        let reduced = |m: &Modulus| rows.iter().copied().flatten().map(|c| m.reduce_i128(c.value)).collect();
        Ok(Self {
            id: scheme.id(),
            rows: rows.len(),
            columns,
            level,
            scale: entry.scale,
            residues: q.moduli().map(reduced).collect(),
        })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The scale of its entries.
    pub fn scale(&self) -> S::Scale {
        self.scale
    }

    /// Some columns modulo prime `limb`.
    fn pick(&self, limb: usize, m: &Modulus, columns: &[usize]) -> ConstantMatrix {
        let residues = &self.residues[limb];
        ConstantMatrix::new(m, self.rows, columns.len(), |r, t| residues[r * self.columns + columns[t]])
    }

    fn check(&self, scheme: &S, level: usize, places: &[Place], inputs: usize) -> Result<(), HeError> {
        check_id(&scheme.id(), &self.id, "scalar matrix")?;
        if !scheme.params().serves(self.level, level, false) {
            unserved(OP, level, self.level)?;
        }
        for place in places {
            if place.columns.len() != place.inputs.len() {
                let (left, right) = (place.columns.len(), place.inputs.len());
                return Err(HeError::OperandCount { op: OP, left, right });
            }
            for (list, limit) in [(&place.columns, self.columns), (&place.inputs, inputs)] {
                if let Some(&outside) = list.iter().find(|&&i| i >= limit) {
                    return Err(HeError::OperandCount { op: OP, left: limit, right: outside + 1 });
                }
            }
        }
        Ok(())
    }
}

impl<S: Scheme> fmt::Debug for ScalarMatrix<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScalarMatrix")
            .field("rows", &self.rows)
            .field("columns", &self.columns)
            .field("level", &self.level)
            .field("scale", &self.scale)
            .finish_non_exhaustive()
    }
}

/// A piece of all results: coefficients `start ..` of one half of one limb.
struct Piece<'a> {
    limb: usize,
    half: usize,
    start: usize,
    outs: Vec<&'a mut [u64]>,
}

impl<S: Scheme> Evaluator<S> {
    /// Σ c_i·x_i for integers c_i; the scale is the product of both. All x_i of one level and scale, all c_i of one
    /// scale.
    ///
    /// # Errors
    /// As [`Evaluator::dot_plain`].
    pub fn dot_scalar(
        &self,
        xs: &[&Ciphertext<S>],
        cs: &[ScalarPlaintext<S>],
    ) -> Result<Ciphertext<S>, HeError> {
        match self.dot_scalars(xs, &[cs])?.pop() {
            Some(y) => Ok(y),
            None => Err(HeError::OperandCount { op: OP, left: 1, right: 0 }),
        }
    }

    /// As [`Evaluator::dot_scalar`] for every row of coefficients: a matrix of scalars times the vector of
    /// ciphertexts, which is read once for all rows. In the calling thread.
    ///
    /// # Errors
    /// As [`Evaluator::dot_plain`].
    pub fn dot_scalars(
        &self,
        xs: &[&Ciphertext<S>],
        rows: &[&[ScalarPlaintext<S>]],
    ) -> Result<Vec<Ciphertext<S>>, HeError> {
        let Some(first_row) = rows.first() else { return Ok(Vec::new()) };
        let (x0, _) = first(OP, xs, first_row)?;
        x0.check(&self.scheme)?;
        let matrix = ScalarMatrix::new(&self.scheme, x0.level(), rows)?;
        let all: Vec<usize> = (0..xs.len()).collect();
        let place = Place { columns: all.clone(), inputs: all };
        self.sums(xs, &matrix, &[place], |pieces, f| pieces.iter_mut().for_each(f))
    }

    /// A matrix of scalars times the ciphertexts of every place: entry `p·rows + r` of the result is
    /// Σ_k matrix\[r, places\[p\].columns\[k\]\]·xs\[places\[p\].inputs\[k\]\], its scale the product of both.
    ///
    /// All xs of one level and scale; several places should share inputs, which then are read from memory once. The
    /// current rayon pool works on pieces of coefficients; results do not depend on it.
    ///
    /// # Errors
    /// [`HeError::OperandCount`] also for a column or input that does not exist; else as [`Evaluator::dot_plain`].
    pub fn dot_scalars_at(
        &self,
        xs: &[&Ciphertext<S>],
        matrix: &ScalarMatrix<S>,
        places: &[Place],
    ) -> Result<Vec<Ciphertext<S>>, HeError> {
        self.sums(xs, matrix, places, |pieces, f| pieces.par_iter_mut().for_each(f))
    }

    fn sums(
        &self,
        xs: &[&Ciphertext<S>],
        matrix: &ScalarMatrix<S>,
        places: &[Place],
        run: impl FnOnce(&mut [Piece<'_>], &(dyn Fn(&mut Piece<'_>) + Sync)),
    ) -> Result<Vec<Ciphertext<S>>, HeError> {
        let Some(x0) = xs.first() else {
            return Err(HeError::OperandCount { op: OP, left: 1, right: 0 });
        };
        xs.iter().try_for_each(|x| self.pair(OP, x0, x))?;
        let level = x0.level();
        matrix.check(&self.scheme, level, places, xs.len())?;
        // Places with the same columns share their factors.
        let mut selections: BTreeMap<&[usize], usize> = BTreeMap::new();
        for place in places {
            let next = selections.len();
            selections.entry(&place.columns).or_insert(next);
        }
        let (q, limbs) = (&self.params().level_data(level).q, self.params().level_data(level).limbs());
        let mut factors: Vec<(usize, Vec<ConstantMatrix>)> = selections
            .iter()
            .map(|(columns, &k)| {
                (k, q.moduli().enumerate().map(|(i, m)| matrix.pick(i, m, columns)).collect())
            })
            .collect();
        factors.sort_unstable_by_key(|&(k, _)| k);
        let places: Vec<(usize, &[usize])> =
            places.iter().map(|p| (selections[p.columns.as_slice()], p.inputs.as_slice())).collect();

        let count_of_sums = places.len() * matrix.rows;
        let mut sums: Vec<_> = (0..count_of_sums).map(|_| [self.blank(level), self.blank(level)]).collect();
        let fitting = CACHED / (8 * xs.len());
        let tile = (fitting + 1).next_power_of_two() / 2;
        let tile = tile.clamp(*TILE.start(), *TILE.end());
        let tiles = self.params().n().div_ceil(tile);
        let mut pieces: Vec<Piece<'_>> = (0..limbs * 2 * tiles)
            .map(|k| Piece {
                limb: k / (2 * tiles),
                half: k / tiles % 2,
                start: k % tiles * tile,
                outs: Vec::with_capacity(count_of_sums),
            })
            .collect();
        for sum in &mut sums {
            let mut pieces = pieces.chunks_exact_mut(tiles);
            let mut rows: Vec<_> = sum.iter_mut().map(|half| half.rows_mut()).collect();
            for _ in 0..limbs {
                for rows in &mut rows {
                    if let (Some(pieces), Some(row)) = (pieces.next(), rows.next()) {
                        pieces.iter_mut().zip(row.chunks_mut(tile)).for_each(|(p, out)| p.outs.push(out));
                    }
                }
            }
        }
        run(&mut pieces, &|piece: &mut Piece<'_>| {
            let (m, limb) = (q.modulus(piece.limb), piece.limb);
            let mut inputs = Vec::new();
            for ((selection, indices), outs) in places.iter().zip(piece.outs.chunks_mut(matrix.rows)) {
                let len = outs.first().map_or(0, |out| out.len());
                inputs.clear();
                inputs.extend(indices.iter().map(|&i| {
                    let half = if piece.half == 0 { &xs[i].c0 } else { &xs[i].c1 };
                    &half.row(limb)[piece.start..piece.start + len]
                }));
                kernel::dot_constants_into(m, &inputs, &factors[*selection].1[limb], outs);
            }
        });
        drop(pieces);
        let products: usize = places.iter().map(|(_, inputs)| inputs.len()).sum();
        let additions: usize = places.iter().map(|(_, inputs)| inputs.len().saturating_sub(1)).sum();
        count(&self.counters.scalar_mul, (matrix.rows * products) as u64);
        count(&self.counters.add, (matrix.rows * additions) as u64);
        let scale = self.scheme.product(x0.scale, matrix.scale);
        Ok(sums.into_iter().map(|sum| self.ciphertext(sum, level, scale)).collect())
    }
}
