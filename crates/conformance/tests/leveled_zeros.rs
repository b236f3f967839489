//! Weights that are zero, over a link: known to a client if they are published, and of no effect if they are not.

use oblivia_conformance::{Case, answers, costs, leaks, over_memory, small};
use oblivia_nn::{Model, Weights, pass};
use oblivia_protocol::{Direction, Kind, Leak, LoggedMessage, Role, Wish};

const OUTPUT: Kind = Kind::System(2);

fn wish(mode: &str) -> Wish {
    Wish { mode: Some(mode.into()), ..Wish::default() }
}

/// The small network: of its weights, which are small integers, some are zero.
fn case(mode: &str) -> Case {
    let case = small("leveled", wish(mode), 2);
    let zeros = case.model.weights.tensors().iter().flat_map(|t| t.data()).filter(|v| **v == 0.0).count();
    assert!(zeros > 3, "{zeros}");
    case
}

#[test]
fn a_client_of_a_model_with_published_zeros_is_told_so_and_answers_are_as_good_as_without() {
    for mode in ["approximate", "exact", "circuit-private"] {
        let mut case = case(mode);
        pass::publish_zeros(&mut case.model).unwrap();
        let pair = over_memory(&case, 1).expect("the session succeeds");
        if mode == "approximate" {
            answers::check(&case, &pair);
        }
        costs::check(&pair);
        let receipt = &pair.client.receipt;
        let told = receipt.plan.leaks.iter().filter(|l| (l.to, l.leak) == (Role::Client, Leak::Sparsity));
        assert_eq!(told.count(), 1);
        let closed = over_memory(&self::case(mode), 1).expect("the session succeeds");
        assert!(closed.client.receipt.plan.leaks.iter().all(|l| l.leak != Leak::Sparsity));
        // The planner weighs keys too: a little more time may be worth fewer of them.
        let [few, all] = [&pair, &closed].map(|p| p.client.receipt.plan.predicted_us);
        assert!(few <= all + all / 20, "{mode}: {few} {all}");
        for (a, b) in pair.client.outputs.iter().zip(&closed.client.outputs) {
            let (a, b) = (a.as_ref().unwrap(), b.as_ref().unwrap());
            let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-3 * b.abs().max(1.0);
            assert!(mode == "exact" && a == b || mode != "exact" && a.data().iter().zip(b.data()).all(close));
        }
    }
}

#[test]
fn a_transcript_without_published_zeros_is_byte_by_byte_that_of_a_model_that_has_none() {
    for mode in ["approximate", "exact"] {
        let with = case(mode);
        let mut without = case(mode);
        let mut tensors = without.model.weights.tensors().to_vec();
        // Too small to change a row norm or a result.
        let zeros = tensors.iter_mut().flat_map(|t| t.data_mut()).filter(|v| **v == 0.0);
        zeros.for_each(|v| *v = f32::MIN_POSITIVE);
        let public = without.model.public;
        without.model =
            Model { weights: Weights::new(&public.graph, tensors).unwrap(), public, calibration: None };
        let logs = leaks::check(&with, &without);
        // All but the replies, whose noise depends on the weights.
        let same = |m: &&LoggedMessage| !(m.kind == OUTPUT && m.direction == Direction::Down);
        let [a, b] = logs.each_ref().map(|log| log.iter().filter(same).collect::<Vec<_>>());
        assert!(a.len() >= 6, "{}", a.len());
        for (a, b) in a.iter().zip(&b) {
            assert_eq!(a.body, b.body, "{:?}", a.kind);
        }
    }
}
