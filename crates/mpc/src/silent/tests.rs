use super::*;
use crate::{CotReceiver, CotSender, Direction};
use oblivia_base::Prg;
use oblivia_base::seed::EntropySource;

fn rng(seed: u8) -> Prg {
    Prg::new(&[seed; 32], "silent tests", &[])
}

fn label() -> Label {
    Label { session: Digest([5; 32]), epoch: 2, direction: Direction::ClientSends }
}

const DELTA: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

/// Keys and tags of `n` COTs.
fn dealt(n: usize) -> (Secret<Vec<u128>>, Secret<Vec<u128>>) {
    let mut bytes = vec![0; 16 * n];
    let stream: &mut dyn EntropySource = &mut rng(7);
    stream.fill_bytes(&mut bytes);
    let tags: Vec<u128> = bytes.as_chunks::<16>().0.iter().map(|b| u128::from_le_bytes(*b)).collect();
    let keys = tags.iter().map(|t| t ^ ((t & 1).wrapping_neg() & DELTA)).collect();
    (Secret::new(keys), Secret::new(tags))
}

struct Ends {
    sender: SenderAwaitsCheck,
    receiver: ReceiverAwaitsDigest,
    message: Vec<u8>,
    answer: Vec<u8>,
}

/// Keys and tags that a round starts from.
fn base(set: LpnSet) -> (Base, Base) {
    let (keys, tags) = dealt(set.base_cots());
    (Base::new(set, &keys).unwrap(), Base::new(set, &tags).unwrap())
}

fn send(set: LpnSet) -> (SenderAwaitsCheck, Vec<u8>) {
    SenderAwaitsCheck::start(&label(), 0, &Secret::new(DELTA), base(set).0, &mut rng(1))
}

fn receive(set: LpnSet, message: &[u8]) -> Result<(ReceiverAwaitsDigest, Vec<u8>), MpcError> {
    ReceiverAwaitsDigest::start(&label(), 0, base(set).1, message, &mut rng(2))
}

fn play(set: LpnSet) -> Ends {
    let (sender, message) = send(set);
    assert_eq!(message.len(), set.message_bytes());
    let (receiver, answer) = receive(set, &message).unwrap();
    Ends { sender, receiver, message, answer }
}

fn all(outputs: &mut Outputs) -> Vec<u128> {
    let mut out = vec![0; outputs.len() as usize];
    let n = outputs.tree_len();
    let mut leaves = vec![0; n];
    for (at, tree) in out.chunks_exact_mut(n).enumerate() {
        outputs.grow(at, &mut leaves);
        outputs.mix(at, 0, &leaves, tree);
    }
    out
}

#[test]
fn every_output_is_a_cot_and_its_choices_are_even() {
    for set in LpnSet::ALL {
        let Ends { sender, receiver, answer, .. } = play(set);
        let (mut keys, digest) = sender.finish(&answer).unwrap();
        let mut tags = receiver.finish(&digest).unwrap();
        let (keys, tags) = (all(&mut keys), all(&mut tags));
        assert_eq!((keys.len(), tags.len()), (set.outputs(), set.outputs()));
        for (k, t) in keys.iter().zip(&tags) {
            assert_eq!((k & 1, *t), (0, if t & 1 == 1 { k ^ DELTA } else { *k }));
        }
        let ones = tags.iter().filter(|t| **t & 1 == 1).count();
        assert!((2 * ones).abs_diff(tags.len()) < 6 * tags.len().isqrt(), "{ones} of {}", tags.len());
    }
}

#[test]
fn leaves_have_one_choice_of_one_per_tree_at_the_complement_of_the_choices() {
    let set = LpnSet::B8;
    let (_, tags) = dealt(set.base_cots());
    let Ends { receiver, .. } = play(set);
    let levels = &tags.expose()[set.unknowns()..];
    let mut nodes = vec![0; 1 << set.depth()];
    for at in 0..set.trees() {
        receiver.trees.grow(at, &mut nodes);
        let point = (0..set.depth()).fold(0, |p, i| p | (!levels[at * set.depth() + i] as usize & 1) << i);
        for (j, leaf) in nodes.iter().enumerate() {
            assert_eq!(leaf & 1 == 1, j == point);
        }
    }
}

#[test]
fn a_flipped_bit_of_the_senders_messages_is_caught() {
    let set = LpnSet::B8;
    let Ends { message, answer, sender, .. } = play(set);
    let (_, digest) = sender.finish(&answer).unwrap();
    // The digest of the coin; every level of some trees; the last byte. What the receiver answers does not matter here.
    let of_trees = (0..set.trees())
        .step_by(60)
        .flat_map(|t| (0..8).map(move |level| COIN_BYTES + 16 * (8 * t + level) + t % 16));
    for at in [0, 31].into_iter().chain(of_trees).chain([message.len() - 1]) {
        let mut damaged = message.clone();
        damaged[at] ^= 0x20;
        let (receiver, damaged_answer) = receive(set, &damaged).unwrap();
        let (sender, _) = send(set);
        let (_, digest) = sender.finish(&damaged_answer).unwrap();
        let refused = receiver.finish(&digest).unwrap_err();
        assert_eq!(refused, MpcError::Check { what: "check of the silent round" }, "byte {at}");
    }
    for at in 0..DIGEST_BYTES {
        let mut damaged = digest.clone();
        damaged[at] ^= 1;
        assert!(receive(set, &message).unwrap().0.finish(&damaged).is_err());
    }
}

