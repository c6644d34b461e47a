//! Which leaves belong together, and what is around them.
//!
//! The unit of locality is the leaf group: leaves that serve the same hosts. In a plain fat tree that is one leaf, in a
//! rail-optimised fabric one leaf for each rail. Two leaves belong together when the sets of their hosts have a Jaccard
//! similarity of at least one half, so that neither a dead link nor a pair of swapped cables splits or joins groups.

use std::collections::{BTreeMap, BTreeSet};

use crate::decide::fabric::Guid;
use crate::decide::names::natural_order;

use super::dump::PortKind;
use super::host::Description;
use super::matching::{HostKey, Matching};
use super::model::Fabric;

/// The arrangement of a fabric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Leaf groups, by their smallest leaf.
    pub groups: Vec<Group>,
    /// The group of each host that is in one.
    pub of_host: BTreeMap<HostKey, usize>,
    /// For every switch the number of its plane.
    pub planes: BTreeMap<Guid, usize>,
    /// For every switch how many cables it is from the next leaf.
    pub levels: BTreeMap<Guid, usize>,
}

/// Leaves that serve the same hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Its leaves, by GUID.
    pub leaves: BTreeSet<Guid>,
    /// The hosts that have a port at one of them.
    pub hosts: BTreeSet<HostKey>,
    /// The areas around it, closest first: the same switch in two groups' names says that they share the area. None
    /// where the fabric has no such tier.
    pub around: [Option<Guid>; 2],
}

/// Arranges the leaves. Hosts that are nodes tell what is a leaf; where nobody knows the nodes, every host does.
#[must_use]
pub fn arrange(fabric: &Fabric, matching: &Matching) -> Layout {
    let hosts: Vec<(&HostKey, Vec<Guid>)> = matching
        .hosts
        .iter()
        .filter(|(host, _)| !matching.by_nodes || matches!(host, HostKey::Node(_)))
        .map(|(host, ports)| (host, leaves_in_order(fabric, ports.iter().map(|(guid, _)| *guid))))
        .filter(|(_, leaves)| !leaves.is_empty())
        .collect();

    let neighbors = fabric.neighbors();
    let planes = Fabric::planes(&neighbors);
    let mut served: BTreeMap<Guid, BTreeSet<usize>> = BTreeMap::new();
    for (index, (_, leaves)) in hosts.iter().enumerate() {
        for leaf in leaves {
            served.entry(*leaf).or_default().insert(index);
        }
    }
    let sets = joined_across_planes(joined_within_planes(&served, &planes), &served, &planes);

    let mut groups: Vec<Group> = sets
        .into_iter()
        .map(|leaves| Group {
            hosts: leaves
                .iter()
                .filter_map(|leaf| served.get(leaf))
                .flatten()
                .filter_map(|index| hosts.get(*index))
                .map(|(host, _)| (*host).clone())
                .collect(),
            leaves,
            around: [None, None],
        })
        .collect();
    groups.sort_by_key(|group| group.leaves.first().copied());

    let mut group_of_leaf: BTreeMap<Guid, usize> = BTreeMap::new();
    for (index, group) in groups.iter().enumerate() {
        group_of_leaf.extend(group.leaves.iter().map(|leaf| (*leaf, index)));
    }
    let of_host = hosts
        .iter()
        .filter_map(|(host, leaves)| Some(((*host).clone(), home(leaves, &group_of_leaf)?)))
        .collect();
    let levels = Fabric::distances(&neighbors, group_of_leaf.keys().copied());
    surround(&mut groups, &neighbors, &planes, &levels);
    Layout {
        groups,
        of_host,
        planes,
        levels,
    }
}

/// The leaf of every port of a host that has one, in the order of its devices; a leaf with two of them comes twice.
fn leaves_in_order(fabric: &Fabric, ports: impl Iterator<Item = Guid>) -> Vec<Guid> {
    let mut found: Vec<(&str, u16, Guid, Guid)> = ports
        .filter_map(|guid| {
            let port = fabric.ports.get(&guid)?;
            let (leaf, _) = port.attached.filter(|_| port.kind == PortKind::Host)?;
            Some((device(port.description.as_deref()), port.number, guid, leaf))
        })
        .collect();
    found.sort_by(|a, b| natural_order(a.0, b.0).then_with(|| (a.1, a.2).cmp(&(b.1, b.2))));
    found.into_iter().map(|(_, _, _, leaf)| leaf).collect()
}

/// The device in a description; empty where it names none.
#[must_use]
pub fn device(description: Option<&str>) -> &str {
    match description.map(Description::read) {
        Some(Description::Named { device, .. }) => device,
        _ => "",
    }
}

