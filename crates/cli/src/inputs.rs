//! The files a client predicts on.

use anyhow::{Context, Result};
use oblivia::{Input, is_idx, load_images};
use oblivia_protocol::Error;
use std::path::{Path, PathBuf};

/// Expands folders to the images in them, in order of name.
pub(crate) fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries =
            std::fs::read_dir(path).with_context(|| format!("reading folder {}", path.display()))?;
        let mut found: Vec<PathBuf> = entries
            .map(|e| e.map(|e| e.path()))
            .collect::<Result<_, _>>()
            .with_context(|| format!("reading folder {}", path.display()))?;
        found.retain(|f| is_input(f));
        if found.is_empty() {
            return Err(Error::Input(format!(
                "no .png, .jpg, .jpeg, .npy or idx3-ubyte file in {}",
                path.display()
            ))
            .into());
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

fn is_input(path: &Path) -> bool {
    const KINDS: [&str; 4] = ["png", "jpg", "jpeg", "npy"];
    let images = |name: &str| name.contains("idx3");
    path.extension().is_some_and(|e| KINDS.iter().any(|k| e.eq_ignore_ascii_case(k)))
        || is_idx(path) && path.file_name().and_then(|n| n.to_str()).is_some_and(images)
}

/// The images of all files, with their names: of several in one file with their numbers.
pub(crate) fn load(files: &[PathBuf]) -> Result<(Vec<String>, Vec<Input>)> {
    let (mut names, mut inputs) = (Vec::new(), Vec::new());
    for file in files {
        let name = file.display().to_string();
        let images = load_images(file)?;
        match is_idx(file) {
            true => names.extend((0..images.len()).map(|i| format!("{name}#{i}"))),
            false => names.push(name),
        }
        inputs.extend(images);
    }
    Ok((names, inputs))
}

/// The folder with the shipped models and samples: the current directory or one above it, else where this
/// program was built.
pub(crate) fn repository() -> Result<PathBuf> {
    let is_root = |p: &Path| p.join("models/mnist-cryptonets/model.onnx").is_file();
    let here = std::env::current_dir().context("finding the current directory")?;
    if let Some(root) = here.ancestors().find(|p| is_root(p)) {
        return Ok(root.to_owned());
    }
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if is_root(&built) {
        return Ok(built);
    }
    Err(Error::Input(
        "the shipped model models/mnist-cryptonets is neither here nor above: run this in a clone of the \
         repository"
            .into(),
    )
    .into())
}
