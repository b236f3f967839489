//! Evaluation keys of `leveled` that outlive a session.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use oblivia_base::Digest;
use oblivia_conformance::kept::{Keeper, Secrets};
use oblivia_conformance::{Case, Pair, answers, costs, hostile, leaks, mnist, small};
use oblivia_protocol::{Direction, KeyUse, Kind, SecretStore, Wish};
use std::collections::BTreeSet;
use std::sync::Arc;

const KEYS: Kind = Kind::System(0);
const INPUT: Kind = Kind::System(1);
const OFFER: Kind = Kind::System(3);
const ANSWER: Kind = Kind::System(4);
const ALICE: Digest = Digest([0xa1; 32]);
const BOB: Digest = Digest([0xb0; 32]);
const PLENTY: u64 = 1 << 30;

/// Under the plan that sends several ciphertexts per sample.
fn case(inputs: usize) -> Case {
    small("leveled", Wish { plan: Some("diagonal".into()), ..Wish::default() }, inputs)
}

fn store() -> Arc<Secrets> {
    Arc::new(Secrets::default())
}

/// Some(store), as a session takes it.
fn with(store: &Arc<Secrets>) -> Option<Arc<dyn SecretStore>> {
    Some(store.clone())
}

/// A session that is right in every respect and whose keys came like that.
fn right(case: &Case, pair: Pair, how: KeyUse) -> Pair {
    answers::check(case, &pair);
    costs::check(&pair);
    assert_eq!((pair.client.receipt.keys.how, pair.server.keys.how), (how, how));
    let sent = if how == KeyUse::Sent { pair.server.plan.key_bytes } else { 0 };
    assert_eq!((pair.client.receipt.keys.sent_bytes, pair.server.keys.sent_bytes), (sent, sent));
    pair
}

fn bodies(pair: &Pair, kind: Kind) -> Vec<Vec<u8>> {
    let log = pair.client.log.as_ref().unwrap();
    log.iter().filter(|m| m.kind == kind).map(|m| m.body.clone()).collect()
}

/// Seeds of the keys and of the input ciphertexts: behind two ids; behind parameter id, level and scale.
fn seeds(pair: &Pair) -> Vec<Vec<u8>> {
    let keys = bodies(pair, KEYS).into_iter().map(|b| b[64..96].to_vec());
    let inputs = bodies(pair, INPUT).into_iter().flat_map(|b| {
        let one = b.len() / 4;
        b.chunks(one).map(|ct| ct[41..73].to_vec()).collect::<Vec<_>>()
    });
    keys.chain(inputs).collect()
}

#[test]
fn the_second_session_of_a_client_sends_no_keys_and_every_session_costs_what_it_declared() {
    let case = case(2);
    let server = Keeper::new(&case, PLENTY);
    let store = store();
    let cold = right(&case, server.session(ALICE, with(&store), 1), KeyUse::Sent);
    let kept = store.all();
    assert_eq!(kept.len(), 1);
    let fill = server.keys.fill();
    assert_eq!((fill.entries, fill.bytes > cold.server.plan.session_memory_bytes), (1, true));
    let mut seen: BTreeSet<_> = seeds(&cold).into_iter().collect();
    assert_eq!(seen.len(), 1 + 8, "one of the keys, four taps of two samples");
    for seed in 2..5 {
        let warm = right(&case, server.session(ALICE, with(&store), seed), KeyUse::Reused);
        let saved = cold.client.receipt.traffic.setup.up_bytes - warm.client.receipt.traffic.setup.up_bytes;
        assert_eq!(saved, 12 + cold.server.plan.key_bytes);
        assert_eq!(bodies(&warm, ANSWER), [[1]]);
        for seed in seeds(&warm) {
            assert!(seen.insert(seed), "a seed of an earlier session");
        }
    }
    assert_eq!((store.all(), server.keys.fill()), (kept, fill), "nothing new is kept");
}

#[test]
fn keys_the_server_has_lost_are_made_anew_under_the_same_secret_key() {
    let case = case(1);
    let (server, store) = (Keeper::new(&case, PLENTY), store());
    let cold = right(&case, server.session(ALICE, with(&store), 1), KeyUse::Sent);
    let before = store.all();
    server.keys.clear();
    let again = right(&case, server.session(ALICE, with(&store), 2), KeyUse::Sent);
    assert_eq!(bodies(&again, ANSWER), [[0]]);
    let outline = |pair: &Pair| leaks::outline(pair.client.log.as_deref().unwrap());
    assert_eq!(outline(&again), outline(&cold));
    let [a, b] = [&cold, &again].map(|pair| bodies(pair, KEYS).remove(0));
    let same = a[96..].iter().zip(&b[96..]).filter(|(a, b)| a == b).count();
    // One byte in 256 agrees by chance.
    assert!(same < a.len() / 200, "{same} of {} bytes agree", a.len());
    let after = store.all();
    let [a, b] = [&before, &after].map(|kept| kept.values().next().unwrap().clone());
    assert_ne!(a[1..33], b[1..33], "another fingerprint");
    assert_eq!(a[33..], b[33..], "the same secret key");
    right(&case, server.session(ALICE, with(&store), 3), KeyUse::Reused);
    // A server that was restarted, or keeps nothing, has none either; another server has a key of its own.
    let mut other = Keeper::new(&case, 0);
    right(&case, other.session(ALICE, with(&store), 4), KeyUse::Sent);
    right(&case, other.session(ALICE, with(&store), 5), KeyUse::Sent);
    assert_eq!(store.all().len(), 1);
    other.identity = Digest([0x11; 32]);
    let elsewhere = right(&case, other.session(ALICE, with(&store), 6), KeyUse::Sent);
    assert_eq!(bodies(&elsewhere, OFFER)[0][0], 1, "no fingerprint is shown to another server");
    let keys: BTreeSet<_> = store.all().into_values().map(|kept| kept[33..].to_vec()).collect();
    assert_eq!(keys.len(), 2);
}

