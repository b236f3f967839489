use super::lane::{Everything, replay};
use super::test_world::{World, prg, word};
use super::*;
use crate::HeError;
use oblivia_base::codec::{Reader, Writer};
use oblivia_base::{Blame, Digest, Secret};
use proptest::prelude::*;

const N: usize = 4096;

impl World {
    fn phases(&self, reply: &Reply) -> Secret<Vec<u128>> {
        residues::phase(&self.sk, self.params.ring().primes().unwrap(), reply, &self.outputs)
    }
}

/// The sum in plain integers modulo 2^k, coefficient by coefficient.
fn plain(world: &World) -> Vec<i64> {
    let mut y = world.bias.clone();
    for (i, kernel) in world.kernels.iter().enumerate() {
        let x: Vec<u64> =
            world.messages.expose()[i].iter().zip(&world.own[i]).map(|(a, &b)| a.wrapping_add(b)).collect();
        for (y, &p) in y.iter_mut().zip(world.outputs.positions()) {
            for t in kernel.terms() {
                let (p, shift) = (p as usize, t.shift as usize);
                let product = x[(p + N - shift) % N].wrapping_mul(i64::from(t.weight) as u64);
                *y = if p >= shift { y.wrapping_add(product) } else { y.wrapping_sub(product) };
            }
        }
    }
    y.into_iter().map(|y| ring::centre(y, world.params.k_bits())).collect()
}

#[test]
fn a_replay_modulo_two_primes_gives_every_phase_share_and_rounding_bit() {
    for (case, (k, l, terms, weight)) in
        [(26, 18, 640, 127), (16, 16, 10, 1), (45, 20, 2000, 1000), (52, 20, 50, 1 << 20)]
            .into_iter()
            .enumerate()
    {
        let world = World::flooded(k, l, terms, weight, case as u64);
        let reply = world.reply(Method::Transform, 70);
        let phases = world.phases(&reply);
        let client = world.sk.finish(&reply, &world.outputs).unwrap();
        let server = world.draw(70).share();
        let (lanes, sums) = (world.lanes(70), plain(&world));
        assert_eq!(lanes.expose().len(), world.outputs.len());
        let mut rounds = [0u32; 2];
        for (i, lane) in lanes.expose().iter().enumerate() {
            assert_eq!(lane.y, sums[i]);
            assert_eq!(lane.phase, phases.expose()[i], "{k} {l} {i}");
            assert_eq!([lane.client, lane.server], [client.expose()[i], server.expose()[i]]);
            rounds[lane.round as usize] += 1;
            // The quotient by 2^f, rounded down or up.
            let sum = lane.client.wrapping_add(lane.server).wrapping_sub((lane.y >> (k - l)) as u64);
            assert!([0, 1].contains(&(sum & ((1 << l) - 1))), "{k} {l} {i}");
        }
        assert!(k == l || rounds.iter().all(|&r| r > 10), "{rounds:?}");
    }
}

#[test]
fn noise_stays_below_the_bound_from_norms_and_the_bound_is_2_40_times_below_the_flood() {
    let mut closest = 0f64;
    for (case, (k, l, terms, weight)) in
        [(26, 18, 640, 127), (30, 16, 2048, 127), (20, 18, 1, 1), (45, 20, 2000, 1000)]
            .into_iter()
            .enumerate()
    {
        let world = World::flooded(k, l, terms, weight, 20 + case as u64);
        let flood = *world.params.flood().unwrap();
        let bound = flood.largest_noise(N);
        let norm = u128::from(flood.norm1);
        for seed in 0..3 {
            for lane in world.lanes(seed).expose() {
                assert!(u128::from(lane.products.unsigned_abs()) <= 29 * norm);
                assert!(u128::from(lane.zero.unsigned_abs()) <= 29 * (2 * N as u128 + 1));
                assert!(lane.encoding.unsigned_abs() <= norm + 1, "{} of {norm}", lane.encoding);
                assert!(lane.undropped().unsigned_abs() <= bound);
                closest = closest.max(lane.encoding.unsigned_abs() as f64 / (norm + 1) as f64);
                // Dropping leaves the rounding as it is modulo powers of two.
                assert!(lane.noise().unsigned_abs() < 1 << (world.params.s_bits() - 4));
            }
        }
        // results·|E| of the q/2^L values between two steps of a share.
        let q = world.params.ring().primes().unwrap().q();
        assert!((u128::from(flood.results) * bound) << (l + DISTANCE_BITS) <= q);
        let distance = world.params.log_distance().unwrap();
        assert!((-43.0..=-40.0).contains(&distance) || k > 40, "{distance}");
        assert!(NoiseEstimate::new(&world.params, flood.norm1 * weight as u64).fits(&world.params));
    }
    // With one weight of 1 both halves of a unit are nearly reached: the encodings are there.
    assert!(closest > 0.3, "{closest}");
}

