//! The fabric seen from its hosts: every host with its rails, those that have gone dark among them, numbered so that a
//! rail has the same number on every host of a leaf group.

use std::collections::{BTreeMap, BTreeSet};

use crate::decide::fabric::{Guid, MatchedBy, Rail, RailState};
use crate::decide::names::natural_order;

use super::layout::{Layout, arrange, device};
use super::matching::{HostKey, HostMap, Matching, matched};
use super::model::Fabric;
use super::node::{NodeFacts, Nodes};

/// A fabric with its hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Switches, ports and links.
    pub fabric: Fabric,
    /// Who is behind each port.
    pub matching: Matching,
    /// Leaf groups and what is around them.
    pub layout: Layout,
    /// The rails of every host, in their order; without GUIDs no host has any.
    pub hosts: BTreeMap<HostKey, Vec<Rail>>,
    /// Rails at another leaf than the same rail of the group's other hosts: most likely a swapped cable.
    pub miscabled: Vec<Miscabled>,
}

/// A rail that is at another leaf than its group's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miscabled {
    /// Whose.
    pub host: HostKey,
    /// Which of its rails.
    pub rail: u16,
    /// Its device.
    pub hca: String,
    /// The leaf it is at.
    pub leaf: Guid,
    /// That leaf's port.
    pub port: Option<u16>,
    /// The leaf of that rail on most hosts of the group.
    pub expected: Guid,
}

/// Surveys a fabric. Without `nodes` every host counts as a node of the name it carries.
#[must_use]
pub fn survey(fabric: Fabric, nodes: Option<&Nodes>, map: &HostMap) -> Survey {
    let matching = matched(&fabric, nodes, map);
    let layout = arrange(&fabric, &matching);
    let mut drafts: BTreeMap<HostKey, Vec<Draft>> = BTreeMap::new();
    if fabric.has_guids {
        for (host, ports) in &matching.hosts {
            let live = ports.iter().filter_map(|(guid, by)| live(&fabric, *guid, *by));
            drafts.entry(host.clone()).or_default().extend(live);
        }
        for (node, facts) in nodes.into_iter().flatten() {
            if matching.doubtful.contains(node) {
                continue;
            }
            let key = HostKey::Node(node.clone());
            for draft in drafts.get_mut(&key).into_iter().flatten() {
                draft.name_as_before(facts);
            }
            let dark = dark(facts, drafts.get(&key).map(Vec::as_slice).unwrap_or_default());
            if !dark.is_empty() {
                drafts.entry(key).or_default().extend(dark);
            }
        }
    }
    let mut groups: BTreeMap<Option<usize>, Vec<(HostKey, Vec<Draft>)>> = BTreeMap::new();
    for (host, mut rails) in drafts {
        rails.sort_by(Draft::order);
        let group = layout.of_host.get(&host).copied();
        groups.entry(group).or_default().push((host, rails));
    }
    let mut hosts = BTreeMap::new();
    let mut miscabled = Vec::new();
    for (group, members) in groups {
        if let Some(group) = group.and_then(|group| layout.groups.get(group)) {
            let numbered = numbered(members);
            miscabled.extend(misplaced(&numbered, &group.leaves));
            hosts.extend(numbered);
        } else {
            // At no leaf that is anybody's: no other host to agree with.
            hosts.extend(members.into_iter().flat_map(|member| numbered(vec![member])));
        }
    }
    Survey {
        fabric,
        matching,
        layout,
        hosts,
        miscabled,
    }
}

/// A rail before it has its number.
struct Draft {
    rail: Rail,
    /// The number of the port on its adapter, where it is known.
    number: u16,
    /// What the host calls the device is known, so that it can be compared with other hosts.
    named: bool,
    /// Its number at the last import.
    before: Option<u16>,
}

impl Draft {
    /// Takes the device's name from the last import where the fabric does not tell it now.
    fn name_as_before(&mut self, facts: &NodeFacts) {
        let before = facts.rails.iter().find(|rail| rail.guid == self.rail.guid);
        if let Some(before) = before.filter(|before| !self.named && !before.hca.is_empty()) {
            self.rail.hca.clone_from(&before.hca);
            self.named = true;
            self.before = Some(before.rail);
        }
    }

    fn order(&self, other: &Self) -> core::cmp::Ordering {
        other
            .named
            .cmp(&self.named)
            .then_with(|| natural_order(&self.rail.hca, &other.rail.hca))
            .then_with(|| (self.number, self.rail.guid).cmp(&(other.number, other.rail.guid)))
    }
}

fn live(fabric: &Fabric, guid: Guid, source: MatchedBy) -> Option<Draft> {
    let port = fabric.ports.get(&guid)?;
    let hca = device(port.description.as_deref()).to_owned();
    let leaf = port.attached.map(|(leaf, _)| leaf);
    Some(Draft {
        named: !hca.is_empty(),
        number: port.number,
        before: None,
        rail: Rail {
            rail: 0,
            hca,
            guid,
            leaf,
            leaf_name: leaf.map(|leaf| fabric.switch_name(leaf)).unwrap_or_default(),
            port: port.attached.map(|(_, number)| number),
            state: port.link.state.unwrap_or(RailState::Unknown),
            width: port.link.width,
            speed: port.link.speed,
            source,
        },
    })
}

