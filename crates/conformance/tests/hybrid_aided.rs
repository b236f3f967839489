//! Mode `client-aided` of system `hybrid` against the suite, on small networks.
#![expect(clippy::expect_used, reason = "a failed expectation is a failed test")]

use oblivia::Machine;
use oblivia_base::{Blame, Digest};
use oblivia_conformance::kept::{Keeper, Secrets};
use oblivia_conformance::{
    Case, answers, costs, faults, hostile, leaks, over_memory, small_relu, with_models,
};
use oblivia_protocol::{KeyUse, Kind, Leak, SecretStore, Wish};
use std::sync::Arc;

fn case(inputs: usize) -> Case {
    let accepted_leaks = vec![Leak::IntermediateActivations];
    small_relu(
        "hybrid",
        Wish { mode: Some("client-aided".into()), accepted_leaks, ..Wish::default() },
        inputs,
    )
}

/// Messages of client and server in an honest session of one image.
fn messages() -> [usize; 2] {
    over_memory(&case(1), 6).expect("the session succeeds").messages()
}

#[test]
fn answers_are_the_networks_own_at_the_declared_cost_and_broken_messages_are_refused() {
    let three = case(3);
    let pair = over_memory(&three, 1).expect("the session succeeds");
    let plan = &pair.client.receipt.plan;
    assert_eq!((plan.choices.mode.as_str(), plan.error.value()), ("client-aided", 0.0));
    answers::check(&three, &pair);
    for (found, expected) in pair.client.outputs.iter().zip(three.expected()) {
        assert_eq!(found.as_ref().expect("an answer").data(), expected.data(), "bit for bit");
    }
    costs::check(&pair);
    leaks::check_two(&case(2));
    hostile::wrong_plan(&case(1));
}

#[test]
fn whoever_does_not_accept_that_the_model_is_given_away_refuses_owner_and_client_alike() {
    let mut one = case(1);
    let one_machine = Machine::new(1).expect("threads");
    let (served, mut refusing) = (case(1), case(1));
    refusing.wish.accepted_leaks.clear();
    for (owner, client, words) in [
        (&refusing, &served, "did not allow that"),
        (&served, &refusing, "add --accept-leak intermediate-activations"),
    ] {
        let models = owner.models(&one_machine);
        let failed = with_models(client, &models, &one_machine, 3).expect_err("someone refuses");
        let refusals: Vec<_> = [failed.client, failed.server].into_iter().flatten().collect();
        let found = refusals.iter().any(|e| e.blame() == Blame::Refused && e.to_string().contains(words));
        assert!(found, "{refusals:?}");
    }
    // And nobody gets the mode without asking for it.
    one.wish.mode = None;
    let pair = over_memory(&one, 3).expect("the session succeeds");
    assert_eq!(pair.client.receipt.plan.choices.mode, "shared");
}

#[test]
fn a_fault_at_any_message_ends_in_an_error_or_the_right_answer() {
    let state = tempfile::tempdir().expect("a folder");
    faults::check_at_once(&case(1), state.path(), messages().map(|n| n as u64));
}

#[test]
fn messages_of_another_kind_or_size_are_refused_wherever_they_come_and_nothing_makes_a_party_panic() {
    let messages = messages();
    // Hello, accept, offer of keys, keys, three layers; offer, answer, three layers.
    assert_eq!(messages, [7, 5]);
    hostile::tampered_anywhere(&case(1), messages);
}

#[test]
fn the_second_session_of_a_client_sends_no_keys_and_gives_the_same_answers() {
    let two = case(2);
    let keeper = Keeper::new(&two, 1 << 30);
    let store: Arc<dyn SecretStore> = Arc::new(Secrets::default());
    for (how, seed) in [(KeyUse::Sent, 1), (KeyUse::Reused, 2)] {
        let pair = keeper.session(Digest([0xa1; 32]), Some(store.clone()), seed);
        answers::check(&two, &pair);
        costs::check(&pair);
        assert_eq!((pair.client.receipt.keys.how, pair.server.keys.how), (how, how));
        let log = pair.client.log.expect("the machine keeps a log");
        assert_eq!(log.iter().any(|m| m.kind == Kind::System(5)), how == KeyUse::Sent);
    }
}
