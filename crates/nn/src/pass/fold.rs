//! Folding of what surrounds a linear layer into the layer.

use crate::{
    Conv, Graph, Model, NnError, Node, Op, PublicModel, Shape, Tensor, WeightId, Weights, WireId, Zeros,
};

/// Folds batch normalisation and constants into the convolution or dense layer before them, zero padding
/// into the convolution after it, and drops nodes that only rename a wire (identity, flatten of a vector,
/// and the like) or that the output does not depend on. A batch normalisation with no layer to fold into
/// becomes a product and a sum with constants.
///
/// The output is the same up to rounding. A folded layer keeps its name and takes the bound of the last
/// node folded into it; bounds of wires that vanish are forgotten. Where zeros were published, those of the new weights
/// are.
pub fn fold(model: &Model) -> Result<Model, NnError> {
    let graph = &model.public.graph;
    let plan = Plan::new(graph);
    let mut out = Rebuild {
        old: graph,
        weights: &model.weights,
        graph: Graph::new(node_name(graph, 0), graph.input_shape().clone()),
        tensors: Vec::new(),
        moved: vec![None; graph.weights().len()],
        wires: vec![WireId(0); graph.nodes().len()],
    };
    out.copy_bound(plan.bound(graph, 0), WireId(0))?;
    for (i, node) in graph.nodes().iter().enumerate().skip(1) {
        if plan.role[i] == Role::Keep {
            out.emit(&plan, i, node)?;
        }
    }
    let output = out.wires[plan.resolve(graph.output()).index()];
    out.graph.set_output(output)?;
    let weights = Weights::new(&out.graph, out.tensors)?;
    let mut public = PublicModel { fixed: None, ..model.public.clone() };
    public.graph = out.graph;
    Ok(Model { public, weights, calibration: model.calibration.clone() })
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Role {
    /// Emitted, with whatever is folded into it.
    Keep,
    /// Another name for this wire.
    Alias(WireId),
    /// Part of the linear layer it follows, or not needed.
    Gone,
}

/// What becomes of each node.
struct Plan {
    role: Vec<Role>,
    /// Inputs after aliases and folded padding are looked through.
    inputs: Vec<Vec<WireId>>,
    /// Zeros a folded padding adds to a convolution: top, left, bottom, right.
    pads: Vec<[usize; 4]>,
    /// The affine nodes folded into each linear layer, in order.
    chain: Vec<Vec<usize>>,
}

impl Plan {
    fn new(graph: &Graph) -> Self {
        let n = graph.nodes().len();
        let mut plan = Self {
            role: vec![Role::Keep; n],
            inputs: Vec::with_capacity(n),
            pads: vec![[0; 4]; n],
            chain: vec![Vec::new(); n],
        };
        for (i, node) in graph.nodes().iter().enumerate() {
            let mut inputs: Vec<WireId> = node.inputs.iter().map(|&w| plan.resolve(w)).collect();
            if let (Op::Conv(_), [x]) = (&node.op, inputs.as_mut_slice()) {
                while let Some(border) = zero_border(&graph.nodes()[x.index()].op) {
                    for (sum, more) in plan.pads[i].iter_mut().zip(border) {
                        *sum += more;
                    }
                    *x = plan.inputs[x.index()][0];
                }
            }
            if let ([x], true) = (inputs.as_slice(), renames(graph, node)) {
                plan.role[i] = Role::Alias(*x);
            }
            plan.inputs.push(inputs);
        }
        plan.drop_dead(graph);
        plan.absorb(graph);
        plan
    }

    fn resolve(&self, wire: WireId) -> WireId {
        match self.role[wire.index()] {
            // The inputs of an alias were resolved when it was planned.
            Role::Alias(x) => x,
            _ => wire,
        }
    }

    fn drop_dead(&mut self, graph: &Graph) {
        let mut live = vec![false; self.role.len()];
        live[0] = true;
        live[self.resolve(graph.output()).index()] = true;
        for i in (0..live.len()).rev() {
            if !live[i] {
                if self.role[i] == Role::Keep {
                    self.role[i] = Role::Gone;
                }
                continue;
            }
            for w in &self.inputs[i] {
                live[w.index()] = true;
            }
        }
    }

    /// Attaches to each linear layer the affine nodes that alone follow it. Nothing that is still live reads
    /// the output, so no chain runs past it.
    fn absorb(&mut self, graph: &Graph) {
        let mut readers = vec![Vec::new(); self.role.len()];
        for (i, inputs) in self.inputs.iter().enumerate() {
            if self.role[i] == Role::Keep {
                inputs.iter().for_each(|w| readers[w.index()].push(i));
            }
        }
        for i in 0..self.role.len() {
            if self.role[i] != Role::Keep || !matches!(graph.nodes()[i].op, Op::Conv(_) | Op::Dense { .. }) {
                continue;
            }
            let mut end = i;
            while let [next] = readers[end][..] {
                if !is_affine_per_channel(graph, next) {
                    break;
                }
                self.role[next] = Role::Gone;
                self.chain[i].push(next);
                end = next;
            }
        }
    }

    /// The tightest published bound of wire `i` under all its names.
    fn bound(&self, graph: &Graph, i: usize) -> Option<f64> {
        let names = graph.nodes().iter().enumerate();
        let bounds = names.filter(|(j, _)| self.resolve(WireId(*j as u32)).index() == i);
        bounds.filter_map(|(_, n)| n.fact.bound).reduce(f64::min)
    }
}

/// Whether a node hands on its only input unchanged.
fn renames(graph: &Graph, node: &Node) -> bool {
    let same_shape = || match node.inputs[..] {
        [x] => graph.fact(x).is_some_and(|f| f.shape == node.fact.shape),
        _ => false,
    };
    match &node.op {
        Op::Identity => true,
        Op::Flatten | Op::Reshape { .. } | Op::Slice { .. } | Op::Pad { .. } => same_shape(),
        _ => false,
    }
}

/// The pads of an operator that surrounds an image with zeros.
fn zero_border(op: &Op) -> Option<[usize; 4]> {
    match op {
        Op::Pad { before, after, value } if *value == 0.0 => match (&before[..], &after[..]) {
            ([0, top, left], [0, bottom, right]) => Some([*top, *left, *bottom, *right]),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a node multiplies each channel of its input by a constant and adds another.
fn is_affine_per_channel(graph: &Graph, i: usize) -> bool {
    let node = &graph.nodes()[i];
    let channels = node.fact.shape.dims().first().copied().unwrap_or(1);
    match &node.op {
        Op::BatchNorm { .. } => true,
        Op::AddConst { value } | Op::MulConst { value } => {
            let c = &graph.weights()[value.0 as usize].shape;
            c.elements() == 1 || c.elements() == channels
        }
        _ => false,
    }
}

/// `y = scale·x + shift` per channel, in double precision so that folding rounds once.
struct Affine {
    scale: Vec<f64>,
    shift: Vec<f64>,
}

impl Affine {
    fn identity(channels: usize) -> Self {
        Self { scale: vec![1.0; channels], shift: vec![0.0; channels] }
    }

    fn then(mut self, op: &Op, weights: &Weights) -> Self {
        let get = |id: &WeightId, c: usize| {
            let t = weights.get(*id).data();
            f64::from(if t.len() == 1 { t[0] } else { t[c] })
        };
        for (c, (scale, shift)) in self.scale.iter_mut().zip(&mut self.shift).enumerate() {
            match op {
                Op::AddConst { value } => *shift += get(value, c),
                Op::MulConst { value } => {
                    *scale *= get(value, c);
                    *shift *= get(value, c);
                }
                Op::BatchNorm { scale: gamma, bias, mean, var, epsilon } => {
                    let gain = get(gamma, c) / (get(var, c) + f64::from(*epsilon)).sqrt();
                    *scale *= gain;
                    *shift = (*shift - get(mean, c)) * gain + get(bias, c);
                }
                _ => {}
            }
        }
        self
    }
}

struct Rebuild<'a> {
    old: &'a Graph,
    weights: &'a Weights,
    graph: Graph,
    tensors: Vec<Tensor>,
    /// Where an old weight went, if it was taken over as it is.
    moved: Vec<Option<WeightId>>,
    /// The new name of each old wire.
    wires: Vec<WireId>,
}

impl Rebuild<'_> {
    fn emit(&mut self, plan: &Plan, i: usize, node: &Node) -> Result<(), NnError> {
        let inputs: Vec<WireId> = plan.inputs[i].iter().map(|w| self.wires[w.index()]).collect();
        let chain = &plan.chain[i];
        let op = match &node.op {
            Op::BatchNorm { .. } => return self.lone_norm(plan, i, node, &inputs),
            Op::Conv(conv) => {
                let mut pads = conv.pads;
                pads.iter_mut().zip(plan.pads[i]).for_each(|(p, more)| *p = p.saturating_add(more));
                let (weight, bias) = self.linear(node, chain, conv.out_channels, conv.weight, conv.bias)?;
                Op::Conv(Conv { pads, weight, bias, ..conv.clone() })
            }
            Op::Dense { out, weight, bias } => {
                let (weight, bias) = self.linear(node, chain, *out, *weight, *bias)?;
                Op::Dense { out: *out, weight, bias }
            }
            Op::AddConst { value } => Op::AddConst { value: self.take_over(*value)? },
            Op::MulConst { value } => Op::MulConst { value: self.take_over(*value)? },
            other => other.clone(),
        };
        let wire = self.graph.push(&node.name, op, &inputs)?;
        let end = chain.last().copied().unwrap_or(i);
        self.wires[end] = wire;
        self.copy_bound(plan.bound(self.old, end), wire)
    }

    /// Weight and bias of a linear layer with the affine nodes of `chain` folded in.
    fn linear(
        &mut self,
        node: &Node,
        chain: &[usize],
        channels: usize,
        weight: WeightId,
        bias: Option<WeightId>,
    ) -> Result<(WeightId, Option<WeightId>), NnError> {
        if chain.is_empty() {
            return Ok((self.take_over(weight)?, bias.map(|b| self.take_over(b)).transpose()?));
        }
        let mut affine = Affine::identity(channels);
        if let Some(b) = bias {
            affine = affine.then(&Op::AddConst { value: b }, self.weights);
        }
        for &j in chain {
            affine = affine.then(&self.old.nodes()[j].op, self.weights);
        }
        let mut w = self.weights.get(weight).clone();
        let per = w.data().len() / channels.max(1);
        for (row, s) in w.data_mut().chunks_mut(per.max(1)).zip(&affine.scale) {
            row.iter_mut().for_each(|v| *v = (f64::from(*v) * s) as f32);
        }
        let name = |id: WeightId| self.old.weights()[id.0 as usize].name.clone();
        let weight_name = name(weight);
        let bias_name = bias.map_or_else(|| format!("{}.bias", node.name), name);
        let zeros = self.old.weights()[weight.0 as usize].zeros.is_some().then(|| Zeros::of(&w));
        let weight = self.declare(&weight_name, w)?;
        zeros.map_or(Ok(()), |zeros| self.graph.set_zeros(weight, zeros))?;
        let bias = self.declare(&bias_name, vector(&affine.shift)?)?;
        Ok((weight, Some(bias)))
    }

    /// A batch normalisation that follows no linear layer, as a product and a sum.
    fn lone_norm(&mut self, plan: &Plan, i: usize, node: &Node, inputs: &[WireId]) -> Result<(), NnError> {
        let channels = node.fact.shape.dims().first().copied().unwrap_or(1);
        let affine = Affine::identity(channels).then(&node.op, self.weights);
        let scale = self.declare(&format!("{}.scale", node.name), vector(&affine.scale)?)?;
        let shift = self.declare(&format!("{}.shift", node.name), vector(&affine.shift)?)?;
        let product =
            self.graph.push(&format!("{}.scale", node.name), Op::MulConst { value: scale }, inputs)?;
        let wire = self.graph.push(&node.name, Op::AddConst { value: shift }, &[product])?;
        self.wires[i] = wire;
        self.copy_bound(plan.bound(self.old, i), wire)
    }

    /// The new id of an old weight that is used as it is.
    fn take_over(&mut self, id: WeightId) -> Result<WeightId, NnError> {
        if let Some(new) = self.moved[id.0 as usize] {
            return Ok(new);
        }
        let name = self.old.weights()[id.0 as usize].name.clone();
        let new = self.declare(&name, self.weights.get(id).clone())?;
        if let Some(zeros) = &self.old.weights()[id.0 as usize].zeros {
            self.graph.set_zeros(new, zeros.clone())?;
        }
        self.moved[id.0 as usize] = Some(new);
        Ok(new)
    }

    fn declare(&mut self, name: &str, t: Tensor) -> Result<WeightId, NnError> {
        let id = self.graph.weight(name, t.shape().clone())?;
        self.tensors.push(t);
        Ok(id)
    }

    fn copy_bound(&mut self, bound: Option<f64>, wire: WireId) -> Result<(), NnError> {
        bound.map_or(Ok(()), |b| self.graph.set_bound(wire, b))
    }
}

fn node_name(graph: &Graph, i: usize) -> &str {
    graph.nodes().get(i).map_or("input", |n| &n.name)
}

fn vector(values: &[f64]) -> Result<Tensor, NnError> {
    Tensor::new(Shape::new([values.len()])?, values.iter().map(|&v| v as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval;
    use crate::testing::{Build, assert_close, random_input, random_model};
    use proptest::prelude::*;

    fn ops(model: &Model) -> Vec<&'static str> {
        model.public.graph.nodes().iter().map(|n| n.op.name()).collect()
    }

    #[test]
    fn norms_constants_padding_and_renames_vanish_into_the_convolution() {
        let mut b = Build::new(1, [2, 5, 5]);
        b.op("pad", Op::Pad { before: vec![0, 1, 2], after: vec![0, 0, 1], value: 0.0 });
        b.conv("conv", 3, [3, 3], [1, 1], [0, 1, 1, 0], 1, false);
        b.op("id", Op::Identity);
        b.batch_norm("bn");
        b.constant("plus", true, &[3]);
        b.constant("times", false, &[1]);
        b.bound(4.0);
        b.op("relu", Op::Relu);
        b.op("flat", Op::Flatten);
        b.op("flat2", Op::Flatten);
        let model = b.finish();
        let folded = fold(&model).unwrap();
        assert_eq!(ops(&folded), ["Input", "Conv", "Relu", "Flatten"]);
        let conv = &folded.public.graph.nodes()[1];
        assert!(matches!(&conv.op, Op::Conv(c) if c.pads == [1, 3, 1, 1] && c.bias.is_some()));
        assert_eq!((conv.name.as_str(), conv.fact.bound), ("conv", Some(4.0)));
        let x = random_input(&model, 2);
        assert_close(&eval::run(&folded, &x).unwrap(), &eval::run(&model, &x).unwrap(), 1e-5);
    }

    #[test]
    fn a_layer_read_twice_keeps_its_own_output() {
        let mut b = Build::new(1, [2, 4, 4]);
        let conv = b.conv("conv", 2, [1, 1], [1, 1], [0; 4], 1, true);
        b.batch_norm("bn");
        b.add("add", conv);
        let model = b.finish();
        let folded = fold(&model).unwrap();
        assert_eq!(ops(&folded), ["Input", "Conv", "MulConst", "AddConst", "Add"]);
        let x = random_input(&model, 2);
        assert_close(&eval::run(&folded, &x).unwrap(), &eval::run(&model, &x).unwrap(), 1e-5);
    }

    #[test]
    fn a_layer_whose_wire_is_the_output_is_not_folded_past_it() {
        let mut b = Build::new(1, [4]);
        let dense = b.dense("dense", 3);
        b.constant("after", true, &[3]);
        b.output(dense);
        let folded = fold(&b.finish()).unwrap();
        assert_eq!(ops(&folded), ["Input", "Dense"]);
    }

    #[test]
    fn nodes_the_output_does_not_need_are_dropped_with_their_weights() {
        let mut b = Build::new(1, [4]);
        let keep = b.op("relu", Op::Relu);
        b.dense("unused", 3);
        b.output(keep);
        let folded = fold(&b.finish()).unwrap();
        assert_eq!(ops(&folded), ["Input", "Relu"]);
        assert!(folded.weights.tensors().is_empty());
    }

    #[test]
    fn padding_with_something_else_than_zero_stays() {
        let mut b = Build::new(1, [1, 4, 4]);
        b.op("pad", Op::Pad { before: vec![0, 1, 1], after: vec![0, 1, 1], value: 1.0 });
        b.conv("conv", 1, [3, 3], [1, 1], [0; 4], 1, true);
        assert_eq!(ops(&fold(&b.finish()).unwrap()), ["Input", "Pad", "Conv"]);
    }

    proptest! {
        #[test]
        fn folding_keeps_the_output(seed: u64) {
            let model = random_model(seed);
            let folded = fold(&model).unwrap();
            let x = random_input(&model, seed ^ 1);
            assert_close(&eval::run(&folded, &x).unwrap(), &eval::run(&model, &x).unwrap(), 1e-4);
            prop_assert!(!ops(&folded).contains(&"BatchNorm"));
            prop_assert!(!ops(&folded).contains(&"Identity"));
        }

        #[test]
        fn folding_twice_is_folding_once(seed: u64) {
            let once = fold(&random_model(seed)).unwrap();
            let twice = fold(&once).unwrap();
            prop_assert_eq!(ops(&twice), ops(&once));
        }
    }
}
