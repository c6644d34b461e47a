//! Contract 1, the other half: what the webhook does not have to change stays as it was sent, byte for byte, known to us
//! or not.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::objects::{Profile, container};
use crate::harness::scene::Scene;
use crate::harness::stack;
use crate::harness::{base64, run};

#[test]
fn the_stored_pod_differs_from_one_that_did_not_opt_in_only_where_it_must() {
    run(async {
        let scene = Scene::open(stack::shared().await, "t1-untouched").await;
        let profile = Profile::new("t1-untouched", "t1", 12);
        profile.create(scene.plane, &scene.namespace).await;

        let plain = scene.create_pod(rich_pod("plain")).await;
        let mut asked = rich_pod("asked");
        asked["metadata"]["annotations"]["pointsman.io/profile"] = json!(profile.name());
        let mut stored = scene.create_pod(asked).await;

        // Ours, one by one; each must be there to be taken away.
        let annotations = stored["metadata"]["annotations"].as_object_mut().unwrap();
        for key in [
            "pointsman.io/profile",
            "pointsman.io/injected",
            "k8s.v1.cni.cncf.io/networks",
        ] {
            annotations
                .remove(key)
                .unwrap_or_else(|| panic!("{key} is missing"));
        }
        annotations.retain(|key, _| !key.starts_with("pointsman.io/"));
        let trainer = &mut stored["spec"]["containers"][1];
        for kind in ["requests", "limits"] {
            trainer["resources"][kind]
                .as_object_mut()
                .unwrap()
                .remove(&profile.resource(0))
                .unwrap();
        }
        let added = trainer["securityContext"]["capabilities"]["add"]
            .as_array_mut()
            .unwrap();
        assert_eq!(
            added.pop(),
            Some(json!("IPC_LOCK")),
            "appended to what the user has"
        );
        assert_eq!(stored["spec"]["schedulerName"], scene.stack.name());
        stored["spec"]["schedulerName"] = json!("default-scheduler");

        // And what differs between any two pods: names, identities, times, the token volume's name.
        let same = |pod: &Value| {
            let mut pod = pod.clone();
            for key in [
                "name",
                "uid",
                "creationTimestamp",
                "resourceVersion",
                "managedFields",
            ] {
                pod["metadata"].as_object_mut().unwrap().remove(key);
            }
            for condition in pod["status"]["conditions"].as_array_mut().into_iter().flatten() {
                condition.as_object_mut().unwrap().remove("lastTransitionTime");
            }
            pod.to_string()
        };
        assert_eq!(same(&stored), same(&plain));
        scene.close().await;
    });
}

#[test]
fn fields_of_a_kubernetes_that_does_not_exist_yet_are_not_in_the_patch() {
    run(async {
        let scene = Scene::open(stack::shared().await, "t1-newer").await;
        let profile = Profile::new("t1-newer", "t1", 13);
        profile.create(scene.plane, &scene.namespace).await;

        // A review as the real API server sent it, for a pod of our profile with fields that nobody knows.
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recorded/admission-review.json");
        let mut review: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        review["request"]["namespace"] = json!(scene.namespace);
        let pod = &mut review["request"]["object"];
        pod["metadata"]["namespace"] = json!(scene.namespace);
        pod["metadata"]["annotations"]["pointsman.io/profile"] = json!(profile.name());
        pod["spec"]["futureMode"] =
            json!({"numbers": [1.50, 10_000_000_000_000_000_u64], "text": "\u{e9}\u{2028}<&>"});
        pod["spec"]["containers"][1]["resources"]["futureClaims"] = json!([{"name": "x", "null": null}]);
        pod["spec"]["containers"][1]["futureProbe"] = json!({});
        let sent = pod.clone();

        let response = scene.stack.review("/mutate", &review).await["response"].take();
        assert_eq!(response["allowed"], true, "{response}");
        let encoded = base64::decode(response["patch"].as_str().unwrap());
        let operations: Vec<Value> = serde_json::from_slice(&encoded).unwrap();
        assert!(!operations.is_empty());
        for operation in &operations {
            let path = operation["path"].as_str().unwrap();
            let ours = ["/metadata/annotations", "/metadata/labels", "/spec/schedulerName"]
                .iter()
                .any(|place| path.starts_with(place))
                || path.starts_with("/spec/containers/1/resources/")
                || path.starts_with("/spec/containers/1/securityContext");
            assert!(ours, "{operation}");
            assert_ne!(operation["op"], "remove", "{operation}");
            // An operation that sets something whole must not carry what it found there back, changed or not.
            assert!(!operation["value"].to_string().contains("future"), "{operation}");
        }

        let mut patched = sent.clone();
        let changes: json_patch::Patch = serde_json::from_slice(&encoded).unwrap();
        json_patch::patch(&mut patched, &changes).unwrap();
        for pointer in [
            "/spec/futureMode",
            "/spec/containers/1/resources/futureClaims",
            "/spec/containers/1/futureProbe",
        ] {
            let text = |pod: &Value| pod.pointer(pointer).unwrap().to_string();
            assert_eq!(text(&patched), text(&sent));
        }
        scene.close().await;
    });
}

/// A pod with a bit of everything that the API server knows.
fn rich_pod(name: &str) -> Value {
    let mut trainer = container("trainer");
    trainer["resources"] =
        json!({"limits": {"nvidia.com/gpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1"}});
    trainer["securityContext"] = json!({"capabilities": {"add": ["SYS_NICE"]}, "runAsUser": 1000});
    trainer["env"] = json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]);
    trainer["lifecycle"] = json!({"preStop": {"sleep": {"seconds": 1}}});
    trainer["restartPolicyRules"] =
        json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]);
    trainer["restartPolicy"] = json!("Never");
    let mut proxy = container("proxy");
    proxy["restartPolicy"] = json!("Always");
    json!({
        "metadata": {"name": name, "labels": {"app": "x"}, "annotations": {"example.com/kept": "as it was"}},
        "spec": {
            // It stays unscheduled: only what is stored matters.
            "nodeSelector": {"example.com/nowhere": "true"},
            "automountServiceAccountToken": false,
            "containers": [container("logger"), trainer],
            "initContainers": [proxy],
            "securityContext": {"fsGroup": 1000, "supplementalGroupsPolicy": "Strict"},
            "resources": {"limits": {"cpu": "8"}},
            "topologySpreadConstraints": [{
                "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app": "x"}}, "matchLabelKeys": ["pod-template-hash"],
            }],
            "hostUsers": true,
            "schedulingGates": [{"name": "example.com/gate"}],
            "volumes": [{"name": "scratch", "emptyDir": {"medium": "Memory"}}],
        },
    })
}
