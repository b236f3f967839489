use super::context::Context;
use super::{Ciphertext, Evaluator, PublicKey};
use crate::HeError;
use crate::encryptor;
use crate::plaintext::check_id;
use oblivia_base::seed::EntropySource;
use oblivia_ring::{Modulus, kernel, sample};
use zeroize::Zeroizing;

/// Largest |X| of a flood, in units of 2^k.
pub(super) const FLOOD_PEAK: f64 = sample::GAUSSIAN_BOUND as f64 + 1.0;

/// Most k: beyond the modulus of every dimension of the security table.
const MAX_LOG_WIDTH: u32 = 900;

/// Noise that hides the noise of a computation: every coefficient of the phase gets t·X with
/// X = 2^k·Y + U + U' − (2^k − 1), Y a discrete Gaussian with σ = 3.2, U and U' uniform in \[0, 2^k). |X| < 30·2^k.
///
/// Distance: X has the density of Y interpolated linearly, with Fisher information Σ_b (P(b+1) − P(b))·ln(P(b+1)/P(b)) =
/// 1/σ² in units of 2^k (summation by parts). Moving a density with information J per coefficient by the
/// vector e changes it by at most ‖e‖·√J/2 in statistical distance (½∫|e·∇f| and Cauchy–Schwarz, along the way). So
/// two computations with noises e, e' of norm at most N give replies within N/(3.2·2^k) of each other, within
/// N/(6.4·2^k) of one that depends on the message alone; the tails that Y lacks add n·2^-60.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flood {
    log_width: u32,
}

impl Flood {
    /// Width 2^k, k = `log_width`; see [`super::NoiseModel::flooding`] for the least that suffices.
    pub fn new(log_width: u32) -> Self {
        Self { log_width: log_width.clamp(1, MAX_LOG_WIDTH) }
    }

    /// k.
    pub fn log_width(self) -> u32 {
        self.log_width
    }
}

impl Evaluator {
    /// Makes a ciphertext tell the owner of the key its message and nothing else: adds a fresh encryption of zero with
    /// `pk`, which makes c1 pseudo-random, and then [`Flood`] noise, which hides what is left in the phase, the noise of
    /// that encryption included. Do this before anything is dropped from the last result, and send what comes after.
    ///
    /// It assumes a public key made honestly from its seed; the factor and the level stay visible.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], or [`HeError::Overflow`] if the noise alone reaches Q/2.
    pub fn flood(
        &self,
        x: &Ciphertext,
        pk: &PublicKey,
        flood: Flood,
        rng: &mut dyn EntropySource,
    ) -> Result<Ciphertext, HeError> {
        x.check(&self.scheme)?;
        check_id(&self.id, &pk.scheme().id(), "public key")?;
        let q = &self.params().level("flood", x.level())?.q;
        let needed = FLOOD_PEAK.log2() + f64::from(flood.log_width) + (self.scheme.t() as f64).log2() + 1.0;
        if needed >= q.log_product() {
            return Err(HeError::Overflow { bits: needed as u32 + 1, max: q.log_product() as u32 });
        }
        let [mut c0, mut c1] = encryptor::zero(pk, x.level(), rng)?;
        c0.add_assign(&x.c0);
        c1.add_assign(&x.c1);
        let noise = Wide::sample(self.params().n(), flood.log_width, rng);
        let mut row = Zeroizing::new(vec![0u64; self.params().n()]);
        for (table, out) in q.tables().zip(c0.rows_mut()) {
            noise.reduce_into(&self.scheme, table.modulus(), &mut row);
            kernel::forward(table, &mut row);
            kernel::add_assign(table.modulus(), out, &row);
        }
        Ok(Ciphertext { c0, c1, level: x.level, scale: x.scale, id: x.id })
    }
}

/// Samples of X, as Y and the words of U and U'.
struct Wide {
    log_width: u32,
    gaussian: Zeroizing<Vec<i64>>,
    /// Both uniform numbers of one coefficient after the other, low word first.
    uniform: Zeroizing<Vec<u64>>,
}

