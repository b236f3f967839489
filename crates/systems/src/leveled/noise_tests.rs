//! Errors that meet again, in clear slots: the deviation of the outputs under uncorrelated errors of the input's slots is
//! at most what the model makes of them, and not much less.

use super::super::plan::{derive, search};
use super::super::search::PLANS;
use super::{Machine, NoiseModel};
use oblivia_base::Prg;
use oblivia_nn::{
    Conv, Graph, InputSpec, Model, Op, OutputPolicy, Pool, PublicModel, Shape, Tensor, WeightId, Weights,
    WireId, eval, pass,
};
use oblivia_pack::ClearSlots;
use oblivia_protocol::Wish;
use rand_core::Rng;

/// Standard deviation of the input's errors: far more than any other, far less than values.
const SIGMA: f64 = 0.01;
const DRAWS: usize = 300;

/// A network whose convolutions and averages have weights that are all alike, so that nothing cancels.
struct Even {
    graph: Graph,
    tensors: Vec<Tensor>,
    at: WireId,
}

impl Even {
    fn new(input: &[usize]) -> Self {
        let graph = Graph::new("x", Shape::new(input.to_vec()).unwrap());
        Self { graph, tensors: Vec::new(), at: WireId(0) }
    }

    fn weight(&mut self, dims: &[usize], value: f32) -> WeightId {
        let shape = Shape::new(dims.to_vec()).unwrap();
        self.tensors.push(Tensor::new(shape.clone(), vec![value; shape.elements()]).unwrap());
        self.graph.weight("w", shape).unwrap()
    }

    fn push(&mut self, op: Op) -> WireId {
        let name = format!("{}{}", op.name(), self.graph.nodes().len());
        self.at = self.graph.push(&name, op, &[self.at]).unwrap();
        self.at
    }

    /// Weights that differ by random signs.
    fn dense(&mut self, out: usize, value: f32) {
        let inputs = self.graph.fact(self.at).unwrap().shape.elements();
        let weight = self.weight(&[out, inputs], value);
        let mut prg = Prg::new(&[7; 32], "signs", &[]);
        let signs = self.tensors.last_mut().unwrap().data_mut();
        signs.iter_mut().for_each(|w| *w = if prg.next_u32() & 1 == 0 { *w } else { -*w });
        self.push(Op::Dense { out, weight, bias: None });
    }

    /// Every channel by itself.
    fn conv(&mut self, kernel: usize, value: f32) {
        let channels = self.graph.fact(self.at).unwrap().shape.dims()[0];
        let weight = self.weight(&[channels, 1, kernel, kernel], value);
        self.push(Op::Conv(Conv {
            out_channels: channels,
            kernel: [kernel; 2],
            stride: [1; 2],
            pads: [0; 4],
            groups: channels,
            weight,
            bias: None,
        }));
    }

    /// The model, its bounds those of an input of ones.
    fn finish(mut self) -> (Model, Tensor) {
        let shape = self.graph.input_shape().clone();
        let ones = Tensor::new(shape.clone(), vec![1.0; shape.elements()]).unwrap();
        let weights = Weights::new(&self.graph, self.tensors).unwrap();
        let most = eval::max_abs(&self.graph, &weights, std::iter::once(&ones)).unwrap();
        for (i, m) in most.iter().enumerate() {
            self.graph.set_bound(WireId(i as u32), f64::from(*m)).unwrap();
        }
        let public = PublicModel {
            name: "even".into(),
            graph: self.graph,
            labels: Vec::new(),
            input: InputSpec::Tensor,
            input_range: [-1.0, 1.0],
            output: OutputPolicy::Logits,
            fixed: None,
        };
        let mut model = Model { public, weights, calibration: None };
        pass::publish_row_norms(&mut model).unwrap();
        (model, ones)
    }
}

