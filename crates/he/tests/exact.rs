//! Exact arithmetic on encrypted slots, against integers modulo t.

#![expect(clippy::unwrap_used, reason = "helpers of the tests unwrap too")]

mod common;

use common::exact::*;
use oblivia_base::codec::{Reader, Writer};
use oblivia_he::bfv::*;
use oblivia_he::{HeError, KeyRequest, Moduli, Params, ParamsLiteral};
use oblivia_ring::RingKind;
use proptest::prelude::*;

/// Two shapes: one limb per digit, and two with a partial last digit.
fn shapes() -> [Context; 2] {
    [context(8, &[44; 4], &[49], 1, 32), context(8, &[44; 5], &[48, 48], 2, 30)]
}

fn request(context: &Context) -> KeyRequest {
    request_of(context, &[1, 2, 3, 4, 5, 8, 100])
}

fn request_of(context: &Context, steps: &[usize]) -> KeyRequest {
    let top = context.params().max_level();
    let mut r = KeyRequest::new();
    r.need_relin(top);
    steps.iter().for_each(|&step| r.need_rotation(step, top));
    r.need_row_swap(context.params(), 0, top);
    r.need_row_swap(context.params(), 3, top);
    r
}

#[test]
fn a_fresh_ciphertext_decrypts_to_its_integers_at_every_level_under_both_keys() {
    for context in shapes() {
        let mut b = Exact::new(&context, &KeyRequest::new(), 1);
        let z = residues(7, context.t(), context.slots());
        let pk = context.public_key(&b.sk, b"pk", &mut b.rng).unwrap();
        for level in 1..=context.params().max_level() {
            let ct = b.encrypt(&z, level);
            assert_eq!(b.decrypt(&ct), z);
            let pt = b.encoder.encode(&z, level, Factor::ONE).unwrap();
            let public = b.encryptor.encrypt(&pk, &pt, &mut b.rng).unwrap();
            assert_eq!(b.decrypt(&public), z);
            let seeded = b.encryptor.encrypt_seeded(&b.sk, &pt, b"label", &mut b.rng).unwrap();
            assert_eq!(b.decrypt(&seeded.expand(&context, b"label").unwrap()), z);
        }
    }
}

#[test]
fn sums_and_products_are_those_of_integers_modulo_t() {
    for context in shapes() {
        let (t, n, top) = (context.t(), context.slots(), context.params().max_level());
        let mut b = Exact::new(&context, &request(&context), 2);
        let (x, y, w) = (residues(1, t, n), residues(2, t, n), residues(3, t, n));
        let (cx, cy) = (b.encrypt(&x, top), b.encrypt(&y, top));
        let ev = &b.evaluator;
        let mut sum = cx.clone();
        ev.add_assign(&mut sum, &cy).unwrap();
        assert_eq!(b.decrypt(&sum), zip(t, &x, &y, |x, y| x + y));
        ev.sub_assign(&mut sum, &cy).unwrap();
        ev.neg_assign(&mut sum).unwrap();
        assert_eq!(b.decrypt(&sum), zip(t, &x, &y, |x, _| -x));
        let pw = b.encoder.encode(&w, top, Factor::ONE).unwrap();
        let mut plain = cx.clone();
        ev.add_plain_assign(&mut plain, &pw).unwrap();
        assert_eq!(b.decrypt(&plain), zip(t, &x, &w, |x, w| x + w));
        ev.sub_plain_assign(&mut plain, &pw).unwrap();
        ev.add_scalar_assign(&mut plain, &b.encoder.scalar(-5, Factor::ONE).unwrap()).unwrap();
        assert_eq!(b.decrypt(&plain), zip(t, &x, &w, |x, _| x - 5));

        let dot = ev.dot_plain(&[&cx, &cy], &[&pw, &pw]).unwrap();
        let expected = zip(t, &zip(t, &x, &y, |x, y| x + y), &w, |s, w| s * w);
        assert_eq!(b.decrypt(&dot), expected);
        let switched = ev.rescale(&dot).unwrap();
        assert_eq!((switched.level(), b.decrypt(&switched)), (top - 1, expected));
        let rows = [[7, -3], [123_456_789, 1]].map(|r| r.map(|c| b.encoder.scalar(c, Factor::ONE).unwrap()));
        let ys = ev.dot_scalars(&[&cx, &cy], &[&rows[0], &rows[1]]).unwrap();
        assert_eq!(b.decrypt(&ys[0]), zip(t, &x, &y, |x, y| 7 * x - 3 * y));
        assert_eq!(b.decrypt(&ys[1]), zip(t, &x, &y, |x, y| 123_456_789 * x + y));

        for level in [top, 3] {
            let (mut lx, mut ly) = (cx.clone(), cy.clone());
            ev.drop_level_assign(&mut lx, level).unwrap();
            ev.drop_level_assign(&mut ly, level).unwrap();
            let product = ev.mul(&lx, &ly).unwrap();
            assert_eq!(b.decrypt(&product), zip(t, &x, &y, |x, y| x * y));
            let square = ev.square(&lx).unwrap();
            assert_eq!(b.decrypt(&square), zip(t, &x, &x, |x, y| x * y));
            let switched = ev.rescale(&square).unwrap();
            assert_eq!(b.decrypt(&switched), zip(t, &x, &x, |x, y| x * y));
            let mut tensor = ev.tensor(&lx, &ly).unwrap();
            ev.add_tensor_assign(&mut tensor, &ev.tensor_square(&lx).unwrap()).unwrap();
            let merged = ev.relinearise_rescale(&tensor).unwrap();
            assert_eq!(merged.level(), level - 1);
            assert_eq!(b.decrypt(&merged), zip(t, &x, &y, |x, y| x * y + x * x));
        }
    }
}

