//! TLS 1.3 with a certificate on both sides.
//!
//! Nothing older, no resumption, no early data, no session tickets; the protocol `oblivia/2` must be
//! negotiated (ALPN). A server is checked against a pinned fingerprint or against certificate authorities. A
//! client always presents a certificate; any well-formed one is taken, its key must sign the handshake, and
//! the fingerprint of that key is who the client is.
#![deny(clippy::indexing_slicing)]

use crate::Error;
use crate::identity::Identity;
use oblivia_base::Digest;
use oblivia_protocol::{Identities, LinkError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::sign::SingleCertAndKey;
use rustls::{
    AlertDescription, CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore,
    SignatureScheme,
};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// The application protocol of this version of the frames.
pub(crate) const ALPN: &[u8] = b"oblivia/2";

/// The label under which [`Wire::binding`](oblivia_protocol::Wire::binding) is exported.
///
/// The TLS 1.3 exporter covers the handshake up to the server's Finished (RFC 8446 §7.1), so it does not
/// cover the client's certificate: the session digest absorbs both identities beside it.
pub const EXPORTER_LABEL: &str = "EXPORTER-oblivia-session-v1";

/// How a client knows that it talks to the right server.
#[derive(Clone, Debug)]
pub enum ServerCheck {
    /// The server's key has this fingerprint. Names and dates in its certificate are not looked at: who
    /// pins a key has already decided which key, and the handshake proves possession of it.
    Pin(Digest),
    /// The server's certificate is issued by one of these authorities (PEM) for this name, and valid today.
    Roots {
        /// Certificates of the authorities, PEM, one after the other.
        pem: Vec<u8>,
        /// The DNS name or address the certificate must be for.
        name: String,
    },
}

/// Which clients a server admits.
#[derive(Clone, Debug, Default)]
pub enum ClientPolicy {
    /// Every client; its identity still separates its keys, stocks and budgets from others'.
    #[default]
    AnyIdentity,
    /// Clients with these fingerprints.
    Only(BTreeSet<Digest>),
}

impl ClientPolicy {
    fn admits(&self, identity: &Digest) -> bool {
        match self {
            Self::AnyIdentity => true,
            Self::Only(set) => set.contains(identity),
        }
    }
}

pub(crate) fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

fn sha256(bytes: &[u8]) -> Option<Digest> {
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13()?;
    suite.common.hash_provider.hash(bytes).as_ref().try_into().ok().map(Digest)
}

/// SHA-256 of the SubjectPublicKeyInfo of a certificate (DER).
pub(crate) fn fingerprint(certificate: &CertificateDer<'_>) -> Result<Digest, rustls::Error> {
    let spki = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    sha256(&spki).ok_or_else(|| rustls::Error::General("SHA-256 is missing".into()))
}

/// The server's side of every handshake.
pub(crate) fn server_config(
    identity: &Identity,
    clients: ClientPolicy,
) -> Result<Arc<rustls::ServerConfig>, Error> {
    let provider = Arc::new(provider());
    let verifier = Arc::new(AnyClient { policy: clients, provider: provider.clone() });
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| Error::Misuse { why: e.to_string() })?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified.clone())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// The client's side, and the server name to put into its hello.
pub(crate) fn client_config(
    identity: &Identity,
    check: &ServerCheck,
) -> Result<(Arc<rustls::ClientConfig>, ServerName<'static>), Error> {
    let provider = Arc::new(provider());
    let (verifier, name): (Arc<dyn ServerCertVerifier>, _) = match check {
        ServerCheck::Pin(pinned) => {
            let verifier = Arc::new(Pinned { pinned: *pinned, provider: provider.clone() });
            (verifier, ServerName::try_from("localhost").map_err(|e| roots(e.to_string()))?)
        }
        ServerCheck::Roots { pem, name } => {
            let unusable = |e: rustls::client::VerifierBuilderError| roots(e.to_string());
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(store(pem)?), provider.clone())
                    .build()
                    .map_err(unusable)?;
            let name = ServerName::try_from(name.clone())
                .map_err(|_| roots(format!("{name:?} is neither a DNS name nor an address")))?;
            (verifier, name)
        }
    };
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| Error::Misuse { why: e.to_string() })?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified.clone())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok((Arc::new(config), name))
}

fn roots(why: String) -> Error {
    Error::Roots { why }
}

fn store(pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for (i, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let certificate = certificate.map_err(|e| roots(format!("the authorities are damaged ({e})")))?;
        let number = i + 1;
        store.add(certificate).map_err(|e| roots(format!("authority {number} is not usable ({e})")))?;
    }
    if store.is_empty() {
        return Err(roots("the file of authorities holds no certificate (PEM is expected)".into()));
    }
    Ok(store)
}

/// What both ends learn from a finished handshake.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Secured {
    pub(crate) binding: [u8; 32],
    pub(crate) ends: Identities,
}

