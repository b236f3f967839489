//! Chains whose levels have bases of their own.

mod common;

use common::{Bench, max_error};
use oblivia_base::codec::{Decode, Encode};
use oblivia_he::noise::{BOUND_FACTOR_2_40, Estimate, NoiseModel};
use oblivia_he::{
    EvaluationKeys, HeError, KeyRequest, LevelLiteral, Moduli, Params, ParamsLiteral, RingKind,
};

const KINDS: [RingKind; 2] = [RingKind::Standard, RingKind::ConjugateInvariant];
const SCALE: f64 = (1u64 << 33) as f64;

/// Five levels: 178, 152, 119, 93 and 60 bits. Levels 5 and 4 share primes, the digits of level 3 are pairs, level 1 is the
/// start of level 2, which has the special primes of level 1.
fn literal(kind: RingKind, log_n: u32) -> ParamsLiteral {
    let level = |q: &[usize], p: &[usize], alpha| LevelLiteral { q: q.to_vec(), p: p.to_vec(), alpha };
    ParamsLiteral {
        kind,
        log_n,
        //                     0   1   2   3   4   5   6   7   8   9
        q: Moduli::Bits(vec![36, 36, 36, 35, 35, 40, 40, 30, 30, 46]),
        //                    10  11  12
        p: Moduli::Bits(vec![44, 45, 40]),
        alpha: 1,
        levels: vec![
            level(&[7, 8], &[10, 11], 2),
            level(&[7, 8, 4], &[10, 11], 2),
            level(&[5, 6, 3], &[0, 9, 10], 2),
            level(&[0, 1, 5, 6], &[10], 1),
            level(&[0, 1, 2, 3, 4], &[12], 1),
        ],
    }
}

#[expect(clippy::unwrap_used, reason = "a helper of the tests, which unwrap too")]
fn params(kind: RingKind, log_n: u32) -> Params {
    Params::insecure_unchecked(&literal(kind, log_n)).unwrap()
}

/// Three levels: 103, 72 and 40 bits. The one prime of level 1 is a special one of level 2: the division of a switch there
/// and that of the rescale behind it, made one, leave it where it is. Level 3 has one prime of level 2 in either place.
#[expect(clippy::unwrap_used, reason = "a helper of the tests, which unwrap too")]
fn overlapping(kind: RingKind) -> Params {
    let level = |q: &[usize], p: &[usize]| LevelLiteral { q: q.to_vec(), p: p.to_vec(), alpha: 1 };
    let literal = ParamsLiteral {
        kind,
        log_n: 10,
        //                     0   1   2   3   4
        q: Moduli::Bits(vec![40, 36, 36, 33, 34]),
        //                     5
        p: Moduli::Bits(vec![45]),
        alpha: 1,
        levels: vec![level(&[0], &[5]), level(&[1, 2], &[0, 5]), level(&[3, 1, 4], &[2, 5])],
    };
    Params::insecure_unchecked(&literal).unwrap()
}

fn request(levels: std::ops::RangeInclusive<usize>) -> KeyRequest {
    let mut r = KeyRequest::new();
    for level in levels {
        r.need_relin(level);
        [1, 2, 3, 4, 8].iter().for_each(|&step| r.need_rotation(step, level));
    }
    r
}

fn values(params: &Params) -> Vec<f64> {
    (0..params.slots()).map(|i| ((i * i) % 17) as f64 / 16.0 - 0.5).collect()
}

fn turned(x: &[f64], left: usize) -> Vec<f64> {
    (0..x.len()).map(|i| x[(i + left) % x.len()]).collect()
}

