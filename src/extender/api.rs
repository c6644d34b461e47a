//! The wire types of kube-scheduler's extender contract (`k8s.io/kube-scheduler/extender/v1`, v0.37).
//!
//! Its Go structs carry no JSON tags: the keys are the Go field names, in PascalCase, and the unused half of a
//! request arrives as an explicit `null`. Pods inside are ordinary API objects. Unknown keys are passed over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cluster::objects::PodObject;

/// What `filter` and `prioritize` are asked.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExtenderArgs {
    /// The pod to place.
    pub pod: PodObject,
    /// The candidates by name; none when the scheduler was not told that the extender keeps its own cache.
    #[serde(default)]
    pub node_names: Option<Vec<String>>,
}

/// How `filter` answers.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExtenderFilterResult {
    /// The candidates that fit. Never `null` with an empty `Error`: that would read as "not told".
    pub node_names: Vec<String>,
    /// Candidates that do not fit and where evicting other pods cannot help, with a constant text.
    pub failed_and_unresolvable_nodes: BTreeMap<String, &'static str>,
    /// Nothing was decided; the scheduler tries again with growing pauses.
    pub error: String,
}

/// One element of the answer of `prioritize`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostPriority {
    /// The node.
    pub host: String,
    /// 0 to 10; an integer, or the scheduler drops the whole answer without a word.
    pub score: u8,
}

/// What `bind` is asked.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExtenderBindingArgs {
    /// Name of the pod.
    pub pod_name: String,
    /// Its namespace.
    pub pod_namespace: String,
    /// Its UID.
    #[serde(rename = "PodUID")]
    pub pod_uid: String,
    /// The node it is to be bound to.
    pub node: String,
}

/// How `bind` answers.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExtenderBindingResult {
    /// Empty when the pod is bound.
    pub error: String,
}
