//! Objects that carry policy for pods to come: refused when they are written, unless what is wrong was wrong before.

use core::fmt::Write as _;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cluster::{Cluster, ib_network, namespace, network};

fn review(object: &Value, old: &Value) -> Value {
    let (group, version) = object["apiVersion"]
        .as_str()
        .unwrap()
        .rsplit_once('/')
        .unwrap_or(("", "v1"));
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "1b2c", "kind": { "group": group, "version": version, "kind": object["kind"] },
            "operation": if old.is_null() { "CREATE" } else { "UPDATE" },
            "name": object["metadata"]["name"], "namespace": object["metadata"]["namespace"],
            "object": object, "oldObject": old,
        },
    })
}

async fn validated(cluster: &Cluster, object: &Value, old: &Value) -> Value {
    let review = review(object, old).to_string();
    let (status, answer) = cluster
        .send(Method::POST, "/validate", Some("application/json"), review)
        .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["response"]["patch"], Value::Null);
    answer["response"].clone()
}

fn annotated(mut object: Value, annotations: &[(&str, &str)]) -> Value {
    for (key, value) in annotations {
        object["metadata"]["annotations"][*key] = json!(value);
    }
    object
}

fn multus_config(annotations: &[(&str, &str)]) -> Value {
    let config = json!({
        "apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderMultusConfig",
        "metadata": { "name": "rail9", "namespace": "fabric" },
        "spec": { "cniType": "ib-sriov", "ibsriov": { "resourceName": "spidernet.io/ib_rail9" } },
    });
    annotated(config, annotations)
}

#[tokio::test]
async fn verdicts() {
    let cluster = Cluster::new();
    let labelled =
        |annotations: &[(&str, &str)]| namespace("n", &[("pointsman.io/inject", "enabled")], annotations);
    let of_profile = ("pointsman.io/profile", "eight-rails");
    let cases: Vec<(&str, Value)> = vec![
        (
            "a namespace with every key",
            labelled(&[
                of_profile,
                ("pointsman.io/inject", "true"),
                ("pointsman.io/rails", "4"),
                ("pointsman.io/container", "a"),
                ("pointsman.io/locality", "required=spine"),
                ("pointsman.io/gang", "g"),
                ("pointsman.io/gang-size", "8"),
            ]),
        ),
        (
            "every key of a namespace wrong",
            labelled(&[
                ("pointsman.io/profile", ""),
                ("pointsman.io/inject", "yes"),
                ("pointsman.io/rails", "some"),
                ("pointsman.io/container", "a b"),
                ("pointsman.io/locality", "near"),
                ("pointsman.io/gang", "-"),
                ("pointsman.io/gang-size", "0"),
                ("pointsman.io/profil", "x"),
            ]),
        ),
        (
            "switched off, and still to be read",
            labelled(&[("pointsman.io/inject", "false"), ("pointsman.io/rails", "x")]),
        ),
        (
            "a record of ours on a namespace",
            labelled(&[("pointsman.io/placement", "{}")]),
        ),
        (
            "a namespace that only Spiderpool's key speaks of",
            labelled(&[("cni.spidernet.io/rdma-resource-inject", "")]),
        ),
        (
            "a namespace without the label, of a profile that is not there",
            namespace("n", &[], &[("pointsman.io/profile", "ten")]),
        ),
        (
            "a namespace of no interest",
            namespace("n", &[], &[("team", "a")]),
        ),
        ("a network", ib_network("rail8", "eight-rails")),
        (
            "keys of a network that cannot be read",
            annotated(
                ib_network("rail8", " ,"),
                &[("pointsman.io/rail", "-1"), ("pointsman.io/rails", "2")],
            ),
        ),
        (
            "a profile that no pod can name",
            ib_network("rail8", "eight rails"),
        ),
        (
            "a network whose configuration cannot be read",
            json!({
                "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
                "metadata": { "name": "x", "namespace": "fabric", "annotations": { "pointsman.io/profile": "p" } },
                "spec": { "config": "{" },
            }),
        ),
        (
            "a network that turns pods down",
            network(
                "x",
                &[of_profile],
                &json!({ "type": "ib-sriov", "link_state": "disable" }),
            ),
        ),
        (
            "a rail that is taken",
            annotated(ib_network("rail8", "other"), &[("pointsman.io/rail", "0")]),
        ),
        (
            "the configuration of a network",
            multus_config(&[of_profile, ("pointsman.io/rail", "8")]),
        ),
        (
            "a configuration that cannot be read",
            multus_config(&[of_profile, ("pointsman.io/rail", "eight")]),
        ),
        (
            "a broken network that is none of ours",
            json!({
                "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
                "metadata": { "name": "x", "namespace": "fabric" }, "spec": { "config": "{" },
            }),
        ),
        (
            "another kind of object",
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": "x", "annotations": { "pointsman.io/profile": "" } },
            }),
        ),
    ];
    cluster.with(annotated(
        ib_network("other0", "other"),
        &[("pointsman.io/rail", "0")],
    ));
    let mut text = String::new();
    for (about, object) in cases {
        let answer = validated(&cluster, &object, &Value::Null).await;
        writeln!(text, "# {about}").unwrap();
        if answer["allowed"] != true {
            writeln!(text, "denied: {}", answer["status"]["message"].as_str().unwrap()).unwrap();
            assert_eq!(answer["status"]["code"], 403);
        }
        for warning in answer["warnings"].as_array().into_iter().flatten() {
            writeln!(text, "warning: {}", warning.as_str().unwrap()).unwrap();
        }
        // A change into this is answered as its creation is.
        let mut before = object.clone();
        before["metadata"]["annotations"] = json!({});
        if before["spec"]["config"] == "{" {
            before["spec"]["config"] = json!("{}");
        }
        assert_eq!(validated(&cluster, &object, &before).await, answer, "{about}");
    }
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn what_was_wrong_before_stands_in_nobodys_way() {
    let cluster = Cluster::new();
    let broken = annotated(ib_network("rail8", "eight-rails"), &[("pointsman.io/rail", "x")]);
    let touched = annotated(broken.clone(), &[("team", "a")]);
    let answer = validated(&cluster, &touched, &broken).await;
    assert_eq!(answer["allowed"], true);
    let warning = answer["warnings"][0].as_str().unwrap();
    assert!(
        warning.starts_with("still wrong: NetworkAttachmentDefinition fabric/rail8"),
        "{warning}"
    );

    let worse = annotated(broken.clone(), &[("pointsman.io/rial", "8")]);
    let answer = validated(&cluster, &worse, &broken).await;
    assert_eq!(answer["allowed"], false);
    let told = answer["status"]["message"].as_str().unwrap();
    assert!(
        told.contains("pointsman.io/rial") && told.contains("pointsman.io/rail: found \"x\""),
        "{told}"
    );
}

