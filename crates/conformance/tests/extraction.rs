//! How much of a model a client gets that keeps to the protocol and chooses its inputs: in mode `client-aided` the first
//! layer, to the last bit, from two images; in mode `shared` by the same means nothing.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test, which says what it found"
)]

use oblivia::{Machine, load_model, served};
use oblivia_conformance::{Case, ask_with, both, serve};
use oblivia_net::memory;
use oblivia_nn::fixed::{Network, wrap};
use oblivia_nn::{Conv, Graph, Model, Node, Op, PublicModel, Tensor, WireId};
use oblivia_protocol::{
    BoxFuture, Choices, Context, Error, KeyMemory, Leak, Loaded, Outcome, Plan, Seat, Support, System, Wish,
};
use oblivia_systems::hybrid::{Hybrid, watch};
use rayon::ThreadPool;
use std::path::PathBuf;
use std::sync::Mutex;

/// The system, but for a client that keeps what it decrypts. Every message is an honest client's.
#[derive(Default)]
struct Attacker {
    /// Node and values, in order.
    seen: Mutex<Vec<(usize, Vec<i64>)>>,
}

impl System for Attacker {
    fn id(&self) -> &'static str {
        Hybrid.id()
    }
    fn summary(&self) -> &'static str {
        Hybrid.summary()
    }
    fn modes(&self) -> &'static [&'static str] {
        Hybrid.modes()
    }
    fn supports(&self, graph: &Graph, node: &Node) -> Support {
        Hybrid.supports(graph, node)
    }
    fn plan(&self, model: &PublicModel, wish: &Wish) -> Result<Plan, Error> {
        Hybrid.plan(model, wish)
    }
    fn check(&self, model: &PublicModel, choices: &Choices) -> Result<Plan, Error> {
        Hybrid.check(model, choices)
    }
    fn load(&self, plan: &Plan, model: &Model, pool: &ThreadPool) -> Result<Loaded, Error> {
        Hybrid.load(plan, model, pool)
    }
    fn run<'a>(
        &'a self,
        plan: &'a Plan,
        seat: Seat,
        cx: &'a mut Context<'_>,
    ) -> BoxFuture<'a, Result<Outcome, Error>> {
        match seat {
            Seat::Client { model, inputs } => Box::pin(async move {
                let mut keep = |node, values: &[i64]| self.seen.lock().unwrap().push((node, values.to_vec()));
                watch::client(&model, inputs, plan, cx, &mut keep).await
            }),
            seat => Hybrid.run(plan, seat, cx),
        }
    }
}

/// What the attacker sees of a node, query by query, in one session with an honest server.
fn seen_of(case: &Case, node: usize) -> Vec<Vec<i64>> {
    let attacker: &'static Attacker = Box::leak(Box::default());
    let machine = Machine::new(2).unwrap();
    let models = case.models(&machine);
    let (to_server, to_client) = memory::pair();
    let ask =
        |wire| ask_with(&[attacker], case.request(), &case.inputs, wire, &machine, KeyMemory::default(), 1);
    both(
        || serve(Box::new(to_client), &models, &machine, KeyMemory::default(), 0x5e7e),
        || ask(Box::new(to_server)),
    )
    .unwrap();
    let seen = attacker.seen.lock().unwrap();
    seen.iter().filter(|(n, _)| *n == node).map(|(_, values)| values.clone()).collect()
}

/// What the attacker knows before it asks: everything a client is given.
struct Target {
    network: Network,
    node: usize,
    conv: Conv,
    /// Channels, height, width.
    input: (usize, usize, usize),
    output: (usize, usize, usize),
    /// The largest input.
    top: f32,
}

impl Target {
    fn new(public: &PublicModel) -> Self {
        let network = Network::new(public, public.fixed.clone().unwrap()).unwrap();
        let nodes = network.graph().nodes();
        let is_first = |n: &Node| matches!(n.op, Op::Conv(_)) && n.inputs == [network.graph().input()];
        let node = nodes.iter().position(is_first).unwrap();
        let Op::Conv(conv) = nodes[node].op.clone() else { panic!("a convolution comes first") };
        let input = network.graph().input_shape().chw().unwrap();
        let output = nodes[node].fact.shape.chw().unwrap();
        assert!(conv.stride == [1, 1] && conv.groups == 1, "places of impulses are for stride 1");
        let top = public.input_range[1] as f32;
        Self { network, node, conv, input, output, top }
    }

    /// Where the impulse of input channel `c` is, and in which query after the first: so far apart that no result sees two.
    fn place(&self, c: usize) -> (usize, [usize; 2]) {
        let [kh, kw] = self.conv.kernel;
        let across = (self.input.2 - kw) / kw;
        let each = across * ((self.input.1 - kh) / kh);
        (c / each, [(c % each / across) * kh + kh - 1, (c % each % across) * kw + kw - 1])
    }

