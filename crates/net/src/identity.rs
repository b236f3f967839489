//! Who a party is: a key pair and its certificate, made on first use and kept in the state directory.
//!
//! | path below `--state-dir` | mode | contents |
//! |---|---|---|
//! | `identity/` | 0700 | made with the first identity |
//! | `identity/server.pem` | 0600 | PKCS #8 private key, then the server's certificate chain, both PEM |
//! | `identity/client.pem` | 0600 | the same for the client |
//!
//! A file appears whole or not at all (see [`private`]), and two processes that start at once end up with the same
//! one. A
//! development identity is an ECDSA P-256 key with a self-signed certificate for `localhost`, `127.0.0.1`
//! and `::1`, valid until the year 4096; it is meant to be pinned. A key and chain issued by an authority
//! can be put in its place.
//!
//! The *fingerprint* of an identity is the SHA-256 of the certificate's SubjectPublicKeyInfo (RFC 5280
//! §4.1.2.7, DER), so a new certificate for the same key keeps it.
#![deny(clippy::indexing_slicing)]

use crate::{Error, private, tls};
use oblivia_base::Digest;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The largest identity file read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Whose identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// `identity/server.pem`.
    Server,
    /// `identity/client.pem`.
    Client,
}

impl Owner {
    fn file(self) -> &'static str {
        match self {
            Self::Server => "server.pem",
            Self::Client => "client.pem",
        }
    }

    fn common_name(self) -> &'static str {
        match self {
            Self::Server => "oblivia development server",
            Self::Client => "oblivia client",
        }
    }
}

/// A private key, its certificate chain, and the fingerprint of its public key. Cloning shares the key.
#[derive(Clone)]
pub struct Identity {
    pub(crate) certified: Arc<CertifiedKey>,
    fingerprint: Digest,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.fingerprint.short())
    }
}

impl Identity {
    /// Loads the identity of `owner` from the state directory, or makes a development identity and keeps it
    /// there. The second part says whether it was made now.
    ///
    /// # Errors
    /// [`Error::StateDir`] when the directory cannot be made, read or written, [`Error::Identity`] when the
    /// file is empty, cut short or inconsistent, [`Error::KeyExposed`] when others can read it.
    pub fn load_or_create(state_dir: &Path, owner: Owner) -> Result<(Self, bool), Error> {
        let dir = state_dir.join("identity");
        let path = dir.join(owner.file());
        if let Some(identity) = Self::load(&path)? {
            return Ok((identity, false));
        }
        private::make_dir(&dir)?;
        let (identity, pem) = Self::generate(owner)?;
        if private::create(&dir, owner.file(), pem.as_bytes())? {
            return Ok((identity, true));
        }
        match Self::load(&path)? {
            Some(identity) => Ok((identity, false)),
            None => Err(unusable(&path, "it vanished while it was read")),
        }
    }

    /// Loads an identity file; `None` when there is none.
    pub fn load(path: &Path) -> Result<Option<Self>, Error> {
        let Some(pem) = private::read(path, MAX_FILE_BYTES)? else { return Ok(None) };
        Self::from_pem(&pem).map(Some).map_err(|why| unusable(path, &why))
    }

    /// A development identity that is kept nowhere.
    pub fn ephemeral(owner: Owner) -> Result<Self, Error> {
        Ok(Self::generate(owner)?.0)
    }

    /// SHA-256 of the SubjectPublicKeyInfo: what a peer pins, and who a client is.
    pub fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    fn generate(owner: Owner) -> Result<(Self, Zeroizing<String>), Error> {
        let failed = |e: rcgen::Error| Error::Misuse { why: format!("no certificate could be made: {e}") };
        let key = rcgen::KeyPair::generate().map_err(failed)?;
        let names = ["localhost", "127.0.0.1", "::1"].map(String::from).to_vec();
        let mut params = rcgen::CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, owner.common_name());
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match owner {
            Owner::Server => rcgen::ExtendedKeyUsagePurpose::ServerAuth,
            Owner::Client => rcgen::ExtendedKeyUsagePurpose::ClientAuth,
        }];
        let certificate = params.self_signed(&key).map_err(failed)?;
        let mut pem = Zeroizing::new(key.serialize_pem());
        pem.push_str(&certificate.pem());
        let identity = Self::from_pem(pem.as_bytes()).map_err(|why| Error::Misuse { why })?;
        Ok((identity, pem))
    }

    /// Reads key and chain; the error is what is wrong with the text.
    fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|e| match e {
            rustls::pki_types::pem::Error::NoItemsFound => "it holds no private key".to_owned(),
            other => format!("its private key is damaged ({other})"),
        })?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|e| format!("its certificate is damaged ({e})"))?;
        let first = chain.first().ok_or("it holds no certificate")?;
        let fingerprint = tls::fingerprint(first).map_err(|e| format!("its certificate is damaged ({e})"))?;
        let certified = CertifiedKey::from_der(chain, key, &tls::provider()).map_err(|e| match e {
            rustls::Error::InconsistentKeys(_) => "its key does not belong to its certificate".to_owned(),
            other => format!("its private key is damaged ({other})"),
        })?;
        Ok(Self { certified: Arc::new(certified), fingerprint })
    }
}