#[test]
fn every_operation_is_right_on_every_level() {
    for params in KINDS.into_iter().flat_map(|kind| [params(kind, 10), overlapping(kind)]) {
        let top = params.max_level();
        let mut b = Bench::new(&params, &request(1..=top), 1);
        let x = values(&params);
        for level in 1..=top {
            let ct = b.encrypt(&x, level, SCALE);
            assert!(max_error(&b.decrypt(&ct), &x) < 1e-6);
            for step in [1, 3] {
                let y = b.evaluator.rotate(&ct, step).unwrap();
                assert_eq!(y.level(), level);
                assert!(max_error(&b.decrypt(&y), &turned(&x, step)) < 1e-5, "level {level}");
            }
            let both = b.evaluator.rotate_hoisted(&ct, &[2, 4]).unwrap();
            assert!(max_error(&b.decrypt(&both[1]), &turned(&x, 4)) < 1e-5, "level {level}");
            if level == 1 {
                assert!(matches!(b.evaluator.rescale(&ct), Err(HeError::Level { .. })));
                continue;
            }
            // Products: rescaled at once, and by the merged division.
            let divisor = params.rescale_divisor(level).unwrap();
            let weight = b.encoder.encode(&x, level, divisor).unwrap();
            let squares: Vec<f64> = x.iter().map(|v| v * v).collect();
            let y = b.evaluator.rescale(&b.evaluator.mul_plain(&ct, &weight).unwrap()).unwrap();
            assert_eq!((y.level(), y.scale().to_bits()), (level - 1, SCALE.to_bits()));
            assert!(max_error(&b.decrypt(&y), &squares) < 1e-4, "level {level}");
            let product = b.evaluator.tensor_square(&ct).unwrap();
            let y = b.evaluator.relinearise_rescale(&product).unwrap();
            assert!(max_error(&b.decrypt(&y), &squares) < 1e-4, "level {level}");
            let late = b.evaluator.rescale(&b.evaluator.relinearise(&product).unwrap()).unwrap();
            assert!(max_error(&b.decrypt(&late), &squares) < 1e-4, "level {level}");
            // A matrix product: baby, giant and fold steps.
            let (ev, encoder) = (&b.evaluator, &b.encoder);
            let hoisted = ev.hoist(&ct).unwrap();
            let babies: Vec<_> = [0, 1].map(|s| ev.rotate_extended(&hoisted, s).unwrap()).into();
            let diagonal = |f: f64| {
                let values: Vec<f64> = x.iter().map(|v| f * v).collect();
                (encoder.encode_extended(&values, level, divisor).unwrap(), values)
            };
            let [(p0, w0), (p1, w1)] = [diagonal(0.5), diagonal(-0.25)];
            let refs: Vec<_> = babies.iter().collect();
            let mut sum = ev.dot_plain_extended(&refs, &[&p0, &p1]).unwrap();
            let x1 = turned(&x, 1);
            let mut expected: Vec<f64> = (0..x.len()).map(|i| x[i] * w0[i] + x1[i] * w1[i]).collect();
            sum = ev.rotate_giant(&sum, 8).unwrap();
            expected = turned(&expected, 8);
            ev.fold_extended(&mut sum, &[1, 2, 3]).unwrap();
            let parts = [0, 1, 2, 3].map(|s| turned(&expected, s));
            let expected: Vec<f64> = (0..x.len()).map(|i| parts.iter().map(|p| p[i]).sum()).collect();
            let y = ev.reduce_rescale(&sum).unwrap();
            assert_eq!((y.level(), y.scale().to_bits()), (level - 1, SCALE.to_bits()));
            assert!(max_error(&b.decrypt(&y), &expected) < 1e-4, "level {level}");
            let late = b.evaluator.rescale(&b.evaluator.reduce(&sum).unwrap()).unwrap();
            assert!(max_error(&b.decrypt(&late), &expected) < 1e-4, "level {level}");
        }
    }
}

#[test]
fn divisions_between_bases_leave_no_error_beyond_the_models() {
    for kind in KINDS {
        let params = params(kind, 10);
        let model = NoiseModel::new(&params);
        let mut b = Bench::new(&params, &KeyRequest::new(), 2);
        let x = values(&params);
        for level in 2..=5 {
            let scale = params.rescale_divisor(level).unwrap() * 2f64.powi(20);
            let y = {
                let ct = b.encrypt(&x, level, scale);
                b.evaluator.rescale(&ct).unwrap()
            };
            let expected = model.rescale(Estimate::exact(0.5), level, y.scale()).unwrap();
            let error: Vec<f64> = b.decrypt(&y).iter().zip(&x).map(|(a, b)| a - b).collect();
            let std = (error.iter().map(|e| e * e).sum::<f64>() / error.len() as f64).sqrt();
            let ratio = std / expected.error.std;
            assert!((0.4..1.3).contains(&ratio), "level {level}: {ratio}");
            let worst = error.iter().fold(0.0, |m: f64, e| m.max(e.abs()));
            assert!(worst < expected.error_bound(BOUND_FACTOR_2_40));
        }
    }
}

