//! Scores for the nodes that fit: only asked for when there is something to choose between.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Choice, Question};
use crate::decide::names::{InterfaceName, NodeName};
use crate::decide::placement::{Counting, Fit, Verdict};
use crate::decide::score::{BEST, CLOSENESS, HEADROOM, Score};
use crate::decide::supply::PoolSet;
use crate::decide::survey;

/// The closeness of a node in the domain of a gang that is none of the places chosen for it.
const IN_ITS_DOMAIN: u8 = CLOSENESS - 2;

impl Question<'_> {
    /// Scores every node that fits; `choice` is where the pod's gang is to go.
    pub(super) fn rank(&self, verdicts: &mut [(NodeName, Verdict)], choice: Option<&Choice>) {
        let closeness = match choice {
            None => Closeness::Broken(self.fullness()),
            Some(choice) => Closeness::Near(Near::to(choice, self)),
        };
        let placement = self.placement(Counting::Firm);
        // Where pools are the same on all nodes, so is the answer.
        let mut known: Vec<(Pools, bool)> = Vec::new();
        let steps = BEST - HEADROOM - if self.tiers().count() > 0 { CLOSENESS } else { 0 };
        for ((_, verdict), place) in verdicts.iter_mut().zip(self.places()) {
            let Verdict::Fits(fit) = verdict else { continue };
            let value = place.map_or(0, |place| match &closeness {
                Closeness::Broken(fullness) => self.broken(place, fullness),
                Closeness::Near(near) => self.nearness(place, near),
            });
            let (steps, headroom) = match &closeness {
                Closeness::Broken(_) => (steps, HEADROOM),
                Closeness::Near(_) => beside(value, steps),
            };
            // Neighbors in the list have the same pools, mostly.
            let same = |(pools, _): &&(_, bool)| Arc::ptr_eq(pools, &fit.pools);
            let one_more = if let Some((_, answer)) = known.iter().rev().find(same) {
                *answer
            } else {
                let known_sets = self
                    .ground
                    .zip(*place)
                    .and_then(|(ground, place)| ground.sets(place));
                let sets = known_sets.map_or_else(|| Cow::Owned(survey::sets_of(&fit.pools)), Cow::Borrowed);
                let answer = placement.promised().times(&sets, 2, self.snapshot) == 2;
                known.push((Arc::clone(&fit.pools), answer));
                answer
            };
            fit.score = Some(Score {
                closeness: value,
                packing: fit.load.packing(steps),
                headroom: if fits_well(fit, one_more) { headroom } else { 0 },
            });
        }
    }

    /// For a pod alone: how much the node's leaf group is broken already.
    fn broken(&self, place: usize, fullness: &[u8]) -> u8 {
        let number = self.roster().level(0).and_then(|domains| domains.of(place));
        let fullness = number.and_then(|number| fullness.get(number));
        fullness.copied().unwrap_or(0)
    }

    /// For a pod of a gang: the places chosen for it, then their domain, then the tiers around it.
    fn nearness(&self, place: usize, near: &Near) -> u8 {
        if near.places.contains(&place) {
            return CLOSENESS;
        }
        let shares = |level: &usize| {
            let number = self.roster().level(*level).and_then(|domains| domains.of(place));
            number.is_some() && Some(&number) == near.numbers.get(*level)
        };
        if shares(&near.level) {
            return IN_ITS_DOMAIN;
        }
        (near.level + 1..near.numbers.len())
            .find(shares)
            .map_or(0, |level| {
                let further = u8::try_from(level.saturating_sub(1)).unwrap_or(u8::MAX);
                (IN_ITS_DOMAIN - 1).saturating_sub(further)
            })
    }

    /// How full each closest domain is, by its number, from 0 for one that is still whole to [`CLOSENESS`].
    fn fullness(&self) -> Vec<u8> {
        let Some(domains) = self.roster().level(0) else {
            return Vec::new();
        };
        let mut sums: Vec<(u64, u64)> = vec![(0, 0); domains.count()];
        for place in 0..self.roster().places() {
            let Some(sum) = domains.of(place).and_then(|number| sums.get_mut(number)) else {
                continue;
            };
            let (used, offered) = self.use_of(place);
            *sum = (sum.0.saturating_add(used), sum.1.saturating_add(offered));
        }
        sums.into_iter()
            .map(|(used, offered)| {
                let steps = u64::from(CLOSENESS - 1);
                let part = used.saturating_mul(steps) / offered.max(1);
                if used == 0 {
                    0
                } else {
                    1 + u8::try_from(part.min(steps)).unwrap_or(0)
                }
            })
            .collect()
    }

    /// Of the VFs that the pod asks for, on the node at a place: in use, and offered.
    fn use_of(&self, place: usize) -> (u64, u64) {
        if let Some(ground) = self.ground {
            return ground.standing(place).map_or((0, 0), |standing| standing.use_of);
        }
        let Some(node) = self.roster().node(place) else {
            return (0, 0);
        };
        survey::use_of(self.claim, node, self.snapshot)
    }
}

type Pools = Arc<[(InterfaceName, PoolSet)]>;

/// What a node is close to.
enum Closeness {
    /// Pods that have broken its leaf group, by the number of the leaf group.
    Broken(Vec<u8>),
    /// The rest of its gang.
    Near(Near),
}

/// Where the gang goes.
struct Near {
    level: usize,
    /// The places of the nodes chosen for it.
    places: BTreeSet<usize>,
    /// At each level, the number of the domain it is in.
    numbers: Vec<Option<usize>>,
}

impl Near {
    fn to(choice: &Choice, question: &Question<'_>) -> Self {
        let roster = question.roster();
        let names = choice.room.places.iter().map(|place| place.node.as_str());
        let anchor = names.clone().next().and_then(|name| roster.place(name));
        let number = |level: usize| {
            let domains = roster.level(level)?;
            if level == choice.level {
                domains.number(&choice.domain)
            } else {
                domains.of(anchor?)
            }
        };
        Self {
            level: choice.level,
            places: names.filter_map(|name| roster.place(name)).collect(),
            numbers: (0..roster.tiers().count()).map(number).collect(),
        }
    }
}

/// How much packing and headroom may add to the closeness of a node to a gang: a full node beside the places chosen for it
/// must not come up to one of them, nor one of another domain to one of its own.
fn beside(closeness: u8, steps: u8) -> (u8, u8) {
    match closeness {
        CLOSENESS => (steps, HEADROOM),
        IN_ITS_DOMAIN => (CLOSENESS - IN_ITS_DOMAIN - 1, 0),
        _ => (0, 0),
    }
}

/// Where old fabric data speaks against some nodes, those score nothing, and every other something.
pub(super) fn shun_doubtful(verdicts: &mut [(NodeName, Verdict)]) {
    let doubtful = |verdict: &Verdict| matches!(verdict, Verdict::Fits(Fit { doubt, .. }) if doubt.is_some());
    if !verdicts.iter().any(|(_, verdict)| doubtful(verdict)) {
        return;
    }
    for (_, verdict) in verdicts {
        if let Verdict::Fits(Fit {
            doubt,
            score: Some(score),
            ..
        }) = verdict
        {
            if doubt.is_some() {
                *score = Score::default();
            } else if score.total() == 0 {
                score.packing = 1;
            }
        }
    }
}

/// Whether nothing is left over that no pod of this shape can use.
fn fits_well(fit: &Fit, one_more_address: bool) -> bool {
    fit.load.is_full() || (fit.load.more > 0 && one_more_address)
}
