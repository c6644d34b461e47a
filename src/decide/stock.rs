//! Stock-taking: what the cluster has of VFs, addresses and places, and what became of each, counted for whoever watches
//! it over time. Nothing is decided by these counts.

mod faults;

use std::collections::{BTreeMap, BTreeSet};

use self::faults::{Demands, faults};
use super::amounts::{Amounts, ONE};
use super::cluster::{ClusterSnapshot, Members};
use super::commitment::{Commitments, Reserved};
use super::links::{BadLinks, LinkTrouble};
use super::names::{PodUid, PoolName, ResourceName};
use super::node::{Node, SriovFacts, VfGroup};
use super::placement::unfetched;
use super::pod::Phase;
use super::settings::Settings;
use super::tier::Tiers;

pub use self::faults::Fault;

/// What there is, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// VFs of every resource that some network asks for.
    pub vfs: BTreeMap<ResourceName, Count>,
    /// Addresses of every pool that can be read.
    pub addresses: BTreeMap<PoolName, Count>,
    /// Of the free VFs, those on nodes of which some VF is taken: too few there for a pod that wants a whole node.
    pub scattered_vfs: u64,
    /// Domains of the closest tier.
    pub groups: Groups,
    /// Gangs with pods that are placed.
    pub gangs: Gangs,
    /// Nodes with VFs by what keeps some of them from being used; a node counts under each fault that it has.
    pub faults: BTreeMap<Fault, u64>,
    /// The links of nodes with VFs, as the fabric import saw them.
    pub rails: Rails,
}

/// Links by what the fabric import says of them, however old it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rails {
    /// Nothing is wrong with them, as far as the dump tells.
    pub sound: u64,
    /// There is no link.
    pub dark: u64,
    /// The Subnet Manager has not brought them up.
    pub inactive: u64,
    /// They are narrower or slower than they should be.
    pub degraded: u64,
}

/// Where the units of one kind are. Together they are all there are, unless more is taken than there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// With bound pods; of addresses, as the IPAM records them.
    pub used: u64,
    /// Promised for certain: to a pod that is being bound, or that is bound and has not fetched its address.
    pub reserved: u64,
    /// Kept for a pod that may be bound, or for the rest of a gang.
    pub held: u64,
    /// Behind a PF or on a node that is not fit for use.
    pub unfit: u64,
    /// None of these.
    pub free: u64,
}

/// How many domains of the closest tier are how full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// No VF is taken.
    pub empty: u64,
    /// Some are.
    pub partly: u64,
    /// None is free.
    pub full: u64,
}

/// How far gangs are spread, in domains of the closest tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gangs {
    /// How many have placed pods.
    pub placed: u64,
    /// The domains that each of them is in, added up.
    pub domains: u64,
    /// The fewest that each could be in if the cluster were empty, added up.
    pub fewest: u64,
}

impl Count {
    /// Splits what is left of `total` after `used`: promises first, then what is unfit, then what is free.
    fn split(total: u64, used: u64, reserved: u64, held: u64, unfit: u64) -> Self {
        let mut left = total.saturating_sub(used);
        let mut take = |wanted: u64| {
            let taken = wanted.min(left);
            left -= taken;
            taken
        };
        let (reserved, held, unfit) = (take(reserved), take(held), take(unfit));
        Self {
            used,
            reserved,
            held,
            unfit,
            free: left,
        }
    }

    /// Adds `other`, place by place.
    pub fn add(&mut self, other: Self) {
        self.used = self.used.saturating_add(other.used);
        self.reserved = self.reserved.saturating_add(other.reserved);
        self.held = self.held.saturating_add(other.held);
        self.unfit = self.unfit.saturating_add(other.unfit);
        self.free = self.free.saturating_add(other.free);
    }
}

