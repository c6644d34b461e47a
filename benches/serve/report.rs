//! What people see: ratios of one run as a table, and what is grossly off.

use std::fmt::Write as _;
use std::time::Duration;

use crate::workloads::{Figure, Figures, Plan};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance.md");
const BEGIN: &str = "<!-- written by make bench: begin -->";
const END: &str = "<!-- written by make bench: end -->";

/// Ratios that only a mistake in the code can reach: three times what they are today, far above what a busy machine adds.
const GROSS: [(&str, f64); 2] = [("W1 ", 10.0), ("W2 ", 10.0)];

/// What network-resources-injector's CPU per request was to that of a Go server like ours when both were measured on one
/// machine (0.79 to 1.23 ms, and 0.73 to 1.25 ms). It is not measured again: its module cannot be had everywhere that this
/// runs, so a ratio to it is derived from the ratio to *go*.
const INJECTOR: [(&str, f64); 2] = [
    ("W1 mutate, 1 connections", 0.79 / 1.23),
    ("W1 mutate, 64 connections", 0.73 / 1.25),
];

/// The table.
pub(crate) fn table(figures: &Figures, plan: &Plan) -> String {
    let mut text = format!(
        "One run: {} nodes, {} pods; {} rounds, medians; server on one core, load on another.\n\n| workload | p50, to plain | p99, to plain | CPU per request, to plain | CPU, to floor | CPU, to go | p99, to go | p99 to its own p50 | p50 (this machine) |\n|---|---|---|---|---|---|---|---|---|\n",
        plan.size.nodes, plan.size.pods, plan.rounds
    );
    for ours in ours_of(figures) {
        let to = |server: &str, key: fn(&Figure) -> Duration| {
            let other = other(figures, ours, server)?;
            Some(ratio(key(ours), key(other)))
        };
        let (toy, floor, go) = (
            [by_p50, by_p99, by_cpu].map(|key| text_of(to("plain", key))),
            text_of(to("floor", by_cpu)),
            [by_cpu, by_p99].map(|key| text_of(to("go", key))),
        );
        writeln!(
            text,
            "| {} | {} | {floor} | {} | {:.2} | {:.0?} |",
            ours.workload,
            toy.join(" | "),
            go.join(" | "),
            ratio(ours.p99, ours.p50),
            ours.p50,
        )
        .expect("a string grows");
    }
    text.push_str("\n| what | value |\n|---|---|\n");
    for (what, value, unit) in &figures.values {
        writeln!(text, "| {what} | {value:.2} {unit} |").expect("a string grows");
    }
    for (workload, to_go) in INJECTOR {
        let ours = ours_of(figures).find(|ours| ours.workload == workload);
        let derived = ours.and_then(|ours| Some(ratio(ours.cpu, other(figures, ours, "go")?.cpu) / to_go));
        if let Some(derived) = derived {
            writeln!(
                text,
                "| {workload}: CPU per request, to network-resources-injector (derived) | {derived:.3} |"
            )
            .expect("a string grows");
        }
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
    ours_of(figures)
        .filter_map(|ours| {
            let (_, limit) = GROSS
                .iter()
                .find(|(prefix, _)| ours.workload.starts_with(prefix))?;
            let plain = other(figures, ours, "plain").expect("it is always measured");
            let cpu = ratio(ours.cpu, plain.cpu);
            (cpu > *limit).then(|| format!("{}: {cpu:.1} x the CPU of plain, limit {limit}", ours.workload))
        })
        .collect()
}

fn ours_of(figures: &Figures) -> impl Iterator<Item = &Figure> {
    figures
        .figures
        .iter()
        .filter(|figure| figure.server == "pointsman")
}

fn other<'a>(figures: &'a Figures, ours: &Figure, server: &str) -> Option<&'a Figure> {
    figures
        .figures
        .iter()
        .find(|figure| figure.server == server && figure.workload == ours.workload)
}

fn by_p50(figure: &Figure) -> Duration {
    figure.p50
}

fn by_p99(figure: &Figure) -> Duration {
    figure.p99
}

fn by_cpu(figure: &Figure) -> Duration {
    figure.cpu
}

/// A server that was not measured has a dash.
fn text_of(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}
