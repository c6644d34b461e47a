//! Brute force in both directions: what fits is placed, what is refused has no alternative, and the domain is the best fit.

use super::*;
use crate::decide::score::BEST;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Required: the gang is placed whole exactly when some leaf group has the slots and the pool the addresses, and
    /// then in one with the fewest slots; whichever of equally good nodes the scheduler picks.
    #[test]
    fn a_required_gang_is_placed_whole_or_not_at_all(
        nodes in prop::collection::vec((0_u32..4, 0_usize..3), 1..7),
        size in 1_u32..6,
        addresses in 0_u64..8,
        picks in prop::collection::vec(0_usize..4, 6),
    ) {
        let leaves = ["a", "b", "c"];
        let mut cluster = Cluster::with_rails(2).pool("rail0", |facts| facts.free = addresses);
        let mut slots = [0_u32; 3];
        for (index, (vfs, leaf)) in nodes.iter().enumerate() {
            cluster = cluster.node_in(&format!("n{index}"), *vfs, leaves[*leaf]);
            slots[*leaf] += vfs;
        }
        let gang = cluster.gang("g", size, &required());
        let outcome = play(&cluster, &gang, |turn, equals| picks[turn] % equals);
        let fitting = slots.iter().copied().filter(|slots| *slots >= size && u64::from(size) <= addresses).min();
        match fitting {
            None => prop_assert!(outcome.iter().all(Result::is_err), "{outcome:?}"),
            Some(fewest) => {
                let leaf_of = |node: &String| nodes[node[1..].parse::<usize>().unwrap()].1;
                let used: BTreeSet<usize> =
                    outcome.iter().map(|node| leaf_of(node.as_ref().unwrap())).collect();
                prop_assert_eq!(used.len(), 1, "{:?}", outcome);
                prop_assert_eq!(slots[*used.first().unwrap()], fewest, "best fit: {:?}", outcome);
            }
        }
    }

    /// Preferred: as many of the gang are placed as there is room for, over the fewest leaf groups that have it.
    #[test]
    fn a_preferred_gang_is_never_kept_waiting_and_spans_the_fewest_leaf_groups(
        nodes in prop::collection::vec((0_u32..4, 0_usize..4), 1..8),
        size in 1_u32..10,
        picks in prop::collection::vec(0_usize..4, 10),
    ) {
        let leaves = ["a", "b", "c", "d"];
        let mut cluster = Cluster::with_rails(1);
        let mut slots = [0_u32; 4];
        for (index, (vfs, leaf)) in nodes.iter().enumerate() {
            cluster = cluster.node_in(&format!("n{index}"), *vfs, leaves[*leaf]);
            slots[*leaf] += vfs;
        }
        let gang = cluster.gang("g", size, &Locality::Preferred(Tier::LeafGroup));
        let outcome = play(&cluster, &gang, |turn, equals| picks[turn] % equals);
        let leaf_of = |node: &String| nodes[node[1..].parse::<usize>().unwrap()].1;
        let placed: Vec<usize> = outcome.iter().flatten().map(leaf_of).collect();
        let room = size.min(slots.iter().sum());
        prop_assert_eq!(placed.len(), usize::try_from(room).unwrap(), "{:?}", outcome);
        slots.sort_unstable_by_key(|slots| std::cmp::Reverse(*slots));
        let fewest = (0..=4).find(|groups| slots[..*groups].iter().sum::<u32>() >= room);
        let used: BTreeSet<usize> = placed.into_iter().collect();
        prop_assert_eq!(Some(used.len()), fewest, "{:?}", outcome);
    }

    /// Any number of required gangs, their pods in any order: each is placed whole or not at all.
    #[test]
    fn gangs_that_compete_end_whole_or_not_at_all(
        nodes in prop::collection::vec((0_u32..4, 0_usize..2), 1..6),
        sizes in prop::collection::vec(1_u32..5, 2..4),
        order in any::<u64>(),
        addresses in 0_u64..10,
    ) {
        let mut cluster = Cluster::with_rails(1).pool("rail0", |facts| facts.free = addresses);
        for (index, (vfs, leaf)) in nodes.iter().enumerate() {
            cluster = cluster.node_in(&format!("n{index}"), *vfs, ["a", "b"][*leaf]);
        }
        let mut pods: Vec<(usize, Pod)> = Vec::new();
        for (number, size) in sizes.iter().enumerate() {
            let gang = cluster.gang(&format!("g{number}"), *size, &required());
            pods.extend(gang.into_iter().map(|pod| (number, pod)));
        }
        let mut seed = order;
        pods.sort_by_cached_key(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed
        });
        let only: Vec<Pod> = pods.iter().map(|(_, pod)| pod.clone()).collect();
        let outcome = play(&cluster, &only, first);
        let placed: u32 = outcome.iter().map(|node| u32::from(node.is_ok())).sum();
        prop_assert!(u64::from(placed) <= addresses);
        for (number, size) in sizes.iter().enumerate() {
            let of_gang = pods.iter().zip(&outcome).filter(|((which, _), _)| *which == number);
            let placed: u32 = of_gang.map(|(_, node)| u32::from(node.is_ok())).sum();
            prop_assert!(placed == 0 || placed == *size, "gang {number}: {placed} of {size}");
        }
    }

    /// Scores are asked for apart, change no verdict and no hold, and stay within what the scheduler takes.
    #[test]
    fn ranking_is_the_same_decision_with_scores_from_0_to_10(
        nodes in prop::collection::vec((0_u32..4, 0_usize..3), 1..7),
        size in 1_u32..5,
        tiers in any::<bool>(),
    ) {
        let mut cluster = Cluster::with_rails(2);
        for (index, (vfs, leaf)) in nodes.iter().enumerate() {
            let name = format!("n{index}");
            cluster = if tiers { cluster.node_in(&name, *vfs, ["a", "b", "c"][*leaf]) } else { cluster.node(&name, *vfs) };
        }
        let pod = cluster.gang("g", size, &Locality::Preferred(Tier::LeafGroup)).remove(0);
        let snapshot = cluster.snapshot();
        let names: Vec<NodeName> = snapshot.nodes.keys().cloned().collect();
        let (commitments, settings) = (Commitments::default(), Settings::default());
        let plain = decide(&pod, &names, &snapshot, &commitments, &settings);
        let mut ranked = rank(&pod, &names, &snapshot, &commitments, &settings);
        for (_, verdict) in &mut ranked.verdicts {
            if let Verdict::Fits(fit) = verdict {
                let score = fit.score.take().unwrap();
                prop_assert!(score.total() <= BEST && score.closeness <= 6);
            }
        }
        prop_assert_eq!(plain.verdicts, ranked.verdicts);
        prop_assert_eq!((plain.pod, plain.gang), (ranked.pod, ranked.gang));
    }

    /// The order in which the scheduler lists its candidates changes nothing.
    #[test]
    fn the_order_of_candidates_does_not_matter(
        nodes in prop::collection::vec((0_u32..4, 0_usize..3), 1..7),
        size in 1_u32..5,
        turn in 0_usize..7,
        require in any::<bool>(),
    ) {
        let mut cluster = Cluster::with_rails(1);
        for (index, (vfs, leaf)) in nodes.iter().enumerate() {
            cluster = cluster.node_in(&format!("n{index}"), *vfs, ["a", "b", "c"][*leaf]);
        }
        let tier = Tier::LeafGroup;
        let locality = if require { Locality::Required(tier) } else { Locality::Preferred(tier) };
        let pod = cluster.gang("g", size, &locality).remove(0);
        let snapshot = cluster.snapshot();
        let mut names: Vec<NodeName> = snapshot.nodes.keys().cloned().collect();
        let decide = |names: &[NodeName]| {
            let mut decision = rank(&pod, names, &snapshot, &Commitments::default(), &Settings::default());
            decision.verdicts.sort_by(|a, b| a.0.cmp(&b.0));
            (decision.verdicts, decision.gang, decision.pod)
        };
        let straight = decide(&names);
        let middle = turn % names.len();
        names.rotate_left(middle);
        names.reverse();
        prop_assert_eq!(straight, decide(&names));
    }
}
