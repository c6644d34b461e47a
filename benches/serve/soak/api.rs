//! A stand-in for the API server whose objects change: it lists, watches from a version on, takes Bindings and nudges,
//! and forgets old versions when it is told to. Every collection is one map under one lock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::cluster::VFS;
use super::random::Random;

pub(super) const NODES: &str = "/api/v1/nodes";
pub(super) const PODS: &str = "/api/v1/pods";
pub(super) const NAMESPACES: &str = "/api/v1/namespaces";
pub(super) const STATES: &str = "/apis/sriovnetwork.openshift.io/v1/sriovnetworknodestates";
pub(super) const NETWORKS: &str = "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions";
pub(super) const POOLS: &str = "/apis/spiderpool.spidernet.io/v2beta1/spiderippools";
pub(super) const RESERVED: &str = "/apis/spiderpool.spidernet.io/v2beta1/spiderreservedips";
pub(super) const ENDPOINTS: &str = "/apis/spiderpool.spidernet.io/v2beta1/spiderendpoints";
/// The kinds that the stand-in has; of others it says that there are none.
pub(super) const COLLECTIONS: [&str; 8] = [
    PODS, POOLS, NODES, ENDPOINTS, STATES, NAMESPACES, NETWORKS, RESERVED,
];

/// How many changes of a collection a watch can be taken up from.
const REMEMBERED: usize = 20_000;

/// Namespace (none for cluster-wide kinds) and name.
pub(super) type Key = (String, String);

#[derive(Clone)]
pub(super) struct Api(Arc<Shared>);

struct Shared {
    address: SocketAddr,
    store: Mutex<Store>,
}

struct Store {
    version: u64,
    collections: HashMap<&'static str, Collection>,
    /// Pods on each node that were bound and have not ended.
    on_node: HashMap<String, usize>,
    tally: Tally,
    random: Random,
}

/// What was asked of the API server, and what came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) events: u64,
    pub(super) bound: u64,
    /// Bindings that were answered with a conflict, and those that were written and answered with a time-out.
    pub(super) refused: u64,
    pub(super) unclear: u64,
    pub(super) nudged: u64,
    pub(super) told: u64,
    pub(super) lists: u64,
    pub(super) watches: u64,
    pub(super) expired: u64,
    /// Pods that were bound to a node without a VF for them: there must be none.
    pub(super) overcommitted: u64,
}

#[derive(Default)]
struct Collection {
    objects: BTreeMap<Key, Value>,
    log: VecDeque<(u64, Bytes)>,
    /// The newest version that is in the log no longer.
    forgotten: u64,
    watchers: Vec<mpsc::UnboundedSender<Bytes>>,
}

impl Api {
    pub(super) async fn start(seed: u64) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let api = Self(Arc::new(Shared {
            address: socket.local_addr().expect("bound"),
            store: Mutex::new(Store {
                version: 1,
                collections: COLLECTIONS.map(|path| (path, Collection::default())).into(),
                on_node: HashMap::new(),
                tally: Tally::default(),
                random: Random::new(seed),
            }),
        }));
        let routes = Router::new().fallback(any).with_state(api.clone());
        tokio::spawn(async move { axum::serve(socket, routes).await.expect("serves until the end") });
        api
    }

    pub(super) fn kubeconfig(&self) -> String {
        json!({"apiVersion": "v1", "kind": "Config", "current-context": "soak",
            "clusters": [{"name": "soak", "cluster": {"server": format!("http://{}", self.0.address)}}],
            "contexts": [{"name": "soak", "context": {"cluster": "soak", "user": "soak"}}],
            "users": [{"name": "soak", "user": {}}]})
        .to_string()
    }

    pub(super) fn tally(&self) -> Tally {
        self.lock().tally
    }

    pub(super) fn count(&self, path: &str) -> usize {
        self.lock().collections[path].objects.len()
    }

    pub(super) fn get(&self, path: &str, key: &Key) -> Option<Value> {
        self.lock().collections[path].objects.get(key).cloned()
    }

    /// A new object, or another version of it.
    pub(super) fn put(&self, path: &'static str, object: Value) {
        self.lock().put(path, object);
    }

    /// Changes an object that is there.
    pub(super) fn change(&self, path: &'static str, key: &Key, change: impl FnOnce(&mut Value)) -> bool {
        let mut store = self.lock();
        let Some(mut object) = store.collections[path].objects.get(key).cloned() else {
            return false;
        };
        let held = node_of(path, &object);
        change(&mut object);
        store.ended(held, node_of(path, &object));
        store.put(path, object);
        true
    }

    pub(super) fn remove(&self, path: &'static str, key: &Key) -> Option<Value> {
        self.lock().remove(path, key)
    }

    /// Cuts all watches of a collection, and forgets what they would be taken up from.
    pub(super) fn cut(&self, path: &str, forget: bool) {
        let mut store = self.lock();
        // What a watch has seen last is forgotten, too.
        store.version += 1;
        let version = store.version;
        let collection = store.collections.get_mut(path).expect("known");
        collection.watchers.clear();
        if forget {
            collection.forgotten = version;
            collection.log.clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.store.lock().expect("nobody panics with it")
    }
}

