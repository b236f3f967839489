//! A model as its owner has it, and the part of it a client may see.

use crate::{Graph, NnError, Tensor, WeightId};

/// The weight tensors of a model, in the order the graph declares them.
#[derive(Clone, Debug)]
pub struct Weights(Vec<Tensor>);

impl Weights {
    /// Checks every tensor against the shape the graph declares, and that all values are finite.
    pub fn new(graph: &Graph, tensors: Vec<Tensor>) -> Result<Self, NnError> {
        for (i, fact) in graph.weights().iter().enumerate() {
            let Some(t) = tensors.get(i) else {
                return Err(NnError::BadWeight { name: fact.name.clone(), why: "is missing".into() });
            };
            if *t.shape() != fact.shape {
                let why = format!("has shape {}, expected {}", t.shape(), fact.shape);
                return Err(NnError::BadWeight { name: fact.name.clone(), why });
            }
            if !t.data().iter().all(|v| v.is_finite()) {
                return Err(NnError::NotFinite { what: format!("weight `{}`", fact.name) });
            }
        }
        if tensors.len() > graph.weights().len() {
            let why = "is not declared by the graph".into();
            return Err(NnError::BadWeight { name: format!("#{}", graph.weights().len()), why });
        }
        Ok(Self(tensors))
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
}