impl Secured {
    /// Checks the negotiated protocol and reads binding and peer; `own` is the key this end signed with.
    pub(crate) fn of<D>(connection: &rustls::ConnectionCommon<D>, own: Digest) -> Result<Self, String> {
        if connection.alpn_protocol() != Some(ALPN) {
            return Err("the peer does not speak oblivia/2 (no such application protocol offered)".into());
        }
        let certificate = connection.peer_certificates().and_then(<[_]>::first);
        let certificate = certificate.ok_or("the peer presented no certificate")?;
        let peer = fingerprint(certificate).map_err(|e| e.to_string())?;
        let binding = connection
            .export_keying_material([0; 32], EXPORTER_LABEL.as_bytes(), None)
            .map_err(|e| e.to_string())?;
        Ok(Self { binding, ends: Identities { own, peer } })
    }
}

/// Takes exactly one key.
#[derive(Debug)]
struct Pinned {
    pinned: Digest,
    provider: Arc<CryptoProvider>,
}

/// The server's key is not the pinned one.
#[derive(Debug)]
struct WrongKey {
    pinned: Digest,
    found: Digest,
}

impl fmt::Display for WrongKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the server's key has fingerprint {}, but {} is pinned: this is another server, somebody is in \
             between, or the server's identity was replaced; compare with the fingerprint the server prints \
             when it starts, and only if its owner confirms the new one pass it with `--pin`",
            self.found, self.pinned
        )
    }
}

impl std::error::Error for WrongKey {}

fn no_tls12() -> Result<HandshakeSignatureValid, rustls::Error> {
    Err(rustls::Error::General("TLS 1.2 is not spoken".into()))
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = fingerprint(end_entity)?;
        if found == self.pinned {
            return Ok(ServerCertVerified::assertion());
        }
        let wrong = OtherError(Arc::new(WrongKey { pinned: self.pinned, found }));
        Err(rustls::Error::InvalidCertificate(CertificateError::Other(wrong)))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Takes every well-formed certificate of a client that the policy admits.
#[derive(Debug)]
struct AnyClient {
    policy: ClientPolicy,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let identity = fingerprint(end_entity)?;
        if self.policy.admits(&identity) {
            return Ok(ClientCertVerified::assertion());
        }
        tracing::info!(client = %identity, "refused a client that is not on the list");
        Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A TLS failure as a link tells it.
pub(crate) fn link_error(e: &rustls::Error) -> LinkError {
    match e {
        // What rustls answers to a certificate that the verifier does not admit.
        rustls::Error::AlertReceived(AlertDescription::AccessDenied) => LinkError::NotAdmitted,
        other => LinkError::Tls(explain(other)),
    }
}

/// A TLS failure in words that say what to do, where there is something to do.
fn explain(e: &rustls::Error) -> String {
    match e {
        rustls::Error::InvalidCertificate(CertificateError::Other(other))
            if other.0.downcast_ref::<WrongKey>().is_some() =>
        {
            other.0.to_string()
        }
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the server's certificate is not issued by any of the given authorities; give the right \
             authorities, or pin the server's fingerprint with `--pin`"
                .into()
        }
        rustls::Error::InvalidCertificate(CertificateError::BadSignature) => {
            "a signature does not fit: the peer does not hold the key of its certificate, or the certificate \
             was issued by an authority of the same name but with another key"
                .into()
        }
        rustls::Error::InvalidCertificate(why) => {
            format!("the peer's certificate is not accepted ({why})")
        }
        rustls::Error::DecryptError => {
            "a record does not authenticate: the bytes were changed, lost, repeated or reordered on the way"
                .into()
        }
        rustls::Error::InvalidMessage(_) => {
            format!("the peer does not speak TLS, or the bytes were changed on the way ({e})")
        }
        rustls::Error::AlertReceived(AlertDescription::BadRecordMac) => {
            "the peer received a record that does not authenticate: the bytes were changed, lost, repeated or \
             reordered on the way"
                .into()
        }
        rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)
        | rustls::Error::NoApplicationProtocol => {
            "the peer does not speak oblivia/2: it is another service or another version".into()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test that is wrong may panic")]
mod tests {
    use super::*;
    use crate::identity::Owner;

    fn client(check: &ServerCheck) -> Result<(), Error> {
        client_config(&Identity::ephemeral(Owner::Client).unwrap(), check).map(|_| ())
    }

    #[test]
    fn authorities_that_are_none_or_damaged_are_refused() {
        let with = |pem: &[u8]| client(&ServerCheck::Roots { pem: pem.to_vec(), name: "localhost".into() });
        let good = include_bytes!("../tests/data/certificate.pem");
        with(good).unwrap();
        for bad in [&b""[..], b"no PEM", &good[..good.len() - 60]] {
            assert!(matches!(with(bad), Err(Error::Roots { .. })));
        }
        let e = client(&ServerCheck::Roots { pem: good.to_vec(), name: "not a name".into() }).unwrap_err();
        assert!(e.to_string().contains("not a name"), "{e}");
    }
}
