//! Circuits on exact encrypted slots against the same in the clear, and their counts against the counter's.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use common::{exact, row_chain, scattered};
use oblivia_base::Prg;
use oblivia_he::SecretKey;
use oblivia_he::bfv::{Context, Decryptor, Encoder, Encryptor, Evaluator};
use oblivia_pack::circuit::{Linear, Options, Window};
use oblivia_pack::*;
use std::sync::{Arc, LazyLock};

static CONTEXT: LazyLock<Context> = LazyLock::new(|| exact(30));

fn chain() -> Chain {
    row_chain(&CONTEXT)
}

/// A multiple of 1/16 in [-1, 1].
fn sixteenth(seed: u64, i: usize) -> f64 {
    (scattered(seed, i) % 33) as f64 / 16.0 - 1.0
}

/// Weights of the first layer that are zero, if so said: three diagonals of four.
fn pruned(t: circuit::Tap) -> bool {
    !(t.channel + 16 - t.out).is_multiple_of(4)
}

fn layers(zeros: bool) -> [Linear; 2] {
    let slots = CONTEXT.slots() / 2;
    let input = Layout::features(40, slots, 1, 64).unwrap();
    let hidden = Layout::features(12, slots, 1, 16).unwrap();
    let output = Layout::features(5, slots, 1, 8).unwrap();
    let options = Options { fold: 16, spread: 1, baby: 4, chained: false, quarters: true };
    let window = Window::dense([40, 1, 1], 12);
    let first = match zeros {
        true => Linear::sparse(window, &input, &hidden, options, pruned).unwrap(),
        false => Linear::new(window, &input, &hidden, options).unwrap(),
    };
    assert_eq!(first.schedule().plains(), if zeros { 4 } else { 16 });
    let options = Options { fold: 8, spread: 1, baby: 3, chained: true, quarters: false };
    [first, Linear::new(Window::dense([12, 1, 1], 5), &hidden, &output, options).unwrap()]
}

/// Weights, square, weights; then the hidden layer's square, of a higher level, added at its own scale.
fn circuit<S: Slots>(s: &mut S, x: &S::Ct, plains: &[S::Pt], zeros: bool) -> Result<[S::Ct; 2], S::Error> {
    let mut plains = Plains::new(plains);
    let [first, second] = layers(zeros);
    let hidden = first.run(s, std::slice::from_ref(x), &mut plains, Scale(256.0))?;
    let squared = s.square_rescale(&hidden[0])?;
    let out = second.run(s, std::slice::from_ref(&squared), &mut plains, Scale(65536.0 * 16.0))?;
    let turned = s.rotate(&squared, 3)?;
    let product = s.dot_plain(&[&turned], &[plains.take()?], Scale(65536.0))?;
    let low = s.rescale(&product)?;
    let low = s.add_lowered(&squared, &low)?;
    plains.finish()?;
    Ok([out[0].clone(), low])
}

fn plains(zeros: bool) -> Vec<Plain> {
    let mut all = Vec::new();
    for (seed, linear) in (1..).zip(&layers(zeros)) {
        let weight = |t: circuit::Tap| match zeros && seed == 1 && pruned(t) {
            true => 0.0,
            false => sixteenth(seed, (t.out * 131 + t.channel) * 37 + t.at[0] * 7 + t.at[1]) as f32,
        };
        all.extend(linear.plains(weight, 1.0, |[m, ..]| sixteenth(seed ^ 99, m)));
    }
    // Scale 1: integers.
    all.push(Plain::Slots((0..CONTEXT.slots() / 2).map(|i| (i % 7) as f64 - 3.0).collect()));
    all
}

#[test]
fn a_network_on_exact_slots_gives_the_integers_of_clear_arithmetic_at_the_counted_cost() {
    exact_slots(false);
}

#[test]
fn so_does_one_whose_diagonals_of_zeros_are_left_out() {
    exact_slots(true);
}