    /// Nothing; then the impulses of all channels, in as few images as hold them.
    fn queries(&self) -> Vec<Tensor> {
        let (channels, h, w) = self.input;
        let shape = self.network.graph().input_shape().clone();
        let mut images = vec![vec![0.0f32; shape.elements()]];
        for c in 0..channels {
            let (query, [y, x]) = self.place(c);
            images.resize(images.len().max(query + 2), vec![0.0; shape.elements()]);
            images[1 + query][(c * h + y) * w + x] = self.top;
        }
        images.into_iter().map(|data| Tensor::new(shape.clone(), data).unwrap()).collect()
    }

    /// Weights and biases, if what was seen were sums: `dropped` low bits of them are gone.
    fn extract(
        &self,
        queries: &[Tensor],
        seen: &[Vec<i64>],
        bits: u32,
        dropped: u32,
    ) -> (Vec<i64>, Vec<i64>) {
        assert_eq!(seen.len(), queries.len());
        let (maps, oh, ow) = self.output;
        let [kh, kw] = self.conv.kernel;
        let biases: Vec<i64> = (0..maps).map(|m| seen[0][m * oh * ow] << dropped).collect();
        let mut weights = Vec::new();
        for m in 0..maps {
            for c in 0..self.input.0 {
                let (query, [y, x]) = self.place(c);
                let impulse = *self.network.input(&queries[1 + query]).unwrap().iter().max().unwrap();
                for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                    let [oy, ox] = [y + self.conv.pads[0] - ky, x + self.conv.pads[1] - kx];
                    let at = (m * oh + oy) * ow + ox;
                    let difference = wrap(seen[1 + query][at] - seen[0][at], bits) << dropped;
                    weights.push((difference as f64 / impulse as f64).round() as i64);
                }
            }
        }
        (weights, biases)
    }
}

/// Weights and biases that the attack gets right, of how many; and queries.
fn attack(model: &str, mode: &str) -> ([usize; 2], [usize; 2], usize) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let model = load_model(&root.join("models").join(model)).unwrap();
    let owner = served(&model).unwrap();
    let target = Target::new(&owner.public);
    let accepted_leaks = vec![Leak::IntermediateActivations];
    let wish = Wish { mode: Some(mode.into()), accepted_leaks, ..Wish::default() };
    let inputs = target.queries();
    let case = Case { system: "hybrid", wish, model, inputs };
    let seen = seen_of(&case, target.node);
    let format = *target.network.linear(WireId(target.node as u32)).unwrap();
    let (bits, dropped) = match mode {
        "shared" => (format.bits, format.shift),
        _ => (format.accumulator_bits(), 0),
    };
    let (weights, biases) = target.extract(&case.inputs, &seen, bits, dropped);
    let fixed = owner.calibration.as_ref().unwrap().apply(&owner).unwrap();
    let own = fixed.layer(WireId(target.node as u32)).unwrap();
    assert!(own.w.iter().filter(|w| **w != 0).count() > own.w.len() / 2, "weights worth having");
    let right = |(a, b): (&i64, i64)| *a == b;
    let w = weights.iter().zip(own.w.iter().map(|&w| i64::from(w))).filter(|&(a, b)| right((a, b))).count();
    let b = biases.iter().zip(own.b.iter().map(|&b| wrap(b, format.accumulator_bits())));
    let b = b.filter(|&(a, b)| right((a, b))).count();
    assert_eq!((weights.len(), biases.len()), (own.w.len(), own.b.len()));
    let queries = case.inputs.len();
    println!(
        "{}, mode {mode}: {w} of {} weights and {b} of {} biases of the first layer from {queries} queries",
        owner.public.name,
        own.w.len(),
        own.b.len()
    );
    ([w, b], [own.w.len(), own.b.len()], queries)
}

#[test]
fn two_chosen_images_give_a_client_aided_client_the_first_layer_to_the_last_bit() {
    let (right, all, queries) = attack("mnist-bm3", "client-aided");
    assert_eq!(right, all);
    assert_eq!((all, queries), ([400, 16], 2));
}

#[test]
fn on_images_in_colour_as_well() {
    let (right, all, queries) = attack("minionn-cifar10", "client-aided");
    assert_eq!(right, all);
    assert_eq!((all, queries), ([1728, 64], 2));
}

#[test]
fn what_a_client_on_shares_sees_gives_it_no_more_than_chance() {
    for model in ["mnist-bm3", "minionn-cifar10"] {
        let (right, all, _) = attack(model, "shared");
        // A guess is right with a probability below 2^-8, were it one of 8 bits.
        assert!(40 * right[0] < all[0] && right[1] < 3, "{right:?} of {all:?}");
    }
}
