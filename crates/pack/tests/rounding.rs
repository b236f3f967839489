//! Roundings of plaintexts act in every slot, also where a layer has no weight.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use common::{Ends, chain, small, value};
use oblivia_he::noise::NoiseModel;
use oblivia_pack::circuit::{Linear, Options, Window};
use oblivia_pack::{Axis, CkksSlots, ClearSlots, Counter, Layout, Plains, Scale};

const LOG_N: u32 = 10;
const SLOTS: usize = 1 << LOG_N;

/// Every result is one input times one weight, and each on a diagonal of its own.
fn apart(strides: [usize; 2], fold: usize) -> Linear {
    const N: usize = 64;
    let window = Window {
        input: [N, 1, 1],
        output: [N, 1, 1],
        kernel: [1; 2],
        stride: [1; 2],
        pads: [0; 2],
        groups: N,
        pool: [1; 2],
    };
    let features = |stride: usize, period: usize| {
        let axes = [Axis::strided(N, stride), Axis::default(), Axis::default()];
        Layout::new([N, 1, 1], SLOTS, 1, axes, period).unwrap()
    };
    let options = Options { fold, spread: 1, baby: 8, chained: false, quarters: false };
    Linear::new(window, &features(strides[0], 128), &features(strides[1], SLOTS), options).unwrap()
}

/// Root mean square over all slots of the error under coarse weights, in units of the rounding of one plaintext.
fn roundings(linear: &Linear) -> f64 {
    let params = small(LOG_N, 2);
    let (fine, target) = (2f64.powi(36), 2f64.powi(24));
    let coarse = target * params.rescale_divisor(2).unwrap() / fine;
    let mut counter = Counter::new(chain(&params));
    let input = counter.input(2, Scale(fine));
    let units = vec![(); linear.plain_count()];
    linear.run(&mut counter, &[input], &mut Plains::new(&units), Scale(target)).unwrap();
    let mut ends = Ends::new(&params, counter.keys());
    // Slots without an element are not empty.
    let x: Vec<f64> = (0..SLOTS).map(|i| if value(1, i) < 0.0 { -1.0 } else { 1.0 }).collect();
    let plains = linear.plains(|t| value(2, t.out) as f32, 1.0, |_| 0.0);
    let clear = linear
        .run(&mut ClearSlots::new(SLOTS), std::slice::from_ref(&x), &mut Plains::new(&plains), Scale(1.0))
        .unwrap();
    let prepared = ends.prepare(&plains, counter.plains());
    let ct = ends.encrypt(&x, 2, fine);
    let mut slots = CkksSlots::new(&ends.evaluator);
    let y = linear.run(&mut slots, &[ct], &mut Plains::new(&prepared), Scale(target)).unwrap();
    let squares: f64 = ends.decrypt(&y[0]).iter().zip(&clear[0]).map(|(a, b)| (a - b) * (a - b)).sum();
    (squares / SLOTS as f64).sqrt() / NoiseModel::new(&params).plaintext_rounding(coarse).std
}

#[test]
fn a_layer_of_many_diagonals_and_one_input_a_result_has_the_roundings_of_all_diagonals() {
    // 64 diagonals; 64 diagonals and a fold.
    for (strides, fold, terms) in [([1, 2], 128, 64), ([2, 1], 64, 128)] {
        let linear = apart(strides, fold);
        let (found, counted) = (roundings(&linear), linear.terms() as f64);
        println!("{:.1} roundings of {counted} counted", found * found);
        assert_eq!(linear.window().fan_in(), 1);
        assert!((found * found / counted - 1.0).abs() < 0.15, "{} of {counted}", found * found);
        assert_eq!(linear.terms(), terms);
    }
}
