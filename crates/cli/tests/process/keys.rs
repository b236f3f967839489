//! Secret keys that outlive a session, through processes and files.

use crate::common::{Client, DIGITS, Ended, Server, image, oblivia, run};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The receipt of a prediction on one image that is right.
fn predict(server: &Server, state: &Path, flags: &[&str]) -> (Value, Ended) {
    let mut command = oblivia();
    command.args(["predict", "--server", &server.address, "--pin", &server.pin, "--threads", "1", "--json"]);
    command.args(["--model", crate::common::MODEL, "--state-dir"]).arg(state).args(flags).arg(image(0));
    let ended = crate::common::Running::start(&mut command).end().well();
    let answer = ended.json();
    assert_eq!(answer["images"][0]["label"], DIGITS[0]);
    let receipt = &answer["receipt"];
    let (plan, keys) = (&receipt["plan"], &receipt["keys"]);
    let (how, sent) = (keys["how"].as_str().unwrap(), keys["sent_bytes"].as_u64().unwrap());
    let number = |v: &Value| v.as_u64().unwrap();
    let setup = if how == "reused" { "setup_reused" } else { "setup" };
    assert_eq!(sent, if how == "reused" { 0 } else { number(&plan["key_bytes"]) });
    for field in ["up_bytes", "down_bytes", "rounds"] {
        let declared = number(&plan["cost"][setup][field]) + number(&receipt["agreement"][field]);
        assert_eq!(number(&receipt["traffic"]["setup"][field]), declared, "{field}");
    }
    (receipt.clone(), ended)
}

fn how(server: &Server, state: &Path, flags: &[&str]) -> String {
    predict(server, state, flags).0["keys"]["how"].as_str().unwrap().to_owned()
}

/// All `.key` files below a state directory.
fn key_files(state: &Path) -> Vec<PathBuf> {
    let Ok(servers) = std::fs::read_dir(state.join("keys")) else { return Vec::new() };
    let dirs = servers.map(|d| d.unwrap().path());
    let files = dirs.flat_map(|d| std::fs::read_dir(d).unwrap().map(|f| f.unwrap().path()));
    files.filter(|f| f.extension().is_some_and(|e| e == "key")).collect()
}

fn keys(args: &[&str], state: &TempDir) -> Ended {
    run([&["keys"], args, &["--state-dir", state.path().to_str().unwrap()]].concat())
}

#[test]
fn a_client_that_comes_again_sends_no_keys_until_it_or_the_server_forgets_them() {
    let server = Server::with(&["--log", "info"]);
    let state = tempfile::tempdir().unwrap();
    assert_eq!(how(&server, state.path(), &["--fresh-keys"]), "sent");
    assert!(key_files(state.path()).is_empty(), "a key of one session is kept nowhere");
    assert_eq!(how(&server, state.path(), &[]), "sent");
    server.until("keys_kept=1");
    let files = key_files(state.path());
    let mode = std::fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777;
    assert_eq!((files.len(), mode), (1, 0o600));
    assert!(files[0].to_str().unwrap().contains(&server.pin));
    assert_eq!(how(&server, state.path(), &[]), "reused");
    server.until("keys=\"reused\" key_bytes=0");
    assert_eq!(how(&server, state.path(), &["--fresh-keys"]), "sent");
    assert_eq!(how(&server, state.path(), &[]), "reused", "the kept key is as it was");
    // Another client of the same server has to send its own.
    assert_eq!(how(&server, tempfile::tempdir().unwrap().path(), &[]), "sent");

    let server = server.again(&[]);
    assert_eq!(how(&server, state.path(), &[]), "sent");
    assert_eq!(how(&server, state.path(), &[]), "reused");
    assert_eq!(key_files(state.path()), files);

    let listed = keys(&["list"], &state).well();
    assert!(listed.out.contains(&server.pin) && listed.out.contains("leveled, parameters"), "{listed:#?}");
    let listed = keys(&["list", "--json"], &state).well().json();
    assert_eq!((listed["schema"].as_u64(), listed["keys"].as_array().unwrap().len()), (Some(1), 1));
    assert_eq!(
        (listed["keys"][0]["server"].as_str(), &listed["keys"][0]["error"]),
        (Some(&*server.pin), &Value::Null)
    );
    keys(&["forget", "--server", &"00".repeat(32)], &state).refused(3, &["no keys for server", "keys list"]);
    assert!(keys(&["forget", "--server", &server.pin], &state).well().out.contains("1 key forgotten"));
    assert!(key_files(state.path()).is_empty());
    assert!(keys(&["list"], &state).well().out.contains("no secret keys"));
    assert_eq!(how(&server, state.path(), &[]), "sent");
    assert!(keys(&["forget", "--all"], &state).well().out.contains("1 key forgotten"));
}

#[test]
fn a_damaged_key_file_is_named_and_replaced() {
    let server = Server::start();
    let state = tempfile::tempdir().unwrap();
    assert_eq!(how(&server, state.path(), &[]), "sent");
    let file = key_files(state.path()).remove(0);
    let whole = std::fs::read(&file).unwrap();
    let mut changed = whole.clone();
    changed[1000] ^= 1;
    for bytes in [&whole[..100], &[], &changed] {
        std::fs::write(&file, bytes).unwrap();
        let listed = keys(&["list"], &state).well();
        assert!(listed.out.contains("not usable: it is"), "{listed:#?}");
        let (receipt, ended) = predict(&server, state.path(), &[]);
        assert_eq!(receipt["keys"]["how"], "sent");
        assert!(
            ended.err.contains("a new one takes its place") && ended.err.contains(file.to_str().unwrap())
        );
        assert_eq!(how(&server, state.path(), &[]), "reused");
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (receipt, ended) = predict(&server, state.path(), &[]);
    assert_eq!(receipt["keys"]["how"], "sent");
    assert!(ended.err.contains("chmod 600"), "{ended:#?}");
}

#[test]
fn a_server_that_keeps_no_keys_and_a_client_that_cannot_keep_one_still_predict() {
    let server = Server::with(&["--key-cache", "0"]);
    let state = tempfile::tempdir().unwrap();
    assert_eq!(how(&server, state.path(), &[]), "sent");
    assert_eq!(how(&server, state.path(), &[]), "sent");
    // A file where the directory should be.
    std::fs::remove_dir_all(state.path().join("keys")).unwrap();
    std::fs::write(state.path().join("keys"), "x").unwrap();
    let (_, ended) = predict(&server, state.path(), &[]);
    assert!(ended.err.contains("the secret key is not kept"), "{ended:#?}");
}

#[test]
fn the_receipt_in_words_says_whether_keys_were_sent() {
    let server = Server::start();
    let mut client = Client::of(&server).args([image(0)]);
    for (words, width) in [(" MB sent\n", 100), ("keys      reused, 0 bytes", 100)] {
        let ended = client.start().end().well();
        assert!(ended.out.contains(words) && ended.out.contains("exactly what the plan said"), "{ended:#?}");
        assert!(ended.out.lines().all(|l| l.chars().count() <= width), "{}", ended.out);
    }
}

#[test]
fn an_interrupted_demonstration_leaves_no_files() {
    for signal in ["INT", "TERM"] {
        let place = tempfile::tempdir().unwrap();
        let mut command = oblivia();
        command.args(["demo", "--images", "200", "--threads", "1"]).env("TMPDIR", place.path());
        let demo = crate::common::Running::start(&mut command);
        demo.until("0001.png");
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
        demo.signal(signal);
        assert_eq!(demo.end().code, Some(130));
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "{signal}");
    }
}
