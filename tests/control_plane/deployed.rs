//! The manifests as they are shipped: the same arguments, configuration, names, identities and rights. Only addresses and
//! places of files differ, as nothing runs in containers here.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::api::{
    Api, CLAIM_TEMPLATES, DEVICE_CLASSES, MUTATING_WEBHOOKS, NAMESPACES, PODS, SERVICE_ACCOUNTS, SERVICES,
    VALIDATING_WEBHOOKS,
};
use crate::harness::kubelet::Kubelet;
use crate::harness::nodes::IbNode;
use crate::harness::objects::{Profile, pod_of};
use crate::harness::plane::{self, ControlPlane, SCHEDULER_USER, WEBHOOK_USER, listens};
use crate::harness::process::{Process, Program};
use crate::harness::run_folder::tail;
use crate::harness::stack::our_binary;
use crate::harness::wait::{eventually, expect};
use crate::harness::{http, ports, run};

const LIMIT: Duration = Duration::from_mins(1);
const NAMESPACE: &str = "deployed";

#[test]
fn the_manifests_work_as_shipped_with_two_replicas_of_the_webhook() {
    run(async {
        let plane = plane::shared().await;
        IbNode::new("deployed-a").rails("deployed", 2).create(plane).await;
        let profile = Profile::new("deployed", "deployed", 70).rails(2);
        create_namespace(&plane.api).await;
        profile.create(plane, NAMESPACE).await;

        let [one, two, extender] = [ports::free(), ports::free(), ports::free()];
        register(plane, one).await;
        let mut webhooks = Vec::new();
        for port in [one, two] {
            let args = arguments("webhook-deployment.yaml", "webhook");
            webhooks.push(serve(plane, "webhook", args, ("--webhook-listen", port), WEBHOOK_USER).await);
        }
        let args = arguments("scheduler.yaml", "extender");
        let _extender = serve(
            plane,
            "extender",
            args,
            ("--extender-listen", extender),
            SCHEDULER_USER,
        )
        .await;
        let _scheduler = start_scheduler(plane, extender).await;
        let kubelet = Kubelet::start(plane, NAMESPACE, Duration::ZERO);

        // Both replicas have a certificate of the one authority that is registered.
        for (number, port) in [one, two].into_iter().enumerate() {
            point_at(plane, port).await;
            let name = format!("worker-{number}");
            eventually(&format!("replica {number} admits"), LIMIT, async || {
                let created = plane
                    .api
                    .create(&PODS.within(NAMESPACE), pod_of(&name, profile.name()))
                    .await;
                created.map_err(|refused| refused.message)
            })
            .await;
        }
        eventually(
            "both pods are bound and have their addresses",
            LIMIT,
            async || {
                let sandboxes = kubelet.sandboxes();
                let complete = sandboxes
                    .values()
                    .filter(|sandbox| sandbox.addresses.len() == 2)
                    .count();
                expect(complete == 2, || format!("{sandboxes:?}"))
            },
        )
        .await;
        // The webhook alone, which sees no other pods than those of gangs, knows how many a gang has.
        let member = |name: &str| {
            let mut pod = pod_of(name, profile.name());
            pod["metadata"]["annotations"]["pointsman.io/gang"] = json!("g");
            pod["metadata"]["annotations"]["pointsman.io/gang-size"] = json!("2");
            pod
        };
        for name in ["gang-0", "gang-1"] {
            plane
                .api
                .create(&PODS.within(NAMESPACE), member(name))
                .await
                .unwrap();
        }
        eventually("a third pod of a gang of two is denied", LIMIT, async || {
            let created = plane
                .api
                .create(&PODS.within(NAMESPACE).dry_run(), member("gang-2"))
                .await;
            let message = created.err().map_or_else(String::new, |refused| refused.message);
            expect(message.contains("more than the 2 pods of gang g"), || {
                format!("{message:?}")
            })
        })
        .await;
        a_claim_for_a_rails_devices_is_seen(plane, &profile).await;
        drop(webhooks);
    });
}

