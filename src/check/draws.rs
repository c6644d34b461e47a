//! Which pools networks draw from, and what room there is in them.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::fleet::networks;
use super::tally::few;
use crate::decide::address::Family;
use crate::decide::names::{NetworkRef, NodeName, PoolName};
use crate::decide::network::Ipam;
use crate::decide::node::Node;
use crate::decide::pool::PoolFacts;
use crate::decide::wildcard::{self, Pattern};

/// What a network draws from, for one family.
pub(super) struct Draw {
    pub(super) family: Family,
    pub(super) pools: Vec<PoolName>,
    /// Names and wildcards for which there is no pool.
    pub(super) unmatched: Vec<String>,
}

/// What every network with Spiderpool addresses draws from, whoever the pod is: its own pools, else the cluster's
/// defaults. The full precedence needs a pod, and is `decide::claim`'s.
pub(super) fn draws(facts: &Facts) -> Vec<(&NetworkRef, Vec<Draw>)> {
    let settings = &facts.configuration.decisions;
    networks(facts)
        .filter_map(|(at, attachment)| {
            let Ipam::Spiderpool { v4, v6, .. } = &attachment.ipam else {
                return None;
            };
            let own = !v4.is_empty() || !v6.is_empty();
            let draws = [(Family::V4, v4, settings.ipv4), (Family::V6, v6, settings.ipv6)]
                .into_iter()
                .filter(|(_, _, enabled)| *enabled)
                .map(|(family, names, _)| {
                    if own {
                        resolve(facts, family, names)
                    } else {
                        Draw {
                            family,
                            pools: pools_where(facts, |pool| pool.default && pool.family == family),
                            unmatched: Vec::new(),
                        }
                    }
                })
                .collect();
            Some((at, draws))
        })
        .collect()
}

fn resolve(facts: &Facts, family: Family, names: &[String]) -> Draw {
    let mut draw = Draw {
        family,
        pools: Vec::new(),
        unmatched: Vec::new(),
    };
    for name in names {
        let found = if wildcard::is_wildcard(name) {
            let pattern = Pattern::parse(name).ok();
            let matching = pattern
                .iter()
                .flat_map(|pattern| facts.snapshot.pools_matching(pattern, family));
            matching.map(|pool| pool.name.clone()).collect()
        } else {
            let there = facts.snapshot.pools.get(name.as_str());
            there
                .map(|pool| pool.name.clone())
                .into_iter()
                .collect::<Vec<_>>()
        };
        if found.is_empty() {
            draw.unmatched.push(name.clone());
        }
        draw.pools.extend(found);
    }
    draw
}

fn pools_where(facts: &Facts, holds: impl Fn(&PoolFacts) -> bool) -> Vec<PoolName> {
    facts
        .snapshot
        .pools
        .values()
        .filter(|pool| pool.reading.as_ref().is_ok_and(&holds))
        .map(|pool| pool.name.clone())
        .collect()
}

/// Free addresses in a set of pools: in those open to all nodes, and in those tied to some.
#[derive(Default)]
pub(super) struct Room<'a> {
    pub(super) free: u64,
    open: u64,
    by_name: BTreeMap<&'a NodeName, u64>,
    by_selector: Vec<(&'a PoolFacts, u64)>,
}

impl<'a> Room<'a> {
    pub(super) fn of(facts: &'a Facts, pools: &[PoolName]) -> Self {
        let mut room = Self::default();
        for name in pools {
            let pool = facts.snapshot.pools.get(name.as_str());
            let Some(reading) = pool.and_then(|pool| pool.reading.as_ref().ok()) else {
                continue;
            };
            if reading.disabled || reading.terminating {
                continue;
            }
            room.free = room.free.saturating_add(reading.free);
            if reading.nodes.is_open() {
                room.open = room.open.saturating_add(reading.free);
            } else if reading.nodes.names.is_empty() {
                room.by_selector.push((reading, reading.free));
            } else {
                for node in &reading.nodes.names {
                    let sum = room.by_name.entry(node).or_default();
                    *sum = sum.saturating_add(reading.free);
                }
            }
        }
        room
    }

    pub(super) fn has(&self, node: &Node) -> bool {
        self.open > 0
            || self.by_name.get(&node.name).is_some_and(|free| *free > 0)
            || self
                .by_selector
                .iter()
                .any(|(pool, free)| *free > 0 && pool.nodes.admits(&node.name, &node.labels))
    }

    /// `12 of 500 free in rail0, 5 reserved`.
    pub(super) fn told(&self, facts: &Facts, pools: &[PoolName]) -> String {
        let (mut size, mut listed) = (0_u64, 0_u64);
        let mut off = Vec::new();
        for name in pools {
            let pool = facts.snapshot.pools.get(name.as_str());
            let reading = pool.and_then(|pool| pool.reading.as_ref().ok());
            size = size.saturating_add(reading.map_or(0, |reading| reading.size));
            let counters = facts.counters.get(name);
            listed = listed.saturating_add(counters.map_or(0, |counters| counters.listed));
            match reading {
                Some(reading) if reading.disabled => off.push(format!("{name} is disabled")),
                Some(reading) if reading.terminating => off.push(format!("{name} is being deleted")),
                Some(_) => {}
                None => off.push(format!("{name} cannot be read")),
            }
        }
        let names: Vec<String> = pools.iter().map(ToString::to_string).collect();
        let reserved = (listed > size).then(|| format!("{} reserved", listed - size));
        let told = format!("{} of {size} free in {}", self.free, few(&names));
        let parts: Vec<String> = [told].into_iter().chain(reserved).chain(off).collect();
        parts.join(", ")
    }
}
