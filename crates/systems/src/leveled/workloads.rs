//! Work whose time tells a machine's unit costs ([`super::units::UnitCosts`]).

use oblivia_base::seed::EntropySource;
use oblivia_he::ckks::{Encoder, Encryptor, Evaluator, ExtendedCiphertext};
use oblivia_he::{
    EvaluationKeys, ExtendedPlaintext, HeError, KeyRequest, Moduli, Params, ParamsLiteral, RingKind,
    SecretKey,
};
use oblivia_protocol::Workload;
use std::sync::Arc;

/// Primes of the ring that is timed: a chain of middling length, one prime per digit.
const LIMBS: usize = 4;
/// Keys and plaintexts in use, more than a core's cache holds.
const STEPS: usize = 12;

/// One machine to time, shared by the workloads of a dimension.
struct Bench {
    encoder: Encoder,
    evaluator: Evaluator,
    x: oblivia_he::Ciphertext,
    plains: Vec<ExtendedPlaintext>,
    turned: Vec<ExtendedCiphertext>,
    values: Vec<f64>,
}

const SCALE: f64 = (1u64 << 30) as f64;

impl Bench {
    fn new(log_n: u32, rng: &mut dyn EntropySource) -> Result<Self, HeError> {
        let params = Params::new(&ParamsLiteral {
            kind: RingKind::ConjugateInvariant,
            log_n,
            q: Moduli::Bits(vec![34; LIMBS]),
            p: Moduli::Bits(vec![40]),
            alpha: 1,
            levels: Vec::new(),
        })?;
        let sk = SecretKey::generate(&params, rng);
        let mut request = KeyRequest::new();
        (1..=STEPS).for_each(|s| request.need_rotation(s, LIMBS));
        let keys = EvaluationKeys::generate(&sk, &request, b"", rng)?;
        let (encoder, encryptor) = (Encoder::new(&params), Encryptor::new(&params));
        let values: Vec<f64> = (0..params.slots()).map(|i| (i % 97) as f64 / 97.0 - 0.5).collect();
        let pt = encoder.encode(&values, LIMBS, SCALE)?;
        let x = encryptor.encrypt_symmetric(&sk, &pt, rng)?;
        let evaluator = Evaluator::new(Arc::new(keys));
        let plains =
            (0..STEPS).map(|_| encoder.encode_extended(&values, LIMBS, SCALE)).collect::<Result<_, _>>()?;
        let hoisted = evaluator.hoist(&x)?;
        let turned = (1..=STEPS).map(|s| evaluator.rotate_extended(&hoisted, s)).collect::<Result<_, _>>()?;
        Ok(Self { encoder, evaluator, x, plains, turned, values })
    }
}

/// Runs `f` and drops what it makes; an error has no time.
fn work(
    name: &str,
    log_n: u32,
    rows: usize,
    mut f: impl FnMut() -> Result<(), HeError> + Send + 'static,
) -> Workload {
    let run = Box::new(move || drop(f()));
    Workload { name: format!("{name}/{log_n}"), units: (rows << log_n) as u64, run }
}

/// The work of all dimensions plans use, on keys and ciphertexts made with `rng` that are thrown away.
pub(super) fn all(rng: &mut dyn EntropySource) -> Vec<Workload> {
    let mut found = Vec::new();
    for log_n in 13..=15 {
        let Ok(bench) = Bench::new(log_n, rng) else { continue };
        let b = Arc::new(bench);
        let all = LIMBS + 1;
        let own = b.clone();
        found.push(work("ntt", log_n, LIMBS * all, move || own.evaluator.hoist(&own.x).map(drop)));
        let own = b.clone();
        let Ok(hoisted) = b.evaluator.hoist(&b.x) else { continue };
        found.push(work("key-row", log_n, STEPS * all * 2 * LIMBS, move || {
            (1..=STEPS).try_for_each(|s| own.evaluator.rotate_extended(&hoisted, s).map(drop))
        }));
        let own = b.clone();
        found.push(work("plain-row", log_n, STEPS * all, move || {
            let xs: Vec<&ExtendedCiphertext> = own.turned.iter().collect();
            let ps: Vec<&ExtendedPlaintext> = own.plains.iter().collect();
            own.evaluator.dot_plain_extended(&xs, &ps).map(drop)
        }));
        found.push(work("encode-row", log_n, all, move || {
            b.encoder.encode_extended(&b.values, LIMBS, SCALE).map(drop)
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Bench, LIMBS};
    use oblivia_base::Prg;
    use oblivia_base::codec::Writer;

    #[test]
    fn what_is_timed_comes_from_the_randomness_handed_in() {
        let first = |seed: u8| {
            let bench = Bench::new(13, &mut Prg::new(&[seed; 32], "workloads", &[])).unwrap();
            assert_eq!(bench.x.level(), LIMBS);
            let mut bytes = Writer::new();
            bench.x.encode(&mut bytes);
            bytes.into_bytes()
        };
        assert!(first(1) == first(1), "the same randomness, the same work");
        assert!(first(1) != first(2), "randomness of another place");
    }
}
