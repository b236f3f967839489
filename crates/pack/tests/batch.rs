//! Layers over batches against the definitions they implement, and their operation counts.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use common::{Ends, chain, conv, max_error, plain_conv, small, value};
use oblivia_nn::{Pool, Shape};
use oblivia_pack::circuit::Affine;
use oblivia_pack::circuit::batch::{BatchConv, BatchDense, BatchSumPool, vectors};
use oblivia_pack::{
    BatchSlots, Chain, CircuitError, CkksSlots, ClearSlots, Counter, Place, Plains, Scale, Slots, Then,
};
use proptest::prelude::*;

const SCALE: Scale = Scale((1u64 << 30) as f64);

/// Values of element `e` over the samples.
fn batch(seed: u64, elements: usize, samples: usize) -> Vec<Vec<f64>> {
    (0..elements).map(|e| (0..samples).map(|i| value(seed, e * 1013 + i)).collect()).collect()
}

/// Sample `i` of a batch.
fn sample(xs: &[Vec<f64>], i: usize) -> Vec<f64> {
    xs.iter().map(|x| x[i]).collect()
}

#[test]
fn vectors_hold_an_element_of_every_sample() {
    let samples: Vec<Vec<f32>> = (0..5).map(|i| (0..40).map(|e| (100 * i + e) as f32).collect()).collect();
    let samples: Vec<&[f32]> = samples.iter().map(Vec::as_slice).chain([&[7.0, 8.0][..]]).collect();
    let all = vectors(&samples, 0..40);
    assert_eq!(all.len(), 40);
    assert_eq!(all[17], [17.0, 117.0, 217.0, 317.0, 417.0, 0.0]);
    assert_eq!(all[1][5], 8.0);
    assert_eq!(vectors(&samples, 15..36), all[15..36]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_convolution_over_a_batch_equals_the_convolution_of_every_sample(
        own in 1usize..3, groups in 1usize..3, own_maps in 1usize..4, height in 4usize..9, width in 4usize..20,
        kernel in 1usize..4, stride in 1usize..4, top in 0usize..2, left in 0usize..2, bottom in 0usize..2,
        square: bool, seed: u64,
    ) {
        let pads = [top, left, bottom, 0].map(|p: usize| p.min(kernel - 1));
        let (conv, input, output) =
            conv([own * groups, height, width], own_maps * groups, kernel, stride, pads, groups);
        let circuit = BatchConv::new(&conv, &input, &output).unwrap();
        prop_assert_eq!(circuit.inputs(), input.elements());
        prop_assert_eq!(circuit.outputs(), output.elements());
        let w = |m: usize, t: usize| value(seed ^ 1, m * 97 + t);
        let b = |m: usize| value(seed ^ 2, m);
        let xs = batch(seed, input.elements(), 3);
        let plains = circuit.plains(Affine { weight: &w, bias: &b });
        prop_assert_eq!(plains.len(), circuit.plain_count());
        let mut cursor = Plains::new(&plains);
        let then = if square { Then::Square } else { Then::Keep };
        let ys = circuit.run(&mut ClearSlots::new(3), xs.clone(), &mut cursor, SCALE, then).unwrap();
        cursor.finish().unwrap();
        for i in 0..3 {
            let mut expected = plain_conv(&conv, &input, &output, &sample(&xs, i), w, b);
            if square {
                expected.iter_mut().for_each(|v| *v *= *v);
            }
            prop_assert!(max_error(&sample(&ys, i), &expected) < 1e-9);
        }
    }

    #[test]
    fn sums_over_windows_divided_are_averages(
        channels in 1usize..3, size in 3usize..8, kernel in 1usize..4, stride in 1usize..3, pad in 0usize..2,
        include: bool, seed: u64,
    ) {
        let pad = pad.min(kernel - 1);
        let out = (size + 2 * pad - kernel) / stride + 1;
        let pool = Pool {
            kernel: [kernel; 2], stride: [stride; 2], pads: [pad; 4], count_include_pad: include,
        };
        let (input, output) =
            (Shape::new([channels, size, size]).unwrap(), Shape::new([channels, out, out]).unwrap());
        let circuit = BatchSumPool::new(&pool, &input, &output).unwrap();
        let xs = batch(seed, input.elements(), 2);
        let ys = circuit.run(&mut ClearSlots::new(2), xs.clone()).unwrap();
        prop_assert_eq!(ys.len(), circuit.outputs());
        for (k, y) in ys.iter().enumerate() {
            let (c, i, j) = (k / (out * out), k / out % out, k % out);
            let (mut sum, mut seen) = (0.0, 0);
            for a in (i * stride..i * stride + kernel).filter(|&a| a >= pad && a - pad < size) {
                for b in (j * stride..j * stride + kernel).filter(|&b| b >= pad && b - pad < size) {
                    sum += xs[(c * size + a - pad) * size + b - pad][1];
                    seen += 1;
                }
            }
            prop_assert!((y[1] - sum).abs() < 1e-9);
            prop_assert_eq!(circuit.divisor(k), if include { kernel * kernel } else { seen });
        }
    }

    #[test]
    fn a_dense_layer_over_a_batch_is_a_matrix_product(
        inputs in 1usize..20, outputs in 1usize..600, seed: u64,
    ) {
        let circuit = BatchDense::new(inputs, outputs);
        let w = |i: usize, j: usize| value(seed ^ 1, i * 97 + j);
        let b = |i: usize| value(seed ^ 2, i);
        let xs = batch(seed, inputs, 2);
        let plains = circuit.plains(Affine { weight: &w, bias: &b });
        prop_assert_eq!(plains.len(), circuit.plain_count());
        let mut cursor = Plains::new(&plains);
        let ys = circuit.run(&mut ClearSlots::new(2), xs.clone(), &mut cursor, SCALE, Then::Keep).unwrap();
        cursor.finish().unwrap();
        prop_assert_eq!(ys.len(), outputs);
        for (i, y) in ys.iter().enumerate() {
            let e = b(i) + (0..inputs).map(|j| w(i, j) * xs[j][1]).sum::<f64>();
            prop_assert!((y[1] - e).abs() < 1e-9);
        }
    }
}

#[test]
fn the_global_pool_sums_every_channel() {
    let circuit = BatchSumPool::global(&Shape::new([2, 3, 4]).unwrap()).unwrap();
    let ys = circuit.run(&mut ClearSlots::new(1), (0..24).map(|v| vec![f64::from(v)]).collect()).unwrap();
    assert_eq!(ys, [[66.0], [210.0]]);
    assert_eq!(circuit.divisor(1), 12);
}

#[test]
fn cryptonets_over_a_batch_has_the_counts_of_its_sums_and_needs_one_key() {
    let (conv, input, output) = conv([1, 28, 28], 5, 5, 2, [1, 1, 0, 0], 1);
    let conv = BatchConv::new(&conv, &input, &output).unwrap();
    let (dense1, dense2) = (BatchDense::new(845, 100), BatchDense::new(100, 10));
    let plains = vec![(); conv.plain_count() + dense1.plain_count() + dense2.plain_count()];
    let primes = vec![1 << 34, 1 << 26, 1 << 33, 1 << 26, 1 << 33, 1 << 26];
    let mut s = Counter::new(Chain::plain(8192, &primes, 1, 1));
    let mut p = Plains::new(&plains);
    let xs = vec![s.input(6, SCALE); 784];
    let xs = conv.run(&mut s, xs, &mut p, SCALE, Then::Square).unwrap();
    // Of the 5·5 positions of a window the first row and column of outputs sees 4·5 and 5·4.
    assert_eq!(s.counts().scalar_mul, 5 * 64 * 64);
    assert_eq!(s.counts().ct_mul, 845);
    let xs = dense1.run(&mut s, xs, &mut p, SCALE, Then::Square).unwrap();
    let ys = dense2.run(&mut s, xs, &mut p, SCALE, Then::Keep).unwrap();
    p.finish().unwrap();
    assert!(ys.len() == 10 && ys.iter().all(|y| y.level == 1 && y.scale == SCALE));
    let counts = s.counts();
    assert_eq!(counts.scalar_mul, 20480 + 84500 + 1000);
    assert_eq!(
        counts.add, counts.scalar_mul,
        "one addition for every product but the first, one for the bias"
    );
    assert_eq!((counts.ct_mul, counts.relin, counts.rescale), (945, 945, 955 + 945));
    assert_eq!(s.plains().len(), plains.len());
    assert_eq!((s.keys().relin.last(), s.keys().rotations.len()), (Some(&5), 0));
}

/// Convolution and square, pool, a residual branch, square, dense.
fn network<S: BatchSlots>(s: &mut S, xs: Vec<S::Ct>, plains: &[S::Pt]) -> Result<Vec<S::Ct>, S::Error> {
    let [a, b] = convs();
    let mut p = Plains::new(plains);
    let xs = circuit(&a).run(s, xs, &mut p, SCALE, Then::Square)?;
    let pool = Pool { kernel: [2; 2], stride: [1; 2], pads: [0; 4], count_include_pad: true };
    let xs = BatchSumPool::new(&pool, &a.2, &b.1).unwrap().run(s, xs)?;
    let mut branch = circuit(&b).run(s, xs.clone(), &mut p, SCALE, Then::Keep)?;
    let other = circuit(&b).run(s, xs, &mut p, SCALE, Then::Keep)?;
    s.add_assign_all(&mut branch, &other)?;
    let xs = s.square_rescale_all(branch)?;
    let ys = BatchDense::new(b.2.elements(), 3).run(s, xs, &mut p, SCALE, Then::Keep)?;
    p.finish()?;
    Ok(ys)
}

type Layer = (oblivia_nn::Conv, Shape, Shape);

fn convs() -> [Layer; 2] {
    let a = conv([1, 7, 7], 4, 3, 2, [1, 1, 0, 0], 1);
    // After the pool, 2 × 2.
    let b = conv([4, 2, 2], 2, 3, 1, [1, 1, 1, 1], 2);
    [a, b]
}

fn circuit((conv, input, output): &Layer) -> BatchConv {
    BatchConv::new(conv, input, output).unwrap()
}

fn weights() -> Vec<oblivia_pack::Plain> {
    let [a, b] = convs();
    let part = |seed: u64, fan: f64| {
        let weight = move |i: usize, j: usize| value(seed, i * 101 + j) / fan;
        let bias = move |i: usize| value(seed ^ 99, i) / 4.0;
        (weight, bias)
    };
    let [(w0, b0), (w1, b1), (w2, b2), (w3, b3)] = [part(1, 9.0), part(2, 18.0), part(3, 18.0), part(4, 8.0)];
    let dense = BatchDense::new(b.2.elements(), 3);
    [
        circuit(&a).plains(Affine { weight: &w0, bias: &b0 }),
        circuit(&b).plains(Affine { weight: &w1, bias: &b1 }),
        circuit(&b).plains(Affine { weight: &w2, bias: &b2 }),
        dense.plains(Affine { weight: &w3, bias: &b3 }),
    ]
    .concat()
}

#[test]
fn a_network_over_a_batch_of_ciphertexts_equals_it_in_the_clear() {
    const LEVELS: usize = 6;
    let (params, plains) = (small(8, LEVELS), weights());
    let mut counter = Counter::new(chain(&params));
    let inputs = vec![counter.input(LEVELS, SCALE); 49];
    let traced = network(&mut counter, inputs, &vec![(); plains.len()]).unwrap();
    let mut ends = Ends::new(&params, counter.keys());
    let prepared = ends.prepare(&plains, counter.plains());
    let xs = batch(5, 49, params.slots());
    let expected = network(&mut ClearSlots::new(params.slots()), xs.clone(), &plains).unwrap();
    let xs: Vec<_> = xs.iter().map(|x| ends.encrypt(x, LEVELS, SCALE.0)).collect();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| network(&mut CkksSlots::new(&ends.evaluator), xs.clone(), &prepared).unwrap())
    };
    let ys = run(3);
    assert_eq!(ends.evaluator.counts(), counter.counts());
    for ((y, t), e) in ys.iter().zip(&traced).zip(&expected) {
        assert_eq!((y.level(), y.scale()), (t.level, t.scale.0));
        let error = max_error(&ends.decrypt(y), e);
        assert!(error < 1e-4, "{error}");
    }
    for (a, b) in ys.iter().zip(&run(1)) {
        assert_eq!(ends.decrypt(a), ends.decrypt(b), "results depend on the number of threads");
    }
}

