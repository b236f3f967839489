//! Which weights of a tensor are zero, where their owner publishes it.

use crate::Tensor;
use std::fmt;
use std::sync::Arc;

/// Which of the numbers of a weight tensor, row-major, are zero. It depends on the weights, so publishing it is a
/// declared leak.
#[derive(Clone, PartialEq, Eq)]
pub struct Zeros {
    /// A bit for each, the lowest of a byte first, set for zeros; those behind the last one are not set.
    bits: Arc<[u8]>,
    len: usize,
}

impl Zeros {
    /// The most weights of a graph that zeros are published of, all tensors together.
    pub const MAX_WEIGHTS: usize = 1 << 24;

    /// Those of a tensor.
    pub fn of(tensor: &Tensor) -> Self {
        let byte = |chunk: &[f32]| {
            chunk.iter().enumerate().map(|(i, &v)| u8::from(v == 0.0) << i).fold(0, |byte, bit| byte | bit)
        };
        Self { bits: tensor.data().chunks(8).map(byte).collect(), len: tensor.data().len() }
    }

    /// From the bytes of [`Zeros::as_bytes`]; `None` if they are not those of `len` numbers.
    pub fn from_bytes(bytes: &[u8], len: usize) -> Option<Self> {
        let unused = bytes.len().checked_mul(8)?.checked_sub(len)?;
        let last = bytes.last().copied().unwrap_or(0);
        (unused < 8 && u16::from(last) >> (8 - unused) == 0).then(|| Self { bits: bytes.into(), len })
    }

    /// One bit each.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bits
    }

    /// Of how many numbers.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no numbers at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether number `i` is published to be zero.
    pub fn is_zero(&self, i: usize) -> bool {
        self.bits.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1)
    }

    /// How many are zero.
    pub fn count(&self) -> usize {
        self.bits.iter().map(|byte| byte.count_ones() as usize).sum()
    }
}

impl fmt::Debug for Zeros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} zeros of {}", self.count(), self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shape;

    #[test]
    fn bits_are_those_of_the_zeros_and_of_no_other_number() {
        let values: Vec<f32> = (0..19).map(|i| [0.0, 1.0, -0.0, f32::MIN_POSITIVE, -2.0][i % 5]).collect();
        let zeros = Zeros::of(&Tensor::new(Shape::new([19]).unwrap(), values.clone()).unwrap());
        for (i, v) in values.iter().enumerate() {
            assert_eq!(zeros.is_zero(i), *v == 0.0, "{i}");
        }
        assert_eq!((zeros.len(), zeros.count(), zeros.is_zero(19)), (19, 8, false));
        assert_eq!(Zeros::from_bytes(zeros.as_bytes(), 19), Some(zeros.clone()));
        // Another length, a bit behind the last number.
        assert_eq!(zeros.as_bytes().len(), 3);
        assert!([16, 25].into_iter().all(|len| Zeros::from_bytes(zeros.as_bytes(), len).is_none()));
        assert!(Zeros::from_bytes(&[0, 0, 8], 19).is_none() && Zeros::from_bytes(&[0, 0, 4], 19).is_some());
        assert!(Zeros::from_bytes(&[1], 0).is_none() && Zeros::from_bytes(&[], 0).is_some());
        assert!(Zeros::from_bytes(&[255], 8).is_some());
    }
}
