//! The noise model against measurements at dimension 8192, conjugate-invariant, primes 34,26,33,26,33,26 and 39.

#![expect(clippy::unwrap_used, reason = "statics and helpers of the tests unwrap too")]

mod common;

use common::*;
use oblivia_he::noise::{BOUND_FACTOR_2_40, BOUND_FACTOR_2_64, Estimate, NoiseModel};
use oblivia_he::{KeyRequest, LevelLiteral, Moduli, Params, ParamsLiteral, PublicKey};
use std::sync::LazyLock;

/// Keys every figure is taken over.
const KEYS: u64 = 6;
const SCALE: f64 = (1u64 << 33) as f64;

static PARAMS: LazyLock<Params> = LazyLock::new(|| Params::new(&mnist(39)).unwrap());

/// Standard deviation and largest error of (found, expected) pairs over several keys.
fn measure(params: &Params, run: impl Fn(&mut Bench) -> (Vec<f64>, Vec<f64>)) -> (f64, f64) {
    let mut request = KeyRequest::new();
    request.need_rotation(7, params.max_level());
    request.need_relin(params.max_level());
    let (mut variance, mut worst) = (0.0, 0.0f64);
    for seed in 0..KEYS {
        let (found, expected) = run(&mut Bench::new(params, &request, 100 + seed));
        variance += std_of_difference(&found, &expected).powi(2) / KEYS as f64;
        worst = worst.max(max_error(&found, &expected));
    }
    (variance.sqrt(), worst)
}

/// ±1 in every slot, so that value bounds are values.
fn signs(slots: usize) -> Vec<f64> {
    reals(31, slots).iter().map(|x| x.signum()).collect()
}

fn within_five_percent(what: &str, (std, worst): (f64, f64), model: Estimate) {
    let ratio = std / model.error.std;
    assert!((0.95..1.05).contains(&ratio), "{what}: measured {ratio:.4} of the model");
    assert!(worst < model.error_bound(BOUND_FACTOR_2_64), "{what}: {worst:e} above the bound");
}

#[test]
fn fresh_noise_is_what_the_model_says() {
    let model = NoiseModel::new(&PARAMS);
    let measured = measure(&PARAMS, |b| {
        let z = signs(b.params.slots());
        let ct = b.encrypt(&z, 6, SCALE);
        (b.decrypt(&ct), z)
    });
    within_five_percent("symmetric", measured, model.fresh(1.0, SCALE));
    let measured = measure(&PARAMS, |b| {
        let z = signs(b.params.slots());
        let pk = PublicKey::generate(&b.sk, b"", &mut b.rng);
        let pt = b.encoder.encode(&z, 6, SCALE).unwrap();
        let ct = b.encryptor.encrypt(&pk, &pt, &mut b.rng).unwrap();
        (b.decrypt(&ct), z)
    });
    within_five_percent("public key", measured, model.fresh_public(1.0, 6, SCALE).unwrap());
}

#[test]
fn fresh_noise_of_a_public_key_depends_on_the_special_primes_of_the_level() {
    let level = |q: &[usize], p: &[usize]| LevelLiteral { q: q.to_vec(), p: p.to_vec(), alpha: q.len() };
    let params = Params::new(&ParamsLiteral {
        q: Moduli::Bits(vec![34, 26]),
        p: Moduli::Bits(vec![44, 45, 46]),
        levels: vec![level(&[0], &[3]), level(&[0, 1], &[2, 3, 4])],
        ..mnist(39)
    });
    let params = params.unwrap();
    let model = NoiseModel::new(&params);
    for level in [1, 2] {
        let measured = measure(&params, |b| {
            let z = signs(b.params.slots());
            let pk = PublicKey::generate(&b.sk, b"", &mut b.rng);
            let pt = b.encoder.encode(&z, level, SCALE).unwrap();
            let ct = b.encryptor.encrypt(&pk, &pt, &mut b.rng).unwrap();
            (b.decrypt(&ct), z)
        });
        within_five_percent("public key", measured, model.fresh_public(1.0, level, SCALE).unwrap());
    }
    assert!(model.fresh_public(1.0, 3, SCALE).is_err());
}

#[test]
fn rescale_noise_is_what_the_model_says() {
    let scale = 2f64.powi(55);
    let model = NoiseModel::new(&PARAMS);
    let measured = measure(&PARAMS, |b| {
        let ct = b.encrypt(&signs(b.params.slots()), 6, scale);
        (b.decrypt(&b.evaluator.rescale(&ct).unwrap()), b.decrypt(&ct))
    });
    let nothing = Estimate::exact(1.0);
    within_five_percent(
        "rescale",
        measured,
        model.rescale(nothing, 6, scale / PARAMS.rescale_divisor(6).unwrap()).unwrap(),
    );
}

/// Error of a rotation alone.
fn rotation(params: &Params, level: usize) -> (f64, f64) {
    measure(params, |b| {
        let ct = b.encrypt(&signs(b.params.slots()), level, SCALE);
        (b.decrypt(&b.evaluator.rotate(&ct, 7).unwrap()), rotated(&b.decrypt(&ct), 7))
    })
}

#[test]
fn key_switching_noise_is_what_the_model_says() {
    let model = NoiseModel::new(&PARAMS);
    let nothing = Estimate::exact(1.0);
    for level in [2, 6] {
        let expected = model.key_switch(nothing, level, SCALE).unwrap();
        within_five_percent("key switch", rotation(&PARAMS, level), expected);
    }
}

