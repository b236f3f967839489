//! What the tests share.
#![allow(dead_code, reason = "each test binary uses a part: no expectation holds in all of them")]
#![expect(clippy::unwrap_used, reason = "test support: a failed unwrap is a failed test")]

pub(crate) mod exact;

use oblivia_base::Prg;
use oblivia_he::ckks::{Decryptor, Encoder, Encryptor, Evaluator};
use oblivia_he::{Ciphertext, EvaluationKeys, KeyRequest, Moduli, Params, ParamsLiteral, SecretKey};
use oblivia_ring::RingKind;
use std::sync::Arc;

pub(crate) fn rng(seed: u64) -> Prg {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    Prg::new(&key, "he tests", &[])
}

/// Small parameters that protect nothing.
pub(crate) fn small(kind: RingKind, log_n: u32, q: &[u32], p: &[u32], alpha: usize) -> Params {
    let literal = ParamsLiteral {
        kind,
        log_n,
        q: Moduli::Bits(q.to_vec()),
        p: Moduli::Bits(p.to_vec()),
        alpha,
        levels: Vec::new(),
    };
    Params::insecure_unchecked(&literal).unwrap()
}

/// The parameters of the first MNIST plan: dimension 8192, conjugate-invariant.
pub(crate) fn mnist(p_bits: u32) -> ParamsLiteral {
    ParamsLiteral {
        kind: RingKind::ConjugateInvariant,
        log_n: 13,
        q: Moduli::Bits(vec![34, 26, 33, 26, 33, 26]),
        p: Moduli::Bits(vec![p_bits]),
        alpha: 1,
        levels: Vec::new(),
    }
}

/// One side holding everything.
pub(crate) struct Bench {
    pub(crate) params: Params,
    pub(crate) sk: SecretKey,
    pub(crate) encoder: Encoder,
    pub(crate) encryptor: Encryptor,
    pub(crate) evaluator: Evaluator,
    pub(crate) rng: Prg,
}

impl Bench {
    pub(crate) fn new(params: &Params, request: &KeyRequest, seed: u64) -> Self {
        let mut rng = rng(seed);
        let sk = SecretKey::generate(params, &mut rng);
        let keys = EvaluationKeys::generate(&sk, request, b"", &mut rng).unwrap();
        Self {
            params: params.clone(),
            sk,
            encoder: Encoder::new(params),
            encryptor: Encryptor::new(params),
            evaluator: Evaluator::new(Arc::new(keys)),
            rng,
        }
    }

    pub(crate) fn encrypt(&mut self, values: &[f64], level: usize, scale: f64) -> Ciphertext {
        let pt = self.encoder.encode(values, level, scale).unwrap();
        self.encryptor.encrypt_symmetric(&self.sk, &pt, &mut self.rng).unwrap()
    }

    pub(crate) fn decrypt(&self, ct: &Ciphertext) -> Vec<f64> {
        self.encoder.decode(&Decryptor::new(&self.sk).decrypt(ct).unwrap()).unwrap()
    }
}

/// Reals in [-1, 1) from the generator of the vectors' README.
pub(crate) struct SplitMix64(pub(crate) u64);

impl SplitMix64 {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn reals(&mut self, count: usize) -> Vec<f64> {
        let unit = (1u64 << 52) as f64;
        (0..count).map(|_| ((self.next() >> 11) as i64 - (1 << 52)) as f64 / unit).collect()
    }
}

pub(crate) fn reals(seed: u64, count: usize) -> Vec<f64> {
    SplitMix64(seed).reals(count)
}

/// Largest difference.
pub(crate) fn max_error(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
}

pub(crate) fn std_of_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    (a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>() / a.len() as f64).sqrt()
}

pub(crate) fn rotated(v: &[f64], left: usize) -> Vec<f64> {
    let mut v = v.to_vec();
    v.rotate_left(left);
    v
}
