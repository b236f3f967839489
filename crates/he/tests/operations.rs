//! Every operation of the evaluator on encrypted slots, against the same on clear ones.

mod common;

use common::*;
use oblivia_base::codec::Writer;
use oblivia_he::ckks::{Place, ScalarMatrix};
use oblivia_he::generic::{ExtendedCiphertext, Factor};
use oblivia_he::{Ciphertext, HeError, KeyRequest, Params, ScalarPlaintext};
use oblivia_ring::RingKind;

const SCALE: f64 = (1u64 << 33) as f64;
const KINDS: [RingKind; 2] = [RingKind::ConjugateInvariant, RingKind::Standard];

/// Two shapes: one limb per digit, and two with a partial last digit.
fn shapes(kind: RingKind) -> [Params; 2] {
    [small(kind, 8, &[40, 33, 33, 33], &[45], 1), small(kind, 8, &[40, 33, 33, 33, 33], &[45, 45], 2)]
}

fn request(level: usize) -> KeyRequest {
    let mut r = KeyRequest::new();
    r.need_relin(level);
    for step in [1, 2, 5, 100] {
        r.need_rotation(step, level);
    }
    r
}

#[test]
fn a_fresh_ciphertext_decrypts_to_its_values_at_every_level() {
    for params in KINDS.iter().flat_map(|k| shapes(*k)) {
        let mut b = Bench::new(&params, &KeyRequest::new(), 1);
        let z = reals(7, params.slots());
        for level in 1..=params.max_level() {
            let ct = b.encrypt(&z, level, SCALE);
            assert_eq!(ct.level(), level);
            assert!(max_error(&b.decrypt(&ct), &z) < 1e-6);
        }
    }
}

#[test]
fn a_public_key_ciphertext_decrypts_to_its_values() {
    for params in KINDS.iter().flat_map(|k| shapes(*k)) {
        let mut b = Bench::new(&params, &KeyRequest::new(), 2);
        let pk = oblivia_he::PublicKey::generate(&b.sk, b"", &mut b.rng);
        let z = reals(8, params.slots());
        for level in [1, params.max_level()] {
            let pt = b.encoder.encode(&z, level, SCALE).unwrap();
            let ct = b.encryptor.encrypt(&pk, &pt, &mut b.rng).unwrap();
            assert!(max_error(&b.decrypt(&ct), &z) < 1e-6);
        }
    }
}

#[test]
fn rotations_move_slots_to_the_left_plain_and_hoisted_on_every_level() {
    for params in KINDS.iter().flat_map(|k| shapes(*k)) {
        let mut b = Bench::new(&params, &request(params.max_level()), 3);
        let z = reals(9, params.slots());
        for level in 1..=params.max_level() {
            let ct = b.encrypt(&z, level, SCALE);
            let steps = [1usize, 0, 5, 100, 2];
            let hoisted = b.evaluator.rotate_hoisted(&ct, &steps).unwrap();
            for (&step, h) in steps.iter().zip(&hoisted) {
                let plain = b.evaluator.rotate(&ct, step).unwrap();
                let expected = rotated(&z, step);
                assert!(max_error(&b.decrypt(&plain), &expected) < 1e-6, "{step} at {level}");
                assert!(max_error(&b.decrypt(h), &expected) < 1e-6, "hoisted {step} at {level}");
            }
        }
    }
}

