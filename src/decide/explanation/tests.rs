//! What is told is true: what would let a pod run, does.

use proptest::prelude::*;

use super::change::World;
use super::*;
use crate::decide::amounts::ONE;
use crate::decide::fabric::{Guid, Rail, RailState, Speed};
use crate::decide::network::Plugin;
use crate::decide::node::{PfFault, RdmaMode};
use crate::decide::policy::Tier;
use crate::decide::testing::{Cluster, rail};

fn explained(cluster: &Cluster, pod: &Pod) -> Explanation {
    explain(
        pod,
        &cluster.snapshot(),
        &Commitments::default(),
        &Settings::default(),
    )
}

/// The pod's standing after a way was gone.
fn after(way: &Way, cluster: &Cluster, pod: &Pod) -> Standing {
    let mut world = World {
        pod: pod.clone(),
        snapshot: cluster.snapshot(),
        commitments: Commitments::default(),
    };
    for change in &way.changes {
        change.apply(&mut world);
    }
    explain(
        &world.pod,
        &world.snapshot,
        &world.commitments,
        &Settings::default(),
    )
    .standing
}

fn texts(way: &Way) -> Vec<String> {
    way.changes.iter().map(ToString::to_string).collect()
}

/// The smallest way, which has to work.
fn smallest(cluster: &Cluster, pod: &Pod) -> Vec<String> {
    let explanation = explained(cluster, pod);
    assert_eq!(explanation.standing, Standing::Waits);
    for way in &explanation.ways {
        assert_eq!(after(way, cluster, pod), Standing::WouldFit, "{:?}", texts(way));
    }
    explanation.ways.first().map(texts).unwrap_or_default()
}

#[test]
fn a_pod_that_fits_is_told_where_best() {
    let cluster = Cluster::with_rails(2)
        .node("n1", 8)
        .node("n2", 8)
        .bound("other", "n2");
    let explanation = explained(&cluster, &cluster.pod("a"));
    assert_eq!(explanation.standing, Standing::WouldFit);
    assert_eq!(explanation.fits.first().unwrap().0.as_str(), "n2");
    assert!(explanation.ways.is_empty());
    assert_eq!(explanation.rails.len(), 2);
    assert_eq!(explanation.rails[0].pools[0].promised, 1);
}

#[test]
fn a_bound_pod_does_not_stand_in_its_own_way() {
    let cluster = Cluster::with_rails(1).node("n1", 1).bound("a", "n1");
    let pod = cluster.snapshot().bound.get("uid-a").unwrap().clone();
    let explanation = explained(&cluster, &pod);
    assert_eq!(explanation.standing, Standing::Bound("n1".into()));
    assert_eq!(explanation.fits.len(), 1);
}

#[test]
fn an_empty_pool_lacks_one_address() {
    let cluster = Cluster::with_rails(2)
        .node("n1", 8)
        .node("n2", 8)
        .pool("rail1", |facts| facts.free = 0);
    let pod = cluster.pod("a");
    assert_eq!(smallest(&cluster, &pod), ["1 more address in rail1"]);
    let explanation = explained(&cluster, &pod);
    assert_eq!(explanation.against[0].nodes, 2);
    assert_eq!(explanation.against[0].examples.len(), 2);
}

#[test]
fn a_broken_pf_is_named_with_its_node() {
    let cluster = Cluster::with_rails(2)
        .node("n1", 8)
        .state("n1", |facts| facts.groups[1].faults = vec![PfFault::Down]);
    assert_eq!(
        smallest(&cluster, &cluster.pod("a")),
        ["repair ibs1 on n1: its link is down"]
    );
}

