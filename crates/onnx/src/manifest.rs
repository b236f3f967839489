//! The manifest beside a model: what a client must know that the ONNX file does not say.

use crate::OnnxError;
use crate::fixed_point::{FixedPointSection, is_plain};
use oblivia_nn::{Graph, ImageInput, InputSpec, OutputPolicy, WireId};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Component, Path};

/// The only version of the layout so far.
const FORMAT: u32 = 1;

/// A `model.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this layout; 1.
    pub format: u32,
    /// Name on the command line: `[a-z0-9-]+`.
    pub name: String,
    /// Version of the weights.
    pub version: String,
    /// One sentence.
    #[serde(default)]
    pub description: String,
    /// SPDX expression, of the weights.
    #[serde(default)]
    pub licence: String,
    /// File name of the ONNX file, in the folder of the manifest; `model.onnx` if neither this nor `data_model` is given.
    pub model: Option<String>,
    /// In place of `model`: path of the ONNX file below the directory of test data, for files that are not shipped.
    pub data_model: Option<String>,
    /// For a `model` that is not kept with the manifest: the command that makes it, for people.
    pub made_by: Option<String>,
    /// One label per output.
    pub labels: Vec<String>,
    /// How an input is prepared.
    pub input: InputSection,
    /// What comes out.
    pub output: OutputSection,
    /// Bounds on tensors.
    pub ranges: Option<RangesSection>,
    /// Zeros among the weights.
    pub zeros: Option<ZerosSection>,
    /// The network in fixed point.
    pub fixed_point: Option<FixedPointSection>,
}

/// Section `[input]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSection {
    /// Name of the graph's input.
    pub tensor: String,
    /// `image`, or `tensor` for an input that is handed over as it is.
    pub kind: InputKind,
    /// Columns of an image.
    pub width: Option<usize>,
    /// Rows of an image.
    pub height: Option<usize>,
    /// 1 for grey, 3 for colour.
    pub channels: Option<usize>,
    /// Order of the tensor's axes; only `NCHW`.
    pub layout: Option<Layout>,
    /// Order of colour channels, `rgb` if not given.
    pub order: Option<ChannelOrder>,
    /// Subtracted from each channel, in grey levels 0..=255.
    pub mean: Option<Vec<f32>>,
    /// Divided by, per channel, in grey levels.
    pub std: Option<Vec<f32>>,
    /// Smallest and largest value of the input tensor.
    pub range: [f64; 2],
}

/// Kinds of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum InputKind {
    /// An 8-bit image.
    Image,
    /// Numbers as they are.
    Tensor,
}

/// Orders of the axes of an image tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub enum Layout {
    /// Batch, channels, rows, columns.
    #[serde(rename = "NCHW")]
    Nchw,
}

/// Orders of colour channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// Section `[output]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSection {
    /// Name of the graph's output.
    pub tensor: String,
    /// What the numbers are; only `logits`.
    pub kind: OutputKind,
    /// What a client may learn.
    pub policy: Policy,
}

/// Kinds of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OutputKind {
    /// Scores; the largest wins, the first on a tie.
    Logits,
}

/// What a client may learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Policy {
    /// The winning label alone.
    Argmax,
    /// All scores.
    ArgmaxAndLogits,
}

/// Section `[ranges]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangesSection {
    /// Whether clients are given the bounds: they depend on weights and training data, so that is a leak to
    /// be declared. Bounds that are not published are not put into the graph.
    pub published: bool,
    /// Factor between the largest value seen and the bound.
    pub margin: Option<f64>,
    /// Bound on |x| by ONNX tensor name.
    pub bounds: BTreeMap<String, f64>,
}

/// Section `[zeros]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZerosSection {
    /// Whether clients are told which weights of convolutions and dense layers are zero, so that plans can leave them
    /// out: that is a leak to be declared. Without this section they are not.
    pub published: bool,
}

impl Manifest {
    /// The largest manifest read, in bytes.
    pub const MAX_BYTES: u64 = 1 << 20;

