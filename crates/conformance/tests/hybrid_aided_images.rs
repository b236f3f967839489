//! Mode `client-aided` on real models and images: outputs bit for bit those of the network in fixed point, at the declared
//! cost. Without the data a test is listed as ignored, with the reason.
#![expect(clippy::print_stdout, reason = "it reports what it found")]

use libtest_mimic::{Arguments, Failed, Trial};
use oblivia::{Input, load_model, tensor};
use oblivia_conformance::{Case, costs, over_memory};
use oblivia_data::{Labelled, Split, cifar10_jpeg_test, data_dir, mnist};
use oblivia_nn::{InputSpec, Tensor};
use oblivia_protocol::{Leak, Wish};
use std::path::{Path, PathBuf};

/// A model, below `models`, the folder of its images in the data directory, and how many are tried.
const ROWS: [(&str, &str, usize); 2] = [("mnist-bm3", "mnist", 20), ("minionn-cifar10", "cifar10", 2)];

fn main() -> std::process::ExitCode {
    let trial =
        |row: (&'static str, &'static str, usize)| {
            let name = format!("{} gives the fixed network's outputs on {} images", row.0, row.2);
            match data_dir().map(|dir| dir.join(row.1)) {
                Ok(folder) if folder.is_dir() => Trial::test(name, move || compare(row, &folder)),
                _ => Trial::test(format!("{name} [needs ../shared/data or OBLIVIA_DATA]"), || {
                    Err("no data".into())
                })
                .with_ignored_flag(true),
            }
        };
    let args = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&args, ROWS.into_iter().map(trial).collect()).exit_code()
}

fn compare((model, images, count): (&str, &str, usize), folder: &Path) -> Result<(), Failed> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let model = load_model(&root.join("models").join(model))?;
    let InputSpec::Image(spec) = &model.public.input else { return Err("takes no images".into()) };
    let set: Vec<Labelled> = match images {
        "mnist" => mnist(folder, Split::Test)?,
        _ => cifar10_jpeg_test(folder)?,
    };
    let one = |image: &Labelled| {
        let pixels = image.pixels.centre(spec.width, spec.height).ok_or("an image is too small")?;
        Ok::<_, Failed>(tensor(&model.public, &Input::Image(pixels))?)
    };
    let inputs = set.iter().take(count).map(one).collect::<Result<Vec<Tensor>, _>>()?;
    if inputs.len() != count {
        return Err(format!("{} images, not {count}", inputs.len()).into());
    }
    let accepted_leaks = vec![Leak::IntermediateActivations];
    let wish = Wish { mode: Some("client-aided".into()), accepted_leaks, ..Wish::default() };
    let case = Case { system: "hybrid", wish, model, inputs };
    let pair = over_memory(&case, 8).map_err(|e| format!("{e:?}"))?;
    costs::check(&pair);
    for (i, (found, expected)) in pair.client.outputs.iter().zip(case.expected()).enumerate() {
        let found = found.as_ref().map_err(|e| format!("image {i}: {e}"))?;
        if found.data() != expected.data() {
            return Err(format!("image {i}: {:?} for {:?}", found.data(), expected.data()).into());
        }
    }
    println!("{}: {count} images equal; {:?}", case.model.public.name, pair.client.receipt.plan.cost.ops);
    Ok(())
}
