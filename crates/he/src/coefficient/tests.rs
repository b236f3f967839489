use super::test_world::{World, accumulate_one, prg};
use super::*;
use crate::HeError;
use oblivia_base::codec::{Encode, Reader, Writer};
use oblivia_base::{Blame, Digest, Secret};
use proptest::prelude::*;

fn standard() -> Params {
    Params::cut(&Ring::new(11).unwrap(), 44, 26, 18).unwrap()
}

/// The squares of all weights.
fn sum_squares(world: &World) -> u64 {
    let square = |t: &Term| u64::from(t.weight.unsigned_abs()).pow(2);
    world.kernels.iter().flat_map(Kernel::terms).map(square).sum()
}

#[test]
fn a_replay_in_the_clear_gives_every_phase_share_and_rounding_bit() {
    let ring = Ring::new(11).unwrap();
    for (case, (q, k, l)) in [(44, 26, 18), (40, 26, 18), (52, 32, 20), (52, 52, 30)].into_iter().enumerate()
    {
        let world = World::new(&Params::cut(&ring, q, k, l).unwrap(), 3, 40, case as u64);
        for (seed, method) in [(70, Method::Sparse), (71, Method::Transform)] {
            let reply = world.reply(method, seed);
            let phases = world.sk.phase(&reply, &world.outputs).unwrap();
            let shares = world.sk.finish(&reply, &world.outputs).unwrap();
            let lanes = world.lanes(seed);
            assert_eq!(lanes.expose().len(), world.outputs.len());
            let mut rounds = [0u32; 2];
            for (i, lane) in lanes.expose().iter().enumerate() {
                assert_eq!(lane.phase, u128::from(phases.expose()[i]), "{q} {method:?} {i}");
                assert_eq!(lane.client, shares.expose()[i]);
                let delta = world.params.delta_bits();
                let star = ((lane.y as u128) << delta).wrapping_add(lane.noise() as u128);
                assert_eq!(lane.exact, star & ((1 << q) - 1));
                rounds[lane.round as usize] += 1;
            }
            assert!(rounds.iter().all(|&r| r > 100), "{rounds:?}");
        }
    }
}

#[test]
fn noise_of_every_source_is_as_estimated() {
    let std = |xs: &mut dyn Iterator<Item = i128>| {
        let (mut sum, mut count) = (0.0, 0.0);
        for x in xs {
            sum += (x as f64).powi(2);
            count += 1.0;
        }
        f64::sqrt(sum / count)
    };
    let ring = Ring::new(11).unwrap();
    for (case, (q, k, l, terms)) in
        [(44, 26, 18, 9), (42, 28, 18, 200), (52, 32, 20, 1000)].into_iter().enumerate()
    {
        let params = Params::cut(&ring, q, k, l).unwrap();
        let mut lanes = Vec::new();
        let mut estimate = None;
        // Several keys, because rounding errors of one reply share one s.
        for seed in 0..8 {
            let world = World::new(&params, 2, terms, 50 + 10 * case as u64 + seed);
            // The lane is the noise of the real reply: both give the same phase.
            let phases = world.sk.phase(&world.reply(Method::Sparse, seed), &world.outputs).unwrap();
            let own = world.lanes(seed);
            assert!(own.expose().iter().zip(phases.expose()).all(|(l, &p)| l.phase == u128::from(p)));
            lanes.extend_from_slice(own.expose());
            let next = NoiseEstimate::new(&params, sum_squares(&world));
            assert!(next.fits(&params));
            estimate = estimate.or(Some(next));
        }
        let estimate = estimate.unwrap();
        let near = |what: &str, measured: f64, formula: f64| {
            assert!((measured / formula - 1.0).abs() < 0.1, "{what}: {measured:.1}, formula {formula:.1}");
        };
        near("products", std(&mut lanes.iter().map(|l| l.products.into())), estimate.products);
        near("zero", std(&mut lanes.iter().map(|l| l.zero.into())), estimate.zero);
        near("c1", std(&mut lanes.iter().map(|l| l.dropped1)), estimate.dropped1);
        near("c0", std(&mut lanes.iter().map(|l| l.dropped0)), estimate.dropped0);
        near("all", std(&mut lanes.iter().map(|l| l.noise())), estimate.std());
        assert!(lanes.iter().all(|l| (l.noise().abs() as f64) < estimate.bound));
    }
}

