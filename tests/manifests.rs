//! What `manifests/` says and what the code does are one: names, paths, ports, keys and rights.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions, but not in what they call"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{ffi::OsString, fs};

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhook, MutatingWebhookConfiguration, ValidatingWebhook, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Namespace, PodSpec, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use pointsman::args::{self, CertificateSource, Command, Serve};
use pointsman::cluster::fabric::LEASE;
use pointsman::cluster::index::Index;
use pointsman::cluster::objects::Kind;
use pointsman::cluster::watch::{FOR_ADMISSION, FOR_PLACEMENT};
use pointsman::config::{Configuration, WebhookObjects};
use pointsman::decide::annotation;
use pointsman::decide::settings::{SchedulerMode, Settings};
use pointsman::telemetry::metrics::Metrics;
use pointsman::webhook::handler::{MUTATE_PATH, PATIENCE, State, VALIDATE_PATH, router};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tower::ServiceExt as _;

const OUR_NAMESPACE: &str = "pointsman-system";

/// Everything a folder holds, in the order in which `kubectl apply -f FOLDER` takes it.
fn objects(folder: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(file).unwrap();
            serde_saphyr::from_multiple::<Value>(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        })
        .collect()
}

/// The object as its Kubernetes type, which must know every field of it.
fn typed<T: DeserializeOwned + Serialize>(object: &Value) -> T {
    let typed: T = serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object}"));
    assert_eq!(
        &serde_json::to_value(&typed).unwrap(),
        object,
        "a field that its type does not know"
    );
    typed
}

/// Whether objects of this type are namespaced; this one is of the type.
fn known<T: DeserializeOwned + Serialize>(object: &Value, namespaced: bool) -> bool {
    typed::<T>(object);
    namespaced
}

/// All objects of a kind.
fn all<T: DeserializeOwned + Serialize>(kind: &str) -> Vec<T> {
    let found = objects("manifests")
        .into_iter()
        .filter(|object| object["kind"] == kind);
    found.map(|object| typed(&object)).collect()
}

fn named<T: DeserializeOwned + Serialize>(kind: &str, name: &str) -> T {
    let found = objects("manifests")
        .into_iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    typed(&found.unwrap_or_else(|| panic!("there is no {kind} {name}")))
}

/// A container of a Deployment, with the pod around it.
fn container(deployment: &str, name: &str) -> (PodSpec, Container) {
    let deployment: Deployment = named("Deployment", deployment);
    let pod = deployment.spec.template.spec.unwrap();
    let container = pod
        .containers
        .iter()
        .find(|container| container.name == name)
        .unwrap()
        .clone();
    (pod, container)
}

/// What a container's arguments mean to the program.
fn serve(container: &Container) -> Serve {
    let arguments = container.args.clone().unwrap().into_iter().map(OsString::from);
    let command = args::parse_from([OsString::from("pointsman")].into_iter().chain(arguments)).unwrap();
    let Command::Serve(serve) = command else {
        panic!("expected serve, found {command:?}")
    };
    serve
}

fn webhooks() -> Vec<MutatingWebhook> {
    let [configuration] =
        <[MutatingWebhookConfiguration; 1]>::try_from(all("MutatingWebhookConfiguration")).unwrap();
    assert_eq!(
        configuration.metadata.name.unwrap(),
        WebhookObjects::default().configuration_name
    );
    configuration.webhooks.unwrap()
}

fn validating() -> Vec<ValidatingWebhook> {
    let [configuration] =
        <[ValidatingWebhookConfiguration; 1]>::try_from(all("ValidatingWebhookConfiguration")).unwrap();
    assert_eq!(
        configuration.metadata.name.unwrap(),
        WebhookObjects::default().configuration_name
    );
    configuration.webhooks.unwrap()
}

