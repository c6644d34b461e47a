//! The cluster itself: what its nodes are, writing to them what is new, and saying that it was done.

use core::time::Duration;
use std::collections::BTreeMap;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use serde_json::{Map, Value, json};

use crate::cluster::fabric::LEASE;
use crate::cluster::list;
use crate::cluster::objects::{Kind, NodeObject};
use crate::decide::annotation;
use crate::decide::names::NodeName;

use super::objects::Cluster;
use super::plan::{Changes, Plan, TIERS};

/// Who writes, in `managedFields`.
const FIELD_MANAGER: &str = "pointsman-topology";
/// Patches under way at a time: enough to hide the way to the server, few enough not to crowd others out.
const PATCHES: usize = 8;
/// How often the Lease is tried again when someone else changed it in between.
const LEASE_TRIES: usize = 3;

/// What went wrong between us and the cluster.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct LiveError {
    what: &'static str,
    source: kube::Error,
}

/// The nodes of the cluster with their PFs; SriovNetworkNodeStates from `namespace`, or from all.
///
/// # Errors
/// When the API server does not answer, or refuses.
pub async fn nodes(client: &Client, namespace: Option<&str>) -> Result<Cluster, LiveError> {
    let mut cluster = Cluster::default();
    let nodes = Api::all_with(client.clone(), &Kind::Node.api_resource());
    list::each(&nodes, |object| cluster.node(&object.metadata, &object.data))
        .await
        .map_err(|source| LiveError {
            what: "the nodes cannot be listed",
            source,
        })?;
    let resource = Kind::NodeState.api_resource();
    let api = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    match list::each(&api, |object| cluster.state(&object.metadata, &object.data)).await {
        Ok(()) => {}
        Err(error) if list::is_absent(&error) => cluster.warnings.push(
            "the cluster knows no SriovNetworkNodeStates: nodes are matched by their names, not by port GUIDs"
                .to_owned(),
        ),
        Err(source) => {
            return Err(LiveError {
                what: "the SriovNetworkNodeStates cannot be listed",
                source,
            });
        }
    }
    Ok(cluster.finish())
}

/// Writes to every node what is new, and nothing else; `progress` is told after each how many are done.
///
/// Returns the nodes that could not be written to, with why; one that was deleted meanwhile is not among them.
pub async fn apply(
    client: &Client,
    plan: &Plan,
    mut progress: impl FnMut(usize),
) -> Vec<(NodeName, kube::Error)> {
    let api: Api<NodeObject> = Api::all(client.clone());
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patches = plan
        .nodes
        .iter()
        .filter(|(_, node)| !node.changes.is_empty())
        .map(|(name, node)| {
            let (api, parameters) = (&api, &parameters);
            async move {
                let patch = Patch::Merge(patch(&node.changes));
                (name, api.patch_metadata(name.as_str(), parameters, &patch).await)
            }
        });
    let mut answers = futures::stream::iter(patches).buffer_unordered(PATCHES);
    let mut failures = Vec::new();
    let mut done = 0_usize;
    while let Some((name, answer)) = answers.next().await {
        done = done.saturating_add(1);
        progress(done);
        match answer {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => failures.push((name.clone(), error)),
        }
    }
    failures.sort_by(|(one, _), (other, _)| one.cmp(other));
    failures
}

/// The merge patch of a node: the keys that change, and no other.
#[must_use]
pub fn patch(changes: &Changes) -> Value {
    let mut metadata = Map::new();
    let labels: Map<String, Value> = changes
        .labels
        .iter()
        .filter_map(|(tier, _, wanted)| {
            let key = TIERS.get(*tier)?;
            Some(((*key).to_owned(), json!(wanted)))
        })
        .collect();
    if !labels.is_empty() {
        metadata.insert("labels".to_owned(), Value::Object(labels));
    }
    if let Some(text) = &changes.annotation {
        metadata.insert("annotations".to_owned(), json!({ annotation::FABRIC: text }));
    }
    json!({ "metadata": metadata })
}

/// What the Lease says of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// When the dump was made.
    pub made_at: Timestamp,
    /// What imported it.
    pub by: String,
    /// How many nodes the fabric knows.
    pub nodes: usize,
    /// How many of their rails are dark.
    pub dark: usize,
}

/// Says in the Lease that an import was done, whether or not any node changed.
///
/// # Errors
/// When the API server does not answer, or refuses.
pub async fn renew(client: &Client, namespace: &str, imported: &Imported) -> Result<(), LiveError> {
    let failed = |source| LiveError {
        what: "the Lease of the import cannot be written",
        source,
    };
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let mut tries = 0_usize;
    loop {
        tries = tries.saturating_add(1);
        let there = api.get_opt(LEASE).await.map_err(failed)?;
        let is_there = there.is_some();
        let mut lease = there.unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(LEASE.to_owned()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        fill(&mut lease, imported);
        let answer = if is_there {
            api.replace(LEASE, &PostParams::default(), &lease).await
        } else {
            api.create(&PostParams::default(), &lease).await
        };
        match answer {
            Ok(_) => return Ok(()),
            // Someone else wrote it between our reading and our writing.
            Err(kube::Error::Api(status)) if status.code == 409 && tries < LEASE_TRIES => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

/// When the dump of the last import was made, by its Lease; none where there was no import.
///
/// # Errors
/// When the API server does not answer, or refuses.
pub async fn imported_at(client: &Client, namespace: &str) -> Result<Option<Timestamp>, LiveError> {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let lease = api.get_opt(LEASE).await.map_err(|source| LiveError {
        what: "the Lease of the import cannot be read",
        source,
    })?;
    Ok(lease.and_then(|lease| lease.spec?.renew_time).map(|time| time.0))
}

fn fill(lease: &mut Lease, imported: &Imported) {
    let annotations: &mut BTreeMap<String, String> = lease.metadata.annotations.get_or_insert_default();
    annotations.insert(annotation::FABRIC_NODES.to_owned(), imported.nodes.to_string());
    annotations.insert(annotation::FABRIC_DARK.to_owned(), imported.dark.to_string());
    let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
    spec.holder_identity = Some(imported.by.clone());
    spec.renew_time = Some(MicroTime(imported.made_at));
}
