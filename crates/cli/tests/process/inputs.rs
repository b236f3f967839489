//! Files that are not what they should be: the message says what, where and what to do.

use crate::common::{Client, Running, Server, copied_model, image, model, oblivia, root, run};
use std::fs;
use std::path::Path;

/// Every command that reads a model ends with this code and these words.
pub(crate) fn refused_everywhere(path: &Path, code: i32, words: &[&str]) {
    let state = tempfile::tempdir().unwrap();
    let path = path.as_os_str();
    run(["inspect".as_ref(), path]).refused(code, words);
    run(["plan".as_ref(), path]).refused(code, words);
    let mut serve = oblivia();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--until-stdin-ends", "--state-dir"]).arg(state.path());
    Running::start(serve.arg("--model").arg(path)).end().refused(code, words);
}

#[test]
fn a_file_that_is_no_onnx_is_named_with_the_place_of_the_fault() {
    refused_everywhere(
        &root().join("ARCHITECTURE.md"),
        3,
        &["ARCHITECTURE.md", "not a valid ONNX file", "at byte"],
    );
}

#[test]
fn a_truncated_model_is_named_with_the_place_of_the_fault() {
    let dir = copied_model();
    let file = dir.path().join("model.onnx");
    let whole = fs::read(&file).unwrap();
    for kept in [whole.len() / 2, whole.len() - 1] {
        fs::write(&file, &whole[..kept]).unwrap();
        let place = dir.path().display().to_string();
        refused_everywhere(dir.path(), 3, &[&place, "not a valid ONNX file", "at byte", "copy it again"]);
    }
    fs::write(&file, b"").unwrap();
    assert_eq!(run(["inspect".as_ref(), file.as_os_str()]).code, Some(3));
}

#[test]
fn a_damaged_model_never_ends_in_a_panic() {
    let dir = copied_model();
    let file = dir.path().join("model.onnx");
    let whole = fs::read(&file).unwrap();
    // The weights begin after the first few hundred bytes; the structure is what is worth damaging.
    for at in (0..400).step_by(29) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        fs::write(&file, &bytes).unwrap();
        let ended = run(["inspect".as_ref(), dir.path().as_os_str()]);
        assert!(matches!(ended.code, Some(0 | 3)), "byte {at}: {ended:#?}");
    }
}

#[test]
fn an_unknown_operator_is_named_with_its_node_and_what_is_known() {
    let dir = copied_model();
    let file = dir.path().join("model.onnx");
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(7).position(|w| w == b"Flatten").unwrap();
    bytes[at..at + 7].copy_from_slice(b"Flotten");
    fs::write(&file, bytes).unwrap();
    let place = dir.path().display().to_string();
    refused_everywhere(dir.path(), 3, &[&place, "Flotten", "node `flatten`", "Flatten Gemm", "are known"]);
}

#[test]
fn an_unknown_field_of_the_manifest_is_named_with_its_line() {
    let dir = copied_model();
    let file = dir.path().join("model.toml");
    let text = fs::read_to_string(&file).unwrap().replacen("version =", "versoin =", 1);
    fs::write(&file, text).unwrap();
    let place = file.display().to_string();
    refused_everywhere(dir.path(), 3, &[&place, "unknown field `versoin`", "line 5", "expected one of"]);
}

#[test]
fn a_manifest_that_does_not_fit_the_model_says_how() {
    let dir = copied_model();
    let file = dir.path().join("model.toml");
    let text = fs::read_to_string(&file).unwrap().replacen("\"8\", \"9\"", "\"8\"", 1);
    fs::write(&file, text).unwrap();
    refused_everywhere(dir.path(), 3, &["model.toml", "9 labels for 10 outputs"]);
}

#[test]
fn a_model_that_is_not_there_is_an_input_output_error() {
    refused_everywhere(Path::new("no/such/model.onnx"), 6, &["no/such/model.onnx", "No such file"]);
    let empty = tempfile::tempdir().unwrap();
    refused_everywhere(empty.path(), 6, &["model.onnx", "No such file"]);
}

#[test]
fn two_models_of_one_name_cannot_be_served_together() {
    let state = tempfile::tempdir().unwrap();
    let copy = copied_model();
    let mut serve = oblivia();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--state-dir"]).arg(state.path());
    serve.arg("--model").arg(model()).arg("--model").arg(copy.path());
    Running::start(&mut serve).end().refused(3, &["two models are called `mnist-cryptonets`", "model.toml"]);
}

