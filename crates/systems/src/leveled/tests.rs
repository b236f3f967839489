//! Plans against the network they run, in clear slots and encrypted, without any link.

use super::plan::{derive, search};
use super::search::PLANS;
use oblivia_base::Prg;
use oblivia_he::ckks::{Decryptor, Encoder, Encryptor, Evaluator};
use oblivia_he::{EvaluationKeys, SecretKey};
use oblivia_nn::{
    Conv, Graph, InputSpec, Model, Op, OutputPolicy, PublicModel, Shape, Tensor, Weights, eval, pass,
};
use oblivia_pack::{CkksPlain, CkksSlots, ClearSlots};
use oblivia_protocol::{Leak, Wish};
use std::sync::Arc;

/// Values in [−1, 1) from a label, the same every time.
fn values(label: &str, n: usize, scale: f32) -> Vec<f32> {
    use rand_core::Rng;
    let mut prg = Prg::new(&[7; 32], "test values", &[label.as_bytes()]);
    (0..n).map(|_| (f64::from(prg.next_u32()) / f64::from(1u32 << 31) - 1.0) as f32 * scale).collect()
}

/// A network of the CryptoNets shape with random weights, bounds measured on `inputs`.
pub(super) fn network(size: usize, maps: usize, hidden: usize, outputs: usize) -> (Model, Vec<Tensor>) {
    let shape = Shape::new([1, size, size]).unwrap();
    let mut g = Graph::new("image", shape.clone());
    let mut tensors = Vec::new();
    let mut weight = |g: &mut Graph, name: &str, dims: &[usize], scale: f32| {
        let shape = Shape::new(dims.to_vec()).unwrap();
        tensors.push(Tensor::new(shape.clone(), values(name, shape.elements(), scale)).unwrap());
        g.weight(name, shape).unwrap()
    };
    let w = weight(&mut g, "conv.w", &[maps, 1, 5, 5], 0.3);
    let b = weight(&mut g, "conv.b", &[maps], 0.2);
    let conv = Conv {
        out_channels: maps,
        kernel: [5; 2],
        stride: [2; 2],
        pads: [1, 1, 0, 0],
        groups: 1,
        weight: w,
        bias: Some(b),
    };
    let x = g.push("conv", Op::Conv(conv), &[g.input()]).unwrap();
    let x = g.push("square1", Op::Square, &[x]).unwrap();
    let x = g.push("flat", Op::Flatten, &[x]).unwrap();
    let flat = g.fact(x).unwrap().shape.elements();
    let w = weight(&mut g, "d1.w", &[hidden, flat], 0.08);
    let b = weight(&mut g, "d1.b", &[hidden], 0.5);
    let x = g.push("dense1", Op::Dense { out: hidden, weight: w, bias: Some(b) }, &[x]).unwrap();
    let x = g.push("square2", Op::Square, &[x]).unwrap();
    let w = weight(&mut g, "d2.w", &[outputs, hidden], 0.5);
    g.push("logits", Op::Dense { out: outputs, weight: w, bias: None }, &[x]).unwrap();
    let weights = Weights::new(&g, tensors).unwrap();
    let inputs: Vec<Tensor> = (0..3)
        .map(|i| {
            let v = values(&format!("input {i}"), size * size, 1.0).iter().map(|v| v.abs()).collect();
            Tensor::new(shape.clone(), v).unwrap()
        })
        .collect();
    let max = eval::max_abs(&g, &weights, inputs.iter()).unwrap();
    for (i, m) in max.iter().enumerate() {
        g.set_bound(oblivia_nn::WireId(i as u32), 1.5 * f64::from(*m)).unwrap();
    }
    let public = PublicModel {
        name: "test".into(),
        graph: g,
        labels: Vec::new(),
        input: InputSpec::Tensor,
        input_range: [0.0, 1.0],
        output: OutputPolicy::Logits,
        fixed: None,
    };
    let mut model = Model { public, weights, calibration: None };
    pass::publish_row_norms(&mut model).unwrap();
    (model, inputs)
}

/// Plans of a network: name, choices derived.
fn plans(model: &Model) -> Vec<(&'static str, oblivia_protocol::Plan)> {
    let wish = |name: &str| Wish { plan: Some(name.into()), ..Wish::default() };
    PLANS.iter().filter_map(|&name| Some((name, search(&model.public, &wish(name)).ok()?))).collect()
}

