//! A graph as `leveled` computes it: linear layers, squares and sums, with what every value is divided by.

use oblivia_nn::{Conv, Graph, Node, Op, Pool, PublicModel, Tensor, WeightId, WireId, Zeros};
use oblivia_pack::circuit::{Linear, Options, Window};
use oblivia_pack::{CircuitError, Layout, MAX_ELEMENTS, chw};
use oblivia_protocol::{Error, Support};

/// A linear layer.
#[derive(Clone, Debug)]
pub(super) struct LinearLayer {
    /// As a matrix.
    pub(super) window: Window,
    /// `None` for an average, whose weights are 1.
    pub(super) weight: Option<WeightId>,
    pub(super) bias: Option<WeightId>,
    /// Largest Euclidean norm of the weights of one output, averages merged in.
    pub(super) row_norm: f64,
    /// The convolution as the graph has it, where it is one and nothing was merged into it.
    pub(super) conv: Option<Conv>,
    /// Which weights are zero, where that is published.
    pub(super) zeros: Option<Zeros>,
}

impl LinearLayer {
    /// Its circuit over `window`, its own or that of its columns: without diagonals of published zeros alone.
    pub(super) fn circuit(
        &self,
        window: Window,
        input: &Layout,
        output: &Layout,
        options: Options,
    ) -> Result<Linear, CircuitError> {
        match &self.zeros {
            None => Linear::new(window, input, output, options),
            Some(zeros) => {
                let own = window.clone();
                Linear::sparse(window, input, output, options, |tap| zeros.is_zero(own.index(tap)))
            }
        }
    }
}

/// What a layer does.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Linear(LinearLayer),
    Square,
    /// Adds another value.
    Add(usize),
    /// Adds constants: one, one per channel, or one per element.
    Shift(WeightId),
}

/// A layer; it makes the value of its index plus one. Value 0 is the input.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The value it reads.
    pub(super) from: usize,
    /// Shape of its result.
    pub(super) shape: [usize; 3],
    /// What its result is divided by; the quotient is at most `peak`.
    pub(super) norm: f64,
    /// The published bound over `norm`.
    pub(super) peak: f64,
}

/// The layers in the order of computation; the last one is the output.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) input: [usize; 3],
    /// Bound on |input|, which it is divided by.
    pub(super) input_norm: f64,
    pub(super) layers: Vec<Layer>,
}

/// Whether some plan may run the node, were it in the right place.
pub(super) fn supports(node: &Node) -> Support {
    let no_comparison = |instead: &str| {
        Support::Rewrite(format!(
            "encrypted slots have no comparison: replace it by {instead} and train again (the recipes \
             scripts/train_*.py show how)"
        ))
    };
    match &node.op {
        Op::Input | Op::Conv(_) | Op::Dense { .. } | Op::Square | Op::Flatten | Op::Identity | Op::Add => {
            Support::Yes
        }
        Op::AveragePool(p) if p.pads == [0; 4] => Support::Yes,
        Op::GlobalAveragePool => Support::Yes,
        Op::AveragePool(_) => Support::No("averages over padding have no circuit".into()),
        Op::AddConst { .. } => Support::Yes,
        Op::BatchNorm { .. } | Op::MulConst { .. } | Op::Pad { .. } => {
            Support::Rewrite("is folded into a neighbouring convolution or dense layer".into())
        }
        Op::Relu | Op::Clip { .. } => no_comparison("Square (Mul(x, x))"),
        Op::MaxPool(_) => no_comparison("AveragePool or a convolution with stride"),
        Op::Reshape { .. } | Op::Slice { .. } | Op::Concat { .. } => Support::No("has no circuit".into()),
    }
}

impl Network {
    /// The network of a folded graph, or which node is in the way.
    pub(super) fn find(model: &PublicModel) -> Result<Self, Error> {
        let graph = &model.graph;
        let [low, high] = model.input_range;
        let input_norm = low.abs().max(high.abs());
        if input_norm <= 0.0 {
            let why = format!("the manifest of `{}` gives the input range [{low}, {high}]", model.name);
            return Err(Error::Input(why));
        }
        let input = chw(graph.input_shape())
            .ok_or_else(|| Error::Input(format!("`{}` takes neither images nor vectors", model.name)))?;
        // What no bound or other layout would mend comes first.
        for (i, node) in graph.nodes().iter().enumerate() {
            if let Support::Rewrite(why) | Support::No(why) = supports(node) {
                return Err(refuse(graph, WireId(i as u32), &why));
            }
        }
        let mut walk = Walk { graph, values: vec![None; graph.nodes().len()], layers: Vec::new() };
        for (i, node) in graph.nodes().iter().enumerate() {
            let value = walk.visit(WireId(i as u32), node)?;
            walk.values[i] = value;
        }
        let mut network = Self { input, input_norm, layers: walk.layers };
        if network.layers.is_empty() || walk.values[graph.output().index()] != Some(network.layers.len()) {
            return Err(refuse(graph, graph.output(), "this output is not the last layer's"));
        }
        network.settle(graph)?;
        network.depends(graph)?;
        Ok(network)
    }

