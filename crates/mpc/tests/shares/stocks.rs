//! Random OTs from correlated ones: dealt, and made by the two parties from nothing.

use crate::common::*;
use oblivia_base::{Blame, Digest, Prg};
use oblivia_mpc::ideal::{self, clear, pair};
use oblivia_mpc::setup::{AnswererAwaitsBatch, Ends, OpenerAwaitsAnswer, Setup, Source};
use oblivia_mpc::softspoken::FieldBits;
use oblivia_mpc::*;

fn dealt(cots: [usize; 2]) -> [CotPads; 2] {
    let mut rng = Prg::new(&[8; 32], "stock tests", &[]);
    let mut stock =
        |direction, n| ideal::cots(&Label { session: Digest([2; 32]), epoch: 4, direction }, n, &mut rng);
    let (client_sends, server_chooses) = stock(Direction::ClientSends, cots[0]);
    let (server_sends, client_chooses) = stock(Direction::ServerSends, cots[1]);
    [CotPads::new(client_sends, client_chooses), CotPads::new(server_sends, server_chooses)]
}

#[test]
fn both_ends_hash_the_same_pads_whatever_the_shape() {
    let [mut a, mut b] = dealt([100_000, 0]);
    let mut taken = 0;
    for n in [0usize, 1, 63, 64, 65, 1000, 5000] {
        for (m, w) in [(1, 1), (1, 2), (2, 2), (3, 2), (4, 1), (1, 64)] {
            let pads = a.send_planes(m, w, n).unwrap();
            let [choices, chosen] = b.choose_planes(m, w, n).unwrap();
            assert_eq!(
                (pads.len(), choices.len(), chosen.len()),
                ((w as usize) << m, m as usize, w as usize)
            );
            let c = |lane: usize| choices.iter().rev().fold(0, |c, p| 2 * c + usize::from(p.get(lane)));
            for (i, plane) in chosen.iter().enumerate() {
                assert_eq!(plane.len(), n);
                assert!((0..n).all(|k| plane.get(k) == pads[c(k) * w as usize + i].get(k)));
            }
            taken += n as u64 * u64::from(m);
        }
        let [zero, one] = a.send_values(n).unwrap();
        let (choices, chosen) = b.choose_values(n).unwrap();
        assert!((0..n).all(|k| chosen[k] == if choices.get(k) { one[k] } else { zero[k] }));
        assert!(n < 64 || (0..n).any(|k| choices.get(k)) && (0..n).any(|k| !choices.get(k)));
        taken += n as u64;
        assert_eq!((a.left(), b.left()), ([100_000 - taken, 0], [0, 100_000 - taken]));
    }
}

#[test]
fn a_stock_that_is_too_small_is_refused_before_anything_is_taken() {
    let [mut a, mut b] = dealt([99, 99]);
    let short = |e: MpcError| assert!(matches!(e, MpcError::Exhausted { .. }) && e.blame() == Blame::Misuse);
    short(a.send_planes(2, 1, 50).unwrap_err());
    short(a.send_values(100).unwrap_err());
    short(b.choose_planes(4, 2, 25).unwrap_err());
    short(b.choose_values(100).unwrap_err());
    assert_eq!((a.left(), b.left()), ([99; 2], [99; 2]));
    for (m, w) in [(0, 1), (9, 1), (1, 0), (1, 65)] {
        assert!(matches!(a.send_planes(m, w, 1), Err(MpcError::Argument { .. })));
        assert!(matches!(b.choose_planes(m, w, 1), Err(MpcError::Argument { .. })));
    }
}

/// Runs ReLUs of both radices on stocks of the declared size, which they use up.
fn use_up(pads: impl Fn([usize; 2]) -> [CotPads; 2], n: usize) {
    let l = 20;
    let pairs = some_pairs(l, n, 6);
    let x = numbers(l, &pairs);
    for radix in Radix::ALL {
        let cost = relu_cost(l, radix).times(x.len());
        let cots = PENS.map(|p| usize::try_from(cost.cots_sent_by(p, Party::Server)).unwrap());
        let (results, said, pads) =
            pair::run(pads(cots), Party::Server, shares(l, &pairs), async |cx, x| relu(cx, &x, radix).await)
                .unwrap();
        assert_said(&radix, Party::Server, &cost, &said);
        let got = opened(&results.map(|r| r.unwrap()));
        assert!(got.into_iter().eq(x.iter().map(|x| clear::relu(*x, l))), "{radix:?}");
        assert!(pads.iter().all(|p| p.left() == [0, 0]));
    }
}

#[test]
fn relus_use_up_dealt_stocks_of_the_declared_size() {
    use_up(dealt, 300);
}

#[test]
fn relus_use_up_stocks_that_two_parties_made_from_nothing() {
    let made = |[client_sends, server_sends]: [usize; 2]| {
        let source = |cots| Source::Extension { field: FieldBits::Four, cots };
        let setup = Setup {
            session: Digest([3; 32]),
            epoch: 0,
            opener_sends: Direction::ClientSends,
            from_opener: source(client_sends),
            from_answerer: source(server_sends),
        };
        let mut rng = Prg::new(&[7; 32], "stock tests", &[b"set-up"]);
        let (opener, m) = OpenerAwaitsAnswer::start(&setup, &mut rng);
        let (answerer, m) = AnswererAwaitsBatch::start(&setup, &m, &mut rng).unwrap();
        let (opener, m) = opener.answer(&m, &mut rng).unwrap();
        let (server, m) = answerer.finish(&m).unwrap();
        let pads = |ends: Ends| CotPads::new(ends.sender, ends.receiver);
        [pads(opener.finish(&m).unwrap()), pads(server)]
    };
    use_up(made, 50);
}