/// Takes stock. `reserved` names the pods whose promise is a reservation; the other promises are holds.
#[must_use]
pub fn take(
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    reserved: &BTreeSet<PodUid>,
    settings: &Settings,
) -> Stock {
    let promises = Promises::of(snapshot, commitments, reserved, settings);
    let demands = Demands::of(snapshot, settings);
    let tiers = Tiers::of(&settings.tiers, snapshot);
    let mut stock = Stock::default();
    let mut domains: BTreeMap<_, Count> = BTreeMap::new();
    for node in snapshot.nodes.values() {
        let mut on_node = Count::default();
        let links = BadLinks::of(node, snapshot, settings);
        let (faults, facts) = faults(node, snapshot, &demands, &links);
        for resource in demands.resources.keys() {
            let count = vfs_of(node, resource, snapshot, &promises, &faults, (facts, &links));
            on_node.add(count);
            stock.vfs.entry((*resource).clone()).or_default().add(count);
        }
        if on_node == Count::default() {
            continue;
        }
        for fault in faults {
            *stock.faults.entry(fault).or_default() += 1;
        }
        stock.rails.count(node, &links);
        if on_node.used > 0 {
            stock.scattered_vfs = stock.scattered_vfs.saturating_add(on_node.free);
        }
        if let Some(domain) = tiers.domain(0, &node.labels) {
            domains.entry(domain).or_default().add(on_node);
        }
    }
    for count in domains.values() {
        *match (count.used, count.free) {
            (_, 0) => &mut stock.groups.full,
            (0, _) => &mut stock.groups.empty,
            _ => &mut stock.groups.partly,
        } += 1;
    }
    for (name, pool) in &snapshot.pools {
        if let Ok(facts) = &pool.reading {
            let of = |promised: &BTreeMap<PoolName, u64>| promised.get(name).copied().unwrap_or(0);
            let (reserved, held) = (of(&promises.reserved_addresses), of(&promises.held_addresses));
            let used = facts.size.saturating_sub(facts.free);
            let count = Count::split(facts.size, used, reserved, held, 0);
            stock.addresses.insert(name.clone(), count);
        }
    }
    stock.gangs = gangs(snapshot, &tiers);
    stock
}

impl Rails {
    fn count(&mut self, node: &Node, links: &BadLinks<'_>) {
        let Some(Ok(rails)) = &node.fabric else { return };
        let mut bad = 0;
        for trouble in links.troubles() {
            bad += 1;
            *match trouble {
                LinkTrouble::Dark => &mut self.dark,
                LinkTrouble::Inactive => &mut self.inactive,
                LinkTrouble::Degraded => &mut self.degraded,
            } += 1;
        }
        self.sound += count(rails.len()).saturating_sub(bad);
    }
}

/// Promises by what they are about.
#[derive(Default)]
struct Promises<'a> {
    reserved: Reserved<'a>,
    held: Reserved<'a>,
    reserved_addresses: BTreeMap<PoolName, u64>,
    held_addresses: BTreeMap<PoolName, u64>,
}

impl<'a> Promises<'a> {
    fn of(
        snapshot: &ClusterSnapshot,
        commitments: &'a Commitments,
        reserved: &BTreeSet<PodUid>,
        settings: &Settings,
    ) -> Self {
        let mut all = Self::default();
        for pod in snapshot.unallocated.values() {
            if let Phase::Bound(node) = &pod.phase {
                for set in unfetched(pod, node, snapshot, settings).iter() {
                    count_first(&mut all.reserved_addresses, set, 1);
                }
            }
        }
        for (uid, commitment) in &commitments.pods {
            let (nodes, addresses) = if reserved.contains(uid) {
                (&mut all.reserved, &mut all.reserved_addresses)
            } else {
                (&mut all.held, &mut all.held_addresses)
            };
            nodes.promise(commitment);
            for set in &commitment.pools {
                count_first(addresses, set, 1);
            }
        }
        for hold in commitments.gangs.values() {
            all.held.hold(hold);
            for place in &hold.places {
                for set in place.pools.iter() {
                    count_first(&mut all.held_addresses, set, u64::from(place.pods));
                }
            }
        }
        all
    }
}

/// An address that can come from several pools is counted once, at the first.
fn count_first(addresses: &mut BTreeMap<PoolName, u64>, set: &[PoolName], times: u64) {
    if let Some(pool) = set.first() {
        let count = addresses.entry(pool.clone()).or_default();
        *count = count.saturating_add(times);
    }
}

