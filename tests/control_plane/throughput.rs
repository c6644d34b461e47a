//! `make bench-scheduler`: how many pods a second a real kube-scheduler binds that is shown all nodes: without any
//! extender, with *plain* of the benchmark of `serve` as its extender, and with us, who write the Bindings, too.
//!
//! Nodes are played by KWOK; all parts share the machine's cores, so that what counts are shares inside one run. The
//! pods are in gangs of sixteen and take all eight rails of a node. They need no addresses: no node of this harness
//! could fetch so many a second, and what pools cost an answer is measured by `make bench`. The scheduler is stopped
//! while the pods come, so that it never waits for one. The table is written into `docs/performance.md`; `NODES=200`
//! measures on so many, and writes nothing.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::harness::api::{NAMESPACES, NETWORKS, PODS, SERVICE_ACCOUNTS};
use crate::harness::nodes::{IbNode, PREFIX};
use crate::harness::plane::{self, ControlPlane};
use crate::harness::ports;
use crate::harness::process::{self, Process, Program};
use crate::harness::scheduler::Scheduling;
use crate::harness::stack::{Asks, Setup};
use crate::harness::wait::{eventually, expect};
use crate::world;

const SIZES: [usize; 2] = [1_000, 5_000];
const ROUNDS: usize = 3;
/// Thirty gangs; on few nodes as many pods as fill half of them, each having room for one.
const MOST_PODS: usize = 480;
/// The prefix of the resources of `world`'s pods.
const RESOURCES: &str = "ib";
/// Nodes of a leaf group.
const GROUP: usize = 32;

/// Whom the scheduler asks.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Nobody,
    Plain,
    Us,
}

impl Way {
    const ALL: [Self; 3] = [Self::Nobody, Self::Plain, Self::Us];

    fn name(self) -> &'static str {
        match self {
            Self::Nobody => "none",
            Self::Plain => "plain",
            Self::Us => "pointsman",
        }
    }
}

pub(crate) async fn measure() {
    let plane = plane::shared().await;
    let client = client(plane).await;
    create_networks(plane).await;
    let (port, _plain) = start_plain(plane).await;
    let only: Option<usize> = std::env::var("NODES").ok().map(|nodes| nodes.parse().unwrap());
    let sizes = only.map_or_else(|| SIZES.to_vec(), |nodes| vec![nodes]);
    let mut rows = String::new();
    let mut there = 0;
    for nodes in sizes {
        let create = (there..nodes).map(|number| async move { node(number).create(plane).await });
        futures::stream::iter(create)
            .buffer_unordered(16)
            .collect::<Vec<_>>()
            .await;
        there = nodes;
        let pods = MOST_PODS.min(nodes / 2);
        let mut rates: [Vec<f64>; 3] = Default::default();
        // One after the other in each round, so that a change of the machine's mood meets all alike.
        for round in 0..ROUNDS {
            for (way, rates) in Way::ALL.into_iter().zip(&mut rates) {
                let name = format!("{}-{nodes}-{round}", way.name());
                let rate = play(plane, &client, way, &name, pods, port).await;
                eprintln!("{nodes} nodes, {}: {rate:.1} pods/s", way.name());
                rates.push(rate);
            }
        }
        let [nobody, toy, us] = rates.map(|mut rates| {
            rates.sort_by(f64::total_cmp);
            rates[ROUNDS / 2]
        });
        for (way, rate) in Way::ALL.into_iter().zip([nobody, toy, us]) {
            writeln!(
                rows,
                "| {nodes} | {} | {rate:.1} | {:.2} | {:.2} |",
                way.name(),
                rate / nobody,
                rate / toy
            )
            .unwrap();
        }
    }
    eprint!("{rows}");
    if only.is_none() {
        write_down(&rows);
    }
}

/// A node that *plain* knows and does not take for full: it takes every tenth of its own for that.
fn node(number: usize) -> IbNode {
    let group = format!("su-{:03}", number / GROUP);
    let node = IbNode::new(world::node_name(number + number / (world::FULL - 1) + 1))
        .label("pointsman.io/leaf-group", &group)
        .offers("nvidia.com/gpu", 8);
    (0..world::RAILS).fold(node, |node, rail| node.rail(format!("{RESOURCES}_rail{rail}"), 1))
}

/// The networks that the pods of `world` name.
async fn create_networks(plane: &ControlPlane) {
    plane
        .api
        .create(&NAMESPACES.all(), json!({"metadata": {"name": "rdma"}}))
        .await
        .unwrap();
    for rail in 0..world::RAILS {
        let network = json!({
            "metadata": {"name": format!("rail{rail}"),
                "annotations": {"k8s.v1.cni.cncf.io/resourceName": format!("{PREFIX}/{RESOURCES}_rail{rail}")}},
            "spec": {"config": json!({"cniVersion": "0.3.1", "name": format!("rail{rail}"), "type": "ib-sriov"}).to_string()},
        });
        plane.api.create(&NETWORKS.within("rdma"), network).await.unwrap();
    }
}

/// *plain* as a process of its own: this program, told so.
async fn start_plain(plane: &ControlPlane) -> (u16, Process) {
    let port = ports::free();
    let process = Program::new("plain", &std::env::current_exe().unwrap())
        .args(["plain".to_owned(), format!("127.0.0.1:{port}")])
        .start(plane.run.log("plain"));
    eventually("plain listens", Duration::from_secs(10), async || {
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        stream.map(|_| ()).map_err(|error| error.to_string())
    })
    .await;
    (port, process)
}

