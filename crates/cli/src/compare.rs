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
        None => a.wish.system().modes().to_vec(),
    };
    let planned = |wish: &Wish| {
        let plan = a.wish.system().plan(model, wish)?;
        wish.admit_group(&plan).map(|()| plan)
    };
    let mut rows: Vec<(String, Result<Plan, Error>)> = Vec::new();
    for mode in modes {
        let wish = Wish { mode: Some(mode.into()), ..wish.clone() };
        if a.wish.system().plans().is_empty() {
            rows.push((mode.into(), planned(&wish)));
        }
        for plan in a.wish.system().plans() {
            let wish = Wish { plan: Some((*plan).into()), ..wish.clone() };
            rows.push((format!("{mode}/{plan}"), planned(&wish)));
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
    let mut refused = Vec::new();
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
            Err(e) => refused.push((name.as_str(), e)),
        }
    }
    out(&(aligned(&table) + &refusals(&model.name, &refused)))
}

/// One line per reason, with all plans that there are not for it.
fn refusals(model: &str, refused: &[(&str, &Error)]) -> String {
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    for (name, e) in refused {
        let why = match e {
            Error::Refused { why } => why.clone(),
            e => e.to_string(),
        };
        // The plan stands in front of the line, and the model is the one that was asked about.
        let plan = name.rsplit('/').next().unwrap_or(name);
        let why = why.replace(&format!("no plan `{plan}`"), "no such plan");
        let why = [format!("`{model}` has no such plan: "), format!("`{model}`: ")]
            .iter()
            .find_map(|said| why.strip_prefix(said.as_str()))
            .unwrap_or(&why)
            .to_owned();
        match lines.iter_mut().find(|(other, _)| *other == why) {
            Some((_, names)) => names.push(name),
            None => lines.push((why, vec![name])),
        }
    }
    let line = |(why, names): &(String, Vec<&str>)| format!("no {}: {why}\n", names.join(", "));
    lines.iter().map(line).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_that_there_are_not_share_a_line_where_they_share_the_reason() {
        let refuse = |why: &str| Error::Refused { why: why.into() };
        let errors = [
            ("approximate/packed", refuse("`m` has no plan `packed`: a map is too large")),
            ("approximate/lola", refuse("`m` has no plan `lola`: it is for five layers")),
            ("exact/planned", refuse("the plan would send 12 bytes of keys, links carry 10")),
            ("exact/packed", refuse("`m`: a map is too large")),
            ("exact/lola", refuse("`m`: this mode has no plan `lola`")),
            ("batch/packed", Error::Input("mode `batch` has no plan `packed`; it has: planned".into())),
            ("batch/lola", Error::Input("mode `batch` has no plan `lola`; it has: planned".into())),
        ];
        let errors: Vec<(&str, &Error)> = errors.iter().map(|(name, e)| (*name, e)).collect();
        let expected = "\
no approximate/packed, exact/packed: a map is too large
no approximate/lola: it is for five layers
no exact/planned: the plan would send 12 bytes of keys, links carry 10
no exact/lola: this mode has no such plan
no batch/packed, batch/lola: mode `batch` has no such plan; it has: planned
";
        assert_eq!(refusals("m", &errors), expected);
        assert_eq!(refusals("m", &[]), "");
    }
}
