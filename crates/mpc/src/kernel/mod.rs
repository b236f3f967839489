//! The operations on blocks of 128 bits that the time goes into: AES-128 in bulk, sums in GF(2^128) and over GF(16),
//! transposition.
//!
//! Two paths, chosen at run time and equal bit for bit: portable (the `aes` crate, integer arithmetic) and AVX-512 with
//! VAES, VPCLMULQDQ and GFNI. A block is a `u128`: byte i of AES is bits 8i … 8i+7; in GF(2^128), bit i is the coefficient of
//! x^i. No function branches on a block or indexes by one, except [`Cipher::lpn`], whose indices are public.

mod path;
mod planes;
mod portable;
#[cfg(target_arch = "x86_64")]
mod vector;

pub use path::Path;
pub(crate) use planes::bit_planes;

use aes::Aes128;
use aes::cipher::KeyInit;
use oblivia_base::Secret;
use zeroize::Zeroize;

/// Blocks of a cache line.
pub(crate) const LINE: usize = 4;
/// Rows of a table of bits: one for each bit of a block.
pub(crate) const ROWS: usize = 128;
/// Columns of a table.
pub(crate) const COLUMNS: usize = 4096;
/// Blocks of a row.
pub(crate) const BLOCKS: usize = COLUMNS / 128;
/// Blocks from the beginning of a row to that of the next: an odd number of cache lines, so that a column of lines is spread
/// over all sets of the cache.
pub(crate) const STRIDE: usize = BLOCKS + LINE;
/// Columns of one call of [`transpose`].
pub(crate) const SQUARES: usize = 128 * LINE;
/// Outputs of [`Cipher::lpn`] that are made together: eight lines of them.
pub(crate) const LPN_ROWS: usize = 8 * LINE;
/// Blocks of the cipher that the places of [`LPN_ROWS`] take.
const LPN_BLOCKS: usize = 12;
/// Pairs of lines that are summed up per line of outputs.
const LPN_PAIRS: usize = 5;
/// log2 of the lines of the largest table of [`Cipher::lpn`].
const MAX_LOG_TABLE: u32 = 17;

/// A cache line of four blocks. Bit i of them is an element of GF(16) = GF(2)\[α\] / (α^4 + α + 1), block c the coefficient of α^c.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u128; LINE]);

impl Zeroize for Line {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

/// AES-128 under one key, ready for both paths.
pub(crate) struct Cipher {
    soft: Aes128,
    /// Round keys, if the vector path is available.
    round_keys: Secret<[u128; 11]>,
}

/// Runs the vector path if it is active and returns from the function.
macro_rules! vector {
    ($kernel:ident($($argument:expr),*)) => {
        #[cfg(target_arch = "x86_64")]
        if Path::active() == Path::Vaes {
            // SAFETY: this path is active only on processors with the features that the kernels ask for.
            return unsafe { vector::$kernel($($argument),*) };
        }
    };
}

impl Cipher {
    pub(crate) fn new(key: &[u8; 16]) -> Self {
        #[cfg(target_arch = "x86_64")]
        let round_keys = if Path::available().contains(&Path::Vaes) {
            // SAFETY: the processor has the features.
            unsafe { vector::round_keys(u128::from_le_bytes(*key)) }
        } else {
            [0; 11]
        };
        #[cfg(not(target_arch = "x86_64"))]
        let round_keys = [0; 11];
        Self { soft: Aes128::new(&(*key).into()), round_keys: Secret::new(round_keys) }
    }

    /// Blocks start, start + 1, … of AES in counter mode, the high 64 bits of the counter being `nonce`.
    pub(crate) fn counter(&self, nonce: u64, start: u64, out: &mut [u128]) {
        vector!(counter(self.round_keys.expose(), nonce, start, out));
        portable::counter(&self.soft, nonce, start, out);
    }

    /// out_i = π(π(x_i) ⊕ tweak_i) ⊕ π(x_i), where x_i = input_i ⊕ offset and tweak_i = tweak + i·stride, added to the low 64
    /// bits. As many as there are inputs.
    pub(crate) fn tccr(&self, tweak: u128, stride: u32, offset: u128, inputs: &[u128], out: &mut [u128]) {
        assert_eq!(inputs.len(), out.len(), "a hash for each input");
        vector!(tccr(self.round_keys.expose(), tweak, stride, offset, inputs, out));
        portable::tccr(&self.soft, tweak, stride, offset, inputs, out);
    }

    /// out_i = π(x_i) ⊕ x_i, where x_i = input_i ⊕ offset. As many as there are inputs.
    pub(crate) fn mmo(&self, offset: u128, inputs: &[u128], out: &mut [u128]) {
        assert_eq!(inputs.len(), out.len(), "a hash for each input");
        vector!(mmo(self.round_keys.expose(), offset, inputs, out));
        portable::mmo(&self.soft, offset, inputs, out);
    }

