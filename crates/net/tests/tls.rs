//! Who may talk to whom, over real sockets.
#![expect(clippy::unwrap_used, reason = "a test that is wrong may panic")]

mod common;

use common::{LONG, client_of, dial, echo, greeting, options, round};
use oblivia_base::Digest;
use oblivia_net::{
    ClientPolicy, ClientTls, ConnectOptions, Identity, Owner, Server, ServerCheck, SessionIo, connect,
};
use oblivia_protocol::{Error, Expect, Identities, Kind, LinkError, Wire};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{AlertDescription, DigitallySignedStruct, SignatureScheme};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn at(server: &Server) -> String {
    server.local_addr().to_string()
}

async fn first_answer(mut wire: impl Wire) -> LinkError {
    wire.recv(Expect::exactly(Kind::Offer, 64)).await.unwrap_err()
}

#[tokio::test]
async fn both_ends_see_one_binding_and_each_others_key_and_no_two_connections_share_a_binding() {
    let server = Server::bind(options(), echo).unwrap();
    let client = client_of(&server);
    let mut bindings = BTreeSet::new();
    for _ in 0..3 {
        let mut wire = connect(&at(&server), &client, &ConnectOptions::default()).await.unwrap();
        let seen = greeting(&mut wire).await.unwrap();
        assert_eq!(wire.binding().unwrap(), seen[..32]);
        assert_eq!(client.identity.fingerprint().0, seen[32..]);
        let ends = Identities { own: client.identity.fingerprint(), peer: server.fingerprint() };
        assert_eq!(wire.identities(), Some(ends));
        bindings.insert(wire.binding());
    }
    assert_eq!(bindings.len(), 3);
}

#[tokio::test]
async fn a_wrong_pin_names_both_fingerprints_and_what_to_do_and_no_session_starts() {
    let sessions = Arc::new(AtomicUsize::new(0));
    let count = sessions.clone();
    let server = Server::bind(options(), move |_: SessionIo| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok(()) }
    })
    .unwrap();
    let wrong = Digest([0xab; 32]);
    let client = ClientTls { server: ServerCheck::Pin(wrong), ..client_of(&server) };
    let e = connect(&at(&server), &client, &ConnectOptions::default()).await.unwrap_err();
    assert!(matches!(e, LinkError::Tls(_)));
    let text = e.to_string();
    for part in [wrong.hex(), server.fingerprint().hex(), "--pin".into()] {
        assert!(text.contains(&part), "{part} is not in {text}");
    }
    server.shutdown();
    assert_eq!(sessions.load(Ordering::SeqCst), 0);
}

fn write_identity(certificate: &rcgen::Certificate, key: &rcgen::KeyPair) -> Identity {
    use std::os::unix::fs::OpenOptionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity.pem");
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
    file.write_all((key.serialize_pem() + &certificate.pem()).as_bytes()).unwrap();
    Identity::load(&path).unwrap().unwrap()
}

#[tokio::test]
async fn authorities_check_issuer_name_and_date_and_a_pin_checks_the_key_alone() {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(vec![]).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem().into_bytes();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let issued = |expired: bool| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["oblivia.test".into()]).unwrap();
        if expired {
            params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        }
        write_identity(&params.signed_by(&key, &issuer).unwrap(), &key)
    };
    let roots = |pem: &[u8], name: &str| ServerCheck::Roots { pem: pem.to_vec(), name: name.into() };
    let mut other_ca = rcgen::CertificateParams::new(vec![]).unwrap();
    other_ca.distinguished_name.push(rcgen::DnType::CommonName, "another authority");
    let other_pem = other_ca.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem().into_bytes();
    for expired in [false, true] {
        let mut options = options();
        options.identity = issued(expired);
        let server = Server::bind(options, echo).unwrap();
        let try_with = async |check: ServerCheck| {
            let client = ClientTls { server: check, ..client_of(&server) };
            connect(&at(&server), &client, &ConnectOptions::default()).await.map(|_| ())
        };
        let good = try_with(roots(&ca_pem, "oblivia.test")).await;
        assert_eq!(good.is_err(), expired, "{good:?}");
        let e = try_with(roots(&ca_pem, "other.test")).await.unwrap_err();
        assert!(matches!(e, LinkError::Tls(_)), "{e}");
        let e = try_with(roots(&other_pem, "oblivia.test")).await.unwrap_err();
        let why = if expired { "expired" } else { "authorities" };
        assert!(e.to_string().contains(why), "{e}");
        try_with(ServerCheck::Pin(server.fingerprint())).await.unwrap();
    }
}

#[test]
fn a_tls_1_2_client_is_refused() {
    let server = Server::bind(options(), echo).unwrap();
    let mut tcp = TcpStream::connect(server.local_addr()).unwrap();
    // tests/data/tls12_client_hello.py makes it with another TLS library.
    tcp.write_all(include_bytes!("data/tls12_client_hello.bin")).unwrap();
    let mut answer = Vec::new();
    tcp.set_read_timeout(Some(LONG)).unwrap();
    tcp.read_to_end(&mut answer).unwrap();
    // A record of type alert (21), two bytes: fatal (2), protocol_version (70). RFC 8446 §6.
    assert_eq!((answer[0], &answer[5..]), (21, &[2, 70][..]));
    assert_eq!(server.sessions(), 0);
}

