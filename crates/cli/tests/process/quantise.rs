//! `quantise`: a model with ReLU brought to fixed point on the shipped images.

use crate::common::{Ended, MODEL, copied, image, model, root, run};
use crate::inputs::refused_everywhere;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const FILES: [&str; 3] = ["model.onnx", "model.toml", "calibration.toml"];

/// A copy of the shipped model with ReLU, without its fixed point.
fn bare() -> TempDir {
    let dir = copied("mnist-bm3", &FILES[..2]);
    let text = manifest(dir.path());
    let (rest, _) = text.split_once("\n[fixed_point]").unwrap();
    fs::write(dir.path().join("model.toml"), rest).unwrap();
    dir
}

fn manifest(dir: &Path) -> String {
    fs::read_to_string(dir.join("model.toml")).unwrap()
}

/// The shipped images, with their labels.
fn images() -> PathBuf {
    root().join("samples/mnist")
}

fn quantise(model: &Path, flags: &[&str]) -> Ended {
    let all = [OsStr::new("quantise"), model.as_os_str()].into_iter().chain(flags.iter().map(OsStr::new));
    run(all)
}

/// On the shipped images.
fn on_images(model: &Path, flags: &[&str]) -> Ended {
    let images = images();
    quantise(model, &[&["--images", images.to_str().unwrap()], flags].concat())
}

#[test]
fn a_model_is_measured_checked_and_written_and_the_rest_of_its_manifest_stays() {
    let dir = bare();
    let before = manifest(dir.path());
    let shown = on_images(dir.path(), &["--calibrate", "100", "--dry-run"]).well();
    for words in [
        "calibrated on 100 images",
        "conv2   Conv 5×5",
        "100.00 % of 100 other",
        "(--dry-run)",
        "no image left them",
    ] {
        assert!(shown.out.contains(words), "{words:?} is not in {}", shown.out);
    }
    assert!(shown.out.lines().all(|l| l.chars().count() <= 100), "{}", shown.out);
    assert!(manifest(dir.path()) == before && !dir.path().join("calibration.toml").exists());

    let ended = on_images(dir.path(), &["--calibrate", "100"]).well();
    assert!(ended.out.contains("float 100.00 %, fixed point 100.00 % right"), "{}", ended.out);
    assert!(ended.out.contains("(secret, like the weights)"), "{}", ended.out);
    let first = manifest(dir.path());
    assert!(first.starts_with(before.trim_end()) && first.contains("\nbits = 16 "), "{first}");
    // None of 100: 1 − 0.05^(1/100), rounded up.
    assert!(first.contains("\noverflow = 0.03 "), "{first}");
    run([OsStr::new("inspect"), dir.path().as_os_str()]).well();

    on_images(dir.path(), &["--calibrate", "100", "--bits", "18", "--weight-bits", "9"]).well();
    let second = manifest(dir.path());
    let split = |text: &str| {
        let (rest, error) = text.rsplit_once("\nerror = ").expect("what was seen is declared");
        (rest.to_owned(), error.split(' ').next().and_then(|e| e.parse::<f64>().ok()).expect("a number"))
    };
    let ((first, coarse), (second, fine)) = (split(&first), split(&second));
    assert_eq!(
        second,
        first.replace("\nbits = 16 ", "\nbits = 18 ").replace("weight_bits = 8 ", "weight_bits = 9 ")
    );
    assert!(0.0 < fine && fine < coarse, "more bits are nearer: {fine} and {coarse}");
}

#[cfg(unix)]
#[test]
fn the_calibration_is_its_owners_alone_and_the_manifest_stays_everyones() {
    use std::os::unix::fs::PermissionsExt;
    let dir = bare();
    let mode = |file: &str| fs::metadata(dir.path().join(file)).unwrap().permissions().mode() & 0o777;
    fs::set_permissions(dir.path().join("model.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    on_images(dir.path(), &["--calibrate", "5", "--check", "5"]).well();
    assert_eq!((mode("calibration.toml"), mode("model.toml")), (0o600, 0o644));
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), FILES.len(), "{names:?}");
}

#[test]
fn what_is_printed_as_json_has_the_documented_fields() {
    let dir = bare();
    let json = on_images(dir.path(), &["--calibrate", "20", "--check", "30", "--json"]).well().json();
    assert_eq!((json["schema"].as_u64(), json["model"].as_str()), (Some(1), Some("mnist-bm3")));
    assert_eq!(
        (json["certainty"].as_str(), json["calibration_images"].as_u64()),
        (Some("calibrated"), Some(20))
    );
    let checked = &json["checked"];
    assert_eq!((checked["images"].as_u64(), checked["float_accuracy"].as_f64()), (Some(30), Some(1.0)));
    assert!(checked["max_error"].as_f64() > Some(0.0) && checked["max_output"].as_f64() > Some(1.0));
    assert!(checked["outside"] == 0 && json["overflow"].as_f64() > Some(0.09), "{json:#}");
    let layers = json["layers"].as_array().unwrap();
    assert_eq!(layers.iter().map(|l| &l["name"]).collect::<Vec<_>>(), ["conv1", "conv2", "dense1", "dense2"]);
    let sum = |a: &str, b: &str| layers[0][a].as_u64().unwrap() + layers[0][b].as_u64().unwrap();
    assert_eq!(Some(sum("bits", "shift")), layers[0]["accumulator_bits"].as_u64());
    assert_eq!(json["written"].as_array().unwrap().len(), 2);

    // Without labels there is agreement and no accuracy; without images neither.
    let some = image(0).display().to_string();
    let other = image(1).display().to_string();
    let flags = ["--images", &some, &other, "--calibrate", "1", "--json", "--dry-run"];
    let json = quantise(dir.path(), &flags).well().json();
    assert!(json["checked"]["float_accuracy"].is_null() && json["checked"]["same_first"] == 1.0, "{json:#}");
    assert_eq!(json["written"].as_array().map(Vec::len), Some(0));
    let json = quantise(dir.path(), &["--static", "--bits", "20", "--json"]).well().json();
    assert!(
        json["checked"].is_null() && json["overflow"].is_null() && json["certainty"] == "static",
        "{json:#}"
    );
    assert_eq!(json["written"].as_array().map(Vec::len), Some(1));
    assert!(!manifest(dir.path()).contains("\ncalibration = "));
    run([OsStr::new("inspect"), dir.path().as_os_str()]).well();
}

