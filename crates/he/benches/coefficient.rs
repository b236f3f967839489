//! Products by kernels and the other steps of a layer: `cargo bench -p oblivia-he --bench coefficient [-- FILTER]`.
//!
//! `product/METHOD/TERMS` is one kernel of one output ciphertext with 64 results, the inverse transforms of the output
//! left out by summing 16 products; divide by 16. What [`Method::choose`] compares comes from these.

#![expect(clippy::unwrap_used, reason = "a benchmark of known parameters")]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use oblivia_base::{Digest, Prg, Secret};
use oblivia_he::coefficient::{
    Inputs, Kernel, Method, Outputs, Params, PreparedKernel, PublicKey, ReplyRandomness, Ring, SecretKey,
    Sum, UploadRandomness, accumulate,
};
use oblivia_ring::kernel::Path;
use std::hint::black_box;
use std::time::Duration;

const PRODUCTS: usize = 16;

fn prg() -> Prg {
    Prg::new(&[1; 32], "he benchmarks", &[])
}

struct Fixture {
    params: Params,
    sk: SecretKey,
    pk: PublicKey,
    messages: Secret<Vec<Vec<u64>>>,
    outputs: Outputs,
}

impl Fixture {
    fn new() -> Self {
        let ring = Ring::new(11).unwrap();
        let params = Params::cut(&ring, 44, 26, 18).unwrap();
        let sk = SecretKey::generate(&ring, &mut prg());
        let pk = PublicKey::generate(&sk, &[1; 32], &Digest([2; 32]), &mut prg());
        let outputs = Outputs::new(&ring, (100..164).collect()).unwrap();
        let messages = Secret::new((0..PRODUCTS as u64).map(|i| vec![i; ring.n()]).collect());
        Self { params, sk, pk, messages, outputs }
    }

    fn inputs(&self) -> Inputs {
        let randomness = UploadRandomness::draw(&self.params, PRODUCTS, &mut prg());
        let upload = self.sk.encrypt(&self.params, &self.messages, randomness).unwrap();
        Inputs::new(&upload, &vec![vec![5; self.params.n()]; PRODUCTS]).unwrap()
    }

    fn kernel(&self, terms: usize, method: Method) -> PreparedKernel {
        let step = self.params.n() / terms;
        let list: Vec<_> = (0..terms).map(|t| ((t * step) as u32, (t % 100) as i64 - 50)).collect();
        let kernel = Kernel::new(self.params.ring(), &list).unwrap();
        PreparedKernel::new(self.params.ring(), kernel, method).unwrap()
    }
}

fn products(c: &mut Criterion) {
    let fixture = Fixture::new();
    let inputs = fixture.inputs();
    for &path in Path::available() {
        assert!(path.select());
        let mut group = c.benchmark_group(format!("product-{path:?}"));
        group.throughput(Throughput::Elements(PRODUCTS as u64));
        for method in [Method::Sparse, Method::Transform] {
            for terms in [1, 2, 4, 8, 12, 16, 24, 32, 64, 256] {
                if method == Method::Transform && terms > 1 {
                    continue;
                }
                let kernels: Vec<_> = (0..PRODUCTS).map(|_| fixture.kernel(terms, method)).collect();
                let products = kernels.iter().enumerate().collect();
                let bias = vec![0; fixture.outputs.len()];
                let sums = [Sum { products, outputs: &fixture.outputs, bias }];
                group.bench_function(BenchmarkId::new(format!("{method:?}"), terms), |b| {
                    b.iter(|| accumulate(&inputs, black_box(&sums)).unwrap());
                });
            }
        }
        group.finish();
    }
}

fn steps(c: &mut Criterion) {
    let fixture = Fixture::new();
    let params = &fixture.params;
    let mut group = c.benchmark_group("step");
    let randomness = || UploadRandomness::draw(params, PRODUCTS, &mut prg());
    group.bench_function("draw-16", |b| b.iter(randomness));
    group.bench_function("encrypt-16", |b| {
        let run = |r| fixture.sk.encrypt(params, &fixture.messages, r).unwrap();
        b.iter_batched(randomness, run, BatchSize::SmallInput);
    });
    let upload = fixture.sk.encrypt(params, &fixture.messages, randomness()).unwrap();
    let own = vec![vec![5; params.n()]; PRODUCTS];
    group.bench_function("expand-16", |b| b.iter(|| Inputs::new(&upload, &own).unwrap()));
    let inputs = Inputs::new(&upload, &own).unwrap();
    let kernel = fixture.kernel(1, Method::Sparse);
    let sum = || {
        let products = vec![(0, &kernel)];
        let sum = Sum { products, outputs: &fixture.outputs, bias: vec![0; 64] };
        accumulate(&inputs, &[sum]).unwrap().remove(0)
    };
    let draw = || ReplyRandomness::draw(params, fixture.outputs.len(), &mut prg());
    group.bench_function("draw-reply", |b| b.iter(draw));
    let reply = |(sum, r): (oblivia_he::coefficient::Accumulated, _)| {
        sum.mask_and_drop(&fixture.pk, &fixture.outputs, r).unwrap()
    };
    group.bench_function("mask-and-drop", |b| {
        b.iter_batched(|| (sum(), draw()), reply, BatchSize::SmallInput);
    });
    let reply = reply((sum(), draw()));
    group.bench_function("finish", |b| b.iter(|| fixture.sk.finish(&reply, &fixture.outputs).unwrap()));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_millis(700)).warm_up_time(Duration::from_millis(200)).sample_size(20);
    targets = products, steps
}
criterion_main!(benches);
