//! Networks with weights that are zero: what is left out where that is published, and that nothing is where it is not.

use super::plan::{Derived, derive, search};
use super::random_tests::random;
use super::search::price;
use super::tests::network;
use oblivia_base::Prg;
use oblivia_base::codec::Encode;
use oblivia_he::ckks::{Decryptor, Encoder, Encryptor, Evaluator};
use oblivia_he::{EvaluationKeys, SecretKey};
use oblivia_nn::{Model, Tensor, Weights, WireId, eval, pass};
use oblivia_pack::{CkksPlain, CkksSlots, ClearSlots};
use oblivia_protocol::{Leak, LeakStatement, OpCounts, Plan, Role, Wish};
use std::sync::Arc;

/// Says of a weight whether it stays: its tensor and its index by axis.
type Keep<'a> = &'a dyn Fn(usize, &[usize]) -> bool;

/// `model` with zeros among the weights of its linear layers, bounds measured anew, the zeros not published.
pub(super) fn pruned(model: &Model, inputs: &[Tensor], keep: Keep<'_>) -> Model {
    let zeroed = |(id, t): (usize, &Tensor)| {
        let dims = t.shape().dims();
        let index = |mut i: usize| {
            let mut at: Vec<usize> = dims.iter().rev().map(|d| (i % d, i /= d).0).collect();
            at.reverse();
            at
        };
        let stays = |i: usize| dims.len() < 2 || keep(id, &index(i));
        let values = t.data().iter().enumerate().map(|(i, &v)| if stays(i) { v } else { 0.0 });
        Tensor::new(t.shape().clone(), values.collect()).unwrap()
    };
    let tensors = model.weights.tensors().iter().enumerate().map(zeroed).collect();
    let mut public = model.public.clone();
    let weights = Weights::new(&public.graph, tensors).unwrap();
    let max = eval::max_abs(&public.graph, &weights, inputs.iter()).unwrap();
    for (i, m) in max.iter().enumerate() {
        public.graph.set_bound(WireId(i as u32), 1.5 * f64::from(*m).max(1e-3)).unwrap();
    }
    let mut model = Model { public, weights, calibration: None };
    pass::publish_row_norms(&mut model).unwrap();
    model
}

/// The same with zeros published.
pub(super) fn published(model: &Model) -> Model {
    let mut model = model.clone();
    pass::publish_zeros(&mut model).unwrap();
    model
}

/// Kernels lose all but their inner cells, matrices every other row, and every other row and column of the maps they read.
pub(super) fn every_other(_: usize, at: &[usize]) -> bool {
    match *at {
        [_, _, y, x] => (1..4).contains(&y) && (1..4).contains(&x),
        [row, column, ..] => row % 2 == 0 && column % 2 == 0,
        _ => true,
    }
}

/// The outputs of encrypted samples at the cost declared, every one of them within the error declared.
fn check_encrypted(model: &Model, inputs: &[Tensor], plan: &Plan) -> Derived {
    let d = derive(&model.public, &plan.choices).unwrap();
    let mut rng = Prg::new(&[9; 32], "test", &[]);
    let sk = SecretKey::generate(&d.params, &mut rng);
    let keys = EvaluationKeys::generate(&sk, &d.keys, b"", &mut rng).unwrap();
    let evaluator = Evaluator::new(Arc::new(keys));
    let (encoder, encryptor) = (Encoder::new(&d.params), Encryptor::new(&d.params));
    let prepare = |(p, at): (&_, &_)| CkksPlain::prepare(&encoder, p, *at).unwrap();
    let plains: Vec<CkksPlain> =
        d.circuit.plains(&model.weights).iter().zip(&d.plains).map(prepare).collect();
    for x in inputs {
        let encrypt = |v: Vec<f64>| {
            let pt = encoder.encode(&v, d.params.max_level(), d.circuit.input_scale().0).unwrap();
            encryptor.encrypt_symmetric(&sk, &pt, &mut rng).unwrap()
        };
        let cts: Vec<_> = d.circuit.encode(x).into_iter().map(encrypt).collect();
        let y = d.circuit.run(&mut CkksSlots::new(&evaluator), &cts, &plains).unwrap();
        assert_eq!(evaluator.take_counts(), plan.cost.ops, "{:#?}", d.circuit.describe());
        let open = |y| encoder.decode(&Decryptor::new(&sk).decrypt(y).unwrap()).unwrap();
        let slots: Vec<Vec<f64>> = y.iter().map(open).collect();
        for (a, b) in d.circuit.decode(&slots).iter().zip(eval::run(model, x).unwrap().data()) {
            let error = (a - f64::from(*b)).abs();
            assert!(error <= d.error, "{a} {b}, error at most {}: {:#?}", d.error, d.circuit.describe());
        }
    }
    d
}

