//! What people see: ratios of one run as a table, and what is grossly off.

use std::fmt::Write as _;

use crate::workloads::{Figure, Figures, Plan};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance.md");
const BEGIN: &str = "<!-- written by make bench: begin -->";
const END: &str = "<!-- written by make bench: end -->";

/// Ratios that only a mistake in the code can reach, far above what a busy machine adds.
const GROSS: [(&str, f64); 2] = [("W1 ", 6.0), ("W2 ", 6.0)];

/// The table.
pub(crate) fn table(figures: &Figures, plan: &Plan) -> String {
    let mut text = format!(
        "One run: {} nodes, {} pods; {} rounds, medians; server on one core, load on another.\n\n| workload | p50, to plain | p99, to plain | CPU per request, to plain | CPU, to floor | p99 to its own p50 | p50 (this machine) |\n|---|---|---|---|---|---|---|\n",
        plan.size.nodes, plan.size.pods, plan.rounds
    );
    for ours in figures
        .figures
        .iter()
        .filter(|figure| figure.server == "pointsman")
    {
        let (toy, floor) = (other(figures, ours, "plain"), other(figures, ours, "floor"));
        writeln!(
            text,
            "| {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0?} |",
            ours.workload,
            ratio(ours.p50, toy.p50),
            ratio(ours.p99, toy.p99),
            ratio(ours.cpu, toy.cpu),
            ratio(ours.cpu, floor.cpu),
            ratio(ours.p99, ours.p50),
            ours.p50,
        )
        .expect("a string grows");
    }
    text.push_str("\n| what | value |\n|---|---|\n");
    for (what, value, unit) in &figures.values {
        writeln!(text, "| {what} | {value:.2} {unit} |").expect("a string grows");
    }
    text
}

/// Puts the table between its marks in docs/performance.md.
pub(crate) fn write(table: &str) {
    let document = std::fs::read_to_string(DOCUMENT).expect("docs/performance.md exists");
    let (head, rest) = document.split_once(BEGIN).expect("the mark of the beginning");
    let (_, tail) = rest.split_once(END).expect("the mark of the end");
    std::fs::write(DOCUMENT, format!("{head}{BEGIN}\n\n{table}\n{END}{tail}")).expect("it can be written");
}

/// Which ratios are grossly off.
pub(crate) fn gross(figures: &Figures) -> Vec<String> {
    let ours = figures
        .figures
        .iter()
        .filter(|figure| figure.server == "pointsman");
    ours.filter_map(|ours| {
        let (_, limit) = GROSS
            .iter()
            .find(|(prefix, _)| ours.workload.starts_with(prefix))?;
        let cpu = ratio(ours.cpu, other(figures, ours, "plain").cpu);
        (cpu > *limit).then(|| format!("{}: {cpu:.1} x the CPU of plain, limit {limit}", ours.workload))
    })
    .collect()
}

fn other<'a>(figures: &'a Figures, ours: &Figure, server: &str) -> &'a Figure {
    figures
        .figures
        .iter()
        .find(|figure| figure.server == server && figure.workload == ours.workload)
        .expect("every server is measured")
}

fn ratio(a: std::time::Duration, b: std::time::Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}
