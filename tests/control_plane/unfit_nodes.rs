//! Contract 3: a node whose cards would fail the pod is never chosen, and each kind of failure is told apart.

use std::collections::BTreeMap;
use std::time::Duration;

use pointsman::decide::reason::Reason;

use crate::harness::nodes::IbNode;
use crate::harness::objects::{Profile, pod_of};
use crate::harness::run;
use crate::harness::scene::{Scene, is_bound};
use crate::harness::stack;

const PODS: usize = 8;
const LIMIT: Duration = Duration::from_secs(30);

/// The nodes of a run: one good, four bad in their own way.
fn nodes(prefix: &str) -> [IbNode; 5] {
    let node = |name: &str| IbNode::new(format!("{prefix}-{name}")).rails(prefix, 1);
    [
        node("good"),
        node("zero-guids").zero_guids(),
        node("shared-mode").shared_rdma(),
        node("draining").draining(),
        node("port-down").port_down(0),
    ]
}

/// Creates as many pods as the good node has VFs, waits until all are bound, and counts them by node.
async fn place(scene: &Scene<'_>, prefix: &str, profile: &Profile) -> BTreeMap<String, usize> {
    for node in nodes(prefix) {
        node.create(scene.plane).await;
    }
    profile.create(scene.plane, &scene.namespace).await;
    for number in 0..PODS {
        scene
            .create_pod(pod_of(&format!("worker-{number}"), profile.name()))
            .await;
    }
    scene.bound(PODS, LIMIT).await;
    let mut by_node = BTreeMap::new();
    for pod in scene.pods().await {
        *by_node
            .entry(pod["spec"]["nodeName"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    by_node
}

#[test]
fn nodes_unfit_in_their_own_way_are_never_chosen_and_each_is_named_by_its_reason() {
    run(async {
        let profile = Profile::new("t3-fit", "t3", 30);
        let scene = Scene::open(stack::shared().await, "t3-fit").await;
        let by_node = place(&scene, "t3", &profile).await;
        assert_eq!(by_node, BTreeMap::from([("t3-good".to_owned(), PODS)]));

        // One more than the good node takes: what is said of each other node?
        scene.create_pod(pod_of("one-more", profile.name())).await;
        for reason in REASONS {
            // One node each: the scheduler counts nodes by text.
            let tally = format!("1 {}", reason.text());
            scene.sees_event("one-more", &tally, LIMIT).await;
        }
        assert!(!is_bound(&scene.pod("one-more").await));
        scene.close().await;
    });
}

#[test]
fn without_the_extender_the_next_pod_lands_on_an_unfit_node() {
    run(async {
        let profile = Profile::new("t3-unasked", "t3x", 31);
        let scene = Scene::open(stack::without_extender().await, "t3-unasked").await;
        place(&scene, "t3x", &profile).await;
        scene.create_pod(pod_of("one-more", profile.name())).await;
        scene.sees_bound("one-more", LIMIT).await;
        let unfit = scene
            .pods()
            .await
            .iter()
            .filter(|pod| pod["spec"]["nodeName"] != "t3x-good")
            .count();
        assert!(unfit > 0, "all pods on the one good node");
        scene.close().await;
    });
}

/// What is said of each bad node, in the order of [`nodes`].
const REASONS: [Reason; 4] = [
    Reason::GuidUnset,
    Reason::NotExclusive,
    Reason::Draining,
    Reason::PfDown,
];
