use super::*;
use crate::Shape;
use crate::op::{Conv, Pool};
use crate::testing::{Build, assert_close, random_input, random_model, tiny_model};
use proptest::prelude::*;

fn tensor<const N: usize>(dims: [usize; N], data: &[f32]) -> Tensor {
    Tensor::new(Shape::new(dims).unwrap(), data.to_vec()).unwrap()
}

/// Convolution straight from its definition.
fn naive_conv(conv: &Conv, w: &Tensor, bias: Option<&Tensor>, x: &Tensor, to: &Shape) -> Tensor {
    let (c, h, wd) = x.shape().chw().unwrap();
    let (maps, oh, ow) = to.chw().unwrap();
    let (cg, mg) = (c / conv.groups, maps / conv.groups);
    let mut y = Vec::new();
    for m in 0..maps {
        for oy in 0..oh {
            for ox in 0..ow {
                let mut sum = bias.map_or(0.0, |b| f64::from(b.data()[m]));
                for i in 0..cg {
                    for ky in 0..conv.kernel[0] {
                        for kx in 0..conv.kernel[1] {
                            let iy = (oy * conv.stride[0] + ky) as i64 - conv.pads[0] as i64;
                            let ix = (ox * conv.stride[1] + kx) as i64 - conv.pads[1] as i64;
                            if (0..h as i64).contains(&iy) && (0..wd as i64).contains(&ix) {
                                let channel = m / mg * cg + i;
                                let at = (channel * h + iy as usize) * wd + ix as usize;
                                let tap = ((m * cg + i) * conv.kernel[0] + ky) * conv.kernel[1] + kx;
                                sum += f64::from(x.data()[at]) * f64::from(w.data()[tap]);
                            }
                        }
                    }
                }
                y.push(sum as f32);
            }
        }
    }
    Tensor::new(to.clone(), y).unwrap()
}

/// One node on one input.
fn single(op: Op, x: &Tensor) -> Tensor {
    let mut g = Graph::new("x", x.shape().clone());
    g.push("n", op, &[WireId(0)]).unwrap();
    let weights = Weights::new(&g, Vec::new()).unwrap();
    run_graph(&g, &weights, x).unwrap()
}

#[test]
fn a_dense_layer_is_a_matrix_vector_product_plus_bias() {
    let mut g = Graph::new("x", Shape::new([2]).unwrap());
    let weight = g.weight("w", Shape::new([3, 2]).unwrap()).unwrap();
    let bias = Some(g.weight("b", Shape::new([3]).unwrap()).unwrap());
    g.push("fc", Op::Dense { out: 3, weight, bias }, &[WireId(0)]).unwrap();
    let w = Weights::new(&g, vec![tensor([3, 2], &[1., 2., 3., 4., 5., 6.]), tensor([3], &[1., 0., -1.])]);
    let y = run_graph(&g, &w.unwrap(), &tensor([2], &[10., -1.])).unwrap();
    assert_eq!(y.data(), [9., 26., 43.]);
}

#[test]
fn averages_divide_by_the_cells_they_are_told_to_count() {
    let x = tensor([1, 2, 2], &[1., 2., 3., 4.]);
    let pool =
        |count_include_pad| Pool { kernel: [2, 2], stride: [1, 1], pads: [1, 1, 0, 0], count_include_pad };
    assert_eq!(single(Op::AveragePool(pool(true)), &x).data(), [0.25, 0.75, 1., 2.5]);
    assert_eq!(single(Op::AveragePool(pool(false)), &x).data(), [1., 1.5, 2., 2.5]);
    assert_eq!(single(Op::GlobalAveragePool, &x).data(), [2.5]);
}

#[test]
fn a_maximum_never_takes_the_padding() {
    let x = tensor([1, 2, 2], &[-1., -2., -3., -4.]);
    let pool = Pool { kernel: [2, 2], stride: [1, 1], pads: [1, 1, 1, 1], count_include_pad: false };
    assert_eq!(single(Op::MaxPool(pool), &x).data(), [-1., -1., -2., -1., -1., -2., -3., -3., -4.]);
}

#[test]
fn slice_and_pad_move_the_right_elements() {
    let x = tensor([2, 2, 3], &(0..12).map(|v| v as f32).collect::<Vec<_>>());
    let slice = Op::Slice { starts: vec![1, 0, 0], ends: vec![2, 2, 3], steps: vec![1, 1, 2] };
    assert_eq!(single(slice, &x).data(), [6., 8., 9., 11.]);
    let x = tensor([1, 1, 2], &[5., 6.]);
    let pad = Op::Pad { before: vec![1, 0, 0], after: vec![0, 1, 1], value: 9.0 };
    assert_eq!(single(pad, &x).data(), [9., 9., 9., 9., 9., 9., 5., 6., 9., 9., 9., 9.]);
}

