//! Harness for fuzzers: a plain function of bytes.

use super::{from_bytes, to_bytes};
use oblivia_nn::Shape;

/// A message of values.
///
/// # Panics
/// When something other than the encoding of the values was accepted.
pub fn values(bytes: &[u8]) -> bool {
    let Ok(shape) = Shape::new([(bytes.len() / 4).max(1)]) else { return false };
    match from_bytes(bytes, shape, "Input") {
        Ok(tensor) => {
            assert!(to_bytes(&tensor) == bytes, "two encodings of one tensor");
            true
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn finite_values_are_taken_and_nothing_else() {
        let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        assert!(values(&bytes(&[1.0, -0.0, f32::MAX, f32::MIN_POSITIVE / 2.0])));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(!values(&bytes(&[1.0, bad])));
        }
        assert!(!values(&[]) && !values(&[0; 3]));
        assert!(!values(&[0; 9]), "a byte behind the last value");
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_canonically(bytes: Vec<u8>) {
            values(&bytes);
        }
    }
}
