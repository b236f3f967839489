//! Modulus chains for a network: one prime per multiplicative level, sized for what is divided there.

use super::levels::shapes;
use super::network::{Kind, Network};
use super::plan::{MAX_PRIMES, primes};
use super::program::depths;
use super::units::{UnitCosts, Units};
use oblivia_he::{ERROR_STD, LevelLiteral, Moduli, ParamsLiteral, RingKind, security};

/// Bits of the primes of a chain, and the scales that go with them (cookbook §3, §7: a plaintext's rounding and a
/// rescale's balance when linear layers drop about 7 bits less than squares).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ChainBits {
    pub(super) literal: ParamsLiteral,
    /// Of the input.
    pub(super) input_log_scale: u32,
    /// Of the output.
    pub(super) output_log_scale: u32,
    /// Of results inside.
    pub(super) inner_log_scale: u32,
}

/// Dropped behind a linear layer, at dimension 8192 and no extra precision.
const LINEAR_BITS: u32 = 26;
/// Dropped behind a square.
const SQUARE_BITS: u32 = 33;
/// The prime that stays.
const LAST_BITS: u32 = 34;
/// What the special modulus exceeds the largest digit by.
const SPECIAL_MARGIN_BITS: u32 = 5;

/// Bits of precision beyond the least.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Precision {
    /// Of all primes and scales.
    pub(super) extra: u32,
    /// Behind each linear layer more than behind the next one: what follows amplifies early errors most.
    pub(super) tilt: u32,
    /// Of the input's scale.
    pub(super) input: u32,
}

impl Precision {
    /// What is tried, one after the other.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let steps = || (0..=4).step_by(2);
        let of =
            move |extra| steps().flat_map(move |tilt| steps().map(move |input| Self { extra, tilt, input }));
        (0..16).flat_map(of)
    }
}

/// How the moduli of a chain are split into primes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Style {
    /// One prime per level, and everywhere the same special primes and digits.
    Plain,
    /// One prime per level, special primes and digits by level: the smaller the modulus, the larger P may be.
    Special,
    /// Primes by level too: as few as hold the modulus.
    Own,
}

impl Style {
    /// Usually the best one first.
    pub(super) const ALL: [Self; 3] = [Self::Own, Self::Special, Self::Plain];
}

/// The plain chain of a network at dimension 2^`log_n`; `None` if it is over the security table or primes do not exist in
/// that size.
pub(super) fn chain_bits(network: &Network, log_n: u32, precision: Precision) -> Option<ChainBits> {
    chain_of(&squares(network)?, log_n, precision)
}

/// What a level and its unit costs take, in any unit.
pub(super) type Work<'a> = &'a dyn Fn(usize, &Units) -> f64;

