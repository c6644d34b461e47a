//! The decision about one pod: a verdict for each candidate, with its score where that is asked for, and what is held for
//! the pod meanwhile.
//!
//! A pod alone is a question of nodes. A pod of a gang is a question of where the whole gang has room: *required*
//! locality lets it go only there, *preferred* locality only scores by the same choice and never blocks.

mod question;
mod ranking;

use std::collections::BTreeSet;
use std::sync::Arc;

use self::question::{Asked, Question, RestOf};
use super::claim::{Claim, GangClaim, claim};
use super::cluster::ClusterSnapshot;
use super::commitment::{self, Commitment, Commitments, GangHold};
use super::gang::{self, Room, Site, Standing};
use super::names::{GangRef, NodeName};
use super::placement::{Counting, Placement, Verdict};
use super::pod::Pod;
use super::policy::{Locality, Tier};
use super::reason::{NoRoom, Refusal};
use super::roster::Level;
use super::settings::Settings;
use super::survey::{Candidates, Surveys};
use super::tier::{Conflict, Domain};

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
    let asked = Asked::Names(candidates);
    answer(None, pod, asked, snapshot, commitments, settings, false)
}

/// The same decision, by surveys that are kept from one decision to the next.
#[must_use]
pub fn decide_by(
    surveys: &mut Surveys,
    pod: &Pod,
    candidates: &Candidates,
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
) -> Decision {
    let asked = Asked::Known(candidates);
    answer(Some(surveys), pod, asked, snapshot, commitments, settings, false)
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
    let asked = Asked::Names(candidates);
    answer(None, pod, asked, snapshot, commitments, settings, true)
}

/// The same, by surveys that are kept from one decision to the next.
#[must_use]
pub fn rank_by(
    surveys: &mut Surveys,
    pod: &Pod,
    candidates: &Candidates,
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
) -> Decision {
    let asked = Asked::Known(candidates);
    answer(Some(surveys), pod, asked, snapshot, commitments, settings, true)
}

fn answer(
    mut surveys: Option<&mut Surveys>,
    pod: &Pod,
    asked: Asked<'_>,
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
    ranked: bool,
) -> Decision {
    let claim = match claim_of(surveys.as_deref_mut(), pod, snapshot, settings) {
        Ok(claim) => claim,
        Err(refusal) => {
            let refusal = Arc::new(refusal);
            let refused = |name: &NodeName| (name.clone(), Verdict::Refused(Arc::clone(&refusal)));
            return Decision {
                verdicts: asked.names().iter().map(refused).collect(),
                ..Decision::default()
            };
        }
    };
    let question = Question::new(surveys, &claim, asked, snapshot, commitments, settings, ranked);
    let verdicts = question.one_by_one();
    let mut decision = match &claim.gang {
        Some(gang) if gang.by_scheduler => question.of_pod_group(gang, verdicts),
        Some(gang) if gang.locality != Locality::None => question.of_gang(gang, verdicts),
        _ => question.alone(verdicts),
    };
    ranking::shun_doubtful(&mut decision.verdicts);
    decision
}

