//! ONNX models as files have them, turned into a graph, its weights and what is published of them.
//!
//! [`open`] takes a `.onnx` file or a folder with `model.onnx` and `model.toml`; [`import`] takes the bytes
//! of an ONNX file alone. Every bound on size is checked before memory is taken; a corrupt or truncated file
//! gives an error that says where it breaks off, an operator Oblivia does not know one that names it.
//!
//! A Softmax, LogSoftmax or ArgMax that makes the output is left out ([`Ending`]): the largest of its inputs is the
//! largest of its outputs, so what it does is for whoever has the outputs; anywhere else it is refused.
//!
//! A graph speaks of one sample: the batch axis, which must come first and be 1 or symbolic, is stripped.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

mod attributes;
mod calibration;
mod error;
mod fixed_point;
pub mod fuzz;
mod import;
mod load;
mod manifest;
mod ops;
mod scan;
mod value;

#[expect(unreachable_pub, reason = "generated from proto/onnx.proto")]
#[rustfmt::skip]
#[path = "proto/onnx.rs"]
mod proto;

pub use calibration::CalibrationFile;
pub use error::OnnxError;
pub use fixed_point::{Declared, FixedPointSection};
pub use import::{Ending, Imported, import};
pub use load::{Loaded, Opening, load, open, open_with};
pub use manifest::{
    ChannelOrder, InputKind, InputSection, Layout, Manifest, OutputKind, OutputSection, Policy, RangesSection,
};
pub use ops::operators;

/// The largest ONNX file read, in bytes (512 MiB).
pub const MAX_FILE_BYTES: u64 = 512 << 20;
/// The largest number of weights and constants a model may hold, in elements (512 MiB as 32-bit floats).
pub const MAX_WEIGHT_ELEMENTS: usize = 1 << 27;

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests index what they made")]
mod tests;
