//! Harnesses for fuzzers: plain functions of bytes that must neither panic nor take unbounded memory.

use crate::dataset::parse_labels;
use crate::{Idx, Npy, decode_image};

/// Decodes bytes as an image.
pub fn image(bytes: &[u8]) {
    if let Ok(pixels) = decode_image(bytes) {
        assert_eq!(pixels.data().len(), pixels.width() * pixels.height() * pixels.channels());
    }
}

/// Parses bytes as an idx file.
pub fn idx(bytes: &[u8]) {
    if let Ok(idx) = Idx::parse(bytes) {
        assert_eq!(idx.data().len(), idx.dims().iter().product::<usize>());
    }
}

/// Parses bytes as an npy file.
pub fn npy(bytes: &[u8]) {
    if let Ok(npy) = Npy::parse(bytes) {
        assert_eq!(npy.data().len(), npy.shape().iter().product::<usize>());
    }
}

/// Parses bytes as a `labels.csv`.
pub fn labels(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(parse_labels(text));
    }
}
