//! Rows of residues as bits: each residue takes ⌈log2 q⌉ bits, least significant first, rows end on a byte.
//!
//! One row has one encoding: decoding refuses residues that are not below q and padding bits that are not zero.
#![deny(clippy::indexing_slicing)]

use crate::{Basis, Modulus, PackedPolys, Poly, Representation, kernel};
use oblivia_base::codec::{DecodeError, Fault, Reader, Writer};

/// Bytes of a packed row of `n` residues.
pub fn row_bytes(m: &Modulus, n: usize) -> usize {
    (n * m.bits() as usize).div_ceil(8)
}

/// Bytes of a packed element over `basis`.
pub fn poly_bytes(basis: &Basis) -> usize {
    basis.moduli().map(|m| row_bytes(m, basis.n())).sum()
}

/// Appends a row of canonical residues.
pub fn write_row(m: &Modulus, row: &[u64], w: &mut Writer) {
    let bits = m.bits();
    let (mut word, mut filled) = (0u128, 0);
    for &x in row {
        debug_assert!(x < m.value());
        word |= u128::from(x) << filled;
        filled += bits;
        if filled >= 64 {
            w.u64(word as u64);
            word >>= 64;
            filled -= 64;
        }
    }
    let bytes = (word as u64).to_le_bytes();
    w.raw(bytes.split_at(filled.div_ceil(8) as usize).0);
}

/// Reads `out.len()` residues.
///
/// # Errors
/// Truncated input, a residue ≥ q, or a padding bit that is set.
pub fn read_row(m: &Modulus, r: &mut Reader<'_>, out: &mut [u64]) -> Result<(), DecodeError> {
    const WHAT: &str = "row of residues";
    let bytes = r.raw(row_bytes(m, out.len()), WHAT)?;
    let (bits, mask) = (m.bits(), (1u64 << m.bits()) - 1);
    let mut words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(chunk) {
            *to = *from;
        }
        u64::from_le_bytes(word)
    });
    let (mut word, mut filled) = (0u128, 0);
    let mut canonical = true;
    for o in out {
        if filled < bits {
            word |= u128::from(words.next().unwrap_or(0)) << filled;
            filled += 64;
        }
        let x = word as u64 & mask;
        canonical &= x < m.value();
        *o = x;
        word >>= bits;
        filled -= bits;
    }
    if canonical && word == 0 { Ok(()) } else { Err(r.error(WHAT, Fault::Invalid)) }
}

/// Appends all rows of an element. The basis is not written: both sides know it.
pub fn write_poly<R: Representation>(p: &Poly<R>, w: &mut Writer) {
    for (m, row) in p.basis().moduli().zip(p.rows()) {
        write_row(m, row, w);
    }
}

/// Reads an element over `basis`. Memory is allocated only after the reader is seen to hold all of it.
///
/// # Errors
/// As [`read_row`].
pub fn read_poly<R: Representation>(basis: &Basis, r: &mut Reader<'_>) -> Result<Poly<R>, DecodeError> {
    if r.remaining() < poly_bytes(basis) {
        return Err(r.error("polynomial", Fault::Truncated));
    }
    let mut p = Poly::zero(basis);
    for (m, row) in basis.moduli().zip(p.rows_mut()) {
        read_row(m, r, row)?;
    }
    Ok(p)
}

/// Appends element `k` of a list that is packed already, as [`write_poly`] does.
pub fn write_packed<R: Representation>(polys: &PackedPolys<R>, k: usize, w: &mut Writer) {
    for i in 0..polys.basis().limbs() {
        w.raw(polys.row(k, i).packed());
    }
}

/// Element `k` of a list ← what [`write_packed`] or [`write_poly`] wrote.
///
/// # Errors
/// As [`read_row`].
pub fn read_packed<R: Representation>(
    polys: &mut PackedPolys<R>,
    k: usize,
    r: &mut Reader<'_>,
) -> Result<(), DecodeError> {
    const WHAT: &str = "row of residues";
    for i in 0..polys.basis().limbs() {
        let row = polys.row_bytes_mut(k, i);
        row.copy_from_slice(r.raw(row.len(), WHAT)?);
        // Rows of a ring end with a byte: there is no padding.
        if !kernel::is_canonical(polys.basis().modulus(i), polys.row(k, i)) {
            return Err(r.error(WHAT, Fault::Invalid));
        }
    }
    Ok(())
}