#[test]
fn the_worst_errors_there_can_be_nearly_reach_the_bound_and_change_no_share() {
    let mut world = World::flooded(26, 18, 640, 127, 30);
    let ring = world.params.ring().clone();
    // At the last coefficient nothing wraps around: every sum can have all its terms of one sign.
    let last = N - 1;
    world.outputs = Outputs::new(&ring, vec![last as u32]).unwrap();
    world.bias.truncate(1);
    let of = |x: &oblivia_ring::Poly<oblivia_ring::Ntt>| {
        let m = *ring.basis().modulus(0);
        x.clone().into_coeff().row(0).iter().map(|&x| m.centre(x)).collect::<Vec<_>>()
    };
    let (s, pk_error) = (of(world.sk.expose()), world.pk.error(&world.sk));
    let along =
        |x: &[i64], size: i64| Secret::new((0..N).map(|j| size * x[last - j].signum()).collect::<Vec<_>>());
    let upload = || {
        let mut upload = UploadRandomness::draw(&world.params, 2, &mut prg(1));
        for (errors, kernel) in upload.errors.iter_mut().zip(&world.kernels) {
            errors.expose_mut().fill(0);
            let places = kernel.terms().iter();
            places.for_each(|t| {
                errors.expose_mut()[last - t.shift as usize] = 29 * i64::from(t.weight.signum())
            });
        }
        upload
    };
    let reply = || {
        let mut reply = ReplyRandomness::draw(&world.params, 1, &mut prg(2));
        reply.v = along(pk_error.expose(), 1);
        reply.e1 = along(&s, 29);
        reply.e0.expose_mut().fill(29);
        reply
    };
    let products: Vec<_> = world.kernels.iter().enumerate().collect();
    let lanes = replay(&Everything {
        params: &world.params,
        sk: &world.sk,
        pk: &world.pk,
        messages: world.messages.expose(),
        upload: &upload(),
        own: &world.own,
        products: &products,
        outputs: &world.outputs,
        bias: &world.bias,
        reply: &reply(),
    })
    .unwrap();
    let lane = lanes.expose()[0];
    let flood = world.params.flood().unwrap();
    assert_eq!(lane.products.unsigned_abs(), 29 * flood.norm1);
    // A third of s is 0, and errors of the key are as they were drawn.
    assert!(lane.zero > 29 * N as i64 / 2);
    let (found, bound) = (lane.undropped().unsigned_abs(), flood.largest_noise(N));
    assert!(found <= bound && 10 * found > 9 * bound, "{found} of {bound}");
    let sent = world.sk.encrypt(&world.params, &world.messages, upload()).unwrap();
    let inputs = Inputs::new(&sent, &world.own).unwrap();
    let prepare = |k: &Kernel| PreparedKernel::new(&ring, k.clone(), Method::Transform).unwrap();
    let kernels: Vec<_> = world.kernels.iter().map(prepare).collect();
    let (products, bias) = (kernels.iter().enumerate().collect(), world.bias.clone());
    let sum = accumulate(&inputs, &[Sum { products, outputs: &world.outputs, bias }]).unwrap().remove(0);
    let sent = sum.mask_and_drop(&world.pk, &world.outputs, reply()).unwrap();
    assert_eq!(world.phases(&sent).expose()[0], lane.phase);
    // The share is what it would be without any noise: the noise is 2^-43 of the distance between steps.
    let primes = ring.primes().unwrap();
    let x = (lane.phase as i128 - lane.dropped0 - lane.dropped1).rem_euclid(primes.q() as i128) as u128;
    let without = (x as i128 - lane.undropped()).rem_euclid(primes.q() as i128) as u128;
    assert_eq!(primes.high(x, 18), primes.high(without, 18));
}