#[test]
fn a_link_that_is_not_what_it_should_be_is_named_with_its_node() {
    let rated = |width: &str| Rail {
        width: width.parse().ok(),
        speed: Some(Speed::Hdr),
        ..rail(1, RailState::Active)
    };
    let told = |bad: Rail| {
        let sound = Rail {
            rail: 0,
            guid: Guid(9),
            ..rated("4x")
        };
        let cluster = Cluster::with_rails(2)
            .node("n1", 8)
            .fabric("n1", vec![sound, bad]);
        smallest(&cluster, &cluster.pod("a"))
    };
    assert_eq!(
        told(rail(1, RailState::Dark)),
        ["repair a link of n1: rail 1 (port 0x0000000000000002) is Dark"]
    );
    assert_eq!(
        told(rated("1x")),
        ["repair a link of n1: rail 1 (port 0x0000000000000002) is Active with 1x HDR only"]
    );
}

#[test]
fn several_things_wrong_are_told_together() {
    let cluster = Cluster::with_rails(1)
        .node("n1", 8)
        .state("n1", |facts| facts.rdma = RdmaMode::Shared)
        .pool("rail0", |facts| facts.free = 0);
    assert_eq!(
        smallest(&cluster, &cluster.pod("a")),
        ["put n1 into exclusive RDMA mode", "1 more address in rail0"]
    );
}

#[test]
fn a_full_node_is_free_when_a_pod_ends() {
    let cluster = Cluster::with_rails(8).node("n1", 1).bound("other", "n1");
    assert_eq!(
        smallest(&cluster, &cluster.pod("a")),
        ["pod default/other on n1 ends"]
    );
}

#[test]
fn what_kubernetes_itself_has_against_a_node_is_told_too() {
    let cluster = Cluster::with_rails(1).node("n1", 8).offers("n1", "cpu", 4);
    let mut pod = cluster.pod("a");
    pod.takes.add(&[("cpu".into(), 6 * ONE)].into_iter().collect());
    assert_eq!(smallest(&cluster, &pod), ["2 more cpu on n1"]);
    let against = &explained(&cluster, &pod).against[0];
    assert_eq!(against.hurdle.text(), "Insufficient cpu");
    let mut pod = cluster.pod("a");
    pod.needs.labels.insert("zone".to_owned(), "b".to_owned());
    assert_eq!(smallest(&cluster, &pod), ["label n1 with zone=b"]);
}

#[test]
fn a_pool_can_be_opened_and_a_missing_one_made() {
    let cluster = Cluster::with_rails(1).node("n1", 8).pool("rail0", |facts| {
        facts.disabled = true;
        facts.namespaces.names = ["other".into()].into();
    });
    assert_eq!(
        smallest(&cluster, &cluster.pod("a")),
        [
            "enable pool rail0",
            "open pool rail0 to namespace default (namespaceName or namespaceAffinity)"
        ]
    );
    let cluster = Cluster::with_rails(1).node("n1", 8).default_pools(&["gone"]);
    assert_eq!(
        smallest(&cluster, &cluster.pod("a")),
        ["create SpiderIPPool gone"]
    );
}

#[test]
fn a_gang_is_told_what_its_domain_lacks() {
    let required = Locality::Required(Tier::LeafGroup);
    let cluster = Cluster::with_rails(1)
        .node_in("a1", 1, "a")
        .node_in("a2", 1, "a")
        .node_in("b1", 1, "b")
        .state("a2", |facts| facts.groups[0].faults = vec![PfFault::GuidUnset]);
    let pod = cluster.gang("train", 2, &required).remove(0);
    assert_eq!(smallest(&cluster, &pod), ["give the VFs of ibs0 on a2 GUIDs"]);
    let explanation = explained(&cluster, &pod);
    let rooms = explanation.gang.unwrap().rooms;
    assert_eq!(
        rooms
            .iter()
            .map(|room| (room.domain.to_string(), room.takes))
            .collect::<Vec<_>>(),
        [("a".to_owned(), 1), ("b".to_owned(), 1)]
    );

    let cluster = Cluster::with_rails(1)
        .node_in("a1", 4, "a")
        .pool("rail0", |facts| facts.free = 1);
    let pod = cluster.gang("train", 4, &required).remove(0);
    assert_eq!(smallest(&cluster, &pod), ["3 more addresses in rail0"]);
}

