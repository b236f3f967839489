use super::encoder::Encoder;
use crate::HeError;
use crate::ciphertext::{Ciphertext, SeededCiphertext};
use crate::params::Params;
use crate::plaintext::{Plaintext, check_params};
use crate::public_key::PublicKey;
use crate::secret_key::{SecretKey, error_ntt, fresh_seed, small_ntt, wipe};
use crate::switch::Scratch;
use oblivia_base::Secret;
use oblivia_base::seed::EntropySource;
use oblivia_ring::{Ntt, Poly, kernel, sample};
use std::sync::atomic::AtomicU64;

/// Encrypts plaintexts at the level they were encoded for.
#[derive(Clone, Debug)]
pub struct Encryptor {
    params: Params,
}

impl Encryptor {
    /// An encryptor of `params`.
    pub fn new(params: &Params) -> Self {
        Self { params: params.clone() }
    }

    /// The parameters it belongs to.
    pub fn params(&self) -> &Params {
        &self.params
    }

    fn check(&self, pt: &Plaintext, key: &Params) -> Result<(), HeError> {
        check_params(&self.params, &pt.params, "plaintext")?;
        check_params(&self.params, &key.id(), "key")
    }

    /// Encrypts with the secret key: c0 = −a·s + e + m, a from a fresh public seed and `label`, which the receiver
    /// needs to expand it. Noise: σ per coefficient.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn encrypt_seeded(
        &self,
        sk: &SecretKey,
        pt: &Plaintext,
        label: &[u8],
        rng: &mut dyn EntropySource,
    ) -> Result<SeededCiphertext, HeError> {
        Ok(self.symmetric(sk, pt, label, rng)?.0)
    }

    /// Encodes `values` and encrypts them as [`Encryptor::encrypt_seeded`] does, to the same bytes, with half of the
    /// transforms and a quarter of the memory: message and error are transformed together.
    ///
    /// # Errors
    /// As [`Encoder::encode`] and [`Encryptor::encrypt_seeded`].
    pub fn encrypt_values_seeded(
        &self,
        encoder: &Encoder,
        sk: &SecretKey,
        values: &[f64],
        (level, scale): (usize, f64),
        label: &[u8],
        rng: &mut dyn EntropySource,
    ) -> Result<SeededCiphertext, HeError> {
        check_params(&self.params, &encoder.params().id(), "encoder")?;
        check_params(&self.params, &sk.params().id(), "key")?;
        let q = &self.params.level("encrypt", level)?.q;
        let mut message = Secret::new(encoder.coefficients(values, &[], scale)?);
        encoder.fits(message.expose(), level)?;
        let seed = fresh_seed(rng);
        let mut error = Secret::new(vec![0; q.n()]);
        sample::gaussian(rng, error.expose_mut());
        message.expose_mut().iter_mut().zip(error.expose()).for_each(|(m, e)| *m += e);
        let source = SeededCiphertext::uniform_source(&self.params, &seed, label);
        let mut c0 = Poly::<Ntt>::zero(q);
        let mut product = Secret::new(vec![0; q.n()]);
        for (i, (table, row)) in q.tables().zip(c0.rows_mut()).enumerate() {
            let (m, product) = (table.modulus(), product.expose_mut());
            kernel::reduce_i64_into(m, message.expose(), row);
            kernel::forward(table, row);
            source.draw_row(m, product);
            kernel::mul_assign(m, product, sk.row(level, i));
            kernel::sub_assign(m, row, product);
        }
        Ok(SeededCiphertext { c0, seed, scale, params: self.params.id() })
    }

    /// As [`Encryptor::encrypt_seeded`] with an empty label, both halves written out.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn encrypt_symmetric(
        &self,
        sk: &SecretKey,
        pt: &Plaintext,
        rng: &mut dyn EntropySource,
    ) -> Result<Ciphertext, HeError> {
        let (SeededCiphertext { c0, scale, params, .. }, c1) = self.symmetric(sk, pt, &[], rng)?;
        let pool = self.params.pool();
        Ok(Ciphertext { c0: pool.adopt(c0), c1: pool.adopt(c1), scale, params })
    }

    fn symmetric(
        &self,
        sk: &SecretKey,
        pt: &Plaintext,
        label: &[u8],
        rng: &mut dyn EntropySource,
    ) -> Result<(SeededCiphertext, Poly<Ntt>), HeError> {
        self.check(pt, sk.params())?;
        let seed = fresh_seed(rng);
        let a = SeededCiphertext::uniform_half(&self.params, pt.level, &seed, label);
        let q = &self.params.level_data(pt.level).q;
        let error = error_ntt(q, rng);
        let mut c0 = Poly::<Ntt>::zero(q);
        for (i, (m, row)) in q.moduli().zip(c0.rows_mut()).enumerate() {
            kernel::mul_into(m, a.row(i), sk.row(pt.level, i), row);
            kernel::neg_assign(m, row);
            kernel::add_assign(m, row, error.expose().row(i));
            kernel::add_assign(m, row, pt.row(pt.level, i));
        }
        Ok((SeededCiphertext { c0, seed, scale: pt.scale, params: pt.params }, a))
    }

    /// Encrypts with the public key: (v·b + e0, v·a + e1) modulo QP, divided by P, plus (m, 0). The division
    /// removes the noise of v·e, which would be 7 bits above that of [`Encryptor::encrypt_seeded`].
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn encrypt(
        &self,
        pk: &PublicKey,
        pt: &Plaintext,
        rng: &mut dyn EntropySource,
    ) -> Result<Ciphertext, HeError> {
        self.check(pt, pk.params())?;
        let (params, l) = (&self.params, pt.level);
        let level = params.level_data(l);
        let skip = params.max_level() - l;
        let mut v = Secret::new(vec![0; params.n()]);
        sample::ternary(rng, v.expose_mut());
        let v = small_ntt(&level.qp, v.expose());
        let mut scratch = Scratch::new(params);
        let mut halves = [params.pool().take(&level.q), params.pool().take(&level.q)];
        for (half, (key, out)) in [&pk.b, &pk.a].into_iter().zip(&mut halves).enumerate() {
            let error = error_ntt(&level.qp, rng);
            let acc = &mut scratch.acc[half];
            acc.reset(&level.qp);
            for (i, (m, row)) in level.qp.moduli().zip(acc.rows_mut()).enumerate() {
                kernel::mul_into(m, v.expose().row(i), key.row(if i < l { i } else { i + skip }), row);
                kernel::add_assign(m, row, error.expose().row(i));
            }
            scratch.mod_down(params, half, &AtomicU64::new(0), |i, row| out.row_mut(i).copy_from_slice(row));
        }
        scratch.acc.iter_mut().for_each(wipe);
        let [mut c0, c1] = halves;
        for (i, (m, row)) in level.q.moduli().zip(c0.rows_mut()).enumerate() {
            kernel::add_assign(m, row, pt.row(l, i));
        }
        Ok(Ciphertext { c0, c1, scale: pt.scale, params: pt.params })
    }
}
