//! Writing a Binding. The apiserver copies a Binding's annotations to the pod in the same write, so that the
//! placement record and the binding are one atomic step.

use futures::future::BoxFuture;
use kube::Client;
use kube::api::{Api, ListParams};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::objects::PodObject;
use crate::decide::annotation;
use crate::decide::names::{NodeName, PodRef, PoolName};
use crate::decide::placement::Fit;
use crate::decide::problem::chain;

/// Less than the five seconds kube-scheduler waits by default, so that it gets our answer and not its own.
const DEADLINE: Duration = Duration::from_secs(4);

/// HTTP's code for a pod that has a node already.
const CONFLICT: u16 = 409;

/// A binding to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The pod; its UID is a precondition.
    pub pod: PodRef,
    /// The node.
    pub node: NodeName,
    /// Annotations for the pod.
    pub annotations: BTreeMap<String, String>,
}

/// Why a Binding was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// The apiserver said no for another reason than a node that the pod has, or was not reached: the pod is not bound by this.
    #[error("the API server refused the binding: {0}")]
    Refused(String),
    /// No answer, or none that says: the pod may be bound.
    #[error("the API server did not say whether the binding was written: {0}")]
    Unclear(String),
}

/// Writes Bindings.
pub trait Binder: Send + Sync + 'static {
    /// Writes one.
    fn bind(&self, binding: Binding) -> BoxFuture<'_, Result<(), BindError>>;
    /// Whether the pod has a node by now, as the API server itself knows it (not a cache of its); false for one that is gone.
    fn is_bound<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<bool, BindError>>;
}

/// Writes Bindings to the cluster.
#[derive(Clone)]
pub struct ClusterBinder(Client);

impl ClusterBinder {
    /// `client` must not repeat requests by itself: of a Binding that was written, answered with 504 and sent again, only
    /// the last answer is seen, and a refused connection says nothing of the first.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self(client)
    }
}

impl Binder for ClusterBinder {
    fn bind(&self, binding: Binding) -> BoxFuture<'_, Result<(), BindError>> {
        Box::pin(async move {
            let request = request(&binding).map_err(BindError::Refused)?;
            let answer = tokio::time::timeout(DEADLINE, self.0.request::<serde_json::Value>(request)).await;
            match answer {
                Ok(Ok(_)) => Ok(()),
                // The pod has a node: by a Binding of ours, perhaps, that was written before and whose answer was lost.
                Ok(Err(kube::Error::Api(status))) if status.code == CONFLICT => {
                    Err(BindError::Unclear(status.message.clone()))
                }
                // Another 4xx: it was looked at and refused. 429 says "later", before anything was written.
                Ok(Err(kube::Error::Api(status))) if (400..500).contains(&status.code) => {
                    Err(BindError::Refused(status.message.clone()))
                }
                Ok(Err(error)) if was_not_sent(&error) => Err(BindError::Refused(chain(&error))),
                Ok(Err(error)) => Err(BindError::Unclear(chain(&error))),
                Err(_) => Err(BindError::Unclear(format!(
                    "no answer within {} s",
                    DEADLINE.as_secs()
                ))),
            }
        })
    }

    fn is_bound<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<bool, BindError>> {
        Box::pin(async move {
            let pods: Api<PodObject> = Api::namespaced(self.0.clone(), pod.namespace.as_str());
            // A list without a resource version is read from etcd; listing pods is granted already.
            let only = ListParams::default().fields(&format!("metadata.name={}", pod.name));
            let answer = tokio::time::timeout(DEADLINE, pods.list(&only)).await;
            let found = answer
                .map_err(|_| BindError::Unclear("no answer".to_owned()))?
                .map_err(|error| BindError::Unclear(chain(&error)))?;
            Ok(found.items.iter().any(|found| {
                found.metadata.uid.as_deref() == Some(pod.uid.as_str()) && found.spec.node_name.is_some()
            }))
        })
    }
}

