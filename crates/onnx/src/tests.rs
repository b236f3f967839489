use crate::proto::tensor_shape_proto::{Dimension, dimension::Value as Dim};
use crate::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, type_proto,
};
use crate::{Ending, Imported, OnnxError, import, operators};
use oblivia_nn::{Shape, Tensor, eval};
use proptest::prelude::*;
use prost::Message;

/// A model `x → … → y` under construction; `x` has the batch axis `N`.
#[derive(Clone)]
struct Build(ModelProto);

impl Build {
    fn new(input: &[i64]) -> Self {
        let batch = Dimension { value: Some(Dim::DimParam("N".into())) };
        let axes = input.iter().map(|&d| Dimension { value: Some(Dim::DimValue(d)) });
        let shape = Some(TensorShapeProto { dim: std::iter::once(batch).chain(axes).collect() });
        let tensor_type = Some(type_proto::Tensor { elem_type: 1, shape });
        let value = |name: &str, r#type| ValueInfoProto { name: name.into(), r#type };
        Self(ModelProto {
            ir_version: 8,
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 13 }],
            graph: Some(GraphProto {
                input: vec![value("x", Some(TypeProto { tensor_type }))],
                output: vec![value("y", None)],
                ..Default::default()
            }),
            ..Default::default()
        })
    }

    fn graph(&mut self) -> &mut GraphProto {
        self.0.graph.as_mut().unwrap()
    }

    fn node(mut self, op: &str, inputs: &[&str], output: &str, attributes: &[AttributeProto]) -> Self {
        self.graph().node.push(NodeProto {
            input: inputs.iter().map(|s| (*s).into()).collect(),
            output: vec![output.into()],
            name: format!("node_{output}"),
            op_type: op.into(),
            attribute: attributes.to_vec(),
            domain: String::new(),
        });
        self
    }

    fn floats(mut self, name: &str, dims: &[i64], data: &[f32]) -> Self {
        let (dims, float_data) = (dims.to_vec(), data.to_vec());
        let tensor = TensorProto { name: name.into(), dims, data_type: 1, float_data, ..Default::default() };
        self.graph().initializer.push(tensor);
        self
    }

    fn ints(mut self, name: &str, data: &[i64]) -> Self {
        let (dims, int64_data) = (vec![data.len() as i64], data.to_vec());
        let tensor = TensorProto { name: name.into(), dims, data_type: 7, int64_data, ..Default::default() };
        self.graph().initializer.push(tensor);
        self
    }

    fn import(&self) -> Result<Imported, OnnxError> {
        import(&self.0.encode_to_vec())
    }

    fn error(&self) -> String {
        self.import().unwrap_err().to_string()
    }

    /// The output for one sample.
    fn run(&self, x: &[f32]) -> Vec<f32> {
        let m = self.import().unwrap_or_else(|e| panic!("{e}"));
        let x = Tensor::new(m.graph.input_shape().clone(), x.to_vec()).unwrap();
        eval::run_graph(&m.graph, &m.weights, &x).unwrap().into_data()
    }

    fn output_shape(&self) -> Shape {
        self.import().unwrap_or_else(|e| panic!("{e}")).graph.output_shape().clone()
    }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i, r#type: 2, ..Default::default() }
}

fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { name: name.into(), f, r#type: 1, ..Default::default() }
}

fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), ints: ints.to_vec(), r#type: 7, ..Default::default() }
}

