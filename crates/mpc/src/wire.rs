//! Messages as strings of bits: fields follow each other without padding, only the last byte is filled with zeros.
//!
//! A field of bits takes one bit per lane, a field of ring elements l bits per element. Both ends know every length, so
//! nothing is announced, and a message of another length or with padding other than zero is refused.
#![deny(clippy::indexing_slicing)]

use crate::{Bits, MpcError};

/// Appends fields to a message.
#[derive(Default)]
pub struct BitWriter {
    words: Vec<u64>,
    /// Bits that do not fill a word yet, and how many, below 64.
    part: u64,
    filled: u32,
}

impl BitWriter {
    /// An empty message.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bits written.
    pub fn len(&self) -> usize {
        64 * self.words.len() + self.filled as usize
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the low `bits` ≤ 64 bits of `v`; the others must be 0.
    #[inline]
    fn push(&mut self, v: u64, bits: u32) {
        self.part |= v << self.filled;
        let end = self.filled + bits;
        if end >= 64 {
            self.words.push(self.part);
            // What did not fit; filled = 0 leaves nothing over, where a shift by 64 would not.
            self.part = if self.filled == 0 { 0 } else { v >> (64 - self.filled) };
            self.filled = end - 64;
        } else {
            self.filled = end;
        }
    }

    /// Appends one bit per lane.
    pub fn bits(&mut self, bits: &Bits) {
        let whole = bits.len() / 64;
        let words = bits.words();
        self.words.reserve(words.len() + 1);
        if self.filled == 0 {
            self.words.extend(words.iter().take(whole));
        } else {
            words.iter().take(whole).for_each(|w| self.push(*w, 64));
        }
        if let Some(last) = words.get(whole) {
            self.push(*last, (bits.len() % 64) as u32);
        }
    }

    /// Appends the low `width` bits of each value, 1 ≤ width ≤ 64.
    pub fn values(&mut self, width: u32, values: &[u64]) {
        let mask = crate::share::mask(width);
        self.words.reserve((values.len() * width as usize).div_ceil(64) + 1);
        for v in values {
            self.push(v & mask, width);
        }
    }

    /// Appends bytes, eight bits each.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        self.words.reserve(words.len() + 1);
        for w in words {
            self.push(u64::from_le_bytes(*w), 64);
        }
        for b in rest {
            self.push(u64::from(*b), 8);
        }
    }

    /// The words, the last filled with zeros.
    pub(crate) fn into_words(mut self) -> Vec<u64> {
        if self.filled > 0 {
            self.words.push(self.part);
        }
        self.words
    }

    /// The message.
    pub fn into_bytes(self) -> Vec<u8> {
        let bytes = self.len().div_ceil(8);
        let mut out = Vec::with_capacity(bytes + 8);
        for w in self.into_words() {
            out.extend_from_slice(&w.to_le_bytes());
        }
        out.truncate(bytes);
        out
    }
}

/// Reads the fields of a message.
pub struct BitReader {
    bytes: Vec<u8>,
    /// Position in bits.
    at: usize,
}

impl BitReader {
    /// At the first bit.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bits not read yet, padding included.
    pub fn left(&self) -> usize {
        (8 * self.bytes.len()).saturating_sub(self.at)
    }

    /// Refuses a message that has fewer than `bits` bits left.
    ///
    /// # Errors
    /// [`MpcError::MessageBytes`].
    pub fn require(&self, bits: usize) -> Result<(), MpcError> {
        if bits <= self.left() {
            return Ok(());
        }
        let expected = (self.at.saturating_add(bits)).div_ceil(8);
        Err(MpcError::MessageBytes { what: "message on shares", found: self.bytes.len(), expected })
    }

    /// One bit for each of `len` lanes.
    ///
    /// # Errors
    /// [`MpcError::MessageBytes`] if the message ends before.
    pub fn bits(&mut self, len: usize) -> Result<Bits, MpcError> {
        self.require(len)?;
        Ok(Bits::from_words(len, self.words(64, len.div_ceil(64), len)))
    }

    /// `n` values of `width` bits, 1 ≤ width ≤ 64.
    ///
    /// # Errors
    /// [`MpcError::MessageBytes`] if the message ends before.
    pub fn values(&mut self, width: u32, n: usize) -> Result<Vec<u64>, MpcError> {
        let bits = n.saturating_mul(width as usize);
        self.require(bits)?;
        Ok(self.words(width, n, bits))
    }

