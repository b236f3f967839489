//! Running a protocol as both parties and holding it to its declared cost.

use oblivia_base::Prg;
use oblivia_mpc::ideal::dealer::{self, DealtPads};
use oblivia_mpc::ideal::pair::{self, QueueLink, Said};
use oblivia_mpc::{Bits, Cost, MpcError, Party, Session, Shares, mask, open};
use rand_core::Rng;

pub(crate) type Cx = Session<QueueLink, DealtPads>;

/// The label of one case in a failure.
pub(crate) type Case<'a> = &'a dyn std::fmt::Debug;

/// Runs `role` as both parties on dealt OTs, and checks every message and every COT against `cost`.
pub(crate) fn play<X, T>(
    case: Case<'_>,
    pen: Party,
    operands: [X; 2],
    cost: &Cost,
    role: impl AsyncFn(&mut Cx, X) -> Result<T, MpcError>,
) -> [T; 2] {
    let (results, said, pads) =
        pair::run(dealer::pads(&[5; 32]), pen, operands, role).expect("both parties wait for the other");
    assert_said(case, pen, cost, &said);
    let [client, server] = pads.map(|p| p.taken());
    let declared = [Party::Client, Party::Server].map(|p| cost.cots_sent_by(p, pen));
    assert_eq!(client, declared, "COTs of {case:?}");
    assert_eq!(server, [declared[1], declared[0]], "COTs of {case:?}");
    results.map(|r| r.unwrap_or_else(|e| panic!("{case:?}: {e}")))
}

/// What was said has the declared senders and lengths.
pub(crate) fn assert_said(case: Case<'_>, pen: Party, cost: &Cost, said: &[Said]) {
    let mut declared: Vec<(Party, usize)> = Vec::new();
    let mut party = pen;
    for bits in cost.messages() {
        if *bits > 0 {
            declared.push((party, bits.div_ceil(8) as usize));
        }
        party = party.other();
    }
    let said: Vec<(Party, usize)> = said.iter().map(|(p, m)| (*p, m.len())).collect();
    assert_eq!(said, declared, "messages of {case:?} from {pen:?}");
    assert_eq!(said.iter().map(|s| s.1 as u64).sum::<u64>(), cost.bytes());
    assert_eq!(said.iter().map(|s| s.1).max().unwrap_or(0), cost.max_message_bytes());
}

/// All pairs of shares of `width` bits.
pub(crate) fn all_pairs(width: u32) -> [Vec<u64>; 2] {
    let n = 1u64 << width;
    let pairs = || (0..n).flat_map(|a| (0..n).map(move |b| (a, b)));
    [pairs().map(|p| p.0).collect(), pairs().map(|p| p.1).collect()]
}

/// Shares of `width` bits: the corners of the ring against each other, then `n` random ones.
pub(crate) fn some_pairs(width: u32, n: usize, seed: u8) -> [Vec<u64>; 2] {
    let half = 1u64 << (width - 1);
    let edges = [0, 1, 2, half / 2, half - 1, half, half + 1, mask(width) - 1, mask(width)];
    let mut rng = Prg::new(&[seed; 32], "pairs", &[&width.to_le_bytes()]);
    let mut out = [Vec::new(), Vec::new()];
    for x in edges {
        for a in edges {
            // Numbers at the edges, shared with shares at the edges.
            out[0].push(a);
            out[1].push(x.wrapping_sub(a) & mask(width));
        }
        let a = rng.next_u64() & mask(width);
        out[0].push(a);
        out[1].push(x.wrapping_sub(a) & mask(width));
    }
    for _ in 0..n {
        out.iter_mut().for_each(|v| v.push(rng.next_u64() & mask(width)));
    }
    out
}

pub(crate) fn shares(width: u32, values: &[Vec<u64>; 2]) -> [Shares; 2] {
    [0, 1].map(|i| Shares::new(width, values[i].clone()).unwrap())
}

/// The numbers behind pairs of shares.
pub(crate) fn numbers(width: u32, [a, b]: &[Vec<u64>; 2]) -> Vec<u64> {
    a.iter().zip(b).map(|(a, b)| a.wrapping_add(*b) & mask(width)).collect()
}

pub(crate) fn opened([a, b]: &[Shares; 2]) -> Vec<u64> {
    open(a, b).unwrap()
}

pub(crate) fn opened_bits([a, b]: &[Bits; 2]) -> Vec<bool> {
    let sum = a.xor(b);
    (0..sum.len()).map(|i| sum.get(i)).collect()
}

pub(crate) const PENS: [Party; 2] = [Party::Client, Party::Server];
