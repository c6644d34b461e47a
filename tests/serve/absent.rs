//! A cluster that lacks what not every cluster has: Spiderpool, the SR-IOV operator, Dynamic Resource Allocation. The real
//! binary, on an API server of a few lines that knows Kubernetes' oldest kinds and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{Connection, Process, eventually, tls};

const CLAIM: &str = "/apis/resource.k8s.io/v1/resourceclaims";
const CLASS: &str = "/apis/resource.k8s.io/v1/deviceclasses";
const NETWORK: &str = "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions";

/// Answers lists, and keeps watches open without a word. The kinds of others come into being with `installed`.
fn api_server(installed: Arc<AtomicBool>) -> Router {
    let items = |path: &str| match path {
        CLAIM => json!([{"metadata": {"name": "nic", "namespace": "t"}, "spec": {"devices": {"requests": [
            {"name": "vf", "exactly": {"deviceClassName": "rail0"}}]}}}]),
        CLASS => json!([{"metadata": {"name": "rail0"}, "spec": {"extendedResourceName": "x.io/rail0"}}]),
        NETWORK => json!([{"metadata": {"name": "rail0", "namespace": "t", "annotations": {
            "pointsman.io/profile": "one-rail", "k8s.v1.cni.cncf.io/resourceName": "x.io/rail0"}},
            "spec": {"config": r#"{"cniVersion":"1.0.0","type":"ib-sriov"}"#}}]),
        _ => json!([]),
    };
    Router::new().fallback(async move |request: Request| -> Response {
        let path = request.uri().path();
        let oldest = ["/api/v1/", "/apis/batch/", "/apis/coordination.k8s.io/"];
        let known = oldest.iter().any(|group| path.starts_with(group));
        if !known && !installed.load(Ordering::SeqCst) {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound",
                "message": "the server could not find the requested resource"});
            return (StatusCode::NOT_FOUND, Json(status)).into_response();
        }
        if request.uri().query().is_some_and(|query| query.contains("watch=")) {
            return Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>()).into_response();
        }
        let items: Value = items(path);
        Json(json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items})).into_response()
    })
}

#[tokio::test]
async fn kinds_that_a_cluster_does_not_have_hold_nothing_up_and_are_found_when_they_come() {
    let installed = Arc::new(AtomicBool::new(false));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let routes = api_server(Arc::clone(&installed));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let files = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(files.path().join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(files.path().join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    let kubeconfig = files.path().join("kubeconfig");
    let text = json!({"apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": format!("http://{server}")}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}], "users": [{"name": "x", "user": {}}]});
    std::fs::write(&kubeconfig, text.to_string()).unwrap();
    let here = "127.0.0.1:0";
    let arguments = [
        ["--webhook-listen", here],
        ["--extender-listen", here],
        ["--admin-listen", here],
        ["--tls-dir", files.path().to_str().unwrap()],
    ];
    let process = Process::serve(arguments.as_flattened(), Some(&kubeconfig));
    let (webhook, admin) = (process.address("webhook").await, process.address("admin").await);
    eventually("it is ready without them", async || {
        let stream = TcpStream::connect(admin).await.unwrap();
        Connection::new(stream).get("/readyz").await.status == 200
    })
    .await;
    let log = process.log();
    for kind in [
        "DeviceClass",
        "ResourceClaim",
        "ResourceClaimTemplate",
        "SpiderIPPool",
        "SriovNetworkNodeState",
    ] {
        let said = log
            .lines()
            .filter(|line| line.contains("does not have this kind") && line.contains(&format!("\"{kind}\"")));
        assert_eq!(said.count(), 1, "{kind}: {log}");
    }

    let answer = async || {
        let pod = json!({"metadata": {"name": "p", "annotations": {"pointsman.io/profile": "one-rail"}}, "spec": {
            "resourceClaims": [{"name": "nic", "resourceClaimName": "nic"}], "containers": [{"name": "a"}]}});
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {"uid": "u", "operation": "CREATE", "namespace": "t", "object": pod}});
        let stream = tls(webhook, made.cert.der(), &["http/1.1"]).await.unwrap();
        let mut connection = Connection::new(stream);
        let head = "POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ";
        connection
            .send(format!("{head}{}\r\n\r\n{review}", review.to_string().len()))
            .await;
        let answer = connection.answer().await;
        answer.text().to_owned()
    };
    let message = answer().await;
    assert!(message.contains("no network belongs to any yet"), "{message}");
    // It asks again for what is not there every five seconds.
    installed.store(true, Ordering::SeqCst);
    eventually("what was installed is seen", async || {
        answer()
            .await
            .contains("spec.resourceClaims, nic: found devices of x.io/rail0")
    })
    .await;
}
