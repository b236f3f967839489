//! Oblivious transfers, both parties one after the other on one core: `cargo bench -p oblivia-mpc --bench ot [-- FILTER]`.
//!
//! Times are processor time of the one thread that plays both parties, of a whole batch or round; elements per second are
//! random OTs with pads of 64 bits, messages, checks and hashes included. Base OTs are a benchmark of their own. Memory is that
//! of a process that has run for a while: what is freed is kept, not given back to the system and taken again.
#![expect(clippy::unwrap_used, reason = "a benchmark of known parameters")]

mod common;

use common::ThreadTime;
use criterion::measurement::WallTime;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use oblivia_base::{Digest, Prg, Secret};
use oblivia_mpc::base_ot::{self, BaseOtSender};
use oblivia_mpc::ideal;
use oblivia_mpc::setup::{AnswererAwaitsBatch, OpenerAwaitsAnswer, Setup, Source};
use oblivia_mpc::silent::{LpnSet, ReceiverFeed, SenderFeed};
use oblivia_mpc::softspoken::{FieldBits, SoftSpokenReceiver, SoftSpokenSender, fresh_delta};
use oblivia_mpc::{CotReceiver, CotSender, Direction, Label};
use std::time::Duration;

fn label() -> Label {
    Label { session: Digest([1; 32]), epoch: 0, direction: Direction::ServerSends }
}

fn rng(seed: u8) -> Prg {
    Prg::new(&[seed; 32], "ot benchmark", &[])
}

fn base(c: &mut Criterion<ThreadTime>) {
    c.bench_function("base-ot/128", |b| {
        let choices = Secret::new(u128::MAX / 5);
        b.iter(|| {
            let (sender, offer) = BaseOtSender::start(&label(), &mut rng(1));
            let (reply, chosen) = base_ot::answer(&label(), &choices, &offer, &mut rng(2)).unwrap();
            (sender.finish(&reply).unwrap(), chosen)
        });
    });
}

fn softspoken_ends(field: FieldBits) -> (SoftSpokenSender, SoftSpokenReceiver) {
    let delta = fresh_delta(&mut rng(1));
    let (maker, offer) = BaseOtSender::start(&label(), &mut rng(2));
    let choices = SoftSpokenSender::base_choices(&delta);
    let (reply, chosen) = base_ot::answer(&label(), &choices, &offer, &mut rng(3)).unwrap();
    let both = maker.finish(&reply).unwrap();
    let (receiver, message) = SoftSpokenReceiver::new(&label(), field, &both).unwrap();
    (SoftSpokenSender::new(&label(), field, delta, &chosen, &message).unwrap(), receiver)
}

/// Takes `n` COTs as random OTs, two thousand at a time: first all of one party, then all of the other, which on two
/// processors have caches of their own.
fn consume(sender: &mut CotSender, receiver: &mut CotReceiver, n: usize) -> u64 {
    const N: usize = 2048;
    let (mut pads, mut choices, mut chosen) = ([[0; 2]; N], [0; N], [0; N]);
    let mut sum = 0;
    for at in (0..n).step_by(N) {
        let n = N.min(n - at);
        sender.random(&mut pads[..n]).unwrap();
        sum ^= pads[0][0];
    }
    for at in (0..n).step_by(N) {
        let n = N.min(n - at);
        receiver.random(&mut choices[..n], &mut chosen[..n]).unwrap();
        sum ^= chosen[0];
    }
    sum
}

fn softspoken(c: &mut Criterion<ThreadTime>) {
    let mut group = c.benchmark_group("softspoken");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for field in [FieldBits::Two, FieldBits::Four, FieldBits::Eight] {
        for log_n in [14, 17, 20] {
            let n = 1 << log_n;
            group.throughput(Throughput::Elements(n as u64));
            let (sender, mut receiver) = softspoken_ends(field);
            let mut sender = Some(sender);
            group.bench_function(BenchmarkId::new(format!("{field:?}"), format!("2^{log_n}")), |b| {
                b.iter(|| {
                    let (message, tags) = receiver.batch(n).unwrap();
                    let (keys, next) = sender.take().unwrap().batch(n, &message).unwrap();
                    let delta = Secret::new(*next.delta().expose());
                    sender = Some(next);
                    let (mut s, mut r) = (CotSender::new(&label(), delta), CotReceiver::new(&label()));
                    s.add_held(keys);
                    r.add_held(tags);
                    consume(&mut s, &mut r, n)
                });
            });
        }
    }
}

