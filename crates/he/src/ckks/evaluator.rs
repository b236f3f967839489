use crate::HeError;
use crate::ciphertext::Ciphertext;
use crate::counts::{Counters, OpCounts, count};
use crate::evaluation_keys::EvaluationKeys;
use crate::params::Params;
use crate::plaintext::{Plaintext, ScalarPlaintext, check_params};
use crate::pool::Pooled;
use crate::switch::{Digits, Scratch};
use oblivia_ring::{Ntt, Poly, kernel};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Computes on ciphertexts and counts what it does.
///
/// Results do not depend on threads: several may share one evaluator. Every operation checks parameters, levels,
/// scales and keys, and returns an error instead of a wrong result; none panics.
pub struct Evaluator {
    pub(super) params: Params,
    pub(super) keys: Arc<EvaluationKeys>,
    pub(super) counters: Counters,
    scratch: Mutex<Vec<Scratch>>,
}

/// A product of two ciphertexts before relinearisation: (d0, d1, d2) with d0 + d1·s + d2·s².
#[derive(Clone)]
pub struct Tensor {
    pub(super) d: [Pooled; 3],
    pub(super) scale: f64,
}

impl Tensor {
    /// Number of live limbs.
    pub fn level(&self) -> usize {
        self.d[0].limbs()
    }

    /// The scale Δ.
    pub fn scale(&self) -> f64 {
        self.scale
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tensor")
            .field("level", &self.level())
            .field("scale", &self.scale)
            .finish_non_exhaustive()
    }
}

/// A ciphertext with the decomposition that hoisted rotations share; made by [`Evaluator::hoist`].
pub struct Hoisted {
    pub(super) digits: Digits,
    pub(super) c0: Pooled,
    pub(super) c1: Pooled,
    pub(super) scale: f64,
}

impl Hoisted {
    /// Number of live limbs.
    pub fn level(&self) -> usize {
        self.c0.limbs()
    }
}

impl fmt::Debug for Hoisted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hoisted").field("level", &self.level()).finish_non_exhaustive()
    }
}

impl Evaluator {
    /// An evaluator with the keys of one client.
    pub fn new(keys: Arc<EvaluationKeys>) -> Self {
        Self {
            params: keys.params().clone(),
            keys,
            counters: Counters::default(),
            scratch: Mutex::new(Vec::new()),
        }
    }

    /// The parameters it belongs to.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Operations since the last [`Evaluator::take_counts`].
    pub fn counts(&self) -> OpCounts {
        self.counters.read()
    }

    /// Operations since the last call; counting starts anew.
    pub fn take_counts(&self) -> OpCounts {
        self.counters.take()
    }

    /// Runs `f` with buffers from the pool.
    pub(super) fn with_scratch<T>(&self, f: impl FnOnce(&mut Scratch) -> T) -> T {
        let pooled = self.scratch.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut scratch = pooled.unwrap_or_else(|| Scratch::new(&self.params));
        let out = f(&mut scratch);
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        out
    }

    pub(super) fn pair(&self, op: &'static str, x: &Ciphertext, y: &Ciphertext) -> Result<(), HeError> {
        x.check(&self.params)?;
        y.check(&self.params)?;
        same_level(op, x.level(), y.level())?;
        same_scale(op, x.scale, y.scale)
    }

    fn fits(&self, op: &'static str, x: &Ciphertext, p: &Plaintext) -> Result<(), HeError> {
        x.check(&self.params)?;
        check_params(&self.params, &p.params, "plaintext")?;
        // A plaintext known modulo more limbs serves lower levels.
        if p.level >= x.level() { Ok(()) } else { same_level(op, x.level(), p.level) }
    }

    /// A polynomial to be written: its contents are unspecified.
    pub(super) fn blank(&self, level: usize) -> Pooled {
        self.params.pool().take(&self.params.level_data(level).q)
    }

    pub(super) fn ciphertext(&self, c0: Pooled, c1: Pooled, scale: f64) -> Ciphertext {
        Ciphertext { c0, c1, scale, params: self.params.id() }
    }

    // ------------------------------------------------------------ sums

