//! Comparison on shares, both parties in one thread: `cargo bench -p oblivia-mpc --bench relu [-- FILTER]`.
//!
//! `relu/…` replays random OTs that were drawn before: the protocol alone, messages through memory. `pads/…` is
//! hashing random OTs from correlated ones, both ends; making the correlated ones is in neither. `whole/…` is everything from
//! nothing, base OTs and silent OT included; its name says the bytes of both parties. Times are processor time of the one
//! thread that plays both.
#![expect(clippy::unwrap_used, reason = "a benchmark of known parameters")]

mod common;

use common::ThreadTime;
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use oblivia_base::{Digest, Prg};
use oblivia_mpc::ideal::{self, dealer, pair};
use oblivia_mpc::setup::{
    AnswererAwaitsBatch, Ends, OpenerAwaitsAnswer, ReceiverSource, SenderSource, Setup, Source,
};
use oblivia_mpc::silent::LpnSet;
use oblivia_mpc::{
    Bits, CotPads, Direction, Label, MpcError, PadSource, Party, Radix, Shares, Values, relu, relu_cost,
};
use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

/// What was drawn from another source, to be given out again in the same order.
#[derive(Clone)]
enum Drawn {
    Sent(Vec<Bits>),
    Chosen([Vec<Bits>; 2]),
    SentValues([Values; 2]),
    ChosenValues(Bits, Values),
}

/// Writes down what a source gives.
struct Recorder<P>(P, VecDeque<Drawn>);

impl<P: PadSource> PadSource for Recorder<P> {
    fn send_planes(&mut self, m: u32, w: u32, n: usize) -> Result<Vec<Bits>, MpcError> {
        let drawn = self.0.send_planes(m, w, n)?;
        self.1.push_back(Drawn::Sent(drawn.clone()));
        Ok(drawn)
    }
    fn choose_planes(&mut self, m: u32, w: u32, n: usize) -> Result<[Vec<Bits>; 2], MpcError> {
        let drawn = self.0.choose_planes(m, w, n)?;
        self.1.push_back(Drawn::Chosen(drawn.clone()));
        Ok(drawn)
    }
    fn send_values(&mut self, n: usize) -> Result<[Values; 2], MpcError> {
        let drawn = self.0.send_values(n)?;
        self.1.push_back(Drawn::SentValues(drawn.clone()));
        Ok(drawn)
    }
    fn choose_values(&mut self, n: usize) -> Result<(Bits, Values), MpcError> {
        let (choices, pads) = self.0.choose_values(n)?;
        self.1.push_back(Drawn::ChosenValues(choices.clone(), pads.clone()));
        Ok((choices, pads))
    }
}

/// Gives it out again.
#[derive(Clone)]
struct Replay(VecDeque<Drawn>);

const SHORT: MpcError = MpcError::Exhausted { wanted: 1, left: 0 };

impl PadSource for Replay {
    fn send_planes(&mut self, _: u32, _: u32, _: usize) -> Result<Vec<Bits>, MpcError> {
        match self.0.pop_front() {
            Some(Drawn::Sent(v)) => Ok(v),
            _ => Err(SHORT),
        }
    }
    fn choose_planes(&mut self, _: u32, _: u32, _: usize) -> Result<[Vec<Bits>; 2], MpcError> {
        match self.0.pop_front() {
            Some(Drawn::Chosen(v)) => Ok(v),
            _ => Err(SHORT),
        }
    }
    fn send_values(&mut self, _: usize) -> Result<[Values; 2], MpcError> {
        match self.0.pop_front() {
            Some(Drawn::SentValues(v)) => Ok(v),
            _ => Err(SHORT),
        }
    }
    fn choose_values(&mut self, _: usize) -> Result<(Bits, Values), MpcError> {
        match self.0.pop_front() {
            Some(Drawn::ChosenValues(b, v)) => Ok((b, v)),
            _ => Err(SHORT),
        }
    }
}

fn operands(n: usize) -> [Shares; 2] {
    let mut rng = Prg::new(&[1; 32], "relu benchmark", &[]);
    Shares::split(32, &(0..n as u64).collect::<Vec<_>>(), &mut rng).unwrap()
}

fn run<P: PadSource>(pads: [P; 2], x: [Shares; 2], radix: Radix) -> [P; 2] {
    let (results, _, pads) =
        pair::run(pads, Party::Server, x, async |cx, x| relu(cx, &x, radix).await).unwrap();
    for r in results {
        black_box(r.unwrap());
    }
    pads
}

