//! What the domains of the fabric can take of a gang, and which of them suits it best.

mod sharing;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::sharing::otherwise;
use super::{Standing, count, settlements};
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::commitment::Place;
use crate::decide::node::Node;
use crate::decide::placement::Placement;
use crate::decide::roster::Roster;
use crate::decide::supply::{PoolSet, Promised};
use crate::decide::tier::Domain;

/// A domain, with how many pods of the gang it can take by everything but addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its number at its level.
    pub(super) number: usize,
    /// The domain.
    pub domain: Domain,
    /// How many pods.
    pub slots: u32,
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
    /// All its nodes with slots have their addresses from the same pools, so that one is as good as another.
    pub uniform: bool,
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

/// The domains of a level that have nodes, of those whose number is wanted.
#[must_use]
pub fn sites(
    level: usize,
    roster: &Roster,
    placement: &Placement<'_>,
    wanted: impl Fn(usize) -> bool,
) -> Vec<Site> {
    let Some(domains) = roster.level(level) else {
        return Vec::new();
    };
    let numbers =
        (0..domains.count()).filter(|number| wanted(*number) && !domains.members(*number).is_empty());
    let look_at = |place: usize| {
        roster
            .node(place)
            .map_or(0, |node| placement.slots(node, u32::MAX).0)
    };
    let sums = if let Some(known) = placement.known_slots(level) {
        let mut sums = known.of_domains;
        for (place, counted) in known.promised {
            let number = domains.of(place).filter(|number| wanted(*number));
            if let Some(sum) = number.and_then(|number| sums.get_mut(number)) {
                *sum = sum.saturating_sub(counted).saturating_add(look_at(place));
            }
        }
        sums
    } else {
        let mut sums = vec![0_u32; domains.count()];
        for number in numbers.clone() {
            let slots = domains.members(number).iter().map(|place| look_at(*place));
            if let Some(sum) = sums.get_mut(number) {
                *sum = slots.fold(0, u32::saturating_add);
            }
        }
        sums
    };
    numbers
        .filter_map(|number| {
            Some(Site {
                number,
                domain: domains.domain(number)?.clone(),
                slots: sums.get(number).copied()?,
            })
        })
        .collect()
}

/// What each domain of this level can take of the gang, in order of name.
#[must_use]
pub fn rooms(standing: &Standing, level: usize, roster: &Roster, placement: &Placement<'_>) -> Vec<Room> {
    let mut sites = sites(level, roster, placement, |_| true);
    sites.sort_unstable_by(|a, b| a.domain.cmp(&b.domain));
    sites
        .iter()
        .map(|site| room(site, standing, level, roster, placement))
        .collect()
}

/// What all of these closest domains together can take of a gang that no domain of any level can take whole. It is
/// named after the one of its first place; none where there is no place.
#[must_use]
pub fn widest(
    standing: &Standing,
    wanted: impl Fn(usize) -> bool,
    roster: &Roster,
    placement: &Placement<'_>,
) -> Option<Room> {
    let closest = roster.level(0)?;
    let numbers = (0..closest.count()).filter(|number| wanted(*number));
    let members = numbers.flat_map(|number| closest.members(number));
    let (places, slots, uniform) = arranged(
        members.copied(),
        standing,
        roster.tiers().count(),
        roster,
        placement,
    );
    let first = roster.place(places.first()?.node.as_str())?;
    Some(Room {
        domain: domain_of(first, 0, roster)?.clone(),
        spans: spans(&places, roster),
        places,
        slots,
        uniform,
    })
}

/// Of the domains with room for all that are still to come, the one in which they are spread over the fewest of the
/// closest domains; of those, the one with the least room; ties go to the first by name.
#[must_use]
pub fn best_fit(
    sites: &[Site],
    standing: &Standing,
    level: usize,
    roster: &Roster,
    placement: &Placement<'_>,
) -> Option<Room> {
    let mut large: Vec<&Site> = sites.iter().filter(|site| site.slots >= standing.need).collect();
    large.sort_unstable_by(|a, b| a.slots.cmp(&b.slots).then_with(|| a.domain.cmp(&b.domain)));
    let mut fitting = large
        .into_iter()
        .map(|site| room(site, standing, level, roster, placement))
        .filter(|room| room.takes() >= standing.need);
    if level == 0 {
        // The first is the best: addresses are looked at in one after the other, until they suffice.
        return fitting.next();
    }
    fitting.min_by(|a, b| {
        (a.spans, a.slots)
            .cmp(&(b.spans, b.slots))
            .then_with(|| a.domain.cmp(&b.domain))
    })
}

