//! Encrypted slots.

use crate::batch::{BatchSlots, Place, Then, equally_many, members};
use crate::counter::PlainUse;
use crate::matrix::{self, Diagonal};
use crate::schedule::Schedule;
use crate::slots::{CircuitError, Plain, Scale, Slots};
use oblivia_he::ckks::{Encoder, Evaluator, ScalarMatrix};
use oblivia_he::generic::Factor;
use oblivia_he::{
    Ciphertext, CompactPlaintext, ExtendedPlaintext, HeError, Params, Plaintext, ScalarPlaintext,
};
use rayon::prelude::*;
use std::borrow::Cow;
use std::fmt;

/// Runs circuits on CKKS ciphertexts with one client's keys, on the threads of the current pool.
pub struct CkksSlots<'a> {
    evaluator: &'a Evaluator,
}

/// A plaintext prepared for [`CkksSlots`].
#[derive(Clone, Debug)]
pub enum CkksPlain {
    /// One value per slot.
    Slots(Plaintext),
    /// One value per slot, for a matrix product.
    Diagonal(ExtendedPlaintext),
    /// The same value in every slot.
    Scalar(ScalarPlaintext),
    /// One value per slot, transformed whenever it is used: less memory, more time.
    Deferred(CompactPlaintext),
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
            vector if at.extended => Ok(Self::Diagonal(encode(encoder, vector, |values| {
                encoder.encode_extended(values, at.level, at.scale.0)
            })?)),
            vector => Ok(Self::Slots(encode(encoder, vector, |values| {
                encoder.encode(values, at.level, at.scale.0)
            })?)),
        }
    }

    /// The encoded vector.
    fn vector(&self, params: &Params) -> Result<Cow<'_, Plaintext>, CkksError> {
        match self {
            Self::Slots(p) => Ok(Cow::Borrowed(p)),
            Self::Deferred(p) => Ok(Cow::Owned(p.expand(params)?)),
            Self::Diagonal(_) | Self::Scalar(_) => Err(wrong_kind("vector plaintexts").into()),
        }
    }

    /// As [`CkksPlain::prepare`], vectors to be transformed at every use.
    pub fn defer(encoder: &Encoder, plain: &Plain, at: PlainUse) -> Result<Self, HeError> {
        match plain {
            Plain::Scalar(_) => Self::prepare(encoder, plain, at),
            vector => Ok(Self::Deferred(encode(encoder, vector, |values| {
                encoder.encode_compact(values, at.level, at.scale.0, at.extended)
            })?)),
        }
    }
}

impl Diagonal<Params> for CkksPlain {
    type Error = CkksError;

    fn factor(&self) -> Result<Factor<'_, Params>, CkksError> {
        match self {
            Self::Diagonal(p) => Ok(Factor::Ready(p)),
            Self::Deferred(p) => Ok(Factor::Compact(p)),
            Self::Slots(_) | Self::Scalar(_) => Err(wrong_kind("diagonals").into()),
        }
    }
}

/// Hands `make` the values of a plaintext.
fn encode<P>(
    encoder: &Encoder,
    plain: &Plain,
    make: impl Fn(&[f64]) -> Result<P, HeError>,
) -> Result<P, HeError> {
    match plain {
        Plain::Slots(v) => make(v),
        Plain::Scalar(v) => make(&vec![*v; encoder.params().slots()]),
        Plain::Weights { values, factor } => {
            make(&values.iter().map(|v| f64::from(*v) * factor).collect::<Vec<_>>())
        }
    }
}

impl<'a> CkksSlots<'a> {
    /// The machine of one evaluator.
    pub fn new(evaluator: &'a Evaluator) -> Self {
        Self { evaluator }
    }

    /// Gives a product the scale the plan says it has, of which rounding may have lost the last bit.
    fn planned(&self, mut x: Ciphertext, target: Scale) -> Result<Ciphertext, CkksError> {
        let q = self.evaluator.params().rescale_divisor(x.level())?;
        x.set_planned_scale(target.0 * q)?;
        Ok(x)
    }
}

impl fmt::Debug for CkksSlots<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CkksSlots(..)")
    }
}

pub(crate) fn wrong_kind(expected: &'static str) -> CircuitError {
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
            vector => Ok(self.evaluator.add_plain_assign(x, &*vector.vector(self.evaluator.params())?)?),
        }
    }

    fn dot_plain(
        &mut self,
        xs: &[&Ciphertext],
        ps: &[&CkksPlain],
        target: Scale,
    ) -> Result<Ciphertext, CkksError> {
        let vectors = ps.iter().map(|p| p.vector(self.evaluator.params())).collect::<Result<Vec<_>, _>>()?;
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
        let mut ys = matrix::product(self.evaluator, xs, schedule, plains)?;
        ys.iter_mut().try_for_each(|y| y.set_planned_scale(target.0))?;
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
