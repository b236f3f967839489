//! Hybrid key switching, step by step. Transforms are counted where they happen.

use crate::chain::{Division, Level};
use crate::counts::count;
use crate::evaluation_keys::SwitchingKey;
use crate::params::Params;
use crate::pool::Pooled;
use crate::scheme::{Correction, Scheme};
use oblivia_ring::kernel::{self, Ahead};
use oblivia_ring::{Coeff, Modulus, Ntt, PackedRow, Permutation, Poly, Shoup};
use std::sync::atomic::AtomicU64;

/// Buffers of one key switch.
pub(crate) struct Scratch {
    /// Coefficients of the operand, prepared for conversion.
    coeff: Poly<Coeff>,
    /// One limb of every digit.
    digits: Poly<Ntt>,
    /// One row.
    row: Poly<Ntt>,
    /// One row of zeros.
    zeros: Poly<Ntt>,
    /// One row modulo t, of a [`Correction`].
    remainder: Poly<Ntt>,
    /// One row of each half, of a result that is used limb by limb.
    sums: [Poly<Ntt>; 2],
    /// The result modulo QP: rows of Q_ℓ, then of P.
    pub(crate) acc: [Poly<Ntt>; 2],
}

impl Scratch {
    pub(crate) fn new(params: &Params) -> Self {
        let top = params.top();
        let row = || Poly::zero(&top.q.prefix(1));
        Self {
            coeff: Poly::zero(&top.q),
            digits: Poly::zero(&top.q),
            row: row(),
            zeros: row(),
            remainder: row(),
            sums: [row(), row()],
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
        level: &Level,
        c: &Poly<Ntt>,
        key: &SwitchingKey,
        ntt: &AtomicU64,
    ) {
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
        level: &Level,
        c: &Poly<Ntt>,
        key: &SwitchingKey,
        ntt: &AtomicU64,
        mut finish: impl FnMut(usize, &Modulus, [&mut [u64]; 2]),
    ) {
        self.prepare_digits(level, c, ntt);
        let Self { coeff, digits, sums, .. } = self;
        decomposed(level, c, key, coeff, digits, ntt, |t, m, triples| {
            let [sum0, sum1] = sums.each_mut().map(|s| s.row_mut(0));
            kernel::dot2_packed_into(m, triples, sum0, sum1);
            finish(t, m, [sum0, sum1]);
        });
    }

    /// acc ← Σ_j digit_j·key_j modulo QP from digits already there. No transform.
    pub(crate) fn inner_product_hoisted(
        &mut self,
        level: &Level,
        digits: &Digits,
        c: &Poly<Ntt>,
        key: &SwitchingKey,
    ) {
        self.acc.iter_mut().for_each(|a| a.reset(&level.qp));
        let [acc0, acc1] = &mut self.acc;
        digits.each(level, c, key, |t, m, triples| {
            kernel::dot2_packed_into(m, triples, acc0.row_mut(t), acc1.row_mut(t));
        });
    }

    /// As [`Scratch::inner_product_hoisted`], each limb of the result left to `finish` as in
    /// [`Scratch::inner_product_each`].
    pub(crate) fn inner_product_hoisted_each(
        &mut self,
        level: &Level,
        digits: &Digits,
        c: &Poly<Ntt>,
        key: &SwitchingKey,
        mut finish: impl FnMut(usize, &Modulus, [&mut [u64]; 2]),
    ) {
        let sums = &mut self.sums;
        digits.each(level, c, key, |t, m, triples| {
            let [sum0, sum1] = sums.each_mut().map(|s| s.row_mut(0));
            kernel::dot2_packed_into(m, triples, sum0, sum1);
            finish(t, m, [sum0, sum1]);
        });
    }

    /// Divides half `half` of acc, over Q_ℓ·P, by P and rounds; leaves each row of Q_ℓ to `finish`. ℓ + k transforms.
    pub(crate) fn mod_down<S: Scheme>(
        &mut self,
        scheme: &S,
        level: usize,
        half: usize,
        ntt: &AtomicU64,
        finish: impl FnMut(usize, Quotient<'_>),
    ) {
        let correction = scheme.exact(level).map(|e| &e.special);
        self.divide(half, None, &scheme.params().level_data(level).by_p, correction, ntt, finish);
    }

    /// As [`Scratch::mod_down`], of `c`.
    pub(crate) fn mod_down_of<S: Scheme>(
        &mut self,
        scheme: &S,
        level: usize,
        c: &Poly<Ntt>,
        ntt: &AtomicU64,
        finish: impl FnMut(usize, Quotient<'_>),
    ) {
        let correction = scheme.exact(level).map(|e| &e.special);
        self.divide(0, Some(c), &scheme.params().level_data(level).by_p, correction, ntt, finish);
    }

    /// Divides half `half` of acc, over Q_ℓ·P, to Q_{ℓ−1} and rounds; leaves each row to `finish`. A transform per prime
    /// that goes and per prime of Q_{ℓ−1}: in a plain chain ℓ + k, the rescale costs none of its own. `division` is that of
    /// `level`.
    pub(crate) fn mod_down_rescale<S: Scheme>(
        &mut self,
        scheme: &S,
        (level, division): (usize, &Division),
        half: usize,
        ntt: &AtomicU64,
        finish: impl FnMut(usize, Quotient<'_>),
    ) {
        let correction = scheme.exact(level).and_then(|e| e.last_and_special.as_ref());
        self.divide(half, None, division, correction, ntt, finish);
    }

    /// As [`Scratch::mod_down_rescale`], of `c`.
    pub(crate) fn mod_down_rescale_of<S: Scheme>(
        &mut self,
        scheme: &S,
        (level, division): (usize, &Division),
        c: &Poly<Ntt>,
        ntt: &AtomicU64,
        finish: impl FnMut(usize, Quotient<'_>),
    ) {
        let correction = scheme.exact(level).and_then(|e| e.last_and_special.as_ref());
        self.divide(0, Some(c), division, correction, ntt, finish);
    }

    /// Divides `c`, over Q_ℓ, to Q_{ℓ−1} and rounds; leaves each row to `finish`. ℓ transforms in a plain chain.
    pub(crate) fn rescale<S: Scheme>(
        &mut self,
        scheme: &S,
        (level, division): (usize, &Division),
        c: &Poly<Ntt>,
        ntt: &AtomicU64,
        finish: impl FnMut(usize, Quotient<'_>),
    ) {
        let correction = scheme.exact(level).and_then(|e| e.last.as_ref());
        self.divide(0, Some(c), division, correction, ntt, finish);
    }

    /// Divides `c`, or half `half` of acc, whose dropped rows are then lost. One transform per prime that goes and one per
    /// prime of the quotient.
    fn divide(
        &mut self,
        half: usize,
        c: Option<&Poly<Ntt>>,
        division: &Division,
        correction: Option<&Correction>,
        ntt: &AtomicU64,
        mut finish: impl FnMut(usize, Quotient<'_>),
    ) {
        let Division { from, to, conversion, sources, factors, .. } = division;
        let acc = &mut self.acc[half];
        if c.is_some() {
            acc.reset(from);
        }
        for (k, &j) in division.dropped().iter().enumerate() {
            let row = acc.row_mut(j);
            match c {
                Some(c) => kernel::inverse_into(from.table(j), c.row(j), row),
                None => kernel::inverse(from.table(j), row),
            }
            conversion.prepare(k, row);
        }
        let dropped = || division.dropped().iter().map(|&j| acc.row(j));
        let u = self.remainder.row_mut(0);
        if let Some(correction) = correction {
            correction.remainder(dropped(), u);
        }
        for (i, (table, source)) in to.tables().zip(sources).enumerate() {
            let t = self.row.row_mut(0);
            let row = source.map_or(self.zeros.row(0), |source| c.unwrap_or(acc).row(source));
            let (modulus, factor) = (table.modulus(), factors[i]);
            match correction {
                None => conversion.apply_forward(i, table, dropped(), t, &[row.into()]),
                Some(c) => {
                    conversion.apply_with(i, modulus, dropped(), c.term(i, u), t);
                    kernel::forward_fetching(table, t, &[row.into()]);
                }
            }
            finish(i, Quotient { modulus, row, rest: t, factor });
        }
        count(ntt, division.transforms() as u64);
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
    let l = level.limbs();
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

/// All digits of one element, modulo those primes of QP that are not their own: what hoisted rotations share. Modulo its
/// own primes a digit is the element.
pub(crate) struct Digits {
    polys: Vec<Pooled>,
}

impl Digits {
    /// Decomposes `c` over Q_ℓ. d(ℓ+k) transforms, those of the coefficients included.
    pub(crate) fn new(
        params: &Params,
        level: &Level,
        c: &Poly<Ntt>,
        scratch: &mut Scratch,
        ntt: &AtomicU64,
    ) -> Self {
        scratch.prepare_digits(level, c, ntt);
        let decompose = |digit: &crate::chain::Digit| {
            let mut out = params.pool().take(&level.qp);
            for (t, table) in level.qp.tables().enumerate() {
                let row = out.row_mut(t);
                if !digit.limbs.contains(&t) {
                    let rows = digit.limbs.clone().map(|i| scratch.coeff.row(i));
                    digit.lift.apply_forward(t, table, rows, row, &[]);
                    count(ntt, 1);
                }
            }
            out
        };
        Self { polys: level.digits.iter().map(decompose).collect() }
    }

    /// As [`decomposed`], of the same `c`.
    fn each(
        &self,
        level: &Level,
        c: &Poly<Ntt>,
        key: &SwitchingKey,
        mut sum: impl FnMut(usize, &Modulus, &Products<'_>),
    ) {
        let mut triples = Vec::with_capacity(self.polys.len());
        for (t, m) in level.qp.moduli().enumerate() {
            triples.clear();
            triples.extend(self.polys.iter().zip(&level.digits).enumerate().map(|(j, (x, digit))| {
                let (b, a) = key.rows(j, level.limbs(), t);
                (b, a, if digit.limbs.contains(&t) { c.row(t) } else { x.row(t) })
            }));
            sum(t, m, &triples);
        }
    }
}

#[cfg(test)]
mod known_answers;
