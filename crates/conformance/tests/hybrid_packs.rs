//! Packs of `hybrid`: made in one session, used in another, once.
#![expect(clippy::expect_used, reason = "a failed expectation is a failed test")]

use oblivia::{load_image, load_model, tensor};
use oblivia_base::{Blame, Digest};
use oblivia_conformance::ahead::Stocked;
use oblivia_conformance::hostile::Tampered;
use oblivia_conformance::{Case, Pair, answers, costs, small_relu};
use oblivia_nn::Tensor;
use oblivia_protocol::session::Purpose;
use oblivia_protocol::{AheadUse, Error, Kind, LinkError, Notice, Wire, Wish};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const ALICE: Digest = Digest([0xa1; 32]);
const BOB: Digest = Digest([0xb0; 32]);
const ROOM: u64 = 1 << 30;

fn case(inputs: usize) -> Case {
    small_relu("hybrid", Wish::default(), inputs)
}

/// Makes packs at the declared cost.
fn make(at: &Stocked<'_>, client: Digest, packs: usize, seed: u64) {
    make_for(at, client, packs, packs, seed);
}

/// Makes packs for images.
fn make_for(at: &Stocked<'_>, client: Digest, images: usize, packs: usize, seed: u64) -> Pair {
    let pair = at.session(client, Purpose::MakeAhead, images, seed).expect("packs are made");
    assert_eq!(pair.client.receipt.ahead, AheadUse::Made { groups: packs as u64 });
    assert_eq!(pair.client.receipt.traffic.online.up_bytes, 0);
    costs::check(&pair);
    pair
}

/// Predicts on all samples: right, at the declared cost. How many packs were used, if any were spoken of.
fn predict(at: &Stocked<'_>, case: &Case, client: Digest, seed: u64) -> (Option<u64>, Pair) {
    let pair = at.session(client, Purpose::Predict, case.inputs.len(), seed).expect("a prediction");
    answers::check(case, &pair);
    costs::check(&pair);
    let used = match pair.client.receipt.ahead {
        AheadUse::Used { groups } => Some(groups),
        AheadUse::None => None,
        AheadUse::Made { .. } => unreachable!("it predicted"),
    };
    (used, pair)
}

#[test]
fn packs_are_used_once_by_the_first_images_of_sessions_of_their_client_and_spare_the_rest_of_the_work() {
    let three = case(3);
    let at = Stocked::new(&three, ROOM);
    assert_eq!(predict(&at, &three, ALICE, 1).0, None);
    make(&at, ALICE, 4, 2);
    make(&at, BOB, 1, 3);
    assert_eq!([at.files(Some(ALICE)).len(), at.files(Some(BOB)).len(), at.files(None).len()], [4, 1, 5]);

    let (used, pair) = predict(&at, &three, ALICE, 4);
    assert_eq!((used, pair.client.receipt.traffic.offline.up_bytes), (Some(3), 0), "all have one");
    let declared = pair.client.receipt.plan.cost;
    let all = declared.ahead.expect("a plan with packs").setup_all;
    assert!(all.rounds < declared.setup.rounds && all.down_bytes < declared.setup.down_bytes / 4);
    assert_eq!([at.files(Some(ALICE)).len(), at.files(None).len()], [1, 2]);
    assert_eq!(predict(&at, &three, ALICE, 5).0, Some(1), "the others are made in the session");
    assert_eq!(predict(&at, &three, ALICE, 6).0, None);
    assert_eq!(predict(&at, &three, BOB, 7).0, Some(1), "another client's are its own");
    assert_eq!((at.taken.count(), at.files(None).len()), (10, 0));
}

#[test]
fn packs_of_several_sessions_are_used_one_after_the_other() {
    let three = case(3);
    let at = Stocked::new(&three, ROOM);
    (0..5).for_each(|seed| make(&at, ALICE, 1, seed));
    assert_eq!(predict(&at, &three, ALICE, 6).0, Some(3));
    assert_eq!(predict(&at, &three, ALICE, 7).0, Some(2));
    assert_eq!((at.taken.count(), at.files(None).len()), (10, 0));
}

