//! Additive shares over Z_2^l, 1 ≤ l ≤ 64: x = x_C + x_S mod 2^l.

use crate::bits::{require, transpose};
use crate::{Bits, MpcError, Party};
use oblivia_base::seed::EntropySource;
use zeroize::Zeroizing;

/// 2^width − 1, 0 ≤ width ≤ 64.
pub fn mask(width: u32) -> u64 {
    if width >= 64 { !0 } else { (1 << width) - 1 }
}

/// One party's shares of a vector of elements of Z_2^width, each below 2^width. Zeroised on drop.
///
/// On the wire an element takes `width` bits. Signed numbers are in two's complement.
#[derive(Clone, PartialEq, Eq)]
pub struct Shares {
    width: u32,
    values: Zeroizing<Vec<u64>>,
}

impl Shares {
    /// Elements of `width` bits; higher bits of `values` are cleared.
    ///
    /// # Errors
    /// [`MpcError::Argument`] unless 1 ≤ width ≤ 64.
    pub fn new(width: u32, values: Vec<u64>) -> Result<Self, MpcError> {
        require((1..=64).contains(&width), "width of a ring", u64::from(width), "1 to 64 bits")?;
        Ok(Self::cut(width, values))
    }

    /// [`Shares::new`] where the width is known to be in range.
    pub(crate) fn cut(width: u32, mut values: Vec<u64>) -> Self {
        let mask = mask(width);
        values.iter_mut().for_each(|v| *v &= mask);
        Self { width, values: Zeroizing::new(values) }
    }

    /// The party's share of numbers both know: the server has them, the client has zeros.
    ///
    /// # Errors
    /// As [`Shares::new`].
    pub fn public(party: Party, width: u32, values: Vec<u64>) -> Result<Self, MpcError> {
        match party {
            Party::Client => Self::new(width, vec![0; values.len()]),
            Party::Server => Self::new(width, values),
        }
    }

    /// Splits numbers that one party has: its share and the peer's, which is uniform.
    ///
    /// # Errors
    /// As [`Shares::new`].
    pub fn split(width: u32, values: &[u64], rng: &mut dyn EntropySource) -> Result<[Self; 2], MpcError> {
        let theirs: Vec<u64> = values.iter().map(|_| rng.next_u64()).collect();
        let mine = values.iter().zip(&theirs).map(|(v, t)| v.wrapping_sub(*t)).collect();
        Ok([Self::new(width, mine)?, Self::new(width, theirs)?])
    }

    /// Bits of an element.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The shares.
    pub fn values(&self) -> &[u64] {
        &self.values
    }

    /// x + y.
    ///
    /// # Errors
    /// [`MpcError::Argument`] if widths or lengths differ.
    pub fn add(&self, y: &Self) -> Result<Self, MpcError> {
        self.zip(y, u64::wrapping_add)
    }

    /// x − y.
    ///
    /// # Errors
    /// [`MpcError::Argument`] if widths or lengths differ.
    pub fn sub(&self, y: &Self) -> Result<Self, MpcError> {
        self.zip(y, u64::wrapping_sub)
    }

    /// c·x for a public c.
    pub fn scale(&self, c: u64) -> Self {
        self.map(|v| v.wrapping_mul(c))
    }

    /// x + c for a public c: the server adds.
    pub fn add_public(&self, party: Party, c: u64) -> Self {
        match party {
            Party::Client => self.clone(),
            Party::Server => self.map(|v| v.wrapping_add(c)),
        }
    }

    /// Elements at `indices`, which may repeat.
    ///
    /// # Errors
    /// [`MpcError::Argument`] for an index that is not below the length.
    pub fn gather(&self, indices: &[usize]) -> Result<Self, MpcError> {
        let at = |i: &usize| {
            let outside = MpcError::Argument {
                what: "index of an element",
                found: *i as u64,
                expected: "below the number of elements",
            };
            self.values.get(*i).copied().ok_or(outside)
        };
        Ok(Self::cut(self.width, indices.iter().map(at).collect::<Result<_, _>>()?))
    }

    /// Elements `from .. from + len`.
    ///
    /// # Errors
    /// [`MpcError::Argument`] if there are not so many.
    pub fn slice(&self, from: usize, len: usize) -> Result<Self, MpcError> {
        let end = from.saturating_add(len);
        let part = self.values.get(from..end).ok_or(MpcError::Argument {
            what: "end of a slice",
            found: end as u64,
            expected: "at most the number of elements",
        })?;
        Ok(Self::cut(self.width, part.to_vec()))
    }

    /// The elements of `parts`, one after the other.
    ///
    /// # Errors
    /// [`MpcError::Argument`] if there are no parts or widths differ.
    pub fn concat(parts: &[&Self]) -> Result<Self, MpcError> {
        let width = parts.first().map_or(0, |p| p.width);
        for p in parts {
            p.require_width("width of a part", width)?;
        }
        Self::new(width, parts.iter().flat_map(|p| p.values.iter().copied()).collect())
    }

