//! Portable kernels: the reference every other path must equal bit for bit. Inlined, so that they can be compiled for
//! more than one set of instructions.

use super::constants::{ConstantMatrix, GROUP};
use crate::modulus::{hi52, lo52, sub_once};
use crate::ntt::InverseScale;
use crate::{Modulus, NttTable, PackedRow, Shoup};

#[inline(always)]
pub(crate) fn zip_assign(a: &mut [u64], b: &[u64], f: impl Fn(u64, u64) -> u64) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a = f(*a, b);
    }
}

#[inline(always)]
pub(crate) fn zip_into(a: &[u64], b: &[u64], out: &mut [u64], f: impl Fn(u64, u64) -> u64) {
    for ((o, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *o = f(a, b);
    }
}

/// Values stay below 4q between stages: x < 4q is brought below 2q, t = w·y is below 2q for any y < 2^52, so
/// x + t and x − t + 2q are in [0, 4q), and 4q < 2^52.
#[inline(always)]
pub(crate) fn forward(table: &NttTable, a: &mut [u64]) {
    let m = *table.modulus();
    let two_q = 2 * m.value();
    if let InverseScale::ConjugateInvariant { fold, .. } = table.scale() {
        fold_conjugate(&m, fold, a);
    }
    let (w, ws) = table.forward_twiddles();
    let n = a.len();
    let mut nodes = 1;
    while nodes < n {
        let t = n / (2 * nodes);
        let level = w[nodes..2 * nodes].iter().zip(&ws[nodes..2 * nodes]);
        for (block, (&value, &quotient)) in a.chunks_exact_mut(2 * t).zip(level) {
            let w = Shoup { value, quotient };
            let (x, y) = block.split_at_mut(t);
            for (x, y) in x.iter_mut().zip(y) {
                let u = sub_once(*x, two_q);
                let v = m.mul_lazy(*y, w);
                *x = u.wrapping_add(v);
                *y = u.wrapping_add(two_q).wrapping_sub(v);
            }
        }
        nodes *= 2;
    }
    for x in a {
        *x = m.canonical4(*x);
    }
}

/// B_0 = a_0, B_i = a_i − I·a_{n−i}; from canonical values to values below 3q.
#[inline(always)]
fn fold_conjugate(m: &Modulus, fold: Shoup, a: &mut [u64]) {
    let two_q = 2 * m.value();
    let minus = |x: u64, y: u64| x.wrapping_add(two_q).wrapping_sub(m.mul_lazy(y, fold));
    let half = a.len() / 2;
    let (low, high) = a.split_at_mut(half);
    high[0] = minus(high[0], high[0]);
    for (x, y) in low[1..].iter_mut().zip(high[1..].iter_mut().rev()) {
        (*x, *y) = (minus(*x, *y), minus(*y, *x));
    }
}

/// Values stay below 2q between stages: x + y < 4q is brought below 2q, x − y + 2q < 4q < 2^52 is a valid
/// operand of the multiplication, whose result is below 2q.
#[inline(always)]
pub(crate) fn inverse(table: &NttTable, a: &mut [u64]) {
    let m = *table.modulus();
    let two_q = 2 * m.value();
    let (w, ws) = table.inverse_twiddles();
    let n = a.len();
    let mut nodes = n / 2;
    // The last stage, nodes = 1, carries the scaling in the standard ring.
    let stop = match table.scale() {
        InverseScale::Standard { .. } => 1,
        InverseScale::ConjugateInvariant { .. } => 0,
    };
    while nodes > stop {
        let t = n / (2 * nodes);
        let level = w[nodes..2 * nodes].iter().zip(&ws[nodes..2 * nodes]);
        for (block, (&value, &quotient)) in a.chunks_exact_mut(2 * t).zip(level) {
            let w = Shoup { value, quotient };
            let (x, y) = block.split_at_mut(t);
            for (x, y) in x.iter_mut().zip(y) {
                let (u, v) = (*x, *y);
                *x = sub_once(u.wrapping_add(v), two_q);
                *y = m.mul_lazy(u.wrapping_add(two_q).wrapping_sub(v), w);
            }
        }
        nodes /= 2;
    }
    match table.scale() {
        InverseScale::Standard { n_inv, n_inv_w } => {
            let (x, y) = a.split_at_mut(n / 2);
            for (x, y) in x.iter_mut().zip(y) {
                let (u, v) = (*x, *y);
                *x = m.mul_shoup(u.wrapping_add(v), n_inv);
                *y = m.mul_shoup(u.wrapping_add(two_q).wrapping_sub(v), n_inv_w);
            }
        }
        InverseScale::ConjugateInvariant { n_inv, half, half_fold, .. } => {
            unfold_conjugate(&m, n_inv, half, half_fold, a);
        }
    }
}

/// a_0 = B_0/n, a_i = (B_i + I·B_{n−i})/2n; from values below 2q to canonical ones.
#[inline(always)]
fn unfold_conjugate(m: &Modulus, n_inv: Shoup, half: Shoup, half_fold: Shoup, a: &mut [u64]) {
    // Two products below 2q each.
    let join = |x: u64, y: u64| m.canonical4(m.mul_lazy(x, half).wrapping_add(m.mul_lazy(y, half_fold)));
    let middle = a.len() / 2;
    let (low, high) = a.split_at_mut(middle);
    low[0] = m.mul_shoup(low[0], n_inv);
    high[0] = join(high[0], high[0]);
    for (x, y) in low[1..].iter_mut().zip(high[1..].iter_mut().rev()) {
        (*x, *y) = (join(*x, *y), join(*y, *x));
    }
}

#[inline(always)]
pub(crate) fn mac_first(lo: &mut [u64], hi: &mut [u64], a: &[u64], b: &[u64]) {
    for (((l, h), &a), &b) in lo.iter_mut().zip(hi).zip(a).zip(b) {
        *l = lo52(a, b);
        *h = hi52(a, b);
    }
}

#[inline(always)]
pub(crate) fn mac(lo: &mut [u64], hi: &mut [u64], a: &[u64], b: &[u64]) {
    for (((l, h), &a), &b) in lo.iter_mut().zip(hi).zip(a).zip(b) {
        *l = l.wrapping_add(lo52(a, b));
        *h = h.wrapping_add(hi52(a, b));
    }
}

/// hi + (lo ≫ 52) is below 2^52 by the choice of [`Modulus::mac_terms`].
#[inline(always)]
fn reduce_sum(m: &Modulus, lo: u64, hi: u64) -> u64 {
    m.reduce_pair(hi.wrapping_add(lo >> 52), lo & ((1 << 52) - 1))
}

#[inline(always)]
pub(crate) fn mac_fold(m: &Modulus, lo: &mut [u64], hi: &mut [u64]) {
    for (l, h) in lo.iter_mut().zip(hi) {
        *l = reduce_sum(m, *l, *h);
        *h = 0;
    }
}

#[inline(always)]
pub(crate) fn mac_reduce(m: &Modulus, lo: &[u64], hi: &[u64], out: &mut [u64]) {
    zip_into(lo, hi, out, |l, h| reduce_sum(m, l, h));
}

/// (a − t)·c + addend; a + q − t lies in (0, 2q), a valid lazy operand.
#[inline(always)]
pub(crate) fn sub_scale(m: &Modulus, a: u64, t: u64, c: Shoup, addend: u64) -> u64 {
    m.add(m.mul_shoup(a + m.value() - t, c), addend)
}

const BLOCK: usize = 64;

/// Entry k of `out` belongs to entry `skip` + k of the pairs.
#[inline(always)]
pub(crate) fn dot(m: &Modulus, pairs: &[(&[u64], &[u64])], skip: usize, out: &mut [u64]) {
    let terms = m.mac_terms();
    for (k, out) in out.chunks_mut(BLOCK).enumerate() {
        let (start, len) = (skip + k * BLOCK, out.len());
        let (mut lo, mut hi) = ([0u64; BLOCK], [0u64; BLOCK]);
        let (lo, hi) = (&mut lo[..len], &mut hi[..len]);
        let mut used = 0;
        for (a, b) in pairs {
            if used == terms {
                mac_fold(m, lo, hi);
                used = 1;
            }
            mac(lo, hi, &a[start..start + len], &b[start..start + len]);
            used += 1;
        }
        mac_reduce(m, lo, hi, out);
    }
}

/// Residues from `start`, a multiple of eight, of a packed row.
#[inline(always)]
fn unpack_block(row: PackedRow<'_>, start: usize, out: &mut [u64]) {
    let (bits, mask) = (row.bits, (1u64 << row.bits) - 1);
    for (k, out) in out.chunks_exact_mut(8).enumerate() {
        // Eight residues take `bits` bytes; bits + 7 ≤ 57 of the 64 bits are needed.
        let bytes = &row.bytes[(start / 8 + k) * bits..][..bits + 8];
        for (i, o) in out.iter_mut().enumerate() {
            let at = i * bits;
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at / 8..at / 8 + 8]);
            *o = (u64::from_le_bytes(word) >> (at % 8)) & mask;
        }
    }
}

