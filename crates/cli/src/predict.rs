//! `oblivia predict`: private predictions from a server.

use crate::args::PredictArgs;
use crate::inputs;
use crate::output::{bytes, entry, json, note, out, seconds};
use crate::plan::describe;
use crate::prepare::made_ahead;
use crate::progress::{Watch, label};
use crate::receipt::render;
use crate::session::{Asked, client, explained, wish};
use anyhow::Result;
use oblivia::{Ask, Prediction};
use oblivia_nn::{PublicModel, Tensor};
use oblivia_protocol::Plan;
use std::sync::OnceLock;

pub(crate) fn run(a: &PredictArgs) -> Result<()> {
    let session = &a.session;
    let wish = wish(session)?;
    let files = inputs::expand(&a.inputs)?;
    let (files, images) = inputs::load(&files)?;
    let mut client = client(session)?.with_kept_ahead(a.keep_prepared);
    if a.fresh_keys {
        client = client.with_fresh_keys();
    }

    let (quiet, samples) = (session.machine.json, files.len() as u64);
    let labels = OnceLock::new();
    let mut confirm = |model: &PublicModel, plan: &Plan| {
        labels.get_or_init(|| model.labels.clone());
        if !quiet {
            note(&(describe(plan, samples) + "\n"));
        }
        Ok(())
    };
    let mut watch = Watch::new(samples);
    if !quiet {
        let width = files.iter().map(|f| f.chars().count()).max().unwrap_or(0).min(48);
        let (files, labels) = (&files, &labels);
        watch = watch.with_rows(move |done| {
            let file = files.get(done.index).map_or("", String::as_str);
            let label = label(labels.get().map_or(&[][..], Vec::as_slice), done.output);
            let cost = done.traffic.map_or_else(String::new, |t| {
                format!("  {:>9}  {:>9}", seconds(done.seconds), bytes(t.up_bytes + t.down_bytes))
            });
            format!("{file:<width$}  {label:<5}{cost}\n")
        });
    }
    let ask = Ask {
        model: &session.peer.model,
        system: session.wish.system().id(),
        wish,
        max_time: session.wish.max_seconds,
        confirm: &mut confirm,
        observer: &mut watch,
    };
    let done = client.ask(ask, &images);
    watch.done()?;
    let asked = Asked::new(&session.peer.server, &session.peer.model, &session.wish, files.len());
    let prediction = done.map_err(|e| explained(e, &asked, &client))?;
    if quiet {
        print_json(&prediction, &files)?;
    } else {
        out(&format!("\n{}", render(&prediction.receipt)))?;
    }
    if let Some(made) = client.refilled() {
        note(&match made {
            Ok(made) => made_ahead(&made) + "\n",
            Err(e) => entry("prepared", &format!("nothing: {e}")),
        });
    }
    unanswered(&prediction, &files)
}

/// An error about the first input without an answer, if there is one.
fn unanswered(p: &Prediction, files: &[String]) -> Result<()> {
    let failed: Vec<_> =
        files.iter().zip(&p.outputs).filter_map(|(f, o)| Some((f, o.as_ref().err()?))).collect();
    let Some((file, why)) = failed.first() else { return Ok(()) };
    let more = match failed.len() {
        1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    Err(anyhow::Error::from((*why).clone()).context(format!("no label for {file}{more}")))
}

fn print_json(p: &Prediction, files: &[String]) -> Result<()> {
    let images: Vec<serde_json::Value> = files
        .iter()
        .zip(&p.outputs)
        .enumerate()
        .map(|(i, (file, output))| {
            serde_json::json!({
                "file": file,
                "label": output.is_ok().then(|| label(&p.model.labels, output)),
                "outputs": output.as_ref().ok().map(Tensor::data),
                "error": output.as_ref().err().map(ToString::to_string),
                "seconds": p.record(i).map(|r| r.seconds),
            })
        })
        .collect();
    json(&serde_json::json!({ "schema": 1, "images": images, "receipt": p.receipt }))
}
