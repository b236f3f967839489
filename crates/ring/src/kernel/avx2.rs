//! The portable kernels compiled for AVX2 and BMI2, where that was measured to gain: 1.4 to 1.8 times in the transforms,
//! 1.2 to 3 times in additions and deferred sums, which vectorise or use `mulx`. Full products, multiplication by
//! constants and reductions of two words gain less than a tenth, since AVX2 has no product of 64 bits, and stay out.

use super::{ConstantMatrix, portable};
use crate::{Modulus, NttTable, PackedRow};

#[target_feature(enable = "avx2,bmi2")]
pub(crate) fn forward(table: &NttTable, a: &mut [u64]) {
    portable::forward(table, a);
}

#[target_feature(enable = "avx2,bmi2")]
pub(crate) fn inverse(table: &NttTable, a: &mut [u64]) {
    portable::inverse(table, a);
}

#[target_feature(enable = "avx2,bmi2")]
pub(crate) fn add_assign(m: &Modulus, a: &mut [u64], b: &[u64]) {
    portable::zip_assign(a, b, |a, b| m.add(a, b));
}

#[target_feature(enable = "avx2,bmi2")]
pub(crate) fn add_into(m: &Modulus, a: &[u64], b: &[u64], out: &mut [u64]) {
    portable::zip_into(a, b, out, |a, b| m.add(a, b));
}

#[target_feature(enable = "avx2,bmi2")]
pub(crate) fn sub_assign(m: &Modulus, a: &mut [u64], b: &[u64]) {
    portable::zip_assign(a, b, |a, b| m.sub(a, b));
}

#[target_feature(enable = "avx2,bmi2")]
pub(crate) fn sub_into(m: &Modulus, a: &[u64], b: &[u64], out: &mut [u64]) {
    portable::zip_into(a, b, out, |a, b| m.sub(a, b));
}

#[target_feature(enable = "avx2,bmi2")]
pub(crate) fn mac_first(lo: &mut [u64], hi: &mut [u64], a: &[u64], b: &[u64]) {
    portable::mac_first(lo, hi, a, b);
}

#[target_feature(enable = "avx2,bmi2")]
pub(crate) fn mac(lo: &mut [u64], hi: &mut [u64], a: &[u64], b: &[u64]) {
    portable::mac(lo, hi, a, b);
}

#[target_feature(enable = "avx2,bmi2")]
pub(crate) fn dot(m: &Modulus, pairs: &[(&[u64], &[u64])], skip: usize, out: &mut [u64]) {
    portable::dot(m, pairs, skip, out);
}

#[target_feature(enable = "avx2,bmi2")]
pub(crate) fn dot_constants(
    m: &Modulus,
    xs: &[&[u64]],
    matrix: &ConstantMatrix,
    skip: usize,
    outs: &mut [&mut [u64]],
) {
    portable::dot_constants(m, xs, matrix, skip, outs);
}

#[target_feature(enable = "avx2,bmi2")]
pub(crate) fn unpack(row: PackedRow<'_>, out: &mut [u64]) {
    portable::unpack(row, out);
}

#[target_feature(enable = "avx2,bmi2")]
pub(crate) fn is_canonical(q: u64, row: PackedRow<'_>) -> bool {
    portable::is_canonical(q, row)
}

#[target_feature(enable = "avx2,bmi2")]
pub(crate) fn dot2_by_packed(
    m: &Modulus,
    triples: &[(&[u64], &[u64], PackedRow<'_>)],
    out: &mut [u64],
    other: &mut [u64],
) {
    portable::dot2_by_packed(m, triples, out, other);
}

#[target_feature(enable = "avx2,bmi2")]
pub(crate) fn dot2_packed(
    m: &Modulus,
    triples: &[(PackedRow<'_>, PackedRow<'_>, &[u64])],
    out: &mut [u64],
    other: &mut [u64],
) {
    portable::dot2_packed(m, triples, out, other);
}
