//! Outputs against a distinguisher that is first seen to catch planted faults.

use crate::hash::{CotHash, Origin};
use crate::silent::{LpnSet, ReceiverFeed, SenderFeed};
use crate::{CotReceiver, CotSender, Direction, Label, ideal};
use oblivia_base::{Digest, Prg, Secret};

const N: usize = 1 << 16;

fn label() -> Label {
    Label { session: Digest([8; 32]), epoch: 0, direction: Direction::ClientSends }
}

fn rng(seed: u8) -> Prg {
    Prg::new(&[seed; 32], "statistics", &[])
}

/// How many standard deviations the farthest of these statistics lies off: frequency of each of the first 64 bits of a
/// value, χ² of each byte, agreement of a value's bits with the next value's and with the bit beside.
fn deviation(values: &[u64], bits: u32) -> f64 {
    let n = values.len() as f64;
    let mut worst = 0f64;
    let mut count = |ones: f64, of: f64| worst = worst.max((2.0 * ones - of).abs() / of.sqrt());
    for bit in 0..bits {
        count(values.iter().filter(|v| *v >> bit & 1 == 1).count() as f64, n);
        count(values.windows(2).filter(|w| (w[0] ^ w[1]) >> bit & 1 == 1).count() as f64, n - 1.0);
        if bit + 1 < bits {
            count(values.iter().filter(|v| (*v ^ *v >> 1) >> bit & 1 == 1).count() as f64, n);
        }
    }
    for byte in 0..bits / 8 {
        let mut cells = [0f64; 256];
        values.iter().for_each(|v| cells[(v >> (8 * byte)) as usize & 255] += 1.0);
        let chi2: f64 = cells.iter().map(|c| (c - n / 256.0).powi(2) / (n / 256.0)).sum();
        worst = worst.max((chi2 - 255.0).abs() / 510f64.sqrt());
    }
    worst
}

/// Below one in ten million for each of some hundred statistics of random values.
const LIMIT: f64 = 6.0;

fn silent_ends() -> (CotSender, CotReceiver) {
    let set = LpnSet::B8;
    let (mut s, mut r) = ideal::cots(&label(), set.base_cots(), &mut rng(1));
    let (mut keys, mut tags) = (vec![0; set.base_cots()], vec![0; set.base_cots()]);
    s.take(&mut keys).unwrap();
    r.take(&mut tags).unwrap();
    let mut sender = SenderFeed::new(&label(), &[set], s.delta(), Secret::new(keys)).unwrap();
    let mut receiver = ReceiverFeed::new(&label(), &[set], Secret::new(tags)).unwrap();
    let message = sender.start(&mut rng(2)).unwrap();
    let answer = receiver.answer(&message, &mut rng(3)).unwrap();
    let digest = sender.finish(&answer, &mut s).unwrap();
    receiver.finish(&digest, &mut r).unwrap();
    (s, r)
}

#[test]
fn random_ots_of_a_silent_round_look_random_and_unhashed_ones_do_not() {
    let (mut s, mut r) = silent_ends();
    let (mut pads, mut choices, mut chosen) = (vec![[0; 2]; N], vec![0; N], vec![0; N]);
    s.random(&mut pads).unwrap();
    r.random(&mut choices, &mut chosen).unwrap();
    let of = |f: &dyn Fn(usize) -> u64| (0..N).map(f).collect::<Vec<u64>>();
    assert!(deviation(&of(&|i| pads[i][0]), 64) < LIMIT);
    assert!(deviation(&of(&|i| pads[i][1]), 64) < LIMIT);
    assert!(deviation(&of(&|i| pads[i][0] ^ pads[i][1]), 64) < LIMIT, "what the receiver must not know");
    assert!(deviation(&of(&|i| u64::from(choices[i])), 1) < LIMIT);
    assert!(deviation(&of(&|i| chosen[i] ^ u64::from(choices[i])), 64) < LIMIT);
    // Planted: keys as pads, whose difference is Δ; tags of trees without the noise mixed in.
    let (mut keys, mut tags) = (vec![0; N], vec![0; N]);
    s.take(&mut keys).unwrap();
    r.take(&mut tags).unwrap();
    let delta = *s.delta().expose();
    assert!(deviation(&of(&|i| keys[i] as u64 ^ (keys[i] ^ delta) as u64), 64) > LIMIT);
    assert!(deviation(&of(&|i| u64::from(i % 1024 == 77)), 1) > LIMIT, "one choice per tree");
}

