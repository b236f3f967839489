//! Files to tensors: images with the preprocessing a model publishes, idx and npy arrays, labelled sets.
//!
//! Every reader bounds what it takes before it takes it, and never changes an input silently: an image of
//! another size than the model's is refused, not resized.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

mod dataset;
mod error;
mod file;
pub mod fuzz;
mod idx;
mod image;
mod locate;
mod npy;

pub use dataset::{
    Labelled, Split, array_images, cifar10_jpeg_test, labelled_arrays, labelled_folder, labels_beside, mnist,
};
pub use error::DataError;
pub use file::read;
pub use idx::{Idx, MAX_IDX_BYTES};
pub use image::{MAX_IMAGE_BYTES, MAX_PIXELS, Pixels, decode_image};
pub use locate::{data_dir, find_data_dir};
pub use npy::{MAX_NPY_BYTES, Npy, NpyData};
