//! `oblivia`: private predictions from an ONNX file.
#![forbid(unsafe_code)]

mod args;
mod bench;
mod calibrate;
mod compare;
mod demo;
mod exit;
mod inputs;
mod inspect;
mod keys;
mod output;
mod plan;
mod policy;
mod predict;
mod prepare;
mod process;
mod progress;
mod quantise;
mod receipt;
mod serve;
mod session;
mod testset;

use args::{Cli, Command};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(cli.log.level())
        // A log nobody reads any more is no reason to panic.
        .log_internal_errors(false)
        .init();
    let done = match cli.command {
        Command::Demo(a) => demo::run(&a),
        Command::Inspect(a) => inspect::run(&a),
        Command::Plan(a) => plan::run(&a),
        Command::Serve(a) => serve::run(&a),
        Command::Predict(a) => predict::run(&a),
        Command::Prepare(a) => prepare::run(&a),
        Command::Calibrate(a) => calibrate::run(&a),
        Command::Quantise(a) => quantise::run(&a),
        Command::Keys(a) => keys::run(&a),
        Command::Bench(a) => bench::run(&a),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => exit::report(&e),
    }
}