#[test]
fn a_share_tells_of_the_noise_only_where_a_step_lies_between() {
    // Every value of the mask of a small modulus: how many shares an E changes.
    let ring = Ring::two_primes(12, 27).unwrap();
    let primes = ring.primes().unwrap();
    let (q, l) = (primes.q(), 3);
    for e in [1u128, 1000, 123_456] {
        let mut changed = 0u128;
        for step in 1..=1u128 << l {
            // The values that jump over a step when E is taken off are the e ones from it on.
            let edge = (step * q).div_ceil(1 << l);
            let g = |x: u128| primes.high(x % q, l);
            for (x, differs) in [(edge - 1, false), (edge, true), (edge + e - 1, true), (edge + e, false)] {
                assert_eq!(g(x) != g(x - e), differs, "{e} {step}");
            }
            changed += e;
        }
        assert_eq!(changed, e << l);
    }
}

#[test]
fn a_flood_that_is_too_small_is_refused() {
    let flood = Flood { norm1: 640 * 127, results: 10 };
    let bits = flood.prime_bits(N, 26, 18).unwrap();
    assert_eq!(bits, 42);
    let ring = |bits| Ring::two_primes(12, bits).unwrap();
    assert!(Params::flooded(&ring(bits), 26, 18, flood).is_ok());
    let refused = Params::flooded(&ring(bits - 1), 26, 18, flood).unwrap_err();
    assert_eq!(refused, HeError::FloodTooSmall { bits: 82, needed: 83 });
    assert_eq!(refused.blame(), Blame::Refused);
    // More weight, more results or wider shares need more.
    for more in [Flood { norm1: flood.norm1 << 4, ..flood }, Flood { results: 160, ..flood }] {
        assert!(matches!(Params::flooded(&ring(bits), 26, 18, more), Err(HeError::FloodTooSmall { .. })));
    }
    assert!(matches!(Params::flooded(&ring(bits), 26, 22, flood), Err(HeError::FloodTooSmall { .. })));
    // What no two primes drown.
    let refused = Flood { norm1: 1 << 40, results: 1000 }.prime_bits(N, 26, 18);
    assert_eq!(refused, Err(HeError::FloodTooSmall { bits: 100, needed: 113 }));
    let most = Flood { norm1: u64::MAX, results: u64::MAX };
    assert_eq!(most.prime_bits(N, 26, 60), Err(HeError::FloodTooSmall { bits: 100, needed: 127 }));
    assert!(matches!(Params::flooded(&ring(50), 52, 50, most), Err(HeError::FloodTooSmall { .. })));
}

#[test]
fn more_weight_than_the_flood_is_for_is_refused() {
    let mut world = World::flooded(26, 18, 20, 100, 40);
    assert!(world.accumulated(Method::Transform, &mut prg(1)).is_ok());
    let ring = world.params.ring().clone();
    let mut terms: Vec<_> = world.kernels[0].terms().iter().map(|t| (t.shift, i64::from(t.weight))).collect();
    terms[0].1 = 101;
    world.kernels[0] = Kernel::new(&ring, &terms).unwrap();
    assert!(matches!(world.accumulated(Method::Transform, &mut prg(1)), Err(HeError::Overflow { .. })));
}

