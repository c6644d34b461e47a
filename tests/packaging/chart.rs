//! The chart: sound to Helm, valid to three minors of Kubernetes, and one with the plain manifests beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use pointsman::args::{self, AdminAuth, Command};
use pointsman::config::Configuration;
use serde_json::{Value, json};

use super::schemas;
use super::tools::{part, root, run, succeed};

const CHART: &str = "manifests/chart";

/// Ways to install that differ in what they render.
const WAYS: &[(&str, &[&str])] = &[
    ("as it comes", &[]),
    (
        "everything there is",
        &[
            "--set=monitoring.serviceMonitor=true,monitoring.rules=true,monitoring.dashboard=true",
            "--set=monitoring.labels.release=prometheus,labels.team=fabric,logLevel=debug",
            "--set=webhook.certificate.from=cert-manager,webhook.excludedNamespaces={infra,monitoring}",
            "--set=scheduler.managedResources={spidernet.io/ib_rail0,spidernet.io/ib_rail1}",
            "--set=settings.nodeState=trust,imagePullSecrets[0].name=registry",
            "--set=image.digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "--set=networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.name=monitoring",
            "--set=webhook.nodeSelector.pool=system,scheduler.tolerations[0].operator=Exists",
            "--set=admin.certificateSecret=admin-tls,admin.auth=apiserver,webhook.clientCaConfigMap=callers",
        ],
    ),
    (
        "for an existing scheduler, with a certificate of one's own, alone and small",
        &[
            "--set=scheduler.mode=existing,webhook.replicas=1,networkPolicy.enabled=false",
            "--set=webhook.certificate.from=secret,webhook.certificate.caBundle=Q0E=",
            "--set=admin.certificateSecret=admin-tls,admin.auth=apiserver",
        ],
    ),
];

/// What the chart renders to, in the namespace and for the version that the plain manifests are for.
pub(crate) fn rendered(extra: &[&str]) -> String {
    let mut args = vec!["template", "pointsman", CHART, "--namespace=pointsman-system"];
    args.push("--kube-version=v1.37.2");
    args.extend(extra);
    succeed("helm", "helm", &args)
}

/// The plain manifests that the chart makes: per template, its objects in Helm's order.
fn plain() -> BTreeMap<String, String> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for document in rendered(&[]).split("---\n# Source: ").skip(1) {
        let (source, object) = document.split_once('\n').unwrap();
        let name = source.rsplit('/').next().unwrap().to_owned();
        let text = files.entry(name).or_insert_with(|| {
            "# Rendered from manifests/chart by `make manifests`: change it there.\n".to_owned()
        });
        if text.lines().count() > 1 {
            text.push_str("---\n");
        }
        text.push_str(object.trim_end());
        text.push('\n');
    }
    files
}

#[test]
fn helm_finds_nothing_wrong() {
    for (way, args) in WAYS {
        let all: Vec<&str> = ["lint", CHART, "--strict"].iter().chain(*args).copied().collect();
        let said = succeed("helm", "helm", &all);
        assert!(
            !said.contains("[WARNING]") && !said.contains("[ERROR]"),
            "{way}: {said}"
        );
    }
}

/// `make manifests` writes them.
#[test]
fn the_plain_manifests_are_the_charts_defaults() {
    let folder = root().join("manifests");
    let mut made = plain();
    // Helm makes the namespace itself.
    let by_hand = "00-namespace.yaml";
    assert!(!made.contains_key(by_hand));
    if std::env::var_os("POINTSMAN_BLESS").is_some() {
        for (name, text) in &made {
            fs::write(folder.join(name), text).unwrap();
        }
    }
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_none_or(|extension| extension != "yaml") || name == by_hand {
            continue;
        }
        let kept = fs::read_to_string(&path).unwrap();
        let made = made.remove(&name);
        assert!(
            made.as_ref() == Some(&kept),
            "manifests/{name} is not what manifests/chart/templates/{name} renders to: run `make manifests`"
        );
    }
    assert!(made.is_empty(), "missing in manifests/: {:?}", made.keys());
}

#[test]
fn every_supported_minor_of_kubernetes_takes_every_way_to_install() {
    for minor in schemas::MINORS {
        let folder = tempfile::tempdir().unwrap();
        let location = schemas::write(minor, folder.path());
        for (number, (way, args)) in WAYS.iter().enumerate() {
            let file = folder.path().join(format!("rendered-{number}.yaml"));
            let text = rendered(args);
            fs::write(&file, &text).unwrap();
            let summary = conform(&location, file.to_str().unwrap());
            let objects = text.matches("\n# Source: ").count() + usize::from(text.starts_with("# Source: "));
            assert_eq!(
                (
                    &summary["valid"],
                    &summary["invalid"],
                    &summary["errors"],
                    &summary["skipped"]
                ),
                (&Value::from(objects), &0.into(), &0.into(), &0.into()),
                "{way} on {minor}: {summary}"
            );
        }
        // The schemas can say no.
        let file = folder.path().join("wrong.yaml");
        let wrong = rendered(&[]).replacen("failurePolicy:", "failurePolice:", 1);
        fs::write(&file, wrong).unwrap();
        assert_eq!(
            conform(&location, file.to_str().unwrap())["invalid"],
            1,
            "{minor}"
        );
    }
}

