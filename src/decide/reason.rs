//! Why a node, or every node, is refused.
//!
//! A [`Refusal`] carries the facts; its [`Reason`] is the closed set of causes. What the scheduler shows is the
//! reason's constant text: a text with a name, a number or a time in it would make kube-scheduler retry the pod
//! without end. The long text, with names, numbers and remedy, goes to the log, to `explain` and to `simulate`.

mod facts;

use core::fmt;

use super::names::{InterfaceName, NetworkRef, NodeName, PoolName, ResourceName};
use super::policy::Tier;
use super::problem::Problems;
use super::tier::Domain;

pub use self::facts::{ChoiceFault, EmptyPools, NoRoom, Shortage};

/// The cause of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, strum::EnumIter)]
pub enum Reason {
    /// The pod's own annotations cannot be read.
    PodUnreadable,
    /// A network the pod names does not exist.
    NetworkMissing,
    /// A network the pod names cannot be read.
    NetworkUnreadable,
    /// The pools named for an interface cannot give it an address, whatever is free.
    PoolChoice,
    /// No pool named for an interface may be used by this pod.
    PoolNotForPod,
    /// A pool named for an interface cannot be read.
    PoolUnreadable,
    /// Two interfaces of the pod would get the same address.
    SameAddress,
    /// The node is not known.
    NodeUnknown,
    /// The SR-IOV operator does not vouch for the node.
    NodeStateMissing,
    /// The node's SR-IOV state cannot be read.
    NodeStateUnreadable,
    /// The node's SR-IOV state is left over from a daemon that is gone.
    NodeStateStale,
    /// The node is not ready.
    NodeNotReady,
    /// A driver of the node is not ready.
    DriverNotReady,
    /// The node's device plugin is kept from serving.
    PluginBlocked,
    /// The SR-IOV operator drains or reboots the node.
    Draining,
    /// The SR-IOV configuration of the node is not in force.
    NotInSync,
    /// The node's RDMA subsystem is not in exclusive mode.
    NotExclusive,
    /// The node offers shared RDMA devices although it is in exclusive mode.
    SharedPlugin,
    /// A PF is down.
    PfDown,
    /// A PF is not InfiniBand.
    NotInfiniband,
    /// A VF has no GUID.
    GuidUnset,
    /// A PF has another number of VFs than asked for.
    VfsDiffer,
    /// A PF has another MTU than asked for.
    MtuDiffers,
    /// A rail has no link on the fabric.
    RailDark,
    /// A rail's link has not been brought up by the Subnet Manager.
    RailInactive,
    /// A rail's link is narrower or slower than it should be.
    RailDegraded,
    /// Too few VFs are free.
    TooFewVfs,
    /// No pool named for an interface may be used on this node.
    PoolNotForNode,
    /// The pools have no address left.
    PoolEmpty,
    /// The gang runs in another domain of the fabric, or is about to.
    OutsideDomain,
    /// No domain of the fabric has room for the whole gang.
    GangNoRoom,
    /// No node carries the tier that the gang requires.
    TierUnknown,
    /// Nodes carry the labels of several presets of tiers.
    TiersConflict,
}

