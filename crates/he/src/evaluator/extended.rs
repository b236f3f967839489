//! Double hoisting: rotations and products modulo QP, divided by P once (Bossuat, Mouchet, Troncoso-Pastoriza,
//! Hubaux, *Efficient bootstrapping for approximate homomorphic encryption with non-sparse keys*, 2021).
//!
//! A matrix product by diagonals, babies b < B and giants gB:
//! [`Evaluator::hoist`], [`Evaluator::rotations_extended`] for the babies, [`Evaluator::dots_plain_extended`] for the giants
//! with diagonals moved gB to the *right*, [`Evaluator::rotate_giant_onto`] per giant, and
//! [`Evaluator::reduce_rescale`]: (ℓ+k)(d + (G−1)(d+1) + 2) transforms for G groups, the rescale included.
//!
//! A rotation is one pass per limb: products with the key are summed, the addend joins them, and the sum goes where the
//! automorphism takes it ([`kernel::dot2_packed_turned`]).

use super::{Evaluator, Hoisted, first, same_level, unserved};
use crate::HeError;
use crate::chain::Level;
use crate::ciphertext::Ciphertext;
use crate::counts::count;
use crate::plaintext::{CompactPlaintext, ExtendedPlaintext, check_id};
use crate::pool::Pooled;
use crate::scheme::Scheme;
use crate::switch::{By, Digits, KeyProducts};
use oblivia_base::Digest;
use oblivia_ring::kernel::{self, Onto};
use oblivia_ring::{Modulus, Ntt, Poly};
use std::fmt;

/// P times a ciphertext, modulo QP: (a0, a1) with a0 + a1·s = P·(Δ·m + e); exact: P·(m + t·e).
#[derive(Clone)]
pub struct ExtendedCiphertext<S: Scheme> {
    a: [Pooled; 2],
    level: usize,
    scale: S::Scale,
    id: Digest,
}

impl<S: Scheme> ExtendedCiphertext<S> {
    /// Its level in the modulus chain.
    pub fn level(&self) -> usize {
        self.level
    }

    /// The scale Δ, the factor P left out.
    pub fn scale(&self) -> S::Scale {
        self.scale
    }
}

impl<S: Scheme> fmt::Debug for ExtendedCiphertext<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtendedCiphertext")
            .field("level", &self.level)
            .field("scale", &self.scale)
            .finish_non_exhaustive()
    }
}

/// out ← P·c, which is 0 on the rows of P.
fn times_p(level: &Level, out: &mut Poly<Ntt>, c: &Poly<Ntt>) {
    for (i, (m, row)) in level.qp.moduli().zip(out.rows_mut()).enumerate() {
        match level.p_mod.get(i) {
            Some(&p) => kernel::scale_into(m, c.row(i), p, row),
            None => row.fill(0),
        }
    }
}

/// A plaintext to multiply with.
#[derive(Debug)]
pub enum Factor<'a, S: Scheme> {
    /// Transformed.
    Ready(&'a ExtendedPlaintext<S>),
    /// To be transformed limb by limb as it is used.
    Compact(&'a CompactPlaintext<S>),
}

impl<S: Scheme> Clone for Factor<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Scheme> Copy for Factor<'_, S> {}

impl<S: Scheme> Factor<'_, S> {
    fn id(&self) -> &Digest {
        match self {
            Self::Ready(p) => &p.id,
            Self::Compact(p) => p.id(),
        }
    }

    fn scale(&self) -> S::Scale {
        match self {
            Self::Ready(p) => p.scale(),
            Self::Compact(p) => p.scale(),
        }
    }

    /// Level and whether it is known modulo the special primes.
    fn place(&self) -> (usize, bool) {
        match self {
            Self::Ready(p) => (p.level(), true),
            Self::Compact(p) => p.place(),
        }
    }
}