#[test]
fn every_object_is_of_its_type_and_lies_in_our_namespace() {
    for object in objects("manifests") {
        let namespace = object["metadata"]["namespace"].as_str().map(str::to_owned);
        let namespaced = match object["kind"].as_str().unwrap() {
            "Namespace" => known::<Namespace>(&object, false),
            "ClusterRole" => known::<ClusterRole>(&object, false),
            "ClusterRoleBinding" => known::<ClusterRoleBinding>(&object, false),
            "MutatingWebhookConfiguration" => known::<MutatingWebhookConfiguration>(&object, false),
            "ValidatingWebhookConfiguration" => known::<ValidatingWebhookConfiguration>(&object, false),
            "ConfigMap" => known::<ConfigMap>(&object, true),
            "Deployment" => known::<Deployment>(&object, true),
            "NetworkPolicy" => known::<NetworkPolicy>(&object, true),
            "PodDisruptionBudget" => known::<PodDisruptionBudget>(&object, true),
            "Role" => known::<Role>(&object, true),
            "RoleBinding" => known::<RoleBinding>(&object, true),
            "Service" => known::<Service>(&object, true),
            "ServiceAccount" => known::<ServiceAccount>(&object, true),
            other => panic!("a {other}, which this test does not know"),
        };
        let elsewhere = object["metadata"]["name"] == "pointsman-scheduler-authentication";
        let expected = namespaced.then(|| if elsewhere { "kube-system" } else { OUR_NAMESPACE }.to_owned());
        assert_eq!(namespace, expected, "{}", object["metadata"]["name"]);
        assert_eq!(
            object["metadata"]["labels"]["app.kubernetes.io/name"], "pointsman",
            "{object}"
        );
    }
}

