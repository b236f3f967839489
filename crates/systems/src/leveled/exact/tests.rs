//! Encrypted results against the integer network, every output, without any link.

use super::super::plan::search;
use super::super::tests::network;
use super::super::zeros_tests::{every_other, pruned, published};
use super::choices::ExactChoices;
use super::plan::derive;
use super::{EXACT, PRIVATE, client, server, wire};
use crate::common::keys::KeyMaker;
use oblivia_base::codec::{Decode, Encode};
use oblivia_base::{Prg, Secret};
use oblivia_he::SecretKey;
use oblivia_nn::quant::{IntegerModel, quantise};
use oblivia_nn::{Model, Tensor};
use oblivia_protocol::{Leak, Plan, Wish};

fn plan(model: &Model, mode: &str, plan: Option<&str>) -> Plan {
    let wish = Wish { mode: Some(mode.into()), plan: plan.map(str::to_owned), ..Wish::default() };
    search(&model.public, &wish).unwrap()
}

fn pool() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap()
}

/// Runs both seats and compares every output, the operations and the bytes with what they should be.
fn compare(model: &Model, inputs: &[Tensor], plan: &Plan) {
    let prepared = server::Prepared::new(plan, model, &pool()).unwrap();
    let d = derive(&model.public, &plan.choices).unwrap();
    plan.steps.iter().for_each(|s| println!("    {s}"));
    println!("    {} up {:?}", plan.parameters, plan.cost);
    let mut rng = Prg::new(&[9; 32], "test", &[]);
    let maker = wire::key_terms(&d, plan).unwrap().maker;
    let sk = SecretKey::generate(maker.params(), &mut rng);
    let bytes = maker.make(&sk, b"keys", &mut rng).unwrap();
    assert_eq!(bytes.len() as u64, plan.key_bytes);
    assert!(maker.read(b"other", &bytes[1..]).is_err());
    let keys = maker.read(b"keys", &bytes).unwrap();
    let here = client::Seat::new(&d, &model.public, &sk).unwrap();
    let there = server::Seat::new(&prepared, &keys);
    let integers = IntegerModel::new(model, &d.scales).unwrap();
    for (i, x) in inputs.iter().enumerate() {
        let label = [i as u8];
        let body = here.encrypt(x, &label, &Secret::new([3; 32])).unwrap();
        assert_eq!(body.len(), d.input_bytes);
        let start = std::time::Instant::now();
        let reply = there.predict(&label, &body, &Secret::new([4; 32])).unwrap();
        println!("    {:?} on one thread", start.elapsed());
        assert_eq!(there.take_counts(), plan.cost.ops);
        assert_eq!(reply.len(), d.output_bytes);
        let found = here.integers(&wire::read_output(&d, &reply).unwrap()).unwrap();
        let expected = integers.run(&quantise(x, d.scales.input, model.public.input_range)).unwrap();
        assert_eq!(found, expected, "sample {i}");
        assert!(expected.iter().any(|v| *v != 0));
        // Another sample's label gives other masks.
        let other = there.predict(b"other", &body, &Secret::new([4; 32])).unwrap();
        assert_ne!(here.integers(&wire::read_output(&d, &other).unwrap()).unwrap(), expected);
        there.take_counts();
    }
}

#[test]
fn exact_results_are_the_integer_networks_bit_by_bit() {
    let (model, inputs) = network(28, 5, 100, 10);
    compare(&model, &inputs, &plan(&model, EXACT, None));
}

#[test]
fn flooded_results_are_the_integer_networks_bit_by_bit() {
    let (model, inputs) = network(28, 5, 100, 10);
    let plan = plan(&model, PRIVATE, None);
    assert!(plan.steps.iter().any(|s| s.contains("2^-40")));
    compare(&model, &inputs[..1], &plan);
}

#[test]
fn every_layout_gives_the_integer_networks_results() {
    let (model, inputs) = network(12, 3, 20, 4);
    for name in ["fewest-rotations", "packed"] {
        compare(&model, &inputs[..1], &plan(&model, EXACT, Some(name)));
    }
}

#[test]
fn diagonals_of_published_zeros_are_left_out_and_results_are_the_integer_networks() {
    let (model, inputs) = network(12, 3, 20, 4);
    let closed = pruned(&model, &inputs, &every_other);
    let open = published(&closed);
    for mode in [EXACT, PRIVATE] {
        let (few, all) = (plan(&open, mode, None), plan(&closed, mode, None));
        assert!(few.predicted_us < all.predicted_us, "{:?} {:?}", few.cost.ops, all.cost.ops);
        let same = derive(&open.public, &all.choices).unwrap();
        assert!(
            same.ops.pt_mul < all.cost.ops.pt_mul
                && same.spare >= derive(&closed.public, &all.choices).unwrap().spare
        );
        assert!(few.leaks.iter().any(|l| l.leak == Leak::Sparsity));
        assert!(all.leaks.iter().all(|l| l.leak != Leak::Sparsity));
        compare(&open, &inputs[..1], &few);
    }
}

#[test]
fn choices_with_too_little_flooding_or_room_are_refused() {
    let (model, _) = network(12, 3, 20, 4);
    let good = plan(&model, PRIVATE, None).choices;
    let change = |f: &dyn Fn(&mut ExactChoices)| {
        let mut c = ExactChoices::from_bytes(&good.bytes).unwrap();
        f(&mut c);
        let choices = oblivia_protocol::Choices { bytes: c.to_bytes(), ..good.clone() };
        derive(&model.public, &choices).err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert_eq!(change(&|_| ()), "");
    assert!(change(&|c| c.flood -= 1).contains("hides less"));
    assert!(change(&|c| c.flood += 40).contains("bits are missing"));
    assert!(change(&|c| c.flood = 0).contains("flood"));
    assert!(change(&|c| c.cut = [40, 40]).contains("bits are missing"));
    assert!(change(&|c| c.weight_log_scales.push(3)).contains("have scales"));
    assert!(change(&|c| c.weight_log_scales.truncate(1)).contains("have scales"));
}

#[test]
fn a_model_that_could_leave_the_range_is_refused_when_it_is_loaded() {
    let (mut model, _) = network(12, 3, 20, 4);
    let plan = plan(&model, EXACT, None);
    assert!(server::Prepared::new(&plan, &model, &pool()).is_ok());
    let tensors = (0..model.public.graph.weights().len()).map(|i| {
        let mut t = model.weights.get(oblivia_nn::WeightId(i as u32)).clone();
        t.data_mut().iter_mut().for_each(|v| *v *= 30.0);
        t
    });
    model.weights = oblivia_nn::Weights::new(&model.public.graph, tensors.collect()).unwrap();
    let error = server::Prepared::new(&plan, &model, &pool()).err().unwrap().to_string();
    assert!(error.contains("plaintext primes hold"), "{error}");
}
