//! Groups of samples against the network they run: in clear slots, counted, and encrypted, without any link.

use super::super::plan::search;
use super::super::random_tests::{Build, random};
use super::super::tests::network;
use super::plan::derive;
use super::{BATCH, client, server, wire};
use oblivia_base::{Prg, Secret};
use oblivia_he::ckks::Evaluator;
use oblivia_he::{EvaluationKeys, SecretKey};
use oblivia_nn::{Model, Op, Pool, Tensor, WireId, eval, pass};
use oblivia_pack::ClearSlots;
use oblivia_protocol::{Error, Plan, Wish};
use std::sync::Arc;

fn plan_of(model: &Model) -> Result<Plan, Error> {
    search(&model.public, &Wish { mode: Some(BATCH.into()), ..Wish::default() })
}

fn pool() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap()
}

/// Runs both seats on one group and compares every output, the operations and the bytes with what the plan says.
fn compare(name: &str, model: &Model, inputs: &[Tensor]) {
    let plan = plan_of(model).unwrap_or_else(|e| panic!("{name}: {e}"));
    let pool = pool();
    let there = server::Prepared::new(&plan, model, &pool).unwrap();
    let d = derive(&model.public, &plan.choices).unwrap();
    let mut rng = Prg::new(&[9; 32], "test", &[]);
    let sk = SecretKey::generate(&d.params, &mut rng);
    let keys = EvaluationKeys::generate(&sk, &d.keys, b"keys", &mut rng).unwrap();
    assert_eq!(keys.to_bytes().len() as u64, plan.key_bytes);
    let evaluator = Evaluator::new(Arc::new(keys));
    let here = client::Seat::new(&d, &model.public, &sk);
    let samples: Vec<Option<&[f32]>> = inputs.iter().map(|x| Some(x.data())).collect();
    let mut bytes = 0;
    let mut xs = Vec::new();
    for part in d.inputs.ranges() {
        let body =
            pool.install(|| here.encrypt(&samples, part.clone(), b"label", &Secret::new([3; 32]))).unwrap();
        assert_eq!(body.len(), part.len() * d.inputs.bytes);
        bytes += 12 + body.len() as u64;
        xs.extend(pool.install(|| there.expand(part.len(), b"label", &body)).unwrap());
    }
    assert_eq!(bytes, plan.cost.online.up_bytes);
    let start = std::time::Instant::now();
    let ys = pool.install(|| there.predict(&evaluator, xs)).unwrap();
    println!("{name}: {} images at most, {:?} on two threads", plan.cost.group, start.elapsed());
    plan.steps.iter().for_each(|s| println!("    {s}"));
    assert_eq!(evaluator.take_counts(), plan.cost.ops, "{name}");
    let body = wire::write_output(&d, &ys);
    assert_eq!(body.len(), d.outputs.total_bytes());
    let slots = here.decrypt(&wire::read_output(&d, ys.len(), &body).unwrap()).unwrap();
    let mut worst = 0f64;
    for (i, x) in inputs.iter().enumerate() {
        let expected = eval::run(model, x).unwrap();
        let found = here.answer(&slots, i).unwrap();
        assert_eq!(found.shape(), expected.shape());
        for (a, b) in found.data().iter().zip(expected.data()) {
            worst = worst.max(f64::from((a - b).abs()));
        }
    }
    println!("    error {worst:.6}, declared {:.6}", d.error);
    assert!(worst <= d.error && worst > 0.0, "{name}: {worst} against {}", d.error);
}

/// Inputs between two, as many as asked for.
fn between([a, b]: [&Tensor; 2], n: usize) -> Vec<Tensor> {
    let mix = |t: f32| a.data().iter().zip(b.data()).map(|(a, b)| a * t + b * (1.0 - t)).collect();
    (0..n).map(|i| Tensor::new(a.shape().clone(), mix(i as f32 / n as f32)).unwrap()).collect()
}

#[test]
fn an_encrypted_group_of_the_cryptonets_network_is_within_the_declared_error_on_every_sample() {
    let (model, inputs) = network(28, 5, 100, 10);
    compare("cryptonets", &model, &between([&inputs[0], &inputs[1]], 300));
}

#[test]
fn encrypted_groups_of_random_networks_are_within_the_declared_error_and_do_the_declared_operations() {
    for seed in [0, 1, 2, 4, 5, 7, 8, 10] {
        let (model, inputs) = random(seed);
        compare(&format!("random {seed}"), &model, &inputs);
    }
}

/// Averages that overlap, that are merged into what follows, and that cover everything; groups of channels; a sum of two
/// branches; constants.
pub(super) fn composite() -> (Model, Vec<Tensor>) {
    let mut b = Build::new(77, [2, 8, 8]);
    b.conv(4, 3, 1, [1, 1, 1, 1], 2);
    let pool = |kernel, stride| {
        let (kernel, stride) = ([kernel; 2], [stride; 2]);
        Op::AveragePool(Pool { kernel, stride, pads: [0; 4], count_include_pad: false })
    };
    b.push(Op::Square);
    // Overlaps: on its own.
    b.push(pool(2, 1));
    let skip = b.at;
    b.conv(4, 3, 1, [1, 1, 1, 1], 1);
    let other = b.at;
    b.at = skip;
    b.conv(4, 1, 1, [0; 4], 4);
    b.at = b.graph.push("sum", Op::Add, &[b.at, other]).unwrap();
    let value = b.weight(&[4]);
    b.push(Op::AddConst { value });
    // 7 × 7, tiled by one window: merged into the dense layer.
    b.push(Op::GlobalAveragePool);
    b.dense(3);
    b.finish()
}

