//! `cargo bench -p oblivia-he --bench bfv`: single exact operations at dimensions 8192 and 16384, one thread.

#![expect(clippy::unwrap_used, reason = "a benchmark")]

use criterion::{Criterion, criterion_group, criterion_main};
use oblivia_base::Prg;
use oblivia_he::bfv::*;
use oblivia_he::{KeyRequest, Moduli, ParamsLiteral, RingKind, SecretKey};
use std::hint::black_box;
use std::sync::Arc;

const STEPS: [usize; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

fn operations(c: &mut Criterion) {
    let small = ContextLiteral {
        params: ParamsLiteral {
            kind: RingKind::Standard,
            log_n: 13,
            q: Moduli::Bits(vec![42; 4]),
            p: Moduli::Bits(vec![46]),
            alpha: 1,
            levels: Vec::new(),
        },
        t: Moduli::Bits(vec![20]),
    };
    for (name, literal) in
        [("8192/4x42+46,t20", small), ("16384/3x46,4x44+50,t32", ContextLiteral::circuit_private_16384())]
    {
        let context = Context::all(&literal).unwrap().remove(0);
        let top = context.params().max_level();
        let mut rng = Prg::new(&[7; 32], "he bench", &[]);
        let sk = SecretKey::generate(context.params(), &mut rng);
        let pk = context.public_key(&sk, b"", &mut rng).unwrap();
        let mut request = KeyRequest::new();
        request.need_relin(top);
        STEPS.iter().for_each(|&s| request.need_rotation(s, top));
        let ev = Evaluator::new(Arc::new(context.evaluation_keys(&sk, &request, b"", &mut rng).unwrap()));
        let (encoder, encryptor) = (Encoder::new(&context), Encryptor::new(&context));
        let decryptor = Decryptor::new(&context, &sk).unwrap();
        let values: Vec<i64> = (0..context.slots() as i64).map(|i| i * 977 - 31).collect();
        let pt = encoder.encode(&values, top, Factor::ONE).unwrap();
        let extended_pt = encoder.encode_extended(&values, top, Factor::ONE).unwrap();
        let ct = encryptor.encrypt_symmetric(&sk, &pt, &mut rng).unwrap();
        let hoisted = ev.hoist(&ct).unwrap();
        let extended = ev.rotate_extended(&hoisted, 1).unwrap();
        let mut low = ct.clone();
        while low.level() > 1 {
            low = ev.rescale(&low).unwrap();
        }

        let mut group = c.benchmark_group(format!("bfv/{name}"));
        group.sample_size(20);
        group.bench_function("encode", |b| {
            b.iter(|| encoder.encode(black_box(&values), top, Factor::ONE).unwrap())
        });
        group.bench_function("encrypt_seeded", |b| {
            b.iter(|| encryptor.encrypt_seeded(&sk, &pt, b"", &mut rng).unwrap());
        });
        group.bench_function("encrypt_public", |b| b.iter(|| encryptor.encrypt(&pk, &pt, &mut rng).unwrap()));
        group.bench_function("decrypt_top", |b| b.iter(|| decryptor.decrypt(black_box(&ct)).unwrap()));
        group.bench_function("decrypt_level_1", |b| b.iter(|| decryptor.decrypt(black_box(&low)).unwrap()));
        group.bench_function("mul_plain", |b| b.iter(|| ev.mul_plain(black_box(&ct), &pt).unwrap()));
        group.bench_function("dot_plain_16", |b| b.iter(|| ev.dot_plain(&[&ct; 16], &[&pt; 16]).unwrap()));
        group.bench_function("dot_plain_extended_16", |b| {
            b.iter(|| ev.dot_plain_extended(&[&extended; 16], &[&extended_pt; 16]).unwrap());
        });
        group.bench_function("rotate", |b| b.iter(|| ev.rotate(black_box(&ct), 1).unwrap()));
        group.bench_function("rotate_hoisted_8", |b| b.iter(|| ev.rotate_hoisted(&ct, &STEPS).unwrap()));
        group.bench_function("rotate_extended", |b| b.iter(|| ev.rotate_extended(&hoisted, 1).unwrap()));
        group
            .bench_function("rotate_giant", |b| b.iter(|| ev.rotate_giant(black_box(&extended), 1).unwrap()));
        group.bench_function("reduce_rescale", |b| {
            b.iter(|| ev.reduce_rescale(black_box(&extended)).unwrap())
        });
        group.bench_function("square_relin", |b| b.iter(|| ev.square(black_box(&ct)).unwrap()));
        group.bench_function("square_relin_switch_merged", |b| {
            b.iter(|| ev.relinearise_rescale(&ev.tensor_square(black_box(&ct)).unwrap()).unwrap());
        });
        group.bench_function("mod_switch", |b| b.iter(|| ev.rescale(black_box(&ct)).unwrap()));
        group.bench_function("flood", |b| {
            b.iter(|| ev.flood(black_box(&ct), &pk, Flood::new(99), &mut rng).unwrap());
        });
        group.bench_function("reply", |b| b.iter(|| ev.reply(black_box(&low), [9, 2]).unwrap()));
        group.finish();
    }
}

criterion_group!(benches, operations);
criterion_main!(benches);
