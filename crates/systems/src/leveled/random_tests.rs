//! Plans of random networks: what they compute, what they cost, and that the planner loses to no named plan.

use super::plan::{derive, search};
use super::search::{PLANS, price};
use oblivia_base::Prg;
use oblivia_he::ckks::{Encoder, Encryptor, Evaluator};
use oblivia_he::{EvaluationKeys, SecretKey};
use oblivia_nn::{
    Conv, Graph, InputSpec, Model, Op, OutputPolicy, Pool, PublicModel, Shape, Tensor, Weights, WireId, eval,
    pass,
};
use oblivia_pack::{CkksPlain, CkksSlots, ClearSlots};
use oblivia_protocol::{Leak, Wish};
use rand_core::Rng;
use std::sync::Arc;

/// Draws from 0 to n − 1.
struct Dice(Prg);

impl Dice {
    fn roll(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n as u64) as usize
    }

    fn values(&mut self, n: usize, scale: f32) -> Vec<f32> {
        (0..n).map(|_| (f64::from(self.0.next_u32()) / f64::from(1u32 << 31) - 1.0) as f32 * scale).collect()
    }
}

pub(super) struct Build {
    dice: Dice,
    pub(super) graph: Graph,
    tensors: Vec<Tensor>,
    pub(super) at: WireId,
}

impl Build {
    pub(super) fn new(seed: u64, input: [usize; 3]) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let shape = if input[1] == 0 { Shape::new([input[0]]) } else { Shape::new(input) };
        let graph = Graph::new("x", shape.unwrap());
        Self { dice: Dice(Prg::new(&key, "random networks", &[])), graph, tensors: Vec::new(), at: WireId(0) }
    }

    fn shape(&self) -> Vec<usize> {
        self.graph.fact(self.at).unwrap().shape.dims().to_vec()
    }

    pub(super) fn weight(&mut self, dims: &[usize]) -> oblivia_nn::WeightId {
        let shape = Shape::new(dims.to_vec()).unwrap();
        let fan = dims[1..].iter().product::<usize>().max(1) as f32;
        let values = self.dice.values(shape.elements(), 1.5 / fan.sqrt());
        self.tensors.push(Tensor::new(shape.clone(), values).unwrap());
        self.graph.weight("w", shape).unwrap()
    }

    pub(super) fn push(&mut self, op: Op) {
        let name = format!("{}{}", op.name(), self.graph.nodes().len());
        self.at = self.graph.push(&name, op, &[self.at]).unwrap();
    }

    pub(super) fn conv(
        &mut self,
        maps: usize,
        kernel: usize,
        stride: usize,
        pads: [usize; 4],
        groups: usize,
    ) {
        let channels = self.shape()[0];
        let weight = self.weight(&[maps, channels / groups, kernel, kernel]);
        let bias = Some(self.weight(&[maps]));
        let (kernel, stride) = ([kernel; 2], [stride; 2]);
        self.push(Op::Conv(Conv { out_channels: maps, kernel, stride, pads, groups, weight, bias }));
    }

    pub(super) fn dense(&mut self, out: usize) {
        if self.shape().len() > 1 {
            self.push(Op::Flatten);
        }
        let inputs = self.shape()[0];
        let weight = self.weight(&[out, inputs]);
        let bias = Some(self.weight(&[out]));
        self.push(Op::Dense { out, weight, bias });
    }

    /// The model with bounds measured on its own inputs.
    pub(super) fn finish(mut self) -> (Model, Vec<Tensor>) {
        let shape = self.graph.input_shape().clone();
        let inputs: Vec<Tensor> = (0..2)
            .map(|_| Tensor::new(shape.clone(), self.dice.values(shape.elements(), 1.0)).unwrap())
            .collect();
        let weights = Weights::new(&self.graph, self.tensors).unwrap();
        let max = eval::max_abs(&self.graph, &weights, inputs.iter()).unwrap();
        for (i, m) in max.iter().enumerate() {
            self.graph.set_bound(WireId(i as u32), 1.5 * f64::from(*m).max(1e-3)).unwrap();
        }
        let public = PublicModel {
            name: "random".into(),
            graph: self.graph,
            labels: Vec::new(),
            input: InputSpec::Tensor,
            input_range: [-1.0, 1.0],
            output: OutputPolicy::Logits,
            fixed: None,
        };
        let mut model = Model { public, weights, calibration: None };
        pass::publish_row_norms(&mut model).unwrap();
        (model, inputs)
    }
}

