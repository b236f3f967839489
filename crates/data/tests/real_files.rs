//! Real files of the data directory. A test whose files are absent is listed as ignored, with the reason.

use libtest_mimic::{Arguments, Failed, Trial};
use oblivia_data::{MAX_NPY_BYTES, Npy, Split, data_dir, labelled_folder, mnist, read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Check = fn(PathBuf) -> Result<(), Failed>;

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let tests: [(&str, &str, Check); 4] = [
        ("the MNIST test set has 10,000 images and begins 7 2 1 0 4", "mnist", mnist_test),
        ("the MNIST training set has 60,000 images, 6,742 of them ones", "mnist", mnist_train),
        ("the ImageNet sample decodes to 100 colour images of 256×256", "imagenet", imagenet),
        ("the CIFAR-10 arrays have the shapes their description names", "cifar10", cifar),
    ];
    let mut trials: Vec<Trial> = tests
        .into_iter()
        .map(|(name, folder, check)| match data_dir().map(|dir| dir.join(folder)) {
            Ok(dir) if dir.is_dir() => Trial::test(name, move || check(dir)),
            Ok(dir) => absent(name, &dir.display().to_string()),
            Err(_) => absent(name, "../shared/data or OBLIVIA_DATA"),
        })
        .collect();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/mnist");
    let name = "the shipped MNIST images are the first of the test set";
    trials.push(match (shipped.join("labels.csv").is_file(), data_dir()) {
        (true, Ok(dir)) => Trial::test(name, move || samples(&shipped, &dir.join("mnist"))),
        (true, Err(_)) => absent(name, "../shared/data or OBLIVIA_DATA"),
        (false, _) => absent(name, "samples/mnist"),
    });
    libtest_mimic::run(&args, trials).exit_code()
}

/// A test that is listed as ignored because something it needs is not there.
fn absent(name: &str, why: &str) -> Trial {
    let reason = why.to_owned();
    Trial::test(format!("{name} [needs {why}]"), move || Err(format!("needs {reason}").into()))
        .with_ignored_flag(true)
}

fn expect(ok: bool, why: impl FnOnce() -> String) -> Result<(), Failed> {
    if ok { Ok(()) } else { Err(why().into()) }
}

fn mnist_test(dir: PathBuf) -> Result<(), Failed> {
    let set = mnist(dir, Split::Test)?;
    let first: Vec<usize> = set.iter().take(5).map(|s| s.label).collect();
    expect(set.len() == 10_000 && first == [7, 2, 1, 0, 4], || format!("{} images, {first:?}", set.len()))
}

fn mnist_train(dir: PathBuf) -> Result<(), Failed> {
    let set = mnist(dir, Split::Train)?;
    let ones = set.iter().filter(|s| s.label == 1).count();
    expect(set.len() == 60_000 && ones == 6_742, || format!("{} images, {ones} ones", set.len()))
}

fn imagenet(dir: PathBuf) -> Result<(), Failed> {
    let set = labelled_folder(dir)?;
    let sizes =
        set.iter().all(|s| (s.pixels.width(), s.pixels.height(), s.pixels.channels()) == (256, 256, 3));
    let labels = set.iter().enumerate().all(|(i, s)| s.label == 10 * i);
    expect(set.len() == 100 && sizes && labels, || format!("{} images", set.len()))
}

fn cifar(dir: PathBuf) -> Result<(), Failed> {
    for (file, shape) in [
        ("train4000_x.npy", &[4000, 32, 32, 3][..]),
        ("train4000_y.npy", &[4000]),
        ("test_jpeg_x.npy", &[10_000, 32, 32, 3]),
        ("test_jpeg_y.npy", &[10_000]),
    ] {
        let npy = Npy::parse(&read(dir.join(file), MAX_NPY_BYTES)?)?;
        expect(npy.shape() == shape, || format!("{file}: {:?}", npy.shape()))?;
    }
    Ok(())
}

fn samples(shipped: &Path, mnist_dir: &Path) -> Result<(), Failed> {
    let (shipped, set) = (labelled_folder(shipped)?, mnist(mnist_dir, Split::Test)?);
    let same = shipped.iter().zip(&set).all(|(a, b)| a.pixels == b.pixels && a.label == b.label);
    expect(same && shipped.len() >= 20, || format!("{} shipped images differ", shipped.len()))
}
