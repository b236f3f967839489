//! Layers laid out freely, in clear and encrypted, against the definition of a convolution.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use oblivia_base::Prg;
use oblivia_he::bfv::{Context, ContextLiteral, Decryptor, Encoder, Encryptor, Evaluator};
use oblivia_he::{Moduli, ParamsLiteral, RingKind, SecretKey};
use oblivia_pack::circuit::{FreeLayer, Window};
use oblivia_pack::*;
use proptest::prelude::*;
use std::sync::Arc;

/// Small integers that look like nothing in particular.
fn number(seed: u64, i: usize) -> i64 {
    let x = (seed ^ (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((x >> 40) % 31) as i64 - 15
}

fn conv(
    input: [usize; 3],
    maps: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: [usize; 4],
    groups: usize,
) -> Window {
    let side =
        |axis: usize| (input[1 + axis] + pads[axis] + pads[2 + axis] - kernel[axis]) / stride[axis] + 1;
    let output = [maps, side(0), side(1)];
    Window { input, output, kernel, stride, pads: [pads[0], pads[1]], groups, pool: [1, 1] }
}

fn weights(window: &Window) -> Vec<i32> {
    let [m, ..] = window.output;
    (0..m * window.fan_in()).map(|i| number(3, i) as i32).collect()
}

/// The definition, biases included.
fn definition(window: &Window, w: &[i32], bias: &[i64], x: &[i64]) -> Vec<i64> {
    let ([_, h, iw], [m, oh, ow]) = (window.input, window.output);
    let own = window.input[0] / window.groups;
    let [kh, kw] = window.kernel;
    let mut y = Vec::new();
    for out in 0..m {
        let group = out / (m / window.groups);
        for (oy, ox) in (0..oh).flat_map(|oy| (0..ow).map(move |ox| (oy, ox))) {
            let mut sum = bias[out];
            for (c, (ky, kx)) in (0..own).flat_map(|c| (0..kh * kw).map(move |k| (c, (k / kw, k % kw)))) {
                let row = (oy * window.stride[0] + ky) as i64 - window.pads[0] as i64;
                let column = (ox * window.stride[1] + kx) as i64 - window.pads[1] as i64;
                if (0..h as i64).contains(&row) && (0..iw as i64).contains(&column) {
                    let at = ((group * own + c) * h + row as usize) * iw + column as usize;
                    sum += i64::from(w[((out * own + c) * kh + ky) * kw + kx]) * x[at];
                }
            }
            y.push(sum);
        }
    }
    y
}

/// Every way there is, with a few baby steps.
fn ways(window: &Window, slots: usize) -> Vec<FreeLayer> {
    let options = [(1, false, false), (4, true, false), (slots, false, true)];
    (0..FreeLayer::count(window, slots))
        .flat_map(|i| options.map(|o| FreeLayer::way(window, slots, i, o).unwrap()))
        .collect()
}

/// The values of one row.
fn row_of(plain: &Plain, row: usize, slots: usize) -> Plain {
    match plain {
        Plain::Weights { values, factor } if values.len() > slots => {
            let values = values[row * slots..(row + 1) * slots].to_vec();
            Plain::Weights { values, factor: *factor }
        }
        other => other.clone(),
    }
}

fn in_clear(layer: &FreeLayer, w: &[i32], bias: &[i64], x: &[i64]) -> Vec<i64> {
    let slots = layer.linear().input().slots();
    let (xs, plains) = (layer.spread(x), layer.diagonals(w));
    let mut vectors = vec![Vec::new(); layer.outputs()];
    for row in 0..2 {
        let xs: Vec<Vec<f64>> = xs
            .iter()
            .map(|x| x[row * slots..(row + 1) * slots].iter().map(|&v| v as f64).collect())
            .collect();
        let plains: Vec<Plain> = plains.iter().map(|p| row_of(p, row, slots)).collect();
        let ys = layer.linear().product(&mut ClearSlots::new(slots), &xs, &plains, Scale(1.0)).unwrap();
        for (vector, y) in vectors.iter_mut().zip(ys) {
            vector.extend(y.into_iter().map(|v| v as i64));
        }
    }
    let mut next = 0;
    let added = layer.biases(bias, || {
        next += 1;
        next << 20
    });
    for (vector, added) in vectors.iter_mut().zip(&added) {
        vector.iter_mut().zip(added).for_each(|(v, a)| *v += a);
    }
    let results = layer.places().len();
    let masked = added.iter().flatten().filter(|v| **v >= 1 << 20).count();
    assert_eq!(results + masked, layer.outputs() * 2 * slots, "every slot without a result is masked");
    layer.gather(&vectors)
}

fn check(window: &Window, slots: usize) {
    let w = weights(window);
    let bias: Vec<i64> = (0..window.output[0]).map(|i| 1000 + i as i64).collect();
    let x: Vec<i64> = (0..window.input.iter().product()).map(|i| number(9, i)).collect();
    let expected = definition(window, &w, &bias, &x);
    let ways = ways(window, slots);
    assert!(!ways.is_empty(), "{window:?} over {slots} slots");
    for layer in ways {
        assert_eq!(in_clear(&layer, &w, &bias, &x), expected, "{:?}", layer.linear().schedule());
    }
}

#[test]
fn layers_of_every_kind_are_the_definition_in_every_way_they_are_laid_out() {
    let square = |n| [n, n];
    // The layers of the networks on MNIST and CIFAR-10, smaller.
    check(&conv([1, 12, 12], 6, square(5), square(1), [0; 4], 1), 512);
    check(&conv([6, 6, 6], 5, square(3), square(1), [0; 4], 1), 256);
    check(&conv([5, 8, 8], 7, square(3), square(1), [1; 4], 1), 128);
    check(&conv([8, 4, 4], 3, square(1), square(1), [0; 4], 1), 128);
    check(&Window::dense([48, 1, 1], 20), 512);
    check(&Window::dense([300, 1, 1], 10), 128);
    check(&Window::dense([5, 1, 1], 300), 64);
    check(&Window::dense([7, 1, 1], 1), 32);
    // Read all at once.
    check(&conv([3, 4, 4], 6, square(4), square(1), [0; 4], 1), 256);
    // Strides, uneven padding, groups.
    check(&conv([2, 9, 7], 4, [3, 2], [2, 3], [1, 0, 0, 1], 1), 256);
    check(&conv([4, 8, 8], 4, square(3), square(2), [1; 4], 4), 256);
    check(&conv([6, 5, 5], 12, square(2), square(1), [0, 1, 1, 0], 3), 128);
    check(&conv([2, 3, 3], 2, square(3), square(1), [2; 4], 1), 128);
}

#[test]
fn a_channel_longer_than_a_row_has_no_way() {
    assert_eq!(FreeLayer::count(&conv([1, 12, 12], 6, [3; 2], [1; 2], [0; 4], 1), 64), 0);
    assert!(FreeLayer::way(&Window::dense([4, 1, 1], 2), 64, 99, (1, false, false)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn convolutions_of_any_shape_are_the_definition(
        channels in 1usize..5, maps in 1usize..6, h in 1usize..9, w in 1usize..9, kh in 1usize..4, kw in 1usize..4,
        sy in 1usize..4, sx in 1usize..4, pads in prop::array::uniform4(0usize..3), grouped: bool,
    ) {
        prop_assume!(h + pads[0] + pads[2] >= kh && w + pads[1] + pads[3] >= kw);
        let (groups, maps) = if grouped { (channels, channels * maps) } else { (1, maps) };
        check(&conv([channels, h, w], maps, [kh, kw], [sy, sx], pads, groups), 512);
    }
}

#[test]
fn encrypted_layers_are_exact_at_the_counted_cost_and_show_masks_where_there_is_no_result() {
    let params = ParamsLiteral {
        kind: RingKind::Standard,
        log_n: 13,
        q: Moduli::Bits(vec![42; 3]),
        p: Moduli::Bits(vec![46]),
        alpha: 1,
        levels: Vec::new(),
    };
    let context = Context::all(&ContextLiteral { params, t: Moduli::Bits(vec![24]) }).unwrap().remove(0);
    let row = context.slots() / 2;
    let mut rng = Prg::new(&[3; 32], "free layers", &[]);
    let sk = SecretKey::generate(context.params(), &mut rng);
    let encoder = Encoder::new(&context);
    for window in [
        conv([3, 16, 16], 20, [3; 2], [1; 2], [1; 4], 1),
        conv([4, 16, 16], 8, [3; 2], [2; 2], [1; 4], 2),
        Window::dense([256, 1, 1], 25),
    ] {
        let w = weights(&window);
        let bias: Vec<i64> = (0..window.output[0]).map(|i| -7 * i as i64).collect();
        let x: Vec<i64> = (0..window.input.iter().product()).map(|i| number(5, i)).collect();
        let expected = definition(&window, &w, &bias, &x);
        for index in 0..FreeLayer::count(&window, row) {
            let layer = FreeLayer::way(&window, row, index, (row / 8, false, true)).unwrap();
            let plains = layer.diagonals(&w);
            let chain = Chain { slots: row, ..Chain::of(context.params()).unwrap() };
            let mut counter = Counter::exact(chain);
            let input = counter.input(3, Scale(1.0));
            let units = vec![(); plains.len()];
            layer.linear().product(&mut counter, &vec![input; layer.inputs()], &units, Scale(1.0)).unwrap();
            let keys = context.evaluation_keys(&sk, counter.keys(), b"", &mut rng).unwrap();
            let evaluator = Evaluator::new(Arc::new(keys));
            let prepared: Vec<BfvPlain> = plains
                .iter()
                .zip(counter.plains())
                .map(|(p, at)| BfvPlain::prepare(&encoder, p, *at).unwrap())
                .collect();
            let encrypt = |values: &Vec<i64>| {
                let pt = encoder.encode(values, 3, context.level_factor(3).unwrap()).unwrap();
                let mut rng = Prg::new(&[4; 32], "encryption", &[]);
                let ciphertext = Encryptor::new(&context).encrypt_symmetric(&sk, &pt, &mut rng).unwrap();
                BfvVector { ciphertext, scale: Scale(1.0) }
            };
            let xs: Vec<BfvVector> = layer.spread(&x).iter().map(encrypt).collect();
            evaluator.take_counts();
            let mut slots = BfvSlots::new(&evaluator, &encoder);
            let mut ys = layer.linear().product(&mut slots, &xs, &prepared, Scale(1.0)).unwrap();
            assert_eq!(evaluator.take_counts(), counter.counts());
            let added = layer.biases(&bias, || 4_000_000);
            for (y, added) in ys.iter_mut().zip(&added) {
                let level = y.ciphertext.level();
                let added = encoder.encode(added, level, context.level_factor(level).unwrap()).unwrap();
                evaluator.add_plain_assign(&mut y.ciphertext, &added).unwrap();
            }
            let decryptor = Decryptor::new(&context, &sk).unwrap();
            let open = |y: &BfvVector| encoder.decode(&decryptor.decrypt(&y.ciphertext).unwrap()).unwrap();
            let found: Vec<Vec<i64>> = ys.iter().map(open).collect();
            assert_eq!(layer.gather(&found), expected);
            println!("{:?}: {:?}", window.output, counter.counts());
        }
    }
}