/// A chain of convolutions, averages, squares and dense layers, sometimes with a residual sum.
pub(super) fn random(seed: u64) -> (Model, Vec<Tensor>) {
    let image = !seed.is_multiple_of(3);
    let mut dice = Dice(Prg::new(&[5; 32], "sizes", &[&seed.to_le_bytes()]));
    let size = 4 + dice.roll(7);
    let mut b =
        Build::new(seed, if image { [1 + dice.roll(3), size, size] } else { [2 + dice.roll(60), 0, 0] });
    let mut squares = 0;
    if image {
        let (kernel, stride) = (1 + dice.roll(3), 1 + dice.roll(2));
        let pad = dice.roll(kernel);
        b.conv(1 + dice.roll(4), kernel, stride, [pad, dice.roll(kernel), pad, pad], 1);
        b.push(Op::Square);
        squares += 1;
        match dice.roll(5) {
            0 if b.shape()[1].is_multiple_of(2) && b.shape()[2].is_multiple_of(2) => {
                b.push(Op::AveragePool(Pool {
                    kernel: [2; 2],
                    stride: [2; 2],
                    pads: [0; 4],
                    count_include_pad: false,
                }));
            }
            1 => b.push(Op::GlobalAveragePool),
            2 => {
                // x² + conv(x²), then another square.
                let (skip, channels) = (b.at, b.shape()[0]);
                b.conv(channels, 1, 1, [0; 4], 1);
                let sum = b.graph.push("sum", Op::Add, &[b.at, skip]).unwrap();
                b.at = sum;
            }
            3 => {
                let value = b.weight(&[1]);
                b.push(Op::AddConst { value });
            }
            _ => {}
        }
    } else {
        b.dense(2 + dice.roll(40));
        b.push(Op::Square);
        squares += 1;
    }
    if squares < 2 && dice.roll(3) > 0 {
        b.dense(2 + dice.roll(20));
        b.push(Op::Square);
    }
    b.dense(1 + dice.roll(10));
    b.finish()
}

#[test]
fn fifty_random_networks_cost_what_their_plans_say_and_compute_what_they_should() {
    for seed in 0..50 {
        let (model, inputs) = random(seed);
        let plan = search(&model.public, &Wish::default()).unwrap_or_else(|e| panic!("{seed}: {e}"));
        let d = derive(&model.public, &plan.choices).unwrap();
        let plains = d.circuit.plains(&model.weights);
        let slots = d.params.slots();
        for x in &inputs {
            let mut vectors = d.circuit.encode(x);
            vectors.iter_mut().for_each(|v| v.resize(slots, 0.0));
            let y = d.circuit.run(&mut ClearSlots::new(slots), &vectors, &plains).unwrap();
            let expected = eval::run(&model, x).unwrap();
            for (a, b) in d.circuit.decode(&y).iter().zip(expected.data()) {
                let close = (a - f64::from(*b)).abs() < 1e-4 * f64::from(expected.max_abs());
                assert!(close, "{seed}: {a} {b} by {:#?}", d.circuit.describe());
            }
        }
        // Operations counted where they happen, on ciphertexts.
        let mut rng = Prg::new(&[9; 32], "test", &[]);
        let sk = SecretKey::generate(&d.params, &mut rng);
        let keys = EvaluationKeys::generate(&sk, &d.keys, b"", &mut rng).unwrap();
        let evaluator = Evaluator::new(Arc::new(keys));
        let (encoder, encryptor) = (Encoder::new(&d.params), Encryptor::new(&d.params));
        let prepare = |(p, at)| CkksPlain::prepare(&encoder, p, at).unwrap();
        let plains: Vec<CkksPlain> = plains.iter().zip(d.plains.iter().copied()).map(prepare).collect();
        let encrypt = |v: Vec<f64>| {
            let pt = encoder.encode(&v, d.params.max_level(), d.circuit.input_scale().0).unwrap();
            encryptor.encrypt_symmetric(&sk, &pt, &mut rng).unwrap()
        };
        let cts: Vec<_> = d.circuit.encode(&inputs[0]).into_iter().map(encrypt).collect();
        let y = d.circuit.run(&mut CkksSlots::new(&evaluator), &cts, &plains).unwrap();
        assert_eq!(evaluator.take_counts(), plan.cost.ops, "{seed}: {:#?}", d.circuit.describe());
        let decrypted = oblivia_he::ckks::Decryptor::new(&sk).decrypt(&y[0]).unwrap();
        let out = d.circuit.decode(&[encoder.decode(&decrypted).unwrap()]);
        let expected = eval::run(&model, &inputs[0]).unwrap();
        for (a, b) in out.iter().zip(expected.data()) {
            assert!((a - f64::from(*b)).abs() <= d.error, "{seed}: {a} {b}, error at most {}", d.error);
        }
    }
}