#[test]
fn arrays_of_many_images_have_their_labels_beside_them() {
    let dir = bare();
    let (x, y) = (dir.path().join("set_x.npy"), dir.path().join("set_y.npy"));
    let npy = |shape: &str, data: &[u8]| {
        let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
    };
    let pixels: Vec<u8> =
        (0..4).flat_map(|i| image::open(image(i)).unwrap().into_luma8().into_raw()).collect();
    fs::write(&x, npy("(4, 28, 28, 1)", &pixels)).unwrap();
    let check = |flags: &[&str]| {
        let set = x.to_str().unwrap();
        quantise(dir.path(), &[&["--images", set, "--calibrate", "2", "--json", "--dry-run"], flags].concat())
    };
    assert!(check(&[]).well().json()["checked"]["float_accuracy"].is_null());
    // The shipped images begin with 7, 2, 1, 0; the last is said to be a 3.
    fs::write(&y, npy("(4,)", &[7, 2, 1, 3])).unwrap();
    assert_eq!(check(&[]).well().json()["checked"]["float_accuracy"].as_f64(), Some(0.5));
    fs::write(&y, npy("(4,)", &[8, 3, 2, 1])).unwrap();
    assert_eq!(check(&["--first-label", "1"]).well().json()["checked"]["float_accuracy"].as_f64(), Some(1.0));
    check(&["--first-label", "2"]).refused(3, &["set_x.npy#3", "label 1 is none", "--first-label"]);
    // A folder holds both, and the labels are no images.
    fs::remove_file(dir.path().join("model.toml")).unwrap();
    let folder = dir.path().to_str().unwrap();
    let whole = bare();
    let json = quantise(whole.path(), &["--images", folder, "--calibrate", "1", "--json", "--dry-run"])
        .well()
        .json();
    assert_eq!(json["checked"]["images"].as_u64(), Some(3));
}

#[test]
fn images_that_are_larger_are_cropped_only_if_that_is_asked_for() {
    let dir = bare();
    let large = tempfile::tempdir().unwrap();
    for i in 0..2 {
        let mut wide = image::GrayImage::new(32, 30);
        image::imageops::overlay(&mut wide, &image::open(image(i)).unwrap().into_luma8(), 2, 1);
        wide.save(large.path().join(format!("{i}.png"))).unwrap();
    }
    let flags = ["--images", large.path().to_str().unwrap(), "--calibrate", "1", "--dry-run"];
    quantise(dir.path(), &flags).refused(3, &["0.png", "32×30 grey", "28×28 grey"]);
    quantise(dir.path(), &[&flags[..], &["--centre-crop"]].concat()).well();
}

#[test]
fn what_cannot_be_quantised_says_what_to_do() {
    let dir = bare();
    quantise(dir.path(), &[]).refused(2, &["--images", "--static"]);
    on_images(dir.path(), &["--calibrate", "200"])
        .refused(3, &["200 images given", "--calibrate 200", "none to check on"]);
    on_images(dir.path(), &["--bits", "7"]).refused(2, &["7 is not in 8..=32"]);
    quantise(dir.path(), &["--images", "no/such.png"]).refused(6, &["no/such.png"]);
    quantise(&model(), &["--static", "--dry-run"]).refused(3, &["squares are not done in fixed point"]);
    fs::remove_file(dir.path().join("model.toml")).unwrap();
    quantise(dir.path(), &["--static"])
        .refused(3, &["has no model.toml", "hint: write one", "book/model.md"]);
}

#[test]
fn a_calibration_that_does_not_fit_is_refused_everywhere_and_made_again() {
    let dir = copied("mnist-bm3", &FILES);
    let file = dir.path().join("calibration.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("name = \"conv2\"", "name = \"conv9\"", 1)).unwrap();
    refused_everywhere(
        dir.path(),
        3,
        &["calibration.toml", "`conv9`, the model's is `conv2`", "oblivia quantise"],
    );
    fs::remove_file(&file).unwrap();
    refused_everywhere(dir.path(), 6, &["calibration.toml", "No such file", "model.toml names it"]);
    on_images(dir.path(), &["--calibrate", "10", "--check", "10"]).well();
    run([OsStr::new("inspect"), dir.path().as_os_str()]).well();
}

#[test]
fn a_model_that_has_no_fixed_point_is_refused_with_the_section_that_asks_for_it() {
    let dir = copied(MODEL, &FILES[..2]);
    let text = manifest(dir.path()) + "\n[fixed_point]\npublished = true\nbits = 20\nweight_bits = 8\n";
    fs::write(dir.path().join("model.toml"), &text).unwrap();
    let words = ["[fixed_point] of model `mnist-cryptonets`", "squares are not done", "delete the section"];
    refused_everywhere(dir.path(), 3, &words);
    let hidden = text.replace("published = true\nbits", "published = false\nbits");
    fs::write(dir.path().join("model.toml"), hidden).unwrap();
    refused_everywhere(dir.path(), 3, &["model.toml", "fixed_point.published must be true"]);
}
