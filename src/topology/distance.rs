//! How far two hosts are from each other, rail by rail, in switches that a packet crosses.

use crate::decide::fabric::{Guid, Rail};

use super::model::Fabric;
use super::node::NodeFacts;

/// One rail of two hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distance {
    /// Its number.
    pub rail: u16,
    /// Where the one host has it; none where it has no such rail.
    pub one: Option<Rail>,
    /// Where the other has it.
    pub other: Option<Rail>,
    /// How many switches are between them: 1 at the same leaf, 3 by way of a spine, 5 by way of the core. None where
    /// there is no way, or none is known.
    pub switches: Option<usize>,
}

/// The distances on a fabric.
#[must_use]
pub fn on_fabric(fabric: &Fabric, one: &[Rail], other: &[Rail]) -> Vec<Distance> {
    let neighbors = fabric.neighbors();
    between(one, other, |from, to| {
        let reached = Fabric::distances(&neighbors, [from]);
        reached.get(&to).map(|cables| cables.saturating_add(1))
    })
}

/// The distances by what the nodes carry: which leaves they are at, and which areas they are both in.
#[must_use]
pub fn by_labels(one: &NodeFacts, other: &NodeFacts) -> Vec<Distance> {
    let shared = |tier: usize| {
        let label = |facts: &NodeFacts| facts.tiers.get(tier).cloned().flatten();
        label(one).is_some() && label(one) == label(other)
    };
    between(&one.rails, &other.rails, |from, to| {
        if from == to {
            Some(1)
        } else if shared(1) {
            Some(3)
        } else if shared(2) {
            Some(5)
        } else {
            None
        }
    })
}

fn between(one: &[Rail], other: &[Rail], way: impl Fn(Guid, Guid) -> Option<usize>) -> Vec<Distance> {
    let of = |rails: &[Rail], number: u16| rails.iter().find(|rail| rail.rail == number).cloned();
    let mut numbers: Vec<u16> = one.iter().chain(other).map(|rail| rail.rail).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
        .into_iter()
        .map(|number| {
            let (one, other) = (of(one, number), of(other, number));
            let leaf = |rail: &Option<Rail>| rail.as_ref().and_then(|rail| rail.leaf);
            Distance {
                rail: number,
                switches: leaf(&one).zip(leaf(&other)).and_then(|(from, to)| way(from, to)),
                one,
                other,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::matching::{HostKey, HostMap};
    use crate::topology::survey::survey;
    use crate::topology::tests::fabric;

    #[test]
    fn the_same_rail_is_one_switch_away_within_a_unit_and_three_across() {
        // As `ibtracert` counts them on the same fabric.
        let survey = survey(fabric(&["rail64/ibnetdiscover.txt"]), None, &HostMap::new());
        let rails = |host: &str| survey.hosts[&HostKey::Other(host.to_owned())].clone();
        let switches = |one: &str, other: &str| -> Vec<Option<usize>> {
            on_fabric(&survey.fabric, &rails(one), &rails(other))
                .into_iter()
                .map(|distance| distance.switches)
                .collect()
        };
        assert_eq!(switches("gpu0001", "gpu0002"), [Some(1); 4]);
        assert_eq!(switches("gpu0001", "gpu0040"), [Some(3); 4]);
    }

    #[test]
    fn separate_planes_are_out_of_reach_of_each_other() {
        let fabric = fabric(&["edge/ibnetdiscover.txt", "edge/ibnetdiscover-plane2.txt"]);
        let survey = survey(fabric, None, &HostMap::new());
        let rails = |host: &str| survey.hosts[&HostKey::Other(host.to_owned())].clone();
        let found = on_fabric(&survey.fabric, &rails("edge02"), &rails("stor01"));
        // stor01 hangs on a switch that links leaves: two switches, by the graph and not by levels.
        assert_eq!(found[0].switches, Some(2));
        assert_eq!(found[1].switches, None);
    }
}
