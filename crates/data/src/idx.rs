//! The idx format of the MNIST files, plain or gzipped.

use crate::DataError;
use crate::file::bounded;
use flate2::bufread::GzDecoder;

/// The largest idx file read, and the largest a gzipped one may grow to, in bytes (256 MiB).
pub const MAX_IDX_BYTES: u64 = 256 << 20;
/// The largest number of axes.
const MAX_AXES: usize = 4;

/// An array of bytes, first axis slowest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idx {
    dims: Vec<usize>,
    data: Vec<u8>,
}

impl Idx {
    /// Reads an idx file given as bytes, inflating it first if it is gzipped. Only unsigned bytes are read.
    pub fn parse(bytes: &[u8]) -> Result<Self, DataError> {
        let too_large =
            |found| DataError::TooLarge { what: "bytes of the idx file".into(), found, max: MAX_IDX_BYTES };
        if bytes.len() as u64 > MAX_IDX_BYTES {
            return Err(too_large(bytes.len() as u64));
        }
        if !bytes.starts_with(&[0x1f, 0x8b]) {
            return Self::parse_plain(bytes);
        }
        let mut decoder = GzDecoder::new(bytes);
        match bounded(&mut decoder, MAX_IDX_BYTES) {
            Ok(Some(plain)) if decoder.get_ref().is_empty() => Self::parse_plain(&plain),
            Ok(Some(_)) => Err(bad("bytes follow the gzip data")),
            Ok(None) => Err(too_large(MAX_IDX_BYTES + 1)),
            Err(e) => Err(bad(format!("damaged gzip data ({e})"))),
        }
    }

    fn parse_plain(bytes: &[u8]) -> Result<Self, DataError> {
        let [0, 0, element, axes, rest @ ..] = bytes else {
            return Err(bad("it does not start with two zero bytes"));
        };
        if *element != 8 {
            return Err(bad(format!("element type 0x{element:02x} is not unsigned bytes (0x08)")));
        }
        let axes = usize::from(*axes);
        if axes == 0 || axes > MAX_AXES {
            return Err(bad(format!("{axes} axes; 1 to {MAX_AXES} are read")));
        }
        let Some((head, data)) = rest.split_at_checked(4 * axes) else {
            return Err(bad("it breaks off inside the header"));
        };
        let dims: Vec<usize> = head.as_chunks().0.iter().map(|&d| u32::from_be_bytes(d) as usize).collect();
        let elements = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if elements != Some(data.len()) {
            return Err(bad(format!("shape {dims:?} does not match {} bytes of data", data.len())));
        }
        Ok(Self { dims, data: data.to_vec() })
    }

    /// Sizes of the axes.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// All elements, last axis fastest.
    pub fn data(&self) -> &[u8] {
        &self.data
    }
}

fn bad(why: impl Into<String>) -> DataError {
    DataError::BadIdx { why: why.into() }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests index what they made")]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    const PLAIN: [u8; 14] = [0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 2, 7, 9];

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut e = GzEncoder::new(Vec::new(), Compression::fast());
        e.write_all(bytes).unwrap();
        e.finish().unwrap()
    }

    #[test]
    fn plain_and_gzipped_files_read_alike() {
        let plain = Idx::parse(&PLAIN).unwrap();
        assert_eq!((plain.dims(), plain.data()), (&[1, 2][..], &[7, 9][..]));
        assert_eq!(Idx::parse(&gzip(&PLAIN)).unwrap(), plain);
    }

    #[test]
    fn what_does_not_fit_says_why() {
        for (bytes, expected) in [
            (PLAIN[..13].to_vec(), "shape [1, 2] does not match 1 bytes"),
            (PLAIN[..9].to_vec(), "breaks off inside the header"),
            (vec![0, 0, 13, 1, 0, 0, 0, 0], "element type 0x0d"),
            (b"text".to_vec(), "two zero bytes"),
            (gzip(&PLAIN)[..20].to_vec(), "damaged gzip data"),
            ([gzip(&PLAIN), vec![1]].concat(), "bytes follow the gzip data"),
        ] {
            let error = Idx::parse(&bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_gzip_bomb_is_stopped_at_the_limit() {
        // Each megabyte of zeros deflates to about a kilobyte.
        let mut e = GzEncoder::new(Vec::new(), Compression::fast());
        let zeros = vec![0; 1 << 20];
        for _ in 0..=(MAX_IDX_BYTES >> 20) {
            e.write_all(&zeros).unwrap();
        }
        assert!(matches!(Idx::parse(&e.finish().unwrap()), Err(DataError::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, at: prop::sample::Index, value: u8) {
            crate::fuzz::idx(&bytes);
            for mut sound in [PLAIN.to_vec(), gzip(&PLAIN)] {
                let i = at.index(sound.len());
                sound[i] = value;
                crate::fuzz::idx(&sound);
                crate::fuzz::idx(&sound[..i]);
            }
        }
    }
}
