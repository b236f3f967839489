//! The noise model of exact arithmetic against measurements, and what it says about whole computations.

#![expect(clippy::unwrap_used, reason = "helpers of the tests unwrap too")]

mod common;

use common::exact::*;
use oblivia_he::bfv::*;
use oblivia_he::noise::BOUND_FACTOR_2_64;
use oblivia_he::{KeyRequest, Moduli};

/// Keys every figure is taken over.
const KEYS: u64 = 4;

/// A set with room: dimension 4096, and P as tight as it may be.
fn set() -> Context {
    context(12, &[44; 4], &[49], 1, 32)
}

/// Root mean square over keys, and the largest coefficient of all.
fn measure(context: &Context, run: impl Fn(&mut Exact) -> Noise) -> (f64, f64) {
    let top = context.params().max_level();
    let mut request = KeyRequest::new();
    [1, 2, 3, 4, 7].iter().for_each(|&step| request.need_rotation(step, top));
    request.need_relin(top);
    let (mut square, mut largest) = (0.0, 0.0f64);
    for seed in 0..KEYS {
        let noise = run(&mut Exact::new(context, &request, 300 + seed));
        square += noise.rms * noise.rms / KEYS as f64;
        largest = largest.max(noise.largest);
    }
    (square.sqrt(), largest)
}

/// Below the bound, not below `least` of the modelled root mean square.
fn modelled(what: &str, (rms, largest): (f64, f64), model: Estimate, least: f64) {
    let expected = (model.rms * model.rms + model.std * model.std).sqrt();
    let (ratio, margin) = (rms / expected, model.bound(BOUND_FACTOR_2_64) / largest);
    assert!(ratio > least && ratio < 1.02, "{what}: {ratio:.3} of the model");
    assert!(margin > 1.0, "{what}: {largest:e} is above the bound");
}

fn values(b: &Exact, seed: u64) -> Vec<i64> {
    residues(seed, b.context.t(), b.context.slots())
}

#[test]
fn fresh_noise_and_that_of_switches_is_what_the_model_says() {
    let context = set();
    let model = NoiseModel::new(&context);
    let symmetric = measure(&context, |b| {
        let z = values(b, 1);
        let ct = b.encrypt(&z, 4);
        b.noise(&ct)
    });
    modelled("symmetric", symmetric, model.fresh(), 0.95);
    let public = measure(&context, |b| {
        let pk = b.context.public_key(&b.sk, b"", &mut b.rng).unwrap();
        let z = values(b, 2);
        let pt = b.encoder.encode(&z, 4, Factor::ONE).unwrap();
        let ct = b.encryptor.encrypt(&pk, &pt, &mut b.rng).unwrap();
        b.noise(&ct)
    });
    modelled("public key", public, model.fresh_public(), 0.9);
    let rotated = measure(&context, |b| {
        let z = values(b, 3);
        let ct = b.encrypt(&z, 4);
        b.noise(&b.evaluator.rotate(&ct, 7).unwrap())
    });
    modelled("rotation", rotated, model.key_switch(model.fresh(), 4).unwrap(), 0.9);
    let switched = measure(&context, |b| {
        let z = values(b, 4);
        let ct = b.encrypt(&z, 4);
        b.noise(&b.evaluator.rescale(&ct).unwrap())
    });
    modelled("modulus switch", switched, model.switch(model.fresh(), 4).unwrap(), 0.9);
}

#[test]
fn with_six_bits_less_of_p_rotations_leave_the_model_and_its_bound() {
    let short = context(12, &[44; 4], &[40], 1, 32);
    let measured = measure(&short, |b| {
        let z = values(b, 3);
        let ct = b.encrypt(&z, 4);
        b.noise(&b.evaluator.rotate(&ct, 7).unwrap())
    });
    let (right, own) = (NoiseModel::new(&set()), NoiseModel::new(&short));
    let bound = right.key_switch(right.fresh(), 4).unwrap().bound(BOUND_FACTOR_2_64);
    assert!(measured.1 > bound, "{} within {bound}", measured.1);
    modelled("short P", measured, own.key_switch(own.fresh(), 4).unwrap(), 0.9);
}

