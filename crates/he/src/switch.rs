//! Hybrid key switching, step by step. Transforms are counted where they happen.

use crate::convert::Conversion;
use crate::counts::count;
use crate::evaluation_keys::SwitchingKey;
use crate::params::{Level, Params};
use crate::pool::Pooled;
use crate::scheme::{Correction, Scheme};
use oblivia_ring::kernel::{self, Ahead, CentredTerm};
use oblivia_ring::{Basis, Coeff, Modulus, Ntt, PackedRow, Permutation, Poly, Shoup};
use std::sync::atomic::AtomicU64;

/// Buffers of one key switch.
pub(crate) struct Scratch {
    /// Coefficients of the operand, prepared for conversion.
    coeff: Poly<Coeff>,
    /// One limb of every digit.
    digits: Poly<Ntt>,
    /// One row.
    row: Poly<Ntt>,
    /// One row modulo t, of a [`Correction`].
    remainder: Poly<Ntt>,
    /// One row of each half, of a result that is used limb by limb.
    sums: [Poly<Ntt>; 2],
    /// The result modulo QP: rows of Q_ℓ, then of P.
    pub(crate) acc: [Poly<Ntt>; 2],
}

impl Scratch {
    pub(crate) fn new(params: &Params) -> Self {
        let top = params.level_data(params.max_level());
        Self {
            coeff: Poly::zero(&top.q),
            digits: Poly::zero(&top.q),
            row: Poly::zero(&top.q.prefix(1)),
            remainder: Poly::zero(&top.q.prefix(1)),
            sums: [Poly::zero(&top.q.prefix(1)), Poly::zero(&top.q.prefix(1))],
            acc: [Poly::zero(&top.qp), Poly::zero(&top.qp)],
        }
    }

    /// Coefficients of `c` (over Q_ℓ), each limb prepared for the lift of its digit. ℓ transforms.
    fn prepare_digits(&mut self, level: &Level, c: &Poly<Ntt>, ntt: &AtomicU64) {
        self.coeff.reset(&level.q);
        for digit in &level.digits {
            for (i, limb) in digit.limbs.clone().enumerate() {
                let row = self.coeff.row_mut(limb);
                kernel::inverse_into(level.q.table(limb), c.row(limb), row);
                digit.lift.prepare(i, row);
            }
        }
        count(ntt, level.q.limbs() as u64);
    }

    /// acc ← Σ_j digit_j(c)·key_j modulo QP. (d+1)(ℓ+k) − k transforms: ℓ back and d(ℓ+k) − ℓ forth.
    pub(crate) fn inner_product(
        &mut self,
        params: &Params,
        c: &Poly<Ntt>,
        key: &SwitchingKey,
        ntt: &AtomicU64,
    ) {
        let level = params.level_data(c.limbs());
        self.prepare_digits(level, c, ntt);
        let Self { coeff, digits, acc, .. } = self;
        acc.iter_mut().for_each(|a| a.reset(&level.qp));
        decomposed(level, c, key, coeff, digits, ntt, |t, m, triples| {
            let [acc0, acc1] = &mut *acc;
            kernel::dot2_packed_into(m, triples, acc0.row_mut(t), acc1.row_mut(t));
        });
    }

    /// As [`Scratch::inner_product`], each limb of the result left to `finish`, which may write to it, while it is in
    /// cache.
    pub(crate) fn inner_product_each(
        &mut self,
        params: &Params,
        c: &Poly<Ntt>,
        key: &SwitchingKey,
        ntt: &AtomicU64,
        mut finish: impl FnMut(usize, &Modulus, [&mut [u64]; 2]),
    ) {
        let level = params.level_data(c.limbs());
        self.prepare_digits(level, c, ntt);
        let Self { coeff, digits, sums, .. } = self;
        decomposed(level, c, key, coeff, digits, ntt, |t, m, triples| {
            let [sum0, sum1] = sums.each_mut().map(|s| s.row_mut(0));
            kernel::dot2_packed_into(m, triples, sum0, sum1);
            finish(t, m, [sum0, sum1]);
        });
    }