/// Ten networks: convolution – square – dense – square – dense of several sizes, and chains of dense layers.
fn generated() -> Vec<(String, Model)> {
    let mut found = Vec::new();
    let cnns = [
        (28, 1, 5, 5, 2, 100, 10),
        (28, 1, 4, 7, 3, 64, 10),
        (16, 3, 6, 3, 1, 32, 4),
        (20, 1, 8, 5, 1, 50, 2),
        (12, 2, 3, 3, 3, 20, 5),
        (24, 1, 2, 4, 4, 120, 16),
        (32, 3, 4, 8, 4, 64, 10),
    ];
    for (i, (size, channels, maps, kernel, stride, hidden, out)) in cnns.into_iter().enumerate() {
        let mut b = Build::new(100 + i as u64, [channels, size, size]);
        b.conv(maps, kernel, stride, [0; 4], 1);
        b.push(Op::Square);
        b.dense(hidden);
        b.push(Op::Square);
        b.dense(out);
        found.push((
            format!("conv {channels}×{size}², {maps} maps {kernel}/{stride}, {hidden}, {out}"),
            b.finish().0,
        ));
    }
    for (i, sizes) in [&[784, 128, 10][..], &[64, 32, 16, 10], &[512, 300, 5]].into_iter().enumerate() {
        found.push((format!("dense {sizes:?}"), chain(200 + i as u64, sizes).0));
    }
    found
}

/// Dense layers with squares between.
fn chain(seed: u64, sizes: &[usize]) -> (Model, Vec<Tensor>) {
    let mut b = Build::new(seed, [sizes[0], 0, 0]);
    for (k, &out) in sizes[1..].iter().enumerate() {
        if k > 0 {
            b.push(Op::Square);
        }
        b.dense(out);
    }
    b.finish()
}

#[test]
fn on_ten_generated_networks_the_planner_loses_to_no_named_plan() {
    for (name, model) in generated() {
        let cost = |plan: &str| {
            let plan = search(&model.public, &Wish { plan: Some(plan.into()), ..Wish::default() }).ok()?;
            Some(price(&derive(&model.public, &plan.choices).unwrap()))
        };
        let planned = cost(PLANS[0]).unwrap_or_else(|| panic!("{name} has no plan"));
        let others: Vec<_> = PLANS[1..].iter().filter_map(|p| Some((*p, cost(p)?))).collect();
        let has = |plan: &str| others.iter().any(|(p, _)| *p == plan);
        assert!(has("diagonal"), "{name} has nothing to be compared with");
        assert!(has("packed") || name.starts_with("conv"), "{name} has no plan `packed`");
        println!("{name}: {planned:.0} µs planned, {others:.0?}");
        for (plan, other) in others {
            assert!(planned <= other * 1.001, "{name}: planned {planned}, {plan} {other}");
        }
    }
}

