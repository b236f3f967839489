//! Both parties' way through a network: shares on every wire, one message after the other.
//!
//! Linear layers and comparisons share messages: the server's reply and the flips of the comparison that follows are one
//! message, and so are the client's part of the widening and the next upload.

use super::link::{layer_error, mpc_error};
use super::parts::{pool_cost, pools, relus, relus_cost};
use super::plan::Derived;
use super::schedule::{Step, range, source, windows};
use oblivia_base::Secret;
use oblivia_mpc::{
    Cost, Divisible, Link, MpcError, Party, Radix, Range, Session, Shares, Windows, arg_max, arg_max_cost,
    reveal, reveal_cost, widen, widen_cost,
};
use oblivia_nn::{OutputPolicy, WireId};
use oblivia_pack::coefficient::CoefficientError;
use oblivia_protocol::Error;
use rayon::ThreadPool;
use std::collections::BTreeMap;

/// Width the input's shares are held in: the client knows the numbers, so they fit every ring.
const INPUT_BITS: u32 = 64;

/// What went wrong on the way; an [`MpcError::Link`] is for the link to explain.
#[derive(Debug)]
pub(super) enum WalkError {
    /// Of a protocol on shares.
    Mpc(MpcError),
    /// Anything else.
    Other(Error),
}

impl From<MpcError> for WalkError {
    fn from(e: MpcError) -> Self {
        Self::Mpc(e)
    }
}

impl From<Error> for WalkError {
    fn from(e: Error) -> Self {
        Self::Other(e)
    }
}

impl From<CoefficientError> for WalkError {
    fn from(e: CoefficientError) -> Self {
        Self::Other(layer_error(e))
    }
}

impl WalkError {
    /// The session's error, where the link had nothing to say.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Mpc(e) => mpc_error(e),
            Self::Other(e) => e,
        }
    }
}

/// What the parties do differently in a linear layer.
pub(super) trait Hand {
    /// The client's upload of layer `node`, from its share of the input.
    fn upload(&mut self, d: &Derived, node: usize, share: &Secret<Vec<u64>>) -> Result<Vec<u8>, WalkError>;
    /// The server's replies, from the upload and its own share of the input; with its share of the results.
    fn reply(
        &mut self,
        d: &Derived,
        node: usize,
        upload: &[u8],
        share: &Secret<Vec<u64>>,
    ) -> Result<(Vec<u8>, Secret<Vec<u64>>), WalkError>;
    /// The client's share of the results, from the replies.
    fn finish(&mut self, d: &Derived, node: usize, replies: &[u8]) -> Result<Secret<Vec<u64>>, WalkError>;
    /// What the server takes off its share of the operand of a clip, per element: the tops, which are its own. `None` for
    /// the client.
    fn tops(&self, d: &Derived, node: usize) -> Result<Option<Vec<u64>>, WalkError>;
}

/// The layers of a step by the wire they read: to how many bits it is widened, and who reads it.
fn by_input(d: &Derived, nodes: &[usize]) -> BTreeMap<usize, Vec<usize>> {
    let mut inputs: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &node in nodes {
        inputs.entry(source(&d.network, node).index()).or_default().push(node);
    }
    inputs
}

/// Bits of the ring the client's share of `wire` is sent in.
fn message_bits(d: &Derived, node: usize) -> u32 {
    d.layers.get(&node).map_or(0, |l| l.params.k_bits())
}

/// The widening of `wire` that its `readers` need, if any.
fn widening(d: &Derived, wire: usize, readers: &[usize]) -> Option<(u32, Range)> {
    let widest = readers.iter().map(|&r| message_bits(d, r)).max().unwrap_or(0);
    let is_input = wire == d.network.graph().input().index();
    (!is_input && widest > d.bits(wire)).then(|| (widest, range(&d.network, wire)))
}

