//! Other widths, other scales: widening, truncation, division by public constants.
//!
//! The integers behind the shares satisfy x_C + x_S = x + 2^l·wrap for x read as unsigned. Whatever leaves the ring needs
//! that wrap; a bias of 2^(l−1) makes signed numbers unsigned. The server adds public numbers.
//!
//! Widening by the wrap and truncation to fewer bits as in D. Rathee et al., *SiRnn* (2021), faithful truncation in D.
//! Rathee et al., *CrypTFlow2* (2020), local truncation in P. Mohassel, Y. Zhang, *SecureML* (2017).

use crate::bits::require;
use crate::compare::{Radix, carries, carries_cost, drelu, drelu_cost};
use crate::gates::{
    Chosen, Sent, as_values, private_product, products, to_ring, to_ring_all, to_ring_all_cost, to_ring_cost,
};
use crate::{Bits, Cost, Link, MpcError, PadSource, Party, Session, Shares};

/// What is known of numbers that are widened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// 0 ≤ x < 2^(l−1), as after a ReLU: wrap = m_C ∨ m_S. One COT, k − l + 1 bits, one exchange.
    NonNegative,
    /// |x| < 2^(l−2): 2^(l−2) is added before and taken away after. Cost as above.
    SpareBit,
    /// Nothing: the wrap of the biased number is compared.
    Any,
}

/// x in two's complement of l bits as the same number in two's complement of `width` > l bits.
///
/// Outside its [`Range`] the result is another number; that is not noticed.
///
/// # Errors
/// [`MpcError::Argument`] unless l < width ≤ 64 and l ≥ 2; what the peer or the stocks cause.
pub async fn widen<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    x: &Shares,
    width: u32,
    range: Range,
    radix: Radix,
) -> Result<Shares, MpcError> {
    let l = x.width();
    require((2..64).contains(&l), "width of a number to widen", u64::from(l), "2 to 63 bits")?;
    require(
        (l + 1..=64).contains(&width),
        "width to widen to",
        u64::from(width),
        "above the width of x, at most 64",
    )?;
    let party = cx.party();
    let bias = bias(l, range);
    let biased = x.add_public(party, bias);
    let wide = Shares::new(width, biased.values().to_vec())?;
    let wrap = match range {
        Range::Any => {
            let mut carry = carries(cx, &biased, &[l], radix).await?;
            let carry = carry.pop().unwrap_or_else(|| Bits::zeros(x.len()));
            to_ring(cx, &carry, width - l).await?
        }
        Range::NonNegative | Range::SpareBit => {
            // m_C ∨ m_S = 1 − (1 − m_C)(1 − m_S).
            let below = private_product(cx, &biased.bit(l - 1).not(), width - l).await?;
            let neither = Shares::new(width - l, below.to_vec())?;
            neither.scale(1u64.wrapping_neg()).add_public(party, 1)
        }
    };
    let wrap = Shares::new(width, wrap.values().iter().map(|w| w << l).collect())?;
    Ok(wide.sub(&wrap)?.add_public(party, bias.wrapping_neg()))
}

/// Of [`widen`], per element.
pub fn widen_cost(from: u32, to: u32, range: Range, radix: Radix) -> Cost {
    let up = to.saturating_sub(from);
    match range {
        Range::NonNegative | Range::SpareBit => Cost::exchange(u64::from(up), 1).with_cots(1, 0),
        Range::Any => carries_cost(&[from], radix).then(&to_ring_cost(up)),
    }
}

fn bias(l: u32, range: Range) -> u64 {
    match range {
        Range::NonNegative => 0,
        Range::SpareBit => 1 << (l - 2),
        Range::Any => 1 << (l - 1),
    }
}

fn require_shift(x: &Shares, f: u32) -> Result<(), MpcError> {
    let l = x.width();
    require((1..l).contains(&f), "bits to truncate", u64::from(f), "at least 1 and below the width of x")
}

/// ⌊x / 2^f⌋, in two's complement of the same width: exact. With u = x + 2^(l−1): the carry of the low f bits and the
/// wrap of all come from one comparison.
///
/// # Errors
/// [`MpcError::Argument`] unless 1 ≤ f < l; what the peer or the stocks cause.
pub async fn truncate<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    x: &Shares,
    f: u32,
    radix: Radix,
) -> Result<Shares, MpcError> {
    require_shift(x, f)?;
    let (l, party) = (x.width(), cx.party());
    let u = x.add_public(party, 1 << (l - 1));
    let carries = carries(cx, &u, &[f, l], radix).await?;
    let jobs: Vec<(&Bits, u32)> = carries.iter().zip([l, f]).collect();
    let mut high = u.map(|v| v >> f);
    if let [carry, wrap] = to_ring_all(cx, &jobs).await?.as_slice() {
        let wrap = Shares::new(l, wrap.values().iter().map(|w| w << (l - f)).collect())?;
        high = high.add(carry)?.sub(&wrap)?;
    }
    Ok(high.add_public(party, (1u64 << (l - 1 - f)).wrapping_neg()))
}

