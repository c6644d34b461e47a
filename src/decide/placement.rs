//! Where a pod can go: for each candidate node, whether it fits and with what, or why not.

mod unfetched;
mod vfs;

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use self::unfetched::not_yet_held;
pub use self::unfetched::{unfetched, unfetched_of};
pub use self::vfs::VfStanding;
pub use super::survey::Counting;

use super::amounts::Amounts;
use super::claim::{Claim, Demand};
use super::cluster::ClusterSnapshot;
use super::commitment::{Commitments, Reserved};
use super::fitness::modes_told;
use super::links::BadLink;
use super::names::{InterfaceName, NodeName, PoolName};
use super::node::Node;
use super::pod::Phase;
use super::pool::Pool;
use super::reason::{EmptyPools, Refusal};
use super::score::{Load, Score};
use super::settings::Settings;
use super::supply::{Exhausted, PoolSet, Promised};
use super::survey::{self, Class, Ground, sets_of};
use super::tier::Domain;

/// What is decided about one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The pod fits.
    Fits(Fit),
    /// It does not.
    Refused(Arc<Refusal>),
}

/// How a pod fits on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// For each address it will need, the interface and the pools it can come from there.
    pub pools: Arc<[(InterfaceName, PoolSet)]>,
    /// For each address it has already, the interface and the pool.
    pub kept: Arc<[(InterfaceName, PoolName)]>,
    /// The domain of its gang, where the gang has one.
    pub domain: Option<Domain>,
    /// A bad link that the pod may meet there, by fabric data too old to refuse by.
    pub doubt: Option<Box<BadLink>>,
    /// How much of the node's VFs is in use once the pod is there.
    pub load: Load,
    /// How good the node is; none where nobody asked.
    pub score: Option<Score>,
}

/// Decides about one pod, node by node; what is the same for all nodes is worked out once.
#[derive(Debug)]
pub struct Placement<'a> {
    claim: &'a Claim,
    snapshot: &'a ClusterSnapshot,
    settings: &'a Settings,
    promised: Promised,
    counting: Counting,
    reserved: Reserved<'a>,
    /// What is known of the nodes already.
    ground: Option<Ground<'a>>,
    /// Some node's state says in which RDMA mode it is.
    modes_told: OnceCell<bool>,
    /// Some pool is tied to nodes, so that the pools' answer differs between them.
    tied: bool,
    /// The pools' answer for all nodes, where none is.
    everywhere: OnceCell<Result<(), Arc<Refusal>>>,
    /// The pools' answer for each class of nodes, where they are known.
    by_class: Vec<OnceCell<Result<(), Arc<Refusal>>>>,
    /// What most pods keep.
    nothing_kept: Arc<[(InterfaceName, PoolName)]>,
    no_pools: Arc<[PoolSet]>,
}

impl<'a> Placement<'a> {
    /// Prepares to decide about the pod of `claim`; its own promises, and those of its gang to pods that are still to
    /// come, do not stand in its way.
    #[must_use]
    pub fn new(
        claim: &'a Claim,
        snapshot: &'a ClusterSnapshot,
        commitments: &'a Commitments,
        settings: &'a Settings,
        counting: Counting,
    ) -> Self {
        Self::over(None, claim, snapshot, commitments, settings, counting)
    }

    /// The same, by what is known of the nodes already.
    pub(super) fn over(
        ground: Option<Ground<'a>>,
        claim: &'a Claim,
        snapshot: &'a ClusterSnapshot,
        commitments: &'a Commitments,
        settings: &'a Settings,
        counting: Counting,
    ) -> Self {
        let own = &claim.pod.uid;
        let mut promised = Promised::default();
        let mut reserved = Reserved::default();
        for (uid, pod) in &snapshot.unallocated {
            if let (true, Phase::Bound(node)) = (uid != own, &pod.phase) {
                promised.add_all(&unfetched(pod, node, snapshot, settings)[..], 1);
            }
        }
        let unseen = commitments
            .pods
            .iter()
            .filter(|(uid, _)| *uid != own && snapshot.bound.get(*uid).is_none());
        for (uid, commitment) in unseen {
            // The records may show an address before the watch of pods shows that its pod is bound.
            promised.add_all(not_yet_held(&commitment.pools, uid, snapshot), 1);
            reserved.promise(commitment);
        }
        let own_gang = claim.gang.as_ref().map(|gang| &gang.at);
        for (gang, hold) in &commitments.gangs {
            if Some(gang) == own_gang || (hold.soft && counting == Counting::Firm) {
                continue;
            }
            // Neighbors have the same pools, mostly.
            for alike in hold.places.chunk_by(|a, b| Arc::ptr_eq(&a.pools, &b.pools)) {
                let pods = alike
                    .iter()
                    .fold(0_u32, |sum, place| sum.saturating_add(place.pods));
                if let Some(place) = alike.first() {
                    promised.add_all(place.pools.iter(), pods);
                }
            }
            reserved.hold(hold);
        }
        let modes_told = ground.map_or_else(OnceCell::new, |ground| OnceCell::from(ground.modes_told()));
        Self {
            claim,
            snapshot,
            settings,
            promised,
            counting,
            reserved,
            modes_told,
            tied: ground.is_none() && claim.demands.iter().any(Demand::differs_by_node),
            everywhere: OnceCell::new(),
            by_class: vec![OnceCell::new(); ground.map_or(0, |ground| ground.classes().len())],
            nothing_kept: Arc::from([]),
            no_pools: Arc::from([]),
            ground,
        }
    }

