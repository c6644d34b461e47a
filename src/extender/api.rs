//! The wire types of kube-scheduler's extender contract (`k8s.io/kube-scheduler/extender/v1`, v0.37).
//!
//! Its Go structs carry no JSON tags: the keys are the Go field names, in PascalCase, and the unused half of a
//! request arrives as an explicit `null`. Pods inside are ordinary API objects. Unknown keys are passed over.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cluster::objects::PodObject;

/// What `filter` and `prioritize` are asked.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExtenderArgs<'a> {
    /// The pod to place.
    pub pod: PodObject,
    /// The candidates by name; none when the scheduler was not told that the extender keeps its own cache.
    #[serde(borrow, default)]
    pub node_names: Option<Vec<Borrowed<'a>>>,
}

/// A text of the request, not copied unless it holds an escape.
#[derive(Debug, Deserialize)]
pub struct Borrowed<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// How `filter` answers.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExtenderFilterResult<'a> {
    /// The candidates that fit. Never `null` with an empty `Error`: that would read as "not told".
    pub node_names: Vec<&'a str>,
    /// Candidates that do not fit and where evicting other pods cannot help, with a constant text.
    #[serde(serialize_with = "as_map")]
    pub failed_and_unresolvable_nodes: Vec<(&'a str, &'static str)>,
    /// Nothing was decided; the scheduler tries again with growing pauses.
    pub error: &'a str,
}

/// The scheduler names no node twice, so that the pairs are a map's.
fn as_map<S: Serializer>(pairs: &[(&str, &str)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().copied())
}

/// One element of the answer of `prioritize`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostPriority<'a> {
    /// The node.
    pub host: &'a str,
    /// 0 to 10; an integer, or the scheduler drops the whole answer without a word.
    pub score: u8,
}

/// What `preempt` is asked: for each candidate node, the pods the scheduler would evict from it. They come whole, or by
/// UID where the extender is known to keep its own cache.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExtenderPreemptionArgs {
    /// The pod that would take their place.
    pub pod: PodObject,
    /// The victims as whole pods.
    #[serde(default)]
    node_name_to_victims: Option<BTreeMap<String, Victims>>,
    /// The victims by UID.
    #[serde(default)]
    node_name_to_meta_victims: Option<BTreeMap<String, MetaVictims>>,
}

impl ExtenderPreemptionArgs {
    /// The candidates with their victims, in whichever form they came.
    #[must_use]
    pub fn candidates(self) -> BTreeMap<String, MetaVictims> {
        let whole = self.node_name_to_victims.unwrap_or_default().into_iter();
        whole
            .map(|(node, victims)| (node, victims.into()))
            .chain(self.node_name_to_meta_victims.unwrap_or_default())
            .collect()
    }
}

/// How `preempt` answers: the candidates that stay, always by UID.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExtenderPreemptionResult {
    /// A UID that is not among the candidate's pods would end the scheduler's whole attempt with an error.
    pub node_name_to_meta_victims: BTreeMap<String, MetaVictims>,
}

/// The victims on one node, as whole pods, of which the UID matters.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Victims {
    pods: Option<Vec<WholePod>>,
    #[serde(rename = "NumPDBViolations")]
    num_pdb_violations: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WholePod {
    metadata: WholePodMetadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WholePodMetadata {
    uid: String,
}

/// The victims on one node, by UID.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct MetaVictims {
    /// Who would be evicted.
    #[serde(deserialize_with = "null_is_empty")]
    pub pods: Vec<MetaPod>,
    /// How many of them against their PodDisruptionBudget; the scheduler's own count, handed back as it came.
    #[serde(rename = "NumPDBViolations")]
    pub num_pdb_violations: i64,
}

/// A victim.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct MetaPod {
    /// Its UID.
    #[serde(rename = "UID")]
    pub uid: String,
}

impl From<Victims> for MetaVictims {
    fn from(victims: Victims) -> Self {
        let pods = victims.pods.unwrap_or_default().into_iter();
        Self {
            pods: pods
                .map(|pod| MetaPod {
                    uid: pod.metadata.uid,
                })
                .collect(),
            num_pdb_violations: victims.num_pdb_violations,
        }
    }
}

/// Go writes an empty slice as `null`.
fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<MetaPod>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
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