/// What one image sends and takes.
pub(super) fn cost(d: &Derived) -> Result<Cost, Error> {
    let mut cost = Cost::none();
    for (at, step) in d.steps.iter().enumerate() {
        cost = cost.then(&comparisons_cost(d, step, d.choices.radix(at))?);
        if let Step::Linear(nodes) = step {
            if cost.pen_after(Party::Client) != Party::Client {
                cost = cost.then(&Cost::of_passing());
            }
            let layers = || nodes.iter().filter_map(|n| d.layers.get(n));
            let up: usize = layers().map(|l| d.images() * l.up_bytes).sum();
            let down: usize = layers().map(|l| d.images() * l.down_bytes).sum();
            cost = cost.then(&Cost::of_bytes(up as u64)).then(&Cost::of_passing());
            cost = cost.then(&Cost::of_bytes(down as u64));
        }
    }
    cost = cost.then(&class_cost(d, d.choices.radix(d.steps.len())));
    let output = d.network.graph().output().index();
    let (bits, n) = match d.output {
        OutputPolicy::Logits => (d.bits(output), d.all(output)),
        OutputPolicy::ArgMax => (index_bits(d.elements(output)), d.images()),
    };
    let pen = cost.pen_after(Party::Client);
    Ok(cost.then(&reveal_cost(bits, Party::Client, pen).times(n)))
}

/// Comparisons of one step: those of a linear layer are its widening.
pub(super) fn comparisons_cost(d: &Derived, step: &Step, radix: Radix) -> Result<Cost, Error> {
    let elements = || step.nodes().iter().map(|&n| d.all(n)).sum::<usize>();
    let bits = || step.nodes().first().map_or(0, |&n| d.bits(source(&d.network, n).index()));
    Ok(match step {
        Step::Local(_) => Cost::none(),
        Step::Linear(nodes) => {
            let mut cost = Cost::none();
            for (wire, readers) in by_input(d, nodes) {
                if let Some((to, range)) = widening(d, wire, &readers) {
                    cost = cost.then(&widen_cost(d.bits(wire), to, range, radix).times(d.all(wire)));
                }
            }
            cost
        }
        Step::Relu(_) => relus_cost(elements(), bits(), radix),
        Step::Clip(_) => relus_cost(2 * elements(), bits(), radix),
        Step::MaxPool(node) => pool_cost(&all_windows(d, *node)?, bits(), radix),
    })
}

/// Of finding the winning class, if that is all the client gets.
pub(super) fn class_cost(d: &Derived, radix: Radix) -> Cost {
    let output = d.network.graph().output().index();
    let (bits, n) = (d.bits(output), d.elements(output));
    match d.output {
        OutputPolicy::Logits => Cost::none(),
        OutputPolicy::ArgMax => {
            let wide = widen_cost(bits, bits + 1, Range::Any, radix).times(d.all(output));
            wide.then(&arg_max_cost(n, d.images(), bits + 1, index_bits(n), radix))
        }
    }
}

/// The windows of a pool of maxima, those of all images of a group as channels of one.
fn all_windows(d: &Derived, node: usize) -> Result<Windows, Error> {
    let one = windows(&d.network, node)?;
    Ok(Windows { channels: d.images() * one.channels, ..one })
}

/// Bits of the number of a class.
fn index_bits(classes: usize) -> u32 {
    usize::BITS - classes.saturating_sub(1).leading_zeros().min(usize::BITS - 1)
}

/// Shares on the wires, dropped after their last reader.
struct Wires<'a> {
    d: &'a Derived,
    shares: Vec<Option<Shares>>,
    readers: Vec<usize>,
}

impl<'a> Wires<'a> {
    fn new(d: &'a Derived) -> Self {
        let mut readers = vec![0; d.network.graph().nodes().len()];
        let nodes = d.network.graph().nodes();
        let read = d.steps.iter().flat_map(Step::nodes).filter_map(|&n| nodes.get(n)).flat_map(|n| &n.inputs);
        for wire in read.chain([&d.network.graph().output()]) {
            if let Some(n) = readers.get_mut(wire.index()) {
                *n += 1;
            }
        }
        Self { d, shares: vec![None; nodes.len()], readers }
    }

    fn put(&mut self, wire: usize, shares: Shares) {
        if let Some(place) = self.shares.get_mut(wire) {
            *place = Some(shares);
        }
    }

    /// One reader's share of a wire, in the ring of the wire.
    fn take(&mut self, wire: usize) -> Result<Shares, WalkError> {
        let missing = || Error::Misuse(format!("wire {wire} was read before it was made"));
        let readers = self.readers.get_mut(wire).ok_or_else(missing)?;
        *readers = readers.saturating_sub(1);
        let place = self.shares.get_mut(wire).ok_or_else(missing)?;
        let shares = if *readers == 0 { place.take() } else { place.clone() };
        let shares = shares.ok_or_else(missing)?;
        let bits = self.d.bits(wire);
        Ok(if shares.width() > bits { shares.narrow(bits)? } else { shares })
    }