#[test]
fn sums_and_products_match_clear_arithmetic() {
    for params in KINDS.iter().flat_map(|k| shapes(*k)) {
        let top = params.max_level();
        let mut b = Bench::new(&params, &request(top), 4);
        let (x, y, w) = (reals(1, params.slots()), reals(2, params.slots()), reals(3, params.slots()));
        let (cx, cy) = (b.encrypt(&x, top, SCALE), b.encrypt(&y, top, SCALE));
        let clear =
            |f: &dyn Fn(f64, f64) -> f64| x.iter().zip(&y).map(|(a, b)| f(*a, *b)).collect::<Vec<_>>();

        let mut sum = cx.clone();
        b.evaluator.add_assign(&mut sum, &cy).unwrap();
        assert!(max_error(&b.decrypt(&sum), &clear(&|a, b| a + b)) < 1e-6);
        let mut difference = cx.clone();
        b.evaluator.sub_assign(&mut difference, &cy).unwrap();
        b.evaluator.neg_assign(&mut difference).unwrap();
        assert!(max_error(&b.decrypt(&difference), &clear(&|a, b| b - a)) < 1e-6);
        let py = b.encoder.encode(&y, top, SCALE).unwrap();
        let mut plain = cx.clone();
        b.evaluator.add_plain_assign(&mut plain, &py).unwrap();
        assert!(max_error(&b.decrypt(&plain), &clear(&|a, b| a + b)) < 1e-6);
        b.evaluator.sub_plain_assign(&mut plain, &py).unwrap();
        assert!(max_error(&b.decrypt(&plain), &x) < 1e-6);
        b.evaluator.add_scalar_assign(&mut plain, &ScalarPlaintext::new(-0.375, SCALE).unwrap()).unwrap();
        assert!(max_error(&b.decrypt(&plain), &clear(&|a, _| a - 0.375)) < 1e-6);

        // A plaintext one level below and one encoded above both serve.
        let pw = b.encoder.encode(&w, top, SCALE).unwrap();
        let mut dot = b.evaluator.dot_plain(&[&cx, &cy], &[&pw, &py]).unwrap();
        let expected: Vec<f64> = (0..x.len()).map(|i| x[i] * w[i] + y[i] * y[i]).collect();
        assert!(max_error(&b.decrypt(&dot), &expected) < 1e-6);
        b.evaluator.rescale_assign(&mut dot).unwrap();
        assert!(max_error(&b.decrypt(&dot), &expected) < 1e-6);
        assert_eq!(dot.level(), top - 1);
        let mut low = cx.clone();
        b.evaluator.drop_level_assign(&mut low, top - 1).unwrap();
        assert!(max_error(&b.decrypt(&b.evaluator.mul_plain(&low, &pw).unwrap()), &clear_mul(&x, &w)) < 1e-6);

        let scalars = [0.5, -0.25].map(|c| ScalarPlaintext::new(c, 1024.0).unwrap());
        let dot = b.evaluator.dot_scalar(&[&cx, &cy], &scalars).unwrap();
        assert!(max_error(&b.decrypt(&dot), &clear(&|a, b| 0.5 * a - 0.25 * b)) < 1e-6);

        for level in [top, 2] {
            let (mut lx, mut ly) = (cx.clone(), cy.clone());
            b.evaluator.drop_level_assign(&mut lx, level).unwrap();
            b.evaluator.drop_level_assign(&mut ly, level).unwrap();
            let product = b.evaluator.mul(&lx, &ly).unwrap();
            assert!(max_error(&b.decrypt(&product), &clear(&|a, b| a * b)) < 1e-6);
            let square = b.evaluator.rescale(&b.evaluator.square(&lx).unwrap()).unwrap();
            assert!(max_error(&b.decrypt(&square), &clear(&|a, _| a * a)) < 1e-6, "square at {level}");
        }
        let mut tensor = b.evaluator.tensor(&cx, &cy).unwrap();
        let merged = b.evaluator.relinearise_rescale(&tensor).unwrap();
        assert_eq!(merged.level(), top - 1);
        assert!(max_error(&b.decrypt(&merged), &clear(&|a, b| a * b)) < 1e-6);
        b.evaluator.add_tensor_assign(&mut tensor, &b.evaluator.tensor_square(&cx).unwrap()).unwrap();
        let both = b.evaluator.relinearise(&tensor).unwrap();
        assert!(max_error(&b.decrypt(&both), &clear(&|a, b| a * b + a * a)) < 1e-6);
    }
}

fn clear_mul(x: &[f64], y: &[f64]) -> Vec<f64> {
    x.iter().zip(y).map(|(a, b)| a * b).collect()
}

