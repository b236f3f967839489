//! `oblivia bench`: one row, measured over loopback TLS with client and server in processes of their own.

use crate::args::BenchArgs;
use crate::demo::TemporaryDir;
use crate::inputs::repository;
use crate::plan::system;
use crate::predict::link;
use crate::process::{ServerProcess, own_peak_memory_bytes};
use crate::progress::Progress;
use crate::receipt::render;
use anyhow::{Context, Result};
use oblivia::{Ask, Client, Input, Machine, Prediction, Trust, load_model};
use oblivia_data::{Labelled, Split, data_dir, mnist};
use oblivia_net::{ConnectOptions, parse_fingerprint};
use oblivia_nn::{Tensor, eval};
use oblivia_protocol::{Error, Leak, OpCounts, Role, Seconds, Traffic, Wish};
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
    threads: usize,
    link: String,
    seconds: Seconds,
    seconds_per_image_median: f64,
    bytes: Bytes,
    rounds: u64,
    ops_per_image: OpCounts,
    key_bytes: u64,
    peak_memory_bytes: PeakMemory,
    accuracy: Accuracy,
    labels_equal: u64,
    max_output_error: f64,
    declared_output_error: f64,
    as_declared: bool,
    learned: Learned,
    plan_id: String,
    cpu: String,
    commit: String,
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

#[derive(Serialize, Debug)]
struct Accuracy {
    float: f64,
    fixed: Option<f64>,
    private: f64,
}

#[derive(Serialize, Debug)]
struct Learned {
    client: Vec<String>,
    server: Vec<String>,
}

pub(crate) fn run(a: &BenchArgs) -> Result<()> {
    let (system_id, rest) = a.id.split_once('/').ok_or_else(|| unknown(&a.id))?;
    let (network, mode) = match rest.split_once('/') {
        Some((n, m)) => (n, Some(m.to_owned())),
        None => (rest, None),
    };
    if network != "mnist-cryptonets" {
        return Err(unknown(&a.id).into());
    }
    let chosen = system(system_id)?;
    let folder = repository()?.join("models").join(network);
    let model = load_model(&folder)?;
    let set = images(a.images as usize)?;
    let inputs: Vec<Input> = set.iter().map(|s| Input::Image(s.pixels.clone())).collect();
    let expected: Vec<Tensor> = inputs
        .iter()
        .map(|x| Ok(eval::run(&model, &oblivia::tensor(&model.public, x)?)?))
        .collect::<Result<_>>()?;

    let state = TemporaryDir(std::env::temp_dir().join(format!("oblivia-bench-{}", std::process::id())));
    let server = ServerProcess::start(&folder, &state.0.join("server"), a.threads)?;
    let pin = Trust::Pin(parse_fingerprint(&server.at.fingerprint)?);
    let connect = ConnectOptions { shape: link(a.link.as_deref())?, ..ConnectOptions::default() };
    let machine = Machine::new(a.threads)?;
    let client = Client::with_state(&server.at.listening, pin, &state.0.join("client"), machine, connect)?;
    let mut progress = Progress::new(inputs.len() as u64);
    // Measuring the reference is asking for its leak.
    let accepted_leaks = if chosen.id() == "clear" { vec![Leak::Input] } else { Vec::new() };
    let ask = Ask {
        model: network,
        system: chosen.id(),
        wish: Wish { mode, plan: a.plan.clone(), accepted_leaks, max_bytes: None },
        max_time: None,
        confirm: &mut |_, _| Ok(()),
        observer: &mut progress,
    };
    let done = client.ask(ask, &inputs);
    progress.done();
    let p = done?;
    let row = row(a, &p, &set, &expected, server.peak_memory_bytes());
    if a.json {
        println!("{}", serde_json::to_string(&row)?);
    } else {
        println!(
            "{}: {} of {} labels equal the clear network's; accuracy float {:.4}, private {:.4}; largest output \
             error {:.5}, declared {:.5}; median {:.1} ms per image; {} on {}",
            row.id,
            row.labels_equal,
            row.images,
            row.accuracy.float,
            row.accuracy.private,
            row.max_output_error,
            row.declared_output_error,
            row.seconds_per_image_median * 1e3,
            row.commit,
            row.cpu,
        );
        print!("{}", render(&p.receipt));
    }
    Ok(())
}

