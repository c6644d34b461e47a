//! A rig: one rail with a pool, nodes, and a binder that only takes notes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use pointsman::cluster::index::Index;
use pointsman::cluster::objects::Kind;
use pointsman::decide::names::PodRef;
use pointsman::decide::settings::Settings;
use pointsman::extender::bind::{BindError, Binder, Binding};
use pointsman::extender::events::Announcer;
use pointsman::extender::ledger::{Ledger, Lifetimes};
use pointsman::extender::nudge::Waiting;
use pointsman::extender::sampling::Sampling;
use pointsman::extender::{State, router};
use pointsman::telemetry::metrics::Metrics;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// What a route answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) length: Option<String>,
    pub(crate) raw: Vec<u8>,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        self.body
    }
}

#[derive(Default)]
struct Notes {
    bound: Mutex<Vec<Binding>>,
    failures: Mutex<VecDeque<BindError>>,
}

impl Binder for Notes {
    fn bind(&self, binding: Binding) -> BoxFuture<'_, Result<(), BindError>> {
        Box::pin(async move {
            // Other calls come in between, as they do when the API server takes its time.
            tokio::task::yield_now().await;
            if let Some(failure) = self.failures.lock().unwrap().pop_front() {
                return Err(failure);
            }
            self.bound.lock().unwrap().push(binding);
            Ok(())
        })
    }

    fn is_bound<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<bool, BindError>> {
        Box::pin(async move {
            let bound = self.bound.lock().unwrap();
            Ok(bound.iter().any(|binding| binding.pod.uid == pod.uid))
        })
    }
}

/// The extender over one rail of `vfs` VFs a node and a pool of `addresses`.
pub(crate) struct Rig {
    vfs: u32,
    index: Arc<Index>,
    notes: Arc<Notes>,
    ready: Arc<AtomicBool>,
    state: State,
}