/// The pod's claim brings the VFs of its first rail already, by the DeviceClass.
async fn a_claim_for_a_rails_devices_is_seen(plane: &ControlPlane, profile: &Profile) {
    let class = json!({"metadata": {"name": "deployed-rail0"}, "spec": {"extendedResourceName": profile.resource(0)}});
    plane.api.create(&DEVICE_CLASSES.all(), class).await.unwrap();
    let request = json!({"name": "vf", "exactly": {"deviceClassName": "deployed-rail0"}});
    let template = json!({
        "metadata": {"name": "rail0"}, "spec": {"spec": {"devices": {"requests": [request]}}},
    });
    plane
        .api
        .create(&CLAIM_TEMPLATES.within(NAMESPACE), template)
        .await
        .unwrap();
    let mut pod = pod_of("claims", profile.name());
    pod["spec"]["resourceClaims"] = json!([{"name": "nic", "resourceClaimTemplateName": "rail0"}]);
    pod["spec"]["containers"][0]["resources"]["claims"] = json!([{"name": "nic"}]);
    eventually("a pod whose claim covers a rail is denied", LIMIT, async || {
        let at = PODS.within(NAMESPACE).dry_run();
        let created = plane.api.create(&at, pod.clone()).await;
        let message = created.err().map_or_else(String::new, |refused| refused.message);
        let told = format!(
            "spec.resourceClaims, nic: found devices of {}",
            profile.resource(0)
        );
        expect(message.contains(&told), || format!("{message:?}"))
    })
    .await;
    plane
        .api
        .delete(&DEVICE_CLASSES.all().named("deployed-rail0"))
        .await
        .unwrap();
}

async fn create_namespace(api: &Api) {
    let labels = json!({"pointsman-test/stack": NAMESPACE});
    api.create(
        &NAMESPACES.all(),
        json!({"metadata": {"name": NAMESPACE, "labels": labels}}),
    )
    .await
    .unwrap();
    eventually("the namespace has a service account", LIMIT, async || {
        api.get(&SERVICE_ACCOUNTS.within(NAMESPACE).named("default"))
            .await
            .map_err(|refused| refused.message)
    })
    .await;
}

/// All objects of a file of `manifests/`.
pub(crate) fn manifest(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests").join(file);
    serde_saphyr::from_multiple(&fs::read_to_string(path).unwrap()).unwrap()
}

pub(crate) fn object(file: &str, kind: &str) -> Value {
    manifest(file)
        .into_iter()
        .find(|object| object["kind"] == kind)
        .unwrap()
}