fn unknown(id: &str) -> Error {
    Error::Input(format!(
        "there is no benchmark `{id}`; there are: leveled/mnist-cryptonets, clear/mnist-cryptonets"
    ))
}

/// The first MNIST test images.
fn images(n: usize) -> Result<Vec<Labelled>> {
    let dir = data_dir().context("a benchmark needs the data sets")?.join("mnist");
    let mut set = mnist(&dir, Split::Test)?;
    if n == 0 || n > set.len() {
        return Err(Error::Input(format!("--images {n}: there are {} test images", set.len())).into());
    }
    set.truncate(n);
    Ok(set)
}

fn row(
    a: &BenchArgs,
    p: &Prediction,
    set: &[Labelled],
    expected: &[Tensor],
    server_peak: Option<u64>,
) -> Row {
    let r = &p.receipt;
    let up_down = |t: Traffic| UpDown { up: t.up_bytes, down: t.down_bytes };
    let right = |outputs: &[Tensor]| {
        let hits = outputs.iter().zip(set).filter(|(o, s)| o.argmax() == Some(s.label)).count();
        hits as f64 / set.len().max(1) as f64
    };
    let equal = p.outputs.iter().zip(expected).filter(|(a, b)| a.argmax() == b.argmax()).count();
    let error = |(a, b): (&Tensor, &Tensor)| {
        a.data().iter().zip(b.data()).map(|(x, y)| f64::from((x - y).abs())).fold(0.0, f64::max)
    };
    let mut seconds: Vec<f64> = p.samples.iter().map(|s| s.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let learned = |role| r.plan.learned_by(role).map(|s| s.detail.clone()).collect();
    let choices = &r.plan.choices;
    Row {
        schema: 1,
        id: a.id.clone(),
        system: choices.system.clone(),
        model: r.model.clone(),
        mode: choices.mode.clone(),
        plan: choices.plan.clone(),
        images: r.samples,
        threads: r.threads,
        link: a.link.clone().unwrap_or_else(|| "loopback".into()),
        seconds: r.seconds,
        seconds_per_image_median: seconds.get(seconds.len() / 2).copied().unwrap_or_default(),
        bytes: Bytes {
            setup: up_down(r.traffic.setup),
            offline: up_down(r.traffic.offline),
            online: up_down(r.traffic.online),
        },
        rounds: r.traffic.setup.rounds + r.traffic.offline.rounds + r.traffic.online.rounds,
        ops_per_image: r.plan.cost.ops,
        key_bytes: r.plan.key_bytes,
        peak_memory_bytes: PeakMemory { client: own_peak_memory_bytes(), server: server_peak },
        accuracy: Accuracy { float: right(expected), fixed: None, private: right(&p.outputs) },
        labels_equal: equal as u64,
        max_output_error: p.outputs.iter().zip(expected).map(error).fold(0.0, f64::max),
        declared_output_error: r.plan.error.value(),
        as_declared: r.as_declared(),
        learned: Learned { client: learned(Role::Client), server: learned(Role::Server) },
        plan_id: r.plan_id.clone(),
        cpu: cpu(),
        commit: commit(),
    }
}

fn cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name =
        text.lines().find_map(|l| l.strip_prefix("model name")?.split_once(':').map(|(_, n)| n.trim()));
    let ifma = if text.contains("avx512ifma") { ", AVX-512 IFMA" } else { "" };
    format!("{}{ifma}", name.unwrap_or(std::env::consts::ARCH))
}

/// The commit of the working tree, with a `+` if it has changes.
fn commit() -> String {
    let git = |args: &[&str]| {
        let out = std::process::Command::new("git").args(args).output().ok()?;
        out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    match (git(&["rev-parse", "--short=12", "HEAD"]), git(&["status", "--porcelain", "-uno"])) {
        (Some(hash), Some(changes)) if changes.is_empty() => hash,
        (Some(hash), _) => format!("{hash}+"),
        _ => "unknown".into(),
    }
}
