//! `docs/metrics.md` says exactly what the program exposes.

use std::collections::BTreeMap;
use std::time::Duration;

use pointsman::decide::stock::Fault;
use pointsman::telemetry::label::{
    ExtenderVerdict, ListenerName, NudgeResult, Rejection, Verb, WebhookVerdict,
};
use pointsman::telemetry::metrics::Metrics;
use pointsman::telemetry::stock::Taken;
use strum::IntoEnumIterator as _;

const TABLE: &str = include_str!("../../docs/metrics.md");

/// The rows of the table: metric, type, labels.
fn rows() -> Vec<[&'static str; 3]> {
    let rows = TABLE.lines().filter(|line| line.starts_with("| `pointsman_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        [cells[1].trim_matches('`'), cells[2], cells[3]]
    })
    .collect()
}

#[test]
fn the_table_lists_every_metric_with_its_type() {
    let metrics = Metrics::new();
    // A family shows once something happened.
    metrics.extender_request(Verb::Filter, ExtenderVerdict::Fits, Duration::ZERO);
    metrics.node_refusals("a_reason", 1);
    metrics.watch_error("pods");
    metrics.objects_unreadable("pods", 1);
    metrics.index_event("pods", 1);
    metrics.stock(Taken::default());
    let exposition = metrics.exposition().unwrap();
    let exposed: BTreeMap<String, &str> = exposition
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| {
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            (format!("{name}{suffix}"), kind)
        })
        .collect();
    let told: BTreeMap<String, &str> = rows()
        .into_iter()
        .map(|[name, kind, _]| (name.to_owned(), kind))
        .collect();
    assert_eq!(told, exposed);
}

#[test]
fn the_table_lists_every_word_of_a_label() {
    let words = |texts: &[&str]| texts.join(", ");
    let sets = [
        (
            "webhook_requests_total",
            "verdict",
            words(&all(WebhookVerdict::ALL, WebhookVerdict::as_str)),
        ),
        (
            "extender_requests_total",
            "verb",
            words(&all(Verb::ALL, Verb::as_str)),
        ),
        (
            "extender_requests_total",
            "verdict",
            words(&all(ExtenderVerdict::ALL, ExtenderVerdict::as_str)),
        ),
        (
            "nudges_total",
            "result",
            words(&all(NudgeResult::ALL, NudgeResult::as_str)),
        ),
        (
            "http_rejections_total",
            "listener",
            words(&all(ListenerName::ALL, ListenerName::as_str)),
        ),
        (
            "http_rejections_total",
            "reason",
            words(&all(Rejection::ALL, Rejection::as_str)),
        ),
        (
            "node_faults",
            "fault",
            words(&Fault::iter().map(Fault::slug).collect::<Vec<_>>()),
        ),
    ];
    for (metric, label, words) in sets {
        let name = format!("pointsman_{metric}");
        let [_, _, labels] = rows().into_iter().find(|row| row[0] == name).unwrap();
        let told = labels
            .split("; ")
            .find_map(|told| told.strip_prefix(&format!("`{label}`: ")));
        assert_eq!(told, Some(words.as_str()), "{name}");
    }
}

fn all<T: Copy>(words: &[T], text: fn(T) -> &'static str) -> Vec<&'static str> {
    words.iter().copied().map(text).collect()
}

#[test]
fn a_scrape_of_a_busy_program_stays_small() {
    let metrics = Metrics::new();
    for &verb in Verb::ALL {
        for &verdict in ExtenderVerdict::ALL {
            metrics.extender_request(verb, verdict, Duration::from_millis(1));
        }
    }
    let exposition = metrics.exposition().unwrap();
    assert!(exposition.len() < 20_000, "{} bytes", exposition.len());
}
