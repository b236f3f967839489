//! `oblivia serve`: offer models.

use crate::args::ServeArgs;
use crate::process::Listening;
use anyhow::{Context, Result};
use oblivia::{ServeOptions, Server};
use oblivia_net::{ClientPolicy, Limits, parse_fingerprint};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

pub(crate) fn run(a: &ServeArgs) -> Result<()> {
    let models = a.models.iter().map(|p| oblivia::load_model(p)).collect::<Result<Vec<_>, _>>()?;
    let limits = Limits {
        max_sessions: a.max_sessions.max(1),
        max_memory_bytes: a.max_memory.saturating_mul(1 << 20),
        max_message_bytes: a.max_message.saturating_mul(1 << 20).min(1 << 30),
        idle_timeout: seconds("--idle-seconds", a.idle_seconds)?,
        ..Limits::default()
    };
    let options = ServeOptions {
        listen: a.listen,
        state_dir: a.machine.state_dir.clone(),
        clients: a.policy.as_deref().map_or(Ok(ClientPolicy::AnyIdentity), policy)?,
        limits,
        max_samples: a.max_samples,
        threads: a.machine.threads,
        faults: None,
    };
    let server = Server::start(&models, options)?;
    let names: Vec<String> = server.models().names().map(str::to_owned).collect();
    let offers = prepare(&server, &names);
    announce(a, &server, names, &offers)?;
    let report = if a.until_stdin_ends {
        std::io::stdin().read_to_end(&mut Vec::new()).context("waiting for standard input to end")?;
        server.shutdown()
    } else {
        server.run_until_interrupted()?
    };
    if report.ended > 0 {
        eprintln!("{} sessions were still running and were ended", report.ended);
    }
    Ok(())
}

/// Prepares the default plan of every system for every model; says where there is none.
fn prepare(server: &Server, names: &[String]) -> Vec<String> {
    let mut offers = Vec::new();
    for name in names {
        for system in oblivia_systems::SYSTEMS {
            offers.push(match server.models().prepare(name, system.id()) {
                Ok(plan) => format!("{name} with {}: plan {}", system.id(), plan.choices.plan),
                Err(e) => format!("{name} with {}: no ({e})", system.id()),
            });
        }
    }
    offers
}

fn announce(a: &ServeArgs, server: &Server, names: Vec<String>, offers: &[String]) -> Result<()> {
    let at = Listening {
        listening: server.address().to_string(),
        fingerprint: server.fingerprint().hex(),
        models: names,
    };
    if a.machine.json {
        println!("{}", serde_json::to_string(&at)?);
        return Ok(());
    }
    offers.iter().for_each(|o| println!("{o}"));
    println!("listening on {}", at.listening);
    println!("key fingerprint {}", at.fingerprint);
    println!();
    println!("a client predicts with:");
    println!(
        "  oblivia predict IMAGE.png --server {} --pin {} --model {}",
        at.listening,
        at.fingerprint,
        at.models.first().map_or("MODEL", String::as_str)
    );
    println!("stop with Ctrl-C");
    Ok(())
}

/// A positive, finite number of seconds.
pub(crate) fn seconds(flag: &str, value: f64) -> Result<Duration, oblivia_protocol::Error> {
    Duration::try_from_secs_f64(value).ok().filter(|d| !d.is_zero()).ok_or_else(|| {
        oblivia_protocol::Error::Input(format!("{flag} {value} is not a positive number of seconds"))
    })
}

/// Client key hashes, one per line; `#` begins a comment.
fn policy(path: &Path) -> Result<ClientPolicy> {
    let bytes = oblivia_data::read(path, 16 << 20)?;
    let text = String::from_utf8(bytes).map_err(|_| {
        oblivia_protocol::Error::Input(format!(
            "{} is not text: one fingerprint per line is expected",
            path.display()
        ))
    })?;
    let lines = text.lines().map(|l| l.split('#').next().unwrap_or_default().trim());
    let set = lines
        .filter(|l| !l.is_empty())
        .map(parse_fingerprint)
        .collect::<Result<_, _>>()
        .with_context(|| format!("reading {}", path.display()))?;
    Ok(ClientPolicy::Only(set))
}
