//! Encrypted slots with exact arithmetic.

use crate::batch::equally_many;
use crate::ckks::wrong_kind;
use crate::counter::PlainUse;
use crate::matrix::{self, Diagonal};
use crate::schedule::Schedule;
use crate::slots::{CircuitError, MulSlots, Plain, Scale, Slots};
use oblivia_he::HeError;
use oblivia_he::bfv::{
    Ciphertext, CompactPlaintext, Context, Encoder, Evaluator, ExtendedPlaintext, Plaintext, Tensor,
};
use oblivia_he::generic::Factor;
use std::borrow::Cow;
use std::fmt;

/// Runs circuits on exact ciphertexts with one client's keys for one plaintext prime t, on the threads of the current
/// pool.
///
/// A value v is stored as the integer round(v·scale) modulo t. A [`Scale`] is that scale: products multiply it, and
/// dropping a prime leaves it alone ([`crate::Counter::exact`] counts so). What dropping a prime does to the message
/// modulo t is the factor of [`Context::level_factor`], a function of the level: inputs are to be encoded with it, and
/// plaintexts are here.
///
/// [`Slots::slots`] is one row, n/2: both rows of a plaintext are the same, so a ciphertext may hold two inputs. For the
/// noise model their weights are [`oblivia_he::bfv::NoiseModel::spread_equal_rows`]. A [`Plain`] of twice as many values
/// is for both rows, one after the other.
pub struct BfvSlots<'a> {
    context: &'a Context,
    evaluator: &'a Evaluator,
    encoder: &'a Encoder,
}

/// An exact ciphertext and what its integers are multiplied by.
#[derive(Clone, Debug)]
pub struct BfvVector {
    /// The ciphertext.
    pub ciphertext: Ciphertext,
    /// Its scale.
    pub scale: Scale,
}

/// A plaintext prepared for [`BfvSlots`].
#[derive(Clone, Debug)]
pub enum BfvPlain {
    /// One value per slot.
    Slots {
        /// The encoded integers.
        plaintext: Plaintext,
        /// What values were multiplied by.
        scale: Scale,
    },
    /// One value per slot, for a matrix product.
    Diagonal {
        /// The encoded integers.
        plaintext: ExtendedPlaintext,
        /// What values were multiplied by.
        scale: Scale,
    },
    /// The same integer in every slot.
    Scalar {
        /// The integer.
        integer: i64,
        /// What the value was multiplied by.
        scale: Scale,
    },
    /// One value per slot, transformed whenever it is used: less memory, more time.
    Deferred {
        /// The integers modulo t, as a polynomial.
        plaintext: CompactPlaintext,
        /// What values were multiplied by.
        scale: Scale,
    },
}

/// What can go wrong on exact encrypted slots.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BfvError {
    /// A circuit was used against its statement.
    #[error(transparent)]
    Circuit(#[from] CircuitError),
    /// The scheme refuses.
    #[error(transparent)]
    He(#[from] HeError),
}

impl BfvPlain {
    /// Prepares a plaintext for the place where a [`crate::Counter::exact`] saw it used.
    pub fn prepare(encoder: &Encoder, plain: &Plain, at: PlainUse) -> Result<Self, HeError> {
        match plain {
            Plain::Scalar(v) => Ok(Self::Scalar { integer: integer(*v, at.scale)?, scale: at.scale }),
            vector => {
                let factor = encoder.context().level_factor(at.level)?;
                let (values, scale) = (integers(encoder, vector, at)?, at.scale);
                if at.extended {
                    let plaintext = encoder.encode_extended(&values, at.level, factor)?;
                    return Ok(Self::Diagonal { plaintext, scale });
                }
                Ok(Self::Slots { plaintext: encoder.encode(&values, at.level, factor)?, scale })
            }
        }
    }

    /// As [`BfvPlain::prepare`], vectors to be transformed at every use.
    pub fn defer(encoder: &Encoder, plain: &Plain, at: PlainUse) -> Result<Self, HeError> {
        if let Plain::Scalar(_) = plain {
            return Self::prepare(encoder, plain, at);
        }
        let (factor, values) = (encoder.context().level_factor(at.level)?, integers(encoder, plain, at)?);
        let plaintext = encoder.encode_compact(&values, at.level, factor, at.extended)?;
        Ok(Self::Deferred { plaintext, scale: at.scale })
    }

    /// The encoded vector.
    fn vector(&self, context: &Context) -> Result<Cow<'_, Plaintext>, BfvError> {
        match self {
            Self::Slots { plaintext, .. } => Ok(Cow::Borrowed(plaintext)),
            Self::Deferred { plaintext, .. } => Ok(Cow::Owned(plaintext.expand(context)?)),
            Self::Diagonal { .. } | Self::Scalar { .. } => Err(wrong_kind("vector plaintexts").into()),
        }
    }

    fn scale(&self) -> Scale {
        match self {
            Self::Slots { scale, .. }
            | Self::Diagonal { scale, .. }
            | Self::Scalar { scale, .. }
            | Self::Deferred { scale, .. } => *scale,
        }
    }
}

