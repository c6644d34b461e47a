//! The part of a node that KWOK does not play: for each pod of a namespace that gets bound it asks the IPAM for one
//! address per network, in Multus' order, and gives them back when the pod goes.
//!
//! Its record answers the question that everything is about: was any pod ever bound without an address to be had?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::{JoinHandle, JoinSet};

use super::api::{At, NETWORKS, PODS};
use super::ipam::Attachment;
use super::plane::ControlPlane;

const PAUSE: Duration = Duration::from_millis(100);

/// What the agent says when it lost a race against itself, or against its own cache.
const LOST: [&str; 2] = ["the object has been modified", "already exists"];

/// How many races in a row are more than bad luck.
const RACES: usize = 20;

/// What happened to one pod's networks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sandbox {
    pub(crate) pod: String,
    pub(crate) node: String,
    /// By interface: network and address.
    pub(crate) addresses: BTreeMap<String, (String, String)>,
    /// What the IPAM said when it gave none; a real pod would hang in ContainerCreating.
    pub(crate) failure: Option<String>,
}

/// How often the IPAM is asked again.
#[derive(Clone, Copy, PartialEq)]
enum Patience {
    /// Not at all: a failure is what the test is about.
    None,
    /// Until the pod has its addresses.
    Endless,
}

/// A background task that ends with this value.
pub(crate) struct Kubelet {
    sandboxes: Arc<Mutex<BTreeMap<String, Sandbox>>>,
    task: JoinHandle<()>,
}

impl Kubelet {
    /// Serves the pods of one namespace, on whichever nodes they are.
    /// `delay` is how long a node takes before it asks for a pod's addresses.
    pub(crate) fn start(plane: &'static ControlPlane, namespace: &str, delay: Duration) -> Self {
        Self::with(plane, namespace, delay, Patience::None)
    }

    /// The same while parts of the cluster come and go: whatever the IPAM says, it is asked again, as a kubelet does.
    pub(crate) fn start_patient(plane: &'static ControlPlane, namespace: &str, delay: Duration) -> Self {
        Self::with(plane, namespace, delay, Patience::Endless)
    }

    fn with(plane: &'static ControlPlane, namespace: &str, delay: Duration, patience: Patience) -> Self {
        let sandboxes = Arc::new(Mutex::new(BTreeMap::new()));
        let namespace = namespace.to_owned();
        let task = tokio::spawn(serve(plane, namespace, delay, patience, Arc::clone(&sandboxes)));
        Self { sandboxes, task }
    }

    /// All sandboxes made so far, those of deleted pods too, by pod UID.
    pub(crate) fn sandboxes(&self) -> BTreeMap<String, Sandbox> {
        self.sandboxes.lock().unwrap().clone()
    }