#[tokio::test]
async fn what_is_on_its_way_out_may_go() {
    let mut leaving = annotated(ib_network("rail8", "eight-rails"), &[("pointsman.io/rail", "x")]);
    leaving["metadata"]["deletionTimestamp"] = json!("2026-11-24T10:00:00Z");
    let answer = validated(&Cluster::new(), &leaving, &ib_network("rail8", "eight-rails")).await;
    assert_eq!(answer, json!({ "uid": "1b2c", "allowed": true }));
}

#[tokio::test]
async fn deletions_subresources_and_junk() {
    let cluster = Cluster::new();
    let broken = annotated(ib_network("rail8", "eight-rails"), &[("pointsman.io/rail", "x")]);
    for (field, value) in [("operation", json!("DELETE")), ("subResource", json!("status"))] {
        let mut review = review(&broken, &Value::Null);
        review["request"][field] = value;
        let (_, answer) = cluster
            .send(
                Method::POST,
                "/validate",
                Some("application/json"),
                review.to_string(),
            )
            .await;
        assert_eq!(answer["response"]["allowed"], true, "{field}");
    }
    for object in [Value::Null, json!("x"), json!({ "metadata": 1 })] {
        let mut review = review(&broken, &Value::Null);
        review["request"]["object"] = object;
        let (_, answer) = cluster
            .send(
                Method::POST,
                "/validate",
                Some("application/json"),
                review.to_string(),
            )
            .await;
        assert_eq!(answer["response"]["status"]["code"], 400, "{answer}");
    }
    let (status, _) = cluster
        .send(Method::POST, "/validate", Some("application/json"), "{}")
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_object_tells_its_kind_where_the_request_does_not() {
    let broken = annotated(ib_network("rail8", "eight-rails"), &[("pointsman.io/rail", "x")]);
    let mut review = review(&broken, &Value::Null);
    review["request"].as_object_mut().unwrap().remove("kind");
    let (_, answer) = Cluster::new()
        .send(
            Method::POST,
            "/validate",
            Some("application/json"),
            review.to_string(),
        )
        .await;
    assert_eq!(answer["response"]["allowed"], false);
}
