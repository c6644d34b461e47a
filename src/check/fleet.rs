//! The nodes that matter, and what the cluster's networks ask of the VFs behind each resource.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::facts::Facts;
use crate::decide::claim::VfNeed;
use crate::decide::names::{NetworkRef, ResourceName};
use crate::decide::network::{Attachment, Plugin};
use crate::decide::node::{Node, SriovFacts};

/// What networks ask of the VFs of one resource.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// The networks that name the resource.
    pub(super) networks: Vec<NetworkRef>,
    /// What a PF must have.
    pub(super) need: VfNeed,
    /// Nodes must be in exclusive RDMA mode.
    pub(super) exclusive: bool,
    /// A VF is what they attach; other plugins may name a shared device.
    pub(super) vf: bool,
}

/// Every resource that a network names.
pub(super) fn asked(facts: &Facts) -> BTreeMap<ResourceName, Asked> {
    let mut by_resource: BTreeMap<ResourceName, Asked> = BTreeMap::new();
    for (at, attachment) in networks(facts) {
        let Some(resource) = &attachment.resource else {
            continue;
        };
        let asked = by_resource.entry(resource.clone()).or_default();
        asked.networks.push(at.clone());
        asked.exclusive |= attachment.plugin.rdma_isolation();
        match attachment.plugin {
            Plugin::IbSriov { ib_kubernetes, .. } => {
                asked.vf = true;
                asked.need.infiniband = true;
                asked.need.own_guid |= !ib_kubernetes;
            }
            Plugin::Sriov { .. } => asked.vf = true,
            Plugin::Other => {}
        }
    }
    by_resource
}

/// Every network that can be read.
pub(super) fn networks(facts: &Facts) -> impl Iterator<Item = (&NetworkRef, &Attachment)> {
    facts
        .snapshot
        .networks
        .iter()
        .filter_map(|(at, network)| Some((at, network.reading.as_ref().ok()?)))
}

/// The nodes in view that have, or should have, VFs, with what the operator says of each; none as long as no network
/// names a resource with VFs, because then nothing says what they are for.
pub(super) fn fleet<'a>(
    facts: &'a Facts,
    asked: &BTreeMap<ResourceName, Asked>,
) -> Vec<(&'a Arc<Node>, Option<&'a SriovFacts>)> {
    let wanted = asked.values().any(|asked| asked.vf);
    facts
        .nodes()
        .filter(|_| wanted)
        .map(|node| (node, facts.state(node)))
        .filter(|(node, state)| {
            let offers = asked
                .iter()
                .any(|(resource, asked)| asked.vf && node.offers.count(resource) > 0);
            offers || state.is_some_and(|state| !state.groups.is_empty())
        })
        .collect()
}
