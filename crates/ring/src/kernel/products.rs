//! Sums of products: deferred ones, over pairs and triples of rows, packed or not, and matrices of constants.

use super::ConstantMatrix;
use super::{Path, add_assign, gather_add_assign, gather_into, portable};
#[cfg(target_arch = "x86_64")]
use super::{avx2, ifma};
use crate::{Modulus, PackedRow, Permutation};

/// First term of a deferred sum: lo ← low 52 bits of a·b, hi ← the bits above.
pub fn mac_first(lo: &mut [u64], hi: &mut [u64], a: &[u64], b: &[u64]) {
    same_length!(lo, hi, a, b);
    avx2!(mac_first(lo, hi, a, b));
    let done = vector!(a.len(), rows::mac_first(lo, hi, a, b));
    portable::mac_first(&mut lo[done..], &mut hi[done..], &a[done..], &b[done..]);
}

/// One more term of a deferred sum: lo ← lo + low 52 bits of a·b, hi ← hi + the bits above.
///
/// After [`Modulus::mac_terms`] terms, and no later, call [`mac_fold`] or [`mac_reduce_into`];
/// [`crate::Accumulator`] counts for you.
pub fn mac(lo: &mut [u64], hi: &mut [u64], a: &[u64], b: &[u64]) {
    same_length!(lo, hi, a, b);
    avx2!(mac(lo, hi, a, b));
    let done = vector!(a.len(), rows::mac(lo, hi, a, b));
    portable::mac(&mut lo[done..], &mut hi[done..], &a[done..], &b[done..]);
}

/// Reduces a deferred sum in place, which then counts as one term.
pub fn mac_fold(m: &Modulus, lo: &mut [u64], hi: &mut [u64]) {
    same_length!(lo, hi);
    let done = vector!(lo.len(), rows::mac_fold(m, lo, hi));
    portable::mac_fold(m, &mut lo[done..], &mut hi[done..]);
}

/// out ← the value of a deferred sum.
pub fn mac_reduce_into(m: &Modulus, lo: &[u64], hi: &[u64], out: &mut [u64]) {
    same_length!(out, lo, hi);
    let done = vector!(lo.len(), rows::mac_reduce(m, lo, hi, out));
    portable::mac_reduce(m, &lo[done..], &hi[done..], &mut out[done..]);
}

/// out ← Σ a_i·b_i, entry by entry, over any number of pairs; intermediate sums stay in registers.
pub fn dot_into(m: &Modulus, pairs: &[(&[u64], &[u64])], out: &mut [u64]) {
    for (a, b) in pairs {
        same_length!(out, a, b);
    }
    avx2!(dot(m, pairs, 0, out));
    let done = vector!(out.len(), rows::dot(m, pairs, out));
    portable::dot(m, pairs, done, &mut out[done..]);
}

/// out ← Σ a_i·c_i and other ← Σ b_i·c_i over any number of triples (a, b, c), entry by entry: both halves of a sum of
/// ciphertext by plaintext, or of key by digit, products, reading c once.
pub fn dot2_into(m: &Modulus, triples: &[(&[u64], &[u64], &[u64])], out: &mut [u64], other: &mut [u64]) {
    same_length!(out, other);
    for (a, b, c) in triples {
        same_length!(out, a, b, c);
    }
    let done = vector!(out.len(), rows::dot2(m, triples, out, other));
    if done < out.len() {
        let pairs: Vec<_> = triples.iter().map(|&(a, _, c)| (a, c)).collect();
        portable::dot(m, &pairs, done, &mut out[done..]);
        let pairs: Vec<_> = triples.iter().map(|&(_, b, c)| (b, c)).collect();
        portable::dot(m, &pairs, done, &mut other[done..]);
    }
}

/// [`dot2_into`] where a and b are packed. The rows of a modulus other than `m` give a panic.
pub fn dot2_packed_into(
    m: &Modulus,
    triples: &[(PackedRow<'_>, PackedRow<'_>, &[u64])],
    out: &mut [u64],
    other: &mut [u64],
) {
    same_length!(out, other);
    check_packed(m, triples, out.len());
    #[cfg(target_arch = "x86_64")]
    if Path::active() == Path::Avx512Ifma {
        // SAFETY: this path is active only on processors with the features that the kernels ask for.
        return unsafe { ifma::packed::dot2_packed(m, triples, out, other) };
    }
    avx2!(dot2_packed(m, triples, out, other));
    portable::dot2_packed(m, triples, out, other);
}

