//! The chart, installed, upgraded and uninstalled by Helm itself: on a control plane of its own, where the namespace asks
//! for Pod Security's strictest level, a kube-scheduler places the pods and KWOK lets them run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::api::{
    CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, CONFIG_MAPS, DAEMON_SETS, DEPLOYMENTS, Kind, MUTATING_WEBHOOKS,
    NAMESPACES, NODES, PODS, ROLE_BINDINGS, ROLES, SERVICE_ACCOUNTS, SERVICES, VALIDATING_WEBHOOKS, kind,
};
use crate::harness::plane::{ControlPlane, OUR_NAMESPACE};
use crate::harness::process::{Process, Program};
use crate::harness::run;
use crate::harness::run_folder::RunFolder;
use crate::harness::tools::files_in;
use crate::harness::wait::{eventually, expect};

const LIMIT: Duration = Duration::from_mins(1);

const BUDGETS: Kind = kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets");
const NETWORK_POLICIES: Kind = kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies");
const SERVICE_MONITORS: Kind = kind("monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors");
const CERTIFICATES: Kind = kind("cert-manager.io/v1", "Certificate", "certificates");
const ISSUERS: Kind = kind("cert-manager.io/v1", "Issuer", "issuers");

/// All kinds that the chart can make.
const MADE: &[Kind] = &[
    CONFIG_MAPS,
    DAEMON_SETS,
    DEPLOYMENTS,
    BUDGETS,
    NETWORK_POLICIES,
    SERVICE_MONITORS,
    CERTIFICATES,
    ISSUERS,
    SERVICES,
    SERVICE_ACCOUNTS,
    ROLES,
    ROLE_BINDINGS,
    CLUSTER_ROLES,
    CLUSTER_ROLE_BINDINGS,
    MUTATING_WEBHOOKS,
    VALIDATING_WEBHOOKS,
];

#[test]
fn helm_installs_upgrades_and_uninstalls_the_chart() {
    run(async {
        let plane = ControlPlane::bare(RunFolder::inner("install")).await;
        let tools = Tools::find();
        for part in [&tools.prometheus_operator, &tools.cert_manager] {
            plane.create_crds(files_in(&part.join("crds"))).await;
        }
        let _scheduler = start_scheduler(&plane);
        for name in ["install-a", "install-b"] {
            let node = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}});
            plane.api.create(&NODES.all(), node).await.unwrap();
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/00-namespace.yaml");
        let namespace: Value = serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        plane.api.create(&NAMESPACES.all(), namespace).await.unwrap();
        let helm = |args: &[&str]| tools.helm(&plane, args);

        helm(&["install", "pointsman", CHART, "--wait", "--timeout=2m"]);
        assert_eq!(running(&plane).await, [("scheduler", 2), ("webhook", 2)]);
        let scheduler = get(&plane, DEPLOYMENTS, "pointsman-scheduler").await;
        assert_eq!(
            scheduler["spec"]["template"]["spec"]["containers"][0]["image"],
            "registry.k8s.io/kube-scheduler:v1.37.2",
            "the version of the cluster"
        );

        write_ca_bundle(&plane).await;
        helm(&[
            "upgrade",
            "pointsman",
            CHART,
            "--wait",
            "--timeout=2m",
            "--set=settings.nodeState=trust,monitoring.serviceMonitor=true,webhook.replicas=3",
        ]);
        eventually(
            "the pods of the first configuration are gone",
            LIMIT,
            async || {
                let running = running(&plane).await;
                expect(running == [("scheduler", 2), ("webhook", 3)], || {
                    format!("{running:?}")
                })
            },
        )
        .await;
        let config = get(&plane, CONFIG_MAPS, "pointsman").await;
        let config = config["data"]["config.yaml"].as_str().unwrap();
        assert!(config.contains("nodeState: trust"), "{config}");
        get(&plane, SERVICE_MONITORS, "pointsman").await;
        let mutating = plane
            .api
            .get(&MUTATING_WEBHOOKS.all().named("pointsman"))
            .await
            .unwrap();
        for webhook in mutating["webhooks"].as_array().unwrap() {
            assert_eq!(
                webhook["clientConfig"]["caBundle"], CA_BUNDLE,
                "an upgrade keeps what the program wrote"
            );
        }

        // The other scheduler mode and the other certificate.
        allow_host_network(&plane).await;
        helm(&[
            "upgrade",
            "pointsman",
            CHART,
            "--reset-values",
            "--set=scheduler.mode=existing,webhook.certificate.from=cert-manager",
            "--set=admin.auth=apiserver,admin.certificateSecret=admin-tls,webhook.clientCaConfigMap=callers",
            "--set=extender.nodeSelector.node-role\\.kubernetes\\.io/control-plane=null",
        ]);
        eventually("an extender runs on every node", LIMIT, async || {
            let running = running(&plane).await;
            let extenders = ("extender", 2);
            expect(
                running.contains(&extenders) && running.iter().all(|(part, _)| *part != "scheduler"),
                || format!("{running:?}"),
            )
        })
        .await;
        get(&plane, CERTIFICATES, "pointsman-webhook").await;
        let bindings = plane.api.list(&CLUSTER_ROLE_BINDINGS.all()).await;
        let schedulers: Vec<&Value> = bindings
            .iter()
            .filter(|binding| binding["roleRef"]["name"] == "system:kube-scheduler")
            .flat_map(|binding| binding["subjects"].as_array().unwrap())
            .filter(|subject| subject["namespace"] == OUR_NAMESPACE)
            .collect();
        assert!(
            schedulers.is_empty(),
            "nobody of ours schedules any more: {schedulers:?}"
        );

        helm(&["uninstall", "pointsman", "--wait", "--timeout=2m"]);
        eventually("nothing of the chart is left", LIMIT, async || {
            let left = left(&plane).await;
            expect(left.is_empty(), || left.join(", "))
        })
        .await;
    });
}