#[test]
fn the_namespace_comes_first_and_the_webhooks_last() {
    let kinds: Vec<String> = objects("manifests")
        .iter()
        .map(|object| object["kind"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds.first().unwrap(), "Namespace");
    assert!(
        kinds.ends_with(&[
            "MutatingWebhookConfiguration".to_owned(),
            "ValidatingWebhookConfiguration".to_owned()
        ]),
        "{kinds:?}"
    );
}

#[test]
fn the_api_server_asks_about_nobody_who_did_not_ask() {
    for webhook in webhooks() {
        assert_eq!(webhook.failure_policy.as_deref(), Some("Fail"));
        assert_eq!(webhook.reinvocation_policy.as_deref(), Some("IfNeeded"));
        assert_eq!(webhook.side_effects, "None");
        assert_eq!(webhook.admission_review_versions, ["v1"]);
        let timeout = u64::try_from(webhook.timeout_seconds.unwrap()).unwrap();
        assert!(timeout <= 5 && Duration::from_secs(timeout) > PATIENCE * 2);
        let [rule] = <[_; 1]>::try_from(webhook.rules.unwrap()).unwrap();
        assert_eq!(rule.operations.unwrap(), ["CREATE"]);
        assert_eq!(rule.resources.unwrap(), ["pods"]);
        let selector = webhook.namespace_selector.unwrap().match_expressions.unwrap();
        let excluded = selector
            .iter()
            .find(|one| one.key == "kubernetes.io/metadata.name")
            .unwrap();
        assert_eq!(excluded.operator, "NotIn");
        assert_eq!(
            excluded.values.as_deref().unwrap(),
            ["kube-system", OUR_NAMESPACE]
        );
        let label = selector.iter().find(|one| one.key == annotation::INJECT).unwrap();
        assert_eq!(label.values.as_deref().unwrap(), ["enabled"]);
        let conditions = webhook.match_conditions.unwrap();
        match webhook.name.as_str() {
            "pods.pointsman.io" => {
                assert_eq!(label.operator, "NotIn");
                let asks = &conditions
                    .iter()
                    .find(|one| one.name == "asks")
                    .unwrap()
                    .expression;
                for key in [
                    annotation::DOMAIN,
                    annotation::SPIDERPOOL_RDMA_INJECT,
                    annotation::SPIDERPOOL_NETWORK_INJECT,
                ] {
                    assert!(asks.contains(&format!("'{key}'")), "{key}");
                }
            }
            "namespaces.pointsman.io" => assert_eq!(label.operator, "In"),
            other => panic!("a webhook {other}, which this test does not know"),
        }
        let alone = &conditions
            .iter()
            .find(|one| one.name == "not-left-alone")
            .unwrap()
            .expression;
        for key in [
            annotation::INJECT,
            annotation::INJECTED,
            annotation::PLACEMENT,
            annotation::FABRIC_POSITION,
        ] {
            assert!(alone.contains(&format!("'{key}'")), "{key}");
        }
    }
}

#[test]
fn policy_is_validated_where_it_is_written() {
    let mut asked = BTreeSet::new();
    for webhook in validating() {
        assert_eq!(webhook.failure_policy.as_deref(), Some("Fail"));
        assert_eq!(webhook.side_effects, "None");
        assert_eq!(webhook.admission_review_versions, ["v1"]);
        assert!(webhook.timeout_seconds.unwrap() <= 5);
        let selector = webhook.namespace_selector.unwrap().match_expressions.unwrap();
        assert!(selector.iter().any(|one| {
            one.operator == "NotIn"
                && one
                    .values
                    .as_deref()
                    .is_some_and(|values| values == ["kube-system", OUR_NAMESPACE])
        }));
        let conditions = webhook.match_conditions.unwrap();
        for name in ["carries-policy", "stays"] {
            assert!(conditions.iter().any(|one| one.name == name), "{name}");
        }
        assert!(
            conditions[0]
                .expression
                .contains(&format!("startsWith('{}')", annotation::DOMAIN))
        );
        for rule in webhook.rules.unwrap() {
            assert_eq!(rule.operations.unwrap(), ["CREATE", "UPDATE"]);
            let [group, version, plural] = [rule.api_groups, rule.api_versions, rule.resources]
                .map(|list| <[String; 1]>::try_from(list.unwrap()).unwrap().concat());
            asked.insert((group, version, plural));
        }
    }
    let expected = [Kind::Attachment, Kind::MultusConfig, Kind::Namespace].map(|kind| {
        let (group, version, plural) = kind.api();
        (group.to_owned(), version.to_owned(), plural.to_owned())
    });
    assert_eq!(asked, BTreeSet::from(expected));
}

#[test]
fn the_api_server_finds_the_webhook() {
    let objects = WebhookObjects::default();
    let service: Service = named("Service", &objects.service_name);
    let service = service.spec.unwrap();
    let [port] = <[_; 1]>::try_from(service.ports.unwrap()).unwrap();
    let mutating = webhooks()
        .into_iter()
        .map(|webhook| (webhook.client_config, MUTATE_PATH));
    let validating = validating()
        .into_iter()
        .map(|webhook| (webhook.client_config, VALIDATE_PATH));
    for (client, path) in mutating.chain(validating) {
        assert!(client.ca_bundle.is_none(), "the program writes it");
        let reference = client.service.unwrap();
        assert_eq!(reference.name, objects.service_name);
        assert_eq!(reference.namespace, OUR_NAMESPACE);
        assert_eq!(reference.path.as_deref(), Some(path));
        assert_eq!(reference.port, Some(port.port));
    }
    let deployment: Deployment = named("Deployment", "pointsman-webhook");
    let labels = deployment.spec.template.metadata.unwrap().labels.unwrap();
    for (key, value) in service.selector.unwrap() {
        assert_eq!(labels.get(&key), Some(&value));
    }
    let (_, webhook) = container("pointsman-webhook", "webhook");
    let Some((address, CertificateSource::SelfSigned(secret))) = serve(&webhook).webhook else {
        panic!("the webhook has no certificate of its own making")
    };
    let named = webhook
        .ports
        .unwrap()
        .into_iter()
        .find(|one| one.name.as_deref() == Some("https"))
        .unwrap();
    assert_eq!(port.target_port, Some(IntOrString::String("https".to_owned())));
    assert_eq!(u16::try_from(named.container_port), Ok(address.port()));
    assert_eq!(
        (secret.namespace.as_str(), secret.name.as_str()),
        (OUR_NAMESPACE, "pointsman-ca")
    );
}

#[test]
fn our_containers_run_this_version_strictly_confined() {
    let accounts: Vec<ServiceAccount> = all("ServiceAccount");
    let maps: Vec<ConfigMap> = all("ConfigMap");
    for (deployment, name) in [
        ("pointsman-webhook", "webhook"),
        ("pointsman-scheduler", "extender"),
    ] {
        let (pod, container) = container(deployment, name);
        assert_eq!(
            container.image.as_deref(),
            Some(concat!("pointsman:", env!("CARGO_PKG_VERSION")))
        );
        let serve = serve(&container);
        let admin = container
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_deref() == Some("admin"))
            .unwrap();
        assert_eq!(
            u16::try_from(admin.container_port),
            Ok(serve.admin.unwrap().address.port())
        );
        for (probe, path) in [
            (&container.liveness_probe, "/livez"),
            (&container.readiness_probe, "/readyz"),
        ] {
            let get = probe.as_ref().unwrap().http_get.as_ref().unwrap();
            assert_eq!(get.path.as_deref(), Some(path));
            assert_eq!(get.port, IntOrString::String("admin".to_owned()));
        }
        let grace = u64::try_from(pod.termination_grace_period_seconds.unwrap()).unwrap();
        assert!(Duration::from_secs(grace) > serve.shutdown.delay + serve.shutdown.deadline);
        let account = pod.service_account_name.clone().unwrap();
        assert!(
            accounts
                .iter()
                .any(|one| one.metadata.name.as_ref() == Some(&account)),
            "{account}"
        );

        // The configuration file is where the arguments say.
        let file = serve.config.unwrap();
        let mount = container
            .volume_mounts
            .iter()
            .flatten()
            .find(|one| file.starts_with(&one.mount_path))
            .unwrap();
        let volume = pod
            .volumes
            .iter()
            .flatten()
            .find(|one| one.name == mount.name)
            .unwrap();
        let map = &volume.config_map.as_ref().unwrap().name;
        let map = maps
            .iter()
            .find(|one| one.metadata.name.as_ref() == Some(map))
            .unwrap();
        assert!(
            map.data
                .as_ref()
                .unwrap()
                .contains_key(file.file_name().unwrap().to_str().unwrap())
        );

        // What Pod Security's restricted level asks of every container.
        let context = pod.security_context.unwrap();
        assert_eq!(context.run_as_non_root, Some(true));
        assert_eq!(context.seccomp_profile.unwrap().type_, "RuntimeDefault");
        for container in &pod.containers {
            let context = container.security_context.as_ref().unwrap();
            assert_eq!(context.allow_privilege_escalation, Some(false));
            assert_eq!(context.read_only_root_filesystem, Some(true));
            assert_eq!(
                context.capabilities.as_ref().unwrap().drop.as_deref().unwrap(),
                ["ALL"]
            );
        }
    }
}