#[test]
fn transforms_are_as_many_as_the_formulas_say() {
    for params in KINDS.iter().flat_map(|k| shapes(*k)) {
        let mut b = Bench::new(&params, &request(params.max_level()), 5);
        let k = params.special(1).unwrap().limbs() as u64;
        for level in 2..=params.max_level() {
            let ct = b.encrypt(&[0.5], level, SCALE);
            let (l, d) = (level as u64, params.digits(level).unwrap() as u64);
            b.evaluator.take_counts();
            b.evaluator.rotate(&ct, 1).unwrap();
            let counts = b.evaluator.take_counts();
            assert_eq!((counts.rotations, counts.ntt), (1, (d + 2) * (l + k)));
            b.evaluator.rotate_hoisted(&ct, &[0, 1, 2, 5]).unwrap();
            let counts = b.evaluator.take_counts();
            assert_eq!((counts.hoisted, counts.ntt), (3, d * (l + k) + 3 * 2 * (l + k)));
            let square = b.evaluator.square(&ct).unwrap();
            let counts = b.evaluator.take_counts();
            assert_eq!((counts.ct_mul, counts.relin, counts.ntt), (1, 1, (d + 2) * (l + k)));
            b.evaluator.rescale(&square).unwrap();
            let counts = b.evaluator.take_counts();
            assert_eq!((counts.rescale, counts.ntt), (1, 2 * l));
            let p = b.encoder.encode(&[1.0], level, SCALE).unwrap();
            b.evaluator.dot_plain(&[&ct, &ct, &ct], &[&p, &p, &p]).unwrap();
            let counts = b.evaluator.take_counts();
            assert_eq!((counts.pt_mul, counts.add, counts.ntt), (3, 2, 0));
        }
    }
}

#[test]
fn mismatched_operands_are_errors_that_name_both_sides() {
    let params = small(RingKind::ConjugateInvariant, 6, &[40, 33, 33], &[45], 1);
    let mut request = KeyRequest::new();
    request.need_rotation(3, 2);
    request.need_relin(1);
    let mut b = Bench::new(&params, &request, 6);
    let mut high = b.encrypt(&[1.0], 3, SCALE);
    let low = b.encrypt(&[1.0], 2, SCALE);
    let other_scale = b.encrypt(&[1.0], 3, SCALE * 2.0);
    let ev = &b.evaluator;
    assert_eq!(
        ev.add_assign(&mut high, &low).unwrap_err(),
        HeError::LevelMismatch { op: "add", left: 3, right: 2 }
    );
    assert!(matches!(ev.add_assign(&mut high, &other_scale), Err(HeError::ScaleMismatch { .. })));
    assert!(matches!(ev.mul(&high, &low), Err(HeError::MissingRelinKey { level: 3 })));
    assert!(matches!(ev.tensor(&high, &low), Err(HeError::LevelMismatch { .. })));
    assert!(matches!(ev.rotate(&high, 3), Err(HeError::MissingRotationKey { step: 3, level: 3 })));
    assert!(matches!(ev.rotate(&low, 4), Err(HeError::MissingRotationKey { step: 4, level: 2 })));
    assert!(ev.rotate(&low, 3).is_ok());
    assert!(ev.rotate(&low, 3 + params.slots()).is_ok());
    assert!(matches!(ev.rotate_hoisted(&low, &[3, 4]), Err(HeError::MissingRotationKey { .. })));
    assert!(matches!(ev.dot_plain(&[], &[]), Err(HeError::OperandCount { left: 0, right: 0, .. })));
    let p2 = b.encoder.encode(&[1.0], 2, SCALE).unwrap();
    assert!(matches!(ev.dot_plain(&[&high], &[&p2]), Err(HeError::LevelMismatch { .. })));
    assert!(matches!(ev.dot_plain(&[&low], &[&p2, &p2]), Err(HeError::OperandCount { .. })));
    assert!(matches!(ev.drop_level_assign(&mut high, 4), Err(HeError::Level { .. })));
    let mut bottom = b.encrypt(&[1.0], 1, SCALE);
    assert!(matches!(b.evaluator.rescale_assign(&mut bottom), Err(HeError::Level { .. })));
    let stranger = small(RingKind::ConjugateInvariant, 6, &[40, 33, 34], &[45], 1);
    let mut s = Bench::new(&stranger, &KeyRequest::new(), 7);
    let foreign = s.encrypt(&[1.0], 3, SCALE);
    assert!(matches!(b.evaluator.add_assign(&mut high, &foreign), Err(HeError::ParamsMismatch { .. })));
    assert!(matches!(b.evaluator.rotate(&foreign, 3), Err(HeError::ParamsMismatch { .. })));
}

