//! Encrypted slots.

use crate::counter::PlainUse;
use crate::slots::{CircuitError, Plain, Scale, Slots};
use oblivia_he::ckks::{Encoder, Evaluator};
use oblivia_he::{Ciphertext, HeError, Plaintext, ScalarPlaintext};
use std::fmt;

/// Runs circuits on CKKS ciphertexts with one client's keys.
pub struct CkksSlots<'a> {
    evaluator: &'a Evaluator,
}

/// A plaintext prepared for [`CkksSlots`].
#[derive(Clone, Debug)]
pub enum CkksPlain {
    /// One value per slot.
    Slots(Plaintext),
    /// The same value in every slot.
    Scalar(ScalarPlaintext),
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
            Plain::Slots(v) => Ok(Self::Slots(encoder.encode(v, at.level, at.scale.0)?)),
            Plain::Scalar(v) => Ok(Self::Scalar(ScalarPlaintext::new(*v, at.scale.0)?)),
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

impl Slots for CkksSlots<'_> {
    type Ct = Ciphertext;
    type Pt = CkksPlain;
    type Error = CkksError;

    fn slots(&self) -> usize {
        self.evaluator.params().slots()
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

    fn add_plain_assign(&mut self, x: &mut Ciphertext, p: &CkksPlain) -> Result<(), CkksError> {
        match p {
            CkksPlain::Slots(p) => Ok(self.evaluator.add_plain_assign(x, p)?),
            CkksPlain::Scalar(p) => Ok(self.evaluator.add_scalar_assign(x, p)?),
        }
    }

    fn dot_plain(
        &mut self,
        xs: &[&Ciphertext],
        ps: &[&CkksPlain],
        target: Scale,
    ) -> Result<Ciphertext, CkksError> {
        let mut vectors = Vec::with_capacity(ps.len());
        for p in ps {
            match p {
                CkksPlain::Slots(p) => vectors.push(p),
                CkksPlain::Scalar(_) => return Err(wrong_kind("vector plaintexts").into()),
            }
        }
        let y = self.evaluator.dot_plain(xs, &vectors)?;
        self.planned(y, target)
    }

    fn dot_scalars(
        &mut self,
        xs: &[&Ciphertext],
        rows: &[Vec<&CkksPlain>],
        target: Scale,
    ) -> Result<Vec<Ciphertext>, CkksError> {
        let scalar = |p: &&CkksPlain| match p {
            CkksPlain::Scalar(p) => Ok(*p),
            CkksPlain::Slots(_) => Err(wrong_kind("scalar plaintexts")),
        };
        let rows = rows
            .iter()
            .map(|ps| ps.iter().map(scalar).collect::<Result<Vec<_>, _>>())
            .collect::<Result<Vec<_>, _>>()?;
        let rows: Vec<&[ScalarPlaintext]> = rows.iter().map(Vec::as_slice).collect();
        let ys = self.evaluator.dot_scalars(xs, &rows)?;
        ys.into_iter().map(|y| self.planned(y, target)).collect()
    }

    fn square(&mut self, x: &Ciphertext) -> Result<Ciphertext, CkksError> {
        Ok(self.evaluator.square(x)?)
    }

    fn rescale(&mut self, x: &Ciphertext) -> Result<Ciphertext, CkksError> {
        Ok(self.evaluator.rescale(x)?)
    }
}
