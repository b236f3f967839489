use super::{Encoder, Encryptor};
use crate::plaintext::check_id;
use crate::secret_key::{SecretKey, fresh_seed};
use crate::{HeError, SeededCiphertext};
use oblivia_base::Secret;
use oblivia_base::seed::EntropySource;
use oblivia_ring::{Ntt, Poly, kernel, sample};

impl Encryptor {
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
        let params = self.params();
        check_id(&params.id(), &encoder.params().id(), "encoder")?;
        check_id(&params.id(), &sk.params().id(), "key")?;
        let q = &params.level("encrypt", level)?.q;
        let mut message = Secret::new(encoder.coefficients(values, &[], scale)?);
        encoder.fits(message.expose(), level)?;
        let seed = fresh_seed(rng);
        let mut error = Secret::new(vec![0; q.n()]);
        sample::gaussian(rng, error.expose_mut());
        message.expose_mut().iter_mut().zip(error.expose()).for_each(|(m, e)| *m += e);
        let source = SeededCiphertext::uniform_source(params, &seed, label);
        let mut c0 = Poly::<Ntt>::zero(q);
        let mut product = Secret::new(vec![0; q.n()]);
        for (i, (table, row)) in q.tables().zip(c0.rows_mut()).enumerate() {
            let (m, product) = (table.modulus(), product.expose_mut());
            kernel::reduce_i64_into(m, message.expose(), row);
            kernel::forward(table, row);
            source.draw_row(m, &[], product);
            kernel::mul_assign(m, product, sk.row(level, i));
            kernel::sub_assign(m, row, product);
        }
        Ok(SeededCiphertext { c0, level, seed, scale, id: params.id() })
    }
}
