//! The API server as plain JSON: what is sent and what comes back is not squeezed through anybody's types, so a test can
//! send fields that no library knows yet and see what became of them.

use axum::http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};

/// A resource and how its objects name themselves.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    api_version: &'static str,
    name: &'static str,
    plural: &'static str,
}

pub(crate) const fn kind(api_version: &'static str, name: &'static str, plural: &'static str) -> Kind {
    Kind {
        api_version,
        name,
        plural,
    }
}

pub(crate) const PODS: Kind = kind("v1", "Pod", "pods");
pub(crate) const NODES: Kind = kind("v1", "Node", "nodes");
pub(crate) const NAMESPACES: Kind = kind("v1", "Namespace", "namespaces");
pub(crate) const EVENTS: Kind = kind("v1", "Event", "events");
pub(crate) const SERVICES: Kind = kind("v1", "Service", "services");
pub(crate) const SERVICE_ACCOUNTS: Kind = kind("v1", "ServiceAccount", "serviceaccounts");
pub(crate) const ROLES: Kind = kind("rbac.authorization.k8s.io/v1", "Role", "roles");
pub(crate) const ROLE_BINDINGS: Kind = kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings");
pub(crate) const CLUSTER_ROLES: Kind = kind("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles");
pub(crate) const CLUSTER_ROLE_BINDINGS: Kind = kind(
    "rbac.authorization.k8s.io/v1",
    "ClusterRoleBinding",
    "clusterrolebindings",
);
pub(crate) const JOBS: Kind = kind("batch/v1", "Job", "jobs");
pub(crate) const DEPLOYMENTS: Kind = kind("apps/v1", "Deployment", "deployments");
pub(crate) const STATEFUL_SETS: Kind = kind("apps/v1", "StatefulSet", "statefulsets");
pub(crate) const CRDS: Kind = kind(
    "apiextensions.k8s.io/v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
);
pub(crate) const POD_GROUPS: Kind = kind("scheduling.k8s.io/v1beta1", "PodGroup", "podgroups");
pub(crate) const PRIORITY_CLASSES: Kind = kind("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses");
pub(crate) const MUTATING_WEBHOOKS: Kind = kind(
    "admissionregistration.k8s.io/v1",
    "MutatingWebhookConfiguration",
    "mutatingwebhookconfigurations",
);
pub(crate) const VALIDATING_WEBHOOKS: Kind = kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
);
pub(crate) const DEVICE_CLASSES: Kind = kind("resource.k8s.io/v1", "DeviceClass", "deviceclasses");
pub(crate) const CLAIM_TEMPLATES: Kind = kind(
    "resource.k8s.io/v1",
    "ResourceClaimTemplate",
    "resourceclaimtemplates",
);
pub(crate) const POOLS: Kind = kind("spiderpool.spidernet.io/v2beta1", "SpiderIPPool", "spiderippools");
pub(crate) const RESERVED_IPS: Kind = kind(
    "spiderpool.spidernet.io/v2beta1",
    "SpiderReservedIP",
    "spiderreservedips",
);
pub(crate) const MULTUS_CONFIGS: Kind = kind(
    "spiderpool.spidernet.io/v2beta1",
    "SpiderMultusConfig",
    "spidermultusconfigs",
);
pub(crate) const ENDPOINTS: Kind = kind(
    "spiderpool.spidernet.io/v2beta1",
    "SpiderEndpoint",
    "spiderendpoints",
);
pub(crate) const NETWORKS: Kind = kind(
    "k8s.cni.cncf.io/v1",
    "NetworkAttachmentDefinition",
    "network-attachment-definitions",
);
pub(crate) const NODE_STATES: Kind = kind(
    "sriovnetwork.openshift.io/v1",
    "SriovNetworkNodeState",
    "sriovnetworknodestates",
);

pub(crate) const POLICIES: Kind = kind(
    "sriovnetwork.openshift.io/v1",
    "SriovNetworkNodePolicy",
    "sriovnetworknodepolicies",
);
pub(crate) const POOL_CONFIGS: Kind = kind(
    "sriovnetwork.openshift.io/v1",
    "SriovNetworkPoolConfig",
    "sriovnetworkpoolconfigs",
);
pub(crate) const CONFIG_MAPS: Kind = kind("v1", "ConfigMap", "configmaps");
pub(crate) const DAEMON_SETS: Kind = kind("apps/v1", "DaemonSet", "daemonsets");
pub(crate) const LEASES: Kind = kind("coordination.k8s.io/v1", "Lease", "leases");

/// One object's or one collection's address.
#[derive(Clone)]
pub(crate) struct At {
    kind: Kind,
    namespace: Option<String>,
    name: Option<String>,
    dry_run: bool,
}

impl Kind {
    pub(crate) fn all(self) -> At {
        At {
            kind: self,
            namespace: None,
            name: None,
            dry_run: false,
        }
    }

