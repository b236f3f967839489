//! The bounded binary codec of the wire and of files at rest.
//!
//! Little-endian integers, length-prefixed sequences whose bound the *reader* states, no optional
//! encodings: one value has one encoding, and decoding validates. A decoder never allocates more than
//! the bytes it was handed can justify.
#![deny(clippy::indexing_slicing)]

use thiserror::Error;

/// Why bytes were not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{what} at byte {at}: {fault}")]
pub struct DecodeError {
    /// The field being read, in the reader's words.
    pub what: &'static str,
    /// Offset of the first byte of the field.
    pub at: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes end before the field does.
    #[error("truncated")]
    Truncated,
    /// A length or count is above the reader's bound.
    #[error("{found} is more than the {max} allowed")]
    TooLong {
        /// The count that was announced.
        found: u64,
        /// The reader's bound.
        max: u64,
    },
    /// Bytes are left over after the last field.
    #[error("{0} bytes left over")]
    Trailing(usize),
    /// The value is outside its range or not in canonical form.
    #[error("value out of range or not canonical")]
    Invalid,
    /// The text is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
}

/// A value with exactly one encoding.
pub trait Encode {
    /// Appends the encoding of `self`.
    fn encode(&self, w: &mut Writer);

    /// The encoding as bytes of its own.
    fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::new();
        self.encode(&mut w);
        w.into_bytes()
    }
}

/// A value that can be read back; everything the type promises holds afterwards.
pub trait Decode: Sized {
    /// Reads one value and validates it.
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Reads one value that must take up all of `bytes`.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let value = Self::decode(&mut r)?;
        r.finish()?;
        Ok(value)
    }
}

