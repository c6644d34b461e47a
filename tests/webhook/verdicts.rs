//! What pods become, and why some are refused: many cases, the outcome of each as people see it.

use core::fmt::Write as _;

use json_patch::PatchOperation;
use serde_json::{Value, json};

use crate::cluster::{Cluster, ib_network, operations, patched, pod};

/// A case: what it is about, the namespace, the pod.
pub(crate) type Case = (&'static str, &'static str, Value);

/// Admits every case, twice where it is allowed, and shows what came of it, without operations below `hidden`.
async fn shown(cases: Vec<Case>, hidden: &str) -> String {
    shown_in(&Cluster::new(), cases, hidden).await
}

/// As [`shown`], in this cluster.
pub(crate) async fn shown_in(cluster: &Cluster, cases: Vec<Case>, hidden: &str) -> String {
    let mut text = String::new();
    for (about, namespace, pod) in cases {
        let response = cluster.admit(namespace, &pod).await;
        writeln!(text, "# {about}").unwrap();
        if response["allowed"] == true {
            let again = cluster.admit(namespace, &patched(&pod, &response)).await;
            assert!(
                operations(&again).is_empty(),
                "{about}: asked again, it changes {:?}",
                operations(&again)
            );
        } else {
            writeln!(
                text,
                "denied: {}",
                response["status"]["message"].as_str().unwrap()
            )
            .unwrap();
        }
        for operation in operations(&response).iter() {
            let PatchOperation::Add(add) = operation else {
                panic!("{operation:?}")
            };
            if hidden.is_empty() || !add.path.as_str().starts_with(hidden) {
                writeln!(text, "{} = {}", add.path, add.value).unwrap();
            }
        }
        for warning in response["warnings"].as_array().into_iter().flatten() {
            let warning = warning.as_str().unwrap();
            assert!(
                warning.len() < 256 && !warning.ends_with("..."),
                "too long: {warning}"
            );
            writeln!(text, "warning: {warning}").unwrap();
        }
        text.push('\n');
    }
    text
}

fn profile(pairs: &[(&str, &str)]) -> Value {
    let mut annotations = json!({ "pointsman.io/profile": "eight-rails", "pointsman.io/rails": "2" });
    for (key, value) in pairs {
        annotations[*key] = json!(value);
    }
    pod(&annotations)
}

pub(crate) fn with(mut pod: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    pod.pointer_mut(parent).unwrap()[field] = value;
    pod
}

fn containers(list: Value) -> Value {
    with(profile(&[]), "/spec/containers", list)
}

pub(crate) const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