/// Whether the request never left: there was no connection to send it on.
fn was_not_sent(error: &kube::Error) -> bool {
    let kube::Error::Service(error) = error else {
        return false;
    };
    let error = error.downcast_ref::<hyper_util::client::legacy::Error>();
    error.is_some_and(hyper_util::client::legacy::Error::is_connect)
}

/// The annotations that record where a pod was placed, where on the fabric that is, and from which pools its addresses
/// may come.
#[must_use]
pub fn placement_record(node: &NodeName, fit: &Fit, position: Option<&str>) -> BTreeMap<String, String> {
    #[derive(Serialize)]
    struct Record<'a> {
        node: &'a str,
        // The tier domain of the pod's gang.
        domain: Option<String>,
        // The node's place on the fabric.
        position: Option<&'a str>,
        pools: BTreeMap<&'a str, Vec<&'a str>>,
    }
    let mut pools: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (interface, set) in fit.pools.iter() {
        pools
            .entry(interface.as_str())
            .or_default()
            .extend(set.iter().map(PoolName::as_str));
    }
    for (interface, pool) in fit.kept.iter() {
        pools.entry(interface.as_str()).or_default().push(pool.as_str());
    }
    let record = Record {
        node: node.as_str(),
        domain: fit.domain.as_ref().map(ToString::to_string),
        position,
        pools,
    };
    // A map of texts always serialises; an empty record would be told by its absence.
    let record = serde_json::to_string(&record).map(|text| (annotation::PLACEMENT.to_owned(), text));
    let position = position.map(|position| (annotation::FABRIC_POSITION.to_owned(), position.to_owned()));
    record.ok().into_iter().chain(position).collect()
}

fn request(binding: &Binding) -> Result<axum::http::Request<Vec<u8>>, String> {
    let PodRef { namespace, name, uid } = &binding.pod;
    let body = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {
            "name": name.as_str(),
            "namespace": namespace.as_str(),
            "uid": uid.as_str(),
            "annotations": binding.annotations,
        },
        "target": {"apiVersion": "v1", "kind": "Node", "name": binding.node.as_str()},
    });
    axum::http::Request::post(format!("/api/v1/namespaces/{namespace}/pods/{name}/binding"))
        .header(axum::http::header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into_bytes())
        .map_err(|error| format!("no request can be made for {namespace}/{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Response, StatusCode};
    use kube::client::Body as Sent;

    use super::*;

    /// What a Binding comes to that the API server answers so.
    async fn answered(code: StatusCode) -> Result<(), BindError> {
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "because", "reason": "", "code": code.as_u16()});
        let service = tower::service_fn(move |_: axum::http::Request<Sent>| {
            let body = Body::from(status.to_string());
            let answer = Response::builder().status(code).body(body);
            async move { answer }
        });
        let binding = Binding {
            pod: PodRef {
                namespace: "t".into(),
                name: "a".into(),
                uid: "u".into(),
            },
            node: "n1".into(),
            annotations: BTreeMap::new(),
        };
        ClusterBinder::new(Client::new(service, "t")).bind(binding).await
    }

    #[tokio::test]
    async fn a_pod_that_has_a_node_may_have_it_from_a_binding_whose_answer_was_lost() {
        let unclear = |answer| matches!(answer, Err(BindError::Unclear(_)));
        for code in [
            StatusCode::CONFLICT,
            StatusCode::GATEWAY_TIMEOUT,
            StatusCode::INTERNAL_SERVER_ERROR,
        ] {
            assert!(unclear(answered(code).await), "{code}");
        }
        for code in [
            StatusCode::NOT_FOUND,
            StatusCode::FORBIDDEN,
            StatusCode::TOO_MANY_REQUESTS,
        ] {
            assert_eq!(
                answered(code).await,
                Err(BindError::Refused("because".to_owned())),
                "{code}"
            );
        }
        assert_eq!(answered(StatusCode::CREATED).await, Ok(()));
    }
}
