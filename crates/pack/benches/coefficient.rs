//! Linear layers on shares, both methods, one thread: `cargo bench -p oblivia-pack --bench coefficient [-- FILTER]`.
//!
//! `LAYER/evaluate/METHOD` is the server's work on an upload that is decoded, masking included; `encrypt` and `finish` are
//! the client's.

#![expect(clippy::unwrap_used, reason = "a benchmark of known shapes")]

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use oblivia_base::{Digest, Prg, Secret};
use oblivia_he::coefficient::{Method, PublicKey, Ring, SecretKey};
use oblivia_pack::coefficient::{ConvShape, LinearClient, LinearServer, LinearShape, Packing, Widths};
use std::time::Duration;

fn prg() -> Prg {
    Prg::new(&[1; 32], "pack benchmarks", &[])
}

fn conv(
    channels: usize,
    size: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    groups: usize,
) -> LinearShape {
    let pads = [kernel / 2 * usize::from(kernel != 5); 4];
    let [size, kernel, stride] = [[size; 2], [kernel; 2], [stride; 2]];
    LinearShape::Conv(ConvShape { channels, size, outputs, kernel, stride, pads, groups })
}

fn layers(c: &mut Criterion) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let ring = Ring::new(11).unwrap();
    let shapes = [
        ("conv5x5-16-16-12", conv(16, 12, 16, 5, 1, 1)),
        ("dense-256-100", LinearShape::Dense { inputs: 256, outputs: 100 }),
        ("conv3x3-64-64-8", conv(64, 8, 64, 3, 1, 1)),
        ("conv3x3-16-16-32", conv(16, 32, 16, 3, 1, 1)),
        ("conv1x1-128-64-16", conv(128, 16, 64, 1, 1, 1)),
        ("depthwise3x3-64-14", conv(64, 14, 64, 3, 1, 64)),
    ];
    for (name, shape) in shapes {
        let (packing, params) =
            Packing::choose(&ring, &shape, 26, 18, &vec![1 << 20; shape.channels_out()]).unwrap();
        let counts = packing.counts(&Widths::of(&params));
        eprintln!("{name}: q {} {:?} {counts:?}", params.q_bits(), packing.block());
        let weights: Vec<i64> = (0..shape.weights() as i64).map(|i| i * 37 % 255 - 127).collect();
        let bias = vec![3; shape.channels_out()];
        let sk = SecretKey::generate(&ring, &mut prg());
        let pk = PublicKey::generate(&sk, &[1; 32], &Digest([2; 32]), &mut prg());
        let share = Secret::new((0..shape.input_len() as u64).map(|i| i * i).collect());
        let client = LinearClient::new(&packing, &params).unwrap();
        let mut group = c.benchmark_group(name);
        group.bench_function("encrypt", |b| {
            b.iter(|| pool.install(|| client.encrypt(&sk, &share, &mut prg()).unwrap()));
        });
        let upload = client.encrypt(&sk, &share, &mut prg()).unwrap();
        let mut replies = Vec::new();
        for method in [Some(Method::Sparse), Some(Method::Transform), None] {
            let server = LinearServer::new(&packing, &params, &weights, &bias, method).unwrap();
            if method.is_none() {
                eprintln!("{name}: {:?} chosen", server.method());
                group.bench_function("draw", |b| b.iter(|| server.draw(&mut prg())));
                break;
            }
            let run = |r| server.evaluate(&upload, &share, &pk, r).unwrap();
            group.bench_function(BenchmarkId::new("evaluate", format!("{:?}", server.method())), |b| {
                pool.install(|| b.iter_batched(|| server.draw(&mut prg()), run, BatchSize::LargeInput));
            });
            replies = run(server.draw(&mut prg()));
        }
        group.bench_function("finish", |b| {
            pool.install(|| b.iter(|| client.finish(&sk, &replies).unwrap()));
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300)).sample_size(15);
    targets = layers
}
criterion_main!(benches);
