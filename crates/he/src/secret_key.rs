use crate::params::Params;
use crate::sample;
use oblivia_base::seed::{EntropySource, Prg};
use oblivia_base::{PublicSeed, Secret};
use oblivia_ring::{Basis, Ntt, Poly, kernel};
use std::fmt;
use zeroize::Zeroize;

/// A uniform ternary secret s, kept transformed modulo every prime of QP.
pub struct SecretKey {
    params: Params,
    s: Secret<Poly<Ntt>>,
}

impl SecretKey {
    /// A fresh key.
    pub fn generate(params: &Params, rng: &mut dyn EntropySource) -> Self {
        Self::of_ternary(params, &sample::ternary(params.n(), rng))
    }

    /// The key with these n coefficients, each −1, 0 or 1.
    pub(crate) fn of_ternary(params: &Params, coefficients: &Secret<Vec<i8>>) -> Self {
        let wide = Secret::new(coefficients.expose().iter().map(|&c| i64::from(c)).collect::<Vec<_>>());
        let qp = &params.level_data(params.max_level()).qp;
        Self { params: params.clone(), s: small_ntt(qp, wide.expose()) }
    }

    /// The parameters it belongs to.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// s over q_0 … q_{L−1}, then the special primes.
    pub(crate) fn expose(&self) -> &Poly<Ntt> {
        self.s.expose()
    }

    /// Row of s for limb `i` of a basis of `level` limbs and the special primes.
    pub(crate) fn row(&self, level: usize, i: usize) -> &[u64] {
        let skip = if i < level { 0 } else { self.params.max_level() - level };
        self.s.expose().row(i + skip)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("params", &self.params).finish_non_exhaustive()
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

/// A fresh error, transformed.
pub(crate) fn error_ntt(basis: &Basis, rng: &mut dyn EntropySource) -> Secret<Poly<Ntt>> {
    let mut e = Secret::new(vec![0i64; basis.n()]);
    sample::gaussian(rng, e.expose_mut());
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
    pub(crate) params: &'a Params,
    pub(crate) seed: &'a PublicSeed,
    pub(crate) domain: &'static str,
    pub(crate) label: &'a [u8],
}

impl UniformSource<'_> {
    /// Uniform residues, directly in transformed form. One stream per `index` and prime, so that an element over
    /// fewer limbs has the same rows.
    pub(crate) fn draw(&self, basis: &Basis, index: &[u64]) -> Poly<Ntt> {
        let mut a = Poly::zero(basis);
        let index: Vec<u8> = index.iter().flat_map(|x| x.to_le_bytes()).collect();
        for (m, row) in basis.moduli().zip(a.rows_mut()) {
            let prime = m.value().to_le_bytes();
            let parts = [&self.params.id().0, self.label, &index, &prime];
            sample::uniform_row(m, &mut Prg::new(&self.seed.0, self.domain, &parts), row);
        }
        a
    }
}

/// Wipes a polynomial that held a secret.
pub(crate) fn wipe(p: &mut impl Zeroize) {
    p.zeroize();
}
