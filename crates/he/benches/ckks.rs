//! `cargo bench -p oblivia-he`: single operations at dimension 8192, one thread.

#![expect(clippy::unwrap_used, reason = "a benchmark")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use oblivia_base::Prg;
use oblivia_he::ckks::{Encoder, Encryptor, Evaluator};
use oblivia_he::{Ciphertext, EvaluationKeys, KeyRequest, Moduli, Params, ParamsLiteral, SecretKey};
use oblivia_ring::RingKind;
use std::hint::black_box;
use std::sync::Arc;

struct Setup {
    encoder: Encoder,
    encryptor: Encryptor,
    evaluator: Evaluator,
    sk: SecretKey,
    ct: Ciphertext,
    values: Vec<f64>,
    level: usize,
    rng: Prg,
}

const SCALE: f64 = (1u64 << 32) as f64;
const STEPS: [usize; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

fn setup(q: &[u32], p: u32) -> Setup {
    let params = Params::new(&ParamsLiteral {
        kind: RingKind::ConjugateInvariant,
        log_n: 13,
        q: Moduli::Bits(q.to_vec()),
        p: Moduli::Bits(vec![p]),
        alpha: 1,
        levels: Vec::new(),
    })
    .unwrap();
    let level = params.max_level();
    let mut rng = Prg::new(&[7; 32], "he bench", &[]);
    let sk = SecretKey::generate(&params, &mut rng);
    let mut request = KeyRequest::new();
    request.need_relin(level);
    STEPS.iter().for_each(|&s| request.need_rotation(s, level));
    let keys = EvaluationKeys::generate(&sk, &request, b"", &mut rng).unwrap();
    let (encoder, encryptor) = (Encoder::new(&params), Encryptor::new(&params));
    let values: Vec<f64> = (0..params.slots()).map(|i| (i % 97) as f64 / 97.0 - 0.5).collect();
    let pt = encoder.encode(&values, level, SCALE).unwrap();
    let ct = encryptor.encrypt_symmetric(&sk, &pt, &mut rng).unwrap();
    Setup { encoder, encryptor, evaluator: Evaluator::new(Arc::new(keys)), sk, ct, values, level, rng }
}

fn operations(c: &mut Criterion) {
    for (name, q, p) in
        [("4x43+46", &[43u32; 4][..], 46), ("34,26,33,26,33,26+39", &[34, 26, 33, 26, 33, 26], 39)]
    {
        let mut s = setup(q, p);
        let mut group = c.benchmark_group(format!("ckks/8192ci/{name}"));
        group.sample_size(30);
        group.bench_function("rotate", |b| b.iter(|| black_box(s.evaluator.rotate(&s.ct, 1).unwrap())));
        group.bench_function("rotate_hoisted_8", |b| {
            b.iter(|| black_box(s.evaluator.rotate_hoisted(&s.ct, &STEPS).unwrap()));
        });
        let pt = s.encoder.encode(&s.values, s.level, SCALE).unwrap();
        group.bench_function("mul_plain", |b| {
            b.iter(|| black_box(s.evaluator.mul_plain(&s.ct, &pt).unwrap()))
        });
        let one = s.encoder.encode(&[1.0], s.level, 1.0).unwrap();
        let mut ct = s.ct.clone();
        group.bench_function("mul_plain_assign", |b| {
            b.iter(|| s.evaluator.mul_plain_assign(black_box(&mut ct), &one).unwrap());
        });
        let (cts, pts) = (vec![&s.ct; 16], vec![&pt; 16]);
        group.bench_function("dot_plain_16", |b| {
            b.iter(|| black_box(s.evaluator.dot_plain(&cts, &pts).unwrap()));
        });
        let scalars = vec![oblivia_he::ScalarPlaintext::new(0.37, 4096.0).unwrap(); 16];
        group.bench_function("dot_scalar_16", |b| {
            b.iter(|| black_box(s.evaluator.dot_scalar(&cts, &scalars).unwrap()));
        });
        group.bench_function("square_relin", |b| b.iter(|| black_box(s.evaluator.square(&s.ct).unwrap())));
        group.bench_function("square_relin_rescale_merged", |b| {
            b.iter(|| {
                let tensor = s.evaluator.tensor_square(&s.ct).unwrap();
                black_box(s.evaluator.relinearise_rescale(&tensor).unwrap())
            });
        });
        group.bench_function("rescale", |b| {
            b.iter_batched_ref(
                || s.ct.clone(),
                |ct| s.evaluator.rescale_assign(ct).unwrap(),
                BatchSize::SmallInput,
            );
        });
        group.bench_function("encode", |b| {
            b.iter(|| black_box(s.encoder.encode(&s.values, s.level, SCALE).unwrap()));
        });
        group.bench_function("encrypt_seeded", |b| {
            b.iter(|| black_box(s.encryptor.encrypt_seeded(&s.sk, &pt, b"", &mut s.rng).unwrap()));
        });
        group.finish();
    }
}

criterion_group!(benches, operations);
criterion_main!(benches);
