//! Any machine. Also the definition that the vector path is held against.

use super::{
    BLOCKS, Children, Cipher, Correction, LINE, LPN_BLOCKS, LPN_PAIRS, LPN_ROWS, Line, Patch, STRIDE,
};
use aes::cipher::BlockCipherEncrypt;
use aes::{Aes128, Block};
use oblivia_base::Secret;

/// Blocks per call of the cipher.
const CHUNK: usize = 32;

fn encrypt(aes: &Aes128, blocks: &mut [u128]) {
    let mut buffer = [Block::default(); CHUNK];
    for chunk in blocks.chunks_mut(CHUNK) {
        let buffer = &mut buffer[..chunk.len()];
        for (b, x) in buffer.iter_mut().zip(&*chunk) {
            *b = x.to_le_bytes().into();
        }
        aes.encrypt_blocks(buffer);
        for (b, x) in buffer.iter().zip(chunk) {
            *x = u128::from_le_bytes((*b).into());
        }
    }
}

pub(super) fn counter(aes: &Aes128, nonce: u64, start: u64, out: &mut [u128]) {
    for (i, x) in out.iter_mut().enumerate() {
        *x = u128::from(nonce) << 64 | u128::from(start.wrapping_add(i as u64));
    }
    encrypt(aes, out);
}

pub(super) fn tccr(aes: &Aes128, tweak: u128, stride: u32, offset: u128, inputs: &[u128], out: &mut [u128]) {
    let (high, low) = (tweak & !u128::from(u64::MAX), tweak as u64);
    let mut outer = [0; CHUNK];
    for (c, (inputs, out)) in inputs.chunks(CHUNK).zip(out.chunks_mut(CHUNK)).enumerate() {
        for (x, input) in out.iter_mut().zip(inputs) {
            *x = input ^ offset;
        }
        encrypt(aes, out);
        let outer = &mut outer[..out.len()];
        for (i, (y, x)) in outer.iter_mut().zip(&*out).enumerate() {
            let step = ((c * CHUNK + i) as u64).wrapping_mul(u64::from(stride));
            *y = x ^ (high | u128::from(low.wrapping_add(step)));
        }
        encrypt(aes, outer);
        for (x, y) in out.iter_mut().zip(outer) {
            *x ^= *y;
        }
    }
}

pub(super) fn mmo(aes: &Aes128, offset: u128, inputs: &[u128], out: &mut [u128]) {
    for (inputs, out) in inputs.chunks(CHUNK).zip(out.chunks_mut(CHUNK)) {
        for (x, input) in out.iter_mut().zip(inputs) {
            *x = input ^ offset;
        }
        encrypt(aes, out);
        for (x, input) in out.iter_mut().zip(inputs) {
            *x ^= input ^ offset;
        }
    }
}

/// (L ⊕ R) ‖ L of L ‖ R, the left half being the high one.
fn sigma(x: u128) -> u128 {
    x.rotate_left(64) ^ (x & !u128::from(u64::MAX))
}

pub(super) fn grow(aes: &Aes128, parents: &mut [u128], right: &mut [u128], mask: u128) -> u128 {
    let mut sum = 0;
    let mut buffer = [0; CHUNK];
    for (left, right) in parents.chunks_mut(CHUNK).zip(right.chunks_mut(CHUNK)) {
        let buffer = &mut buffer[..left.len()];
        for (y, p) in buffer.iter_mut().zip(&*left) {
            *y = sigma(*p);
        }
        encrypt(aes, buffer);
        for ((l, r), y) in left.iter_mut().zip(right).zip(buffer) {
            let child = *y ^ sigma(*l);
            sum ^= child;
            *r = (*l ^ child) & mask;
            *l = child & mask;
        }
    }
    sum
}

/// Replaces the children of a parent, wherever it is among those that lie in both halves of `nodes`.
pub(super) fn put_children(known: &Children, nodes: &mut [u128]) {
    let half = nodes.len() / 2;
    let [left, right] = known.values;
    apply(&Patch { at: [known.of, known.of + half as u32], values: [left, right] }, 0, nodes);
}

/// α·line.
fn times_alpha([a, b, c, d]: [u128; LINE]) -> [u128; LINE] {
    [d, a ^ d, b, c]
}