    /// How many pods like this one fit on the node beside each other, by everything but addresses, `most` at the
    /// most; and out of which sets of pools each gets its addresses there.
    #[must_use]
    pub fn slots(&self, node: &Node, most: u32) -> (u32, Arc<[PoolSet]>) {
        let place = self
            .ground
            .and_then(|ground| ground.roster.place(node.name.as_str()));
        self.slots_at(place, node, most)
    }

    /// The same of a node whose place is known.
    pub(super) fn slots_at(&self, place: Option<usize>, node: &Node, most: u32) -> (u32, Arc<[PoolSet]>) {
        let known = self.ground.zip(place).and_then(|(ground, place)| {
            let standing = ground.standing(place)?;
            let sets = standing
                .pools
                .as_ref()
                .ok()
                .and_then(|class| ground.classes().get(*class));
            Some((
                ground.slots(place, self.counting),
                sets.map(|class| Arc::clone(&class.sets)),
            ))
        });
        let nothing = || (0, Arc::clone(&self.no_pools));
        let reserved = self.reserved.on(&node.name);
        let (known, sets) = match known {
            Some((_, None)) => return nothing(),
            Some((slots, Some(sets))) => (Some(slots), sets),
            None => {
                let pools = survey::pools_on(self.claim, node);
                let (Ok(pools), Ok(_)) = (pools, kept_on(self.claim, node)) else {
                    return nothing();
                };
                (None, Class::of(pools).sets)
            }
        };
        let slots = match (known, reserved) {
            (Some(slots), None) => slots,
            _ => self.slots_beside(node, reserved),
        };
        if slots == 0 {
            return nothing();
        }
        (slots.min(most), sets)
    }

    fn slots_beside(&self, node: &Node, reserved: Option<&Amounts>) -> u32 {
        survey::slots(
            self.claim,
            node,
            reserved,
            self.counting,
            self.modes_told(),
            self.snapshot,
            self.settings,
        )
    }

    /// Refuses the nodes that fit where the pools they offer cannot, all of them together, promise an address on every
    /// interface to `need` such pods.
    pub fn need_for_all(&self, verdicts: &mut [(NodeName, Verdict)], need: u32) {
        let sets = |fit: &Fit| -> Vec<PoolSet> { fit.pools.iter().map(|(_, set)| set.clone()).collect() };
        let distinct: BTreeSet<Vec<PoolSet>> = verdicts
            .iter()
            .filter_map(|(_, verdict)| match verdict {
                Verdict::Fits(fit) => Some(sets(fit)),
                Verdict::Refused(_) => None,
            })
            .collect();
        let mut promised = self.promised.clone();
        let mut left = need;
        for wanted in &distinct {
            let times = promised.times(wanted, left, self.snapshot);
            promised.add_all(wanted, times);
            left -= times;
        }
        if left == 0 {
            return;
        }
        for (_, verdict) in verdicts {
            if let Verdict::Fits(fit) = verdict {
                let empty = |(interface, pools): (InterfaceName, PoolSet)| EmptyPools {
                    interface,
                    pools,
                    free: u64::from(need - left),
                    promised: u64::from(need.saturating_sub(1)),
                    pods: need,
                };
                let first = fit.pools.first().cloned();
                if let Some(refusal) = first.map(empty).map(Refusal::PoolEmpty) {
                    *verdict = Verdict::Refused(Arc::new(refusal));
                }
            }
        }
    }

    /// The snapshot it decides by.
    #[must_use]
    pub fn snapshot(&self) -> &'a ClusterSnapshot {
        self.snapshot
    }

    /// The addresses others were promised.
    #[must_use]
    pub fn promised(&self) -> &Promised {
        &self.promised
    }

    /// How many such pods the nodes of each domain of a level take, if what is promised to others is left aside. None
    /// where nothing is known of the nodes yet.
    pub(super) fn known_slots(&self, level: usize) -> Option<KnownSlots> {
        let ground = self.ground?;
        let names = self.reserved.nodes();
        let places = names.filter_map(|name| ground.roster.place(name.as_str()));
        let counted = places.map(|place| (place, ground.slots(place, self.counting)));
        Some(KnownSlots {
            of_domains: ground.sums(level, self.counting),
            promised: counted.collect(),
        })
    }

    /// Whether the pod fits on this node.
    #[must_use]
    pub fn on(&self, name: &NodeName) -> Verdict {
        let place = self.ground.and_then(|ground| ground.roster.place(name.as_str()));
        self.on_place(place, name)
    }

    /// The same of a node whose place is known.
    pub(super) fn on_place(&self, place: Option<usize>, name: &NodeName) -> Verdict {
        let fit = match self.ground {
            Some(ground) => self.known_fit(ground, place, name),
            None => self.fit(name),
        };
        fit.map_or_else(Verdict::Refused, Verdict::Fits)
    }

    fn fit(&self, name: &NodeName) -> Result<Fit, Arc<Refusal>> {
        let node = self.known(name)?;
        let (load, doubt) = self.vfs(node)?;
        let pools = survey::pools_on(self.claim, node)?;
        let answer = || addresses(&pools, &sets_of(&pools), &self.promised, self.snapshot);
        if self.tied {
            answer()?;
        } else {
            let answer = || Ok(answer()?);
            self.everywhere.get_or_init(answer).clone()?;
        }
        Ok(Fit {
            pools: pools.into(),
            kept: kept_on(self.claim, node)?.into(),
            domain: None,
            doubt,
            load,
            score: None,
        })
    }

    /// By what is known of the nodes; only where something is promised to others is it worked out anew.
    fn known_fit(
        &self,
        ground: Ground<'a>,
        place: Option<usize>,
        name: &NodeName,
    ) -> Result<Fit, Arc<Refusal>> {
        let unknown = || Arc::new(Refusal::NodeUnknown(name.clone()));
        let standing = place
            .and_then(|place| ground.standing(place))
            .ok_or_else(unknown)?;
        let (load, doubt) = if self.reserved.on(name).is_none() {
            standing.vfs.clone()?
        } else {
            self.vfs(self.known(name)?)?
        };
        let class = standing.pools.clone()?;
        let pools = ground.classes().get(class).ok_or_else(unknown)?;
        let answer = || {
            Ok(addresses(
                &pools.pools,
                &pools.sets,
                &self.promised,
                self.snapshot,
            )?)
        };
        let answer = self.by_class.get(class).ok_or_else(unknown)?.get_or_init(answer);
        answer.clone()?;
        Ok(Fit {
            pools: Arc::clone(&pools.pools),
            kept: Arc::clone(&self.nothing_kept),
            domain: None,
            doubt,
            load,
            score: None,
        })
    }

    fn known(&self, name: &NodeName) -> Result<&'a Node, Refusal> {
        let node = self.snapshot.nodes.get(name);
        node.map(AsRef::as_ref)
            .ok_or_else(|| Refusal::NodeUnknown(name.clone()))
    }

    fn vfs(&self, node: &Node) -> Result<(Load, Option<Box<BadLink>>), Refusal> {
        let reserved = self.reserved.on(&node.name);
        let told = self.modes_told();
        survey::vfs(self.claim, node, reserved, told, self.snapshot, self.settings)
    }

    fn modes_told(&self) -> bool {
        *self.modes_told.get_or_init(|| modes_told(self.snapshot))
    }
}

