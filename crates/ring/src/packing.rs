//! Rows of numbers of equal width as bits: a residue takes ⌈log2 q⌉, least significant first, rows end on a byte.
//!
//! One row has one encoding: decoding refuses residues that are not below q and padding bits that are not zero.
#![deny(clippy::indexing_slicing)]

use crate::{Basis, Modulus, PackedPolys, Poly, Representation, kernel};
use oblivia_base::codec::{DecodeError, Fault, Reader, Writer};

/// Bytes of `count` numbers of `bits` bits.
pub fn bits_bytes(count: usize, bits: u32) -> usize {
    (count * bits as usize).div_ceil(8)
}

/// Bytes of a packed row of `n` residues.
pub fn row_bytes(m: &Modulus, n: usize) -> usize {
    bits_bytes(n, m.bits())
}

/// Bytes of a packed element over `basis`.
pub fn poly_bytes(basis: &Basis) -> usize {
    basis.moduli().map(|m| row_bytes(m, basis.n())).sum()
}

/// Appends numbers below 2^`bits`, 1 to 63.
pub fn write_bits(row: &[u64], bits: u32, w: &mut Writer) {
    let (mut word, mut filled) = (0u128, 0);
    for &x in row {
        debug_assert!(x >> bits == 0);
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

/// Reads `out.len()` numbers of `bits` bits, 1 to 63; errors name `what`.
///
/// # Errors
/// Truncated input, or a padding bit that is set.
pub fn read_bits(
    bits: u32,
    what: &'static str,
    r: &mut Reader<'_>,
    out: &mut [u64],
) -> Result<(), DecodeError> {
    let mask = (1u64 << bits) - 1;
    let mut words = r.raw(bits_bytes(out.len(), bits), what)?.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(chunk) {
            *to = *from;
        }
        u64::from_le_bytes(word)
    });
    let (mut word, mut filled) = (0u128, 0);
    for o in out {
        if filled < bits {
            word |= u128::from(words.next().unwrap_or(0)) << filled;
            filled += 64;
        }
        *o = word as u64 & mask;
        word >>= bits;
        filled -= bits;
    }
    if word == 0 { Ok(()) } else { Err(r.error(what, Fault::Invalid)) }
}

/// Appends a row of canonical residues.
pub fn write_row(m: &Modulus, row: &[u64], w: &mut Writer) {
    debug_assert!(row.iter().all(|&x| x < m.value()));
    write_bits(row, m.bits(), w);
}

/// Reads `out.len()` residues.
///
/// # Errors
/// Truncated input, a residue ≥ q, or a padding bit that is set.
pub fn read_row(m: &Modulus, r: &mut Reader<'_>, out: &mut [u64]) -> Result<(), DecodeError> {
    const WHAT: &str = "row of residues";
    read_bits(m.bits(), WHAT, r, out)?;
    let canonical = out.iter().fold(true, |all, &x| all & (x < m.value()));
    if canonical { Ok(()) } else { Err(r.error(WHAT, Fault::Invalid)) }
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
