//! Operations on single rows of residues, for callers that schedule rows themselves.
//!
//! Operands and results are canonical, in [0, q), unless a function says otherwise; slices of one call have
//! equal length (n for the transforms), else the call panics. No function branches on or indexes by the values in a row,
//! and none allocates on rows of a ring.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod constants;
#[cfg(target_arch = "x86_64")]
mod ifma;
mod path;
pub(crate) mod portable;

pub use constants::ConstantMatrix;
#[cfg(target_arch = "x86_64")]
pub(crate) use ifma::tables::Tables;
pub use path::Path;

use crate::{Modulus, NttTable, PackedRow, Permutation, Shoup};
use std::fmt;

/// Runs a vector kernel where the machine has one; how many of `$len` entries it has done.
macro_rules! vector {
    ($len:expr, $($kernel:ident)::+($($argument:expr),*)) => {{
        #[cfg(target_arch = "x86_64")]
        let done = if Path::active() == Path::Avx512Ifma {
            // SAFETY: this path is active only on processors with the features that the kernels ask for.
            unsafe { ifma::$($kernel)::+($($argument),*) };
            $len / 8 * 8
        } else {
            0
        };
        #[cfg(not(target_arch = "x86_64"))]
        let done = 0;
        done
    }};
}

macro_rules! same_length {
    ($first:expr $(, $other:expr)+) => { $(assert_eq!($first.len(), $other.len(), "rows of different length");)+ };
}

/// Returns the result of a kernel compiled for AVX2 if that path is active.
macro_rules! avx2 {
    ($kernel:ident($($argument:expr),*)) => {
        #[cfg(target_arch = "x86_64")]
        if Path::active() == Path::Avx2 {
            // SAFETY: this path is active only on processors with the features that the kernels ask for.
            return unsafe { avx2::$kernel($($argument),*) };
        }
    };
}

// Behind the macros, which it uses.
mod products;

pub use products::*;

/// What a kernel may fetch into the second-level cache while it computes: memory that the caller reads next.
#[derive(Clone, Copy)]
pub struct Ahead<'a>(Memory<'a>);

#[derive(Clone, Copy)]
enum Memory<'a> {
    Words(&'a [u64]),
    Bytes(&'a [u8]),
}

impl Ahead<'_> {
    /// Where it is, and how many bytes.
    #[cfg(target_arch = "x86_64")]
    fn span(&self) -> (*const i8, usize) {
        match self.0 {
            Memory::Words(words) => (words.as_ptr().cast(), size_of_val(words)),
            Memory::Bytes(bytes) => (bytes.as_ptr().cast(), bytes.len()),
        }
    }
}

impl<'a> From<&'a [u64]> for Ahead<'a> {
    fn from(row: &'a [u64]) -> Self {
        Self(Memory::Words(row))
    }
}

impl<'a> From<PackedRow<'a>> for Ahead<'a> {
    fn from(row: PackedRow<'a>) -> Self {
        Self(Memory::Bytes(&row.bytes[..row.bytes.len() - SLACK]))
    }
}

impl fmt::Debug for Ahead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ahead(..)")
    }
}

/// Coefficients to values, in place: output i is f(ψ^e(i)). `row` has n entries.
pub fn forward(table: &NttTable, row: &mut [u64]) {
    forward_fetching(table, row, &[]);
}

