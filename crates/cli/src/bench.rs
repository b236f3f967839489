//! `oblivia bench`: one row, measured over loopback TLS with client and server in processes of their own.

use crate::args::BenchArgs;
use crate::inputs::repository;
use crate::output::{bytes, count, entry, json_line, out, seconds};
use crate::process::{Scratch, ServerProcess, own_peak_memory_bytes};
use crate::progress::Watch;
use crate::receipt::render;
use crate::testset::{Sample, samples};
use anyhow::Result;
use oblivia::{Ask, Client, Input, Machine, Prediction, Trust, load_model};
use oblivia_net::{ConnectOptions, parse_fingerprint};
use oblivia_nn::{Tensor, eval};
use oblivia_protocol::{Answer, Leak, OpCounts, Role, Seconds, Traffic, Wish};
use serde::Serialize;

/// One measured row; see ARCHITECTURE.md, conventions.
#[derive(Serialize, Debug)]
struct Row {
    schema: u32,
    id: String,
    system: String,
    model: String,
    mode: String,
    plan: String,
    images: u64,
    images_per_group: u32,
    threads: usize,
    link: String,
    warm: bool,
    runs: u32,
    seconds: Seconds,
    seconds_of_runs: Vec<f64>,
    seconds_per_image_median: Option<f64>,
    seconds_per_group_median: f64,
    images_per_second: f64,
    bytes: Bytes,
    rounds: u64,
    ops_per_image: Option<OpCounts>,
    ops_per_group: OpCounts,
    key_bytes: u64,
    peak_memory_bytes: PeakMemory,
    accuracy: Accuracy,
    labels_equal: u64,
    /// What labels are compared with.
    #[serde(skip)]
    labels_of: &'static str,
    /// Which network's outputs the error is from: that the declared one is about.
    output_error_from: &'static str,
    max_output_error: f64,
    declared_output_error: f64,
    as_declared: bool,
    learned: Learned,
    plan_id: String,
    cpu: String,
    commit: &'static str,
}

#[derive(Serialize, Debug)]
struct Bytes {
    setup: UpDown,
    offline: UpDown,
    online: UpDown,
}

#[derive(Serialize, Debug)]
struct UpDown {
    up: u64,
    down: u64,
}

#[derive(Serialize, Debug)]
struct PeakMemory {
    client: Option<u64>,
    server: Option<u64>,
}

/// Shares of labels that are right; none of what is not there or has no labels.
#[derive(Serialize, Debug)]
struct Accuracy {
    float: Option<f64>,
    fixed: Option<f64>,
    private: Option<f64>,
}

#[derive(Serialize, Debug)]
struct Learned {
    client: Vec<String>,
    server: Vec<String>,
}

pub(crate) fn run(a: &BenchArgs) -> Result<()> {
    let root = repository()?;
    let folder = root.join("models").join(a.id.folder);
    let model = load_model(&folder)?;
    // Measuring a system is asking for what it reveals, and whatever it takes is what is measured.
    let wish = Wish {
        mode: a.id.mode.map(str::to_owned),
        plan: a.plan.clone(),
        accepted_leaks: Leak::ALL.to_vec(),
        max_bytes: Some(a.max_bytes.unwrap_or(u64::MAX)),
        group: a.group,
        link: if a.plan.is_none() { a.link.map(|l| l.rate()) } else { None },
        max_memory: Some(u64::MAX),
        ..Wish::default()
    };
    let wanted = match a.images {
        Some(n) => n,
        None => DEFAULT_IMAGES.max(a.id.system.plan(&oblivia::served(&model)?.public, &wish)?.cost.group),
    };
    let set = samples(&model.public, wanted as usize, a.id.offset)?;
    let inputs: Vec<Input> = set.iter().map(|s| s.input.clone()).collect();

    let state = Scratch::new()?;
    let server = ServerProcess::start(&folder, &state.path().join("server"), a.threads)?;
    let pin = Trust::Pin(parse_fingerprint(&server.at.fingerprint)?);
    // A folder of its own is a client nobody has seen before.
    let client = |run: u32| {
        let connect = ConnectOptions { shape: a.link, ..ConnectOptions::default() };
        let (state, machine) = (state.path().join(format!("client{run}")), Machine::new(a.threads)?);
        anyhow::Ok(Client::with_state(&server.at.listening, pin.clone(), &state, machine, connect)?)
    };
    let measure = |client: &Client, inputs: &[Input]| {
        let mut watch = Watch::new(inputs.len() as u64);
        let ask = Ask {
            model: &model.public.name,
            system: a.id.system.id(),
            wish: wish.clone(),
            max_time: None,
            confirm: &mut |_, _| Ok(()),
            observer: &mut watch,
        };
        let done = client.ask(ask, inputs);
        watch.done()?;
        Ok::<_, anyhow::Error>(done?)
    };
    let mut runs = Vec::new();
    for run in 0..a.runs {
        let client = client(run)?;
        if a.warm {
            measure(&client, inputs.get(..1).unwrap_or_default())?;
        }
        runs.push(measure(&client, &inputs)?);
    }
    runs.sort_by(|a, b| a.receipt.seconds.total().total_cmp(&b.receipt.seconds.total()));
    let totals: Vec<f64> = runs.iter().map(|r| r.receipt.seconds.total()).collect();
    // What is shown is the run whose total is the median.
    let Some(prediction) = runs.into_iter().nth(totals.len() / 2) else { return Ok(()) };
    // Before the reference is computed here, which no client does.
    let peak = PeakMemory { client: own_peak_memory_bytes(), server: server.peak_memory_bytes() };
    let expected: Vec<Tensor> = inputs
        .iter()
        .map(|x| Ok(eval::run(&model, &oblivia::tensor(&model.public, x)?)?))
        .collect::<Result<_>>()?;
    let folded = oblivia::served(&model)?;
    let reference = a.id.system.reference(&prediction.receipt.plan, &folded)?;
    let fixed: Option<Vec<Tensor>> = reference
        .map(|m| {
            inputs.iter().map(|x| Ok(m.eval(&oblivia::tensor(&model.public, x)?)?)).collect::<Result<_>>()
        })
        .transpose()?;
    let fixed = fixed.as_deref();
    let measured =
        Measured { prediction: &prediction, totals: &totals, set: &set, expected: &expected, fixed, peak };
    let row = row(a, measured);
    if a.json { json_line(&row) } else { out(&(describe(&row) + &render(&prediction.receipt))) }
}

