//! For each thing that stands in a pod's way, the change that would take it away.

use super::change::{Change, Opening, World};
use super::hurdle::{Hurdle, InTree};
use crate::decide::amounts::ONE;
use crate::decide::names::{InterfaceName, NetworkRef, NodeName, PodRef, PoolName, ResourceName};
use crate::decide::naming::{Asker, At, Obstacle};
use crate::decide::pod::{Phase, Pod};
use crate::decide::reason::{ChoiceFault, Refusal, Shortage};

/// What would mend a refusal that holds for every node.
pub(super) fn against_claim(refusal: &Refusal, world: &World) -> Option<Vec<Change>> {
    match refusal {
        Refusal::NetworkMissing(network) => Some(vec![Change::CreateNetwork(network.clone())]),
        Refusal::PoolChoice(_, ChoiceFault::Missing(pool)) => Some(vec![Change::CreatePool(pool.clone(), 1)]),
        Refusal::PoolNotForPod(interface, pools) => {
            let network = network_of(&world.pod, interface.as_str())?;
            let openings = pools
                .iter()
                .filter_map(|pool| openings(pool, interface, &network, world))
                .min_by_key(Vec::len)?;
            Some(openings)
        }
        // Somebody has to write something anew, and what it will say cannot be known.
        _ => None,
    }
}

/// How much a node lacks, for choosing among those with the same reason.
pub(super) fn lacking(hurdle: &Hurdle) -> u64 {
    match hurdle {
        Hurdle::Kubernetes(InTree::Short(short)) => (short.wanted + short.used).saturating_sub(short.offered),
        Hurdle::Ours(Refusal::TooFewVfs(short) | Refusal::Unfit(_, short) | Refusal::Link(_, short)) => {
            // A node that has none of the resource is not meant for it.
            let none = if short.allocatable == 0 { 1_000 } else { 0 };
            none + u64::from((short.wanted + short.taken + short.unfit).saturating_sub(short.allocatable))
        }
        Hurdle::Ours(Refusal::PoolEmpty(empty)) => (empty.promised + 1).saturating_sub(empty.free),
        Hurdle::Kubernetes(_) | Hurdle::Ours(_) => 0,
    }
}

/// What would mend the node in this respect; none where we know nothing, or where it is about the gang.
pub(super) fn against(hurdle: &Hurdle, node: &NodeName, world: &World) -> Option<Change> {
    let refusal = match hurdle {
        Hurdle::Kubernetes(found) => return against_kubernetes(found, node, world),
        Hurdle::Ours(refusal) => refusal,
    };
    match refusal {
        Refusal::NodeStateMissing | Refusal::NodeStateUnreadable(_) | Refusal::NodeStateStale(_) => {
            Some(Change::State(node.clone()))
        }
        Refusal::NodeUnfit(fault, _) => Some(Change::Healthy(node.clone(), *fault)),
        Refusal::Draining(_) => Some(Change::Finished(node.clone())),
        Refusal::NotInSync(_) => Some(Change::InSync(node.clone())),
        Refusal::NotExclusive(..) => Some(Change::Exclusive(node.clone())),
        Refusal::SharedPlugin(resource) => Some(Change::NoSharedPlugin(node.clone(), resource.clone())),
        Refusal::Unfit(fault, shortage) => {
            let facts = world.snapshot.sriov.get(node)?.reading.as_ref().ok()?;
            let group = facts
                .groups
                .iter()
                .find(|group| group.serves(&shortage.resource) && group.faults.contains(fault))?;
            Some(Change::RepairPf(node.clone(), group.pf.clone(), *fault))
        }
        Refusal::Link(link, _) => Some(Change::RepairLink(node.clone(), link.clone())),
        Refusal::TooFewVfs(shortage) => Some(more_vfs(shortage, node, world)),
        Refusal::PoolNotForNode(_, pools) => {
            let pool = pools.first()?;
            Some(Change::OpenPool(pool.clone(), Opening::Node(node.clone())))
        }
        Refusal::PoolEmpty(empty) => {
            let pool = empty.pools.first()?;
            let more = (empty.promised + 1).saturating_sub(empty.free).max(1);
            Some(Change::Addresses(pool.clone(), more))
        }
        _ => None,
    }
}

