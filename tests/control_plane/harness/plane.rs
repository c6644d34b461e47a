//! The control plane: etcd, kube-apiserver with RBAC, kube-controller-manager, KWOK's nodes, Spiderpool, and all CRDs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use super::api::{
    Api, CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, CRDS, NAMESPACES, ROLE_BINDINGS, ROLES, SERVICE_ACCOUNTS,
};
use super::base64;
use super::certs::{self, Authority};
use super::ports;
use super::process::{Process, Program, Restartable};
use super::run_folder::{self, RunFolder};
use super::spiderpool::Spiderpool;
use super::tools::Tools;
use super::wait::{eventually, expect};

/// Where our program lives in a cluster.
pub(crate) const OUR_NAMESPACE: &str = "pointsman-system";

/// The identity our program runs under in most tests: it has the rights of the webhook and of the extender.
pub(crate) const TEST_USER: &str = "pointsman-tests";

/// The webhook's identity in a cluster.
pub(crate) const WEBHOOK_USER: &str = "system:serviceaccount:pointsman-system:pointsman";

/// The identity of the dedicated scheduler and of the extender beside it.
pub(crate) const SCHEDULER_USER: &str = "system:serviceaccount:pointsman-system:pointsman-scheduler";

/// The identity of the extender beside a scheduler that is not ours; its test grants it what the chart grants.
pub(crate) const EXTENDER_USER: &str = "system:serviceaccount:pointsman-system:pointsman-extender";

/// The identity of the fabric import; its test grants it what the example manifest grants.
pub(crate) const TOPOLOGY_USER: &str = "system:serviceaccount:pointsman-system:pointsman-topology";

/// Everything that starts may take this long; on an idle machine it takes a tenth.
pub(crate) const START: Duration = Duration::from_mins(1);

/// How often a server whose port was taken between our look and its bind gets other ports.
pub(crate) const TRIES: usize = 4;

/// Users, and the groups that say what they may do. Their tokens are their names with a secret of this run.
const USERS: &[(&str, &str)] = &[
    (
        TOPOLOGY_USER,
        "system:serviceaccounts,system:serviceaccounts:pointsman-system",
    ),
    (
        EXTENDER_USER,
        "system:serviceaccounts,system:serviceaccounts:pointsman-system",
    ),
    ("admin", "system:masters"),
    ("system:kube-scheduler", ""),
    ("system:kube-controller-manager", ""),
    (TEST_USER, ""),
    (
        WEBHOOK_USER,
        "system:serviceaccounts,system:serviceaccounts:pointsman-system",
    ),
    (
        SCHEDULER_USER,
        "system:serviceaccounts,system:serviceaccounts:pointsman-system",
    ),
];

static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();

/// A running control plane. It ends with this process.
pub(crate) struct ControlPlane {
    pub(crate) tools: Tools,
    pub(crate) run: RunFolder,
    pub(crate) authority: Authority,
    pub(crate) api: Api,
    pub(crate) apiserver: Restartable,
    /// Where etcd and the API server listen.
    pub(crate) etcd: String,
    pub(crate) server: String,
    processes: Vec<Process>,
    spiderpool: Option<Spiderpool>,
}

/// The control plane that all tests of this process share.
pub(crate) async fn shared() -> &'static ControlPlane {
    SHARED.get_or_init(ControlPlane::start).await
}

impl ControlPlane {
    pub(crate) async fn start() -> Self {
        Self::start_collecting(None).await
    }

    /// The same, and Spiderpool looks so often for addresses that leaked.
    pub(crate) async fn start_collecting(interval: Option<Duration>) -> Self {
        Self::whole(RunFolder::create(), &[], interval).await
    }

    /// A second one beside it, for a test that looks at a whole cluster.
    pub(crate) async fn start_another(name: &str) -> Self {
        Self::whole(RunFolder::inner(name), &[], None).await
    }

    /// A second one beside it, with these feature gates of the API server and all betas that come with them.
    pub(crate) async fn start_gated(name: &str, gates: &[&str]) -> Self {
        Self::whole(RunFolder::inner(name), gates, None).await
    }

    async fn whole(run: RunFolder, gates: &[&str], interval: Option<Duration>) -> Self {
        let mut plane = Self::bare_gated(run, gates).await;
        plane.create_crds(plane.tools.crds()).await;
        plane.create_our_role().await;
        plane.spiderpool = Some(Spiderpool::start(&plane, interval).await);
        plane
    }

