//! Why a pod waits, or sits where it sits; and the smallest change that would let it run.
//!
//! Nothing is judged here that the decision has not judged: what it says of every node is counted by reason, the
//! claim, the pools and the gang's room behind it are laid open, and changes are tried by deciding again.

mod change;
mod hurdle;
mod mend;
mod search;
#[cfg(test)]
mod tests;

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::change::{Change, Opening};
pub use self::hurdle::{Hurdle, InTree, ShortOf};
pub use self::search::Way;

use super::address::Family;
use super::claim::{Claim, claim};
use super::cluster::ClusterSnapshot;
use super::commitment::{Commitments, Place};
use super::decision::rank;
use super::gang;
use super::links::is_stale;
use super::names::{GangRef, InterfaceName, NodeName, PodRef, PoolName};
use super::placement::{Counting, Placement, Verdict};
use super::pod::{Phase, Pod};
use super::policy::Locality;
use super::reason::Refusal;
use super::roster::Roster;
use super::score::Score;
use super::settings::Settings;
use super::tier::Domain;

/// Why a pod is where it is, or why it waits.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The pod.
    pub pod: PodRef,
    /// How it stands.
    pub standing: Standing,
    /// What it needs; none where that cannot be worked out, which is then among the reasons.
    pub claim: Option<Claim>,
    /// For each address it needs, where it can come from.
    pub rails: Vec<Rail>,
    /// Its gang.
    pub gang: Option<GangStanding>,
    /// Nodes it fits on, the best first, with their scores; for a bound pod as if it were still to be placed.
    pub fits: Vec<(NodeName, Score)>,
    /// What keeps it from the others, the most nodes first.
    pub against: Vec<Against>,
    /// How old the fabric data is, where it is too old to refuse by.
    pub old_fabric: Option<Duration>,
    /// What would let it run, the smallest first, of different kinds; nothing for a pod that runs or fits.
    pub ways: Vec<Way>,
}

/// How a pod stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is bound to this node.
    Bound(NodeName),
    /// It is not bound, and would fit.
    WouldFit,
    /// It is not bound, and fits nowhere.
    Waits,
    /// It has succeeded or failed.
    Ended,
}

/// One reason against some nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Against {
    /// What it is, on one of them.
    pub hurdle: Hurdle,
    /// How many nodes; none for a reason that is not about nodes where there are none.
    pub nodes: usize,
    /// The first of them by name.
    pub examples: Vec<NodeName>,
}

/// One address the pod needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rail {
    /// The interface.
    pub interface: InterfaceName,
    /// The family of the address.
    pub family: Family,
    /// The pools it may come from on some node.
    pub pools: Vec<PoolStanding>,
}

/// How much a pool has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolStanding {
    /// Which.
    pub name: PoolName,
    /// Addresses free by the IPAM's records.
    pub free: u64,
    /// Addresses in all.
    pub size: u64,
    /// Addresses that others were promised and have not fetched, from this pool or another.
    pub promised: u64,
}

/// How the pod's gang stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GangStanding {
    /// Which.
    pub at: GangRef,
    /// How many pods it has, where that is known.
    pub size: Option<u32>,
    /// Where it may run.
    pub locality: Locality,
    /// The nodes of its pods that are placed, once for each pod.
    pub placed: Vec<NodeName>,
    /// How many are still to come, this one included.
    pub need: u32,
    /// Places held for them.
    pub held: Vec<Place>,
    /// What each domain can take of them, tier by tier, the closest first.
    pub rooms: Vec<DomainRoom>,
}

/// What a domain can take of a gang.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainRoom {
    /// The label key of its tier.
    pub tier: String,
    /// Which.
    pub domain: Domain,
    /// How many nodes it has.
    pub nodes: usize,
    /// How many of the gang's pods fit by everything but addresses.
    pub slots: u32,
    /// How many of those that are still to come have room, addresses counted.
    pub takes: u32,
    /// Pods of the gang are in it already, more than in any other.
    pub settled: bool,
    /// What keeps the pod from its nodes, with how many nodes each.
    pub against: BTreeMap<String, usize>,
}

/// Nodes named for each reason.
const EXAMPLES: usize = 3;

/// Explains `pod` by what is known and promised.
#[must_use]
pub fn explain(
    pod: &Pod,
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
) -> Explanation {
    let (snapshot, asking) = change::unbound(snapshot, pod);
    let claim = claim(&asking, &snapshot, settings);
    let mut explanation = Explanation {
        pod: pod.at.clone(),
        standing: Standing::Waits,
        claim: None,
        rails: Vec::new(),
        gang: None,
        fits: Vec::new(),
        against: Vec::new(),
        old_fabric: None,
        ways: Vec::new(),
    };
    let (fits, hurdles) = match &claim {
        Ok(claim) => decided(claim, &asking, &snapshot, commitments, settings),
        Err(refusal) => (Vec::new(), everywhere(refusal, &snapshot)),
    };
    if let Ok(claim) = claim {
        explanation.rails = rails(&claim, &snapshot, commitments, settings);
        explanation.gang = gang_standing(&claim, &hurdles, &snapshot, commitments, settings);
        explanation.against = tally(&hurdles);
        explanation.old_fabric = snapshot
            .fabric
            .filter(|_| !claim.vfs.is_empty() && is_stale(&snapshot, settings))
            .map(|fabric| fabric.age);
        explanation.claim = Some(claim);
    } else {
        explanation.against = tally(&hurdles);
        if let (true, Err(refusal)) = (explanation.against.is_empty(), claim) {
            explanation.against.push(Against {
                hurdle: Hurdle::Ours(refusal),
                nodes: 0,
                examples: Vec::new(),
            });
        }
    }
    explanation.standing = match &pod.phase {
        Phase::Bound(node) => Standing::Bound(node.clone()),
        Phase::Ended => Standing::Ended,
        Phase::Pending { .. } if fits.is_empty() => Standing::Waits,
        Phase::Pending { .. } => Standing::WouldFit,
    };
    explanation.fits = fits;
    if explanation.standing == Standing::Waits {
        explanation.ways = search::ways(pod, &snapshot, commitments, settings);
    }
    explanation
}

