//! Models for tests: a builder, a tiny fixed network and seeded random ones. Not part of a release build.
#![expect(clippy::expect_used, clippy::panic, reason = "test support, compiled only for tests")]

use crate::op::{Conv, Op, Pool};
use crate::{Graph, InputSpec, Model, OutputPolicy, PublicModel, Shape, Tensor, WeightId, Weights, WireId};
use oblivia_base::Prg;
use rand_core::Rng;

/// Builds a model node after node with random weights in -1..1 scaled to keep values small.
pub struct Build {
    rng: Prg,
    graph: Graph,
    tensors: Vec<Tensor>,
    at: WireId,
}

impl Build {
    /// A model of one input wire.
    pub fn new<const N: usize>(seed: u64, input: [usize; N]) -> Self {
        Self {
            rng: Prg::new(&[7; 32], "nn testing", &[&seed.to_le_bytes()]),
            graph: Graph::new("x", Shape::new(input).expect("test shape")),
            tensors: Vec::new(),
            at: WireId(0),
        }
    }

    /// Shape of the current wire.
    pub fn shape(&self) -> Shape {
        self.graph.fact(self.at).expect("current wire").shape.clone()
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.rng.next_u32() as usize) % n
    }

    /// A number in -1..1.
    pub fn unit(&mut self) -> f32 {
        (self.rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Declares a random weight with values in `mid ± spread`.
    pub fn weight(&mut self, name: &str, dims: &[usize], mid: f32, spread: f32) -> WeightId {
        let shape = Shape::new(dims).expect("weight shape");
        let data = (0..shape.elements()).map(|_| mid + spread * self.unit()).collect();
        self.tensors.push(Tensor::new(shape.clone(), data).expect("weight"));
        self.graph.weight(name, shape).expect("declared")
    }

    /// Appends a node that reads the current wire.
    pub fn op(&mut self, name: &str, op: Op) -> WireId {
        let at = self.at;
        self.push(name, op, &[at])
    }

    /// Appends a node.
    pub fn push(&mut self, name: &str, op: Op, inputs: &[WireId]) -> WireId {
        self.at = self.graph.push(name, op, inputs).unwrap_or_else(|e| panic!("{e}"));
        self.at
    }

    /// Adds the wire `other`.
    pub fn add(&mut self, name: &str, other: WireId) -> WireId {
        let at = self.at;
        self.push(name, Op::Add, &[at, other])
    }

    /// Appends a convolution.
    pub fn conv(
        &mut self,
        name: &str,
        out_channels: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        pads: [usize; 4],
        groups: usize,
        bias: bool,
    ) -> WireId {
        let c = self.shape().dims()[0] / groups;
        let spread = 1.5 / ((c * kernel[0] * kernel[1]) as f32).sqrt();
        let weight = self.weight(&format!("{name}.w"), &[out_channels, c, kernel[0], kernel[1]], 0.0, spread);
        let bias = bias.then(|| self.weight(&format!("{name}.b"), &[out_channels], 0.0, 0.3));
        self.op(name, Op::Conv(Conv { out_channels, kernel, stride, pads, groups, weight, bias }))
    }

    /// Appends a dense layer with bias.
    pub fn dense(&mut self, name: &str, out: usize) -> WireId {
        let n = self.shape().elements();
        let weight = self.weight(&format!("{name}.w"), &[out, n], 0.0, 1.5 / (n as f32).sqrt());
        let bias = Some(self.weight(&format!("{name}.b"), &[out], 0.0, 0.3));
        self.op(name, Op::Dense { out, weight, bias })
    }

    /// Appends a batch normalisation.
    pub fn batch_norm(&mut self, name: &str) -> WireId {
        let c = [self.shape().dims()[0]];
        let scale = self.weight(&format!("{name}.scale"), &c, 0.8, 0.3);
        let bias = self.weight(&format!("{name}.bias"), &c, 0.0, 0.3);
        let mean = self.weight(&format!("{name}.mean"), &c, 0.0, 0.3);
        let var = self.weight(&format!("{name}.var"), &c, 1.0, 0.5);
        self.op(name, Op::BatchNorm { scale, bias, mean, var, epsilon: 1e-5 })
    }

    /// Appends a sum (or else a product) with a constant of the given shape.
    pub fn constant(&mut self, name: &str, sum: bool, dims: &[usize]) -> WireId {
        let value = self.weight(&format!("{name}.c"), dims, 0.0, 0.9);
        self.op(name, if sum { Op::AddConst { value } } else { Op::MulConst { value } })
    }

    /// Publishes a bound on the current wire.
    pub fn bound(&mut self, bound: f64) {
        self.graph.set_bound(self.at, bound).expect("bound");
    }

    /// Makes `wire` the output instead of the last node.
    pub fn output(&mut self, wire: WireId) {
        self.graph.set_output(wire).expect("output");
    }

    /// The model.
    pub fn finish(self) -> Model {
        let weights = Weights::new(&self.graph, self.tensors).expect("weights");
        let public = PublicModel {
            name: "test".into(),
            graph: self.graph,
            labels: Vec::new(),
            input: InputSpec::Tensor,
            input_range: [-1.0, 1.0],
            output: OutputPolicy::Logits,
            fixed: None,
        };
        Model { public, weights, calibration: None }
    }
}

/// `[1,6,6]` → 3×3 convolution to 2 maps → square → flatten → dense to 3.
pub fn tiny_model() -> Model {
    let mut b = Build::new(0, [1, 6, 6]);
    b.conv("c1", 2, [3, 3], [1, 1], [1; 4], 1, true);
    b.op("sq", Op::Square);
    b.op("flat", Op::Flatten);
    b.dense("fc", 3);
    b.finish()
}

/// A random network of a dozen nodes that uses every operator sooner or later; the same for the same seed.
pub fn random_model(seed: u64) -> Model {
    let mut b = Build::new(seed, [1, 1, 1]);
    let input = [1 + b.below(4), 1 + b.below(9), 1 + b.below(9)];
    let mut b = Build::new(seed, input);
    let mut same_shape = vec![WireId(0)];
    for i in 0..4 + b.below(10) {
        let before = b.shape();
        random_node(&mut b, &format!("n{i}"), &same_shape);
        if b.below(6) == 0 {
            let bound = f64::from(1.5 + b.unit());
            b.bound(bound);
        }
        if b.shape() != before {
            same_shape.clear();
        }
        let at = b.at;
        same_shape.push(at);
    }
    if b.below(8) == 0 {
        let wire = WireId(b.below(b.graph.nodes().len()) as u32);
        b.output(wire);
    }
    b.finish()
}

fn random_node(b: &mut Build, name: &str, same_shape: &[WireId]) {
    let shape = b.shape();
    let dims = shape.dims().to_vec();
    if let Some((c, h, w)) = shape.chw() {
        match b.below(9) {
            0 | 1 => {
                let groups = if b.below(3) == 0 { c } else { 1 };
                let kernel = [1 + b.below(3.min(h)), 1 + b.below(3.min(w))];
                let out = groups * (1 + b.below(3));
                let pads = [b.below(3), b.below(3), b.below(3), b.below(3)];
                let stride = [1 + b.below(2), 1 + b.below(3)];
                let bias = b.below(2) == 0;
                if out <= 12 {
                    b.conv(name, out, kernel, stride, pads, groups, bias);
                }
            }
            2 => {
                let kernel = [1 + b.below(h.min(3)), 1 + b.below(w.min(3))];
                let pads = [0, 1, 2, 3].map(|side| b.below(kernel[side % 2]));
                let pool = Pool {
                    kernel,
                    stride: [1 + b.below(3), 1 + b.below(2)],
                    pads,
                    count_include_pad: b.below(2) == 0,
                };
                let max = b.below(2) == 0;
                b.op(name, if max { Op::MaxPool(pool) } else { Op::AveragePool(pool) });
            }
            3 if b.below(4) == 0 => drop(b.op(name, Op::GlobalAveragePool)),
            4 if b.below(3) == 0 => drop(b.op(name, Op::Flatten)),
            5 => {
                let value = if b.below(2) == 0 { 0.0 } else { b.unit() };
                let before = vec![if b.below(2) == 0 { b.below(2) } else { 0 }, b.below(2), b.below(3)];
                let after = vec![0, b.below(3), b.below(2)];
                b.op(name, Op::Pad { before, after, value });
            }
            6 => {
                let starts: Vec<usize> = dims.iter().map(|&d| b.below(d)).collect();
                let ends: Vec<usize> =
                    dims.iter().zip(&starts).map(|(&d, &s)| s + 1 + b.below(d - s)).collect();
                let steps = dims.iter().map(|_| 1 + b.below(2)).collect();
                b.op(name, Op::Slice { starts, ends, steps });
            }
            7 => {
                let swapped = vec![dims[0], dims[2], dims[1]];
                b.op(name, Op::Reshape { dims: swapped });
            }
            _ => elementwise(b, name, &dims, same_shape),
        }
    } else if b.below(3) == 0 {
        let out = 1 + b.below(8);
        b.dense(name, out);
    } else {
        elementwise(b, name, &dims, same_shape);
    }
}

fn elementwise(b: &mut Build, name: &str, dims: &[usize], same_shape: &[WireId]) {
    match b.below(8) {
        0 => drop(b.op(name, Op::Relu)),
        1 => {
            // Half, then square, so that values stay small.
            let value = b.weight(&format!("{name}.half"), &[1], 0.4, 0.1);
            b.op(&format!("{name}.half"), Op::MulConst { value });
            b.op(name, Op::Square);
        }
        2 => drop(b.batch_norm(name)),
        3 | 4 => {
            let shape = match b.below(3) {
                0 => vec![1],
                1 => vec![dims[0]],
                _ => dims.to_vec(),
            };
            let sum = b.below(2) == 0;
            b.constant(name, sum, &shape);
        }
        5 => drop(b.op(name, Op::Identity)),
        6 => {
            let other = same_shape[b.below(same_shape.len())];
            b.add(name, other);
        }
        _ => drop(b.op(name, Op::Flatten)),
    }
}

/// A random network of operators that have fixed-point arithmetic; the same for the same seed.
pub fn random_relu_model(seed: u64) -> Model {
    let mut b = Build::new(seed, [1, 1, 1]);
    let input = [1 + b.below(3), 4 + b.below(6), 4 + b.below(6)];
    let mut b = Build::new(seed ^ 0x5eed, input);
    let maps = 1 + b.below(4);
    b.conv("first", maps, [3, 3], [1, 1], [1; 4], 1, true);
    let mut before = vec![b.at];
    for i in 0..3 + b.below(8) {
        let shape = b.shape();
        relu_node(&mut b, &format!("n{i}"), &before);
        if b.shape() != shape {
            before.clear();
        }
        before.push(b.at);
    }
    if b.shape().features().is_none() {
        b.op("flat", Op::Flatten);
    }
    b.dense("last", 3);
    b.finish()
}

fn relu_node(b: &mut Build, name: &str, before: &[WireId]) {
    let Some((c, h, w)) = b.shape().chw() else {
        let out = 1 + b.below(8);
        match b.below(2) {
            0 => drop(b.dense(name, out)),
            _ => drop(b.op(name, Op::Relu)),
        }
        return;
    };
    let other = before[b.below(before.len())];
    let small = [1 + b.below(2.min(h)), 1 + b.below(2.min(w))];
    let pads = [0, 1, 2, 3].map(|side| b.below(small[side % 2]));
    let mut pool =
        Pool { kernel: small, stride: [1 + b.below(2), 1 + b.below(2)], pads, count_include_pad: true };
    match b.below(12) {
        0 | 1 => {
            let (out, kernel) = (1 + b.below(5), [1 + b.below(3.min(h)), 1 + b.below(3.min(w))]);
            let (stride, pads) = ([1 + b.below(2), 1], [b.below(2), b.below(3), b.below(2), 0]);
            let bias = b.below(2) == 0;
            b.conv(name, out, kernel, stride, pads, 1, bias);
        }
        2 => drop(b.conv(name, c * 2, [3.min(h), 1], [1, 1], [1, 0, 1, 0], c, true)),
        3 => drop(b.op(name, Op::Relu)),
        4 => {
            let max = 0.3 + 0.1 * b.below(5) as f32;
            b.op(name, Op::Clip { min: 0.0, max });
        }
        5 => drop(b.op(name, Op::MaxPool(Pool { count_include_pad: false, ..pool }))),
        6 => drop(b.op(name, Op::AveragePool(pool))),
        7 => {
            pool.pads = [0; 4];
            pool.count_include_pad = b.below(2) == 0;
            b.op(name, Op::AveragePool(pool));
        }
        8 => drop(b.add(name, other)),
        9 => {
            let at = b.at;
            b.push(name, Op::Concat { count: 3 }, &[at, other, at]);
            let (starts, steps) = (vec![b.below(c), 0, 0], vec![2, 1, 1]);
            b.op(&format!("{name}.every"), Op::Slice { starts, ends: vec![3 * c, h, w], steps });
        }
        10 => {
            let (before, after) = (vec![b.below(2), 0, 1], vec![b.below(2), b.below(2), 0]);
            b.op(name, Op::Pad { before, after, value: 0.0 });
        }
        _ if b.below(3) == 0 => drop(b.op(name, Op::GlobalAveragePool)),
        _ => drop(b.op(name, Op::Flatten)),
    }
}

/// An input of `model` with values in -1..1.
pub fn random_input(model: &Model, seed: u64) -> Tensor {
    let shape = model.public.graph.input_shape().clone();
    let mut b = Build::new(seed, [1]);
    let data = (0..shape.elements()).map(|_| b.unit()).collect();
    Tensor::new(shape, data).expect("input")
}

/// Panics unless `|a − b| ≤ tolerance·max(1, max|b|)` everywhere.
pub fn assert_close(a: &Tensor, b: &Tensor, tolerance: f32) {
    assert_eq!(a.shape(), b.shape());
    let limit = tolerance * b.max_abs().max(1.0);
    for (i, (x, y)) in a.data().iter().zip(b.data()).enumerate() {
        assert!((x - y).abs() <= limit, "element {i}: {x} against {y}, limit {limit}");
    }
}
