//! What `topology show` draws: leaf groups with their leaves and hosts, from a dump or from what the nodes carry.

use std::collections::{BTreeMap, BTreeSet};

use crate::decide::fabric::{Guid, Rail, RailState, Speed, Width};
use crate::decide::names::natural_order;

use super::matching::HostKey;
use super::node::{NodeFacts, Nodes};
use super::plan::Plan;
use super::survey::Survey;

/// A fabric, arranged for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// Leaf groups, by core, spine and name.
    pub groups: Vec<GroupPicture>,
    /// Hosts that are in none.
    pub loose: Vec<HostPicture>,
    /// Switches that are no leaf of a group: GUID, name, and how many cables they are from the next leaf.
    pub higher: Vec<(Guid, String, Option<usize>)>,
    /// Links between switches, with how many cables each has; none where only the nodes are known.
    pub trunks: BTreeMap<(Guid, Guid), usize>,
    /// How a healthy rail runs: what most of them do.
    pub usual: Usual,
}

/// How most rails run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usual {
    /// Their lanes.
    pub width: Option<Width>,
    /// The speed of each.
    pub speed: Option<Speed>,
}

/// A leaf group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupPicture {
    /// Its name.
    pub name: String,
    /// The area around it.
    pub spine: Option<String>,
    /// The area around that.
    pub core: Option<String>,
    /// Its leaves: GUID, name, and the rails they serve.
    pub leaves: Vec<(Guid, String, BTreeSet<u16>)>,
    /// Its hosts, in natural order.
    pub hosts: Vec<HostPicture>,
}

/// A host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPicture {
    /// Its name.
    pub name: String,
    /// Its rails.
    pub rails: Vec<Rail>,
}

/// How a rail is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// It is up, as far as the dump tells.
    Fine,
    /// It runs narrower or slower than most.
    Slow,
    /// It is not active.
    Unfit,
    /// It is not there.
    Dark,
}

impl Usual {
    /// What most of these rails do; of two that are as common, the better one.
    #[must_use]
    pub fn of<'a>(rails: impl Iterator<Item = &'a Rail>) -> Self {
        let mut widths: BTreeMap<Width, usize> = BTreeMap::new();
        let mut speeds: BTreeMap<Speed, usize> = BTreeMap::new();
        for rail in rails {
            if let Some(width) = rail.width {
                let count = widths.entry(width).or_insert(0);
                *count = count.saturating_add(1);
            }
            if let Some(speed) = rail.speed {
                let count = speeds.entry(speed).or_insert(0);
                *count = count.saturating_add(1);
            }
        }
        Self {
            width: widths
                .into_iter()
                .max_by_key(|(width, count)| (*count, *width))
                .map(|(width, _)| width),
            speed: speeds
                .into_iter()
                .max_by_key(|(speed, count)| (*count, *speed))
                .map(|(speed, _)| speed),
        }
    }

    /// How a rail compares.
    #[must_use]
    pub fn health(self, rail: &Rail) -> Health {
        match rail.state {
            RailState::Dark => Health::Dark,
            RailState::Down | RailState::Initialize | RailState::Armed => Health::Unfit,
            RailState::Active | RailState::Unknown => {
                let below = rail.width.is_some_and(|width| Some(width) < self.width)
                    || rail.speed.is_some_and(|speed| Some(speed) < self.speed);
                if below { Health::Slow } else { Health::Fine }
            }
        }
    }
}