#[inline(always)]
pub(crate) fn unpack(row: PackedRow<'_>, out: &mut [u64]) {
    unpack_block(row, 0, out);
}

/// Whether all residues are below q.
#[inline(always)]
pub(crate) fn is_canonical(q: u64, row: PackedRow<'_>) -> bool {
    let mut block = [0; BLOCK];
    (0..row.n).step_by(BLOCK).all(|start| {
        let block = &mut block[..BLOCK.min(row.n - start)];
        unpack_block(row, start, block);
        block.iter().all(|&x| x < q)
    })
}

/// Eight residues of `bits` bits at a time to as many bytes.
pub(crate) fn pack(bits: usize, row: &[u64], out: &mut [u8]) {
    for (row, out) in row.as_chunks::<8>().0.iter().zip(out.chunks_exact_mut(bits)) {
        let (mut word, mut filled) = (0u64, 0);
        let mut out = out.iter_mut();
        for &x in row {
            // Below 8 + 50 bits.
            word |= x << filled;
            filled += bits;
            while filled >= 8 {
                if let Some(o) = out.next() {
                    *o = word as u8;
                }
                word >>= 8;
                filled -= 8;
            }
        }
    }
}

/// Both sums of products of packed rows a and b with plain ones.
#[inline(always)]
pub(crate) fn dot2_packed(
    m: &Modulus,
    triples: &[(PackedRow<'_>, PackedRow<'_>, &[u64])],
    out: &mut [u64],
    other: &mut [u64],
) {
    let mut blocks = [[0; BLOCK]; 2];
    dot2_blocks(m, triples, out, other, |(a, b, c), start, len, add| {
        let [x, y] = &mut blocks;
        unpack_block(*a, start, &mut x[..len]);
        unpack_block(*b, start, &mut y[..len]);
        add(&x[..len], &y[..len], &c[start..start + len]);
    });
}

