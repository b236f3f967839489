//! Which rotations a linear layer takes.

use super::window::{Pair, Tap, Window};
use crate::layout::{Layout, Places};
use crate::slots::CircuitError;

/// The most table lookups a layer may ask for when it is derived from choices.
const MAX_WORK: usize = 1 << 27;
/// The most diagonals of a layer.
const MAX_DIAGONALS: usize = 1 << 20;

/// Says of a weight that it is known to be zero.
pub(super) type Zero<'a> = &'a dyn Fn(Tap) -> bool;

/// Which rotations take input vector u to output vector v: `[v][u]`, ascending, multiples of `spread`; those of products
/// with a weight that is `zero` alone are left out.
///
/// Channels, rows and columns combine freely and addresses are sums over them, so the differences are a sumset; where
/// zeros are known it is one for every index of the kernel.
pub(super) fn rotations(
    window: &Window,
    input: &Layout,
    output: &Layout,
    (fold, spread): (usize, usize),
    zero: Option<Zero<'_>>,
) -> Result<Vec<Vec<Vec<i64>>>, CircuitError> {
    let (Some(ins), Some(outs)) = (input.places(), output.places()) else {
        return Err(CircuitError::Layout { why: "an index has more digits than its axis" });
    };
    let modulo = modulus(input, fold).0;
    let differences = Differences { window, ins, outs, slots: input.slots(), modulo };
    let vectors = [output.vectors(), input.vectors()];
    let mut work = Work(0);
    let positions = Positions::new(&differences, zero.is_some(), &mut work)?;
    let mut all = match zero {
        None => {
            let add = |set: &mut Steps, mut channels: Vec<u32>, work: &mut Work| {
                channels.sort_unstable();
                channels.dedup();
                for c in channels {
                    work.spend(positions.all.len())?;
                    if positions.all.iter().any(|&d| set.add(c as usize + d as usize)) {
                        break;
                    }
                }
                Ok(())
            };
            each(differences.cells(vectors, |_, d| d as u32), (modulo, spread), &mut work, add)?
        }
        Some(zero) => {
            let add = |set: &mut Steps, channels: Vec<(u32, u32, u32)>, work: &mut Work| {
                for (out, channel, c) in channels {
                    work.spend(positions.ends.len())?;
                    for (at, own) in positions.of_kernel() {
                        if zero(Tap { out: out as usize, channel: channel as usize, at }) {
                            continue;
                        }
                        work.spend(own.len())?;
                        if own.iter().any(|&d| set.add(c as usize + d as usize)) {
                            return Ok(());
                        }
                    }
                }
                Ok(())
            };
            let cells = differences.cells(vectors, |p, d| (p.output as u32, p.kernel as u32, d as u32));
            let led: Vec<bool> = cells.iter().map(|row| !row.iter().all(Vec::is_empty)).collect();
            let mut all = each(cells, (modulo, spread), &mut work, add)?;
            for (row, led) in all.iter_mut().zip(led) {
                // Something must be there for the biases of outputs.
                if led && row.iter().all(Vec::is_empty) {
                    row.iter_mut().take(1).for_each(|first| first.push(0));
                }
            }
            all
        }
    };
    for step in all.iter_mut().flatten().flatten() {
        *step = signed(*step as usize, modulo, input.period());
    }
    Ok(all)
}

/// A rotation modulo `modulo` as a number of places to the left: without a fold, the shorter way round the period.
pub(super) fn signed(d: usize, modulo: usize, period: usize) -> i64 {
    if modulo == period && d > period / 2 { d as i64 - period as i64 } else { d as i64 }
}

/// What diagonals are taken modulo, a power of two, and how many inner copies stand in for one another.
pub(super) fn modulus(input: &Layout, fold: usize) -> (usize, Option<usize>) {
    let (copies, stride) = (input.inner_copies().radix as usize, input.inner_copies().stride as usize);
    if copies > 1 && copies * stride == fold { (stride, Some(copies)) } else { (fold, None) }
}

fn too_many() -> CircuitError {
    CircuitError::Layout { why: "a layer with too many diagonals" }
}

/// Lookups so far.
struct Work(usize);

impl Work {
    fn spend(&mut self, steps: usize) -> Result<(), CircuitError> {
        self.0 = self.0.saturating_add(steps);
        if self.0 > MAX_WORK { Err(too_many()) } else { Ok(()) }
    }
}

/// How far inputs lie behind outputs, modulo `modulo`.
struct Differences<'a> {
    window: &'a Window,
    ins: Places,
    outs: Places,
    slots: usize,
    modulo: usize,
}

