//! Scores for the nodes that fit: only asked for when there is something to choose between.

use std::collections::BTreeMap;

use super::{Choice, Question};
use crate::decide::names::{NodeName, ResourceName};
use crate::decide::placement::{Counting, Fit, Verdict};
use crate::decide::score::{BEST, CLOSENESS, HEADROOM, Score};
use crate::decide::supply::PoolSet;
use crate::decide::tier::Domain;

impl Question<'_> {
    /// Scores every node that fits; `choice` is where the pod's gang is to go.
    pub(super) fn rank(&self, verdicts: &mut [(NodeName, Verdict)], choice: Option<&Choice>) {
        let fullness = match choice {
            None => self.fullness(),
            Some(_) => BTreeMap::new(),
        };
        let anchor = choice
            .and_then(|choice| choice.room.places.first())
            .and_then(|place| self.node(&place.node))
            .map(|node| node.labels.clone())
            .unwrap_or_default();
        let placement = self.placement(Counting::Firm);
        // Where pools are the same on all nodes, so is the answer.
        let mut known: BTreeMap<Vec<PoolSet>, bool> = BTreeMap::new();
        for (name, verdict) in verdicts {
            let Verdict::Fits(fit) = verdict else { continue };
            let closeness = choice.map_or_else(
                || self.broken(name, &fullness),
                |choice| self.nearness(name, choice, &anchor),
            );
            let steps = BEST - HEADROOM - if self.tiers.count() > 0 { CLOSENESS } else { 0 };
            let sets: Vec<PoolSet> = fit.pools.iter().map(|(_, set)| set.clone()).collect();
            let one_more = *known
                .entry(sets)
                .or_insert_with_key(|sets| placement.promised().times(sets, 2, self.snapshot) == 2);
            fit.score = Some(Score {
                closeness,
                packing: fit.load.packing(steps),
                headroom: if fits_well(fit, one_more) { HEADROOM } else { 0 },
            });
        }
    }

    /// For a pod alone: how much the node's leaf group is broken already.
    fn broken(&self, name: &NodeName, fullness: &BTreeMap<Domain, u8>) -> u8 {
        let domain = self
            .node(name)
            .and_then(|node| self.tiers.domain(0, &node.labels));
        domain
            .and_then(|domain| fullness.get(&domain).copied())
            .unwrap_or(0)
    }

    /// For a pod of a gang: the places chosen for it, then their domain, then the tiers around it.
    fn nearness(&self, name: &NodeName, choice: &Choice, anchor: &crate::decide::selector::Labels) -> u8 {
        let Some(node) = self.node(name) else { return 0 };
        if choice.room.places.iter().any(|place| place.node == *name) {
            return CLOSENESS;
        }
        if self.tiers.domain(choice.level, &node.labels).as_ref() == Some(&choice.domain) {
            return CLOSENESS - 2;
        }
        let shares = |level: &usize| {
            let domain = self.tiers.domain(*level, &node.labels);
            domain.is_some() && domain == self.tiers.domain(*level, anchor)
        };
        (choice.level + 1..self.tiers.count())
            .find(shares)
            .map_or(0, |level| {
                let further = u8::try_from(level.saturating_sub(1)).unwrap_or(u8::MAX);
                CLOSENESS.saturating_sub(3).saturating_sub(further)
            })
    }

    /// How full each closest domain is, from 0 for one that is still whole to [`CLOSENESS`].
    fn fullness(&self) -> BTreeMap<Domain, u8> {
        let mut sums: BTreeMap<Domain, (u64, u64)> = BTreeMap::new();
        for node in self.snapshot.nodes.values() {
            let Some(domain) = self.tiers.domain(0, &node.labels) else {
                continue;
            };
            let (used, offered) = sums.entry(domain).or_insert((0, 0));
            let taken = self.snapshot.used.get(&node.name);
            for resource in self.claim.vfs.keys().map(ResourceName::as_str) {
                *offered = offered.saturating_add(node.offers.of(resource));
                *used = used.saturating_add(taken.map_or(0, |taken| taken.of(resource)));
            }
        }
        sums.into_iter()
            .map(|(domain, (used, offered))| {
                let steps = u64::from(CLOSENESS - 1);
                let part = used.saturating_mul(steps) / offered.max(1);
                let fullness = if used == 0 {
                    0
                } else {
                    1 + u8::try_from(part.min(steps)).unwrap_or(0)
                };
                (domain, fullness)
            })
            .collect()
    }
}

/// Whether nothing is left over that no pod of this shape can use.
fn fits_well(fit: &Fit, one_more_address: bool) -> bool {
    fit.load.is_full() || (fit.load.more > 0 && one_more_address)
}