#[test]
fn named_plans_of_dense_layers_compute_the_network_and_fill_no_other_slot_unless_they_say_so() {
    let deep: (&str, &[usize]) = ("five layers", &[20, 33, 64, 7, 18, 3]);
    let image = (
        "an image",
        {
            let mut b = Build::new(300, [3, 5, 6]);
            b.dense(40);
            b.push(Op::Square);
            b.dense(9);
            b.finish()
        },
        2,
    );
    let chains = [&[784, 128, 10][..], &[64, 32, 16, 10], &[512, 300, 5], &[3, 200, 2], deep.1];
    let chains = chains.into_iter().map(|sizes| ("a chain", chain(7, sizes), sizes.len() - 1));
    for (what, (model, inputs), layers) in chains.chain([image]) {
        for name in ["packed", "diagonal"] {
            let wish = Wish { plan: Some(name.into()), ..Wish::default() };
            let plan = match search(&model.public, &wish) {
                Ok(plan) => plan,
                // Too deep for the dimension of the named plans.
                Err(e) if layers > 3 => {
                    assert!(e.to_string().contains("security table"), "{e}");
                    continue;
                }
                Err(e) => panic!("{what} of {layers} layers, {name}: {e}"),
            };
            let d = derive(&model.public, &plan.choices).unwrap();
            let slots = d.params.slots();
            let plains = d.circuit.plains(&model.weights);
            for x in &inputs {
                let mut vectors = d.circuit.encode(x);
                vectors.iter_mut().for_each(|v| v.resize(slots, 0.0));
                let y = d.circuit.run(&mut ClearSlots::new(slots), &vectors, &plains).unwrap();
                let (out, expected) = (d.circuit.decode(&y), eval::run(&model, x).unwrap());
                for (a, b) in out.iter().zip(expected.data()) {
                    let close = (a - f64::from(*b)).abs() < 1e-4 * f64::from(expected.max_abs());
                    assert!(close, "{what} of {layers} layers, {name}: {a} {b}");
                }
                let norm = d.circuit.output_bound();
                let same = |v: f64| v == 0.0 || out.iter().any(|o| (o - v * norm).abs() < 1e-9 * norm);
                let stray = y.iter().flatten().filter(|&&v| !same(v)).count();
                let says = plan.leaks.iter().any(|l| l.leak == Leak::PartialSums);
                assert_eq!((stray > 0, says), (name == "packed", name == "packed"), "{name}: {stray}");
            }
        }
    }
}

#[test]
fn lola_refuses_an_average_merged_into_a_dense_layer() {
    let mut b = Build::new(7, [1, 8, 8]);
    b.conv(2, 3, 1, [1; 4], 1);
    b.push(Op::Square);
    let pool = Pool { kernel: [2; 2], stride: [2; 2], pads: [0; 4], count_include_pad: false };
    b.push(Op::AveragePool(pool));
    b.dense(5);
    b.push(Op::Square);
    b.dense(3);
    let (model, _) = b.finish();
    assert!(search(&model.public, &Wish::default()).is_ok());
    let wish = Wish { plan: Some("lola".into()), ..Wish::default() };
    let error = search(&model.public, &wish).unwrap_err().to_string();
    assert!(error.contains("nothing averaged"), "{error}");
}

#[test]
fn a_relu_is_refused_by_its_name_with_what_to_do_even_where_no_bounds_are_published() {
    let mut b = Build::new(1, [1, 8, 8]);
    b.conv(2, 3, 1, [0; 4], 1);
    b.at = b.graph.push("activation_1", Op::Relu, &[b.at]).unwrap();
    b.dense(3);
    let (mut model, _) = b.finish();
    let mut bare = Graph::new("x", model.public.graph.input_shape().clone());
    for w in model.public.graph.weights() {
        bare.weight(&w.name, w.shape.clone()).unwrap();
    }
    for node in &model.public.graph.nodes()[1..] {
        bare.push(&node.name, node.op.clone(), &node.inputs).unwrap();
    }
    model.public.graph = bare;
    let error = search(&model.public, &Wish::default()).unwrap_err().to_string();
    for words in ["activation_1", "Relu", "Square", "scripts/train_"] {
        assert!(error.contains(words), "{words}: {error}");
    }
}