/// What to hold for the rest of the pod's gang once the pod itself is reserved on `node`; nothing once no pod is still to
/// come. Where there is no room for the rest just now, what was held before stands.
#[must_use]
pub fn rest_of_gang(
    mut surveys: Option<&mut Surveys>,
    pod: &Pod,
    node: &NodeName,
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
) -> Option<(GangRef, Option<GangHold>)> {
    let claim = claim_of(surveys.as_deref_mut(), pod, snapshot, settings).ok()?;
    let gang = claim
        .gang
        .as_ref()
        .filter(|gang| gang.locality != Locality::None)?;
    let question = Question::new(
        surveys,
        &claim,
        Asked::Names(&[]),
        snapshot,
        commitments,
        settings,
        false,
    );
    let standing = gang::standing(&claim, gang, snapshot, commitments);
    let placement = question.placement(Counting::Firm);
    let node = snapshot.nodes.get(node)?;
    let tiers = question.tiers();
    let before = commitments.gangs.get(&gang.at).into_iter();
    let chosen: BTreeSet<&NodeName> = before
        .flat_map(|hold| &hold.places)
        .map(|place| &place.node)
        .collect();
    let hold = (0..tiers.count())
        .filter_map(|level| Some((level, tiers.domain(level, &node.labels)?)))
        .find_map(|(level, domain)| {
            let mut nodes = gang::nodes_of(&domain, level, question.roster());
            // What was chosen for the gang stays its own where it can.
            nodes.sort_by_key(|node| !chosen.contains(&node.name));
            gang::places_with(node, &nodes, standing.need, placement)
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

fn claim_of(
    surveys: Option<&mut Surveys>,
    pod: &Pod,
    snapshot: &ClusterSnapshot,
    settings: &Settings,
) -> Result<Claim, Refusal> {
    match surveys {
        Some(surveys) => surveys.claim(pod, snapshot, settings),
        None => claim(pod, snapshot, settings),
    }
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
                let conflict = || Conflict::of(&self.settings.tiers, self.snapshot);
                if let Some(conflict) = self.roster().is_mixed().then(conflict).flatten() {
                    return refuse_fitting(verdicts, Refusal::TiersConflict(conflict.into()));
                }
                match self.level(tier) {
                    Some(level) => self.required(gang, &standing, level, verdicts),
                    None => refuse_fitting(verdicts, Refusal::TierUnknown(tier.clone())),
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
        let level = self.tiers().level(tier)?;
        let domains = self.roster().level(level)?;
        let mut numbers = 0..domains.count();
        numbers
            .any(|number| !domains.members(number).is_empty())
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
            Err(no_room) => return refuse_fitting(verdicts, Refusal::GangNoRoom(no_room)),
        };
        let chosen = self
            .roster()
            .level(level)
            .and_then(|domains| domains.number(&choice.domain));
        let rest = RestOf::new(self, &choice, standing.need);
        let outside = Arc::new(Refusal::OutsideDomain(choice.domain.clone()));
        for ((name, verdict), number) in verdicts.iter_mut().zip(self.numbers(level)) {
            let Verdict::Fits(fit) = verdict else { continue };
            if number != chosen {
                *verdict = Verdict::Refused(Arc::clone(&outside));
            } else if choice.settled || rest.has_room_beside(name) {
                fit.domain = Some(choice.domain.clone());
            } else {
                let no_room = self.no_room(standing, level, Some(&choice.room));
                *verdict = Verdict::Refused(Arc::new(Refusal::GangNoRoom(no_room)));
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
            let begun = gang::settlements(standing, choice.level, self.tiers(), self.snapshot);
            choice.room.takes() >= standing.need && begun.keys().all(|domain| *domain == choice.domain)
        };
        let choice = (level..self.tiers().count())
            .find_map(|level| self.choose(standing, level, &verdicts).ok().filter(whole));
        let choice = choice.or_else(|| self.widest(standing, &verdicts));
        if let Some(choice) = &choice {
            let domains = self.roster().level(choice.level);
            let chosen = domains.and_then(|domains| domains.number(&choice.domain));
            for ((_, verdict), number) in verdicts.iter_mut().zip(self.numbers(choice.level)) {
                if let Verdict::Fits(fit) = verdict
                    && number == chosen
                {
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
        let settled = gang::settled(standing, level, self.tiers(), self.snapshot);
        let reachable = self.reachable(level, verdicts);
        let roster = self.roster();
        let mut best: Option<Room> = None;
        // Places that another gang would like are left to it where there are others.
        for counting in [Counting::All, Counting::Firm] {
            let placement = self.placement(counting);
            let choice = |room: Room, settled| Choice {
                domain: room.domain.clone(),
                level,
                room,
                settled,
            };
            if let Some(domain) = &settled {
                let Some(room) = gang::room_at(domain, standing, level, roster, placement) else {
                    break;
                };
                // What other gangs would like does not keep one from its only domain.
                if counting == Counting::All && room.takes() < standing.need {
                    continue;
                }
                return Ok(choice(room, true));
            }
            let sites = self.sites(level, &reachable, placement);
            let roomiest = || gang::roomiest(&sites, standing, level, roster, placement);
            let chosen = if standing.one_by_one {
                roomiest().filter(|room| room.takes() > 0)
            } else {
                gang::best_fit(&sites, standing, level, roster, placement)
            };
            match chosen {
                Some(room) => return Ok(choice(room, false)),
                None => best = roomiest(),
            }
        }
        Err(self.no_room(standing, level, best.as_ref()))
    }

    fn widest(&self, standing: &Standing, verdicts: &[(NodeName, Verdict)]) -> Option<Choice> {
        let placement = self.placement(Counting::All);
        let reachable = self.reachable(0, verdicts);
        let wanted = |number: usize| reachable.get(number).copied().unwrap_or(false);
        let room = gang::widest(standing, wanted, self.roster(), placement)?;
        Some(Choice {
            domain: room.domain.clone(),
            level: 0,
            room,
            settled: false,
        })
    }

    fn sites(&self, level: usize, reachable: &[bool], placement: &Placement<'_>) -> Vec<Site> {
        gang::sites(level, self.roster(), placement, |number| {
            reachable.get(number).copied().unwrap_or(false)
        })
    }

    /// The domains in which the pod that asks fits on some candidate, by their numbers.
    fn reachable(&self, level: usize, verdicts: &[(NodeName, Verdict)]) -> Vec<bool> {
        let domains = self.roster().level(level);
        let mut reachable = vec![false; domains.map_or(0, Level::count)];
        let fitting = verdicts
            .iter()
            .zip(self.numbers(level))
            .filter(|((_, verdict), _)| matches!(verdict, Verdict::Fits(_)));
        for number in fitting.filter_map(|(_, number)| number) {
            if let Some(reachable) = reachable.get_mut(number) {
                *reachable = true;
            }
        }
        reachable
    }

    fn no_room(&self, standing: &Standing, level: usize, best: Option<&Room>) -> NoRoom {
        NoRoom {
            tier: self.tiers().key(level).unwrap_or_default().to_owned(),
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
}

/// What would fit by itself is refused with this; the others keep their own reasons.
fn refuse_fitting(mut verdicts: Vec<(NodeName, Verdict)>, refusal: Refusal) -> Decision {
    let refusal = Arc::new(refusal);
    for (_, verdict) in &mut verdicts {
        if let Verdict::Fits(_) = verdict {
            *verdict = Verdict::Refused(Arc::clone(&refusal));
        }
    }
    Decision {
        verdicts,
        ..Decision::default()
    }
}

#[cfg(test)]
mod tests;
