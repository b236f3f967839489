//! LoLa against the plain network, and its operation counts against known answers.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use common::{Ends, chain, conv, max_error, plain_conv, small, value};
use oblivia_he::OpCounts;
use oblivia_nn::Tensor;
use oblivia_pack::circuit::lola::{Lola, LolaLayer, LolaReply, LolaScales};
use oblivia_pack::circuit::{Affine, TapInput};
use oblivia_pack::{Chain, CkksSlots, ClearSlots, Counter, Scale};
use proptest::prelude::*;

const SCALE: Scale = Scale((1u64 << 30) as f64);
const SCALES: LolaScales =
    LolaScales { conv: SCALE, dense1: SCALE, interleaved: SCALE, dense2: SCALE, reply: SCALE };

/// Rotations, ct-, plain- and scalar products, additions.
fn five(c: OpCounts) -> [u64; 5] {
    [c.rotations + c.hoisted, c.ct_mul, c.pt_mul, c.scalar_mul, c.add]
}

/// The CryptoNets network, counted layer by layer.
fn cryptonets([period, slots]: [usize; 2], reply: LolaReply) -> (Vec<(LolaLayer, [u64; 5])>, Counter) {
    let (conv, input, output) = conv([1, 28, 28], 5, 5, 2, [1, 1, 0, 0], 1);
    let layout = TapInput::new(&conv, &input, &output).unwrap();
    let lola = Lola::new(layout, 5, [100, 10], [period, slots], reply).unwrap();
    let primes = vec![1 << 33; lola.levels()];
    let mut s = Counter::new(Chain::plain(slots, &primes, 1, 1));
    let xs = vec![s.input(lola.levels(), SCALE); lola.input_vectors()];
    let plains = vec![(); s_plains(&lola)];
    assert_eq!(plains.len(), lola.plain_count());
    let (mut table, mut before) = (Vec::new(), [0; 5]);
    let out = lola
        .run_observed(&mut s, &xs, &plains, &SCALES, |layer, s| {
            let now = five(s.counts());
            table.push((layer, std::array::from_fn(|i| now[i] - before[i])));
            before = now;
        })
        .unwrap();
    assert_eq!(out.len(), lola.output_vectors());
    assert_eq!((s.counts().rotations + s.counts().hoisted) as usize, lola.rotations());
    assert!(out.iter().all(|y| y.level == 1), "all levels are used");
    (table, s)
}

fn s_plains(lola: &Lola) -> usize {
    let zero = Affine { weight: &|_, _| 0.0, bias: &|_| 0.0 };
    lola.plains(zero, zero, zero).len()
}

fn totals(s: &Counter) -> (u64, u64) {
    let counts = five(s.counts());
    (counts[0], counts.iter().sum())
}

#[test]
fn cryptonets_by_lola_has_the_known_counts_in_every_layer() {
    let (table, s) = cryptonets([8192, 8192], LolaReply::Rows);
    let known = [
        (LolaLayer::Conv, [0, 0, 0, 125, 125]),
        (LolaLayer::Stack, [4, 0, 0, 0, 4]),
        (LolaLayer::Square1, [0, 1, 0, 0, 0]),
        (LolaLayer::Duplicate, [7, 0, 0, 0, 7]),
        (LolaLayer::Dense1, [130, 0, 13, 0, 143]),
        (LolaLayer::Interleave, [12, 0, 13, 0, 12]),
        (LolaLayer::Square2, [0, 1, 0, 0, 0]),
        (LolaLayer::Dense2, [130, 0, 10, 0, 140]),
    ];
    assert_eq!(table, known);
    assert_eq!(totals(&s), (283, 877));
}

#[test]
fn with_16384_slots_the_period_decides_the_counts() {
    let (_, s) = cryptonets([8192, 16384], LolaReply::Rows);
    assert_eq!(totals(&s), (283, 877));
    let (table, s) = cryptonets([16384, 16384], LolaReply::Rows);
    assert_eq!(totals(&s), (235, 763));
    assert_eq!(table[3], (LolaLayer::Duplicate, [15, 0, 0, 0, 15]));
    assert_eq!(table[4], (LolaLayer::Dense1, [70, 0, 7, 0, 77]));
}

#[test]
fn a_gathered_reply_costs_products_and_additions_alone() {
    let (table, s) = cryptonets([8192, 8192], LolaReply::Gathered);
    assert_eq!(table.last(), Some(&(LolaLayer::Gather, [0, 0, 10, 0, 9])));
    assert_eq!(totals(&s), (283, 896));
}

#[test]
fn cryptonets_by_lola_needs_one_key_per_distance() {
    let (_, s) = cryptonets([8192, 8192], LolaReply::Rows);
    // Stack 4; folds 13; copies 7, of which three are folds'; interleaving 12. And the one for squares.
    assert_eq!((s.keys().rotations.len(), s.keys().relin.is_empty()), (4 + 13 + 4 + 12, false));
}