impl Differences<'_> {
    /// Of two elements along an axis, with their vectors.
    fn of(&self, axis: usize, p: Pair) -> Option<(usize, [usize; 2])> {
        let (&a, &b) = (self.ins.axes[axis].get(p.input)?, self.outs.axes[axis].get(p.output)?);
        let (a, b) = (a as usize, b as usize);
        Some(((a % self.slots + self.slots - b % self.slots) % self.modulo, [b / self.slots, a / self.slots]))
    }

    /// Of rows (`axis` 0) or columns (1), ascending: of every kernel index, or of all together.
    fn along(&self, axis: usize, by_kernel: bool) -> Vec<Vec<usize>> {
        let mut found = vec![Vec::new(); if by_kernel { self.window.weights_along(axis) } else { 1 }];
        for p in self.window.cells_of(axis) {
            let k = if by_kernel { self.window.weight_along(axis, p) } else { 0 };
            if let (Some((d, _)), Some(own)) = (self.of(1 + axis, p), found.get_mut(k)) {
                own.push(d);
            }
        }
        for own in &mut found {
            own.sort_unstable();
            own.dedup();
        }
        found
    }

    /// Pairs of channels by output vector and input vector.
    fn cells<T>(&self, [vs, us]: [usize; 2], key: impl Fn(Pair, usize) -> T) -> Vec<Vec<Vec<T>>> {
        let row = || (0..us).map(|_| Vec::new()).collect();
        let mut cells: Vec<Vec<Vec<T>>> = (0..vs).map(|_| row()).collect();
        for p in self.window.channels() {
            if let Some((d, [v, u])) = self.of(0, p)
                && let Some(cell) = cells.get_mut(v).and_then(|row| row.get_mut(u))
            {
                cell.push(key(p, d));
            }
        }
        cells
    }
}

/// Differences of positions: rows and columns together.
struct Positions {
    /// One list behind the other.
    all: Vec<u32>,
    /// Where that of each kernel index ends, row by row.
    ends: Vec<u32>,
    columns: usize,
}

impl Positions {
    fn new(of: &Differences<'_>, by_kernel: bool, work: &mut Work) -> Result<Self, CircuitError> {
        let (rows, columns) = (of.along(0, by_kernel), of.along(1, by_kernel));
        if rows.len().saturating_mul(columns.len()) > MAX_DIAGONALS {
            return Err(too_many());
        }
        let (mut all, mut ends) = (Vec::new(), Vec::new());
        let mut seen = vec![false; of.modulo];
        for r in &rows {
            for c in &columns {
                work.spend(r.len().saturating_mul(c.len()))?;
                let first = all.len();
                for d in r.iter().flat_map(|r| c.iter().map(move |c| (r + c) % of.modulo)) {
                    if seen.get_mut(d).is_some_and(|seen| !std::mem::replace(seen, true)) {
                        all.push(d as u32);
                    }
                }
                for &d in all.iter().skip(first) {
                    seen.get_mut(d as usize).into_iter().for_each(|seen| *seen = false);
                }
                if all.len() > MAX_DIAGONALS {
                    return Err(too_many());
                }
                ends.push(all.len() as u32);
            }
        }
        Ok(Self { all, ends, columns: columns.len() })
    }

    /// Row and column of every kernel index with its differences.
    fn of_kernel(&self) -> impl Iterator<Item = ([usize; 2], &[u32])> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).enumerate().map(|(k, (&start, &end))| {
            let at = [k / self.columns.max(1), k % self.columns.max(1)];
            (at, self.all.get(start as usize..end as usize).unwrap_or_default())
        })
    }
}

/// A set of rotations in units of a power of two, modulo a power of two.
struct Steps {
    there: Vec<bool>,
    missing: usize,
    mask: usize,
    shift: u32,
}

impl Steps {
    /// Adds one; whether all are there now.
    fn add(&mut self, d: usize) -> bool {
        if let Some(there) = self.there.get_mut((d & self.mask) >> self.shift).filter(|there| !**there) {
            *there = true;
            self.missing -= 1;
        }
        self.missing == 0
    }
}

/// The rotations of every cell, as multiples of `spread` below `modulo`.
fn each<T>(
    cells: Vec<Vec<Vec<T>>>,
    (modulo, spread): (usize, usize),
    work: &mut Work,
    add: impl Fn(&mut Steps, Vec<T>, &mut Work) -> Result<(), CircuitError>,
) -> Result<Vec<Vec<Vec<i64>>>, CircuitError> {
    let mut found = 0;
    let mut all = Vec::with_capacity(cells.len());
    for row in cells {
        let mut of_output = Vec::with_capacity(row.len());
        for cell in row {
            if cell.is_empty() {
                of_output.push(Vec::new());
                continue;
            }
            let count = modulo / spread;
            work.spend(count)?;
            let mut set = Steps {
                there: vec![false; count],
                missing: count,
                mask: modulo - 1,
                shift: spread.trailing_zeros(),
            };
            add(&mut set, cell, work)?;
            let steps = set.there.iter().enumerate().filter(|(_, there)| **there);
            let steps: Vec<i64> = steps.map(|(d, _)| (d * spread) as i64).collect();
            found += steps.len();
            if found > MAX_DIAGONALS {
                return Err(too_many());
            }
            of_output.push(steps);
        }
        all.push(of_output);
    }
    Ok(all)
}
