//! What the real scheduler's own client makes of our answers: one connection for all its calls. An answer without a
//! length, or one that closes, would cost it a new one each time.

use std::time::Duration;

use crate::harness::faults::Faults;
use crate::harness::nodes::IbNode;
use crate::harness::objects::{Profile, pod_of};
use crate::harness::plane;
use crate::harness::run;
use crate::harness::scene::Scene;
use crate::harness::stack::{Ports, Setup};
use crate::harness::wait::{eventually, expect};

const PODS: u32 = 200;

const LIMIT: Duration = Duration::from_mins(1);

#[test]
fn six_hundred_calls_of_the_scheduler_come_over_one_connection() {
    run(async {
        let plane = plane::shared().await;
        for name in ["t18-a", "t18-b", "t18-c"] {
            IbNode::new(name).rail("t18_rail0", 100).create(plane).await;
        }
        let ports = Ports::free();
        let calls = Faults::before(ports.extender).await;
        let called = Ports {
            extender: calls.port(),
            ..ports
        };
        let stack = Setup::new("t18-own", &["t18"])
            .behind(ports, called)
            .start(plane)
            .await;
        let scene = Scene::open(&stack, "t18-burst").await;
        let profile = Profile::new("t18-burst", "t18", 93).addresses(250);
        profile.create(plane, &scene.namespace).await;
        // One after the other: nothing is asked at the same time as anything else.
        for number in 0..PODS {
            let name = format!("pod-{number:03}");
            scene.create_pod(pod_of(&name, profile.name())).await;
            scene.sees_bound(&name, LIMIT).await;
            // The Binding is seen before the call that wrote it has been answered.
            eventually("the call is answered", LIMIT, async || {
                let bound = stack
                    .metric("pointsman_extender_requests_total", &["verb=\"bind\""])
                    .await;
                expect(bound > f64::from(number) + 0.5, || format!("{bound} calls"))
            })
            .await;
        }
        let mut asked = 0.0;
        for verb in ["filter", "prioritize", "bind"] {
            let label = format!("verb=\"{verb}\"");
            let of_verb = stack.metric("pointsman_extender_requests_total", &[&label]).await;
            assert!(of_verb >= 200.0, "{verb}: {of_verb} calls");
            asked += of_verb;
        }
        // One; and at most one more, where an answer was still on its way when the next call began.
        let connections = calls.connections();
        assert!((1..=2).contains(&connections), "{connections} for {asked} calls");
        scene.close().await;
    });
}
