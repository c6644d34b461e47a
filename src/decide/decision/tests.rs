//! Gangs on small clusters: cases by hand; brute force in both directions is in `properties`.

mod properties;
mod tiers;

use super::*;
use crate::decide::fabric::RailState;
use crate::decide::links::LookedAt;
use crate::decide::reason::Reason;
use crate::decide::score::Score;
use crate::decide::testing::{Cluster, rail};
use core::time::Duration;
use std::collections::BTreeMap;
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

/// What is held for the rest of a gang once one of its pods is bound is what was held before, without that pod's place.
#[test]
fn the_rest_of_a_gang_over_two_leaf_groups_keeps_the_places_chosen_for_it() {
    let cluster = spines(&[("a", 3), ("b", 4)]);
    let gang = cluster.gang("g", 6, &Locality::Preferred(Tier::LeafGroup));
    let (snapshot, settings) = (cluster.snapshot(), Settings::default());
    let nodes: Vec<NodeName> = snapshot.nodes.keys().cloned().collect();
    let mut commitments = Commitments::default();
    let decision = decide(&gang[0], &nodes, &snapshot, &commitments, &settings);
    let (at, hold) = decision.gang.unwrap();
    let on = |hold: &GangHold| -> BTreeSet<String> {
        hold.places.iter().map(|place| place.node.to_string()).collect()
    };
    let chosen = on(&hold);
    assert_eq!(
        chosen,
        ["a0", "a1", "b0", "b1", "b2", "b3"].map(str::to_owned).into()
    );
    commitments.gangs.insert_mut(at, Arc::new(hold));
    let first = NodeName::from("b0");
    let rest = rest_of_gang(None, &gang[0], &first, &snapshot, &commitments, &settings);
    let rest = on(&rest.unwrap().1.unwrap());
    let without_first: BTreeSet<String> = chosen.into_iter().filter(|node| node != "b0").collect();
    assert_eq!(rest, without_first);
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
