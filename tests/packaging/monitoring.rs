//! Alert rules, runbook and dashboard: right to promtool, one with each other, and about metrics that exist.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::chart::rendered;
use super::tools::{part, root, succeed};

const RULES: &str = "manifests/chart/files/alerts.yaml";
const DASHBOARD: &str = "manifests/chart/files/dashboard.json";

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn rules() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(&read(RULES)).unwrap();
    let groups = file["groups"].as_array().unwrap();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
    rules.cloned().collect()
}

/// Every panel that shows something.
fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().clone();
    panels
        .into_iter()
        .filter(|panel| panel["type"] != "row")
        .collect()
}

/// The queries of the dashboard, with Grafana's variables replaced by what they stand for.
fn queries() -> Vec<String> {
    panels()
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| {
            let query = target["expr"].as_str().unwrap();
            query
                .replace("$__rate_interval", "5m")
                .replace("$namespace", ".*")
        })
        .collect()
}

#[test]
fn promtool_takes_the_rules_and_they_fire_when_they_should() {
    succeed(
        "prometheus",
        "promtool",
        &["check", "rules", "--lint-fatal", RULES],
    );
    let cases = "tests/packaging/alerts.yaml";
    succeed("prometheus", "promtool", &["test", "rules", cases]);
    let tested: Value = serde_saphyr::from_str(&read(cases)).unwrap();
    let tested: BTreeSet<&str> = tested["tests"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|test| test["alert_rule_test"].as_array().unwrap())
        .filter(|case| {
            case["exp_alerts"]
                .as_array()
                .is_some_and(|alerts| !alerts.is_empty())
        })
        .map(|case| case["alertname"].as_str().unwrap())
        .collect();
    let rules = rules();
    let untested: Vec<&str> = rules
        .iter()
        .map(|rule| rule["alert"].as_str().unwrap())
        .filter(|alert| !tested.contains(alert))
        .collect();
    assert!(
        untested.is_empty(),
        "{cases} shows no case in which these fire: {untested:?}"
    );
}

#[test]
fn every_alert_has_its_entry_in_the_runbook() {
    let runbook = read("docs/runbook.md");
    let entries: Vec<&str> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    let rules = rules();
    let alerts: Vec<&str> = rules.iter().map(|rule| rule["alert"].as_str().unwrap()).collect();
    assert_eq!(entries, alerts);
    for rule in &rules {
        let anchor = rule["alert"].as_str().unwrap().to_lowercase();
        assert_eq!(
            rule["annotations"]["runbook"],
            format!("docs/runbook.md#{anchor}")
        );
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning", "info"].contains(&severity), "{severity}");
    }
}

/// Names of metrics in a query: words of it that begin as metrics do.
fn metrics(query: &str) -> BTreeSet<String> {
    query
        .split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))
        .filter(|word| {
            let labels = ["rdma_parent_name"];
            let begins = ["pointsman_", "rdma_", "spiderpool_"]
                .iter()
                .any(|start| word.starts_with(start));
            begins && !labels.contains(word)
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn rules_and_dashboard_ask_for_metrics_that_exist() {
    let table = read("README.md");
    let ours: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let folder = part("spiderpool-metrics");
    let theirs = |name: &str| {
        let paths = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        paths.filter(|path| path.is_file()).any(|path| {
            let text = fs::read_to_string(path).unwrap();
            // Its list has the names before the exporter adds to those of counters; its dashboards have them after.
            text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))
                .any(|word| {
                    word == name || (text.starts_with('#') && name.strip_suffix("_total") == Some(word))
                })
        })
    };
    let rules = rules();
    let asked = rules.iter().map(|rule| rule["expr"].as_str().unwrap().to_owned());
    let mut seen = BTreeSet::new();
    for query in asked.chain(queries()) {
        let names = metrics(&query);
        assert!(!names.is_empty() || query.starts_with("up{"), "{query}");
        for name in names {
            let known = if name.starts_with("pointsman_") {
                let family = ["_bucket", "_count", "_sum"]
                    .iter()
                    .find_map(|end| name.strip_suffix(end));
                ours.contains(name.as_str()) || family.is_some_and(|family| ours.contains(family))
            } else {
                theirs(&name)
            };
            assert!(known, "there is no metric {name}, asked for in {query}");
            seen.insert(name);
        }
    }
    assert!(seen.iter().any(|name| name.starts_with("rdma_")), "{seen:?}");
    assert!(!theirs("rdma_no_such_metric_total"));
}

#[test]
fn promtool_takes_every_query_of_the_dashboard() {
    let rules: Vec<Value> = queries()
        .iter()
        .enumerate()
        .map(|(number, query)| json!({"record": format!("dashboard:query:{number}"), "expr": query}))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queries.yaml");
    fs::write(
        &file,
        json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string(),
    )
    .unwrap();
    succeed(
        "prometheus",
        "promtool",
        &["check", "rules", file.to_str().unwrap()],
    );
}

#[test]
fn panels_have_their_own_ids_and_places() {
    let panels = panels();
    let ids: BTreeSet<i64> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut places = BTreeSet::new();
    for panel in &panels {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_i64().unwrap());
        assert!(x + w <= 24, "{}", panel["title"]);
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(places.insert(place), "{} overlaps", panel["title"]);
        }
    }
}

#[test]
fn the_chart_carries_them_as_they_are() {
    let text = rendered(&["--set=monitoring.rules=true,monitoring.dashboard=true"]);
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let find = |kind: &str, name: &str| {
        let found = objects
            .iter()
            .find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.unwrap().clone()
    };
    let file: Value = serde_saphyr::from_str(&read(RULES)).unwrap();
    assert_eq!(find("PrometheusRule", "pointsman")["spec"], file);
    let map = find("ConfigMap", "pointsman-dashboard");
    assert_eq!(map["data"]["pointsman.json"].as_str().unwrap(), read(DASHBOARD));
}
