//! Where a pod can go: for each candidate node, whether it fits and with what, or why not.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::claim::{Claim, VfNeed};
use super::cluster::{ClusterSnapshot, Map};
use super::names::{InterfaceName, NodeName, PodUid, PoolName, ResourceName};
use super::node::{Node, RdmaMode, SriovFacts, Sync};
use super::pod::{Phase, Pod};
use super::reason::{EmptyPools, Refusal, Shortage};
use super::settings::{NodeStatePolicy, Settings};
use super::supply::{Exhausted, PoolSet, Promised};

/// What has been promised and does not show in the snapshot: holds (filter said yes, not bound) and
/// reservations (bound by us, not yet seen).
pub type Commitments = Map<PodUid, Arc<Commitment>>;

/// One promise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commitment {
    /// The node it is for, where that is settled.
    pub node: Option<NodeName>,
    /// VFs on that node.
    pub vfs: BTreeMap<ResourceName, u32>,
    /// Addresses, each out of one of these sets of pools.
    pub pools: Vec<PoolSet>,
}

/// What is decided about one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The pod fits.
    Fits(Fit),
    /// It does not.
    Refused(Refusal),
}

/// How a pod fits on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// For each address it will need, the interface and the pools it can come from there.
    pub pools: Vec<(InterfaceName, PoolSet)>,
    /// 0 to 10, 10 the best: how full the node's rails are once the pod is there, so that whole nodes stay free.
    pub score: u8,
}

/// Decides about one pod, node by node; what is the same for all nodes is worked out once.
#[derive(Debug)]
pub struct Placement<'a> {
    claim: &'a Claim,
    snapshot: &'a ClusterSnapshot,
    settings: &'a Settings,
    promised: Promised,
    reserved: BTreeMap<&'a NodeName, BTreeMap<&'a ResourceName, u32>>,
    /// Some pool is tied to nodes, so that the pools' answer differs between them.
    tied: bool,
    /// The pools' answer for all nodes, where none is.
    everywhere: Option<Result<(), Refusal>>,
}

impl<'a> Placement<'a> {
    /// Prepares to decide about the pod of `claim`; its own promises do not stand in its way.
    #[must_use]
    pub fn new(
        claim: &'a Claim,
        snapshot: &'a ClusterSnapshot,
        commitments: &'a Commitments,
        settings: &'a Settings,
    ) -> Self {
        let own = &claim.pod.uid;
        let unseen = || {
            commitments
                .iter()
                .filter(move |(uid, _)| *uid != own && snapshot.bound.get(*uid).is_none())
                .map(|(_, commitment)| commitment)
        };
        let mut promised = Promised::default();
        for (uid, pod) in &snapshot.unallocated {
            if let (true, Phase::Bound(node)) = (uid != own, &pod.phase) {
                for set in unfetched(pod, node, snapshot, settings) {
                    promised.add(&set);
                }
            }
        }
        let mut reserved: BTreeMap<&NodeName, BTreeMap<&ResourceName, u32>> = BTreeMap::new();
        for commitment in unseen() {
            for set in &commitment.pools {
                promised.add(set);
            }
            if let Some(node) = &commitment.node {
                for (resource, count) in &commitment.vfs {
                    let sum = reserved.entry(node).or_default().entry(resource).or_insert(0);
                    *sum = sum.saturating_add(*count);
                }
            }
        }
        let tied = claim.demands.iter().any(super::claim::Demand::differs_by_node);
        Self {
            claim,
            snapshot,
            settings,
            promised,
            reserved,
            tied,
            everywhere: None,
        }
    }

    /// Whether the pod fits on this node.
    pub fn on(&mut self, name: &NodeName) -> Verdict {
        self.fit(name).map_or_else(Verdict::Refused, Verdict::Fits)
    }

    fn fit(&mut self, name: &NodeName) -> Result<Fit, Refusal> {
        let node = self
            .snapshot
            .nodes
            .get(name)
            .ok_or_else(|| Refusal::NodeUnknown(name.clone()))?;
        let score = self.vfs(node)?;
        let pools = pools_on(self.claim, node)?;
        if self.tied {
            addresses(&pools, &self.promised, self.snapshot)?;
        } else {
            let answer = || addresses(&pools, &self.promised, self.snapshot);
            self.everywhere.get_or_insert_with(answer).clone()?;
        }
        Ok(Fit { pools, score })
    }
}

/// Decides about `nodes`, one after the other, in the order given.
#[must_use]
pub fn place<'a>(
    claim: &Claim,
    nodes: impl IntoIterator<Item = &'a NodeName>,
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
) -> Vec<(NodeName, Verdict)> {
    let mut placement = Placement::new(claim, snapshot, commitments, settings);
    nodes
        .into_iter()
        .map(|name| (name.clone(), placement.on(name)))
        .collect()
}