#[test]
fn shares_round_up_as_often_as_the_low_part_says() {
    let world = World::new(&standard(), 1, 20, 9);
    let s = world.params.s_bits();
    let (mut ups, mut expected) = (0.0, 0.0);
    for seed in 0..12 {
        for lane in world.lanes(seed).expose() {
            ups += lane.round as f64;
            expected += ((lane.exact & ((1 << s) - 1)) + 1) as f64 / (1u64 << s) as f64;
        }
    }
    // 12·409 coins: 4 standard deviations are 2.9 % of half of them.
    assert!((ups / expected - 1.0).abs() < 0.06, "{ups} for {expected}");
}

#[test]
fn all_methods_and_all_paths_give_the_same_reply() {
    use oblivia_ring::kernel::Path;
    let world = World::new(&standard(), 3, 30, 10);
    let expected = world.reply(Method::Sparse, 1);
    for path in Path::available() {
        assert!(path.select());
        for method in [Method::Sparse, Method::Transform, Method::TransformOnUse] {
            let reply = world.reply(method, 1);
            assert!(reply.c0 == expected.c0 && reply.c1 == expected.c1, "{path:?} {method:?}");
        }
    }
}

/// χ² of the `bits` highest bits of numbers of `width` bits, less its mean, in standard deviations.
fn deviation(xs: &[u64], width: u32, bits: u32) -> f64 {
    let mut counts = vec![0f64; 1 << bits];
    xs.iter().for_each(|&x| counts[(x >> (width - bits)) as usize] += 1.0);
    let mean = xs.len() as f64 / counts.len() as f64;
    let chi: f64 = counts.iter().map(|c| (c - mean).powi(2) / mean).sum();
    let free = counts.len() as f64 - 1.0;
    (chi - free) / (2.0 * free).sqrt()
}

#[test]
fn what_the_client_decrypts_is_uniform_and_a_missing_mask_is_noticed() {
    let mut world = World::new(&standard(), 1, 25, 11);
    // x = 0 and no bias: all that is left in a phase is noise and the mask.
    world.own = vec![world.messages.expose()[0].iter().map(|m| m.wrapping_neg()).collect()];
    world.bias.fill(0);
    let q = world.params.q_bits();
    let (mut masked, mut planted, mut halves) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
    for seed in 0..20 {
        let reply = world.reply(Method::Sparse, seed);
        masked.extend_from_slice(world.sk.phase(&reply, &world.outputs).unwrap().expose());
        halves[0].extend_from_slice(&reply.c0);
        halves[1].extend_from_slice(&reply.c1);
        let randomness = ReplyRandomness::draw(&world.params, world.outputs.len(), &mut prg(seed));
        let sum = world.accumulated(Method::Sparse, &mut prg(seed)).unwrap();
        let none = Secret::new(vec![0; world.outputs.len()]);
        let bare = sum.rerandomise(&world.pk, &world.outputs, &randomness).unwrap().mask(&none).drop_bits();
        planted.extend_from_slice(world.sk.phase(&bare, &world.outputs).unwrap().expose());
    }
    assert!(deviation(&masked, q, 6).abs() < 5.0);
    assert!(deviation(&planted, q, 6) > 1000.0);
    for (half, bits) in halves.iter().zip(world.params.reply_bits()) {
        let low: Vec<u64> = half.iter().map(|x| x & 63).collect();
        assert!(deviation(half, bits, 6).abs() < 5.0 && deviation(&low, 6, 6).abs() < 5.0);
    }
}

#[test]
fn the_same_sum_is_answered_with_other_masks_and_another_c1_each_time() {
    let world = World::new(&standard(), 1, 25, 12);
    let sum = || world.accumulated(Method::Sparse, &mut prg(3)).unwrap();
    assert_eq!(sum().c1, sum().c1);
    let reply = |seed| {
        let randomness = ReplyRandomness::draw(&world.params, world.outputs.len(), &mut prg(seed));
        sum().mask_and_drop(&world.pk, &world.outputs, randomness).unwrap()
    };
    let (a, b) = (reply(1), reply(2));
    let equal = |a: &[u64], b: &[u64]| a.iter().zip(b).filter(|(a, b)| a == b).count();
    assert!(equal(&a.c0, &b.c0) < 3 && equal(&a.c1, &b.c1) < 3);
    let phases = [&a, &b].map(|r| world.sk.phase(r, &world.outputs).unwrap());
    assert!(equal(phases[0].expose(), phases[1].expose()) < 3);
}

