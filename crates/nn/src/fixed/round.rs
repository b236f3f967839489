//! How an accumulator of k bits becomes a value of l = k − f bits.

use rand_core::Rng;

/// Brings accumulators to the width of activations.
pub trait Rounding {
    /// The value of element `at` (row-major) of wire `wire`, made by a convolution or dense layer, whose accumulator
    /// is `y` (centred mod 2^k): ⌊y/2^shift⌋ or one more. What dropping ciphertext bits does with an accumulator that
    /// is a multiple of 2^shift may also be one less, so callers take any number mod 2^l. `None` if the rounding has
    /// nothing for this element.
    fn round(&mut self, wire: usize, at: usize, y: i64, shift: u32) -> Option<i64>;
}

/// ⌊y/2^f⌋.
#[derive(Clone, Copy, Debug)]
pub struct Floor;

impl Rounding for Floor {
    fn round(&mut self, _: usize, _: usize, y: i64, shift: u32) -> Option<i64> {
        Some(y >> shift)
    }
}

/// ⌊y/2^f + 1/2⌋.
#[derive(Clone, Copy, Debug)]
pub struct Nearest;

impl Rounding for Nearest {
    fn round(&mut self, _: usize, _: usize, y: i64, shift: u32) -> Option<i64> {
        Some(if shift == 0 { y } else { ((y >> (shift - 1)) + 1) >> 1 })
    }
}

/// ⌊y/2^f⌋, plus one with probability (y mod 2^f)/2^f: without bias, as the drop of ciphertext bits gives it.
#[derive(Clone, Debug)]
pub struct Random<R>(pub R);

impl<R: Rng> Rounding for Random<R> {
    fn round(&mut self, _: usize, _: usize, y: i64, shift: u32) -> Option<i64> {
        let mask = (1i64 << shift) - 1;
        let draw = i64::from(self.0.next_u32()) & mask;
        Some((y >> shift) + i64::from(draw < (y & mask)))
    }
}

/// ⌊y/2^f⌋ plus what was recorded for each element of each wire (0 or 1; -1 is possible, see [`Rounding::round`]).
/// Wires without rounding have an empty list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded(pub Vec<Vec<i8>>);

impl Rounding for Recorded {
    fn round(&mut self, wire: usize, at: usize, y: i64, shift: u32) -> Option<i64> {
        let carry = *self.0.get(wire)?.get(at)?;
        (y >> shift).checked_add(i64::from(carry))
    }
}
