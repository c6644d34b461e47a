//! The report for people.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Write};

use comfy_table::{Cell, Color, Table};

use super::columns::{Style, plural, table, write_lines};
use super::report::{Explanation, PodReport, Report};

/// Writes the report: a line for each pod, then why the others have no node, in full.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write_table(report: &Report, style: Style, out: &mut impl Write) -> io::Result<()> {
    // Without the blanks that fill the last column.
    write_lines(&rows(report, style), out)?;
    write_denied(report, out)?;
    write_unfit(report, out)?;
    write_waiting(report, out)?;
    write_warnings(report, out)?;
    write_findings(report, out)?;
    let count = |test: fn(&PodReport) -> bool| report.pods.iter().filter(|pod| test(pod)).count();
    writeln!(
        out,
        "\n{} and {}: {} placed, {} waiting, {} denied.",
        plural(report.pods.len(), "pod"),
        plural(report.nodes, "node"),
        count(|pod| pod.placement.is_some()),
        count(|pod| pod.admission.allowed && pod.placement.is_none()),
        count(|pod| !pod.admission.allowed),
    )
}

fn rows(report: &Report, style: Style) -> Table {
    let mut table = table(
        style,
        &["POD", "ADMITTED", "NODE", "LEAF GROUP", "IP POOLS", "WHY NOT"],
    );
    for pod in &report.pods {
        let (admitted, node, color) = match (&pod.placement, pod.admission.allowed) {
            (Some(placement), _) => ("yes", placement.node.as_str(), Color::Green),
            (None, true) => ("yes", "waits", Color::Yellow),
            (None, false) => ("denied", "", Color::Red),
        };
        let placement = pod.placement.as_ref();
        table.add_row([
            Cell::new(name(pod)),
            Cell::new(admitted).fg(if pod.admission.allowed {
                Color::Green
            } else {
                Color::Red
            }),
            Cell::new(node).fg(color),
            Cell::new(
                placement
                    .and_then(|placement| placement.leaf_group.as_deref())
                    .unwrap_or_default(),
            ),
            Cell::new(
                placement
                    .map(|placement| pools(&placement.pools))
                    .unwrap_or_default(),
            ),
            Cell::new(why_not(pod)).fg(color),
        ]);
    }
    table
}

/// The pools of all interfaces: the first and the last stand for many.
fn pools(by_interface: &BTreeMap<String, Vec<String>>) -> String {
    let mut all: Vec<String> = by_interface.values().map(|pools| pools.join("/")).collect();
    all.sort_by(|one, other| crate::decide::names::natural_order(one, other));
    match all.as_slice() {
        [first, _, _, .., last] => format!("{first} … {last} ({})", all.len()),
        few => few.join(", "),
    }
}

/// In one line: the reason that holds for most nodes, and how many there are. Ours come first: what the scheduler
/// says of nodes a pod never asked for (an affinity) tells less.
fn why_not(pod: &PodReport) -> String {
    if !pod.admission.allowed {
        return "see below".to_owned();
    }
    if pod.placement.is_some() {
        return String::new();
    }
    let is_ours = |reason: &String| pod.explanations.iter().any(|known| known.reason == *reason);
    let most = pod
        .refusals
        .iter()
        .max_by_key(|(reason, nodes)| (is_ours(reason), **nodes, Reverse(*reason)));
    match most {
        None => String::new(),
        Some((reason, nodes)) => match pod.refusals.len() {
            1 => on_nodes(*nodes, reason),
            more => format!("{}; {} more below", on_nodes(*nodes, reason), more - 1),
        },
    }
}

fn on_nodes(nodes: usize, reason: &str) -> String {
    match nodes {
        0 => reason.to_owned(),
        nodes => format!("{reason} ({})", plural(nodes, "node")),
    }
}

fn write_denied(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let mut denied = report.pods.iter().filter(|pod| !pod.admission.allowed).peekable();
    heading(denied.peek().is_some(), "Denied at admission", out)?;
    for pod in denied {
        writeln!(out, "  {}: {}", name(pod), pod.admission.message)?;
    }
    Ok(())
}

/// Pods that wait for the same reasons are told together.
fn write_waiting(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let mut groups: Vec<Vec<&PodReport>> = Vec::new();
    for pod in &report.pods {
        if !pod.admission.allowed || pod.placement.is_some() {
            continue;
        }
        let same = |group: &&mut Vec<&PodReport>| {
            group.first().is_some_and(|first| {
                first.refusals == pod.refusals && reasons(&first.explanations) == reasons(&pod.explanations)
            })
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(pod),
            None => groups.push(vec![pod]),
        }
    }
    heading(!groups.is_empty(), "Waiting for a node", out)?;
    for group in groups {
        let Some(first) = group.first() else { continue };
        let names: Vec<String> = group.iter().map(|pod| name(pod)).collect();
        writeln!(out, "  {}", names.join(", "))?;
        for (reason, nodes) in &first.refusals {
            writeln!(out, "    {}", on_nodes(*nodes, reason))?;
            for known in first.explanations.iter().filter(|known| known.reason == *reason) {
                if report.unfit.iter().any(|unfit| unfit.example == known.example) {
                    writeln!(out, "      {}: see above", known.example)?;
                } else {
                    writeln!(out, "      {}: {}", known.example, known.found)?;
                    writeln!(out, "      what helps: {}", known.remedy)?;
                }
            }
        }
    }
    Ok(())
}

fn reasons(explanations: &[Explanation]) -> Vec<&str> {
    explanations.iter().map(|known| known.reason.as_str()).collect()
}

fn write_unfit(report: &Report, out: &mut impl Write) -> io::Result<()> {
    heading(
        !report.unfit.is_empty(),
        "Nodes that are fit for none of the pods",
        out,
    )?;
    for explanation in &report.unfit {
        writeln!(out, "  {}: {}", explanation.example, explanation.reason)?;
        writeln!(out, "    {}", explanation.found)?;
        writeln!(out, "    what helps: {}", explanation.remedy)?;
    }
    Ok(())
}

fn write_warnings(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let mut warned = report
        .pods
        .iter()
        .filter(|pod| !pod.admission.warnings.is_empty())
        .peekable();
    heading(warned.peek().is_some(), "Warnings at admission", out)?;
    for pod in warned {
        for warning in &pod.admission.warnings {
            writeln!(out, "  {}: {warning}", name(pod))?;
        }
    }
    Ok(())
}

fn write_findings(report: &Report, out: &mut impl Write) -> io::Result<()> {
    heading(
        !report.findings.is_empty(),
        "Objects that are not what they should be",
        out,
    )?;
    for finding in &report.findings {
        for problem in &finding.problems {
            writeln!(out, "  {}: {problem}", finding.object)?;
        }
    }
    Ok(())
}

fn heading(wanted: bool, text: &str, out: &mut impl Write) -> io::Result<()> {
    if wanted {
        writeln!(out, "\n{text}:")
    } else {
        Ok(())
    }
}

fn name(pod: &PodReport) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}
