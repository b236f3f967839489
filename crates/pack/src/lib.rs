//! From tensors to slots: layouts, and linear algebra as circuits over them.
//!
//! A circuit states before it runs which plaintexts it takes, which keys it needs, how deep it is and how
//! many operations it does: run it on a [`Counter`]. The same code then runs on [`ClearSlots`] for values
//! in the clear and on encrypted slots.
#![forbid(unsafe_code)]

mod batch;
mod bfv;
pub mod circuit;
mod ckks;
mod clear;
pub mod coefficient;
mod counter;
mod layout;
mod matrix;
mod schedule;
mod slots;

pub use batch::{BatchSlots, Place, Then};
pub use bfv::{BfvError, BfvPlain, BfvSlots, BfvVector};
pub use ckks::{CkksError, CkksMap, CkksPlain, CkksSlots};
pub use clear::ClearSlots;
pub use counter::{Chain, ChainLevel, Counter, PlainUse, Traced, TracedMap};
pub use layout::{Axis, Digit, Layout, MAX_ELEMENTS, MAX_VECTORS, chw};
pub use schedule::{Group, Outline, Schedule};
pub use slots::{CircuitError, MulSlots, Plain, Plains, Scale, Slots};
