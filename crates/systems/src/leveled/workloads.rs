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
/// The same where a product is with one digit.
const FEW_LIMBS: usize = 3;
/// Keys in use, more than a core's cache holds.
const STEPS: usize = 12;
/// Plaintexts in use at dimension 8192, a quarter of a gigabyte: those of a network come from memory.
const PLAINS: usize = 1280;

/// Ciphertexts that those plaintexts meet at dimension 8192, as the babies of a wide network more than a core's cache
/// holds.
const BABIES: usize = 64;

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
    /// With `limbs` primes, `alpha` of them per digit and as many special ones, and `plains` plaintexts.
    fn new(
        log_n: u32,
        (limbs, alpha): (usize, usize),
        plains: usize,
        rng: &mut dyn EntropySource,
    ) -> Result<Self, HeError> {
        let params = Params::new(&ParamsLiteral {
            kind: RingKind::ConjugateInvariant,
            log_n,
            q: Moduli::Bits(vec![34; limbs]),
            p: Moduli::Bits(vec![if alpha == 1 { 40 } else { 36 }; alpha]),
            alpha,
            levels: Vec::new(),
        })?;
        let sk = SecretKey::generate(&params, rng);
        let mut request = KeyRequest::new();
        (1..=STEPS).for_each(|s| request.need_rotation(s, limbs));
        let keys = EvaluationKeys::generate(&sk, &request, b"", rng)?;
        let (encoder, encryptor) = (Encoder::new(&params), Encryptor::new(&params));
        let values: Vec<f64> = (0..params.slots()).map(|i| (i % 97) as f64 / 97.0 - 0.5).collect();
        let pt = encoder.encode(&values, limbs, SCALE)?;
        let x = encryptor.encrypt_symmetric(&sk, &pt, rng)?;
        let evaluator = Evaluator::new(Arc::new(keys));
        let plains: Vec<_> =
            (0..plains).map(|_| encoder.encode_extended(&values, limbs, SCALE)).collect::<Result<_, _>>()?;
        let hoisted = evaluator.hoist(&x)?;
        let babies = if plains.is_empty() { 0 } else { BABIES >> (log_n - 13) };
        let turned = (0..babies)
            .map(|k| evaluator.rotate_extended(&hoisted, 1 + k % STEPS))
            .collect::<Result<_, _>>()?;
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
        let plains = PLAINS >> (log_n - 13);
        let Ok(bench) = Bench::new(log_n, (LIMBS, 1), plains, rng) else { continue };
        let Ok(one_digit) = Bench::new(log_n, (FEW_LIMBS, FEW_LIMBS), 0, rng) else { continue };
        let b = Arc::new(bench);
        let all = LIMBS + 1;
        let one_digit = Arc::new(one_digit);
        let own = b.clone();
        let Ok(hoisted) = b.evaluator.hoist(&b.x) else { continue };
        found.push(work("key-row", log_n, STEPS * all * 2 * LIMBS, move || {
            (1..=STEPS).try_for_each(|s| own.evaluator.rotate_extended(&hoisted, s).map(drop))
        }));
        // The constants of a level's transforms stay in a core's cache, but for the largest ring: with one digit every
        // transform reads others.
        let (own, transforms) = match log_n {
            15 => (one_digit.clone(), FEW_LIMBS * 2),
            _ => (b.clone(), LIMBS * all),
        };
        found.push(work("ntt", log_n, transforms, move || own.evaluator.hoist(&own.x).map(drop)));
        let Ok(hoisted) = one_digit.evaluator.hoist(&one_digit.x) else { continue };
        found.push(work("turn-row", log_n, STEPS * 2 * FEW_LIMBS, move || {
            (1..=STEPS).try_for_each(|s| one_digit.evaluator.rotate_extended(&hoisted, s).map(drop))
        }));
        let own = b.clone();
        found.push(work("plain-row", log_n, plains * all, move || {
            let xs: Vec<&ExtendedCiphertext> = own.turned.iter().cycle().take(plains).collect();
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
            let mut rng = Prg::new(&[seed; 32], "workloads", &[]);
            let bench = Bench::new(13, (LIMBS, 1), 1, &mut rng).unwrap();
            assert_eq!(bench.x.level(), LIMBS);
            let mut bytes = Writer::new();
            bench.x.encode(&mut bytes);
            bytes.into_bytes()
        };
        assert!(first(1) == first(1), "the same randomness, the same work");
        assert!(first(1) != first(2), "randomness of another place");
    }
}
