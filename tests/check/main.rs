//! `pointsman check`: no row without a scenario for each of its answers, remedies that a shell accepts, documents equal
//! to the code, and the program as people and scripts call it.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, but not in what they call"
)]

mod scenario;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use pointsman::check::catalog::CHECKS;
use pointsman::check::document::document;
use pointsman::check::gather::{Question, from_files};
use pointsman::check::{Answer, check};
use pointsman::simulate::load::{Object, Place, load};
use serde_json::Value;
use strum::IntoEnumIterator as _;

/// Answers that no file can bring about, each with why.
const OUT_OF_REACH: &[(&str, Answer, &str)] = &[
    (
        "rbac.caller",
        Answer::Yes,
        "only an API server tells: src/check/rbac.rs",
    ),
    (
        "rbac.caller",
        Answer::No,
        "only an API server tells: src/check/rbac.rs",
    ),
    (
        "webhook.answers",
        Answer::Yes,
        "only an API server tells: tests/control_plane/checklist.rs",
    ),
    (
        "webhook.answers",
        Answer::No,
        "only an API server tells: tests/control_plane/checklist.rs",
    ),
];

/// Every scenario, in order.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for area in fs::read_dir("tests/scenarios/check").unwrap() {
        let area = area.unwrap().path();
        if area.is_dir() {
            files.extend(fs::read_dir(area).unwrap().map(|file| file.unwrap().path()));
        }
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

