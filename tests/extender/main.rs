//! The extender's routes, called as kube-scheduler calls them, on an index filled by hand. Nothing here needs a
//! socket or a cluster; that the real scheduler agrees is tested on the real control plane.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "what tests call says what it expects in the shortest way"
)]

mod allocations;
mod calls;
#[path = "../../benches/serve/objects.rs"]
mod objects;
mod pod_groups;
mod preempt;
mod purity;
mod sampling;
mod tenants;
mod without_bind;
#[allow(
    dead_code,
    reason = "it is made for the benchmark of serve, and this uses a part of it"
)]
#[path = "../../benches/serve/world.rs"]
mod world;

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use calls::{Answer, Rig, names};
use pointsman::decide::reason::Reason;
use pointsman::extender::bind::BindError;
use serde_json::json;

#[tokio::test]
async fn a_pod_is_filtered_scored_and_bound_with_its_record() {
    let rig = Rig::new(8, 10).node("n1").node("n2");
    let pod = Rig::pod("a");
    let answer = rig.filter(&pod, &["n1", "n2"]).await;
    assert_eq!(answer["NodeNames"], json!(["n1", "n2"]));
    assert_eq!(answer["Error"], "");
    let scores = rig.call("/prioritize", &names(&pod, &["n1", "n2"])).await.ok();
    assert_eq!(
        scores,
        json!([{"Host": "n1", "Score": 2}, {"Host": "n2", "Score": 2}]),
        "an eighth of the VFs in use, and more pods would find room beside it"
    );
    assert_eq!(rig.bind(&pod, "n2").await["Error"], "");
    let [binding] = rig.bound().try_into().unwrap();
    assert_eq!((binding.pod.uid.as_str(), binding.node.as_str()), ("uid-a", "n2"));
    let record: serde_json::Value =
        serde_json::from_str(&binding.annotations["pointsman.io/placement"]).unwrap();
    assert_eq!(
        record,
        json!({"node": "n2", "domain": null, "position": null, "pools": {"net1": ["p"]}})
    );
}

#[tokio::test]
async fn a_refusal_is_a_constant_text_for_each_node() {
    let rig = Rig::new(8, 0).node("n1");
    let answer = rig.filter(&Rig::pod("a"), &["n1", "gone"]).await;
    assert_eq!(answer["NodeNames"], json!([]));
    assert_eq!(
        answer["FailedAndUnresolvableNodes"],
        json!({"n1": Reason::PoolEmpty.text(), "gone": Reason::NodeUnknown.text()})
    );
    assert!(
        answer.get("FailedNodes").is_none(),
        "evicting pods cannot help, so nothing goes in there"
    );
}

#[tokio::test]
async fn node_objects_instead_of_names_are_refused_with_what_to_configure() {
    let rig = Rig::new(8, 10).node("n1");
    let request =
        json!({"Pod": Rig::pod("a"), "Nodes": {"items": [{"metadata": {"name": "n1"}}]}, "NodeNames": null});
    let answer = rig.call("/filter", &request).await.ok();
    assert!(
        answer["Error"]
            .as_str()
            .unwrap()
            .contains("nodeCacheCapable: true"),
        "{answer}"
    );
}

#[tokio::test]
async fn until_every_watch_has_listed_the_answer_is_an_error() {
    let rig = Rig::new(8, 10).node("n1").not_ready();
    let pod = Rig::pod("a");
    assert!(
        rig.filter(&pod, &["n1"]).await["Error"]
            .as_str()
            .unwrap()
            .contains("/readyz")
    );
    assert!(
        rig.bind(&pod, "n1").await["Error"]
            .as_str()
            .unwrap()
            .contains("/readyz")
    );
    assert!(rig.bound().is_empty());
}

