use super::*;
use crate::testing::{Build, random_input, random_relu_model};
use crate::{Model, Node, Op, Pool, Tensor, WireId, eval};
use oblivia_base::Prg;
use proptest::prelude::*;

fn inputs(model: &Model, n: u64) -> Vec<Tensor> {
    (0..n).map(|seed| random_input(model, 1000 + seed)).collect()
}

fn options(bits: u32, weight_bits: u32) -> Options {
    Options { bits, weight_bits, ..Options::default() }
}

/// The model in fixed point, unless some sum has no scale.
fn fixed(model: &Model, options: &Options) -> Option<FixedModel> {
    let ranges = Ranges::measured(model, &inputs(model, 8)).unwrap();
    match quantise(model, &ranges, options) {
        Ok(fixed) => Some(fixed),
        Err(e) => {
            let why = e.to_string();
            assert!(why.contains("one scale") || why.contains("scale is decided after it"), "{e}");
            None
        }
    }
}

/// `v` mod 2^bits between 0 and 2^bits.
fn ring(v: i128, bits: u32) -> i128 {
    v.rem_euclid(1 << bits)
}

fn centred(v: i128, bits: u32) -> i128 {
    let v = ring(v, bits);
    if v >= 1 << (bits - 1) { v - (1 << bits) } else { v }
}

/// Values of every wire, straight from the table of the module: loops over indices, 128 bits, explicit residues.
fn direct(model: &FixedModel, input: &[i64], mut carry: impl FnMut(usize, usize) -> i128) -> Vec<Vec<i128>> {
    let network = model.network();
    let mut wires: Vec<Vec<i128>> = Vec::new();
    for (i, node) in network.graph().nodes().iter().enumerate() {
        let bits = network.wires()[i].bits;
        let of = |at: usize| &wires[node.inputs[at].index()];
        let shape = |at: usize| network.graph().nodes()[node.inputs[at].index()].fact.shape.dims().to_vec();
        let out = node.fact.shape.dims().to_vec();
        let y: Vec<i128> = match &node.op {
            Op::Input => input.iter().map(|&v| v.into()).collect(),
            Op::Conv(_) | Op::Dense { .. } => {
                let sums = accumulators(model, i, node, of(0), &shape(0));
                let format = network.linear(WireId(i as u32)).unwrap();
                let y = sums.iter().map(|&y| centred(y, format.bits + format.shift));
                y.enumerate().map(|(at, y)| y.div_euclid(1 << format.shift) + carry(i, at)).collect()
            }
            Op::Add => of(0).iter().zip(of(1)).map(|(a, b)| a + b).collect(),
            Op::Relu => of(0).iter().map(|&v| if v < 0 { 0 } else { v }).collect(),
            Op::Clip { max, .. } => {
                let per = of(0).len() / model.scales(WireId(i as u32)).len();
                let top = |at: usize| {
                    (f64::from(*max) * model.scales(WireId(i as u32))[at / per])
                        .round_ties_even()
                        .min(2f64.powi(bits as i32 - 2) - 1.0) as i128
                };
                of(0).iter().enumerate().map(|(at, &v)| v.max(0).min(top(at))).collect()
            }
            Op::MaxPool(p) => {
                cells(p, of(0), &shape(0), &out).iter().map(|c| *c.iter().max().unwrap()).collect()
            }
            Op::AveragePool(p) => cells(p, of(0), &shape(0), &out).iter().map(|c| c.iter().sum()).collect(),
            Op::GlobalAveragePool => {
                let per = shape(0)[1] * shape(0)[2];
                (0..out[0]).map(|c| (0..per).map(|at| of(0)[c * per + at]).sum()).collect()
            }
            Op::Slice { starts, steps, .. } => {
                let x = shape(0);
                let at = |o: [usize; 3]| {
                    let p = [0, 1, 2].map(|a| starts[a] + o[a] * steps[a]);
                    of(0)[(p[0] * x[1] + p[1]) * x[2] + p[2]]
                };
                indices(&out).map(at).collect()
            }
            Op::Pad { before, .. } => {
                let x = shape(0);
                let at = |o: [usize; 3]| {
                    let p = [0, 1, 2].map(|a| o[a].wrapping_sub(before[a]));
                    let inside = (0..3).all(|a| p[a] < x[a]);
                    if inside { of(0)[(p[0] * x[1] + p[1]) * x[2] + p[2]] } else { 0 }
                };
                indices(&out).map(at).collect()
            }
            Op::Concat { count } => (0..*count).flat_map(|at| of(at).clone()).collect(),
            Op::Flatten => of(0).clone(),
            other => panic!("{other:?}"),
        };
        wires.push(y.iter().map(|&v| centred(v, bits)).collect());
    }
    wires
}