fn conform(location: &str, file: &str) -> Value {
    let args = [
        "-strict",
        "-output=json",
        "-summary",
        "-verbose",
        "-schema-location",
        location,
        file,
    ];
    let answer = run("kubeconform", "kubeconform", &args);
    let report: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|_| panic!("{}", answer.stderr));
    for resource in report["resources"].as_array().into_iter().flatten() {
        if resource["status"] != "statusValid" {
            eprintln!("{} {}: {}", resource["kind"], resource["name"], resource["msg"]);
        }
    }
    report["summary"].clone()
}

#[test]
fn a_misspelled_value_is_refused() {
    for (set, named) in [
        ("webhok.replicas=3", "webhok"),
        ("webhook.replicas=0", "replicas"),
        ("scheduler.mode=both", "mode"),
        ("webhook.certificate.from=secret", "caBundle"),
        ("settings.scheduler.mode=existing", "propertyName 'scheduler'"),
        ("scheduler.managedResources={ib_rail0}", "managedResources"),
        ("admin.auth=apiserver", "certificateSecret"),
        ("admin.auth=basic", "auth"),
        ("webhook.clientCaConfigMap=Callers", "clientCaConfigMap"),
    ] {
        let answer = run("helm", "helm", &["template", "pointsman", CHART, "--set", set]);
        assert!(!answer.good, "{set} is taken");
        assert!(answer.stderr.contains(named), "{set}: {}", answer.stderr);
    }
}

/// Another configuration must start other pods, as it is read at start only.
#[test]
fn another_configuration_changes_the_pods() {
    let sums = |args: &[&str]| -> Vec<String> {
        let text = rendered(args);
        let sums: Vec<String> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("checksum/config: "))
            .map(str::to_owned)
            .collect();
        assert_eq!(sums.len(), 2, "webhook and scheduler");
        sums
    };
    let (before, settings) = (sums(&[]), sums(&["--set=settings.nodeState=trust"]));
    let resources = sums(&["--set=scheduler.managedResources={a.io/b}"]);
    assert_ne!(before[0], settings[0]);
    assert_ne!(before[1], settings[1]);
    // Only one of them reads the scheduler's file.
    assert_eq!(
        before.iter().filter(|sum| resources.contains(sum)).count(),
        1,
        "{before:?} {resources:?}"
    );
}

/// Who guards the endpoints: flags that the program takes, files that are mounted where they point, probes that speak
/// the same protocol, and the rights to ask the API server, for the very accounts that ask.
#[test]
fn what_guards_the_endpoints_reaches_every_part() {
    let guards =
        "--set=admin.certificateSecret=admin-tls,admin.auth=apiserver,webhook.clientCaConfigMap=callers";
    for mode in ["dedicated", "existing"] {
        let text = rendered(&[guards, &format!("--set=scheduler.mode={mode}")]);
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let pods = objects.iter().map(|object| &object["spec"]["template"]["spec"]);
        let mut accounts = BTreeSet::new();
        for pod in pods.filter(|pod| pod.is_object()) {
            accounts.insert(pod["serviceAccountName"].as_str().unwrap());
            let containers = pod["containers"].as_array().unwrap().iter();
            for container in containers.filter(|container| container["name"] != "kube-scheduler") {
                let args = container["args"].as_array().unwrap().iter();
                let words = args.map(|arg| OsString::from(arg.as_str().unwrap()));
                let command =
                    args::parse_from([OsString::from("pointsman")].into_iter().chain(words)).unwrap();
                let Command::Serve(serve) = command else {
                    panic!("expected serve, found {command:?}")
                };
                let admin = serve.admin.unwrap();
                assert_eq!(admin.auth, AdminAuth::Apiserver);
                assert_eq!(
                    mounted(pod, container, &admin.tls.unwrap()),
                    json!({"secretName": "admin-tls"})
                );
                for probe in ["livenessProbe", "readinessProbe"] {
                    assert_eq!(container[probe]["httpGet"]["scheme"], "HTTPS");
                }
                let client_ca = serve.webhook_client_ca;
                assert_eq!(client_ca.is_some(), container["name"] == "webhook");
                if let Some(file) = client_ca {
                    assert!(file.ends_with("ca.crt"));
                    assert_eq!(mounted(pod, container, &file), json!({"name": "callers"}));
                }
            }
        }
        let delegators = objects.iter().find(|object| {
            object["kind"] == "ClusterRoleBinding" && object["roleRef"]["name"] == "system:auth-delegator"
        });
        let subjects = delegators.unwrap()["subjects"].as_array().unwrap().iter();
        let subjects: BTreeSet<&str> = subjects
            .map(|subject| subject["name"].as_str().unwrap())
            .collect();
        assert_eq!(accounts, subjects);
        let viewer = objects
            .iter()
            .find(|object| object["metadata"]["name"] == "pointsman-viewer");
        assert_eq!(
            viewer.unwrap()["rules"],
            json!([{"nonResourceURLs": ["/debug/verify", "/explain", "/state"], "verbs": ["get"]}])
        );
    }
    let open = rendered(&[]);
    for word in ["auth-delegator", "pointsman-viewer", "admin-tls", "client-ca"] {
        assert!(!open.contains(word), "{word} without being asked for");
    }
}

