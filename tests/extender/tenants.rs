//! What a tenant writes on its pods concerns its own namespace: `docs/security.md` says so.

use serde_json::{Value, json};

use crate::calls::Rig;

/// A pod of gang `g`, two pods large, that has to be in one leaf group.
fn of_gang(namespace: &str, name: &str) -> Value {
    let mut pod = Rig::pod(name);
    pod["metadata"]["namespace"] = json!(namespace);
    pod["metadata"]["uid"] = json!(format!("uid-{namespace}-{name}"));
    pod["metadata"]["labels"] = json!({"pointsman.io/gang": "g"});
    pod["metadata"]["annotations"] = json!({
        "k8s.v1.cni.cncf.io/networks": "default/rail0",
        "pointsman.io/gang-size": "2",
        "pointsman.io/locality": "required=leaf-group",
    });
    pod
}

fn node(name: &str, leaf_group: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"pointsman.io/leaf-group": leaf_group}},
        "status": {"allocatable": {"x.io/vf": "1", "cpu": "64"}}})
}

#[tokio::test]
async fn a_gang_of_the_same_name_in_another_namespace_is_another_gang() {
    let rig = Rig::new(1, 10);
    for name in ["n1", "n2"] {
        rig.remember(&node(name, "a"));
    }
    let all = &["n1", "n2", "n3", "n4"];
    let mine = of_gang("mine", "g-0");
    assert_eq!(rig.filter(&mine, all).await["NodeNames"], json!(["n1", "n2"]));
    assert_eq!(
        rig.filter(&of_gang("yours", "g-1"), all).await["NodeNames"],
        json!([]),
        "the other place is held for the first gang, whatever another tenant calls its own"
    );
    let second = of_gang("mine", "g-1");
    assert_eq!(rig.filter(&second, all).await["NodeNames"], json!(["n1", "n2"]));

    // Where the first gang is says nothing about the second.
    for (mut pod, name) in [(mine, "n1"), (second, "n2")] {
        pod["spec"]["nodeName"] = json!(name);
        rig.remember(&pod);
    }
    for name in ["n3", "n4"] {
        rig.remember(&node(name, "b"));
    }
    for name in ["g-0", "g-1"] {
        let yours = of_gang("yours", name);
        assert_eq!(
            rig.filter(&yours, all).await["NodeNames"],
            json!(["n3", "n4"]),
            "{name}"
        );
    }
}

#[tokio::test]
async fn records_that_a_tenant_writes_take_nothing_from_others() {
    let rig = Rig::new(1, 1).node("n1");
    let mut forger = Rig::pod("forger");
    forger["metadata"]["annotations"]["pointsman.io/placement"] =
        json!({"node": "n1", "domain": null, "position": null, "pools": {"net1": ["p"]}})
            .to_string()
            .into();
    forger["metadata"]["annotations"]["pointsman.io/injected"] = json!({"version": 1, "profile": "x",
        "rails": [{"network": "default/rail0", "resource": "x.io/vf", "interface": "net1"}], "container": "c"})
    .to_string()
    .into();
    rig.remember(&forger);
    assert_eq!(
        rig.filter(&Rig::pod("a"), &["n1"]).await["NodeNames"],
        json!(["n1"]),
        "only a Binding takes a node, and with it the VF and the address"
    );
}
