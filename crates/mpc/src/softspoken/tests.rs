use super::*;
use crate::Direction;
use crate::base_ot;
use oblivia_base::{Prg, Secret};
use proptest::prelude::*;

fn rng(seed: u8) -> Prg {
    Prg::new(&[seed; 32], "softspoken tests", &[])
}

fn label() -> Label {
    Label { session: Digest([9; 32]), epoch: 0, direction: Direction::ServerSends }
}

/// Both ends after the base OTs, and the message between them.
fn ends(field: FieldBits) -> (SoftSpokenSender, SoftSpokenReceiver, Vec<u8>) {
    let (sender, receiver, message) = parts(field);
    let sender = sender(&message).unwrap();
    (sender, receiver, message)
}

type Make = Box<dyn Fn(&[u8]) -> Result<SoftSpokenSender, MpcError>>;

fn parts(field: FieldBits) -> (Make, SoftSpokenReceiver, Vec<u8>) {
    let delta = fresh_delta(&mut rng(1));
    let (maker, offer) = base_ot::BaseOtSender::start(&label(), &mut rng(2));
    let choices = SoftSpokenSender::base_choices(&delta);
    let (reply, chosen) = base_ot::answer(&label(), &choices, &offer, &mut rng(3)).unwrap();
    let both = maker.finish(&reply).unwrap();
    let (receiver, message) = SoftSpokenReceiver::new(&label(), field, &both).unwrap();
    assert_eq!(message.len(), field.setup_bytes());
    let make: Make = Box::new(move |message| {
        SoftSpokenSender::new(&label(), field, Secret::new(*delta.expose()), &chosen, message)
    });
    (make, receiver, message)
}

const FIELDS: [FieldBits; 3] = [FieldBits::Two, FieldBits::Four, FieldBits::Eight];

#[test]
fn every_tag_is_the_key_plus_its_choice_times_delta() {
    for field in FIELDS {
        let (mut sender, mut receiver, _) = ends(field);
        for n in [1, 127, 128, 129, 3968, 3969, 4096, 10_000] {
            let (message, tags) = receiver.batch(n).unwrap();
            assert_eq!(message.len(), field.batch_bytes(n));
            let (keys, next) = sender.batch(n, &message).unwrap();
            sender = next;
            let delta = *sender.delta().expose();
            assert_eq!((keys.iter().count(), tags.iter().count()), (n, n));
            for (k, t) in keys.iter().zip(tags.iter()) {
                assert_eq!((k & 1, *t), (0, if t & 1 == 1 { k ^ delta } else { *k }));
            }
            let ones = tags.iter().filter(|t| **t & 1 == 1).count();
            assert!(n < 3968 || (ones * 2).abs_diff(n) < 6 * n.isqrt(), "{ones} of {n}");
        }
    }
}

#[test]
fn any_flipped_bit_of_a_batch_is_caught() {
    for field in FIELDS {
        let (make, mut receiver, setup) = parts(field);
        let n = 4200;
        let (message, _) = receiver.batch(n).unwrap();
        let differences = message.len() - 48;
        let per_tree = 16 * 32;
        // Every part of the message: each tree of the first chunk, the last chunk, the block that hides, the hash, the
        // digest.
        let of_trees = (0..field.trees() - 1).map(|j| j * per_tree + j % per_tree);
        let ends = [differences - 1, differences, message.len() - 33, message.len() - 32, message.len() - 1];
        for at in of_trees.step_by(5).chain(ends) {
            let mut damaged = message.clone();
            damaged[at] ^= 0x40;
            let refused = make(&setup).unwrap().batch(n, &damaged).unwrap_err();
            assert_eq!(refused, MpcError::Check { what: "check of the extension" }, "byte {at}");
        }
        assert!(make(&setup).unwrap().batch(n, &message).is_ok());
    }
}

#[test]
fn wrong_lengths_and_counts_are_refused() {
    let (make, mut receiver, setup) = parts(FieldBits::Four);
    let (message, _) = receiver.batch(500).unwrap();
    assert!(matches!(make(&setup[1..]).unwrap_err(), MpcError::MessageBytes { .. }));
    for wrong in [&message[1..], &[&message[..], &[0]].concat(), &[]] {
        assert!(matches!(make(&setup).unwrap().batch(500, wrong), Err(MpcError::MessageBytes { .. })));
    }
    assert!(matches!(make(&setup).unwrap().batch(700, &message), Err(MpcError::MessageBytes { .. })));
    for n in [0, MAX_BATCH + 1] {
        assert!(matches!(receiver.batch(n), Err(MpcError::Argument { .. })));
    }
}

#[test]
fn a_batch_sent_twice_is_caught() {
    let (sender, mut receiver, _) = ends(FieldBits::Four);
    let (message, _) = receiver.batch(300).unwrap();
    let (_, sender) = sender.batch(300, &message).unwrap();
    assert!(sender.batch(300, &message).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn random_damage_to_a_batch_never_passes_or_panics(at: prop::sample::Index, by in 1u8..) {
        let (make, mut receiver, setup) = parts(FieldBits::Eight);
        let (mut message, _) = receiver.batch(200).unwrap();
        let at = at.index(message.len());
        message[at] ^= by;
        prop_assert!(make(&setup).unwrap().batch(200, &message).is_err());
    }
}
