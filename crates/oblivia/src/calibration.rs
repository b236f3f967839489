//! Unit costs of this machine, kept in the state directory.

use crate::Error;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Name of the file in a state directory.
const FILE: &str = "calibration.json";

/// The largest file read.
const MAX_BYTES: u64 = 1 << 16;

/// Where a state directory keeps measured unit costs.
pub fn calibration_file(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// The unit costs of a state directory; none if nothing was measured.
///
/// # Errors
/// [`Error::Calibration`] when the file cannot be read or is not what `oblivia calibrate` writes.
pub fn read_calibration(state_dir: &Path) -> Result<BTreeMap<String, u64>, Error> {
    let path = calibration_file(state_dir);
    let bad = |why: String| Error::Calibration { path: path.clone(), why };
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match std::fs::metadata(&path) {
        // A state directory that is none is named by whoever has to write there.
        Err(e) if matches!(e.kind(), NotFound | NotADirectory) => return Ok(BTreeMap::new()),
        Err(e) => return Err(bad(e.to_string())),
        Ok(m) if m.len() > MAX_BYTES => return Err(bad(format!("it has {} bytes", m.len()))),
        Ok(_) => {}
    }
    let text = std::fs::read(&path).map_err(|e| bad(e.to_string()))?;
    serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))
}

/// Writes unit costs.
///
/// # Errors
/// [`Error::Calibration`] when the file cannot be written.
pub fn write_calibration(state_dir: &Path, units: &BTreeMap<String, u64>) -> Result<(), Error> {
    let path = calibration_file(state_dir);
    let bad = |why: String| Error::Calibration { path: path.clone(), why };
    std::fs::create_dir_all(state_dir).map_err(|e| bad(e.to_string()))?;
    let text = serde_json::to_vec_pretty(units).map_err(|e| bad(e.to_string()))?;
    std::fs::write(&path, text).map_err(|e| bad(e.to_string()))
}
