//! The bytes of every message, for fixed randomness, on every path: a change of one is a change of the protocol.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use oblivia_base::seed::EntropySource;
use oblivia_base::{Digest, Prg, Transcript};
use oblivia_mpc::Direction;
use oblivia_mpc::kernel::Path;
use oblivia_mpc::setup::{
    AnswererAwaitsBatch, Ends, OpenerAwaitsAnswer, ReceiverSource, SenderSource, Setup, Source,
};
use oblivia_mpc::silent::LpnSet;
use oblivia_mpc::softspoken::FieldBits;

/// Digest of all messages and of the first pads. It changes with every change of the wire format, of a label or of a hash.
const EXPECTED: &str = "2327a3dcd843d7afc006fedca04adc005902e2b89699dfac129a802f3056c2db";

fn rng(party: u8) -> Box<dyn EntropySource> {
    Box::new(Prg::new(&[party; 32], "wire", &[]))
}

fn play() -> Digest {
    let setup = Setup {
        session: Digest([6; 32]),
        epoch: 7,
        opener_sends: Direction::ClientSends,
        from_opener: Source::Extension { field: FieldBits::Four, cots: 5000 },
        from_answerer: Source::Silent { sets: vec![LpnSet::B8] },
    };
    let mut all = Transcript::new("wire test");
    let mut say = |message: Vec<u8>| {
        all.absorb("message", &message);
        message
    };
    let (mut a, mut b) = (rng(1), rng(2));
    let (opener, m) = OpenerAwaitsAnswer::start(&setup, &mut *a);
    let (answerer, m) = AnswererAwaitsBatch::start(&setup, &say(m), &mut *b).unwrap();
    let (opener, m) = opener.answer(&say(m), &mut *a).unwrap();
    let (answerer, m) = answerer.finish(&say(m)).unwrap();
    let opener = opener.finish(&say(m)).unwrap();
    let Ends { mut sender, sender_source: SenderSource::Silent(mut feed), receiver: mut r2, .. } = answerer
    else {
        panic!("silent expected")
    };
    let Ends { mut receiver, receiver_source: ReceiverSource::Silent(mut drain), sender: mut s2, .. } =
        opener
    else {
        panic!("silent expected")
    };
    let m = feed.start(&mut *b).unwrap();
    let m = drain.answer(&say(m), &mut *a).unwrap();
    let m = feed.finish(&say(m), &mut sender).unwrap();
    drain.finish(&say(m), &mut receiver).unwrap();
    for (s, r) in [(&mut sender, &mut receiver), (&mut s2, &mut r2)] {
        let (mut pads, mut choices, mut chosen) = (vec![[0; 2]; 3000], vec![0; 3000], vec![0; 3000]);
        s.random(&mut pads).unwrap();
        r.random(&mut choices, &mut chosen).unwrap();
        for ((p, c), got) in pads.iter().zip(&choices).zip(&chosen) {
            assert_eq!(p[usize::from(*c)], *got);
        }
        say(pads.iter().flatten().flat_map(|p| p.to_le_bytes()).collect());
        let (mut pads, mut choices, mut chosen) = (vec![0; 400], vec![0; 100], vec![0; 100]);
        s.random_of(2, &mut pads).unwrap();
        r.random_of(2, &mut choices, &mut chosen).unwrap();
        say(pads.iter().flat_map(|p| p.to_le_bytes()).collect());
        for ((p, c), got) in pads.chunks(4).zip(&choices).zip(&chosen) {
            assert_eq!(p[usize::from(*c)], *got);
        }
    }
    all.digest()
}

#[test]
fn messages_and_pads_are_the_same_bytes_on_every_path() {
    for path in Path::available() {
        assert!(path.select());
        assert_eq!(play().hex(), EXPECTED, "{path:?}");
    }
}
