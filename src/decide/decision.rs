//! The decision about one pod: a verdict for each candidate, with its score where that is asked for, and what is held for
//! the pod meanwhile.
//!
//! A pod alone is a question of nodes. A pod of a gang is a question of where the whole gang has room: *required*
//! locality lets it go only there, *preferred* locality only scores by the same choice and never blocks.

mod ranking;

use super::claim::{Claim, GangClaim, claim};
use super::cluster::ClusterSnapshot;
use super::commitment::{self, Commitment, Commitments, GangHold};
use super::gang::{self, Room, Standing};
use super::names::{GangRef, NodeName};
use super::node::Node;
use super::placement::{self, Counting, Fit, Placement, Verdict};
use super::pod::Pod;
use super::policy::{Locality, Tier};
use super::reason::{NoRoom, Refusal};
use super::score::Score;
use super::settings::Settings;
use super::tier::{Conflict, Domain, Tiers};

/// What is decided about one pod.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// One for each candidate, in the order they were given.
    pub verdicts: Vec<(NodeName, Verdict)>,
    /// What to hold for the pod until it is bound.
    pub pod: Option<Commitment>,
    /// What to hold for its gang.
    pub gang: Option<(GangRef, GangHold)>,
}

impl Decision {
    /// Whether the pod fits somewhere.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.verdicts
            .iter()
            .any(|(_, verdict)| matches!(verdict, Verdict::Fits(_)))
    }
}

/// Decides about `pod`. The answer does not depend on the order of `candidates`, nor on promises to the pod itself.
#[must_use]
pub fn decide(
    pod: &Pod,
    candidates: &[NodeName],
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
) -> Decision {
    answer(pod, candidates, snapshot, commitments, settings, false)
}

/// The same decision, with a score for each node that fits.
#[must_use]
pub fn rank(
    pod: &Pod,
    candidates: &[NodeName],
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
) -> Decision {
    answer(pod, candidates, snapshot, commitments, settings, true)
}

fn answer(
    pod: &Pod,
    candidates: &[NodeName],
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
    ranked: bool,
) -> Decision {
    let claim = match claim(pod, snapshot, settings) {
        Ok(claim) => claim,
        Err(refusal) => {
            let refused = |name: &NodeName| (name.clone(), Verdict::Refused(refusal.clone()));
            return Decision {
                verdicts: candidates.iter().map(refused).collect(),
                ..Decision::default()
            };
        }
    };
    let question = Question {
        claim: &claim,
        snapshot,
        commitments,
        settings,
        tiers: Tiers::of(&settings.tiers, snapshot),
        ranked,
    };
    let verdicts = placement::place(&claim, candidates, snapshot, commitments, settings);
    let mut decision = match &claim.gang {
        Some(gang) if gang.by_scheduler => question.of_pod_group(gang, verdicts),
        Some(gang) if gang.locality != Locality::None => question.of_gang(gang, verdicts),
        _ => question.alone(verdicts),
    };
    shun_doubtful(&mut decision.verdicts);
    decision
}

/// What to hold for the rest of the pod's gang once the pod itself is reserved on `node`; nothing once no pod is still to
/// come. Where there is no room for the rest just now, what was held before stands.
#[must_use]
pub fn rest_of_gang(
    pod: &Pod,
    node: &NodeName,
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
) -> Option<(GangRef, Option<GangHold>)> {
    let claim = claim(pod, snapshot, settings).ok()?;
    let gang = claim
        .gang
        .as_ref()
        .filter(|gang| gang.locality != Locality::None)?;
    let tiers = Tiers::of(&settings.tiers, snapshot);
    let standing = gang::standing(&claim, gang, snapshot, commitments);
    let placement = Placement::new(&claim, snapshot, commitments, settings, Counting::Firm);
    let node = snapshot.nodes.get(node)?;
    let hold = (0..tiers.count())
        .filter_map(|level| Some((level, tiers.domain(level, &node.labels)?)))
        .find_map(|(level, domain)| {
            let nodes = tiers.domains(level, snapshot).remove(&domain)?;
            gang::places_with(node, &nodes, standing.need, &placement)
        });
    if hold.is_none() && standing.need > 1 {
        return None;
    }
    let hold = hold
        .map(|mut places| {
            if let Some(own) = places.first_mut() {
                own.pods -= 1;
            }
            places.retain(|place| place.pods > 0);
            gang::hold(&claim, gang, places, standing.members.iter().chain([&pod.at.uid]))
        })
        .filter(|hold| !hold.places.is_empty());
    Some((gang.at.clone(), hold))
}