impl Reason {
    /// What kube-scheduler shows in the pod's events and condition: constant, without names and numbers.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::PodUnreadable => "RDMA: the pod's network or pool annotations cannot be read",
            Self::NetworkMissing => "RDMA: a network of the pod does not exist",
            Self::NetworkUnreadable => "RDMA: a network of the pod cannot be read",
            Self::PoolChoice => "RDMA: the IP pools named for the pod cannot work",
            Self::PoolNotForPod => "RDMA: no IP pool of a rail may be used by this pod",
            Self::PoolUnreadable => "RDMA: an IP pool of the pod cannot be read",
            Self::SameAddress => "RDMA: two rails share one IP pool and would get the same address",
            Self::NodeUnknown => "RDMA: node not known yet",
            Self::NodeStateMissing => "RDMA: no SriovNetworkNodeState for the node",
            Self::NodeStateUnreadable => "RDMA: the node's SriovNetworkNodeState cannot be read",
            Self::NodeStateStale => "RDMA: the node's SriovNetworkNodeState outlives its daemon",
            Self::NodeNotReady => "RDMA: node is not ready",
            Self::DriverNotReady => "RDMA: a driver of the node is not ready",
            Self::PluginBlocked => "RDMA: the node's device plugin waits for its configuration",
            Self::Draining => "RDMA: node is being drained by the SR-IOV operator",
            Self::NotInSync => "RDMA: node's SR-IOV configuration is not in force",
            Self::NotExclusive => "RDMA: node is not in exclusive RDMA mode",
            Self::SharedPlugin => "RDMA: node offers shared RDMA devices in exclusive mode",
            Self::PfDown => "RDMA: a PF of the node is down",
            Self::NotInfiniband => "RDMA: a PF of the node is not InfiniBand",
            Self::GuidUnset => "RDMA: a VF of the node has no GUID",
            Self::VfsDiffer => "RDMA: a PF of the node lacks the VFs asked for",
            Self::MtuDiffers => "RDMA: a PF of the node has another MTU than asked for",
            Self::RailDark => "RDMA: a rail of the node is dark on the fabric",
            Self::RailInactive => "RDMA: a rail of the node waits for the Subnet Manager",
            Self::RailDegraded => "RDMA: a rail of the node is slower than it should be",
            Self::TooFewVfs => "RDMA: too few free VFs on a rail",
            Self::PoolNotForNode => "RDMA: no IP pool of a rail may be used on this node",
            Self::PoolEmpty => "RDMA: no free address in an IP pool of a rail",
            Self::OutsideDomain => "RDMA: node is outside the fabric domain of the pod's gang",
            Self::GangNoRoom => "RDMA: no fabric domain has room for the whole gang",
            Self::TierUnknown => "RDMA: no node carries the fabric tier the gang requires",
            Self::TiersConflict => "RDMA: nodes carry labels of several fabric topologies",
        }
    }

    /// A word for metric labels and log fields.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Self::PodUnreadable => "pod_unreadable",
            Self::NetworkMissing => "network_missing",
            Self::NetworkUnreadable => "network_unreadable",
            Self::PoolChoice => "pool_choice",
            Self::PoolNotForPod => "pool_not_for_pod",
            Self::PoolUnreadable => "pool_unreadable",
            Self::SameAddress => "same_address",
            Self::NodeUnknown => "node_unknown",
            Self::NodeStateMissing => "node_state_missing",
            Self::NodeStateUnreadable => "node_state_unreadable",
            Self::NodeStateStale => "node_state_stale",
            Self::NodeNotReady => "node_not_ready",
            Self::DriverNotReady => "driver_not_ready",
            Self::PluginBlocked => "plugin_blocked",
            Self::Draining => "draining",
            Self::NotInSync => "not_in_sync",
            Self::NotExclusive => "not_exclusive",
            Self::SharedPlugin => "shared_plugin",
            Self::PfDown => "pf_down",
            Self::NotInfiniband => "not_infiniband",
            Self::GuidUnset => "guid_unset",
            Self::VfsDiffer => "vfs_differ",
            Self::MtuDiffers => "mtu_differs",
            Self::RailDark => "rail_dark",
            Self::RailInactive => "rail_inactive",
            Self::RailDegraded => "rail_degraded",
            Self::TooFewVfs => "too_few_vfs",
            Self::PoolNotForNode => "pool_not_for_node",
            Self::PoolEmpty => "pool_empty",
            Self::OutsideDomain => "outside_domain",
            Self::GangNoRoom => "gang_no_room",
            Self::TierUnknown => "tier_unknown",
            Self::TiersConflict => "tiers_conflict",
        }
    }

    /// What the person who runs the cluster can do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::PodUnreadable => "correct the annotation in the pod's template and create the pod again",
            Self::NetworkMissing => "create the network, or correct its name in the pod's template",
            Self::NetworkUnreadable => "correct the NetworkAttachmentDefinition or SpiderMultusConfig",
            Self::PoolChoice => "name existing pools, once each, for every Spiderpool interface of the pod",
            Self::PoolNotForPod => {
                "enable the pool, or open its namespaceName, namespaceAffinity, podAffinity or multusName to this pod"
            }
            Self::PoolUnreadable => "correct the SpiderIPPool",
            Self::SameAddress => "give each rail a pool of its own",
            Self::NodeUnknown => {
                "wait; if it stays, look whether the extender's watch of nodes is healthy (/readyz)"
            }
            Self::NodeStateMissing => {
                "let the SR-IOV operator's config daemon run on the node, or set nodeState: trust in the configuration"
            }
            Self::NodeStateUnreadable => "correct the SriovNetworkNodeState, or update Pointsman",
            Self::NodeStateStale => {
                "let the SR-IOV operator's config daemon run on the node again, or set nodeState: trust in the configuration"
            }
            Self::NodeNotReady => "look at the node's conditions and its kubelet",
            Self::DriverNotReady => "wait for the network operator, or look at its driver pod on the node",
            Self::PluginBlocked => {
                "wait for the SR-IOV operator, or look at its config daemon and device plugin on the node"
            }
            Self::Draining => "wait until the SR-IOV operator has finished with the node",
            Self::NotInSync => "look at status.lastSyncError of the node's SriovNetworkNodeState",
            Self::NotExclusive => {
                "set rdmaMode: exclusive in the node's SriovNetworkPoolConfig and reboot, or drop rdmaIsolation from the network"
            }
            Self::SharedPlugin => "take the node out of the shared RDMA device plugin's selector",
            Self::PfDown => "repair the PF's link",
            Self::NotInfiniband => "set linkType: ib in the SriovNetworkNodePolicy",
            Self::GuidUnset => "set GUIDs for the node's VFs (SR-IOV operator), or use ib-kubernetes",
            Self::VfsDiffer => "wait for the SR-IOV operator, or look at the node's SriovNetworkNodeState",
            Self::MtuDiffers => "wait for the SR-IOV operator, or correct mtu in the SriovNetworkNodePolicy",
            Self::RailDark => "repair the link, then import the fabric again",
            Self::RailInactive => {
                "look whether a Subnet Manager is master (sminfo, the log of opensm), then import the fabric again"
            }
            Self::RailDegraded => {
                "reseat or replace the cable, or change fabric.minWidth and fabric.minSpeed in the configuration"
            }
            Self::TooFewVfs => "wait for pods to end, or raise numVfs in the SriovNetworkNodePolicy",
            Self::PoolNotForNode => {
                "add a pool for this node, or open nodeName or nodeAffinity of one of the rail's pools"
            }
            Self::OutsideDomain => {
                "wait for room in the gang's domain, or ask for a wider tier (pointsman.io/locality)"
            }
            Self::GangNoRoom => {
                "wait until other pods of a domain end, ask for a wider tier, or make the gang smaller"
            }
            Self::TierUnknown => {
                "label the nodes (pointsman topology import), or configure the tiers' label keys"
            }
            Self::TiersConflict => {
                "set locality.preset or locality.tiers in the configuration, or take the other labels off the nodes"
            }
            Self::PoolEmpty => "add addresses to the pool (spec.ips), or wait for pods to release theirs",
        }
    }
}

