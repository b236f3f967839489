//! Which weights are zero, published so that plans can leave out what only they need.

use crate::zeros::Zeros;
use crate::{Model, NnError, Op, WeightId};

/// Publishes, for the weights of every convolution and dense layer, which of them are zero. Passes that make another
/// model of it publish that model's.
///
/// # Errors
/// [`NnError::BadSize`] for more weights than [`Zeros::MAX_WEIGHTS`].
pub fn publish_zeros(model: &mut Model) -> Result<(), NnError> {
    let of = |op: &Op| match op {
        Op::Conv(conv) => Some(conv.weight),
        Op::Dense { weight, .. } => Some(*weight),
        _ => None,
    };
    let mut linear: Vec<WeightId> = model.public.graph.nodes().iter().filter_map(|n| of(&n.op)).collect();
    linear.sort_unstable();
    linear.dedup();
    for id in linear {
        let zeros = Zeros::of(model.weights.get(id));
        model.public.graph.set_zeros(id, zeros)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{random_model, tiny_model};
    use crate::{Tensor, Weights, pass};

    /// `model` with every third weight of every tensor set to zero.
    fn pruned(model: &Model) -> Model {
        let zero = |t: &Tensor| {
            let values = t.data().iter().enumerate().map(|(i, &v)| if i % 3 == 1 { 0.0 } else { v });
            Tensor::new(t.shape().clone(), values.collect()).unwrap()
        };
        let tensors = model.weights.tensors().iter().map(zero).collect();
        Model {
            weights: Weights::new(&model.public.graph, tensors).unwrap(),
            public: model.public.clone(),
            calibration: None,
        }
    }

    #[test]
    fn what_is_published_are_the_zeros_of_linear_layers_and_of_nothing_else() {
        let mut model = pruned(&tiny_model());
        publish_zeros(&mut model).unwrap();
        let graph = &model.public.graph;
        let published: Vec<Option<usize>> =
            graph.weights().iter().map(|w| w.zeros.as_ref().map(Zeros::count)).collect();
        // Convolution, its bias, matrix, its bias.
        assert_eq!(published, [Some(6), None, Some(72), None]);
        model.weights.belong_to(graph).unwrap();
    }

    #[test]
    fn a_model_made_of_one_with_published_zeros_has_its_own_zeros_published() {
        for seed in 0..60 {
            let mut model = pruned(&random_model(seed));
            let bare = pass::fold(&pass::complete_square(&model).unwrap()).unwrap();
            assert!(bare.public.graph.weights().iter().all(|w| w.zeros.is_none()));
            publish_zeros(&mut model).unwrap();
            let folded = pass::fold(&pass::complete_square(&model).unwrap()).unwrap();
            let mut expected = bare;
            publish_zeros(&mut expected).unwrap();
            assert_eq!(folded.public, expected.public, "{seed}");
        }
    }

    #[test]
    fn weights_that_are_published_as_zeros_and_are_not_do_not_belong_to_the_graph() {
        let mut model = pruned(&tiny_model());
        publish_zeros(&mut model).unwrap();
        let error = tiny_model().weights.belong_to(&model.public.graph).unwrap_err().to_string();
        assert!(error.contains("c1.w") && error.contains("published as zero"), "{error}");
        let few = Zeros::from_bytes(&[0], 7).unwrap();
        assert!(model.public.graph.set_zeros(WeightId(0), few).is_err());
    }
}
