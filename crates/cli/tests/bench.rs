//! `oblivia bench` on the MNIST test set. Without the data the tests are listed as ignored, with the reason.

use libtest_mimic::{Arguments, Failed, Trial};
use oblivia_data::data_dir;
use serde_json::Value;
use std::process::{Command, ExitCode};

type Check = fn() -> Result<(), Failed>;

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let tests: [(&str, Check); 4] = [
        ("a row of the clear reference is right in every count", clear),
        ("a row of leveled is within its declared error", leveled),
        ("a row of two groups of images is right in every count", batch),
        ("a bench in words fits the page", words),
    ];
    let there = data_dir().is_ok_and(|dir| dir.join("mnist").is_dir());
    let trials = tests.into_iter().map(|(name, test)| {
        if there {
            Trial::test(name, test)
        } else {
            let why = "needs mnist/ in ../shared/data or OBLIVIA_DATA";
            Trial::test(format!("{name} [{why}]"), move || Err(why.into())).with_ignored_flag(true)
        }
    });
    let mut trials: Vec<Trial> = trials.collect();
    trials.push(Trial::test("a bench without data says where it is looked for", without_data));
    libtest_mimic::run(&args, trials).exit_code()
}

fn expect(ok: bool, why: impl FnOnce() -> String) -> Result<(), Failed> {
    if ok { Ok(()) } else { Err(why().into()) }
}

fn bench(args: &[&str]) -> Result<String, Failed> {
    let done = Command::new(env!("CARGO_BIN_EXE_oblivia")).arg("bench").args(args).output()?;
    expect(done.status.success(), || format!("{done:?}"))?;
    Ok(String::from_utf8(done.stdout)?)
}

fn row(args: &[&str]) -> Result<Value, Failed> {
    let text = bench(&[args, &["--json"]].concat())?;
    expect(text.lines().count() == 1, || format!("one line is due: {text}"))?;
    Ok(serde_json::from_str(&text)?)
}

fn clear() -> Result<(), Failed> {
    let row = row(&["clear/mnist-cryptonets", "--images", "200", "--link", "10gbit,0ms"])?;
    let is = |field: &str, value: Value| expect(row[field] == value, || format!("{field} in {row}"));
    is("images", 200.into())?;
    is("labels_equal", 200.into())?;
    is("max_output_error", 0.0.into())?;
    is("declared_output_error", 0.0.into())?;
    is("key_bytes", 0.into())?;
    is("as_declared", true.into())?;
    is("rounds", 403.into())?;
    is("link", "10000mbit,0ms".into())?;
    let accuracy = row["accuracy"]["private"].as_f64();
    expect(accuracy >= Some(0.97) && row["accuracy"]["float"].as_f64() == accuracy, || row.to_string())?;
    let memory = &row["peak_memory_bytes"];
    expect(!cfg!(target_os = "linux") || memory["client"].is_u64() && memory["server"].is_u64(), || {
        memory.to_string()
    })
}

fn leveled() -> Result<(), Failed> {
    let row = row(&["leveled/mnist-cryptonets/approximate", "--images", "4"])?;
    let number = |field: &str| row[field].as_f64().unwrap_or(f64::NAN);
    let sound = number("max_output_error") > 0.0
        && number("max_output_error") <= number("declared_output_error")
        && number("labels_equal") == 4.0
        && row["as_declared"] == true
        && row["mode"] == "approximate"
        && row["bytes"]["setup"]["up"].as_f64().unwrap_or(0.0) > number("key_bytes")
        && row["ops_per_image"]["rotations"].as_u64().is_some()
        && row["seconds"]["online"].as_f64() > row["seconds_per_image_median"].as_f64();
    expect(sound, || row.to_string())
}

fn batch() -> Result<(), Failed> {
    let row = row(&["leveled/mnist-cryptonets/batch", "--images", "10003", "--threads", "2"])?;
    let number = |field: &str| row[field].as_f64().unwrap_or(f64::NAN);
    let rate = number("images") / row["seconds"]["online"].as_f64().unwrap_or(f64::NAN);
    let sound = number("max_output_error") > 0.0
        && number("max_output_error") <= number("declared_output_error")
        && number("labels_equal") == 10003.0
        && row["as_declared"] == true
        && row["mode"] == "batch"
        && number("images_per_group") == 8192.0
        && row["ops_per_image"].is_null()
        && row["ops_per_group"]["rotations"] == 0
        && row["seconds_per_image_median"].is_null()
        && number("seconds_per_group_median") > 0.0
        && (number("images_per_second") - rate).abs() < 1e-3 * rate;
    expect(sound, || row.to_string())
}

fn words() -> Result<(), Failed> {
    let text = bench(&["clear/mnist-cryptonets", "--images", "3"])?;
    expect(
        text.contains("labels    3 equal the clear network's") && text.contains("receipt   3 images"),
        || text.clone(),
    )?;
    expect(text.lines().all(|l| l.chars().count() <= 100), || text.clone())
}

fn without_data() -> Result<(), Failed> {
    let done = Command::new(env!("CARGO_BIN_EXE_oblivia"))
        .args(["bench", "clear/mnist-cryptonets"])
        .env("OBLIVIA_DATA", "/no/such/folder")
        .output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    expect(done.status.code() == Some(3) && said.contains("OBLIVIA_DATA names /no/such/folder"), || {
        format!("{done:?}")
    })
}
