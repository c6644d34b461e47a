//! Changes of the cluster, or of a pod, that can be tried on a snapshot before anybody makes them.

use core::fmt;
use std::sync::Arc;

use super::hurdle::{Shown, thousandths};
use crate::decide::amounts::{Amounts, ONE};
use crate::decide::annotation;
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::commitment::Commitments;
use crate::decide::fabric::RailState;
use crate::decide::links::BadLink;
use crate::decide::names::{
    GangRef, NamespaceName, NetworkRef, NodeName, PfName, PodRef, PoolName, ResourceName,
};
use crate::decide::network::{Attachment, Network};
use crate::decide::node::{Node, NodeFault, PfFault, RdmaMode, SriovFacts, SriovState, Sync};
use crate::decide::pod::{Affinity, Phase, Pod};
use crate::decide::policy::Locality;
use crate::decide::pool::{Pool, PoolFacts};
use crate::decide::suits::Taint;

/// One change. Its text completes "it would run with:".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// So many more addresses in a pool.
    Addresses(PoolName, u64),
    /// A pool that is made, with addresses enough.
    CreatePool(PoolName, u64),
    /// A pool that is opened to somebody.
    OpenPool(PoolName, Opening),
    /// A network that is made.
    CreateNetwork(NetworkRef),
    /// A PF that is rid of what keeps its VFs from use.
    RepairPf(NodeName, PfName, PfFault),
    /// A rail whose link is brought to what it should be.
    RepairLink(NodeName, Box<BadLink>),
    /// So many more VFs of a resource on a node.
    Vfs(NodeName, ResourceName, u32),
    /// A pod that ends and gives back what it holds.
    Ends(PodRef, NodeName),
    /// The places held for a gang are given up.
    HoldEnds(GangRef),
    /// The SR-IOV operator finishes what it does with a node.
    Finished(NodeName),
    /// A node is rid of what it says of itself.
    Healthy(NodeName, NodeFault),
    /// A node's SR-IOV configuration comes into force.
    InSync(NodeName),
    /// A node's RDMA subsystem is put into exclusive mode.
    Exclusive(NodeName),
    /// A node is taken out of the shared device plugin.
    NoSharedPlugin(NodeName, ResourceName),
    /// The SR-IOV operator vouches for a node in a state that can be read.
    State(NodeName),
    /// So much more of a resource is left on a node, in thousandths.
    Free(NodeName, ResourceName, u64),
    /// A node is uncordoned.
    Uncordon(NodeName),
    /// A taint is removed from a node.
    Untaint(NodeName, Taint),
    /// A node gets a label.
    Label(NodeName, String, String),
    /// The gang asks for another locality.
    Locality(Locality),
}

/// Whom a pool is opened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Everybody it is meant for: it is enabled.
    Enabled,
    /// A node.
    Node(NodeName),
    /// A namespace.
    Namespace(NamespaceName),
    /// A network.
    Network(NetworkRef),
    /// Pods with labels such as this one's.
    Pod(PodRef),
}

/// What decisions depend on, to be changed for a trial.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) pod: Pod,
    pub(super) snapshot: ClusterSnapshot,
    pub(super) commitments: Commitments,
}

impl Change {
    /// How much it asks of people, roughly: what orders changes of different kinds. Waiting for what is under way costs
    /// least; a setting less than a repair; another's pod more than either.
    #[must_use]
    pub fn cost(&self) -> u64 {
        match self {
            Self::HoldEnds(_) => 5,
            Self::OpenPool(..) => 12,
            Self::Addresses(_, more) => 10 + more.min(&1000),
            Self::Finished(_) | Self::InSync(_) | Self::Uncordon(_) | Self::Healthy(..) => 15,
            Self::RepairPf(..) | Self::RepairLink(..) => 20,
            Self::CreatePool(..) | Self::Untaint(..) => 25,
            Self::Ends(..) | Self::CreateNetwork(_) | Self::Label(..) => 30,
            Self::State(_) | Self::NoSharedPlugin(..) | Self::Locality(_) => 35,
            Self::Exclusive(_) | Self::Free(..) => 40,
            Self::Vfs(_, _, more) => 40 + 10 * u64::from(*more),
        }
    }