    /// `n` bytes.
    ///
    /// # Errors
    /// [`MpcError::MessageBytes`] if the message ends before.
    pub fn bytes(&mut self, n: usize) -> Result<Vec<u8>, MpcError> {
        let words = self.values(64, n / 8)?;
        let rest = self.values(8, n % 8)?;
        let mut out = Vec::with_capacity(n);
        words.iter().for_each(|w| out.extend_from_slice(&w.to_le_bytes()));
        out.extend(rest.iter().map(|b| *b as u8));
        Ok(out)
    }

    /// `n` fields of `width` bits; `bits` are read. Behind the message lie zeros.
    fn words(&mut self, width: u32, n: usize, bits: usize) -> Vec<u64> {
        let mask = crate::share::mask(width);
        let mut out = Vec::with_capacity(n);
        let mut at = self.at;
        self.at += bits;
        if width == 64 && at.is_multiple_of(8) {
            // Whole bytes: what follows reads the last value, if it ends before its word does.
            let rest = self.bytes.get(at / 8..).unwrap_or_default();
            out.extend(rest.as_chunks::<8>().0.iter().take(n).map(|w| u64::from_le_bytes(*w)));
            at += 64 * out.len();
        }
        for _ in out.len()..n {
            let shift = at % 8;
            let rest = self.bytes.get(at / 8..).unwrap_or_default();
            let value = match (rest.first_chunk::<8>(), rest.get(8)) {
                (Some(low), _) if shift + width as usize <= 64 => u64::from_le_bytes(*low) >> shift,
                // Two steps, for a shift by 64 is none.
                (Some(low), Some(high)) => {
                    u64::from_le_bytes(*low) >> shift | u64::from(*high) << (63 - shift) << 1
                }
                _ => {
                    let wide = rest.iter().rev().fold(0u128, |v, b| v << 8 | u128::from(*b));
                    (wide >> shift) as u64
                }
            };
            out.push(value & mask);
            at += width as usize;
        }
        out
    }

    /// Refuses bytes that are left over and padding that is not zero.
    ///
    /// # Errors
    /// [`MpcError::MessageBytes`] or [`MpcError::Padding`].
    pub fn finish(self) -> Result<(), MpcError> {
        let expected = self.at.div_ceil(8);
        if expected != self.bytes.len() {
            let found = self.bytes.len();
            return Err(MpcError::MessageBytes { what: "message on shares", found, expected });
        }
        match self.bytes.last() {
            Some(last) if !self.at.is_multiple_of(8) && last >> (self.at % 8) != 0 => Err(MpcError::Padding),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fields_are_read_as_they_were_written(
            fields in prop::collection::vec((0u32..=64, prop::collection::vec(any::<u64>(), 0..70)), 0..6),
        ) {
            let mut w = BitWriter::new();
            let mut bits = 0;
            for (width, values) in &fields {
                match width {
                    0 => w.bits(&Bits::from_fn(values.len(), |i| values.get(i).is_some_and(|v| v & 1 == 1))),
                    _ => w.values(*width, values),
                }
                bits += values.len() * (*width).max(1) as usize;
                prop_assert_eq!(w.len(), bits);
            }
            let bytes = w.into_bytes();
            prop_assert_eq!(bytes.len(), bits.div_ceil(8));
            let mut r = BitReader::new(bytes.clone());
            for (width, values) in &fields {
                match width {
                    0 => {
                        let got = r.bits(values.len()).unwrap();
                        prop_assert!(values.iter().enumerate().all(|(i, v)| got.get(i) == (v & 1 == 1)));
                    }
                    _ => {
                        let want: Vec<u64> = values.iter().map(|v| v & crate::share::mask(*width)).collect();
                        prop_assert_eq!(r.values(*width, values.len()).unwrap(), want);
                    }
                }
            }
            prop_assert!(r.require(8).is_err());
            r.finish().unwrap();
            let mut longer = BitReader::new([bytes, vec![0]].concat());
            longer.at = bits;
            prop_assert!(longer.finish().is_err());
        }
    }

    #[test]
    fn padding_that_is_not_zero_is_refused() {
        let read = |byte| {
            let mut r = BitReader::new(vec![byte]);
            r.bits(5).unwrap();
            r.finish()
        };
        assert_eq!(read(31), Ok(()));
        assert_eq!(read(32), Err(MpcError::Padding));
    }
}