/// What [`dot2_packed_turned`] does with a result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Onto {
    /// Writes it.
    Nothing,
    /// Adds it to what is there.
    There,
}

/// [`dot2_packed_into`], `addend` added to the first sum, then both turned by the automorphism: outs\[h\]\[i\] ← entry π(i)
/// of sum h. Overwrites `rows`. Panics if the permutation is of another degree.
pub fn dot2_packed_turned(
    m: &Modulus,
    triples: &[(PackedRow<'_>, PackedRow<'_>, &[u64])],
    addend: Option<&[u64]>,
    perm: &Permutation,
    onto: Onto,
    rows: [&mut [u64]; 2],
    outs: [&mut [u64]; 2],
) {
    #[cfg(target_arch = "x86_64")]
    if Path::active() == Path::Avx512Ifma {
        same_length!(perm.source(), addend.unwrap_or(outs[0]), outs[0], outs[1]);
        check_packed(m, triples, outs[0].len());
        // SAFETY: this path is active only on processors with the features that the kernels ask for.
        return unsafe {
            ifma::packed::dot2_packed_turned(m, triples, addend, perm.eights(), onto == Onto::There, outs)
        };
    }
    let [row0, row1] = rows;
    dot2_packed_into(m, triples, row0, row1);
    if let Some(addend) = addend {
        add_assign(m, row0, addend);
    }
    for (row, out) in [row0, row1].into_iter().zip(outs) {
        match onto {
            Onto::Nothing => gather_into(perm, row, out),
            Onto::There => gather_add_assign(m, perm, out, row),
        }
    }
}

/// Panics unless rows have `n` entries, packed ones of the width of `m`.
fn check_packed(m: &Modulus, triples: &[(PackedRow<'_>, PackedRow<'_>, &[u64])], n: usize) {
    for (a, b, c) in triples {
        assert!([a.len(), b.len(), c.len()] == [n; 3], "rows of different length");
        assert!([a.bits, b.bits] == [m.bits() as usize; 2], "a packed row of another modulus");
    }
}

/// [`dot2_into`] where c is packed.
pub fn dot2_by_packed_into(
    m: &Modulus,
    triples: &[(&[u64], &[u64], PackedRow<'_>)],
    out: &mut [u64],
    other: &mut [u64],
) {
    same_length!(out, other);
    for (a, b, c) in triples {
        same_length!(out, a, b, c);
        assert!(c.bits == m.bits() as usize, "a packed row of another modulus");
    }
    #[cfg(target_arch = "x86_64")]
    if Path::active() == Path::Avx512Ifma {
        // SAFETY: this path is active only on processors with the features that the kernels ask for.
        return unsafe { ifma::packed::dot2_by_packed(m, triples, out, other) };
    }
    avx2!(dot2_by_packed(m, triples, out, other));
    portable::dot2_by_packed(m, triples, out, other);
}

/// outs\[r\] ← Σ_t matrix\[r, t\]·xs\[t\], entry by entry: a matrix of constants times a vector of rows, over any number
/// of terms. Every x is read once for several results, so cut long rows so that a piece of all of them fits the
/// second-level cache. The matrix belongs to the modulus.
pub fn dot_constants_into(m: &Modulus, xs: &[&[u64]], matrix: &ConstantMatrix, outs: &mut [&mut [u64]]) {
    assert_eq!([matrix.columns(), matrix.rows()], [xs.len(), outs.len()], "a matrix of another size");
    let Some(len) = outs.first().map(|out| out.len()) else { return };
    assert!(outs.iter().all(|out| out.len() == len), "rows of different length");
    assert!(xs.iter().all(|x| x.len() == len), "rows of different length");
    avx2!(dot_constants(m, xs, matrix, 0, outs));
    let done = vector!(len, scalars::dot_constants(m, xs, matrix, outs));
    if done < len {
        portable::dot_constants(m, xs, matrix, done, outs);
    }
}
