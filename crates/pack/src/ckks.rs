//! Encrypted slots.

use crate::batch::{BatchSlots, Place, Then, equally_many, members};
use crate::counter::PlainUse;
use crate::schedule::{Group, Schedule};
use crate::slots::{CircuitError, Plain, Scale, Slots};
use oblivia_he::ckks::{Encoder, Evaluator, ExtendedCiphertext, ScalarMatrix};
use oblivia_he::{Ciphertext, HeError, Plaintext, ScalarPlaintext};
use rayon::prelude::*;
use std::borrow::Cow;
use std::fmt;

/// Runs circuits on CKKS ciphertexts with one client's keys, on the threads of the current pool.
pub struct CkksSlots<'a> {
    evaluator: &'a Evaluator,
    encoder: &'a Encoder,
}

/// A plaintext prepared for [`CkksSlots`].
#[derive(Clone, Debug)]
pub enum CkksPlain {
    /// One value per slot.
    Slots(Plaintext),
    /// The same value in every slot.
    Scalar(ScalarPlaintext),
    /// One value per slot, encoded whenever it is used: less memory, more time.
    Deferred(Plain, PlainUse),
}

/// What can go wrong on encrypted slots.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CkksError {
    /// A circuit was used against its statement.
    #[error(transparent)]
    Circuit(#[from] CircuitError),
    /// The scheme refuses.
    #[error(transparent)]
    He(#[from] HeError),
}

impl CkksPlain {
    /// Prepares a plaintext for the place where a [`crate::Counter`] saw it used.
    pub fn prepare(encoder: &Encoder, plain: &Plain, at: PlainUse) -> Result<Self, HeError> {
        match plain {
            Plain::Scalar(v) => Ok(Self::Scalar(ScalarPlaintext::new(*v, at.scale.0)?)),
            vector => Ok(Self::Slots(encode(encoder, vector, at)?)),
        }
    }

    /// Keeps a plaintext to be encoded at every use.
    pub fn defer(plain: Plain, at: PlainUse) -> Self {
        Self::Deferred(plain, at)
    }

    /// The encoded vector.
    fn vector<'p>(&'p self, encoder: &Encoder) -> Result<Cow<'p, Plaintext>, CkksError> {
        match self {
            Self::Slots(p) => Ok(Cow::Borrowed(p)),
            Self::Deferred(plain, at) => Ok(Cow::Owned(encode(encoder, plain, *at)?)),
            Self::Scalar(_) => Err(wrong_kind("vector plaintexts").into()),
        }
    }
}

fn encode(encoder: &Encoder, plain: &Plain, at: PlainUse) -> Result<Plaintext, HeError> {
    let scaled: Vec<f64>;
    let values = match plain {
        Plain::Slots(v) => v,
        Plain::Scalar(v) => {
            scaled = vec![*v; encoder.params().slots()];
            &scaled
        }
        Plain::Weights { values, factor } => {
            scaled = values.iter().map(|v| f64::from(*v) * factor).collect();
            &scaled
        }
    };
    match at.extended {
        true => encoder.encode_extended(values, at.level, at.scale.0),
        false => encoder.encode(values, at.level, at.scale.0),
    }
}

impl<'a> CkksSlots<'a> {
    /// The machine of one evaluator; the encoder is for deferred plaintexts.
    pub fn new(evaluator: &'a Evaluator, encoder: &'a Encoder) -> Self {
        Self { evaluator, encoder }
    }

