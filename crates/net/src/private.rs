//! Files in the state directory that nobody but their owner may read.
//!
//! Directories are made with mode 0700, files with 0600; a file appears whole or not at all. A file being written when
//! the machine stopped is left under a name that begins with a dot and ends in `.tmp`; it is safe to delete.
#![deny(clippy::indexing_slicing)]

use crate::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The contents of the file at `path`, of at most `max_bytes` (what is beyond is cut); `None` when there is none.
///
/// # Errors
/// [`Error::StateDir`] when it cannot be read, [`Error::KeyExposed`] when others can read it.
pub fn read(path: &Path, max_bytes: u64) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let failed = |e: std::io::Error| state_error(path, "read", &e);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    check_private(path, &file)?;
    // Room for everything: a vector that grows leaves a copy behind.
    let bytes = file.metadata().map_err(failed)?.len().min(max_bytes);
    let mut contents = Zeroizing::new(Vec::with_capacity(usize::try_from(bytes).unwrap_or(0) + 1));
    file.take(max_bytes).read_to_end(&mut contents).map_err(failed)?;
    Ok(Some(contents))
}

/// Makes `dir` and the directories above it.
///
/// # Errors
/// [`Error::StateDir`].
pub fn make_dir(dir: &Path) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|e| state_error(dir, "create", &e))
}

/// Writes `bytes` to the file `name` in `dir`, unless there is one: then `false`.
///
/// # Errors
/// [`Error::StateDir`].
pub fn create(dir: &Path, name: &str, bytes: &[u8]) -> Result<bool, Error> {
    let path = dir.join(name);
    place(dir, bytes, |temporary| match fs::hard_link(temporary, &path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
        // A file system without hard links: two first runs at once would then race.
        Err(_) => fs::rename(temporary, &path).map(|()| true).map_err(|e| state_error(&path, "write", &e)),
    })
}

/// Writes `bytes` to the file `name` in `dir`, in place of what it held.
///
/// # Errors
/// [`Error::StateDir`].
pub fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let path = dir.join(name);
    place(dir, bytes, |temporary| {
        fs::rename(temporary, &path).map(|()| true).map_err(|e| state_error(&path, "write", &e))
    })
    .map(|_| ())
}

/// Writes `bytes` to a new file in `dir` and lets `name` give it its name; says whether it did.
fn place(dir: &Path, bytes: &[u8], name: impl FnOnce(&Path) -> Result<bool, Error>) -> Result<bool, Error> {
    let (temporary, mut file) = temporary_file(dir)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let placed = written.map_err(|e| state_error(&temporary, "write", &e)).and_then(|()| name(&temporary));
    // After a rename there is nothing left to remove; a leftover is harmless.
    let _ = fs::remove_file(&temporary);
    if placed == Ok(true)
        && let Ok(dir) = File::open(dir)
    {
        // Not every file system can sync a directory; the file itself is on disk.
        let _ = dir.sync_all();
    }
    placed
}

fn temporary_file(dir: &Path) -> Result<(PathBuf, File), Error> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    for attempt in 0..1000u32 {
        let path = dir.join(format!(".{}-{attempt}.tmp", std::process::id()));
        match options.open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
            Err(e) => return Err(state_error(&path, "write", &e)),
        }
    }
    let why = "it is full of unfinished files (.*.tmp); delete them".to_owned();
    Err(Error::StateDir { path: dir.to_owned(), doing: "write into", why })
}

fn state_error(path: &Path, doing: &'static str, e: &std::io::Error) -> Error {
    Error::StateDir { path: path.to_owned(), doing, why: e.to_string() }
}

#[cfg(unix)]
fn check_private(path: &Path, file: &File) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata().map_err(|e| state_error(path, "read", &e))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::KeyExposed { path: path.to_owned(), mode });
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_private(_: &Path, _: &File) -> Result<(), Error> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_whole_private_and_made_once_or_replaced() {
        let state = tempfile::tempdir().unwrap();
        let dir = state.path().join("a/b");
        make_dir(&dir).unwrap();
        assert_eq!(read(&dir.join("x"), 10).unwrap(), None);
        assert!(create(&dir, "x", b"first").unwrap());
        assert!(!create(&dir, "x", b"second").unwrap());
        assert_eq!(read(&dir.join("x"), 10).unwrap().unwrap().as_slice(), b"first");
        replace(&dir, "x", b"third").unwrap();
        assert_eq!(read(&dir.join("x"), 3).unwrap().unwrap().as_slice(), b"thi");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "no unfinished file is left");
        for (path, mode) in [(&dir, 0o700), (&dir.join("x"), 0o600)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
        }
        fs::set_permissions(dir.join("x"), fs::Permissions::from_mode(0o604)).unwrap();
        assert!(matches!(read(&dir.join("x"), 10), Err(Error::KeyExposed { mode: 0o604, .. })));
    }
}