/// Of [`truncate`], per element.
pub fn truncate_cost(width: u32, f: u32, radix: Radix) -> Cost {
    carries_cost(&[f, width], radix).then(&to_ring_all_cost(&[width, f]))
}

/// ⌊x / 2^f⌋ mod 2^(l−f), in a ring that is f bits narrower: exact, and only the low f bits are compared.
///
/// # Errors
/// [`MpcError::Argument`] unless 1 ≤ f < l; what the peer or the stocks cause.
pub async fn truncate_reduce<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    x: &Shares,
    f: u32,
    radix: Radix,
) -> Result<Shares, MpcError> {
    require_shift(x, f)?;
    let width = x.width() - f;
    let mut carry = carries(cx, x, &[f], radix).await?;
    let carry = carry.pop().unwrap_or_else(|| Bits::zeros(x.len()));
    let carry = to_ring(cx, &carry, width).await?;
    Shares::new(width, x.values().iter().map(|v| v >> f).collect())?.add(&carry)
}

/// Of [`truncate_reduce`], per element.
pub fn truncate_reduce_cost(width: u32, f: u32, radix: Radix) -> Cost {
    carries_cost(&[f], radix).then(&to_ring_cost(width.saturating_sub(f)))
}

/// ⌊x / 2^f⌋ or one less, for 3·|x| < 2^l: two COTs, 2(f + 1) bits, one exchange.
///
/// The wrap is 1 − [both shares below 2^l/3] + [both at least 2^(l+1)/3]. Outside that range the result is another
/// number; that is not noticed. Within it there is no large error, but which of the two values comes out depends on the
/// shares.
///
/// # Errors
/// [`MpcError::Argument`] unless 1 ≤ f < l; what the peer or the stocks cause.
pub async fn truncate_close<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    x: &Shares,
    f: u32,
) -> Result<Shares, MpcError> {
    require_shift(x, f)?;
    let (l, n, party) = (x.width(), x.len(), cx.party());
    let threefold = |i: usize| x.values().get(i).map_or(0, |v| 3 * u128::from(*v));
    let low = Bits::from_fn(n, |i| threefold(i) < 1 << l);
    let high = Bits::from_fn(n, |i| threefold(i) >= 2 << l);
    // Each party is the sender of one of the two products.
    let led = cx.holds_pen();
    let (sent, chosen) = if led { (&low, &high) } else { (&high, &low) };
    let (sent, chosen) =
        products(cx, &[Sent { width: f, delta: &as_values(sent) }], &[Chosen { width: f, bit: chosen }])
            .await?;
    let (low, high) = if led { (sent, chosen) } else { (chosen, sent) };
    let one = u64::from(party == Party::Server);
    let mut values = Vec::with_capacity(n);
    for (v, (low, high)) in
        x.values().iter().zip(low.iter().zip(&high).flat_map(|(a, b)| a.iter().zip(b.iter())))
    {
        let wrap = one.wrapping_sub(*low).wrapping_add(*high);
        values.push((v >> f).wrapping_sub(wrap << (l - f)));
    }
    Shares::new(l, values)
}

/// Of [`truncate_close`], per element.
pub fn truncate_close_cost(f: u32) -> Cost {
    let bits = u64::from(f) + 1;
    Cost::exchange(bits, bits).with_cots(1, 1)
}

/// ⌊x / 2^f⌋ with an error of −1, 0 or 1, unless it fails: with probability at most (|x| + 2^f) / 2^l over uniform shares
/// the result is wrong by a multiple of 2^(l−f). Local, no message.
///
/// # Errors
/// [`MpcError::Argument`] unless 1 ≤ f < l.
pub fn truncate_local(party: Party, x: &Shares, f: u32) -> Result<Shares, MpcError> {
    require_shift(x, f)?;
    Ok(match party {
        Party::Client => x.map(|v| v >> f),
        Party::Server => {
            let width = x.width();
            x.map(|v| (crate::gates::negate(v, width) >> f).wrapping_neg())
        }
    })
}

