//! What one node would give a pod: VFs that are fit for use, slots beside each other, and pools that it may use there.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decide::amounts::{Amounts, ONE};
use crate::decide::claim::{Apart, Claim};
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::feeds::Feeds;
use crate::decide::fitness::{fitness, in_place, is_by_claims};
use crate::decide::links::{BadLink, BadLinks};
use crate::decide::names::{InterfaceName, PoolName, ResourceName};
use crate::decide::node::Node;
use crate::decide::pool::Pool;
use crate::decide::reason::{Refusal, Shortage};
use crate::decide::score::Load;
use crate::decide::settings::Settings;
use crate::decide::suits::suits;
use crate::decide::supply::PoolSet;

/// Which holds of other gangs count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// Only those that keep others out.
    Firm,
    /// Soft ones, too: for choosing a place, not for refusing one.
    All,
}

/// What a node would give.
#[derive(Debug)]
pub(in crate::decide) struct Standing {
    /// Whether its VFs serve the claim; how many are in use then, and what is doubtful about it.
    pub(in crate::decide) vfs: Result<(Load, Option<Box<BadLink>>), Arc<Refusal>>,
    /// Where the addresses would come from: the number of a [`Class`].
    pub(in crate::decide) pools: Result<usize, Arc<Refusal>>,
    /// Of the VFs that the claim asks for: in use, and offered.
    pub(in crate::decide) use_of: (u64, u64),
}

/// Nodes on which addresses come from the same pools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::decide) struct Class {
    /// For each address, the interface and the pools it can come from.
    pub(in crate::decide) pools: Arc<[(InterfaceName, PoolSet)]>,
    /// The same without the interfaces.
    pub(in crate::decide) sets: Arc<[PoolSet]>,
}

impl Class {
    pub(in crate::decide) fn of(pools: Vec<(InterfaceName, PoolSet)>) -> Self {
        Self {
            sets: sets_of(&pools).into(),
            pools: pools.into(),
        }
    }
}

/// The pools of each address, without the interfaces.
pub(in crate::decide) fn sets_of(pools: &[(InterfaceName, PoolSet)]) -> Vec<PoolSet> {
    pools.iter().map(|(_, set)| set.clone()).collect()
}

/// How many pods like this one fit on the node beside each other, by everything but addresses, with so much of it
/// promised to others.
pub(in crate::decide) fn slots(
    claim: &Claim,
    node: &Node,
    reserved: Option<&Amounts>,
    counting: Counting,
    modes_told: bool,
    snapshot: &ClusterSnapshot,
    settings: &Settings,
) -> u32 {
    if !suits(&claim.needs, node) {
        return 0;
    }
    let Ok(facts) = fitness(claim, node, snapshot, settings, modes_told) else {
        return 0;
    };
    let links = BadLinks::of(node, snapshot, settings);
    // By old data a place is chosen, and nobody refused.
    let heeded = !links.only_prefer() || counting == Counting::All;
    let unfit: Amounts = claim
        .vfs
        .iter()
        .map(|(resource, need)| {
            let feeds = Feeds {
                node,
                facts,
                resource,
                need,
            };
            let vfs = feeds.unfit(heeded.then_some(&links));
            (resource.clone(), u64::from(vfs).saturating_mul(ONE))
        })
        .filter(|(_, amount)| *amount > 0)
        .collect();
    let nothing = Amounts::default();
    let used = snapshot.used.get(&node.name).map_or(&nothing, |used| used);
    let reserved = reserved.unwrap_or(&nothing);
    let used = [used, reserved, &unfit];
    if snapshot.by_claims.is_empty() {
        return Amounts::times(&node.offers, &used, &claim.takes, u32::MAX);
    }
    let takes = claim
        .takes
        .without(|resource| is_by_claims(resource, node, snapshot));
    Amounts::times(&node.offers, &used, &takes, u32::MAX)
}