#[test]
fn rotations_move_both_rows_and_a_swap_exchanges_them() {
    for context in shapes() {
        let n = context.slots();
        let mut b = Exact::new(&context, &request(&context), 3);
        let z = residues(9, context.t(), n);
        for level in 1..=context.params().max_level() {
            let ct = b.encrypt(&z, level);
            let steps = [1usize, 0, 5, 100, 2];
            let hoisted = b.evaluator.rotate_hoisted(&ct, &steps).unwrap();
            for (&step, h) in steps.iter().zip(&hoisted) {
                assert_eq!(b.decrypt(h), rotated_rows(&z, step));
                assert_eq!(
                    b.decrypt(&b.evaluator.rotate(&ct, step + n / 2).unwrap()),
                    rotated_rows(&z, step)
                );
            }
            assert_eq!(b.decrypt(&b.evaluator.swap_rows(&ct, 0).unwrap()), swapped_rows(&z));
            let both = b.evaluator.swap_rows(&ct, 3).unwrap();
            assert_eq!(b.decrypt(&both), rotated_rows(&swapped_rows(&z), 3));
            assert_eq!(
                b.evaluator.swap_rows(&ct, 1).unwrap_err(),
                HeError::MissingRotationKey { step: n / 2 + 1, level }
            );
        }
    }
}

/// A matrix by diagonals 0..8, babies 0..4, giants 0 and 4, with the divisions double hoisting shares.
fn double_hoisted(b: &Exact, ct: &Ciphertext, diagonals: &[Vec<i64>], factor: Factor) -> [Ciphertext; 2] {
    let ev = &b.evaluator;
    let hoisted = ev.hoist(ct).unwrap();
    let babies: Vec<_> = (0..4).map(|r| ev.rotate_extended(&hoisted, r).unwrap()).collect();
    let babies: Vec<_> = babies.iter().collect();
    let row = b.context.slots() / 2;
    let mut sum: Option<ExtendedCiphertext> = None;
    for giant in 0..2 {
        let plains: Vec<ExtendedPlaintext> = (0..4)
            .map(|r| rotated_rows(&diagonals[4 * giant + r], row - 4 * giant))
            .map(|d| b.encoder.encode_extended(&d, ct.level(), factor).unwrap())
            .collect();
        let inner = ev.dot_plain_extended(&babies, &plains.iter().collect::<Vec<_>>()).unwrap();
        let turned = ev.rotate_giant(&inner, 4 * giant).unwrap();
        match &mut sum {
            None => sum = Some(turned),
            Some(sum) => ev.add_extended_assign(sum, &turned).unwrap(),
        }
    }
    let sum = sum.unwrap();
    [ev.reduce(&sum).unwrap(), ev.reduce_rescale(&sum).unwrap()]
}