fn exact_slots(zeros: bool) {
    let (context, row) = (&*CONTEXT, CONTEXT.slots() / 2);
    let plains = plains(zeros);
    let mut counter = Counter::exact(chain());
    let units = vec![(); plains.len()];
    let input = counter.input(4, Scale(16.0));
    let traced = circuit(&mut counter, &input, &units, zeros).unwrap();
    assert_eq!(traced[0], Traced { level: 1, scale: Scale(1048576.0) });
    assert_eq!(traced[1], Traced { level: 1, scale: Scale(65536.0) });
    assert_eq!(counter.plains().len(), plains.len());

    let features = |seed| (0..40).map(move |i| sixteenth(seed, i));
    let [first, _] = layers(zeros);
    let x = first.input().spread(features(5)).remove(0);
    let other = first.input().spread(features(6)).remove(0);
    let clear = [&x, &other].map(|x| circuit(&mut ClearSlots::new(row), x, &plains, zeros).unwrap());

    let mut rng = Prg::new(&[3; 32], "pack tests", &[]);
    let sk = SecretKey::generate(context.params(), &mut rng);
    let keys = context.evaluation_keys(&sk, counter.keys(), b"", &mut rng).unwrap();
    let (encoder, evaluator) = (Encoder::new(context), Evaluator::new(Arc::new(keys)));
    // One input per row.
    let integers: Vec<i64> = x.iter().chain(&other).map(|v| (v * 16.0) as i64).collect();
    let pt = encoder.encode(&integers, 4, context.level_factor(4).unwrap()).unwrap();
    let ciphertext = Encryptor::new(context).encrypt_symmetric(&sk, &pt, &mut rng).unwrap();
    let x = BfvVector { ciphertext, scale: Scale(16.0) };

    for deferred in [false, true] {
        let prepared: Vec<BfvPlain> = plains
            .iter()
            .zip(counter.plains())
            .map(|(p, at)| match deferred {
                true => BfvPlain::defer(&encoder, p, *at).unwrap(),
                false => BfvPlain::prepare(&encoder, p, *at).unwrap(),
            })
            .collect();
        evaluator.take_counts();
        let found = circuit(&mut BfvSlots::new(&evaluator, &encoder), &x, &prepared, zeros).unwrap();
        assert_eq!(evaluator.take_counts(), counter.counts());
        let decryptor = Decryptor::new(context, &sk).unwrap();
        for (i, (found, traced)) in found.iter().zip(traced).enumerate() {
            assert_eq!((found.ciphertext.level(), found.scale), (traced.level, traced.scale));
            assert_eq!(found.ciphertext.scale(), context.level_factor(traced.level).unwrap());
            let values = encoder.decode(&decryptor.decrypt(&found.ciphertext).unwrap()).unwrap();
            let expected = clear.iter().flat_map(|c| &c[i]).map(|v| (v * traced.scale.0).round() as i64);
            let t = context.t() as i64;
            let centred = |v: i64| (v + t / 2).rem_euclid(t) - t / 2;
            assert!(values.iter().copied().eq(expected.map(centred)), "result {i}");
            assert!(decryptor.noise(&found.ciphertext).unwrap().spare_bits > 1.0);
        }
    }
}

#[test]
fn plaintexts_and_sums_at_other_scales_are_refused() {
    let context = &*CONTEXT;
    let mut rng = Prg::new(&[4; 32], "pack tests", &[]);
    let sk = SecretKey::generate(context.params(), &mut rng);
    let keys = context.evaluation_keys(&sk, &oblivia_he::KeyRequest::new(), b"", &mut rng).unwrap();
    let (encoder, evaluator) = (Encoder::new(context), Evaluator::new(Arc::new(keys)));
    let pt = encoder.encode(&[5], 2, context.level_factor(2).unwrap()).unwrap();
    let ciphertext = Encryptor::new(context).encrypt_symmetric(&sk, &pt, &mut rng).unwrap();
    let x = BfvVector { ciphertext, scale: Scale(16.0) };
    let mut s = BfvSlots::new(&evaluator, &encoder);
    let at = |scale| PlainUse { level: 2, scale: Scale(scale), extended: false };
    let p = BfvPlain::prepare(&encoder, &Plain::Slots(vec![1.5]), at(4.0)).unwrap();
    assert!(s.dot_plain(&[&x], &[&p], Scale(64.0)).is_ok());
    assert!(matches!(s.dot_plain(&[&x], &[&p], Scale(63.0)), Err(BfvError::Circuit(_))));
    assert!(matches!(s.add_plain_assign(&mut x.clone(), &p), Err(BfvError::Circuit(_))));
    assert!(s.add_assign(&mut x.clone(), &BfvVector { scale: Scale(8.0), ..x.clone() }).is_err());
    let scalar = BfvPlain::prepare(&encoder, &Plain::Scalar(0.5), at(4.0)).unwrap();
    let y = s.dot_scalars(&[&x], &[vec![&scalar]], Scale(64.0)).unwrap();
    let bias = BfvPlain::prepare(&encoder, &Plain::Scalar(-1.0), at(64.0)).unwrap();
    let mut y = y[0].clone();
    s.add_plain_assign(&mut y, &bias).unwrap();
    let y = s.rescale(&y).unwrap();
    let message = Decryptor::new(context, &sk).unwrap().decrypt(&y.ciphertext).unwrap();
    assert_eq!(encoder.decode(&message).unwrap()[..2], [5 * 2 - 64, -64]);
    assert!(BfvPlain::prepare(&encoder, &Plain::Slots(vec![1e18]), at(1e3)).is_err());
}
