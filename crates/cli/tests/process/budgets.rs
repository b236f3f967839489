//! Query budgets of server processes, over TLS, with kill -9 between.

use crate::common::{Client, DIGITS, Ended, LONG, MODEL, Running, Server, image, images, model, oblivia};
use oblivia_base::SessionRng;
use oblivia_net::{ClientTls, ConnectOptions, Identity, Owner, ServerCheck, connect, parse_fingerprint};
use oblivia_protocol::session::{Purpose, Request, agree_as_client};
use oblivia_protocol::{Channel, Leak, Role, Wish};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempDir;

/// One client's questions in clear; its key stays the same.
struct Asker(TempDir);

impl Asker {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn ask(&self, server: &Server, n: usize, flags: &[&str]) -> Ended {
        let mut command = oblivia();
        command.args(["predict", "--server", &server.address, "--pin", &server.pin, "--model", MODEL]);
        command.args(["--threads", "1", "--system", "clear", "--accept-leak", "input"]);
        Running::start(command.arg("--state-dir").arg(self.0.path()).args(flags).args(images(n))).end()
    }

    fn fingerprint(&self) -> String {
        Identity::load_or_create(self.0.path(), Owner::Client).unwrap().0.fingerprint().hex()
    }
}

/// The counts on disk.
fn counts(state: &Path) -> Vec<PathBuf> {
    let Ok(models) = fs::read_dir(state.join("budgets")) else { return Vec::new() };
    let dirs = models.map(|e| e.unwrap().path()).filter(|p| p.is_dir());
    let files = dirs.flat_map(|dir| fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()));
    files.filter(|file| file.extension().is_some_and(|e| e == "json")).collect()
}

#[test]
fn a_budget_is_printed_counted_told_and_outlives_kill_9() {
    let flags = ["--client-images", "3", "--log", "info"];
    let (server, asker) = (Server::with(&flags), Asker::new());
    let first = asker.ask(&server, 2, &[]).well();
    assert!(first.out.contains("budget    1 of 3 images left for this client with this model"), "{first:#?}");
    let server = server.killed(&flags);
    let words =
        ["budget for this client with this model is 3 images", "used 2, asked for 2", "send at most 1"];
    let second = asker.ask(&server, 2, &[]).refused(4, &words);
    assert_eq!(second.out, "");
    server.until("the server's budget for this client with this model is 3 images; used 2, asked for 2");
    let third = asker.ask(&server, 1, &["--json"]).well().json();
    assert_eq!(third["images"][0]["label"], DIGITS[0]);
    let left = serde_json::json!({ "budget": "client", "images": 3, "left": 0 });
    assert_eq!(third["receipt"]["allowance"], left);
    let server = server.killed(&flags);
    asker.ask(&server, 1, &[]).refused(4, &["used 3, asked for 1", "ask the server's owner"]);
    // Another key is another client.
    Client::of(&server).clear().args([image(0)]).end().well();
}

#[test]
fn a_server_killed_between_agreeing_and_the_first_image_has_counted_them() {
    let flags = ["--client-images", "3"];
    let (server, asker) = (Server::with(&flags), Asker::new());
    let tls = ClientTls {
        identity: Identity::load_or_create(asker.0.path(), Owner::Client).unwrap().0,
        server: ServerCheck::Pin(parse_fingerprint(&server.pin).unwrap()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let channel = runtime.block_on(async {
        let wire = connect(&server.address, &tls, &ConnectOptions::default()).await.unwrap();
        let mut channel = Channel::with_peer(Role::Client, Role::Server, Box::new(wire));
        let wish = Wish { accepted_leaks: vec![Leak::Input], ..Wish::default() };
        let purpose = Purpose::Predict;
        let request = Request { model: MODEL.into(), system: "clear".into(), wish, purpose, samples: 2 };
        let mut rng = SessionRng::fresh().unwrap();
        let mut confirm = |_: &_, _: &_| Ok(());
        let systems = oblivia_systems::SYSTEMS;
        let agreed = agree_as_client(&mut channel, &mut rng, systems, &request, &mut confirm);
        assert_eq!(agreed.await.unwrap().allowance.map(|a| a.left), Some(1));
        channel
    });
    let since = Instant::now();
    while counts(server.state.path()).is_empty() {
        assert!(since.elapsed() < LONG, "nothing was counted, and no image was sent yet");
    }
    let server = server.killed(&flags);
    drop(channel);
    asker.ask(&server, 2, &[]).refused(4, &["used 2, asked for 2"]);
}

#[test]
fn a_policy_gives_budgets_to_all_and_to_named_clients() {
    let [one, two] = [(); 2].map(|()| Asker::new());
    let file = one.0.path().join("admitted");
    let text = format!("client-images = 1\n{}\n{} images=3 # more\n", one.fingerprint(), two.fingerprint());
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let server = Server::with(&["--policy", file, "--model-images", "3"]);
    one.ask(&server, 2, &[]).refused(4, &["is 1 images; used 0, asked for 2; send at most 1"]);
    one.ask(&server, 1, &[]).well();
    let left = two.ask(&server, 1, &[]).well();
    assert!(left.out.contains("1 of 3 images left for all clients of this model together"), "{left:#?}");
    two.ask(&server, 2, &[]).refused(4, &["for all clients of this model together is 3 images; used 2"]);
}

#[test]
fn a_server_says_its_budget_and_does_not_start_with_counts_that_are_damaged_or_elsewhere_in_use() {
    let flags = ["--client-images", "3", "--model-images-per-day", "50"];
    let (server, asker) = (Server::with(&flags), Asker::new());
    let serve = |state: &Path, flags: &[&str]| {
        let mut serve = oblivia();
        serve.args(["serve", "--listen", "127.0.0.1:0", "--until-stdin-ends", "--model"]).arg(model());
        Running::start(serve.arg("--state-dir").arg(state).args(flags)).end()
    };
    asker.ask(&server, 1, &[]).well();
    serve(server.state.path(), &flags).refused(6, &["another server counts budgets", "--state-dir"]);
    let state = server.kill();
    let said = serve(state.path(), &flags).well();
    let words = "per model and client 3 images; all clients of a model together 50 images a day";
    assert!(said.out.contains(words), "{said:#?}");
    let unlimited = serve(state.path(), &[]).well();
    assert!(unlimited.out.contains("none: every client may ask for any number"), "{unlimited:#?}");
    let [count] = &counts(state.path())[..] else { panic!("one client, one count") };
    fs::write(count, "{}").unwrap();
    serve(state.path(), &flags).refused(6, &[count.to_str().unwrap(), "is damaged", "delete it"]);
}

#[test]
fn a_session_that_takes_longer_than_one_may_is_ended_and_told() {
    let server = Server::with(&["--max-session-seconds", "0.5", "--log", "info"]);
    // A round trip of a fifth of a second per image.
    let slow = Client::of(&server).clear().args(["--link", "1gbit,200ms"]).args(images(10));
    slow.end().refused(4, &["policy or limits refuse", "fewer images"]);
    server.until("the session was not over after 500 ms");
}