#[test]
fn another_client_with_the_same_fingerprint_gets_and_learns_nothing() {
    let case = case(1);
    let (server, alices) = (Keeper::new(&case, PLENTY), store());
    right(&case, server.session(ALICE, with(&alices), 1), KeyUse::Sent);
    let stolen = Arc::new(Secrets::stolen(&alices));
    let thief = right(&case, server.session(BOB, with(&stolen), 2), KeyUse::Sent);
    let offered = bodies(&thief, OFFER).remove(0);
    assert_eq!(offered[0], 2, "the thief shows the fingerprint");
    assert_eq!(offered[1..], alices.all().values().next().unwrap()[1..33]);
    assert_eq!(bodies(&thief, ANSWER), [[0]], "as of any fingerprint the server has not seen");
    right(&case, server.session(ALICE, with(&alices), 3), KeyUse::Reused);
    assert_eq!(server.keys.fill().entries, 2);
}

#[test]
fn a_client_without_memory_leaves_nothing_behind() {
    let case = case(1);
    let server = Keeper::new(&case, PLENTY);
    for seed in 1..3 {
        let pair = right(&case, server.session(ALICE, None, seed), KeyUse::Sent);
        assert_eq!(bodies(&pair, OFFER), [[0; 33]]);
    }
    assert_eq!(server.keys.fill().entries, 0);
}

#[test]
fn a_kept_key_that_is_damaged_or_of_another_version_is_replaced() {
    let case = case(1);
    let (server, store) = (Keeper::new(&case, PLENTY), store());
    right(&case, server.session(ALICE, with(&store), 1), KeyUse::Sent);
    let changes: [fn(&mut Vec<u8>); 5] =
        [|k| k[0] = 9, |k| k.truncate(40), |k| k.clear(), |k| k[33] ^= 1, |k| k[100] = 0xff];
    for (i, change) in changes.into_iter().enumerate() {
        store.spoil(change);
        let seed = 10 * i as u64;
        let pair = right(&case, server.session(ALICE, with(&store), seed + 3), KeyUse::Sent);
        assert_eq!(bodies(&pair, OFFER)[0][0], 1, "it offers none");
        right(&case, server.session(ALICE, with(&store), seed + 4), KeyUse::Reused);
    }
}

#[test]
fn warm_messages_have_the_same_outline_for_every_input() {
    let [a, b] = [0, 1].map(|i| {
        let mut case = case(2);
        case.inputs.remove(i);
        let (server, store) = (Keeper::new(&case, PLENTY), store());
        right(&case, server.session(ALICE, with(&store), 1), KeyUse::Sent);
        let warm = right(&case, server.session(ALICE, with(&store), 2), KeyUse::Reused);
        leaks::outline(warm.client.log.as_deref().unwrap())
    });
    assert_eq!(a, b);
    let [_, _, _, offer, answer, input, output] = a[..] else { panic!("seven messages, not {a:?}") };
    assert_eq!([offer, answer].map(|m| (m.1, m.2)), [(OFFER, 33), (ANSWER, 1)]);
    assert_eq!([input, output].map(|m| m.0), [Direction::Up, Direction::Down]);
}

#[test]
fn models_of_equal_parameters_and_request_share_keys_and_others_do_not() {
    let (small, digits) = (case(1), mnist("leveled", Wish::default(), 1));
    let (server, store) = (Keeper::new(&small, PLENTY), store());
    right(&small, server.session(ALICE, with(&store), 1), KeyUse::Sent);
    let mut scaled = case(1);
    scaled.model.public.name = "another".into();
    let mut another = Keeper::new(&scaled, 0);
    another.keys = server.keys.clone();
    right(&scaled, another.session(ALICE, with(&store), 2), KeyUse::Reused);
    let mut larger = Keeper::new(&digits, 0);
    larger.keys = server.keys.clone();
    right(&digits, larger.session(ALICE, with(&store), 3), KeyUse::Sent);
    assert_eq!((store.all().len(), server.keys.fill().entries), (2, 2));
}

#[test]
fn a_server_that_claims_keys_it_was_never_offered_or_answers_nonsense_is_refused() {
    for answer in [vec![1], vec![2], vec![0xff]] {
        let case = case(1);
        let error = hostile::client_against(&case, async |wire| {
            let mut channel = hostile::agreed_server(&case, wire).await;
            let offer = oblivia_protocol::Expect::exactly(OFFER, 33);
            channel.recv(oblivia_protocol::Role::Client, offer).await.unwrap();
            channel.send(oblivia_protocol::Role::Client, ANSWER, answer.clone()).await.unwrap();
            hostile::hears_failed(&mut channel, oblivia_protocol::Role::Client).await;
        });
        assert_eq!(error.blame(), oblivia_base::Blame::InvalidMessage, "{error}");
        assert!(error.to_string().contains("KeysAnswer"), "{error}");
    }
}
