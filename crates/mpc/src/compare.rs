//! Comparison of numbers two parties hold one of, and what is made of it: the carry out of the low bits of a shared
//! number, its most significant bit, and whether it is not negative.
//!
//! The carry out of the low n bits of x_C + x_S is [q > p] for q the low bits of one share and p the complement of the
//! low bits of the other. Both are cut into digits. Per digit a random 1-of-2^m OT, one message of which is free, gives
//! XOR shares of [q_i > p_i] and [q_i = p_i]; a tree merges neighbours, g = g_h ⊕ e_h·g_l, e = e_h·e_l. The party with the
//! pen is the one that chooses: its flips ride with what it sent before.
//!
//! Leaves by 1-of-2^m OT and the merging tree: D. Rathee et al., *CrypTFlow2: Practical 2-Party Secure Inference* (2020),
//! section 3.

use crate::bits::require;
use crate::gates::{AndJob, and, and_cost};
use crate::{Bits, Cost, Link, MpcError, PadSource, Session, Shares};

/// Base of the digits that are compared at a time, 2^m; of numbers that m does not divide, digits are nearly even.
///
/// A larger one takes fewer OTs and messages; m = 2 sends the fewest bits from 5 bits up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Radix {
    /// m = 1: bit by bit.
    Two,
    /// m = 2.
    Four,
    /// m = 2½: digits of 2 and of 3 bits.
    Mixed,
    /// m = 3.
    Eight,
    /// m = 4.
    Sixteen,
}

impl Radix {
    /// All, small first.
    pub const ALL: [Self; 5] = [Self::Two, Self::Four, Self::Mixed, Self::Eight, Self::Sixteen];

    /// 2m, twice the bits of a digit.
    fn twice_bits(self) -> u32 {
        match self {
            Self::Two => 2,
            Self::Four => 4,
            Self::Mixed => 5,
            Self::Eight => 6,
            Self::Sixteen => 8,
        }
    }

    /// The radix whose [`drelu`] at `width` bits costs least: bits it sends plus `cot_bits` for each COT, in bits of the
    /// same link, plus `change_bits` for each message, the bits the link would carry in one delay, divided by the number
    /// of elements compared at a time.
    pub fn cheapest(width: u32, cot_bits: f64, change_bits: f64) -> Self {
        let price = |radix: &Self| {
            let cost = drelu_cost(width, *radix);
            cost.bits() as f64 + cot_bits * cost.cots() as f64 + change_bits * cost.changes() as f64
        };
        Self::ALL.into_iter().min_by(|a, b| price(a).total_cmp(&price(b))).unwrap_or(Self::Four)
    }
}

impl std::fmt::Display for Radix {
    /// Bits of a digit.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Two => "1",
            Self::Four => "2",
            Self::Mixed => "2 to 3",
            Self::Eight => "3",
            Self::Sixteen => "4",
        })
    }
}

/// Most bits of a digit.
const MAX_DIGIT_BITS: u32 = 4;

/// Digits at bits from .. to, lowest first: as few as the radix allows, and of all ways to cut that number of digits the
/// one whose leaves send least.
fn digits(from: u32, to: u32, radix: Radix) -> Vec<Digit> {
    let n = to.saturating_sub(from);
    let digit = |at, bits| Digit { at, bits, equal: at > 0 };
    let count = match from {
        _ if n == 0 => return Vec::new(),
        // The lowest digit of a number needs no [q = p], which makes it cheap: it may have as many bits as any.
        0 if radix != Radix::Two => 1 + (2 * n.saturating_sub(MAX_DIGIT_BITS)).div_ceil(radix.twice_bits()),
        _ => (2 * n).div_ceil(radix.twice_bits()),
    };
    let mut bits = vec![1; count.min(n) as usize];
    for _ in bits.len()..n as usize {
        // What one more bit adds to a leaf grows with its bits: the cheapest first gives the least sum.
        let more = |&i: &usize| {
            let at = from + i as u32;
            let leaf = |more| digit(at, bits.get(i).map_or(MAX_DIGIT_BITS, |b| b + more)).leaf_bits();
            leaf(1) - leaf(0)
        };
        let open = (0..bits.len()).filter(|&i| bits.get(i).is_some_and(|b| *b < MAX_DIGIT_BITS));
        if let Some(b) = open.min_by_key(more).and_then(|i| bits.get_mut(i)) {
            *b += 1;
        }
    }
    let mut at = from;
    let place = |bits| {
        at += bits;
        digit(at - bits, bits)
    };
    bits.into_iter().map(place).collect()
}

/// A digit to be compared; the lowest needs no [q = p].
#[derive(Clone, Copy)]
struct Digit {
    at: u32,
    bits: u32,
    equal: bool,
}

