//! Where a whole gang goes: the domain of the fabric in which all pods that are still to come have room, chosen at
//! the gang's first pod and kept by the pods already placed.
//!
//! Room is counted in slots (pods of this shape a node can take beside each other, by every resource they request)
//! and in addresses (what the pools can promise to all of them at once).

mod rooms;

pub use self::rooms::{Room, Site, best_fit, nodes_of, places_with, room_at, roomiest, rooms, sites, widest};

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::claim::{Claim, GangClaim};
use super::cluster::{ClusterSnapshot, Members};
use super::commitment::{Commitments, GangHold, Place};
use super::names::{NodeName, PodUid};
use super::placement::{Counting, Placement};
use super::pod::Pod;
use super::policy::Locality;
use super::roster::Roster;
use super::settings::Settings;
use super::tier::{Domain, Tiers};

/// What is known of a gang when one of its pods asks for a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The nodes of pods that are bound, or reserved for.
    pub placed: Vec<NodeName>,
    /// Which pods those are.
    pub members: BTreeSet<PodUid>,
    /// How many pods are still to come, the one that asks included.
    pub need: u32,
    /// The size is not known: pods are placed one by one.
    pub one_by_one: bool,
}

/// What is known of the gang of `claim`.
///
/// A pod that has ended is not waited for again; one that was replaced shows as waiting. So what is still to come is
/// what the size leaves open, and at least the pods that wait.
#[must_use]
pub fn standing(
    claim: &Claim,
    gang: &GangClaim,
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
) -> Standing {
    let nobody = Members::default();
    let members = snapshot.gangs.get(&gang.at).map_or(&nobody, |members| members);
    let others = members.pending.iter().filter(|uid| **uid != claim.pod.uid);
    let promised: BTreeMap<&PodUid, NodeName> = others
        .filter_map(|uid| Some((uid, commitments.node_of(uid)?.clone())))
        .collect();
    let waiting = members
        .pending
        .iter()
        .filter(|uid| **uid != claim.pod.uid && !promised.contains_key(uid))
        .count()
        + 1;
    let done = members.bound.len() + promised.len() + members.ended.len();
    let open = gang.size.map_or(0, |size| size.saturating_sub(count(done)));
    let placed_members = members
        .bound
        .keys()
        .chain(promised.keys().copied())
        .cloned()
        .collect();
    let placed = members
        .bound
        .values()
        .cloned()
        .chain(promised.into_values())
        .collect();
    Standing {
        placed,
        members: placed_members,
        need: if gang.size.is_some() {
            open.max(count(waiting))
        } else {
            1
        },
        one_by_one: gang.size.is_none(),
    }
}

/// The domain of this level that pods of the gang are in already: the one most of them are in.
#[must_use]
pub fn settled(
    standing: &Standing,
    level: usize,
    tiers: &Tiers,
    snapshot: &ClusterSnapshot,
) -> Option<Domain> {
    // The last of equals by order of name, whichever way it is asked.
    settlements(standing, level, tiers, snapshot)
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .map(|(domain, _)| domain)
}

/// How many pods of the gang are in each domain of this level.
#[must_use]
pub fn settlements(
    standing: &Standing,
    level: usize,
    tiers: &Tiers,
    snapshot: &ClusterSnapshot,
) -> BTreeMap<Domain, u32> {
    let mut counts: BTreeMap<Domain, u32> = BTreeMap::new();
    for name in &standing.placed {
        let domain = snapshot
            .nodes
            .get(name)
            .and_then(|node| tiers.domain(level, &node.labels));
        if let Some(domain) = domain {
            *counts.entry(domain).or_insert(0) += 1;
        }
    }
    counts
}

/// The fewest domains of the closest tier that could hold the gang of `pod` as things stand; 0 where no tier is known
/// or not even all of them could.
#[must_use]
pub fn fewest_domains(
    pod: &Pod,
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
) -> usize {
    let Ok(claim) = super::claim::claim(pod, snapshot, settings) else {
        return 0;
    };
    let Some(size) = claim.gang.as_ref().and_then(|gang| gang.size) else {
        return 0;
    };
    let placement = Placement::new(&claim, snapshot, commitments, settings, Counting::Firm);
    let roster = Roster::of(snapshot, settings);
    let mut slots: Vec<u32> = sites(0, &roster, &placement, |_| true)
        .iter()
        .map(|site| site.slots)
        .collect();
    slots.sort_unstable_by_key(|slots| Reverse(*slots));
    let mut left = size;
    for (taken, slots) in slots.iter().enumerate() {
        left = left.saturating_sub(*slots);
        if left == 0 {
            return taken + 1;
        }
    }
    0
}

/// The hold for a gang's places, of which `settled` need none.
#[must_use]
pub fn hold<'a>(
    claim: &Claim,
    gang: &GangClaim,
    places: Vec<Place>,
    settled: impl IntoIterator<Item = &'a PodUid>,
) -> GangHold {
    GangHold {
        soft: !matches!(gang.locality, Locality::Required(_)),
        takes: claim.takes.clone(),
        places,
        placed: settled.into_iter().cloned().collect(),
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