#[test]
fn an_encrypted_group_of_a_network_with_every_kind_of_layer_is_within_the_declared_error() {
    let (model, inputs) = composite();
    compare("composite", &model, &inputs);
}

#[test]
fn in_clear_slots_a_group_computes_the_network_of_every_sample() {
    let nets = (0..50).map(|seed| (format!("random {seed}"), random(seed)));
    for (name, (model, inputs)) in nets.chain([("composite".into(), composite())]) {
        let plan = plan_of(&model).unwrap_or_else(|e| panic!("{name}: {e}"));
        let d = derive(&model.public, &plan.choices).unwrap();
        let plains = d.program.plains(&model.weights);
        assert_eq!(plains.len(), d.plains.len());
        let norm = d.program.network().input_norm;
        let element = |e: usize| inputs.iter().map(|x| f64::from(x.data()[e]) / norm).collect::<Vec<_>>();
        let xs: Vec<_> = (0..d.inputs.all).map(element).collect();
        let ys = d.program.run(&mut ClearSlots::new(inputs.len()), xs, &plains).unwrap();
        for (i, x) in inputs.iter().enumerate() {
            let expected = eval::run(&model, x).unwrap();
            for (y, b) in ys.iter().zip(expected.data()) {
                let a = y[i] * d.program.output_norm();
                let close = (a - f64::from(*b)).abs() < 1e-4 * f64::from(expected.max_abs());
                assert!(close, "{name}: {a} {b} by {:#?}", d.program.describe());
            }
        }
    }
}

#[test]
fn what_a_batch_cannot_run_is_refused_by_its_name() {
    let mut b = Build::new(3, [1, 8, 8]);
    b.conv(2, 3, 1, [0; 4], 1);
    b.at = b.graph.push("activation_1", Op::Relu, &[b.at]).unwrap();
    b.dense(3);
    let error = plan_of(&b.finish().0).unwrap_err().to_string();
    assert!(error.contains("activation_1") && error.contains("Relu"), "{error}");
    // A window of nothing but padding.
    let mut b = Build::new(4, [1, 2, 2]);
    b.conv(2, 2, 2, [2, 2, 0, 0], 1);
    b.dense(3);
    let error = plan_of(&b.finish().0).unwrap_err().to_string();
    assert!(error.contains("Conv1") && error.contains("padding"), "{error}");
    let (model, _) = network(12, 3, 20, 4);
    let wish = Wish { mode: Some(BATCH.into()), plan: Some("packed".into()), ..Wish::default() };
    let error = search(&model.public, &wish).unwrap_err().to_string();
    assert!(error.contains("packed") && error.contains("planned"), "{error}");
}

#[test]
fn a_server_with_less_memory_than_a_group_takes_refuses() {
    let (model, _) = network(12, 3, 20, 4);
    let plan = plan_of(&model).unwrap();
    let memory = plan.session_memory_bytes + plan.work_memory_bytes;
    assert!(plan.work_memory_bytes > 0 && plan.client_memory_bytes > 0);
    let with = |max: u64| {
        search(&model.public, &Wish { mode: Some(BATCH.into()), max_memory: Some(max), ..Wish::default() })
    };
    assert_eq!(with(memory).unwrap().digest(), plan.digest());
    let error = with(memory - 1).unwrap_err().to_string();
    assert!(error.contains("--max-memory") && error.contains(&memory.to_string()), "{error}");
}

#[test]
fn slots_without_a_sample_and_samples_that_do_not_fit_are_filled_from_within_the_published_range() {
    let (mut model, inputs) = network(12, 3, 20, 4);
    model.public.input_range = [0.5, 1.0];
    let plan = plan_of(&model).unwrap();
    let d = derive(&model.public, &plan.choices).unwrap();
    let mut rng = Prg::new(&[9; 32], "test", &[]);
    let sk = SecretKey::generate(&d.params, &mut rng);
    let here = client::Seat::new(&d, &model.public, &sk);
    let body = here.encrypt(&[None, Some(inputs[0].data())], 0..1, b"", &Secret::new([3; 32])).unwrap();
    let cts = wire::read_input(&d, 1, &body, |ct| ct.into_expanded(&d.params, b"")).unwrap();
    let slots = here.decrypt(&cts).unwrap().remove(0);
    for (i, expected) in [(0, 0.5), (1, f64::from(inputs[0].data()[0])), (2, 0.5), (8191, 0.5)] {
        assert!((slots[i] - expected).abs() < 1e-4, "slot {i} holds {}", slots[i]);
    }
}

#[test]
fn a_quadratic_activation_runs_after_its_square_is_completed() {
    let mut b = Build::new(12, [6, 0, 0]);
    b.dense(5);
    let x = b.at;
    let square = b.graph.push("square", Op::Square, &[x]).unwrap();
    let tenth = b.weight(&[1]);
    let scaled = b.graph.push("scaled", Op::MulConst { value: tenth }, &[x]).unwrap();
    b.at = b.graph.push("activation", Op::Add, &[square, scaled]).unwrap();
    b.dense(2);
    let (model, inputs) = b.finish();
    let mut model = pass::fold(&pass::complete_square(&model).unwrap()).unwrap();
    let max = eval::max_abs(&model.public.graph, &model.weights, inputs.iter()).unwrap();
    for (i, m) in max.iter().enumerate() {
        model.public.graph.set_bound(WireId(i as u32), 1.5 * f64::from(*m).max(1e-3)).unwrap();
    }
    pass::publish_row_norms(&mut model).unwrap();
    compare("quadratic", &model, &inputs);
}
