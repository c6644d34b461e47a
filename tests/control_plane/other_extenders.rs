//! Schedulers that are configured otherwise than ours: another extender in the same file writes the Bindings (only one
//! may), or requests carry whole nodes.

use std::time::Duration;

use serde_json::json;

use crate::harness::another::Another;
use crate::harness::nodes::IbNode;
use crate::harness::objects::{Profile, pod_of};
use crate::harness::plane;
use crate::harness::run;
use crate::harness::scene::{Scene, is_bound};
use crate::harness::scheduler::Scheduling;
use crate::harness::stack::Setup;
use crate::harness::wait::{eventually, expect, throughout};

const LIMIT: Duration = Duration::from_secs(30);
const PODS: usize = 14;
const ADDRESSES: u8 = 10;
const GPU: &str = "example.com/t13-gpu";

#[test]
fn where_another_extender_binds_no_pod_is_bound_without_an_address_either() {
    run(async {
        let plane = plane::shared().await;
        for name in ["t13-a", "t13-b"] {
            IbNode::new(name)
                .rails("t13", 1)
                .offers(GPU, 8)
                .create(plane)
                .await;
        }
        let another = Another::start(&plane.api, |_| None).await;
        let scheduling = Scheduling {
            binds: false,
            another: Some(another.stanza(GPU, true)),
            ..Scheduling::default()
        };
        let stack = Setup::new("t13-own", &["t13"])
            .scheduling(scheduling)
            .start(plane)
            .await;
        let scene = Scene::open_slow(&stack, "t13-burst", Duration::from_secs(2)).await;
        let profile = Profile::new("t13-burst", "t13", 65).addresses(ADDRESSES);
        profile.create(plane, &scene.namespace).await;
        let pods = (0..PODS).map(|number| {
            let mut pod = pod_of(&format!("worker-{number:02}"), profile.name());
            pod["spec"]["containers"][0]["resources"] = json!({"limits": {GPU: "1"}});
            scene.create_pod(pod)
        });
        futures::future::join_all(pods).await;
        eventually("ten pods have addresses", LIMIT, async || {
            let sandboxes = scene.kubelet.sandboxes().len();
            expect(sandboxes == usize::from(ADDRESSES), || {
                format!("{sandboxes} sandboxes")
            })
        })
        .await;
        throughout(
            "ten are bound and four wait",
            Duration::from_secs(3),
            async || {
                let bound = scene.pods().await.iter().filter(|pod| is_bound(pod)).count();
                expect(bound == usize::from(ADDRESSES), || format!("{bound} bound"))
            },
        )
        .await;
        // Ours says that they are placed all the same.
        let bound = scene.pods().await.into_iter().find(is_bound).unwrap();
        let (name, node) = (&bound["metadata"]["name"], &bound["spec"]["nodeName"]);
        let placed = format!(
            "Pointsman reserved VFs and addresses on {}",
            node.as_str().unwrap()
        );
        scene.sees_event(name.as_str().unwrap(), &placed, LIMIT).await;
        assert!(
            scene.kubelet.failures().is_empty(),
            "{:?}",
            scene.kubelet.failures()
        );
        assert_eq!(
            another.bound().len(),
            usize::from(ADDRESSES),
            "the other one wrote all Bindings"
        );
        scene.close().await;
    });
}

#[test]
fn a_scheduler_that_sends_whole_nodes_is_told_what_to_configure() {
    run(async {
        let plane = plane::shared().await;
        IbNode::new("t14-a").rails("t14", 1).create(plane).await;
        let scheduling = Scheduling {
            names_only: false,
            ..Scheduling::default()
        };
        let stack = Setup::new("t14-own", &["t14"])
            .scheduling(scheduling)
            .start(plane)
            .await;
        let scene = Scene::open(&stack, "t14-nodes").await;
        let profile = Profile::new("t14-nodes", "t14", 66);
        profile.create(plane, &scene.namespace).await;
        scene.create_pod(pod_of("waits", profile.name())).await;
        scene.sees_event("waits", "nodeCacheCapable: true", LIMIT).await;
        assert!(!is_bound(&scene.pod("waits").await));
        scene.close().await;
    });
}