#[tokio::test]
async fn networks_and_resources() {
    let cases: Vec<Case> = vec![
        (
            "all eight rails",
            "t",
            pod(&json!({ "pointsman.io/profile": "eight-rails" })),
        ),
        (
            "nothing but a namespace's default",
            "defaults",
            with(pod(&json!({})), "/metadata", json!({})),
        ),
        (
            "the two rails with the most free VFs, ties by rail order",
            "t",
            profile(&[]),
        ),
        (
            "a rail that the user lists counts among them",
            "t",
            profile(&[(NETWORKS, "fabric/rail3")]),
        ),
        (
            "more rails listed than asked for: none is taken away",
            "t",
            profile(&[(NETWORKS, "fabric/rail0,fabric/rail3,fabric/rail7")]),
        ),
        (
            "a short list becomes JSON when it grows",
            "t",
            profile(&[(NETWORKS, "fabric/plain@data")]),
        ),
        (
            "the user's elements keep their bytes",
            "t",
            profile(&[(
                NETWORKS,
                r#" [ {"name" : "plain","namespace":"fabric", "color":"red"} ] "#,
            )]),
        ),
        ("an empty list", "t", profile(&[(NETWORKS, "[]")])),
        (
            "the old key for an interface gets the new one beside it",
            "t",
            profile(&[(
                NETWORKS,
                r#"[{"name":"rail0","namespace":"fabric","interfaceRequest":"ib0"},{"name":"rail1","namespace":"fabric"}]"#,
            )]),
        ),
        (
            "the same network twice takes two VFs",
            "t",
            pod(&json!({ "pointsman.io/inject": "true", NETWORKS: "fabric/rail0,fabric/rail0" })),
        ),
        (
            "own networks, one of them without a VF",
            "t",
            pod(&json!({ "pointsman.io/inject": "true", NETWORKS: "fabric/plain,fabric/rail5@ib5" })),
        ),
        (
            "own networks without any VF",
            "t",
            pod(&json!({ "pointsman.io/inject": "true", NETWORKS: "fabric/plain" })),
        ),
        (
            "own networks by the namespace's default",
            "own",
            pod(&json!({ NETWORKS: "fabric/rail5" })),
        ),
        ("no networks in such a namespace", "own", pod(&json!({}))),
        (
            "Spiderpool's key",
            "t",
            pod(&json!({ "cni.spidernet.io/rdma-resource-inject": "half" })),
        ),
        (
            "one network in several profiles",
            "t",
            pod(&json!({ "pointsman.io/profile": "other" })),
        ),
        (
            "a default network that takes a VF is counted",
            "t",
            profile(&[("v1.multus-cni.io/default-network", "fabric/ethernet")]),
        ),
        (
            "left alone",
            "defaults",
            pod(&json!({ "pointsman.io/inject": "false" })),
        ),
        (
            "a record of somebody else's is replaced",
            "t",
            profile(&[("pointsman.io/injected", "{\"rails\":[]}")]),
        ),
    ];
    insta::assert_snapshot!(shown(cases, "").await);
}

#[tokio::test]
async fn containers_and_counts() {
    let vf = "spidernet.io/ib_rail1";
    let gpu = json!({ "limits": { "nvidia.com/gpu": "8" }, "requests": { "nvidia.com/gpu": "8" } });
    let vfs = |count: &str| json!({ "limits": { vf: count }, "requests": { vf: count } });
    let trainer_with =
        |context: Value| json!([{ "name": "trainer", "resources": {}, "securityContext": context }]);
    let cases: Vec<Case> = vec![
        (
            "no resources at all",
            "t",
            containers(json!([{ "name": "trainer" }])),
        ),
        (
            "other resources stay",
            "t",
            containers(json!([{ "name": "trainer", "resources": { "limits": { "cpu": "4" } } }])),
        ),
        (
            "the container with the accelerator",
            "t",
            containers(json!([{ "name": "proxy" }, { "name": "trainer", "resources": gpu }])),
        ),
        (
            "else the one that has such VFs",
            "t",
            containers(json!([{ "name": "proxy" }, { "name": "trainer", "resources": vfs("1") }])),
        ),
        (
            "the one named before the accelerator",
            "t",
            with(
                profile(&[("pointsman.io/container", "proxy")]),
                "/spec/containers",
                json!([{ "name": "proxy" }, { "name": "trainer", "resources": gpu }]),
            ),
        ),
        (
            "topped up, not replaced",
            "t",
            with(
                containers(json!([{ "name": "trainer", "resources": vfs("1") }])),
                "/metadata/annotations",
                json!({ "pointsman.io/inject": "true", NETWORKS: "fabric/rail1,fabric/rail1,fabric/rail1" }),
            ),
        ),
        (
            "what another container has counts",
            "t",
            containers(
                json!([{ "name": "trainer", "resources": gpu }, { "name": "proxy", "resources": vfs("1") }]),
            ),
        ),
        (
            "what a sidecar has counts",
            "t",
            with(
                profile(&[]),
                "/spec/initContainers",
                json!([{ "name": "proxy", "restartPolicy": "Always", "resources": vfs("1") }]),
            ),
        ),
        (
            "what an init container has does not: Multus never sees it",
            "t",
            with(
                profile(&[]),
                "/spec/initContainers",
                json!([{ "name": "setup", "resources": vfs("1") }]),
            ),
        ),
        (
            "a sidecar by name",
            "t",
            with(
                profile(&[("pointsman.io/container", "proxy")]),
                "/spec/initContainers",
                json!([{ "name": "proxy", "restartPolicy": "Always" }]),
            ),
        ),
        (
            "never lowered, but told",
            "t",
            containers(json!([{ "name": "trainer", "resources": vfs("3") }])),
        ),
        (
            "limits only",
            "t",
            containers(json!([{ "name": "trainer", "resources": { "limits": { vf: 1 } } }])),
        ),
        (
            "IPC_LOCK joins other capabilities",
            "t",
            containers(trainer_with(
                json!({ "capabilities": { "add": ["NET_RAW"], "drop": ["ALL"] } }),
            )),
        ),
        (
            "capabilities without any added",
            "t",
            containers(trainer_with(json!({ "capabilities": { "drop": ["ALL"] } }))),
        ),
        (
            "a security context without capabilities",
            "t",
            containers(trainer_with(json!({ "runAsUser": 0 }))),
        ),
        (
            "IPC_LOCK is there",
            "t",
            containers(trainer_with(json!({ "capabilities": { "add": ["IPC_LOCK"] } }))),
        ),
        (
            "privileged",
            "t",
            containers(trainer_with(json!({ "privileged": true }))),
        ),
        ("Pod Security forbids it", "tight", profile(&[])),
        (
            "no scheduler named",
            "t",
            with(profile(&[]), "/spec/schedulerName", json!("")),
        ),
        (
            "another scheduler stays, and is told",
            "t",
            with(profile(&[]), "/spec/schedulerName", json!("volcano")),
        ),
    ];
    insta::assert_snapshot!(shown(cases, "/metadata").await);
}

