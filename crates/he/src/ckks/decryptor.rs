use crate::HeError;
use crate::secret_key::SecretKey;
use crate::{Ciphertext, Plaintext};
use oblivia_ring::{Ntt, Poly, kernel};

/// Decrypts with the secret key.
#[derive(Clone, Copy, Debug)]
pub struct Decryptor<'a> {
    sk: &'a SecretKey,
}

impl<'a> Decryptor<'a> {
    /// A decryptor with `sk`.
    pub fn new(sk: &'a SecretKey) -> Self {
        Self { sk }
    }

    /// c0 + c1·s: message and error. Nothing here can fail by the content of a ciphertext.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn decrypt(&self, ct: &Ciphertext) -> Result<Plaintext, HeError> {
        ct.check(self.sk.params())?;
        let (level, basis) = (ct.level(), ct.c0.basis());
        let mut poly = Poly::<Ntt>::zero(basis);
        for (i, (m, row)) in basis.moduli().zip(poly.rows_mut()).enumerate() {
            kernel::mul_into(m, ct.c1.row(i), self.sk.row(level, i), row);
            kernel::add_assign(m, row, ct.c0.row(i));
        }
        Ok(Plaintext { poly, level, scale: ct.scale, id: ct.id })
    }
}
