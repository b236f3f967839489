//! A client's secret keys in its state directory.
//!
//! | path below `--state-dir` | mode | contents |
//! |---|---|---|
//! | `keys/SERVER/` | 0700 | SERVER: fingerprint of the server's key, 64 hexadecimal digits |
//! | `keys/SERVER/SCOPE.key` | 0600 | one secret key; SCOPE: digest of system, client, server, parameters and key request |
//!
//! | bytes | field of a `.key` file |
//! |---|---|
//! | 20 | `oblivia secret key 1` |
//! | 4 + … | system: length, text |
//! | 32 × 4 | client, server, parameter id, key request id |
//! | 4 + … | length, what the system keeps: for `leveled` the fingerprint of the evaluation keys last sent, and the key |
//! | 32 | digest of everything before |
//!
//! A file that is cut short, changed, or of another scope is reported and passed over, and the next session writes a
//! new one in its place: a secret key protects what was sent under it, nothing else depends on it.
#![deny(clippy::indexing_slicing)]

use crate::Error;
use oblivia_base::codec::{Decode, DecodeError, Encode, Reader, Writer};
use oblivia_base::{Digest, Secret};
use oblivia_net::private;
use oblivia_protocol::{KeyScope, SecretStore};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const MAGIC: &[u8; 20] = b"oblivia secret key 1";
const MAX_SYSTEM: usize = 64;
const MAX_SECRET_BYTES: usize = 1 << 20;
const MAX_FILE_BYTES: u64 = (MAX_SECRET_BYTES + 1024) as u64;
/// Files of one server; it chooses the parameters, and each choice is a file.
const MAX_FILES: usize = 64;

/// The keys below a state directory.
#[derive(Clone, Debug)]
pub struct KeyFiles {
    dir: PathBuf,
}

/// A secret key that is kept, without the secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptKey {
    /// The file.
    pub path: PathBuf,
    /// The server it is for.
    pub server: Digest,
    /// What else is known of it, or why the file is not usable.
    pub about: Result<AboutKey, String>,
}

/// What a key file says of its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AboutKey {
    /// The system.
    pub system: String,
    /// The client it belongs to.
    pub client: Digest,
    /// Id of the parameters.
    pub params: Digest,
    /// Id of the key request.
    pub request: Digest,
    /// Bytes of the file.
    pub bytes: u64,
    /// When it was written.
    pub written: Option<SystemTime>,
}

impl KeyFiles {
    /// The keys below `state_dir`; nothing is touched yet.
    pub fn new(state_dir: &Path) -> Self {
        Self { dir: state_dir.join("keys") }
    }

    /// All keys, ordered by server and file.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn list(&self) -> Result<Vec<KeptKey>, Error> {
        let mut all = Vec::new();
        for dir in names(&self.dir)? {
            let Some(server) = dir.file_name().and_then(|n| Digest::from_hex(n.to_str()?)) else { continue };
            for path in names(&dir)?.into_iter().filter(|p| is_key(p)) {
                let about = about(&path, &server);
                all.push(KeptKey { path, server, about });
            }
        }
        Ok(all)
    }

    /// Deletes the keys for `server`, or all; says how many.
    ///
    /// # Errors
    /// When a file cannot be deleted.
    pub fn forget(&self, server: Option<Digest>) -> Result<usize, Error> {
        let mut deleted = 0;
        for dir in names(&self.dir)? {
            let this = dir.file_name().and_then(|n| Digest::from_hex(n.to_str()?));
            if this.is_none() || server.is_some_and(|s| this != Some(s)) {
                continue;
            }
            // Unfinished files hold keys too.
            for path in names(&dir)? {
                fs::remove_file(&path).map_err(|e| failed(&path, "delete", &e))?;
                deleted += usize::from(is_key(&path));
            }
            fs::remove_dir(&dir).map_err(|e| failed(&dir, "delete", &e))?;
        }
        Ok(deleted)
    }

    fn place(&self, scope: &KeyScope) -> (PathBuf, String) {
        (self.dir.join(scope.server.hex()), format!("{}.key", scope.id().hex()))
    }

    fn read(&self, scope: &KeyScope) -> Result<Option<Secret<Vec<u8>>>, String> {
        let (dir, name) = self.place(scope);
        let Some(bytes) = private::read(&dir.join(name), MAX_FILE_BYTES).map_err(|e| e.to_string())? else {
            return Ok(None);
        };
        let (found, secret) = parse(&bytes)?;
        let KeyScope { system, client, server, params, request } = *scope;
        if found != (Header { system: system.to_owned(), client, server, params, request }) {
            return Err("it belongs to another client, server or plan".into());
        }
        Ok(Some(Secret::new(secret.to_vec())))
    }

    fn write(&self, scope: &KeyScope, secret: &[u8]) -> Result<(), Error> {
        let (dir, name) = self.place(scope);
        private::make_dir(&dir)?;
        // Room for everything: a vector that grows leaves a copy behind.
        let mut w = Writer::with_capacity(MAGIC.len() + scope.system.len() + 5 * 32 + 8 + secret.len());
        w.raw(MAGIC);
        w.str(scope.system);
        for digest in [&scope.client, &scope.server, &scope.params, &scope.request] {
            digest.encode(&mut w);
        }
        w.bytes(secret);
        let mut bytes = Secret::new(w.into_bytes());
        let seal = seal(bytes.expose());
        bytes.expose_mut().extend_from_slice(&seal.0);
        private::replace(&dir, &name, bytes.expose())?;
        prune(&dir)
    }
}

