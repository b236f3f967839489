use super::context::{Context, Factor};
use super::{CompactPlaintext, ExtendedPlaintext, Plaintext, ScalarPlaintext};
use crate::HeError;
use crate::plaintext::{check_id, transformed};
use crate::scheme::Arithmetic;
use oblivia_base::Digest;
use oblivia_ring::{Basis, Coeff, Ntt, Poly};
use std::fmt;
use zeroize::Zeroize;

/// A polynomial modulo t in coefficient form: what a ciphertext holds, its factor taken out.
pub struct Message {
    pub(super) poly: Poly<Coeff>,
    pub(super) id: Digest,
}

impl Message {
    /// The n coefficients, in \[0, t).
    pub fn coefficients(&self) -> &[u64] {
        self.poly.row(0)
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.poly.zeroize();
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Message(..)")
    }
}

/// Turns vectors of integers modulo t into polynomials and back.
///
/// Slot j < n/2, the first row, is the value at ψ^(5^j), ψ the root of unity of [`oblivia_ring::NttTable`] for t; slot
/// n/2 + j, the second row, that at ψ^(−5^j). A rotation left by r moves both rows left by r; a swap exchanges them.
pub struct Encoder {
    context: Context,
    /// Slot → transform index.
    index: Vec<u32>,
}

impl Encoder {
    /// The encoder of `context`.
    pub fn new(context: &Context) -> Self {
        let shape = context.params().shape();
        let row = shape.slots();
        let index = (0..2 * row)
            .map(|j| {
                let e = shape.rotation((j % row) as i64);
                let e = if j < row { e } else { shape.order() - e };
                shape.index_of_exponent(e).unwrap_or(0) as u32 // every odd exponent is an output
            })
            .collect();
        Self { context: context.clone(), index }
    }

    /// The context it belongs to.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The plaintext of factor·`values` (any integers, taken modulo t; missing ones are 0) at `level`.
    ///
    /// # Errors
    /// [`HeError::TooManyValues`] above n values, [`HeError::Level`], [`HeError::Factor`].
    pub fn encode(&self, values: &[i64], level: usize, factor: Factor) -> Result<Plaintext, HeError> {
        let basis = &self.context.params().level("encode", level)?.q;
        self.plaintext(values, basis, level, factor)
    }

    /// As [`Encoder::encode`], known modulo the special primes too: for products before a division by P.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode_extended(
        &self,
        values: &[i64],
        level: usize,
        factor: Factor,
    ) -> Result<ExtendedPlaintext, HeError> {
        self.context.params().level("encode", level)?;
        ExtendedPlaintext::new(&self.context, &self.centred(values, factor)?, level, factor)
    }

    /// factor·`value` modulo t, centred, in every slot, for every level.
    ///
    /// # Errors
    /// [`HeError::Factor`].
    pub fn scalar(&self, value: i64, factor: Factor) -> Result<ScalarPlaintext, HeError> {
        self.context.check_scale("scalar", factor)?;
        let m = self.context.modulus();
        let value = m.centre(m.mul(m.reduce_i64(value), factor.value()));
        Ok(ScalarPlaintext { value: i128::from(value), scale: factor })
    }

    fn plaintext(
        &self,
        values: &[i64],
        basis: &Basis,
        level: usize,
        factor: Factor,
    ) -> Result<Plaintext, HeError> {
        let poly = transformed(&self.centred(values, factor)?, basis);
        Ok(Plaintext { poly, level, scale: factor, id: self.context.id() })
    }

    /// As [`Encoder::encode`] or, if so said, [`Encoder::encode_extended`], its transforms left for later.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode_compact(
        &self,
        values: &[i64],
        level: usize,
        factor: Factor,
        extended: bool,
    ) -> Result<CompactPlaintext, HeError> {
        self.context.params().level("encode", level)?;
        let coefficients = self.centred(values, factor)?;
        Ok(CompactPlaintext::new(coefficients, extended, level, factor, self.context.id()))
    }

    /// The coefficients of a message, each in \[−(t−1)/2, (t−1)/2\].
    fn centred(&self, values: &[i64], factor: Factor) -> Result<Vec<i64>, HeError> {
        let (m, message) = (self.context.modulus(), self.message(values, factor)?);
        Ok(message.coefficients().iter().map(|&c| m.centre(c)).collect())
    }

    /// The polynomial modulo t with factor·`values` in its slots; missing values are 0.
    ///
    /// # Errors
    /// [`HeError::TooManyValues`], [`HeError::Factor`].
    pub fn message(&self, values: &[i64], factor: Factor) -> Result<Message, HeError> {
        self.context.check_scale("encode", factor)?;
        if values.len() > self.index.len() {
            return Err(HeError::TooManyValues { found: values.len(), slots: self.index.len() });
        }
        let m = self.context.modulus();
        let factor = m.shoup(factor.value());
        let mut poly = Poly::<Ntt>::zero(self.context.basis());
        let row = poly.row_mut(0);
        for (&v, &i) in values.iter().zip(&self.index) {
            row[i as usize] = m.mul_shoup(m.reduce_i64(v), factor);
        }
        Ok(Message { poly: poly.into_coeff(), id: self.context.id() })
    }

    /// All n slots of a message, each in \[−(t−1)/2, (t−1)/2\].
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn decode(&self, message: &Message) -> Result<Vec<i64>, HeError> {
        check_id(&self.context.id(), &message.id, "message")?;
        let mut values = message.poly.clone().into_ntt();
        let m = self.context.modulus();
        let out = self.index.iter().map(|&i| m.centre(values.row(0)[i as usize])).collect();
        values.zeroize();
        Ok(out)
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("context", &self.context).finish_non_exhaustive()
    }
}