/// The addresses of `pod`, bound to `node`, that Spiderpool's records do not show yet: each by the pools it can
/// come from. A pod whose claim cannot be worked out gets no address, so it is waited for in vain.
#[must_use]
pub fn unfetched(
    pod: &Pod,
    node: &NodeName,
    snapshot: &ClusterSnapshot,
    settings: &Settings,
) -> Vec<PoolSet> {
    let Ok(claim) = super::claim::claim(pod, snapshot, settings) else {
        return Vec::new();
    };
    let mut records: BTreeMap<PoolName, u32> = BTreeMap::new();
    for pool in claim.demands.iter().flat_map(|demand| &demand.candidates) {
        if let Some(held) = pool
            .reading
            .as_ref()
            .ok()
            .and_then(|facts| facts.holders.get(&pod.at.uid))
        {
            records.insert(pool.name.clone(), *held);
        }
    }
    let mut sets = Vec::new();
    for demand in &claim.demands {
        let mut fetched = false;
        for pool in &demand.candidates {
            if let Some(left) = records.get_mut(&pool.name).filter(|left| **left > 0) {
                *left -= 1;
                fetched = true;
                break;
            }
        }
        if !fetched {
            // A node that is gone cannot say which pools are its own; all of them are the cautious answer.
            sets.push(snapshot.nodes.get(node).map_or_else(
                || demand.candidates.iter().map(|pool| pool.name.clone()).collect(),
                |node| demand.on(node),
            ));
        }
    }
    sets
}

/// The promise that goes with a fit on `node`.
#[must_use]
pub fn commitment(claim: &Claim, node: &NodeName, fit: &Fit) -> Commitment {
    Commitment {
        node: Some(node.clone()),
        vfs: claim
            .vfs
            .iter()
            .map(|(resource, need)| (resource.clone(), need.count))
            .collect(),
        pools: fit.pools.iter().map(|(_, set)| set.clone()).collect(),
    }
}

/// The hold that goes with a filter's answer: what the pod will take wherever it goes. An address that comes from
/// other pools on other nodes is not held: which ones is settled at bind, where all is checked again.
#[must_use]
pub fn hold(claim: &Claim, verdicts: &[(NodeName, Verdict)]) -> Option<Commitment> {
    let fits: Vec<(&NodeName, &Fit)> = verdicts
        .iter()
        .filter_map(|(node, verdict)| match verdict {
            Verdict::Fits(fit) => Some((node, fit)),
            Verdict::Refused(_) => None,
        })
        .collect();
    match fits.as_slice() {
        [] => None,
        [(node, fit)] => Some(commitment(claim, node, fit)),
        [(_, first), rest @ ..] => {
            let everywhere = |index: usize, set: &PoolSet| {
                rest.iter()
                    .all(|(_, fit)| fit.pools.get(index).is_some_and(|(_, other)| other == set))
            };
            let pools = first
                .pools
                .iter()
                .enumerate()
                .filter(|(index, (_, set))| everywhere(*index, set))
                .map(|(_, (_, set))| set.clone())
                .collect();
            Some(Commitment {
                node: None,
                vfs: BTreeMap::new(),
                pools,
            })
        }
    }
}

impl Placement<'_> {
    /// Whether the node's VFs serve the claim; the score when they do.
    fn vfs(&self, node: &Node) -> Result<u8, Refusal> {
        let facts = fitness(self.claim, node, self.snapshot, self.settings)?;
        let used = self.snapshot.used.get(&node.name);
        let reserved = self.reserved.get(&node.name);
        let (mut in_use, mut offered) = (0_u32, 0_u32);
        for (resource, need) in &self.claim.vfs {
            let seen = used.and_then(|used| used.get(resource)).copied().unwrap_or(0);
            let unseen = reserved
                .and_then(|reserved| reserved.get(resource))
                .copied()
                .unwrap_or(0);
            let shortage = Shortage {
                resource: resource.clone(),
                wanted: need.count,
                allocatable: node.allocatable.get(resource).copied().unwrap_or(0),
                taken: seen.saturating_add(unseen),
                unfit: facts.map_or(0, |facts| unfit(facts, resource, need)),
            };
            let left = shortage.allocatable.saturating_sub(shortage.taken);
            if left.saturating_sub(shortage.unfit) < need.count {
                let fault = facts
                    .filter(|_| left >= need.count)
                    .and_then(|facts| worst_fault(facts, resource, need));
                return Err(match fault {
                    Some(fault) => Refusal::Unfit(fault, shortage),
                    None => Refusal::TooFewVfs(shortage),
                });
            }
            in_use = in_use.saturating_add(need.count).saturating_add(shortage.taken);
            offered = offered.saturating_add(shortage.allocatable);
        }
        Ok(packing(in_use, offered))
    }
}

