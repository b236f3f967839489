//! `oblivia serve`: offer models.

use crate::args::ServeArgs;
use crate::output::{bytes, count, entry, json_line, note, out};
use crate::policy::{self, Policy};
use crate::process::Listening;
use anyhow::{Context, Result};
use oblivia::{ServeOptions, Server};
use oblivia_net::Limits;
use oblivia_protocol::Plan;
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
        max_session_time: Some(a.max_session_seconds),
        min_bytes_per_second: a.min_rate,
        ..Limits::default()
    };
    let Policy { clients, budgets, admitted } = policy::read(&a.budget, a.policy.as_deref())?;
    let counted = budgets.to_string();
    let options = ServeOptions {
        listen: a.listen,
        state_dir: a.machine.state.state_dir.clone(),
        clients,
        limits,
        max_samples: a.max_samples,
        budgets,
        key_cache_bytes: a.key_cache.saturating_mul(1 << 20),
        pack_bytes: a.packs.saturating_mul(1 << 20),
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
        out(&announcement(&at, &server, &offers, [&admitted, &counted], &a.machine.state.state_dir))?;
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

/// What there is to ask for.
struct Offers {
    /// A line per model and system.
    lines: Vec<String>,
    /// Flags of a client that asks for the first that there is.
    first: Option<String>,
}

/// Prepares the default plan of every system for every model; says where there is none.
fn prepare(server: &Server, names: &[String]) -> Offers {
    let mut offers = Offers { lines: Vec::new(), first: None };
    for name in names {
        for system in oblivia_systems::SYSTEMS {
            offers.lines.push(match server.models().prepare(name, system.id()) {
                Ok(plan) => {
                    offers.first.get_or_insert_with(|| flags(name, &plan));
                    format!("{name} with {}: plan {}", system.id(), plan.choices.plan)
                }
                Err(e) => format!("{name} with {}: no; {e}", system.id()),
            });
        }
    }
    offers
}

/// With these a client has this plan.
fn flags(model: &str, plan: &Plan) -> String {
    let mut flags = format!("--model {model} --system {}", plan.choices.system);
    for leak in plan.leaks.iter().map(|said| said.leak).filter(|leak| leak.needs_acceptance()) {
        flags += &format!(" --accept-leak {}", leak.name());
    }
    flags
}

fn announcement(
    at: &Listening,
    server: &Server,
    offers: &Offers,
    [admitted, counted]: [&str; 2],
    state_dir: &Path,
) -> String {
    let address = server.address();
    // Nobody connects to "any address".
    let shown =
        if address.ip().is_unspecified() { format!("HOST:{}", address.port()) } else { address.to_string() };
    let asked = offers.first.as_deref().unwrap_or("--model MODEL");
    let mut text: String = offers.lines.iter().map(|o| entry("model", o)).collect();
    text += &entry("listening", &at.listening);
    text += &entry("key", &format!("fingerprint {}", at.fingerprint));
    text += &entry("clients", admitted);
    text += &entry("budget", counted);
    text += &entry(
        "keys",
        &match server.keys().fill().max_bytes {
            0 => "every session sends its own; --key-cache MIB keeps them for clients that come again"
                .to_owned(),
            n => format!("up to {} kept for clients that come again; --key-cache 0 keeps none", bytes(n)),
        },
    );
    let packs = server.packs().map(|p| p.fill());
    text += &entry(
        "packs",
        &packs.map_or_else(
            || "none are kept; --packs MIB keeps what clients make ahead of images".to_owned(),
            |fill| {
                format!("{} in {}, made ahead of images", count(fill.packs as u64, "pack"), bytes(fill.bytes))
            },
        ),
    );
    text += &entry("state", &state_dir.display().to_string());
    text += &format!(
        "\na client predicts with\n  oblivia predict IMAGE.png --server {shown} {asked} \\\n    --pin {}\nstop \
         with Ctrl-C\n",
        at.fingerprint
    );
    text
}
