//! The smallest change that would let a pod run, found by trying.
//!
//! Every way that is offered was applied to a copy of the snapshot and decided about by the very decision the
//! scheduler gets; whatever of it turned out not to be needed was left out again. It is the smallest among those tried:
//! for each reason, the nodes that lack least, and for a gang the domains with the most room. Not every node of a large
//! cluster is tried, because the answer must come while somebody waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::change::{Change, World};
use super::hurdle::{Hurdle, in_tree};
use super::mend;
use crate::decide::claim::{Claim, claim};
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::commitment::Commitments;
use crate::decide::decision::decide;
use crate::decide::gang;
use crate::decide::names::{NodeName, PoolName};
use crate::decide::node::Node;
use crate::decide::placement::{self, Counting, Placement, Verdict};
use crate::decide::pod::Pod;
use crate::decide::policy::{Locality, Tier};
use crate::decide::roster::Roster;
use crate::decide::settings::Settings;
use crate::decide::tier::{Domain, Tiers};

/// Changes that together let the pod run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The changes, in the order in which they were found.
    pub changes: Vec<Change>,
}

impl Way {
    /// What it asks of people.
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.changes.iter().map(Change::cost).sum()
    }
}

/// How many nodes are tried for each reason, and how many domains for a gang.
const TRIED: usize = 12;

/// The most changes a way may have; more is no small change.
const LONGEST: usize = 24;

/// How many ways are worth telling.
const TOLD: usize = 3;

/// Ways in which the pod would fit, the smallest first, of different kinds; none where none of the changes we know of
/// would do.
pub(super) fn ways(
    pod: &Pod,
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
) -> Vec<Way> {
    let search = Search { settings };
    let base = World {
        pod: pod.clone(),
        snapshot: snapshot.clone(),
        commitments: commitments.clone(),
    };
    let mut trials = without_holds(&base);
    if let Some(trial) = search.with_claim(base) {
        let relaxed = search.localities(&trial);
        // Where no domain can be given room enough, the gang asks for less and a node is mended, too.
        trials.extend(relaxed.last().into_iter().flat_map(|trial| search.nodes(trial)));
        trials.extend(relaxed);
        trials.extend(search.nodes(&trial));
        trials.extend(search.domains(&trial));
        trials.push(trial);
    }
    trials.retain(|trial| !trial.changes.is_empty() && trial.changes.len() <= LONGEST);
    trials.sort_by_cached_key(|trial| (cost(&trial.changes), format!("{:?}", trial.changes)));
    let mut told: Vec<Way> = Vec::new();
    let mut kinds = Vec::new();
    for trial in trials {
        // One example of each kind of way is enough, and of those only the cheapest is tried to the end.
        let kind: Vec<_> = trial.changes.iter().map(core::mem::discriminant).collect();
        if told.len() < TOLD && !kinds.contains(&kind) && search.fits(&trial.world) {
            let changes = search.needed(pod, snapshot, commitments, trial.changes);
            let kind: Vec<_> = changes.iter().map(core::mem::discriminant).collect();
            if !kinds.contains(&kind) {
                kinds.push(kind);
                told.push(Way { changes });
            }
        }
    }
    told.sort_by_key(Way::cost);
    told
}

fn cost(changes: &[Change]) -> u64 {
    changes.iter().map(Change::cost).sum()
}

/// A world that has been changed.
#[derive(Clone, Debug)]
struct Trial {
    world: World,
    changes: Vec<Change>,
}

impl Trial {
    fn apply(&mut self, change: Change) {
        change.apply(&mut self.world);
        if let Change::Addresses(pool, more) = &change {
            for before in &mut self.changes {
                if let Change::Addresses(same, sum) = before
                    && same == pool
                {
                    *sum = sum.saturating_add(*more);
                    return;
                }
            }
        }
        self.changes.push(change);
    }
}

struct Search<'a> {
    settings: &'a Settings,
}