/// A refusal with its facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// See [`Reason::PodUnreadable`].
    PodUnreadable(Problems),
    /// See [`Reason::NetworkMissing`].
    NetworkMissing(NetworkRef),
    /// See [`Reason::NetworkUnreadable`].
    NetworkUnreadable(NetworkRef, Problems),
    /// See [`Reason::PoolChoice`]; says what is wrong with the choice.
    PoolChoice(InterfaceName, ChoiceFault),
    /// See [`Reason::PoolNotForPod`]; the pools that were named.
    PoolNotForPod(InterfaceName, Vec<PoolName>),
    /// See [`Reason::PoolUnreadable`].
    PoolUnreadable(PoolName, Problems),
    /// See [`Reason::SameAddress`].
    SameAddress(InterfaceName, InterfaceName, PoolName),
    /// See [`Reason::NodeUnknown`].
    NodeUnknown(NodeName),
    /// See [`Reason::NodeStateMissing`].
    NodeStateMissing,
    /// See [`Reason::NodeStateUnreadable`].
    NodeStateUnreadable(Problems),
    /// See [`Reason::NodeStateStale`]; until when the operator keeps the state.
    NodeStateStale(String),
    /// The node as a whole; where that is said.
    NodeUnfit(super::node::NodeFault, String),
    /// See [`Reason::Draining`]; the phase as the operator words it.
    Draining(String),
    /// See [`Reason::NotInSync`]; the status as the operator words it.
    NotInSync(String),
    /// See [`Reason::NotExclusive`]; the network that asks for it, and what the node's state says.
    NotExclusive(NetworkRef, super::node::RdmaMode),
    /// See [`Reason::SharedPlugin`]; the resource that is offered.
    SharedPlugin(ResourceName),
    /// VFs of the resource stand on PFs that are not fit for use; without that fault there would be enough.
    Unfit(super::node::PfFault, Shortage),
    /// VFs of the resource stand on a rail that cannot be used; without that there would be enough.
    Link(Box<super::links::BadLink>, Shortage),
    /// See [`Reason::TooFewVfs`].
    TooFewVfs(Shortage),
    /// See [`Reason::PoolNotForNode`]; the pools that would do elsewhere.
    PoolNotForNode(InterfaceName, Vec<PoolName>),
    /// See [`Reason::PoolEmpty`].
    PoolEmpty(EmptyPools),
    /// See [`Reason::OutsideDomain`]; the gang's domain.
    OutsideDomain(Domain),
    /// See [`Reason::GangNoRoom`].
    GangNoRoom(NoRoom),
    /// See [`Reason::TierUnknown`].
    TierUnknown(Tier),
    /// See [`Reason::TiersConflict`].
    TiersConflict(std::sync::Arc<super::tier::Conflict>),
}

