//! Gangs on small clusters: cases by hand, and brute force in both directions.

use super::*;
use crate::decide::fabric::RailState;
use crate::decide::links::LookedAt;
use crate::decide::reason::Reason;
use crate::decide::score::{BEST, Score};
use crate::decide::testing::{Cluster, rail};
use core::time::Duration;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Plays scheduler and ledger: each pod in turn is decided about on all nodes, takes the best of those that fit, and
/// is bound there. Says where each went, or why not.
fn play(
    cluster: &Cluster,
    pods: &[Pod],
    pick: impl Fn(usize, usize) -> usize,
) -> Vec<Result<String, Reason>> {
    let settings = Settings::default();
    let mut snapshot = cluster.snapshot();
    for pod in pods {
        testing_pending(&mut snapshot, pod);
    }
    let mut commitments = Commitments::default();
    let mut outcome = Vec::new();
    for (turn, pod) in pods.iter().enumerate() {
        let nodes: Vec<NodeName> = snapshot.nodes.keys().cloned().collect();
        let decision = rank(pod, &nodes, &snapshot, &commitments, &settings);
        if let Some((gang, hold)) = decision.gang {
            commitments.gangs.insert_mut(gang, Arc::new(hold));
        }
        let best = decision.verdicts.iter().filter_map(|(_, verdict)| match verdict {
            Verdict::Fits(fit) => fit.score.map(Score::total),
            Verdict::Refused(_) => None,
        });
        let Some(best) = best.max() else {
            let reason = decision.verdicts.iter().find_map(|(_, verdict)| match verdict {
                Verdict::Refused(refusal) => Some(refusal.reason()),
                Verdict::Fits(_) => None,
            });
            outcome.push(Err(reason.unwrap()));
            continue;
        };
        let equals: Vec<&NodeName> = decision
            .verdicts
            .iter()
            .filter(|(_, verdict)| matches!(verdict, Verdict::Fits(fit) if fit.score.map(Score::total) == Some(best)))
            .map(|(node, _)| node)
            .collect();
        let node = equals[pick(turn, equals.len())].clone();
        let again = decide(
            pod,
            std::slice::from_ref(&node),
            &snapshot,
            &commitments,
            &settings,
        );
        let Some((_, Verdict::Fits(fit))) = again.verdicts.into_iter().next() else {
            panic!("{} fits on {node} at filter and not at bind", pod.at);
        };
        let rest = rest_of_gang(None, pod, &node, &snapshot, &commitments, &settings);
        let promise = commitment::commitment(&pod.takes, &node, &fit);
        commitments.pods.insert_mut(pod.at.uid.clone(), Arc::new(promise));
        match rest {
            Some((gang, Some(hold))) => commitments.gangs.insert_mut(gang, Arc::new(hold)),
            Some((gang, None)) => drop(commitments.gangs.remove_mut(&gang)),
            None => {}
        }
        outcome.push(Ok(node.to_string()));
    }
    outcome
}

fn testing_pending(snapshot: &mut ClusterSnapshot, pod: &Pod) {
    let with = Cluster::of(snapshot.clone()).pending(pod.clone());
    *snapshot = with.snapshot();
}

fn first(_: usize, _: usize) -> usize {
    0
}

fn required() -> Locality {
    Locality::Required(Tier::LeafGroup)
}

#[test]
fn a_gang_goes_to_the_smallest_leaf_group_that_holds_it_whole() {
    let cluster = Cluster::with_rails(1)
        .node_in("a1", 4, "a")
        .node_in("b1", 2, "b")
        .node_in("b2", 1, "b")
        .node_in("c1", 2, "c");
    let gang = cluster.gang("g", 3, &required());
    let outcome = play(&cluster, &gang, first);
    assert!(
        outcome
            .iter()
            .all(|node| node.as_ref().is_ok_and(|node| node.starts_with('b'))),
        "{outcome:?}"
    );
}

