//! `inspect` and `plan`: what can be known before anything is sent.

use crate::common::{MODEL, model, run};
use std::ffi::OsStr;

fn of_model(args: &[&str]) -> crate::common::Ended {
    let model = model();
    let (command, flags) = args.split_first().unwrap();
    let all = [OsStr::new(command), model.as_os_str()].into_iter().chain(flags.iter().map(OsStr::new));
    run(all)
}

#[test]
fn inspect_shows_graph_shapes_cost_and_every_systems_answer() {
    let ended = of_model(&["inspect"]).well();
    for words in [
        "mnist-cryptonets: 7 nodes, output [10]",
        "Conv 5×5 stride 2 pad 1,1,0,0 → 5 maps",
        "[5×13×13]  21,125",
        "138.5311",
        "total: 106,625 multiply-accumulates (MACs), 85,740 parameters",
        "leveled   yes\n          - plan planned",
        "clear     yes\n          - plan float",
    ] {
        assert!(ended.out.contains(words), "{words:?} is not in {}", ended.out);
    }
    assert!(ended.out.lines().all(|l| l.chars().count() <= 100), "{}", ended.out);
}

#[test]
fn inspect_says_why_a_system_cannot_run_a_model() {
    // Without its manifest nothing is published, and `leveled` needs bounds.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bare.onnx");
    std::fs::copy(model().join("model.onnx"), &file).unwrap();
    let ended = run([OsStr::new("inspect"), file.as_os_str()]).well();
    assert!(ended.out.contains("leveled   no\n          - "), "{}", ended.out);
    assert!(ended.out.contains("clear     yes"), "{}", ended.out);
    assert!(ended.out.contains("note      ") && ended.out.contains("has no manifest"), "{}", ended.out);
    let json = run([OsStr::new("inspect"), file.as_os_str(), OsStr::new("--json")]).well().json();
    let leveled = &json["systems"][0];
    assert_eq!((leveled["system"].as_str(), leveled["verdict"].as_str()), (Some("leveled"), Some("no")));
    assert!(leveled["plan"].is_null() && !leveled["why"][0].as_str().unwrap().is_empty());
    assert_eq!(json["notes"].as_array().unwrap().len(), 1);
}

#[test]
fn inspect_as_json_has_the_documented_fields() {
    let json = of_model(&["inspect", "--json"]).well().json();
    assert_eq!((json["schema"].as_u64(), json["model"].as_str()), (Some(1), Some(MODEL)));
    assert_eq!(json["input"]["shape"], serde_json::json!([1, 28, 28]));
    assert_eq!((json["input"]["width"].as_u64(), json["labels"].as_u64()), (Some(28), Some(10)));
    assert_eq!(json["output"], serde_json::json!([10]));
    assert_eq!(json["total"], serde_json::json!({ "macs": 106_625, "params": 85_740 }));
    let conv = &json["nodes"][1];
    assert_eq!((conv["inputs"][0].as_str(), conv["macs"].as_u64()), (Some("image"), Some(21_125)));
    assert!(conv["bound"].as_f64() > Some(6.0) && conv["params"] == 130 && conv["shape"][2] == 13);
    let verdicts: Vec<_> = json["systems"].as_array().unwrap().iter().map(|s| &s["verdict"]).collect();
    assert_eq!(verdicts, ["yes", "rewrite", "yes"]);
}

#[test]
fn plan_as_json_is_what_a_session_will_cost() {
    let json = of_model(&["plan", "--images", "3", "--json"]).well().json();
    assert_eq!((json["schema"].as_u64(), json["images"].as_u64()), (Some(1), Some(3)));
    let plan = &json["plan"];
    assert_eq!(
        plan["choices"],
        serde_json::json!({"system": "leveled", "mode": "approximate", "plan": "planned"})
    );
    assert_eq!(plan["security_bits"], 128);
    for field in ["up_bytes", "down_bytes", "rounds"] {
        let each = plan["cost"]["online"][field].as_u64().unwrap();
        assert!(each > 0);
        assert_eq!(json["traffic"]["online"][field].as_u64(), Some(3 * each), "{field}");
    }
    assert!(plan["key_bytes"].as_u64() > Some(1_000_000));
    assert_eq!(json["plan_id"].as_str().map(str::len), Some(16));
    let clear = of_model(&["plan", "--system", "clear", "--json"]).well().json();
    let leaks = clear["plan"]["leaks"].as_array().unwrap();
    assert!(leaks.iter().any(|l| l["leak"] == "input" && l["to"] == "server"));
}

#[test]
fn plan_in_words_names_what_must_be_accepted_and_keeps_the_limit() {
    let ended = of_model(&["plan", "--system", "clear"]).well();
    assert!(ended.out.contains("every input, in clear (needs --accept-leak input)"), "{}", ended.out);
    let ended = of_model(&["plan", "--max-bytes", "1000"]).refused(4, &["more than the 1000 allowed"]);
    assert!(
        ended.out.contains("128 bits") && ended.out.lines().all(|l| l.chars().count() <= 100),
        "{}",
        ended.out
    );
    of_model(&["plan", "--plan", "magic"]).refused(3, &["no plan `magic`", "diagonal"]);
}

#[test]
fn plans_that_there_are_not_are_no_rows_of_the_comparison_but_named_below_it_with_the_reason() {
    let ended = of_model(&["plan", "--compare"]).well();
    let (table, below): (Vec<&str>, Vec<&str>) = ended.out.lines().partition(|l| !l.starts_with("no "));
    assert!(table[0].starts_with("plan ") && table[1].starts_with("approximate/planned  "), "{}", ended.out);
    let refused: Vec<&str> =
        below.iter().flat_map(|l| l[3..].split_once(": ").unwrap().0.split(", ")).collect();
    let leveled = oblivia_systems::find("leveled").unwrap();
    for name in leveled.modes().iter().flat_map(|m| leveled.plans().iter().map(move |p| format!("{m}/{p}"))) {
        let is_row = |l: &&&str| l.split([' ', ',']).next() == Some(&name);
        let rows = table.iter().filter(is_row).count();
        assert_eq!(rows + refused.iter().filter(|n| **n == name).count(), 1, "{name}: {}", ended.out);
    }
    let batch = "mode `batch` of system `leveled` has no such plan; it has: planned";
    assert_eq!(below.iter().filter(|l| l.ends_with(batch)).count(), 1, "{}", ended.out);
    let clear = of_model(&["plan", "--compare", "--system", "clear"]).well();
    assert!(clear.out.lines().count() == 2 && clear.out.contains("\nfloat  "), "{}", clear.out);
}
