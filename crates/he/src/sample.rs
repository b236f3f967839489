//! Samplers of secrets and errors.

use crate::params::ERROR_STD;
use oblivia_base::Secret;
use oblivia_ring::Modulus;
use rand_core::{CryptoRng, Rng};
use std::sync::LazyLock;

/// Largest error: probabilities beyond are below 2^-63 and left out.
const TAIL: usize = 30;

/// out ← uniform residues, by rejection.
pub(crate) fn uniform_row<R: Rng + CryptoRng + ?Sized>(m: &Modulus, rng: &mut R, out: &mut [u64]) {
    let mask = (1u64 << m.bits()) - 1;
    for o in out {
        *o = loop {
            let x = rng.next_u64() & mask;
            if x < m.value() {
                break x;
            }
        };
    }
}

/// n uniform values of −1, 0, 1.
pub(crate) fn ternary<R: Rng + CryptoRng + ?Sized>(n: usize, rng: &mut R) -> Secret<Vec<i8>> {
    Secret::new((0..n).map(|_| ((u128::from(rng.next_u64()) * 3) >> 64) as i8 - 1).collect())
}

static CUMULATIVE: LazyLock<Vec<u64>> = LazyLock::new(|| {
    let weight = |x: usize| (-((x * x) as f64) / (2.0 * ERROR_STD * ERROR_STD)).exp();
    let total = 1.0 + 2.0 * (1..=TAIL).map(weight).sum::<f64>();
    let mut sum = 0.0;
    (0..TAIL)
        .map(|x| {
            sum += weight(x) * if x == 0 { 1.0 } else { 2.0 } / total;
            (sum * 2f64.powi(63)) as u64
        })
        .collect()
});

/// out ← errors of standard deviation 3.2, by comparison with a whole table.
pub(crate) fn gaussian<R: Rng + CryptoRng + ?Sized>(rng: &mut R, out: &mut [i64]) {
    for o in out {
        let draw = rng.next_u64();
        let (u, sign) = (draw >> 1, (draw & 1) as i64);
        let x: i64 = CUMULATIVE.iter().map(|&c| i64::from(c <= u)).sum();
        *o = (x ^ -sign) + sign;
    }
}