#[test]
fn rings_and_widths_of_the_wrong_kind_are_refused() {
    let (word, primes) = (Ring::new(12).unwrap(), Ring::two_primes(12, 42).unwrap());
    let flood = Flood { norm1: 100, results: 1 };
    assert!(matches!(Params::flooded(&word, 26, 18, flood), Err(HeError::Shape { .. })));
    assert!(matches!(Params::cut(&primes, 84, 26, 18), Err(HeError::Shape { .. })));
    for (k, l) in [(17, 18), (26, 0), (53, 18)] {
        assert!(matches!(Params::flooded(&primes, k, l, flood), Err(HeError::Shape { .. })), "{k} {l}");
    }
    assert!(matches!(Ring::two_primes(12, 26), Err(HeError::Shape { .. })));
    assert!(matches!(Ring::two_primes(11, 28), Err(HeError::AboveSecurityTable { .. })));
    assert!(Ring::two_primes(12, 50).is_ok() && Ring::two_primes(12, 51).is_err());
    let kernel = Kernel::new(&primes, &[(0, 1)]).unwrap();
    assert!(PreparedKernel::new(&primes, kernel.clone(), Method::Sparse).is_err());
    assert!(!Method::Sparse.fits(&primes, 84, 1) && Method::Transform.fits(&primes, 84, u64::MAX));
    // Keys and kernels of the same degree and another modulus.
    let world = World::flooded(26, 18, 20, 100, 41);
    let sk = SecretKey::generate(&word, &mut prg(1));
    let pk = PublicKey::generate(&sk, &[1; 32], &Digest([2; 32]), &mut prg(1));
    let sum = world.accumulated(Method::Transform, &mut prg(1)).unwrap();
    assert!(sum.mask_and_drop(&pk, &world.outputs, world.draw(1)).is_err());
    assert!(sk.finish(&world.reply(Method::Transform, 1), &world.outputs).is_err());
    let inputs = Inputs::new(&world.upload(&mut prg(1)), &world.own).unwrap();
    let other = PreparedKernel::new(&word, kernel, Method::Transform).unwrap();
    let (outputs, bias) = (&world.outputs, world.bias.clone());
    assert!(accumulate(&inputs, &[Sum { products: vec![(0, &other)], outputs, bias }]).is_err());
}

/// χ² of the 6 highest bits of numbers below `q`, less its mean, in standard deviations.
fn deviation(xs: &[u128], q: u128) -> f64 {
    let mut counts = [0f64; 64];
    xs.iter().for_each(|&x| counts[(x * 64 / q) as usize] += 1.0);
    let mean = xs.len() as f64 / 64.0;
    (counts.iter().map(|c| (c - mean).powi(2) / mean).sum::<f64>() - 63.0) / 126f64.sqrt()
}

#[test]
fn phases_modulo_two_primes_are_uniform_and_a_missing_mask_is_noticed() {
    let mut world = World::flooded(26, 18, 25, 100, 42);
    world.own =
        world.messages.expose().iter().map(|m| m.iter().map(|m| m.wrapping_neg()).collect()).collect();
    world.bias.fill(0);
    let q = world.params.ring().primes().unwrap().q();
    let (mut masked, mut planted, mut c1) = (Vec::new(), Vec::new(), Vec::new());
    for seed in 0..20 {
        let reply = world.reply(Method::Transform, seed);
        masked.extend_from_slice(world.phases(&reply).expose());
        let d1 = world.params.literal().drop_bits[1];
        c1.extend(residues::restore(&reply.c1, d1));
        let none = Secret::new(vec![0; 2 * world.outputs.len()]);
        let sum = world.accumulated(Method::Transform, &mut prg(seed)).unwrap();
        let bare = sum.rerandomise(&world.pk, &world.outputs, &world.draw(seed)).unwrap().mask(&none);
        planted.extend_from_slice(world.phases(&bare.drop_bits()).expose());
    }
    assert!(deviation(&masked, q).abs() < 5.0 && deviation(&c1, q).abs() < 5.0);
    assert!(deviation(&planted, q) > 100.0);
}

