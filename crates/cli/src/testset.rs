//! The images a benchmark predicts on.

use anyhow::{Context, Result};
use oblivia::Input;
use oblivia_data::{Labelled, Split, cifar10_jpeg_test, data_dir, labelled_folder, mnist};
use oblivia_nn::{InputSpec, PublicModel, Tensor};
use oblivia_protocol::Error;

/// An input with its class, where that is known.
pub(crate) struct Sample {
    pub(crate) input: Input,
    pub(crate) label: Option<usize>,
}

/// The first `n` inputs of the set a network is for: MNIST, CIFAR-10 (JPEG) or the ImageNet sample (the middle of each
/// image), by the size of its images; numbers spread over the published range where it takes no images. Where there are fewer than `n` they come again. A network's classes are `offset` behind the set's.
pub(crate) fn samples(model: &PublicModel, n: usize, offset: usize) -> Result<Vec<Sample>> {
    let InputSpec::Image(spec) = &model.input else { return Ok(spread(model, n)) };
    let sets = data_dir().context("a benchmark needs the data sets")?;
    let (dir, set) = match (spec.channels, spec.width) {
        (1, _) => {
            let dir = sets.join("mnist");
            let set = mnist(&dir, Split::Test)?;
            (dir, set)
        }
        (_, ..=64) => {
            let dir = sets.join("cifar10");
            let set = cifar10_jpeg_test(&dir)?;
            (dir, set)
        }
        _ => {
            let dir = sets.join("imagenet");
            let set = labelled_folder(&dir)?;
            (dir, set)
        }
    };
    if set.is_empty() {
        return Err(Error::Input(format!("{} has no test images", dir.display())).into());
    }
    let have = set.len().min(n);
    let sample = |image: &Labelled| {
        let centre = image.pixels.centre(spec.width, spec.height);
        let too_small = || {
            let why = format!("{}: {} is smaller than the model's images", dir.display(), image.name);
            Error::Input(why)
        };
        let input = Input::Image(centre.ok_or_else(too_small)?);
        Ok(Sample { input, label: Some(image.label + offset) })
    };
    (0..n).filter_map(|i| set.get(i % have.max(1))).map(sample).collect()
}

fn spread(model: &PublicModel, n: usize) -> Vec<Sample> {
    let shape = model.graph.input_shape();
    let [low, high] = model.input_range;
    // A Weyl sequence: fractional parts of multiples of the golden ratio.
    let number = |i: usize| (low + (i as f64 * 0.618_033_988_749_894_9).fract() * (high - low)) as f32;
    let one = |sample: usize| {
        let first = sample * shape.elements();
        let data = (0..shape.elements()).map(|i| number(first + i + 1)).collect();
        let input = Tensor::new(shape.clone(), data).unwrap_or_else(|_| Tensor::zeros(shape.clone()));
        Sample { input: Input::Tensor(input), label: None }
    };
    (0..n).map(one).collect()
}