fn indices(dims: &[usize]) -> impl Iterator<Item = [usize; 3]> + use<> {
    let (c, h, w) = (dims[0], dims[1], dims[2]);
    (0..c).flat_map(move |c| (0..h).flat_map(move |y| (0..w).map(move |x| [c, y, x])))
}

fn accumulators(model: &FixedModel, i: usize, node: &Node, x: &[i128], shape: &[usize]) -> Vec<i128> {
    let layer = model.layer(WireId(i as u32)).unwrap();
    let w = |at: usize| i128::from(layer.w[at]);
    let Op::Conv(conv) = &node.op else {
        let dot = |m: usize| (0..x.len()).map(|j| w(m * x.len() + j) * x[j]).sum::<i128>();
        return (0..layer.b.len()).map(|m| i128::from(layer.b[m]) + dot(m)).collect();
    };
    let (per, maps) = (shape[0] / conv.groups, conv.out_channels / conv.groups);
    let sum = |[m, oy, ox]: [usize; 3]| {
        let mut sum = i128::from(layer.b[m]);
        for (c, ky, kx) in indices(&[per, conv.kernel[0], conv.kernel[1]]).map(|[c, y, x]| (c, y, x)) {
            let y = (oy * conv.stride[0] + ky).wrapping_sub(conv.pads[0]);
            let xx = (ox * conv.stride[1] + kx).wrapping_sub(conv.pads[1]);
            if y < shape[1] && xx < shape[2] {
                let weight = w(((m * per + c) * conv.kernel[0] + ky) * conv.kernel[1] + kx);
                sum += weight * x[((m / maps * per + c) * shape[1] + y) * shape[2] + xx];
            }
        }
        sum
    };
    indices(node.fact.shape.dims()).map(sum).collect()
}

/// The values under each window.
fn cells(p: &Pool, x: &[i128], from: &[usize], to: &[usize]) -> Vec<Vec<i128>> {
    let window = |[c, oy, ox]: [usize; 3]| {
        let taps = indices(&[1, p.kernel[0], p.kernel[1]]).map(|[_, ky, kx]| {
            let y = (oy * p.stride[0] + ky).wrapping_sub(p.pads[0]);
            let xx = (ox * p.stride[1] + kx).wrapping_sub(p.pads[1]);
            (y < from[1] && xx < from[2]).then(|| x[(c * from[1] + y) * from[2] + xx])
        });
        taps.flatten().collect()
    };
    indices(to).map(window).collect()
}

/// How far from the float network wire `i` may be: what its inputs were off by, half a unit of each weight, and a unit each
/// for the bias and the rounded sum.
fn rounding_bound(model: &Model, fixed: &FixedModel, i: usize, trace: &Trace, bounds: &[f64]) -> f64 {
    let node = &fixed.network().graph().nodes()[i];
    let of = |at: usize| bounds[node.inputs[at].index()];
    let finest = fixed.scales(WireId(i as u32)).iter().copied().fold(f64::INFINITY, f64::min);
    match &node.op {
        Op::Input | Op::Clip { .. } => node.inputs.first().map_or(0.0, |_| of(0)) + 1.0 / finest,
        Op::Conv(crate::Conv { weight, .. }) | Op::Dense { weight, .. } => {
            let w = model.weights.get(*weight);
            let taps = w.data().len() / w.shape().dims()[0];
            let norm = |row: &[f32]| row.iter().map(|v| f64::from(v.abs())).sum::<f64>();
            let norm = w.data().chunks(taps).map(norm).fold(0.0, f64::max);
            let largest = trace.wires[node.inputs[0].index()].iter().map(|v| v.abs()).max().unwrap() as f64;
            let unit = (fixed.network().linear(WireId(i as u32)).unwrap().shift as f64).exp2();
            norm * of(0) + (0.5 * taps as f64 * largest / unit + 2.0) / finest
        }
        Op::Add => of(0) + of(1),
        _ => (0..node.inputs.len()).map(of).fold(0.0, f64::max),
    }
}