/// The outputs in clear slots.
fn clear(model: &Model, d: &Derived, x: &Tensor) -> Vec<f64> {
    let slots = d.params.slots();
    let mut vectors = d.circuit.encode(x);
    vectors.iter_mut().for_each(|v| v.resize(slots, 0.0));
    let plains = d.circuit.plains(&model.weights);
    d.circuit.decode(&d.circuit.run(&mut ClearSlots::new(slots), &vectors, &plains).unwrap())
}

fn rotations(ops: OpCounts) -> u64 {
    ops.rotations + ops.hoisted
}

fn sparsity(plan: &Plan) -> Vec<&LeakStatement> {
    plan.leaks.iter().filter(|l| l.leak == Leak::Sparsity).collect()
}

#[test]
fn random_networks_with_published_zeros_give_the_same_results_for_no_more_than_without() {
    let mut fewer = 0;
    for seed in 0..20u64 {
        let (model, inputs) = random(seed);
        let hash = |id: usize, at: &[usize]| {
            let i = at.iter().fold(id + seed as usize, |h, i| {
                h.wrapping_mul(31).wrapping_add(*i).wrapping_mul(0x9e37_79b9)
            });
            (i >> 7) % 5 == 0
        };
        let keep: [Keep<'_>; 4] = [
            &hash,
            &|_, at| at.last().is_some_and(|i| i % 3 == 1) || at.last() == Some(&0),
            &|_, at| (at[0] + at[1]).is_multiple_of(2),
            &|_, at| at[0].is_multiple_of(2),
        ];
        let closed = pruned(&model, &inputs, keep[seed as usize % 4]);
        let open = published(&closed);
        let dense = search(&closed.public, &Wish::default()).unwrap_or_else(|e| panic!("{seed}: {e}"));
        // By the same choices.
        let all = derive(&closed.public, &dense.choices).unwrap();
        let few = derive(&open.public, &dense.choices).unwrap();
        assert!(few.ops.pt_mul <= all.ops.pt_mul && rotations(few.ops) <= rotations(all.ops));
        assert!(few.ops.ntt <= all.ops.ntt && few.error <= all.error && few.predicted_us <= all.predicted_us);
        fewer += usize::from(few.ops.pt_mul < all.ops.pt_mul);
        for x in &inputs {
            let bound = 1e-9 * all.circuit.output_bound();
            for (a, b) in clear(&closed, &all, x).iter().zip(clear(&open, &few, x)) {
                assert!((a - b).abs() <= bound, "{seed}: {a} {b}");
            }
        }
        // By its own.
        let plan = search(&open.public, &Wish::default()).unwrap_or_else(|e| panic!("{seed}: {e}"));
        check_encrypted(&open, &inputs[..1], &plan);
        assert_eq!((sparsity(&plan).len(), sparsity(&dense).len()), (1, 0));
    }
    assert!(fewer > 8, "{fewer} of 20 networks have a diagonal of zeros");
}

#[test]
fn a_pruned_network_whose_diagonals_vanish_is_planned_cheaper_within_its_error() {
    let (model, inputs) = network(28, 5, 100, 10);
    let closed = pruned(&model, &inputs, &every_other);
    let open = published(&closed);
    for name in ["planned", "fewest-rotations", "packed", "diagonal"] {
        let wish = Wish { plan: Some(name.into()), ..Wish::default() };
        let [few, all] = [&open, &closed].map(|m| search(&m.public, &wish).unwrap());
        let [d, dense] =
            [(&open, &few), (&closed, &all)].map(|(m, p)| derive(&m.public, &p.choices).unwrap());
        let shown = |p: &Plan, d: &Derived| {
            let ops = p.cost.ops;
            (rotations(ops), ops.pt_mul, ops.ntt, p.predicted_us, p.key_bytes, price(d).round(), d.error)
        };
        println!("{name}: {:?}\n    without zeros known: {:?}", shown(&few, &d), shown(&all, &dense));
        d.circuit.describe().iter().for_each(|s| println!("    {s}"));
        assert!(few.cost.ops.pt_mul < all.cost.ops.pt_mul && few.predicted_us < all.predicted_us, "{name}");
        assert!(price(&d) < price(&dense), "{name}");
        assert!(few.steps.iter().filter(|s| s.contains("that are not all zero")).count() > 1);
        assert!(all.steps.iter().all(|s| !s.contains("zero")));
        check_encrypted(&open, &inputs[..2], &few);
    }
}

