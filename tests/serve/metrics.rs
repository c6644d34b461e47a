//! The table in the README says exactly what the program exposes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pointsman::cluster::objects::Kind;
use pointsman::decide::stock::Count;
use pointsman::telemetry::label::{ExtenderVerdict, Verb};
use pointsman::telemetry::metrics::Metrics;
use pointsman::telemetry::stock::Taken;
use strum::IntoEnumIterator as _;

const README: &str = include_str!("../../README.md");

/// Labels by name. Where the table lists a label's words, all of them; none where it describes them.
type Labels = BTreeMap<String, BTreeSet<String>>;

/// What the table says of each metric: its type and its labels.
fn told() -> BTreeMap<String, (String, Labels)> {
    let rows = README.lines().filter(|line| line.starts_with("| `pointsman_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert!(!cells[4].is_empty(), "{row}");
        let labels = cells[3]
            .split("; ")
            .filter(|label| !label.is_empty())
            .map(|label| {
                let (name, words) = label.split_once(": ").unwrap_or((label, ""));
                let words: BTreeSet<String> = words.split(", ").map(str::to_owned).collect();
                let listed = words.iter().all(|word| !word.is_empty() && !word.contains(' '));
                let words = if listed { words } else { BTreeSet::new() };
                (name.trim_matches('`').to_owned(), words)
            });
        let name = cells[1].trim_matches('`').to_owned();
        (name, (cells[2].to_owned(), labels.collect()))
    })
    .collect()
}

/// What the program exposes, in the same form, with every word that was seen.
fn exposed(exposition: &str) -> BTreeMap<String, (String, Labels)> {
    let mut found = BTreeMap::new();
    let mut of = String::new();
    for line in exposition.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            of = format!("{name}{suffix}");
            found.insert(of.clone(), (kind.to_owned(), Labels::new()));
        } else if let Some((_, rest)) = line.split_once('{')
            && !line.starts_with('#')
        {
            let (labels, _value) = rest.split_once('}').unwrap();
            let (_, seen) = found.get_mut(&of).unwrap();
            for label in labels.split(',').filter(|label| !label.starts_with("le=")) {
                let (name, word) = label.split_once('=').unwrap();
                let words = seen.entry(name.to_owned()).or_default();
                words.insert(word.trim_matches('"').to_owned());
            }
        }
    }
    found
}

#[test]
fn the_table_is_what_the_program_exposes() {
    let metrics = Metrics::new();
    // A family shows once something happened.
    for &verb in Verb::ALL {
        for &verdict in ExtenderVerdict::ALL {
            metrics.extender_request(verb, verdict, Duration::ZERO);
        }
    }
    metrics.node_refusals("a_reason", 1);
    for kind in Kind::iter() {
        metrics.watch_error(kind.name());
        metrics.objects_unreadable(kind.name(), 1);
        metrics.index_event(kind.name(), 1);
    }
    let mut taken = Taken {
        waiting: BTreeMap::from([("a_reason", 1)]),
        expired: [("hold", 0), ("reservation", 0), ("gang", 0)],
        objects: BTreeMap::from([(Kind::Pod.name(), 1)]),
        ..Taken::default()
    };
    taken
        .stock
        .vfs
        .insert("example.com/rail0".into(), Count::default());
    taken.stock.addresses.insert("rail0".into(), Count::default());
    metrics.stock(taken);
    let told = told();
    let mut exposed = exposed(&metrics.exposition().unwrap());
    // Words that the table describes are not compared one by one.
    for (name, (_, labels)) in &mut exposed {
        let described = told.get(name).map(|(_, labels)| labels);
        for (label, words) in labels {
            if described.is_some_and(|told| told.get(label).is_some_and(BTreeSet::is_empty)) {
                words.clear();
            }
        }
    }
    assert_eq!(told, exposed);
    let closed = told.values().flat_map(|(_, labels)| labels.values());
    assert!(
        closed.filter(|words| !words.is_empty()).count() >= 12,
        "the table lists words"
    );
}

#[test]
fn a_scrape_of_a_busy_program_stays_small() {
    let metrics = Metrics::new();
    // More than there can be: no verb has all verdicts.
    for &verb in Verb::ALL {
        for &verdict in ExtenderVerdict::ALL {
            metrics.extender_request(verb, verdict, Duration::from_millis(1));
        }
    }
    let exposition = metrics.exposition().unwrap();
    assert!(exposition.len() < 100_000, "{} bytes", exposition.len());
}
