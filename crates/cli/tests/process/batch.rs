//! Many images at once.

use crate::common::{Client, DIGITS, Server, image, images, model, run};
use oblivia_data::decode_image;
use serde_json::Value;
use std::path::PathBuf;
use tempfile::TempDir;

/// A file with the first `n` shipped images, as MNIST comes.
fn idx(n: u32) -> (TempDir, PathBuf) {
    let mut bytes = vec![0, 0, 8, 3];
    [n, 28, 28].iter().for_each(|d| bytes.extend(d.to_be_bytes()));
    for i in 0..n as usize {
        let pixels = decode_image(&std::fs::read(image(i)).unwrap()).unwrap();
        bytes.extend_from_slice(pixels.data());
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("some-images-idx3-ubyte");
    std::fs::write(&file, bytes).unwrap();
    (dir, file)
}

fn field<'a>(answer: &'a Value, name: &str) -> Vec<&'a str> {
    answer["images"].as_array().unwrap().iter().map(|i| i[name].as_str().unwrap()).collect()
}

#[test]
fn images_of_one_file_are_answered_together_as_the_network_does_and_the_receipt_says_what_a_group_costs() {
    let server = Server::start();
    let (folder, file) = idx(10);
    let batch = |inputs: Vec<PathBuf>| {
        Client::of(&server).args(["--mode", "batch", "--json"]).args(inputs).end().well().json()
    };
    let answer = batch(vec![file.clone()]);
    assert_eq!(field(&answer, "label"), DIGITS[..10]);
    let name = file.display().to_string();
    let names: Vec<String> = (0..10).map(|i| format!("{name}#{i}")).collect();
    assert_eq!(field(&answer, "file"), names);
    let (receipt, plan) = (&answer["receipt"], &answer["receipt"]["plan"]);
    assert_eq!((receipt["samples"].as_u64(), plan["cost"]["group"].as_u64()), (Some(10), Some(8192)));
    for field in ["up_bytes", "down_bytes", "rounds"] {
        assert_eq!(receipt["traffic"]["online"][field], plan["cost"]["online"][field], "one group, not ten");
    }
    assert!(answer["images"][9]["seconds"].as_f64().is_some());
    // As the network in clear, within the declared error; and as the same images in files of their own or a folder.
    let clear = Client::of(&server).clear().args(["--json".as_ref(), file.as_os_str()]).end().well().json();
    let bound = plan["error"]["units_2_32"].as_f64().unwrap() / 4_294_967_296.0;
    for i in 0..10 {
        let outputs = |a: &Value| {
            a["images"][i]["outputs"]
                .as_array()
                .unwrap()
                .iter()
                .map(|v| v.as_f64().unwrap())
                .collect::<Vec<_>>()
        };
        let worst =
            outputs(&answer).iter().zip(outputs(&clear)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst > 0.0 && worst <= bound, "image {i}: {worst}, declared {bound}");
    }
    assert_eq!(field(&batch(images(3)), "label"), DIGITS[..3]);
    assert_eq!(field(&batch(vec![folder.path().to_owned()]), "label"), DIGITS[..10]);
}

#[test]
fn in_words_a_group_is_a_group_and_its_free_places_are_not_free() {
    let server = Server::start();
    let (_folder, file) = idx(2);
    let ended = Client::of(&server).args(["--mode", "batch"]).args([file]).end().well();
    for words in [
        "ubyte#1  2 ",
        "groups    1 group of 8,192 images; the 8,190 places left free cost as much as if taken",
        "transforms, per group",
        "exactly what the plan said",
    ] {
        assert!(ended.out.contains(words), "{words:?} is not in {}", ended.out);
    }
    for words in ["per group", "memory    the server sets aside", "full or not"] {
        assert!(ended.err.contains(words), "{words:?} is not in {}", ended.err);
    }
    let image = ended.out.lines().find(|l| l.contains("ubyte#0")).unwrap();
    assert!(image.trim_end().ends_with(DIGITS[0]), "time and bytes stand with the last of a group: {image}");
}

#[test]
fn a_plan_names_its_memory_and_both_sides_hold_it_against_their_limits() {
    let path = model();
    let plan = |more: &[&str]| run([&["plan", path.to_str().unwrap(), "--mode", "batch"], more].concat());
    let ended = plan(&["--images", "8193"]).well();
    assert!(ended.out.contains("2 groups of 8,192 images"), "{ended:#?}");
    let ended = plan(&["--json"]).well().json();
    let server = ended["plan"]["session_memory_bytes"].as_u64().unwrap()
        + ended["plan"]["work_memory_bytes"].as_u64().unwrap();
    let client = ended["plan"]["client_memory_bytes"].as_u64().unwrap();
    assert!((100 << 20..2 << 30).contains(&server) && (50 << 20..1 << 30).contains(&client), "{ended}");
    plan(&["--max-memory", "100"]).refused(4, &["bytes of the server's memory", "--max-memory"]);
    // A client that allows less.
    let all = Server::start();
    let ended = Client::of(&all).args(["--mode", "batch", "--max-memory", "100"]).args([image(0)]).end();
    ended.refused(4, &["of a client's memory", "--max-memory"]);
    // A server that has less offers every other mode.
    let small = Server::with(&["--max-memory", "512"]);
    let ended = Client::of(&small).args(["--mode", "batch"]).args([image(0)]).end();
    assert_ne!(ended.code, Some(0), "{ended:#?}");
    Client::of(&small).args([image(0)]).end().well();
    let log = {
        small.signal("TERM");
        small.end()
    };
    assert!(log.err.contains("bytes of the server's memory"), "{log:#?}");
}

#[test]
fn an_idx_file_without_images_is_named_with_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start();
    let cases: [(&[u8], &str); 3] = [
        (&[0, 0, 8, 1, 0, 0, 0, 2, 7, 7], "three axes"),
        (&[0, 0, 8, 3, 0, 0, 0, 0, 0, 0, 0, 28, 0, 0, 0, 28], "no image"),
        (&[0, 0, 8, 3, 0, 0, 0, 1], "header"),
    ];
    for (bytes, says) in cases {
        let file = dir.path().join("x.idx");
        std::fs::write(&file, bytes).unwrap();
        Client::of(&server).args([&file]).end().refused(3, &["x.idx", says]);
    }
}
