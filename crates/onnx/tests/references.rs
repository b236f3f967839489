//! Real models: what the float evaluator makes of them against onnxruntime's recorded answers, and what
//! damage to their files does. A test whose files are absent is listed as ignored, with the reason.
#![expect(clippy::expect_used, reason = "a test runner of its own")]

use libtest_mimic::{Arguments, Failed, Trial};
use oblivia_data::{MAX_NPY_BYTES, Npy, NpyData, Pixels, Split, data_dir, mnist, read};
use oblivia_nn::{ImageInput, InputSpec, Model, Tensor, eval, inspect::Report, pass::fold};
use oblivia_onnx::{fuzz, import, load, open};
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut trials = Vec::new();
    let references = here.join("tests/references");
    match std::fs::read_to_string(references.join("references.json")) {
        Ok(text) => {
            let list: Value = serde_json::from_str(&text).expect("references.json is JSON");
            for entry in list["models"].as_array().expect("a list of models") {
                trials.extend(against_onnxruntime(entry, &references));
            }
        }
        Err(e) => {
            let why = format!("crates/onnx/tests/references/references.json: {e}");
            trials.push(absent("the evaluator agrees with onnxruntime", &why));
        }
    }
    trials.push(with_model("resnet18 imports and keeps its size", "resnet18_imagenet.onnx", |path| {
        let report = Report::new(&load(path)?.public);
        // The published figures of ResNet-18 at 224×224: 1.81 G multiply-accumulates, 11.69 M parameters;
        // running means and variances (9600 numbers) count here.
        expect(report.total.macs == 1_814_073_344, || format!("{} MACs", report.total.macs))?;
        expect(report.total.params == 11_689_512 + 9_600, || format!("{} parameters", report.total.params))
    }));
    trials.push(with_model(
        "squeezenet imports and keeps its size",
        "squeezenet1_0_deepcompressed.onnx",
        |path| {
            // SqueezeNet 1.0 as published: 1,248,424 parameters.
            let report = Report::new(&load(path)?.public);
            expect(report.total.params == 1_248_424, || format!("{} parameters", report.total.params))
        },
    ));
    trials.push(with_model("resnet56 folds into plain layers", "resnet56_cifar10.onnx", |path| {
        let folded = fold(&load(path)?)?;
        let ops: Vec<&str> = folded.public.graph.nodes().iter().map(|n| n.op.name()).collect();
        let left = ["Input", "Conv", "Relu", "Add", "Slice", "Pad", "GlobalAveragePool", "Flatten", "Dense"];
        let extra: Vec<&&str> = ops.iter().filter(|op| !left.contains(op)).collect();
        expect(extra.is_empty(), || format!("{extra:?} are left"))
    }));
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/mnist-cryptonets");
    let name = "the shipped model opens with its manifest";
    trials.push(match shipped.join("model.toml").is_file() {
        true => Trial::test(name, move || shipped_model(&shipped)),
        false => absent(name, "models/mnist-cryptonets/model.toml"),
    });
    let name = "the shipped model classifies at least 98.9 % of the MNIST test images";
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/mnist-cryptonets");
    trials.push(match data_dir().map(|dir| dir.join("mnist")) {
        Ok(mnist) if mnist.is_dir() && shipped.is_dir() => {
            Trial::test(name, move || accuracy(&shipped, &mnist))
        }
        Ok(mnist) if shipped.is_dir() => absent(name, &mnist.display().to_string()),
        Ok(_) => absent(name, "models/mnist-cryptonets"),
        Err(_) => absent(name, NO_DATA),
    });
    for file in ["resnet8_cifar10.onnx", "resnet20_cifar10.onnx"] {
        trials.push(with_model(&format!("damage to {file} ends in an error or a model"), file, damage));
    }
    libtest_mimic::run(&args, trials).exit_code()
}

/// A test that is listed as ignored because something it needs is not there.
fn absent(name: &str, why: &str) -> Trial {
    let reason = why.to_owned();
    Trial::test(format!("{name} [needs {why}]"), move || Err(format!("needs {reason}").into()))
        .with_ignored_flag(true)
}

