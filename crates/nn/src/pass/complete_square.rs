//! Quadratic activations as squares.

use crate::{Graph, Model, NnError, Node, Op, PublicModel, Shape, Tensor, WeightId, Weights, WireId};

/// Rewrites `a·x² + b·x`, a > 0, as `(√a·x + b/(2√a))² − b²/(4a)`: one square between sums and products with constants,
/// which [`super::fold`] takes into the layer before. `a` and `b` are single numbers or one per channel.
///
/// The output is the same up to rounding. A sum that is no such polynomial is left as it is.
pub fn complete_square(model: &Model) -> Result<Model, NnError> {
    let old = &model.public.graph;
    let mut out = Graph::new(&first_name(old), old.input_shape().clone());
    for w in old.weights() {
        let id = out.weight(&w.name, w.shape.clone())?;
        w.zeros.clone().map_or(Ok(()), |zeros| out.set_zeros(id, zeros))?;
    }
    let mut tensors: Vec<Tensor> =
        (0..old.weights().len()).map(|i| model.weights.get(WeightId(i as u32)).clone()).collect();
    let mut wires = vec![WireId(0); old.nodes().len()];
    for (i, node) in old.nodes().iter().enumerate() {
        if i > 0 {
            let found = Quadratic::find(old, &model.weights, node);
            let inputs: Vec<WireId> = node.inputs.iter().map(|w| wires[w.index()]).collect();
            wires[i] = match &found {
                Some(q) => q.emit(&mut out, &mut tensors, node, wires[q.x.index()])?,
                None => out.push(&node.name, node.op.clone(), &inputs)?,
            };
        }
        if let Some(bound) = node.fact.bound {
            out.set_bound(wires[i], bound)?;
        }
    }
    out.set_output(wires[old.output().index()])?;
    let weights = Weights::new(&out, tensors)?;
    let mut public = PublicModel { fixed: None, ..model.public.clone() };
    public.graph = out;
    Ok(Model { public, weights, calibration: model.calibration.clone() })
}

fn first_name(graph: &Graph) -> String {
    graph.nodes().first().map_or_else(|| "input".into(), |n| n.name.clone())
}

/// a·x² + b·x with one a and b per channel.
struct Quadratic {
    x: WireId,
    a: Vec<f64>,
    b: Vec<f64>,
    /// Bound on |x|.
    bound: Option<f64>,
}

impl Quadratic {
    fn find(graph: &Graph, weights: &Weights, node: &Node) -> Option<Self> {
        let (Op::Add, [left, right]) = (&node.op, &node.inputs[..]) else { return None };
        let channels = node.fact.shape.dims().first().copied()?;
        Self::of(graph, weights, channels, *left, *right)
            .or_else(|| Self::of(graph, weights, channels, *right, *left))
    }

    /// With the square on the `left`.
    fn of(graph: &Graph, weights: &Weights, channels: usize, left: WireId, right: WireId) -> Option<Self> {
        let (square, a) = factor(graph, weights, channels, left)?;
        let node = graph.nodes().get(square.index())?;
        let (Op::Square, [x]) = (&node.op, &node.inputs[..]) else { return None };
        let (linear, b) = match right == *x {
            true => (right, vec![1.0; channels]),
            false => factor(graph, weights, channels, right)?,
        };
        let positive = a.iter().all(|&a| a > 0.0 && a.is_finite()) && b.iter().all(|b| b.is_finite());
        (linear == *x && positive).then(|| Self { x: *x, a, b, bound: graph.fact(*x).and_then(|f| f.bound) })
    }

    fn emit(
        &self,
        out: &mut Graph,
        tensors: &mut Vec<Tensor>,
        node: &Node,
        x: WireId,
    ) -> Result<WireId, NnError> {
        let root: Vec<f64> = self.a.iter().map(|a| a.sqrt()).collect();
        let shift: Vec<f64> = self.b.iter().zip(&root).map(|(b, r)| b / (2.0 * r)).collect();
        let rest: Vec<f64> = shift.iter().map(|s| -s * s).collect();
        let mut constant = |out: &mut Graph, what: &str, values: &[f64]| {
            let shape = Shape::new([values.len()])?;
            tensors.push(Tensor::new(shape.clone(), values.iter().map(|&v| v as f32).collect())?);
            out.weight(&format!("{}.{what}", node.name), shape)
        };
        let value = constant(out, "root", &root)?;
        let scaled = out.push(&format!("{}.scale", node.name), Op::MulConst { value }, &[x])?;
        let value = constant(out, "shift", &shift)?;
        let moved = out.push(&format!("{}.shift", node.name), Op::AddConst { value }, &[scaled])?;
        if let Some(bound) = self.bound {
            let of = |(r, s): (&f64, &f64)| r * bound + s.abs();
            let most = root.iter().zip(&shift).map(of).fold(0.0, f64::max);
            out.set_bound(moved, most * (1.0 + 1e-6))?;
        }
        let squared = out.push(&format!("{}.square", node.name), Op::Square, &[moved])?;
        let value = constant(out, "rest", &rest)?;
        out.push(&node.name, Op::AddConst { value }, &[squared])
    }
}

