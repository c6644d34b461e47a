//! Networks: what a NetworkAttachmentDefinition (or the SpiderMultusConfig it is made from) says that matters
//! to us, and how a pod names the ones it wants.

use super::names::{InterfaceName, NetworkRef, ProfileName, ResourceName};
use super::problem::Problems;

/// A network of the cluster. One that cannot be read stays known, so that the pods of its profile are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its NetworkAttachmentDefinition.
    pub at: NetworkRef,
    /// The profiles it belongs to.
    pub profiles: Vec<ProfileName>,
    /// What it attaches, or why that cannot be read.
    pub reading: Result<Attachment, Problems>,
}

/// What a network attaches to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The position among its profile's rails, where one is set.
    pub rail: Option<u32>,
    /// The device-plugin resource a pod needs one of; none for a network without a VF.
    pub resource: Option<ResourceName>,
    /// Resources a pod needs one of each besides, which Multus knows nothing of (`furtherResourceNameKeys`).
    pub further: Vec<ResourceName>,
    /// The nodes it can be attached on, or what is wrong with what says so: only pods that opted in go by it.
    pub nodes: Result<Option<NodeLabel>, Problems>,
    /// The CNI plugin that attaches it.
    pub plugin: Plugin,
    /// Who gives it addresses.
    pub ipam: Ipam,
    /// How an `ib-sriov` network wants its VFs set up; as by default for any other.
    pub infiniband: Infiniband,
}

/// A label of nodes, as `k8s.v1.cni.cncf.io/nodeSelector` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLabel {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// What an `ib-sriov` network says of its VFs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Infiniband {
    /// `link_state`.
    pub link: LinkState,
    /// `pkey`, as it is written; the plugin passes it over, ib-kubernetes reads it.
    pub pkey: Option<String>,
}

/// `link_state` of an `ib-sriov` network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// On, or as the PF's.
    #[default]
    Usable,
    /// Off: no packet ever passes.
    Disabled,
    /// None that the plugin knows: it refuses to attach the VF.
    Unknown(String),
}

impl Attachment {
    /// What is known of a network before anything of it has been read.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            rail: None,
            resource: None,
            further: Vec::new(),
            nodes: Ok(None),
            plugin: Plugin::Other,
            ipam: Ipam::Unlimited,
            infiniband: Infiniband::default(),
        }
    }
}

impl LinkState {
    /// The state of this name, which the plugin reads in lower case only.
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name {
            "" | "auto" | "enable" => Self::Usable,
            "disable" => Self::Disabled,
            other => Self::Unknown(other.to_owned()),
        }
    }
}

/// The CNI plugin of a network, as far as it decides where a pod can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plugin {
    /// `ib-sriov`: an InfiniBand VF.
    IbSriov {
        /// The plugin refuses nodes that are not in exclusive RDMA mode.
        rdma_isolation: bool,
        /// ib-kubernetes gives the GUID; the VF's own does not matter then.
        ib_kubernetes: bool,
    },
    /// `sriov`: an Ethernet VF.
    Sriov {
        /// Isolated by a chained `rdma` plugin.
        rdma_isolation: bool,
    },
    /// Any other; it constrains nothing but its resource and its pools.
    Other,
}

impl Plugin {
    /// Whether a node must be in exclusive RDMA mode.
    #[must_use]
    pub fn rdma_isolation(self) -> bool {
        match self {
            Self::IbSriov { rdma_isolation, .. } | Self::Sriov { rdma_isolation } => rdma_isolation,
            Self::Other => false,
        }
    }
}

/// Who gives an interface its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ipam {
    /// Spiderpool, with the network's default pools (names or wildcards) per family.
    Spiderpool {
        /// `default_ipv4_ippool`.
        v4: Vec<String>,
        /// `default_ipv6_ippool`.
        v6: Vec<String>,
        /// `match_master_subnet`: only pools in a subnet of the PF that the VF is of, which is known on the node alone.
        by_subnet: bool,
    },
    /// Nobody, or an IPAM whose limits we do not know.
    Unlimited,
}

/// One element of a pod's networks annotation, resolved: which network on which interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selection {
    /// The network, with the namespace Multus would look in.
    pub network: NetworkRef,
    /// The interface name the pod asks for; Multus numbers the others by position.
    pub interface: Option<InterfaceName>,
    /// The pod brings its own GUID for this interface.
    pub own_guid: bool,
}