    /// Makes it, in `world`.
    pub(super) fn apply(&self, world: &mut World) {
        let snapshot = &mut world.snapshot;
        match self {
            Self::Addresses(pool, more) => change_pool(snapshot, pool, |facts| {
                facts.free = facts.free.saturating_add(*more);
                facts.size = facts.size.saturating_add(*more);
            }),
            Self::CreatePool(name, addresses) => {
                let pool = Pool {
                    name: name.clone(),
                    reading: Ok(PoolFacts::open(*addresses)),
                };
                snapshot.pools.insert_mut(name.clone(), Arc::new(pool));
            }
            Self::OpenPool(pool, opening) => change_pool(snapshot, pool, |facts| opening.apply(facts)),
            Self::CreateNetwork(at) => {
                let network = Network {
                    at: at.clone(),
                    profiles: Vec::new(),
                    reading: Ok(Attachment::unknown()),
                };
                snapshot.networks.insert_mut(at.clone(), Arc::new(network));
            }
            Self::RepairPf(node, pf, fault) => change_state(snapshot, node, |facts| {
                for group in facts.groups.iter_mut().filter(|group| group.pf == *pf) {
                    group.faults.retain(|found| found != fault);
                }
            }),
            Self::RepairLink(node, link) => change_node(snapshot, node, |node| {
                let rails = node.fabric.iter_mut().flatten().flatten();
                for rail in rails.filter(|rail| rail.guid == link.rail.guid) {
                    rail.state = RailState::Active;
                    // How wide and fast it will be then is not known, and a link that is not rated is not degraded.
                    (rail.width, rail.speed) = (None, None);
                }
            }),
            Self::Vfs(node, resource, more) => change_node(snapshot, node, |node| {
                let more = u64::from(*more).saturating_mul(ONE);
                node.offers.add(&Amounts::from_iter([(resource.clone(), more)]));
            }),
            Self::Free(node, resource, more) => change_node(snapshot, node, |node| {
                node.offers.add(&Amounts::from_iter([(resource.clone(), *more)]));
            }),
            Self::Ends(pod, node) => end(snapshot, pod, node),
            Self::HoldEnds(gang) => {
                world.commitments.gangs.remove_mut(gang);
            }
            Self::Finished(node) => {
                change_node(snapshot, node, |node| node.drain_requested = false);
                change_state(snapshot, node, |facts| facts.drain = None);
            }
            Self::Healthy(node, fault) => {
                change_node(snapshot, node, |node| {
                    node.faults.retain(|(found, _)| found != fault);
                });
                if *fault == NodeFault::PluginBlocked {
                    snapshot.waiting_plugins.remove_mut(node);
                }
            }
            Self::InSync(node) => change_state(snapshot, node, |facts| {
                facts.sync = Sync::Succeeded;
                facts.leaving_exclusive = false;
            }),
            Self::Exclusive(node) => change_state(snapshot, node, |facts| facts.rdma = RdmaMode::Exclusive),
            Self::NoSharedPlugin(node, resource) => change_node(snapshot, node, |node| {
                let all = node.offers.of(resource.as_str());
                node.offers.take(&Amounts::from_iter([(resource.clone(), all)]));
            }),
            Self::State(node) => {
                let sound = SriovFacts {
                    sync: Sync::Succeeded,
                    drain: None,
                    stale: None,
                    leaving_exclusive: false,
                    rdma: RdmaMode::Exclusive,
                    groups: Vec::new(),
                };
                let state = SriovState { reading: Ok(sound) };
                snapshot.sriov.insert_mut(node.clone(), Arc::new(state));
            }
            Self::Uncordon(node) => change_node(snapshot, node, |node| node.unschedulable = false),
            Self::Untaint(node, taint) => {
                change_node(snapshot, node, |node| node.taints.retain(|found| found != taint));
            }
            Self::Label(node, key, value) => change_node(snapshot, node, |node| {
                node.labels.insert(key.clone(), value.clone());
            }),
            Self::Locality(locality) => {
                if let Ok(Some(gang)) = &mut world.pod.gang {
                    gang.locality = Some(locality.clone());
                }
            }
        }
    }
}

