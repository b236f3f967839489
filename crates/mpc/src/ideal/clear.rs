//! The protocols on shares as functions of clear numbers, element by element: what they compute, without how.
//!
//! Numbers are in two's complement of `width` bits, as in [`crate::Shares`]. Where the result depends on how a number was
//! shared, the twin takes both shares.

use crate::share::mask;

/// The number behind the low `width` bits of v, 1 ≤ width ≤ 64.
pub fn signed(v: u64, width: u32) -> i64 {
    let unused = 64 - width.clamp(1, 64);
    ((v << unused) as i64) >> unused
}

fn cut(v: i64, width: u32) -> u64 {
    v as u64 & mask(width)
}

/// Twin of [`crate::msb`].
pub fn msb(x: u64, width: u32) -> bool {
    signed(x, width) < 0
}

/// Twin of [`crate::drelu`].
pub fn drelu(x: u64, width: u32) -> bool {
    signed(x, width) >= 0
}

/// Twin of [`crate::carries`], of one cut.
pub fn carry(x: [u64; 2], cut: u32) -> bool {
    x.map(|v| u128::from(v & mask(cut))).iter().sum::<u128>() > u128::from(mask(cut))
}

/// Twin of [`crate::relu`].
pub fn relu(x: u64, width: u32) -> u64 {
    cut(signed(x, width).max(0), width)
}

/// Twin of [`crate::clip`], inside its range.
pub fn clip(x: u64, width: u32, top: u64) -> u64 {
    cut(signed(x, width).clamp(0, signed(top, width).max(0)), width)
}

/// Twin of [`crate::max`].
pub fn max(x: u64, y: u64, width: u32) -> u64 {
    cut(signed(x, width).max(signed(y, width)), width)
}

/// Twin of [`crate::arg_max`] on one element of each operand: the greatest and its number, the first of equal ones.
pub fn arg_max(operands: &[u64], width: u32) -> Option<(u64, u64)> {
    let numbered = (0u64..).zip(operands.iter().map(|x| signed(*x, width)));
    let (index, greatest) = numbered.reduce(|best, x| if x.1 > best.1 { x } else { best })?;
    Some((cut(greatest, width), index))
}

/// Twin of [`crate::sign`].
pub fn sign(x: u64, width: u32, to_width: u32) -> u64 {
    cut(if signed(x, width) >= 0 { 1 } else { -1 }, to_width)
}

/// Twin of [`crate::widen`], inside its range.
pub fn widen(x: u64, width: u32, to_width: u32) -> u64 {
    cut(signed(x, width), to_width)
}

/// Twin of [`crate::truncate`].
pub fn truncate(x: u64, width: u32, f: u32) -> u64 {
    cut(signed(x, width) >> f, width)
}

/// Twin of [`crate::truncate_reduce`].
pub fn truncate_reduce(x: u64, width: u32, f: u32) -> u64 {
    cut(signed(x, width) >> f, width - f)
}

/// Twin of [`crate::truncate_close`]: ⌊x / 2^f⌋ without the carry of the shares' low bits, inside its range.
pub fn truncate_close(x: [u64; 2], width: u32, f: u32) -> u64 {
    let whole = x.iter().fold(0u64, |sum, v| sum.wrapping_add(*v));
    let carry = i64::from(carry(x, f));
    cut((signed(whole, width) >> f) - carry, width)
}

/// Twin of [`crate::truncate_local`], of the client's and the server's share.
pub fn truncate_local([client, server]: [u64; 2], width: u32, f: u32) -> u64 {
    let negative = server.wrapping_neg() & mask(width);
    (client >> f).wrapping_sub(negative >> f) & mask(width)
}

/// Twin of [`crate::divide`], inside its range; d ≥ 1.
pub fn divide(x: u64, width: u32, d: u64) -> u64 {
    i64::try_from(d).map_or(0, |d| cut(signed(x, width).div_euclid(d.max(1)), width))
}

/// Twin of [`crate::max_pool`]: the greatest element of every window, what lies outside the planes being left out.
pub fn max_pool(x: &[u64], windows: &crate::Windows, width: u32) -> Vec<u64> {
    let [rows, columns] = windows.size;
    let span = |axis: usize, o: usize| {
        let from = o * windows.stride[axis];
        let pad = windows.pad[axis];
        from.saturating_sub(pad)..(from + windows.kernel[axis]).saturating_sub(pad).min(windows.size[axis])
    };
    let mut out = Vec::new();
    for channel in 0..windows.channels {
        for i in 0..windows.output[0] {
            for j in 0..windows.output[1] {
                let window =
                    span(0, i).flat_map(|r| span(1, j).map(move |c| (channel * rows + r) * columns + c));
                let elements = window.filter_map(|at| x.get(at)).map(|v| signed(*v, width));
                out.push(cut(elements.max().unwrap_or(0), width));
            }
        }
    }
    out
}