/// A pod that ends gives back a VF of every rail; where nobody holds any, there must be more of them.
fn more_vfs(shortage: &Shortage, node: &NodeName, world: &World) -> Change {
    let facts = world
        .snapshot
        .sriov
        .get(node)
        .and_then(|state| state.reading.as_ref().ok());
    let broken = facts
        .into_iter()
        .flat_map(|facts| &facts.groups)
        .find_map(|group| {
            let fault = group
                .faults
                .first()
                .filter(|_| group.serves(&shortage.resource))?;
            Some(Change::RepairPf(node.clone(), group.pf.clone(), *fault))
        });
    if let Some(repair) = broken.filter(|_| shortage.unfit > 0) {
        return repair;
    }
    let holder = holder(&shortage.resource, node, world);
    holder.map_or_else(
        || {
            let lacking = shortage.wanted + shortage.taken + shortage.unfit;
            let more = lacking.saturating_sub(shortage.allocatable).max(1);
            Change::Vfs(node.clone(), shortage.resource.clone(), more)
        },
        |pod| Change::Ends(pod, node.clone()),
    )
}

/// The pod on the node whose end would help most: of those that give back the most of what is needed, the youngest. One
/// of the same gang is no help.
pub(super) fn holder(resource: &ResourceName, node: &NodeName, world: &World) -> Option<PodRef> {
    let given_back = |pod: &Pod| {
        let needed = |(resource, _): &(&ResourceName, u64)| world.pod.takes.count(resource) > 0;
        pod.takes.iter().filter(needed).count()
    };
    let gang = world.pod.gang.as_ref().ok().and_then(Option::as_ref);
    let of_gang = |pod: &Pod| {
        let other = pod.gang.as_ref().ok().and_then(Option::as_ref);
        pod.at.namespace == world.pod.at.namespace
            && gang.is_some_and(|gang| other.is_some_and(|other| other.name == gang.name))
    };
    world
        .snapshot
        .bound
        .values()
        .filter(|pod| pod.phase == Phase::Bound(node.clone()))
        .filter(|pod| pod.takes.count(resource) > 0 && !of_gang(pod))
        .max_by(|a, b| (given_back(a), &a.created, &b.at).cmp(&(given_back(b), &b.created, &a.at)))
        .map(|pod| pod.at.clone())
}

fn against_kubernetes(found: &InTree, node: &NodeName, world: &World) -> Option<Change> {
    match found {
        InTree::Cordoned => Some(Change::Uncordon(node.clone())),
        InTree::Tainted(taint) => Some(Change::Untaint(node.clone(), taint.clone())),
        InTree::NotSelected => {
            let labels = &world.snapshot.nodes.get(node)?.labels;
            let (key, value) = world
                .pod
                .needs
                .labels
                .iter()
                .find(|(key, value)| labels.get(*key) != Some(*value))?;
            Some(Change::Label(node.clone(), key.clone(), value.clone()))
        }
        InTree::Short(short) => {
            let more = (short.wanted + short.used).saturating_sub(short.offered);
            // Whole ones, as people count them.
            let whole = more.div_ceil(ONE).saturating_mul(ONE);
            Some(Change::Free(node.clone(), short.resource.clone(), whole.max(ONE)))
        }
    }
}

/// The network that an interface of the pod is made for.
fn network_of(pod: &Pod, interface: &str) -> Option<NetworkRef> {
    let selections = pod.networks.as_ref().ok()?;
    selections
        .iter()
        .zip(1_u32..)
        .find(|(selection, position)| match &selection.interface {
            Some(name) => name.as_str() == interface,
            None => interface == format!("net{position}"),
        })
        .map(|(selection, _)| selection.network.clone())
        .or_else(|| {
            let default = pod.default_network.as_ref()?;
            (interface == "eth0").then(|| default.network.clone())
        })
}

/// What would open a pool to the pod; none where that cannot be.
fn openings(
    pool: &PoolName,
    interface: &InterfaceName,
    network: &NetworkRef,
    world: &World,
) -> Option<Vec<Change>> {
    let facts = world.snapshot.pools.get(pool)?.reading.as_ref().ok()?;
    let at = At {
        asker: Asker::of(&world.pod),
        interface,
        network,
        snapshot: &world.snapshot,
    };
    at.obstacles(facts, facts.family)
        .map(|obstacle| {
            let opening = match obstacle {
                Obstacle::Disabled => Opening::Enabled,
                Obstacle::Namespace => Opening::Namespace(world.pod.at.namespace.clone()),
                Obstacle::Pod => Opening::Pod(world.pod.at.clone()),
                Obstacle::Network => Opening::Network(network.clone()),
                Obstacle::Terminating | Obstacle::Family => return None,
            };
            Some(Change::OpenPool(pool.clone(), opening))
        })
        .collect()
}