/// Tenths of the offered VFs that are in use.
fn packing(used: u32, offered: u32) -> u8 {
    let tenths = u64::from(used) * 10 / u64::from(offered.max(1));
    u8::try_from(tenths.min(10)).unwrap_or(10)
}

/// Whether the node as such is fit; what the SR-IOV operator says of its PFs, where it says something.
fn fitness<'a>(
    claim: &Claim,
    node: &Node,
    snapshot: &'a ClusterSnapshot,
    settings: &Settings,
) -> Result<Option<&'a SriovFacts>, Refusal> {
    if claim.vfs.is_empty() {
        return Ok(None);
    }
    if node.drain_requested {
        return Err(Refusal::Draining(
            "Drain_Required or Reboot_Required (node annotation)".to_owned(),
        ));
    }
    let strict = match settings.node_state {
        NodeStatePolicy::Require => true,
        NodeStatePolicy::Trust => false,
        NodeStatePolicy::Auto => !snapshot.sriov.is_empty(),
    };
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
    if let Some(phase) = &facts.drain {
        return Err(Refusal::Draining(phase.clone()));
    }
    if let Sync::Other(status) = &facts.sync {
        return Err(Refusal::NotInSync(status.clone()));
    }
    if let Some(network) = &claim.exclusive {
        let exclusive = match facts.rdma {
            RdmaMode::Exclusive => true,
            RdmaMode::Shared => false,
            RdmaMode::Unknown => !strict,
        };
        if !exclusive {
            return Err(Refusal::NotExclusive(network.clone()));
        }
        let shared = node.allocatable.iter().find(|(resource, count)| {
            **count > 0
                && settings
                    .shared_rdma_prefixes
                    .iter()
                    .any(|prefix| resource.as_str().starts_with(prefix))
        });
        if let Some((resource, _)) = shared {
            return Err(Refusal::SharedPlugin(resource.clone()));
        }
    }
    Ok(Some(facts))
}

/// VFs of the resource behind PFs with a fault that matters to the need.
fn unfit(facts: &SriovFacts, resource: &ResourceName, need: &VfNeed) -> u32 {
    facts
        .groups
        .iter()
        .filter(|group| group.serves(resource))
        .filter(|group| group.faults.iter().any(|fault| need.hindered_by(*fault)))
        .fold(0, |sum, group| sum.saturating_add(group.vfs))
}

fn worst_fault(facts: &SriovFacts, resource: &ResourceName, need: &VfNeed) -> Option<super::node::PfFault> {
    facts
        .groups
        .iter()
        .filter(|group| group.serves(resource))
        .flat_map(|group| &group.faults)
        .copied()
        .filter(|fault| need.hindered_by(*fault))
        .min()
}

/// For each address, the pools it can come from on this node.
fn pools_on(claim: &Claim, node: &Node) -> Result<Vec<(InterfaceName, PoolSet)>, Refusal> {
    let mut sole: BTreeMap<PoolName, &InterfaceName> = BTreeMap::new();
    let mut pools = Vec::with_capacity(claim.demands.len());
    for demand in &claim.demands {
        let set = demand.on(node);
        match set.as_slice() {
            [] => {
                let elsewhere = demand.candidates.iter().map(|pool| pool.name.clone()).collect();
                return Err(Refusal::PoolNotForNode(demand.interface.clone(), elsewhere));
            }
            // Spiderpool gives a pod that holds an address of a pool the same one again, whatever the interface.
            [only] => {
                if let Some(other) = sole.insert(only.clone(), &demand.interface) {
                    return Err(Refusal::SameAddress(
                        other.clone(),
                        demand.interface.clone(),
                        only.clone(),
                    ));
                }
            }
            _ => {}
        }
        pools.push((demand.interface.clone(), set));
    }
    Ok(pools)
}

fn addresses(
    pools: &[(InterfaceName, PoolSet)],
    promised: &Promised,
    snapshot: &ClusterSnapshot,
) -> Result<(), Refusal> {
    let sets: Vec<PoolSet> = pools.iter().map(|(_, set)| set.clone()).collect();
    promised.with(&sets, snapshot).map_err(
        |Exhausted {
             wanted,
             free,
             promised,
         }| {
            let (interface, set) = pools
                .get(wanted)
                .cloned()
                .unwrap_or_else(|| ("".into(), Vec::new()));
            Refusal::PoolEmpty(EmptyPools {
                interface,
                pools: set,
                free,
                promised,
            })
        },
    )
}