/// How many pods like one the nodes take, as far as that is known.
pub(super) struct KnownSlots {
    /// In each domain of a level, by its number.
    pub(super) of_domains: Vec<u32>,
    /// The places of nodes of which something is promised to others, with how many were counted there.
    pub(super) promised: Vec<(usize, u32)>,
}

/// Decides about `nodes`, one after the other, in the order given; gangs are [`super::decision`]'s.
#[must_use]
pub fn place<'a>(
    claim: &Claim,
    nodes: impl IntoIterator<Item = &'a NodeName>,
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
) -> Vec<(NodeName, Verdict)> {
    let placement = Placement::new(claim, snapshot, commitments, settings, Counting::Firm);
    nodes
        .into_iter()
        .map(|name| (name.clone(), placement.on(name)))
        .collect()
}

/// The addresses that are kept: Spiderpool does not ask again whether the node may use them, but packets would not find it.
fn kept_on(claim: &Claim, node: &Node) -> Result<Vec<(InterfaceName, PoolName)>, Refusal> {
    let admitted = |(interface, pool): &(InterfaceName, Arc<Pool>)| {
        let facts = pool.reading.as_ref();
        let facts = facts.map_err(|problems| Refusal::PoolUnreadable(pool.name.clone(), problems.clone()))?;
        if facts.nodes.admits(&node.name, &node.labels) {
            Ok((interface.clone(), pool.name.clone()))
        } else {
            Err(Refusal::PoolNotForNode(
                interface.clone(),
                vec![pool.name.clone()],
            ))
        }
    };
    claim.kept.iter().map(admitted).collect()
}

