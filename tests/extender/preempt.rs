//! `preempt`: a veto on the scheduler's choice of nodes, in both forms in which it names victims.

use serde_json::{Value, json};

use crate::calls::Rig;

const RECORDED_FILTER: &str = include_str!("../fixtures/recorded/filter.json");
const RECORDED_PREEMPT: &str = include_str!("../fixtures/recorded/preempt.json");

/// Two nodes of one VF each, taken by `low-1` and `low-2`.
fn full() -> Rig {
    let rig = Rig::new(1, 10).node("n1").node("n2");
    for (name, node) in [("low-1", "n1"), ("low-2", "n2")] {
        rig.remember(&Rig::bound_pod(name, node));
    }
    rig
}

fn by_uid(candidates: &[(&str, &[&str])]) -> Value {
    let victims = |names: &[&str]| {
        let pods: Vec<Value> = names
            .iter()
            .map(|name| json!({"UID": format!("uid-{name}")}))
            .collect();
        json!({"Pods": pods, "NumPDBViolations": 1})
    };
    let map: serde_json::Map<String, Value> = candidates
        .iter()
        .map(|(node, names)| ((*node).to_owned(), victims(names)))
        .collect();
    json!({"Pod": Rig::pod("high"), "NodeNameToVictims": null, "NodeNameToMetaVictims": map})
}

async fn preempt(rig: &Rig, request: &Value) -> Value {
    rig.call("/preempt", request).await.ok()
}

#[tokio::test]
async fn a_node_that_would_fit_stays_with_the_victims_as_they_came() {
    let answer = preempt(&full(), &by_uid(&[("n1", &["low-1"]), ("n2", &["low-2"])])).await;
    assert_eq!(
        answer,
        json!({"NodeNameToMetaVictims": {
            "n1": {"Pods": [{"UID": "uid-low-1"}], "NumPDBViolations": 1},
            "n2": {"Pods": [{"UID": "uid-low-2"}], "NumPDBViolations": 1},
        }})
    );
}

#[tokio::test]
async fn whole_pods_are_answered_by_uid() {
    let request = json!({"Pod": Rig::pod("high"), "NodeNameToMetaVictims": null, "NodeNameToVictims": {
        "n1": {"Pods": [Rig::bound_pod("low-1", "n1")], "NumPDBViolations": 0}}});
    let answer = preempt(&full(), &request).await;
    assert_eq!(
        answer["NodeNameToMetaVictims"]["n1"]["Pods"],
        json!([{"UID": "uid-low-1"}])
    );
}

#[tokio::test]
async fn a_node_that_we_would_refuse_all_the_same_is_vetoed() {
    let rig = full();
    rig.remember(&json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n1", "annotations": {"sriovnetwork.openshift.io/state": "Drain_Required"}},
        "status": {"allocatable": {"x.io/vf": "1"}}}));
    let answer = preempt(&rig, &by_uid(&[("n1", &["low-1"]), ("n2", &["low-2"])])).await;
    let left = answer["NodeNameToMetaVictims"].as_object().unwrap();
    assert_eq!(left.keys().collect::<Vec<_>>(), ["n2"]);
}

/// The scheduler up to 1.37 takes a node that is named without victims as an error; later ones ask us to choose.
#[tokio::test]
async fn candidates_without_victims_are_left_out_and_never_an_error() {
    let mut request = by_uid(&[("n2", &["low-2"])]);
    request["NodeNameToMetaVictims"]["n1"] = json!({"Pods": null, "NumPDBViolations": 0});
    let answer = preempt(&full(), &request).await;
    let left = answer["NodeNameToMetaVictims"].as_object().unwrap();
    assert_eq!(left.keys().collect::<Vec<_>>(), ["n2"]);
    let nothing = json!({"Pod": Rig::pod("high"), "NodeNameToVictims": null, "NodeNameToMetaVictims": null});
    assert_eq!(
        preempt(&full(), &nothing).await,
        json!({"NodeNameToMetaVictims": {}})
    );
}

#[tokio::test]
async fn nobody_is_evicted_before_the_cluster_is_known() {
    let answer = preempt(&full().not_ready(), &by_uid(&[("n1", &["low-1"])])).await;
    assert_eq!(answer, json!({"NodeNameToMetaVictims": {}}));
}

#[tokio::test]
async fn asking_changes_nothing() {
    let rig = full();
    for _ in 0..3 {
        preempt(&rig, &by_uid(&[("n1", &["low-1"])])).await;
    }
    rig.remember(&Rig::bound_pod("low-1", "n2"));
    let answer = rig.filter(&Rig::pod("other"), &["n1"]).await;
    assert_eq!(
        answer["NodeNames"],
        json!(["n1"]),
        "nothing is held for the pod that would preempt"
    );
}

/// What the real kube-scheduler sent when a pod of a high priority found all GPUs taken; `make record` makes it anew.
#[tokio::test]
async fn the_real_schedulers_request_is_understood() {
    let rig = Rig::new(8, 10).recorded(RECORDED_FILTER);
    let request: Value = serde_json::from_str(RECORDED_PREEMPT).unwrap();
    assert!(
        request["NodeNameToVictims"].is_null(),
        "nodeCacheCapable: whole pods are not sent"
    );
    let candidates = request["NodeNameToMetaVictims"].as_object().unwrap();
    let filter: Value = serde_json::from_str(RECORDED_FILTER).unwrap();
    for (node, victims) in candidates {
        let mut pod = filter["Pod"].clone();
        pod["metadata"]["uid"] = victims["Pods"][0]["UID"].clone();
        pod["metadata"]["name"] = json!(format!("on-{node}"));
        pod["spec"]["nodeName"] = json!(node);
        rig.remember(&pod);
    }
    let nodes: Vec<&str> = candidates.keys().map(String::as_str).collect();
    assert_eq!(nodes, ["node-a", "node-b"]);
    let answer = rig.call_raw("/preempt", RECORDED_PREEMPT.to_owned()).await.ok();
    assert_eq!(answer["NodeNameToMetaVictims"], request["NodeNameToMetaVictims"]);
    // One of the nodes is about to be reconfigured.
    rig.remember(&json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "node-a", "annotations": {"sriovnetwork.openshift.io/state": "Drain_Required"}},
        "status": {"allocatable": {}}}));
    let answer = rig.call_raw("/preempt", RECORDED_PREEMPT.to_owned()).await.ok();
    let left = answer["NodeNameToMetaVictims"].as_object().unwrap();
    assert_eq!(left.keys().collect::<Vec<_>>(), ["node-b"]);
}