#[test]
fn values_that_do_not_fit_are_refused_by_the_encoder() {
    let params = small(RingKind::ConjugateInvariant, 6, &[40, 33], &[45], 1);
    let encoder = oblivia_he::ckks::Encoder::new(&params);
    assert!(matches!(
        encoder.encode(&[1.0; 65], 1, SCALE),
        Err(HeError::TooManyValues { found: 65, slots: 64 })
    ));
    for bad in [f64::NAN, f64::INFINITY] {
        assert!(matches!(encoder.encode(&[0.0, bad, 1.0], 1, SCALE), Err(HeError::Overflow { bits: 0, .. })));
    }
    assert!(matches!(encoder.encode(&[1e6; 64], 1, SCALE), Err(HeError::Overflow { .. })));
    assert!(encoder.encode(&[1e6; 64], 2, SCALE).is_ok());
    for scale in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(encoder.encode(&[1.0], 1, scale), Err(HeError::Scale { .. })));
    }
    assert!(matches!(encoder.encode(&[1.0], 3, SCALE), Err(HeError::Level { level: 3, max: 2, .. })));
    assert!(matches!(encoder.encode(&[1.0], 0, SCALE), Err(HeError::Level { .. })));
}

/// Σ_d diagonal_d ⊙ (z rotated left by d), with babies modulo QP and giants by one division each.
#[test]
fn double_hoisting_multiplies_by_a_matrix_and_costs_what_the_formula_says() {
    const BABY: usize = 4;
    const GIANTS: usize = 3;
    for params in KINDS.iter().flat_map(|k| shapes(*k)) {
        let (top, slots) = (params.max_level(), params.slots());
        for level in [top, 2] {
            let mut request = KeyRequest::new();
            (1..BABY).for_each(|b| request.need_rotation(b, top));
            (1..GIANTS).for_each(|g| request.need_rotation(g * BABY, top));
            let mut b = Bench::new(&params, &request, 8);
            let z = reals(40, slots);
            let diagonals: Vec<Vec<f64>> = (0..BABY * GIANTS).map(|d| reals(50 + d as u64, slots)).collect();
            let mut expected = vec![0.0; slots];
            for (d, w) in diagonals.iter().enumerate() {
                let turned = rotated(&z, d);
                expected.iter_mut().zip(w.iter().zip(turned)).for_each(|(e, (w, z))| *e += w * z);
            }
            let ct = b.encrypt(&z, level, SCALE);
            let plain: Vec<_> = diagonals
                .iter()
                .enumerate()
                .map(|(d, w)| {
                    let right = rotated(w, slots - d / BABY * BABY);
                    // Encoded at the top, used below: the special rows must be found.
                    b.encoder.encode_extended(&right, top, SCALE).unwrap()
                })
                .collect();
            let ev = &b.evaluator;
            ev.take_counts();
            let hoisted = ev.hoist(&ct).unwrap();
            let babies: Vec<_> = (0..BABY).map(|i| ev.rotate_extended(&hoisted, i).unwrap()).collect();
            let babies: Vec<_> = babies.iter().collect();
            let mut sum = None;
            for g in 0..GIANTS {
                let group: Vec<_> = plain[g * BABY..][..BABY].iter().collect();
                let inner = ev.dot_plain_extended(&babies, &group).unwrap();
                let turned = ev.rotate_giant(&inner, g * BABY).unwrap();
                match &mut sum {
                    None => sum = Some(turned),
                    Some(sum) => ev.add_extended_assign(sum, &turned).unwrap(),
                }
            }
            let sum = sum.unwrap();
            let out = ev.reduce_rescale(&sum).unwrap();
            let counts = ev.take_counts();
            let (l, k, d) = (
                level as u64,
                params.special(1).unwrap().limbs() as u64,
                params.digits(level).unwrap() as u64,
            );
            assert_eq!(counts.ntt, (l + k) * (d + (GIANTS as u64 - 1) * (d + 1) + 2));
            assert_eq!((counts.hoisted, counts.rotations, counts.rescale), (3, 2, 1));
            assert_eq!((counts.pt_mul, counts.add), (12, 9 + 2));
            assert_eq!(out.level(), level - 1);
            assert!(max_error(&b.decrypt(&out), &expected) < 1e-5);
            let late = ev.rescale(&ev.reduce(&sum).unwrap()).unwrap();
            assert!(max_error(&b.decrypt(&late), &expected) < 1e-5);
            // A plaintext of a lower level is refused.
            let short = b.encoder.encode_extended(&z, level - 1, SCALE).unwrap();
            assert!(matches!(
                ev.dot_plain_extended(&babies[..1], &[&short]),
                Err(HeError::LevelMismatch { .. })
            ));
        }
    }
}

