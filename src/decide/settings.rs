//! The settings that decisions depend on, with the defaults that need no configuration file.

use super::links::LinkPolicy;
use super::names::{NamespaceName, ResourceName, SchedulerName};
use super::policy::{Locality, Tier};

/// What the operator of the cluster has chosen; read once at start and passed to every decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How pods come to a scheduler that asks our extender.
    pub scheduler: SchedulerMode,
    /// The extender writes the Bindings. Where another extender of the scheduler does (only one may), holds alone
    /// cover the time between `filter` and the pod that is seen bound.
    pub binds: bool,
    /// Resources that mark the container which does the work; the first that some container asks for decides
    /// which one gets the VFs.
    pub accelerators: Vec<ResourceName>,
    /// Prefixes of resources handed out by the shared RDMA device plugin, each with its slash.
    pub shared_rdma_prefixes: Vec<String>,
    /// Annotation keys of networks that name a resource each, besides Multus' own.
    pub further_resource_keys: Vec<String>,
    /// Whether pods get the volume by which network-resources-injector shows them their own metadata.
    pub podnetinfo: Podnetinfo,
    /// The namespace in which Multus looks for a default network that names none.
    pub multus_namespace: NamespaceName,
    /// The namespaces besides a pod's own whose networks Multus attaches to it.
    pub multus_reach: MultusReach,
    /// The namespace that Spiderpool takes for a pool's `multusName` that names none.
    pub spiderpool_namespace: NamespaceName,
    /// The namespaces whose networks may join a profile; all of them when empty.
    pub profile_namespaces: Vec<NamespaceName>,
    /// What a node without a readable SriovNetworkNodeState is taken for.
    pub node_state: NodeStatePolicy,
    /// Label keys of the fabric's tiers, the closest first; found among the presets when empty.
    pub tiers: Vec<String>,
    /// What a link of the fabric must be, to be used.
    pub links: LinkPolicy,
    /// The locality of a gang that says nothing.
    pub locality: Locality,
    /// Families that Spiderpool hands out (`enableIPv4`, `enableIPv6` of its configuration).
    pub ipv4: bool,
    /// As `ipv4`.
    pub ipv6: bool,
}

/// How pods come to a scheduler that asks our extender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchedulerMode {
    /// A kube-scheduler of ours: the webhook puts this name on pods that ask for `default-scheduler`.
    Dedicated(SchedulerName),
    /// The cluster's own kube-scheduler calls the extender; the webhook leaves the name alone.
    Existing,
}

/// The volume `podnetinfo`: a pod's labels and annotations as files, as network-resources-injector makes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Podnetinfo {
    /// No pod gets it from us.
    #[default]
    Off,
    /// Pods that take a VF get it.
    On,
    /// And files with what their containers request and may use of huge pages.
    WithHugepages,
}

/// The namespaces whose networks a pod's list may name, as Multus' own configuration has it. A default network is looked
/// for in any (`pkg/k8sclient/k8sclient.go`, `GetNetworkDelegates`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MultusReach {
    /// All of them.
    #[default]
    Everywhere,
    /// Its own and these (`namespaceIsolation`, `globalNamespaces`).
    OwnAnd(Vec<NamespaceName>),
}

impl MultusReach {
    /// Whether a pod of `namespace` may have networks of `other`.
    #[must_use]
    pub fn includes(&self, namespace: &NamespaceName, other: &NamespaceName) -> bool {
        match self {
            Self::Everywhere => true,
            Self::OwnAnd(others) => namespace == other || others.contains(other),
        }
    }
}

/// What a node without a SriovNetworkNodeState is taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeStatePolicy {
    /// Unfit: nothing vouches for its VFs.
    Require,
    /// Fit: the device plugin's count is all there is.
    Trust,
    /// As `Require` as soon as any node has a state, else as `Trust`.
    #[default]
    Auto,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            scheduler: SchedulerMode::Dedicated("pointsman-scheduler".into()),
            binds: true,
            accelerators: [
                "nvidia.com/gpu",
                "amd.com/gpu",
                "habana.ai/gaudi",
                "huawei.com/Ascend910",
            ]
            .map(ResourceName::from)
            .to_vec(),
            shared_rdma_prefixes: vec!["rdma/".to_owned()],
            further_resource_keys: Vec::new(),
            podnetinfo: Podnetinfo::default(),
            multus_namespace: "kube-system".into(),
            multus_reach: MultusReach::default(),
            spiderpool_namespace: "spiderpool".into(),
            profile_namespaces: Vec::new(),
            node_state: NodeStatePolicy::default(),
            tiers: Vec::new(),
            links: LinkPolicy::default(),
            locality: Locality::Preferred(Tier::LeafGroup),
            ipv4: true,
            ipv6: true,
        }
    }
}