/// ⌊x / d⌋ for a public d, in two's complement of the same width: exact for x ≥ −d·⌊2^(l−1) / d⌋.
///
/// With u = x + β, β the largest multiple of d up to 2^(l−1), shares u_C + u_S − w·2^l = u and 2^l = q_l·d + r_l:
/// ⌊u/d⌋ = q_C + q_S − w·q_l + ⌊t/d⌋, t = r_C + r_S − w·r_l, and ⌊t/d⌋ = [t ≥ 0] + [t ≥ d] − 1. Divide by a power of two
/// with [`truncate`].
///
/// # Errors
/// [`MpcError::Argument`] unless 2 ≤ d ≤ 2^(l−2); what the peer or the stocks cause.
pub async fn divide<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    x: &Shares,
    d: u64,
    radix: Radix,
) -> Result<Shares, MpcError> {
    let (l, party, n) = (x.width(), cx.party(), x.len());
    require((4..=64).contains(&l), "width of a number to divide", u64::from(l), "4 to 64 bits")?;
    require((2..=1 << (l - 2)).contains(&d), "divisor", d, "2 to a quarter of the ring")?;
    let half = 1u64 << (l - 1);
    let bias = half - half % d;
    // 2^l = q_l·d + r_l; 2^l itself does not fit a word for l = 64.
    let full = 1u128 << l;
    let (quotient, rest) = ((full / u128::from(d)) as u64, (full % u128::from(d)) as u64);
    let u = x.add_public(party, bias);
    let mut wrap = carries(cx, &u, &[l], radix).await?;
    let wrap = wrap.pop().unwrap_or_else(|| Bits::zeros(n));
    let wrap = to_ring(cx, &wrap, l).await?;
    let small = remainder_width(d);
    let t = Shares::new(small, u.values().iter().map(|v| div_rem(*v, d).1).collect())?
        .sub(&Shares::new(small, wrap.scale(rest).values().to_vec())?)?;
    let both = Shares::concat(&[&t, &t.add_public(party, d.wrapping_neg())])?;
    let steps = drelu(cx, &both, radix).await?;
    let steps = to_ring(cx, &steps, l).await?;
    let quotients = u.map(|v| div_rem(v, d).0).sub(&wrap.scale(quotient))?;
    let quotients = quotients.add(&steps.slice(0, n)?)?.add(&steps.slice(n, n)?)?;
    Ok(quotients.add_public(party, (1 + bias / d).wrapping_neg()))
}

/// Of [`divide`], per element.
pub fn divide_cost(width: u32, d: u64, radix: Radix) -> Cost {
    let steps = drelu_cost(remainder_width(d), radix).then(&to_ring_cost(width)).times(2);
    carries_cost(&[width], radix).then(&to_ring_cost(width)).then(&steps)
}

/// v / d and v mod d without a division instruction, whose time depends on v; d ≥ 2 is public.
fn div_rem(v: u64, d: u64) -> (u64, u64) {
    // ⌊2^64/d⌋ is less than 1 below 2^64/d, so the quotient is right or one too small.
    let reciprocal = ((1u128 << 64) / u128::from(d)) as u64;
    let q = ((u128::from(v) * u128::from(reciprocal)) >> 64) as u64;
    let r = v.wrapping_sub(q.wrapping_mul(d));
    let (rest, below) = r.overflowing_sub(d);
    let keep = u64::from(below).wrapping_neg();
    (q.wrapping_add(u64::from(!below)), (r & keep) | (rest & !keep))
}

/// Least k with 2d ≤ 2^(k−1): −2d < t − d and t < 2d fit in k bits with sign.
fn remainder_width(d: u64) -> u32 {
    d.next_power_of_two().trailing_zeros() + 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotients_at_the_edges_are_those_of_division() {
        let edges =
            [0u64, 1, 2, 3, 5, 7, 10, 1 << 31, (1 << 32) - 1, 1 << 62, (1 << 62) - 1, 1 << 63, !0 - 1, !0];
        for d in edges.into_iter().filter(|d| *d >= 2) {
            for v in edges.into_iter().chain(edges.map(|v| v.wrapping_mul(d))) {
                assert_eq!(div_rem(v, d), (v / d, v % d), "{v} by {d}");
            }
        }
    }

    proptest! {
        #[test]
        fn quotients_are_those_of_division(v: u64, d in 2u64.., shift in 0u32..62) {
            let d = (d >> shift).max(2);
            prop_assert_eq!(div_rem(v, d), (v / d, v % d));
        }
    }
}
