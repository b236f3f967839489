//! Both seats in one place against the network in fixed point, every wire.

use super::super::Hybrid;
use super::super::schedule::Step;
use super::choices::{AidedChoices, LayerChoice};
use super::client::Seat as ClientSeat;
use super::plan::derive;
use super::server::{Prepared, Seat as ServerSeat};
use super::{MODE, wire};
use crate::common::keys::KeyMaker;
use oblivia_base::codec::{Decode, Encode, Reader};
use oblivia_base::{Digest, Prg, Secret};
use oblivia_he::SecretKey;
use oblivia_he::bfv::{Decryptor, Encoder};
use oblivia_nn::fixed::{Calibration, Nearest, Options, Ranges, publish};
use oblivia_nn::testing::{Build, random_input, random_relu_model};
use oblivia_nn::{Model, Op, OutputPolicy, WireId};
use oblivia_protocol::{Error, Leak, Plan, System, Wish};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

fn pool() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap()
}

fn wish() -> Wish {
    Wish { mode: Some(MODE.into()), ..Wish::default() }
}

/// The model with formats in fixed point, unless some sum has no scale.
fn calibrated(mut model: Model, bits: u32) -> Option<Model> {
    let inputs: Vec<_> = (0..8).map(|seed| random_input(&model, 1000 + seed)).collect();
    let ranges = Some(Ranges::measured(&model, &inputs).unwrap());
    let options = Options { bits, weight_bits: 6, ..Options::default() };
    model.calibration = Some(Arc::new(Calibration { options, ranges, overflow: 0.01, error: None }));
    publish(&mut model).ok()?;
    Some(model)
}

/// Plays both sides; every wire must be the fixed network's, operations and bytes those of the plan.
fn compare(model: &Model, plan: &Plan, images: u64) {
    let pool = pool();
    let fixed = model.calibration.as_ref().unwrap().apply(model).unwrap();
    let prepared = Prepared::new(plan, model, &pool).unwrap();
    let d = derive(&model.public, &plan.choices).unwrap();
    let mut rng = Prg::new(&[9; 32], "test", &[]);
    let maker = wire::key_terms(&d, plan).maker;
    let sk = SecretKey::generate(maker.params(), &mut rng);
    let bytes = maker.make(&sk, b"keys", &mut rng).unwrap();
    assert_eq!(bytes.len() as u64, plan.key_bytes);
    assert!(maker.read(b"other", &bytes[1..]).is_err());
    let keys = maker.read(b"keys", &bytes).unwrap();
    let nodes = d.network.graph().nodes().len();
    let tops: BTreeMap<usize, Vec<i64>> =
        (0..nodes).map(|n| (n, fixed.tops(WireId(n as u32)).to_vec())).collect();
    let (here, there) = (ClientSeat::new(&d, &sk, tops), ServerSeat::new(&prepared, &keys));
    let session = Digest([5; 32]);
    for image in 0..images {
        let input = random_input(model, image);
        let trace = fixed.run(&d.network.input(&input).unwrap(), &mut Nearest).unwrap();
        let mut wires = here.start(&input).unwrap();
        let mut made = BTreeSet::from([d.network.graph().input().index()]);
        let mut moved = [0u64; 2];
        for step in &d.steps {
            match step {
                Step::Linear(nodes) => {
                    let seeds = [[3; 32], [4; 32]].map(Secret::new);
                    let body = here.encrypt(&wires, nodes, &session, image as usize, &seeds[0]).unwrap();
                    let reply = there.layers(nodes, &body, &session, image as usize, &seeds[1]).unwrap();
                    assert_eq!([body.len(), reply.len()], d.step_bytes(nodes));
                    moved[0] += 12 + body.len() as u64;
                    moved[1] += 12 + reply.len() as u64;
                    assert!(here.decrypt(nodes, &reply[1..]).is_err());
                    let sums = here.decrypt(nodes, &reply).unwrap();
                    nodes.iter().zip(&sums).for_each(|(&n, sums)| here.round(&mut wires, n, sums));
                }
                other => other.nodes().iter().for_each(|&n| here.in_clear(&mut wires, n).unwrap()),
            }
            made.extend(step.nodes());
        }
        for &n in &made {
            let name = &d.network.graph().nodes()[n].name;
            assert_eq!(wires[n].expose(), &trace.wires[n], "image {image}, `{name}`");
        }
        assert_eq!(there.take_counts(), plan.cost.ops);
        assert_eq!(moved, [plan.cost.online.up_bytes, plan.cost.online.down_bytes]);
    }
}