#[test]
fn steps_taken_together_are_bit_for_bit_those_taken_one_by_one() {
    for params in KINDS.iter().flat_map(|k| shapes(*k)) {
        let top = params.max_level();
        let mut b = Bench::new(&params, &request(top), 8);
        let (x, y) = (reals(41, params.slots()), reals(42, params.slots()));
        let (x, y) = (b.encrypt(&x, top, SCALE), b.encrypt(&y, top, SCALE));
        let ev = &b.evaluator;
        let bytes = |x: &ExtendedCiphertext<_>| {
            let x = ev.reduce(x).unwrap();
            let mut out = Writer::new();
            x.encode(&mut out);
            out.into_bytes()
        };
        let hoisted = ev.hoist(&x).unwrap();
        let steps = [5, 0, 1, 100, 1];
        let together = ev.rotations_extended(&hoisted, &steps).unwrap();
        assert_eq!(together.len(), steps.len());
        for (&step, turned) in steps.iter().zip(&together) {
            assert_eq!(bytes(turned), bytes(&ev.rotate_extended(&hoisted, step).unwrap()), "step {step}");
        }
        assert!(matches!(ev.rotations_extended(&hoisted, &[1, 3]), Err(HeError::MissingRotationKey { .. })));

        let (x, y) = (ev.extend(&x).unwrap(), ev.extend(&y).unwrap());
        let plus = |sum: &mut ExtendedCiphertext<_>, step: usize, x: &ExtendedCiphertext<_>| {
            ev.add_extended_assign(sum, &ev.rotate_giant(x, step).unwrap()).unwrap();
        };
        for step in [0, 2] {
            let (mut onto, mut sum) = (y.clone(), y.clone());
            ev.take_counts();
            ev.rotate_giant_onto(&mut onto, &x, step).unwrap();
            let counts = ev.take_counts();
            plus(&mut sum, step, &x);
            assert_eq!(counts, ev.take_counts(), "step {step}");
            assert_eq!(bytes(&onto), bytes(&sum), "step {step}");
        }
        let folds: [&[usize]; 6] = [&[], &[0], &[2], &[0, 2], &[1, 2, 5], &[0, 1, 0, 100]];
        for steps in folds {
            let (mut folded, mut sum) = (x.clone(), x.clone());
            ev.fold_extended(&mut folded, steps).unwrap();
            steps.iter().for_each(|&step| plus(&mut sum, step, &x));
            assert_eq!(bytes(&folded), bytes(&sum), "steps {steps:?}");
        }
    }
}

