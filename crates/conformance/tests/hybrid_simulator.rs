//! What two parties open, bit for bit what the simulator computes, on real models and images. Without the data a test is
//! listed as ignored, with the reason; the large ones run in `cargo xtask full`.
#![expect(clippy::print_stdout, reason = "it reports what it measured")]

use libtest_mimic::{Arguments, Failed, Trial};
use oblivia::{Input, load_model, served, tensor};
use oblivia_data::{Labelled, Split, cifar10_jpeg_test, data_dir, labelled_folder, mnist};
use oblivia_nn::InputSpec;
use oblivia_protocol::Wish;
use oblivia_systems::hybrid::simulator::{Compared, Simulator};
use rayon::ThreadPoolBuilder;
use std::path::{Path, PathBuf};

/// A model, below `models`, the folder of its images in the data directory, and how many are tried.
struct Row {
    model: &'static str,
    images: &'static str,
    count: usize,
    large: bool,
}

const ROWS: [Row; 6] = [
    Row { model: "mnist-bm3", images: "mnist", count: 200, large: false },
    Row { model: "minionn-cifar10", images: "cifar10", count: 50, large: true },
    Row { model: "resnet20-cifar10", images: "cifar10", count: 50, large: true },
    Row { model: "squeezenet-imagenet", images: "imagenet", count: 20, large: true },
    Row { model: "mobilenetv2-imagenet", images: "imagenet", count: 20, large: true },
    Row { model: "resnet18-imagenet", images: "imagenet", count: 20, large: true },
];

fn main() -> std::process::ExitCode {
    let large = std::env::var_os("OBLIVIA_LARGE").is_some();
    let trial =
        |row: Row| {
            let name = format!("{} on {} images opens what the simulator computes", row.model, row.count);
            match data_dir().map(|dir| dir.join(row.images)) {
                Ok(folder) if folder.is_dir() && (large || !row.large) => {
                    Trial::test(name, move || compare(&row, &folder))
                }
                Ok(folder) if folder.is_dir() => {
                    Trial::test(format!("{name} [takes minutes: OBLIVIA_LARGE=1]"), || Ok(()))
                        .with_ignored_flag(true)
                }
                _ => Trial::test(format!("{name} [needs ../shared/data or OBLIVIA_DATA]"), || {
                    Err("no data".into())
                })
                .with_ignored_flag(true),
            }
        };
    let args = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&args, ROWS.into_iter().map(trial).collect()).exit_code()
}

fn images(row: &Row, folder: &Path) -> Result<Vec<Labelled>, Failed> {
    let mut all = match row.images {
        "mnist" => mnist(folder, Split::Test)?,
        "cifar10" => cifar10_jpeg_test(folder)?,
        _ => labelled_folder(folder)?,
    };
    all.truncate(row.count);
    Ok(all)
}

fn compare(row: &Row, folder: &Path) -> Result<(), Failed> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let model = served(&load_model(&root.join("models").join(row.model))?)?;
    let InputSpec::Image(spec) = &model.public.input else { return Err("takes no images".into()) };
    let pool = ThreadPoolBuilder::new().build()?;
    let simulator = Simulator::new(&model, &Wish::default(), &pool)?;
    let set = images(row, folder)?;
    if set.len() != row.count {
        return Err(format!("{} images, not {}", set.len(), row.count).into());
    }
    let (mut roundings, mut outside) = ([0u64; 4], 0);
    for (i, image) in set.iter().enumerate() {
        let pixels = image.pixels.centre(spec.width, spec.height).ok_or("an image is too small")?;
        let input = tensor(&model.public, &Input::Image(pixels))?;
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&(i as u64).to_le_bytes());
        let found: Compared = simulator.compare(&input, &seed, &pool)?;
        let equal = found.equal(simulator.output_bits()) && found.hidden_equal;
        // Where a value leaves its range nothing is promised, and how often that is is declared.
        outside += u64::from(found.outside > 0);
        if !equal && found.outside == 0 {
            return Err(format!("image {i}: {found:?}").into());
        }
        roundings.iter_mut().zip(found.roundings).for_each(|(a, b)| *a += b);
    }
    if outside * 20 > row.count as u64 {
        return Err(format!("{outside} of {} images have a value outside its range", row.count).into());
    }
    println!(
        "{}: {} images equal, inputs of all layers too; {outside} with a value outside its range; results at −1, 0, 1, 2 of the \
         floor: {roundings:?}",
        row.model, row.count
    );
    Ok(())
}
