//! A pod of a high priority finds all VFs taken. Of the nodes where evicting somebody would give it one, those that we
//! would refuse all the same are left in peace.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::api::{NODE_STATES, PRIORITY_CLASSES};
use crate::harness::nodes::{IbNode, OPERATOR_NAMESPACE};
use crate::harness::objects::{Profile, pod_of};
use crate::harness::plane;
use crate::harness::run;
use crate::harness::scene::Scene;
use crate::harness::scheduler::Scheduling;
use crate::harness::stack::{Setup, Stack};
use crate::harness::wait::{eventually, expect};

const LIMIT: Duration = Duration::from_secs(30);
const VFS: u32 = 2;

#[test]
fn a_pod_of_a_high_priority_evicts_only_where_it_then_fits() {
    run(async {
        let stack = Setup::new("t12-own", &["t12"]).start(plane::shared().await).await;
        let scene = two_full_nodes(&stack, "t12", 63).await;
        let urgent = scene.sees_bound("urgent", LIMIT).await;
        assert_eq!(urgent["spec"]["nodeName"], "t12-good");
        assert_eq!(
            left(&scene, "t12-draining").await,
            2,
            "nobody was evicted for nothing"
        );
        assert_eq!(
            left(&scene, "t12-good").await,
            2,
            "one was evicted, and urgent came"
        );
        scene.close().await;
    });
}

#[test]
fn without_the_veto_pods_are_evicted_from_a_node_that_does_not_help() {
    run(async {
        let scheduling = Scheduling {
            preempts: false,
            ..Scheduling::default()
        };
        let setup = Setup::new("t12x-own", &["t12x"]).scheduling(scheduling);
        let stack = setup.start(plane::shared().await).await;
        let scene = two_full_nodes(&stack, "t12x", 64).await;
        eventually("a pod of the unfit node is evicted", LIMIT, async || {
            let left = left(&scene, "t12x-draining").await;
            expect(left < 2, || format!("{left} left"))
        })
        .await;
        scene.close().await;
    });
}

/// Two nodes whose VFs are all taken. From one of them, which is then about to be reconfigured, the scheduler likes
/// better to evict. A pod that is worth more than all of them comes last.
async fn two_full_nodes<'a>(stack: &'a Stack, test: &str, octet: u8) -> Scene<'a> {
    let scene = Scene::open(stack, test).await;
    let profile = Profile::new(test, test, octet);
    profile.create(scene.plane, test).await;
    for (class, value) in [("least", 1), ("little", 10), ("urgent", 1000)] {
        let class = json!({"metadata": {"name": format!("{test}-{class}")}, "value": value});
        scene.api().create(&PRIORITY_CLASSES.all(), class).await.unwrap();
    }
    for (node, class) in [("good", "little"), ("draining", "least")] {
        let node = format!("{test}-{node}");
        IbNode::new(&node)
            .rail(format!("{test}_rail0"), VFS)
            .create(scene.plane)
            .await;
        for number in 0..VFS {
            let name = format!("{class}-{number}");
            let mut pod = of_class(&name, &profile, test, class);
            pod["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": node});
            scene.create_pod(pod).await;
            scene.sees_bound(&name, LIMIT).await;
        }
    }
    let state = NODE_STATES
        .within(OPERATOR_NAMESPACE)
        .named(&format!("{test}-draining"));
    let drains = json!({"metadata": {"annotations": {
        "sriovnetwork.openshift.io/desired-state": "Drain_Required",
        "sriovnetwork.openshift.io/current-state": "Draining",
    }}});
    scene.api().merge(&state, drains).await.unwrap();
    scene
        .create_pod(of_class("urgent", &profile, test, "urgent"))
        .await;
    scene
}

fn of_class(name: &str, profile: &Profile, test: &str, class: &str) -> Value {
    let mut pod = pod_of(name, profile.name());
    pod["spec"]["priorityClassName"] = json!(format!("{test}-{class}"));
    pod
}

/// The pods on a node that are not on their way out.
async fn left(scene: &Scene<'_>, node: &str) -> usize {
    let pods = scene.pods().await;
    let stays =
        |pod: &&Value| pod["spec"]["nodeName"] == node && pod["metadata"]["deletionTimestamp"].is_null();
    pods.iter().filter(stays).count()
}
