//! Says which commit a build is of, for `oblivia bench`.
//!
//! `OBLIVIA_COMMIT` is the commit, with a `+` if what is compiled is not what was committed, or `unknown` outside a clone of the
//! repository. It is looked up anew when another commit is checked out or made, and when what is compiled changes.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    println!("cargo::rustc-env=OBLIVIA_COMMIT={}", commit(&root).unwrap_or_else(|| "unknown".into()));
}

fn commit(root: &Path) -> Option<String> {
    let git = |args: &[&str]| {
        // What only looks takes no lock.
        let out =
            Command::new("git").args(["--no-optional-locks", "-C"]).arg(root).args(args).output().ok()?;
        out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    // Sources that were unpacked in somebody else's repository are of none of its commits.
    if Path::new(&git(&["rev-parse", "--show-toplevel"])?) != root.canonicalize().ok()? {
        return None;
    }
    let hash = git(&["rev-parse", "--short=12", "HEAD"])?;
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for moves in ["HEAD"].into_iter().chain(branch.as_deref()) {
        let path = root.join(git(&["rev-parse", "--git-path", moves])?);
        // The file of a branch is made by the next commit if the branch is packed; a file that is not there is always new to cargo.
        watch(path.ancestors().find(|path| path.exists())?);
    }
    let sources = sources(root)?;
    sources.iter().for_each(|path| watch(path));
    let sources: Vec<&str> = sources.iter().map(|path| path.to_str()).collect::<Option<_>>()?;
    let changes = git(&[&["status", "--porcelain", "--"], &sources[..]].concat())?;
    Some(if changes.is_empty() { hash } else { hash + "+" })
}

/// What is compiled.
fn sources(root: &Path) -> Option<Vec<PathBuf>> {
    let root = root.canonicalize().ok()?;
    let mut found = vec![root.join("Cargo.toml"), root.join("Cargo.lock")];
    for room in std::fs::read_dir(root.join("crates")).ok()? {
        let room = room.ok()?.path();
        found.extend(["Cargo.toml", "build.rs", "src"].map(|part| room.join(part)));
    }
    found.retain(|path| path.exists());
    found.sort();
    Some(found)
}

fn watch(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}