/// [`forward`], fetching the rows `ahead` meanwhile: those that come from further away, such as rows of keys.
pub fn forward_fetching(table: &NttTable, row: &mut [u64], ahead: &[Ahead<'_>]) {
    assert_eq!(row.len(), table.n(), "row length is not the ring degree");
    #[cfg(target_arch = "x86_64")]
    if let (Path::Avx512Ifma, Some(vector)) = (Path::active(), table.vector()) {
        // SAFETY: this path is active only on processors with the features that the kernels ask for.
        return unsafe { ifma::ntt::forward(table.modulus(), vector, row, ahead) };
    }
    avx2!(forward(table, row));
    portable::forward(table, row);
}

/// Values to coefficients, in place; undoes [`forward`]. `row` has n entries.
pub fn inverse(table: &NttTable, row: &mut [u64]) {
    assert_eq!(row.len(), table.n(), "row length is not the ring degree");
    #[cfg(target_arch = "x86_64")]
    if let (Path::Avx512Ifma, Some(vector)) = (Path::active(), table.vector()) {
        // SAFETY: this path is active only on processors with the features that the kernels ask for.
        return unsafe { ifma::ntt::inverse(table.modulus(), vector, row) };
    }
    avx2!(inverse(table, row));
    portable::inverse(table, row);
}

/// out ← the transform of centred(src) mod q, where src is canonical modulo `from`: [`reduce_centred_into`] and then
/// [`forward_fetching`]. Both have n entries.
pub fn forward_centred_into(
    from: &Modulus,
    table: &NttTable,
    src: &[u64],
    out: &mut [u64],
    ahead: &[Ahead<'_>],
) {
    same_length!(src, out);
    assert_eq!(out.len(), table.n(), "row length is not the ring degree");
    #[cfg(target_arch = "x86_64")]
    if let (Path::Avx512Ifma, Some(vector)) = (Path::active(), table.vector()) {
        // SAFETY: this path is active only on processors with the features that the kernels ask for.
        return unsafe { ifma::ntt::forward_centred(from, table.modulus(), vector, src, out, ahead) };
    }
    reduce_centred_into(from, table.modulus(), src, out);
    forward(table, out);
}

/// out ← the coefficients from values `src`: [`inverse`] out of place. Both have n entries.
pub fn inverse_into(table: &NttTable, src: &[u64], out: &mut [u64]) {
    same_length!(src, out);
    assert_eq!(out.len(), table.n(), "row length is not the ring degree");
    #[cfg(target_arch = "x86_64")]
    if let (Path::Avx512Ifma, Some(vector)) = (Path::active(), table.vector()) {
        // SAFETY: this path is active only on processors with the features that the kernels ask for.
        return unsafe { ifma::ntt::inverse_into(table.modulus(), vector, src, out) };
    }
    out.copy_from_slice(src);
    inverse(table, out);
}

/// a ← a + b.
pub fn add_assign(m: &Modulus, a: &mut [u64], b: &[u64]) {
    same_length!(a, b);
    avx2!(add_assign(m, a, b));
    let done = vector!(a.len(), rows::add_assign(m, a, b));
    portable::zip_assign(&mut a[done..], &b[done..], |a, b| m.add(a, b));
}

/// out ← a + b.
pub fn add_into(m: &Modulus, a: &[u64], b: &[u64], out: &mut [u64]) {
    same_length!(out, a, b);
    avx2!(add_into(m, a, b, out));
    let done = vector!(a.len(), rows::add_into(m, a, b, out));
    portable::zip_into(&a[done..], &b[done..], &mut out[done..], |a, b| m.add(a, b));
}

/// a ← a − b.
pub fn sub_assign(m: &Modulus, a: &mut [u64], b: &[u64]) {
    same_length!(a, b);
    avx2!(sub_assign(m, a, b));
    let done = vector!(a.len(), rows::sub_assign(m, a, b));
    portable::zip_assign(&mut a[done..], &b[done..], |a, b| m.sub(a, b));
}

/// out ← a − b.
pub fn sub_into(m: &Modulus, a: &[u64], b: &[u64], out: &mut [u64]) {
    same_length!(out, a, b);
    avx2!(sub_into(m, a, b, out));
    let done = vector!(a.len(), rows::sub_into(m, a, b, out));
    portable::zip_into(&a[done..], &b[done..], &mut out[done..], |a, b| m.sub(a, b));
}

/// a ← a + c for a constant c.
pub fn add_constant_assign(m: &Modulus, a: &mut [u64], c: u64) {
    let done = vector!(a.len(), rows::add_constant_assign(m, a, c));
    for x in &mut a[done..] {
        *x = m.add(*x, c);
    }
}

/// a ← −a.
pub fn neg_assign(m: &Modulus, a: &mut [u64]) {
    let done = vector!(a.len(), rows::neg_assign(m, a));
    for x in &mut a[done..] {
        *x = m.neg(*x);
    }
}

/// a ← a·b, entry by entry.
pub fn mul_assign(m: &Modulus, a: &mut [u64], b: &[u64]) {
    same_length!(a, b);
    let done = vector!(a.len(), rows::mul_assign(m, a, b));
    portable::zip_assign(&mut a[done..], &b[done..], |a, b| m.mul(a, b));
}

/// out ← a·b, entry by entry.
pub fn mul_into(m: &Modulus, a: &[u64], b: &[u64], out: &mut [u64]) {
    same_length!(out, a, b);
    let done = vector!(a.len(), rows::mul_into(m, a, b, out));
    portable::zip_into(&a[done..], &b[done..], &mut out[done..], |a, b| m.mul(a, b));
}

/// acc ← acc + a·b, entry by entry, reduced at once. For longer sums see [`dot_into`] and [`mac`].
pub fn mul_add_assign(m: &Modulus, acc: &mut [u64], a: &[u64], b: &[u64]) {
    same_length!(acc, a, b);
    let done = vector!(a.len(), rows::mul_add_assign(m, acc, a, b));
    for ((c, &a), &b) in acc[done..].iter_mut().zip(&a[done..]).zip(&b[done..]) {
        *c = m.add(*c, m.mul(a, b));
    }
}

/// a ← a·c for a constant c.
pub fn scale_assign(m: &Modulus, a: &mut [u64], c: Shoup) {
    let done = vector!(a.len(), rows::scale_assign(m, a, c));
    for x in &mut a[done..] {
        *x = m.mul_shoup(*x, c);
    }
}

/// out ← a·c for a constant c.
pub fn scale_into(m: &Modulus, a: &[u64], c: Shoup, out: &mut [u64]) {
    same_length!(out, a);
    let done = vector!(a.len(), rows::scale_into(m, a, c, out));
    for (o, &a) in out[done..].iter_mut().zip(&a[done..]) {
        *o = m.mul_shoup(a, c);
    }
}

/// acc ← acc + a·c for a constant c.
pub fn scale_add_assign(m: &Modulus, acc: &mut [u64], a: &[u64], c: Shoup) {
    same_length!(acc, a);
    let done = vector!(a.len(), rows::scale_add_assign(m, acc, a, c));
    portable::zip_assign(&mut acc[done..], &a[done..], |s, a| m.add(s, m.mul_shoup(a, c)));
}

/// out ← (a − t)·c + addend for a constant c: the last step of a rescale or of a division by P. Without an addend, 0.
pub fn sub_scale_into(m: &Modulus, a: &[u64], t: &[u64], c: Shoup, addend: Option<&[u64]>, out: &mut [u64]) {
    same_length!(out, a, t, addend.unwrap_or(a));
    let done = vector!(a.len(), rows::sub_scale(m, a, t, c, addend, out));
    for (k, o) in out.iter_mut().enumerate().skip(done) {
        *o = portable::sub_scale(m, a[k], t[k], c, addend.map_or(0, |b| b[k]));
    }
}

/// out\[i\] ← entry π(i) of (a − t)·c + addend: [`sub_scale_into`] and then [`gather_into`]. Panics if the permutation
/// is of another degree.
pub fn gather_sub_scale_into(
    m: &Modulus,
    perm: &Permutation,
    a: &[u64],
    t: &[u64],
    c: Shoup,
    addend: Option<&[u64]>,
    out: &mut [u64],
) {
    same_length!(perm.source(), a, t, addend.unwrap_or(a), out);
    let done = vector!(a.len(), rows::gather_sub_scale(m, perm.source(), a, t, c, addend, out));
    for (o, &k) in out[done..].iter_mut().zip(&perm.source()[done..]) {
        let k = k as usize;
        *o = portable::sub_scale(m, a[k], t[k], c, addend.map_or(0, |b| b[k]));
    }
}

/// out ← centred(src) mod `to`, where src is canonical modulo `from` and centred means in
/// [−(p−1)/2, (p−1)/2]. A true reduction: `from` may be larger or smaller than `to`.
pub fn reduce_centred_into(from: &Modulus, to: &Modulus, src: &[u64], out: &mut [u64]) {
    same_length!(out, src);
    let done = vector!(src.len(), rows::reduce_centred_into(from, to, src, out));
    let half = from.value() >> 1;
    let less = to.neg(to.reduce_u64(from.value()));
    for (o, &x) in out[done..].iter_mut().zip(&src[done..]) {
        let above = u64::from(x > half).wrapping_neg();
        // Below 2q + q.
        *o = to.canonical4(to.reduce52_lazy(x) + (less & above));
    }
}

/// One source row of [`convert_centred_into`].
#[derive(Clone, Copy, Debug)]
pub struct CentredTerm<'a> {
    /// Residues canonical modulo `modulus`.
    pub row: &'a [u64],
    /// The source modulus p.
    pub modulus: &'a Modulus,
    /// The factor, a constant of the *target* modulus.
    pub factor: Shoup,
}

/// out ← Σ factor_i · centred(row_i) mod `to`: the sum of a base conversion, Σ y_i·(D/q_i), with the y_i
/// centred. At most 1024 terms.
pub fn convert_centred_into(to: &Modulus, terms: &[CentredTerm<'_>], out: &mut [u64]) {
    assert!(terms.len() <= 1024, "too many terms for one word");
    for term in terms {
        same_length!(out, term.row);
    }
    let done = vector!(out.len(), rows::convert_centred_into(to, terms, out));
    let out = &mut out[done..];
    out.fill(0);
    for term in terms {
        let p = term.modulus.value();
        let less = to.neg(to.mul_shoup(to.reduce_u64(p), term.factor));
        for (o, &x) in out.iter_mut().zip(&term.row[done..]) {
            let above = u64::from(x > p >> 1).wrapping_neg();
            // Each term adds less than 3q < 2^52: 1024 of them stay below 2^62.
            *o = o.wrapping_add(to.mul_lazy(x, term.factor) + (less & above));
        }
    }
    for o in out {
        *o = to.reduce_u64(*o);
    }
}

/// out ← src mod q, for signed integers of any size.
pub fn reduce_i64_into(m: &Modulus, src: &[i64], out: &mut [u64]) {
    same_length!(out, src);
    let done = vector!(src.len(), rows::reduce_i64_into(m, src, out));
    for (o, &x) in out[done..].iter_mut().zip(&src[done..]) {
        *o = m.reduce_i64(x);
    }
}

/// out ← src mod q, for signed integers of any size.
pub fn reduce_i128_into(m: &Modulus, src: &[i128], out: &mut [u64]) {
    same_length!(out, src);
    for (o, &x) in out.iter_mut().zip(src) {
        *o = m.reduce_i128(x);
    }
}

/// out\[i\] ← src\[π(i)\]. Panics if the permutation is of another degree.
pub fn gather_into(perm: &Permutation, src: &[u64], out: &mut [u64]) {
    same_length!(perm.source(), src, out);
    let done = vector!(src.len(), rows::gather_into(perm.source(), src, out));
    for (o, &p) in out[done..].iter_mut().zip(&perm.source()[done..]) {
        *o = src[p as usize];
    }
}

/// acc\[i\] ← acc\[i\] + src\[π(i)\]. Panics if the permutation is of another degree.
pub fn gather_add_assign(m: &Modulus, perm: &Permutation, acc: &mut [u64], src: &[u64]) {
    same_length!(perm.source(), src, acc);
    let done = vector!(src.len(), rows::gather_add_assign(m, perm.source(), acc, src));
    for (o, &p) in acc[done..].iter_mut().zip(&perm.source()[done..]) {
        *o = m.add(*o, src[p as usize]);
    }
}

/// out ← the residues of a packed row.
pub fn unpack_into(row: PackedRow<'_>, out: &mut [u64]) {
    same_length!(row, out);
    #[cfg(target_arch = "x86_64")]
    if Path::active() == Path::Avx512Ifma {
        // SAFETY: this path is active only on processors with the features that the kernels ask for.
        return unsafe { ifma::packed::unpack(row, out) };
    }
    avx2!(unpack(row, out));
    portable::unpack(row, out);
}

/// out ← a row packed, ⌈log2 q⌉ bits a residue. Panics unless it has a multiple of eight residues and `out` the bytes
/// they take.
pub(crate) fn pack_into(m: &Modulus, row: &[u64], out: &mut [u8]) {
    let bits = m.bits() as usize;
    assert!(row.len().is_multiple_of(8) && out.len() == row.len() / 8 * bits, "bytes of another row");
    #[cfg(target_arch = "x86_64")]
    if Path::active() == Path::Avx512Ifma && bits >= 8 {
        // SAFETY: this path is active only on processors with the features that the kernels ask for.
        return unsafe { ifma::packed::pack(bits, row, out) };
    }
    portable::pack(bits, row, out);
}

/// Whether the residues of a packed row are below q.
pub(crate) fn is_canonical(m: &Modulus, row: PackedRow<'_>) -> bool {
    assert!(row.bits == m.bits() as usize, "a packed row of another modulus");
    #[cfg(target_arch = "x86_64")]
    if Path::active() == Path::Avx512Ifma {
        // SAFETY: this path is active only on processors with the features that the kernels ask for.
        return unsafe { ifma::packed::is_canonical(m.value(), row) };
    }
    avx2!(is_canonical(m.value(), row));
    portable::is_canonical(m.value(), row)
}

/// Bytes that [`accept_below`] and kernels of packed rows want beyond the last group.
pub(crate) const SLACK: usize = 64;

/// Takes 8·`groups` fields of ⌈log2 q⌉ bits from `bytes`, least significant first, and writes those below q to `out` in
/// order, until it is full; returns how many it wrote. Variable time.
pub(crate) fn accept_below(q: u64, bytes: &[u8], groups: usize, out: &mut [u64]) -> usize {
    #[cfg(target_arch = "x86_64")]
    if Path::active() == Path::Avx512Ifma {
        // SAFETY: this path is active only on processors with the features that the kernels ask for.
        return unsafe { ifma::bits::accept_below(q, bytes, groups, out) };
    }
    portable::accept_below(q, bytes, groups, out)
}

/// One word of `bytes` per entry: bit 0 is the sign (1 is negative), bits 1 to 63 the number u; the magnitude is how
/// many entries of `table`, all positive and below 2^63, u is not below. Constant time in the words.
pub(crate) fn invert_table(table: &[u64], bytes: &[u8], out: &mut [i64]) {
    let done = vector!(out.len(), bits::invert_table(table, bytes, out));
    portable::invert_table(table, &bytes[8 * done..], &mut out[done..]);
}