#[test]
fn a_gang_that_fits_nowhere_whole_places_nobody_and_says_where_there_is_most_room() {
    let cluster = Cluster::with_rails(1).node_in("a1", 2, "a").node_in("b1", 2, "b");
    let gang = cluster.gang("g", 3, &required());
    assert_eq!(play(&cluster, &gang, first), vec![Err(Reason::GangNoRoom); 3]);
    let snapshot = cluster.snapshot();
    let nodes: Vec<NodeName> = snapshot.nodes.keys().cloned().collect();
    let decision = decide(
        &gang[0],
        &nodes,
        &snapshot,
        &Commitments::default(),
        &Settings::default(),
    );
    let Verdict::Refused(refusal) = &decision.verdicts[0].1 else {
        panic!("refused")
    };
    assert_eq!(
        refusal.to_string(),
        "3 pods of the gang need places in one domain of pointsman.io/leaf-group; a has the most, 2"
    );
    assert!(decision.gang.is_none(), "a refused gang holds nothing");
}

#[test]
fn two_gangs_that_want_the_same_leaf_group_are_never_half_placed() {
    let cluster = Cluster::with_rails(1).node_in("a1", 4, "a");
    let (one, two) = (
        cluster.gang("one", 3, &required()),
        cluster.gang("two", 3, &required()),
    );
    let mixed: Vec<Pod> = one
        .iter()
        .zip(&two)
        .flat_map(|(a, b)| [a.clone(), b.clone()])
        .collect();
    let outcome = play(&cluster, &mixed, first);
    let placed = |which: usize| {
        outcome
            .iter()
            .skip(which)
            .step_by(2)
            .filter(|node| node.is_ok())
            .count()
    };
    assert_eq!((placed(0), placed(1)), (3, 0), "{outcome:?}");
}

#[test]
fn a_replacement_pod_returns_to_the_domain_of_its_gang() {
    let cluster = Cluster::with_rails(1)
        .node_in("a1", 1, "a")
        .node_in("b1", 4, "b")
        .bound_of_gang("old", "b1", "g");
    let gang = cluster.gang("g", 2, &required());
    assert_eq!(play(&cluster, &gang[..1], first), [Ok("b1".to_owned())]);
    let full = cluster.bound("x", "b1").bound("y", "b1").bound("z", "b1");
    let outcome = play(&full, &gang[..1], first);
    assert!(
        outcome[0].is_err(),
        "a1 has room, but the gang is in b: {outcome:?}"
    );
}

#[test]
fn a_tier_that_no_node_carries_is_told() {
    let cluster = Cluster::with_rails(1).node("n1", 4);
    let gang = cluster.gang("g", 2, &required());
    assert_eq!(play(&cluster, &gang, first), vec![Err(Reason::TierUnknown); 2]);
}

#[test]
fn preferred_locality_never_blocks_and_keeps_together_what_it_can() {
    let cluster = Cluster::with_rails(1).node_in("a1", 2, "a").node_in("b1", 2, "b");
    let preferred = Locality::Preferred(Tier::LeafGroup);
    let gang = cluster.gang("g", 2, &preferred);
    let outcome = play(&cluster, &gang, first);
    assert_eq!(outcome[0], outcome[1]);
    let larger = cluster.gang("g", 3, &preferred);
    assert!(play(&cluster, &larger, first).iter().all(Result::is_ok));
}