/// Ciphertexts and as many plaintexts, to be multiplied one by one and summed.
pub type Products<'a, S> = (&'a [&'a ExtendedCiphertext<S>], &'a [Factor<'a, S>]);

/// Plaintexts transformed at a time: their rows stay in the second-level cache.
const AT_ONCE: usize = 8;

/// Products summed at a time: rows that are read side by side, three for each, get in each other's way in the caches.
const STREAMS: usize = 32;

const SUM: &str = "sum of extended plaintext products";

impl<S: Scheme> Evaluator<S> {
    fn extended(&self, a: [Pooled; 2], level: usize, scale: S::Scale) -> ExtendedCiphertext<S> {
        ExtendedCiphertext { a, level, scale, id: self.id }
    }

    /// Two polynomials modulo QP to be written.
    fn extended_pair(&self, level: usize) -> [Pooled; 2] {
        let qp = &self.params().level_data(level).qp;
        [self.params().pool().take(qp), self.params().pool().take(qp)]
    }

    /// P times a ciphertext, modulo QP: no transform.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn extend(&self, x: &Ciphertext<S>) -> Result<ExtendedCiphertext<S>, HeError> {
        check_id(&self.id, &x.id, "ciphertext")?;
        let level = self.params().level("extend", x.level())?;
        let mut out = self.extended_pair(x.level());
        for (out, c) in out.iter_mut().zip([&x.c0, &x.c1]) {
            times_p(level, out, c);
        }
        Ok(self.extended(out, x.level(), x.scale))
    }

    /// A rotation of a hoisted ciphertext that stays modulo QP: no transform.
    ///
    /// # Errors
    /// [`HeError::MissingRotationKey`], [`HeError::ParamsMismatch`].
    pub fn rotate_extended(&self, x: &Hoisted<S>, left: usize) -> Result<ExtendedCiphertext<S>, HeError> {
        let only = self.rotations_extended(x, &[left])?.pop();
        only.ok_or(HeError::OperandCount { op: "rotate", left: 1, right: 0 })
    }

    /// The rotations of a hoisted ciphertext by all `lefts`, in order, as [`Evaluator::rotate_extended`], limb by limb, so
    /// that the decomposition is read from memory once.
    ///
    /// # Errors
    /// As there.
    pub fn rotations_extended(
        &self,
        x: &Hoisted<S>,
        lefts: &[usize],
    ) -> Result<Vec<ExtendedCiphertext<S>>, HeError> {
        let l = x.level();
        check_id(&self.id, &x.id, "hoisted ciphertext")?;
        let level = self.params().level("rotate", l)?;
        let mut outs: Vec<_> = lefts.iter().map(|_| self.extended_pair(l)).collect();
        let (mut keys, mut permutations, mut turned) = (Vec::new(), Vec::new(), Vec::new());
        for (left, out) in lefts.iter().zip(&mut outs) {
            match left % self.params().slots() {
                0 => {
                    for (out, c) in out.iter_mut().zip([&x.c0, &x.c1]) {
                        times_p(level, out, c);
                    }
                }
                step => {
                    let key = self.keys.rotation(step, l)?;
                    keys.push(key.key);
                    permutations.push(key.permutation);
                    turned.push(out);
                }
            }
        }
        self.with_scratch(|s| {
            let mut own = self.params().pool().take(&level.q.prefix(1));
            s.inner_products_each(level, &x.digits, &x.c1, &keys, |i, m, k, products, rows| {
                let of_q = i < level.limbs();
                if of_q && k == 0 {
                    kernel::scale_into(m, x.c0.row(i), level.p_mod[i], own.row_mut(0));
                }
                let addend = of_q.then(|| own.row(0));
                let [out0, out1] = &mut *turned[k];
                let outs = [out0.row_mut(i), out1.row_mut(i)];
                kernel::dot2_packed_turned(m, products, addend, permutations[k], Onto::Nothing, rows, outs);
            });
        });
        count(&self.counters.hoisted, keys.len() as u64);
        Ok(outs.into_iter().map(|out| self.extended(out, l, x.scale)).collect())
    }

    /// Σ x_i ⊙ p_i modulo QP; the scale is the product of both. All x_i of one level and scale, all p_i of one scale
    /// and at that level or above.
    ///
    /// # Errors
    /// As [`Evaluator::dot_plain`].
    pub fn dot_plain_extended(
        &self,
        xs: &[&ExtendedCiphertext<S>],
        ps: &[&ExtendedPlaintext<S>],
    ) -> Result<ExtendedCiphertext<S>, HeError> {
        let ps: Vec<_> = ps.iter().map(|p| Factor::Ready(p)).collect();
        let sums = self.dots_plain_extended(&[(xs, &ps)])?;
        sums.into_iter().next().ok_or(HeError::OperandCount { op: SUM, left: 0, right: 0 })
    }

    /// Several sums as [`Evaluator::dot_plain_extended`], limb by limb, so that what they share of `xs` is read from
    /// memory once. All of one level and one scale.
    ///
    /// # Errors
    /// As [`Evaluator::dot_plain_extended`].
    pub fn dots_plain_extended(
        &self,
        sums: &[Products<'_, S>],
    ) -> Result<Vec<ExtendedCiphertext<S>>, HeError> {
        let Some((xs, ps)) = sums.first() else { return Ok(Vec::new()) };
        let (x0, p0) = first(SUM, xs, ps)?;
        let (l, scale) = (x0.level, p0.scale());
        for (xs, ps) in sums {
            first(SUM, xs, ps)?;
            for (x, p) in xs.iter().zip(*ps) {
                check_id(&self.id, &x.id, "ciphertext")?;
                check_id(&self.id, p.id(), "plaintext")?;
                same_level(SUM, l, x.level)?;
                S::same_scale(SUM, x0.scale, x.scale)?;
                S::same_scale(SUM, scale, p.scale())?;
                let (level, extended) = p.place();
                if !extended || !self.params().serves(level, l, true) {
                    unserved(SUM, l, if extended { level } else { 0 })?;
                }
            }
            count(&self.counters.pt_mul, xs.len() as u64);
            count(&self.counters.add, xs.len() as u64 - 1);
        }
        let mut outs: Vec<[Pooled; 2]> = sums.iter().map(|_| self.extended_pair(l)).collect();
        let mut triples = Vec::new();
        let mut part_sums =
            [(); 2].map(|()| self.params().pool().take(&self.params().level_data(l).q.prefix(1)));
        let limbs = self.params().level_data(l).limbs();
        for i in 0..self.params().level_data(l).qp.limbs() {
            for ((xs, ps), out) in sums.iter().zip(&mut outs) {
                if ps.iter().any(|p| matches!(p, Factor::Compact(_))) {
                    self.dot_compact(l, i, xs, ps, out);
                    continue;
                }
                triples.clear();
                triples.extend(xs.iter().zip(*ps).filter_map(|(x, p)| match p {
                    Factor::Ready(p) => Some((x.a[0].row(i), x.a[1].row(i), p.row(limbs, i))),
                    Factor::Compact(_) => None,
                }));
                let m = self.params().level_data(l).qp.modulus(i);
                let [out0, out1] = out.each_mut().map(|out| out.row_mut(i));
                let (first, more) = triples.split_at(triples.len().min(STREAMS));
                kernel::dot2_by_packed_into(m, first, out0, out1);
                for part in more.chunks(STREAMS) {
                    let [sum0, sum1] = part_sums.each_mut().map(|sum| sum.row_mut(0));
                    kernel::dot2_by_packed_into(m, part, sum0, sum1);
                    kernel::add_assign(m, out0, sum0);
                    kernel::add_assign(m, out1, sum1);
                }
            }
        }
        let scale = self.scheme.product(x0.scale, scale);
        Ok(outs.into_iter().map(|out| self.extended(out, l, scale)).collect())
    }

    /// Limb `i` of a sum of products at level `l`, some of whose plaintexts are to be transformed.
    fn dot_compact(
        &self,
        l: usize,
        i: usize,
        xs: &[&ExtendedCiphertext<S>],
        ps: &[Factor<'_, S>],
        out: &mut [Pooled; 2],
    ) {
        let (data, pool) = (self.params().level_data(l), self.params().pool());
        let (one, table) = (data.q.prefix(1), data.qp.table(i));
        let mut rows: Vec<Pooled> = (0..AT_ONCE.min(ps.len())).map(|_| pool.take(&one)).collect();
        let mut sums = [pool.take(&one), pool.take(&one)];
        let [out0, out1] = out;
        for (k, (xs, ps)) in xs.chunks(AT_ONCE).zip(ps.chunks(AT_ONCE)).enumerate() {
            for (p, row) in ps.iter().zip(&mut rows) {
                match p {
                    Factor::Ready(p) => p.row(data.limbs(), i).unpack_into(row.row_mut(0)),
                    Factor::Compact(p) => p.transform_row(table, row.row_mut(0)),
                }
            }
            let mut triples = Vec::with_capacity(AT_ONCE);
            for (x, row) in xs.iter().zip(&rows) {
                triples.push((x.a[0].row(i), x.a[1].row(i), row.row(0)));
            }
            if k == 0 {
                kernel::dot2_into(table.modulus(), &triples, out0.row_mut(i), out1.row_mut(i));
                continue;
            }
            let [sum0, sum1] = &mut sums;
            kernel::dot2_into(table.modulus(), &triples, sum0.row_mut(0), sum1.row_mut(0));
            kernel::add_assign(table.modulus(), out0.row_mut(i), sum0.row(0));
            kernel::add_assign(table.modulus(), out1.row_mut(i), sum1.row(0));
        }
    }

    /// x ← x + y modulo QP. Equal levels and scales.
    ///
    /// # Errors
    /// As [`Evaluator::add_assign`].
    pub fn add_extended_assign(
        &self,
        x: &mut ExtendedCiphertext<S>,
        y: &ExtendedCiphertext<S>,
    ) -> Result<(), HeError> {
        check_id(&self.id, &x.id, "ciphertext")?;
        check_id(&self.id, &y.id, "ciphertext")?;
        same_level("add", x.level, y.level)?;
        S::same_scale("add", x.scale, y.scale)?;
        for (x, y) in x.a.iter_mut().zip(&y.a) {
            x.add_assign(y);
        }
        count(&self.counters.add, 1);
        Ok(())
    }

    /// A rotation that stays modulo QP: divides a1 alone, decomposes it, and adds a0 where it is.
    /// (d+1)(ℓ+k) transforms. Counts one rotation.
    ///
    /// # Errors
    /// [`HeError::MissingRotationKey`], [`HeError::ParamsMismatch`].
    pub fn rotate_giant(
        &self,
        x: &ExtendedCiphertext<S>,
        left: usize,
    ) -> Result<ExtendedCiphertext<S>, HeError> {
        check_id(&self.id, &x.id, "ciphertext")?;
        let step = left % self.params().slots();
        if step == 0 {
            return Ok(x.clone());
        }
        let mut out = self.extended_pair(x.level);
        self.turn(x, step, Onto::Nothing, &mut out)?;
        Ok(self.extended(out, x.level, x.scale))
    }

    /// y ← y + x rotated, modulo QP, as [`Evaluator::rotate_giant`]. Equal levels and scales. Counts a rotation and an
    /// addition.
    ///
    /// # Errors
    /// As [`Evaluator::rotate_giant`] and [`Evaluator::add_extended_assign`].
    pub fn rotate_giant_onto(
        &self,
        y: &mut ExtendedCiphertext<S>,
        x: &ExtendedCiphertext<S>,
        left: usize,
    ) -> Result<(), HeError> {
        let step = left % self.params().slots();
        if step == 0 {
            return self.add_extended_assign(y, x);
        }
        check_id(&self.id, &x.id, "ciphertext")?;
        check_id(&self.id, &y.id, "ciphertext")?;
        same_level("add", y.level, x.level)?;
        S::same_scale("add", y.scale, x.scale)?;
        self.turn(x, step, Onto::There, &mut y.a)?;
        count(&self.counters.add, 1);
        Ok(())
    }

    fn turn(
        &self,
        x: &ExtendedCiphertext<S>,
        step: usize,
        onto: Onto,
        [out0, out1]: &mut [Pooled; 2],
    ) -> Result<(), HeError> {
        let level = self.params().level("rotate", x.level)?;
        let key = self.keys.rotation(step, x.level)?;
        let [a0, a1] = &x.a;
        let mut c1 = self.params().pool().take(&level.q);
        self.with_scratch(|s| {
            s.divide_of(&self.scheme, By::P(x.level), [a1], &self.counters.ntt, |_, i, quotient| {
                quotient.write(None, c1.row_mut(i));
            });
            s.inner_product_each(level, &c1, key.key, &self.counters.ntt, |i, m, products, rows| {
                let outs = [out0.row_mut(i), out1.row_mut(i)];
                kernel::dot2_packed_turned(m, products, Some(a0.row(i)), key.permutation, onto, rows, outs);
            });
        });
        count(&self.counters.rotations, 1);
        Ok(())
    }

    /// x ← x + Σ rot(x, step), modulo QP: divides a1 alone and decomposes it once for all steps. (d+1)(ℓ+k) transforms.
    /// Counts a rotation and an addition per step.
    ///
    /// # Errors
    /// [`HeError::MissingRotationKey`], [`HeError::ParamsMismatch`].
    pub fn fold_extended(&self, x: &mut ExtendedCiphertext<S>, steps: &[usize]) -> Result<(), HeError> {
        check_id(&self.id, &x.id, "ciphertext")?;
        let level = self.params().level("rotate", x.level)?;
        let slots = self.params().slots();
        let turns = steps.iter().map(|step| step % slots).filter(|&step| step != 0);
        let keys = turns.map(|step| self.keys.rotation(step, x.level)).collect::<Result<Vec<_>, _>>()?;
        let copies = 1 + (steps.len() - keys.len()) as u64;
        let pool = self.params().pool();
        let (mut c1, mut before) = (pool.take(&level.q), pool.take(&level.q.prefix(1)));
        let [a0, a1] = &mut x.a;
        self.with_scratch(|s| {
            s.divide_of(&self.scheme, By::P(x.level), [&**a1], &self.counters.ntt, |_, i, quotient| {
                quotient.write(None, c1.row_mut(i));
            });
            let mut add = |i: usize,
                           m: &Modulus,
                           k: usize,
                           products: &KeyProducts<'_>,
                           rows: [&mut [u64]; 2]| {
                // Every key meets a0 as it was.
                if k == 0 {
                    before.row_mut(0).copy_from_slice(a0.row(i));
                    if copies > 1 {
                        let factor = m.shoup(copies);
                        kernel::scale_assign(m, a0.row_mut(i), factor);
                        kernel::scale_assign(m, a1.row_mut(i), factor);
                    }
                }
                let (addend, outs) = (Some(before.row(0)), [a0.row_mut(i), a1.row_mut(i)]);
                kernel::dot2_packed_turned(m, products, addend, keys[k].permutation, Onto::There, rows, outs);
            };
            match keys.as_slice() {
                [] => {
                    for a in [a0, a1] {
                        let double = |(m, row): (&Modulus, &mut [u64])| {
                            kernel::scale_assign(m, row, m.shoup(copies));
                        };
                        level.qp.moduli().zip(a.rows_mut()).for_each(double);
                    }
                }
                [key] => {
                    s.inner_product_each(level, &c1, key.key, &self.counters.ntt, |i, m, products, rows| {
                        add(i, m, 0, products, rows);
                    });
                }
                _ => {
                    let digits = Digits::new(self.params(), level, &c1, s, &self.counters.ntt);
                    let keys: Vec<_> = keys.iter().map(|key| key.key).collect();
                    s.inner_products_each(level, &digits, &c1, &keys, add);
                }
            }
        });
        count(&self.counters.rotations, steps.len() as u64);
        count(&self.counters.add, steps.len() as u64);
        Ok(())
    }

    /// Divides by P. 2(ℓ+k) transforms.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn reduce(&self, x: &ExtendedCiphertext<S>) -> Result<Ciphertext<S>, HeError> {
        check_id(&self.id, &x.id, "ciphertext")?;
        let q = &self.params().level("reduce", x.level)?.q;
        let mut out = [self.params().pool().take(q), self.params().pool().take(q)];
        self.with_scratch(|s| {
            let (by, a) = (By::P(x.level), x.a.each_ref().map(|a| &**a));
            s.divide_of(&self.scheme, by, a, &self.counters.ntt, |half, i, quotient| {
                quotient.write(None, out[half].row_mut(i));
            });
        });
        Ok(self.ciphertext(out, x.level, x.scale))
    }

    /// Divides by P and to the modulus below at once: in a plain chain a rescale that costs no transform of its own,
    /// 2(ℓ+k) in all.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], or [`HeError::Level`] on level 1.
    pub fn reduce_rescale(&self, x: &ExtendedCiphertext<S>) -> Result<Ciphertext<S>, HeError> {
        check_id(&self.id, &x.id, "ciphertext")?;
        let division = self.division("rescale", x.level, |level| &level.by_p_and_last)?;
        let below = x.level - 1;
        let mut out = [self.blank(below), self.blank(below)];
        self.with_scratch(|s| {
            let (by, a) = (By::PAndLast(x.level, division), x.a.each_ref().map(|a| &**a));
            s.divide_of(&self.scheme, by, a, &self.counters.ntt, |half, i, quotient| {
                quotient.write(None, out[half].row_mut(i));
            });
        });
        count(&self.counters.rescale, 1);
        Ok(self.ciphertext(out, below, self.scheme.dropped(x.scale, x.level)?))
    }
}
