//! Addresses that pods were promised and that Spiderpool's records do not show yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::decide::claim::{Claim, claim};
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::names::{NodeName, PodUid, PoolName};
use crate::decide::pod::Pod;
use crate::decide::reason::Refusal;
use crate::decide::settings::Settings;
use crate::decide::supply::PoolSet;

/// The addresses of `pod`, bound to `node`, that Spiderpool's records do not show yet: each by the pools it can
/// come from. A pod whose claim cannot be worked out gets no address, so it is waited for in vain.
#[must_use]
pub fn unfetched(
    pod: &Pod,
    node: &NodeName,
    snapshot: &ClusterSnapshot,
    settings: &Settings,
) -> Arc<[PoolSet]> {
    let known = snapshot.unfetched.get(&pod.at.uid).cloned();
    known.unwrap_or_else(|| unfetched_of(claim(pod, snapshot, settings), node, snapshot).into())
}

/// The same, worked out from the pod's claim.
#[must_use]
pub fn unfetched_of(
    claim: Result<Claim, Refusal>,
    node: &NodeName,
    snapshot: &ClusterSnapshot,
) -> Vec<PoolSet> {
    let Ok(claim) = claim else {
        return Vec::new();
    };
    let candidates = claim.demands.iter().flat_map(|demand| &demand.candidates);
    let mut held = Held::of(&claim.pod.uid, candidates.map(|pool| &pool.name), snapshot);
    let missing: Vec<_> = claim
        .demands
        .iter()
        .filter(|demand| !held.take(demand.candidates.iter().map(|pool| &pool.name)))
        .collect();
    // What it has out of pools that nothing names for it any more it was given when they were, the first interface before
    // the next: it runs, and fetches no other.
    let kept: BTreeSet<&PoolName> = claim.kept.iter().map(|(_, pool)| &pool.name).collect();
    let elsewhere = held.elsewhere(&claim.pod.uid, &kept, snapshot);
    let missing = missing.into_iter().skip(elsewhere);
    // A node that is gone cannot say which pools are its own; all of them are the cautious answer.
    let pools = missing.map(|demand| {
        snapshot.nodes.get(node).map_or_else(
            || demand.candidates.iter().map(|pool| pool.name.clone()).collect(),
            |node| demand.on(node),
        )
    });
    pools.collect()
}

/// Of the addresses promised to a pod, those that the records do not show for it.
pub(super) fn not_yet_held<'p>(
    promised: &'p [PoolSet],
    uid: &PodUid,
    snapshot: &ClusterSnapshot,
) -> impl Iterator<Item = &'p PoolSet> {
    let mut held = Held::of(uid, promised.iter().flatten(), snapshot);
    promised.iter().filter(move |set| !held.take(set.iter()))
}

/// How many addresses of each pool the records show for a pod. The pools are asked as they are now: a claim that was kept
/// has those of before.
struct Held<'n> {
    pools: BTreeMap<&'n PoolName, u32>,
}

impl<'n> Held<'n> {
    fn of(uid: &PodUid, pools: impl Iterator<Item = &'n PoolName>, snapshot: &ClusterSnapshot) -> Self {
        // The index says at once of nearly all pods that they hold nothing; a snapshot without it says it of none.
        if !snapshot.holding.is_empty() && !snapshot.holding.contains_key(uid) {
            return Self {
                pools: BTreeMap::new(),
            };
        }
        let held = pools.filter_map(|name| {
            let facts = snapshot.pools.get(name)?.reading.as_ref().ok()?;
            Some((name, *facts.holders.get(uid)?))
        });
        Self {
            pools: held.collect(),
        }
    }

    /// In how many other pools than these and those of `kept` the pod has an address.
    fn elsewhere(&self, uid: &PodUid, kept: &BTreeSet<&PoolName>, snapshot: &ClusterSnapshot) -> usize {
        let holds = |name: &PoolName| {
            let facts = snapshot.pools.get(name).map(|pool| &pool.reading);
            matches!(facts, Some(Ok(facts)) if facts.holders.contains_key(uid))
        };
        let known = self.pools.keys().filter(|name| !name.is_of_subnet()).count()
            + kept
                .iter()
                .filter(|name| !self.pools.contains_key(**name) && holds(name))
                .count();
        let all = snapshot.holding.get(uid).copied().unwrap_or(0);
        usize::try_from(all).unwrap_or(0).saturating_sub(known)
    }

    /// Takes an address of one of these pools away, if there is one.
    fn take<'a>(&mut self, mut pools: impl Iterator<Item = &'a PoolName>) -> bool {
        pools.any(|name| match self.pools.get_mut(name) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        })
    }
}
