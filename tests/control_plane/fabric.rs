//! From a live fabric to where a pod goes: a real OpenSM on a simulated fabric, `pointsman topology import --apply` on the
//! real API server, and pods that follow every change of it.

#[allow(dead_code, reason = "tests/fabric/ uses the rest")]
#[path = "../fabric/lab.rs"]
mod lab;
#[allow(dead_code, reason = "tests/fabric/ uses the rest")]
#[path = "../fabric/plan.rs"]
mod plan;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use pointsman::decide::reason::Reason;
use serde_json::{Value, json};

use self::lab::Lab;
use self::plan::Plan;
use crate::harness::api::{JOBS, Kind, NODES, kind};
use crate::harness::nodes::{IbNode, OPERATOR_NAMESPACE};
use crate::harness::objects::{Profile, job, pod_of};
use crate::harness::plane::{self, ControlPlane, OUR_NAMESPACE};
use crate::harness::run;
use crate::harness::scene::{Scene, is_bound};
use crate::harness::stack::{Setup, our_binary};
use crate::harness::wait::{eventually, expect};

const LIMIT: Duration = Duration::from_mins(1);
const LEASES: Kind = kind("coordination.k8s.io/v1", "Lease", "leases");

#[test]
fn pods_follow_the_fabric_from_a_cut_cable_to_its_repair() {
    run(async {
        let plan = Plan::fat_tree();
        let (mut lab, manager) = Lab::up(&plan);
        let stack = Setup::new("fabric", &["fab"]).start(plane::shared().await).await;
        let scene = Scene::open(&stack, "fabric").await;
        // Two hosts of one leaf, with names of which the fabric knows nothing: the ports' GUIDs tell who they are.
        for (name, host) in [("fab-a", "node03"), ("fab-b", "node04")] {
            let ports = plan.plugs().into_iter().filter(|plug| plug.host == host);
            let node = ports
                .enumerate()
                .fold(IbNode::new(name).unlabelled(), |node, (rail, port)| {
                    node.rail(format!("fab_rail{rail}"), 1).port_guid(port.port_guid)
                });
            node.create(scene.plane).await;
        }
        let both = Profile::new("fab-both", "fab", 61).rails(2);
        let one = Profile::new("fab-one", "fab", 62);
        both.create(scene.plane, "fabric").await;
        one.create(scene.plane, "fabric").await;

        import(scene.plane, &lab);
        let nodes = NODES.all();
        let [a, b] = [
            scene.api().get(&nodes.named("fab-a")).await.unwrap(),
            scene.api().get(&nodes.named("fab-b")).await.unwrap(),
        ];
        assert_eq!(states(&a), ["Active", "Active"]);
        let group = |node: &Value| node["metadata"]["labels"]["pointsman.io/leaf-group"].clone();
        assert!(group(&a).is_string(), "{a}");
        assert_eq!(group(&a), group(&b));
        let lease = LEASES.within(OUR_NAMESPACE).named("pointsman-fabric");
        let lease = scene.api().get(&lease).await.unwrap();
        assert!(lease["spec"]["renewTime"].is_string(), "{lease}");

        // A cable of the first node is cut: pods on both rails go to the other, which takes one.
        lab.unplug("node03_mlx5_1");
        import(scene.plane, &lab);
        let a = scene.api().get(&nodes.named("fab-a")).await.unwrap();
        assert_eq!(states(&a), ["Active", "Dark"]);
        scene.create_pod(pod_of("first", both.name())).await;
        bound_to(&scene, "first", "fab-b").await;
        scene.create_pod(pod_of("second", both.name())).await;
        waits_for(&scene, "second", Reason::RailDark).await;
        // One that does not want the dark rail may go there.
        scene.create_pod(pod_of("single", one.name())).await;
        bound_to(&scene, "single", "fab-a").await;
        let single = scene.pods_at().named("single");
        scene.api().delete(&single).await.unwrap();

        // Plugged again, and no Subnet Manager there: the link is up, and carries nothing.
        manager.kill();
        lab.plug("node03_mlx5_1");
        import(scene.plane, &lab);
        let a = scene.api().get(&nodes.named("fab-a")).await.unwrap();
        assert_eq!(states(&a), ["Active", "Initialize"]);
        waits_for(&scene, "second", Reason::RailInactive).await;
        assert!(!is_bound(&scene.pod("second").await));

        // Repaired for good: the pod that waits is placed, and each knows its place.
        let _manager = lab.manager("sm01", 6);
        lab.all_active();
        import(scene.plane, &lab);
        bound_to(&scene, "second", "fab-a").await;
        let position = |pod: &Value| {
            let text = pod["metadata"]["annotations"]["pointsman.io/fabric-position"].as_str();
            text.unwrap_or_else(|| panic!("{pod}")).to_owned()
        };
        let [first, second] = [
            position(&scene.pod("first").await),
            position(&scene.pod("second").await),
        ];
        let group = group(&a).as_str().unwrap().to_owned();
        assert!(second.ends_with(&format!("{group}/0001/fab-a")), "{second}");
        assert!(first.ends_with(&format!("{group}/0003/fab-b")), "{first}");
        assert!(second < first, "neighbors on the leaf, in the order of its ports");

        let second = scene.pods_at().named("second");
        scene.api().delete(&second).await.unwrap();
        lab.unplug("node03_mlx5_1");
        what_waits_is_nudged_once_the_data_is_too_old(&scene, &lab, &both).await;

        drop(lab);
        let first = scene.pods_at().named("first");
        scene.api().delete(&first).await.unwrap();
        a_gang_stays_on_its_leaf_with_two_cables_swapped(&scene, plan, &both, &group).await;
        scene.close().await;
    });
}