impl Search<'_> {
    /// Whether the pod fits somewhere: the scheduler's own filters as far as we know them, then our decision.
    fn fits(&self, world: &World) -> bool {
        let Ok(claim) = claim(&world.pod, &world.snapshot, self.settings) else {
            return false;
        };
        let candidates: Vec<NodeName> = world
            .snapshot
            .nodes
            .values()
            .filter(|node| in_tree(&claim, node, &world.snapshot).is_none())
            .map(|node| node.name.clone())
            .collect();
        decide(
            &world.pod,
            &candidates,
            &world.snapshot,
            &world.commitments,
            self.settings,
        )
        .fits()
    }

    /// Of these changes, those without which the pod would not fit.
    fn needed(
        &self,
        pod: &Pod,
        snapshot: &ClusterSnapshot,
        commitments: &Commitments,
        mut changes: Vec<Change>,
    ) -> Vec<Change> {
        let mut index = 0;
        while changes.len() > 1 && index < changes.len() {
            let mut fewer = changes.clone();
            fewer.remove(index);
            let mut world = World {
                pod: pod.clone(),
                snapshot: snapshot.clone(),
                commitments: commitments.clone(),
            };
            for change in &fewer {
                change.apply(&mut world);
            }
            if self.fits(&world) {
                changes = fewer;
            } else {
                index += 1;
            }
        }
        changes
    }

    /// The world in which the pod's claim can be worked out, if we know how to come there.
    fn with_claim(&self, world: World) -> Option<Trial> {
        let mut trial = Trial {
            world,
            changes: Vec::new(),
        };
        for _ in 0..LONGEST {
            match claim(&trial.world.pod, &trial.world.snapshot, self.settings) {
                Ok(_) => return Some(trial),
                Err(refusal) => {
                    for change in mend::against_claim(&refusal, &trial.world)? {
                        trial.apply(change);
                    }
                }
            }
        }
        None
    }

    /// Wider tiers than the one the gang requires.
    fn localities(&self, base: &Trial) -> Vec<Trial> {
        let world = &base.world;
        let Ok(claim) = claim(&world.pod, &world.snapshot, self.settings) else {
            return Vec::new();
        };
        let Some(Locality::Required(tier)) = claim.gang.as_ref().map(|gang| &gang.locality) else {
            return Vec::new();
        };
        let tiers = Tiers::of(&self.settings.tiers, &world.snapshot);
        let level = tiers.level(tier);
        let names = [Tier::LeafGroup, Tier::Spine, Tier::Core];
        let wider = (0..tiers.count())
            .filter(|wider| level.is_none_or(|level| *wider > level))
            .filter_map(|wider| names.get(wider).cloned())
            .map(Locality::Required);
        wider
            .chain([Locality::Preferred(tier.clone())])
            .map(|locality| {
                let mut trial = base.clone();
                trial.apply(Change::Locality(locality));
                trial
            })
            .collect()
    }

    /// Nodes, each mended until the pod fits there by itself: for each reason those that lack least.
    fn nodes(&self, base: &Trial) -> Vec<Trial> {
        let world = &base.world;
        let Ok(claim) = claim(&world.pod, &world.snapshot, self.settings) else {
            return Vec::new();
        };
        let settled = self.settled(&claim, world);
        let mut by_reason: BTreeMap<String, Vec<(u64, &Node)>> = BTreeMap::new();
        let placement = Placement::new(
            &claim,
            &world.snapshot,
            &world.commitments,
            self.settings,
            Counting::Firm,
        );
        for node in world.snapshot.nodes.values() {
            let inside = settled.as_ref().is_none_or(|(tiers, level, domain)| {
                tiers.domain(*level, &node.labels).as_ref() == Some(domain)
            });
            if !inside {
                continue;
            }
            let hurdle = in_tree(&claim, node, &world.snapshot)
                .map(Hurdle::Kubernetes)
                .or_else(|| match placement.on(&node.name) {
                    Verdict::Fits(_) => None,
                    Verdict::Refused(refusal) => Some(Hurdle::Ours(Arc::unwrap_or_clone(refusal))),
                });
            if let Some(hurdle) = hurdle {
                let nodes = by_reason.entry(hurdle.text()).or_default();
                nodes.push((mend::lacking(&hurdle), node));
            }
        }
        by_reason
            .into_values()
            .flat_map(|mut nodes| {
                nodes.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
                nodes.truncate(TRIED);
                nodes
            })
            .filter_map(|(_, node)| self.mended(base.clone(), &node.name))
            .collect()
    }

    /// The domain that a gang that requires one is in already.
    fn settled(&self, claim: &Claim, world: &World) -> Option<(Tiers, usize, Domain)> {
        let gang = claim.gang.as_ref()?;
        let Locality::Required(tier) = &gang.locality else {
            return None;
        };
        let tiers = Tiers::of(&self.settings.tiers, &world.snapshot);
        let level = tiers.level(tier)?;
        let standing = gang::standing(claim, gang, &world.snapshot, &world.commitments);
        let domain = gang::settled(&standing, level, &tiers, &world.snapshot)?;
        Some((tiers, level, domain))
    }

    /// The node changed until one pod like this fits there, its gang aside; none where we know no way.
    fn mended(&self, mut trial: Trial, node: &NodeName) -> Option<Trial> {
        while trial.changes.len() <= LONGEST {
            let Some(hurdle) = self.hurdle(&trial.world, node) else {
                return Some(trial);
            };
            let change = mend::against(&hurdle, node, &trial.world)?;
            trial.apply(change);
        }
        None
    }

    fn hurdle(&self, world: &World, name: &NodeName) -> Option<Hurdle> {
        let claim = match claim(&world.pod, &world.snapshot, self.settings) {
            Ok(claim) => claim,
            Err(refusal) => return Some(Hurdle::Ours(refusal)),
        };
        let node = world.snapshot.nodes.get(name)?;
        if let Some(found) = in_tree(&claim, node, &world.snapshot) {
            return Some(Hurdle::Kubernetes(found));
        }
        let verdicts = placement::place(&claim, [name], &world.snapshot, &world.commitments, self.settings);
        verdicts.into_iter().find_map(|(_, verdict)| match verdict {
            Verdict::Fits(_) => None,
            Verdict::Refused(refusal) => Some(Hurdle::Ours(Arc::unwrap_or_clone(refusal))),
        })
    }

    /// Domains of the required tier, each changed until the whole rest of the gang has room there.
    fn domains(&self, base: &Trial) -> Vec<Trial> {
        let world = &base.world;
        let Ok(claim) = claim(&world.pod, &world.snapshot, self.settings) else {
            return Vec::new();
        };
        let Some(gang) = claim.gang.as_ref() else {
            return Vec::new();
        };
        let Locality::Required(tier) = &gang.locality else {
            return Vec::new();
        };
        let tiers = Tiers::of(&self.settings.tiers, &world.snapshot);
        let Some(level) = tiers.level(tier) else {
            return Vec::new();
        };
        let standing = gang::standing(&claim, gang, &world.snapshot, &world.commitments);
        let placement = Placement::new(
            &claim,
            &world.snapshot,
            &world.commitments,
            self.settings,
            Counting::Firm,
        );
        let roster = Roster::of(&world.snapshot, self.settings);
        let mut rooms = gang::rooms(&standing, level, &roster, &placement);
        rooms.sort_by(|a, b| (b.takes(), b.slots, &a.domain).cmp(&(a.takes(), a.slots, &b.domain)));
        rooms
            .into_iter()
            .take(TRIED)
            .filter_map(|room| self.roomy(base.clone(), level, &room.domain, standing.need))
            .collect()
    }

    fn roomy(&self, mut trial: Trial, level: usize, domain: &Domain, need: u32) -> Option<Trial> {
        while trial.changes.len() <= LONGEST {
            let world = &trial.world;
            let claim = claim(&world.pod, &world.snapshot, self.settings).ok()?;
            let gang = claim.gang.as_ref()?;
            let placement = Placement::new(
                &claim,
                &world.snapshot,
                &world.commitments,
                self.settings,
                Counting::Firm,
            );
            let standing = gang::standing(&claim, gang, &world.snapshot, &world.commitments);
            let roster = Roster::of(&world.snapshot, self.settings);
            let room = gang::room_at(domain, &standing, level, &roster, &placement)?;
            if room.takes() >= need {
                return Some(trial);
            }
            let nodes = gang::nodes_of(domain, level, &roster);
            if room.slots >= need {
                let missing = missing_addresses(&nodes, need, &placement);
                if missing.is_empty() {
                    return None;
                }
                for (pool, more) in missing {
                    trial.apply(Change::Addresses(pool, more));
                }
                continue;
            }
            // The node that costs least among those that can take none; what it takes beyond is counted next time.
            let full: Vec<NodeName> = nodes
                .iter()
                .filter(|node| placement.slots(node, 1).0 == 0)
                .map(|node| node.name.clone())
                .collect();
            let own = trial.changes.len();
            let mended = full
                .iter()
                .take(4 * TRIED)
                .filter_map(|node| self.mended(trial.clone(), node))
                .filter(|mended| mended.changes.len() > own)
                .min_by_key(|mended| cost(&mended.changes));
            trial = if let Some(mended) = mended {
                mended
            } else {
                // Or a node takes one more once another's pod ends.
                let freed = nodes.iter().find_map(|node| {
                    let mut resources = claim.vfs.keys();
                    let pod = resources.find_map(|resource| mend::holder(resource, &node.name, world))?;
                    Some(Change::Ends(pod, node.name.clone()))
                })?;
                let mut trial = trial.clone();
                trial.apply(freed);
                trial
            };
        }
        None
    }
}

/// The places held for other gangs, each given up.
fn without_holds(world: &World) -> Vec<Trial> {
    let gangs = world.commitments.gangs.keys().take(TRIED);
    gangs
        .map(|gang| {
            let mut trial = Trial {
                world: world.clone(),
                changes: Vec::new(),
            };
            trial.apply(Change::HoldEnds(gang.clone()));
            trial
        })
        .collect()
}

/// For each set of pools that cannot give `need` pods an address each, what its first pool lacks.
fn missing_addresses(nodes: &[&Node], need: u32, placement: &Placement<'_>) -> Vec<(PoolName, u64)> {
    let mut missing: BTreeMap<PoolName, u64> = BTreeMap::new();
    for node in nodes {
        let (slots, sets) = placement.slots(node, need);
        if slots == 0 {
            continue;
        }
        for set in sets.iter() {
            let one = core::slice::from_ref(set);
            let given = placement.promised().times(one, need, placement.snapshot());
            if let (true, Some(pool)) = (given < need, set.first()) {
                missing.insert(pool.clone(), u64::from(need - given));
            }
        }
    }
    missing.into_iter().collect()
}