    /// One level of a tree: parents p_j in the first half of `nodes`, after the patch, become left children
    /// c_j = π(σ(p_j)) ⊕ σ(p_j) there and right children p_j ⊕ c_j in the second half, all cut down to `mask`. The sum of
    /// the left children before the cut.
    /// As many nodes as a power of two.
    pub(crate) fn grow(&self, nodes: &mut [u128], mask: u128, patch: Option<&Patch>) -> u128 {
        assert!(nodes.len().is_power_of_two() && nodes.len() > 1, "level of a tree");
        vector!(grow(self.round_keys.expose(), nodes, mask, patch));
        let (parents, right) = nodes.split_at_mut(nodes.len() / 2);
        if let Some(patch) = patch {
            portable::apply(patch, 0, parents);
        }
        portable::grow(&self.soft, parents, right, mask)
    }

    /// As [`Cipher::grow`] without a patch, but two of the children are known.
    pub(crate) fn grow_around(&self, nodes: &mut [u128], mask: u128, known: &Children) {
        assert!(nodes.len().is_power_of_two() && nodes.len() > 1, "level of a tree");
        vector!(grow_around(self.round_keys.expose(), nodes, mask, known));
        let (parents, right) = nodes.split_at_mut(nodes.len() / 2);
        portable::grow(&self.soft, parents, right, mask);
        portable::put_children(known, nodes);
    }

    /// π(σ(x)) ⊕ σ(x), the untweaked hash of [`Cipher::grow`].
    pub(crate) fn ccr(&self, x: u128) -> u128 {
        let mut nodes = [x, 0];
        self.grow(&mut nodes, u128::MAX, None)
    }

    /// Outputs first, first + 1, … of a product with a public matrix over GF(16): line r of outputs, 4r … 4r + 3, is that line of
    /// leaves plus Σ_j α^j·(a_j + b_j), j from 0 to 4, with lines a_j of the lower half of `table` and b_j of the upper half.
    ///
    /// The matrix is that of number `nonce`: every eight lines take twelve blocks of the cipher in counter mode, cut in words of 16
    /// bits, little end first. The first 80 are the places of a_0, b_0, a_1, … of one line after the other; of each as many bits
    /// count as half of the length of the table, a power of two, has.
    pub(crate) fn lpn(&self, nonce: u64, first: usize, table: &[Line], leaves: &[u128], out: &mut [u128]) {
        let length = table.len();
        assert!(length.is_power_of_two() && (2..=1 << MAX_LOG_TABLE).contains(&length), "table of LPN");
        assert_eq!(leaves.len(), out.len(), "a leaf for each row");
        vector!(lpn(self.round_keys.expose(), nonce, first, table, leaves, out));
        portable::lpn(&self.soft, nonce, first, table, leaves, out);
    }
}

/// Σ a_i·b_i in GF(2^128) = GF(2)[x] / (x^128 + x^7 + x^2 + x + 1), over as many terms as both slices have.
pub(crate) fn inner(a: &[u128], b: &[u128]) -> u128 {
    vector!(inner(a, b));
    portable::inner(a, b)
}

/// a·b in GF(2^128).
pub(crate) fn times(a: u128, b: u128) -> u128 {
    inner(&[a], &[b])
}

/// x·a in GF(2^128).
pub(crate) const fn times_x(a: u128) -> u128 {
    (a << 1) ^ ((a >> 127) * 0x87)
}

/// Σ_i x^i·b_i in GF(2^128).
pub(crate) fn packed(blocks: &[u128]) -> u128 {
    blocks.iter().rev().fold(0, |sum, b| times_x(sum) ^ b)
}

/// Σ_i c^{i+1}·b_i in GF(2^128).
pub(crate) fn polynomial(c: u128, blocks: &[u128]) -> u128 {
    vector!(polynomial(c, blocks));
    portable::polynomial(c, blocks)
}

/// c, c^2, …, c^n in GF(2^128).
pub(crate) fn powers(c: u128, n: usize) -> Vec<u128> {
    let mut out = vec![0; n.next_multiple_of(4)];
    powers_into(c, &mut out);
    out.truncate(n);
    out
}

fn powers_into(c: u128, out: &mut [u128]) {
    vector!(powers(c, out));
    portable::powers(c, out);
}

/// The first blocks of `room` that begin a cache line, `n` of them, or fewer if `room` is not [`LINE`] longer: vectors that
/// lie across two lines cost twice.
pub(crate) fn aligned(room: &mut [u128], n: usize) -> &mut [u128] {
    let skip = room.as_ptr().align_offset(16 * LINE).min(LINE);
    let room = room.get_mut(skip..).unwrap_or_default();
    let n = n.min(room.len());
    &mut room[..n]
}

/// c_i^{e_i} in GF(2^128), e_i below 2^bits, in the same time for all of them.
pub(crate) fn raise(bases: &[u128], exponents: &[u32], bits: u32) -> Vec<u128> {
    let mut out = vec![0; bases.len().min(exponents.len())];
    raise_into(bases, exponents, bits, &mut out);
    out
}

fn raise_into(bases: &[u128], exponents: &[u32], bits: u32, out: &mut [u128]) {
    vector!(raise(bases, exponents, bits, out));
    portable::raise(bases, exponents, bits, out);
}

/// Secret values that replace two nodes of a level at secret places, the second after the first.
pub(crate) struct Patch {
    pub(crate) at: [u32; 2],
    pub(crate) values: [u128; 2],
}

impl Patch {
    /// Replaces the nodes. Touches all nodes alike.
    pub(crate) fn apply(&self, nodes: &mut [u128]) {
        vector!(apply(self, nodes));
        portable::apply(self, 0, nodes);
    }
}

/// Secret values that the children of a node at a secret place have, the left one and the right one.
pub(crate) struct Children {
    pub(crate) of: u32,
    pub(crate) values: [u128; 2],
}

/// Columns 128·`first` … of a table as blocks: bit r of block c is bit 128·`first` + c of row r.
pub(crate) fn transpose(table: &[u128], first: usize, out: &mut [u128]) {
    assert!(
        table.len() == ROWS * STRIDE && first + LINE <= BLOCKS && out.len() == SQUARES,
        "shape of a transposition"
    );
    vector!(transpose(table, first, out));
    portable::transpose(table, first, out);
}

/// The low halves of both, side by side; short where any of the slices is.
pub(crate) fn pair_up(zero: &[u128], one: &[u128], out: &mut [[u64; 2]]) {
    vector!(pair_up(zero, one, out));
    portable::pair_up(zero, one, out);
}

/// The low halves; short where either slice is.
pub(crate) fn low_words(blocks: &[u128], out: &mut [u64]) {
    vector!(low_words(blocks, out));
    portable::low_words(blocks, out);
}

/// The last bits, 0 or 1; short where either slice is.
pub(crate) fn low_bits(blocks: &[u128], out: &mut [u8]) {
    vector!(low_bits(blocks, out));
    portable::low_bits(blocks, out);
}

/// What [`sum_streams`] adds to the rows of a tree with a leaf that is not known.
#[derive(Clone, Copy)]
pub(crate) struct Correction<'a> {
    /// For each bit of the index of that leaf all ones, or 0.
    pub(crate) masks: &'a [u128],
    /// Blocks as bytes; 0 where they end.
    pub(crate) difference: &'a [u8],
}

