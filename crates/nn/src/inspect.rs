//! What `inspect` shows of a model: one row per node, and totals.

use crate::cost::{self, NodeCost};
use crate::{PublicModel, Shape};
use std::fmt;

/// One node.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Name as in the model file.
    pub name: String,
    /// The operator with its parameters, readable.
    pub op: String,
    /// Names of the nodes whose wires it reads.
    pub inputs: Vec<String>,
    /// Output shape.
    pub shape: Shape,
    /// Published bound on |value| of the output.
    pub bound: Option<f64>,
    /// Multiply-accumulates and parameters.
    pub cost: NodeCost,
}

/// A model at a glance; its `Display` is a table.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// Name of the model.
    pub name: String,
    /// Number of labels.
    pub labels: usize,
    /// Nodes in topological order, the input first.
    pub rows: Vec<Row>,
    /// Shape of the output.
    pub output: Shape,
    /// Over the whole graph, shared weights once.
    pub total: NodeCost,
}

impl Report {
    /// Looks at every node of `model`.
    pub fn new(model: &PublicModel) -> Self {
        let graph = &model.graph;
        let name_of = |w: &crate::WireId| graph.nodes().get(w.index()).map(|n| n.name.clone());
        let row = |node: &crate::Node| Row {
            name: node.name.clone(),
            op: node.op.to_string(),
            inputs: node.inputs.iter().filter_map(name_of).collect(),
            shape: node.fact.shape.clone(),
            bound: node.fact.bound,
            cost: cost::node(graph, node),
        };
        Self {
            name: model.name.clone(),
            labels: model.labels.len(),
            rows: graph.nodes().iter().map(row).collect(),
            output: graph.output_shape().clone(),
            total: cost::total(graph),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["node", "operator", "output", "MACs", "parameters", "|x| ≤"].map(String::from);
        let rows: Vec<[String; 6]> = self.rows.iter().map(cells).collect();
        let mut width = [0; 6];
        for row in std::iter::once(&head).chain(&rows) {
            for (w, cell) in width.iter_mut().zip(row) {
                *w = (*w).max(cell.chars().count());
            }
        }
        writeln!(f, "{}: {} nodes, output {}", printable(&self.name), self.rows.len(), self.output)?;
        for row in std::iter::once(&head).chain(&rows) {
            let [name, op, shape, macs, params, bound] = row;
            let [wn, wo, ws, wm, wp, wb] = width;
            let line = format!("{name:wn$}  {op:wo$}  {shape:ws$}  {macs:>wm$}  {params:>wp$}  {bound:>wb$}");
            writeln!(f, "{}", line.trim_end())?;
        }
        write!(f, "total: {} MACs, {} parameters", thousands(self.total.macs), thousands(self.total.params))
    }
}

fn cells(row: &Row) -> [String; 6] {
    let count = |n: u64| if n == 0 { String::new() } else { thousands(n) };
    [
        printable(&row.name),
        row.op.clone(),
        row.shape.to_string(),
        count(row.cost.macs),
        count(row.cost.params),
        row.bound.map(|b| format!("{b:.4}")).unwrap_or_default(),
    ]
}

/// Names come from files and peers: control characters must not reach a terminal.
fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A number with commas between thousands.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tiny_model;

    #[test]
    fn the_table_shows_every_node_and_the_totals() {
        let report = Report::new(&tiny_model().public);
        let text = report.to_string();
        assert_eq!(text.lines().count(), report.rows.len() + 3);
        assert!(text.contains("Conv 3×3"), "{text}");
        assert!(text.ends_with("total: 864 MACs, 239 parameters"), "{text}");
    }

    #[test]
    fn control_characters_of_a_name_do_not_reach_the_terminal() {
        let mut public = tiny_model().public;
        public.name = "evil\u{1b}[2J".into();
        assert!(!Report::new(&public).to_string().contains('\u{1b}'));
    }

    #[test]
    fn digits_are_grouped_by_thousands() {
        assert_eq!(["0", "999", "1,000", "41,000,010"], [0, 999, 1000, 41_000_010].map(thousands)[..]);
    }
}
