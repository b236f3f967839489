//! `oblivia inspect`: the graph, its cost in the clear, and which systems can run it.

use crate::args::InspectArgs;
use crate::output::{bytes, count, entry, json, out, shortened, thousands, wrap};
use anyhow::Result;
use oblivia_nn::inspect::{Report, Row};
use oblivia_nn::{InputSpec, PublicModel};
use oblivia_protocol::{Plan, Support, System, Wish};
use serde::Serialize;
use serde_json::{Value, json as object};

/// A system's answer to a model.
#[derive(Serialize)]
struct Answer {
    system: &'static str,
    verdict: &'static str,
    plan: Option<String>,
    why: Vec<String>,
}

pub(crate) fn run(a: &InspectArgs) -> Result<()> {
    let loaded = oblivia::open_model(&a.model)?;
    let report = Report::new(&loaded.model.public);
    let model = oblivia::served(&loaded.model)?;
    let answers: Vec<Answer> = oblivia_systems::SYSTEMS.iter().map(|s| answer(*s, &model.public)).collect();
    if a.json {
        return json(&object!({
            "schema": 1,
            "model": report.name,
            "input": input(&model.public),
            "output": report.output.dims(),
            "labels": report.labels,
            "nodes": report.rows.iter().map(node).collect::<Vec<_>>(),
            "total": { "macs": report.total.macs, "params": report.total.params },
            "systems": answers,
            "notes": loaded.notes,
        }));
    }
    let mut text = table(&report);
    text.push('\n');
    for x in &answers {
        text += &entry(x.system, x.verdict);
        text.extend(x.why.iter().map(|w| wrap("          - ", 12, w)));
    }
    text.extend(loaded.notes.iter().map(|n| entry("note", n)));
    out(&text)
}

fn input(model: &PublicModel) -> Value {
    let shape = model.graph.input_shape().dims();
    match &model.input {
        InputSpec::Tensor => object!({ "shape": shape }),
        InputSpec::Image(i) => {
            object!({ "shape": shape, "width": i.width, "height": i.height, "channels": i.channels })
        }
    }
}

fn node(r: &Row) -> Value {
    object!({
        "name": r.name, "op": r.op, "inputs": r.inputs, "shape": r.shape.dims(), "macs": r.cost.macs,
        "params": r.cost.params, "bound": r.bound,
    })
}

/// One line per node, and totals. A node reads the one above it unless its line says otherwise.
fn table(report: &Report) -> String {
    const MOST: usize = 32;
    let head = ["node", "operator", "output", "MACs", "parameters", "|x| ≤"].map(String::from);
    let number = |n: u64| if n == 0 { String::new() } else { thousands(n) };
    let mut rows = vec![head];
    let mut above: Option<&str> = None;
    for r in &report.rows {
        let reads = match r.inputs.as_slice() {
            [one] if Some(one.as_str()) == above => String::new(),
            [] => String::new(),
            several => {
                let names: Vec<String> = several.iter().map(|n| shortened(n, 20)).collect();
                format!(" of {}", names.join(", "))
            }
        };
        above = Some(&r.name);
        rows.push([
            shortened(&r.name, MOST),
            r.op.clone() + &reads,
            r.shape.to_string(),
            number(r.cost.macs),
            number(r.cost.params),
            r.bound.map(|b| format!("{b:.4}")).unwrap_or_default(),
        ]);
    }
    if report.rows.iter().all(|r| r.bound.is_none()) {
        rows.iter_mut().for_each(|[.., bound]| bound.clear());
    }
    let mut width = [0; 6];
    for row in &rows {
        for (w, cell) in width.iter_mut().zip(row) {
            *w = (*w).max(cell.chars().count());
        }
    }
    let nodes = count(report.rows.len() as u64, "node");
    let mut text = format!("{}: {nodes}, output {}\n\n", report.name, report.output);
    for [name, op, shape, macs, params, bound] in &rows {
        let [wn, wo, ws, wm, wp, wb] = width;
        let line = format!("{name:wn$}  {op:wo$}  {shape:ws$}  {macs:>wm$}  {params:>wp$}  {bound:>wb$}");
        text += line.trim_end();
        text.push('\n');
    }
    let (macs, params) = (thousands(report.total.macs), thousands(report.total.params));
    text + &format!("\ntotal: {macs} multiply-accumulates (MACs), {params} parameters\n")
}

/// Yes if there is a plan; else why none was found, and the nodes in the way.
fn answer(system: &'static dyn System, model: &PublicModel) -> Answer {
    let id = system.id();
    let refusal = match system.plan(model, &Wish::default()) {
        Ok(plan) => {
            let name = plan.choices.plan.clone();
            return Answer { system: id, verdict: "yes", plan: Some(name), why: vec![summary(&plan)] };
        }
        Err(e) => e.to_string(),
    };
    let (mut rewrites, mut noes) = (Vec::new(), Vec::new());
    for node in model.graph.nodes() {
        match system.supports(&model.graph, node) {
            Support::Yes => {}
            Support::Rewrite(why) => group(&mut rewrites, node.op.name(), why, &node.name),
            Support::No(why) => group(&mut noes, node.op.name(), why, &node.name),
        }
    }
    let verdict = if noes.is_empty() && !rewrites.is_empty() { "rewrite" } else { "no" };
    let why = std::iter::once(refusal).chain(noes.iter().chain(&rewrites).map(Group::words)).collect();
    Answer { system: id, verdict, plan: None, why }
}

/// The plan in a line.
fn summary(plan: &Plan) -> String {
    let (ahead, online) = (plan.cost.offline, plan.cost.online);
    let keys = match plan.key_bytes {
        0 => String::new(),
        n => format!("{} of keys once, then ", bytes(n)),
    };
    format!(
        "plan {} ({}): {keys}{} up and {} down per image; `oblivia plan` shows the rest",
        plan.choices.plan,
        plan.choices.mode,
        bytes(ahead.up_bytes + online.up_bytes),
        bytes(ahead.down_bytes + online.down_bytes)
    )
}

/// Nodes of one operator with one reason.
struct Group {
    op: &'static str,
    why: String,
    nodes: Vec<String>,
}

fn group(groups: &mut Vec<Group>, op: &'static str, why: String, node: &str) {
    let node = node.to_owned();
    match groups.iter_mut().find(|g| g.op == op && g.why == why) {
        Some(g) => g.nodes.push(node),
        None => groups.push(Group { op, why, nodes: vec![node] }),
    }
}

impl Group {
    fn words(&self) -> String {
        const SHOWN: usize = 3;
        let names: Vec<String> = self.nodes.iter().take(SHOWN).map(|n| shortened(n, 32)).collect();
        let more = match self.nodes.len().saturating_sub(SHOWN) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        format!("{} ({}{more}): {}", self.op, names.join(", "), self.why)
    }
}
