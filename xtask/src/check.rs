//! The house table of ARCHITECTURE.md and the licence rules, held against `cargo metadata`.

use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use std::collections::{BTreeMap, BTreeSet};

/// Licences a dependency may be had under (SPDX ids). `A OR B` needs one of them, `A AND B` both.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that must not enter, with the reason.
const BANNED: &[(&str, &str)] = &[
    ("openssl-sys", "needs a system library"),
    ("aws-lc-sys", "needs cmake"),
    ("gmp-mpfr-sys", "needs a system library, LGPL"),
    ("cmake", "no cmake in the build"),
    ("protoc-bin-vendored", "no protoc in the build"),
    ("tfhe-ntt", "BSD-3-Clause-Clear: no patent grant for commercial use"),
    ("fhe-math", "depends on tfhe-ntt"),
    ("concrete-ntt", "BSD-3-Clause-Clear"),
];

/// Crates that only tests, benchmarks and third-party suites may use.
const DEV_ONLY: &[&str] = &["oblivia-conformance"];

pub(crate) fn run() -> Result<()> {
    let metadata = MetadataCommand::new().exec().context("running `cargo metadata`")?;
    let mut faults = house(&metadata)?;
    faults.extend(licences(&metadata));
    faults.extend(banned(&metadata));
    faults.extend(unsafe_rooms(&metadata)?);
    if faults.is_empty() {
        println!(
            "house: {} crates as ARCHITECTURE.md says; licences of {} packages allowed; none banned",
            metadata.workspace_members.len(),
            metadata.packages.len()
        );
        return Ok(());
    }
    for fault in &faults {
        println!("error: {fault}");
    }
    bail!("{} rules of the house are broken", faults.len())
}

/// Rows `| crate | what | may import |` of ARCHITECTURE.md between the house markers.
fn house(metadata: &Metadata) -> Result<Vec<String>> {
    let path = metadata.workspace_root.join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let table = text
        .split_once("<!-- house -->")
        .and_then(|(_, rest)| rest.split_once("<!-- /house -->"))
        .map(|(table, _)| table)
        .context("ARCHITECTURE.md has no table between <!-- house --> and <!-- /house -->")?;
    let mut may: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in table.lines().filter(|l| l.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, _, imports] = cells.as_slice() else {
            bail!("ARCHITECTURE.md: the row `{line}` has not three cells");
        };
        let imports = imports.split(',').map(|i| i.trim().trim_matches('`').to_owned());
        may.insert(name.trim_matches('`').to_owned(), imports.filter(|i| i != "–").collect());
    }
    let mut faults = Vec::new();
    let short = |name: &str| name.strip_prefix("oblivia-").unwrap_or(name).to_owned();
    let members: BTreeSet<&str> = metadata.workspace_packages().iter().map(|p| p.name.as_str()).collect();
    for package in metadata.workspace_packages() {
        let Some(allowed) = may.remove(&short(&package.name)) else {
            faults.push(format!("crate `{}` is not in the house table of ARCHITECTURE.md", package.name));
            continue;
        };
        for dep in &package.dependencies {
            let inside = members.contains(dep.name.as_str());
            let normal = dep.kind != DependencyKind::Development;
            if inside && normal && DEV_ONLY.contains(&dep.name.as_str()) {
                faults.push(format!("`{}` is for tests, but `{}` imports it", dep.name, package.name));
            }
            if inside && normal && !allowed.contains(&short(&dep.name)) {
                faults.push(format!(
                    "`{}` imports `{}`, which the house table does not allow",
                    package.name, dep.name
                ));
            }
        }
    }
    faults.extend(may.keys().map(|name| format!("the house table lists `{name}`, which is no crate")));
    Ok(faults)
}

fn licences(metadata: &Metadata) -> Vec<String> {
    let foreign = metadata.packages.iter().filter(|p| p.source.is_some());
    foreign
        .filter_map(|p| match &p.license {
            Some(expression) if allowed(expression) => None,
            Some(expression) => Some(format!("licence `{expression}` of `{}` is not on the list", p.name)),
            None => Some(format!("`{}` states no licence", p.name)),
        })
        .collect()
}

/// Whether an SPDX expression can be satisfied by [`LICENCES`]. `/` is the old way to write OR.
fn allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let conjuncts = expression.split(" AND ");
    conjuncts
        .map(|c| c.trim().trim_start_matches('(').trim_end_matches(')'))
        .all(|c| c.split(" OR ").any(|l| LICENCES.contains(&l.trim().trim_matches(['(', ')']))))
}

fn banned(metadata: &Metadata) -> Vec<String> {
    let find = |p: &Package| {
        BANNED
            .iter()
            .find(|(name, _)| *name == p.name.as_str())
            .map(|(n, why)| format!("`{n}` is banned: {why}"))
    };
    metadata.packages.iter().filter_map(find).collect()
}

/// Only kernel crates may lack `#![forbid(unsafe_code)]`.
fn unsafe_rooms(metadata: &Metadata) -> Result<Vec<String>> {
    const KERNELS: &[&str] = &["oblivia-ring", "oblivia-mpc"];
    let mut faults = Vec::new();
    for package in metadata.workspace_packages() {
        for target in &package.targets {
            let root = target.is_lib() || target.is_bin();
            if !root || KERNELS.contains(&package.name.as_str()) {
                continue;
            }
            let text = std::fs::read_to_string(&target.src_path)?;
            if !text.contains("#![forbid(unsafe_code)]") {
                faults.push(format!("{} does not forbid unsafe code", target.src_path));
            }
        }
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn one_side_of_or_suffices_and_both_sides_of_and_are_needed() {
        assert!(allowed("MIT OR GPL-3.0"));
        assert!(allowed("MIT/Apache-2.0"));
        assert!(allowed("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(allowed("Apache-2.0 WITH LLVM-exception"));
        assert!(!allowed("GPL-3.0"));
        assert!(!allowed("MIT AND AGPL-3.0"));
        assert!(!allowed("BSD-3-Clause-Clear"));
    }
}
