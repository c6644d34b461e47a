//! A small cluster, read by the very index that a running program fills, and pods to admit to it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use pointsman::cluster::index::Index;
use pointsman::decide::settings::Settings;
use pointsman::telemetry::metrics::Metrics;
use pointsman::webhook::handler::{State, router};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// A cluster and the webhook that watches it.
pub(crate) struct Cluster {
    pub(crate) index: Arc<Index>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) router: Router,
}

impl Cluster {
    /// Nothing in it, and patience for what comes.
    pub(crate) fn empty(patience: Duration) -> Self {
        let settings = Arc::new(Settings::default());
        let index = Arc::new(Index::new(Arc::clone(&settings)));
        let metrics = Arc::new(Metrics::new());
        let router = router(State {
            snapshot: index.published(),
            generations: index.generations(),
            settings,
            metrics: Arc::clone(&metrics),
            patience,
        });
        Self {
            index,
            metrics,
            router,
        }
    }

    /// Eight rails in namespace `fabric`, their profile `eight-rails`, one node that offers all of them, and
    /// namespaces of every Pod Security level.
    pub(crate) fn new() -> Self {
        let cluster = Self::empty(Duration::ZERO);
        for rail in 0..8 {
            cluster.with(ib_network(&format!("rail{rail}"), "eight-rails"));
        }
        cluster.with(ib_network("half0", "half, other"));
        cluster.with(network("plain", &[], &json!({ "type": "macvlan" })));
        cluster.with(network(
            "ethernet",
            &[("k8s.v1.cni.cncf.io/resourceName", "spidernet.io/ethernet")],
            &json!({ "type": "sriov" }),
        ));
        cluster.with(network(
            "shared",
            &[("k8s.v1.cni.cncf.io/resourceName", "rdma/hca_shared")],
            &json!({ "type": "macvlan" }),
        ));
        cluster.with(network(
            "no-resource",
            &[("pointsman.io/profile", "incomplete")],
            &json!({ "type": "ib-sriov" }),
        ));
        cluster.with(json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {
                "name": "broken", "namespace": "fabric",
                "annotations": { "pointsman.io/profile": "broken", "k8s.v1.cni.cncf.io/resourceName": "spidernet.io/x" },
            },
            "spec": { "config": "{\"type\":" },
        }));
        cluster.with(namespace("t", &[], &[]));
        cluster.with(namespace(
            "tight",
            &[("pod-security.kubernetes.io/enforce", "restricted")],
            &[],
        ));
        cluster.with(namespace(
            "defaults",
            &[],
            &[
                ("pointsman.io/profile", "eight-rails"),
                ("pointsman.io/rails", "2"),
            ],
        ));
        cluster.with(namespace("own", &[], &[("pointsman.io/inject", "true")]));
        let allocatable: serde_json::Map<String, Value> = (0..8)
            .map(|rail| {
                (
                    format!("spidernet.io/ib_rail{rail}"),
                    json!((8 + (rail + 1) % 3).to_string()),
                )
            })
            .collect();
        cluster.with(json!({
            "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n1" },
            "status": { "allocatable": allocatable },
        }));
        cluster
    }

    /// With one more object; an unreadable one is part of the game.
    pub(crate) fn with(&self, object: Value) {
        let _problems = self.index.apply(object);
    }

    /// Posts a body as JSON.
    pub(crate) async fn post(&self, body: impl Into<Body>) -> (StatusCode, Value) {
        self.send(Method::POST, "/mutate", Some("application/json"), body)
            .await
    }

    /// Sends any request; an answer without a body is `null`.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: impl Into<Body>,
    ) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let request = request.body(body.into()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Has a pod admitted in a namespace; gives the `response` of the review.
    pub(crate) async fn admit(&self, namespace: &str, pod: &Value) -> Value {
        let (status, mut answer) = self.post(review(namespace, pod).to_string()).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
        assert_eq!(answer["kind"], "AdmissionReview");
        assert_eq!(answer["response"]["uid"], "1b2c");
        answer["response"].take()
    }
}

/// A review of the creation of `pod`.
pub(crate) fn review(namespace: &str, pod: &Value) -> Value {
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "1b2c", "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "namespace": namespace, "operation": "CREATE", "dryRun": false,
            "userInfo": { "username": "someone" }, "object": pod, "oldObject": null,
        },
    })
}

/// The operations of a response.
pub(crate) fn operations(response: &Value) -> json_patch::Patch {
    match response.get("patch") {
        None => json_patch::Patch::default(),
        Some(patch) => {
            assert_eq!(response["patchType"], "JSONPatch");
            let bytes: k8s_openapi::ByteString = serde_json::from_value(patch.clone()).unwrap();
            serde_json::from_slice(&bytes.0).unwrap()
        }
    }
}

/// The pod as the API server stores it.
pub(crate) fn patched(pod: &Value, response: &Value) -> Value {
    assert_eq!(response["allowed"], true, "{response}");
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &operations(response)).unwrap();
    pod
}

/// A pod with one container, as kube-apiserver sends it.
pub(crate) fn pod(annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "generateName": "train-", "annotations": annotations },
        "spec": {
            "containers": [{ "name": "trainer", "image": "trainer:1", "resources": {} }],
            "schedulerName": "default-scheduler",
        },
    })
}

/// A NetworkAttachmentDefinition in namespace `fabric`.
pub(crate) fn network(name: &str, annotations: &[(&str, &str)], config: &Value) -> Value {
    let annotations: serde_json::Map<String, Value> = annotations
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect();
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": { "name": name, "namespace": "fabric", "annotations": annotations },
        "spec": { "config": config.to_string() },
    })
}

/// A network of IB VFs; resource `spidernet.io/ib_<name>`, pool `<name>-pool`.
pub(crate) fn ib_network(name: &str, profile: &str) -> Value {
    let config = json!({
        "cniVersion": "0.3.1", "name": name,
        "plugins": [{
            "type": "ib-sriov", "rdmaIsolation": true,
            "ipam": { "type": "spiderpool", "default_ipv4_ippool": [format!("{name}-pool")] },
        }],
    });
    let resource = format!("spidernet.io/ib_{name}");
    network(
        name,
        &[
            ("pointsman.io/profile", profile),
            ("k8s.v1.cni.cncf.io/resourceName", &resource),
        ],
        &config,
    )
}

/// A namespace.
pub(crate) fn namespace(name: &str, labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> Value {
    let map = |pairs: &[(&str, &str)]| -> serde_json::Map<String, Value> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(value)))
            .collect()
    };
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": name, "labels": map(labels), "annotations": map(annotations) },
    })
}
