//! `oblivia predict`: private predictions from a server.

use crate::args::PredictArgs;
use crate::plan::{describe, wish};
use crate::progress::Progress;
use crate::receipt::{bytes, render, seconds};
use crate::{inputs, serve};
use anyhow::{Context, Result};
use oblivia::{Ask, Client, Machine, Prediction, Trust};
use oblivia_net::{ConnectOptions, LinkShape, parse_fingerprint};
use oblivia_nn::PublicModel;
use oblivia_protocol::Plan;
use std::path::PathBuf;

pub(crate) fn run(a: &PredictArgs) -> Result<()> {
    crate::plan::system(&a.wish.system)?;
    let files = inputs::expand(&a.inputs)?;
    let images = inputs::load(&files)?;
    let trust = match (&a.pin, &a.roots) {
        (Some(pin), _) => Trust::Pin(parse_fingerprint(pin)?),
        (None, Some(file)) => {
            let pem = oblivia_data::read(file, 16 << 20)?;
            let name = a.server.rsplit_once(':').map_or(a.server.as_str(), |(host, _)| host);
            Trust::Roots { pem, name: name.trim_matches(['[', ']']).to_owned() }
        }
        (None, None) => anyhow::bail!("either --pin or --roots must be given"),
    };
    let connect = ConnectOptions { shape: link(a.link.as_deref())?, ..ConnectOptions::default() };
    let machine = Machine::new(a.machine.threads)?;
    let client = Client::with_state(&a.server, trust, &a.machine.state_dir, machine, connect)?;
    let max_time = a.wish.max_seconds.map(|s| serve::seconds("--max-seconds", s)).transpose()?;
    let mut progress = Progress::new(files.len() as u64);
    let json = a.machine.json;
    let samples = files.len() as u64;
    let mut confirm = |_: &PublicModel, plan: &Plan| {
        if !json {
            eprint!("{}", describe(plan, samples));
        }
        Ok(())
    };
    let ask = Ask {
        model: &a.model,
        system: &a.wish.system,
        wish: wish(&a.wish)?,
        max_time,
        confirm: &mut confirm,
        observer: &mut progress,
    };
    let done = client.ask(ask, &images);
    progress.done();
    let prediction = done?;
    print(&prediction, &files, json)
}

/// The link of a `--link` flag.
pub(crate) fn link(flag: Option<&str>) -> Result<Option<LinkShape>> {
    flag.map(|s| s.parse::<LinkShape>()).transpose().context("reading --link")
}

fn print(p: &Prediction, files: &[PathBuf], json: bool) -> Result<()> {
    if json {
        let images: Vec<serde_json::Value> = files
            .iter()
            .enumerate()
            .map(|(i, f)| {
                serde_json::json!({
                    "file": f.display().to_string(),
                    "label": p.label(i),
                    "outputs": p.outputs.get(i).map(|t| t.data()),
                    "seconds": p.samples.get(i).map(|s| s.seconds),
                })
            })
            .collect();
        let all = serde_json::json!({ "images": images, "receipt": p.receipt });
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    for (i, file) in files.iter().enumerate() {
        let took = p.samples.get(i).map_or_else(String::new, |s| {
            format!("  {}, {}", seconds(s.seconds), bytes(s.traffic.up_bytes + s.traffic.down_bytes))
        });
        println!("{}: {}{took}", file.display(), p.label(i).unwrap_or_default());
    }
    println!();
    print!("{}", render(&p.receipt));
    Ok(())
}
