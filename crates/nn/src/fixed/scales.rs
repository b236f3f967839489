//! Which channels must share a scale, and how large each scale may be.

use super::channels::{cells, count, sources};
use super::{Network, Ranges};
use crate::{NnError, Op};

/// Unknown scales, of which some are fixed multiples of others (a weighted union–find).
#[derive(Default)]
struct Ties {
    /// Parent and own scale over the parent's; roots are their own parents.
    parent: Vec<(usize, f64)>,
}

impl Ties {
    fn fresh(&mut self) -> usize {
        self.parent.push((self.parent.len(), 1.0));
        self.parent.len() - 1
    }

    /// Root, and own scale over the root's.
    fn find(&mut self, v: usize) -> (usize, f64) {
        let (mut at, mut ratio) = (v, 1.0);
        while self.parent[at].0 != at {
            let (up, r) = self.parent[at];
            // Halve the path.
            let (upper, more) = self.parent[up];
            self.parent[at] = (upper, r * more);
            ratio *= r * more;
            at = upper;
        }
        (at, ratio)
    }

    /// Makes scale `a` equal to `ratio` times scale `b`; false if they are tied otherwise already.
    fn tie(&mut self, a: usize, b: usize, ratio: f64) -> bool {
        let ((ra, fa), (rb, fb)) = (self.find(a), self.find(b));
        if ra == rb {
            return (fa - ratio * fb).abs() <= 1e-9 * fa;
        }
        // fa·σ(ra) = ratio·fb·σ(rb)
        self.parent[ra] = (rb, ratio * fb / fa);
        true
    }
}

/// A group of channels whose scales are fixed multiples of one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Group {
    /// The layer (wire) that alone makes its channels; `None` if several do, or the input does.
    pub(super) maker: Option<usize>,
    makers: usize,
    /// The largest scale at which no channel leaves its wire's limit; infinite if nothing bounds it.
    pub(super) most: f64,
    /// The scale, once it is decided.
    pub(super) scale: Option<f64>,
}

/// The groups of a network.
pub(super) struct Groups {
    pub(super) groups: Vec<Group>,
    /// By wire and channel: group, and own scale over the group's.
    pub(super) channels: Vec<Vec<(usize, f64)>>,
}

impl Groups {
    /// Finds the groups; limits are used to the fraction `headroom`.
    ///
    /// # Errors
    /// [`NnError::BadNode`] for operands no scale fits.
    pub(super) fn new(network: &Network, ranges: &Ranges, headroom: f64) -> Result<Self, NnError> {
        let graph = network.graph();
        let mut ties = Ties::default();
        let mut wires: Vec<Vec<usize>> = Vec::with_capacity(graph.nodes().len());
        for node in graph.nodes() {
            let channels = count(&node.fact);
            let clash = || NnError::BadNode {
                node: node.name.clone(),
                op: node.op.name(),
                why: "its operands cannot be brought to one scale".into(),
            };
            let wire = match &node.op {
                Op::Input => vec![ties.fresh(); channels],
                Op::Conv(_) | Op::Dense { .. } => (0..channels).map(|_| ties.fresh()).collect(),
                _ => {
                    let ratio = cells(graph, node);
                    let mut wire = Vec::with_capacity(channels);
                    for from in sources(graph, node) {
                        let own = ties.fresh();
                        for (i, c) in from {
                            let other = node.inputs.get(i).and_then(|w| wires[w.index()].get(c));
                            if !other.is_some_and(|&other| ties.tie(own, other, ratio)) {
                                return Err(clash());
                            }
                        }
                        wire.push(own);
                    }
                    wire
                }
            };
            // Outputs are compared with each other.
            if graph.output().index() == wires.len()
                && !wire.windows(2).all(|pair| ties.tie(pair[0], pair[1], 1.0))
            {
                return Err(clash());
            }
            wires.push(wire);
        }
        let mut this = Self { groups: Vec::new(), channels: Vec::with_capacity(wires.len()) };
        let mut of_root = vec![None; ties.parent.len()];
        for (i, wire) in wires.iter().enumerate() {
            let node = &graph.nodes()[i];
            let makes = matches!(node.op, Op::Input | Op::Conv(_) | Op::Dense { .. });
            let limit = (network.wires()[i].limit - 1) as f64 * headroom;
            let mut channels = Vec::with_capacity(wire.len());
            for (c, &own) in wire.iter().enumerate() {
                let (root, ratio) = ties.find(own);
                let group = *of_root[root].get_or_insert_with(|| {
                    this.groups.push(Group { maker: None, makers: 0, most: f64::INFINITY, scale: None });
                    this.groups.len() - 1
                });
                let g = &mut this.groups[group];
                if makes && g.maker != Some(i) {
                    g.makers += 1;
                    g.maker = (i > 0).then_some(i);
                }
                let peak = ranges.peak[i].get(c).copied().unwrap_or(0.0);
                if peak > 0.0 {
                    g.most = g.most.min(limit / (peak * ratio));
                }
                channels.push((group, ratio));
            }
            this.channels.push(channels);
        }
        for g in &mut this.groups {
            if g.makers != 1 || g.maker.is_none() {
                g.maker = None;
                g.scale = Some(if g.most.is_finite() { g.most } else { 1.0 });
            }
        }
        Ok(this)
    }

    /// The scale of a channel whose group's is decided.
    pub(super) fn scale(&self, wire: usize, channel: usize) -> Option<f64> {
        let (group, ratio) = *self.channels.get(wire)?.get(channel)?;
        Some(self.groups[group].scale? * ratio)
    }
}