impl SecretStore for KeyFiles {
    fn load(&self, scope: &KeyScope) -> Option<Secret<Vec<u8>>> {
        self.read(scope).unwrap_or_else(|why| {
            let (dir, name) = self.place(scope);
            tracing::warn!(
                file = %dir.join(name).display(),
                %why,
                "a kept secret key is not usable; a new one takes its place"
            );
            None
        })
    }

    fn save(&self, scope: &KeyScope, secret: &Secret<Vec<u8>>) {
        if let Err(error) = self.write(scope, secret.expose()) {
            tracing::warn!(%error, "the secret key is not kept; the next session sends keys again");
        }
    }
}

/// What stands before the secret.
#[derive(PartialEq, Eq)]
struct Header {
    system: String,
    client: Digest,
    server: Digest,
    params: Digest,
    request: Digest,
}

fn seal(bytes: &[u8]) -> Digest {
    Digest::of("secret key file v1", bytes)
}

/// Header and secret of a whole, unchanged file.
fn parse(bytes: &[u8]) -> Result<(Header, &[u8]), String> {
    let damaged = |e: DecodeError| format!("it is damaged ({e})");
    let Some((body, end)) = bytes.len().checked_sub(32).and_then(|at| bytes.split_at_checked(at)) else {
        return Err("it is cut short".into());
    };
    let mut r = Reader::new(body);
    if r.raw(MAGIC.len(), "format").ok() != Some(MAGIC) {
        return Err("it is no key file of this version".into());
    }
    if seal(body).0 != end {
        return Err("it is cut short or changed".into());
    }
    let system = r.str(MAX_SYSTEM, "system").map_err(damaged)?.to_owned();
    let mut digest = || Digest::decode(&mut r).map_err(damaged);
    let (client, server, params, request) = (digest()?, digest()?, digest()?, digest()?);
    let secret = r.bytes(MAX_SECRET_BYTES, "secret").map_err(damaged)?;
    r.finish().map_err(damaged)?;
    Ok((Header { system, client, server, params, request }, secret))
}

fn about(path: &Path, server: &Digest) -> Result<AboutKey, String> {
    let bytes = private::read(path, MAX_FILE_BYTES).map_err(|e| e.to_string())?;
    let bytes = bytes.ok_or("it vanished")?;
    let (header, _) = parse(&bytes)?;
    if header.server != *server {
        return Err("it belongs to another server".into());
    }
    Ok(AboutKey {
        system: header.system,
        client: header.client,
        params: header.params,
        request: header.request,
        bytes: bytes.len() as u64,
        written: fs::metadata(path).and_then(|m| m.modified()).ok(),
    })
}

/// Deletes the oldest files until [`MAX_FILES`] are left.
fn prune(dir: &Path) -> Result<(), Error> {
    let mut files: Vec<(Option<SystemTime>, PathBuf)> = names(dir)?
        .into_iter()
        .filter(|path| is_key(path))
        .map(|path| (fs::metadata(&path).and_then(|m| m.modified()).ok(), path))
        .collect();
    files.sort();
    for (_, path) in files.iter().take(files.len().saturating_sub(MAX_FILES)) {
        fs::remove_file(path).map_err(|e| failed(path, "delete", &e))?;
    }
    Ok(())
}

fn is_key(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "key")
}

