//! Where a whole gang goes: the domain of the fabric in which all pods that are still to come have room, chosen at
//! the gang's first pod and kept by the pods already placed.
//!
//! Room is counted in slots (pods of this shape a node can take beside each other, by every resource they request)
//! and in addresses (what the pools can promise to all of them at once).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::claim::{Claim, GangClaim};
use super::cluster::{ClusterSnapshot, Members};
use super::commitment::{Commitments, GangHold, Place};
use super::names::{NodeName, PodUid};
use super::node::Node;
use super::placement::{Counting, Placement};
use super::pod::Pod;
use super::policy::Locality;
use super::settings::Settings;
use super::supply::{PoolSet, Promised};
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

/// A domain, with what it can take of the gang.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// The domain.
    pub domain: Domain,
    /// The places for as many of the needed pods as it can take.
    pub places: Vec<Place>,
    /// How many pods it can take by everything but addresses: best fit leaves the largest domains whole.
    pub slots: u32,
    /// Over how many of the closest domains the places are spread.
    pub spans: u32,
}

impl Room {
    /// How many of the needed pods it takes.
    #[must_use]
    pub fn takes(&self) -> u32 {
        self.places
            .iter()
            .fold(0, |sum, place| sum.saturating_add(place.pods))
    }
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
    let reserved = |uid: &PodUid| {
        let commitment = commitments.pods.get(uid).filter(|_| *uid != claim.pod.uid)?;
        commitment.node.clone()
    };
    let promised: BTreeMap<&PodUid, NodeName> = members
        .pending
        .iter()
        .filter_map(|uid| Some((uid, reserved(uid)?)))
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

/// What each domain of this level can take of the gang, in order of name.
#[must_use]
pub fn rooms(
    standing: &Standing,
    level: usize,
    tiers: &Tiers,
    snapshot: &ClusterSnapshot,
    placement: &Placement<'_>,
) -> Vec<Room> {
    tiers
        .domains(level, snapshot)
        .into_iter()
        .map(|(domain, nodes)| room(domain, nodes, standing, level, tiers, placement))
        .collect()
}

/// What all of these closest domains together can take of a gang that no domain of any level can take whole. It is
/// named after the one of its first place; none where there is no place.
#[must_use]
pub fn widest(
    standing: &Standing,
    domains: &BTreeSet<Domain>,
    tiers: &Tiers,
    snapshot: &ClusterSnapshot,
    placement: &Placement<'_>,
) -> Option<Room> {
    let within = |node: &&Node| {
        tiers
            .domain(0, &node.labels)
            .is_some_and(|domain| domains.contains(&domain))
    };
    let nodes = snapshot.nodes.values().map(AsRef::as_ref);
    let nodes = nodes.filter(within).collect();
    let (places, slots) = arranged(nodes, standing, tiers.count(), tiers, placement);
    let first = snapshot.nodes.get(&places.first()?.node)?;
    Some(Room {
        domain: tiers.domain(0, &first.labels)?,
        spans: spans(&places, tiers, snapshot),
        places,
        slots,
    })
}

/// Of the domains with room for all that are still to come, the one in which they are spread over the fewest of the
/// closest domains; of those, the one with the least room; ties go to the first by name.
#[must_use]
pub fn best_fit<'a>(rooms: impl IntoIterator<Item = &'a Room>, need: u32) -> Option<&'a Room> {
    rooms
        .into_iter()
        .filter(|room| room.takes() >= need)
        .min_by(|a, b| {
            (a.spans, a.slots)
                .cmp(&(b.spans, b.slots))
                .then_with(|| a.domain.cmp(&b.domain))
        })
}