    /// x mod 2^width for a narrower ring. Local.
    ///
    /// # Errors
    /// [`MpcError::Argument`] unless 1 ≤ width ≤ the width of x.
    pub fn narrow(&self, width: u32) -> Result<Self, MpcError> {
        require(
            (1..=self.width).contains(&width),
            "width to narrow to",
            u64::from(width),
            "1 to the width of x",
        )?;
        Ok(Self::cut(width, self.values.to_vec()))
    }

    /// Bits `from .. to` of every share as planes, low first.
    pub(crate) fn planes(&self, from: u32, to: u32) -> Vec<Bits> {
        let n = self.len();
        let mut planes: Vec<Vec<u64>> = (from..to).map(|_| Vec::with_capacity(n.div_ceil(64))).collect();
        let mut rows = Zeroizing::new([0u64; 64]);
        for chunk in self.values.chunks(64) {
            rows.fill(0);
            for (row, v) in rows.iter_mut().zip(chunk) {
                *row = v >> from;
            }
            transpose(&mut rows);
            for (plane, word) in planes.iter_mut().zip(rows.iter()) {
                plane.push(*word);
            }
        }
        planes.into_iter().map(|words| Bits::from_words(n, words)).collect()
    }

    /// Bit `at` of every share; 0 from bit 64 up.
    pub fn bit(&self, at: u32) -> Bits {
        let word =
            |chunk: &[u64]| chunk.iter().rev().fold(0, |w, v| w << 1 | (v.checked_shr(at).unwrap_or(0) & 1));
        Bits::from_words(self.len(), self.values.chunks(64).map(word).collect())
    }

    /// `f` of every share, reduced.
    pub(crate) fn map(&self, f: impl Fn(u64) -> u64) -> Self {
        let mask = mask(self.width);
        let values = self.values.iter().map(|v| f(*v) & mask).collect();
        Self { width: self.width, values: Zeroizing::new(values) }
    }

    fn zip(&self, y: &Self, f: impl Fn(u64, u64) -> u64) -> Result<Self, MpcError> {
        y.require_width("width of the other operand", self.width)?;
        require(
            y.len() == self.len(),
            "elements of the other operand",
            y.len() as u64,
            "as many as in the first",
        )?;
        let mask = mask(self.width);
        let values = self.values.iter().zip(y.values.iter()).map(|(a, b)| f(*a, *b) & mask).collect();
        Ok(Self { width: self.width, values: Zeroizing::new(values) })
    }

    pub(crate) fn require_width(&self, what: &'static str, width: u32) -> Result<(), MpcError> {
        require(self.width == width, what, u64::from(self.width), "the width of the other operand")
    }
}

impl std::fmt::Debug for Shares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shares({} of {} bits)", self.len(), self.width)
    }
}

/// x_C + x_S.
///
/// # Errors
/// [`MpcError::Argument`] if widths or lengths differ.
pub fn open(x: &Shares, y: &Shares) -> Result<Vec<u64>, MpcError> {
    Ok(x.add(y)?.values.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use oblivia_base::Prg;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn planes_are_the_bits_of_the_shares(
            width in 1u32..=64,
            values in prop::collection::vec(any::<u64>(), 0..200),
        ) {
            let x = Shares::new(width, values).unwrap();
            let planes = x.planes(0, width);
            prop_assert_eq!(planes.len(), width as usize);
            for (k, plane) in planes.iter().enumerate() {
                prop_assert_eq!(plane.len(), x.len());
                prop_assert!(x.values().iter().enumerate().all(|(i, v)| plane.get(i) == (v >> k & 1 == 1)));
                prop_assert!(*plane == x.bit(k as u32));
            }
            prop_assert!(x.planes(width / 2, width)[..] == planes[width as usize / 2..]);
        }

        #[test]
        fn what_is_split_opens_to_what_it_was(width in 1u32..=64, values: Vec<u64>, c: u64) {
            let mut rng = Prg::new(&[1; 32], "share tests", &[]);
            let x: Vec<u64> = values.iter().map(|v| v & mask(width)).collect();
            let [a, b] = Shares::split(width, &x, &mut rng).unwrap();
            prop_assert_eq!(open(&a, &b).unwrap(), x.clone());
            let want: Vec<u64> = x.iter().map(|v| v.wrapping_mul(c).wrapping_add(c) & mask(width)).collect();
            let scaled = |s: &Shares, p| s.scale(c).add_public(p, c);
            prop_assert_eq!(open(&scaled(&a, Party::Client), &scaled(&b, Party::Server)).unwrap(), want);
        }
    }

    #[test]
    fn operands_of_another_shape_are_refused() {
        let x = Shares::new(8, vec![1, 2]).unwrap();
        assert!(Shares::new(0, vec![]).is_err() && Shares::new(65, vec![]).is_err());
        assert!(x.add(&Shares::new(8, vec![1]).unwrap()).is_err());
        assert!(x.add(&Shares::new(9, vec![1, 2]).unwrap()).is_err());
        assert!(x.gather(&[2]).is_err() && x.slice(1, 2).is_err() && x.narrow(9).is_err());
    }
}
