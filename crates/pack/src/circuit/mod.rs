//! Circuits: layers of a network on slots.
//!
//! | circuit | takes | gives |
//! |---|---|---|
//! | [`TapConv`] | one vector per kernel tap, filled by the client | all maps in one vector |
//! | [`replicate`] | one copy of a block | as many copies as fit |
//! | [`Linear`] | any layout | any layout |

mod linear;
mod tap_conv;
mod window;

pub use linear::{Linear, Options};
pub use tap_conv::{TapConv, TapInput};
pub use window::{Tap, Window};

use crate::slots::Slots;

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
