//! Contract 2: a pool with ten addresses runs ten pods, whatever the nodes have to offer, and the next one starts when an
//! address comes free.

use std::time::Duration;

use pointsman::decide::reason::Reason;
use serde_json::{Value, json};

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
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_pool_of_ten_addresses_runs_ten_pods_and_no_pod_is_bound_without_one() {
    run(async {
        let plane = plane::shared().await;
        for name in ["t2-a", "t2-b"] {
            IbNode::new(name).rails("t2", 1).create(plane).await;
        }
        // A stack of its own, for its counters.
        let stack = Setup::new("t2-own", &["t2"]).start(plane).await;
        let profile = Profile::new("t2-scarce", "t2", 20).addresses(ADDRESSES);
        let scene = Scene::open(&stack, "t2-scarce").await;
        profile.create(plane, &scene.namespace).await;
        let pool = POOLS.all().named(&profile.pool(0));
        create_pods(&scene, &profile).await;

        ten_run(&scene).await;
        for pod in waiting(&scene).await {
            scene.sees_event(&pod, Reason::PoolEmpty.text(), LIMIT).await;
            // The scheduler's says what; ours says what to do, too.
            scene.sees_event(&pod, "pointsman explain", LIMIT).await;
        }
        scene
            .stack
            .costs_at_most_two_calls(waiting(&scene).await.len())
            .await;

        // One pod goes: one that waited gets its address.
        let bound = scene.pods().await.into_iter().find(is_bound).unwrap();
        let name = bound["metadata"]["name"].as_str().unwrap();
        scene.api().delete(&scene.pods_at().named(name)).await.unwrap();
        let uid = bound["metadata"]["uid"].as_str().unwrap();
        eventually("its address is free", LIMIT, async || {
            let taken = scene.api().get(&pool).await.unwrap()["status"]["allocatedIPs"].to_string();
            expect(!taken.contains(uid), || taken)
        })
        .await;
        one_fewer_waits(&scene, 1).await;

        // The pool grows by one: the other one gets it.
        let wider = json!({"spec": {"ips": [profile.range(0, ADDRESSES + 1)]}});
        scene.api().merge(&pool, wider).await.unwrap();
        one_fewer_waits(&scene, 0).await;
        eventually("all have addresses", LIMIT, async || {
            // The deleted pod's sandbox is still in the record.
            let sandboxes = scene.kubelet.sandboxes().len();
            expect(sandboxes == PODS, || format!("{sandboxes} sandboxes"))
        })
        .await;
        assert!(
            scene.kubelet.failures().is_empty(),
            "{:?}",
            scene.kubelet.failures()
        );
        its_metrics_show_it(&scene).await;
        scene.close().await;
    });
}

#[test]
fn without_the_extender_two_pods_are_bound_to_hang_without_an_address() {
    run(async {
        let plane = plane::shared().await;
        for name in ["t2x-a", "t2x-b"] {
            IbNode::new(name).rails("t2x", 1).create(plane).await;
        }
        let profile = Profile::new("t2-unasked", "t2x", 21).addresses(ADDRESSES);
        let scene = Scene::open(stack::without_extender().await, "t2-unasked").await;
        profile.create(plane, &scene.namespace).await;
        create_pods(&scene, &profile).await;
        eventually("a node has set up each pod", LIMIT, async || {
            let sandboxes = scene.kubelet.sandboxes().len();
            expect(sandboxes == PODS, || format!("{sandboxes} sandboxes"))
        })
        .await;
        assert_eq!(
            scene.kubelet.failures().len(),
            PODS - usize::from(ADDRESSES),
            "{:?}",
            scene.kubelet.failures()
        );
        scene.close().await;
    });
}

async fn create_pods(scene: &Scene<'_>, profile: &Profile) {
    for number in 0..PODS {
        scene
            .create_pod(pod_of(&format!("worker-{number:02}"), profile.name()))
            .await;
    }
}

async fn waiting(scene: &Scene<'_>) -> Vec<String> {
    let name = |pod: Value| pod["metadata"]["name"].as_str().unwrap().to_owned();
    scene
        .pods()
        .await
        .into_iter()
        .filter(|pod| !is_bound(pod))
        .map(name)
        .collect()
}

