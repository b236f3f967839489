//! Chores of the workspace: `cargo xtask check | full`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command line tool prints")]

mod check;
mod full;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let chore = std::env::args().nth(1);
    match chore.as_deref() {
        Some("check") => check::run(),
        Some("full") => full::run(),
        other => bail!("no chore `{}`; there are: check, full", other.unwrap_or("")),
    }
}
