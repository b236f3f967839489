//! The machine circuits are written for: vectors of slots with a level and a scale.

use crate::schedule::Schedule;

/// Arithmetic on vectors of slots, every operation acting on all slots at once.
///
/// A circuit is written once against this trait and runs on [`crate::Counter`] (cost, keys, levels and
/// scales, no values), on [`crate::ClearSlots`] (values in clear) and on encrypted slots.
///
/// Linear products are directed at a *target scale*: the plaintext's scale is `target · q / scale(x)`, `q`
/// being the prime the next [`Slots::rescale`] drops, so that rescaling lands on the target exactly and
/// scales never drift (cookbook, "Scale is a plan-time constant").
pub trait Slots {
    /// A vector of slots.
    type Ct: Clone;
    /// A prepared plaintext: a vector of slots or one scalar.
    type Pt;
    /// What can go wrong.
    type Error: From<CircuitError>;

    /// Number of slots.
    fn slots(&self) -> usize;
    /// The scale of a vector, where there is one.
    fn scale_of(&self, x: &Self::Ct) -> Option<Scale>;
    /// Slots moved `left` places to the left, cyclically.
    fn rotate(&mut self, x: &Self::Ct, left: usize) -> Result<Self::Ct, Self::Error>;
    /// The vector under several rotations, which share what can be shared. A rotation by 0 is free.
    fn rotate_hoisted(&mut self, x: &Self::Ct, lefts: &[usize]) -> Result<Vec<Self::Ct>, Self::Error>;
    /// `x += y`; level and scale must be equal.
    fn add_assign(&mut self, x: &mut Self::Ct, y: &Self::Ct) -> Result<(), Self::Error>;
    /// `x + y`, the one of more levels brought down to the other's; scales must be equal.
    fn add_lowered(&mut self, x: &Self::Ct, y: &Self::Ct) -> Result<Self::Ct, Self::Error>;
    /// `x += p`, the plaintext prepared at the level and scale of `x`.
    fn add_plain_assign(&mut self, x: &mut Self::Ct, p: &Self::Pt) -> Result<(), Self::Error>;
    /// `Σ xᵢ ⊙ pᵢ` with vector plaintexts, before rescaling.
    fn dot_plain(
        &mut self,
        xs: &[&Self::Ct],
        ps: &[&Self::Pt],
        target: Scale,
    ) -> Result<Self::Ct, Self::Error>;
    /// `Σ xᵢ · pᵢ` with scalar plaintexts for every row `p` of `rows`, before rescaling.
    fn dot_scalars(
        &mut self,
        xs: &[&Self::Ct],
        rows: &[Vec<&Self::Pt>],
        target: Scale,
    ) -> Result<Vec<Self::Ct>, Self::Error>;
    /// A matrix product by diagonals, rescaled, at scale `target`.
    fn linear(
        &mut self,
        xs: &[&Self::Ct],
        schedule: &Schedule,
        plains: &[&Self::Pt],
        target: Scale,
    ) -> Result<Vec<Self::Ct>, Self::Error>;
    /// `x ⊙ x`, relinearised and rescaled.
    fn square_rescale(&mut self, x: &Self::Ct) -> Result<Self::Ct, Self::Error>;
    /// `x ⊙ x`, relinearised, before rescaling.
    fn square(&mut self, x: &Self::Ct) -> Result<Self::Ct, Self::Error>;
    /// Divides by the last prime of the level and drops it.
    fn rescale(&mut self, x: &Self::Ct) -> Result<Self::Ct, Self::Error>;
}

/// Slots that are multiplied with each other.
pub trait MulSlots: Slots {
    /// `Σ xᵢ ⊙ yᵢ`, relinearised once, before rescaling; the scale is the product of both. Equal levels and scales.
    fn inner_product(&mut self, xs: &[&Self::Ct], ys: &[&Self::Ct]) -> Result<Self::Ct, Self::Error>;
}

/// The factor between values and what is stored. Two vectors may be added only if theirs are equal.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub struct Scale(pub f64);

/// A plaintext before it is prepared for a machine.
#[derive(Clone, PartialEq, Debug)]
pub enum Plain {
    /// One value per slot.
    Slots(Vec<f64>),
    /// One value per slot, all multiplied by `factor`: weights as the model has them, at half the memory.
    Weights {
        /// One value per slot.
        values: Vec<f32>,
        /// What they are multiplied by.
        factor: f64,
    },
    /// The same value in every slot.
    Scalar(f64),
}

/// A circuit was used against its own statement.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CircuitError {
    /// The layer does not fit the slots.
    #[error("{what} needs {needed} slots, there are {slots}")]
    DoesNotFit {
        /// Which layer.
        what: &'static str,
        /// Slots needed.
        needed: usize,
        /// Slots there are.
        slots: usize,
    },
    /// A layout that does not fit itself or its layer.
    #[error("no such layout: {why}")]
    Layout {
        /// What is wrong.
        why: &'static str,
    },
    /// More or fewer vectors or plaintexts than the circuit takes.
    #[error("the circuit takes {expected} {what}, got {found}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// As stated.
        expected: usize,
        /// As given.
        found: usize,
    },
    /// Two operands have different levels or scales.
    #[error("{op} needs equal levels and scales, got {left} and {right}")]
    Mismatch {
        /// The operation.
        op: &'static str,
        /// The first operand's.
        left: String,
        /// The second operand's.
        right: String,
    },
    /// There is no prime left to rescale by.
    #[error("the circuit is deeper than the {levels} levels of the parameters")]
    TooDeep {
        /// Levels of the parameters.
        levels: usize,
    },
}

/// Plaintexts of a circuit, handed out in the order in which the circuit uses them.
#[derive(Debug)]
pub struct Plains<'a, P> {
    all: &'a [P],
    next: usize,
}

impl<'a, P> Plains<'a, P> {
    /// From the first one.
    pub fn new(all: &'a [P]) -> Self {
        Self { all, next: 0 }
    }

    /// The next plaintext.
    pub fn take(&mut self) -> Result<&'a P, CircuitError> {
        let p = self.all.get(self.next).ok_or(CircuitError::Count {
            what: "plaintexts",
            expected: self.next + 1,
            found: self.all.len(),
        })?;
        self.next += 1;
        Ok(p)
    }

    /// The next `n` plaintexts.
    pub fn take_many(&mut self, n: usize) -> Result<Vec<&'a P>, CircuitError> {
        (0..n).map(|_| self.take()).collect()
    }

    /// Checks that every plaintext was used.
    pub fn finish(self) -> Result<(), CircuitError> {
        if self.next == self.all.len() {
            return Ok(());
        }
        Err(CircuitError::Count { what: "plaintexts", expected: self.next, found: self.all.len() })
    }
}
