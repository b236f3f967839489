//! Samplers: uniform residues, uniform ternary and discrete Gaussian integers.
//!
//! Each sampler is a fixed function of the bytes of its generator, the same on every machine. Generators are
//! asked for whole multiples of 8 bytes, so for a byte stream the split into requests does not matter.
//!
//! A *seeded* element has one generator per limb, `Prg::new(seed, domain, [parts…, q as 8 bytes little-endian])`:
//! a limb is named by its prime, so an element over the first limbs of a basis is the prefix of the element over
//! all of them, limbs can be expanded on different threads, and a holder of the seed can expand the ones needed.

use crate::{Basis, Modulus, Ntt, Poly, kernel};
use oblivia_base::Prg;
use oblivia_base::seed::{EntropySource, PublicSeed};
use zeroize::Zeroizing;

/// Standard deviation σ of [`gaussian`], as in the HomomorphicEncryption.org standard.
pub const GAUSSIAN_SIGMA: f64 = 3.2;

/// Largest magnitude that [`gaussian`] returns: a public constant, 9.06 σ.
pub const GAUSSIAN_BOUND: i64 = GAUSSIAN_TABLE.len() as i64;

/// Entry k is P(|X| ≤ k)·2^63 rounded to nearest, for P(X = x) ∝ exp(−x²/2σ²); the entries after the last round
/// to 2^63. Printed by `tests/known/sample.py` (400-bit arithmetic).
const GAUSSIAN_TABLE: [u64; 29] = [
    0x0ff52b4064a1f258,
    0x2e5a25d4026fff6e,
    0x489ae2682e3db9bb,
    0x5d2bc20de6f95106,
    0x6bc8694a862fcdcf,
    0x7532d898e9d195da,
    0x7ab396c980f5facb,
    0x7d9e4e8f6717ea70,
    0x7f054956150a592b,
    0x7fa1ce99f8dbf691,
    0x7fdfb3f00a8f3398,
    0x7ff5e6f7c97d68d9,
    0x7ffd1f95b372bd36,
    0x7fff40f7f7aedc64,
    0x7fffd2e62d057ef0,
    0x7ffff6503aaa2875,
    0x7ffffe1bab99a744,
    0x7fffffaa0140ce53,
    0x7ffffff21f8a3a77,
    0x7ffffffdf72301f4,
    0x7fffffffba9fd472,
    0x7ffffffff79b78ce,
    0x7fffffffff13f6f9,
    0x7fffffffffe8748a,
    0x7ffffffffffdde24,
    0x7fffffffffffd320,
    0x7ffffffffffffca7,
    0x7fffffffffffffc6,
    0x7ffffffffffffffc,
];

/// Groups of 8 candidates per request of [`uniform_row`].
const GROUPS: usize = 64;

/// Bytes per request of the other two samplers.
const REQUEST: usize = 2048;

/// row ← independent uniform residues modulo q.
///
/// Candidates are consecutive groups of ⌈log2 q⌉ bits of the stream, least significant first; those not below q
/// are dropped. Variable time, which is sound for public residues alone: the time tells how many candidates were
/// dropped (though nothing about those that were kept).
pub fn uniform_row(m: &Modulus, rng: &mut (impl EntropySource + ?Sized), row: &mut [u64]) {
    let bits = m.bits() as usize;
    let mut buffer = [0u8; GROUPS * crate::MAX_MODULUS_BITS as usize + kernel::SLACK];
    let mut filled = 0;
    while filled < row.len() {
        let rest = &mut row[filled..];
        // Eight candidates are `bits` bytes.
        let groups = (rest.len().div_ceil(64) * 8).min(GROUPS);
        rng.fill_bytes(&mut buffer[..groups * bits]);
        filled += kernel::accept_below(m.value(), &buffer, groups, rest);
    }
}

/// An element with independent uniform rows, drawn in the order of the limbs. Public: see [`uniform_row`].
pub fn uniform(basis: &Basis, rng: &mut (impl EntropySource + ?Sized)) -> Poly<Ntt> {
    let mut p = Poly::zero(basis);
    for (m, row) in basis.moduli().zip(p.rows_mut()) {
        uniform_row(m, rng, row);
    }
    p
}

/// row ← the row modulo q of the element that `seed`, `domain` and `parts` name.
pub fn uniform_row_seeded(m: &Modulus, seed: &PublicSeed, domain: &str, parts: &[&[u8]], row: &mut [u64]) {
    let prime = m.value().to_le_bytes();
    let mut all = Vec::with_capacity(parts.len() + 1);
    all.extend_from_slice(parts);
    all.push(&prime);
    uniform_row(m, &mut Prg::new(&seed.0, domain, &all), row);
}

/// The uniform element over `basis` that `seed`, `domain` (a constant of the caller) and `parts` (indices,
/// transcript digests) name; uniform in either representation, and taken to be transformed.
pub fn uniform_seeded(basis: &Basis, seed: &PublicSeed, domain: &str, parts: &[&[u8]]) -> Poly<Ntt> {
    let mut p = Poly::zero(basis);
    for (m, row) in basis.moduli().zip(p.rows_mut()) {
        uniform_row_seeded(m, seed, domain, parts, row);
    }
    p
}

/// out ← independent uniform values in {−1, 0, 1}.
///
/// A byte below 243 = 3^5 gives five values, its digits in base 3 less one, lowest first; other bytes are dropped,
/// and so are the digits left over at the end. The distribution is exactly uniform. The time depends on the
/// positions of the dropped bytes alone; given those, the accepted bytes are independent and uniform below 243,
/// so it tells nothing about the values. Digits come from multiplications, not from a table or a division.
pub fn ternary(rng: &mut (impl EntropySource + ?Sized), out: &mut [i64]) {
    let mut buffer = Zeroizing::new([0u8; REQUEST]);
    let mut filled = 0;
    while filled < out.len() {
        let bytes = (out.len() - filled).div_ceil(5).next_multiple_of(8);
        let bytes = &mut buffer[..bytes.min(REQUEST)];
        rng.fill_bytes(bytes);
        for &byte in &*bytes {
            if byte < 243 {
                let mut rest = u32::from(byte);
                for o in out.iter_mut().skip(filled).take(5) {
                    // ⌊x·171/512⌋ = ⌊x/3⌋ for x < 256.
                    let next = (rest * 171) >> 9;
                    *o = i64::from(rest - 3 * next) - 1;
                    rest = next;
                }
                filled = (filled + 5).min(out.len());
            }
        }
    }
}

/// out ← independent discrete Gaussian integers, P(x) ∝ exp(−x²/2σ²) with σ = [`GAUSSIAN_SIGMA`].
///
/// One 64-bit word of the stream per value: bit 0 is the sign (1 is negative), bits 1 to 63 choose the magnitude
/// by inversion, the number of entries of the cumulative table they are not below. Constant time: every entry is
/// compared with every value, without branches and without indexing by secrets.
///
/// One value is within statistical distance 2^-60.8 of the untruncated distribution, its variance within a factor
/// 1 ± 2^-64 of σ², and |x| ≤ [`GAUSSIAN_BOUND`] always: what lies beyond has probability below 2^-65.
pub fn gaussian(rng: &mut (impl EntropySource + ?Sized), out: &mut [i64]) {
    let mut buffer = Zeroizing::new([0u8; REQUEST]);
    for out in out.chunks_mut(REQUEST / 8) {
        let bytes = &mut buffer[..8 * out.len()];
        rng.fill_bytes(bytes);
        kernel::invert_table(&GAUSSIAN_TABLE, bytes, out);
    }
}