/// The domain with the most room; ties go to the first by name.
#[must_use]
pub fn roomiest<'a>(rooms: impl IntoIterator<Item = &'a Room>) -> Option<&'a Room> {
    rooms.into_iter().min_by(|a, b| {
        (b.takes(), b.slots)
            .cmp(&(a.takes(), a.slots))
            .then_with(|| a.domain.cmp(&b.domain))
    })
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
    let tiers = Tiers::of(&settings.tiers, snapshot);
    let Ok(claim) = super::claim::claim(pod, snapshot, settings) else {
        return 0;
    };
    let Some(size) = claim.gang.as_ref().and_then(|gang| gang.size) else {
        return 0;
    };
    let placement = Placement::new(&claim, snapshot, commitments, settings, Counting::Firm);
    let alone = Standing {
        placed: Vec::new(),
        members: BTreeSet::new(),
        need: size,
        one_by_one: false,
    };
    let mut slots: Vec<u32> = rooms(&alone, 0, &tiers, snapshot, &placement)
        .iter()
        .map(|room| room.slots)
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

/// Places for `need` pods on `nodes` with one of them on `first`; none where that leaves too few for the others.
#[must_use]
pub fn places_with(
    first: &Node,
    nodes: &[&Node],
    need: u32,
    placement: &Placement<'_>,
) -> Option<Vec<Place>> {
    let (slots, pools) = placement.slots(first, need);
    let mut promised = placement.promised().clone();
    if slots == 0 || promised.times(&pools, 1, placement.snapshot()) == 0 {
        return None;
    }
    add(&mut promised, &pools, 1);
    let own = Place {
        node: first.name.clone(),
        pods: 1,
        pools,
    };
    let left = need.saturating_sub(1);
    let others = nodes.iter().copied().filter(|node| node.name != first.name);
    let offers = [first].into_iter().chain(others).map(|node| {
        let (slots, pools) = placement.slots(node, need);
        let taken = u32::from(node.name == first.name);
        (node, slots.saturating_sub(taken), pools)
    });
    let (rest, missing) = fill(offers, left, promised, placement);
    (missing == 0).then(|| [own].into_iter().chain(rest).collect())
}

/// Puts `need` pods onto these nodes in the order given, as many onto each as its slots and the pools allow; and how
/// many found no place.
fn fill<'n>(
    offers: impl IntoIterator<Item = (&'n Node, u32, Vec<PoolSet>)>,
    need: u32,
    mut promised: Promised,
    placement: &Placement<'_>,
) -> (Vec<Place>, u32) {
    let mut left = need;
    let mut places = Vec::new();
    for (node, slots, pools) in offers {
        if left == 0 {
            break;
        }
        let pods = promised.times(&pools, slots.min(left), placement.snapshot());
        if pods > 0 {
            add(&mut promised, &pools, pods);
            left -= pods;
            places.push(Place {
                node: node.name.clone(),
                pods,
                pools,
            });
        }
    }
    (places, left)
}

/// A node, how many pods of this shape it takes, and out of which sets of pools their addresses come there.
type Offer<'n> = (&'n Node, u32, Vec<PoolSet>);

fn room(
    domain: Domain,
    nodes: Vec<&Node>,
    standing: &Standing,
    level: usize,
    tiers: &Tiers,
    placement: &Placement<'_>,
) -> Room {
    let (places, slots) = arranged(nodes, standing, level, tiers, placement);
    let spans = if level == 0 {
        1
    } else {
        spans(&places, tiers, placement.snapshot())
    };
    Room {
        domain,
        places,
        slots,
        spans,
    }
}

/// Places for the gang on these nodes of one domain of `level`, and how many there are by everything but addresses.
fn arranged(
    nodes: Vec<&Node>,
    standing: &Standing,
    level: usize,
    tiers: &Tiers,
    placement: &Placement<'_>,
) -> (Vec<Place>, u32) {
    let offers: Vec<Offer<'_>> = nodes
        .into_iter()
        .map(|node| {
            let (slots, pools) = placement.slots(node, u32::MAX);
            (node, slots, pools)
        })
        .filter(|(_, slots, _)| *slots > 0)
        .collect();
    let slots = sum(&offers);
    let offers = in_order(offers, standing, level, tiers, placement.snapshot());
    let (places, _) = fill(offers, standing.need, placement.promised().clone(), placement);
    (places, slots)
}