    /// As a new cluster is: without our objects, without Spiderpool and without custom resources.
    pub(crate) async fn bare(run: RunFolder) -> Self {
        Self::bare_gated(run, &[]).await
    }

    async fn bare_gated(run: RunFolder, gates: &[&str]) -> Self {
        let tools = Tools::find();
        let authority = Authority::new("pointsman test authority");
        let (etcd, etcd_url) = start_etcd(&tools, &run).await;
        let (apiserver, server) = start_apiserver(&tools, &run, &authority, &etcd_url, gates).await;
        for (user, _) in USERS {
            write_kubeconfig(&run, &authority, &server, user, "");
        }
        let kubeconfig = run.path().join(kubeconfig_name("admin"));
        let mut plane = Self {
            api: Api::new(client(&kubeconfig).await),
            tools,
            run,
            authority,
            apiserver,
            etcd: etcd_url,
            server,
            processes: vec![etcd],
            spiderpool: None,
        };
        let controller_manager = plane.start_controller_manager();
        let kwok = plane.start_kwok();
        plane.processes.extend([controller_manager, kwok]);
        plane
    }

    /// The kubeconfig of one of the users that leads to the API server through another port.
    pub(crate) fn kubeconfig_through(&self, port: u16, user: &str) -> PathBuf {
        let server = format!("https://127.0.0.1:{port}");
        write_kubeconfig(&self.run, &self.authority, &server, user, &format!("{port}-"))
    }

    /// Starts again, from now on, whatever of the cluster's parts ends by itself, as kubelets do.
    pub(crate) fn keep_running(&'static self) {
        tokio::spawn(self.spiderpool().keep_running());
    }

    /// Waits until the API server answers.
    pub(crate) async fn answers(&self) {
        eventually("kube-apiserver is back", START, async || {
            let request = Request::get("/readyz").body(Vec::new()).unwrap();
            let client = client(&self.kubeconfig("admin")).await;
            client
                .request_text(request)
                .await
                .map_err(|error| error.to_string())
        })
        .await;
    }

    /// The kubeconfig of one of the users.
    pub(crate) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.run.path().join(kubeconfig_name(user))
    }

    pub(crate) fn spiderpool(&self) -> &Spiderpool {
        self.spiderpool.as_ref().unwrap()
    }

    /// The ids of all processes that were started.
    pub(crate) fn process_ids(&self) -> Vec<u32> {
        let spiderpool = self.spiderpool.iter().flat_map(Spiderpool::processes);
        let others = self.processes.iter().map(Process::id).chain(spiderpool);
        others.chain([self.apiserver.id()]).collect()
    }

    fn start_controller_manager(&self) -> Process {
        let kubeconfig = self
            .kubeconfig("system:kube-controller-manager")
            .display()
            .to_string();
        let controllers = [
            "serviceaccount-controller",
            "namespace-controller",
            "garbage-collector-controller",
            "job-controller",
            "replicaset-controller",
            "deployment-controller",
            "daemonset-controller",
            "statefulset-controller",
        ];
        Program::new(
            "kube-controller-manager",
            &self.tools.kubernetes("kube-controller-manager"),
        )
        .arg(format!("--kubeconfig={kubeconfig}"))
        .arg(format!("--controllers={}", controllers.join(",")))
        .args([
            "--leader-elect=false",
            "--secure-port=0",
            "--use-service-account-credentials=true",
        ])
        .args(["--kube-api-qps=500", "--kube-api-burst=1000"])
        .start(self.run.log("kube-controller-manager"))
    }

    fn start_kwok(&self) -> Process {
        let stages = self
            .tools
            .stages()
            .into_iter()
            .map(|stage| format!("--config={}", stage.display()));
        Program::new("kwok", &self.tools.kwok())
            .arg(format!("--kubeconfig={}", self.kubeconfig("admin").display()))
            .args(["--manage-all-nodes=true", "--node-lease-duration-seconds=40"])
            .args(stages)
            .start(self.run.log("kwok"))
    }

    /// Creates the CRDs in these files, and waits until they are served.
    pub(crate) async fn create_crds(&self, files: Vec<PathBuf>) {
        let mut names = Vec::new();
        for path in files {
            let crd: Value = serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap();
            names.push(crd["metadata"]["name"].as_str().unwrap().to_owned());
            self.api.create(&CRDS.all(), crd).await.unwrap();
        }
        for name in names {
            eventually(&format!("{name} is served"), START, async || {
                let crd = self.api.get(&CRDS.all().named(&name)).await.unwrap();
                let conditions = crd["status"]["conditions"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                expect(
                    conditions
                        .iter()
                        .any(|c| c["type"] == "Established" && c["status"] == "True"),
                    || crd["status"].to_string(),
                )
            })
            .await;
        }
    }

    /// Binds our program's identity to exactly what `manifests/` grants it.
    async fn create_our_role(&self) {
        self.api
            .create(&NAMESPACES.all(), json!({"metadata": {"name": OUR_NAMESPACE}}))
            .await
            .unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/rbac.yaml");
        let objects: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(path).unwrap()).unwrap();
        for object in objects {
            let at = match (
                object["kind"].as_str().unwrap(),
                object["metadata"]["namespace"].as_str(),
            ) {
                ("ServiceAccount", Some(namespace)) => SERVICE_ACCOUNTS.within(namespace),
                ("Role", Some(namespace)) => ROLES.within(namespace),
                ("RoleBinding", Some(namespace)) => ROLE_BINDINGS.within(namespace),
                ("ClusterRole", None) => CLUSTER_ROLES.all(),
                ("ClusterRoleBinding", None) => CLUSTER_ROLE_BINDINGS.all(),
                other => panic!("manifests/rbac.yaml: not expected there: {other:?}"),
            };
            if let Some(copy) = for_tests(&object) {
                self.api.create(&at, copy).await.unwrap();
            }
            self.api.create(&at, object).await.unwrap();
        }
    }
}

