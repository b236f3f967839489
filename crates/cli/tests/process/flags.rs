//! Flags with odd values: usage errors, never a panic.

use crate::common::{Ended, Running, Server, image, model, oblivia, run};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

fn usage(args: &[&str], words: &[&str]) -> Ended {
    let ended = run(args);
    assert!(ended.out.is_empty(), "{args:?}: {ended:#?}");
    ended.refused(2, words)
}

#[test]
fn values_that_cannot_be_meant_are_usage_errors() {
    let model = model();
    let model = model.to_str().unwrap();
    let pin = "00".repeat(32);
    let predict = ["predict", "x.png", "--server", "localhost:1", "--pin", &pin, "--model", "m"];
    let with = |more: [&'static str; 2]| [&predict[..], &more].concat();
    usage(&["demo", "--images", "0"], &["--images", "1..=200"]);
    usage(&["demo", "--images", "201"], &["--images", "1..=200"]);
    usage(&["demo", "--images", "99999999999999999999"], &["--images"]);
    usage(&["demo", "--threads", "100000"], &["--threads", "1024"]);
    usage(&["demo", "--threads", "-1"], &["-1"]);
    usage(&["demo", "--system", "magic"], &["magic", "leveled", "clear"]);
    usage(&["plan", model, "--images", "4294967295"], &["--images", "1048576"]);
    usage(&["plan", model, "--mode", "magic"], &["no mode `magic`", "approximate"]);
    usage(&["plan", model, "--accept-leak", "everything"], &["everything", "input"]);
    usage(&["plan", model, "--accept-leak", "outputs"], &["outputs", "possible values"]);
    usage(&["plan", model, "--max-bytes", "-1"], &["-1"]);
    usage(&["bench", "leveled/nothing"], &["leveled/mnist-cryptonets", "clear/mnist-cryptonets"]);
    usage(&["serve"], &["--model"]);
    usage(&["serve", "--model", model, "--listen", "everywhere"], &["ADDRESS:PORT", "127.0.0.1:7443"]);
    usage(&["serve", "--model", model, "--listen", "127.0.0.1:65536"], &["ADDRESS:PORT"]);
    usage(&["serve", "--model", model, "--max-sessions", "0"], &["--max-sessions"]);
    usage(&["serve", "--model", model, "--key-cache", "-1"], &["-1"]);
    usage(&["keys"], &["list", "forget"]);
    usage(&["keys", "forget"], &["--server", "--all"]);
    usage(&["keys", "forget", "--server", "12:34"], &["12:34", "64"]);
    usage(&["keys", "forget", "--all", "--server", &pin], &["--all", "--server"]);
    usage(&["serve", "--model", model, "--max-message", "18446744073709551615"], &["1..=1024"]);
    usage(&["serve", "--model", model, "--idle-seconds", "0"], &["positive number of seconds"]);
    usage(&with(["--max-seconds", "-3"]), &["-3", "positive number of seconds"]);
    usage(&with(["--max-seconds", "soon"]), &["soon", "positive number of seconds"]);
    usage(&with(["--max-seconds", "1e308"]), &["positive number of seconds"]);
    usage(&with(["--link", "fast"]), &["fast", "100mbit,40ms"]);
    usage(&with(["--link", "1e400mbit,1ms"]), &["--link", "rate"]);
    usage(&with(["--link", "100mbit,-1ms"]), &["--link", "round-trip"]);
    usage(&["predict", "x.png", "--server", "localhost", "--pin", &pin, "--model", "m"], &["HOST:PORT"]);
    usage(
        &["predict", "x.png", "--server", "localhost:1", "--pin", "12:34", "--model", "m"],
        &["12:34", "64"],
    );
    usage(&["predict", "x.png", "--server", "localhost:1", "--model", "m"], &["--pin"]);
    usage(&[], &["Usage: oblivia"]);
}

#[test]
fn empty_values_are_usage_errors() {
    let pin = "00".repeat(32);
    for flag in
        ["--model", "--server", "--pin", "--mode", "--plan", "--link", "--state-dir", "--system", "--roots"]
    {
        let mut args = vec!["predict", "x.png"];
        for (name, value) in [("--server", "localhost:1"), ("--pin", &pin), ("--model", "m")] {
            if name != flag && !(name == "--pin" && flag == "--roots") {
                args.extend([name, value]);
            }
        }
        args.extend([flag, ""]);
        usage(&args, &[flag]);
    }
    usage(&["predict", "", "--server", "localhost:1", "--pin", &pin, "--model", "m"], &["INPUTS"]);
    usage(&["inspect", ""], &["MODEL"]);
    usage(&["bench", ""], &["no such benchmark"]);
}

#[test]
fn the_largest_values_work() {
    let state = tempfile::tempdir().unwrap();
    let most = u64::MAX.to_string();
    let mut serve = oblivia();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--until-stdin-ends", "--max-memory", &most]);
    serve.args(["--max-message", "1024", "--max-samples", "1048576", "--idle-seconds", "4000000000"]);
    Running::start(serve.arg("--model").arg(model()).arg("--state-dir").arg(state.path())).end().well();
    let model = model();
    let plan = ["plan", model.to_str().unwrap(), "--images", "1048576", "--max-bytes", &most];
    let ended = run(plan).well();
    assert!(ended.out.contains("1,048,576 images"), "{ended:#?}");
    let server = Server::with(&["--max-memory", &most]);
    let long = "n".repeat(200);
    let args =
        ["predict", "--server", &server.address, "--pin", &server.pin, "--model", &long, "--state-dir"];
    let mut predict = oblivia();
    predict.args(args).arg(state.path()).arg(image(0));
    Running::start(&mut predict).end().refused(3, &["model name is longer than 128 bytes"]);
}

#[test]
fn a_group_that_a_mode_does_not_have_is_refused_and_a_link_that_it_does_not_plan_for_is_noted() {
    let model = model();
    let plan = |more: &[&str]| run([&["plan", model.to_str().unwrap()], more].concat());
    plan(&["--group", "3"]).refused(4, &["groups of 1 samples, not the 3 of --group"]);
    plan(&["--mode", "batch", "--group", "3"]).refused(4, &["groups of 8192 samples, not the 3 of --group"]);
    plan(&["--mode", "batch", "--group", "8192"]).well();
    let compared = plan(&["--compare", "--group", "8192"]).well();
    let of = |name: &str| compared.out.lines().find(|line| line.contains(name)).unwrap();
    assert!(of("batch/").contains("at once") && of("approximate/").contains("of --group"), "{compared:#?}");
    let nothing = "--link changes nothing";
    let (linked, plain) = (plan(&["--link", "100mbit,40ms"]).well(), plan(&[]).well());
    assert!(linked.err.contains(nothing) && linked.out == plain.out, "{linked:#?}");
    assert!(!plain.err.contains(nothing));
    let relu = crate::common::root().join("models/mnist-bm3");
    let follows = ["plan", relu.to_str().unwrap(), "--system", "hybrid", "--link", "100mbit,40ms"];
    assert!(!run(follows).well().err.contains(nothing));
}

#[test]
fn names_that_are_not_unicode_are_paths_like_others_and_nothing_else() {
    let odd = OsStr::from_bytes(b"\xff\xfe.png");
    assert_eq!(run([OsStr::new("inspect"), odd]).code, Some(6));
    assert_eq!(run([OsStr::new("demo"), OsStr::new("--system"), odd]).code, Some(2));
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(odd);
    std::fs::copy(image(0), &path).unwrap();
    let mut client = crate::common::Client::of(&server).clear().args([&path]).args(["--json"]);
    client.command.env("RUST_BACKTRACE", "1");
    let answer = client.end().well().json();
    assert_eq!(answer["images"][0]["label"], "7");
    let state: OsString = dir.path().join(OsStr::from_bytes(b"st\xffte")).into();
    let mut serve = oblivia();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--until-stdin-ends", "--state-dir"]).arg(state);
    Running::start(serve.arg("--model").arg(model())).end().well();
}

#[test]
fn help_documents_the_json_of_every_command() {
    for command in ["demo", "inspect", "plan", "serve", "predict", "bench"] {
        let ended = run([command, "--help"]).well();
        assert!(ended.out.contains("--json prints one"), "{ended:#?}");
        assert!(ended.out.contains("schema"), "{ended:#?}");
    }
    let ended = run(["--help"]).well();
    assert!(ended.out.contains("Exit codes: 0 done, 2 usage, 3 input, 4 refused"), "{ended:#?}");
}
