//! System `leveled` against peers that send what only a careful reader refuses.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that is wrong may panic")]

mod masks;

use masks::{HEAD, INPUT, is_half, params, small_share, uploads};
use oblivia::{Machine, Prediction};
use oblivia_base::codec::Writer;
use oblivia_base::{Blame, Prg, SessionRng};
use oblivia_conformance::{Case, Pair, hostile, leaks, over_memory, small};
use oblivia_he::Params;
use oblivia_nn::Tensor;
use oblivia_protocol::session::{agree_as_client, agree_as_server};
use oblivia_protocol::{Channel, Error, Expect, Kind, LinkError, LoggedMessage, Notice, Role, Wish};
use oblivia_ring::{packing, sample};
use std::collections::BTreeSet;

const KEYS: Kind = Kind::System(0);
const OUTPUT: Kind = Kind::System(2);
const OFFER: Kind = Kind::System(3);
const ANSWER: Kind = Kind::System(4);

/// Under the plan that sends several ciphertexts per sample.
fn case(inputs: usize) -> Case {
    small("leveled", Wish { plan: Some("diagonal".into()), ..Wish::default() }, inputs)
}

fn honest(inputs: usize) -> Vec<LoggedMessage> {
    over_memory(&case(inputs), 3).unwrap().client.log.unwrap()
}

fn body(log: &[LoggedMessage], kind: Kind) -> Vec<u8> {
    log.iter().find(|m| m.kind == kind).unwrap().body.clone()
}

#[test]
fn no_two_ciphertexts_of_a_session_have_a_seed_or_a_mask_in_common() {
    let uploads = uploads(&params(&case(1)), &honest(3));
    assert_eq!(uploads.len(), 12, "four taps, three samples");
    let seeds: BTreeSet<[u8; 32]> = uploads.iter().map(|(seed, _)| *seed).collect();
    assert_eq!(seeds.len(), uploads.len(), "a seed comes twice");
    for (i, (_, x)) in uploads.iter().enumerate() {
        for (j, (_, y)) in uploads.iter().enumerate().skip(i + 1) {
            // With a common mask the difference would be the difference of two messages, which is small.
            let mut difference = x.clone();
            difference.sub_assign(y);
            let share = small_share(difference);
            assert!(is_half(share), "ciphertexts {i} and {j}: {share}");
        }
    }
}

/// How the server ends when an honest client's keys or input are changed, and the client is told that it failed.
fn server_with(log: &[LoggedMessage], kind: Kind, change: impl Fn(&mut Vec<u8>) + Sync) -> Error {
    let case = case(1);
    hostile::server_against(&case, async |wire| {
        let mut channel = Channel::with_peer(Role::Client, Role::Server, Box::new(wire));
        let mut rng = SessionRng::insecure_seeded(5);
        let systems = oblivia_systems::SYSTEMS;
        agree_as_client(&mut channel, &mut rng, systems, &case.request(), &mut |_, _| Ok(())).await.unwrap();
        channel.send(Role::Server, OFFER, body(log, OFFER)).await.unwrap();
        channel.recv(Role::Server, Expect::exactly(ANSWER, 1)).await.unwrap();
        for next in [KEYS, INPUT] {
            let mut body = body(log, next);
            if next == kind {
                change(&mut body);
            }
            channel.send(Role::Server, next, body).await.unwrap();
            if next == kind {
                break;
            }
        }
        let heard = channel.recv(Role::Server, Expect::at_most(Kind::System(0xff), 0)).await;
        assert!(matches!(heard, Err(Error::Link(LinkError::Aborted(Notice::Failed)))), "{heard:?}");
    })
}

/// Flips the bits of a header field, or makes residues larger than any prime.
fn spoil(part: &mut [u8]) {
    match part {
        [byte] => *byte = !*byte,
        residues => residues.fill(0xff),
    }
}

#[test]
fn every_part_of_the_keys_is_checked_before_the_server_uses_them() {
    let log = honest(1);
    let length = body(&log, KEYS).len();
    // Ids of parameters and request; then residues at the start, inside and at the end.
    let parts = [0..1, 31..32, 32..33, 63..64, 96..112, length / 3..length / 3 + 16, length - 16..length];
    for part in parts {
        let error = server_with(&log, KEYS, |body| spoil(&mut body[part.clone()]));
        assert_eq!(error.blame(), Blame::InvalidMessage, "{part:?}: {error}");
    }
}