/// Leaf groups, and how many nodes each has.
type Groups<'a> = &'a [(&'a str, usize)];

/// Leaf groups with so many nodes of one VF each, two to a spine.
fn spines(groups: Groups<'_>) -> Cluster {
    let nodes = groups.iter().enumerate().flat_map(|(at, (group, nodes))| {
        (0..*nodes).map(move |node| (*group, format!("{group}{node}"), format!("s{}", at / 2)))
    });
    nodes.fold(Cluster::with_rails(1), |cluster, (group, node, spine)| {
        cluster
            .node_in(&node, 1, group)
            .labelled(&node, crate::decide::annotation::SPINE, &spine)
    })
}

#[test]
fn a_gang_larger_than_a_leaf_group_fills_one_after_the_other_and_spans_as_few_as_can_be() {
    // The gang's size, the leaf groups, and how many it has to span.
    let cases: [(u32, Groups<'_>, usize); 5] = [
        (6, &[("a", 4), ("b", 4), ("c", 4), ("d", 1)], 2),
        // No spine has room for all of it.
        (7, &[("a", 3), ("b", 2), ("c", 3), ("d", 2)], 3),
        // The last part goes where it just fits.
        (9, &[("a", 4), ("b", 1), ("c", 4), ("d", 4)], 3),
        (5, &[("a", 4), ("b", 1), ("c", 2), ("d", 2)], 2),
        // Of the spines, the one with whole leaf groups.
        (4, &[("a", 2), ("b", 2), ("c", 3), ("d", 3)], 2),
    ];
    for (size, groups, fewest) in cases {
        let cluster = spines(groups);
        let gang = cluster.gang("g", size, &Locality::Preferred(Tier::LeafGroup));
        // Whichever of equal nodes the scheduler takes.
        for seed in 0..20 {
            let outcome = play(&cluster, &gang, |turn, equals| (seed * 7 + turn * 5) % equals);
            let spanned: BTreeSet<char> = outcome
                .iter()
                .map(|node| node.as_ref().unwrap().chars().next().unwrap())
                .collect();
            assert_eq!(spanned.len(), fewest, "{size} pods on {groups:?}: {outcome:?}");
        }
    }
}

#[test]
fn two_preferred_gangs_choose_different_leaf_groups() {
    let cluster = Cluster::with_rails(1).node_in("a1", 2, "a").node_in("b1", 2, "b");
    let preferred = Locality::Preferred(Tier::LeafGroup);
    let (one, two) = (
        cluster.gang("one", 2, &preferred),
        cluster.gang("two", 2, &preferred),
    );
    let mixed: Vec<Pod> = one
        .iter()
        .zip(&two)
        .flat_map(|(a, b)| [a.clone(), b.clone()])
        .collect();
    let outcome = play(&cluster, &mixed, first);
    assert_eq!(outcome[0], outcome[2], "{outcome:?}");
    assert_eq!(outcome[1], outcome[3], "{outcome:?}");
    assert_ne!(outcome[0], outcome[1], "{outcome:?}");
}

#[test]
fn a_pod_alone_leaves_whole_leaf_groups_whole() {
    let cluster = Cluster::with_rails(1)
        .node_in("a1", 4, "a")
        .node_in("b1", 4, "b")
        .node_in("b2", 4, "b")
        .bound("x", "b1");
    assert_eq!(play(&cluster, &[cluster.pod("p")], first), [Ok("b1".to_owned())]);
}

#[test]
fn among_equals_a_pod_goes_where_it_strands_nothing() {
    let tied = |cluster: Cluster, node: &str, free| {
        cluster.pool_named(&format!("p-{node}"), |facts| {
            facts.nodes.names.insert(node.into());
            facts.free = free;
        })
    };
    let mut cluster = Cluster::with_rails(1).node("n1", 4).node("n2", 4);
    for (name, node) in [("a", "n1"), ("b", "n1"), ("c", "n2"), ("d", "n2")] {
        cluster = cluster.bound(name, node).allocated(name);
    }
    let cluster = tied(tied(cluster, "n1", 1), "n2", 9).network(0, |network| {
        network.ipam = crate::decide::network::Ipam::Spiderpool {
            v4: vec!["p-*".to_owned()],
            v6: Vec::new(),
            by_subnet: false,
        };
    });
    assert_eq!(
        play(&cluster, &[cluster.pod("p")], first),
        [Ok("n2".to_owned())],
        "the last address of n1 would leave its fourth VF to nobody"
    );
}

#[test]
fn a_gang_whose_size_nobody_knows_is_placed_one_by_one_where_there_is_most_room() {
    let cluster = Cluster::with_rails(1).node_in("a1", 1, "a").node_in("b1", 3, "b");
    let mut gang = cluster.gang("g", 3, &required());
    for pod in &mut gang {
        if let Ok(Some(gang)) = &mut pod.gang {
            gang.size = None;
        }
    }
    assert_eq!(play(&cluster, &gang, first), vec![Ok("b1".to_owned()); 3]);
}

#[test]
fn the_pools_must_have_addresses_for_the_whole_gang() {
    let cluster = Cluster::with_rails(1)
        .node_in("a1", 4, "a")
        .pool("rail0", |facts| facts.free = 2);
    let gang = cluster.gang("g", 3, &required());
    assert_eq!(play(&cluster, &gang, first), vec![Err(Reason::GangNoRoom); 3]);
}

#[test]
fn nodes_that_do_not_suit_the_pod_are_no_room() {
    let cluster = Cluster::with_rails(1).node_in("a1", 2, "a").node_in("a2", 2, "a");
    let mut gang = cluster.gang("g", 3, &required());
    for pod in &mut gang {
        pod.needs.labels.insert("disk".into(), "fast".into());
    }
    let cluster = cluster.labelled("a1", "disk", "fast");
    assert_eq!(play(&cluster, &gang, first), vec![Err(Reason::GangNoRoom); 3]);
}

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

#[test]
fn by_old_data_a_node_with_a_dark_rail_is_avoided_and_not_refused() {
    let rails = |state| vec![rail(0, state)];
    let cluster = Cluster::with_rails(1)
        .node("n1", 8)
        .fabric("n1", rails(RailState::Dark))
        .node("n2", 8)
        .fabric("n2", rails(RailState::Active));
    let pod = cluster.pod("a");
    let scores = |hours| {
        let mut snapshot = cluster.snapshot();
        snapshot.fabric = Some(LookedAt {
            unix_seconds: 0,
            age: Duration::from_hours(hours),
        });
        let nodes: Vec<NodeName> = snapshot.nodes.keys().cloned().collect();
        let decision = rank(
            &pod,
            &nodes,
            &snapshot,
            &Commitments::default(),
            &Settings::default(),
        );
        let score = |verdict: &Verdict| match verdict {
            Verdict::Fits(fit) => Ok((fit.score.map(Score::total), fit.doubt.is_some())),
            Verdict::Refused(refusal) => Err(refusal.reason()),
        };
        decision
            .verdicts
            .iter()
            .map(|(_, verdict)| score(verdict))
            .collect::<Vec<_>>()
    };
    assert_eq!(scores(1), [Err(Reason::RailDark), Ok((Some(2), false))]);
    assert_eq!(scores(25), [Ok((Some(0), true)), Ok((Some(2), false))]);
}

#[test]
fn a_gang_by_old_data_is_planned_around_dark_rails_where_there_is_another_place() {
    let dark = |cluster: Cluster, name: &str| cluster.fabric(name, vec![rail(0, RailState::Dark)]);
    let cluster = Cluster::with_rails(1)
        .node_in("a1", 1, "a")
        .node_in("a2", 1, "a")
        .node_in("b1", 2, "b")
        .node_in("b2", 2, "b");
    let cluster = dark(cluster, "a1");
    let pods = cluster.gang("g", 2, &Locality::Required(Tier::LeafGroup));
    let domain = |age| {
        let mut snapshot = cluster.snapshot();
        snapshot.fabric = Some(LookedAt { unix_seconds: 0, age });
        let nodes: Vec<NodeName> = snapshot.nodes.keys().cloned().collect();
        let decision = decide(
            &pods[0],
            &nodes,
            &snapshot,
            &Commitments::default(),
            &Settings::default(),
        );
        let domains: BTreeSet<String> = decision
            .verdicts
            .iter()
            .filter_map(|(_, verdict)| match verdict {
                Verdict::Fits(fit) => fit.domain.as_ref().map(ToString::to_string),
                Verdict::Refused(_) => None,
            })
            .collect();
        domains
    };
    for age in [1, 25] {
        assert_eq!(
            domain(Duration::from_hours(age)),
            BTreeSet::from(["b".to_owned()])
        );
    }
}

#[test]
fn gangs_that_require_locality_wait_where_nodes_are_labelled_for_two_topologies() {
    let cluster = Cluster::with_rails(1)
        .node_in("n1", 8, "a")
        .node("n2", 8)
        .labelled("n2", "fabric.topograph.run/tier-0", "b");
    let snapshot = cluster.snapshot();
    let nodes: Vec<NodeName> = snapshot.nodes.keys().cloned().collect();
    let fits = |locality: &Locality, tiers: &[&str]| {
        let settings = Settings {
            tiers: tiers.iter().map(|key| (*key).to_owned()).collect(),
            ..Settings::default()
        };
        let pods = cluster.gang("g", 2, locality);
        let decision = decide(&pods[0], &nodes, &snapshot, &Commitments::default(), &settings);
        let refused = decision.verdicts.iter().find_map(|(_, verdict)| match verdict {
            Verdict::Refused(refusal) => Some(refusal.reason()),
            Verdict::Fits(_) => None,
        });
        (decision.fits(), refused)
    };
    let required = Locality::Required(Tier::LeafGroup);
    assert_eq!(fits(&required, &[]), (false, Some(Reason::TiersConflict)));
    assert_eq!(fits(&Locality::Preferred(Tier::LeafGroup), &[]), (true, None));
    let named = [crate::decide::annotation::LEAF_GROUP];
    assert_eq!(fits(&required, &named), (true, Some(Reason::OutsideDomain)));
}