/// The domain that takes most of the gang; of those the one with the most slots, then the first by name.
#[must_use]
pub fn roomiest(
    sites: &[Site],
    standing: &Standing,
    level: usize,
    roster: &Roster,
    placement: &Placement<'_>,
) -> Option<Room> {
    let mut sites: Vec<&Site> = sites.iter().collect();
    sites.sort_unstable_by(|a, b| b.slots.cmp(&a.slots).then_with(|| a.domain.cmp(&b.domain)));
    let mut best: Option<Room> = None;
    for site in sites {
        // None of those that follow can take more.
        if best
            .as_ref()
            .is_some_and(|best| best.takes() >= site.slots.min(standing.need))
        {
            break;
        }
        let room = room(site, standing, level, roster, placement);
        if best.as_ref().is_none_or(|best| room.takes() > best.takes()) {
            best = Some(room);
        }
    }
    best
}

/// What one domain can take.
#[must_use]
pub fn room_at(
    domain: &Domain,
    standing: &Standing,
    level: usize,
    roster: &Roster,
    placement: &Placement<'_>,
) -> Option<Room> {
    let number = roster.level(level)?.number(domain)?;
    let sites = sites(level, roster, placement, |other| other == number);
    Some(room(sites.first()?, standing, level, roster, placement))
}

/// The nodes of a domain, in order of name.
#[must_use]
pub fn nodes_of<'r>(domain: &Domain, level: usize, roster: &'r Roster) -> Vec<&'r Node> {
    let number = roster
        .level(level)
        .and_then(|domains| Some((domains, domains.number(domain)?)));
    let places = number.map_or(&[][..], |(domains, number)| domains.members(number));
    let mut nodes: Vec<&Node> = places
        .iter()
        .filter_map(|place| roster.node(*place))
        .map(AsRef::as_ref)
        .collect();
    nodes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    nodes
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
    promised.add_all(pools.iter(), 1);
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
    offers: impl IntoIterator<Item = (&'n Node, u32, Arc<[PoolSet]>)>,
    need: u32,
    mut promised: Promised,
    placement: &Placement<'_>,
) -> (Vec<Place>, u32) {
    let mut left = need;
    let mut places = Vec::new();
    // Nodes with the same pools follow each other, mostly: how many more the pools of the last can serve, and how many
    // they are to serve that are not promised yet.
    let mut last: Option<(Arc<[PoolSet]>, u32, u32)> = None;
    for (node, slots, pools) in offers {
        if left == 0 {
            break;
        }
        let same = last
            .as_ref()
            .is_some_and(|(sets, ..)| Arc::ptr_eq(sets, &pools) || *sets == pools);
        if !same {
            if let Some((sets, _, given)) = &last {
                promised.add_all(sets.iter(), *given);
            }
            let more = promised.times(&pools, left, placement.snapshot());
            last = Some((Arc::clone(&pools), more, 0));
        }
        let Some((_, more, given)) = &mut last else {
            continue;
        };
        let pods = slots.min(left).min(*more);
        if pods > 0 {
            *more -= pods;
            *given += pods;
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

/// A node at its place, how many pods of this shape it takes, and out of which sets of pools their addresses come there.
struct Offer<'n> {
    place: usize,
    node: &'n Node,
    slots: u32,
    pools: Arc<[PoolSet]>,
}

/// What a domain can take.
fn room(site: &Site, standing: &Standing, level: usize, roster: &Roster, placement: &Placement<'_>) -> Room {
    let members = roster
        .level(level)
        .map_or(&[][..], |domains| domains.members(site.number));
    let (places, _, uniform) = arranged(members.iter().copied(), standing, level, roster, placement);
    Room {
        domain: site.domain.clone(),
        spans: if level == 0 { 1 } else { spans(&places, roster) },
        places,
        slots: site.slots,
        uniform,
    }
}

/// Places for the gang on these nodes of one domain of `level`, how many there are by everything but addresses, and
/// whether all take these from the same pools.
fn arranged(
    members: impl Iterator<Item = usize>,
    standing: &Standing,
    level: usize,
    roster: &Roster,
    placement: &Placement<'_>,
) -> (Vec<Place>, u32, bool) {
    let offers: Vec<Offer<'_>> = members
        .filter_map(|place| {
            let node = roster.node(place)?;
            let (slots, pools) = placement.slots_at(Some(place), node, u32::MAX);
            (slots > 0).then_some(Offer {
                place,
                node,
                slots,
                pools,
            })
        })
        .collect();
    let slots = sum(&offers);
    let uniform = offers.windows(2).all(|pair| match pair {
        [a, b] => Arc::ptr_eq(&a.pools, &b.pools) || a.pools == b.pools,
        _ => true,
    });
    let offers = in_order(offers, standing, level, roster, placement.snapshot());
    let in_turn = offers
        .iter()
        .map(|offer| (offer.node, offer.slots, Arc::clone(&offer.pools)));
    let (places, missing) = fill(in_turn, standing.need, placement.promised().clone(), placement);
    if uniform || slots < standing.need {
        return (places, slots, uniform);
    }
    let better = otherwise(&offers, (&places, missing), standing, level, roster, placement);
    (better.unwrap_or(places), slots, uniform)
}

/// In the order in which they are to be filled, so that the gang spans few of the closest domains: those it has begun
/// come first, the one with most of its pods before the others.
fn in_order<'n>(
    offers: Vec<Offer<'n>>,
    standing: &Standing,
    level: usize,
    roster: &Roster,
    snapshot: &ClusterSnapshot,
) -> Vec<Offer<'n>> {
    let mut order = Vec::new();
    let mut rest = offers;
    if level > 0 {
        let begun = settlements(standing, 0, roster.tiers(), snapshot);
        let pods = |offer: &Offer<'_>| {
            let domain = domain_of(offer.place, 0, roster)?;
            let pods = begun.get(domain)?;
            Some((Reverse(*pods), domain))
        };
        let (mut first, others): (Vec<_>, Vec<_>) = rest
            .into_iter()
            .partition(|offer| !begun.is_empty() && pods(offer).is_some());
        first.sort_by_cached_key(|offer| (pods(offer), offer.slots, &offer.node.name));
        (order, rest) = (first, others);
    }
    let left = standing.need.saturating_sub(sum(&order));
    order.extend(one_by_one(rest, left, standing, level, roster, snapshot));
    order
}