#[test]
fn the_four_pads_of_an_ot_are_independent_and_those_from_hashes_of_single_keys_are_not() {
    let (mut s, _) = ideal::cots(&label(), 4 * N, &mut rng(4));
    let mut pads = vec![0; 4 * N];
    s.random_of(2, &mut pads).unwrap();
    let sums: Vec<u64> = pads.chunks(4).map(|p| p.iter().fold(0, |a, b| a ^ b)).collect();
    assert!(deviation(&sums, 64) < LIMIT);
    assert!(deviation(&pads, 64) < LIMIT);
    // Planted: mask_j = H(K_0 ⊕ j_0·Δ) ⊕ H(K_1 ⊕ j_1·Δ).
    let (hash, delta) = (CotHash::new(&label()), *s.delta().expose());
    let mut keys = vec![0; 2 * N];
    s.take(&mut keys).unwrap();
    let planted: Vec<u64> = keys
        .chunks(2)
        .map(|pair| {
            let (keys, mut h) = ([pair[0], pair[0] ^ delta, pair[1], pair[1] ^ delta], [0; 4]);
            hash.pads(1, 0, &Origin::Steered, [&keys, &[0]], &mut h);
            (0..4).fold(0, |sum, j| sum ^ h[j & 1] as u64 ^ h[2 + (j >> 1)] as u64)
        })
        .collect();
    assert!(deviation(&planted, 64) > LIMIT);
}

/// The hash with one call, π(σ(x) ⊕ i) ⊕ σ(x): with x' = x ⊕ σ⁻¹(i ⊕ j), outputs of (x, i) and (x', j) always differ by
/// i ⊕ j. The one in use does not fall for it.
#[test]
fn steered_inputs_do_not_show_in_the_hash_of_two_calls() {
    let cipher = crate::kernel::Cipher::new(&[9; 16]);
    let encrypt = |x: u128| {
        let mut out = [0];
        cipher.counter((x >> 64) as u64, x as u64, &mut out);
        out[0]
    };
    let sigma = |x: u128| x.rotate_left(64) ^ (x & !u128::from(u64::MAX));
    // σ⁻¹(A ‖ B) = B ‖ (A ⊕ B).
    let inverse = |y: u128| (y << 64) | ((y >> 64) ^ (y & u128::from(u64::MAX)));
    let one_call = |x: u128, i: u128| encrypt(sigma(x) ^ i) ^ sigma(x);
    let two_calls = |x: u128, i: u64| {
        let mut out = [0];
        cipher.tccr(u128::from(i), 1, 0, &[x], &mut out);
        out[0]
    };
    let mut values = Vec::new();
    for x in 0..1000u128 {
        let x = encrypt(x);
        let (i, j) = (x as u64 >> 40, x as u64 >> 41 ^ 1);
        let steered = x ^ inverse(u128::from(i ^ j));
        assert_eq!(sigma(inverse(x)), x);
        assert_eq!(
            one_call(x, u128::from(i)) ^ one_call(steered, u128::from(j)),
            u128::from(i ^ j),
            "the attack works"
        );
        let difference = two_calls(x, i) ^ two_calls(steered, j) ^ u128::from(i ^ j);
        values.push(difference as u64);
    }
    assert!(deviation(&values, 64) < LIMIT);
}