#[test]
fn constants_broadcast_over_elements_channels_and_everything() {
    let x = tensor([2, 1, 2], &[1., 2., 3., 4.]);
    for (c, expected) in [
        (tensor([1], &[10.]), [11., 12., 13., 14.]),
        (tensor([2], &[10., 20.]), [11., 12., 23., 24.]),
        (tensor([2, 1, 2], &[1., 2., 3., 4.]), [2., 4., 6., 8.]),
    ] {
        let mut g = Graph::new("x", x.shape().clone());
        let value = g.weight("c", c.shape().clone()).unwrap();
        g.push("n", Op::AddConst { value }, &[WireId(0)]).unwrap();
        let w = Weights::new(&g, vec![c]).unwrap();
        assert_eq!(run_graph(&g, &w, &x).unwrap().data(), expected);
    }
}

#[test]
fn a_value_that_is_not_finite_names_its_node() {
    let mut b = Build::new(0, [1]);
    b.op("sq", Op::Square);
    b.op("relu", Op::Relu);
    let model = b.finish();
    let error = run(&model, &tensor([1], &[1e30])).unwrap_err();
    assert_eq!(error.to_string(), "the output of node `sq` (Square) contains a value that is not finite");
    assert!(run(&model, &tensor([1], &[f32::NAN])).is_err());
}

#[test]
fn an_input_of_another_shape_is_refused() {
    let error = run(&tiny_model(), &tensor([36], &[0.0; 36])).unwrap_err();
    assert_eq!(error.to_string(), "the input has shape [36], expected [1×6×6]");
}

#[test]
fn weights_of_another_graph_are_refused() {
    let model = tiny_model();
    let other = Build::new(0, [1, 6, 6]).finish();
    let x = random_input(&model, 0);
    assert!(run_graph(&model.public.graph, &other.weights, &x).is_err());
    assert!(run_graph(&other.public.graph, &model.weights, &x).is_err());
}

#[test]
fn the_largest_value_of_each_wire_is_taken_over_all_samples() {
    let mut b = Build::new(0, [2]);
    b.op("relu", Op::Relu);
    let model = b.finish();
    let inputs = [tensor([2], &[-3., 1.]), tensor([2], &[2., 0.])];
    let max = max_abs(&model.public.graph, &model.weights, &inputs).unwrap();
    assert_eq!(max, [3., 2.]);
}

#[test]
fn a_convolution_larger_than_one_block_of_patches_is_whole() {
    let mut b = Build::new(3, [64, 40, 40]);
    b.conv("c", 3, [3, 3], [1, 1], [1; 4], 1, true);
    check_conv(&b.finish(), 4);
}

fn check_conv(model: &Model, seed: u64) {
    let x = random_input(model, seed);
    let y = run(model, &x).unwrap();
    let node = &model.public.graph.nodes()[1];
    let Op::Conv(conv) = &node.op else { panic!("not a convolution") };
    let bias = conv.bias.map(|b| model.weights.get(b));
    let expected = naive_conv(conv, model.weights.get(conv.weight), bias, &x, &node.fact.shape);
    assert_close(&y, &expected, 1e-5);
}

proptest! {
    #[test]
    fn convolution_follows_its_definition(
        seed: u64, groups in 1..=2usize, c in 1..=3usize, m in 1..=3usize, h in 3..9usize, w in 3..9usize,
        kernel in prop::array::uniform2(1..=3usize), stride in prop::array::uniform2(1..=3usize),
        pads in prop::array::uniform4(0..=4usize), bias: bool,
    ) {
        let mut b = Build::new(seed, [c * groups, h, w]);
        b.conv("c", m * groups, kernel, stride, pads, groups, bias);
        check_conv(&b.finish(), seed);
    }

    #[test]
    fn dropping_wires_early_does_not_change_the_output(seed: u64) {
        let model = random_model(seed);
        let x = random_input(&model, seed);
        let graph = &model.public.graph;
        let all = wires(graph, &model.weights, &x).unwrap();
        prop_assert_eq!(&all[graph.output().index()], &run(&model, &x).unwrap());
    }
}