#[test]
fn a_side_that_is_set_back_to_an_older_state_has_no_pack_used_again() {
    let three = case(3);
    for back in [Some(ALICE), None] {
        let at = Stocked::new(&three, ROOM);
        make(&at, ALICE, 4, 1);
        let older = at.copy(back);
        assert_eq!(predict(&at, &three, ALICE, 2).0, Some(3));
        at.restore(back, &older);
        assert_eq!(at.files(back).len(), 4, "it has them all again");
        assert_eq!(predict(&at, &three, ALICE, 3).0, Some(1), "only the one that both have was not used");
        assert_eq!(at.taken.count(), 8);
        assert_eq!(predict(&at, &three, ALICE, 4).0, None);
        assert!(at.files(Some(ALICE)).is_empty() && at.files(None).is_empty(), "the others are dropped");

        make(&at, ALICE, 3, 5);
        at.restore(back, &older);
        let used = predict(&at, &three, ALICE, 6).0;
        assert!(used.is_none_or(|used| used == 0), "it lost what was made since: {used:?}");
        assert_eq!(at.taken.count(), 8);
    }
}

#[test]
fn a_damaged_pack_is_dropped_at_both_sides_and_the_others_are_used() {
    let three = case(3);
    for side in [Some(ALICE), None] {
        let at = Stocked::new(&three, ROOM);
        make(&at, ALICE, 3, 1);
        let files = at.files(side);
        let whole = std::fs::read(&files[0]).expect("a file");
        std::fs::write(&files[0], &whole[..whole.len() / 2]).expect("a file");
        let mut changed = std::fs::read(&files[2]).expect("a file");
        changed[60] ^= 1;
        std::fs::write(&files[2], changed).expect("a file");
        assert_eq!(predict(&at, &three, ALICE, 2).0, Some(1), "the second is whole");
        assert_eq!(at.files(side).len(), 0);
        make(&at, ALICE, 3, 3);
        assert_eq!(predict(&at, &three, ALICE, 4).0, Some(3));
        at.taken.count();
    }
}

#[test]
fn a_pack_that_turns_out_to_be_changed_ends_its_session_and_no_other() {
    let three = case(3);
    for side in [Some(ALICE), None] {
        let at = Stocked::new(&three, ROOM);
        make(&at, ALICE, 4, 1);
        let file = &at.files(side)[1];
        let mut changed = std::fs::read(file).expect("a file");
        changed[100] ^= 1;
        std::fs::write(file, changed).expect("a file");
        let failed = at.session(ALICE, Purpose::Predict, 3, 2).expect_err("the second image has no pack");
        let own = if side.is_some() { failed.client } else { failed.server }.expect("an error");
        assert_eq!(own.blame(), Blame::Io);
        assert!(own.to_string().contains("it is changed"), "{own}");
        assert_eq!(predict(&at, &three, ALICE, 3).0, Some(2), "the others are used");
        assert!(at.files(Some(ALICE)).is_empty() && at.files(None).is_empty());
        at.taken.count();
    }
}

#[test]
fn a_server_that_keeps_no_packs_for_a_while_does_not_make_its_clients_forget_theirs() {
    let three = case(3);
    let mut at = Stocked::new(&three, ROOM);
    make(&at, ALICE, 3, 1);
    at.keeps = false;
    assert_eq!(predict(&at, &three, ALICE, 2).0, Some(0));
    assert_eq!([at.files(Some(ALICE)).len(), at.files(None).len()], [3, 3]);
    at.keeps = true;
    assert_eq!(predict(&at, &three, ALICE, 3).0, Some(3));
}

#[test]
fn packs_are_neither_made_nor_used_beyond_the_memory_a_client_allows() {
    let mut three = case(3);
    let plan = {
        let at = Stocked::new(&three, ROOM);
        make(&at, ALICE, 1, 1);
        predict(&at, &three, ALICE, 2).1.client.receipt.plan.clone()
    };
    let pack = plan.cost.ahead.expect("a plan with packs").pack_bytes;
    let with = plan.client_memory_bytes + 2 * pack;
    three.wish.max_memory = Some(with);
    let enough = Stocked::new(&three, ROOM);
    make(&enough, ALICE, 3, 3);
    let stock = enough.copy(Some(ALICE));
    assert_eq!(predict(&enough, &three, ALICE, 4).0, Some(3));
    let mut tight = case(3);
    tight.wish.max_memory = Some(with - 1);
    let at = Stocked::new(&tight, ROOM);
    let failed = at.session(ALICE, Purpose::MakeAhead, 1, 5).expect_err("it is more than is allowed");
    let error = failed.client.expect("an error");
    assert!(error.blame() == Blame::Refused && error.to_string().contains("--max-memory"), "{error}");
    at.session(ALICE, Purpose::Predict, 3, 6).expect("a prediction without packs");
    std::fs::create_dir_all(at.dir(Some(ALICE))).expect("a folder");
    at.restore(Some(ALICE), &stock);
    assert_eq!(predict(&at, &tight, ALICE, 7).0, None, "it says nothing of those it has");
    assert_eq!(at.files(Some(ALICE)).len(), 3);
}

