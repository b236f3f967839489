//! Comparison on shares, both parties in one thread: `cargo bench -p oblivia-mpc --bench relu [-- FILTER]`.
//!
//! `relu/…` replays random OTs that were drawn before: the protocol alone, messages through memory. `pads/…` is
//! hashing random OTs from correlated ones, both ends; making the correlated ones is in neither, see the benchmark `ot`.
#![expect(clippy::unwrap_used, reason = "a benchmark of known parameters")]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use oblivia_base::{Digest, Prg};
use oblivia_mpc::ideal::{self, dealer, pair};
use oblivia_mpc::{Bits, CotPads, Direction, Label, MpcError, PadSource, Party, Radix, Shares, Values, relu};
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

fn protocol(c: &mut Criterion) {
    let mut group = c.benchmark_group("relu");
    for log_n in [16u32, 21] {
        let n = 1usize << log_n;
        group.throughput(Throughput::Elements(n as u64)).sample_size(10);
        for radix in Radix::ALL {
            let recorders = dealer::pads(&[2; 32]).map(|p| Recorder(p, VecDeque::new()));
            let tapes = run(recorders, operands(n), radix).map(|r| Replay(r.1));
            group.bench_function(BenchmarkId::new(format!("{radix:?}"), format!("2^{log_n}")), |b| {
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
fn pads(c: &mut Criterion) {
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

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    targets = protocol, pads
}
criterion_main!(benches);
