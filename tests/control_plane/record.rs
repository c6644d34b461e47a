//! Golden requests: what the real API server and the real scheduler send, byte for byte, for the fast tests.
//!
//! `make record` writes them anew into `tests/fixtures/recorded/`; nothing secret is in them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::api::PRIORITY_CLASSES;
use crate::harness::nodes::IbNode;
use crate::harness::objects::{Profile, container};
use crate::harness::plane;
use crate::harness::scene::Scene;
use crate::harness::stack::{Ports, Setup};
use crate::recorder::Recorder;

const LIMIT: Duration = Duration::from_secs(30);

pub(crate) async fn record() {
    let plane = plane::shared().await;
    for name in ["node-a", "node-b"] {
        IbNode::new(name)
            .rails("ib", 2)
            .offers("nvidia.com/gpu", 8)
            .create(plane)
            .await;
    }
    let ports = Ports::free();
    let leaf = plane.authority.leaf();
    let recorder = Recorder::start(
        plane.authority.certificate(),
        &leaf,
        ports.webhook,
        ports.extender,
    )
    .await;
    let called = Ports {
        webhook: recorder.webhook,
        extender: recorder.extender,
        ..ports
    };
    let stack = Setup::new("recorded", &["ib"])
        .behind(ports, called)
        .start(plane)
        .await;
    let scene = Scene::open(&stack, "training").await;
    let profile = Profile::new("two-rails", "ib", 90).rails(2);
    profile.create(plane, &scene.namespace).await;

    for name in ["trainer-0", "trainer-1"] {
        scene.create_pod(trainer(name, profile.name())).await;
        scene.sees_bound(name, LIMIT).await;
    }
    // All GPUs are taken: one of the two has to go for a pod that is worth more.
    let urgent = json!({"metadata": {"name": "urgent"}, "value": 1000});
    plane.api.create(&PRIORITY_CLASSES.all(), urgent).await.unwrap();
    let mut pod = trainer("urgent-0", profile.name());
    pod["spec"]["priorityClassName"] = json!("urgent");
    scene.create_pod(pod).await;
    scene.sees_bound("urgent-0", LIMIT).await;

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recorded");
    fs::create_dir_all(&folder).unwrap();
    for (path, file) in [
        ("/mutate", "admission-review.json"),
        ("/filter", "filter.json"),
        ("/prioritize", "prioritize.json"),
        ("/bind", "bind.json"),
        ("/preempt", "preempt.json"),
    ] {
        let bodies = recorder.bodies(path);
        let body = bodies.first().unwrap_or_else(|| panic!("nothing came to {path}"));
        serde_json::from_slice::<Value>(body).expect("it is JSON");
        fs::write(folder.join(file), body).unwrap();
    }
}

/// A pod with what users write: a sidecar, a GPU, volumes, a probe.
fn trainer(name: &str, profile: &str) -> Value {
    let mut trainer = container("trainer");
    trainer["resources"] =
        json!({"limits": {"nvidia.com/gpu": "8", "memory": "64Gi"}, "requests": {"cpu": "16"}});
    trainer["env"] = json!([{"name": "NCCL_DEBUG", "value": "INFO"}]);
    trainer["volumeMounts"] = json!([{"name": "shm", "mountPath": "/dev/shm"}]);
    json!({
        "metadata": {
            "name": name,
            "labels": {"app": "trainer"},
            "annotations": {"pointsman.io/profile": profile},
        },
        "spec": {
            "containers": [container("logger"), trainer],
            "initContainers": [container("download")],
            "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}}],
            "restartPolicy": "Never",
        },
    })
}