struct Net {
    lola: Lola,
    image: Tensor,
    plains: Vec<oblivia_pack::Plain>,
    expected: Vec<f64>,
}

fn net(
    size: usize,
    [maps, hidden, outputs]: [usize; 3],
    [period, slots]: [usize; 2],
    reply: LolaReply,
    seed: u64,
) -> Option<Net> {
    let (conv, input, output) = conv([1, size, size], maps, 3, 2, [1, 1, 0, 0], 1);
    let layout = TapInput::new(&conv, &input, &output).unwrap();
    let lola = Lola::new(layout, maps, [hidden, outputs], [period, slots], reply).ok()?;
    let image: Vec<f32> = (0..size * size).map(|i| value(seed, i) as f32).collect();
    let x: Vec<f64> = image.iter().map(|&v| f64::from(v)).collect();
    let w0 = |m: usize, t: usize| value(seed ^ 1, m * 97 + t) / 9.0;
    let b0 = |m: usize| value(seed ^ 2, m);
    let u: Vec<f64> = plain_conv(&conv, &input, &output, &x, w0, b0).iter().map(|u| u * u).collect();
    let (n1, n2) = (u.len() as f64, hidden as f64);
    let w1 = move |i: usize, j: usize| value(seed ^ 3, i * 1009 + j) / n1;
    let b1 = |i: usize| value(seed ^ 4, i);
    let v: Vec<f64> = (0..hidden)
        .map(|i| b1(i) + u.iter().enumerate().map(|(j, u)| w1(i, j) * u).sum::<f64>())
        .map(|v| v * v)
        .collect();
    let w2 = move |i: usize, j: usize| value(seed ^ 5, i * 1009 + j) / n2;
    let b2 = |i: usize| value(seed ^ 6, i);
    let expected =
        (0..outputs).map(|i| b2(i) + v.iter().enumerate().map(|(j, v)| w2(i, j) * v).sum::<f64>()).collect();
    let plains = lola.plains(
        Affine { weight: &w0, bias: &b0 },
        Affine { weight: &w1, bias: &b1 },
        Affine { weight: &w2, bias: &b2 },
    );
    Some(Net { lola, image: Tensor::new(input, image).unwrap(), plains, expected })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn lola_in_the_clear_equals_the_network(
        size in 4usize..9, maps in 1usize..4, hidden in 1usize..60, outputs in 1usize..8,
        half: bool, gathered: bool, seed: u64,
    ) {
        let slots = 256;
        let period = if half { slots / 2 } else { slots };
        let reply = if gathered { LolaReply::Gathered } else { LolaReply::Rows };
        let Some(net) = net(size, [maps, hidden, outputs], [period, slots], reply, seed) else { return Ok(()) };
        let mut s = ClearSlots::new(slots);
        let mut xs = net.lola.encode(&net.image);
        xs.iter_mut().for_each(|v| v.resize(slots, 0.0));
        let ys = net.lola.run(&mut s, &xs, &net.plains, &SCALES).unwrap();
        prop_assert!(max_error(&net.lola.decode(&ys), &net.expected) < 1e-9);
    }
}

#[test]
fn lola_on_ciphertexts_equals_the_network() {
    for (period, reply) in [(256, LolaReply::Rows), (128, LolaReply::Rows), (128, LolaReply::Gathered)] {
        let net = net(6, [2, 20, 3], [period, 256], reply, 11).unwrap();
        let lola = &net.lola;
        let params = small(8, lola.levels());
        let mut counter = Counter::new(chain(&params));
        let xs = vec![counter.input(lola.levels(), SCALE); lola.input_vectors()];
        lola.run(&mut counter, &xs, &vec![(); net.plains.len()], &SCALES).unwrap();
        let mut ends = Ends::new(&params, counter.keys());
        let plains = ends.prepare(&net.plains, counter.plains());
        let xs: Vec<_> =
            lola.encode(&net.image).iter().map(|v| ends.encrypt(v, lola.levels(), SCALE.0)).collect();
        let ys = lola.run(&mut CkksSlots::new(&ends.evaluator), &xs, &plains, &SCALES).unwrap();
        let done = ends.evaluator.counts();
        assert_eq!(five(done), five(counter.counts()));
        let ys: Vec<_> = ys.iter().map(|y| ends.decrypt(y)).collect();
        let error = max_error(&lola.decode(&ys), &net.expected);
        assert!(error < 1e-4, "period {period}, {reply:?}: {error}");
    }
}

#[test]
fn what_does_not_fit_the_period_is_refused() {
    assert!(net(8, [9, 20, 3], [128, 256], LolaReply::Rows, 1).is_none());
    assert!(net(4, [1, 20, 3], [512, 256], LolaReply::Rows, 1).is_none());
    assert!(net(4, [1, 200, 3], [16, 16], LolaReply::Rows, 1).is_none());
}
