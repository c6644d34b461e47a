//! Every way in which a pod comes into being, and who else has a say in it: controllers, dry runs, server-side apply, two
//! other mutating webhooks around ours, Pod Security, Kueue's gates.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::api::{DEPLOYMENTS, JOBS, Kind, NAMESPACES, STATEFUL_SETS};
use crate::harness::nodes::IbNode;
use crate::harness::objects::{Profile, container, job, pod_of};
use crate::harness::others::OtherWebhook;
use crate::harness::plane;
use crate::harness::scene::Scene;
use crate::harness::stack;
use crate::harness::wait::{eventually, expect};
use crate::harness::{base64, run};

const LIMIT: Duration = Duration::from_secs(30);
const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

/// A namespace of the shared stack with a profile of so many rails. Its pods stay unscheduled, as no node has its
/// resources: only what is stored matters.
async fn open(name: &str, octet: u8, rails: usize) -> (Scene<'static>, Profile) {
    let scene = Scene::open(stack::shared().await, name).await;
    let profile = Profile::new(name, name, octet).rails(rails);
    profile.create(scene.plane, &scene.namespace).await;
    (scene, profile)
}

/// The pod has a network, and as requests and limits a VF, for each rail.
fn check(pod: &Value, profile: &Profile, container: usize, rails: usize) {
    let networks = pod["metadata"]["annotations"][NETWORKS].as_str().unwrap();
    let networks: Vec<Value> = serde_json::from_str(networks).unwrap();
    assert_eq!(networks.len(), rails, "{networks:?}");
    for rail in 0..rails {
        for part in ["requests", "limits"] {
            let amount = &pod["spec"]["containers"][container]["resources"][part][profile.resource(rail)];
            assert_eq!(amount, "1", "rail {rail}: {pod}");
        }
    }
    assert_eq!(pod["spec"]["schedulerName"], "shared");
    assert!(pod["metadata"]["annotations"]["pointsman.io/injected"].is_string());
}

#[test]
fn pods_of_every_controller_and_bare_ones_are_admitted_alike() {
    run(async {
        let (scene, profile) = open("adm-kinds", 120, 2).await;
        let template = |labels: Value| {
            let mut template = pod_of("x", profile.name());
            let metadata = template["metadata"].as_object_mut().unwrap();
            metadata.remove("name");
            metadata.insert("labels".to_owned(), labels);
            template
        };
        let selected = |app: &str| json!({"matchLabels": {"app": app}});
        let workloads: Vec<(Kind, Value)> = vec![
            (
                DEPLOYMENTS,
                json!({
                    "metadata": {"name": "web"},
                    "spec": {"replicas": 2, "selector": selected("web"), "template": template(json!({"app": "web"}))},
                }),
            ),
            (
                STATEFUL_SETS,
                json!({
                    "metadata": {"name": "ring"},
                    "spec": {
                        "replicas": 1, "serviceName": "ring", "selector": selected("ring"),
                        "template": template(json!({"app": "ring"})),
                    },
                }),
            ),
            (JOBS, job("train", 3, template(json!({"app": "train"})))),
            // What the JobSet controller makes: a Job whose pods carry the set's name.
            (
                JOBS,
                job(
                    "set-workers-0",
                    2,
                    template(json!({"app": "set", "jobset.sigs.k8s.io/jobset-name": "set"})),
                ),
            ),
        ];
        for (kind, workload) in workloads {
            scene
                .api()
                .create(&kind.within(&scene.namespace), workload)
                .await
                .unwrap();
        }
        let mut bare = template(json!({"app": "bare"}));
        bare["metadata"]["generateName"] = json!("bare-");
        scene.create_pod(bare).await;

        for (app, count, gang, size) in [
            ("web", 2, None, None),
            ("ring", 1, Some("ring"), None),
            ("train", 3, Some("train"), Some("3")),
            ("set", 2, Some("set"), None),
            ("bare", 1, None, None),
        ] {
            let pods = eventually(&format!("the pods of {app}"), LIMIT, async || {
                let mut pods = scene.pods().await;
                pods.retain(|pod| pod["metadata"]["labels"]["app"] == app);
                expect(pods.len() == count, || format!("{} pods", pods.len()))?;
                Ok(pods)
            })
            .await;
            for pod in pods {
                check(&pod, &profile, 0, 2);
                let metadata = &pod["metadata"];
                assert_eq!(metadata["labels"]["pointsman.io/gang"].as_str(), gang, "{app}");
                assert_eq!(
                    metadata["annotations"]["pointsman.io/gang-size"].as_str(),
                    size,
                    "{app}"
                );
                let env = &pod["spec"]["containers"][0]["env"];
                let told = env.to_string().contains("POINTSMAN_FABRIC_POSITION");
                assert_eq!(told, gang.is_some(), "{app}");
            }
        }
        for kind in [DEPLOYMENTS, STATEFUL_SETS] {
            for workload in scene.api().list(&kind.within(&scene.namespace)).await {
                let name = workload["metadata"]["name"].as_str().unwrap();
                scene
                    .api()
                    .delete(&kind.within(&scene.namespace).named(name))
                    .await
                    .unwrap();
            }
        }
        scene.close().await;
    });
}