impl Refusal {
    /// Its cause.
    #[must_use]
    pub fn reason(&self) -> Reason {
        use super::links::LinkTrouble;
        use super::node::{NodeFault, PfFault};
        match self {
            Self::PodUnreadable(_) => Reason::PodUnreadable,
            Self::NetworkMissing(_) => Reason::NetworkMissing,
            Self::NetworkUnreadable(..) => Reason::NetworkUnreadable,
            Self::PoolChoice(..) => Reason::PoolChoice,
            Self::PoolNotForPod(..) => Reason::PoolNotForPod,
            Self::PoolUnreadable(..) => Reason::PoolUnreadable,
            Self::SameAddress(..) => Reason::SameAddress,
            Self::NodeUnknown(_) => Reason::NodeUnknown,
            Self::NodeStateMissing => Reason::NodeStateMissing,
            Self::NodeStateUnreadable(_) => Reason::NodeStateUnreadable,
            Self::NodeStateStale(_) => Reason::NodeStateStale,
            Self::NodeUnfit(NodeFault::NotReady, _) => Reason::NodeNotReady,
            Self::NodeUnfit(NodeFault::DriverNotReady, _) => Reason::DriverNotReady,
            Self::NodeUnfit(NodeFault::PluginBlocked, _) => Reason::PluginBlocked,
            Self::Draining(_) => Reason::Draining,
            Self::NotInSync(_) => Reason::NotInSync,
            Self::NotExclusive(..) => Reason::NotExclusive,
            Self::SharedPlugin(_) => Reason::SharedPlugin,
            Self::Unfit(PfFault::Down, _) => Reason::PfDown,
            Self::Unfit(PfFault::NotInfiniband, _) => Reason::NotInfiniband,
            Self::Unfit(PfFault::GuidUnset, _) => Reason::GuidUnset,
            Self::Unfit(PfFault::VfsDiffer, _) => Reason::VfsDiffer,
            Self::Unfit(PfFault::MtuDiffers, _) => Reason::MtuDiffers,
            Self::Link(link, _) => match link.trouble {
                LinkTrouble::Dark => Reason::RailDark,
                LinkTrouble::Inactive => Reason::RailInactive,
                LinkTrouble::Degraded => Reason::RailDegraded,
            },
            Self::TooFewVfs(_) => Reason::TooFewVfs,
            Self::PoolNotForNode(..) => Reason::PoolNotForNode,
            Self::PoolEmpty(_) => Reason::PoolEmpty,
            Self::OutsideDomain(_) => Reason::OutsideDomain,
            Self::GangNoRoom(_) => Reason::GangNoRoom,
            Self::TierUnknown(_) => Reason::TierUnknown,
            Self::TiersConflict(_) => Reason::TiersConflict,
        }
    }
}