/// In a cluster the webhook and the extender are two identities, and some objects have well-known names. In most tests
/// they are one process with the rights of both, over objects that each stack names for itself: a copy of our own roles
/// for such a user. `None` for what is not ours.
fn for_tests(object: &Value) -> Option<Value> {
    let ours = |name: &Value| name.as_str().is_some_and(|name| name.starts_with("pointsman"));
    let renamed = |name: &Value| json!(format!("test-{}", name.as_str().unwrap()));
    let mut copy = object.clone();
    copy["metadata"]["name"] = renamed(&object["metadata"]["name"]);
    if ours(&object["roleRef"]["name"]) {
        copy["roleRef"]["name"] = renamed(&object["roleRef"]["name"]);
        copy["subjects"] =
            json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": TEST_USER}]);
        return Some(copy);
    }
    for rule in copy.get_mut("rules")?.as_array_mut()? {
        rule.as_object_mut()?.remove("resourceNames");
    }
    Some(copy)
}

async fn start_etcd(tools: &Tools, run: &RunFolder) -> (Process, String) {
    for _ in 0..TRIES {
        let [client, peer] = [ports::free(), ports::free()].map(|port| format!("http://127.0.0.1:{port}"));
        let mut etcd = Program::new("etcd", &tools.kubernetes("etcd"))
            .arg("--name=default")
            .arg(format!(
                "--data-dir={}",
                run.path().join(format!("etcd-{}", ports::free())).display()
            ))
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster=default={peer}"))
            // Nothing of a test's cluster has to survive a power cut.
            .arg("--unsafe-no-fsync")
            .arg("--log-level=warn")
            .start(run.log("etcd"));
        // The API server waits for etcd by itself; all we need to know is that etcd has its ports.
        if listens(&mut etcd, &client).await {
            return (etcd, client);
        }
    }
    panic!("etcd found no free port in {TRIES} tries");
}

