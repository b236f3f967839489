//! Chores of the workspace.
fn main() -> anyhow::Result<()> {
    anyhow::bail!("no chore named")
}
