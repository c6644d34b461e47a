//! Another extender of the scheduler binds: nothing is checked again after `filter`, so holds cover the gap.

use serde_json::{Value, json};

use crate::calls::Rig;

/// Two nodes, each with a pool of one address of its own.
fn rig() -> Rig {
    let rig = Rig::new(8, 0).without_bind().node("n1").node("n2");
    for (pool, node, address) in [("p-n1", "n1", "10.0.1.1"), ("p-n2", "n2", "10.0.2.1")] {
        rig.remember(&pool_of(pool, node, address, None));
    }
    rig.remember(
        &json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "rail0", "namespace": "default",
            "annotations": {"k8s.v1.cni.cncf.io/resourceName": "x.io/vf"}},
        "spec": {"config": r#"{"type":"ib-sriov","ipam":{"type":"spiderpool","default_ipv4_ippool":["p-*"]}}"#}}),
    );
    rig
}

fn pool_of(name: &str, node: &str, address: &str, holder: Option<&str>) -> Value {
    let allocated = holder.map(|pod| {
        json!({address: {"pod": format!("default/{pod}"), "podUid": format!("uid-{pod}")}}).to_string()
    });
    json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderIPPool", "metadata": {"name": name},
        "spec": {"subnet": "10.0.0.0/16", "ips": [address], "nodeName": [node]},
        "status": {"allocatedIPs": allocated}})
}

#[tokio::test]
async fn what_a_pod_may_take_on_either_node_is_held_until_it_is_seen_bound() {
    let rig = rig();
    let both = &["n1", "n2"];
    let first = rig.filter(&Rig::pod("a"), both).await;
    assert_eq!(first["NodeNames"], json!(both));
    let second = rig.filter(&Rig::pod("b"), both).await;
    assert_eq!(
        second["NodeNames"],
        json!([]),
        "nobody will ask again before a takes one of them"
    );
    rig.remember(&Rig::bound_pod("a", "n1"));
    let again = rig.filter(&Rig::pod("b"), both).await;
    assert_eq!(again["NodeNames"], json!(["n2"]), "a has chosen");
    rig.remember(&Rig::bound_pod("b", "n2"));
    assert_eq!(rig.filter(&Rig::pod("c"), both).await["NodeNames"], json!([]));
    assert!(rig.bound().is_empty(), "another one wrote the Bindings");
}

#[tokio::test]
async fn a_gangs_places_are_given_up_as_its_pods_are_seen_bound() {
    let rig = Rig::new(1, 10).without_bind();
    for node in ["n1", "n2"] {
        rig.remember(&json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": node, "labels": {"pointsman.io/leaf-group": "a"}},
            "status": {"allocatable": {"x.io/vf": "1", "cpu": "64"}}}));
    }
    let both = &["n1", "n2"];
    let gang = |name: &str, node: Option<&str>| {
        let mut pod = node.map_or_else(|| Rig::pod(name), |node| Rig::bound_pod(name, node));
        pod["metadata"]["labels"] = json!({"pointsman.io/gang": "g"});
        pod["metadata"]["annotations"]["pointsman.io/gang-size"] = json!("2");
        pod["metadata"]["annotations"]["pointsman.io/locality"] = json!("required=leaf-group");
        pod
    };
    assert_eq!(
        rig.filter(&gang("g-0", None), both).await["NodeNames"],
        json!(both)
    );
    assert_eq!(
        rig.filter(&Rig::pod("x"), both).await["NodeNames"],
        json!([]),
        "both places are the gang's"
    );
    rig.remember(&gang("g-0", Some("n1")));
    rig.remember(&gang("g-1", Some("n2")));
    rig.remember(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n2", "labels": {"pointsman.io/leaf-group": "a"}},
        "status": {"allocatable": {"x.io/vf": "2", "cpu": "64"}}}));
    assert_eq!(
        rig.filter(&Rig::pod("x"), both).await["NodeNames"],
        json!(["n2"]),
        "the gang is complete, and holds nothing more"
    );
}
