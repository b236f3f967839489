//! `cargo bench -p oblivia-pack --bench batch`: the CryptoNets network over 8192 images at once, random weights, by
//! phase and number of threads. Elements are images.

#![expect(clippy::unwrap_used, reason = "a benchmark")]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use oblivia_base::Prg;
use oblivia_he::ckks::{Decryptor, Encoder, Encryptor, Evaluator};
use oblivia_he::{
    Ciphertext, EvaluationKeys, Moduli, Params, ParamsLiteral, RingKind, SecretKey, SeededCiphertext,
};
use oblivia_nn::{Conv, Graph, Op, Shape};
use oblivia_pack::circuit::Affine;
use oblivia_pack::circuit::batch::{BatchConv, BatchDense, vectors};
use oblivia_pack::{BatchSlots, Chain, CkksPlain, CkksSlots, Counter, Plains, Scale, Then};
use rayon::prelude::*;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const IMAGES: usize = 8192;
const PIXELS: usize = 784;
/// Pixels packed and encrypted at a time by a thread.
const BLOCK: usize = 16;
const INPUT: Scale = Scale((1u64 << 32) as f64);
const WIRE: Scale = Scale((1u64 << 33) as f64);

struct Network {
    conv: BatchConv,
    dense: [BatchDense; 2],
}

impl Network {
    fn new() -> Self {
        let input = Shape::new([1, 28, 28]).unwrap();
        let mut g = Graph::new("x", input.clone());
        let weight = g.weight("w", Shape::new([5, 1, 5, 5]).unwrap()).unwrap();
        let conv = Conv {
            out_channels: 5,
            kernel: [5; 2],
            stride: [2; 2],
            pads: [1, 1, 0, 0],
            groups: 1,
            weight,
            bias: None,
        };
        let out = g.push("conv", Op::Conv(conv.clone()), &[g.input()]).unwrap();
        Self {
            conv: BatchConv::new(&conv, &input, &g.fact(out).unwrap().shape).unwrap(),
            dense: [BatchDense::new(845, 100), BatchDense::new(100, 10)],
        }
    }

    fn run<S: BatchSlots>(
        &self,
        s: &mut S,
        xs: Vec<S::Ct>,
        plains: &[S::Pt],
    ) -> Result<Vec<S::Ct>, S::Error> {
        let mut p = Plains::new(plains);
        let xs = self.conv.run(s, xs, &mut p, WIRE, Then::Square)?;
        let xs = self.dense[0].run(s, xs, &mut p, WIRE, Then::Square)?;
        let ys = self.dense[1].run(s, xs, &mut p, INPUT, Then::Keep)?;
        p.finish()?;
        Ok(ys)
    }
}

struct Setup {
    network: Network,
    params: Params,
    encoder: Encoder,
    encryptor: Encryptor,
    sk: SecretKey,
    evaluator: Evaluator,
    plains: Vec<CkksPlain>,
    images: Vec<Vec<f32>>,
}

fn value(i: usize) -> f64 {
    (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44) as f64 / (1u64 << 19) as f64 - 1.0
}