#[test]
fn the_configuration_is_the_default_one() {
    let map: ConfigMap = named("ConfigMap", "pointsman");
    let text = &map.data.unwrap()["config.yaml"];
    assert_eq!(Configuration::from_yaml(text).unwrap(), Configuration::default());
}

#[test]
fn the_scheduler_is_the_one_the_webhook_names_and_asks_the_extender_beside_it() {
    let map: ConfigMap = named("ConfigMap", "pointsman-scheduler");
    let configuration: Value = serde_saphyr::from_str(&map.data.unwrap()["scheduler.yaml"]).unwrap();
    let SchedulerMode::Dedicated(name) = Settings::default().scheduler else {
        panic!("the default is a scheduler of our own")
    };
    assert_eq!(
        configuration["profiles"],
        json!([{ "schedulerName": name.as_str(), "percentageOfNodesToScore": 100 }])
    );
    let (_, extender) = container("pointsman-scheduler", "extender");
    let address = serve(&extender).extender.unwrap();
    assert!(address.ip().is_loopback());
    let [extender] = <[Value; 1]>::try_from(configuration["extenders"].as_array().unwrap().clone()).unwrap();
    assert_eq!(extender["urlPrefix"], format!("http://{address}"));
    assert_eq!(extender["nodeCacheCapable"], true);
    assert_eq!(extender["ignorable"], false);
    for verb in ["filter", "prioritize", "preempt", "bind"] {
        assert_eq!(extender[format!("{verb}Verb")], verb);
    }
    let lease = &configuration["leaderElection"];
    assert_eq!(lease["resourceNamespace"], OUR_NAMESPACE);
    let role: Role = named("Role", "pointsman-scheduler");
    let may_hold = role.rules.unwrap().into_iter().any(|rule| {
        rule.resource_names
            .is_some_and(|names| names == [lease["resourceName"].as_str().unwrap()])
    });
    assert!(may_hold, "the lease is not the one the role names");
}

fn allows(rules: &[PolicyRule], group: &str, resource: &str, verb: &str) -> bool {
    rules.iter().any(|rule| {
        let has = |list: &Option<Vec<String>>, wanted: &str| list.iter().flatten().any(|one| one == wanted);
        has(&rule.api_groups, group)
            && has(&rule.resources, resource)
            && rule.verbs.iter().any(|one| one == verb)
    })
}

#[test]
fn each_part_may_watch_what_it_watches() {
    for (role, kinds) in [
        ("pointsman-webhook", FOR_ADMISSION),
        ("pointsman-extender", FOR_PLACEMENT),
    ] {
        let rules = named::<ClusterRole>("ClusterRole", role).rules.unwrap();
        for kind in kinds.iter().filter(|kind| **kind != Kind::Lease) {
            let (group, _, plural) = Kind::api(*kind);
            for verb in ["list", "watch"] {
                assert!(
                    allows(&rules, group, plural, verb),
                    "{role} may not {verb} {plural}"
                );
            }
        }
    }
    // Of Leases, one in our own namespace.
    let fabric = named::<Role>("Role", "pointsman-fabric").rules.unwrap();
    assert_eq!(fabric[0].resource_names.as_deref(), Some(&[LEASE.to_owned()][..]));
    for verb in ["list", "watch"] {
        assert!(allows(&fabric, "coordination.k8s.io", "leases", verb), "{verb}");
    }
    let bound: RoleBinding = named("RoleBinding", "pointsman-fabric");
    let mut readers: Vec<String> = bound.subjects.unwrap().into_iter().map(|one| one.name).collect();
    readers.sort();
    assert_eq!(readers, ["pointsman", "pointsman-scheduler"]);
    let extender = named::<ClusterRole>("ClusterRole", "pointsman-extender")
        .rules
        .unwrap();
    assert!(allows(&extender, "", "pods/binding", "create") && allows(&extender, "", "pods", "patch"));
}