/// One closer domain after the other: those the gang has begun, then the roomiest, until all that is `left` finds room
/// in one: the smallest such. Inside the closest domain, the fullest nodes first.
fn one_by_one<'n>(
    mut offers: Vec<Offer<'n>>,
    mut left: u32,
    standing: &Standing,
    level: usize,
    roster: &Roster,
    snapshot: &ClusterSnapshot,
) -> Vec<Offer<'n>> {
    let Some(closer) = level.checked_sub(1) else {
        offers.sort_by(|a, b| a.slots.cmp(&b.slots).then_with(|| a.node.name.cmp(&b.node.name)));
        return offers;
    };
    let begun = settlements(standing, closer, roster.tiers(), snapshot);
    let mut domains: BTreeMap<Option<&Domain>, Vec<Offer<'n>>> = BTreeMap::new();
    for offer in offers {
        let domain = domain_of(offer.place, closer, roster);
        domains.entry(domain).or_default().push(offer);
    }
    let mut order = Vec::new();
    while !domains.is_empty() {
        let next = domains
            .iter()
            .map(|(domain, offers)| {
                let pods = domain.and_then(|domain| begun.get(domain)).copied();
                let room = sum(offers);
                // Nodes in no domain are close to nothing.
                let last = domain.is_none();
                let rank = match room.checked_sub(left) {
                    Some(over) => (false, over),
                    None => (true, u32::MAX - room),
                };
                ((last, Reverse(pods), rank), *domain)
            })
            .min();
        let Some(domain) = next.map(|(_, domain)| domain) else {
            break;
        };
        let offers = domains.remove(&domain).unwrap_or_default();
        let taken = sum(&offers);
        order.extend(one_by_one(offers, left, standing, closer, roster, snapshot));
        left = left.saturating_sub(taken);
    }
    order
}

fn sum(offers: &[Offer<'_>]) -> u32 {
    offers
        .iter()
        .fold(0_u32, |sum, offer| sum.saturating_add(offer.slots))
}

/// The domain of the node at a place.
fn domain_of(place: usize, level: usize, roster: &Roster) -> Option<&Domain> {
    let domains = roster.level(level)?;
    domains.domain(domains.of(place)?)
}

/// How many of the closest domains these places are in.
fn spans(places: &[Place], roster: &Roster) -> u32 {
    let domains: BTreeSet<&Domain> = places
        .iter()
        .filter_map(|place| domain_of(roster.place(place.node.as_str())?, 0, roster))
        .collect();
    count(domains.len())
}