    /// One sum of a matrix product: its groups side by side.
    fn sum_of_groups(
        &self,
        babies: &[Vec<ExtendedCiphertext>],
        groups: &[Group],
        chained: bool,
        plains: &[&CkksPlain],
    ) -> Result<ExtendedCiphertext, CkksError> {
        let mut rest = plains;
        let mut jobs = Vec::with_capacity(groups.len());
        for g in groups {
            let (own, more) = rest.split_at_checked(g.terms.len()).unwrap_or((rest, &[]));
            rest = more;
            jobs.push((g, own));
        }
        // As many groups at once as keep what is encoded on the fly small.
        let deferred = plains.iter().any(|p| matches!(p, CkksPlain::Deferred(..)));
        let at_once =
            if deferred { 1 } else { jobs.len().div_ceil(rayon::current_num_threads()).clamp(1, 16) };
        let several = |jobs: &[(&Group, &[&CkksPlain])]| {
            let vectors = jobs
                .iter()
                .map(|(_, ps)| ps.par_iter().map(|p| p.vector(self.encoder)).collect::<Result<Vec<_>, _>>())
                .collect::<Result<Vec<_>, CkksError>>()?;
            let ps: Vec<Vec<&Plaintext>> =
                vectors.iter().map(|v| v.iter().map(Cow::as_ref).collect()).collect();
            let baby = |&(u, i): &(usize, usize)| babies.get(u).and_then(|b| b.get(i));
            let xs: Vec<Vec<&ExtendedCiphertext>> =
                jobs.iter().map(|(g, _)| g.terms.iter().filter_map(baby).collect()).collect();
            let sums: Vec<_> = xs.iter().zip(&ps).map(|(x, p)| (x.as_slice(), p.as_slice())).collect();
            Ok::<_, CkksError>(self.evaluator.dots_plain_extended(&sums)?)
        };
        let turned = |mut y: ExtendedCiphertext, turns: &[usize]| {
            for &step in turns {
                y = self.evaluator.rotate_giant(&y, step)?;
            }
            Ok::<_, HeError>(y)
        };
        let add = |x: Option<ExtendedCiphertext>, y: Option<ExtendedCiphertext>| match (x, y) {
            (Some(mut x), Some(y)) => {
                self.evaluator.add_extended_assign(&mut x, &y)?;
                Ok(Some(x))
            }
            (x, y) => Ok::<_, CkksError>(x.or(y)),
        };
        let mut sum = None;
        // Rounds of as many jobs as there are threads, so that what is between two turns stays small.
        for round in jobs.chunks(at_once * rayon::current_num_threads()) {
            let inner: Vec<_> = round.par_chunks(at_once).map(several).collect::<Result<_, _>>()?;
            let inner: Vec<_> = round.iter().map(|(g, _)| *g).zip(inner.into_iter().flatten()).collect();
            if chained {
                for (g, y) in inner {
                    let so_far = add(sum.take(), Some(y))?;
                    sum = so_far.map(|y| turned(y, &g.turns)).transpose()?;
                }
            } else {
                let turn =
                    |(g, y): (&Group, ExtendedCiphertext)| Ok::<_, CkksError>(Some(turned(y, &g.turns)?));
                let own = inner.into_par_iter().map(turn).try_reduce(|| None, add)?;
                sum = add(sum.take(), own)?;
            }
        }
        Ok(sum.ok_or(CircuitError::Count { what: "diagonals", expected: 1, found: 0 })?)
    }

    /// Gives a product the scale the plan says it has, of which rounding may have lost the last bit.
    fn planned(&self, mut x: Ciphertext, target: Scale) -> Result<Ciphertext, CkksError> {
        let q = self.evaluator.params().rescale_prime(x.level())?;
        x.set_planned_scale(target.0 * q)?;
        Ok(x)
    }
}

impl fmt::Debug for CkksSlots<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CkksSlots(..)")
    }
}

fn wrong_kind(expected: &'static str) -> CircuitError {
    CircuitError::Count { what: expected, expected: 1, found: 0 }
}

fn scalars(ps: &[&CkksPlain]) -> Result<Vec<ScalarPlaintext>, CircuitError> {
    let scalar = |p: &&CkksPlain| match p {
        CkksPlain::Scalar(p) => Ok(*p),
        _ => Err(wrong_kind("scalar plaintexts")),
    };
    ps.iter().map(scalar).collect()
}

