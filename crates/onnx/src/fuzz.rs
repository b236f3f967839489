//! Harnesses for fuzzers: plain functions of bytes that must neither panic nor take unbounded memory. The
//! tests run them on damaged real files; cargo-fuzz can run them as they are.

use crate::{CalibrationFile, Manifest, import};
use oblivia_base::codec::{Decode, Encode};
use oblivia_nn::Graph;

/// Imports bytes as an ONNX file. A model that is accepted must survive the wire.
pub fn onnx(bytes: &[u8]) {
    if let Ok(imported) = import(bytes) {
        let again = Graph::from_bytes(&imported.graph.to_bytes());
        assert_eq!(again.as_ref(), Ok(&imported.graph), "an imported graph must decode as it was encoded");
    }
}

/// Parses bytes as a manifest.
pub fn manifest(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(Manifest::parse(text, "fuzz"));
    }
}

/// Parses bytes as a calibration. One that is accepted must survive being written.
pub fn calibration(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(file) = CalibrationFile::parse(text, "fuzz")
    {
        let again = CalibrationFile::parse(&file.to_text("fuzz"), "fuzz");
        assert_eq!(again.as_ref(), Ok(&file), "a calibration must be read as it was written");
    }
}
