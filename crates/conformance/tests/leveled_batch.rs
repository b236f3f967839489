//! Mode `batch` of system `leveled` against the suite.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod masks;

use masks::{HEAD, INPUT, is_half, params, small_share, uploads};
use oblivia_base::Blame;
use oblivia_conformance::faults::Keys;
use oblivia_conformance::{Case, Pair, answers, costs, faults, hostile, leaks, mnist, over_memory, small};
use oblivia_nn::Tensor;
use oblivia_protocol::{Direction, Kind, Leak, LoggedMessage, Wish};
use std::collections::BTreeSet;

const OUTPUT: Kind = Kind::System(2);
/// Samples of a group.
const GROUP: usize = 8192;

fn wish() -> Wish {
    Wish { mode: Some("batch".into()), ..Wish::default() }
}

fn case(inputs: usize) -> Case {
    small("leveled", wish(), inputs)
}

/// As many inputs, thirteen of them different: a group later there is another one in the same place.
fn many(inputs: usize) -> Case {
    let mut case = case(13);
    case.inputs = case.inputs.iter().cycle().take(inputs).cloned().collect();
    case
}

fn log(pair: &Pair) -> Vec<LoggedMessage> {
    pair.client.log.clone().unwrap()
}

fn count(pair: &Pair, kind: Kind) -> usize {
    log(pair).iter().filter(|m| m.kind == kind).count()
}

#[test]
fn the_shipped_model_answers_within_the_declared_error_at_the_declared_cost() {
    let case = mnist("leveled", wish(), 20);
    let pair = over_memory(&case, 1).unwrap();
    assert_eq!(pair.client.receipt.plan.choices.mode, "batch");
    answers::check(&case, &pair);
    costs::check(&pair);
    assert_eq!((pair.server.ops.rotations, pair.server.ops.ct_mul), (0, 945));
}

#[test]
fn samples_beyond_a_group_take_another_at_the_same_cost_and_all_of_them_have_their_own_answers() {
    let two = many(GROUP + 3);
    let pair = over_memory(&two, 2).unwrap();
    answers::check(&two, &pair);
    costs::check(&pair);
    assert_eq!(pair.client.samples.len(), 2, "a record for every group");
    let one = over_memory(&case(1), 2).unwrap();
    costs::check(&one);
    let online = |p: &Pair| p.client.receipt.traffic.online;
    assert_eq!(online(&pair), online(&one).times(2), "a sample alone costs a whole group");
    let (inputs, outputs) = (count(&one, INPUT), count(&one, OUTPUT));
    assert_eq!((inputs, outputs), (4, 1));
    assert_eq!((count(&pair, INPUT), count(&pair, OUTPUT)), (2 * inputs, 2 * outputs));
}

#[test]
fn messages_have_the_same_outline_for_every_input_and_their_masks_are_uniform_and_never_used_again() {
    let (a, mut b) = (many(GROUP + 1), many(GROUP + 1));
    b.inputs.rotate_left(1);
    let logs = leaks::check(&a, &b);
    let params = params(&case(1));
    for log in &logs {
        let uploads = uploads(&params, log);
        assert_eq!(uploads.len(), 2 * 16, "a ciphertext for every element, in each of two groups");
        let seeds: BTreeSet<[u8; 32]> = uploads.iter().map(|(seed, _)| *seed).collect();
        assert_eq!(seeds.len(), uploads.len(), "a seed comes twice");
        for (i, (_, x)) in uploads.iter().enumerate() {
            assert!(is_half(small_share(x.clone())), "ciphertext {i}");
            for (j, (_, y)) in uploads.iter().enumerate().skip(i + 1) {
                // With a common mask the difference would be the difference of two messages, which is small.
                let mut difference = x.clone();
                difference.sub_assign(y);
                assert!(is_half(small_share(difference)), "ciphertexts {i} and {j}");
            }
        }
    }
}

#[test]
fn who_learns_what_is_what_every_service_reveals_and_the_messages_stay_below_the_limits() {
    let pair = over_memory(&case(1), 3).unwrap();
    let plan = &pair.client.receipt.plan;
    assert!(plan.leaks.iter().all(|l| !l.leak.needs_acceptance() && l.leak != Leak::PartialSums));
    assert!(log(&pair).iter().all(|m| m.body.len() <= 32 << 20));
    assert!(plan.session_memory_bytes > 0 && plan.work_memory_bytes > 0 && plan.client_memory_bytes > 0);
}

#[test]
fn a_client_refuses_a_plan_that_takes_more_memory_than_it_allows() {
    let mut case = case(1);
    case.wish.max_memory = Some(1 << 20);
    let failed = over_memory(&case, 3).unwrap_err();
    let error = failed.client.unwrap();
    assert!(error.blame() == Blame::Refused && error.to_string().contains("--max-memory"), "{error}");
}