/// Rails of a node that are expected and not on the fabric: those of the last import, unless the adapter was replaced
/// meanwhile; and PFs whose VFs are handed out.
fn dark(facts: &NodeFacts, live: &[Draft]) -> Vec<Draft> {
    let lit: BTreeSet<Guid> = live.iter().map(|draft| draft.rail.guid).collect();
    let cables: BTreeSet<_> = live
        .iter()
        .filter_map(|draft| Some((draft.rail.leaf?, draft.rail.port?)))
        .collect();
    let pfs: BTreeSet<Guid> = facts.guids().collect();
    let mut dark: Vec<Draft> = facts
        .rails
        .iter()
        .filter(|rail| !lit.contains(&rail.guid))
        // The operator lists all PFs of the node and this is none of them any more.
        .filter(|rail| !facts.all_pfs_known() || pfs.contains(&rail.guid))
        // Another adapter of the same node hangs on its cable.
        .filter(|rail| {
            rail.leaf
                .zip(rail.port)
                .is_none_or(|cable| !cables.contains(&cable))
        })
        .map(|rail| Draft {
            number: 0,
            named: !rail.hca.is_empty() && facts.pfs.iter().flatten().all(|pf| pf.name != rail.hca),
            before: Some(rail.rail),
            rail: Rail {
                state: RailState::Dark,
                width: None,
                speed: None,
                ..rail.clone()
            },
        })
        .collect();
    let known: BTreeSet<Guid> = dark.iter().map(|draft| draft.rail.guid).collect();
    for pf in facts.pfs.iter().flatten().filter(|pf| pf.in_use()) {
        let Some(guid) = pf
            .guid
            .filter(|guid| !lit.contains(guid) && !known.contains(guid))
        else {
            continue;
        };
        dark.push(Draft {
            number: 0,
            named: false,
            before: None,
            rail: Rail {
                rail: 0,
                hca: pf.name.clone(),
                guid,
                leaf: None,
                leaf_name: String::new(),
                port: None,
                state: RailState::Dark,
                width: None,
                speed: None,
                source: MatchedBy::Guid,
            },
        });
    }
    dark
}

/// A device, and which of its ports.
type DeviceKey = (String, usize);

/// Numbers the rails of the hosts of one group. The order of devices that most of them have is everyone's, so that a
/// host that lacks one keeps the numbers of the others.
fn numbered(members: Vec<(HostKey, Vec<Draft>)>) -> Vec<(HostKey, Vec<Rail>)> {
    let mut orders: BTreeMap<Vec<DeviceKey>, usize> = BTreeMap::new();
    for (_, drafts) in &members {
        if drafts.iter().all(|draft| draft.named) {
            let count = orders.entry(keys(drafts)).or_insert(0);
            *count = count.saturating_add(1);
        }
    }
    let common: Vec<DeviceKey> = orders
        .into_iter()
        .max_by_key(|(order, count)| (*count, order.len(), core::cmp::Reverse(order.clone())))
        .map(|(order, _)| order)
        .unwrap_or_default();
    members
        .into_iter()
        .map(|(host, drafts)| (host, number(drafts, &common)))
        .collect()
}

fn keys(drafts: &[Draft]) -> Vec<DeviceKey> {
    let mut keys: Vec<DeviceKey> = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let before = keys
            .iter()
            .filter(|(device, _)| *device == draft.rail.hca)
            .count();
        keys.push((draft.rail.hca.clone(), before));
    }
    keys
}

fn number(drafts: Vec<Draft>, common: &[DeviceKey]) -> Vec<Rail> {
    let places: Vec<Option<usize>> = keys(&drafts)
        .iter()
        .zip(&drafts)
        .map(|(key, draft)| {
            common
                .iter()
                .position(|known| known == key)
                .filter(|_| draft.named)
        })
        .collect();
    let mut taken: BTreeSet<usize> = places.iter().flatten().copied().collect();
    let mut rails: Vec<Rail> = drafts
        .into_iter()
        .zip(places)
        .map(|(draft, place)| {
            let place = place
                .or_else(|| {
                    // What has no name to go by keeps its number as long as nobody else has it.
                    let before = usize::from(draft.before?);
                    (!taken.contains(&before)).then_some(before)
                })
                .unwrap_or_else(|| {
                    // One more place than are taken: one of them is free.
                    (0..=taken.len())
                        .find(|place| !taken.contains(place))
                        .unwrap_or(0)
                });
            taken.insert(place);
            Rail {
                rail: u16::try_from(place).unwrap_or(u16::MAX),
                ..draft.rail
            }
        })
        .collect();
    rails.sort_by_key(|rail| (rail.rail, rail.guid));
    rails
}

/// Rails that are not at the leaf of the group at which more than half of its hosts have that rail.
fn misplaced(hosts: &[(HostKey, Vec<Rail>)], own: &BTreeSet<Guid>) -> Vec<Miscabled> {
    let mut leaves: BTreeMap<u16, BTreeMap<Guid, usize>> = BTreeMap::new();
    for rail in hosts.iter().flat_map(|(_, rails)| rails) {
        if let Some(leaf) = rail.leaf {
            let count = leaves.entry(rail.rail).or_default().entry(leaf).or_insert(0);
            *count = count.saturating_add(1);
        }
    }
    let usual: BTreeMap<u16, Guid> = leaves
        .into_iter()
        .filter_map(|(rail, counts)| {
            let all: usize = counts.values().sum();
            let (leaf, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
            (count.saturating_mul(2) > all && own.contains(&leaf)).then_some((rail, leaf))
        })
        .collect();
    hosts
        .iter()
        .flat_map(|(host, rails)| rails.iter().map(move |rail| (host, rail)))
        .filter_map(|(host, rail)| {
            let (leaf, expected) = (rail.leaf?, *usual.get(&rail.rail)?);
            (leaf != expected).then(|| Miscabled {
                host: host.clone(),
                rail: rail.rail,
                hca: rail.hca.clone(),
                leaf,
                port: rail.port,
                expected,
            })
        })
        .collect()
}