/// Ten get bound and have their addresses, the others stay Pending, and it stays so.
async fn ten_run(scene: &Scene<'_>) {
    eventually("ten pods have addresses", LIMIT, async || {
        let sandboxes = scene.kubelet.sandboxes().len();
        expect(sandboxes == usize::from(ADDRESSES), || {
            format!("{sandboxes} sandboxes")
        })
    })
    .await;
    throughout("ten are bound and two wait", Duration::from_secs(3), async || {
        let waiting = waiting(scene).await;
        expect(waiting.len() == PODS - usize::from(ADDRESSES), || {
            format!("waiting: {waiting:?}")
        })
    })
    .await;
    assert!(
        scene.kubelet.failures().is_empty(),
        "{:?}",
        scene.kubelet.failures()
    );
}

/// Called when an address has just come free. The scheduler alone would try again after five minutes.
async fn one_fewer_waits(scene: &Scene<'_>, left: usize) {
    eventually("a waiting pod is bound", Duration::from_mins(1), async || {
        let waiting = waiting(scene).await;
        expect(waiting.len() == left, || format!("waiting: {waiting:?}"))
    })
    .await;
}

/// What was done shows in the metrics of the process that did it; those of the stock with the next stock-taking.
async fn its_metrics_show_it(scene: &Scene<'_>) {
    let bound = scene.pods().await.iter().filter(|pod| is_bound(pod)).count();
    let bound = f64::from(u32::try_from(bound).unwrap());
    let above_zero = [
        ("pointsman_webhook_requests_total", &["verdict=\"mutated\""][..]),
        (
            "pointsman_webhook_request_seconds_count",
            &["verdict=\"mutated\""],
        ),
        (
            "pointsman_extender_requests_total",
            &["verb=\"prioritize\"", "verdict=\"scored\""],
        ),
        (
            "pointsman_extender_requests_total",
            &["verb=\"bind\"", "verdict=\"bound\""],
        ),
        (
            "pointsman_extender_request_seconds_count",
            &["verb=\"filter\"", "verdict=\"refused\""],
        ),
        (
            "pointsman_extender_request_seconds_count",
            &["verb=\"filter\"", "verdict=\"fits\""],
        ),
        (
            "pointsman_extender_node_refusals_total",
            &["reason=\"pool_empty\""],
        ),
        // Nudges are not among them: a node that another test adds wakes the pods before we do.
        ("pointsman_events_total", &["result=\"sent\""]),
        ("pointsman_certificate_expiry_seconds", &[]),
        ("pointsman_index_event_seconds", &["kind=\"Pod\""]),
        ("pointsman_index_event_seconds", &["kind=\"SpiderIPPool\""]),
        ("pointsman_index_objects", &["kind=\"Pod\""]),
        ("pointsman_index_objects", &["kind=\"SpiderIPPool\""]),
        ("pointsman_vfs", &["state=\"used\""]),
        ("pointsman_vfs", &["state=\"free\""]),
        ("pointsman_stock_taken_seconds", &[]),
        ("pointsman_build_info", &[]),
    ];
    // On a machine that is slow, stock is taken every half minute.
    eventually("every metric has moved", Duration::from_mins(3), async || {
        let mut still = Vec::new();
        for (name, labels) in above_zero {
            if scene.stack.metric(name, labels).await < 0.5 {
                still.push(format!("{name} {labels:?}"));
            }
        }
        let pool = format!("pool=\"{}\"", Profile::new("t2-scarce", "t2", 20).pool(0));
        let used = scene
            .stack
            .metric("pointsman_addresses", &[&pool, "state=\"used\""])
            .await;
        // Every address of the pool has a pod.
        if (used - bound).abs() > 0.5 {
            still.push(format!("{used} of {bound} addresses"));
        }
        let waiting = scene.stack.metric("pointsman_waiting_pods", &[]).await;
        if waiting > 0.5 {
            still.push(format!("{waiting} pods wait"));
        }
        expect(still.is_empty(), || still.join(", "))
    })
    .await;
}