fn string(name: &str, s: &str) -> AttributeProto {
    AttributeProto { name: name.into(), s: s.into(), r#type: 3, ..Default::default() }
}

/// One node on `x`, with the other inputs as named constants.
fn one(op: &str, input: &[i64], inputs: &[&str], attributes: &[AttributeProto]) -> Build {
    Build::new(input).node(op, inputs, "y", attributes)
}

#[test]
fn a_dense_layer_may_be_stored_either_way_and_scaled() {
    // W = [[1,2],[3,4],[5,6]] as [out, in].
    let plain = one("Gemm", &[2], &["x", "w", "b"], &[int("transB", 1)]).floats(
        "w",
        &[3, 2],
        &[1., 2., 3., 4., 5., 6.],
    );
    assert_eq!(plain.clone().floats("b", &[3], &[1., 0., -1.]).run(&[10., -1.]), [9., 26., 43.]);
    assert_eq!(plain.clone().floats("b", &[1, 3], &[1., 0., -1.]).run(&[10., -1.]), [9., 26., 43.]);
    assert_eq!(plain.clone().floats("b", &[], &[1.]).run(&[10., -1.]), [9., 27., 45.]);
    assert!(plain.floats("b", &[2], &[1., 2.]).error().contains("does not fit 3 outputs"));
    let columns =
        |b: Build| b.floats("w", &[2, 3], &[1., 3., 5., 2., 4., 6.]).floats("b", &[3], &[1., 0., -1.]);
    let scaled = [float("alpha", 2.0), float("beta", 10.0)];
    assert_eq!(columns(one("Gemm", &[2], &["x", "w", "b"], &scaled)).run(&[10., -1.]), [26., 52., 78.]);
    assert_eq!(columns(one("MatMul", &[2], &["x", "w"], &[])).run(&[10., -1.]), [8., 26., 44.]);
    let trans_a = one("Gemm", &[2], &["x", "w"], &[int("transA", 1)]).floats("w", &[2, 1], &[0., 0.]);
    assert!(
        trans_a.error().starts_with("node `node_y` (Gemm): transA = 1 is not supported"),
        "{}",
        trans_a.error()
    );
}

#[test]
fn constants_broadcast_as_in_numpy() {
    let x: Vec<f32> = (0..8).map(|v| v as f32).collect();
    let add = |dims: &[i64], c: &[f32]| one("Add", &[2, 2, 2], &["x", "c"], &[]).floats("c", dims, c);
    assert_eq!(add(&[], &[10.]).run(&x), [10., 11., 12., 13., 14., 15., 16., 17.]);
    assert_eq!(add(&[1, 2, 1, 1], &[10., 20.]).run(&x), [10., 11., 12., 13., 24., 25., 26., 27.]);
    assert_eq!(add(&[2], &[10., 20.]).run(&x), [10., 21., 12., 23., 14., 25., 16., 27.]);
    assert_eq!(add(&[2, 1], &[10., 20.]).run(&x), [10., 11., 22., 23., 14., 15., 26., 27.]);
    assert_eq!(add(&[2, 1, 2], &[1., 2., 3., 4.]).run(&x), [1., 3., 3., 5., 7., 9., 9., 11.]);
    assert!(add(&[3], &[1., 2., 3.]).error().contains("broadcasting the constant `c`"));
    assert!(add(&[2, 2, 2, 2], &[0.; 16]).error().contains("broadcasting the constant `c`"));
    let grows = one("Add", &[1], &["x", "c"], &[]).floats("c", &[3], &[0.; 3]);
    assert!(grows.error().contains("broadcasting"));
}

#[test]
fn the_four_operations_take_constants_on_the_sides_they_may() {
    let with = |op: &str, inputs: &[&str]| one(op, &[2], inputs, &[]).floats("c", &[2], &[2., 4.]);
    assert_eq!(with("Add", &["c", "x"]).run(&[1., 2.]), [3., 6.]);
    assert_eq!(with("Sub", &["x", "c"]).run(&[1., 2.]), [-1., -2.]);
    assert_eq!(with("Sub", &["c", "x"]).run(&[1., 2.]), [1., 2.]);
    assert_eq!(with("Mul", &["c", "x"]).run(&[1., 2.]), [2., 8.]);
    assert_eq!(with("Div", &["x", "c"]).run(&[1., 2.]), [0.5, 0.5]);
    assert!(with("Div", &["c", "x"]).error().contains("division by a tensor that is not constant"));
    assert!(with("Add", &["c", "c"]).error().contains("arithmetic of two constants"));
    let zero = one("Div", &[1], &["x", "c"], &[]).floats("c", &[1], &[0.]);
    assert!(zero.error().contains("not finite"));
    let relu = Build::new(&[2]).node("Relu", &["x"], "r", &[]);
    assert_eq!(relu.clone().node("Sub", &["x", "r"], "y", &[]).run(&[-3., 2.]), [-3., 0.]);
    assert_eq!(relu.clone().node("Add", &["x", "r"], "y", &[]).run(&[-3., 2.]), [-3., 4.]);
    assert!(relu.node("Mul", &["x", "r"], "y", &[]).error().contains("product of two different tensors"));
}

#[test]
fn a_square_may_be_written_as_a_product_or_a_power() {
    assert_eq!(one("Mul", &[2], &["x", "x"], &[]).run(&[-3., 2.]), [9., 4.]);
    let pow = |e: f32| one("Pow", &[2], &["x", "e"], &[]).floats("e", &[], &[e]);
    assert_eq!(pow(2.).run(&[-3., 2.]), [9., 4.]);
    assert!(pow(3.).error().contains("exponent other than 2"));
}

#[test]
fn a_convolution_reads_its_attributes() {
    let conv = |attributes: &[AttributeProto]| {
        one("Conv", &[1, 3, 3], &["x", "w"], attributes).floats("w", &[1, 1, 2, 2], &[1., 0., 0., 0.])
    };
    let x: Vec<f32> = (1..=9).map(|v| v as f32).collect();
    assert_eq!(conv(&[]).run(&x), [1., 2., 4., 5.]);
    assert_eq!(conv(&[ints("pads", &[1, 0, 0, 0])]).run(&x), [0., 0., 1., 2., 4., 5.]);
    assert_eq!(conv(&[ints("strides", &[2, 2]), ints("pads", &[0, 0, 1, 1])]).run(&x), [1., 3., 7., 9.]);
    // SAME: one row and column more, after (upper) or before (lower).
    let upper = conv(&[string("auto_pad", "SAME_UPPER")]);
    assert_eq!(upper.run(&x), [1., 2., 3., 4., 5., 6., 7., 8., 9.]);
    let lower = conv(&[string("auto_pad", "SAME_LOWER")]);
    assert_eq!(lower.run(&x), [0., 0., 0., 0., 1., 2., 0., 4., 5.]);
    assert_eq!(conv(&[string("auto_pad", "VALID")]).run(&x), [1., 2., 4., 5.]);
    for (attribute, expected) in [
        (ints("dilations", &[2, 2]), "(Conv): dilations = [2, 2] is not supported; export the model with"),
        (ints("pads", &[-1, 0, 0, 0]), "negative padding"),
        (ints("kernel_shape", &[3, 3]), "kernel_shape is [3, 3], the weights say [2, 2]"),
        (int("group", 2), "2 groups do not divide 1 input"),
        (int("group", -1), "0 groups"),
        (ints("strides", &[0, 1]), "attribute `strides` is [0, 1], below 1"),
        (ints("pads", &[1, 1]), "pads of 2 numbers"),
        (int("new_thing", 1), "attribute `new_thing` is not supported"),
        (string("pads", "1"), "attribute `pads` has type 3, expected 7"),
    ] {
        let error = conv(&[attribute]).error();
        assert!(error.contains(expected), "{error}");
    }
    let wide = one("Conv", &[1, 3], &["x", "w"], &[]).floats("w", &[1, 1, 2], &[0., 0.]);
    assert!(wide.error().contains("only two-dimensional convolutions"));
}

#[test]
fn pooling_rounds_up_only_where_it_makes_no_difference() {
    let pool = |size: i64| {
        one(
            "MaxPool",
            &[1, 1, size],
            &["x"],
            &[ints("kernel_shape", &[1, 2]), ints("strides", &[1, 2]), int("ceil_mode", 1)],
        )
    };
    assert_eq!(pool(4).run(&[1., 2., 3., 4.]), [2., 4.]);
    assert!(pool(5).error().contains("ceil_mode"));
    let average = |include: i64| {
        let attributes =
            [ints("kernel_shape", &[1, 2]), ints("pads", &[0, 1, 0, 0]), int("count_include_pad", include)];
        one("AveragePool", &[1, 1, 2], &["x"], &attributes).run(&[2., 4.])
    };
    assert_eq!((average(0), average(1)), (vec![2., 3.], vec![1., 3.]));
    assert!(
        one("AveragePool", &[1, 2, 2], &["x"], &[]).error().contains("lacks the attribute `kernel_shape`")
    );
    assert_eq!(one("GlobalAveragePool", &[1, 2, 2], &["x"], &[]).run(&[1., 2., 3., 4.]), [2.5]);
}

#[test]
fn flattening_keeps_samples_apart() {
    let flat = |input: &[i64], axis| one("Flatten", input, &["x"], &[int("axis", axis)]);
    assert_eq!(flat(&[2, 3], 1).output_shape().dims(), [6]);
    assert_eq!(flat(&[1, 3], 2).output_shape().dims(), [3]);
    assert_eq!(flat(&[1, 3], -1).output_shape().dims(), [3]);
    assert_eq!(flat(&[1, 1], 3).output_shape().dims(), [1]);
    for axis in [0, 2, -1] {
        assert!(flat(&[2, 3], axis).error().contains("axis 0 is the batch"), "{axis}");
    }
    assert!(flat(&[2, 3], 4).error().contains("axis 4 of a tensor of 3 axes"));
}

#[test]
fn reshaping_keeps_samples_apart() {
    let reshape = |shape: &[i64]| one("Reshape", &[2, 6], &["x", "s"], &[]).ints("s", shape);
    for (shape, expected) in [
        (&[0, 3, 4][..], &[3, 4][..]),
        (&[1, 12], &[12]),
        (&[-1, 12], &[12]),
        (&[0, -1], &[12]),
        (&[1, 0, 3, -1], &[2, 3, 2]),
    ] {
        assert_eq!(reshape(shape).output_shape().dims(), expected, "{shape:?}");
    }
    for shape in
        [&[-1][..], &[12], &[2, 6], &[0, 5], &[0, 5, -1], &[-1, -1], &[0, -2], &[], &[-1, 6], &[0, 12, 0]]
    {
        let error = reshape(shape).error();
        assert!(error.starts_with("node `node_y` (Reshape): "), "{shape:?}: {error}");
    }
    let by_wire = Build::new(&[2]).node("Reshape", &["x", "x"], "y", &[]);
    assert!(by_wire.error().contains("depends on the model's input"));
}

#[test]
fn slices_count_from_either_end() {
    let slice = |starts: &[i64], ends: &[i64], axes: &[i64], steps: &[i64]| {
        let node = one("Slice", &[1, 6], &["x", "s", "e", "a", "p"], &[]);
        node.ints("s", starts).ints("e", ends).ints("a", axes).ints("p", steps)
    };
    let x = [0., 1., 2., 3., 4., 5.];
    assert_eq!(slice(&[1], &[i64::MAX], &[2], &[2]).run(&x), [1., 3., 5.]);
    assert_eq!(slice(&[-4], &[-1], &[-1], &[1]).run(&x), [2., 3., 4.]);
    assert_eq!(slice(&[0, 4], &[i64::MAX, 99], &[0, 2], &[1, 1]).run(&x), [4., 5.]);
    assert!(slice(&[1], &[2], &[0], &[1]).error().contains("axis 0 is the batch"));
    assert!(slice(&[5], &[0], &[2], &[-1]).error().contains("steps must be positive"));
    assert!(slice(&[3], &[3], &[2], &[1]).error().contains("do not fit"));
    assert!(slice(&[0], &[1], &[9], &[1]).error().contains("axis 9"));
    assert!(slice(&[0, 0], &[1], &[2], &[1]).error().contains("differ in length"));
    let old = [ints("starts", &[0, 2]), ints("ends", &[1, 4]), ints("axes", &[1, 2])];
    assert_eq!(one("Slice", &[1, 6], &["x"], &old).run(&x), [2., 3.]);
}

#[test]
fn padding_is_read_from_inputs_and_attributes() {
    let pad =
        |pads: &[i64]| one("Pad", &[1, 2], &["x", "p", "v"], &[]).ints("p", pads).floats("v", &[], &[9.]);
    assert_eq!(pad(&[0, 0, 1, 0, 1, 0]).run(&[1., 2.]), [9., 1., 2., 9., 9., 9.]);
    assert!(pad(&[1, 0, 0, 0, 0, 0]).error().contains("axis 0 is the batch"));
    assert!(pad(&[0, 0, -1, 0, 0, 0]).error().contains("negative padding"));
    assert!(pad(&[0, 0]).error().contains("2 pads for 3 axes"));
    let old = [ints("pads", &[0, 0, 0, 0, 0, 1]), float("value", 7.0), string("mode", "constant")];
    assert_eq!(one("Pad", &[1, 2], &["x"], &old).run(&[1., 2.]), [1., 2., 7.]);
    let reflect = one("Pad", &[1, 2], &["x", "p"], &[string("mode", "reflect")]).ints("p", &[0; 6]);
    assert!(reflect.error().contains("mode `reflect` is not supported; only constant"));
    let axes = one("Pad", &[1, 2], &["x", "p", "", "a"], &[]).ints("p", &[1, 0]).ints("a", &[-1]);
    assert_eq!(axes.run(&[1., 2.]), [0., 1., 2.]);
}

#[test]
fn a_norm_is_taken_over_as_it_stands() {
    let norm = one("BatchNormalization", &[1], &["x", "s", "b", "m", "v"], &[float("epsilon", 1.0)]);
    let c = |b: Build, n: &str, v: f32| b.floats(n, &[1], &[v]);
    let norm = c(c(c(c(norm, "s", 4.), "b", 1.), "m", 2.), "v", 3.);
    assert_eq!(norm.run(&[5.]), [4. * (5. - 2.) / 2. + 1.]);
    let mut training = norm;
    training.graph().node[0].attribute.push(int("training_mode", 1));
    assert!(training.error().contains("training_mode = 1 is not supported; export the model for inference"));
}

#[test]
fn what_does_nothing_in_inference_does_nothing() {
    let model = Build::new(&[2])
        .node("Identity", &["x"], "a", &[])
        .node("Dropout", &["a"], "b", &[float("ratio", 0.5)])
        .node("Constant", &[], "c", &[AttributeProto { floats: vec![1., 2.], ..ints("value_floats", &[]) }])
        .node("Identity", &["c"], "d", &[])
        .node("Add", &["b", "d"], "y", &[]);
    let mut model = model;
    model.graph().node[2].attribute[0].r#type = 6;
    assert_eq!(model.run(&[10., 20.]), [11., 22.]);
}

#[test]
fn clipping_reads_its_bounds_from_inputs_and_attributes() {
    let x = [-9., -1., 0.5, 7.];
    let old = one("Clip", &[4], &["x"], &[float("min", 0.0), float("max", 6.0)]);
    assert_eq!(old.run(&x), [0., 0., 0.5, 6.]);
    let new = |inputs: &[&str]| {
        one("Clip", &[4], inputs, &[]).floats("zero", &[], &[0.0]).floats("six", &[1], &[6.0]).floats(
            "two",
            &[2],
            &[1., 2.],
        )
    };
    assert_eq!(new(&["x", "zero", "six"]).run(&x), [0., 0., 0.5, 6.]);
    assert_eq!(new(&["x", "", "six"]).run(&x), [-9., -1., 0.5, 6.]);
    let ops = |m: &Build| m.import().unwrap().graph.nodes()[1].op.name();
    assert_eq!((ops(&new(&["x", "zero"])), new(&["x", "zero"]).run(&x)), ("Relu", vec![0., 0., 0.5, 7.]));
    assert_eq!((ops(&new(&["x"])), new(&["x"]).run(&x)), ("Identity", x.to_vec()));
    assert!(new(&["x", "two"]).error().contains("`node_y` (Clip): the bound `min` must be one number"));
    assert!(new(&["x", "six", "zero"]).error().contains("not an interval"));
}

#[test]
fn channels_are_joined_and_nothing_else() {
    let join = |axis: i64| {
        Build::new(&[2, 1, 2]).node("Relu", &["x"], "r", &[]).node(
            "Concat",
            &["x", "r", "x"],
            "y",
            &[int("axis", axis)],
        )
    };
    let expected = [-1., 2., 3., -4., 0., 2., 3., 0., -1., 2., 3., -4.];
    for axis in [1, -3] {
        assert_eq!(join(axis).run(&[-1., 2., 3., -4.]), expected);
        assert_eq!(join(axis).output_shape().dims(), [6, 1, 2]);
    }
    assert!(join(2).error().contains("axis = 2"), "{}", join(2).error());
    assert!(join(0).error().contains("axis 0 is the batch"), "{}", join(0).error());
    assert!(join(4).error().contains("axis 4"));
    let misfit = Build::new(&[2, 1, 2]).node("Slice", &["x", "one", "two", "three"], "s", &[]).node(
        "Concat",
        &["x", "s"],
        "y",
        &[int("axis", 1)],
    );
    let misfit = misfit.ints("one", &[1]).ints("two", &[2]).ints("three", &[3]);
    assert!(misfit.error().contains("equal shapes but for channels"), "{}", misfit.error());
}

#[test]
fn softmax_and_arg_max_make_the_output_or_are_refused() {
    let ends = |ops: &[(&str, i64)]| {
        let mut model = Build::new(&[3]);
        for (i, (op, axis)) in ops.iter().enumerate() {
            let from = if i == 0 { "x".to_owned() } else { format!("t{i}") };
            let to = if i + 1 == ops.len() { "y".to_owned() } else { format!("t{}", i + 1) };
            let axis = [int("axis", *axis)];
            model = model.node(op, &[&from], &to, if *op == "Relu" { &[] } else { &axis });
        }
        model
    };
    for (ops, ending) in [
        (&[("Relu", 0)][..], Ending::Plain),
        (&[("Relu", 0), ("Softmax", 1)], Ending::Softmax),
        (&[("Relu", 0), ("LogSoftmax", -1)], Ending::Softmax),
        (&[("Relu", 0), ("ArgMax", 1)], Ending::ArgMax),
        (&[("Relu", 0), ("Softmax", 1), ("ArgMax", -1)], Ending::ArgMax),
    ] {
        let found = ends(ops).import().unwrap();
        assert_eq!((found.ending, found.graph.nodes().len()), (ending, 2), "{ops:?}");
        assert_eq!(found.tensors.get("y"), Some(&found.graph.output()));
        assert_eq!(ends(ops).run(&[-1., 2., 3.]), [0., 2., 3.]);
    }
    for (ops, expected) in [
        (&[("Softmax", 1), ("Relu", 0)][..], "`node_t1` (Softmax): a place before the end"),
        (&[("Relu", 0), ("ArgMax", 1), ("Softmax", 1)], "`node_t2` (ArgMax): a place before the end"),
        (&[("Relu", 0), ("ArgMax", 0)], "axis 0 of samples of shape [3]"),
        (&[("Relu", 0), ("Softmax", 2)], "axis 2 of samples"),
    ] {
        assert!(ends(ops).error().contains(expected), "{}", ends(ops).error());
    }
    // Somebody else reads the softmax.
    let read = ends(&[("Relu", 0), ("Softmax", 1)]).node("Relu", &["y"], "z", &[]);
    assert!(read.error().contains("before the end"), "{}", read.error());
}

#[test]
fn unknown_operators_are_listed_all_at_once() {
    let model = Build::new(&[2]).node("Tanh", &["x"], "a", &[]).node("LSTM", &["a"], "b", &[]).node(
        "Tanh",
        &["b"],
        "y",
        &[],
    );
    let expected = "the model uses operators that Oblivia does not do: LSTM (node `node_b`), Tanh (2 times, first in \
                    node `node_a`); `";
    assert!(model.error().starts_with(expected), "{}", model.error());
    assert_eq!(model.import().unwrap_err().blame(), oblivia_base::Blame::Unsupported);
    let mut custom = one("Relu", &[2], &["x"], &[]);
    custom.graph().node[0].domain = "com.example".into();
    assert!(custom.error().contains("com.example.Relu"));
}

#[test]
fn a_model_that_is_not_for_single_samples_says_what_to_do() {
    let relu = one("Relu", &[2], &["x"], &[]);
    let change = |f: &dyn Fn(&mut Build)| {
        let mut b = relu.clone();
        f(&mut b);
        b.error()
    };
    let dims = |b: &mut Build, dims: &[Option<i64>]| {
        let tensor = b.graph().input[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
        let dim = |d: &Option<i64>| Dimension { value: d.map(Dim::DimValue) };
        tensor.shape.as_mut().unwrap().dim = dims.iter().map(dim).collect();
    };
    for (error, expected) in [
        (change(&|b| dims(b, &[Some(8), Some(2)])), "fixed batch of 8; export it with batch 1"),
        (change(&|b| dims(b, &[None, None])), "an axis of no fixed size"),
        (change(&|b| dims(b, &[])), "a scalar input"),
        (change(&|b| dims(b, &[None, Some(1 << 40)])), "is outside 1..="),
        (change(&|b| b.graph().input[0].r#type = None), "without a tensor shape"),
        (change(&|b| b.graph().input[0].name = "w".into()), "reads the tensor `x`"),
        (change(&|b| b.graph().input.clear()), "exactly one input"),
        (change(&|b| b.graph().output.clear()), "has 0 outputs"),
        (change(&|b| b.graph().output[0].name = "z".into()), "has the output `z`, which no node makes"),
        (change(&|b| b.0.opset_import[0].version = 6), "operator set 6; 7 to"),
        (change(&|b| b.0.opset_import.clear()), "imports no version"),
        (change(&|b| b.0.graph = None), "holds no graph"),
        (change(&|b| b.0.functions.push(vec![])), "functions of its own"),
        (
            change(&|b| b.graph().node[0].input[0] = "q".into()),
            "reads the tensor `q`, which nothing before it makes",
        ),
        (change(&|b| b.graph().node[0].output[0] = "x".into()), "makes the tensor `x` a second time"),
        (change(&|b| b.graph().node[0].output.clear()), "has no output"),
        (
            change(&|b| *b = b.clone().floats("w", &[], &[0.]).floats("w", &[], &[0.])),
            "defines the tensor `w` twice",
        ),
    ] {
        assert!(error.contains(expected), "{error}");
    }
    let mut two = relu.clone();
    let mut second = two.graph().input[0].clone();
    second.name = "x2".into();
    two.graph().input.push(second);
    assert!(two.error().contains("exactly one input"));
    let mut fixed = relu.clone();
    dims(&mut fixed, &[Some(1), Some(2)]);
    assert_eq!(fixed.run(&[-1., 1.]), [0., 1.]);
}

#[test]
fn control_characters_of_names_do_not_reach_messages() {
    let error = one("Relu\u{1b}[2J", &[2], &["x"], &[]).error();
    assert!(!error.contains('\u{1b}'), "{error:?}");
}

#[test]
fn the_register_is_sorted_and_covers_what_the_documentation_names() {
    let names: Vec<&str> = operators().collect();
    assert!(names.is_sorted());
    for op in ["Conv", "Gemm", "Slice", "Pad", "BatchNormalization"] {
        assert!(names.contains(&op));
    }
}

/// `y = max(x, 0)` over vectors of two.
/// As [`relu_model`] with `op` at the end.
pub(crate) fn ending_in(op: &str) -> Vec<u8> {
    let model = Build::new(&[2]).node("Relu", &["x"], "r", &[]).node(op, &["r"], "y", &[int("axis", 1)]);
    model.0.encode_to_vec()
}

pub(crate) fn relu_model() -> Vec<u8> {
    one("Relu", &[2], &["x"], &[]).0.encode_to_vec()
}

/// `y = W·x` over vectors of two, two of four weights zero.
pub(crate) fn gemm_with_zeros() -> Vec<u8> {
    let gemm = one("Gemm", &[2], &["x", "w"], &[int("transB", 1)]);
    gemm.floats("w", &[2, 2], &[1.5, 0.0, -0.0, 2.0]).0.encode_to_vec()
}

/// `y = max(x, 0)` over grey images of two pixels.
pub(crate) fn relu_image() -> Vec<u8> {
    one("Relu", &[1, 1, 2], &["x"], &[]).0.encode_to_vec()
}

/// A small model with most kinds of field, as a seed for damage.
fn sample() -> Vec<u8> {
    Build::new(&[1, 6, 6])
        .floats("w", &[2, 1, 3, 3], &[0.5; 18])
        .floats("b", &[2], &[1.0, -1.0])
        .ints("s", &[0, 0])
        .ints("e", &[i64::MAX, 4])
        .ints("a", &[2, 3])
        .ints("r", &[0, -1])
        .node("Conv", &["x", "w", "b"], "c", &[ints("pads", &[1, 1, 0, 0]), ints("strides", &[1, 1])])
        .node("Slice", &["c", "s", "e", "a"], "t", &[])
        .node("MaxPool", &["t"], "m", &[ints("kernel_shape", &[2, 2]), string("auto_pad", "SAME_UPPER")])
        .node("Mul", &["m", "m"], "q", &[])
        .node("Reshape", &["q", "r"], "y", &[])
        .0
        .encode_to_vec()
}

#[test]
fn the_damaged_sample_is_sound_before_it_is_damaged() {
    import(&sample()).unwrap();
}

proptest! {
    #[test]
    fn damaged_files_never_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = sample();
        for (at, value) in damage {
            let i = at.index(bytes.len());
            bytes[i] = value;
        }
        crate::fuzz::onnx(&bytes);
        crate::fuzz::onnx(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        crate::fuzz::onnx(&bytes);
        crate::fuzz::manifest(&bytes);
    }
}
