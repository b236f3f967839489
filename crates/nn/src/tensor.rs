use crate::{NnError, Shape};
use std::fmt;

/// One sample's values in row-major order (last axis fastest).
#[derive(Clone, PartialEq)]
pub struct Tensor {
    shape: Shape,
    data: Vec<f32>,
}

/// Values are inputs, outputs or weights: private to someone, so only the shape is shown.
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({})", self.shape)
    }
}

impl Tensor {
    /// Takes `data`, whose length must be the shape's element count.
    pub fn new(shape: Shape, data: Vec<f32>) -> Result<Self, NnError> {
        if shape.elements() != data.len() {
            return Err(NnError::BadSize {
                what: format!("values for shape {shape}"),
                found: data.len() as u64,
                max: shape.elements() as u64,
            });
        }
        Ok(Self { shape, data })
    }

    /// All zeros.
    pub fn zeros(shape: Shape) -> Self {
        let data = vec![0.0; shape.elements()];
        Self { shape, data }
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The values, row-major.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The values, row-major, for writing.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The values, row-major.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// The same values under another shape of as many elements.
    pub fn reshaped(self, shape: Shape) -> Result<Self, NnError> {
        Self::new(shape, self.data)
    }

    /// Index of the largest value; the first one among equals. `None` when empty.
    pub fn argmax(&self) -> Option<usize> {
        let mut best: Option<(usize, f32)> = None;
        for (i, &v) in self.data.iter().enumerate() {
            if best.is_none_or(|(_, b)| v > b) {
                best = Some((i, v));
            }
        }
        best.map(|(i, _)| i)
    }

    /// Largest absolute value, 0 when empty.
    pub fn max_abs(&self) -> f32 {
        self.data.iter().fold(0.0, |m, v| m.max(v.abs()))
    }
}
