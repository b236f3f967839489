//! How much linear layers amplify noise, published so that a client can derive error bounds.

use crate::{Model, NnError, Op, WireId};

/// Publishes, for every convolution and dense layer, the largest Euclidean norm of the weights that make one
/// output, rounded up to a multiple of 1/8 so that little is said about the weights.
pub fn publish_row_norms(model: &mut Model) -> Result<(), NnError> {
    let graph = &model.public.graph;
    let mut found = Vec::new();
    for (i, node) in graph.nodes().iter().enumerate() {
        let weight = match &node.op {
            Op::Conv(conv) => conv.weight,
            Op::Dense { weight, .. } => *weight,
            _ => continue,
        };
        let t = model.weights.get(weight);
        let rows = t.shape().dims().first().copied().unwrap_or(1).max(1);
        let row = (t.data().len() / rows).max(1);
        let square = |row: &[f32]| row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>();
        let largest = t.data().chunks(row).map(square).fold(0.0, f64::max).sqrt();
        found.push((WireId(i as u32), ((largest * 8.0).ceil() / 8.0).max(0.125)));
    }
    found.into_iter().try_for_each(|(wire, norm)| model.public.graph.set_row_norm(wire, norm))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random_model;

    #[test]
    fn published_norms_bound_every_row_within_an_eighth() {
        for seed in 0..20 {
            let mut model = random_model(seed);
            publish_row_norms(&mut model).unwrap();
            for node in model.public.graph.nodes() {
                let weight = match &node.op {
                    Op::Conv(c) => c.weight,
                    Op::Dense { weight, .. } => *weight,
                    _ => {
                        assert_eq!(node.fact.row_norm, None);
                        continue;
                    }
                };
                let t = model.weights.get(weight);
                let rows = t.shape().dims()[0];
                let norm = |r: usize| {
                    let row = &t.data()[r * t.data().len() / rows..(r + 1) * t.data().len() / rows];
                    row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
                };
                let largest = (0..rows).map(norm).fold(0.0, f64::max);
                let published = node.fact.row_norm.unwrap();
                assert!(largest <= published && published <= largest + 0.1251, "{largest} {published}");
            }
        }
    }
}