#[test]
fn in_clear_slots_every_plan_computes_the_network_and_fills_no_other_slot_unless_it_says_so() {
    for (size, maps, hidden, outputs) in [(28, 5, 100, 10), (12, 3, 20, 4), (16, 2, 7, 1)] {
        let (model, inputs) = network(size, maps, hidden, outputs);
        let plans = plans(&model);
        assert!(plans.len() >= 2);
        for (name, plan) in plans {
            let d = derive(&model.public, &plan.choices).unwrap();
            println!("{name} {size} {maps} {hidden} {outputs}: {:?} keys {}", plan.cost.ops, plan.key_bytes);
            d.circuit.describe().iter().for_each(|s| println!("    {s}"));
            let plains = d.circuit.plains(&model.weights);
            let slots = d.params.slots();
            for x in &inputs {
                let mut vectors = d.circuit.encode(x);
                vectors.iter_mut().for_each(|v| v.resize(slots, 0.0));
                let y = d.circuit.run(&mut ClearSlots::new(slots), &vectors, &plains).unwrap();
                let expected = eval::run(&model, x).unwrap();
                let out = d.circuit.decode(&y);
                for (a, b) in out.iter().zip(expected.data()) {
                    let close = (a - f64::from(*b)).abs() < 1e-4 * f64::from(expected.max_abs());
                    assert!(close, "{name}: {a} {b}");
                }
                let norm = d.circuit.output_bound();
                let same = |v: f64| v == 0.0 || out.iter().any(|o| (o - v * norm).abs() < 1e-9 * norm);
                let stray = y.iter().flatten().filter(|&&v| !same(v)).count();
                let says = plan.leaks.iter().any(|l| l.leak == Leak::PartialSums);
                assert_eq!(stray > 0, says, "{name}: {stray} slots hold something else");
            }
        }
    }
}

#[test]
fn encrypted_every_plan_stays_within_its_declared_error_and_does_the_declared_operations() {
    let (model, inputs) = network(28, 5, 100, 10);
    for (name, plan) in plans(&model) {
        let d = derive(&model.public, &plan.choices).unwrap();
        let mut rng = Prg::new(&[9; 32], "test", &[]);
        let sk = SecretKey::generate(&d.params, &mut rng);
        let keys = EvaluationKeys::generate(&sk, &d.keys, b"", &mut rng).unwrap();
        assert_eq!(keys.to_bytes().len() as u64, plan.key_bytes);
        let evaluator = Evaluator::new(Arc::new(keys));
        let (encoder, encryptor) = (Encoder::new(&d.params), Encryptor::new(&d.params));
        let plains: Vec<CkksPlain> = d
            .circuit
            .plains(&model.weights)
            .iter()
            .zip(&d.plains)
            .map(|(p, at)| CkksPlain::prepare(&encoder, p, *at).unwrap())
            .collect();
        for x in &inputs {
            let encrypt = |v: Vec<f64>| {
                let pt = encoder.encode(&v, d.params.max_level(), d.circuit.input_scale().0).unwrap();
                encryptor.encrypt_symmetric(&sk, &pt, &mut rng).unwrap()
            };
            let cts: Vec<_> = d.circuit.encode(x).into_iter().map(encrypt).collect();
            let start = std::time::Instant::now();
            let y = d.circuit.run(&mut CkksSlots::new(&evaluator), &cts, &plains).unwrap();
            let time = start.elapsed();
            assert_eq!(evaluator.take_counts(), plan.cost.ops, "{name}");
            let open = |y| encoder.decode(&Decryptor::new(&sk).decrypt(y).unwrap()).unwrap();
            let slots: Vec<Vec<f64>> = y.iter().map(open).collect();
            let expected = eval::run(&model, x).unwrap();
            let out = d.circuit.decode(&slots);
            let worst =
                out.iter().zip(expected.data()).map(|(a, b)| (a - f64::from(*b)).abs()).fold(0.0, f64::max);
            println!("{name}: {time:?} error {worst:.5}, declared {:.5}", d.error);
            assert!(worst <= d.error && worst > 0.0, "{worst} against {}", d.error);
        }
    }
}

#[test]
fn lola_runs_its_published_operations_on_the_published_network_and_refuses_others_with_the_reason() {
    let wish = Wish { plan: Some("lola".into()), ..Wish::default() };
    let (model, _) = network(28, 5, 100, 10);
    let plan = search(&model.public, &wish).unwrap();
    let ops = plan.cost.ops;
    assert_eq!(ops.rotations + ops.hoisted, 283);
    assert_eq!(ops.rotations + ops.hoisted + ops.ct_mul + ops.pt_mul + ops.scalar_mul + ops.add, 877);
    let d = derive(&model.public, &plan.choices).unwrap();
    assert_eq!((d.params.n(), d.params.max_level(), d.circuit.output_vectors()), (16384, 7, 10));
    // Too many values for 8192 slots take all 16384.
    let (wide, _) = network(60, 10, 20, 4);
    let ops = search(&wide.public, &wish).unwrap().cost.ops;
    assert_eq!(ops.rotations + ops.hoisted, 9 + 14 * 20 + 19 + 14 * 4, "one copy: a product per row");
    // No second dense layer.
    let mut g = Graph::new("x", Shape::new([16]).unwrap());
    let w = g.weight("w", Shape::new([4, 16]).unwrap()).unwrap();
    let x = g.push("dense", Op::Dense { out: 4, weight: w, bias: None }, &[g.input()]).unwrap();
    (0..2).for_each(|i| g.set_bound(oblivia_nn::WireId(i), 1.0).unwrap());
    g.set_row_norm(x, 1.0).unwrap();
    let public = PublicModel { graph: g, ..model.public };
    let error = search(&public, &wish).unwrap_err().to_string();
    assert!(error.contains("convolution – square – dense – square – dense"), "{error}");
}
