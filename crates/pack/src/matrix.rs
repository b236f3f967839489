//! Matrix products by diagonals on ciphertexts of any scheme: double hoisting, on the threads of the current pool.

use crate::schedule::{Group, Schedule};
use crate::slots::CircuitError;
use oblivia_he::generic::{Ciphertext, Evaluator, ExtendedCiphertext, Factor};
use oblivia_he::{HeError, Scheme};
use rayon::prelude::*;

/// A plaintext of a matrix.
pub(crate) trait Diagonal<S: Scheme>: Sync {
    /// What can go wrong.
    type Error: From<CircuitError> + From<HeError> + Send;

    /// The encoded vector.
    fn factor(&self) -> Result<Factor<'_, S>, Self::Error>;
}

/// The products of a schedule, divided by P and the last prime.
pub(crate) fn product<S: Scheme, D: Diagonal<S>>(
    evaluator: &Evaluator<S>,
    xs: &[&Ciphertext<S>],
    schedule: &Schedule,
    plains: &[&D],
) -> Result<Vec<Ciphertext<S>>, D::Error> {
    schedule.check(xs.len(), plains.len())?;
    let of_one = |(x, steps): (&&Ciphertext<S>, &Vec<usize>)| {
        if steps.iter().all(|&b| b == 0) {
            let own = steps.iter().map(|_| evaluator.extend(x));
            return own.collect::<Result<Vec<_>, HeError>>();
        }
        let hoisted = evaluator.hoist(x)?;
        let share = steps.len().div_ceil(rayon::current_num_threads());
        let turned = steps.par_chunks(share).map(|steps| evaluator.rotations_extended(&hoisted, steps));
        Ok(turned.collect::<Result<Vec<_>, HeError>>()?.into_iter().flatten().collect())
    };
    let babies = xs.iter().zip(&schedule.babies).map(of_one).collect::<Result<Vec<_>, HeError>>()?;
    let mut plains = plains;
    let mut ys = Vec::with_capacity(schedule.outputs.len());
    for groups in &schedule.outputs {
        let count = groups.iter().map(|g| g.terms.len()).sum();
        let (own, rest) = plains.split_at_checked(count).unwrap_or((plains, &[]));
        plains = rest;
        let mut sum = sum_of_groups(evaluator, &babies, groups, schedule.chained, own)?;
        for stage in &schedule.folds {
            evaluator.fold_extended(&mut sum, stage)?;
        }
        ys.push(evaluator.reduce_rescale(&sum)?);
    }
    Ok(ys)
}

/// One sum of a matrix product: its groups side by side.
fn sum_of_groups<S: Scheme, D: Diagonal<S>>(
    evaluator: &Evaluator<S>,
    babies: &[Vec<ExtendedCiphertext<S>>],
    groups: &[Group],
    chained: bool,
    plains: &[&D],
) -> Result<ExtendedCiphertext<S>, D::Error> {
    let mut rest = plains;
    let mut jobs = Vec::with_capacity(groups.len());
    for g in groups {
        let (own, more) = rest.split_at_checked(g.terms.len()).unwrap_or((rest, &[]));
        rest = more;
        jobs.push((g, own));
    }
    let at_once = jobs.len().div_ceil(rayon::current_num_threads()).clamp(1, 16);
    let several = |jobs: &[(&Group, &[&D])]| {
        let ps = jobs
            .iter()
            .map(|(_, ps)| ps.iter().map(|p| p.factor()).collect::<Result<Vec<_>, _>>())
            .collect::<Result<Vec<_>, D::Error>>()?;
        let baby = |&(u, i): &(usize, usize)| babies.get(u).and_then(|b| b.get(i));
        let xs: Vec<Vec<&ExtendedCiphertext<S>>> =
            jobs.iter().map(|(g, _)| g.terms.iter().filter_map(baby).collect()).collect();
        let sums: Vec<_> = xs.iter().zip(&ps).map(|(x, p)| (x.as_slice(), p.as_slice())).collect();
        Ok::<_, D::Error>(evaluator.dots_plain_extended(&sums)?)
    };
    let turned = |mut y: ExtendedCiphertext<S>, turns: &[usize]| {
        for &step in turns {
            y = evaluator.rotate_giant(&y, step)?;
        }
        Ok::<_, HeError>(y)
    };
    let add = |x: Option<ExtendedCiphertext<S>>, y: Option<ExtendedCiphertext<S>>| match (x, y) {
        (Some(mut x), Some(y)) => {
            evaluator.add_extended_assign(&mut x, &y)?;
            Ok(Some(x))
        }
        (x, y) => Ok::<_, D::Error>(x.or(y)),
    };
    let mut sum = None;
    // A chain: its sum so far, and the turns that it takes on its way to the next.
    let mut link: Option<(ExtendedCiphertext<S>, &[usize])> = None;
    // Rounds of as many jobs as there are threads, so that what is between two turns stays small.
    for round in jobs.chunks(at_once * rayon::current_num_threads()) {
        let inner: Vec<_> = round.par_chunks(at_once).map(several).collect::<Result<_, _>>()?;
        let inner: Vec<_> = round.iter().map(|(g, _)| *g).zip(inner.into_iter().flatten()).collect();
        if chained {
            for (g, mut y) in inner {
                if let Some((x, turns)) = link.take() {
                    let (last, first) = turns.split_last().unwrap_or((&0, &[]));
                    evaluator.rotate_giant_onto(&mut y, &turned(x, first)?, *last)?;
                }
                link = Some((y, &g.turns));
            }
        } else {
            let turn =
                |(g, y): (&Group, ExtendedCiphertext<S>)| Ok::<_, D::Error>(Some(turned(y, &g.turns)?));
            let own = inner.into_par_iter().map(turn).try_reduce(|| None, add)?;
            sum = add(sum.take(), own)?;
        }
    }
    if let Some((x, turns)) = link {
        sum = Some(turned(x, turns)?);
    }
    Ok(sum.ok_or(CircuitError::Count { what: "diagonals", expected: 1, found: 0 })?)
}