fn vfs_of(
    node: &Node,
    resource: &ResourceName,
    snapshot: &ClusterSnapshot,
    promises: &Promises<'_>,
    faults: &BTreeSet<Fault>,
    (facts, links): (Option<&SriovFacts>, &BadLinks<'_>),
) -> Count {
    let of = |amounts: Option<&Amounts>| amounts.map_or(0, |amounts| amounts.of(resource.as_str()) / ONE);
    let used = of(snapshot.used.get(&node.name).map(AsRef::as_ref));
    let has_bad_link = |group: &VfGroup| {
        let link = facts.and_then(|facts| links.behind(group, facts));
        link.is_some() && !links.only_prefer()
    };
    let unfit = if faults.iter().copied().any(Fault::is_of_the_node) {
        u64::MAX
    } else {
        facts
            .map(|facts| facts.groups.as_slice())
            .unwrap_or_default()
            .iter()
            .filter(|group| group.serves(resource) && (!group.faults.is_empty() || has_bad_link(group)))
            .fold(0, |sum, group| sum + u64::from(group.vfs))
    };
    Count::split(
        of(Some(&node.offers)),
        used,
        of(promises.reserved.on(&node.name)),
        of(promises.held.on(&node.name)),
        unfit,
    )
}

fn gangs(snapshot: &ClusterSnapshot, tiers: &Tiers) -> Gangs {
    let mut gangs = Gangs::default();
    let domains = tiers.domains(0, snapshot);
    // Gangs of one shape share what an empty cluster would have for them.
    let mut rooms: BTreeMap<&Amounts, Vec<u64>> = BTreeMap::new();
    for members in snapshot.gangs.values() {
        let Some(takes) = takes(members, snapshot) else {
            continue;
        };
        let spanned: BTreeSet<_> = members
            .bound
            .values()
            .filter_map(|node| tiers.domain(0, &snapshot.nodes.get(node)?.labels))
            .collect();
        let room = rooms.entry(takes).or_insert_with(|| {
            let room = |nodes: &Vec<&Node>| {
                let slots = nodes
                    .iter()
                    .map(|node| Amounts::times(&node.offers, &[], takes, u32::MAX));
                slots.fold(0_u64, |sum, slots| sum.saturating_add(u64::from(slots)))
            };
            let mut rooms: Vec<u64> = domains.values().map(room).collect();
            rooms.sort_unstable_by(|a, b| b.cmp(a));
            rooms
        });
        gangs.placed += 1;
        gangs.domains += count(spanned.len());
        gangs.fewest += if spanned.is_empty() {
            0
        } else {
            fewest(room, count(members.bound.len()))
        };
    }
    gangs
}

/// What each pod of the gang takes; none where no pod of it is placed.
fn takes<'a>(members: &Members, snapshot: &'a ClusterSnapshot) -> Option<&'a Amounts> {
    let uid = members.bound.keys().next()?;
    snapshot.bound.get(uid).map(|pod| &pod.takes)
}

