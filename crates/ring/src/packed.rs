use crate::kernel::{self, SLACK};
use crate::{Basis, Poly, Representation, packing};
use std::fmt;
use std::marker::PhantomData;

/// Bytes of a cache line.
const LINE: usize = 64;
/// Cache lines of one page: elements start as many lines after a page as there are elements before them, times
/// [`STAGGER`], so that equal columns of different elements do not share a cache set.
const PAGE_LINES: usize = 64;
const STAGGER: usize = 5;

/// Elements over one basis, as bits: a residue takes ⌈log2 q⌉ bits, as in [`packing`], half of a word or less where primes
/// are small. For what is read often and written once.
///
/// Rows start on 64-byte boundaries; the rows of one element follow each other.
pub struct PackedPolys<R: Representation> {
    basis: Basis,
    count: usize,
    bytes: Vec<u8>,
    /// Of the first row in `bytes`.
    offset: usize,
    /// Where each row starts in an element, then the distance between elements.
    starts: Vec<usize>,
    representation: PhantomData<R>,
}

/// A row of a [`PackedPolys`].
#[derive(Clone, Copy)]
pub struct PackedRow<'a> {
    /// Of a residue.
    pub(crate) bits: usize,
    pub(crate) n: usize,
    /// The row, and [`SLACK`] bytes at least beyond its end.
    pub(crate) bytes: &'a [u8],
}

impl PackedRow<'_> {
    /// Number of residues.
    #[expect(clippy::len_without_is_empty, reason = "no row of a ring is empty")]
    pub fn len(&self) -> usize {
        self.n
    }

    /// The packed residues alone.
    pub(crate) fn packed(&self) -> &[u8] {
        &self.bytes[..self.n / 8 * self.bits]
    }

    /// out ← the residues. Panics unless there are as many.
    pub fn unpack_into(&self, out: &mut [u64]) {
        kernel::unpack_into(*self, out);
    }
}

impl fmt::Debug for PackedRow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedRow").field("bits", &self.bits).field("n", &self.n).finish_non_exhaustive()
    }
}

impl<R: Representation> PackedPolys<R> {
    /// `count` zeros.
    pub fn zero(basis: &Basis, count: usize) -> Self {
        let mut starts = Vec::with_capacity(basis.limbs() + 1);
        let mut end = 0;
        for m in basis.moduli() {
            starts.push(end);
            end += packing::row_bytes(m, basis.n()).next_multiple_of(LINE);
        }
        let lines = end / LINE;
        let ahead = (STAGGER + PAGE_LINES - lines % PAGE_LINES) % PAGE_LINES;
        // Small elements are not worth the room.
        starts.push(if lines < PAGE_LINES { end } else { end + ahead * LINE });
        let bytes = vec![0; count * starts[basis.limbs()] + SLACK + LINE];
        let offset = bytes.as_ptr().align_offset(LINE);
        // Alignment is for speed alone, so a platform that cannot tell is served unaligned.
        let offset = if offset < LINE { offset } else { 0 };
        Self { basis: basis.clone(), count, bytes, offset, starts, representation: PhantomData }
    }

    /// The elements given, which must be over `basis`.
    pub fn pack(basis: &Basis, polys: &[&Poly<R>]) -> Self {
        let mut packed = Self::zero(basis, polys.len());
        for (k, poly) in polys.iter().enumerate() {
            assert!(poly.basis() == basis, "operands over different bases");
            for (i, row) in poly.rows().enumerate() {
                packed.set_row(k, i, row);
            }
        }
        packed
    }

    /// The basis.
    pub fn basis(&self) -> &Basis {
        &self.basis
    }

    /// Number of elements.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of memory that `count` elements over `basis` take, what aligns them left out.
    pub fn memory_bytes(basis: &Basis, count: usize) -> usize {
        count * packing::poly_bytes(basis)
    }

    fn place(&self, k: usize, i: usize) -> (usize, usize) {
        assert!(k < self.count && i < self.basis.limbs(), "element {k} of {}, row {i}", self.count);
        let start = self.offset + k * self.starts[self.basis.limbs()] + self.starts[i];
        (start, packing::row_bytes(self.basis.modulus(i), self.basis.n()))
    }

    /// Row `i` of element `k`. Panics unless both exist.
    #[inline]
    pub fn row(&self, k: usize, i: usize) -> PackedRow<'_> {
        let (start, len) = self.place(k, i);
        PackedRow {
            bits: self.basis.modulus(i).bits() as usize,
            n: self.basis.n(),
            bytes: &self.bytes[start..start + len + SLACK],
        }
    }

    /// Row `i` of element `k` ← canonical residues, n of them. Panics unless both exist.
    pub fn set_row(&mut self, k: usize, i: usize, row: &[u64]) {
        let m = *self.basis.modulus(i);
        kernel::pack_into(&m, row, self.row_bytes_mut(k, i));
    }

    /// Element `k`.
    pub fn unpack(&self, k: usize) -> Poly<R> {
        let mut poly = Poly::zero(&self.basis);
        for (i, row) in poly.rows_mut().enumerate() {
            self.row(k, i).unpack_into(row);
        }
        poly
    }

    /// The bytes of row `i` of element `k`, to be written with a canonical encoding.
    pub(crate) fn row_bytes_mut(&mut self, k: usize, i: usize) -> &mut [u8] {
        let (start, len) = self.place(k, i);
        &mut self.bytes[start..start + len]
    }
}

impl<R: Representation> Clone for PackedPolys<R> {
    fn clone(&self) -> Self {
        let mut copy = Self::zero(&self.basis, self.count);
        let len = self.count * self.starts[self.basis.limbs()];
        copy.bytes[copy.offset..copy.offset + len]
            .copy_from_slice(&self.bytes[self.offset..self.offset + len]);
        copy
    }
}

impl<R: Representation> fmt::Debug for PackedPolys<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedPolys")
            .field("representation", &R::NAME)
            .field("basis", &self.basis)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}
