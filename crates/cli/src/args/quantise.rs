//! Flags of `oblivia quantise`.

use super::value::threads;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use oblivia_nn::fixed::{Network, Options};
use std::ops::RangeInclusive;
use std::path::PathBuf;

pub(super) const JSON: &str = "\
--json prints one object:
  schema              1
  model               name
  certainty           calibrated, or static: for every input in the published range
  calibration_images  that ranges were measured on
  checked             null without images that were not used for calibration, else: images, float_accuracy and
                      fixed_accuracy (null without labels), same_first (share of images on which both networks
                      rank the same class first), max_error and max_output (of an output), outside (images some value
                      of which left its limit)
  overflow            declared bound on the probability that a value of an image leaves its limit; null if static
  input               bits, scale
  output              scale
  layers              one object per convolution and dense layer: name, op, bits, shift, accumulator_bits,
                      weight_bits, norm1, norm2 (published norms of the weights that make one output)
  written             files; none with --dry-run

It writes calibration.toml beside model.toml, which is secret as weights are, and the section [fixed_point] into
model.toml, whose other text stays as it is. Files with many images have their labels beside them: of NAMEimages-idx3NAME
in NAMElabels-idx1NAME, of NAME_x.npy in NAME_y.npy, of a folder in labels.csv (file,label).";

#[derive(Args)]
pub(crate) struct QuantiseArgs {
    /// A folder with model.toml, or the ONNX file it names.
    pub(crate) model: PathBuf,
    /// Images as `oblivia predict` takes them, best those the model was trained on; labels beside them are used. Arrays of
    /// many images may also be npy (bytes, one image after another).
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub(crate) images: Vec<PathBuf>,
    /// Width of activations.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = within(Network::BITS))]
    pub(crate) bits: u32,
    /// Width of weights.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = within(Network::WEIGHT_BITS))]
    pub(crate) weight_bits: u32,
    /// Every limit is at least this many times the largest value measured.
    #[arg(long, value_name = "X", default_value_t = Options::default().margin, value_parser = margin)]
    pub(crate) margin: f64,
    /// Measure on this many images, the first.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub(crate) calibrate: usize,
    /// Check on this many of the images that follow; without it on all of them.
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub(crate) check: Option<usize>,
    /// Take bounds that hold for every input instead of measuring: nothing ever overflows, at a price in precision. Images
    /// are only checked on.
    #[arg(long = "static")]
    pub(crate) always: bool,
    /// Take the middle of images that are larger than the model's.
    #[arg(long)]
    pub(crate) centre_crop: bool,
    /// What the model's first class is called in labels: 1 for labels from 1 on, -1 for a model with a class before
    /// those of the labels.
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) first_label: i64,
    /// Show everything and write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Threads for computing; 0 is one per core.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = threads())]
    pub(crate) threads: usize,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

fn within(range: RangeInclusive<u32>) -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(u64::from(*range.start())..=u64::from(*range.end()))
}

/// A finite number from 1 on.
fn margin(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|m| m.is_finite() && *m >= 1.0);
    number.ok_or_else(|| "a number from 1 on is expected, as in 2 or 1.5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn margins_are_finite_and_at_least_one() {
        assert_eq!(margin("1.5"), Ok(1.5));
        for bad in ["", "0.9", "-2", "nan", "inf", "much"] {
            assert!(margin(bad).is_err(), "{bad}");
        }
    }
}
