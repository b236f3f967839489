//! Computing on ciphertexts, the same for every scheme.

mod extended;
mod merged;
mod rotate;
mod scalars;

pub use extended::{ExtendedCiphertext, Factor, Products};
pub use rotate::Hoisted;
pub use scalars::{Place, ScalarMatrix};

use crate::HeError;
use crate::chain::{Division, Level};
use crate::ciphertext::Ciphertext;
use crate::counts::{Counters, OpCounts, count};
use crate::evaluation_keys::EvaluationKeys;
use crate::params::Params;
use crate::plaintext::{Plaintext, ScalarPlaintext, check_id};
use crate::pool::Pooled;
use crate::scheme::Scheme;
use crate::switch::{By, Scratch};
use oblivia_base::Digest;
use oblivia_ring::kernel;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Computes on ciphertexts and counts what it does.
///
/// Results do not depend on threads: several may share one evaluator. Every operation checks parameters, levels,
/// scales and keys, and returns an error instead of a wrong result; none panics.
pub struct Evaluator<S: Scheme> {
    pub(crate) scheme: S,
    pub(crate) id: Digest,
    pub(super) keys: Arc<EvaluationKeys<S>>,
    pub(crate) counters: Counters,
    scratch: Mutex<Vec<Scratch>>,
}

/// A product of two ciphertexts before relinearisation: (d0, d1, d2) with d0 + d1·s + d2·s².
#[derive(Clone)]
pub struct Tensor<S: Scheme> {
    pub(super) d: [Pooled; 3],
    pub(super) level: usize,
    pub(super) scale: S::Scale,
    pub(super) id: Digest,
}

impl<S: Scheme> Tensor<S> {
    /// Its level in the modulus chain.
    pub fn level(&self) -> usize {
        self.level
    }

    /// The scale Δ.
    pub fn scale(&self) -> S::Scale {
        self.scale
    }
}

impl<S: Scheme> fmt::Debug for Tensor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tensor")
            .field("level", &self.level())
            .field("scale", &self.scale)
            .finish_non_exhaustive()
    }
}

impl<S: Scheme> Evaluator<S> {
    /// An evaluator with the keys of one client.
    pub fn new(keys: Arc<EvaluationKeys<S>>) -> Self {
        Self {
            id: keys.scheme().id(),
            scheme: keys.scheme().clone(),
            keys,
            counters: Counters::default(),
            scratch: Mutex::new(Vec::new()),
        }
    }

    /// The parameters it belongs to.
    pub fn params(&self) -> &Params {
        self.scheme.params()
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
        let mut scratch = pooled.unwrap_or_else(|| Scratch::new(self.params()));
        let out = f(&mut scratch);
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        out
    }

    pub(super) fn pair(&self, op: &'static str, x: &Ciphertext<S>, y: &Ciphertext<S>) -> Result<(), HeError> {
        x.check(&self.scheme)?;
        y.check(&self.scheme)?;
        same_level(op, x.level(), y.level())?;
        S::same_scale(op, x.scale, y.scale)
    }

    fn fits(&self, op: &'static str, x: &Ciphertext<S>, p: &Plaintext<S>) -> Result<(), HeError> {
        x.check(&self.scheme)?;
        check_id(&self.id, &p.id, "plaintext")?;
        // A plaintext known modulo more limbs serves lower levels.
        if self.params().serves(p.level, x.level, false) { Ok(()) } else { unserved(op, x.level, p.level) }
    }

    /// A polynomial to be written: its contents are unspecified.
    pub(super) fn blank(&self, level: usize) -> Pooled {
        self.params().pool().take(&self.params().level_data(level).q)
    }

    pub(super) fn ciphertext(&self, [c0, c1]: [Pooled; 2], level: usize, scale: S::Scale) -> Ciphertext<S> {
        Ciphertext { c0, c1, level, scale, id: self.id }
    }

    // ------------------------------------------------------------ sums