/// Whether the node's VFs serve the claim, with so much of it promised to others; how many are in use then, and what is
/// doubtful about it.
pub(in crate::decide) fn vfs(
    claim: &Claim,
    node: &Node,
    reserved: Option<&Amounts>,
    modes_told: bool,
    snapshot: &ClusterSnapshot,
    settings: &Settings,
) -> Result<(Load, Option<Box<BadLink>>), Refusal> {
    let facts = fitness(claim, node, snapshot, settings, modes_told)?;
    let used = snapshot.used.get(&node.name);
    let links = BadLinks::of(node, snapshot, settings);
    let heeded = (!links.only_prefer()).then_some(&links);
    let mut doubt = None;
    let mut load = Load {
        more: u32::MAX,
        ..Load::default()
    };
    for (resource, need) in &claim.vfs {
        if is_by_claims(resource, node, snapshot) {
            continue;
        }
        let seen = used.map_or(0, |used| used.count(resource));
        let unseen = reserved.map_or(0, |reserved| reserved.count(resource));
        let feeds = Feeds {
            node,
            facts,
            resource,
            need,
        };
        let shortage = Shortage {
            resource: resource.clone(),
            wanted: need.count,
            allocatable: node.offers.count(resource),
            taken: seen.saturating_add(unseen),
            unfit: feeds.unfit(heeded),
            in_place: facts.map(|facts| in_place(facts, resource)),
        };
        let left = shortage.allocatable.saturating_sub(shortage.taken);
        if left.saturating_sub(shortage.unfit) < need.count {
            return Err(if left < need.count {
                Refusal::TooFewVfs(shortage)
            } else if let Some(fault) = feeds.worst_fault() {
                Refusal::Unfit(fault, shortage)
            } else if let Some(link) = heeded.and_then(|links| feeds.worst_link(links)) {
                Refusal::Link(link, shortage)
            } else {
                Refusal::TooFewVfs(shortage)
            });
        }
        if heeded.is_none() && left.saturating_sub(feeds.unfit(Some(&links))) < need.count {
            doubt = doubt.or_else(|| feeds.worst_link(&links));
        }
        load.used = load
            .used
            .saturating_add(need.count)
            .saturating_add(shortage.taken);
        load.offered = load.offered.saturating_add(shortage.allocatable);
        let after = left.saturating_sub(shortage.unfit) - need.count;
        load.more = load.more.min(after / need.count.max(1));
    }
    Ok((load, doubt))
}

/// Of the VFs that the claim asks for, on a node: in use, and offered, in thousandths.
pub(in crate::decide) fn use_of(claim: &Claim, node: &Node, snapshot: &ClusterSnapshot) -> (u64, u64) {
    let taken = snapshot.used.get(&node.name);
    claim
        .vfs
        .keys()
        .map(ResourceName::as_str)
        .fold((0, 0), |(used, offered), resource| {
            let taken = taken.map_or(0, |taken| taken.of(resource));
            (
                used.saturating_add(taken),
                offered.saturating_add(node.offers.of(resource)),
            )
        })
}

/// For each address, the pools it can come from on this node.
pub(in crate::decide) fn pools_on(
    claim: &Claim,
    node: &Node,
) -> Result<Vec<(InterfaceName, PoolSet)>, Refusal> {
    let kept = claim.kept.iter();
    let mut seen: BTreeMap<PoolName, (&InterfaceName, Apart)> = kept
        .map(|(interface, pool)| (pool.name.clone(), (interface, Apart::Pools)))
        .collect();
    let mut pools: Vec<(InterfaceName, PoolSet)> = Vec::with_capacity(claim.demands.len());
    for demand in claim.demands.iter() {
        let set = demand.on(node);
        if set.is_empty() {
            let elsewhere = demand.candidates.iter().map(|pool| pool.name.clone()).collect();
            return Err(Refusal::PoolNotForNode(demand.interface.clone(), elsewhere));
        }
        let goes_with = |(_, other): &(_, PoolSet)| other.iter().all(|pool| set.contains(pool));
        if demand.apart == Apart::Nothing && pools.iter().any(goes_with) {
            continue;
        }
        // Pools made from a subnet are one for each interface.
        for pool in set.iter().filter(|pool| !pool.is_of_subnet()) {
            // Of several pools, the one that the pod has an address of is tried first or last, as it happens. Where PFs
            // are in subnets of their own, those keep the interfaces apart.
            let own = (&demand.interface, demand.apart);
            if let Some((other, apart)) = seen.insert(pool.clone(), own)
                && !([demand.apart, apart] == [Apart::Subnets; 2] && set.len() > 1)
            {
                return Err(Refusal::SameAddress(
                    other.clone(),
                    demand.interface.clone(),
                    pool.clone(),
                ));
            }
        }
        // An address that it holds already is found before any other of its only pool.
        let holds = |pool: &Arc<Pool>| {
            let facts = pool.reading.as_ref();
            set == [pool.name.clone()] && facts.is_ok_and(|facts| facts.holders.contains_key(&claim.pod.uid))
        };
        if demand.candidates.iter().any(holds) {
            continue;
        }
        pools.push((demand.interface.clone(), set));
    }
    Ok(pools)
}