#[test]
fn one_public_key_serves_every_modulus() {
    let ring = Ring::new(11).unwrap();
    let sk = SecretKey::generate(&ring, &mut prg(1));
    let pk = PublicKey::generate(&sk, &[1; 32], &Digest([2; 32]), &mut prg(2));
    let e = pk.error(&sk);
    assert!(e.expose().iter().all(|e| e.abs() <= 29) && e.expose().iter().any(|&e| e != 0));
    // Another nonce or transcript is another a.
    let mut w = Writer::new();
    pk.encode(&mut w);
    let bytes = w.into_bytes();
    let errors = |nonce: u8, transcript: u8| {
        let pk = PublicKey::decode(&ring, &[nonce; 32], &Digest([transcript; 32]), &mut Reader::new(&bytes))
            .unwrap();
        pk.error(&sk).expose().iter().map(|e| e.abs()).max().unwrap()
    };
    assert!(errors(1, 2) <= 29 && errors(2, 2) > 1 << 40 && errors(1, 3) > 1 << 40);
}

#[test]
fn the_least_sufficient_modulus_is_chosen() {
    let ring = Ring::new(11).unwrap();
    let choose = |k, l, sum| Params::choose(&ring, k, l, sum);
    let params = choose(26, 18, 9 * 127 * 127).unwrap();
    assert_eq!((params.q_bits(), params.s_bits(), params.literal().drop_bits), (40, 22, [17, 10]));
    // A sum over 4608 products of 8-bit weights: s grows by one, and not by more.
    let wide = choose(26, 18, 4608 * 127 * 127).unwrap();
    assert_eq!(wide.q_bits(), 41);
    assert!(!NoiseEstimate::new(&params, 4608 * 127 * 127).fits(&params));
    // Wide messages decide.
    assert_eq!(choose(45, 18, 1).unwrap().q_bits(), 45);
    // Nothing is above the table or the word.
    assert!(matches!(choose(17, 18, 1), Err(HeError::Shape { .. })));
    let refused = choose(40, 31, 1).unwrap_err();
    assert_eq!(refused, HeError::Overflow { bits: 53, max: 52 });
    let small = Ring::new(10).unwrap();
    let refused = Params::choose(&small, 12, 8, 1).unwrap_err();
    assert_eq!(refused.blame(), Blame::Refused);
    for (largest, f, k) in [(0, 0, 2), (5, 0, 4), (6, 0, 4), (7, 0, 5), (127, 3, 9), (119, 3, 8), (120, 3, 9)]
    {
        assert_eq!(message_bits(largest, f), k, "{largest} {f}");
        assert!(largest < (1 << (k - 1)) - (1 << f) && (k == 2 || largest >= (1 << (k - 2)) - (1u64 << f)));
    }
}

