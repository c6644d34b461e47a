//! What a refusal costs the scheduler: a constant text ends the matter, one that varies never does.

use std::time::Duration;

use pointsman::decide::reason::Reason;
use serde_json::json;

use crate::harness::another::Another;
use crate::harness::api::PRIORITY_CLASSES;
use crate::harness::nodes::IbNode;
use crate::harness::objects::{Profile, container, pod_of};
use crate::harness::plane;
use crate::harness::run;
use crate::harness::scene::Scene;
use crate::harness::scheduler::Scheduling;
use crate::harness::stack::{Asks, Setup};
use crate::harness::wait::{eventually, expect};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn pods_of_a_high_priority_that_wait_for_addresses_cost_two_calls_beside_pods_of_a_low_one() {
    run(async {
        let plane = plane::shared().await;
        let urgent = json!({"metadata": {"name": "t10-urgent"}, "value": 1000});
        plane.api.create(&PRIORITY_CLASSES.all(), urgent).await.unwrap();
        IbNode::new("t10-a")
            .rails("t10", 1)
            .label("t10", "true")
            .create(plane)
            .await;
        let stack = Setup::new("t10-own", &["t10"]).start(plane).await;
        let scene = Scene::open(&stack, "t10-waits").await;
        let profile = Profile::new("t10-waits", "t10", 60).addresses(1);
        profile.create(plane, &scene.namespace).await;
        // The scheduler could evict these, and what it finds when it tries differs from time to time.
        for name in ["low-1", "low-2"] {
            let low = json!({"metadata": {"name": name}, "spec": {
                "schedulerName": stack.name(), "nodeSelector": {"t10": "true"}, "containers": [container("main")]}});
            scene.create_pod(low).await;
            scene.sees_bound(name, LIMIT).await;
        }
        scene.create_pod(pod_of("runs", profile.name())).await;
        scene.sees_bound("runs", LIMIT).await;
        for name in ["waits-1", "waits-2"] {
            let mut pod = pod_of(name, profile.name());
            pod["spec"]["priorityClassName"] = json!("t10-urgent");
            scene.create_pod(pod).await;
            scene.sees_event(name, Reason::PoolEmpty.text(), LIMIT).await;
        }
        stack.costs_at_most_two_calls(2).await;
        assert_eq!(
            scene.pods().await.len(),
            5,
            "nobody was evicted for an address that this does not free"
        );
        scene.close().await;
    });
}

#[test]
fn a_text_that_varies_makes_the_scheduler_ask_without_end() {
    run(async {
        let plane = plane::shared().await;
        IbNode::new("t10x-a").rails("t10x", 1).create(plane).await;
        let another = Another::start(&plane.api, |asked| {
            Some(format!("refused for the {asked}th time"))
        })
        .await;
        let scheduling = Scheduling {
            another: Some(another.stanza("spidernet.io/t10x_rail0", false)),
            ..Scheduling::default()
        };
        let stack = Setup::new("t10x-own", &["t10x"])
            .asks(Asks::Nobody)
            .scheduling(scheduling)
            .start(plane)
            .await;
        let scene = Scene::open(&stack, "t10x-waits").await;
        let mut pod = json!({"metadata": {"name": "waits"}, "spec": {
            "schedulerName": stack.name(), "containers": [container("main")]}});
        pod["spec"]["containers"][0]["resources"] = json!({"limits": {"spidernet.io/t10x_rail0": "1"}});
        scene.create_pod(pod).await;
        // The back-off of a pod that is refused would allow four of these.
        eventually(
            "the scheduler has asked thirty times",
            Duration::from_secs(15),
            async || expect(another.asked() >= 30, || format!("{} times", another.asked())),
        )
        .await;
        scene.close().await;
    });
}