#[test]
fn peers_that_break_the_protocol_are_refused() {
    let case = case(1);
    hostile::wrong_plan(&case);
    hostile::unknown_model(&case);
    let honest = log(&over_memory(&case, 6).unwrap());
    let honest: Vec<LoggedMessage> =
        honest.into_iter().filter(|m| matches!(m.kind, Kind::System(_))).collect();
    assert_eq!(honest.len(), 8, "offer, answer, keys, four parts of the input, an output");
    hostile::tricks(&case, &honest);
}

#[test]
fn every_ciphertext_of_every_part_is_checked_before_the_server_uses_it() {
    let case = case(1);
    let honest = log(&over_memory(&case, 6).unwrap());
    let honest: Vec<LoggedMessage> =
        honest.into_iter().filter(|m| matches!(m.kind, Kind::System(_))).collect();
    let inputs: Vec<usize> = (0..honest.len()).filter(|&i| honest[i].kind == INPUT).collect();
    for at in [inputs[0], inputs[3]] {
        let one = honest[at].body.len() / 4;
        // Id of the parameters, level, scale, residues; of the first and the last ciphertext of the part.
        for part in [0..1, 32..33, 40..41, HEAD + 32..HEAD + 48, 3 * one..3 * one + 1, 4 * one - 16..4 * one]
        {
            let mut script = honest[..=at].to_vec();
            match &mut script[at].body[part.clone()] {
                [byte] => *byte = !*byte,
                residues => residues.fill(0xff),
            }
            let error = hostile::server_after(&case, &script);
            assert_eq!(error.blame(), Blame::InvalidMessage, "message {at}, {part:?}: {error}");
        }
    }
}

#[test]
fn a_server_cannot_tell_which_inputs_are_outside_the_published_range() {
    let mut outside = case(3);
    let shape = outside.inputs[0].shape().clone();
    outside.inputs[1] = Tensor::new(shape.clone(), vec![1e30; shape.elements()]).unwrap();
    let pair = over_memory(&outside, 5).unwrap();
    let error = pair.client.outputs[1].as_ref().unwrap_err();
    assert_eq!(error.blame(), Blame::Input, "{error}");
    let honest = case(3);
    for i in [0, 2] {
        let (found, expected) = (pair.client.outputs[i].as_ref().unwrap(), &honest.expected()[i]);
        assert_eq!(found.argmax(), expected.argmax(), "the others are answered");
    }
    let outline = |pair: &Pair| leaks::outline(&log(pair));
    assert_eq!(outline(&pair), outline(&over_memory(&honest, 5).unwrap()));
    costs::check(&pair);
}

#[test]
fn an_output_beyond_its_published_bound_gives_no_label_and_changes_nothing_on_the_link() {
    let mut narrow = case(2);
    let output = narrow.model.public.graph.output();
    let largest = narrow.expected().iter().map(|t| f64::from(t.max_abs())).fold(0.0, f64::max);
    narrow.model.public.graph.set_bound(output, largest / 4.0).unwrap();
    let pair = over_memory(&narrow, 8).unwrap();
    let refused: Vec<String> =
        pair.client.outputs.iter().filter_map(|o| Some(o.as_ref().err()?.to_string())).collect();
    assert!(!refused.is_empty());
    for error in refused {
        assert!(error.contains("published bound") && error.contains("no label"), "{error}");
    }
    costs::check(&pair);
}

#[test]
fn up_and_down_every_message_of_a_group_goes_one_way_before_the_other() {
    let pair = over_memory(&many(GROUP + 1), 4).unwrap();
    let ways: Vec<Direction> =
        log(&pair).iter().filter(|m| [INPUT, OUTPUT].contains(&m.kind)).map(|m| m.direction).collect();
    let group = [Direction::Up, Direction::Up, Direction::Up, Direction::Up, Direction::Down];
    assert_eq!(ways, [group, group].concat());
    assert_eq!(pair.client.receipt.traffic.online.rounds, 4);
}

#[test]
fn a_fault_at_any_message_ends_in_an_error_or_the_right_answers() {
    let state = tempfile::tempdir().unwrap();
    faults::check(&case(2), state.path(), [9, 4], Keys::Fresh);
}

#[test]
fn a_fault_at_any_message_of_a_session_with_kept_keys_ends_in_an_error_or_the_right_answers() {
    let state = tempfile::tempdir().unwrap();
    faults::check(&case(2), state.path(), [8, 4], Keys::Kept);
}
