//! A network so small that a session takes no time, whose arithmetic is exact on every machine.

use crate::Case;
use oblivia_nn::fixed::{Calibration, Options};
use oblivia_nn::{
    Conv, Graph, InputSpec, Model, Op, OutputPolicy, Pool, PublicModel, Shape, Tensor, WeightId, Weights,
    WireId,
};
use oblivia_protocol::Wish;
use std::sync::Arc;

/// The shape of the CryptoNets network on a 4×4 image: 2 maps of 2×2, 3 hidden values, 2 outputs. Weights and inputs
/// are small integers, so every value in clear is an exact integer, whatever the order of the sums.
pub fn small(system: &'static str, wish: Wish, inputs: usize) -> Case {
    let mut build = Build { graph: Graph::new("x", shape(&[1, 4, 4])), tensors: Vec::new() };
    let weight = build.weight("conv.w", &[2, 1, 2, 2]);
    let bias = Some(build.weight("conv.b", &[2]));
    let (kernel, stride) = ([2; 2], [2; 2]);
    let conv = Conv { out_channels: 2, kernel, stride, pads: [0; 4], groups: 1, weight, bias };
    build.push("conv", Op::Conv(conv), 16.0);
    build.push("square1", Op::Square, 256.0);
    build.push("flat", Op::Flatten, 256.0);
    let (weight, bias) = (build.weight("dense1.w", &[3, 8]), Some(build.weight("dense1.b", &[3])));
    build.push("dense1", Op::Dense { out: 3, weight, bias }, 256.0);
    build.push("square2", Op::Square, 65_536.0);
    let weight = build.weight("dense2.w", &[2, 3]);
    build.push("logits", Op::Dense { out: 2, weight, bias: None }, 131_072.0);
    let Build { mut graph, tensors } = build;
    graph.set_bound(WireId(0), 1.0).expect("a bound");
    let weights = Weights::new(&graph, tensors).expect("weights of the declared shapes");
    let public = PublicModel {
        name: "small".into(),
        graph,
        labels: vec!["left".into(), "right".into()],
        input: InputSpec::Tensor,
        input_range: [0.0, 1.0],
        output: OutputPolicy::Logits,
        fixed: None,
    };
    let inputs = (0..inputs).map(|i| bits(0x9d3a_u32.rotate_left(5 * i as u32) ^ i as u32)).collect();
    Case { system, wish, model: Model { public, weights, calibration: None }, inputs }
}

/// As [`small`], with ReLU and a pool of maxima in place of the squares, for systems in fixed point: formats of 16 bits
/// that hold for every input.
pub fn small_relu(system: &'static str, wish: Wish, inputs: usize) -> Case {
    let Case { model, inputs, .. } = small(system, wish.clone(), inputs);
    let mut build = Build { graph: Graph::new("x", shape(&[1, 4, 4])), tensors: Vec::new() };
    let weight = build.weight("conv.w", &[2, 1, 2, 2]);
    let bias = Some(build.weight("conv.b", &[2]));
    let (kernel, stride) = ([2; 2], [1; 2]);
    let conv = Conv { out_channels: 2, kernel, stride, pads: [0; 4], groups: 1, weight, bias };
    build.push("conv", Op::Conv(conv), 16.0);
    build.push("relu1", Op::Relu, 16.0);
    let pool = Pool { kernel: [2; 2], stride: [1; 2], pads: [0; 4], count_include_pad: false };
    build.push("pool", Op::MaxPool(pool), 16.0);
    build.push("flat", Op::Flatten, 16.0);
    let (weight, bias) = (build.weight("dense1.w", &[3, 8]), Some(build.weight("dense1.b", &[3])));
    build.push("dense1", Op::Dense { out: 3, weight, bias }, 256.0);
    build.push("relu2", Op::Relu, 256.0);
    let weight = build.weight("dense2.w", &[2, 3]);
    build.push("logits", Op::Dense { out: 2, weight, bias: None }, 4096.0);
    let Build { graph, tensors } = build;
    let weights = Weights::new(&graph, tensors).expect("weights of the declared shapes");
    let public = PublicModel { graph, ..model.public };
    let options = Options { bits: 16, ..Options::default() };
    let calibration = Calibration { options, ranges: None, overflow: 0.0, error: None };
    Case { system, wish, model: Model { public, weights, calibration: Some(Arc::new(calibration)) }, inputs }
}

/// An image of zeros and ones.
fn bits(pattern: u32) -> Tensor {
    let values = (0..16).map(|i| (pattern >> i & 1) as f32).collect();
    Tensor::new(shape(&[1, 4, 4]), values).expect("16 values")
}

fn shape(dims: &[usize]) -> Shape {
    Shape::new(dims).expect("a shape")
}

struct Build {
    graph: Graph,
    tensors: Vec<Tensor>,
}

impl Build {
    /// Integers from −2 to 2 that look like nothing in particular.
    fn weight(&mut self, name: &str, dims: &[usize]) -> WeightId {
        let shape = shape(dims);
        let n = self.tensors.len();
        let values = (0..shape.elements()).map(|i| ((i * i + 3 * i * n + n) % 5) as f32 - 2.0).collect();
        self.tensors.push(Tensor::new(shape.clone(), values).expect("as many values as elements"));
        self.graph.weight(name, shape).expect("a weight")
    }

    fn push(&mut self, name: &str, op: Op, bound: f64) {
        let at = WireId(self.graph.nodes().len() as u32 - 1);
        let wire = self.graph.push(name, op, &[at]).expect("a node");
        self.graph.set_bound(wire, bound).expect("a bound");
    }
}
