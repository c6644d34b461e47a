//! Addresses that pods were promised and that Spiderpool's records do not show yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decide::claim::{Claim, claim};
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::names::{NodeName, PodUid, PoolName};
use crate::decide::pod::Pod;
use crate::decide::pool::Pool;
use crate::decide::reason::Refusal;
use crate::decide::settings::Settings;
use crate::decide::supply::PoolSet;

/// Of the addresses promised to a pod, those that the pools' records do not show for it.
pub(super) fn not_yet_held(promised: &[PoolSet], uid: &PodUid, snapshot: &ClusterSnapshot) -> Vec<PoolSet> {
    let mut held: BTreeMap<&PoolName, u32> = BTreeMap::new();
    for name in promised.iter().flatten() {
        let facts = snapshot
            .pools
            .get(name)
            .and_then(|pool| pool.reading.as_ref().ok());
        if let Some(count) = facts.and_then(|facts| facts.holders.get(uid)) {
            held.insert(name, *count);
        }
    }
    let mut is_held = |set: &PoolSet| {
        let left = set
            .iter()
            .find(|name| held.get(name).is_some_and(|left| *left > 0));
        left.and_then(|name| held.get_mut(name))
            .map(|left| *left -= 1)
            .is_some()
    };
    promised.iter().filter(|set| !is_held(set)).cloned().collect()
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
    unfetched_of(claim(pod, snapshot, settings), node, snapshot)
}

/// The same of a pod whose claim was worked out already.
#[must_use]
pub fn unfetched_of(
    claim: Result<Claim, Refusal>,
    node: &NodeName,
    snapshot: &ClusterSnapshot,
) -> Vec<PoolSet> {
    let Ok(claim) = claim else {
        return Vec::new();
    };
    // Who has an address is asked of the pools as they are now: a claim that was kept has those of before.
    let now = |pool: &Arc<Pool>| snapshot.pools.get(&pool.name).cloned();
    let mut records: BTreeMap<PoolName, u32> = BTreeMap::new();
    if snapshot.holding.is_empty() || snapshot.holding.contains_key(&claim.pod.uid) {
        let candidates = claim.demands.iter().flat_map(|demand| &demand.candidates);
        for pool in candidates.filter_map(now) {
            let facts = pool.reading.as_ref().ok();
            if let Some(held) = facts.and_then(|facts| facts.holders.get(&claim.pod.uid)) {
                records.insert(pool.name.clone(), *held);
            }
        }
    }
    let mut sets = Vec::new();
    for demand in claim.demands.iter() {
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