    /// A wire as it is held, for `readers` readers at once.
    fn take_whole(&mut self, wire: usize, readers: usize) -> Result<Shares, WalkError> {
        let missing = || Error::Misuse(format!("wire {wire} was read before it was made"));
        let left = self.readers.get_mut(wire).ok_or_else(missing)?;
        *left = left.saturating_sub(readers);
        let place = self.shares.get_mut(wire).ok_or_else(missing)?;
        let shares = if *left == 0 { place.take() } else { place.clone() };
        Ok(shares.ok_or_else(missing)?)
    }
}

/// Walks to the output. `input` is this party's share of a group of images, one after the other, as everything of a group is:
/// the client's numbers, the server's zeros. The client gets the opened outputs, mod 2^l, or the classes. `done` hears how many steps are.
pub(super) async fn walk<L: Link, P: Divisible, H: Hand>(
    d: &Derived,
    cx: &mut Session<L, P>,
    pool: &ThreadPool,
    hand: &mut H,
    input: Vec<u64>,
    mut done: impl FnMut(usize) + Send,
) -> Result<Option<Vec<u64>>, WalkError> {
    let mut wires = Wires::new(d);
    wires.put(d.network.graph().input().index(), Shares::new(INPUT_BITS, input)?);
    for (at, step) in d.steps.iter().enumerate() {
        let radix = d.choices.radix(at);
        match step {
            Step::Local(node) => {
                let node = *node;
                let inputs = d.network.graph().nodes().get(node).map_or(&[][..], |n| &n.inputs);
                let operands = inputs.iter().map(|w| wires.take(w.index())).collect::<Result<Vec<_>, _>>()?;
                let signed: Vec<Secret<Vec<i64>>> = operands
                    .iter()
                    .map(|s| Secret::new(s.values().iter().map(|&v| v as i64).collect()))
                    .collect();
                let mut out = Vec::with_capacity(d.all(node));
                for image in 0..d.images() {
                    let slices: Vec<&[i64]> =
                        signed.iter().map(|s| part(s.expose(), image, d.images())).collect();
                    let one = Secret::new(d.network.on_share(WireId(node as u32), &slices));
                    out.extend(one.expose().iter().map(|&v| v as u64));
                }
                wires.put(node, Shares::new(d.bits(node), out)?);
            }
            Step::Linear(nodes) => linear(d, cx, hand, &mut wires, nodes, radix).await?,
            Step::Relu(nodes) => {
                let parts = nodes.iter().map(|&n| wires.take(source(&d.network, n).index()));
                let parts = parts.collect::<Result<Vec<_>, _>>()?;
                let all = relus(cx, pool, &joined(&parts)?, radix).await?;
                apart(&mut wires, nodes, &all)?;
            }
            Step::Clip(nodes) => {
                let parts = nodes.iter().map(|&n| wires.take(source(&d.network, n).index()));
                let x = joined(&parts.collect::<Result<Vec<_>, _>>()?)?;
                let mut tops = Vec::with_capacity(x.len());
                for &node in nodes {
                    let of = hand.tops(d, node)?.unwrap_or_else(|| vec![0; d.elements(node)]);
                    (0..d.images()).for_each(|_| tops.extend_from_slice(&of));
                }
                let above = x.sub(&Shares::new(x.width(), tops)?)?;
                let both = relus(cx, pool, &Shares::concat(&[&x, &above])?, radix).await?;
                let all = both.slice(0, x.len())?.sub(&both.slice(x.len(), x.len())?)?;
                apart(&mut wires, nodes, &all)?;
            }
            Step::MaxPool(node) => {
                let x = wires.take(source(&d.network, *node).index())?;
                let y = pools(cx, pool, &x, &all_windows(d, *node)?, radix).await?;
                wires.put(*node, y);
            }
        }
        done(at + 1);
    }
    let output = d.network.graph().output().index();
    let y = wires.take(output)?;
    let opened = match d.output {
        OutputPolicy::Logits => reveal(cx, &y, Party::Client).await?,
        OutputPolicy::ArgMax => {
            let (n, radix) = (d.elements(output), d.choices.radix(d.steps.len()));
            let wide = widen(cx, &y, y.width() + 1, Range::Any, radix).await?;
            let class = |i| wide.values().iter().skip(i).step_by(n).copied().collect();
            let classes =
                (0..n).map(|i| Shares::new(wide.width(), class(i))).collect::<Result<Vec<_>, _>>()?;
            let (_, index) = arg_max(cx, classes, index_bits(n), radix).await?;
            reveal(cx, &index, Party::Client).await?
        }
    };
    cx.finish().await?;
    Ok(opened)
}