/// What is in a directory, in order; nothing where there is none.
fn names(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = match fs::read_dir(dir) {
        Ok(read) => read,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(dir, "read", &e)),
    };
    let mut paths: Vec<PathBuf> = read
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()
        .map_err(|e| failed(dir, "read", &e))?;
    paths.sort();
    Ok(paths)
}

fn failed(path: &Path, doing: &'static str, e: &std::io::Error) -> Error {
    oblivia_net::Error::StateDir { path: path.to_owned(), doing, why: e.to_string() }.into()
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test that is wrong may panic")]
mod tests {
    use super::*;

    fn scope(params: u8) -> KeyScope {
        let [client, server, request] = [1, 2, 4].map(|i| Digest([i; 32]));
        KeyScope { system: "toy", client, server, params: Digest([params; 32]), request }
    }

    fn text(secret: Option<Secret<Vec<u8>>>) -> Option<String> {
        secret.map(|s| String::from_utf8(s.expose().clone()).unwrap())
    }

    fn secret(text: &str) -> Secret<Vec<u8>> {
        Secret::new(text.as_bytes().to_vec())
    }

    #[test]
    fn a_key_is_kept_for_its_scope_replaced_listed_and_forgotten() {
        let state = tempfile::tempdir().unwrap();
        let files = KeyFiles::new(state.path());
        assert!(files.list().unwrap().is_empty() && files.load(&scope(3)).is_none());
        assert!(!state.path().join("keys").exists(), "looking makes nothing");
        files.save(&scope(3), &secret("one"));
        files.save(&scope(3), &secret("two"));
        files.save(&scope(5), &secret("five"));
        let far = KeyScope { server: Digest([9; 32]), ..scope(3) };
        files.save(&far, &secret("far"));
        assert_eq!(text(files.load(&scope(3))).as_deref(), Some("two"));
        assert_eq!(text(files.load(&far)).as_deref(), Some("far"));
        for other in [
            KeyScope { client: Digest([7; 32]), ..scope(3) },
            KeyScope { system: "boy", ..scope(3) },
            KeyScope { request: Digest([7; 32]), ..scope(3) },
        ] {
            assert!(files.load(&other).is_none());
        }
        let listed = files.list().unwrap();
        assert_eq!(listed.len(), 3);
        let about = listed[0].about.as_ref().unwrap();
        assert_eq!(
            (about.system.as_str(), about.client, listed[0].server),
            ("toy", scope(3).client, scope(3).server)
        );
        assert_eq!(files.forget(Some(scope(3).server)).unwrap(), 2);
        assert!(files.load(&scope(3)).is_none() && files.load(&far).is_some());
        assert_eq!(files.forget(None).unwrap(), 1);
        assert_eq!(files.forget(None).unwrap(), 0);
    }

    #[test]
    fn a_file_that_is_damaged_exposed_or_misplaced_is_passed_over_and_replaced() {
        let state = tempfile::tempdir().unwrap();
        let files = KeyFiles::new(state.path());
        files.save(&scope(3), &secret("a secret"));
        let (dir, name) = files.place(&scope(3));
        let path = dir.join(name);
        let whole = fs::read(&path).unwrap();
        let mut bad: Vec<Vec<u8>> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
        bad.extend((0..whole.len()).map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            bytes
        }));
        bad.push([&whole[..], b"x"].concat());
        for bytes in bad {
            fs::write(&path, &bytes).unwrap();
            assert!(files.read(&scope(3)).is_err());
            assert!(files.load(&scope(3)).is_none());
            assert!(files.list().unwrap()[0].about.is_err());
        }
        files.save(&scope(3), &secret("another"));
        assert_eq!(text(files.load(&scope(3))).as_deref(), Some("another"));
        // A whole file of another scope under this name.
        files.save(&scope(5), &secret("five"));
        let (dir, other) = files.place(&scope(5));
        fs::rename(dir.join(other), &path).unwrap();
        assert!(files.load(&scope(3)).is_none());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::write(&path, &whole).unwrap();
            assert_eq!(text(files.load(&scope(3))).as_deref(), Some("a secret"));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            assert!(files.read(&scope(3)).unwrap_err().contains("chmod 600"));
        }
    }

    #[test]
    fn a_server_that_asks_for_ever_new_parameters_fills_no_disk() {
        let state = tempfile::tempdir().unwrap();
        let files = KeyFiles::new(state.path());
        for i in 0..MAX_FILES + 5 {
            files.save(&scope(i as u8), &secret("x"));
        }
        assert_eq!(files.list().unwrap().len(), MAX_FILES);
    }
}
