//! Sessions that end well, and sessions that limits end.

use crate::common::{Client, DIGITS, MODEL, Running, Server, image, images, oblivia, root, run};
use oblivia_net::{Identity, Owner};
use serde_json::Value;
use std::process::Stdio;
use tempfile::TempDir;

fn labels(answer: &Value) -> Vec<&str> {
    answer["images"].as_array().unwrap().iter().map(|i| i["label"].as_str().unwrap()).collect()
}

/// Measured traffic is declared traffic: the agreement, the keys once, and the online part per image.
fn assert_as_declared(receipt: &Value, images: u64) {
    let number = |v: &Value| v.as_u64().unwrap_or_else(|| panic!("{v} in {receipt}"));
    for field in ["up_bytes", "down_bytes", "rounds"] {
        let cost = &receipt["plan"]["cost"];
        let setup = number(&cost["setup"][field]) + number(&receipt["agreement"][field]);
        assert_eq!(number(&receipt["traffic"]["setup"][field]), setup, "setup {field}");
        for phase in ["offline", "online"] {
            let declared = images * number(&cost[phase][field]);
            assert_eq!(number(&receipt["traffic"][phase][field]), declared, "{phase} {field}");
        }
    }
}

fn learned_by_server(receipt: &Value) -> Vec<&str> {
    let leaks = receipt["plan"]["leaks"].as_array().unwrap().iter();
    leaks.filter(|l| l["to"] == "server").map(|l| l["leak"].as_str().unwrap()).collect()
}

#[test]
fn the_demonstration_is_right_and_costs_what_it_declared() {
    let ended = run(["demo", "--images", "3", "--json"]).well();
    let both = ended.json();
    assert_eq!(both["schema"].as_u64(), Some(2));
    let names: Vec<_> = both["systems"].as_array().unwrap().iter().map(|s| s["system"].clone()).collect();
    assert_eq!(names, ["leveled", "hybrid"]);
    for answer in both["systems"].as_array().unwrap() {
        assert_eq!(labels(answer), DIGITS[..3]);
        assert_eq!(answer["right"].as_u64(), Some(3));
        let receipt = &answer["receipt"];
        assert_eq!(receipt["plan"]["choices"]["system"], answer["system"]);
        assert_as_declared(receipt, 3);
        assert_eq!(learned_by_server(receipt), ["sample-count"]);
        let images = answer["images"].as_array().unwrap();
        let moved: u64 = images.iter().map(|i| i["bytes"].as_u64().unwrap()).sum();
        let online = &receipt["traffic"]["online"];
        assert_eq!(Some(moved - online["up_bytes"].as_u64().unwrap()), online["down_bytes"].as_u64());
    }
}

#[test]
fn the_demonstration_in_words_says_who_sees_what_and_fits_the_page() {
    let ended = run(["demo", "--images", "2", "--system", "clear", "--accept-leak", "input"]).well();
    for words in
        ["in clear", "0000.png      7      7", "2 of 2 right", "every input, in clear", "exactly what"]
    {
        assert!(ended.out.contains(words), "{words:?} is not in {}", ended.out);
    }
    let widest = ended.out.lines().map(|l| l.chars().count()).max();
    assert!(widest <= Some(100), "{}", ended.out);
    assert_eq!(ended.err, "", "nothing is left to say");
    let private = run(["demo", "--images", "1"]).well();
    for words in ["it is sent no image in clear", "messages per image", "mnist-cryptonets         mnist-bm3"]
    {
        assert!(private.out.contains(words), "{words:?} is not in {}", private.out);
    }
}

#[test]
fn the_demonstration_refuses_a_leak_before_it_starts_anything() {
    let ended = run(["demo", "--images", "1", "--system", "clear"]);
    let ended = ended.refused(4, &["every input, in clear", "--accept-leak input"]);
    assert_eq!((ended.out.as_str(), ended.err.lines().count()), ("", 1), "no server has a say: {ended:#?}");
}

#[test]
fn a_client_predicts_on_a_server_with_the_servers_pin() {
    let server = Server::start();
    let ended = Client::of(&server).args([image(0)]).end().well();
    assert!(ended.out.contains("0000.png  7 "), "{ended:#?}");
    assert!(ended.out.contains("exactly what the plan said"), "{ended:#?}");
    // What was agreed to is shown before it happens, beside the results.
    assert!(ended.err.contains("learned   the server: how many samples are predicted"), "{ended:#?}");
}

