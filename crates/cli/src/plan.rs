//! `oblivia plan`: what a private prediction would cost and who would learn what.

use crate::args::{PlanArgs, WishArgs};
use crate::compare;
use crate::exit::Usage;
use crate::output::{bytes, count, entry, json, out, seconds};
use crate::receipt::{facts, traffic, work};
use anyhow::Result;
use oblivia_protocol::{Behaviour, Plan, Role, Wish};

pub(crate) fn run(a: &PlanArgs) -> Result<()> {
    let model = oblivia::served(&oblivia::load_model(&a.model)?)?;
    let units = oblivia::read_calibration(&a.state.state_dir)?;
    let wish = Wish { units, ..wish(&a.wish)? };
    if a.compare {
        return compare::run(a, &model.public, &wish);
    }
    let plan = a.wish.system.plan(&model.public, &wish)?;
    let samples = u64::from(a.images);
    let over = wish.max_bytes.filter(|max| plan.cost.traffic(samples).total_bytes() > *max);
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
    match over {
        // Leaks are shown, not refused: nothing has happened yet.
        Some(_) => Ok(Wish { accepted_leaks: plan.leaks.iter().map(|s| s.leak).collect(), ..wish }
            .admit(&plan, samples)?),
        None => Ok(()),
    }
}

/// The user's wish from the flags.
pub(crate) fn wish(a: &WishArgs) -> Result<Wish, Usage> {
    let modes = a.system.modes();
    if let Some(mode) = a.mode.as_deref().filter(|m| !modes.contains(m)) {
        let (id, known) = (a.system.id(), modes.join(", "));
        return Err(Usage(format!("system `{id}` has no mode `{mode}`; it has: {known}")));
    }
    Ok(Wish {
        mode: a.mode.clone(),
        plan: a.plan.clone(),
        accepted_leaks: a.accept_leak.clone(),
        max_bytes: a.max_bytes,
        ..Wish::default()
    })
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
    text += &entry("per image", &(traffic(p.cost.online) + &work));
    if p.predicted_us > 0 {
        text += &entry(
            "expected",
            &format!("{} per image on one thread, sending not counted", seconds(p.predicted_us as f64 / 1e6)),
        );
    }
    let total = bytes(p.cost.traffic(samples).total_bytes());
    text += &entry("in all", &format!("{total} for {}", count(samples, "image")));
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