#[test]
fn widths_outside_the_rules_are_refused() {
    let ring = Ring::new(11).unwrap();
    let good = ParamsLiteral { log_n: 11, q_bits: 44, k_bits: 26, share_bits: 18, drop_bits: [21, 14] };
    assert!(Params::new(&ring, good).is_ok());
    for bad in [
        ParamsLiteral { log_n: 12, ..good },
        ParamsLiteral { q_bits: 53, ..good },
        ParamsLiteral { k_bits: 45, ..good },
        ParamsLiteral { k_bits: 17, ..good },
        ParamsLiteral { share_bits: 0, ..good },
        ParamsLiteral { q_bits: 26, share_bits: 26, drop_bits: [0, 0], ..good },
        ParamsLiteral { drop_bits: [26, 14], ..good },
        ParamsLiteral { drop_bits: [21, 26], ..good },
    ] {
        assert!(Params::new(&ring, bad).is_err(), "{bad:?}");
    }
    assert!(Ring::new(9).is_err() && Ring::new(64).is_err());
    assert_eq!(Ring::new(10).unwrap().max_modulus_bits(), 27);
    assert_eq!(ring.max_modulus_bits(), 52);
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let params = standard();
    let ring = params.ring();
    assert!(Kernel::new(ring, &[(3, 1), (3, 1)]).is_err());
    assert!(Kernel::new(ring, &[(2048, 1)]).is_err());
    assert!(Kernel::new(ring, &[(0, MAX_WEIGHT + 1)]).is_err());
    assert!(Kernel::new(ring, &[(0, i64::MIN)]).is_err());
    assert!(Kernel::new(ring, &[(0, -MAX_WEIGHT), (2047, MAX_WEIGHT)]).is_ok());
    assert!(Outputs::new(ring, vec![1, 1]).is_err() && Outputs::new(ring, vec![2048]).is_err());
    let world = World::new(&params, 2, 5, 13);
    let draw = || UploadRandomness::draw(&params, 1, &mut prg(1));
    assert!(world.sk.encrypt(&params, &world.messages, draw()).is_err());
    let upload = world.sk.encrypt(&params, &Secret::new(vec![vec![0; 2048]]), draw()).unwrap();
    assert!(Inputs::new(&upload, &world.own).is_err());
    let inputs = Inputs::new(&upload, &world.own[..1]).unwrap();
    let kernel = PreparedKernel::new(ring, world.kernels[0].clone(), Method::Sparse).unwrap();
    assert!(accumulate_one(&inputs, vec![(1, &kernel)], &world.outputs, &world.bias).is_err());
    assert!(accumulate_one(&inputs, vec![(0, &kernel)], &world.outputs, &world.bias[1..]).is_err());
    let sum = || accumulate_one(&inputs, vec![(0, &kernel)], &world.outputs, &world.bias).unwrap();
    let short = ReplyRandomness::draw(&params, 3, &mut prg(1));
    assert!(sum().mask_and_drop(&world.pk, &world.outputs, short).is_err());
    let other = Params::cut(ring, 45, 26, 18).unwrap();
    let other = ReplyRandomness::draw(&other, world.outputs.len(), &mut prg(1));
    assert!(sum().mask_and_drop(&world.pk, &world.outputs, other).is_err());
    let few = Outputs::new(ring, vec![0, 1]).unwrap();
    assert!(world.sk.finish(&world.reply(Method::Sparse, 1), &few).is_err());
}

#[test]
fn products_through_the_prime_are_exact_up_to_the_stated_norm_and_refused_beyond() {
    let ring = Ring::new(11).unwrap();
    for q in [40, 51, 52] {
        let params = Params::cut(&ring, q, 26, 18).unwrap();
        let most = ring.max_norm1(q);
        assert!(Method::Transform.fits(&ring, q, most) && !Method::Transform.fits(&ring, q, most + 1));
        assert!(Method::Sparse.fits(&ring, q, u64::MAX));
        // As much weight as one kernel can have, on an input whose halves are as large as they can be.
        let weight = MAX_WEIGHT.min((most / 2048) as i64);
        let mut terms: Vec<_> = (0..2048).map(|i| (i, weight)).collect();
        let mut world = World::new(&params, 1, 1, 15);
        world.kernels = vec![Kernel::new(&ring, &terms).unwrap()];
        let [a, b] = [Method::Sparse, Method::Transform].map(|m| world.reply(m, 2));
        assert!(a.c0 == b.c0 && a.c1 == b.c1, "{q}");
        let worst = (1 << q) - 1;
        let split = ring.forward(&vec![worst; 2048], q);
        let dense: Vec<i64> = terms.iter().map(|t| t.1).collect();
        let product = ring.product(&split, &ring.forward_signed(&dense));
        // The last coefficient is a sum of all weights.
        let sum = 2048 * weight as u64;
        assert!(sum > most - 2048);
        assert_eq!(product[2047] & worst, sum.wrapping_mul(worst) & worst);
        if q > 50 {
            terms.iter_mut().for_each(|t| t.1 *= 2);
            let kernel = Kernel::new(&ring, &terms).unwrap();
            let inputs = {
                let randomness = UploadRandomness::draw(&params, 1, &mut prg(1));
                let upload = world.sk.encrypt(&params, &world.messages, randomness).unwrap();
                Inputs::new(&upload, &world.own).unwrap()
            };
            let prepared = |m| PreparedKernel::new(&ring, kernel.clone(), m).unwrap();
            let sum = |k: &PreparedKernel| accumulate_one(&inputs, vec![(0, k)], &world.outputs, &world.bias);
            for method in [Method::Transform, Method::TransformOnUse] {
                assert!(matches!(sum(&prepared(method)), Err(HeError::Overflow { .. })));
            }
            assert!(sum(&prepared(Method::Sparse)).is_ok());
        }
    }
}

