//! The modulus q = p·p' of two primes: numbers modulo k bits into it, residues to numbers, numbers to shares.
//!
//! Elements are rows of n residues modulo p and then n residues modulo p', transformed or not.

use super::params::read_bits;
use super::ring::centre;
use crate::HeError;
use oblivia_base::codec::{DecodeError, Fault, Reader};
use oblivia_ring::{Basis, Coeff, Modulus, Ntt, Poly, Representation, Shoup};

/// Constants of both primes.
pub(crate) struct Primes {
    moduli: [Modulus; 2],
    q: u128,
    /// p⁻¹ modulo p'.
    inverse: Shoup,
}

impl Primes {
    /// Of a basis of two primes.
    pub(super) fn new(basis: &Basis) -> Result<Self, HeError> {
        let [p, other] = [0, 1].map(|i| *basis.modulus(i));
        let inverse = other.inv(other.reduce_u64(p.value()));
        let inverse = other.shoup(inverse.ok_or(HeError::Shape { what: "two different primes are needed" })?);
        Ok(Self { moduli: [p, other], q: u128::from(p.value()) * u128::from(other.value()), inverse })
    }

    /// Both primes.
    pub(super) fn moduli(&self) -> &[Modulus; 2] {
        &self.moduli
    }

    /// q.
    pub(super) fn q(&self) -> u128 {
        self.q
    }

    /// Residues of round(q·m/2^k) for every m, of which the low k bits count, k below 64: all modulo p, then all modulo
    /// p'. Ties go up. Branch-free.
    ///
    /// q·m = 2^k·x + ρ with ρ centred modulo 2^k, and q is 0 modulo either prime: x = −ρ·2^-k there.
    pub(super) fn encode(&self, k_bits: u32, messages: &[u64]) -> Vec<u64> {
        let mut out = Vec::with_capacity(2 * messages.len());
        for m in &self.moduli {
            let two = m.reduce_u64(2);
            let unit = m.pow(m.inv(two).unwrap_or(0), u64::from(k_bits));
            let unit = m.shoup(m.neg(unit));
            let of =
                |&x: &u64| m.mul_shoup(m.reduce_i64(centre((self.q as u64).wrapping_mul(x), k_bits)), unit);
            out.extend(messages.iter().map(of));
        }
        out
    }

    /// The number in [0, q) with these residues. Branch-free.
    pub(super) fn lift(&self, [x, y]: [u64; 2]) -> u128 {
        let [p, other] = &self.moduli;
        let digit = other.mul_shoup(other.sub(y, other.reduce_u64(x)), self.inverse);
        u128::from(x) + u128::from(p.value()) * u128::from(digit)
    }

    /// The numbers in [0, q) of a row: residues modulo p, then modulo p'.
    pub(super) fn lift_row<'a>(&'a self, row: &'a [u64]) -> impl Iterator<Item = u128> + 'a {
        let (x, y) = row.split_at(row.len() / 2);
        x.iter().zip(y).map(|(&x, &y)| self.lift([x, y]))
    }

    /// The residues of numbers, as a row.
    pub(super) fn residues(&self, numbers: &[u128]) -> Vec<u64> {
        self.moduli.iter().flat_map(|m| numbers.iter().map(|&x| m.reduce_u128(x))).collect()
    }

    /// x in (−q/2, q/2) for x in [0, q). Branch-free.
    pub(super) fn centre(&self, x: u128) -> i128 {
        let above = u128::from(x > self.q >> 1).wrapping_neg();
        x as i128 - (self.q & above) as i128
    }

    /// ⌊x·2^bits/q⌋ for x in [0, q), by long division. Branch-free.
    pub(super) fn high(&self, x: u128, bits: u32) -> u64 {
        let (mut rest, mut out) = (x, 0);
        for _ in 0..bits {
            rest <<= 1;
            let one = u128::from(rest >= self.q);
            rest -= self.q & one.wrapping_neg();
            out = out << 1 | one as u64;
        }
        out
    }

    /// a ← a + b, rows of equal length.
    pub(super) fn add_assign(&self, a: &mut [u64], b: &[u64]) {
        let half = a.len() / 2;
        for (i, (a, &b)) in a.iter_mut().zip(b).enumerate() {
            *a = self.moduli[usize::from(i >= half)].add(*a, b);
        }
    }

    /// Reads a row of `n` residues for either prime.
    pub(super) fn read_row(
        &self,
        n: usize,
        what: &'static str,
        r: &mut Reader<'_>,
    ) -> Result<Vec<u64>, DecodeError> {
        let bits = self.moduli[0].bits();
        let row = read_bits(2 * n, bits, what, r)?;
        let canonical =
            |(m, half): (&Modulus, &[u64])| half.iter().fold(true, |all, &x| all & (x < m.value()));
        match self.moduli.iter().zip(row.chunks(n.max(1))).all(canonical) {
            true => Ok(row),
            false => Err(r.error(what, Fault::Invalid)),
        }
    }

    /// The row of an element.
    pub(super) fn row<R: Representation>(x: &Poly<R>) -> Vec<u64> {
        x.rows().flatten().copied().collect()
    }

    /// The transformed element of a row of its values.
    pub(super) fn values(basis: &Basis, row: &[u64]) -> Poly<Ntt> {
        let mut out = Poly::zero(basis);
        out.rows_mut().zip(row.chunks(basis.n())).for_each(|(to, from)| to.copy_from_slice(from));
        out
    }

    /// The transformed element of a row of its coefficients.
    pub(super) fn transform(basis: &Basis, row: &[u64]) -> Poly<Ntt> {
        let mut out = Poly::<Coeff>::zero(basis);
        out.rows_mut().zip(row.chunks(basis.n())).for_each(|(to, from)| to.copy_from_slice(from));
        out.into_ntt()
    }

    /// The entries of an element at `positions`, as a row.
    pub(super) fn pick(x: &Poly<Coeff>, positions: &[u32]) -> Vec<u64> {
        x.rows().flat_map(|row| positions.iter().map(|&p| row[p as usize])).collect()
    }
}
