use crate::HeError;
use crate::params::Params;
use crate::scheme::Scheme;
use oblivia_base::Digest;
use oblivia_ring::{Basis, Ntt, NttTable, PackedPolys, PackedRow, Poly, kernel, packing};
use std::fmt;

/// A plaintext polynomial in transformed form, times a scale.
#[derive(Clone)]
pub struct Plaintext<S: Scheme> {
    pub(crate) poly: Poly<Ntt>,
    pub(crate) level: usize,
    pub(crate) scale: S::Scale,
    pub(crate) id: Digest,
}

impl<S: Scheme> Plaintext<S> {
    /// The level it was encoded for.
    pub fn level(&self) -> usize {
        self.level
    }

    /// What the message is multiplied by: the scale Δ (CKKS) or a factor modulo t (exact).
    pub fn scale(&self) -> S::Scale {
        self.scale
    }

    /// Row of limb `i` of Q, for use at any level up to its own.
    #[inline]
    pub(crate) fn row(&self, i: usize) -> &[u64] {
        self.poly.row(i)
    }
}

impl<S: Scheme> fmt::Debug for Plaintext<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plaintext")
            .field("level", &self.level)
            .field("scale", &self.scale)
            .finish_non_exhaustive()
    }
}

/// A plaintext known modulo the special primes too, as double hoisting needs: for products before a division by P.
///
/// Held packed, as many bits a residue as its prime has: such plaintexts are many, and each is read once per product.
#[derive(Clone)]
pub struct ExtendedPlaintext<S: Scheme> {
    rows: PackedPolys<Ntt>,
    level: usize,
    /// Limbs of Q of that level.
    limbs: usize,
    scale: S::Scale,
    pub(crate) id: Digest,
}

impl<S: Scheme> ExtendedPlaintext<S> {
    /// Of integer coefficients, through memory that is used again: many are made one after the other, and what they leave
    /// between them would be lost.
    pub(crate) fn new(
        scheme: &S,
        coefficients: &[i64],
        level: usize,
        scale: S::Scale,
    ) -> Result<Self, HeError> {
        let data = scheme.params().level("encode", level)?;
        let mut poly = scheme.params().pool().take(&data.qp);
        transform_into(coefficients, &mut poly);
        let (rows, limbs) = (PackedPolys::pack(&data.qp, &[&*poly]), data.limbs());
        Ok(Self { rows, level, limbs, scale, id: scheme.id() })
    }

    /// The level it was encoded for.
    pub fn level(&self) -> usize {
        self.level
    }

    /// What the message is multiplied by: the scale Δ (CKKS) or a factor modulo t (exact).
    pub fn scale(&self) -> S::Scale {
        self.scale
    }

    /// Bytes of memory that one takes.
    ///
    /// # Errors
    /// [`HeError::Level`].
    pub fn memory_bytes(params: &Params, level: usize) -> Result<usize, HeError> {
        Ok(packing::poly_bytes(&params.level("plaintext", level)?.qp))
    }

    /// Row of limb `i` of QP of a level that it serves, with `limbs` limbs of Q.
    #[inline]
    pub(crate) fn row(&self, limbs: usize, i: usize) -> PackedRow<'_> {
        self.rows.row(0, if i < limbs { i } else { i + self.limbs - limbs })
    }

    /// Its elements.
    #[cfg(test)]
    pub(crate) fn unpack(&self) -> Poly<Ntt> {
        self.rows.unpack(0)
    }
}

impl<S: Scheme> fmt::Debug for ExtendedPlaintext<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtendedPlaintext")
            .field("level", &self.level)
            .field("scale", &self.scale)
            .finish_non_exhaustive()
    }
}

/// The transform of integer coefficients, modulo each prime of `basis`.
pub(crate) fn transformed(coefficients: &[i64], basis: &Basis) -> Poly<Ntt> {
    let mut poly = Poly::<Ntt>::zero(basis);
    transform_into(coefficients, &mut poly);
    poly
}

fn transform_into(coefficients: &[i64], poly: &mut Poly<Ntt>) {
    let basis = poly.basis().clone();
    for (table, row) in basis.tables().zip(poly.rows_mut()) {
        kernel::reduce_i64_into(table.modulus(), coefficients, row);
        kernel::forward(table, row);
    }
}

/// A plaintext kept as integer coefficients: a fraction of a [`Plaintext`]'s memory, transformed whenever it is used.
#[derive(Clone)]
pub struct CompactPlaintext<S: Scheme> {
    coefficients: Coefficients,
    extended: bool,
    level: usize,
    scale: S::Scale,
    id: Digest,
}

#[derive(Clone)]
enum Coefficients {
    /// All fit 32 bits.
    Narrow(Vec<i32>),
    Wide(Vec<i64>),
}