/// The largest standard deviation of an output over that of the model; errors are `alike` in all copies of an element, or
/// every slot's own.
fn deviation(model: &Model, x: &Tensor, plan: &str, alike: bool) -> f64 {
    let wish = Wish { plan: Some(plan.into()), ..Wish::default() };
    let plan = search(&model.public, &wish).unwrap();
    let d = derive(&model.public, &plan.choices).unwrap();
    let network = d.circuit.network();
    let machine = Machine { params: &d.params, model: NoiseModel::new(&d.params), network };
    let modelled = machine.run(&d.circuit, SIGMA * SIGMA).unwrap().variance().sqrt();
    let modelled = modelled * network.norm(network.layers.len());
    let slots = d.params.slots();
    let plains = d.circuit.plains(&model.weights);
    let padded = |x: &Tensor| {
        let mut vectors = d.circuit.encode(x);
        vectors.iter_mut().for_each(|v| v.resize(slots, 0.0));
        vectors
    };
    let run = |vectors: &[Vec<f64>]| {
        d.circuit.decode(&d.circuit.run(&mut ClearSlots::new(slots), vectors, &plains).unwrap())
    };
    let right = run(&padded(x));
    let mut prg = Prg::new(&[6; 32], "errors", &[]);
    let mut draw = || if prg.next_u32() & 1 == 0 { SIGMA } else { -SIGMA };
    let mut squares = vec![0.0; right.len()];
    for _ in 0..DRAWS {
        let mut off = x.clone();
        if alike {
            off.data_mut().iter_mut().for_each(|v| *v += draw() as f32);
        }
        let mut off = padded(&off);
        if !alike {
            off.iter_mut().flatten().for_each(|v| *v += draw());
        }
        for ((s, a), b) in squares.iter_mut().zip(run(&off)).zip(&right) {
            *s += (a - b) * (a - b);
        }
    }
    let largest = squares.into_iter().fold(0.0, f64::max);
    (largest / DRAWS as f64).sqrt() / modelled
}

fn holds(what: &str, (model, x): &(Model, Tensor)) {
    for plan in &PLANS[..2] {
        let [own, alike] = [false, true].map(|alike| deviation(model, x, plan, alike));
        println!("{what}, {plan}: {own:.2} and {alike:.2} of the model");
        assert!(own.max(alike) < 1.05, "{what}, {plan}: {own:.2} and {alike:.2} times the model");
        assert!(own.max(alike) > 0.3, "{what}, {plan}: {own:.2} and {alike:.2} of the model");
    }
}

#[test]
fn a_residual_sum_has_the_errors_of_both_branches_together() {
    let mut n = Even::new(&[2, 4, 4]);
    n.conv(1, 1.0);
    let skip = n.push(Op::Square);
    n.conv(1, 1.0);
    n.at = n.graph.push("sum", Op::Add, &[n.at, skip]).unwrap();
    n.conv(1, 0.5);
    holds("residual sum", &n.finish());
}

#[test]
fn rows_without_structure_have_the_errors_of_independent_ones() {
    let mut n = Even::new(&[64]);
    n.dense(32, 0.125);
    n.push(Op::Square);
    n.dense(3, 0.1);
    holds("rows without structure", &n.finish());
}

#[test]
fn windows_that_overlap_share_errors_which_an_average_adds_up() {
    let mut n = Even::new(&[1, 8, 8]);
    n.conv(3, 0.2);
    n.push(Op::Square);
    n.push(Op::AveragePool(Pool { kernel: [2; 2], stride: [2; 2], pads: [0; 4], count_include_pad: false }));
    holds("overlapping windows", &n.finish());
}

#[test]
fn a_merged_average_and_a_second_square_keep_what_is_shared() {
    let mut n = Even::new(&[2, 8, 8]);
    n.conv(3, 0.1);
    n.push(Op::Square);
    n.push(Op::AveragePool(Pool { kernel: [2; 2], stride: [2; 2], pads: [0; 4], count_include_pad: false }));
    n.push(Op::Flatten);
    n.dense(6, 0.2);
    n.push(Op::Square);
    n.dense(2, 0.3);
    holds("merged average", &n.finish());
}