/// Dark again, and this time nobody imports: when the data is too old to refuse by, nothing changes that the scheduler
/// would see, and the pod that waits is nudged. The scheduler may look at it in that very moment for another's sake (a
/// test beside this one adds a node, or the pod was just touched); such a round shows nothing, and the next one is played.
async fn what_waits_is_nudged_once_the_data_is_too_old(scene: &Scene<'_>, lab: &Lab, both: &Profile) {
    for round in 1..=5 {
        let name = format!("third-{round}");
        import(scene.plane, lab);
        scene.create_pod(pod_of(&name, both.name())).await;
        waits_for(scene, &name, Reason::RailDark).await;
        let old = json!({"spec": {"renewTime": "2020-01-01T00:00:00.000000Z"}});
        let lease = LEASES.within(OUR_NAMESPACE).named("pointsman-fabric");
        scene.api().merge(&lease, old).await.unwrap();
        bound_to(scene, &name, "fab-a").await;
        let third = scene.pods_at().named(&name);
        let nudged = scene.pod(&name).await["metadata"]["annotations"]["pointsman.io/nudged"].clone();
        scene.api().delete(&third).await.unwrap();
        if nudged.is_string() {
            return;
        }
        eprintln!("{name} was bound before it was nudged");
    }
    panic!("in no round was it we who woke the pod");
}

/// Somebody has swapped two cables of hosts of different leaves: a gang that has to be on one leaf still finds its two
/// nodes there.
async fn a_gang_stays_on_its_leaf_with_two_cables_swapped(
    scene: &Scene<'_>,
    mut plan: Plan,
    both: &Profile,
    group: &str,
) {
    plan.swap("node03_mlx5_1", "node05_mlx5_1");
    let (lab, _manager) = Lab::up(&plan);
    import(scene.plane, &lab);
    for name in ["fab-a", "fab-b"] {
        let node = scene.api().get(&NODES.all().named(name)).await.unwrap();
        assert_eq!(
            node["metadata"]["labels"]["pointsman.io/leaf-group"], group,
            "{name}"
        );
        assert_eq!(states(&node), ["Active", "Active"], "{name}");
    }
    let mut template = pod_of("gang", both.name());
    template["metadata"]["annotations"]["pointsman.io/locality"] = json!("required=leaf-group");
    template["metadata"].as_object_mut().unwrap().remove("name");
    let gang = job("gang", 2, template);
    scene.api().create(&JOBS.within("fabric"), gang).await.unwrap();
    eventually("the gang is on one leaf", LIMIT, async || {
        let pods = scene.pods().await;
        let placed: BTreeSet<&str> = pods
            .iter()
            .filter_map(|pod| pod["spec"]["nodeName"].as_str())
            .collect();
        expect(placed == BTreeSet::from(["fab-a", "fab-b"]), || {
            format!("{placed:?}")
        })
    })
    .await;
}

/// Imports what the fabric looks like now: its text, and the states of its ports.
fn import(plane: &ControlPlane, lab: &Lab) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (text, links) = (
        file("ibnetdiscover.txt", lab.discover()),
        file("iblinkinfo.txt", lab.links()),
    );
    let output = Command::new(our_binary())
        .args(["topology", "import", "--apply", "--namespace", OUR_NAMESPACE])
        .args(["--sriov-namespace", OPERATOR_NAMESPACE])
        .arg(text)
        .arg("--state")
        .arg(links)
        .env("KUBECONFIG", plane.kubeconfig("admin"))
        .output()
        .unwrap();
    let [out, told] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{}: {told}\n{out}", output.status);
}

/// The states of a node's rails by its annotation.
fn states(node: &Value) -> Vec<String> {
    let text = node["metadata"]["annotations"]["pointsman.io/fabric"].as_str();
    let fabric: Value = serde_json::from_str(text.unwrap_or_else(|| panic!("{node}"))).unwrap();
    let rails = fabric["rails"].as_array().unwrap();
    rails
        .iter()
        .map(|rail| rail["state"].as_str().unwrap().to_owned())
        .collect()
}

async fn bound_to(scene: &Scene<'_>, pod: &str, node: &str) {
    eventually(&format!("{pod} is bound to {node}"), LIMIT, async || {
        let found = scene.pod(pod).await["spec"]["nodeName"].clone();
        expect(found == json!(node), || found.to_string())
    })
    .await;
}

/// `kubectl describe` says so, of one node. The scheduler asks again the moment a node changes, which may be before our
/// watch shows the change; the text is then the one from before until it asks again, so that the pod is touched.
async fn waits_for(scene: &Scene<'_>, pod: &str, reason: Reason) {
    let tally = format!("1 {}", reason.text());
    let mut touched = 0;
    eventually(&format!("an event says: {tally}"), LIMIT, async || {
        touched += 1;
        let touch = json!({"metadata": {"annotations": {"example.com/touched": touched.to_string()}}});
        let at = scene.pods_at().named(pod);
        scene.api().merge(&at, touch).await.unwrap();
        let events = scene.events_of(pod).await;
        expect(events.iter().any(|text| text.contains(&tally)), || {
            format!("{events:?}")
        })
    })
    .await;
}
