//! Generated code that is committed, so that a build needs no code generator.

use anyhow::{Context, ensure};
use std::path::Path;

/// Writes the protobuf structs of the ONNX reader from `crates/onnx/proto/onnx.proto`; with `check`, only
/// compares them with the committed ones.
pub(crate) fn generate(check: bool) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    let proto = root.join("crates/onnx/proto");
    let schema = protox::compile([proto.join("onnx.proto")], [&proto])?;
    let out = tempfile::tempdir()?;
    prost_build::Config::new().out_dir(out.path()).compile_fds(schema)?;
    let generated = std::fs::read_to_string(out.path().join("onnx.rs"))?;
    let committed = root.join("crates/onnx/src/proto/onnx.rs");
    if check {
        let found = std::fs::read_to_string(&committed).unwrap_or_default();
        ensure!(found == generated, "{} is out of date: run `cargo xtask generate`", committed.display());
        return Ok(());
    }
    std::fs::write(&committed, generated).with_context(|| format!("writing {}", committed.display()))
}