#[test]
fn kernels_are_kept_transformed_while_they_are_few_and_not_at_all_where_they_have_few_terms() {
    let ring = Ring::new(11).unwrap();
    let most = Method::KEPT_BYTES / (8 * 2048);
    let work = |kernels: u64, terms: u64| Work {
        inputs: 64,
        outputs: 64,
        products: kernels,
        terms: kernels * terms,
        sparse_macs: kernels * terms * 4096,
    };
    let choose = |kernels, terms| Method::choose(&ring, &work(kernels, terms), kernels);
    assert_eq!(choose(most, 100), Method::Transform);
    assert_eq!(choose(most + 1, 100), Method::TransformOnUse);
    assert_eq!([choose(most, 3), choose(most + 1, 3)], [Method::Sparse; 2]);
    let bytes = |method| PreparedKernel::bytes(&ring, 10, 1000, method);
    assert!(bytes(Method::Transform) > 10 * 8 * 2048 + 8000 && bytes(Method::Sparse) < 10 * 200 + 8000);
    assert_eq!(bytes(Method::TransformOnUse), bytes(Method::Sparse));
}

fn corpus() -> [Vec<u8>; 4] {
    let params = fuzz::params().unwrap();
    let bytes_of = |encode: &dyn Fn(&mut Writer)| {
        let mut w = Writer::new();
        encode(&mut w);
        w.into_bytes()
    };
    let mut world = World::new(params, fuzz::INPUTS, 5, 14);
    world.outputs = Outputs::new(params.ring(), (100..100 + fuzz::OUTPUTS as u32).collect()).unwrap();
    world.bias.truncate(fuzz::OUTPUTS);
    let randomness = UploadRandomness::draw(params, fuzz::INPUTS, &mut prg(1));
    let upload = world.sk.encrypt(params, &world.messages, randomness).unwrap();
    let reply = world.reply(Method::Sparse, 5);
    let pk = PublicKey::generate(&world.sk, &fuzz::NONCE, &fuzz::transcript(), &mut prg(6));
    assert_eq!(Upload::encoded_bytes(params, fuzz::INPUTS), 32 + 2 * 2048 * 43 / 8);
    assert_eq!(Reply::encoded_bytes(params, fuzz::OUTPUTS), 13 * 23usize.div_ceil(8) - 1 + 2048 * 29 / 8);
    [
        params.literal().to_bytes(),
        bytes_of(&|w| upload.encode(w)),
        bytes_of(&|w| reply.encode(w)),
        bytes_of(&|w| pk.encode(w)),
    ]
}

const HARNESS: [fn(&[u8]) -> bool; 4] = [fuzz::literal, fuzz::upload, fuzz::reply, fuzz::public_key];

#[test]
fn encodings_have_the_stated_length_and_no_other() {
    let params = fuzz::params().unwrap();
    let [_, upload, reply, pk] = corpus();
    assert_eq!(upload.len(), Upload::encoded_bytes(params, fuzz::INPUTS));
    assert_eq!(reply.len(), Reply::encoded_bytes(params, fuzz::OUTPUTS));
    assert_eq!(pk.len(), PublicKey::encoded_bytes(params.ring()));
    for (bytes, harness) in corpus().iter().zip(HARNESS) {
        assert!(harness(bytes));
        assert!(!harness(&bytes[..bytes.len() - 1]) && !harness(&[]));
    }
}

#[test]
fn unused_bits_that_are_set_are_refused() {
    // 13 results of 23 bits leave 5 bits of a byte.
    let mut reply = corpus()[2].clone();
    let last = (13 * 23) / 8;
    assert!(fuzz::reply(&reply));
    for bit in 3..8 {
        reply[last] ^= 1 << bit;
        assert!(!fuzz::reply(&reply), "bit {bit}");
        reply[last] ^= 1 << bit;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn damaged_bytes_never_panic(which in 0usize..4, at: prop::sample::Index, bit in 0u8..8, cut: prop::sample::Index) {
        let corpus = corpus();
        let mut bytes = corpus[which].clone();
        let i = at.index(bytes.len());
        bytes[i] ^= 1 << bit;
        HARNESS[which](&bytes);
        HARNESS[which](&bytes[..cut.index(bytes.len())]);
        HARNESS[which](&bytes.repeat(2));
    }
}
