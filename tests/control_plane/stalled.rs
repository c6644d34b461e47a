//! The program accepts calls and does not answer, answers with errors, or is not there: pods that are not ours go on being scheduled, and ours
//! wait until it is back.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::faults::{Fault, Faults};
use crate::harness::nodes::IbNode;
use crate::harness::objects::{Profile, container, pod_of};
use crate::harness::plane;
use crate::harness::run;
use crate::harness::scene::{Scene, is_bound};
use crate::harness::stack::{Ports, Setup};

/// `httpTimeout` of the schedulers of these tests: how long one call to us can hold up everybody else.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a busy machine takes on top.
const BUSY: Duration = Duration::from_secs(10);

#[test]
fn while_the_extender_stalls_others_are_scheduled_and_ours_wait_and_then_go_on() {
    run(async {
        let plane = plane::shared().await;
        IbNode::new("t15-a")
            .rails("t15", 1)
            .label("t15", "true")
            .create(plane)
            .await;
        let ports = Ports::free();
        let faults = Faults::before(ports.extender).await;
        let called = Ports {
            extender: faults.port(),
            ..ports
        };
        let stack = Setup::new("t15-own", &["t15"])
            .behind(ports, called)
            .start(plane)
            .await;
        let scene = Scene::open(&stack, "t15-stalled").await;
        let profile = Profile::new("t15-stalled", "t15", 67);
        profile.create(plane, &scene.namespace).await;

        for (number, fault) in [Fault::Stall, Fault::Err, Fault::Refuse].into_iter().enumerate() {
            faults.set(fault);
            let ours = format!("ours-{number}");
            scene.create_pod(pod_of(&ours, profile.name())).await;
            for position in 0..3 {
                let other = format!("other-{number}-{position}");
                let started = Instant::now();
                let pod = json!({"metadata": {"name": other}, "spec": {
                    "schedulerName": stack.name(), "nodeSelector": {"t15": "true"}, "containers": [container("main")]}});
                scene.create_pod(pod).await;
                // Ours comes up again after each pause, and holds up the next pod for as long as a call may take.
                scene.sees_bound(&other, TIMEOUT + BUSY).await;
                eprintln!(
                    "with {fault:?}, a pod that is not ours was bound after {:?}",
                    started.elapsed()
                );
            }
            assert!(!is_bound(&scene.pod(&ours).await), "nobody was asked about it");
            faults.set(Fault::None);
            // The scheduler's own pause grows to ten seconds at the most.
            scene
                .sees_bound(&ours, Duration::from_secs(10) + TIMEOUT + BUSY)
                .await;
        }
        scene.close().await;
    });
}