impl Digit {
    /// Bits of a pad: equality of one bit is local.
    fn pad_bits(&self) -> u32 {
        1 + u32::from(self.equal && self.bits > 1)
    }

    /// Messages in the table that are not free.
    fn entries(&self) -> usize {
        (1 << self.bits) - 1
    }

    /// Bits of the table, per lane.
    fn table_bits(&self) -> usize {
        self.entries() * self.pad_bits() as usize
    }

    /// Bits of flips and table, per lane.
    fn leaf_bits(&self) -> usize {
        self.bits as usize + self.table_bits()
    }
}

/// Shares of [q > p] and, unless the number begins here, of [q = p].
struct Node {
    greater: Bits,
    equal: Option<Bits>,
}

/// Shares of the carries out of the low bits of x_C + x_S, as integers, at each of the `cuts`, which ascend.
///
/// The pen's holder chooses. One message of flips, then as many exchanges as the highest tree has levels, then one more
/// for each cut after the first.
///
/// # Errors
/// [`MpcError::Argument`] if the cuts do not ascend from 1 to at most the width; what the peer or the stocks cause.
pub async fn carries<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    x: &Shares,
    cuts: &[u32],
    radix: Radix,
) -> Result<Vec<Bits>, MpcError> {
    let mut last = 0;
    for cut in cuts {
        let ok = (last + 1..=x.width()).contains(cut);
        require(ok, "cut of a number", u64::from(*cut), "above the cut before and at most the width")?;
        last = *cut;
    }
    let segments = segments(cuts, radix);
    let leaves = leaves(cx, x, &segments.concat()).await?;
    let mut leaves = leaves.into_iter();
    let trees = segments.iter().map(|s| leaves.by_ref().take(s.len()).collect()).collect();
    let mut out: Vec<Bits> = Vec::with_capacity(cuts.len());
    for node in merge(cx, trees).await? {
        let carry = match (out.last(), &node.equal) {
            (Some(below), Some(equal)) => {
                let mut products = and(cx, &[AndJob { a: equal, b: [Some(below), None] }]).await?;
                let mut carry = node.greater;
                if let Some([Some(product), _]) = products.pop() {
                    carry.xor_assign(&product);
                }
                carry
            }
            _ => node.greater,
        };
        out.push(carry);
    }
    Ok(out)
}

/// Of [`carries`], per element.
pub fn carries_cost(cuts: &[u32], radix: Radix) -> Cost {
    let segments = segments(cuts, radix);
    let digits = segments.concat();
    let sum = |f: fn(&Digit) -> u64| digits.iter().map(f).sum::<u64>();
    let flips = sum(|d| u64::from(d.bits));
    let mut cost = Cost::tell(flips).with_cots(0, flips);
    cost = cost.then(&Cost::write(sum(|d| d.table_bits() as u64)));
    let mut sizes: Vec<usize> = segments.iter().map(Vec::len).collect();
    while sizes.iter().any(|s| *s > 1) {
        let mut level = [0; 2];
        for (tree, size) in sizes.iter_mut().enumerate() {
            let (pairs, spine) = (*size as u64 / 2, u64::from(tree == 0 && *size > 1));
            level[0] += spine;
            level[1] += pairs - spine;
            *size = size.div_ceil(2);
        }
        let bits = 2 * level[0] + 3 * level[1];
        cost = cost.then(&Cost::exchange(bits, bits).with_cots(level[0] + level[1], level[0] + level[1]));
    }
    cuts.iter().skip(1).fold(cost, |cost, _| cost.then(&and_cost(1)))
}

fn segments(cuts: &[u32], radix: Radix) -> Vec<Vec<Digit>> {
    let from = std::iter::once(0).chain(cuts.iter().copied());
    from.zip(cuts).map(|(from, to)| digits(from, *to, radix)).collect()
}

/// Shares of the most significant bit of x, of at least 2 bits: m_C ⊕ m_S ⊕ the carry into it.
///
/// # Errors
/// [`MpcError::Argument`] if x has one bit; what the peer or the stocks cause.
pub async fn msb<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    x: &Shares,
    radix: Radix,
) -> Result<Bits, MpcError> {
    require(x.width() >= 2, "width of a number with a sign", u64::from(x.width()), "at least 2 bits")?;
    let mut msb = x.bit(x.width() - 1);
    for carry in carries(cx, x, &[x.width() - 1], radix).await? {
        msb.xor_assign(&carry);
    }
    Ok(msb)
}

