//! What of the cluster's nodes matters to the import.

use std::collections::BTreeMap;

use crate::decide::fabric::{Guid, Rail};
use crate::decide::names::NodeName;

/// Nodes by name.
pub type Nodes = BTreeMap<NodeName, NodeFacts>;

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// The label `kubernetes.io/hostname`.
    pub host_label: Option<String>,
    /// Its addresses of the types Hostname and InternalDNS.
    pub addresses: Vec<String>,
    /// Its InfiniBand PFs by PCI address; none where there is no SriovNetworkNodeState of it that can be read.
    pub pfs: Option<Vec<Pf>>,
    /// The rails of the last import.
    pub rails: Vec<Rail>,
    /// The annotation that says so, as it stands.
    pub annotation: Option<String>,
    /// The labels of the tiers, closest first, as they stand.
    pub tiers: TierLabels,
}

/// Values of the labels leaf group, spine and core.
pub type TierLabels = [Option<String>; 3];

/// An InfiniBand PF.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pf {
    /// Its PCI address.
    pub pci: String,
    /// Its network interface, such as `ibs1f0`.
    pub name: String,
    /// Its port GUID, where the state tells.
    pub guid: Option<Guid>,
    /// How many VFs it has.
    pub vfs: u32,
}

impl Pf {
    /// Whether VFs of it are handed out, so that it is expected on the fabric; a port nobody uses may well be without a
    /// cable.
    #[must_use]
    pub fn in_use(&self) -> bool {
        self.vfs > 0
    }
}

impl NodeFacts {
    /// The port GUIDs of its PFs.
    pub fn guids(&self) -> impl Iterator<Item = Guid> + '_ {
        self.pfs.iter().flatten().filter_map(|pf| pf.guid)
    }

    /// Whether the port GUIDs of all its PFs are known, so that any other port is no PF of it.
    #[must_use]
    pub fn all_pfs_known(&self) -> bool {
        self.pfs
            .as_ref()
            .is_some_and(|pfs| !pfs.is_empty() && pfs.iter().all(|pf| pf.guid.is_some()))
    }
}