/// Reads a fingerprint as a person types or pastes it: 64 hexadecimal digits.
pub fn parse_fingerprint(text: &str) -> Result<Digest, Error> {
    Digest::from_hex(text).ok_or_else(|| Error::Fingerprint { text: text.chars().take(80).collect() })
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::Identity { path: path.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test that is wrong may panic")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_first_run_makes_an_identity_and_the_second_finds_it() {
        let state = tempfile::tempdir().unwrap();
        let state = state.path().join("not/yet/there");
        let (first, made) = Identity::load_or_create(&state, Owner::Server).unwrap();
        assert!(made);
        let (second, made) = Identity::load_or_create(&state, Owner::Server).unwrap();
        assert!(!made);
        assert_eq!(first.fingerprint(), second.fingerprint());
        let (client, _) = Identity::load_or_create(&state, Owner::Client).unwrap();
        assert_ne!(client.fingerprint(), first.fingerprint());
        assert_eq!(mode(&state.join("identity")), 0o700);
        assert_eq!(mode(&state.join("identity/server.pem")), 0o600);
        assert_eq!(fs::read_dir(state.join("identity")).unwrap().count(), 2, "no unfinished file is left");
    }

    #[test]
    fn many_first_runs_at_once_agree_on_one_identity() {
        let state = tempfile::tempdir().unwrap();
        let runs: Vec<_> = std::thread::scope(|scope| {
            let run = || Identity::load_or_create(state.path(), Owner::Client).unwrap();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(runs.iter().filter(|(_, made)| *made).count(), 1);
        assert!(runs.iter().all(|(id, _)| id.fingerprint() == runs[0].0.fingerprint()));
    }

    #[test]
    fn a_corrupt_or_partial_identity_is_refused_with_the_reason_and_never_overwritten() {
        let state = tempfile::tempdir().unwrap();
        let (_, made) = Identity::load_or_create(state.path(), Owner::Server).unwrap();
        assert!(made);
        let path = state.path().join("identity/server.pem");
        let whole = fs::read_to_string(&path).unwrap();
        let certificate = whole.find("-----BEGIN CERTIFICATE").unwrap();
        let other = Identity::generate(Owner::Server).unwrap().1;
        let other_certificate = &other[other.find("-----BEGIN CERTIFICATE").unwrap()..];
        let cases = [
            ("", "no private key"),
            (&whole[..certificate], "no certificate"),
            (&whole[certificate..], "no private key"),
            (&whole[..certificate - 40], "damaged"),
            (&whole[..whole.len() - 60], "damaged"),
            (&whole.replacen("MI", "!!", 1), "damaged"),
            (&(whole[..certificate].to_owned() + other_certificate), "does not belong"),
        ];
        for (text, why) in cases {
            fs::write(&path, text).unwrap();
            let e = Identity::load_or_create(state.path(), Owner::Server).unwrap_err();
            assert!(matches!(e, Error::Identity { .. }), "{e}");
            assert!(e.to_string().contains(why) && e.to_string().contains("server.pem"), "{why}: {e}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_key_others_can_read_is_refused_and_the_command_to_run_is_named() {
        let state = tempfile::tempdir().unwrap();
        Identity::load_or_create(state.path(), Owner::Server).unwrap();
        let path = state.path().join("identity/server.pem");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let e = Identity::load_or_create(state.path(), Owner::Server).unwrap_err();
        assert!(e.to_string().contains("chmod 600") && e.to_string().contains("640"), "{e}");
    }

    #[test]
    fn a_state_directory_that_cannot_be_written_says_so_and_what_to_do() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("a-file");
        fs::write(&file, "x").unwrap();
        let e = Identity::load_or_create(&file, Owner::Server).unwrap_err();
        assert!(matches!(e, Error::StateDir { .. }), "{e}");
        let text = e.to_string();
        assert!(text.contains("a-file") && text.contains("--state-dir"), "{text}");
        // No user, not even root, writes here.
        let e = Identity::load_or_create(Path::new("/proc/self/oblivia"), Owner::Server).unwrap_err();
        assert!(matches!(e, Error::StateDir { doing: "create", .. }), "{e}");
    }

    #[test]
    fn the_fingerprint_is_what_openssl_computes() {
        // tests/data/fingerprint.sh makes both files with the openssl command.
        let pem = include_bytes!("../tests/data/certificate.pem");
        let expected = include_str!("../tests/data/certificate.sha256");
        let certificate = CertificateDer::from_pem_slice(pem).unwrap();
        assert_eq!(tls::fingerprint(&certificate), Ok(parse_fingerprint(expected).unwrap()));
    }

    #[test]
    fn a_bad_fingerprint_is_named() {
        let e = parse_fingerprint("12:34").unwrap_err();
        assert!(e.to_string().contains("12:34") && e.to_string().contains("64"), "{e}");
    }

    #[test]
    fn debug_prints_no_key() {
        let identity = Identity::ephemeral(Owner::Client).unwrap();
        assert_eq!(format!("{identity:?}"), format!("Identity({})", identity.fingerprint().short()));
    }
}
