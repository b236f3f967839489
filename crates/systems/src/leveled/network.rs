//! The networks the plans of `leveled` know, found in a graph.

use oblivia_nn::{Conv, Graph, Node, Op, PublicModel, WeightId, WireId};
use oblivia_protocol::{Error, Support};

/// A dense layer as the graph has it.
#[derive(Clone, Debug)]
pub(super) struct DenseLayer {
    pub(super) name: String,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) weight: WeightId,
    pub(super) bias: Option<WeightId>,
    pub(super) bound: f64,
    pub(super) row_norm: f64,
}

/// Convolution, square, dense, square, dense: the shape of the CryptoNets network.
#[derive(Clone, Debug)]
pub(super) struct TwoSquares {
    pub(super) conv_name: String,
    pub(super) conv: Conv,
    pub(super) conv_out: oblivia_nn::Shape,
    pub(super) conv_bound: f64,
    pub(super) conv_row_norm: f64,
    pub(super) dense1: DenseLayer,
    pub(super) dense2: DenseLayer,
    /// Bound on |input|.
    pub(super) input_bound: f64,
}

/// Whether some plan may run the node, were it in the right place.
pub(super) fn supports(node: &Node) -> Support {
    match &node.op {
        Op::Input | Op::Dense { .. } | Op::Square | Op::Flatten | Op::Identity => Support::Yes,
        Op::Conv(c) if c.groups == 1 => Support::Yes,
        Op::Conv(_) => Support::No("grouped convolutions have no circuit".into()),
        Op::BatchNorm { .. } | Op::AddConst { .. } | Op::MulConst { .. } | Op::Pad { .. } => {
            Support::Rewrite("is folded into a neighbouring convolution or dense layer".into())
        }
        Op::Relu => Support::Rewrite(
            "encrypted slots have no comparison: replace it by Square (Mul(x, x)) and train again".into(),
        ),
        Op::MaxPool(_) => Support::Rewrite(
            "encrypted slots have no comparison: use a convolution with stride and train again".into(),
        ),
        Op::AveragePool(_) | Op::GlobalAveragePool => {
            Support::Rewrite("has no circuit: use a convolution with stride and train again".into())
        }
        Op::Add => Support::No("residual sums have no circuit".into()),
        Op::Reshape { .. } | Op::Slice { .. } => Support::No("has no circuit".into()),
    }
}

impl TwoSquares {
    /// Finds the shape in a folded graph, or says which node is in the way.
    pub(super) fn find(model: &PublicModel) -> Result<Self, Error> {
        let graph = &model.graph;
        let mut chain = Chain { graph, at: WireId(0) };
        let (conv_wire, conv) = chain.conv()?;
        chain.square()?;
        chain.flatten()?;
        let dense1 = chain.dense()?;
        chain.square()?;
        let dense2 = chain.dense()?;
        if chain.at != graph.output() {
            return Err(chain.refuse("this node is behind the second dense layer"));
        }
        let conv_node = chain.node(conv_wire)?;
        let [low, high] = model.input_range;
        let input_bound = low.abs().max(high.abs());
        if input_bound <= 0.0 {
            return Err(Error::Input(format!(
                "the manifest of `{}` gives the input range [{low}, {high}]",
                model.name
            )));
        }
        Ok(Self {
            conv_name: conv_node.name.clone(),
            conv,
            conv_out: conv_node.fact.shape.clone(),
            conv_bound: published(conv_node, "bound", conv_node.fact.bound)?,
            conv_row_norm: published(conv_node, "row norm", conv_node.fact.row_norm)?,
            dense1,
            dense2,
            input_bound,
        })
    }
}

/// Walks a graph that must be a chain.
struct Chain<'a> {
    graph: &'a Graph,
    at: WireId,
}

impl<'a> Chain<'a> {
    fn node(&self, wire: WireId) -> Result<&'a Node, Error> {
        self.graph.nodes().get(wire.index()).ok_or_else(|| self.refuse("the graph ends here"))
    }

    fn refuse(&self, why: &str) -> Error {
        let node = self.graph.nodes().get(self.at.index());
        Error::Unsupported {
            system: "leveled",
            node: node.map_or_else(String::new, |n| n.name.clone()),
            op: node.map_or_else(String::new, |n| n.op.to_string()),
            why: format!(
                "{why}; the plan `diagonal` runs convolution – square – dense – square – dense and nothing else"
            ),
        }
    }

    /// The only reader of the current wire, which becomes the current one.
    fn step(&mut self) -> Result<(WireId, &'a Node), Error> {
        let mut readers = self.graph.readers(self.at);
        let (next, more) = (readers.next(), readers.next());
        match (next, more) {
            (Some((wire, node)), None) => {
                self.at = wire;
                match supports(node) {
                    Support::Yes => Ok((wire, node)),
                    Support::Rewrite(why) | Support::No(why) => Err(self.refuse(&why)),
                }
            }
            (None, _) => Err(self.refuse("nothing reads this node's output")),
            _ => Err(self.refuse("several nodes read this node's output")),
        }
    }

    fn conv(&mut self) -> Result<(WireId, Conv), Error> {
        match self.step()? {
            (wire, Node { op: Op::Conv(conv), .. }) => Ok((wire, conv.clone())),
            _ => Err(self.refuse("a convolution must come first")),
        }
    }

    fn square(&mut self) -> Result<(), Error> {
        match self.step()?.1.op {
            Op::Square => Ok(()),
            _ => Err(self.refuse("a square must come here")),
        }
    }

    /// Passes a flatten if there is one.
    fn flatten(&mut self) -> Result<(), Error> {
        let before = self.at;
        if !matches!(self.step()?.1.op, Op::Flatten) {
            self.at = before;
        }
        Ok(())
    }

    fn dense(&mut self) -> Result<DenseLayer, Error> {
        let from = self.at;
        let (_, node) = self.step()?;
        let Op::Dense { out, weight, bias } = &node.op else {
            return Err(self.refuse("a dense layer must come here"));
        };
        Ok(DenseLayer {
            name: node.name.clone(),
            inputs: self.node(from)?.fact.shape.elements(),
            outputs: *out,
            weight: *weight,
            bias: *bias,
            bound: published(node, "bound", node.fact.bound)?,
            row_norm: published(node, "row norm", node.fact.row_norm)?,
        })
    }
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
