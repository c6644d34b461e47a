//! Everything the rows are decided from, collected and read; nothing in here decides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::finding::Finding;
use super::objects::{
    Binding, ConfigMap, Definition, Endpoints, Object, Policy, PoolConfig, Role, Service, Webhooks, Workload,
};
use super::pod_facts::PodFacts;
use super::rbac::Permission;
use super::source::Source;
use crate::config::Configuration;
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::names::{NetworkRef, NodeName, PodUid, PoolName};
use crate::decide::network::Network;
use crate::decide::node::{Node, RdmaMode, SriovFacts};

/// What is known of a kind as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listing {
    /// All its objects are known.
    Complete,
    /// The cluster does not have the kind.
    Absent,
    /// Its objects are not known, and why.
    Unknown(String),
}

/// Everything the rows are decided from.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The settings the program runs with.
    pub configuration: Configuration,
    /// The namespace the program runs in.
    pub namespace: String,
    /// The moment they are of.
    pub now: Timestamp,
    /// The one node that is looked at; none for all.
    pub node: Option<NodeName>,
    /// The pod whose promises are looked at.
    pub pod: Option<PodFacts>,
    /// Objects decisions are made by, as the program itself reads them.
    pub snapshot: Arc<ClusterSnapshot>,
    /// What is known of each kind.
    pub listings: BTreeMap<Source, Listing>,
    /// Objects that cannot be read: their kind, and what is wrong.
    pub unreadable: Vec<(Source, String)>,
    /// Namespaces that hold SriovNetworkNodeStates, SriovNetworkNodePolicies or SriovNetworkPoolConfigs.
    pub operator_namespaces: BTreeSet<String>,
    /// The operator's policies.
    pub policies: Vec<Object<Policy>>,
    /// The operator's pools of nodes.
    pub pool_configs: Vec<Object<PoolConfig>>,
    /// Definitions of the kinds that matter.
    pub definitions: Vec<Object<Definition>>,
    /// SpiderMultusConfigs by `namespace/name`, with the network each stands for.
    pub multus_configs: BTreeMap<String, Network>,
    /// NetworkAttachmentDefinitions that exist.
    pub attachments: BTreeSet<NetworkRef>,
    /// What pools say of themselves in numbers.
    pub counters: BTreeMap<PoolName, Counters>,
    /// The UIDs of all pods.
    pub pods: BTreeSet<PodUid>,
    /// Nodes with a ready pod of a DaemonSet, by the DaemonSet's name.
    pub daemons: BTreeMap<String, BTreeSet<NodeName>>,
    /// Deployments and DaemonSets.
    pub workloads: Vec<(Source, Object<Workload>)>,
    /// Mutating webhook configurations.
    pub webhooks: Vec<Object<Webhooks>>,
    /// Validating webhook configurations.
    pub validations: Vec<Object<Webhooks>>,
    /// Services of our namespace.
    pub services: Vec<Object<Service>>,
    /// Endpoints of our namespace.
    pub endpoints: Vec<Object<Endpoints>>,
    /// ConfigMaps of our namespace and of those around it.
    pub config_maps: Vec<Object<ConfigMap>>,
    /// Scheduler configurations that were given as files, with their names.
    pub scheduler_files: Vec<(String, String)>,
    /// ClusterRoles, and Roles of our namespace.
    pub roles: Vec<(Source, Object<Role>)>,
    /// ClusterRoleBindings, and RoleBindings of our namespace.
    pub bindings: Vec<(Source, Object<Binding>)>,
    /// What the API server said the caller may do; none without an API server.
    pub reviews: Option<Vec<(Permission, Review)>>,
    /// What became of a pod that was sent to our webhook; none without an API server.
    pub trial: Option<Trial>,
}

/// What became of a pod that only our webhook denies, sent to the API server as a dry run: nothing is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// The webhook answered.
    Answered,
    /// Nobody asked it; the namespace that was tried.
    NotAsked(String),
    /// The API server could not ask it, in its own words.
    Failed(String),
    /// It did not come to that, and why.
    Untried(String),
}