#[test]
fn images_that_do_not_fit_are_named_with_what_would() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let large = dir.path().join("large.png");
    image::GrayImage::new(32, 32).save(&large).unwrap();
    let colour = dir.path().join("colour.png");
    image::RgbImage::from_fn(28, 28, |x, y| image::Rgb([x as u8, y as u8, 0])).save(&colour).unwrap();
    for (file, words) in [
        (&large, ["large.png", "32×32 grey", "28×28 grey", "crop or scale"]),
        (&colour, ["colour.png", "28×28 colour", "28×28 grey", "convert it to grey"]),
    ] {
        // The good image beside it gets its label, and the server, which chose what fits, sees no difference.
        let ended = Client::of(&server).clear().args([file, &image(0)]).end().refused(3, &words);
        let rows: Vec<&str> =
            ended.out.lines().take(2).map(|l| l.split_whitespace().nth(1).unwrap()).collect();
        assert_eq!(rows, ["none", "7"], "{ended:#?}");
        assert!(ended.out.contains("bytes and rounds are exactly what the plan said"), "{ended:#?}");
        let ended =
            Client::of(&server).clear().args([file, &image(0)]).args(["--json"]).end().refused(3, &words);
        let images = &ended.json()["images"];
        assert!(images[0]["label"].is_null() && images[0]["outputs"].is_null(), "{images}");
        assert!(images[0]["error"].as_str().is_some_and(|e| e.contains(words[3])), "{images}");
        assert!(images[1]["label"] == "7" && images[1]["error"].is_null(), "{images}");
    }
}

#[test]
fn files_that_are_no_images_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text.png");
    fs::write(&text, "no picture").unwrap();
    let cut = dir.path().join("cut.png");
    let whole = fs::read(image(0)).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let array = dir.path().join("array.npy");
    fs::write(&array, "no array").unwrap();
    let nowhere = ("127.0.0.1:1", "00".repeat(32));
    for (file, words) in [
        (&text, ["text.png", "neither PNG nor JPEG"]),
        (&cut, ["cut.png", "not a readable image"]),
        (&array, ["array.npy", "not a readable npy file"]),
    ] {
        Client::at(nowhere.0, &nowhere.1).args([file]).end().refused(3, &words);
    }
    Client::at(nowhere.0, &nowhere.1)
        .args(["no/such.png"])
        .end()
        .refused(6, &["no/such.png", "No such file"]);
}

#[test]
fn a_folder_without_images_says_what_is_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.txt"), "").unwrap();
    let place = dir.path().display().to_string();
    Client::at("127.0.0.1:1", &"00".repeat(32))
        .args([dir.path()])
        .end()
        .refused(3, &[".png", ".npy", &place]);
}

#[test]
fn a_demonstration_without_samples_says_where_they_should_be() {
    let clone = tempfile::tempdir().unwrap();
    let there = clone.path().join("models/mnist-cryptonets");
    fs::create_dir_all(&there).unwrap();
    for file in ["model.onnx", "model.toml"] {
        fs::copy(model().join(file), there.join(file)).unwrap();
    }
    let samples = clone.path().join("samples/mnist");
    fs::create_dir_all(&samples).unwrap();
    let demo = || Running::start(oblivia().args(["demo", "--images", "3"]).current_dir(clone.path())).end();
    demo().refused(6, &["samples/mnist/labels.csv", "No such file"]);
    fs::write(samples.join("labels.csv"), "file,label\n").unwrap();
    demo().refused(3, &["3 images asked for", "samples/mnist has 0", "--images"]);
}

#[test]
fn a_policy_with_a_line_that_is_no_fingerprint_names_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("admitted");
    fs::write(&file, format!("{}\nnobody\n", "ab".repeat(32))).unwrap();
    let state = dir.path().join("state");
    let serve = |policy: &Path| {
        let mut serve = oblivia();
        serve.args(["serve", "--listen", "127.0.0.1:0", "--until-stdin-ends", "--state-dir"]).arg(&state);
        Running::start(serve.arg("--model").arg(model()).arg("--policy").arg(policy)).end()
    };
    serve(&file).refused(3, &["admitted", "line 2 is not a fingerprint", "64 hexadecimal digits"]);
    serve(&dir.path().join("nobody")).refused(6, &["nobody", "No such file"]);
    fs::write(&file, [0xff, 0xfe]).unwrap();
    serve(&file).refused(3, &["admitted", "is not text"]);
}