impl<S: Scheme> CompactPlaintext<S> {
    pub(crate) fn new(
        coefficients: Vec<i64>,
        extended: bool,
        level: usize,
        scale: S::Scale,
        id: Digest,
    ) -> Self {
        let narrow = coefficients.iter().map(|&c| i32::try_from(c)).collect();
        let coefficients = match narrow {
            Ok(narrow) => Coefficients::Narrow(narrow),
            Err(_) => Coefficients::Wide(coefficients),
        };
        Self { coefficients, extended, level, scale, id }
    }

    /// The plaintext modulo the primes of its level, as encoding would have made it. One transform per limb.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`] when `scheme` is not the one it was encoded for.
    pub fn expand(&self, scheme: &S) -> Result<Plaintext<S>, HeError> {
        let Self { level, scale, id, .. } = self;
        check_id(&scheme.id(), id, "plaintext")?;
        let basis = &scheme.params().level("plaintext", *level)?.q;
        let mut poly = Poly::<Ntt>::zero(basis);
        for (table, row) in basis.tables().zip(poly.rows_mut()) {
            self.transform_row(table, row);
        }
        Ok(Plaintext { poly, level: *level, scale: *scale, id: *id })
    }

    /// Its row for one prime.
    pub(crate) fn transform_row(&self, table: &NttTable, row: &mut [u64]) {
        match &self.coefficients {
            Coefficients::Narrow(c) => {
                // A piece at a time: what is widened stays in the first-level cache.
                let mut wide = [0i64; 512];
                for (c, row) in c.chunks(wide.len()).zip(row.chunks_mut(512)) {
                    let wide = &mut wide[..c.len()];
                    wide.iter_mut().zip(c).for_each(|(w, &c)| *w = i64::from(c));
                    kernel::reduce_i64_into(table.modulus(), wide, row);
                }
            }
            Coefficients::Wide(c) => kernel::reduce_i64_into(table.modulus(), c, row),
        }
        kernel::forward(table, row);
    }

    pub(crate) fn id(&self) -> &Digest {
        &self.id
    }

    /// Level, and whether it is for use modulo the special primes too.
    pub(crate) fn place(&self) -> (usize, bool) {
        (self.level, self.extended)
    }

    /// What the message is multiplied by: the scale Δ (CKKS) or a factor modulo t (exact).
    pub fn scale(&self) -> S::Scale {
        self.scale
    }
}

impl<S: Scheme> fmt::Debug for CompactPlaintext<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompactPlaintext")
            .field("level", &self.level)
            .field("scale", &self.scale)
            .finish_non_exhaustive()
    }
}

/// The same number in every slot, times a scale (rounded) or a factor modulo t: an integer, usable at every level.
pub struct ScalarPlaintext<S: Scheme> {
    pub(crate) value: i128,
    pub(crate) scale: S::Scale,
}

impl<S: Scheme> Clone for ScalarPlaintext<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Scheme> Copy for ScalarPlaintext<S> {}

impl<S: Scheme> PartialEq for ScalarPlaintext<S> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value && self.scale == other.scale
    }
}

impl<S: Scheme> fmt::Debug for ScalarPlaintext<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScalarPlaintext").field("value", &self.value).field("scale", &self.scale).finish()
    }
}

impl ScalarPlaintext<Params> {
    /// round(`value`·`scale`).
    ///
    /// # Errors
    /// [`HeError::Scale`] for a scale that is no finite number of at least 1, [`HeError::Overflow`] if the integer
    /// needs more than 120 bits or `value` is not finite.
    pub fn new(value: f64, scale: f64) -> Result<Self, HeError> {
        check_scale("scalar", scale)?;
        let x = (value * scale).round_ties_even();
        if x.is_finite() && x.abs() < 2f64.powi(119) {
            Ok(Self { value: x as i128, scale })
        } else {
            let bits = if x.is_finite() { x.abs().log2() as u32 + 2 } else { 0 };
            Err(HeError::Overflow { bits, max: 120 })
        }
    }
}

impl<S: Scheme> ScalarPlaintext<S> {
    /// The integer.
    pub fn integer(&self) -> i128 {
        self.value
    }

    /// What the message is multiplied by.
    pub fn scale(&self) -> S::Scale {
        self.scale
    }
}

/// Refuses a scale that is not a finite number of at least 1.
pub(crate) fn check_scale(what: &'static str, scale: f64) -> Result<(), HeError> {
    if scale.is_finite() && scale >= 1.0 { Ok(()) } else { Err(HeError::Scale { what, scale }) }
}

/// Refuses an object of other parameters.
pub(crate) fn check_id(expected: &Digest, id: &Digest, what: &'static str) -> Result<(), HeError> {
    if id == expected { Ok(()) } else { Err(HeError::ParamsMismatch { what }) }
}
