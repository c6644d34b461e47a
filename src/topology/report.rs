//! What an import prints: for programs, and for people.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use crate::cluster::fabric::{FabricWire, wire};
use crate::decide::fabric::{Rail, RailState};
use crate::simulate::columns::{Style, plural, table, write_lines};

use super::plan::{NodePlan, Plan, TIERS};

/// The plan as `-o json` prints it.
#[derive(Debug, Serialize)]
pub struct PlanWire<'a> {
    nodes: BTreeMap<&'a str, NodeWire<'a>>,
    unmatched: &'a [String],
    ambiguous: &'a [String],
    warnings: &'a [String],
}

#[derive(Debug, Serialize)]
struct NodeWire<'a> {
    labels: BTreeMap<&'static str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fabric: Option<FabricWire>,
}

impl<'a> From<&'a Plan> for PlanWire<'a> {
    fn from(plan: &'a Plan) -> Self {
        let node = |node: &'a NodePlan| NodeWire {
            labels: TIERS
                .into_iter()
                .zip(&node.labels)
                .filter_map(|(key, value)| Some((key, value.as_deref()?)))
                .collect(),
            fabric: node.rails.as_deref().map(wire),
        };
        Self {
            nodes: plan
                .nodes
                .iter()
                .map(|(name, plan)| (name.as_str(), node(plan)))
                .collect(),
            unmatched: &plan.unmatched,
            ambiguous: &plan.ambiguous,
            warnings: &plan.warnings,
        }
    }
}

/// Prints what would change, a line for each node, and what could not be matched.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write_plan(plan: &Plan, style: Style, out: &mut impl Write) -> io::Result<()> {
    let mut table = table(
        style,
        &["NODE", "LEAF GROUP", "SPINE", "CORE", "RAILS", "CHANGES"],
    );
    for (name, node) in plan.nodes.iter().filter(|(_, node)| !node.changes.is_empty()) {
        let [group, spine, core] = node
            .labels
            .each_ref()
            .map(|label| label.as_deref().unwrap_or("-"));
        table.add_row([
            name.as_str(),
            group,
            spine,
            core,
            &node.rails.as_deref().map(rails).unwrap_or_default(),
            &changed(node),
        ]);
    }
    if plan.changed() > 0 {
        write_lines(&table, out)?;
        writeln!(out)?;
    }
    writeln!(
        out,
        "{} known to the fabric, {} of them to be changed, {} dark.",
        plural(plan.nodes.len(), "node"),
        plan.changed(),
        plural(plan.dark(), "rail"),
    )?;
    for (what, list) in [
        ("No node", &plan.unmatched),
        ("Ambiguous, left alone", &plan.ambiguous),
    ] {
        if !list.is_empty() {
            writeln!(out, "{what}: {}", some(list))?;
        }
    }
    for warning in &plan.warnings {
        writeln!(out, "Warning: {warning}")?;
    }
    Ok(())
}

/// `8 rails: 7 Active, 1 Dark`.
#[must_use]
pub fn rails(rails: &[Rail]) -> String {
    let mut counts: Vec<(RailState, usize)> = Vec::new();
    for rail in rails {
        match counts.iter_mut().find(|(state, _)| *state == rail.state) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => counts.push((rail.state, 1)),
        }
    }
    let counts: Vec<String> = counts
        .into_iter()
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    format!("{}: {}", plural(rails.len(), "rail"), counts.join(", "))
}

fn changed(node: &NodePlan) -> String {
    let labels = node.changes.labels.iter().map(|(tier, now, wanted)| {
        let key = TIERS.get(*tier).copied().unwrap_or_default();
        let key = key.split_once('/').map_or(key, |(_, name)| name);
        match (now, wanted) {
            (None, _) => format!("{key} new"),
            (Some(now), Some(_)) => format!("{key} was {now}"),
            (Some(now), None) => format!("{key} {now} goes"),
        }
    });
    let all_new = node.changes.rails.iter().all(|rail| rail.contains(": new, "));
    let rails: Vec<String> = if all_new && !node.changes.rails.is_empty() {
        vec![format!("{} new", plural(node.changes.rails.len(), "rail"))]
    } else {
        node.changes.rails.clone()
    };
    labels.chain(rails).collect::<Vec<_>>().join("; ")
}

/// Enough of a list to know what it is about.
fn some(list: &[String]) -> String {
    const SHOWN: usize = 20;
    let text = list.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match list.len().saturating_sub(SHOWN) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}
