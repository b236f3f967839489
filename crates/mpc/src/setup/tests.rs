use super::*;
use oblivia_base::Prg;

fn rng(seed: u8) -> Prg {
    Prg::new(&[seed; 32], "setup tests", &[])
}

fn setup(from_opener: Source, from_answerer: Source) -> Setup {
    let opener_sends = Direction::ServerSends;
    Setup { session: Digest([3; 32]), epoch: 1, opener_sends, from_opener, from_answerer }
}

fn small(field: FieldBits) -> Source {
    Source::Extension { field, cots: 300 }
}

/// Plays the set-up, handing each message through `damage` with its number.
fn play(setup: &Setup, damage: impl Fn(usize, &mut Vec<u8>)) -> Result<(Ends, Ends), MpcError> {
    let expected = setup.message_bytes();
    let through = |number: usize, mut message: Vec<u8>| {
        assert_eq!(message.len(), expected[number]);
        damage(number, &mut message);
        message
    };
    let (opener, m) = OpenerAwaitsAnswer::start(setup, &mut rng(1));
    let (answerer, m) = AnswererAwaitsBatch::start(setup, &through(0, m), &mut rng(2))?;
    let (opener, m) = opener.answer(&through(1, m), &mut rng(3))?;
    let (answerer, m) = answerer.finish(&through(2, m))?;
    Ok((opener.finish(&through(3, m))?, answerer))
}

/// Whether all COTs in stock fit; how many there were.
fn fit(sender: &mut CotSender, receiver: &mut CotReceiver) -> Option<u64> {
    assert_eq!(sender.next_index(), receiver.next_index());
    let n = sender.left();
    let (mut keys, mut tags) = (vec![0; n as usize], vec![0; n as usize]);
    sender.take(&mut keys).unwrap();
    receiver.take(&mut tags).unwrap();
    let delta = *sender.delta().expose();
    keys.iter().zip(&tags).all(|(k, t)| *t == if t & 1 == 1 { k ^ delta } else { *k }).then_some(n)
}

#[test]
fn both_directions_are_in_stock_after_four_messages() {
    for (a, b) in [(FieldBits::Two, FieldBits::Four), (FieldBits::Four, FieldBits::Eight)] {
        let (mut opener, mut answerer) = play(&setup(small(a), small(b)), |_, _| ()).unwrap();
        assert_eq!(fit(&mut opener.sender, &mut answerer.receiver), Some(300));
        assert_eq!(fit(&mut answerer.sender, &mut opener.receiver), Some(300));
        assert_ne!(opener.sender.delta().expose(), answerer.sender.delta().expose());
        // And more where that came from.
        let (SenderSource::Extension(s), ReceiverSource::Extension(mut r)) =
            (opener.sender_source, answerer.receiver_source)
        else {
            panic!("extension expected")
        };
        let (message, tags) = r.batch(77).unwrap();
        opener.sender.add_held(s.batch(77, &message).unwrap().0);
        answerer.receiver.add_held(tags);
        assert_eq!(fit(&mut opener.sender, &mut answerer.receiver), Some(77));
    }
}

#[test]
fn silent_rounds_follow_in_both_directions() {
    let sets = vec![LpnSet::B8, LpnSet::B10];
    let silent = Source::Silent { sets };
    let (mut opener, mut answerer) = play(&setup(silent.clone(), silent), |_, _| ()).unwrap();
    let round = |s: &mut SenderSource,
                 sender: &mut CotSender,
                 r: &mut ReceiverSource,
                 receiver: &mut CotReceiver| {
        let (SenderSource::Silent(s), ReceiverSource::Silent(r)) = (s, r) else { panic!("silent expected") };
        let message = s.start(&mut rng(4)).unwrap();
        let answer = r.answer(&message, &mut rng(5)).unwrap();
        let digest = s.finish(&answer, sender).unwrap();
        r.finish(&digest, receiver).unwrap();
        let expected = LpnSet::B8.outputs() - LpnSet::B10.base_cots();
        assert_eq!(fit(sender, receiver), Some(expected as u64));
    };
    round(
        &mut opener.sender_source,
        &mut opener.sender,
        &mut answerer.receiver_source,
        &mut answerer.receiver,
    );
    round(
        &mut answerer.sender_source,
        &mut answerer.sender,
        &mut opener.receiver_source,
        &mut opener.receiver,
    );
}

/// What a changed byte of each message leads to: an error at the party that reads it, or, where nothing can be compared,
/// an error at the other one or COTs that do not fit. Never COTs that fit, and never a panic.
#[test]
fn no_changed_byte_goes_unnoticed() {
    let setup = setup(small(FieldBits::Four), small(FieldBits::Four));
    let sizes = setup.message_bytes();
    for (number, size) in sizes.into_iter().enumerate() {
        for at in (0..size).step_by(size.div_ceil(40)).chain([size - 1]) {
            let damage = |n: usize, m: &mut Vec<u8>| m[at] ^= if n == number { 1 } else { 0 };
            let damage = |n: usize, m: &mut Vec<u8>| {
                if n == number {
                    damage(n, m)
                }
            };
            if let Ok((mut opener, mut answerer)) = play(&setup, damage) {
                let forth = fit(&mut opener.sender, &mut answerer.receiver);
                let back = fit(&mut answerer.sender, &mut opener.receiver);
                // A flip, or a sum of a tree that the reader's choice makes it ignore.
                let unused = (number == 2 || number == 3) && at < FieldBits::Four.setup_bytes();
                assert!(forth.is_none() || back.is_none() || unused, "message {number}, byte {at}");
            }
        }
    }
}

#[test]
fn wrong_lengths_are_refused() {
    let setup = setup(small(FieldBits::Two), small(FieldBits::Two));
    for number in 0..4 {
        for shorter in [true, false] {
            let refused = play(&setup, |n, m| {
                if n == number {
                    let len = if shorter { m.len() - 1 } else { m.len() + 1 };
                    m.resize(len, 0);
                }
            });
            assert!(matches!(refused, Err(MpcError::MessageBytes { .. })));
        }
    }
}