#[test]
fn every_wire_of_random_networks_is_the_fixed_networks_at_the_declared_cost() {
    let mut models = 0;
    for seed in 0..10 {
        let Some(model) = calibrated(random_relu_model(seed), 14 + (seed % 6) as u32) else { continue };
        models += 1;
        compare(&model, &Hybrid.plan(&model.public, &wish()).unwrap(), 1);
    }
    assert!(models > 5, "{models} models");
}

/// Clip, both kinds of pool, a residual sum, groups, and branches that are joined.
fn every_operator() -> Model {
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
    b.push("again", Op::Identity, &[pooled]);
    let right = b.conv("right", 2, [3, 3], [2, 2], [1; 4], 1, true);
    b.push("right relu", Op::Relu, &[right]);
    b.op("right mean", Op::GlobalAveragePool);
    b.op("right flat", Op::Flatten);
    let right = b.dense("right dense", 3);
    b.push("left again", Op::Identity, &[left_relu]);
    b.op("mean", Op::GlobalAveragePool);
    b.op("flat", Op::Flatten);
    b.dense("left dense", 3);
    b.add("logits", right);
    b.finish()
}

#[test]
fn every_operator_is_done_as_the_fixed_network_does_it() {
    let model = calibrated(every_operator(), 16).unwrap();
    let plan = Hybrid.plan(&model.public, &wish()).unwrap();
    assert!(plan.steps.iter().any(|s| s.contains("tops of clips")));
    assert!(plan.leaks.iter().any(|l| l.leak == Leak::IntermediateActivations));
    compare(&model, &plan, 2);
}

#[test]
fn plaintexts_that_are_transformed_at_every_use_give_the_same() {
    let model = calibrated(every_operator(), 16).unwrap();
    let tight = Wish { max_memory: Some(1), ..wish() };
    let plan = Hybrid.plan(&model.public, &tight).unwrap();
    assert!(AidedChoices::from_bytes(&plan.choices.bytes).unwrap().deferred);
    compare(&model, &plan, 1);
}

#[test]
fn slots_without_a_result_and_the_noise_of_a_reply_are_fresh_every_time() {
    let model = calibrated(every_operator(), 16).unwrap();
    let plan = Hybrid.plan(&model.public, &wish()).unwrap();
    let prepared = Prepared::new(&plan, &model, &pool()).unwrap();
    let d = derive(&model.public, &plan.choices).unwrap();
    let mut rng = Prg::new(&[9; 32], "test", &[]);
    let maker = wire::key_terms(&d, &plan).maker;
    let sk = SecretKey::generate(maker.params(), &mut rng);
    let keys = maker.read(b"", &maker.make(&sk, b"", &mut rng).unwrap()).unwrap();
    let (here, there) = (ClientSeat::new(&d, &sk, BTreeMap::new()), ServerSeat::new(&prepared, &keys));
    let Some(Step::Linear(nodes)) = d.steps.first() else { panic!("a layer comes first") };
    let wires = here.start(&random_input(&model, 0)).unwrap();
    let session = Digest([5; 32]);
    let body = here.encrypt(&wires, nodes, &session, 0, &Secret::new([3; 32])).unwrap();
    let open = |seed: u8| {
        let reply = there.layers(nodes, &body, &session, 0, &Secret::new([seed; 32])).unwrap();
        let layer = &d.layers[&nodes[0]];
        let replies = wire::read_results(&d, layer, &mut Reader::new(&reply)).unwrap();
        let decryptor = Decryptor::new(&d.context, &sk).unwrap();
        let one = |r| Encoder::new(&d.context).decode(&decryptor.decrypt_reply(r).unwrap()).unwrap();
        (reply, replies.iter().map(one).collect::<Vec<Vec<i64>>>(), layer.free.places())
    };
    let [(a, x, places), (b, y, _)] = [open(1), open(2)];
    assert_eq!(a.len(), b.len());
    // Not one byte in 32 is equal but by chance and headers.
    let equal = a.iter().zip(&b).filter(|(a, b)| a == b).count();
    assert!(32 * equal < a.len(), "{equal} of {} bytes", a.len());
    let places: BTreeSet<(usize, usize)> = places.into_iter().collect();
    let (mut same, mut all) = (0, 0);
    for (v, (x, y)) in x.iter().zip(&y).enumerate() {
        for (slot, (x, y)) in x.iter().zip(y).enumerate() {
            if places.contains(&(v, slot)) {
                assert_eq!(x, y, "a result");
            } else {
                all += 1;
                same += usize::from(x == y);
            }
        }
    }
    assert!(all > 1000 && same <= 2, "{same} of {all} slots without a result");
}

