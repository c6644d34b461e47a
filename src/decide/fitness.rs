//! Whether a node's VFs are fit for use: what the node itself, the SR-IOV operator's state of it and its device plugin say.

use super::claim::Claim;
use super::cluster::ClusterSnapshot;
use super::names::ResourceName;
use super::node::{Node, NodeFault, RdmaMode, SriovFacts, SriovState, Sync};
use super::reason::Refusal;
use super::settings::{NodeStatePolicy, Settings};

/// Whether any state says in which mode its node is. The SR-IOV operator does since 1.4; the CRDs of an older one, as
/// Spiderpool's chart brings them, have no such field, and the API server drops it.
pub(super) fn modes_told(snapshot: &ClusterSnapshot) -> bool {
    let told = |state: &SriovState| {
        state
            .reading
            .as_ref()
            .is_ok_and(|facts| facts.rdma != RdmaMode::Unknown)
    };
    snapshot.sriov.values().any(|state| told(state))
}

/// Whether the node as such is fit; what the SR-IOV operator says of its PFs, where it says something.
pub(super) fn fitness<'a>(
    claim: &Claim,
    node: &Node,
    snapshot: &'a ClusterSnapshot,
    settings: &Settings,
    modes_told: bool,
) -> Result<Option<&'a SriovFacts>, Refusal> {
    if claim
        .vfs
        .keys()
        .all(|resource| is_by_claims(resource, node, snapshot))
    {
        return Ok(None);
    }
    if let Some((fault, said)) = node.faults.iter().min() {
        return Err(Refusal::NodeUnfit(*fault, said.clone()));
    }
    if snapshot.waiting_plugins.contains_key(&node.name) {
        let said = format!(
            "annotation {} on the device plugin's pod",
            super::annotation::SRIOV_PLUGIN_WAITS
        );
        return Err(Refusal::NodeUnfit(NodeFault::PluginBlocked, said));
    }
    if node.drain_requested {
        return Err(Refusal::Draining(
            "Drain_Required or Reboot_Required (node annotation)".to_owned(),
        ));
    }
    let strict = states_are_asked_for(snapshot, settings);
    let Some(state) = snapshot.sriov.get(&node.name) else {
        return if strict {
            Err(Refusal::NodeStateMissing)
        } else {
            Ok(None)
        };
    };
    let facts = match &state.reading {
        Ok(facts) => facts,
        Err(problems) if strict => return Err(Refusal::NodeStateUnreadable(problems.clone())),
        Err(_) => return Ok(None),
    };
    if let Some(until) = &facts.stale {
        return if strict {
            Err(Refusal::NodeStateStale(until.clone()))
        } else {
            Ok(None)
        };
    }
    if let Some(phase) = &facts.drain {
        return Err(Refusal::Draining(phase.clone()));
    }
    if let Sync::Other(status) = &facts.sync {
        return Err(Refusal::NotInSync(status.clone()));
    }
    if let Some(network) = &claim.exclusive {
        if !is_exclusive(facts, settings, modes_told) {
            return Err(Refusal::NotExclusive(network.clone(), facts.rdma));
        }
        if facts.leaving_exclusive {
            let pending = "Succeeded, but spec.system.rdmaMode asks for shared, which the next reboot brings";
            return Err(Refusal::NotInSync(pending.to_owned()));
        }
        if let Some(resource) = shared_device(node, settings) {
            return Err(Refusal::SharedPlugin(resource.clone()));
        }
    }
    Ok(Some(facts))
}

/// Whether a node without a state that vouches for it is refused.
pub(super) fn states_are_asked_for(snapshot: &ClusterSnapshot, settings: &Settings) -> bool {
    match settings.node_state {
        NodeStatePolicy::Require => true,
        NodeStatePolicy::Trust => false,
        NodeStatePolicy::Auto => !snapshot.sriov.is_empty(),
    }
}

/// Whether the node counts as in exclusive mode; `modes_told` is [`modes_told`] of the cluster.
pub(super) fn is_exclusive(facts: &SriovFacts, settings: &Settings, modes_told: bool) -> bool {
    match facts.rdma {
        RdmaMode::Exclusive => true,
        RdmaMode::Shared => false,
        RdmaMode::Unknown => match settings.node_state {
            NodeStatePolicy::Require => false,
            NodeStatePolicy::Trust => true,
            NodeStatePolicy::Auto => !modes_told,
        },
    }
}

/// What the shared device plugin offers on the node.
pub(super) fn shared_device<'a>(node: &'a Node, settings: &Settings) -> Option<&'a ResourceName> {
    let is_shared = |resource: &ResourceName| {
        let mut prefixes = settings.shared_rdma_prefixes.iter();
        prefixes.any(|prefix| resource.as_str().starts_with(prefix))
    };
    let mut offers = node.offers.iter().filter(|(_, amount)| *amount > 0);
    offers.find_map(|(resource, _)| is_shared(resource).then_some(resource))
}

/// VFs of the resource that the state counts.
pub(super) fn in_place(facts: &SriovFacts, resource: &ResourceName) -> u32 {
    facts
        .groups
        .iter()
        .filter(|group| group.serves(resource))
        .fold(0, |sum, group| sum.saturating_add(group.vfs))
}

/// Whether the scheduler allocates the resource on this node by claims (Dynamic Resource Allocation): a DeviceClass maps
/// it, and the node's device plugins do not offer it. What is allocatable says nothing about it then
/// (kube-scheduler 1.37, `plugins/noderesources/fit.go`).
pub(super) fn is_by_claims(resource: &ResourceName, node: &Node, snapshot: &ClusterSnapshot) -> bool {
    !node.offers.names(resource.as_str()) && snapshot.by_claims.contains_key(resource)
}
