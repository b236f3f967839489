//! `oblivia inspect`: the graph, its cost in the clear, and which systems can run it.

use crate::args::InspectArgs;
use anyhow::Result;
use oblivia_nn::{PublicModel, inspect::Report};
use oblivia_protocol::{Support, System, Wish};
use serde::Serialize;

/// A system's answer to a model.
#[derive(Serialize, Debug)]
struct Answer {
    system: &'static str,
    verdict: &'static str,
    why: Vec<String>,
}

pub(crate) fn run(a: &InspectArgs) -> Result<()> {
    let loaded = oblivia_onnx::load(&a.model)?;
    let report = Report::new(&loaded.public);
    let model = oblivia::served(&loaded)?;
    let answers: Vec<Answer> = oblivia_systems::SYSTEMS.iter().map(|s| answer(*s, &model.public)).collect();
    if a.json {
        let rows: Vec<serde_json::Value> = report
            .rows
            .iter()
            .map(|r| {
                serde_json::json!({
                    "name": r.name, "op": r.op, "shape": r.shape.dims(), "macs": r.cost.macs,
                    "params": r.cost.params, "bound": r.bound,
                })
            })
            .collect();
        let all = serde_json::json!({ "model": model.public.name, "nodes": rows, "systems": answers });
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    println!("{report}");
    for x in &answers {
        println!("{:<9} {}{}", x.system, x.verdict, if x.why.is_empty() { "" } else { ":" });
        x.why.iter().for_each(|w| println!("            {w}"));
    }
    Ok(())
}

/// Yes if there is a plan; else the nodes in the way, or why no plan was found.
fn answer(system: &'static dyn System, model: &PublicModel) -> Answer {
    let refusal = match system.plan(model, &Wish::default()) {
        Ok(_) => return Answer { system: system.id(), verdict: "yes", why: Vec::new() },
        Err(e) => e.to_string(),
    };
    let (mut rewrites, mut noes) = (Vec::new(), Vec::new());
    for node in model.graph.nodes() {
        let line = |why: String| format!("{} ({}): {why}", node.name, node.op.name());
        match system.supports(&model.graph, node) {
            Support::Yes => {}
            Support::Rewrite(why) => rewrites.push(line(why)),
            Support::No(why) => noes.push(line(why)),
        }
    }
    let verdict = if noes.is_empty() && !rewrites.is_empty() { "rewrite" } else { "no" };
    let mut why = noes;
    why.extend(rewrites);
    if why.is_empty() {
        why.push(refusal);
    }
    summarise(&mut why);
    Answer { system: system.id(), verdict, why }
}

/// Keeps the first few lines.
fn summarise(why: &mut Vec<String>) {
    const MOST: usize = 6;
    if why.len() > MOST {
        let more = why.len() - MOST;
        why.truncate(MOST);
        why.push(format!("… and {more} more nodes"));
    }
}