/// The group with most of a host's ports; of several such, the one of the earliest device.
fn home(leaves: &[Guid], groups: &BTreeMap<Guid, usize>) -> Option<usize> {
    let mut counts: Vec<(usize, usize)> = Vec::new();
    for group in leaves.iter().filter_map(|leaf| groups.get(leaf)) {
        match counts.iter_mut().find(|(known, _)| known == group) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => counts.push((*group, 1)),
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max()?;
    counts
        .into_iter()
        .find(|(_, count)| *count == most)
        .map(|(group, _)| group)
}

/// Jaccard similarity of at least one half, in whole numbers: |A and B| / |A or B| >= 1/2.
fn similar(common: usize, one: usize, other: usize) -> bool {
    common.saturating_mul(3) >= one.saturating_add(other)
}

/// Sets of leaves of one plane that belong together.
fn joined_within_planes(
    served: &BTreeMap<Guid, BTreeSet<usize>>,
    planes: &BTreeMap<Guid, usize>,
) -> Vec<BTreeSet<Guid>> {
    let leaves: Vec<(Guid, &BTreeSet<usize>)> = served.iter().map(|(leaf, hosts)| (*leaf, hosts)).collect();
    let sets: Vec<&BTreeSet<usize>> = leaves.iter().map(|(_, hosts)| *hosts).collect();
    let mut union = Union::of(leaves.len());
    for ((one, other), common) in in_common(&sets) {
        let (Some((leaf, a)), Some((next, b))) = (leaves.get(one), leaves.get(other)) else {
            continue;
        };
        if planes.get(leaf) == planes.get(next) && similar(common, a.len(), b.len()) {
            union.join(one, other);
        }
    }
    let mut sets: BTreeMap<usize, BTreeSet<Guid>> = BTreeMap::new();
    for (index, (leaf, _)) in leaves.iter().enumerate() {
        sets.entry(union.root(index)).or_default().insert(*leaf);
    }
    sets.into_values().collect()
}

/// By set and plane: the most similar set there with its similarity; none once two are equally so.
type Counterparts = BTreeMap<(usize, Option<usize>), (f64, Option<usize>)>;

/// Joins sets of different planes that serve the same hosts. Only one of each plane can be the counterpart of another:
/// the most similar one; where two are equally so, none is.
fn joined_across_planes(
    sets: Vec<BTreeSet<Guid>>,
    served: &BTreeMap<Guid, BTreeSet<usize>>,
    planes: &BTreeMap<Guid, usize>,
) -> Vec<BTreeSet<Guid>> {
    let plane = |set: &BTreeSet<Guid>| set.first().and_then(|leaf| planes.get(leaf)).copied();
    let hosts: Vec<BTreeSet<usize>> = sets
        .iter()
        .map(|set| {
            set.iter()
                .filter_map(|leaf| served.get(leaf))
                .flatten()
                .copied()
                .collect()
        })
        .collect();
    // For each set and each other plane: the best counterpart there, none once two are equally good.
    let mut best: Counterparts = BTreeMap::new();
    let mut note = |set: usize, plane: Option<usize>, other: usize, score: f64| {
        let entry = best.entry((set, plane)).or_insert((score, Some(other)));
        if score > entry.0 {
            *entry = (score, Some(other));
        } else if entry.1 != Some(other) && score.total_cmp(&entry.0).is_eq() {
            entry.1 = None;
        }
    };
    let views: Vec<&BTreeSet<usize>> = hosts.iter().collect();
    for ((one, other), common) in in_common(&views) {
        let (Some(a), Some(b)) = (sets.get(one), sets.get(other)) else {
            continue;
        };
        let sizes = hosts.get(one).map_or(0, BTreeSet::len) + hosts.get(other).map_or(0, BTreeSet::len);
        let (plane_a, plane_b) = (plane(a), plane(b));
        if plane_a != plane_b && common.saturating_mul(3) >= sizes {
            let score = ratio(common, sizes.saturating_sub(common));
            note(one, plane_b, other, score);
            note(other, plane_a, one, score);
        }
    }
    let mut union = Union::of(sets.len());
    for ((set, _), (_, other)) in &best {
        let Some(other) = *other else { continue };
        let back = sets.get(*set).and_then(|set| best.get(&(other, plane(set))));
        if back.is_some_and(|(_, back)| *back == Some(*set)) {
            union.join(*set, other);
        }
    }
    let mut joined: BTreeMap<usize, BTreeSet<Guid>> = BTreeMap::new();
    for (index, set) in sets.into_iter().enumerate() {
        joined.entry(union.root(index)).or_default().extend(set);
    }
    joined.into_values().collect()
}

/// How many members each two sets have in common; pairs without any are left out.
fn in_common<T: Ord + Copy>(sets: &[&BTreeSet<T>]) -> BTreeMap<(usize, usize), usize> {
    let mut holders: BTreeMap<T, Vec<usize>> = BTreeMap::new();
    for (index, set) in sets.iter().enumerate() {
        for member in *set {
            holders.entry(*member).or_default().push(index);
        }
    }
    let mut common: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for indexes in holders.values() {
        for (position, one) in indexes.iter().enumerate() {
            for other in indexes.iter().skip(position.saturating_add(1)) {
                let count = common.entry((*one, *other)).or_insert(0);
                *count = count.saturating_add(1);
            }
        }
    }
    common
}

/// Groups that share what is above them.
#[derive(Default)]
struct Area {
    groups: BTreeSet<usize>,
    below: BTreeSet<Guid>,
    higher: BTreeSet<Guid>,
}

/// The areas around the groups: what their switches lead to, level by level.
///
/// The outermost tier is the connected fabric itself; a tier within it is made of groups that mostly share the switches
/// above them, by the same similarity as leaves.
fn surround(
    groups: &mut [Group],
    neighbors: &BTreeMap<Guid, Vec<Guid>>,
    planes: &BTreeMap<Guid, usize>,
    levels: &BTreeMap<Guid, usize>,
) {
    let highest = levels.values().copied().max().unwrap_or(0);
    let above = |switches: &BTreeSet<Guid>, level: usize| -> BTreeSet<Guid> {
        switches
            .iter()
            .filter_map(|switch| neighbors.get(switch))
            .flatten()
            .filter(|switch| levels.get(*switch) == Some(&level))
            .copied()
            .collect()
    };
    let mut members: Vec<BTreeSet<usize>> = (0..groups.len()).map(|index| BTreeSet::from([index])).collect();
    let mut switches: Vec<BTreeSet<Guid>> = groups.iter().map(|group| group.leaves.clone()).collect();
    for tier in 0..2 {
        let level = tier + 1;
        let outermost = highest <= level;
        // Without a switch above, and with but one leaf, there is nothing around: the group is all there is.
        if highest < level && (tier > 0 || neighbors.values().all(Vec::is_empty)) {
            return;
        }
        let higher: Vec<BTreeSet<Guid>> = switches.iter().map(|set| above(set, level)).collect();
        let connected = connected(&switches, planes);
        let mut union = if outermost {
            connected.clone()
        } else {
            Union::of(members.len())
        };
        let views: Vec<&BTreeSet<Guid>> = higher.iter().collect();
        for ((one, other), common) in in_common(&views) {
            let size = |index: usize| higher.get(index).map_or(0, BTreeSet::len);
            if similar(common, size(one), size(other)) {
                union.join(one, other);
            }
        }
        // What shares its switches already shares all there is: a switch further out leads nowhere else (a leaf all of
        // whose hosts are down looks so), and is no tier.
        let outermost = outermost || union.flat() == connected;
        let mut areas: BTreeMap<usize, Area> = BTreeMap::new();
        for (index, ((inside, below), higher)) in members.iter().zip(&switches).zip(&higher).enumerate() {
            let area = areas.entry(union.root(index)).or_default();
            area.groups.extend(inside);
            area.below.extend(below);
            area.higher.extend(higher);
        }
        members.clear();
        switches.clear();
        for area in areas.into_values() {
            let name = area.higher.first().or_else(|| area.below.first()).copied();
            for group in &area.groups {
                if let Some(around) = groups
                    .get_mut(*group)
                    .and_then(|group| group.around.get_mut(tier))
                {
                    *around = name;
                }
            }
            members.push(area.groups);
            switches.push(area.higher);
        }
        if outermost {
            return;
        }
    }
}

/// Joins what is in the same connected part of the fabric.
fn connected(switches: &[BTreeSet<Guid>], planes: &BTreeMap<Guid, usize>) -> Union {
    let reach: Vec<BTreeSet<usize>> = switches
        .iter()
        .map(|set| {
            set.iter()
                .filter_map(|switch| planes.get(switch))
                .copied()
                .collect()
        })
        .collect();
    let views: Vec<&BTreeSet<usize>> = reach.iter().collect();
    let mut union = Union::of(switches.len());
    for (one, other) in in_common(&views).into_keys() {
        union.join(one, other);
    }
    union.flat()
}

/// Sets that are joined one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Union(Vec<usize>);

impl Union {
    fn of(members: usize) -> Self {
        Self((0..members).collect())
    }

    /// The smallest member of the set that `member` is in.
    fn root(&self, member: usize) -> usize {
        let mut at = member;
        while let Some(up) = self.0.get(at).copied().filter(|up| *up != at) {
            at = up;
        }
        at
    }

    /// The same sets, every member pointing at the smallest of its set, so that equal sets are equal values.
    fn flat(&self) -> Self {
        Self((0..self.0.len()).map(|member| self.root(member)).collect())
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        if let Some(root) = self.0.get_mut(one.max(other)) {
            *root = one.min(other);
        }
    }
}

/// As a fraction; both are numbers of hosts, far below where a float is no longer exact.
fn ratio(part: usize, whole: usize) -> f64 {
    let float = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    float(part) / float(whole.max(1))
}
