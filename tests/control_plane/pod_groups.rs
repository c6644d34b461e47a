//! Kubernetes' own PodGroups, with the feature gates that place them by topology: kube-scheduler asks about each pod in
//! each leaf group before it settles for one, and never says which of its questions were in earnest.

use std::collections::BTreeSet;
use std::time::Duration;

use pointsman::decide::reason::Reason;
use serde_json::{Value, json};

use crate::harness::api::POD_GROUPS;
use crate::harness::nodes::IbNode;
use crate::harness::objects::{Profile, pod_of};
use crate::harness::plane::ControlPlane;
use crate::harness::run;
use crate::harness::scene::{Scene, is_bound};
use crate::harness::scheduler::Scheduling;
use crate::harness::stack::Setup;
use crate::harness::wait::throughout;

const GATES: &[&str] = &["GenericWorkload", "TopologyAwareWorkloadScheduling"];
const LIMIT: Duration = Duration::from_secs(30);
const SIZE: usize = 3;

#[test]
fn a_pod_group_goes_where_the_scheduler_puts_it_and_its_simulations_hold_nothing() {
    run(async {
        let plane = ControlPlane::start_gated("pod-groups", GATES).await;
        let plane: &'static ControlPlane = Box::leak(Box::new(plane));
        // Two leaf groups with room for four pods each, and addresses for four in all.
        for (node, leaf_group) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")] {
            IbNode::new(format!("t13-{node}"))
                .label("pointsman.io/leaf-group", leaf_group)
                .rail("t13_rail0", 2)
                .create(plane)
                .await;
        }
        let scheduling = Scheduling {
            gates: GATES,
            ..Scheduling::default()
        };
        let stack = Setup::new("t13-own", &["t13"])
            .scheduling(scheduling)
            .start(plane)
            .await;
        let scene = Scene::open(&stack, "t13-groups").await;
        let profile = Profile::new("t13-groups", "t13", 92).addresses(4);
        profile.create(plane, &scene.namespace).await;

        create_group(&scene, &profile, "first").await;
        scene.bound(SIZE, LIMIT).await;
        let groups: BTreeSet<String> = scene.pods().await.iter().map(leaf_group_of).collect();
        assert_eq!(
            groups.len(),
            1,
            "the placement that the scheduler chose: {groups:?}"
        );
        let asked = stack
            .metric("pointsman_extender_requests_total", &["verb=\"filter\""])
            .await;
        assert!(
            asked >= 6.0,
            "each of three pods was asked about in both leaf groups: {asked} calls"
        );

        // All the questions about the other leaf group left nothing behind: the fourth address is there at once.
        scene.create_pod(pod_of("alone", profile.name())).await;
        scene.sees_bound("alone", Duration::from_secs(5)).await;

        // No address is left, so the next group has none for any of its pods, and after two go for two of three only.
        create_group(&scene, &profile, "second").await;
        scene
            .sees_event("second-0", Reason::PoolEmpty.text(), LIMIT)
            .await;
        for name in ["first-0", "alone"] {
            scene.api().delete(&scene.pods_at().named(name)).await.unwrap();
        }
        throughout(
            "none of it starts without the others",
            Duration::from_secs(5),
            async || {
                let pods = scene.pods().await;
                let begun = pods
                    .iter()
                    .filter(|pod| is_of(pod, "second") && is_bound(pod))
                    .count();
                if begun == 0 {
                    Ok(())
                } else {
                    Err(format!("{begun} bound"))
                }
            },
        )
        .await;
        scene
            .api()
            .delete(&scene.pods_at().named("first-1"))
            .await
            .unwrap();
        for number in 0..SIZE {
            scene.sees_bound(&format!("second-{number}"), LIMIT).await;
        }
        assert!(
            scene.kubelet.failures().is_empty(),
            "{:?}",
            scene.kubelet.failures()
        );
        scene.close().await;
    });
}

/// A PodGroup that wants one leaf group for all of its pods, and those.
async fn create_group(scene: &Scene<'_>, profile: &Profile, name: &str) {
    let group = json!({"metadata": {"name": name}, "spec": {
        "schedulingPolicy": {"gang": {"minCount": SIZE}},
        "schedulingConstraints": {"topology": [{"key": "pointsman.io/leaf-group"}]}}});
    let at = POD_GROUPS.within(&scene.namespace);
    scene.api().create(&at, group).await.unwrap();
    for number in 0..SIZE {
        let mut pod = pod_of(&format!("{name}-{number}"), profile.name());
        pod["spec"]["schedulingGroup"] = json!({"podGroupName": name});
        scene.create_pod(pod).await;
    }
}

fn is_of(pod: &Value, group: &str) -> bool {
    pod["metadata"]["name"].as_str().unwrap().starts_with(group)
}

/// The letter before the number of its node.
fn leaf_group_of(pod: &Value) -> String {
    let node = pod["spec"]["nodeName"].as_str().unwrap();
    node[..node.len() - 1].to_owned()
}