/// Shares of [x ≥ 0] for x in two's complement, of at least 2 bits.
///
/// Bits per element Σ leaves + 6(D − 1) − 2H for D digits and H = ⌈log2 D⌉ levels, where a leaf takes 2 bits for m = 1
/// and m + 2(2^m − 1) otherwise, half the table for the lowest; l − 1 + 2(D − 1) COTs; H + 1 exchanges.
///
/// # Errors
/// As [`msb`].
pub async fn drelu<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    x: &Shares,
    radix: Radix,
) -> Result<Bits, MpcError> {
    let msb = msb(cx, x, radix).await?;
    Ok(if cx.party() == crate::Party::Server { msb.not() } else { msb })
}

/// Of [`drelu`] and [`msb`], per element.
pub fn drelu_cost(width: u32, radix: Radix) -> Cost {
    carries_cost(&[width.saturating_sub(1)], radix)
}

/// Shares of [q > p] and [q = p] for every digit, q the chooser's and p the complement of the other party's.
async fn leaves<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    x: &Shares,
    digits: &[Digit],
) -> Result<Vec<Node>, MpcError> {
    let n = x.len();
    let planes = x.planes(0, digits.last().map_or(0, |d| d.at + d.bits));
    let own = |d: &Digit| planes.get(d.at as usize..(d.at + d.bits) as usize).unwrap_or_default();
    if cx.holds_pen() {
        let mut pads = Vec::with_capacity(digits.len());
        let mut flips = Vec::with_capacity(planes.len());
        for d in digits {
            let [choice, pad] = cx.pads().choose_planes(d.bits, d.pad_bits(), n)?;
            flips.extend(own(d).iter().zip(&choice).map(|(q, c)| q.xor(c)));
            pads.push((choice, pad));
        }
        cx.tell(|w| flips.iter().for_each(|f| w.bits(f)))?;
        let bits = n * digits.iter().map(Digit::table_bits).sum::<usize>();
        let read = |r: &mut crate::wire::BitReader| {
            let mut nodes = Vec::with_capacity(digits.len());
            for (d, (choice, pad)) in digits.iter().zip(pads) {
                let table: Vec<Bits> = (0..d.table_bits()).map(|_| r.bits(n)).collect::<Result<_, _>>()?;
                nodes.push(chosen(d, &choice, pad, &table, own(d)));
            }
            Ok(nodes)
        };
        cx.read(bits, read).await
    } else {
        let bits = planes.len() * n;
        let flips =
            cx.hear(bits, |r| planes.iter().map(|_| r.bits(n)).collect::<Result<Vec<Bits>, _>>()).await?;
        let mut nodes = Vec::with_capacity(digits.len());
        for d in digits {
            let pads = cx.pads().send_planes(d.bits, d.pad_bits(), n)?;
            let flips = flips.get(d.at as usize..(d.at + d.bits) as usize).unwrap_or_default();
            let (node, table) = sent(d, flips, own(d), &pads, n);
            cx.write(|w| table.iter().for_each(|t| w.bits(t)))?;
            nodes.push(node);
        }
        Ok(nodes)
    }
}

/// The sender's shares and its table. `own` are the planes of its share, the complement of p.
fn sent(d: &Digit, flips: &[Bits], own: &[Bits], pads: &[Bits], n: usize) -> (Node, Vec<Bits>) {
    let two = d.pad_bits() == 2;
    let (mut node, table) = match (d.bits, two) {
        (1, _) => table::<1, 2, false>(flips, own, pads, n),
        (2, false) => table::<2, 4, false>(flips, own, pads, n),
        (2, true) => table::<2, 4, true>(flips, own, pads, n),
        (3, false) => table::<3, 8, false>(flips, own, pads, n),
        (3, true) => table::<3, 8, true>(flips, own, pads, n),
        (_, false) => table::<4, 16, false>(flips, own, pads, n),
        (_, true) => table::<4, 16, true>(flips, own, pads, n),
    };
    if d.equal && !two {
        node.equal = own.first().cloned();
    }
    (node, table)
}

