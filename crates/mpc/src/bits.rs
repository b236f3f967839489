//! Vectors of bits, 64 lanes in a word: what comparison works on.

use crate::MpcError;
use zeroize::Zeroizing;

/// One bit for each of `len` lanes: bit i % 64 of word i / 64 is lane i, bits behind the last lane are 0.
///
/// As a share it is one party's part of an XOR: b = b_C ⊕ b_S. Zeroised on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Bits {
    len: usize,
    words: Zeroizing<Vec<u64>>,
}

impl Bits {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        Self { len, words: Zeroizing::new(vec![0; len.div_ceil(64)]) }
    }

    /// The bit of lane i is `f(i)`.
    pub fn from_fn(len: usize, mut f: impl FnMut(usize) -> bool) -> Self {
        let word = |w: usize| (64 * w..len.min(64 * w + 64)).rev().fold(0, |v, i| v << 1 | u64::from(f(i)));
        Self { len, words: Zeroizing::new((0..len.div_ceil(64)).map(word).collect()) }
    }

    /// Takes words as they are; what lies behind the last lane is cleared, missing words are 0.
    pub(crate) fn from_words(len: usize, mut words: Vec<u64>) -> Self {
        words.resize(len.div_ceil(64), 0);
        if let (Some(last), true) = (words.last_mut(), !len.is_multiple_of(64)) {
            *last &= (1 << (len % 64)) - 1;
        }
        Self { len, words: Zeroizing::new(words) }
    }

    /// Lanes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no lane.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bit of lane `i`; 0 behind the last lane.
    pub fn get(&self, i: usize) -> bool {
        self.words.get(i / 64).is_some_and(|w| w >> (i % 64) & 1 == 1)
    }

    /// The words, low lanes first.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Adds `other` lane by lane, mod 2. Lanes beyond the shorter of the two stay.
    pub fn xor_assign(&mut self, other: &Self) {
        for (a, b) in self.words.iter_mut().zip(other.words()) {
            *a ^= b;
        }
    }

    /// The sum mod 2, lane by lane.
    pub fn xor(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a ^ b)
    }

    /// The product, lane by lane.
    pub fn and(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    /// 1 minus the bit, lane by lane.
    pub fn not(&self) -> Self {
        Self::from_words(self.len, self.words.iter().map(|w| !w).collect())
    }

    /// Lanes of `self`, then lanes of the next, and so on.
    pub fn concat(parts: &[&Self]) -> Self {
        let mut w = crate::wire::BitWriter::new();
        let mut len = 0;
        for p in parts {
            w.bits(p);
            len += p.len;
        }
        Self::from_words(len, w.into_words())
    }

    /// Lanes `from .. from + len`; zeros where there are none.
    pub fn slice(&self, from: usize, len: usize) -> Self {
        let (skip, shift) = (from / 64, from % 64);
        let at = |i: usize| self.words.get(i).copied().unwrap_or(0);
        let word = |i: usize| match shift {
            0 => at(skip + i),
            s => at(skip + i) >> s | at(skip + i + 1) << (64 - s),
        };
        Self::from_words(len, (0..len.div_ceil(64)).map(word).collect())
    }

    fn zip(&self, other: &Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self::from_words(self.len, self.words.iter().zip(other.words()).map(|(a, b)| f(*a, *b)).collect())
    }

    /// Refuses another number of lanes.
    pub(crate) fn require_len(&self, what: &'static str, len: usize) -> Result<(), MpcError> {
        require(self.len == len, what, self.len as u64, "the number of lanes of the other operand")
    }
}

impl std::fmt::Debug for Bits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bits({} lanes)", self.len)
    }
}

/// [`MpcError::Argument`] unless `ok`.
pub(crate) fn require(
    ok: bool,
    what: &'static str,
    found: u64,
    expected: &'static str,
) -> Result<(), MpcError> {
    if ok { Ok(()) } else { Err(MpcError::Argument { what, found, expected }) }
}

/// Swaps rows and columns: bit c of row r becomes bit r of row c.
pub(crate) fn transpose(rows: &mut [u64; 64]) {
    let mut mask = !0u64;
    for log in (0..6).rev() {
        let j = 1usize << log;
        mask ^= mask << j;
        for block in rows.chunks_exact_mut(2 * j) {
            let (low, high) = block.split_at_mut(j);
            for (a, b) in low.iter_mut().zip(high) {
                let t = ((*a >> j) ^ *b) & mask;
                *a ^= t << j;
                *b ^= t;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_transposed_matrix_has_rows_and_columns_swapped() {
        let rows: [u64; 64] =
            std::array::from_fn(|i| (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(i as u32));
        let mut t = rows;
        transpose(&mut t);
        for (r, row) in rows.iter().enumerate() {
            for (c, column) in t.iter().enumerate() {
                assert_eq!(row >> c & 1, column >> r & 1, "{r} {c}");
            }
        }
    }

    #[test]
    fn the_last_word_keeps_no_bit_behind_the_last_lane() {
        assert_eq!(Bits::zeros(70).not().words(), [!0, 63]);
        assert_eq!(Bits::from_words(3, vec![!0, 5]).words(), [7]);
    }

    proptest! {
        #[test]
        fn lanes_are_concatenated_and_sliced_as_a_vector_of_booleans_is(
            parts in prop::collection::vec(prop::collection::vec(any::<bool>(), 0..200), 0..4),
            from in 0usize..300,
            len in 0usize..300,
        ) {
            let bits: Vec<Bits> = parts.iter().map(|p| Bits::from_fn(p.len(), |i| p[i])).collect();
            let all = Bits::concat(&bits.iter().collect::<Vec<_>>());
            let flat = parts.concat();
            prop_assert_eq!(all.len(), flat.len());
            prop_assert!(flat.iter().enumerate().all(|(i, b)| all.get(i) == *b));
            let cut = all.slice(from, len);
            prop_assert!((0..len).all(|i| cut.get(i) == flat.get(from + i).copied().unwrap_or(false)));
        }
    }
}