/// As [`chain_bits`], of any style; each level's modulus is split so that `work` there is least. `None` too where a style
/// does not suit the network.
pub(super) fn styled_bits(
    network: &Network,
    log_n: u32,
    precision: Precision,
    style: Style,
    (costs, work): (UnitCosts, Work<'_>),
) -> Option<ChainBits> {
    let depths = depths(network);
    let depth = |value: usize| depths.get(value).copied();
    let across =
        |l: &super::network::Layer| matches!(l.kind, Kind::Add(other) if depth(other) != depth(l.from));
    // A sum of values of two levels needs primes of the one that are the first of the other.
    if style == Style::Own && network.layers.iter().any(across) {
        return None;
    }
    let sizes = sizes(&squares(network)?, log_n, precision)?;
    let literal = match style {
        Style::Plain => plain(log_n, &sizes)?,
        Style::Special | Style::Own => by_level(log_n, &sizes, style, (costs, work))?,
    };
    Some(ChainBits::new(literal, log_n, precision))
}

/// What a plan for `network` with the chain of `literal` says where the search had to do without primes by level: split
/// as usual, at the least precision, they would be more than a plan may have. Nothing where they are there, would fit, or
/// do not suit the network.
pub(super) fn without_own_primes(
    network: &Network,
    literal: &ParamsLiteral,
    costs: UnitCosts,
) -> Option<String> {
    if !literal.levels.iter().zip(1..).all(|(level, l)| level.q.len() == l) {
        return None;
    }
    let usual = |_: usize, units: &Units| units.usual();
    let own = styled_bits(network, literal.log_n, Precision::default(), Style::Own, (costs, &usual))?.literal;
    let count = primes(&own.q) + primes(&own.p);
    let what = if literal.levels.is_empty() { "one chain for all levels" } else { "one more per level" };
    (count > MAX_PRIMES).then(|| {
        format!("primes: {what}; a plan has {MAX_PRIMES} at most, by level there would be {count} or so")
    })
}

/// What happens at each depth: whether a square or something linear.
fn squares(network: &Network) -> Option<Vec<bool>> {
    let depths = depths(network);
    let mut squares = vec![false; depths.last().copied()?];
    for layer in &network.layers {
        if matches!(layer.kind, Kind::Square)
            && let Some(square) = depths.get(layer.from).and_then(|&d| squares.get_mut(d))
        {
            *square = true;
        }
    }
    Some(squares)
}

/// As [`chain_bits`], from what happens at each depth: whether a square or something linear.
pub(super) fn chain_of(squares: &[bool], log_n: u32, precision: Precision) -> Option<ChainBits> {
    Some(ChainBits::new(plain(log_n, &sizes(squares, log_n, precision)?)?, log_n, precision))
}

/// Bits that each level has more than the one below, from level 1 on; `None` if one is too wide for a prime.
fn sizes(squares: &[bool], log_n: u32, precision: Precision) -> Option<Vec<u32>> {
    let (extra, tilt) = (extra(log_n, precision), precision.tilt);
    // A value of depth d has depth + 1 − d live primes; the last of them is dropped.
    let linear = squares.iter().filter(|&&square| !square).count() as u32;
    // What the last linear layer gets, counted up towards the first; the sum stays what it is without a tilt.
    let mut bits = LINEAR_BITS.checked_sub(tilt * linear.saturating_sub(1) / 2)?;
    let dropped = squares.iter().rev().map(|&square| {
        if square {
            return SQUARE_BITS;
        }
        bits += tilt;
        bits - tilt
    });
    let sizes = std::iter::once(LAST_BITS).chain(dropped).map(|bits| bits + extra).collect();
    (SQUARE_BITS + extra <= 48).then_some(sizes)
}

/// Bits of all primes and scales beyond the least: errors of a rescale grow with the dimension.
fn extra(log_n: u32, precision: Precision) -> u32 {
    precision.extra + log_n.saturating_sub(13)
}

impl ChainBits {
    fn new(literal: ParamsLiteral, log_n: u32, precision: Precision) -> Self {
        let extra = extra(log_n, precision);
        Self {
            literal,
            input_log_scale: SQUARE_BITS - 1 + extra + precision.input,
            output_log_scale: SQUARE_BITS - 1 + extra,
            inner_log_scale: SQUARE_BITS + extra,
        }
    }
}

/// One prime per level.
fn plain(log_n: u32, q: &[u32]) -> Option<ParamsLiteral> {
    let limit = f64::from(security::max_log_qp(1 << log_n).ok()?);
    // Digits of alpha primes and as many special ones: few digits mean few transforms and small keys, many special
    // primes the opposite.
    let levels = q.len();
    let special = |alpha: usize| {
        let largest = q.chunks(alpha).map(|d| d.iter().sum::<u32>()).max().unwrap_or(0);
        vec![(largest + SPECIAL_MARGIN_BITS).div_ceil(alpha as u32); alpha]
    };
    let fits = |alpha: usize| {
        let p = special(alpha);
        let total: u32 = q.iter().chain(&p).sum();
        f64::from(total) <= limit && p.iter().all(|&p| p <= 50)
    };
    let work =
        |alpha: usize| -> usize { (2..=levels).map(|l| (2 * l.div_ceil(alpha) + 2) * (l + alpha)).sum() };
    let alpha = (1..=levels).filter(|&a| fits(a)).min_by_key(|&a| work(a))?;
    Some(ParamsLiteral {
        kind: RingKind::ConjugateInvariant,
        log_n,
        q: Moduli::Bits(q.to_vec()),
        p: Moduli::Bits(special(alpha)),
        alpha,
        levels: Vec::new(),
    })
}

/// Primes up to this many bits have the fastest transforms.
const FAST_BITS: u32 = 46;

/// `total` bits in `count` parts that differ by one at most, larger ones first.
fn parts(total: u32, count: usize) -> Vec<u32> {
    let count = count as u32;
    (0..count).map(|i| total / count + u32::from(i < total % count)).collect()
}

/// One level on its own: bits of its primes and its special primes, and limbs per digit.
struct Split {
    q: Vec<u32>,
    p: Vec<u32>,
    alpha: usize,
}

/// The fewest bits of primes. They are 1 modulo 2^(`log_n` + 2), so of b bits there are 2^(b − `log_n` − 3) candidates, about
/// 2 in b of them primes: some twenty of the fewest bits at any dimension.
fn least_bits(log_n: u32) -> u32 {
    log_n + 11
}

/// What `count` primes of `bits` bits are below 2^(`count`·`bits`), in bits, twice what is to be expected: the k-th one is
/// about k·`bits`/2 candidates below the power of two.
fn shortfall(log_n: u32, bits: f64, count: usize) -> f64 {
    let order = (count * (count + 1)) as f64 / 2.0;
    order * bits * 2f64.powi(log_n as i32 + 2 - bits as i32)
}

/// The ways to give a modulus of these primes special ones at dimension 2^`log_n`, within `limit` bits.
fn splits(log_n: u32, q: &[u32], limit: u32) -> impl Iterator<Item = Split> {
    (1..=q.len()).flat_map(move |alpha| {
        let largest = q.chunks(alpha).map(|d| d.iter().sum::<u32>()).max().unwrap_or(0);
        let digits = q.len().div_ceil(alpha);
        let split = move |special: usize| {
            // As `Params::new` wants it, the primes of P being a little below powers of two.
            let drowned = ERROR_STD * (1.5 * (digits * alpha) as f64 / special as f64).sqrt();
            let bits = f64::from(largest) + drowned.log2();
            let below = shortfall(log_n, bits / special as f64, special).max(0.01);
            let p = parts((bits + below).ceil() as u32, special);
            let sizes = least_bits(log_n)..=FAST_BITS;
            let fits = q.iter().chain(&p).sum::<u32>() <= limit && p.iter().all(|p| sizes.contains(p));
            fits.then(|| Split { q: q.to_vec(), p, alpha })
        };
        (1..=alpha + 1).filter_map(split)
    })
}

/// The chain whose levels each have the digits and special primes, and in style [`Style::Own`] the primes, that make the
/// work at that level cheapest.
fn by_level(
    log_n: u32,
    sizes: &[u32],
    style: Style,
    (costs, work): (UnitCosts, Work<'_>),
) -> Option<ParamsLiteral> {
    let limit = security::max_log_qp(1 << log_n).ok()?;
    let mut pool = Pool::default();
    let mut levels = Vec::new();
    for level in 1..=sizes.len() {
        let q = sizes.get(..level)?;
        let total: u32 = q.iter().sum();
        let bases: Vec<Vec<u32>> = match style {
            Style::Own => (1..=level)
                .map(|count| parts(total, count))
                .filter(|q| q.iter().all(|b| (24..=FAST_BITS).contains(b)))
                .collect(),
            Style::Plain | Style::Special => vec![q.to_vec()],
        };
        let cost = |split: &Split| {
            let mut one = Pool::default();
            let levels = vec![one.level(split)];
            let literal = one.literal(log_n, levels);
            shapes(&literal).first().map_or(f64::INFINITY, |&s| work(level, &Units::at(costs, log_n, s)))
        };
        let splits = bases.iter().flat_map(|q| splits(log_n, q, limit));
        let best = splits.map(|s| (cost(&s), s)).min_by(|a, b| a.0.total_cmp(&b.0))?;
        levels.push(pool.level(&best.1));
    }
    Some(pool.literal(log_n, levels))
}

/// The primes of all levels, by their bits: levels that ask for the same number of bits share primes.
#[derive(Default)]
struct Pool {
    bits: Vec<u32>,
}

impl Pool {
    fn level(&mut self, split: &Split) -> LevelLiteral {
        let mut taken = Vec::new();
        let mut take = |list: &[u32]| -> Vec<usize> {
            let one = |&bits: &u32| {
                let free = |&i: &usize| self.bits.get(i).is_none_or(|&b| b == bits) && !taken.contains(&i);
                let found = (0..=self.bits.len()).find(free).unwrap_or(self.bits.len());
                if found == self.bits.len() {
                    self.bits.push(bits);
                }
                taken.push(found);
                found
            };
            list.iter().map(one).collect()
        };
        LevelLiteral { q: take(&split.q), p: take(&split.p), alpha: split.alpha }
    }

    /// All primes are listed as primes of `q` but one, which a chain needs among the special ones.
    fn literal(&self, log_n: u32, levels: Vec<LevelLiteral>) -> ParamsLiteral {
        let (last, others) = self.bits.split_last().map_or((0, &[][..]), |(last, others)| (*last, others));
        ParamsLiteral {
            kind: RingKind::ConjugateInvariant,
            log_n,
            q: Moduli::Bits(others.to_vec()),
            p: Moduli::Bits(vec![last]),
            alpha: 1,
            levels,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::search;
    use super::super::random_tests::Build;
    use super::*;
    use oblivia_he::Params;
    use oblivia_nn::Op;
    use oblivia_protocol::Wish;

    #[test]
    fn every_way_to_split_a_level_has_the_primes_it_asks_for_and_special_ones_that_drown_the_noise() {
        for log_n in [13, 15] {
            let limit = security::max_log_qp(1 << log_n).unwrap();
            let bases = [24, 26, 27, 30, 33, 38, 46].map(|bits| (1..=5).map(move |count| vec![bits; count]));
            let mut tried = 0;
            for q in bases.into_iter().flatten() {
                for split in splits(log_n, &q, limit) {
                    let mut pool = Pool::default();
                    let levels = vec![pool.level(&split)];
                    let made = Params::new(&pool.literal(log_n, levels));
                    assert!(made.is_ok(), "{log_n}: {q:?}, special {:?}: {}", split.p, made.unwrap_err());
                    tried += 1;
                }
            }
            assert!(tried > 50, "{tried} ways");
        }
    }

    #[test]
    fn a_plan_too_deep_for_primes_by_level_says_so_and_no_other_does() {
        let plan = |pairs: usize, name: &str| {
            let mut b = Build::new(1, [8, 0, 0]);
            for _ in 0..pairs {
                b.dense(8);
                b.push(Op::Square);
            }
            b.dense(2);
            let wish = Wish { plan: Some(name.into()), ..Wish::default() };
            let plan = search(&b.finish().0.public, &wish).unwrap();
            plan.steps.into_iter().filter(|s| s.starts_with("primes: ")).collect::<Vec<_>>()
        };
        let said = plan(6, "planned");
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("one chain for all levels; a plan has 48 at most"), "{said:?}");
        // Primes by level are there, or not wished for.
        assert_eq!((plan(2, "planned").len(), plan(2, "diagonal").len()), (0, 0));
    }
}