#[test]
fn places_outside_a_map_and_empty_sums_are_refused_by_every_machine() {
    let params = small(8, 2);
    let mut ends = Ends::new(&params, &oblivia_he::KeyRequest::new());
    let ct = ends.encrypt(&[1.0], 2, SCALE.0);
    let mut counter = Counter::new(chain(&params));
    let traced = counter.input(2, SCALE);
    let layer = BatchDense::new(2, 1);
    let plains = layer.plains(Affine { weight: &|_, _| 0.5, bias: &|_| 0.0 });
    layer.run(&mut counter, vec![traced; 2], &mut Plains::new(&[(); 3]), SCALE, Then::Keep).unwrap();
    let prepared = ends.prepare(&plains, counter.plains());
    fn refused<S: BatchSlots>(s: &mut S, x: &S::Ct, plains: &[S::Pt]) {
        let (row, bias) = (plains[..2].iter().collect(), [&plains[2]]);
        let map = s.map(&[row], &bias, x, SCALE).ok().unwrap();
        for (columns, inputs) in [(vec![2], vec![0]), (vec![1], vec![2]), (vec![0, 1], vec![1])] {
            assert!(s.apply(&[x, x], &map, &[Place { columns, inputs }], Then::Keep).is_err());
        }
        assert!(s.sum_at(std::slice::from_ref(x), &[vec![]]).is_err());
        assert!(s.sum_at(std::slice::from_ref(x), &[vec![0, 1]]).is_err());
        assert!(s.add_assign_all(&mut [x.clone()], &[]).is_err());
    }
    refused(&mut counter, &traced, &[(); 3]);
    refused(&mut ClearSlots::new(4), &vec![1.0; 4], &plains);
    refused(&mut CkksSlots::new(&ends.evaluator), &ct, &prepared);
}

#[test]
fn a_layer_with_the_wrong_number_of_inputs_is_refused() {
    let mut s = ClearSlots::new(2);
    let plains = BatchDense::new(2, 1).plains(Affine { weight: &|_, _| 0.5, bias: &|_| 0.0 });
    let xs = vec![vec![0.0; s.slots()]; 3];
    let run = BatchDense::new(2, 1).run(&mut s, xs, &mut Plains::new(&plains), SCALE, Then::Keep);
    assert_eq!(run, Err(CircuitError::Count { what: "input vectors", expected: 2, found: 3 }));
}

#[test]
fn windows_that_see_only_padding_are_refused() {
    let (conv, input, output) = conv([1, 4, 4], 1, 2, 1, [2, 0, 0, 0], 1);
    assert!(BatchConv::new(&conv, &input, &output).is_none());
    let pool = Pool { kernel: [2; 2], stride: [1; 2], pads: [0, 0, 0, 2], count_include_pad: true };
    let output = Shape::new([1, 3, 5]).unwrap();
    assert!(BatchSumPool::new(&pool, &Shape::new([1, 4, 4]).unwrap(), &output).is_none());
}
