//! What is read from bytes: sizes, round trips, and everything that must be refused.

#![expect(clippy::unwrap_used, reason = "statics of the tests unwrap too")]

mod common;

use common::*;
use oblivia_base::Blame;
use oblivia_base::codec::{Decode, Encode, Reader, Writer};
use oblivia_he::ckks::{Decryptor, Encoder, Encryptor};
use oblivia_he::*;
use oblivia_ring::RingKind;
use proptest::prelude::*;
use std::sync::LazyLock;

const SCALE: f64 = fuzz::SCALE;

fn bytes_of(encode: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::new();
    encode(&mut w);
    w.into_bytes()
}

/// One valid encoding of every kind, under the parameters of the harness.
struct Corpus {
    sk: SecretKey,
    literal: Vec<u8>,
    request: Vec<u8>,
    whole: Vec<u8>,
    seeded: Vec<u8>,
    public: Vec<u8>,
    keys: Vec<u8>,
    exact: [Vec<u8>; 6],
}

static CORPUS: LazyLock<Corpus> = LazyLock::new(|| {
    let params = fuzz::params().unwrap();
    let mut rng = rng(21);
    let sk = SecretKey::generate(params, &mut rng);
    let pt = Encoder::new(params).encode(&[0.5, -0.25], fuzz::LEVEL, SCALE).unwrap();
    let encryptor = Encryptor::new(params);
    let whole = encryptor.encrypt_symmetric(&sk, &pt, &mut rng).unwrap();
    let seeded = encryptor.encrypt_seeded(&sk, &pt, fuzz::LABEL, &mut rng).unwrap();
    let public = PublicKey::generate(&sk, fuzz::LABEL, &mut rng);
    let keys = EvaluationKeys::generate(&sk, &fuzz::request(), fuzz::LABEL, &mut rng).unwrap();
    Corpus {
        literal: params.literal().to_bytes(),
        request: fuzz::request().to_bytes(),
        whole: bytes_of(|w| whole.encode(w)),
        seeded: bytes_of(|w| seeded.encode(w)),
        public: bytes_of(|w| public.encode(w)),
        keys: keys.to_bytes(),
        sk,
        exact: exact_corpus(),
    }
});

/// The same for exact arithmetic, in the order of the harness functions.
fn exact_corpus() -> [Vec<u8>; 6] {
    use oblivia_he::bfv::*;
    let context = fuzz::context().unwrap();
    let mut rng = rng(27);
    let sk = SecretKey::generate(context.params(), &mut rng);
    let pt = Encoder::new(context).encode(&[5, -7], fuzz::LEVEL, Factor::ONE).unwrap();
    let encryptor = Encryptor::new(context);
    let whole = encryptor.encrypt_symmetric(&sk, &pt, &mut rng).unwrap();
    let seeded = encryptor.encrypt_seeded(&sk, &pt, fuzz::LABEL, &mut rng).unwrap();
    let public = context.public_key(&sk, fuzz::LABEL, &mut rng).unwrap();
    let keys = context.evaluation_keys(&sk, &fuzz::exact_request(), fuzz::LABEL, &mut rng).unwrap();
    let keys_bytes = keys.to_bytes();
    let reply = Evaluator::new(std::sync::Arc::new(keys)).reply(&whole, fuzz::CUT).unwrap();
    [
        ContextLiteral::of(std::slice::from_ref(context)).unwrap().to_bytes(),
        bytes_of(|w| whole.encode(w)),
        bytes_of(|w| seeded.encode(w)),
        bytes_of(|w| public.encode(w)),
        keys_bytes,
        bytes_of(|w| reply.encode(w)),
    ]
}

type Harness = fn(&[u8]) -> bool;

