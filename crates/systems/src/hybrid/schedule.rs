//! The order in which two parties walk a network in fixed point: what is ready is taken together, so that branches share
//! messages.

use oblivia_mpc::{Range, Windows};
use oblivia_nn::fixed::Network;
use oblivia_nn::{Node, Op, Pool, WireId};
use oblivia_pack::coefficient::{ConvShape, LinearShape};
use oblivia_protocol::Error;

/// Nodes that are computed at the same time. Indices are those of nodes and of the wires they make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// One node on own shares.
    Local(usize),
    /// Convolutions and dense layers.
    Linear(Vec<usize>),
    /// ReLUs of values of one width.
    Relu(Vec<usize>),
    /// Clips of values of one width.
    Clip(Vec<usize>),
    /// One pool of maxima.
    MaxPool(usize),
}

/// What has to be said for a node.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum Kind {
    Local,
    Linear,
    MaxPool,
    Relu(u32),
    Clip(u32),
}

fn kind(network: &Network, node: usize) -> Option<Kind> {
    let n = network.graph().nodes().get(node)?;
    let bits = n.inputs.first().and_then(|w| network.wires().get(w.index())).map_or(0, |w| w.bits);
    Some(match &n.op {
        Op::Input => return None,
        Op::Conv(_) | Op::Dense { .. } => Kind::Linear,
        Op::Relu => Kind::Relu(bits),
        Op::Clip { .. } => Kind::Clip(bits),
        Op::MaxPool(_) => Kind::MaxPool,
        _ => Kind::Local,
    })
}

/// Nodes the output depends on, but for the input, in order.
fn needed(network: &Network) -> Vec<bool> {
    let nodes = network.graph().nodes();
    let mut needed = vec![false; nodes.len()];
    if let Some(output) = needed.get_mut(network.graph().output().index()) {
        *output = true;
    }
    for (i, node) in nodes.iter().enumerate().rev() {
        if needed.get(i) == Some(&true) {
            for w in &node.inputs {
                if let Some(n) = needed.get_mut(w.index()) {
                    *n = true;
                }
            }
        }
    }
    needed
}

/// The steps to the output. Whatever is ready and of one kind is one step; linear layers first, for the next comparison
/// waits for them.
pub(super) fn schedule(network: &Network) -> Vec<Step> {
    let nodes = network.graph().nodes();
    let mut waiting: Vec<usize> =
        (0..nodes.len()).zip(needed(network)).filter(|(_, n)| *n).map(|(i, _)| i).collect();
    let mut made: Vec<bool> = nodes.iter().map(|n| matches!(n.op, Op::Input)).collect();
    waiting.retain(|&i| made.get(i) == Some(&false));
    let mut steps = Vec::new();
    while !waiting.is_empty() {
        let is_ready = |node: &Node| node.inputs.iter().all(|w| made.get(w.index()) == Some(&true));
        let ready: Vec<(Kind, usize)> = waiting
            .iter()
            .filter(|&&i| nodes.get(i).is_some_and(is_ready))
            .filter_map(|&i| Some((kind(network, i)?, i)))
            .collect();
        let Some(&(first, at)) = ready.iter().min() else { break };
        let all: Vec<usize> = ready.iter().filter(|(k, _)| *k == first).map(|(_, i)| *i).collect();
        let step = match first {
            Kind::Local => Step::Local(at),
            Kind::MaxPool => Step::MaxPool(at),
            Kind::Linear => Step::Linear(all),
            Kind::Relu(_) => Step::Relu(all),
            Kind::Clip(_) => Step::Clip(all),
        };
        for i in step.nodes() {
            if let Some(m) = made.get_mut(*i) {
                *m = true;
            }
        }
        waiting.retain(|&i| made.get(i) == Some(&false));
        steps.push(step);
    }
    steps
}

impl Step {
    /// Its nodes.
    pub(super) fn nodes(&self) -> &[usize] {
        match self {
            Self::Local(i) | Self::MaxPool(i) => std::slice::from_ref(i),
            Self::Linear(all) | Self::Relu(all) | Self::Clip(all) => all,
        }
    }
}

/// What is known of a wire when it is widened.
pub(super) fn range(network: &Network, wire: usize) -> Range {
    match network.wires().get(wire) {
        Some(w) if w.nonnegative => Range::NonNegative,
        Some(w) if w.limit <= 1 << (w.bits - 2) => Range::SpareBit,
        _ => Range::Any,
    }
}

/// The shape of a convolution or dense layer; `None` for other nodes.
pub(super) fn linear_shape(network: &Network, node: usize) -> Option<LinearShape> {
    let nodes = network.graph().nodes();
    let n = nodes.get(node)?;
    let input = &nodes.get(n.inputs.first()?.index())?.fact.shape;
    match &n.op {
        Op::Conv(c) => {
            let (channels, height, width) = input.chw()?;
            Some(LinearShape::Conv(ConvShape {
                channels,
                size: [height, width],
                outputs: c.out_channels,
                kernel: c.kernel,
                stride: c.stride,
                pads: c.pads,
                groups: c.groups,
            }))
        }
        Op::Dense { out, .. } => Some(LinearShape::Dense { inputs: input.elements(), outputs: *out }),
        _ => None,
    }
}

/// The windows of a pool of maxima.
pub(super) fn windows(network: &Network, node: usize) -> Result<Windows, Error> {
    let nodes = network.graph().nodes();
    let of = |i: usize| nodes.get(i).map(|n| (&n.op, &n.fact.shape));
    let from = nodes.get(node).and_then(|n| n.inputs.first()).and_then(|w| of(w.index()));
    match (of(node), from) {
        (Some((Op::MaxPool(Pool { kernel, stride, pads, .. }), to)), Some((_, from))) => {
            match (from.chw(), to.chw()) {
                (Some((channels, height, width)), Some((_, rows, columns))) => Ok(Windows {
                    channels,
                    size: [height, width],
                    kernel: *kernel,
                    stride: *stride,
                    pad: [pads[0], pads[1]],
                    output: [rows, columns],
                }),
                _ => Err(Error::Misuse("a pool of what is no image".into())),
            }
        }
        _ => Err(Error::Misuse(format!("node {node} is no pool of maxima"))),
    }
}

/// The wire a node reads first.
pub(super) fn source(network: &Network, node: usize) -> WireId {
    network.graph().nodes().get(node).and_then(|n| n.inputs.first()).copied().unwrap_or(WireId(0))
}