    pub(crate) fn failures(&self) -> Vec<Sandbox> {
        self.sandboxes()
            .into_values()
            .filter(|sandbox| sandbox.failure.is_some())
            .collect()
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    plane: &'static ControlPlane,
    namespace: String,
    delay: Duration,
    patience: Patience,
    sandboxes: Arc<Mutex<BTreeMap<String, Sandbox>>>,
) {
    let mut started = BTreeMap::new();
    let mut work = JoinSet::new();
    loop {
        let began = Instant::now();
        let pods = match plane.api.try_list(&PODS.within(&namespace)).await {
            Ok(pods) => pods,
            Err(refused) => {
                assert!(patience == Patience::Endless, "{}", refused.message);
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let mut present = BTreeSet::new();
        for pod in pods {
            let uid = text(&pod["metadata"]["uid"]);
            let over = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
            if !over && pod["metadata"]["deletionTimestamp"].is_null() {
                present.insert(uid.clone());
            }
            if pod["spec"]["nodeName"].is_string() && !started.contains_key(&uid) && present.contains(&uid) {
                started.insert(uid.clone(), text(&pod["metadata"]["name"]));
                let sandboxes = Arc::clone(&sandboxes);
                work.spawn(async move {
                    tokio::time::sleep(delay).await;
                    loop {
                        let sandbox = make_sandbox(plane, &pod).await;
                        let failed = sandbox.failure.is_some();
                        sandboxes.lock().unwrap().insert(uid.clone(), sandbox);
                        if !failed || patience == Patience::None || is_gone(plane, &pod).await {
                            break;
                        }
                        tokio::time::sleep(PAUSE).await;
                    }
                });
            }
        }
        let gone: Vec<_> = started
            .iter()
            .filter(|(uid, _)| !present.contains(*uid))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in gone {
            // The sandbox may still be in the making; its addresses can be given back only afterwards.
            if sandboxes.lock().unwrap().contains_key(&uid) {
                let pod = started.remove(&uid).unwrap();
                let namespace = namespace.clone();
                work.spawn(async move { release(plane, &namespace, &pod, &uid, patience).await });
            }
        }
        while let Some(done) = work.try_join_next() {
            done.unwrap();
        }
        // Reading hundreds of pods is work; most of the machine is for others.
        tokio::time::sleep(PAUSE.max(began.elapsed() * 3)).await;
    }
}

async fn make_sandbox(plane: &ControlPlane, pod: &Value) -> Sandbox {
    let [namespace, name, uid] = ["namespace", "name", "uid"].map(|key| text(&pod["metadata"][key]));
    let mut sandbox = Sandbox {
        pod: name.clone(),
        node: text(&pod["spec"]["nodeName"]),
        ..Sandbox::default()
    };
    for (position, (network_namespace, network, interface)) in networks_of(pod).into_iter().enumerate() {
        let interface = interface.unwrap_or_else(|| format!("net{}", position + 1));
        let at = NETWORKS.within(&network_namespace).named(&network);
        let pools = match pools_of(plane, &at).await {
            Ok(pools) => pools,
            Err(problem) => {
                sandbox.failure = Some(problem);
                break;
            }
        };
        let attachment = Attachment {
            namespace: &namespace,
            pod: &name,
            uid: &uid,
            interface: &interface,
        };
        match add(plane, &attachment, &pools).await {
            Ok(address) => {
                sandbox.addresses.insert(interface, (network, address));
            }
            Err(problem) => {
                sandbox.failure = Some(format!("{interface}: {problem}"));
                break;
            }
        }
    }
    sandbox
}

/// Tries again where Spiderpool's agent lost a race against itself, as a kubelet does with the whole sandbox.
async fn add(plane: &ControlPlane, attachment: &Attachment<'_>, pools: &[String]) -> Result<String, String> {
    for _ in 0..RACES {
        match attachment.add(plane.spiderpool().socket(), pools).await {
            Err(problem) if LOST.iter().any(|lost| problem.contains(lost)) => {
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
    Err(format!("{RACES} lost races"))
}

/// Whether the pod is gone for certain.
async fn is_gone(plane: &ControlPlane, pod: &Value) -> bool {
    let [namespace, name] = ["namespace", "name"].map(|key| text(&pod["metadata"][key]));
    match plane.api.get(&PODS.within(&namespace).named(&name)).await {
        Ok(now) => now["metadata"]["uid"] != pod["metadata"]["uid"],
        Err(refused) => refused.message.contains("not found"),
    }
}

async fn release(plane: &ControlPlane, namespace: &str, pod: &str, uid: &str, patience: Patience) {
    let attachment = Attachment {
        namespace,
        pod,
        uid,
        interface: "net1",
    };
    // Spiderpool's own garbage collector may be at the same record.
    for tries in 1.. {
        let Err(problem) = attachment.delete(plane.spiderpool().socket()).await else {
            return;
        };
        assert!(
            patience == Patience::Endless || tries < RACES,
            "the IPAM does not take back the addresses of {pod}: {problem}"
        );
        tokio::time::sleep(PAUSE).await;
    }
}

/// Namespace, name and interface of each network that the pod's annotation lists; our webhook writes the JSON form.
pub(crate) fn networks_of(pod: &Value) -> Vec<(String, String, Option<String>)> {
    let Some(annotation) = pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"].as_str() else {
        return Vec::new();
    };
    let networks: Vec<Value> = serde_json::from_str(annotation).unwrap();
    let own = text(&pod["metadata"]["namespace"]);
    let of = |network: &Value, key: &str| network[key].as_str().map(str::to_owned);
    networks
        .iter()
        .map(|network| {
            (
                of(network, "namespace").unwrap_or_else(|| own.clone()),
                text(&network["name"]),
                of(network, "interface"),
            )
        })
        .collect()
}

/// The pools that a network's CNI configuration names.
async fn pools_of(plane: &ControlPlane, network: &At) -> Result<Vec<String>, String> {
    let network = plane.api.get(network).await.map_err(|refused| refused.message)?;
    let config: Value = serde_json::from_str(network["spec"]["config"].as_str().unwrap()).unwrap();
    let plugins = config["plugins"]
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![config.clone()]);
    let ipam = plugins
        .iter()
        .map(|plugin| &plugin["ipam"])
        .find(|ipam| ipam["type"] == "spiderpool");
    let pools = ipam
        .map(|ipam| ipam["default_ipv4_ippool"].clone())
        .unwrap_or_default();
    serde_json::from_value(pools).map_err(|error| error.to_string())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
