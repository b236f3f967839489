//! The receipt in words: time, bytes, rounds, who learned what.

use crate::output::{bytes, count, entry, seconds, thousands};
use crate::plan::groups;
use oblivia_protocol::{AheadUse, KeyUse, OpCounts, Plan, Receipt, Role, Seconds, Traffic};

/// The whole receipt.
pub(crate) fn render(r: &Receipt) -> String {
    let p = &r.plan;
    let c = &p.choices;
    let samples = count(r.samples, "image");
    let threads = count(r.threads as u64, "thread");
    let what = if matches!(r.ahead, AheadUse::Made { .. }) { "packs made for " } else { "" };
    let mut out = entry(
        "receipt",
        &format!(
            "{what}{samples} with {}, system {} ({}, plan {}), {threads}",
            r.model, c.system, c.mode, c.plan
        ),
    );
    if let Some(groups) = groups(&p.cost, r.samples) {
        out += &entry("groups", &groups);
    }
    out += &entry("time", &time(&r.seconds, r.samples));
    for (name, t) in
        [("setup", r.traffic.setup), ("offline", r.traffic.offline), ("online", r.traffic.online)]
    {
        if t != Traffic::default() {
            out += &entry(name, &traffic(t));
        }
    }
    if let Some(ahead) = ahead(r) {
        out += &entry("ahead", &ahead);
    }
    match r.keys.how {
        KeyUse::None => {}
        KeyUse::Sent => out += &entry("keys", &format!("{} sent", bytes(r.keys.sent_bytes))),
        KeyUse::Reused => {
            out += &entry("keys", "reused, 0 bytes: the server has them from an earlier session")
        }
    }
    out += &entry(
        "declared",
        &if r.as_declared() {
            "bytes and rounds are exactly what the plan said".to_owned()
        } else {
            format!("DIFFERENT: the plan said {:?}", r.declared())
        },
    );
    if let Some(work) = work(&p.cost.ops) {
        let per = if p.cost.group > 1 { "group" } else { "image" };
        out += &entry("server", &format!("{work}, per {per}"));
    }
    out += &facts(p);
    for role in [Role::Client, Role::Server] {
        let learned: Vec<&str> = p.learned_by(role).map(|s| s.detail.as_str()).collect();
        out += &entry("learned", &format!("the {role}: {}", learned.join("; ")));
    }
    if let Some(allowance) = &r.allowance {
        out += &entry("budget", &allowance.to_string());
    }
    out += &entry("trust", &r.assurance);
    out
}

/// Where what is made ahead of images came from.
fn ahead(r: &Receipt) -> Option<String> {
    let offline = |groups| traffic(r.plan.cost.offline.times(groups));
    let group = u64::from(r.plan.cost.group);
    let packs = |groups| match group {
        1 => count(groups, "pack"),
        _ => format!("{} of {} each", count(groups, "pack"), count(group, "image")),
    };
    match r.ahead {
        AheadUse::None => None,
        AheadUse::Used { groups: 0 } => {
            Some("no pack was used: the other side had none of those that are here".into())
        }
        AheadUse::Used { groups } => Some(format!(
            "{} used, made in earlier sessions, which paid for them: {}",
            packs(groups),
            offline(groups)
        )),
        AheadUse::Made { groups } => {
            Some(format!("{} kept at both sides, for later sessions", packs(groups)))
        }
    }
}

/// Security and error of a plan.
pub(crate) fn facts(p: &Plan) -> String {
    let security = match p.security_bits {
        0 => p.parameters.clone(),
        bits => format!("{bits} bits; {}", p.parameters),
    };
    let error = match p.error.units_2_32 {
        0 if p.error.assumption != "exact" => p.error.assumption.clone(),
        0 => "none: outputs are the network's own".to_owned(),
        _ if p.error.measured => format!(
            "no bound: outputs were at most {:.4} off the float network's {}",
            p.error.value(),
            p.error.assumption
        ),
        _ => format!("every output within {:.4} of the network's, {}", p.error.value(), p.error.assumption),
    };
    entry("security", &security) + &entry("error", &error)
}

/// Bytes and rounds.
pub(crate) fn traffic(t: Traffic) -> String {
    format!("{} up, {} down, {}", bytes(t.up_bytes), bytes(t.down_bytes), count(t.rounds, "round"))
}

/// Operations on ciphertexts, if there are any.
pub(crate) fn work(ops: &OpCounts) -> Option<String> {
    (ops.homomorphic() > 0).then(|| {
        format!(
            "{} homomorphic operations ({}), {}",
            thousands(ops.homomorphic()),
            count(ops.rotations + ops.hoisted, "rotation"),
            count(ops.ntt, "transform")
        )
    })
}

fn time(s: &Seconds, samples: u64) -> String {
    let offline = if s.offline > 0.0 { format!("offline {} + ", seconds(s.offline)) } else { String::new() };
    let each = match samples {
        0 | 1 => String::new(),
        n => format!(" ({} per image)", seconds(s.online / n as f64)),
    };
    format!(
        "{} = setup {} + {offline}online {}{each}",
        seconds(s.total()),
        seconds(s.setup),
        seconds(s.online)
    )
}
