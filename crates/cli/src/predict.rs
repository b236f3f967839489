//! `oblivia predict`: private predictions from a server.

use crate::args::{Machine as MachineArgs, PeerArgs, PredictArgs, WishArgs};
use crate::exit::Hint;
use crate::inputs;
use crate::output::{bytes, count, entry, json, note, out, seconds};
use crate::plan::{describe, wish};
use crate::prepare::made_ahead;
use crate::progress::{Watch, label};
use crate::receipt::render;
use anyhow::Result;
use oblivia::{Ask, Client, Error, Machine, Prediction, Trust};
use oblivia_net::{ConnectOptions, LinkShape};
use oblivia_nn::{PublicModel, Tensor};
use oblivia_protocol::{Error as SessionError, LinkError, Notice, Plan};
use std::sync::OnceLock;

pub(crate) fn run(a: &PredictArgs) -> Result<()> {
    let mut wish = wish(&a.wish)?;
    if wish.plan.is_none() {
        wish.link = a.link.map(|l| l.rate());
    }
    let files = inputs::expand(&a.inputs)?;
    let (files, images) = inputs::load(&files)?;
    let mut client = client(&a.peer, a.link, &a.machine)?.with_kept_ahead(a.keep_prepared);
    if a.fresh_keys {
        client = client.with_fresh_keys();
    }

    let (quiet, samples) = (a.machine.json, files.len() as u64);
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
        model: &a.peer.model,
        system: a.wish.system().id(),
        wish,
        max_time: a.wish.max_seconds,
        confirm: &mut confirm,
        observer: &mut watch,
    };
    let done = client.ask(ask, &images);
    watch.done()?;
    let asked = Asked::new(&a.peer.server, &a.peer.model, &a.wish, files.len());
    let prediction = done.map_err(|e| match hint(&e, &asked, &client) {
        Some(what) => anyhow::Error::from(e).context(Hint(what)),
        None => e.into(),
    })?;
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

/// A client of the server at `peer`, with what the state directory has.
pub(crate) fn client(peer: &PeerArgs, link: Option<LinkShape>, machine: &MachineArgs) -> Result<Client> {
    let trust = match (&peer.pin, &peer.roots) {
        (Some(pin), _) => Trust::Pin(*pin),
        (None, Some(file)) => {
            let pem = oblivia_data::read(file, 16 << 20)?;
            let name = peer.server.rsplit_once(':').map_or(peer.server.as_str(), |(host, _)| host);
            Trust::Roots { pem, name: name.trim_matches(['[', ']']).to_owned() }
        }
        (None, None) => anyhow::bail!("either --pin or --roots must be given"),
    };
    let connect = ConnectOptions { shape: link, ..ConnectOptions::default() };
    let threads = Machine::new(machine.threads)?;
    Ok(Client::with_state(&peer.server, trust, &machine.state.state_dir, threads, connect)?)
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

/// What was asked of which server, in words for hints.
pub(crate) struct Asked {
    server: String,
    model: String,
    question: String,
}

impl Asked {
    pub(crate) fn new(server: &str, model: &str, wish: &WishArgs, samples: usize) -> Self {
        let mut question = format!(
            "{} with model `{model}`, system `{}`",
            count(samples as u64, "image"),
            wish.system().id()
        );
        for (what, name) in [("mode", &wish.mode), ("plan", &wish.plan)] {
            if let Some(name) = name {
                question += &format!(", {what} `{name}`");
            }
        }
        Self { server: server.to_owned(), model: model.to_owned(), question }
    }
}

/// What the user can do about a session that failed.
pub(crate) fn hint(e: &Error, asked: &Asked, client: &Client) -> Option<String> {
    let Asked { server, model, question } = asked;
    let Error::Session(SessionError::Link(link)) = e else { return None };
    match link {
        LinkError::Aborted(notice) => Some(match notice {
            Notice::UnknownModel => {
                format!("{server} has no model `{model}`; `oblivia serve` prints the names when it starts")
            }
            Notice::Refused => format!(
                "{server} was asked for {question}; its log says what it refuses. Leave out --mode and --plan, ask \
                 for another --system, or send fewer images"
            ),
            Notice::Busy => format!(
                "{server} has all sessions or all memory taken, or this client or address has its share of them; its \
                 owner can raise --max-sessions, --max-sessions-per-client, --max-sessions-per-address and --max-memory"
            ),
            Notice::Incompatible => "use the same version of oblivia on both sides".into(),
            Notice::ShuttingDown => format!("{server} is being stopped: repeat this when it runs again"),
            Notice::Failed => format!("the log of {server} says what went wrong there"),
        }),
        LinkError::Closed { .. } => Some(format!(
            "{server} was stopped, has crashed or was cut off: see its log, start it again and repeat this"
        )),
        LinkError::TimedOut { .. } | LinkError::TooSlow { .. } => {
            Some(format!("{server} or the network does not answer: check both and repeat this"))
        }
        LinkError::Overdue { .. } => Some(format!(
            "{server} is still at work or waits for its turn: allow more with --max-seconds, ask for another plan or mode \
             (`oblivia plan` says how long one takes), or repeat this when fewer clients ask"
        )),
        LinkError::Outlived { .. } => Some("send fewer images at a time".into()),
        LinkError::NotAdmitted => Some(format!(
            "this client's fingerprint is {}; it goes on a line of the file `oblivia serve --policy` was given",
            client.fingerprint()
        )),
        _ => None,
    }
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