/// Draws and remembers.
struct Remember<R> {
    inner: R,
    carries: std::collections::BTreeMap<(usize, usize), i128>,
}

impl<R: Rounding> Rounding for Remember<R> {
    fn round(&mut self, wire: usize, at: usize, y: i64, shift: u32) -> Option<i64> {
        let rounded = self.inner.round(wire, at, y, shift)?;
        self.carries.insert((wire, at), i128::from(rounded - (y >> shift)));
        Some(rounded)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_wire_is_what_direct_computation_gives(seed: u64, bits in 12..=24u32, weight_bits in 3..=10u32) {
        let model = random_relu_model(seed);
        let Some(fixed) = fixed(&model, &options(bits, weight_bits)) else { return Ok(()) };
        let x = fixed.network().input(&random_input(&model, seed)).unwrap();
        let random = Random(Prg::new(&[3; 32], "fixed test", &[&seed.to_le_bytes()]));
        let mut rounding = Remember { inner: random, carries: Default::default() };
        let trace = fixed.run(&x, &mut rounding).unwrap();
        let carries = rounding.carries;
        prop_assert!(carries.values().all(|c| (0..2).contains(c)));
        let expected = direct(&fixed, &x, |wire, at| carries[&(wire, at)]);
        if trace.is_inside() {
            for (i, (found, expected)) in trace.wires.iter().zip(&expected).enumerate() {
                let name = &fixed.network().graph().nodes()[i].name;
                prop_assert!(found.iter().zip(expected).all(|(a, b)| i128::from(*a) == *b), "{}", name);
                prop_assert_eq!(found.len(), expected.len());
            }
        }
        // Recorded roundings give the same again.
        let recorded = trace.wires.iter().enumerate().map(|(i, wire)| {
            (0..wire.len()).map_while(|at| carries.get(&(i, at)).map(|c| *c as i8)).collect()
        });
        prop_assert_eq!(fixed.run(&x, &mut Recorded(recorded.collect())).unwrap(), trace);
    }

    #[test]
    fn fixed_point_is_the_float_network_up_to_its_roundings(seed: u64, bits in 18..=26u32, weight_bits in 8..=14u32) {
        let model = random_relu_model(seed);
        let Some(fixed) = fixed(&model, &options(bits, weight_bits)) else { return Ok(()) };
        let graph = fixed.network().graph();
        for x in inputs(&model, 8) {
            let float = eval::wires(graph, &model.weights, &x).unwrap();
            let trace = fixed.run(&fixed.network().input(&x).unwrap(), &mut Nearest).unwrap();
            prop_assert!(trace.is_inside());
            let mut bounds: Vec<f64> = Vec::new();
            for (i, (found, float)) in trace.wires.iter().zip(&float).enumerate() {
                let scales = fixed.scales(WireId(i as u32));
                let bound = rounding_bound(&model, &fixed, i, &trace, &bounds) + 1e-4 * f64::from(float.max_abs());
                bounds.push(bound);
                let per = found.len() / scales.len();
                for (at, (v, f)) in found.iter().zip(float.data()).enumerate() {
                    let error = (*v as f64 / scales[at / per] - f64::from(*f)).abs();
                    prop_assert!(error <= bound, "{}: {error} of {bound}", graph.nodes()[i].name);
                }
            }
        }
    }

    #[test]
    fn what_static_bounds_promise_holds_at_the_corners(seed: u64, corner: u64) {
        let model = random_relu_model(seed);
        let ranges = Ranges::always(&model).unwrap();
        let Ok(fixed) = quantise(&model, &ranges, &options(26, 8)) else { return Ok(()) };
        prop_assert_eq!(fixed.network().formats().certainty, Certainty::Always);
        let mut bits = Build::new(corner, [1]);
        let n = model.public.graph.input_shape().elements();
        let x: Vec<f32> = (0..n).map(|_| if bits.below(2) == 0 { -1.0 } else { 1.0 }).collect();
        let x = Tensor::new(model.public.graph.input_shape().clone(), x).unwrap();
        let random = Random(Prg::new(&[4; 32], "fixed test", &[&corner.to_le_bytes()]));
        let mut random = random;
        let inside = fixed.run(&fixed.network().input(&x).unwrap(), &mut random).unwrap().is_inside();
        prop_assert!(inside);
    }
}

/// 2 → dense [[3, −2], [−1, 1]] + [5, −6] → ReLU → clip at 2 → dense [[1, 1]], with given shifts; 8 bits.
fn tiny(shifts: [u32; 2]) -> FixedModel {
    let mut b = Build::new(1, [2]);
    b.dense("d1", 2);
    b.op("relu", Op::Relu);
    b.op("clip", Op::Clip { min: 0.0, max: 2.0 });
    b.dense("d2", 1);
    let model = b.finish();
    let layer = |shift, norm1, norm2| LinearFormat { bits: 8, shift, weight_bits: 4, norm1, norm2 };
    let formats = Formats {
        input_bits: 8,
        input_scale: 10.0,
        output_scale: 7.0,
        layers: vec![layer(shifts[0], 5, 4), layer(shifts[1], 2, 2)],
        certainty: Certainty::Always,
    };
    let network = Network::new(&model.public, formats).unwrap();
    let layers = vec![
        None,
        Some(LayerWeights { w: vec![3, -2, -1, 1], b: vec![5, -6] }),
        None,
        None,
        Some(LayerWeights { w: vec![1, 1], b: vec![0] }),
    ];
    let scales = vec![vec![10.0; 2], vec![9.0, 2.0], vec![9.0, 2.0], vec![9.0, 2.0], vec![7.0]];
    FixedModel::new(network, layers, scales).unwrap()
}

#[test]
fn a_network_computed_by_hand() {
    let model = tiny([1, 0]);
    // 3·7 + 2·4 + 5 = 34, −7 − 4 − 6 = −17 → 17, −9 (or −8) → 17, 0 → tops 18 and 4 → 17.
    let trace = model.run(&[7, -4], &mut Floor).unwrap();
    assert_eq!(trace.wires, [vec![7, -4], vec![17, -9], vec![17, 0], vec![17, 0], vec![17]]);
    assert!(trace.is_inside());
    assert_eq!(model.run(&[7, -4], &mut Nearest).unwrap().wires[1], [17, -8]);
    // 3·9 + 2·3 + 5 = 38 → 19 is clipped to 18.
    assert_eq!(model.run(&[9, -3], &mut Floor).unwrap().wires[3], [18, 0]);
    let carries = |c: [i8; 2]| Recorded(vec![vec![], c.to_vec(), vec![], vec![], vec![0]]);
    assert_eq!(model.run(&[7, -4], &mut carries([1, -1])).unwrap().wires[1], [18, -10]);
    let missing = Recorded(vec![vec![], vec![0]]);
    let error = model.run(&[7, -4], &mut { missing }).unwrap_err().to_string();
    assert!(error.contains("`d1`") && error.contains("recorded"), "{error}");
    assert_eq!(model.network().output(&[17]).unwrap().data(), [17.0 / 7.0]);
    assert!(model.run(&[7], &mut Floor).is_err());
}

#[test]
fn what_leaves_the_ring_wraps_and_is_counted() {
    let model = tiny([0, 0]);
    // 3·40 + 5 = 125 fits 8 bits but not the 2^6 that clipping reads; 3·41 + 2·10 + 5 = 148 wraps to −108.
    let trace = model.run(&[40, 0], &mut Floor).unwrap();
    assert_eq!((trace.wires[1][0], trace.outside[1]), (125, 0));
    assert_eq!(trace.outside, [0, 0, 1, 0, 0]);
    let trace = model.run(&[41, -10], &mut Floor).unwrap();
    assert_eq!(trace.wires[1][0], -108);
    assert!(trace.outside[1] >= 1 && !trace.is_inside());
}

#[test]
fn random_rounding_is_without_bias_and_exact_on_multiples() {
    let mut random = Random(Prg::new(&[5; 32], "fixed test", &[]));
    for y in [-13i64, -8, -1, 0, 5, 8, 27] {
        let n = 40_000;
        let sum: i64 = (0..n).map(|_| random.round(0, 0, y, 3).unwrap()).sum();
        let (mean, exact) = (sum as f64 / f64::from(n), y as f64 / 8.0);
        // Five deviations of the mean of a coin.
        assert!((mean - exact).abs() <= if y % 8 == 0 { 0.0 } else { 5.0 * 0.5 / 200.0 }, "{y}: {mean}");
    }
    assert_eq!([-3i64, -2, -1, 1, 2, 3].map(|y| Nearest.round(0, 0, y, 2).unwrap()), [-1, 0, 0, 0, 1, 1]);
    assert_eq!(Nearest.round(0, 0, -3, 0), Some(-3));
}

#[test]
fn limits_are_what_the_readers_of_a_wire_need() {
    let mut b = Build::new(1, [1, 6, 6]);
    b.conv("c1", 2, [1, 1], [1, 1], [0; 4], 1, true);
    b.conv("c2", 2, [1, 1], [1, 1], [0; 4], 1, true);
    b.op("r2", Op::Relu);
    b.conv("c3", 2, [1, 1], [1, 1], [0; 4], 1, true);
    b.op("r3", Op::Relu);
    let pool = Pool { kernel: [2; 2], stride: [2; 2], pads: [0; 4], count_include_pad: false };
    b.op("p3", Op::MaxPool(pool));
    b.op("flat", Op::Flatten);
    b.dense("d", 2);
    let fixed = fixed(&b.finish(), &options(16, 8)).unwrap();
    let found: Vec<_> = fixed
        .network()
        .graph()
        .nodes()
        .iter()
        .zip(fixed.network().wires())
        .map(|(n, w)| (n.name.as_str(), w.limit.ilog2(), w.nonnegative))
        .collect();
    // The client widens its own input; c1 is widened and may be negative; c3 is pooled before its ReLU.
    let expected = [
        ("x", 15, false),
        ("c1", 14, false),
        ("c2", 15, false),
        ("r2", 15, true),
        ("c3", 14, false),
        ("p3", 15, false),
        ("r3", 15, true),
        ("flat", 15, true),
        ("d", 15, false),
    ];
    assert_eq!(found, expected);
    assert!(fixed.network().linear(WireId(4)).unwrap().accumulator_bits() >= 16);
    assert!(fixed.network().linear(WireId(5)).is_none());
}

#[test]
fn what_has_no_fixed_point_arithmetic_is_refused_by_name() {
    let refused = |build: &dyn Fn(&mut Build)| {
        let mut b = Build::new(1, [2, 4, 4]);
        b.conv("conv", 2, [1, 1], [1, 1], [0; 4], 1, true);
        build(&mut b);
        let model = b.finish();
        let ranges = Ranges::measured(&model, &inputs(&model, 1)).unwrap();
        quantise(&model, &ranges, &Options::default()).unwrap_err().to_string()
    };
    let average = |pads, count_include_pad| {
        Op::AveragePool(Pool { kernel: [3; 2], stride: [1; 2], pads, count_include_pad })
    };
    for (op, expected) in [
        (Op::Square, "squares"),
        (Op::Clip { min: -1.0, max: 1.0 }, "from 0 on"),
        (average([1; 4], false), "are not sums"),
        (Op::Pad { before: vec![0; 3], after: vec![0, 0, 1], value: 0.5 }, "with zero"),
    ] {
        let error = refused(&|b: &mut Build| {
            b.op("this", op.clone());
        });
        assert!(error.contains("`this`") && error.contains(expected), "{error}");
    }
    let error = refused(&|b: &mut Build| {
        b.batch_norm("this");
    });
    assert!(error.contains("`this`") && error.contains("folded"), "{error}");
    // x + mean(x) would need a scale equal to nine times itself.
    let error = refused(&|b: &mut Build| {
        let x = b.op("relu", Op::Relu);
        b.op("mean", average([1; 4], true));
        b.add("this", x);
    });
    assert!(error.contains("`this`") && error.contains("one scale"), "{error}");
}

#[test]
fn numbers_outside_their_ranges_are_refused() {
    let model = random_relu_model(7);
    let good = fixed(&model, &Options::default()).unwrap().network().formats().clone();
    assert!(Network::new(&model.public, good.clone()).is_ok());
    let edits: [fn(&mut Formats); 10] = [
        |f| f.input_bits = 33,
        |f| f.input_scale = 0.0,
        |f| f.output_scale = f64::NAN,
        |f| f.layers[0].bits = 7,
        |f| f.layers[0].shift = 25,
        |f| f.layers[0].weight_bits = 1,
        |f| f.layers[0].norm2 = f.layers[0].norm1 + 1,
        |f| f.certainty = Certainty::Calibrated { images: 1, margin: 0.5, overflow: 0.0, error: None },
        |f| f.certainty = Certainty::Calibrated { images: 1, margin: 2.0, overflow: 0.0, error: Some(-1.0) },
        |f| f.layers.truncate(1),
    ];
    for (i, edit) in edits.iter().enumerate() {
        let mut bad = good.clone();
        edit(&mut bad);
        assert!(Network::new(&model.public, bad).is_err(), "{i}");
    }
    for bad in [options(7, 8), options(18, 17), Options { margin: 0.9, ..Options::default() }] {
        let ranges = Ranges::measured(&model, &inputs(&model, 1)).unwrap();
        assert!(quantise(&model, &ranges, &bad).is_err(), "{bad:?}");
    }
}

#[test]
fn operands_of_different_widths_are_refused() {
    let mut b = Build::new(1, [1, 2, 2]);
    let first = b.conv("c1", 1, [1, 1], [1, 1], [0; 4], 1, true);
    b.conv("c2", 1, [1, 1], [1, 1], [0; 4], 1, true);
    b.add("sum", first);
    let model = b.finish();
    let mut formats = fixed(&model, &Options::default()).unwrap().network().formats().clone();
    formats.layers[1].bits += 1;
    let error = Network::new(&model.public, formats).unwrap_err().to_string();
    assert!(error.contains("`sum`") && error.contains("widths"), "{error}");
}

#[test]
fn weights_larger_than_published_are_refused() {
    let model = tiny([1, 0]);
    let layers = |w: Vec<i32>| {
        let second = Some(LayerWeights { w: vec![1, 1], b: vec![0] });
        vec![None, Some(LayerWeights { w, b: vec![0, 0] }), None, None, second]
    };
    let scales: Vec<Vec<f64>> = (0..5).map(|i| model.scales(WireId(i)).to_vec()).collect();
    let with = |w: Vec<i32>| FixedModel::new(model.network().clone(), layers(w), scales.clone());
    assert!(with(vec![3, 2, 0, 0]).is_ok());
    for bad in [vec![3, 3, 0, 0], vec![5, 0, 0, 0], vec![8, 0, 0, 0], vec![1, 0]] {
        assert!(with(bad.clone()).is_err(), "{bad:?}");
    }
}

#[test]
fn reports_count_what_is_right_and_overflow_is_declared() {
    let model = random_relu_model(3);
    let mut fixed = fixed(&model, &options(20, 8)).unwrap();
    let samples = inputs(&model, 20);
    let label = |x: &Tensor| eval::run(&model, x).unwrap().argmax().unwrap();
    let labelled: Vec<(Tensor, usize)> = samples
        .iter()
        .enumerate()
        .map(|(i, x)| (x.clone(), if i < 5 { label(x) + 1 } else { label(x) }))
        .collect();
    let report = accuracy(&model, &fixed, labelled.iter().map(|(x, y)| (x, *y)), &mut Nearest).unwrap();
    assert_eq!((report.images, report.float_right), (20, 15));
    assert!(report.fixed_right <= report.agree && report.agree >= 18, "{report}");
    assert!(report.max_error > 0.0 && report.max_error < 0.1 * report.max_output, "{report}");
    let declared = declare_overflow(&mut fixed, &samples, &mut Nearest).unwrap();
    assert_eq!(report.overflow(), declared);
    assert!((declared - (1.0 - 0.05f64.powf(1.0 / 20.0))).abs() < 1e-9);
    assert!(
        matches!(fixed.network().formats().certainty, Certainty::Calibrated { overflow, .. } if overflow == declared)
    );
}

#[test]
fn norms_are_rounded_up() {
    let layer = LayerWeights { w: vec![3, -4, 0, 1, 1, -1], b: vec![0, 0] };
    assert_eq!(layer.norms(), (7, 5));
    assert_eq!(LayerWeights { w: vec![1, 1], b: vec![0] }.norms(), (2, 2));
}
