//! A snapshot: what is known of the cluster at one moment, immutable and cheap to share.
//!
//! The maps are persistent: the index makes the next snapshot from the last by changing one entry, and whoever
//! still reads the last is not disturbed. All are ordered, so that everything derived from them is, too.

use core::ops::Bound;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use super::address::Family;
use super::amounts::Amounts;
use super::changes::Changes;
use super::device::{DeviceClaimRef, DeviceRequest};
use super::endpoint::Endpoint;
use super::fabric::Guid;
use super::links::{LeafRates, LookedAt};
use super::names::{
    DeviceClassName, GangRef, JobName, NamespaceName, NetworkRef, NodeName, PodName, PodUid, PoolName,
    ProfileName, ResourceName,
};
use super::network::Network;
use super::node::{Node, SriovState};
use super::pod::{Namespace, Phase, Pod};
use super::pool::Pool;
use super::supply::PoolSet;
use super::wildcard::Pattern;

/// An ordered map whose clone costs nothing.
pub type Map<K, V> = RedBlackTreeMapSync<K, V>;

/// An ordered set whose clone costs nothing.
pub type Set<T> = RedBlackTreeSetSync<T>;

/// What is known of the cluster at one moment.
#[derive(Clone, Debug, Default)]
pub struct ClusterSnapshot {
    /// Counts the changes that led here; tells two snapshots apart.
    pub generation: u64,
    /// All pods are known, so that `used` tells what is taken; a webhook on its own watches those of gangs only.
    pub knows_pods: bool,
    /// All nodes.
    pub nodes: Map<NodeName, Arc<Node>>,
    /// What the SR-IOV operator says of nodes; a node without an entry has no state.
    pub sriov: Map<NodeName, Arc<SriovState>>,
    /// Nodes whose device plugin says that it waits for the node's configuration, with how many such pods.
    pub waiting_plugins: Map<NodeName, u32>,
    /// Resources that some DeviceClass maps: on nodes that do not offer them, the scheduler allocates devices by claims.
    pub by_claims: Map<ResourceName, u32>,
    /// The resources that the devices of each DeviceClass stand for.
    pub device_classes: Map<DeviceClassName, Arc<BTreeSet<ResourceName>>>,
    /// What ResourceClaims and their templates ask for, those that were made for single pods left out.
    pub device_claims: Map<DeviceClaimRef, Arc<Vec<DeviceRequest>>>,
    /// All pools.
    pub pools: Map<PoolName, Arc<Pool>>,
    /// Pods that have an address by the pools' records, with how many pools that is.
    pub holding: Map<PodUid, u32>,
    /// Addresses that pods of StatefulSets keep, by the pod's name.
    pub endpoints: Map<(NamespaceName, PodName), Arc<Endpoint>>,
    /// All networks. Where a NetworkAttachmentDefinition does not exist yet, the SpiderMultusConfig stands for it.
    pub networks: Map<NetworkRef, Arc<Network>>,
    /// All namespaces.
    pub namespaces: Map<NamespaceName, Arc<Namespace>>,
    /// Pods that are not bound and want something of ours.
    pub pending: Map<PodUid, Arc<Pod>>,
    /// Pods that are bound and have not ended, and want something of ours.
    pub bound: Map<PodUid, Arc<Pod>>,
    /// Of those, the ones Spiderpool's records do not show all addresses for yet.
    pub unallocated: Map<PodUid, Arc<Pod>>,
    /// Pods that went within the last minutes: one may have been bound and gone between two looks.
    pub gone: Map<PodUid, ()>,
    /// What those are still to fetch, each address by the pools it can come from, where that has been worked out.
    pub unfetched: Map<PodUid, Arc<[PoolSet]>>,
    /// What bound pods take of every resource, per node.
    pub used: Map<NodeName, Arc<Amounts>>,
    /// How many pods of a Job run at once.
    pub jobs: Map<(NamespaceName, JobName), u32>,
    /// How many pods of a PodGroup must start together; none for one that says nothing.
    pub pod_groups: Map<GangRef, Option<u32>>,
    /// The pods of every gang.
    pub gangs: Map<GangRef, Arc<Members>>,
    /// The gangs of which some pods are bound and others wait.
    pub begun: Set<GangRef>,
    /// When the fabric import looked at the fabric; none where none has left a date.
    pub fabric: Option<LookedAt>,
    /// How many links of each leaf run at which rate, by what the import wrote on the nodes.
    pub leaf_rates: Map<Guid, Arc<LeafRates>>,
    /// Which nodes' affairs have changed, in which order.
    pub changes: Changes,
}

