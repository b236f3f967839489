//! Harnesses for fuzzers: plain functions of bytes that must neither panic nor take more memory than the bytes can
//! justify. They say whether the bytes were accepted. Tests run them on damaged valid encodings; cargo-fuzz runs
//! them as they are.

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer};
use crate::{Digest, PublicSeed};

/// Decodes one value and encodes it again.
///
/// # Panics
/// When something other than its own encoding was accepted as a value, or an error lies outside the bytes.
pub fn round_trip<T: Encode + Decode>(bytes: &[u8]) -> bool {
    let mut r = Reader::new(bytes);
    match T::decode(&mut r) {
        Ok(value) => {
            let read = bytes.len() - r.remaining();
            assert!(bytes.get(..read) == Some(value.to_bytes().as_slice()), "two encodings of one value");
            let whole = T::from_bytes(bytes).is_ok();
            assert_eq!(whole, r.remaining() == 0, "left-over bytes must be refused, and only they");
            whole
        }
        Err(e) => {
            assert!(e.at <= bytes.len(), "an error behind the end: {e}");
            assert!(T::from_bytes(bytes).is_err());
            false
        }
    }
}

/// The codec itself. The bytes are a program and the data it reads: one byte for the length of the program, the
/// program, and the rest. Each byte of the program names a kind of field and its bound.
///
/// # Panics
/// When what was read does not encode to the bytes that were read.
pub fn codec(bytes: &[u8]) -> bool {
    let Some((&length, rest)) = bytes.split_first() else { return false };
    let (program, data) = rest.split_at(usize::from(length).min(rest.len()));
    let (mut r, mut w) = (Reader::new(data), Writer::new());
    for &field in program {
        if let Err(e) = copy(field, &mut r, &mut w) {
            assert!(e.at <= data.len(), "an error behind the end: {e}");
            return false;
        }
    }
    let read = data.len() - r.remaining();
    assert!(data.get(..read) == Some(w.into_bytes().as_slice()), "two encodings of one value");
    let left = r.remaining();
    assert_eq!(r.finish().is_ok(), left == 0);
    left == 0
}

/// Reads one field and writes it.
fn copy(field: u8, r: &mut Reader<'_>, w: &mut Writer) -> Result<(), DecodeError> {
    let bound = usize::from(field / 12);
    match field % 12 {
        0 => w.u8(r.u8("u8")?),
        1 => w.bool(r.bool("bool")?),
        2 => w.u16(r.u16("u16")?),
        3 => w.u32(r.u32("u32")?),
        4 => w.u64(r.u64("u64")?),
        5 => w.f64(r.f64("f64")?),
        6 => w.raw(r.raw(bound, "raw")?),
        7 => w.count(r.count(1 << bound, bound, "count")?),
        8 => w.bytes(r.bytes(1 << bound, "bytes")?),
        9 => w.str(r.str(1 << bound, "text")?),
        10 => w.seq(&r.seq::<Digest>(bound, "digests")?),
        _ => PublicSeed::decode(r)?.encode(w),
    }
    Ok(())
}

/// A digest as people type it: hexadecimal in either case, blanks around it.
///
/// # Panics
/// When something else was accepted.
pub fn digest_text(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Some(digest) = Digest::from_hex(text) else { return false };
    assert_eq!(digest.hex(), text.trim().to_ascii_lowercase(), "two texts of one digest");
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A program with every kind of field, and data for it.
    fn valid() -> Vec<u8> {
        let program: Vec<u8> = (0..12u8).map(|kind| 12 * 4 + kind).collect();
        let mut w = Writer::new();
        w.u8(9);
        w.bool(true);
        w.u16(7);
        w.u32(8);
        w.u64(1 << 40);
        w.f64(-0.5);
        w.raw(b"four");
        w.count(3);
        w.bytes(b"twelve bytes");
        w.str("grüße");
        w.seq(&[Digest([1; 32]), Digest([2; 32])]);
        PublicSeed([3; 32]).encode(&mut w);
        [&[12][..], &program, &w.into_bytes()].concat()
    }

    #[test]
    fn the_harness_accepts_what_is_valid() {
        assert!(codec(&valid()));
        let mut longer = valid();
        longer.push(0);
        assert!(!codec(&longer));
        assert!(round_trip::<Digest>(&[7; 32]) && !round_trip::<Digest>(&[7; 31]));
        assert!(digest_text(format!(" {}\n", "aB".repeat(32)).as_bytes()));
    }

    #[test]
    fn a_sign_is_no_hexadecimal_digit() {
        assert!(!digest_text("+f".repeat(32).as_bytes()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_canonically(bytes: Vec<u8>) {
            codec(&bytes);
            round_trip::<Digest>(&bytes);
            round_trip::<PublicSeed>(&bytes);
            digest_text(&bytes);
        }

        #[test]
        fn texts_of_the_right_length_are_refused_or_hexadecimal(text in "[0-9a-fA-F+-]{64}") {
            digest_text(text.as_bytes());
        }

        #[test]
        fn damaged_encodings_are_refused_or_read_canonically(
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut: prop::sample::Index,
            more in prop::collection::vec(any::<u8>(), 0..3),
        ) {
            let mut bytes = valid();
            for (at, value) in edits {
                let at = at.index(bytes.len());
                bytes[at] ^= value;
            }
            codec(&bytes);
            codec(&bytes[..cut.index(bytes.len())]);
            bytes.extend(more);
            codec(&bytes);
        }
    }
}