impl Picture {
    /// Of a dump.
    #[must_use]
    pub fn of_survey(survey: &Survey, plan: &Plan) -> Self {
        let mut hosts: Vec<(HostPicture, [Option<String>; 3])> = Vec::new();
        let empty = Vec::new();
        for host in survey
            .hosts
            .keys()
            .chain(survey.matching.hosts.keys())
            .collect::<BTreeSet<_>>()
        {
            let labels = match host {
                HostKey::Node(name) => plan.nodes.get(name),
                HostKey::Other(name) => plan.nodes.get(name.as_str()),
                HostKey::Nameless(_) => None,
            };
            let picture = HostPicture {
                name: host.name(),
                rails: survey.hosts.get(host).unwrap_or(&empty).clone(),
            };
            hosts.push((
                picture,
                labels.map(|node| node.labels.clone()).unwrap_or_default(),
            ));
        }
        let mut picture = Self::of_hosts(hosts);
        let leaves: BTreeSet<Guid> = picture
            .groups
            .iter()
            .flat_map(|group| group.leaves.iter().map(|(guid, ..)| *guid))
            .collect();
        picture.higher = survey
            .fabric
            .switches
            .keys()
            .filter(|guid| !leaves.contains(guid))
            .map(|guid| {
                let level = survey.layout.levels.get(guid).copied();
                (*guid, survey.fabric.switch_name(*guid), level)
            })
            .collect();
        for ((one, _), (other, _)) in survey.fabric.cables.keys() {
            let count = picture.trunks.entry((*one, *other)).or_insert(0);
            *count = count.saturating_add(1);
        }
        picture
    }

    /// Of what the nodes carry from the last import.
    #[must_use]
    pub fn of_nodes(nodes: &Nodes) -> Self {
        let on_fabric =
            |facts: &&NodeFacts| !facts.rails.is_empty() || facts.tiers.iter().any(Option::is_some);
        Self::of_hosts(
            nodes
                .iter()
                .filter(|(_, facts)| on_fabric(facts))
                .map(|(name, facts)| {
                    let host = HostPicture {
                        name: name.to_string(),
                        rails: facts.rails.clone(),
                    };
                    (host, facts.tiers.clone())
                })
                .collect(),
        )
    }

    fn of_hosts(hosts: Vec<(HostPicture, [Option<String>; 3])>) -> Self {
        let usual = Usual::of(hosts.iter().flat_map(|(host, _)| &host.rails));
        let mut groups: BTreeMap<[Option<String>; 3], GroupPicture> = BTreeMap::new();
        let mut loose = Vec::new();
        for (host, labels) in hosts {
            let [Some(name), spine, core] = labels else {
                loose.push(host);
                continue;
            };
            let key = [core.clone(), spine.clone(), Some(name.clone())];
            let group = groups.entry(key).or_insert_with(|| GroupPicture {
                name,
                spine,
                core,
                ..GroupPicture::default()
            });
            group.hosts.push(host);
        }
        let mut groups: Vec<GroupPicture> = groups.into_values().collect();
        for group in &mut groups {
            group.hosts.sort_by(|a, b| natural_order(&a.name, &b.name));
            group.leaves = leaves(&group.hosts);
        }
        loose.sort_by(|a, b| natural_order(&a.name, &b.name));
        Self {
            groups,
            loose,
            usual,
            ..Self::default()
        }
    }
}

/// The leaves that at least half as many of the hosts are at as are at the most used one; others are where a swapped
/// cable leads, and belong to another group.
fn leaves(hosts: &[HostPicture]) -> Vec<(Guid, String, BTreeSet<u16>)> {
    let mut found: BTreeMap<Guid, (String, BTreeMap<u16, usize>)> = BTreeMap::new();
    for rail in hosts.iter().flat_map(|host| &host.rails) {
        if let Some(leaf) = rail.leaf {
            let (_, rails) = found
                .entry(leaf)
                .or_insert_with(|| (rail.leaf_name.clone(), BTreeMap::new()));
            let count = rails.entry(rail.rail).or_insert(0);
            *count = count.saturating_add(1);
        }
    }
    let uses = |rails: &BTreeMap<u16, usize>| rails.values().sum::<usize>();
    let most = found.values().map(|(_, rails)| uses(rails)).max().unwrap_or(0);
    let mut leaves: Vec<(Guid, String, BTreeSet<u16>)> = found
        .into_iter()
        .filter(|(_, (_, rails))| uses(rails).saturating_mul(2) >= most)
        .map(|(guid, (name, rails))| {
            let usual = rails.values().copied().max().unwrap_or(0);
            let rails = rails
                .into_iter()
                .filter(|(_, count)| count.saturating_mul(2) >= usual)
                .map(|(rail, _)| rail)
                .collect();
            (guid, name, rails)
        })
        .collect();
    leaves.sort_by(|a, b| (a.2.first(), a.0).cmp(&(b.2.first(), b.0)));
    leaves
}