/// A test on a model of the data directory.
fn with_model(
    name: &str,
    file: &str,
    test: impl FnOnce(PathBuf) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    match data_dir().map(|dir| dir.join("models").join(file)) {
        Ok(path) if path.is_file() => Trial::test(name, move || test(path)),
        Ok(path) => absent(name, &path.display().to_string()),
        Err(_) => absent(name, NO_DATA),
    }
}

/// Why a test is ignored where there is no data directory at all.
const NO_DATA: &str = "../shared/data or OBLIVIA_DATA";

fn expect(ok: bool, why: impl FnOnce() -> String) -> Result<(), Failed> {
    if ok { Ok(()) } else { Err(why().into()) }
}

fn shipped_model(folder: &Path) -> Result<(), Failed> {
    let loaded = open(folder)?;
    let public = &loaded.model.public;
    expect(loaded.notes.is_empty() && loaded.manifest.is_some(), || "the manifest was not read".into())?;
    expect(public.name == "mnist-cryptonets" && public.labels.len() == 10, || format!("{public:?}"))?;
    expect(public.input_range == [0.0, 1.0], || format!("{:?}", public.input_range))?;
    let bounded = public.graph.nodes().iter().filter(|n| n.fact.bound.is_some()).count();
    expect(bounded == public.graph.nodes().len(), || format!("{bounded} wires have bounds"))?;
    let from_file = open(folder.join("model.onnx"))?;
    expect(from_file.model.public == *public, || "the file alone does not find its manifest".into())
}

fn accuracy(model: &Path, images: &Path) -> Result<(), Failed> {
    let model = load(model)?;
    let InputSpec::Image(input) = &model.public.input else { return Err("takes no image".into()) };
    let set = mnist(images, Split::Test)?;
    let mut right = 0;
    for sample in &set {
        let y = eval::run(&model, &sample.pixels.to_tensor(input)?)?;
        right += usize::from(y.argmax() == Some(sample.label));
    }
    expect(right >= 9_890 && set.len() == 10_000, || format!("{right} of {} are right", set.len()))
}

