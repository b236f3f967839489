mod stored;

use crate::ckks::Encoder;
use crate::noise;
use crate::params::Params;
use crate::scheme::Scheme;
use oblivia_base::seed::EntropySource;
use oblivia_base::{Digest, PublicSeed, Secret};
use oblivia_ring::{Basis, Modulus, Ntt, Poly, kernel, sample};
use std::fmt;
use zeroize::Zeroize;

/// A uniform ternary secret s, kept transformed modulo every prime of any level.
pub struct SecretKey {
    params: Params,
    s: Secret<Poly<Ntt>>,
}

impl SecretKey {
    /// A fresh key. A draw whose largest slot is above [`crate::noise::SECRET_PEAK`] standard deviations is
    /// thrown away, once in tens of thousands.
    pub fn generate(params: &Params, rng: &mut dyn EntropySource) -> Self {
        Self::of_coefficients(params, &draw(&Encoder::new(params), noise::secret_limit(params), rng))
    }

    /// The key with these n coefficients, each −1, 0 or 1.
    pub(crate) fn of_coefficients(params: &Params, coefficients: &Secret<Vec<i64>>) -> Self {
        Self { params: params.clone(), s: small_ntt(params.all(), coefficients.expose()) }
    }

    /// The parameters it belongs to.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// s over every prime of any level.
    pub(crate) fn expose(&self) -> &Poly<Ntt> {
        self.s.expose()
    }

    /// Row of s for limb `i` of Q of `level`, which must exist, and of the special primes.
    pub(crate) fn row(&self, level: usize, i: usize) -> &[u64] {
        self.s.expose().row(self.params.level_data(level).places[i])
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("params", &self.params).finish_non_exhaustive()
    }
}

/// Uniform ternary coefficients of which no slot is above `limit`.
fn draw(encoder: &Encoder, limit: f64, rng: &mut dyn EntropySource) -> Secret<Vec<i64>> {
    let mut s = Secret::new(vec![0; encoder.params().n()]);
    loop {
        sample::ternary(rng, s.expose_mut());
        if encoder.largest_slot(s.expose()) <= limit {
            return s;
        }
    }
}

/// A secret element with small coefficients, transformed.
pub(crate) fn small_ntt(basis: &Basis, coefficients: &[i64]) -> Secret<Poly<Ntt>> {
    let mut out = Secret::new(Poly::<Ntt>::zero(basis));
    for (table, row) in basis.tables().zip(out.expose_mut().rows_mut()) {
        kernel::reduce_i64_into(table.modulus(), coefficients, row);
        kernel::forward(table, row);
    }
    out
}

/// A fresh error, times the factor of the scheme, transformed.
pub(crate) fn error_ntt(
    scheme: &impl Scheme,
    basis: &Basis,
    rng: &mut dyn EntropySource,
) -> Secret<Poly<Ntt>> {
    let mut e = Secret::new(vec![0i64; basis.n()]);
    sample::gaussian(rng, e.expose_mut());
    let factor = scheme.error_factor();
    e.expose_mut().iter_mut().for_each(|e| *e *= factor);
    small_ntt(basis, e.expose())
}

/// A fresh public seed.
pub(crate) fn fresh_seed(rng: &mut dyn EntropySource) -> PublicSeed {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    PublicSeed(bytes)
}

/// Where a uniform element comes from: a seed, what it is for, and the caller's label.
#[derive(Clone, Copy)]
pub(crate) struct UniformSource<'a> {
    pub(crate) id: Digest,
    pub(crate) seed: &'a PublicSeed,
    pub(crate) domain: &'static str,
    pub(crate) label: &'a [u8],
}

impl UniformSource<'_> {
    /// Uniform residues, directly in transformed form. One stream per `index` and prime, so that an element over
    /// fewer limbs has the same rows.
    pub(crate) fn draw(&self, basis: &Basis, index: &[u64]) -> Poly<Ntt> {
        let mut p = Poly::zero(basis);
        for (m, row) in basis.moduli().zip(p.rows_mut()) {
            self.draw_row(m, index, row);
        }
        p
    }

    /// The row modulo one prime of what [`UniformSource::draw`] gives.
    pub(crate) fn draw_row(&self, m: &Modulus, index: &[u64], row: &mut [u64]) {
        let index: Vec<u8> = index.iter().flat_map(|x| x.to_le_bytes()).collect();
        let parts: [&[u8]; 3] = [&self.id.0, self.label, &index];
        sample::uniform_row_seeded(m, self.seed, self.domain, &parts, row);
    }
}

/// Wipes a polynomial that held a secret.
pub(crate) fn wipe(p: &mut impl Zeroize) {
    p.zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Moduli, ParamsLiteral};
    use oblivia_base::Prg;
    use oblivia_ring::RingKind;

    #[test]
    fn secrets_with_a_slot_above_the_limit_are_drawn_again() {
        for kind in [RingKind::Standard, RingKind::ConjugateInvariant] {
            let q = Moduli::Bits(vec![30]);
            let literal = ParamsLiteral { kind, log_n: 8, q: q.clone(), p: q, alpha: 1, levels: Vec::new() };
            let params = Params::insecure_unchecked(&literal).unwrap();
            let encoder = Encoder::new(&params);
            // The rotation-invariant element 1 has slots 1; all ones has a slot far above the limit.
            let mut one = vec![0; 256];
            one[0] = 1;
            assert!((encoder.largest_slot(&one) - 1.0).abs() < 1e-12);
            assert!(encoder.largest_slot(&[1; 256]) > 2.0 * noise::secret_limit(&params));
            // Half of the limit in use turns many draws down.
            let limit = noise::secret_limit(&params) * 2.6 / noise::SECRET_PEAK;
            let mut rng = Prg::new(&[5; 32], "he tests", &[]);
            for _ in 0..20 {
                assert!(encoder.largest_slot(draw(&encoder, limit, &mut rng).expose()) <= limit);
            }
        }
    }
}
