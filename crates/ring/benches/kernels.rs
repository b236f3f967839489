//! Every kernel on every path the machine has: `cargo bench -p oblivia-ring --bench kernels [-- FILTER]`.
//!
//! Names are operation/path/size; row operations are of one row, in the second-level cache and warm.
#![expect(clippy::unwrap_used, reason = "a benchmark of known parameters")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use oblivia_base::Prg;
use oblivia_base::codec::{Reader, Writer};
use oblivia_base::seed::EntropySource;
use oblivia_ring::kernel::{self, Path};
use oblivia_ring::{
    Accumulator, Basis, Modulus, Ntt, NttTable, PackedPolys, Poly, RingKind, RingShape, packing, prime_below,
    primes_below, sample,
};
use std::hint::black_box;
use std::time::Duration;

fn prg() -> Prg {
    Prg::new(&[1; 32], "ring benchmarks", &[])
}

fn paths() -> impl Iterator<Item = (Path, String)> {
    Path::available().iter().map(|&p| {
        assert!(p.select());
        (p, format!("{p:?}"))
    })
}

fn table(kind: RingKind, log_n: u32, bits: u32) -> NttTable {
    let shape = RingShape::new(kind, log_n).unwrap();
    NttTable::new(shape, Modulus::new(prime_below(bits, shape.order(), &[]).unwrap()).unwrap()).unwrap()
}

fn transforms(c: &mut Criterion) {
    for (kind, name) in [(RingKind::Standard, "standard"), (RingKind::ConjugateInvariant, "conjugate")] {
        for bits in [34, 50] {
            let mut group = c.benchmark_group(format!("ntt-{name}-{bits}"));
            for log_n in 12..=15 {
                let t = table(kind, log_n, bits);
                let basis = Basis::new(t.shape(), &[t.modulus().value()]).unwrap();
                let mut p = sample::uniform(&basis, &mut prg());
                for (_, path) in paths() {
                    group.bench_function(BenchmarkId::new(format!("forward/{path}"), t.n()), |b| {
                        b.iter(|| kernel::forward(&t, black_box(p.row_mut(0))));
                    });
                    group.bench_function(BenchmarkId::new(format!("inverse/{path}"), t.n()), |b| {
                        b.iter(|| kernel::inverse(&t, black_box(p.row_mut(0))));
                    });
                }
            }
        }
    }
}

fn rows(c: &mut Criterion) {
    let shape = RingShape::new(RingKind::Standard, 13).unwrap();
    let basis = Basis::new(shape, &primes_below(&[34, 33, 39, 26, 50], shape.order(), &[]).unwrap()).unwrap();
    let m = *basis.modulus(0);
    let p: Vec<_> = (0..12).map(|_| sample::uniform(&basis, &mut prg())).collect();
    let mut out = Poly::<Ntt>::zero(&basis);
    let perm = shape.automorphism(5).unwrap();
    let pairs: Vec<_> = (0..6).map(|k| (p[k].row(0), p[k + 6].row(0))).collect();
    let small: Vec<i64> = (0..8192).map(|k| k % 39 - 19).collect();
    let c0 = m.shoup(12345);
    let triples: Vec<_> = (0..4).map(|k| (p[k].row(0), p[k + 4].row(0), p[k + 8].row(0))).collect();
    let mut other = Poly::<Ntt>::zero(&basis);
    let terms: Vec<_> = (0..3)
        .map(|k| kernel::CentredTerm {
            row: p[0].row(k),
            modulus: basis.modulus(k),
            factor: basis.modulus(4).shoup(3),
        })
        .collect();
    let (mut lo, mut hi) = (p[0].clone(), p[0].clone());
    let mut group = c.benchmark_group("row-8192");
    for (_, path) in paths() {
        let mut bench = |name: &str, f: &mut dyn FnMut()| {
            group.bench_function(format!("{name}/{path}"), |b| b.iter(&mut *f));
        };
        let o = out.row_mut(0);
        bench("add_into", &mut || kernel::add_into(&m, p[0].row(0), p[1].row(0), black_box(o)));
        bench("mul_into", &mut || kernel::mul_into(&m, p[0].row(0), p[1].row(0), black_box(o)));
        bench("mul_add", &mut || kernel::mul_add_assign(&m, black_box(o), p[0].row(0), p[1].row(0)));
        bench("scale_into", &mut || kernel::scale_into(&m, p[0].row(0), c0, black_box(o)));
        bench("sub_scale", &mut || {
            kernel::sub_scale_into(&m, p[0].row(0), p[1].row(0), c0, None, black_box(o));
        });
        bench("reduce_centred", &mut || {
            kernel::reduce_centred_into(&m, basis.modulus(3), p[0].row(0), black_box(o));
        });
        bench("convert_centred of 3", &mut || {
            kernel::convert_centred_into(basis.modulus(4), &terms, black_box(o))
        });
        bench("reduce_i64", &mut || kernel::reduce_i64_into(&m, &small, black_box(o)));
        bench("gather", &mut || kernel::gather_into(&perm, p[0].row(0), black_box(o)));
        bench("dot of 6", &mut || kernel::dot_into(&m, &pairs, black_box(o)));
        bench("dot2 of 4", &mut || kernel::dot2_into(&m, &triples, black_box(o), other.row_mut(0)));
        let packed = PackedPolys::pack(&basis, &p.iter().collect::<Vec<_>>());
        let bits: Vec<_> =
            (0..4).map(|k| (packed.row(k, 0), packed.row(k + 4, 0), p[k + 8].row(0))).collect();
        bench("dot2 of 4, packed", &mut || {
            kernel::dot2_packed_into(&m, &bits, black_box(o), other.row_mut(0));
        });
        let by: Vec<_> = (0..4).map(|k| (p[k].row(0), p[k + 4].row(0), packed.row(k + 8, 0))).collect();
        bench("dot2 of 4, by packed", &mut || {
            kernel::dot2_by_packed_into(&m, &by, black_box(o), other.row_mut(0));
        });
        bench("unpack", &mut || packed.row(0, 0).unpack_into(black_box(o)));
        bench("mac", &mut || kernel::mac(lo.row_mut(0), hi.row_mut(0), p[0].row(0), black_box(p[1].row(0))));
        bench("mac_reduce", &mut || kernel::mac_reduce_into(&m, lo.row(0), hi.row(0), black_box(o)));
    }
    group.finish();

    let mut group = c.benchmark_group("ciphertext by plaintext, 2 x 5 limbs of 8192");
    for (_, path) in paths() {
        let mut acc = [Accumulator::new(&basis), Accumulator::new(&basis)];
        group.bench_function(format!("accumulate/{path}"), |b| {
            b.iter(|| {
                acc[0].mac(&p[0], black_box(&p[2]));
                acc[1].mac(&p[1], black_box(&p[2]));
            });
        });
        group.bench_function(format!("dot2 of 4/{path}"), |b| {
            let triples: Vec<_> = (0..4).map(|k| (&p[k], &p[k + 4], &p[k + 8])).collect();
            b.iter(|| out.set_dot2(&mut other, black_box(&triples)));
        });
    }
}

