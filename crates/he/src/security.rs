//! The security table: the largest modulus a dimension allows at 128 bits of classical security.
//!
//! Source: HomomorphicEncryption.org, *Homomorphic Encryption Standard* (2018), table 1, classical attacks,
//! uniform ternary secret, error σ = 3.2. The modulus counted is QP, special primes included, because
//! evaluation keys live modulo QP.
//!
//! The conjugate-invariant ring is looked up by its rank n. The table does not name that ring; the reason to
//! use the same row is Kim and Song (ePrint 2018/952): by Peikert, Regev and Stephens-Davidowitz (STOC 2017) its
//! hardness reduces from ideal lattices of the same rank, and no better attack than the generic one at
//! dimension n is known.

use crate::HeError;

/// (ring dimension n, largest bit length of QP) for 128-bit classical security, uniform ternary secret.
pub const TERNARY_128_CLASSICAL: [(usize, u32); 6] =
    [(1024, 27), (2048, 54), (4096, 109), (8192, 218), (16384, 438), (32768, 881)];

/// Largest log2(QP) at `dimension`, bits.
///
/// # Errors
/// [`HeError::NotInSecurityTable`] for a dimension without a row.
pub fn max_log_qp(dimension: usize) -> Result<u32, HeError> {
    TERNARY_128_CLASSICAL
        .iter()
        .find(|(n, _)| *n == dimension)
        .map(|(_, max)| *max)
        .ok_or(HeError::NotInSecurityTable { dimension })
}

/// Refuses primes whose product is not below 2^max.
///
/// # Errors
/// [`HeError::AboveSecurityTable`] or [`HeError::NotInSecurityTable`].
pub fn check(dimension: usize, primes: &[u64]) -> Result<(), HeError> {
    let max = max_log_qp(dimension)?;
    if product_bits(primes) <= u64::from(max) {
        return Ok(());
    }
    let log_qp = primes.iter().map(|&p| (p as f64).log2()).sum();
    Err(HeError::AboveSecurityTable { dimension, log_qp, max })
}

/// Bit length of the product, exactly: the decision must be the same on every machine.
fn product_bits(primes: &[u64]) -> u64 {
    let mut limbs = vec![1u64];
    for &p in primes {
        let mut carry = 0u128;
        for limb in &mut limbs {
            carry += u128::from(*limb) * u128::from(p);
            *limb = carry as u64;
            carry >>= 64;
        }
        if carry > 0 {
            limbs.push(carry as u64);
        }
    }
    let top = limbs.last().copied().unwrap_or(0);
    64 * (limbs.len() as u64 - 1) + u64::from(u64::BITS - top.leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_of_exactly_the_allowed_bits_passes_and_one_more_bit_does_not() {
        let p = (1 << 27) - 39; // below 2^27
        assert_eq!(check(1024, &[p]), Ok(()));
        assert_eq!(check(2048, &[p, p]), Ok(()));
        let e = check(1024, &[(1 << 27) + 1]).unwrap_err();
        assert!(matches!(e, HeError::AboveSecurityTable { dimension: 1024, max: 27, .. }));
        assert!(check(2048, &[p, p, 3]).is_err());
    }

    #[test]
    fn dimensions_outside_the_table_are_refused() {
        for n in [512, 65536, 3000] {
            assert_eq!(max_log_qp(n), Err(HeError::NotInSecurityTable { dimension: n }));
        }
    }

    #[test]
    fn bit_lengths_of_products_are_exact() {
        assert_eq!(product_bits(&[]), 1);
        assert_eq!(product_bits(&[1 << 49, 1 << 49, 1 << 49]), 148);
        assert_eq!(product_bits(&[(1 << 32) - 1, (1 << 32) + 1]), 64);
    }
}
