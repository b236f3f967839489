//! What the tests of exact arithmetic share.

use super::{SplitMix64, rng};
use oblivia_base::Prg;
use oblivia_he::bfv::*;
use oblivia_he::{KeyRequest, Moduli, Params, ParamsLiteral, SecretKey};
use oblivia_ring::RingKind;
use std::sync::Arc;

/// One plaintext prime of `t` bits over small parameters that protect nothing.
pub(crate) fn context(log_n: u32, q: &[u32], p: &[u32], alpha: usize, t: u32) -> Context {
    let literal = ParamsLiteral {
        kind: RingKind::Standard,
        log_n,
        q: Moduli::Bits(q.to_vec()),
        p: Moduli::Bits(p.to_vec()),
        alpha,
        levels: Vec::new(),
    };
    let params = Params::insecure_unchecked(&literal).unwrap();
    Context::over(&params, &Moduli::Bits(vec![t])).unwrap().remove(0)
}

/// One side holding everything.
pub(crate) struct Exact {
    pub(crate) context: Context,
    pub(crate) sk: SecretKey,
    pub(crate) encoder: Encoder,
    pub(crate) encryptor: Encryptor,
    pub(crate) evaluator: Evaluator,
    pub(crate) rng: Prg,
}

impl Exact {
    pub(crate) fn new(context: &Context, request: &KeyRequest, seed: u64) -> Self {
        let mut rng = rng(seed);
        let sk = SecretKey::generate(context.params(), &mut rng);
        let keys = context.evaluation_keys(&sk, request, b"", &mut rng).unwrap();
        Self {
            context: context.clone(),
            sk,
            encoder: Encoder::new(context),
            encryptor: Encryptor::new(context),
            evaluator: Evaluator::new(Arc::new(keys)),
            rng,
        }
    }

    pub(crate) fn encrypt(&mut self, values: &[i64], level: usize) -> Ciphertext {
        let pt = self.encoder.encode(values, level, Factor::ONE).unwrap();
        self.encryptor.encrypt_symmetric(&self.sk, &pt, &mut self.rng).unwrap()
    }

    pub(crate) fn decrypt(&self, ct: &Ciphertext) -> Vec<i64> {
        let decryptor = Decryptor::new(&self.context, &self.sk).unwrap();
        self.encoder.decode(&decryptor.decrypt(ct).unwrap()).unwrap()
    }

    pub(crate) fn noise(&self, ct: &Ciphertext) -> Noise {
        Decryptor::new(&self.context, &self.sk).unwrap().noise(ct).unwrap()
    }
}

/// Integers modulo t, centred, from the generator of the vectors' README.
pub(crate) fn residues(seed: u64, t: u64, count: usize) -> Vec<i64> {
    let mut g = SplitMix64(seed);
    (0..count).map(|_| centred(i128::from(g.next() % t), t)).collect()
}

/// x modulo t in (−t/2, t/2).
pub(crate) fn centred(x: i128, t: u64) -> i64 {
    let t = i128::from(t);
    let x = x.rem_euclid(t);
    (if x > t / 2 { x - t } else { x }) as i64
}

/// f of every pair, modulo t.
pub(crate) fn zip(t: u64, x: &[i64], y: &[i64], f: impl Fn(i128, i128) -> i128) -> Vec<i64> {
    x.iter().zip(y).map(|(&x, &y)| centred(f(i128::from(x), i128::from(y)), t)).collect()
}

/// Both rows moved to the left.
pub(crate) fn rotated_rows(v: &[i64], left: usize) -> Vec<i64> {
    let (a, b) = v.split_at(v.len() / 2);
    [a, b].iter().flat_map(|row| row.iter().cycle().skip(left % row.len()).take(row.len()).copied()).collect()
}

/// The rows exchanged.
pub(crate) fn swapped_rows(v: &[i64]) -> Vec<i64> {
    let (a, b) = v.split_at(v.len() / 2);
    [b, a].concat()
}