#[test]
fn every_row_gives_every_answer_in_some_scenario() {
    let mut given: BTreeSet<(&str, Answer)> = BTreeSet::new();
    for file in files() {
        given.extend(
            scenario::report(&file)
                .rows
                .iter()
                .map(|row| (row.id, row.answer)),
        );
    }
    let missing: Vec<String> = CHECKS
        .iter()
        .flat_map(|check| Answer::iter().map(|answer| (check.id, answer)))
        .filter(|pair| !given.contains(pair))
        .filter(|(id, answer)| {
            !OUT_OF_REACH
                .iter()
                .any(|(known, of, _)| (known, of) == (id, answer))
        })
        .map(|(id, answer)| format!("{id}: {}", answer.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "add files to tests/scenarios/check/ in which these happen:\n  {}",
        missing.join("\n  ")
    );
    let exempt_in_vain: Vec<&str> = OUT_OF_REACH
        .iter()
        .filter(|(id, answer, _)| given.contains(&(*id, *answer)))
        .map(|(id, _, _)| *id)
        .collect();
    assert!(exempt_in_vain.is_empty(), "{exempt_in_vain:?} happen after all");
}

#[test]
fn every_snapshot_has_its_scenario() {
    let files = files();
    for file in &files {
        assert!(file.with_extension("snap").exists(), "{}", file.display());
    }
    for file in files {
        for beside in fs::read_dir(file.parent().unwrap()).unwrap() {
            let beside = beside.unwrap().path();
            assert!(
                beside.with_extension("yaml").exists(),
                "remove {}",
                beside.display()
            );
        }
    }
}

#[test]
fn what_is_not_yes_comes_with_lines_that_a_shell_accepts() {
    let mut remedies: BTreeMap<String, String> = BTreeMap::new();
    for file in files() {
        for row in scenario::report(&file).rows {
            if row.answer == Answer::Yes {
                assert_eq!(row.remedy, "", "{}: nothing is to be done", row.id);
            } else {
                assert!(
                    !row.remedy.is_empty(),
                    "{}: {}",
                    file.display(),
                    scenario::told(&row)
                );
                let commands = row.remedy.lines().filter(|line| !line.starts_with('#')).count();
                assert!(commands > 0, "only comments: {}", scenario::told(&row));
                remedies.insert(row.remedy, format!("{}, {}", file.display(), row.id));
            }
        }
    }
    assert!(remedies.len() > 50, "{}", remedies.len());
    for (remedy, place) in remedies {
        let mut shell = Command::new("bash")
            .arg("-n")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdin.take().unwrap().write_all(remedy.as_bytes()).unwrap();
        let output = shell.wait_with_output().unwrap();
        let complaint = text(&output.stderr);
        // An unfinished here-document is only a warning.
        assert!(
            output.status.success() && complaint.is_empty(),
            "{place}: {complaint}\n{remedy}"
        );
        for line in remedy.lines() {
            assert!(!line.contains("  |"), "{place}: {line}");
        }
        let documents = remedy
            .split("<<'EOF'\n")
            .skip(1)
            .filter_map(|rest| rest.split("\nEOF").next());
        for document in documents {
            let object: Value = serde_saphyr::from_str(document).unwrap();
            assert!(
                object["kind"].is_string() && object["metadata"]["name"].is_string(),
                "{place}: {document}"
            );
        }
    }
}

#[test]
fn ids_are_distinct_slugs() {
    let ids: BTreeSet<&str> = CHECKS.iter().map(|check| check.id).collect();
    assert_eq!(ids.len(), CHECKS.len());
    for id in ids {
        let is_slug = id.split('.').count() == 2
            && id
                .chars()
                .all(|c| c.is_ascii_lowercase() || matches!(c, '.' | '-'));
        assert!(is_slug, "{id}");
    }
}

/// The document is made from the catalog; `make bless` writes it anew.
#[test]
fn the_document_says_what_the_catalog_says() {
    const PATH: &str = "docs/check.md";
    let wanted = document();
    if std::env::var("INSTA_UPDATE").is_ok_and(|value| value == "always") {
        fs::write(PATH, &wanted).unwrap();
    }
    let written = fs::read_to_string(PATH).unwrap();
    assert!(
        written == wanted,
        "docs/check.md differs from src/check/catalog.rs: 'make bless' writes it"
    );
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .arg("check")
        .args(arguments)
        .env("KUBECONFIG", "/nowhere")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn says_by_its_exit_code_whether_a_row_says_no() {
    let sound = run(&["--from", scenario::CLUSTER]);
    assert_eq!(sound.status.code(), Some(0), "{}", text(&sound.stdout));
    let broken = run(&[
        "--from",
        scenario::CLUSTER,
        "tests/scenarios/check/sriov/guid-unset.yaml",
    ]);
    assert_eq!(broken.status.code(), Some(1));
    let table = text(&broken.stdout);
    assert!(table.contains("# --- sriov.guids"), "{table}");
}

#[test]
fn no_answer_is_no_no() {
    for (arguments, complaint) in [
        (&["--from", "nowhere.yaml"][..], "nowhere.yaml cannot be read"),
        (
            &["--from", scenario::CLUSTER, "--node", "n9"],
            "there is no node n9",
        ),
        (
            &["--from", scenario::CLUSTER, "--pod", "a/b"],
            "there is no pod a/b",
        ),
        (&["--pod", "b"], "expected NAMESPACE/NAME"),
        (
            &["--scheduler-config", "nowhere.yaml"],
            "nowhere.yaml cannot be read",
        ),
        (&[], "there is no cluster to talk to"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            text(&output.stderr).contains(complaint),
            "{}",
            text(&output.stderr)
        );
    }
}

#[test]
fn programs_read_rows_of_exactly_five_texts() {
    for format in ["json", "yaml"] {
        let output = run(&["--from", scenario::CLUSTER, "-o", format]);
        let report: Value = serde_saphyr::from_str(&text(&output.stdout)).unwrap();
        assert_eq!(report.as_object().unwrap().keys().collect::<Vec<_>>(), ["rows"]);
        let rows = report["rows"].as_array().unwrap();
        assert!(rows.len() > 40);
        for row in rows {
            let keys: BTreeSet<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(
                keys,
                BTreeSet::from(["answer", "evidence", "id", "remedy", "subject"])
            );
            assert!(row.as_object().unwrap().values().all(Value::is_string));
            assert!(["yes", "no", "unknown"].contains(&row["answer"].as_str().unwrap()));
        }
    }
}

#[test]
fn a_pod_is_asked_about_by_name() {
    let output = run(&[
        "--from",
        scenario::CLUSTER,
        "--pod",
        "research/train-0",
        "-o",
        "json",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ids = report["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["id"].as_str().unwrap());
    assert!(ids.clone().count() >= 5 && ids.clone().all(|id| id.starts_with("pod.")));
}

#[test]
fn a_scheduler_configuration_can_be_given_as_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scheduler.yaml");
    let configuration = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n\
        profiles: [{ schedulerName: pointsman-scheduler, percentageOfNodesToScore: 100 }]\n\
        extenders: [{ urlPrefix: 'https://127.0.0.1:8888', filterVerb: filter, weight: 10 }]\n";
    fs::write(&file, configuration).unwrap();
    let file = file.to_str().unwrap();
    // By its flag, or among the other files.
    for arguments in [
        ["--from", scenario::CLUSTER, "--scheduler-config", file],
        ["--from", scenario::CLUSTER, "--from", file],
    ] {
        let output = run(&arguments);
        let table = text(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{table}");
        for told in [
            "HTTPS without a CA",
            "prioritizeVerb is \"\"",
            "false: we answer an error",
        ] {
            assert!(table.contains(told), "{told}: {table}");
        }
    }
}

/// What is shipped is what the rows ask for; the program writes the caBundle, and nothing runs in files.
#[test]
fn the_shipped_manifests_are_as_they_should_be() {
    let mut files: Vec<PathBuf> = fs::read_dir("manifests")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.push("manifests/examples/networks.yaml".into());
    let objects = load(&files).unwrap();
    let report = check(&from_files(objects, question()).unwrap());
    let answers: BTreeMap<&str, (Answer, String)> = report
        .rows
        .iter()
        .map(|row| (row.id, (row.answer, scenario::told(row))))
        .collect();
    for id in [
        "networks.readable",
        "networks.profiles",
        "networks.links",
        "pools.readable",
        "pools.named",
        "pools.rails",
        "webhook.registered",
        "webhook.policy",
        "webhook.namespaces",
        "scheduler.configuration",
        "scheduler.profile",
        "scheduler.cache-capable",
        "scheduler.sampling",
        "scheduler.resources",
        "scheduler.transport",
        "scheduler.verbs",
        "rbac.webhook",
        "rbac.extender",
    ] {
        let (answer, told) = &answers[id];
        assert_eq!(*answer, Answer::Yes, "{told}");
    }
}

fn question() -> Question {
    Question {
        configuration: pointsman::config::Configuration::default(),
        namespace: "pointsman-system".to_owned(),
        node: None,
        pod: None,
        scheduler_files: Vec::new(),
        now: "2027-01-01T00:00:00Z".parse().unwrap(),
    }
}

#[test]
fn rows_stay_short_on_a_large_cluster() {
    let place = Place {
        file: Path::new("made").into(),
        document: 1,
        line: 1,
    };
    let mut objects = load(&[scenario::CLUSTER.into()]).unwrap();
    let templates: Vec<Value> = objects
        .iter()
        .map(|object| object.json.clone())
        .filter(|json| json["metadata"]["name"] == "n1")
        .collect();
    assert_eq!(templates.len(), 2, "a node and its state");
    for number in 0..2_000 {
        for mut json in templates.clone() {
            json["metadata"]["name"] = format!("gpu-{number}").into();
            if json["kind"] == "SriovNetworkNodeState" {
                json["status"]["interfaces"][0]["Vfs"][1]["guid"] = "0000:0000:0000:0000".into();
            }
            objects.push(Object {
                json,
                place: place.clone(),
            });
        }
    }
    let report = check(&from_files(objects, question()).unwrap());
    let guids = report.rows.iter().find(|row| row.id == "sriov.guids").unwrap();
    assert!(guids.answer == Answer::No);
    assert_eq!(
        guids.evidence,
        "2000 of 2002 nodes with VFs: gpu-0 (ib0 has a VF without a GUID), gpu-1 (ib0 has a VF without a GUID), \
         gpu-10 (ib0 has a VF without a GUID) and 1997 more"
    );
    assert!(report.rows.iter().all(|row| row.evidence.len() < 600));
}
