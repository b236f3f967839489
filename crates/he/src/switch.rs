//! Hybrid key switching, step by step. Transforms are counted where they happen.

use crate::counts::count;
use crate::evaluation_keys::SwitchingKey;
use crate::params::{Level, Params};
use crate::pool::Pooled;
use oblivia_ring::{Coeff, Ntt, Poly, kernel};
use std::sync::atomic::AtomicU64;

/// Buffers of one key switch.
pub(crate) struct Scratch {
    /// Coefficients of the operand, prepared for conversion.
    coeff: Poly<Coeff>,
    /// One limb of every digit.
    digits: Poly<Ntt>,
    /// One row.
    row: Poly<Ntt>,
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
            acc: [Poly::zero(&top.qp), Poly::zero(&top.qp)],
        }
    }

    /// Coefficients of `c` (over Q_ℓ), each limb prepared for the lift of its digit. ℓ transforms.
    fn prepare_digits(&mut self, level: &Level, c: &Poly<Ntt>, ntt: &AtomicU64) {
        self.coeff.reset(&level.q);
        for digit in &level.digits {
            for (i, limb) in digit.limbs.clone().enumerate() {
                let row = self.coeff.row_mut(limb);
                row.copy_from_slice(c.row(limb));
                kernel::inverse(level.q.table(limb), row);
                digit.lift.prepare(i, row);
            }
        }
        count(ntt, level.q.limbs() as u64);
    }

    /// acc ← Σ_j digit_j(c)·key_j modulo QP. (d+1)(ℓ+k) − k transforms: ℓ back and d(ℓ+k) − ℓ forth.
    ///
    /// Limb by limb, so that the digits of one limb stay in cache.
    pub(crate) fn inner_product(
        &mut self,
        params: &Params,
        c: &Poly<Ntt>,
        key: &SwitchingKey,
        ntt: &AtomicU64,
    ) {
        let l = c.limbs();
        let level = params.level_data(l);
        self.prepare_digits(level, c, ntt);
        self.digits.reset(&level.q);
        self.acc.iter_mut().for_each(|a| a.reset(&level.qp));
        let d = level.digits.len();
        for (t, table) in level.qp.tables().enumerate() {
            for (j, digit) in level.digits.iter().enumerate() {
                if !digit.limbs.contains(&t) {
                    let out = self.digits.row_mut(j);
                    let rows = digit.limbs.clone().map(|i| self.coeff.row(i));
                    digit.lift.apply(t, table.modulus(), rows, out);
                    kernel::forward(table, out);
                    count(ntt, 1);
                }
            }
            let mut triples = Vec::with_capacity(d);
            for (j, digit) in level.digits.iter().enumerate() {
                let x = if digit.limbs.contains(&t) { c.row(t) } else { self.digits.row(j) };
                let (b, a) = key.rows(j, l, t);
                triples.push((b, a, x));
            }
            let [acc0, acc1] = &mut self.acc;
            kernel::dot2_into(table.modulus(), &triples, acc0.row_mut(t), acc1.row_mut(t));
        }
    }

    /// acc ← Σ_j digit_j·key_j modulo QP from digits already there. No transform.
    pub(crate) fn inner_product_hoisted(&mut self, params: &Params, digits: &Digits, key: &SwitchingKey) {
        let l = digits.level;
        let level = params.level_data(l);
        self.acc.iter_mut().for_each(|a| a.reset(&level.qp));
        let [acc0, acc1] = &mut self.acc;
        let mut triples = Vec::with_capacity(digits.polys.len());
        for (t, m) in level.qp.moduli().enumerate() {
            triples.clear();
            triples.extend(digits.polys.iter().enumerate().map(|(j, x)| {
                let (b, a) = key.rows(j, l, t);
                (b, a, x.row(t))
            }));
            kernel::dot2_into(m, &triples, acc0.row_mut(t), acc1.row_mut(t));
        }
    }

    /// Divides half `half` of acc by P and rounds; hands each row i < ℓ to `finish`. ℓ + k transforms.
    pub(crate) fn mod_down(
        &mut self,
        params: &Params,
        half: usize,
        ntt: &AtomicU64,
        mut finish: impl FnMut(usize, &mut [u64]),
    ) {
        let acc = &mut self.acc[half];
        let k = params.special().limbs();
        let level = params.level_data(acc.limbs() - k);
        let l = level.q.limbs();
        for (j, table) in params.special().tables().enumerate() {
            let row = acc.row_mut(l + j);
            kernel::inverse(table, row);
            level.mod_down.prepare(j, row);
        }
        for (i, table) in level.q.tables().enumerate() {
            let t = self.row.row_mut(0);
            level.mod_down.apply(i, table.modulus(), (l..l + k).map(|j| acc.row(j)), t);
            kernel::forward(table, t);
            let row = acc.row_mut(i);
            kernel::sub_scale_assign(table.modulus(), row, t, level.p_inv[i]);
            finish(i, row);
        }
        count(ntt, (l + k) as u64);
    }

    /// Divides half `half` of acc by P·q_{ℓ−1} and rounds; hands each row i < ℓ−1 to `finish`. ℓ + k
    /// transforms: the rescale costs none of its own.
    pub(crate) fn mod_down_rescale(
        &mut self,
        params: &Params,
        half: usize,
        ntt: &AtomicU64,
        mut finish: impl FnMut(usize, &mut [u64]),
    ) {
        let acc = &mut self.acc[half];
        let k = params.special().limbs();
        let level = params.level_data(acc.limbs() - k);
        let last = level.q.limbs() - 1;
        for j in 0..=k {
            let row = acc.row_mut(last + j);
            kernel::inverse(level.qp.table(last + j), row);
            level.mod_down_rescale.prepare(j, row);
        }
        for (i, table) in level.q.tables().take(last).enumerate() {
            let t = self.row.row_mut(0);
            level.mod_down_rescale.apply(i, table.modulus(), (last..last + 1 + k).map(|j| acc.row(j)), t);
            kernel::forward(table, t);
            let row = acc.row_mut(i);
            kernel::sub_scale_assign(table.modulus(), row, t, level.p_last_inv[i]);
            finish(i, row);
        }
        count(ntt, (last + 1 + k) as u64);
    }

    /// out ← `c` divided by its last prime and rounded, over one limb less. ℓ transforms.
    pub(crate) fn rescale(&mut self, params: &Params, c: &Poly<Ntt>, out: &mut Poly<Ntt>, ntt: &AtomicU64) {
        let last = c.limbs() - 1;
        let level = params.level_data(last + 1);
        let from = level.q.modulus(last);
        let tail = self.coeff_row();
        tail.copy_from_slice(c.row(last));
        kernel::inverse(level.q.table(last), tail);
        for (i, table) in level.q.tables().take(last).enumerate() {
            let t = self.row.row_mut(0);
            kernel::reduce_centred_into(from, table.modulus(), self.coeff.row(0), t);
            kernel::forward(table, t);
            let row = out.row_mut(i);
            row.copy_from_slice(c.row(i));
            kernel::sub_scale_assign(table.modulus(), row, t, level.last_inv[i]);
        }
        count(ntt, (last + 1) as u64);
    }

    fn coeff_row(&mut self) -> &mut [u64] {
        self.coeff.row_mut(0)
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
                    digit.lift.apply(t, table.modulus(), rows, row);
                    kernel::forward(table, row);
                    count(ntt, 1);
                }
            }
            out
        };
        Self { level: c.limbs(), polys: level.digits.iter().map(decompose).collect() }
    }
}

#[cfg(test)]
mod known_answers;
