//! Rows of numbers of equal width as bits, low bits first; rows end on a byte.
#![deny(clippy::indexing_slicing)]

use oblivia_base::codec::{DecodeError, Fault, Reader, Writer};

/// Bytes of `count` numbers of `bits` bits.
pub(super) fn row_bytes(count: usize, bits: u32) -> usize {
    (count * bits as usize).div_ceil(8)
}

/// Appends numbers below 2^bits.
pub(super) fn write(row: &[u64], bits: u32, w: &mut Writer) {
    let (mut word, mut filled) = (0u128, 0);
    for &x in row {
        debug_assert!(x >> bits == 0);
        word |= u128::from(x) << filled;
        filled += bits;
        if filled >= 64 {
            w.u64(word as u64);
            word >>= 64;
            filled -= 64;
        }
    }
    let bytes = (word as u64).to_le_bytes();
    w.raw(bytes.split_at(filled.div_ceil(8) as usize).0);
}

/// Reads `count` numbers of `bits` bits, 1 to 63. Memory is allocated only after the reader is seen to hold them.
///
/// # Errors
/// Truncated input, or an unused bit that is set.
pub(super) fn read(
    count: usize,
    bits: u32,
    what: &'static str,
    r: &mut Reader<'_>,
) -> Result<Vec<u64>, DecodeError> {
    let mut words = r.raw(row_bytes(count, bits), what)?.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(chunk) {
            *to = *from;
        }
        u64::from_le_bytes(word)
    });
    let (mut word, mut filled) = (0u128, 0);
    let mut out = Vec::with_capacity(count);
    for _ in 0..count {
        if filled < bits {
            word |= u128::from(words.next().unwrap_or(0)) << filled;
            filled += 64;
        }
        out.push(word as u64 & ((1 << bits) - 1));
        word >>= bits;
        filled -= bits;
    }
    if word == 0 { Ok(out) } else { Err(r.error(what, Fault::Invalid)) }
}