    /// x ← x + y. Equal levels and scales.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], [`HeError::LevelMismatch`], [`HeError::ScaleMismatch`].
    pub fn add_assign(&self, x: &mut Ciphertext<S>, y: &Ciphertext<S>) -> Result<(), HeError> {
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
    pub fn sub_assign(&self, x: &mut Ciphertext<S>, y: &Ciphertext<S>) -> Result<(), HeError> {
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
    pub fn neg_assign(&self, x: &mut Ciphertext<S>) -> Result<(), HeError> {
        x.check(&self.scheme)?;
        x.c0.neg_assign();
        x.c1.neg_assign();
        Ok(())
    }

    /// x ← x + p. Equal scales; p encoded at the level of x or above.
    ///
    /// # Errors
    /// As [`Evaluator::add_assign`].
    pub fn add_plain_assign(&self, x: &mut Ciphertext<S>, p: &Plaintext<S>) -> Result<(), HeError> {
        self.plain_assign("add plaintext", x, p, kernel::add_assign)
    }

    /// x ← x − p. Equal scales; p encoded at the level of x or above.
    ///
    /// # Errors
    /// As [`Evaluator::add_assign`].
    pub fn sub_plain_assign(&self, x: &mut Ciphertext<S>, p: &Plaintext<S>) -> Result<(), HeError> {
        self.plain_assign("subtract plaintext", x, p, kernel::sub_assign)
    }

    fn plain_assign(
        &self,
        op: &'static str,
        x: &mut Ciphertext<S>,
        p: &Plaintext<S>,
        f: impl Fn(&oblivia_ring::Modulus, &mut [u64], &[u64]),
    ) -> Result<(), HeError> {
        self.fits(op, x, p)?;
        S::same_scale(op, x.scale, p.scale)?;
        let level = x.level();
        let q = &self.params().level_data(level).q;
        for (i, (m, row)) in q.moduli().zip(x.c0.rows_mut()).enumerate() {
            f(m, row, p.row(i));
        }
        count(&self.counters.add, 1);
        Ok(())
    }

    /// x ← x + c in every slot. Equal scales.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], [`HeError::ScaleMismatch`].
    pub fn add_scalar_assign(&self, x: &mut Ciphertext<S>, c: &ScalarPlaintext<S>) -> Result<(), HeError> {
        x.check(&self.scheme)?;
        S::same_scale("add scalar", x.scale, c.scale)?;
        let q = &self.params().level_data(x.level()).q;
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
    pub fn mul_plain(&self, x: &Ciphertext<S>, p: &Plaintext<S>) -> Result<Ciphertext<S>, HeError> {
        self.dot_plain(&[x], &[p])
    }

    /// x ← x ⊙ p; the scale is the product of both. p encoded at the level of x or above.
    ///
    /// # Errors
    /// As [`Evaluator::mul_plain`].
    pub fn mul_plain_assign(&self, x: &mut Ciphertext<S>, p: &Plaintext<S>) -> Result<(), HeError> {
        self.fits("plaintext product", x, p)?;
        let level = x.level();
        for (i, m) in self.params().level_data(level).q.moduli().enumerate() {
            kernel::mul_assign(m, x.c0.row_mut(i), p.row(i));
            kernel::mul_assign(m, x.c1.row_mut(i), p.row(i));
        }
        x.scale = self.scheme.product(x.scale, p.scale);
        count(&self.counters.pt_mul, 1);
        Ok(())
    }

    /// Σ x_i ⊙ p_i, reduced once; the scale is the product of both. All x_i of one level and scale, all p_i of one
    /// scale and encoded at that level or above.
    ///
    /// # Errors
    /// [`HeError::OperandCount`], [`HeError::ParamsMismatch`], [`HeError::LevelMismatch`],
    /// [`HeError::ScaleMismatch`].
    pub fn dot_plain(&self, xs: &[&Ciphertext<S>], ps: &[&Plaintext<S>]) -> Result<Ciphertext<S>, HeError> {
        const OP: &str = "sum of plaintext products";
        let (x0, p0) = first(OP, xs, ps)?;
        for (x, p) in xs.iter().zip(ps) {
            self.pair(OP, x0, x)?;
            self.fits(OP, x, p)?;
            S::same_scale(OP, p0.scale, p.scale)?;
        }
        let level = x0.level();
        let (mut c0, mut c1) = (self.blank(level), self.blank(level));
        let q = &self.params().level_data(level).q;
        let mut triples = Vec::with_capacity(xs.len());
        for (i, m) in q.moduli().enumerate() {
            triples.clear();
            triples.extend(xs.iter().zip(ps).map(|(x, p)| (x.c0.row(i), x.c1.row(i), p.row(i))));
            kernel::dot2_into(m, &triples, c0.row_mut(i), c1.row_mut(i));
        }
        count(&self.counters.pt_mul, xs.len() as u64);
        count(&self.counters.add, xs.len() as u64 - 1);
        Ok(self.ciphertext([c0, c1], level, self.scheme.product(x0.scale, p0.scale)))
    }

    /// x ⊙ y before relinearisation. Equal levels.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], [`HeError::LevelMismatch`].
    pub fn tensor(&self, x: &Ciphertext<S>, y: &Ciphertext<S>) -> Result<Tensor<S>, HeError> {
        x.check(&self.scheme)?;
        y.check(&self.scheme)?;
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
        Ok(Tensor { d, level, scale: self.scheme.product(x.scale, y.scale), id: self.id })
    }

    /// x ⊙ x before relinearisation.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn tensor_square(&self, x: &Ciphertext<S>) -> Result<Tensor<S>, HeError> {
        x.check(&self.scheme)?;
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
        Ok(Tensor { d, level, scale: self.scheme.product(x.scale, x.scale), id: self.id })
    }

    /// x ← x + y before relinearisation. Equal levels and scales.
    ///
    /// # Errors
    /// [`HeError::LevelMismatch`], [`HeError::ScaleMismatch`], [`HeError::ParamsMismatch`].
    pub fn add_tensor_assign(&self, x: &mut Tensor<S>, y: &Tensor<S>) -> Result<(), HeError> {
        same_level("add products", x.level(), y.level())?;
        S::same_scale("add products", x.scale, y.scale)?;
        check_id(&self.id, &x.id, "product")?;
        check_id(&self.id, &y.id, "product")?;
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
    pub fn relinearise(&self, x: &Tensor<S>) -> Result<Ciphertext<S>, HeError> {
        let level = x.level();
        let key = self.keys.relin(level)?;
        check_id(&self.id, &x.id, "product")?;
        let mut out = [self.blank(level), self.blank(level)];
        let data = self.params().level_data(level);
        self.with_scratch(|s| {
            s.inner_product(data, &x.d[2], key, &self.counters.ntt);
            s.divide(&self.scheme, By::P(level), &self.counters.ntt, |half, i, quotient| {
                quotient.write(Some(x.d[half].row(i)), out[half].row_mut(i));
            });
        });
        count(&self.counters.relin, 1);
        Ok(self.ciphertext(out, level, x.scale))
    }

    /// x ⊙ y, relinearised; the scale is the product of both. Equal levels.
    ///
    /// # Errors
    /// As [`Evaluator::tensor`] and [`Evaluator::relinearise`].
    pub fn mul(&self, x: &Ciphertext<S>, y: &Ciphertext<S>) -> Result<Ciphertext<S>, HeError> {
        self.keys.relin(x.level())?;
        self.relinearise(&self.tensor(x, y)?)
    }

    /// x ⊙ x, relinearised; the scale is squared.
    ///
    /// # Errors
    /// As [`Evaluator::mul`].
    pub fn square(&self, x: &Ciphertext<S>) -> Result<Ciphertext<S>, HeError> {
        self.keys.relin(x.level())?;
        self.relinearise(&self.tensor_square(x)?)
    }

    // ------------------------------------------------------------ levels

    /// Divides to the modulus below and rounds; the scale is divided too. In a plain chain that drops the last prime and
    /// takes 2ℓ transforms.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], or [`HeError::Level`] on level 1.
    pub fn rescale_assign(&self, x: &mut Ciphertext<S>) -> Result<(), HeError> {
        *x = self.rescale(x)?;
        Ok(())
    }

    /// As [`Evaluator::rescale_assign`], into a new ciphertext.
    ///
    /// # Errors
    /// As there.
    pub fn rescale(&self, x: &Ciphertext<S>) -> Result<Ciphertext<S>, HeError> {
        x.check(&self.scheme)?;
        let below = x.level - 1;
        let division = self.division("rescale", x.level, |level| &level.rescale)?;
        let scale = self.scheme.dropped(x.scale, x.level)?;
        let mut out = [self.blank(below), self.blank(below)];
        self.with_scratch(|s| {
            let (by, c) = (By::Last(x.level, division), [&*x.c0, &*x.c1]);
            s.divide_of(&self.scheme, by, c, &self.counters.ntt, |half, i, quotient| {
                quotient.write(None, out[half].row_mut(i));
            });
        });
        count(&self.counters.rescale, 1);
        Ok(self.ciphertext(out, below, scale))
    }

    /// A division of `level` to the level below, which level 1 has not.
    pub(super) fn division(
        &self,
        op: &'static str,
        level: usize,
        which: impl Fn(&Level) -> &Option<Division>,
    ) -> Result<&Division, HeError> {
        let none = HeError::Level { what: op, level: level - 1, max: self.params().max_level() };
        which(self.params().level_data(level)).as_ref().ok_or(none)
    }

    /// Forgets limbs down to `level`; the value stays.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], or [`HeError::Level`] unless 1 ≤ `level` ≤ that of x and the primes of `level` are
    /// the first ones of x: so it is in a plain chain.
    pub fn drop_level_assign(&self, x: &mut Ciphertext<S>, level: usize) -> Result<(), HeError> {
        x.check(&self.scheme)?;
        if !self.params().serves(x.level, level, false) {
            return Err(HeError::Level { what: "drop level", level, max: x.level });
        }
        let limbs = self.params().level_data(level).limbs();
        x.c0.keep_limbs(limbs);
        x.c1.keep_limbs(limbs);
        x.level = level;
        Ok(())
    }
}

/// Refuses what is not known modulo the primes of level `level`.
pub(super) fn unserved(op: &'static str, level: usize, known: usize) -> Result<(), HeError> {
    Err(HeError::LevelMismatch { op, left: level, right: known })
}

pub(super) fn same_level(op: &'static str, left: usize, right: usize) -> Result<(), HeError> {
    if left == right { Ok(()) } else { Err(HeError::LevelMismatch { op, left, right }) }
}

pub(super) fn first<'a, A, B>(op: &'static str, xs: &'a [A], ys: &'a [B]) -> Result<(&'a A, &'a B), HeError> {
    match (xs.first(), ys.first()) {
        (Some(x), Some(y)) if xs.len() == ys.len() => Ok((x, y)),
        _ => Err(HeError::OperandCount { op, left: xs.len(), right: ys.len() }),
    }
}

impl<S: Scheme> fmt::Debug for Evaluator<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evaluator").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
