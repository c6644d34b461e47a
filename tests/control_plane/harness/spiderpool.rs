//! Spiderpool itself: its controller makes networks from SpiderMultusConfigs and keeps the pools' status, its agent is
//! the IPAM that a node's CNI plugin calls.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::net::UnixStream;

use super::api::{DEPLOYMENTS, NAMESPACES, NODES, PODS, SERVICE_ACCOUNTS};
use super::plane::{ControlPlane, START, TRIES, listens};
use super::ports;
use super::process::{Program, Restartable};
use super::wait::eventually;

/// Spiderpool's own namespace.
pub(crate) const NAMESPACE: &str = "spiderpool";

/// The node its pods are bound to. Nothing else fits there: it has no resources and a taint.
const HOST: &str = "spiderpool-host";

/// How often in a row the agent's socket may refuse before it is started again: it needs some seconds to open it.
const PATIENCE: u32 = 12;

pub(crate) struct Spiderpool {
    controller: Restartable,
    agent: Restartable,
    socket: PathBuf,
}

impl Spiderpool {
    /// `collects` is how often the controller looks for addresses that leaked; Spiderpool's own interval is ten minutes.
    pub(crate) async fn start(plane: &ControlPlane, collects: Option<Duration>) -> Self {
        create_its_objects(plane).await;
        let leaf = plane.authority.leaf();
        let certificate = plane.run.write("spiderpool/tls.crt", leaf.certificate);
        let key = plane.run.write("spiderpool/tls.key", leaf.key);
        // One agent serves all nodes: allocation goes by the node that the pod itself names.
        let socket = plane.run.path().join("ipam.sock");
        assert!(
            socket.as_os_str().len() < 100,
            "{}: too long for a socket's path",
            socket.display()
        );
        let configuration = json!({
            "ipamUnixSocketPath": socket,
            "enableIPv4": true,
            "enableIPv6": true,
            "enableStatefulSet": true,
            "enableSpiderSubnet": false,
            "tuneSysctlConfig": false,
        });
        let configuration = plane.run.write("spiderpool/conf.yml", configuration.to_string());
        let controller = start_controller(plane, &configuration, &certificate, &key, collects).await;
        let agent = start_agent(plane, &configuration).await;
        eventually("spiderpool-agent listens", START, async || {
            UnixStream::connect(&socket)
                .await
                .map(|_| ())
                .map_err(|error| error.to_string())
        })
        .await;
        Self {
            controller,
            agent,
            socket,
        }
    }

    pub(crate) fn processes(&self) -> impl Iterator<Item = u32> {
        [self.controller.id(), self.agent.id()].into_iter()
    }

    /// What a kubelet does for them: both end when they lose the API server for long, and the agent may hang on the way
    /// with its socket gone, as its liveness probe would tell.
    pub(crate) async fn keep_running(&self) {
        let mut silent = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if !self.controller.runs() {
                self.controller.start_again();
            }
            let listens = UnixStream::connect(&self.socket).await.is_ok();
            silent = if listens { 0 } else { silent + 1 };
            if silent == PATIENCE {
                silent = 0;
                self.agent.kill();
                self.agent.start_again();
            }
        }
    }

    /// The IPAM itself.
    pub(crate) fn agent(&self) -> &Restartable {
        &self.agent
    }

    /// The socket on which the agent serves CNI plugins.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }
}

