//! `oblivia keys`: the secret keys this machine keeps.

use crate::args::{ForgetArgs, KeysArgs, KeysCommand};
use crate::output::{count, entry, json, out};
use anyhow::Result;
use oblivia::{KeptKey, KeyFiles, PackFiles};
use oblivia_net::Owner;
use oblivia_protocol::Error;
use std::time::SystemTime;

pub(crate) fn run(a: &KeysArgs) -> Result<()> {
    match &a.command {
        KeysCommand::List(l) => {
            let kept = KeyFiles::new(&l.state.state_dir).list()?;
            if l.json {
                return json(&serde_json::json!({
                    "schema": 1,
                    "keys": kept.iter().map(row).collect::<Vec<_>>(),
                }));
            }
            match kept.is_empty() {
                true => out(&format!("no secret keys are kept in {}\n", l.state.state_dir.display())),
                false => out(&kept.iter().map(describe).collect::<String>()),
            }
        }
        KeysCommand::Forget(f) => forget(f),
    }
}

fn forget(f: &ForgetArgs) -> Result<()> {
    let files = KeyFiles::new(&f.state.state_dir);
    let forgotten = files.forget(f.server)?;
    let packs = PackFiles::new(&f.state.state_dir, Owner::Client, None).forget(f.server)?;
    if let (0, 0, Some(server)) = (forgotten, packs, f.server) {
        let place = f.state.state_dir.display();
        let why =
            format!("no keys for server {server} are kept in {place}; `oblivia keys list` shows what is");
        return Err(Error::Input(why).into());
    }
    let packs = match packs {
        0 => String::new(),
        n => format!(" and {}", count(n as u64, "pack")),
    };
    out(&format!("{}{packs} forgotten\n", count(forgotten as u64, "key")))
}

fn seconds(time: Option<SystemTime>) -> Option<u64> {
    time?.duration_since(SystemTime::UNIX_EPOCH).ok().map(|d| d.as_secs())
}

fn row(key: &KeptKey) -> serde_json::Value {
    let about = key.about.as_ref().ok();
    serde_json::json!({
        "file": key.path.display().to_string(),
        "server": key.server.hex(),
        "system": about.map(|a| &a.system),
        "client": about.map(|a| a.client.hex()),
        "params": about.map(|a| a.params.hex()),
        "request": about.map(|a| a.request.hex()),
        "written": about.and_then(|a| seconds(a.written)),
        "error": key.about.as_ref().err(),
    })
}

fn describe(key: &KeptKey) -> String {
    let about = match &key.about {
        Ok(a) => {
            let age = a.written.and_then(|t| t.elapsed().ok()).map_or(String::new(), |age| {
                let hours = age.as_secs() / 3600;
                if hours < 48 { format!(", {hours} h old") } else { format!(", {} days old", hours / 24) }
            });
            format!("{}, parameters {}, request {}{age}", a.system, a.params.short(), a.request.short())
        }
        Err(why) => format!("not usable: {why}"),
    };
    entry("server", &key.server.hex()) + &entry("", &about) + &entry("", &key.path.display().to_string())
}
