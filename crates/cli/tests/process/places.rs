//! Addresses, keys and directories that cannot be used.

use crate::common::{Client, Ended, Running, Server, image, model, oblivia};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

fn serve(listen: &str, state: &Path) -> Ended {
    let mut serve = oblivia();
    serve.args(["serve", "--listen", listen, "--until-stdin-ends"]).arg("--model").arg(model());
    Running::start(serve.arg("--state-dir").arg(state)).end()
}

#[test]
fn a_port_in_use_is_named_with_the_way_out() {
    let state = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    serve(&address, state.path()).refused(6, &[&address, "already in use", "--listen", "port 0"]);
}

#[test]
fn an_address_of_another_machine_cannot_be_listened_on() {
    let state = tempfile::tempdir().unwrap();
    // Reserved for documentation (RFC 5737): nobody's.
    serve("192.0.2.1:7443", state.path()).refused(6, &["cannot listen on 192.0.2.1:7443", "--listen"]);
}

#[test]
fn a_privileged_port_serves_or_says_why_not() {
    let state = tempfile::tempdir().unwrap();
    let ended = serve("127.0.0.1:7", state.path());
    match ended.code {
        Some(0) => {}
        _ => drop(ended.refused(6, &["127.0.0.1:7", "--listen"])),
    }
}

#[test]
fn a_state_directory_that_cannot_be_written_is_named_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    std::fs::write(&file, "in the way").unwrap();
    serve("127.0.0.1:0", &file).refused(6, &["a-file", "--state-dir", "writable"]);
    let mut predict = oblivia();
    predict.args(["predict", "--server", "127.0.0.1:1", "--pin", &"00".repeat(32), "--model", "m"]);
    predict.arg("--state-dir").arg(&file).arg(image(0));
    Running::start(&mut predict).end().refused(6, &["a-file", "--state-dir", "writable"]);
    // No user, not even root, writes here.
    serve("127.0.0.1:0", Path::new("/proc/self/oblivia")).refused(6, &["/proc/self/oblivia", "--state-dir"]);
}

#[test]
fn a_damaged_identity_is_kept_and_named() {
    let state = tempfile::tempdir().unwrap();
    serve("127.0.0.1:0", state.path()).well();
    let key = state.path().join("identity/server.pem");
    std::fs::write(&key, "nonsense").unwrap();
    serve("127.0.0.1:0", state.path()).refused(3, &["server.pem", "no private key", "restore it"]);
    assert_eq!(std::fs::read(&key).unwrap(), b"nonsense");
}

#[test]
fn a_server_keeps_its_fingerprint_over_restarts() {
    let server = Server::start();
    let (first, state) = (server.pin.clone(), server.state.path().to_owned());
    let mut again = oblivia();
    again.args(["serve", "--listen", "127.0.0.1:0", "--until-stdin-ends", "--state-dir"]).arg(&state);
    let ended = Running::start(again.arg("--model").arg(model())).end().well();
    assert!(ended.out.contains(&first), "{ended:#?}");
    for words in
        ["listening 127.0.0.1:", "oblivia predict", "--pin", "mnist-cryptonets with leveled: plan planned"]
    {
        assert!(ended.out.contains(words), "{words:?} is not in {ended:#?}");
    }
}

#[test]
fn where_nothing_listens_the_client_says_so() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let ended = Client::at(&free, &"00".repeat(32)).args([image(0)]).end();
    ended.refused(6, &[&free, "nothing listens", "oblivia serve"]);
    let ended = Client::at("no-such-host.invalid:7443", &"00".repeat(32)).args([image(0)]).end();
    ended.refused(6, &["no-such-host.invalid"]);
}

#[test]
fn a_server_with_another_key_is_not_talked_to() {
    let server = Server::start();
    let other = "ab".repeat(32);
    let ended = Client::at(&server.address, &other).clear().args([image(0)]).end();
    ended.refused(5, &[&server.pin, &other, "is pinned", "--pin"]);
}

#[test]
fn a_server_that_no_given_authority_vouches_for_is_not_talked_to() {
    let (server, stranger) = (Server::start(), Server::start());
    let state = tempfile::tempdir().unwrap();
    let predict = |roots: &Path| {
        let mut predict = oblivia();
        predict.args(["predict", "--server", &server.address, "--model", "m", "--roots"]).arg(roots);
        Running::start(predict.arg("--state-dir").arg(state.path()).arg(image(0))).end()
    };
    let roots = stranger.state.path().join("identity/server.pem");
    predict(&roots).refused(5, &["certificate"]);
    predict(&model().join("model.toml")).refused(5, &["authorities", "PEM"]);
    predict(Path::new("no/such.pem")).refused(6, &["no/such.pem"]);
}

/// A service that answers every connection with `answer`.
fn other_service(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer);
        }
    });
    address
}

#[test]
fn another_service_at_the_address_is_recognised() {
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"", b"SSH-2.0-OpenSSH_9.9\r\n"] {
        let address = other_service(answer);
        let ended = Client::at(&address, &"00".repeat(32)).args([image(0)]).end();
        assert_eq!(ended.code, Some(5), "{ended:#?}");
        assert!(ended.err.starts_with("error: "), "{ended:#?}");
    }
}

#[test]
fn a_service_that_never_answers_is_given_up_on() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let ended = Client::at(&address, &"00".repeat(32)).args(["--max-seconds", "0.3"]).args([image(0)]).end();
    ended.refused(6, &["not over after the 0.3 s allowed"]);
}

#[test]
fn names_the_server_does_not_have_are_told_apart() {
    let server = Server::start();
    let mut unknown = oblivia();
    unknown.args(["predict", "--server", &server.address, "--pin", &server.pin, "--model", "nothing"]);
    let state = tempfile::tempdir().unwrap();
    let ended = Running::start(unknown.arg("--state-dir").arg(state.path()).arg(image(0))).end();
    ended.refused(3, &["no model of that name", "`nothing`", &server.address]);
    let ended = Client::of(&server).args(["--plan", "magic"]).args([image(0)]).end();
    ended.refused(4, &["refuse", "plan `magic`", "--plan"]);
    let ended = Client::of(&server).args(["--mode", "magic"]).args([image(0)]).end();
    ended.refused(2, &["no mode `magic`", "it has: approximate"]);
}