/// The arguments of a Deployment's container.
pub(crate) fn arguments(file: &str, container: &str) -> Vec<String> {
    let deployment = object(file, "Deployment");
    let containers = deployment["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap();
    let container = containers.iter().find(|one| one["name"] == container).unwrap();
    serde_json::from_value(container["args"].clone()).unwrap()
}

/// The webhook's Service and configurations. The Service leads to this machine instead of to pods.
async fn register(plane: &ControlPlane, port: u16) {
    let mut service = object("service.yaml", "Service");
    service["spec"] = json!({"type": "ExternalName", "externalName": "localhost"});
    let namespace = service["metadata"]["namespace"].as_str().unwrap().to_owned();
    plane
        .api
        .create(&SERVICES.within(&namespace), service)
        .await
        .unwrap();
    for (kind, at) in [
        ("MutatingWebhookConfiguration", MUTATING_WEBHOOKS),
        ("ValidatingWebhookConfiguration", VALIDATING_WEBHOOKS),
    ] {
        let mut configuration = object("webhook.yaml", kind);
        for webhook in configuration["webhooks"].as_array_mut().unwrap() {
            webhook["clientConfig"]["service"]["port"] = json!(port);
            // The other tests' objects are not ours to see.
            webhook["namespaceSelector"]["matchLabels"]["pointsman-test/stack"] = json!(NAMESPACE);
        }
        plane.api.create(&at.all(), configuration).await.unwrap();
    }
}

/// Leads the API server to the other replica.
async fn point_at(plane: &ControlPlane, port: u16) {
    let at = MUTATING_WEBHOOKS.all().named("pointsman");
    let mut webhooks = plane.api.get(&at).await.unwrap()["webhooks"].take();
    for webhook in webhooks.as_array_mut().unwrap() {
        webhook["clientConfig"]["service"]["port"] = json!(port);
    }
    plane.api.merge(&at, json!({"webhooks": webhooks})).await.unwrap();
}

/// Starts our program with the shipped arguments, but for the addresses and the place of the configuration.
async fn serve(
    plane: &ControlPlane,
    name: &str,
    args: Vec<String>,
    (listen, port): (&str, u16),
    user: &str,
) -> Process {
    let admin = ports::free();
    let configuration = object("config.yaml", "ConfigMap")["data"]["config.yaml"]
        .as_str()
        .unwrap()
        .to_owned();
    let configuration = plane.run.write("deployed/config.yaml", configuration);
    let args = args.into_iter().map(|arg| match arg.split_once('=') {
        Some((flag, _)) if flag == listen => format!("{flag}=127.0.0.1:{port}"),
        Some(("--admin-listen", _)) => format!("--admin-listen=127.0.0.1:{admin}"),
        Some(("--config", _)) => format!("--config={}", configuration.display()),
        _ => arg,
    });
    let log = plane.run.log(&format!("deployed-{name}-{port}"));
    let mut process = Program::new(name, &our_binary())
        .args(args)
        .env("KUBECONFIG", plane.kubeconfig(user).display().to_string())
        .start(log.clone());
    eventually(&format!("{name} is ready"), LIMIT, async || {
        assert!(process.runs(), "{name} ended:\n{}", tail(&log, 20));
        ready(admin)
            .await
            .map_err(|problem| format!("{problem}\n{}", tail(&log, 20)))
    })
    .await;
    process
}

pub(crate) async fn ready(admin: u16) -> Result<(), String> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", admin))
        .await
        .map_err(|error| error.to_string())?;
    let request = axum::http::Request::get("/readyz").header("Host", "127.0.0.1");
    let answer = http::send(stream, request.body(hyper::body::Bytes::new()).unwrap()).await?;
    expect(answer.status().is_success(), || {
        String::from_utf8_lossy(answer.body()).into_owned()
    })
}

/// kube-scheduler with the shipped configuration, but for the extender's port and how it reaches the API server.
async fn start_scheduler(plane: &ControlPlane, extender: u16) -> Process {
    let shipped = object("scheduler.yaml", "ConfigMap")["data"]["scheduler.yaml"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut configuration: Value = serde_saphyr::from_str(&shipped).unwrap();
    let kubeconfig: PathBuf = plane.kubeconfig(SCHEDULER_USER);
    configuration["clientConnection"]["kubeconfig"] = json!(kubeconfig);
    configuration["extenders"][0]["urlPrefix"] = json!(format!("http://127.0.0.1:{extender}"));
    let configuration = plane
        .run
        .write("deployed/scheduler.yaml", configuration.to_string());
    let port = ports::free();
    let mut scheduler = Program::new("kube-scheduler", &plane.tools.kubernetes("kube-scheduler"))
        .arg(format!("--config={}", configuration.display()))
        .arg(format!("--authentication-kubeconfig={}", kubeconfig.display()))
        .arg(format!("--authorization-kubeconfig={}", kubeconfig.display()))
        .arg(format!("--secure-port={port}"))
        .arg("--bind-address=127.0.0.1")
        .arg(format!(
            "--cert-dir={}",
            plane.run.path().join("deployed").display()
        ))
        .start(plane.run.log("deployed-kube-scheduler"));
    assert!(listens(&mut scheduler, &format!("https://127.0.0.1:{port}")).await);
    scheduler
}
