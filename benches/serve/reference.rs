//! The servers to compare with. Each is this program started again with `--reference`, on the same HTTP and TLS
//! stack as `serve`, so that what differs is the work between request and answer.
//!
//! - *floor* reads the body and answers constant bytes of the right size;
//! - *plain* decodes with borrowed types, looks each name up once in a table, and answers rightly by the toy rule
//!   that every tenth node is full and every pod of the profile gets eight rails: the least that is honest.
//!
//! A third, *go*, is a program of its own by the same toy rule, in `go/`: the usual way in Go.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use k8s_openapi::ByteString;
use pointsman::decide::annotation;
use pointsman::serve::listen::Listener;
use pointsman::telemetry::label::ListenerName;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::world::{self, FULL, RAILS};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    Floor,
    Plain,
}

impl Reference {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Plain => "plain",
        }
    }
}

/// Serves the webhook over TLS and the extender without, until the process is killed; says when it is ready.
pub(crate) async fn serve(which: Reference, webhook: SocketAddr, extender: SocketAddr, tls: &Path) {
    let secured = listen(ListenerName::Webhook, webhook)
        .await
        .with_tls(server_config(tls));
    tokio::join!(
        secured.serve(routes(which), CancellationToken::new()),
        serve_extender(which, extender)
    );
}

/// The same of the extender alone.
pub(crate) async fn serve_extender(which: Reference, address: SocketAddr) {
    let open = listen(ListenerName::Extender, address).await;
    println!("ready");
    open.serve(routes(which), CancellationToken::new()).await;
}

async fn listen(name: ListenerName, address: SocketAddr) -> Listener {
    Listener::bind(name, address).await.expect("the address is free")
}

fn routes(which: Reference) -> Router {
    match which {
        Reference::Floor => floor(),
        Reference::Plain => plain(),
    }
}

fn server_config(folder: &Path) -> Arc<rustls::ServerConfig> {
    let chain = CertificateDer::from_pem_file(folder.join("tls.crt")).expect("the certificate was written");
    let key = PrivateKeyDer::from_pem_file(folder.join("tls.key")).expect("the key was written");
    let mut config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("they belong together");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

fn answer(body: impl Into<Bytes>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

fn floor() -> Router {
    // The sizes of plain's answers: names come back with three bytes around each, scores with twenty-one.
    let constant = |per_name: usize| {
        move |body: Bytes| async move {
            let names = body.len().saturating_sub(8_000) / 43;
            answer(vec![b' '; 64 + names * per_name])
        }
    };
    Router::new()
        .route(
            "/mutate",
            post(|_body: Bytes| async { answer(vec![b' '; 4_600]) }),
        )
        .route("/filter", post(constant(43)))
        .route("/prioritize", post(constant(61)))
        .layer(DefaultBodyLimit::disable())
}

type Table = Arc<HashMap<String, bool>>;

/// Which nodes have a VF left: all that the toy rule knows.
pub(crate) fn free() -> HashMap<String, bool> {
    (0..world::LARGE.nodes)
        .map(|node| (world::node_name(node), node % FULL != 0))
        .collect()
}

fn plain() -> Router {
    Router::new()
        .route("/mutate", post(mutate))
        .route("/filter", post(filter))
        .route("/prioritize", post(prioritize))
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::new(free()))
}

#[derive(Deserialize)]
struct Review<'a> {
    #[serde(borrow)]
    request: Request<'a>,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow)]
    object: Pod<'a>,
}

#[derive(Deserialize)]
struct Pod<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
    #[serde(borrow)]
    spec: Spec<'a>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    annotations: BTreeMap<Name<'a>, Name<'a>>,
}

#[derive(Deserialize)]
struct Spec<'a> {
    #[serde(borrow)]
    containers: Vec<Container<'a>>,
}

#[derive(Deserialize)]
struct Container<'a> {
    #[serde(borrow, default)]
    resources: Resources<'a>,
}