/// COTs dealt to both ends, as a round takes them.
fn dealt(set: LpnSet) -> (Secret<u128>, Secret<Vec<u128>>, Secret<Vec<u128>>) {
    let (mut s, mut r) = ideal::cots(&label(), set.base_cots(), &mut rng(4));
    let (mut keys, mut tags) = (vec![0; set.base_cots()], vec![0; set.base_cots()]);
    s.take(&mut keys).unwrap();
    r.take(&mut tags).unwrap();
    (Secret::new(*s.delta().expose()), Secret::new(keys), Secret::new(tags))
}

/// Both ends of a chain of rounds, and their stocks.
struct Chain {
    sender: SenderFeed,
    receiver: ReceiverFeed,
    s: CotSender,
    r: CotReceiver,
}

impl Chain {
    fn new(set: LpnSet) -> Self {
        let (delta, keys, tags) = dealt(set);
        Self {
            sender: SenderFeed::new(&label(), &[set], &delta, keys).unwrap(),
            receiver: ReceiverFeed::new(&label(), &[set], tags).unwrap(),
            s: CotSender::new(&label(), delta),
            r: CotReceiver::new(&label()),
        }
    }

    fn round(&mut self) {
        let message = self.sender.start(&mut rng(5)).unwrap();
        let answer = self.receiver.answer(&message, &mut rng(6)).unwrap();
        let digest = self.sender.finish(&answer, &mut self.s).unwrap();
        self.receiver.finish(&digest, &mut self.r).unwrap();
    }
}

/// One round of each set in a long chain, its outputs consumed as random OTs.
fn silent(c: &mut Criterion<ThreadTime>) {
    let mut group = c.benchmark_group("silent");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    for set in LpnSet::ALL {
        group.throughput(Throughput::Elements(set.net() as u64));
        let mut chain = Chain::new(set);
        group.bench_function(format!("{set:?}"), |b| {
            b.iter(|| {
                chain.round();
                consume(&mut chain.s, &mut chain.r, set.net())
            });
        });
    }
}

/// A number of OTs out of a chain that plays a round when nothing is left; what is left over stays for the next time.
fn marginal(c: &mut Criterion<ThreadTime>) {
    let mut group = c.benchmark_group("silent-marginal");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    for (log_n, set) in [
        (17, LpnSet::B9),
        (17, LpnSet::B10),
        (20, LpnSet::B9),
        (20, LpnSet::B10),
        (24, LpnSet::B10),
        (24, LpnSet::B12),
    ] {
        let n = 1 << log_n;
        group.throughput(Throughput::Elements(n as u64));
        let mut chain = Chain::new(set);
        group.bench_function(BenchmarkId::new(format!("{set:?}"), format!("2^{log_n}")), |b| {
            b.iter(|| {
                let (mut left, mut sum) = (n, 0);
                while left > 0 {
                    if chain.s.left() == 0 {
                        chain.round();
                    }
                    let now = left.min(chain.s.left() as usize);
                    sum ^= consume(&mut chain.s, &mut chain.r, now);
                    left -= now;
                }
                sum
            });
        });
    }
}

/// Everything before the first silent round, in both directions.
fn set_up(c: &mut Criterion<ThreadTime>) {
    let source = || Source::Silent { sets: vec![LpnSet::B8, LpnSet::B10] };
    let setup = Setup {
        session: Digest([1; 32]),
        epoch: 0,
        opener_sends: Direction::ClientSends,
        from_opener: source(),
        from_answerer: source(),
    };
    c.bench_function("set-up/silent", |b| {
        b.iter(|| {
            let (opener, m) = OpenerAwaitsAnswer::start(&setup, &mut rng(1));
            let (answerer, m) = AnswererAwaitsBatch::start(&setup, &m, &mut rng(2)).unwrap();
            let (opener, m) = opener.answer(&m, &mut rng(3)).unwrap();
            let (answerer, m) = answerer.finish(&m).unwrap();
            (opener.finish(&m).unwrap(), answerer)
        });
    });
}

/// With all work on this thread, the time of which is measured.
fn on_one_thread() -> Criterion<ThreadTime> {
    // The allocator of glibc keeps freed memory once it has seen a large block come and go.
    drop(std::hint::black_box(vec![1u8; 31 << 20]));
    // Nothing else has made the pool.
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().unwrap();
    Criterion::default().with_measurement(ThreadTime(WallTime))
}

criterion_group!(
    name = benches;
    config = on_one_thread();
    targets = base, set_up, softspoken, silent, marginal
);
criterion_main!(benches);
