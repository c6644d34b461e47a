//! What keeps VFs of nodes from being used, as it is counted.

use std::collections::{BTreeMap, BTreeSet};

use crate::decide::cluster::ClusterSnapshot;
use crate::decide::fitness::{is_exclusive, modes_told, shared_device, states_are_asked_for};
use crate::decide::links::{BadLinks, LinkTrouble};
use crate::decide::names::ResourceName;
use crate::decide::node::{Node, NodeFault, PfFault, SriovFacts, Sync};
use crate::decide::settings::Settings;

/// What keeps VFs of a node from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, strum::EnumIter)]
pub enum Fault {
    /// It is being drained or rebooted for its configuration.
    Draining,
    /// The wanted configuration is not in force.
    NotInSync,
    /// Its state cannot be read.
    Unreadable,
    /// A PF's link is administratively down.
    PfDown,
    /// A PF is not InfiniBand.
    NotInfiniband,
    /// A VF has no GUID.
    GuidUnset,
    /// The number of VFs in force is not the number asked for.
    VfsDiffer,
    /// The MTU in force is not the one asked for.
    MtuDiffers,
    /// The node is not ready.
    NotReady,
    /// A driver of it is not ready.
    DriverNotReady,
    /// Its device plugin is kept from serving.
    PluginBlocked,
    /// Its state outlives the daemon that wrote it.
    Stale,
    /// Nothing vouches for its VFs.
    StateMissing,
    /// It is not in exclusive RDMA mode, and a network of its VFs needs that.
    NotExclusive,
    /// It offers shared RDMA devices, too.
    SharedPlugin,
    /// A rail has no link.
    RailDark,
    /// A rail's link has not been brought up by the Subnet Manager.
    RailInactive,
    /// A rail's link is narrower or slower than it should be.
    RailDegraded,
}

impl Fault {
    /// The word for it in metrics.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::NotInSync => "not_in_sync",
            Self::Unreadable => "unreadable",
            Self::PfDown => "pf_down",
            Self::NotInfiniband => "not_infiniband",
            Self::GuidUnset => "guid_unset",
            Self::VfsDiffer => "vfs_differ",
            Self::MtuDiffers => "mtu_differs",
            Self::NotReady => "not_ready",
            Self::DriverNotReady => "driver_not_ready",
            Self::PluginBlocked => "plugin_blocked",
            Self::Stale => "stale",
            Self::StateMissing => "state_missing",
            Self::NotExclusive => "not_exclusive",
            Self::SharedPlugin => "shared_plugin",
            Self::RailDark => "rail_dark",
            Self::RailInactive => "rail_inactive",
            Self::RailDegraded => "rail_degraded",
        }
    }

    /// Whether it keeps all VFs of the node from being used.
    pub(super) fn is_of_the_node(self) -> bool {
        match self {
            Self::Draining
            | Self::NotInSync
            | Self::Unreadable
            | Self::NotReady
            | Self::DriverNotReady
            | Self::PluginBlocked
            | Self::Stale
            | Self::StateMissing
            | Self::NotExclusive
            | Self::SharedPlugin => true,
            Self::PfDown
            | Self::NotInfiniband
            | Self::GuidUnset
            | Self::VfsDiffer
            | Self::MtuDiffers
            | Self::RailDark
            | Self::RailInactive
            | Self::RailDegraded => false,
        }
    }
}

/// What the cluster's networks and settings ask of nodes.
pub(super) struct Demands<'a> {
    /// The resources that networks name, and whether one of those needs exclusive RDMA mode.
    pub(super) resources: BTreeMap<&'a ResourceName, bool>,
    /// A node needs a state that vouches for it.
    states: bool,
    /// Some state tells a mode.
    modes_told: bool,
    settings: &'a Settings,
}

impl<'a> Demands<'a> {
    pub(super) fn of(snapshot: &'a ClusterSnapshot, settings: &'a Settings) -> Self {
        let mut resources: BTreeMap<&ResourceName, bool> = BTreeMap::new();
        let networks = snapshot.networks.values();
        for network in networks.filter_map(|network| network.reading.as_ref().ok()) {
            if let Some(resource) = &network.resource {
                *resources.entry(resource).or_default() |= network.plugin.rdma_isolation();
            }
        }
        Self {
            resources,
            states: states_are_asked_for(snapshot, settings),
            modes_told: modes_told(snapshot),
            settings,
        }
    }

    fn exclusive(&self, node: &Node) -> bool {
        let mut isolating = self.resources.iter().filter(|(_, isolates)| **isolates);
        isolating.any(|(resource, _)| node.offers.count(resource) > 0)
    }
}

/// What is wrong with a node, and the facts of its state.
pub(super) fn faults<'a>(
    node: &Node,
    snapshot: &'a ClusterSnapshot,
    demands: &Demands<'_>,
    links: &BadLinks<'_>,
) -> (BTreeSet<Fault>, Option<&'a SriovFacts>) {
    let mut faults = BTreeSet::new();
    if !links.only_prefer() {
        faults.extend(links.troubles().map(|trouble| match trouble {
            LinkTrouble::Dark => Fault::RailDark,
            LinkTrouble::Inactive => Fault::RailInactive,
            LinkTrouble::Degraded => Fault::RailDegraded,
        }));
    }
    if node.drain_requested {
        faults.insert(Fault::Draining);
    }
    faults.extend(node.faults.iter().map(|(fault, _)| match fault {
        NodeFault::NotReady => Fault::NotReady,
        NodeFault::DriverNotReady => Fault::DriverNotReady,
        NodeFault::PluginBlocked => Fault::PluginBlocked,
    }));
    if snapshot.waiting_plugins.contains_key(&node.name) {
        faults.insert(Fault::PluginBlocked);
    }
    let facts = match snapshot.sriov.get(&node.name).map(|state| &state.reading) {
        Some(Ok(facts)) => Some(facts),
        Some(Err(_)) => {
            faults.insert(Fault::Unreadable);
            None
        }
        None => {
            if demands.states {
                faults.insert(Fault::StateMissing);
            }
            None
        }
    };
    if let Some(facts) = facts {
        if demands.exclusive(node) {
            if !is_exclusive(facts, demands.settings, demands.modes_told) {
                faults.insert(Fault::NotExclusive);
            } else if shared_device(node, demands.settings).is_some() {
                faults.insert(Fault::SharedPlugin);
            }
        }
        if facts.drain.is_some() {
            faults.insert(Fault::Draining);
        }
        if facts.stale.is_some() {
            faults.insert(Fault::Stale);
        }
        if facts.sync != Sync::Succeeded {
            faults.insert(Fault::NotInSync);
        }
        faults.extend(
            facts
                .groups
                .iter()
                .flat_map(|group| &group.faults)
                .map(|fault| match fault {
                    PfFault::Down => Fault::PfDown,
                    PfFault::NotInfiniband => Fault::NotInfiniband,
                    PfFault::GuidUnset => Fault::GuidUnset,
                    PfFault::VfsDiffer => Fault::VfsDiffer,
                    PfFault::MtuDiffers => Fault::MtuDiffers,
                }),
        );
    }
    (faults, facts)
}
