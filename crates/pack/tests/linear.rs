//! Linear layers between layouts against the sums they stand for, and the CryptoNets network's known counts.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use oblivia_nn::{Conv, Pool, WeightId};
use oblivia_pack::circuit::{Linear, Options, Tap, TapConv, TapInput, Window, replicate};
use oblivia_pack::{Axis, Chain, ClearSlots, Counter, Layout, Plain, Plains, Scale, Slots, Traced};
use proptest::prelude::*;

const ANY: Scale = Scale(1.0);

fn value(seed: u64, i: usize) -> f64 {
    let x = (seed ^ (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    f64::from((((x >> 40) as f64 / (1u64 << 24) as f64) * 2.0 - 1.0) as f32)
}

/// The layer by its definition.
fn direct(w: &Window, x: &[f64], seed: u64) -> Vec<f64> {
    let ([ci, h, wi], [co, oh, ow]) = (w.input, w.output);
    let (ins, outs) = (ci / w.groups, co / w.groups);
    let mut y = Vec::new();
    for m in 0..co {
        for i in 0..oh {
            for j in 0..ow {
                let mut sum = bias(seed, m);
                for c in 0..ins {
                    for a in 0..w.kernel[0] {
                        for b in 0..w.kernel[1] {
                            let (r, s) = (
                                (i * w.stride[0] + a) as i64 - w.pads[0] as i64,
                                (j * w.stride[1] + b) as i64 - w.pads[1] as i64,
                            );
                            if r >= 0 && s >= 0 && (r as usize) < h && (s as usize) < wi {
                                let at = ((m / outs * ins + c) * h + r as usize) * wi + s as usize;
                                sum += weight(seed, m, c, [a / w.pool[0], b / w.pool[1]]) / w.cells() as f64
                                    * x[at];
                            }
                        }
                    }
                }
                y.push(sum);
            }
        }
    }
    y
}

fn weight(seed: u64, m: usize, c: usize, at: [usize; 2]) -> f64 {
    value(seed, ((m * 131 + c) * 37 + at[0]) * 37 + at[1])
}

fn bias(seed: u64, m: usize) -> f64 {
    value(seed ^ 99, m)
}

/// Runs a layer on random values and garbage where the input has no elements, and checks every result, every copy, and
/// that nothing else is there if nothing else may be.
fn check(linear: &Linear, seed: u64, dirty: bool) {
    check_one(linear, seed, dirty);
    for (chained, quarters) in [(true, false), (false, true), (true, true)] {
        let options = Options { chained, quarters, ..linear.options() };
        let other = Linear::new(linear.window().clone(), linear.input(), linear.output(), options).unwrap();
        check_one(&other, seed, dirty);
    }
}

fn check_one(linear: &Linear, seed: u64, dirty: bool) {
    let (input, output, o) = (linear.input(), linear.output(), linear.options());
    assert_eq!(linear.outline_with(o.baby, o.chained, o.quarters), linear.schedule().outline());
    let x: Vec<f64> = (0..input.shape().iter().product()).map(|i| value(seed ^ 5, i)).collect();
    let mut vectors = input.spread(x.iter().copied());
    if dirty {
        let mut taken = vec![vec![false; input.slots()]; input.vectors()];
        for (v, s) in input.positions() {
            let inner = input.inner_copies();
            for s in (0..inner.radix).map(|r| s + (r * inner.stride) as usize) {
                (s..input.slots()).step_by(input.period()).for_each(|s| taken[v][s] = true);
            }
        }
        for (v, vector) in vectors.iter_mut().enumerate() {
            let holes = vector.iter_mut().enumerate().filter(|(s, _)| !taken[v][*s]);
            holes.for_each(|(s, x)| *x = value(seed ^ 77, s % input.period()));
        }
    }
    let plains = linear.plains(|t| weight(seed, t.out, t.channel, t.at) as f32, 1.0, |[m, ..]| bias(seed, m));
    assert_eq!(plains.len(), linear.plain_count());
    let mut cursor = Plains::new(&plains);
    let ys = linear.run(&mut ClearSlots::new(input.slots()), &vectors, &mut cursor, ANY).unwrap();
    cursor.finish().unwrap();
    let expected = direct(linear.window(), &x, seed);
    let mut used = vec![vec![false; output.slots()]; output.vectors()];
    for (e, (v, s)) in expected.iter().zip(output.positions()) {
        for s in (s..output.slots()).step_by(output.period()) {
            used[v][s] = true;
            assert!((e - ys[v][s]).abs() < 1e-9 * (1.0 + e.abs()), "vector {v} slot {s}: {e} {}", ys[v][s]);
        }
    }
    if linear.is_clean() {
        for (v, y) in ys.iter().enumerate() {
            for (s, y) in y.iter().enumerate() {
                assert!(used[v][s] || *y == 0.0, "vector {v} slot {s} holds {y}");
            }
        }
    }
    for kind in 0..PRUNINGS {
        check_pruned(linear, kind, &vectors, seed);
    }
}

const PRUNINGS: usize = 6;

/// Whether a weight is zero: none, four of five, places of the kernel, pairs of channels, channels of the output, all.
fn zero(kind: usize, seed: u64, t: Tap) -> bool {
    match kind {
        0 => false,
        1 => weight(seed ^ 31, t.out, t.channel, t.at) < 0.6,
        2 => !(t.at[0] + 2 * t.at[1]).is_multiple_of(3),
        3 => !(t.out + t.channel).is_multiple_of(3),
        4 => t.out % 4 != 2,
        _ => true,
    }
}

/// Runs a layer with zeros with all diagonals and without those of zeros alone: the results are the same, and what is
/// left out is exactly what has no weight.
fn check_pruned(dense: &Linear, kind: usize, vectors: &[Vec<f64>], seed: u64) {
    let w = |t: Tap| if zero(kind, seed, t) { 0.0 } else { weight(seed, t.out, t.channel, t.at) as f32 };
    let (window, input, output) = (dense.window().clone(), dense.input(), dense.output());
    let sparse = Linear::sparse(window, input, output, dense.options(), |t| zero(kind, seed, t)).unwrap();
    let [all, own] = [dense, &sparse].map(|linear| {
        let plains = linear.plains(w, 1.0, |[m, ..]| bias(seed, m));
        assert_eq!(plains.len(), linear.plain_count());
        let mut cursor = Plains::new(&plains);
        let ys = linear.run(&mut ClearSlots::new(input.slots()), vectors, &mut cursor, ANY).unwrap();
        cursor.finish().unwrap();
        let nothing =
            |p: &Plain| matches!(p, Plain::Weights { values, .. } if values.iter().all(|v| *v == 0.0));
        let zeros = plains.iter().filter(|p| nothing(p)).count();
        let others: Vec<Plain> = plains.into_iter().filter(|p| !nothing(p)).collect();
        (ys, zeros, others)
    });
    let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12;
    assert!(all.0.iter().flatten().zip(own.0.iter().flatten()).all(close));
    assert_eq!(all.2, own.2);
    let empty = |groups: &&Vec<oblivia_pack::Group>| groups.iter().map(|g| g.terms.len()).sum::<usize>() == 1;
    assert!(own.1 <= sparse.schedule().outputs.iter().filter(empty).count());
    for (few, many) in sparse.schedule().rotations().into_iter().zip(dense.schedule().rotations()) {
        assert!(few <= many);
    }
    assert!(kind > 0 || sparse == *dense);
    if dense.schedule().outputs.iter().any(Vec::is_empty) {
        return;
    }
    let mut s = counter(input.slots());
    let x = s.input(6, Scale((1u64 << 32) as f64));
    let units = vec![(); sparse.plain_count()];
    let xs = vec![x; input.vectors()];
    sparse.run(&mut s, &xs, &mut Plains::new(&units), Scale((1u64 << 33) as f64)).unwrap();
    let (counts, outline) = (s.counts(), sparse.schedule().outline());
    assert_eq!(counts.pt_mul, outline.plains as u64);
    assert_eq!(counts.rotations + counts.hoisted, outline.rotations.iter().sum::<usize>() as u64);
}

fn grid(shape: [usize; 3], slots: usize, pitch: usize, channel: usize, period: usize) -> Layout {
    let axes = [Axis::strided(shape[0], channel), Axis::strided(shape[1], pitch), Axis::strided(shape[2], 1)];
    Layout::new(shape, slots, 1, axes, period).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn convolutions_between_grids_equal_their_definition(
        channels in 1usize..4, maps in 1usize..5, h in 2usize..7, w in 2usize..7, kernel in 1usize..4,
        stride in 1usize..3, pad in 0usize..2, baby in 1usize..40, pool in 1usize..3, seed: u64,
    ) {
        prop_assume!(h + 2 * pad >= kernel && w + 2 * pad >= kernel);
        let (oh, ow) = ((h + 2 * pad - kernel) / stride + 1, (w + 2 * pad - kernel) / stride + 1);
        let window = Window {
            input: [channels, h, w], output: [maps, oh, ow], kernel: [kernel; 2], stride: [stride; 2],
            pads: [pad; 2], groups: 1, pool: [1, 1],
        };
        let before = [channels, h * pool, w * pool];
        let average = Pool { kernel: [pool; 2], stride: [pool; 2], pads: [0; 4], count_include_pad: false };
        let window = window.after_average(&average, before).unwrap();
        // One vector in, with and without copies; results where strides leave them, in two vectors.
        let (slots, cell) = (2048, (h * pool) * (w * pool));
        let period = (channels * cell).next_power_of_two();
        prop_assume!(maps.div_ceil(2) * cell <= slots && period <= slots);
        let gap = stride * pool;
        let places = [
            Axis::new(0, &[(maps.div_ceil(2), cell), (2, slots)]),
            Axis::strided(oh, gap * w * pool), Axis::strided(ow, gap),
        ];
        prop_assume!((oh - 1) * gap < h * pool && (ow - 1) * gap < w * pool);
        for p in [period, slots] {
            let input = grid(before, slots, w * pool, cell, p);
            let output = Layout::new(window.output, slots, 2, places.clone(), slots).unwrap();
            let options = Options { fold: p, spread: 1, baby, chained: false, quarters: false };
            check(&Linear::new(window.clone(), &input, &output, options).unwrap(), seed, true);
        }
    }

    #[test]
    fn convolutions_read_the_inner_copies_that_stand_where_their_results_go(
        channels in 1usize..4, maps in 1usize..7, h in 3usize..9, w in 3usize..9, kernel in 1usize..4,
        stride in 1usize..3, pad in 0usize..2, baby in 1usize..20, copies in 1u32..4, more in 0u32..2, seed: u64,
    ) {
        let (oh, ow) = ((h + 2 * pad - kernel) / stride + 1, (w + 2 * pad - kernel) / stride + 1);
        let window = Window {
            input: [channels, h, w], output: [maps, oh, ow], kernel: [kernel; 2], stride: [stride; 2],
            pads: [pad; 2], groups: 1, pool: [1, 1],
        };
        // Phases of the stride as blocks, copies of each side by side.
        let (rows, columns) = ((h + 2 * pad).div_ceil(stride), (w + 2 * pad).div_ceil(stride));
        let (block, copies) = ((rows * columns).next_power_of_two(), 1usize << copies);
        let fold = block * copies;
        let y = Axis::new(pad, &[(stride, stride * fold), (rows, columns)]);
        let x = Axis::new(pad, &[(stride, fold), (columns, 1)]);
        let period = (channels * stride * stride * fold).next_power_of_two();
        let slots = period << more;
        let axes = [Axis::strided(channels, stride * stride * fold), y, x];
        let input = Layout::new(window.input, slots, 1, axes, period).unwrap();
        let input = input.with_inner_copies(copies, block).unwrap();
        let vectors = maps.div_ceil(copies);
        let places = [
            Axis::new(0, &[(copies, block), (vectors, slots)]), Axis::strided(oh, columns), Axis::strided(ow, 1),
        ];
        let output = Layout::new(window.output, slots, vectors, places, fold).unwrap();
        let linear = Linear::new(window, &input, &output, Options { fold, spread: 1, baby, chained: false, quarters: false });
        let linear = linear.unwrap();
        let taps = kernel.div_ceil(stride).pow(2);
        prop_assert!(linear.schedule().plains() <= taps * vectors, "one diagonal per tap of a phase");
        check(&linear, seed, true);
    }

    #[test]
    fn dense_layers_fold_repeat_block_and_spread(
        inputs in 1usize..60, outputs in 1usize..20, baby in 1usize..20, spread in 0u32..4, seed: u64,
    ) {
        let slots = 1024;
        let window = Window::dense([inputs, 1, 1], outputs);
        let p = inputs.next_power_of_two();
        let rows = outputs.next_power_of_two();
        for period in [p, 2 * p, slots] {
            let input = Layout::features(inputs, slots, 1, period).unwrap();
            if rows <= period {
                let options = Options { fold: rows, spread: 1, baby, chained: false, quarters: false };
                let output = Layout::features(outputs, slots, 1, rows).unwrap();
                check(&Linear::new(window.clone(), &input, &output, options).unwrap(), seed, true);
                let spread = 1 << spread;
                let options = Options { fold: rows, spread, baby, chained: false, quarters: false };
                let output = Layout::features(outputs, slots, 1, slots).unwrap();
                if spread > 1 && spread <= rows && spread * (period + 1) <= slots {
                    check(&Linear::new(window.clone(), &input, &output, options).unwrap(), seed, true);
                }
            }
            // Rows over the copies of the input.
            let copies = slots / period;
            let each = rows / copies.min(rows);
            if each < period && copies > 1 {
                let axes = [Axis::new(0, &[(each, 1), (copies, period)]), Axis::default(), Axis::default()];
                let output = Layout::new([outputs, 1, 1], slots, 1, axes, slots).unwrap();
                let options = Options { fold: each, spread: 1, baby, chained: false, quarters: false };
                check(&Linear::new(window.clone(), &input, &output, options).unwrap(), seed, true);
            }
        }
    }

    #[test]
    fn averages_and_grouped_convolutions_equal_their_definition(
        groups in 1usize..4, each in 1usize..3, size in 1usize..4, k in 1usize..4, baby in 1usize..20, seed: u64,
    ) {
        let slots = 1024;
        let channels = groups * each;
        let window = Window {
            input: [channels, size * k, size * k], output: [groups, size, size], kernel: [k; 2], stride: [k; 2],
            pads: [0; 2], groups, pool: [1, 1],
        };
        let side = size * k;
        let input = grid(window.input, slots, side, side * side, slots);
        let axes = [Axis::strided(groups, side * side), Axis::strided(size, k * side), Axis::strided(size, k)];
        let output = Layout::new(window.output, slots, 1, axes, slots).unwrap();
        let options = Options { fold: slots, spread: 1, baby, chained: false, quarters: false };
        check(&Linear::new(window, &input, &output, options).unwrap(), seed, true);
    }
}

const SLOTS: usize = 8192;

fn counter(slots: usize) -> Counter {
    Counter::new(Chain::plain(slots, &[1 << 34, 1 << 26, 1 << 33, 1 << 26, 1 << 33, 1 << 26], 1, 1))
}

fn first_conv() -> (Conv, [usize; 3], [usize; 3]) {
    let conv = Conv {
        out_channels: 5,
        kernel: [5; 2],
        stride: [2; 2],
        pads: [1, 1, 0, 0],
        groups: 1,
        weight: WeightId(0),
        bias: None,
    };
    (conv, [1, 28, 28], [5, 13, 13])
}

/// Rotations and all operations but relinearisation and rescaling.
fn totals(s: &Counter) -> (u64, u64) {
    let c = s.counts();
    let rotations = c.rotations + c.hoisted;
    (rotations, rotations + c.ct_mul + c.pt_mul + c.scalar_mul + c.add)
}

fn layer(s: &mut Counter, x: Traced, linear: &Linear) -> Traced {
    let units = vec![(); linear.plain_count()];
    linear.run(s, &[x], &mut Plains::new(&units), Scale((1u64 << 33) as f64)).unwrap()[0]
}

/// Taps in, copies, hybrid diagonals.
fn diagonal(slots: usize, babies: [usize; 2]) -> (u64, u64) {
    let mut s = counter(slots);
    let (conv, input, output) = first_conv();
    let shape = |s: [usize; 3]| oblivia_nn::Shape::new(s).unwrap();
    let taps = TapInput::new(&conv, &shape(input), &shape(output)).unwrap();
    let conv = TapConv::new(&taps, 5);
    let xs = vec![s.input(6, Scale((1u64 << 32) as f64)); taps.taps()];
    let units = vec![(); 130];
    let mut p = Plains::new(&units);
    let x = conv.run(&mut s, &xs, &mut p, Scale((1u64 << 33) as f64)).unwrap();
    p.finish().unwrap();
    let x = s.rescale(&x).unwrap();
    let x = s.square_rescale(&x).unwrap();
    let x = replicate(&mut s, &x, 1024).unwrap();
    let flat = Layout::new(
        output,
        slots,
        1,
        [Axis::strided(5, 169), Axis::strided(13, 13), Axis::strided(13, 1)],
        1024,
    );
    let rows = 128 * 1024 / slots;
    let axes = [Axis::new(0, &[(rows, 1), (slots / 1024, 1024)]), Axis::default(), Axis::default()];
    let hidden = Layout::new([100, 1, 1], slots, 1, axes, slots).unwrap();
    let options = Options { fold: rows, spread: 1, baby: babies[0], chained: false, quarters: false };
    let first = Linear::new(Window::dense(output, 100), &flat.unwrap(), &hidden, options).unwrap();
    let x = layer(&mut s, x, &first);
    let x = s.square_rescale(&x).unwrap();
    let logits = Layout::features(10, slots, 1, 1024).unwrap();
    let options = Options { fold: 1024, spread: 1, baby: babies[1], chained: false, quarters: false };
    let second = Linear::new(Window::dense([100, 1, 1], 10), &hidden, &logits, options).unwrap();
    assert!(!first.is_clean() && second.is_clean());
    assert_eq!(layer(&mut s, x, &second).level, 1);
    totals(&s)
}

/// One vector in: stride phases, copied for the maps.
fn packed(spread: usize) -> (u64, u64, u64) {
    let mut s = counter(SLOTS);
    let (conv, input, output) = first_conv();
    let phase = |block: usize, pitch: usize| Axis::new(1, &[(2, block), (15, pitch)]);
    let axes = [Axis::strided(1, 0), phase(512, 15), phase(256, 1)];
    let image = Layout::new(input, SLOTS, 1, axes, 1024).unwrap();
    let maps = grid(output, SLOTS, 15, 1024, SLOTS);
    let options = Options { fold: 256, spread: 1, baby: SLOTS, chained: false, quarters: false };
    let conv = Linear::new(Window::conv(&conv, input, output), &image, &maps, options).unwrap();
    let x = s.input(6, Scale((1u64 << 32) as f64));
    let x = layer(&mut s, x, &conv);
    let x = s.square_rescale(&x).unwrap();
    let hidden = Layout::features(100, SLOTS, 1, 128).unwrap();
    let options = Options { fold: 128, spread: 1, baby: 16, chained: false, quarters: false };
    let first = Linear::new(Window::dense(output, 100), &maps, &hidden, options).unwrap();
    let x = layer(&mut s, x, &first);
    let x = s.square_rescale(&x).unwrap();
    let logits = Layout::features(10, SLOTS, 1, if spread > 1 { SLOTS } else { 16 }).unwrap();
    let options = Options { fold: 16, spread, baby: 4, chained: false, quarters: false };
    let second = Linear::new(Window::dense([100, 1, 1], 10), &hidden, &logits, options).unwrap();
    assert_eq!(second.is_clean(), spread == 1);
    assert_eq!(layer(&mut s, x, &second).level, 1);
    for linear in [&conv, &first, &second] {
        check(linear, 7, false);
    }
    let (rotations, all) = totals(&s);
    (rotations, all, s.counts().ntt)
}

#[test]
fn cryptonets_by_replicated_diagonals_has_the_known_counts() {
    assert_eq!(diagonal(8192, [4, 5]), (31, 381));
    // The known 56 / 406 and 36 / 447 shift the second layer's input once, so that its rotations start at 0; here
    // they are taken modulo the fold and need no shift.
    assert_eq!(diagonal(8192, [16, 8192]), (55, 405));
    assert_eq!(diagonal(4096, [8, 8]), (35, 446));
}

#[test]
fn cryptonets_from_one_packed_vector_has_the_known_counts() {
    // The known 45 and 337 leave the last bias to the client.
    assert_eq!(packed(16), (45, 337 + 1, 640));
    // Nothing but outputs in the reply: two rotations more, three transforms fewer.
    assert_eq!(packed(1), (47, 366, 637));
}

#[test]
fn layouts_that_contradict_themselves_are_refused() {
    let axes = |c: Axis| [c, Axis::strided(2, 1), Axis::default()];
    let make = |c, slots, period| Layout::new([2, 2, 1], slots, 1, axes(c), period);
    assert!(make(Axis::strided(2, 2), 8, 8).is_ok());
    assert!(make(Axis::strided(2, 1), 8, 8).is_err(), "two elements share a slot");
    assert!(make(Axis::strided(2, 8), 8, 8).is_err(), "outside the vectors");
    assert!(make(Axis::strided(2, 7), 8, 8).is_err(), "a channel in two vectors");
    assert!(make(Axis::strided(2, 4), 8, 4).is_err(), "beyond the period");
    assert!(make(Axis::strided(1, 2), 8, 8).is_err(), "more indices than the digits have");
    assert!(make(Axis::strided(2, 2), 12, 12).is_err(), "not a power of two");
}

#[test]
fn layers_that_would_take_too_much_to_look_at_are_refused_before_they_are() {
    let why = |window: Window, input: &Layout, output: &Layout, options: Options| {
        Linear::new(window, input, output, options).map(drop).unwrap_err().to_string()
    };
    let slots = 1 << 16;
    let vectors = |each: usize, stride: usize, n: usize| {
        let axes = [Axis::new(0, &[(each, stride), (n, slots)]), Axis::default(), Axis::default()];
        Layout::new([n * each, 1, 1], slots, n, axes, slots).unwrap()
    };
    let large = vectors(slots, 1, 16);
    let plain = Options { fold: slots, spread: 1, baby: 256, chained: false, quarters: false };
    let all = 16 * slots;
    assert!(why(Window::dense([all, 1, 1], all), &large, &large, plain).contains("too many weights"));
    // A column of kernels as long as the input, at every place of it.
    let long = 1 << 15;
    let axes = [Axis::strided(1, 0), Axis::strided(long, 1), Axis::strided(1, 0)];
    let column = Layout::new([1, long, 1], slots, 1, axes, slots).unwrap();
    let window = Window {
        input: [1, long, 1],
        output: [1, long, 1],
        kernel: [long, 1],
        stride: [1, 1],
        pads: [0, 0],
        groups: 1,
        pool: [1, 1],
    };
    assert!(why(window, &column, &column, plain).contains("too many weights"));
    // Every diagonal of many vectors.
    let two = vectors(4, 1, 2);
    assert!(why(Window::dense([all, 1, 1], 8), &large, &two, plain).contains("too many diagonals"));
    // Every weight, to see which are zero.
    let axes = [Axis::new(0, &[(1, 1), (4, slots)]), Axis::strided(256, 256), Axis::strided(256, 1)];
    let image = Layout::new([4, 256, 256], slots, 4, axes, slots).unwrap();
    let features = Layout::features(600, slots, 1, slots).unwrap();
    let all = Linear::sparse(Window::dense([4, 256, 256], 600), &image, &features, plain, |_| true);
    assert!(all.unwrap_err().to_string().contains("too many diagonals"));
    // One baby step and chains of giants through all slots.
    let (ends, far) = (Layout::features(2, slots, 1, slots).unwrap(), vectors(2, slots / 2 - 1, 8));
    let chained = Options { baby: 1, chained: true, ..plain };
    assert!(why(Window::dense([2, 1, 1], 16), &ends, &far, chained).contains("too many rotations"));
}