/// A client without our rules.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The certificate of one key with the private key of another.
fn stolen_certificate() -> (Arc<CertifiedKey>, Identity) {
    let dir = tempfile::tempdir().unwrap();
    let (identity, _) = Identity::load_or_create(dir.path(), Owner::Server).unwrap();
    let pem = std::fs::read(dir.path().join("identity/server.pem")).unwrap();
    let certificate = CertificateDer::from_pem_slice(&pem).unwrap();
    let other = rcgen::KeyPair::generate().unwrap();
    let key = PrivateKeyDer::try_from(other.serialize_der()).unwrap();
    let key = provider().key_provider.load_private_key(key).unwrap();
    (Arc::new(CertifiedKey::new(vec![certificate], key)), identity)
}

/// What a foreign client hears after the handshake: bytes, or the error.
async fn foreign_client(server: &Server, identity: Option<Arc<CertifiedKey>>, alpn: &[&str]) -> String {
    let builder = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting));
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    let tcp = tokio::net::TcpStream::connect(server.local_addr()).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = match connector.connect(name, tcp).await {
        Ok(tls) => tls,
        Err(e) => return e.to_string(),
    };
    let mut byte = [0];
    match tls.read(&mut byte).await {
        Ok(n) => format!("{n} bytes"),
        Err(e) => e.to_string(),
    }
}

#[tokio::test]
async fn a_client_needs_a_certificate_its_key_and_our_protocol() {
    let server = Server::bind(options(), echo).unwrap();
    let own = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&own).unwrap();
    let key = PrivateKeyDer::try_from(own.serialize_der()).unwrap();
    let own = CertifiedKey::from_der(vec![certificate.der().clone()], key, &provider()).unwrap();
    let own = Some(Arc::new(own));
    let alert = |alert: AlertDescription| format!("{}", rustls::Error::AlertReceived(alert));
    assert_eq!(foreign_client(&server, own.clone(), &["oblivia/2"]).await, "1 bytes");
    let cases = [
        (None, vec!["oblivia/2"], AlertDescription::CertificateRequired),
        (Some(stolen_certificate().0), vec!["oblivia/2"], AlertDescription::DecryptError),
        (own.clone(), vec!["http/1.1"], AlertDescription::NoApplicationProtocol),
    ];
    for (identity, alpn, expected) in cases {
        assert_eq!(foreign_client(&server, identity, &alpn).await, alert(expected));
    }
    // Without any offer TLS goes through; the session does not.
    let ended = foreign_client(&server, own, &[]).await;
    assert!(!ended.contains("1 bytes"), "{ended}");
}

#[tokio::test]
async fn a_server_with_the_pinned_certificate_but_not_its_key_is_refused() {
    let (stolen, identity) = stolen_certificate();
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(stolen)));
    config.alpn_protocols = vec![b"oblivia/2".to_vec()];
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let _ = acceptor.accept(tcp).await;
    });
    let client = ClientTls {
        identity: Identity::ephemeral(Owner::Client).unwrap(),
        server: ServerCheck::Pin(identity.fingerprint()),
    };
    let e = connect(&address, &client, &ConnectOptions::default()).await.unwrap_err();
    assert!(matches!(&e, LinkError::Tls(text) if text.contains("does not hold the key")), "{e}");
}

#[tokio::test]
async fn a_server_admits_only_the_clients_on_its_list() {
    let listed = Identity::ephemeral(Owner::Client).unwrap();
    let mut options = options();
    options.clients = ClientPolicy::Only(BTreeSet::from([listed.fingerprint()]));
    let server = Server::bind(options, echo).unwrap();
    let friend = ClientTls { identity: listed, ..client_of(&server) };
    let mut wire = connect(&at(&server), &friend, &ConnectOptions::default()).await.unwrap();
    greeting(&mut wire).await.unwrap();
    round(&mut wire, b"hello").await.unwrap();
    let e = first_answer(dial(&server).await.unwrap()).await;
    assert_eq!(e, LinkError::NotAdmitted);
}

#[tokio::test]
async fn a_server_that_is_not_there_not_tls_or_silent_is_named_as_such() {
    let client = ClientTls {
        identity: Identity::ephemeral(Owner::Client).unwrap(),
        server: ServerCheck::Pin(Digest([0; 32])),
    };
    let short = ConnectOptions { timeout: Duration::from_millis(500), ..ConnectOptions::default() };

    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let e = connect(&free, &client, &short).await.unwrap_err();
    assert!(e.to_string().contains("is the server running") && e.to_string().contains(&free), "{e}");

    let e = connect("127.0.0.1", &client, &short).await.unwrap_err();
    assert!(e.to_string().contains("HOST:PORT"), "{e}");

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let e = connect(&silent.local_addr().unwrap().to_string(), &client, &short).await.unwrap_err();
    assert!(matches!(e, LinkError::TimedOut { millis: 500, .. }), "{e}");

    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut tcp, _) = plain.accept().await.unwrap();
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    });
    let e = connect(&address, &client, &ConnectOptions::default()).await.unwrap_err();
    assert!(matches!(&e, LinkError::Tls(text) if text.contains("does not speak TLS")), "{e}");
}

#[tokio::test]
async fn a_handler_learns_who_the_client_is() {
    let (tell, hear) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let server = Server::bind(options(), move |io: SessionIo| {
        tell.lock().unwrap().send((io.client, io.address, io.session)).unwrap();
        async { Ok::<(), Error>(()) }
    })
    .unwrap();
    let client = client_of(&server);
    for session in 1..3 {
        let wire = connect(&at(&server), &client, &ConnectOptions::default()).await.unwrap();
        let seen = hear.recv_timeout(LONG).unwrap();
        assert_eq!((seen.0, seen.2), (client.identity.fingerprint(), session));
        assert!(seen.1.ip().is_loopback());
        drop(wire);
    }
}