#[test]
fn a_special_prime_that_is_in_the_modulus_below_stays_when_switch_and_rescale_divide_at_once() {
    for kind in KINDS {
        let params = overlapping(kind);
        let model = NoiseModel::new(&params);
        assert_eq!([2, 3].map(|level| params.dropped_primes(level).unwrap()), [[2, 3], [2, 3]]);
        // Nothing of one level is known at the next.
        for (high, low) in [(3, 2), (2, 1), (3, 1)] {
            assert!(!params.serves(high, low, false) && !params.key_serves(high, low));
        }
        let mut b = Bench::new(&params, &request(2..=3), 6);
        let x = values(&params);
        for level in [2, 3] {
            let [_, merged] = params.dropped_primes(level).unwrap();
            let (digits, below) = (params.digits(level).unwrap(), params.basis(level - 1).unwrap().limbs());
            let all = params.extended_basis(level).unwrap().limbs();
            let ct = b.encrypt(&x, level, SCALE);
            let product = b.evaluator.tensor_square(&ct).unwrap();
            b.evaluator.take_counts();
            let y = b.evaluator.relinearise_rescale(&product).unwrap();
            assert_eq!(b.evaluator.take_counts().ntt, (digits * all + 2 * (merged + below)) as u64);
            // Against the square of what was decrypted: errors of the input left out.
            let error: Vec<f64> = b.decrypt(&y).iter().zip(b.decrypt(&ct)).map(|(y, x)| y - x * x).collect();
            let std = (error.iter().map(|e| e * e).sum::<f64>() / error.len() as f64).sqrt();
            let expected = model.key_switch_rescale(Estimate::exact(0.25), level, SCALE * SCALE).unwrap();
            let ratio = std / expected.error.std;
            assert!((0.4..1.3).contains(&ratio), "level {level}: {ratio}");
        }
    }
}

#[test]
fn transforms_follow_the_primes_of_each_level() {
    let params = params(RingKind::ConjugateInvariant, 10);
    let mut b = Bench::new(&params, &request(1..=5), 3);
    // Limbs, special primes, digits; primes that a rescale drops, alone and with P.
    let shapes = [(2, 2, 1, 0, 2), (3, 2, 2, 1, 3), (3, 3, 2, 3, 6), (4, 1, 4, 2, 3), (5, 1, 5, 3, 4)];
    for (level, (l, k, d, alone, merged)) in (1..).zip(shapes) {
        let dropped = params.dropped_primes(level).unwrap();
        assert_eq!(dropped, [alone, merged], "level {level}");
        assert_eq!((params.basis(level).unwrap().limbs(), params.digits(level).unwrap()), (l, d));
        let ct = b.encrypt(&[0.5], level, SCALE);
        b.evaluator.take_counts();
        b.evaluator.rotate(&ct, 1).unwrap();
        assert_eq!(b.evaluator.take_counts().ntt, ((d + 2) * (l + k)) as u64);
        if level > 1 {
            let below = params.basis(level - 1).unwrap().limbs();
            b.evaluator.rescale(&ct).unwrap();
            assert_eq!(b.evaluator.take_counts().ntt, 2 * (alone + below) as u64);
            b.evaluator.relinearise_rescale(&b.evaluator.tensor_square(&ct).unwrap()).unwrap();
            assert_eq!(b.evaluator.take_counts().ntt, (d * (l + k) + 2 * (merged + below)) as u64);
        }
    }
}