#[test]
fn a_client_that_did_not_accept_the_leak_refuses_and_a_class_alone_cannot_be_had() {
    let mut model = calibrated(every_operator(), 16).unwrap();
    let plan = Hybrid.plan(&model.public, &wish()).unwrap();
    let refused = wish().admit(&plan, 1).unwrap_err().to_string();
    assert!(refused.contains("--accept-leak intermediate-activations"), "{refused}");
    let accepted = Wish { accepted_leaks: vec![Leak::IntermediateActivations], ..wish() };
    assert!(accepted.admit(&plan, 1).is_ok());
    model.public.output = OutputPolicy::ArgMax;
    assert!(matches!(Hybrid.plan(&model.public, &wish()), Err(Error::Refused { .. })));
}

#[test]
fn choices_that_are_inexact_or_hide_too_little_are_refused() {
    let model = calibrated(every_operator(), 16).unwrap();
    let plan = Hybrid.plan(&model.public, &wish()).unwrap();
    let honest = AidedChoices::from_bytes(&plan.choices.bytes).unwrap();
    let refused = |change: fn(&mut AidedChoices)| {
        let mut c = honest.clone();
        change(&mut c);
        let choices = oblivia_protocol::Choices { bytes: c.to_bytes(), ..plan.choices.clone() };
        Hybrid.check(&model.public, &choices).unwrap_err().to_string()
    };
    assert!(refused(|c| c.flood -= 1).contains("hides too little"));
    assert!(refused(|c| c.flood += 20).contains("bits are missing"));
    assert!(refused(|c| c.cut = [c.cut[0] + 2; 2]).contains("bits are missing"));
    assert!(refused(|c| c.q = vec![50; 4]).contains("218"));
    assert!(refused(|c| c.layers[0].way = 77).contains("`c1`"));
    assert!(refused(|c| c.layers.truncate(2)).contains("layers"));
}

#[test]
fn layers_that_take_more_together_than_any_plan_may_are_refused_at_the_one_that_is_too_many() {
    const LAYERS: usize = 64;
    let mut b = Build::new(1, [96, 64, 64]);
    for i in 0..LAYERS {
        b.conv(&format!("c{i}"), 96, [3, 3], [1, 1], [1; 4], 1, false);
    }
    let mut model = b.finish().public;
    let layer =
        oblivia_nn::fixed::LinearFormat { bits: 16, shift: 8, weight_bits: 8, norm1: 400, norm2: 200 };
    model.fixed = Some(oblivia_nn::fixed::Formats {
        input_bits: 16,
        input_scale: 1.0,
        output_scale: 1.0,
        layers: vec![layer; LAYERS],
        certainty: oblivia_nn::fixed::Certainty::Always,
    });
    // A channel fills a row: some forty thousand products a layer.
    let layer = LayerChoice { way: 0, baby: 1, chained: false, quarters: false };
    let (log_n, q, p, flood, cut) = (13, vec![46; 3], 50, 120, [0; 2]);
    let hostile = AidedChoices { log_n, q, p, flood, cut, deferred: true, layers: vec![layer; LAYERS] };
    let (system, mode, plan) = ("hybrid".into(), MODE.into(), "lan".into());
    let choices = oblivia_protocol::Choices { system, mode, plan, bytes: hostile.to_bytes() };
    let refused = Hybrid.check(&model, &choices).unwrap_err().to_string();
    assert!(refused.contains("node `c") && refused.contains("diagonals"), "{refused}");
}