impl Opening {
    fn apply(&self, facts: &mut PoolFacts) {
        match self {
            Self::Enabled => facts.disabled = false,
            Self::Node(node) => admit(&mut facts.nodes, node),
            Self::Namespace(namespace) => admit(&mut facts.namespaces, namespace),
            Self::Network(network) => facts.networks.push(network.clone()),
            Self::Pod(_) => facts.pods = None,
        }
    }
}

/// By its list where there is one; a selector gives way.
fn admit<N: Ord + Clone>(affinity: &mut Affinity<N>, name: &N) {
    if affinity.names.is_empty() {
        affinity.selector = None;
    } else {
        affinity.names.insert(name.clone());
    }
}

fn change_pool(snapshot: &mut ClusterSnapshot, name: &PoolName, change: impl FnOnce(&mut PoolFacts)) {
    let Some(mut pool) = snapshot.pools.get(name).map(|pool| Pool::clone(pool)) else {
        return;
    };
    if let Ok(facts) = &mut pool.reading {
        change(facts);
    }
    snapshot.pools.insert_mut(name.clone(), Arc::new(pool));
}

fn change_node(snapshot: &mut ClusterSnapshot, name: &NodeName, change: impl FnOnce(&mut Node)) {
    let Some(mut node) = snapshot.nodes.get(name).map(|node| Node::clone(node)) else {
        return;
    };
    change(&mut node);
    snapshot.nodes.insert_mut(name.clone(), Arc::new(node));
}

fn change_state(snapshot: &mut ClusterSnapshot, name: &NodeName, change: impl FnOnce(&mut SriovFacts)) {
    let Some(mut state) = snapshot.sriov.get(name).map(|state| SriovState::clone(state)) else {
        return;
    };
    if let Ok(facts) = &mut state.reading {
        change(facts);
    }
    snapshot.sriov.insert_mut(name.clone(), Arc::new(state));
}

/// Once a pod has ended, its VFs are free at once, and its addresses as soon as Spiderpool has them back.
fn end(snapshot: &mut ClusterSnapshot, at: &PodRef, node: &NodeName) {
    let Some(pod) = snapshot.bound.get(&at.uid).cloned() else {
        return;
    };
    release(snapshot, &pod, node);
    if let Some(gang) = pod.gang_ref() {
        snapshot.change_members(gang, |members| {
            members.bound.remove(&at.uid);
            members.ended.insert(at.uid.clone());
        });
    }
}

/// The cluster as it would be if this bound pod were still to be placed: for asking where it would go now.
pub(super) fn unbound(snapshot: &ClusterSnapshot, pod: &Pod) -> (ClusterSnapshot, Pod) {
    let mut snapshot = snapshot.clone();
    let mut pod = pod.clone();
    if let Phase::Bound(node) = &pod.phase {
        release(&mut snapshot, &pod, node);
        if let Some(gang) = pod.gang_ref() {
            snapshot.change_members(gang, |members| {
                members.bound.remove(&pod.at.uid);
                members.pending.insert(pod.at.uid.clone());
            });
        }
    }
    pod.phase = Phase::Pending { refused: false };
    (snapshot, pod)
}

