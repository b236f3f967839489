use crate::NnError;
use std::fmt;

/// Sizes of one sample's axes, batch axis excluded: `[channels, height, width]` for images, `[features]`
/// for vectors.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// The largest number of elements a shape may have (2^28).
    pub const MAX_ELEMENTS: usize = 1 << 28;
    /// The largest number of axes.
    pub const MAX_AXES: usize = 6;

    /// A shape with the given axes; every axis is at least 1 and the product at most
    /// [`Shape::MAX_ELEMENTS`].
    pub fn new(dims: impl Into<Vec<usize>>) -> Result<Self, NnError> {
        let dims = dims.into();
        if dims.len() > Self::MAX_AXES {
            return Err(NnError::BadSize {
                what: "number of axes".into(),
                found: dims.len() as u64,
                max: Self::MAX_AXES as u64,
            });
        }
        let mut product = 1usize;
        for &d in &dims {
            product = match product.checked_mul(d) {
                Some(p) if d > 0 && p <= Self::MAX_ELEMENTS => p,
                _ => {
                    return Err(NnError::BadSize {
                        what: format!("shape {dims:?}"),
                        found: dims.iter().fold(1u64, |p, &d| p.saturating_mul(d as u64)),
                        max: Self::MAX_ELEMENTS as u64,
                    });
                }
            };
        }
        Ok(Self(dims))
    }

    /// Sizes of the axes.
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.0.iter().product()
    }

    /// `(channels, height, width)` of an image-shaped tensor.
    pub fn chw(&self) -> Option<(usize, usize, usize)> {
        match *self.0 {
            [c, h, w] => Some((c, h, w)),
            _ => None,
        }
    }

    /// Number of features of a vector.
    pub fn features(&self) -> Option<usize> {
        match *self.0 {
            [f] => Some(f),
            _ => None,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, d) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("×")?;
            }
            write!(f, "{d}")?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
