use crate::DataError;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A whole file, refused if it is larger than `max_bytes`.
pub fn read(path: impl AsRef<Path>, max_bytes: u64) -> Result<Vec<u8>, DataError> {
    let path = path.as_ref();
    let io = |e: std::io::Error| DataError::Io { path: path.display().to_string(), why: e.to_string() };
    let file = File::open(path).map_err(io)?;
    bounded(file, max_bytes).map_err(io)?.ok_or_else(|| DataError::TooLarge {
        what: format!("bytes of {}", path.display()),
        found: max_bytes + 1,
        max: max_bytes,
    })
}

/// Everything a reader gives, or `None` if that is more than `max` bytes.
pub(crate) fn bounded(reader: impl Read, max: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|b| b.len() as u64 <= max))
}