impl Rig {
    pub(crate) fn new(vfs: u32, addresses: u8) -> Self {
        let settings = Arc::new(Settings::default());
        let index = Arc::new(Index::new(Arc::clone(&settings)));
        let notes = Arc::new(Notes::default());
        let ready = Arc::new(AtomicBool::new(true));
        let is_ready = Arc::clone(&ready);
        let lifetimes = Lifetimes {
            hold: Duration::from_secs(30),
            gang: Duration::from_mins(1),
            reservation: Duration::from_mins(2),
        };
        let metrics = Arc::new(Metrics::new());
        let state = State {
            ledger: Arc::new(Ledger::new(index.published(), lifetimes)),
            waiting: Arc::new(Waiting::default()),
            sampling: Arc::new(Sampling::default()),
            announcer: Arc::new(Announcer::new(Arc::clone(&metrics)).0),
            settings,
            binder: notes.clone(),
            is_ready: Arc::new(move || is_ready.load(Ordering::SeqCst)),
            metrics,
        };
        let ips: Vec<String> = (1..=addresses).map(|last| format!("10.0.0.{last}")).collect();
        for object in [
            json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderIPPool",
                "metadata": {"name": "p"}, "spec": {"subnet": "10.0.0.0/24", "ips": ips}}),
            json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
                "metadata": {"name": "rail0", "namespace": "default",
                    "annotations": {"k8s.v1.cni.cncf.io/resourceName": "x.io/vf"}},
                "spec": {"config": r#"{"type":"ib-sriov","ipam":{"type":"spiderpool","default_ipv4_ippool":["p"]}}"#}}),
        ] {
            index.apply(object).unwrap();
        }
        Self {
            vfs,
            index,
            notes,
            ready,
            state,
        }
    }

    pub(crate) fn node(self, name: &str) -> Self {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
            "status": {"allocatable": {"x.io/vf": self.vfs.to_string(), "cpu": "64"}}});
        self.index.apply(node).unwrap();
        self
    }

    /// The nodes and networks that a recorded request names, all sound.
    pub(crate) fn recorded(self, filter: &str) -> Self {
        let request: Value = serde_json::from_str(filter).unwrap();
        let containers = request["Pod"]["spec"]["containers"].as_array().unwrap();
        let resources = containers
            .iter()
            .find_map(|container| container["resources"]["requests"].as_object());
        for name in request["NodeNames"].as_array().unwrap() {
            let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
                "status": {"allocatable": resources}});
            self.index.apply(node).unwrap();
        }
        let networks = request["Pod"]["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"]
            .as_str()
            .unwrap();
        for network in serde_json::from_str::<Vec<Value>>(networks).unwrap() {
            let network = json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
                "metadata": {"name": network["name"], "namespace": network["namespace"]},
                "spec": {"config": r#"{"type":"ib-sriov"}"#}});
            self.index.apply(network).unwrap();
        }
        self
    }

    /// Another extender has the bind verb.
    pub(crate) fn without_bind(mut self) -> Self {
        Arc::make_mut(&mut self.state.settings).binds = false;
        self
    }

    /// Nodes that pass are counted this often.
    pub(crate) fn counting_every(mut self, interval: Duration) -> Self {
        self.state.sampling = Arc::new(Sampling::new(interval));
        self
    }

    /// Whether the metric says that the scheduler shows a sample; what has been seen must agree.
    pub(crate) fn sampling(&self) -> bool {
        let exposition = self.state.metrics.exposition().unwrap();
        let told = exposition.contains("\npointsman_scheduler_sampling 1\n");
        assert_eq!(self.state.sampling.seen().is_some(), told);
        told
    }

    pub(crate) fn not_ready(self) -> Self {
        self.ready.store(false, Ordering::SeqCst);
        self
    }

    pub(crate) fn pod(name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"),
                "annotations": {"k8s.v1.cni.cncf.io/networks": "rail0"}},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"x.io/vf": "1"}, "limits": {"x.io/vf": "1"}}}]}})
    }

    /// Such a pod, bound.
    pub(crate) fn bound_pod(name: &str, node: &str) -> Value {
        let mut pod = Self::pod(name);
        pod["spec"]["nodeName"] = json!(node);
        pod
    }

    /// The watch has seen the pod, or any other object.
    pub(crate) fn remember(&self, object: &Value) {
        self.index.apply(object.clone()).unwrap();
    }

    /// The watch has seen it go.
    pub(crate) fn forget(&self, pod: &Value) {
        let text = |key: &str| pod["metadata"][key].as_str().unwrap().to_owned();
        self.index.remove(Kind::Pod, &(text("namespace"), text("name")));
    }

    pub(crate) fn fail_next(&self, failure: BindError) {
        self.notes.failures.lock().unwrap().push_back(failure);
    }

    pub(crate) fn bound(&self) -> Vec<Binding> {
        self.notes.bound.lock().unwrap().clone()
    }

    pub(crate) async fn filter(&self, pod: &Value, nodes: &[&str]) -> Value {
        self.call("/filter", &names(pod, nodes)).await.ok()
    }

    pub(crate) async fn bind(&self, pod: &Value, node: &str) -> Value {
        let metadata = &pod["metadata"];
        let request = json!({"PodName": metadata["name"], "PodNamespace": metadata["namespace"],
            "PodUID": metadata["uid"], "Node": node});
        self.call("/bind", &request).await.ok()
    }

    pub(crate) async fn call(&self, path: &str, request: &Value) -> Answer {
        self.call_raw(path, request.to_string()).await
    }

    /// The bytes of an answer, and nothing done with them.
    pub(crate) async fn answer(&self, path: &str, body: String) -> Vec<u8> {
        let response = self.respond(path, body).await;
        response.into_body().collect().await.unwrap().to_bytes().into()
    }

    async fn respond(&self, path: &str, body: impl Into<Body>) -> Response {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.into())
            .unwrap();
        router(self.state.clone()).oneshot(request).await.unwrap()
    }

    pub(crate) async fn call_raw(&self, path: &str, body: impl Into<Body>) -> Answer {
        let response = self.respond(path, body).await;
        let status = response.status();
        let length = response
            .headers()
            .get(header::CONTENT_LENGTH)
            .map(|value| value.to_str().unwrap().to_owned());
        let raw = response.into_body().collect().await.unwrap().to_bytes().to_vec();
        let body = serde_json::from_slice(&raw).unwrap();
        Answer {
            status,
            length,
            raw,
            body,
        }
    }
}

/// What the scheduler sends to `filter` and `prioritize`: the unused half as an explicit null.
pub(crate) fn names(pod: &Value, nodes: &[&str]) -> Value {
    json!({"Pod": pod, "Nodes": null, "NodeNames": nodes})
}
