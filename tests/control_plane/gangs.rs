//! Gangs with required locality: whole in one leaf group or not at all, and the next one starts when there is room.

use std::collections::BTreeSet;
use std::time::Duration;

use pointsman::decide::reason::Reason;
use serde_json::{Value, json};

use crate::harness::api::JOBS;
use crate::harness::nodes::IbNode;
use crate::harness::objects::{Profile, container, job};
use crate::harness::plane;
use crate::harness::run;
use crate::harness::scene::{Scene, is_bound};
use crate::harness::stack::{self, Setup, Stack};
use crate::harness::wait::{eventually, expect};

const LIMIT: Duration = Duration::from_secs(30);
/// Pods of a gang; a leaf group has VFs for five, so that two gangs overlap if nobody looks ahead.
const SIZE: usize = 4;

#[test]
fn gangs_that_compete_are_placed_whole_in_one_leaf_group_each_and_the_third_waits_whole() {
    run(async {
        let stack = Setup::new("t7-own", &["t7"]).start(plane::shared().await).await;
        let scene = three_jobs(&stack, "t7-gangs", "t7", 31).await;
        scene.bound(2 * SIZE, LIMIT).await;
        let pods = scene.pods().await;
        let placed: Vec<&str> = JOBS_BY_NAME
            .into_iter()
            .filter(|job| leaf_groups(&pods, job).len() == 1)
            .collect();
        let waiting: Vec<&str> = JOBS_BY_NAME
            .into_iter()
            .filter(|job| leaf_groups(&pods, job).is_empty())
            .collect();
        assert_eq!(
            (placed.len(), waiting.len()),
            (2, 1),
            "none is half placed, none spans two"
        );
        assert_ne!(leaf_groups(&pods, placed[0]), leaf_groups(&pods, placed[1]));
        for pod in members(&pods, placed[0]) {
            let record: Value = serde_json::from_str(
                pod["metadata"]["annotations"]["pointsman.io/placement"]
                    .as_str()
                    .unwrap(),
            )
            .unwrap();
            assert_eq!(
                Some(record["domain"].as_str().unwrap()),
                leaf_groups(&pods, placed[0]).first().copied()
            );
            assert_eq!(
                pod["metadata"]["annotations"]["pointsman.io/gang-size"],
                SIZE.to_string()
            );
        }
        let name = members(&pods, waiting[0])[0]["metadata"]["name"]
            .as_str()
            .unwrap();
        scene.sees_event(name, Reason::GangNoRoom.text(), LIMIT).await;

        // One gang goes: the one that waited gets its place. (Asked as here, the API server deletes a Job and leaves
        // its pods; kubectl asks otherwise.)
        scene
            .api()
            .delete(&JOBS.within("t7-gangs").named(placed[0]))
            .await
            .unwrap();
        for pod in members(&pods, placed[0]) {
            let name = pod["metadata"]["name"].as_str().unwrap();
            scene.api().delete(&scene.pods_at().named(name)).await.unwrap();
        }
        eventually("the gang that waited is bound whole", LIMIT, async || {
            let pods = scene.pods().await;
            let bound = members(&pods, waiting[0])
                .into_iter()
                .filter(|pod| is_bound(pod))
                .count();
            expect(bound == SIZE && leaf_groups(&pods, waiting[0]).len() == 1, || {
                format!("{bound} bound")
            })
        })
        .await;
        assert!(
            scene.kubelet.failures().is_empty(),
            "{:?}",
            scene.kubelet.failures()
        );
        scene.close().await;
    });
}

#[test]
fn without_the_extender_gangs_spread_over_leaf_groups() {
    run(async {
        let scene = three_jobs(stack::without_extender().await, "t7x-gangs", "t7x", 32).await;
        // As many as there are VFs.
        scene.bound(10, LIMIT).await;
        let pods = scene.pods().await;
        let whole = JOBS_BY_NAME.into_iter().filter(|job| {
            members(&pods, job)
                .into_iter()
                .filter(|pod| is_bound(pod))
                .count()
                == SIZE
                && leaf_groups(&pods, job).len() == 1
        });
        assert!(whole.count() < 2, "the scheduler alone does not look ahead");
        scene.close().await;
    });
}

const JOBS_BY_NAME: [&str; 3] = ["one", "two", "three"];

/// Two leaf groups of two nodes with five VFs in all, and three Jobs of four pods created at once.
async fn three_jobs<'a>(stack: &'a Stack, namespace: &str, resources: &str, octet: u8) -> Scene<'a> {
    let scene = Scene::open(stack, namespace).await;
    let profile = Profile::new(namespace, resources, octet);
    for (node, leaf_group, vfs) in [("a1", "a", 3), ("a2", "a", 2), ("b1", "b", 3), ("b2", "b", 2)] {
        IbNode::new(format!("{resources}-{node}"))
            .label("pointsman.io/leaf-group", &format!("{resources}-{leaf_group}"))
            .rail(format!("{resources}_rail0"), vfs)
            .create(scene.plane)
            .await;
    }
    profile.create(scene.plane, namespace).await;
    let template = json!({
        "metadata": {"annotations": {
            "pointsman.io/profile": profile.name(),
            "pointsman.io/locality": "required=leaf-group",
        }},
        "spec": {"containers": [container("trainer")]},
    });
    let jobs = JOBS.within(namespace);
    let create = |name| scene.api().create(&jobs, job(name, SIZE, template.clone()));
    let [one, two, three] = JOBS_BY_NAME.map(create);
    let (one, two, three) = tokio::join!(one, two, three);
    for created in [one, two, three] {
        created.unwrap();
    }
    scene
}

fn members<'p>(pods: &'p [Value], job: &str) -> Vec<&'p Value> {
    pods.iter()
        .filter(|pod| pod["metadata"]["labels"]["job-name"] == job)
        .collect()
}

/// The leaf groups that the bound pods of a Job are in: the letter before the number of their nodes.
fn leaf_groups<'p>(pods: &'p [Value], job: &str) -> BTreeSet<&'p str> {
    members(pods, job)
        .into_iter()
        .filter_map(|pod| pod["spec"]["nodeName"].as_str())
        .map(|node| &node[..node.len() - 1])
        .collect()
}