/// Whether the pools can serve one more; `sets` are those of `pools`.
fn addresses(
    pools: &[(InterfaceName, PoolSet)],
    sets: &[PoolSet],
    promised: &Promised,
    snapshot: &ClusterSnapshot,
) -> Result<(), Refusal> {
    promised.with(sets, snapshot).map_err(
        |Exhausted {
             wanted,
             free,
             promised,
         }| {
            let (interface, set) = pools
                .get(wanted)
                .cloned()
                .unwrap_or_else(|| ("".into(), Vec::new()));
            Refusal::PoolEmpty(EmptyPools {
                interface,
                pools: set,
                free,
                promised,
                pods: 1,
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::amounts::ONE;
    use crate::decide::claim::claim;
    use crate::decide::commitment::{commitment, hold};
    use crate::decide::endpoint::{Endpoint, Kept};
    use crate::decide::fabric::{Rail, RailState, Speed};
    use crate::decide::network::{Ipam, Plugin};
    use crate::decide::node::{NodeFault, PfFault, RdmaMode, SriovFacts, Sync};
    use crate::decide::pod::{InterfacePools, Pod, PoolChoice, PoolRequest};
    use crate::decide::reason::Reason;
    use crate::decide::testing::{Cluster, rail};
    use rstest::rstest;

    fn verdicts(cluster: &Cluster, pod: &Pod) -> Vec<(String, Result<u8, Reason>)> {
        let snapshot = cluster.snapshot();
        let settings = Settings::default();
        let nodes: Vec<NodeName> = snapshot.nodes.keys().cloned().collect();
        match claim(pod, &snapshot, &settings) {
            Err(refusal) => nodes
                .iter()
                .map(|node| (node.to_string(), Err(refusal.reason())))
                .collect(),
            Ok(claim) => place(&claim, &nodes, &snapshot, &Commitments::default(), &settings)
                .into_iter()
                .map(|(node, verdict)| {
                    let verdict = match verdict {
                        Verdict::Fits(fit) => Ok(fit.load.packing(10)),
                        Verdict::Refused(refusal) => Err(refusal.reason()),
                    };
                    (node.to_string(), verdict)
                })
                .collect(),
        }
    }

    fn reason(cluster: &Cluster, pod: &Pod) -> Result<u8, Reason> {
        verdicts(cluster, pod).into_iter().next().unwrap().1
    }

    #[test]
    fn a_pod_fits_where_every_rail_has_a_vf_and_an_address() {
        let cluster = Cluster::with_rails(2).node("n1", 8);
        assert_eq!(
            reason(&cluster, &cluster.pod("a")),
            Ok(1),
            "1 of 8 VFs in use is one tenth"
        );
    }

    #[test]
    fn a_node_whose_rails_are_full_is_refused_and_fuller_nodes_score_higher() {
        let cluster = Cluster::with_rails(2).node("n1", 2).node("n2", 4);
        let cluster = cluster
            .bound("b1", "n1")
            .bound("b2", "n1")
            .bound("b3", "n2")
            .bound("b4", "n2");
        assert_eq!(
            verdicts(&cluster, &cluster.pod("a")),
            [
                ("n1".to_owned(), Err(Reason::TooFewVfs)),
                ("n2".to_owned(), Ok(7))
            ]
        );
    }

    #[rstest]
    #[case(PfFault::Down, Reason::PfDown)]
    #[case(PfFault::NotInfiniband, Reason::NotInfiniband)]
    #[case(PfFault::GuidUnset, Reason::GuidUnset)]
    #[case(PfFault::VfsDiffer, Reason::VfsDiffer)]
    fn a_fault_of_a_pf_has_its_own_reason(#[case] fault: PfFault, #[case] expected: Reason) {
        let cluster = Cluster::with_rails(2)
            .node("n1", 8)
            .state("n1", |facts| facts.groups[1].faults = vec![fault]);
        assert_eq!(reason(&cluster, &cluster.pod("a")), Err(expected));
    }

    #[rstest]
    #[case(RailState::Down, Reason::RailDark)]
    #[case(RailState::Dark, Reason::RailDark)]
    #[case(RailState::Initialize, Reason::RailInactive)]
    #[case(RailState::Armed, Reason::RailInactive)]
    fn a_rail_that_is_not_active_has_its_own_reason(#[case] state: RailState, #[case] expected: Reason) {
        let rails = |state| vec![rail(0, RailState::Unknown), rail(1, state)];
        let cluster = Cluster::with_rails(2).node("n1", 8).fabric("n1", rails(state));
        assert_eq!(reason(&cluster, &cluster.pod("a")), Err(expected));
        // Without a SriovNetworkNodeState, networks and rails meet by their numbers.
        let bare = Cluster::with_rails(2)
            .node_without_state("n1", 8)
            .fabric("n1", rails(state));
        assert_eq!(reason(&bare, &bare.pod("a")), Err(expected));
        for harmless in [RailState::Active, RailState::Unknown] {
            let cluster = cluster.clone().fabric("n1", rails(harmless));
            assert!(reason(&cluster, &cluster.pod("a")).is_ok(), "{harmless}");
        }
    }

    #[test]
    fn a_pod_on_other_rails_does_not_mind_a_dark_one() {
        let cluster = Cluster::with_rails(2).node("n1", 8);
        let mut one = cluster.pod("a");
        one.takes = [("x.io/rail0".into(), ONE)].into_iter().collect();
        one.networks = one
            .networks
            .map(|networks| networks.into_iter().take(1).collect());
        for (dark, expected) in [(1, Ok(1)), (0, Err(Reason::RailDark))] {
            let rails = [0, 1].map(|number| {
                let state = if number == dark {
                    RailState::Dark
                } else {
                    RailState::Active
                };
                rail(number, state)
            });
            let cluster = cluster.clone().fabric("n1", rails.to_vec());
            assert_eq!(reason(&cluster, &one), expected, "rail {dark} dark");
        }
    }

    #[test]
    fn of_a_resource_fed_by_two_pfs_only_the_vfs_behind_the_dark_one_are_lost() {
        let cluster = Cluster::with_rails(1)
            .node("n1", 8)
            .state("n1", |facts| {
                let mut other = facts.groups[0].clone();
                other.pf = "ibs1".into();
                facts.groups.push(other);
                for group in &mut facts.groups {
                    group.vfs = 4;
                }
            })
            .fabric("n1", vec![rail(0, RailState::Dark), rail(1, RailState::Active)]);
        assert!(reason(&cluster, &cluster.pod("a")).is_ok(), "four are left");
        let full = ["b1", "b2", "b3", "b4"]
            .iter()
            .fold(cluster, |cluster, pod| cluster.bound(pod, "n1"));
        assert_eq!(reason(&full, &full.pod("a")), Err(Reason::RailDark));
    }

    #[test]
    fn a_slow_rail_is_degraded() {
        let rated = |number, width: &str| Rail {
            width: width.parse().ok(),
            speed: Some(Speed::Hdr),
            ..rail(number, RailState::Active)
        };
        let cluster = Cluster::with_rails(2)
            .node("n1", 8)
            .fabric("n1", vec![rated(0, "4x"), rated(1, "1x")]);
        assert_eq!(reason(&cluster, &cluster.pod("a")), Err(Reason::RailDegraded));
    }

    #[test]
    fn what_cannot_be_read_of_the_fabric_refuses_nobody() {
        let mut snapshot = Cluster::with_rails(1).node("n1", 8).snapshot();
        let mut node = Node::clone(snapshot.nodes.get("n1").unwrap());
        node.fabric = Some(Err(
            crate::decide::problem::Problem::new("n1", "x", "y", "z").into()
        ));
        snapshot.nodes.insert_mut(node.name.clone(), Arc::new(node));
        let cluster = Cluster::with_rails(1);
        let pod = cluster.pod("a");
        assert!(reason(&Cluster::of(snapshot), &pod).is_ok());
    }

    #[test]
    fn a_vf_without_a_guid_serves_whoever_gets_one_from_ib_kubernetes() {
        let cluster = Cluster::with_rails(1)
            .node("n1", 8)
            .state("n1", |facts| facts.groups[0].faults = vec![PfFault::GuidUnset])
            .network(0, |attachment| {
                attachment.plugin = Plugin::IbSriov {
                    rdma_isolation: true,
                    ib_kubernetes: true,
                };
            });
        assert!(reason(&cluster, &cluster.pod("a")).is_ok());
    }

    #[test]
    fn a_node_is_refused_for_what_the_operator_says_of_it() {
        let with = |change: fn(&mut SriovFacts)| {
            let cluster = Cluster::with_rails(1).node("n1", 8).state("n1", change);
            reason(&cluster, &cluster.pod("a"))
        };
        assert_eq!(
            with(|facts| facts.rdma = RdmaMode::Shared),
            Err(Reason::NotExclusive)
        );
        assert_eq!(with(|facts| facts.rdma = RdmaMode::Unknown), Ok(1));
        assert_eq!(
            with(|facts| facts.drain = Some("Draining".to_owned())),
            Err(Reason::Draining)
        );
        assert_eq!(
            with(|facts| facts.sync = Sync::Other("InProgress".to_owned())),
            Err(Reason::NotInSync)
        );
    }

    #[test]
    fn a_mode_that_is_not_told_is_unfit_only_where_others_are() {
        let untold = Cluster::with_rails(1)
            .node("n1", 8)
            .state("n1", |facts| facts.rdma = RdmaMode::Unknown);
        assert!(
            reason(&untold, &untold.pod("a")).is_ok(),
            "an older operator tells of none"
        );
        let beside = untold.node("n2", 8);
        assert_eq!(reason(&beside, &beside.pod("a")), Err(Reason::NotExclusive));
    }

    #[test]
    fn a_node_without_a_state_is_unfit_only_where_others_have_one() {
        let alone = Cluster::with_rails(1).node_without_state("n1", 8);
        assert!(reason(&alone, &alone.pod("a")).is_ok());
        let beside = Cluster::with_rails(1).node_without_state("n1", 8).node("n2", 8);
        assert_eq!(reason(&beside, &beside.pod("a")), Err(Reason::NodeStateMissing));
    }

    #[test]
    fn shared_devices_on_an_exclusive_node_are_a_contradiction() {
        let cluster = Cluster::with_rails(1)
            .node("n1", 8)
            .offers("n1", "rdma/hca_shared_devices_a", 1000);
        assert_eq!(reason(&cluster, &cluster.pod("a")), Err(Reason::SharedPlugin));
    }

    #[test]
    fn addresses_of_pods_that_are_starting_are_taken() {
        let cluster = Cluster::with_rails(1)
            .node("n1", 8)
            .pool("rail0", |facts| facts.free = 2);
        let one = cluster.clone().bound("b1", "n1");
        assert!(reason(&one, &one.pod("a")).is_ok());
        let two = one.bound("b2", "n1");
        assert_eq!(reason(&two, &two.pod("a")), Err(Reason::PoolEmpty));
        // One has fetched its address: the pool counts it, and it is not waited for any more.
        let fetched = two.pool("rail0", |facts| {
            facts.free = 1;
            facts.holders.insert("uid-b1".into(), 1);
        });
        assert_eq!(reason(&fetched, &fetched.pod("a")), Err(Reason::PoolEmpty));
        let more = fetched.pool("rail0", |facts| facts.free = 2);
        assert!(reason(&more, &more.pod("a")).is_ok());
    }

    #[test]
    fn pools_are_filtered_as_spiderpool_filters_them() {
        let with = |change: fn(&mut crate::decide::pool::PoolFacts)| {
            let cluster = Cluster::with_rails(1).node("n1", 8).pool("rail0", change);
            reason(&cluster, &cluster.pod("a"))
        };
        assert_eq!(with(|facts| facts.disabled = true), Err(Reason::PoolNotForPod));
        assert_eq!(with(|facts| facts.terminating = true), Err(Reason::PoolNotForPod));
        assert_eq!(
            with(|facts| facts.family = crate::decide::address::Family::V6),
            Err(Reason::PoolNotForPod)
        );
        assert_eq!(
            with(|facts| {
                facts.namespaces.names.insert("other".into());
            }),
            Err(Reason::PoolNotForPod)
        );
        assert_eq!(
            with(|facts| {
                facts.nodes.names.insert("n2".into());
            }),
            Err(Reason::PoolNotForNode)
        );
        assert_eq!(
            with(|facts| facts.networks = vec![crate::decide::names::NetworkRef::new("default", "rail7")]),
            Err(Reason::PoolNotForPod)
        );
        assert!(
            with(|facts| facts.networks = vec![crate::decide::names::NetworkRef::new("default", "rail0")])
                .is_ok()
        );
        // A list of names makes the selector ineffective.
        assert!(
            with(|facts| {
                facts.nodes.names.insert("n1".into());
                facts.nodes.selector = Some(crate::decide::selector::Selector {
                    labels: [("no".to_owned(), "such".to_owned())].into(),
                    expressions: Vec::new(),
                });
            })
            .is_ok()
        );
    }

    #[test]
    fn the_namespaces_default_pool_comes_before_the_networks_and_gives_two_rails_one_address() {
        let cluster = Cluster::with_rails(2).node("n1", 8).default_pools(&["rail0"]);
        assert_eq!(reason(&cluster, &cluster.pod("a")), Err(Reason::SameAddress));
    }

    #[test]
    fn a_choice_of_pools_that_cannot_work_is_refused_everywhere() {
        let with = |request: PoolRequest| {
            let cluster = Cluster::with_rails(2).node("n1", 8);
            let mut pod = cluster.pod("a");
            pod.pools = Ok(request);
            reason(&cluster, &pod)
        };
        let choice = |names: &[&str]| PoolChoice {
            v4: names.iter().map(|n| (*n).to_owned()).collect(),
            v6: Vec::new(),
        };
        let item = |interface: &str, names: &[&str]| InterfacePools {
            interface: Some(interface.into()),
            choice: choice(names),
        };
        assert_eq!(with(PoolRequest::All(choice(&["nope"]))), Err(Reason::PoolChoice));
        assert_eq!(
            with(PoolRequest::All(choice(&["rail*", "rail0"]))),
            Err(Reason::PoolChoice),
            "rail0 twice"
        );
        assert_eq!(
            with(PoolRequest::All(choice(&["x*"]))),
            Err(Reason::PoolChoice),
            "matches none"
        );
        assert_eq!(
            with(PoolRequest::PerInterface(vec![item("net1", &["rail0"])])),
            Err(Reason::PoolChoice),
            "net2 not listed"
        );
        assert!(
            with(PoolRequest::PerInterface(vec![
                item("net2", &["rail0"]),
                item("net1", &["rail1"])
            ]))
            .is_ok()
        );
        assert_eq!(
            with(PoolRequest::SubnetForAll(choice(&["nope"]))),
            Err(Reason::PoolChoice),
            "a subnet that does not exist"
        );
        // The agent allocates for all elements at once, whoever asks.
        let both = [item("net1", &["rail0"]), item("net2", &["rail1"])];
        let and = |more: InterfacePools| PoolRequest::PerInterface([&both[..], &[more]].concat());
        assert_eq!(
            with(and(item("net3", &["rail*"]))),
            Err(Reason::PoolChoice),
            "there is no net3"
        );
        assert_eq!(
            with(and(item("net1", &["rail*"]))),
            Err(Reason::PoolChoice),
            "net1 twice"
        );
        assert_eq!(
            with(and(InterfacePools {
                interface: None,
                choice: choice(&["rail0"])
            })),
            Err(Reason::PoolChoice),
            "named in part"
        );
        assert_eq!(
            with(and(item("eth0", &["rail1"]))),
            Err(Reason::SameAddress),
            "the cluster's own network takes from rail1, too"
        );
    }

    #[test]
    fn an_interface_that_is_listed_takes_an_address_though_it_asks_for_none() {
        let with = |pools: &[&str], free: u64| {
            let cluster = Cluster::with_rails(2).node("n1", 8);
            let cluster = cluster.pool_named("spare", |facts| facts.free = free);
            let cluster = cluster.network(1, |network| network.ipam = Ipam::Unlimited);
            let mut pod = cluster.pod("a");
            let item = |interface: &str, pools: &[&str]| InterfacePools {
                interface: Some(interface.into()),
                choice: PoolChoice {
                    v4: pools.iter().map(|pool| (*pool).to_owned()).collect(),
                    v6: Vec::new(),
                },
            };
            let listed = vec![item("net1", &["rail0"]), item("net2", pools)];
            pod.pools = Ok(PoolRequest::PerInterface(listed));
            reason(&cluster, &pod)
        };
        assert!(with(&["spare"], 1).is_ok());
        assert_eq!(with(&["spare"], 0), Err(Reason::PoolEmpty));
        assert!(
            with(&["rail0", "spare"], 0).is_ok(),
            "the address of net1 is one for net2, too"
        );
    }

    #[test]
    fn interfaces_whose_pools_overlap_may_get_the_same_address_unless_their_pfs_subnets_keep_them_apart() {
        let mut cluster = Cluster::with_rails(2).node("n1", 8);
        let mut pod = cluster.pod("a");
        let item = |interface: &str| InterfacePools {
            interface: Some(interface.into()),
            choice: PoolChoice {
                v4: vec!["rail*".to_owned()],
                v6: Vec::new(),
            },
        };
        pod.pools = Ok(PoolRequest::PerInterface(vec![item("net1"), item("net2")]));
        assert_eq!(reason(&cluster, &pod), Err(Reason::SameAddress));
        for rail in 0..2 {
            cluster = cluster.network(rail, |attachment| {
                if let Ipam::Spiderpool { by_subnet, .. } = &mut attachment.ipam {
                    *by_subnet = true;
                }
            });
        }
        assert!(reason(&cluster, &pod).is_ok());
    }

    #[rstest]
    #[case::not_ready(NodeFault::NotReady, Reason::NodeNotReady)]
    #[case::driver(NodeFault::DriverNotReady, Reason::DriverNotReady)]
    #[case::plugin(NodeFault::PluginBlocked, Reason::PluginBlocked)]
    fn a_node_is_refused_for_what_it_says_of_itself(#[case] fault: NodeFault, #[case] expected: Reason) {
        let cluster = Cluster::with_rails(1)
            .node("n1", 8)
            .with_node("n1", |node| node.faults = vec![(fault, "x".to_owned())]);
        assert_eq!(reason(&cluster, &cluster.pod("a")), Err(expected));
    }

    #[test]
    fn a_device_plugin_that_waits_blocks_its_node() {
        let cluster = Cluster::with_rails(1)
            .node("n1", 8)
            .with(|snapshot| snapshot.waiting_plugins.insert_mut("n1".into(), 1));
        assert_eq!(reason(&cluster, &cluster.pod("a")), Err(Reason::PluginBlocked));
    }

    #[test]
    fn a_state_left_over_is_distrusted_unless_nodes_are_trusted_without_one() {
        let cluster = Cluster::with_rails(1).node("n1", 8).state("n1", |facts| {
            facts.stale = Some("2026-11-24T12:00:00Z".to_owned());
        });
        assert_eq!(reason(&cluster, &cluster.pod("a")), Err(Reason::NodeStateStale));
        let (snapshot, pod) = (cluster.snapshot(), cluster.pod("a"));
        let trusting = Settings {
            node_state: crate::decide::settings::NodeStatePolicy::Trust,
            ..Settings::default()
        };
        let claim = claim(&pod, &snapshot, &trusting).unwrap();
        let verdict = place(
            &claim,
            [&NodeName::from("n1")],
            &snapshot,
            &Commitments::default(),
            &trusting,
        )
        .remove(0)
        .1;
        assert!(matches!(verdict, Verdict::Fits(_)), "{verdict:?}");
    }

    #[test]
    fn a_node_about_to_leave_exclusive_mode_takes_no_pod_that_needs_it() {
        let cluster = Cluster::with_rails(1)
            .node("n1", 8)
            .state("n1", |facts| facts.leaving_exclusive = true);
        assert_eq!(reason(&cluster, &cluster.pod("a")), Err(Reason::NotInSync));
    }

    #[test]
    fn only_the_vfs_of_the_pf_that_is_down_are_lost_where_a_resource_spans_two() {
        let two_pfs = |vfs: [u32; 2]| {
            Cluster::with_rails(1)
                .node("n1", vfs[0] + vfs[1])
                .state("n1", |facts| {
                    let mut second = facts.groups[0].clone();
                    facts.groups[0].vfs = vfs[0];
                    facts.groups[0].faults = vec![PfFault::Down];
                    second.pf = "ibs9".into();
                    second.vfs = vfs[1];
                    facts.groups.push(second);
                })
        };
        let some = two_pfs([4, 2]);
        assert!(reason(&some, &some.pod("a")).is_ok());
        let taken = some.bound("b", "n1").bound("c", "n1");
        assert_eq!(reason(&taken, &taken.pod("a")), Err(Reason::PfDown));
    }

    #[test]
    fn a_device_plugin_that_starts_anew_is_said_and_is_no_loss_for_ever() {
        let cluster = Cluster::with_rails(1)
            .node("n1", 8)
            .with_node("n1", |node| node.offers = Amounts::default());
        let (snapshot, pod) = (cluster.snapshot(), cluster.pod("a"));
        let settings = Settings::default();
        let claim = claim(&pod, &snapshot, &settings).unwrap();
        let verdict = place(
            &claim,
            [&NodeName::from("n1")],
            &snapshot,
            &Commitments::default(),
            &settings,
        )
        .remove(0)
        .1;
        let Verdict::Refused(refusal) = verdict else {
            panic!("no VF is offered")
        };
        assert!(
            refusal
                .to_string()
                .ends_with("the SR-IOV operator counts 8: the device plugin may be starting"),
            "{refusal}"
        );
    }

    #[test]
    fn a_resource_allocated_by_claims_is_left_to_the_scheduler_and_its_pools_are_not() {
        let cluster = Cluster::with_rails(1)
            .node("n1", 8)
            .with_node("n1", |node| node.offers = Amounts::default())
            .with(|snapshot| snapshot.by_claims.insert_mut("x.io/rail0".into(), 1));
        assert!(reason(&cluster, &cluster.pod("a")).is_ok());
        let empty = cluster.clone().pool("rail0", |facts| facts.free = 0);
        assert_eq!(reason(&empty, &empty.pod("a")), Err(Reason::PoolEmpty));
        let offered = cluster.offers("n1", "x.io/rail0", 0);
        assert_eq!(
            reason(&offered, &offered.pod("a")),
            Err(Reason::TooFewVfs),
            "the device plugin names it, so its count is in force"
        );
    }

    #[test]
    fn an_address_that_is_kept_needs_no_free_one_and_only_nodes_that_its_pool_admits() {
        let cluster = Cluster::with_rails(2)
            .node("n1", 8)
            .node("n2", 8)
            .pool("rail0", |facts| {
                facts.free = 0;
                facts.nodes.names.insert("n2".into());
            })
            .pool("rail1", |facts| facts.free = 0)
            .with(|snapshot| {
                let kept = |interface: &str, pool: &str| Kept {
                    interface: interface.into(),
                    family: crate::decide::address::Family::V4,
                    pool: pool.into(),
                };
                let endpoint = Endpoint {
                    addresses: vec![kept("net1", "rail0"), kept("net2", "rail1")],
                };
                snapshot
                    .endpoints
                    .insert_mut(("default".into(), "web-0".into()), Arc::new(endpoint));
            });
        let mut pod = cluster.pod("web-0");
        let all = |pod: &Pod| -> Vec<_> {
            verdicts(&cluster, pod)
                .into_iter()
                .map(|(_, verdict)| verdict.map(drop))
                .collect()
        };
        assert_eq!(
            all(&pod),
            [Err(Reason::PoolNotForNode), Err(Reason::PoolEmpty)],
            "a pod of no StatefulSet keeps nothing"
        );
        pod.stateful = true;
        assert_eq!(all(&pod), [Err(Reason::PoolNotForNode), Ok(())]);
    }

    #[test]
    fn an_address_that_the_pod_holds_already_needs_no_free_one() {
        let cluster = Cluster::with_rails(1).node("n1", 8).pool("rail0", |facts| {
            facts.free = 0;
            facts.holders.insert("uid-a".into(), 1);
        });
        assert!(reason(&cluster, &cluster.pod("a")).is_ok());
        assert_eq!(reason(&cluster, &cluster.pod("b")), Err(Reason::PoolEmpty));
    }

    #[test]
    fn where_both_families_have_pools_both_must_have_an_address() {
        let dual = |free: u64| {
            let cluster = Cluster::with_rails(1)
                .node("n1", 8)
                .pool_named("six", |facts| {
                    facts.family = crate::decide::address::Family::V6;
                    facts.free = free;
                })
                .network(0, |network| {
                    network.ipam = Ipam::Spiderpool {
                        v4: vec!["rail0".to_owned()],
                        v6: vec!["six".to_owned()],
                        by_subnet: false,
                    };
                });
            reason(&cluster, &cluster.pod("a"))
        };
        assert!(dual(1).is_ok());
        assert_eq!(dual(0), Err(Reason::PoolEmpty));
    }

    #[test]
    fn a_network_without_ipam_asks_no_pool() {
        let cluster = Cluster::with_rails(1)
            .node("n1", 8)
            .pool("rail0", |facts| facts.free = 0)
            .network(0, |network| {
                network.ipam = Ipam::Unlimited;
            });
        assert!(reason(&cluster, &cluster.pod("a")).is_ok());
    }

    #[test]
    fn a_list_of_namespaces_makes_their_selector_ineffective() {
        let with = |name: &str| {
            let cluster = Cluster::with_rails(1).node("n1", 8).pool("rail0", |facts| {
                facts.namespaces.names.insert(name.into());
                facts.namespaces.selector = Some(crate::decide::selector::Selector {
                    labels: [("no".to_owned(), "such".to_owned())].into(),
                    expressions: Vec::new(),
                });
            });
            reason(&cluster, &cluster.pod("a"))
        };
        assert!(with("default").is_ok());
        assert_eq!(with("other"), Err(Reason::PoolNotForPod));
    }

    #[test]
    fn a_hold_keeps_what_is_the_same_on_every_node_that_fits() {
        let cluster = Cluster::with_rails(2).node("n1", 8).node("n2", 8);
        let tied = cluster.clone().pool_named("rail0-n2", |facts| {
            facts.nodes.names.insert("n2".into());
        });
        let tied = tied.pool("rail0", |facts| {
            facts.nodes.names.insert("n1".into());
        });
        let snapshot = tied.snapshot();
        let mut pod = tied.pod("a");
        pod.pools = Ok(PoolRequest::PerInterface(vec![
            InterfacePools {
                interface: Some("net1".into()),
                choice: PoolChoice {
                    v4: vec!["rail0*".to_owned()],
                    v6: Vec::new(),
                },
            },
            InterfacePools {
                interface: Some("net2".into()),
                choice: PoolChoice {
                    v4: vec!["rail1".to_owned()],
                    v6: Vec::new(),
                },
            },
        ]));
        let claim = claim(&pod, &snapshot, &Settings::default()).unwrap();
        let nodes: Vec<NodeName> = vec!["n1".into(), "n2".into()];
        let verdicts = place(
            &claim,
            &nodes,
            &snapshot,
            &Commitments::default(),
            &Settings::default(),
        );
        let both = hold(&claim, &verdicts, true).unwrap();
        assert_eq!((both.node, both.pools), (None, vec![vec!["rail1".into()]]));
        let one = hold(&claim, &verdicts[1..], true).unwrap();
        assert_eq!(
            (one.node, one.pools),
            (
                Some("n2".into()),
                vec![vec!["rail0-n2".into()], vec!["rail1".into()]]
            )
        );
        assert_eq!(hold(&claim, &[], true), None);
        let unsettled = hold(&claim, &verdicts, false).unwrap();
        assert_eq!(
            unsettled.pools,
            vec![
                vec!["rail0".into()],
                vec!["rail0-n2".into()],
                vec!["rail1".into()]
            ],
            "where nobody asks again before the pod is bound, each is held that it may take"
        );
    }

    #[test]
    fn a_reservation_counts_until_the_pod_is_seen_bound_and_never_twice() {
        let cluster = Cluster::with_rails(1).node("n1", 1);
        let (snapshot, settings) = (cluster.snapshot(), Settings::default());
        let (first, second) = (cluster.pod("b1"), cluster.pod("a"));
        let node = NodeName::from("n1");
        let first_claim = claim(&first, &snapshot, &settings).unwrap();
        let (_, Verdict::Fits(fit)) = place(
            &first_claim,
            [&node],
            &snapshot,
            &Commitments::default(),
            &settings,
        )
        .remove(0) else {
            panic!("the first pod fits");
        };
        let mut commitments = Commitments::default();
        commitments.pods.insert_mut(
            first.at.uid.clone(),
            Arc::new(commitment(&first.takes, &node, &fit)),
        );
        let second_claim = claim(&second, &snapshot, &settings).unwrap();
        let (_, Verdict::Refused(refusal)) =
            place(&second_claim, [&node], &snapshot, &commitments, &settings).remove(0)
        else {
            panic!("the only VF is reserved");
        };
        assert_eq!(refusal.reason(), Reason::TooFewVfs);
        // Seen bound, with room for two: counted once.
        let seen = Cluster::with_rails(1).node("n1", 2).bound("b1", "n1").snapshot();
        let second_claim = claim(&second, &seen, &settings).unwrap();
        let verdict = place(&second_claim, [&node], &seen, &commitments, &settings)
            .remove(0)
            .1;
        assert!(matches!(verdict, Verdict::Fits(_)), "{verdict:?}");
    }
}