/// The pods of one gang.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Those that are bound and have not ended, with their nodes.
    pub bound: BTreeMap<PodUid, NodeName>,
    /// Those that wait.
    pub pending: BTreeSet<PodUid>,
    /// Those that have succeeded or failed and are still there to be seen.
    pub ended: BTreeSet<PodUid>,
    /// Those that have neither ended nor are being deleted, by name.
    pub staying: BTreeMap<PodUid, PodName>,
}

impl ClusterSnapshot {
    /// The networks of a profile, in the order of its rails: by number where one is set, then by the natural
    /// order of their names, then by namespace.
    #[must_use]
    pub fn profile(&self, profile: &ProfileName) -> Vec<Arc<Network>> {
        let mut networks: Vec<Arc<Network>> = self
            .networks
            .values()
            .filter(|network| network.profiles.contains(profile))
            .cloned()
            .collect();
        networks.sort_by(|a, b| {
            let rail = |network: &Network| {
                network
                    .reading
                    .as_ref()
                    .ok()
                    .and_then(|attachment| attachment.rail)
                    .unwrap_or(u32::MAX)
            };
            rail(a)
                .cmp(&rail(b))
                .then_with(|| super::names::natural_order(a.at.name.as_str(), b.at.name.as_str()))
                .then_with(|| a.at.namespace.cmp(&b.at.namespace))
        });
        networks
    }

    /// Forgets a bound pod and what it takes of its node; what the IPAM's records show for it stays as it is.
    pub(super) fn evict(&mut self, pod: &Pod) {
        let uid = &pod.at.uid;
        self.bound.remove_mut(uid);
        self.unallocated.remove_mut(uid);
        if let Phase::Bound(node) = &pod.phase {
            self.change_use(node, |used| used.take(&pod.takes));
        }
        if let Some(gang) = pod.gang_ref() {
            self.change_members(gang, |members| drop(members.bound.remove(uid)));
        }
    }

    /// Something more or less is taken of a node.
    pub fn change_use(&mut self, node: &NodeName, change: impl FnOnce(&mut Amounts)) {
        let used = self.used.get(node).map(AsRef::as_ref);
        let mut used = used.cloned().unwrap_or_default();
        change(&mut used);
        if used.is_empty() {
            self.used.remove_mut(node);
        } else {
            self.used.insert_mut(node.clone(), Arc::new(used));
        }
    }

    /// The pods of a gang have changed; without any it is gone.
    pub fn change_members(&mut self, gang: GangRef, change: impl FnOnce(&mut Members)) {
        let members = self.gangs.get(&gang).map(AsRef::as_ref);
        let mut members = members.cloned().unwrap_or_default();
        change(&mut members);
        if members.bound.is_empty() || members.pending.is_empty() {
            self.begun.remove_mut(&gang);
        } else {
            self.begun.insert_mut(gang.clone());
        }
        if members == Members::default() {
            self.gangs.remove_mut(&gang);
        } else {
            self.gangs.insert_mut(gang, Arc::new(members));
        }
    }

    /// The resources behind the networks: what a scheduler has to be told to ask the extender about.
    #[must_use]
    pub fn network_resources(&self) -> BTreeSet<ResourceName> {
        self.networks
            .values()
            .filter_map(|network| network.reading.as_ref().ok()?.resource.clone())
            .collect()
    }

    /// The pools of a family that a wildcard matches, in order of name. A wildcard is for SpiderIPPools; one that stands
    /// for a subnet is named by us alone.
    pub fn pools_matching<'a, 'p>(
        &'a self,
        pattern: &'p Pattern,
        family: Family,
    ) -> impl Iterator<Item = &'a Arc<Pool>> + use<'a, 'p> {
        // Pools are in order of name, so that those with the pattern's prefix stand together.
        let from_prefix = (Bound::Included(pattern.prefix()), Bound::Unbounded);
        self.pools
            .range::<str, _>(from_prefix)
            .take_while(move |(name, _)| name.as_str().starts_with(pattern.prefix()))
            .filter(move |(name, pool)| {
                let same_family = pool.reading.as_ref().is_ok_and(|facts| facts.family == family);
                same_family && !name.is_of_subnet() && pattern.matches(name.as_str())
            })
            .map(|(_, pool)| pool)
    }

    /// Every profile that some network belongs to, in order.
    #[must_use]
    pub fn profiles(&self) -> BTreeSet<ProfileName> {
        self.networks
            .values()
            .flat_map(|network| network.profiles.iter().cloned())
            .collect()
    }
}
