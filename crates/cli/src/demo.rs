//! `oblivia demo`: a server process, and real handwritten digits it never sees.

use crate::args::DemoArgs;
use crate::inputs::repository;
use crate::plan::{system, wish};
use crate::process::ServerProcess;
use crate::progress::Progress;
use crate::receipt::{bytes, render};
use anyhow::Result;
use oblivia::{Ask, Client, Input, Machine, Trust};
use oblivia_net::{ConnectOptions, parse_fingerprint};
use oblivia_protocol::Error;
use std::time::Duration;

pub(crate) fn run(a: &DemoArgs) -> Result<()> {
    let root = repository()?;
    let model = root.join("models/mnist-cryptonets");
    let samples = oblivia_data::labelled_folder(root.join("samples/mnist"))?;
    let samples: Vec<_> = samples.into_iter().take(a.images as usize).collect();
    if samples.len() < a.images as usize {
        let why = format!("{} images asked for, {} are shipped", a.images, samples.len());
        return Err(Error::Input(why).into());
    }
    let chosen = system(&a.wish.system)?;
    let wish = wish(&a.wish)?;
    let state = std::env::temp_dir().join(format!("oblivia-demo-{}", std::process::id()));
    let state = TemporaryDir(state);
    let server = ServerProcess::start(&model, &state.0.join("server"), a.threads)?;
    if !a.json {
        println!(
            "server    process {}, {} over TLS 1.3, system `{}`",
            server.id(),
            server.at.listening,
            chosen.id()
        );
        println!("          {}", chosen.summary());
        println!();
        println!("image     label  truth  {:>9}  {:>10}", "time", "bytes");
    }
    let pin = Trust::Pin(parse_fingerprint(&server.at.fingerprint)?);
    let machine = Machine::new(a.threads)?;
    let client = Client::with_state(
        &server.at.listening,
        pin,
        &state.0.join("client"),
        machine,
        ConnectOptions::default(),
    )?;
    let mut progress = Progress::new(samples.len() as u64);
    let inputs: Vec<Input> = samples.iter().map(|s| Input::Image(s.pixels.clone())).collect();
    let name = server.at.models.first().cloned().unwrap_or_default();
    let ask = Ask {
        model: &name,
        system: chosen.id(),
        wish,
        max_time: Some(Duration::from_secs(600)),
        confirm: &mut |_, _| Ok(()),
        observer: &mut progress,
    };
    let done = client.ask(ask, &inputs);
    progress.done();
    let p = done?;
    let mut right = 0;
    let mut rows = Vec::new();
    for (i, s) in samples.iter().enumerate() {
        let label = p.label(i).unwrap_or_default();
        let truth = p.model.labels.get(s.label).cloned().unwrap_or_else(|| s.label.to_string());
        right += usize::from(label == truth);
        let (ms, moved) = p
            .samples
            .get(i)
            .map_or((0.0, 0), |r| (r.seconds * 1e3, r.traffic.up_bytes + r.traffic.down_bytes));
        if a.json {
            rows.push(serde_json::json!({
                "file": s.name, "label": label, "truth": truth, "milliseconds": ms, "bytes": moved,
            }));
        } else {
            println!("{:<9} {label:>5}  {truth:>5}  {ms:>6.1} ms  {:>10}", s.name, bytes(moved));
        }
    }
    if a.json {
        let all = serde_json::json!({ "images": rows, "right": right, "receipt": p.receipt });
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        println!();
        println!("{right} of {} right", samples.len());
        println!();
        print!("{}", render(&p.receipt));
    }
    Ok(())
}

/// A directory that is gone when this is dropped.
pub(crate) struct TemporaryDir(pub(crate) std::path::PathBuf);

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        // What is left in the temporary directory is the operating system's to clean.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