    /// acc ← Σ_j digit_j·key_j modulo QP from digits already there. No transform.
    pub(crate) fn inner_product_hoisted(&mut self, params: &Params, digits: &Digits, key: &SwitchingKey) {
        let level = params.level_data(digits.level);
        self.acc.iter_mut().for_each(|a| a.reset(&level.qp));
        let [acc0, acc1] = &mut self.acc;
        digits.each(level, key, |t, m, triples| {
            kernel::dot2_packed_into(m, triples, acc0.row_mut(t), acc1.row_mut(t));
        });
    }

    /// As [`Scratch::inner_product_hoisted`], each limb of the result left to `finish` as in
    /// [`Scratch::inner_product_each`].
    pub(crate) fn inner_product_hoisted_each(
        &mut self,
        params: &Params,
        digits: &Digits,
        key: &SwitchingKey,
        mut finish: impl FnMut(usize, &Modulus, [&mut [u64]; 2]),
    ) {
        let sums = &mut self.sums;
        digits.each(params.level_data(digits.level), key, |t, m, triples| {
            let [sum0, sum1] = sums.each_mut().map(|s| s.row_mut(0));
            kernel::dot2_packed_into(m, triples, sum0, sum1);
            finish(t, m, [sum0, sum1]);
        });
    }

    /// Divides half `half` of acc by P and rounds; leaves each row i < ℓ to `finish`. ℓ + k transforms.
    pub(crate) fn mod_down<S: Scheme>(
        &mut self,
        scheme: &S,
        half: usize,
        ntt: &AtomicU64,
        finish: impl FnMut(usize, Quotient<'_>),
    ) {
        let l = self.acc[half].limbs() - scheme.params().special().limbs();
        self.divide(half, None, &Division::by_p(scheme, l), ntt, finish);
    }

    /// As [`Scratch::mod_down`], of `c` over Q_ℓ·P.
    pub(crate) fn mod_down_of<S: Scheme>(
        &mut self,
        scheme: &S,
        c: &Poly<Ntt>,
        ntt: &AtomicU64,
        finish: impl FnMut(usize, Quotient<'_>),
    ) {
        let l = c.limbs() - scheme.params().special().limbs();
        self.divide(0, Some(c), &Division::by_p(scheme, l), ntt, finish);
    }

    /// Divides half `half` of acc by P·q_{ℓ−1} and rounds; leaves each row i < ℓ−1 to `finish`. ℓ + k
    /// transforms: the rescale costs none of its own.
    pub(crate) fn mod_down_rescale<S: Scheme>(
        &mut self,
        scheme: &S,
        half: usize,
        ntt: &AtomicU64,
        finish: impl FnMut(usize, Quotient<'_>),
    ) {
        let l = self.acc[half].limbs() - scheme.params().special().limbs();
        self.divide(half, None, &Division::by_p_and_last(scheme, l), ntt, finish);
    }

    /// As [`Scratch::mod_down_rescale`], of `c` over Q_ℓ·P.
    pub(crate) fn mod_down_rescale_of<S: Scheme>(
        &mut self,
        scheme: &S,
        c: &Poly<Ntt>,
        ntt: &AtomicU64,
        finish: impl FnMut(usize, Quotient<'_>),
    ) {
        let l = c.limbs() - scheme.params().special().limbs();
        self.divide(0, Some(c), &Division::by_p_and_last(scheme, l), ntt, finish);
    }

    /// Divides `c`, or half `half` of acc, by the product of all its primes but the first few; the dropped rows of that
    /// half are lost. One transform per prime.
    fn divide(
        &mut self,
        half: usize,
        c: Option<&Poly<Ntt>>,
        division: &Division<'_>,
        ntt: &AtomicU64,
        mut finish: impl FnMut(usize, Quotient<'_>),
    ) {
        let (kept, basis) = (division.kept, division.basis);
        let (acc, all) = (&mut self.acc[half], basis.limbs());
        if c.is_some() {
            acc.reset(basis);
        }
        for j in kept..all {
            let row = acc.row_mut(j);
            match c {
                Some(c) => kernel::inverse_into(basis.table(j), c.row(j), row),
                None => kernel::inverse(basis.table(j), row),
            }
            division.conversion.prepare(j - kept, row);
        }
        let u = self.remainder.row_mut(0);
        if let Some(correction) = division.correction {
            correction.remainder((kept..all).map(|j| acc.row(j)), u);
        }
        for (i, table) in basis.tables().take(kept).enumerate() {
            let t = self.row.row_mut(0);
            let rows = (kept..all).map(|j| acc.row(j));
            let (modulus, row, factor) = (table.modulus(), c.unwrap_or(acc).row(i), division.inverses[i]);
            match division.correction {
                None => division.conversion.apply_forward(i, table, rows, t, &[row.into()]),
                Some(c) => {
                    division.conversion.apply_with(i, modulus, rows, c.term(i, u), t);
                    kernel::forward_fetching(table, t, &[row.into()]);
                }
            }
            finish(i, Quotient { modulus, row, rest: t, factor });
        }
        count(ntt, all as u64);
    }

    /// out ← `c` divided by its last prime and rounded, over one limb less. ℓ transforms.
    pub(crate) fn rescale<S: Scheme>(
        &mut self,
        scheme: &S,
        c: &Poly<Ntt>,
        out: &mut Poly<Ntt>,
        ntt: &AtomicU64,
    ) {
        let last = c.limbs() - 1;
        let level = scheme.params().level_data(last + 1);
        let from = level.q.modulus(last);
        kernel::inverse_into(level.q.table(last), c.row(last), self.coeff.row_mut(0));
        let tail = self.coeff.row(0);
        let correction = scheme.exact(last + 1).and_then(|e| e.last.as_ref());
        let u = self.remainder.row_mut(0);
        if let Some(correction) = correction {
            correction.remainder([tail].into_iter(), u);
        }
        for (i, table) in level.q.tables().take(last).enumerate() {
            let t = self.row.row_mut(0);
            match correction {
                None => kernel::forward_centred_into(from, table, tail, t, &[c.row(i).into()]),
                Some(correction) => {
                    let tail = CentredTerm { row: tail, modulus: from, factor: table.modulus().shoup(1) };
                    kernel::convert_centred_into(table.modulus(), &[tail, correction.term(i, u)], t);
                    kernel::forward_fetching(table, t, &[c.row(i).into()]);
                }
            }
            kernel::sub_scale_into(table.modulus(), c.row(i), t, level.last_inv[i], None, out.row_mut(i));
        }
        count(ntt, (last + 1) as u64);
    }
}

/// Products with rows of a key (b, a).
type Products<'a> = [(PackedRow<'a>, PackedRow<'a>, &'a [u64])];

/// Hands `sum` the products of every limb of Q_ℓ·P that key switching adds up. Limb by limb, so that the digits of one
/// limb stay in cache; `coeff` holds the prepared coefficients of `c`, `digits` is overwritten. d(ℓ+k) − ℓ transforms.
fn decomposed(
    level: &Level,
    c: &Poly<Ntt>,
    key: &SwitchingKey,
    coeff: &Poly<Coeff>,
    digits: &mut Poly<Ntt>,
    ntt: &AtomicU64,
    mut sum: impl FnMut(usize, &Modulus, &Products<'_>),
) {
    let l = c.limbs();
    digits.reset(&level.q);
    for (t, table) in level.qp.tables().enumerate() {
        // Rows of keys come from memory while digits are transformed.
        let mut ahead = Vec::with_capacity(4);
        let mut triples = Vec::with_capacity(level.digits.len());
        for (j, digit) in level.digits.iter().enumerate() {
            let (b, a) = key.rows(j, l, t);
            ahead.extend([Ahead::from(b), a.into()]);
            if !digit.limbs.contains(&t) {
                let rows = digit.limbs.clone().map(|i| coeff.row(i));
                digit.lift.apply_forward(t, table, rows, digits.row_mut(j), &ahead);
                ahead.clear();
                count(ntt, 1);
            }
        }
        for (j, digit) in level.digits.iter().enumerate() {
            let x = if digit.limbs.contains(&t) { c.row(t) } else { digits.row(j) };
            let (b, a) = key.rows(j, l, t);
            triples.push((b, a, x));
        }
        sum(t, table.modulus(), &triples);
    }
}

/// A division by the product D of dropped primes.
struct Division<'a> {
    /// Of what is divided.
    basis: &'a Basis,
    /// How many primes are kept, the first ones.
    kept: usize,
    /// From the dropped primes to the kept ones.
    conversion: &'a Conversion,
    /// D⁻¹ modulo each kept prime.
    inverses: &'a [Shoup],
    /// What keeps a message modulo t exact.
    correction: Option<&'a Correction>,
}

impl<'a> Division<'a> {
    /// By P, on level `l`.
    fn by_p<S: Scheme>(scheme: &'a S, l: usize) -> Self {
        let level = scheme.params().level_data(l);
        Self {
            basis: &level.qp,
            kept: l,
            conversion: &level.mod_down,
            inverses: &level.p_inv,
            correction: scheme.exact(l).map(|e| &e.special),
        }
    }

    /// By P·q_{l−1}, on level `l`.
    fn by_p_and_last<S: Scheme>(scheme: &'a S, l: usize) -> Self {
        let level = scheme.params().level_data(l);
        Self {
            basis: &level.qp,
            kept: l - 1,
            conversion: &level.mod_down_rescale,
            inverses: &level.p_last_inv,
            correction: scheme.exact(l).and_then(|e| e.last_and_special.as_ref()),
        }
    }
}

/// A row of a quotient still to be computed: (row − rest)·factor. Whoever takes it writes it once, where it belongs.
pub(crate) struct Quotient<'a> {
    modulus: &'a Modulus,
    row: &'a [u64],
    rest: &'a [u64],
    factor: Shoup,
}

impl Quotient<'_> {
    /// out ← the row plus `addend`.
    pub(crate) fn write(&self, addend: Option<&[u64]>, out: &mut [u64]) {
        kernel::sub_scale_into(self.modulus, self.row, self.rest, self.factor, addend, out);
    }

    /// out ← the row plus `addend`, permuted.
    pub(crate) fn write_permuted(&self, permutation: &Permutation, addend: Option<&[u64]>, out: &mut [u64]) {
        let Self { modulus, row, rest, factor } = *self;
        kernel::gather_sub_scale_into(modulus, permutation, row, rest, factor, addend, out);
    }
}

/// All digits of one element, modulo QP: what hoisted rotations share.
pub(crate) struct Digits {
    level: usize,
    polys: Vec<Pooled>,
}

impl Digits {
    /// Decomposes `c` over Q_ℓ. d(ℓ+k) transforms, those of the coefficients included.
    pub(crate) fn new(params: &Params, c: &Poly<Ntt>, scratch: &mut Scratch, ntt: &AtomicU64) -> Self {
        let level = params.level_data(c.limbs());
        scratch.prepare_digits(level, c, ntt);
        let decompose = |digit: &crate::params::Digit| {
            let mut out = params.pool().take(&level.qp);
            for (t, table) in level.qp.tables().enumerate() {
                let row = out.row_mut(t);
                if digit.limbs.contains(&t) {
                    row.copy_from_slice(c.row(t));
                } else {
                    let rows = digit.limbs.clone().map(|i| scratch.coeff.row(i));
                    digit.lift.apply_forward(t, table, rows, row, &[]);
                    count(ntt, 1);
                }
            }
            out
        };
        Self { level: c.limbs(), polys: level.digits.iter().map(decompose).collect() }
    }

    /// As [`decomposed`].
    fn each(&self, level: &Level, key: &SwitchingKey, mut sum: impl FnMut(usize, &Modulus, &Products<'_>)) {
        let mut triples = Vec::with_capacity(self.polys.len());
        for (t, m) in level.qp.moduli().enumerate() {
            triples.clear();
            triples.extend(self.polys.iter().enumerate().map(|(j, x)| {
                let (b, a) = key.rows(j, self.level, t);
                (b, a, x.row(t))
            }));
            sum(t, m, &triples);
        }
    }
}

#[cfg(test)]
mod known_answers;
