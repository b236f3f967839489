//! `oblivia plan`: what a private prediction would cost and who would learn what.

use crate::args::{PlanArgs, WishArgs};
use crate::receipt::{bytes, plural};
use anyhow::Result;
use oblivia_protocol::{Error, Leak, Plan, System, Wish};

pub(crate) fn run(a: &PlanArgs) -> Result<()> {
    let model = oblivia::served(&oblivia_onnx::load(&a.model)?)?;
    let system = system(&a.wish.system)?;
    let plan = system.plan(&model.public, &wish(&a.wish)?)?;
    if a.json {
        println!("{}", serde_json::to_string_pretty(&plan)?);
    } else {
        print!("{}", describe(&plan, u64::from(a.images)));
    }
    Ok(())
}

/// The system of an id, or which there are.
pub(crate) fn system(id: &str) -> Result<&'static dyn System, Error> {
    oblivia_systems::find(id).ok_or_else(|| {
        let known: Vec<&str> = oblivia_systems::SYSTEMS.iter().map(|s| s.id()).collect();
        Error::Input(format!("there is no system `{id}`; this build has: {}", known.join(", ")))
    })
}

/// The user's wish from the flags.
pub(crate) fn wish(a: &WishArgs) -> Result<Wish, Error> {
    let leak = |name: &String| {
        Leak::from_name(name).ok_or_else(|| {
            let known: Vec<&str> =
                Leak::ALL.iter().filter(|l| l.needs_acceptance()).map(|l| l.name()).collect();
            Error::Input(format!(
                "there is no leak `{name}`; those that can be accepted: {}",
                known.join(", ")
            ))
        })
    };
    Ok(Wish {
        mode: a.mode.clone(),
        plan: a.plan.clone(),
        accepted_leaks: a.accept_leak.iter().map(leak).collect::<Result<_, _>>()?,
        max_bytes: a.max_bytes,
    })
}

/// A plan in words.
pub(crate) fn describe(p: &Plan, samples: u64) -> String {
    let mut lines = vec![format!(
        "plan      {} ({}, plan {}), id {}",
        p.choices.system,
        p.choices.mode,
        p.choices.plan,
        p.digest().short()
    )];
    lines.extend(p.steps.iter().map(|s| format!("          {s}")));
    lines.push(format!("keys      {} once per session", bytes(p.key_bytes)));
    let online = p.cost.online;
    lines.push(format!(
        "per image {} up, {} down, {} round{}, {} homomorphic operations ({} rotations), {} transforms",
        bytes(online.up_bytes),
        bytes(online.down_bytes),
        online.rounds,
        plural(online.rounds),
        p.cost.ops.homomorphic(),
        p.cost.ops.rotations + p.cost.ops.hoisted,
        p.cost.ops.ntt
    ));
    lines.push(format!(
        "in all    {} for {samples} image{}",
        bytes(p.cost.traffic(samples).total_bytes()),
        plural(samples)
    ));
    lines.push(match p.security_bits {
        0 => format!("security  {}", p.parameters),
        bits => format!("security  {bits} bits; {}", p.parameters),
    });
    lines.push(match p.error.units_2_32 {
        0 => "error     none".to_owned(),
        _ => format!("error     every output within {:.4}, {}", p.error.value(), p.error.assumption),
    });
    for s in &p.leaks {
        let accept = if s.leak.needs_acceptance() {
            format!(" (needs --accept-leak {})", s.leak)
        } else {
            String::new()
        };
        lines.push(format!("learned   the {}: {}{accept}", s.to, s.detail));
    }
    for t in &p.trust {
        let breaks = if t.breaks.is_empty() { "nothing breaks" } else { &t.breaks };
        let behaviour = match t.behaviour {
            oblivia_protocol::Behaviour::SemiHonest => "semi-honest",
            oblivia_protocol::Behaviour::Malicious => "malicious",
        };
        lines.push(format!("trust     {behaviour} {}: {breaks}", t.role));
    }
    lines.join("\n") + "\n"
}