fn protocol(c: &mut Criterion<ThreadTime>) {
    let mut group = c.benchmark_group("relu");
    for log_n in [16u32, 21] {
        let n = 1usize << log_n;
        group.throughput(Throughput::Elements(n as u64)).sample_size(10);
        for radix in Radix::ALL {
            group.bench_function(BenchmarkId::new(format!("{radix:?}"), format!("2^{log_n}")), |b| {
                let recorders = dealer::pads(&[2; 32]).map(|p| Recorder(p, VecDeque::new()));
                let tapes = run(recorders, operands(n), radix).map(|r| Replay(r.1));
                b.iter_batched(
                    || (tapes.clone(), operands(n)),
                    |(tapes, x)| run(tapes, x, radix),
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

/// COTs of one direction, dealt.
fn dealt(n: usize) -> [CotPads; 2] {
    let mut rng = Prg::new(&[3; 32], "relu benchmark cots", &[]);
    let mut stock =
        |direction, n| ideal::cots(&Label { session: Digest([0; 32]), epoch: 0, direction }, n, &mut rng);
    let (s, r) = stock(Direction::ClientSends, n);
    let (t, u) = stock(Direction::ServerSends, 0);
    [CotPads::new(s, u), CotPads::new(t, r)]
}

/// Both ends of random 1-of-2^m OTs of w-bit pads, hashed from COTs; elements are COTs.
fn pads(c: &mut Criterion<ThreadTime>) {
    let mut group = c.benchmark_group("pads");
    for (m, w) in [(1u32, 1), (1, 2), (2, 2), (3, 2), (4, 2), (1, 64)] {
        let n = (1usize << 18) / m as usize;
        group.throughput(Throughput::Elements(u64::from(m) * n as u64)).sample_size(10);
        group.bench_function(format!("m={m},w={w}"), |b| {
            b.iter_batched_ref(
                || dealt(n * m as usize),
                |[sender, chooser]| match w {
                    64 => {
                        black_box(sender.send_values(n).unwrap());
                        black_box(chooser.choose_values(n).unwrap());
                    }
                    _ => {
                        black_box(sender.send_planes(m, w, n).unwrap());
                        black_box(chooser.choose_planes(m, w, n).unwrap());
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// Both parties' ends of an offline phase that goes on as long as the protocol needs it.
struct Parties {
    client: Ends,
    server: Ends,
    rng: Prg,
    bytes: usize,
}

impl Parties {
    /// Base OTs, both directions, silent OT over these sets.
    fn new(sets: &[LpnSet]) -> Self {
        let source = || Source::Silent { sets: sets.to_vec() };
        let setup = Setup {
            session: Digest([1; 32]),
            epoch: 0,
            opener_sends: Direction::ClientSends,
            from_opener: source(),
            from_answerer: source(),
        };
        let mut rng = Prg::new(&[5; 32], "relu benchmark parties", &[]);
        let (opener, m) = OpenerAwaitsAnswer::start(&setup, &mut rng);
        let (answerer, m) = AnswererAwaitsBatch::start(&setup, &m, &mut rng).unwrap();
        let (opener, m) = opener.answer(&m, &mut rng).unwrap();
        let (server, m) = answerer.finish(&m).unwrap();
        let client = opener.finish(&m).unwrap();
        Self { client, server, rng, bytes: setup.message_bytes().iter().sum() }
    }

    /// Silent rounds until both directions have `cots` in stock.
    fn fill(&mut self, cots: u64) {
        for swapped in [false, true] {
            let Self { client, server, rng, bytes } = &mut *self;
            let (from, to) = if swapped { (server, client) } else { (client, server) };
            let (SenderSource::Silent(sender), ReceiverSource::Silent(receiver)) =
                (&mut from.sender_source, &mut to.receiver_source)
            else {
                return;
            };
            while from.sender.left() < cots {
                let message = sender.start(rng).unwrap();
                let answer = receiver.answer(&message, rng).unwrap();
                let digest = sender.finish(&answer, &mut from.sender).unwrap();
                receiver.finish(&digest, &mut to.receiver).unwrap();
                *bytes += message.len() + answer.len() + digest.len();
            }
        }
    }

    /// ReLUs, some thousand at a time; bytes of everything.
    fn relus(mut self, n: usize, at_a_time: usize, radix: Radix) -> usize {
        let cost = relu_cost(32, radix).times(at_a_time);
        let needed = cost
            .cots_sent_by(Party::Server, Party::Server)
            .max(cost.cots_sent_by(Party::Client, Party::Server));
        for _ in 0..n / at_a_time {
            self.fill(needed);
            let pads = [
                CotPads::new(self.client.sender, self.client.receiver),
                CotPads::new(self.server.sender, self.server.receiver),
            ];
            let [client, server] = run(pads, operands(at_a_time), radix).map(CotPads::into_parts);
            (self.client.sender, self.client.receiver) = client;
            (self.server.sender, self.server.receiver) = server;
            self.bytes += usize::try_from(cost.bytes()).unwrap();
        }
        self.bytes
    }
}

/// Everything from nothing: base OTs, silent OT, hashing, protocol.
fn whole(c: &mut Criterion<ThreadTime>) {
    let mut group = c.benchmark_group("whole");
    let [ten, eleven, twelve] =
        [[LpnSet::B8, LpnSet::B10], [LpnSet::B8, LpnSet::B11], [LpnSet::B9, LpnSet::B12]];
    for (log_n, sets) in [(16, &ten), (21, &ten), (21, &eleven), (21, &twelve)] {
        let n = 1usize << log_n;
        group.throughput(Throughput::Elements(n as u64)).sample_size(10);
        for radix in [Radix::Four, Radix::Eight, Radix::Sixteen] {
            let set = sets.last().unwrap();
            group.bench_function(BenchmarkId::new(format!("{radix:?}/{set:?}"), format!("2^{log_n}")), |b| {
                b.iter(|| Parties::new(sets).relus(n, 1 << 16, radix));
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .with_measurement(ThreadTime(WallTime))
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = protocol, pads, whole
}
criterion_main!(benches);