#[test]
fn a_dry_run_shows_what_would_be_stored_and_applying_twice_changes_nothing() {
    run(async {
        let (scene, profile) = open("adm-apply", 121, 2).await;
        let dry = scene
            .api()
            .create(&scene.pods_at().dry_run(), pod_of("p", profile.name()))
            .await
            .unwrap();
        check(&dry, &profile, 0, 2);
        assert!(scene.pods().await.is_empty(), "a dry run stores nothing");
        let wrong = scene
            .api()
            .create(&scene.pods_at().dry_run(), pod_of("p", "no-such-profile"))
            .await
            .unwrap_err();
        assert!(wrong.message.contains("one of the profiles"), "{}", wrong.message);

        let at = scene.pods_at().named("p");
        let dry = scene
            .api()
            .apply(&at.dry_run(), pod_of("p", profile.name()))
            .await
            .unwrap();
        check(&dry, &profile, 0, 2);
        let first = scene.api().apply(&at, pod_of("p", profile.name())).await.unwrap();
        check(&first, &profile, 0, 2);
        let again = scene.api().apply(&at, pod_of("p", profile.name())).await.unwrap();
        check(&again, &profile, 0, 2);
        assert_eq!(first["spec"], again["spec"]);
        assert_eq!(first["metadata"]["annotations"], again["metadata"]["annotations"]);
        scene.close().await;
    });
}

#[test]
fn the_api_server_stores_what_the_patch_makes_of_the_pod() {
    run(async {
        let (scene, profile) = open("adm-patch", 122, 3).await;
        let plain = || {
            let mut pod = pod_of("p", profile.name());
            pod["metadata"]["annotations"] = json!({"example.com/kept": "as it was"});
            pod["spec"]["automountServiceAccountToken"] = json!(false);
            pod["spec"]["containers"][0]["resources"] =
                json!({"limits": {"cpu": "2", profile.resource(1): "1"}, "requests": {"cpu": "1"}});
            pod["spec"]["initContainers"] = json!([container("setup")]);
            pod
        };
        // The pod with all its defaults, which is what the webhook is shown.
        let mut shown = scene
            .api()
            .create(&scene.pods_at().dry_run(), plain())
            .await
            .unwrap();
        shown["metadata"]["annotations"]["pointsman.io/profile"] = json!(profile.name());
        let review = review_of(&scene, &shown);
        let response = scene.stack.review("/mutate", &review).await["response"].take();
        let patch = base64::decode(response["patch"].as_str().unwrap());
        let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
        json_patch::patch(&mut shown, &patch).unwrap();

        let mut asks = plain();
        asks["metadata"]["annotations"]["pointsman.io/profile"] = json!(profile.name());
        let stored = scene.create_pod(asks).await;
        check(&stored, &profile, 0, 3);
        for part in ["/metadata/annotations", "/metadata/labels", "/spec"] {
            assert_eq!(stored.pointer(part), shown.pointer(part), "{part}");
        }
        // And there is nothing left to be done about it.
        let again = scene.stack.review("/mutate", &review_of(&scene, &stored)).await;
        assert_eq!(
            again["response"]["allowed"], true,
            "the pod as it is stored is admitted once more: {again}"
        );
        assert_eq!(again["response"]["patch"], Value::Null, "{again}");
        scene.close().await;
    });
}

fn review_of(scene: &Scene<'_>, pod: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "u", "operation": "CREATE", "namespace": scene.namespace, "object": pod},
    })
}

/// A service mesh: its container comes first.
fn mesh(pod: &Value) -> Vec<Value> {
    let containers = pod["spec"]["containers"].as_array().unwrap();
    if containers.iter().any(|container| container["name"] == "mesh") {
        return Vec::new();
    }
    vec![json!({"op": "add", "path": "/spec/containers/0", "value": container("mesh")})]
}