/// Images where none are asked for, if a group does not hold more.
const DEFAULT_IMAGES: u32 = 100;

/// The row in words.
fn describe(row: &Row) -> String {
    let peak = |n: Option<u64>| n.map_or_else(|| "unknown".to_owned(), bytes);
    let images = count(row.images, "image");
    let start = if row.warm { "warm" } else { "from a cold start" };
    let runs = match row.seconds_of_runs.as_slice() {
        [first, .., last] => {
            format!(", the median of {} runs of {} to {}", row.runs, seconds(*first), seconds(*last))
        }
        _ => String::new(),
    };
    let accuracy = match (row.accuracy.private, row.accuracy.float) {
        (Some(private), Some(float)) => entry(
            "accuracy",
            &format!("{:.2} % of labels right, {:.2} % in the clear", 100.0 * private, 100.0 * float),
        ),
        _ => String::new(),
    };
    entry("bench", &format!("{}, {images}, link {}, {start}{runs}", row.id, row.link))
        + &entry("labels", &format!("{} equal the {}", row.labels_equal, row.labels_of))
        + &accuracy
        + &entry(
            "outputs",
            &format!(
                "largest difference from the {} {:.5}; declared {:.5}",
                row.output_error_from, row.max_output_error, row.declared_output_error
            ),
        )
        + &entry("rate", &rate(row))
        + &entry(
            "memory",
            &format!(
                "client {}, server {} at most",
                peak(row.peak_memory_bytes.client),
                peak(row.peak_memory_bytes.server)
            ),
        )
        + &entry("machine", &row.cpu)
        + &entry("commit", row.commit)
        + "\n"
}

/// Images per second, and the time of what is predicted together.
fn rate(row: &Row) -> String {
    let what = match row.images_per_group {
        1 => "image".to_owned(),
        n => format!("group of up to {}", count(n.into(), "image")),
    };
    format!(
        "{} images/s online, with encryption, sending and decryption; {} per {what} (median)",
        figure(row.images_per_second),
        seconds(row.seconds_per_group_median)
    )
}

/// Three digits at least.
fn figure(x: f64) -> String {
    if x < 99.95 { format!("{x:.3}") } else { crate::output::thousands(x.round() as u64) }
}

/// What a run gives.
struct Measured<'a> {
    prediction: &'a Prediction,
    /// Seconds of all runs, ascending.
    totals: &'a [f64],
    set: &'a [Sample],
    /// Outputs of the clear network.
    expected: &'a [Tensor],
    /// Outputs of the network in whole numbers, where that is what the plan computes.
    fixed: Option<&'a [Tensor]>,
    peak: PeakMemory,
}