/// Plaintexts kept as coefficients are the plaintexts, and so are sums of products with them.
#[test]
fn compact_plaintexts_stand_for_those_they_expand_to() {
    for params in KINDS.iter().flat_map(|k| shapes(*k)) {
        let (top, slots) = (params.max_level(), params.slots());
        let mut b = Bench::new(&params, &KeyRequest::new(), 8);
        let ct = b.encrypt(&reals(40, slots), top - 1, SCALE);
        let x = b.evaluator.extend(&ct).unwrap();
        // More than are transformed at a time; the last ones do not fit 32 bits.
        let weights: Vec<Vec<f64>> = (0..19)
            .map(|d| reals(50 + d, slots).iter().map(|w| if d > 16 { w * 4096.0 } else { *w }).collect())
            .collect();
        let ready: Vec<_> =
            weights.iter().map(|w| b.encoder.encode_extended(w, top, SCALE).unwrap()).collect();
        let compact: Vec<_> =
            weights.iter().map(|w| b.encoder.encode_compact(w, top, SCALE, true).unwrap()).collect();
        let xs = vec![&x; weights.len()];
        let sums = |factors: Vec<Factor<'_, Params>>| {
            let sums = b.evaluator.dots_plain_extended(&[(&xs, &factors)]).unwrap();
            let mut w = Writer::new();
            b.evaluator.reduce_rescale(&sums[0]).unwrap().encode(&mut w);
            w.into_bytes()
        };
        let mixed = ready.iter().zip(&compact).enumerate();
        let mixed = mixed.map(|(i, (r, c))| if i % 3 == 0 { Factor::Ready(r) } else { Factor::Compact(c) });
        let expected = sums(ready.iter().map(Factor::Ready).collect());
        assert_eq!(sums(compact.iter().map(Factor::Compact).collect()), expected);
        assert_eq!(sums(mixed.collect()), expected);
        for (w, c) in weights.iter().zip(&compact) {
            let [expanded, encoded] = [c.expand(&params), b.encoder.encode(w, top, SCALE)].map(|p| {
                let mut w = Writer::new();
                b.evaluator.mul_plain(&ct, &p.unwrap()).unwrap().encode(&mut w);
                w.into_bytes()
            });
            assert_eq!(expanded, encoded);
        }
        // One that is not for use modulo the special primes is refused.
        let short = b.encoder.encode_compact(&weights[0], top, SCALE, false).unwrap();
        let refused = b.evaluator.dots_plain_extended(&[(&[&x], &[Factor::Compact(&short)])]);
        assert!(matches!(refused, Err(HeError::LevelMismatch { .. })));
    }
}

#[test]
fn scalar_sums_reach_every_coefficient_of_a_large_ring() {
    let params = small(RingKind::ConjugateInvariant, 12, &[40, 33], &[45], 1);
    let mut b = Bench::new(&params, &KeyRequest::new(), 9);
    let (x, y) = (reals(1, 4096), reals(2, 4096));
    let (cx, cy) = (b.encrypt(&x, 2, SCALE), b.encrypt(&y, 2, SCALE));
    let scalars = [0.5, -0.25].map(|c| ScalarPlaintext::new(c, 1024.0).unwrap());
    // The second sum is written into the memory of the first.
    drop(b.evaluator.dot_scalar(&[&cx, &cy], &scalars).unwrap());
    let dot = b.evaluator.dot_scalar(&[&cx, &cy], &scalars).unwrap();
    let expected: Vec<f64> = x.iter().zip(&y).map(|(x, y)| 0.5 * x - 0.25 * y).collect();
    assert!(max_error(&b.decrypt(&dot), &expected) < 1e-6);
    assert_eq!(b.evaluator.take_counts().scalar_mul, 4);
}

fn bytes(ct: &Ciphertext) -> Vec<u8> {
    let mut w = Writer::new();
    ct.encode(&mut w);
    w.into_bytes()
}