    pub(crate) fn within(self, namespace: &str) -> At {
        At {
            kind: self,
            namespace: Some(namespace.to_owned()),
            name: None,
            dry_run: false,
        }
    }
}

impl At {
    pub(crate) fn named(&self, name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            ..self.clone()
        }
    }

    /// Requests go through admission and validation, and nothing is stored.
    pub(crate) fn dry_run(&self) -> Self {
        Self {
            dry_run: true,
            ..self.clone()
        }
    }

    fn path(&self) -> String {
        let root = if self.kind.api_version.contains('/') {
            "/apis"
        } else {
            "/api"
        };
        let namespace = self
            .namespace
            .as_ref()
            .map(|name| format!("/namespaces/{name}"))
            .unwrap_or_default();
        let name = self
            .name
            .as_ref()
            .map(|name| format!("/{name}"))
            .unwrap_or_default();
        format!(
            "{root}/{}{namespace}/{}{name}",
            self.kind.api_version, self.kind.plural
        )
    }
}

/// A client that speaks JSON.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
}

/// What the API server refused, in its own words.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) message: String,
}

impl Api {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Creates the object; `apiVersion` and `kind` are filled in.
    pub(crate) async fn create(&self, at: &At, mut object: Value) -> Result<Value, Refused> {
        object["apiVersion"] = json!(at.kind.api_version);
        object["kind"] = json!(at.kind.name);
        let query = if at.dry_run { "?dryRun=All" } else { "" };
        self.send(Method::POST, &(at.path() + query), "application/json", &object)
            .await
    }

    /// Sends the object through the API server's admission and validation, an unknown field being an error; nothing is
    /// stored.
    #[allow(dead_code, reason = "only the tests do")]
    pub(crate) async fn validate(&self, at: &At, object: &Value) -> Result<Value, Refused> {
        let path = at.path() + "?dryRun=All&fieldValidation=Strict";
        self.send(Method::POST, &path, "application/json", object).await
    }

    /// Applies the object on the server's side, as `kubectl apply --server-side` does.
    pub(crate) async fn apply(&self, at: &At, mut object: Value) -> Result<Value, Refused> {
        object["apiVersion"] = json!(at.kind.api_version);
        object["kind"] = json!(at.kind.name);
        let dry_run = if at.dry_run { "&dryRun=All" } else { "" };
        let path = format!("{}?fieldManager=someone{dry_run}", at.path());
        self.send(Method::PATCH, &path, "application/apply-patch+yaml", &object)
            .await
    }

    pub(crate) async fn get(&self, at: &At) -> Result<Value, Refused> {
        self.send(Method::GET, &at.path(), "application/json", &Value::Null)
            .await
    }

    pub(crate) async fn list(&self, at: &At) -> Vec<Value> {
        self.try_list(at).await.unwrap()
    }

    /// The same while the API server may be down.
    pub(crate) async fn try_list(&self, at: &At) -> Result<Vec<Value>, Refused> {
        let mut list = self.get(at).await?;
        Ok(serde_json::from_value(list["items"].take()).unwrap())
    }

    /// Applies a JSON merge patch.
    pub(crate) async fn merge(&self, at: &At, patch: Value) -> Result<Value, Refused> {
        self.send(Method::PATCH, &at.path(), "application/merge-patch+json", &patch)
            .await
    }

    /// Applies a JSON merge patch to the status subresource.
    pub(crate) async fn merge_status(&self, at: &At, patch: Value) -> Result<Value, Refused> {
        let status = format!("{}/status", at.path());
        self.send(Method::PATCH, &status, "application/merge-patch+json", &patch)
            .await
    }

    pub(crate) async fn delete(&self, at: &At) -> Result<Value, Refused> {
        self.send(Method::DELETE, &at.path(), "application/json", &Value::Null)
            .await
    }

    /// Writes the pod's Binding.
    pub(crate) async fn bind(&self, pod: &At, mut binding: Value) -> Result<Value, Refused> {
        binding["apiVersion"] = json!("v1");
        binding["kind"] = json!("Binding");
        let path = format!("{}/binding", pod.path());
        self.send(Method::POST, &path, "application/json", &binding).await
    }

    /// Deletes without the time in which a node would stop the pod.
    pub(crate) async fn delete_now(&self, at: &At) -> Result<Value, Refused> {
        let path = format!("{}?gracePeriodSeconds=0", at.path());
        self.send(Method::DELETE, &path, "application/json", &Value::Null)
            .await
    }

    async fn send(&self, method: Method, path: &str, content: &str, body: &Value) -> Result<Value, Refused> {
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            serde_json::to_vec(body).unwrap()
        };
        let request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header("Content-Type", content)
            .body(bytes)
            .unwrap();
        self.client.request(request).await.map_err(|error| match error {
            kube::Error::Api(status) => Refused {
                message: status.message.clone(),
            },
            other => Refused {
                message: format!("{method} {path}: {other:?}"),
            },
        })
    }
}
