//! `oblivia demo`: a server process, and real handwritten digits it never sees.

use crate::args::DemoArgs;
use crate::inputs::repository;
use crate::output::{bytes, count, entry, json, out, seconds};
use crate::plan::wish;
use crate::process::{Scratch, ServerProcess};
use crate::progress::{Watch, label};
use crate::receipt::render;
use crate::session::{Asked, explained};
use anyhow::Result;
use oblivia::{Ask, Client, Input, Machine, Prediction, Trust};
use oblivia_data::Labelled;
use oblivia_net::{ConnectOptions, parse_fingerprint};
use oblivia_nn::PublicModel;
use oblivia_protocol::{Error, Leak, Plan, Role, System, Traffic};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

/// Nothing the demonstration does takes that long.
const MAX_TIME: Duration = Duration::from_secs(600);

/// Where nothing is asked for: one network with squares, which no client has to wait for, and one with ReLU.
const BOTH: [(&str, &str); 2] = [("leveled", "mnist-cryptonets"), ("hybrid", "mnist-bm3")];

pub(crate) fn run(a: &DemoArgs) -> Result<()> {
    let root = repository()?;
    let samples = shipped(&root.join("samples/mnist"), a.images as usize)?;
    let asked = a.wish.system();
    let shows: Vec<(&'static dyn System, &str)> = match a.wish.names_one() {
        true => {
            let of_system = BOTH.iter().find(|(id, _)| *id == asked.id());
            vec![(asked, of_system.map_or("mnist-cryptonets", |(_, model)| *model))]
        }
        false => BOTH.iter().filter_map(|(id, model)| Some((oblivia_systems::find(id)?, *model))).collect(),
    };
    let mut played = Vec::with_capacity(shows.len());
    for (i, &(system, model)) in shows.iter().enumerate() {
        if i > 0 && !a.json {
            out("\n")?;
        }
        let p = play(a, system, &root.join("models").join(model), &samples)?;
        if !a.json {
            print_end(&p, &samples)?;
        }
        played.push(p);
    }
    match (a.json, played.as_slice()) {
        (true, _) => print_json(&played, &samples),
        (false, [_]) => Ok(()),
        (false, _) => out(&side_by_side(&played, &samples)),
    }
}

/// One server process, and a client that has it classify the samples.
fn play(a: &DemoArgs, system: &'static dyn System, model: &Path, samples: &[Labelled]) -> Result<Prediction> {
    let wish = wish(&a.wish)?;
    // What the client would refuse is refused before a server is started.
    let public = oblivia::served(&oblivia::load_model(model)?)?.public;
    wish.admit(&system.plan(&public, &wish)?, samples.len() as u64)?;
    let state = Scratch::new()?;
    let server = ServerProcess::start(model, &state.path().join("server"), a.threads)?;
    let pin = Trust::Pin(parse_fingerprint(&server.at.fingerprint)?);
    let (machine, connect) = (Machine::new(a.threads)?, ConnectOptions::default());
    let client =
        Client::with_state(&server.at.listening, pin, &state.path().join("client"), machine, connect)?;

    let labels = OnceLock::new();
    let mut watch = Watch::new(samples.len() as u64);
    let mut confirm = |model: &PublicModel, plan: &Plan| {
        let labels = labels.get_or_init(|| model.labels.clone());
        if a.json {
            return Ok(());
        }
        // A reader that is gone is noticed at the first row.
        out(&head(&server, plan, system.summary(), labels.len())).or(Ok(()))
    };
    if !a.json {
        watch = watch.with_rows(|done| {
            let Some(sample) = samples.get(done.index) else { return String::new() };
            let names = labels.get().map_or(&[][..], Vec::as_slice);
            let cost = done.traffic.map_or_else(String::new, |t| {
                format!("  {:>9}  {:>9}", seconds(done.seconds), bytes(t.up_bytes + t.down_bytes))
            });
            let (label, truth) = (label(names, done.output), truth(names, sample));
            format!("{:<9} {label:>5}  {truth:>5}{cost}\n", sample.name)
        });
    }
    let name = server.at.models.first().cloned().unwrap_or_default();
    let asked = Asked::new(&server.at.listening, &name, &a.wish, samples.len());
    let ask = Ask {
        model: &name,
        system: system.id(),
        wish,
        max_time: Some(a.wish.max_seconds.unwrap_or(MAX_TIME)),
        confirm: &mut confirm,
        observer: &mut watch,
    };
    let inputs: Vec<Input> = samples.iter().map(|s| Input::Image(s.pixels.clone())).collect();
    let done = client.ask(ask, &inputs);
    watch.done()?;
    done.map_err(|e| explained(e, &asked, &client))
}

