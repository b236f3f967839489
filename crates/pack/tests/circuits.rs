//! Circuits against the definitions they implement, and their operation counts against known answers.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use oblivia_nn::{Conv, Graph, Op, Shape, Tensor};
use oblivia_pack::circuit::{GatheredDense, ReplicatedDense, TapConv, TapInput, replicate, rotations_of};
use oblivia_pack::{Chain, ClearSlots, Counter, Plains, Scale, Slots};
use proptest::prelude::*;

const ANY: Scale = Scale(1.0);

/// A generator for test values, small and varied.
fn value(seed: u64, i: usize) -> f64 {
    let x = (seed ^ (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((x >> 40) as f64 / (1u64 << 24) as f64) * 2.0 - 1.0
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * (1.0 + a.abs())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn two_dense_layers_equal_two_matrix_products(
        inputs in 1usize..60, hidden in 1usize..40, outputs in 1usize..12,
        baby1 in 1usize..9, baby2 in 1usize..9, seed: u64,
    ) {
        let slots = 512;
        prop_assume!(hidden.next_power_of_two() * inputs.next_power_of_two() <= slots * inputs.next_power_of_two());
        prop_assume!(outputs <= inputs.next_power_of_two());
        let Ok(first) = ReplicatedDense::new(inputs, hidden, slots, Some(baby1)) else { return Ok(()) };
        let second = GatheredDense::new(&first, hidden, outputs, slots, Some(baby2)).unwrap();
        let w1 = |i: usize, j: usize| value(seed, i * 101 + j);
        let b1 = |i: usize| value(seed ^ 1, i);
        let w2 = |i: usize, j: usize| value(seed ^ 2, i * 103 + j);
        let b2 = |i: usize| value(seed ^ 3, i);
        let x: Vec<f64> = (0..inputs).map(|i| value(seed ^ 4, i)).collect();

        let mut s = ClearSlots::new(slots);
        let mut v = x.clone();
        v.resize(slots, 0.0);
        let v = replicate(&mut s, &v, first.block()).unwrap();
        let plains = first.plains(w1, b1);
        let mut cursor = Plains::new(&plains);
        let h = first.run(&mut s, &v, &mut cursor, ANY).unwrap();
        cursor.finish().unwrap();
        let expected: Vec<f64> =
            (0..hidden).map(|i| b1(i) + (0..inputs).map(|j| w1(i, j) * x[j]).sum::<f64>()).collect();
        for (i, e) in expected.iter().enumerate() {
            prop_assert!(close(*e, h[first.position(i)]), "hidden {i}");
        }
        let plains = second.plains(w2, b2);
        let mut cursor = Plains::new(&plains);
        let y = second.run(&mut s, &h, &mut cursor, ANY).unwrap();
        cursor.finish().unwrap();
        for (j, y) in y.iter().enumerate().take(outputs) {
            let e = b2(j) + (0..hidden).map(|i| w2(j, i) * expected[i]).sum::<f64>();
            prop_assert!(close(e, *y), "output {j}: {e} {y}");
        }
        for (k, v) in y.iter().enumerate() {
            prop_assert!(k % first.block() < outputs || *v == 0.0, "slot {k} holds {v}");
        }
    }

    #[test]
    fn a_convolution_by_taps_equals_the_convolution(
        channels in 1usize..3, size in 5usize..9, kernel in 1usize..4, stride in 1usize..3,
        top in 0usize..2, right in 0usize..2, maps in 1usize..4, seed: u64,
    ) {
        let shape = Shape::new([channels, size, size]).unwrap();
        let mut g = Graph::new("x", shape.clone());
        let weight =
            g.weight("w", Shape::new([maps, channels, kernel, kernel]).unwrap()).unwrap();
        let conv = Conv {
            out_channels: maps, kernel: [kernel; 2], stride: [stride; 2], pads: [top, 0, 0, right],
            groups: 1, weight, bias: None,
        };
        let out = g.push("conv", Op::Conv(conv.clone()), &[g.input()]).unwrap();
        let output = g.fact(out).unwrap().shape.clone();
        let (_, oh, ow) = output.chw().unwrap();
        let x = Tensor::new(shape.clone(), (0..shape.elements()).map(|i| value(seed, i) as f32).collect()).unwrap();
        let w = |m: usize, t: usize| value(seed ^ 7, m * 97 + t);
        let input = TapInput::new(&conv, &shape, &output).unwrap();
        let circuit = TapConv::new(&input, maps);
        let mut s = ClearSlots::new(512);
        let vectors: Vec<Vec<f64>> =
            input.vectors(&x).into_iter().map(|mut v| { v.resize(512, 0.0); v }).collect();
        let plains = circuit.plains(w, |m| value(seed ^ 9, m));
        let mut cursor = Plains::new(&plains);
        let y = circuit.run(&mut s, &vectors, &mut cursor, ANY).unwrap();
        cursor.finish().unwrap();
        for m in 0..maps {
            for i in 0..oh {
                for j in 0..ow {
                    let mut e = value(seed ^ 9, m);
                    for c in 0..channels {
                        for ky in 0..kernel {
                            for kx in 0..kernel {
                                let (a, b) = ((i * stride + ky) as i64 - top as i64, (j * stride + kx) as i64);
                                if a >= 0 && (a as usize) < size && (b as usize) < size {
                                    let v = x.data()[(c * size + a as usize) * size + b as usize];
                                    e += w(m, (c * kernel + ky) * kernel + kx) * f64::from(v);
                                }
                            }
                        }
                    }
                    prop_assert!(close(e, y[(m * oh + i) * ow + j]));
                }
            }
        }
    }
}

/// Five levels of the CryptoNets network, as `leveled` plans it.
fn cryptonets(slots: usize, babies: [usize; 2]) -> (usize, u64) {
    let chain = Chain {
        slots,
        primes: vec![1 << 34, 1 << 26, 1 << 33, 1 << 26, 1 << 33, 1 << 26],
        special: 1,
        digit: 1,
    };
    let mut s = Counter::new(chain);
    let input = Shape::new([1, 28, 28]).unwrap();
    let mut g = Graph::new("x", input.clone());
    let weight = g.weight("w", Shape::new([5, 1, 5, 5]).unwrap()).unwrap();
    let conv = Conv {
        out_channels: 5,
        kernel: [5; 2],
        stride: [2; 2],
        pads: [1, 1, 0, 0],
        groups: 1,
        weight,
        bias: None,
    };
    let out = g.push("conv", Op::Conv(conv.clone()), &[g.input()]).unwrap();
    let layout = TapInput::new(&conv, &input, &g.fact(out).unwrap().shape).unwrap();
    let conv = TapConv::new(&layout, 5);
    let first = ReplicatedDense::new(845, 100, slots, Some(babies[0])).unwrap();
    let second = GatheredDense::new(&first, 100, 10, slots, Some(babies[1])).unwrap();
    let units = vec![(); 1000];
    let mut p = Plains::new(&units);
    let target = Scale((1u64 << 33) as f64);
    let xs = vec![s.input(6, Scale((1u64 << 32) as f64)); layout.taps()];
    assert_eq!(xs.len(), 25);
    let x = conv.run(&mut s, &xs, &mut p, target).unwrap();
    let x = s.rescale(&x).unwrap();
    let x = s.square(&x).unwrap();
    let x = s.rescale(&x).unwrap();
    let x = replicate(&mut s, &x, first.block()).unwrap();
    let x = first.run(&mut s, &x, &mut p, target).unwrap();
    let x = s.rescale(&x).unwrap();
    let x = s.square(&x).unwrap();
    let x = s.rescale(&x).unwrap();
    let y = second.run(&mut s, &x, &mut p, target).unwrap();
    assert_eq!(s.rescale(&y).unwrap().level, 1);
    let counts = s.counts();
    (
        (counts.rotations + counts.hoisted) as usize,
        counts.rotations + counts.hoisted + counts.ct_mul + counts.pt_mul + counts.scalar_mul + counts.add,
    )
}

#[test]
fn cryptonets_by_replicated_diagonals_has_the_known_counts() {
    assert_eq!(cryptonets(8192, [4, 5]), (31, 381));
    assert_eq!(cryptonets(8192, [16, 25]), (56, 406));
    assert_eq!(cryptonets(4096, [8, 8]), (36, 447));
}

#[test]
fn the_number_of_rotations_of_a_group_size_is_that_of_baby_and_giant_steps() {
    assert_eq!(rotations_of(16, 4), 6);
    assert_eq!(rotations_of(25, 5), 8);
    assert_eq!(rotations_of(7, 7), 6);
}

#[test]
fn vectors_of_different_levels_do_not_add() {
    let chain = Chain { slots: 8, primes: vec![17, 17], special: 1, digit: 1 };
    let mut s = Counter::new(chain);
    let (mut a, b) = (s.input(2, ANY), s.input(1, ANY));
    assert!(s.add_assign(&mut a, &b).is_err());
}

#[test]
fn a_circuit_deeper_than_the_chain_is_refused() {
    let chain = Chain { slots: 8, primes: vec![17], special: 1, digit: 1 };
    let mut s = Counter::new(chain);
    let x = s.input(1, ANY);
    assert!(s.rescale(&x).is_err());
}
