//! Circuits: layers of a network on slots.
//!
//! | circuit | takes | gives |
//! |---|---|---|
//! | [`TapConv`] | one vector per kernel tap, filled by the client | all maps in one vector |
//! | [`replicate`] | one copy of a block | as many copies as fit |
//! | [`Linear`] | any layout | any layout |
//! | [`FreeLayer`] | a layout made for the layer | results wherever they fall |
//! | [`MatrixProduct`] | two matrices, or one of which the other is known | their product |
//! | [`stack`] | vectors of a few slots | one after the other in one vector |
//! | [`batch`] | one vector per element of a tensor, a sample per slot | the same |
//! | [`lola`] | the circuits of that plan and the plan | |

pub mod batch;
mod free;
mod linear;
pub mod lola;
mod matrix_product;
mod rotations;
mod tap_conv;
mod window;

pub use free::FreeLayer;
pub use linear::{Linear, Options};
pub use matrix_product::MatrixProduct;
pub use tap_conv::{TapConv, TapInput};
pub use window::{Tap, Window};

use crate::slots::{CircuitError, Slots};
use std::fmt;

/// Weights of a layer: `weight(i, j)` is row `i`, column `j`; `bias(i)` is of row `i`.
#[derive(Clone, Copy)]
pub struct Affine<'a> {
    /// The matrix.
    pub weight: &'a dyn Fn(usize, usize) -> f64,
    /// The vector added.
    pub bias: &'a dyn Fn(usize) -> f64,
}

impl fmt::Debug for Affine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Affine(..)")
    }
}

/// Fills all slots with copies of the first `block` slots; the others must be zero. `log2(slots / block)`
/// rotations.
pub fn replicate<S: Slots>(s: &mut S, x: &S::Ct, block: usize) -> Result<S::Ct, S::Error> {
    let slots = s.slots();
    let mut y = x.clone();
    let mut step = block;
    while step < slots {
        let moved = s.rotate(&y, slots - step)?;
        s.add_assign(&mut y, &moved)?;
        step *= 2;
    }
    Ok(y)
}

/// Puts vectors of `width` slots one after the other: vector `i` at slots `i·width ..`; their other slots must be
/// zero, and everything repeats every `period` slots. One rotation and addition per vector but the first.
///
/// # Errors
/// [`CircuitError::DoesNotFit`] for more than `period` slots, [`CircuitError::Count`] for no vector.
pub fn stack<S: Slots>(s: &mut S, xs: Vec<S::Ct>, width: usize, period: usize) -> Result<S::Ct, S::Error> {
    let needed = xs.len() * width;
    if needed > period {
        return Err(CircuitError::DoesNotFit { what: "a stack of vectors", needed, slots: period }.into());
    }
    let mut sum: Option<S::Ct> = None;
    for (i, x) in xs.into_iter().enumerate() {
        let x = if i == 0 { x } else { s.rotate(&x, period - i * width)? };
        accumulate(s, &mut sum, x)?;
    }
    sum.ok_or_else(|| CircuitError::Count { what: "vectors", expected: 1, found: 0 }.into())
}

/// Adds to every slot the slots `from`, 2·`from`, … , `to` − `from` places to its right: afterwards slot k
/// holds `Σ x[k + i·from]` over `i < to / from`. `log2(to / from)` rotations.
pub fn fold<S: Slots>(s: &mut S, x: S::Ct, from: usize, to: usize) -> Result<S::Ct, S::Error> {
    let mut y = x;
    let mut step = from;
    while step < to {
        let moved = s.rotate(&y, step)?;
        s.add_assign(&mut y, &moved)?;
        step *= 2;
    }
    Ok(y)
}

/// `sum += x`, starting with nothing.
pub(crate) fn accumulate<S: Slots>(s: &mut S, sum: &mut Option<S::Ct>, x: S::Ct) -> Result<(), S::Error> {
    match sum {
        Some(acc) => s.add_assign(acc, &x),
        None => {
            *sum = Some(x);
            Ok(())
        }
    }
}
