use super::*;
use crate::op::Pool;
use crate::testing::{Build, tiny_model};
use crate::{Shape, eval};

fn scales(input: f64, weights: &[f64]) -> Scales {
    Scales { input, weights: weights.to_vec() }
}

/// conv – square – average – dense on 1×6×6 with everything a multiple of the scales' steps.
fn coarse(seed: u64) -> (Model, Scales) {
    let mut b = Build::new(seed, [2, 6, 6]);
    b.conv("conv", 4, [3, 2], [2, 1], [1, 0, 1, 1], 2, true);
    b.op("square", Op::Square);
    let pool = Pool { kernel: [1, 2], stride: [1, 2], pads: [0; 4], count_include_pad: false };
    b.op("average", Op::AveragePool(pool));
    b.op("flat", Op::Flatten);
    b.dense("dense", 3);
    let mut model = b.finish();
    model.public.input_range = [-1.0, 1.0];
    // Multiples of 1/8, so that rounding changes nothing.
    let tensors = (0..model.public.graph.weights().len()).map(|i| {
        let mut t = model.weights.get(WeightId(i as u32)).clone();
        t.data_mut().iter_mut().for_each(|v| *v = (*v * 8.0).round() / 8.0);
        t
    });
    model.weights = crate::Weights::new(&model.public.graph, tensors.collect()).unwrap();
    (model, scales(4.0, &[8.0, 8.0]))
}

fn image(seed: u64, n: usize, step: f32) -> Vec<f32> {
    let mut x = seed;
    let mut draw = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((x >> 33) as f32 / (1u64 << 30) as f32 - 1.0) / step
    };
    (0..n).map(|_| (draw() * step * step).round() / step).collect()
}

#[test]
fn where_rounding_changes_nothing_the_integer_network_is_the_float_network() {
    for seed in 0..10 {
        let (model, scales) = coarse(seed);
        let integer = IntegerModel::new(&model, &scales).unwrap();
        let x = Tensor::new(Shape::new([2, 6, 6]).unwrap(), image(seed, 72, 4.0)).unwrap();
        // Few enough bits for 32-bit floats to be exact too.
        assert_eq!(integer.eval(&x).unwrap(), eval::run(&model, &x).unwrap(), "{seed}");
    }
}

#[test]
fn every_value_lies_in_its_wires_range_and_the_worst_input_reaches_it() {
    for seed in 0..10 {
        let (model, scales) = coarse(seed);
        let integer = IntegerModel::new(&model, &scales).unwrap();
        let ranges = integer.ranges().unwrap();
        for draw in 0..20 {
            let x = image(100 * seed + draw, 72, 4.0);
            let x = quantise(&Tensor::new(Shape::new([2, 6, 6]).unwrap(), x).unwrap(), 4.0, [-1.0, 1.0]);
            let wires = integer.walk::<i128>(x.iter().map(|&v| v.into()).collect()).unwrap();
            for (wire, range) in wires.iter().zip(&ranges) {
                assert!(wire.iter().all(|v| range.0 <= *v && *v <= range.1));
            }
        }
    }
    // One layer: the sign pattern of a row reaches its end of the range.
    let mut b = Build::new(3, [9]);
    b.dense("dense", 1);
    let mut model = b.finish();
    model.public.input_range = [-1.0, 0.5];
    let integer = IntegerModel::new(&model, &scales(16.0, &[32.0])).unwrap();
    let row = integer.weight(WeightId(0));
    let worst: Vec<i64> = row.iter().map(|&w| if w < 0 { -16 } else { 8 }).collect();
    assert_eq!(integer.run(&worst).unwrap(), [integer.ranges().unwrap()[1].1]);
}

#[test]
fn squares_of_ranges_around_zero_start_at_zero() {
    assert_eq!(Range(-3, 2).square(), Some(Range(0, 9)));
    assert_eq!(Range(-3, -2).square(), Some(Range(4, 9)));
    assert_eq!(Range(1, 2).mac(-3, Range(1, 4)), Some(Range(-11, -1)));
    assert_eq!(Range(0, i128::MAX).square(), None);
}

#[test]
fn inputs_are_rounded_to_even_and_kept_in_range() {
    let x = Tensor::new(Shape::new([5]).unwrap(), vec![0.5, 1.5, -0.2, 1.00001, 9.0]).unwrap();
    assert_eq!(quantise(&x, 1.0, [0.0, 1.0]), [0, 1, 0, 1, 1]);
    assert_eq!(quantise(&x, 2.0, [0.0, 2.0]), [1, 3, 0, 2, 4]);
}

#[test]
fn what_has_no_whole_number_arithmetic_is_refused_by_name() {
    let mut b = Build::new(1, [4]);
    b.dense("first", 4);
    b.op("relu", Op::Relu);
    let model = b.finish();
    let error = IntegerModel::new(&model, &scales(4.0, &[4.0])).unwrap_err().to_string();
    assert!(error.contains("`relu`"), "{error}");
    assert!(scales(4.0, &[]).wires(&tiny_model().public.graph).unwrap_err().to_string().contains("scale"));
    // x² + dense(x²) has one scale only if weights are whole.
    let mut b = Build::new(2, [4]);
    let square = b.op("square", Op::Square);
    b.dense("dense", 4);
    b.add("sum", square);
    let model = b.finish();
    assert!(scales(4.0, &[2.0]).wires(&model.public.graph).is_err());
    assert_eq!(scales(4.0, &[1.0]).wires(&model.public.graph).unwrap(), [4.0, 16.0, 16.0, 16.0]);
}

#[test]
fn ranges_beyond_127_bits_are_an_error_and_no_wrap() {
    let mut b = Build::new(2, [4]);
    for _ in 0..7 {
        b.op("square", Op::Square);
    }
    let model = b.finish();
    let integer = IntegerModel::new(&model, &scales(4.0, &[])).unwrap();
    assert!(integer.run(&[4; 4]).is_err(), "4^128 is 256 bits");
    assert_eq!(integer.run(&[1; 4]).unwrap(), [1; 4]);
    assert!(integer.ranges().is_err());
}