#[test]
fn nobody_has_rights_without_bounds() {
    let cluster: Vec<ClusterRole> = all("ClusterRole");
    let rules: Vec<PolicyRule> = cluster.into_iter().flat_map(|role| role.rules.unwrap()).collect();
    assert!(
        !rules
            .iter()
            .any(|rule| rule.resources.iter().flatten().any(|one| one == "secrets"))
    );
    let own = WebhookObjects::default().configuration_name;
    for rule in rules
        .iter()
        .filter(|rule| rule.resources.iter().flatten().any(|one| one.contains("webhook")))
    {
        assert_eq!(rule.resource_names.as_deref(), Some([own.clone()].as_slice()));
    }
    let rules = rules.into_iter().chain(
        all::<Role>("Role")
            .into_iter()
            .flat_map(|role| role.rules.unwrap()),
    );
    for rule in rules {
        let words: BTreeSet<String> = [Some(rule.verbs), rule.resources, rule.api_groups]
            .into_iter()
            .flatten()
            .flatten()
            .collect();
        assert!(!words.contains("*"), "{words:?}");
    }
}

#[tokio::test]
async fn the_example_jobs_get_both_rails() {
    let settings = Arc::new(Settings::default());
    let index = Index::new(Arc::clone(&settings));
    let mut pods = Vec::new();
    for object in objects("manifests/examples") {
        if object["kind"] == "Job" {
            let job: Job = typed(&object);
            pods.push(serde_json::to_value(job.spec.unwrap().template).unwrap());
        }
        index.apply(object).unwrap();
    }
    let router = router(State {
        snapshot: index.published(),
        generations: index.generations(),
        settings,
        metrics: Arc::new(Metrics::new()),
        patience: Duration::ZERO,
    });
    assert_eq!(pods.len(), 2, "the training and its verification");
    for mut pod in pods {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": { "uid": "u", "operation": "CREATE", "namespace": "default", "object": pod },
        });
        let request = Request::post(MUTATE_PATH)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(review.to_string()))
            .unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let answer: Value =
            serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
        assert!(answer["response"]["warnings"].is_null(), "{answer}");
        let patch: k8s_openapi::ByteString =
            serde_json::from_value(answer["response"]["patch"].clone()).unwrap();
        let patch: json_patch::Patch = serde_json::from_slice(&patch.0).unwrap();
        json_patch::patch(&mut pod, &patch).unwrap();
        let limits = &pod["spec"]["containers"][0]["resources"]["limits"];
        for rail in ["spidernet.io/ib_rail0", "spidernet.io/ib_rail1"] {
            assert_eq!(limits[rail], "1", "{limits}");
        }
        let networks = pod["metadata"]["annotations"][annotation::NETWORKS]
            .as_str()
            .unwrap();
        let networks: Value = serde_json::from_str(networks).unwrap();
        assert_eq!(
            networks,
            json!([{ "name": "rail0", "namespace": "spiderpool" }, { "name": "rail1", "namespace": "spiderpool" }])
        );
    }
}

/// What the verification runs is a script that a shell can read, and counts as many rails as the profile has.
#[test]
fn the_verification_is_a_sound_script() {
    let jobs = objects("manifests/examples")
        .into_iter()
        .filter(|object| object["kind"] == "Job");
    let jobs: Vec<Job> = jobs.map(|job| typed(&job)).collect();
    let job = jobs
        .into_iter()
        .find(|job| job.metadata.name.as_deref() == Some("verify"))
        .unwrap();
    let container = job.spec.unwrap().template.spec.unwrap().containers.remove(0);
    let [script] = <[String; 1]>::try_from(container.args.unwrap()).unwrap();
    let checked = std::process::Command::new("sh")
        .args(["-n", "-c", &script])
        .status()
        .unwrap();
    assert!(checked.success());
    let rails = objects("manifests/examples")
        .iter()
        .filter(|object| object["kind"] == "SpiderMultusConfig")
        .count();
    let told = container.env.unwrap().remove(0).value.unwrap();
    assert_eq!(told, rails.to_string());
}