fn samplers(c: &mut Criterion) {
    let mut rng = prg();
    let mut group = c.benchmark_group("bytes");
    let mut bytes = vec![0u8; 34 * 1024];
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("chacha20", |b| b.iter(|| fill(&mut rng, black_box(&mut bytes))));
    group.finish();

    let mut group = c.benchmark_group("sample-8192");
    let mut row = vec![0u64; 8192];
    let mut small = vec![0i64; 8192];
    for (_, path) in paths() {
        for bits in [26, 34, 50] {
            let m = *table(RingKind::Standard, 13, bits).modulus();
            group.throughput(Throughput::Bytes(packing::row_bytes(&m, 8192) as u64));
            group.bench_function(format!("uniform {bits}/{path}"), |b| {
                b.iter(|| sample::uniform_row(&m, &mut rng, black_box(&mut row)));
            });
        }
        group.throughput(Throughput::Elements(8192));
        group.bench_function(format!("ternary/{path}"), |b| {
            b.iter(|| sample::ternary(&mut rng, black_box(&mut small)));
        });
        group.bench_function(format!("gaussian/{path}"), |b| {
            b.iter(|| sample::gaussian(&mut rng, black_box(&mut small)));
        });
    }
    group.finish();

    let mut group = c.benchmark_group("packing-8192");
    for (_, path) in paths() {
        for bits in [26, 34, 50] {
            let m = *table(RingKind::Standard, 13, bits).modulus();
            sample::uniform_row(&m, &mut rng, &mut row);
            group.throughput(Throughput::Bytes(packing::row_bytes(&m, 8192) as u64));
            group.bench_function(format!("write {bits}/{path}"), |b| {
                b.iter(|| {
                    let mut w = Writer::with_capacity(packing::row_bytes(&m, 8192) + 64);
                    packing::write_row(&m, black_box(&row), &mut w);
                    w.into_bytes()
                });
            });
            let mut w = Writer::new();
            packing::write_row(&m, &row, &mut w);
            let bytes = w.into_bytes();
            group.bench_function(format!("read {bits}/{path}"), |b| {
                b.iter(|| packing::read_row(&m, &mut Reader::new(black_box(&bytes)), &mut row).unwrap());
            });
        }
    }
}

fn fill(rng: &mut dyn EntropySource, bytes: &mut [u8]) {
    rng.fill_bytes(bytes);
}

fn config() -> Criterion {
    Criterion::default()
        .sample_size(40)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
}

criterion_group! { name = kernels; config = config(); targets = transforms, rows, samplers }
criterion_main!(kernels);
