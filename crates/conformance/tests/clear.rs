//! System `clear` against the suite.

use oblivia_conformance::faults::Keys;
use oblivia_conformance::{Case, answers, costs, faults, hostile, leaks, mnist, over_memory};
use oblivia_protocol::{Direction, Kind, Leak, LoggedMessage, Wish};

fn wish() -> Wish {
    Wish { accepted_leaks: vec![Leak::Input], ..Wish::default() }
}

fn case(images: usize) -> Case {
    mnist("clear", wish(), images)
}

#[test]
fn answers_are_the_networks_own_and_cost_what_was_declared() {
    let case = case(200);
    let pair = over_memory(&case, 1).expect("the session succeeds");
    answers::check(&case, &pair);
    costs::check(&pair);
}

#[test]
fn without_accepting_the_leak_the_client_refuses_and_says_how() {
    let case = mnist("clear", Wish::default(), 1);
    let Err(failed) = over_memory(&case, 1) else { panic!("the session must fail") };
    let client = failed.client.expect("the client refuses").to_string();
    assert!(client.contains("--accept-leak input"), "{client}");
    assert!(failed.server.is_some());
}

#[test]
fn messages_have_the_same_outline_for_every_input() {
    leaks::check_two(&case(2));
}

#[test]
fn peers_that_break_the_protocol_are_refused() {
    let case = case(1);
    hostile::wrong_plan(&case);
    hostile::wrong_version(&case);
    hostile::unknown_model(&case);
    hostile::tricks_of_a_server(&case);
    let input: Vec<u8> = case.inputs[0].data().iter().flat_map(|v| v.to_le_bytes()).collect();
    hostile::tricks(&case, &[LoggedMessage { direction: Direction::Up, kind: Kind::System(0), body: input }]);
}

#[test]
fn a_fault_at_any_message_ends_in_an_error_or_the_right_answer() {
    let state = tempfile::tempdir().unwrap();
    faults::check(&case(2), state.path(), [5, 4], Keys::Fresh);
}
