//! `pointsman explain` as people and programs call it, and that it says the same as `simulate`.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions, but not in what they call"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use pointsman::cluster::index::Index;
use pointsman::config::Configuration;
use pointsman::explain::{Source, explain, http};
use pointsman::extender::insight::{Insight, LateInsight};
use pointsman::extender::ledger::{Ledger, Lifetimes};
use pointsman::simulate::meet::Wanted;
use pointsman::simulate::{Input, simulate};
use serde_json::Value;
use tower::ServiceExt as _;

const CLUSTER: &str = "tests/scenarios/cluster.yaml";
const DEMO: &str = "manifests/examples/demo";

fn pointsman(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Every scenario, but for those whose files cannot be read.
fn scenarios() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["admission", "reasons", "scheduler", "workloads"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/scenarios")
            .join(folder);
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        found.extend(files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")));
    }
    found.sort();
    assert!(found.len() > 20, "the scenarios have moved");
    found
}

#[tokio::test]
async fn a_pod_waits_exactly_where_simulate_finds_no_node_for_it() {
    let mut seen = 0;
    for scenario in scenarios() {
        let paths = vec![
            Path::new(env!("CARGO_MANIFEST_DIR")).join(CLUSTER),
            scenario.clone(),
        ];
        let input = Input {
            paths: paths.clone(),
            ..Input::default()
        };
        for pod in simulate(&input).await.unwrap().pods {
            let wanted = Wanted {
                namespace: Some(pod.namespace.clone()),
                name: Some(pod.name.clone()),
                new: false,
            };
            let explained = explain(
                Source::Files(paths.clone()),
                &[],
                wanted,
                Configuration::default(),
            );
            let report = explained.await.unwrap().report;
            let place = format!("{}: {}", scenario.display(), pod.name);
            if pod.refusals.contains_key("waiting for scheduling gates") {
                continue;
            }
            assert_eq!(report.waiting, pod.placement.is_none(), "{place}");
            if let Some(placement) = &pod.placement {
                assert_eq!(report.best_nodes[0].node, placement.node, "{place}");
            } else {
                assert!(
                    !report.reasons.is_empty() && !report.smallest_change.is_empty(),
                    "{place}"
                );
                if pod.admission.allowed {
                    let counted: usize = report.reasons.iter().map(|reason| reason.nodes).sum();
                    assert!(
                        counted >= pod.refusals.values().copied().max().unwrap_or(0),
                        "{place}"
                    );
                }
            }
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} pods");
}

#[test]
fn the_answer_in_json_is_what_programs_were_promised() {
    let output = pointsman(&["explain", "probe", "-o", "json", "--from", DEMO]);
    assert_eq!(output.status.code(), Some(1));
    let report = json(&output);
    assert_eq!(report["namespace"], "demo");
    assert_eq!(report["name"], "probe");
    assert_eq!(report["waiting"], true);
    assert_eq!(report["node"], Value::Null);
    let reasons = report["reasons"].as_array().unwrap();
    assert_eq!(
        reasons
            .iter()
            .map(|reason| reason["nodes"].as_u64().unwrap())
            .sum::<u64>(),
        24
    );
    for reason in reasons {
        for key in ["reason", "detail"] {
            assert!(reason[key].is_string(), "{reason}");
        }
        assert!(reason["examples"].as_array().unwrap().len() <= 3);
    }
    assert_eq!(
        report["smallestChange"],
        serde_json::json!(["give the VFs of ib0 on su1-node12 GUIDs"])
    );
}

#[test]
fn old_fabric_data_is_told_of_a_pod_that_is_placed_as_well() {
    let old = "tests/scenarios/fabric/old-data.yaml";
    let explained = json(&pointsman(&[
        "explain", "p", "--from", CLUSTER, "--from", old, "-o", "json",
    ]));
    assert!(
        explained["oldFabricDataHours"].as_u64().unwrap() > 24,
        "{explained}"
    );
    let table = pointsman(&["explain", "p", "--from", CLUSTER, "--from", old]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.contains("h old, more than fabric.maxAge: rails that were dark"),
        "{table}"
    );
    let fresh = json(&pointsman(&[
        "explain",
        "p",
        "--from",
        CLUSTER,
        "--from",
        "tests/scenarios/fabric/unknown-state.yaml",
        "-o",
        "json",
    ]));
    assert!(fresh["oldFabricDataHours"].is_null(), "{fresh}");
}

#[test]
fn the_smallest_change_made_in_the_files_lets_the_pod_run() {
    let scenario = "tests/scenarios/reasons/pool-empty.yaml";
    let output = pointsman(&["explain", "-o", "json", "younger", "--from", CLUSTER, scenario]);
    assert_eq!(
        json(&output)["smallestChange"],
        serde_json::json!(["1 more address in rail1"])
    );
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(scenario)).unwrap();
    let larger = text.replace("[172.16.1.10]", "[172.16.1.10-172.16.1.11]");
    assert_ne!(text, larger, "the scenario has changed");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("larger.yaml");
    fs::write(&file, larger).unwrap();
    let output = pointsman(&["explain", "younger", "--from", CLUSTER, file.to_str().unwrap()]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn a_pod_that_does_not_exist_yet_is_admitted_first() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pod.yaml");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: new\n  annotations: { pointsman.io/profile: PROFILE }\n\
        spec:\n  containers: [{ name: main, image: x }]\n";
    let explain = |profile: &str| {
        fs::write(&file, pod.replace("PROFILE", profile)).unwrap();
        pointsman(&[
            "explain",
            "-n",
            "demo",
            "-f",
            file.to_str().unwrap(),
            "-o",
            "json",
            "--from",
            DEMO,
        ])
    };
    let fits = explain("eight-rails");
    assert_eq!(fits.status.code(), Some(0));
    let report = json(&fits);
    assert_eq!(
        (&report["namespace"], &report["waiting"]),
        (&"demo".into(), &false.into())
    );
    assert_eq!(report["claim"]["vfs"].as_object().unwrap().len(), 8);
    let denied = explain("seven-rails");
    assert_eq!(denied.status.code(), Some(1));
    assert!(
        json(&denied)["smallestChange"][0]
            .as_str()
            .unwrap()
            .contains("seven-rails")
    );
}

#[test]
fn wrong_usage_and_unknown_pods_end_with_2() {
    for arguments in [
        &["explain"][..],
        &["explain", "nobody", "--from", DEMO],
        &["explain", "other/probe", "-n", "demo", "--from", DEMO],
        &["explain", "probe", "--from", "nowhere.yaml"],
        &["explain", "--from", DEMO],
    ] {
        let output = pointsman(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
    // A name behind `--from` is no path, and so the pod.
    let output = pointsman(&["explain", "--from", DEMO, "demo/probe"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn as_a_kubectl_plugin_it_does_the_same_under_the_name_people_typed() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-pointsman");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pointsman"), &plugin).unwrap();
    let run = |arguments: &[&str]| {
        Command::new(&plugin)
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap()
    };
    let output = run(&["explain", "probe", "--from", DEMO]);
    assert_eq!(
        output.stdout,
        pointsman(&["explain", "probe", "--from", DEMO]).stdout
    );
    let help = run(&["explain", "--help"]);
    assert!(String::from_utf8_lossy(&help.stdout).contains("Usage: kubectl pointsman explain"));
}

fn insight(is_ready: bool) -> LateInsight {
    let settings = Arc::new(Configuration::default().decisions);
    let index = Index::new(Arc::clone(&settings));
    let cluster =
        pointsman::simulate::cluster_in(&[Path::new(env!("CARGO_MANIFEST_DIR")).join(DEMO)], "default")
            .unwrap();
    for object in cluster.objects.iter().chain(&cluster.pods) {
        index.apply(object.json.clone()).unwrap();
    }
    // A pod as the webhook leaves it, on a pool that has given all it had.
    index
        .apply(serde_json::json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "admitted", "namespace": "demo", "uid": "u",
                "annotations": {"k8s.v1.cni.cncf.io/networks": "rdma/storage"}},
            "spec": {"containers": [{"resources": {"requests": {"spidernet.io/ib_rail0": "1"}}}]}}))
        .unwrap();
    let taken: serde_json::Map<String, Value> = (10..14)
        .map(|last| {
            (
                format!("172.20.0.{last}"),
                serde_json::json!({"pod": "x/y", "podUid": last.to_string()}),
            )
        })
        .collect();
    index
        .apply(
            serde_json::json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderIPPool",
            "metadata": {"name": "storage"},
            "spec": {"subnet": "172.20.0.0/24", "ips": ["172.20.0.10-172.20.0.13"]},
            "status": {"allocatedIPs": Value::from(taken).to_string()}}),
        )
        .unwrap();
    let reservation = Configuration::default().reservation;
    let lifetimes = Lifetimes {
        hold: reservation.hold,
        gang: reservation.gang,
        reservation: reservation.lifetime,
    };
    let late = LateInsight::default();
    let seen = Insight {
        ledger: Arc::new(Ledger::new(index.published(), lifetimes)),
        settings,
        is_ready: Arc::new(move || is_ready),
    };
    assert!(late.set(seen).is_ok());
    late
}

async fn get(insight: LateInsight, uri: &str) -> (StatusCode, Value) {
    let request = Request::get(uri).body(Body::empty()).unwrap();
    let response = http::router(insight).oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn the_admin_endpoint_explains_by_what_the_extender_knows() {
    let (status, body) = get(insight(true), "/explain?namespace=demo&pod=admitted").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&body["waiting"], &body["node"]), (&true.into(), &Value::Null));
    assert_eq!(
        body["smallestChange"],
        serde_json::json!(["1 more address in storage"])
    );
    let (status, body) = get(insight(true), "/explain?namespace=demo&pod=nobody").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body["error"].as_str().unwrap().contains("demo/nobody"));
    let (status, _) = get(insight(true), "/explain").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, _) = get(insight(false), "/explain?pod=x").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let (status, body) = get(LateInsight::default(), "/explain?pod=x").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body["error"].as_str().unwrap().contains("extender"));
}
