//! Neural networks in the clear: tensors, the graph every system plans over, and its evaluators.
//!
//! A [`Graph`] is structure alone: operators, shapes and declared bounds. Weights live beside it in a
//! [`Model`], because a client may know the graph and must not know the weights; what it does get is a
//! [`PublicModel`]. This crate knows no cryptography.
#![forbid(unsafe_code)]

mod codec;
pub mod cost;
mod error;
pub mod eval;
pub mod fixed;
pub mod fuzz;
pub mod graph;
mod infer;
pub mod inspect;
pub mod model;
pub mod op;
pub mod pass;
pub mod quant;
mod shape;
mod tensor;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod zeros;

pub use error::NnError;
pub use graph::{Fact, Graph, Node, WireId};
pub use model::{ImageInput, InputSpec, Model, OutputPolicy, PublicModel, Weights};
pub use op::{Conv, Op, Pool, WeightId};
pub use shape::Shape;
pub use tensor::Tensor;
pub use zeros::Zeros;