pub(super) fn lpn(aes: &Aes128, nonce: u64, first: usize, table: &[Line], leaves: &[u128], out: &mut [u128]) {
    let (lower, upper) = table.split_at(table.len() / 2);
    let cut = lower.len() - 1;
    let mut blocks = [0; LPN_BLOCKS];
    let mut rows = out.iter_mut().zip(leaves);
    let mut skipped = first % LPN_ROWS;
    let mut at = (first / LPN_ROWS * LPN_BLOCKS) as u64;
    while rows.len() > 0 {
        counter(aes, nonce, at, &mut blocks);
        let words =
            blocks.map(|b| std::array::from_fn::<_, 8, _>(|i| usize::from((b >> (16 * i)) as u16) & cut));
        let pairs = words.as_flattened().as_chunks::<2>().0.as_chunks::<LPN_PAIRS>().0;
        let sums = pairs.iter().flat_map(|of_line| {
            of_line.iter().rev().fold([0; LINE], |sum, [a, b]| {
                let (sum, a, b) = (times_alpha(sum), lower[*a].0, upper[*b].0);
                std::array::from_fn(|c| sum[c] ^ a[c] ^ b[c])
            })
        });
        for (sum, (row, leaf)) in sums.take(LPN_ROWS).skip(skipped).zip(rows.by_ref()) {
            *row = leaf ^ sum;
        }
        skipped = 0;
        at += LPN_BLOCKS as u64;
    }
}

/// Carry-less 64 × 64 → 128 bits from integer products.
///
/// Each factor is split into five with every fifth bit: a column of a product of two such sums at most 13 ones, which
/// the five bits to the next column of the same residue hold, so carries touch no column that counts.
fn clmul(a: u64, b: u64) -> u128 {
    const FIFTH: u128 = {
        let (mut mask, mut i) = (0, 0);
        while i < 128 {
            mask |= 1 << i;
            i += 5;
        }
        mask
    };
    let split = |v: u64| -> [u128; 5] { std::array::from_fn(|r| u128::from(v & (FIFTH << r) as u64)) };
    let (a, b) = (split(a), split(b));
    let mut out = 0;
    for r in 0..5 {
        let sum = (0..5).fold(0, |sum, i| sum ^ (a[i] * b[(r + 5 - i) % 5]));
        out |= sum & FIFTH << r;
    }
    out
}

/// The low and the high half of the 255-bit product, added to `sum`.
fn accumulate(sum: &mut [u128; 2], a: u128, b: u128) {
    let (a0, a1, b0, b1) = (a as u64, (a >> 64) as u64, b as u64, (b >> 64) as u64);
    let (low, high) = (clmul(a0, b0), clmul(a1, b1));
    let middle = clmul(a0 ^ a1, b0 ^ b1) ^ low ^ high;
    sum[0] ^= low ^ middle << 64;
    sum[1] ^= high ^ middle >> 64;
}

/// low + high·x^128 modulo x^128 + x^7 + x^2 + x + 1.
fn reduce([low, high]: [u128; 2]) -> u128 {
    let over = high >> 127 ^ high >> 126 ^ high >> 121;
    let fold = |h: u128| h ^ h << 1 ^ h << 2 ^ h << 7;
    low ^ fold(high) ^ fold(over)
}

pub(super) fn inner(a: &[u128], b: &[u128]) -> u128 {
    let mut sum = [0; 2];
    for (a, b) in a.iter().zip(b) {
        accumulate(&mut sum, *a, *b);
    }
    reduce(sum)
}

pub(super) fn raise(bases: &[u128], exponents: &[u32], bits: u32, out: &mut [u128]) {
    let times = |a: u128, b: u128| inner(&[a], &[b]);
    for ((base, e), out) in bases.iter().zip(exponents).zip(out) {
        *out = (0..bits).rev().fold(1, |p, bit| {
            let mask = u128::from(e >> bit & 1).wrapping_neg();
            times(times(p, p), (base & mask) | (1 & !mask))
        });
    }
}

pub(super) fn powers(c: u128, out: &mut [u128]) {
    let mut power = 1;
    for out in out {
        power = inner(&[power], &[c]);
        *out = power;
    }
}

pub(super) fn polynomial(c: u128, blocks: &[u128]) -> u128 {
    blocks.iter().rev().fold(0, |sum, b| inner(&[sum ^ b], &[c]))
}

/// All ones if both are equal, else 0; both are below 2^63.
#[inline(always)]
fn equal(a: u64, b: u64) -> u128 {
    let mask = (((a ^ b).wrapping_sub(1) as i64) >> 63) as u64;
    u128::from(mask) << 64 | u128::from(mask)
}

