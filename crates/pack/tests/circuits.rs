//! Circuits against the definitions they implement, and their operation counts against known answers.

use oblivia_nn::{Conv, Graph, Op, Shape, Tensor};
use oblivia_pack::circuit::{TapConv, TapInput};
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

#[test]
fn vectors_of_different_levels_do_not_add() {
    let chain = Chain::plain(8, &[17, 17], 1, 1);
    let mut s = Counter::new(chain);
    let (mut a, b) = (s.input(2, ANY), s.input(1, ANY));
    assert!(s.add_assign(&mut a, &b).is_err());
}

#[test]
fn a_circuit_deeper_than_the_chain_is_refused() {
    let chain = Chain::plain(8, &[17], 1, 1);
    let mut s = Counter::new(chain);
    let x = s.input(1, ANY);
    assert!(s.rescale(&x).is_err());
}
