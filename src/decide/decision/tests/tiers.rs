//! Brute force on two tiers and two rails, of which each has its own pool, or several that are tied to nodes: every way
//! of sharing the gang out among the nodes of a domain is tried, with nothing of the planner's own.

use super::*;
use crate::decide::annotation::SPINE;
use crate::decide::network::Ipam;
use proptest::prelude::*;

/// A node: VFs on each of two rails, its leaf group, and on each rail which pool is for it; of two leaf groups is a spine.
type MadeNode = (u32, usize, [usize; 2]);

/// A small cluster, and what there is in it for a gang.
#[derive(Debug)]
struct World {
    nodes: Vec<MadeNode>,
    /// Of each rail, the addresses of its pools.
    free: [Vec<u64>; 2],
}

impl World {
    fn cluster(&self) -> Cluster {
        let mut cluster = Cluster::with_rails(2);
        for (at, (vfs, leaf, _)) in self.nodes.iter().enumerate() {
            let name = format!("n{at}");
            cluster = cluster.node_in(&name, *vfs, &format!("l{leaf}")).labelled(
                &name,
                SPINE,
                &format!("s{}", leaf / 2),
            );
        }
        for (rail, pools) in self.free.iter().enumerate() {
            for (number, free) in pools.iter().enumerate() {
                let its = self
                    .nodes
                    .iter()
                    .enumerate()
                    .filter(|(_, node)| node.2[rail] == number);
                let its: Vec<NodeName> = its.map(|(at, _)| format!("n{at}").into()).collect();
                // One that names no node is everybody's.
                let nobody = || vec!["nobody".into()];
                let names = if its.is_empty() { nobody() } else { its };
                cluster = cluster.pool_named(&format!("p{rail}-{number}"), |facts| {
                    facts.free = *free;
                    if pools.len() > 1 {
                        facts.nodes.names.extend(names);
                    }
                });
            }
            cluster = cluster.network(u32::try_from(rail).unwrap(), |network| {
                network.ipam = Ipam::Spiderpool {
                    v4: vec![format!("p{rail}-*")],
                    v6: Vec::new(),
                    by_subnet: false,
                };
            });
        }
        cluster
    }

    /// The pool of a node on a rail; one that is alone is everybody's.
    fn pool(&self, node: usize, rail: usize) -> usize {
        if self.free[rail].len() == 1 {
            0
        } else {
            self.nodes[node].2[rail]
        }
    }

    /// The fewest leaf groups over which so many pods can be shared out among the nodes; none where they cannot.
    fn fewest(&self, nodes: &[usize], pods: u32) -> Option<usize> {
        self.share_out(nodes, pods, &mut self.free.clone(), &BTreeSet::new())
    }

    fn share_out(
        &self,
        nodes: &[usize],
        pods: u32,
        free: &mut [Vec<u64>; 2],
        leaves: &BTreeSet<usize>,
    ) -> Option<usize> {
        if pods == 0 {
            return Some(leaves.len());
        }
        let (node, others) = nodes.split_first()?;
        let (vfs, leaf, _) = self.nodes[*node];
        let mut best = None;
        for here in 0..=vfs.min(pods) {
            let mut left = free.clone();
            let taken = (0..2).all(|rail| {
                let pool = left[rail].get_mut(self.pool(*node, rail));
                pool.is_some_and(|pool| {
                    let more = pool.checked_sub(u64::from(here));
                    *pool = more.unwrap_or(0);
                    more.is_some()
                })
            });
            // A node for which there is no pool on some rail takes nobody.
            if here > 0 && !taken {
                break;
            }
            let mut with = leaves.clone();
            with.extend((here > 0).then_some(leaf));
            let found = self.share_out(others, pods - here, &mut left, &with);
            best = best.into_iter().chain(found).min();
        }
        best
    }

    /// The domains of a tier, so many leaf groups each, with their nodes.
    fn domains(&self, leaves: usize) -> BTreeMap<usize, Vec<usize>> {
        let mut domains: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, (_, leaf, _)) in self.nodes.iter().enumerate() {
            domains.entry(leaf / leaves).or_default().push(at);
        }
        domains
    }

    /// The best fit for so many pods: the domain in which they span the fewest leaf groups, then the one with the fewest
    /// slots; and how many leaf groups that is.
    fn best(&self, leaves: usize, pods: u32) -> Option<(usize, usize)> {
        let domains = self.domains(leaves);
        let fitting = domains.iter().filter_map(|(domain, nodes)| {
            let slots = |node: &usize| -> u32 {
                let (vfs, _, pools) = self.nodes[*node];
                let has = |rail: usize| self.free[rail].len() == 1 || pools[rail] < self.free[rail].len();
                if has(0) && has(1) { vfs } else { 0 }
            };
            let all: u32 = nodes.iter().map(slots).sum();
            Some((self.fewest(nodes, pods)?, all, *domain))
        });
        let (spans, _, domain) = fitting.min()?;
        Some((domain, spans))
    }

    /// The leaf groups in which the pods are that were placed.
    fn leaves_of(&self, outcome: &[Result<String, Reason>]) -> BTreeSet<usize> {
        let leaf = |node: &String| self.nodes[node[1..].parse::<usize>().unwrap()].1;
        outcome.iter().flatten().map(leaf).collect()
    }

    /// No pool has given more than it has, and no node.
    fn is_kept(&self, outcome: &[Result<String, Reason>]) -> bool {
        let mut free = self.free.clone();
        let mut vfs: Vec<u32> = self.nodes.iter().map(|(vfs, ..)| *vfs).collect();
        outcome.iter().flatten().all(|node| {
            let node: usize = node[1..].parse().unwrap();
            let slot = vfs[node].checked_sub(1);
            vfs[node] = slot.unwrap_or(0);
            slot.is_some()
                && (0..2).all(|rail| {
                    let pool = free[rail].get_mut(self.pool(node, rail));
                    pool.is_some_and(|pool| {
                        let left = pool.checked_sub(1);
                        *pool = left.unwrap_or(0);
                        left.is_some()
                    })
                })
        })
    }
}