#[test]
fn every_part_of_an_input_is_checked_before_the_server_uses_it() {
    let log = honest(1);
    let length = body(&log, INPUT).len();
    let one = length / 4;
    let start = HEAD + 32;
    // Id of the parameters, level, scale, of the first and of another ciphertext; then residues.
    let parts = [
        0..1,
        31..32,
        32..33,
        33..34,
        40..41,
        one..one + 1,
        one + 32..one + 33,
        start..start + 16,
        length - 16..length,
    ];
    for part in parts {
        let error = server_with(&log, INPUT, |body| spoil(&mut body[part.clone()]));
        assert_eq!(error.blame(), Blame::InvalidMessage, "{part:?}: {error}");
    }
}

/// What the client has when the server answers its first input with `answer`, and what the server hears then.
fn client_with(case: &Case, answer: Option<Vec<u8>>) -> (Result<Prediction, Error>, LinkError) {
    let mut heard = None;
    let end = hostile::client_with(case, async |wire| {
        let machine = Machine::new(1).unwrap();
        let models = case.models(&machine);
        let mut channel = Channel::with_peer(Role::Server, Role::Client, Box::new(wire));
        let mut rng = SessionRng::insecure_seeded(6);
        let (agreed, _) = agree_as_server(&mut channel, &mut rng, &models).await.unwrap();
        channel.recv(Role::Client, Expect::exactly(OFFER, 33)).await.unwrap();
        channel.send(Role::Client, ANSWER, vec![0]).await.unwrap();
        let keys = Expect::exactly(KEYS, agreed.plan.key_bytes as usize);
        channel.recv(Role::Client, keys).await.unwrap();
        if let Some(answer) = answer {
            channel.recv(Role::Client, Expect::at_most(INPUT, 1 << 30)).await.unwrap();
            channel.send(Role::Client, OUTPUT, answer).await.unwrap();
        }
        let next = channel.recv(Role::Client, Expect::at_most(Kind::System(0xff), 0)).await;
        heard = match next {
            Err(Error::Link(e)) => Some(e),
            other => panic!("the client goes on: {other:?}"),
        };
    });
    (end, heard.unwrap())
}

/// Well-formed, of the right parameters, level and scale, and it decrypts to noise.
fn noise(params: &Params, good: &[u8]) -> Vec<u8> {
    let mut w = Writer::new();
    w.raw(&good[..HEAD]);
    let mut rng = Prg::new(&[4; 32], "noise", &[]);
    for _ in 0..2 {
        packing::write_poly(&sample::uniform(params.basis(1).unwrap(), &mut rng), &mut w);
    }
    w.into_bytes()
}

#[test]
fn a_server_is_told_the_same_of_every_answer_that_is_malformed() {
    let good = body(&honest(1), OUTPUT);
    let params = params(&case(1));
    let mut level = good.clone();
    level[32] = 2;
    let mut open = good.clone();
    open[HEAD + packing::poly_bytes(params.basis(1).unwrap())..].fill(0);
    let mut residue = good.clone();
    residue[HEAD..HEAD + 16].fill(0xff);
    let cases = [
        (level, Blame::InvalidMessage),
        (open, Blame::InvalidMessage),
        (residue, Blame::InvalidMessage),
        (vec![0xff; good.len()], Blame::InvalidMessage),
        (good[1..].to_vec(), Blame::PeerMisbehaved),
    ];
    for (answer, blame) in cases {
        let (end, heard) = client_with(&case(1), Some(answer));
        let error = end.unwrap_err();
        assert_eq!(error.blame(), blame, "{error}");
        assert_eq!(heard, LinkError::Aborted(Notice::Failed));
    }
}

#[test]
fn a_server_cannot_tell_whether_its_answer_decrypts() {
    let good = body(&honest(1), OUTPUT);
    let noise = noise(&params(&case(1)), &good);
    assert_eq!(noise.len(), good.len());
    let (end, heard) = client_with(&case(1), Some(noise));
    let answer = end.unwrap().outputs.remove(0).unwrap_err();
    assert_eq!(answer.blame(), Blame::NumericBound, "{answer}");
    assert_eq!(heard, LinkError::Closed { during: "waiting for a message" });
}

#[test]
fn a_server_cannot_tell_which_inputs_are_outside_the_published_range() {
    let mut outside = case(1);
    let shape = outside.inputs[0].shape().clone();
    outside.inputs[0] = Tensor::new(shape.clone(), vec![1e30; shape.elements()]).unwrap();
    let pair = over_memory(&outside, 5).unwrap();
    let error = pair.client.outputs[0].as_ref().unwrap_err();
    assert_eq!(error.blame(), Blame::Input, "{error}");
    let outline = |pair: &Pair| leaks::outline(pair.client.log.as_deref().unwrap());
    assert_eq!(outline(&pair), outline(&over_memory(&case(1), 5).unwrap()));
    assert_eq!(pair.server.samples, 1);
}
