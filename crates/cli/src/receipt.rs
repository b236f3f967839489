//! The receipt in words: time, bytes, rounds, who learned what.

use oblivia_protocol::{Receipt, Role, Traffic};
use std::fmt::Write;

/// A number of bytes for people: 1,234 B, 5.6 KB, 7.8 MB (powers of ten).
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..10_000 => format!("{n} B"),
        10_000..10_000_000 => format!("{:.1} KB", n as f64 / 1e3),
        _ => format!("{:.1} MB", n as f64 / 1e6),
    }
}

/// A duration for people.
pub(crate) fn seconds(s: f64) -> String {
    if s < 1.0 { format!("{:.1} ms", s * 1e3) } else { format!("{s:.2} s") }
}

/// The whole receipt.
pub(crate) fn render(r: &Receipt) -> String {
    let mut out = String::new();
    let p = &r.plan;
    let samples = r.samples.max(1);
    let mut line = |text: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{text}");
    };
    line(format!(
        "receipt   {} image{} with {}, system {} ({}, plan {}), {} thread{}",
        r.samples,
        plural(r.samples),
        r.model,
        p.choices.system,
        p.choices.mode,
        p.choices.plan,
        r.threads,
        plural(r.threads as u64),
    ));
    line(format!(
        "time      {} = setup {} + offline {} + online {} ({} per image)",
        seconds(r.seconds.total()),
        seconds(r.seconds.setup),
        seconds(r.seconds.offline),
        seconds(r.seconds.online),
        seconds(r.seconds.online / samples as f64),
    ));
    for (name, t) in
        [("setup", r.traffic.setup), ("offline", r.traffic.offline), ("online", r.traffic.online)]
    {
        if t != Traffic::default() {
            line(format!(
                "{name:<9} {} up, {} down, {} round{}{}",
                bytes(t.up_bytes),
                bytes(t.down_bytes),
                t.rounds,
                plural(t.rounds),
                if name == "setup" && p.key_bytes > 0 {
                    format!(" (keys {})", bytes(p.key_bytes))
                } else {
                    String::new()
                },
            ));
        }
    }
    line(format!(
        "declared  {}",
        if r.as_declared() {
            "bytes and rounds are exactly what the plan said".to_owned()
        } else {
            format!("DIFFERENT: the plan said {:?}", r.declared())
        }
    ));
    let ops = p.cost.ops;
    if ops.homomorphic() > 0 {
        line(format!(
            "server    {} homomorphic operations per image ({} rotations), {} transforms",
            ops.homomorphic(),
            ops.rotations + ops.hoisted,
            ops.ntt
        ));
    }
    line(format!("security  {}", security(r)));
    line(format!("error     {}", error(r)));
    for role in [Role::Client, Role::Server] {
        let learned: Vec<&str> = p.learned_by(role).map(|s| s.detail.as_str()).collect();
        line(format!("learned   the {role}: {}", learned.join("; ")));
    }
    line(format!("trust     {}", r.assurance));
    out
}

fn security(r: &Receipt) -> String {
    match r.plan.security_bits {
        0 => r.plan.parameters.clone(),
        bits => format!("{bits} bits; {}", r.plan.parameters),
    }
}

fn error(r: &Receipt) -> String {
    match r.plan.error.units_2_32 {
        0 => "none: outputs are the network's own".to_owned(),
        _ => format!(
            "every output within {:.4} of the network's, {}",
            r.plan.error.value(),
            r.plan.error.assumption
        ),
    }
}

pub(crate) fn plural(n: u64) -> &'static str {
    if n == 1 { "" } else { "s" }
}