#[test]
fn a_fuller_node_elsewhere_is_not_as_good_as_a_place_chosen_for_the_gang() {
    let world = World {
        nodes: vec![(2, 2, [0, 0]), (2, 2, [0, 0]), (1, 3, [0, 0])],
        free: [vec![3], vec![3]],
    };
    let cluster = world.cluster();
    let gang = cluster.gang("g", 3, &Locality::Preferred(Tier::LeafGroup));
    // The third pod takes the last addresses: n1 strands a VF by it, and n2, in another leaf group, is full then.
    for pick in 0..3 {
        let outcome = play(&cluster, &gang, |turn, equals| (pick + turn) % equals);
        assert_eq!(world.leaves_of(&outcome), BTreeSet::from([2]), "{outcome:?}");
    }
}

#[test]
fn a_gang_is_shared_out_so_that_pools_that_cross_suffice() {
    // n0 takes the last address of a pool of each of the others.
    let world = World {
        nodes: vec![(1, 0, [0, 0]), (1, 0, [0, 1]), (1, 0, [1, 0])],
        free: [vec![1, 1], vec![1, 1]],
    };
    let cluster = world.cluster();
    let gang = cluster.gang("g", 2, &required());
    let outcome = play(&cluster, &gang, first);
    let used: BTreeSet<String> = outcome.into_iter().map(Result::unwrap).collect();
    assert_eq!(used, BTreeSet::from(["n1".to_owned(), "n2".to_owned()]));
}

/// Pools of one rail: one for all nodes, or two of which each node has one or, rarely, none.
fn pools() -> impl Strategy<Value = Vec<u64>> {
    prop_oneof![
        prop::collection::vec(0_u64..8, 1),
        prop::collection::vec(0_u64..5, 2),
    ]
}

fn worlds() -> impl Strategy<Value = World> {
    let pool = || prop_oneof![4 => Just(0_usize), 4 => Just(1), 1 => Just(9)];
    let node = (0_u32..4, 0_usize..4, [pool(), pool()]);
    let nodes = prop::collection::vec(node, 1..7);
    (nodes, [pools(), pools()]).prop_map(|(nodes, free)| World { nodes, free })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Required, of either tier: placed whole exactly when some domain of the tier can take it, in the best fit of those,
    /// over as few leaf groups as can be; whichever of equally good nodes the scheduler picks.
    #[test]
    fn a_required_gang_has_the_best_of_all_domains_that_can_take_it(
        world in worlds(),
        size in 1_u32..6,
        outer in any::<bool>(),
        picks in prop::collection::vec(0_usize..4, 6),
    ) {
        let cluster = world.cluster();
        let (tier, leaves) = if outer { (Tier::Spine, 2) } else { (Tier::LeafGroup, 1) };
        let gang = cluster.gang("g", size, &Locality::Required(tier));
        let outcome = play(&cluster, &gang, |turn, equals| picks[turn] % equals);
        prop_assert!(world.is_kept(&outcome), "{:?}", outcome);
        match world.best(leaves, size) {
            None => prop_assert!(outcome.iter().all(Result::is_err), "{:?}", outcome),
            Some((domain, spans)) => {
                prop_assert!(outcome.iter().all(Result::is_ok), "{:?}, and {} has room", outcome, domain);
                let used = world.leaves_of(&outcome);
                prop_assert!(used.iter().all(|leaf| leaf / leaves == domain), "{:?}, not in {}", outcome, domain);
                prop_assert_eq!(used.len(), spans, "{:?}", outcome);
            }
        }
    }

    /// Preferred: in the best fit of the closest tier that can take it whole.
    #[test]
    fn a_preferred_gang_has_the_best_domain_of_the_closest_tier_that_can_take_it(
        world in worlds(),
        size in 1_u32..6,
        picks in prop::collection::vec(0_usize..4, 6),
    ) {
        let cluster = world.cluster();
        let gang = cluster.gang("g", size, &Locality::Preferred(Tier::LeafGroup));
        let outcome = play(&cluster, &gang, |turn, equals| picks[turn] % equals);
        prop_assert!(world.is_kept(&outcome), "{:?}", outcome);
        let best = [1, 2].into_iter().find_map(|leaves| Some((leaves, world.best(leaves, size)?)));
        if let Some((leaves, (domain, spans))) = best {
            prop_assert!(outcome.iter().all(Result::is_ok), "{:?}, and {} has room", outcome, domain);
            let used = world.leaves_of(&outcome);
            prop_assert!(used.iter().all(|leaf| leaf / leaves == domain), "{:?}, not in {}", outcome, domain);
            prop_assert_eq!(used.len(), spans, "{:?}", outcome);
        }
    }
}
