//! Policy on networks and namespaces: what cannot be read is refused when it is written, and nobody else's writing has
//! anything to do with us.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::api::{At, MULTUS_CONFIGS, NAMESPACES, NETWORKS};
use crate::harness::plane;
use crate::harness::run;
use crate::harness::scene::Scene;
use crate::harness::stack::{Asks, Setup};
use crate::harness::wait::{eventually, expect};

const LIMIT: Duration = Duration::from_secs(30);

fn network(name: &str, annotations: &Value) -> Value {
    json!({
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"config": r#"{"cniVersion":"0.3.1","type":"ib-sriov"}"#},
    })
}

fn multus_config(name: &str, annotations: &Value) -> Value {
    json!({
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "cniType": "ib-sriov", "enableCoordinator": false,
            "ibsriov": {"resourceName": "spidernet.io/pol", "ippools": {"ipv4": ["pol"]}},
        },
    })
}

#[test]
fn policy_that_cannot_be_read_is_refused_when_it_is_written_and_no_other_object_waits_for_us() {
    run(async {
        let plane = plane::shared().await;
        let stack = Setup::new("pol-own", &["pol"])
            .asks(Asks::Nobody)
            .start(plane)
            .await;
        let scene = Scene::open(&stack, "pol").await;
        let api = scene.api();
        let right = json!({"pointsman.io/profile": "pol", "pointsman.io/rail": "0"});
        let wrong = json!({"pointsman.io/profile": "pol", "pointsman.io/rail": "first"});
        let networks = NETWORKS.within(&scene.namespace);
        let configs = MULTUS_CONFIGS.within(&scene.namespace);
        let told = |refused: &str| {
            let ours =
                refused.contains("annotation pointsman.io/rail: found \"first\", expected a number from 0");
            expect(ours, || refused.to_owned())
        };
        // The configuration is new to the API server, too.
        eventually("a network is refused", LIMIT, async || {
            let created = api.create(&networks.dry_run(), network("n", &wrong)).await;
            told(&created.err().map_or_else(String::new, |refused| refused.message))
        })
        .await;
        let refused = api
            .create(&configs, multus_config("c", &wrong))
            .await
            .unwrap_err();
        told(&refused.message).unwrap();

        api.create(&networks, network("n", &right)).await.unwrap();
        api.create(&configs, multus_config("c", &right)).await.unwrap();
        for at in [networks.named("n"), configs.named("c")] {
            let refused = api.merge(&at, json!({"metadata": {"annotations": wrong}})).await;
            told(&refused.unwrap_err().message).unwrap();
            api.merge(
                &at,
                json!({"metadata": {"annotations": {"pointsman.io/rail": "1"}}}),
            )
            .await
            .unwrap();
        }
        // An operator who took the wrong key for a right one.
        let misspelled = network("m", &json!({"pointsman.io/profil": "pol"}));
        let refused = api.create(&networks, misspelled).await.unwrap_err();
        assert!(
            refused
                .message
                .contains("pointsman.io/profile, pointsman.io/rail"),
            "{}",
            refused.message
        );

        let at = NAMESPACES.all().named(&scene.namespace);
        let refused = annotate(&scene, &at, json!({"pointsman.io/rails": "many"}))
            .await
            .unwrap_err();
        assert!(
            refused.contains("namespace annotation pointsman.io/rails: found \"many\""),
            "{refused}"
        );
        annotate(
            &scene,
            &at,
            json!({"pointsman.io/rails": "1", "pointsman.io/profile": "pol"}),
        )
        .await
        .unwrap();
        let labels = json!({"pointsman-test/stack": stack.name()});
        let created = json!({"metadata": {"name": "pol-new", "labels": labels, "annotations": {"pointsman.io/x": "y"}}});
        let refused = api.create(&NAMESPACES.all(), created).await.unwrap_err();
        assert!(refused.message.contains("pointsman.io/x"), "{}", refused.message);

        // While the program is down, only a change of our keys waits for it.
        stack.kill().await;
        annotate(&scene, &at, json!({"team": "a"})).await.unwrap();
        let refused = annotate(&scene, &at, json!({"pointsman.io/rails": "2"}))
            .await
            .unwrap_err();
        assert!(refused.contains("webhook"), "{refused}");
        api.create(&networks, network("plain", &json!({}))).await.unwrap();
        for at in [networks.named("plain"), networks.named("n"), configs.named("c")] {
            api.delete(&at).await.unwrap();
        }
        let annotations = json!({"pointsman.io/rails": null, "pointsman.io/profile": null});
        annotate(&scene, &at, annotations).await.unwrap();
    });
}

async fn annotate(scene: &Scene<'_>, at: &At, annotations: Value) -> Result<Value, String> {
    let patch = json!({"metadata": {"annotations": annotations}});
    scene
        .api()
        .merge(at, patch)
        .await
        .map_err(|refused| refused.message)
}