fn harnesses() -> [(Harness, &'static [u8]); 12] {
    let c: &'static Corpus = &CORPUS;
    [
        (fuzz::params_literal, &c.literal),
        (fuzz::key_request, &c.request),
        (fuzz::ciphertext, &c.whole),
        (fuzz::seeded_ciphertext, &c.seeded),
        (fuzz::public_key, &c.public),
        (fuzz::evaluation_keys, &c.keys),
        (fuzz::exact_literal, &c.exact[0]),
        (fuzz::exact_ciphertext, &c.exact[1]),
        (fuzz::exact_seeded_ciphertext, &c.exact[2]),
        (fuzz::exact_public_key, &c.exact[3]),
        (fuzz::exact_evaluation_keys, &c.exact[4]),
        (fuzz::exact_reply, &c.exact[5]),
    ]
}

#[test]
fn every_valid_encoding_is_accepted_and_no_prefix_of_it_is() {
    for (i, (harness, valid)) in harnesses().into_iter().enumerate() {
        assert!(harness(valid), "decoder {i}");
        for cut in [0, 1, 31, 32, 33, valid.len() / 2, valid.len() - 1] {
            assert!(cut >= valid.len() || !harness(&valid[..cut]), "decoder {i} at {cut}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn arbitrary_bytes_never_panic_a_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for (harness, _) in harnesses() {
            harness(&bytes);
        }
    }

    #[test]
    fn damaged_encodings_are_refused_or_mean_exactly_their_bytes(
        which in 0usize..12,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let (harness, valid) = harnesses()[which];
        let mut bytes = valid.to_vec();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        harness(&bytes);
    }
}

/// Literals that nearly fill every row of the security table that holds any; with levels of their own in the
/// conjugate-invariant ring, and exact ones in the standard ring.
fn literals() -> Vec<(Harness, Vec<u8>)> {
    let rows: [(u32, Vec<u32>, Vec<u32>); 5] = [
        (11, vec![26], vec![28]),
        (12, vec![34; 2], vec![40]),
        (13, vec![42; 4], vec![49]),
        (14, vec![43; 9], vec![50]),
        (15, vec![46; 17], vec![49; 2]),
    ];
    let mut all: Vec<(Harness, Vec<u8>)> = Vec::new();
    for (log_n, q, p) in rows {
        let (limbs, special) = (q.len(), p.len());
        let standard = ParamsLiteral {
            kind: RingKind::Standard,
            log_n,
            q: Moduli::Bits(q),
            p: Moduli::Bits(p),
            alpha: special.min(limbs),
            levels: Vec::new(),
        };
        let level = |l: usize| LevelLiteral {
            q: (0..l).collect(),
            p: (limbs..limbs + special).collect(),
            alpha: special.min(l),
        };
        let own = ParamsLiteral {
            kind: RingKind::ConjugateInvariant,
            levels: (1..=limbs).map(level).collect(),
            ..standard.clone()
        };
        let exact = bfv::ContextLiteral { params: standard.clone(), t: Moduli::Bits(vec![log_n + 8]) };
        all.push((fuzz::params_literal, standard.to_bytes()));
        all.push((fuzz::params_literal, own.to_bytes()));
        all.push((fuzz::exact_literal, exact.to_bytes()));
    }
    all
}

#[test]
fn the_checks_accept_the_literals_of_every_dimension_that_are_damaged_below() {
    for (harness, bytes) in literals() {
        assert!(harness(&bytes));
        let literal = ParamsLiteral::decode(&mut Reader::new(&bytes)).unwrap();
        let params = Params::new(&literal).unwrap();
        let most = security::max_log_qp(params.n()).unwrap();
        assert!(params.log_qp() > f64::from(most) - 2.0, "{}", params.log_qp());
        if let Ok(exact) = bfv::ContextLiteral::from_bytes(&bytes) {
            bfv::Context::all(&exact).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn damaged_literals_of_any_dimension_never_panic_nor_pass_the_security_table(
        which in any::<prop::sample::Index>(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), 250u8..=255, 0u8..6]), 1..4),
    ) {
        let literals = literals();
        let (harness, mut bytes) = literals[which.index(literals.len())].clone();
        for (at, by) in edits {
            let at = at.index(bytes.len());
            bytes[at] = bytes[at].wrapping_add(by);
        }
        harness(&bytes);
    }
}

#[test]
fn sizes_are_known_before_anything_exists() {
    let params = fuzz::params().unwrap();
    let c = &CORPUS;
    assert_eq!(c.whole.len(), Ciphertext::encoded_bytes(params, 1).unwrap());
    assert_eq!(c.seeded.len(), SeededCiphertext::encoded_bytes(params, 1).unwrap());
    assert_eq!(c.public.len(), PublicKey::encoded_bytes(params));
    assert_eq!(c.keys.len(), fuzz::request().encoded_bytes(params));

    // Truncation by level shows in the size: d(l) digits over l + k limbs.
    let params = small(RingKind::Standard, 6, &[30, 20, 20], &[35], 1);
    let mut request = KeyRequest::new();
    request.need_rotation(3, 1);
    request.need_rotation(4, 3);
    request.need_relin(2);
    let bits = [35 + 30, 2 * (35 + 30 + 20), 3 * (35 + 30 + 20 + 20)];
    assert_eq!(request.encoded_bytes(&params), 96 + bits.iter().map(|b| 64 * b / 8).sum::<usize>());
    let b = Bench::new(&params, &KeyRequest::new(), 22);
    let keys = EvaluationKeys::generate(&b.sk, &request, b"", &mut rng(23)).unwrap();
    assert_eq!(keys.to_bytes().len(), request.encoded_bytes(&params));
}

#[test]
fn decoded_objects_work_like_the_originals() {
    let params = small(RingKind::ConjugateInvariant, 6, &[40, 33, 33], &[45], 1);
    let mut request = KeyRequest::new();
    request.need_relin(3);
    request.need_rotation(5, 2);
    let mut rng = rng(24);
    let sk = SecretKey::generate(&params, &mut rng);
    let encoder = Encoder::new(&params);
    let scale = 2f64.powi(33);
    let z = reals(1, 64);
    let pt = encoder.encode(&z, 3, scale).unwrap();

    let sent = EvaluationKeys::generate(&sk, &request, b"session", &mut rng).unwrap().to_bytes();
    let keys = EvaluationKeys::from_bytes(&params, &request, b"session", &sent).unwrap();
    let evaluator = ckks::Evaluator::new(std::sync::Arc::new(keys));

    let pk = PublicKey::generate(&sk, b"session", &mut rng);
    let pk = PublicKey::decode(&params, b"session", &mut Reader::new(&bytes_of(|w| pk.encode(w)))).unwrap();
    let public = Encryptor::new(&params).encrypt(&pk, &pt, &mut rng).unwrap();

    let up = Encryptor::new(&params).encrypt_seeded(&sk, &pt, b"session", &mut rng).unwrap();
    let up =
        SeededCiphertext::decode(&params, 3, scale, &mut Reader::new(&bytes_of(|w| up.encode(w)))).unwrap();

    for ct in [up.expand(&params, b"session").unwrap(), public] {
        let mut out = evaluator.rescale(&evaluator.square(&ct).unwrap()).unwrap();
        evaluator.drop_level_assign(&mut out, 2).unwrap();
        let out = evaluator.rotate(&out, 5).unwrap();
        let bytes = bytes_of(|w| out.encode(w));
        let down = Ciphertext::decode(&params, 2, out.scale(), &mut Reader::new(&bytes)).unwrap();
        let found = encoder.decode(&Decryptor::new(&sk).decrypt(&down).unwrap()).unwrap();
        let expected: Vec<f64> = rotated(&z, 5).iter().map(|x| x * x).collect();
        assert!(max_error(&found, &expected) < 1e-6);
    }

    // Under another label the uniform half is another one: nothing decrypts.
    let wrong = up.expand(&params, b"other").unwrap();
    let found = encoder.decode(&Decryptor::new(&sk).decrypt(&wrong).unwrap()).unwrap();
    assert!(max_error(&found, &z) > 1.0);
}

#[test]
fn keys_for_another_request_or_parameters_are_refused() {
    let params = fuzz::params().unwrap();
    let mut other = fuzz::request();
    other.need_rotation(4, 1);
    let e = EvaluationKeys::from_bytes(params, &other, fuzz::LABEL, &CORPUS.keys).unwrap_err();
    assert_eq!((e.blame(), e), (Blame::PeerIncompatible, HeError::RequestMismatch));
    let mut longer = CORPUS.keys.clone();
    longer.push(0);
    assert!(EvaluationKeys::from_bytes(params, &fuzz::request(), fuzz::LABEL, &longer).is_err());
    let stranger = small(RingKind::ConjugateInvariant, 11, &[20], &[25], 1);
    let e = EvaluationKeys::from_bytes(&stranger, &fuzz::request(), fuzz::LABEL, &CORPUS.keys).unwrap_err();
    assert!(matches!(e, HeError::ParamsMismatch { .. }));
    let mut absurd = KeyRequest::new();
    absurd.rotations.insert(0, [1].into());
    assert!(matches!(absurd.check(params), Err(HeError::RotationStep { step: 0, .. })));
    let mut absurd = KeyRequest::new();
    absurd.need_rotation(2048, 1);
    assert!(matches!(absurd.check(params), Err(HeError::RotationStep { step: 2048, max: 2047 })));
    let mut absurd = KeyRequest::new();
    absurd.need_relin(2);
    assert!(matches!(
        EvaluationKeys::generate(&CORPUS.sk, &absurd, b"", &mut rng(1)),
        Err(HeError::Level { level: 2, max: 1, .. })
    ));
}

#[test]
fn ciphertexts_of_another_level_scale_or_parameters_are_refused() {
    let params = small(RingKind::ConjugateInvariant, 6, &[30, 20], &[35], 1);
    let mut b = Bench::new(&params, &KeyRequest::new(), 25);
    let ct = b.encrypt(&[1.0], 2, SCALE);
    let bytes = bytes_of(|w| ct.encode(w));
    let decode = |p: &Params, level, scale| Ciphertext::decode(p, level, scale, &mut Reader::new(&bytes));
    assert!(decode(&params, 2, SCALE).is_ok());
    assert!(matches!(decode(&params, 1, SCALE), Err(HeError::LevelMismatch { left: 2, right: 1, .. })));
    assert!(matches!(decode(&params, 2, SCALE + 1e-9), Err(HeError::ScaleMismatch { .. })));
    assert!(matches!(decode(&params, 3, SCALE), Err(HeError::Level { .. })));
    let other = small(RingKind::ConjugateInvariant, 6, &[30, 20], &[36], 1);
    assert!(matches!(decode(&other, 2, SCALE), Err(HeError::ParamsMismatch { .. })));
}

#[test]
fn a_residue_that_is_not_below_its_prime_is_refused() {
    let params = fuzz::params().unwrap();
    let q = params.basis(1).unwrap().modulus(0).value();
    // The first 20-bit residue of c0 sits right behind the header of 41 bytes.
    let with_first = |x: u64| {
        let mut bytes = CORPUS.whole.clone();
        let high = bytes[43] & 0xf0;
        bytes[41..44].copy_from_slice(&x.to_le_bytes()[..3]);
        bytes[43] |= high;
        Ciphertext::decode(params, 1, SCALE, &mut Reader::new(&bytes))
    };
    assert!(with_first(q - 1).is_ok());
    for x in [q, q + 1, (1 << 20) - 1] {
        let e = with_first(x).unwrap_err();
        assert_eq!(e.blame(), Blame::InvalidMessage);
        assert!(matches!(e, HeError::Decode(_)));
    }
}

#[test]
fn a_transparent_ciphertext_is_refused_even_if_only_one_limb_is() {
    let params = small(RingKind::Standard, 6, &[16, 24], &[35], 1);
    let mut b = Bench::new(&params, &KeyRequest::new(), 26);
    let ct = b.encrypt(&[1.0], 2, SCALE);
    let bytes = bytes_of(|w| ct.encode(w));
    let (header, limbs) = (41, [64 * 16 / 8, 64 * 24 / 8]);
    let c1 = header + limbs[0] + limbs[1];
    for range in [c1..bytes.len(), c1..c1 + limbs[0], c1 + limbs[0]..bytes.len()] {
        let mut bytes = bytes.clone();
        bytes[range].fill(0);
        let e = Ciphertext::decode(&params, 2, SCALE, &mut Reader::new(&bytes)).unwrap_err();
        assert_eq!((e.blame(), e), (Blame::InvalidMessage, HeError::Transparent));
    }
}

#[test]
fn parameter_ids_change_with_every_field_and_literals_round_trip() {
    let base = mnist(39);
    let params = Params::new(&base).unwrap();
    let literal = params.literal().clone();
    assert_eq!(ParamsLiteral::from_bytes(&literal.to_bytes()).unwrap(), literal);
    assert_eq!(ParamsLiteral::from_bytes(&base.to_bytes()).unwrap(), base);
    assert_eq!(Params::new(&literal).unwrap(), params);
    let others = [
        ParamsLiteral { kind: RingKind::Standard, ..literal.clone() },
        ParamsLiteral { p: Moduli::Bits(vec![40]), ..literal.clone() },
        ParamsLiteral { q: Moduli::Bits(vec![34, 26, 33, 26, 33]), ..literal.clone() },
        ParamsLiteral { alpha: 2, ..literal.clone() },
        ParamsLiteral { log_n: 14, q: Moduli::Bits(vec![34, 26, 33, 26, 33, 26]), ..literal },
    ];
    for other in others {
        let other = Params::insecure_unchecked(&other);
        assert_ne!(other.unwrap().id(), params.id());
    }
}

#[test]
fn parameters_outside_the_table_or_with_a_small_p_are_refused() {
    assert!((Params::new(&mnist(39)).unwrap().log_qp() - 216.98).abs() < 0.05);
    let e = Params::new(&mnist(41)).unwrap_err();
    assert!(matches!(e, HeError::AboveSecurityTable { dimension: 8192, max: 218, log_qp } if log_qp > 218.0));
    assert_eq!(e.blame(), Blame::Refused);
    assert!(e.to_string().contains("8192") && e.to_string().contains("218"));
    assert!(matches!(Params::new(&mnist(33)), Err(HeError::SpecialPrimesTooSmall { .. })));
    let small = ParamsLiteral { log_n: 9, q: Moduli::Bits(vec![20]), ..mnist(24) };
    assert_eq!(Params::new(&small).unwrap_err(), HeError::NotInSecurityTable { dimension: 512 });
    for alpha in [0, 7] {
        assert!(matches!(Params::new(&ParamsLiteral { alpha, ..mnist(39) }), Err(HeError::Shape { .. })));
    }
    let none = ParamsLiteral { q: Moduli::Bits(vec![]), ..mnist(39) };
    assert!(matches!(Params::new(&none), Err(HeError::Shape { .. })));
    let primes = |q: Vec<u64>| Params::new(&ParamsLiteral { q: Moduli::Primes(q), ..mnist(39) }).unwrap_err();
    let good = match Params::new(&mnist(39)).unwrap().literal().q.clone() {
        Moduli::Primes(p) => p,
        Moduli::Bits(_) => unreachable!(),
    };
    assert!(matches!(primes(vec![good[0], good[0]]), HeError::Ring(_)));
    assert!(matches!(primes(vec![good[0] + 2]), HeError::Ring(_)));
    // A prime, but not 1 modulo 4n.
    assert!(matches!(primes(vec![67_108_859]), HeError::Ring(_)));
    assert!(matches!(primes(vec![8191]), HeError::Shape { .. }));
}

#[test]
fn a_key_request_has_one_encoding() {
    let encode = |steps: &[(u32, &[u8])]| {
        bytes_of(|w| {
            w.u8(1);
            w.u8(2);
            w.count(steps.len());
            steps.iter().for_each(|&(step, levels)| {
                w.u32(step);
                w.u8(levels.len() as u8);
                levels.iter().for_each(|&level| w.u8(level));
            });
        })
    };
    let good = KeyRequest::from_bytes(&encode(&[(3, &[1]), (5, &[2, 4])])).unwrap();
    assert_eq!((good.relin.len(), good.rotations.len(), good.len()), (1, 2, 4));
    assert_eq!(good.to_bytes(), encode(&[(3, &[1]), (5, &[2, 4])]));
    let bad: [&[(u32, &[u8])]; 7] = [
        &[(5, &[2]), (3, &[1])],
        &[(3, &[1]), (3, &[1])],
        &[(0, &[1])],
        &[(3, &[0])],
        &[(3, &[])],
        &[(3, &[2, 2])],
        &[(3, &[2, 1])],
    ];
    for bad in bad {
        assert!(KeyRequest::from_bytes(&encode(bad)).is_err());
    }
    let mut merged = KeyRequest::new();
    merged.need_rotation(3, 2);
    merged.need_rotation(3, 1);
    merged.need_rotation(0, 9);
    merged.merge(&good);
    assert_eq!((merged.rotations[&3].len(), merged.rotations[&5].len(), merged.len()), (2, 2, 5));
    // In a plain chain the highest key serves all levels below.
    let reduced = merged.reduced(&Params::new(&mnist(39)).unwrap());
    let of = |step: usize| reduced.rotations[&step].iter().copied().collect::<Vec<_>>();
    assert_eq!((of(3), of(5), reduced.len()), (vec![2], vec![4], 3));
}

#[test]
fn exact_literals_name_their_primes_and_objects_of_one_t_are_refused_under_another() {
    use oblivia_he::bfv::*;
    let asked = ContextLiteral::circuit_private_16384();
    assert_eq!(ContextLiteral::from_bytes(&asked.to_bytes()).unwrap(), asked);
    let small = ContextLiteral {
        params: ParamsLiteral {
            log_n: 12,
            q: Moduli::Bits(vec![30, 30]),
            p: Moduli::Bits(vec![34]),
            ..asked.params
        },
        t: Moduli::Bits(vec![20, 20]),
    };
    let contexts = Context::all(&small).unwrap();
    let named = ContextLiteral::of(&contexts).unwrap();
    assert!(
        matches!((&named.params.q, &named.t), (Moduli::Primes(q), Moduli::Primes(t)) if q.len() == 2 && t.len() == 2)
    );
    assert_eq!(Context::all(&named).unwrap(), contexts);
    assert!(ContextLiteral::of(&[]).is_err());
    for t in [vec![], vec![20; 9]] {
        let bytes = ContextLiteral { t: Moduli::Bits(t.clone()), ..named.clone() }.to_bytes();
        assert_eq!(ContextLiteral::from_bytes(&bytes).is_ok(), t.is_empty());
        assert!(Context::all(&ContextLiteral { t: Moduli::Bits(t), ..named.clone() }).is_err());
    }

    let mut rng = rng(28);
    let sk = SecretKey::generate(contexts[0].params(), &mut rng);
    let pt = Encoder::new(&contexts[0]).encode(&[1], 2, Factor::ONE).unwrap();
    let ct = Encryptor::new(&contexts[0]).encrypt_symmetric(&sk, &pt, &mut rng).unwrap();
    let bytes = bytes_of(|w| ct.encode(w));
    let decode = |c: &Context, level, factor| Ciphertext::decode(c, level, factor, &mut Reader::new(&bytes));
    assert!(decode(&contexts[0], 2, Factor::ONE).is_ok());
    assert!(matches!(decode(&contexts[1], 2, Factor::ONE), Err(HeError::ParamsMismatch { .. })));
    assert!(matches!(decode(&contexts[0], 1, Factor::ONE), Err(HeError::LevelMismatch { .. })));
    let two = contexts[0].factor(2).unwrap();
    assert!(matches!(decode(&contexts[0], 2, two), Err(HeError::FactorMismatch { left: 1, right: 2, .. })));
    // A factor of another context may be none here.
    let large = contexts[0].factor(-1).unwrap();
    assert!(matches!(decode(&contexts[1], 2, large), Err(HeError::Factor { .. })));
    let other = SecretKey::generate(fuzz::params().unwrap(), &mut rng);
    assert!(Decryptor::new(&contexts[0], &other).is_err());
    assert!(contexts[0].public_key(&other, b"", &mut rng).is_err());
    assert!(contexts[0].evaluation_keys(&other, &KeyRequest::new(), b"", &mut rng).is_err());
    assert!(Encryptor::new(&contexts[0]).encrypt_symmetric(&other, &pt, &mut rng).is_err());
}

#[test]
fn a_reply_has_one_encoding() {
    use oblivia_he::bfv::*;
    let context = fuzz::context().unwrap();
    let valid = &CORPUS.exact[5];
    let q = context.params().basis(1).unwrap().modulus(0).value();
    // 24 bits less the 5 cut: the first entry sits right behind the header of 42 bytes.
    let with_first = |x: u64| {
        let mut bytes = valid.clone();
        let high = bytes[44] & 0xf8;
        bytes[42..45].copy_from_slice(&x.to_le_bytes()[..3]);
        bytes[44] |= high;
        Reply::decode(context, Factor::ONE, fuzz::CUT, &mut Reader::new(&bytes))
    };
    assert!(with_first((q - 1) >> 5).is_ok());
    let e = with_first(((q - 1) >> 5) + 1).unwrap_err();
    assert_eq!(e.blame(), Blame::InvalidMessage);
    for cut in [[5, 2], [4, 1], [24, 1]] {
        assert!(Reply::decode(context, Factor::ONE, cut, &mut Reader::new(valid)).is_err());
    }
}
