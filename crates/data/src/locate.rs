use crate::DataError;
use std::path::{Path, PathBuf};

/// The directory of test data and models: `OBLIVIA_DATA` if that is set, otherwise `../shared/data` of the
/// working directory or of one above it.
pub fn data_dir() -> Result<PathBuf, DataError> {
    let named = std::env::var_os("OBLIVIA_DATA").filter(|v| !v.is_empty()).map(PathBuf::from);
    let here = std::env::current_dir()
        .map_err(|e| DataError::Io { path: "the working directory".into(), why: e.to_string() })?;
    find_data_dir(named.as_deref(), &here)
}

/// As [`data_dir`], with `OBLIVIA_DATA` and the working directory given.
pub fn find_data_dir(named: Option<&Path>, here: &Path) -> Result<PathBuf, DataError> {
    if let Some(dir) = named {
        return match dir.is_dir() {
            true => Ok(dir.to_owned()),
            false => Err(DataError::NoData {
                why: format!("OBLIVIA_DATA names {}, which is no folder", dir.display()),
            }),
        };
    }
    let beside = here.ancestors().skip(1).map(|dir| dir.join("shared").join("data"));
    beside.into_iter().find(|dir| dir.is_dir()).ok_or_else(|| DataError::NoData {
        why: format!("../shared/data exists neither beside {} nor beside a folder above it", here.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_folder_wins_and_must_exist() {
        let dir = tempfile::tempdir().unwrap();
        // A relative path: the temporary folder may have a shared/data beside it.
        assert!(matches!(find_data_dir(None, Path::new("work/crates/data")), Err(DataError::NoData { .. })));
        let here = dir.path().join("work/crates/data");
        std::fs::create_dir_all(&here).unwrap();
        let shared = dir.path().join("shared/data");
        std::fs::create_dir_all(&shared).unwrap();
        assert_eq!(find_data_dir(None, &here).unwrap(), shared);
        assert_eq!(find_data_dir(Some(&here), &here).unwrap(), here);
        let missing = dir.path().join("missing");
        let error = find_data_dir(Some(&missing), &here).unwrap_err().to_string();
        assert!(error.contains("OBLIVIA_DATA names"), "{error}");
    }
}
