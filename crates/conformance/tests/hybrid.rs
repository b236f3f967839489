//! System `hybrid` against the suite, on small networks.
#![expect(clippy::expect_used, reason = "a failed expectation is a failed test")]

use oblivia_conformance::{Case, answers, costs, faults, hostile, leaks, over_memory, small_relu};
use oblivia_nn::OutputPolicy;
use oblivia_protocol::Wish;

fn case(inputs: usize) -> Case {
    small_relu("hybrid", Wish::default(), inputs)
}

/// Messages of client and server in an honest session of one image.
fn messages() -> [usize; 2] {
    over_memory(&case(1), 6).expect("the session succeeds").messages()
}

#[test]
fn answers_are_the_networks_own_at_the_declared_cost_and_broken_messages_are_refused() {
    let three = case(3);
    let pair = over_memory(&three, 1).expect("the session succeeds");
    assert!(pair.client.receipt.plan.error.value() > 0.0);
    answers::check(&three, &pair);
    costs::check(&pair);
    leaks::check_two(&case(2));
    let one = case(1);
    hostile::wrong_plan(&one);
}

#[test]
fn groups_of_images_share_messages_and_one_that_is_not_full_costs_as_much() {
    let group = |inputs| small_relu("hybrid", Wish { group: Some(3), ..Wish::default() }, inputs);
    let rounds = |case: &Case| {
        let pair = over_memory(case, 3).expect("the session succeeds");
        answers::check(case, &pair);
        costs::check(&pair);
        pair.client.receipt.traffic.online.rounds
    };
    let (four, six) = (rounds(&group(4)), rounds(&group(6)));
    assert_eq!(four, six);
    assert_eq!(6 * rounds(&case(1)), 3 * six, "two groups of three have the messages of two images");
    leaks::check_two(&group(2));
}

#[test]
fn a_class_alone_is_the_largest_output_at_the_declared_cost() {
    let mut two = case(2);
    two.model.public.output = OutputPolicy::ArgMax;
    let pair = over_memory(&two, 2).expect("the session succeeds");
    costs::check(&pair);
    let expected = two.expected();
    for (found, expected) in pair.client.outputs.iter().zip(&expected) {
        let found = found.as_ref().expect("an answer");
        assert_eq!(found.argmax(), expected.argmax());
        assert!(found.data().iter().all(|v| *v == 0.0 || *v == 1.0), "no scores are given");
    }
}

#[test]
fn a_fault_at_any_message_ends_in_an_error_or_the_right_answer() {
    let state = tempfile::tempdir().expect("a folder");
    faults::check_at_once(&case(1), state.path(), messages().map(|n| n as u64));
}

#[test]
fn messages_of_another_kind_or_size_are_refused_wherever_they_come_and_nothing_makes_a_party_panic() {
    let messages = messages();
    assert!(messages.iter().all(|n| *n > 10), "{messages:?}");
    hostile::tampered_anywhere(&case(1), messages);
}