fn matrix_product(t: u64, z: &[i64], diagonals: &[Vec<i64>]) -> Vec<i64> {
    let mut sum = vec![0; z.len()];
    for (r, d) in diagonals.iter().enumerate() {
        sum = zip(t, &sum, &zip(t, &rotated_rows(z, r), d, |z, d| z * d), |s, p| s + p);
    }
    sum
}

#[test]
fn a_matrix_product_by_double_hoisting_is_that_of_integers_modulo_t() {
    for context in shapes() {
        let (t, n) = (context.t(), context.slots());
        let mut b = Exact::new(&context, &request(&context), 4);
        let z = residues(11, t, n);
        let diagonals: Vec<_> = (0..8).map(|r| residues(20 + r, t, n)).collect();
        let expected = matrix_product(t, &z, &diagonals);
        for level in [context.params().max_level(), 3] {
            let ct = b.encrypt(&z, level);
            for y in double_hoisted(&b, &ct, &diagonals, Factor::ONE) {
                assert_eq!(b.decrypt(&y), expected);
            }
        }
    }
}

/// Matrix, square, matrix, square, weights: the shape of the smallest network, aimed at factor 1 after every matrix. Then,
/// if asked for, the way of a reply that hides the weights.
fn network(context: &Context, seed: u64, flood: Option<Flood>) {
    let (t, n, top) = (context.t(), context.slots(), context.params().max_level());
    let mut request = KeyRequest::new();
    request.need_relin(top);
    [1, 2, 3, 4].iter().for_each(|&step| request.need_rotation(step, top));
    let mut b = Exact::new(context, &request, seed);
    let z = residues(seed, t, n);
    let diagonals: Vec<_> = (0..8).map(|r| residues(seed + 20 + r, t, n)).collect();
    let (mut ct, mut clear) = (b.encrypt(&z, top), z);
    for _ in 0..2 {
        let wanted = context.before_switch(Factor::ONE, ct.level()).unwrap();
        let [_, linear] = double_hoisted(&b, &ct, &diagonals, context.quotient(wanted, ct.scale()));
        assert_eq!(linear.scale(), Factor::ONE);
        clear = matrix_product(t, &clear, &diagonals);
        assert_eq!(b.decrypt(&linear), clear);
        let tensor = b.evaluator.tensor_square(&linear).unwrap();
        ct = b.evaluator.relinearise_rescale(&tensor).unwrap();
        clear = zip(t, &clear, &clear, |x, y| x * y);
        assert_eq!(ct.scale(), context.after_switch(Factor::ONE, linear.level()).unwrap());
        assert_eq!(b.decrypt(&ct), clear);
    }
    let w = b.encoder.encode(&diagonals[0], ct.level(), Factor::ONE).unwrap();
    let out = b.evaluator.mul_plain(&ct, &w).unwrap();
    assert_eq!(b.decrypt(&out), zip(t, &clear, &diagonals[0], |x, y| x * y));
    assert!(b.noise(&out).spare_bits > 1.0);
    let Some(flood) = flood else { return };
    let pk = context.public_key(&b.sk, b"", &mut b.rng).unwrap();
    let mut hidden = b.evaluator.flood(&out, &pk, flood, &mut b.rng).unwrap();
    while hidden.level() > 1 {
        hidden = b.evaluator.rescale(&hidden).unwrap();
    }
    let reply = b.evaluator.reply(&hidden, [9, 2]).unwrap();
    let message = Decryptor::new(context, &b.sk).unwrap().decrypt_reply(&reply).unwrap();
    assert_eq!(b.encoder.decode(&message).unwrap(), b.decrypt(&out));
}

