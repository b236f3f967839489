//! Encoding against exact arithmetic, and decrypted values against Microsoft SEAL.

mod common;

use common::*;
use oblivia_he::ckks::{Decryptor, Encoder};
use oblivia_he::{KeyRequest, Moduli, Params, ParamsLiteral, PublicKey};
use oblivia_ring::RingKind;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Encoding {
    ring: String,
    n: usize,
    log_scale: i32,
    seed: u64,
    re: Option<Vec<f64>>,
    im: Option<Vec<f64>>,
    coefficients: Vec<i64>,
    near_ties: Vec<usize>,
    decoded_re: Option<Vec<f64>>,
    decoded_im: Option<Vec<f64>>,
}

#[test]
fn encoding_equals_exact_arithmetic_coefficient_by_coefficient() {
    let cases: Vec<Encoding> = serde_json::from_str(include_str!("vectors/encoding.json")).unwrap();
    assert_eq!(cases.len(), 12);
    for case in cases {
        let real = case.ring == "conjugate-invariant";
        let kind = if real { RingKind::ConjugateInvariant } else { RingKind::Standard };
        let params = small(kind, case.n.ilog2(), &[40, 34], &[45], 1);
        let encoder = Encoder::new(&params);
        let mut draws = SplitMix64(case.seed);
        let re = draws.reals(params.slots());
        let im = if real { Vec::new() } else { draws.reals(params.slots()) };
        // The reader of JSON may round a number by one unit in the last place; the draws are exact.
        for (given, drawn) in [(case.re, &re), (case.im, &im)] {
            assert!(given.is_none_or(|given| max_error(&given, drawn) < 1e-15));
        }
        let scale = 2f64.powi(case.log_scale);
        assert!(case.near_ties.is_empty());
        assert_eq!(encoder.coefficients(&re, &im, scale).unwrap(), case.coefficients);

        let pt = encoder.encode_complex(&re, &im, 2, scale).unwrap();
        let (found_re, found_im) = encoder.decode_complex(&pt).unwrap();
        for (found, expected) in [(found_re, case.decoded_re), (found_im, case.decoded_im)] {
            if let Some(expected) = expected {
                assert!(max_error(&found, &expected) < 1e-14);
            }
        }
    }
}

#[derive(Deserialize)]
struct Values {
    first: Vec<f64>,
    last: Vec<f64>,
}

#[derive(Deserialize)]
struct Seal {
    n: usize,
    slots: usize,
    log_scale: i32,
    seed: u64,
    results: BTreeMap<String, Values>,
}

/// Bound on the difference of two libraries that each err by less than half of it (README of the vectors).
const BOTH: f64 = 1e-5;

#[test]
fn decrypted_values_agree_with_seal_within_both_error_bounds() {
    let seal: Seal = serde_json::from_str(include_str!("vectors/seal.json")).unwrap();
    let params = Params::new(&ParamsLiteral {
        kind: RingKind::Standard,
        log_n: seal.n.ilog2(),
        q: Moduli::Bits(vec![50, 40, 40]),
        p: Moduli::Bits(vec![50]),
        alpha: 1,
        levels: Vec::new(),
    });
    // SEAL does not ask P to exceed the first digit by the noise; our constructor does.
    assert!(params.is_err());
    let params = Params::new(&ParamsLiteral {
        kind: RingKind::Standard,
        log_n: seal.n.ilog2(),
        q: Moduli::Bits(vec![46, 40, 40]),
        p: Moduli::Bits(vec![50]),
        alpha: 1,
        levels: Vec::new(),
    })
    .unwrap();
    let mut request = KeyRequest::new();
    request.need_relin(3);
    for step in [1, 7, 100, 4095] {
        request.need_rotation(step, 3);
    }
    request.need_rotation(5, 2);
    (0..12).for_each(|i| request.need_rotation(1 << i, 3));
    let mut b = Bench::new(&params, &request, 11);
    let pk = PublicKey::generate(&b.sk, b"", &mut b.rng);
    let mut draws = SplitMix64(seal.seed);
    let (x, y) = (draws.reals(seal.slots), draws.reals(seal.slots));
    let scale = 2f64.powi(seal.log_scale);
    let mut enc = |v: &[f64]| {
        let pt = b.encoder.encode(v, 3, scale).unwrap();
        b.encryptor.encrypt(&pk, &pt, &mut b.rng).unwrap()
    };
    let (cx, cy) = (enc(&x), enc(&y));
    let ev = &b.evaluator;
    let square = ev.rescale(&ev.square(&cx).unwrap()).unwrap();
    let mut dot = ev.rescale(&ev.mul(&cx, &cy).unwrap()).unwrap();
    for i in 0..12 {
        let turned = ev.rotate(&dot, 1 << i).unwrap();
        ev.add_assign(&mut dot, &turned).unwrap();
    }
    let mut sum = cx.clone();
    ev.add_assign(&mut sum, &cy).unwrap();
    let mut found = BTreeMap::from([
        ("fresh".to_string(), cx.clone()),
        ("add".into(), sum),
        ("multiply".into(), ev.rescale(&ev.mul(&cx, &cy).unwrap()).unwrap()),
        ("square_rotate_5".into(), ev.rotate(&square, 5).unwrap()),
        ("fourth_power".into(), ev.rescale(&ev.square(&square).unwrap()).unwrap()),
        ("square".into(), square),
        (
            "multiply_plain".into(),
            ev.rescale(&ev.mul_plain(&cx, &b.encoder.encode(&y, 3, scale).unwrap()).unwrap()).unwrap(),
        ),
        ("dot".into(), dot),
    ]);
    for step in [1, 7, 100, 4095] {
        found.insert(format!("rotate_{step}"), ev.rotate(&cx, step).unwrap());
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), seal.results.keys().collect::<Vec<_>>());
    for (what, ct) in &found {
        let values = b.encoder.decode(&Decryptor::new(&b.sk).decrypt(ct).unwrap()).unwrap();
        let expected = &seal.results[what];
        assert!(max_error(&values[..64], &expected.first) < BOTH, "{what}");
        assert!(max_error(&values[seal.slots - 4..], &expected.last) < BOTH, "{what}");
    }
}