/// Gives back what a bound pod holds.
fn release(snapshot: &mut ClusterSnapshot, pod: &Pod, node: &NodeName) {
    let uid = &pod.at.uid;
    snapshot.bound.remove_mut(uid);
    snapshot.unallocated.remove_mut(uid);
    snapshot.change_use(node, |used| used.take(&pod.takes));
    let holding: Vec<PoolName> = snapshot
        .pools
        .values()
        .filter(|pool| {
            pool.reading
                .as_ref()
                .is_ok_and(|facts| facts.holders.contains_key(uid))
        })
        .map(|pool| pool.name.clone())
        .collect();
    for pool in holding {
        change_pool(snapshot, &pool, |facts| {
            let held = facts.holders.remove(uid).unwrap_or(0);
            facts.free = facts.free.saturating_add(u64::from(held));
        });
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(pool, 1) => write!(f, "1 more address in {pool}"),
            Self::Addresses(pool, more) => write!(f, "{more} more addresses in {pool}"),
            Self::CreatePool(pool, _) => write!(f, "create SpiderIPPool {pool}"),
            Self::OpenPool(pool, opening) => match opening {
                Opening::Enabled => write!(f, "enable pool {pool}"),
                Opening::Node(node) => write!(f, "open pool {pool} to {node} (nodeName or nodeAffinity)"),
                Opening::Namespace(namespace) => write!(
                    f,
                    "open pool {pool} to namespace {namespace} (namespaceName or namespaceAffinity)"
                ),
                Opening::Network(network) => write!(f, "open pool {pool} to network {network} (multusName)"),
                Opening::Pod(pod) => write!(f, "open pool {pool} to pod {pod} (podAffinity)"),
            },
            Self::CreateNetwork(network) => write!(f, "create network {network}"),
            Self::RepairPf(node, pf, fault) => match fault {
                PfFault::Down => write!(f, "repair {pf} on {node}: its link is down"),
                PfFault::NotInfiniband => write!(f, "make {pf} on {node} InfiniBand (linkType: ib)"),
                PfFault::GuidUnset => write!(f, "give the VFs of {pf} on {node} GUIDs"),
                PfFault::VfsDiffer => write!(f, "bring {pf} on {node} to the number of VFs asked for"),
                PfFault::MtuDiffers => write!(f, "bring {pf} on {node} to the MTU asked for"),
            },
            Self::RepairLink(node, link) => write!(f, "repair a link of {node}: {link}"),
            Self::Vfs(node, resource, 1) => write!(f, "1 more VF of {resource} on {node}"),
            Self::Vfs(node, resource, more) => write!(f, "{more} more VFs of {resource} on {node}"),
            Self::Ends(pod, node) => write!(f, "pod {pod} on {node} ends"),
            Self::HoldEnds(gang) => write!(f, "the places held for gang {gang} are used or given up"),
            Self::Finished(node) => write!(f, "the SR-IOV operator finishes with {node}"),
            Self::Healthy(node, fault) => match fault {
                NodeFault::NotReady => write!(f, "{node} becomes ready"),
                NodeFault::DriverNotReady => write!(f, "the drivers of {node} become ready"),
                NodeFault::PluginBlocked => write!(f, "the device plugin of {node} is let go"),
            },
            Self::InSync(node) => write!(f, "bring the SR-IOV configuration of {node} into force"),
            Self::Exclusive(node) => write!(f, "put {node} into exclusive RDMA mode"),
            Self::NoSharedPlugin(node, resource) => {
                write!(f, "take {node} out of the shared RDMA device plugin ({resource})")
            }
            Self::State(node) => write!(f, "let the SR-IOV operator report {node} in a readable state"),
            Self::Free(node, resource, more) => {
                write!(f, "{} more {resource} on {node}", thousandths(*more))
            }
            Self::Uncordon(node) => write!(f, "uncordon {node}"),
            Self::Untaint(node, taint) => write!(f, "remove taint {} from {node}", Shown(taint)),
            Self::Label(node, key, value) => write!(f, "label {node} with {key}={value}"),
            Self::Locality(locality) => write!(f, "ask for {}: {locality}", annotation::LOCALITY),
        }
    }
}
