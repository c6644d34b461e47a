//! Contract 5: the program may be killed at any moment. What it promised before is known to it afterwards.

use std::time::Duration;

use pointsman::decide::reason::Reason;
use serde_json::json;

use crate::harness::api::POOLS;
use crate::harness::nodes::IbNode;
use crate::harness::objects::{Profile, pod_of};
use crate::harness::plane;
use crate::harness::run;
use crate::harness::scene::{Scene, is_bound};
use crate::harness::stack::{self, Setup};
use crate::harness::wait::{eventually, expect, throughout};

const PODS: usize = 12;
const ADDRESSES: u8 = 10;
const LIMIT: Duration = Duration::from_mins(1);

/// How long a node takes before it asks for addresses: while it does, only the program knows that they are promised.
const SLOW_NODE: Duration = Duration::from_secs(4);

#[test]
fn a_kill_in_the_middle_of_a_burst_changes_no_sum() {
    run(async {
        let plane = plane::shared().await;
        for name in ["t5-a", "t5-b"] {
            IbNode::new(name).rails("t5", 1).create(plane).await;
        }
        let stack = Setup::new("t5-own", &["t5"]).start(plane).await;
        let profile = Profile::new("t5-burst", "t5", 50).addresses(ADDRESSES);
        let scene = Scene::open_slow(&stack, "t5-burst", SLOW_NODE).await;
        profile.create(plane, &scene.namespace).await;

        tokio::join!(create_pods(&scene, &profile), kill_twice(&scene));

        eventually("ten pods have addresses", LIMIT, async || {
            let sandboxes = scene.kubelet.sandboxes();
            expect(sandboxes.len() == usize::from(ADDRESSES), || {
                format!("{sandboxes:?}")
            })
        })
        .await;
        throughout("ten are bound and two wait", Duration::from_secs(5), async || {
            let bound = scene.pods().await.iter().filter(|pod| is_bound(pod)).count();
            expect(bound == usize::from(ADDRESSES), || format!("{bound} bound"))
        })
        .await;
        assert!(
            scene.kubelet.failures().is_empty(),
            "{:?}",
            scene.kubelet.failures()
        );
        scene.close().await;
    });
}

#[test]
fn a_pod_that_waited_before_a_kill_is_woken_after_it() {
    run(async {
        let plane = plane::shared().await;
        IbNode::new("t5w-a").rails("t5w", 1).create(plane).await;
        let stack = Setup::new("t5-wakes", &["t5w"]).start(plane).await;
        let profile = Profile::new("t5-wakes", "t5w", 52).addresses(1);
        let scene = Scene::open(&stack, "t5-wakes").await;
        profile.create(plane, &scene.namespace).await;
        for name in ["runs", "waits"] {
            scene.create_pod(pod_of(name, profile.name())).await;
        }
        scene.sees_event("waits", Reason::PoolEmpty.text(), LIMIT).await;

        stack.kill().await;
        stack.serve().await;
        // The scheduler does not watch pools, so it asks for this pod only when somebody wakes it.
        let wider = json!({"spec": {"ips": [profile.range(0, 2)]}});
        scene
            .api()
            .merge(&POOLS.all().named(&profile.pool(0)), wider)
            .await
            .unwrap();
        // Asked while it started, it answered with an error, and the scheduler pauses for up to ten seconds after one.
        scene.sees_bound("waits", Duration::from_secs(20)).await;
        scene.close().await;
    });
}

#[test]
fn without_the_extender_the_same_burst_binds_more_pods_than_there_are_addresses() {
    run(async {
        let plane = plane::shared().await;
        for name in ["t5x-a", "t5x-b"] {
            IbNode::new(name).rails("t5x", 1).create(plane).await;
        }
        let profile = Profile::new("t5-unasked", "t5x", 51).addresses(ADDRESSES);
        let scene = Scene::open_slow(stack::without_extender().await, "t5-unasked", SLOW_NODE).await;
        profile.create(plane, &scene.namespace).await;
        create_pods(&scene, &profile).await;
        scene.bound(PODS, LIMIT).await;
        scene.close().await;
    });
}

/// As a Job's controller would: a pod that is not let in is tried again.
async fn create_pods(scene: &Scene<'_>, profile: &Profile) {
    for number in 0..PODS {
        let name = format!("worker-{number:02}");
        eventually(&format!("{name} is admitted"), LIMIT, async || {
            let created = scene
                .api()
                .create(&scene.pods_at(), pod_of(&name, profile.name()))
                .await;
            created.map_err(|refused| refused.message)
        })
        .await;
    }
}

/// Kills the program after the first pods are bound, and again after some more.
async fn kill_twice(scene: &Scene<'_>) {
    for enough in [2, 6] {
        eventually(&format!("{enough} pods are bound"), LIMIT, async || {
            let bound = scene.pods().await.iter().filter(|pod| is_bound(pod)).count();
            expect(bound >= enough, || format!("{bound} bound"))
        })
        .await;
        scene.stack.kill().await;
        scene.stack.serve().await;
    }
}
