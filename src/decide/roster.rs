//! The nodes of a cluster in a fixed order, with their places on the fabric: what decisions look up for every candidate,
//! kept between them and brought up to date node by node.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::cluster::ClusterSnapshot;
use super::names::NodeName;
use super::node::Node;
use super::settings::Settings;
use super::tier::{Domain, PresetMarks, Tiers};

/// The nodes, each at a place of its own.
#[derive(Debug, Default)]
pub struct Roster {
    /// Up to which change it is up to date.
    seen: Option<u64>,
    /// Counts how often it was made anew; places are others then.
    edition: u64,
    places: HashMap<NodeName, usize>,
    /// A node that is gone leaves its place empty, so that those of the others stay.
    nodes: Vec<Option<Arc<Node>>>,
    /// Of the node that is or was at each place.
    names: Vec<NodeName>,
    gone: usize,
    /// How many nodes carry which presets.
    marks: BTreeMap<PresetMarks, usize>,
    tiers: Tiers,
    levels: Vec<Level>,
}

/// The domains of one level.
#[derive(Debug, Default)]
pub struct Level {
    /// By number.
    domains: Vec<Domain>,
    numbers: BTreeMap<Domain, usize>,
    /// The places of the nodes in each.
    members: Vec<Vec<usize>>,
    /// The number of each node's domain, by the node's place.
    of: Vec<Option<usize>>,
}

/// Empty places are cleared away once they are more than this and a quarter of all.
const EMPTY_PLACES: usize = 256;

impl Roster {
    /// That of a snapshot.
    #[must_use]
    pub fn of(snapshot: &ClusterSnapshot, settings: &Settings) -> Self {
        let mut roster = Self::default();
        roster.catch_up(snapshot, settings);
        roster
    }

    /// Brings it up to date with a later snapshot.
    pub fn catch_up(&mut self, snapshot: &ClusterSnapshot, settings: &Settings) {
        let changed = self.seen.and_then(|seen| snapshot.changes.since(seen));
        match changed {
            Some(names) if self.gone <= EMPTY_PLACES.max(self.nodes.len() / 4) => {
                for name in names {
                    self.set(name, snapshot.nodes.get(name));
                }
            }
            _ => {
                *self = Self {
                    edition: self.edition + 1,
                    places: HashMap::with_capacity(snapshot.nodes.size()),
                    nodes: Vec::with_capacity(snapshot.nodes.size()),
                    ..Self::default()
                };
                for (name, node) in &snapshot.nodes {
                    self.set(name, Some(node));
                }
            }
        }
        self.seen = snapshot.changes.now();
        let tiers = Tiers::among(&settings.tiers, self.marks.keys().copied());
        if tiers != self.tiers {
            self.levels = (0..tiers.count()).map(|_| Level::default()).collect();
            self.tiers = tiers;
            for (place, node) in self.nodes.iter().enumerate() {
                for (number, level) in self.levels.iter_mut().enumerate() {
                    let domain = node
                        .as_ref()
                        .and_then(|node| self.tiers.domain(number, &node.labels));
                    level.set(place, domain);
                }
            }
        }
    }

    fn set(&mut self, name: &NodeName, node: Option<&Arc<Node>>) {
        let place = match (self.places.get(name), node) {
            (Some(place), _) => *place,
            (None, None) => return,
            (None, Some(_)) => {
                self.places.insert(name.clone(), self.nodes.len());
                self.nodes.push(None);
                self.names.push(name.clone());
                self.gone += 1;
                self.nodes.len() - 1
            }
        };
        let Some(at) = self.nodes.get_mut(place) else {
            return;
        };
        let before = core::mem::replace(at, node.cloned());
        match (&before, node) {
            (None, Some(_)) => self.gone -= 1,
            (Some(_), None) => self.gone += 1,
            _ => {}
        }
        if before.as_ref().map(|node| &node.labels) == node.map(|node| &node.labels) {
            return;
        }
        if let Some(before) = before
            && let Some(count) = self.marks.get_mut(&before.presets)
        {
            *count -= 1;
            if *count == 0 {
                self.marks.remove(&before.presets);
            }
        }
        if let Some(node) = node {
            *self.marks.entry(node.presets).or_insert(0) += 1;
        }
        for (number, level) in self.levels.iter_mut().enumerate() {
            level.set(
                place,
                node.and_then(|node| self.tiers.domain(number, &node.labels)),
            );
        }
    }

    /// Which edition of the places this is.
    #[must_use]
    pub(super) fn edition(&self) -> u64 {
        self.edition
    }

    /// How many places there are, empty ones included.
    #[must_use]
    pub(super) fn places(&self) -> usize {
        self.nodes.len()
    }

    /// The place of a node that is there or was.
    #[must_use]
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// The node at a place.
    #[must_use]
    pub(super) fn node(&self, place: usize) -> Option<&Arc<Node>> {
        self.nodes.get(place)?.as_ref()
    }

    /// The name of the node that is or was at a place.
    #[must_use]
    pub(super) fn name(&self, place: usize) -> Option<&NodeName> {
        self.names.get(place)
    }

