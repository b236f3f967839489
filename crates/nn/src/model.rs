//! A model as its owner has it, and the part of it a client may see.

use crate::fixed::{Calibration, Formats};
use crate::{Graph, NnError, Tensor, WeightId};
use std::sync::Arc;

/// The weight tensors of a model, in the order the graph declares them.
#[derive(Clone, Debug)]
pub struct Weights(Vec<Tensor>);

impl Weights {
    /// Checks every tensor against the shape the graph declares, and that all values are finite.
    pub fn new(graph: &Graph, tensors: Vec<Tensor>) -> Result<Self, NnError> {
        let weights = Self(tensors);
        weights.belong_to(graph)?;
        for (fact, t) in graph.weights().iter().zip(&weights.0) {
            if !t.data().iter().all(|v| v.is_finite()) {
                return Err(NnError::NotFinite { what: format!("weight `{}`", fact.name) });
            }
        }
        Ok(weights)
    }

    /// Checks that there is one tensor for every weight the graph declares, of the declared shape, and that numbers
    /// published as zeros are zeros.
    pub fn belong_to(&self, graph: &Graph) -> Result<(), NnError> {
        for (i, fact) in graph.weights().iter().enumerate() {
            let Some(t) = self.0.get(i) else {
                return Err(NnError::BadWeight { name: fact.name.clone(), why: "is missing".into() });
            };
            if *t.shape() != fact.shape {
                let why = format!("has shape {}, expected {}", t.shape(), fact.shape);
                return Err(NnError::BadWeight { name: fact.name.clone(), why });
            }
            if let Some(zeros) = &fact.zeros
                && let Some((at, _)) =
                    t.data().iter().enumerate().find(|(at, v)| **v != 0.0 && zeros.is_zero(*at))
            {
                let why = format!("has number {at} published as zero, which it is not");
                return Err(NnError::BadWeight { name: fact.name.clone(), why });
            }
        }
        if self.0.len() > graph.weights().len() {
            let why = "is not declared by the graph".into();
            return Err(NnError::BadWeight { name: format!("#{}", graph.weights().len()), why });
        }
        Ok(())
    }

    /// The values of one weight. `id` must come from the graph these weights were checked against.
    pub fn get(&self, id: WeightId) -> &Tensor {
        match self.0.get(id.0 as usize) {
            Some(t) => t,
            None => unreachable!("weights are checked against the graph that made the id"),
        }
    }

    /// All tensors in declaration order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.0
    }
}

/// How an image becomes the input tensor: `(pixel − mean) / std` per channel, pixels 0..=255.
#[derive(Clone, PartialEq, Debug)]
pub struct ImageInput {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1 for grey, 3 for colour.
    pub channels: usize,
    /// Whether colour channels are in the order blue, green, red.
    pub bgr: bool,
    /// Subtracted, per channel, in pixel units.
    pub mean: Vec<f32>,
    /// Divided by, per channel, in pixel units.
    pub std: Vec<f32>,
}

/// What the client prepares its input from.
#[derive(Clone, PartialEq, Debug)]
pub enum InputSpec {
    /// An image with published preprocessing.
    Image(ImageInput),
    /// A tensor handed over as it is (npy).
    Tensor,
}

/// What the client gets of the result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutputPolicy {
    /// All outputs of the last layer.
    Logits,
    /// Only the index of the largest.
    ArgMax,
}

/// A model as its owner has it.
#[derive(Clone, Debug)]
pub struct Model {
    /// The published part.
    pub public: PublicModel,
    /// The secret part.
    pub weights: Weights,
    /// What makes a network in fixed point of it, for systems that compute on shares.
    pub calibration: Option<Arc<Calibration>>,
}

/// What everyone who talks to the model's server knows.
#[derive(Clone, PartialEq, Debug)]
pub struct PublicModel {
    /// Name, e.g. `mnist-cryptonets`.
    pub name: String,
    /// Structure and published bounds.
    pub graph: Graph,
    /// One label per output; may be empty.
    pub labels: Vec<String>,
    /// How an input is prepared.
    pub input: InputSpec,
    /// Published range of input values, `[low, high]`.
    pub input_range: [f64; 2],
    /// What the client gets.
    pub output: OutputPolicy,
    /// Published widths, shifts, norms and scales of the network in fixed point.
    pub fixed: Option<Formats>,
}

impl PublicModel {
    /// The longest name or label, in bytes.
    pub const MAX_NAME_BYTES: usize = Graph::MAX_NAME_BYTES;
    /// The largest number of labels.
    pub const MAX_LABELS: usize = 1 << 16;

    /// Checks that labels, preprocessing and input range fit the graph and each other.
    pub fn check(&self) -> Result<(), NnError> {
        let bad = |what: &'static str, why: String| Err(NnError::BadModel { what, why });
        if self.name.is_empty() || self.name.len() > Self::MAX_NAME_BYTES {
            return bad("name", format!("must have 1 to {} bytes", Self::MAX_NAME_BYTES));
        }
        let outputs = self.graph.output_shape().elements();
        let labels = self.labels.len();
        if labels > Self::MAX_LABELS || (labels > 0 && labels != outputs) {
            return bad("labels", format!("{labels} labels for {outputs} outputs; give one each, or none"));
        }
        if let Some(long) = self.labels.iter().find(|l| l.len() > Self::MAX_NAME_BYTES) {
            return bad("labels", format!("`{:.40}…` is longer than {} bytes", long, Self::MAX_NAME_BYTES));
        }
        let [low, high] = self.input_range;
        if !(low.is_finite() && high.is_finite() && low <= high) {
            return bad("input range", format!("[{low}, {high}] is not an interval of finite numbers"));
        }
        match &self.input {
            InputSpec::Image(image) => {
                image.check(&self.graph)?;
                image.check_range(self.input_range)
            }
            InputSpec::Tensor => Ok(()),
        }
    }
}

impl ImageInput {
    fn check(&self, graph: &Graph) -> Result<(), NnError> {
        let bad = |why: String| Err(NnError::BadModel { what: "image input", why });
        if self.channels != 1 && self.channels != 3 {
            return bad(format!("{} channels; 1 (grey) and 3 (colour) are known", self.channels));
        }
        if self.bgr && self.channels != 3 {
            return bad("the order blue, green, red needs 3 channels".into());
        }
        let x = graph.input_shape();
        if x.dims() != [self.channels, self.height, self.width] {
            let found = format!("[{}×{}×{}]", self.channels, self.height, self.width);
            return bad(format!("an image of shape {found} does not fit the graph's input {x}"));
        }
        for (what, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != self.channels || !values.iter().all(|v| v.is_finite()) {
                return bad(format!("`{what}` must hold {} finite numbers", self.channels));
            }
        }
        if self.std.iter().any(|&s| s <= 0.0) {
            return bad("`std` must be positive".into());
        }
        Ok(())
    }

    /// Checks that the published range holds every value a pixel can give. Otherwise whoever publishes it could
    /// tell from a refusal what a pixel is.
    fn check_range(&self, [low, high]: [f64; 2]) -> Result<(), NnError> {
        let slack = 1e-3 * (high - low);
        for (&mean, &std) in self.mean.iter().zip(&self.std) {
            for pixel in [0.0, 255.0] {
                let x = (pixel - f64::from(mean)) / f64::from(std);
                if !(low - slack <= x && x <= high + slack) {
                    let why = format!("[{low}, {high}] leaves out {x:.4}, the value of pixel {pixel}");
                    return Err(NnError::BadModel { what: "input range", why });
                }
            }
        }
        Ok(())
    }
}
