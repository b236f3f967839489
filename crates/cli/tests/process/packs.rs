//! Packs made ahead of images, through processes, files and TLS: used once whatever is killed when.

use crate::common::{DIGITS, Ended, Running, images, oblivia, root};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;

const MODEL: &str = "mnist-bm3";

/// A server of a network that `hybrid` runs, its state, and what all its processes said.
struct Server {
    process: Running,
    state: TempDir,
    address: String,
    pin: String,
    log: String,
}

impl Server {
    fn start(flags: &[&str]) -> Self {
        Self::known(tempfile::tempdir().unwrap(), String::new(), flags)
    }

    fn known(state: TempDir, log: String, flags: &[&str]) -> Self {
        let mut command = oblivia();
        command
            .arg("serve")
            .arg("--model")
            .arg(root().join("models").join(MODEL))
            .arg("--state-dir")
            .arg(state.path());
        command.args(["--listen", "127.0.0.1:0", "--json", "--threads", "1", "--log", "debug"]).args(flags);
        let process = Running::start(command.stdin(Stdio::piped()));
        process.until("\"fingerprint\"");
        let at: Value = serde_json::from_str(&process.said().0).unwrap();
        let text = |key: &str| at[key].as_str().unwrap().to_owned();
        Self { address: text("listening"), pin: text("fingerprint"), process, state, log }
    }

    /// Kills it, and starts it again with what is on disk.
    fn kill(self, flags: &[&str]) -> Self {
        let Self { process, state, log, .. } = self;
        process.signal("KILL");
        let said = process.end().err;
        Self::known(state, log + &said, flags)
    }

    fn end(self) -> String {
        self.process.signal("TERM");
        self.log + &self.process.end().well().err
    }

    /// `oblivia` as a client of it.
    fn client(&self, command: &str, state: &Path, flags: &[&str]) -> Running {
        let mut process = oblivia();
        process.args([
            command,
            "--server",
            &self.address,
            "--pin",
            &self.pin,
            "--model",
            MODEL,
            "--system",
            "hybrid",
        ]);
        process.args(["--threads", "1", "--log", "debug", "--json", "--state-dir"]).arg(state).args(flags);
        if !flags.contains(&"--plan") {
            process.args(["--plan", "lan"]);
        }
        if command == "predict" && !flags.iter().any(|f| f.ends_with(".png")) {
            process.args(images(3));
        }
        Running::start(&mut process)
    }

    fn prepare(&self, state: &Path, packs: u32) -> Ended {
        self.client("prepare", state, &["--images", &packs.to_string()]).end()
    }

    /// Predictions that are right, at the declared cost, of three images if none are named; how many packs were used, and what was said.
    fn predict(&self, state: &Path, flags: &[&str]) -> (u64, Ended) {
        let ended = self.client("predict", state, flags).end().well();
        let answer = ended.json();
        let labels: Vec<&str> =
            answer["images"].as_array().unwrap().iter().map(|i| i["label"].as_str().unwrap()).collect();
        assert_eq!(labels, DIGITS[..labels.len()], "{ended:#?}");
        let receipt = &answer["receipt"];
        let ahead = &receipt["ahead"];
        let used = ahead["groups"].as_u64().unwrap_or(0);
        let cost = &receipt["plan"]["cost"];
        let groups = (labels.len() as u64).div_ceil(cost["group"].as_u64().unwrap());
        let setup = match ahead["how"].as_str().unwrap() {
            "none" => &cost["setup"],
            _ if used == groups => &cost["ahead"]["setup_all"],
            _ => &cost["ahead"]["setup_some"],
        };
        for field in ["up_bytes", "down_bytes", "rounds"] {
            let number = |v: &Value| v[field].as_u64().unwrap();
            let (agreement, traffic) = (&receipt["agreement"], &receipt["traffic"]);
            assert_eq!(number(&traffic["setup"]), number(setup) + number(agreement), "{field}");
            assert_eq!(number(&traffic["offline"]), (groups - used) * number(&cost["offline"]), "{field}");
        }
        (used, ended)
    }
}