/// The objects that either process looks for at its start: its own pod, the node under it, the controller's Deployment.
async fn create_its_objects(plane: &ControlPlane) {
    let api = &plane.api;
    let host = json!({
        "metadata": {"name": HOST},
        "spec": {"taints": [{"key": "pointsman.io/test-host", "effect": "NoSchedule"}]},
    });
    api.create(&NODES.all(), host).await.unwrap();
    api.create(&NAMESPACES.all(), json!({"metadata": {"name": NAMESPACE}}))
        .await
        .unwrap();
    eventually(
        "spiderpool has a service account",
        Duration::from_secs(30),
        async || {
            api.get(&SERVICE_ACCOUNTS.within(NAMESPACE).named("default"))
                .await
                .map_err(|refused| refused.message)
        },
    )
    .await;
    let containers = json!([{"name": "spiderpool", "image": "spiderpool"}]);
    let deployment = json!({
        "metadata": {"name": "spiderpool-controller"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "spiderpool-controller"}},
            "template": {"metadata": {"labels": {"app": "spiderpool-controller"}}, "spec": {"containers": containers}},
        },
    });
    api.create(&DEPLOYMENTS.within(NAMESPACE), deployment)
        .await
        .unwrap();
    for pod in ["spiderpool-controller", "spiderpool-agent"] {
        let pod = json!({"metadata": {"name": pod}, "spec": {"nodeName": HOST, "containers": containers}});
        api.create(&PODS.within(NAMESPACE), pod).await.unwrap();
    }
}

async fn start_controller(
    plane: &ControlPlane,
    configuration: &Path,
    certificate: &Path,
    key: &Path,
    collects: Option<Duration>,
) -> Restartable {
    for _ in 0..TRIES {
        let [health, metrics, webhook] = [ports::free(), ports::free(), ports::free()];
        let mut program = Program::new(
            "spiderpool-controller",
            &plane.tools.spiderpool("spiderpool-controller"),
        )
        .args(["daemon", "--config-path"])
        .arg(configuration.display().to_string())
        .arg("--tls-server-cert")
        .arg(certificate.display().to_string())
        .arg("--tls-server-key")
        .arg(key.display().to_string())
        .env("KUBECONFIG", plane.kubeconfig("admin").display().to_string())
        .env("SPIDERPOOL_POD_NAMESPACE", NAMESPACE)
        .env("SPIDERPOOL_POD_NAME", "spiderpool-controller")
        .env("SPIDERPOOL_MULTUS_CONFIG_ENABLED", "true")
        .env("SPIDERPOOL_HEALTH_PORT", health.to_string())
        .env("SPIDERPOOL_METRIC_HTTP_PORT", metrics.to_string())
        .env("SPIDERPOOL_WEBHOOK_PORT", webhook.to_string())
        .env("SPIDERPOOL_GOPS_LISTEN_PORT", "");
        if let Some(interval) = collects {
            let seconds = interval.as_secs().to_string();
            program = program.env("SPIDERPOOL_GC_DEFAULT_INTERVAL_DURATION", seconds);
        }
        let mut controller = program.clone().start(plane.run.log("spiderpool-controller"));
        if listens(&mut controller, &format!("http://127.0.0.1:{webhook}")).await {
            return Restartable::of(program, controller);
        }
    }
    panic!("spiderpool-controller found no free port in {TRIES} tries");
}

async fn start_agent(plane: &ControlPlane, configuration: &Path) -> Restartable {
    for _ in 0..TRIES {
        let [health, metrics] = [ports::free(), ports::free()];
        let program = Program::new("spiderpool-agent", &plane.tools.spiderpool("spiderpool-agent"))
            .args(["daemon", "--config-path"])
            .arg(configuration.display().to_string())
            .env("KUBECONFIG", plane.kubeconfig("admin").display().to_string())
            .env("SPIDERPOOL_POD_NAMESPACE", NAMESPACE)
            .env("SPIDERPOOL_POD_NAME", "spiderpool-agent")
            .env("SPIDERPOOL_NODE_NAME", HOST)
            .env("MULTUS_CLUSTER_NETWORK", "kube-system/cluster-network")
            .env("SPIDERPOOL_HEALTH_PORT", health.to_string())
            .env("SPIDERPOOL_METRIC_HTTP_PORT", metrics.to_string())
            .env("SPIDERPOOL_GOPS_LISTEN_PORT", "");
        let mut agent = program.clone().start(plane.run.log("spiderpool-agent"));
        if listens(&mut agent, &format!("http://127.0.0.1:{health}")).await {
            return Restartable::of(program, agent);
        }
    }
    panic!("spiderpool-agent found no free port in {TRIES} tries");
}
