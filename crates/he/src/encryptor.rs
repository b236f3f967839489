use crate::HeError;
use crate::ciphertext::{Ciphertext, SeededCiphertext};
use crate::params::Params;
use crate::plaintext::{Plaintext, check_id};
use crate::pool::Pooled;
use crate::public_key::PublicKey;
use crate::scheme::Scheme;
use crate::secret_key::{SecretKey, error_ntt, fresh_seed, small_ntt, wipe};
use crate::switch::{By, Scratch};
use oblivia_base::Secret;
use oblivia_base::seed::EntropySource;
use oblivia_ring::{Ntt, Poly, kernel, sample};
use std::sync::atomic::AtomicU64;

/// Encrypts plaintexts at the level they were encoded for.
#[derive(Clone, Debug)]
pub struct Encryptor<S: Scheme> {
    scheme: S,
}

impl<S: Scheme> Encryptor<S> {
    /// An encryptor of `scheme`.
    pub fn new(scheme: &S) -> Self {
        Self { scheme: scheme.clone() }
    }

    /// The parameters it belongs to.
    pub fn params(&self) -> &Params {
        self.scheme.params()
    }

    fn check(&self, pt: &Plaintext<S>) -> Result<(), HeError> {
        check_id(&self.scheme.id(), &pt.id, "plaintext")
    }

    /// Encrypts with the secret key: c0 = −a·s + e + m (exact: t·e for e), a from a fresh public seed and `label`, which the receiver
    /// needs to expand it. Noise: σ per coefficient.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn encrypt_seeded(
        &self,
        sk: &SecretKey,
        pt: &Plaintext<S>,
        label: &[u8],
        rng: &mut dyn EntropySource,
    ) -> Result<SeededCiphertext<S>, HeError> {
        Ok(self.symmetric(sk, pt, label, rng)?.0)
    }

    /// As [`Encryptor::encrypt_seeded`] with an empty label, both halves written out.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn encrypt_symmetric(
        &self,
        sk: &SecretKey,
        pt: &Plaintext<S>,
        rng: &mut dyn EntropySource,
    ) -> Result<Ciphertext<S>, HeError> {
        let (SeededCiphertext { c0, level, scale, id, .. }, c1) = self.symmetric(sk, pt, &[], rng)?;
        let pool = self.params().pool();
        Ok(Ciphertext { c0: pool.adopt(c0), c1: pool.adopt(c1), level, scale, id })
    }

    fn symmetric(
        &self,
        sk: &SecretKey,
        pt: &Plaintext<S>,
        label: &[u8],
        rng: &mut dyn EntropySource,
    ) -> Result<(SeededCiphertext<S>, Poly<Ntt>), HeError> {
        self.check(pt)?;
        check_id(&self.params().id(), &sk.params().id(), "key")?;
        let seed = fresh_seed(rng);
        let a = SeededCiphertext::uniform_half(&self.scheme, pt.level, &seed, label);
        let q = &self.params().level_data(pt.level).q;
        let error = error_ntt(&self.scheme, q, rng);
        let mut c0 = Poly::<Ntt>::zero(q);
        for (i, (m, row)) in q.moduli().zip(c0.rows_mut()).enumerate() {
            kernel::mul_into(m, a.row(i), sk.row(pt.level, i), row);
            kernel::neg_assign(m, row);
            kernel::add_assign(m, row, error.expose().row(i));
            kernel::add_assign(m, row, pt.row(i));
        }
        Ok((SeededCiphertext { c0, level: pt.level, seed, scale: pt.scale, id: pt.id }, a))
    }

    /// Encrypts with the public key: (v·b + e0, v·a + e1) modulo QP, divided by P, plus (m, 0). The division
    /// removes the noise of v·e, which would be 7 bits above that of [`Encryptor::encrypt_seeded`].
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn encrypt(
        &self,
        pk: &PublicKey<S>,
        pt: &Plaintext<S>,
        rng: &mut dyn EntropySource,
    ) -> Result<Ciphertext<S>, HeError> {
        self.check(pt)?;
        check_id(&self.scheme.id(), &pk.scheme().id(), "key")?;
        let [mut c0, c1] = zero(pk, pt.level, rng)?;
        for (i, (m, row)) in self.params().level_data(pt.level).q.moduli().zip(c0.rows_mut()).enumerate() {
            kernel::add_assign(m, row, pt.row(i));
        }
        Ok(Ciphertext { c0, c1, level: pt.level, scale: pt.scale, id: pt.id })
    }
}

/// A fresh encryption of zero at level `l`, which must exist, with the public key: modulo QP, then divided by P. Refused at
/// a level with primes that the highest one lacks: the public key is not known modulo those.
pub(crate) fn zero<S: Scheme>(
    pk: &PublicKey<S>,
    l: usize,
    rng: &mut dyn EntropySource,
) -> Result<[Pooled; 2], HeError> {
    let scheme = pk.scheme();
    let params = scheme.params();
    let level = params.level_data(l);
    let unknown =
        HeError::Shape { what: "public keys serve levels whose primes are among those of the highest" };
    let rows = level.qp.positions_in(&params.top().qp).ok_or(unknown)?;
    let mut v = Secret::new(vec![0; params.n()]);
    sample::ternary(rng, v.expose_mut());
    let v = small_ntt(&level.qp, v.expose());
    let mut scratch = Scratch::new(params);
    let mut halves = [params.pool().take(&level.q), params.pool().take(&level.q)];
    for (key, acc) in [&pk.b, &pk.a].into_iter().zip(&mut scratch.acc) {
        let error = error_ntt(scheme, &level.qp, rng);
        acc.reset(&level.qp);
        for (i, (m, row)) in level.qp.moduli().zip(acc.rows_mut()).enumerate() {
            kernel::mul_into(m, v.expose().row(i), key.row(rows[i]), row);
            kernel::add_assign(m, row, error.expose().row(i));
        }
    }
    scratch.divide(scheme, By::P(l), &AtomicU64::new(0), |half, i, quotient| {
        quotient.write(None, halves[half].row_mut(i));
    });
    scratch.acc.iter_mut().for_each(wipe);
    Ok(halves)
}