/// Appends values to a byte buffer.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer with room for `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Appends one byte.
    pub fn u8(&mut self, v: u8) {
        self.0.push(v);
    }

    /// Appends 0 or 1.
    pub fn bool(&mut self, v: bool) {
        self.u8(u8::from(v));
    }

    /// Appends two bytes, little-endian.
    pub fn u16(&mut self, v: u16) {
        self.raw(&v.to_le_bytes());
    }

    /// Appends four bytes, little-endian.
    pub fn u32(&mut self, v: u32) {
        self.raw(&v.to_le_bytes());
    }

    /// Appends eight bytes, little-endian.
    pub fn u64(&mut self, v: u64) {
        self.raw(&v.to_le_bytes());
    }

    /// Appends the IEEE-754 bits of `v`, little-endian.
    pub fn f64(&mut self, v: f64) {
        self.u64(v.to_bits());
    }

    /// Appends bytes whose length the reader knows.
    pub fn raw(&mut self, v: &[u8]) {
        self.0.extend_from_slice(v);
    }

    /// Appends a count, to be read with [`Reader::count`]. Saturates at `u32::MAX`, which no reader accepts.
    pub fn count(&mut self, n: usize) {
        self.u32(u32::try_from(n).unwrap_or(u32::MAX));
    }

    /// Appends length-prefixed bytes.
    pub fn bytes(&mut self, v: &[u8]) {
        self.count(v.len());
        self.raw(v);
    }

    /// Appends length-prefixed UTF-8.
    pub fn str(&mut self, v: &str) {
        self.bytes(v.as_bytes());
    }

    /// Appends a counted sequence.
    pub fn seq<T: Encode>(&mut self, items: &[T]) {
        self.count(items.len());
        for item in items {
            item.encode(self);
        }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Reads values from a byte slice, refusing whatever is out of bounds.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// An error about the field `what` at the current position.
    pub fn error(&self, what: &'static str, fault: Fault) -> DecodeError {
        DecodeError { what, at: self.at, fault }
    }

    /// An [`Fault::Invalid`] about `what`, unless `ok`.
    pub fn require(&self, ok: bool, what: &'static str) -> Result<(), DecodeError> {
        if ok { Ok(()) } else { Err(self.error(what, Fault::Invalid)) }
    }

    /// Exactly `n` bytes.
    pub fn raw(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(n) {
            Some((head, tail)) => {
                self.rest = tail;
                self.at += n;
                Ok(head)
            }
            None => Err(self.error(what, Fault::Truncated)),
        }
    }

    /// Exactly `N` bytes as an array.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let bytes = self.raw(N, what)?;
        let mut out = [0; N];
        out.copy_from_slice(bytes);
        Ok(out)
    }

    /// One byte.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }

    /// 0 or 1; anything else is refused.
    pub fn bool(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        let v = self.u8(what)?;
        self.require(v <= 1, what)?;
        Ok(v == 1)
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A finite double; NaN, infinities and -0.0 are refused, so one number has one encoding.
    pub fn f64(&mut self, what: &'static str) -> Result<f64, DecodeError> {
        let v = f64::from_bits(self.u64(what)?);
        self.require(v.is_finite() && !(v == 0.0 && v.is_sign_negative()), what)?;
        Ok(v)
    }

    /// A count of at most `max` items of at least `item_bytes` bytes each, which the remaining bytes can
    /// hold.
    pub fn count(&mut self, max: usize, item_bytes: usize, what: &'static str) -> Result<usize, DecodeError> {
        let start = self.at;
        let found = self.u32(what)? as usize;
        if found > max {
            let fault = Fault::TooLong { found: found as u64, max: max as u64 };
            return Err(DecodeError { what, at: start, fault });
        }
        match found.checked_mul(item_bytes) {
            Some(bytes) if bytes <= self.remaining() => Ok(found),
            _ => Err(DecodeError { what, at: start, fault: Fault::Truncated }),
        }
    }

    /// Length-prefixed bytes, at most `max`.
    pub fn bytes(&mut self, max: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let n = self.count(max, 1, what)?;
        self.raw(n, what)
    }

    /// Length-prefixed UTF-8, at most `max` bytes.
    pub fn str(&mut self, max: usize, what: &'static str) -> Result<&'a str, DecodeError> {
        let start = self.at;
        let bytes = self.bytes(max, what)?;
        std::str::from_utf8(bytes).map_err(|_| DecodeError { what, at: start, fault: Fault::NotUtf8 })
    }

    /// A counted sequence of at most `max` items, each of at least one byte.
    pub fn seq<T: Decode>(&mut self, max: usize, what: &'static str) -> Result<Vec<T>, DecodeError> {
        let n = self.count(max, 1, what)?;
        (0..n).map(|_| T::decode(self)).collect()
    }

    /// Checks that every byte was read.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            n => Err(DecodeError { what: "end of message", at: self.at, fault: Fault::Trailing(n) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_count_larger_than_the_bytes_is_refused_before_allocation() {
        let mut w = Writer::new();
        w.count(1 << 20);
        let bytes = w.into_bytes();
        let err = Reader::new(&bytes).count(1 << 24, 8, "limbs").unwrap_err();
        assert_eq!(err.fault, Fault::Truncated);
    }

    #[test]
    fn a_count_above_the_bound_names_both_numbers() {
        let mut w = Writer::new();
        w.count(9);
        w.raw(&[0; 9]);
        let bytes = w.into_bytes();
        let err = Reader::new(&bytes).count(8, 1, "labels").unwrap_err();
        assert_eq!(err.to_string(), "labels at byte 0: 9 is more than the 8 allowed");
    }

    #[test]
    fn a_boolean_of_two_is_refused() {
        assert!(Reader::new(&[2]).bool("flag").is_err());
    }

    #[test]
    fn negative_zero_and_nan_are_refused() {
        for v in [-0.0, f64::NAN, f64::INFINITY] {
            assert!(Reader::new(&v.to_bits().to_le_bytes()).f64("x").is_err());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(a: u8, b: bool, c: u32, d: u64, e in -1e9f64..1e9, s in ".{0,40}") {
            let e = e + 0.0;
            let mut w = Writer::new();
            w.u8(a); w.bool(b); w.u32(c); w.u64(d); w.f64(e); w.str(&s);
            let bytes = w.into_bytes();
            let mut r = Reader::new(&bytes);
            prop_assert_eq!(r.u8("a").unwrap(), a);
            prop_assert_eq!(r.bool("b").unwrap(), b);
            prop_assert_eq!(r.u32("c").unwrap(), c);
            prop_assert_eq!(r.u64("d").unwrap(), d);
            prop_assert_eq!(r.f64("e").unwrap(), e);
            prop_assert_eq!(r.str(160, "s").unwrap(), s);
            r.finish().unwrap();
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let mut r = Reader::new(&bytes);
            let _ = r.str(16, "s");
            let _ = r.count(16, 8, "n");
            let _ = r.f64("x");
            let _ = r.finish();
        }
    }
}