impl Diagonal<Context> for BfvPlain {
    type Error = BfvError;

    fn factor(&self) -> Result<Factor<'_, Context>, BfvError> {
        match self {
            Self::Diagonal { plaintext, .. } => Ok(Factor::Ready(plaintext)),
            Self::Deferred { plaintext, .. } => Ok(Factor::Compact(plaintext)),
            Self::Slots { .. } | Self::Scalar { .. } => Err(wrong_kind("diagonals").into()),
        }
    }
}

/// round(`value`·`scale`).
fn integer(value: f64, scale: Scale) -> Result<i64, HeError> {
    let x = (value * scale.0).round_ties_even();
    if x.abs() < 2f64.powi(62) {
        return Ok(x as i64);
    }
    let bits = if x.is_finite() { x.abs().log2() as u32 + 2 } else { 0 };
    Err(HeError::Overflow { bits, max: 63 })
}

/// The integers of a plaintext: both rows the same, unless there are values for each.
fn integers(encoder: &Encoder, plain: &Plain, at: PlainUse) -> Result<Vec<i64>, HeError> {
    let row = encoder.context().slots() / 2;
    let mut values = match plain {
        Plain::Slots(v) => v.iter().map(|v| integer(*v, at.scale)).collect::<Result<Vec<_>, _>>()?,
        Plain::Scalar(v) => vec![integer(*v, at.scale)?; row],
        Plain::Weights { values, factor } => {
            let scaled = values.iter().map(|v| integer(f64::from(*v) * factor, at.scale));
            scaled.collect::<Result<Vec<_>, _>>()?
        }
    };
    match values.len() {
        found if found == 2 * row => {}
        found if found > row => return Err(HeError::TooManyValues { found, slots: row }),
        _ => {
            values.resize(row, 0);
            values.extend_from_within(..);
        }
    }
    Ok(values)
}

fn same(op: &'static str, left: Scale, right: Scale) -> Result<(), CircuitError> {
    if left == right {
        return Ok(());
    }
    let show = |s: Scale| format!("scale {}", s.0);
    Err(CircuitError::Mismatch { op, left: show(left), right: show(right) })
}

/// Refuses a product that is not at the scale of the plan, but for rounding of the plan's own arithmetic.
fn planned(op: &'static str, left: Scale, right: Scale, target: Scale) -> Result<(), CircuitError> {
    let found = left.0 * right.0;
    if (found - target.0).abs() <= target.0 * 2f64.powi(-40) {
        Ok(())
    } else {
        same(op, Scale(found), target)
    }
}

impl<'a> BfvSlots<'a> {
    /// The machine of one evaluator; the encoder is for deferred plaintexts and scalars.
    pub fn new(evaluator: &'a Evaluator, encoder: &'a Encoder) -> Self {
        Self { context: encoder.context(), evaluator, encoder }
    }