#[test]
fn a_gang_that_is_larger_than_every_domain_must_ask_for_less() {
    let cluster = Cluster::with_rails(1).node_in("a1", 1, "a").node_in("b1", 1, "b");
    let pod = cluster
        .gang("train", 2, &Locality::Required(Tier::LeafGroup))
        .remove(0);
    assert_eq!(
        smallest(&cluster, &pod),
        ["ask for pointsman.io/locality: preferred=leaf-group"]
    );
}

#[test]
fn what_nobody_can_try_gets_no_way_but_a_remedy() {
    let mut cluster = Cluster::with_rails(2).node("n1", 8);
    cluster = cluster.default_pools(&["rail0"]);
    let explanation = explained(&cluster, &cluster.pod("a"));
    assert_eq!(explanation.standing, Standing::Waits);
    assert!(explanation.ways.is_empty());
    assert_eq!(
        explanation.against[0].hurdle.remedy(),
        "give each rail a pool of its own"
    );
}

proptest! {
    /// Whatever is wrong with a small cluster: a waiting pod is always offered a way, each way works, and nothing of
    /// it can be left out.
    #[test]
    fn every_way_works_and_has_nothing_to_spare(
        nodes in prop::collection::vec((0_u32..3, 0_u8..32, 0_u8..3), 1..4),
        frees in prop::collection::vec(0_u64..3, 2),
        size in 1_u32..4,
        required in any::<bool>(),
    ) {
        let mut cluster = Cluster::with_rails(2);
        for (rail, free) in frees.iter().enumerate() {
            cluster = cluster.pool(&format!("rail{rail}"), |facts| facts.free = *free);
        }
        for (number, (vfs, wrong, group)) in nodes.iter().enumerate() {
            let name = format!("n{number}");
            cluster = cluster.node_in(&name, *vfs, &format!("g{group}")).state(&name, |facts| {
                if wrong & 1 == 1 { facts.rdma = RdmaMode::Shared; }
                if wrong & 2 == 2 { facts.groups[0].faults = vec![PfFault::Down]; }
                if wrong & 4 == 4 { facts.groups[1].faults = vec![PfFault::GuidUnset, PfFault::VfsDiffer]; }
                if wrong & 8 == 8 { facts.drain = Some("Drain_Required".to_owned()); }
                if wrong & 16 == 16 { facts.sync = crate::decide::node::Sync::Other("Failed".to_owned()); }
            });
        }
        let tier = Tier::LeafGroup;
        let locality = if required { Locality::Required(tier) } else { Locality::Preferred(tier) };
        let pods = cluster.gang("train", size, &locality);
        let pod = &pods[0];
        let explanation = explained(&cluster, pod);
        if explanation.standing == Standing::Waits {
            prop_assert!(!explanation.ways.is_empty(), "{:?}", explanation.against);
        }
        for way in &explanation.ways {
            prop_assert_eq!(after(way, &cluster, pod), Standing::WouldFit, "{:?}", texts(way));
            for index in 0..way.changes.len() {
                let mut fewer = way.clone();
                fewer.changes.remove(index);
                prop_assert_eq!(after(&fewer, &cluster, pod), Standing::Waits, "{:?} would do without {}", texts(way), index);
            }
        }
    }
}

#[test]
fn a_node_in_shared_mode_is_no_hurdle_for_a_network_without_isolation() {
    let cluster = Cluster::with_rails(1)
        .node("n1", 8)
        .state("n1", |facts| facts.rdma = RdmaMode::Shared)
        .network(0, |attachment| {
            attachment.plugin = Plugin::IbSriov {
                rdma_isolation: false,
                ib_kubernetes: false,
            };
        });
    assert_eq!(
        explained(&cluster, &cluster.pod("a")).standing,
        Standing::WouldFit
    );
}