#[test]
fn a_flipped_bit_of_the_receivers_message_fails_its_own_check() {
    let set = LpnSet::B8;
    for at in 0..CHECK_BYTES {
        let Ends { sender, receiver, mut answer, .. } = play(set);
        answer[at] ^= 8;
        let (_, digest) = sender.finish(&answer).unwrap();
        assert!(receiver.finish(&digest).is_err(), "byte {at}");
    }
}

#[test]
fn wrong_lengths_counts_and_orders_are_refused() {
    let set = LpnSet::B8;
    let Ends { sender, receiver, message, answer } = play(set);
    assert!(matches!(receive(set, &message[1..]), Err(MpcError::MessageBytes { .. })));
    assert!(matches!(sender.finish(&answer[1..]), Err(MpcError::MessageBytes { .. })));
    assert!(matches!(receiver.finish(&[0; DIGEST_BYTES - 1]), Err(MpcError::MessageBytes { .. })));
    let few = dealt(set.base_cots() - 1).0;
    let refused = SenderFeed::new(&label(), &[set], &Secret::new(DELTA), few).unwrap_err();
    assert!(matches!(refused, MpcError::Argument { .. }));
    let (first, _) = dealt(set.base_cots());
    let mut feed = SenderFeed::new(&label(), &[set], &Secret::new(DELTA), first).unwrap();
    let mut stock = CotSender::new(&label(), Secret::new(DELTA));
    assert!(matches!(feed.finish(&answer, &mut stock), Err(MpcError::Order { .. })));
    feed.start(&mut rng(1)).unwrap();
    assert!(matches!(feed.start(&mut rng(1)), Err(MpcError::Order { .. })));
    assert!(feed.finish(&answer[1..], &mut stock).is_err());
    assert!(matches!(feed.start(&mut rng(1)), Err(MpcError::Order { .. })), "a failed feed stays shut");
    let leap = [LpnSet::B9, LpnSet::B12];
    assert!(SenderFeed::new(&label(), &leap, &Secret::new(DELTA), dealt(leap[0].base_cots()).0).is_ok());
    assert!(SenderFeed::new(&label(), &[], &Secret::new(DELTA), Secret::new(vec![])).is_err());
}

#[test]
fn a_feed_goes_on_from_set_to_set_and_stocks_stay_in_step() {
    let sets = [LpnSet::B8, LpnSet::B10];
    let (keys, tags) = dealt(sets[0].base_cots());
    let mut sender = SenderFeed::new(&label(), &sets, &Secret::new(DELTA), keys).unwrap();
    let mut receiver = ReceiverFeed::new(&label(), &sets, tags).unwrap();
    let mut s = CotSender::new(&label(), Secret::new(DELTA));
    let mut r = CotReceiver::new(&label());
    let mut expected = 0;
    for (a, b) in [(LpnSet::B8, LpnSet::B10), (LpnSet::B10, LpnSet::B10), (LpnSet::B10, LpnSet::B10)] {
        assert_eq!((sender.next_set(), receiver.next_set()), (a, a));
        let message = sender.start(&mut rng(3)).unwrap();
        let answer = receiver.answer(&message, &mut rng(4)).unwrap();
        let digest = sender.finish(&answer, &mut s).unwrap();
        receiver.finish(&digest, &mut r).unwrap();
        expected += (a.outputs() - b.base_cots()) as u64;
        assert_eq!((s.left(), r.left()), (expected, expected));
    }
    let mut seen = std::collections::HashSet::new();
    let mut taken = 0;
    while s.left() > 0 {
        let n = (s.left() as usize).min(100_003);
        let (mut keys, mut tags) = (vec![0; n], vec![0; n]);
        assert_eq!((s.take(&mut keys).unwrap(), r.take(&mut tags).unwrap()), (taken, taken));
        for (k, t) in keys.iter().zip(&tags) {
            assert_eq!(*t, if t & 1 == 1 { k ^ DELTA } else { *k });
        }
        assert!(seen.insert(keys[0]));
        taken += n as u64;
    }
    assert_eq!(taken, expected);
}

#[test]
fn a_round_played_under_another_number_or_label_is_caught() {
    let set = LpnSet::B8;
    let other = Label { direction: Direction::ServerSends, ..label() };
    for (number, label) in [(1, label()), (0, other)] {
        let Ends { sender, message, .. } = play(set);
        let (receiver, answer) =
            ReceiverAwaitsDigest::start(&label, number, base(set).1, &message, &mut rng(2)).unwrap();
        let (_, digest) = sender.finish(&answer).unwrap();
        assert_eq!(
            receiver.finish(&digest).unwrap_err(),
            MpcError::Check { what: "check of the silent round" }
        );
    }
}

