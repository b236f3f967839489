//! The checks that take too long for every change.

use anyhow::{Context, Result, bail};
use std::process::Command;

/// Each line is a command of its own, run from the workspace root.
const STEPS: &[(&str, &[&str])] = &[
    ("advisories and licences (cargo-deny must be installed)", &["cargo", "deny", "check"]),
    ("documentation", &["cargo", "doc", "--workspace", "--no-deps"]),
    (
        "two parties against the simulator, large networks (needs ../shared/data)",
        &[
            "env",
            "OBLIVIA_LARGE=1",
            "cargo",
            "test",
            "--release",
            "-p",
            "oblivia-conformance",
            "--test",
            "hybrid_simulator",
        ],
    ),
    ("benchmarks compile", &["cargo", "bench", "--workspace", "--no-run"]),
];

pub(crate) fn run() -> Result<()> {
    for (what, command) in STEPS {
        println!("== {what}");
        let Some((program, args)) = command.split_first() else { continue };
        let status =
            Command::new(program).args(args).status().with_context(|| format!("running {program}"))?;
        if !status.success() {
            bail!("{what} failed: `{}`", command.join(" "));
        }
    }
    Ok(())
}