#[test]
fn product_noise_is_what_the_model_says() {
    let context = set();
    let model = NoiseModel::new(&context);
    let floor = model.switch(model.fresh(), 4).unwrap();
    let plain = measure(&context, |b| {
        let (z, w) = (values(b, 5), values(b, 6));
        let ct = b.encrypt(&z, 4);
        let ct = b.evaluator.rescale(&ct).unwrap();
        let p = b.encoder.encode(&w, 3, Factor::ONE).unwrap();
        b.noise(&b.evaluator.mul_plain(&ct, &p).unwrap())
    });
    modelled("plaintext product", plain, model.mul_plain(floor, model.spread()), 0.5);
    modelled("plaintext product, any", plain, model.mul_plain(floor, model.any()), 0.005);

    let square = measure(&context, |b| {
        let z = values(b, 7);
        let ct = b.encrypt(&z, 4);
        let ct = b.evaluator.rescale(&ct).unwrap();
        b.noise(&b.evaluator.square(&ct).unwrap())
    });
    let squared = model.square(floor);
    modelled("square", square, model.key_switch(squared, 3).unwrap(), 0.3);

    let fresh = measure(&context, |b| {
        let (z, y) = (values(b, 8), values(b, 9));
        let (x, y) = (b.encrypt(&z, 4), b.encrypt(&y, 4));
        b.noise(&b.evaluator.mul(&x, &y).unwrap())
    });
    let product = model.key_switch(model.mul(model.fresh(), model.fresh()), 4).unwrap();
    modelled("product of fresh ones", fresh, product, 0.01);

    let scalars = measure(&context, |b| {
        let xs: Vec<_> = (0..16).map(|i| values(b, 40 + i)).collect();
        let xs: Vec<_> = xs.iter().map(|z| b.encrypt(z, 4)).collect();
        let cs: Vec<_> = (0..16).map(|_| b.encoder.scalar(100, Factor::ONE).unwrap()).collect();
        b.noise(&b.evaluator.dot_scalar(&xs.iter().collect::<Vec<_>>(), &cs).unwrap())
    });
    modelled("sum of scalar products", scalars, model.dot_scalars(model.fresh(), 16, 100.0), 0.3);
}

/// A whole chain: double-hoisted matrix with merged switch, square with merged switch, matrix.
fn chain(b: &mut Exact, top: usize) -> (Ciphertext, Ciphertext) {
    let row = b.context.slots() / 2;
    let matrix = |b: &Exact, ct: &Ciphertext| {
        let ev = &b.evaluator;
        let hoisted = ev.hoist(ct).unwrap();
        let babies: Vec<_> = (0..4).map(|r| ev.rotate_extended(&hoisted, r).unwrap()).collect();
        let groups: Vec<_> = (0..2usize)
            .map(|g| {
                let plains: Vec<_> = (0..4)
                    .map(|r| rotated_rows(&values(b, 60 + 4 * g as u64 + r), row - 4 * g))
                    .map(|d| b.encoder.encode_extended(&d, ct.level(), Factor::ONE).unwrap())
                    .collect();
                let babies: Vec<_> = babies.iter().collect();
                let sum = ev.dot_plain_extended(&babies, &plains.iter().collect::<Vec<_>>()).unwrap();
                ev.rotate_giant(&sum, 4 * g).unwrap()
            })
            .collect();
        let mut sum = groups[0].clone();
        ev.add_extended_assign(&mut sum, &groups[1]).unwrap();
        sum
    };
    let z = values(b, 50);
    let ct = b.encrypt(&z, top);
    let first = b.evaluator.reduce_rescale(&matrix(b, &ct)).unwrap();
    let tensor = b.evaluator.tensor_square(&first).unwrap();
    let squared = b.evaluator.relinearise_rescale(&tensor).unwrap();
    let last = b.evaluator.reduce(&matrix(b, &squared)).unwrap();
    (squared, last)
}

#[test]
fn a_chain_stays_below_its_bound_and_within_five_bits_of_it() {
    let context = set();
    let model = NoiseModel::new(&context);
    let first = model.double_hoisted(model.fresh(), 8, 2, model.spread(), 4).unwrap();
    let first = model.reduce_switch(first, 4).unwrap();
    let squared = model.key_switch_switch(model.square(first), 3).unwrap();
    let last = model.reduce(model.double_hoisted(squared, 8, 2, model.spread(), 2).unwrap());
    let measured = [0, 1].map(|which| {
        measure(&context, |b| {
            let (squared, last) = chain(b, 4);
            b.noise(if which == 0 { &squared } else { &last })
        })
    });
    for (what, measured, model) in [("squared", measured[0], squared), ("last", measured[1], last)] {
        modelled(what, measured, model, 0.02);
        let margin = model.bound(BOUND_FACTOR_2_64) / measured.1;
        assert!(margin < 32.0, "{what}: the bound is {margin} times the largest");
    }
    let spare = model.spare_bits(last, 2).unwrap();
    assert!(spare > 0.0, "{spare}");
    assert!(model.spare_bits(last, 1).unwrap() < 0.0);
}