#[test]
fn a_chain_of_four_levels_is_exact_at_dimension_2048() {
    network(&context(11, &[44; 6], &[49], 1, 32), 5, None);
}

#[test]
fn the_circuit_private_set_is_exact_from_input_to_flooded_reply() {
    let contexts = Context::all(&ContextLiteral::circuit_private_16384()).unwrap();
    network(&contexts[1], 6, Some(Flood::new(99)));
}

#[test]
fn mismatched_operands_are_errors_that_name_both_sides() {
    let context = context(6, &[44; 3], &[49], 1, 30);
    let mut b = Exact::new(&context, &KeyRequest::new(), 7);
    let one = b.encrypt(&[1], 3);
    let mut lower = b.evaluator.rescale(&one).unwrap();
    assert_eq!(b.decrypt(&lower)[..2], [1, 0]);
    let fresh = b.encrypt(&[1], 2);
    let factor = context.after_switch(Factor::ONE, 3).unwrap();
    assert_eq!(
        b.evaluator.add_assign(&mut lower, &fresh).unwrap_err(),
        HeError::FactorMismatch { op: "add", left: factor.value(), right: 1 }
    );
    // A plaintext with the right factor fits.
    let p = b.encoder.encode(&[41, 5], 2, factor).unwrap();
    b.evaluator.add_plain_assign(&mut lower, &p).unwrap();
    assert_eq!(b.decrypt(&lower)[..3], [42, 5, 0]);
    let p = b.encoder.encode(&[41, 5], 2, Factor::ONE).unwrap();
    assert!(matches!(b.evaluator.add_plain_assign(&mut lower, &p), Err(HeError::FactorMismatch { .. })));
    // The other t over the same primes is another context.
    let other = Context::over(context.params(), &Moduli::Bits(vec![31])).unwrap().remove(0);
    let foreign = Encoder::new(&other).encode(&[1], 2, Factor::ONE).unwrap();
    assert!(matches!(b.evaluator.mul_plain(&lower, &foreign), Err(HeError::ParamsMismatch { .. })));
    // So are what is between two operations, and keys.
    let mut o = Exact::new(&other, &KeyRequest::new(), 12);
    let theirs = o.encrypt(&[1], 2);
    let hoisted = o.evaluator.hoist(&theirs).unwrap();
    let extended = o.evaluator.rotate_extended(&hoisted, 0).unwrap();
    let tensor = o.evaluator.tensor(&theirs, &theirs).unwrap();
    let pk = other.public_key(&o.sk, b"", &mut o.rng).unwrap();
    let ev = &b.evaluator;
    let refused = |e: HeError| assert!(matches!(e, HeError::ParamsMismatch { .. }), "{e}");
    refused(ev.rotate(&theirs, 0).unwrap_err());
    refused(ev.rotate_from(&hoisted, 0).unwrap_err());
    refused(ev.rotate_extended(&hoisted, 0).unwrap_err());
    refused(ev.rotate_giant(&extended, 0).unwrap_err());
    refused(ev.reduce(&extended).unwrap_err());
    refused(ev.reduce_rescale(&extended).unwrap_err());
    refused(ev.add_tensor_assign(&mut ev.tensor(&fresh, &fresh).unwrap(), &tensor).unwrap_err());
    refused(ev.flood(&fresh, &pk, Flood::new(1), &mut o.rng).unwrap_err());
    refused(b.encryptor.encrypt(&pk, &p, &mut b.rng).unwrap_err());
    refused(b.encoder.decode(&Encoder::new(&other).message(&[1], Factor::ONE).unwrap()).unwrap_err());
    refused(Decryptor::new(&context, &b.sk).unwrap().decrypt(&theirs).unwrap_err());
    assert!(matches!(context.factor(context.t() as i64), Err(HeError::Factor { factor: 0, .. })));
    assert!(matches!(b.encoder.encode(&[0; 65], 2, Factor::ONE), Err(HeError::TooManyValues { .. })));
}

