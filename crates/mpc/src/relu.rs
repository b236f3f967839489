//! ReLU, maximum, arg-max and sign on shared numbers in two's complement.

use crate::bits::require;
use crate::compare::{Radix, drelu, drelu_cost};
use crate::gates::{select_all, select_cost, to_ring, to_ring_cost};
use crate::{Cost, Link, MpcError, PadSource, Session, Shares, select};

/// max(x, 0): [`drelu`], then [`select`]. H + 2 exchanges.
///
/// # Errors
/// [`MpcError::Argument`] if x has one bit; what the peer or the stocks cause.
pub async fn relu<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    x: &Shares,
    radix: Radix,
) -> Result<Shares, MpcError> {
    let positive = drelu(cx, x, radix).await?;
    select(cx, &positive, x).await
}

/// Of [`relu`], per element.
pub fn relu_cost(width: u32, radix: Radix) -> Cost {
    drelu_cost(width, radix).then(&select_cost(width))
}

/// min(max(x, 0), top) = ReLU(x) − ReLU(x − top) for 0 ≤ top < 2^(l−1) and x − top ≥ −2^(l−1); both ReLUs at once.
///
/// # Errors
/// [`MpcError::Argument`] if x has one bit or `top` is out of range; what the peer or the stocks cause.
pub async fn clip<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    x: &Shares,
    top: u64,
    radix: Radix,
) -> Result<Shares, MpcError> {
    require(top <= crate::share::mask(x.width() - 1), "upper bound", top, "a number that is not negative")?;
    let above = x.add_public(cx.party(), top.wrapping_neg());
    let both = relu(cx, &Shares::concat(&[x, &above])?, radix).await?;
    both.slice(0, x.len())?.sub(&both.slice(x.len(), x.len())?)
}

/// Of [`clip`], per element.
pub fn clip_cost(width: u32, radix: Radix) -> Cost {
    relu_cost(width, radix).times(2)
}

/// max(x, y) = y + ReLU(x − y), for −2^(l−1) ≤ x − y < 2^(l−1): |x|, |y| < 2^(l−2) are enough.
///
/// # Errors
/// [`MpcError::Argument`] if shapes differ or a number has one bit; what the peer or the stocks cause.
pub async fn max<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    x: &Shares,
    y: &Shares,
    radix: Radix,
) -> Result<Shares, MpcError> {
    let above = relu(cx, &x.sub(y)?, radix).await?;
    y.add(&above)
}

/// Of [`max`], per element.
pub fn max_cost(width: u32, radix: Radix) -> Cost {
    relu_cost(width, radix)
}

/// The greatest of `operands`, element by element, by a tournament of one comparison less than operands. Range as for
/// [`max`], between any two operands.
///
/// # Errors
/// [`MpcError::Argument`] without operands or if their shapes differ; what the peer or the stocks cause.
pub async fn max_of<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    mut operands: Vec<Shares>,
    radix: Radix,
) -> Result<Shares, MpcError> {
    let n = same_shape(&operands)?;
    while operands.len() > 1 {
        let (x, y) = pairs(&operands)?;
        let winners = max(cx, &x, &y, radix).await?;
        operands = next_round(operands, &winners, n)?;
    }
    operands.pop().map_or_else(|| Shares::new(0, Vec::new()), Ok)
}

/// Of [`max_of`] with `operands` operands of `n` elements, all of it.
pub fn max_of_cost(operands: usize, n: usize, width: u32, radix: Radix) -> Cost {
    tournament_cost(operands, n, &max_cost(width, radix))
}

