//! Contract 1: one annotation on a Job is all it takes, for eight pods with eight rails each.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::api::{ENDPOINTS, JOBS};
use crate::harness::kubelet::networks_of;
use crate::harness::nodes::IbNode;
use crate::harness::objects::{Profile, container, job};
use crate::harness::plane::{self, ControlPlane};
use crate::harness::run;
use crate::harness::scene::Scene;
use crate::harness::stack::{self, Stack};
use crate::harness::wait::{eventually, expect};

const RAILS: usize = 8;
const PODS: usize = 8;

/// Two nodes whose rails all have addresses, and one that the last rail's pool does not serve: the usual state of a
/// cluster whose newest node's subnet nobody has added yet.
async fn nodes(plane: &ControlPlane) {
    for name in ["t1-a", "t1-b", "t1-new"] {
        IbNode::new(name)
            .rails("t1", RAILS)
            .offers("nvidia.com/gpu", 8)
            .create(plane)
            .await;
    }
}

/// The user's template (eight of them just fill a node, so a scheduler left to itself spreads them): the trainer is not the first container, and all that asks for RDMA is one annotation.
fn template(profile: &str) -> Value {
    let mut trainer = container("trainer");
    trainer["resources"] =
        json!({"limits": {"nvidia.com/gpu": "1", "memory": "1Gi"}, "requests": {"cpu": "24"}});
    json!({
        "metadata": {"annotations": {"pointsman.io/profile": profile, "example.com/kept": "as it was"}},
        "spec": {"containers": [container("logger"), trainer], "initContainers": [container("download")]},
    })
}

/// Creates the Job, and waits until all its pods are bound and a node has tried to give them their addresses.
async fn run_job<'a>(stack: &'a Stack, profile: &Profile, name: &str) -> (Scene<'a>, Duration) {
    let scene = Scene::open(stack, name).await;
    profile.create(scene.plane, name).await;
    let started = Instant::now();
    scene
        .api()
        .create(&JOBS.within(name), job("train", PODS, template(profile.name())))
        .await
        .unwrap();
    scene.bound(PODS, Duration::from_mins(1)).await;
    let took = started.elapsed();
    eventually("a node has set up each pod", Duration::from_mins(1), async || {
        let sandboxes = scene.kubelet.sandboxes().len();
        expect(sandboxes == PODS, || format!("{sandboxes} sandboxes"))
    })
    .await;
    (scene, took)
}

#[test]
fn a_job_of_eight_pods_with_eight_rails_each_takes_one_annotation() {
    run(async {
        let plane = plane::shared().await;
        nodes(plane).await;

        let profile = Profile::new("t1-eight-rails", "t1", 10)
            .rails(RAILS)
            .only_on(RAILS - 1, &["t1-a", "t1-b"]);
        let (scene, took) = run_job(stack::shared().await, &profile, "t1-job").await;
        assert!(took < Duration::from_secs(10), "all pods bound in {took:?}");
        for pod in scene.pods().await {
            check_stored_pod(&pod, &profile, stack::shared().await.name());
            assert_ne!(
                pod["spec"]["nodeName"], "t1-new",
                "no address for the last rail there"
            );
        }
        check_addresses(&scene, &profile).await;
        scene.close().await;

        // The same without the extender: the scheduler sees free VFs on the new node, and pods hang there.
        let profile = Profile::new("t1-unasked", "t1", 11)
            .rails(RAILS)
            .only_on(RAILS - 1, &["t1-a", "t1-b"]);
        let (scene, _) = run_job(stack::without_extender().await, &profile, "t1-unasked").await;
        let failures = scene.kubelet.failures();
        assert!(
            !failures.is_empty() && failures.iter().all(|sandbox| sandbox.node == "t1-new"),
            "{failures:?}"
        );
        scene.close().await;
    });
}

/// What the webhook promises about every pod it lets through.
fn check_stored_pod(pod: &Value, profile: &Profile, scheduler: &str) {
    let wanted: Vec<_> = (0..RAILS).map(|rail| profile.network(rail)).collect();
    let networks: Vec<_> = networks_of(pod).into_iter().map(|(_, name, _)| name).collect();
    assert_eq!(networks, wanted, "one network per rail, in order");

    let containers = pod["spec"]["containers"].as_array().unwrap();
    let [logger, trainer] = containers.as_slice() else {
        panic!("{containers:?}")
    };
    for rail in 0..RAILS {
        let resource = profile.resource(rail);
        let of = |container: &Value, kind: &str| container["resources"][kind][&resource].clone();
        assert_eq!(
            [of(trainer, "requests"), of(trainer, "limits")],
            [json!("1"), json!("1")],
            "{resource}"
        );
        assert_eq!(
            [of(logger, "requests"), of(logger, "limits")],
            [Value::Null, Value::Null],
            "{resource}"
        );
    }
    assert_eq!(
        trainer["resources"]["limits"]["memory"], "1Gi",
        "what the user wrote is kept"
    );
    assert_eq!(
        trainer["securityContext"]["capabilities"]["add"],
        json!(["IPC_LOCK"])
    );
    assert_eq!(logger["securityContext"], Value::Null);
    assert_eq!(pod["spec"]["schedulerName"], scheduler);

    let annotations = &pod["metadata"]["annotations"];
    assert_eq!(annotations["example.com/kept"], "as it was");
    let record: Value = serde_json::from_str(annotations["pointsman.io/injected"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&record["profile"], &record["container"]),
        (&json!(profile.name()), &json!("trainer"))
    );
    assert!(!record["version"].is_null(), "{record}");
    let rails = record["rails"].as_array().unwrap();
    let recorded: Vec<_> = rails
        .iter()
        .map(|rail| rail["resource"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        recorded,
        (0..RAILS).map(|rail| profile.resource(rail)).collect::<Vec<_>>()
    );
    let placement: Value =
        serde_json::from_str(annotations["pointsman.io/placement"].as_str().unwrap()).unwrap();
    assert_eq!(
        placement["node"], pod["spec"]["nodeName"],
        "written with the binding"
    );
}

/// One address per rail, from the pool of that rail, of the IPAM and in its own record.
async fn check_addresses(scene: &Scene<'_>, profile: &Profile) {
    assert!(
        scene.kubelet.failures().is_empty(),
        "{:?}",
        scene.kubelet.failures()
    );
    let mut all = BTreeSet::new();
    for sandbox in scene.kubelet.sandboxes().into_values() {
        assert_eq!(sandbox.addresses.len(), RAILS, "{sandbox:?}");
        let endpoint = scene
            .api()
            .get(&ENDPOINTS.within(&scene.namespace).named(&sandbox.pod))
            .await
            .unwrap();
        let recorded = endpoint["status"]["current"]["ips"].as_array().unwrap();
        assert_eq!(recorded.len(), RAILS, "{recorded:?}");
        for rail in 0..RAILS {
            let of_rail = sandbox
                .addresses
                .iter()
                .find(|(_, (network, _))| *network == profile.network(rail));
            let (interface, (_, address)) = of_rail.unwrap();
            assert!(
                address.starts_with(&profile.address_prefix(rail)),
                "rail {rail} got {address}"
            );
            let ip = recorded
                .iter()
                .find(|ip| ip["interface"] == interface.as_str())
                .unwrap();
            assert_eq!(ip["ipv4Pool"], profile.pool(rail).as_str());
            assert_eq!(ip["ipv4"], format!("{address}/24").as_str());
            all.insert(address.clone());
        }
    }
    assert_eq!(all.len(), PODS * RAILS, "no address twice");
}