/// What happens to a message.
#[derive(Clone, Copy)]
enum Spoil {
    /// A bit of it is turned over.
    Flip,
    /// The link ends in its place.
    Cut,
}

/// Makes three packs over a wire that spoils the last message of the client's about them, or one `before` it; how many both sides
/// have then.
fn spoilt(case: &Case, before: usize, spoil: Spoil) -> [usize; 2] {
    let (offline, sent) = (Kind::System(1), Arc::new(AtomicUsize::new(0)));
    let over = |sent: &Arc<AtomicUsize>, spoil: Option<(usize, Spoil)>| {
        let sent = sent.clone();
        let change = move |kind, mut body: Vec<u8>| {
            let number = if kind == offline { sent.fetch_add(1, Ordering::SeqCst) } else { usize::MAX };
            match spoil.filter(|(at, _)| *at == number) {
                None => {}
                Some((_, Spoil::Flip)) => {
                    let middle = body.len() / 2;
                    body[middle] ^= 1;
                }
                Some((_, Spoil::Cut)) => return None,
            }
            Some((kind, body))
        };
        move |wire| Box::new(Tampered { wire, change }) as Box<dyn Wire>
    };
    let images = 3 * case.wish.group.unwrap_or(1) as usize;
    let whole = Stocked::new(case, ROOM);
    whole.session_over(ALICE, Purpose::MakeAhead, images, 1, over(&sent, None)).expect("packs");
    assert_eq!([whole.files(Some(ALICE)).len(), whole.files(None).len()], [3, 3]);
    let spoil = Some((sent.load(Ordering::SeqCst) - 1 - before, spoil));
    let at = Stocked::new(case, ROOM);
    let over = over(&Arc::default(), spoil);
    let failed =
        at.session_over(ALICE, Purpose::MakeAhead, images, 1, over).expect_err("a message is spoilt");
    assert!(failed.client.is_some() && failed.server.is_some());
    [at.files(Some(ALICE)).len(), at.files(None).len()]
}

#[test]
fn packs_of_a_session_stay_where_its_link_ends_and_go_where_a_check_fails() {
    assert_eq!(spoilt(&case(1), 0, Spoil::Cut), [2, 2]);
    let silent = silent(1);
    assert_eq!(spoilt(&silent, 0, Spoil::Cut), [2, 2]);
    // The client's two messages about the last pack, and two about the one before it.
    for before in [1, 2, 3] {
        assert_eq!(spoilt(&silent, before, Spoil::Flip), [0, 0], "{before} before the last");
    }
    // What the client finds when the server has everything, it alone forgets: the server's are of no use to anybody.
    assert_eq!(spoilt(&silent, 0, Spoil::Flip)[0], 0);
}

#[test]
fn packs_stay_at_both_sides_where_the_disk_of_one_is_full() {
    let three = case(3);
    let full = |fit, kept| {
        let mut at = Stocked::new(&three, ROOM);
        at.fit = fit;
        let failed = at.session(ALICE, Purpose::MakeAhead, 4, 1).expect_err("a disk is full");
        assert_eq!([at.files(Some(ALICE)).len(), at.files(None).len()], kept);
        at.fit = [usize::MAX; 2];
        assert_eq!(predict(&at, &three, ALICE, 2).0, Some(3), "those that both have");
        failed
    };
    // The client has all and waits for the server's word.
    let of_server = full([usize::MAX, 3], [4, 3]);
    assert!(matches!(of_server.server, Some(Error::Io(_))), "{:?}", of_server.server);
    let heard = of_server.client;
    assert!(matches!(heard, Some(Error::Link(LinkError::Aborted(Notice::Unable)))), "{heard:?}");
    // The server may have said its last word before.
    let of_client = full([3, usize::MAX], [3, 4]);
    assert!(matches!(of_client.client, Some(Error::Io(_))), "{:?}", of_client.client);
}

