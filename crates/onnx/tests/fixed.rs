//! Real models in fixed point: accuracy beside the float network's. A test whose files are absent is listed as ignored,
//! with the reason.

mod zoo;

use libtest_mimic::{Arguments, Failed, Trial};
use oblivia_base::Prg;
use oblivia_base::codec::{Decode, Encode};
use oblivia_nn::fixed::{
    Certainty, FixedModel, Formats, Network, Options, Random, Ranges, accuracy, quantise,
};
use oblivia_nn::{Model, Op, WireId};
use std::process::ExitCode;
use zoo::{Entry, ZOO};

/// What is asked of a model.
struct Case {
    name: &'static str,
    bits: u32,
    weight_bits: u32,
    calibration: usize,
    images: usize,
    /// Largest loss of accuracy, in points.
    loss: f64,
    /// Smallest share of images with the same first class, in percent.
    agree: f64,
}

const CASES: [Case; 9] = [
    Case {
        name: "mnist-bm3",
        bits: 16,
        weight_bits: 8,
        calibration: 200,
        images: 1000,
        loss: 0.5,
        agree: 99.5,
    },
    Case {
        name: "minionn",
        bits: 16,
        weight_bits: 8,
        calibration: 200,
        images: 1000,
        loss: 0.5,
        agree: 97.0,
    },
    Case {
        name: "resnet20",
        bits: 18,
        weight_bits: 8,
        calibration: 200,
        images: 1000,
        loss: 0.5,
        agree: 99.0,
    },
    Case {
        name: "resnet8",
        bits: 18,
        weight_bits: 10,
        calibration: 100,
        images: 100,
        loss: 3.0,
        agree: 95.0,
    },
    Case { name: "resnet32", bits: 18, weight_bits: 8, calibration: 50, images: 50, loss: 2.0, agree: 95.0 },
    Case { name: "resnet56", bits: 18, weight_bits: 8, calibration: 30, images: 20, loss: 5.0, agree: 90.0 },
    Case {
        name: "squeezenet",
        bits: 18,
        weight_bits: 12,
        calibration: 10,
        images: 5,
        loss: 20.0,
        agree: 80.0,
    },
    Case {
        name: "mobilenet",
        bits: 18,
        weight_bits: 12,
        calibration: 10,
        images: 5,
        loss: 20.0,
        agree: 80.0,
    },
    Case { name: "resnet18", bits: 20, weight_bits: 14, calibration: 20, images: 5, loss: 20.0, agree: 80.0 },
];

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let mut trials = Vec::new();
    for case in CASES {
        let Some(entry) = ZOO.iter().find(|e| e.name == case.name) else { continue };
        let title = format!("{} in fixed point is within {} points of float", case.name, case.loss);
        trials.push(with(entry, &title, move |model| close(entry, &case, &model)));
    }
    if let Some(entry) = ZOO.iter().find(|e| e.name == "mnist-bm3") {
        trials.push(with(entry, "mnist-bm3 loses little by static bounds in 20 bits", move |m| {
            always(entry, &m)
        }));
        trials.push(with(entry, "a client derives the network from what is published", derived));
    }
    libtest_mimic::run(&args, trials).exit_code()
}

fn with(
    entry: &'static Entry,
    title: &str,
    test: impl FnOnce(Model) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    match entry.missing() {
        None => Trial::test(title, move || test(entry.model().map_err(|e| e.to_string())?)),
        Some(why) => {
            let reason = format!("needs {why}");
            Trial::test(format!("{title} [{reason}]"), move || Err(reason.into())).with_ignored_flag(true)
        }
    }
}

fn expect(ok: bool, why: impl FnOnce() -> String) -> Result<(), Failed> {
    if ok { Ok(()) } else { Err(why().into()) }
}

fn random() -> Random<Prg> {
    Random(Prg::new(&[1; 32], "fixed-point accuracy", &[]))
}

fn close(entry: &Entry, case: &Case, model: &Model) -> Result<(), Failed> {
    let text = |e: Box<dyn std::error::Error>| e.to_string();
    let calibration = entry.samples(model, case.images, case.calibration).map_err(text)?;
    let ranges = Ranges::measured(model, calibration.iter().map(|(x, _)| x))?;
    let options = Options { bits: case.bits, weight_bits: case.weight_bits, ..Options::default() };
    let fixed = quantise(model, &ranges, &options)?;
    let samples = entry.samples(model, 0, case.images).map_err(text)?;
    expect(samples.len() == case.images, || format!("only {} images", samples.len()))?;
    let report = accuracy(model, &fixed, samples.iter().map(|(x, y)| (x, *y)), &mut random())?;
    let share = |n: usize| 100.0 * n as f64 / report.images as f64;
    let loss = share(report.float_right) - share(report.fixed_right);
    expect(loss <= case.loss && share(report.agree) >= case.agree, || report.to_string())?;
    expect(report.max_error > 0.0, || "nothing was rounded".into())
}

fn always(entry: &Entry, model: &Model) -> Result<(), Failed> {
    let fixed = quantise(model, &Ranges::always(model)?, &Options { bits: 20, ..Options::default() })?;
    expect(fixed.network().formats().certainty == Certainty::Always, || "not certain".into())?;
    let samples = entry.samples(model, 0, 100).map_err(|e| e.to_string())?;
    let report = accuracy(model, &fixed, samples.iter().map(|(x, y)| (x, *y)), &mut random())?;
    expect(report.outside == 0 && report.agree >= 97, || report.to_string())
}

fn derived(model: Model) -> Result<(), Failed> {
    let fixed: FixedModel =
        quantise(&model, &Ranges::always(&model)?, &Options { bits: 20, ..Options::default() })?;
    let sent = fixed.network().formats().to_bytes();
    let derived = Network::new(&model.public, Formats::from_bytes(&sent)?)?;
    expect(derived == *fixed.network(), || "the client's network is another".into())?;
    // Four layers; both pools come before their ReLUs.
    let ops: Vec<&str> = derived.graph().nodes().iter().map(|n| n.op.name()).collect();
    let expected =
        ["Input", "Conv", "MaxPool", "Relu", "Conv", "MaxPool", "Relu", "Flatten", "Dense", "Relu", "Dense"];
    expect(ops == expected, || format!("{ops:?}"))?;
    let layers = (0..ops.len() as u32).filter_map(|i| derived.linear(WireId(i)));
    expect(layers.clone().count() == 4 && layers.clone().all(|f| f.norm2 > 0), || {
        "layers lack norms".into()
    })?;
    let nodes = derived.graph().nodes();
    expect(nodes.iter().all(|n| !matches!(n.op, Op::BatchNorm { .. })), || "norms are left".into())
}