/// The first of `nodes` is node `first` of the level.
#[inline(always)]
pub(super) fn apply(patch: &Patch, first: usize, nodes: &mut [u128]) {
    for (j, node) in nodes.iter_mut().enumerate() {
        for (at, value) in patch.at.iter().zip(&patch.values) {
            let here = equal((first + j) as u64, u64::from(*at));
            *node = (*node & !here) | (value & here);
        }
    }
}

/// Blocks of 128 columns that are transposed together.
const LANES: usize = LINE;

/// 128 rows of 64-bit words, two per block of columns.
type Square = [[u64; 2 * LANES]; 128];

pub(super) fn transpose(table: &[u128], first: usize, out: &mut [u128]) {
    let mut square: Square = [[0; 2 * LANES]; 128];
    for (words, row) in square.iter_mut().zip(table.chunks_exact(STRIDE)) {
        for (pair, block) in words.chunks_exact_mut(2).zip(&row[first..]) {
            (pair[0], pair[1]) = (*block as u64, (*block >> 64) as u64);
        }
    }
    transpose_squares(&mut square);
    for (i, words) in square.iter().enumerate() {
        for (lane, pair) in words.chunks_exact(2).enumerate() {
            out[lane * 128 + i] = u128::from(pair[0]) | u128::from(pair[1]) << 64;
        }
    }
}

/// Transposes each of the [`LANES`] squares of 128 × 128 bits: halves are swapped across the diagonal, then halves of
/// those, down to single bits.
#[inline(always)]
fn transpose_squares(square: &mut Square) {
    let (top, bottom) = square.split_at_mut(64);
    for (a, b) in top.iter_mut().zip(bottom) {
        for lane in 0..LANES {
            std::mem::swap(&mut a[2 * lane + 1], &mut b[2 * lane]);
        }
    }
    let mut step = 32;
    let mut low = u64::from(u32::MAX);
    while step > 0 {
        for pairs in square.chunks_exact_mut(2 * step) {
            let (top, bottom) = pairs.split_at_mut(step);
            for (a, b) in top.iter_mut().zip(bottom) {
                for (a, b) in a.iter_mut().zip(b) {
                    let t = (*a >> step ^ *b) & low;
                    *b ^= t;
                    *a ^= t << step;
                }
            }
        }
        step /= 2;
        low ^= low << step;
    }
}

pub(super) fn sum_streams(
    leaves: &[Cipher],
    start: u64,
    correction: Option<Correction<'_>>,
    sum: &mut [u128],
    rows: &mut [u128],
) {
    let mut stream = Secret::new([0; BLOCKS]);
    let stream = &mut stream.expose_mut()[..sum.len()];
    let add = |stream: &[u128], out: &mut [u128]| out.iter_mut().zip(stream).for_each(|(a, b)| *a ^= b);
    sum.fill(0);
    rows.chunks_exact_mut(STRIDE).for_each(|row| row[..stream.len()].fill(0));
    for (x, leaf) in leaves.iter().enumerate() {
        counter(&leaf.soft, 0, start, stream);
        add(stream, sum);
        for (_, row) in rows.chunks_exact_mut(STRIDE).enumerate().filter(|(b, _)| x >> b & 1 == 1) {
            add(stream, row);
        }
    }
    if let Some(Correction { masks, difference }) = correction {
        let difference = difference.as_chunks().0.iter().map(|d| u128::from_le_bytes(*d));
        for (row, mask) in rows.chunks_exact_mut(STRIDE).zip(masks) {
            let of_row = sum.iter().zip(difference.clone().chain(std::iter::repeat(0)));
            row.iter_mut().zip(of_row).for_each(|(v, (a, b))| *v ^= mask & (a ^ b));
        }
    }
}

pub(super) fn pair_up(zero: &[u128], one: &[u128], out: &mut [[u64; 2]]) {
    for ((out, z), o) in out.iter_mut().zip(zero).zip(one) {
        *out = [*z as u64, *o as u64];
    }
}

pub(super) fn low_words(blocks: &[u128], out: &mut [u64]) {
    out.iter_mut().zip(blocks).for_each(|(out, b)| *out = *b as u64);
}

pub(super) fn low_bits(blocks: &[u128], out: &mut [u8]) {
    out.iter_mut().zip(blocks).for_each(|(out, b)| *out = (*b & 1) as u8);
}
