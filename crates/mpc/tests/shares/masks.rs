//! What a party is told is uniform given what it has, and every mask is needed for that.
//!
//! All lanes compute on the same shares, and the observer's ends of all OTs are the same in all lanes; only what the
//! observer must not know differs. Then each bit it receives must be new: balanced, and no polynomial of degree 2 in the
//! bits said before. Degree 2 is enough to follow the observer's own shares through the protocol, since a product's share
//! is quadratic in what was opened. The same test must notice each single mask that is taken away.

use crate::common::*;
use oblivia_base::Prg;
use oblivia_mpc::ideal::pair::{self, QueueLink};
use oblivia_mpc::*;
use rand_core::Rng;

/// Lanes, more than monomials.
const LANES: usize = 4096;

/// One end of OTs whose observer sees the same in all lanes.
struct Observed {
    party: Party,
    observer: Party,
    /// Streams by sender: what the observer has, what it must not know.
    view: [Prg; 2],
    hidden: [Prg; 2],
    /// Masks of the peer counted so far, and the one that is taken away.
    count: usize,
    planted: Option<usize>,
}

impl Observed {
    fn pair(seed: u8, observer: Party, planted: Option<usize>) -> [Self; 2] {
        let stream = |what, sender: u8| Prg::new(&[seed; 32], what, &[&[sender]]);
        PENS.map(|party| Self {
            party,
            observer,
            view: [0, 1].map(|s| stream("view", s)),
            hidden: [0, 1].map(|s| stream("hidden", s)),
            count: 0,
            planted,
        })
    }

    /// Whether the mask that is counted now is the one taken away.
    fn taken_away(&mut self) -> bool {
        self.count += 1;
        self.planted == Some(self.count - 1)
    }

    /// Choices (m planes) and pads (2^m·w planes) of OTs with the given sender, as the peer of the observer has them or as
    /// the observer does: what is planted is planted at both ends.
    fn draw(&mut self, sender: Party, m: u32, w: u32) -> [Vec<Bits>; 2] {
        let s = sender as usize;
        let same = |rng: &mut Prg| {
            let bit = rng.next_u64() & 1 == 1;
            Bits::from_fn(LANES, |_| bit)
        };
        let fresh = |rng: &mut Prg| Bits::from_fn(LANES, |_| rng.next_u64() & 1 == 1);
        let pads = 1usize << m;
        if sender == self.observer {
            let pads = (0..pads * w as usize).map(|_| same(&mut self.view[s])).collect();
            let choices = (0..m).map(|_| {
                let fresh = fresh(&mut self.hidden[s]);
                if self.taken_away() { Bits::zeros(LANES) } else { fresh }
            });
            [choices.collect(), pads]
        } else {
            let choices: Vec<Bits> = (0..m).map(|_| same(&mut self.view[s])).collect();
            let c = choices.iter().rev().fold(0, |c, b| 2 * c + usize::from(b.get(0)));
            let mut out = Vec::new();
            for j in 0..pads {
                // The bits of a ring element are one mask, other bits are masks of their own.
                let mut away = j != c && w == VALUE_BITS && self.taken_away();
                for _ in 0..w {
                    let (same, fresh) = (same(&mut self.view[s]), fresh(&mut self.hidden[s]));
                    if j != c && w != VALUE_BITS {
                        away = self.taken_away();
                    }
                    out.push(if j == c || away { same } else { fresh });
                }
            }
            [choices, out]
        }
    }

    fn chosen(choices: &[Bits], pads: &[Bits], w: u32) -> Vec<Bits> {
        let c = |lane| choices.iter().rev().fold(0, |c, b| 2 * c + usize::from(b.get(lane)));
        let w = w as usize;
        (0..w).map(|i| Bits::from_fn(LANES, |lane| pads[c(lane) * w + i].get(lane))).collect()
    }
}

/// 64-bit values of lanes from planes.
fn values(planes: &[Bits]) -> Values {
    let value = |lane| planes.iter().rev().fold(0, |v, p| v << 1 | u64::from(p.get(lane)));
    Values::new((0..LANES).map(value).collect())
}

/// Bits of a pad for ring elements: as wide as the rings of the products tested.
const VALUE_BITS: u32 = 6;

impl PadSource for Observed {
    fn send_planes(&mut self, m: u32, w: u32, n: usize) -> Result<Vec<Bits>, MpcError> {
        assert_eq!(n, LANES);
        let [_, pads] = self.draw(self.party, m, w);
        Ok(pads)
    }

    fn choose_planes(&mut self, m: u32, w: u32, n: usize) -> Result<[Vec<Bits>; 2], MpcError> {
        assert_eq!(n, LANES);
        let [choices, pads] = self.draw(self.party.other(), m, w);
        let chosen = Self::chosen(&choices, &pads, w);
        Ok([choices, chosen])
    }

    fn send_values(&mut self, n: usize) -> Result<[Values; 2], MpcError> {
        assert_eq!(n, LANES);
        let [_, pads] = self.draw(self.party, 1, VALUE_BITS);
        let (zero, one) = pads.split_at(VALUE_BITS as usize);
        Ok([values(zero), values(one)])
    }

    fn choose_values(&mut self, n: usize) -> Result<(Bits, Values), MpcError> {
        let [mut choices, pads] = self.draw(self.party.other(), 1, VALUE_BITS);
        let chosen = Self::chosen(&choices, &pads, VALUE_BITS);
        assert_eq!(n, LANES);
        Ok((choices.remove(0), values(&chosen)))
    }
}

const WORDS: usize = LANES / 64;
type Column = [u64; WORDS];