#[tokio::test]
async fn warnings() {
    let cases: Vec<Case> = vec![
        (
            "nothing to complete",
            "t",
            pod(&json!({ "pointsman.io/inject": "true" })),
        ),
        (
            "no node offers the resource",
            "t",
            pod(&json!({ "pointsman.io/profile": "half" })),
        ),
        (
            "keys that are for a later version",
            "t",
            profile(&[
                ("pointsman.io/gang", "g"),
                ("pointsman.io/gang-size", "8"),
                ("pointsman.io/locality", "preferred=leaf-group"),
            ]),
        ),
        (
            "Spiderpool's key",
            "t",
            profile(&[("cni.spidernet.io/network-resource-inject", "x")]),
        ),
    ];
    insta::assert_snapshot!(shown(cases, "").await);
}

#[tokio::test]
async fn what_the_scheduler_allocates_by_claims_no_node_need_offer() {
    let cluster = Cluster::new();
    let asks = pod(&json!({ "pointsman.io/profile": "half" }));
    let warnings = cluster.admit("t", &asks).await["warnings"].to_string();
    assert!(
        warnings.contains("no node offers spidernet.io/ib_half0 now"),
        "{warnings}"
    );
    cluster.with(json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": { "name": "half" },
        "spec": { "extendedResourceName": "spidernet.io/ib_half0" },
    }));
    let warnings = &cluster.admit("t", &asks).await["warnings"];
    assert!(warnings.is_null(), "{warnings}");
}