/// Where a pod takes VFs.
fn node_of(path: &str, pod: &Value) -> Option<String> {
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let takes = pod["metadata"]["labels"]["soak"] == "rails";
    let node = pod["spec"]["nodeName"]
        .as_str()
        .filter(|_| path == PODS && takes && !ended);
    node.map(str::to_owned)
}

impl Store {
    fn put(&mut self, path: &'static str, mut object: Value) {
        let key = key_of(&object);
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let is_new = !self.collections[path].objects.contains_key(&key);
        self.tell(path, if is_new { "ADDED" } else { "MODIFIED" }, &object);
        let collection = self.collections.get_mut(path).expect("known");
        collection.objects.insert(key, object);
    }

    fn remove(&mut self, path: &'static str, key: &Key) -> Option<Value> {
        let mut object = self.collections.get_mut(path)?.objects.remove(key)?;
        self.ended(node_of(path, &object), None);
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.tell(path, "DELETED", &object);
        Some(object)
    }

    fn ended(&mut self, before: Option<String>, after: Option<String>) {
        if let (Some(node), None) = (before, after) {
            *self.on_node.entry(node).or_insert(1) -= 1;
        }
    }

    fn tell(&mut self, path: &'static str, kind: &str, object: &Value) {
        self.tally.events += 1;
        let line = Bytes::from(format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n"));
        let version = self.version;
        let collection = self.collections.get_mut(path).expect("known");
        collection
            .watchers
            .retain(|watcher| watcher.send(line.clone()).is_ok());
        collection.log.push_back((version, line));
        if collection.log.len() > REMEMBERED
            && let Some((oldest, _)) = collection.log.pop_front()
        {
            collection.forgotten = oldest;
        }
    }

    fn bind(&mut self, key: &Key, body: &Value) -> Response {
        let Some(pod) = self.collections[PODS].objects.get(key) else {
            return status(StatusCode::NOT_FOUND, "NotFound");
        };
        if !pod["spec"]["nodeName"].is_null() || self.random.one_in(100) {
            self.tally.refused += 1;
            return status(StatusCode::CONFLICT, "Conflict");
        }
        let mut pod = pod.clone();
        let node = body["target"]["name"]
            .as_str()
            .expect("a Binding names a node")
            .to_owned();
        pod["spec"]["nodeName"] = node.as_str().into();
        annotate(&mut pod, &body["metadata"]["annotations"]);
        self.put(PODS, pod);
        self.tally.bound += 1;
        let there = self.on_node.entry(node).or_insert(0);
        *there += 1;
        if *there > VFS {
            self.tally.overcommitted += 1;
        }
        if self.random.one_in(500) {
            self.tally.unclear += 1;
            return status(StatusCode::GATEWAY_TIMEOUT, "Timeout");
        }
        status(StatusCode::CREATED, "")
    }
}

pub(super) fn key_of(object: &Value) -> Key {
    let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

fn annotate(object: &mut Value, annotations: &Value) {
    for (key, value) in annotations.as_object().into_iter().flatten() {
        object["metadata"]["annotations"][key] = value.clone();
    }
}

async fn any(
    State(api): State<Api>,
    method: Method,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
    body: Bytes,
) -> Response {
    let mut store = api.lock();
    // Of namespaced paths only those of pods and events are asked for.
    let parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    let json_body = || serde_json::from_slice::<Value>(&body).expect("JSON");
    match (method, parts.as_slice()) {
        (Method::POST, ["api", "v1", "namespaces", namespace, "pods", name, "binding"]) => {
            return store.bind(&((*namespace).to_owned(), (*name).to_owned()), &json_body());
        }
        (Method::PATCH, ["api", "v1", "namespaces", namespace, "pods", name]) => {
            let key = ((*namespace).to_owned(), (*name).to_owned());
            let Some(mut pod) = store.collections[PODS].objects.get(&key).cloned() else {
                return status(StatusCode::NOT_FOUND, "NotFound");
            };
            annotate(&mut pod, &json_body()["metadata"]["annotations"]);
            store.tally.nudged += 1;
            let metadata = pod["metadata"].clone();
            store.put(PODS, pod);
            return answer(
                StatusCode::OK,
                json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata}).to_string(),
            );
        }
        (Method::POST, _) => {
            store.tally.told += 1;
            return answer(StatusCode::CREATED, body);
        }
        (Method::GET, ["api", "v1", "namespaces", namespace, "pods"]) => {
            let name = query
                .get("fieldSelector")
                .and_then(|only| only.strip_prefix("metadata.name="));
            let key = ((*namespace).to_owned(), name.unwrap_or_default().to_owned());
            let found = store.collections[PODS].objects.get(&key).into_iter();
            return list(store.version, found);
        }
        _ => {}
    }
    let Some(path) = COLLECTIONS.into_iter().find(|path| *path == uri.path()) else {
        return status(StatusCode::NOT_FOUND, "NotFound");
    };
    if query
        .get("watch")
        .is_none_or(|watch| watch == "false" || watch == "0")
    {
        store.tally.lists += 1;
        return list(store.version, store.collections[path].objects.values());
    }
    let from: u64 = query
        .get("resourceVersion")
        .and_then(|from| from.parse().ok())
        .unwrap_or(0);
    store.tally.watches += 1;
    let collection = store.collections.get_mut(path).expect("known");
    let (sender, receiver) = mpsc::unbounded_channel::<Bytes>();
    if from < collection.forgotten {
        let gone = json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "message": "too old resource version", "reason": "Expired", "code": 410}});
        sender
            .send(Bytes::from(format!("{gone}\n")))
            .expect("it is received below");
        drop(sender);
        store.tally.expired += 1;
    } else {
        for (_, line) in collection.log.iter().filter(|(version, _)| *version > from) {
            sender.send(line.clone()).expect("it is received below");
        }
        collection.watchers.push(sender);
    }
    drop(store);
    let lines = futures::stream::unfold(receiver, |mut receiver| async move {
        let line = receiver.recv().await?;
        Some((Ok::<_, Infallible>(line), receiver))
    });
    answer(StatusCode::OK, Body::from_stream(lines))
}

fn list<'a>(version: u64, objects: impl Iterator<Item = &'a Value>) -> Response {
    let items: Vec<&Value> = objects.collect();
    answer(
        StatusCode::OK,
        json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version.to_string()}, "items": items})
            .to_string(),
    )
}

fn status(code: StatusCode, reason: &str) -> Response {
    let status = if code.is_success() { "Success" } else { "Failure" };
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": status, "message": reason,
        "reason": reason, "code": code.as_u16()});
    answer(code, body.to_string())
}

fn answer(code: StatusCode, body: impl Into<Body>) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}