fn row(a: &BenchArgs, measured: Measured<'_>) -> Row {
    let Measured { prediction: p, totals, set, expected, fixed, peak } = measured;
    let r = &p.receipt;
    let up_down = |t: Traffic| UpDown { up: t.up_bytes, down: t.down_bytes };
    let private: Vec<Option<usize>> =
        p.outputs.iter().map(|o| o.as_ref().ok().and_then(Tensor::argmax)).collect();
    let float: Vec<Option<usize>> = expected.iter().map(Tensor::argmax).collect();
    let right = |labels: &[Option<usize>]| {
        let hits = labels.iter().zip(set).filter(|(l, s)| s.label.is_some() && **l == s.label).count();
        let known = set.iter().filter(|s| s.label.is_some()).count();
        (known > 0).then(|| hits as f64 / known as f64)
    };
    let fixed_labels = fixed.map(|f| f.iter().map(Tensor::argmax).collect::<Vec<_>>());
    // What the plan claims to compute.
    let reference = fixed_labels.as_ref().unwrap_or(&float);
    // What an owner measured is the difference from the float network.
    let (claimed, from) = match fixed.filter(|_| !r.plan.error.measured) {
        Some(fixed) => (fixed, "fixed network's"),
        None => (expected, "clear network's"),
    };
    let equal = private.iter().zip(reference).filter(|(a, b)| a == b).count();
    let error = |(a, b): (&Answer, &Tensor)| match a {
        Ok(a) => a.data().iter().zip(b.data()).map(|(x, y)| f64::from((x - y).abs())).fold(0.0, f64::max),
        Err(_) => f64::MAX,
    };
    let mut seconds: Vec<f64> = p.samples.iter().map(|s| s.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let learned = |role| r.plan.learned_by(role).map(|s| s.detail.clone()).collect();
    let choices = &r.plan.choices;
    let median = seconds.get(seconds.len() / 2).copied().unwrap_or_default();
    let single = r.plan.cost.group == 1;
    Row {
        schema: 1,
        id: a.id.text.clone(),
        system: choices.system.clone(),
        model: r.model.clone(),
        mode: choices.mode.clone(),
        plan: choices.plan.clone(),
        images: r.samples,
        threads: r.threads,
        warm: a.warm,
        link: a.link.map_or_else(|| "loopback".to_owned(), |l| l.to_string()),
        runs: totals.len() as u32,
        seconds: r.seconds,
        seconds_of_runs: totals.to_vec(),
        images_per_group: r.plan.cost.group,
        seconds_per_image_median: single.then_some(median),
        seconds_per_group_median: median,
        images_per_second: r.samples as f64 / r.seconds.online.max(f64::MIN_POSITIVE),
        bytes: Bytes {
            setup: up_down(r.traffic.setup),
            offline: up_down(r.traffic.offline),
            online: up_down(r.traffic.online),
        },
        rounds: r.traffic.setup.rounds + r.traffic.offline.rounds + r.traffic.online.rounds,
        ops_per_image: single.then_some(r.plan.cost.ops),
        ops_per_group: r.plan.cost.ops,
        key_bytes: r.plan.key_bytes,
        peak_memory_bytes: peak,
        accuracy: Accuracy {
            float: right(&float),
            fixed: fixed_labels.as_deref().and_then(right),
            private: right(&private),
        },
        labels_equal: equal as u64,
        labels_of: match fixed {
            Some(_) => "network's in whole numbers or fixed point",
            None => "clear network's",
        },
        output_error_from: from,
        max_output_error: p.outputs.iter().zip(claimed).map(error).fold(0.0, f64::max),
        declared_output_error: r.plan.error.value(),
        as_declared: r.as_declared(),
        learned: Learned { client: learned(Role::Client), server: learned(Role::Server) },
        plan_id: r.plan_id.clone(),
        cpu: cpu(),
        commit: env!("OBLIVIA_COMMIT"),
    }
}

fn cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name =
        text.lines().find_map(|l| l.strip_prefix("model name")?.split_once(':').map(|(_, n)| n.trim()));
    let ifma = if text.contains("avx512ifma") { ", AVX-512 IFMA" } else { "" };
    format!("{}{ifma}", name.unwrap_or(std::env::consts::ARCH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;
    use oblivia::SampleRecord;
    use oblivia_data::Pixels;
    use oblivia_nn::Shape;
    use oblivia_protocol::{AheadUse, KeyReceipt, KeyUse, PhaseTraffic, Receipt};
    use serde_json::Value;
    use std::sync::Arc;

    /// A run of three images, one of which the private network and one of which both networks get wrong.
    fn measured_row() -> Row {
        let parsed =
            Cli::parse_from(["oblivia", "bench", "leveled/mnist-cryptonets", "--link", "100mbit,40ms"]);
        let Command::Bench(a) = parsed.command else { panic!("bench was asked for") };
        let root = repository().unwrap();
        let model = load_model(&root.join("models/mnist-cryptonets")).unwrap();
        let public = oblivia::served(&model).unwrap().public;
        let plan = a.id.system.plan(&public, &Wish::default()).unwrap();
        let one_hot = |label: usize, height: f32| {
            let data = (0..10).map(|i| if i == label { height } else { 0.0 }).collect();
            Tensor::new(Shape::new([10]).unwrap(), data).unwrap()
        };
        let pixels = Pixels::new(28, 28, 1, vec![0; 784]).unwrap();
        let set = [1, 2, 3].map(|label| Sample { input: Input::Image(pixels.clone()), label: Some(label) });
        let expected = [one_hot(1, 2.0), one_hot(2, 2.0), one_hot(7, 2.0)];
        let outputs = vec![one_hot(1, 2.25), one_hot(5, 1.0), one_hot(7, 2.0)];
        let times = [0.3, 0.1, 0.2];
        let record = |seconds| SampleRecord { seconds, traffic: Traffic::default() };
        let phase = |up_bytes| Traffic { up_bytes, down_bytes: up_bytes + 1, rounds: 2 };
        let receipt = Receipt {
            keys: KeyReceipt::of(&plan, KeyUse::Sent),
            schema: 1,
            model: public.name.clone(),
            plan_id: plan.digest().short(),
            plan,
            samples: 3,
            ahead: AheadUse::None,
            agreement: Traffic::default(),
            traffic: PhaseTraffic { setup: phase(10), offline: phase(20), online: phase(30) },
            ops: OpCounts::default(),
            seconds: Seconds { setup: 1.0, offline: 0.5, online: 0.6 },
            threads: 1,
            allowance: None,
            assurance: String::new(),
        };
        let prediction = Prediction {
            model: Arc::new(public),
            outputs: outputs.into_iter().map(Ok).collect(),
            samples: times.map(record).to_vec(),
            receipt,
            ends: None,
            log: None,
        };
        let peak = PeakMemory { client: Some(5), server: None };
        row(
            &a,
            Measured {
                prediction: &prediction,
                totals: &[2.0, 2.1, 2.5],
                set: &set,
                expected: &expected,
                fixed: None,
                peak,
            },
        )
    }

    #[test]
    fn a_row_has_the_agreed_fields_and_no_others() {
        let row = serde_json::to_value(measured_row()).unwrap();
        let keys =
            |v: &Value| v.as_object().map(|o| o.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
        let mut expected =
            "schema id system model mode plan images threads link warm runs seconds seconds_of_runs seconds_per_image_median \
                            seconds_per_group_median images_per_group images_per_second bytes rounds \
                            ops_per_image ops_per_group key_bytes peak_memory_bytes accuracy labels_equal \
                            max_output_error output_error_from declared_output_error as_declared learned plan_id cpu commit"
                .split_whitespace()
                .collect::<Vec<_>>();
        let mut found = keys(&row);
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
        for (field, inner) in [
            ("seconds", "offline online setup"),
            ("bytes", "offline online setup"),
            ("peak_memory_bytes", "client server"),
            ("accuracy", "fixed float private"),
            ("learned", "client server"),
            ("ops_per_image", "add ct_mul hoisted ntt pt_mul relin rescale rotations scalar_mul"),
        ] {
            let mut found = keys(&row[field]);
            found.sort_unstable();
            assert_eq!(found.join(" "), inner, "{field}");
        }
        assert_eq!(row["bytes"]["offline"], serde_json::json!({ "up": 20, "down": 21 }));
    }

    #[test]
    fn a_row_has_the_commit_that_the_program_was_built_from() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut git = std::process::Command::new("git");
        git.arg("-C").arg(&root).args(["rev-parse", "--short=12", "HEAD"]);
        let here = root.join(".git").exists().then(|| git.output().ok()).flatten();
        let hash = here.filter(|out| out.status.success()).map(|out| String::from_utf8(out.stdout).unwrap());
        let commit = measured_row().commit;
        assert_eq!(commit.trim_end_matches('+'), hash.as_deref().map_or("unknown", str::trim));
    }

    #[test]
    fn a_row_counts_labels_errors_and_the_median_time() {
        let row = measured_row();
        assert_eq!((row.labels_equal, row.images, row.rounds), (2, 3, 6));
        let third = 1.0 / 3.0;
        assert_eq!((row.accuracy.float, row.accuracy.private), (Some(2.0 * third), Some(third)));
        assert_eq!((row.max_output_error, row.seconds_per_image_median), (2.0, Some(0.2)));
        assert_eq!((row.schema, row.link.as_str(), row.threads), (1, "100mbit,40ms", 1));
        assert!(!row.as_declared, "the made-up traffic is not what the plan declares");
        assert!(row.key_bytes > 0 && row.ops_per_group.rotations + row.ops_per_group.hoisted > 0);
        assert!(!row.learned.client.is_empty() && !row.learned.server.is_empty());
    }
}