impl Wide {
    fn sample(n: usize, log_width: u32, rng: &mut dyn EntropySource) -> Self {
        let words = log_width.div_ceil(64) as usize;
        let mut gaussian = Zeroizing::new(vec![0i64; n]);
        sample::gaussian(rng, &mut gaussian);
        let mut uniform = Zeroizing::new(vec![0u64; 2 * n * words]);
        let mut bytes = Zeroizing::new([0u8; 2048]);
        for chunk in uniform.chunks_mut(256) {
            let bytes = &mut bytes[..8 * chunk.len()];
            rng.fill_bytes(bytes);
            for (word, b) in chunk.iter_mut().zip(bytes.chunks_exact(8)) {
                *word = b.iter().rev().fold(0, |w, &b| w << 8 | u64::from(b));
            }
        }
        let top = log_width - 64 * (words as u32 - 1); // 1 to 64 bits
        for number in uniform.chunks_mut(words) {
            if let Some(last) = number.last_mut() {
                *last &= u64::MAX >> (64 - top);
            }
        }
        Self { log_width, gaussian, uniform }
    }

    /// out ← t·X modulo q. No branch on the samples.
    fn reduce_into(&self, context: &Context, m: &Modulus, out: &mut [u64]) {
        let t = m.reduce_u64(context.t());
        let power = |bits: u32| m.pow(m.reduce_u64(2), u64::from(bits));
        let words = self.log_width.div_ceil(64) as usize;
        let width = m.mul(t, power(self.log_width));
        // t·2^(64·j), for both numbers.
        let weights: Vec<_> =
            (0..2 * words).map(|j| m.shoup(m.mul(t, power(64 * (j % words) as u32)))).collect();
        let shift = m.sub(width, t); // t·(2^k − 1)
        let width = m.shoup(width);
        let uniform = self.uniform.chunks_exact(2 * words);
        for ((out, &y), uniform) in out.iter_mut().zip(self.gaussian.iter()).zip(uniform) {
            let start = m.sub(m.mul_shoup(m.reduce_i64(y), width), shift);
            *out = uniform
                .iter()
                .zip(&weights)
                .fold(start, |sum, (&u, &w)| m.add(sum, m.mul_shoup(m.reduce_u64(u), w)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Moduli, Params, ParamsLiteral};
    use oblivia_base::Prg;
    use oblivia_ring::{Coeff, Poly, RingKind};

    #[test]
    fn flooding_noise_is_the_same_integer_modulo_every_prime_with_the_stated_moments() {
        let params = Params::insecure_unchecked(&ParamsLiteral {
            kind: RingKind::Standard,
            log_n: 13,
            q: Moduli::Bits(vec![40, 41, 42]),
            p: Moduli::Bits(vec![45]),
            alpha: 1,
            levels: Vec::new(),
        })
        .unwrap();
        let context = Context::over(&params, &Moduli::Bits(vec![20])).unwrap().remove(0);
        let q = params.basis(3).unwrap();
        for k in [1, 20, 64, 65, 90] {
            let noise = Wide::sample(params.n(), k, &mut Prg::new(&[k as u8; 32], "flood test", &[]));
            let mut poly = Poly::<Coeff>::zero(q);
            for (m, row) in q.moduli().zip(poly.rows_mut()) {
                noise.reduce_into(&context, m, row);
            }
            let mut integers = vec![0i128; params.n()];
            poly.lift_centred_i128(&mut integers).unwrap();
            let (t, width) = (i128::from(context.t()), 2f64.powi(k as i32));
            let (mut mean, mut square) = (0.0, 0.0);
            for &x in &integers {
                assert_eq!(x % t, 0);
                let x = (x / t) as f64 / width;
                assert!(x.abs() < FLOOD_PEAK);
                mean += x / params.n() as f64;
                square += x * x / params.n() as f64;
            }
            // σ² + 2/12·(1 − 4^-k); the mean of 8192 within 6 standard deviations, the variance within 10 %.
            let variance = 3.2f64.powi(2) + (1.0 - 0.25f64.powi(k as i32)) / 6.0;
            assert!(mean.abs() < 6.0 * (variance / params.n() as f64).sqrt(), "{k}: mean {mean}");
            assert!((square / variance - 1.0).abs() < 0.1, "{k}: {square} against {variance}");
            // The uniform parts reach all their bits: low words are not all alike.
            let distinct: std::collections::BTreeSet<_> = integers.iter().collect();
            assert!(k < 20 || distinct.len() > params.n() - 10);
        }
    }
}
