//! Rotations of slots, one by one and from a shared decomposition.

use super::Evaluator;
use crate::HeError;
use crate::ciphertext::Ciphertext;
use crate::counts::count;
use crate::plaintext::check_id;
use crate::pool::Pooled;
use crate::scheme::Scheme;
use crate::switch::{By, Digits, Scratch};
use oblivia_base::Digest;
use oblivia_ring::{Ntt, Poly};
use std::fmt;

/// A ciphertext with the decomposition that hoisted rotations share; made by [`Evaluator::hoist`].
pub struct Hoisted<S: Scheme> {
    pub(super) digits: Digits,
    pub(super) c0: Pooled,
    pub(super) c1: Pooled,
    pub(super) level: usize,
    pub(super) scale: S::Scale,
    pub(super) id: Digest,
}

impl<S: Scheme> Hoisted<S> {
    /// Its level in the modulus chain.
    pub fn level(&self) -> usize {
        self.level
    }
}

impl<S: Scheme> fmt::Debug for Hoisted<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hoisted").field("level", &self.level()).finish_non_exhaustive()
    }
}

impl<S: Scheme> Evaluator<S> {
    /// Slots moved `left` places to the left, cyclically (standard ring: within the row of n/2). Free for a
    /// multiple of the slots, else (d+2)(ℓ+k) transforms.
    ///
    /// # Errors
    /// [`HeError::MissingRotationKey`], [`HeError::ParamsMismatch`].
    pub fn rotate(&self, x: &Ciphertext<S>, left: usize) -> Result<Ciphertext<S>, HeError> {
        self.automorphism(x, left % self.params().slots())
    }

    /// As [`Evaluator::rotate`], rows swapped first: slot j of either row becomes slot j + `left` of the other one.
    /// For a ring with two rows; its key is that of step [`crate::Params::slots`] + `left`.
    ///
    /// # Errors
    /// As [`Evaluator::rotate`].
    pub fn swap_rows(&self, x: &Ciphertext<S>, left: usize) -> Result<Ciphertext<S>, HeError> {
        let slots = self.params().slots();
        self.automorphism(x, slots + left % slots)
    }

    fn automorphism(&self, x: &Ciphertext<S>, step: usize) -> Result<Ciphertext<S>, HeError> {
        x.check(&self.scheme)?;
        if step == 0 {
            return Ok(x.clone());
        }
        let key = self.keys.rotation(step, x.level())?;
        let out = self.with_scratch(|s| {
            s.inner_product(self.params().level_data(x.level), &x.c1, key.key, &self.counters.ntt);
            self.finish_rotation(s, x.level, &x.c0, key.permutation)
        });
        count(&self.counters.rotations, 1);
        Ok(self.ciphertext(out, x.level, x.scale))
    }

    /// Divides the accumulator by P, adds c0 to the first half, and applies the automorphism last.
    fn finish_rotation(
        &self,
        s: &mut Scratch,
        level: usize,
        c0: &Poly<Ntt>,
        permutation: &oblivia_ring::Permutation,
    ) -> [Pooled; 2] {
        let (mut out0, mut out1) = (self.blank(level), self.blank(level));
        s.divide(&self.scheme, By::P(level), &self.counters.ntt, |half, i, quotient| match half {
            0 => quotient.write_permuted(permutation, Some(c0.row(i)), out0.row_mut(i)),
            _ => quotient.write_permuted(permutation, None, out1.row_mut(i)),
        });
        [out0, out1]
    }

    fn digits(&self, x: &Ciphertext<S>) -> Digits {
        let level = self.params().level_data(x.level);
        self.with_scratch(|s| Digits::new(self.params(), level, &x.c1, s, &self.counters.ntt))
    }

    /// Decomposes a ciphertext once for any number of rotations. d(ℓ+k) transforms.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn hoist(&self, x: &Ciphertext<S>) -> Result<Hoisted<S>, HeError> {
        x.check(&self.scheme)?;
        let Ciphertext { c0, c1, level, scale, id } = x.clone();
        Ok(Hoisted { digits: self.digits(x), c0, c1, level, scale, id })
    }

    /// A rotation of a hoisted ciphertext. 2(ℓ+k) transforms.
    ///
    /// # Errors
    /// [`HeError::MissingRotationKey`], [`HeError::ParamsMismatch`].
    pub fn rotate_from(&self, x: &Hoisted<S>, left: usize) -> Result<Ciphertext<S>, HeError> {
        check_id(&self.id, &x.id, "hoisted ciphertext")?;
        self.rotate_digits(&x.digits, [&x.c0, &x.c1], x.level, x.scale, left)
    }

    fn rotate_digits(
        &self,
        digits: &Digits,
        [c0, c1]: [&Pooled; 2],
        level: usize,
        scale: S::Scale,
        left: usize,
    ) -> Result<Ciphertext<S>, HeError> {
        let step = left % self.params().slots();
        if step == 0 {
            return Ok(self.ciphertext([c0.clone(), c1.clone()], level, scale));
        }
        let key = self.keys.rotation(step, level)?;
        let out = self.with_scratch(|s| {
            s.inner_product_hoisted(self.params().level_data(level), digits, c1, key.key);
            self.finish_rotation(s, level, c0, key.permutation)
        });
        count(&self.counters.hoisted, 1);
        Ok(self.ciphertext(out, level, scale))
    }

    /// The rotations of x by all `lefts`, in order, from one decomposition: d(ℓ+k) transforms, 2(ℓ+k) more per
    /// rotation. Rotations by 0 are free; with no other, so is the decomposition.
    ///
    /// # Errors
    /// As [`Evaluator::rotate`].
    pub fn rotate_hoisted(&self, x: &Ciphertext<S>, lefts: &[usize]) -> Result<Vec<Ciphertext<S>>, HeError> {
        x.check(&self.scheme)?;
        let slots = self.params().slots();
        for step in lefts.iter().map(|l| l % slots).filter(|s| *s != 0) {
            self.keys.rotation(step, x.level())?;
        }
        if lefts.iter().all(|l| l % slots == 0) {
            return Ok(lefts.iter().map(|_| x.clone()).collect());
        }
        let digits = self.digits(x);
        lefts.iter().map(|&l| self.rotate_digits(&digits, [&x.c0, &x.c1], x.level, x.scale, l)).collect()
    }
}
