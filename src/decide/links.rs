//! A node's *effective rails*: those whose link is Active, wide and fast enough by what the fabric import says.
//!
//! The VFs behind any other rail are not fit for use, each for its own reason. A rail whose state the dump does not
//! carry neither helps nor hurts, and neither does one that cannot be joined to a PF. Data that has grown too old
//! only prefers: its dark rails may have been repaired, and its sound ones have gone dark.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cluster::{ClusterSnapshot, Map};
use super::fabric::{Guid, Rail, RailState, Speed, Width};
use super::names::PfName;
use super::node::{Node, SriovFacts, VfGroup};
use super::settings::Settings;
use super::tier::Tiers;

/// What a link must be, to be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkPolicy {
    /// Fabric data that is older only prefers.
    pub max_age: Duration,
    /// The fewest lanes.
    pub width: Least<Width>,
    /// The slowest speed.
    pub speed: Least<Speed>,
}

/// The least that is good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Least<T> {
    /// As much as its peers have: see [`is_behind_peers`].
    Peers,
    /// Whatever there is.
    Any,
    /// This.
    Of(T),
}

impl Default for LinkPolicy {
    fn default() -> Self {
        Self {
            // An import a day is missed before anybody looks; a link that was dark for a day has been seen to.
            max_age: Duration::from_hours(24),
            width: Least::Peers,
            speed: Least::Peers,
        }
    }
}

/// When the fabric was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookedAt {
    /// Seconds since 1970.
    pub unix_seconds: i64,
    /// How long ago that was when the snapshot was made.
    pub age: Duration,
}

/// What keeps a rail from use; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkTrouble {
    /// There is no link.
    Dark,
    /// There is one, and the Subnet Manager has not brought it up.
    Inactive,
    /// It is up, and narrower or slower than it should be.
    Degraded,
}

/// A rail that cannot be used, as the import saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLink {
    /// The rail.
    pub rail: Rail,
    /// What is wrong with it.
    pub trouble: LinkTrouble,
}

/// The rate of a link, in Mbit/s of its lanes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(u32);

/// How many links of a leaf run at each rate.
pub type LeafRates = BTreeMap<Rate, u32>;

impl Rate {
    /// The rate of a rail, where width and speed are known.
    #[must_use]
    pub fn of(rail: &Rail) -> Option<Self> {
        Some(Self(u32::from(rail.width?.lanes()) * mbit(rail.speed?)))
    }
}

/// What one lane carries, in Mbit/s (InfiniBand Architecture Specification, signaling rates).
fn mbit(speed: Speed) -> u32 {
    match speed {
        Speed::Sdr => 2_500,
        Speed::Ddr => 5_000,
        Speed::Qdr => 10_000,
        Speed::Fdr10 => 10_312,
        Speed::Fdr => 14_062,
        Speed::Edr => 25_781,
        Speed::Hdr => 53_125,
        Speed::Ndr => 106_250,
        Speed::Xdr => 212_500,
    }
}

/// The rails of a node that cannot be used.
#[derive(Clone, Debug, Default)]
pub struct BadLinks<'a> {
    bad: Vec<(&'a Rail, LinkTrouble)>,
    rails: &'a [Rail],
    stale: bool,
}