/// One pod, and all that the answer depends on.
struct Question<'a> {
    claim: &'a Claim,
    snapshot: &'a ClusterSnapshot,
    commitments: &'a Commitments,
    settings: &'a Settings,
    tiers: Tiers,
    /// Scores are asked for.
    ranked: bool,
}

/// Where a gang is to go.
struct Choice {
    domain: Domain,
    level: usize,
    room: Room,
    settled: bool,
}

impl Question<'_> {
    /// A pod alone goes where it breaks no leaf group that is still whole.
    fn alone(&self, mut verdicts: Vec<(NodeName, Verdict)>) -> Decision {
        let pod = commitment::hold(self.claim, &verdicts, self.settings.binds);
        if self.ranked {
            self.rank(&mut verdicts, None);
        }
        Decision {
            verdicts,
            pod,
            gang: None,
        }
    }

    /// Kubernetes' own PodGroup: the scheduler tries its pods in one domain after the other, and cannot say which of its
    /// questions were in earnest. So nothing is held, its locality is the scheduler's, and each of its pods is asked the
    /// same: whether the pools have addresses for all that are still to come.
    fn of_pod_group(&self, gang: &GangClaim, mut verdicts: Vec<(NodeName, Verdict)>) -> Decision {
        let size = self.snapshot.pod_groups.get(&gang.at).copied().flatten();
        let known = GangClaim {
            size: size.or(gang.size),
            ..gang.clone()
        };
        let need = gang::standing(self.claim, &known, self.snapshot, self.commitments).need;
        let placement = self.placement(Counting::Firm);
        placement.need_for_all(&mut verdicts, need);
        if self.ranked {
            self.rank(&mut verdicts, None);
        }
        Decision {
            verdicts,
            ..Decision::default()
        }
    }

    fn of_gang(&self, gang: &GangClaim, verdicts: Vec<(NodeName, Verdict)>) -> Decision {
        let standing = gang::standing(self.claim, gang, self.snapshot, self.commitments);
        match &gang.locality {
            Locality::Required(tier) => {
                // Of some nodes it is then not known which others they are close to.
                if let Some(conflict) = Conflict::of(&self.settings.tiers, self.snapshot) {
                    return refuse_fitting(verdicts, &Refusal::TiersConflict(conflict.into()));
                }
                match self.level(tier) {
                    Some(level) => self.required(gang, &standing, level, verdicts),
                    None => refuse_fitting(verdicts, &Refusal::TierUnknown(tier.clone())),
                }
            }
            Locality::Preferred(tier) => {
                // A tier that no node carries yet cannot be preferred, and never blocks.
                let level = self.level(tier).unwrap_or(0);
                self.preferred(gang, &standing, level, verdicts)
            }
            Locality::None => self.alone(verdicts),
        }
    }

    /// The level of a tier that some node carries.
    fn level(&self, tier: &Tier) -> Option<usize> {
        let level = self.tiers.level(tier)?;
        let key = self.tiers.key(level)?;
        self.snapshot
            .nodes
            .values()
            .any(|node| node.labels.contains_key(key))
            .then_some(level)
    }

    /// Only where the whole rest of the gang has room; where it has begun, only there.
    fn required(
        &self,
        gang: &GangClaim,
        standing: &Standing,
        level: usize,
        mut verdicts: Vec<(NodeName, Verdict)>,
    ) -> Decision {
        if !verdicts
            .iter()
            .any(|(_, verdict)| matches!(verdict, Verdict::Fits(_)))
        {
            return Decision {
                verdicts,
                ..Decision::default()
            };
        }
        let choice = match self.choose(standing, level, &verdicts) {
            Ok(choice) => choice,
            Err(no_room) => return refuse_fitting(verdicts, &Refusal::GangNoRoom(no_room)),
        };
        let placement = self.placement(Counting::Firm);
        let nodes = self
            .tiers
            .domains(level, self.snapshot)
            .remove(&choice.domain)
            .unwrap_or_default();
        for (name, verdict) in &mut verdicts {
            let Verdict::Fits(fit) = verdict else { continue };
            let Some(node) = self.node(name) else { continue };
            if self.tiers.domain(level, &node.labels).as_ref() != Some(&choice.domain) {
                *verdict = Verdict::Refused(Refusal::OutsideDomain(choice.domain.clone()));
                continue;
            }
            let leaves_room = choice.settled
                || choice.room.places.iter().any(|place| place.node == *name)
                || gang::places_with(node, &nodes, standing.need, &placement).is_some();
            if leaves_room {
                fit.domain = Some(choice.domain.clone());
            } else {
                let no_room = self.no_room(standing, level, Some(&choice.room));
                *verdict = Verdict::Refused(Refusal::GangNoRoom(no_room));
            }
        }
        self.given(gang, standing, verdicts, Some(choice))
    }

    /// Anywhere; best where the whole rest of the gang has room, in the closest tier that has such a place. Where none
    /// has, over as few of the closest domains as can be.
    fn preferred(
        &self,
        gang: &GangClaim,
        standing: &Standing,
        level: usize,
        mut verdicts: Vec<(NodeName, Verdict)>,
    ) -> Decision {
        if !verdicts
            .iter()
            .any(|(_, verdict)| matches!(verdict, Verdict::Fits(_)))
        {
            return Decision {
                verdicts,
                ..Decision::default()
            };
        }
        let whole = |choice: &Choice| {
            let begun = gang::settlements(standing, choice.level, &self.tiers, self.snapshot);
            choice.room.takes() >= standing.need && begun.keys().all(|domain| *domain == choice.domain)
        };
        let choice = (level..self.tiers.count())
            .find_map(|level| self.choose(standing, level, &verdicts).ok().filter(whole));
        let choice = choice.or_else(|| self.widest(standing, &verdicts));
        if let Some(choice) = &choice {
            for (name, verdict) in &mut verdicts {
                let inside = self.node(name).is_some_and(|node| {
                    self.tiers.domain(choice.level, &node.labels).as_ref() == Some(&choice.domain)
                });
                if let (Verdict::Fits(fit), true) = (verdict, inside) {
                    fit.domain = Some(choice.domain.clone());
                }
            }
        }
        self.given(gang, standing, verdicts, choice)
    }

    /// The domain of this level for the gang.
    fn choose(
        &self,
        standing: &Standing,
        level: usize,
        verdicts: &[(NodeName, Verdict)],
    ) -> Result<Choice, NoRoom> {
        let settled = gang::settled(standing, level, &self.tiers, self.snapshot);
        let reachable = self.reachable(level, verdicts);
        let mut best: Option<Room> = None;
        // Places that another gang would like are left to it where there are others.
        for counting in [Counting::All, Counting::Firm] {
            let placement = self.placement(counting);
            let mut rooms = gang::rooms(standing, level, &self.tiers, self.snapshot, &placement);
            if let Some(domain) = &settled {
                let Some(room) = rooms.into_iter().find(|room| room.domain == *domain) else {
                    break;
                };
                // What other gangs would like does not keep one from its only domain.
                if counting == Counting::All && room.takes() < standing.need {
                    continue;
                }
                return Ok(Choice {
                    domain: domain.clone(),
                    level,
                    room,
                    settled: true,
                });
            }
            rooms.retain(|room| reachable.contains(&room.domain));
            let chosen = if standing.one_by_one {
                gang::roomiest(&rooms).filter(|room| room.takes() > 0)
            } else {
                gang::best_fit(&rooms, standing.need)
            };
            if let Some(room) = chosen {
                return Ok(Choice {
                    domain: room.domain.clone(),
                    level,
                    room: room.clone(),
                    settled: false,
                });
            }
            best = gang::roomiest(&rooms).cloned();
        }
        Err(self.no_room(standing, level, best.as_ref()))
    }

    fn widest(&self, standing: &Standing, verdicts: &[(NodeName, Verdict)]) -> Option<Choice> {
        let placement = self.placement(Counting::All);
        let reachable = self.reachable(0, verdicts);
        let room = gang::widest(standing, &reachable, &self.tiers, self.snapshot, &placement)?;
        Some(Choice {
            domain: room.domain.clone(),
            level: 0,
            room,
            settled: false,
        })
    }

    /// The domains in which the pod that asks fits on some candidate.
    fn reachable(
        &self,
        level: usize,
        verdicts: &[(NodeName, Verdict)],
    ) -> std::collections::BTreeSet<Domain> {
        verdicts
            .iter()
            .filter(|(_, verdict)| matches!(verdict, Verdict::Fits(_)))
            .filter_map(|(name, _)| self.tiers.domain(level, &self.node(name)?.labels))
            .collect()
    }

    fn no_room(&self, standing: &Standing, level: usize, best: Option<&Room>) -> NoRoom {
        NoRoom {
            tier: self.tiers.key(level).unwrap_or_default().to_owned(),
            need: standing.need,
            best: best.map(|room| (room.domain.clone(), room.takes())),
        }
    }

    /// What is held for a gang that has been given a place.
    fn given(
        &self,
        gang: &GangClaim,
        standing: &Standing,
        mut verdicts: Vec<(NodeName, Verdict)>,
        choice: Option<Choice>,
    ) -> Decision {
        let Some(choice) = choice else {
            return self.alone(verdicts);
        };
        if self.ranked {
            self.rank(&mut verdicts, Some(&choice));
        }
        let hold = gang::hold(self.claim, gang, choice.room.places, &standing.members);
        let fits = verdicts
            .iter()
            .any(|(_, verdict)| matches!(verdict, Verdict::Fits(_)));
        let gang = (fits && !hold.places.is_empty()).then(|| (gang.at.clone(), hold));
        // The gang's places include one for this pod; where there are none, the pod is held for alone.
        let pod = if gang.is_some() {
            None
        } else {
            commitment::hold(self.claim, &verdicts, self.settings.binds)
        };
        Decision { verdicts, pod, gang }
    }

    fn placement(&self, counting: Counting) -> Placement<'_> {
        Placement::new(
            self.claim,
            self.snapshot,
            self.commitments,
            self.settings,
            counting,
        )
    }

    fn node(&self, name: &NodeName) -> Option<&Node> {
        self.snapshot.nodes.get(name).map(AsRef::as_ref)
    }
}

/// Where old fabric data speaks against some nodes, those score nothing, and every other something.
fn shun_doubtful(verdicts: &mut [(NodeName, Verdict)]) {
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

/// What would fit by itself is refused with this; the others keep their own reasons.
fn refuse_fitting(mut verdicts: Vec<(NodeName, Verdict)>, refusal: &Refusal) -> Decision {
    for (_, verdict) in &mut verdicts {
        if let Verdict::Fits(_) = verdict {
            *verdict = Verdict::Refused(refusal.clone());
        }
    }
    Decision {
        verdicts,
        ..Decision::default()
    }
}

#[cfg(test)]
mod tests;