/// Looks through a product with constants: the wire and its factor per channel.
fn factor(graph: &Graph, weights: &Weights, channels: usize, wire: WireId) -> Option<(WireId, Vec<f64>)> {
    let node = graph.nodes().get(wire.index())?;
    match (&node.op, &node.inputs[..]) {
        (Op::MulConst { value }, [x]) => {
            let t = weights.get(*value).data();
            match t.len() {
                1 => Some((*x, vec![f64::from(*t.first()?); channels])),
                n if n == channels => Some((*x, t.iter().map(|&v| f64::from(v)).collect())),
                _ => None,
            }
        }
        (Op::Square, _) => Some((wire, vec![1.0; channels])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InputSpec, OutputPolicy, PublicModel, eval, pass};

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::new(Shape::new([values.len()]).unwrap(), values.to_vec()).unwrap()
    }

    /// a·x² + b·x + c behind a dense layer, with the summands in the order asked for.
    fn quadratic(a: &[f32], b: &[f32], square_first: bool) -> Model {
        let mut g = Graph::new("x", Shape::new([2]).unwrap());
        let mut tensors = Vec::new();
        let mut weight = |g: &mut Graph, dims: &[usize], values: &[f32]| {
            let shape = Shape::new(dims.to_vec()).unwrap();
            tensors.push(Tensor::new(shape.clone(), values.to_vec()).unwrap());
            g.weight("w", shape).unwrap()
        };
        let w = weight(&mut g, &[3, 2], &[1.0, -2.0, 0.5, 0.25, -1.5, 3.0]);
        let wa = weight(&mut g, &[a.len()], a);
        let wb = weight(&mut g, &[b.len()], b);
        let wc = weight(&mut g, &[1], &[0.75]);
        let x = g.push("dense", Op::Dense { out: 3, weight: w, bias: None }, &[WireId(0)]).unwrap();
        g.set_bound(x, 4.0).unwrap();
        let s = g.push("square", Op::Square, &[x]).unwrap();
        let s = g.push("a", Op::MulConst { value: wa }, &[s]).unwrap();
        let l = g.push("b", Op::MulConst { value: wb }, &[x]).unwrap();
        let sum = g.push("sum", Op::Add, &if square_first { [s, l] } else { [l, s] }).unwrap();
        g.push("c", Op::AddConst { value: wc }, &[sum]).unwrap();
        let weights = Weights::new(&g, tensors).unwrap();
        let public = PublicModel {
            name: "quadratic".into(),
            graph: g,
            labels: Vec::new(),
            input: InputSpec::Tensor,
            input_range: [-1.0, 1.0],
            output: OutputPolicy::Logits,
            fixed: None,
        };
        Model { public, weights, calibration: None }
    }

    #[test]
    fn a_quadratic_becomes_one_square_with_the_same_values() {
        for (a, b) in [
            (&[0.2f32][..], &[0.5f32][..]),
            (&[0.5, 1.0, 2.0], &[-1.0, 0.0, 3.0]),
            (&[0.3], &[1.0, 2.0, -4.0]),
        ] {
            for order in [true, false] {
                let model = quadratic(a, b, order);
                let rewritten = pass::fold(&complete_square(&model).unwrap()).unwrap();
                let ops: Vec<&str> = rewritten.public.graph.nodes().iter().map(|n| n.op.name()).collect();
                assert_eq!(ops, ["Input", "Dense", "Square", "AddConst", "AddConst"]);
                for x in [[0.1, -0.7], [1.0, 1.0], [-0.3, 0.9]] {
                    let (old, new) = (
                        eval::run(&model, &tensor(&x)).unwrap(),
                        eval::run(&rewritten, &tensor(&x)).unwrap(),
                    );
                    for (o, n) in old.data().iter().zip(new.data()) {
                        assert!((o - n).abs() < 1e-5 * (1.0 + o.abs()), "{o} {n}");
                    }
                }
                let moved = rewritten.public.graph.nodes()[1].fact.bound.unwrap();
                let x = tensor(&[1.0, -1.0]);
                let most = eval::max_abs(&rewritten.public.graph, &rewritten.weights, [&x]).unwrap();
                assert!(f64::from(most[1]) <= moved * 4.0, "{most:?} {moved}");
            }
        }
    }

    #[test]
    fn a_polynomial_with_a_negative_leading_coefficient_is_left_alone() {
        let model = quadratic(&[-0.2], &[0.5], true);
        let rewritten = complete_square(&model).unwrap();
        assert_eq!(rewritten.public.graph.nodes().len(), model.public.graph.nodes().len());
    }
}
