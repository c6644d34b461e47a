//! `pointsman simulate` as people and programs call it: what is printed where, and the exit code.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, but not in what they call"
)]

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};

const CLUSTER: &str = "tests/scenarios/cluster.yaml";
const DEMO: &str = "manifests/examples/demo";

fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .arg("simulate")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn says_by_its_exit_code_whether_every_pod_found_a_node() {
    let placed = simulate(&[CLUSTER, "tests/scenarios/workloads/job.yaml"]);
    assert_eq!(placed.status.code(), Some(0), "{}", text(&placed.stdout));
    let waiting = simulate(&[CLUSTER, "tests/scenarios/reasons/pf-down.yaml"]);
    assert_eq!(waiting.status.code(), Some(1));
    let denied = simulate(&[CLUSTER, "tests/scenarios/admission/unknown-profile.yaml"]);
    assert_eq!(denied.status.code(), Some(1));
    let nothing = simulate(&[CLUSTER]);
    assert_eq!(nothing.status.code(), Some(0), "no pod is waiting");
}

#[test]
fn wrong_input_is_named_with_its_place_and_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.yaml");
    fs::write(&file, "kind: A\n---\nkind: B\nspec:\n  a: b: c\n").unwrap();
    let path = file.to_str().unwrap();
    let output = simulate(&[path]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        format!("pointsman: {path}, document 2, line 5: mapping values are not allowed in this context\n")
    );

    let output = simulate(&["nowhere.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("pointsman: nowhere.yaml cannot be read: No such file"));

    fs::write(
        &file,
        "apiVersion: config.pointsman.io/v1alpha1\nkind: Configuration\nnodeStat: trust\n",
    )
    .unwrap();
    let output = simulate(&[CLUSTER, "--config", path]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("nodeStat"),
        "{}",
        text(&output.stderr)
    );

    assert_eq!(
        simulate(&[]).status.code(),
        Some(2),
        "no file at all is wrong usage"
    );
}

#[test]
fn the_configuration_counts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("configuration.yaml");
    fs::write(
        &file,
        "apiVersion: config.pointsman.io/v1alpha1\nkind: Configuration\nnodeState: trust\n",
    )
    .unwrap();
    let scenario = "tests/scenarios/reasons/node-state-missing.yaml";
    assert_eq!(simulate(&[CLUSTER, scenario]).status.code(), Some(1));
    let trusting = simulate(&[CLUSTER, scenario, "--config", file.to_str().unwrap()]);
    assert_eq!(trusting.status.code(), Some(0), "{}", text(&trusting.stdout));
}

#[test]
fn prints_json_in_the_documented_form_and_yaml_of_the_same() {
    let arguments = [CLUSTER, "tests/scenarios/reasons/pool-empty.yaml", "-o"];
    let output = simulate(&[&arguments[..], &["json"]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let [older, younger] = report["pods"].as_array().unwrap().as_slice() else {
        panic!("two pods: {report}")
    };
    assert_eq!(
        older["placement"],
        json!({ "node": "n1", "domain": null, "pools": { "net1": ["rail0"], "net2": ["rail1"] } })
    );
    assert_eq!(older["refusals"], json!({}));
    assert_eq!(younger["placement"], Value::Null);
    assert_eq!(
        younger["refusals"],
        json!({ "RDMA: no free address in an IP pool of a rail": 1 })
    );
    assert_eq!(
        (&older["name"], &older["namespace"]),
        (&json!("zz-older"), &json!("default"))
    );
    let admission = &older["admission"];
    assert_eq!(
        (&admission["allowed"], &admission["message"]),
        (&json!(true), &json!(""))
    );
    assert_eq!(admission["warnings"], json!([]));
    for operation in admission["patch"].as_array().unwrap() {
        assert!(
            operation["op"].is_string() && operation["path"].is_string(),
            "{operation}"
        );
    }
    let keys: Vec<&String> = report.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["gangs", "pods"]);

    let output = simulate(&[&arguments[..], &["yaml"]].concat());
    assert_eq!(
        serde_saphyr::from_str::<Value>(&text(&output.stdout)).unwrap(),
        report
    );
}

#[test]
fn broken_objects_are_told_beside_the_json() {
    let output = simulate(&[CLUSTER, "tests/scenarios/objects/broken.yaml", "-o", "json"]);
    serde_json::from_slice::<Value>(&output.stdout).unwrap();
    let told = text(&output.stderr);
    assert_eq!(told.lines().count(), 5, "{told}");
    assert!(told.contains("Deployment default/many"), "{told}");
}

#[test]
fn nothing_but_text_goes_to_a_pipe() {
    let output = simulate(&[DEMO]);
    assert!(
        !output.stdout.contains(&0x1b),
        "an escape sequence where no terminal is"
    );
}

/// What the README promises of `make demo`.
#[test]
fn the_demo_shows_each_outcome() {
    let output = simulate(&[DEMO, "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut outcomes: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for pod in report["pods"].as_array().unwrap() {
        let outcome = match (&pod["admission"]["allowed"], &pod["placement"]) {
            (Value::Bool(false), _) => "denied",
            (_, Value::Null) => "waits",
            _ => "placed",
        };
        let name = pod["name"].as_str().unwrap().split('-').next().unwrap();
        *outcomes.entry((name, outcome)).or_default() += 1;
    }
    assert_eq!(
        outcomes,
        BTreeMap::from([
            (("probe", "waits"), 1),
            (("reader", "placed"), 4),
            (("reader", "waits"), 2),
            (("train", "placed"), 8),
            (("typo", "denied"), 1),
            (("web", "placed"), 1),
        ])
    );
    assert_eq!(
        report["gangs"],
        json!([{"namespace": "demo", "name": "train", "size": 8, "placed": 8, "domains": ["su-2"], "domainsMin": 1}])
    );
}
