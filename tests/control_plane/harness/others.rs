//! Mutating webhooks of other people's: each edits every pod that it is shown of one namespace, once.

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::routing::post;
use axum::{Json, Router};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::api::MUTATING_WEBHOOKS;
use super::base64;
use super::plane::ControlPlane;

/// What it does to a pod: JSON Patch operations, none for one that it has edited already.
pub(crate) type Edit = fn(&Value) -> Vec<Value>;

/// A running webhook. It ends with this value.
pub(crate) struct OtherWebhook(JoinHandle<()>);

impl OtherWebhook {
    /// Starts it, and registers it under a name: the API server asks webhooks in the order of their names.
    pub(crate) async fn start(plane: &ControlPlane, name: &str, namespace: &str, edit: Edit) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let leaf = plane.authority.leaf();
        let chain = vec![CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let answer = move |Json(review): Json<Value>| async move { Json(answer(&review, edit)) };
        let routes = Router::new().route("/", post(answer));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, routes) = (acceptor.clone(), routes.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = TowerToHyperService::new(routes);
                    // A connection that breaks is the API server's to make again.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        let webhook = json!({
            "name": format!("{name}.example.com"),
            "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
            "clientConfig": {
                "url": format!("https://127.0.0.1:{port}/"),
                "caBundle": base64::encode(plane.authority.certificate().as_bytes()),
            },
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        });
        let configuration = json!({"metadata": {"name": name}, "webhooks": [webhook]});
        plane
            .api
            .create(&MUTATING_WEBHOOKS.all(), configuration)
            .await
            .unwrap();
        Self(task)
    }
}

impl Drop for OtherWebhook {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn answer(review: &Value, edit: Edit) -> Value {
    let request = &review["request"];
    let operations = edit(&request["object"]);
    let mut response = json!({"uid": request["uid"], "allowed": true});
    if !operations.is_empty() {
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(base64::encode(Value::from(operations).to_string().as_bytes()));
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}
