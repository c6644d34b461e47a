//! What came of the pods, in the form that `-o json` and `-o yaml` print.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::expand::Finding;

/// What came of a cluster's pending pods.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The pods, in the order in which they were made, then by name.
    pub pods: Vec<PodReport>,
    /// The gangs.
    pub gangs: Vec<GangReport>,
    /// Objects that are not what they should be.
    #[serde(skip)]
    pub findings: Vec<Finding>,
    /// Nodes that could take none of the pods they were asked for, each with the reason.
    #[serde(skip)]
    pub unfit: Vec<Explanation>,
    /// How many nodes there are.
    #[serde(skip)]
    pub nodes: usize,
}

/// What came of one pod.
#[derive(Clone, Debug, Serialize)]
pub struct PodReport {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What the webhook said.
    pub admission: Admission,
    /// Where it was placed.
    pub placement: Option<Placement>,
    /// Reasons against nodes, each with the number of nodes it holds for.
    pub refusals: BTreeMap<String, usize>,
    /// Those of the extender with names, numbers and a remedy.
    #[serde(skip)]
    pub explanations: Vec<Explanation>,
}

/// What the webhook said.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Admission {
    /// Whether the pod may be made.
    pub allowed: bool,
    /// Why not.
    pub message: String,
    /// What `kubectl` would show.
    pub warnings: Vec<String>,
    /// What is changed in the pod.
    pub patch: Vec<Value>,
}

/// Where a pod was placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// The node.
    pub node: String,
    /// The tier domain of the pod's gang.
    pub domain: Option<String>,
    /// For each interface, the pools its addresses come from.
    pub pools: BTreeMap<String, Vec<String>>,
    /// The node's leaf group, or what is the closest tier here.
    #[serde(skip)]
    pub leaf_group: Option<String>,
}

/// What came of a gang.
#[derive(Clone, Debug, Serialize)]
pub struct GangReport {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How many pods it has.
    pub size: usize,
    /// How many of them are placed.
    pub placed: usize,
    /// Where.
    pub domains: Vec<String>,
    /// The fewest domains that could hold it.
    #[serde(rename = "domainsMin")]
    pub domains_min: usize,
}

/// Why nodes were refused, in full.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Explanation {
    /// The constant text.
    pub reason: String,
    /// How many nodes.
    pub nodes: usize,
    /// One of them.
    pub example: String,
    /// What was found there.
    pub found: String,
    /// What to do about it.
    pub remedy: String,
}

impl Report {
    /// Whether every pod was admitted and found a node.
    #[must_use]
    pub fn all_placed(&self) -> bool {
        self.pods.iter().all(|pod| pod.placement.is_some())
    }
}