const CHART: &str = "manifests/chart";

/// Any text that is base64: nobody calls the webhook here.
const CA_BUNDLE: &str = "Q0E=";

/// The parts that `tests/packaging/tools/build` makes.
struct Tools {
    helm: PathBuf,
    prometheus_operator: PathBuf,
    cert_manager: PathBuf,
}

impl Tools {
    fn find() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packaging/tools/build");
        let output = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "what it needs is said above");
        let printed = String::from_utf8(output.stdout).unwrap();
        let place = |part: &str| {
            let line = printed
                .lines()
                .find_map(|line| line.strip_prefix(part)?.strip_prefix(' '));
            PathBuf::from(line.unwrap_or_else(|| panic!("no place of {part}")))
        };
        Self {
            helm: place("helm"),
            prometheus_operator: place("prometheus-operator"),
            cert_manager: place("cert-manager"),
        }
    }

    /// Runs Helm with a home of its own; a warning of the API server counts as a failure.
    fn helm(&self, plane: &ControlPlane, args: &[&str]) {
        let home = plane.run.path().join("helm");
        let output = Command::new(self.helm.join("bin/helm"))
            .args(args)
            .arg(format!("--namespace={OUR_NAMESPACE}"))
            .arg(format!("--kubeconfig={}", plane.kubeconfig("admin").display()))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("HELM_CACHE_HOME", &home)
            .env("HELM_CONFIG_HOME", &home)
            .env("HELM_DATA_HOME", &home)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "helm {}: {said}", args.join(" "));
        assert!(
            !said.to_lowercase().contains("warning"),
            "helm {}: {said}",
            args.join(" ")
        );
    }
}

/// The objects that the chart renders to with these settings.
pub(crate) fn rendered(plane: &ControlPlane, set: &str) -> Vec<Value> {
    let output = Command::new(Tools::find().helm.join("bin/helm"))
        .args(["template", "pointsman", CHART, "--kube-version=v1.37.2"])
        .arg(format!("--namespace={OUR_NAMESPACE}"))
        .arg(format!("--set={set}"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("HELM_CONFIG_HOME", plane.run.path().join("helm"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_saphyr::from_multiple(&String::from_utf8(output.stdout).unwrap()).unwrap()
}

/// As the program does it, under its own name.
async fn write_ca_bundle(plane: &ControlPlane) {
    let at = MUTATING_WEBHOOKS.all().named("pointsman");
    let mut webhooks = plane.api.get(&at).await.unwrap()["webhooks"].take();
    for webhook in webhooks.as_array_mut().unwrap() {
        webhook["clientConfig"]["caBundle"] = json!(CA_BUNDLE);
    }
    plane.api.merge(&at, json!({"webhooks": webhooks})).await.unwrap();
}

/// The extender for an existing scheduler needs it, so that Pod Security's strictest level must not be asked for.
async fn allow_host_network(plane: &ControlPlane) {
    let privileged = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}});
    let at = NAMESPACES.all().named(OUR_NAMESPACE);
    plane.api.merge(&at, privileged).await.unwrap();
}

fn start_scheduler(plane: &ControlPlane) -> Process {
    let kubeconfig = plane.kubeconfig("system:kube-scheduler");
    Program::new("kube-scheduler", &plane.tools.kubernetes("kube-scheduler"))
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .args(["--leader-elect=false", "--secure-port=0"])
        .start(plane.run.log("kube-scheduler"))
}

async fn get(plane: &ControlPlane, kind: Kind, name: &str) -> Value {
    let at = kind.within(OUR_NAMESPACE).named(name);
    plane
        .api
        .get(&at)
        .await
        .unwrap_or_else(|refused| panic!("{}", refused.message))
}

/// How many pods of each part run.
async fn running(plane: &ControlPlane) -> Vec<(&'static str, usize)> {
    let pods = plane.api.list(&PODS.within(OUR_NAMESPACE)).await;
    let parts = ["extender", "scheduler", "webhook"].map(|part| {
        let of_part = pods.iter().filter(|pod| {
            pod["metadata"]["labels"]["app.kubernetes.io/component"] == part
                && pod["status"]["phase"] == "Running"
                && pod["metadata"]["deletionTimestamp"].is_null()
        });
        (part, of_part.count())
    });
    parts.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// What carries the chart's label, in the cluster and in every namespace that it writes to.
async fn left(plane: &ControlPlane) -> Vec<String> {
    let mut left = Vec::new();
    for kind in MADE {
        for object in plane.api.list(&kind.all()).await {
            if object["metadata"]["labels"]["app.kubernetes.io/name"] == "pointsman" {
                left.push(format!("{} {}", object["kind"], object["metadata"]["name"]));
            }
        }
    }
    left
}
