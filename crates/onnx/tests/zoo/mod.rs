//! The real models of the data directory and of this repository, with images for them.

use oblivia_data::{MAX_NPY_BYTES, Npy, NpyData, Pixels, Split, data_dir, labelled_folder, mnist, read};
use oblivia_nn::{ImageInput, InputSpec, Model, Tensor, pass::fold};
use oblivia_onnx::load;
use std::error::Error;
use std::path::{Path, PathBuf};

/// Which images a model takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Images {
    /// The MNIST test images.
    Mnist,
    /// The first 4,000 training images of CIFAR-10.
    Cifar,
    /// 100 images of ImageNet.
    ImageNet,
}

/// A model and how its images are prepared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    /// Below the data directory; for a model of this repository, empty.
    file: &'static str,
    pub(crate) images: Images,
    mean: [f32; 3],
    std: [f32; 3],
    bgr: bool,
    /// What is added to a label.
    offset: usize,
}

const NORMALISED: ([f32; 3], [f32; 3]) = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]);

const fn entry(name: &'static str, file: &'static str, images: Images) -> Entry {
    let (mean, std) = NORMALISED;
    Entry { name, file, images, mean, std, bgr: false, offset: 0 }
}

pub(crate) const ZOO: [Entry; 9] = [
    Entry { mean: [0.0; 3], std: [255.0; 3], ..entry("mnist-bm3", "", Images::Mnist) },
    Entry {
        mean: [0.0; 3],
        std: [255.0; 3],
        ..entry("minionn", "models/minionn_cifar10_relu.onnx", Images::Cifar)
    },
    Entry { mean: [0.0; 3], std: [1.0; 3], ..entry("resnet8", "models/resnet8_cifar10.onnx", Images::Cifar) },
    entry("resnet20", "models/resnet20_cifar10.onnx", Images::Cifar),
    entry("resnet32", "models/resnet32_cifar10.onnx", Images::Cifar),
    entry("resnet56", "models/resnet56_cifar10.onnx", Images::Cifar),
    Entry {
        mean: [104.0, 117.0, 123.0],
        std: [1.0; 3],
        bgr: true,
        ..entry("squeezenet", "models/squeezenet1_0_deepcompressed.onnx", Images::ImageNet)
    },
    Entry {
        mean: [128.0; 3],
        std: [128.0; 3],
        offset: 1,
        ..entry("mobilenet", "models/mobilenet_v2_1.0_224_dequant.onnx", Images::ImageNet)
    },
    entry("resnet18", "models/resnet18_imagenet.onnx", Images::ImageNet),
];

impl Entry {
    /// Where the model and its images are, or what is missing.
    fn paths(&self) -> Result<(PathBuf, PathBuf), String> {
        let data = data_dir().map_err(|_| "../shared/data or OBLIVIA_DATA".to_owned())?;
        let model = match self.file {
            "" => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(self.name),
            file => data.join(file),
        };
        let images = match self.images {
            Images::Mnist => data.join("mnist"),
            Images::Cifar => data.join("cifar10/train4000_x.npy"),
            Images::ImageNet => data.join("imagenet"),
        };
        let missing = [&model, &images].into_iter().find(|p| !p.exists()).map(|p| p.display().to_string());
        missing.map_or(Ok((model, images)), Err)
    }

    /// What is missing, if anything.
    pub(crate) fn missing(&self) -> Option<String> {
        self.paths().err()
    }

    /// The folded model with its preprocessing and input range.
    pub(crate) fn model(&self) -> Result<Model, Box<dyn Error>> {
        let mut model = fold(&load(self.paths()?.0)?)?;
        let (channels, height, width) = model.public.graph.input_shape().chw().ok_or("takes no images")?;
        let (mean, std) = (self.mean[..channels].to_vec(), self.std[..channels].to_vec());
        let ends = mean.iter().zip(&std).flat_map(|(m, s)| [f64::from(-m / s), f64::from((255.0 - m) / s)]);
        let range = ends.fold([0.0f64; 2], |[low, high], v| [low.min(v), high.max(v)]);
        model.public.input_range = range;
        model.public.input =
            InputSpec::Image(ImageInput { width, height, channels, bgr: self.bgr, mean, std });
        model.public.check()?;
        Ok(model)
    }

    /// Images `from..from + count` with their labels.
    pub(crate) fn samples(
        &self,
        model: &Model,
        from: usize,
        count: usize,
    ) -> Result<Vec<(Tensor, usize)>, Box<dyn Error>> {
        let InputSpec::Image(input) = &model.public.input else { return Err("takes no images".into()) };
        let path = self.paths()?.1;
        let images: Vec<(Pixels, usize)> = match self.images {
            Images::Mnist => {
                let all = mnist(&path, Split::Test)?.into_iter();
                all.map(|l| (l.pixels, l.label)).skip(from).take(count).collect()
            }
            Images::Cifar => cifar(&path, from, count)?,
            Images::ImageNet => {
                let all = labelled_folder(&path)?.into_iter().skip(from).take(count);
                all.map(|l| Ok((centre(&l.pixels, input.width)?, l.label)))
                    .collect::<Result<_, Box<dyn Error>>>()?
            }
        };
        images.iter().map(|(p, label)| Ok((p.to_tensor(input)?, label + self.offset))).collect()
    }
}

fn cifar(path: &Path, from: usize, count: usize) -> Result<Vec<(Pixels, usize)>, Box<dyn Error>> {
    let x = Npy::parse(&read(path, MAX_NPY_BYTES)?)?;
    let y = Npy::parse(&read(path.with_file_name("train4000_y.npy"), MAX_NPY_BYTES)?)?.to_f32();
    let NpyData::U8(pixels) = x.data() else { return Err("pixels are not bytes".into()) };
    let images = pixels.chunks(32 * 32 * 3).zip(y).skip(from).take(count);
    images.map(|(p, y)| Ok((Pixels::new(32, 32, 3, p.to_vec())?, y as usize))).collect()
}

/// The middle square of `side` pixels.
fn centre(image: &Pixels, side: usize) -> Result<Pixels, Box<dyn Error>> {
    let (w, h) = (image.width(), image.height());
    let (left, top) = ((w - side) / 2, (h - side) / 2);
    let row = |y: usize| &image.data()[3 * ((top + y) * w + left)..3 * ((top + y) * w + left + side)];
    Ok(Pixels::new(side, side, 3, (0..side).flat_map(row).copied().collect())?)
}