    /// Refuses a network whose outputs are the same for every input, since a layer before them has but published zeros.
    fn depends(&self, graph: &Graph) -> Result<(), Error> {
        let mut depends = vec![true];
        let mut dead = None;
        for layer in &self.layers {
            let of = |value: usize| depends.get(value).copied().unwrap_or(false);
            let own = match &layer.kind {
                Kind::Linear(l) => of(layer.from) && l.zeros.as_ref().is_none_or(|z| z.count() < z.len()),
                Kind::Add(other) => of(layer.from) || of(*other),
                Kind::Square | Kind::Shift(_) => of(layer.from),
            };
            if !own && of(layer.from) {
                dead = Some(&layer.name);
            }
            depends.push(own);
        }
        match (depends.last(), dead) {
            (Some(false), Some(name)) => {
                let at = graph.nodes().iter().position(|n| n.name == *name).unwrap_or(0);
                let why = "all its weights are zero, so that the outputs do not depend on the input";
                Err(refuse(graph, WireId(at as u32), why))
            }
            _ => Ok(()),
        }
    }

    /// In whole numbers nothing is divided.
    pub(super) fn undivided(mut self) -> Self {
        self.input_norm = 1.0;
        self.layers.iter_mut().for_each(|l| (l.norm, l.peak) = (1.0, 1.0));
        self
    }

    /// What a value is divided by.
    pub(super) fn norm(&self, value: usize) -> f64 {
        value.checked_sub(1).and_then(|k| self.layers.get(k)).map_or(self.input_norm, |l| l.norm)
    }

    /// The largest quotient of a value.
    pub(super) fn peak(&self, value: usize) -> f64 {
        value.checked_sub(1).and_then(|k| self.layers.get(k)).map_or(1.0, |l| l.peak)
    }

    /// Why an input cannot be predicted on: a value outside the published range, or not a number.
    pub(super) fn unfit(&self, input: &Tensor) -> Option<Error> {
        /// Rounding of the preprocessing.
        const SLACK: f64 = 1.0 + 1e-5;
        let bound = self.input_norm;
        let inside = |v: &f32| f64::from(v.abs()) <= bound * SLACK;
        (!input.data().iter().all(inside)).then(|| {
            Error::Input(format!(
                "a value of the input is outside [-{bound}, {bound}], the range its model publishes"
            ))
        })
    }

    /// Linear layers in order.
    pub(super) fn linear(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(|l| matches!(l.kind, Kind::Linear(_)))
    }

    /// The value a linear layer's result is added to later, if that one is there first.
    pub(super) fn joins(&self, value: usize) -> Option<usize> {
        self.layers.iter().find_map(|l| match l.kind {
            Kind::Add(other) if other == value && l.from < value => Some(l.from),
            Kind::Add(other) if l.from == value && other < value => Some(other),
            _ => None,
        })
    }