/// Both sums of products of plain rows a and b with packed ones.
#[inline(always)]
pub(crate) fn dot2_by_packed(
    m: &Modulus,
    triples: &[(&[u64], &[u64], PackedRow<'_>)],
    out: &mut [u64],
    other: &mut [u64],
) {
    let mut block = [0; BLOCK];
    dot2_blocks(m, triples, out, other, |(a, b, c), start, len, add| {
        unpack_block(*c, start, &mut block[..len]);
        add(&a[start..start + len], &b[start..start + len], &block[..len]);
    });
}

/// Both sums, block by block: `term` is given a triple, where its block starts, how long it is, and what takes its rows.
#[inline(always)]
fn dot2_blocks<T>(
    m: &Modulus,
    triples: &[T],
    out: &mut [u64],
    other: &mut [u64],
    mut term: impl FnMut(&T, usize, usize, &mut dyn FnMut(&[u64], &[u64], &[u64])),
) {
    for (k, (out, other)) in out.chunks_mut(BLOCK).zip(other.chunks_mut(BLOCK)).enumerate() {
        let len = out.len();
        let [(mut lo, mut hi), (mut lo2, mut hi2)] = [([0u64; BLOCK], [0u64; BLOCK]); 2];
        let (lo, hi, lo2, hi2) = (&mut lo[..len], &mut hi[..len], &mut lo2[..len], &mut hi2[..len]);
        let mut used = 0;
        for triple in triples {
            if used == m.mac_terms() {
                mac_fold(m, lo, hi);
                mac_fold(m, lo2, hi2);
                used = 1;
            }
            used += 1;
            term(triple, k * BLOCK, len, &mut |a, b, c| {
                mac(lo, hi, a, c);
                mac(lo2, hi2, b, c);
            });
        }
        mac_reduce(m, lo, hi, out);
        mac_reduce(m, lo2, hi2, other);
    }
}

/// Entries from `skip` on of every result.
#[inline(always)]
pub(crate) fn dot_constants(
    m: &Modulus,
    xs: &[&[u64]],
    matrix: &ConstantMatrix,
    skip: usize,
    outs: &mut [&mut [u64]],
) {
    for (factors, outs) in matrix.groups().zip(outs.chunks_mut(GROUP)) {
        let rows = outs.len();
        for (r, out) in outs.iter_mut().enumerate() {
            for (k, out) in out[skip..].chunks_mut(BLOCK).enumerate() {
                let terms = xs.iter().zip(factors.iter().skip(r).step_by(rows));
                dot_constants_block(m, terms.map(|(x, &c)| (&x[skip + k * BLOCK..], c)), out);
            }
        }
    }
}

/// out ← Σ x·c over pairs, of at most [`BLOCK`] entries.
#[inline(always)]
fn dot_constants_block<'a>(m: &Modulus, pairs: impl Iterator<Item = (&'a [u64], u64)>, out: &mut [u64]) {
    let one_word = m.one_word_products();
    let (mut lo, mut hi) = ([0u64; BLOCK], [0u64; BLOCK]);
    let (lo, hi) = (&mut lo[..out.len()], &mut hi[..out.len()]);
    let mut used = 0;
    for (x, c) in pairs {
        if used == m.mac_terms() {
            mac_fold(m, lo, hi);
            used = 1;
        }
        if one_word {
            // Both factors are below 2^26, which tells the compiler to use a narrow product.
            lo.iter_mut()
                .zip(x)
                .for_each(|(l, &x)| *l = l.wrapping_add(u64::from(x as u32) * u64::from(c as u32)));
        } else {
            for ((l, h), &x) in lo.iter_mut().zip(hi.iter_mut()).zip(x) {
                *l = l.wrapping_add(lo52(x, c));
                *h = h.wrapping_add(hi52(x, c));
            }
        }
        used += 1;
    }
    mac_reduce(m, lo, hi, out);
}

pub(crate) fn accept_below(q: u64, bytes: &[u8], groups: usize, out: &mut [u64]) -> usize {
    let bits = (u64::BITS - q.leading_zeros()) as usize;
    let mask = (1u64 << bits) - 1;
    let mut filled = 0;
    for group in 0..groups {
        for k in 0..8 {
            let at = k * bits;
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[group * bits + at / 8..][..8]);
            // bits + 7 ≤ 57 of the 64 bits are needed.
            let x = (u64::from_le_bytes(word) >> (at % 8)) & mask;
            if filled < out.len() {
                out[filled] = x;
                filled += usize::from(x < q);
            }
        }
    }
    filled
}

pub(crate) fn invert_table(table: &[u64], bytes: &[u8], out: &mut [i64]) {
    for (o, word) in out.iter_mut().zip(bytes.as_chunks().0) {
        let word = u64::from_le_bytes(*word);
        let u = word >> 1;
        // t − 1 − u is negative exactly if u ≥ t, since both are below 2^63.
        let magnitude: u64 = table.iter().map(|&t| (t - 1).wrapping_sub(u) >> 63).sum();
        let sign = (word & 1).wrapping_neg();
        *o = (magnitude ^ sign).wrapping_sub(sign) as i64;
    }
}