/// Files of packs at a side.
fn packs(state: &Path, side: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![state.join("packs").join(side)];
    while let Some(dir) = dirs.pop() {
        for path in std::fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().path()) {
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "pack") {
                found.push(path);
            }
        }
    }
    found
}

/// The packs that a log says were taken: none of them twice.
fn taken(log: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for line in log.lines().filter_map(|l| l.split_once("pack taken ")) {
        assert!(seen.insert(line.1.to_owned()), "{} was taken twice", line.1);
    }
    seen
}

const KEEP: &[&str] = &["--packs", "100"];

#[test]
fn images_use_what_was_prepared_at_both_sides_and_then_make_their_own() {
    let server = Server::start(KEEP);
    let state = tempfile::tempdir().unwrap();
    let made = server.prepare(state.path(), 4).well().json();
    assert_eq!((made["packs"].as_u64(), made["receipt"]["ahead"]["how"].as_str()), (Some(4), Some("made")));
    assert_eq!([packs(state.path(), "client").len(), packs(server.state.path(), "server").len()], [4, 4]);
    let (used, first) = server.predict(state.path(), &[]);
    assert_eq!(used, 3);
    let (used, second) = server.predict(state.path(), &[]);
    assert_eq!(used, 1);
    let (used, third) = server.predict(state.path(), &[]);
    assert_eq!((used, third.json()["receipt"]["ahead"]["how"].as_str()), (0, Some("none")));
    assert_eq!(taken(&(first.err + &second.err)).len(), 4);
    assert_eq!(taken(&server.end()).len(), 4);
}

#[test]
fn what_is_missing_is_made_in_the_background_after_a_prediction() {
    let server = Server::start(KEEP);
    let state = tempfile::tempdir().unwrap();
    let (used, ended) = server.predict(state.path(), &["--keep-prepared", "5"]);
    assert_eq!(used, 0);
    assert!(ended.err.contains("5 packs made"), "{ended:#?}");
    let (used, ended) = server.predict(state.path(), &["--keep-prepared", "5"]);
    assert_eq!(used, 3);
    assert!(ended.err.contains("3 packs made; with those before there are 5"), "{ended:#?}");
    assert_eq!([packs(state.path(), "client").len(), packs(server.state.path(), "server").len()], [5, 5]);
}

#[test]
fn servers_that_keep_nothing_or_have_no_room_say_so_and_still_predict() {
    let state = tempfile::tempdir().unwrap();
    let server = Server::start(&[]);
    server.prepare(state.path(), 1).refused(4, &["no room", "--packs MIB"]);
    assert_eq!(server.predict(state.path(), &[]).0, 0);
    let server = Server::start(&["--packs", "20"]);
    server.prepare(state.path(), 50).refused(4, &["room for 2 packs"]);
    server.prepare(state.path(), 2).well();
    assert_eq!(server.predict(state.path(), &[]).0, 2);
}

#[test]
fn a_client_killed_at_any_time_never_uses_a_pack_again() {
    let server = Server::start(KEEP);
    let state = tempfile::tempdir().unwrap();
    let mut log = String::new();
    let slow = &["--link", "100mbit,40ms"];
    // While it makes packs: those it has and those it lacks.
    for times in [1, 2] {
        let client = server.client("prepare", state.path(), &["--images", "3", slow[0], slow[1]]);
        client.until_times("pack kept", times);
        client.signal("KILL");
        log += &client.end().err;
        let had = packs(state.path(), "client").len() as u64;
        assert!(had >= 1);
        let (used, ended) = server.predict(state.path(), &[]);
        assert!(used >= had.min(3) - 1, "{used} of {had}");
        log += &ended.err;
    }
    // After it has taken one, and while it uses the second.
    for times in [1, 2] {
        server.prepare(state.path(), 4).well();
        let client = server.client("predict", state.path(), slow);
        client.until_times("pack taken", times);
        client.signal("KILL");
        log += &client.end().err;
        let (_, ended) = server.predict(state.path(), &[]);
        log += &ended.err;
    }
    assert!(taken(&log).len() >= 6);
    taken(&server.end());
}

