//! Chores of the workspace: `cargo xtask check | generate [--check] | full`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command line tool prints")]

mod check;
mod full;
mod generate;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["check"] => check::run(),
        ["generate"] => generate::generate(false),
        ["generate", "--check"] => generate::generate(true),
        ["full"] => full::run(),
        _ => bail!("chores: check, generate [--check], full"),
    }
}