    /// Divisors: a square has that of its input squared, the parts of a sum have the same one.
    fn settle(&mut self, graph: &Graph) -> Result<(), Error> {
        let bounds: Vec<f64> = self.layers.iter().map(|l| l.norm).collect();
        for _ in 0..=self.layers.len() {
            let mut changed = false;
            for k in 0..self.layers.len() {
                let (kind, from) = (self.layers[k].kind.clone(), self.layers[k].from);
                match kind {
                    Kind::Linear(_) => {}
                    Kind::Square => changed |= self.set_norm(k + 1, self.norm(from).powi(2)),
                    Kind::Shift(_) => changed |= self.set_norm(k + 1, self.norm(from)),
                    Kind::Add(other) => {
                        let parts = [from, other, k + 1];
                        let fixed = parts.into_iter().find(|&v| self.is_fixed(v));
                        let most = parts.into_iter().map(|v| self.norm(v)).fold(0.0, f64::max);
                        let norm = fixed.map_or(most, |v| self.norm(v));
                        for v in parts {
                            changed |= !self.is_fixed(v) && self.set_norm(v, norm);
                        }
                    }
                }
            }
            if !changed {
                break;
            }
        }
        for (k, bound) in bounds.into_iter().enumerate() {
            let norm = self.layers[k].norm;
            self.layers[k].peak = match self.layers[k].kind {
                Kind::Square => self.peak(self.layers[k].from).powi(2),
                // Its bound was kept here.
                Kind::Shift(_) => self.layers[k].peak / norm,
                _ => bound / norm,
            };
            if let Kind::Add(other) = self.layers[k].kind
                && self.norm(other).to_bits() != self.norm(self.layers[k].from).to_bits()
            {
                let why = "the two operands of this sum cannot be brought to one scale";
                let at = graph.nodes().iter().position(|n| n.name == self.layers[k].name).unwrap_or(0);
                return Err(refuse(graph, WireId(at as u32), why));
            }
        }
        Ok(())
    }

    fn is_fixed(&self, value: usize) -> bool {
        value == 0 || matches!(self.layers[value - 1].kind, Kind::Square | Kind::Shift(_))
    }

    fn set_norm(&mut self, value: usize, norm: f64) -> bool {
        let own = &mut self.layers[value - 1].norm;
        let changed = own.to_bits() != norm.to_bits();
        *own = norm;
        changed
    }
}

fn refuse(graph: &Graph, wire: WireId, why: &str) -> Error {
    let node = graph.nodes().get(wire.index());
    Error::Unsupported {
        system: "leveled",
        node: node.map_or_else(String::new, |n| n.name.clone()),
        op: node.map_or_else(String::new, |n| n.op.to_string()),
        why: why.to_owned(),
    }
}

struct Walk<'a> {
    graph: &'a Graph,
    /// The value of each wire; `None` for an average that is merged into its reader.
    values: Vec<Option<usize>>,
    layers: Vec<Layer>,
}