/// In the order in which they are to be filled, so that the gang spans few of the closest domains: those it has begun
/// come first, the one with most of its pods before the others.
fn in_order<'n>(
    offers: Vec<Offer<'n>>,
    standing: &Standing,
    level: usize,
    tiers: &Tiers,
    snapshot: &ClusterSnapshot,
) -> Vec<Offer<'n>> {
    let mut order = Vec::new();
    let mut rest = offers;
    if level > 0 {
        let begun = settlements(standing, 0, tiers, snapshot);
        let pods = |node: &Node| {
            let domain = tiers.domain(0, &node.labels)?;
            let pods = begun.get(&domain)?;
            Some((Reverse(*pods), domain))
        };
        let (mut first, others): (Vec<_>, Vec<_>) = rest
            .into_iter()
            .partition(|(node, ..)| !begun.is_empty() && pods(node).is_some());
        first.sort_by_cached_key(|(node, slots, _)| (pods(node), *slots, node.name.clone()));
        (order, rest) = (first, others);
    }
    let left = standing.need.saturating_sub(sum(&order));
    order.extend(one_by_one(rest, left, standing, level, tiers, snapshot));
    order
}

/// One closer domain after the other: those the gang has begun, then the roomiest, until all that is `left` finds room
/// in one: the smallest such. Inside the closest domain, the fullest nodes first.
fn one_by_one<'n>(
    mut offers: Vec<Offer<'n>>,
    mut left: u32,
    standing: &Standing,
    level: usize,
    tiers: &Tiers,
    snapshot: &ClusterSnapshot,
) -> Vec<Offer<'n>> {
    let Some(closer) = level.checked_sub(1) else {
        offers.sort_by(|(a, fuller, _), (b, other, _)| fuller.cmp(other).then_with(|| a.name.cmp(&b.name)));
        return offers;
    };
    let begun = settlements(standing, closer, tiers, snapshot);
    let mut domains: BTreeMap<Option<Domain>, Vec<Offer<'n>>> = BTreeMap::new();
    for offer in offers {
        let domain = tiers.domain(closer, &offer.0.labels);
        domains.entry(domain).or_default().push(offer);
    }
    let mut order = Vec::new();
    while !domains.is_empty() {
        let next = domains
            .iter()
            .map(|(domain, offers)| {
                let pods = domain.as_ref().and_then(|domain| begun.get(domain)).copied();
                let room = sum(offers);
                // Nodes in no domain are close to nothing.
                let last = domain.is_none();
                let rank = match room.checked_sub(left) {
                    Some(over) => (false, over),
                    None => (true, u32::MAX - room),
                };
                ((last, Reverse(pods), rank), domain)
            })
            .min();
        let Some(domain) = next.map(|(_, domain)| domain.clone()) else {
            break;
        };
        let offers = domains.remove(&domain).unwrap_or_default();
        let taken = sum(&offers);
        order.extend(one_by_one(offers, left, standing, closer, tiers, snapshot));
        left = left.saturating_sub(taken);
    }
    order
}

fn sum(offers: &[Offer<'_>]) -> u32 {
    offers
        .iter()
        .fold(0_u32, |sum, (_, slots, _)| sum.saturating_add(*slots))
}

/// How many of the closest domains these places are in.
fn spans(places: &[Place], tiers: &Tiers, snapshot: &ClusterSnapshot) -> u32 {
    let domains: BTreeSet<Domain> = places
        .iter()
        .filter_map(|place| tiers.domain(0, &snapshot.nodes.get(&place.node)?.labels))
        .collect();
    count(domains.len())
}

fn add(promised: &mut Promised, pools: &[PoolSet], pods: u32) {
    for set in pools {
        promised.add_times(set, u64::from(pods));
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