#[test]
fn with_six_bits_less_of_p_key_switching_leaves_the_model_and_its_bound() {
    let short = Params::insecure_unchecked(&mnist(33)).unwrap();
    let nothing = Estimate::exact(1.0);
    let (std, worst) = rotation(&short, 6);
    let right = NoiseModel::new(&PARAMS).key_switch(nothing, 6, SCALE).unwrap();
    assert!(std > 1.05 * right.error.std, "{std:e} against {:e}", right.error.std);
    assert!(worst > right.error_bound(BOUND_FACTOR_2_64));
    // The model of the short P knows it.
    let own = NoiseModel::new(&short).key_switch(nothing, 6, SCALE).unwrap();
    within_five_percent("short P", (std, worst), own);
}

#[test]
fn product_noise_is_what_the_model_says() {
    let model = NoiseModel::new(&PARAMS);
    // A weight scale so small that the rounding of the plaintext dominates.
    let weight_scale = 2f64.powi(18);
    let measured = measure(&PARAMS, |b| {
        let (z, w) = (signs(b.params.slots()), reals(32, b.params.slots()));
        let ct = b.encrypt(&z, 6, SCALE);
        let p = b.encoder.encode(&w, 6, weight_scale).unwrap();
        let expected = z.iter().zip(&w).map(|(z, w)| z * w).collect();
        (b.decrypt(&b.evaluator.mul_plain(&ct, &p).unwrap()), expected)
    });
    within_five_percent(
        "plaintext product",
        measured,
        model.mul_plain(model.fresh(1.0, SCALE), 1.0, weight_scale),
    );

    let squared = model.square(model.fresh(1.0, SCALE));
    let measured = measure(&PARAMS, |b| {
        let z = signs(b.params.slots());
        let ct = b.encrypt(&z, 6, SCALE);
        (b.decrypt(&b.evaluator.square(&ct).unwrap()), z.iter().map(|z| z * z).collect())
    });
    let expected = model.key_switch(squared, 6, SCALE * SCALE).unwrap();
    within_five_percent("square", measured, expected);

    let measured = measure(&PARAMS, |b| {
        let z = signs(b.params.slots());
        let ct = b.encrypt(&z, 5, SCALE);
        let tensor = b.evaluator.tensor_square(&ct).unwrap();
        (b.decrypt(&b.evaluator.relinearise_rescale(&tensor).unwrap()), z.iter().map(|z| z * z).collect())
    });
    let expected = model.key_switch_rescale(squared, 5, SCALE * SCALE).unwrap();
    within_five_percent("square with merged rescale", measured, expected);
}

#[test]
fn a_network_like_chain_stays_below_its_bound_and_within_two_bits_of_it() {
    let p = &*PARAMS;
    let model = NoiseModel::new(p);
    // Rotations, weights at the 26-bit level, square at the 33-bit level.
    let weight_scale = SCALE * p.rescale_divisor(6).unwrap() / SCALE;
    let measured = measure(p, |b| {
        let (z, u, v) = (signs(b.params.slots()), reals(33, b.params.slots()), reals(34, b.params.slots()));
        let ct = b.encrypt(&z, 6, SCALE);
        let turned = b.evaluator.rotate(&ct, 7).unwrap();
        let weights = [&u, &v].map(|w| b.encoder.encode(w, 6, weight_scale).unwrap());
        let dot = b.evaluator.dot_plain(&[&ct, &turned], &[&weights[0], &weights[1]]).unwrap();
        let hidden = b.evaluator.rescale(&dot).unwrap();
        let out = b.evaluator.rescale(&b.evaluator.square(&hidden).unwrap()).unwrap();
        let clear = z.iter().zip(rotated(&z, 7)).zip(u.iter().zip(&v));
        (b.decrypt(&out), clear.map(|((z, t), (u, v))| (z * u + t * v).powi(2)).collect())
    });
    let x = model.key_switch(model.fresh(1.0, SCALE), 6, SCALE).unwrap();
    let hidden = model.rescale(model.dot_plain(x, 2.0, 2f64.sqrt(), 2, weight_scale), 6, SCALE).unwrap();
    let after = SCALE * SCALE / p.rescale_divisor(5).unwrap();
    let out =
        model.rescale(model.key_switch(model.square(hidden), 5, SCALE * SCALE).unwrap(), 5, after).unwrap();
    let (std, worst) = measured;
    assert!(std < out.error.std && std > out.error.std / 4.0, "{std:e} against {:e}", out.error.std);
    assert!(worst < out.error_bound(BOUND_FACTOR_2_40));
    assert!(model.fits(out, BOUND_FACTOR_2_64, 4, after).unwrap());
    assert!(!model.fits(Estimate::exact(4.0), BOUND_FACTOR_2_64, 1, SCALE).unwrap());
}

#[test]
fn estimates_do_not_depend_on_the_machine() {
    let model = NoiseModel::new(&PARAMS);
    let x = model.key_switch(model.fresh(1.0, SCALE), 6, SCALE).unwrap();
    let y = model.rescale(model.square(model.dot_plain(x, 3.0, 2.0, 25, SCALE)), 2, SCALE).unwrap();
    // Printed by tests/known/noise.py.
    assert_eq!(y.error.std.to_bits(), 0x3ed7_1773_8514_d484);
    assert_eq!(y.error.worst.to_bits(), 0x3f01_c6dd_b4ea_0699);
}
