use super::Ciphertext;
use super::context::Context;
use super::encoder::Message;
use crate::HeError;
use crate::plaintext::check_id;
use crate::secret_key::SecretKey;
use oblivia_base::Secret;
use oblivia_ring::{Basis, Coeff, Modulus, Ntt, Poly, Shoup, kernel};

/// Decrypts with the secret key.
#[derive(Clone, Debug)]
pub struct Decryptor<'a> {
    context: Context,
    sk: &'a SecretKey,
}

/// How large the phase f·m + t·e of a ciphertext is.
///
/// It depends on the secret key: for its owner alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Largest |coefficient| of the phase, in units of t.
    pub largest: f64,
    /// Root mean square of the coefficients, in units of t.
    pub rms: f64,
    /// log2 of Q/2 over the largest coefficient. A ciphertext of which none are left may be wrong.
    pub spare_bits: f64,
}

impl<'a> Decryptor<'a> {
    /// A decryptor with `sk`.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`] for a key of other parameters.
    pub fn new(context: &Context, sk: &'a SecretKey) -> Result<Self, HeError> {
        check_id(&context.params().id(), &sk.params().id(), "secret key")?;
        Ok(Self { context: context.clone(), sk })
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// s modulo q_0, transformed.
    pub(super) fn secret_row(&self) -> &[u64] {
        self.sk.row(1, 0)
    }

    /// The message, its factor taken out. Nothing here can fail by the content of a ciphertext, and the time does not
    /// depend on it.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn decrypt(&self, ct: &Ciphertext) -> Result<Message, HeError> {
        let phase = self.phase(ct)?;
        let t = self.context.modulus();
        let radix = MixedRadix::new(phase.expose().basis());
        let weights: Vec<Shoup> = radix.products_mod(t);
        let q_mod_t = phase.expose().basis().product_mod(t);
        let factor = self.context.quotient(super::Factor::ONE, ct.scale);
        let factor = t.shoup(factor.value());
        let mut poly = Poly::<Coeff>::zero(self.context.basis());
        let mut digits = Secret::new(vec![0u64; radix.len()]);
        for (k, out) in poly.row_mut(0).iter_mut().enumerate() {
            let digits = digits.expose_mut();
            radix.digits(phase.expose(), k, digits);
            let mut value = 0;
            for (&digit, &weight) in digits.iter().zip(&weights) {
                value = t.add(value, t.mul_shoup(digit, weight));
            }
            let above = radix.above_half(digits).wrapping_neg();
            *out = t.mul_shoup(t.sub(value, q_mod_t & above), factor);
        }
        Ok(Message { poly, id: self.context.id() })
    }

    /// Measures the phase. Takes time that depends on it.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn noise(&self, ct: &Ciphertext) -> Result<Noise, HeError> {
        let phase = self.phase(ct)?;
        let basis = phase.expose().basis();
        let radix = MixedRadix::new(basis);
        let t = self.context.t() as f64;
        let mut digits = Secret::new(vec![0u64; radix.len()]);
        let (mut largest, mut squares) = (0.0f64, 0.0);
        for k in 0..basis.n() {
            let digits = digits.expose_mut();
            radix.digits(phase.expose(), k, digits);
            if radix.above_half(digits) == 1 {
                // Q − 1 − x has the digits q_i − 1 − d_i.
                for (d, m) in digits.iter_mut().zip(basis.moduli()) {
                    *d = m.value() - 1 - *d;
                }
                digits[0] += 1;
            }
            let value = radix.to_f64(digits) / t;
            largest = largest.max(value);
            squares += value * value;
        }
        let log_q = basis.log_product();
        Ok(Noise {
            largest,
            rms: (squares / basis.n() as f64).sqrt(),
            spare_bits: log_q - 1.0 - (largest * t).max(1.0).log2(),
        })
    }

    /// c0 + c1·s in coefficient form.
    fn phase(&self, ct: &Ciphertext) -> Result<Secret<Poly<Coeff>>, HeError> {
        ct.check(&self.context)?;
        let (level, basis) = (ct.level(), ct.c0.basis());
        let mut poly = Poly::<Ntt>::zero(basis);
        for (i, (m, row)) in basis.moduli().zip(poly.rows_mut()).enumerate() {
            kernel::mul_into(m, ct.c1.row(i), self.sk.row(level, i), row);
            kernel::add_assign(m, row, ct.c0.row(i));
        }
        Ok(Secret::new(poly.into_coeff()))
    }
}

/// Integers in \[0, Q) as Σ d_i·q_0…q_{i−1} with 0 ≤ d_i < q_i (Garner).
struct MixedRadix {
    moduli: Vec<Modulus>,
    /// \[i\]\[j\], j < i: q_0 … q_{j−1} modulo q_i.
    products: Vec<Vec<Shoup>>,
    /// (q_0 … q_{i−1})⁻¹ modulo q_i.
    inverses: Vec<Shoup>,
}

impl MixedRadix {
    fn new(basis: &Basis) -> Self {
        let moduli: Vec<Modulus> = basis.moduli().copied().collect();
        let prefix =
            |m: &Modulus, j: usize| basis.moduli().take(j).fold(1, |p, q| m.mul(p, m.reduce_u64(q.value())));
        let products =
            moduli.iter().enumerate().map(|(i, m)| (0..i).map(|j| m.shoup(prefix(m, j))).collect()).collect();
        // The primes of a basis are different, so every product has an inverse.
        let inverses =
            moduli.iter().enumerate().map(|(i, m)| m.shoup(m.pow(prefix(m, i), m.value() - 2))).collect();
        Self { moduli, products, inverses }
    }

    fn len(&self) -> usize {
        self.moduli.len()
    }

    /// q_0 … q_{i−1} modulo `t`.
    fn products_mod(&self, t: &Modulus) -> Vec<Shoup> {
        let mut product = 1;
        let next = |m: &Modulus| {
            let this = t.shoup(product);
            product = t.mul(product, t.reduce_u64(m.value()));
            this
        };
        self.moduli.iter().map(next).collect()
    }

    /// The digits of coefficient `k`. No branch on its value.
    fn digits(&self, poly: &Poly<Coeff>, k: usize, out: &mut [u64]) {
        for (i, m) in self.moduli.iter().enumerate() {
            let (known, rest) = out.split_at_mut(i);
            let below =
                known.iter().zip(&self.products[i]).fold(0, |sum, (&d, &p)| m.add(sum, m.mul_shoup(d, p)));
            rest[0] = m.mul_shoup(m.sub(poly.row(i)[k], below), self.inverses[i]);
        }
    }

    /// The number, to the precision of a double.
    fn to_f64(&self, digits: &[u64]) -> f64 {
        digits.iter().zip(&self.moduli).rev().fold(0.0, |v, (&d, m)| v * m.value() as f64 + d as f64)
    }

    /// 1 if the number is above (Q−1)/2, the digits of which are all (q_i−1)/2; else 0. No branch on its value.
    fn above_half(&self, digits: &[u64]) -> u64 {
        digits.iter().zip(&self.moduli).fold(0, |above, (&d, m)| {
            let half = m.value() >> 1;
            u64::from(d > half) | (u64::from(d == half) & above)
        })
    }
}
