//! Kubernetes' own PodGroups: the scheduler tries the pods of one in every domain, without saying which of its questions
//! are in earnest, and places them itself.

use serde_json::{Value, json};

use crate::calls::Rig;
use pointsman::decide::reason::Reason;

fn member(name: &str) -> Value {
    let mut pod = Rig::pod(name);
    pod["spec"]["schedulingGroup"] = json!({"podGroupName": "train"});
    pod
}

fn group(count: u32) -> Value {
    json!({"apiVersion": "scheduling.k8s.io/v1beta1", "kind": "PodGroup",
        "metadata": {"name": "train", "namespace": "default"},
        "spec": {"schedulingPolicy": {"gang": {"minCount": count}}}})
}

/// As the algorithm of kube-scheduler's TopologyAwareWorkloadScheduling goes: each pod in each domain.
async fn simulate(rig: &Rig) {
    for domain in [["n1"], ["n2"]] {
        for name in ["a", "b", "c"] {
            rig.filter(&member(name), &domain).await;
            rig.call("/prioritize", &crate::calls::names(&member(name), &domain))
                .await
                .ok();
        }
    }
}

#[tokio::test]
async fn its_simulations_hold_nothing() {
    let rig = Rig::new(8, 4).node("n1").node("n2");
    rig.remember(&group(3));
    for _ in 0..3 {
        simulate(&rig).await;
    }
    for name in ["w", "x", "y", "z"] {
        let answer = rig.filter(&Rig::pod(name), &["n1", "n2"]).await;
        assert_eq!(
            answer["NodeNames"],
            json!(["n1", "n2"]),
            "all four addresses are there for {name}"
        );
    }
}

#[tokio::test]
async fn one_address_is_not_enough_for_each_of_three() {
    let rig = Rig::new(8, 2).node("n1");
    rig.remember(&group(3));
    let answer = rig.filter(&member("a"), &["n1"]).await;
    assert_eq!(
        answer["FailedAndUnresolvableNodes"],
        json!({"n1": Reason::PoolEmpty.text()})
    );
    rig.remember(&group(2));
    assert_eq!(
        rig.filter(&member("a"), &["n1"]).await["NodeNames"],
        json!(["n1"])
    );
}

#[tokio::test]
async fn what_its_bound_pods_have_is_not_asked_for_again() {
    let rig = Rig::new(8, 3).node("n1").node("n2");
    rig.remember(&group(3));
    for name in ["a", "b"] {
        let mut pod = member(name);
        pod["spec"]["nodeName"] = json!("n1");
        rig.remember(&pod);
    }
    let answer = rig.filter(&member("c"), &["n1", "n2"]).await;
    assert_eq!(
        answer["NodeNames"],
        json!(["n1", "n2"]),
        "two addresses are promised, one is left, and locality is the scheduler's"
    );
}

#[tokio::test]
async fn its_pods_are_bound_like_any_others() {
    let rig = Rig::new(8, 3).node("n1");
    rig.remember(&group(3));
    for name in ["a", "b", "c"] {
        rig.remember(&member(name));
        assert_eq!(rig.bind(&member(name), "n1").await["Error"], "");
    }
    let other = Rig::pod("x");
    rig.remember(&other);
    assert_eq!(rig.bind(&other, "n1").await["Error"], Reason::PoolEmpty.text());
}