/// The long text: what was found, with names and numbers; the remedy is the reason's.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PodUnreadable(problems) | Self::NodeStateUnreadable(problems) => write!(f, "{problems}"),
            Self::NetworkMissing(network) => write!(f, "network {network} does not exist"),
            Self::NetworkUnreadable(network, problems) => write!(f, "network {network}: {problems}"),
            Self::PoolChoice(interface, fault) => write!(f, "interface {interface}: {fault}"),
            Self::PoolNotForPod(interface, pools) => {
                write!(
                    f,
                    "interface {interface}: none of its pools ({}) may be used by this pod",
                    list(pools)
                )
            }
            Self::PoolUnreadable(pool, problems) => write!(f, "pool {pool}: {problems}"),
            Self::SameAddress(one, other, pool) => {
                write!(
                    f,
                    "interfaces {one} and {other} both get their address from pool {pool}: Spiderpool gives both the same one"
                )
            }
            Self::NodeUnknown(node) => write!(f, "node {node} is not known yet"),
            Self::NodeStateMissing => {
                f.write_str("the node has no SriovNetworkNodeState, although other nodes have")
            }
            Self::NodeStateStale(until) => write!(
                f,
                "the node's SR-IOV config daemon is gone, and its state is kept until {until}"
            ),
            Self::NodeUnfit(_, said) => f.write_str(said),
            Self::Draining(phase) => write!(f, "the SR-IOV operator is at {phase} with the node"),
            Self::NotInSync(status) => {
                write!(f, "syncStatus of the node's SriovNetworkNodeState is {status}")
            }
            Self::NotExclusive(network, mode) => {
                let said = match mode {
                    super::node::RdmaMode::Unknown => {
                        "the node's state does not say that it is, as others' do"
                    }
                    super::node::RdmaMode::Shared | super::node::RdmaMode::Exclusive => {
                        "the node is in shared mode"
                    }
                };
                write!(
                    f,
                    "network {network} isolates RDMA devices, which needs exclusive mode; {said}"
                )
            }
            Self::SharedPlugin(resource) => {
                write!(
                    f,
                    "the node is in exclusive mode and still offers {resource}: the shared plugin cannot serve it there"
                )
            }
            Self::Unfit(_, shortage) | Self::TooFewVfs(shortage) => write!(f, "{shortage}"),
            Self::Link(link, shortage) => write!(f, "{link}; {shortage}"),
            Self::PoolNotForNode(interface, pools) => {
                write!(
                    f,
                    "interface {interface}: none of its pools ({}) may be used on this node",
                    list(pools)
                )
            }
            Self::OutsideDomain(domain) => write!(f, "the gang's domain is {domain}"),
            Self::GangNoRoom(NoRoom {
                tier,
                need,
                best: Some((domain, takes)),
            }) => write!(
                f,
                "{need} pods of the gang need places in one domain of {tier}; {domain} has the most, {takes}"
            ),
            Self::GangNoRoom(NoRoom {
                tier,
                need,
                best: None,
            }) => {
                write!(
                    f,
                    "{need} pods of the gang need places in one domain of {tier}; none has any"
                )
            }
            Self::TierUnknown(tier) => write!(f, "no node has a label for tier {tier}"),
            Self::TiersConflict(conflict) => write!(f, "{conflict}"),
            Self::PoolEmpty(empty) if empty.pods > 1 => write!(
                f,
                "{} pods of the group need addresses at once, on interface {} from pool {} and on the others from theirs; \
                 there are enough for {}",
                empty.pods,
                empty.interface,
                list(&empty.pools),
                empty.free
            ),
            Self::PoolEmpty(empty) => write!(
                f,
                "interface {}: pool {} has {} free and {} of them promised to pods that are starting",
                empty.interface,
                list(&empty.pools),
                empty.free,
                empty.promised
            ),
        }
    }
}

fn list(pools: &[PoolName]) -> String {
    pools.iter().map(PoolName::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use strum::IntoEnumIterator as _;

    #[test]
    fn texts_are_short_distinct_and_without_numbers() {
        let texts: BTreeSet<_> = Reason::iter().map(Reason::text).collect();
        let slugs: BTreeSet<_> = Reason::iter().map(Reason::slug).collect();
        assert_eq!(texts.len(), Reason::iter().count());
        assert_eq!(slugs.len(), Reason::iter().count());
        for text in texts {
            assert!(
                text.len() <= 80,
                "{text}: several of them must fit an event of 1,024 characters"
            );
            assert!(!text.contains(|c: char| c.is_ascii_digit()), "{text}");
        }
    }
}