fn setup() -> Setup {
    let params = Params::new(&ParamsLiteral {
        kind: RingKind::ConjugateInvariant,
        log_n: 13,
        q: Moduli::Bits(vec![34, 26, 33, 26, 33, 26]),
        p: Moduli::Bits(vec![39]),
        alpha: 1,
        levels: Vec::new(),
    })
    .unwrap();
    let network = Network::new();
    let layer = |fan: f64| move |i: usize, j: usize| value(1009 * i + j) / fan;
    let (w0, w1, w2) = (layer(25.0), layer(845.0), layer(100.0));
    let bias = |i: usize| value(i) / 8.0;
    let plains = [
        network.conv.plains(Affine { weight: &w0, bias: &bias }),
        network.dense[0].plains(Affine { weight: &w1, bias: &bias }),
        network.dense[1].plains(Affine { weight: &w2, bias: &bias }),
    ]
    .concat();
    let mut counter = Counter::new(Chain::of(&params).unwrap());
    let inputs = vec![counter.input(params.max_level(), INPUT); PIXELS];
    network.run(&mut counter, inputs, &vec![(); plains.len()]).unwrap();
    let encoder = Encoder::new(&params);
    let prepared = plains.iter().zip(counter.plains());
    let prepared = prepared.map(|(p, &at)| CkksPlain::prepare(&encoder, p, at).unwrap()).collect();
    let mut rng = Prg::new(&[7; 32], "pack bench", &[]);
    let sk = SecretKey::generate(&params, &mut rng);
    let keys = EvaluationKeys::generate(&sk, counter.keys(), b"", &mut rng).unwrap();
    Setup {
        network,
        encoder,
        encryptor: Encryptor::new(&params),
        sk,
        evaluator: Evaluator::new(Arc::new(keys)),
        plains: prepared,
        images: (0..IMAGES)
            .map(|i| (0..PIXELS).map(|e| value(i * PIXELS + e).abs() as f32).collect())
            .collect(),
        params,
    }
}

impl Setup {
    fn encrypt(&self) -> Vec<SeededCiphertext> {
        let images: Vec<&[f32]> = self.images.iter().map(Vec::as_slice).collect();
        let blocks = (0..PIXELS).into_par_iter().step_by(BLOCK).map(|start| {
            let mut rng = Prg::new(&[9; 32], "pack bench", &[&start.to_le_bytes()]);
            let block = vectors(&images, start..(start + BLOCK).min(PIXELS));
            let encrypt = |v: &Vec<f64>| {
                let at = (self.params.max_level(), INPUT.0);
                self.encryptor.encrypt_values_seeded(&self.encoder, &self.sk, v, at, b"", &mut rng).unwrap()
            };
            block.iter().map(encrypt).collect::<Vec<_>>()
        });
        blocks.collect::<Vec<_>>().into_iter().flatten().collect()
    }

    fn expand(&self, cts: Vec<SeededCiphertext>) -> Vec<Ciphertext> {
        cts.into_par_iter().map(|ct| ct.into_expanded(&self.params, b"").unwrap()).collect()
    }

    fn evaluate(&self, cts: Vec<Ciphertext>) -> Vec<Ciphertext> {
        self.network.run(&mut CkksSlots::new(&self.evaluator), cts, &self.plains).unwrap()
    }

    fn decrypt(&self, cts: &[Ciphertext]) -> Vec<Vec<f64>> {
        let decrypt = |ct| self.encoder.decode(&Decryptor::new(&self.sk).decrypt(ct).unwrap()).unwrap();
        cts.par_iter().map(decrypt).collect()
    }
}

fn cryptonets(c: &mut Criterion) {
    let s = setup();
    let mut group = c.benchmark_group("batch/mnist-cryptonets");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(10))
        .throughput(Throughput::Elements(IMAGES as u64));
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        group.bench_function(BenchmarkId::new("encrypt", threads), |b| {
            b.iter(|| pool.install(|| black_box(s.encrypt())));
        });
        let seeded = pool.install(|| s.encrypt());
        group.bench_function(BenchmarkId::new("expand", threads), |b| {
            let seeded = || seeded.clone();
            b.iter_batched(seeded, |cts| pool.install(|| s.expand(cts)), BatchSize::PerIteration);
        });
        let inputs = pool.install(|| s.expand(seeded));
        group.bench_function(BenchmarkId::new("evaluate", threads), |b| {
            b.iter_batched(
                || inputs.clone(),
                |inputs| pool.install(|| s.evaluate(inputs)),
                BatchSize::PerIteration,
            );
        });
        let outputs = pool.install(|| s.evaluate(inputs));
        group.bench_function(BenchmarkId::new("decrypt", threads), |b| {
            b.iter(|| pool.install(|| black_box(s.decrypt(&outputs))));
        });
    }
    group.finish();
}

criterion_group!(benches, cryptonets);
criterion_main!(benches);