/// The greatest of `operands` and, mod 2^index_width, its number from 0; the first of equal ones. Range as for
/// [`max`], between any two operands.
///
/// # Errors
/// [`MpcError::Argument`] without operands, if their shapes differ or numbers do not fit `index_width`; what the peer or
/// the stocks cause.
pub async fn arg_max<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    mut operands: Vec<Shares>,
    index_width: u32,
    radix: Radix,
) -> Result<(Shares, Shares), MpcError> {
    let n = same_shape(&operands)?;
    let count = operands.len() as u64;
    require(
        count - 1 <= crate::share::mask(index_width),
        "width of an index",
        u64::from(index_width),
        "enough for the number of operands",
    )?;
    let party = cx.party();
    let mut indices =
        (0..count).map(|i| Shares::public(party, index_width, vec![i; n])).collect::<Result<Vec<_>, _>>()?;
    while operands.len() > 1 {
        let (x, y) = pairs(&operands)?;
        let (i, j) = pairs(&indices)?;
        let (above, number) = (x.sub(&y)?, i.sub(&j)?);
        let first = drelu(cx, &above, radix).await?;
        let [above, number] = select_all(cx, &first, [&above, &number]).await?;
        operands = next_round(operands, &y.add(&above)?, n)?;
        indices = next_round(indices, &j.add(&number)?, n)?;
    }
    match (operands.pop(), indices.pop()) {
        (Some(greatest), Some(index)) => Ok((greatest, index)),
        _ => Err(MpcError::Argument { what: "number of operands", found: 0, expected: "at least 1" }),
    }
}

/// Of [`arg_max`] with `operands` operands of `n` elements, all of it.
pub fn arg_max_cost(operands: usize, n: usize, width: u32, index_width: u32, radix: Radix) -> Cost {
    let (value, index) = (u64::from(width) + 1, u64::from(index_width) + 1);
    let both = Cost::exchange(value + index, value + index).with_cots(2, 2);
    tournament_cost(operands, n, &drelu_cost(width, radix).then(&both))
}

/// 1 where x ≥ 0 and −1 elsewhere, mod 2^to_width.
///
/// # Errors
/// [`MpcError::Argument`] if x has one bit or unless 1 ≤ to_width ≤ 64; what the peer or the stocks cause.
pub async fn sign<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    x: &Shares,
    to_width: u32,
    radix: Radix,
) -> Result<Shares, MpcError> {
    let positive = drelu(cx, x, radix).await?;
    let one = to_ring(cx, &positive, to_width).await?;
    Ok(one.scale(2).add_public(cx.party(), 1u64.wrapping_neg()))
}

/// Of [`sign`], per element.
pub fn sign_cost(width: u32, to_width: u32, radix: Radix) -> Cost {
    drelu_cost(width, radix).then(&to_ring_cost(to_width))
}

fn same_shape(operands: &[Shares]) -> Result<usize, MpcError> {
    let Some(first) = operands.first() else {
        return Err(MpcError::Argument { what: "number of operands", found: 0, expected: "at least 1" });
    };
    for x in operands {
        x.require_width("width of an operand", first.width())?;
        require(x.len() == first.len(), "elements of an operand", x.len() as u64, "as many as in the first")?;
    }
    Ok(first.len())
}

/// Operands 0, 2, … and operands 1, 3, …, without the last if it has no partner.
fn pairs(operands: &[Shares]) -> Result<(Shares, Shares), MpcError> {
    let side = |i: usize| operands.chunks_exact(2).filter_map(|pair| pair.get(i)).collect::<Vec<&Shares>>();
    Ok((Shares::concat(&side(0))?, Shares::concat(&side(1))?))
}

/// The winners of one round and the operand that had no partner.
fn next_round(mut operands: Vec<Shares>, winners: &Shares, n: usize) -> Result<Vec<Shares>, MpcError> {
    let odd = if operands.len().is_multiple_of(2) { None } else { operands.pop() };
    let rest = (0..operands.len() / 2).map(|i| winners.slice(i * n, n));
    rest.chain(odd.map(Ok)).collect()
}

fn tournament_cost(mut operands: usize, n: usize, one: &Cost) -> Cost {
    let mut cost = Cost::none();
    while operands > 1 {
        cost = cost.then(&one.clone().times(operands / 2 * n));
        operands = operands.div_ceil(2);
    }
    cost
}
