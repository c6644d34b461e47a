//! One question: a pod, the nodes it may go to, and all that the answer depends on; what several parts of the answer need
//! is worked out when the first of them asks.

use std::cell::OnceCell;

use super::Choice;
use crate::decide::claim::Claim;
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::commitment::Commitments;
use crate::decide::gang::{self, Room};
use crate::decide::names::NodeName;
use crate::decide::node::Node;
use crate::decide::placement::{Counting, Placement, Verdict};
use crate::decide::roster::Roster;
use crate::decide::settings::Settings;
use crate::decide::survey::{Candidates, Ground, Surveys};
use crate::decide::tier::Tiers;

/// The nodes that are asked about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked<'a> {
    /// By their names alone.
    Names(&'a [NodeName]),
    /// With their places.
    Known(&'a Candidates),
}

impl<'a> Asked<'a> {
    pub(super) fn names(self) -> &'a [NodeName] {
        match self {
            Self::Names(names) => names,
            Self::Known(candidates) => candidates.names(),
        }
    }
}

/// One pod, and all that the answer depends on.
pub(super) struct Question<'a> {
    pub(super) claim: &'a Claim,
    /// Verdicts are in their order.
    asked: Asked<'a>,
    pub(super) snapshot: &'a ClusterSnapshot,
    pub(super) commitments: &'a Commitments,
    pub(super) settings: &'a Settings,
    /// What is known of the nodes from earlier decisions.
    pub(super) ground: Option<Ground<'a>>,
    /// The nodes, where nothing is known of them and somebody wants to.
    roster: OnceCell<Roster>,
    /// The candidates' places among the nodes.
    places: OnceCell<Vec<Option<usize>>>,
    firm: OnceCell<Placement<'a>>,
    all: OnceCell<Placement<'a>>,
    /// Scores are asked for.
    pub(super) ranked: bool,
}

impl<'a> Question<'a> {
    pub(super) fn new(
        surveys: Option<&'a mut Surveys>,
        claim: &'a Claim,
        asked: Asked<'a>,
        snapshot: &'a ClusterSnapshot,
        commitments: &'a Commitments,
        settings: &'a Settings,
        ranked: bool,
    ) -> Self {
        Self {
            claim,
            asked,
            snapshot,
            commitments,
            settings,
            ground: surveys.and_then(|surveys| surveys.of(claim, snapshot, settings)),
            roster: OnceCell::new(),
            places: OnceCell::new(),
            firm: OnceCell::new(),
            all: OnceCell::new(),
            ranked,
        }
    }

    pub(super) fn roster(&self) -> &Roster {
        match self.ground {
            Some(ground) => ground.roster,
            None => self
                .roster
                .get_or_init(|| Roster::of(self.snapshot, self.settings)),
        }
    }

    pub(super) fn tiers(&self) -> &Tiers {
        self.roster().tiers()
    }

    /// The candidates' places among the nodes, in their order.
    pub(super) fn places(&self) -> &[Option<usize>] {
        let roster = self.roster();
        if let Asked::Known(candidates) = self.asked
            && let Some(places) = candidates.places_in(roster)
        {
            return places;
        }
        self.places.get_or_init(|| {
            let names = self.asked.names().iter();
            names.map(|name| roster.place(name.as_str())).collect()
        })
    }

    /// The number of each candidate's domain, in their order.
    pub(super) fn numbers(&self, level: usize) -> impl Iterator<Item = Option<usize>> {
        let domains = self.roster().level(level);
        let places = self.places().iter();
        places.map(move |place| domains?.of((*place)?))
    }

    /// Whether the pod fits by itself, candidate by candidate.
    pub(super) fn one_by_one(&self) -> Vec<(NodeName, Verdict)> {
        let placement = self.placement(Counting::Firm);
        let names = self.asked.names().iter();
        if self.ground.is_none() {
            return names.map(|name| (name.clone(), placement.on(name))).collect();
        }
        let on = |(name, place): (&NodeName, &_)| (name.clone(), placement.on_place(*place, name));
        names.zip(self.places()).map(on).collect()
    }

    pub(super) fn placement(&self, counting: Counting) -> &Placement<'a> {
        let kept = match counting {
            Counting::Firm => &self.firm,
            Counting::All => &self.all,
        };
        kept.get_or_init(|| {
            Placement::over(
                self.ground,
                self.claim,
                self.snapshot,
                self.commitments,
                self.settings,
                counting,
            )
        })
    }
}

/// Whether the rest of a gang has room in the chosen domain once one of its pods is on a node of it.
pub(super) struct RestOf<'q> {
    placement: &'q Placement<'q>,
    nodes: Vec<&'q Node>,
    room: &'q Room,
    need: u32,
}

impl<'q> RestOf<'q> {
    pub(super) fn new(question: &'q Question<'_>, choice: &'q Choice, need: u32) -> Self {
        Self {
            placement: question.placement(Counting::Firm),
            nodes: gang::nodes_of(&choice.domain, choice.level, question.roster()),
            room: &choice.room,
            need,
        }
    }

    pub(super) fn has_room_beside(&self, name: &NodeName) -> bool {
        let at = self.nodes.binary_search_by(|node| node.name.cmp(name));
        let Some(node) = at.ok().and_then(|at| self.nodes.get(at)) else {
            return false;
        };
        self.room.places.iter().any(|place| place.node == *name)
            // Where all nodes take from the same pools, one slot is as good as another.
            || (self.room.uniform && self.placement.slots(node, 1).0 > 0)
            || gang::places_with(node, &self.nodes, self.need, self.placement).is_some()
    }
}