#[test]
fn a_divided_supply_gives_the_blocks_of_the_whole_in_order() {
    use crate::supply::Supply;
    let set = LpnSet::B8;
    let Ends { sender, answer, .. } = play(set);
    let (keys, _) = sender.finish(&answer).unwrap();
    let whole = { all(&mut keys.clone()) };
    let mut supply = Supply::round(keys);
    let tree = 1 << set.depth();
    let mut at = 0;
    // Few, so that some are made ahead; more, and no whole steps; across a tree's end; to the middle of a tree; the rest.
    for (n, parted) in [
        (5, false),
        (150, false),
        (40, true),
        (tree, true),
        (3, false),
        (tree / 2, true),
        (set.outputs(), true),
    ] {
        let n = n.min(whole.len() - at);
        let mut out = vec![0; n];
        let taken = if parted {
            let mut part = supply.split(n as u64);
            assert_eq!(part.left(), n as u64);
            part.take(&mut out)
        } else {
            supply.take(&mut out)
        };
        assert!(taken == n && out == whole[at..at + n], "{n} blocks at {at}");
        at += n;
        assert_eq!(supply.left(), (whole.len() - at) as u64);
    }
    assert_eq!(at, whole.len());
}

/// Stocks of 100 dealt COTs, 251 of a round, 40 dealt ones, and 5,000 of the round.
fn mixed_stocks() -> (CotSender, CotReceiver) {
    use crate::supply::Supply;
    let set = LpnSet::B8;
    let Ends { sender, receiver, answer, .. } = play(set);
    let (keys, digest) = sender.finish(&answer).unwrap();
    let tags = receiver.finish(&digest).unwrap();
    let (mut s, mut r) = (CotSender::new(&label(), Secret::new(DELTA)), CotReceiver::new(&label()));
    let (mut keys, mut tags) = (Supply::round(keys), Supply::round(tags));
    let (held_keys, held_tags) = dealt(140);
    let dealt = |range: std::ops::Range<usize>| {
        [&held_keys, &held_tags].map(|all| Supply::held(Secret::new(all.expose()[range.clone()].to_vec())))
    };
    for part in [
        dealt(0..100),
        [keys.split(251), tags.split(251)],
        dealt(100..140),
        [keys.split(5000), tags.split(5000)],
    ] {
        let [keys, tags] = part;
        s.add(keys);
        r.add(tags);
    }
    (s, r)
}

#[test]
fn ots_of_mixed_stocks_are_the_same_however_they_are_taken_and_each_has_the_hash_of_its_kind() {
    use crate::hash::{CotHash, Origin};
    for m in 1..=3usize {
        let lanes = 5391 / m;
        let take = |sizes: &[usize]| {
            let (mut s, mut r) = mixed_stocks();
            let (mut pads, mut choices, mut chosen) = (vec![0; lanes << m], vec![0; lanes], vec![0; lanes]);
            let mut at = 0;
            for n in sizes.iter().copied().chain([lanes]).map(|n| n.min(lanes)) {
                let n = n.min(lanes - at);
                let (of_s, of_r) = (&mut pads[at << m..(at + n) << m], at..at + n);
                if m == 1 {
                    s.random(of_s.as_chunks_mut().0).unwrap();
                    r.random(&mut choices[of_r.clone()], &mut chosen[of_r]).unwrap();
                } else {
                    s.random_of(m as u32, of_s).unwrap();
                    r.random_of(m as u32, &mut choices[of_r.clone()], &mut chosen[of_r]).unwrap();
                }
                at += n;
            }
            assert_eq!(at, lanes);
            (pads, choices, chosen)
        };
        let (pads, choices, chosen) = take(&[]);
        for ((pads, choice), chosen) in pads.chunks(1 << m).zip(&choices).zip(&chosen) {
            assert!(pads.iter().enumerate().all(|(j, pad)| (pad == chosen) == (j == usize::from(*choice))));
        }
        assert_eq!(take(&[1, 7, 30, 90, 3, 64, 100, 500, 11]), (pads.clone(), choices, chosen));
        // Pad 0 of every lane, hashed by itself.
        let (mut s, _) = mixed_stocks();
        let mut keys = vec![0; lanes * m];
        s.take(&mut keys).unwrap();
        let hash = CotHash::new(&label());
        let silent = |cot: usize| (100..351).contains(&cot) || cot >= 391;
        for (lane, keys) in keys.chunks(m).enumerate() {
            let origin =
                if (lane * m..(lane + 1) * m).all(silent) { Origin::Silent } else { Origin::Steered };
            let (input, mut pad) = ([kernel::packed(keys)], [0]);
            let first = (lane * m) as u64;
            hash.pads(m as u32, first, &origin, [&input, &[0]], &mut pad);
            assert_eq!(pad[0] as u64, pads[lane << m], "lane {lane} of 1-of-2^{m} OTs");
        }
    }
}
