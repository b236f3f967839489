//! What a model's owner keeps to make the network in fixed point again, the same one each time.

use super::{FixedModel, Options, Ranges, quantise};
use crate::{Model, NnError};

/// Options and measurements beside a model. The owner's: only [`super::Formats`] are published.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// Widths and margins.
    pub options: Options,
    /// Of the folded model; `None` for bounds that hold always.
    pub ranges: Option<Ranges>,
    /// Declared bound on the probability that an input leaves a limit ([`super::declare_overflow`]); without meaning where
    /// bounds hold always.
    pub overflow: f64,
    /// Largest difference of an output from the float network's on the images that were checked.
    pub error: Option<f64>,
}

impl Calibration {
    /// The network in fixed point of `model`, which must be folded.
    ///
    /// # Errors
    /// As [`quantise`].
    pub fn apply(&self, model: &Model) -> Result<FixedModel, NnError> {
        let mut fixed = match &self.ranges {
            Some(ranges) => quantise(model, ranges, &self.options)?,
            None => quantise(model, &Ranges::always(model)?, &self.options)?,
        };
        fixed.declare(self.overflow, self.error);
        Ok(fixed)
    }
}

/// Publishes the formats of a model that has a calibration; leaves others as they are.
///
/// # Errors
/// As [`Calibration::apply`].
pub fn publish(model: &mut Model) -> Result<(), NnError> {
    if let Some(calibration) = &model.calibration {
        model.public.fixed = Some(calibration.apply(model)?.network().formats().clone());
    }
    Ok(())
}