#[test]
fn a_plan_says_that_zeros_are_known_exactly_if_they_are_published_whatever_it_does_with_them() {
    let (model, inputs) = network(12, 3, 20, 4);
    let closed = pruned(&model, &inputs, &every_other);
    // Without a zero, that is what is published.
    for model in [&closed, &model] {
        for name in ["planned", "lola"] {
            let wish = Wish { plan: Some(name.into()), ..Wish::default() };
            let plan = search(&published(model).public, &wish).unwrap();
            let [leak] = sparsity(&plan)[..] else { panic!("{:?}", plan.leaks) };
            assert_eq!((leak.to, leak.leak.needs_acceptance()), (Role::Client, false));
            assert!(sparsity(&search(&model.public, &wish).unwrap()).is_empty());
        }
    }
}

#[test]
fn zeros_that_are_not_published_change_no_byte_of_model_and_plan() {
    let (model, inputs) = network(12, 3, 20, 4);
    let with = pruned(&model, &inputs, &every_other);
    let mut tensors = with.weights.tensors().to_vec();
    // Too small to change a published figure.
    for v in tensors.iter_mut().flat_map(|t| t.data_mut()).filter(|v| **v == 0.0) {
        *v = f32::MIN_POSITIVE;
    }
    let mut without = Model {
        weights: Weights::new(&with.public.graph, tensors).unwrap(),
        public: with.public.clone(),
        calibration: None,
    };
    pass::publish_row_norms(&mut without).unwrap();
    assert_eq!(with.public.to_bytes(), without.public.to_bytes());
    let plans = [&with, &without].map(|m| search(&m.public, &Wish::default()).unwrap());
    assert_eq!(plans[0], plans[1]);
    let d = derive(&with.public, &plans[0].choices).unwrap();
    assert_eq!(d.circuit.plains(&with.weights).len(), d.circuit.plains(&without.weights).len());
    let open = search(&published(&with).public, &Wish::default()).unwrap();
    assert!(open.predicted_us < plans[0].predicted_us);
}

#[test]
fn layers_of_zeros_alone_give_their_bias_beside_another_path_and_are_refused_without_one() {
    let (model, inputs) = network(12, 3, 20, 4);
    for (id, name) in [(0, "conv"), (2, "dense1"), (4, "logits")] {
        let dead = published(&pruned(&model, &inputs, &|of, _| of != id));
        let error = search(&dead.public, &Wish::default()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("all its weights are zero"), "{error}");
    }
    // x² + conv(x²) without a convolution.
    let mut found = 0;
    for seed in 0..60 {
        let (model, inputs) = random(seed);
        if model.public.graph.nodes().iter().any(|n| n.name == "sum") {
            let closed = pruned(&model, &inputs, &|id, _| id != 2);
            let open = published(&closed);
            match [&open, &closed].map(|m| search(&m.public, &Wish::default())) {
                [Ok(plan), Ok(_)] => {
                    check_encrypted(&open, &inputs[..1], &plan);
                    found += 1;
                }
                // Some of these networks are too deep, zeros or not.
                [Err(a), Err(b)] => assert_eq!(a.to_string(), b.to_string()),
                [a, b] => panic!("{seed}: {:?} {:?}", a.err(), b.err()),
            }
        }
    }
    assert!(found > 2, "{found} networks");
}

#[test]
fn weights_that_are_not_the_zeros_that_were_published_are_not_loaded() {
    let (model, inputs) = network(12, 3, 20, 4);
    let open = published(&pruned(&model, &inputs, &every_other));
    let plan = search(&open.public, &Wish::default()).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert!(super::server::Prepared::new(&plan, &open, &pool).is_ok());
    let other = Model { public: open.public, weights: model.weights, calibration: None };
    let error = super::server::Prepared::new(&plan, &other, &pool).err().unwrap().to_string();
    assert!(error.contains("published as zero"), "{error}");
}