async fn start_apiserver(
    tools: &Tools,
    run: &RunFolder,
    authority: &Authority,
    etcd: &str,
    gates: &[&str],
) -> (Restartable, String) {
    let leaf = authority.leaf();
    let certificate = run.write("apiserver.crt", leaf.certificate);
    let key = run.write("apiserver.key", leaf.key);
    let (signing_key, verifying_key) = certs::signing_keys();
    let signing_key = run.write("service-accounts.key", signing_key);
    let verifying_key = run.write("service-accounts.pub", verifying_key);
    let tokens = USERS
        .iter()
        .map(|(user, groups)| format!("{},{user},{user},\"{groups}\"\n", token(user)));
    let tokens = run.write("tokens.csv", tokens.collect::<String>());
    let admission = write_admission_configuration(run, authority);
    for _ in 0..TRIES {
        let port = ports::free();
        let mut program = Program::new("kube-apiserver", &tools.kubernetes("kube-apiserver"))
            .arg(format!("--etcd-servers={etcd}"))
            .args([
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                "--endpoint-reconciler-type=none",
            ])
            .arg(format!("--secure-port={port}"))
            .arg(format!("--tls-cert-file={}", certificate.display()))
            .arg(format!("--tls-private-key-file={}", key.display()))
            .arg("--authorization-mode=RBAC")
            .arg(format!("--token-auth-file={}", tokens.display()))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(format!("--service-account-key-file={}", verifying_key.display()))
            .arg(format!(
                "--service-account-signing-key-file={}",
                signing_key.display()
            ))
            .args([
                "--service-cluster-ip-range=10.254.0.0/16",
                "--allow-privileged=true",
            ])
            // New nodes take pods at once: no controller runs here that would take the taint off again.
            .arg("--disable-admission-plugins=TaintNodesByCondition")
            .arg(format!("--admission-control-config-file={}", admission.display()))
            // What waits is ours to say; the server's own fairness would only add noise to a small machine.
            .args([
                "--max-requests-inflight=0",
                "--max-mutating-requests-inflight=0",
                "--enable-priority-and-fairness=false",
            ]);
        if !gates.is_empty() {
            let on: Vec<String> = gates.iter().map(|gate| format!("{gate}=true")).collect();
            program = program
                .arg(format!("--feature-gates={}", on.join(",")))
                .arg("--runtime-config=api/beta=true");
        }
        let mut apiserver = program.clone().start(run.log("kube-apiserver"));
        let server = format!("https://127.0.0.1:{port}");
        let kubeconfig = write_kubeconfig(run, authority, &server, "admin", "");
        if answers(&mut apiserver, &client(&kubeconfig).await).await {
            return (Restartable::of(program, apiserver), server);
        }
    }
    panic!("kube-apiserver found no free port in {TRIES} tries");
}

/// By which the API server shows webhooks that ask for it a certificate of its own.
fn write_admission_configuration(run: &RunFolder, authority: &Authority) -> PathBuf {
    let leaf = authority.leaf();
    let certificate = run.write("apiserver-client.crt", leaf.certificate);
    let key = run.write("apiserver-client.key", leaf.key);
    let shown = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "users": [{"name": "*", "user": {"client-certificate": certificate, "client-key": key}}],
    });
    let shown = run.write("webhooks.kubeconfig", shown.to_string());
    let plugins = ["MutatingAdmissionWebhook", "ValidatingAdmissionWebhook"].map(|name| {
        json!({"name": name, "configuration": {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "WebhookAdmissionConfiguration",
            "kubeConfigFile": shown,
        }})
    });
    let configuration = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": plugins,
    });
    run.write("admission.yaml", configuration.to_string())
}

/// Waits until something accepts connections there; `false` when the process lost its port to somebody else.
pub(crate) async fn listens(process: &mut Process, url: &str) -> bool {
    let address = url.split("//").last().unwrap().to_owned();
    eventually(&format!("{url} is listened on"), START, async || {
        if process.lost_its_port() {
            return Ok(false);
        }
        let connected = TcpStream::connect(&address).await.map(|_| true);
        if process.runs() {
            connected.map_err(|e| e.to_string())
        } else {
            Err(run_folder::tail(process.log(), 20))
        }
    })
    .await
}

/// Waits until the API server is ready for all; `false` when it lost its port to somebody else.
async fn answers(process: &mut Process, client: &Client) -> bool {
    eventually("kube-apiserver is ready", START, async || {
        if process.lost_its_port() {
            return Ok(false);
        }
        assert!(
            process.runs(),
            "kube-apiserver ended:\n{}",
            run_folder::tail(process.log(), 20)
        );
        let request = Request::get("/readyz").body(Vec::new()).unwrap();
        client
            .request_text(request)
            .await
            .map(|_| true)
            .map_err(|error| error.to_string())
    })
    .await
}

async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

/// By which the API server knows one of the users.
pub(crate) fn token(user: &str) -> String {
    format!("test-{}", user.replace(':', "-"))
}

fn write_kubeconfig(
    run: &RunFolder,
    authority: &Authority,
    server: &str,
    user: &str,
    prefix: &str,
) -> PathBuf {
    let authority = base64::encode(authority.certificate().as_bytes());
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority-data": authority}}],
        "users": [{"name": user, "user": {"token": token(user)}}],
    });
    // JSON is YAML.
    run.write(
        &format!("{prefix}{}", kubeconfig_name(user)),
        format!("{kubeconfig:#}"),
    )
}

fn kubeconfig_name(user: &str) -> String {
    format!("{}.kubeconfig", user.replace(':', "-"))
}