/// An extender's configuration as ours is, but for the verbs that *plain* does not have.
fn plain_extender(port: u16) -> Value {
    let resources = (0..world::RAILS)
        .map(|rail| json!({"name": format!("{PREFIX}/{RESOURCES}_rail{rail}"), "ignoredByScheduler": false}));
    json!({
        "urlPrefix": format!("http://127.0.0.1:{port}"), "filterVerb": "filter", "prioritizeVerb": "prioritize",
        "weight": 1, "nodeCacheCapable": true, "managedResources": resources.collect::<Vec<_>>(),
    })
}

/// Pods a second from the first that is bound to the last.
async fn play(
    plane: &'static ControlPlane,
    client: &Client,
    way: Way,
    name: &str,
    count: usize,
    plain: u16,
) -> f64 {
    let scheduling = Scheduling {
        another: (way == Way::Plain).then(|| plain_extender(plain)),
        ..Scheduling::default()
    };
    let asks = if way == Way::Us { Asks::Us } else { Asks::Nobody };
    let stack = Setup::new(name, &[RESOURCES])
        .asks(asks)
        .scheduling(scheduling)
        .start(plane)
        .await;
    if way != Way::Us {
        // It would follow the cluster for nobody.
        stack.kill().await;
    }
    plane
        .api
        .create(&NAMESPACES.all(), json!({"metadata": {"name": name}}))
        .await
        .unwrap();
    let account = SERVICE_ACCOUNTS.within(name).named("default");
    eventually(
        "the namespace has a service account",
        Duration::from_secs(30),
        async || plane.api.get(&account).await.map_err(|refused| refused.message),
    )
    .await;
    let scheduler = stack.scheduler.id().to_string();
    process::send("STOP", &scheduler);
    let create = (0..count).map(|number| async move {
        let pod = pod(number, name);
        plane.api.create(&PODS.within(name), pod).await.unwrap();
    });
    futures::stream::iter(create)
        .buffer_unordered(16)
        .collect::<Vec<_>>()
        .await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), name);
    let (first, last) = bindings(&pods, count, || process::send("CONT", &scheduler)).await;
    pods.delete_collection(&DeleteParams::default().grace_period(0), &ListParams::default())
        .await
        .unwrap();
    eventually("the pods are gone", Duration::from_mins(5), async || {
        let left = plane.api.list(&PODS.within(name)).await.len();
        expect(left == 0, || format!("{left} pods"))
    })
    .await;
    let after_the_first = u32::try_from(count - 1).unwrap();
    f64::from(after_the_first) / (last - first).as_secs_f64()
}

/// A pod as our webhook leaves it and the API server takes it.
fn pod(number: usize, scheduler: &str) -> Value {
    let request: Value = serde_json::from_slice(&world::extender_request(number, 0)).unwrap();
    let mut pod = request["Pod"].clone();
    pod["spec"]["schedulerName"] = json!(scheduler);
    pod.as_object_mut().unwrap().remove("status");
    let metadata = pod["metadata"].as_object_mut().unwrap();
    for key in ["namespace", "uid", "resourceVersion", "creationTimestamp"] {
        metadata.remove(key);
    }
    pod
}

/// When the first and the last of the pods were seen bound; `start` starts it all once they are watched.
async fn bindings(pods: &Api<Pod>, count: usize, start: impl FnOnce()) -> (Instant, Instant) {
    let limit = Duration::from_mins(20);
    let mut bound = BTreeSet::new();
    let (mut first, mut start) = (None, Some(start));
    let began = Instant::now();
    loop {
        // The API server ends a watch after a while; those that were seen already are told of again.
        let watched = WatchParams::default().fields("spec.nodeName!=").timeout(280);
        let mut events = pods.watch(&watched, "0").await.unwrap().boxed();
        if let Some(start) = start.take() {
            start();
        }
        while let Some(event) = events.next().await {
            let (WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = event.unwrap() else {
                continue;
            };
            let now = Instant::now();
            first.get_or_insert(now);
            bound.insert(pod.metadata.name.unwrap());
            if bound.len() == count {
                return (first.unwrap(), now);
            }
            assert!(began.elapsed() < limit, "{} of {count} are bound", bound.len());
        }
        assert!(began.elapsed() < limit, "{} of {count} are bound", bound.len());
    }
}

async fn client(plane: &ControlPlane) -> Client {
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig("admin")).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

const BEGIN: &str = "<!-- written by make bench-scheduler: begin -->";
const END: &str = "<!-- written by make bench-scheduler: end -->";

fn write_down(rows: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(BEGIN).expect("docs/performance.md has the mark");
    let (_, tail) = rest.split_once(END).expect("docs/performance.md has the mark");
    let table = format!(
        "{MOST_PODS} pods in gangs of 16, {ROUNDS} rounds, medians.\n\n\
         | nodes | extender | pods/s (this machine) | share of none | share of plain |\n|---|---|---|---|---|\n{rows}"
    );
    fs::write(&path, format!("{head}{BEGIN}\n\n{table}\n{END}{tail}")).unwrap();
}
