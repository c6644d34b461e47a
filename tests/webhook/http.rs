//! The wire: junk, other requests, what an answer looks like, and pods that come before what they name.

use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};

use crate::cluster::{Cluster, ib_network, namespace, operations, patched, pod, review};

const PROFILE: &str = r#"{"pointsman.io/profile":"eight-rails"}"#;

fn train() -> Value {
    pod(&serde_json::from_str(PROFILE).unwrap())
}

#[rstest]
#[case::empty("")]
#[case::junk("hello")]
#[case::another_type("[]")]
#[case::another_kind(r#"{"apiVersion":"v1","kind":"Pod"}"#)]
#[case::no_request(r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#)]
#[case::no_uid(r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":""}}"#)]
#[tokio::test]
async fn junk_is_answered_with_400_and_a_reason(#[case] body: &'static str) {
    let cluster = Cluster::new();
    let (status, answer) = cluster.post(body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let text = answer["error"].as_str().unwrap();
    assert!(text.contains("expected a POST of an AdmissionReview"), "{text}");
    assert!(
        cluster
            .metrics
            .exposition()
            .unwrap()
            .contains("webhook_requests_total{verdict=\"error\"} 1")
    );
}

#[rstest]
#[case::bytes_that_are_no_text(&[0xff, 0xfe, 0x00])]
#[case::deep(&[b'['; 10_000])]
#[tokio::test]
async fn hostile_bodies_are_junk_too(#[case] body: &'static [u8]) {
    assert_eq!(Cluster::new().post(body).await.0, StatusCode::BAD_REQUEST);
}

#[rstest]
#[case(Some("application/json"), StatusCode::OK)]
#[case(Some("application/json; charset=utf-8"), StatusCode::OK)]
#[case(Some("application/yaml"), StatusCode::UNSUPPORTED_MEDIA_TYPE)]
#[case(None, StatusCode::UNSUPPORTED_MEDIA_TYPE)]
#[tokio::test]
async fn only_json_is_read(#[case] content_type: Option<&str>, #[case] expected: StatusCode) {
    let body = review("t", &train()).to_string();
    let (status, _) = Cluster::new()
        .send(Method::POST, "/mutate", content_type, body)
        .await;
    assert_eq!(status, expected);
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let cluster = Cluster::new();
    let json = Some("application/json");
    assert_eq!(
        cluster.send(Method::GET, "/mutate", json, "").await.0,
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(
        cluster.send(Method::POST, "/mutat", json, "{}").await.0,
        StatusCode::NOT_FOUND
    );
}

#[rstest]
#[case::nothing(Value::Null)]
#[case::no_pod(json!({ "apiVersion": "v1", "kind": "Pod" }))]
#[case::wrong_type(json!({ "metadata": { "annotations": { "a": 1 } }, "spec": {} }))]
#[tokio::test]
async fn a_pod_that_cannot_be_read_is_not_allowed(#[case] pod: Value) {
    let response = Cluster::new().admit("t", &pod).await;
    assert_eq!(response["allowed"], false);
    assert_eq!(response["status"]["code"], 400);
    assert!(
        response["status"]["message"]
            .as_str()
            .unwrap()
            .contains("expected"),
        "{response}"
    );
}

#[rstest]
#[case::update("operation", json!("UPDATE"))]
#[case::deletion("operation", json!("DELETE"))]
#[case::subresource("subResource", json!("ephemeralcontainers"))]
#[tokio::test]
async fn what_is_no_creation_of_a_pod_passes_untouched(#[case] field: &str, #[case] value: Value) {
    let mut review = review("t", &train());
    review["request"][field] = value;
    let (_, answer) = Cluster::new().post(review.to_string()).await;
    assert_eq!(answer["response"], json!({ "uid": "1b2c", "allowed": true }));
}

#[tokio::test]
async fn a_pod_that_did_not_ask_gets_the_shortest_answer() {
    let response = Cluster::new().admit("t", &pod(&json!({ "team": "a" }))).await;
    assert_eq!(response, json!({ "uid": "1b2c", "allowed": true }));
}

#[tokio::test]
async fn a_denial_carries_code_reason_and_message() {
    let response = Cluster::new()
        .admit("t", &pod(&json!({ "pointsman.io/profile": "six-rails" })))
        .await;
    insta::assert_json_snapshot!(response, @r#"
    {
      "allowed": false,
      "status": {
        "code": 403,
        "message": "annotation pointsman.io/profile: found \"six-rails\", expected one of the profiles broken, eight-rails, half, incomplete, other; name one of them, or annotate the networks that belong to it (NetworkAttachmentDefinition or SpiderMultusConfig) with pointsman.io/profile: six-rails",
        "reason": "Forbidden"
      },
      "uid": "1b2c"
    }
    "#);
}

#[tokio::test]
async fn every_decision_is_counted() {
    let cluster = Cluster::new();
    cluster.admit("t", &train()).await;
    cluster.admit("t", &pod(&json!({}))).await;
    cluster
        .admit("t", &pod(&json!({ "pointsman.io/profile": "six-rails" })))
        .await;
    let text = cluster.metrics.exposition().unwrap();
    for verdict in ["mutated", "unchanged", "denied"] {
        let line = format!("webhook_requests_total{{verdict=\"{verdict}\"}} 1");
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn fields_newer_than_any_kubernetes_survive_byte_for_byte() {
    let cluster = Cluster::new();
    // Numbers and escapes are written as no encoder would write them again.
    let new_fields = r#""quantumEntanglement" : {"spins":[1.50,2E3, -0.0],"text":"\u00fc\/"}"#;
    let pod = format!(
        r#"{{"metadata":{{"annotations":{PROFILE},{new_fields}}},"spec":{{{new_fields},
            "containers":[{{"name":"trainer",{new_fields},"resources":{{"limits":{{"cpu":"1"}},{new_fields}}}}}]}}}}"#
    );
    let body = review("t", &json!("OBJECT"))
        .to_string()
        .replace("\"OBJECT\"", &pod);
    let (_, answer) = cluster.post(body).await;
    // A patch that touches only what it must leaves all else to the API server, which has the bytes.
    let before: Value = serde_json::from_str(&pod).unwrap();
    let after = patched(&before, &answer["response"]);
    for pointer in [
        "/metadata",
        "/spec",
        "/spec/containers/0",
        "/spec/containers/0/resources",
    ] {
        let at = format!("{pointer}/quantumEntanglement");
        assert_eq!(before.pointer(&at), after.pointer(&at), "{at}");
    }
    let paths: Vec<String> = operations(&answer["response"])
        .iter()
        .map(|operation| operation.path().to_string())
        .collect();
    assert!(paths.iter().all(|path| !path.contains("quantum")), "{paths:?}");
    assert!(
        !operations(&answer["response"])
            .iter()
            .any(|operation| operation.path().is_root())
    );
}

/// What a real API server sent: a logger first, then a trainer with GPUs, and an init container.
const RECORDED: &str = include_str!("../fixtures/recorded/admission-review.json");

#[tokio::test]
async fn a_recorded_review_is_answered_for_the_container_that_does_the_work() {
    let cluster = Cluster::new();
    cluster.with(namespace("training", &[], &[]));
    for rail in ["a", "b"] {
        cluster.with(ib_network(rail, "two-rails"));
    }
    let (status, answer) = cluster.post(RECORDED).await;
    assert_eq!(status, StatusCode::OK);
    let review: Value = serde_json::from_str(RECORDED).unwrap();
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    let paths: Vec<String> = operations(&answer["response"])
        .iter()
        .map(|operation| operation.path().to_string())
        .collect();
    insta::assert_snapshot!(paths.join("\n"), @r"
    /metadata/annotations/k8s.v1.cni.cncf.io~1networks
    /metadata/annotations/pointsman.io~1injected
    /spec/containers/1/resources/requests/spidernet.io~1ib_a
    /spec/containers/1/resources/requests/spidernet.io~1ib_b
    /spec/containers/1/resources/limits/spidernet.io~1ib_a
    /spec/containers/1/resources/limits/spidernet.io~1ib_b
    /spec/containers/1/securityContext
    /spec/schedulerName
    ");

    let mut again = review.clone();
    again["request"]["object"] = patched(&review["request"]["object"], &answer["response"]);
    let (_, answer) = cluster.post(again.to_string()).await;
    assert!(operations(&answer["response"]).is_empty(), "{answer}");
}

#[tokio::test]
async fn dry_run_gets_the_same_answer() {
    let cluster = Cluster::new();
    let mut dry = review("t", &train());
    dry["request"]["dryRun"] = json!(true);
    let (_, answer) = cluster.post(dry.to_string()).await;
    assert_eq!(answer["response"], cluster.admit("t", &train()).await);
}

#[tokio::test]
async fn a_pod_that_comes_before_its_networks_waits_for_them() {
    let cluster = Cluster::empty(Duration::from_secs(10));
    let index = std::sync::Arc::clone(&cluster.index);
    let applied = tokio::spawn(async move {
        let mut objects = vec![namespace("t", &[], &[])];
        objects.extend((0..8).map(|rail| ib_network(&format!("rail{rail}"), "eight-rails")));
        for object in objects {
            tokio::time::sleep(Duration::from_millis(2)).await;
            index.apply(object).unwrap();
        }
    });
    let asked = pod(&json!({ "pointsman.io/profile": "eight-rails", "pointsman.io/rails": "8" }));
    let started = Instant::now();
    let response = cluster.admit("t", &asked).await;
    applied.await.unwrap();
    assert_eq!(response["allowed"], true, "{response}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn patience_ends() {
    let cluster = Cluster::empty(Duration::from_millis(50));
    let response = cluster.admit("t", &train()).await;
    assert_eq!(response["allowed"], false);
}

#[tokio::test]
async fn what_no_news_can_mend_is_told_at_once() {
    let cluster = Cluster::empty(Duration::from_mins(1));
    cluster.with(namespace("t", &[], &[]));
    let mut pod = train();
    pod["spec"]["hostNetwork"] = json!(true);
    let started = Instant::now();
    assert_eq!(cluster.admit("t", &pod).await["allowed"], false);
    assert!(started.elapsed() < Duration::from_secs(30));
}