impl<'a> BadLinks<'a> {
    /// Those of `node`. Costs next to nothing where all are sound.
    #[must_use]
    pub fn of(node: &'a Node, snapshot: &ClusterSnapshot, settings: &Settings) -> Self {
        let Some(Ok(rails)) = &node.fabric else {
            return Self::default();
        };
        let bad: Vec<(&Rail, LinkTrouble)> = rails
            .iter()
            .filter_map(|rail| Some((rail, trouble(rail, rails, snapshot, &settings.links)?)))
            .collect();
        Self {
            bad,
            rails,
            stale: is_stale(snapshot, settings),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bad.is_empty()
    }

    /// What is wrong with each.
    pub fn troubles(&self) -> impl Iterator<Item = LinkTrouble> {
        self.bad.iter().map(|(_, trouble)| *trouble)
    }

    /// Whether they are only a reason to prefer other nodes.
    #[must_use]
    pub fn only_prefer(&self) -> bool {
        self.stale
    }

    /// The bad link behind a group of VFs of this node.
    #[must_use]
    pub fn behind(&self, group: &VfGroup, facts: &SriovFacts) -> Option<BadLink> {
        if self.bad.is_empty() {
            return None;
        }
        let rail = joined(group, facts, self.rails)?;
        self.bad_link(|bad| bad.guid == rail.guid)
    }

    /// The bad link of the rail with this number: all there is to go by on a node without a SriovNetworkNodeState.
    #[must_use]
    pub fn of_rail(&self, number: u32) -> Option<BadLink> {
        self.bad_link(|bad| u32::from(bad.rail) == number)
    }

    fn bad_link(&self, which: impl Fn(&Rail) -> bool) -> Option<BadLink> {
        let (rail, trouble) = self.bad.iter().find(|(rail, _)| which(rail))?;
        Some(BadLink {
            rail: Rail::clone(rail),
            trouble: *trouble,
        })
    }
}

/// Whether the fabric data is too old to refuse by. Where no import has left a date, the nodes' annotations are all
/// there is, and they count.
#[must_use]
pub fn is_stale(snapshot: &ClusterSnapshot, settings: &Settings) -> bool {
    snapshot
        .fabric
        .is_some_and(|fabric| fabric.age > settings.links.max_age)
}

/// What is wrong with a rail of a node that has these rails.
fn trouble(
    rail: &Rail,
    rails: &[Rail],
    snapshot: &ClusterSnapshot,
    policy: &LinkPolicy,
) -> Option<LinkTrouble> {
    match rail.state {
        RailState::Down | RailState::Dark => return Some(LinkTrouble::Dark),
        RailState::Initialize | RailState::Armed => return Some(LinkTrouble::Inactive),
        RailState::Active | RailState::Unknown => {}
    }
    let narrow = matches!((policy.width, rail.width), (Least::Of(least), Some(width)) if width < least);
    let slow = matches!((policy.speed, rail.speed), (Least::Of(least), Some(speed)) if speed < least);
    let behind = (policy.width == Least::Peers || policy.speed == Least::Peers)
        && is_behind_peers(rail, rails, &snapshot.leaf_rates)
        && lags(rail, rails, policy);
    (narrow || slow || behind).then_some(LinkTrouble::Degraded)
}

/// Whether a link is behind its peers: behind the best other rail of its own node, and behind most of the other links
/// of its leaf. Either alone would condemn what was built so: an older node among new ones, a storage HCA beside those
/// for the GPUs. Where the leaf has no other link, the node's own rails decide.
#[must_use]
pub fn is_behind_peers(rail: &Rail, rails: &[Rail], leaves: &Map<Guid, Arc<LeafRates>>) -> bool {
    let Some(own) = Rate::of(rail) else { return false };
    if !rails.iter().filter_map(Rate::of).any(|rate| rate > own) {
        return false;
    }
    let Some(rates) = rail.leaf.and_then(|leaf| leaves.get(&leaf)) else {
        return true;
    };
    // Its own link counts among those of the leaf, if it has been counted.
    let others = |rate: Rate, links: u32| {
        if rate == own {
            links.saturating_sub(1)
        } else {
            links
        }
    };
    let (mut above, mut all) = (0_u32, 0_u32);
    for (rate, links) in rates.iter() {
        let links = others(*rate, *links);
        all = all.saturating_add(links);
        if *rate > own {
            above = above.saturating_add(links);
        }
    }
    all == 0 || above.saturating_mul(2) > all
}

/// Whether the best other rail is ahead in what the policy leaves to the peers.
fn lags(rail: &Rail, rails: &[Rail], policy: &LinkPolicy) -> bool {
    let narrower = policy.width == Least::Peers && rails.iter().any(|other| other.width > rail.width);
    let slower = policy.speed == Least::Peers && rails.iter().any(|other| other.speed > rail.speed);
    narrower || slower
}

/// The rail that a PF is connected by. One way of telling holds for a whole node, the surest that finds anything: the
/// port's GUID, then the device's name, then the order, where there are as many rails as PFs.
fn joined<'a>(group: &VfGroup, facts: &SriovFacts, rails: &'a [Rail]) -> Option<&'a Rail> {
    let by_guid = |group: &VfGroup| rails.iter().find(|rail| Some(rail.guid) == group.guid);
    if facts.groups.iter().any(|group| by_guid(group).is_some()) {
        return by_guid(group);
    }
    let by_name = |group: &VfGroup| rails.iter().find(|rail| rail.hca == group.pf.as_str());
    if facts.groups.iter().any(|group| by_name(group).is_some()) {
        return by_name(group);
    }
    let mut pfs: Vec<&PfName> = Vec::new();
    let mut seen: BTreeSet<&PfName> = BTreeSet::new();
    for group in &facts.groups {
        if seen.insert(&group.pf) {
            pfs.push(&group.pf);
        }
    }
    if pfs.len() != rails.len() {
        return None;
    }
    let place = pfs.iter().position(|pf| **pf == group.pf)?;
    rails.get(place)
}

