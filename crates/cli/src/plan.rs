//! `oblivia plan`: what a private prediction would cost and who would learn what.

use crate::args::{PlanArgs, WishArgs};
use crate::compare;
use crate::exit::Usage;
use crate::output::{bytes, count, entry, json, note, out, seconds};
use crate::receipt::{facts, traffic, work};
use anyhow::Result;
use oblivia_protocol::{Behaviour, Cost, Plan, Role, Traffic, Wish};

pub(crate) fn run(a: &PlanArgs) -> Result<()> {
    let model = oblivia::served(&oblivia::load_model(&a.model)?)?;
    let units = oblivia::read_calibration(&a.state.state_dir)?;
    let link = a.link.map(|l| l.rate());
    let wish = Wish { units, link, samples: a.images, ..wish(&a.wish)? };
    let system = a.wish.system();
    if link.is_some() && !system.plans_for_links(wish.mode.as_deref().unwrap_or_default()) {
        let mode = wish.mode.as_ref().map_or_else(String::new, |mode| format!(", mode `{mode}`,"));
        let text = format!(
            "plans of system `{}`{mode} are the same for every link: --link changes nothing",
            system.id()
        );
        note(&entry("note", &text));
    }
    if a.compare {
        return compare::run(a, &model.public, &wish);
    }
    let plan = system.plan(&model.public, &wish)?;
    let samples = u64::from(a.images);
    let limited = wish.max_bytes.is_some() || wish.max_memory.is_some() || wish.group.is_some();
    if a.json {
        json(&serde_json::json!({
            "schema": 1,
            "model": model.public.name,
            "plan_id": plan.digest().short(),
            "images": samples,
            "traffic": plan.cost.traffic(samples),
            "plan": plan,
        }))?;
    } else {
        out(&describe(&plan, samples))?;
    }
    match limited {
        // Leaks are shown, not refused: nothing has happened yet.
        true => Ok(Wish { accepted_leaks: plan.leaks.iter().map(|s| s.leak).collect(), ..wish }
            .admit(&plan, samples)?),
        false => Ok(()),
    }
}

/// The user's wish from the flags.
pub(crate) fn wish(a: &WishArgs) -> Result<Wish, Usage> {
    let modes = a.system().modes();
    if let Some(mode) = a.mode.as_deref().filter(|m| !modes.contains(m)) {
        let (id, known) = (a.system().id(), modes.join(", "));
        return Err(Usage(format!("system `{id}` has no mode `{mode}`; it has: {known}")));
    }
    Ok(Wish {
        mode: a.mode.clone(),
        plan: a.plan.clone(),
        accepted_leaks: a.accept_leak.clone(),
        max_bytes: a.max_bytes,
        group: a.group,
        max_memory: a.max_memory.map(|mib| mib.saturating_mul(1 << 20)),
        ..Wish::default()
    })
}

/// The groups that `samples` images take, where images are predicted in groups.
pub(crate) fn groups(cost: &Cost, samples: u64) -> Option<String> {
    let (groups, each) = (cost.groups(samples), u64::from(cost.group));
    let free = match groups.saturating_mul(each).saturating_sub(samples) {
        0 => String::new(),
        1 => "; the place left free costs as much as one taken".to_owned(),
        n => format!("; the {} left free cost as much as if taken", count(n, "place")),
    };
    (each > 1).then(|| format!("{} of {}{free}", count(groups, "group"), count(each, "image")))
}

/// A plan in words.
pub(crate) fn describe(p: &Plan, samples: u64) -> String {
    let c = &p.choices;
    let id = p.digest().short();
    let mut text = entry("plan", &format!("{} ({}, plan {}), id {id}", c.system, c.mode, c.plan));
    text.extend(p.steps.iter().map(|s| entry("", s)));
    if p.key_bytes > 0 {
        text += &entry(
            "keys",
            &format!("{} up, unless the server has them from an earlier session", bytes(p.key_bytes)),
        );
    }
    let work = work(&p.cost.ops).map_or_else(String::new, |w| format!("; the server does {w}"));
    let (per, unit) = match p.cost.group {
        1 => ("per image", "image".to_owned()),
        n => ("per group", format!("group of up to {}, full or not", count(n.into(), "image"))),
    };
    if p.cost.offline != Traffic::default() {
        text += &entry("ahead", &format!("{}, {per}", traffic(p.cost.offline)));
    }
    text += &entry(per, &(traffic(p.cost.online) + &work));
    if p.predicted_us > 0 {
        let time = seconds(p.predicted_us as f64 / 1e6);
        text += &entry("expected", &format!("{time} per {unit}, on one thread, sending not counted"));
    }
    if p.work_memory_bytes > 0 || p.client_memory_bytes > 0 {
        let (server, client) = (p.session_memory_bytes + p.work_memory_bytes, p.client_memory_bytes);
        let what =
            format!("the server sets aside {} for a session, a client {}", bytes(server), bytes(client));
        text += &entry("memory", &what);
    }
    let total = bytes(p.cost.traffic(samples).total_bytes());
    let groups = groups(&p.cost, samples).map_or_else(String::new, |g| format!(": {g}"));
    text += &entry("in all", &format!("{total} for {}{groups}", count(samples, "image")));
    text += &facts(p);
    for role in [Role::Client, Role::Server] {
        for s in p.learned_by(role) {
            let accept = match s.leak.needs_acceptance() {
                true => format!(" (needs --accept-leak {})", s.leak),
                false => String::new(),
            };
            text += &entry("learned", &format!("the {role}: {}{accept}", s.detail));
        }
    }
    for t in &p.trust {
        let behaviour = match t.behaviour {
            Behaviour::SemiHonest => "a curious",
            Behaviour::Malicious => "a malicious",
        };
        let breaks = if t.breaks.is_empty() { "nothing breaks" } else { &t.breaks };
        text += &entry("trust", &format!("{behaviour} {}: {breaks}", t.role));
    }
    text
}
