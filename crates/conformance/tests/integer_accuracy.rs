//! The integer network of the shipped model on the MNIST test images. Without them the test is listed as ignored, with the
//! reason.
#![expect(clippy::print_stdout, reason = "it reports what it measured")]

use libtest_mimic::{Arguments, Failed, Trial};
use oblivia::{Input, load_model, served, tensor};
use oblivia_data::{Split, data_dir, mnist};
use oblivia_nn::eval;
use oblivia_protocol::{Reference, Wish};
use std::path::{Path, PathBuf};

fn main() -> std::process::ExitCode {
    let name = "the integer network classifies at least 98.0 % of the MNIST test images";
    let trial = match data_dir().map(|dir| dir.join("mnist")) {
        Ok(folder) if folder.is_dir() => Trial::test(name, move || accuracy(&folder)),
        _ => Trial::test(format!("{name} [needs ../shared/data or OBLIVIA_DATA]"), || Err("no data".into()))
            .with_ignored_flag(true),
    };
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

fn accuracy(folder: &Path) -> Result<(), Failed> {
    let system = oblivia_systems::find("leveled").ok_or("no system `leveled`")?;
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let model = load_model(&root.join("models/mnist-cryptonets"))?;
    let folded = served(&model)?;
    let plan = system.plan(&folded.public, &Wish { mode: Some("exact".into()), ..Wish::default() })?;
    let Some(Reference::Integers(integers)) = system.reference(&plan, &folded)? else {
        return Err("mode exact has an integer network".into());
    };
    let peak = integers.ranges()?[folded.public.graph.output().index()].peak();
    let set = mnist(folder, Split::Test)?;
    let (mut right, mut float, mut same, mut seen) = (0, 0, 0, 0u128);
    for image in &set {
        let x = tensor(&model.public, &Input::Image(image.pixels.clone()))?;
        let y = integers.eval(&x)?;
        let z = eval::run(&model, &x)?;
        right += usize::from(y.argmax() == Some(image.label));
        float += usize::from(z.argmax() == Some(image.label));
        same += usize::from(y.argmax() == z.argmax());
        seen = seen.max((f64::from(y.max_abs()) * integers.output_scale()) as u128);
    }
    println!(
        "{right} of {} right, {float} in floats, {same} labels equal; outputs to 2^{:.1}, at worst 2^{:.1}",
        set.len(),
        (seen as f64).log2(),
        (peak as f64).log2()
    );
    if right * 1000 < set.len() * 980 || set.len() != 10_000 {
        return Err(format!("{right} of {} labels are right", set.len()).into());
    }
    Ok(())
}
