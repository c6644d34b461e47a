//! Pools, links and claims: pods that could never get an address or carry a packet, and what is only told.

use serde_json::{Value, json};

use crate::cluster::{Cluster, ib_network, namespace, network, pod};
use crate::verdicts::{Case, NETWORKS, shown_in, with};

const POOLS: &str = "ipam.spidernet.io/ippools";
const POOL: &str = "ipam.spidernet.io/ippool";

fn pool(name: &str, spec: &Value) -> Value {
    let mut whole = json!({ "subnet": "10.0.0.0/24", "ips": ["10.0.0.1-10.0.0.9"] });
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    json!({
        "apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderIPPool",
        "metadata": { "name": name }, "spec": whole,
    })
}

fn v6() -> Value {
    json!({ "subnet": "fd00::/120", "ips": ["fd00::1-fd00::9"], "ipVersion": 6 })
}

/// The cluster with a pool for each of the eight rails, and several that are not fit for use.
fn cluster() -> Cluster {
    let cluster = Cluster::new();
    for rail in 0..8 {
        cluster.with(pool(&format!("rail{rail}-pool"), &json!({})));
    }
    for (name, spec) in [
        ("common", json!({})),
        ("common-too", json!({})),
        ("six", v6()),
        ("full", json!({ "ips": [] })),
        ("off", json!({ "disable": true })),
        ("tied", json!({ "multusName": ["fabric/rail1"] })),
        ("elsewhere", json!({ "namespaceName": ["other"] })),
        (
            "labelled",
            json!({ "podAffinity": { "matchLabels": { "app": "db" } } }),
        ),
        ("default0", json!({ "multusName": ["fabric/rail0"] })),
        ("default1", json!({ "multusName": ["fabric/rail1"] })),
    ] {
        cluster.with(pool(name, &spec));
    }
    let defaults =
        |name: &str, pools: &str| namespace(name, &[], &[("ipam.spidernet.io/default-ipv4-ippool", pools)]);
    cluster.with(defaults("hijacked", r#"["common"]"#));
    cluster.with(defaults("hijacked-too", r#"["common","common-too"]"#));
    cluster.with(defaults("sorted-out", r#"["default0","default1"]"#));
    cluster.with(defaults("slip", r#"["comon"]"#));
    cluster.with(defaults("malformed", "common"));
    let spiderpool = |name: &str, pools: Value| {
        let ipam = json!({ "type": "spiderpool", "default_ipv4_ippool": pools });
        network(name, &[], &json!({ "type": "macvlan", "ipam": ipam }))
    };
    cluster.with(spiderpool("shared0", json!(["common"])));
    cluster.with(spiderpool("shared1", json!(["common"])));
    cluster.with(spiderpool("several0", json!(["common", "common-too"])));
    cluster.with(spiderpool("several1", json!(["common", "common-too"])));
    cluster.with(spiderpool("nameless", json!([])));
    cluster.with(spiderpool("wild", json!(["nothing-*"])));
    cluster.with(spiderpool("exhausted", json!(["full"])));
    cluster.with(spiderpool("closed", json!(["off"])));
    for (name, more) in [
        ("down", json!({ "link_state": "disable" })),
        ("odd", json!({ "link_state": "on" })),
        (
            "pkey-number",
            json!({ "pkey": 1000, "ibKubernetesEnabled": true }),
        ),
        (
            "pkey-full",
            json!({ "pkey": "0x8001", "ibKubernetesEnabled": true }),
        ),
        (
            "pkey-letter",
            json!({ "pkey": "0xabc", "ibKubernetesEnabled": true }),
        ),
        (
            "pkey-right",
            json!({ "pkey": "0x7fff", "ibKubernetesEnabled": true }),
        ),
        ("pkey-unread", json!({ "pkey": "1000" })),
    ] {
        let mut config = json!({ "type": "ib-sriov" });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        let resource = ("k8s.v1.cni.cncf.io/resourceName", "spidernet.io/ib_rail0");
        cluster.with(network(name, &[resource], &config));
    }
    cluster
}

fn own(networks: &str, pairs: &[(&str, &str)]) -> Value {
    let mut annotations = json!({ "pointsman.io/inject": "true", NETWORKS: networks });
    for (key, value) in pairs {
        annotations[*key] = json!(value);
    }
    pod(&annotations)
}

/// A pod on the first two rails.
fn rails(pairs: &[(&str, &str)]) -> Value {
    own("fabric/rail0,fabric/rail1", pairs)
}

#[tokio::test]
async fn pools() {
    let cases: Vec<Case> = vec![
        ("a pool for each rail", "t", rails(&[])),
        (
            "two networks on one pool",
            "t",
            own("fabric/shared0,fabric/shared1", &[]),
        ),
        (
            "one network twice",
            "t",
            own("fabric/shared0,fabric/shared0", &[]),
        ),
        (
            "two networks on several pools: up to the extender",
            "t",
            own("fabric/several0,fabric/several1", &[]),
        ),
        (
            "one pool for all rails",
            "t",
            rails(&[(POOL, r#"{"ipv4":["common"]}"#)]),
        ),
        (
            "one pool for all that does not exist, either",
            "t",
            rails(&[(POOL, r#"{"ipv4":["comon"]}"#)]),
        ),
        (
            "pools for all, outranked by pools for each",
            "t",
            rails(&[
                (POOL, r#"{"ipv4":["common"]}"#),
                (
                    POOLS,
                    r#"[{"interface":"net1","ipv4":["rail0-pool"]},{"interface":"net2","ipv4":["rail1-pool"]}]"#,
                ),
            ]),
        ),
        (
            "the namespace's default takes the rails' place",
            "hijacked",
            rails(&[]),
        ),
        ("so do several pools of it", "hijacked-too", rails(&[])),
        ("a single rail may have it", "hijacked", own("fabric/rail0", &[])),
        (
            "pools tied to networks sort themselves out",
            "sorted-out",
            rails(&[]),
        ),
        ("a default that does not exist", "slip", rails(&[])),
        ("a default that cannot be read", "malformed", rails(&[])),
        (
            "no pool named anywhere",
            "t",
            own("fabric/nameless,fabric/wild", &[]),
        ),
        (
            "a pool of a network does not exist",
            "t",
            own("fabric/half0", &[]),
        ),
    ];
    insta::assert_snapshot!(shown_in(&cluster(), cases, "/spec").await);
}

#[tokio::test]
async fn pools_for_each_interface() {
    let listed = |list: &str| rails(&[(POOLS, list)]);
    let cases: Vec<Case> = vec![
        (
            "an interface is missing, another is none of the pod's",
            "t",
            listed(r#"[{"interface":"net1","ipv4":["common"]},{"interface":"net7","ipv4":["common"]}]"#),
        ),
        (
            "eth0 may be Spiderpool's, too",
            "t",
            listed(
                r#"[{"interface":"eth0","ipv4":["common"]},{"interface":"net1","ipv4":["rail0-pool"]},{"interface":"net2","ipv4":["rail1-pool"]}]"#,
            ),
        ),
        (
            "by position, eth0 first",
            "t",
            listed(r#"[{"ipv4":["common"]},{"ipv4":["rail0-pool"]},{"ipv4":["rail1-pool"]}]"#),
        ),
        (
            "by position, eth0 forgotten",
            "t",
            listed(r#"[{"ipv4":["rail0-pool"]},{"ipv4":["rail1-pool"]}]"#),
        ),
        (
            "by position, one too many",
            "t",
            listed(
                r#"[{"ipv4":["common"]},{"ipv4":["rail0-pool"]},{"ipv4":["rail1-pool"]},{"ipv4":["common"]}]"#,
            ),
        ),
        (
            "an interface that takes no address from Spiderpool beside those that do",
            "t",
            own(
                "fabric/rail0,fabric/pkey-unread",
                &[(
                    POOLS,
                    r#"[{"interface":"net1","ipv4":["rail0-pool"]},{"interface":"net2","ipv4":["common"]}]"#,
                )],
            ),
        ),
        (
            "half by name",
            "t",
            listed(r#"[{"interface":"net1","ipv4":["common"]},{"ipv4":["rail1-pool"]}]"#),
        ),
        (
            "one twice, and one pool for both",
            "t",
            listed(
                r#"[{"interface":"net1","ipv4":["common"]},{"interface":"net2","ipv4":["common"]},{"interface":"net2","ipv4":["rail1-pool"]}]"#,
            ),
        ),
        (
            "pools that do not exist, of the wrong family, for others",
            "t",
            own(
                "fabric/rail0,fabric/rail1,fabric/rail2,fabric/rail3,fabric/rail4",
                &[(
                    POOLS,
                    r#"[{"interface":"net1","ipv4":["comon","rail0-pol"]},{"interface":"net2","ipv4":["six"]},{"interface":"net3","ipv4":["tied"]},{"interface":"net4","ipv4":["elsewhere"]},{"interface":"net5","ipv4":["common","common"]}]"#,
                )],
            ),
        ),
        ("no JSON", "t", listed("net1=common")),
    ];
    insta::assert_snapshot!(shown_in(&cluster(), cases, "/spec").await);
}

#[tokio::test]
async fn links_and_partition_keys() {
    let cases: Vec<Case> = vec![
        (
            "links that are off, each network once",
            "t",
            own("fabric/down,fabric/odd,fabric/down", &[]),
        ),
        (
            "keys that ib-kubernetes refuses",
            "t",
            own("fabric/pkey-number,fabric/pkey-full,fabric/pkey-letter", &[]),
        ),
        (
            "keys that it takes, or never sees",
            "t",
            own("fabric/pkey-right,fabric/pkey-unread", &[]),
        ),
    ];
    insta::assert_snapshot!(shown_in(&cluster(), cases, "/spec").await);
}

#[tokio::test]
async fn warnings_of_the_day() {
    let claims = json!([{ "name": "nics", "resourceClaimName": "nics" }]);
    let cluster = cluster();
    cluster.with(json!({
        "apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkNodeState",
        "metadata": { "name": "n1", "namespace": "o" }, "status": { "syncStatus": "Succeeded" },
    }));
    let labelled = [(POOLS, r#"[{"interface":"net1","ipv4":["labelled"]}]"#)];
    let cases: Vec<Case> = vec![
        (
            "pools are full",
            "t",
            own(
                "fabric/exhausted,fabric/exhausted",
                &[(
                    POOLS,
                    r#"[{"interface":"net1","ipv4":["full"]},{"interface":"net2","ipv4":["common"]}]"#,
                )],
            ),
        ),
        ("a pool is disabled", "t", own("fabric/closed", &[])),
        (
            "a pool for pods with labels that may come yet",
            "t",
            own("fabric/nameless", &labelled),
        ),
        ("the mode of no node is known", "t", own("fabric/rail0", &[])),
        (
            "a resource claim beside the VFs",
            "t",
            with(own("fabric/rail0", &[]), "/spec/resourceClaims", claims),
        ),
    ];
    insta::assert_snapshot!(shown_in(&cluster, cases, "/").await);
}

#[tokio::test]
async fn where_no_pool_is_known_none_is_missed() {
    let cluster = Cluster::new();
    cluster.with(ib_network("rail0", "eight-rails"));
    assert_eq!(cluster.admit("t", &rails(&[])).await["allowed"], true);
}

#[tokio::test]
async fn a_pool_that_comes_with_the_pod_is_waited_for() {
    use std::time::Duration;
    let cluster = Cluster::empty(Duration::from_mins(1));
    cluster.with(namespace("t", &[], &[]));
    cluster.with(ib_network("rail0", "eight-rails"));
    cluster.with(pool("other", &json!({})));
    let pod = own("fabric/rail0", &[]);
    let late = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        cluster.with(pool("rail0-pool", &json!({})));
    };
    let (response, ()) = tokio::join!(cluster.admit("t", &pod), late);
    assert_eq!(response["allowed"], true, "{response}");
}
