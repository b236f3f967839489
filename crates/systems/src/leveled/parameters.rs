//! Modulus chains for a network: one prime per multiplicative level, sized for what is divided there.

use super::network::{Kind, Network};
use super::program::depths;
use oblivia_he::{Moduli, ParamsLiteral, RingKind, security};

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

/// The chain of a network at dimension 2^`log_n`; `None` if it is over the security
/// table or primes do not exist in that size.
pub(super) fn chain_bits(network: &Network, log_n: u32, precision: Precision) -> Option<ChainBits> {
    let depths = depths(network);
    let mut squares = vec![false; depths.last().copied()?];
    for layer in &network.layers {
        if matches!(layer.kind, Kind::Square)
            && let Some(square) = depths.get(layer.from).and_then(|&d| squares.get_mut(d))
        {
            *square = true;
        }
    }
    chain_of(&squares, log_n, precision)
}

/// As [`chain_bits`], from what happens at each depth: whether a square or something linear.
pub(super) fn chain_of(squares: &[bool], log_n: u32, precision: Precision) -> Option<ChainBits> {
    // Errors of a rescale grow with the dimension.
    let (extra, tilt) = (precision.extra + log_n.saturating_sub(13), precision.tilt);
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
    let q: Vec<u32> = std::iter::once(LAST_BITS).chain(dropped).map(|bits| bits + extra).collect();
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
        f64::from(total) <= limit && p.iter().all(|&p| p <= 50) && SQUARE_BITS + extra <= 48
    };
    let work =
        |alpha: usize| -> usize { (2..=levels).map(|l| (2 * l.div_ceil(alpha) + 2) * (l + alpha)).sum() };
    let alpha = (1..=levels).filter(|&a| fits(a)).min_by_key(|&a| work(a))?;
    let p = special(alpha);
    Some(ChainBits {
        literal: ParamsLiteral {
            kind: RingKind::ConjugateInvariant,
            log_n,
            q: Moduli::Bits(q),
            p: Moduli::Bits(p),
            alpha,
            levels: Vec::new(),
        },
        input_log_scale: SQUARE_BITS - 1 + extra + precision.input,
        output_log_scale: SQUARE_BITS - 1 + extra,
        inner_log_scale: SQUARE_BITS + extra,
    })
}
