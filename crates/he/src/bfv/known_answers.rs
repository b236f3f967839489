//! Encoding, divisions and decryption against big-integer arithmetic, bit for bit.

use super::*;
use crate::secret_key::SecretKey;
use crate::switch::known_answers::{coefficients, ntt};
use crate::switch::{By, Scratch};
use crate::{Moduli, Params, ParamsLiteral};
use oblivia_base::Secret;
use oblivia_ring::{Ntt, Poly, RingKind};
use serde::Deserialize;
use std::sync::atomic::AtomicU64;

#[derive(Deserialize)]
struct Encoding {
    n: usize,
    t: u64,
    values: Vec<i64>,
    coefficients: Vec<i64>,
}

#[derive(Deserialize)]
struct Division {
    what: String,
    t: u64,
    keep: Vec<u64>,
    drop: Vec<u64>,
    input: Vec<Vec<u64>>,
    output: Vec<Vec<u64>>,
}

#[derive(Deserialize)]
struct Decryption {
    n: usize,
    q: Vec<u64>,
    p: Vec<u64>,
    t: u64,
    level: usize,
    factor: i64,
    s: Vec<i64>,
    c0: Vec<Vec<u64>>,
    c1: Vec<Vec<u64>>,
    values: Vec<i64>,
    largest: f64,
    rms: f64,
    cut: Option<[u32; 2]>,
    reply: Option<[Vec<u64>; 2]>,
}

#[derive(Deserialize)]
struct Vectors {
    encode: Vec<Encoding>,
    divide: Vec<Division>,
    decrypt: Vec<Decryption>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../tests/vectors/exact.json")).unwrap()
}

fn context(n: usize, q: Moduli, p: Moduli, t: u64) -> Context {
    let literal =
        ParamsLiteral { kind: RingKind::Standard, log_n: n.ilog2(), q, p, alpha: 1, levels: Vec::new() };
    Context::new(&Params::insecure_unchecked(&literal).unwrap(), t).unwrap()
}

#[test]
fn encoding_equals_fourier_sums_modulo_t() {
    for case in vectors().encode {
        let context = context(case.n, Moduli::Bits(vec![40, 41]), Moduli::Bits(vec![45]), case.t);
        let encoder = Encoder::new(&context);
        let message = encoder.message(&case.values, Factor::ONE).unwrap();
        let m = context.modulus();
        let found: Vec<i64> = message.coefficients().iter().map(|&c| m.centre(c)).collect();
        assert_eq!(found, case.coefficients);
        assert_eq!(encoder.decode(&message).unwrap(), case.values);
        // The plaintext has the same coefficients, modulo every prime.
        let plain = encoder.encode_extended(&case.values, 2, Factor::ONE).unwrap();
        for (i, m) in context.params().extended_basis(2).unwrap().moduli().enumerate() {
            let expected: Vec<u64> = case.coefficients.iter().map(|&c| m.reduce_i64(c)).collect();
            assert_eq!(plain.unpack().into_coeff().row(i), expected);
        }
    }
}

#[test]
fn divisions_equal_big_integers_bit_for_bit() {
    let cases = vectors().divide;
    assert_eq!(cases.len(), 8);
    for case in cases {
        let primes = |list: &[u64]| Moduli::Primes(list.to_vec());
        let (q, p) = match case.what.as_str() {
            "switch" => (primes(&[&*case.keep, &*case.drop].concat()), Moduli::Bits(vec![30])),
            "special" => (primes(&case.keep), primes(&case.drop)),
            "merged" => (primes(&[&*case.keep, &case.drop[..1]].concat()), primes(&case.drop[1..])),
            other => panic!("unknown division {other}"),
        };
        let context = context(case.input[0].len(), q, p, case.t);
        let level = context.params().top();
        let kept = level.q.prefix(case.keep.len());
        let mut out = Poly::<Ntt>::zero(&kept);
        let (mut scratch, count) = (Scratch::new(context.params()), AtomicU64::new(0));
        let top = context.params().max_level();
        let from = if case.what == "switch" { &level.q } else { &level.qp };
        let by = match case.what.as_str() {
            "switch" => By::Last(top, level.rescale.as_ref().unwrap()),
            "special" => By::P(top),
            _ => By::PAndLast(top, level.by_p_and_last.as_ref().unwrap()),
        };
        scratch.divide_of(&context, by, [&ntt(from, &case.input)], &count, |_, i, quotient| {
            quotient.write(None, out.row_mut(i));
        });
        assert_eq!(coefficients(out), case.output, "{} by {:?}", case.what, case.drop);
        assert_eq!(count.into_inner(), (case.keep.len() + case.drop.len()) as u64);
    }
}

#[test]
fn decryption_noise_and_replies_equal_big_integers() {
    for case in vectors().decrypt {
        let context = context(case.n, Moduli::Primes(case.q), Moduli::Primes(case.p), case.t);
        let sk = SecretKey::of_coefficients(context.params(), &Secret::new(case.s));
        let q = context.params().basis(case.level).unwrap();
        let pool = context.params().pool();
        let ct = Ciphertext {
            c0: pool.adopt(ntt(q, &case.c0)),
            c1: pool.adopt(ntt(q, &case.c1)),
            level: case.level,
            scale: context.factor(case.factor).unwrap(),
            id: context.id(),
        };
        let (decryptor, encoder) = (Decryptor::new(&context, &sk).unwrap(), Encoder::new(&context));
        assert_eq!(encoder.decode(&decryptor.decrypt(&ct).unwrap()).unwrap(), case.values);
        let noise = decryptor.noise(&ct).unwrap();
        assert!((noise.largest / case.largest - 1.0).abs() < 1e-12);
        assert!((noise.rms / case.rms - 1.0).abs() < 1e-12);
        let spare = q.log_product() - 1.0 - (case.largest * case.t as f64).log2();
        assert!((noise.spare_bits - spare).abs() < 1e-9);
        if let (Some(cut), Some(expected)) = (case.cut, case.reply) {
            let keys = context
                .evaluation_keys(
                    &sk,
                    &crate::KeyRequest::new(),
                    b"",
                    &mut oblivia_base::Prg::new(&[0; 32], "t", &[]),
                )
                .unwrap();
            let reply = Evaluator::new(std::sync::Arc::new(keys)).reply(&ct, cut).unwrap();
            assert_eq!(reply.halves(), &expected);
            let message = decryptor.decrypt_reply(&reply).unwrap();
            assert_eq!(encoder.decode(&message).unwrap(), case.values);
        }
    }
}
