//! No reason without a scenario, and no snapshot without one: every [`Reason`] a node can be refused for is produced by a file in
//! `tests/scenarios/reasons/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use pointsman::decide::reason::Reason;
use pointsman::simulate::{Input, simulate};
use strum::IntoEnumIterator as _;

/// What no file can bring about, because the simulation has no two sources that differ in time; both are produced in
/// `tests/extender/main.rs`.
const OUT_OF_REACH: [(Reason, &str); 2] = [
    (
        Reason::NodeUnknown,
        "the scheduler has seen a node that the extender has not",
    ),
    (
        Reason::TooFewVfs,
        "the extender has promised VFs that the scheduler still counts as free",
    ),
];

#[test]
fn every_reason_is_produced_by_a_scenario() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut produced: BTreeSet<String> = BTreeSet::new();
    for entry in fs::read_dir("tests/scenarios/reasons").unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "yaml") {
            let input = Input {
                paths: vec![PathBuf::from("tests/scenarios/cluster.yaml"), file],
                ..Input::default()
            };
            let report = runtime.block_on(simulate(&input)).unwrap();
            produced.extend(report.pods.into_iter().flat_map(|pod| pod.refusals.into_keys()));
        }
    }
    let missing: Vec<Reason> = Reason::iter()
        .filter(|reason| !produced.contains(reason.text()))
        .collect();
    let expected: Vec<Reason> = Reason::iter()
        .filter(|reason| OUT_OF_REACH.iter().any(|(exempt, _)| exempt == reason))
        .collect();
    assert_eq!(
        missing, expected,
        "add a file to tests/scenarios/reasons/ in which it happens"
    );
}

#[test]
fn every_snapshot_has_its_scenario() {
    let mut orphans = Vec::new();
    for folder in fs::read_dir("tests/scenarios").unwrap() {
        let folder = folder.unwrap().path();
        for file in fs::read_dir(&folder).into_iter().flatten() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|extension| extension == "snap")
                && !file.with_extension("yaml").exists()
            {
                orphans.push(file);
            }
        }
    }
    assert!(
        orphans.is_empty(),
        "remove what no scenario makes any more: {orphans:?}"
    );
}