impl Slots for CkksSlots<'_> {
    type Ct = Ciphertext;
    type Pt = CkksPlain;
    type Error = CkksError;

    fn slots(&self) -> usize {
        self.evaluator.params().slots()
    }

    fn scale_of(&self, x: &Ciphertext) -> Option<Scale> {
        Some(Scale(x.scale()))
    }

    fn rotate(&mut self, x: &Ciphertext, left: usize) -> Result<Ciphertext, CkksError> {
        Ok(self.evaluator.rotate(x, left)?)
    }

    fn rotate_hoisted(&mut self, x: &Ciphertext, lefts: &[usize]) -> Result<Vec<Ciphertext>, CkksError> {
        Ok(self.evaluator.rotate_hoisted(x, lefts)?)
    }

    fn add_assign(&mut self, x: &mut Ciphertext, y: &Ciphertext) -> Result<(), CkksError> {
        Ok(self.evaluator.add_assign(x, y)?)
    }

    fn add_lowered(&mut self, x: &Ciphertext, y: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let level = x.level().min(y.level());
        let (mut x, mut y) = (x.clone(), Cow::Borrowed(y));
        if x.level() > level {
            self.evaluator.drop_level_assign(&mut x, level)?;
        }
        if y.level() > level {
            self.evaluator.drop_level_assign(y.to_mut(), level)?;
        }
        self.evaluator.add_assign(&mut x, &y)?;
        Ok(x)
    }

    fn add_plain_assign(&mut self, x: &mut Ciphertext, p: &CkksPlain) -> Result<(), CkksError> {
        match p {
            CkksPlain::Scalar(p) => Ok(self.evaluator.add_scalar_assign(x, p)?),
            vector => Ok(self.evaluator.add_plain_assign(x, &*vector.vector(self.encoder)?)?),
        }
    }

    fn dot_plain(
        &mut self,
        xs: &[&Ciphertext],
        ps: &[&CkksPlain],
        target: Scale,
    ) -> Result<Ciphertext, CkksError> {
        let vectors = ps.iter().map(|p| p.vector(self.encoder)).collect::<Result<Vec<_>, _>>()?;
        let vectors: Vec<&Plaintext> = vectors.iter().map(Cow::as_ref).collect();
        let y = self.evaluator.dot_plain(xs, &vectors)?;
        self.planned(y, target)
    }

    fn dot_scalars(
        &mut self,
        xs: &[&Ciphertext],
        rows: &[Vec<&CkksPlain>],
        target: Scale,
    ) -> Result<Vec<Ciphertext>, CkksError> {
        let rows = rows.iter().map(|ps| scalars(ps)).collect::<Result<Vec<_>, _>>()?;
        let rows: Vec<&[ScalarPlaintext]> = rows.iter().map(Vec::as_slice).collect();
        let ys = self.evaluator.dot_scalars(xs, &rows)?;
        ys.into_iter().map(|y| self.planned(y, target)).collect()
    }

    fn linear(
        &mut self,
        xs: &[&Ciphertext],
        schedule: &Schedule,
        plains: &[&CkksPlain],
        target: Scale,
    ) -> Result<Vec<Ciphertext>, CkksError> {
        schedule.check(xs.len(), plains.len())?;
        let of_one = |(x, steps): (&&Ciphertext, &Vec<usize>)| {
            if steps.iter().all(|&b| b == 0) {
                let own = steps.iter().map(|_| self.evaluator.extend(x));
                return own.collect::<Result<Vec<_>, HeError>>();
            }
            let hoisted = self.evaluator.hoist(x)?;
            let turned = steps.par_iter().map(|&b| self.evaluator.rotate_extended(&hoisted, b));
            turned.collect::<Result<Vec<_>, HeError>>()
        };
        let babies = xs.iter().zip(&schedule.babies).map(of_one).collect::<Result<Vec<_>, HeError>>()?;
        let mut plains = plains;
        let mut ys = Vec::with_capacity(schedule.outputs.len());
        for groups in &schedule.outputs {
            let count = groups.iter().map(|g| g.terms.len()).sum();
            let (own, rest) = plains.split_at_checked(count).unwrap_or((plains, &[]));
            plains = rest;
            let mut sum = self.sum_of_groups(&babies, groups, schedule.chained, own)?;
            for &step in &schedule.folds {
                let moved = self.evaluator.rotate_giant(&sum, step)?;
                self.evaluator.add_extended_assign(&mut sum, &moved)?;
            }
            let mut y = self.evaluator.reduce_rescale(&sum)?;
            y.set_planned_scale(target.0)?;
            ys.push(y);
        }
        Ok(ys)
    }

    fn square_rescale(&mut self, x: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.squared(x)
    }

    fn square(&mut self, x: &Ciphertext) -> Result<Ciphertext, CkksError> {
        Ok(self.evaluator.square(x)?)
    }

    fn rescale(&mut self, x: &Ciphertext) -> Result<Ciphertext, CkksError> {
        Ok(self.evaluator.rescale(x)?)
    }
}

