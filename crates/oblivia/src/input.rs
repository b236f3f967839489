//! What a client predicts on.

use crate::Error;
use oblivia_data::{
    DataError, Idx, MAX_IDX_BYTES, MAX_IMAGE_BYTES, MAX_NPY_BYTES, Npy, Pixels, data_dir, decode_image, read,
};
use oblivia_nn::{InputSpec, Model, PublicModel, Tensor};
use oblivia_onnx::{OnnxError, Opening};
use std::path::Path;

/// One sample before the model is known.
#[derive(Clone, Debug)]
pub enum Input {
    /// An image; the model publishes how it becomes numbers.
    Image(Pixels),
    /// An array, taken as it is.
    Array(Npy),
    /// Numbers in the model's own shape.
    Tensor(Tensor),
}

/// Loads a model: an ONNX file, or a folder with `model.onnx` and `model.toml`. A manifest whose `data_model` is not shipped
/// finds it below the data directory ([`oblivia_data::data_dir`]).
///
/// # Errors
/// As [`open_model`].
pub fn load_model(path: &Path) -> Result<Model, Error> {
    Ok(open_model(path)?.model)
}

/// As [`load_model`], with what was read beside the model and what its user should know.
///
/// # Errors
/// [`Error::Model`] and [`Error::ModelFile`] say what is wrong where.
pub fn open_model(path: &Path) -> Result<oblivia_onnx::Loaded, Error> {
    open_with(path, true)
}

/// As [`open_model`], without looking at the calibration beside the manifest: for whoever makes a new one.
///
/// # Errors
/// As [`open_model`].
pub fn open_uncalibrated(path: &Path) -> Result<oblivia_onnx::Loaded, Error> {
    open_with(path, false)
}

fn open_with(path: &Path, calibration: bool) -> Result<oblivia_onnx::Loaded, Error> {
    let opening = Opening { calibration, data_dir: &|| data_dir().map_err(|e| e.to_string()) };
    oblivia_onnx::open_with(path, &opening).map_err(|e| match e {
        OnnxError::Io { .. } | OnnxError::Manifest { .. } | OnnxError::Calibration { .. } => Error::Model(e),
        source => Error::ModelFile { path: path.to_owned(), source },
    })
}

/// Loads an image (PNG, JPEG) or, by the suffix `.npy`, an array.
///
/// # Errors
/// [`Error::Data`] says what is wrong with which file.
pub fn load_image(path: &Path) -> Result<Input, Error> {
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy")) {
        return Ok(Input::Array(Npy::parse(&read(path, MAX_NPY_BYTES)?).map_err(in_file(path))?));
    }
    Ok(Input::Image(decode_image(&read(path, MAX_IMAGE_BYTES)?).map_err(in_file(path))?))
}

/// Whether a file is an idx array by its name: `…-ubyte` or `….idx`, or either with `.gz`.
pub fn is_idx(path: &Path) -> bool {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.ends_with("-ubyte") || name.ends_with(".idx")
}

/// Loads all images of a file: those of an idx array of bytes of shape `[images, height, width]`, see [`is_idx`], or the
/// one that [`load_image`] finds.
///
/// # Errors
/// [`Error::Data`] and [`Error::File`] say what is wrong with which file.
pub fn load_images(path: &Path) -> Result<Vec<Input>, Error> {
    if !is_idx(path) {
        return Ok(vec![load_image(path)?]);
    }
    let idx = Idx::parse(&read(path, MAX_IDX_BYTES)?).map_err(in_file(path))?;
    let bad = |why: String| in_file(path)(DataError::BadIdx { why });
    let &[_, height, width] = idx.dims() else {
        return Err(bad(format!("shape {:?} is not that of images: three axes are expected", idx.dims())));
    };
    if idx.data().is_empty() {
        return Err(bad(format!("there is no image in shape {:?}", idx.dims())));
    }
    let image = |bytes: &[u8]| Ok(Input::Image(Pixels::new(width, height, 1, bytes.to_vec())?));
    idx.data().chunks(height * width).map(image).collect::<Result<_, DataError>>().map_err(in_file(path))
}

/// Adds the file to an error about its contents.
fn in_file(path: &Path) -> impl Fn(DataError) -> Error {
    move |source| Error::File { path: path.to_owned(), source }
}

/// The input tensor a public model asks for.
///
/// # Errors
/// When the sample does not fit the model; nothing is resized or converted silently.
pub fn tensor(model: &PublicModel, input: &Input) -> Result<Tensor, oblivia_protocol::Error> {
    let unfit = |e: DataError| oblivia_protocol::Error::Input(e.to_string());
    let shape = model.graph.input_shape();
    match (input, &model.input) {
        (Input::Image(pixels), InputSpec::Image(spec)) => pixels.to_tensor(spec).map_err(unfit),
        (Input::Image(_), InputSpec::Tensor) => Err(oblivia_protocol::Error::Input(format!(
            "model `{}` does not say how an image becomes its input of shape {shape}; hand over an npy array, or \
             have its owner add [input] to model.toml",
            model.name
        ))),
        (Input::Array(array), _) => array.to_tensor(shape).map_err(unfit),
        (Input::Tensor(t), _) => Ok(t.clone()),
    }
}