/// The volume behind a path of a container, without its type.
fn mounted(pod: &Value, container: &Value, path: &Path) -> Value {
    let mounts = container["volumeMounts"].as_array().unwrap();
    let mount = mounts
        .iter()
        .find(|mount| path.starts_with(mount["mountPath"].as_str().unwrap()))
        .unwrap();
    let volumes = pod["volumes"].as_array().unwrap();
    let volume = volumes
        .iter()
        .find(|volume| volume["name"] == mount["name"])
        .unwrap();
    volume
        .get("secret")
        .or_else(|| volume.get("configMap"))
        .unwrap()
        .clone()
}

/// What the program says its scheduler needs is what the chart gives it.
#[test]
fn the_scheduler_is_configured_as_the_program_prints_it() {
    let no_flags: [&str; 0] = [];
    for (flags, bind) in [(no_flags.as_slice(), true), (&["--no-bind"], false)] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_pointsman"))
            .args(["scheduler-config", "-o", "json", "--from", "manifests/examples"])
            .args(flags)
            .current_dir(root())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        let managed: Vec<&str> = printed["extenders"][0]["managedResources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|resource| resource["name"].as_str().unwrap())
            .collect();
        assert!(!managed.is_empty());
        let set = format!(
            "--set=scheduler.bind={bind},scheduler.managedResources={{{}}}",
            managed.join(",")
        );
        let objects: Vec<Value> = serde_saphyr::from_multiple(&rendered(&[&set])).unwrap();
        let text = objects
            .iter()
            .find_map(|object| object["data"]["scheduler.yaml"].as_str())
            .unwrap();
        assert_eq!(serde_saphyr::from_str::<Value>(text).unwrap(), printed);
        let config = objects
            .iter()
            .find_map(|object| object["data"]["config.yaml"].as_str())
            .unwrap();
        let config = Configuration::from_yaml(config).unwrap();
        assert_eq!(config == Configuration::default(), bind);
    }
}

/// The example values for Spiderpool are for its own chart: nothing is misspelled, and it renders what they are for.
#[test]
fn spiderpools_chart_knows_every_value_of_the_example() {
    fn unknown(given: &Value, known: &Value, path: &str, found: &mut Vec<String>) {
        for (key, value) in given.as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            match known.get(key) {
                None => found.push(path),
                Some(known) => unknown(value, known, &path, found),
            }
        }
    }
    let example = root().join("manifests/examples/spiderpool/values.yaml");
    let chart = part("spiderpool-metrics").join("chart");
    let read = |path: &Path| -> Value { serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap() };
    let (given, known) = (read(&example), read(&chart.join("values.yaml")));
    let mut misspelled = Vec::new();
    unknown(&given, &known, "", &mut misspelled);
    assert!(misspelled.is_empty(), "{misspelled:?}");
    unknown(&json!({"sriov": {"instal": true}}), &known, "", &mut misspelled);
    assert_eq!(misspelled, [".sriov.instal"], "this test can fail");
    let (chart, example) = (chart.to_str().unwrap(), example.to_str().unwrap());
    let text = succeed(
        "helm",
        "helm",
        &["template", "spiderpool", chart, "-n", "spiderpool", "-f", example],
    );
    for word in [
        "name: spiderpool-multus",
        "name: spiderpool-sriov-operator",
        "INSTALL_IB_SRIOV_PLUGIN",
    ] {
        assert!(text.contains(word), "{word}");
    }
    assert!(!text.contains("rdma-shared-device-plugin"));
}

#[test]
fn the_chart_has_the_programs_version() {
    let text = fs::read_to_string(root().join(CHART).join("Chart.yaml")).unwrap();
    let chart: Value = serde_saphyr::from_str(&text).unwrap();
    for key in ["version", "appVersion"] {
        assert_eq!(chart[key], env!("CARGO_PKG_VERSION"), "{key}");
    }
    let least = chart["kubeVersion"].as_str().unwrap();
    assert_eq!(least, format!(">={}.0-0", schemas::MINORS[0]));
    let old = ["template", "pointsman", CHART, "--kube-version=v1.34.9"];
    assert!(!run("helm", "helm", &old).good, "an older Kubernetes is refused");
}