/// How many of these rooms, the largest first, hold so many pods; all of them where even they do not.
fn fewest(rooms: &[u64], pods: u64) -> u64 {
    let mut left = pods;
    let needed = rooms.iter().take_while(|room| {
        let more = left > 0;
        left = left.saturating_sub(**room);
        more
    });
    count(needed.count())
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decide::commitment::{Commitment, GangHold, Place};
    use crate::decide::fabric::{Guid, RailState};
    use crate::decide::names::GangRef;
    use crate::decide::node::RdmaMode;
    use crate::decide::testing::{Cluster, rail};

    fn taken(cluster: &Cluster, commitments: &Commitments, reserved: &[&str]) -> Stock {
        let reserved = reserved.iter().map(|uid| PodUid::from(*uid)).collect();
        take(&cluster.snapshot(), commitments, &reserved, &Settings::default())
    }

    #[test]
    fn a_vf_is_in_one_place_only() {
        let cluster = Cluster::with_rails(1)
            .node("a", 8)
            .node("b", 8)
            .state("b", |facts| facts.drain = Some("Draining".to_owned()))
            .bound("p", "a");
        let takes = cluster.pod("q").takes;
        let promise = Commitment {
            node: Some("a".into()),
            takes,
            pools: Vec::new(),
        };
        let mut commitments = Commitments::default();
        for uid in ["uid-q", "uid-r"] {
            commitments.pods.insert_mut(uid.into(), Arc::new(promise.clone()));
        }
        let stock = taken(&cluster, &commitments, &["uid-r"]);
        let expected = Count {
            used: 1,
            reserved: 1,
            held: 1,
            unfit: 8,
            free: 5,
        };
        assert_eq!(stock.vfs.values().collect::<Vec<_>>(), [&expected]);
        assert_eq!(stock.faults, BTreeMap::from([(Fault::Draining, 1)]));
        assert_eq!(stock.scattered_vfs, 5, "on a node of which a VF is taken");
    }

    #[test]
    fn nodes_that_the_extender_refuses_show_why() {
        let cluster = Cluster::with_rails(1)
            .node("fine", 8)
            .node("shared", 8)
            .state("shared", |facts| facts.rdma = RdmaMode::Shared)
            .node_without_state("unvouched", 8);
        let stock = taken(&cluster, &Commitments::default(), &[]);
        let expected = [(Fault::StateMissing, 1), (Fault::NotExclusive, 1)];
        assert_eq!(stock.faults, BTreeMap::from(expected));
        let count = stock.vfs.values().next().unwrap();
        assert_eq!((count.free, count.unfit), (8, 16));
    }

    #[test]
    fn what_lies_behind_a_dead_link_is_not_free() {
        let cluster = Cluster::with_rails(2)
            .node("a", 8)
            .state("a", |facts| {
                for (group, guid) in facts.groups.iter_mut().zip(1..) {
                    group.guid = Some(Guid(guid));
                }
            })
            .fabric("a", vec![rail(0, RailState::Active), rail(1, RailState::Dark)]);
        let stock = taken(&cluster, &Commitments::default(), &[]);
        let rails = Rails {
            sound: 1,
            dark: 1,
            ..Rails::default()
        };
        assert_eq!(stock.rails, rails);
        assert_eq!(stock.faults, BTreeMap::from([(Fault::RailDark, 1)]));
        let free: Vec<u64> = stock.vfs.values().map(|count| count.free).collect();
        assert_eq!(free, [8, 0]);
    }

    #[test]
    fn more_taken_than_there_is_leaves_nothing() {
        let count = Count::split(2, 3, 1, 1, u64::MAX);
        assert_eq!(
            (count.used, count.reserved + count.held + count.unfit + count.free),
            (3, 0)
        );
    }

    #[test]
    fn addresses_that_are_promised_are_not_free() {
        let cluster = Cluster::with_rails(1).node("a", 8).bound("p", "a");
        let snapshot = cluster.snapshot();
        let pool = snapshot.pools.keys().next().unwrap().clone();
        let hold = GangHold {
            soft: true,
            placed: BTreeSet::new(),
            takes: Amounts::default(),
            places: vec![Place {
                node: "a".into(),
                pods: 3,
                pools: [vec![pool.clone()]].into(),
            }],
        };
        let mut commitments = Commitments::default();
        let gang = GangRef {
            namespace: "default".into(),
            name: "g".into(),
        };
        commitments.gangs.insert_mut(gang, Arc::new(hold));
        let facts = snapshot.pools.get(&pool).unwrap().reading.clone().unwrap();
        let count = taken(&cluster, &commitments, &[]).addresses[&pool];
        assert_eq!(
            (count.reserved, count.held),
            (1, 3),
            "bound, not fetched; the gang's rest"
        );
        assert_eq!(count.free, facts.free - 4);
        assert_eq!(count.used, facts.size - facts.free);
    }

    #[test]
    fn a_gang_that_is_spread_shows_against_what_would_do() {
        let cluster = Cluster::with_rails(1)
            .node_in("a", 8, "l0")
            .node_in("b", 8, "l1")
            .node_in("c", 8, "l2")
            .bound_of_gang("g-0", "a", "g")
            .bound_of_gang("g-1", "b", "g");
        let stock = taken(&cluster, &Commitments::default(), &[]);
        assert_eq!(
            stock.gangs,
            Gangs {
                placed: 1,
                domains: 2,
                fewest: 1
            }
        );
        assert_eq!(
            stock.groups,
            Groups {
                empty: 1,
                partly: 2,
                full: 0
            }
        );
    }

    #[test]
    fn the_largest_rooms_are_filled_first() {
        assert_eq!(fewest(&[8, 4, 4], 9), 2);
        assert_eq!(fewest(&[8, 4, 4], 8), 1);
        assert_eq!(fewest(&[8], 9), 1);
        assert_eq!(fewest(&[], 3), 0);
    }
}
