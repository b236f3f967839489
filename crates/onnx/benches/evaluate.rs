//! Seconds of the float evaluator and of reading a model file.

use criterion::{Criterion, criterion_group, criterion_main};
use oblivia_data::data_dir;
use oblivia_nn::{Tensor, eval, pass::fold};
use oblivia_onnx::import;
use std::hint::black_box;

fn bench(c: &mut Criterion) {
    let Ok(models) = data_dir().map(|dir| dir.join("models")) else {
        eprintln!("skipped: the models lie in ../shared/data or OBLIVIA_DATA, which is not there");
        return;
    };
    for name in ["resnet20_cifar10", "minionn_cifar10_relu"] {
        let Ok(bytes) = std::fs::read(models.join(format!("{name}.onnx"))) else {
            eprintln!("skipped: {name}.onnx is not there");
            continue;
        };
        c.bench_function(&format!("import/{name}"), |b| b.iter(|| import(black_box(&bytes))));
        let Ok(model) = oblivia_onnx::load(models.join(format!("{name}.onnx"))).map(|m| fold(&m)) else {
            continue;
        };
        let Ok(model) = model else { continue };
        let x = Tensor::zeros(model.public.graph.input_shape().clone());
        c.bench_function(&format!("evaluate/{name}"), |b| b.iter(|| eval::run(&model, black_box(&x))));
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