/// The API server's answer about one permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Review {
    /// It is given.
    Allowed,
    /// It is not.
    Denied,
    /// It was not answered, and why.
    Failed(String),
}

/// What a pool says of itself in numbers, and what its lists come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// `status.totalIPCount`.
    pub told_total: Option<u64>,
    /// `status.allocatedIPCount`.
    pub told_allocated: Option<u64>,
    /// Addresses listed and not excluded.
    pub listed: u64,
    /// Records of allocated addresses.
    pub records: u64,
}

impl Facts {
    /// What is known of a kind.
    #[must_use]
    pub fn listing(&self, source: Source) -> &Listing {
        const NOT_READ: &Listing = &Listing::Absent;
        self.listings.get(&source).unwrap_or(NOT_READ)
    }

    /// Whether all objects of a kind are known.
    #[must_use]
    pub fn knows(&self, source: Source) -> bool {
        *self.listing(source) == Listing::Complete
    }

    /// An unknown about `subject`, when one of these kinds is not known.
    #[must_use]
    pub fn unless_known(&self, sources: &[Source], subject: &str) -> Option<Finding> {
        let (mut absent, mut unread): (Vec<&str>, BTreeMap<&str, Vec<&str>>) = Default::default();
        let (mut commands, mut missing) = (Vec::new(), Vec::new());
        let sources: BTreeSet<&Source> = sources.iter().collect();
        for source in sources {
            match self.listing(*source) {
                Listing::Complete => {}
                Listing::Absent => {
                    absent.push(source.kind());
                    commands.push(format!("kubectl get crd {}", source.kubectl()));
                }
                Listing::Unknown(why) => {
                    unread.entry(why).or_default().push(source.kind());
                    missing.push(source.kubectl());
                }
            }
        }
        if absent.is_empty() && unread.is_empty() {
            return None;
        }
        let absent =
            (!absent.is_empty()).then(|| format!("the cluster does not have the kind {}", absent.join(", ")));
        let unread = unread
            .into_iter()
            .map(|(why, kinds)| format!("{}: {why}", kinds.join(", ")));
        if self.reviews.is_some() {
            commands.extend(
                missing
                    .iter()
                    .map(|kind| format!("kubectl auth can-i list {kind} --all-namespaces")),
            );
        } else if !missing.is_empty() {
            commands.push(format!(
                "# save them, and give the file with --from, too\nkubectl get -A -o yaml {} > more.yaml",
                missing.join(",")
            ));
        }
        let evidence: Vec<String> = absent.into_iter().chain(unread).collect();
        Some(Finding::unknown(
            subject,
            evidence.join("; "),
            commands.join("\n"),
        ))
    }

    /// The nodes in view.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.snapshot
            .nodes
            .values()
            .filter(|node| self.node.as_ref().is_none_or(|only| *only == node.name))
    }

    /// What the operator says of a node, where that can be read.
    #[must_use]
    pub fn state(&self, node: &Node) -> Option<&SriovFacts> {
        self.snapshot.sriov.get(&node.name)?.reading.as_ref().ok()
    }

    /// Whether any state says in which RDMA mode its node is.
    #[must_use]
    pub fn modes_are_told(&self) -> bool {
        self.snapshot.sriov.values().any(|state| {
            state
                .reading
                .as_ref()
                .is_ok_and(|facts| facts.rdma != RdmaMode::Unknown)
        })
    }

    /// The namespace of the SR-IOV operator, or a word to be replaced.
    #[must_use]
    pub fn operator_namespace(&self) -> &str {
        self.configuration
            .sriov_operator_namespace
            .as_ref()
            .map(crate::decide::names::NamespaceName::as_str)
            .or_else(|| self.operator_namespaces.first().map(String::as_str))
            .unwrap_or("sriov-network-operator")
    }

    /// What is wrong with the objects of these kinds.
    #[must_use]
    pub fn problems_of(&self, sources: &[Source]) -> Vec<String> {
        self.unreadable
            .iter()
            .filter(|(source, _)| sources.contains(source))
            .map(|(_, problem)| problem.clone())
            .collect()
    }
}
