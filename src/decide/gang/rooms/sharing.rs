//! Sharing a gang out among nodes that take their addresses from different pools. Taking one node after the other may end
//! short, or spread wide, where another choice does not; so such choices are looked through, as far as that goes quickly.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Offer, domain_of, settlements};
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::commitment::Place;
use crate::decide::gang::Standing;
use crate::decide::placement::Placement;
use crate::decide::roster::Roster;
use crate::decide::supply::{PoolSet, Promised};
use crate::decide::tier::Domain;

/// How many steps a search may take: some milliseconds, and more than a domain with a handful of pools needs.
const STEPS: u32 = 500;

/// Where pools differ between nodes, and filling one after the other has left some without a place or goes over several
/// of the closest domains: places for all, over fewer of them, if there are any.
pub(super) fn otherwise(
    offers: &[Offer<'_>],
    (places, missing): (&[Place], u32),
    standing: &Standing,
    level: usize,
    roster: &Roster,
    placement: &Placement<'_>,
) -> Option<Vec<Place>> {
    let begun = settlements(standing, 0, roster.tiers(), placement.snapshot());
    let mut always: Vec<&Offer<'_>> = Vec::new();
    let mut groups: BTreeMap<Option<&Domain>, Vec<&Offer<'_>>> = BTreeMap::new();
    for offer in offers {
        let domain = domain_of(offer.place, 0, roster);
        if level == 0 || domain.is_some_and(|domain| begun.contains_key(domain)) {
            always.push(offer);
        } else {
            groups.entry(domain).or_default().push(offer);
        }
    }
    let used = |domain: Option<&Domain>| {
        places.iter().any(|place| {
            let place = roster.place(place.node.as_str());
            place.is_some_and(|place| domain_of(place, 0, roster) == domain)
        })
    };
    let fewer = if missing > 0 {
        groups.len() + 1
    } else {
        groups.keys().filter(|domain| used(**domain)).count()
    };
    let groups: Vec<Vec<&Offer<'_>>> = groups.into_values().collect();
    let sharing = Sharing {
        promised: placement.promised(),
        snapshot: placement.snapshot(),
        need: standing.need,
    };
    sharing.over_fewer(&always, &groups, fewer)
}

/// What the offers are shared out by.
struct Sharing<'s> {
    promised: &'s Promised,
    snapshot: &'s ClusterSnapshot,
    need: u32,
}

/// Nodes that take their addresses from the same pools.
struct Class<'o, 'n> {
    pools: &'o Arc<[PoolSet]>,
    slots: u32,
    offers: Vec<&'o Offer<'n>>,
}

impl Sharing<'_> {
    /// Places for all of the gang on the nodes of `always` and of fewer than `fewer` of the other groups, as few as can
    /// be; none where no such places are found.
    fn over_fewer<'n>(
        &self,
        always: &[&Offer<'n>],
        groups: &[Vec<&Offer<'n>>],
        fewer: usize,
    ) -> Option<Vec<Place>> {
        let mut steps = STEPS;
        (0..fewer.min(groups.len() + 1)).find_map(|count| {
            let mut chosen = always.to_vec();
            self.with_groups(&mut chosen, groups, count, &mut steps)
        })
    }

    /// The same with exactly so many of the groups beside what is chosen already.
    fn with_groups<'o, 'n>(
        &self,
        chosen: &mut Vec<&'o Offer<'n>>,
        groups: &[Vec<&'o Offer<'n>>],
        count: usize,
        steps: &mut u32,
    ) -> Option<Vec<Place>> {
        if count == 0 {
            return self.on(chosen, steps);
        }
        for (at, group) in groups.iter().enumerate() {
            *steps = steps.checked_sub(1)?;
            let before = chosen.len();
            chosen.extend(group);
            let others = groups.get(at + 1..).unwrap_or_default();
            let found = self.with_groups(chosen, others, count - 1, steps);
            chosen.truncate(before);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Places for all of the gang on these nodes.
    fn on(&self, offers: &[&Offer<'_>], steps: &mut u32) -> Option<Vec<Place>> {
        let mut by_pools: BTreeMap<&[PoolSet], Class<'_, '_>> = BTreeMap::new();
        for offer in offers {
            let class = by_pools.entry(&offer.pools).or_insert_with(|| Class {
                pools: &offer.pools,
                slots: 0,
                offers: Vec::new(),
            });
            class.slots = class.slots.saturating_add(offer.slots);
            class.offers.push(offer);
        }
        let classes: Vec<Class<'_, '_>> = by_pools.into_values().collect();
        let alone = |class: &Class<'_, '_>| {
            let most = class.slots.min(self.need);
            self.promised.times(class.pools, most, self.snapshot)
        };
        // Not even if none took from another.
        if classes.iter().map(alone).fold(0, u32::saturating_add) < self.need {
            return None;
        }
        let counts = self.counts(&classes, self.need, self.promised, steps)?;
        Some(classes.iter().zip(counts).flat_map(places).collect())
    }

    /// How many pods for each class, so that none is left.
    fn counts(
        &self,
        classes: &[Class<'_, '_>],
        left: u32,
        promised: &Promised,
        steps: &mut u32,
    ) -> Option<Vec<u32>> {
        if left == 0 {
            return Some(vec![0; classes.len()]);
        }
        let (class, others) = classes.split_first()?;
        *steps = steps.checked_sub(1)?;
        let elsewhere = others
            .iter()
            .fold(0_u32, |sum, class| sum.saturating_add(class.slots));
        let most = promised.times(class.pools, class.slots.min(left), self.snapshot);
        (left.saturating_sub(elsewhere)..=most).rev().find_map(|count| {
            let mut with = promised.clone();
            with.add_all(class.pools.iter(), count);
            let rest = self.counts(others, left - count, &with, steps)?;
            Some([count].into_iter().chain(rest).collect())
        })
    }
}

/// So many pods on the nodes of a class, the fullest first.
fn places((class, count): (&Class<'_, '_>, u32)) -> Vec<Place> {
    let mut left = count;
    let mut offers = class.offers.clone();
    offers.sort_by(|a, b| a.slots.cmp(&b.slots).then_with(|| a.node.name.cmp(&b.node.name)));
    let mut places = Vec::new();
    for offer in offers {
        let pods = offer.slots.min(left);
        left -= pods;
        if pods > 0 {
            places.push(Place {
                node: offer.node.name.clone(),
                pods,
                pools: Arc::clone(&offer.pools),
            });
        }
    }
    places
}