/// Something that adds a container before all others, and one more of the namespace's networks.
fn storage(pod: &Value) -> Vec<Value> {
    let containers = pod["spec"]["containers"].as_array().unwrap();
    if containers.iter().any(|container| container["name"] == "storage") {
        return Vec::new();
    }
    let listed = pod["metadata"]["annotations"][NETWORKS].as_str();
    let mut networks: Vec<Value> = serde_json::from_str(listed.unwrap_or("[]")).unwrap();
    networks.push(json!({"name": "adm-others-rail1", "color": "red"}));
    vec![
        json!({"op": "add", "path": "/spec/containers/0", "value": container("storage")}),
        json!({
            "op": "add", "path": format!("/metadata/annotations/{}", NETWORKS.replace('/', "~1")),
            "value": Value::from(networks).to_string(),
        }),
    ]
}

#[test]
fn with_two_other_webhooks_around_ours_the_pod_is_complete_all_the_same() {
    run(async {
        let (scene, profile) = open("adm-others", 123, 2).await;
        // The API server asks them in the order of their names, and ours is called `shared`.
        let _before = OtherWebhook::start(scene.plane, "aa-mesh", &scene.namespace, mesh).await;
        let _after = OtherWebhook::start(scene.plane, "zz-storage", &scene.namespace, storage).await;
        let mut asks = pod_of("p", profile.name());
        asks["metadata"]["annotations"]["pointsman.io/rails"] = json!("1");
        asks["spec"]["containers"][0]["resources"] = json!({"limits": {"nvidia.com/gpu": "1"}});
        // A webhook that is new counts from the API server's next look on.
        let stored = eventually("all three webhooks edit the pod", LIMIT, async || {
            let stored = scene
                .api()
                .create(&scene.pods_at().dry_run(), asks.clone())
                .await
                .map_err(|refused| refused.message)?;
            let containers = stored["spec"]["containers"].as_array().unwrap().len();
            expect(containers == 3, || format!("{containers} containers"))?;
            Ok(stored)
        })
        .await;
        let names: Vec<_> = stored["spec"]["containers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|container| container["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["storage", "mesh", "trainer"]);
        // Asked again after `storage`, ours has counted its network, too, on the container that does the work.
        check(&stored, &profile, 2, 2);
        let networks = stored["metadata"]["annotations"][NETWORKS].as_str().unwrap();
        assert!(networks.contains(r#""color":"red""#), "{networks}");
        let added = |container: usize| {
            stored["spec"]["containers"][container]["securityContext"]["capabilities"]["add"].clone()
        };
        assert_eq!(
            [added(0), added(1), added(2)],
            [Value::Null, Value::Null, json!(["IPC_LOCK"])]
        );
        let record = stored["metadata"]["annotations"]["pointsman.io/injected"]
            .as_str()
            .unwrap();
        let record: Value = serde_json::from_str(record).unwrap();
        assert_eq!(record["container"], "trainer");
        assert_eq!(record["rails"].as_array().unwrap().len(), 2, "{record}");
        let again = scene.stack.review("/mutate", &review_of(&scene, &stored)).await;
        assert_eq!(again["response"]["patch"], Value::Null, "{again}");
    });
}

#[test]
fn pod_security_lets_our_pods_pass_at_every_level() {
    run(async {
        let plane = plane::shared().await;
        for (level, octet) in [("baseline", 124), ("restricted", 125)] {
            let (scene, profile) = open(&format!("adm-{level}"), octet, 1).await;
            let enforce = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}});
            plane
                .api
                .merge(&NAMESPACES.all().named(&scene.namespace), enforce)
                .await
                .unwrap();
            let confined = |name: &str, capabilities: Value| {
                let mut pod = pod_of(name, profile.name());
                pod["spec"]["securityContext"] = json!({"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}});
                pod["spec"]["containers"][0]["securityContext"] =
                    json!({"allowPrivilegeEscalation": false, "capabilities": capabilities});
                pod
            };
            // What we leave out there is what Pod Security refuses.
            eventually(&format!("{level} refuses IPC_LOCK"), LIMIT, async || {
                let asks = confined("asks-itself", json!({"add": ["IPC_LOCK"], "drop": ["ALL"]}));
                let created = scene.api().create(&scene.pods_at().dry_run(), asks).await;
                let message = created.err().map_or_else(String::new, |refused| refused.message);
                expect(message.contains("violates PodSecurity"), || {
                    format!("{message:?}")
                })
            })
            .await;
            let stored = eventually(&format!("a pod passes {level}"), LIMIT, async || {
                let pod = confined("p", json!({"drop": ["ALL"]}));
                let created = scene.api().create(&scene.pods_at(), pod).await;
                created.map_err(|refused| refused.message)
            })
            .await;
            check(&stored, &profile, 0, 1);
            assert_eq!(
                stored["spec"]["containers"][0]["securityContext"]["capabilities"]["add"],
                Value::Null
            );
            let response = scene.stack.review("/mutate", &review_of(&scene, &stored)).await;
            let warnings = response["response"]["warnings"].to_string();
            assert!(warnings.contains("IPC_LOCK, which was left out"), "{warnings}");
            scene.close().await;
        }
    });
}

#[test]
fn a_gang_gets_no_more_pods_than_it_says_and_a_pod_on_its_way_out_may_be_replaced() {
    run(async {
        let (scene, profile) = open("adm-gang", 127, 1).await;
        let member = |name: &str| {
            let mut pod = pod_of(name, profile.name());
            let annotations = pod["metadata"]["annotations"].as_object_mut().unwrap();
            annotations.insert("pointsman.io/gang".to_owned(), json!("g"));
            annotations.insert("pointsman.io/gang-size".to_owned(), json!("2"));
            // It stays to be seen when it is deleted.
            pod["metadata"]["finalizers"] = json!(["example.com/slow"]);
            pod
        };
        for name in ["a", "b"] {
            scene.create_pod(member(name)).await;
        }
        eventually("a third pod is denied", LIMIT, async || {
            let created = scene.api().create(&scene.pods_at().dry_run(), member("c")).await;
            let message = created.err().map_or_else(String::new, |refused| refused.message);
            expect(message.contains("more than the 2 pods of gang g"), || {
                format!("{message:?}")
            })
        })
        .await;
        scene.api().delete(&scene.pods_at().named("b")).await.unwrap();
        assert!(
            !scene.pod("b").await["metadata"]["deletionTimestamp"].is_null(),
            "it is still there"
        );
        // At once: what the watch is behind, the webhook waits for.
        scene.create_pod(member("c")).await;
        for name in ["a", "b", "c"] {
            let none = json!({"metadata": {"finalizers": null}});
            scene
                .api()
                .merge(&scene.pods_at().named(name), none)
                .await
                .unwrap();
        }
        scene.close().await;
    });
}

#[test]
fn pods_that_kueue_holds_back_keep_their_gate_and_may_be_let_go() {
    run(async {
        let (scene, profile) = open("adm-gated", 126, 1).await;
        IbNode::new("adm-gated-a")
            .label("pointsman.io/leaf-group", "su-1")
            .create(scene.plane)
            .await;
        let gate = json!([{"name": "kueue.x-k8s.io/admission"}, {"name": "kueue.x-k8s.io/topology"}]);
        let mut template = pod_of("x", profile.name());
        template["metadata"].as_object_mut().unwrap().remove("name");
        template["metadata"]["annotations"]["kueue.x-k8s.io/podset-preferred-topology"] =
            json!("pointsman.io/leaf-group");
        template["spec"]["schedulingGates"] = gate.clone();
        scene
            .api()
            .create(&JOBS.within(&scene.namespace), job("train", 2, template))
            .await
            .unwrap();
        let pods = eventually("both pods are there", LIMIT, async || {
            let pods = scene.pods().await;
            expect(pods.len() == 2, || format!("{} pods", pods.len()))?;
            Ok(pods)
        })
        .await;
        for pod in &pods {
            check(pod, &profile, 0, 1);
            assert_eq!(pod["spec"]["schedulingGates"], gate);
            let annotations = &pod["metadata"]["annotations"];
            assert_eq!(
                annotations["pointsman.io/locality"],
                "preferred=pointsman.io/leaf-group"
            );
            assert_eq!(pod["metadata"]["labels"]["pointsman.io/gang"], "train");
        }
        // As Kueue does it: a node selector first, then the gates off.
        for pod in pods {
            let at = scene.pods_at().named(pod["metadata"]["name"].as_str().unwrap());
            let ungate =
                json!({"spec": {"schedulingGates": [], "nodeSelector": {"pointsman.io/leaf-group": "su-1"}}});
            let ungated = scene.api().merge(&at, ungate).await.unwrap();
            check(&ungated, &profile, 0, 1);
        }
        scene.close().await;
    });
}
