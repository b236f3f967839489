use super::Hybrid;
use super::simulator::{Compared, Simulator};
use oblivia_nn::fixed::{Calibration, Options, Ranges, publish};
use oblivia_nn::testing::{Build, random_input, random_relu_model};
use oblivia_nn::{Model, Op, OutputPolicy, WireId};
use oblivia_protocol::{System, Wish};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::Arc;

pub(super) fn pool() -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(2).build().unwrap()
}

/// The model with formats in fixed point, unless some sum has no scale.
pub(super) fn calibrated(mut model: Model, bits: u32, measured: bool) -> Option<Model> {
    let inputs: Vec<_> = (0..8).map(|seed| random_input(&model, 1000 + seed)).collect();
    let ranges = measured.then(|| Ranges::measured(&model, &inputs).unwrap());
    let options = Options { bits, weight_bits: 6, ..Options::default() };
    model.calibration = Some(Arc::new(Calibration { options, ranges, overflow: 0.01, error: None }));
    publish(&mut model).ok()?;
    Some(model)
}

/// What the parties opened is what the simulator computed, or the class that follows from it.
fn assert_opened(found: &Compared, simulator: &Simulator, output: OutputPolicy) {
    match output {
        OutputPolicy::Logits => assert!(found.equal(simulator.output_bits())),
        OutputPolicy::ArgMax => {
            let best = found.simulated.iter().max().unwrap();
            let class = found.simulated.iter().position(|v| v == best).unwrap();
            assert_eq!(found.private, [class as u64]);
        }
    }
}

/// Roundings, and images that were compared.
fn compare(model: &Model, images: u64) -> ([u64; 4], u64) {
    let pool = pool();
    let simulator = Simulator::new(model, &Wish::default(), &pool).unwrap();
    let (mut roundings, mut compared) = ([0; 4], 0);
    for image in 0..images {
        let input = random_input(model, image);
        let seed = [image as u8 + 1; 32];
        let found = simulator.compare(&input, &seed, &pool).unwrap();
        if found.outside == 0 {
            compared += 1;
            assert!(found.hidden_equal, "{:?}", model.public.graph);
            assert_opened(&found, &simulator, model.public.output);
        }
        roundings.iter_mut().zip(found.roundings).for_each(|(a, b)| *a += b);
    }
    (roundings, compared)
}

#[test]
fn two_parties_open_what_the_simulator_computes_on_random_networks() {
    let mut roundings = [0; 4];
    let (mut models, mut images) = (0, 0);
    for seed in 0..40 {
        let Some(model) = calibrated(random_relu_model(seed), 14 + (seed % 6) as u32, seed % 3 != 0) else {
            continue;
        };
        models += 1;
        let (found, compared) = compare(&model, 2);
        images += compared;
        roundings.iter_mut().zip(found).for_each(|(a, b)| *a += b);
    }
    assert!(models > 20 && 10 * images > 19 * models, "{models} models, {images} images");
    let [below, down, up, above] = roundings;
    assert!(down > 1000 && up > 1000 && below + above < (down + up) / 1000, "{roundings:?}");
}

/// Clip, a residual sum, groups and max-pool; its output; and a first branch from there, which ends in a ReLU.
pub(super) fn until_a_branch() -> (Build, WireId, WireId) {
    let mut b = Build::new(3, [2, 8, 8]);
    b.conv("c1", 4, [3, 3], [1, 1], [1; 4], 1, true);
    let clip = b.op("clip", Op::Clip { min: 0.0, max: 0.75 });
    b.conv("c2", 4, [3, 3], [1, 1], [1; 4], 2, true);
    b.add("sum", clip);
    b.op("relu", Op::Relu);
    let pool =
        oblivia_nn::Pool { kernel: [3, 3], stride: [2, 2], pads: [0, 0, 1, 1], count_include_pad: false };
    let pooled = b.op("max", Op::MaxPool(pool));
    let left = b.conv("left", 3, [1, 1], [1, 1], [0; 4], 1, true);
    let left_relu = b.push("left relu", Op::Relu, &[left]);
    (b, pooled, left_relu)
}

/// All of these, both kinds of pool and branches that are joined.
fn every_operator() -> Model {
    let (mut b, pooled, left_relu) = until_a_branch();
    b.push("again", Op::Identity, &[pooled]);
    let right = b.conv("right", 2, [3, 3], [1, 1], [1; 4], 1, true);
    let right_relu = b.push("right relu", Op::Relu, &[right]);
    b.push("joined", Op::Concat { count: 2 }, &[left_relu, right_relu]);
    b.op("mean", Op::GlobalAveragePool);
    b.op("flat", Op::Flatten);
    b.dense("logits", 4);
    b.finish()
}

#[test]
fn every_operator_is_walked_as_the_simulator_does_and_a_class_is_the_largest_output() {
    let mut model = calibrated(every_operator(), 18, true).unwrap();
    assert_eq!(compare(&model, 4).1, 4);
    model.public.output = OutputPolicy::ArgMax;
    assert_eq!(compare(&model, 4).1, 4);
}

