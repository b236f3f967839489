//! `oblivia plan --compare`: all plans of a system for one model, side by side.

use crate::args::PlanArgs;
use crate::output::{bytes, json, out, seconds, thousands};
use anyhow::Result;
use oblivia_nn::PublicModel;
use oblivia_protocol::{Error, Plan, Wish};
use serde_json::json as object;

pub(crate) fn run(a: &PlanArgs, model: &PublicModel, wish: &Wish) -> Result<()> {
    let modes = match &wish.mode {
        Some(mode) => vec![mode.as_str()],
        None => a.wish.system.modes().to_vec(),
    };
    let mut rows: Vec<(String, Result<Plan, Error>)> = Vec::new();
    for mode in modes {
        for plan in a.wish.system.plans() {
            let wish = Wish { mode: Some(mode.into()), plan: Some((*plan).into()), ..wish.clone() };
            rows.push((format!("{mode}/{plan}"), a.wish.system.plan(model, &wish)));
        }
    }
    if a.json {
        let row = |(name, plan): &(String, Result<Plan, Error>)| match plan {
            Ok(p) => object!({ "name": name, "plan": p, "refused": null }),
            Err(e) => object!({ "name": name, "plan": null, "refused": e.to_string() }),
        };
        let rows: Vec<_> = rows.iter().map(row).collect();
        return json(&object!({ "schema": 1, "model": model.name, "compared": rows }));
    }
    let head = ["plan", "rotations", "operations", "transforms", "keys", "up", "down", "expected", "error"];
    let mut table = vec![head.map(str::to_owned)];
    let mut notes = String::new();
    for (name, plan) in &rows {
        match plan {
            Ok(p) => {
                let o = p.cost.ops;
                let rotations = o.rotations + o.hoisted;
                let operations = rotations + o.ct_mul + o.pt_mul + o.scalar_mul + o.add;
                // Of a group, in a table of images.
                let group = if p.cost.group > 1 {
                    format!(", {} at once", thousands(p.cost.group.into()))
                } else {
                    String::new()
                };
                table.push([
                    format!("{name}{group}"),
                    rotations.to_string(),
                    operations.to_string(),
                    o.ntt.to_string(),
                    bytes(p.key_bytes),
                    bytes(p.cost.online.up_bytes),
                    bytes(p.cost.online.down_bytes),
                    seconds(p.predicted_us as f64 / 1e6),
                    format!("{:.2e}", p.error.value()),
                ]);
            }
            Err(e) => notes += &format!("{name}: {e}\n"),
        }
    }
    out(&(aligned(&table) + &notes))
}

/// Columns as wide as their widest cell, the first one to the left, the others to the right.
fn aligned(table: &[[String; 9]]) -> String {
    let width =
        |c: usize| table.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..9).map(width).collect();
    let line = |row: &[String; 9]| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(c, (cell, w))| if c == 0 { format!("{cell:<w$}") } else { format!("{cell:>w$}") })
            .collect();
        cells.join("  ") + "\n"
    };
    table.iter().map(line).collect()
}