#[tokio::test]
async fn junk_is_answered_with_400_and_the_place() {
    let rig = Rig::new(8, 10).node("n1");
    for (path, body, place) in [
        ("/filter", "{", "EOF"),
        (
            "/filter",
            r#"{"Pod": {"spec": {"nodeName": 5}}, "NodeNames": []}"#,
            "Pod.spec.nodeName",
        ),
        ("/prioritize", r#"{"NodeNames": []}"#, "Pod"),
        ("/bind", r#"{"PodName": "a"}"#, "PodNamespace"),
        ("/filter", r#"{"Pod": {}, "NodeNames": []} more"#, "does not end"),
    ] {
        let Answer { status, body, .. } = rig.call_raw(path, body.to_owned()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        let text = body["error"].as_str().unwrap();
        assert!(text.contains(place), "{path}: {text}");
    }
}

#[tokio::test]
async fn answers_have_a_length_and_no_trailing_newline() {
    let rig = Rig::new(8, 10).node("n1");
    let answer = rig.call("/filter", &names(&Rig::pod("a"), &["n1"])).await;
    assert_eq!(answer.length, Some(answer.raw.len().to_string()));
    assert!(answer.raw.ends_with(b"}"));
}

#[tokio::test]
async fn filtering_any_number_of_times_changes_no_answer_for_the_pod_itself() {
    let rig = Rig::new(8, 1).node("n1");
    let pod = Rig::pod("a");
    for _ in 0..5 {
        assert_eq!(rig.filter(&pod, &["n1"]).await["NodeNames"], json!(["n1"]));
    }
    assert_eq!(
        rig.filter(&Rig::pod("b"), &["n1"]).await["NodeNames"],
        json!([]),
        "the only address is held for a"
    );
}

#[tokio::test]
async fn the_last_vf_is_promised_once() {
    let rig = Rig::new(1, 10).node("n1");
    let (first, second) = (Rig::pod("a"), Rig::pod("b"));
    rig.remember(&second);
    // kube-scheduler itself counts assumed pods; two schedulers, or a stale cache, may still ask for both.
    for pod in [&first, &second] {
        assert_eq!(
            rig.filter(pod, &["n1"]).await["NodeNames"]
                .as_array()
                .map(Vec::len),
            Some(usize::from(pod == &first))
        );
    }
    assert_eq!(rig.bind(&first, "n1").await["Error"], "");
    assert_eq!(rig.bind(&second, "n1").await["Error"], Reason::TooFewVfs.text());
}

#[tokio::test]
async fn a_burst_of_binds_on_a_pool_of_ten_writes_ten() {
    let rig = Arc::new(Rig::new(100, 10).node("n1"));
    let calls: Vec<_> = (0..40)
        .map(|number| {
            let rig = Arc::clone(&rig);
            tokio::spawn(async move {
                let pod = Rig::pod(&format!("p{number}"));
                rig.remember(&pod);
                rig.bind(&pod, "n1").await["Error"].as_str().unwrap().to_owned()
            })
        })
        .collect();
    let mut refused = 0;
    for call in calls {
        let error = call.await.unwrap();
        if !error.is_empty() {
            assert_eq!(error, Reason::PoolEmpty.text());
            refused += 1;
        }
    }
    assert_eq!((rig.bound().len(), refused), (10, 30));
}

#[tokio::test]
async fn a_refused_binding_gives_its_promise_back_and_an_unclear_one_keeps_it() {
    let rig = Rig::new(8, 1).node("n1");
    let (first, second, third) = (Rig::pod("a"), Rig::pod("b"), Rig::pod("c"));
    for pod in [&first, &second, &third] {
        rig.remember(pod);
    }
    rig.fail_next(BindError::Refused("conflict".to_owned()));
    assert!(
        rig.bind(&first, "n1").await["Error"]
            .as_str()
            .unwrap()
            .contains("refused the binding: conflict")
    );
    rig.fail_next(BindError::Unclear("connection lost".to_owned()));
    assert!(
        rig.bind(&second, "n1").await["Error"]
            .as_str()
            .unwrap()
            .contains("connection lost")
    );
    assert_eq!(
        rig.bind(&third, "n1").await["Error"],
        Reason::PoolEmpty.text(),
        "the second may be bound"
    );
    assert_eq!(
        rig.bind(&second, "n1").await["Error"],
        "",
        "and is bound when asked for again"
    );
}

#[tokio::test]
async fn a_pod_that_nobody_knows_is_not_bound() {
    let rig = Rig::new(8, 10).node("n1");
    let answer = rig.bind(&Rig::pod("a"), "n1").await;
    assert!(
        answer["Error"].as_str().unwrap().contains("not known"),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_unclear_binding_that_was_not_written_gives_its_promise_back_once_the_api_server_says_so() {
    let rig = Rig::new(8, 1).node("n1");
    let (first, second) = (Rig::pod("a"), Rig::pod("b"));
    for pod in [&first, &second] {
        rig.remember(pod);
    }
    rig.fail_next(BindError::Unclear("connection lost".to_owned()));
    assert_ne!(rig.bind(&first, "n1").await["Error"], "");
    assert_eq!(rig.bind(&second, "n1").await["Error"], Reason::PoolEmpty.text());
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(rig.bind(&second, "n1").await["Error"], "");

    // Tried again meanwhile and written: that promise is another one, and stays.
    let rig = Rig::new(8, 1).node("n1");
    for pod in [&first, &second] {
        rig.remember(pod);
    }
    rig.fail_next(BindError::Unclear("connection lost".to_owned()));
    assert_ne!(rig.bind(&first, "n1").await["Error"], "");
    assert_eq!(rig.bind(&first, "n1").await["Error"], "");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(rig.bind(&second, "n1").await["Error"], Reason::PoolEmpty.text());
}

const RECORDED_FILTER: &str = include_str!("../fixtures/recorded/filter.json");
const RECORDED_PRIORITIZE: &str = include_str!("../fixtures/recorded/prioritize.json");
const RECORDED_BIND: &str = include_str!("../fixtures/recorded/bind.json");

/// What the real kube-scheduler sent, byte for byte; `make record` makes these anew.
#[tokio::test]
async fn the_real_schedulers_requests_are_understood() {
    let rig = Rig::new(8, 10).recorded(RECORDED_FILTER);
    let filter: serde_json::Value = serde_json::from_str(RECORDED_FILTER).unwrap();
    assert!(
        filter["Nodes"].is_null(),
        "the unused half comes as an explicit null"
    );
    let answer = rig.call_raw("/filter", RECORDED_FILTER.to_owned()).await.ok();
    assert_eq!(answer["NodeNames"], filter["NodeNames"], "{answer}");
    let scores = rig
        .call_raw("/prioritize", RECORDED_PRIORITIZE.to_owned())
        .await
        .ok();
    assert_eq!(
        scores.as_array().map(Vec::len),
        filter["NodeNames"].as_array().map(Vec::len),
        "{scores}"
    );
    let answer = rig.call_raw("/bind", RECORDED_BIND.to_owned()).await.ok();
    assert_eq!(answer["Error"], "", "{answer}");
    let [binding] = rig.bound().try_into().unwrap();
    let bind: serde_json::Value = serde_json::from_str(RECORDED_BIND).unwrap();
    assert_eq!(bind["PodUID"], binding.pod.uid.as_str());
    assert_eq!(filter["Pod"]["metadata"]["uid"], binding.pod.uid.as_str());
}