#[test]
fn images_of_a_group_are_each_what_the_simulator_computes() {
    let pool = pool();
    for (images, output) in [(2, OutputPolicy::Logits), (3, OutputPolicy::ArgMax), (5, OutputPolicy::Logits)]
    {
        let mut model = calibrated(every_operator(), 18, true).unwrap();
        model.public.output = output;
        let wish = Wish { group: Some(images), ..Wish::default() };
        let simulator = Simulator::new(&model, &wish, &pool).unwrap();
        let inputs: Vec<_> = (0..u64::from(images)).map(|seed| random_input(&model, seed)).collect();
        let all = simulator.compare_group(&inputs, &[images as u8; 32], &pool).unwrap();
        assert_eq!(all.len(), images as usize);
        for found in &all {
            assert!(found.hidden_equal && found.outside == 0);
            assert_opened(found, &simulator, output);
        }
        assert!(all.iter().any(|found| found.simulated != all[0].simulated), "images differ");
        assert!(simulator.compare_group(&inputs[1..], &[1; 32], &pool).is_err());
    }
    for group in [0, 257] {
        let wish = Wish { group: Some(group), ..Wish::default() };
        let model = calibrated(every_operator(), 18, true).unwrap();
        let why = Hybrid.plan(&model.public, &wish).unwrap_err().to_string();
        assert!(why.contains("1 to 256 images"), "{why}");
    }
}

#[test]
fn models_without_formats_are_refused_with_what_to_do() {
    let why = Hybrid.plan(&every_operator().public, &Wish::default()).unwrap_err().to_string();
    assert!(why.contains("oblivia quantise"), "{why}");
}

#[test]
fn maxima_and_clips_of_the_input_itself_are_right_at_the_ends_of_its_range() {
    let pool = oblivia_nn::Pool { kernel: [2, 2], stride: [2, 2], pads: [0; 4], count_include_pad: false };
    for op in [Op::MaxPool(pool), Op::Clip { min: 0.0, max: 0.9 }] {
        let mut b = Build::new(3, [1, 4, 4]);
        b.op("first", op.clone());
        b.op("flat", Op::Flatten);
        let model = calibrated(b.finish(), 16, false).unwrap();
        let threads = self::pool();
        let simulator = Simulator::new(&model, &Wish::default(), &threads).unwrap();
        let ends = (0..16).map(|i| if i % 3 == 0 { 1.0 } else { -1.0 }).collect();
        let input = oblivia_nn::Tensor::new(model.public.graph.input_shape().clone(), ends).unwrap();
        let found = simulator.compare(&input, &[9; 32], &threads).unwrap();
        assert!(found.outside == 0 && found.equal(simulator.output_bits()));
        let float = oblivia_nn::eval::run(&model, &input).unwrap();
        let scale = simulator.fixed().network().formats().output_scale;
        for (v, f) in found.simulated.iter().zip(float.data()) {
            assert!((*v as f64 / scale - f64::from(*f)).abs() < 1e-3, "{op}: {v} for {f}");
        }
    }
}

#[test]
fn networks_too_large_to_derive_a_plan_for_are_refused_with_the_node() {
    let refused = |b: Build| {
        let mut model = b.finish();
        let layers = model.public.graph.nodes().iter();
        let layers = layers.filter(|n| matches!(n.op, Op::Conv(_) | Op::Dense { .. })).count();
        let layer =
            oblivia_nn::fixed::LinearFormat { bits: 16, shift: 8, weight_bits: 8, norm1: 400, norm2: 200 };
        model.public.fixed = Some(oblivia_nn::fixed::Formats {
            input_bits: 16,
            input_scale: 1.0,
            output_scale: 1.0,
            layers: vec![layer; layers],
            certainty: oblivia_nn::fixed::Certainty::Always,
        });
        Hybrid.plan(&model.public, &Wish::default()).unwrap_err().to_string()
    };
    let mut b = Build::new(1, [1, 1 << 14, 1]);
    b.op(
        "tall",
        Op::MaxPool(oblivia_nn::Pool {
            kernel: [1 << 14, 1],
            stride: [1, 1],
            pads: [0; 4],
            count_include_pad: false,
        }),
    );
    assert!(refused(b).contains("`tall`"));
    let mut b = Build::new(1, [1, 128, 128]);
    b.conv("wide", 1, [128, 128], [1, 1], [0; 4], 1, false);
    assert!(refused(b).contains("`wide`"));
    let mut b = Build::new(1, [16, 1024, 1024]);
    b.op("large", Op::Relu);
    assert!(refused(b).contains("values"));
}

#[test]
fn the_largest_output_counts_in_the_memory_that_a_plan_declares() {
    let mut b = Build::new(3, [4096, 1, 1]);
    b.op("flat", Op::Flatten);
    let mut model = calibrated(b.finish(), 16, false).unwrap();
    let beside_stocks = |model: &Model| {
        let plan = Hybrid.plan(&model.public, &Wish::default()).unwrap();
        let d = super::plan::derive(&model.public, &plan.choices).unwrap();
        let stocks = super::stock::memory(d.choices.supply, d.demand());
        [plan.work_memory_bytes, plan.client_memory_bytes].map(|bytes| bytes - stocks)
    };
    // Values, and 96 bytes for each that is compared.
    let compared = (8 + 96) * 4096;
    assert!(beside_stocks(&model).iter().all(|bytes| *bytes < compared));
    model.public.output = OutputPolicy::ArgMax;
    assert!(beside_stocks(&model).iter().all(|bytes| *bytes >= compared));
}
