//! System `leveled` against the suite.

mod masks;

use masks::{INPUT, is_half, params, small_share, uploads};
use oblivia_conformance::faults::Keys;
use oblivia_conformance::{Case, answers, costs, faults, hostile, leaks, mnist, over_memory, small};
use oblivia_nn::Tensor;
use oblivia_protocol::{Direction, Kind, LoggedMessage, Wish};
use oblivia_ring::{Coeff, Ntt, Poly};

fn case(images: usize) -> Case {
    mnist("leveled", Wish::default(), images)
}

#[test]
fn answers_are_within_the_declared_error_and_cost_what_was_declared() {
    let case = case(20);
    let pair = over_memory(&case, 1).expect("the session succeeds");
    answers::check(&case, &pair);
    costs::check(&pair);
    assert!(pair.server.ops.ntt > 0);
}

#[test]
fn lola_answers_in_several_ciphertexts_within_its_error_and_costs_what_was_declared() {
    let case = small("leveled", Wish { plan: Some("lola".into()), ..Wish::default() }, 3);
    let pair = over_memory(&case, 1).expect("the session succeeds");
    assert_eq!(pair.client.receipt.plan.choices.plan, "lola");
    answers::check(&case, &pair);
    costs::check(&pair);
}

fn inputs(log: &[LoggedMessage]) -> impl Iterator<Item = &LoggedMessage> {
    log.iter().filter(|m| m.kind == INPUT && m.direction == Direction::Up)
}

#[test]
fn messages_have_the_same_outline_for_every_input_and_masked_halves_look_uniform() {
    let logs = leaks::check_two(&case(2));
    let params = params(&case(1));
    let mut seen = 0;
    for (_, c0) in logs.iter().flat_map(|log| uploads(&params, log)) {
        let share = small_share(c0);
        assert!(is_half(share), "{share}");
        seen += 1;
    }
    assert!(seen >= 2, "one ciphertext for each of two images at least");
    let [x, y] = logs.map(|log| inputs(&log).next().unwrap().body.clone());
    assert_ne!(x, y);
}

#[test]
fn the_distinguisher_catches_a_message_without_its_mask() {
    use oblivia_he::ckks::Encoder;
    let params = params(&case(1));
    let image = &case(1).inputs[0];
    let values: Vec<f64> = image.data().iter().map(|&v| f64::from(v)).collect();
    let basis = params.basis(params.max_level()).unwrap();
    let bare = Encoder::new(&params).coefficients(&values, &[], (1u64 << 32) as f64).unwrap();
    let share = small_share(Poly::<Coeff>::from_i64(basis, &bare).into_ntt());
    assert!(share > 0.9, "{share}");
}

#[test]
fn two_uploads_of_one_image_share_nothing() {
    let mut twice = case(1);
    twice.inputs.push(twice.inputs[0].clone());
    let pair = over_memory(&twice, 4).expect("the session succeeds");
    let log = pair.client.log.expect("the machine keeps a log");
    let halves: Vec<Poly<Ntt>> = uploads(&params(&case(1)), &log).into_iter().map(|(_, half)| half).collect();
    assert!(halves.len() >= 2, "one ciphertext for each of two images at least");
    for (i, x) in halves.iter().enumerate() {
        for y in &halves[i + 1..] {
            let same = x.row(0).iter().zip(y.row(0)).filter(|(a, b)| a == b).count();
            assert!(same < 8, "{same} of 8192 residues agree");
        }
    }
}

#[test]
fn an_output_beyond_its_published_bound_gives_no_label_and_changes_nothing_on_the_link() {
    let narrow = || {
        let mut narrow = case(2);
        let output = narrow.model.public.graph.output();
        narrow.model.public.graph.set_bound(output, 20.0).unwrap();
        narrow
    };
    let (narrow, mut honest) = (narrow(), narrow());
    let zeros = |x: &Tensor| Tensor::new(x.shape().clone(), vec![0.0; x.shape().elements()]).unwrap();
    honest.inputs.iter_mut().for_each(|x| *x = zeros(x));
    let honest = over_memory(&honest, 8).expect("the session succeeds");
    assert!(honest.client.outputs.iter().all(Result::is_ok), "an image of zeros stays within the bound");
    let pair = over_memory(&narrow, 8).expect("the session succeeds on both sides");
    for answer in &pair.client.outputs {
        let error = answer.as_ref().expect_err("no outputs are given").to_string();
        assert!(error.contains("published bound") && error.contains("no label"), "{error}");
    }
    assert_eq!((pair.client.label(0), pair.server.samples), (None, 2));
    costs::check(&pair);
    let outline = |p: &oblivia_conformance::Pair| leaks::outline(p.client.log.as_deref().unwrap());
    assert_eq!(outline(&pair), outline(&honest));
}

#[test]
fn peers_that_break_the_protocol_are_refused() {
    let case = case(1);
    hostile::wrong_plan(&case);
    hostile::unknown_model(&case);
    hostile::tricks_of_a_server(&case);
    let pair = over_memory(&case, 6).expect("the session succeeds");
    let log = pair.client.log.expect("the machine keeps a log");
    let honest: Vec<LoggedMessage> = log.into_iter().filter(|m| matches!(m.kind, Kind::System(_))).collect();
    assert_eq!(honest.len(), 5, "offer, answer, keys, one input and its output");
    hostile::tricks(&case, &honest);
}

#[test]
fn a_fault_at_any_message_ends_in_an_error_or_the_right_answer() {
    let state = tempfile::tempdir().unwrap();
    faults::check(&case(1), state.path(), [6, 4], Keys::Fresh);
}

#[test]
fn a_fault_at_a_heartbeat_of_a_server_at_work_ends_in_an_error_or_the_right_answer() {
    let state = tempfile::tempdir().unwrap();
    faults::check_heartbeats(&case(1), state.path());
}

#[test]
fn a_fault_at_any_message_of_a_session_with_kept_keys_ends_in_an_error_or_the_right_answer() {
    let state = tempfile::tempdir().unwrap();
    faults::check(&small("leveled", Wish::default(), 1), state.path(), [5, 4], Keys::Kept);
}