#[derive(Default, Deserialize)]
struct Resources<'a> {
    #[serde(borrow, default)]
    requests: BTreeMap<Name<'a>, &'a RawValue>,
    #[serde(borrow, default)]
    limits: BTreeMap<Name<'a>, &'a RawValue>,
}

/// serde copies a `Cow` inside a collection unless it is told to borrow.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Serialize)]
struct Operation<'a> {
    op: &'static str,
    path: String,
    value: &'a str,
}

async fn mutate(body: Bytes) -> Response {
    let review: Review<'_> = serde_json::from_slice(&body).expect("a review of ours");
    let pod = &review.request.object;
    let wanted = pod
        .metadata
        .annotations
        .contains_key(&Name(annotation::PROFILE.into()));
    let mut operations = Vec::with_capacity(2 * RAILS + 1);
    let networks: Vec<String> = (0..RAILS).map(|rail| format!("rdma/rail{rail}")).collect();
    let networks = networks.join(",");
    if let Some(container) = pod.spec.containers.first().filter(|_| wanted) {
        operations.push(Operation {
            op: "add",
            path: "/metadata/annotations/k8s.v1.cni.cncf.io~1networks".to_owned(),
            value: &networks,
        });
        for rail in 0..RAILS {
            let resource = format!("spidernet.io/ib_rail{rail}");
            let name = Name(Cow::Borrowed(resource.as_str()));
            let resources = &container.resources;
            for (map, present) in [
                ("requests", resources.requests.contains_key(&name)),
                ("limits", resources.limits.contains_key(&name)),
            ] {
                if !present {
                    operations.push(Operation {
                        op: "add",
                        path: format!("/spec/containers/0/resources/{map}/spidernet.io~1ib_rail{rail}"),
                        value: "1",
                    });
                }
            }
        }
    }
    let patch = ByteString(serde_json::to_vec(&operations).expect("plain values"));
    let answered = serde_json::json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {"uid": review.request.uid, "allowed": true, "patchType": "JSONPatch", "patch": patch}});
    answer(serde_json::to_vec(&answered).expect("plain values"))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Arguments<'a> {
    #[serde(borrow)]
    pod: Pod<'a>,
    #[serde(borrow)]
    node_names: Vec<Name<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Filtered<'a> {
    node_names: Vec<&'a str>,
    failed_and_unresolvable_nodes: BTreeMap<&'a str, &'static str>,
    error: &'static str,
}

fn needs_vfs(pod: &Pod<'_>) -> bool {
    let rail = Name("spidernet.io/ib_rail0".into());
    pod.spec
        .containers
        .iter()
        .any(|container| container.resources.requests.contains_key(&rail))
}

async fn filter(State(free): State<Table>, body: Bytes) -> Response {
    let asked: Arguments<'_> = serde_json::from_slice(&body).expect("a request of ours");
    let mut filtered = Filtered {
        node_names: Vec::with_capacity(asked.node_names.len()),
        failed_and_unresolvable_nodes: BTreeMap::new(),
        error: "",
    };
    let needs = needs_vfs(&asked.pod);
    for Name(name) in &asked.node_names {
        if !needs || free.get(name.as_ref()).copied().unwrap_or(false) {
            filtered.node_names.push(name);
        } else {
            filtered.failed_and_unresolvable_nodes.insert(name, "no free VF");
        }
    }
    answer(serde_json::to_vec(&filtered).expect("plain values"))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Scored<'a> {
    host: &'a str,
    score: u8,
}

async fn prioritize(State(free): State<Table>, body: Bytes) -> Response {
    let asked: Arguments<'_> = serde_json::from_slice(&body).expect("a request of ours");
    let needs = needs_vfs(&asked.pod);
    let scores: Vec<Scored<'_>> = asked
        .node_names
        .iter()
        .map(|Name(name)| {
            let fits = !needs || free.get(name.as_ref()).copied().unwrap_or(false);
            Scored {
                host: name,
                score: u8::from(fits) * 5,
            }
        })
        .collect();
    answer(serde_json::to_vec(&scores).expect("plain values"))
}
