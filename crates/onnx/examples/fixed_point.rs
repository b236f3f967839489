//! What fixed point costs a model: formats of its layers, and accuracy beside the float network's.
//!
//!     cargo run --release -p oblivia-onnx --example fixed_point -- NAME IMAGES BITS WEIGHT_BITS CALIBRATION [static]
//!
//! NAME is a model of `tests/zoo`. Calibration images come after the ones that are reported on.
#![expect(clippy::print_stdout, reason = "a tool")]

#[path = "../tests/zoo/mod.rs"]
mod zoo;

use oblivia_base::Prg;
use oblivia_nn::fixed::{Options, Random, Ranges, accuracy, declare_overflow, quantise};
use std::error::Error;
use std::time::Instant;
use zoo::ZOO;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, images, bits, weight_bits, calibration, rest @ ..] = &args[..] else {
        return Err("NAME IMAGES BITS WEIGHT_BITS CALIBRATION [static]".into());
    };
    let entry = ZOO.iter().find(|e| e.name == name).ok_or("no such model")?;
    if let Some(missing) = entry.missing() {
        return Err(format!("needs {missing}").into());
    }
    let model = entry.model()?;
    let (images, calibration): (usize, usize) = (images.parse()?, calibration.parse()?);
    let options = Options { bits: bits.parse()?, weight_bits: weight_bits.parse()?, ..Options::default() };
    let started = Instant::now();
    let ranges = match rest {
        [] => {
            let seen = entry.samples(&model, images, calibration)?;
            Ranges::measured(&model, seen.iter().map(|(x, _)| x))?
        }
        _ => Ranges::always(&model)?,
    };
    let mut fixed = quantise(&model, &ranges, &options)?;
    println!("{name}: calibrated and quantised in {:.1?}", started.elapsed());
    let network = fixed.network();
    let formats = network.formats();
    println!(
        "input: {} bits at scale {:.3}; output at scale {:.3}",
        formats.input_bits, formats.input_scale, formats.output_scale
    );
    let layers = network.graph().nodes().iter().zip(0u32..);
    for (node, wire) in layers {
        if let Some(f) = network.linear(oblivia_nn::WireId(wire)) {
            println!(
                "{:24} {:28} l {} f {:2} k {} |w|1 {:7} |w|2 {:5}",
                node.name,
                node.op.to_string(),
                f.bits,
                f.shift,
                f.accumulator_bits(),
                f.norm1,
                f.norm2
            );
        }
    }
    let mut rounding = Random(Prg::new(&[1; 32], "fixed point example", &[]));
    let started = Instant::now();
    let samples = entry.samples(&model, 0, images)?;
    let report = accuracy(&model, &fixed, samples.iter().map(|(x, y)| (x, *y)), &mut rounding)?;
    println!("{report}, {:.1?}", started.elapsed());
    let mut outside = vec![0; fixed.network().graph().nodes().len()];
    for (x, _) in &samples {
        let trace = fixed.run(&fixed.network().input(x)?, &mut rounding)?;
        outside.iter_mut().zip(&trace.outside).for_each(|(sum, n)| *sum += n);
    }
    if let Some((x, _)) = samples.first() {
        let graph = fixed.network().graph();
        let float = oblivia_nn::eval::wires(graph, &model.weights, x)?;
        let trace = fixed.run(&fixed.network().input(x)?, &mut rounding)?;
        for (wire, (node, float)) in (0u32..).zip(graph.nodes().iter().zip(&float)) {
            let (scales, found) = (fixed.scales(oblivia_nn::WireId(wire)), &trace.wires[wire as usize]);
            let per = found.len() / scales.len();
            let pairs = found
                .iter()
                .enumerate()
                .map(|(i, &v)| (v as f64 / scales[i / per], f64::from(float.data()[i])));
            let (mut error, mut all) = (0.0f64, 0.0f64);
            for (a, b) in pairs {
                error += (a - b).powi(2);
                all += b * b;
            }
            let (error, outside) = ((error / all).log2() / 2.0, outside[wire as usize]);
            println!("{:28} {:18} relative error 2^{error:.1}, {outside} outside", node.name, node.op.name());
        }
    }
    let overflow = declare_overflow(&mut fixed, samples.iter().map(|(x, _)| x), &mut rounding)?;
    println!("declared overflow probability {overflow:.2e}");
    Ok(())
}