#[test]
fn packs_of_silent_plans_are_of_groups_of_images_and_used_as_those_of_others() {
    let case = silent(2 * GROUP + 1);
    let at = Stocked::new(&case, ROOM);
    let made = make_for(&at, ALICE, 3 * GROUP + 1, 4, 1);
    assert!(made.client.receipt.plan.parameters.contains("silent OT"));
    assert_eq!([at.files(Some(ALICE)).len(), at.files(None).len()], [4, 4]);
    let expected: Vec<Option<usize>> = case.expected().iter().map(Tensor::argmax).collect();
    for (seed, groups, left) in [(2, 3, 1), (3, 1, 0)] {
        let pair = at.session(ALICE, Purpose::Predict, case.inputs.len(), seed).expect("a prediction");
        costs::check(&pair);
        let found = pair.client.outputs.iter().map(|answer| answer.as_ref().ok()?.argmax());
        assert!(found.eq(expected.iter().copied()));
        assert_eq!(pair.client.receipt.ahead, AheadUse::Used { groups });
        assert_eq!([at.files(Some(ALICE)).len(), at.files(None).len()], [left; 2]);
    }
    assert_eq!(at.taken.count(), 8);
}

/// Images of a group for which OTs are so many that silent ones pay.
const GROUP: usize = 3;

/// A network with so many comparisons, in groups of images, that OTs are silent on a slow link.
fn silent(inputs: usize) -> Case {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let model = load_model(&root.join("models/mnist-bm3")).expect("the shipped model loads");
    let input = |i| {
        let image = load_image(&root.join(format!("samples/mnist/{i:04}.png"))).expect("a shipped image");
        tensor(&model.public, &image).expect("a shipped image fits the shipped model")
    };
    let inputs = (0..inputs).map(input).collect();
    let wish = Wish { plan: Some("wan".into()), group: Some(GROUP as u32), ..Wish::default() };
    Case { system: "hybrid", wish, model, inputs }
}

#[test]
fn a_pack_under_another_packs_name_or_another_clients_is_none() {
    let three = case(3);
    let at = Stocked::new(&three, ROOM);
    make(&at, ALICE, 2, 1);
    let files = at.files(None);
    std::fs::copy(&files[0], &files[1]).expect("a copy");
    assert_eq!(predict(&at, &three, ALICE, 2).0, Some(1));
    make(&at, ALICE, 1, 3);
    make(&at, BOB, 1, 4);
    let [alice, bob] =
        [ALICE, BOB].map(|of| at.files(None).into_iter().find(|f| f.to_string_lossy().contains(&of.hex())));
    let (alice, bob) = (alice.expect("a file"), bob.expect("a file"));
    std::fs::copy(alice, bob).expect("a copy");
    assert_eq!(predict(&at, &three, BOB, 5).0, Some(0));
    assert_eq!(predict(&at, &three, ALICE, 6).0, Some(1));
    at.taken.count();
}

#[test]
fn a_server_refuses_packs_beyond_its_room_and_drops_first_what_the_client_lost() {
    let one = case(1);
    let sized = Stocked::new(&one, ROOM);
    make(&sized, ALICE, 1, 1);
    let file = std::fs::metadata(&sized.files(None)[0]).expect("a file").len() + 4096;
    // Half of it for one client: two packs.
    let at = Stocked::new(&one, 4 * file);
    let refused = |client, packs, seed, words: &str| {
        let failed = at.session(client, Purpose::MakeAhead, packs, seed).expect_err("there is no room");
        let (client, server) = (failed.client.expect("an error"), failed.server.expect("an error"));
        assert_eq!((client.blame(), server.blame()), (Blame::Refused, Blame::Refused));
        for why in [client.to_string(), server.to_string()] {
            assert!(why.contains(words), "{why}");
        }
    };
    refused(ALICE, 3, 2, "has room for 2 packs");
    make(&at, ALICE, 2, 3);
    refused(ALICE, 1, 4, "no room");
    make(&at, BOB, 2, 5);
    refused(Digest([0xc0; 32]), 1, 6, "no room");
    assert_eq!(at.files(None).len(), 4);
    std::fs::remove_file(&at.files(Some(ALICE))[0]).expect("a file");
    make(&at, ALICE, 1, 7);
    assert_eq!([at.files(Some(ALICE)).len(), at.files(None).len()], [2, 4]);
    refused(ALICE, 1, 8, "no room");
}