    /// `x` on `level` below its own, with the factor of that level: a scalar, then a switch from the level above it.
    fn lowered(&self, x: &Ciphertext, level: usize) -> Result<Ciphertext, HeError> {
        let wanted = self.context.before_switch(self.context.level_factor(level)?, level + 1)?;
        let mut x = x.clone();
        self.evaluator.drop_level_assign(&mut x, level + 1)?;
        // 1 with the missing factor.
        let one = self.encoder.scalar(1, self.context.quotient(wanted, x.scale()))?;
        self.evaluator.rescale(&self.evaluator.dot_scalar(&[&x], &[one])?)
    }
}

impl fmt::Debug for BfvSlots<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BfvSlots(..)")
    }
}

impl Slots for BfvSlots<'_> {
    type Ct = BfvVector;
    type Pt = BfvPlain;
    type Error = BfvError;

    fn slots(&self) -> usize {
        self.context.slots() / 2
    }

    fn scale_of(&self, x: &BfvVector) -> Option<Scale> {
        Some(x.scale)
    }

    fn rotate(&mut self, x: &BfvVector, left: usize) -> Result<BfvVector, BfvError> {
        Ok(BfvVector { ciphertext: self.evaluator.rotate(&x.ciphertext, left)?, scale: x.scale })
    }

    fn rotate_hoisted(&mut self, x: &BfvVector, lefts: &[usize]) -> Result<Vec<BfvVector>, BfvError> {
        let ys = self.evaluator.rotate_hoisted(&x.ciphertext, lefts)?;
        Ok(ys.into_iter().map(|ciphertext| BfvVector { ciphertext, scale: x.scale }).collect())
    }

    fn add_assign(&mut self, x: &mut BfvVector, y: &BfvVector) -> Result<(), BfvError> {
        same("an addition", x.scale, y.scale)?;
        Ok(self.evaluator.add_assign(&mut x.ciphertext, &y.ciphertext)?)
    }

    fn add_lowered(&mut self, x: &BfvVector, y: &BfvVector) -> Result<BfvVector, BfvError> {
        same("an addition", x.scale, y.scale)?;
        let (high, low) = if x.ciphertext.level() > y.ciphertext.level() { (x, y) } else { (y, x) };
        let mut sum = match low.ciphertext.level() {
            level if level == high.ciphertext.level() => high.ciphertext.clone(),
            level => self.lowered(&high.ciphertext, level)?,
        };
        self.evaluator.add_assign(&mut sum, &low.ciphertext)?;
        Ok(BfvVector { ciphertext: sum, scale: x.scale })
    }

    fn add_plain_assign(&mut self, x: &mut BfvVector, p: &BfvPlain) -> Result<(), BfvError> {
        same("an addition", x.scale, p.scale())?;
        let ct = &mut x.ciphertext;
        match p {
            BfvPlain::Scalar { integer, .. } => {
                let p = self.encoder.scalar(*integer, ct.scale())?;
                Ok(self.evaluator.add_scalar_assign(ct, &p)?)
            }
            vector => Ok(self.evaluator.add_plain_assign(ct, &*vector.vector(self.context)?)?),
        }
    }

    fn dot_plain(
        &mut self,
        xs: &[&BfvVector],
        ps: &[&BfvPlain],
        target: Scale,
    ) -> Result<BfvVector, BfvError> {
        for (x, p) in xs.iter().zip(ps) {
            planned("a sum of products", x.scale, p.scale(), target)?;
        }
        let vectors = ps.iter().map(|p| p.vector(self.context)).collect::<Result<Vec<_>, _>>()?;
        let vectors: Vec<&Plaintext> = vectors.iter().map(Cow::as_ref).collect();
        let xs: Vec<&Ciphertext> = xs.iter().map(|x| &x.ciphertext).collect();
        Ok(BfvVector { ciphertext: self.evaluator.dot_plain(&xs, &vectors)?, scale: target })
    }

    fn dot_scalars(
        &mut self,
        xs: &[&BfvVector],
        rows: &[Vec<&BfvPlain>],
        target: Scale,
    ) -> Result<Vec<BfvVector>, BfvError> {
        let Some(first) = xs.first() else {
            return Err(CircuitError::Count { what: "input vectors", expected: 1, found: 0 }.into());
        };
        let factor = self.context.level_factor(first.ciphertext.level())?;
        let scalar = |p: &&BfvPlain| match p {
            BfvPlain::Scalar { integer, .. } => Ok(self.encoder.scalar(*integer, factor)?),
            _ => Err(BfvError::from(wrong_kind("scalar plaintexts"))),
        };
        for row in rows {
            for (x, p) in xs.iter().zip(row) {
                planned("a sum of products", x.scale, p.scale(), target)?;
            }
        }
        let rows = rows
            .iter()
            .map(|ps| ps.iter().map(scalar).collect::<Result<Vec<_>, _>>())
            .collect::<Result<Vec<_>, _>>()?;
        let rows: Vec<&[_]> = rows.iter().map(Vec::as_slice).collect();
        let xs: Vec<&Ciphertext> = xs.iter().map(|x| &x.ciphertext).collect();
        let ys = self.evaluator.dot_scalars(&xs, &rows)?;
        Ok(ys.into_iter().map(|ciphertext| BfvVector { ciphertext, scale: target }).collect())
    }

    fn linear(
        &mut self,
        xs: &[&BfvVector],
        schedule: &Schedule,
        plains: &[&BfvPlain],
        target: Scale,
    ) -> Result<Vec<BfvVector>, BfvError> {
        for x in xs {
            for p in plains {
                planned("a matrix product", x.scale, p.scale(), target)?;
            }
        }
        let xs: Vec<&Ciphertext> = xs.iter().map(|x| &x.ciphertext).collect();
        let ys = matrix::product(self.evaluator, &xs, schedule, plains)?;
        Ok(ys.into_iter().map(|ciphertext| BfvVector { ciphertext, scale: target }).collect())
    }

    fn square_rescale(&mut self, x: &BfvVector) -> Result<BfvVector, BfvError> {
        let tensor = self.evaluator.tensor_square(&x.ciphertext)?;
        let ciphertext = self.evaluator.relinearise_rescale(&tensor)?;
        Ok(BfvVector { ciphertext, scale: Scale(x.scale.0 * x.scale.0) })
    }

    fn square(&mut self, x: &BfvVector) -> Result<BfvVector, BfvError> {
        let ciphertext = self.evaluator.square(&x.ciphertext)?;
        Ok(BfvVector { ciphertext, scale: Scale(x.scale.0 * x.scale.0) })
    }

    fn rescale(&mut self, x: &BfvVector) -> Result<BfvVector, BfvError> {
        Ok(BfvVector { ciphertext: self.evaluator.rescale(&x.ciphertext)?, scale: x.scale })
    }
}

impl MulSlots for BfvSlots<'_> {
    fn inner_product(&mut self, xs: &[&BfvVector], ys: &[&BfvVector]) -> Result<BfvVector, BfvError> {
        equally_many(xs.len(), ys.len())?;
        let none = CircuitError::Count { what: "vectors", expected: 1, found: 0 };
        let mut sum: Option<(Tensor, Scale)> = None;
        for (x, y) in xs.iter().zip(ys) {
            let product = self.evaluator.tensor(&x.ciphertext, &y.ciphertext)?;
            let scale = Scale(x.scale.0 * y.scale.0);
            match &mut sum {
                None => sum = Some((product, scale)),
                Some((sum, first)) => {
                    same("a sum of products", *first, scale)?;
                    self.evaluator.add_tensor_assign(sum, &product)?;
                }
            }
        }
        let (sum, scale) = sum.ok_or(none)?;
        Ok(BfvVector { ciphertext: self.evaluator.relinearise(&sum)?, scale })
    }
}