#[test]
fn key_requests_of_the_standard_ring_reach_every_automorphism_and_no_further() {
    let context = context(6, &[44; 2], &[49], 1, 30);
    let with = |step| {
        let mut request = KeyRequest::new();
        request.need_rotation(step, 2);
        request.check(context.params())
    };
    assert_eq!((with(31), with(32), with(63)), (Ok(()), Ok(()), Ok(())));
    assert_eq!(with(64), Err(HeError::RotationStep { step: 64, max: 63 }));
}

#[test]
fn contexts_refuse_other_rings_and_primes_in_use() {
    let literal = |kind| ParamsLiteral {
        kind,
        log_n: 6,
        q: Moduli::Bits(vec![30, 30]),
        p: Moduli::Bits(vec![36]),
        alpha: 1,
        levels: Vec::new(),
    };
    let ci = Params::insecure_unchecked(&literal(RingKind::ConjugateInvariant)).unwrap();
    assert!(matches!(Context::over(&ci, &Moduli::Bits(vec![20])), Err(HeError::Shape { .. })));
    let params = Params::insecure_unchecked(&literal(RingKind::Standard)).unwrap();
    let used: Vec<u64> = params.extended_basis(2).unwrap().moduli().map(|m| m.value()).collect();
    for q in &used {
        assert!(matches!(Context::new(&params, *q), Err(HeError::Shape { .. })), "{q}");
    }
    assert!(matches!(Context::new(&params, 257 * 3), Err(HeError::Ring(_))));
    assert!(Context::over(&params, &Moduli::Primes(vec![257, 257])).is_err());
    let found = Context::over(&params, &Moduli::Bits(vec![30, 30])).unwrap();
    assert!(found.iter().all(|c| !used.contains(&c.t()) && c.t() % 128 == 1));
    assert_ne!(found[0].id(), found[1].id());
}

#[test]
fn two_plaintext_primes_together_hold_integers_of_their_product() {
    let one = context(6, &[44; 2], &[49], 1, 32);
    let contexts = Context::over(one.params(), &Moduli::Bits(vec![32, 32])).unwrap();
    let combiner = Combiner::new(&contexts).unwrap();
    let integers = [0i128, 1, -1, 1 << 62, -(1 << 62), 123_456_789_012_345_678];
    let residues: Vec<Vec<i64>> = contexts
        .iter()
        .map(|c| {
            let mut b = Exact::new(c, &KeyRequest::new(), 8);
            let ct = b.encrypt(&integers.map(|x| centred(x, c.t())), 2);
            b.decrypt(&ct)
        })
        .collect();
    let back = combiner.combine(&[&residues[0], &residues[1]]).unwrap();
    assert_eq!(back[..6], integers);
    assert!(combiner.combine(&[&residues[0]]).is_err());
}