#[tokio::test]
async fn denials() {
    let vf = |request: &str, limit: &str| json!([{ "name": "trainer", "resources": { "requests": { "spidernet.io/ib_rail1": request }, "limits": { "spidernet.io/ib_rail1": limit } } }]);
    let shared = json!([{ "name": "trainer", "resources": { "limits": { "rdma/hca_shared": "1" }, "requests": { "rdma/hca_shared": "1" } } }]);
    let cases: Vec<Case> = vec![
        (
            "an unknown profile",
            "t",
            pod(&json!({ "pointsman.io/profile": "six-rails" })),
        ),
        (
            "a network without a resource",
            "t",
            pod(&json!({ "pointsman.io/profile": "incomplete" })),
        ),
        (
            "a network that cannot be read",
            "t",
            pod(&json!({ "pointsman.io/profile": "broken" })),
        ),
        (
            "more rails than there are",
            "t",
            profile(&[("pointsman.io/rails", "9")]),
        ),
        (
            "the host's network",
            "t",
            with(profile(&[]), "/spec/hostNetwork", json!(true)),
        ),
        (
            "an unknown container",
            "t",
            profile(&[("pointsman.io/container", "trianer")]),
        ),
        (
            "an init container that ends",
            "t",
            with(
                profile(&[("pointsman.io/container", "setup")]),
                "/spec/initContainers",
                json!([{ "name": "setup" }]),
            ),
        ),
        ("no container", "t", containers(json!([]))),
        ("shared and exclusive RDMA", "t", containers(shared)),
        (
            "a shared network beside exclusive ones",
            "t",
            profile(&[(NETWORKS, "fabric/shared")]),
        ),
        ("requests and limits that differ", "t", containers(vf("1", "2"))),
        (
            "networks that cannot be parsed",
            "t",
            profile(&[(NETWORKS, "fabric/plain,a/b/c")]),
        ),
        (
            "a network in another namespace",
            "t",
            profile(&[(NETWORKS, "rail0")]),
        ),
        (
            "a network that is nowhere",
            "t",
            profile(&[(NETWORKS, "fabric/rail9")]),
        ),
        (
            "an interface name that is taken",
            "t",
            profile(&[(NETWORKS, "fabric/plain@net2")]),
        ),
        (
            "a GUID that the CNI refuses",
            "t",
            profile(&[(
                NETWORKS,
                r#"[{"name":"rail0","namespace":"fabric","infiniband-guid":"00:00:00:00:00:00:00:00"}]"#,
            )]),
        ),
        (
            "an IB network in place of the cluster's",
            "t",
            profile(&[("v1.multus-cni.io/default-network", "fabric/rail0")]),
        ),
        (
            "one pool for all rails",
            "t",
            profile(&[("ipam.spidernet.io/ippool", r#"{"ipv4":["p"]}"#)]),
        ),
        (
            "a forged placement",
            "t",
            profile(&[("pointsman.io/placement", "{}")]),
        ),
        (
            "a key misspelled, with the networks wrong, too",
            "t",
            pod(&json!({ "pointsman.io/profle": "eight-rails", NETWORKS: "[" })),
        ),
        (
            "several problems",
            "t",
            with(
                profile(&[("pointsman.io/container", "x"), (NETWORKS, "rail0")]),
                "/spec/hostNetwork",
                json!(true),
            ),
        ),
    ];
    insta::assert_snapshot!(shown(cases, "").await);
}

#[tokio::test]
async fn a_patched_pod_stays_as_it_is_when_the_cluster_changes() {
    let cluster = Cluster::new();
    let before = profile(&[]);
    let after = patched(&before, &cluster.admit("t", &before).await);
    // Other rails have the most free VFs now.
    cluster.with(json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n2" },
        "status": { "allocatable": { "spidernet.io/ib_rail0": "99", "spidernet.io/ib_rail6": "99" } },
    }));
    assert!(operations(&cluster.admit("t", &after).await).is_empty());
}

#[tokio::test]
async fn spiderpools_own_webhook_after_ours_changes_nothing_of_ours() {
    let cluster = Cluster::new();
    for rail in 0..2 {
        cluster.with(ib_network(&format!("rail{rail}"), "two-rails"));
    }
    let asked = pod(&json!({ "cni.spidernet.io/rdma-resource-inject": "two-rails" }));
    let mut after = patched(&asked, &cluster.admit("t", &asked).await);
    // It replaces the list by names in the short form.
    after["metadata"]["annotations"][NETWORKS] = json!("fabric/rail0,fabric/rail1");
    assert!(operations(&cluster.admit("t", &after).await).is_empty());
}