impl Walk<'_> {
    /// The value of a node's wire, after the layer that makes it was added.
    fn visit(&mut self, wire: WireId, node: &Node) -> Result<Option<usize>, Error> {
        let shape = chw(&node.fact.shape)
            .ok_or_else(|| refuse(self.graph, wire, "a tensor of these axes has no layout"))?;
        if node.fact.shape.elements() > MAX_ELEMENTS {
            return Err(refuse(self.graph, wire, "its result is too large to pack into ciphertexts"));
        }
        let from = node.inputs.first().copied().unwrap_or(WireId(0));
        let kind = match &node.op {
            Op::Input => return Ok(Some(0)),
            Op::Flatten | Op::Identity => return Ok(self.values[from.index()]),
            Op::Square => Kind::Square,
            Op::AddConst { value } => Kind::Shift(*value),
            Op::Add => match node.inputs.get(1).and_then(|w| self.values[w.index()]) {
                Some(other) => Kind::Add(other),
                None => {
                    return Err(refuse(self.graph, wire, "an average directly before a sum has no circuit"));
                }
            },
            Op::AveragePool(_) | Op::GlobalAveragePool if self.merges(wire, node) => return Ok(None),
            Op::AveragePool(pool) => self.average(wire, &pool.clone(), self.before(from)?, shape)?,
            Op::GlobalAveragePool => {
                let before = self.before(from)?;
                self.average(wire, &whole(before), before, shape)?
            }
            Op::Conv(conv) => {
                let at = self.before(from)?;
                self.linear(wire, Window::conv(conv, at, shape), from, conv.weight, conv.bias, Some(conv))?
            }
            Op::Dense { out, weight, bias } => {
                let at = self.before(from)?;
                self.linear(wire, Window::dense(at, *out), from, *weight, *bias, None)?
            }
            _ => return Err(refuse(self.graph, wire, "this node has no circuit")),
        };
        let bound = match &kind {
            Kind::Shift(_) => Some(published(node, "bound", node.fact.bound)?),
            _ => None,
        };
        let norm = match &kind {
            Kind::Square | Kind::Shift(_) => 1.0,
            _ => published(node, "bound", node.fact.bound)?,
        };
        let source = self.source(from);
        let Some(value) = self.values[source.index()] else {
            return Err(refuse(self.graph, wire, "an average directly before this node has no circuit"));
        };
        self.layers.push(Layer {
            name: node.name.clone(),
            kind,
            from: value,
            shape,
            norm,
            peak: bound.unwrap_or(1.0),
        });
        Ok(Some(self.layers.len()))
    }

    /// Looks through flattening.
    fn unflattened(&self, mut wire: WireId) -> WireId {
        while let Some(node) = self.graph.nodes().get(wire.index())
            && matches!(node.op, Op::Flatten | Op::Identity)
            && let Some(&before) = node.inputs.first()
        {
            wire = before;
        }
        wire
    }

    /// The wire whose value a linear layer reads: that before a merged average.
    fn source(&self, wire: WireId) -> WireId {
        let at = self.unflattened(wire);
        match (self.values[at.index()], self.graph.nodes().get(at.index())) {
            (None, Some(node)) => node.inputs.first().map_or(at, |&w| self.unflattened(w)),
            _ => at,
        }
    }

    /// Channels, height and width of a wire before flattening.
    fn before(&self, wire: WireId) -> Result<[usize; 3], Error> {
        let node = self.graph.nodes().get(self.unflattened(wire).index());
        node.and_then(|n| chw(&n.fact.shape))
            .ok_or_else(|| refuse(self.graph, wire, "a tensor of these axes has no layout"))
    }

    /// Whether an average is read by one linear layer alone, whose weights can take it in.
    fn merges(&self, wire: WireId, node: &Node) -> bool {
        let Some(before) = node.inputs.first().and_then(|&w| self.before(w).ok()) else { return false };
        let pool = match &node.op {
            Op::AveragePool(p) => p.clone(),
            _ => whole(before),
        };
        let tiles = pool.stride == pool.kernel
            && chw(&node.fact.shape)
                .is_some_and(|[_, h, w]| before[1] == h * pool.kernel[0] && before[2] == w * pool.kernel[1]);
        let mut at = wire;
        loop {
            let mut readers = self.graph.readers(at);
            match (readers.next(), readers.next()) {
                (Some((next, n)), None) => match n.op {
                    Op::Flatten | Op::Identity => at = next,
                    Op::Conv(_) | Op::Dense { .. } => return tiles,
                    _ => return false,
                },
                _ => return false,
            }
        }
    }

    fn average(
        &self,
        wire: WireId,
        pool: &Pool,
        before: [usize; 3],
        after: [usize; 3],
    ) -> Result<Kind, Error> {
        let window = Window::average(pool, before, after)
            .ok_or_else(|| refuse(self.graph, wire, "averages over padding have no circuit"))?;
        let row_norm = 1.0 / (window.cells() as f64).sqrt();
        Ok(Kind::Linear(LinearLayer { window, weight: None, bias: None, row_norm, conv: None, zeros: None }))
    }

    fn linear(
        &self,
        wire: WireId,
        window: Window,
        from: WireId,
        weight: WeightId,
        bias: Option<WeightId>,
        conv: Option<&Conv>,
    ) -> Result<Kind, Error> {
        let node = &self.graph.nodes()[wire.index()];
        let row_norm = published(node, "row norm", node.fact.row_norm)?;
        let at = self.unflattened(from);
        let merged = self.values[at.index()].is_none().then(|| self.graph.nodes().get(at.index())).flatten();
        let (window, conv) = match merged {
            None => (window, conv.cloned()),
            Some(average) => {
                let before = self.before(average.inputs.first().copied().unwrap_or(WireId(0)))?;
                let pool = match &average.op {
                    Op::AveragePool(p) => p.clone(),
                    _ => whole(before),
                };
                let merged = window
                    .after_average(&pool, before)
                    .ok_or_else(|| refuse(self.graph, at, "this average does not tile its input"))?;
                (merged, None)
            }
        };
        let row_norm = row_norm / (window.cells() as f64).sqrt();
        let zeros = self.graph.weights().get(weight.0 as usize).and_then(|w| w.zeros.clone());
        Ok(Kind::Linear(LinearLayer { window, weight: Some(weight), bias, row_norm, conv, zeros }))
    }
}

/// An average over everything.
fn whole(before: [usize; 3]) -> Pool {
    let kernel = [before[1], before[2]];
    Pool { kernel, stride: kernel, pads: [0; 4], count_include_pad: false }
}

fn published(node: &Node, what: &str, value: Option<f64>) -> Result<f64, Error> {
    value.ok_or_else(|| {
        Error::Input(format!(
            "no {what} is published for the output of `{}`; fixed precision needs one: give it under \
             [ranges.bounds] in model.toml",
            node.name
        ))
    })
}