#[test]
fn a_key_serves_the_levels_that_start_like_its_own() {
    let params = params(RingKind::ConjugateInvariant, 10);
    let serving: Vec<(usize, usize)> = (1..=5)
        .flat_map(|high| (1..=5).map(move |low| (high, low)))
        .filter(|&(high, low)| params.key_serves(high, low))
        .collect();
    assert_eq!(serving, [(1, 1), (2, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
    let asked = request(1..=5);
    let reduced = asked.reduced(&params);
    assert_eq!((asked.len(), reduced.len()), (30, 24));
    assert_eq!(reduced.reduced(&params), reduced);
    assert_eq!(KeyRequest::from_bytes(&reduced.to_bytes()).unwrap(), reduced);

    let mut b = Bench::new(&params, &request(2..=3), 4);
    let keys = EvaluationKeys::generate(&b.sk, &request(1..=3), b"k", &mut b.rng).unwrap();
    assert_eq!((keys.request().len(), keys.to_bytes().len()), (12, request(1..=3).encoded_bytes(&params)));
    let read = EvaluationKeys::from_bytes(&params, &request(1..=3), b"k", &keys.to_bytes()).unwrap();
    assert_eq!(read.to_bytes(), keys.to_bytes());
    for (level, there) in [(1, true), (2, true), (3, true), (4, false), (5, false)] {
        let ct = b.encrypt(&[0.5], level, SCALE);
        assert_eq!(b.evaluator.rotate(&ct, 1).is_ok(), there, "level {level}");
        assert_eq!(b.evaluator.square(&ct).is_ok(), there, "level {level}");
        if !there {
            assert_eq!(
                b.evaluator.rotate(&ct, 1).unwrap_err(),
                HeError::MissingRotationKey { step: 1, level }
            );
        }
    }
}

#[test]
fn what_is_not_known_modulo_a_level_is_refused_there() {
    let params = params(RingKind::ConjugateInvariant, 10);
    let mut b = Bench::new(&params, &request(1..=5), 5);
    let mut x = b.encrypt(&[0.5], 5, SCALE);
    assert!(matches!(b.evaluator.drop_level_assign(&mut x, 4), Err(HeError::Level { .. })));
    let mut x = b.encrypt(&[0.5], 2, SCALE);
    let low = b.encoder.encode(&[1.0], 1, SCALE).unwrap();
    assert!(matches!(b.evaluator.mul_plain(&x, &low), Err(HeError::LevelMismatch { .. })));
    b.evaluator.drop_level_assign(&mut x, 1).unwrap();
    assert!((b.decrypt(&x)[0] - 0.5).abs() < 1e-6);
    let high = b.encoder.encode(&[1.0], 2, SCALE).unwrap();
    assert!(b.evaluator.mul_plain(&x, &high).is_ok());
    let other = b.encoder.encode(&[1.0], 3, SCALE).unwrap();
    assert!(matches!(b.evaluator.mul_plain(&x, &other), Err(HeError::LevelMismatch { .. })));
}

#[test]
fn literals_of_levels_round_trip_and_bad_ones_are_refused() {
    let good = literal(RingKind::ConjugateInvariant, 10);
    assert_eq!(ParamsLiteral::from_bytes(&good.to_bytes()).unwrap(), good);
    let params = Params::insecure_unchecked(&good).unwrap();
    assert_eq!(Params::insecure_unchecked(params.literal()).unwrap(), params);
    let other = ParamsLiteral { levels: good.levels[1..].to_vec(), ..good.clone() };
    assert_ne!(Params::insecure_unchecked(&other).unwrap().id(), params.id());
    let with = |f: &dyn Fn(&mut Vec<LevelLiteral>)| {
        let mut bad = good.clone();
        f(&mut bad.levels);
        Params::insecure_unchecked(&bad)
    };
    assert!(matches!(with(&|l| l[2].q[0] = 13), Err(HeError::Shape { .. })));
    assert!(matches!(with(&|l| l[2].p.clear()), Err(HeError::Shape { .. })));
    assert!(matches!(with(&|l| l[2].q.clear()), Err(HeError::Shape { .. })));
    assert!(matches!(with(&|l| l[2].alpha = 0), Err(HeError::Shape { .. })));
    assert!(matches!(with(&|l| l[2].alpha = 4), Err(HeError::Shape { .. })));
    assert!(matches!(with(&|l| l[2].q[1] = 5), Err(HeError::Ring(_))));
    assert!(matches!(with(&|l| l[2].p[0] = 5), Err(HeError::Ring(_))));
    assert!(matches!(with(&|l| l.swap(2, 3)), Err(HeError::Shape { .. })));
    assert!(matches!(
        with(&|l| l[4].p = vec![9]),
        Err(HeError::Shape { what: "every prime must serve some level" })
    ));
    // Every level is held against the security table and the least P.
    let mut secure = ParamsLiteral { log_n: 13, ..good.clone() };
    secure.levels[2].p = vec![9, 10];
    let sizes = |f: &dyn Fn(&mut ParamsLiteral)| {
        let mut l = secure.clone();
        f(&mut l);
        Params::new(&l).map(|_| ()).unwrap_err()
    };
    Params::new(&secure).unwrap();
    assert!(matches!(sizes(&|l| l.levels[3].p = vec![10, 11]), HeError::AboveSecurityTable { .. }));
    assert!(matches!(sizes(&|l| l.levels[0].p = vec![10]), HeError::SpecialPrimesTooSmall { .. }));
}
