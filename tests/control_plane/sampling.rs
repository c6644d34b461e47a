//! One good node among 400. The scheduler shows an extender a sample of the nodes, unless it is told not to.

use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::harness::api::NODES;
use crate::harness::nodes::IbNode;
use crate::harness::objects::{Profile, pod_of};
use crate::harness::plane::{self, ControlPlane};
use crate::harness::run;
use crate::harness::scene::{Scene, is_bound};
use crate::harness::scheduler::Scheduling;
use crate::harness::stack::Setup;
use crate::harness::wait::eventually;

const OTHERS: usize = 399;
const LIMIT: Duration = Duration::from_secs(30);

/// Enough that a scheduler that sees every other time half of the nodes misses the good one at least once.
const PODS: usize = 7;

#[test]
fn one_good_node_among_400_is_found_by_all_and_missed_by_a_sample_that_nothing_narrows() {
    run(async {
        let plane = plane::shared().await;
        let good = IbNode::new("t11-good").rail("t11_rail0", 32).label("t11", "good");
        good.create(plane).await;
        others(plane).await;
        let profile = Profile::new("t11-all", "t11", 61).only_on(0, &["t11-good"]);

        // Every node is asked about: each pod is bound at its first try.
        let stack = Setup::new("t11-all", &["t11"]).start(plane).await;
        let scene = Scene::open(&stack, "t11-all").await;
        profile.create(plane, &scene.namespace).await;
        assert_eq!(misses(&scene, &profile, &json!({})).await, 0);
        scene.close().await;

        // The scheduler's own default: half of the nodes, the next half the next time.
        let scheduling = Scheduling {
            percentage: None,
            ..Scheduling::default()
        };
        let stack = Setup::new("t11-some", &["t11"])
            .scheduling(scheduling)
            .start(plane)
            .await;
        let scene = Scene::open(&stack, "t11-some").await;
        let profile = Profile::new("t11-some", "t11", 62).only_on(0, &["t11-good"]);
        profile.create(plane, &scene.namespace).await;
        assert!(
            misses(&scene, &profile, &json!({})).await > 0,
            "the sample had the good node every time"
        );
        // What narrows the nodes before the sample is cut cures it, too.
        assert_eq!(misses(&scene, &profile, &json!({"t11": "good"})).await, 0);
        scene.close().await;
    });
}

/// Nodes with free VFs for which the pool has no address.
async fn others(plane: &ControlPlane) {
    let create = |number: usize| async move {
        let name = format!("t11-{number:03}");
        let offered = json!({"cpu": "64", "memory": "1Ti", "pods": "100", "spidernet.io/t11_rail0": "32"});
        let node = json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {"capacity": offered, "allocatable": offered},
        });
        plane.api.create(&NODES.all(), node).await.unwrap();
    };
    futures::stream::iter(0..OTHERS)
        .for_each_concurrent(16, create)
        .await;
}

/// Creates pods one after the other; how many of them were refused everywhere before they were bound, if they were.
async fn misses(scene: &Scene<'_>, profile: &Profile, selector: &Value) -> usize {
    let mut missed = 0;
    for number in 0..PODS {
        let name = format!("pod-{}-{number}", selector.as_object().unwrap().len());
        let mut pod = pod_of(&name, profile.name());
        pod["spec"]["nodeSelector"] = selector.clone();
        scene.create_pod(pod).await;
        let refused = eventually(&format!("{name} is bound or refused"), LIMIT, async || {
            let events = scene.events_of(&name).await;
            let refused = events.iter().any(|event| event.contains("nodes are available"));
            let bound = is_bound(&scene.pod(&name).await);
            if refused || bound {
                Ok(refused)
            } else {
                Err(format!("{events:?}"))
            }
        })
        .await;
        missed += usize::from(refused);
    }
    missed
}