/// A map prepared for [`CkksSlots`].
#[derive(Clone, Debug)]
pub struct CkksMap {
    matrix: ScalarMatrix,
    bias: Vec<ScalarPlaintext>,
    target: Scale,
}

impl CkksSlots<'_> {
    fn squared(&self, x: &Ciphertext) -> Result<Ciphertext, CkksError> {
        Ok(self.evaluator.relinearise_rescale(&self.evaluator.tensor_square(x)?)?)
    }
}

impl BatchSlots for CkksSlots<'_> {
    type Map = CkksMap;

    fn map(
        &mut self,
        rows: &[Vec<&CkksPlain>],
        bias: &[&CkksPlain],
        like: &Ciphertext,
        target: Scale,
    ) -> Result<CkksMap, CkksError> {
        equally_many(rows.len(), bias.len())?;
        let rows = rows.iter().map(|ps| scalars(ps)).collect::<Result<Vec<_>, _>>()?;
        let rows: Vec<&[ScalarPlaintext]> = rows.iter().map(Vec::as_slice).collect();
        let matrix = ScalarMatrix::new(self.evaluator.params(), like.level(), &rows)?;
        Ok(CkksMap { matrix, bias: scalars(bias)?, target })
    }

    fn apply(
        &mut self,
        xs: &[&Ciphertext],
        map: &CkksMap,
        places: &[Place],
        then: Then,
    ) -> Result<Vec<Ciphertext>, CkksError> {
        let products = self.evaluator.dot_scalars_at(xs, &map.matrix, places)?;
        let s = &*self;
        let finish = |(k, x): (usize, Ciphertext)| {
            let mut x = s.planned(x, map.target)?;
            if let Some(b) = map.bias.get(k % map.bias.len().max(1)) {
                s.evaluator.add_scalar_assign(&mut x, b)?;
            }
            let x = s.evaluator.rescale(&x)?;
            match then {
                Then::Keep => Ok(x),
                Then::Square => s.squared(&x),
            }
        };
        products.into_par_iter().enumerate().map(finish).collect()
    }

    fn square_rescale_all(&mut self, xs: Vec<Ciphertext>) -> Result<Vec<Ciphertext>, CkksError> {
        let s = &*self;
        xs.into_par_iter().map(|x| s.squared(&x)).collect()
    }

    fn sum_at(&mut self, xs: &[Ciphertext], groups: &[Vec<usize>]) -> Result<Vec<Ciphertext>, CkksError> {
        let evaluator = self.evaluator;
        let sum = |group: &Vec<usize>| {
            let (first, others) = members(xs, group)?;
            let mut sum = first.clone();
            others.into_iter().try_for_each(|x| evaluator.add_assign(&mut sum, x))?;
            Ok(sum)
        };
        groups.par_iter().map(sum).collect()
    }

    fn add_assign_all(&mut self, xs: &mut [Ciphertext], ys: &[Ciphertext]) -> Result<(), CkksError> {
        equally_many(xs.len(), ys.len())?;
        let evaluator = self.evaluator;
        xs.par_iter_mut().zip(ys).try_for_each(|(x, y)| Ok(evaluator.add_assign(x, y)?))
    }
}