/// The tests of one entry of `references.json`.
fn against_onnxruntime(entry: &Value, references: &Path) -> Vec<Trial> {
    let text = |key: &str| entry[key].as_str().map(String::from);
    let numbers = |key: &str| -> Vec<f32> {
        entry[key].as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number") as f32).collect()
    };
    let name = text("name").expect("a name");
    let file = text("file").expect("a file");
    let root = match entry["root"].as_str() {
        Some("repository") => Ok(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")),
        _ => data_dir().map_err(|_| NO_DATA),
    };
    let (mean, std) = (numbers("mean"), numbers("std"));
    let mut trials = Vec::new();
    for (inputs, outputs, kind) in
        [("inputs", "outputs", "shipped"), ("cifar10_inputs", "cifar10_outputs", "CIFAR-10")]
    {
        let (Some(inputs), Some(outputs)) = (text(inputs), text(outputs)) else { continue };
        let title = format!("{name} agrees with onnxruntime on {kind} images");
        let model = root.clone().map(|root| root.join(&file));
        let inputs = match kind {
            "shipped" => Ok(references.join(inputs)),
            _ => data_dir().map(|dir| dir.join(inputs)).map_err(|_| NO_DATA),
        };
        let (model, inputs) = match (model, inputs) {
            (Ok(m), Ok(i)) if m.is_file() && i.is_file() => (m, i),
            (Ok(m), Ok(i)) => {
                let missing = if m.is_file() { i } else { m };
                trials.push(absent(&title, &missing.display().to_string()));
                continue;
            }
            (Err(e), _) | (_, Err(e)) => {
                trials.push(absent(&title, e));
                continue;
            }
        };
        let (outputs, mean, std) = (references.join(outputs), mean.clone(), std.clone());
        let bgr = entry["bgr"].as_bool().unwrap_or(false);
        let size = |key: &str| entry[key].as_u64().map(|v| v as usize);
        let enlarged = size("enlarged").zip(size("side"));
        trials.push(Trial::test(title, move || {
            compare(&model, &inputs, &outputs, [&mean, &std], bgr, enlarged)
        }));
    }
    trials
}

fn compare(
    model: &Path,
    inputs: &Path,
    outputs: &Path,
    [mean, std]: [&[f32]; 2],
    bgr: bool,
    enlarged: Option<(usize, usize)>,
) -> Result<(), Failed> {
    let loaded = open(model)?;
    let folded = fold(&loaded.model)?;
    let expected = Npy::parse(&read(outputs, MAX_NPY_BYTES)?)?;
    let &[images, classes] = expected.shape() else { return Err("outputs are not [images, classes]".into()) };
    let least = if enlarged.is_some() { 2 } else { 20 };
    expect(images >= least, || format!("only {images} reference inputs"))?;
    let mut worst = 0.0f32;
    for (image, y) in images_of(inputs, images)?.iter().zip(expected.to_f32().chunks(classes)) {
        let image = match enlarged {
            Some((times, side)) => &enlarge(image, times, side)?,
            None => image,
        };
        let input = ImageInput {
            width: image.width(),
            height: image.height(),
            channels: image.channels(),
            bgr,
            mean: mean.to_vec(),
            std: std.to_vec(),
        };
        let x = image.to_tensor(&input)?;
        worst = worst.max(check(&loaded.model, &x, y, "as in the file")?);
        worst = worst.max(check(&folded, &x, y, "folded")?);
    }
    // Two ways to sum never round alike on every image: zero would mean that nothing was compared.
    expect(worst > 0.0, || "no rounding difference at all".into())
}

/// The middle `side` × `side` of an image with every pixel repeated `times` times each way.
fn enlarge(image: &Pixels, times: usize, side: usize) -> Result<Pixels, Failed> {
    let (w, c) = (image.width(), image.channels());
    let (left, top) = ((w * times - side) / 2, (image.height() * times - side) / 2);
    let pixel = |at: usize| ((top + at / side) / times * w + (left + at % side) / times) * c;
    let data = (0..side * side).flat_map(|at| image.data().iter().skip(pixel(at)).take(c).copied()).collect();
    Ok(Pixels::new(side, side, c, data)?)
}

/// The largest error relative to the largest |y|, which must stay below 1e-4, with the same first class.
fn check(model: &Model, x: &Tensor, y: &[f32], what: &str) -> Result<f32, Failed> {
    let found = eval::run(model, x)?;
    let y = Tensor::new(found.shape().clone(), y.to_vec())?;
    let error = found.data().iter().zip(y.data()).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
    let relative = error / y.max_abs();
    expect(relative <= 1e-4, || format!("{what}: error {relative:e} of max|y|"))?;
    expect(found.argmax() == y.argmax(), || format!("{what}: another first class"))?;
    Ok(relative)
}

/// The first images of an array `[n, channels, height, width]` or `[n, height, width, 3]`.
fn images_of(path: &Path, n: usize) -> Result<Vec<Pixels>, Failed> {
    let npy = Npy::parse(&read(path, MAX_NPY_BYTES)?)?;
    let (&[_, a, b, c], NpyData::U8(data)) = (npy.shape(), npy.data()) else {
        return Err("images are not four axes of bytes".into());
    };
    let interleave = |planes: &[u8]| -> Vec<u8> {
        (0..b * c).flat_map(|p| planes.iter().skip(p).step_by(b * c).copied()).collect()
    };
    let images = data.chunks(a * b * c).take(n).map(|image| match c {
        3 => Pixels::new(b, a, 3, image.to_vec()),
        _ => Pixels::new(c, b, a, interleave(image)),
    });
    Ok(images.collect::<Result<_, _>>()?)
}

/// Flips bits and cuts the file, half of the time among its first bytes, where structure is.
fn damage(path: PathBuf) -> Result<(), Failed> {
    let bytes = std::fs::read(path)?;
    import(&bytes)?;
    let head = bytes.len().min(12_000);
    let mut runner = TestRunner::new(Config { cases: 400, failure_persistence: None, ..Config::default() });
    let strategy = (0..head, 0..bytes.len(), 0..8u32, proptest::bool::ANY, proptest::bool::ANY);
    let result = runner.run(&strategy, |(near, far, bit, in_head, cut)| {
        let at = if in_head { near } else { far };
        let mut damaged = bytes.clone();
        if cut {
            damaged.truncate(at);
        } else if let Some(byte) = damaged.get_mut(at) {
            *byte ^= 1 << bit;
        }
        fuzz::onnx(&damaged);
        Ok(())
    });
    result.map_err(|e| e.to_string().into())
}