#[test]
fn a_scalar_matrix_at_places_gives_the_sums_of_every_place() {
    // Large enough for several pieces of coefficients.
    let params = small(RingKind::ConjugateInvariant, 12, &[40, 26, 33], &[45], 1);
    let mut b = Bench::new(&params, &KeyRequest::new(), 10);
    let cts: Vec<_> = (0..6).map(|i| b.encrypt(&reals(i, 4096), 3, SCALE)).collect();
    let xs: Vec<_> = cts.iter().collect();
    let rows: Vec<Vec<_>> = (0..7)
        .map(|r| reals(90 + r, 4).iter().map(|&c| ScalarPlaintext::new(c, 1024.0).unwrap()).collect())
        .collect();
    let refs: Vec<&[ScalarPlaintext]> = rows.iter().map(Vec::as_slice).collect();
    let matrix = ScalarMatrix::new(&params, 3, &refs).unwrap();
    assert_eq!((matrix.rows(), matrix.columns(), matrix.scale()), (7, 4, 1024.0));
    let place =
        |columns: &[usize], inputs: &[usize]| Place { columns: columns.to_vec(), inputs: inputs.to_vec() };
    let places = [
        place(&[0, 1, 2, 3], &[0, 1, 2, 3]),
        place(&[1, 3], &[5, 0]),
        place(&[0, 1, 2, 3], &[5, 5, 4, 1]),
        place(&[2], &[3]),
    ];
    let all = b.evaluator.dot_scalars_at(&xs, &matrix, &places).unwrap();
    assert_eq!(all.len(), 28);
    let counts = b.evaluator.take_counts();
    assert_eq!((counts.scalar_mul, counts.add), (7 * 11, 7 * 7));
    for (k, y) in all.iter().enumerate() {
        let (place, row) = (&places[k / 7], &rows[k % 7]);
        let inputs: Vec<_> = place.inputs.iter().map(|&i| xs[i]).collect();
        let scalars: Vec<_> = place.columns.iter().map(|&c| row[c]).collect();
        let alone = b.evaluator.dot_scalar(&inputs, &scalars).unwrap();
        assert!(bytes(y) == bytes(&alone), "place {}, row {}", k / 7, k % 7);
    }
    // A matrix serves lower levels, not higher ones.
    let mut low = cts[0].clone();
    b.evaluator.drop_level_assign(&mut low, 2).unwrap();
    let one = [place(&[1], &[0])];
    let y = &b.evaluator.dot_scalars_at(&[&low], &matrix, &one).unwrap()[2];
    assert!(bytes(y) == bytes(&b.evaluator.dot_scalar(&[&low], &rows[2][1..2]).unwrap()));
    let short = ScalarMatrix::new(&params, 2, &refs).unwrap();
    assert!(matches!(b.evaluator.dot_scalars_at(&xs, &short, &one), Err(HeError::LevelMismatch { .. })));
    for wrong in [place(&[4], &[0]), place(&[0], &[6]), place(&[0, 1], &[0])] {
        let refused = b.evaluator.dot_scalars_at(&xs, &matrix, &[wrong]);
        assert!(matches!(refused, Err(HeError::OperandCount { .. })));
    }
    assert!(b.evaluator.dot_scalars_at(&[], &matrix, &one).is_err());
    assert!(ScalarMatrix::new(&params, 4, &refs).is_err());
    assert!(ScalarMatrix::new(&params, 3, &[]).is_err());
    assert!(ScalarMatrix::new(&params, 3, &[refs[0], &refs[1][..3]]).is_err());
}

#[test]
fn values_encrypted_at_once_give_the_bytes_of_encoding_and_encrypting() {
    for params in KINDS.iter().flat_map(|k| shapes(*k)) {
        let b = Bench::new(&params, &KeyRequest::new(), 11);
        let x = reals(3, params.slots());
        for level in 1..=params.max_level() {
            let pt = b.encoder.encode(&x, level, SCALE).unwrap();
            let two_steps = b.encryptor.encrypt_seeded(&b.sk, &pt, b"label", &mut rng(4)).unwrap();
            let one_step = b
                .encryptor
                .encrypt_values_seeded(&b.encoder, &b.sk, &x, (level, SCALE), b"label", &mut rng(4))
                .unwrap();
            let (mut one, mut two) = (Writer::new(), Writer::new());
            one_step.encode(&mut one);
            two_steps.encode(&mut two);
            assert!(one.into_bytes() == two.into_bytes(), "level {level}");
            let (copied, moved) =
                (two_steps.expand(&params, b"label"), one_step.into_expanded(&params, b"label"));
            assert!(bytes(&copied.unwrap()) == bytes(&moved.unwrap()));
        }
        let refused = |x: &[f64], level| {
            b.encryptor.encrypt_values_seeded(&b.encoder, &b.sk, x, (level, SCALE), b"", &mut rng(4))
        };
        assert!(matches!(refused(&[1e6], 1), Err(HeError::Overflow { .. })));
        assert!(matches!(refused(&x, params.max_level() + 1), Err(HeError::Level { .. })));
    }
}