/// Of the streams r_x of 2^k ciphers, blocks start, start + 1, … of counter mode with nonce 0: ⊕_x r_x becomes `sum`, and
/// ⊕_{x: x_b = 1} r_x the beginning of row b of `rows`, which are k, 2, 4 or 8. As many blocks as `sum` has, a multiple of
/// eight. With a correction, mask_b & (sum ⊕ difference) is added to row b, which then is
/// ⊕_{x: (x ⊕ α)_b = 1} r_x ⊕ α_b·difference for the leaf α: r_α is nowhere in it, whatever it is.
pub(crate) fn sum_streams(
    leaves: &[Cipher],
    start: u64,
    correction: Option<Correction<'_>>,
    sum: &mut [u128],
    rows: &mut [u128],
) {
    let k = rows.len() / STRIDE;
    assert!(matches!(k, 2 | 4 | 8) && leaves.len() == 1 << k, "leaves of a tree");
    assert!(sum.len() <= BLOCKS && sum.len().is_multiple_of(2 * LINE), "blocks of a stream");
    vector!(sum_streams(leaves, start, correction, sum, rows));
    portable::sum_streams(leaves, start, correction, sum, rows);
}

/// Has memory brought to the second-level cache, meanwhile; it need not hold values.
pub(crate) fn prefetch<T>(memory: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in memory.chunks(64usize.div_ceil(size_of::<T>().max(1))) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: the instruction has no effect but on caches, at any address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = memory;
}

/// Σ_i a_i·row_i in GF(2^128) for each row of a table.
pub(crate) fn inner_of_rows(a: &[u128], table: &[u128], out: &mut [u128; ROWS]) {
    assert!(a.len() <= BLOCKS && table.len() == ROWS * STRIDE, "shape of a table");
    vector!(inner_of_rows(a, table, out));
    for (out, row) in out.iter_mut().zip(table.chunks_exact(STRIDE)) {
        *out = portable::inner(a, row);
    }
}

/// out_i becomes (out_i ⊕ a_i)·c in GF(2^128).
pub(crate) fn add_and_scale(c: u128, a: &[u128; ROWS], out: &mut [u128; ROWS]) {
    vector!(add_and_scale(c, a, out));
    for (out, a) in out.iter_mut().zip(a) {
        *out = portable::inner(&[*out ^ a], &[c]);
    }
}

#[cfg(test)]
mod tests;
