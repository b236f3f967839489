//! Rewrites that keep what a model computes.

mod complete_square;
mod fold;
mod pool_first;
mod row_norms;
mod zeros;

pub use complete_square::complete_square;
pub use fold::fold;
pub use pool_first::pool_first;
pub use row_norms::publish_row_norms;
pub use zeros::publish_zeros;

use crate::{Model, NnError};

/// The model as systems plan it: squares completed, then folded. Calibrations of fixed point are of this one.
///
/// # Errors
/// As [`complete_square()`] and [`fold()`].
pub fn normal_form(model: &Model) -> Result<Model, NnError> {
    fold(&complete_square(model)?)
}