/// Why nodes are refused to a pod, counted by reason, without looking for what would help.
#[must_use]
pub fn refusals(
    pod: &Pod,
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
) -> Vec<Against> {
    match claim(pod, snapshot, settings) {
        Ok(claim) => tally(&decided(&claim, pod, snapshot, commitments, settings).1),
        Err(refusal) => tally(&everywhere(&refusal, snapshot)),
    }
}

type Hurdles = Vec<(NodeName, Hurdle)>;

/// The nodes that fit, best first, and what is against the others, in order of their names.
fn decided(
    claim: &Claim,
    pod: &Pod,
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
) -> (Vec<(NodeName, Score)>, Hurdles) {
    let mut hurdles: Hurdles = Vec::new();
    let mut candidates = Vec::new();
    for node in snapshot.nodes.values() {
        match hurdle::in_tree(claim, node, snapshot) {
            Some(found) => hurdles.push((node.name.clone(), Hurdle::Kubernetes(found))),
            None => candidates.push(node.name.clone()),
        }
    }
    let mut fits = Vec::new();
    let decision = rank(pod, &candidates, snapshot, commitments, settings);
    for (name, verdict) in decision.verdicts {
        match verdict {
            Verdict::Fits(fit) => fits.push((name, fit.score.unwrap_or_default())),
            Verdict::Refused(refusal) => hurdles.push((name, Hurdle::Ours(Arc::unwrap_or_clone(refusal)))),
        }
    }
    fits.sort_by(|a, b| (b.1.total(), &a.0).cmp(&(a.1.total(), &b.0)));
    hurdles.sort_by(|a, b| a.0.cmp(&b.0));
    (fits, hurdles)
}

fn everywhere(refusal: &Refusal, snapshot: &ClusterSnapshot) -> Hurdles {
    let nodes = snapshot.nodes.keys();
    nodes
        .map(|name| (name.clone(), Hurdle::Ours(refusal.clone())))
        .collect()
}

fn tally(hurdles: &Hurdles) -> Vec<Against> {
    let mut by_text: BTreeMap<String, Against> = BTreeMap::new();
    for (name, hurdle) in hurdles {
        let against = by_text.entry(hurdle.text()).or_insert_with(|| Against {
            hurdle: hurdle.clone(),
            nodes: 0,
            examples: Vec::new(),
        });
        against.nodes += 1;
        if against.examples.len() < EXAMPLES {
            against.examples.push(name.clone());
        }
    }
    let mut all: Vec<Against> = by_text.into_values().collect();
    all.sort_by_key(|against| core::cmp::Reverse(against.nodes));
    all
}

fn rails(
    claim: &Claim,
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
) -> Vec<Rail> {
    let placement = Placement::new(claim, snapshot, commitments, settings, Counting::Firm);
    claim
        .demands
        .iter()
        .map(|demand| Rail {
            interface: demand.interface.clone(),
            family: demand.family,
            pools: demand
                .candidates
                .iter()
                .filter_map(|pool| {
                    let facts = pool.reading.as_ref().ok()?;
                    Some(PoolStanding {
                        name: pool.name.clone(),
                        free: facts.free,
                        size: facts.size,
                        promised: placement.promised().on(&pool.name),
                    })
                })
                .collect(),
        })
        .collect()
}

fn gang_standing(
    claim: &Claim,
    hurdles: &Hurdles,
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
) -> Option<GangStanding> {
    let gang = claim.gang.as_ref()?;
    let standing = gang::standing(claim, gang, snapshot, commitments);
    let roster = Roster::of(snapshot, settings);
    let tiers = roster.tiers();
    let placement = Placement::new(claim, snapshot, commitments, settings, Counting::Firm);
    let held = commitments
        .gangs
        .get(&gang.at)
        .map_or_else(Vec::new, |hold| hold.places.clone());
    let mut rooms = Vec::new();
    for level in 0..tiers.count() {
        let settled = gang::settled(&standing, level, tiers, snapshot);
        let mut against: BTreeMap<Domain, BTreeMap<String, usize>> = BTreeMap::new();
        for (name, hurdle) in hurdles {
            let labels = snapshot.nodes.get(name).map(|node| &node.labels);
            if let Some(domain) = labels.and_then(|labels| tiers.domain(level, labels)) {
                let counts = against.entry(domain).or_default();
                *counts.entry(hurdle.text()).or_insert(0) += 1;
            }
        }
        for room in gang::rooms(&standing, level, &roster, &placement) {
            rooms.push(DomainRoom {
                tier: tiers.key(level).unwrap_or_default().to_owned(),
                nodes: gang::nodes_of(&room.domain, level, &roster).len(),
                slots: room.slots,
                takes: room.takes(),
                settled: settled.as_ref() == Some(&room.domain),
                against: against.remove(&room.domain).unwrap_or_default(),
                domain: room.domain,
            });
        }
    }
    Some(GangStanding {
        at: gang.at.clone(),
        size: gang.size,
        locality: gang.locality.clone(),
        placed: standing.placed,
        need: standing.need,
        held,
        rooms,
    })
}
