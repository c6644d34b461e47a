//! The kube-scheduler of a stack, and what its configuration says of extenders.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use super::nodes::PREFIX;
use super::plane::{ControlPlane, TRIES, listens};
use super::ports;
use super::process::{Program, Restartable};
use super::stack::our_binary;

/// What the scheduler is told, beside its name and whom it asks.
#[derive(Clone)]
pub(crate) struct Scheduling {
    /// `percentageOfNodesToScore`; none for the scheduler's own default, which samples.
    pub(crate) percentage: Option<u32>,
    /// Bindings are the extender's to write.
    pub(crate) binds: bool,
    /// The extender has a veto on evictions.
    pub(crate) preempts: bool,
    /// Requests carry names and not whole nodes.
    pub(crate) names_only: bool,
    /// Another extender, after ours.
    pub(crate) another: Option<Value>,
    /// Feature gates to switch on.
    pub(crate) gates: &'static [&'static str],
    /// There are several, and the one whose lease lasts leads; so many seconds, at least four.
    pub(crate) lease: Option<u32>,
}

impl Default for Scheduling {
    fn default() -> Self {
        Self {
            percentage: Some(100),
            binds: true,
            preempts: true,
            names_only: true,
            another: None,
            gates: &[],
            lease: None,
        }
    }
}

/// Starts the scheduler `name`, which asks the extender on this port about pods that request resources of `tests`; its
/// files are in `folder`.
pub(crate) async fn start(
    plane: &ControlPlane,
    folder: &str,
    name: &str,
    tests: &[&str],
    extender: Option<u16>,
    scheduling: &Scheduling,
) -> Restartable {
    let base = json!({
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": false},
        "clientConnection": {"kubeconfig": plane.kubeconfig("system:kube-scheduler"), "qps": 500, "burst": 1000},
        "profiles": [{"schedulerName": name, "percentageOfNodesToScore": 100}],
    });
    let mut configuration = match extender {
        Some(port) => with_our_extender(plane, folder, name, tests, &base, port),
        None => base,
    };
    scheduling.change(&mut configuration);
    let configuration = plane
        .run
        .write(&format!("{folder}/scheduler.yaml"), configuration.to_string());
    for _ in 0..TRIES {
        let port = ports::free();
        let mut program = Program::new("kube-scheduler", &plane.tools.kubernetes("kube-scheduler"))
            .arg(format!("--config={}", configuration.display()))
            .args([
                "--bind-address=127.0.0.1",
                "--authorization-always-allow-paths=/healthz,/readyz,/metrics",
            ])
            .arg(format!("--secure-port={port}"))
            .arg(format!("--cert-dir={}", plane.run.path().join(folder).display()))
            .args(["--authentication-tolerate-lookup-failure=true", "-v=2"]);
        if !scheduling.gates.is_empty() {
            let gates: Vec<String> = scheduling
                .gates
                .iter()
                .map(|gate| format!("{gate}=true"))
                .collect();
            program = program.arg(format!("--feature-gates={}", gates.join(",")));
        }
        let log = plane.run.log(&format!("kube-scheduler-{folder}"));
        let mut process = program.clone().start(log);
        if listens(&mut process, &format!("https://127.0.0.1:{port}")).await {
            return Restartable::of(program, process);
        }
    }
    panic!("kube-scheduler found no free port in {TRIES} tries");
}

impl Scheduling {
    /// Makes a configuration of ours into one as others have it.
    fn change(&self, configuration: &mut Value) {
        let profile = configuration["profiles"][0].as_object_mut().unwrap();
        profile.remove("percentageOfNodesToScore");
        if let Some(percentage) = self.percentage {
            profile.insert("percentageOfNodesToScore".to_owned(), json!(percentage));
        }
        let mut extenders = configuration["extenders"].as_array().cloned().unwrap_or_default();
        for ours in &mut extenders {
            ours["nodeCacheCapable"] = json!(self.names_only);
            let verbs = ours.as_object_mut().unwrap();
            for (verb, used) in [("bindVerb", self.binds), ("preemptVerb", self.preempts)] {
                if !used {
                    verbs.remove(verb);
                }
            }
        }
        extenders.extend(self.another.clone());
        configuration["extenders"] = json!(extenders);
        if let Some(seconds) = self.lease {
            configuration["leaderElection"] = json!({
                "leaderElect": true, "leaseDuration": format!("{seconds}s"),
                "renewDeadline": format!("{}s", seconds - 1), "retryPeriod": "1s",
                "resourceLock": "leases", "resourceName": "kube-scheduler", "resourceNamespace": "kube-system",
            });
        }
    }
}

/// What `pointsman scheduler-config` makes of a configuration without extenders: the real scheduler then takes it or not.
fn with_our_extender(
    plane: &ControlPlane,
    folder: &str,
    name: &str,
    tests: &[&str],
    base: &Value,
    extender: u16,
) -> Value {
    let resources: BTreeSet<String> = tests
        .iter()
        .flat_map(|test| (0..8).map(move |rail| format!("{PREFIX}/{test}_rail{rail}")))
        .collect();
    let networks: Vec<Value> = resources
        .iter()
        .enumerate()
        .map(|(number, resource)| {
            json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
                "metadata": {"name": format!("n{number}"), "namespace": "default",
                    "annotations": {"k8s.v1.cni.cncf.io/resourceName": resource}},
                "spec": {"config": r#"{"type":"ib-sriov"}"#}})
        })
        .collect();
    let networks = json!({"apiVersion": "v1", "kind": "List", "items": networks});
    let settings = json!({"apiVersion": "config.pointsman.io/v1alpha1", "kind": "Configuration",
        "scheduler": {"mode": "dedicated", "name": name}});
    let [base, networks, settings] = [
        ("scheduler-base.yaml", base),
        ("networks.json", &networks),
        ("settings.yaml", &settings),
    ]
    .map(|(file, content)| plane.run.write(&format!("{folder}/{file}"), content.to_string()));
    let output = Command::new(our_binary())
        .arg("scheduler-config")
        .arg(format!("--from={}", networks.display()))
        .arg(format!("--merge={}", base.display()))
        .arg(format!("--config={}", settings.display()))
        .arg(format!("--extender-url=http://127.0.0.1:{extender}"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_saphyr::from_slice(&output.stdout).unwrap()
}