#[test]
fn private_and_clear_outputs_differ_by_no_more_than_declared() {
    let server = Server::start();
    let private = Client::of(&server).args(images(2)).args(["--json"]).end().well();
    let clear = Client::of(&server).clear().args(images(2)).args(["--json"]).end().well();
    assert_eq!(private.err, "", "JSON is all there is");
    let (private, clear) = (private.json(), clear.json());
    for answer in [&private, &clear] {
        assert_eq!(answer["schema"], 1);
        assert_eq!(labels(answer), DIGITS[..2]);
        assert_as_declared(&answer["receipt"], 2);
    }
    assert_eq!(learned_by_server(&clear["receipt"]), ["sample-count", "input"]);
    let bound = private["receipt"]["plan"]["error"]["units_2_32"].as_f64().unwrap() / 4_294_967_296.0;
    assert!(bound > 0.0 && bound < 1.0);
    let outputs = |answer: &Value, i: usize| -> Vec<f64> {
        answer["images"][i]["outputs"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    };
    for i in 0..2 {
        let (x, y) = (outputs(&private, i), outputs(&clear, i));
        assert_eq!((x.len(), y.len()), (10, 10));
        assert!(x != y, "noise leaves a trace");
        assert!(x.iter().zip(&y).all(|(a, b)| (a - b).abs() <= bound), "{x:?} {y:?}");
    }
}

#[test]
fn several_clients_at_once_each_get_their_own_answers() {
    let server = Server::start();
    let mut clients: Vec<Client> = (0..6)
        .map(|i| {
            let inputs: Vec<_> = (0..4).map(|j| image((i + j) % 10)).collect();
            let client = Client::of(&server).args(["--json"]).args(inputs);
            if i < 2 { client } else { client.clear() }
        })
        .collect();
    let running: Vec<Running> = clients.iter_mut().map(Client::start).collect();
    for (i, process) in running.into_iter().enumerate() {
        let answer = process.end().well().json();
        let expected: Vec<&str> = (0..4).map(|j| DIGITS[(i + j) % 10]).collect();
        assert_eq!(labels(&answer), expected, "client {i}");
    }
}

#[test]
fn rows_appear_as_they_happen() {
    let server = Server::start();
    let mut client = Client::of(&server).clear().args(["--link", "1gbit,200ms"]).args(images(10));
    let mut process = client.start();
    process.until("0001.png");
    assert!(process.runs(), "the second row is there while the session goes on");
    let ended = process.end().well();
    assert!(ended.out.contains("0009.png"), "{ended:#?}");
}

#[test]
fn a_folder_is_predicted_in_order_of_name() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    for (name, i) in [("b.PNG", 1), ("a.png", 0), ("c.png", 2)] {
        std::fs::copy(image(i), folder.path().join(name)).unwrap();
    }
    std::fs::write(folder.path().join("readme.txt"), "not an input").unwrap();
    let answer = Client::of(&server).clear().args([folder.path()]).args(["--json"]).end().well().json();
    assert_eq!(labels(&answer), DIGITS[..3]);
}

#[test]
fn only_listed_clients_are_admitted_and_others_are_told_their_fingerprint() {
    let fingerprint = |state: &TempDir| {
        let (identity, _) = Identity::load_or_create(state.path(), Owner::Client).unwrap();
        identity.fingerprint().to_string()
    };
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("admitted");
    std::fs::write(&file, format!("# colleagues\n\n{}  # the first\n", fingerprint(&state))).unwrap();
    let server = Server::with(&["--policy", file.to_str().unwrap()]);
    Client::known(&server.address, &server.pin, state).clear().args([image(0)]).end().well();

    let stranger = Client::of(&server).clear().args([image(0)]);
    let made = fingerprint(&stranger.state);
    stranger.end().refused(4, &["does not admit this client", &made, "--policy"]);
}

#[test]
fn an_interrupted_server_finishes_its_sessions_and_takes_no_more() {
    for signal in ["INT", "TERM"] {
        let mut server = Server::start();
        let mut client = Client::of(&server).clear().args(["--link", "1gbit,200ms"]).args(images(6));
        let process = client.start();
        process.until("0000.png");
        server.signal(signal);
        let late = loop {
            // The signal takes a moment to arrive.
            let late = Client::of(&server).clear().args([image(0)]).end();
            if late.code != Some(0) {
                break late;
            }
        };
        late.refused(6, &["nothing listens"]);
        assert!(server.runs(), "the session goes on");
        let ended = process.end().well();
        assert!(ended.out.contains("0005.png"), "{ended:#?}");
        server.end().well();
    }
}

#[test]
fn a_server_whose_standard_input_ends_finishes_its_sessions() {
    let mut server = Server::with(&["--until-stdin-ends"]);
    let mut client = Client::of(&server).clear().args(["--link", "1gbit,200ms"]).args(images(6));
    let process = client.start();
    process.until("0000.png");
    server.close_stdin();
    let ended = process.end().well();
    assert!(ended.out.contains("0005.png"), "{ended:#?}");
    server.end().well();
}