/// For every lane, with f(j) = ([j > p], [j = p]) and d the flips: share = f(d) ⊕ pad_0, entry_k = f(k ⊕ d) ⊕ share ⊕
/// pad_k for 1 ≤ k < N. Entries in order, the bit of `>` first.
fn table<const M: usize, const N: usize, const EQUAL: bool>(
    flips: &[Bits],
    own: &[Bits],
    pads: &[Bits],
    n: usize,
) -> (Node, Vec<Bits>) {
    let words = n.div_ceil(64);
    let w = 1 + usize::from(EQUAL);
    let mut out: Vec<Vec<u64>> = (0..N * w).map(|_| Vec::with_capacity(words)).collect();
    let word = |planes: &[Bits], i: usize, t: usize| planes.get(i).map_or(0, |p| p.words()[t]);
    for t in 0..words {
        // After digit bits 0 … i, entry k < 2^(i + 1) compares k ⊕ d with p on those bits.
        let (mut greater, mut equal) = ([0u64; N], [0u64; N]);
        equal[0] = !0;
        for i in 0..M {
            let (d, not_p) = (word(flips, i, t), word(own, i, t));
            let (half, same) = (1 << i, d ^ not_p);
            for k in 0..half {
                let (g, e) = (greater[k], equal[k]);
                // With the bit j = d ⊕ k_i: above where j·¬p, equal where j = p.
                greater[k] = (d & not_p) | (same & g);
                greater[k | half] = (!d & not_p) | (!same & g);
                equal[k] = same & e;
                equal[k | half] = !same & e;
            }
        }
        let share = greater[0] ^ word(pads, 0, t);
        out[0].push(share);
        for k in 1..N {
            out[k * w].push(greater[k] ^ share ^ word(pads, k * w, t));
        }
        if EQUAL {
            let share = equal[0] ^ word(pads, 1, t);
            out[1].push(share);
            for k in 1..N {
                out[k * w + 1].push(equal[k] ^ share ^ word(pads, k * w + 1, t));
            }
        }
    }
    let mut planes = out.into_iter().map(|words| Bits::from_words(n, words));
    let greater = planes.next().unwrap_or_else(|| Bits::zeros(n));
    let equal = if EQUAL { planes.next() } else { None };
    (Node { greater, equal }, planes.collect())
}

/// The chooser's shares: entry c of the table, entry 0 being zero, without its pad.
fn chosen(d: &Digit, choice: &[Bits], pad: Vec<Bits>, table: &[Bits], own: &[Bits]) -> Node {
    let w = d.pad_bits() as usize;
    let mut shares = pad.into_iter().enumerate().map(|(i, pad)| {
        let entries: Vec<&Bits> = table.iter().skip(i).step_by(w).collect();
        match d.bits {
            1 => lookup::<1, 2>(choice, &pad, &entries),
            2 => lookup::<2, 4>(choice, &pad, &entries),
            3 => lookup::<3, 8>(choice, &pad, &entries),
            _ => lookup::<4, 16>(choice, &pad, &entries),
        }
    });
    let greater = shares.next().unwrap_or_else(|| Bits::zeros(0));
    let equal = match (d.equal, d.bits) {
        // [q = p] = q ⊕ ¬p, and the other party has ¬p.
        (true, 1) => own.first().cloned(),
        (true, _) => shares.next(),
        (false, _) => None,
    };
    Node { greater, equal }
}

fn lookup<const M: usize, const N: usize>(choice: &[Bits], pad: &Bits, entries: &[&Bits]) -> Bits {
    let word = |t: usize, pad: u64| {
        let mut v = [0u64; N];
        for (v, e) in v.iter_mut().skip(1).zip(entries) {
            *v = e.words()[t];
        }
        for i in 0..M {
            let c = choice.get(i).map_or(0, |c| c.words()[t]);
            for k in 0..N >> (i + 1) {
                v[k] = v[2 * k] ^ (c & (v[2 * k] ^ v[2 * k + 1]));
            }
        }
        v[0] ^ pad
    };
    Bits::from_words(pad.len(), pad.words().iter().enumerate().map(|(t, pad)| word(t, *pad)).collect())
}

/// Merges each tree, lowest digit first, to one node, all trees in the same exchanges.
async fn merge<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    mut trees: Vec<Vec<Node>>,
) -> Result<Vec<Node>, MpcError> {
    while trees.iter().any(|t| t.len() > 1) {
        let pairs = trees.iter().flat_map(|t| t.chunks_exact(2));
        let jobs: Vec<AndJob<'_>> = pairs
            .filter_map(|pair| match pair {
                [low, Node { equal: Some(a), .. }] => {
                    Some(AndJob { a, b: [Some(&low.greater), low.equal.as_ref()] })
                }
                _ => None,
            })
            .collect();
        let mut products = and(cx, &jobs).await?.into_iter();
        let mut next = Vec::with_capacity(trees.len());
        for tree in trees {
            let mut nodes = Vec::with_capacity(tree.len().div_ceil(2));
            let mut tree = tree.into_iter();
            while let Some(low) = tree.next() {
                match (tree.next(), products.len()) {
                    (Some(high), 1..) => {
                        let [greater, equal] = products.next().unwrap_or_default();
                        let mut node = Node { greater: high.greater, equal };
                        if let Some(product) = greater {
                            node.greater.xor_assign(&product);
                        }
                        nodes.push(node);
                    }
                    _ => nodes.push(low),
                }
            }
            next.push(nodes);
        }
        trees = next;
    }
    Ok(trees.into_iter().flatten().collect())
}