/// What belongs to one of `images` images.
pub(super) fn part<T>(all: &[T], image: usize, images: usize) -> &[T] {
    let each = all.len() / images.max(1);
    all.get(image * each..(image + 1) * each).unwrap_or_default()
}

/// Elements of all parts, in order.
fn joined(parts: &[Shares]) -> Result<Shares, WalkError> {
    match parts {
        [one] => Ok(one.clone()),
        _ => Ok(Shares::concat(&parts.iter().collect::<Vec<_>>())?),
    }
}

/// Puts the parts of `all` on the wires of `nodes`.
fn apart(wires: &mut Wires<'_>, nodes: &[usize], all: &Shares) -> Result<(), WalkError> {
    let mut from = 0;
    for &node in nodes {
        let n = wires.d.all(node);
        wires.put(node, if nodes.len() == 1 { all.clone() } else { all.slice(from, n)? });
        from += n;
    }
    Ok(())
}

/// Widens what the layers read, then one upload and one reply for all of them. The server then writes.
async fn linear<L: Link, P: Divisible, H: Hand>(
    d: &Derived,
    cx: &mut Session<L, P>,
    hand: &mut H,
    wires: &mut Wires<'_>,
    nodes: &[usize],
    radix: Radix,
) -> Result<(), WalkError> {
    let mut read: BTreeMap<usize, Shares> = BTreeMap::new();
    for (wire, readers) in by_input(d, nodes) {
        let mut x = wires.take_whole(wire, readers.len())?;
        if let Some((to, range)) = widening(d, wire, &readers) {
            x = widen(cx, &x, to, range, radix).await?;
        }
        read.insert(wire, x);
    }
    if cx.pen() != Party::Client {
        cx.pass_pen();
    }
    let mut shares = Vec::with_capacity(nodes.len());
    for &node in nodes {
        let missing = || Error::Misuse(format!("nothing was read for node {node}"));
        let x = read.get(&source(&d.network, node).index()).ok_or_else(missing)?;
        shares.push(Secret::new(x.narrow(message_bits(d, node))?.values().to_vec()));
    }
    drop(read);
    let layer =
        |node: &usize| d.layers.get(node).ok_or_else(|| Error::Misuse(format!("node {node} is no layer")));
    match cx.party() {
        Party::Client => {
            for (&node, share) in nodes.iter().zip(&shares) {
                for image in 0..d.images() {
                    let share = Secret::new(part(share.expose(), image, d.images()).to_vec());
                    cx.put_bytes(&hand.upload(d, node, &share)?)?;
                }
            }
            cx.pass_pen();
            for &node in nodes {
                let mut results = Vec::with_capacity(d.all(node));
                for _ in 0..d.images() {
                    let replies = cx.get_bytes(layer(&node)?.down_bytes).await?;
                    results.extend_from_slice(hand.finish(d, node, &replies)?.expose());
                }
                wires.put(node, Shares::new(d.bits(node), results)?);
            }
        }
        Party::Server => {
            let mut uploads = Vec::with_capacity(nodes.len() * d.images());
            for node in nodes {
                for _ in 0..d.images() {
                    uploads.push(cx.get_bytes(layer(node)?.up_bytes).await?);
                }
            }
            cx.pass_pen();
            let mut uploads = uploads.into_iter();
            for (&node, share) in nodes.iter().zip(&shares) {
                let mut results = Vec::with_capacity(d.all(node));
                for (image, upload) in uploads.by_ref().take(d.images()).enumerate() {
                    let share = Secret::new(part(share.expose(), image, d.images()).to_vec());
                    let (replies, own) = hand.reply(d, node, &upload, &share)?;
                    cx.put_bytes(&replies)?;
                    results.extend_from_slice(own.expose());
                }
                wires.put(node, Shares::new(d.bits(node), results)?);
            }
        }
    }
    Ok(())
}