/// The columns of a message: planes, and behind them `width` columns of one number per lane.
fn columns(message: &[u8], width: usize) -> Vec<Column> {
    let bit = |at: usize| u64::from(message[at / 8]) >> (at % 8) & 1;
    let all = 8 * message.len() / LANES;
    assert_eq!(all * LANES, 8 * message.len());
    let planes = all - width;
    let at = |column: usize, lane: usize| match column.checked_sub(planes) {
        None => column * LANES + lane,
        Some(k) => planes * LANES + lane * width + k,
    };
    (0..all)
        .map(|c| std::array::from_fn(|w| (0..64).rev().fold(0, |v, i| v << 1 | bit(at(c, 64 * w + i)))))
        .collect()
}

/// An echelon basis over GF(2).
#[derive(Default)]
struct Basis {
    rows: Vec<(usize, Column)>,
}

impl Basis {
    /// Whether the column was new.
    fn insert(&mut self, mut column: Column) -> bool {
        for (lead, row) in &self.rows {
            if column[lead / 64] >> (lead % 64) & 1 == 1 {
                for (c, r) in column.iter_mut().zip(row) {
                    *c ^= r;
                }
            }
        }
        let lead = column
            .iter()
            .enumerate()
            .find(|(_, w)| **w != 0)
            .map(|(i, w)| 64 * i + w.trailing_zeros() as usize);
        lead.map(|lead| self.rows.push((lead, column))).is_some()
    }
}

/// The first thing that is wrong with what the observer was told, if anything is.
fn leak(said: &[pair::Said], observer: Party, widths: [usize; 2]) -> Option<String> {
    let last = PENS.map(|p| said.iter().rposition(|s| s.0 == p));
    let mut basis = Basis::default();
    basis.insert([!0; WORDS]);
    let mut known: Vec<Column> = Vec::new();
    for (i, (party, message)) in said.iter().enumerate() {
        let width = if last[*party as usize] == Some(i) { widths[*party as usize] } else { 0 };
        for (k, column) in columns(message, width).into_iter().enumerate() {
            let new = basis.insert(column);
            if *party != observer {
                let ones: u32 = column.iter().map(|w| w.count_ones()).sum();
                // Six standard deviations.
                if f64::from(ones.abs_diff(LANES as u32 / 2)) > 3.0 * (LANES as f64).sqrt() {
                    return Some(format!("column {k} of message {i} has {ones} ones"));
                }
                if !new {
                    return Some(format!("column {k} of message {i} follows from what was said before"));
                }
            }
            for other in &known {
                basis.insert(std::array::from_fn(|w| other[w] & column[w]));
            }
            known.push(column);
        }
    }
    assert!(basis.rows.len() < LANES - 64, "too few lanes for {} monomials", basis.rows.len());
    None
}

type Sx = Session<QueueLink, Observed>;

/// Holds a protocol to the test, as told to either party, and takes away every mask once. `widths` are the bits of the
/// numbers at the end of the client's and the server's last message.
fn check<T>(
    name: &str,
    l: u32,
    widths: [usize; 2],
    role: impl AsyncFn(&mut Sx, Shares) -> Result<T, MpcError>,
) {
    let mut rng = Prg::new(&[4; 32], "mask tests", &[name.as_bytes()]);
    for (observer, pen) in PENS.into_iter().flat_map(|o| PENS.map(|p| (o, p))) {
        let operands = [rng.next_u64(), rng.next_u64()].map(|v| Shares::new(l, vec![v; LANES]).unwrap());
        let run = |planted| {
            let pads = Observed::pair(rng_seed(name, observer, pen), observer, planted);
            let (results, said, pads) = pair::run(pads, pen, operands.clone(), &role).unwrap();
            assert!(results.iter().all(Result::is_ok));
            let widths = if pen == Party::Client { widths } else { [widths[1], widths[0]] };
            (leak(&said, observer, widths), pads[0].count)
        };
        let (found, masks) = run(None);
        assert_eq!(found, None, "{name}: {observer:?} is told something, pen of {pen:?}");
        assert!(masks > 0);
        for planted in 0..masks {
            assert!(run(Some(planted)).0.is_some(), "{name}: mask {planted} of {masks} is missing unnoticed");
        }
    }
}

fn rng_seed(name: &str, observer: Party, pen: Party) -> u8 {
    name.bytes().fold(observer as u8 * 2 + pen as u8, u8::wrapping_add)
}

#[test]
fn what_a_party_is_told_in_the_small_protocols_is_uniform_and_every_mask_is_needed() {
    let v = VALUE_BITS;
    check("private bits", 4, [0, 0], async |cx, x| and_private(cx, &x.bit(3)).await);
    check("shared bits", 4, [0, 0], async |cx, x| and_bits(cx, &x.bit(3), &x.bit(1)).await);
    // The number at the end of the pen holder's message is one bit narrower than the ring.
    check("to ring", v + 1, [v as usize, 0], async |cx, x| to_ring(cx, &x.bit(3), v + 1).await);
    check("widen", 6, [v as usize, 0], async |cx, x| {
        widen(cx, &x, 6 + v, Range::NonNegative, Radix::Four).await
    });
    check("select", v, [v as usize; 2], async |cx, x| select(cx, &x.bit(3), &x).await);
    check("truncate", v + 2, [v as usize; 2], async |cx, x| truncate_close(cx, &x, v).await);
}

#[test]
fn what_a_party_is_told_in_a_comparison_is_uniform_and_every_mask_is_needed() {
    for radix in [Radix::Two, Radix::Four] {
        check("sign", 7, [0, 0], async |cx, x| drelu(cx, &x, radix).await);
        check("two cuts", 6, [0, 0], async |cx, x| carries(cx, &x, &[3, 6], radix).await);
    }
    let v = VALUE_BITS;
    check("relu", v, [v as usize; 2], async |cx, x| relu(cx, &x, Radix::Four).await);
}
