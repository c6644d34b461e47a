//! `pointsman explain` by a live API server: pods that wait, run, and do not exist yet; as a kubectl plugin, by somebody
//! who may only read, and by the running extender, which says the same.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use pointsman::decide::reason::Reason;
use serde_json::{Value, json};

use crate::harness::nodes::IbNode;
use crate::harness::objects::{Profile, job, pod_of};
use crate::harness::plane::{self, TEST_USER};
use crate::harness::run;
use crate::harness::scene::Scene;
use crate::harness::stack::{Setup, our_binary};

const LIMIT: Duration = Duration::from_secs(30);
const NAMESPACE: &str = "explained";

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, from a pod that waits to the one that runs"
)]
fn why_a_pod_waits_or_sits_where_it_sits_is_said_of_the_live_cluster() {
    run(async {
        let plane = plane::shared().await;
        IbNode::new("explained-a")
            .rails("explained", 1)
            .create(plane)
            .await;
        let stack = Setup::new("explained-own", &["explained"]).start(plane).await;
        let scene = Scene::open(&stack, NAMESPACE).await;
        let profile = Profile::new("explained", "explained", 67).addresses(1);
        profile.create(plane, NAMESPACE).await;

        scene.create_pod(pod_of("first", profile.name())).await;
        scene.sees_bound("first", LIMIT).await;
        scene
            .sees_event(
                "first",
                "Pointsman reserved VFs and addresses on explained-a",
                LIMIT,
            )
            .await;
        scene.create_pod(pod_of("second", profile.name())).await;
        scene
            .sees_event("second", "pointsman explain second -n explained", LIMIT)
            .await;

        // The rights of our own identities, which hold no more than reading of what is listed, are enough.
        let kubeconfig = plane.kubeconfig(TEST_USER);
        let explain = |binary: &Path, args: &[&str]| -> Output {
            let mut command = Command::new(binary);
            command.arg("explain").args(args).env("KUBECONFIG", &kubeconfig);
            command.output().unwrap()
        };
        let asked = |args: &[&str]| -> (Option<i32>, Value) {
            let all: Vec<&str> = args
                .iter()
                .copied()
                .chain(["-n", NAMESPACE, "-o", "json"])
                .collect();
            let output = explain(&our_binary(), &all);
            let report = serde_json::from_slice(&output.stdout);
            let report = report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
            (output.status.code(), report)
        };

        let (code, report) = asked(&["first"]);
        assert_eq!(
            (code, &report["waiting"], &report["node"]),
            (Some(0), &json!(false), &json!("explained-a"))
        );
        let (code, report) = asked(&["second"]);
        assert_eq!(
            (code, &report["waiting"], &report["node"]),
            (Some(1), &json!(true), &json!(null))
        );
        let reason = &report["reasons"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["reason"] == Reason::PoolEmpty.text())
            .unwrap_or_else(|| panic!("{report:#}"));
        assert_eq!(
            (&reason["nodes"], &reason["examples"]),
            (&json!(1), &json!(["explained-a"]))
        );
        let smallest = &report["smallestChange"];
        assert!(
            smallest
                .to_string()
                .contains(&format!("1 more address in {}", profile.pool(0))),
            "{smallest}"
        );
        // The running extender says the same.
        let path = format!("/explain?namespace={NAMESPACE}&pod=second");
        let served: Value = serde_json::from_str(&stack.get(&path).await.unwrap()).unwrap();
        assert_eq!(&served["smallestChange"], smallest);

        // Pods and Jobs that do not exist yet, with and without a place.
        let file = |name: &str, kind: &str, version: &str, mut object: Value| {
            object["kind"] = json!(kind);
            object["apiVersion"] = json!(version);
            plane.run.write(&format!("explained/{name}"), object.to_string())
        };
        let more = file("pod.yaml", "Pod", "v1", pod_of("third", profile.name()));
        let (code, report) = asked(&["-f", more.to_str().unwrap()]);
        assert_eq!(
            (code, &report["name"], &report["waiting"]),
            (Some(1), &json!("third"), &json!(true))
        );
        let more = file(
            "job.yaml",
            "Job",
            "batch/v1",
            job("many", 2, pod_of("template", profile.name())),
        );
        let (code, report) = asked(&["-f", more.to_str().unwrap()]);
        assert_eq!((code, &report["waiting"]), (Some(1), &json!(true)), "{report}");
        let free = file(
            "free.yaml",
            "Pod",
            "v1",
            json!({
                "metadata": {"name": "plain"}, "spec": {"containers": [{"name": "c", "image": "example.com/c"}]},
            }),
        );
        let (code, report) = asked(&["-f", free.to_str().unwrap()]);
        assert_eq!((code, &report["waiting"]), (Some(0), &json!(false)), "{report}");

        // As kubectl calls its plugins, in the table that people read.
        let plugin = plane.run.path().join("explained/kubectl-pointsman");
        std::os::unix::fs::symlink(our_binary(), &plugin).unwrap();
        let output = explain(&plugin, &["second", "-n", NAMESPACE]);
        let table = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{table}");
        assert!(
            table.contains(&format!("1 more address in {}", profile.pool(0))),
            "{table}"
        );
        let output = explain(&plugin, &["nobody", "-n", NAMESPACE]);
        assert_eq!(output.status.code(), Some(2), "there is no such pod");

        // What was said would help, helps.
        let wider = json!({"spec": {"ips": [profile.range(0, 2)]}});
        let pool = crate::harness::api::POOLS.all().named(&profile.pool(0));
        scene.api().merge(&pool, wider).await.unwrap();
        scene.sees_bound("second", LIMIT).await;
        let (code, report) = asked(&["second"]);
        assert_eq!((code, &report["node"]), (Some(0), &json!("explained-a")));
        scene.close().await;
    });
}