    /// The tiers in force.
    #[must_use]
    pub fn tiers(&self) -> &Tiers {
        &self.tiers
    }

    /// Whether nodes may carry the labels of different presets.
    #[must_use]
    pub(super) fn is_mixed(&self) -> bool {
        self.marks.keys().filter(|marks| !marks.is_empty()).count() > 1
    }

    /// The domains of a level.
    #[must_use]
    pub(super) fn level(&self, level: usize) -> Option<&Level> {
        self.levels.get(level)
    }
}

impl Level {
    fn set(&mut self, place: usize, domain: Option<Domain>) {
        if self.of.len() <= place {
            self.of.resize(place + 1, None);
        }
        let number = domain.map(|domain| {
            let next = self.domains.len();
            *self.numbers.entry(domain).or_insert_with_key(|domain| {
                self.domains.push(domain.clone());
                self.members.push(Vec::new());
                next
            })
        });
        let Some(of) = self.of.get_mut(place) else { return };
        let before = core::mem::replace(of, number);
        if before == number {
            return;
        }
        if let Some(members) = before.and_then(|before| self.members.get_mut(before)) {
            members.retain(|member| *member != place);
        }
        if let Some(members) = number.and_then(|number| self.members.get_mut(number)) {
            members.push(place);
        }
    }

    /// How many domains have a number; some may be empty by now.
    #[must_use]
    pub(super) fn count(&self) -> usize {
        self.domains.len()
    }

    /// The domain of a number.
    #[must_use]
    pub(super) fn domain(&self, number: usize) -> Option<&Domain> {
        self.domains.get(number)
    }

    /// The number of a domain.
    #[must_use]
    pub(super) fn number(&self, domain: &Domain) -> Option<usize> {
        self.numbers.get(domain).copied()
    }

    /// The number of the domain of the node at a place.
    #[must_use]
    pub(super) fn of(&self, place: usize) -> Option<usize> {
        self.of.get(place).copied().flatten()
    }

    /// The places of a domain's nodes.
    #[must_use]
    pub(super) fn members(&self, number: usize) -> &[usize] {
        self.members.get(number).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::testing::Cluster;

    fn seen(roster: &Roster) -> Vec<(String, Vec<String>)> {
        let level = roster.level(0).unwrap();
        let mut domains: Vec<(String, Vec<String>)> = (0..level.count())
            .map(|number| {
                let nodes = level.members(number).iter();
                let mut nodes: Vec<String> = nodes
                    .map(|place| roster.node(*place).unwrap().name.to_string())
                    .collect();
                nodes.sort();
                (level.domain(number).unwrap().to_string(), nodes)
            })
            .filter(|(_, nodes)| !nodes.is_empty())
            .collect();
        domains.sort();
        domains
    }

    #[test]
    fn follows_nodes_that_come_move_and_go() {
        let settings = Settings::default();
        let cluster = Cluster::with_rails(1).node_in("a1", 1, "a").node_in("b1", 1, "b");
        let mut snapshot = cluster.clone().snapshot();
        snapshot.changes = super::super::changes::Changes::kept();
        let mut roster = Roster::of(&snapshot, &settings);
        let place = roster.place("a1");
        let moved = cluster
            .node_in("b2", 1, "b")
            .labelled("a1", super::super::annotation::LEAF_GROUP, "c");
        let mut next = moved.snapshot();
        next.changes = snapshot.changes.clone();
        next.nodes.remove_mut("b1");
        for name in ["a1", "b1", "b2", "b1"] {
            next.changes.of(&name.into());
        }
        roster.catch_up(&next, &settings);
        assert_eq!(
            seen(&roster),
            [
                ("b".to_owned(), vec!["b2".to_owned()]),
                ("c".to_owned(), vec!["a1".to_owned()])
            ]
        );
        assert_eq!((roster.place("a1"), roster.edition()), (place, 1));
        assert_eq!(roster.gone, 1);
        assert_eq!(seen(&Roster::of(&next, &settings)), seen(&roster));
    }

    #[test]
    fn empty_places_are_cleared_away() {
        let settings = Settings::default();
        let mut snapshot = Cluster::with_rails(1).node_in("a1", 1, "a").snapshot();
        snapshot.changes = super::super::changes::Changes::kept();
        let mut roster = Roster::of(&snapshot, &settings);
        let node = snapshot.nodes.get("a1").cloned().unwrap();
        for number in 0..3 * EMPTY_PLACES {
            let name = NodeName::from(format!("n{number}"));
            snapshot.nodes.insert_mut(name.clone(), Arc::clone(&node));
            snapshot.changes.of(&name);
            roster.catch_up(&snapshot, &settings);
            snapshot.nodes.remove_mut(&name);
            snapshot.changes.of(&name);
            roster.catch_up(&snapshot, &settings);
        }
        assert!(roster.places() <= 2 * EMPTY_PLACES, "{}", roster.places());
        assert!(roster.place("a1").is_some());
    }
}
