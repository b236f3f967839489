//! Chores of the workspace.

mod generate;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["generate"] => generate::generate(false),
        ["generate", "--check"] => generate::generate(true),
        _ => anyhow::bail!("chores: generate [--check]"),
    }
}