#[test]
fn a_server_killed_at_any_time_never_uses_a_pack_again() {
    let mut server = Server::start(KEEP);
    let state = tempfile::tempdir().unwrap();
    let mut log = String::new();
    let slow = &["--link", "100mbit,40ms"];
    // When packs are made, and before any is used.
    server.prepare(state.path(), 3).well();
    server = server.kill(KEEP);
    let (used, ended) = server.predict(state.path(), &[]);
    assert_eq!(used, 3, "they outlive the process");
    log += &ended.err;
    for times in [1, 2] {
        server.prepare(state.path(), 4).well();
        let client = server.client("predict", state.path(), slow);
        let before = server.process.said().1.matches("pack taken").count();
        server.process.until_times("pack taken", before + times);
        server = server.kill(KEEP);
        let ended = client.end();
        assert_ne!(ended.code, Some(0), "{ended:#?}");
        log += &ended.err;
        let (_, ended) = server.predict(state.path(), &[]);
        log += &ended.err;
    }
    assert!(taken(&log).len() >= 8);
    taken(&server.end());
}

#[test]
fn clients_have_packs_of_their_own_and_damaged_ones_are_named_and_dropped() {
    let server = Server::start(KEEP);
    let [alice, bob] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    server.prepare(alice.path(), 3).well();
    assert_eq!(server.predict(bob.path(), &[]).0, 0);
    let file = packs(alice.path(), "client").remove(0);
    std::fs::write(&file, b"oblivia pack 1\0\0 and no more").unwrap();
    let (used, ended) = server.predict(alice.path(), &[]);
    assert_eq!(used, 2);
    assert!(ended.err.contains("is not usable") && ended.err.contains(file.to_str().unwrap()), "{ended:#?}");
    assert!(!file.exists());
}

/// Flags of a plan of groups of three images with silent OT.
const SILENT: [&str; 4] = ["--plan", "wan", "--group", "3"];

#[test]
fn packs_of_silent_plans_are_made_for_groups_and_used_once_whatever_is_killed() {
    let keep = &["--packs", "400"];
    let mut server = Server::start(keep);
    let state = tempfile::tempdir().unwrap();
    let five: Vec<String> = images(5).iter().map(|path| path.display().to_string()).collect();
    let predict: Vec<&str> = SILENT.into_iter().chain(five.iter().map(String::as_str)).collect();
    let make = |server: &Server| {
        let flags: Vec<&str> = SILENT.into_iter().chain(["--images", "10"]).collect();
        server.client("prepare", state.path(), &flags).end().well()
    };
    let made = make(&server).json();
    assert!(made["receipt"]["plan"]["parameters"].as_str().unwrap().contains("silent OT"));
    assert_eq!((made["packs"].as_u64(), made["receipt"]["ahead"]["groups"].as_u64()), (Some(4), Some(4)));
    assert_eq!([packs(state.path(), "client").len(), packs(server.state.path(), "server").len()], [4, 4]);
    let (used, ended) = server.predict(state.path(), &predict);
    assert_eq!(used, 2);
    let mut log = ended.err;
    let slow: Vec<&str> = predict.iter().copied().chain(["--link", "100mbit,40ms"]).collect();
    // The client in the first group, then the server in the second.
    let client = server.client("predict", state.path(), &slow);
    client.until_times("pack taken", 1);
    client.signal("KILL");
    log += &client.end().err;
    make(&server);
    let client = server.client("predict", state.path(), &slow);
    let before = server.process.said().1.matches("pack taken").count();
    server.process.until_times("pack taken", before + 2);
    server = server.kill(keep);
    let ended = client.end();
    assert_ne!(ended.code, Some(0), "{ended:#?}");
    log += &ended.err;
    let (used, ended) = server.predict(state.path(), &predict);
    assert!(used >= 1, "some were left");
    log += &ended.err;
    // With what is missing to ten images made in the background, four packs are there.
    let keep_ten: Vec<&str> = predict.iter().copied().chain(["--keep-prepared", "10"]).collect();
    let (_, ended) = server.predict(state.path(), &keep_ten);
    assert!(ended.err.contains("there are 4"), "{ended:#?}");
    assert!(ended.err.contains("one for every group of images"), "{ended:#?}");
    log += &ended.err;
    assert!(taken(&log).len() >= 6);
    taken(&server.end());
}