    /// x ← x + y. Equal levels and scales.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], [`HeError::LevelMismatch`], [`HeError::ScaleMismatch`].
    pub fn add_assign(&self, x: &mut Ciphertext, y: &Ciphertext) -> Result<(), HeError> {
        self.pair("add", x, y)?;
        x.c0.add_assign(&y.c0);
        x.c1.add_assign(&y.c1);
        count(&self.counters.add, 1);
        Ok(())
    }

    /// x ← x − y. Equal levels and scales.
    ///
    /// # Errors
    /// As [`Evaluator::add_assign`].
    pub fn sub_assign(&self, x: &mut Ciphertext, y: &Ciphertext) -> Result<(), HeError> {
        self.pair("sub", x, y)?;
        x.c0.sub_assign(&y.c0);
        x.c1.sub_assign(&y.c1);
        count(&self.counters.add, 1);
        Ok(())
    }

    /// x ← −x.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn neg_assign(&self, x: &mut Ciphertext) -> Result<(), HeError> {
        x.check(&self.params)?;
        x.c0.neg_assign();
        x.c1.neg_assign();
        Ok(())
    }

    /// x ← x + p. Equal scales; p encoded at the level of x or above.
    ///
    /// # Errors
    /// As [`Evaluator::add_assign`].
    pub fn add_plain_assign(&self, x: &mut Ciphertext, p: &Plaintext) -> Result<(), HeError> {
        self.plain_assign("add plaintext", x, p, kernel::add_assign)
    }

    /// x ← x − p. Equal scales; p encoded at the level of x or above.
    ///
    /// # Errors
    /// As [`Evaluator::add_assign`].
    pub fn sub_plain_assign(&self, x: &mut Ciphertext, p: &Plaintext) -> Result<(), HeError> {
        self.plain_assign("subtract plaintext", x, p, kernel::sub_assign)
    }

    fn plain_assign(
        &self,
        op: &'static str,
        x: &mut Ciphertext,
        p: &Plaintext,
        f: impl Fn(&oblivia_ring::Modulus, &mut [u64], &[u64]),
    ) -> Result<(), HeError> {
        self.fits(op, x, p)?;
        same_scale(op, x.scale, p.scale)?;
        let level = x.level();
        let q = &self.params.level_data(level).q;
        for (i, (m, row)) in q.moduli().zip(x.c0.rows_mut()).enumerate() {
            f(m, row, p.row(level, i));
        }
        count(&self.counters.add, 1);
        Ok(())
    }

    /// x ← x + c in every slot. Equal scales.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], [`HeError::ScaleMismatch`].
    pub fn add_scalar_assign(&self, x: &mut Ciphertext, c: &ScalarPlaintext) -> Result<(), HeError> {
        x.check(&self.params)?;
        same_scale("add scalar", x.scale, c.scale)?;
        let q = &self.params.level_data(x.level()).q;
        for (m, row) in q.moduli().zip(x.c0.rows_mut()) {
            kernel::add_constant_assign(m, row, m.reduce_i128(c.value));
        }
        count(&self.counters.add, 1);
        Ok(())
    }

    // ------------------------------------------------------------ products

    /// x ⊙ p; the scale is the product of both. p encoded at the level of x or above.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], [`HeError::LevelMismatch`].
    pub fn mul_plain(&self, x: &Ciphertext, p: &Plaintext) -> Result<Ciphertext, HeError> {
        self.dot_plain(&[x], &[p])
    }

    /// x ← x ⊙ p; the scale is the product of both. p encoded at the level of x or above.
    ///
    /// # Errors
    /// As [`Evaluator::mul_plain`].
    pub fn mul_plain_assign(&self, x: &mut Ciphertext, p: &Plaintext) -> Result<(), HeError> {
        self.fits("plaintext product", x, p)?;
        let level = x.level();
        for (i, m) in self.params.level_data(level).q.moduli().enumerate() {
            kernel::mul_assign(m, x.c0.row_mut(i), p.row(level, i));
            kernel::mul_assign(m, x.c1.row_mut(i), p.row(level, i));
        }
        x.scale *= p.scale;
        count(&self.counters.pt_mul, 1);
        Ok(())
    }

    /// Σ x_i ⊙ p_i, reduced once; the scale is the product of both. All x_i of one level and scale, all p_i of one
    /// scale and encoded at that level or above.
    ///
    /// # Errors
    /// [`HeError::OperandCount`], [`HeError::ParamsMismatch`], [`HeError::LevelMismatch`],
    /// [`HeError::ScaleMismatch`].
    pub fn dot_plain(&self, xs: &[&Ciphertext], ps: &[&Plaintext]) -> Result<Ciphertext, HeError> {
        const OP: &str = "sum of plaintext products";
        let (x0, p0) = first(OP, xs, ps)?;
        for (x, p) in xs.iter().zip(ps) {
            self.pair(OP, x0, x)?;
            self.fits(OP, x, p)?;
            same_scale(OP, p0.scale, p.scale)?;
        }
        let level = x0.level();
        let (mut c0, mut c1) = (self.blank(level), self.blank(level));
        let q = &self.params.level_data(level).q;
        let mut triples = Vec::with_capacity(xs.len());
        for (i, m) in q.moduli().enumerate() {
            triples.clear();
            triples.extend(xs.iter().zip(ps).map(|(x, p)| (x.c0.row(i), x.c1.row(i), p.row(level, i))));
            kernel::dot2_into(m, &triples, c0.row_mut(i), c1.row_mut(i));
        }
        count(&self.counters.pt_mul, xs.len() as u64);
        count(&self.counters.add, xs.len() as u64 - 1);
        Ok(self.ciphertext(c0, c1, x0.scale * p0.scale))
    }

    /// x ⊙ y before relinearisation. Equal levels.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], [`HeError::LevelMismatch`].
    pub fn tensor(&self, x: &Ciphertext, y: &Ciphertext) -> Result<Tensor, HeError> {
        x.check(&self.params)?;
        y.check(&self.params)?;
        same_level("multiply", x.level(), y.level())?;
        let level = x.level();
        let mut d = [self.blank(level), self.blank(level), self.blank(level)];
        let [d0, d1, d2] = &mut d;
        for (i, m) in x.c0.basis().moduli().enumerate() {
            let (a0, a1, b0, b1) = (x.c0.row(i), x.c1.row(i), y.c0.row(i), y.c1.row(i));
            kernel::mul_into(m, a0, b0, d0.row_mut(i));
            kernel::dot_into(m, &[(a0, b1), (a1, b0)], d1.row_mut(i));
            kernel::mul_into(m, a1, b1, d2.row_mut(i));
        }
        count(&self.counters.ct_mul, 1);
        Ok(Tensor { d, scale: x.scale * y.scale })
    }

    /// x ⊙ x before relinearisation.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn tensor_square(&self, x: &Ciphertext) -> Result<Tensor, HeError> {
        x.check(&self.params)?;
        let level = x.level();
        let mut d = [self.blank(level), self.blank(level), self.blank(level)];
        let [d0, d1, d2] = &mut d;
        for (i, m) in x.c0.basis().moduli().enumerate() {
            let (a0, a1) = (x.c0.row(i), x.c1.row(i));
            kernel::mul_into(m, a0, a0, d0.row_mut(i));
            let cross = d1.row_mut(i);
            kernel::mul_into(m, a0, a1, cross);
            cross.iter_mut().for_each(|v| *v = m.add(*v, *v));
            kernel::mul_into(m, a1, a1, d2.row_mut(i));
        }
        count(&self.counters.ct_mul, 1);
        Ok(Tensor { d, scale: x.scale * x.scale })
    }

    /// x ← x + y before relinearisation. Equal levels and scales.
    ///
    /// # Errors
    /// [`HeError::LevelMismatch`], [`HeError::ScaleMismatch`], [`HeError::ParamsMismatch`].
    pub fn add_tensor_assign(&self, x: &mut Tensor, y: &Tensor) -> Result<(), HeError> {
        same_level("add products", x.level(), y.level())?;
        same_scale("add products", x.scale, y.scale)?;
        if x.d[0].basis() != y.d[0].basis() {
            return Err(HeError::ParamsMismatch { what: "product" });
        }
        for (x, y) in x.d.iter_mut().zip(&y.d) {
            x.add_assign(y);
        }
        count(&self.counters.add, 1);
        Ok(())
    }

    /// Makes a product a ciphertext again. (d+2)(ℓ+k) transforms.
    ///
    /// # Errors
    /// [`HeError::MissingRelinKey`], [`HeError::ParamsMismatch`].
    pub fn relinearise(&self, x: &Tensor) -> Result<Ciphertext, HeError> {
        let level = x.level();
        let key = self.keys.relin(level)?;
        let q = &self.params.level_data(level).q;
        if x.d[0].basis() != q {
            return Err(HeError::ParamsMismatch { what: "product" });
        }
        let mut out = [self.blank(level), self.blank(level)];
        self.with_scratch(|s| {
            s.inner_product(&self.params, &x.d[2], key, &self.counters.ntt);
            for (half, out) in out.iter_mut().enumerate() {
                s.mod_down(&self.params, half, &self.counters.ntt, |i, row| {
                    kernel::add_into(q.modulus(i), row, x.d[half].row(i), out.row_mut(i));
                });
            }
        });
        count(&self.counters.relin, 1);
        let [c0, c1] = out;
        Ok(self.ciphertext(c0, c1, x.scale))
    }

    /// x ⊙ y, relinearised; the scale is the product of both. Equal levels.
    ///
    /// # Errors
    /// As [`Evaluator::tensor`] and [`Evaluator::relinearise`].
    pub fn mul(&self, x: &Ciphertext, y: &Ciphertext) -> Result<Ciphertext, HeError> {
        self.keys.relin(x.level())?;
        self.relinearise(&self.tensor(x, y)?)
    }

    /// x ⊙ x, relinearised; the scale is squared.
    ///
    /// # Errors
    /// As [`Evaluator::mul`].
    pub fn square(&self, x: &Ciphertext) -> Result<Ciphertext, HeError> {
        self.keys.relin(x.level())?;
        self.relinearise(&self.tensor_square(x)?)
    }

    // ------------------------------------------------------------ levels

    /// Divides by the last prime, rounds, and drops that limb; the scale is divided too. 2ℓ transforms.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], or [`HeError::Level`] on level 1.
    pub fn rescale_assign(&self, x: &mut Ciphertext) -> Result<(), HeError> {
        *x = self.rescale(x)?;
        Ok(())
    }

    /// As [`Evaluator::rescale_assign`], into a new ciphertext.
    ///
    /// # Errors
    /// As there.
    pub fn rescale(&self, x: &Ciphertext) -> Result<Ciphertext, HeError> {
        x.check(&self.params)?;
        let below = x.level() - 1;
        self.params.level("rescale", below)?;
        let q = self.params.rescale_prime(x.level())?;
        let (mut c0, mut c1) = (self.blank(below), self.blank(below));
        self.with_scratch(|s| {
            s.rescale(&self.params, &x.c0, &mut c0, &self.counters.ntt);
            s.rescale(&self.params, &x.c1, &mut c1, &self.counters.ntt);
        });
        count(&self.counters.rescale, 1);
        Ok(self.ciphertext(c0, c1, x.scale / q))
    }

    /// Forgets limbs down to `level`; the value stays.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], or [`HeError::Level`] unless 1 ≤ `level` ≤ that of x.
    pub fn drop_level_assign(&self, x: &mut Ciphertext, level: usize) -> Result<(), HeError> {
        x.check(&self.params)?;
        if level == 0 || level > x.level() {
            return Err(HeError::Level { what: "drop level", level, max: x.level() });
        }
        x.c0.keep_limbs(level);
        x.c1.keep_limbs(level);
        Ok(())
    }

    // ------------------------------------------------------------ rotations

    /// Slots moved `left` places to the left, cyclically (standard ring: within the row of n/2). Free for a
    /// multiple of the slots, else (d+2)(ℓ+k) transforms.
    ///
    /// # Errors
    /// [`HeError::MissingRotationKey`], [`HeError::ParamsMismatch`].
    pub fn rotate(&self, x: &Ciphertext, left: usize) -> Result<Ciphertext, HeError> {
        x.check(&self.params)?;
        let (step, level) = (left % self.params.slots(), x.level());
        if step == 0 {
            return Ok(x.clone());
        }
        let key = self.keys.rotation(step, level)?;
        let out = self.with_scratch(|s| {
            s.inner_product(&self.params, &x.c1, &key.key, &self.counters.ntt);
            self.finish_rotation(s, &x.c0, &key.permutation)
        });
        count(&self.counters.rotations, 1);
        Ok(self.ciphertext(out.0, out.1, x.scale))
    }

    /// Divides the accumulator by P, adds c0 to the first half, and applies the automorphism last.
    fn finish_rotation(
        &self,
        s: &mut Scratch,
        c0: &Poly<Ntt>,
        permutation: &oblivia_ring::Permutation,
    ) -> (Pooled, Pooled) {
        let (mut out0, mut out1) = (self.blank(c0.limbs()), self.blank(c0.limbs()));
        s.mod_down(&self.params, 0, &self.counters.ntt, |i, row| {
            kernel::add_assign(c0.basis().modulus(i), row, c0.row(i));
            kernel::gather_into(permutation, row, out0.row_mut(i));
        });
        s.mod_down(&self.params, 1, &self.counters.ntt, |i, row| {
            kernel::gather_into(permutation, row, out1.row_mut(i));
        });
        (out0, out1)
    }

    fn digits(&self, x: &Ciphertext) -> Digits {
        self.with_scratch(|s| Digits::new(&self.params, &x.c1, s, &self.counters.ntt))
    }

    /// Decomposes a ciphertext once for any number of rotations. d(ℓ+k) transforms.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn hoist(&self, x: &Ciphertext) -> Result<Hoisted, HeError> {
        x.check(&self.params)?;
        Ok(Hoisted { digits: self.digits(x), c0: x.c0.clone(), c1: x.c1.clone(), scale: x.scale })
    }

    /// A rotation of a hoisted ciphertext. 2(ℓ+k) transforms.
    ///
    /// # Errors
    /// [`HeError::MissingRotationKey`], [`HeError::ParamsMismatch`].
    pub fn rotate_from(&self, x: &Hoisted, left: usize) -> Result<Ciphertext, HeError> {
        if *x.c0.basis() != self.params.level("rotate", x.level())?.q {
            return Err(HeError::ParamsMismatch { what: "hoisted ciphertext" });
        }
        self.rotate_digits(&x.digits, &x.c0, &x.c1, x.scale, left)
    }

    fn rotate_digits(
        &self,
        digits: &Digits,
        c0: &Pooled,
        c1: &Pooled,
        scale: f64,
        left: usize,
    ) -> Result<Ciphertext, HeError> {
        let step = left % self.params.slots();
        if step == 0 {
            return Ok(self.ciphertext(c0.clone(), c1.clone(), scale));
        }
        let key = self.keys.rotation(step, c0.limbs())?;
        let out = self.with_scratch(|s| {
            s.inner_product_hoisted(&self.params, digits, &key.key);
            self.finish_rotation(s, c0, &key.permutation)
        });
        count(&self.counters.hoisted, 1);
        Ok(self.ciphertext(out.0, out.1, scale))
    }

    /// The rotations of x by all `lefts`, in order, from one decomposition: d(ℓ+k) transforms, 2(ℓ+k) more per
    /// rotation. Rotations by 0 are free; with no other, so is the decomposition.
    ///
    /// # Errors
    /// As [`Evaluator::rotate`].
    pub fn rotate_hoisted(&self, x: &Ciphertext, lefts: &[usize]) -> Result<Vec<Ciphertext>, HeError> {
        x.check(&self.params)?;
        let slots = self.params.slots();
        for step in lefts.iter().map(|l| l % slots).filter(|s| *s != 0) {
            self.keys.rotation(step, x.level())?;
        }
        if lefts.iter().all(|l| l % slots == 0) {
            return Ok(lefts.iter().map(|_| x.clone()).collect());
        }
        let digits = self.digits(x);
        lefts.iter().map(|&l| self.rotate_digits(&digits, &x.c0, &x.c1, x.scale, l)).collect()
    }
}

pub(super) fn same_level(op: &'static str, left: usize, right: usize) -> Result<(), HeError> {
    if left == right { Ok(()) } else { Err(HeError::LevelMismatch { op, left, right }) }
}

pub(super) fn same_scale(op: &'static str, left: f64, right: f64) -> Result<(), HeError> {
    if left.to_bits() == right.to_bits() { Ok(()) } else { Err(HeError::ScaleMismatch { op, left, right }) }
}

pub(super) fn first<'a, A, B>(op: &'static str, xs: &'a [A], ys: &'a [B]) -> Result<(&'a A, &'a B), HeError> {
    match (xs.first(), ys.first()) {
        (Some(x), Some(y)) if xs.len() == ys.len() => Ok((x, y)),
        _ => Err(HeError::OperandCount { op, left: xs.len(), right: ys.len() }),
    }
}

impl fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evaluator").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