#[test]
fn encodings_modulo_two_primes_have_the_stated_length_and_residues_that_are_none_are_refused() {
    let world = World::flooded(26, 18, 20, 100, 43);
    let (params, ring) = (&world.params, world.params.ring());
    let bytes_of = |encode: &dyn Fn(&mut Writer)| {
        let mut w = Writer::new();
        encode(&mut w);
        w.into_bytes()
    };
    let upload = bytes_of(&|w| world.upload(&mut prg(1)).encode(w));
    assert_eq!(upload.len(), Upload::encoded_bytes(params, 2));
    let bits = ring.max_modulus_bits() as usize;
    assert_eq!(upload.len(), 32 + 2 * N * bits / 8);
    let pk = bytes_of(&|w| world.pk.encode(w));
    assert_eq!(pk.len(), PublicKey::encoded_bytes(ring));
    let reply = bytes_of(&|w| world.reply(Method::Transform, 1).encode(w));
    assert_eq!(reply.len(), Reply::encoded_bytes(params, world.outputs.len()));
    let read_upload = |bytes: &[u8]| Upload::decode(params, 2, &mut Reader::new(bytes));
    let read_pk = |bytes: &[u8]| PublicKey::decode(ring, &[1; 32], &Digest([2; 32]), &mut Reader::new(bytes));
    let read_reply = |bytes: &[u8]| Reply::decode(params, world.outputs.len(), &mut Reader::new(bytes));
    assert_eq!(read_upload(&upload).unwrap().c0, world.upload(&mut prg(1)).c0);
    assert_eq!(read_pk(&pk).unwrap().error(&world.sk).expose(), world.pk.error(&world.sk).expose());
    assert_eq!(read_reply(&reply).unwrap().c1, world.reply(Method::Transform, 1).c1);
    assert!(read_upload(&upload[..upload.len() - 1]).is_err() && read_pk(&pk[..100]).is_err());
    assert!(read_reply(&reply[..reply.len() - 1]).is_err());
    // All bits set is above every prime.
    let (mut bad_upload, mut bad_pk) = (upload.clone(), pk.clone());
    bad_upload[32..40].fill(0xff);
    bad_pk[..8].fill(0xff);
    assert!(read_upload(&bad_upload).is_err() && read_pk(&bad_pk).is_err());
    // Another nonce or transcript is another a.
    let other = PublicKey::decode(ring, &[2; 32], &Digest([2; 32]), &mut Reader::new(&pk)).unwrap();
    assert!(other.error(&world.sk).expose().iter().any(|e| e.unsigned_abs() > 1 << 30));
}

#[test]
fn encoding_and_lifting_are_exact() {
    let ring = Ring::two_primes(12, 45).unwrap();
    let primes = ring.primes().unwrap();
    let q = primes.q();
    let mut rng = prg(50);
    for k in [1, 2, 17, 26, 36] {
        let mut messages = vec![0, 1, (1 << k) - 1, 1 << (k - 1)];
        messages.extend((0..50).map(|_| word(&mut rng) & ((1 << k) - 1)));
        let row = primes.encode(k, &messages);
        for (x, &m) in primes.lift_row(&row).zip(&messages) {
            let exact = (q * u128::from(m) + (1 << (k - 1))) >> k;
            assert_eq!(x, exact % q, "{k} {m}");
        }
        let high: Vec<u64> = primes.lift_row(&row).map(|x| primes.high(x, k)).collect();
        let near = |(h, &m): (u64, &u64)| h == m || h + 1 == m;
        assert!(high.into_iter().zip(&messages).all(near), "{k}");
    }
    for _ in 0..100 {
        let x = (u128::from(word(&mut rng)) << 64 | u128::from(word(&mut rng))) % q;
        assert_eq!(primes.lift_row(&primes.residues(&[x])).next(), Some(x));
        let quotient = ((x >> 7) << 24) / (q >> 7);
        assert!(u128::from(primes.high(x, 24)).abs_diff(quotient) <= 1);
        assert_eq!(primes.centre(x).rem_euclid(q as i128) as u128, x);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn damaged_residues_never_panic(at: prop::sample::Index, bit in 0u8..8, cut: prop::sample::Index) {
        let params = fuzz::flooded().unwrap();
        let sk = SecretKey::generate(params.ring(), &mut prg(60));
        let pk = PublicKey::generate(&sk, &fuzz::NONCE, &fuzz::transcript(), &mut prg(61));
        let messages = Secret::new(vec![vec![0; N]; fuzz::INPUTS]);
        let upload = sk.encrypt(params, &messages, UploadRandomness::draw(params, fuzz::INPUTS, &mut prg(62))).unwrap();
        let (mut upload_bytes, mut pk_bytes) = (Writer::new(), Writer::new());
        upload.encode(&mut upload_bytes);
        pk.encode(&mut pk_bytes);
        type Harness = (Vec<u8>, fn(&[u8]) -> bool);
        let harness: [Harness; 2] = [
            (upload_bytes.into_bytes(), fuzz::residue_upload),
            (pk_bytes.into_bytes(), fuzz::residue_public_key),
        ];
        for (mut bytes, harness) in harness {
            prop_assert!(harness(&bytes) && !harness(&bytes[..bytes.len() - 1]));
            let i = at.index(bytes.len());
            bytes[i] ^= 1 << bit;
            harness(&bytes);
            harness(&bytes[..cut.index(bytes.len())]);
        }
    }
}
