//! `pointsman scheduler-config` as people and programs call it. That real schedulers take what it prints is shown by every
//! test on the control plane, whose schedulers run with it, and for other versions by `make scheduler-config-versions`.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, but not in what they call"
)]

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

const NETWORKS: &str = "manifests/examples/networks.yaml";

fn call(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .arg("scheduler-config")
        .args(arguments)
        .output()
        .unwrap()
}

fn printed(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_saphyr::from_slice(&output.stdout).unwrap()
}

#[test]
fn prints_the_dedicated_schedulers_configuration_from_files() {
    let configuration = printed(&call(&["--from", NETWORKS]));
    assert_eq!(configuration["kind"], "KubeSchedulerConfiguration");
    assert_eq!(
        configuration["profiles"][0]["schedulerName"],
        "pointsman-scheduler"
    );
    let managed = configuration["extenders"][0]["managedResources"]
        .as_array()
        .unwrap();
    let names: Vec<&str> = managed.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["spidernet.io/ib_rail0", "spidernet.io/ib_rail1"]);
}

#[test]
fn json_and_yaml_say_the_same() {
    let yaml = printed(&call(&["--mode", "existing", "--from", NETWORKS]));
    let json = call(&["--mode", "existing", "--from", NETWORKS, "-o", "json"]);
    assert_eq!(serde_json::from_slice::<Value>(&json.stdout).unwrap(), yaml);
}

#[test]
fn adds_the_extender_beside_one_that_binds_and_says_what_to_set() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scheduler.yaml");
    let existing = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n\
        extenders: [{ urlPrefix: http://hami, bindVerb: bind, managedResources: [{ name: nvidia.com/gpu }] }]\n";
    fs::write(&file, existing).unwrap();
    let merge = [
        "--mode",
        "existing",
        "--from",
        NETWORKS,
        "--merge",
        file.to_str().unwrap(),
    ];
    let output = call(&merge);
    let configuration = printed(&output);
    assert!(configuration["extenders"][0]["bindVerb"].is_null());
    assert_eq!(configuration["extenders"][1]["bindVerb"], "bind");
    assert!(String::from_utf8_lossy(&output.stderr).contains("scheduler.bind: false"));

    fs::write(&file, existing.replace("nvidia.com/gpu", "spidernet.io/ib_rail1")).unwrap();
    let refused = call(&merge);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("http://hami manages spidernet.io/ib_rail1 already"),
        "{said}"
    );
    assert!(refused.stdout.is_empty());
}

#[test]
fn without_any_resource_it_prints_nothing() {
    let output = call(&["--from", "manifests/config.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no network names a device-plugin resource"));
    assert!(output.stdout.is_empty());
    assert_eq!(call(&["--from", "nowhere.yaml"]).status.code(), Some(2));
}
