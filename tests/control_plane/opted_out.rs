//! Contract 4: pods that did not opt in have nothing to do with us. They never reach the webhook, and schedule while our
//! program is down.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::api::{MUTATING_WEBHOOKS, NAMESPACES};
use crate::harness::faults::{Fault, Faults};
use crate::harness::nodes::IbNode;
use crate::harness::objects::{Profile, container, pod_of};
use crate::harness::plane;
use crate::harness::run;
use crate::harness::scene::Scene;
use crate::harness::stack::{self, Ports, Setup};
use crate::harness::wait::{eventually, expect};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn pods_that_did_not_opt_in_never_reach_the_webhook_and_schedule_while_the_program_is_down() {
    run(async {
        let plane = plane::shared().await;
        IbNode::new("t4-a")
            .rails("t4", 1)
            .label("t4", "true")
            .create(plane)
            .await;
        let stack = Setup::new("t4-own", &["t4"]).start(plane).await;
        let scene = Scene::open(&stack, "t4-plain").await;
        let profile = Profile::new("t4-plain", "t4", 40);
        profile.create(plane, &scene.namespace).await;

        // The profile's networks have been looked at as they were written.
        let before = stack.metric("pointsman_webhook_requests_total", &[]).await;
        create_and_see_bound(&scene, "beside-us").await;
        let asked = stack.metric("pointsman_webhook_requests_total", &[]).await - before;
        assert!(asked.abs() < 0.5, "the webhook was asked");

        stack.kill().await;
        create_and_see_bound(&scene, "without-us").await;
        // Whoever opts in is not let through unseen.
        let refused = scene
            .api()
            .create(&scene.pods_at(), pod_of("opted-in", profile.name()))
            .await
            .unwrap_err();
        assert!(refused.message.contains("webhook"), "{}", refused.message);

        // What keeps the others out of it are the match conditions: without them the same pod is refused.
        let configuration = MUTATING_WEBHOOKS.all().named(stack.name());
        let before = scene.api().get(&configuration).await.unwrap();
        let mut webhooks = before["webhooks"].clone();
        for webhook in webhooks.as_array_mut().unwrap() {
            webhook
                .as_object_mut()
                .unwrap()
                .remove("matchConditions")
                .expect("only opted-in pods pass");
        }
        scene
            .api()
            .merge(&configuration, json!({"webhooks": webhooks}))
            .await
            .unwrap();
        eventually("a plain pod is refused", LIMIT, async || {
            let probe = scene
                .api()
                .create(&scene.pods_at(), plain("dragged-in", stack.name()))
                .await;
            if probe.is_ok() {
                scene
                    .api()
                    .delete(&scene.pods_at().named("dragged-in"))
                    .await
                    .unwrap();
            }
            expect(probe.is_err(), || "it was let through".to_owned())
        })
        .await;
        scene
            .api()
            .merge(&configuration, json!({"webhooks": before["webhooks"]}))
            .await
            .unwrap();

        stack.serve().await;
        eventually("an opted-in pod is admitted", LIMIT, async || {
            let created = scene
                .api()
                .create(&scene.pods_at(), pod_of("opted-in", profile.name()))
                .await;
            created.map_err(|refused| refused.message)
        })
        .await;
        assert!(
            stack.metric("pointsman_webhook_requests_total", &[]).await > 0.5,
            "and counted"
        );
        scene.close().await;
    });
}

#[test]
fn pods_that_did_not_opt_in_are_created_as_fast_while_the_webhook_stalls_or_errs() {
    run(async {
        let plane = plane::shared().await;
        let ports = Ports::free();
        let faults = Faults::before(ports.webhook).await;
        let called = Ports {
            webhook: faults.port(),
            ..ports
        };
        let stack = Setup::new("t4-faulty", &["t4f"])
            .behind(ports, called)
            .start(plane)
            .await;
        let scene = Scene::open(&stack, "t4-faulty").await;
        let profile = Profile::new("t4-faulty", "t4f", 96);
        profile.create(plane, &scene.namespace).await;
        let create = async |name: String| {
            let started = Instant::now();
            let created = scene.create_pod(plain(&name, stack.name())).await;
            (started.elapsed(), created)
        };
        for fault in [Fault::None, Fault::Stall, Fault::Err, Fault::Refuse] {
            faults.set(fault);
            let connections = faults.connections();
            let mut times = Vec::new();
            for number in 0..20 {
                let name = format!("plain-{number}-{fault:?}").to_lowercase();
                let (time, created) = create(name).await;
                assert!(created["metadata"]["annotations"].is_null(), "{created}");
                times.push(time);
            }
            times.sort_unstable();
            eprintln!(
                "with {fault:?}: created in {:?}, the slowest in {:?}",
                times[10], times[19]
            );
            assert_eq!(
                faults.connections(),
                connections,
                "with {fault:?} the webhook was asked"
            );
            let opted_in = pod_of(&format!("opted-in-{fault:?}").to_lowercase(), profile.name());
            if fault == Fault::None {
                scene.create_pod(opted_in).await;
            } else {
                let refused = scene.api().create(&scene.pods_at(), opted_in).await.unwrap_err();
                assert!(refused.message.contains("webhook"), "{}", refused.message);
            }
        }
        scene.close().await;
    });
}

#[test]
fn a_namespace_opts_in_for_its_pods_by_annotation_and_label() {
    run(async {
        let scene = Scene::open(stack::shared().await, "t4-namespace").await;
        let profile = Profile::new("t4-namespace", "t4x", 41);
        profile.create(scene.plane, &scene.namespace).await;
        let asks = json!({"metadata": {
            "annotations": {"pointsman.io/profile": profile.name()},
            "labels": {"pointsman.io/inject": "enabled"},
        }});
        scene
            .api()
            .merge(&NAMESPACES.all().named(&scene.namespace), asks)
            .await
            .unwrap();
        eventually(
            "a pod that says nothing gets the namespace's profile",
            LIMIT,
            async || {
                let pod =
                    json!({"metadata": {"name": "silent"}, "spec": {"containers": [container("main")]}});
                let pod = scene
                    .api()
                    .create(&scene.pods_at().dry_run(), pod)
                    .await
                    .map_err(|refused| refused.message)?;
                let limits = &pod["spec"]["containers"][0]["resources"]["limits"];
                expect(limits[profile.resource(0)] == "1", || pod.to_string())
            },
        )
        .await;
    });
}

/// A pod that names the scheduler itself, as nobody else would.
fn plain(name: &str, scheduler: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"schedulerName": scheduler, "nodeSelector": {"t4": "true"}, "containers": [container("main")]},
    })
}

async fn create_and_see_bound(scene: &Scene<'_>, name: &str) {
    scene.create_pod(plain(name, scene.stack.name())).await;
    scene.sees_bound(name, LIMIT).await;
}