/// What the model says of weights, square, weights, square, weights with sums of a thousand products from level 7 down.
fn network(model: &NoiseModel) -> Estimate {
    let matrix = |x, level| model.double_hoisted(x, 1000, 32, model.spread(), level).unwrap();
    let mut x = model.fresh();
    for level in [7, 5] {
        x = model.reduce_switch(matrix(x, level), level).unwrap();
        x = model.key_switch_switch(model.square(x), level - 1).unwrap();
    }
    model.reduce(matrix(x, 3))
}

#[test]
fn the_circuit_private_set_is_deep_enough_and_floods_to_2_to_the_minus_40() {
    let literal = ContextLiteral::circuit_private_16384();
    let contexts = Context::all(&literal).unwrap();
    assert_eq!(contexts.len(), 2);
    for context in &contexts {
        assert!((363.9..364.0).contains(&context.params().log_qp()), "{}", context.params().log_qp());
        let model = NoiseModel::new(context);
        let last = network(&model);
        assert!(model.spare_bits(last, 3).unwrap() > 40.0);
        let flood = model.flooding(last, 40);
        let flooded = model.flood(last, flood);
        let spare = model.spare_bits(flooded, 3).unwrap();
        assert!(spare > 0.5);
        // The flood is 2^40 times the bound of all it hides, too.
        assert!(3.2 * 2f64.powi(flood.log_width() as i32) > 2f64.powi(40) * last.bound(BOUND_FACTOR_2_64));
        let reply = model.switch(model.switch(flooded, 3).unwrap(), 2).unwrap();
        let cut = model.cut(reply, [9, 2]);
        assert!(model.spare_bits(cut, 1).unwrap() > 0.0);
    }
    // Seven primes of 44 bits: deep enough, but five bits short of this flooding.
    let mut even = literal;
    even.params.q = Moduli::Bits(vec![44; 7]);
    even.params.p = Moduli::Bits(vec![49]);
    let model = NoiseModel::new(&Context::all(&even).unwrap()[0]);
    let last = network(&model);
    let spare = |bits| model.spare_bits(model.flood(last, model.flooding(last, bits)), 3).unwrap();
    assert!(spare(40) < 0.0 && spare(35) > 0.0, "{} {}", spare(40), spare(35));
}

#[test]
fn a_flooded_result_has_the_noise_of_the_flood_and_nothing_else() {
    let context = set();
    let model = NoiseModel::new(&context);
    let w = model.mul_plain(model.switch(model.fresh(), 4).unwrap(), model.spread());
    let flood = model.flooding(w, 12);
    let run = |b: &mut Exact, flooded: bool| {
        let (z, w) = (values(b, 5), values(b, 6));
        let ct = b.encrypt(&z, 4);
        let ct = b.evaluator.rescale(&ct).unwrap();
        let p = b.encoder.encode(&w, 3, Factor::ONE).unwrap();
        let y = b.evaluator.mul_plain(&ct, &p).unwrap();
        let pk = b.context.public_key(&b.sk, b"", &mut b.rng).unwrap();
        let z = b.evaluator.flood(&y, &pk, flood, &mut b.rng).unwrap();
        assert_eq!(b.decrypt(&z), b.decrypt(&y));
        b.noise(if flooded { &z } else { &y })
    };
    let (before, after) = (measure(&context, |b| run(b, false)), measure(&context, |b| run(b, true)));
    let expected = (3.2f64.powi(2) + 1.0 / 6.0).sqrt() * 2f64.powi(flood.log_width() as i32);
    assert!((after.0 / expected - 1.0).abs() < 0.05, "{} against {expected}", after.0);
    assert!(after.1 < model.flood(w, flood).bound(BOUND_FACTOR_2_64));
    // What is hidden is as far below as was asked for: its norm over 6.4·2^k.
    let distance = before.0 * (context.slots() as f64).sqrt() / (2.0 * expected);
    assert!(distance < 2f64.powi(-12), "{distance}");
}
