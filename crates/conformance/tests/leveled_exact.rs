//! Modes `exact` and `circuit-private` of system `leveled` against the suite, on a network whose weights are whole numbers:
//! there the integer network is the float network, and the declared error is none at all.
#![expect(clippy::expect_used, reason = "a failed expectation is a failed test")]

use oblivia_conformance::faults::Keys;
use oblivia_conformance::{Case, answers, costs, faults, hostile, leaks, over_memory, small};
use oblivia_protocol::{Kind, LoggedMessage, Wish};

fn case(mode: &str, inputs: usize) -> Case {
    small("leveled", Wish { mode: Some(mode.into()), ..Wish::default() }, inputs)
}

fn suite(mode: &str) {
    let two = case(mode, 2);
    let pair = over_memory(&two, 1).expect("the session succeeds");
    assert_eq!(pair.client.receipt.plan.choices.mode, mode);
    assert_eq!(pair.client.receipt.plan.error.value(), 0.0);
    answers::check(&two, &pair);
    costs::check(&pair);
    leaks::check_two(&case(mode, 2));
    let one = case(mode, 1);
    hostile::wrong_plan(&one);
    let pair = over_memory(&one, 6).expect("the session succeeds");
    let log = pair.client.log.expect("the machine keeps a log");
    let honest: Vec<LoggedMessage> = log.into_iter().filter(|m| matches!(m.kind, Kind::System(_))).collect();
    assert_eq!(honest.len(), 5, "offer, answer, keys, one input and its output");
    hostile::tricks(&one, &honest);
}

#[test]
fn exact_answers_are_the_networks_own_at_the_declared_cost_and_broken_messages_are_refused() {
    suite("exact");
}

#[test]
fn circuit_private_answers_are_the_networks_own_at_the_declared_cost_and_broken_messages_are_refused() {
    suite("circuit-private");
}

#[test]
fn a_fault_at_any_message_of_an_exact_session_ends_in_an_error_or_the_right_answer() {
    let state = tempfile::tempdir().expect("a folder");
    faults::check(&case("exact", 1), state.path(), [6, 4], Keys::Fresh);
}

#[test]
fn a_fault_at_any_message_of_a_circuit_private_session_ends_in_an_error_or_the_right_answer() {
    let state = tempfile::tempdir().expect("a folder");
    faults::check(&case("circuit-private", 1), state.path(), [6, 4], Keys::Fresh);
}