/// Where a node sits on the fabric, as text that sorts neighbors next to each other: the path of its tiers, then the
/// port of its leaf in four digits, then its name, so that the pods of one node stay together. None where nothing is
/// known of its place.
#[must_use]
pub fn position(node: &Node, tiers: &Tiers) -> Option<String> {
    let path = (0..tiers.count()).find_map(|level| tiers.domain(level, &node.labels));
    let rails = node.fabric.as_ref().and_then(|reading| reading.as_ref().ok());
    let port = rails.and_then(|rails| rails.iter().find_map(|rail| rail.port));
    if path.is_none() && port.is_none() {
        return None;
    }
    let path = path.map(|path| path.to_string()).unwrap_or_default();
    let port = port.map_or_else(|| "----".to_owned(), |port| format!("{port:04}"));
    Some(format!("{path}/{port}/{}", node.name))
}

impl fmt::Display for BadLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rail = &self.rail;
        write!(f, "rail {}", rail.rail)?;
        if rail.hca.is_empty() {
            write!(f, " (port {})", rail.guid)?;
        } else {
            write!(f, " ({})", rail.hca)?;
        }
        write!(f, " is {}", rail.state)?;
        if let (LinkTrouble::Degraded, Some(width), Some(speed)) = (self.trouble, rail.width, rail.speed) {
            write!(f, " with {width} {speed} only")?;
        }
        match (rail.leaf_name.as_str(), rail.leaf, rail.port) {
            ("", Some(leaf), Some(port)) => write!(f, " at port {port} of leaf {leaf}"),
            (name, _, Some(port)) if !name.is_empty() => write!(f, " at port {port} of leaf {name}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::fabric::MatchedBy;
    use crate::decide::names::NodeName;
    use crate::decide::testing::{self, Cluster};
    use rstest::rstest;

    fn rail(number: u16, state: RailState) -> Rail {
        testing::rail(number, state)
    }

    fn rated(number: u16, width: &str, speed: Speed) -> Rail {
        Rail {
            width: width.parse().ok(),
            speed: Some(speed),
            ..rail(number, RailState::Active)
        }
    }

    fn leaf_of(rates: &[(&Rail, u32)]) -> Map<Guid, Arc<LeafRates>> {
        let rates = rates
            .iter()
            .map(|(rail, links)| (Rate::of(rail).unwrap(), *links))
            .collect();
        let mut leaves: Map<Guid, Arc<LeafRates>> = Map::default();
        leaves.insert_mut(Guid(0x100), Arc::new(rates));
        leaves
    }

    #[rstest]
    #[case(RailState::Active, None)]
    #[case(RailState::Unknown, None)]
    #[case(RailState::Down, Some(LinkTrouble::Dark))]
    #[case(RailState::Dark, Some(LinkTrouble::Dark))]
    #[case(RailState::Initialize, Some(LinkTrouble::Inactive))]
    #[case(RailState::Armed, Some(LinkTrouble::Inactive))]
    fn a_state_other_than_active_has_its_trouble(
        #[case] state: RailState,
        #[case] expected: Option<LinkTrouble>,
    ) {
        let rails = [rail(0, state)];
        let found = trouble(
            &rails[0],
            &rails,
            &ClusterSnapshot::default(),
            &LinkPolicy::default(),
        );
        assert_eq!(found, expected);
    }

    #[test]
    fn a_set_least_is_held_whatever_the_peers_have() {
        let policy = LinkPolicy {
            width: Least::Of("4x".parse().unwrap()),
            speed: Least::Of(Speed::Hdr),
            ..LinkPolicy::default()
        };
        let snapshot = ClusterSnapshot::default();
        let of = |rail: Rail| trouble(&rail, std::slice::from_ref(&rail), &snapshot, &policy);
        assert_eq!(of(rated(0, "4x", Speed::Hdr)), None);
        assert_eq!(of(rated(0, "4x", Speed::Edr)), Some(LinkTrouble::Degraded));
        assert_eq!(of(rated(0, "1x", Speed::Ndr)), Some(LinkTrouble::Degraded));
        assert_eq!(of(rail(0, RailState::Active)), None, "not told is not slow");
    }

    #[test]
    fn a_link_is_behind_its_peers_only_where_node_and_leaf_agree() {
        let (slow, fast) = (rated(0, "1x", Speed::Hdr), rated(1, "4x", Speed::Hdr));
        let node = [slow.clone(), fast.clone()];
        let mixed = leaf_of(&[(&fast, 7), (&slow, 1)]);
        assert!(is_behind_peers(&slow, &node, &mixed));
        assert!(!is_behind_peers(&fast, &node, &mixed));
        // A storage HCA beside those for the GPUs: its own leaf is full of the like.
        assert!(!is_behind_peers(&slow, &node, &leaf_of(&[(&slow, 8)])));
        // An older node among new ones: all its rails are alike.
        let old = [slow.clone(), rated(1, "1x", Speed::Hdr)];
        assert!(!is_behind_peers(&slow, &old, &mixed));
        // Nobody else on the leaf.
        assert!(is_behind_peers(&slow, &node, &leaf_of(&[(&slow, 1)])));
        assert!(is_behind_peers(&slow, &node, &Map::default()));
        // Twice the lanes at half the speed is the same.
        let (wide, quick) = (rated(0, "4x", Speed::Edr), rated(1, "2x", Speed::Hdr));
        assert!(Rate::of(&wide).unwrap() <= Rate::of(&quick).unwrap());
    }

    #[test]
    fn peers_count_only_in_what_is_left_to_them() {
        let rails = [rated(0, "1x", Speed::Hdr), rated(1, "4x", Speed::Hdr)];
        let snapshot = ClusterSnapshot::default();
        let with = |width, speed| LinkPolicy {
            width,
            speed,
            ..LinkPolicy::default()
        };
        let of = |policy: &LinkPolicy| trouble(&rails[0], &rails, &snapshot, policy);
        assert_eq!(of(&with(Least::Peers, Least::Any)), Some(LinkTrouble::Degraded));
        assert_eq!(of(&with(Least::Any, Least::Peers)), None);
        assert_eq!(of(&with(Least::Any, Least::Any)), None);
    }

    fn joined_with(change: impl Fn(usize, &mut VfGroup), rails: &[Rail]) -> Vec<Option<u16>> {
        let snapshot = Cluster::with_rails(2).node("n1", 8).snapshot();
        let mut facts = snapshot
            .sriov
            .get(&NodeName::from("n1"))
            .unwrap()
            .reading
            .clone()
            .unwrap();
        for (place, group) in facts.groups.iter_mut().enumerate() {
            change(place, group);
        }
        let of = |group| joined(group, &facts, rails).map(|rail| rail.rail);
        facts.groups.iter().map(of).collect()
    }

    #[test]
    fn a_pf_is_joined_by_guid_then_by_name_then_by_order() {
        // What the kernel calls the devices is not in the order of the rails.
        let mut rails = [rail(0, RailState::Active), rail(1, RailState::Active)];
        assert_eq!(joined_with(|_, _| (), &rails), [Some(0), Some(1)], "by order");
        rails[0].hca = "ibs1".to_owned();
        rails[1].hca = "ibs0".to_owned();
        assert_eq!(joined_with(|_, _| (), &rails), [Some(1), Some(0)], "by name");
        let guids = [rails[0].guid, rails[1].guid];
        let with_guids = |place: usize, group: &mut VfGroup| group.guid = Some(guids[place]);
        assert_eq!(joined_with(with_guids, &rails), [Some(0), Some(1)], "by GUID");
        // One PF is known by its GUID and the other is not on the fabric: it is not guessed.
        let replaced = |place: usize, group: &mut VfGroup| {
            group.guid = Some(if place == 0 { guids[0] } else { Guid(7) });
        };
        assert_eq!(joined_with(replaced, &rails), [Some(0), None]);
        assert_eq!(joined_with(|_, _| (), &rails[..0]), [None, None]);
        let three = [0, 1, 2].map(|number| rail(number, RailState::Active));
        assert_eq!(
            joined_with(|_, _| (), &three),
            [None, None],
            "which two of three?"
        );
    }

    #[test]
    fn old_data_is_stale_and_undated_data_is_not() {
        let settings = Settings::default();
        let mut snapshot = ClusterSnapshot::default();
        assert!(!is_stale(&snapshot, &settings));
        for (hours, stale) in [(24, false), (25, true)] {
            snapshot.fabric = Some(LookedAt {
                unix_seconds: 0,
                age: Duration::from_hours(hours),
            });
            assert_eq!(is_stale(&snapshot, &settings), stale);
        }
    }

    #[test]
    fn positions_sort_neighbors_next_to_each_other() {
        let node = |name: &str, group: &str, port: u16| {
            let cluster = Cluster::with_rails(1)
                .node_in(name, 8, group)
                .labelled(name, crate::decide::annotation::SPINE, "s1")
                .fabric(
                    name,
                    vec![Rail {
                        port: Some(port),
                        ..rail(0, RailState::Active)
                    }],
                );
            let snapshot = cluster.snapshot();
            let tiers = Tiers::of(&[], &snapshot);
            position(snapshot.nodes.get(&NodeName::from(name)).unwrap(), &tiers).unwrap()
        };
        let mut positions = [
            node("n4", "su2", 1),
            node("n3", "su1", 10),
            node("n2", "su1", 9),
            node("n1", "su10", 9),
        ];
        positions.sort();
        assert_eq!(
            positions,
            [
                "s1/su1/0009/n2",
                "s1/su1/0010/n3",
                "s1/su10/0009/n1",
                "s1/su2/0001/n4"
            ]
        );
    }

    #[test]
    fn a_node_of_which_nothing_is_known_has_no_position() {
        let snapshot = Cluster::with_rails(1).node("n1", 8).snapshot();
        let node = snapshot.nodes.get(&NodeName::from("n1")).unwrap();
        assert_eq!(position(node, &Tiers::of(&[], &snapshot)), None);
    }

    #[test]
    fn a_bad_link_is_told_with_its_place() {
        let rail = Rail {
            hca: "mlx5_1".to_owned(),
            leaf_name: "leaf03".to_owned(),
            port: Some(12),
            source: MatchedBy::Guid,
            ..rated(1, "1x", Speed::Hdr)
        };
        let told = |rail: &Rail, trouble| {
            BadLink {
                rail: rail.clone(),
                trouble,
            }
            .to_string()
        };
        assert_eq!(
            told(&rail, LinkTrouble::Degraded),
            "rail 1 (mlx5_1) is Active with 1x HDR only at port 12 of leaf leaf03"
        );
        let dark = Rail {
            state: RailState::Dark,
            hca: String::new(),
            leaf_name: String::new(),
            port: None,
            ..rail
        };
        assert_eq!(
            told(&dark, LinkTrouble::Dark),
            "rail 1 (port 0x0000000000000002) is Dark"
        );
    }
}