/// What the systems took, one column each.
fn side_by_side(played: &[Prediction], samples: &[Labelled]) -> String {
    type Cell = fn(&Prediction, &[Labelled]) -> String;
    let rows: [(&str, Cell); 8] = [
        ("system", |p, _| p.receipt.plan.choices.system.clone()),
        ("model", |p, _| p.receipt.model.clone()),
        ("right", |p, s| format!("{} of {}", right(p, s), s.len())),
        ("set-up, once", |p, _| seconds(p.receipt.seconds.setup)),
        ("time per image", |p, s| {
            let t = p.receipt.seconds;
            seconds((t.offline + t.online) / s.len().max(1) as f64)
        }),
        ("set-up bytes", |p, _| bytes(moved(p.receipt.traffic.setup))),
        ("bytes per image", |p, s| {
            let t = p.receipt.traffic;
            bytes((moved(t.offline) + moved(t.online)) / s.len().max(1) as u64)
        }),
        ("messages per image", |p, s| {
            let t = p.receipt.traffic;
            ((t.offline.rounds + t.online.rounds) / s.len().max(1) as u64).to_string()
        }),
    ];
    let line = |(name, cell): &(&str, Cell)| {
        let cells: String = played.iter().map(|p| format!("{:>18}", cell(p, samples))).collect();
        format!("{name:<20}{cells}\n")
    };
    format!("\n{}", rows.iter().map(line).collect::<String>())
}

/// Bytes both ways.
fn moved(t: Traffic) -> u64 {
    t.up_bytes + t.down_bytes
}

/// The first shipped images.
fn shipped(folder: &Path, wanted: usize) -> Result<Vec<Labelled>> {
    let mut samples = oblivia_data::labelled_folder(folder)?;
    if samples.len() < wanted {
        let (have, place) = (samples.len(), folder.display());
        let why = format!("{wanted} images asked for, {place} has {have}; lower --images");
        return Err(Error::Input(why).into());
    }
    samples.truncate(wanted);
    Ok(samples)
}

fn head(server: &ServerProcess, plan: &Plan, summary: &str, labels: usize) -> String {
    let sees = plan.learned_by(Role::Server).any(|s| s.leak == Leak::Input);
    let sees = if sees { "it is sent the images in clear" } else { "it is sent no image in clear" };
    entry("client", &format!("this process, {}", std::process::id()))
        + &entry(
            "server",
            &format!("process {} on this machine, {} over TLS 1.3; {sees}", server.id(), server.at.listening),
        )
        + &entry("system", &format!("{}: {summary}", plan.choices.system))
        + &entry("model", &format!("{}, {}", server.at.models.join(", "), count(labels as u64, "label")))
        + &format!("\n{:<9} {:>5}  {:>5}  {:>9}  {:>9}\n", "image", "label", "truth", "time", "bytes")
}

fn truth(labels: &[String], sample: &Labelled) -> String {
    labels.get(sample.label).cloned().unwrap_or_else(|| sample.label.to_string())
}

/// Whether each label is right.
fn right(p: &Prediction, samples: &[Labelled]) -> usize {
    let outputs = p.outputs.iter().zip(samples);
    outputs.filter(|(o, s)| label(&p.model.labels, o) == truth(&p.model.labels, s)).count()
}

fn print_end(p: &Prediction, samples: &[Labelled]) -> Result<()> {
    let right = right(p, samples);
    out(&format!("\n{right} of {} right\n\n{}", samples.len(), render(&p.receipt)))
}

fn print_json(played: &[Prediction], samples: &[Labelled]) -> Result<()> {
    let systems: Vec<serde_json::Value> = played.iter().map(|p| as_json(p, samples)).collect();
    json(&serde_json::json!({ "schema": 2, "systems": systems }))
}

fn as_json(p: &Prediction, samples: &[Labelled]) -> serde_json::Value {
    let labels = &p.model.labels;
    let images: Vec<serde_json::Value> = p
        .outputs
        .iter()
        .zip(samples)
        .enumerate()
        .map(|(i, (output, sample))| {
            let record = p.record(i);
            serde_json::json!({
                "file": sample.name,
                "label": output.is_ok().then(|| label(labels, output)),
                "truth": truth(labels, sample),
                "milliseconds": record.map(|r| r.seconds * 1e3),
                "bytes": record.map(|r| r.traffic.up_bytes + r.traffic.down_bytes),
            })
        })
        .collect();
    let (system, model) = (&p.receipt.plan.choices.system, &p.receipt.model);
    serde_json::json!({
        "system": system, "model": model, "images": images, "right": right(p, samples), "receipt": p.receipt,
    })
}