    /// Reads and checks a manifest; `path` is for messages.
    pub fn parse(text: &str, path: &str) -> Result<Self, OnnxError> {
        let bad = |why: String| OnnxError::Manifest { path: path.into(), why };
        let manifest: Self = toml::from_str(text).map_err(|e| bad(e.to_string().trim_end().to_owned()))?;
        manifest.check().map_err(bad)?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("format {} is not known; this version reads format {FORMAT}", self.format));
        }
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if self.name.is_empty() || self.name.len() > 64 || !self.name.bytes().all(allowed) {
            return Err("`name` must be 1 to 64 characters of a-z, 0-9 and `-`".into());
        }
        if let Some(model) = self.model.as_ref().filter(|m| !is_plain(m)) {
            return Err(format!("`model` must be the name of a file beside the manifest, not `{model}`"));
        }
        if let Some(path) = &self.data_model {
            if self.model.is_some() {
                return Err(
                    "`model` and `data_model` are both given; keep the one that holds the model".into()
                );
            }
            let below = |c: Component<'_>| matches!(c, Component::Normal(_));
            if path.is_empty() || path.contains('\\') || !Path::new(path).components().all(below) {
                return Err(format!("`data_model` must be a path below the data directory, not `{path}`"));
            }
        }
        let [low, high] = self.input.range;
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(format!("input.range [{low}, {high}] is not an interval"));
        }
        self.fixed_point.iter().try_for_each(FixedPointSection::check)?;
        self.input_spec().map(drop)
    }

    /// The name of the ONNX file beside the manifest, unless it is in the data directory.
    pub(crate) fn model_file(&self) -> Option<&str> {
        match self.data_model {
            Some(_) => None,
            None => Some(self.model.as_deref().unwrap_or("model.onnx")),
        }
    }

    /// How an input is prepared.
    pub(crate) fn input_spec(&self) -> Result<InputSpec, String> {
        let i = &self.input;
        match i.kind {
            InputKind::Tensor => {
                let given = [
                    ("width", i.width.is_some()),
                    ("height", i.height.is_some()),
                    ("channels", i.channels.is_some()),
                    ("layout", i.layout.is_some()),
                    ("order", i.order.is_some()),
                    ("mean", i.mean.is_some()),
                    ("std", i.std.is_some()),
                ];
                match given.iter().find(|(_, given)| *given) {
                    Some((name, _)) => Err(format!("input.{name} is for images only")),
                    None => Ok(InputSpec::Tensor),
                }
            }
            InputKind::Image => {
                fn need<T: Clone>(value: &Option<T>, name: &str) -> Result<T, String> {
                    value.clone().ok_or_else(|| format!("input.{name} is needed for an image"))
                }
                need(&i.layout, "layout")?;
                let image = ImageInput {
                    width: need(&i.width, "width")?,
                    height: need(&i.height, "height")?,
                    channels: need(&i.channels, "channels")?,
                    bgr: i.order == Some(ChannelOrder::Bgr),
                    mean: need(&i.mean, "mean")?,
                    std: need(&i.std, "std")?,
                };
                Ok(InputSpec::Image(image))
            }
        }
    }

    /// What the client gets.
    pub(crate) fn policy(&self) -> OutputPolicy {
        match self.output.policy {
            Policy::Argmax => OutputPolicy::ArgMax,
            Policy::ArgmaxAndLogits => OutputPolicy::Logits,
        }
    }

    /// Whether clients are told which weights are zero.
    pub(crate) fn zeros_published(&self) -> bool {
        self.zeros.as_ref().is_some_and(|z| z.published)
    }

    /// Puts the published bounds into the graph.
    pub(crate) fn publish(
        &self,
        graph: &mut Graph,
        tensors: &BTreeMap<String, WireId>,
    ) -> Result<(), String> {
        for (name, &bound) in self.ranges.iter().filter(|r| r.published).flat_map(|r| &r.bounds) {
            let Some(&wire) = tensors.get(name) else {
                return Err(format!(
                    "ranges.bounds names the tensor `{name}`, which the model does not have"
                ));
            };
            graph
                .set_bound(wire, bound)
                .map_err(|_| format!("ranges.bounds.{name} = {bound} is not a positive number"))?;
        }
        Ok(())
    }
}