#[test]
fn a_server_that_is_killed_in_a_session_leaves_an_error_and_a_hint() {
    let server = Server::start();
    let mut client = Client::of(&server).clear().args(["--link", "1gbit,200ms"]).args(images(10));
    let process = client.start();
    process.until("0000.png");
    server.signal("KILL");
    let ended = process.end().refused(5, &["closed the connection in the middle", "start it again"]);
    assert!(ended.err.contains(&server.address) && !ended.out.contains("receipt"), "{ended:#?}");
}

#[test]
fn a_client_that_is_killed_in_a_session_leaves_the_server_serving() {
    let server = Server::start();
    let mut client = Client::of(&server).clear().args(["--link", "1gbit,200ms"]).args(images(10));
    let process = client.start();
    process.until("0000.png");
    process.signal("KILL");
    server.until("session failed");
    Client::of(&server).clear().args([image(0)]).end().well();
}

#[test]
fn a_plan_over_the_clients_byte_limit_is_refused_before_keys_move() {
    let server = Server::start();
    let ended = Client::of(&server).args(["--max-bytes", "1000000"]).args([image(0)]).end();
    ended.refused(4, &["more than the 1000000 allowed", "--max-bytes"]);
    Client::of(&server).clear().args(["--max-bytes", "4000"]).args([image(0)]).end().well();
}

#[test]
fn sending_data_in_clear_takes_an_explicit_yes() {
    let server = Server::start();
    let ended = Client::of(&server).args(["--system", "clear"]).args([image(0)]).end();
    let ended = ended.refused(4, &["every input, in clear", "add --accept-leak input"]);
    assert_eq!(ended.out, "");
    Client::of(&server).clear().args([image(0)]).end().well();
}

#[test]
fn a_session_over_its_time_ends_with_the_limit_named() {
    let server = Server::start();
    let slow = ["--link", "1gbit,400ms", "--max-seconds", "1"];
    let ended = Client::of(&server).clear().args(slow).args(images(10)).end();
    ended.refused(6, &["not over after the 1 s allowed", "--max-seconds"]);
}

#[test]
fn a_server_keeps_its_limits_and_says_which_kind() {
    let server = Server::with(&["--max-samples", "2", "--max-sessions", "1", "--max-memory", "32"]);
    let ended = Client::of(&server).clear().args(images(3)).end();
    ended.refused(4, &["policy or limits refuse", "3 images", "fewer images"]);
    server.until("3 samples asked for, at most 2 allowed");
    let ended = Client::of(&server).args([image(0)]).end();
    ended.refused(6, &["no capacity", "--max-memory"]);
    let mut slow = Client::of(&server).clear().args(["--link", "1gbit,800ms"]).args(images(2));
    let process = slow.start();
    process.until("0000.png");
    let ended = Client::of(&server).clear().args([image(0)]).end();
    ended.refused(6, &["no capacity", "--max-sessions"]);
    process.end().well();
}

#[test]
fn a_reader_that_closes_the_pipe_ends_nothing_badly() {
    let server = Server::start();
    let predict = Client::of(&server).clear().args(images(3));
    let model = crate::common::model();
    let model = model.to_str().unwrap();
    let mut commands = vec![predict.command];
    for args in [&["inspect", model][..], &["plan", model, "--json"], &["demo", "--images", "1"], &["--help"]]
    {
        let mut command = oblivia();
        command.args(args);
        commands.push(command);
    }
    for mut command in commands {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let done = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.code() == Some(0) && !err.contains("panicked"), "{command:?} {done:?} {err}");
    }
}

#[test]
fn the_demonstration_runs_from_any_folder_and_leaves_nothing_there() {
    let here = tempfile::tempdir().unwrap();
    let mut command = oblivia();
    command.args(["demo", "--images", "1", "--system", "clear", "--accept-leak", "input"]);
    Running::start(command.current_dir(here.path())).end().well();
    assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0);
    assert!(root().join("models").join(MODEL).is_dir());
}

#[test]
fn the_command_a_server_prints_predicts_whichever_system_runs_its_model() {
    for model in ["mnist-bm3", "mnist-cryptonets"] {
        let state = tempfile::tempdir().unwrap();
        let mut serve = oblivia();
        serve.arg("serve").arg("--model").arg(root().join("models").join(model));
        let server = Running::start(serve.args(["--listen", "127.0.0.1:0", "--state-dir"]).arg(state.path()));
        server.until("stop with Ctrl-C");
        let said = server.said().0.replace("\\\n", "");
        let printed =
            said.lines().find_map(|line| line.trim().strip_prefix("oblivia predict IMAGE.png")).unwrap();
        let mut client = oblivia();
        client.arg("predict").arg(image(0)).args(printed.split_whitespace());
        Running::start(client.arg("--state-dir").arg(state.path())).end().well();
        server.signal("TERM");
        server.end().well();
    }
}