#[test]
fn a_flooded_reply_decrypts_to_the_same_integers_with_its_low_bits_cut() {
    let context = context(10, &[46, 44, 44, 44], &[50], 1, 32);
    let (t, n) = (context.t(), context.slots());
    let model = NoiseModel::new(&context);
    let mut b = Exact::new(&context, &request(&context), 9);
    let pk = context.public_key(&b.sk, b"pk", &mut b.rng).unwrap();
    let (z, w) = (residues(1, t, n), residues(2, t, n));
    let ct = b.encrypt(&z, 4);
    let square = b.evaluator.relinearise_rescale(&b.evaluator.tensor_square(&ct).unwrap()).unwrap();
    let p = b.encoder.encode(&w, 3, Factor::ONE).unwrap();
    let last = b.evaluator.mul_plain(&square, &p).unwrap();
    let expected = zip(t, &zip(t, &z, &z, |x, y| x * y), &w, |x, w| x * w);

    let x = model.key_switch_switch(model.square(model.fresh()), 4).unwrap();
    let x = model.mul_plain(x, model.spread());
    let flood = model.flooding(x, 40);
    let estimate = model.switch(model.switch(model.flood(x, flood), 3).unwrap(), 2).unwrap();
    let cut = [9, 4];
    assert!(model.spare_bits(model.cut(estimate, cut), 1).unwrap() > 0.0);

    let ev = &b.evaluator;
    let flooded = ev.flood(&last, &pk, flood, &mut b.rng).unwrap();
    assert_eq!((flooded.scale(), flooded.level()), (last.scale(), 3));
    let low = ev.rescale(&ev.rescale(&flooded).unwrap()).unwrap();
    assert_eq!(b.decrypt(&low), expected);
    assert!(ev.reply(&flooded, cut).is_err());
    let decryptor = Decryptor::new(&context, &b.sk).unwrap();
    for cut in [[0, 0], cut] {
        let reply = ev.reply(&low, cut).unwrap();
        let message = decryptor.decrypt_reply(&reply).unwrap();
        assert_eq!(b.encoder.decode(&message).unwrap(), expected);
        let mut w = Writer::new();
        reply.encode(&mut w);
        let bytes = w.into_bytes();
        assert_eq!(bytes.len(), Reply::encoded_bytes(&context, cut).unwrap());
        let back = Reply::decode(&context, reply.factor(), cut, &mut Reader::new(&bytes)).unwrap();
        let message = decryptor.decrypt_reply(&back).unwrap();
        assert_eq!(b.encoder.decode(&message).unwrap(), expected);
        assert!(Reply::decode(&context, Factor::ONE, cut, &mut Reader::new(&bytes)).is_err());
        assert!(Reply::decode(&context, reply.factor(), [0, 1], &mut Reader::new(&bytes)).is_err());
    }
    // Too many bits cut: wrong, as the model says.
    let wrong = decryptor.decrypt_reply(&ev.reply(&low, [9, 12]).unwrap()).unwrap();
    assert_ne!(b.encoder.decode(&wrong).unwrap(), expected);
    assert!(model.spare_bits(model.cut(estimate, [9, 12]), 1).unwrap() < 0.0);
    // A flood that would wrap around is refused.
    assert!(matches!(ev.flood(&last, &pk, Flood::new(97), &mut b.rng), Err(HeError::Overflow { .. })));
}

#[test]
fn flooding_makes_both_halves_new_each_time() {
    let context = context(8, &[44; 2], &[49], 1, 30);
    let mut b = Exact::new(&context, &KeyRequest::new(), 10);
    let pk = context.public_key(&b.sk, b"pk", &mut b.rng).unwrap();
    let ct = b.encrypt(&[1, 2, 3], 2);
    let halves = |b: &mut Exact| {
        let x = b.evaluator.flood(&ct, &pk, Flood::new(20), &mut b.rng).unwrap();
        assert_eq!(b.decrypt(&x)[..4], [1, 2, 3, 0]);
        let mut w = Writer::new();
        x.encode(&mut w);
        let bytes = w.into_bytes();
        let (c0, c1) = bytes[41..].split_at((bytes.len() - 41) / 2);
        (c0.to_vec(), c1.to_vec())
    };
    let (first, second) = (halves(&mut b), halves(&mut b));
    let differing =
        |x: &[u8], y: &[u8]| x.iter().zip(y).filter(|(x, y)| x != y).count() as f64 / x.len() as f64;
    assert!(differing(&first.0, &second.0) > 0.95);
    assert!(differing(&first.1, &second.1) > 0.95);
}

#[test]
fn transforms_are_as_many_as_for_approximate_arithmetic() {
    for context in shapes() {
        let mut b = Exact::new(&context, &request(&context), 11);
        let k = context.params().special(1).unwrap().limbs() as u64;
        for level in 2..=context.params().max_level() {
            let ct = b.encrypt(&[5], level);
            let (l, d) = (level as u64, context.params().digits(level).unwrap() as u64);
            let ev = &b.evaluator;
            ev.take_counts();
            ev.rotate(&ct, 1).unwrap();
            let counts = ev.take_counts();
            assert_eq!((counts.rotations, counts.ntt), (1, (d + 2) * (l + k)));
            ev.rotate_hoisted(&ct, &[0, 1, 2, 5]).unwrap();
            let counts = ev.take_counts();
            assert_eq!((counts.hoisted, counts.ntt), (3, d * (l + k) + 3 * 2 * (l + k)));
            let square = ev.square(&ct).unwrap();
            let counts = ev.take_counts();
            assert_eq!((counts.ct_mul, counts.relin, counts.ntt), (1, 1, (d + 2) * (l + k)));
            ev.rescale(&square).unwrap();
            let counts = ev.take_counts();
            assert_eq!((counts.rescale, counts.ntt), (1, 2 * l));
            ev.relinearise_rescale(&ev.tensor_square(&ct).unwrap()).unwrap();
            let counts = ev.take_counts();
            assert_eq!((counts.relin, counts.rescale, counts.ntt), (1, 1, (d + 2) * (l + k)));
        }
    }
}

