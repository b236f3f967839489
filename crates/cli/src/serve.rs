//! `oblivia serve`: offer models.

use crate::args::ServeArgs;
use crate::output::{bytes, count, entry, json_line, note, out};
use crate::process::Listening;
use anyhow::{Context, Result};
use oblivia::{ServeOptions, Server};
use oblivia_net::{ClientPolicy, Limits, parse_fingerprint};
use oblivia_protocol::Error;
use std::path::Path;

pub(crate) fn run(a: &ServeArgs) -> Result<()> {
    let models = a.models.iter().map(|p| oblivia::open_model(p)).collect::<Result<Vec<_>, _>>()?;
    models.iter().flat_map(|m| &m.notes).for_each(|n| note(&entry("note", n)));
    let models: Vec<_> = models.into_iter().map(|m| m.model).collect();
    let limits = Limits {
        max_sessions: a.max_sessions,
        max_sessions_per_client: a.max_sessions_per_client,
        max_sessions_per_address: a.max_sessions_per_address,
        max_memory_bytes: a.max_memory.saturating_mul(1 << 20),
        max_message_bytes: a.max_message.saturating_mul(1 << 20),
        idle_timeout: a.idle_seconds,
        min_bytes_per_second: a.min_rate,
        ..Limits::default()
    };
    let (clients, admitted) = match a.policy.as_deref() {
        None => (ClientPolicy::AnyIdentity, "any; with --policy FILE only those listed there".to_owned()),
        Some(path) => policy(path)?,
    };
    let options = ServeOptions {
        listen: a.listen,
        state_dir: a.machine.state.state_dir.clone(),
        clients,
        limits,
        max_samples: a.max_samples,
        key_cache_bytes: a.key_cache.saturating_mul(1 << 20),
        threads: a.machine.threads,
        max_model_memory: Some(a.max_memory.saturating_mul(1 << 20)),
        accepted_leaks: a.accept_leak.clone(),
        faults: None,
    };
    let server = Server::start(&models, options)?;
    let names: Vec<String> = server.models().names().map(str::to_owned).collect();
    let offers = prepare(&server, &names);
    let at = Listening {
        schema: 1,
        listening: server.address().to_string(),
        fingerprint: server.fingerprint().hex(),
        models: names,
    };
    if a.machine.json {
        json_line(&at)?;
    } else {
        out(&announcement(&at, &server, &offers, &admitted, &a.machine.state.state_dir))?;
    }
    let report = if a.until_stdin_ends {
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink())
            .context("waiting for standard input to end")?;
        server.shutdown()
    } else {
        server.run_until_interrupted()?
    };
    if report.ended > 0 {
        note(&format!("{} still running were ended\n", count(report.ended as u64, "session")));
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
                Err(e) => format!("{name} with {}: no; {e}", system.id()),
            });
        }
    }
    offers
}

fn announcement(
    at: &Listening,
    server: &Server,
    offers: &[String],
    admitted: &str,
    state_dir: &Path,
) -> String {
    let address = server.address();
    // Nobody connects to "any address".
    let shown =
        if address.ip().is_unspecified() { format!("HOST:{}", address.port()) } else { address.to_string() };
    let model = at.models.first().map_or("MODEL", String::as_str);
    let mut text: String = offers.iter().map(|o| entry("model", o)).collect();
    text += &entry("listening", &at.listening);
    text += &entry("key", &format!("fingerprint {}", at.fingerprint));
    text += &entry("clients", admitted);
    text += &entry(
        "keys",
        &match server.keys().fill().max_bytes {
            0 => "every session sends its own; --key-cache MIB keeps them for clients that come again"
                .to_owned(),
            n => format!("up to {} kept for clients that come again; --key-cache 0 keeps none", bytes(n)),
        },
    );
    text += &entry("state", &state_dir.display().to_string());
    text += &format!(
        "\na client predicts with\n  oblivia predict IMAGE.png --server {shown} --model {model} \\\n    --pin {}\nstop \
         with Ctrl-C\n",
        at.fingerprint
    );
    text
}

/// Client key hashes, one per line; `#` begins a comment.
fn policy(path: &Path) -> Result<(ClientPolicy, String)> {
    let bytes = oblivia_data::read(path, 16 << 20)?;
    let bad = |why: String| Error::Input(format!("policy {}: {why}", path.display()));
    let text = String::from_utf8(bytes)
        .map_err(|_| bad("is not text; one client fingerprint per line is expected".into()))?;
    let mut set = std::collections::BTreeSet::new();
    for (i, line) in text.lines().enumerate() {
        let fingerprint = line.split('#').next().unwrap_or_default().trim();
        if !fingerprint.is_empty() {
            set.insert(parse_fingerprint(fingerprint).map_err(|_| {
                bad(format!(
                    "line {} is not a fingerprint; 64 hexadecimal digits are expected, as `oblivia predict` names \
                     them when it is not admitted",
                    i + 1
                ))
            })?);
        }
    }
    let admitted = format!("{} listed in {}", set.len(), path.display());
    Ok((ClientPolicy::Only(set), admitted))
}
