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
    /// One row modulo t of each half, of a [`Correction`].
    remainders: [Poly<Ntt>; 2],
    /// One row of each half, for a result that is used limb by limb.
    rows: [Poly<Ntt>; 2],
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
            remainders: [row(), row()],
            rows: [row(), row()],
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

    /// As [`Scratch::inner_product`], the products of each limb left to `finish`, which is lent a row for each half.
    pub(crate) fn inner_product_each(
        &mut self,
        level: &Level,
        c: &Poly<Ntt>,
        key: &SwitchingKey,
        ntt: &AtomicU64,
        mut finish: impl FnMut(usize, &Modulus, &KeyProducts<'_>, [&mut [u64]; 2]),
    ) {
        self.prepare_digits(level, c, ntt);
        let Self { coeff, digits, rows, .. } = self;
        decomposed(level, c, key, coeff, digits, ntt, |t, m, triples| {
            finish(t, m, triples, rows.each_mut().map(|row| row.row_mut(0)));
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
        digits.each(level, c, &[key], |t, m, _, triples| {
            kernel::dot2_packed_into(m, triples, acc0.row_mut(t), acc1.row_mut(t));
        });
    }

    /// As [`Scratch::inner_product_hoisted`] for each of `keys`, limb by limb, so that those of the digits are read once;
    /// the products are left to `finish`, which is told the limb and the key and is lent a row for each half.
    pub(crate) fn inner_products_each(
        &mut self,
        level: &Level,
        digits: &Digits,
        c: &Poly<Ntt>,
        keys: &[&SwitchingKey],
        mut finish: impl FnMut(usize, &Modulus, usize, &KeyProducts<'_>, [&mut [u64]; 2]),
    ) {
        let rows = &mut self.rows;
        digits.each(level, c, keys, |t, m, key, triples| {
            finish(t, m, key, triples, rows.each_mut().map(|row| row.row_mut(0)));
        });
    }

    /// Divides both halves of acc, whose dropped rows are then lost, and rounds; leaves each row of the quotients to
    /// `finish`, which is told the half and the limb. A transform per half, and per prime that goes or stays: ℓ + k for
    /// [`By::P`]; in a plain chain the rescale of [`By::PAndLast`] costs none of its own.
    pub(crate) fn divide<S: Scheme>(
        &mut self,
        scheme: &S,
        by: By<'_>,
        ntt: &AtomicU64,
        finish: impl FnMut(usize, usize, Quotient<'_>),
    ) {
        self.divide_by::<S, 2>(scheme, by, None, ntt, finish);
    }

    /// As [`Scratch::divide`], of one or two others.
    pub(crate) fn divide_of<S: Scheme, const N: usize>(
        &mut self,
        scheme: &S,
        by: By<'_>,
        c: [&Poly<Ntt>; N],
        ntt: &AtomicU64,
        finish: impl FnMut(usize, usize, Quotient<'_>),
    ) {
        self.divide_by(scheme, by, Some(c), ntt, finish);
    }

    /// Prime by prime, both halves one after the other, so that the constants of a transform are read once.
    fn divide_by<S: Scheme, const N: usize>(
        &mut self,
        scheme: &S,
        by: By<'_>,
        c: Option<[&Poly<Ntt>; N]>,
        ntt: &AtomicU64,
        mut finish: impl FnMut(usize, usize, Quotient<'_>),
    ) {
        const { assert!(N <= 2) };
        let (division, correction) = by.parts(scheme);
        let Division { from, to, conversion, sources, factors, .. } = division;
        let Self { acc, row, zeros, remainders, .. } = self;
        if c.is_some() {
            acc[..N].iter_mut().for_each(|acc| acc.reset(from));
        }
        for (k, &j) in division.dropped().iter().enumerate() {
            for (half, acc) in acc[..N].iter_mut().enumerate() {
                let row = acc.row_mut(j);
                match c {
                    Some(c) => kernel::inverse_into(from.table(j), c[half].row(j), row),
                    None => kernel::inverse(from.table(j), row),
                }
                conversion.prepare(k, row);
            }
        }
        let dropped = |half: usize| division.dropped().iter().map(move |&j| (half, j));
        if let Some(correction) = correction {
            for (half, u) in remainders[..N].iter_mut().enumerate() {
                correction.remainder(dropped(half).map(|(half, j)| acc[half].row(j)), u.row_mut(0));
            }
        }
        for (i, (table, source)) in to.tables().zip(sources).enumerate() {
            let (modulus, factor) = (table.modulus(), factors[i]);
            for half in 0..N {
                let t = row.row_mut(0);
                let whole = c.map_or(&acc[half], |c| c[half]);
                let row = source.map_or(zeros.row(0), |source| whole.row(source));
                let dropped = dropped(half).map(|(half, j)| acc[half].row(j));
                match correction {
                    None => conversion.apply_forward(i, table, dropped, t, &[row.into()]),
                    Some(c) => {
                        conversion.apply_with(i, modulus, dropped, c.term(i, remainders[half].row(0)), t);
                        kernel::forward_fetching(table, t, &[row.into()]);
                    }
                }
                finish(half, i, Quotient { modulus, row, rest: t, factor });
            }
        }
        count(ntt, (N * division.transforms()) as u64);
    }
}

/// What to divide by.
#[derive(Clone, Copy)]
pub(crate) enum By<'a> {
    /// P of a level: from Q_ℓ·P to Q_ℓ.
    P(usize),
    /// P and what the next level lacks, with the division: from Q_ℓ·P to Q_{ℓ−1}.
    PAndLast(usize, &'a Division),
    /// What the next level lacks: from Q_ℓ to Q_{ℓ−1}.
    Last(usize, &'a Division),
}

impl<'a> By<'a> {
    /// The division and what an exact scheme corrects it by.
    fn parts<S: Scheme>(self, scheme: &'a S) -> (&'a Division, Option<&'a Correction>) {
        match self {
            Self::P(l) => (&scheme.params().level_data(l).by_p, scheme.exact(l).map(|e| &e.special)),
            Self::PAndLast(l, division) => {
                (division, scheme.exact(l).and_then(|e| e.last_and_special.as_ref()))
            }
            Self::Last(l, division) => (division, scheme.exact(l).and_then(|e| e.last.as_ref())),
        }
    }
}

/// Products with rows of a key (b, a).
pub(crate) type KeyProducts<'a> = [(PackedRow<'a>, PackedRow<'a>, &'a [u64])];

/// Hands `sum` the products of every limb of Q_ℓ·P that key switching adds up. Limb by limb, so that the digits of one
/// limb stay in cache; `coeff` holds the prepared coefficients of `c`, `digits` is overwritten. d(ℓ+k) − ℓ transforms.
fn decomposed(
    level: &Level,
    c: &Poly<Ntt>,
    key: &SwitchingKey,
    coeff: &Poly<Coeff>,
    digits: &mut Poly<Ntt>,
    ntt: &AtomicU64,
    mut sum: impl FnMut(usize, &Modulus, &KeyProducts<'_>),
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
        let mut polys: Vec<_> = level.digits.iter().map(|_| params.pool().take(&level.qp)).collect();
        // Prime by prime, so that the constants of its transforms are read once.
        for (t, table) in level.qp.tables().enumerate() {
            for (digit, out) in level.digits.iter().zip(&mut polys) {
                if !digit.limbs.contains(&t) {
                    let rows = digit.limbs.clone().map(|i| scratch.coeff.row(i));
                    digit.lift.apply_forward(t, table, rows, out.row_mut(t), &[]);
                    count(ntt, 1);
                }
            }
        }
        Self { polys }
    }

    /// As [`decomposed`], of the same `c`, for each of `keys`, which `sum` is told the number of.
    fn each(
        &self,
        level: &Level,
        c: &Poly<Ntt>,
        keys: &[&SwitchingKey],
        mut sum: impl FnMut(usize, &Modulus, usize, &KeyProducts<'_>),
    ) {
        let mut triples = Vec::with_capacity(self.polys.len());
        for (t, m) in level.qp.moduli().enumerate() {
            for (k, key) in keys.iter().enumerate() {
                triples.clear();
                triples.extend(self.polys.iter().zip(&level.digits).enumerate().map(|(j, (x, digit))| {
                    let (b, a) = key.rows(j, level.limbs(), t);
                    (b, a, if digit.limbs.contains(&t) { c.row(t) } else { x.row(t) })
                }));
                sum(t, m, k, &triples);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod known_answers;