/// One step of a random computation.
#[derive(Clone, Copy, Debug)]
enum Step {
    AddPlain(u64),
    AddRotated(usize),
    Weigh(u64),
    Scale(i64),
    Rotate(usize),
    Swap,
    Square,
    Switch,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<u64>().prop_map(Step::AddPlain),
        (0usize..5).prop_map(Step::AddRotated),
        any::<u64>().prop_map(Step::Weigh),
        any::<i64>().prop_map(Step::Scale),
        (0usize..5).prop_map(Step::Rotate),
        Just(Step::Swap),
        Just(Step::Square),
        Just(Step::Switch),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_computation_with_noise_to_spare_is_exact(
        steps in proptest::collection::vec(step(), 1..12),
        t_bits in prop_oneof![Just(9u32), 14u32..33, Just(40u32)],
        seed in any::<u64>(),
        alpha in 1usize..3,
    ) {
        let context = context(5, &[46, 44, 45, 44, 46], &[49, 48][..alpha], alpha, t_bits);
        let (t, n, top) = (context.t(), context.slots(), context.params().max_level());
        let mut b = Exact::new(&context, &request_of(&context, &[1, 2, 3, 4]), seed);
        let mut clear = residues(seed, t, n);
        let mut ct = b.encrypt(&clear, top);
        for step in steps {
            let (ev, encoder) = (&b.evaluator, &b.encoder);
            let encode = |v: &[i64], factor| encoder.encode(v, ct.level(), factor).unwrap();
            let (next, expected) = match step {
                Step::AddPlain(seed) => {
                    let w = residues(seed, t, n);
                    let mut y = ct.clone();
                    ev.add_plain_assign(&mut y, &encode(&w, ct.scale())).unwrap();
                    (y, zip(t, &clear, &w, |x, w| x + w))
                }
                Step::AddRotated(r) => {
                    let mut y = ct.clone();
                    ev.add_assign(&mut y, &ev.rotate(&ct, r).unwrap()).unwrap();
                    (y, zip(t, &clear, &rotated_rows(&clear, r), |x, y| x + y))
                }
                Step::Weigh(seed) => {
                    let w = residues(seed, t, n);
                    let factor = context.quotient(Factor::ONE, ct.scale());
                    let y = ev.mul_plain(&ct, &encode(&w, factor)).unwrap();
                    prop_assert_eq!(y.scale(), Factor::ONE);
                    (y, zip(t, &clear, &w, |x, w| x * w))
                }
                Step::Scale(c) => {
                    let y = ev.dot_scalar(&[&ct], &[encoder.scalar(c, ct.scale()).unwrap()]).unwrap();
                    (y, zip(t, &clear, &clear, |x, _| x * i128::from(c)))
                }
                Step::Rotate(r) => (ev.rotate(&ct, r).unwrap(), rotated_rows(&clear, r)),
                Step::Swap => (ev.swap_rows(&ct, 0).unwrap(), swapped_rows(&clear)),
                Step::Square => (ev.square(&ct).unwrap(), zip(t, &clear, &clear, |x, y| x * y)),
                Step::Switch if ct.level() > 1 => (ev.rescale(&ct).unwrap(), clear.clone()),
                Step::Switch => (ct.clone(), clear.clone()),
            };
            if b.noise(&next).spare_bits < 2.0 {
                break;
            }
            (ct, clear) = (next, expected);
            prop_assert_eq!(b.decrypt(&ct), clear.clone(), "{:?}", step);
        }
    }
}
